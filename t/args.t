#!/usr/bin/perl

# A tracking parameter makes each link a new URL, and the cache useless; the
# order of arguments does the same.  redis_proxy_cache_args says what counts.
# What does not count is poison if the upstream sees it, so that it need not,
# and what a client hides behind a separator that only some know is no reason
# to share.

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
    redis_proxy_cache_zone    api:1m server=%%REDIS%% prefix=p:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache_valid   any 1m;

    large_client_header_buffers  8 64k;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache       api;
        redis_proxy_cache_args  drop utm_* fbclid gclid ~^_ga;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /all/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_args  all empty=drop;
        }

        location /keep/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_args  keep q page ~^f\d+$;
        }

        location /order/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_args  drop x sort=off;
        }

        location /off/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_args  off;
        }

        location /shown/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_args  drop utm_* upstream=key;
        }

        location /shown/uri/ {
            proxy_pass              http://%%ORIGIN%%/other/;
            redis_proxy_cache_args  drop utm_* upstream=key;
        }

        location /own/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  own-$redis_proxy_cache_args;
        }

        location /rewritten/ {
            rewrite     ^/rewritten/(.*)$ /target/$1 break;
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my $n = 0;


# Both are one entry, or not; the key of the first.

sub pair {
    my ($one, $other, $same, $name) = @_;

    my $r = $nginx->get($one);
    is($r->verdict, 'MISS -', "$name: a miss");
    $nginx->settle();
    is($nginx->get($other)->verdict, $same ? 'HIT -' : 'MISS -',
       "$name: the other one is " . ($same ? 'a hit' : 'a miss'));

    return $r;
}


my $r = pair('/a?b=2&a=1&utm_source=x', '/a?a=1&b=2', 1, 'order and tracking');
is($r->logged('key'), 'http://localhost/a?a=1&b=2', 'the key has what counts');
ok($redis->exists('p:{http://localhost/a?a=1&b=2}'), 'and so has Redis');
is($origin->latest('/a?b=2&a=1&utm_source=x')->query, 'b=2&a=1&utm_source=x',
   'the upstream sees what the client sent');

pair('/b?fbclid=1&_ga=2&_gac=3', '/b', 1, 'nothing is left');
pair('/c?', '/c', 1, 'a lonely question mark');
pair('/d?a=1&a=2', '/d?a=2&a=1', 0, 'the order of the same name');
pair('/e?b=0&a=1&a=2', '/e?a=1&b=0&a=2', 1, 'and it stays so');
pair('/f?%61=%7e', '/f?a=~', 1, 'escapes of what needs none');
pair('/g?a=%2f', '/g?a=%2F', 1, 'the case of hex digits');
pair('/h?a=%2F', '/h?a=/', 0, 'an escape of what is reserved');
pair('/i?a', '/i?a=', 0, 'no value, and an empty one');
pair('/j?a=1&', '/j?&a=1&&', 1, 'what is between nothing');
pair('/k?%75tm_source=1', '/k', 1, 'a name in escapes is the name');
pair('/l?UTM_source=1', '/l', 0, 'the case of a name matters');
pair('/m?a=%zz', '/m?a=%Zz', 0, 'what is no escape stays as it is');
pair('/n?a=1', '/N?a=1', 0, 'the path is not touched');
pair('/o?a=b+c', '/o?a=b%20c', 0, 'a plus is no blank');

# an upstream that takes ";" for "&" reads a second argument there

pair('/p?q=1&utm_content=x;q=2', '/p?q=1', 0, 'an argument behind a semicolon');

pair('/all/a?b=&a=1&c', '/all/a?a=1', 1, 'empty ones are dropped');
pair('/all/b?utm_a=1', '/all/b', 0, 'and no others');

pair('/keep/a?q=1&x=2&f12=3&page=', '/keep/a?page=&f12=3&q=1&y=1', 1,
     'only what is named');
pair('/keep/b?q=1', '/keep/b?q=2', 0, 'and that with its value');
pair('/keep/c?f1x=1', '/keep/c', 1, 'a pattern has an end');
pair('/keep/d?q', '/keep/d', 0, 'one without value is there');

pair('/order/a?b=1&a=2&x=3', '/order/a?a=2&b=1', 0, 'without sorting');
is($nginx->get('/order/a?b=1&x=9&a=2')->verdict, 'HIT -',
   'but what is dropped is dropped');

pair('/off/a?a=1&b=2', '/off/a?b=2&a=1', 0, 'off is off');

# what is not in the key is kept from the upstream, if that is wanted

$r = pair('/shown/a%2fb?z=1&utm_campaign=evil&a=%41', '/shown/a%2fb?a=A&z=1',
          1, 'the upstream gets the key\'s');
is($origin->latest->uri, '/shown/a%2fb?a=A&z=1',
   'it has, with the path as it was');
is($r->body, '/shown/a%2fb?a=A&z=1 ' . $origin->latest->n,
   'and the response knows nothing else');
pair('/shown/b?utm_a=1', '/shown/b', 1, 'nothing is left');
is($origin->latest->uri, '/shown/b', 'no question mark either');
pair('/shown/uri/x?utm_a=1&b', '/shown/uri/x?b', 1,
     'a proxy_pass with a URI');
is($origin->latest->uri, '/other/x?b', 'which has its path');

# one that bypasses the cache could still store

is($nginx->get('/own/a?b=1&a=2&utm_a=3')->logged('key'), 'own-a=2&b=1',
   '$redis_proxy_cache_args in a key of one\'s own');

$r = $nginx->get('/rewritten/x?b=1&a=1&gclid=7');
is($r->logged('key'), 'http://localhost/target/x?a=1&b=1',
   'after a rewrite the URI in force');

# an unsafe method removes what the same arguments have

pair('/q?a=1&b=2', '/q?b=2&a=1', 1, 'a resource');
$nginx->request('DELETE', '/q?b=2&a=1&utm_x=1');
is($nginx->get('/q?a=1&b=2')->verdict, 'MISS -', 'is gone with DELETE');

pair('/located?a=1&b=2', '/located?b=2&a=1', 1, 'another one');
$nginx->request('POST', '/make', body => 'x');
is($nginx->get('/located?a=1&b=2')->verdict, 'MISS -',
   'is gone when a Location names it, in whatever order');

# too many to be taken apart: not cached, and quickly so

for my $count (1024, 1025, 10_000) {
    my $uri = '/many?' . join '&', map { "a$_" } 1 .. $count;
    my $want = $count > 1024 ? 'BYPASS args' : 'MISS -';
    $r = $nginx->get($uri);
    is($r->verdict, $want, "$count arguments") if $count != 1024;
    is($r->body, "$uri " . $origin->latest->n, 'go to the upstream');
}

is($nginx->get('/few?' . join '&', map { "utm_$_" } 1 .. 1024)->logged('key'),
   'http://localhost/few', 'as many as are allowed may all be dropped');

# configuration

for (
    [ 'drop', 'redis_proxy_cache_args drop;', qr/invalid value "drop" in/ ],
    [ 'mode', 'redis_proxy_cache_args some a;', qr/invalid value "some" in/ ],
    [ 'option', 'redis_proxy_cache_args drop a empty=x;',
      qr/invalid value "empty=x" in "redis_proxy_cache_args"/ ],
    [ 'order', 'redis_proxy_cache_args drop a sort=off b;',
      qr/invalid value "b" in/ ],
    [ 'all', 'redis_proxy_cache_args all a;', qr/invalid value "a" in/ ],
    [ 'regex', 'redis_proxy_cache_args drop ~(;', qr/invalid value "~\(" in/ ],
    [ 'off', 'redis_proxy_cache_args off a;', qr/invalid value "a" in/ ],
    [ 'twice', "redis_proxy_cache_args off;\n redis_proxy_cache_args off;",
      qr/"redis_proxy_cache_args" directive is duplicate/ ],
) {
    my ($name, $line, $want) = @$_;
    my ($status, $said) = $t->nginx_new($line)->check();
    ok($status && $said =~ $want, "nginx -t: $name") or diag($said);
}

$_->tolerate(qr/\[emerg\]/) for @{ $t->{nginxes} };

$t->done();


sub origin {
    my ($req, $reply) = @_;

    if ($req->path eq '/make') {
        $reply->send(201, [ Location => '/located?b=2&a=1' ], 'made');
        return;
    }

    $reply->send(200, [], $req->uri . ' ' . $req->n);
}
