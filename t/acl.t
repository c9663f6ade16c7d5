#!/usr/bin/perl

# The Redis user of the documentation can do all that the module does, and
# nothing else: not even read a key with another prefix.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

# the line as it is printed

my ($line) = slurp("$FindBin::Bin/../docs/storage-format.md")
    =~ /^    (ACL SETUSER cache .*?)$(?!\\)\n(?!     )/ms;
$line =~ s/\\\n\s*//g;
like($line, qr/^ACL SETUSER cache on >secret ~api:\* &api:\*( \+\S+)+$/,
     'the documentation has a line');

my @words = split ' ', $line;
@words = grep { !/^&/ } @words if !channels();
is($redis->cmd(@words), 'OK', 'which Redis takes');

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%% prefix=api:
                              user=cache password=secret
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_zone    idle:1m server=%%REDIS%% prefix=api:idle:
                              user=cache password=secret inactive=10m
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache_valid   200 1m;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /idle/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      idle;
        }

        location /unlocked/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_lock off;
        }

        location /revalidate/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
        }

        location = /admin {
            redis_proxy_cache_admin  api;
        }
    }
CONF

my $other = $t->nginx(<<'CONF', settle => 0);
    redis_proxy_cache_zone    api:1m server=%%REDIS%% prefix=api:
                              user=cache password=secret
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_lock_timeout  60s;
    redis_proxy_cache_lock_age      60s;
    redis_proxy_cache_valid         200 1m;
    redis_proxy_cache               api;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

for my $uri ('/a', '/idle/a', '/unlocked/a', '/vary') {
    is($nginx->get($uri)->verdict, 'MISS -', "$uri: a miss");
    is($nginx->get($uri)->verdict, 'HIT -', 'a hit');
}

is($nginx->get('/revalidate/a')->verdict, 'MISS -', 'one to be revalidated');
$nginx->settle();
is($nginx->get('/revalidate/a')->logged('cache'), 'REVALIDATED',
   'is revalidated');

is($nginx->get('/cookie')->verdict, 'MISS set_cookie', 'a mark is set');
$nginx->request('DELETE', '/a');
is($nginx->get('/a')->verdict, 'MISS -', 'an invalidation');

# another instance waits, is told, and gets what the first one has fetched

my $c = $nginx->begin('GET', '/held');
ok(wait_for { $origin->count('/held') }, 'one fetches');

my $d = $other->begin('GET', '/held');
ok(wait_for { $redis->cmd('PUBSUB', 'CHANNELS', 'api:*held*')->[0] },
   'another one waits');
$origin->say('go');

is($c->response()->body, 'answer', 'the first one');
is($d->response()->body, 'answer', 'and the second one get it');
is($origin->count('/held'), 1, 'from one fetch');

is_deeply($redis->cmd('ACL', 'LOG'), [], 'Redis has refused nothing')
    or diag(explain($redis->cmd('ACL', 'LOG')));
ok(!$nginx->lines('refuses'), 'nor has nginx heard of it');

# and nothing else

$redis->cmd('SET', 'shop:secret', 'x', 'EX', 100);

for (
    [ GET => 'shop:secret' ], [ SET => 'shop:secret', 'y' ],
    [ KEYS => '*' ], [ 'FLUSHALL' ], [ 'FLUSHDB' ], [ CONFIG => 'GET', '*' ],
    [ ACL => 'LIST' ], [ SCAN => 0 ], [ 'MONITOR' ],
    [ EVAL => 'return redis.call("GET", KEYS[1])', 1, 'shop:secret' ],
    [ EVAL => 'return redis.call("GET", "shop:secret")', 0 ],
    (channels() ? [ PUBLISH => 'shop:x', 'y' ] : ()),
) {
    my $said = as_user(@$_);
    like($said, qr/NOPERM|no permissions|ACL failure|can't access/i,
         "refused: @$_");
}

# but for a purge by a regular expression, as the documentation says

my ($more) = slurp("$FindBin::Bin/../docs/storage-format.md")
    =~ /^    (ACL SETUSER cache \+scan.*)$/m;
$redis->cmd(split ' ', $more);
$redis->cmd('ACL', 'LOG', 'RESET');

for my $soft ('true', 'false') {
    is($nginx->request('POST', '/admin',
           body => "{\"regexes\":[\".\"],\"soft\":$soft}",
           headers => [ 'Content-Type' => 'application/json' ])->status, 200,
       "a regex, soft: $soft");
    ok(wait_for { $nginx->get('/admin')->body
                  =~ /"soft":$soft,"state":"done".*"purged":[1-9]/ },
       'it is done');
}

is_deeply($redis->cmd('ACL', 'LOG'), [], 'Redis has refused nothing')
    or diag(explain($redis->cmd('ACL', 'LOG')));

$t->done();


sub channels {
    my ($v) = $redis->cmd('INFO', 'server') =~ /redis_version:(\d+\.\d+)/;
    return $v >= 6.2;
}


# what redis-cli says as that user

sub as_user {
    my @args = @_;

    my ($host, $port) = $redis->url() =~ m{^redis://([^:/]+):(\d+)};

    open my $fh, '-|', 'redis-cli', '-h', $host, '-p', $port, '--user',
        'cache', '--pass', 'secret', '--no-auth-warning', @args or die $!;
    local $/;
    my $said = <$fh> // '';
    close $fh;

    return $said;
}


sub origin {
    my ($req, $reply) = @_;

    $reply->wait_word('go') if $req->path eq '/held';

    if ($req->path eq '/revalidate/a') {

        if ($req->header('If-None-Match')) {
            $reply->head(304, 'Cache-Control', 'max-age=60', ETag => '"1"');
            return;
        }

        $reply->send(200, [ 'Cache-Control', 'max-age=0', ETag => '"1"' ],
                     'answer');
        return;
    }

    $reply->send(200, [ $req->path eq '/vary' ? (Vary => 'Accept-Language')
                        : $req->path eq '/cookie' ? ('Set-Cookie' => 'a=b')
                        : () ], 'answer');
}
