#!/usr/bin/perl

# What large bodies have to do with all the rest: those who wait for a fetch
# share it, here and at another instance; variants, refreshes behind the
# scenes and unsafe methods find the segments that are theirs; a reload cuts
# nobody off; and memory does not grow with the size of a body.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use RCache;

my $size = 1_000_000;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_segment_size  64k;
    redis_proxy_cache_lock_age      60s;
    redis_proxy_cache_lock_timeout  60s;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_SLOW%% sndbuf=16k;

        redis_proxy_cache  api;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /behind/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  updating;
        }

        location /huge/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_in_flight  1m 4m;
        }
    }
CONF

my @nginx = map { $t->nginx($conf, workers => $_) } 2, 1;

my $whole = md5_hex(body('one'));

sub key { return "api:{http://localhost$_[0]}" }

sub segments { my @keys = $redis->keys(key($_[0]) . ':s:*'); return @keys }


# one fetch for all, in two workers and at another instance

{
    my $crowd = $t->crowd(ports => [ map { $_->port() } @nginx ],
                          clients => 24, processes => 2, uri => '/crowd')->go();

    ok(wait_for { $origin->count('/crowd') }, 'the upstream is asked');
    $origin->say('crowd');

    my @answers = $crowd->answers();
    is(scalar(grep { $_->{complete} && $_->{md5} eq $whole } @answers), 24,
       'everybody has all of it');
    is($origin->count('/crowd'), 1, 'by one fetch');
}


# variants have segments of their own, under the same key

{
    for my $round (1 .. 2) {
        for my $language ('de', 'en') {
            my $r = $nginx[0]->get('/vary', 'Accept-Language' => $language);
            is($r->verdict, $round == 1 ? 'MISS -' : 'HIT -',
               "$language, $round");
            is(md5_hex($r->body), md5_hex(body($language)), 'is its own');
        }
        $nginx[0]->settle();
    }

    is(scalar segments('/vary'), 2 * 16, 'two times sixteen segments');
}


# a refresh behind the scenes

{
    my $uri = '/behind/refresh';

    $nginx[0]->get($uri);
    $redis->wait_key(key($uri));
    my %old = map { $_ => 1 } segments($uri);
    RCache::Entry->wait_stale($redis, key($uri));

    my $r = $nginx[0]->get($uri);
    is($r->verdict, 'STALE expired', 'what is stale is sent at once');
    is(md5_hex($r->body), $whole, 'and is whole');

    ok(wait_for { grep { !$old{$_} } segments($uri) }, 'it is refreshed');
    $nginx[0]->settle();
    $r = $nginx[0]->get($uri);
    is(md5_hex($r->body), $whole, 'the new one is whole');
    ok(wait_for { !grep { $old{$_} && $redis->pttl($_) > 120_000 }
                        segments($uri) },
       'the old segments go');
}


# an unsafe method

{
    my $uri = '/unsafe';

    $nginx[0]->get($uri);
    my $c = start($nginx[0], $uri, 100_000);
    $nginx[0]->request('DELETE', $uri);
    is($redis->exists(key($uri)), 0, 'the entry is removed');
    ok(wait_for { !grep { $redis->pttl($_) > 120_000 } segments($uri) },
       'its segments have two minutes');
    is(md5_hex($c->response()->body), $whole, 'for who reads them');
    is($nginx[0]->get($uri)->verdict, 'MISS -', 'the next one is a miss');
}


# a reload

{
    my $uri = '/reload';

    $nginx[1]->get($uri);
    my $c = start($nginx[1], $uri, 100_000);
    my $storing = start($nginx[1], '/pause', 100_000);
    $nginx[1]->reload();
    $origin->say('pause');
    is(md5_hex($c->response()->body), $whole, 'a hit goes on over a reload');
    is(md5_hex($storing->response()->body), $whole, 'so does a miss');
    $nginx[1]->settle();
    is($nginx[1]->get('/pause')->verdict, 'HIT -', 'which is stored');
}


# memory

SKIP: {
    skip 'the sanitizer takes memory as it likes', 1 if $ENV{ASAN_OPTIONS};

    $nginx[1]->get('/warm');
    $nginx[1]->get('/warm');
    my $before = $nginx[1]->rss();

    my @c = map { start($nginx[1], "/huge/$_", 50_000) } 1 .. 8;
    while (@c) {
        $_->{in} = '' for @c;
        @c = grep { $_->fill() } @c;
    }

    my ($worker) = $nginx[1]->workers();
    my ($peak) = slurp("/proc/$worker/status") =~ /^VmHWM:\s+(\d+)/m;
    cmp_ok($peak - $before, '<', 24 * 1024,
           'eight bodies of 20 MiB at once take less than 24 MiB');
}

$t->done();


sub start {
    my ($nginx, $uri, $bytes) = @_;

    my $c = $nginx->begin('GET', $uri, to => 'SLOW');
    $c->fill_to($bytes);

    return $c;
}


my %made;

sub body {
    my ($what) = @_;

    return $made{$what} //= substr "$what, " . join(' ', 1 .. 200_000),
                                   0, $size;
}


sub origin {
    my ($req, $reply) = @_;

    my $path = $req->path;
    my @headers = ('Cache-Control' => 'max-age='
                       . ($path =~ /behind/ ? 1 : 600));

    if ($req->method eq 'DELETE') {
        return $reply->head(204);
    }

    if ($path eq '/vary') {
        return $reply->send(200, [ @headers, Vary => 'Accept-Language' ],
                            body($req->header('Accept-Language')));
    }

    if ($path =~ m{^/huge/}) {
        $reply->head(200, @headers, 'Content-Length' => 20 << 20);
        my $part = 'x' x 65536;
        for (1 .. 320) {
            $reply->raw($part) or return;
        }
        return;
    }

    if ($path eq '/crowd' || $path eq '/pause') {
        $reply->head(200, @headers, 'Content-Length' => $size);
        $reply->raw(substr body('one'), 0, 500_000);
        $reply->wait_word(substr $path, 1);
        $reply->raw(substr body('one'), 500_000);
        return;
    }

    return $reply->send(200, \@headers, body('one'));
}
