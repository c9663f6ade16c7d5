#!/usr/bin/perl

# A segment that is compressed can be lost as any other, and in ways of its own:
# it may become less than its part of the body, or more, or a thousand times
# more, by a liar or by an accident.  Whatever it is, a client never takes for
# whole what is not, and no more is unpacked than fits.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Compress::Raw::Zlib;
use Digest::MD5 qw(md5 md5_hex);
use Test::More;
use RCache;

my $size = 3_000_000;
my $segment = 65536;
my $count = int(($size + $segment - 1) / $segment);

# made once, not by each process of the origin

my %made;
body($_) for qw(body noise zeros);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin, workers => 8);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_segment_size  64k;
    redis_proxy_cache_in_flight     32m 32m;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_SLOW%% sndbuf=16k;

        redis_proxy_cache         api;
        redis_proxy_cache_key     http://localhost$request_uri;
        redis_proxy_cache_bypass  $http_x_bypass;
        redis_proxy_cache_resume  off;

        location /gzip/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  gzip pass;
        }

        location /zstd/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  zstd;
        }

        location /resumed/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  gzip pass;
            redis_proxy_cache_resume    on;
        }

        location /alone/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  gzip;
            redis_proxy_cache_lock      off;
        }

        # what is taken from here fits nowhere else

        location /small/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_compress      gzip;
            redis_proxy_cache_segment_size  32k;
        }

        location /bomb/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_compress      gzip;
            redis_proxy_cache_segment_size  8m;
            redis_proxy_cache_in_flight     32m 32m;
        }

        location /bomb-zstd/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_compress      zstd;
            redis_proxy_cache_segment_size  8m;
            redis_proxy_cache_in_flight     32m 32m;
        }
    }
CONF

$nginx->tolerate(qr/unusable entry/);

sub key { return "api:{http://localhost$_[0]}" }

# once its segments are there, it is, too

sub entry {
    $redis->wait_key(key($_[0]));

    return RCache::Entry->read($redis, key($_[0]));
}

sub segments { my @keys = $redis->keys(key($_[0]) . ':s:*'); return @keys }

sub coded { my $e = entry($_[0]); return $e && ($e->{flags} & 0xc0) == 0xc0 }


# what is put in the place of a segment, with all that its header has to say;
# the sum is of what stands behind it

my %part;

for (
    [ 'a bomb',             '/bomb/zeros' ],
    [ 'a bomb of zstd',     '/bomb-zstd/zeros' ],
    [ 'shorter than that',  '/small/body' ],
    [ 'of another coding',  '/zstd/body' ],
) {
    my ($what, $uri) = @$_;

    $nginx->get($uri);
    ok(coded($uri), "$uri is compressed");
    $part{$what} = $redis->get(key($uri) . ':s:' . entry($uri)->{id} . ':0');
}

cmp_ok(length $part{'a bomb'}, '<', 50_000, 'the bomb is a small one');


my @lost = ('gone', 'garbage', 'said to be as it was', 'cut', 'a bomb',
            'a bomb of zstd', 'shorter than that', 'of another coding');

# before anything is said it is a miss, also if it is the first one that a
# range needs

for my $location ('/gzip/', '/zstd/') {
    for my $what (@lost) {
        next if $location eq '/zstd/' && $what eq 'of another coding';

        for my $how ('whole', 'range', 'passed') {
            my $n = $how eq 'range' ? 4 : 0;
            my @headers = $how eq 'range' ? (Range => 'bytes=300000-300009')
                        : $how eq 'passed' ? ('Accept-Encoding' => 'gzip')
                        : ();

            # what is passed on nobody unpacks: the client's gzip will see it

            next if $how eq 'passed'
                    && $what !~ /^(?:gone|garbage|said to be as it was|cut)$/;

            my $uri = "${location}body";
            $nginx->get($uri, 'X-Bypass' => 1);
            ok(coded($uri), 'it is there');
            my $before = memory();
            spoil($uri, $n, $what);

            my $r = $nginx->get($uri, @headers);
            is($r->verdict, 'MISS -', "$uri, $how, $what: a miss");
            is(md5_hex($r->body),
               md5_hex($how eq 'range' ? substr(body(), 300_000, 10)
                                       : body()), 'which is right');
            cmp_ok(memory() - $before, '<', 6000, 'in little memory')
                if $what =~ /bomb/;
            $nginx->settle();
            ok(coded($uri), 'and is stored');
        }
    }
}

