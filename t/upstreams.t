#!/usr/bin/perl

# The cache stands in front of any content handler: FastCGI, uwsgi, SCGI and
# gRPC upstreams, files, index, try_files, return.  Each makes a response in
# its own way, and what is stored and replayed is what it made.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(sub { $_[1]->obey() });
my %server = map { $_->[0] => $t->raw(uc $_->[0], $_->[1]) }
    [ fastcgi => \&fastcgi ], [ uwsgi => \&uwsgi ], [ scgi => \&scgi ],
    [ grpc => \&grpc ];
$t->set(NOBODY => '127.0.0.1:' . free_port());

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_H2%% http2;
        root    %%DIR%%/html;

        redis_proxy_cache_revalidate  on;

        location /fastcgi/ {
            fastcgi_pass   %%FASTCGI%%;
            fastcgi_param  REQUEST_METHOD $request_method;
            fastcgi_param  REQUEST_URI $request_uri;
        }

        location /fastcgi/ignore/ {
            fastcgi_pass            %%FASTCGI%%;
            fastcgi_ignore_headers  Set-Cookie;
            fastcgi_param           REQUEST_METHOD $request_method;
            fastcgi_param           REQUEST_URI $request_uri;
        }

        location /uwsgi/ {
            uwsgi_pass   %%UWSGI%%;
            uwsgi_param  REQUEST_METHOD $request_method;
            uwsgi_param  REQUEST_URI $request_uri;
        }

        location /uwsgi/ignore/ {
            uwsgi_pass            %%UWSGI%%;
            uwsgi_ignore_headers  Set-Cookie;
            uwsgi_param           REQUEST_METHOD $request_method;
            uwsgi_param           REQUEST_URI $request_uri;
        }

        location /scgi/ {
            scgi_pass   %%SCGI%%;
            scgi_param  REQUEST_METHOD $request_method;
            scgi_param  REQUEST_URI $request_uri;
        }

        location /scgi/ignore/ {
            scgi_pass            %%SCGI%%;
            scgi_ignore_headers  Set-Cookie;
            scgi_param           REQUEST_METHOD $request_method;
            scgi_param           REQUEST_URI $request_uri;
        }

        location /down/ {
            fastcgi_pass  %%NOBODY%%;
        }

        location /grpc/ {
            grpc_pass  grpc://%%GRPC%%;
        }

        location /files/ {
            redis_proxy_cache_valid  1m;
        }

        location /try/ {
            redis_proxy_cache_valid  1m;
            try_files                $uri $uri/index.html @app;
        }

        location @app {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /return/ {
            redis_proxy_cache_valid  any 1m;
            return                   200 "made by nginx\n";
        }

        location /moved/ {
            redis_proxy_cache_valid  any 1m;
            return                   301 /elsewhere;
        }

        location /uncached/ {
        }
    }
CONF

my ($miss, $hit, $r, $key);

