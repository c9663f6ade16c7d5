#!/usr/bin/perl

# A download that takes longer than redis_proxy_cache_lock_age is not fetched
# a second time, neither by another worker nor by another instance, as long as
# bytes of it arrive.  One that stands still loses its lock, or a broken
# upstream would hold up all who want the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use RCache;

my $rounds = 6;
my $part = 100_000;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin, workers => 8);

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=30s timeout=30s;
    redis_proxy_cache_budget        30s;
    redis_proxy_cache_segment_size  16k;
    redis_proxy_cache_lock_age      3s;
    redis_proxy_cache_lock_timeout  300s;

    server {
        listen  127.0.0.1:%%PORT%% reuseport;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $request_uri;
        add_header             X-Cache $redis_proxy_cache_status always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /small/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_segment_size  1m;
        }
    }
CONF

my @nginx = map { $t->nginx($conf, workers => 2, settle => 0) } 1, 2;


# Each round is a third of the age, or there is no renewal: in the end it is
# two ages since the fetch began.

for my $uri ('/drip-a', '/small/drip-b') {
    my ($word) = $uri =~ /drip-(\w)/;
    my $lock = "api:{$uri}:l";

    my $leader = start($nginx[0], $uri);
    ok(wait_for { $redis->exists($lock) }, "$uri: there is a lock");
    my $token = $redis->get($lock);

    my @c = map { start($nginx[$_ % 2], $uri) } 1 .. 12;

    for my $round (1 .. $rounds) {
        my $ttl = $redis->pttl($lock);
        $origin->say("$word-$round");
        ok(wait_for { renewed($lock, \$ttl) }, "round $round: it is renewed");
    }

    is($redis->get($lock), $token, 'it is the same one all the time');
    is($origin->count($uri), 1, 'and there is one fetch');
    $origin->say("$word-end");

    my @r = map { $_->response() } $leader, @c;
    is(scalar(grep { md5_hex($_->body) eq whole() } @r), 13, 'all have it');
    is(scalar(grep { $_->header('X-Cache') eq 'HIT' } @r), 12,
       'those who waited from the cache');
    is($origin->count($uri), 1, 'there was one fetch');
}


# it stands still

for my $n (0, 1) {
    my $uri = "/still-$n";
    my $lock = "api:{$uri}:l";

    my $leader = start($nginx[0], $uri);
    ok(wait_for { $redis->exists($lock) }, "$uri: there is a lock");
    my $token = $redis->get($lock);

    my $c = start($nginx[$n], $uri);
    ok(wait_for { $origin->count($uri) == 2 }, 'another one leads');
    is(md5_hex($c->response()->body), whole(), 'and has it all');

    $origin->say("still-$n");
    is(md5_hex($leader->response()->body), whole(), 'as has the first');
    is($nginx[1 - $n]->get($uri)->header('X-Cache'), 'HIT', 'it is stored');
    is($origin->count($uri), 2, 'there were two fetches');
}


# the lock is another's by now: it is left alone

{
    my $uri = '/drip-c';
    my $lock = "api:{$uri}:l";

    my $leader = start($nginx[0], $uri);
    ok(wait_for { $redis->exists($lock) }, 'there is a lock');
    $redis->cmd('SET', $lock, 'f' x 24, 'PX', 2500);

    for my $round (1 .. $rounds) {
        $origin->say("c-$round");
    }

    ok(wait_for { !$redis->exists($lock) }, 'that of another one expires');
    $origin->say('c-end');
    is(md5_hex($leader->response()->body), whole(), 'the first has it all');
}

$t->done();


sub start {
    my ($nginx, $uri) = @_;

    return $nginx->begin('GET', $uri);
}


# The TTL falls until the lock is renewed, and is above what it was then.

sub renewed {
    my ($lock, $last) = @_;

    my $ttl = $redis->pttl($lock);
    my $more = $ttl > $$last;
    $$last = $ttl;

    return $more;
}


sub body  { return 'abcdefghij' x ($part / 10 * ($rounds + 2)) }
sub whole { return md5_hex(body()) }


sub origin {
    my ($req, $reply) = @_;

    my ($how, $word) = $req->path =~ m{(drip|still)-(\w)$};
    my $seen = "$reply->{dir}/seen-$how-$word";
    my $first = !-e $seen;

    spit($seen, '');

    $reply->head(200, 'Cache-Control' => 'max-age=600',
                 'Content-Length' => length body());
    $reply->raw(substr body(), 0, $part);

    if ($how eq 'still') {
        $reply->wait_word("still-$word") if $first;
        $reply->raw(substr body(), $part);
        return;
    }

    for my $round (1 .. $rounds) {
        $reply->wait_word("$word-$round");
        $reply->raw(substr body(), $round * $part, $part);
    }

    $reply->wait_word("$word-end");
    $reply->raw(substr body(), ($rounds + 1) * $part);

    return;
}
