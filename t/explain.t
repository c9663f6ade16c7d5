#!/usr/bin/perl

# Why was this not a hit?  Whoever has the secret is told, request by request;
# nobody else is.  A front-end engineer sees in the browser what the cache
# took, and the keys that are asked for most are known.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;
use RCache;
use RCache::Status;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);
my $nginx = $t->nginx(<<'CONF', workers => 2, settle => 0);
    redis_proxy_cache_zone    api:2m server=%%REDIS%% timeout=20s
                              connect_timeout=20s top_keys=20;
    redis_proxy_cache_budget  20s;

    map $http_x_explain $explain {
        s3cret   1;
        default  0;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache          api;
        redis_proxy_cache_bypass   $arg_bypass;
        redis_proxy_cache_explain  $explain;

        location / {
            proxy_pass                       http://%%ORIGIN%%;
            redis_proxy_cache_label          pages;
            redis_proxy_cache_server_timing  on;
        }

        location /quiet/ {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache_explain  0;
        }

        location /status {
            redis_proxy_cache_status;
        }
    }
CONF

# explained

my @why = ('X-Explain' => 's3cret');

my $miss = $nginx->get('/a?b=c', @why);
like($miss->header('X-Cache-Explain'),
     qr/^status=MISS; reason=absent; missed=absent; zone="api"; label="pages";/,
     'what it was, and why');
like($miss->header('X-Cache-Explain'),
     qr{; key="http://localhost/a\?b=c"; redis-key="api:\{http://localhost/a},
     'its keys');
like($miss->header('X-Cache-Explain'),
     qr/; ring=led; stored=yes; stored-lifetime=\d+; stored-lifetime-of=s-max/,
     'what it did');
like($miss->header('X-Cache-Explain'),
     qr/; redis-ms=[\d.]+; fetch-ms=[\d.]+; total-ms=/,
     'and what that took');

$redis->wait_key('api:{http://localhost/a?b=c}');

my $hit = $nginx->get('/a?b=c', @why);
like($hit->header('X-Cache-Explain'), qr/^status=HIT; reason=none; missed=none/,
     'a hit');
like($hit->header('X-Cache-Explain'),
     qr/; age=\d+; lifetime=(?:600|59\d); lifetime-of=s-maxage; stale-for=0;/,
     'its age and lifetime, and where that came from');
like($hit->header('X-Cache-Explain'), qr/; took-ms=\d+; entry-bytes=4; /,
     'what it was worth');
like($hit->header('X-Cache-Explain'),
     qr/; ring=none; stored=no; redis-ms=(?!0\.000)[\d.]+; total-ms=/,
     'what it took');
unlike($hit->header('X-Cache-Explain'), qr/fetch-ms/, 'without a fetch');

like($nginx->get('/a?bypass=1', @why)->header('X-Cache-Explain'),
     qr/^status=BYPASS; reason=[a-z_]+; missed=bypass/, 'a bypass');
like($nginx->get('/cookie', @why)->header('X-Cache-Explain'),
     qr/; reason=set_cookie; .*stored=no/, 'what is not stored');

$nginx->get('/vary', 'Accept-Language' => 'de');
$redis->wait_key('api:{http://localhost/vary}');
like($nginx->get('/vary', 'Accept-Language' => 'fr', @why)
     ->header('X-Cache-Explain'),
     qr/vary="accept-language"; variant="accept-language:fr%0A"/,
     'the variant');

my $odd = $nginx->get('/%22;%20x=%22%0d%0aSet-Cookie:%20a=b%5c', @why);
is($odd->header('Set-Cookie'), undef, 'a key splits no header');
is(scalar($odd->headers('X-Cache-Explain')), 1, 'and is told in one');

# not explained

is($nginx->get('/a?b=c')->header('X-Cache-Explain'), undef,
   'nothing without the secret');
is($nginx->get('/a?b=c', 'X-Explain' => 'guess')->header('X-Cache-Explain'),
   undef, 'nor with another one');
is($nginx->get('/quiet/a', @why)->header('X-Cache-Explain'), undef,
   'nor where it is off');

# in the browser

like($miss->header('Server-Timing'),
     qr/^cache;desc=miss;dur=\d+\.\d{3}, fetch;dur=\d+\.\d{3}$/,
     'what a miss took');
my ($fetch) = $miss->header('Server-Timing') =~ /fetch;dur=([\d.]+)/;
cmp_ok($fetch, '>=', 19, 'the upstream its time');
like($hit->header('Server-Timing'), qr/^cache;desc=hit;dur=\d+\.\d{3}$/,
     'what a hit took');
is($nginx->get('/quiet/a')->header('Server-Timing'), undef,
   'not where it is off');

# keys

for my $n (1 .. 60) {
    $nginx->get("/rare/$n");
    $nginx->get('/often') for 1 .. 2;
}

my %keys;

ok(wait_for {
    %keys = %{ RCache::Status->of($nginx)->{zones}[0]{top_keys} };
    $keys{hot}[0]{count} >= 120;
}, 'the hottest key is known');

is($keys{hot}[0]{key}, 'http://localhost/often', 'by its name');
cmp_ok($keys{hot}[0]{count} - $keys{hot}[0]{error}, '<=', 120,
       'and was asked for so often at most');
cmp_ok(scalar @{ $keys{hot} }, '<=', 20, 'there are as many as was said');
ok((grep { $_->{key} =~ m{/rare/} } @{ $keys{missed} }),
   'what is missed is known, too');
is(RCache::Status::schema($t->dir, $nginx->get('/status?format=json')->body,
                          "$FindBin::Bin/../docs/metrics.schema.json"), '',
   'it is as the schema says');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my $uri = $req->uri;

    return $reply->send(200, [ 'Cache-Control' => 'max-age=9',
                               'Set-Cookie' => 'a=b' ], 'cookie')
        if $uri =~ /^\/cookie/;
    return $reply->send(200, [ 'Cache-Control' => 'max-age=600',
                               'Vary' => 'Accept-Language' ], 'vary')
        if $uri =~ /^\/vary/;

    $reply->delay(0.02) if $uri =~ /^\/a/;
    return $reply->send(200, [ 'Cache-Control' => 's-maxage=600,'
                               . ' stale-while-revalidate=30' ], 'body');
}
