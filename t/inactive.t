#!/usr/bin/perl

# zone inactive=: what nobody asks for leaves Redis long before it is stale,
# what is asked for stays.  keep=: how long past its freshness an entry waits
# to be validated, or served stale.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(sub { $_[1]->obey() });

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%% inactive=100s
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_zone    brief:1m server=%%REDIS%% inactive=3s
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_zone    kept:1m server=%%REDIS%% keep=30s
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_zone    default:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_zone    both:1m server=%%REDIS%% keep=200s
                              inactive=100s
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /brief/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  brief;
        }

        location /kept/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache             kept;
            redis_proxy_cache_revalidate  on;
        }

        location /kept/stale/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache                 kept;
            redis_proxy_cache_client_control  on;
        }

        location /kept/plain/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  kept;
        }

        location /kept/use_stale/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache            kept;
            redis_proxy_cache_use_stale  http_500;
        }

        location /kept/offline/ {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache          kept;
            redis_proxy_cache_offline  $arg_offline;
        }

        location /default/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache             default;
            redis_proxy_cache_revalidate  on;
        }

        location /both/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache             both;
            redis_proxy_cache_revalidate  on;
        }
    }
CONF

my $r;

# the TTL is capped

$nginx->get('/long', 'X-Say' => 'Cache-Control: max-age=1000');
near('api:{http://localhost/long}', 100, 'inactive= caps a longer life');
$nginx->get('/short', 'X-Say' => 'Cache-Control: max-age=50');
near('api:{http://localhost/short}', 50, 'but does not lengthen a shorter');

# and renewed by who asks

for my $method (qw(GET HEAD)) {
    $redis->cmd('PEXPIRE', 'api:{http://localhost/long}', 20000);
    is($nginx->request($method, '/long')->verdict, 'HIT -', "$method: a hit");
    near('api:{http://localhost/long}', 100, 'renews it');
}

# in time

$nginx->get('/brief/used', 'X-Say' => 'Cache-Control: max-age=1000');
$nginx->get('/brief/unused', 'X-Say' => 'Cache-Control: max-age=1000');
my %seen;
ok((wait_for {
    $seen{ $nginx->get('/brief/used')->verdict }++;
    return !$redis->exists('brief:{http://localhost/brief/unused}');
} 20), 'unused: it is gone');
is_deeply([ keys %seen ], [ 'HIT -' ], 'used: it stays');
is($nginx->get('/brief/used')->verdict, 'HIT -', 'also after that');
is($nginx->get('/brief/unused')->verdict, 'MISS no_lifetime', 'a miss');
ok((wait_for { !$redis->exists('brief:{http://localhost/brief/used}') } 10),
   'so is the other one when nobody asks any more');

# use does not make it fresh

$nginx->get('/short-lived', 'X-Say' => 'Cache-Control: max-age=3');
is($nginx->get('/short-lived')->verdict, 'HIT -', 'fresh for three seconds');
ok((wait_for { $nginx->get('/short-lived')->verdict =~ /^(?:EXPIRED|MISS)/ }
    20),
   'and no longer, however often it is asked for');

# variants: marker and variant are renewed together

my $vary = 'Cache-Control: max-age=1000|Vary: X-V';
$nginx->get('/vary', 'X-V' => $_, 'X-Say' => $vary) for qw(a b);
my ($marker) = grep { /vary\}$/ } $redis->keys('api:*');
my @variants = grep { /vary\}:v:/ } $redis->keys('api:*');
is(@variants, 2, 'two variants');
near($_, 100, "inactive= caps $_") for $marker, @variants;
$redis->cmd('PEXPIRE', $_, 20000) for $marker, @variants;
is($nginx->get('/vary', 'X-V' => 'a')->verdict, 'HIT -', 'one is used');
near($marker, 100, 'the marker is renewed');
is(scalar(grep { $redis->pttl($_) > 90000 } @variants), 1,
   'and the one variant');

# keep=: for what can be validated, or served stale to who asks for that

my $tagged = 'Cache-Control: max-age=10|ETag: "a"';

for (
    [ 'kept', '/kept/tag', $tagged, 40 ],
    [ 'kept', '/kept/modified', 'Cache-Control: max-age=10|Last-Modified: '
        . 'Mon, 01 Jan 2024 00:00:00 GMT', 40 ],
    [ 'kept', '/kept/no-tag', 'Cache-Control: max-age=10', 10 ],
    [ 'kept', '/kept/no-cache', 'Cache-Control: no-cache|ETag: "a"', 30 ],
    [ 'kept', '/kept/plain/1', $tagged, 10 ],
    [ 'kept', '/kept/stale/1', 'Cache-Control: max-age=10', 40 ],
    [ 'kept', '/kept/use_stale/1', 'Cache-Control: max-age=10', 40 ],
    [ 'kept', '/kept/offline/1', 'Cache-Control: max-age=10', 40 ],

    # s-maxage forbids it only as long as nobody says otherwise

    [ 'kept', '/kept/use_stale/2', 'Cache-Control: s-maxage=10', 40 ],
    [ 'kept', '/kept/use_stale/3', 'Cache-Control: max-age=10, '
        . 'must-revalidate', 10 ],
    [ 'kept', '/kept/offline/2', 'Cache-Control: max-age=10, '
        . 'proxy-revalidate', 10 ],

    # RFC 5861 needs no directive

    [ 'kept', '/kept/plain/2', 'Cache-Control: max-age=10, '
        . 'stale-while-revalidate=20', 30 ],
    [ 'kept', '/kept/plain/3', 'Cache-Control: s-maxage=10, '
        . 'stale-while-revalidate=20, stale-if-error=60', 70 ],
    [ 'kept', '/kept/plain/4', 'Cache-Control: max-age=10, '
        . 'must-revalidate, stale-if-error=60', 10 ],
    [ 'kept', '/kept/use_stale/4', 'Cache-Control: max-age=10, '
        . 'stale-if-error=20', 40 ],
    [ 'both', '/both/2', 'Cache-Control: max-age=10, stale-if-error=600',
        100 ],

    [ 'default', '/default/1', $tagged, 610 ],
    [ 'both', '/both/1', $tagged, 100 ],
) {
    my ($zone, $uri, $say, $want) = @$_;

    is($nginx->get($uri, 'X-Say' => $say)->verdict, 'MISS -', $uri);
    near("$zone:{http://localhost$uri}", $want, "is kept for $want seconds");
}

# a validation renews it

$redis->cmd('PEXPIRE', 'kept:{http://localhost/kept/no-cache}', 5000);
$r = $nginx->get('/kept/no-cache', 'X-Status' => 304, 'X-Say' => $tagged);
is($r->verdict, 'REVALIDATED -', 'what was kept is validated');
near('kept:{http://localhost/kept/no-cache}', 40, 'and lives on');

$t->done();


sub near {
    my ($key, $seconds, $name) = @_;

    # the first store of a zone has to connect before it is on its way

    $redis->wait_key($key);
    my $left = $redis->pttl($key) / 1000;
    ok($left <= $seconds && $left > $seconds - 8, $name)
        or diag("$left, not $seconds");

    return;
}
