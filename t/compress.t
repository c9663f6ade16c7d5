#!/usr/bin/perl

# A body that is kept compressed is smaller in Redis, and otherwise nobody may
# notice: who does not accept the coding gets what the upstream sent, byte for
# byte, ranges too; who gets it coded is told so, with a validator that is not
# that of the other.  What must not be touched is not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Compress::Zlib ();
use Test::More;
use RCache;

my $json = '[' . join(',', map { qq({"id":$_,"name":"product $_"}) } 1 .. 900)
           . ']';
my $size = length $json;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache             api;
        redis_proxy_cache_revalidate  on;
        redis_proxy_cache_use_stale   http_500;

        location /gzip/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  gzip level=6 min_length=500;
        }

        location /zstd/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  zstd;
        }

        location /pass/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  gzip pass;
        }

        location /pass-zstd/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  zstd level=5 pass;
        }

        location /types/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_compress        gzip;
            redis_proxy_cache_compress_types  image/png;
        }

        location /segments/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_compress      gzip;
            redis_proxy_cache_segment_size  4k;
        }
    }
CONF

sub entry { return RCache::Entry->read($redis, "api:{http://localhost$_[0]}") }

sub coded { return $_[0]{flags} & 0x80 }


# stored compressed, served as it was

for my $coding ('gzip', 'zstd') {
    for my $framing ('length', 'chunked') {
        my $uri = "/$coding/$framing";

        my $r = $nginx->get($uri);
        is($r->verdict, 'MISS -', $uri);
        is($r->body, $json, 'a miss is as it came');
        $nginx->settle();

        my $e = entry($uri);
        ok(coded($e), 'it is stored compressed');
        cmp_ok(length $e->{body}, '<', $size / 4, 'and much smaller');
        is($e->{coding}, $coding eq 'gzip' ? 1 : 2, 'the block says how');
        is(Compress::Zlib::memGunzip($e->{body}), $json,
           'any gzip can read it') if $coding eq 'gzip';

        for my $accept (undef, 'gzip, zstd') {
            $r = $nginx->get($uri, 'Accept-Encoding' => $accept);
            is($r->verdict, 'HIT -', 'a hit');
            is($r->body, $json, 'is as it came');
            is($r->header('Content-Length'), $size, 'with its length');
            is($r->header('Content-Encoding'), undef, 'not coded');
            is($r->header('ETag'), '"one"', 'with its own validator');
        }

        $r = $nginx->head($uri);
        is($r->header('Content-Length'), $size, 'HEAD says the same');

        $r = $nginx->get($uri, Range => 'bytes=100-199');
        is($r->status, 206, 'a range');
        is($r->body, substr($json, 100, 100), 'is one of what it was');

        $r = $nginx->get($uri, Range => 'bytes=0-0,5000-5001');
        like($r->header('Content-Type'), qr/byteranges/, 'so are several');
    }
}


# passed on to who accepts it