# one that is not compressed, and says that it is

{
    my $uri = '/gzip/noise';
    $nginx->get($uri, 'X-Bypass' => 1);
    ok(coded($uri), 'a part of it is compressed');
    spoil($uri, 0, 'said to be compressed');
    is($nginx->get($uri)->verdict, 'MISS -', 'it is not: a miss');
}


# behind the first byte

for my $location ('/gzip/', '/zstd/', '/resumed/') {
    for my $what (@lost) {
        next if $location eq '/zstd/' && $what eq 'of another coding';

        my $uri = "${location}body";
        $nginx->get($uri, 'X-Bypass' => 1);

        my $c = start($uri, 100_000);
        spoil($uri, $count - 2, $what);
        my $r = $c->response();

        if ($location eq '/resumed/') {
            ok($r->complete, "$uri: $what, the upstream has the rest");
            is(md5_hex($r->body), md5_hex(body()), 'which is right');

        } else {
            ok(!$r->complete, "$uri: $what, it does not look whole");
            is(md5_hex($r->body), md5_hex(substr body(), 0, length $r->body),
               'what came is right');
        }

        ok(wait_for { !$redis->exists(key($uri)) }, 'the entry is dropped');
    }
}

# the upstream's rest is not compressed: who gets it so gets no more of it, and
# sees that

for my $location ('/gzip/', '/resumed/') {
    for my $version ('1.1', '1.0') {
        my $uri = "${location}noise";
        $nginx->get($uri, 'X-Bypass' => 1);

        my $c = start($uri, 100_000, version => $version,
                      headers => [ 'Accept-Encoding' => 'gzip' ]);
        spoil($uri, $count - 2, 'gone');
        my $r = $c->response();
        is($r->header('Content-Encoding'), 'gzip', "$uri, HTTP/$version");
        ok(!$r->complete, 'passed on as it is, it does not look whole');
        ok(wait_for { !$redis->exists(key($uri)) }, 'the entry is dropped');
    }
}

# a client that unpacks does find out about what nobody else did

{
    my $uri = '/gzip/body';
    $nginx->get($uri, 'X-Bypass' => 1);
    spoil($uri, 3, 'shorter than that');

    my $r = $nginx->get($uri, 'Accept-Encoding' => 'gzip');
    my ($z) = Compress::Raw::Zlib::Inflate->new(-WindowBits => WANT_GZIP());
    my ($in, $out) = ($r->body);
    is($z->inflate($in, $out) + 0, Z_DATA_ERROR, 'the sum is wrong');
}


# the upstream breaks off

for my $location ('/gzip/', '/zstd/') {
    for my $how ('length', 'chunked', 'reset') {
        my $uri = "${location}cut-$how";

        my $r = $nginx->get($uri);
        ok(!$r->complete, "$uri: it does not look whole");
        $nginx->settle();
        is($redis->exists(key($uri)), 0, 'there is no entry');
        ok(wait_for { !segments($uri) }, 'nor are there segments');

        is(md5_hex($nginx->get($uri)->body), md5_hex(body()),
           'the next one is whole');
        is($nginx->get($uri)->verdict, 'HIT -', 'and stored');
    }
}


# the client goes away while it is stored, and while it is served

for my $location ('/gzip/', '/alone/') {
    my $how = 'pause-' . ($location eq '/gzip/' ? 1 : 2);
    my $uri = "$location$how";

    my $c = start($uri, 150_000);
    ok(wait_for { segments($uri) }, "$uri: the first segments are stored");
    is(scalar(grep { my $ttl = $redis->pttl($_);
                     $ttl < 0 || $ttl > 120_000 } segments($uri)), 0,
       'none of them lives for long');
    $c->reset();
    $nginx->settle();
    $origin->say($how);

    if ($location eq '/gzip/') {
        ok($redis->wait_key(key($uri)), 'the leader goes on');
        is($nginx->get($uri)->verdict, 'HIT -', 'for the next one');

    } else {
        ok(wait_for { !segments($uri) }, 'nobody else waits: all of it goes');
    }

    is(md5_hex($nginx->get($uri)->body), md5_hex(body()), 'and whole');
}

{
    my $uri = '/gzip/body';
    $nginx->get($uri);
    $redis->cmd('CONFIG', 'RESETSTAT');

    my $c = start($uri, 100_000);
    $c->reset();
    $nginx->settle();

    cmp_ok($redis->calls('get'), '<', $count,
           'what nobody reads is not fetched');
}


