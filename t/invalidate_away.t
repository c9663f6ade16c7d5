#!/usr/bin/perl

# Who changes something waits until all that is invalidated by it is gone: its
# own URI, those in Location and Content-Location, and hundreds of tags.  While
# that is under way the client may go, or the worker, or Redis.  What was sent
# is done all the same, nobody waits for what will not come, and nothing of what
# is left is called for who has gone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;
use RCache::Util qw(spawn stop_pid);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin, workers => 8);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%% purge=on
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  2s;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_H2%% http2;

        redis_proxy_cache                  api;
        redis_proxy_cache_tags             $upstream_http_cache_tag;
        redis_proxy_cache_invalidate_tags  $upstream_http_x_invalidate;

        proxy_buffer_size  32k;
        proxy_buffers      8 32k;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /says {
            internal;
            redis_proxy_cache  off;
            alias              %%FILE%%;
        }

        location /asks {
            internal;
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

$t->set(FILE => "$FindBin::Bin/$FindBin::Script");

my $nginx = $t->nginx($conf, settle => 0);
my $other = $t->nginx($conf, settle => 0);
my $h2 = 'http://localhost:' . $nginx->port('H2');
my $n = 0;

$nginx->get('/there') for 1, 2;

my @kinds = ('a body', 'no body', 'a file', 'another upstream');

# the client goes

for my $kind (@kinds) {
    for my $how ('close', 'reset', 'HTTP/2') {
        my ($old, @uri) = begun($kind, $how);
        my $c = delete $old->{c};

        if ($how eq 'HTTP/2') {
            ok(defined stop_pid($c, 'KILL'), "$kind, $how: the client is gone");

        } else {
            $c->$how();
        }

        # it has seen that when it answers another one
        is($nginx->get('/there')->status, 200, 'and the worker is not');
        done("$kind, $how", $old, @uri);
    }
}

is(scalar $nginx->workers(), 1, 'the worker has survived that');

# the worker goes: what it began it finishes

for my $kind (@kinds) {
    for my $how ('reload', 'QUIT') {
        my ($old, @uri) = begun($kind, $how);
        my $c = delete $old->{c};
        my @workers = $nginx->workers();

        if ($how eq 'reload') {
            ok($nginx->reload(), "$kind: a reload");

        } else {
            kill 'QUIT', $nginx->running();
        }

        $redis->cmd(qw(CLIENT UNPAUSE));

        my $r = $c->response('DELETE');
        like($r->status, qr/^20[04]$/, "$kind, $how: the response comes");
        ok($r->complete, 'whole');
        done("$kind, $how", $old, @uri);

        ok((wait_for { !grep { kill 0, $_ } @workers }), 'the worker has gone');

        if ($how eq 'QUIT') {
            $nginx->stop();
            $nginx->start();
        }

        ok((wait_for { $nginx->get('/there')->verdict eq 'HIT -' }),
           'it goes on');
    }
}

# Redis goes: nobody waits for longer than the budget

for my $kind (@kinds) {
    my ($old, @uri) = begun($kind, 'gone');
    my $c = delete $old->{c};
    my $since = clock();

    $redis->restart();

    my $r = $c->response('DELETE');
    like($r->status, qr/^20[04]$/, "$kind: Redis goes, the response comes");
    ok($r->complete, 'whole');
    cmp_ok(clock() - $since, '<', 4, 'in time');
    ok((wait_for { $nginx->get('/there')->verdict eq 'HIT -' }),
       'and Redis is used again');
}

$_->tolerate(qr/redis/) for $nginx, $other;
$t->done();


# a request that waits for Redis; what was stored for it before

sub begun {
    my ($kind, $how) = @_;

    my @uri = map { '/' . ++$n } 1 .. 4;
    my %old;

    for my $uri (@uri) {
        my $r;
        ok((wait_for {
            $r = $nginx->get($uri);
            $r->verdict eq 'HIT -';
        }), "$uri is stored");
        $old{$uri} = $r->body;
    }

    my @headers = ('X-Kind' => $kind, 'X-Words' => join ' ', @uri);

    my $count = $origin->count($uri[0]);

    $redis->cmd(qw(CLIENT PAUSE 10000 WRITE));

    if ($how eq 'HTTP/2') {
        $old{c} = spawn(argv => [ 'curl', '-s', '--http2-prior-knowledge',
                                  '-X', 'DELETE', '-o', '/dev/null',
                                  (map { ('-H', $_) } pairs(@headers)),
                                  "$h2$uri[0]" ],
                        log => $t->dir . '/curl.err');

    } else {
        $old{c} = $nginx->begin('DELETE', $uri[0], headers => \@headers);
    }

    ok((wait_for { $origin->count($uri[0]) > $count }),
       "$kind: DELETE $uri[0]");
    ok((wait_for { blocked() }), 'waits for Redis');

    return (\%old, @uri);
}


sub pairs {
    my @pairs;

    while (@_) {
        push @pairs, join ': ', splice @_, 0, 2;
    }

    return @pairs;
}


sub blocked { return $redis->cmd('INFO', 'clients') =~ /blocked_clients:[3-9]/ }


sub done {
    my ($name, $old, @uri) = @_;

    $redis->cmd(qw(CLIENT UNPAUSE));

    ok((wait_for { $other->get($_)->body ne $old->{$_} }), "$name: $_ is gone")
        for @uri;

    return;
}


sub origin {
    my ($req, $reply) = @_;

    if ($req->method eq 'DELETE') {
        my @uri = split / /, $req->header('X-Words');
        my $kind = $req->header('X-Kind');
        my @tags = map { "none-$_" } 1 .. 1100;
        $tags[550] = "tag-$uri[3]";

        my @headers = (Location => $uri[1], 'Content-Location' => $uri[2],
                       'X-Invalidate' => join ',', @tags);

        push @headers, 'X-Accel-Redirect' => '/says' if $kind eq 'a file';
        push @headers, 'X-Accel-Redirect' => '/asks'
            if $kind eq 'another upstream';

        return $reply->head(204, @headers) if $kind eq 'no body';
        return $reply->send(200, \@headers, 'deleted');
    }

    $reply->send(200, [ 'Cache-Control' => 'max-age=600',
                        'Cache-Tag' => 'tag-' . $req->uri ],
                 'answer ' . $req->n);
}
