#!/usr/bin/perl

# What is too long for the zone's shared memory is read from Redis by those who
# wait at other workers, and what is longer than a segment by all who wait.
# When Redis is away there is nothing to read, at the worst of moments for an
# upstream: each worker is to ask it once more, not each client; and where
# nothing can be shared, nobody is to wait for what another one fetches.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Lock;

my $clients = 40;
my $body = 'abcdefgh' x 25_600;
my %count;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $nginx = $t->nginx(patient() . <<'CONF', workers => 2);
    server {
        listen  127.0.0.1:%%PORT%% reuseport backlog=2048;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        add_header             X-Reason $redis_proxy_cache_reason always;
        add_header             X-Worker $pid always;

        location / {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_segment_size  1m;
        }

        location /parts/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_segment_size  64k;
        }
    }
CONF

$redis->stop();
$origin->say(map { "/notice-$_" } 1 .. 500);

my %down;

ok(wait_for {
    my $r = $nginx->get('/notice');
    $down{ $r->header('X-Worker') } = 1
        if ($r->header('X-Reason') // '') eq 'redis_down';
    return keys %down == 2;
}, 'both workers know that Redis is gone');

for my $case ([ '/whole', 1 + 1 ], [ '/parts/some', 1 + $clients ]) {
    my ($uri, $fetches) = @$case;

    my $leader = $nginx->begin('GET', $uri);
    ok(wait_for { $origin->count($uri) == 1 }, "$uri: one leads");

    my $crowd = $t->crowd(ports => [ $nginx->port() ], clients => $clients,
                          uri => $uri)->go();
    ok($origin->stays($uri, 1, 0.3), "$clients wait, at both workers");

    # nobody else gets an answer before all have asked that want to

    $origin->say("$uri-1");
    is($leader->response()->body, $body, 'who leads has its answer');
    ok(wait_for { $origin->count($uri) >= $fetches }, 'then others ask');
    ok($origin->stays($uri, $fetches, 0.3), "fetches: $fetches")
        or diag($origin->count($uri));

    $origin->say(map { "$uri-$_" } 2 .. 100);
    whole($uri, $clients, length $body, $crowd->answers());
    is($origin->count($uri), $fetches, 'and no more than that');
}

$t->done();


# each fetch ends when the test says so

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $n = ++$count{$uri};

    return (\"$uri-$n", response(200, [ 'Cache-Control' => 'max-age=60' ],
                                 $body));
}
