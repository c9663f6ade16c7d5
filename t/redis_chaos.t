#!/usr/bin/perl

# Everything at once, by chance: Redis is killed, frozen, paused, emptied and
# out of memory, the network is slow, silent and cut, workers are killed and
# configurations reloaded, under load at two instances.  The origin stamps each
# body with its URI and the time.  Every answer has to be for its request, no
# older than it may be, and none may be an error.
#
# RCACHE_CHAOS is for how many seconds (8; "make chaos": 120), RCACHE_SEED the
# seed of the chance.  With RCACHE_READ it is a cluster with replicas, and that
# is who is read from: master, replica or nearest.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time sleep);
use RCache;
use RCache::Util qw(spawn stop_pid alive);

my $seconds = $ENV{RCACHE_CHAOS} || 8;
my $seed = $ENV{RCACHE_SEED} // int(time());

# of a response, in seconds; and what a busy machine may add, which is more
# than any delay of ours, and less than what a wrong lifetime would make
my ($lifetime, $slack) = (2, 6);

srand $seed;

my $t = RCache->new();
my $read = $ENV{RCACHE_READ};
my @redis = $read ? $t->cluster()->nodes() : $t->redis();
my %relay = map {
    $_ => $t->relay($_->port, name => 'RELAY-' . $_->port)
} @redis;
my $origin = $t->throng(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone            api:1m %%SERVERS%%;
    redis_proxy_cache_fallback_limit  200 queue=1000 timeout=30s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      api;
            redis_proxy_cache_key  $request_uri;
            add_header             X-Cache $redis_proxy_cache_status;
        }
    }
CONF

$t->set(SERVERS => join ' ', map({ 'server=' . $_->url }
                                       values %relay),
    $read ? ('cluster=on', "read_from=$read", map {
        'nat=' . $_->addr . '=127.0.0.1:' . $relay{$_}->port
    } @redis) : ());

my @nginx = map { $t->nginx($conf, workers => 2, settle => 0) } 1 .. 2;
$_->tolerate('exited on signal 9', 'holds an unusable entry') for @nginx;

# what may happen: how to begin it, how to end it

my %ways = (
    'redis-server is killed' => to(sub { $_->stop() }, sub { $_->start() }),
    'redis-server is frozen' => to(sub { $_->freeze() }, sub { $_->thaw() }),
    'CLIENT PAUSE' => to(sub { order(qw(CLIENT PAUSE 400 ALL)) }),
    'FLUSHALL' => to(sub { order('FLUSHALL') }),
    'maxmemory' => to(sub { order(qw(CONFIG SET maxmemory 1mb)) },
                      sub { order(qw(CONFIG SET maxmemory 0)) }),
    'eviction' => to(
        sub { order(qw(CONFIG SET maxmemory-policy allkeys-random));
              order(qw(CONFIG SET maxmemory 2mb)) },
        sub { order(qw(CONFIG SET maxmemory 0));
              order(qw(CONFIG SET maxmemory-policy noeviction)) }),
    'the network is slow' => to(sub { $relay{$_}->set(0.2) },
                                sub { $relay{$_}->set('') }),
    'the network is silent' => to(sub { $relay{$_}->set('hang') },
                                  sub { $relay{$_}->set('') }),
    'the network is cut' => to(sub { $relay{$_}->set('cut') },
                               sub { $relay{$_}->set('') }),
    $read ? ('a failover' => to(sub { order(qw(CLUSTER FAILOVER)) })) : (),
    'a worker is killed' => [ sub {
        my @workers = $nginx[ rand @nginx ]->workers();
        kill 'KILL', $workers[ rand @workers ] if @workers;
    } ],
    'a reload' => [ sub { kill 'HUP', $nginx[ rand @nginx ]{pid} } ],
);

my @clients = map { client($_) } 1 .. 4;
my (%done, @ends);
my $until = time() + $seconds;

# each once, if there is time, and then by chance; often two at a time

my @first = sort { rand() <=> 0.5 } sort keys %ways;

