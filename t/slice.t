#!/usr/bin/perl

# nginx's slice module asks for a response in parts.  With $slice_range in the
# key each part is stored by itself; without it a 206 is never stored.  Every
# byte must be right, also when a whole response is cached where parts are
# expected.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use RCache;

my $whole = join '', map { pack 'N', $_ } 1 .. 1375;
my $length = length $whole;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;
    redis_proxy_cache_key     $uri|$slice_range;

    server {
        listen  127.0.0.1:%%PORT%%;

        slice             1k;
        proxy_set_header  Range $slice_range;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /valid/ {
            proxy_pass                          http://%%ORIGIN%%;
            redis_proxy_cache_valid             200 206 any 1m;
            redis_proxy_cache_max_range_offset  2k;
        }

        location /rare/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_min_uses  2;
        }

        location /one/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  $uri;
        }
    }
CONF

for my $path ('/', '/valid/', '/rare/', '/one/') {
    for my $time (1 .. 3) {
        my $r = $nginx->get("${path}sliced");
        is($r->status, 200, "$path, $time: the whole");
        is(md5_hex($r->body), md5_hex($whole), 'every byte is right');
        is($r->header('Content-Length'), $length, 'and the length');
        is($r->logged('cache'), 'MISS', 'not from the cache')
            if $path eq '/one/' || $time == 1;

        for my $range ([ 0, 9 ], [ 1000, 1030 ], [ 1024, 2047 ],
                       [ 2000, $length - 1 ], [ 5000, 5499 ])
        {
            my ($start, $end) = @$range;
            $r = $nginx->get("${path}sliced", Range => "bytes=$start-$end");
            is($r->status, 206, "bytes $start-$end");
            is(md5_hex($r->body),
               md5_hex(substr $whole, $start, $end - $start + 1), 'right');
            is($r->header('Content-Range'), "bytes $start-$end/$length",
               'as Content-Range says');
        }

        $r = $nginx->get("${path}sliced", 'If-None-Match' => '"s"');
        like($r->status, qr/^(?:200|206|304)$/, 'a condition');
        $r = $nginx->head("${path}sliced");
        is($r->status, 200, 'HEAD');
    }
}

$nginx->settle();
is_deeply([ grep { !/bytes=\d+-\d+|:l$/ } $redis->keys() ], [],
          'no part is stored under a key without its range');
is($redis->exists('api:{/sliced|bytes=0-1023}'), 1, 'with it, it is');

my $before = $origin->count('/sliced');
$nginx->get('/sliced');
is($origin->count('/sliced'), $before, 'the origin is not asked any more');

# what changed at the origin meanwhile is never mixed with what is stored

my $r = $nginx->get('/changes', 'X-Version' => 1);
is(md5_hex($r->body), md5_hex($whole), 'a first version');
$r = $nginx->get('/changes', 'X-Version' => 2);
ok(!$r->complete || md5_hex($r->body) =~ /^(?:${\md5_hex($whole)}|${\
   md5_hex(lc $whole)})$/, 'one version or the other, or a response cut');

# the parts of a request went one by one, with their ranges

my %asked = map { ($_->header('Range') // '') => 1 } $origin->requests();
ok($asked{"bytes=$_"}, "the origin was asked for $_")
    for '0-1023', '1024-2047', '5120-6143';

# an origin that knows no ranges: a whole, which is cached and served

for my $time (1 .. 3) {
    my $r = $nginx->get('/one/unsliced');
    is($r->verdict, $time == 1 ? 'MISS -' : 'HIT -', "$time: a whole 200");
    is(md5_hex($r->body), md5_hex($whole), 'every byte is right');
    $r = $nginx->get('/one/unsliced', Range => 'bytes=5000-5009');
    like($r->status, qr/^20[06]$/, 'a range of it');
    is($r->body, $r->status == 206 ? substr($whole, 5000, 10) : $whole,
       'every byte is right');
}

# and one that says 416, or fails in the middle

is($nginx->get('/sliced', Range => 'bytes=99999-')->status, 416,
   'behind the end');
$r = $nginx->get('/fails');
ok(!$r->complete, 'a part that fails cuts the response');
is($redis->exists('api:{/fails|bytes=2048-3071}'), 0, 'it is not stored');
$nginx->tolerate('unexpected status code 500 in slice response',
                 'etag mismatch in slice response');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my $version = $req->header('X-Version') // '';
    my @headers = ('Cache-Control' => 'max-age=60',
                   'ETag' => "\"s$version\"");
    my ($start, $end) = ($req->header('Range') // '') =~ /^bytes=(\d+)-(\d*)/;

    return $reply->send(200, \@headers, $whole)
        if !defined $start || $req->path =~ /unsliced/;

    return $reply->send(416, [ 'Content-Range' => "bytes */$length" ], '')
        if $start >= $length;

    return $reply->send(500, [], 'broken')
        if $req->path =~ /fails/ && $start > 2000;

    $end = $length - 1 if $end eq '' || $end >= $length;

    return $reply->send(206, [ @headers, 'Content-Range' =>
                               "bytes $start-$end/$length" ],
                        substr $version eq 2 ? lc $whole : $whole, $start,
                        $end - $start + 1);
}
