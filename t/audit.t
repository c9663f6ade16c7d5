#!/usr/bin/perl

# A key that forgets something serves one user's page to another, and nothing
# shows it: not an error, not a counter.  The audit asks the upstream what it
# would have sent, behind the back of some hits, and tells where it is not what
# the client got; without storing anything, and without a word of what is in
# headers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Status;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin, workers => 8);
my $gone = $t->origin(\&origin, name => 'GONE', workers => 1);

my $nginx = $t->nginx(<<'CONF', level => 'info');
    redis_proxy_cache_zone    api:2m server=%%REDIS%% connect_timeout=20s
                              timeout=20s;
    redis_proxy_cache_budget  20s;

    redis_proxy_cache_key           $uri;
    redis_proxy_cache_segment_size  64k;
    redis_proxy_cache_methods       POST;
    redis_proxy_cache_key_body      1k;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache        api;
        redis_proxy_cache_audit  100%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /small/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_compress        zstd pass;
            redis_proxy_cache_compress_types  text/plain;
        }

        location /off/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_audit  off;
        }

        location /some/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_audit  10%;
        }

        location /gone/ {
            proxy_pass  http://%%GONE%%;
        }

        location /inner/ {
            internal;
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  off;
        }

        location /status {
            redis_proxy_cache_status;
        }
    }
CONF

my ($r, $entry, $was);

# the same

ask('/same');
$entry = $redis->get('api:{/same}');
$r = audited('/same', 'same');
is($r->verdict, 'HIT -', 'a hit');
is($origin->count('/same'), 2, 'the origin was asked once more');
is($redis->get('api:{/same}'), $entry, 'the entry is as it was');
is_deeply([ $redis->keys() ], [ 'api:{/same}' ], 'and there is nothing else');

my $label = counts();
is($label->{fetches}{audit}, 1, 'that fetch is counted as such');
is($label->{fetches}{request}, 1, 'and not as one of a client');
is($label->{requests}{hit}, 1, 'the client has its hit');
is($label->{requests}{miss}, 1, 'and there is no other miss');
is($label->{stores}{stored}, 1, 'nothing was stored');

# what is for one user: told once, by name

ask('/user', Cookie => 'session=alice');
$nginx->mark();
$r = audited('/user', 'differs', Cookie => 'session=bob');
like($r->body, qr/alice/, 'he got hers');
ok($nginx->wait_line('redis_proxy_cache_audit'), 'that is told');
my ($line) = $nginx->lines('redis_proxy_cache_audit');
like($line, qr/\[warn\]/, 'as a warning');
like($line, qr/served for "api:\{\/user\}": another body, with status 200 /,
     'for the key');
like($line, qr/headers that differ: "Set-Cookie, ETag, X-Who"/,
     'with the names of headers');
unlike($line, qr/alice|bob/, 'and nothing of what is in them');

audited('/user', 'differs', Cookie => 'session=eve');
is(scalar($nginx->lines('redis_proxy_cache_audit')), 1, 'once for a key');

# a body that is never the same; headers alone do not count

ask('/time');
audited('/time', 'differs');
ask('/headers');
audited('/headers', 'same');

# a variant, with what the client's request has

ask('/vary', 'X-Lang' => 'en');
ask('/vary', 'X-Lang' => 'de');
$r = audited('/vary', 'same', 'X-Lang' => 'en');
is($r->body, 'in en', 'its own');
is($origin->latest('/vary')->header('X-Lang'), 'en', 'and asked for as such');

# with the client's conditions the upstream would not send all of it

ask('/match');
$r = audited('/match', 'same', 'If-None-Match' => '"v1"', Accept => 'a/b');
is($r->status, 304, 'a client that has it');
is($origin->latest('/match')->header('If-None-Match'), undef,
   'the upstream is not asked with its condition');
is($origin->latest('/match')->header('Accept'), 'a/b', 'but as it asked');
$r = audited('/match', 'same', Range => 'bytes=0-1');
is($r->status, 206, 'a range');
is($origin->latest('/match')->header('Range'), undef, 'nor for a part');

# kept compressed; in segments; large, and spooled

ask('/small/a');
like($redis->get('api:{/small/a}'), qr/\A.{88}/s, 'there is an entry');
cmp_ok(length $redis->get('api:{/small/a}'), '<', 2000, 'which is compressed');
audited('/small/a', 'same');
$r = audited('/small/a', 'same', 'Accept-Encoding' => 'zstd');
is($r->header('Content-Encoding'), 'zstd', 'also if it is sent as it is kept');
ask('/large');
audited('/large', 'skipped');
ask('/chunks');
audited('/chunks', 'same');

# it fails, or is another one

for my $case (
    [ 503 => 'failed' ], [ 429 => 'failed' ], [ 404 => 'differs' ],
    [ 302 => 'differs' ], [ 'cut' => 'failed' ], [ 'reset' => 'failed' ],
    [ 'inner' => 'skipped' ],
) {
    my ($then, $result) = @$case;

    ask("/then/$then");
    audited("/then/$then", $result);
    is($nginx->get("/then/$then")->body, 'first', 'what is there stays');
}

ask('/gone/a');
$gone->stop();
audited('/gone/a', 'failed');

# others are not audited

