#!/usr/bin/perl

# A range of a body in segments is read from those that it needs, and is the
# same bytes that it would be of a body in one piece; so it is with all else
# that nginx does behind us with a body: includes, slices, HTTP/2, a 304 that
# freshens it, a failure that it stands in for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use RCache;

my $segment = 16384;
my $size = 10 * $segment + 100;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);
my ($crt, $key) = $t->certificate();
$t->set(CRT => $crt, KEY => $key);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_segment_size  16k;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_TLS%% ssl http2;

        ssl_certificate      %%CRT%%;
        ssl_certificate_key  %%KEY%%;

        redis_proxy_cache             api;
        redis_proxy_cache_revalidate  on;
        redis_proxy_cache_use_stale   http_500 error;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /page {
            proxy_pass  http://%%ORIGIN%%;
            ssi         on;
            ssi_types   *;
        }

        location /slices/ {
            slice                  64k;
            redis_proxy_cache_key  $uri$slice_range;
            redis_proxy_cache_valid  200 206 1m;
            proxy_set_header       Range $slice_range;
            proxy_pass             http://%%ORIGIN%%;
        }

        location /sub/ {
            proxy_pass        http://%%ORIGIN%%;
            sub_filter_types  *;
            sub_filter_once   off;
            sub_filter        abc "<abc>";
        }
    }
CONF

my $body = body();

# name; the header's value; what it gives: first and last, "all" or "none"

my @cases = (
    [ 'the first byte',         '0-0',                   0, 0 ],
    [ 'the last byte',          '-1',            $size - 1, $size - 1 ],
    [ 'all of it',              '0-',                    0, $size - 1 ],
    [ 'more than all of it',    "-" . 2 * $size,         0, $size - 1 ],
    [ 'a segment',              "$segment-" . (2 * $segment - 1),
                                                  $segment, 2 * $segment - 1 ],
    [ 'across a boundary',      ($segment - 1) . "-$segment",
                                                  $segment - 1, $segment ],
    [ 'one before a boundary',  (2 * $segment - 1) . '-' . (2 * $segment - 1),
                                      2 * $segment - 1, 2 * $segment - 1 ],
    [ 'one behind a boundary',  2 * $segment . '-' . 2 * $segment,
                                            2 * $segment, 2 * $segment ],
    [ 'several segments',       (3 * $segment + 5) . '-' . (6 * $segment + 7),
                                      3 * $segment + 5, 6 * $segment + 7 ],
    [ 'the last segment',       10 * $segment . '-', 10 * $segment, $size - 1 ],
    [ 'into the last segment',  (10 * $segment - 1) . "-" . 2 * $size,
                                            10 * $segment - 1, $size - 1 ],
    [ 'a suffix of two segments', '-' . ($segment + 100),
                                            9 * $segment, $size - 1 ],
    [ 'behind the end',         "$size-",                'none' ],
    [ 'nothing of it',          '-0',                    'none' ],
    [ 'malformed',              '5-2',                   'none' ],
    [ 'two of them',            '0-0,20000-20001',       'all' ],
);

is($nginx->get('/plain')->verdict, 'MISS -', 'stored');
$redis->wait_key('api:{http://localhost/plain}');

for my $case (@cases) {
    my ($name, $range, $first, $last) = @$case;

    $redis->cmd('CONFIG', 'RESETSTAT');

    my $r = $nginx->get('/plain', Range => "bytes=$range");
    is($r->verdict, 'HIT -', "$name: a hit") if $first ne 'none';
    ok($r->complete, 'which is whole');

    if ($first eq 'none') {
        is($r->status, 416, 'cannot be given');
        next;
    }

    if ($first eq 'all') {
        is($r->status, 200, 'is not given: the whole is');
        is(md5_hex($r->body), md5_hex($body), 'as it may be');
        next;
    }

    is($r->status, 206, 'is given');
    is($r->header('Content-Range'), "bytes $first-$last/$size", 'as such');
    is(md5_hex($r->body), md5_hex(substr $body, $first, $last - $first + 1),
       'the right bytes');

    my $needed = int($last / $segment) - int($first / $segment) + 1;
    is($redis->calls('get'), 1 + $needed, 'from the segments that it needs');
}

# If-Range and conditions

for (
    [ '"one"',                         206 ],
    [ '"two"',                         200 ],
    [ 'Mon, 01 Jan 2024 00:00:00 GMT', 206 ],
    [ 'Tue, 02 Jan 2024 00:00:00 GMT', 200 ],
) {
    my ($value, $status) = @$_;

    my $r = $nginx->get('/plain', Range => 'bytes=40000-40009',
                        'If-Range' => $value);
    is($r->status, $status, "If-Range: $value");
    is(md5_hex($r->body), md5_hex($status == 206 ? substr $body, 40000, 10
                                                 : $body), 'the right bytes');
}

is($nginx->get('/plain', 'If-None-Match' => '"one"')->status, 304,
   'If-None-Match');
is($nginx->get('/plain', 'If-Match' => '"two"')->status, 412, 'If-Match');
is(md5_hex($nginx->get('/plain', 'If-None-Match' => '"two"')->body),
   md5_hex($body), 'a condition that does not hold');

# a range on a miss

{
    my $r = $nginx->get('/miss', Range => 'bytes=50000-60000');
    is($r->verdict, 'MISS -', 'a range that is a miss');
    is(md5_hex($r->body), md5_hex(substr $body, 50000, 10001), 'is right');
    is(md5_hex($nginx->get('/miss')->body), md5_hex($body), 'all is stored');
}

