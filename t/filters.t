#!/usr/bin/perl

# What is stored is what the origin sent; compression, includes, substitution
# and added headers work on a hit as they do on a miss.  If the stored copy
# were the filtered one, a client without gzip would get gzip, and an include
# would be frozen into the page around it.

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

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache  api;

        location /gzip/ {
            proxy_pass       http://%%ORIGIN%%;
            gzip             on;
            gzip_types       text/plain;
            gzip_min_length  100;
            gzip_vary        on;
        }

        location /gunzip/ {
            proxy_pass  http://%%ORIGIN%%;
            gunzip      on;
        }

        location /charset/ {
            proxy_pass        http://%%ORIGIN%%;
            charset           koi8-r;
            override_charset  on;
        }

        location /redirect/ {
            proxy_pass  http://%%ORIGIN%%/there/;
        }

        location /trailer/ {
            proxy_pass   http://%%ORIGIN%%;
            add_trailer  X-Trailer yes;
        }

        location /sub/ {
            proxy_pass        http://%%ORIGIN%%;
            sub_filter_types  text/plain;
            sub_filter        color colour;
            sub_filter_once   off;
        }

        location /ssi/ {
            proxy_pass  http://%%ORIGIN%%;
            ssi         on;
            ssi_types   text/plain;
        }

        location /add/ {
            proxy_pass  http://%%ORIGIN%%;
            add_header  X-Verdict
                "$redis_proxy_cache_status/$redis_proxy_cache_reason";
            add_header  X-Who $arg_who;
            expires     1h;
        }

        location /addition/ {
            proxy_pass         http://%%ORIGIN%%;
            addition_types     text/plain;
            add_after_body     /tail/x;
        }

        location /tail/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  off;
        }

        location /all/ {
            proxy_pass        http://%%ORIGIN%%;
            gzip              on;
            gzip_types        text/plain;
            gzip_min_length   100;
            sub_filter_types  text/plain;
            sub_filter        color colour;
            sub_filter_once   off;
            ssi               on;
            ssi_types         text/plain;
        }
    }
CONF

my ($miss, $hit, $raw, $plain);

# gzip: for those who take it only, from one stored copy

$plain = 'the color of ' x 200;

$miss = $nginx->get('/gzip/1', 'Accept-Encoding', 'gzip');
is($miss->verdict, 'MISS -', 'a miss through gzip');
is($miss->header('Content-Encoding'), 'gzip', 'is compressed');
is(gunzip($miss->body), $plain, 'and right');
$nginx->settle();
$raw = $redis->get('api:{http://localhost/gzip/1}');
like($raw, qr/\r\n\r\n\Q$plain\E\z/, 'what is stored is not compressed');
unlike($raw, qr/^Content-Encoding/mi, 'and does not say that it is');

$hit = $nginx->get('/gzip/1');
is($hit->verdict, 'HIT -', 'a hit without gzip');
is($hit->body, $plain, 'is plain');
is($hit->header('Content-Length'), length $plain, 'and has its length');
$hit = $nginx->get('/gzip/1', 'Accept-Encoding', 'gzip');
is($hit->verdict, 'HIT -', 'a hit with gzip');
is($hit->header('Content-Encoding'), 'gzip', 'is compressed');
is(gunzip($hit->body), $plain, 'and right');
is($hit->header('Content-Length'), undef, 'with no length of the plain one');

# what the origin compressed is kept as it is

$miss = $nginx->get('/gzip/encoded', 'Accept-Encoding', 'gzip');
$nginx->settle();
$hit = $nginx->get('/gzip/encoded', 'Accept-Encoding', 'gzip');
is($hit->verdict, 'HIT -', 'a hit on what the origin encoded');
is($hit->header('Content-Encoding'), 'x-own', 'keeps its encoding');
is($hit->body, $miss->body, 'and its body');

# gunzip: for those who do not take it

$miss = $nginx->get('/gunzip/1');
is($miss->body, $plain, 'uncompressed on a miss');
$nginx->settle();
$hit = $nginx->get('/gunzip/1');
is($hit->verdict, 'HIT -', 'a hit');
is($hit->body, $plain, 'is uncompressed as well');
is($hit->header('Content-Encoding'), undef, 'and says so');
$hit = $nginx->get('/gunzip/1', 'Accept-Encoding', 'gzip');
is($hit->header('Content-Encoding'), 'gzip', 'others get it as it is');
is(gunzip($hit->body), $plain, 'which is right');

# headers that later filters make

$miss = $nginx->get('/charset/1');
$nginx->settle();
$hit = $nginx->get('/charset/1');
is($hit->verdict, 'HIT -', 'a hit with charset');
is($hit->header('Content-Type'), 'text/plain; charset=koi8-r',
   'has the charset of the location');
is($miss->header('Content-Type'), 'text/plain; charset=koi8-r',
   'as the miss');