$was = $origin->count();
$nginx->head('/same');
$nginx->request('POST', '/post', body => 'q') for 1, 2;
$nginx->request('GET', '/post', body => 'q') for 1, 2;
ask('/off/a');
ask('/off/a');
audited('/same', 'same');
is($origin->count() - $was, 4, 'HEAD, bodies and where it is off');

# the client does not wait, and the number is bounded

ask("/hold/$_") for 1 .. 6;
my $before = counts();
for my $n (1 .. 6) {
    $r = $nginx->get("/hold/$n");
    is($r->verdict, 'HIT -', 'a client has its answer');
}
ok(wait_for { counts()->{audits}{skipped} - $before->{audits}{skipped} == 2 },
   'of six audits two are left out');
ok(wait_for { grep({ $_->uri =~ /hold/ } $origin->requests()) == 10 },
   'four are under way');
is(counts()->{audits}{same}, $before->{audits}{same}, 'and none has ended');
$origin->say('go');
ok(wait_for { counts()->{audits}{same} - $before->{audits}{same} == 4 },
   'until the upstream answers');

# an answer that comes when the entry is no longer fresh says nothing

ask('/late');
$before = counts();
is($nginx->get('/late')->verdict, 'HIT -', 'a hit');
RCache::Entry->wait_stale($redis, 'api:{/late}');
$origin->say('late');
ok(wait_for { counts()->{audits}{skipped} - $before->{audits}{skipped} == 1 },
   'whose audit comes too late');

# a share of them

ask('/some/a');
$before = counts();
$was = $origin->count('/some/a');
$nginx->get('/some/a') for 1 .. 400;
ok(wait_for {
    my $now = counts()->{audits};
    $now->{same} + $now->{skipped} - $before->{audits}{same}
        - $before->{audits}{skipped} >= 15;
}, 'a tenth of 400');
my $some = $origin->count('/some/a') - $was;
cmp_ok($some, '<', 80, 'and not much more');

# the format

is(RCache::Status::promtool($t->dir,
    $nginx->get('/status?format=prometheus')->body), '',
   'promtool has nothing to say');

$t->done();


# The first request for it, which is stored.

sub ask {
    my ($uri, @headers) = @_;

    my $r = $nginx->get($uri, 'X-First' => 1, @headers);
    $redis->wait_key("api:{$uri}") or die "$uri is not stored\n";

    return $r;
}


sub counts { return RCache::Status->label('default', $nginx) }


# A hit whose audit comes out like that.

sub audited {
    my ($uri, $result, @headers) = @_;

    my $before = counts();
    my $r = $nginx->get($uri, @headers);
    my %got;

    wait_for {
        my $now = counts();
        %got = map { $_ => $now->{audits}{$_} - $before->{audits}{$_} }
               keys %{ $now->{audits} };
        return grep { $_ } values %got;
    };

    is_deeply({ map { $_ => $got{$_} } grep { $got{$_} } keys %got },
              { $result => 1 }, "$uri: $result");

    return $r;
}


sub origin {
    my ($req, $reply) = @_;

    my $path = $req->path;
    my @say = ('Cache-Control' => 'max-age=600', 'Content-Type' => 'text/plain',
               ETag => '"v1"');

    if ($path eq '/user') {
        my ($who) = ($req->header('Cookie') // '') =~ /session=(\w+)/;
        my @cookie = $who eq 'alice' ? () : ('Set-Cookie' => "seen=$who");

        return $reply->send(200, [ 'Cache-Control' => 'max-age=600',
            ETag => "\"$who\"", 'X-Who' => $who, 'X-Same' => 1, @cookie ],
            "hello $who");
    }

    return $reply->send(200, \@say, 'now it is ' . $req->n)
        if $path eq '/time';
    return $reply->send(200, [ @say, 'X-Time' => $req->n ], 'same')
        if $path eq '/headers';

    if ($path eq '/vary') {
        my $lang = $req->header('X-Lang');
        return $reply->send(200, [ @say, Vary => 'X-Lang' ], "in $lang");
    }

    my $first = $req->header('X-First');

    if ($path eq '/late') {
        $reply->wait_word('late') if !$first;
        return $reply->send(200, [ 'Cache-Control' => 'max-age=1' ], 'late');
    }

    if ($path =~ /^\/hold/) {
        $reply->wait_word('go') if !$first;
        return $reply->send(200, \@say, 'held');
    }

    if ($path =~ /^\/then\/(\w+)/ && !$first) {
        my $then = $1;

        if ($then eq 'cut') {
            $reply->head(200, @say, 'Content-Length' => 5);
            $reply->raw('fir');
            return $reply->close();
        }

        return $reply->reset() if $then eq 'reset';
        return $reply->send(200, [ 'X-Accel-Redirect' => '/inner/x' ], '')
            if $then eq 'inner';
        return $reply->send($then, [ @say, Location => '/x' ], 'other');
    }

    return $reply->send(200, \@say, 'first') if $path =~ /^\/then/;
    return $reply->send(200, \@say, 'z' x 20_000) if $path =~ /^\/small/;
    return $reply->send(200, \@say, 'z' x 200_000) if $path eq '/large';

    if ($path eq '/chunks') {
        $reply->head(200, @say, 'Transfer-Encoding' => 'chunked');
        $reply->chunk($_ x 7000) for 'a' .. 'g';
        return $reply->last_chunk();
    }

    return $reply->send(200, \@say, 'answer');
}
