#!/usr/bin/perl

# Lua takes its time for each byte of a value that goes through it, and Redis
# has but one thread.  So what is longer than a few KiB goes ahead, under a name
# of its own, and the script that looks at the lock only renames it.  What that
# must not do: store what the script would have refused, leave anything behind,
# or cost the client its answer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone        api:1m server=%%REDIS%%
                                  connect_timeout=30s timeout=30s;
    redis_proxy_cache_key         $uri;
    redis_proxy_cache_budget      30s;
    redis_proxy_cache_lock_age    300s;
    redis_proxy_cache_revalidate  on;

    server {
        listen             127.0.0.1:%%PORT%%;
        redis_proxy_cache  api;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my ($r, $entry);

# a short one goes along with the script

is($nginx->get('/short')->verdict, 'MISS -', 'a short one');
is($nginx->get('/short')->verdict, 'HIT -', 'is stored');
is($redis->calls('rename'), 0, 'in one command');

# a long one

stored('/long', 1);

# one that is there already, and expired; and with variants

is($nginx->get('/brief')->verdict, 'MISS -', 'one that does not live long');
ok($redis->wait_key('api:{/brief}'), 'it is there');
$entry = $redis->get('api:{/brief}');
ok(wait_for { $nginx->get('/brief')->verdict eq 'EXPIRED -' }, 'it expires');
isnt($redis->get('api:{/brief}'), $entry, 'a new one has taken its place');
is($redis->calls('rename'), 3, 'it was renamed, too');

for my $kind ('a', 'b') {
    $r = $nginx->get('/vary', 'X-Kind' => $kind);
    is($r->verdict, 'MISS -', "variant $kind");
    $r = $nginx->get('/vary', 'X-Kind' => $kind);
    is($r->verdict, 'HIT -', 'is stored');
    like($r->body, qr/^\/vary $kind z+$/, 'and is the right one');
}

is($redis->calls('rename'), 5, 'and so were they');
is_deeply([ grep { /:l(?::|$)/ } $redis->keys() ], [], 'nothing is left');

# invalidated while it is fetched: it is not stored, and what went ahead is
# nobody's

$r = fetch('/slow/void');
$redis->cmd('SET', 'api:{/slow/void}:l', '0', 'PX', 60000);
$origin->say('void');
$r = $r->answer();
is($r->status, 200, 'an invalidation: the client has its answer');
like($r->body, qr/^\/slow\/void - z+$/, 'all of it');
gone('/slow/void', '0');

# the lock is another's by now

$r = fetch('/slow/lost');
$redis->cmd('SET', 'api:{/slow/lost}:l', 'another', 'PX', 60000);
$origin->say('lost');
is($r->answer()->status, 200, 'another one\'s lock');
gone('/slow/lost', 'another');

# Redis is full: the lock was had before

$r = fetch('/slow/full');
$redis->cmd(qw(CONFIG SET maxmemory 1));
$origin->say('full');
is($r->answer()->status, 200, 'a full Redis');
ok(wait_for { $nginx->lines('refuses stores: OOM') }, 'is what it is called');
ok(wait_for { !$redis->exists('api:{/slow/full}:l') }, 'no lock is left');
is($redis->exists('api:{/slow/full}'), 0, 'nothing is stored');
$redis->cmd(qw(CONFIG SET maxmemory 0));
$r = () = $nginx->lines('accepts stores again');
is($r, 0, 'the script is no second word');

stored('/after', 6);
$r = () = $nginx->lines('accepts stores again');
is($r, 1, 'Redis takes it again');

$t->done();


# a miss, then a hit, and nothing else is there

sub stored {
    my ($uri, $renamed) = @_;
    my $key = "api:{$uri}";

    $r = $nginx->get($uri);
    is($r->verdict, 'MISS -', "$uri: a miss");
    $r = $nginx->get($uri);
    is($r->verdict, 'HIT -', 'a hit');
    like($r->body, qr/^$uri - z{20000}$/, 'all of it');
    is($redis->calls('rename'), $renamed, 'it went ahead, and was renamed');
    is_deeply([ $redis->keys("$key*") ], [ $key ], 'and is all that is left');
    cmp_ok($redis->pttl($key), '>', 500_000, 'for its own time');

    return;
}


# a request that waits for the origin, and has the lock

sub fetch {
    my ($uri) = @_;
    my $c = $nginx->begin('GET', $uri);

    ok(wait_for { $origin->count($uri) }, "$uri is being fetched");
    like($redis->get("api:{$uri}:l"), qr/^[0-9a-f]{24}$/, 'under a lock');

    return $c;
}


sub gone {
    my ($uri, $lock) = @_;
    my ($left) = grep { /:l:/ } $redis->keys("api:{$uri}*");

    is($redis->exists("api:{$uri}"), 0, 'it is not stored');
    is($redis->get("api:{$uri}:l"), $lock, 'the lock is as it was');
    ok(!defined $left || $redis->pttl($left) <= 120_000,
       'what went ahead goes by itself');

    return;
}


sub origin {
    my ($req, $reply) = @_;
    my $uri = $req->uri;
    my $kind = $req->header('X-Kind') // '-';

    $reply->wait_word($1) if $uri =~ m{^/slow/(.*)};

    return $reply->send(200, [ $uri =~ /brief/
                               ? ('Cache-Control' => 'max-age=1',
                                  ETag => '"' . $req->n . '"')
                               : ('Cache-Control' => 'max-age=600'),
                           $uri =~ /vary/ ? (Vary => 'X-Kind') : () ],
                    "$uri $kind " . 'z' x ($uri =~ /short/ ? 1000 : 20_000));
}
