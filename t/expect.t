#!/usr/bin/perl

# Where a miss is likely the lock is asked for together with the entry: a cold
# key waits for one round trip to Redis, not for two.  That is a guess; when it
# is wrong the request still gets what is there, nothing stays locked, and a
# worker that mostly guesses wrong stops to guess.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

# This one answers the lookup only when the lock has been asked for as well:
# who asks one after the other does so in vain.

my $fake = $t->fake_redis(sub {
    my ($peer) = @_;
    my $asked = 0;

    while (my ($command) = $peer->request()) {

        if ($command eq 'GET') {
            $asked = 1;

        } else {
            $peer->send(($asked ? "\$-1\r\n+OK\r\n" : ":1\r\n"));
            $asked = 0;
        }
    }
});

$t->set(FAKE => $fake->port());

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=60s timeout=60s;
    redis_proxy_cache_zone          both:1m
                                    server=redis://127.0.0.1:%%FAKE%%
                                    connect_timeout=60s timeout=60s;
    redis_proxy_cache_key           $uri;
    redis_proxy_cache_revalidate    on;
    redis_proxy_cache_budget        60s;
    redis_proxy_cache_lock_age      300s;
    redis_proxy_cache_lock_timeout  300s;

    server {
        listen             127.0.0.1:%%PORT%%;
        redis_proxy_cache  api;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /both/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  both;
        }
    }
CONF

my $one = $t->nginx($conf, settle => 0, level => 'debug');
my $two = $t->nginx($conf, settle => 0);

my @fresh = ('X-Say', 'Cache-Control: max-age=600');

my $r = $one->get('/both/x', @fresh);
is($r->verdict, 'MISS -', 'lookup and lock are asked for together');

# the guess is right

$r = $one->get('/a', @fresh);
is($r->verdict, 'MISS -', 'a cold key');
my $first = $r->body;
is($one->get('/a')->verdict, 'HIT -', 'is stored');

# it is wrong: another instance has stored it

my $evals = $redis->calls('eval');
$r = $two->get('/a');
is($r->verdict, 'HIT -', 'a key that is unknown here, but there, is a hit');
is($r->body, $first, 'with its body');
is($redis->calls('eval'), $evals + 1, 'the lock is given back');
ok(!$redis->exists('api:{/a}:l'), 'and is not held');

$two->get('/a') for 1 .. 3;
is($redis->calls('eval'), $evals + 1,
   'what was asked for lately is not guessed at');

# an expired one: the lock that is asked for first is that of a key that is
# not there, and has to be asked for again

my @say = ('X-Say', 'Cache-Control: max-age=0|ETag: "1"');

$r = $one->get('/short', @say);
is($r->verdict, 'MISS -', 'a response that is stale at once');
$r = $two->get('/short');
is($r->verdict, 'REVALIDATED -', 'is validated by another instance');
ok(!$redis->exists('api:{/short}:l'), 'whose lock is given back');

# one that varies: the lock is that of the variant

@say = ('X-Say', 'Cache-Control: max-age=600|Vary: X-Kind');

$one->get('/vary', @say, 'X-Kind', 'a');
$r = $two->get('/vary', @say, 'X-Kind', 'b');
is($r->verdict, 'MISS -', 'another variant is fetched');
is($two->get('/vary', 'X-Kind', 'b')->verdict, 'HIT -', 'and stored');
is($one->get('/vary', 'X-Kind', 'a')->verdict, 'HIT -', 'beside the first');
is_deeply([ grep { /:l$/ } $redis->keys() ], [], 'no lock is left');

# an instance that is new to a full cache

my @many = map { "/many-$_" } 1 .. 120;

$one->get($_, @fresh) for @many;
my $three = $t->nginx($conf, settle => 0);
$evals = $redis->calls('eval');
$three->get($_)->verdict eq 'HIT -' or fail("$_ is no hit") for @many;
$evals = $redis->calls('eval') - $evals;
cmp_ok($evals, '<=', 40, 'finds out that it need not guess') or diag($evals);

# the client of a guess goes away before there is an answer

$redis->freeze();

my $c = $one->begin('GET', '/left', headers => \@fresh);
ok($one->wait_line('rcache policy: .*"/left"'), 'a request is on its way');
$c->close();
ok($one->wait_line('client .*closed connection'), 'and its client gone');

$redis->thaw();

$r = $two->get('/left', @fresh);
is($r->status, 200, 'who leaves before the answer holds nobody up');
ok(wait_for { !$redis->exists('api:{/left}:l') }, 'and leaves no lock');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    return $reply->head(304, 'Cache-Control' => 'max-age=60')
        if defined $req->header('If-None-Match');

    return $reply->obey();
}
