#!/usr/bin/perl

# A Redis that answers, but late, is worse than one that is gone: without a
# breaker each request would wait for it.  Also: commands that stop in the
# middle of nowhere, pauses, and a reply in the way of another.  Each shows a
# bounded delay, and heals by itself.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Status;

my $bound = $ENV{ASAN_OPTIONS} ? 10 : 4;

my $t = RCache->new();
my $redis = $t->redis();
my $relay = $t->relay($redis->port);
my $origin = $t->throng(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=redis://127.0.0.1:%%RELAY%%
                              connect_timeout=1s timeout=%%TIME%% %%SLOW%%;
    redis_proxy_cache_budget  1s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      api;
            redis_proxy_cache_key  $request_uri;
            add_header             X-Found $redis_proxy_cache_reason;
            add_header             X-Redis $redis_proxy_cache_redis;
        }

        location = /status {
            redis_proxy_cache_status;
        }
    }
CONF

my $nginx = $t->nginx($conf, workers => 2, settle => 0,
                      vars => { TIME => '5s', SLOW => 'slow=100ms' });
my $serial = 0;
my @hot = map { "/hot/$_" } 1 .. 10;

warm($nginx);

# late

$relay->set(0.25);
my $rounds = 0;
ok(wait_for {
    $rounds++;
    many($nginx, @hot);
    return $nginx->lines('is slow: \d+ of \d+ answers');
}, 'answers take 250 ms: it is told of') or diag($nginx->errors());
is(scalar($nginx->lines('is slow:')), 1, 'in one line');
state('slow', 1);

# while it is open nobody waits, but for one that looks, now and then

my $before = $redis->calls('get');
my ($all, $down) = (0, 0);
for (1 .. 30) {
    my @found = many($nginx, @hot);
    $all += @found;
    $down += grep { $_ eq 'redis_down' } @found;
}
my $asked = $redis->calls('get') - $before;
cmp_ok($down, '>', $all * 0.8, "$down of $all requests do without");
cmp_ok($asked, '<', $all * 0.2, "$asked of them were let through");

$relay->set('');
ok(wait_for { many($nginx, $hot[0]); $nginx->lines('is fast again') },
   'it answers fast again, which is seen');
ok(wait_for { !grep { $_ ne '-' } many($nginx, @hot) }, 'all are hits');
is(scalar($nginx->lines('is fast again')), 1, 'one line tells of it');
state('up', 0);

# one stall is no reason

$nginx->mark();
$relay->set(0.25);
many($nginx, @hot[0 .. 3]);
$relay->set('');
ok(wait_for { !grep { $_ ne '-' } many($nginx, @hot) }, 'a hiccup: hits');
is(scalar($nginx->lines('is slow:')), 0, 'and no word of it');
$nginx->stop();

# nothing comes back: half-open connections, pauses, cuts

$nginx = $t->nginx($conf, workers => 2, settle => 0,
                   vars => { TIME => '1s', SLOW => '' });
warm($nginx);

for (
    [ 'nothing goes through', sub { $relay->set('hang') },
      sub { $relay->set('') } ],
    [ 'all connections are cut', sub { $relay->set('cut') },
      sub { $relay->set('') } ],
    [ 'CLIENT PAUSE', sub { $redis->cmd(qw(CLIENT PAUSE 3000 ALL)) },
      sub { } ],
) {
    my ($name, $break, $mend) = @$_;

    $nginx->mark();
    $break->();

    my (@late, $n);
    ok(wait_for {
        my $from = clock();
        many($nginx, @hot);
        my $took = clock() - $from;
        push @late, $took if $took > $bound;
        $n++;
        return $nginx->lines('is down: ');
    }, "$name: it counts as gone");

    my $from = clock();
    my @found = map { many($nginx, @hot) } 1 .. 10;
    cmp_ok(clock() - $from, '<', 2 * $bound,
           '100 requests do not wait for it');
    is_deeply(\@late, [], 'none was late');

    $mend->();
    ok(wait_for { !grep { $_ ne '-' } many($nginx, @hot) },
       'hits again');
}

# a large reply is no reason for those behind it to give up, if it moves; more
# than once, for on a busy machine Redis may be slow for another one

ok(wait_for { $nginx->get('/large')->verdict eq 'HIT -' },
   'a large response');
ok(wait_for { !grep { $_ ne '-' } many($nginx, ('/large', @hot) x 3) },
   'large ones in front of small ones: hits');

$t->done();



# what the variable and the counters say of it

sub state {
    my ($word, $open) = @_;

    is($nginx->get('/state')->header('X-Redis'), $word, "it is $word");

    my $zone = RCache::Status->of($nginx)->{zones}[0];
    is($zone->{redis_breakers_open}, $open, 'the metrics say so');
    return;
}

sub warm {
    my ($nginx) = @_;

    ok(wait_for { !grep { $_ ne '-' } many($nginx, @hot) }, 'all is well');
    return;
}


# All of these at the same time; why each was no hit.  A wrong answer is told
# at once.

sub many {
    my ($nginx, @uris) = @_;

    my @c = map {
        my $c = $nginx->connect();
        $c->send("GET $_ HTTP/1.1\r\nHost: localhost\r\n"
                 . "Connection: close\r\n\r\n");
        $c;
    } @uris;

    my @found;

    for my $n (0 .. $#uris) {
        my $r = $c[$n]->response();
        if ($r->status != 200 || $r->body !~ /^\Q$uris[$n]\E /) {
            fail("a right answer to $uris[$n]");
            diag($r->line);
        }
        push @found, $r->header('X-Found') // 'none';
    }

    return @found;
}


sub origin {
    my ($req) = @_;

    my $uri = $req->uri;

    return response(200, [ 'Cache-Control' => 'max-age=600' ],
                    "$uri " . ($uri =~ /large/ ? 'x' x 1_000_000 : 'body'));
}
