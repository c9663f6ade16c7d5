#!/usr/bin/perl

# What waits to be sent again is bounded, in number and in time, and keeps no
# worker that exits: it tries once more, and says what it gives up.  A worker
# that is killed says nothing, and what it had to send is not served for a
# while.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;
use RCache::Status;

my $many = 4096;         # that a worker remembers

my $t = RCache->new();
my $redis = $t->redis();
my $relay = $t->relay($redis->port);
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=redis://127.0.0.1:%%RELAY%%
                              purge=on connect_timeout=2s timeout=2s;
    redis_proxy_cache_budget  1s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache                  api;
        redis_proxy_cache_key              $request_uri;
        redis_proxy_cache_tags             $upstream_http_cache_tag;
        redis_proxy_cache_invalidate_tags  $upstream_http_x_invalidate;

        proxy_buffer_size  64k;
        proxy_buffers      8 64k;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /status {
            redis_proxy_cache_status;
        }
    }
CONF

my $nginx = $t->nginx($conf, settle => 0);
my ($n, $lost, $retried) = (0, 0, 0);

# more than it remembers

{
    my $tagged = 'tag-1-550';
    my %old = stored('/many', "/tagged?$tagged");

    away();
    is($nginx->request('DELETE', "/many?$_")->status, 200,
       'many tags are invalidated') for 1 .. 5;

    my $gone = 5 * 1000 + 5 - $many;
    ok($nginx->wait_line("did not get $gone invalidations"),
       "$gone are given up, which is logged") or diag($nginx->errors());

    my @line = $nginx->lines('did not get');
    like($line[0], qr/\[error\].*zone "api", they are given up/, 'as an error');
    is(scalar @line, 1, 'once');

    $lost += $gone;
    counted();

    my $records = $redis->cmd(qw(XLEN api:!purges));

    $relay->set('');
    $retried += $many;
    ok((wait_for { zone()->{invalidations_retried} == $retried }),
       'all others are sent') or diag(zone()->{invalidations_retried});
    counted();

    $records = $redis->cmd(qw(XLEN api:!purges)) - $records;
    cmp_ok($records, '<', 30, 'together');

    gone(\%old, "/tagged?$tagged");
}

# a worker exits

for my $how ('reload', 'quit', 'term') {
    stored("/$how");
    away();
    $nginx->mark();
    is($nginx->request('DELETE', "/$how")->status, 200, "$how: DELETE");

    my $from = time();

    if ($how eq 'reload') {
        ok($nginx->reload(old => 1), 'a reload, and the worker is gone');
        $lost++;

    } else {
        ok($nginx->stop($how eq 'term' ? 'TERM' : 'QUIT'), 'nginx stops');
        ($lost, $retried) = (0, 0);
    }

    cmp_ok(time() - $from, '<', 5, 'at once');
    ok($nginx->wait_line('did not get 1 invalidation'), 'what was lost is told')
        or diag($nginx->errors());

    $nginx->start() if $how ne 'reload';
    counted();
    $relay->set('');
    ok((wait_for { $nginx->get("/$how")->verdict eq 'HIT -' }),
       'the new one may serve it');
}

# it tries once more

for (1 .. 3) {
    my %old = stored('/more');

    $redis->cmd(qw(REPLICAOF 127.0.0.1 1));
    $nginx->mark();
    is($nginx->request('DELETE', '/more')->status, 200, 'DELETE, refused');
    $redis->cmd(qw(REPLICAOF NO ONE));
    $retried++;
    ok($nginx->reload(old => 1), 'a reload');
    ok(!$nginx->lines('did not get'), 'nothing is lost');
    counted();
    gone(\%old);
}

# all of them, though it would not send so many at once

{
    my %old = stored('/tagged?tag-3-550');

    $redis->cmd(qw(REPLICAOF 127.0.0.1 1));
    $nginx->mark();
    is($nginx->request('DELETE', "/many?$_")->status, 200, 'many are refused')
        for 1 .. 3;

    # it has tried several times, and does not do it again at once

    my $tries = errors() + 3 * 6;
    ok((wait_for { errors() >= $tries }), 'again and again');
    $redis->cmd(qw(REPLICAOF NO ONE));
    $retried += 3 * 1000 + 3;
    ok($nginx->reload(old => 1), 'a reload');
    ok(!$nginx->lines('did not get'), 'nothing is lost')
        or diag($nginx->errors());
    counted();
    gone(\%old);
}

# it is killed; what was lost is in Redis, and there to be read

{
    my %old = stored('/killed');

    $redis->cmd(qw(REPLICAOF 127.0.0.1 1));
    is($nginx->request('DELETE', '/killed')->status, 200, 'DELETE, refused');

    my ($pid) = $nginx->workers();
    kill 'KILL', $pid;
    ok((wait_for { my @now = $nginx->workers(); @now && $now[0] != $pid }),
       'the worker is killed');
    $redis->cmd(qw(REPLICAOF NO ONE));

    my $r;
    for (1 .. 5) {
        $r = $nginx->get('/killed');
        isnt($r->body, $old{'/killed'}, 'the next one does not serve that');
    }
}

$nginx->tolerate(qr/redis/, qr/exited on signal 9/);
$t->done();


sub errors { return zone()->{redis_operations}{invalidate}{error} }
sub zone { return RCache::Status->of($nginx)->{zones}[0] }


sub counted {
    my $zone = zone();

    is($zone->{invalidations_lost}, $lost, "$lost are lost");
    is($zone->{invalidations_retried}, $retried, "$retried were sent again");
    return;
}


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
    ok((wait_for { $nginx->get('/any')->verdict =~ /redis_down/ }),
       'Redis is gone');
    return;
}


# the URIs, all of them by default

sub gone {
    my ($old, @uri) = @_;

    for my $uri (@uri ? @uri : sort keys %$old) {
        my $r;
        ok((wait_for {
            $r = $nginx->get($uri);
            $r->verdict eq 'HIT -';
        }), "$uri is a hit again");
        isnt($r->body, $old->{$uri}, 'of what is new');
    }

    return;
}


sub origin {
    my ($req, $reply) = @_;

    if ($req->method eq 'DELETE') {
        my $n = $req->query;
        my $tags = $n ? join ' ', map { "tag-$n-$_" } 1 .. 1000 : '';
        return $reply->send(200, [ 'X-Invalidate' => $tags ], 'deleted');
    }

    $reply->send(200, [ 'Cache-Control' => 'max-age=600',
                        'Cache-Tag' => $req->query ],
                 'answer ' . $req->n);
}
