#!/usr/bin/perl

# A purge by a regular expression on a Redis Cluster: keys are on all masters,
# and while the walk is under way they move from one that it has not seen to
# one that it has.  None may be left over.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Cpanel::JSON::XS qw(decode_json encode_json);
use RCache;

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

# A slot moves from a master that was not looked at yet to one that was, and
# nothing but the walk could notice: nobody asks for a key of it.

fill();
filler($_) for @masters;

my %all = map { $_->addr => [ old($_) ] } @masters;

$id = purge('^/old/');

# nobody walks while it is looked how far it is, nor then

my ($seen, $not) = (undef, undef);
my @workers = $nginx->workers();
ok(wait_for(sub {
    kill STOP => @workers;
    my %left = map { $_->addr => scalar old($_) } @masters;
    ($seen) = grep { $left{$_->addr} == 0 } @masters;
    ($not) = grep { $left{$_->addr} == @{ $all{$_->addr} } } @masters;
    return 1 if $seen && $not;
    kill CONT => @workers;
    return 0;
}, 120), 'one is through, and another has all of its own');

my ($key) = old($not);
my $slot = $not->cmd(qw(CLUSTER KEYSLOT), $key);
my ($from, $to) = map { $_->cmd(qw(CLUSTER MYID)) } $not, $seen;

$seen->cmd(qw(CLUSTER SETSLOT), $slot, 'IMPORTING', $from);
$not->cmd(qw(CLUSTER SETSLOT), $slot, 'MIGRATING', $to);
while (my @keys = @{ $not->cmd(qw(CLUSTER GETKEYSINSLOT), $slot, 100) }) {
    my ($host, $port) = split /:/, $seen->addr;
    $not->cmd('MIGRATE', $host, $port, '', 0, 5000, 'KEYS', @keys);
}
$_->cmd(qw(CLUSTER SETSLOT), $slot, 'NODE', $to) for $seen, $not,
    grep { $_ != $seen && $_ != $not } @masters;

is(scalar(grep { $_ eq $key } old($seen)), 1, 'a key has moved past the walk');
kill CONT => @workers;

ok(wait_for(sub { state_of($id) eq 'done' }, 120), 'done');
is(left(), 0, 'nothing is left');
is($nginx->get('/new/1')->verdict, 'HIT -', 'others are there');

$t->done();


sub purge {
    my ($regex) = @_;

    my $r = $nginx->request('POST', '/purge',
        body => encode_json({ regexes => [ $regex ] }),
        headers => [ 'Content-Type' => 'application/json' ]);
    is($r->status, 200, 'a regex');

    return decode_json($r->body)->{id};
}

sub job {
    my ($id) = @_;

    return (grep { $_->{id} eq $id }
            @{ decode_json($nginx->get('/purge')->body)->{jobs} })[0];
}

sub state_of { return (job($_[0]) || { state => '' })->{state} }


sub old { return grep { m{^api:\{/old/\d+\}$} } $_[0]->keys('api:{/old/*') }

sub left { return scalar map { old($_) } $cluster->masters() }


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
