#!/usr/bin/perl

# Who bypasses the cache has no key until something asks for it.  Whatever
# does must find the one that everybody else has: a log, Cache-Status, and a
# store, which renews what is under that key.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    large_client_header_buffers  4 32k;

    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=20s timeout=20s;
    redis_proxy_cache_budget  20s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache         api;
        redis_proxy_cache_bypass  $http_x_bypass;
        redis_proxy_no_cache      $http_x_no_cache;
        add_header                X-Cache  $redis_proxy_cache_status always;
        add_header                X-Reason $redis_proxy_cache_reason always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /told {
            proxy_pass  http://%%ORIGIN%%;
            add_header  X-Key $redis_proxy_cache_key always;
        }

        location /status {
            proxy_pass                       http://%%ORIGIN%%;
            redis_proxy_cache_status_header  here;
        }
    }
CONF

my $host = '127.0.0.1:' . $nginx->port();
my @neither = ('X-Bypass' => 1, 'X-No-Cache' => 1, Host => $host);
my ($r, $key);

# neither looked up nor stored: no key, and nobody misses it

$r = $nginx->get('/a?x', @neither);
is($r->body, 'answer 1', 'it passes');
is($r->header('X-Cache'), 'BYPASS', 'a bypass');
is($r->header('X-Reason'), 'no_cache', 'that is not stored');
is_deeply([ $redis->keys('*') ], [ ], 'nothing is in Redis');

# bypassed, and stored under the key that it is looked up by

$r = $nginx->get('/a?x', 'X-Bypass' => 1);
is($r->body, 'answer 2', 'bypassed');
$nginx->settle();
$r = $nginx->get('/a?x');
is($r->body, 'answer 2', 'what it brought is found');
is($r->header('X-Cache'), 'HIT', 'as a hit');
$nginx->get('/a?x', 'X-Bypass' => 1);
$nginx->settle();
is($nginx->get('/a?x')->body, 'answer 3', 'and renewed by the next one');
is(scalar(() = $redis->keys('*')), 1, 'there is one key');

# a variable asks for it, on a request that stores nothing

$r = $nginx->get('/told?y=1', @neither);
$key = $nginx->get('/told?y=1', Host => $host)->header('X-Key');
like($key, qr{^http://[^/]+/told\?y=1$}, 'the key of a miss');
is($r->header('X-Key'), $key, 'is that of a bypass');

# Cache-Status has it

like($nginx->get('/status?z', @neither)->header('Cache-Status'),
     qr{; key="http://[^/]+/status\?z"}, 'it is in Cache-Status');

# too long to be one

$r = $nginx->get('/' . 'k' x 10000, 'X-Bypass' => 1);
is($r->status, 200, 'a very long URI passes');
is($r->header('X-Reason'), 'key_too_long', 'and is not stored');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control', 'max-age=60' ], 'answer ' . $req->n);
}
