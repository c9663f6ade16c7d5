#!/usr/bin/perl

# "nginx -s reload" is daily business: under load no request may fail by it,
# what was accepted for the store must arrive there, and no old worker may
# stay because of its connections to Redis.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Util qw(spawn stop_pid alive);

my $reloads = 20;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF', workers => 2, settle => 0);
    redis_proxy_cache_zone      api:1m server=%%REDIS%%
                                connect_timeout=30s timeout=30s;
    redis_proxy_cache_budget    5s;
    redis_proxy_cache_max_size  32m;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
        }

        # held for no longer than this, while the store has all its timeout

        location = /large {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache            api;
            redis_proxy_cache_budget     1s;
            redis_proxy_cache_in_flight  64m 64m;
        }
    }
CONF

# twenty times under load: hits and misses from three clients, each of which has
# asked some more before the next reload

my $stop = $t->dir . '/stop';
my @clients = map { my $n = $_; spawn(code => sub { client($n) },
                    log => $t->dir . "/client-$n") } 1 .. 3;

my $done = 0;
for my $n (1 .. $reloads) {
    $nginx->reload() and $done++;
    wait_for { 3 == grep { -s $t->dir . "/asked-$_" > 3 * $n } 1 .. 3 };
}

spit($stop, '');
for my $n (1 .. 3) {
    stop_pid($clients[$n - 1], 0);
    my ($count, @failed) = split /\n/, slurp($t->dir . "/client-$n");
    is_deeply(\@failed, [], "client $n saw no failure");
    cmp_ok($count, '>', 50, "in $count requests");
}

is($done, $reloads, "$reloads reloads");
ok(wait_for { $nginx->workers() == 2 }, 'no old worker is left');
is($nginx->get('/hot-1')->verdict, 'HIT -', 'the cache works');
unlike($nginx->errors(), qr/is down/, 'and Redis never seemed to be away');

# a worker that has to go finishes what it accepted: more than the sockets
# hold, to a Redis that does not read

my $c = $nginx->begin('GET', '/large');
ok(wait_for { $origin->count('/large') }, 'a large response is on its way');
$redis->freeze();
$origin->say('go');
my $r = $c->response('GET');
is(length $r->body, length large(), 'the client has all of it');
$c->close();

my %old = map { $_ => 1 } $nginx->workers();
ok($nginx->reload(), 'a reload while the store waits for Redis');
ok(scalar(grep { $old{$_} } $nginx->workers()),
   'the worker that has to store it is still there');
$redis->thaw();
ok($redis->wait_key('api:{http://localhost/large}'), 'the store is finished');
ok(wait_for { !grep { $old{$_} } $nginx->workers() }, 'and the worker goes');
$r = $nginx->get('/large');
is($r->verdict, 'HIT -', 'it is a hit');
ok($r->body eq large(), 'of the right bytes');

# a lookup in flight

$nginx->get('/other');
$redis->wait_key('api:{http://localhost/other}');
wait_for { $nginx->get('/other')->verdict eq 'HIT -' } for 1 .. 4;
$redis->freeze();
$c = $nginx->begin('GET', '/other');
%old = map { $_ => 1 } $nginx->workers();
ok($nginx->reload(), 'a reload while a lookup waits for Redis');
$redis->thaw();
$r = $c->response('GET');
is($r->status, 200, 'its client gets an answer');
is($r->body, 'answer /other', 'the right one');
$c->close();
ok(wait_for { !grep { $old{$_} } $nginx->workers() }, 'and the worker goes');

# Redis is frozen for good: that holds no worker for longer than the timeouts

$redis->freeze();
$c = $nginx->begin('GET', '/frozen');
%old = map { $_ => 1 } $nginx->workers();
ok($nginx->reload(), 'a reload while Redis is frozen');
$r = $c->response('GET');
is($r->body, 'answer /frozen', 'the request is answered');
$c->close();
ok(wait_for { !grep { $old{$_} } $nginx->workers() },
   'no worker waits for ever');
$redis->thaw();

# a reload with another Redis, another size and another prefix

wait_for { $nginx->get('/hot-1')->verdict eq 'HIT -' };
my $second = $t->redis(name => 'SECOND');
my $http = $nginx->{http};
$nginx->{vars}{REDIS} = $second->url();
ok($nginx->reload(old => 1), 'a reload to another Redis');
is($nginx->get('/hot-1')->verdict, 'MISS -', 'which is empty');
ok($second->wait_key('api:{http://localhost/hot-1}'), 'and is filled');

$nginx->{http} =~ s/api:1m/api:2m prefix=new:/;
ok($nginx->reload(old => 1), 'a reload to another size and prefix');
is($nginx->get('/hot-1')->verdict, 'MISS -', 'whose keys are others');
ok($second->wait_key('new:{http://localhost/hot-1}'), 'and are filled');

# away from a Redis that is gone: what was known of it does not matter

$second->stop();
wait_for { $nginx->get('/hot-1')->verdict =~ /redis_down/ };
$nginx->{vars}{REDIS} = $redis->url();
$nginx->{http} = $http;
ok($nginx->reload(old => 1), 'a reload away from a Redis that is gone');
ok(wait_for { $nginx->get('/hot-1')->verdict eq 'HIT -' }, 'hits again');

# and to a configuration without the cache

$nginx->{http} =~ s/^\s*redis_proxy_cache[^;]*;//mg;
ok($nginx->reload(old => 1), 'a reload to no cache at all');
is($nginx->get('/hot-1')->logged('cache'), '', 'there is none');
$nginx->{http} = $http;
ok($nginx->reload(old => 1), 'and back');
ok(wait_for { $nginx->get('/hot-1')->verdict eq 'HIT -' }, 'hits again');

$t->done();


sub client {
    my ($n) = @_;

    my ($count, @failed) = (0);

    open my $asked, '>', $t->dir . "/asked-$n" or die "asked: $!\n";

    while (!-e $stop) {
        my $hot = $count % 4;
        my $uri = $hot ? "/hot-$hot" : "/cold-$n-$count";
        $count++;

        my $r = eval {
            my $c = RCache::HTTP->new(port => $nginx->port());
            $c->request('GET', $uri);
        };

        push @failed, "$uri: " . ($r ? $r->line : $@ || 'no response')
            if !$r || $r->status != 200 || !$r->complete
               || $r->body ne "answer $uri";
        syswrite $asked, '.';
    }

    print join("\n", $count, @failed), "\n";
    return;
}


sub large { return 'the large body ' x 1_500_000 }


sub origin {
    my ($req, $reply) = @_;

    my $body = 'answer ' . $req->uri;

    if ($req->uri eq '/large') {
        $reply->wait_word('go');
        $body = large();
    }

    $reply->send(200, [ 'Cache-Control' => 'max-age=60' ], $body);
}