for my $kind (qw(fastcgi uwsgi scgi)) {
    my $raw = $server{$kind};
    my $uri = "/$kind/page?x=1";

    $miss = $nginx->get($uri);
    is($miss->verdict, 'MISS -', "$kind: a miss");
    is($miss->status, 200, 'with its status');
    is($miss->header('X-Kind'), $kind, 'its headers');
    like($miss->body, qr/^GET \Q$uri\E\n/, 'and body');
    $hit = $nginx->get($uri);
    is($hit->verdict, 'HIT -', 'then a hit');
    is($hit->body, $miss->body, 'with the same body');
    is_deeply([ grep { !/^(?:Content-Length|Accept-Ranges)/ }
                @{ $hit->lasting } ],
              [ grep { !/^(?:Content-Length|Accept-Ranges|Transfer)/ }
                @{ $miss->lasting } ], 'and the same headers');
    is($raw->count, 1, 'the upstream was asked once');
    is($hit->header('Status'), undef, 'Status is not replayed');
    $key = "api:{http://localhost$uri}";
    ok($redis->pttl($key) > 50000, 'max-age counts');

    $r = $nginx->get($uri, Range => 'bytes=0-2');
    is($r->status . $r->body, '206GET', 'a range of a hit');
    $r = $nginx->get("/$kind/page?r", Range => 'bytes=0-2');
    is($r->status, 200, 'a range of a miss without a length is all of it');
    is($nginx->get("/$kind/page?r")->verdict, 'HIT -', 'which fills');

    is($nginx->get("/$kind/404")->status, 404, 'another status');
    $hit = $nginx->get("/$kind/404");
    is($hit->verdict . $hit->status, 'HIT -404', 'is stored as well');
    like($hit->line, qr/404/, 'with its line');

    $r = $nginx->get("/$kind/moved");
    $hit = $nginx->get("/$kind/moved");
    is($hit->status, $r->status, 'a redirect is the same on a hit');
    is($hit->header('Location'), $r->header('Location'), 'with its Location');

    for my $path ('cookie', 'private', 'store-not') {
        $nginx->get("/$kind/$path");
        like($nginx->get("/$kind/$path")->verdict,
             qr/^MISS (?:set_cookie|private|no_store)$/, "$path: not stored");
    }

    $nginx->get("/$kind/ignore/cookie");
    is($nginx->get("/$kind/ignore/cookie")->verdict, 'HIT -',
       "${kind}_ignore_headers counts");

    $r = $nginx->head("/$kind/head");
    is($r->verdict, 'MISS -', 'HEAD fills');
    is($r->body, '', 'without a body for the client');
    like($nginx->get("/$kind/head")->body, qr/^GET /, 'the body is stored');

    $nginx->get("/$kind/post");
    $r = $nginx->request('POST', "/$kind/post", body => 'data');
    is($r->verdict, ' method', 'POST passes');
    like($r->body, qr/^POST /, 'to the upstream');
    is($redis->exists("api:{http://localhost/$kind/post}"), 0,
       'and invalidates');

    # validated: the condition gets there as HTTP_IF_NONE_MATCH

    $nginx->get("/$kind/validate");
    $r = $nginx->get("/$kind/validate");
    is($r->verdict, 'REVALIDATED -', 'no-cache with an ETag is validated');
    like($r->body, qr/^GET /, 'and served from the cache');

    # the end of the body, cut or not: only FastCGI tells it without a length

    $nginx->get("/$kind/cut");
    is($redis->exists("api:{http://localhost/$kind/cut}"), 0,
       'a body that was cut is not stored');
}

# an upstream that is not there

for my $method (qw(GET HEAD)) {
    $r = $nginx->request($method, '/down/1');
    is($r->status, 502, "$method: an upstream that is not there");
    is($r->body, '', 'no body') if $method eq 'HEAD';
}

# gRPC: requests are POST and have trailers: they pass, whatever is said

my $url = 'http://127.0.0.1:' . $nginx->port('H2');
my @h2 = ('--http2-prior-knowledge');

for my $time (1, 2) {
    $r = $nginx->curl(@h2, '-X', 'POST', '--data-binary', 'ping',
                      '-H', 'TE: trailers', "$url/grpc/call");
    is($r->status, 200, "$time: gRPC passes");
    is($r->body, 'pong', 'with its answer');
    is($r->verdict, ' method', 'uncached');
    $r = $nginx->curl(@h2, '-H', 'TE: trailers', "$url/grpc/get");
    is($r->body, 'pong', 'a GET as well');
    is($r->verdict, 'MISS trailers', 'as trailers cannot be stored');
}
is($server{grpc}->count > 3, 1, 'each call reached the server');

# files

my $html = "$nginx->{dir}/html";
mkdir "$html/$_" for qw(files files/dir try try/dir);
spit("$html/files/a.txt", 'file a');
spit("$html/files/dir/index.html", 'the index');
spit("$html/try/b.txt", 'file b');
spit("$html/try/dir/index.html", 'another index');

