#!/usr/bin/perl

# When the cache is to keep out of it: bypass asks the origin although there
# is an entry, no_cache keeps a response out of the store, methods and "off"
# leave requests alone.  All of them are inherited as nginx inherits.

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
    redis_proxy_cache_zone    other:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;
    redis_proxy_cache_key     http:$uri;

    map $arg_zone $zone {
        default  "";
        api      api;
        other    other;
        off      off;
        wrong    nowhere;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_bypass  $arg_bypass $http_x_bypass;
            redis_proxy_no_cache      $arg_no_cache $upstream_http_x_no_cache;
        }

        location /both/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_bypass  $arg_off;
            redis_proxy_no_cache      $arg_off;
        }

        location /off/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  off;
        }

        location /get/ {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache_methods  GET;
        }

        location /variable/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  $zone;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_INHERIT%%;

        redis_proxy_cache_key     server:$uri;
        redis_proxy_cache_valid   200 5m;
        redis_proxy_cache_bypass  $arg_bypass;
        redis_proxy_no_cache      $arg_no_cache;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /own/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  own:$uri;

            location /own/inner/ {
                proxy_pass                http://%%ORIGIN%%;
                redis_proxy_cache_bypass  $arg_inner;
                redis_proxy_cache_valid   200 1m;
            }
        }

        location /zone/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  other;
        }

        location /off/ {
            redis_proxy_cache  off;

            location /off/on/ {
                proxy_pass         http://%%ORIGIN%%;
                redis_proxy_cache  api;
            }

            proxy_pass  http://%%ORIGIN%%;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_OFF%%;

        redis_proxy_cache  off;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my ($r, $first);

# bypass: the origin is asked, and its answer takes the place of the entry

$first = $nginx->get('/a');
$nginx->settle();
is($nginx->get('/a')->body, $first->body, 'there is an entry');

for my $ask ([ '/a?bypass=1' ], [ '/a', 'X-Bypass', 'yes' ]) {
    my $before = $nginx->get('/a')->body;
    $r = $nginx->get(@$ask);
    like($r->verdict, qr/^BYPASS (?:-|bypass)$/, "a bypass: @$ask");
    isnt($r->body, $before, 'answered by the origin');
    $nginx->settle();
    my $after = $nginx->get('/a');
    is($after->verdict, 'HIT -', 'then a hit again');
    is($after->body, $r->body, 'on the new response, as nginx has it');
}

for my $ask ('/a?bypass=', '/a?bypass=0') {
    is($nginx->get($ask)->verdict, 'HIT -', "no bypass: $ask");
}

# no_cache: looked at when the response is there

$r = $nginx->get('/b?no_cache=1');
is($r->verdict, 'MISS no_cache', 'no_cache by the request');
$r = $nginx->get('/b?say=no');
is($r->verdict, 'MISS no_cache', 'no_cache by the response');
$nginx->settle();
is($redis->exists('api:{http:/b}'), 0, 'nothing is stored');
is($nginx->get('/b?say=0')->verdict, 'MISS -', 'a response that says 0 is');
$nginx->settle();
is($nginx->get('/b?no_cache=1')->verdict, 'HIT -',
   'no_cache does not forbid to serve');

# both: the cache is as if it were not there

$first = $nginx->get('/both/1');
$nginx->settle();
$r = $nginx->get('/both/1?off=1');
like($r->verdict, qr/^BYPASS (?:bypass|no_cache)$/, 'both at once');
isnt($r->body, $first->body, 'the origin answers');
$nginx->settle();
is($nginx->get('/both/1')->body, $first->body, 'the entry stays as it was');

# off, and methods

for my $time (1, 2) {
    $r = $nginx->get('/off/1');
    is($r->logged('cache'), '', "$time: off: there is no status");
    is($r->body, $origin->latest->n . ' /off/1', 'the origin answers');
}

for my $method (qw(OPTIONS POST PUT PATCH DELETE)) {
    is($nginx->get('/a')->verdict, 'HIT -', "an entry, and then $method");

    $r = $nginx->request($method, '/a', body => 'data');
    is($r->logged('cache'), '', 'there is no status');
    is($r->logged('reason'), 'method', 'the reason is the method');
    is($origin->latest->method, $method, 'the origin gets it');
    is($origin->latest->body, 'data', 'with its body');
    is($r->body, $origin->latest->n . ' /a', 'and answers');

    is($nginx->get('/a')->verdict, $method eq 'OPTIONS' ? 'HIT -' : 'MISS -',
       'what changes nothing leaves the entry, the others take it away');
}

$nginx->get('/get/1');
$nginx->settle();
is($nginx->head('/get/1')->verdict, 'HIT -',
   'HEAD goes with GET, as with proxy_cache_methods');

# GET with a body

$r = $nginx->request('GET', '/body', body => 'asks');
is($origin->latest->body, 'asks', 'a GET with a body arrives whole');
$nginx->settle();
$r = $nginx->request('GET', '/body', body => 'asks');
is($r->body, $origin->latest('/body')->n . ' /body', 'and is answered');

my $c = $nginx->connect();
$c->request('GET', '/body', body => 'asks', keepalive => 1);
$r = $c->request('GET', '/a');
is($r->status, 200, 'its body does not disturb what follows on a hit');
$c->close();

# the zone in a variable

is($nginx->get('/variable/1?zone=api')->verdict, 'MISS -', 'a zone by name');
is($nginx->get('/variable/2?zone=other')->verdict, 'MISS -', 'another');
wait_for { $redis->exists('other:{http:/variable/2}') };
$nginx->settle();
ok($redis->exists('api:{http:/variable/1}'), 'each in its place');
ok($redis->exists('other:{http:/variable/2}'), 'with its prefix');
is($nginx->get('/variable/1?zone=api')->verdict, 'HIT -', 'a hit');
is($nginx->get('/variable/1?zone=other')->verdict, 'MISS -',
   'not in the other zone');
is($nginx->get("/variable/1?zone=$_")->logged('cache'), '', "\"$_\": no cache")
    for 'off', '';
$r = $nginx->get('/variable/1?zone=wrong');
is($r->status, 200, 'a zone that there is not: no failure');
is($r->logged('cache'), '', 'and no cache');
ok($nginx->wait_line('redis_proxy_cache zone "nowhere" not found'),
   'but a line in the log');

# inheritance

for (
    [ '/x',          'api:{server:/x}',   300, 'server over http' ],
    [ '/own/x',      'api:{own:/own/x}',  300, 'location over server' ],
    [ '/own/inner/x', 'api:{own:/own/inner/x}', 60, 'the inner one' ],
    [ '/zone/x',     'other:{server:/zone/x}', 300, 'another zone' ],
    [ '/off/on/x',   'api:{server:/off/on/x}', 300, 'on inside of off' ],
) {
    my ($uri, $key, $seconds, $name) = @$_;

    $nginx->request('GET', "$uri?plain=1", to => 'INHERIT');
    ok($redis->wait_key($key), "$name: $key");
    my $left = $redis->pttl($key) / 1000;
    ok($left <= $seconds && $left > $seconds - 4, 'with its lifetime')
        or diag("$left, not $seconds");
}

is($nginx->request('GET', '/off/x', to => 'INHERIT')->logged('cache'), '',
   'off over server');
is($nginx->request('GET', '/x', to => 'OFF')->logged('cache'), '',
   'off in the server over http');

like($nginx->request('GET', '/own/x?bypass=1', to => 'INHERIT')->verdict,
     qr/^BYPASS/, 'bypass is inherited');
is($nginx->request('GET', '/own/inner/x?bypass=1', to => 'INHERIT')->verdict,
   'HIT -', 'until there is another');
like($nginx->request('GET', '/own/inner/x?inner=1', to => 'INHERIT')->verdict,
     qr/^BYPASS/, 'which is the one that counts');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my @headers = $req->query =~ /plain/ ? () : ('Cache-Control', 'max-age=60');
    push @headers, 'X-No-Cache', $1 if $req->query =~ /say=(\w+)/;

    $reply->send(200, \@headers, $req->n . ' ' . $req->path);
}
