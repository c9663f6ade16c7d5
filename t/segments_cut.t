#!/usr/bin/perl

# A body is on its way for a while, and anything may end in between: the
# upstream, the client, Redis, a segment that is evicted.  Whatever it is, a
# client never takes for whole what is not, an entry is never there without
# its segments, and no key stays for ever.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use RCache;

my $size = 1_500_000;
my $segment = 65536;
my $count = int(($size + $segment - 1) / $segment);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=30s timeout=30s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_lock_timeout  30s;
    redis_proxy_cache_lock_age      30s;
    redis_proxy_cache_segment_size  64k;
    redis_proxy_cache_max_size      100m;
    redis_proxy_cache_in_flight     32m 32m;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_SLOW%% sndbuf=16k;

        redis_proxy_cache         api;
        redis_proxy_cache_bypass  $http_x_bypass;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /alone/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_lock  off;
        }

        location /little/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_segment_size  64k;
            redis_proxy_cache_in_flight     700k 2m;
        }

        location /unbuffered/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }
    }
CONF

my $whole = md5_hex(body());

sub key { return "api:{http://localhost$_[0]}" }

sub segments { my @keys = $redis->keys(key($_[0]) . ':s:*'); return @keys }


# the upstream breaks off

for my $location ('/', '/unbuffered/') {
    for my $how ('length', 'chunked', 'reset') {
        my $uri = "${location}cut-$how";

        my $r = $nginx->get($uri);
        ok(!$r->complete, "$uri: it does not look whole");
        $nginx->settle();
        is($redis->exists(key($uri)), 0, 'there is no entry');
        ok(wait_for { !segments($uri) }, 'nor are there segments');

        $r = $nginx->get($uri);
        is(md5_hex($r->body), $whole, 'the next one is whole');
        is($r->verdict, 'MISS -', 'and stored');
        is($nginx->get($uri)->verdict, 'HIT -', 'as a hit shows');
    }
}


# the client goes away while it is stored

for my $location ('/', '/alone/') {
    my $uri = "${location}pause-1" . ($location eq '/' ? '' : '0');

    my $c = start($uri, 150_000);
    ok(wait_for { segments($uri) }, "$uri: the first segments are stored");
    is(scalar(grep { my $ttl = $redis->pttl($_);
                     $ttl < 0 || $ttl > 120_000 } segments($uri)), 0,
       'none of them lives for long');
    is($redis->exists(key($uri)), 0, 'without an entry');
    $c->reset();
    $nginx->settle();
    $origin->say($uri =~ s{.*/}{}r);

    if ($location eq '/') {
        ok($redis->wait_key(key($uri)), 'the leader goes on');
        is($nginx->get($uri)->verdict, 'HIT -', 'for the next one');

    } else {
        ok(wait_for { !segments($uri) }, 'nobody else waits: all of it goes');
        is($nginx->get($uri)->verdict, 'MISS -', 'and is fetched again');
    }

    is(md5_hex($nginx->get($uri)->body), $whole, 'and whole');
}


# the client goes away while it is served

{
    my $uri = '/leave';
    $nginx->get($uri);
    $redis->cmd('CONFIG', 'RESETSTAT');

    my $c = start($uri, 100_000);
    $c->reset();
    $nginx->settle();

    cmp_ok($redis->calls('get'), '<', $count,
           'what nobody reads is not fetched');
}


# a client that reads slowly has it all in the end, also if the entry is
# another one by then

{
    my $uri = '/slow';
    $nginx->get($uri);

    my $c = start($uri, 100_000);
    is($nginx->get($uri, 'X-Bypass' => 1)->verdict, 'BYPASS -',
       'there is another entry');
    ok(wait_for { 2 * $count == segments($uri) }, 'and other segments');
    my $r = $c->response();
    is(md5_hex($r->body), $whole, 'the old one is read to its end');

    $c = start($uri, 100_000);
    $redis->cmd('DEL', key($uri));
    $r = $c->response();
    is(md5_hex($r->body), $whole, 'also if there is none any more');
}


# a segment is evicted, or damaged, before anything is said

