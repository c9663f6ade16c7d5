#!/usr/bin/perl

# A lock that nobody has any more.  Who asks for one and gets no answer may have
# it all the same, or get it when a Redis that stood still goes on; who gives
# one back may find that nobody listens.  Then nothing is fetched, and all
# instances wait for that, for as long as redis_proxy_cache_lock_age, if nobody
# sees to it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Lock;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m server=%%REDIS%% timeout=2s
                                    connect_timeout=2s;
    redis_proxy_cache_zone          long:1m server=%%REDIS%% timeout=60s
                                    connect_timeout=60s;
    redis_proxy_cache_budget        60s;
    redis_proxy_cache_lock_age      300s;
    redis_proxy_cache_lock_timeout  300s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        add_header             X-Cache $redis_proxy_cache_status always;
        add_header             X-Reason $redis_proxy_cache_reason always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /hasty/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_budget  50ms;
        }

        location /long/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  long;
        }
    }
CONF

my @nginx = map { $t->nginx($conf) } 1, 2;
my ($c, $waiter, $sets);

back();

# asked for while Redis stands still, and taken when it goes on

$sets = $redis->calls('set');
$redis->freeze();
$origin->say('/late-1');
like($nginx[0]->get('/late')->verdict, qr/^MISS redis_/, 'Redis stands still');
$redis->thaw();
ok((wait_for { $redis->calls('set') > $sets }),
   'it goes on, and takes the lock');
calm($redis, '/late');
free('/late');

# there is a lock, and when it could go nobody listens

for my $uri ('/gone/stored', '/gone/no-store') {
    $c = leader(0, $uri);
    $redis->freeze();
    $origin->say("$uri-other-1");
    like($nginx[0]->get("$uri-other")->verdict, qr/redis_/, 'Redis is away');
    $origin->say("$uri-1");
    is($c->answer()->status, 200, 'it has its answer');
    $redis->thaw();
    calm($redis, $uri);
    free($uri);
}

# it is given back, and the connection is lost with that

$c = leader(0, '/cut/no-store');
pause_writes();
$origin->say('/cut/no-store-1');
is($c->answer()->status, 200, 'it is to be given back');
cut();
calm($redis, '/cut/no-store');
free('/cut/no-store');

# the store would have taken it along, but is lost; who waited has the response
# already, and nobody waits for the store

$c = leader(0, '/hasty/cut');
$waiter = $nginx[0]->begin('GET', '/hasty/cut');
ok($origin->stays('/hasty/cut', 1, 0.2), 'another one waits');
pause_writes();
$origin->say('/hasty/cut-1');
is($waiter->answer()->status, 200, 'it has its answer, in spite of Redis');
is($c->answer()->status, 200, 'the first as well');
cut();
calm($redis, '/hasty/cut');
free('/hasty/cut');

# another instance is told that the lock is free, and asks for it; nobody waits
# for that any more when it gets it

$c = leader(0, '/long/left');
$waiter = $nginx[1]->begin('GET', '/long/left');
ok((wait_for { @{ $redis->cmd('PUBSUB', 'CHANNELS') } }), 'another one waits');
together([ 'DEL', 'long:{/long/left}:l' ],
         [ 'PUBLISH', 'long:{/long/left}:l', 'x' ],
         [ qw(CLIENT PAUSE 60000 WRITE) ]);
ok((wait_for { blocked() }), 'it asks');
$waiter->reset();
ok((wait_for { !@{ $redis->cmd('PUBSUB', 'CHANNELS') } }), 'and goes');
$redis->cmd('CLIENT', 'UNPAUSE');
calm($redis, '/long/left', 'long');
$origin->say('/long/left-1');
is($c->answer()->status, 200, 'who had the lock has an answer');

$t->done();


# This instance fetches, and has the lock.

sub leader {
    my ($n, $uri) = @_;

    my $client = $nginx[$n]->begin('GET', $uri);

    ok((wait_for { $origin->count($uri) == 1 }), "$uri: one fetches");
    is($redis->exists(($uri =~ m{^/long/} ? 'long' : 'api') . ":{$uri}:l"), 1,
       'and has the lock');

    return $client;
}


# Another instance need not wait, and gets it into Redis, if it may; unless a
# Redis that went on has stored it after all.

sub free {
    my ($uri) = @_;

    my $n = $origin->count($uri) + 1;

    back();
    $origin->say("$uri-$n");
    like($nginx[1]->get($uri)->verdict,
         $uri =~ /no-store/ ? qr/^MISS no_store\z/ : qr/^(?:MISS|HIT) -\z/,
         'another instance fetches it');
    return;
}


# Both instances have Redis, by both zones.

sub back {
    for my $uri ('/first', '/long/first') {
        for my $nginx (@nginx) {
            ok((wait_for { $nginx->get($uri)->verdict eq 'HIT -' }),
               "$uri is found");
        }
    }

    return;
}


# Commands that write are read, and not done.

sub pause_writes {
    $redis->cmd(qw(CLIENT PAUSE 60000 WRITE));
    return;
}


# They never are, for who has sent them is cut off.

sub cut {
    ok((wait_for { blocked() }), 'Redis has the command');
    $redis->cmd(qw(CLIENT KILL TYPE normal));
    $redis->cmd(qw(CLIENT UNPAUSE));
    return;
}


sub blocked {
    my ($n) = $redis->cmd(qw(INFO clients)) =~ /^blocked_clients:(\d+)/m;

    return $n;
}


# With nothing between them.

sub together {
    my (@commands) = @_;

    for ([ 'MULTI' ], @commands, [ 'EXEC' ]) {
        $redis->conn()->send_command(@$_);
        $redis->conn()->value();
    }

    return;
}


my %count;

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $n = ++$count{$uri};
    my $cc = $uri =~ /no-store/ ? 'no-store' : 'max-age=60';

    my $response = response(200, [ 'Cache-Control' => $cc ], "it\n");

    # what tells whether Redis is there is asked for as often as it takes

    return $uri =~ m{/first\z} ? $response : (\"$uri-$n", $response);
}
