#!/usr/bin/perl

# While Redis is away the workers of an instance still share a fetch.  Nearly
# all of them have nobody to share it with, and those have no flight of their
# own: one is made when another request comes.  If that went wrong, the
# upstream would get each request, or a client would wait for a fetch that has
# ended, or get what was fetched before a write.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Lock;

my $t = RCache->new();
my $origin = $t->throng(\&origin);

$t->set(DEAD => free_port());

my $conf = patient('redis://127.0.0.1:%%DEAD%%') . <<'CONF';

    server {
        listen  127.0.0.1:%%PORT%% reuseport;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        add_header             X-Cache  $redis_proxy_cache_status always;
        add_header             X-Worker $pid always;
        add_header             X-Reason $redis_proxy_cache_reason always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /aged/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_lock_age  5s;
        }

        location /who {
            redis_proxy_cache  off;
            return             204;
        }
    }
CONF

my $nginx = $t->nginx($conf, workers => 2, settle => 0);
my (@here, @there, $leader, $other, $r, $n);

# both workers know that it is away

for my $pid ($nginx->workers()) {
    $leader = at($pid);
    get($leader, '/known');
    is($leader->answer()->status, 200, "worker $pid has noticed");
}

# alone: as without the cache

$r = $nginx->get('/alone');
is($r->body, 'answer 1 to /alone', 'a fetch of its own');
is($r->header('X-Reason'), 'redis_down', 'Redis is away');
is($nginx->get('/alone')->body, 'answer 2 to /alone', 'nothing is stored');
is($origin->count('/alone'), 2, 'each asks the upstream');

# in one worker: the second one makes a flight of it

my ($one, $two) = $nginx->workers();

$leader = asked($one, '/wait/one');
@here = map { asked($one, '/wait/one', 1) } 1 .. 5;
$origin->say('/wait/one-1');
shared('/wait/one', $leader, @here);

# the other worker alone wants it

$leader = asked($one, '/wait/two');
@there = map { asked($two, '/wait/two', 1) } 1 .. 5;
$origin->say("/wait/two-$_") for 1 .. 6;
shared('/wait/two', $leader, @there);

# both

$leader = asked($one, '/wait/both');
@there = map { asked($two, '/wait/both', 1) } 1 .. 5;
@here = map { asked($one, '/wait/both', 1) } 1 .. 5;
$origin->say("/wait/both-$_") for 1 .. 11;
shared('/wait/both', $leader, @here, @there);

# the client of the first one goes: its fetch is for the others

$leader = asked($one, '/wait/left');
@here = map { asked($one, '/wait/left', 1) } 1 .. 5;
$leader->reset();
ok($origin->stays('/wait/left', 1, 0.2), 'it leaves, and the fetch goes on');
$origin->say('/wait/left-1');
shared('/wait/left', @here);

# it goes before anybody else comes: with it its fetch, or that is joined

$leader = asked($two, '/wait/gone');
$leader->reset();
$leader = at($two);
get($leader, '/wait/gone');
$origin->say("/wait/gone-$_") for 1, 2;
like($leader->answer()->body, qr/^answer [12] to/,
     'the next one has an answer');
cmp_ok($origin->count('/wait/gone'), '<=', 2, 'of one fetch, or one more');

# it is silent for longer than the age of the lock: another one leads

$leader = asked($one, '/aged/a');
ok($origin->stays('/aged/a', 1, 0.5), 'the first one hears nothing');
$other = at($one);
get($other, '/aged/a');
ok(wait_for { $origin->count('/aged/a') == 2 }, 'one more is sent');
@here = asked($one, '/aged/a', 1, 2);
$origin->say("/aged/a-$_") for 2, 1;
is($other->answer()->body, 'answer 2 to /aged/a', 'which has its answer');
like($here[0]->answer()->body, qr/^answer [23] to/, 'and the one behind it');
is($leader->answer()->body, 'answer 1 to /aged/a', 'as has the first');

# a write meanwhile: who comes behind it does not get what was before

$leader = asked($one, '/wait/write');
$other = at($one);
get($other, '/wait/write', 'PUT');
is($other->answer()->status, 200, 'a write');
$other = at($one);
get($other, '/wait/write');
ok(wait_for { $origin->count('/wait/write') == 3 },
   'who comes then asks for itself');
$origin->say("/wait/write-$_") for 1 .. 3;
is($other->answer()->body, 'answer 3 to /wait/write', 'and has what is new');
is($leader->answer()->body, 'answer 1 to /wait/write', 'the first its own');

$t->done();


# a connection to that worker

sub at {
    my ($pid) = @_;

    for (1 .. 200) {
        my $c = $nginx->connect();
        my $r = $c->request('GET', '/who', keepalive => 1);

        return $c if $r->header('X-Worker') == $pid;
        $c->close();
    }

    die "no connection gets to worker $pid\n";
}


sub get {
    my ($c, $uri, $method) = @_;

    $c->send(RCache::HTTP::format_request($method // 'GET', $uri));
    return;
}


# One that has been sent to that worker: it has asked the upstream, or, if it
# waits, the worker has answered another one since.

sub asked {
    my ($pid, $uri, $waits, $count) = @_;
    my $c = at($pid);

    get($c, $uri);

    if ($waits) {
        at($pid)->close();
        is($origin->count($uri), $count // 1, "$uri: it waits");

    } else {
        wait_for { $origin->count($uri) == 1 }
            or die "$uri is not asked for\n";
    }

    return $c;
}


sub shared {
    my ($uri, @clients) = @_;

    is(scalar(grep { $_->answer()->body eq "answer 1 to $uri" } @clients),
       scalar @clients, "$uri: all have the same answer");
    is($origin->count($uri), 1, 'of one fetch');
    return;
}


my %count;

sub origin {
    my ($req) = @_;
    my $uri = $req->uri;
    my $n = ++$count{$uri};
    my $r = response(200, [ 'Cache-Control' => 'max-age=60' ],
                     "answer $n to $uri");

    return $r if $uri !~ m{^/(?:wait|aged)/} || $req->method eq 'PUT';
    return (\"$uri-$n", $r);
}
