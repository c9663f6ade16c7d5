#!/usr/bin/perl

# A server that does not know what others know, or may not be asked: what is of
# use, but not needed, is done without, and not asked for over and over.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis(config => [ 'rename-command CLIENT ""',
                                  'rename-command ROLE ""' ]);
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF', workers => 1, settle => 0);
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=10s timeout=10s;
    redis_proxy_cache_budget  10s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      api;
            redis_proxy_cache_key  $request_uri;
        }
    }
CONF

is($nginx->get('/a')->verdict, 'MISS -', 'no CLIENT: a miss');
ok($redis->wait_key('api:{/a}'), 'which is stored');
is($nginx->get('/a')->verdict, 'HIT -', 'and a hit');
is_deeply([ $nginx->lines('\[(?:warn|error|crit)\]') ], [],
          'nobody has to be told of that');

# by now it is known what there is not

$redis->restart();
ok(wait_for { $nginx->get('/b')->verdict eq 'HIT -' }, 'connections are new');

my ($opened) = $redis->cmd(qw(INFO clients)) =~ /^connected_clients:(\d+)/m;
my ($errors) = $redis->cmd(qw(INFO stats)) =~ /^total_error_replies:(\d+)/m;
cmp_ok($errors, '>', 0, 'each tries to say its name');
cmp_ok($errors, '<=', $opened, 'and nothing else that is not known');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=600' ], $req->uri);
}