$miss = $nginx->get('/redirect/x');
$nginx->settle();
$hit = $nginx->get('/redirect/x');
is($hit->verdict, 'HIT -', 'a hit on a redirect');
like($hit->header('Location'), qr{^http://localhost(?::\d+)?/redirect/y$},
     'whose Location is that of this server');
is($hit->header('Location'), $miss->header('Location'), 'as the miss\'s');
is(scalar(my @l = $hit->headers('Location')), 1, 'once');

$miss = $nginx->get('/trailer/1');
is($miss->body, $plain, 'a response to which nginx adds a trailer');
$nginx->settle();
$hit = $nginx->get('/trailer/1');
is($hit->verdict, 'HIT -', 'is a hit');
is($hit->body, $plain, 'of the same body');

# sub_filter

$miss = $nginx->get('/sub/1');
is($miss->body, 'the colour of ' x 200, 'substituted on a miss');
$nginx->settle();
like($redis->get('api:{http://localhost/sub/1}'), qr/\Q$plain\E\z/,
     'stored as it came');
$hit = $nginx->get('/sub/1');
is($hit->verdict, 'HIT -', 'a hit');
is($hit->body, $miss->body, 'is substituted as well');

# ssi: an include is made anew for each

$miss = $nginx->get('/ssi/page');
like($miss->body, qr/^\[fresh (\d+)\]$/, 'included on a miss');
$nginx->settle();
like($redis->get('api:{http://localhost/ssi/page}'), qr/<!--#include .*-->/,
     'stored with its instruction');
$hit = $nginx->get('/ssi/page');
is($hit->verdict, 'HIT -', 'a hit');
like($hit->body, qr/^\[fresh \d+\]$/, 'has an include as well');
isnt($hit->body, $miss->body, 'and not the first client\'s');

# add_header and expires belong to the location, not to the response

$miss = $nginx->get('/add/1?who=a');
like($miss->header('X-Verdict'), qr{^MISS/(?:-|absent)$},
     'a header is added on a miss');
$nginx->settle();
$raw = $redis->get('api:{http://localhost/add/1?who=a}');
unlike($raw, qr/X-Verdict|X-Who/, 'it is not stored');
$hit = $nginx->get('/add/1?who=a');
is_deeply([ $hit->headers('X-Verdict') ], [ 'HIT/-' ], 'and added on a hit');
is_deeply([ $hit->headers('X-Who') ], [ 'a' ], 'once');
like(join(',', $hit->headers('Cache-Control')), qr/max-age=3600/,
     'expires works on a hit');
is(join('|', $hit->headers('Cache-Control')),
   join('|', $miss->headers('Cache-Control')), 'as it does on a miss');
ok($redis->pttl('api:{http://localhost/add/1?who=a}') <= 60000,
   'and does not lengthen the life of the entry');

# addition

$miss = $nginx->get('/addition/1');
like($miss->body, qr/of tail \d+$/, 'something is added on a miss');
$nginx->settle();
$hit = $nginx->get('/addition/1');
is($hit->verdict, 'HIT -', 'a hit');
like($hit->body, qr/of tail \d+$/, 'has it as well');
isnt($hit->body, $miss->body, 'made anew');

# all at once

$miss = $nginx->get('/all/1', 'Accept-Encoding', 'gzip');
is(gunzip($miss->body), 'the colour of ' x 200, 'all at once on a miss');
$nginx->settle();
$hit = $nginx->get('/all/1', 'Accept-Encoding', 'gzip');
is($hit->verdict, 'HIT -', 'a hit');
is(gunzip($hit->body), 'the colour of ' x 200, 'all at once on a hit');
is($nginx->get('/all/1')->body, 'the colour of ' x 200, 'and without gzip');

$t->done();


sub gunzip {
    my ($data) = @_;

    require IO::Uncompress::Gunzip;
    my $out = '';
    IO::Uncompress::Gunzip::gunzip(\$data, \$out);
    return $out;
}


sub gzip {
    my ($data) = @_;

    require IO::Compress::Gzip;
    my $out = '';
    IO::Compress::Gzip::gzip(\$data, \$out);
    return $out;
}


sub origin {
    my ($req, $reply) = @_;

    my @fresh = ('Cache-Control' => 'max-age=60', 'Content-Type' =>
                 'text/plain');

    if ($req->path eq '/ssi/page') {
        return $reply->send(200, \@fresh,
                            '[<!--#include virtual="/tail/y" -->]');
    }

    if ($req->path eq '/gunzip/1') {
        return $reply->send(200, [ @fresh, 'Content-Encoding', 'gzip' ],
                            gzip('the color of ' x 200));
    }

    if ($req->path eq '/there/x') {
        return $reply->send(302, [ @fresh, 'Location', 'http://'
                                   . $req->header('Host') . '/there/y' ], '');
    }

    if ($req->path eq '/gzip/encoded') {
        return $reply->send(200, [ @fresh, 'Content-Encoding', 'x-own' ],
                            "\x1f\x8bnot really" x 50);
    }

    if ($req->path =~ m{^/tail/(.)}) {
        return $reply->send(200, [ 'Content-Type' => 'text/plain' ],
                            ($1 eq 'x' ? 'tail ' : 'fresh ') . $req->n);
    }

    $reply->send(200, \@fresh, 'the color of ' x 200);
}
