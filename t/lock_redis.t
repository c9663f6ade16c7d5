#!/usr/bin/perl

# The lock between instances is in Redis, and Redis may be gone, frozen, full,
# unwilling, or forget.  Then more than one instance may ask the upstream, but
# each of them still asks once, every client has the right bytes, and nobody
# waits for what will never come.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Lock;

my $clients = $ENV{RCACHE_CROWD} || 2000;
my $body = join '', map { sprintf "%07d\n", $_ } 1 .. 1000;
my $length = length "answer 1\n$body";

my $t = RCache->new();
my $port = free_port();
my $origin = $t->throng(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m server=redis://127.0.0.1:%%REDIS%%
                                    connect_timeout=500ms timeout=2s;
    redis_proxy_cache_zone          long:1m server=redis://127.0.0.1:%%REDIS%%
                                    connect_timeout=30s timeout=30s;
    redis_proxy_cache_budget        30s;
    redis_proxy_cache_lock_age      300s;
    redis_proxy_cache_lock_timeout  300s;

    server {
        listen  127.0.0.1:%%PORT%% reuseport backlog=2048;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        add_header             X-Cache $redis_proxy_cache_status always;
        add_header             X-Reason $redis_proxy_cache_reason always;
        add_header             X-Worker $pid always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /long/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  long;
        }

        # who cannot be told must find out by himself

        location /lost/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache           long;
            redis_proxy_cache_lock_age  300s;
        }
    }
CONF

$t->set(REDIS => $port);

my @nginx = map { $t->nginx($conf, workers => 2, settle => 0) } 1 .. 4;
my @ports = map { $_->port() } @nginx;
my ($redis, $leader, $crowd, @got);

# it was never there: each worker for itself, or better

crowd('/absent', 200, sub { $origin->say(map { "/absent-$_" } 1 .. 200) });
cmp_ok($origin->count('/absent'), '<=', 8, 'no Redis at all: one fetch for '
       . 'each worker at most');

# again when the instances know it, and one instance alone

crowd('/absent/known', 200,
      sub { $origin->say(map { "/absent/known-$_" } 1 .. 200) });
cmp_ok($origin->count('/absent/known'), '<=', 4, 'once more: one for each '
       . 'instance') or diag($origin->count('/absent/known'));

# and one behind the other, the leader and then the rest: in its worker they
# wait

$leader = start(0, '/absent/late');
ok(wait_for { $origin->count('/absent/late') == 1 }, 'one leads');
$crowd = $t->crowd(ports => [ $ports[0] ], clients => 40,
                   uri => '/absent/late', processes => 1)->go();
ok($origin->stays('/absent/late', 1, 0.5), 'others wait, at both workers');
$origin->say("/absent/late-$_") for 1 .. 40;
whole('/absent/late', 40, $length, $crowd->answers());
is($leader->answer()->status, 200, 'the first, too');

$redis = $t->redis(port => $port);
back();

# frozen in the middle: the leader has its lock, and then nobody hears of it

$leader = start(0, '/frozen');
ok(wait_for { $origin->count('/frozen') == 1 }, 'one leads');
$crowd = $t->crowd(ports => \@ports, clients => $clients, uri => '/frozen')
    ->go();
ok($origin->stays('/frozen', 1, 0.3), "$clients wait for it");
$redis->freeze();
$origin->say(map { "/frozen-$_" } 1 .. 100);
@got = $crowd->answers();
whole('/frozen', $clients, $length, @got);
is($leader->answer()->body, "answer 1\n$body", 'the leader, too');
cmp_ok($origin->count('/frozen'), '<=', 1 + 8, 'Redis freezes: one fetch more '
       . 'for each worker at most') or diag($origin->count('/frozen'));
$redis->thaw();
back();
calm($redis, '/frozen');

# frozen, and well again before anybody gives up

$leader = start(0, '/long/frozen');
ok(wait_for { $origin->count('/long/frozen') == 1 }, 'one leads');
$redis->freeze();
$crowd = $t->crowd(ports => \@ports, clients => 200, uri => '/long/frozen')
    ->go();
ok($origin->stays('/long/frozen', 1, 0.3), '200 come to a frozen Redis');
$origin->say('/long/frozen-1');
ok($origin->stays('/long/frozen', 1, 0.2), 'who leads has its answer');
$redis->thaw();
@got = $crowd->answers();
whole('/long/frozen', 200, $length, @got);
is($origin->count('/long/frozen'), 1, 'all have the one that was fetched');
calm($redis, '/long/frozen', 'long');

# killed in the middle, and started again: all that it knew is gone

$leader = start(0, '/restarted');
ok(wait_for { $origin->count('/restarted') == 1 }, 'one leads');
$crowd = $t->crowd(ports => \@ports, clients => 200, uri => '/restarted')
    ->go();
