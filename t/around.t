#!/usr/bin/perl

# The cache among nginx's other ways to make a response: auth_request,
# error_page with intercepted errors, forced ranges, and clients that speak
# HTTP/2.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $text = join '', map { "line $_ of the text\n" } 1 .. 500;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);
my ($crt, $key) = $t->certificate();

my $nginx = $t->nginx(<<'CONF', vars => { CRT => $crt, KEY => $key });
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_H2%% ssl http2;

        ssl_certificate      %%CRT%%;
        ssl_certificate_key  %%KEY%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        # who may, asked once a user and not once a request

        location /guarded/ {
            proxy_pass        http://%%ORIGIN%%;
            auth_request      /auth;
            auth_request_set  $who $upstream_http_x_who;
            auth_request_set  $verdict $redis_proxy_cache_status;
            add_header        X-Verdict $verdict always;
        }

        location = /auth {
            internal;
            proxy_pass               http://%%ORIGIN%%/auth;
            proxy_pass_request_body  off;
            proxy_set_header         Content-Length "";
            redis_proxy_cache_key    auth:$cookie_user;
        }

        # errors of the origin

        location /intercept/ {
            proxy_pass              http://%%ORIGIN%%;
            proxy_intercept_errors  on;
            error_page              404 /page/404;
            error_page              410 = /page/410;
            error_page              403 =200 /page/403;
            error_page              502 503 504 = @spare;
            error_page              301 302 = @moved;
        }

        location /page/ {
            internal;
            proxy_pass  http://%%ORIGIN%%;
        }

        location @spare {
            proxy_pass        http://%%ORIGIN%%;
            proxy_set_header  X-Spare yes;
        }

        location @moved {
            proxy_pass        http://%%ORIGIN%%;
            proxy_set_header  X-Target yes;
        }

        # without Accept-Ranges, without a length

        location /force/ {
            proxy_pass          http://%%ORIGIN%%;
            proxy_force_ranges  on;
        }

        location /max-ranges/ {
            proxy_pass  http://%%ORIGIN%%;
            max_ranges  0;
        }
    }
CONF

my ($r, $c);

# auth_request: the subrequest's answer is cached by the key of its location

for my $time (1 .. 3) {
    $r = $nginx->get('/guarded/a', Cookie => 'user=good',
                     'X-Say' => 'Cache-Control: max-age=60');
    is($r->status, 200, "$time: let in");
    is($r->header('X-Verdict'), $time == 1 ? 'MISS' : 'HIT',
       'by a subrequest that is cached');
    $r = $nginx->get('/guarded/a', Cookie => 'user=bad');
    is($r->status, 403, "$time: kept out");
    $r = $nginx->get('/guarded/a', Cookie => 'user=unknown');
    is($r->status, 401, "$time: not known");
    is($r->header('WWW-Authenticate'), 'Basic realm="r"',
       'the challenge is passed on, from the cache too');
}

my %asked;
$asked{ $_->header('Cookie') }++ for $origin->requests('/auth');
is_deeply(\%asked, { map { ("user=$_" => 1) } qw(good bad unknown) },
          'each user was asked for once');
is($origin->count('/guarded/a'), 1, 'and so was the page');

ok($redis->wait_key('api:{auth:good}'), 'the entry is there');
$redis->cmd('DEL', 'api:{auth:good}');
is($nginx->get('/guarded/a', Cookie => 'user=good')->status, 200,
   'without it the origin is asked again');
is($origin->count('/auth'), 4, 'it was');

$r = $nginx->request('POST', '/guarded/a', body => 'data',
                     headers => [ Cookie => 'user=good' ]);
is($r->status, 200, 'POST is let in');
is($redis->exists('api:{auth:good}'), 1,
   'and does not invalidate what its subrequest asked for');

# intercepted errors: a page that is sent with another status than its own is
# not stored under its own name, nor under that of what failed

