#!/usr/bin/perl

# A request can be made of several: includes, authorization, error pages,
# internal redirects.  Each has its own URI and must have its own entry; a
# fragment stored as its page, or a page as its fragment, is a wrong answer
# for everyone who comes after.

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
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache  api;
        default_type       text/html;
        root               %%DIR%%/html;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /page/ {
            proxy_pass  http://%%ORIGIN%%;
            ssi         on;
        }

        location /guarded/ {
            auth_request  /auth;
            proxy_pass    http://%%ORIGIN%%;
        }

        location = /auth {
            internal;
            proxy_pass             http://%%ORIGIN%%/auth;
            redis_proxy_cache_key  auth:$http_x_user;
        }

        location /rewrite/ {
            rewrite  ^/rewrite/(.*) /plain/$1 last;
        }

        location /try/ {
            try_files  $uri @fallback;
        }

        location @fallback {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /intercept/ {
            proxy_pass              http://%%ORIGIN%%;
            proxy_intercept_errors  on;
            error_page              404 = /plain/instead;
            error_page              503 /plain/sorry;
            error_page              500 @named;
        }

        location @named {
            proxy_pass  http://%%ORIGIN%%;
            rewrite     ^ /plain/named break;
        }

        location /gone {
            error_page  410 /plain/gone;
            return      410;
        }

        location /accel/ {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /protected/ {
            internal;
            redis_proxy_cache  off;
            alias              %%DIR%%/html/;
        }

        location /mirrored/ {
            mirror      /mirror;
            proxy_pass  http://%%ORIGIN%%;
        }

        location = /mirror {
            internal;
            proxy_pass  http://%%ORIGIN%%/mirror$request_uri;
        }
    }
CONF

my ($r, $first);

# includes: page and fragments, each in an entry of its own

$first = $nginx->get('/page/a?x=1');
like($first->body, qr{^\[/page/a \d+: \(/part/1\?y=2 \d+\) \(/part/2 \d+\)\]$},
     'a page with includes');
$nginx->settle();
ok($redis->exists("api:{http://localhost$_}"), "$_ has its entry")
    for '/page/a?x=1', '/part/1?y=2', '/part/2';
like($redis->get('api:{http://localhost/page/a?x=1}'), qr/<!--#include/,
     'the page without what it includes');

$r = $nginx->get('/page/a?x=1');
is($r->verdict, 'HIT -', 'the page is a hit');
is($r->body, $first->body, 'and so are its parts');
is($nginx->get('/part/2')->verdict, 'HIT -',
   'a part asked for by itself is a hit');

$r = $nginx->get('/page/b');
like($r->body, qr{^\[/page/b \d+: }, 'another page');
is(($r->body =~ /(\(.*\))/)[0], ($first->body =~ /(\(.*\))/)[0],
   'shares the parts');

$redis->cmd('DEL', 'api:{http://localhost/part/2}');
$r = $nginx->get('/page/a?x=1');
is($r->verdict, 'HIT -', 'a hit whose part has gone');
isnt($r->body, $first->body, 'fetches that part');
like($r->body, qr{^\[/page/a \d+: \(/part/1\?y=2 \d+\) \(/part/2 \d+\)\]$},
     'and only that');

# many parts at once, each in its place, by lookups that go out together

for my $time (1, 2) {
    $r = $nginx->get('/page/many');
    is($r->body, '[' . join(' ', map { "<$_>" } 1 .. 60) . ']',
       "$time: a page of sixty parts");
    $nginx->settle();
}
is(scalar(grep { $_->uri =~ m{^/many/} } $origin->requests()), 60,
   'each part was fetched once');

# a part that may not be stored does not keep the page from it, nor is it
# stored with the page

$first = $nginx->get('/page/private');
$nginx->settle();
$r = $nginx->get('/page/private');
is($r->verdict, 'HIT -', 'a page with a private part is a hit');
isnt($r->body, $first->body, 'the part is made anew');

# HEAD and conditional requests for a page do not make parts of no body

$nginx->head('/page/head');
$r = $nginx->get('/page/head');
like($r->body, qr{^\[/page/head \d+: \(/part/1\?y=2 \d+\) \(/part/2 \d+\)\]$},
     'the page after HEAD is whole');

# auth_request: the answer to the check is cached under its own key

for my $time (1, 2) {
    $r = $nginx->get("/guarded/$time", 'X-User', 'good');
    is($r->status, 200, "$time: let in");
    $nginx->settle();
    $r = $nginx->get("/guarded/$time", 'X-User', 'bad');
    is($r->status, 403, 'kept out');
    $r = $nginx->get("/guarded/$time", 'X-User', 'good');
    is($r->status, 200, 'let in again');
    like($r->body, qr{^/guarded/$time}, 'with the page, not the check');
}

is($origin->count('/auth'), 2, 'each check was made once');

# rewrite: what counts is what is answered in the end

$r = $nginx->get('/rewrite/x?a=1');
like($r->body, qr{^/plain/x\?a=1 }, 'a rewritten request');
$nginx->settle();
$r = $nginx->get('/rewrite/x?a=1');
is($r->verdict, 'HIT -', 'is a hit then');
like($r->body, qr{^/plain/x\?a=1 }, 'with its own response');
like($nginx->get('/plain/x?a=1')->body, qr{^/plain/x\?a=1 },
     'and so is the one that it became');

# try_files and a named location

mkdir $nginx->{dir} . '/html/try';
spit($nginx->{dir} . '/html/try/there', 'file');
$r = $nginx->get('/try/there');
is($r->body, 'file', 'a file that is there');
$r = $nginx->get('/try/none');
is($r->verdict, 'MISS -', 'none: on to the named location');
like($r->body, qr{^/try/none }, 'which answers');
$nginx->settle();
is($nginx->get('/try/none')->verdict, 'HIT -', 'and is a hit then');

# error pages: never stored as what they stand for

for (
    [ '/intercept/404', 200, '/plain/instead' ],
    [ '/intercept/503', 503, '/plain/sorry' ],
    [ '/intercept/500', 500, '/plain/named' ],
    [ '/gone',          410, '/plain/gone' ],
) {
    my ($uri, $status, $body) = @$_;

    for my $time (1, 2) {
        $r = $nginx->get($uri);
        is($r->status, $status, "$time: $uri");
        like($r->body, qr{^\Q$body\E }, "answered by $body");
        $nginx->settle();
    }

    $r = $nginx->get($body);
    is($r->status, 200, "$body by itself has its own status");
    like($r->body, qr{^\Q$body\E }, 'and body');
}

$r = $nginx->get('/intercept/fine');
$nginx->settle();
is($nginx->get('/intercept/fine')->verdict, 'HIT -',
   'what needs no error page is a hit');

# X-Accel-Redirect: the file is not the origin's response

spit($nginx->{dir} . '/html/report', 'the report of one user');

for my $time (1, 2) {
    $r = $nginx->get('/accel/report');
    is($r->body, 'the report of one user', "$time: X-Accel-Redirect");
    $nginx->settle();
}

is($origin->count('/accel/report'), 2, 'the origin decides each time');
is($redis->exists('api:{http://localhost/accel/report}'), 0,
   'nothing of it is stored');

$r = $nginx->get('/accel/cached');
like($r->body, qr{^/plain/target }, 'X-Accel-Redirect to what can be cached');
$nginx->settle();
$r = $nginx->get('/accel/cached');
like($r->body, qr{^/plain/target }, 'again');
like($nginx->get('/plain/target')->body, qr{^/plain/target },
     'and by itself');

# mirror: the client gets its own response, and the mirror is a request too

$r = $nginx->get('/mirrored/1');
like($r->body, qr{^/mirrored/1 }, 'a mirrored request');
$nginx->settle();
$r = $nginx->get('/mirrored/1');
is($r->verdict, 'HIT -', 'is a hit then');
like($r->body, qr{^/mirrored/1 }, 'with its own response');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my $path = $req->path;
    my $text = $req->uri . ' ' . $req->n;
    my @fresh = ('Cache-Control' => 'max-age=60');
    my @html = ('Content-Type' => 'text/html');

    if ($path eq '/auth') {
        my $good = ($req->header('X-User') // '') eq 'good';
        return $reply->send($good ? 200 : 403, \@fresh, 'check');
    }

    if ($path eq '/page/many') {
        return $reply->send(200, [ @fresh, @html ], '[' . join(' ', map {
            "<!--#include virtual=\"/many/$_\" -->" } 1 .. 60) . ']');
    }

    if ($path =~ m{^/many/(\d+)}) {
        return $reply->send(200, [ @fresh, @html ], "<$1>");
    }

    if ($path eq '/page/private') {
        return $reply->send(200, [ @fresh, @html ],
                            "[<!--#include virtual=\"/part/private\" -->]");
    }

    if ($path eq '/part/private') {
        return $reply->send(200, [ @html, 'Cache-Control' => 'private' ],
                            $text);
    }

    if ($path =~ m{^/page/}) {
        return $reply->send(200, [ @fresh, @html ], "[$path " . $req->n
            . ': (<!--#include virtual="/part/1?y=2" -->)'
            . ' (<!--#include virtual="/part/2" -->)]');
    }

    if ($path eq '/accel/report') {
        return $reply->send(200, [ @fresh, 'X-Accel-Redirect' =>
                                   '/protected/report' ], '');
    }

    if ($path eq '/accel/cached') {
        return $reply->send(200, [ @fresh, 'X-Accel-Redirect' =>
                                   '/plain/target' ], '');
    }

    if ($path =~ m{^/intercept/(\d+)}) {
        return $reply->send($1, \@fresh, 'error');
    }

    $reply->send(200, \@fresh, $text);
}
