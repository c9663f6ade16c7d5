#!/usr/bin/perl

# A Redis Cluster: each key is asked for where it is, also while slots move
# from node to node under load, while a master dies and a replica takes its
# place, and by instances that know no more of the cluster than one address.
# No request may be answered wrongly or with an error, and none may need a
# reload.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Util qw(spawn stop_pid);

my $t = RCache->new();
my $origin = $t->throng(\&origin);
my $cluster = $t->cluster();
my @nodes = $cluster->nodes();

# one address is enough to begin with, be it that of a replica

$t->set(SEEDS => $cluster->urls($nodes[4]));

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m %%SEEDS%% cluster=on
                                    connect_timeout=20s timeout=20s;
    redis_proxy_cache_budget        20s;
    redis_proxy_cache_lock_age      300s;
    redis_proxy_cache_lock_timeout  300s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache           api;
            redis_proxy_cache_key       $request_uri;
            add_header                  X-Found $redis_proxy_cache_reason;
            add_header                  X-Cache $redis_proxy_cache_status;
        }
    }
CONF

my @nginx = map { $t->nginx($conf, workers => 2, settle => 0) } 1 .. 2;
my @uris = map { "/item/$_" } 1 .. 90;
my $serial = 0;

# all over the cluster

ok($cluster->well(), '3 masters, 3 replicas') or diag('not well');

is_deeply(ask(0, @uris), { 'MISS -' => 90 }, 'as many misses as there are');
is_deeply(ask(1, @uris), { 'HIT -' => 90 }, 'hits at the other instance');
is_deeply([ map { scalar(grep { /^api:/ } $_->keys()) > 10 ? 'some' : 'few' }
                $cluster->masters() ], [ ('some') x 3 ],
          'each master has its part of them');
is_deeply([ grep { !$_->wait_line('slots are known anew') } @nginx ], [],
          'both know the cluster');

# several keys of one response are in one slot: Vary, locks, invalidation

is($nginx[0]->get('/vary/1', 'X-Kind' => 'a')->verdict,
   'MISS -', 'a variant');
is($nginx[1]->get('/vary/1', 'X-Kind' => 'b')->verdict,
   'MISS -', 'another one');
is($nginx[1]->get('/vary/1', 'X-Kind' => 'a')->verdict,
   'HIT -', 'the first is there');

is($nginx[0]->request('POST', '/vary/1')->status, 200, 'an unsafe method');
is($nginx[1]->get('/vary/1', 'X-Kind' => 'a')->verdict,
   'MISS -', 'has invalidated it everywhere');

# one fetch: who waits is told by a message, from whatever node

for my $n (1 .. 3) {
    my $crowd = $t->crowd(ports => [ map { $_->port } @nginx ],
                          clients => 60, uri => "/slow/$n")->go();
    my @got = $crowd->answers();

    is_deeply(RCache::Crowd::tally('status', @got), { 200 => 60 },
              "60 clients of 2 instances ask for slow response $n");
    is(scalar(keys %{ RCache::Crowd::tally('md5', @got) }), 1,
       'there was one fetch');
}

# slots move, key by key, while they are used.  A reload in the middle: new
# workers know the map from the old ones.

my $id = $nodes[0]->cmd(qw(CLUSTER MYID));
my $to = $nodes[1]->cmd(qw(CLUSTER MYID));
my $mover = spawn(log => $t->dir . '/reshard.log', argv => [
    qw(redis-cli --cluster reshard), $nodes[0]->addr, '--cluster-from', $id,
    '--cluster-to', $to, qw(--cluster-slots 700 --cluster-yes
    --cluster-pipeline 1) ]);

my %seen;
my $rounds = 0;
my $maps = maps();
my $began = time();

until (stopped($mover) && $rounds > 2) {
    my $found = ask($rounds % 2, @uris);
    $seen{$_} += $found->{$_} for keys %$found;

    is_deeply(ask(1 - $rounds % 2, "/moved/" . ++$serial), { 'MISS -' => 1 },
              'a new one') if $rounds % 3 == 0;
    $nginx[1]->reload() if $rounds == 2;
    $rounds++;
}