for my $time (1 .. 2) {
    $r = $nginx->get('/intercept/404');
    is($r->status . $r->body, '404the page 404', "$time: error_page");
    $r = $nginx->get('/intercept/410');
    is($r->body, 'the page 410', 'error_page =');
    $r = $nginx->get('/intercept/403');
    is($r->status . $r->body, '200the page 403', 'error_page =200');
    $r = $nginx->get('/intercept/503');
    is($r->status . $r->body, '200spare', 'error_page = @named');
    $r = $nginx->get('/intercept/302');
    is($r->body, 'the target', 'a redirect followed');
}
$nginx->settle();
is_deeply([ grep { m{/(?:intercept/4|page/40)} } $redis->keys() ], [],
          'neither what failed nor the page for it is stored');
is($redis->exists('api:{http://localhost/intercept/503}'), 1,
   'but what a location of its own says instead, as it says it may be');

# an error that takes the place of what is there passes

$r = $nginx->get('/intercept/turns', 'X-Say' => 'Cache-Control: max-age=60');
is($r->verdict, 'MISS -', 'what is well is stored');
is($nginx->get('/intercept/turns')->verdict, 'HIT -', 'and served');
is($nginx->get('/intercept/ok404', 'X-Say' => 'Cache-Control: max-age=60')
   ->verdict, 'MISS -', 'in the same location');

# a client whose error is intercepted stays in step

$c = $nginx->connect();
for my $uri ('/intercept/404', '/intercept/turns', '/intercept/503') {
    $r = $c->request('GET', $uri, keepalive => 1);
    ok($r && $r->complete, "$uri on one connection");
}
$c->close();

# ranges where nginx would not answer them by itself

for my $uri ('/force/chunked', '/force/length', '/length', '/force/none') {
    for my $time (1, 2) {
        $r = $nginx->get("$uri?$time");
        is($r->body, $text, "$uri: the whole");
        $r = $nginx->get("$uri?$time", Range => 'bytes=100-109');
        is($r->verdict, 'HIT -', 'a range on a hit');
        is($r->status . $r->body, '206' . substr($text, 100, 10), 'is right');
    }

    $r = $nginx->get("$uri?range", Range => 'bytes=100-109');
    is($r->verdict, 'MISS -', 'a range on a miss fills');
    is($r->body, $r->status == 206 ? substr($text, 100, 10) : $text,
       'and is right');
    is($nginx->get("$uri?range")->body, $text, 'the whole is stored');
}

for my $time (1, 2) {
    $r = $nginx->get('/max-ranges/length', Range => 'bytes=100-109');
    is($r->status, 200, "$time: max_ranges 0: the whole for a range");
    is($r->body, $text, 'all of it');
}

# HTTP/2: several requests on one connection, misses and hits

my $url = 'https://127.0.0.1:' . $nginx->port('H2');
my @h2 = '--http2';

for my $time (1, 2) {
    my @out = map { "$nginx->{dir}/h2-$time-$_" } 1 .. 8;
    my $pid = RCache::Util::spawn(
        argv => [ 'curl', '-sSk', @h2, '--parallel', '--max-time', 30,
                  map { ('-o', $out[$_ - 1],
                         "$url/" . ($_ % 2 ? 'length' : 'slow') . "?p$_") }
                  1 .. 8 ],
        log => "$nginx->{dir}/h2.log");
    is(RCache::Util::stop_pid($pid, 0), 0, "$time: eight in parallel")
        or diag(slurp("$nginx->{dir}/h2.log"));
    is(scalar(grep { slurp($_) eq $text } @out), 8, 'each is right');
}
is($origin->count("/slow?p$_"), 1, 'the origin was asked once') for 2, 4, 6, 8;

$r = $nginx->curl(@h2, '-r', '100-109', "$url/length?p1");
is($r->status . $r->body, '206' . substr($text, 100, 10),
   'HTTP/2: a range');
