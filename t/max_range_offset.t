#!/usr/bin/perl

# A range far into a large response is not worth fetching all before it:
# behind redis_proxy_cache_max_range_offset the range goes to the origin as it
# is, and what comes is not cached.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $whole = join '', map { chr(33 + $_ % 90) } 0 .. 4999;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass                          http://%%ORIGIN%%;
            redis_proxy_cache_max_range_offset  1k;
        }

        location /zero/ {
            proxy_pass                          http://%%ORIGIN%%;
            redis_proxy_cache_max_range_offset  0;
        }

        location /any/ {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my $n = 0;

# the range; does it reach the origin; what comes back

for (
    [ '/', 'bytes=0-9', 0, substr($whole, 0, 10) ],
    [ '/', 'bytes=1000-1009', 0, substr($whole, 1000, 10) ],
    [ '/', 'bytes=1023-1024', 0, substr($whole, 1023, 2) ],
    [ '/', 'bytes=1025-1030', 1, substr($whole, 1025, 6) ],
    [ '/', 'bytes=4000-', 1, substr($whole, 4000) ],
    [ '/', 'bytes=-10', 1, substr($whole, -10) ],
    [ '/', 'bytes=99999999999999999999-', 1, undef ],
    [ '/', 'lines=4000-', 0, $whole ],
    [ '/zero/', 'bytes=1-2', 1, substr($whole, 1, 2) ],
    [ '/zero/', 'bytes=-10', 1, substr($whole, -10) ],
    [ '/any/', 'bytes=4000-', 0, substr($whole, 4000) ],
    [ '/any/', 'bytes=-10', 0, substr($whole, -10) ],
) {
    my ($path, $range, $passes, $body) = @$_;

    my $uri = $path . ++$n;
    my $r = $nginx->get($uri, Range => $range);

    is($r->body, $body, "$path $range: the right bytes") if defined $body;
    is($r->status, 416, "$path $range: behind the end") if !defined $body;

    if ($passes) {
        is($r->verdict, 'MISS range', 'it passes');
        is($origin->latest->header('Range'), $range, 'as it is');
        $nginx->settle();
        is($redis->exists("api:{http://localhost$uri}"), 0,
           'nothing is stored');

    } else {
        like($r->verdict, qr/^MISS /, 'it fills');
        is($origin->latest->header('Range'), undef, 'from the whole');
        $nginx->settle();
        is($nginx->get($uri)->body, $whole, 'which is stored');
    }
}

# as in proxy_cache, a response that is there already is used for any range

$nginx->get('/there');
$nginx->settle();
my $before = $origin->count('/there');
my $r = $nginx->get('/there', Range => 'bytes=4000-4009');
is($r->status . $r->body, '206' . substr($whole, 4000, 10),
   'a far range of what is stored');
is($r->verdict, 'HIT -', 'is a hit');
is($origin->count('/there'), $before, 'without the origin');

# conditions pass with the range

$r = $nginx->get('/if', Range => 'bytes=4000-4009', 'If-Range' => '"e"');
is($r->body, substr($whole, 4000, 10), 'If-Range passes too');
is($origin->latest->header('If-Range'), '"e"', 'to the origin');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my @headers = ('Cache-Control' => 'max-age=60', 'ETag' => '"e"');
    my $range = $req->header('Range') // '';

    if ($range =~ /^bytes=(\d{1,9})-(\d*)$/ || $range =~ /^bytes=(-)(\d+)$/) {
        my $start = $1 eq '-' ? length($whole) - $2 : $1;
        my $end = $1 eq '-' || $2 eq '' ? length($whole) - 1 : $2;
        return $reply->send(206, [ @headers, 'Content-Range' =>
            "bytes $start-$end/" . length $whole ],
            substr $whole, $start, $end - $start + 1);

    } elsif ($range =~ /^bytes=\d/) {
        return $reply->send(416, [ 'Content-Range' => 'bytes */5000' ], '');
    }

    return $reply->send(200, \@headers, $whole);
}
