#!/usr/bin/perl

# Who has changed something and is told so must not see the old state after
# that, on any instance.  So an unsafe request that succeeds takes what is
# stored for its URI out of Redis before its response ends; one that fails
# must not, or anyone could empty the cache.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    upstream kept {
        server     %%ORIGIN%%;
        keepalive  4;
    }

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_TLS%% ssl http2;

        server_name  localhost;

        ssl_certificate      %%CRT%%;
        ssl_certificate_key  %%CRT_KEY%%;

        redis_proxy_cache  api;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /custom/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  mine-$request_uri;
        }

        location /direct/ {
            proxy_pass          http://kept;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
            proxy_buffering     off;

            redis_proxy_cache_budget  300ms;
        }

        location /off/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  off;
        }

        location /mapped/ {
            proxy_pass  http://%%ORIGIN%%/inside/;
        }

        location /hidden/ {
            proxy_pass         http://%%ORIGIN%%;
            proxy_hide_header  Content-Location;
        }

        location /short/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_budget  300ms;
        }
    }
CONF

my ($crt, $crt_key) = $t->certificate();
$t->set(CRT => $crt, CRT_KEY => $crt_key);

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);

my ($r, $n);

# which methods do; each is effective at once on both instances

for (
    [ 'POST', 1 ], [ 'PUT', 1 ], [ 'DELETE', 1 ], [ 'PATCH', 1 ],
    [ 'FROB', 1 ], [ 'MKCOL', 1 ], [ 'LOCK', 1 ],
    [ 'OPTIONS', 0 ], [ 'PROPFIND', 0 ], [ 'HEAD', 0 ],
) {
    my ($method, $does) = @$_;

    my $uri = '/x/' . lc $method;
    my $old = fill($uri);

    my $r = $one->request($method, $uri, body => $does ? 'data' : undef);
    is($r->status, 200, "$method");
    if ($does) {
        is($origin->latest($uri)->body, 'data', 'its body reaches the origin');
        is($r->body, 'answer ' . $origin->latest($uri)->n,
           'the answer its client');
        is($r->logged('cache'), '', 'it has no cache status');
        is($r->logged('reason'), 'method', 'the reason is the method');
    }

    gone($uri, $old, $does, $method);
}

# which statuses do

for my $status (200, 201, 202, 204, 205, 299, 301, 302, 303, 307, 400, 401,
                403, 404, 409, 412, 422, 500, 502, 503)
{
    my $uri = "/x/status/$status";
    my $old = fill($uri);
    my $r = $one->request('POST', $uri, body => 'data',
                          headers => [ 'X-Status' => $status ]);
    is($r->status, $status, "POST that gets a $status");
    ok($r->complete, 'ends well');
    gone($uri, $old, $status < 400, $status);
}

# the URI is all of it, and only it

my $with = fill('/x/args?a=1');
my $without = fill('/x/args');
$one->request('POST', '/x/args', body => '');
gone('/x/args?a=1', $with, 0, 'other arguments');
gone('/x/args', $without, 1, 'the URI itself');

my $old = fill('/x/host');
$one->request('POST', '/x/host', body => '', host => 'other.example');
gone('/x/host', $old, 0, 'another Host');
$one->request('POST', '/x/host', body => '',
              headers => [ Host => 'LOCALHOST:' . $one->port() ]);
gone('/x/host', $old, 1, 'the same, with case and port');

# Location and Content-Location, of the same host

my $port = $one->port();

for my $name ('Location', 'Content-Location') {
    for (
        [ '/x/there', '/x/there', 1 ],
        [ '/x/there?a=b&c', '/x/there?a=b&c', 1 ],
        [ '/x/there#part', '/x/there', 1 ],
        [ 'there', '/x/there', 1 ],
        [ 'there?a=1', '/x/there?a=1', 1 ],
        [ 'down/there', '/x/down/there', 1 ],
        [ '/', '/', 1 ],
        [ 'http://localhost/x/there', '/x/there', 1 ],
        [ 'HTTP://LocalHost/x/there', '/x/there', 1 ],
        [ "http://localhost:$port/x/there", '/x/there', 1 ],
        [ '//localhost/x/there', '/x/there', 1 ],
        [ "//localhost:$port/x/there", '/x/there', 1 ],
        [ 'http://localhost', '/', 1 ],
        [ 'http://other.example/x/there', '/x/there', 0 ],
        [ '//other.example/x/there', '/x/there', 0 ],
        [ 'http://localhost.other.example/x/there', '/x/there', 0 ],
        [ 'http://localhostile/x/there', '/x/there', 0 ],
        [ 'http://localhost@other.example/x/there', '/x/there', 0 ],
        [ 'http://localhost:80@other.example/x/there', '/x/there', 0 ],
        [ 'https://localhost/x/there', '/x/there', 0 ],
        [ 'ftp://localhost/x/there', '/x/there', 0 ],
        [ '', '/x/there', 0 ],
        [ '::not a uri', '/x/there', 0 ],
        [ ('x' x 3000), '/x/there', 0 ],
    ) {
        my ($value, $target, $does) = @$_;

        my $uri = '/x/from?' . ++$n;
        my $own = fill($uri);
        my $old = fill($target);
        my $say = length $value > 60 ? 'a long one' : $value;

        my $r = $one->request('POST', $uri, body => 'data', headers => [
                              'X-Say' => "$name=$value" ]);
        is($r->status, 200, "$name: $say");
        gone($target, $old, $does, "$name: $say");
        gone($uri, $own, 1, "$name: the URI itself");
    }
}

