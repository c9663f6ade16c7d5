#!/usr/bin/perl

# A master dies, and something is changed before a replica has taken its place:
# behind Sentinels, and in a cluster.  The replica has what was to go.  When it
# is the master nobody at that instance is given it, and after a moment nobody
# at all.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;
use RCache::Status;

my $t = RCache->new();
my $origin = $t->origin(\&origin);
my $nginx;

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m %%SERVERS%% purge=on
                              connect_timeout=2s timeout=2s;
    redis_proxy_cache_budget  2s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache                  api;
        redis_proxy_cache_key              $request_uri;
        redis_proxy_cache_tags             $upstream_http_cache_tag;
        redis_proxy_cache_invalidate_tags  $upstream_http_x_invalidate;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /status {
            redis_proxy_cache_status;
        }
    }
CONF

# Sentinels

{
    my $master = $t->redis(name => 'R1',
                           config => [ 'repl-diskless-sync-delay 0' ]);
    my $replica = $t->redis(name => 'R2', config => [
        'repl-diskless-sync-delay 0', 'repl-ping-replica-period 1',
        'replicaof 127.0.0.1 ' . $master->port
    ]);

    ok((wait_for {
        $replica->cmd(qw(INFO replication)) =~ /link_status:up/
    }), 'the replica is in step');

    my @sentinels = $t->sentinels([ $master, $replica ]);
    $t->set(SERVERS => join ' ', 'sentinel=shop',
                       map { 'server=redis://' . $_->addr } @sentinels);

    $nginx = $t->nginx($conf, settle => 0);
    my %old = stored('/a', '/a/tagged');
    is($master->cmd(qw(WAIT 1 5000)), 1, 'the replica has it, too');

    $master->stop();
    unsafe('/a');
    unsafe('/a');
    gone(\%old);
    is(role($replica), 'master', 'from the new master');

    # and one on demand, while the old one still answers

    push @{ $master->{config} }, 'replicaof 127.0.0.1 ' . $replica->port;
    $master->start();
    ok((wait_for {
        my $link = eval { $master->cmd(qw(INFO replication)) };
        $link && $link =~ /link_status:up/;
    }), 'the old one is back, as a replica');

    %old = stored('/b', '/b/tagged');
    ok((wait_for {
        my $r = $sentinels[0]->cmd(qw(SENTINEL FAILOVER shop));
        !ref $r && $r eq 'OK';
    }), 'a failover on demand');

    my $n = 0;
    ok((wait_for {
        unsafe('/b');
        $n += (role($master) eq 'master');
        $n > 3;
    }), 'is over, and all the while /b is changed');
    gone(\%old);
    counted();
    $nginx->stop();
}

# a cluster

{
    my $cluster = $t->cluster(masters => 3, timeout => 1000);
    $t->set(SERVERS => 'cluster=on ' . $cluster->urls());

    $nginx = $t->nginx($conf, settle => 0);

    # the master of the key, and that of the log, which is that of tags

    for my $which ('key', 'log') {
        my $log = $cluster->of('api:!purges');
        my ($other) = grep { $_ != $log } $cluster->masters();
        my $node = $which eq 'key' ? $other : $log;
        my @uri = map { uri_on($cluster, $_) } $node, $other;
        my %old = stored($uri[0], "$uri[0]/tagged", $uri[1]);

        for my $master ($cluster->masters()) {
            $master->cmd(qw(WAIT 1 5000));
        }

        $node->stop();
        unsafe($uri[0]);
        gone({ map { $_ => $old{$_} } $uri[0], "$uri[0]/tagged" });
        is($nginx->get($uri[1])->body, $old{$uri[1]}, "$uri[1] stays")
            if $which eq 'log';
        $node->start();
        ok((wait_for { $cluster->well() }), 'the cluster is whole again');
    }

    counted();
}

$_->tolerate(qr/redis/) for @{ $t->{nginxes} };
$t->done();


sub counted {
    my $zone = RCache::Status->of($nginx)->{zones}[0];

    is($zone->{invalidations_lost}, 0, 'nothing is lost');
    cmp_ok($zone->{invalidations_retried}, '>=', 2, 'it was sent again');
    return;
}


# Sentinels cut the connections of a server whose role changes.

sub role {
    my ($redis) = @_;

    my $role = eval { $redis->cmd('ROLE') } || eval { $redis->cmd('ROLE') };
    return $role ? $role->[0] : 'gone';
}


my %seen;

sub uri_on {
    my ($cluster, $node) = @_;

    for my $n (1 .. 1000) {
        my $of = $cluster->of("api:{/$n}");
        next if $seen{$n} || !$of || $of != $node;
        $seen{$n} = 1;
        return "/$n";
    }

    die "no such key\n";
}


sub stored {
    my (@uri) = @_;

    my %old;

    for my $uri (@uri) {
        my $r;
        ok((wait_for {
            $r = $nginx->get($uri);
            $r->verdict eq 'HIT -';
        }), "$uri is stored");
        $old{$uri} = $r->body;
    }

    return %old;
}


sub unsafe {
    my ($uri) = @_;

    my $r = $nginx->request('DELETE', $uri);
    $r->status == 200 or fail("DELETE $uri: " . $r->status);
    return;
}


# they are never seen again, and after a while what is new is a hit

sub gone {
    my ($old) = @_;

    for my $uri (sort keys %$old) {
        my %seen;
        my $n = 0;

        ok((wait_for {
            my $r = $nginx->get($uri);
            $seen{$r->body} = 1;
            $n = $r->verdict eq 'HIT -' ? $n + 1 : 0;
            $n > 3;
        }), "$uri is a hit again");
        ok(!$seen{$old->{$uri}}, 'of what is new');
    }

    return;
}


sub origin {
    my ($req, $reply) = @_;

    return $reply->send(200, [ 'X-Invalidate' => 'tag-' . $req->uri
                                                 . '/tagged' ], 'deleted')
        if $req->method eq 'DELETE';

    $reply->send(200, [ 'Cache-Control' => 'max-age=600',
                        'Cache-Tag' => 'tag-' . $req->uri ],
                 'answer ' . $req->n);
}
