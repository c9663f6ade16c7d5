#!/usr/bin/perl

# A node of a cluster that is left alone because it is slow counts in
# redis_breakers_open, and no longer when it is not part of the cluster any
# more: nobody would ever find it fast again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Status;

my $t = RCache->new();
my $origin = $t->throng(\&origin);

# a cluster of two nodes, of which the second one is slow, and then of one

my $mode = $t->dir . '/mode';
spit($mode, 'well');

my @ports = map { free_port() } 1, 2;
my @nodes = map { my $n = $_;
                  $t->fake_redis(sub { node($n, @_) }, port => $ports[$n]) }
            0, 1;

$t->set(ONE => $nodes[0]->url);

my $nginx = $t->nginx(<<'CONF', workers => 2, settle => 0);
    redis_proxy_cache_zone    api:1m server=%%ONE%% cluster=on
                              connect_timeout=5s timeout=5s slow=50ms;
    redis_proxy_cache_budget  100ms;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache       api;
            redis_proxy_cache_key   $request_uri;
            redis_proxy_cache_lock  off;
        }

        location = /status {
            redis_proxy_cache_status;
        }
    }
CONF

many();
ok($nginx->wait_line('known anew, 2 nodes'), 'two nodes');
is(slow(), 0, 'both are well');

spit($mode, 'slow');
ok(wait_for { many(); slow() == 1 }, 'one is slow, and counts');
ok($nginx->lines('is slow: '), 'the log tells of it');

spit($mode, 'left');
ok(wait_for { many(); $nginx->lines('known anew, 1 nodes') },
   'it leaves the cluster');

# to a worker once it has noticed, and there are two

ok(wait_for { many(); slow() == 0 }, 'and does not count any more');

$t->done();


sub slow {
    return RCache::Status->of($nginx)->{zones}[0]{redis_breakers_open};
}


sub many {
    my @c = map { $nginx->begin('GET', "/item/$_") } 1 .. 20;

    $_->response() for @c;
    return;
}


sub node {
    my ($n, $peer) = @_;

    while (my @command = $peer->request()) {
        my $how = slurp($mode);

        select undef, undef, undef, 0.1
            if $n == 1 && $how eq 'slow' && $command[0] eq 'GET';

        $peer->send($command[0] eq 'CLUSTER' ? slots($how)
            : $n == 1 && $how eq 'left' ? "-MOVED 9000 127.0.0.1:$ports[0]\r\n"
            : $command[0] eq 'GET' ? "\$-1\r\n" : "+OK\r\n");
    }

    return;
}


sub slots {
    my ($how) = @_;

    my $range = sub {
        my ($first, $last, $port) = @_;
        return "*3\r\n:$first\r\n:$last\r\n*2\r\n\$9\r\n127.0.0.1\r\n"
               . ":$port\r\n";
    };

    return $how eq 'left'
        ? "*1\r\n" . $range->(0, 16383, $ports[0])
        : "*2\r\n" . $range->(0, 8191, $ports[0])
          . $range->(8192, 16383, $ports[1]);
}


sub origin {
    my ($req) = @_;

    return response(200, [ 'Cache-Control' => 'no-store' ], $req->uri);
}
