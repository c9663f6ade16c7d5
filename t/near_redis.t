#!/usr/bin/perl

# The near cache with whatever Redis there is: one that evicts, that is behind
# Sentinels, a Cluster with replicas, one that knows nothing of tracking, or
# lets its user not do all of it.  Where it cannot be used it must not hurt.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Near;

my $t = RCache->new();
my $origin = $t->origin(sub {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=600' ],
                 'answer ' . $req->n . ' ' . 'x' x 500);
});

my $conf = <<'CONF' . near_server();
    redis_proxy_cache_zone    api:1m %%SERVER%% near=2m
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
CONF

my $n = 0;

# what Redis evicts is gone here as well

my $small = $t->redis(name => 'SMALL', config => [
    'maxmemory 4mb', 'maxmemory-policy allkeys-lru', 'maxmemory-samples 10'
]);
my $nginx = nginx('server=' . $small->url());
my $uri = '/evict/1';
my $old = near($nginx, $uri);
my $i = 0;

$small->cmd('SET', 'fill-' . ++$i, 'x' x 10000, PX => 600000)
    while $small->exists("api:{$uri}") && $i < 5000;
ok(soon(sub { $nginx->get($uri)->body ne $old }), 'evicted, after ' . $i);

# what expires in Redis, long before it is stale, and that Redis does not
# notice it, for nobody asks

my ($major) = $small->cmd(qw(INFO server)) =~ /^redis_version:(\d+)/m;

SKIP: {
    skip('Redis cannot be told not to look', 5) if $major < 7;

    my $lazy = $t->redis(name => 'LAZY',
                         config => [ 'enable-debug-command yes' ]);
    is($lazy->cmd(qw(DEBUG SET-ACTIVE-EXPIRE 0)), 'OK', 'a lazy Redis');

    $nginx = nginx('server=' . $lazy->url());
    $uri = '/expire/1';
    near($nginx, $uri);
    $lazy->cmd('PEXPIRE', "api:{$uri}", 1500);
    $old = near($nginx, $uri);
    select undef, undef, undef, 1.6;
    is($lazy->cmd(qw(DBSIZE)), 1, 'has what has expired');
    isnt($nginx->get($uri)->body, $old, 'a copy lasts no longer than that');
}

# in TLS

my $certs = RCache::Certs->new($t->dir . '/certs');
my ($crt, $private) = $certs->issue('server', 'IP:127.0.0.1');
my $port = free_port();
my $tls = $t->redis(name => 'TLS', config => [
    "tls-port $port", "tls-cert-file $crt", "tls-key-file $private",
    'tls-ca-cert-file ' . $certs->ca, 'tls-auth-clients no'
]);

$nginx = nginx("server=rediss://127.0.0.1:$port ssl_trusted_certificate="
               . $certs->ca);
$old = near($nginx, '/tls/1');
$tls->cmd('DEL', 'api:{/tls/1}');
ok(soon(sub { $nginx->get('/tls/1')->body ne $old }), 'TLS: DEL');

# the user of the documentation

my $redis = $t->redis(name => 'ACL');
my ($line) = slurp("$FindBin::Bin/../docs/storage-format.md")
    =~ /^    (ACL SETUSER cache on .*?)$(?!\\)\n(?!     )/ms;
my ($more) = slurp("$FindBin::Bin/../docs/near-cache.md")
    =~ /^    (ACL SETUSER cache .*?)$(?!\\)\n(?!     )/ms;
s/\\\n\s*//g for $line, $more;
is($redis->cmd(split ' ', $line), 'OK', 'a user');
my $as_user = 'server=' . $redis->url() . ' user=cache password=secret';

my $without = nginx($as_user);
ok((wait_for {
    $without->get('/acl/1');
    return $without->lines('does not tell of changes');
}), 'without more rights it is said that it is not used');
my @hits = map { $without->get('/acl/1') } 1 .. 20;
is_deeply([ map { $_->header('X-Source') } @hits ], [ ('redis') x 20 ],
          'hits are those of Redis');
is(scalar($without->lines('does not tell of changes')), 1, 'it is said once');
ok((wait_for { clients($redis, 'sub=1') == 0 }), 'no listener is left');

is($redis->cmd(split ' ', $more), 'OK', 'more rights');
my $with = nginx($as_user);
$old = near($with, '/acl/1');
$redis->cmd('DEL', 'api:{/acl/1}');
ok(soon(sub { $with->get('/acl/1')->body ne $old }), 'which are enough');