$miss = $nginx->get('/files/a.txt');
is($miss->verdict . $miss->body, 'MISS -file a', 'a file is stored');
$hit = $nginx->get('/files/a.txt');
is($hit->verdict . $hit->body, 'HIT -file a', 'and a hit');
is($hit->header($_), $miss->header($_), "with its $_")
    for qw(ETag Last-Modified Content-Type Content-Length Accept-Ranges);
is($nginx->get('/files/a.txt', 'If-None-Match' => $miss->header('ETag'))
   ->status, 304, 'its ETag matches on a hit');

for my $time (1, 2) {
    $r = $nginx->get('/files/dir/');
    is($r->body, 'the index', "$time: an index");
    is($r->header('Content-Type'), 'text/html', 'of its type')
        if $time == 1;
}
is($r->verdict, 'HIT -', 'the second is a hit');
is($nginx->get('/files/dir/index.html')->verdict, 'HIT -',
   'as is its name: one entry for both');

is($nginx->get('/files/none')->status, 404, 'what is not there');
is($nginx->get('/files/dir')->status, 301, 'a directory without its slash');
is($nginx->get('/files/dir')->header('Location') =~ m{/files/dir/$}, 1,
   'is redirected');

# try_files, in the same phase as the lookup

for my $time (1, 2) {
    is($nginx->get('/try/b.txt')->body, 'file b', "$time: try_files: a file");
    is($nginx->get('/try/dir')->body, 'another index', 'an index');
    is($nginx->get('/try/app', 'X-Body' => 'app',
                   'X-Say' => 'Cache-Control: max-age=60')->body, 'app',
       'the fallback');
}
is($nginx->get('/try/app', 'X-Body' => 'other')->body, 'app',
   'which is cached');
is($origin->count('/try/app'), 1, 'the origin was asked once');
spit("$html/try/app", 'now a file');
like($nginx->get('/try/app')->body, qr/^(?:now a file|app)$/,
     'a file that appears');

# return: nothing to be gained, nothing to be broken

for my $time (1, 2) {
    $r = $nginx->get('/return/1');
    is($r->status . $r->body, "200made by nginx\n", "$time: return passes");
    $r = $nginx->get('/moved/1');
    is($r->status, 301, 'a redirect');
    like($r->header('Location'), qr{/elsewhere$}, 'to that place');
}

$nginx->tolerate('Connection refused', 'No such file');

$t->done();


# what an application says for a path: header lines, and the body

