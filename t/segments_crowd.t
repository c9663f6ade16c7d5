#!/usr/bin/perl

# Several bodies are on their way to a Redis that has stopped taking any.
# There is room for so many bytes; if each of them gave up when it finds none,
# none would be stored.  So the later one began the less it takes to make it
# give up, and no client waits.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $segment = 4096;
my $k = 1024;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

# without buffering nginx does not wait for Redis, so that what has arrived
# here is also on its way there

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=60s timeout=60s;
    redis_proxy_cache_budget        60s;
    redis_proxy_cache_lock_timeout  60s;
    redis_proxy_cache_lock_age      60s;
    redis_proxy_cache_segment_size  4k;
    redis_proxy_cache_in_flight     40k 64k;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            proxy_buffering    off;
            redis_proxy_cache  api;
        }
    }
CONF

# all of them have their lock before Redis stops

my %c;

for my $uri ('/first', '/second', '/third') {
    $c{$uri} = $nginx->begin('GET', $uri, headers => [ 'X-Test', $uri ]);
    arrived($uri, 1);
}

$redis->cmd('CLIENT', 'PAUSE', 60000, 'WRITE');

say_more('/first', 12 * $k);
say_more('/second', 28 * $k);

# beyond half of the room, for the last; three quarters, for the one in the
# middle; the first one has room left

say_more('/third', 28 * $k);
say_more('/first', 28 * $k);
say_more('/second', 40 * $k);

$redis->cmd('CLIENT', 'UNPAUSE');

for my $uri (sort keys %c) {
    say_more($uri, 40 * $k);
    my $r = $c{$uri}->response();
    ok($r->complete, "$uri: the client has all of it");
    is($r->body, body(40 * $k), 'as it is');
}

$nginx->settle();

is($nginx->log_entry($_->[0])->{reason}, $_->[1], "$_->[0]: $_->[1]")
    for [ '/first', '-' ], [ '/second', 'redis_slow' ],
        [ '/third', 'redis_slow' ];

is($nginx->get('/first')->verdict, 'HIT -', 'it is there');
is($nginx->get('/first')->body, body(40 * $k), 'and whole');

for my $uri ('/second', '/third') {
    ok(wait_for { !$redis->keys("api:{http://localhost$uri}*") },
       "$uri: nothing stays of it");
}

# there is room again

is($nginx->get('/second')->verdict, 'MISS -', 'the next one is stored');
is($nginx->get('/second')->verdict, 'HIT -', 'as a hit shows');

$t->done();


sub body { my ($n) = @_; return substr 'abcdefghijklmno' x 4096, 0, $n }


# so many bytes of it are here

sub arrived {
    my ($uri, $n) = @_;

    my $c = $c{$uri};

    while ($c->{in} !~ /\r\n\r\n(.*)\z/s || length $1 < $n) {
        $c->fill() or die "no more from $uri\n";
    }
}


sub say_more {
    my ($uri, $n) = @_;

    $origin->say(substr($uri, 1) . "-$n");
    arrived($uri, $n);
}


# up to as many bytes as the test says next

sub origin {
    my ($req, $reply) = @_;

    my %steps = (first => [ 12, 28, 40 ], second => [ 28, 40 ],
                 third => [ 28, 40 ]);
    my $name = substr $req->path, 1;
    my $sent = 1;

    $reply->head(200, 'Cache-Control' => 'max-age=600',
                 'Content-Length' => 40 * $k);
    $reply->raw(body(1));

    for (map { $_ * $k } @{ $steps{$name} }) {
        $reply->wait_word("$name-$_");
        $reply->raw(substr body($_), $sent);
        $sent = $_;
    }
}