is_deeply(\%seen, { 'HIT -' => 90 * $rounds },
          "slots move, and all are hits, $rounds times");

# 700 slots have moved; one worker asks for all, and not each time

$maps = maps() - $maps;
cmp_ok($maps, '<=', 2 * (5 * (time() - $began + 1) + 2),
       "the map was asked for $maps times, 5 a second by an instance at most");

# one slot half way: keys that have moved and such that have not, and the two
# keys of one command apart

my $key = "api:{$uris[0]}";
(my $from, $to) = $cluster->half_way($key);
is($nginx[0]->get($uris[0])->verdict, 'HIT -', 'ASK is followed: a hit');

my $post = $nginx[0]->connect();
$post->send("POST $uris[0] HTTP/1.1\r\nHost: localhost\r\n"
            . "Content-Length: 0\r\nConnection: close\r\n\r\n");
ok(wait_for { $to->cmd(qw(INFO commandstats)) =~ /eval:.*failed_calls=[1-9]/
              || $to->cmd(qw(INFO errorstats)) =~ /errorstat_TRYAGAIN/ },
   'an invalidation of keys of which one has moved has to wait');
$cluster->moved($key, $from, $to);
is($post->response()->status, 200, 'until the slot has moved');
is($nginx[1]->get($uris[0])->verdict, 'MISS -', 'and is done then');
ok(wait_for { $nginx[1]->get($uris[0])->verdict eq 'HIT -' }, 'hits');

# a master dies, and its replica takes its place

my ($victim) = $cluster->of("api:{$uris[1]}");
my @its = grep { my $u = $_; grep { $_ eq "api:{$u}" } $victim->keys() } @uris;

$_->mark() for @nginx;
$victim->stop();

my (%during, @wrong);
ok(wait_for {
    my $found = ask(0, @uris);
    $during{$_} += $found->{$_} for keys %$found;
    return ($found->{'HIT -'} || 0) == @uris;
}, 'a master is killed: hits again without a reload')
    or diag(explain(\%during));
is_deeply([ grep { !/^(?:HIT|MISS) / } keys %during ], [],
          'and no answer but hits and misses meanwhile');
ok(wait_for { (ask(1, @uris)->{'HIT -'} || 0) == @uris },
   'at the other instance, too');
is(scalar($nginx[0]->lines('\[error\].*' . $victim->addr . '" is down')), 1,
   'one line tells of it') or diag $nginx[0]->errors();
cmp_ok(scalar(@its), '>', 5, 'it was about many keys');

# it comes back, as a replica

$victim->start();
ok(wait_for { $cluster->well() }, 'it comes back');
is_deeply(ask(0, @uris), { 'HIT -' => 90 }, 'hits');

# instances that start then, with the address of one that is gone

$nodes[5]->stop();
$t->set(SEEDS => $cluster->urls(@nodes[5, 0]));
my $late = $t->nginx($conf, settle => 0);
ok(wait_for { $late->get($uris[3])->verdict eq 'HIT -' },
   'a new instance, one of its addresses is dead: hits');

# what a liar can do: endless redirections, nonsense for a map

