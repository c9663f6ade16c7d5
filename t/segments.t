#!/usr/bin/perl

# A body that is longer than a segment is stored while it arrives, and served
# while it comes from Redis: one byte that is lost or doubled where two
# segments meet is a broken download for everybody.

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
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=30s timeout=30s
                                    slow=off;
    redis_proxy_cache_budget        30s;
    redis_proxy_cache_max_size      200m;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache               api;
        redis_proxy_cache_bypass        $http_x_bypass;
        redis_proxy_cache_segment_size  8k;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /unbuffered/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }

        location /small/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_min_size  1000;
        }

        location /gzip/ {
            proxy_pass  http://%%ORIGIN%%;
            gzip        on;
            gzip_types  *;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_DEFAULT%%;

        location / {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache            api;
            redis_proxy_cache_in_flight  200m 200m;
        }
    }
CONF

my $segment = 8192;

for my $location ('/', '/unbuffered/') {
    for my $size (0, 1, 2, $segment - 1, $segment, $segment + 1,
                  2 * $segment - 1, 2 * $segment, 2 * $segment + 1,
                  5 * $segment, 300_001)
    {
        for my $framing ('length', 'chunked', 'close') {

            # that is no response with an empty body, but perhaps a cut one
            next if $framing ne 'length' && $size == 0;

            my $uri = "$location$framing/$size";
            my $r = $nginx->get($uri);
            is($r->verdict, 'MISS -', $uri);
            is(md5_hex($r->body), md5_hex(body($size)), 'passes as it is');

            my $key = "api:{http://localhost$uri}";
            $redis->wait_key($key);
            my $entry = RCache::Entry->read($redis, $key);
            my @segments = $redis->keys("$key:s:*");
            my $count = $size > $segment
                ? int(($size + $segment - 1) / $segment) : 0;

            is(scalar @segments, $count, "in $count segments");
            is(length $entry->{body}, $count ? 0 : $size,
               'beside what is in the entry');
            cmp_ok($redis->pttl($_), '>', $redis->pttl($key),
                   'which live longer than it')
                for @segments[0 .. ($count ? 0 : -1)];

            $r = $nginx->get($uri);
            is($r->verdict, 'HIT -', 'the next one is a hit');
            ok($r->complete, 'which is whole');
            is($r->header('Content-Length'), $size, 'has its length');
            is(md5_hex($r->body), md5_hex(body($size)), 'and all its bytes');

            $r = $nginx->head($uri);
            is($r->verdict, 'HIT -', 'HEAD');
            is($r->header('Content-Length'), $size, 'has its length, too');
        }
    }
}

# a hundred megabytes, with segments of the default size

{
    my $uri = '/length/' . 100 * 1024 * 1024;
    my $sum = md5_hex(body(100 * 1024 * 1024));
    my $r = $nginx->request('GET', $uri, to => 'DEFAULT');

    is(md5_hex($r->body), $sum, '100 MiB pass');

    # unless Redis takes its time with so many: then the next one is

    ok((wait_for {
        $r = $nginx->request('GET', $uri, to => 'DEFAULT');
        $r->verdict eq 'HIT -';
    }), 'and are stored') or diag($r->verdict);
    is(md5_hex($r->body), $sum, 'byte for byte');

    # a segment that is a little over 128k would take 160k

    my ($segment) = $redis->keys("api:{http://localhost$uri}:s:*:0");
    cmp_ok($redis->cmd('MEMORY', 'USAGE', $segment), '<',
           1.01 * $redis->cmd('STRLEN', $segment),
           'and Redis takes no more for a segment than it has');
}

# what is short enough is asked for at once: no question whether it is there, no
# turn of its own for the 192 bytes that are left of 256k

{
    my $uri = '/length/262144';

    $nginx->request('GET', $uri, to => 'DEFAULT');
    $redis->wait_key("api:{http://localhost$uri}");
    $redis->cmd(qw(CONFIG RESETSTAT));

    my $r = $nginx->request('GET', $uri, to => 'DEFAULT');
    is($r->verdict, 'HIT -', '256 KiB are a hit');
    is(md5_hex($r->body), md5_hex(body(262144)), 'byte for byte');

    my ($stats) = $redis->cmd(qw(INFO commandstats));
    like($stats, qr/cmdstat_get:calls=4,/, 'by a GET for each key');
    unlike($stats, qr/cmdstat_exists:/, 'and nothing else');
}

# filters behind a hit see it as they would see the upstream's

{
    my $uri = '/gzip/length/200000';

    $nginx->get($uri);

    my $r = $nginx->get($uri, 'Accept-Encoding' => 'gzip');
    is($r->verdict, 'HIT -', 'a hit that is compressed on its way');
    is($r->header('Content-Encoding'), 'gzip', 'is so');
    ok($r->complete, 'to its end');
}

# on one connection, so where one ends is where the next one begins

{
    my $c = $nginx->connect();

    for my $size ($segment + 1, 300_001, 1, 5 * $segment) {
        my $r = $c->request('GET', "/length/$size", keepalive => 1);
        is(md5_hex($r->body), md5_hex(body($size)), "kept alive, $size");
    }
}

# limits

for (
    [ '/small/length/999',   'MISS too_small' ],
    [ '/small/length/1000',  'HIT -' ],
    [ '/small/chunked/999',  'MISS too_small' ],
    [ '/small/chunked/1000', 'HIT -' ],
) {
    my ($uri, $verdict) = @$_;

    $nginx->get($uri);
    $nginx->settle();
    is($nginx->get($uri)->verdict, $verdict, "$uri: $verdict");
}

# what takes the place of an entry lets its segments go, but not at once: who
# reads them may finish

{
    my $uri = '/length/50000';
    my $key = "api:{http://localhost$uri}";

    $nginx->get($uri);
    $redis->wait_key($key);

    my %life = map { $_ => $redis->pttl($_) } $redis->keys("$key:s:*");
    ok(keys %life == 7, 'seven segments');
    cmp_ok($_, '>', 150_000, 'live with the entry') for values %life;

    my $r = $nginx->get($uri, 'X-Bypass' => 1);
    is($r->verdict, 'BYPASS -', 'another one takes its place');

    ok(wait_for { !grep { $redis->pttl($_) > 120_000 } keys %life },
       'the old segments have two minutes left');
    is(scalar(grep { $redis->exists($_) } keys %life), 7, 'but that they have');

    my @all = $redis->keys("$key:s:*");
    is(scalar @all, 14, 'beside the new ones');
    is(md5_hex($nginx->get($uri)->body), md5_hex(body(50000)),
       'which are served');
}

$t->done();


my ($made, $made_size);

sub body {
    my ($size) = @_;

    if (!defined $made_size || $made_size != $size) {
        my $line = join '', map { pack 'N', $_ * 2654435761 % 4294967296 }
                   1 .. 65537;
        $made = substr $line x (1 + int($size / length $line)), 0, $size;
        $made_size = $size;
    }

    return $made;
}


sub origin {
    my ($req, $reply) = @_;

    my ($framing, $size) = $req->path =~ m{([a-z]+)/(\d+)$};
    my @headers = ('Cache-Control' => 'max-age=60',
                   'Content-Type' => 'text/plain');

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
    for (my $at = 0; $at < $size; $at += 5000) {
        $reply->chunk(substr $body, $at, 5000) or return;
    }
    $reply->last_chunk();
}
