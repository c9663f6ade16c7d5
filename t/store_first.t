#!/usr/bin/perl

# A client that has seen the end of a response may use it at once, here or on
# another instance, and finds it in the cache.  Who asks before Redis has the
# entry waits for the lock; but where it takes the place of another one, which
# would be served until then, the end waits until Redis has it.  That wait must
# never be long, and must end with Redis, with the client and with the worker,
# whatever happens to them meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Test::More;
use Time::HiRes qw(time sleep);
use RCache;

my $t = RCache->new();
my $redis = $t->redis();

# a connection that nginx keeps takes one of them
my $origin = $t->origin(\&origin, workers => 16);

my $conf = <<'CONF';
    redis_proxy_cache_zone      api:1m server=%%REDIS%%
                                connect_timeout=5s timeout=20s;
    redis_proxy_cache_budget    5s;
    redis_proxy_cache_client_control  on;
    redis_proxy_cache_max_size  4m;

    upstream kept {
        server     %%ORIGIN%%;
        keepalive  4;
    }

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_TLS%% ssl http2;

        ssl_certificate      %%CRT%%;
        ssl_certificate_key  %%CRT_KEY%%;

        keepalive_requests   10000;

        redis_proxy_cache    api;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /kept/ {
            proxy_pass          http://kept;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
        }

        location /direct/ {
            proxy_pass          http://kept;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
            proxy_buffering     off;
        }

        location /roomy/ {
            proxy_pass         http://%%ORIGIN%%;
            proxy_buffer_size  16k;
            proxy_buffers      20 16k;
        }

        location /gzip/ {
            proxy_pass       http://%%ORIGIN%%;
            gzip             on;
            gzip_types       text/plain;
            gzip_min_length  1;
        }

        location /ssi/ {
            proxy_pass  http://%%ORIGIN%%;
            ssi         on;
            ssi_types   text/plain;
        }

        location /short/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_budget  500ms;
        }

        location /short/direct/ {
            proxy_pass                http://kept;
            proxy_http_version        1.1;
            proxy_set_header          Connection "";
            proxy_buffering           off;
            redis_proxy_cache_budget  500ms;
        }

        location /short/ssi/ {
            proxy_pass                http://%%ORIGIN%%;
            ssi                       on;
            ssi_types                 text/plain;
            redis_proxy_cache_budget  500ms;
        }
    }
CONF

my ($crt, $crt_key) = $t->certificate();
$t->set(CRT => $crt, CRT_KEY => $crt_key);

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);

my $tls = 'https://127.0.0.1:' . $one->port('TLS');

my @reload = ('Cache-Control' => 'no-cache');

my ($r, $c, $took);

# without a pause, many times: on the same connection, on a new one, on the
# other instance

for (
    [ 'with length',         '/x/length',       [ ] ],
    [ 'chunked',             '/kept/chunked',   [ ] ],
    [ 'until it closes',     '/x/chunked',      [ ] ],
    [ 'large',               '/x/large',        [ ] ],
    [ 'large and chunked',   '/kept/large',     [ ] ],
    [ 'unbuffered, with length', '/direct/length', [ ] ],
    [ 'unbuffered, chunked', '/direct/chunked', [ ] ],
    [ 'empty',               '/x/empty',        [ ] ],
    [ 'compressed',          '/gzip/length', [ 'Accept-Encoding', 'gzip' ] ],
    [ 'a page with an include', '/ssi/page',    [ ] ],
    [ 'with Vary',           '/x/vary',         [ 'X-A', 'a' ] ],
    [ 'a 404',               '/x/404',          [ ] ],
    [ 'a 204',               '/x/204',          [ ] ],
    [ 'a redirect',          '/x/301',          [ ] ],
    [ 'by a range',          '/x/length', [ Range => 'bytes=0-1' ] ],
) {
    my ($name, $where, $headers, $method) = @$_;

    $method ||= 'GET';

    my $first = $one->connect();
    my $other = $two->connect();
    my ($id, $wrong, $n) = ($name =~ s/\W+/-/gr, 0, 0);
    my @plain = $name =~ /^by / ? () : @$headers;

    my $many = $where =~ /large/ ? 60 : 200;

    for (1 .. $many) {
        my $uri = "$where?$id-" . ++$n;

        my $r = $first->request($method, $uri, headers => $headers,
                                keepalive => 1);
        if (!$r || !$r->complete) {
            $wrong++;
            last;
        }

        # in turn, so that each is the first to ask sometimes

        my @ask = ($other, $first, undef);
        push @ask, splice @ask, 0, $n % 3;

        for my $conn (@ask) {
            my $hit = $conn
                ? $conn->request('GET', $uri, headers => \@plain,
                                 keepalive => 1)
                : $one->request('GET', $uri, headers => \@plain,
                                untagged => 1);

            $wrong++ if !$hit || !$hit->complete
                || !defined $hit->header('Age')
                || ($name !~ /^by |include/ && $hit->body ne $r->body);
        }
    }

    is($wrong, 0, "$name: $many times at once, all the rest are hits");
    is(scalar(grep { $_->uri =~ /^\Q$where?$id-\E/ } $origin->requests()),
       $many, 'the origin was asked once for each');

    $_->close() for $first, $other;
}

