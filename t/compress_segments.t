#!/usr/bin/perl

# A long body is compressed segment by segment, while it arrives.  Nobody may
# notice but Redis: bytes, lengths, ranges and validators are those of what the
# upstream sent; and who gets it as it is kept gets one gzip member, that any
# program reads to its end.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Compress::Raw::Zlib;
use Digest::MD5 qw(md5 md5_hex);
use List::Util qw(sum0);
use Test::More;
use RCache;

# made once, not by each process of the origin

my %made;
body($_, 0) for qw(json noise mixed);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin, workers => 8);

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_segment_size  8k;
    redis_proxy_cache_in_flight     4m 16m;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache             api;
        redis_proxy_cache_key         http://localhost$request_uri;
        redis_proxy_cache_bypass      $http_x_bypass;
        redis_proxy_cache_revalidate  on;

        location /gzip/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  gzip level=6;
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
            redis_proxy_cache_compress  zstd pass;
        }

        location /late/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  gzip min_length=20000;
        }

        location /large/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_compress      gzip pass;
            redis_proxy_cache_segment_size  1m;
        }

        location /unbuffered/ {
            proxy_pass                  http://%%ORIGIN%%;
            proxy_buffering             off;
            redis_proxy_cache_compress  zstd level=1;
        }

        location /again/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  gzip;
            gzip                        on;
            gzip_types                  *;
        }

        location /off/ {
            proxy_pass  http://%%ORIGIN%%;
        }

        location = /status {
            redis_proxy_cache  off;
            redis_proxy_cache_status;
        }
    }
CONF

my $nginx = $t->nginx($conf);
my $segment = 8192;

sub key { return "api:{http://localhost$_[0]}" }

# once its segments are there, it is, too

sub entry {
    $redis->wait_key(key($_[0]));

    return RCache::Entry->read($redis, key($_[0]));
}

sub coded { return ($_[0]{flags} & 0xc0) == 0xc0 }


# The segments of an entry, in order: what each says of itself, and its payload.

