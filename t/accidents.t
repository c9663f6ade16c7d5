#!/usr/bin/perl

# A table of accidents that happened to caches: one client asks in some way,
# or gets an answer of some kind, and a second one must get what is its own,
# which is to say an answer that was made for it.  Each row says what the first
# one does, twice, so that a cache has had its chance, and what the second one
# does.  The rows at the end are the other way round, so that we know that the
# table can tell.

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

    large_client_header_buffers  8 128k;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /path/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  $host$uri$is_args$args;
        }

        location /args/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_args  drop utm_* upstream=key;
        }

        location /user/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_user  $cookie_user;
        }

        location /key/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  "$request_uri $http_x_a$http_x_b";
        }

        location /body/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_methods   GET POST QUERY;
            redis_proxy_cache_key_body  1k json;
        }

        location /graphql/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_methods   POST;
            redis_proxy_cache_key_body  1k json graphql;
        }

        location /checked/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_types     application/json;
            redis_proxy_cache_validate  json;
            redis_proxy_no_cache_body   "\"errors\"";
        }

        location /strip/ {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache_unkeyed  X-Forwarded-Host=strip;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_LOOSE%%;

        underscores_in_headers  on;
        ignore_invalid_headers  off;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my $forever = 'Cache-Control: max-age=600';
my $long = 'x' x 8100;
my $many = join '&', map { "a$_" } 1 .. 10_000;
my $digest = 'sha256:' . 'a' x 64;

# name, what the first one does, what the second one does if it is not the
# same without headers, and what is expected of it other than an answer of its
# own; say: what the origin answers to the first one.

my @rows = (

    # what a response says

    [ 'Set-Cookie', { say => "Set-Cookie: session=1|$forever" } ],
    [ 'Set-Cookie and public', { say => 'Set-Cookie: s=1|Cache-Control: '
                                        . 'public, max-age=600' } ],
    [ 'private', { say => 'Cache-Control: private, max-age=600' } ],
    [ 'private, and for CDNs not', { say => 'Cache-Control: private|'
        . 'Expires: Thu, 01 Jan 2099 00:00:00 GMT' } ],
    [ 'no-store', { say => 'Cache-Control: no-store, max-age=600' } ],
    [ 'no-cache', { say => 'Cache-Control: no-cache, max-age=600' } ],
    [ 'two Cache-Control lines', { say => "$forever|Cache-Control: private" } ],
    [ 'Cache-Control in capitals', { say => 'CACHE-CONTROL: PRIVATE' } ],
    [ 'X-Accel-Expires: 0', { say => "X-Accel-Expires: 0|$forever" } ],
    [ 'Vary: *', { say => "Vary: *|$forever" } ],
    [ 'Vary: Cookie', { say => "Vary: Cookie|$forever",
                        headers => [ Cookie => 'a=1' ] } ],
    [ 'Vary: Authorization', { say => "Vary: Authorization|$forever" } ],
    [ 'Vary with another value', { say => "Vary: X-A|$forever",
                                   headers => [ 'X-A', 1 ] } ],
    [ 'conflicting Vary', { say => "Vary: X-B|Vary: X-A, X-C|$forever",
                            headers => [ 'X-A', 1 ] },
      { headers => [ 'X-A', 2 ] } ],
    [ 'Vary: X-A, and then no more', { say => "Vary: X-A|$forever",
                                       headers => [ 'X-A', 1 ] },
      { headers => [ 'X-A', '1,1' ] } ],
    [ 'Vary with a hundred names', { say => 'Vary: '
        . join(',', map { "X-$_" } 1 .. 100) . "|$forever" } ],
    [ 'Vary that is no list', { say => "Vary: X A|$forever",
                                headers => [ 'X', 1 ] } ],
    [ 'an answer to Authorization', { say => $forever,
        headers => [ Authorization => 'Basic YTpi' ] } ],
    [ '206', { status => 206, say => "Content-Range: bytes 0-0/9|$forever",
               headers => [ Range => 'bytes=0-0' ] } ],
    [ '304 to nobody', { status => 304, say => $forever } ],
    [ 'a body that was cut', { uri => '/cut', say => $forever } ],
    [ 'chunks that end early', { uri => '/chunks', say => $forever } ],
    [ 'an empty 200 without a length', { uri => '/empty', say => $forever } ],
    [ 'two Content-Lengths', { uri => '/lengths', say => $forever } ],
    [ 'Content-Length and chunks', { uri => '/both', say => $forever } ],
    [ 'a bare LF that makes a Set-Cookie', { uri => '/lf', say => $forever } ],
    [ 'a NUL in a header', { uri => '/nul', say => $forever } ],
    [ 'a bare CR in a header', { uri => '/cr', say => $forever } ],

    # what a response is

    [ 'an account that is a style sheet', { uri => '/account/x.css',
        say => "Content-Type: text/html|$forever" } ],
    [ 'behind a semicolon', { uri => '/account;x.css',
        say => "Content-Type: text/html|$forever" } ],
    [ 'behind one in escapes', { uri => '/account%3bx.js',
        say => "Content-Type: text/html|$forever" } ],
    [ 'behind a line feed', { uri => '/account%0ax.png',
        say => "Content-Type: text/html|$forever" } ],
    [ 'JSON that is an image', { uri => '/api/me.png',
        say => "Content-Type: application/json|$forever" } ],
    [ 'a stream of events', { say => "Content-Type: text/event-stream|"
                                     . $forever } ],
    [ 'an error with 200', { uri => '/checked/a',
        say => "Content-Type: application/json|$forever",
        answer => '{"errors":[{"for":"first"}]}' } ],
    [ 'half a document', { uri => '/checked/b',
        say => "Content-Type: application/json|$forever",
        answer => '{"for":"first"' } ],
    [ 'an error that is packed', { uri => '/checked/c', say => "Content-Type: "
        . "application/json|Content-Encoding: gzip|$forever" } ],
    [ 'a page in place of JSON', { uri => '/checked/d',
        say => "Content-Type: text/html|$forever" } ],

    # headers that are in no key

    (map { [ "$_->[0]", { headers => [ @$_ ] } ] }
        [ 'X-Forwarded-Host', 'evil.example' ],
        [ 'X-Forwarded-Scheme', 'nothttps' ],
        [ 'X-Forwarded-Proto', 'http' ],
        [ 'X-Forwarded-Port', 1 ],
        [ 'X-Forwarded-Prefix', '/evil' ],
        [ 'X-Host', 'evil.example' ],
        [ 'Forwarded', 'host=evil.example' ],
        [ 'X-Original-URL', '/evil' ],
        [ 'X-Rewrite-URL', '/evil' ],
        [ 'X-HTTP-Method-Override', 'HEAD' ],
        [ 'X-Amz-Website-Redirect-Location', '//evil' ],
        [ 'RSC', 1 ],
        [ 'Next-Router-Prefetch', 1 ],
        [ 'x-nextjs-data', 1 ],
        [ 'x-middleware-prefetch', 1 ],
        [ 'x-now-route-matches', 1 ],
        [ 'x-invoke-status', 500 ],
        [ 'Upgrade', 'evil' ]),
    [ 'X-Forwarded-Host twice', { headers => [ 'X-Forwarded-Host', 'a',
                                               'X-Forwarded-Host', 'b' ] },
      { headers => [ 'X-Forwarded-Host', 'a h:x-forwarded-host=b' ] } ],
    [ 'X-Forwarded-Host in two ways', { headers => [ 'X-Forwarded-Host',
                                                     'a, b' ] },
      { headers => [ 'X-Forwarded-Host', 'a', 'X-Forwarded-Host', 'b' ] } ],
    [ 'a value that looks like a digest',
      { headers => [ 'X-Host', $digest ] },
      { headers => [ 'X-Host', 'x' x 200 ] } ],
    [ 'X_Forwarded_Host', { to => 'LOOSE',
                            headers => [ 'X_Forwarded_Host', 'evil' ] } ],
    [ 'X-Forwarded_Host', { to => 'LOOSE',
                            headers => [ 'X-Forwarded_Host', 'evil' ] } ],
    [ 'a port in Host', { headers => [ Host => 'localhost:1337' ] } ],
    [ 'another Host', { headers => [ Host => 'evil' ] } ],
    [ 'another host in the request line',
      { target => 'http://evil', headers => [ Host => 'localhost' ] } ],
    [ 'a GET with a body', { body => 'evil=1' } ],
    [ 'a GET with a body in chunks',
      { headers => [ 'Transfer-Encoding', 'chunked' ],
        raw => "4\r\nevil\r\n0\r\n\r\n" } ],
    [ 'a Range', { headers => [ Range => 'bytes=0-0' ] }, undef, 'whole' ],
    [ 'a HEAD', { method => 'HEAD' }, undef, 'whole' ],
    [ 'an OPTIONS', { method => 'OPTIONS' } ],
    [ 'a POST', { method => 'POST', body => 'x' } ],

    # paths and queries

    [ 'a slash in escapes', { uri => '/path/a%2fb' },
      { uri => '/path/a/b' } ],
    [ 'two slashes', { uri => '/path/c//d' }, { uri => '/path/c/d' } ],
    [ 'a question mark in escapes', { uri => '/path/e%3fq=1' },
      { uri => '/path/e?q=1' } ],
    [ 'a semicolon in escapes', { uri => '/path/f%3bx' },
      { uri => '/path/f;x' } ],
    [ 'a dot segment', { uri => '/path/g/../h' }, { uri => '/path/h' } ],
    [ 'a dot segment in escapes', { uri => '/path/g/%2e%2e/i' },
      { uri => '/path/i' } ],
    [ 'a dot segment for those who cut parameters',
      { uri => '/static/..;/account' }, { uri => '/static/..;/account' } ],
    [ 'a dot segment behind a slash in escapes',
      { uri => '/static/..%2faccount' }, { uri => '/static/..%2faccount' } ],
    [ 'a dot segment behind a backslash',
      { uri => '/static/..%5caccount' }, { uri => '/static/..%5caccount' } ],
    [ 'a dot segment in double escapes',
      { uri => '/static/%252e%252e/b' }, { uri => '/static/%252e%252e/b' } ],
    [ 'a line break in the path', { uri => '/n%0d%0aX:1' },
      { uri => '/n%0d%0aX:1' } ],
    [ 'a NUL in the path', { uri => '/account%00.css' },
      { uri => '/account%00.css' }, 'refused' ],
    [ 'a fragment', { uri => '/static/a#/../account' },
      { uri => '/static/a#/../account' } ],
    [ 'a brace', { uri => '/brace/x{' }, { uri => '/brace/x%7B' } ],
    [ 'a brace that ends a hash tag', { uri => '/brace/}:v:x' },
      { uri => '/brace/%7D:v:x' } ],
    [ 'braces around', { uri => '/{brace}' }, { uri => '/%7Bbrace%7D' } ],
    [ 'the last byte of a long URL', { uri => "/long?${long}a" },
      { uri => "/long?${long}b" } ],
    [ 'a URL that is too long', { uri => "/long?${long}$long" },
      { uri => "/long?${long}$long" } ],
    [ 'ten thousand arguments', { uri => "/args/?$many" },
      { uri => "/args/?$many&z" } ],
    [ 'an argument behind a semicolon', { uri => '/args/a?q=1&utm_x=1;q=2' },
      { uri => '/args/a?q=1' } ],
    [ 'an argument with another value', { uri => '/args/b?q=%zz' },
      { uri => '/args/b?q=%ZZ' } ],
    [ 'an argument in half an escape', { uri => '/args/c?q=%2%35' },
      { uri => '/args/c?q=%25' } ],
    [ 'the order of one argument', { uri => '/args/d?a=1&a=2' },
      { uri => '/args/d?a=2&a=1' } ],

    # bodies

    [ 'another body', post('/body/a', 'q=1'), post('/body/a', 'q=2') ],
    [ 'no body', post('/body/b', 'q=1'), post('/body/b', '') ],
    [ 'a body, and a GET', post('/body/c', 'q=1'), { uri => '/body/c' } ],
    [ 'another type of body', post('/body/d', '{"a":1}', 'application/json'),
      post('/body/d', '{"a":1}', 'text/plain') ],
    [ 'a type that writes a body', post('/body/e', 'b', "a\traw"),
      post('/body/e', "raw\tb", 'a') ],
    [ 'a body that is canonical, and one that is not',
      post('/body/f', '{"a":1,"b":2}', 'application/json'),
      post('/body/f', '{"a":1,"b":2}', 'text/json') ],
    [ 'a name that is there twice',
      post('/body/g', '{"a":1,"a":2}', 'application/json'),
      post('/body/g', '{"a":2,"a":1}', 'application/json') ],
    [ 'half a surrogate', post('/body/h', '"\ud800"', 'application/json'),
      post('/body/h', '"?"', 'application/json') ],
    [ 'a number in another way', post('/body/i', '1.0', 'application/json'),
      post('/body/i', '1', 'application/json') ],
    [ 'a body that is too large', post('/body/j', 'x' x 2000),
      post('/body/j', 'x' x 2000) ],
    [ 'POST and QUERY', post('/body/k', 'q'),
      { %{ post('/body/k', 'q') }, method => 'QUERY' } ],
    [ 'a mutation', map { post('/graphql/a', '{"query":"mutation{a}"}',
                               'application/json') } 1, 2 ],
    [ 'a mutation behind a query', map { post('/graphql/b',
        '{"query":"{a}","query":"mutation{a}"}', 'application/json') } 1, 2 ],
    [ 'a mutation in escapes', map { post('/graphql/c',
        '{"\u0071uery":"\u006dutation{a}"}', 'application/json') } 1, 2 ],

    # users

    [ 'another user', { uri => '/user/a', headers => [ Cookie => 'user=a' ],
                        say => 'Cache-Control: private, max-age=600' },
      { headers => [ Cookie => 'user=b' ] } ],
    [ 'nobody', { uri => '/user/b', say => $forever },
      { headers => [ Cookie => 'user=b' ] } ],
    [ 'nobody, after somebody', { uri => '/user/c', say => $forever,
                                  headers => [ Cookie => 'user=a' ] } ],
    [ 'nobody, twice', { uri => '/user/d', say => $forever } ],
    [ 'a user who is empty', { uri => '/user/e', say => $forever,
                               headers => [ Cookie => 'user=' ] },
      { headers => [ Cookie => 'user=' ] } ],
    [ 'a user who writes a key', { uri => '/user/f', say => $forever,
        headers => [ Cookie => 'user=a user=b' ] },
      { headers => [ Cookie => 'user=a' ] } ],
    [ 'Set-Cookie for a user', { uri => '/user/g',
        headers => [ Cookie => 'user=a' ], say => "Set-Cookie: a=b|$forever" },
      { headers => [ Cookie => 'user=a' ] } ],

    # keys of one's own

    [ 'a header that writes a part of the key', { uri => '/key/a',
        headers => [ 'X-A', '1 h:x-host=evil' ] },
      { headers => [ 'X-A', '1', 'X-Host', 'evil' ] } ],
    [ 'the same with two blanks', { uri => '/key/b',
        headers => [ 'X-A', '1  h:x-host=evil' ] },
      { headers => [ 'X-A', '1', 'X-Host', 'evil' ] } ],
    [ 'a blank at the end', { uri => '/key/c',
        headers => [ 'X-A', '1', 'X-Host', 'h:x-host=a' ] },
      { headers => [ 'X-A', '1 h:x-host=h:x-host=a' ] } ],
);

my $n = 0;

for my $row (@rows) {
    my ($name, $first, $second, $what) = @$row;

    $n++;
    $first->{uri} //= "/accident/$n";
    $second->{uri} //= $first->{uri};
    $second->{to} //= $first->{to};

    # what has been answered is stored, but for what has no body to be held

    ask('first', $first) for 1, 2;
    $nginx->settle() if $what;

    for my $time (1, 2) {
        my $r = ask('second', $second);

        if ($what && $what eq 'refused') {
            is($r->status, 400, "$n. $name: refused");
            next;
        }

        if ($what) {
            is($r->body, 'for first', "$n. $name: it gets all of what is "
               . 'for both');
            next;
        }

        is($r->body, 'for second', "$n. $name: it gets its own")
            or diag($r->verdict);
    }
}

cmp_ok($n, '>=', 40, 'the table is long');

# the other way round: these share, so the table would see it if others did

for my $row (
    [ 'plain', { uri => '/shared/a' } ],
    [ 'stripped', { uri => '/strip/a',
                    headers => [ 'X-Forwarded-Host', 'evil' ] } ],
    [ 'dropped', { uri => '/args/s?utm_a=evil&a=1' },
      { uri => '/args/s?a=1' } ],
    [ 'a user', { uri => '/user/s', headers => [ Cookie => 'user=a' ],
                  say => 'Cache-Control: private, max-age=600' },
      { headers => [ Cookie => 'user=a' ] } ],
    [ 'a body', post('/body/s', '{"b":1, "a":2}', 'application/json'),
      post('/body/s', '{"a":2,"b":1}', 'application/json') ],
    [ 'a key', { uri => '/key/s', headers => [ 'X-A', '12' ] },
      { headers => [ 'X-A', '1', 'X-B', '2' ] } ],
) {
    my ($name, $first, $second) = @$row;

    $second->{uri} //= $first->{uri};

    ask('first', $first);

    is(ask('second', $second)->body, 'for first',
       "$name: shared, as it should be");
}

# what was stripped or dropped has not made the response that is shared

is($origin->latest('/strip/a')->header('X-Forwarded-Host'), undef,
   'the upstream did not see what was stripped');
is($origin->count('/args/s?utm_a=evil&a=1'), 0,
   'nor what was dropped');

# responses that nginx refuses are no fault of ours

$nginx->tolerate(qr/upstream sent/);

$t->done();


sub post {
    my ($uri, $body, $type) = @_;

    return { method => 'POST', uri => $uri, body => $body,
             headers => [ $type ? ('Content-Type', $type) : () ] };
}


sub ask {
    my ($who, $what) = @_;

    my $method = $what->{method} // 'GET';
    my $target = ($what->{target} // '') . $what->{uri};

    my @headers = (
        'X-Who', $who, @{ $what->{headers} || [] },
        (defined $what->{say} ? ('X-Say', $what->{say}) : ()),
        (defined $what->{status} ? ('X-Status', $what->{status}) : ()),
        (defined $what->{answer} ? ('X-Answer', $what->{answer}) : ()),
    );

    return $nginx->request($method, $target, headers => \@headers,
                           to => $what->{to},
                           body => $what->{raw} // $what->{body},
                           ($what->{raw} ? (headers => [ @headers,
                               'Content-Length' => undef ]) : ()));
}


# Says whom it is for; misbehaves for the first one only.

sub origin {
    my ($req, $reply) = @_;

    my $who = $req->header('X-Who') // 'nobody';
    my @say = map { /^([^:]+): ?(.*)$/s }
        split /\|/, $req->header('X-Say') // '';
    my $body = $req->header('X-Answer') // "for $who";
    my $length = length $body;

    if ($who eq 'first' && $req->uri =~ m{^/(cut|chunks|empty|lengths|both|lf
                                             |nul|cr)$}x)
    {
        $reply->close();

        if ($1 eq 'cut') {
            $reply->head(200, @say, 'Content-Length', 100);

        } elsif ($1 eq 'chunks') {
            $reply->head(200, @say, 'Transfer-Encoding', 'chunked');
            $reply->raw("64\r\n");

        } elsif ($1 eq 'empty') {
            $reply->head(200, @say);
            return;

        } elsif ($1 eq 'lengths') {
            $reply->head(200, @say, 'Content-Length', $length,
                         'Content-Length', 4);

        } elsif ($1 eq 'both') {
            $reply->head(200, @say, 'Content-Length', $length,
                         'Transfer-Encoding', 'chunked');

        } elsif ($1 eq 'lf') {
            $reply->head(200, @say, 'Content-Length', $length,
                         'X-A', "b\nSet-Cookie: session=first");

        } elsif ($1 eq 'nul') {
            $reply->head(200, @say, 'Content-Length', $length,
                         'X-A', "b\0Set-Cookie: session=first");

        } else {
            $reply->head(200, @say, 'Content-Length', $length,
                         'X-A', "b\rSet-Cookie: session=first");
        }

        $reply->raw($body);
        return;
    }

    my $status = $req->header('X-Status') // 200;

    if ($status == 304) {
        $reply->head($status, @say);
        return;
    }

    $reply->send($status, \@say, $body);
}