for my $n (1 .. 15) {
    my $uri = "/x/length?http2-$n";
    $one->curl('--http2', "$tls$uri");
    is($one->curl('--http2', "$tls$uri")->verdict, 'HIT -',
       "HTTP/2, $n: at once") if $n == 1;
    $two->get($uri);
}
is(scalar(grep { $_->uri =~ /http2-/ } $origin->requests()), 30,
   'HTTP/2: https and http are two keys, each asked for once');

for my $n (1 .. 50) {
    my $uri = "/x/length?old-$n";
    $one->request('GET', $uri, version => '1.0', untagged => 1);
    $two->request('GET', $uri, version => '1.0', untagged => 1);
}
is(scalar(grep { $_->uri =~ /old-/ } $origin->requests()), 50,
   'HTTP/1.0: a hit at once');

# what is included in a page can be asked for when the page is complete

my $missed = 0;
for my $n (1 .. 50) {
    $one->request('GET', "/ssi/part?$n", untagged => 1);
    $missed++ if $two->request('GET', "/x/tail?part$n", untagged => 1)
        && $origin->count("/x/tail?part$n") != 1;
}
is($missed, 0, 'what a page includes is stored when the page has ended');

# a Redis that stops to answer when the response is on its way: if nothing was
# there the client gets all of it, and who asks for it next waits for Redis

my @ways = (
    [ 'with length, HTTP/1.0', '/short/slow',    version => '1.0' ],
    [ 'with length',         '/short/slow' ],
    [ 'chunked',             '/short/slowly' ],
    [ 'unbuffered',          '/short/direct/slow' ],
    [ 'unbuffered, chunked', '/short/direct/slowly' ],
    [ 'a page with an include', '/short/ssi/slow' ],
    [ 'an empty body',       '/short/slowempty' ],
    [ 'a 204',               '/short/slow204' ],
    [ '100 KiB at once',     '/roomy/slowlarge' ],
    [ 'in HTTP/2',           '/short/slow' ],
);

for (@ways) {
    my ($name, $uri, %o) = @$_;

    my $word = 'new-' . $name =~ s/\W+/-/gr;

    if ($name eq 'in HTTP/2') {
        my $pid = http2($uri, $word);
        is(RCache::Util::stop_pid($pid, 0), 0, "new, $name: it has ended");

    } else {
        my $c = $one->begin('GET', "$uri?$word", %o);
        wait_for { $origin->count("$uri?$word") };
        $redis->freeze();
        $origin->say($word);
        my $r = $c->response('GET');
        ok($r && $r->complete, "new, $name: it has ended");
        $c->close();
    }

    my $next = $one->begin('GET', "$uri?$word");
    $redis->thaw();

    my $r = $next->response('GET');
    ok($r && $r->complete, 'who asks next waits');
    is($origin->count("$uri?$word"), $name eq 'in HTTP/2' ? 2 : 1, 'for that');
    $next->close();
}

# it takes the place of another one: the end is late, by the budget, and whole;
# what came before it is not

