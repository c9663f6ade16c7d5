#!/usr/bin/perl

# A replica that is behind must not make anybody wrong: who waits for
# another's fetch gets it, nothing is fetched twice, an instance finds what it
# has written, and what was purged is not served, whatever the replica has.
# One that has lost its master is not asked.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $origin = $t->origin(\&origin);

# a replica behind a relay, which can keep things from it

my @config = ('repl-diskless-sync-delay 0', 'repl-ping-replica-period 1',
              'repl-timeout 3600');
my $master = $t->redis(config => [ @config ]);
my $relay = $t->relay($master->port);
my $replica = $t->redis(name => 'REPLICA', config => [
    @config, 'replicaof 127.0.0.1 ' . $relay->port
]);

ok(in_step(), 'the replica is in step');

# no real Sentinel would leave it where it is

my $sentinel = $t->fake_redis(sub {
    my ($peer) = @_;
    while (my @command = $peer->request()) {
        my @server = ('name', 'shop', 'ip', '127.0.0.1', 'config-epoch', 1);
        $peer->send($command[0] ne 'SENTINEL' ? $peer->hang()
            : $command[1] eq 'MASTER'
            ? list(@server, 'port', $master->port, 'flags', 'master')
            : "*3\r\n" . list(@server, 'port', $replica->port, 'flags',
                              'slave', 'master-link-status', 'ok')
              . list(@server, 'port', 1, 'flags', 'slave',
                     'master-link-status', 'err')
              . list(@server, 'port', 2, 'flags', 's_down,slave',
                     'master-link-status', 'ok'));
    }
});

