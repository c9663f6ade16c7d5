#!/usr/bin/perl

# How much memory does the cache take of a Redis that others use as well?  By a
# sample, so that it costs next to nothing; what it says is held against what
# Redis knows of each key.  A user who may not look has no figure, and no harm.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw(sum);
use Test::More;
use RCache;
use RCache::Status;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%% sample=20ms
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_zone    other:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache_key           $request_uri;
        redis_proxy_cache_segment_size  4k;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
        }

        location /other/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  other;
        }

        location = /status {
            redis_proxy_cache_status;
        }
    }
CONF

my $nginx = $t->nginx($conf, workers => 2, settle => 0);

is(zone()->{redis_bytes}, 0, 'nothing is in it, and it takes nothing');
is(zone()->{rent_bytes}, 0, 'nor is there a rent');

# entries of all sizes, with segments, among others

$nginx->get("/$_/" . $_ % 7 * 1000) for 1 .. 200;
$nginx->get("/other/$_/3000") for 1 .. 100;
ok(wait_for { $redis->cmd('DBSIZE') > 300 }, "all are stored");
$redis->cmd('SET', "stranger:$_", 'x' x 2000, 'EX', 600) for 1 .. 100;

near('the zone');
is(zone(1)->{redis_bytes}, 0, 'the other one is not sampled');

# half of it goes, the strangers stay

$redis->cmd('UNLINK', $_) for grep { /^api:\{\/1?\d?\d\// }
                              $redis->keys('api:*');
near('what is left');

# the rent: a fetch took a tenth of a second, and is saved by each hit

$nginx->get('/slow') for 1 .. 3;
my $z;
ok(wait_for { $z = zone(); $z->{rent_bytes} }, 'there is a rent');
cmp_ok($z->{rent_bytes}, '>', $z->{redis_bytes},
       'more than the memory itself, as less than a second a second is saved');

is(RCache::Status::promtool($t->dir,
    $nginx->get('/status?format=prometheus')->body), '',
   'promtool has nothing to say');
like($nginx->get('/status?format=prometheus')->body,
     qr/^redis_proxy_cache_redis_bytes\{zone="api"\} [1-9]\d+$/m,
     'Prometheus has it');

# after a reload it goes on; Redis away, and a user who may not

$nginx->reload();
near('after a reload');

$redis->cmd('ACL', 'SETUSER', 'default', '-memory');
$nginx->tolerate(qr/does not let its memory be sampled/);
ok($nginx->wait_line(qr/does not let its memory be sampled: NOPERM/),
   'it is said if Redis does not allow it');
$redis->cmd('ACL', 'SETUSER', 'default', '+memory');

$redis->stop();
is($nginx->get('/away')->status, 200, 'without Redis');
$redis->start();
ok(wait_for { $nginx->get('/again')->verdict =~ /HIT/ }, 'it is back');

$t->done();


sub zone {
    my ($n) = @_;

    return RCache::Status->of($nginx)->{zones}[$n || 0];
}


# within a fifth, which a sample that is no sample would not be

sub near {
    my ($name) = @_;

    my @keys = $redis->keys('api:*');
    my $real = sum(map { $redis->cmd('MEMORY', 'USAGE', $_) || 0 } @keys);
    my $said;

    ok(wait_for {
        $said = zone()->{redis_bytes};
        $said > 0.8 * $real && $said < 1.2 * $real;
    }, "$name: about what Redis says") or diag("$said of $real");

    return;
}


sub origin {
    my ($req, $reply) = @_;

    $reply->delay(0.1) if $req->uri eq '/slow';

    $reply->send(200, [ 'Cache-Control' => 'max-age=600' ],
                 'x' x ($req->uri =~ m{/(\d+)$} ? $1 : 10));
}