while (time() < $until) {
    my $name = shift @first // (sort keys %ways)[ rand keys %ways ];
    my ($begin, $end) = @{ $ways{$name} };

    if (grep { $_->[0] eq $name } @ends) {
        mend(0);
        next;
    }

    # a Redis that does not answer cannot be told anything

    if ($name =~ /^(?:CLIENT|FLUSH|max|evic|a failover)/
        && grep { $_->[0] =~ /redis-server/ } @ends)
    {
        mend(0);
    }

    eval { $begin->(); 1 } and $done{$name}++;
    push @ends, [ $name, $end ] if $end;

    sleep(0.1 + rand(0.5));
    mend(rand() < 0.5 ? 0 : 1) if rand() < 0.8;
    sleep(rand(0.5)) if !@ends;
}

mend(0);
spit($t->dir . '/stop', '');

ok(wait_for { !grep { alive($_) } @clients }, 'the clients end');
stop_pid($_, 0) for @clients;

my (%seen, @wrong);
for my $line (map { split /\n/, slurp($t->dir . "/client-$_") } 1 .. 4) {
    my ($what, $n) = $line =~ /^(.*)\t(\d+)$/ or next;
    $what =~ s/^wrong: // ? push @wrong, $what : ($seen{$what} += $n);
}

diag("seed $seed, $seconds s");
diag("injected: $_, $done{$_} times") for sort keys %done;
diag("seen: $_, $seen{$_}") for sort keys %seen;

is_deeply(\@wrong, [], 'every answer is the right one, and no error');
cmp_ok($seen{HIT} || 0, '>', 0, 'some were hits');
cmp_ok(($seen{'cut off'} || 0), '<=', 8 * ($done{'a worker is killed'} || 0),
       'only those of a worker that was killed have no answer');

for my $nginx (@nginx) {
    my $n = 0;
    ok(wait_for { $nginx->get("/end/1")->verdict eq 'HIT -' },
       'all is well in the end: hits, without a reload');
}

$t->done();


# Something that is done to one of the servers, $_, and undone.

sub to {
    my ($begin, $end) = @_;

    my $victim;

    return [ map {
        my ($way, $first) = @$_;
        $way ? sub {
            $victim = $redis[ rand @redis ] if $first;
            $way->() for $victim;
        } : ();
    } [ $begin, 1 ], [ $end, 0 ] ];
}


# A command, to a Redis that may be in no state to take it.

sub order {
    my (@command) = @_;

    local $ENV{TEST_PATIENCE} = 2;
    return $_->cmd(@command);
}


# Ends what has begun: all of it, or but that many.

sub mend {
    my ($but) = @_;

    while (@ends > $but) {
        my ($name, $end) = @{ shift @ends };
        eval { $end->(); 1 } or push @ends, [ $name, $end ];
    }

    return;
}


# One that asks without a pause; what it sees is in its file when it ends.

sub client {
    my ($n) = @_;

    my $dir = $t->dir;
    my @ports = map { $_->port } @nginx;

    return spawn(log => "$dir/client-$n.log", code => sub {
        my %seen;
        srand $seed + $n;

        until (-e "$dir/stop") {
            my $uri = '/k/' . int rand 40;
            my $from = time();
            my ($r, $c);

            eval {
                $c = RCache::HTTP->new(port => $ports[ rand @ports ]);
                $r = $c->request('GET', $uri);
                $c->close();
            };

            if (!$r || !defined $r->status || !$r->complete) {
                $seen{'cut off'}++;
                next;
            }

            my ($for, $at) = $r->body =~ /^(\S+) ([\d.]+) x+$/;

            if ($r->status != 200 || !$for || $for ne $uri) {
                $seen{"wrong: $uri: " . $r->line . ' '
                      . substr $r->body, 0, 100}++;

            } elsif ($from - $at > $lifetime + $slack) {
                $seen{"wrong: $uri is " . ($from - $at) . ' s old'}++;

            } else {
                $seen{ $r->header('X-Cache') || 'none' }++;
            }
        }

        spit("$dir/client-$n", map { "$_\t$seen{$_}\n" } sort keys %seen);
    });
}


sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my ($n) = $uri =~ /(\d+)$/;

    return response(200, [ 'Cache-Control' => "max-age=$lifetime" ],
                    $uri . ' ' . time() . ' ' . 'x' x ($n * 997 + 1));
}
