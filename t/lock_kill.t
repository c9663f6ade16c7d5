#!/usr/bin/perl

# Workers are killed at random moments, also while they lead, wait, store, or
# have the shared memory locked.  A crash may cost the requests that were in
# that worker.  It must not leave a lock behind that nobody gives back, a
# place in the shared queue that nobody leaves, or a client that nobody
# wakes.  RCACHE_KILL_SECONDS is how long it goes on; 60 is the full storm.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time sleep);
use RCache;
use RCache::Util qw(spawn stop_pid alive);

my $seconds = $ENV{RCACHE_KILL_SECONDS} || 5;
my $seed = $ENV{RCACHE_KILL_SEED} || int(rand(1 << 30));
my $clients = 6;

srand($seed);

# Pages that are stored, that vary, that are served stale while they are
# fetched, that cannot be stored, that are large, and one that nobody kills.

my @pages = map { my $kind = $_; map { "/$kind/$_" } 1 .. 6 }
            qw(page vary stale none large chain);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $nginx_conf = <<'CONF';
    redis_proxy_cache_zone           api:1m server=%%REDIS%%
                                     connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget         5s;
    redis_proxy_cache_lock_age       1s;
    redis_proxy_cache_lock_timeout   20s;
    redis_proxy_cache_hit_for_miss   200ms;
    redis_proxy_cache_refresh_pause  100ms;

    server {
        listen  127.0.0.1:%%PORT%% reuseport;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        add_header             X-Worker $pid always;
        add_header             X-Cache $redis_proxy_cache_status always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /stale/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  updating error http_503;
        }

        location /chain/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
        }

        location /after/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_lock_age      300s;
            redis_proxy_cache_lock_timeout  300s;
        }
    }
CONF

my @nginx = map { $t->nginx($nginx_conf, workers => 2, settle => 0) } 1, 2;

$_->tolerate('worker process \d+ exited on signal 9',
             'shared memory zone "\w+" was locked by') for @nginx;

# the storm

my $enough = $t->dir . '/enough';
my @pids = map { my $n = $_; spawn(code => sub { client($n) },
                                   log => $t->dir . "/client-$n") }
           1 .. $clients;
my $until = time() + $seconds;
my $kills = 0;

while (time() < $until
       || grep { -s $t->dir . "/made-$_" < 12 } 1 .. $clients)
{
    sleep(0.02 + rand(0.3));

    my $nginx = $nginx[ int rand @nginx ];
    my @workers = $nginx->workers() or next;
    $kills += kill 'KILL', $workers[ int rand @workers ];
}

spit($enough, '');

for my $n (1 .. $clients) {
    my $status = stop_pid($pids[$n - 1], 0);
    my $said = slurp($t->dir . "/client-$n");
    my ($made, $cut) = $said =~ /^made (\d+) cut (\d+)$/m;
    my @wrong = grep { !/^made/ } split /\n/, $said;

    ok(defined $status, "client $n comes to its end");
    is_deeply([ @wrong[0 .. ($#wrong < 4 ? $#wrong : 4)] ], [],
              'no answer was wrong');
    cmp_ok($made // 0, '>', 10, 'there were many');
    cmp_ok($cut // 0, '<', ($made // 0) / 2 + 10,
           'most were not in a worker that was killed');
    note("client $n: $made made, $cut cut off") if defined $made;
}

cmp_ok($kills, '>=', $seconds * 2, "$kills workers were killed, seed $seed");

# and when it is over

for my $nginx (@nginx) {
    ok($nginx->running() && alive($nginx->running()), 'nginx is there');
    ok(wait_for { $nginx->workers() == 2 }, 'with its workers');
}

ok(wait_for { !grep { ($redis->get($_) // '-') !~ /^[-!0]$/ }
              grep { /:l$/ } $redis->keys() }, 'no lock is held')
    or diag(join ' ', grep { /:l$/ } $redis->keys());
ok(wait_for { !(() = grep { /:l$/ } $redis->keys()) }, 'nor is a mark left')
    or diag(join ' ', grep { /:l$/ } $redis->keys());
ok(wait_for { !@{ $redis->cmd('PUBSUB', 'CHANNELS') } }, 'nobody listens');

# every page at every worker, fetched anew: nobody is taken for the leader who
# is dead

$redis->flush();

for my $nginx (@nginx) {
    my %done;

    ok(wait_for {
        my %c;

        for my $uri (@pages) {
            $c{$uri} = $nginx->begin('GET', $uri);
        }

        for my $uri (@pages) {
            my $r = $c{$uri}->response('GET');
            $done{ $r->header('X-Worker') }{$uri} = 1 if $r && right($uri, $r);
        }

        return 2 == grep { keys %$_ == @pages } values %done;
    }, 'all pages come from both workers') or diag(explain(
        { map { ($_ => scalar keys %{ $done{$_} }) } keys %done }));
}

# and there is one fetch for all, again and again: no place in the queue is
# lost for ever

for my $n (1 .. 5) {
    my $crowd = $t->crowd(ports => [ map { $_->port() } @nginx ],
                          clients => 100, uri => "/after/$n")->go();
    my @got = $crowd->answers();
    is_deeply(RCache::Crowd::tally('status', @got), { 200 => 100 },
              "crowd $n: all are served");
    is($origin->count("/after/$n"), 1, 'of one fetch');
}

for my $nginx (@nginx) {
    unlike(slurp("$nginx->{dir}/error.log"), qr/exited on signal (?!9\b)/,
           'no worker has died by itself');
}

$t->done();


# One client; connections of a worker that is killed are cut, no more.

sub client {
    my ($n) = @_;

    srand($seed + $n);
    my ($made, $cut) = (0, 0);

    open my $record, '>', $t->dir . "/made-$n" or die "made: $!\n";

    while (!-e $enough) {
        my $uri = $pages[ int rand @pages ];
        my $nginx = $nginx[ int rand @nginx ];
        my $from = time();
        my $leave = rand() < 0.1;

        $made++;
        syswrite $record, '.';

        my $r = eval {
            my $c = RCache::HTTP->new(port => $nginx->port());
            if ($leave) {
                $c->send(RCache::HTTP::format_request('GET', $uri));
                sleep(rand(0.1));
                $c->reset();
                die "left\n";
            }
            $c->request('GET', $uri, headers =>
                        [ 'Accept-Language' => $n % 2 ? 'de' : 'en' ]);
        };

        next if $leave;

        if (!$r || !$r->complete) {
            $cut++;

        } elsif (!right($uri, $r)) {
            print "$uri: ", $r->line, ', ', length $r->body, " bytes\n";
        }

        my $took = time() - $from;
        print "$uri: took $took s\n" if $took > 30;
    }

    print "made $made cut $cut\n";
    return;
}


sub right {
    my ($uri, $r) = @_;

    return $r->status == 200 && $r->complete
           && $r->body =~ /^answer \d+ to (\S+)\n(x*)\z/ && $1 eq $uri
           && length $2 == size($uri);
}


sub size { return $_[0] =~ /large/ ? 300_000 : 500 }


my %count;

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $n = ++$count{$uri};
    my @headers = ('Cache-Control' => $uri =~ /none/ ? 'no-store'
                   : $uri =~ /after/ ? 'max-age=60' : 'max-age=1');

    push @headers, Vary => 'Accept-Language' if $uri =~ /vary/;
    push @headers, ETag => '"v"' if $uri =~ /chain/;

    return (0.05, "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n"
                  . "Cache-Control: max-age=1\r\n\r\n")
        if $req->header('If-None-Match');

    return (0.1, response(200, \@headers, "answer $n to $uri\n"
                          . 'x' x size($uri)));
}
