#!/usr/bin/perl

# read_from=replica: lookups go to replicas, so that masters have time for
# what only they can do.  A replica that dies, is frozen or comes back must
# cost nobody an error and no hit for long, in a cluster as behind Sentinels,
# and neither must a failover under load.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $origin = $t->throng(\&origin);

my $http = <<'CONF';
    redis_proxy_cache_zone          api:1m %%SERVERS%% read_from=replica
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

my (@nginx, @uris, $serial);

cluster();
sentinels();
configuration();

$t->done();


sub cluster {
    # with no more rights than the documentation says

    my ($acl) = slurp("$FindBin::Bin/../docs/storage-format.md")
        =~ /^    ACL SETUSER (cache .*?)$(?!\\)\n(?!     )/ms;
    my ($more) = slurp("$FindBin::Bin/../docs/operating-redis.md")
        =~ /^\| `([^`]+)` \| a cluster with \[`read_from=replica`\]/m;
    $acl =~ s/\\\n\s*//g;
    like("$acl $more", qr/^cache on .* \+readonly/, 'what is needed is known');

    my $cluster = $t->cluster(config => [
        "user $acl +cluster|slots +asking $more"
    ]);

    begin($cluster->urls() . ' user=cache password=secret', 'c');

    my @masters = $cluster->masters();
    my %is_master = map { $_ => 1 } @masters;
    my @replicas = grep { !$is_master{$_} } $cluster->nodes();

    reads('a cluster', \@masters, \@replicas);
    is_deeply([ map { complaints($_) } @masters, @replicas ], [],
              'nothing was asked of the wrong one')
        or diag(map { $_->cmd(qw(INFO commandstats)) } @masters, @replicas);

    # a replica dies, and comes back

    $_->mark() for @nginx;
    $replicas[0]->stop();
    still('a replica is killed');
    ok($nginx[0]->wait_line('\[warn\].*' . $replicas[0]->addr . '" is down'),
       'the log tells of it');
    $replicas[0]->start();
    ok(wait_for { $cluster->well() }, 'it comes back');
    reads('a cluster again', \@masters, \@replicas);

    # one is frozen: those who wait then wait for as long as a command may

    $replicas[1]->freeze();
    still('a replica is frozen');
    $replicas[1]->thaw();
    reads('a cluster after that', \@masters, \@replicas);

    # a slot moves: what has moved is not on the replica of the old master

    my $key = "api:{$uris[0]}";
    my @nodes = $cluster->half_way($key);
    right('a slot half way', $uris[0]);
    $cluster->moved($key, @nodes);
    right('the slot has moved', @uris);

    # a master dies under load

    my ($victim) = $cluster->of("api:{$uris[1]}");
    $victim->stop();
    under_load('a master is killed',
               sub { my @now = $cluster->masters(); @now == 3 });
    $victim->start();
    ok(wait_for { $cluster->well() }, 'it comes back, as a replica');

    my %now = map { $_ => 1 } $cluster->masters();
    reads('a cluster with other roles', [ grep { $now{$_} } $cluster->nodes() ],
          [ grep { !$now{$_} } $cluster->nodes() ]);

    is_deeply([ map { @{ $_->cmd(qw(ACL LOG)) } } $cluster->nodes() ], [],
              'Redis has refused nothing');
    $_->stop() for @nginx;
    return;
}


sub sentinels {
    my @config = ('repl-diskless-sync-delay 0', 'repl-ping-replica-period 1');
    my @redis = ($t->redis(name => 'R1', config => [ @config ]));

    push @redis, map {
        $t->redis(name => "R$_", config => [ @config, 'replicaof 127.0.0.1 '
                                                      . $redis[0]->port ])
    } 2, 3;

    ok(wait_for { !grep { $_->cmd(qw(INFO replication)) !~ /link_status:up/ }
                  @redis[1, 2] }, 'the replicas are in step');

    my @sentinels = $t->sentinels(\@redis,
        'user watcher on >look resetkeys resetchannels &+switch-master'
            . ' &+slave &+sdown &-sdown -@all +sentinel|master'
            . ' +sentinel|replicas +subscribe +unsubscribe +ping'
            . ' +client|setname');

    begin(join(' ', (map { 'server=redis://watcher:look@' . $_->addr }
                     @sentinels), 'sentinel=shop'), 's');
    ok($nginx[0]->wait_line('2 replicas may be read from'),
       'both replicas are known');
    reads('Sentinels', [ $redis[0] ], [ @redis[1, 2] ]);

    # found out before Sentinels tell of it: they stand still

    $_->mark() for @nginx;
    $_->freeze() for @sentinels;
    $redis[1]->stop();
    still('a replica is killed');
    ok((wait_for {
        ask(0, @uris);
        $nginx[0]->lines('\[warn\].*a replica, is down');
    }), 'the log tells of it');
    $_->thaw() for @sentinels;
    ok(wait_for { ask(0, @uris); $nginx[0]->lines('1 replicas may be read') },
       'Sentinels tell of it, too');
    reads('Sentinels and one replica', [ $redis[0] ], [ $redis[2] ]);
    $redis[1]->start();
    ok(wait_for { ask(0, @uris); $nginx[0]->lines('2 replicas may be read') },
       'it comes back');
    reads('Sentinels again', [ $redis[0] ], [ @redis[1, 2] ]);

    $redis[0]->stop();
    under_load('the master is killed', sub {
        my $named = $sentinels[0]->cmd(
            qw(SENTINEL GET-MASTER-ADDR-BY-NAME shop));
        return $named->[1] != $redis[0]->port;
    });

    is_deeply([ map { $_->lines('NOPERM|refuses') } @nginx ], [],
              'what the documentation grants was enough');
    $_->stop() for @nginx;
    return;
}


sub configuration {
    for (
        [ 'server=redis://a:1 read_from=replica', 'cluster=on or sentinel=' ],
        [ 'server=redis://a:1 cluster=on read_from=x',
          'master, replica or nearest' ],
        [ 'server=redis://a:1 cluster=on read_from=replica inactive=1m',
          'one of them' ],
    ) {
        my ($parameters, $said) = @$_;

        my $bad = $t->nginx_new(
            "    redis_proxy_cache_zone a:1m $parameters;\n");
        my ($status, $out) = $bad->check();
        ok($status != 0, "$parameters is refused");
        like($out, qr/\[emerg\].*\Q$said\E/, 'the error says what is right');
        @{ $t->{nginxes} } = grep { $_ != $bad } @{ $t->{nginxes} };
    }

    return;
}


# Two instances that know all of @uris.

sub begin {
    my ($servers, $name) = @_;

    $servers .= ' cluster=on' if $servers !~ /sentinel=/;
    $t->set(SERVERS => $servers);

    @nginx = map { $t->nginx($http, workers => 2, settle => 0) } 1 .. 2;
    @uris = (map({ "/$name/item/$_" } 1 .. 30), map { "/$name/large/$_" } 1, 2);

    for my $n (0, 1) {
        ok(wait_for { (ask($n, @uris)->{'HIT -'} || 0) == @uris },
           'all are stored');
    }


    return;
}


# In the end all lookups of a round go to replicas, and the masters do what is
# written.

sub reads {
    my ($name, $masters, $replicas) = @_;

    my (@m, @r);

    ok(wait_for {
        $_->cmd(qw(CONFIG RESETSTAT)) for @$masters, @$replicas;
        return 0 if (ask(0, @uris)->{'HIT -'} || 0) != @uris;
        @m = map { $_->calls('get') } @$masters;
        @r = map { $_->calls('get') } @$replicas;
        return !grep({ $_ } @m) && !grep { !$_ } @r;
    }, "$name: lookups go to the replicas") or diag("@m, @r");

    my @new = map { '/new/' . ++$serial } 1 .. 30;
    is_deeply(ask(1, @new), { 'MISS -' => 30 }, 'what is not there is a miss');
    is_deeply([ grep { !$_->calls('eval') } @$masters ], [],
              'masters take what is written');
    is_deeply([ grep { $_->calls('eval') } @$replicas ], [],
              'replicas are not asked to');
    is_deeply(ask(1, @new), { 'HIT -' => 30 },
              'who wrote it finds it at once');
    is_deeply(ask(0, @new), { 'HIT -' => 30 }, 'and so does the other one');
    return;
}


# All are hits, at both instances, all the time.

sub still {
    my ($name) = @_;

    my %seen;

    for my $round (1 .. 6) {
        my $found = ask($round % 2, @uris);
        $seen{$_} += $found->{$_} for keys %$found;
    }

    is_deeply(\%seen, { 'HIT -' => 6 * @uris }, "$name: all are hits")
        or diag(map { $_->errors() } @nginx);
    return;
}


# Nothing is asked of the origin.

sub right {
    my ($name, @some) = @_;

    is_deeply(ask(0, @some), { 'HIT -' => scalar @some }, "$name: hits");
    is_deeply(ask(1, @some), { 'HIT -' => scalar @some },
              'at the other instance, too');
    return;
}


sub under_load {
    my ($name, $over) = @_;

    my %during;

    ok(wait_for {
        my $all = 0;
        for my $n (0, 1) {
            my $found = ask($n, @uris, '/load/' . ++$serial);
            $during{$_} += $found->{$_} for keys %$found;
            $all += $found->{'HIT -'} || 0;
        }
        return eval { $over->() } && $all == 2 * @uris;
    }, "$name under load: hits again") or diag(explain(\%during));
    is_deeply([ grep { !/^(?:HIT|MISS) / } keys %during ], [],
              'and no answer but hits and misses meanwhile');
    return;
}


sub ask { my ($n, @some) = @_; return $nginx[$n]->verdicts(\&body, @some) }


sub complaints {
    my ($redis) = @_;

    return $redis->cmd(qw(INFO errorstats)) =~ /errorstat_(\w+)/g;
}


sub body {
    my ($uri) = @_;

    return $uri =~ /large/ ? "$uri " x 10_000 : "body of $uri";
}


# It has the rest of a long body, too, for those whose Redis dies while they
# read it.

sub origin {
    my ($req) = @_;

    my $body = body($req->uri);
    my @headers = ('Cache-Control' => 'max-age=600', ETag => '"one"');
    my ($from, $to) = ($req->header('Range') // '') =~ /^bytes=(\d+)-(\d+)$/;

    return response(200, \@headers, $body) if !defined $from;

    return response(206, [ @headers, 'Content-Range' =>
                           "bytes $from-$to/" . length $body ],
                    substr $body, $from, $to - $from + 1);
}