for my $what ('gone', 'garbage', 'of another body', 'the wrong one') {
    for my $n (0, 7, $count - 1) {
        next if $n && $what ne 'gone';

        my $uri = "/before";
        $nginx->get($uri, 'X-Bypass' => 1);
        spoil($uri, $n, $what);

        $nginx->tolerate(qr/unusable entry/);
        my $r = $nginx->get($uri);
        is($r->verdict, 'MISS -', "segment $n is $what: a miss");
        is(md5_hex($r->body), $whole, 'which is whole');
        $r = $nginx->get($uri);
        is($r->verdict, 'HIT -', 'and mends it');
        is(md5_hex($r->body), $whole, 'for all');
    }
}


# the same behind the first byte

for my $what ('gone', 'garbage', 'of another body', 'the wrong one') {
    my $uri = "/after";
    $nginx->get($uri, 'X-Bypass' => 1);

    my $c = start($uri, 100_000);
    spoil($uri, $count - 2, $what);

    my $r = $c->response();
    ok(!$r->complete, "the last but one is $what: it does not look whole");
    is(md5_hex($r->body), md5_hex(substr body(), 0, length $r->body),
       'what came is right');
    ok(wait_for { !$redis->exists(key($uri)) }, 'the entry is dropped');
    is($nginx->get($uri)->verdict, 'MISS -', 'the next one is a miss');
}


# the same to a client that knows the end by the end of the connection

{
    my $uri = '/after';
    my $c = $nginx->begin('GET', $uri, version => '1.0', to => 'SLOW');
    $c->fill_to(100_000);
    spoil($uri, $count - 2, 'gone');
    my $r = $c->response();
    ok(!$r->complete, 'HTTP/1.0: it does not look whole');
}


# Redis forgets it all between two segments

{
    my $uri = '/pause-2';
    my $c = start($uri, 150_000);
    ok(wait_for { segments($uri) }, 'the first segments are stored');
    $redis->flush();
    $origin->say('pause-2');
    my $r = $c->response();
    is(md5_hex($r->body), $whole, 'Redis was flushed: the client has it all');
    $nginx->settle();
    is($redis->exists(key($uri)), 0, 'an entry without segments is not made');
    ok(wait_for { !segments($uri) }, 'and those that came later go');
}


# Redis has no memory for more

{
    my $uri = '/pause-3';
    my $c = start($uri, 150_000);
    ok(wait_for { segments($uri) }, 'the first segments are stored');
    $redis->cmd('CONFIG', 'SET', 'maxmemory', 1);
    $origin->say('pause-3');
    my $r = $c->response();
    is(md5_hex($r->body), $whole, 'Redis is full: the client has it all');
    $redis->cmd('CONFIG', 'SET', 'maxmemory', 0);
    ok(wait_for { !segments($uri) }, 'no segment is left');
    is($redis->exists(key($uri)), 0, 'and no entry');
}


# Redis stands still: the client does not

{
    my $uri = '/little/pause-4';
    my $c = start($uri, 150_000);
    ok(wait_for { segments($uri) }, 'the first segments are stored');
    $redis->freeze();
    $origin->say('pause-4');
    my $r = $c->response();
    is(md5_hex($r->body), $whole, 'Redis is frozen: the client has it all');
    $redis->thaw();
    $nginx->settle();
    is($redis->exists(key($uri)), 0, 'it was given up');
    ok(wait_for { !segments($uri) }, 'and what was stored goes');
}


# Redis is killed, while a body is stored and while one is served

{
    my $uri = '/pause-5';
    my $hit = '/killed';
    $nginx->get($hit);
    is($nginx->get($hit)->verdict, 'HIT -', 'a body is there');

    my $reader = start($hit, 100_000);
    my $c = start($uri, 150_000);
    ok(wait_for { segments($uri) }, 'the first segments are stored');
    $redis->stop();
    $origin->say('pause-5');
    my $r = $c->response();
    is(md5_hex($r->body), $whole, 'Redis is killed: the client has it all');
    $r = $reader->response();
    ok(!$r->complete, 'a hit does not look whole');
    is(md5_hex($r->body), md5_hex(substr body(), 0, length $r->body),
       'but what came is right');
    is(md5_hex($nginx->get($hit)->body), $whole, 'the next one has it all');
    $redis->start();
    $nginx->settle();
    $nginx->get($hit);
    is($nginx->get($hit)->verdict, 'HIT -', 'and then it is stored again');
}


