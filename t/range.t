#!/usr/bin/perl

# What fills the cache must be whole: if the client's Range or If-* headers
# reached the origin, its 206 or 304 could not be stored, and a cache that
# stored it would break everyone.  Yet the client must get the 206 or 304
# that it asked for, from the first request on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $body = join '', map { sprintf "%04d\n", $_ } 0 .. 199;
my $size = length $body;
my $modified = 'Mon, 01 Jan 2024 00:00:00 GMT';

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache         api;
            redis_proxy_cache_bypass  $arg_bypass;
        }

        location /never/ {
            proxy_pass            http://%%ORIGIN%%;
            redis_proxy_cache     api;
            redis_proxy_no_cache  1;
        }

        location /off/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  off;
        }
    }
CONF

my @hidden = qw(Range If-Range If-None-Match If-Modified-Since If-Match
                If-Unmodified-Since);

# name; the request's headers; the expected status, Content-Range and body

my @cases = (
    [ 'one range', [ Range => 'bytes=0-4' ], 206, "bytes 0-4/$size",
        "0000\n" ],
    [ 'a range in the middle', [ Range => 'bytes=500-509' ], 206,
        "bytes 500-509/$size", substr($body, 500, 10) ],
    [ 'an open range', [ Range => 'bytes=990-' ], 206,
        "bytes 990-999/$size", substr($body, 990) ],
    [ 'a suffix', [ Range => 'bytes=-5' ], 206, "bytes 995-999/$size",
        "0199\n" ],
    [ 'a range over the end', [ Range => 'bytes=995-9999' ], 206,
        "bytes 995-999/$size", "0199\n" ],
    [ 'a range that is none', [ Range => 'lines=1-2' ], 200, undef, $body ],
    [ 'If-Range that matches', [ Range => 'bytes=0-4', 'If-Range', '"v1"' ],
        206, "bytes 0-4/$size", "0000\n" ],
    [ 'If-Range that does not', [ Range => 'bytes=0-4', 'If-Range', '"v0"' ],
        200, undef, $body ],
    [ 'If-Range with a date', [ Range => 'bytes=0-4', 'If-Range', $modified ],
        206, "bytes 0-4/$size", "0000\n" ],
    [ 'If-None-Match', [ 'If-None-Match', '"v1"' ], 304, undef, '' ],
    [ 'If-None-Match, a list', [ 'If-None-Match', '"x", W/"v1"' ], 304, undef,
        '' ],
    [ 'If-None-Match, other', [ 'If-None-Match', '"v0"' ], 200, undef, $body ],
    [ 'If-Modified-Since', [ 'If-Modified-Since', $modified ], 304, undef,
        '' ],
    [ 'If-Modified-Since, before', [ 'If-Modified-Since',
        'Sun, 31 Dec 2023 00:00:00 GMT' ], 200, undef, $body ],
    [ 'If-Match', [ 'If-Match', '"v1"' ], 200, undef, $body ],
    [ 'If-Unmodified-Since', [ 'If-Unmodified-Since', $modified ], 200, undef,
        $body ],
    [ 'a range of what matches', [ Range => 'bytes=0-4', 'If-None-Match',
        '"v1"' ], 304, undef, '' ],
);

for my $n (0 .. $#cases) {
    my ($name, $headers, $status, $range, $want) = @{ $cases[$n] };

    my $uri = "/fill/$n";

    for my $verdict ('MISS', 'HIT') {
        my $r = $nginx->get($uri, @$headers);
        $nginx->settle();

        is($r->verdict, "$verdict -", "$name, on a $verdict");
        is($r->status, $status, "the status is $status");
        is($r->header('Content-Range'), $range, 'Content-Range is right')
            if $status != 206 || defined $range;
        is($r->body, $want, 'the body is right') if defined $want;
        ok($r->complete, 'and ends well');

        is($r->logged('range'), { @$headers }->{Range} || '',
           'the log has the Range of the client');
        is($r->logged('none_match'), { @$headers }->{'If-None-Match'} || '',
           'and its If-None-Match');
    }

    is($origin->count($uri), 1, 'the origin was asked once');
    is_deeply([ grep { defined $origin->latest($uri)->header($_) } @hidden ],
              [], 'and saw none of these headers');
    is($origin->latest($uri)->header('X-Test') ? 1 : 0, 1,
       'but the others');

    my $whole = $nginx->get($uri);
    is($whole->verdict, 'HIT -', 'the entry serves others');
    is($whole->status, 200, 'as a 200');
    is($whole->body, $body, 'with the whole body');
}

# where nginx makes an error of it, what is in flight need not be stored, but
# the answer must be the same with a cold and a warm cache