# two at once

{
    my $uri = '/alone/pause-3';
    my @c = map { start($uri, 150_000) } 1 .. 2;
    ok(wait_for { ids($uri) == 2 }, 'two bodies are on their way');
    $origin->say('pause-3');
    is(md5_hex($_->response()->body), md5_hex(body()), 'each is whole') for @c;
    $nginx->settle();
    my $r = $nginx->get($uri);
    is($r->verdict, 'HIT -', 'one of them is there');
    is(md5_hex($r->body), md5_hex(body()), 'and whole');
}

$t->done();


# in kilobytes: of the one worker

sub memory { return ($nginx->rss())[0] }


# A client that has read so much and goes on when response() is called.

sub start {
    my ($uri, $bytes, %o) = @_;

    my $c = $nginx->begin('GET', $uri, %o, to => 'SLOW');
    $c->fill_to($bytes);

    return $c;
}


sub ids {
    my ($uri) = @_;

    my %ids = map { /:s:(\w+):\d+$/ ? ($1 => 1) : () } segments($uri);
    return scalar keys %ids;
}


sub spoil {
    my ($uri, $n, $what) = @_;

    my $key = key($uri) . ':s:' . entry($uri)->{id} . ":$n";

    if ($what eq 'gone') {
        is($redis->cmd('DEL', $key), 1, "segment $n is there");
        return;
    }

    my $value = $redis->get($key);

    if ($what eq 'garbage') {
        substr $value, 500, 1, chr(1 ^ ord substr $value, 500, 1);

    } elsif ($what =~ /^said to be/) {
        substr $value, 6, 1, chr(2 ^ ord substr $value, 6, 1);

    } elsif ($what eq 'cut') {
        substr $value, -1, 1, '';

    } else {
        $value = substr($value, 0, 24) . substr $part{$what}, 24;
    }

    $redis->cmd('SET', $key, $value, 'PX', 60000);
    return;
}


# "noise" has a segment in five that is not, "zeros" is 16 MiB of them

sub body {
    my ($kind) = @_;

    $kind = 'body' if !defined $kind || $kind !~ /^(?:noise|zeros)$/;

    return $made{$kind} //= make($kind);
}


sub make {
    my ($kind) = @_;

    return "\0" x (1 << 24) if $kind eq 'zeros';

    my ($text, $id) = ('[', 0);
    while (length $text < $size) {
        $text .= sprintf qq({"id":%d,"name":"product %d"},), ++$id,
                         $id * 7919 % 10007;
    }
    return substr $text, 0, $size if $kind eq 'body';

    my $noise = join '', map { md5($_) } 0 .. $size / 16;

    return substr join('', map { substr $_ % 5 == 1 ? $text : $noise,
                                        $_ * $segment, $segment }
                           0 .. $count - 1), 0, $size;
}


sub origin {
    my ($req, $reply) = @_;

    my ($how) = $req->path =~ m{([^/]+)$};
    my $seen = "$reply->{dir}/seen-" . ($req->path =~ tr{/}{_}r);
    my $first = !-e $seen;
    my $body = body($how);
    my @headers = ('Cache-Control' => 'max-age=600', 'ETag' => '"one"',
                   'Content-Type' => 'application/json');

    spit($seen, '');

    if (($req->header('Range') // '') =~ /^bytes=(\d+)-(\d+)$/) {
        return $reply->send(206, [ @headers, 'Content-Range',
                                   "bytes $1-$2/" . length $body ],
                            substr $body, $1, $2 - $1 + 1);
    }

    if ($how =~ /^pause-/) {
        $reply->head(200, @headers, 'Content-Length' => $size);
        $reply->raw(substr $body, 0, 600_000);
        $reply->wait_word($how);
        $reply->raw(substr $body, 600_000);
        return;
    }

    if ($how !~ /^cut-/ || !$first) {
        return $reply->send(200, \@headers, $body);
    }

    $reply->close();

    if ($how eq 'cut-chunked') {
        $reply->head(200, @headers, 'Transfer-Encoding' => 'chunked');
        $reply->chunk(substr $body, 0, 600_000);

    } else {
        $reply->head(200, @headers, 'Content-Length' => $size);
        $reply->raw(substr $body, 0, 600_000);
    }

    $reply->reset() if $how eq 'cut-reset';
}
