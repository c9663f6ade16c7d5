#!/usr/bin/perl

# The ways in which a response can travel: buffered or not, over each version
# of HTTP, in chunks, with a length or to the end of the connection, spooled
# to a temporary file.  Each one is another shape of buffers to capture, and
# each must give the same bytes, on the miss, in the store and on the hit.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);
my ($crt, $key) = $t->certificate();

my $nginx = $t->nginx(<<'CONF', vars => { CRT => $crt, KEY => $key });
    redis_proxy_cache_zone      api:1m server=%%REDIS%%
                                connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget    5s;
    redis_proxy_cache_max_size  8m;

    ssl_certificate             %%CRT%%;
    ssl_certificate_key         %%KEY%%;

    upstream kept {
        server     %%ORIGIN%%;
        keepalive  4;
    }

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_TLS%% ssl http2;
        listen  127.0.0.1:%%PORT_SLOW%% sndbuf=32k;

        redis_proxy_cache  api;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /unbuffered/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }

        location /unbuffered11/ {
            proxy_pass          http://%%ORIGIN%%;
            proxy_buffering     off;
            proxy_http_version  1.1;
        }

        location /static/ {
            alias                    %%DIR%%/html/;
            redis_proxy_cache_valid  1m;
        }

        location /upgrade/ {
            proxy_pass          http://%%ORIGIN%%;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
        }

        location /kept/ {
            proxy_pass          http://kept;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
        }

        location /spooled/ {
            proxy_pass                http://%%ORIGIN%%;
            proxy_buffer_size         4k;
            proxy_buffers             2 4k;
            proxy_busy_buffers_size   4k;
        }

        location /unspooled/ {
            proxy_pass                http://%%ORIGIN%%;
            proxy_buffer_size         4k;
            proxy_buffers             2 4k;
            proxy_busy_buffers_size   4k;
            proxy_max_temp_file_size  0;
        }
    }
CONF

# every location with every framing of the origin, and sizes around buffers

my @framing = qw(length chunked close http10 http10-length);

for my $location ('/', '/unbuffered/', '/unbuffered11/', '/kept/',
                  '/spooled/', '/unspooled/')
{
    for my $framing (@framing) {
        for my $size (1, 4096, 300001) {
            my $uri = "$location$framing/$size";

            my $miss = $nginx->get($uri);
            my $hit = $nginx->get($uri);

            if ($hit->verdict ne 'HIT -') {
                $nginx->settle();
                $hit = $nginx->get($uri);
            }

            is(join(' ', $miss->verdict, $miss->complete, length $miss->body,
                    $hit->verdict, $hit->complete,
                    $hit->header('Content-Length')),
               "MISS - 1 $size HIT - 1 $size", $uri);
            ok($miss->body eq body($size) && $hit->body eq body($size),
               'all bytes are right');
        }
    }
}

# a client of HTTP/1.0, and one of HTTP/1.0 that keeps the connection

for my $framing (@framing) {
    my $uri = "/$framing/5001";
    my $r = $nginx->request('GET', $uri, version => '1.0');
    is($r->body, body(5001), "HTTP/1.0, $framing, a miss");
    is($r->header('Transfer-Encoding'), undef, 'without chunks');
    $nginx->settle();
    $r = $nginx->request('GET', $uri, version => '1.0');
    is($r->verdict, 'HIT -', 'a hit');
    is($r->body, body(5001), 'with the same body');
    is($r->header('Content-Length'), 5001, 'and its length');
}

my $c = $nginx->connect();
for (1 .. 2) {
    my $r = $c->request('GET', '/chunked/5001', version => '1.0',
                        headers => [ Connection => 'keep-alive' ]);
    is($r->body, body(5001), 'HTTP/1.0 with keep-alive');
}
$c->close();

# TLS and HTTP/2, which share nothing but the scheme with each other

my $tls = 'https://127.0.0.1:' . $nginx->port('TLS');

for my $size (7001, 400001) {
    my $r = $nginx->curl('--http1.1', "$tls/length/$size");
    is($r->verdict, 'MISS -', "$size bytes over TLS: a miss");
    is($r->version, 'HTTP/1.1', 'in HTTP/1.1');
    is(md5_hex($r->body), md5_hex(body($size)), 'with the right body');
    $nginx->settle();

    $r = $nginx->curl('--http2', "$tls/length/$size");
    is($r->verdict, 'HIT -', 'a hit over HTTP/2');
    is($r->version, 'HTTP/2', 'it is HTTP/2');
    is(md5_hex($r->body), md5_hex(body($size)), 'with the right body');
    is($r->header('X-Framing'), 'length', 'and headers');

    $r = $nginx->curl('--http2', "$tls/chunked/$size");
    is($r->verdict, 'MISS -', 'a miss over HTTP/2');
    is(md5_hex($r->body), md5_hex(body($size)), 'with the right body');
    $nginx->settle();

    $r = $nginx->curl('--http1.1', "$tls/chunked/$size");
    is($r->verdict, 'HIT -', 'is a hit over HTTP/1.1');
    is(md5_hex($r->body), md5_hex(body($size)), 'with the right body');

    $r = $nginx->curl('--http2', '-I', "$tls/length/$size");
    is($r->verdict, 'HIT -', 'HEAD over HTTP/2');
    is($r->header('Content-Length'), $size, 'has the length');

    $r = $nginx->curl('--http2', '-r', '10-19', "$tls/length/$size");
    is($r->status, 206, 'a range over HTTP/2');
    is($r->body, substr(body($size), 10, 10), 'is that range');
}

