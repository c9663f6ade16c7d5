#!/usr/bin/perl

# Who purges how much, and by what?  A deployment that purges everything, once
# a minute, is why there are no hits.  Each instance counts what it has entered
# in the log, by kind, and what Redis did not take does not count.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;
use RCache;
use RCache::Status;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(sub {
    my ($req, $reply) = @_;
    return $reply->send(200, [ 'Cache-Control' => 'max-age=600' ], 'a');
});
my $nginx = $t->nginx(<<'CONF', workers => 2, settle => 0);
    redis_proxy_cache_zone    api:1m server=%%REDIS%% connect_timeout=20s
                              timeout=20s;
    redis_proxy_cache_budget  20s;

    map $request_method $purge {
        PURGE    1;
        default  0;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass                         http://%%ORIGIN%%;
            redis_proxy_cache                  api;
            redis_proxy_cache_purge            $purge soft=$http_x_soft;
            redis_proxy_cache_invalidate_tags  $http_x_tags;
        }

        location = /purge {
            redis_proxy_cache_admin  api;
        }

        location /status {
            redis_proxy_cache_status;
        }
    }
CONF

is_deeply(purges(), {}, 'nothing was purged yet');

is($nginx->request('PURGE', '/a')->status, 204, 'PURGE of a key');
is($nginx->request('PURGE', '/a', headers => [ 'X-Soft' => 1 ])->status, 204,
   'softly');
is($nginx->request('PURGE', '/b/*')->status, 204, 'and of a prefix');
counted({ key => 2, prefix => 1 }, 'PURGE');

call({ tags => [ 'x', 'y' ], urls => [ 'http://localhost/a' ] });
call({ prefixes => [ 'http://localhost/c/' ], users => [ 'me' ] });
call({ all => JSON::PP::true });
call({ regexes => [ '^http://localhost/d', 'e$' ] });
counted({ key => 3, prefix => 2, tag => 2, user => 1, regex => 2, all => 1 },
        'POST');

is($nginx->request('POST', '/a', headers => [ 'X-Tags' => 'p q r' ])->status,
   200, 'a write');
counted({ key => 3, prefix => 2, tag => 5, user => 1, regex => 2, all => 1 },
        'invalidates tags');

is(RCache::Status::promtool($t->dir,
    $nginx->get('/status?format=prometheus')->body), '',
   'promtool has nothing to say');

$redis->stop();
isnt($nginx->request('PURGE', '/a')->status, 200, 'without Redis');
is(purges()->{key}, 3, 'nothing is purged, and nothing counted');

$t->done();


sub call {
    my ($what) = @_;

    my $r = $nginx->request('POST', '/purge',
        body => JSON::PP->new->canonical->encode($what),
        headers => [ 'Content-Type' => 'application/json' ]);
    is($r->status, 200, join ' ', sort keys %$what);

    return;
}


sub purges {
    my $purges = RCache::Status->of($nginx)->{zones}[0]{purges};

    return { map { $_ => $purges->{$_} } grep { $purges->{$_} }
             keys %$purges };
}


sub counted {
    my ($expected, $what) = @_;

    wait_for {
        my $purges = purges();
        !grep { ($purges->{$_} || 0) != $expected->{$_} } keys %$expected;
    } 10;

    is_deeply(purges(), $expected, $what);

    return;
}
