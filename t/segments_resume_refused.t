#!/usr/bin/perl

# The rest of a body that was lost is asked of the upstream, which may say
# anything: that there are no ranges, or another range, or one of another
# body; or nothing.  The client sees that it is not whole, and never gets a
# byte that is not of the body that was begun.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use RCache;

my $size = 400_000;
my $segment = 65536;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);
my ($crt, $key) = $t->certificate();
$t->set(CRT => $crt, KEY => $key);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_segment_size  64k;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_TLS%% ssl http2;

        ssl_certificate      %%CRT%%;
        ssl_certificate_key  %%KEY%%;

        redis_proxy_cache         api;
        redis_proxy_cache_key     http://localhost$request_uri;
        redis_proxy_cache_bypass  $http_x_bypass;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /unbuffered/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }

        location /off/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_resume  off;
        }

        location /hidden/ {
            proxy_pass        http://%%ORIGIN%%;
            proxy_set_header  Range "";
        }

        location /pages/ {
            proxy_pass              http://%%ORIGIN%%;
            proxy_intercept_errors  on;
            error_page              404 500 502 = /page;
        }

        location /asked/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_client_control  on;
            redis_proxy_cache_offline         $http_x_offline;
        }

        location = /page {
            redis_proxy_cache  off;
            proxy_pass         http://%%ORIGIN%%;
        }
    }
CONF

$nginx->tolerate(qr/unusable entry/);

sub key { return "api:{http://localhost$_[0]}" }


# what is not exactly the rest is not taken

for my $how ('whole', 'etag', 'no-etag', 'start', 'end', 'total', 'no-range',
             'length', 'long', 'cut', 'chunked-cut', 'encoding', 'multipart',
             '404', '500', 'reset', 'accel', 'redate')
{
    for my $location ('/', '/unbuffered/') {
        my $uri = "$location$how";

        fill($uri);
        spoil($uri);

        my $r = $nginx->get($uri);
        ok(!$r->complete, "$uri: it does not look whole");
        is(md5_hex($r->body), md5_hex(substr body(), 0, length $r->body),
           'what came is right');
        ok($origin->latest($uri)->header('Range'), 'the rest was asked for');
    }
}


# an error page is no rest

for my $how ('404', '500', 'reset') {
    my $uri = "/pages/$how";

    fill($uri);
    spoil($uri);

    my $r = $nginx->get($uri);
    ok(!$r->complete, "$uri: it does not look whole");
    is(md5_hex($r->body), md5_hex(substr body(), 0, length $r->body),
       'what came is right');
}

is($origin->count('/page'), 0, 'no error page was asked for');


# where it is not asked for

for my $uri ('/weak', '/weak-modified', '/young', '/bare', '/off/good',
             '/hidden/good')
{
    fill($uri);
    spoil($uri);

    my $n = $origin->count($uri);
    my $r = $nginx->get($uri);
    ok(!$r->complete, "$uri: it does not look whole");
    is(md5_hex($r->body), md5_hex(substr body(), 0, length $r->body),
       'what came is right');
    is($origin->count($uri) - $n, $uri =~ /hidden/ ? 1 : 0,
       'nobody asks in vain');
}


for my $header ([ 'X-Offline' => 1 ],
                [ 'Cache-Control' => 'only-if-cached' ])
{
    my $uri = '/asked/good';
    fill($uri);
    spoil($uri);

    my $n = $origin->count($uri);
    my $r = $nginx->get($uri, @$header);
    ok(!$r->complete, "@$header: it does not look whole");
    is($origin->count($uri), $n, 'the upstream is left alone');
}


# to a client that knows the end by the end of the connection

{
    fill('/cut');
    spoil('/cut');
    my $r = $nginx->request('GET', '/cut', version => '1.0');
    ok(!$r->complete, 'HTTP/1.0: it does not look whole');
}


# HTTP/2

for my $how ('whole', 'cut', 'etag') {
    my $uri = "/$how";
    fill($uri);
    spoil($uri);
    my $r = $nginx->curl('--http2', 'https://localhost:' . $nginx->port('TLS')
                         . $uri);
    is($r->version, 'HTTP/2', "HTTP/2, $how");
    ok(!$r->complete, 'it does not look whole');
    is(md5_hex($r->body), md5_hex(substr body(), 0, length $r->body),
       'what came is right');
}

$t->done();


sub fill {
    my ($uri) = @_;

    $nginx->get($uri, 'X-Bypass' => 1);
    $nginx->settle();
    $redis->exists(key($uri)) or die "$uri is not stored\n";

    return;
}


# Segment 4 is damaged.

sub spoil {
    my ($uri) = @_;

    my ($id) = RCache::Entry->read($redis, key($uri))->{id};
    my $name = key($uri) . ":s:$id:4";

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
    my %headers = ('Cache-Control' => 'max-age=600', ETag => '"v1"',
                   'Content-Type' => 'application/x-test');

    $headers{ETag} = 'W/"v1"' if $how =~ /^weak/;
    delete $headers{ETag} if $how =~ /^(?:bare|young|redate)$/;
    $headers{'Last-Modified'} = 'Sat, 01 Jan 2000 00:00:00 GMT'
        if $how =~ /modified|redate/;
    $headers{'Last-Modified'} = http_date() if $how eq 'young';

    if (!defined $first || $how eq 'whole') {
        return $reply->send(200, [ %headers ], body());
    }

    return $reply->send($how, [ %headers ], 'no') if $how =~ /^(?:404|500)$/;
    return $reply->reset() if $how eq 'reset';

    my $rest = substr body(), $first, $last - $first + 1;

    $headers{ETag} = '"v2"' if $how eq 'etag';
    delete $headers{ETag} if $how eq 'no-etag';
    $headers{'Last-Modified'} = 'Sat, 01 Jan 2000 00:00:01 GMT'
        if $how eq 'redate';
    $headers{'Content-Encoding'} = 'x-test' if $how eq 'encoding';
    $headers{'X-Accel-Redirect'} = '/page' if $how eq 'accel';

    my $total = $how eq 'total' ? $size + 1 : $size;
    $headers{'Content-Range'} = 'bytes ' . ($first - ($how eq 'start')) . '-'
        . ($last - ($how eq 'end')) . "/$total";

    delete $headers{'Content-Range'} if $how =~ /^(?:no-range|multipart)$/;
    $headers{'Content-Type'} = 'multipart/byteranges; boundary=x'
        if $how eq 'multipart';

    if ($how =~ /^(?:chunked-cut|long)$/) {
        $reply->head(206, %headers, 'Transfer-Encoding' => 'chunked');
        my $half = int(length($rest) / 2);
        $reply->chunk(substr $rest, 0, $half);
        return $reply->close() if $how eq 'chunked-cut';
        $reply->chunk(substr($rest, $half), 'x' x $segment);
        $reply->last_chunk();
        return;
    }

    my $length = length $rest;
    $length-- if $how eq 'length';

    $reply->head(206, %headers, 'Content-Length' => $length);
    $reply->raw(substr $rest, 0, $how eq 'cut' ? $length / 2 : $length);
    $reply->close();

    return;
}
