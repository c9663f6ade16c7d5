#!/usr/bin/perl

# An instance whose store is in Redis, but which has not heard so yet.  What is
# deleted by another one meanwhile was never there for who asks after that:
# nobody who came when the store was on its way is given what it was of.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $relay = $t->relay($redis->port);
my $origin = $t->origin(\&origin, workers => 16);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=redis://127.0.0.1:%%BY%%
                              connect_timeout=60s timeout=60s;
    redis_proxy_cache_budget  60s;

    server {
        listen      127.0.0.1:%%PORT%% reuseport;
        add_header  X-Worker $pid;

        location / {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      api;
            redis_proxy_cache_key  $request_uri;
        }
    }
CONF

my $one = $t->nginx($conf, vars => { BY => $redis->port });
my $two = $t->nginx($conf, workers => 2, vars => { BY => $relay->port });

# both workers have stored something, and so have a connection for it; and have
# been asked for what shows that they have heard, so that they know that it is
# there, and ask for no lock with it the next time

my (%stores, $n);

ok((wait_for {
    my $r = $two->get('/stored-' . ++$n);
    $stores{ $r->header('X-Worker') } = 1;
    return keys %stores == 2;
}), 'both workers store');
ok(heard(), 'and look up');

for my $size (1, 10_000) {

    my $word = "size-$size";
    my $uri = "/x/storing?$word";

    # waits for the same fetch from the beginning, in either worker

    my $first = $two->begin('GET', $uri);
    ok(wait_for { $origin->count($uri) }, "$size bytes: a fetch");
    my @with = crowd($uri, 'those who wait for it');
    ok(heard(), 'and both workers have heard that nothing is there');

    $relay->set('keep');
    $origin->say($word);
    $redis->wait_key("api:{$uri}");

    # not until now has anything been there to be deleted

    is($one->request('DELETE', $uri)->status, 200, 'it is stored, and deleted');

    $relay->set('');
    my @late = crowd($uri, 'those who come then');
    ok(heard(), 'and have heard, too, that nothing is there');
    $relay->set('release');

    my $old = answer($first);
    is(answer($_), $old, 'one who came before gets it') for @with;
    isnt(answer($_), $old, 'one who came after does not') for @late;

    is($origin->count($uri), 3, 'which is another fetch, and one is enough');
    $_->close() for $first, @with, @late;
}

$t->done();


# on connections of their own, all of which Redis has told that nothing is there

sub crowd {
    my ($uri, $name) = @_;

    my $before = $redis->calls('get');
    my @crowd = map { $two->begin('GET', $uri) } 1 .. 8;
    ok(wait_for { $redis->calls('get') >= $before + 8 }, $name);

    return @crowd;
}


# Replies come in the order of lookups: who has the last one has all of them.

sub heard {
    my %worker;

    return wait_for {
        $worker{ $two->get('/heard')->header('X-Worker') } = 1;
        return keys %worker == 2;
    };
}


sub answer {
    my ($conn) = @_;

    my ($n) = $conn->response('GET')->body =~ /^answer (\d+)x+$/;

    return $n;
}


sub origin {
    my ($req, $reply) = @_;

    my ($word, $size) = ($req->query // '') =~ /^(size-(\d+))/;

    $reply->wait_word($word) if $word && $req->method eq 'GET';

    return $reply->send(200, [ 'Cache-Control' => 'max-age=60' ],
                        'answer ' . $req->n . 'x' x ($size // 1));
}
