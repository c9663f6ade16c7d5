#!/usr/bin/perl

# HEAD is answered from what GET stored, with the headers of the GET and no
# body.  The other way round must not be: where HEAD is not made a GET, its
# response has no body, and a client that asks for the page must not get an
# empty one.

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
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache               api;
            redis_proxy_cache_convert_head  off;
        }
    }
CONF

my ($get, $head);

# HEAD first

for my $time (1, 2) {
    $head = $nginx->head('/a');
    is($head->verdict, 'MISS head', "$time: HEAD of a cold key is not stored");
    is($head->body, '', 'it has no body');
    is($head->header('Content-Length'), 11, 'but the length of one');
    is($origin->latest->method, 'HEAD', 'the origin was asked for it');
}

$nginx->settle();
is_deeply([ $redis->keys() ], [], 'nothing is in Redis');

# then GET

$get = $nginx->get('/a');
is($get->verdict, 'MISS -', 'GET after that is a miss');
is($get->body, 'hello world', 'and has its body');
$nginx->settle();

$head = $nginx->head('/a');
is($head->verdict, 'HIT -', 'HEAD is now a hit');
is($head->line, $get->line, 'with the status line of the GET');
is_deeply($head->lasting, $get->lasting, 'and its headers');
is($head->header('Content-Length'), 11, 'Content-Length too');
ok(defined $head->header('Age'), 'and an Age');
is($nginx->get('/a')->body, 'hello world', 'GET is served whole');
is($origin->count('/a'), 3, 'the origin was not asked again');

# nothing follows the headers: the next response on the connection is right

my $c = $nginx->connect();
$head = $c->request('HEAD', '/a', keepalive => 1);
is($head->status, 200, 'HEAD on a connection that stays');
$get = $c->request('GET', '/a');
is($get->body, 'hello world', 'is followed by no stray byte');
ok($c->closed(), 'nor is the end');
$c->close();

# a response without length, and conditional HEAD

$nginx->get('/chunked');
$nginx->settle();
$head = $nginx->head('/chunked');
is($head->verdict, 'HIT -', 'HEAD of what came in chunks');
is($head->header('Content-Length'), 10, 'has the length of what is stored');

$head = $nginx->head('/a', 'If-None-Match', '"e"');
is($head->status, 304, 'a conditional HEAD is answered on a hit');
is($head->verdict, 'HIT -', 'from the cache');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    if ($req->path eq '/chunked') {
        $reply->head(200, 'Cache-Control' => 'max-age=60',
                     'Transfer-Encoding' => 'chunked');
        $reply->chunk('01234');
        $reply->chunk('56789');
        $reply->last_chunk();
        return;
    }

    $reply->send(200, [ 'Cache-Control' => 'max-age=60', 'ETag' => '"e"' ],
                 'hello world');
}
