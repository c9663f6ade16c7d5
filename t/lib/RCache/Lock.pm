package RCache::Lock;

# What tests of the lock have in common: a configuration, what they ask of
# Redis, and what all clients of a crowd are to get.

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use RCache::Crowd;
use RCache::Util qw(wait_for);

our @EXPORT = qw(patient calm whole same);


# lines of nginx.conf: a zone in which nothing ends because time is over

sub patient {
    my ($server) = @_;

    $server //= '%%REDIS%%';

    return <<"CONF";
    redis_proxy_cache_zone          api:1m server=$server
                                    connect_timeout=30s timeout=30s;
    redis_proxy_cache_budget        30s;
    redis_proxy_cache_lock_age      300s;
    redis_proxy_cache_lock_timeout  300s;
CONF
}


# no lock is left, and nobody waits for one

sub calm {
    my ($redis, $uri, $zone) = @_;

    $zone //= 'api';
    ok((wait_for { !(() = $redis->keys("$zone:{$uri}*:l")) }),
       "$uri: no lock is left") or diag(join ' ', $redis->keys('*:l'));
    ok((wait_for { !@{ $redis->cmd('PUBSUB', 'CHANNELS') } }),
       'and nobody listens');

    return;
}


# all of a crowd have a 200, and a body of that length

sub whole {
    my ($name, $count, $length, @got) = @_;

    is(scalar(@got), $count, "$name: all are back");
    is_deeply(RCache::Crowd::tally('status', @got), { 200 => $count },
              'with a 200');
    is_deeply(RCache::Crowd::tally('length', @got), { $length => $count },
              'of the right length');
    is(scalar(grep { !$_->{complete} } @got), 0, 'a whole one');

    return;
}


sub same {
    my (@got) = @_;

    is(scalar(keys %{ RCache::Crowd::tally('md5', @got) }), 1,
       'the same bytes');

    return;
}


1;
