#!/usr/bin/perl

# HEAD in front of a cold cache fetches the page as GET does, so that the next
# client finds it; redis_proxy_cache_convert_head off leaves it to the
# origin.  The client never sees more than a head, however the fetch ends:
# one byte of a body would be read as the start of the next response.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);
$t->set(NOBODY => '127.0.0.1:' . free_port());

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_H2%% http2;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /unbuffered/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }

        location /off/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_convert_head  off;
        }

        location /down/plain/ {
            proxy_pass  http://%%NOBODY%%;
        }

        location /down/page/ {
            proxy_pass  http://%%NOBODY%%;
            error_page  502 /page;
        }

        location /down/file/ {
            proxy_pass  http://%%NOBODY%%;
            error_page  502 =200 /file.html;
        }

        location /down/named/ {
            proxy_pass  http://%%NOBODY%%;
            error_page  502 = @named;
        }

        location /down/returns/ {
            proxy_pass  http://%%NOBODY%%;
            error_page  502 = @returns;
        }

        location /down/redirect/ {
            proxy_pass  http://%%NOBODY%%;
            error_page  502 = /page;
        }

        location /down/denied/ {
            proxy_pass  http://%%NOBODY%%;
            error_page  502 = @denied;
        }

        location /intercept/ {
            proxy_pass              http://%%ORIGIN%%;
            proxy_intercept_errors  on;
            error_page              404 /page;
            error_page              410 = @named;
            error_page              503 = @returns;
        }

        location = /page {
            return  200 "a page for errors\n";
        }

        location = /file.html {
            root               %%DIR%%/html;
            redis_proxy_cache  off;
        }

        location @named {
            proxy_pass        http://%%ORIGIN%%;
            proxy_set_header  X-Fallback yes;
        }

        location @returns {
            return  200 "from a named location\n";
        }

        location @denied {
            deny        all;
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

spit($nginx->{dir} . '/html/file.html', "a file for errors\n");

my ($c, $r, $get, $head);

# HEAD fills

for my $path ('/', '/unbuffered/') {
    for my $kind (qw(length chunked close slow large empty)) {
        my $uri = "$path$kind";

        $head = $nginx->head($uri);
        is($head->verdict, 'MISS -', "HEAD $uri fills");
        is($head->body, '', 'the client gets a head');
        is($head->header('X-Kind'), $kind, 'with its headers');
        is($origin->latest($uri)->method, 'GET', 'the origin is asked to GET');

        $nginx->settle();
        $get = $nginx->get($uri);
        is($get->verdict, 'HIT -', 'GET after that is a hit');
        is($get->body, body($kind), 'with the body');
        is($origin->count($uri), 1, 'the origin was asked once');

        is_deeply([ grep { !/^(?:Content-Length|Accept-Ranges)/i }
                    @{ $get->lasting } ],
                  [ grep { !/^(?:Content-Length|Accept-Ranges)/i }
                    @{ $head->lasting } ], 'the same headers for both');
        is($nginx->head($uri)->header('Content-Length'), length body($kind),
           'HEAD on a hit has the length');
    }
}

is($nginx->head('/length?2')->header('Content-Length'),
   length body('length'), 'HEAD on a miss has the length, if it is known');
$nginx->settle();
is($nginx->head('/length?2')->verdict, 'HIT -', 'HEAD after HEAD is a hit');
is($nginx->head('/not?1')->verdict, 'MISS no_lifetime',
   'what may not be stored is not');

# conditions and ranges of a HEAD

$r = $nginx->head('/length?3', 'If-None-Match' => '"length"');
is($r->status, 304, 'If-None-Match of a HEAD that fills is answered');
$nginx->settle();
is($nginx->get('/length?3')->verdict, 'HIT -', 'and it fills all the same');
$r = $nginx->head('/length?4', Range => 'bytes=0-1');
is($r->body, '', 'Range of a HEAD that fills');
is($nginx->get('/length?4')->body, body('length'), 'the whole is stored');

# one connection: a head, and then the next response at once

for my $kind (qw(length chunked slow large empty)) {
    $c = $nginx->connect();
    $c->send(map { RCache::HTTP::format_request(@$_, keepalive => 1) }
             [ HEAD => "/$kind?kept" ], [ GET => "/$kind?kept" ],
             [ HEAD => "/$kind?kept2" ], [ GET => '/length' ]);
    is($c->response('HEAD')->header('X-Kind'), $kind, "$kind: HEAD, in a row");
    is($c->response('GET')->body, body($kind), 'GET of the same');
    is($c->response('HEAD')->header('X-Kind'), $kind, 'HEAD of another');
    is($c->response('GET')->body, body('length'), 'GET');
    $c->close();
}

# a client that has its head and goes does not spoil the fill

$c = $nginx->begin('HEAD', '/slow?gone');
$c->take_line();
$c->close();
ok($redis->wait_key('api:{http://localhost/slow?gone}'),
   'HEAD of a client that left meanwhile still fills');

# HTTP/2

my $url = 'http://127.0.0.1:' . $nginx->port('H2');
$r = $nginx->curl('--http2-prior-knowledge', '-I', "$url/length?h2");
is($r->verdict, 'MISS -', 'HEAD over HTTP/2 fills');
$nginx->settle();
$r = $nginx->curl('--http2-prior-knowledge', "$url/length?h2");
is($r->verdict, 'HIT -', 'GET is a hit');
is($r->body, body('length'), 'with the body');

# off

for my $time (1, 2) {
    $head = $nginx->head('/off/length');
    is($head->verdict, 'MISS head', "$time: off: HEAD is not stored");
    is($origin->latest->method, 'HEAD', 'the origin gets HEAD');
}
$nginx->settle();
is($redis->exists('api:{http://localhost/off/length}'), 0, 'nothing is there');
is($nginx->get('/off/length')->verdict, 'MISS -', 'GET is a miss, and fills');
$redis->wait_key('api:{http://localhost/off/length}');
is($nginx->head('/off/length')->verdict, 'HIT -', 'HEAD is served from it');

# however the fetch fails, and whatever takes its place

for (
    [ '/down/plain/', 502 ], [ '/down/page/', 502 ], [ '/down/file/', 200 ],
    [ '/down/named/', 200 ], [ '/down/returns/', 200 ],
    [ '/down/redirect/', 200 ], [ '/down/denied/', 403 ],
    [ '/intercept/404', 404 ], [ '/intercept/410', 200 ],
    [ '/intercept/503', 200 ], [ '/intercept/accel', 200 ],
    [ '/intercept/accel-named', 200 ],
) {
    my ($uri, $status) = @$_;

    $c = $nginx->connect();
    my $first = $c->request('HEAD', $uri, keepalive => 1);
    is($first->status, $status, "HEAD $uri: $status");

    my $next = eval { $c->request('GET', '/length', keepalive => 1) };
    is($next ? $next->status : $@, 200, 'the next response is in step');
    is($next && $next->body, body('length'), 'and whole') if $next;
    $c->close();

    $c = $nginx->begin('HEAD', "$uri?close");
    1 while $c->fill();
    my ($rest) = $c->{in} =~ /\r\n\r\n(.*)/s;
    is($rest, '', 'no body follows the head');
    $c->close();
}

$nginx->tolerate('Connection refused', 'access forbidden');

$t->done();


sub body {
    my ($kind) = @_;

    return '' if $kind eq 'empty';
    return $kind eq 'large' ? "large\n" x 60000 : "the body of $kind\n";
}


sub origin {
    my ($req, $reply) = @_;

    my ($kind) = $req->path =~ m{([\w-]+)$};
    $kind //= 'root';
    my $body = body($kind);
    my @headers = ('Content-Type' => 'text/x-test', 'X-Kind' => $kind,
                   'ETag' => "\"$kind\"");
    push @headers, 'Cache-Control' => 'max-age=60' if $kind ne 'not';

    if ($kind =~ /^\d+$/ && !$req->header('X-Fallback')) {
        return $reply->send($kind, \@headers, 'an error of the origin');
    }

    if ($kind =~ /^accel(-named)?/) {
        return $reply->send(200, [ 'X-Accel-Redirect' => $1 ? '@returns'
                                                            : '/page' ], '');
    }

    if ($kind eq 'chunked') {
        $reply->head(200, @headers, 'Transfer-Encoding' => 'chunked');
        if ($req->method ne 'HEAD') {
            $reply->chunk($body);
            $reply->last_chunk();
        }

    } elsif ($kind eq 'close') {
        $reply->close();
        $reply->head(200, @headers);
        $reply->raw($body) if $req->method ne 'HEAD';

    } elsif ($kind eq 'slow') {
        $reply->head(200, @headers, 'Content-Length' => length $body);
        for my $byte (split //, $req->method eq 'HEAD' ? '' : $body) {
            $reply->delay(0.01);
            $reply->raw($byte);
        }

    } else {
        $reply->send(200, \@headers, $body);
    }
}
