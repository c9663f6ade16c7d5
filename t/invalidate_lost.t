#!/usr/bin/perl

# Who has changed something is not to be given the old state after that.  Its
# invalidation may be lost: with the connection that it was sent on, or refused
# because there is none, or the server is a replica.  The change is made, so the
# client is told so, at once; what was to go is in Redis, and would be served
# when that is back.  So it is sent again until it is there, and until then no
# worker of the instance uses what Redis has.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;
use RCache::Status;

my $t = RCache->new();
my $redis = $t->redis(config => [ 'appendonly yes', 'appendfsync always',
                                  'save ""' ]);
my $relay = $t->relay($redis->port);
my $origin = $t->origin(\&origin, workers => 4);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=redis://127.0.0.1:%%RELAY%%
                              purge=on near=1m connect_timeout=2s timeout=2s;
    redis_proxy_cache_near    30s;
    redis_proxy_cache_budget  2s;

    server {
        listen  127.0.0.1:%%PORT%% reuseport;

        redis_proxy_cache                  api;
        redis_proxy_cache_key              $request_uri;
        redis_proxy_cache_tags             $upstream_http_cache_tag;
        redis_proxy_cache_invalidate_tags  $upstream_http_x_invalidate;
        redis_proxy_cache_use_stale        error timeout updating http_500;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /status {
            redis_proxy_cache_status;
        }
    }
CONF

my $nginx = $t->nginx($conf, workers => 2, settle => 0);

# the connection is lost while the command is under way

for my $how ('', 'empty') {
    my %old = stored("/killed/$how", "/killed/$how/tagged");

    $redis->cmd(qw(CLIENT PAUSE 10000 WRITE));
    my $c = $nginx->begin('DELETE', "/killed/$how",
                          headers => [ 'X-Say' => "/killed/$how/tagged" ]);
    ok((wait_for { blocked() > 1 }), "killed, $how: DELETE is on its way");
    $redis->cmd(qw(CLIENT KILL TYPE normal));
    $redis->cmd(qw(CLIENT UNPAUSE));

    like($c->response('DELETE')->status, qr/^20[04]$/, 'it succeeds');
    gone(\%old);
}

# there is none

{
    my %old = stored(map { ("/none/$_", "/none/$_/tagged") } 1 .. 5);

    away();

    for (1 .. 5) {
        my $from = time();
        unsafe("/none/$_", "/none/$_/tagged");
        cmp_ok(time() - $from, '<', 1, 'it does not wait for that');
    }

    # more than once, which is one more

    unsafe('/none/1', '/none/1/tagged') for 1 .. 20;

    $relay->set('');
    gone(\%old);
}

# Redis dies, and has all when it is back

{
    my %old = stored('/dead', '/dead/tagged');

    $redis->stop();
    unsafe('/dead', '/dead/tagged');
    $redis->start();
    ok($redis->exists('api:{/none/1}'), 'Redis is back, with what it had');
    gone(\%old);
}

# it does not answer

{
    my %old = stored('/frozen', '/frozen/tagged');

    $nginx->mark();
    $relay->set('hang');
    unsafe('/frozen', '/frozen/tagged');
    ok($nginx->wait_line('is down: a command timed out'), 'time is over');
    $relay->set('');
    gone(\%old);
}

# it is a replica for a while: it is read from, and refuses to forget; and there
# are copies

{
    my %old = stored('/replica', '/replica/tagged');
    my $hits = hits();
    ok((wait_for {
        $nginx->get($_) for keys %old;
        hits() > $hits + 8;
    }), 'they are hits of the near cache');

    $redis->cmd(qw(REPLICAOF 127.0.0.1 1));
    unsafe('/replica', '/replica/tagged');
    ok($redis->exists('api:{/replica}'), 'a replica refuses');

    for my $uri ((keys %old) x 8) {
        isnt($nginx->get($uri)->body, $old{$uri}, "$uri is not served");
    }
    my $label = RCache::Status->label('default', $nginx);
    cmp_ok($label->{not_hit}{invalidated}, '>=', 2, 'for that reason');

    # nobody asks for more than one

    my $n = $origin->count('/replica');
    my @c = map { $nginx->begin('GET', '/replica',
                                headers => [ 'X-Slow' => 1 ]) } 1 .. 8;
    isnt($_->response('GET')->body, $old{'/replica'}, 'is not the old one')
        for @c;
    cmp_ok($origin->count('/replica') - $n, '<=', 2,
           'those who come together wait for each other');

    is($nginx->get('/replica', 'X-Fail' => 1)->status, 500,
       'nor instead of a failure');

    $redis->cmd(qw(REPLICAOF NO ONE));
    gone(\%old);
}