# a segment that a range needs is gone

{
    my ($segment3) = grep { /:3$/ } $redis->keys('*/miss}:s:*');
    $redis->cmd('DEL', $segment3);
    my $r = $nginx->get('/miss', Range => 'bytes=50000-60000');
    is($r->verdict, 'MISS -', 'a range of what is gone');
    is(md5_hex($r->body), md5_hex(substr $body, 50000, 10001), 'is right');
}

# HTTP/2

for my $uri ('/plain', '/plain', '/miss') {
    my $url = 'https://127.0.0.1:' . $nginx->port('TLS') . $uri;

    my $r = $nginx->curl('--http2', '-H', 'Host: localhost', $url);
    ok($r->complete, 'HTTP/2: it is whole');
    is(md5_hex($r->body), md5_hex($body), 'and right');
}

# includes: the first two are both in segments, and wait for each other

for my $verdict ('MISS -', 'HIT -') {
    my $r = $nginx->get('/page');
    is($r->verdict, $verdict, "a page with includes: $verdict");
    ok($r->complete, 'is whole');
    is(md5_hex($r->body), md5_hex("<$body|$body>" . 'x' x 50000 . "\n"),
       'and right');
    $nginx->settle();
}

# slices that are longer than a segment

for my $verdict (1 .. 2) {
    my $r = $nginx->get('/slices/a');
    ok($r->complete, 'slices: it is whole');
    is(md5_hex($r->body), md5_hex($body), 'and right');
    $r = $nginx->get('/slices/a', Range => 'bytes=60000-140000');
    is(md5_hex($r->body), md5_hex(substr $body, 60000, 80001), 'a range, too');
    $nginx->settle();
}

is($origin->count('/slices/a'), int($size / 65536) + 1,
   'each slice was fetched once');

# a filter that changes the body and needs it in pieces of its own

{
    my $changed = $body =~ s/abc/<abc>/gr;

    is(md5_hex($nginx->get('/sub/x')->body), md5_hex($changed), 'changed');
    my $r = $nginx->get('/sub/x');
    is($r->verdict, 'HIT -', 'a hit, too');
    is(md5_hex($r->body), md5_hex($changed), 'as it would be');
}

# a 304: the body stays where it is, and lives longer

{
    my $uri = '/short/304';
    my $redis_key = "api:{http://localhost$uri}";

    is($nginx->get($uri)->verdict, 'MISS -', 'stored for a second');
    $redis->wait_key($redis_key);
    my @before = $redis->keys("$redis_key:s:*");
    RCache::Entry->wait_stale($redis, $redis_key);
    $redis->cmd('PEXPIRE', $_, 100_000) for @before;

    my $r = $nginx->get($uri);
    is($r->verdict, 'REVALIDATED -', 'the upstream says 304');
    ok($r->complete, 'the response is whole');
    is(md5_hex($r->body), md5_hex($body), 'and right');
    $nginx->settle();

    is_deeply([ $redis->keys("$redis_key:s:*") ], \@before,
              'the segments are those that were there');
    cmp_ok($redis->pttl($_), '>', 120_000, 'and have another while')
        for @before;
    is(md5_hex($nginx->get($uri, Range => 'bytes=20000-90000')->body),
       md5_hex(substr $body, 20000, 70001), 'a range of it');
}

# a failure: what is stale takes its place

{
    my $uri = '/short/500';

    $nginx->get($uri);
    RCache::Entry->wait_stale($redis, "api:{http://localhost$uri}");

    for (1 .. 2) {
        my $r = $nginx->get($uri);
        is($r->verdict =~ s/ .*//r, 'STALE', 'the upstream fails');
        is($r->status, 200, 'the response does not');
        ok($r->complete, 'it is whole');
        is(md5_hex($r->body), md5_hex($body), 'and right');
    }
}

$t->done();


my $made;

sub body {
    return $made //= substr join('', map { sprintf "%06x abc ", $_ * 7919 }
                                 1 .. 20000), 0, $size;
}


sub origin {
    my ($req, $reply) = @_;

    my $path = $req->path;
    my $life = $path =~ /^\/short/ ? 1 : 60;
    my @headers = ('Cache-Control' => "max-age=$life", 'ETag' => '"one"',
                   'Last-Modified' => 'Mon, 01 Jan 2024 00:00:00 GMT',
                   'Content-Type' => 'text/plain');

    if ($path =~ /304$/ && $req->header('If-None-Match')) {
        return $reply->head(304, @headers);
    }

    if ($path =~ /500$/ && $req->n > 1
        && -e "$reply->{dir}/failing")
    {
        return $reply->send(500, [], 'x' x 100_000);
    }

    spit("$reply->{dir}/failing", '') if $path =~ /500$/;

    if ($path eq '/page') {
        return $reply->send(200, \@headers,
            '<<!--#include virtual="/plain" -->|<!--#include virtual="/other"'
            . ' -->>' . 'x' x 50000 . "\n");
    }

    if ($path =~ /^\/slices/) {
        my ($first, $last) = $req->header('Range') =~ /bytes=(\d+)-(\d+)/;
        $last = $size - 1 if $last >= $size;
        return $reply->send(206, [ @headers, 'Content-Range' =>
                                   "bytes $first-$last/$size" ],
                            substr body(), $first, $last - $first + 1);
    }

    return $reply->send(200, \@headers, body());
}
