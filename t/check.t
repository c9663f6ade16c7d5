#!/usr/bin/perl

# An error page with 200, half a JSON document, a page under the name of a
# style sheet: what must not be cached is not always told by a header.  Which
# responses are wanted, by type, status, size, and by what is in their body,
# however it comes in.

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
    redis_proxy_cache_zone    api:1m server=%%REDIS%% prefix=p:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache_valid   any 1m;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT_SLOW%% sndbuf=16k;

        location / {
            proxy_pass                  http://%%ORIGIN%%;
            proxy_buffers               2 4k;
            proxy_buffer_size           4k;
            proxy_busy_buffers_size     4k;
            redis_proxy_cache_validate  json;
            redis_proxy_cache_max_size  8m;
            redis_proxy_no_cache_body   needle window=1m;
        }
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /types/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_types  application/json image/* text/*xml;

            location /types/default/ {
                proxy_pass               http://%%ORIGIN%%;
                redis_proxy_cache_types  default;
            }

            location /types/all/ {
                proxy_pass               http://%%ORIGIN%%;
                redis_proxy_cache_types  *;
            }
        }

        location /statuses/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_statuses  200 404;

            location /statuses/any/ {
                proxy_pass                  http://%%ORIGIN%%;
                redis_proxy_cache_statuses  any;
            }
        }

        location /min/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_min_size  10;
        }

        location /deceived/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_check_extension  off;
        }

        location /body/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_no_cache_body   "~^\s*\{\s*\"errors\"" ~*<title>maint\w+
                                        "exactly (this)" "~(?<=a{9})b$";

            location /body/off/ {
                proxy_pass                  http://%%ORIGIN%%;
                redis_proxy_no_cache_body   off;
            }

            location /body/inherited/ {
                proxy_pass                  http://%%ORIGIN%%;
            }
        }

        location /window/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_no_cache_body   needle window=100;
        }

        location /evil/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_no_cache_body   ~(a+)+$;
        }

        location /json/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_validate  json;
            redis_proxy_cache_max_size  4m;
        }

        location /revalidate/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_validate    json;
            redis_proxy_cache_revalidate  on;
        }
    }
CONF

my $r;


# what the origin is to say: type, body, other headers

sub get {
    my ($uri, $type, $body, @more) = @_;

    return $nginx->get($uri, (defined $type ? ('X-Type', $type) : ()),
                       (defined $body ? ('X-Body', $body) : ()), @more);
}


# types

for (
    [ '/types/a', 'application/json; charset=utf-8', '-' ],
    [ '/types/b', 'Image/PNG', '-' ],
    [ '/types/c', 'text/xml', '-' ],
    [ '/types/d', 'text/x-xml', '-' ],
    [ '/types/e', 'text/html', 'type' ],
    [ '/types/f', 'application/json-seq', 'type' ],
    [ '/types/g', '', 'type' ],
    [ '/types/h', 'json', 'type' ],
    [ '/types/default/a', 'text/html', '-' ],
    [ '/types/default/b', '', '-' ],
    [ '/types/default/c', 'text/event-stream', 'type' ],
    [ '/types/default/d', 'multipart/x-mixed-replace; boundary=a', 'type' ],
    [ '/types/all/a', 'text/event-stream', '-' ],
    [ '/types/all/b', '', '-' ],
) {
    my ($uri, $type, $want) = @$_;
    is(get($uri, $type)->verdict, "MISS $want", "$uri: $type");
    is(get($uri, $type)->verdict, $want eq '-' ? 'HIT -' : "MISS $want",
       'and again');
}

# statuses

for (
    [ '/statuses/a', 200, '-' ], [ '/statuses/b', 404, '-' ],
    [ '/statuses/c', 301, 'status' ], [ '/statuses/d', 500, 'status' ],
    [ '/statuses/any/a', 301, '-' ], [ '/statuses/any/b', 500, '-' ],
) {
    my ($uri, $status, $want) = @$_;
    is(get($uri, 'a/b', 'body', 'X-Status', $status)->verdict, "MISS $want",
       "$status: $want");
}

# size

is(get('/min/a', 'a/b', 'x' x 9)->verdict, 'MISS too_small', '9 bytes');
is(get('/min/b', 'a/b', 'x' x 10)->verdict, 'MISS -', '10 bytes');
is(get('/min/c', 'a/b', 'x' x 9, 'X-How', 'chunks')->verdict,
   'MISS too_small', '9 bytes whose length was not known');
is(get('/min/d', 'a/b', 'x' x 10, 'X-How', 'chunks')->verdict, 'MISS -',
   '10 bytes');
is(get('/min/d')->body, 'x' x 10, 'which are there');

# what a path promises

for (
    [ '/account/x.css', 'text/html', 'extension' ],
    [ '/account;x.css', 'text/html', 'extension' ],
    [ '/account%3bx.css?y', 'text/html', 'extension' ],
    [ '/account/x.js', 'application/json', 'extension' ],
    [ '/account/x.png', 'text/html; charset=utf-8', 'extension' ],
    [ '/x.css', 'text/css', '-' ],
    [ '/x.png', 'image/webp', '-' ],
    [ '/x.html', 'text/html', '-' ],
    [ '/account', 'text/html', '-' ],
    [ '/y.css?x.html', 'text/html', 'extension' ],
    [ '/y.html?x.css', 'text/html', '-' ],
    [ '/deceived/x.css', 'text/html', '-' ],
) {
    my ($uri, $type, $want) = @$_;
    is(get($uri, $type)->verdict, "MISS $want", "$uri: $type");
}

is(get('/moved.css', 'text/html', 'x', 'X-Status', 301)->verdict, 'MISS -',
   'a redirection has a note to people');
is(get('/none.css', 'text/html', 'x', 'X-Status', 404)->verdict,
   'MISS extension', 'an error page has not');

# patterns, whole and in pieces

my $n = 0;

for my $how ('', 'chunks', 'bytes') {
    for (
        [ '{"errors":[]}', 'no_cache_body' ],
        [ "\n { \"errors\" : [] }", 'no_cache_body' ],
        [ '{"data":{},"errors":[]}', '-' ],
        [ 'x{"errors":[]}', '-' ],
        [ '{"error"', '-' ],
        [ '<html><TITLE>Maintenance</title>', 'no_cache_body' ],
        [ '<title>maint', '-' ],
        [ '<title>maintx', 'no_cache_body' ],
        [ 'this is exactly (this), and more', 'no_cache_body' ],
        [ 'this is exactly  (this)', '-' ],
        [ 'exactly (thi', '-' ],
        [ 'x' . 'a' x 9 . 'b', 'no_cache_body' ],
        [ 'x' . 'a' x 8 . 'b', '-' ],
        [ 'a' x 9 . 'bc', '-' ],
        [ '', '-' ],
    ) {
        my ($body, $want) = @$_;
        next if $body eq '' && $how;

        my $uri = '/body/' . ++$n;
        (my $shown = $body) =~ s/\n/ /;
        $r = get($uri, 'a/b', undef, 'X-Hex', unpack('H*', $body),
                 'X-How', $how);
        is($r->body, $body, "$how $shown: the client gets it");
        is($r->verdict, "MISS $want", "and it is $want");
        is(get($uri, 'a/b', undef, 'X-Hex', unpack('H*', $body), 'X-How', $how)
           ->verdict, $want eq '-' ? 'HIT -' : "MISS $want", 'again');
    }
}

is(get('/body/off/a', 'a/b', '{"errors":1}')->verdict, 'MISS -', 'off');
is(get('/body/inherited/a', 'a/b', '{"errors":1}')->verdict,
   'MISS no_cache_body', 'inherited');

is(get('/window/a', 'a/b', 'x' x 94 . 'needle')->verdict,
   'MISS no_cache_body', 'a match that ends within the window');
is(get('/window/b', 'a/b', 'x' x 95 . 'needle')->verdict, 'MISS -',
   'one that does not');
is(get('/window/c', 'a/b', 'x' x 94 . 'needle', 'X-How', 'bytes')->verdict,
   'MISS no_cache_body', 'a match that ends within the window, in bytes');
is(get('/window/d', 'a/b', 'x' x 95 . 'needle', 'X-How', 'bytes')->verdict,
   'MISS -', 'one that does not');

# a pattern that would take for ever takes no time, and is no yes

$r = get('/evil/a', 'a/b', 'a' x 60 . 'b');
is($r->verdict, 'MISS no_cache_body', 'a pattern that cannot be decided');
is($r->body, 'a' x 60 . 'b', 'is no concern of the client');

# JSON

for my $how ('', 'chunks', 'bytes') {
    for (
        [ 'application/json', '{"a":[1,2,{"b":null}]}', '-' ],
        [ 'application/problem+json', '{"a":[1,2}', 'invalid' ],
        [ 'application/json', '{"a":1', 'invalid' ],
        [ 'application/json', '{"a":1} trailing', 'invalid' ],
        [ 'application/json', '<html>', 'invalid' ],
        [ 'application/json', '"caf' . "\xc3\xa9" . '"', '-' ],
        [ 'application/json', '"caf' . "\xe9" . '"', 'invalid' ],
        [ 'text/html', '{"a":1', '-' ],
    ) {
        my ($type, $body, $want) = @$_;

        my $uri = '/json/' . ++$n;
        $r = get($uri, $type, undef, 'X-Hex', unpack('H*', $body),
                 'X-How', $how);
        is($r->body, $body, "$how $type $n: the client gets it");
        is($r->verdict, "MISS $want", "and it is $want");
    }
}

is(get('/json/empty', 'application/json', '')->verdict, 'MISS invalid',
   'nothing is no JSON');
is(get('/json/204', 'application/json', '', 'X-Status', 204)->verdict,
   'MISS -', 'unless there is to be none');
is(get('/json/coded', 'application/json', '{}', 'X-Encoding', 'gzip')->verdict,
   'MISS encoded', 'what is coded cannot be looked at');
is(get('/body/coded', 'a/b', 'x', 'X-Encoding', 'gzip')->verdict,
   'MISS encoded', 'neither by patterns');
is(get('/json/coded2', 'text/html', 'x', 'X-Encoding', 'gzip')->verdict,
   'MISS -', 'where nothing is to be looked at it does not matter');
is(get('/json/deep', 'application/json', undef, 'X-Hex',
       unpack 'H*', '[' x 300 . ']' x 300)->verdict, 'MISS invalid',
   'too deep');
is(get('/json/large', 'application/json', undef, 'X-Size', 3_000_000)->verdict,
   'MISS no_memory', 'a string that is too long for the parser');
is(length get('/json/large', 'application/json', undef, 'X-Size', 3_000_000)
   ->body, 3_000_002, 'reaches the client');
is(get('/json/long', 'application/json', undef, 'X-Size', 500_000)->verdict,
   'MISS -', 'a long one is none too long');

# a client that does not read: the body leaves memory before it is looked at

for (
    [ 'a', 'x', 4_000_000, '-' ],
    [ 'b', 'needle' . 'x' x 100, 4_000_000, 'no_cache_body' ],
) {
    my ($name, $start, $size, $want) = @$_;

    $nginx->mark();
    my $c = $nginx->begin('GET', "/$name", to => 'SLOW', headers => [
        'X-Type', 'application/json', 'X-Start', $start, 'X-Size', 60,
        'X-Pad', $size ]);
    ok($nginx->wait_line('buffered to a temporary file'),
       "$name: a body in a file");
    $r = $c->response();
    is(length $r->body, $size + 62 + length $start, 'the client has it all');
    is($nginx->request('GET', "/$name", to => 'SLOW', headers => [
        'X-Type', 'application/json' ])->verdict,
       $want eq '-' ? 'HIT -' : 'MISS invalid', "it was $want");
}

# a 304 leaves what was valid

get('/revalidate/a', 'application/json', '{}', 'X-Say',
    'ETag: "1"|Cache-Control: max-age=0');
$nginx->settle();
$r = get('/revalidate/a', 'text/html', undef, 'X-Status', 304, 'X-Say',
         'ETag: "1"|Cache-Control: max-age=60');
is($r->body, '{}', 'a 304');
$nginx->settle();
is(get('/revalidate/a')->verdict, 'HIT -', 'is stored');

for (
    [ 'type', 'redis_proxy_cache_types json;', qr/invalid value "json"/ ],
    [ 'status', 'redis_proxy_cache_statuses 100;', qr/invalid value "100"/ ],
    [ 'regex', 'redis_proxy_no_cache_body ~(;',
      qr/"~\(" in "redis_proxy_no_cache_body", expected a regular/ ],
    [ 'utf', 'redis_proxy_no_cache_body "~(*UTF)a";', qr/UTF/ ],
    [ 'empty', 'redis_proxy_no_cache_body ~;', qr/invalid value "~"/ ],
    [ 'window', 'redis_proxy_no_cache_body a window=2m;',
      qr/invalid value "window=2m"/ ],
    [ 'off', "redis_proxy_no_cache_body off;\nredis_proxy_no_cache_body a;",
      qr/duplicate/ ],
    [ 'validate', 'redis_proxy_cache_validate xml;', qr/invalid value "xml"/ ],
    [ 'extension', 'redis_proxy_cache_check_extension maybe;',
      qr/invalid value "maybe"/ ],
) {
    my ($name, $line, $want) = @$_;
    my ($status, $said) = $t->nginx_new($line)->check();
    ok($status && $said =~ $want, "nginx -t: $name") or diag($said);
}

$_->tolerate(qr/\[emerg\]/) for @{ $t->{nginxes} };

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my $status = $req->header('X-Status') // 200;
    my $type = $req->header('X-Type') // '';
    my $how = $req->header('X-How') // '';
    my $hex = $req->header('X-Hex');
    my $size = $req->header('X-Size');
    my $body = defined $hex ? pack('H*', $hex)
        : defined $size ? '"' . ($req->header('X-Start') // '') . 'x' x $size
            . '"' . ' ' x ($req->header('X-Pad') // 0)
        : $req->header('X-Body') // 'answer ' . $req->n;

    my @headers = map { /^([^:]+): ?(.*)$/s }
        split /\|/, $req->header('X-Say') // '';
    push @headers, 'Content-Type', $type if $type ne '';
    push @headers, 'Content-Encoding', $req->header('X-Encoding')
        if $req->header('X-Encoding');

    if ($status == 304 || $status == 204) {
        $reply->head($status, @headers);
        return;
    }

    if ($how eq '') {
        $reply->send($status, \@headers, $body);
        return;
    }

    $reply->head($status, @headers, 'Transfer-Encoding', 'chunked');

    for my $piece ($how eq 'bytes' ? split(//, $body) : unpack '(a5)*', $body) {
        $reply->chunk($piece);
        $reply->delay(0.001) if $how eq 'bytes' && length $body < 40;
    }

    $reply->last_chunk();
}