sub segments {
    my ($uri) = @_;

    my $e = entry($uri);
    my @all;

    for my $n (0 .. ($e->{segments} // 0) - 1) {
        my $value = $redis->get(key($uri) . ":s:$e->{id}:$n");
        my %s;
        @s{qw(header flags length)} = unpack 'x4 v v x12 V', $value;
        $s{payload} = substr $value, $s{header};
        push @all, \%s;
    }

    return @all;
}


# how the body is kept, and that it comes back

for my $coding ('gzip', 'zstd') {
    for my $kind ('json', 'mixed') {
        for my $framing ('length', 'chunked') {
            for my $size ($segment, $segment + 1, 2 * $segment - 1,
                          2 * $segment, 2 * $segment + 1, 5 * $segment,
                          300_001)
            {
                stored("/$coding/$framing/$kind/$size", $coding, $kind, $size);
            }
        }
    }

    stored("/$coding/length/mixed/3000001", $coding, 'mixed', 3_000_001);
}

stored("/unbuffered/chunked/mixed/700000", 'zstd', 'mixed', 700_000);


sub stored {
    my ($uri, $coding, $kind, $size) = @_;

    my $body = body($kind, $size);
    my $r = $nginx->get($uri);
    is($r->verdict, 'MISS -', $uri);
    ok($r->body eq $body, 'a miss is as it came');

    my $e = entry($uri);

    if ($size > $segment) {
        ok(coded($e), 'it is in segments, and compressed');
        is($e->{body_len}, $size, 'its length is that of what it was');

        is($e->{coding}, $coding eq 'gzip' ? 1 : 2, 'the block says how');
        is($e->{plain_len}, $size, 'and how long it is');
        is($e->{crc}, $coding eq 'gzip' ? crc32($body) : 0,
           'and what it sums to');

        my @segments = segments($uri);
        is(sum0(map { $_->{length} } @segments), $size,
           'segments stand for what it was');
        is(scalar(grep { ($_->{flags} & 2 ? 1 : 0)
                         != ($_->{length} > length $_->{payload}) } @segments),
           0, 'those that are shorter say so');

        my $short = grep { $_->{flags} & 2 } @segments;

        # every other one is noise

        ok($kind eq 'json' ? $short >= @segments - 1
                           : $short <= (@segments + 1) / 2,
           "$short of " . @segments . ' are');

        is(md5_hex(join '', opened($coding, @segments)), md5_hex($body),
           'each can be read by itself');
    }

    for my $accept (undef, 'gzip, zstd') {
        $r = $nginx->get($uri, 'Accept-Encoding' => $accept);
        is($r->verdict, 'HIT -', 'a hit');
        ok($r->body eq $body, 'is as it came');
        is($r->header('Content-Length'), $size, 'with its length');
        is($r->header('Content-Encoding'), undef, 'not coded');
        is($r->header('ETag'), '"one"', 'with its own validator');
        is($r->header('Vary'), undef, 'for anybody');
    }

    $r = $nginx->head($uri);
    is($r->verdict, 'HIT -', 'HEAD');
    is($r->header('Content-Length'), $size, 'has its length');

    for my $range ([ 0, 0 ], [ $segment - 1, $segment ],
                   [ $segment, 2 * $segment - 1 ], [ 100, $size - 2 ],
                   [ $size - 1, $size - 1 ])
    {
        my ($from, $to) = @$range;
        next if $to >= $size || $from > $to;

        $r = $nginx->get($uri, Range => "bytes=$from-$to");
        is($r->status, 206, "bytes $from to $to");
        is($r->header('Content-Range'), "bytes $from-$to/$size", 'are those');
        ok($r->body eq substr($body, $from, $to - $from + 1), 'as they were');
    }

    $r = $nginx->get($uri, Range => 'bytes=-5');
    is($r->body, substr($body, -5), 'the last five bytes');

    if ($size > $segment) {
        $r = $nginx->get($uri, Range => 'bytes=0-0,5000-5001');
        is($r->status, 200, 'several ranges are all of it');
        ok($r->body eq $body, 'as it was');
    }

    is($nginx->get($uri, 'If-None-Match' => '"one"')->status, 304,
       'a condition is answered');
}


# as a program reads it that knows docs/storage-format.md

sub opened {
    my ($coding, @segments) = @_;

    my @short = grep { $_->{flags} & 2 } @segments;
    my @opened = $coding eq 'zstd' ? zstd(@short) : map { inflated($_) } @short;

    return map { $_->{flags} & 2 ? shift @opened : $_->{payload} } @segments;
}


sub inflated {
    my ($s) = @_;

    my ($in, $out) = ($s->{payload});
    my ($z) = Compress::Raw::Zlib::Inflate->new(-WindowBits => -MAX_WBITS());
    my $rc = $z->inflate($in, $out);

    return $rc == Z_OK ? $out : "damaged: $rc";
}


# Each is a file, but one program reads them all.

sub zstd {
    my @names = map { $t->dir() . "/frame-$_" } 1 .. @_;

    unlink @names;
    spit("$names[$_].zst", $_[$_]{payload}) for 0 .. $#_;
    system('zstd', '-dqf', map { "$_.zst" } @names) if @names;

    return map { slurp($_) } @names;
}


# passed on as one gzip member

for my $kind ('json', 'mixed') {
    for my $uri ("/pass/length/$kind/300001", "/pass/chunked/$kind/8193",
                 "/pass/length/$kind/16384", "/large/length/$kind/3500000")
    {
        my ($size) = $uri =~ /(\d+)$/;
        my $body = body($kind, $size);

        $nginx->get($uri);
        ok(coded(entry($uri)), "$uri is compressed");

        for my $accept ('gzip', 'br, gzip;q=0.5', '*') {
            my $r = $nginx->get($uri, 'Accept-Encoding' => $accept,
                                Range => 'bytes=9000-9001');
            is($r->verdict, 'HIT -', "accepted by: $accept");
            is($r->status, 200, 'there are no ranges');
            ok($r->complete, 'it is whole');
            is($r->header('Content-Encoding'), 'gzip', 'it says what it is');
            is($r->header('Content-Length'), undef, 'has no length');
            is($r->header('ETag'), 'W/"one"', 'and a weak validator');
            is($r->header('Vary'), 'Accept-Encoding', 'varies');
            is($r->header('Accept-Ranges'), undef, 'no ranges are offered');
            ok(gunzipped($r->body) eq $body, 'all of it is one member');
        }

        for my $accept (undef, 'identity', 'gzip;q=0', 'br') {
            my $r = $nginx->get($uri, 'Accept-Encoding' => $accept);
            ok($r->body eq $body, 'not accepted by: '
                                  . ($accept // 'nothing'));
            is($r->header('Content-Length'), $size, 'it has its length');
            is($r->header('Content-Encoding'), undef, 'not coded');
            is($r->header('ETag'), '"one"', 'with its own validator');
            is($r->header('Vary'), 'Accept-Encoding', 'varies, too');
        }

        for my $etag ('"one"', 'W/"one"') {
            my $r = $nginx->get($uri, 'Accept-Encoding' => 'gzip',
                                'If-None-Match' => $etag);
            is($r->status, 304, "If-None-Match: $etag");
            is($r->header('ETag'), 'W/"one"', 'as the response is');
        }

        my $r = $nginx->request('HEAD', $uri,
                                headers => [ 'Accept-Encoding' => 'gzip' ]);
        is($r->header('Content-Encoding'), 'gzip', 'HEAD says the same');
        is($r->header('Content-Length'), undef, 'and no other length');

        $r = $nginx->get($uri, Range => 'bytes=8190-8195');
        is($r->status, 206, 'ranges for who does not want it compressed');
        ok($r->body eq substr($body, 8190, 3 + ($size > 8193 ? 3 : 0)),
           'are of what it was');
    }
}

# on one connection, so where one ends is where the next one begins

{
    my $c = $nginx->connect();

    for my $uri ('/pass/length/mixed/300001', '/pass/chunked/json/8193',
                 '/pass/length/mixed/300001')
    {
        my ($kind, $size) = $uri =~ m{(\w+)/(\d+)$};

        my $r = $c->request('GET', $uri, keepalive => 1,
                            headers => [ 'Accept-Encoding' => 'gzip' ]);
        ok(gunzipped($r->body) eq body($kind, $size), "kept alive, $uri");
    }

    my $r = $nginx->request('GET', '/pass/length/mixed/300001',
                            version => '1.0',
                            headers => [ 'Accept-Encoding' => 'gzip' ]);
    ok(gunzipped($r->body) eq body('mixed', 300_001), 'HTTP/1.0');
}

# segments are as many frames of zstd: nobody gets them so

{
    my $uri = '/pass-zstd/length/json/300001';

    $nginx->get($uri);
    ok(coded(entry($uri)), 'zstd, compressed');
    my $r = $nginx->get($uri, 'Accept-Encoding' => 'zstd');
    ok($r->body eq body('json', 300_001), 'is not passed on as it is');
    is($r->header('Content-Encoding'), undef, 'and does not say so');
    is($r->header('ETag'), '"one"', 'it is what the upstream sent');
}

# filters behind a hit see it as they would see the upstream's

{
    my $uri = '/again/length/json/300001';

    $nginx->get($uri);
    my $r = $nginx->get($uri, 'Accept-Encoding' => 'gzip');
    is($r->verdict, 'HIT -', 'nginx may compress it again');
    is($r->header('Content-Encoding'), 'gzip', 'and does');
    ok(gunzipped($r->body) eq body('json', 300_001), 'what it was');
}


# what is not compressed is kept as ever

for (
    [ '/gzip/length/png/30000',          'it is of another type' ],
    [ '/gzip/length/encoded/30000',      'the upstream has done it' ],
    [ '/gzip/length/no-transform/30000', 'Cache-Control forbids it' ],
    [ '/gzip/length/digest/30000',       'a digest says what the bytes are' ],
    [ '/gzip/length/noise/30000',        'it would not be smaller' ],
    [ '/zstd/chunked/noise/30000',       'it would not be smaller, zstd' ],
    [ '/off/length/json/30000',          'it is off' ],
    [ '/late/length/json/19999',         'it is too short' ],
    [ '/late/chunked/json/19999',        'it turns out to be too short' ],
) {
    my ($uri, $why) = @$_;

    my $miss = $nginx->get($uri);
    my $e = entry($uri);
    is($e->{flags} & 0xc0, 0x40, "not compressed: $why");
    is(scalar(grep { $_->{flags} } segments($uri)), 0, 'nor any segment');
    my $hit = $nginx->get($uri);
    is($hit->verdict, 'HIT -', 'a hit');
    ok($hit->body eq $miss->body, 'is as it came');
}

# while nobody knows whether it will be long enough it is kept as it is

for (
    [ '/late/length/json/20000',  '1 1 1' ],
    [ '/late/chunked/json/20000', '0 0 1' ],
    [ '/late/chunked/json/50000', '0 0 1 1 1 1 1' ],
) {
    my ($uri, $flags) = @$_;
    my ($size) = $uri =~ /(\d+)$/;

    $nginx->get($uri);
    is(join(' ', map { $_->{flags} >> 1 } segments($uri)), $flags, $uri);
    ok($nginx->get($uri)->body eq body('json', $size), 'is as it came');
}


# a 304 leaves the segments where they are, and as they are

{
    my $uri = '/pass/length/short-304/50000';

    $nginx->get($uri);
    RCache::Entry->wait_stale($redis, key($uri));
    my $before = entry($uri);

    my $r = $nginx->get($uri);
    is($r->verdict, 'REVALIDATED -', 'the upstream says 304');
    ok($r->body eq body('json', 50_000), 'the response is decompressed');
    $nginx->settle();

    my $e = entry($uri);
    ok(coded($e) && $e->{id} eq $before->{id}, 'its segments are the old ones');
    cmp_ok($e->{created}, '>', $before->{created}, 'its life is a new one');

    RCache::Entry->wait_stale($redis, key($uri));
    $r = $nginx->get($uri, 'Accept-Encoding' => 'gzip');
    is($r->verdict, 'REVALIDATED -', 'once more');
    ok(gunzipped($r->body) eq body('json', 50_000), 'for who takes it so');
}


# what takes the place of an entry lets its segments go, but not at once

for my $coding ('gzip', 'zstd') {
    my $uri = "/$coding/length/json/40000";

    $nginx->get($uri);
    my @old = $redis->keys(key($uri) . ':s:*');
    is(scalar @old, 5, "$coding: five segments");
    is($nginx->get($uri, 'X-Bypass' => 1)->verdict, 'BYPASS -',
       'another one takes its place');
    ok(wait_for { !grep { $redis->pttl($_) > 120_000 } @old },
       'the old segments have two minutes left');
    is(scalar(grep { $redis->exists($_) } @old), 5, 'but that they have');
    ok($nginx->get($uri)->body eq body('json', 40_000), 'the new are served');
}


# instances: how an entry is kept is its own business

{
    my $plain = $conf =~ s/redis_proxy_cache_compress [^;]*;//gr;
    my $two = $t->nginx($plain);

    for my $uri ('/gzip/length/mixed/100001', '/zstd/length/mixed/100001',
                 '/pass/chunked/mixed/100001')
    {
        my $body = body('mixed', 100_001);

        $nginx->get($uri);
        ok(coded(entry($uri)), "$uri is compressed");
        my $r = $two->get($uri, 'Accept-Encoding' => 'gzip');
        is($r->verdict, 'HIT -', 'one that does not compress');
        ok($r->body eq $body, 'can read it');
        is($r->header('Content-Encoding'), undef, 'but passes nothing on');

        $two->get($uri, 'X-Bypass' => 1);
        ok(!coded(entry($uri)), 'it stores another');
        $r = $nginx->get($uri, 'Accept-Encoding' => 'gzip');
        is($r->verdict, 'HIT -', 'which one that does');
        ok($r->body eq $body, 'can read as well');
        is($r->header('Content-Encoding'), undef, 'as it is');
    }

    ok($two->stop(), 'it goes');
}


# signed

{
    my $file = $t->dir() . '/secret';
    spit($file, "a secret that nobody knows\n");

    my $signs = $t->nginx("    redis_proxy_cache_secret_file  $file;\n$conf");

    for my $uri ('/gzip/length/mixed/90001', '/zstd/length/mixed/90001',
                 '/pass/length/mixed/90001')
    {
        my $body = body('mixed', 90_001);

        $signs->get($uri);
        ok(coded(entry($uri)), "$uri is signed, and compressed");
        my %flags = map { $_->{flags} => 1 } segments($uri);
        is(join(' ', sort keys %flags), '1 3', 'so are its segments');

        my $r = $signs->get($uri, 'Accept-Encoding' => 'gzip');
        is($r->verdict, 'HIT -', 'a hit');
        my $got = $r->header('Content-Encoding') ? gunzipped($r->body)
                                                 : $r->body;
        ok($got eq $body, 'is as it came');

        # the flag is part of what is signed

        $signs->tolerate(qr/unusable entry/);
        my $key = key($uri) . ':s:' . entry($uri)->{id} . ':1';
        my $value = $redis->get($key);
        substr $value, 6, 1, chr(4 ^ ord substr $value, 6, 1);
        $redis->cmd('SET', $key, $value, 'PX', 60000);

        $r = $signs->get($uri, 'Range' => 'bytes=8192-8200');
        is($r->verdict, 'MISS -', 'what is changed is not');
    }
}


# a dry run foretells what it will take

{
    my $dry = $t->nginx($conf =~ s/(?=redis_proxy_cache_key)/
                                   redis_proxy_cache_dry_run  on;
                                   /xr, settle => 0);

    for my $uri ('/gzip/length/json/400000', '/zstd/chunked/mixed/400000',
                 '/late/chunked/json/400000', '/off/length/json/400000')
    {
        $redis->flush();
        is($dry->get($uri)->verdict, 'BYPASS dry_run', "$uri, a dry run");
        ok($redis->wait_key(key($uri) . ':d'), 'leaves a fingerprint');
        my ($foretold, $length) = unpack 'Q< Q<',
            RCache::Entry->read($redis, key($uri) . ':d')->{body};
        is($length, 400_000, 'which knows how long it is');
        is(scalar(() = $redis->keys('*:s:*')), 0, 'and no segment');

        $redis->flush();
        $nginx->get($uri);
        $redis->wait_key(key($uri));
        my $bytes = sum0(map { $redis->cmd('MEMORY', 'USAGE', $_) }
                         grep { /\Q$uri\E/ && !/:l$/ } $redis->keys());
        note("$bytes bytes, foretold $foretold");
        cmp_ok(abs($foretold / $bytes - 1), '<', 0.06,
               'and what it will take');
    }
}

$t->done();


# What a strict reader makes of it: one member, nothing behind it.

sub gunzipped {
    my ($in) = @_;

    my ($z) = Compress::Raw::Zlib::Inflate->new(-WindowBits => WANT_GZIP());
    my $out;
    my $rc = $z->inflate($in, $out);

    return "not a gzip member: $rc" if $rc != Z_STREAM_END;
    return 'something is behind it' if length $in;
    return $out;
}


sub body {
    my ($kind, $size) = @_;

    $kind = 'json' if $kind !~ /^(?:noise|mixed)$/;

    my $made = $made{$kind} //= make($kind);

    return substr $made, 0, $size;
}


# Of 4 MiB.  Noise is what nobody can compress, and mixed is in turn a segment
# of the one and of the other.

sub make {
    my ($kind) = @_;

    return join '', map { md5($_) } 1 .. 1 << 18 if $kind eq 'noise';

    if ($kind eq 'json') {
        my $text = '[';
        for (my $id = 1; length $text < 1 << 22; $id++) {
            $text .= sprintf qq({"id":%d,"name":"product %d","price":%.2f},),
                             $id, $id * 7919 % 10007, $id * 31 % 9973 / 100;
        }
        return $text;
    }

    my ($json, $noise) = (body('json', 1 << 22), body('noise', 1 << 22));

    return join '', map { substr $_ % 2 ? $noise : $json, $_ * 8192, 8192 }
                    0 .. (1 << 22) / 8192 - 1;
}


sub origin {
    my ($req, $reply) = @_;

    my ($framing, $kind, $size) = $req->path =~ m{/([^/]+)/([^/]+)/(\d+)$};
    my $life = $kind =~ /^short/ ? 1 : 600;
    my %h = ('Cache-Control' => "max-age=$life", 'ETag' => '"one"',
             'Content-Type' => 'application/json');
    my $body = body($kind, $size);

    return $reply->head(304, %h)
        if $kind eq 'short-304' && $req->header('If-None-Match');

    $h{'Content-Type'} = 'image/png' if $kind eq 'png';
    $h{'Content-Encoding'} = 'br' if $kind eq 'encoded';
    $h{'Cache-Control'} .= ', no-transform' if $kind eq 'no-transform';
    $h{'Content-Digest'} = 'sha-256=:AAAA:' if $kind eq 'digest';

    if ($framing eq 'chunked') {
        $reply->head(200, %h, 'Transfer-Encoding' => 'chunked');
        for (my $at = 0; $at < $size; $at += 30000) {
            $reply->chunk(substr $body, $at, 30000) or return;
        }
        return $reply->last_chunk();
    }

    return $reply->send(200, [ %h ], $body);
}
