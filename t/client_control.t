#!/usr/bin/perl

# What a client may say of the cache, RFC 9111, 5.2.1.  As in proxy_cache it
# says it in vain: a browser's reload, or somebody who wishes the origin ill,
# must not reach through the cache.  With redis_proxy_cache_client_control on
# the words count, but never against what the response itself demands.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep);
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(sub { $_[1]->obey() });

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache_client_control  on;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /bypass/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_bypass  $arg_bypass;
        }

        location /validate/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
        }

        location /deaf/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_client_control  off;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_DEFAULT%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my $n = 0;
my ($r, $uri);

# a fresh entry: what the client says, and whether it gets it

for (
    [ 'no-cache', 'EXPIRED -' ],
    [ 'No-Cache', 'EXPIRED -' ],
    [ 'foo, no-cache', 'EXPIRED -' ],
    [ 'no-store', 'EXPIRED client' ],
    [ 'max-age=0', 'EXPIRED -' ],
    [ 'max-age=49', 'EXPIRED -' ],
    [ 'max-age=100', 'HIT -' ],
    [ 'max-age=99999999999', 'HIT -' ],
    [ 'max-age="49"', 'EXPIRED -' ],
    [ 'min-fresh=10', 'HIT -' ],
    [ 'min-fresh=60', 'EXPIRED -' ],
    [ 'min-fresh=99999999999', 'EXPIRED -' ],
    [ 'max-age=100, min-fresh=60', 'EXPIRED -' ],
    [ 'max-stale', 'HIT -' ],
    [ 'max-stale=0', 'HIT -' ],
    [ 'only-if-cached', 'HIT -' ],
    [ 'only-if-cached, max-age=100', 'HIT -' ],
    [ 'no-transform', 'HIT -' ],
    [ 'private, s-maxage=0', 'HIT -', 'that is for responses' ],
    [ '', 'HIT -', 'nothing' ],
) {
    my ($say, $verdict, $name) = @$_;

    # 50 of 100 seconds are left
    $uri = '/fresh/' . ++$n;
    my $first = fill($uri, 'Cache-Control: max-age=100|Age: 50');

    $r = $nginx->get($uri, 'Cache-Control' => $say,
                     'X-Say' => 'Cache-Control: max-age=100');
    is($r->verdict, $verdict, "fresh, and Cache-Control: $say"
       . ($name ? ", $name" : ''));

    if ($verdict eq 'HIT -') {
        is($r->body, $first->body, 'from the cache');
        is($origin->count($uri), 1, 'the origin was not asked');

    } else {
        is($r->body, 'answer ' . $origin->latest->n, 'from the origin');
        my $after = $nginx->get($uri);
        is($after->verdict, 'HIT -', 'the next who says nothing has a hit');
        is($after->body, $verdict =~ /-$/ ? $r->body : $first->body,
           $verdict =~ /-$/ ? 'on what was fetched'
                            : 'on what was there: nothing was stored');
    }
}

# Pragma counts only without Cache-Control, RFC 9111, 5.4

for (
    [ [ Pragma => 'no-cache' ], 'EXPIRED -' ],
    [ [ Pragma => 'x, No-Cache' ], 'EXPIRED -' ],
    [ [ Pragma => 'no-cached' ], 'HIT -' ],
    [ [ Pragma => 'no-cache', 'Cache-Control' => 'max-age=100' ], 'HIT -' ],
    [ [ 'Cache-Control' => 'x', 'Cache-Control' => 'no-cache' ],
      'EXPIRED -' ],
) {
    my ($headers, $verdict) = @$_;

    $uri = '/pragma/' . ++$n;
    fill($uri, 'Cache-Control: max-age=100');
    $r = $nginx->get($uri, @$headers, 'X-Say', 'Cache-Control: max-age=100');
    is($r->verdict, $verdict, "fresh, and @$headers");
}

# nothing is there

for my $say ('no-cache', 'max-age=0', 'min-fresh=9999', 'max-stale') {
    $uri = '/absent/' . ++$n;
    $r = $nginx->get($uri, 'Cache-Control' => $say,
                     'X-Say' => 'Cache-Control: max-age=100');
    is($r->verdict, 'MISS -', "nothing is there, and $say: fetched, stored");
    is($nginx->get($uri)->verdict, 'HIT -', 'and a hit then');
}

$uri = '/absent/' . ++$n;
$r = $nginx->get($uri, 'Cache-Control' => 'no-store',
                 'X-Say' => 'Cache-Control: max-age=100');
is($r->verdict, 'MISS client', 'nothing is there, and no-store: fetched');
$nginx->settle();
is($redis->exists("api:{http://localhost$uri}"), 0, 'and not stored');

# only-if-cached

