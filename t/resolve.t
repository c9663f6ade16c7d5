#!/usr/bin/perl

# At a failover it is often the name that moves.  A Redis that is given by
# name must be found although the name did not resolve when nginx started,
# and found again when the name points elsewhere, without a reload.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use RCache;
use RCache::Util qw(spawn stop_pid);

my $t = RCache->new();
my $origin = $t->origin(\&origin);

my $one = $t->redis();
my $two = $t->redis(name => 'TWO', host => '127.0.0.2', port => $one->port);

# where the name points to: an address, "none" (no such name), or "silent"

my $points = $t->dir . '/points';
spit($points, 'none');

my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1');
my $dns_port = $dns->sockport();
my $dns_pid = spawn(code => \&name_server, keep => [ $dns ],
                    log => $t->dir . '/dns.log');

$t->set(DNS => $dns_port, P => $one->port);

my $nginx = $t->nginx(<<'CONF', settle => 0);
    resolver  127.0.0.1:%%DNS%% valid=1s ipv6=off;

    redis_proxy_cache_zone    api:1m server=redis://redis.invalid:%%P%%
                              connect_timeout=2s timeout=2s;
    redis_proxy_cache_budget  4s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
            add_header         X-Found $redis_proxy_cache_reason;
        }
    }
CONF

my $r = $nginx->get('/a');
is($r->status, 200, 'there is no such name: requests are served');
is($r->header('X-Found'), 'redis_down', 'without the cache');
ok($nginx->wait_line('is down'), 'the log tells of it');

point('127.0.0.1');
ok(hits('/a'), 'the name appears: hits');
is_deeply([ $one->keys() ], [ 'api:{http://localhost/a}' ],
          'from the first Redis');

# the name moves

point('127.0.0.2');
is($nginx->get('/a')->verdict, 'HIT -', 'a connection that works is kept');
$one->stop();
ok(hits('/b'), 'the first Redis dies: hits again');
ok($two->exists('api:{http://localhost/b}'), 'from the second one');

# several addresses, and nobody at most of them

point('127.0.0.3 127.0.0.4 127.0.0.2 127.0.0.5');
for my $n (1 .. 3) {
    $two->restart();
    ok(hits("/several/$n"), 'one of four addresses is right: hits');
    ok($two->exists("api:{http://localhost/several/$n}"), 'from there');
}
point('127.0.0.2');
$two->restart();
ok(hits('/several/one'), 'one address again');

# the name server is of no help, but the address is still right

point('silent');
$two->restart();
ok(hits('/c'), 'the name server is silent: what is known is used');
ok($two->exists('api:{http://localhost/c}'), 'in the second Redis');

point('none');
$two->restart();
ok(hits('/d'), 'the name has gone: what is known is used');

is($nginx->get('/a')->status, 200, 'after all of that, an answer');

# a failover in which the old master stays, as a replica, and keeps its
# connections: it is the name that tells where the new one is

$one->start();
$two->cmd('REPLICAOF', '127.0.0.1', $one->port);
point('127.0.0.1');
ok(hits('/e'), 'a master that became a replica: its name is resolved again');
ok($one->exists('api:{http://localhost/e}'), 'to the new one');

stop_pid($dns_pid, 'KILL');
$t->done();


sub point { my ($to) = @_; spit($points, $to); return }


sub hits {
    my ($uri) = @_;

    return wait_for {
        my $r = $nginx->get($uri);
        $r->status == 200 && $r->verdict eq 'HIT -';
    };
}


# Answers every question with the addresses there are at the time.

sub name_server {
    while (defined(my $peer = $dns->recv(my $query, 512))) {
        my $to = slurp($points);
        next if $to eq 'silent';

        my ($question) = substr($query, 12) =~ /^((?:[^\0].*?)?\0....)/s;
        my $id = substr $query, 0, 2;

        $dns->send($id . ($to eq 'none'
            ? pack('n5', 0x8183, 1, 0, 0, 0) . $question
            : pack('n5', 0x8180, 1, scalar(split(' ', $to)), 0, 0) . $question
              . join '', map { pack('n3Nn', 0xc00c, 1, 1, 1, 4)
                               . pack('C4', split /\./) } split ' ', $to),
            0, $peer);
    }
    return;
}


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=60' ], $req->uri);
}
