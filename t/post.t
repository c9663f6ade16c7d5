#!/usr/bin/perl

# A search by POST, a GraphQL query, the QUERY method: the body says what is
# asked for, so it has to be part of the key, whole and however it comes, and
# still reach the upstream.  What changes something must reach it each time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw(sha256_hex);
use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);
my ($crt, $key) = $t->certificate();

my $nginx = $t->nginx(<<"CONF");
    redis_proxy_cache_zone    api:1m server=%%REDIS%% prefix=p:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache_valid   any 1m;
    redis_proxy_cache         api;

    redis_proxy_cache_methods   GET HEAD POST QUERY;
    redis_proxy_cache_key_body  4k;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_TLS%% ssl http2;

        ssl_certificate      $crt;
        ssl_certificate_key  $key;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /json/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_key_body  4k json;
        }

        location /graphql {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_key_body  4k json graphql;
        }

        location /file/ {
            proxy_pass                  http://%%ORIGIN%%;
            client_body_in_file_only    clean;
        }

        location /buffer/ {
            proxy_pass                  http://%%ORIGIN%%;
            client_body_buffer_size     16;
        }

        location /stream/ {
            proxy_pass                  http://%%ORIGIN%%;
            proxy_request_buffering     off;
        }

        location /off/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_key_body  off;
        }

        location /get/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_methods   GET;
        }

        location /small/ {
            proxy_pass                  http://%%ORIGIN%%;
            client_max_body_size        10;
        }

        location /swr/ {
            proxy_pass                  http://%%ORIGIN%%;
        }

        location /user/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_user      \$http_x_user;
        }
    }
CONF


sub send_body {
    my ($method, $uri, $body, @headers) = @_;

    return $nginx->request($method, $uri, body => $body,
                           headers => \@headers);
}


sub post { return send_body('POST', @_) }


# a body is part of the key

my $r = post('/a', 'q=1', 'Content-Type', 'text/plain');
is($r->verdict, 'MISS -', 'a POST');
is($r->logged('key'), 'http://localhost/a body:POST='
   . sha256_hex("text/plain\n\nraw\nq=1"), 'has its body in its key');
is($origin->latest->body, 'q=1', 'and the upstream has it too');
is($origin->latest->method, 'POST', 'as a POST');

my $n = $origin->count();
is(post('/a', 'q=1', 'Content-Type', 'text/plain')->verdict, 'HIT -',
   'the same again is a hit');
is($origin->count(), $n, 'of which the upstream knows nothing');

is(post('/a', 'q=2', 'Content-Type', 'text/plain')->verdict, 'MISS -',
   'another body');
is(post('/a', 'q=1', 'Content-Type', 'text/html')->verdict, 'MISS -',
   'another type');
is(post('/a', 'q=1', 'Content-Type', 'text/plain', 'Content-Encoding', 'x')
   ->verdict, 'MISS -', 'another coding');
is(post('/b', 'q=1', 'Content-Type', 'text/plain')->verdict, 'MISS -',
   'another URL');
is(send_body('QUERY', '/a', 'q=1', 'Content-Type', 'text/plain')->verdict,
   'MISS -', 'another method');
is($origin->latest->method, 'QUERY', 'which the upstream sees');
is($origin->latest->body, 'q=1', 'with its body');
is(send_body('QUERY', '/a', 'q=1', 'Content-Type', 'text/plain')->verdict,
   'HIT -', 'and which is a hit for itself');
is($nginx->get('/a')->verdict, 'MISS -', 'a GET is something else');
is(post('/a', '')->verdict, 'MISS -', 'and so is a POST of nothing');
is(post('/a', '')->verdict, 'HIT -', 'which can be found again');
is(post('/a', 'q=1', 'Content-Type', 'a', 'Content-Type', 'b')->verdict,
   'BYPASS body', 'two types are one too many');

# a POST that is cached removes nothing

is($nginx->get('/a')->verdict, 'HIT -', 'the GET is still there');

# a GET with a body

is(send_body('GET', '/fat', 'x')->verdict, 'MISS -', 'a GET with a body');
is(send_body('GET', '/fat', 'x')->verdict, 'HIT -', 'has it in its key');
is($nginx->get('/fat')->verdict, 'MISS -', 'one without is another');
is(send_body('HEAD', '/fat', 'x')->verdict, 'HIT -', 'a HEAD is like a GET');

# however it comes

my $body = join ',', 1 .. 500;

for my $where ('/file/', '/buffer/', '/stream/') {
    is(post($where, $body)->verdict, 'MISS -', "$where: a miss");
    is($origin->latest->body, $body, 'the upstream has the body');
    is(post($where, $body)->verdict, 'HIT -', 'a hit');
    is(post($where, "$body.")->verdict, 'MISS -', 'a byte more is a miss');
}