$t->set(SENTINEL => $sentinel->url);

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m server=%%SENTINEL%% sentinel=shop
                                    read_from=replica purge=on
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        10s;
    redis_proxy_cache_segment_size  16k;
    redis_proxy_cache_lock_age      300s;
    redis_proxy_cache_lock_timeout  300s;

    map $request_method $purge {
        PURGE    1;
        default  0;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache        api;
        redis_proxy_cache_key    $request_uri;
        redis_proxy_cache_purge  $purge;
        add_header               X-Found $redis_proxy_cache_reason;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my ($one, $two) = map { $t->nginx($conf, workers => 2, settle => 0) } 1 .. 2;

ok(wait_for { $one->get('/warm')->verdict eq 'HIT -' }, 'hits');
ok($one->wait_line('1 replicas may be read from'),
   'of three replicas one is fit');
from_replica($_, '/warm') for $one, $two;

# both wait for the same, and the replica does not get it

my ($marker, $gone) = fill('/marker', '/gone');
from_replica($_, '/marker', '/gone') for $one, $two;
$relay->set('hang');

my $c = begin($one, '/held');
ok(wait_for { $origin->count('/held') }, 'one fetches');
my $d = begin($two, '/held');
ok(wait_for { $master->cmd(qw(PUBSUB CHANNELS *held*))->[0] },
   'another instance waits');
$origin->say('go');
my $held = $c->response()->body;
is($d->response()->body, $held, 'both get the same');
is($origin->count('/held'), 1, 'from one fetch');

is($replica->exists('api:{/held}'), 0, 'the replica does not have it');
my $r = $one->get('/held');
is($r->verdict . $r->body, "HIT -$held", 'a hit where it was fetched');

# an instance that has neither fetched nor waited

my ($new) = fill('/new');
is($replica->exists('api:{/new}'), 0, 'nor this one');
$r = $two->get('/new');
is($r->status . $r->body, "200$new", 'the other one finds it at the master');
is($origin->count('/new'), 1, 'and fetches nothing');

# what varies, with and without having been waited for

my ($variant) = fill('/vary');
is($two->get('/vary')->body, $variant, 'a variant');
is($origin->count('/vary'), 1, 'was fetched once');

# an invalidation, and the instance that made it

is($one->request('POST', '/marker')->status, 200, 'an unsafe method');
ok($replica->exists('api:{/marker}'), 'the replica still has it');
isnt($one->get('/marker')->body, $marker, 'who asked for that gets a new one');

# a purge, and all instances

is($one->request('PURGE', '/gone')->status, 204, 'a purge');
ok($replica->exists('api:{/gone}'), 'the replica still has it');
$r = $two->get('/gone');
isnt($r->body, $gone, 'the other instance does not serve it');
is($origin->count('/gone'), 2, 'it fetches');

# and when it has heard nothing of the log

is($one->request('PURGE', '/warm')->status, 204, 'another purge');
$two->reload();
isnt($two->get('/warm')->body, $marker, 'new workers do not serve that');
is($origin->count('/warm'), 2, 'they fetch');

# all is well

$relay->set('');
ok(wait_for { $replica->exists('api:{/new}') }, 'the replica catches up');
from_replica($_, '/new', '/held', '/vary') for $one, $two;

# it has lost a part of a large body, one that is looked for and one that is not

my ($large) = fill('/large');
from_replica($two, '/large');
$replica->cmd(qw(CONFIG SET replica-read-only no));
my @segments = sort grep { /:s:/ } $replica->keys('api:{/large}*');
cmp_ok(scalar(@segments), '>', 2, 'a body in segments');

for my $n (0, 2) {
    $replica->cmd('DEL', $segments[$n]);
    $r = $two->get('/large');
    is($r->verdict, 'HIT -', "the replica has lost segment $n: a hit");
    ok($r->body eq $large, 'with all of the body');
}

is(scalar(grep { /:s:/ } $master->keys('api:{/large}*')), scalar @segments,
   'the master still has all of it');
ok($master->exists('api:{/large}'), 'and the entry');

# it loses its master

$_->mark() for $one, $two;
$relay->set('cut');
ok(wait_for { $replica->cmd('ROLE')->[3] ne 'connected' }, 'no master');
ok(wait_for { $one->get('/new'); $one->lines('not in touch') },
   'which is seen') or diag($one->errors());
is(scalar(grep { $one->get('/new')->verdict ne 'HIT -' } 1 .. 10), 0,
   'hits from the master');
ok(wait_for {
    my $before = $replica->calls('get');
    $one->get('/new') for 1 .. 20;
    return $replica->calls('get') == $before;
}, 'the replica is not asked any more');
is(scalar($one->lines('\[warn\].*a replica, is down')), 1,
   'one line tells of it');
$relay->set('');
ok(in_step(), 'it has its master again');
from_replica($one, '/new');
ok(wait_for { $one->get('/new'); $one->lines('a replica, is up again') },
   'the log says so');

# it answers with errors

$replica->cmd(qw(CONFIG SET replica-serve-stale-data no));
$relay->set('cut');
is(scalar(grep { $two->get('/new')->verdict ne 'HIT -' } 1 .. 20), 0,
   'a replica that refuses: hits from the master');
$relay->set('');

# without any replica

$replica->stop();
is(scalar(grep { $_->get('/new')->verdict ne 'HIT -' } ($one, $two) x 10), 0,
   'there is none: hits from the master');

# without the master, and a replica that notices that

$replica->start();
ok(in_step(), 'the replica is back');
from_replica($one, '/new');
$master->stop();
my %found;
ok(wait_for {
    my $r = $one->get('/new');
    $found{ $r->status . ' ' . ($r->header('X-Found') // 'none') }++;
    $r->header('X-Found') eq 'redis_down';
}, 'the master has gone: no cache, in the end');
is_deeply([ grep { !/^200 (?:-|redis_down|purges_unknown)$/ } keys %found ], [],
          'and no errors') or diag(explain(\%found));

$t->done();


sub list {
    return '*' . @_ . "\r\n" . join '', map { '$' . length($_) . "\r\n$_\r\n" }
                                            @_;
}


sub in_step {
    return wait_for { $replica->cmd('ROLE')->[3] eq 'connected' };
}


# In the end the replica is asked for these, and has them.

sub from_replica {
    my ($nginx, @uris) = @_;

    ok(wait_for {
        my $before = $replica->calls('get');
        my @other = grep { $nginx->get($_)->verdict ne 'HIT -' } @uris;
        !@other
            && $replica->calls('get') - $before >= @uris
            && !grep { !$replica->exists("api:{$_}") } @uris;
    }, "the replica has @uris");
    return;
}


sub fill {
    return map { $one->get($_)->body } @_;
}


sub begin {
    my ($nginx, $uri) = @_;

    return $nginx->begin('GET', $uri);
}


sub origin {
    my ($req, $reply) = @_;

    my $body = $req->uri . ' ' . rand() . ' ';

    $reply->wait_word('go') if $req->path eq '/held';
    $reply->send(200, [ 'Cache-Control' => 'max-age=600',
                        ($req->path eq '/vary' ? (Vary => 'X-Kind') : ()) ],
                 $body x ($req->path eq '/large' ? 3000 : 1));
}
