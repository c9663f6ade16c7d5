#!/usr/bin/perl

# The point of a shared cache: what one instance fetched, another serves,
# with the same bytes and headers, and a new one does not start cold.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
        }
    }
CONF

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);

my ($miss, $hit);

$miss = $one->get('/list?page=1');
is($miss->verdict, 'MISS -', 'a miss on the first instance');
$one->settle();

$hit = $two->get('/list?page=1');
is($hit->verdict, 'HIT -', 'is a hit on the second');
is($hit->line, $miss->line, 'with the same status line');
is($hit->body, $miss->body, 'the same body');
is_deeply($hit->lasting, $miss->lasting, 'and the same headers');

$miss = $two->get('/list?page=2');
$two->settle();
$hit = $one->get('/list?page=2');
is($hit->verdict, 'HIT -', 'and the other way round');
is($hit->body, $miss->body, 'with its body');

ok($one->stop(), 'the first instance goes away');

is($two->get('/list?page=1')->verdict, 'HIT -', 'the second goes on');

my $three = $t->nginx($conf);
is($three->get("/list?page=$_")->verdict, 'HIT -', "a new one is warm: $_")
    for 1, 2;

is($origin->count(), 2, 'the origin was asked once for each page');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    $reply->send('200 Served', [
        'Cache-Control' => 's-maxage=60', 'Content-Type' =>
        'application/json', 'X-Of' => 'one', 'X-Of' => 'two',
        'ETag' => 'W/"' . $req->n . '"',
    ], join ',', map { $req->uri . " $_" } 1 .. 5000);
}
