#!/usr/bin/perl

# What was purged must not come back by way of those who had looked it up
# before: a request that has waited since then neither asks the upstream whether
# it is still good, which stores it as new, nor gets it if the upstream fails.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin, workers => 8);

my $nginx = $t->nginx(<<'CONF', settle => 0);
    redis_proxy_cache_zone          api:1m server=%%REDIS%% purge=on
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_lock_age      30s;
    redis_proxy_cache_lock_timeout  30s;
    redis_proxy_cache_segment_size  16k;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache             api;
        redis_proxy_cache_key         $request_uri;
        redis_proxy_cache_tags        $upstream_http_cache_tag;
        redis_proxy_cache_revalidate  on;
        redis_proxy_cache_use_stale   http_500;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location = /purge {
            redis_proxy_cache_admin  api;
        }
    }
CONF

my $n = 0;

ok((wait_for { $nginx->get('/fails/known')->verdict eq 'HIT -' }),
   'what was purged is known');

for my $size (0, 65536) {

    # it waits for another instance, which gives up

    my $uri = '/waits/' . ++$n . "?$size";
    my $old = stored($uri);

    $redis->cmd('SET', "api:{$uri}:l", 'another', 'PX', 60000);
    my $c = $nginx->begin('GET', $uri);
    ok((wait_for { listens($uri) }), 'a request waits for another instance');
    purge($uri);
    $redis->cmd('DEL', "api:{$uri}:l");
    $redis->cmd('PUBLISH', "api:{$uri}:l", 'x');

    isnt($c->response('GET')->body, $old, 'and gets a new response');
    is($origin->latest($uri)->header('If-None-Match'), undef,
       'that it has asked for without conditions');
    isnt($nginx->get($uri)->body, $old, 'what was purged is not back');

    # a soft purge is for that

    $uri = '/soft/' . ++$n . "?$size";
    $old = stored($uri);

    $redis->cmd('SET', "api:{$uri}:l", 'another', 'PX', 60000);
    $c = $nginx->begin('GET', $uri);
    ok((wait_for { listens($uri) }), 'a request waits for another instance');
    purge($uri, soft => 1);
    $redis->cmd('DEL', "api:{$uri}:l");
    $redis->cmd('PUBLISH', "api:{$uri}:l", 'x');

    is($c->response('GET')->body, $old, 'what is stale may be asked for');
    is($nginx->get($uri)->body, $old, 'and used');

    # the other instance has failed to refresh it, which is no reason either

    for my $purged (0, 1) {
        $uri = '/fails/' . ++$n . "?$size";
        $old = stored($uri);

        purge($uri, soft => 1);
        $redis->cmd('SET', "api:{$uri}:l", 'another', 'PX', 60000);
        $c = $nginx->begin('GET', $uri);
        ok((wait_for { listens($uri) }), 'a request waits for an instance');
        purge($uri) if $purged;
        $redis->cmd('DEL', "api:{$uri}:l");
        $redis->cmd('PUBLISH', "api:{$uri}:l", '!');

        my $r = $c->response('GET');
        is($r->body eq $old ? 'old' : 'new', $purged ? 'new' : 'old',
           'which fails: it gets what is stale, if it has not been purged');
    }

    # it is purged while the upstream is asked; one more waits

    $uri = '/asks/' . ++$n . "?$size";
    $old = stored($uri);

    $c = begun($uri);
    my $w = $nginx->begin('GET', $uri);
    ok($origin->stays($uri, 3, 0.2), 'one asks, another one waits');
    purge($uri);
    $origin->say("go$n");

    $c->response('GET');
    isnt($w->response('GET')->body, $old, 'who waits gets a new response');
    isnt($nginx->get($uri)->body, $old, 'what was purged is not back');
    is($redis->get("api:{$uri}:l"), undef, 'nor is it marked as uncacheable');

    # the upstream fails

    $uri = '/fails/' . ++$n . "?$size";
    $old = stored($uri);

    purge($uri, soft => 1);
    $c = begun($uri, 'X-Status' => 500);
    $origin->say("go$n");
    is($c->response('GET')->body, $old,
       'the upstream fails: it gets what is stale');

    $uri = '/fails/' . ++$n . "?$size";
    $old = stored($uri);

    purge($uri, soft => 1);
    $c = begun($uri, 'X-Status' => 500);
    purge($uri);
    $origin->say("go$n");
    is($c->response('GET')->status, 500, 'but not if that was purged');
}

$t->done();


# an entry, which has to be validated before each use unless it is for failures

sub stored {
    my ($uri) = @_;

    $nginx->get($uri);
    my $r = $nginx->get($uri);
    is($r->logged('cache'), $uri =~ /fails/ ? 'HIT' : 'REVALIDATED',
       "$uri is stored");

    return $r->body;
}


sub begun {
    my ($uri, @headers) = @_;

    my $count = $origin->count($uri);
    my $c = $nginx->begin('GET', $uri, headers => [ @headers,
                          'X-Word' => "go$n" ]);
    ok((wait_for { $origin->count($uri) > $count }), "$uri is asked for");

    return $c;
}


sub purge {
    my ($uri, %o) = @_;

    my $soft = $o{soft} ? 'true' : 'false';
    my $r = $nginx->request('POST', '/purge',
                            headers => [ 'Content-Type' => 'application/json' ],
                            body => qq({"tags":["tag-$uri"],"soft":$soft}));
    is($r->status, 200, "$uri is purged");
    return;
}


sub listens {
    my ($uri) = @_;

    return grep { $_ eq "api:{$uri}:l" }
           @{ $redis->cmd('PUBSUB', 'CHANNELS') };
}


sub origin {
    my ($req, $reply) = @_;

    my $word = $req->header('X-Word');
    $reply->wait_word($word) if defined $word;

    return $reply->send($req->header('X-Status'), [], 'failed')
        if $req->header('X-Status');

    my @headers = ('Cache-Control' => $req->uri =~ /fails/ ? 'max-age=600'
                                                           : 'no-cache',
                   'ETag' => '"same"', 'Cache-Tag' => 'tag-' . $req->uri);

    return $reply->head(304, @headers) if $req->header('If-None-Match');

    my $body = 'answer ' . $req->n;
    $body .= ' ' x ($req->query - length $body) if $req->query;

    $reply->send(200, \@headers, $body);
}
