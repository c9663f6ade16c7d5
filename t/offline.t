#!/usr/bin/perl

# redis_proxy_cache_offline is for the hour in which the upstream must be left
# alone: whatever is there is served, fresh or stale, and not one request
# gets through.  What is not there, or must not be used stale, is a 504.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    map $http_x_offline $offline {
        default  $http_x_offline;
        no       0;
        empty    "";
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache            api;
        redis_proxy_cache_key        $uri;
        redis_proxy_cache_offline    $offline $arg_offline;
        redis_proxy_cache_use_stale  http_503;

        add_header  X-Cache $redis_proxy_cache_status always;
        add_header  X-Reason $redis_proxy_cache_reason always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /ask/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
        }

        location /updating/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  updating;
        }

        location /bypass/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_bypass  $http_x_bypass;
        }

        location /pages/ {
            proxy_pass  http://%%ORIGIN%%;
            error_page  504 = @sorry;
        }

        location @sorry {
            redis_proxy_cache  off;
            return             503 sorry;
        }

        location /rare/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_min_uses  5;
        }
    }
CONF

my @off = ('X-Offline' => 1);
my @uris = qw(/stale /fresh /ask/1 /ask/no-cache /must /proxy /updating/1
              /range /match /head /bypass/1 /pages/1 /kept);
my ($r, %first, $c);

$first{$_} = $nginx->get($_) for @uris;
$nginx->get('/vary', 'Accept-Language' => $_) for 'de', 'en';
$nginx->settle();
RCache::Entry->wait_stale($redis, 'api:{/kept}');

my $asked = $origin->count();

# what is there

$r = $nginx->get('/fresh', @off);
is($r->verdict, 'HIT -', 'what is fresh is a hit');
is($r->body, $first{'/fresh'}->body, 'with its body');

for my $uri (qw(/stale /ask/1 /updating/1 /kept /pages/1 /bypass/1)) {
    for my $time (1, 2) {
        $r = $nginx->get($uri, @off);
        is($r->status . ' ' . $r->header('X-Cache'), '200 STALE',
           "$uri: what is stale is served");
        is($r->body, $first{$uri}->body, 'with its body');
        like($r->header('Age'), qr/^[1-9]/, 'and its age');
    }
}

$r = $nginx->get('/stale?offline=yes');
is($r->header('X-Cache'), 'STALE', 'by another variable');

# in whatever form it is wanted

$r = $nginx->request('HEAD', '/head', headers => [ @off ]);
is($r->status . $r->body, '200', 'HEAD');
is($r->header('Content-Length'), length $first{'/head'}->body, 'of it');
$r = $nginx->get('/range', @off, Range => 'bytes=0-5');
is($r->status . $r->body, '206answer', 'a range');
$r = $nginx->get('/match', @off, 'If-None-Match' => '"v1"');
is($r->status, 304, 'a condition');

for my $language ('de', 'en') {
    $r = $nginx->get('/vary', @off, 'Accept-Language' => $language);
    is($r->header('Content-Language'), $language, "the variant for $language");
}

# what is not there, or not to be used

for my $uri (qw(/unknown /must /proxy /ask/no-cache /rare/1)) {
    $r = $nginx->get($uri, @off);
    is($r->status, 504, "$uri: nothing to be served");
    unlike($r->body, qr/answer/, 'and nothing is');
}

$r = $nginx->get('/vary', @off, 'Accept-Language' => 'fr');
is($r->status, 504, 'a variant that nobody has fetched');

$r = $nginx->request('HEAD', '/unknown', headers => [ @off ]);
is($r->status . $r->body, '504', 'HEAD for what is not there');

$r = $nginx->get('/pages/unknown', @off);
is($r->status . $r->body, '503sorry', 'with an error page');

$c = $nginx->connect();
$r = $c->request('GET', '/unknown', keepalive => 1, headers => [ @off ]);
is($r->status, 504, 'a 504');
$r = $c->request('GET', '/stale', headers => [ @off ]);
is($r->status, 200, 'and another request on the same connection');

# many at once: nobody waits for anybody

my $crowd = $t->crowd(ports => [ $nginx->port() ], clients => 40,
                      uri => '/unknown', headers => [ @off ],
                      processes => 1)->go();
is_deeply(RCache::Crowd::tally('status', $crowd->answers()), { 504 => 40 },
          'forty that want what is not there');

is($origin->count(), $asked, 'nobody has asked the origin');

# not offline

for my $value ('no', 'empty') {
    $r = $nginx->get("/new-$value", 'X-Offline' => $value);
    is($r->verdict, 'MISS -', "$value: asks as always");
}

$r = $nginx->get('/stale');
is($r->verdict, 'EXPIRED -', 'without the header, too');
is($nginx->get('/stale', @off)->verdict, 'HIT -', 'that was stored');

$r = $nginx->get('/unknown');
is($r->verdict, 'MISS -', 'what was not there is fetched');
$redis->wait_key('api:{/unknown}');
is($nginx->get('/unknown', @off)->verdict, 'HIT -', 'and served, offline');

# Redis is gone

$redis->stop();
wait_for { $nginx->get('/fresh')->verdict =~ /redis/ };
$asked = $origin->count();
$r = $nginx->get('/fresh', @off);
is($r->status, 504, 'without Redis nothing is there');
is($origin->count(), $asked, 'and nobody is asked');

$t->done();


my %count;

sub origin {
    my ($req) = @_;

    my $path = $req->path;
    my $n = ++$count{$path};
    my $control = $path =~ m{must} ? 'max-age=1, must-revalidate'
        : $path =~ m{proxy} ? 'max-age=1, proxy-revalidate'
        : $path =~ m{no-cache} ? 'max-age=1, no-cache'
        : $path =~ m{fresh|vary} || $n > 1 || $path =~ m{new|unknown}
        ? 'max-age=600' : 'max-age=1';
    my @headers = ('Cache-Control' => $control, ETag => '"v1"');

    push @headers, Vary => 'Accept-Language', 'Content-Language' =>
        $req->header('Accept-Language') if $path eq '/vary';

    return response(200, \@headers, "answer $n to $path");
}