for (
    [ 'an unsatisfiable range', 416, [ Range => 'bytes=1000-' ] ],
    [ 'If-Match, other',        412, [ 'If-Match', '"v0"' ] ],
    [ 'If-Unmodified-Since, before', 412, [ 'If-Unmodified-Since',
                                       'Sun, 31 Dec 2023 00:00:00 GMT' ] ],
) {
    my ($name, $status, $headers) = @$_;

    for my $cache ('cold', 'warm') {
        my $r = $nginx->get("/fill/$status", @$headers);
        is($r->status, $status, "$name, $cache");
        ok($r->complete, 'ends well');
        is($r->header('Content-Range'), "bytes */$size", 'says the size')
            if $status == 416;

        $nginx->settle();
        $r = $nginx->get("/fill/$status");
        is($r->status, 200, 'the whole one is there for others');
        is($r->body, $body, 'with its body');
        $nginx->settle();
    }

    my $c = $nginx->connect();
    my $r = $c->request('GET', "/fill/$status", headers => $headers,
                        keepalive => 1);
    is($r->status, $status, "$name on a connection that stays");
    $r = $c->request('GET', "/fill/$status");
    is($r && $r->body, $body, 'and the next request on it') if $r;
    $c->close();
}

# several ranges: all of them, or the whole, both are right

for my $verdict ('MISS', 'HIT') {
    my $r = $nginx->get('/fill/several', Range => 'bytes=0-4,100-104,-5');
    $nginx->settle();

    is($r->verdict, "$verdict -", "several ranges, on a $verdict");
    ok($r->complete, 'end well');

    if ($r->status == 206) {
        is(scalar(grep { index($r->body, $_) < 0 } "0000\n", "0020\n",
                  "0199\n"), 0, 'all parts are there');
    } else {
        is($r->status, 200, 'or it is a 200');
        is($r->body, $body, 'with the whole body');
    }
}

# what will not fill the cache is none of its business

for (
    [ 'POST', '/fill/post', 'data', 'POST' ],
    [ 'GET',  '/off/x',     undef,  'with the cache off' ],
) {
    my ($method, $uri, $data, $name) = @$_;

    my $r = $nginx->request($method, $uri, body => $data, headers => [
        Range => 'bytes=0-4', 'If-Match' => '"v1"', 'If-Range' => '"v1"' ]);
    is($r->status, 206, "$name: the origin's own 206 reaches the client");
    is($r->body, 'part', 'with its body');
    is($origin->latest->header('Range'), 'bytes=0-4',
       "$name: the origin sees Range");
    is($origin->latest->header('If-Range'), '"v1"', 'and If-Range');
}

# on a bypass what comes may be stored, so it has to be whole as well; or
# else it must not be stored

my $r = $nginx->get('/fill/by?bypass=1', Range => 'bytes=0-4');
like($r->verdict, qr/^BYPASS /, 'a bypass with Range');
is($r->status, 206, 'is a 206');
$nginx->settle();
$r = $nginx->get('/fill/by?bypass=1');
is($r->status, 200, 'and no 206 is there for the next');

# the same when the cache is cold and Redis has nothing to say about it:
# a response that turns out not to be storable still answers the client

$r = $nginx->get('/never/1', Range => 'bytes=0-4');
is($r->verdict, 'MISS no_cache', 'a response that is not to be stored');
is($r->status, 206, 'still answers the Range');
is($r->body =~ /^(?:part|0000\n)$/ ? 1 : 0, 1, 'with that part');

$r = $nginx->get('/fill/uncacheable', Range => 'bytes=-5');
is($r->verdict, 'MISS no_store', 'a response that says no-store');
is($r->status, 206, 'still answers the Range');
is($r->body, "0199\n", 'with that part');

# many headers: all of the others survive

my @many = map { ("X-Many-$_" => $_) } 1 .. 60;
$nginx->get('/fill/many', @many[0 .. 59], Range => 'bytes=0-4',
            'If-Match' => '*', @many[60 .. 119]);
is(scalar(grep { $_->[0] =~ /^X-Many-/ }
          @{ $origin->latest->{pairs} }), 60, 'sixty other headers go through');
is($origin->latest->header('Range'), undef, 'Range does not');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    if ($req->header('Range')) {
        return $reply->send(206, [ 'Cache-Control' => 'max-age=60',
                                   'Content-Range' => "bytes 0-3/$size" ],
                            'part');
    }

    if ($req->header('If-None-Match') || $req->header('If-Modified-Since')) {
        return $reply->head(304, 'Cache-Control' => 'max-age=60');
    }

    my $cc = $req->path =~ /uncacheable/ ? 'no-store' : 'max-age=60';

    $reply->send(200, [ 'Cache-Control' => $cc, 'ETag' => '"v1"',
                        'Last-Modified' => $modified ], $body);
}