my (undef, undef, undef, @rights) = split ' ', $more;

for my $right (@rights) {
    $redis->cmd('ACL', 'DELUSER', 'cache');
    $redis->cmd(split ' ', $line);
    $redis->cmd('ACL', 'SETUSER', 'cache', grep { $_ ne $right } @rights);
    my $less = nginx($as_user);
    ok((wait_for {
        $less->get('/acl/1');
        return $less->lines('does not tell of changes');
    }), "without $right it is refused");
    isnt($less->get('/acl/1')->header('X-Source'), 'near', 'and not used');
    $less->stop();
}

# a server without all that

my $plain = $t->redis(name => 'PLAIN',
                      config => [ 'rename-command CLIENT ""' ]);
$nginx = nginx('server=' . $plain->url());
ok((wait_for {
    $nginx->get('/old/1');
    return $nginx->lines('does not tell of changes');
}), 'a server that does not know CLIENT');
is($nginx->get('/old/1')->header('X-Source'), 'redis', 'hits all the same');

# a Cluster, whose replicas are read from

my $cluster = $t->cluster();
ok($cluster->well(), 'a cluster') or diag('not well');
my @nodes = $cluster->nodes();
$nginx = nginx($cluster->urls($nodes[4]) . ' cluster=on read_from=replica');

my @uris = map { "/cluster/$_" } 1 .. 30;
my %body = map { $_ => near($nginx, $_) } @uris;

is(scalar(grep { clients($_, 'sub=1') } $cluster->masters()), 3,
   'each master has a listener');

for my $path (@uris[0 .. 14]) {
    $cluster->of("api:{$path}")->cmd('DEL', "api:{$path}");
    ok(soon(sub { $nginx->get($path)->body ne $body{$path} }),
       "$path: DEL where it is");
}

# a key that moves, and changes there

my $key = "api:{$uris[20]}";

$old = near($nginx, $uris[20]);
my ($from, $to) = $cluster->half_way($key);
is($nginx->get($uris[20])->body, $old, 'a key moves');
$cluster->moved($key, $from, $to);
is(near($nginx, $uris[20]), $old, 'and is near again');
$to->cmd('DEL', $key);
ok(soon(sub { $nginx->get($uris[20])->body ne $old }), 'and changes there');

# a master dies, and a replica takes its place

my $master = $cluster->of("api:{$uris[21]}");
$old = near($nginx, $uris[21]);
$master->stop();
ok((wait_for { $cluster->well() && $cluster->of("api:{$uris[21]}") }),
   'another one takes its place');
near($nginx, $uris[21]);
$old = $nginx->get($uris[21])->body;
$cluster->of("api:{$uris[21]}")->cmd('DEL', "api:{$uris[21]}");
ok(soon(sub { $nginx->get($uris[21])->body ne $old }), 'and is listened to');

# Sentinels

my @config = ('repl-diskless-sync-delay 0', 'repl-ping-replica-period 1');
my @redis = ($t->redis(name => 'R1', config => \@config));
push @redis, $t->redis(name => 'R2', config => [
    @config, 'replicaof 127.0.0.1 ' . $redis[0]->port ]);
ok((wait_for { $redis[1]->cmd(qw(INFO replication)) =~ /link_status:up/ }),
   'a replica');

my @sentinels = $t->sentinels(\@redis);

$nginx = nginx(join ' ', 'sentinel=shop',
               map { 'server=' . $_->url() } @sentinels);
$old = near($nginx, '/sentinel/1');
$redis[0]->cmd('DEL', 'api:{/sentinel/1}');
ok(soon(sub { $nginx->get('/sentinel/1')->body ne $old }), 'DEL');

$old = near($nginx, '/sentinel/1');
$redis[0]->stop();

# Sentinels cut all connections of one that they promote

ok((wait_for {
    my $role = eval { $redis[1]->cmd('ROLE') };
    return $role && $role->[0] eq 'master';
}), 'a failover');
ok((wait_for { defined eval { $redis[1]->cmd('DEL', 'api:{/sentinel/1}') } }),
   'a change behind it');
ok(soon(sub { $nginx->get('/sentinel/1')->body ne $old }),
   'is seen');
$old = near($nginx, '/sentinel/1');
$redis[1]->cmd('DEL', 'api:{/sentinel/1}');
ok(soon(sub { $nginx->get('/sentinel/1')->body ne $old }), 'and so it goes on');

$t->done();


sub nginx {
    my ($server) = @_;

    return $t->nginx($conf, settle => 0, vars => { SERVER => $server });
}
