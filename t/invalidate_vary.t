#!/usr/bin/perl

# An unsafe method invalidates all variants of its URI: they are void because
# their marker is gone.  So nobody who knew it from before may write it again,
# not even where there is no lock, and the last one to come stores.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin, workers => 8);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_segment_size  16k;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache             api;
        redis_proxy_cache_lock        off;
        redis_proxy_cache_revalidate  on;
        redis_proxy_cache_bypass      $http_x_bypass;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my $n = 0;

for (
    [ 'a new variant', 'new' ],
    [ 'one in segments', 'new', 'X-Size' => 65536 ],
    [ 'one that is still good', 'old', 'X-Cache' => 'no-cache' ],
) {
    my ($name, $which, @headers) = @$_;

    my $uri = '/' . ++$n;
    my $old = stored($uri, 'one');
    $nginx->get($uri, 'X-A' => 'old', @headers);

    my $c = begun($uri, 'X-A' => $which, @headers);
    is($nginx->request('DELETE', $uri)->status, 204, "$name: a DELETE");
    $origin->say("go$n");
    is($c->response('GET')->status, 200, 'what was asked for before is there');

    my $r = $nginx->get($uri, 'X-A' => 'one');
    is($r->verdict, 'MISS -', "$name: another variant is not back");
    isnt($r->body, $old, 'but a new one');
    is($nginx->get($uri, 'X-A' => 'one')->verdict, 'HIT -', 'which is stored');
}

# without an invalidation the last one stores

my $uri = '/' . ++$n;
my $old = stored($uri, 'one');
my @c = map { begun($uri, 'X-A' => 'two') } 1, 2;
$origin->say("go$n");
$_->response('GET') for @c;
is($nginx->get($uri, 'X-A' => $_)->verdict, 'HIT -', "there is $_")
    for qw(one two);

$t->done();


sub stored {
    my ($uri, $which) = @_;

    $nginx->get($uri, 'X-A' => $which);
    my $r = $nginx->get($uri, 'X-A' => $which);
    is($r->verdict, 'HIT -', "$uri has a variant");

    return $r->body;
}


sub begun {
    my ($uri, @headers) = @_;

    my $count = $origin->count($uri);
    my $c = $nginx->begin('GET', $uri,
                          headers => [ @headers, 'X-Word' => "go$n" ]);
    ok((wait_for { $origin->count($uri) > $count }), "$uri is being fetched");

    return $c;
}


sub origin {
    my ($req, $reply) = @_;

    return $reply->head(204) if $req->method eq 'DELETE';

    my $word = $req->header('X-Word');
    $reply->wait_word($word) if defined $word;

    my @headers = ('Vary' => 'X-A', 'ETag' => '"same"', 'Cache-Control' =>
                   $req->header('X-Cache') || 'max-age=600');

    return $reply->head(304, @headers) if $req->header('If-None-Match');

    my $body = 'answer ' . $req->n;
    $body .= ' ' x ($req->header('X-Size') - length $body)
        if $req->header('X-Size');

    $reply->send(200, \@headers, $body);
}
