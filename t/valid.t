#!/usr/bin/perl

# redis_proxy_cache_valid gives a lifetime to responses that do not speak of
# their own.  It must never override an origin that does, and it has the
# grammar of proxy_cache_valid, so that a configuration can be carried over.

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
    redis_proxy_cache_valid   200 7m;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache         api;

        location /default/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_valid  2m;
        }

        location /codes/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_valid  200 404 1m;
            redis_proxy_cache_valid  301 1h30m;
            redis_proxy_cache_valid  500 503 5s;
        }

        location /any/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_valid  200 3m;
            redis_proxy_cache_valid  404 0;
            redis_proxy_cache_valid  any 1m;
        }

        location /inherited/ {
            proxy_pass               http://%%ORIGIN%%;
        }
    }
CONF

# URI; how long it is kept, 0 for not at all

for (
    [ '/default/200', 120, 'a time alone is for 200' ],
    [ '/default/301', 120, '301' ],
    [ '/default/302', 120, 'and 302' ],
    [ '/default/404',   0, 'and for no other' ],
    [ '/default/204',   0, 'not for 204' ],

    [ '/codes/200',    60, 'the first of several codes' ],
    [ '/codes/404',    60, 'the second of them' ],
    [ '/codes/301',  5400, 'a code of another line' ],
    [ '/codes/503',     5, 'an error that is named' ],
    [ '/codes/302',     0, 'a code of no line' ],

    [ '/any/200',     180, 'a code goes before "any"' ],
    [ '/any/404',       0, '0 forbids, also before "any"' ],
    [ '/any/502',      60, '"any"' ],
    [ '/any/410',      60, '"any" again' ],

    [ '/inherited/200', 420, 'inherited from http' ],

    [ '/default/200?Cache-Control:max-age=9',      9, 'max-age wins' ],
    [ '/default/200?X-Accel-Expires:8',            8, 'X-Accel-Expires wins' ],
    [ '/default/200?Cache-Control:no-store',       0, 'no-store wins' ],
    [ '/default/200?Cache-Control:private',        0, 'private wins' ],
    [ '/default/200?Cache-Control:no-cache',       0, 'no-cache wins' ],
    [ '/default/200?Cache-Control:max-age=0',      0, 'max-age=0 wins' ],
    [ '/default/200?Expires:0',                    0, 'a past Expires wins' ],
    [ '/default/200?X-Accel-Expires:0',            0, 'its 0 wins' ],
    [ '/default/200?Set-Cookie:a=b',               0, 'not with Set-Cookie' ],
    [ '/default/200?Vary:Cookie',                  0, 'not with Vary' ],
    [ '/default/200?Cache-Control:public',       120, 'public says nothing' ],
) {
    my ($uri, $seconds, $name) = @$_;

    my ($code) = $uri =~ m{/(\d+)};
    my $key = "api:{http://localhost$uri}";

    is($nginx->get($uri)->status, $code, "$uri: $name");
    $nginx->settle();

    my $left = $redis->pttl($key) / 1000;
    my $second = $nginx->get($uri);

    if ($seconds) {
        ok($left <= $seconds && $left > $seconds - 4, 'kept for as long')
            or diag("$left, not $seconds");
        is($second->verdict, 'HIT -', 'a hit then');
        is($second->status, $code, 'of the same status');
        is($origin->count($uri), 1, 'the origin was asked once');

    } else {
        ok($left < 0, 'not kept') or diag($left);
        like($second->verdict, qr/^MISS [a-z]/, 'a miss then');
        is($origin->count($uri), 2, 'the origin was asked twice');
    }
}

# nginx's own error is not the origin's response: it is gone with its cause

my $r = $nginx->get('/any/breaks');
is($r->status, 502, 'the origin breaks off');
$nginx->settle();
is($redis->exists('api:{http://localhost/any/breaks}'), 0,
   'nginx\'s own 502 is not stored, even with "any"');
is($nginx->get('/any/breaks')->status, 200, 'the next one is answered');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    if ($req->path eq '/any/breaks') {
        my $seen = "$reply->{dir}/broken";
        return $reply->send(200, [], 'fine') if -e $seen;
        spit($seen, '');
        return $reply->reset();
    }

    my ($code) = $req->path =~ m{/(\d+)$};
    my @headers = $req->query =~ /^([\w-]+):(.*)$/;

    return $reply->head(204, @headers) if $code == 204;
    $reply->send($code, \@headers, "$code " . $req->n);
}
