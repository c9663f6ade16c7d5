#!/usr/bin/perl

# A body over redis_proxy_cache_max_size goes to the client untouched and is
# not stored, whether its length is known in advance or shows only on the
# way; the limit itself still fits.  One off here is a body that is cut, or
# memory that is not bounded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone      api:1m server=%%REDIS%%
                                connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget    5s;
    redis_proxy_cache_max_size  20000;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache  api;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /headers/ {
            proxy_pass               http://%%ORIGIN%%;
            proxy_buffer_size        128k;
            proxy_buffers            4 128k;
            proxy_busy_buffers_size  128k;
        }

        location /small/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_max_size  1;
        }

        location /none/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_max_size  0;
        }

        location /unbuffered/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_DEFAULT%%;

        location / {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache           api;
            redis_proxy_cache_max_size  1m;
        }
    }
CONF

for (
    # location, size, stored
    [ '/',           0,     1 ],
    [ '/',           1,     1 ],
    [ '/',           19999, 1 ],
    [ '/',           20000, 1 ],
    [ '/',           20001, 0 ],
    [ '/',           90000, 0 ],
    [ '/unbuffered/', 20000, 1 ],
    [ '/unbuffered/', 20001, 0 ],
    [ '/small/',     0,     1 ],
    [ '/small/',     1,     1 ],
    [ '/small/',     2,     0 ],
    [ '/none/',      0,     1 ],
    [ '/none/',      1,     0 ],
) {
    my ($location, $size, $stored) = @$_;

    for my $framing ('length', 'chunked', 'close') {

        # that is no response with an empty body, but perhaps a cut one
        next if $framing ne 'length' && $size == 0;

        my $uri = "$location$framing/$size";

        my $miss = $nginx->get($uri);
        is($miss->verdict, $stored ? 'MISS -' : 'MISS too_large', $uri);
        ok($miss->body eq body($size) && $miss->complete, 'passes untouched');

        $nginx->settle();
        my $there = $redis->exists("api:{http://localhost$uri}");
        is($there, $stored, $stored ? 'it is stored' : 'it is not stored');

        my $again = $nginx->get($uri);
        is($again->verdict, $stored ? 'HIT -' : 'MISS too_large', 'again');
        ok($again->body eq body($size) && $again->complete, 'and untouched');
    }
}

# one megabyte

for (
    [ 1048576, 'HIT -' ],
    [ 1048577, 'MISS too_large' ],
) {
    my ($size, $verdict) = @$_;

    $nginx->request('GET', "/length/$size", to => 'DEFAULT');
    $nginx->settle();
    my $r = $nginx->request('GET', "/length/$size", to => 'DEFAULT');
    is($r->verdict, $verdict, "$size bytes");
    is(md5_hex($r->body), md5_hex(body($size)), 'are right');
}

# what is far too large costs no memory worth speaking of

my $huge = 24 * 1024 * 1024;
$nginx->get("/chunked/100000");
my $before = $nginx->rss();

for my $framing ('length', 'chunked') {
    my $r = $nginx->get("/$framing/$huge");
    is($r->verdict, 'MISS too_large', "24 MiB, $framing");
    is(md5_hex($r->body), md5_hex(body($huge)), 'pass untouched');
}

my $grown = $nginx->rss() - $before;
ok($grown < 8192 || $ENV{ASAN_OPTIONS}, 'the worker does not grow by it')
    or diag("$grown KiB");

# the limit is one for storing: what another server with a larger one stored
# under the same key is served

$nginx->request('GET', '/length/500000', to => 'DEFAULT');
$nginx->settle();
my $r = $nginx->get('/length/500000');
is($r->verdict, 'HIT -', 'a hit over the limit of this server');
is(md5_hex($r->body), md5_hex(body(500000)), 'is right');

# headers have a limit, too

for (
    [ '/headers/30000', 'MISS -', 'HIT -' ],
    [ '/headers/80000', 'MISS headers', 'MISS headers' ],
) {
    my ($uri, @verdicts) = @$_;

    for my $verdict (@verdicts) {
        my $r = $nginx->get($uri);
        is($r->verdict, $verdict, "$uri: $verdict");
        is(join('', $r->headers('X-Long')) eq 'h' x ($uri =~ /(\d+)/)[0]
               ? 'all' : 'some', 'all', 'has all of its headers');
        $nginx->settle();
    }
}

$t->done();


my ($made, $made_size);

sub body {
    my ($size) = @_;

    if (!defined $made_size || $made_size != $size) {
        my $line = join '', map { chr } 1 .. 250;
        $made = substr $line x (1 + int($size / length $line)), 0, $size;
        $made_size = $size;
    }

    return $made;
}


sub origin {
    my ($req, $reply) = @_;

    my ($framing, $size) = $req->path =~ m{([a-z]+)/(\d+)$};
    my @headers = ('Cache-Control' => 'max-age=60');

    if ($framing eq 'headers') {
        push @headers, 'X-Long', 'h' x 1000 for 1 .. $size / 1000;
        return $reply->send(200, \@headers, 'headers');
    }

    if ($framing eq 'length') {
        return $reply->send(200, \@headers, body($size));
    }

    my $body = body($size);

    if ($framing eq 'close') {
        $reply->close();
        $reply->head(200, @headers);
        $reply->raw($body);
        return;
    }

    $reply->head(200, @headers, 'Transfer-Encoding' => 'chunked');
    for (my $at = 0; $at < $size; $at += 65536) {
        $reply->chunk(substr $body, $at, 65536) or return;
    }
    $reply->last_chunk();
}
