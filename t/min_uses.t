#!/usr/bin/perl

# redis_proxy_cache_min_uses keeps what is asked for once or twice out of
# Redis.  Until then a request passes as if there were no cache.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(sub { $_[1]->obey() });

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_zone    other:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;
    redis_proxy_cache_valid   any 1m;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache_min_uses  3;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /other/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      other;
            redis_proxy_cache_key  http://localhost/shared;
        }

        location = /shared {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /0/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_min_uses  0;
        }

        location /1/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_min_uses  1;
        }
    }
CONF

my $nginx = $t->nginx($conf);
my $r;

for my $time (1, 2) {
    $r = $nginx->get('/a');
    is($r->verdict, 'MISS min_uses', "use $time of 3 is not stored");
    is($redis->exists('api:{http://localhost/a}'), 0, 'indeed not');
}

is($nginx->get('/a')->verdict, 'MISS -', 'the third is');
is($nginx->get('/a')->verdict, 'HIT -', 'the fourth is a hit');
is($origin->count('/a'), 3, 'the origin was asked for each of the three');

is($nginx->get('/b')->verdict, 'MISS min_uses', 'each key has its own count');

for my $n (0, 1) {
    is($nginx->get("/$n/a")->verdict, 'MISS -',
       "min_uses $n stores at once");
}

# a key that was used often enough is stored again at once

$redis->flush();
is($nginx->get('/a')->verdict, 'MISS -', 'when an entry is gone it is made '
   . 'anew at once');

# the request passes as it is

$r = $nginx->get('/c', Range => 'bytes=0-1', 'X-Status' => 206,
                 'X-Say' => 'Content-Range: bytes 0-1/9', 'X-Body' => 'ab');
is($r->verdict, 'MISS min_uses', 'a range that is not counted enough');
is($origin->latest->header('Range'), 'bytes=0-1', 'reaches the origin');
is($r->status . $r->body, '206ab', 'and its answer the client');

$r = $nginx->get('/c', 'If-None-Match' => '"a"', 'X-Status' => 304);
is($r->status, 304, 'a 304 of the origin passes');
is($origin->latest->header('If-None-Match'), '"a"', 'to its condition');

$r = $nginx->get('/c', Range => 'bytes=0-1', 'X-Body' => 'abcdef');
is($r->verdict, 'MISS -', 'the third range fills');
is($r->status . $r->body, '206ab', 'and is answered from the whole');
is($nginx->get('/c')->body, 'abcdef', 'which is stored');

$r = $nginx->head('/d');
is($r->verdict, 'MISS min_uses', 'HEAD counts');
is($origin->latest->method, 'HEAD', 'and is not made a GET');
$r = $nginx->head('/d');
is($nginx->get('/d')->verdict, 'MISS -', 'the third use, a GET, fills');

# what is not looked up is not counted

$nginx->request('POST', '/e', body => 'x') for 1 .. 3;
is($nginx->get('/e')->verdict, 'MISS min_uses', 'POST is no use');

# zones count apart

is($nginx->get('/shared')->verdict, 'MISS min_uses', 'a key in one zone');
is($nginx->get('/shared')->verdict, 'MISS min_uses', 'twice');
is($nginx->get('/other/1')->verdict, 'MISS min_uses', 'and in another');
is($nginx->get('/shared')->verdict, 'MISS -', 'three times');
is($nginx->get('/other/1')->verdict, 'MISS min_uses', 'not in that one');

# the count is the instance's and outlives a reload

$nginx->get('/f');
ok($nginx->reload(old => 1), 'a reload');
$nginx->get('/f');
is($nginx->get('/f')->verdict, 'MISS -', 'the count goes on');

# all workers count together

my $many = $t->nginx($conf, workers => 4, settle => 0);
$redis->flush();
my %seen;
$seen{ $many->get('/g')->verdict }++ for 1 .. 12;
is($seen{'MISS min_uses'}, 2, 'two uses of four workers together are few');
is($seen{'HIT -'}, 9, 'and nine are hits');

# many keys at once: the table is approximate, its answers are right

my %status;
for my $n (1 .. 300) {
    $r = $nginx->get("/many/$n");
    $status{ $r->verdict }++;
    $r->body =~ /^answer / or fail("wrong body for $n");
}
is($status{'MISS min_uses'}, 300, 'three hundred keys, each used once');

$t->done();
