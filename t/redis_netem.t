#!/usr/bin/perl

# Packets get lost between nginx and Redis, are late, and come twice or in
# another order.  Requests are answered rightly all the same, and when the
# network is well again, so is the cache.
#
# It takes a network namespace of its own and the kernel's netem; where there
# is none of these the test is skipped.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use RCache;

if (!$ENV{RCACHE_NETEM}) {
    my @unshare = ('unshare', $> == 0 ? '-n' : '-rn');
    my $why = why_not(@unshare);
    plan(skip_all => $why) if $why;

    $ENV{RCACHE_NETEM} = 1;
    exec @unshare, $^X, "-I$FindBin::Bin/lib", $0 or die "exec: $!\n";
}

system qw(ip link set lo up) and die "no loopback\n";

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $nginx = $t->nginx(<<'CONF', workers => 2, settle => 0);
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=500ms timeout=1s;
    redis_proxy_cache_budget        500ms;
    redis_proxy_cache_segment_size  16k;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      api;
            redis_proxy_cache_key  $request_uri;
            add_header             X-Found $redis_proxy_cache_reason;
        }
    }
CONF

my @uris = (map({ "/item/$_" } 1 .. 20), '/large/1');

ok(wait_for { !grep { $nginx->get($_)->verdict ne 'HIT -' } @uris }, 'hits');

for my $weather ([ qw(loss 5%) ], [ qw(loss 30%) ],
                 [ qw(delay 20ms 10ms reorder 25% duplicate 10%) ],
                 [ qw(delay 2ms corrupt 5%) ], [ qw(loss 100%) ])
{
    shape($redis->port, @$weather);

    my (%found, @wrong);
    my $new = '/new/' . join('-', @$weather) =~ s/%//gr;
    for my $uri (@uris, map({ "$new/$_" } 1 .. 20), @uris)
    {
        my $r = $nginx->get($uri);
        push @wrong, "$uri: " . $r->line
            if $r->status != 200 || $r->body ne body($uri);
        $found{ $r->header('X-Found') // 'none' }++;
    }

    is_deeply(\@wrong, [], "@$weather: right answers");
    note(join ' ', map { "$_: $found{$_}" } sort keys %found);

    shape($redis->port);
    ok(wait_for { !grep { $nginx->get($_)->verdict ne 'HIT -' } @uris },
       'the network is well again: hits');
}

$t->done();


# What goes to a port or comes from it, and nothing else.  No more words: as
# if nothing had been said.

sub shape {
    my ($port, @words) = @_;

    tc(qw(qdisc del dev lo root)) if !@words;
    return if !@words;

    for my $how ([ qw(qdisc add dev lo root handle 1: prio) ],
                 [ qw(qdisc add dev lo parent 1:3 handle 30: netem), @words ],
                 map({ [ qw(filter add dev lo protocol ip parent 1:0 prio 1 u32
                            match ip), $_, $port, qw(0xffff flowid 1:3) ] }
                     'dport', 'sport'))
    {
        tc(@$how) and die "tc @$how\n";
    }

    return;
}


sub tc {
    my (@argv) = @_;

    return system 'tc', @argv;
}


sub why_not {
    my (@unshare) = @_;

    my $said = qx{@unshare true 2>&1};
    return "no network namespace: $said" if $?;

    my $all = join ' && ', 'ip link set lo up',
        'tc qdisc add dev lo root handle 1: prio',
        'tc qdisc add dev lo parent 1:3 handle 30: netem loss 1%',
        'tc filter add dev lo protocol ip parent 1:0 prio 1 u32'
            . ' match ip dport 1 0xffff flowid 1:3';

    $said = qx{@unshare sh -c '$all' 2>&1};

    $said =~ s/\s+$//;
    return $? ? "no netem: $said" : '';
}


sub body {
    my ($uri) = @_;

    return $uri =~ /large/ ? "$uri " x 10_000 : "body of $uri";
}


sub origin {
    my ($req) = @_;

    return response(200, [ 'Cache-Control' => 'max-age=600' ],
                    body($req->uri));
}
