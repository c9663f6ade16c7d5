#!/usr/bin/perl

# Who leads may fail: its client goes away, or reads slowly, its worker or its
# whole nginx is killed.  Those who wait for it must neither get half of a
# body nor wait for its lock to grow old.  In all but one of these tests the
# lock's age is longer than the test may take.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Lock;

my $clients = $ENV{RCACHE_CROWD} || 2000;
my $body = join '', map { sprintf "%07d\n", $_ } 1 .. 5000;
my $large = $body x 200;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $conf = patient() . <<'CONF';
    redis_proxy_cache_max_size      20m;

    server {
        listen  127.0.0.1:%%PORT%% reuseport backlog=2048;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        proxy_set_header       X-Instance %%NUMBER%%;
        add_header             X-Cache $redis_proxy_cache_status always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /direct/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }

        location /patient/ {
            proxy_pass                      http://%%ORIGIN%%;
            proxy_buffering                 off;
            redis_proxy_cache_lock_timeout  1s;
        }

        location /killed/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_lock_age  4s;
        }
    }
CONF

my @nginx = map {
    $t->nginx($conf, workers => 2, settle => 0, vars => { NUMBER => $_ })
} 1 .. 4;

my @ports = map { $_->port() } @nginx;
my ($leader, $crowd, @got, $r);

# the client leaves before there is a header: the fetch goes on, or another
# one begins at once

for my $uri ('/early', '/direct/early') {
    for my $way ('close', 'reset') {
        my $path = "$uri/$way";

        $leader = start(0, $path);
        ok(wait_for { $origin->count($path) == 1 }, "$path: one leads");
        $crowd = $t->crowd(ports => \@ports, clients => 40, uri => $path,
                           processes => 1)->go();
        ok($origin->stays($path, 1, 0.2), 'others wait');
        $leader->$way();
        ok($origin->stays($path, 2, 0.1), 'it leaves');
        $origin->say("$path-1", "$path-2");
        @got = $crowd->answers();
        right($path, 40, @got);
        cmp_ok($origin->count($path), '<=', 2, 'of one fetch, or one more');
        calm($redis, $path);
    }
}

# with nobody to wait for it there is nothing left of it, either

$leader = start(0, '/lonely');
ok(wait_for { $origin->count('/lonely') == 1 }, 'one with no others');
$leader->reset();
$origin->say('/lonely-1');
calm($redis, '/lonely');
$origin->say('/lonely-2');
is(get(1, '/lonely')->status, 200, 'the next one has its answer');
cmp_ok($origin->count('/lonely'), '<=', 2, 'of one fetch, or one more');

# it leaves when it has a tenth of the body

$leader = start(0, '/tenth');
ok(wait_for { $origin->count('/tenth') == 1 }, 'one leads');
$crowd = $t->crowd(ports => \@ports, clients => $clients, uri => '/tenth')
    ->go();
$origin->say('/tenth-1-head');
is(length $leader->take(length($body) / 10), length($body) / 10,
   'it has a tenth');
ok($origin->stays('/tenth', 1, 0.3), "$clients others wait");
$leader->reset();
ok($origin->stays('/tenth', 2, 0.1), 'it leaves');
$origin->say('/tenth-1', '/tenth-2-head', '/tenth-2');
@got = $crowd->answers();
right('/tenth', $clients, @got);
cmp_ok($origin->count('/tenth'), '<=', 2, 'of one fetch, or one more');
calm($redis, '/tenth');

# unbuffered as well: there nginx reads from the upstream what the client
# takes

$leader = start(0, '/direct/tenth');
$origin->say('/direct/tenth-1-head');
is(length $leader->take(length($body) / 10), length($body) / 10,
   'unbuffered, it has a tenth');
$crowd = $t->crowd(ports => \@ports, clients => 40, uri => '/direct/tenth',
                   processes => 1)->go();
ok($origin->stays('/direct/tenth', 1, 0.2), 'others wait');
$leader->close();
$origin->say('/direct/tenth-1', '/direct/tenth-2-head', '/direct/tenth-2');
@got = $crowd->answers();
right('/direct/tenth', 40, @got);
cmp_ok($origin->count('/direct/tenth'), '<=', 2, 'of one fetch, or one more');
calm($redis, '/direct/tenth');

# its client does not read: that is not for the others to wait for

$leader = start(0, '/slow');
ok(wait_for { $origin->count('/slow') == 1 }, 'one who does not read');
$crowd = $t->crowd(ports => \@ports, clients => 12, uri => '/slow',
                   processes => 2)->go();
