#!/usr/bin/perl

# A copy counts only as long as somebody hears of what changes.  Connections
# are cut, Redis stands still, the network swallows all, workers stand still or
# are killed: a second later nothing is served that nobody would have heard
# has changed.  And nothing of all that may hurt.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;
use RCache::Near;

my $t = RCache->new();
my $redis = $t->redis();
my $relay = $t->relay($redis->port);
my $origin = $t->origin(sub {
    my ($req, $reply) = @_;

    $reply->delay(0.3) if $req->uri =~ m{^/long/};
    $reply->send(200, [ 'Cache-Control' => 'max-age=600' ],
                 'answer ' . $req->n);
});

my $conf = <<'CONF' . near_server(<<'SERVER');
    redis_proxy_cache_zone    api:1m server=redis://127.0.0.1:%%RELAY%%
                              near=2m connect_timeout=30s timeout=30s
                              slow=off;
    redis_proxy_cache_zone    brisk:1m server=redis://127.0.0.1:%%RELAY%%
                              near=2m prefix=api:;
    redis_proxy_cache_budget  50ms;
CONF
        add_header  X-Worker  $pid;

        location /brisk/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  brisk;
        }
SERVER

my $one = $t->nginx($conf, workers => 1, settle => 0);
my $n = 0;
my ($old, $uri, $since, @ids);

# the listener is gone, the lane for lookups is gone, both are

for my $kill (
    [ 'the listener', sub { clients($redis, 'sub=1') } ],
    [ 'the lane for lookups', sub { clients($redis, 'flags=t') } ],
    [ 'both', sub { clients($redis, 'flags=t'), clients($redis, 'sub=1') } ],
    [ 'all', sub { clients($redis, 'name=nginx-') } ],
) {
    my ($what, $which) = @$kill;

    for my $round (1 .. 3) {
        $uri = '/kill/' . ++$n;
        $old = near($one, $uri);
        @ids = $which->();
        cmp_ok(scalar @ids, '>', 0, "$what: there is one");
        $redis->cmd('CLIENT', 'KILL', 'ID', $_) for @ids;
        $redis->cmd('DEL', "api:{$uri}");
        ok(soon(sub { $one->get($uri)->body ne $old }),
           "$what is killed, and what changes then is seen");
        near($one, $uri);
    }
}

# both zones have a listener, if both are asked

near($one, '/brisk/a');
near($one, '/kill/1');
ok((wait_for { clients($redis, 'sub=1') == 2 }), 'a listener for each zone');

# nobody asks, nobody talks

my $pings;
ok((wait_for {
    my $now = $redis->calls('ping');
    my $same = defined $pings && $pings == $now;
    $pings = $now;
    select undef, undef, undef, 1 if !$same;
    return $same;
} 20), 'an idle worker does not go on to ask whether Redis is there');
near($one, '/kill/1');
cmp_ok($redis->calls('ping'), '>', $pings, 'until copies are used again');

# Redis stands still, and is well again

for my $how ('frozen', 'partition') {

    $uri = '/still/' . ++$n;
    $old = near($one, $uri);

    $how eq 'frozen' ? $redis->freeze() : $relay->set('hang');
    $since = time();

    my %late;

    while ((my $now = time() - $since) < 2.5) {
        my $r = $one->get($uri);

        is($r->status, 200, 'a response all the same') if $r->status != 200;
        $late{ $r->header('X-Source') }++ if $now > 1.05;
    }

    is_deeply([ keys %late ], [ 'upstream' ],
              "$how: after a second no copy is used");

    if ($how eq 'partition') {

        # what nobody hears of

        $redis->cmd('DEL', "api:{$uri}");
        isnt($one->get($uri)->body, $old, 'nor one that has changed since');
    }

    $how eq 'frozen' ? $redis->thaw() : $relay->set('');
    near($one, $uri);
}

# the connections are cut, over and over

for my $round (1 .. 3) {
    $uri = '/cut/' . ++$n;
    $old = near($one, $uri);
    $relay->set('cut');
    $redis->cmd('DEL', "api:{$uri}");
    ok(soon(sub { $one->get($uri)->body ne $old }), 'cut');
    $relay->set('');
    near($one, $uri);
}

# two workers: what one has read is served by the other, as long as the first
# is there

my $two = $t->nginx($conf, workers => 2, settle => 0);

$two->tolerate('worker process \d+ exited on signal 9',
               'shared memory zone "\S+" was locked by');

for my $how ('STOP', 'KILL') {

    for my $round (1 .. 3) {
        $uri = '/worker/' . ++$n;
        $old = near($two, $uri);

        # who hears of it?

        kill $how, $_ for my @one = ($two->workers())[0];

        $redis->cmd('DEL', "api:{$uri}");
        select undef, undef, undef, 1.05;

        isnt($two->get($uri)->body, $old,
             "$how: nothing is served that a worker would have told");

        kill 'CONT', @one if $how eq 'STOP';
        near($two, $uri);
    }
}

cmp_ok(zone($two)->{near_fills}{stored}, '>', 0, 'the instance goes on');

# a reload, with another size, and to another Redis, while old workers go on

my $b = $t->redis(name => 'OTHER');
$uri = '/reload/1';
$old = near($one, $uri);

$one->{http} =~ s/near=2m/near=3m/g;
ok($one->reload(old => 1), 'a reload with another size');
is(near($one, $uri), $old, 'the cache is the same one');

# the old worker stands still: what it has read would be good for a second

my $long = $one->connect();
$long->send("GET /long/1 HTTP/1.0\r\nHost: a\r\n\r\n");
$one->{http} =~ s/server=\S+/"server=" . $b->url/ge;
my ($was) = $one->workers();
near($one, $uri);
kill 'STOP', $was;
ok($one->reload(), 'a reload with another Redis');
my $new;
ok((wait_for {
    $new = $one->get($uri);
    return $new->header('X-Worker') != $was;
}), 'a new worker answers');
isnt($new->body, $old, 'and has nothing of the first one');
kill 'CONT', $was;
near($one, $uri);
like($long->response('GET')->body, qr/answer/, 'the old worker ends in peace');
ok($b->exists("api:{$uri}"), 'it is the other one');

$redis->cmd('DEL', "api:{$uri}");
$old = near($one, $uri);
$b->cmd('DEL', "api:{$uri}");
ok(soon(sub { $one->get($uri)->body ne $old }), 'and is listened to');

$t->done();
