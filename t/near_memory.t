#!/usr/bin/perl

# The memory of the near cache for itself, with processes that do nothing but
# write over it, read it, and change what is in it: what takes a bad moment in
# nginx happens here all the time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Util qw(spawn stop_pid);

my $seconds = $ENV{RCACHE_STORM_SECONDS} || 3;
my $root = "$FindBin::Bin/..";

# the headers of some nginx that was made here; it has a stamp when it has been
# configured

my ($stamp) = sort glob("$root/build/*/stamp");

plan(skip_all => 'needs the headers of an nginx and a compiler')
    if !$stamp || !grep { -x "$_/cc" } split /:/, $ENV{PATH};

my $nginx = $stamp =~ s{/stamp$}{}r;
my $t = RCache->new();
my $near = $t->dir() . '/near';

is(run('cc', '-O2', '-g', '-Wall', '-Wno-unused-parameter',
       (map { "-I$nginx/$_" } qw(src/core src/event src/event/modules
                                 src/os/unix objs)),
       '-o', $near, "$root/t/shm/near.c",
       "$root/src/shm/ngx_http_rcache_near.c"), '', 'it compiles');

for my $size (65536, 262144, 1048576) {
    for my $kills (0, 20) {
        like(run($near, $size, $seconds, 6, $kills),
             qr/^hits \d{3,} puts \d{3,} voids \d{2,}: well\n\z/,
             "$size bytes, $kills are killed");
    }
}

$t->done();


sub run {
    my (@argv) = @_;
    my $log = $t->dir() . '/log';

    unlink $log;
    stop_pid(spawn(argv => \@argv, log => $log), 0, 300);

    return slurp($log);
}
