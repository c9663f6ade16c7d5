#!/usr/bin/perl

# What the module is for: the second client gets the response that the first
# one got, byte for byte, without the origin being asked, and the entry lives
# in Redis exactly as long as the response is fresh, under a readable key.

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
    redis_proxy_cache_zone    shop:1m server=%%REDIS%%/3 prefix=v7/shop:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
        }

        location /shop/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  shop;
        }
    }
CONF

my ($miss, $hit, $key);

# the response as a whole

$miss = $nginx->get('/page?x=1');
is($miss->verdict, 'MISS -', 'the first request is a miss');
is($miss->header('Age'), undef, 'it came from the origin');

$key = 'api:{http://localhost/page?x=1}';
ok($redis->wait_key($key), 'the response is in Redis, the key is readable');
like($redis->pttl($key), qr/^(?:5[5-9]\d\d\d|60000)$/,
     'its TTL is what is left of max-age');
like($redis->get($key), qr/^RPC\x02/, 'it starts with magic and version');

$hit = $nginx->get('/page?x=1');
is($hit->verdict, 'HIT -', 'the second one is a hit');
is($hit->line, 'HTTP/1.1 200 Fine, thanks', 'with the same status line');
is_deeply($hit->lasting, $miss->lasting, 'the same headers in their order');
is_deeply([ $hit->headers('X-Many') ], [ 'one', 'two', 'three, four' ],
          'repeated headers apart');
is_deeply([ $hit->headers('Link') ], [ '</a>; rel=a', '</b>; rel=b' ],
          'also those that nginx knows');
is($hit->header('Content-Type'), 'text/x-test; charset=utf-8',
   'Content-Type is whole');
is($hit->header('ETag'), '"abc"', 'ETag is there');
is($hit->header('Last-Modified'), 'Mon, 01 Jan 2024 00:00:00 GMT',
   'Last-Modified is there');
is($hit->body, every_byte(), 'the body is the same, zero bytes included');
is($hit->header('Content-Length'), length every_byte(),
   'Content-Length is right');
is(scalar(my @a = $hit->headers('Age')), 1, 'there is one Age');
like($hit->header('Age'), qr/^\d$/, 'and it is small');
is(scalar(my @d = $hit->headers('Date')), 1, 'there is one Date');
is($origin->count('/page?x=1'), 1, 'the origin was asked once');

is($nginx->get('/page?x=2')->verdict, 'MISS -', 'other arguments, other key');

# what belongs to one connection or to this nginx only is not replayed

$nginx->get('/hop');
$nginx->settle();
$hit = $nginx->get('/hop');
is($hit->verdict, 'HIT -', 'a hit on a response with hop-by-hop headers');
is($hit->header($_), undef, "$_ is not stored")
    for 'Keep-Alive', 'X-Hop', 'Upgrade', 'Proxy-Authenticate',
        'X-Accel-Expires', 'X-Accel-Buffering';
is($hit->header('X-Stays'), 'yes', 'the rest is');

# Age goes on from what the response had

$nginx->get('/aged');
$nginx->settle();
$hit = $nginx->get('/aged');
is($hit->verdict, 'HIT -', 'a hit on a response that had an age');
like($hit->header('Age'), qr/^10[0-5]$/, 'its age is counted on');
is(scalar(@a = $hit->headers('Age')), 1, 'in one Age');
like($redis->pttl('api:{http://localhost/aged}'),
     qr/^(?:19[5-9]\d\d\d|200000)$/,
     'and the TTL is what is left: max-age less the age');

# the lifetime comes from the most specific source

for (
    [ '/ttl/s-maxage',   50, 's-maxage before max-age' ],
    [ '/ttl/max-age',    40, 'max-age before Expires' ],
    [ '/ttl/expires',    30, 'Expires' ],
    [ '/ttl/accel',      20, 'X-Accel-Expires before all others' ],
    [ '/ttl/accel-at',   20, 'X-Accel-Expires as a point in time' ],
    [ '/ttl/quoted',     25, 'max-age in quotes' ],
    [ '/ttl/two-lines',  15, 'the least of two max-age' ],
    [ '/ttl/old-date',   60, 'max-age less the time since Date' ],
) {
    my ($uri, $seconds, $name) = @$_;

    is($nginx->get($uri)->verdict, 'MISS -', "$uri is stored");
    $nginx->settle();
    my $left = $redis->pttl("api:{http://localhost$uri}") / 1000;
    ok($left <= $seconds && $left > $seconds - 4, "its TTL: $name")
        or diag("$left, not $seconds");
    is($nginx->get($uri)->verdict, 'HIT -', 'and it is a hit then');
}

# other statuses

for (
    [ '/status/404', 'HTTP/1.1 404 Nothing here', 'gone' ],
    [ '/status/301', 'HTTP/1.1 301 Moved Permanently', '' ],
    [ '/status/204', 'HTTP/1.1 204 No Content', '' ],
    [ '/status/299', 'HTTP/1.1 299 What', 'unknown to all' ],
) {
    my ($uri, $line, $body) = @$_;

    $miss = $nginx->get($uri);
    is($miss->verdict, 'MISS -', "$uri with max-age is stored");
    $nginx->settle();
    $hit = $nginx->get($uri);
    is($hit->verdict, 'HIT -', "$uri is a hit");
    is($hit->line, $line, 'with its status line');
    is($hit->body, $body, 'and its body');
    is_deeply($hit->lasting, $miss->lasting, 'and its headers');
}