ok($origin->stays('/restarted', 1, 0.2), '200 wait');
$redis->restart();
$origin->say(map { "/restarted-$_" } 1 .. 100);
@got = $crowd->answers();
whole('/restarted', 200, $length, @got);
cmp_ok($origin->count('/restarted'), '<=', 1 + 8, 'Redis is restarted: one '
       . 'fetch more for each worker at most');
$leader->answer();
back();

# killed in the middle, and the workers know it when the response comes: it
# cannot be sent to Redis, but those who wait have it

$leader = start(0, '/gone');
ok(wait_for { $origin->count('/gone') == 1 }, 'one leads');
$crowd = $t->crowd(ports => [ $ports[0] ], clients => 40, uri => '/gone',
                   processes => 1)->go();
ok($origin->stays('/gone', 1, 0.3), '40 wait, at both workers');
$redis->stop();
$origin->say(map { "/notice-$_" } 1 .. 500);
my %down;
ok(wait_for {
    my $r = $nginx[0]->get('/notice');
    $down{ $r->header('X-Worker') } = 1
        if ($r->header('X-Reason') // '') eq 'redis_down';
    return keys %down == 2;
}, 'both workers know that Redis is gone');
$origin->say(map { "/gone-$_" } 1 .. 100);
whole('/gone', 40, $length, $crowd->answers());
is($leader->answer()->status, 200, 'the leader as well');
is($origin->count('/gone'), 1, 'of one fetch');
$redis->start();
back();
calm($redis, '/restarted');

# the lock is evicted, or all is flushed: another instance may lead, and who
# waits is not forgotten

for my $way ('evicted', 'flushed') {
    my $uri = "/lost/$way";

    $leader = start(0, $uri);
    ok(wait_for { $origin->count($uri) == 1 }, "$way: one leads");
    $crowd = $t->crowd(ports => \@ports, clients => 80, uri => $uri)->go();
    ok($origin->stays($uri, 1, 0.2), 'others wait');
    is($redis->exists("long:{$uri}:l"), 1, 'there is a lock');
    $way eq 'evicted' ? $redis->cmd('DEL', "long:{$uri}:l") : $redis->flush();
    my $next = start(3, $uri);
    $origin->say(map { "$uri-$_" } 1 .. 80);
    @got = $crowd->answers();
    whole($uri, 80, $length, @got);
    is($next->answer()->status, 200, 'as has who comes then');
    is($leader->answer()->body, "answer 1\n$body", 'and the leader');
    cmp_ok($origin->count($uri), '<=', 4, 'an instance asks once at most');
    calm($redis, $uri, 'long');
}

# the lock is gone and no message comes: the leader is silent for ever, for
# what all the others know

$leader = start(0, '/lost/silent');
ok(wait_for { $origin->count('/lost/silent') == 1 }, 'one leads');
my $waiter = start(1, '/lost/silent');
ok($origin->stays('/lost/silent', 1, 0.3), 'another instance waits');
$redis->cmd('DEL', 'long:{/lost/silent}:l');
ok(wait_for { $origin->count('/lost/silent') == 2 },
   'it finds out that the lock is gone, and leads');
$origin->say('/lost/silent-2');
is($waiter->answer()->body, "answer 2\n$body", 'and has its answer');
$origin->say('/lost/silent-1');
is($leader->answer()->body, "answer 1\n$body", 'as has the first');
$redis->wait_key('long:{/lost/silent}');
like(RCache::Entry->read($redis, 'long:{/lost/silent}')->{body},
     qr/^answer 2\n/, 'which does not overwrite what is newer');
calm($redis, '/lost/silent', 'long');

# a message is lost: the connections that wait for it are cut

$leader = start(0, '/lost/message');
ok(wait_for { $origin->count('/lost/message') == 1 }, 'one leads');
$waiter = start(1, '/lost/message');
ok(wait_for { @{ $redis->cmd('PUBSUB', 'CHANNELS') } }, 'another one listens');
is(join(' ', @{ $redis->cmd('PUBSUB', 'CHANNELS') }),
   'long:{/lost/message}:l', 'to the lock');
$redis->cmd('CLIENT', 'KILL', 'TYPE', 'pubsub');
$origin->say('/lost/message-1');
is($waiter->answer()->body, "answer 1\n$body",
   'cut off, it has the answer all the same');
is($leader->answer()->status, 200, 'the leader as well');
is($origin->count('/lost/message'), 1, 'of one fetch');
calm($redis, '/lost/message', 'long');

# something else has the lock's key

$redis->cmd('LPUSH', 'long:{/lost/typed}:l', 'a');
$redis->cmd('PEXPIRE', 'long:{/lost/typed}:l', 60000);
$crowd = $t->crowd(ports => \@ports, clients => 40, uri => '/lost/typed',
                   processes => 1)->go();
ok(wait_for { $origin->count('/lost/typed') }, 'a list under the lock\'s key');
$origin->say(map { "/lost/typed-$_" } 1 .. 40);
@got = $crowd->answers();
whole('/lost/typed', 40, $length, @got);
cmp_ok($origin->count('/lost/typed'), '<=', 8, 'a fetch for each worker at '
       . 'most');
$redis->cmd('DEL', 'long:{/lost/typed}:l');

# a user who may not do all that is wanted

for my $case (
    [ 'subscribe', 1, [ '-subscribe' ], [ '+subscribe' ] ],
    [ 'publish', 1, [ '-publish' ], [ '+publish' ] ],
    [ 'channels', 1, [ 'resetchannels' ], [ 'allchannels' ] ],
    [ 'eval', 8, [ '-eval' ], [ '+eval' ] ],
) {
    my ($name, $most, $deny, $allow) = @$case;
    my $uri = "/lost/$name";

    $redis->cmd('ACL', 'SETUSER', 'default', @$deny);
    $redis->cmd(qw(CLIENT KILL TYPE pubsub));
    $leader = start(0, $uri);
    ok(wait_for { $origin->count($uri) == 1 }, "no right to $name: one leads");
    $crowd = $t->crowd(ports => \@ports, clients => 40, uri => $uri,
                       processes => 1)->go();
    ok($origin->stays($uri, $most, 0.2), 'others wait');
    $origin->say(map { "$uri-$_" } 1 .. 40);
    @got = $crowd->answers();
    whole($uri, 40, $length, @got);
    cmp_ok($origin->count($uri), '<=', $most, "fetches: $most at most");
    is($leader->answer()->status, 200, 'the leader has its answer');
    $redis->cmd('ACL', 'SETUSER', 'default', @$allow);
    $redis->cmd('DEL', $redis->keys("long:{$uri}*"), 'none');
}
back();

# full: no lock can be taken

$redis->cmd(qw(CONFIG SET maxmemory 1));
$crowd = $t->crowd(ports => \@ports, clients => 40, uri => '/lost/full',
                   processes => 1)->go();
ok(wait_for { $origin->count('/lost/full') }, 'Redis is full');
$origin->say(map { "/lost/full-$_" } 1 .. 80);
@got = $crowd->answers();
whole('/lost/full', 40, $length, @got);
cmp_ok($origin->count('/lost/full'), '<=', 8, 'a fetch for each worker at '
       . 'most') or diag($origin->count('/lost/full'));
$redis->cmd(qw(CONFIG SET maxmemory 0));
back();

# after all of that there is one fetch for all again

$crowd = $t->crowd(ports => \@ports, clients => 400, uri => '/lost/after')
    ->go();
ok(wait_for { $origin->count('/lost/after') == 1 }, 'and again');
ok($origin->stays('/lost/after', 1, 0.3), 'one leads');
$origin->say('/lost/after-1');
@got = $crowd->answers();
whole('/lost/after', 400, $length, @got);
is($origin->count('/lost/after'), 1, 'for all instances');
calm($redis, '/lost/after', 'long');

$t->done();


# So many clients, and what is to be done when the first has come through.

sub crowd {
    my ($uri, $count, $then) = @_;

    my $crowd = $t->crowd(ports => \@ports, clients => $count, uri => $uri)
        ->go();
    ok(wait_for { $origin->count($uri) }, "$uri: $count clients");
    $origin->stays($uri, 8, 0.3);
    $then->();
    whole($uri, $count, $length, $crowd->answers());
    return;
}


sub start {
    my ($n, $uri) = @_;

    return $nginx[$n]->begin('GET', $uri);
}


# Every worker of every instance serves hits from both zones.

sub back {
    my $serial = $origin->count();

    for my $uri ("/back-$serial", "/long/back-$serial") {
        $origin->say(map { "$uri-$_" } 1 .. 500);

        for my $nginx (@nginx) {
            my %hit;

            ok(wait_for {
                my $r = $nginx->get($uri);
                $hit{ $r->header('X-Worker') } = 1
                    if ($r->header('X-Cache') // '') eq 'HIT';
                return keys %hit == 2;
            }, 'both workers have Redis again') or diag($nginx->errors());
        }
    }

    return;
}


my %count;

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $n = ++$count{$uri};

    # of the same length, whichever it is
    my $answer = substr "answer $n\n$body", 0, length "answer 1\n$body";

    return (\"$uri-$n", response(200, [ 'Cache-Control' => 'max-age=60' ],
                                 $answer));
}