for (
    [ 'MOVED to itself', sub { "-MOVED 1 127.0.0.1:$_[0]\r\n" } ],
    [ 'MOVED to nowhere', sub { "-MOVED 1 127.0.0.1:1\r\n" } ],
    [ 'MOVED without a host', sub { "-MOVED 1 :$_[0]\r\n" } ],
    [ 'ASK for nobody', sub { "-ASK 1 127.0.0.1:1\r\n" } ],
    [ 'TRYAGAIN for ever', sub { "-TRYAGAIN later\r\n" } ],
    [ 'CLUSTERDOWN', sub { "-CLUSTERDOWN The cluster is down\r\n" } ],
    [ 'MOVED to nonsense', sub { "-MOVED x\r\n" } ],
    [ 'MOVED to a slot too far', sub { "-MOVED 16384 127.0.0.1:1\r\n" } ],
    [ 'MOVED to a port too far', sub { "-MOVED 1 127.0.0.1:65536\r\n" } ],
    [ 'MOVED to a long name', sub { '-MOVED 1 ' . 'x' x 300 . ":1\r\n" } ],
    [ 'a map of strings', sub { "-ERR no\r\n" },
      "*1\r\n*3\r\n\$1\r\na\r\n\$1\r\nb\r\n\$1\r\nc\r\n" ],
    [ 'a map of slots too far', sub { "-ERR no\r\n" },
      "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n\$1\r\na\r\n:1\r\n" ],
    [ 'an empty map', sub { "-ERR no\r\n" }, "*0\r\n" ],
    [ 'a map without addresses', sub { "-ERR no\r\n" },
      "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n\$-1\r\n:0\r\n" ],
    [ 'no cluster', sub { "\$-1\r\n" },
      "-ERR This instance has cluster support disabled\r\n" ],
) {
    my ($name, $reply, $map) = @$_;
    my $port = 0;

    my $fake = $t->fake_redis(sub {
        my ($peer) = @_;
        while (my @command = $peer->request()) {
            $peer->send($command[0] eq 'CLUSTER' ? $map || "-ERR no\r\n"
                        : $command[0] eq 'ASKING' ? "+OK\r\n"
                        : $reply->($peer->{sock}->sockport()));
        }
    });

    $t->set(SEEDS => 'server=' . $fake->url());
    my $other = $t->nginx($conf =~ s/\b20s/1s/gr, settle => 0);
    my @found = map { $other->get("/liar/$_") } 1 .. 3;

    is_deeply([ map { $_->status . ' ' . ($_->body =~ /^(\S+)/)[0] } @found ],
              [ map { "200 /liar/$_" } 1 .. 3 ], "$name: right answers");
    ok($other->stop(), 'nginx stops');
    is_deeply([ $other->faults() ], [], 'nothing alarming was logged');
    @{ $t->{nginxes} } = grep { $_ != $other } @{ $t->{nginxes} };
    $fake->stop();
}

# what the configuration says wrongly

for (
    [ 'server=redis://a:1 server=redis://b:1', 'cluster=on' ],
    [ 'server=redis://a:1/2 cluster=on', 'expected 0' ],
    [ 'server=redis://a:1 cluster=maybe', 'on or off' ],
    [ 'server=redis://a:1 server=rediss://b:1 cluster=on', 'all alike' ],
) {
    my ($parameters, $said) = @$_;

    my $bad = $t->nginx_new("    redis_proxy_cache_zone a:1m $parameters;\n");
    my ($status, $out) = $bad->check();
    ok($status != 0, "$parameters is refused");
    like($out, qr/\[emerg\].*\Q$said\E/, 'and the error says what is right');
    @{ $t->{nginxes} } = grep { $_ != $bad } @{ $t->{nginxes} };
}

my $small = $t->nginx_new(
    "    redis_proxy_cache_zone a:64k server=redis://127.0.0.1:1\n"
    . "        cluster=on;\n");
my ($status, $out) = $small->check();
like($out, qr/too small, \d+ bytes more/, 'a zone without room for the map');
@{ $t->{nginxes} } = grep { $_ != $small } @{ $t->{nginxes} };

$t->done();


# All of these from that instance: how often which verdict; what is wrong with
# an answer counts as a verdict, too.

# how often nodes were asked for the map

sub maps {
    my $n = 0;

    $n += $_ for map { $_->cmd(qw(INFO commandstats))
                       =~ /^cmdstat_cluster\|slots:calls=(\d+)/m }
                 $cluster->running();
    return $n;
}


sub ask {
    my ($n, @uris) = @_;

    return $nginx[$n]->verdicts(sub { qr/^\Q$_[0]\E / }, @uris);
}


sub stopped {
    my ($pid) = @_;

    return !RCache::Util::alive($pid);
}


sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $kind = $req->header('X-Kind') // '-';

    return (($uri =~ /slow/ ? 1 : ()),
            response(200, [ 'Cache-Control' => 'max-age=600',
                            ($uri =~ /vary/ ? (Vary => 'X-Kind') : ()) ],
                     "$uri $kind " . rand()));
}