is($hit->header('Location'), undef, 'no header comes from nowhere');
is($nginx->get('/status/301')->header('Location'),
   'http://elsewhere.example/x?y', 'a redirect keeps its Location');

# another prefix, another database

is($nginx->get('/shop/1')->verdict, 'MISS -', 'a miss in the other zone');
$redis->cmd('SELECT', 3);
ok($redis->wait_key('v7/shop:{http://localhost/shop/1}'),
   'the prefix and the database are as configured');
is_deeply([ $redis->keys('api:*') ], [], 'the zones are apart');
is($nginx->get('/shop/1')->verdict, 'HIT -', 'a hit in the other zone');
$redis->cmd('SELECT', 0);

# it ends when it is no longer fresh

$nginx->get('/brief');
is($nginx->get('/brief')->verdict, 'HIT -', 'fresh for three seconds');
ok(wait_for { $nginx->get('/brief')->verdict =~ /^(?:MISS|EXPIRED)/ },
   'and then no more');
is($origin->count('/brief'), 2, 'the origin is asked again');

# an entry that outlives its freshness, as after a PERSIST, is not served

$nginx->get('/brief?kept');
$key = 'api:{http://localhost/brief?kept}';
$redis->wait_key($key);
my $entry = $redis->get($key);
ok(wait_for { !$redis->exists($key) }, 'a short life is over');
$redis->cmd('SET', $key, $entry, 'PX', 60000);
my $r = $nginx->get('/brief?kept');
is($r->verdict, 'EXPIRED -', 'what is there but not fresh is expired');
is($r->body, '/brief ' . $origin->latest->n, 'and fetched anew');
is($nginx->get('/brief?kept')->verdict, 'HIT -', 'then it is fresh again');

# keepalive: many answers on one connection

my $c = $nginx->connect();
for my $n (1 .. 3) {
    my $r = $c->request('GET', '/page?x=1', keepalive => 1);
    is($r->body, every_byte(), "hit $n on one connection");
}
$c->send(map { RCache::HTTP::format_request('GET', "/page?x=$_",
                                            keepalive => 1) } 1, 2, 1);
is($c->response('GET')->body, every_byte(), "pipelined hit $_") for 1 .. 3;
$c->close();

$t->done();


sub every_byte {
    return join('', map { chr } 0 .. 255) . "\0\0end\r\n\0";
}


sub origin {
    my ($req, $reply) = @_;

    my $path = $req->path;
    my $now = int(time());

    if ($path eq '/page') {
        $reply->send('200 Fine, thanks', [
            'Content-Type' => 'text/x-test; charset=utf-8',
            'Last-Modified' => 'Mon, 01 Jan 2024 00:00:00 GMT',
            'ETag' => '"abc"', 'X-Many' => 'one', 'Cache-Control' =>
            'max-age=60', 'X-Many' => 'two', 'Link' => '</a>; rel=a',
            'X-Many' => 'three, four', 'Link' => '</b>; rel=b',
            'Vendor-Empty' => '',
        ], every_byte());

    } elsif ($path eq '/hop') {
        $reply->send(200, [
            'Cache-Control' => 'max-age=60', 'Connection' => 'X-Hop',
            'X-Hop' => '1', 'Keep-Alive' => 'timeout=5', 'Upgrade' => 'h2c',
            'Proxy-Authenticate' => 'Basic', 'X-Accel-Buffering' => 'yes',
            'X-Accel-Expires' => '60', 'X-Stays' => 'yes',
        ], 'hop');

    } elsif ($path eq '/aged') {
        $reply->send(200, [ 'Age' => 100, 'Cache-Control' => 'max-age=300' ],
                     'aged');

    } elsif ($path =~ m{^/ttl/(.*)}) {
        my %headers = (
            's-maxage' => [ 'Cache-Control' => 's-maxage=50, max-age=3' ],
            'max-age' => [ 'Cache-Control' => 'public, MAX-AGE=40',
                           'Expires' => http_date($now + 900) ],
            'expires' => [ 'Expires' => http_date($now + 30) ],
            'accel' => [ 'X-Accel-Expires' => '20',
                         'Cache-Control' => 's-maxage=7, max-age=5' ],
            'accel-at' => [ 'X-Accel-Expires' => '@' . ($now + 20) ],
            'quoted' => [ 'Cache-Control' => 'x="a, max-age=9", '
                          . 'max-age="25"' ],
            'two-lines' => [ 'Cache-Control' => 'max-age=15',
                             'Cache-Control' => 'max-age=90' ],
            'old-date' => [ 'Cache-Control' => 'max-age=100',
                            'Date' => http_date($now - 40) ],
        );
        $reply->send(200, $headers{$1}, $1);

    } elsif ($path eq '/status/404') {
        $reply->send('404 Nothing here', [ 'Cache-Control' => 'max-age=60' ],
                     'gone');

    } elsif ($path eq '/status/301') {
        $reply->send(301, [ 'Cache-Control' => 'max-age=60', 'Location' =>
                            'http://elsewhere.example/x?y' ]);

    } elsif ($path eq '/status/204') {
        $reply->head(204, 'Cache-Control' => 'max-age=60');

    } elsif ($path eq '/status/299') {
        $reply->send('299 What', [ 'Cache-Control' => 'max-age=60' ],
                     'unknown to all');

    } else {
        my $age = $path eq '/brief' ? 3 : 60;
        $reply->send(200, [ 'Cache-Control' => "max-age=$age" ],
                     $path . ' ' . $req->n);
    }
}