$uri = '/only/' . ++$n;
$r = $nginx->get($uri, 'Cache-Control' => 'only-if-cached');
is($r->status, 504, 'only-if-cached, and it is not: 504');
is($r->verdict, 'MISS client', 'for the client says so');
$r = $nginx->head($uri, 'Cache-Control' => 'max-stale, only-if-cached');
is($r->status, 504, 'the same for HEAD');
is($origin->count($uri), 0, 'the origin was not asked');

fill($uri, 'Cache-Control: max-age=100|Age: 50');
for (
    [ 'only-if-cached, no-cache', 504 ],
    [ 'only-if-cached, max-age=10', 504 ],
    [ 'only-if-cached, min-fresh=60', 504 ],
    [ 'only-if-cached, no-store', 504 ],
    [ 'only-if-cached, max-age=60', 200 ],
) {
    $r = $nginx->get($uri, 'Cache-Control' => $_->[0]);
    is($r->status, $_->[1], "an entry, and $_->[0]: $_->[1]");
}
is($origin->count($uri), 1, 'the origin was not asked for any of these');
is($nginx->get($uri)->verdict, 'HIT -', 'and the entry is still there');

fill("$uri/v", 'Cache-Control: max-age=100|Vary: X-V', 'X-V' => 'a');
$r = $nginx->get("$uri/v", 'X-V' => 'b', 'Cache-Control' => 'only-if-cached');
is($r->status, 504, 'another variant is there: 504');
$r = $nginx->get("$uri/v", 'X-V' => 'a', 'Cache-Control' => 'only-if-cached');
is($r->verdict, 'HIT -', 'this variant is there');

my $c = $nginx->connect();
$r = $c->request('HEAD', '/only/none', keepalive => 1,
                 headers => [ 'Cache-Control' => 'only-if-cached' ]);
is($r->status, 504, '504 to a HEAD on a connection that stays');
$r = $c->request('GET', $uri, keepalive => 1);
is($r->status, 200, 'is followed by no stray byte');
$c->close();

# a stale entry: a response that is stale when it comes is stored for those
# who would have it

my %stale = (
    plain => 'Cache-Control: max-age=100|Age: 600',
    expires => 'Expires: ' . http_date(time() - 500) . '|Date: '
        . http_date(time() - 600),
);

for (
    [ 'max-stale', 'STALE -' ],
    [ 'max-stale=1000', 'STALE -' ],
    [ 'max-stale=99999999999', 'STALE -' ],
    [ 'max-stale=400', 'EXPIRED -' ],
    [ 'max-stale=0', 'EXPIRED -' ],
    [ 'max-stale=x', 'EXPIRED -' ],
    [ 'max-stale, no-cache', 'EXPIRED -' ],
    [ 'max-stale, max-age=700', 'STALE -' ],
    [ 'max-stale, max-age=500', 'EXPIRED -' ],
    [ 'max-stale, min-fresh=1', 'EXPIRED -' ],
    [ 'max-stale, only-if-cached', 'STALE -' ],
    [ 'max-stale, no-store', 'EXPIRED client' ],
    [ 'max-age=700', 'EXPIRED -' ],
    [ 'min-fresh=0', 'EXPIRED -' ],
    [ 'no-transform', 'EXPIRED -' ],
) {
    my ($say, $verdict) = @$_;

    $uri = '/stale/' . ++$n;
    my $first = fill($uri, $stale{plain});
    is($first->verdict, 'MISS -', 'a stale response is stored');

    $r = $nginx->get($uri, 'Cache-Control' => $say,
                     'X-Say' => 'Cache-Control: max-age=100');
    is($r->verdict, $verdict, "stale, and Cache-Control: $say");

    if ($verdict eq 'STALE -') {
        is($r->body, $first->body, 'the stale one is served');
        like($r->header('Age'), qr/^60[0-5]$/, 'with its age');
    }
}

$uri = '/stale/' . ++$n;
fill($uri, $stale{expires});
is($nginx->get($uri, 'Cache-Control' => 'max-stale=1000')->verdict,
   'STALE -', 'stale by Expires, and max-stale');
is($nginx->get($uri, 'Cache-Control' => 'only-if-cached')->status, 504,
   'stale, and only-if-cached without max-stale: 504');
is($nginx->get($uri)->verdict, 'EXPIRED no_lifetime',
   'a client that says nothing does not get it');

# a response that must be validated is never served stale

for my $say ('must-revalidate', 'proxy-revalidate', 's-maxage=100') {
    $uri = '/strict/' . ++$n;
    fill($uri, "Cache-Control: max-age=100, $say|Age: 99");
    ok($redis->wait_key("api:{http://localhost$uri}"), 'it is stored');
    sleep(1.2);

    $r = $nginx->get($uri, 'Cache-Control' => 'max-stale',
                     'X-Say' => 'Cache-Control: max-age=100');
    is($r->verdict, 'EXPIRED -',
       "$say is stronger than max-stale");
    is($r->body, 'answer ' . $origin->latest->n, 'the origin answers');
}

$uri = '/strict/' . ++$n;
$r = $nginx->get($uri, 'X-Say' => "Cache-Control: must-revalidate|"
                                  . $stale{plain});