for (grep { $_->[1] !~ /empty|204|large/ && $_->[0] !~ /HTTP.2/ } @ways) {
    my ($name, $uri, %o) = @$_;

    my $word = $name =~ s/\W+/-/gr;
    $uri .= "?$word";

    my $c = again($uri, %o);

    # the first part comes while the origin is still at it

    my $first = wait_for {
        $c->fill(0.2);
        $c->{in} =~ /first/;
    } 10;
    ok($first, "$name: the first byte is not delayed");

    $redis->freeze();
    my ($start, $since) = (time(), clock());
    $origin->say($word);
    my $r = $c->response('GET');
    my ($took, $net) = (time() - $start, clock() - $since);
    $redis->thaw();

    ok($r->complete, 'it ends well');
    is($r->body, 'first, last', 'and is whole');
    ok($took > 0.3, 'the end waits for Redis') or diag($took);
    ok($net < 4, 'no longer than the budget') or diag($net);

    my $hit;
    ok(wait_for { $hit = $two->get($uri); $hit->verdict eq 'HIT -'
                  && $hit->body eq 'first, last' },
       'Redis has it when it answers again');
    $c->close();
}

# HTTP/2: the same

my $pid = http2('/short/slow', 'h2', 'again');
is(RCache::Util::stop_pid($pid, 0), 0, 'HTTP/2: the response ends well');
is(slurp($t->dir . '/h2'), 'first, last', 'and is whole');
$redis->thaw();

# an HTTP/2 client that resets its stream while the end is held

$pid = http2('/x/slow', 'h2-gone', 'again');
RCache::Util::stop_pid($pid, 'TERM');
sleep(0.1);
$redis->thaw();
ok(wait_for { $one->curl('--http2', "$tls/x/slow?h2-gone")->body
              eq 'first, last' }, 'HTTP/2: the client leaves: it is stored');
is($origin->count('/x/slow?h2-gone'), 2, 'by the one fetch');

# a response with nothing in it waits as well

for (
    [ 'an empty body',   '/short/slowempty' ],
    [ 'a 204',           '/short/slow204' ],
) {
    my ($name, $uri) = @$_;

    my $word = 'nothing-' . $name =~ s/\W+/-/gr;
    $uri .= "?$word";

    my $c = again($uri);
    wait_for { $origin->count($uri) == 2 };

    $redis->freeze();
    my ($start, $since) = (time(), clock());
    $origin->say($word);
    my $r = $c->response('GET');
    my ($took, $net) = (time() - $start, clock() - $since);
    $redis->thaw();

    ok($r && $r->complete, "$name: ends well");
    ok($took > 0.3, 'the end waits for Redis') or diag($took);
    ok($net < 4, 'no longer than the budget') or diag($net);
    $c->close();
    wait_for { $two->get($uri)->verdict eq 'HIT -' };
}

# Redis frozen all the time: all that it costs one request

$redis->freeze();
my $start = clock();
$r = $one->get('/short/length?frozen');
$took = clock() - $start;
$redis->thaw();
is($r->status, 200, 'a frozen Redis: a response');
ok($took < 4, 'the lookup and the store cost their budgets') or diag($took);
wait_for { $one->get('/short/length?again')->verdict };

# slow, but within the budget: the client has to wait, and it is stored

$c = held('/x/slow?lazy', 'lazy');
sleep(0.5);
ok(!IO::Select->new($c->{sock})->can_read(0), 'Redis is slow: no end yet');
$redis->thaw();
$r = $c->response('GET');
is($r && $r->body, 'first, last', 'then there is');
is($two->get('/x/slow?lazy')->body, 'first, last', 'and a hit at once');
$c->close();

# much of it comes at once: what is before the end is not held with it

for my $n (1 .. 5) {
    my $uri = "/roomy/slowlarge?roomy-$n";
    $c = again($uri);
    ok(wait_for { $origin->count($uri) == 2 }, "100 KiB at once, $n");

    $redis->freeze();
    $origin->say("roomy-$n");

    my $front = wait_for { $c->fill(0.2); length $c->{in} > 65536 } 3;

    ok($front, 'the client gets most of it, without Redis');
    $c->fill(0.2) for 1 .. 3;
    cmp_ok(length $c->{in}, '<', 102400, 'but not the end');
    $redis->thaw();
    $r = $c->response('GET');
    is(length $r->body, 102400, 'which comes when it is stored');
    is(length $two->get($uri)->body, 102400, 'as a hit shows');
    $c->close();
}

# the client leaves while its end is held: nothing else happens

for my $way ('close', 'reset') {
    $c = held("/x/slow?gone-$way", "gone-$way");
    $c->$way();
    sleep(0.1);
    $redis->thaw();
    ok(wait_for { $two->get("/x/slow?gone-$way")->body eq 'first, last' },
       "the client leaves by $way: it is stored");
    is($one->get("/x/slow?gone-$way")->body, 'first, last', 'whole');
    is($origin->count("/x/slow?gone-$way"), 2, 'by the one fetch');
}