$r = $nginx->curl(@h2, '-r', '100-109,200-209', "$url/length?p1");
is($r->status, 206, 'HTTP/2: two ranges');
like($r->body, qr/\Q${\substr($text, 200, 10)}\E/, 'are in it');
$r = $nginx->curl(@h2, '-H', 'If-None-Match: "t"', "$url/length?p1");
is($r->status, 304, 'HTTP/2: a 304 on a hit');
$r = $nginx->curl(@h2, '-H', 'If-None-Match: "t"', "$url/length?new");
is($r->status, 304, 'HTTP/2: a 304 on a miss');
$nginx->settle();
is($nginx->curl(@h2, "$url/length?new")->verdict, 'HIT -', 'which fills');
$r = $nginx->curl(@h2, '-H', 'If-Match: "other"', "$url/length?p1");
is($r->status, 412, 'HTTP/2: a 412');
$r = $nginx->curl(@h2, '-I', "$url/length?p1");
is($r->status . $r->body, 200 . $r->body, 'HTTP/2: HEAD');
$r = $nginx->curl(@h2, "$url/hop?1");
$r = $nginx->curl(@h2, "$url/hop?1");
is($r->verdict, 'HIT -', 'HTTP/2: a hit');
is($r->header($_), undef, "without $_") for qw(Connection Keep-Alive X-Hop);
is($r->header('X-End'), 'yes', 'with what is end to end');
$r = $nginx->curl(@h2, '-X', 'POST', '-d', 'x', "$url/length?p1");
is($r->status, 200, 'HTTP/2: POST');
is($redis->exists('api:{https://127.0.0.1/length?p1}'), 0, 'invalidates');

# a client of HTTP/2 that goes in the middle

$r = $nginx->curl(@h2, '--max-time', '0.2', "$url/slow?gone");
is($nginx->curl(@h2, "$url/slow?gone")->body, $text, 'HTTP/2: a client that '
   . 'goes leaves no half');

$nginx->tolerate('Permission denied', 'access forbidden');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my $path = $req->path;
    my @fresh = ('Cache-Control' => 'max-age=60', 'ETag' => '"t"');

    if ($path eq '/auth') {
        my ($user) = ($req->header('Cookie') // '') =~ /user=(\w+)/;
        my @headers = ('Cache-Control' => 'max-age=60', 'X-Who' => $user);

        return $reply->send(403, \@headers, 'no') if $user eq 'bad';
        return $reply->send(401, [ @headers, 'WWW-Authenticate' =>
                                   'Basic realm="r"' ], 'who?')
            if $user eq 'unknown';
        return $reply->send(200, \@headers, 'yes');
    }

    return $reply->send(200, \@fresh, 'spare') if $req->header('X-Spare');
    return $reply->send(200, \@fresh, 'the target')
        if $req->header('X-Target');
    return $reply->send(200, \@fresh, "the page $1") if $path =~ m{/page/(.*)};
    return $reply->send($1, [ @fresh, 'Location' => '/target' ], 'an error')
        if $path =~ m{^/intercept/(\d+)$};

    if ($path =~ /chunked/) {
        $reply->head(200, @fresh, 'Transfer-Encoding' => 'chunked');
        $reply->chunk($text);
        return $reply->last_chunk();
    }

    if ($path =~ /slow/) {
        $reply->head(200, @fresh, 'Content-Length' => length $text);
        for my $part (unpack '(a1000)*', $text) {
            $reply->raw($part);
            $reply->delay(0.05);
        }
        return;
    }

    return $reply->send(200, [ @fresh, 'Connection' => 'X-Hop',
                               'X-Hop' => 'a', 'Keep-Alive' => 'b',
                               'X-End' => 'yes' ], 'hop') if $path eq '/hop';

    return $reply->send(200, [ @fresh, 'Accept-Ranges' => 'none' ], $text)
        if $path =~ /none/;

    return $reply->send(200, \@fresh, $text) if $path =~ /length/;

    return $reply->obey();
}