my ($a, $b, $c) = map { fill("/x/both/$_") } 1 .. 3;
$one->request('POST', '/x/both/1', body => '', headers => [
              'X-Say' => 'Location=/x/both/2',
              'X-Say' => 'Content-Location=3', 'X-Status' => 201 ]);
gone('/x/both/1', $a, 1, 'all three: the URI');
gone('/x/both/2', $b, 1, 'all three: Location');
gone('/x/both/3', $c, 1, 'all three: Content-Location');

# and not when it fails

$old = fill('/x/there');
$one->request('POST', '/x/failed', body => '', headers => [
              'X-Say' => 'Location=/x/there', 'X-Status' => 400 ]);
gone('/x/there', $old, 0, 'Location of an error');

# Location as the client sees it, when nginx maps one tree to another

my $inside = 'http://' . $origin->addr();

$old = fill('/mapped/there');
$r = $one->request('POST', '/mapped/from', body => '', headers => [
                   'X-Say' => "Location=$inside/inside/there",
                   'X-Status' => 201 ]);
is($r->header('Location') =~ s{^http://localhost(?::\d+)?}{}r,
   '/mapped/there', 'proxy_redirect maps Location');
gone('/mapped/there', $old, 1, 'Location that is mapped');

$old = fill('/hidden/there');
$one->request('POST', '/hidden/from', body => '', headers => [
              'X-Say' => 'Content-Location=/hidden/there' ]);
gone('/hidden/there', $old, 1, 'a Content-Location that is hidden');

# variants: all of them

$one->get('/vary/1', 'X-A' => $_) for 'a', 'b', 'a', 'b';
is($one->get('/vary/1', 'X-A' => $_)->verdict, 'HIT -', "variant $_")
    for 'a', 'b';
$one->request('PUT', '/vary/1', body => 'data', headers => [ 'X-A' => 'c' ]);
for my $nginx ($one, $two) {
    is($nginx->get('/vary/1', 'X-A' => $nginx == $one ? 'a' : 'b')->verdict,
       'MISS -', 'every variant is gone');
}

# a key of one's own: it is the key of the request, others are not known

$old = fill('/custom/1');
$b = fill('/custom/2');
$one->request('POST', '/custom/1', body => '', headers => [
              'X-Say' => 'Location=/custom/2' ]);
gone('/custom/1', $old, 1, 'a key of one\'s own');
gone('/custom/2', $b, 0, 'Location with that');

# where the cache is off nothing happens

$old = fill('/x/elsewhere');
$one->request('POST', '/off/1', body => '', headers => [
              'X-Say' => 'Location=/x/elsewhere' ]);
gone('/x/elsewhere', $old, 0, 'a location without the cache');

# before the client has the response: no pause, the other instance, each way
# in which a response can end

my ($http2) = 'https://127.0.0.1:' . $one->port('TLS');

for (
    [ 'with length',    '/x/at-once',      [ ] ],
    [ 'no content',     '/x/at-once',      [ 'X-Status' => 204 ] ],
    [ 'an empty body',  '/x/at-once',      [ 'X-Empty' => 1 ] ],
    [ 'a redirect',     '/x/at-once',      [ 'X-Status' => 303 ] ],
    [ 'chunked',        '/x/at-once',      [ 'X-Chunked' => 1 ] ],
    [ 'no buffering',   '/direct/at-once', [ ] ],
    [ 'no buffering, no content', '/direct/at-once', [ 'X-Status' => 204 ] ],
    [ 'no buffering, chunked', '/direct/at-once', [ 'X-Chunked' => 1 ] ],
    [ 'large',          '/x/at-once',      [ 'X-Large' => 1 ] ],
) {
    my ($name, $where, $headers) = @$_;

    my $uri = $where . '?' . ++$n;
    my $post = $one->connect();
    my $get = $two->connect();
    my $stale = 0;
    my $last = '';

    for (1 .. 50) {
        my $r = $get->request('GET', $uri, keepalive => 1);
        $stale++ if $r->body eq $last;
        $last = $r->body;

        $r = $post->request('DELETE', $uri, keepalive => 1,
                            headers => $headers);
        if (!$r || !$r->complete) {
            fail("$name: no answer");
            last;
        }
    }

    is($stale, 0, "$name: never the old one on the other instance");
    $_->close() for $post, $get;
}

{
    my $uri = '/x/at-once?http2';
    my $stale = 0;

    for (1 .. 20) {
        my $old = $two->curl($http2 =~ s/\d+$/$two->port('TLS')/er . $uri);
        my $r = $one->curl('--http2', '-X', 'DELETE', "$http2$uri");
        ok($r->complete, 'HTTP/2: an answer') if !$r->complete;
        my $new = $two->curl($http2 =~ s/\d+$/$two->port('TLS')/er . $uri);
        $stale++ if $new->body eq $old->body;
    }

    is($stale, 0, 'HTTP/2: never the old one');
}

# Redis slow, gone, back: the request itself is not harmed; until Redis has
# answered, or the budget is used up, the client is not told

$r = $one->request('POST', '/short/1', body => 'data');
is($r->status, 200, 'all is well');

my $start;

for (
    [ 'with length',                  'short',  [ ] ],
    [ 'chunked',                      'direct', [ 'X-Chunked' => 1 ] ],
    [ 'no content',                   'short',  [ 'X-Status' => 204 ] ],
    [ 'an empty body',                'short',  [ 'X-Empty' => 1 ] ],
    [ 'a redirect without a body',    'short',  [ 'X-Status' => 303,
                                                  'X-Empty' => 1 ] ],
    [ 'no buffering, no content',     'direct', [ 'X-Status' => 204 ] ],
    [ 'no buffering, an empty body',  'direct', [ 'X-Empty' => 1 ] ],
) {
    my ($name, $where, $headers) = @$_;

    $redis->freeze();
    my $since = clock();
    $start = time();
    my $r = $one->request('POST', "/$where/frozen", body => 'data',
                          headers => [ @$headers, 'X-Frozen' => 1 ]);
    my ($took, $net) = (time() - $start, clock() - $since);
    $redis->thaw();

    is($r->status, { @$headers }->{'X-Status'} || 200,
       "frozen, $name: the answer of the origin");
    ok($r->complete, 'ends well');
    is($origin->latest("/$where/frozen")->header('X-Frozen'), 1,
       'and reached it');
    ok($net < 4, 'within the budget') or diag($net);
    ok($took > 0.2, 'after it') or diag($took);
}

$redis->stop();

for my $nginx ($one, $two) {
    $start = clock();
    $r = $nginx->request('POST', '/x/down', body => 'data');
    is($r->status, 200, 'a POST without Redis');
    is($r->body, 'answer ' . $origin->latest('/x/down')->n, 'is answered');
    ok(clock() - $start < 4, 'soon');
    is($nginx->request('DELETE', '/direct/down', headers =>
       [ 'X-Status' => 204 ])->status, 204, 'a DELETE as well');
}

$redis->start();

ok(wait_for {
    $one->request('POST', '/x/back', body => '');
    $one->get('/x/back')->verdict eq 'MISS -'
        && $two->get('/x/back')->verdict eq 'HIT -';
}, 'Redis is back');

$old = fill('/x/back?2');
$one->request('POST', '/x/back?2', body => '');
gone('/x/back?2', $old, 1, 'after Redis has come back');

$t->done();


# an entry for the URI, known to both; its body

sub fill {
    my ($uri) = @_;

    $one->get($uri);
    my $r = $two->get($uri);
    is($r->verdict, 'HIT -', "$uri is stored") if $r->verdict ne 'HIT -';

    return $r->body;
}


sub gone {
    my ($uri, $old, $is, $name) = @_;

    my $r = $two->get($uri);
    my $same = $one->get($uri)->body;

    if ($is) {
        isnt($r->body, $old, "$name: what was stored is gone");
        is($same, $r->body, 'on both');

    } else {
        is($r->body, $old, "$name: what is stored stays");
    }

    return;
}


sub origin {
    my ($req, $reply) = @_;

    my $body = 'answer ' . $req->n;

    if ($req->method =~ /^(?:GET|HEAD)$/) {
        return $reply->send(200, [ 'Cache-Control' => 'max-age=60',
            $req->path =~ m{^/vary/} ? (Vary => 'X-A') : () ], $body);
    }

    my @headers = map { /^([\w-]+)=(.*)/s ? ($1, $2) : () }
        $req->headers('X-Say');
    my $status = $req->header('X-Status') || 200;

    # some of it may be fresh: that is of no concern here

    push @headers, 'Cache-Control' => 'max-age=60';

    return $reply->head($status, @headers) if $status == 204;

    $body = '' if $req->header('X-Empty') || $status == 205;
    $body = 'large' x 100000 if $req->header('X-Large');

    if ($req->header('X-Chunked') && $req->{version} eq 'HTTP/1.1') {
        $reply->head($status, @headers, 'Transfer-Encoding' => 'chunked');
        $reply->chunk($body);
        $reply->last_chunk();
        return;
    }

    if ($req->header('X-Chunked')) {
        $reply->close();
        $reply->head($status, @headers);
        $reply->raw($body);
        return;
    }

    $reply->send($status, \@headers, $body);
}
