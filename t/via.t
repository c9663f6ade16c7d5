#!/usr/bin/perl

# Via, RFC 9110, 7.6.3: what proxies before us said is stored and replayed; our
# own line comes behind it, once, on hits, misses and validated responses, and
# only if it is asked for.

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
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache_via  edge;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /validated/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
        }

        location /off/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_via  off;
        }
    }
CONF

is_deeply(via('/one', 'MISS -'), [ '1.0 first, 1.1 second', '1.1 edge' ],
          'on a miss');
is_deeply(via('/one', 'HIT -'), [ '1.0 first, 1.1 second', '1.1 edge' ],
          'on a hit');
unlike($redis->get('api:{http://localhost/one}'), qr/edge/,
       'it is not stored');

is_deeply(via('/off/one', 'MISS -'), [ '1.0 first, 1.1 second' ], 'off');
is_deeply(via('/off/one', 'HIT -'), [ '1.0 first, 1.1 second' ],
          'off, on a hit');

via('/validated/one', 'MISS -');
is_deeply(via('/validated/one', 'REVALIDATED -'),
          [ '1.0 first, 1.1 second', '1.1 edge' ], 'validated');

is_deeply(via('/private', 'MISS private'),
          [ '1.0 first, 1.1 second', '1.1 edge' ], 'not stored');

$t->done();


# the lines of Via, of a response that the log calls so

sub via {
    my ($uri, $verdict) = @_;

    my $r = $nginx->get($uri);
    is($r->verdict, $verdict, "$uri: $verdict");

    return [ $r->headers('Via') ];
}


sub origin {
    my ($req, $reply) = @_;

    return $reply->send(304, [ ETag => '"e"', 'Cache-Control' => 'no-cache' ])
        if $req->header('If-None-Match');

    return $reply->send(200, [
        'Via' => '1.0 first, 1.1 second', 'ETag' => '"e"',
        'Cache-Control' => $req->path =~ /private/ ? 'private'
                         : $req->path =~ /validated/ ? 'no-cache'
                         : 'max-age=60'
    ], 'body');
}
