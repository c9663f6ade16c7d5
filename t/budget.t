#!/usr/bin/perl

# redis_proxy_cache_budget is all that the cache may cost one request.  When
# it is spent the request goes on alone, and the reply that comes too late
# must reach nobody: were the replies that follow shifted by one, everyone
# would get the answer of someone else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;

my $bound = $ENV{ASAN_OPTIONS} ? 8 : 3;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=30s timeout=30s;
    redis_proxy_cache_zone    narrow:1m server=%%REDIS%% queue=2
                              connect_timeout=30s timeout=30s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache_budget  200ms;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
            add_header         X-Found $redis_proxy_cache_reason;
        }

        location /long/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache         api;
            redis_proxy_cache_budget  20s;
            add_header                X-Found $redis_proxy_cache_reason;
        }

        location /narrow/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache         narrow;
            redis_proxy_cache_lock    off;
            redis_proxy_cache_budget  20s;
            add_header                X-Found $redis_proxy_cache_reason;
        }
    }
CONF

my ($r, @waiting);

# warm

for my $uri (map { ("/warm-$_", "/long/warm-$_") } 1 .. 10) {
    $nginx->get($uri);
    $redis->wait_key("api:{http://localhost$uri}");
    wait_for { $nginx->get($uri)->verdict eq 'HIT -' }
        or fail("$uri does not get warm");
}

# a frozen Redis costs the budget and no more

$redis->freeze();

for my $n (1 .. 5) {
    my ($from, $since) = (time(), clock());
    $r = $nginx->get("/warm-$n");
    my ($took, $net) = (time() - $from, clock() - $since);

    is($r->header('X-Found'), 'redis_timeout', "request $n is not waited for");
    is($r->body, "/warm-$n", 'it has its answer');
    cmp_ok($took, '>', 0.15, 'behind its budget');
    cmp_ok($net, '<', $bound, 'and not much later');
}

# who may wait does, and who leaves while waiting is forgotten

@waiting = map { $nginx->begin('GET', "/long/warm-$_") } 1 .. 10;

$waiting[$_]->close() for 0, 4, 9;
$waiting[$_]->reset() for 1, 5;

is($nginx->get('/warm-7')->body, '/warm-7', 'others are served meanwhile');

$redis->thaw();

for my $n (map { $_ + 1 } 2, 3, 6, 7, 8) {
    $r = $waiting[$n - 1]->response('GET');
    is($r->body, "/long/warm-$n", "who waits for $n gets $n");
}

# replies and requests still belong together

for my $round (1 .. 3) {
    for my $uri (map { ("/warm-$_", "/long/warm-$_") } 1 .. 10) {
        my $r = $nginx->get($uri);
        is($r->body, $uri, "$uri is $uri") if $r->body ne $uri;

        # a busy machine can take longer than the short budget

        next if $uri =~ m{^/warm} && $r->verdict eq 'MISS redis_timeout';
        push @waiting, $uri if $r->verdict ne 'HIT -';
    }
}

is_deeply([ grep { !ref } @waiting ], [], 'and all of them are hits');
is(scalar($nginx->lines('is down')), 0,
   'a budget says nothing about Redis') or diag($nginx->errors());

# a full queue: what does not fit goes on at once

$nginx->get('/narrow/1');
$redis->wait_key('narrow:{http://localhost/narrow/1}');
wait_for { $nginx->get('/narrow/1')->verdict eq 'HIT -' };
$redis->freeze();

@waiting = map { $nginx->begin('GET', '/narrow/1') } 1 .. 6;

my $busy = 0;
wait_for {
    $busy = grep { IO::Select->new($_->{sock})->can_read(0) } @waiting;
    return $busy >= 4;
} 10;

is($busy, 4, 'two requests wait, four go on alone');

$redis->thaw();
my %found;
for my $c (@waiting) {
    $r = $c->response('GET');
    is($r->body, '/narrow/1', 'with an answer');
    $found{ $r->header('X-Found') }++;
}

is_deeply(\%found, { '-' => 2, 'redis_busy' => 4 }, 'and the reason for it');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=60' ], $req->uri);
}
