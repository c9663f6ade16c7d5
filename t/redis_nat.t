#!/usr/bin/perl

# Servers behind a NAT, or in containers, call themselves by addresses that
# nobody outside can reach.  nat= says where they are found: in a cluster, be
# it in its map or in a redirection, and behind Sentinels.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m %%SERVERS%%
                              connect_timeout=2s timeout=2s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      api;
            redis_proxy_cache_key  $request_uri;
            add_header             X-Found $redis_proxy_cache_reason;
        }
    }
CONF

my @uris = map { "/item/$_" } 1 .. 30;

# 192.0.2.0/24 is nobody's: RFC 5737

my $cluster = $t->cluster(replicas => 1, node => { unix => 1 });
my @nodes = $cluster->nodes();
my $n = 0;

for my $node (@nodes) {
    $n++;
    $node->cmd(qw(CONFIG SET cluster-announce-hostname), "node-$n.invalid");
    $node->cmd(qw(CONFIG SET cluster-preferred-endpoint-type hostname));
}

ok(wait_for {
    !grep { my $slots = $_->cmd(qw(CLUSTER SLOTS));
            grep { my $range = $_;
                   grep { $_->[0] !~ /^node-\d\.invalid$/ }
                   @$range[2 .. $#$range] } @$slots } @nodes
}, 'all nodes go by names that nobody knows');

$n = 0;
my $nat = join ' ', map {
    $n++;
    my $port = $_->port;
    "nat=node-$n.invalid:$port=" . ($n % 2 ? "127.0.0.1:$port"
                                           : 'unix:' . $_->socket)
} @nodes;

# without it only what the one that is named has is found

my $seed = 'server=' . $nodes[0]->url . ' cluster=on';
$t->set(SERVERS => "$seed $nat");
my $one = $t->nginx($conf, workers => 2, settle => 0);

ok(wait_for { all($one) == @uris }, 'a cluster: all are hits');
is(scalar(grep { (grep { /^api:/ } $_->keys()) == 0 } $cluster->masters()), 0,
   'from all of its nodes');
is_deeply([ $one->lines('is down') ], [], 'all of them were found');

# a redirection names one, too

my $key = "api:{$uris[0]}";
my @pair = $cluster->half_way($key);
is($one->get($uris[0])->verdict, 'HIT -', 'ASK leads to the right place');
$cluster->moved($key, @pair);
is($one->get($uris[0])->verdict, 'HIT -', 'and so does MOVED');

# replicas are found in the same way

$t->set(SERVERS => "$seed $nat read_from=replica");
my $two = $t->nginx($conf, workers => 2, settle => 0);
my %is_master = map { $_ => 1 } $cluster->masters();
ok(wait_for {
    all($two) == @uris
        && !grep { !$is_master{$_}
                   && $_->cmd(qw(INFO commandstats)) !~ /cmdstat_get:/ } @nodes
}, 'lookups at replicas') or diag($two->errors());

# a master that Sentinels know by another address

my $redis = $t->redis(unix => 1);
my $sentinel = $t->fake_redis(sub {
    my ($peer) = @_;
    while (my @command = $peer->request()) {
        $peer->send($command[0] eq 'SENTINEL'
            ? array(qw(name shop ip 192.0.2.1 port 6379 flags master
                       config-epoch 1))
            : $peer->hang());
    }
});
for my $to ($redis->addr, 'unix:' . $redis->socket) {
    $redis->flush();
    $t->set(SERVERS => 'server=' . $sentinel->url . ' sentinel=shop'
                       . " nat=192.0.2.1:6379=$to");
    my $three = $t->nginx($conf, settle => 0);
    ok(wait_for { all($three) == @uris }, "Sentinels, $to: all are hits");
    is(scalar(grep { /^api:/ } $redis->keys()), scalar @uris,
       'of the right one');
    ok($three->lines('the master is "192.0.2.1:6379"'),
       'the log calls it by its name');
    $three->stop();
}

# what the configuration says wrongly

for (
    [ 'cluster=on nat=', 'must be host:port' ],
    [ 'cluster=on nat=a:1', 'must be host:port' ],
    [ 'cluster=on nat=a=b:1', 'must be host:port' ],
    [ 'cluster=on nat=a:0=b:1', 'must be host:port' ],
    [ 'cluster=on nat=:1=b:1', 'must be host:port' ],
    [ 'cluster=on nat=a:1=', 'where it is found' ],
    [ 'cluster=on nat=a:1=127.0.0.1', 'where it is found' ],
    [ 'cluster=on nat=a:1=127.0.0.1:x', 'invalid port' ],
    [ 'cluster=on nat=a:1=unix:x', 'absolute' ],
    [ 'nat=a:1=127.0.0.1:1', 'cluster=on or sentinel=' ],
) {
    my ($parameters, $said) = @$_;

    my $bad = $t->nginx_new("    redis_proxy_cache_zone a:1m\n"
                            . "        server=redis://127.0.0.1:1"
                            . " $parameters;\n");
    my ($status, $out) = $bad->check();
    ok($status != 0, "$parameters is refused");
    like($out, qr/\[emerg\].*\Q$said\E/, 'and the error says what is right');
    @{ $t->{nginxes} } = grep { $_ != $bad } @{ $t->{nginxes} };
}

my $good = $t->nginx_new(
    "    redis_proxy_cache_zone a:1m server=redis://127.0.0.1:1 cluster=on\n"
    . "        nat=[2001:db8::1]:7000=[::1]:7000 nat=a:1=127.0.0.1:1;\n");
my ($status, $out) = $good->check();
is($status, 0, 'addresses of version 6, and several of them') or diag($out);
@{ $t->{nginxes} } = grep { $_ != $good } @{ $t->{nginxes} };

$t->done();


sub array {
    return '*' . @_ . "\r\n" . join '', map { '$' . length($_) . "\r\n$_\r\n" }
                                            @_;
}


sub all {
    my ($nginx) = @_;

    return scalar grep { my $r = $nginx->get($_);
                         $r->status == 200 && $r->verdict eq 'HIT -' } @uris;
}


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=600' ], $req->uri);
}