# leaves, and Redis never answers

$c = held('/x/slow?gone-both', 'gone-both');
$c->close();
sleep(0.2);
$redis->stop();
is($one->get('/x/length?after-both')->status, 200,
   'the client and Redis leave: nginx stays');
$redis->start();
ok(wait_for { $one->get('/x/length?up')->verdict =~ /^(?:MISS -|HIT)/ },
   'Redis is back');
wait_for { $two->get('/x/length?up2')->verdict =~ /^(?:MISS -|HIT)/ };

# pipelined requests behind one that is held

$one->get('/x/slow?pipe', 'X-Now' => 1);
$c = $one->connect();
$c->send(RCache::HTTP::format_request('GET', '/x/slow?pipe', keepalive => 1,
                                      headers => [ @reload ]),
         RCache::HTTP::format_request('GET', '/x/length?pipe'));
wait_for { $c->fill(0.2); $c->{in} =~ /first/ };
$redis->freeze();
$origin->say('pipe');
sleep(0.3);
$redis->thaw();
is($c->response('GET')->body, 'first, last', 'pipelined: the one that is held');
$r = $c->response('GET');
like($r && $r->body, qr/^body /, 'and the one behind it');
$c->close();

# Redis is killed while the end is held: it is let go at once

$c = held('/x/slow?killed', 'killed');
$start = clock();
$redis->stop();
$r = $c->response('GET');
$took = clock() - $start;
is($r && $r->body, 'first, last', 'Redis dies: the end comes');
ok($r && $r->complete, 'and is whole');
ok($took < 3, 'at once, not after the budget') or diag($took);
$c->close();

$redis->start();
ok(wait_for { $one->get('/x/length?alive')->verdict =~ /^(?:MISS -|HIT)/ },
   'Redis is back');

# many at once are held and let go

my @held = map { again("/x/slow?crowd&$_") } 1 .. 4;
wait_for { my $c = $_; $c->fill(0.2); $c->{in} =~ /first/ } for @held;
$redis->freeze();
$origin->say('crowd');
sleep(0.3);
$redis->thaw();
is(scalar(grep { my $r = $_->response('GET'); $r && $r->complete
                 && $r->body eq 'first, last' } @held), 4,
   'four at once are held and let go');
$_->close() for @held;

# a reload: the old worker ends its responses, then goes

$c = held('/x/slow?reload', 'reload');
my @old = $one->workers();
ok($one->reload(), 'a reload while the end is held');
sleep(0.2);
$redis->thaw();
$r = $c->response('GET');
is($r && $r->body, 'first, last', 'the response ends');
ok($r && $r->complete, 'well');
is($two->get('/x/slow?reload')->body, 'first, last',
   'it was stored before that');
$c->close();
ok(wait_for { my %now = map { $_ => 1 } $one->workers();
              !grep { $now{$_} } @old }, 'the old worker goes');
is($one->get('/x/slow?reload')->verdict, 'HIT -', 'the new one serves');

# the same with a Redis that does not come back in time

$c = held('/short/slow?reload2', 'reload2');
@old = $one->workers();
ok($one->reload(), 'a reload, and Redis does not answer');
$r = $c->response('GET');
is($r && $r->body, 'first, last', 'the response ends');
$redis->thaw();
$c->close();
ok(wait_for { my %now = map { $_ => 1 } $one->workers();
              !grep { $now{$_} } @old }, 'the old worker goes');

# and when nginx is to stop

$c = held('/x/slow?stop', 'stop');
kill 'QUIT', $one->running();
sleep(0.2);
$redis->thaw();
$r = $c->response('GET');
is($r && $r->body, 'first, last', 'nginx stops gracefully: the response ends');
is($two->get('/x/slow?stop')->body, 'first, last', 'and is stored');
$c->close();

# nobody waits for the store, and it is not lost with the worker

my $three = $t->nginx($conf);
$c = $three->begin('GET', '/x/slow?leave');
wait_for { $origin->count('/x/slow?leave') };
$redis->freeze();
$origin->say('leave');
$r = $c->response('GET');
is($r && $r->body, 'first, last', 'a response ends, and nginx stops');
kill 'QUIT', $three->running();
ok($three->wait_line('gracefully shutting down', 10), 'as it has heard');
$redis->thaw();
ok(wait_for { $two->get('/x/slow?leave')->verdict eq 'HIT -' }, 'it is stored');
is($origin->count('/x/slow?leave'), 1, 'by the one fetch');
$c->close();

