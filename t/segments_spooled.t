#!/usr/bin/perl

# A client that is slower than the upstream: nginx puts the rest of the body
# into a file, and hands it over as one buffer.  All of that was captured in one
# go, which was more than may be on its way to Redis: what a slow client asked
# for was not stored, and meanwhile nobody else had a turn.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use RCache;
use RCache::Util qw(spit);

my $size = 12_000_000;
my $body = join '', map { sprintf '%07d ', $_ } 1 .. $size / 8;
my $sum = md5_hex($body);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=30s timeout=30s;
    redis_proxy_cache_budget        30s;
    redis_proxy_cache_lock_timeout  30s;
    redis_proxy_cache_lock_age      30s;
    redis_proxy_cache_in_flight     1m;

    server {
        listen  127.0.0.1:%%PORT%% sndbuf=64k;

        redis_proxy_cache        api;
        redis_proxy_cache_valid  1h;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /file/ {
            alias  %%DIR%%/;
        }
    }
CONF

# nginx has all of it before the client takes more than a part

for my $framing ('length', 'chunked', 'close') {
    my $uri = "/$framing/slow";
    my $c = begin($uri);
    my $r = $c->response();

    is(md5_hex($r->body), $sum, "$uri: the client gets it");
    hit($uri);
}

# it goes: others want what it asked for

for my $framing ('length', 'chunked', 'close') {
    my $uri = "/$framing/gone";

    begin($uri)->reset();
    ok($redis->wait_key("api:{http://localhost$uri}"),
       "$uri: stored, though the client has gone");
    hit($uri);
}

# an upstream that breaks off is no end of a body

{
    my $uri = '/cut/slow';
    my $r = begin($uri)->response();

    ok(!$r->complete, "$uri: the client sees that it is not whole");
    ok(wait_for { !$redis->keys("api:{http://localhost$uri}*") },
       'nothing stays of it');
}

# a file of nginx's own is one buffer as well

{
    spit($nginx->{dir} . '/file', $body);

    my $r = $nginx->get('/file/file');
    is(md5_hex($r->body), $sum, '/file/file: the client gets it');
    hit('/file/file');
}

$t->done();


# a client that has a first byte, of what nginx has all of

sub begin {
    my ($uri) = @_;
    my $c = $nginx->connect();

    $c->send("GET $uri HTTP/1.1\r\nHost: localhost\r\n\r\n");
    $c->fill();

    ok(wait_for { -e sent($uri) }, "$uri: it has left the upstream");

    return $c;
}


sub hit {
    my ($uri) = @_;
    my $r = $nginx->get($uri);

    is($r->verdict, 'HIT -', 'the next one is a hit');
    is(md5_hex($r->body), $sum, 'byte for byte');
    return;
}


sub sent { my ($uri) = @_; return $origin->{dir} . '/' . $uri =~ tr{/}{-}r }


sub origin {
    my ($req, $reply) = @_;

    my $uri = $req->uri;
    my @fields = ('Cache-Control' => 'max-age=600');

    if ($uri =~ /length/) {
        $reply->send(200, \@fields, $body);

    } elsif ($uri =~ /close/) {
        $reply->close();
        $reply->head(200, @fields);
        $reply->raw($body);

    } else {
        $reply->head(200, @fields, 'Transfer-Encoding' => 'chunked');

        for (my $at = 0; $at < $size; $at += 100_000) {
            $reply->chunk(substr $body, $at, 100_000) or last;
        }

        $uri =~ /cut/ ? $reply->close() : $reply->last_chunk();
    }

    spit("$reply->{dir}/" . $uri =~ tr{/}{-}r, '');
    return;
}
