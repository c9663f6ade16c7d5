#!/usr/bin/perl

# What one worker learns about Redis the others need not learn again, and an
# operator reads one line, not one for each worker, when Redis goes and when
# it comes back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $workers = 3;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

# each worker listens for itself, so that all of them get requests

my $nginx = $t->nginx(<<'CONF', workers => $workers, settle => 0);
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=2s timeout=2s;
    redis_proxy_cache_budget  2s;

    server {
        listen  127.0.0.1:%%PORT%% reuseport;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
            add_header         X-Worker $pid;
        }
    }
CONF

$nginx->get('/warm');
$redis->wait_key('api:{http://localhost/warm}');

ok(all_workers('HIT'), 'every worker serves hits');

for my $round (1, 2) {
    $nginx->mark();
    $redis->stop();
    ok(all_workers('MISS'), "$round: Redis is gone for every worker");
    ok($nginx->wait_line('is down'), 'the log tells of it');

    $redis->start();
    ok(all_workers('HIT'), 'Redis is back for every worker');
    is(scalar($nginx->lines('is down')), 1, 'one line that it went')
        or diag($nginx->errors());
    is(scalar($nginx->lines('is up again')), 1, 'one line that it came')
        or diag($nginx->errors());
    is(scalar($nginx->lines('\[(?:warn|error|crit)\]')), 1, 'and no other')
        or diag($nginx->errors());
}

is($nginx->get('/warm')->status, 200, 'after all of that, an answer');

# a worker that dies takes nothing with it but itself

my @before = $nginx->workers();
kill 'KILL', $before[0];
$nginx->tolerate("worker process $before[0] exited on signal 9");
ok(wait_for {
    my @now = $nginx->workers();
    @now == $workers && !grep { $_ == $before[0] } @now;
}, 'a worker is killed, and there is a new one');
ok(all_workers('HIT'), 'every worker serves hits, the new one too');

$t->done();


# True when each worker has answered with that status, and all answers were
# right.

sub all_workers {
    my ($status) = @_;

    my %seen;

    return wait_for {
        my $r = $nginx->get('/warm');
        return 0 if $r->status != 200 || $r->body ne 'warm';
        $seen{ $r->header('X-Worker') } = 1 if $r->verdict =~ /^$status/;
        return $workers <= grep { $seen{$_} } $nginx->workers();
    };
}


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=60' ], 'warm');
}