is($nginx->get('/length/7001')->verdict, 'MISS -',
   'the scheme is part of the key');

# spooled: a client that does not read, so that the origin's response leaves
# memory before it is captured to the end

my $size = 4_000_001;

for my $framing ('length', 'chunked') {
    my $uri = "/spooled/$framing/$size";

    $nginx->mark();
    $c = $nginx->begin('GET', $uri, to => 'SLOW');
    ok($nginx->wait_line('is buffered to a temporary file'),
       "$framing: a large response to a slow client is spooled");
    my $r = $c->response('GET');
    is(md5_hex($r->body), md5_hex(body($size)), 'and arrives whole');
    $c->close();

    $nginx->settle();
    $r = $nginx->get($uri);
    is($r->verdict, 'HIT -', 'it was stored');
    is(md5_hex($r->body), md5_hex(body($size)), 'and is right');

    # a hit for a slow client

    $c = $nginx->begin('GET', $uri, to => 'SLOW');
    $c->fill();
    is($nginx->get('/length/1')->status, 200, 'others go on meanwhile');
    $r = $c->response('GET');
    is(md5_hex($r->body), md5_hex(body($size)), 'a hit for a slow client');
    $c->close();
}

# another content handler: what is in a file only

for my $size (1, 200000) {
    spit($nginx->{dir} . "/html/$size", body($size));

    my $r = $nginx->get("/static/$size", Range => 'bytes=0-0');
    is($r->status, 206, "a static file of $size bytes: a range on a miss");
    is($r->body, substr(body($size), 0, 1), 'is that range');
    $nginx->settle();
    unlink $nginx->{dir} . "/html/$size";
    $r = $nginx->get("/static/$size");
    is($r->verdict, 'HIT -', 'the file is gone, a hit');
    is(md5_hex($r->body), md5_hex(body($size)), 'has all of it');
}

# another protocol passes

$c = $nginx->connect();
$c->send("GET /upgrade/1 HTTP/1.1\r\nHost: localhost\r\n",
         "Connection: upgrade\r\nUpgrade: echo\r\n\r\n");
is($c->response('GET')->status, 101, 'an upgrade passes');
$c->send("over there?\n");
is($c->take_line(), 'you said over there?', 'in both directions');
$c->close();

# a pause in the middle, from the origin

for my $location ('/', '/unbuffered/') {
    my $r = $nginx->get("${location}pause/6000");
    is($r->body, body(6000), "a response in pieces, $location");
    $nginx->settle();
    $r = $nginx->get("${location}pause/6000");
    is($r->verdict, 'HIT -', 'is a hit then');
    is($r->body, body(6000), 'and whole');
}

$t->done();


sub body {
    my ($size) = @_;

    my $line = join '', map { chr } 0 .. 250;
    return substr $line x (1 + int($size / length $line)), 0, $size;
}


sub origin {
    my ($req, $reply) = @_;

    if ($req->path =~ m{^/upgrade/}) {
        $reply->raw("HTTP/1.1 101 Switching Protocols\r\n",
                    "Connection: upgrade\r\nUpgrade: echo\r\n\r\n");
        sysread $reply->{sock}, my $line, 100;
        $reply->raw("you said $line");
        return $reply->close();
    }

    my ($framing, $size) = $req->path =~ m{([a-z0-9-]+)/(\d+)$};
    my @headers = ('Cache-Control' => 'max-age=60', 'X-Framing' => $framing);
    my $body = body($size);

    if ($framing =~ /^http10/) {
        $reply->{version} = 'HTTP/1.0';
        $reply->close();
    }

    if ($framing eq 'close' || $framing eq 'http10') {
        $reply->close();
        $reply->head(200, @headers);
        $reply->raw($body);

    } elsif ($framing eq 'chunked') {
        $reply->head(200, @headers, 'Transfer-Encoding' => 'chunked');
        while (length $body) {
            $reply->chunk(substr $body, 0, 9000, '');
        }
        $reply->last_chunk();

    } elsif ($framing eq 'pause') {
        $reply->head(200, @headers, 'Content-Length' => $size);
        while (length $body) {
            $reply->raw(substr $body, 0, 1000, '');
            $reply->delay(0.02);
        }

    } else {
        $reply->send(200, \@headers, $body);
    }
}
