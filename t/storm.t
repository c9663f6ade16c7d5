#!/usr/bin/perl

# Clients ask for hot pages while Redis is killed and started again and
# again.  No request may fail, no byte be wrong, no worker die, and nothing
# leak.  RCACHE_STORM is the least number of requests; 100000 is the full
# storm, with a kill every second.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;
use RCache::Util qw(spawn stop_pid alive patience);

my $requests = $ENV{RCACHE_STORM} || 5000;
my $clients = 4;
my $pages = 60;

# a short storm has to be denser, or it would see no kill at all
my ($every, $least) = $requests > 20000 ? (1, 5) : (0.15, 8);

my $t = RCache->new();
my $redis = $t->redis(unix => 0);
my $origin = $t->origin(\&origin, workers => 8);

my $nginx = $t->nginx(<<'CONF', workers => 2, settle => 0);
    redis_proxy_cache_zone  api:1m server=%%REDIS%%
                            connect_timeout=1s timeout=1s;

    server {
        listen  127.0.0.1:%%PORT%%;

        keepalive_requests  1000;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
            add_header         X-Cache $redis_proxy_cache_status;
        }
    }
CONF

my @workers = sort $nginx->workers();

storm('warm', int($requests / 10), 2);
my $before = $nginx->rss();

my $kills = storm('storm', $requests, $least);
my $after = $nginx->rss();

cmp_ok($kills, '>=', $least, "Redis was killed $kills times");
is_deeply([ sort $nginx->workers() ], \@workers, 'no worker has died');
cmp_ok($after - $before, '<', $ENV{ASAN_OPTIONS} ? 200_000 : 6_000,
       'memory has not grown') or diag("from $before to $after KiB");

# and when it is over

ok(wait_for { get_page(1)->verdict eq 'HIT -' }, 'hits again after the storm');
is(get_page(1)->body, page('/page-1'), 'of the right bytes');

my $down = $nginx->lines('is down');
my $up = $nginx->lines('is up again');
cmp_ok(abs($down - $up), '<=', 1, "$down times down, $up times up");
cmp_ok($down, '<=', $kills * 2 + 2, 'one line for each change of state');

note("$requests requests, $kills kills, $before to $after KiB resident");

$t->done();


# Clients make at least that many requests, while Redis is killed at least
# that many times; the number of kills.

sub storm {
    my ($name, $count, $least) = @_;

    my $enough = $t->dir . "/$name-enough";

    my @pids = map { my $n = $_; spawn(
        code => sub { client($n, int($count / $clients), $enough) },
        log => $t->dir . "/$name-$n") } 1 .. $clients;

    my $kills = 0;
    my $served = 0;

    while (grep { alive($_) } @pids) {
        wait_for { !grep { alive($_) } @pids } $every and last;

        # on a slow machine this takes longer than that
        wait_for { get_page(1)->verdict eq 'HIT -' } 5;

        $redis->stop('KILL');
        $redis->start();
        spit($enough, '') if ++$kills == $least;
    }

    for my $n (1 .. $clients) {
        my $status = stop_pid($pids[$n - 1], 0);
        my $said = slurp($t->dir . "/$name-$n");
        my ($made, $hits) = $said =~ /^made (\d+) hits (\d+)$/m;
        my @wrong = grep { !/^made/ } split /\n/, $said;

        is_deeply([ @wrong[0 .. ($#wrong < 4 ? $#wrong : 4)] ], [],
                  "$name, client $n: every answer is right");
        cmp_ok($made // 0, '>=', int($count / $clients), 'and all were made');
        $served += $hits // 0;
    }

    cmp_ok($served, '>', 0, "$name: some of them hits");
    return $kills;
}


# One client, which takes a new connection every now and then.

sub client {
    my ($n, $count, $enough) = @_;

    srand($n);
    my ($c, $hits, $made) = (undef, 0, 0);

    while ($made < $count || !-e $enough) {
        my $uri = '/page-' . int(rand($pages));
        my $keep = ++$made % 50 != 0;

        $c ||= RCache::HTTP->new(port => $nginx->port());
        my $r = $c->request('GET', $uri, keepalive => $keep);

        if (!$r) {
            print "$made $uri: no response\n";
            undef $c;
            next;
        }

        if ($r->status != 200 || !$r->complete || $r->body ne page($uri)) {
            print "$made $uri: ", $r->line, ', ', length $r->body, " bytes\n";
        }

        $hits++ if ($r->header('X-Cache') // '') eq 'HIT';
        undef $c if !$keep || ($r->header('Connection') // '') eq 'close';
    }

    print "made $made hits $hits\n";
    return;
}


sub get_page { my ($n) = @_; return $nginx->get("/page-$n") }


# Every page has its own size, up to 60 KiB, and its URI all over it.

sub page {
    my ($uri) = @_;

    my ($n) = $uri =~ /(\d+)/;
    return substr "[$uri] " x (1 + $n * 100), 0, 20 + $n * 1000;
}


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=60' ], page($req->uri));
}