$t->done();


# a request whose response takes the place of one that is there

sub again {
    my ($uri, %o) = @_;

    $one->get($uri, 'X-Now' => 1);

    return $one->begin('GET', $uri, %o, headers => [ @reload ]);
}


# a connection on which all but the end of such a response has come: Redis is
# frozen and the origin is done

sub held {
    my ($uri, $word) = @_;

    my $c = again($uri);
    wait_for { $c->fill(0.2); $c->{in} =~ /first/ } 10
        or fail("$uri: the first part does not come");

    $redis->freeze();
    $origin->say($word);
    sleep(0.15);

    return $c;
}


# the same for a client of HTTP/2, if it is to be one: the process that it is,
# and what came of it in the file of that word

sub http2 {
    my ($uri, $word, $again) = @_;

    my $file = $t->dir . "/$word";
    $one->curl('--http2', '-H', 'X-Now: 1', "$tls$uri?$word") if $again;

    my $pid = RCache::Util::spawn(
        argv => [ qw(curl -s -N -k --http2 -o), $file,
                  $again ? ('-H', join ': ', @reload) : (), "$tls$uri?$word" ],
        log => "$file.err"
    );

    wait_for { -s $file } 10
        or fail("$uri: the first part does not come");

    $redis->freeze();
    $origin->say($word);
    sleep(0.15);

    return $pid;
}


sub origin {
    my ($req, $reply) = @_;

    # what is sent in pieces is not to wait for an acknowledgement
    setsockopt($reply->{sock}, IPPROTO_TCP, TCP_NODELAY, 1);

    my ($kind) = $req->path =~ m{/(\w+)$};
    my ($word) = $req->query =~ /^([\w-]+)/;

    my @headers = ('Cache-Control' => 'max-age=60', ETag => '"e"',
                   'Content-Type' => 'text/plain');
    my $body = 'body ' . $req->n;

    if ($kind =~ /^slow/ && !$req->header('X-Now')) {

        if ($kind eq 'slow204' || $kind eq 'slowempty') {
            $reply->wait_word($word);
            return $kind eq 'slow204' ? $reply->head(204, @headers)
                                      : $reply->send(200, \@headers, '');
        }

        if ($kind eq 'slowlarge') {
            $reply->wait_word($word);
            return $reply->send(200, \@headers, 'x' x 102400);
        }

        my $chunked = $kind eq 'slowly' && $req->{version} eq 'HTTP/1.1';

        if ($chunked) {
            $reply->head(200, @headers, 'Transfer-Encoding' => 'chunked');
            $reply->chunk('first, ');

        } else {
            $reply->close() if $kind eq 'slowly';
            $reply->head(200, @headers, $kind eq 'slowly' ? ()
                         : ('Content-Length' => 11),
                         'X-Accel-Buffering' => 'no');
            $reply->raw('first, ');
        }

        $reply->wait_word($word);

        if ($chunked) {
            $reply->chunk('last');
            $reply->last_chunk();
        } else {
            $reply->raw('last');
        }

        return;
    }

    $body = 'large' x 40000 . $body if $kind eq 'large';

    if ($kind eq 'page') {
        return $reply->send(200, \@headers,
                            '[<!--#include virtual="/x/tail" -->]');
    }

    if ($kind eq 'part') {
        return $reply->send(200, \@headers, '[<!--#include '
            . 'virtual="/x/tail?part' . $req->query . '" -->]');
    }

    if ($kind eq 'vary') {
        return $reply->send(200, [ @headers, Vary => 'X-A' ], $body);
    }

    if ($kind eq '204') {
        return $reply->head(204, @headers);
    }

    if ($kind eq 'empty') {
        return $reply->send(200, \@headers, '');
    }

    if ($kind eq 'chunked' || ($kind eq 'large'
                               && $req->path =~ m{^/kept/}))
    {
        if ($req->{version} eq 'HTTP/1.1') {
            $reply->head(200, @headers, 'Transfer-Encoding' => 'chunked');
            $reply->chunk($body);
            $reply->last_chunk();
            return;
        }

        $reply->close();
        $reply->head(200, @headers);
        $reply->raw($body);
        return;
    }

    $reply->send($kind =~ /^(?:404|301)$/ ? $kind : 200, \@headers, $body);
}
