#!/usr/bin/perl

# A response that did not end cleanly must never be stored: one broken
# transfer would become everybody's broken page until it expires.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache  api;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /unbuffered/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }

        location /late/ {
            proxy_pass          http://%%ORIGIN%%;
            proxy_read_timeout  2s;
        }
    }
CONF

# the origin breaks off the first response for each URI and gives the second
# one whole

for my $location ('/', '/unbuffered/') {
    for my $how (qw(length length-empty reset chunked chunked-in-chunk
                    chunked-garbage chunked-reset))
    {
        my $uri = "$location$how";

        my $r = $nginx->get($uri);
        ok($r->status == 502 || !$r->complete,
           "$uri: what is cut does not look whole");
        $nginx->settle();
        is($redis->exists("api:{http://localhost$uri}"), 0, 'nor is it stored');
        like($r->verdict, qr/^MISS [a-z]/, 'a reason is given')
            or diag($r->verdict);

        $r = $nginx->get($uri);
        is($r->verdict, 'MISS -', 'the next one is a miss');
        is($r->body, whole(), 'which is whole');
        $nginx->settle();

        $r = $nginx->get($uri);
        is($r->verdict, 'HIT -', 'and stored');
        is($r->body, whole(), 'as it is');
    }
}

# the origin stalls

my $r = $nginx->get('/late/stall');
ok(!$r->complete, 'a body that stalls does not look whole');
$nginx->settle();
is($redis->exists('api:{http://localhost/late/stall}'), 0, 'nor is it stored');
$origin->say('stalled');
is($nginx->get('/late/stall')->body, whole(), 'the next one is whole');

# more than was announced: the rest belongs to no one

$r = $nginx->get('/longer');
is($r->body, whole(), 'what comes behind the end is not part of the body');
$nginx->settle();
$r = $nginx->get('/longer');
is($r->body, whole(), 'nor is it for the next client');

# the client goes away in the middle of it

for my $location ('/', '/unbuffered/') {
    for my $end ('close', 'reset') {
        my $uri = "${location}wait-$end";

        my $c = $nginx->begin('GET', $uri);
        $c->fill();
        like($c->{in}, qr{^HTTP/1.1 200}, "$uri: the body has begun");
        $c->$end();

        $origin->say("$location$end" =~ tr/a-z//cdr);

        # either it was read to its end, and is whole, or it was dropped
        $nginx->settle();
        my $r = $nginx->get($uri);
        is($r->body, whole(), 'the next client gets all of it');
        $nginx->settle();
        $r = $nginx->get($uri);
        is($r->body, whole(), 'and so does the one after');
        is($r->verdict, 'HIT -', 'from the cache');
    }
}

# a client that leaves in the middle of a hit harms no one

for (1 .. 10) {
    my $c = $nginx->begin('GET', '/length');
    $c->reset();
}
$r = $nginx->get('/length');
is($r->verdict, 'HIT -', 'a hit after others that were not waited for');
is($r->body, whole(), 'is whole');

$t->done();


sub whole { return join ' ', 'whole', 1 .. 3000 }


sub origin {
    my ($req, $reply) = @_;

    my ($location, $how) = $req->path =~ m{^(.*/)(.*)$};
    my @headers = ('Cache-Control' => 'max-age=60');
    my $seen = "$reply->{dir}/seen-" . ($req->path =~ tr{/}{_}r);
    my $first = !-e $seen;
    my $part = substr whole(), 0, 6000;

    spit($seen, '');

    if ($how =~ /^wait-(\w+)/) {
        $reply->head(200, @headers, 'Content-Length' => length whole());
        $reply->raw($part);
        $reply->wait_word("$location$1" =~ tr/a-z//cdr) if $first;
        $reply->raw(substr whole(), 6000);
        return;
    }

    if ($how eq 'longer') {
        $reply->close();
        $reply->head(200, @headers, 'Content-Length' => length whole());
        $reply->raw(whole(), "HTTP/1.1 200 OK\r\n\r\nsurplus");
        return;
    }

    if (!$first) {
        return $reply->send(200, \@headers, whole());
    }

    $reply->close();

    if ($how =~ /^chunked/) {
        $reply->head(200, @headers, 'Transfer-Encoding' => 'chunked');
        $reply->chunk($part);
        $reply->raw("800\r\nless than that") if $how eq 'chunked-in-chunk';
        $reply->raw("not a chunk\r\n") if $how eq 'chunked-garbage';

    } else {
        $reply->head(200, @headers, 'Content-Length' => length whole());
        $reply->raw($part) if $how ne 'length-empty';
    }

    $reply->wait_word('stalled') if $how eq 'stall';
    $reply->reset() if $how =~ /reset$/;
}
