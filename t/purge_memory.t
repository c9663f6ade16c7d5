#!/usr/bin/perl

# A Redis that is full may throw away anything, an entry, or the log of purges
# itself.  What was purged must not come back by that, at any instance, whatever
# the policy is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%% purge=on
                              connect_timeout=10s timeout=10s;
    redis_proxy_cache_budget  10s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache       api;
            redis_proxy_cache_key   $request_uri;
            redis_proxy_cache_tags  $upstream_http_cache_tag;
        }
    }
CONF

my @nginx = map { $t->nginx($conf, workers => 2, settle => 0) } 1 .. 2;
$_->tolerate(qr/has lost purges/) for @nginx;

for my $policy (qw(noeviction allkeys-lru allkeys-lfu allkeys-random
                   volatile-lru volatile-lfu volatile-random volatile-ttl))
{
    $redis->cmd(qw(CONFIG SET maxmemory 0));
    $redis->flush();
    $redis->cmd(qw(CONFIG SET maxmemory-policy), $policy);
    my ($used) = $redis->cmd(qw(INFO memory)) =~ /^used_memory:(\d+)/m;
    $redis->cmd(qw(CONFIG SET maxmemory), $used + 1_500_000);

    my ($purged, $refused, @wrong) = (0, 0);

    for my $n (1 .. 12) {
        my $uri = "/$policy/$n";
        my $old = $nginx[$n % 2]->get($uri)->body;

        # what else is stored takes all of the memory, more than once

        $nginx[$_ % 2]->get("/$policy/$n/big/$_") for 1 .. 12;

        if (ref $redis->cmd('XADD', 'api:!purges', '*', tag => "tag-$uri")) {
            $refused++;
            next;
        }

        $purged++;
        $nginx[$_ % 2]->get("/$policy/$n/more/$_") for 1 .. 12;

        for my $i (0, 1) {
            push @wrong, "$uri is served by instance $i"
                if !wait_for { $nginx[$i]->get($uri)->body ne $old };
        }
    }

    is_deeply(\@wrong, [], "$policy: what was purged stays away");
    cmp_ok($purged + $refused, '==', 12, "$purged purges, $refused refused");
}

my ($gone) = $redis->cmd(qw(INFO stats)) =~ /^evicted_keys:(\d+)/m;
cmp_ok($gone, '>', 100, "$gone keys were evicted");

$redis->cmd(qw(CONFIG SET maxmemory 0));
$t->done();


my $version;

sub origin {
    my ($req) = @_;

    return response(200, [ 'Cache-Control' => 'max-age=600',
                           'Cache-Tag' => 'tag-' . $req->uri ],
                    $req->uri . ' ' . ++$version . ' ' . 'z' x 60_000);
}