for (
    [ 'pass', 'gzip' ], [ 'pass-zstd', 'zstd' ],
) {
    my ($location, $coding) = @$_;
    my $uri = "/$location/length";

    $nginx->get($uri);
    $nginx->settle();
    my $stored = entry($uri)->{body};

    for my $accept ($coding, "br, $coding;q=0.5", '*') {
        my $r = $nginx->get($uri, 'Accept-Encoding' => $accept,
                            Range => 'bytes=0-10');
        is($r->verdict, 'HIT -', "$coding, accepted by: $accept");
        is($r->status, 200, 'there are no ranges');
        is($r->body, $stored, 'it is passed on as it is kept');
        is($r->header('Content-Encoding'), $coding, 'and says so');
        is($r->header('Content-Length'), length $stored, 'has that length');
        is($r->header('ETag'), 'W/"one"', 'and a weak validator');
        is($r->header('Vary'), 'Accept-Encoding', 'varies');
        is($r->header('Accept-Ranges'), undef, 'no ranges are offered');
    }

    for my $accept (undef, 'identity', "$coding;q=0", 'br', "x-$coding") {
        my $r = $nginx->get($uri, 'Accept-Encoding' => $accept);
        is($r->body, $json, 'not accepted by: ' . ($accept // 'nothing'));
        is($r->header('Content-Encoding'), undef, 'not coded');
        is($r->header('ETag'), '"one"', 'with its own validator');
        is($r->header('Vary'), 'Accept-Encoding', 'varies, too');
    }

    for my $etag ('"one"', 'W/"one"') {
        my $r = $nginx->get($uri, 'Accept-Encoding' => $coding,
                            'If-None-Match' => $etag);
        is($r->status, 304, "If-None-Match: $etag");
        is($r->header('ETag'), 'W/"one"', 'has the validator of what it is');
    }

    is($nginx->get($uri, 'Accept-Encoding' => $coding,
                   'If-Match' => 'W/"one"')->status, 412,
       'which is not strong enough for If-Match');

    my $r = $nginx->request('HEAD', $uri,
                            headers => [ 'Accept-Encoding' => $coding ]);
    is($r->header('Content-Length'), length $stored, 'HEAD says the same');
}

is(Compress::Zlib::memGunzip($nginx->get('/pass/length',
       'Accept-Encoding' => 'gzip')->body), $json, 'the client can read it');


# what is not compressed

for (
    [ '/gzip/tiny',         'it is too short' ],
    [ '/gzip/noise',        'it would not be smaller' ],
    [ '/gzip/png',          'it is of another type' ],
    [ '/gzip/encoded',      'the upstream has done it' ],
    [ '/gzip/no-transform', 'Cache-Control forbids it' ],
    [ '/gzip/digest',       'a digest says what the bytes are' ],
    [ '/gzip/404',          'it is no 200' ],
) {
    my ($uri, $why) = @$_;

    my $miss = $nginx->get($uri);
    $nginx->settle();
    my $e = entry($uri);
    ok($e && !coded($e), "not compressed: $why");
    my $hit = $nginx->get($uri);
    is($hit->verdict, 'HIT -', 'a hit');
    ok($hit->body eq $miss->body, 'is as it came');
}

$nginx->get('/types/png');
$nginx->settle();
ok(coded(entry('/types/png')), 'a type that is named');

# over a segment it is stored as it comes

for my $verdict ('MISS -', 'HIT -') {
    my $r = $nginx->get('/segments/length');
    is($r->verdict, $verdict, "in segments: $verdict");
    is($r->body, $json, 'as it came');
}


# a 304 leaves the body where it is, and as it is

{
    my $uri = '/pass/short-304';

    $nginx->get($uri);
    RCache::Entry->wait_stale($redis, "api:{http://localhost$uri}");
    my $before = entry($uri)->{body};

    my $r = $nginx->get($uri);
    is($r->verdict, 'REVALIDATED -', 'the upstream says 304');
    is($r->body, $json, 'the response is decoded');
    $nginx->settle();

    my $e = entry($uri);
    ok(coded($e) && $e->{body} eq $before, 'the stored body is as it was');
    is($nginx->get($uri, 'Accept-Encoding' => 'gzip')->body, $before,
       'and is passed on');
}


# what is damaged is a miss

{
    my $uri = '/gzip/damaged';

    $nginx->tolerate(qr/unusable entry/);
    $nginx->get($uri);
    $nginx->settle();

    my $key = "api:{http://localhost$uri}";
    my $value = $redis->get($key);
    substr $value, 72, 8, pack 'Q<', $size + 1;
    $redis->cmd('SET', $key, $value, 'PX', 60000);

    my $r = $nginx->get($uri);
    is($r->verdict, 'MISS -', 'an entry that was changed: a miss');
    is($r->body, $json, 'which is right');
}

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my ($how) = $req->path =~ m{([^/]+)$};
    my $life = $how =~ /^short/ ? 1 : 60;
    my %h = ('Cache-Control' => "max-age=$life", 'ETag' => '"one"',
             'Content-Type' => 'application/json');
    my $body = $json;
    my $status = 200;

    return $reply->head(304, %h)
        if $how eq 'short-304' && $req->header('If-None-Match');

    $body = '{"a":1}' if $how eq 'tiny';
    $h{'Content-Type'} = 'image/png' if $how eq 'png';
    $h{'Content-Encoding'} = 'br' if $how eq 'encoded';
    $h{'Cache-Control'} .= ', no-transform' if $how eq 'no-transform';
    $h{'Content-Digest'} = 'sha-256=:AAAA:' if $how eq 'digest';
    $status = 404 if $how eq '404';

    if ($how eq 'noise') {
        srand 7;
        $body = join '', map { chr int rand 256 } 1 .. 20000;
    }

    if ($how eq '404') {
        $h{'X-Accel-Expires'} = 60;
    }

    if ($how eq 'chunked') {
        $reply->head(200, %h, 'Transfer-Encoding' => 'chunked');
        for (my $at = 0; $at < $size; $at += 3000) {
            $reply->chunk(substr $body, $at, 3000) or return;
        }
        return $reply->last_chunk();
    }

    return $reply->send($status, [ %h ], $body);
}
