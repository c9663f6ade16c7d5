#!/usr/bin/perl

# Redis goes away while requests have an expired entry in their hands.  Where
# redis_proxy_cache_fallback_limit leaves no room at the upstream, they are
# served that, if redis_proxy_cache_use_stale allows it, rather than made to
# wait or refused.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $nginx = $t->nginx(<<'CONF', settle => 0);
    redis_proxy_cache_zone            api:1m server=%%REDIS%%
                                      connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget          5s;
    redis_proxy_cache_key             $request_uri;
    redis_proxy_cache_lock_age        6s;
    redis_proxy_cache_lock_timeout    300s;
    redis_proxy_cache_fallback_limit  1 queue=0;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache  api;
        proxy_set_header   X-Mode $http_x_mode;
        add_header         X-Found $redis_proxy_cache_reason always;
        add_header         X-Cache $redis_proxy_cache_status always;

        location / {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  error timeout;
        }

        location /other/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  http_404;
        }
    }
CONF

my @uris = ('/stale', '/other/stale');

ok(wait_for { $nginx->get($_)->verdict eq 'HIT -' }, "$_ is stored")
    for @uris;

my $stored = time();
wait_for { time() > $stored + 1.2 };

# one asks the origin, another one waits for that

my (%leads, %waits);
for my $uri (@uris) {
    $leads{$uri} = ask($uri, 'X-Mode' => 'fail');
    ok(wait_for { asked($uri) == 2 }, "$uri has expired: one fetches");
    my $before = $redis->calls('get');
    $waits{$uri} = ask($uri);
    ok(wait_for { $redis->calls('get') > $before }, 'another one waits');
}

# Redis goes, and the one place is taken

$redis->stop();
my $holds = ask('/holds');
ok(wait_for { asked('/holds') == 1 }, 'Redis goes, one place is taken');
is($nginx->get('/more')->status, 503, 'there is no other');

# who fetches has had its time, and it is the turn of who waited

my $r = $waits{'/stale'}->response();
is($r->status . ' ' . $r->body, '200 /stale', 'who waited is served');
is($r->header('X-Cache'), 'STALE', 'what is stale');
is(asked('/stale'), 2, 'the origin is not asked');

# not where that is not allowed: that it has expired is not because of Redis

$r = $waits{'/other/stale'}->response();
is($r->status . ' ' . ($r->header('X-Cache') // ''), '200 EXPIRED',
   'where stale is not allowed the origin is asked');
is(asked('/other/stale'), 3, 'once more');

for my $uri (@uris) {
    $origin->say("go-$uri");
    is($leads{$uri}->response()->status, 500, 'who was first has its answer');
}

# with room there is no reason for anything stale

$origin->say('go-/holds');
is($holds->response()->status, 200, 'the place is free');
is($nginx->get('/now')->status, 200, 'for the next one');

$t->done();


sub ask {
    my ($uri, @headers) = @_;

    return $nginx->begin('GET', $uri, headers => \@headers);
}


sub asked {
    my ($uri) = @_;

    return scalar grep { $_->uri eq $uri } $origin->requests();
}


sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $fails = ($req->header('X-Mode') // '') eq 'fail';

    return ($fails || $uri eq '/holds' ? \"go-$uri" : (),
            $fails ? response(500, [], 'failed')
                   : response(200, [ 'Cache-Control' => 'max-age=1' ], $uri));
}
