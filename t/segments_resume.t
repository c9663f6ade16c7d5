#!/usr/bin/perl

# A client has part of a response when the rest of it is lost: a segment is
# evicted, or damaged, or Redis is gone.  Where the upstream gives ranges of
# the same representation the client gets the rest from it, and does not
# notice, whatever its protocol, its pace, and the filters in between.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use IO::Uncompress::Gunzip qw(gunzip);
use Test::More;
use RCache;
use RCache::Util;

my $size = 1_500_000;
my $segment = 65536;
my $count = int(($size + $segment - 1) / $segment);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin, workers => 16);
my ($crt, $key) = $t->certificate();
$t->set(CRT => $crt, KEY => $key);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_segment_size  64k;
    redis_proxy_cache_in_flight     32m 32m;

    upstream kept {
        server     %%ORIGIN%%;
        keepalive  4;
    }

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_SLOW%% sndbuf=16k;
        listen  127.0.0.1:%%PORT_TLS%% ssl http2 sndbuf=16k;

        ssl_certificate      %%CRT%%;
        ssl_certificate_key  %%KEY%%;

        redis_proxy_cache             api;
        redis_proxy_cache_key         http://localhost$request_uri;
        redis_proxy_cache_bypass      $http_x_bypass;
        redis_proxy_cache_revalidate  on;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /unbuffered/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }

        location /kept/ {
            proxy_pass          http://kept;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
        }

        location /files/ {
            proxy_pass          http://%%ORIGIN%%;
            proxy_buffers       4 4k;
            proxy_buffer_size   4k;
        }

        location /memory/ {
            proxy_pass                http://%%ORIGIN%%;
            proxy_buffers             4 4k;
            proxy_max_temp_file_size  0;
        }

        location /threads/ {
            proxy_pass         http://%%ORIGIN%%;
            proxy_buffers      4 4k;
            proxy_buffer_size  4k;
            sendfile           on;
            aio                threads;
            aio_write          on;
        }

        location /rate/ {
            proxy_pass  http://%%ORIGIN%%;
            limit_rate  2m;
        }

        location ~ ^(?<head>/captured/)(.*)$ {
            proxy_pass  http://%%ORIGIN%%$head$2;
        }

        location /variable/ {
            proxy_pass        http://%%ORIGIN%%;
            proxy_set_header  Range $http_range;
            add_header        X-Range "<$http_range>";
        }

        location /gzip/ {
            proxy_pass  http://%%ORIGIN%%;
            gzip        on;
            gzip_types  *;
        }

        location /sub/ {
            proxy_pass        http://%%ORIGIN%%;
            sub_filter_types  *;
            sub_filter_once   off;
            sub_filter        abcdefgh "<a>";
        }

        location /limited/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_fallback_limit  1 queue=0;
        }

        location = /status {
            redis_proxy_cache  off;
            redis_proxy_cache_status;
        }
    }
CONF

my $whole = md5_hex(body());

$nginx->tolerate(qr/unusable entry/);

sub key { return "api:{http://localhost$_[0]}" }

sub fetches {
    my ($by) = @_;

    my $text = $nginx->request('GET', '/status?format=prometheus',
                               untagged => 1)->body;
    my ($n) = $text =~ /fetches_total\{[^}]*by="$by"[^}]*\} (\d+)/;

    return $n // 0;
}


# cut at any segment, behind the first

for my $location ('/', '/unbuffered/', '/kept/', '/files/', '/memory/',
                  '/captured/', '/rate/')
{
    for my $n ($location eq '/' ? 1 .. 3 : (), 9, $count - 1) {
        my $uri = "${location}good";
        fill($uri);
        spoil($uri, $n, 'garbage');

        my $r = $nginx->get($uri);
        my $asked = $origin->latest($uri);

        is($r->verdict, 'HIT segment', "$uri, segment $n: a hit");
        ok($r->complete, 'it looks whole');
        is(md5_hex($r->body), $whole, 'and is');
        is($r->status, 200, 'with its own header');
        is($asked->header('Range'), range($n, $size), 'the rest was asked for');
        is($asked->header('If-Range'), '"v1"', 'of the same representation');
        ok(wait_for { !$redis->exists(key($uri)) }, 'the entry is dropped');
    }
}