sub app {
    my ($method, $uri, $kind, $match) = @_;

    my $type = "Content-Type: text/plain\r\nX-Kind: $kind\r\n";
    my $fresh = "Cache-Control: max-age=60\r\n";
    my $body = "$method $uri\n" . 'x' x 5000 . "\n";

    return ("Status: 404 Not Found\r\n$type$fresh", $body) if $uri =~ /404/;
    return ("Status: 301 Moved\r\nLocation: http://e.example/\r\n$fresh", '')
        if $uri =~ /moved/;
    return ("Status: 200 OK\r\n$type${fresh}Set-Cookie: a=b\r\n", $body)
        if $uri =~ /cookie/;
    return ("Status: 200 OK\r\n${type}Cache-Control: private\r\n", $body)
        if $uri =~ /private/;
    return ("Status: 200 OK\r\n${type}Cache-Control: no-store\r\n", $body)
        if $uri =~ /store-not/;
    return ("Status: 200 OK\r\n$type${fresh}Content-Length: 99999\r\n", $body)
        if $uri =~ /cut/;

    if ($uri =~ /validate/) {
        return ("Status: 304 Not Modified\r\nETag: \"v\"\r\n", '')
            if ($match // '') eq '"v"';
        return ("Status: 200 OK\r\n${type}ETag: \"v\"\r\n"
                . "Cache-Control: no-cache\r\n", $body);
    }

    return ("Status: 200 OK\r\n$type$fresh", $body);
}


sub fastcgi {
    my ($sock) = @_;

    my ($params, $id) = ('', 0);

    for (;;) {
        my (undef, $type, $request, $length, $padding) =
            unpack 'CCnnC', RCache::Raw::take($sock, 8);
        my $data = RCache::Raw::take($sock, $length + $padding);
        $id = $request;
        $params .= substr $data, 0, $length if $type == 4;
        last if $type == 5 && $length == 0;
    }

    my %p;
    while (length $params) {
        my @len = map {
            my $n = unpack 'C', $params;
            $n < 128 ? ord(substr $params, 0, 1, '')
                : (unpack('N', substr $params, 0, 4, '') & 0x7fffffff);
        } 1, 2;
        my $name = substr $params, 0, $len[0], '';
        $p{$name} = substr $params, 0, $len[1], '';
    }

    my ($head, $body) = app($p{REQUEST_METHOD}, $p{REQUEST_URI}, 'fastcgi',
                            $p{HTTP_IF_NONE_MATCH});
    my $out = "$head\r\n$body";
    while (length $out) {
        my $part = substr $out, 0, 2000, '';
        syswrite $sock, pack('CCnnCx', 1, 6, $id, length $part, 0) . $part;
    }

    return if $p{REQUEST_URI} =~ /cut/;

    syswrite $sock, pack('CCnnCx', 1, 6, $id, 0, 0)
        . pack('CCnnCx', 1, 3, $id, 8, 0) . pack('NCxxx', 0, 0);
    return;
}


sub uwsgi {
    my ($sock) = @_;

    my (undef, $size) = unpack 'CvC', RCache::Raw::take($sock, 4);
    my %p = unpack '(v/a*)*', RCache::Raw::take($sock, $size);
    RCache::Raw::take($sock, $p{CONTENT_LENGTH}) if $p{CONTENT_LENGTH};

    my ($head, $body) = app($p{REQUEST_METHOD}, $p{REQUEST_URI}, 'uwsgi',
                            $p{HTTP_IF_NONE_MATCH});
    $head =~ s/^Status:/HTTP\/1.0/;
    syswrite $sock, "$head\r\n$body";
    return;
}


sub scgi {
    my ($sock) = @_;

    my $size = RCache::Raw::take_to($sock, ':');
    chop $size;
    my %p = RCache::Raw::take($sock, $size) =~ /([^\0]*)\0([^\0]*)\0/g;
    RCache::Raw::take($sock, 1 + $p{CONTENT_LENGTH});

    my ($head, $body) = app($p{REQUEST_METHOD}, $p{REQUEST_URI}, 'scgi',
                            $p{HTTP_IF_NONE_MATCH});
    syswrite $sock, "$head\r\n$body";
    return;
}


# as much of HTTP/2 as one call needs

sub grpc {
    my ($sock) = @_;

    RCache::Raw::take($sock, 24);
    syswrite $sock, frame(4, 0, 0, '');

    for (;;) {
        my ($high, $low, $type, $flags, $stream) =
            unpack 'nCCCN', RCache::Raw::take($sock, 9);
        RCache::Raw::take($sock, ($high << 8) + $low);

        syswrite $sock, frame(4, 1, 0, '') if $type == 4 && !($flags & 1);
        next if $type > 1 || !($flags & 1);

        syswrite $sock, frame(1, 4, $stream, "\x88"
                              . literal('content-type', 'application/grpc')
                              . literal('cache-control', 'max-age=60'));
        syswrite $sock, frame(0, 0, $stream, 'pong');
        syswrite $sock, frame(1, 5, $stream, literal('grpc-status', '0'));
    }
}


sub frame {
    my ($type, $flags, $stream, $data) = @_;

    my $length = length $data;
    return pack('nCCCN', $length >> 8, $length & 255, $type, $flags, $stream)
        . $data;
}


sub literal {
    my ($name, $value) = @_;

    return pack 'CC/a*C/a*', 0, $name, $value;
}