# two at once

{
    my $uri = '/alone/pause-6';
    my @c = map { start($uri, 150_000) } 1 .. 2;
    ok(wait_for { ids($uri) == 2 }, 'two bodies are on their way');
    $origin->say('pause-6');
    is(md5_hex($_->response()->body), $whole, 'each client has it all') for @c;
    $nginx->settle();
    my $r = $nginx->get($uri);
    is($r->verdict, 'HIT -', 'one of them is there');
    is(md5_hex($r->body), $whole, 'and whole');
}


# the worker is killed

{
    my $uri = '/pause-7';
    my $c = start($uri, 150_000);
    ok(wait_for { segments($uri) }, 'the first segments are stored');
    my ($worker) = $nginx->workers();
    kill 'KILL', $worker;
    wait_for { grep { $_ != $worker } $nginx->workers() };
    $nginx->tolerate(qr/exited on signal 9/);
    $origin->say('pause-7');
    is($redis->exists(key($uri)), 0, 'there is no entry');
    is(scalar(grep { $redis->pttl($_) > 120_000 } segments($uri)), 0,
       'and no segment stays for more than two minutes');
    $redis->cmd('DEL', key($uri) . ':l');
    is(md5_hex($nginx->get($uri)->body), $whole, 'the next one has it all');
}

$t->done();


# A client that has read so much and goes on when response() is called.

sub start {
    my ($uri, $bytes) = @_;

    my $c = $nginx->begin('GET', $uri, to => 'SLOW');
    $c->fill_to($bytes);

    return $c;
}


sub ids {
    my ($uri) = @_;

    my %ids = map { /:s:(\w+):\d+$/ ? ($1 => 1) : () } segments($uri);
    return scalar keys %ids;
}


sub spoil {
    my ($uri, $n, $what) = @_;

    $redis->wait_key(key($uri));
    my ($id) = RCache::Entry->read($redis, key($uri))->{id};
    my $key = key($uri) . ":s:$id";

    if ($what eq 'gone') {
        is($redis->cmd('DEL', "$key:$n"), 1, "segment $n is there");
        return;
    }

    my $value = $redis->get("$key:$n");

    if ($what eq 'garbage') {
        substr $value, 5000, 1, chr(1 ^ ord substr $value, 5000, 1);

    } elsif ($what eq 'of another body') {
        substr $value, 8, 1, chr(1 ^ ord substr $value, 8, 1);

    } else {
        $value = $redis->get("$key:" . ($n + ($n ? -1 : 1)));
    }

    $redis->cmd('SET', "$key:$n", $value, 'PX', 60000);
    return;
}


my $made;

sub body { return $made //= noise($size) }


sub origin {
    my ($req, $reply) = @_;

    my ($location, $how) = $req->path =~ m{^(.*/)(.*)$};
    my @headers = ('Cache-Control' => 'max-age=600');
    my $seen = "$reply->{dir}/seen-" . ($req->path =~ tr{/}{_}r);
    my $first = !-e $seen;

    spit($seen, '');

    if ($how =~ /^pause-/) {
        $reply->head(200, @headers, 'Content-Length' => $size);
        $reply->raw(substr body(), 0, 600_000);
        $reply->wait_word($how);
        $reply->raw(substr body(), 600_000);
        return;
    }

    if ($how !~ /^cut-/ || !$first) {
        return $reply->send(200, \@headers, body());
    }

    $reply->close();

    if ($how eq 'cut-chunked') {
        $reply->head(200, @headers, 'Transfer-Encoding' => 'chunked');
        $reply->chunk(substr body(), 0, 600_000);

    } else {
        $reply->head(200, @headers, 'Content-Length' => $size);
        $reply->raw(substr body(), 0, 600_000);
    }

    $reply->reset() if $how eq 'cut-reset';
}