is($nginx->get('/good')->verdict, 'MISS -', 'the next one is a miss');


# a slow client, and a segment that is evicted meanwhile

for my $location ('/', '/unbuffered/', '/kept/', '/files/', '/memory/') {
    my $uri = "${location}good";
    fill($uri);

    my $c = start($uri, 100_000);
    spoil($uri, $count - 6, 'gone');
    my $r = $c->response();
    ok($r->complete, "$uri, evicted: it looks whole");
    is(md5_hex($r->body), $whole, 'and is');
    is($origin->latest($uri)->header('Range'), range($count - 6, $size),
       'the rest was asked for');
}


# two requests cannot have one output where nginx leaves it to threads

{
    my $uri = '/threads/good';
    fill($uri);
    my $asked = $origin->count($uri);

    my $c = start($uri, 100_000);
    spoil($uri, $count - 6, 'gone');
    my $r = $c->response();
    ok(!$r->complete, "$uri: it is cut");
    is($origin->count($uri), $asked, 'and the rest was not asked for');
}


# what the client itself said of conditions is its own affair

{
    my $uri = '/variable/good';
    fill($uri);
    spoil($uri, 5, 'garbage');
    my $r = $nginx->get($uri, 'If-None-Match' => '"other"');
    is(md5_hex($r->body), $whole, 'a condition of the client: it is whole');
    is($r->header('X-Range'), '<>', 'a variable says what the client said');
    my $asked = $origin->latest($uri);
    is($asked->header('Range'), range(5, $size), 'and then what we say');
    is($asked->header('If-None-Match'), undef, 'its condition is not ours');
}


# a range

for (['100000-1000000', 5, 1_000_001], ['-500000', 20, $size],
     ['65536-1400000', 3, 1_400_001], ['200000-', $count - 1, $size])
{
    my ($range, $n, $end) = @$_;
    my $uri = '/good';

    fill($uri);
    spoil($uri, $n, 'garbage');

    my $r = $nginx->get($uri, Range => "bytes=$range");
    my ($from, $to) = $r->header('Content-Range') =~ /^bytes (\d+)-(\d+)/;
    is($r->status, 206, "range $range: 206");
    ok($r->complete, 'it looks whole');
    is(md5_hex($r->body), md5_hex(substr body(), $from, $to - $from + 1),
       'and is');
    is($origin->latest($uri)->header('Range'), range($n, $end),
       'no more was asked for than is missing');
}


# the filters behind us do what they do

{
    my $uri = '/gzip/good';
    fill($uri);
    spoil($uri, 7, 'garbage');
    my $r = $nginx->get($uri, 'Accept-Encoding' => 'gzip');
    is($r->header('Content-Encoding'), 'gzip', 'gzip');
    my $zipped = $r->body;
    gunzip(\$zipped, \my $plain);
    is(md5_hex($plain), $whole, 'it is whole');

    $uri = '/sub/good';
    fill($uri);
    my $expected = md5_hex($nginx->get($uri)->body);
    isnt($expected, $whole, 'sub_filter replaces something');
    spoil($uri, 7, 'garbage');
    my $r2 = $nginx->get($uri);
    is($r2->verdict, 'HIT segment', 'a hit');
    is(md5_hex($r2->body), $expected, 'it does so in the rest');
}


# other answers that are right

for my $how ('modified', 'chunked', 'encoded') {
    my $uri = "/$how";
    fill($uri);
    spoil($uri, 4, 'garbage');
    my $r = $nginx->get($uri);
    ok($r->complete, "$how: it looks whole");
    is(md5_hex($r->body), $whole, 'and is');
}

is($origin->latest('/modified')->header('If-Range'),
   'Sat, 01 Jan 2000 00:00:00 GMT', 'a date where there is no ETag');