sub chunked {
    my ($uri, $body) = @_;

    return $nginx->request('POST', $uri,
        headers => [ 'Transfer-Encoding', 'chunked',
                     'Content-Length' => undef ],
        body => join '', (map { sprintf "%x\r\n%s\r\n", length $_, $_ }
                          unpack '(a7)*', $body), "0\r\n\r\n");
}

is(chunked('/file/', $body)->verdict, 'HIT -', 'in chunks it is the same');
is(chunked('/c', $body)->verdict, 'MISS -', 'a miss in chunks');
is($origin->latest->body, $body, 'is whole at the upstream');

my $c = $nginx->connect();
$c->send("POST /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
         . "Content-Length: 10\r\nX-Test: slow\r\n\r\n01234");
is($origin->count('/slow'), 0, 'half a body is not enough');
$c->send('56789');
is($c->response()->body, 'POST 0123456789', 'all of it is');
is(post('/slow', '0123456789')->verdict, 'HIT -', 'it was stored');

$c = $nginx->connect();
$c->send("POST /gone HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
         . 'half');
$c->close();
ok($nginx->wait_line(qr/client prematurely closed/), 'a client that goes');
is($origin->count('/gone'), 0, 'is nobody who asked');

$r = $nginx->curl('--http2', '--data-binary', $body, '-H', 'Content-Type:',
                  'https://localhost:' . $nginx->port('TLS') . '/file/');
is($r->body, "POST $body", 'HTTP/2');

# too large

for my $size (4096, 4097) {
    my $large = 'x' x $size;
    $r = post('/large', $large) for 1, 2;
    is($r->verdict, $size > 4096 ? 'BYPASS body' : 'HIT -', "$size bytes");
    is($origin->latest->body, $large, 'the upstream has them all');
}

is(chunked('/large', 'x' x 5000)->verdict, 'BYPASS body', 'too many chunks');
is(length $origin->latest->body, 5000, 'reach the upstream');
is(post('/small/', 'x' x 11)->status, 413, 'too large for nginx');

# off, and methods that are not cached

is(post('/off/', 'x')->verdict, 'BYPASS body', 'without the directive');
is(post('/get/', 'x')->verdict, ' method', 'without the method');
is(send_body('QUERY', '/get/', 'x')->logged('reason'), 'method',
   'a QUERY that is not cached');

$nginx->get('/get/x');
send_body('QUERY', '/get/x', 'x');
is($nginx->get('/get/x')->verdict, 'HIT -', 'removes nothing: it is safe');
post('/get/x', 'x');
is($nginx->get('/get/x')->verdict, 'MISS -', 'a POST does');

# conditions and ranges

$r = send_body('QUERY', '/etag', 'x', 'If-None-Match', '"e"');
is($r->status, 304, 'a QUERY with a condition');
is($origin->latest->header('If-None-Match'), undef, 'which is ours to answer');
$nginx->settle();
is(send_body('QUERY', '/etag', 'x', 'If-None-Match', '"e"')->status, 304,
   'a hit as well');
$r = post('/etag', 'x', 'Range', 'bytes=0-1');
is($r->status, 200, 'a range is for GET only');
is(post('/etag', 'x', 'Range', 'bytes=0-1')->status, 200, 'on a hit, too');

# JSON

my @json = ('Content-Type', 'application/json; charset=utf-8');
my ($one, $two) = ('{"b":[1, {"d":1,"c":2}],"a":"x"}',
                   " {\n\"a\": \"\\u0078\", \"b\": [1,{\"c\":2,\"d\":1}] }");

is(post('/json/a', $one, @json)->verdict, 'MISS -', 'JSON');
is(post('/json/a', $two, @json)->verdict, 'HIT -',
   'is what it says, not how it is written');
is(post('/json/a', $two, @json, 'Content-Encoding', 'x')->verdict, 'MISS -',
   'what is coded is not looked into');
is(post('/json/a', '{"b":[{"d":1,"c":2},1],"a":"x"}', @json)->verdict,
   'MISS -', 'arrays have an order');
is(post('/json/b', $one)->verdict, 'MISS -', 'without the type');
is(post('/json/b', $two)->verdict, 'MISS -', 'it is but text');
is(post('/json/c', $one, 'Content-Type', 'application/x+JSON')->verdict,
   'MISS -', 'other JSON');
is(post('/json/c', $two, 'Content-Type', 'application/x+JSON')->verdict,
   'HIT -', 'is JSON');
is(post('/a', $one, @json)->verdict, 'MISS -', 'if nobody asked for it');
is(post('/a', $two, @json)->verdict, 'MISS -', 'it is text, too');

