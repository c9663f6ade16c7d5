package RCache::Lock;

# What tests of the lock ask of Redis.

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use RCache::Util qw(wait_for);

our @EXPORT = qw(calm);


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


1;