# to a client that knows the end by the end of the connection

{
    my $uri = '/good';
    fill($uri);
    spoil($uri, 4, 'garbage');
    my $r = $nginx->request('GET', $uri, version => '1.0');
    is(md5_hex($r->body), $whole, 'HTTP/1.0: it is whole');
}


# HTTP/2

{
    my $uri = '/good';
    fill($uri);
    spoil($uri, 4, 'garbage');
    my $r = $nginx->curl('--http2', 'https://localhost:' . $nginx->port('TLS')
                         . $uri);
    is($r->version, 'HTTP/2', 'HTTP/2');
    ok($r->complete, 'it looks whole');
    is(md5_hex($r->body), $whole, 'and is');
}

{
    my $uri = '/good';
    fill($uri);

    my $out = $t->dir() . '/h2.body';
    my $pid = RCache::Util::spawn(
        argv => [ 'curl', '-s', '-S', '-k', '--http2', '-N', '-o', $out,
                  '--limit-rate', '400k',
                  'https://localhost:' . $nginx->port('TLS') . $uri ],
        log => $t->dir() . '/h2.log'
    );

    ok(wait_for { (-s $out || 0) > 50_000 }, 'HTTP/2, a slow client');
    kill 'STOP', $pid;
    spoil($uri, $count - 3, 'gone');
    kill 'CONT', $pid;
    RCache::Util::stop_pid($pid, 0);
    is(md5_hex(slurp($out)), $whole, 'it has it all');
    is($origin->latest($uri)->header('Range'), range($count - 3, $size),
       'the rest was asked for');
}


# behind a 304 that freshened it

{
    my $uri = '/expired';
    fill($uri);
    my $c = start($uri, 100_000);
    is($origin->latest($uri)->header('If-None-Match'), '"v1"', 'it is asked');
    spoil($uri, $count - 4, 'gone');
    my $r = $c->response();
    is(md5_hex($r->body), $whole, 'freshened: it is whole');
    is($origin->latest($uri)->header('Range'), range($count - 4, $size),
       'the rest was asked for');
}


# connections live on: the client's own

{
    my $uri = '/good';
    fill($uri);
    spoil($uri, 4, 'garbage');
    my $c = $nginx->connect();
    my $r = $c->request('GET', $uri, keepalive => 1);
    is(md5_hex($r->body), $whole, 'keep-alive: it is whole');
    $r = $c->request('GET', $uri, keepalive => 1);
    is(md5_hex($r->body), $whole, 'and so is the next one');
}


# two at once, slow, with an upstream that makes a pause

{
    my $uri = '/pause-1';
    fill($uri);
    my @c = map { start($uri, 100_000) } 1 .. 2;
    spoil($uri, $count - 6, 'gone');
    my $n = $origin->count($uri);
    push @c, start($uri, 100_000);
    $_->fill() for @c[0, 1];
    $origin->say('pause-1');
    is(md5_hex($_->response()->body), $whole, 'each client has it all') for @c;
    is(scalar(grep { $_->header('Range') } $origin->requests($uri)), 2,
       'each asked for its own rest');
}


# the client goes away while the upstream makes a pause

for my $location ('/', '/unbuffered/') {
    my $uri = "${location}pause-2" . ($location eq '/' ? '' : '0');
    fill($uri);
    spoil($uri, 4, 'garbage');
    my $c = start($uri, 4 * $segment + 1000);
    ok(wait_for { grep { $_->header('Range') } $origin->requests($uri) },
       "$uri: the rest is asked for");
    $nginx->mark();
    $c->reset();
    ok($nginx->wait_line(qr/client prematurely closed|reset by peer/i),
       'the client goes');
    $origin->say($uri =~ s{.*/}{}r);
    is(md5_hex($nginx->get('/another')->body), $whole, 'life goes on');
}


# Redis is killed