for my $broken ('{"a":1', '', '{"a":"\ud800"}', '[1,]') {
    is(post('/json/d', $broken, @json)->verdict, 'MISS -', "broken: $broken");
    is(post('/json/d', $broken, @json)->verdict, 'HIT -', 'it is text');
}

# GraphQL

sub graphql { return post('/graphql', $_[0], @json) }

is(graphql('{"query":"{ a }"}')->verdict, 'MISS -', 'a query');
is(graphql('{ "query": "{ a }" }')->verdict, 'HIT -', 'once more');
is(graphql('{"query":"{ a }","variables":{"b":1}}')->verdict, 'MISS -',
   'with a variable');

for my $doc (
    '{"query":"mutation { a }"}', '{"query":"subscription { a }"}',
    '[{"query":"{ a }"},{"query":"mutation { b }"}]',
    '{"query":"query A { a } mutation B { b }","operationName":"A"}',
    '{"extensions":{"persistedQuery":{}}}', 'no JSON',
) {
    for (1, 2) {
        $n = $origin->count();
        is(graphql($doc)->verdict, 'BYPASS graphql', $doc);
        is($origin->count(), $n + 1, 'reaches the upstream');
    }
}

is(post('/graphql', '{ a }', 'Content-Type', 'application/graphql')->verdict,
   'MISS -', 'a document by itself');
is(post('/graphql', 'mutation{a}', 'Content-Type', 'application/graphql')
   ->verdict, 'BYPASS graphql', 'is looked into');
is(post('/graphql', '{ a }', 'Content-Type', 'multipart/form-data')->verdict,
   'BYPASS graphql', 'what is not known is not cached');

is($nginx->get('/graphql?query=%7Ba%7D')->verdict, 'MISS -', 'by GET');
is($nginx->get('/graphql?query=%7Ba%7D')->verdict, 'HIT -', 'a query');
is($nginx->get('/graphql?x=1&query=mutation+%7Ba%7D')->verdict,
   'BYPASS graphql', 'a mutation');
is($nginx->get('/graphql?query=%7Ba%7D&%71uery=mutation%7Ba%7D')->verdict,
   'BYPASS graphql', 'or both');

is($nginx->get('/graphql?query=%7Ba%7D')->verdict, 'HIT -', 'a query by GET');
$nginx->request('POST', '/graphql?query=%7Ba%7D',
                body => '{"query":"mutation { a }"}', headers => [ @json ]);
is($nginx->get('/graphql?query=%7Ba%7D')->verdict, 'MISS -',
   'is void after a mutation of the same URI');

# users

is(post('/user/a', 'x', 'X-User', 'a')->verdict, 'MISS -', 'a user');
is(post('/user/a', 'x', 'X-User', 'a')->verdict, 'HIT -', 'has her own');
is(post('/user/a', 'x', 'X-User', 'b')->verdict, 'MISS -', 'and he his');

# a refresh in the background has the body of what it refreshes

post('/swr/a', 'which');
ok(wait_for { post('/swr/a', 'which')->logged('cache')
                  =~ /^(?:STALE|UPDATING)$/ }, 'stale while it is updated');
ok(wait_for { $origin->count('/swr/a') > 1 }, 'which is asked for');
$r = $origin->latest('/swr/a');
is($r->method, 'POST', 'by POST');
is($r->body, 'which', 'with the body');
is($r->header('Content-Length'), 5, 'and its length');

for (
    [ 'methods', 'redis_proxy_cache_methods GET PUT;',
      qr/invalid value "PUT"/ ],
    [ 'size', 'redis_proxy_cache_key_body 2m;', qr/a size from 1 to 1m/ ],
    [ 'zero', 'redis_proxy_cache_key_body 0;', qr/a size from 1 to 1m/ ],
    [ 'off', 'redis_proxy_cache_key_body off json;', qr/a size from 1 to 1m/ ],
    [ 'what', 'redis_proxy_cache_key_body 1k xml;', qr/invalid value "xml"/ ],
) {
    my ($name, $line, $want) = @$_;
    my ($status, $said) = $t->nginx_new($line)->check();
    ok($status && $said =~ $want, "nginx -t: $name") or diag($said);
}

$_->tolerate(qr/\[emerg\]/) for @{ $t->{nginxes} };

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my @headers = $req->path eq '/etag' ? (ETag => '"e"', 'Accept-Ranges',
                                           'bytes')
        : $req->path eq '/swr/a' ? ('Cache-Control',
            'max-age=1, stale-while-revalidate=600') : ();

    $reply->send(200, \@headers, $req->method . ' ' . $req->body);
}
