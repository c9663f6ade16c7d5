#!/usr/bin/perl

# A near cache that is too small by far, so that its memory is written over all
# the time, while workers read it, and are killed.  No body may be torn, none
# be another one's, and no client that has changed something may be told the
# old.  RCACHE_STORM_SECONDS is how long each part goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use Time::HiRes qw(time);
use RCache;
use RCache::Near;
use RCache::Util qw(spawn stop_pid);

my $seconds = $ENV{RCACHE_STORM_SECONDS} || 5;
my $clients = 6;
my $uris = 400;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $conf = <<'CONF' . near_server();
    redis_proxy_cache_zone      api:1m server=%%REDIS%% near=1m
                                connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget    5s;
    redis_proxy_cache_lock_age  1s;
CONF

my $nginx = $t->nginx($conf, workers => 4, settle => 0);

$nginx->tolerate('worker process \d+ exited on signal 9',
                 'shared memory zone "\S+" was locked by');

my $near;

storm('all of it', sub { });
$near = zone($nginx)->{labels}[0]{near_hits};
cmp_ok($near, '>', 100, "$near hits were near");

storm('while keys go', sub {
    $redis->cmd('DEL', 'api:{/' . int(rand($uris)) . '}') for 1 .. 20;
});

my $kills = 0;

storm('while workers are killed', sub {
    my @workers = $nginx->workers() or return;
    kill 'KILL', $workers[rand @workers];
    $kills++;
    select undef, undef, undef, 0.2;
});
cmp_ok($kills, '>', 5, "$kills were");

storm('while it is reloaded', sub { $nginx->reload(); });

ok((wait_for { $nginx->get('/1')->header('X-Source') eq 'near' }),
   'and it works');

$t->done();


sub storm {
    my ($name, $meanwhile) = @_;
    my $until = time() + $seconds;
    my @log = map { $t->dir() . "/client-$_" } 1 .. $clients;

    unlink @log;

    my @pids = map {
        my $n = $_;
        spawn(code => sub { client($n, $until) }, log => $log[$n - 1])
    } 1 .. $clients;

    while (time() < $until) {
        $meanwhile->();
        select undef, undef, undef, 0.02;
    }

    stop_pid($_, 0) for @pids;

    my $said = join '', map { slurp($_) } @log;
    my $requests = 0;
    $requests += $_ for $said =~ /^requests (\d+)/mg;

    is(join('', grep { !/^requests / } split /^/, $said), '',
       "$name: nothing is wrong");
    cmp_ok($requests, '>', 50, "with $requests requests");

    return;
}


# each has some URIs that nobody else changes

sub client {
    my ($n, $until) = @_;
    my ($requests, $c, %least) = (0);

    srand($n);

    while (time() < $until) {
        $c ||= $nginx->connect();

        # a few are asked for most

        my $i = int($uris * rand() ** 3);
        my $uri = "/$i";
        my $mine = ($i % $clients == $n - 1);

        if ($mine && rand() < 0.05) {
            my $r = $c->request('POST', $uri, keepalive => 1);

            if (!$r || $r->status != 204) {
                $c = undef;
                next;
            }

            $least{$uri} = $r->header('X-Version');
        }

        my $r = $c->request('GET', $uri, keepalive => 1);

        if (!$r || !$r->complete) {

            # its worker was killed

            $c = undef;
            next;
        }

        $requests++;
        next if $r->status != 200;

        my ($of, $version, $sum, $data)
            = $r->body =~ /^(\S+) (\d+) (\S+) (.*)/s;

        print "$uri: a body of $of\n" if ($of // '') ne $uri;
        print "$uri: torn\n" if md5_hex($data // '') ne ($sum // '');
        print "$uri: version $version after $least{$uri}\n"
            if $mine && $version < ($least{$uri} // 0);
    }

    print "requests $requests\n";

    return;
}


# The version is a time, and that of a change is when it was made.

sub origin {
    my ($req) = @_;
    my ($n) = $req->uri =~ m{^/(\d+)};
    my $version = sprintf '%.0f', time() * 1e6;

    return response(204, [ 'X-Version' => $version ], '')
        if $req->method eq 'POST';

    my $data = chr(97 + $n % 26) x (1 + $n ** 3 % 30000) . $version;

    return response(200, [ 'Cache-Control' => 'max-age=600' ],
                    join ' ', $req->uri, $version, md5_hex($data), $data);
}