for my $location ('/', '/unbuffered/') {
    my $uri = "${location}good";
    fill($uri);
    my $limited = '/limited/pause-3' . ($location eq '/' ? '' : '0');
    fill($limited);

    my $c = start($uri, 100_000);
    my @limited = map { start($limited, 100_000) } 1 .. 2;
    $redis->stop();
    my $r = $c->response();
    ok($r->complete, 'Redis is killed: it looks whole');
    is(md5_hex($r->body), $whole, 'and is');

    ok(wait_for { grep { $_->header('Range') } $origin->requests($limited) },
       'redis_proxy_cache_fallback_limit');
    $origin->say($limited =~ s{.*/}{}r);
    my @r = map { $_->response() } @limited;
    is(scalar(grep { $_->complete } @r), 1, 'lets one ask');
    is(md5_hex($_->body), md5_hex(substr body(), 0, length $_->body),
       'what came is right') for @r;

    $redis->start();
    $nginx->settle();
}


# what is counted

{
    my $uri = '/good';
    fill($uri);
    spoil($uri, 4, 'garbage');

    my ($requests, $resumed) = map { fetches($_) } 'request', 'resume';
    is($nginx->get($uri)->verdict, 'HIT segment', 'a hit');
    ok(wait_for { fetches('resume') == $resumed + 1 }, 'a fetch of its own');
    is(fetches('request'), $requests, 'and none of a request');
}

$t->done();


sub range {
    my ($n, $end) = @_;

    return 'bytes=' . $n * $segment . '-' . ($end - 1);
}


sub fill {
    my ($uri) = @_;

    $nginx->get($uri, 'X-Bypass' => 1);
    $nginx->settle();
    $redis->exists(key($uri)) or die "$uri is not stored\n";

    return;
}


# A client that has read so much and goes on when response() is called.

sub start {
    my ($uri, $bytes) = @_;

    my $c = $nginx->begin('GET', $uri, to => 'SLOW');
    $c->fill_to($bytes);

    return $c;
}


sub spoil {
    my ($uri, $n, $what) = @_;

    my ($id) = RCache::Entry->read($redis, key($uri))->{id};
    my $name = key($uri) . ":s:$id:$n";

    if ($what eq 'gone') {
        $redis->cmd('DEL', $name) or die "$name is not there\n";
        return;
    }

    my $value = $redis->get($name);
    substr $value, 5000, 1, chr(1 ^ ord substr $value, 5000, 1);
    $redis->cmd('SET', $name, $value, 'PX', 60000);

    return;
}


my $made;

sub body { return $made //= noise($size) }


sub origin {
    my ($req, $reply) = @_;

    my ($how) = $req->path =~ m{([^/]*)$};
    my ($first, $last) = ($req->header('Range') // '')
        =~ /^bytes=(\d+)-(\d+)$/;
    my $age = $how eq 'expired' ? 0 : 600;
    my %headers = ('Cache-Control' => "max-age=$age", ETag => '"v1"');

    $headers{'Content-Encoding'} = 'x-test' if $how eq 'encoded';

    if ($how eq 'modified') {
        delete $headers{ETag};
        $headers{'Last-Modified'} = 'Sat, 01 Jan 2000 00:00:00 GMT';
    }

    return $reply->head(304, %headers)
        if $how eq 'expired' && $req->header('If-None-Match');

    return $reply->send(200, [ %headers ], body()) if !defined $first;

    my $rest = substr body(), $first, $last - $first + 1;

    $headers{'Content-Range'} = "bytes $first-$last/$size";

    if ($how eq 'chunked') {
        $reply->head(206, %headers, 'Transfer-Encoding' => 'chunked');
        $reply->chunk(substr $rest, 0, 1000);
        $reply->chunk(substr $rest, 1000);
        $reply->last_chunk();
        return;
    }

    $reply->head(206, %headers, 'Content-Length' => length $rest);
    $reply->raw(substr $rest, 0, 10_000);
    $reply->wait_word($how) if $how =~ /^pause/;
    $reply->raw(substr $rest, 10_000);

    return;
}
