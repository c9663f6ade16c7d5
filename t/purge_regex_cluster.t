#!/usr/bin/perl

# A purge by a regular expression on a Redis Cluster: keys are on all masters,
# and while the walk is under way they move from one that it has not seen to
# one that it has.  None may be left over.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use JSON::PP ();
use RCache;
use RCache::Util qw(spawn);

my $t = RCache->new();
my $origin = $t->origin(\&origin);
my $cluster = $t->cluster();

my $nginx = $t->nginx(<<'CONF', workers => 2, settle => 0);
    redis_proxy_cache_zone    api:1m %%CLUSTER%% cluster=on
                              connect_timeout=20s timeout=20s;
    redis_proxy_cache_budget  20s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      api;
            redis_proxy_cache_key  $request_uri;
        }

        location = /purge {
            redis_proxy_cache_admin  api;
        }
    }
CONF

# all over the cluster

fill();
my @masters = $cluster->masters();
is_deeply([ map { scalar(grep { m{^api:\{/old/} } $_->keys()) > 3
                  ? 'some' : 'few' } @masters ],
          [ ('some') x 3 ], 'each master has some');

my $id = purge('^/old/');
ok(wait_for(sub { state_of($id) eq 'done' }, 60), 'done');
is(left(), 0, 'nothing is left on any of them');
is(job($id)->{purged}, 40, 'all were purged');
is($nginx->get('/new/1')->verdict, 'HIT -', 'others are there');

# slots move from the last master that is looked at to the others

fill();
filler($_) for @masters;

$id = purge('^/old/');
ok(wait_for(sub { state_of($id) ne 'waiting' }, 30), 'it walks');

my @ids = map { $_->cmd(qw(CLUSTER MYID)) } @masters;

for my $to (0, 1) {
    my $mover = spawn(log => $t->dir . "/reshard$to.log", argv => [
        qw(redis-cli --cluster reshard), $masters[0]->addr,
        '--cluster-from', $ids[2 - $to], '--cluster-to', $ids[$to],
        qw(--cluster-slots 500 --cluster-yes) ]);
    ok(wait_for(sub { !RCache::Util::alive($mover) }, 120), 'slots have moved');
}

ok(wait_for(sub { state_of($id) eq 'done' }, 120), 'done');
is(left(), 0, 'nothing is left');
is($nginx->get('/new/1')->verdict, 'HIT -', 'others are there');

$t->done();


sub purge {
    my ($regex) = @_;

    my $r = $nginx->request('POST', '/purge',
        body => JSON::PP::encode_json({ regexes => [ $regex ] }),
        headers => [ 'Content-Type' => 'application/json' ]);
    is($r->status, 200, 'a regex');

    return JSON::PP::decode_json($r->body)->{id};
}

sub job {
    my ($id) = @_;

    return (grep { $_->{id} eq $id }
            @{ JSON::PP::decode_json($nginx->get('/purge')->body)->{jobs} })[0];
}

sub state_of { return (job($_[0]) || { state => '' })->{state} }


sub left {
    return scalar(grep { m{^api:\{/old/\d+\}$} }
                  map { $_->keys() } $cluster->masters());
}


# what is not meant, so that the walk takes its time: all in one slot

sub filler {
    my ($master) = @_;

    my ($key) = grep { ref $cluster->of("api:{$_}")
                       && $cluster->of("api:{$_}")->addr eq $master->addr }
                1 .. 100;

    $master->cmd('EVAL', 'for i=1,20000 do '
                 . 'redis.call("SET",KEYS[1]..i,"","EX",3600) end',
                 1, "api:{$key}:v:");
}


sub fill {
    for my $uri ((map { "/old/$_" } 1 .. 40), '/new/1') {
        ok(wait_for { $nginx->get($uri)->verdict eq 'HIT -' },
           "$uri is cached");
    }
}


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=3600' ], 'answer');
}