ok($origin->stays('/slow', 1, 0.2), 'leads');
$origin->say('/slow-1');
@got = $crowd->answers();
right('/slow', 12, @got);
is($origin->count('/slow'), 1, 'of the one fetch');
is($leader->answer()->body, "answer 1\n$large",
   'the slow one gets the rest of it when it wants to');
calm($redis, '/slow');

# unbuffered that cannot be, and who has waited for lock_timeout goes alone

$leader = start(0, '/patient/slow');
ok(wait_for { $origin->count('/patient/slow') == 1 }, 'unbuffered');
$origin->say("/patient/slow-$_") for 1 .. 20;
$crowd = $t->crowd(ports => \@ports, clients => 4, uri => '/patient/slow',
                   processes => 1)->go();
@got = $crowd->answers();
right('/patient/slow', 4, @got);
is($leader->answer()->body, "answer 1\n$large", 'the slow one, too');
calm($redis, '/patient/slow');

# the worker that leads is killed; its nginx lives on, and other workers of it
# wait; they are there before it leads, for its lock is a short one

$crowd = $t->crowd(ports => \@ports, clients => 40, uri => '/killed/worker',
                   processes => 1);
$leader = start(2, '/killed/worker');
ok(wait_for { $origin->count('/killed/worker') == 1 }, 'one leads');
my @workers = $nginx[2]->workers();
my ($busy) = grep { connected($_, $origin->port()) } @workers;
ok($busy, 'its worker is known');
$crowd->go();
ok($origin->stays('/killed/worker', 1, 0.2), 'others wait');
kill 'KILL', $busy;
$origin->say('/killed/worker-2');
@got = $crowd->answers();
my @alive = grep { $_->{status} || $_->{port} != $ports[2] } @got;
cmp_ok(scalar(@alive), '>=', 30, 'who was not at that worker is served');
right('/killed/worker', scalar(@alive), @alive);
is($origin->count('/killed/worker'), 2, 'of one fetch more');
$origin->say('/killed/worker-1');
ok(wait_for { $nginx[2]->workers() == 2 }, 'there is a worker in its place');
is(get(2, '/killed/worker')->header('X-Cache'), 'HIT', 'the instance works');
$nginx[2]->tolerate("worker process $busy exited on signal 9");
calm($redis, '/killed/worker');

# all of it is killed, with SIGKILL: the others go on when the lock ends, and
# one of them leads

$crowd = $t->crowd(ports => \@ports, clients => $clients,
                   uri => '/killed/all');
$leader = start(3, '/killed/all');
ok(wait_for { $origin->count('/killed/all') == 1 }, 'one leads');
$crowd->go();
ok($origin->stays('/killed/all', 1, 0.3), "$clients others wait");
@workers = $nginx[3]->workers();
kill 'KILL', $nginx[3]->running(), @workers;
$origin->say('/killed/all-2');
@got = $crowd->answers();
@alive = grep { $_->{port} != $ports[3] } @got;
right('/killed/all', scalar(@alive), @alive);
is($origin->count('/killed/all'), 2, 'of one fetch more, by one of them');
isnt($origin->latest('/killed/all')->header('X-Instance'), 4, 'of another '
     . 'instance');
calm($redis, '/killed/all');

$nginx[3]->stop('KILL');

$t->done();


sub start {
    my ($n, $uri, @headers) = @_;

    return $nginx[$n]->begin('GET', $uri, headers => \@headers);
}


sub get { return start(@_)->answer() }


# Does that process have a connection to that port?

sub connected {
    my ($pid, $port) = @_;

    my %socket = map { (readlink($_) // '') =~ /^socket:\[(\d+)\]/
                       ? ($1 => 1) : () } glob "/proc/$pid/fd/*";
    my $hex = sprintf ':%04X', $port;

    for my $line (split /\n/, slurp('/proc/net/tcp')) {
        my (undef, undef, $to, $state, undef, undef, undef, undef, undef,
            $inode) = split ' ', $line;
        return 1 if $to && $to =~ /\Q$hex\E$/ && $state eq '01'
                    && $socket{$inode};
    }

    return 0;
}


sub right {
    my ($uri, $count, @got) = @_;

    whole($uri, $count,
          length("answer 1\n") + length($uri =~ /slow/ ? $large : $body),
          @got);
    same(@got) if $uri !~ /patient/;
    return;
}


my %count;

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $n = ++$count{$uri};
    my $bytes = response(200, [ 'Cache-Control' => 'max-age=60' ],
                         "answer $n\n" . ($uri =~ /slow/ ? $large : $body));
    my $fifth = length($bytes) / 5;

    return (\"$uri-$n-head", substr($bytes, 0, $fifth), \"$uri-$n",
            substr $bytes, $fifth) if $uri =~ /tenth/;

    return (\"$uri-$n", $bytes);
}