# what was read before Redis knew comes after that

for (1 .. 3) {
    my %old = stored('/slow');

    $redis->cmd(qw(REPLICAOF 127.0.0.1 1));
    unsafe('/slow', '/slow/tagged');

    my $calls = $redis->calls('get');
    $relay->set(1);
    my @c = map { $nginx->begin('GET', '/slow') } 1 .. 4;
    ok((wait_for { $redis->calls('get') >= $calls + 4 }), 'it is read');
    $relay->set('');
    $redis->cmd(qw(REPLICAOF NO ONE));

    isnt($_->response('GET')->body, $old{'/slow'}, 'and is not served') for @c;
    gone(\%old);
}

my $status = zone();
is($status->{invalidations_lost}, 0, 'nothing is lost');

# what is lost in both workers is sent by both of them

my $names = 2 * 2 + 2 * 5 + 2 + 2 + 2 + 3 * 2;
my $retried = $status->{invalidations_retried};
ok($retried >= $names && $retried <= $names + 2, 'all were sent again, once')
    or diag($retried);

$nginx->tolerate(qr/redis/);
$t->done();


sub blocked {
    return $redis->cmd('INFO', 'clients') =~ /blocked_clients:(\d+)/ ? $1 : 0;
}


sub hits { return RCache::Status->label('default', $nginx)->{near_hits} }
sub zone { return RCache::Status->of($nginx)->{zones}[0] }


# URIs, and what is a hit there

sub stored {
    my (@uri) = @_;

    my %old;

    for my $uri (@uri) {
        my $r;
        ok((wait_for {
            $r = $nginx->get($uri);
            $r->verdict eq 'HIT -';
        }), "$uri is stored");
        $old{$uri} = $r->body;
    }

    return %old;
}


sub away {
    $relay->set('cut');

    my $n = 0;
    ok((wait_for {
        $n = $nginx->get('/any')->verdict =~ /redis_down/ ? $n + 1 : 0;
        $n > 8;
    }), 'Redis is gone, for all workers');
    return;
}


sub unsafe {
    my ($uri, $tag) = @_;

    is($nginx->request('DELETE', $uri,
                       headers => [ 'X-Say' => $tag ])->status, 200,
       "DELETE $uri");
    return;
}


# They are never seen again, and after a while what is new is a hit

sub gone {
    my ($old) = @_;

    for my $uri (sort keys %$old) {
        my %seen;
        my $n = 0;

        ok((wait_for {
            my $r = $nginx->get($uri);
            $seen{$r->body} = 1;
            $n = $r->verdict eq 'HIT -' ? $n + 1 : 0;
            $n > 3;
        }), "$uri is a hit again");
        ok(!$seen{$old->{$uri}}, 'of what is new');
    }

    return;
}


sub origin {
    my ($req, $reply) = @_;

    if ($req->method eq 'DELETE') {
        my @say = ('X-Invalidate' => 'tag-' . $req->header('X-Say'));
        return $req->uri =~ /empty$/ ? $reply->head(204, @say)
                                     : $reply->send(200, \@say, 'deleted');
    }

    return $reply->send(500, [], 'failure') if $req->header('X-Fail');
    $reply->delay(0.3) if $req->header('X-Slow');

    $reply->send(200, [ 'Cache-Control' => 'max-age=600, stale-if-error=600',
                        'Cache-Tag' => 'tag-' . $req->uri ],
                 'answer ' . $req->n);
}
