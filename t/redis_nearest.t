#!/usr/bin/perl

# read_from=nearest: lookups go to whichever of the master and its replicas
# answers soonest, and leave it when it becomes slow, dies, freezes or loses its
# master, within seconds, at the cost of no hit and no error.  What is written
# goes to the master, however far it is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;

# how soon another one is found; and how far a server is that is far off, in
# seconds: more than what a busy machine makes of the others
my ($bound, $far) = $ENV{ASAN_OPTIONS} ? (30, 0.1) : (10, 0.04);

my $t = RCache->new();
my $origin = $t->throng(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m %%SERVERS%% read_from=nearest
                                    connect_timeout=2s timeout=2s;
    redis_proxy_cache_budget        10s;
    redis_proxy_cache_segment_size  16k;

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

my (@nginx, @uris, $serial, %relay);

sentinels();
cluster();

$t->done();


sub sentinels {
    my @config = ('repl-diskless-sync-delay 0', 'repl-ping-replica-period 1');
    my $m = $t->redis(config => [ @config ]);
    my ($a, $b) = map {
        $t->redis(name => $_, config => [ @config, 'replicaof 127.0.0.1 '
                                                   . $m->port ])
    } 'A', 'B';

    ok(in_step($a) && in_step($b), 'the replicas are in step');

    relays($m, $a, $b);

    # no real Sentinel would have them behind relays

    my $sentinel = $t->fake_redis(sub {
        my ($peer) = @_;
        while (my @command = $peer->request()) {
            my @server = qw(name shop ip 127.0.0.1 config-epoch 1);
            my @replica = (@server, qw(flags slave master-link-status ok));
            $peer->send($command[0] ne 'SENTINEL' ? $peer->hang()
                : $command[1] eq 'MASTER'
                ? list(@server, 'flags', 'master', 'port', $relay{$m}->port)
                : "*2\r\n" . join '', map {
                      list(@replica, 'port', $relay{$_}->port)
                  } $a, $b);
        }
    });

    distances($far, $m, $b);
    begin('server=' . $sentinel->url . ' sentinel=shop', 's');
    reads('one replica is near', [ $a ], [ $m, $b ]);
    writes($m, $a, $b);

    distances(0, $b);
    distances($far, $a);
    reads('it becomes slow, the other one is near', [ $b ], [ $m, $a ]);

    # a fifth of that is more than what a busy machine makes of it

    distances(0.1, $m, $a, $b);
    reads('all are as far', [ $m, $a, $b ], [], 10);

    distances(0, $m);
    reads('the master is the nearest', [ $m ], [ $a, $b ]);

    distances($far, $m, $a);
    distances(0, $b);
    reads('a replica again', [ $b ], [ $m, $a ]);

    $relay{$b}->set('cut');
    reads('it is gone', [], [ $b ]);
    $relay{$b}->set('');
    reads('it is back', [ $b ], [ $m, $a ]);

    # in each worker somebody waits until the time of a command is over

    $relay{$b}->set('hang');
    reads('it is frozen', [], [ $b ], 4 * 2.5);
    $relay{$b}->set('');
    reads('it goes on', [ $b ], [ $m, $a ]);

    $b->cmd(qw(REPLICAOF 127.0.0.1), free_port());
    reads('it has lost its master', [], [ $b ]);
    $b->cmd(qw(REPLICAOF 127.0.0.1), $m->port);
    ok(in_step($b), 'it has its master again');
    reads('it is read from again', [ $b ], [ $m, $a ]);

    like(($nginx[0]->lines('\[info\].*further off'))[0] // '',
         qr/"127\.0\.0\.1:\d+" is further off: it answers in \d+us/,
         'the log tells of distances');

    # the master has gone, and a replica that has not heard of it yet

    $b->cmd(qw(CONFIG SET repl-timeout 3600));
    $relay{$m}->set('cut');
    ok(wait_for { $nginx[0]->get('/new')->status == 200 }, 'no master');
    like($nginx[0]->get($uris[0])->status, qr/^200$/, 'and no error');

    $_->stop() for @nginx;
    return;
}


sub cluster {
    my $cluster = $t->cluster();
    my @nodes = $cluster->nodes();

    relays(@nodes);

    my %is = map { $_ => 1 } $cluster->masters();
    my @masters = grep { $is{$_} } @nodes;
    my @replicas = grep { !$is{$_} } @nodes;

    distances($far, @masters);
    begin(join(' ', 'server=' . $relay{$nodes[0]}->url, 'cluster=on', map {
        'nat=' . $_->addr . '=127.0.0.1:' . $relay{$_}->port
    } @nodes), 'c');

    reads('a cluster, replicas are near', \@replicas, \@masters);
    distances(0, @masters);
    distances($far, @replicas);
    reads('masters are near', \@masters, \@replicas);
    distances(0, @replicas);
    distances($far, @masters);
    reads('replicas are near again', \@replicas, \@masters);

    # a failover under load

    my ($victim) = $cluster->of("api:{$uris[1]}");
    $victim->stop();

    my %during;
    ok(wait_for {
        my $all = 0;
        for my $n (0, 1) {
            my $found = ask($n, @uris, '/load/' . ++$serial);
            $during{$_} += $found->{$_} for keys %$found;
            $all += $found->{'HIT -'} || 0;
        }
        return $cluster->masters() == 3 && $all == 2 * @uris;
    }, 'a master is killed under load: hits again') or diag(explain(\%during));
    is_deeply([ grep { !/^(?:HIT|MISS) / } keys %during ], [],
              'and no answer but hits and misses meanwhile');

    $_->stop() for @nginx;
    return;
}


# Two instances that know all of @uris.

sub begin {
    my ($servers, $name) = @_;

    $t->set(SERVERS => $servers);

    @nginx = map { $t->nginx($conf, workers => 2, settle => 0) } 1 .. 2;
    @uris = (map({ "/$name/item/$_" } 1 .. 20), "/$name/large");

    for my $n (0, 1) {
        ok(wait_for { (ask($n, @uris)->{'HIT -'} || 0) == @uris },
           'all are stored');
    }

    return;
}


# In the end all lookups go to the near ones, and all are hits until then.

sub reads {
    my ($name, $near, $off, $more) = @_;

    my (%seen, @n, @o, $began);

    $began = clock();

    ok(wait_for {
        $_->cmd(qw(CONFIG RESETSTAT)) for @$near, @$off;
        for my $n (0, 1) {
            my $found = ask($n, @uris);
            $seen{$_} += $found->{$_} for keys %$found;
        }
        @n = map { $_->calls('get') } @$near;
        @o = map { $_->calls('get') } @$off;
        return !grep({ !$_ } @n) && !grep { $_ } @o;
    }, "$name: that is where lookups go") or diag("@n, @o");

    cmp_ok(clock() - $began, '<', $bound + ($more || 0), 'soon');
    is_deeply([ keys %seen ], [ 'HIT -' ], 'and all were hits')
        or diag(explain(\%seen));
    return;
}


sub writes {
    my ($master, @replicas) = @_;

    my @new = map { '/new/' . ++$serial } 1 .. 10;
    is_deeply(ask(1, @new), { 'MISS -' => 10 }, 'what is not there is a miss');
    cmp_ok($master->calls('eval'), '>', 0, 'the master takes what is written');
    is_deeply([ grep { $_->calls('eval') } @replicas ], [],
              'replicas are not asked to');
    is_deeply(ask($_, @new), { 'HIT -' => 10 }, 'and it is found') for 0, 1;
    return;
}


# One in front of each.

sub relays {
    $relay{$_} = $t->relay($_->port, name => 'RELAY-' . $_->port) for @_;
    return;
}


sub distances {
    my ($seconds, @servers) = @_;

    $relay{$_}->set($seconds || '') for @servers;
    return;
}


sub in_step {
    my ($replica) = @_;

    return wait_for { $replica->cmd('ROLE')->[3] eq 'connected' };
}


sub ask { my ($n, @some) = @_; return $nginx[$n]->verdicts(\&body, @some) }


sub list {
    return '*' . @_ . "\r\n" . join '', map { '$' . length($_) . "\r\n$_\r\n" }
                                            @_;
}


sub body {
    my ($uri) = @_;

    return $uri =~ /large/ ? "$uri " x 5_000 : "body of $uri";
}


sub origin {
    my ($req) = @_;

    return response(200, [ 'Cache-Control' => 'max-age=600' ],
                    body($req->uri));
}