is($r->verdict, 'MISS stale', 'one that is stale when it comes is of no use');

$uri = '/validate/' . ++$n;
fill($uri, 'Cache-Control: no-cache|ETag: "a"');
$r = $nginx->get($uri, 'Cache-Control' => 'max-stale=1000',
                 'X-Status' => '304', 'X-Say' => 'ETag: "a"');
is($r->verdict, 'REVALIDATED -', 'no-cache is stronger than max-stale');
is($origin->latest->header('If-None-Match'), '"a"', 'it is validated');

# with revalidation a reload is a condition to the origin

$uri = '/validate/' . ++$n;
my $first = fill($uri, 'Cache-Control: max-age=100|ETag: "b"');
$r = $nginx->get($uri, 'Cache-Control' => 'no-cache', 'X-Status' => '304',
                 'X-Say' => 'Cache-Control: max-age=100|ETag: "b"');
is($r->verdict, 'REVALIDATED -', 'no-cache on a fresh entry validates it');
is($r->body, $first->body, 'and gets the stored body');
$r = $nginx->get($uri, 'Cache-Control' => 'only-if-cached, no-cache');
is($r->status, 504, 'but not with only-if-cached');

# a bypass is the configuration's word, which stands above

$uri = '/bypass/' . ++$n;
fill($uri, 'Cache-Control: max-age=100');
$r = $nginx->get("$uri?bypass=1", 'Cache-Control' => 'max-stale');
is($r->verdict, 'BYPASS no_lifetime', 'bypass and max-stale');

# Range and conditions on a forced fetch are answered from the new response

$uri = '/cond/' . ++$n;
fill($uri, 'Cache-Control: max-age=100|ETag: "c"');
$r = $nginx->get($uri, 'Cache-Control' => 'no-cache', Range => 'bytes=0-1',
                 'X-Body' => 'xyz', 'X-Say' => 'Cache-Control: max-age=9');
is($r->status . $r->body, '206xy', 'no-cache and Range');
is($origin->latest->header('Range'), undef, 'the origin sends the whole');
is($nginx->get($uri)->body, 'xyz', 'which is stored');

# off

for my $o ([ to => 'MAIN', '/deaf/', 'switched off' ],
           [ to => 'DEFAULT', '/', 'by default' ])
{
    my ($to, $port, $path, $name) = @$o;

    $uri = "${path}off/" . ++$n;
    $nginx->request('GET', $uri, to => $port,
                    headers => [ 'X-Say', 'Cache-Control: max-age=100' ]);

    for my $say ([ 'Cache-Control' => 'no-cache' ],
                 [ 'Cache-Control' => 'no-store' ],
                 [ 'Cache-Control' => 'max-age=0' ],
                 [ 'Cache-Control' => 'min-fresh=1000' ],
                 [ Pragma => 'no-cache' ])
    {
        $r = $nginx->request('GET', $uri, to => $port, headers => $say);
        is($r->verdict, 'HIT -', "$name: @$say is not heard");
    }

    $uri .= '/oic';
    $r = $nginx->request('GET', $uri, to => $port, headers =>
                         [ 'Cache-Control' => 'only-if-cached',
                           'X-Say' => 'Cache-Control: max-age=100' ]);
    is($r->verdict, 'MISS -', "$name: nor only-if-cached");
    $r = $nginx->request('GET', "$uri/2", to => $port, headers =>
                         [ 'Cache-Control' => 'no-store',
                           'X-Say' => 'Cache-Control: max-age=100' ]);
    is($r->verdict, 'MISS -', "$name: no-store does not forbid to store");

    $uri .= '/stale';
    $nginx->request('GET', $uri, to => $port, headers =>
                    [ 'X-Say' => $stale{plain} ]);
    $r = $nginx->request('GET', $uri, to => $port, headers =>
                         [ 'Cache-Control' => 'max-stale' ]);
    is($r->verdict, 'MISS no_lifetime', "$name: nor max-stale");
}

# without Redis only-if-cached is a 504 too: the origin is not to be asked

$redis->stop();
ok(wait_for { $nginx->get('/down/first', 'X-Say' => 'Cache-Control: max-age=9')
              ->verdict =~ /redis_down/ },
   'Redis is gone');
my $before = $origin->count('/down/only');
$r = $nginx->get('/down/only', 'Cache-Control' => 'only-if-cached');
is($r->status, 504, 'only-if-cached without Redis: 504');
is($origin->count('/down/only'), $before, 'and nobody asks the origin');
$r = $nginx->get('/down/other', 'Cache-Control' => 'max-stale');
is($r->status, 200, 'other words do not matter then');

$t->done();


sub fill {
    my ($where, $say, @headers) = @_;

    my $filled = $nginx->get($where, 'X-Say' => $say, @headers);

    # not every request that follows would wait for it

    $redis->wait_key("api:{http://localhost$where}");

    return $filled;
}
