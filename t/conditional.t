#!/usr/bin/perl

# A client that has a response asks whether it is still the one, and the
# cache is who answers.  RFC 9110, 13.2.2, says in which order the conditions
# count.  A 304 where they do not hold leaves a client with an old response;
# a 200 where they do costs the body.  The answer must be the same from the
# origin's response on its way into the cache, and from the entry.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $body = 'body of it';
my $modified = 'Mon, 01 Jan 2024 00:00:00 GMT';
my $before = 'Sun, 31 Dec 2023 23:59:59 GMT';
my $after = 'Mon, 01 Jan 2024 00:00:01 GMT';

my @fresh = ('Cache-Control' => 'max-age=60', 'Content-Type' => 'text/plain');

# what there is: headers, status

my %there = (
    both => [ [ @fresh, ETag => '"v1"', 'Last-Modified' => $modified ] ],
    etag => [ [ @fresh, ETag => '"v1"' ] ],
    weak => [ [ @fresh, ETag => 'W/"v1"' ] ],
    comma => [ [ @fresh, ETag => '"a, b"' ] ],
    date => [ [ @fresh, 'Last-Modified' => $modified ] ],
    none => [ [ @fresh ] ],
    now => [ [ @fresh, 'Last-Modified' => 'now', Date => 'now' ] ],
    made => [ [ @fresh, Date => 'now' ] ],
    all => [ [ @fresh, ETag => '"v1"', 'Last-Modified' => $modified,
               'Content-Location' => '/there', Expires => 'now', Vary =>
               'X-Nothing', 'Content-Language' => 'en', 'Content-Encoding' =>
               'x-own', 'X-Other' => 'other' ] ],
    404 => [ [ @fresh, ETag => '"v1"', 'Last-Modified' => $modified ],
             '404 Not Found' ],
    410 => [ [ @fresh, ETag => '"v1"', 'Last-Modified' => $modified ],
             '410 Gone' ],
    301 => [ [ @fresh, ETag => '"v1"', 'Last-Modified' => $modified,
               Location => '/there' ], '301 Moved Permanently' ],
);

# entry, headers, expected status

my @m = ('If-None-Match');
my @s = ('If-Modified-Since');
my @u = ('If-Unmodified-Since');
my @first = (Range => 'bytes=0-3');

my @cases = (

    # If-None-Match: weak comparison

    [ 'both', [ @m, '"v1"' ], 304 ],
    [ 'both', [ @m, '"v0"' ], 200 ],
    [ 'both', [ @m, '"V1"' ], 200 ],
    [ 'both', [ @m, '"v"' ], 200 ],
    [ 'both', [ @m, '"v11"' ], 200 ],
    [ 'both', [ @m, 'W/"v1"' ], 304 ],
    [ 'weak', [ @m, 'W/"v1"' ], 304 ],
    [ 'weak', [ @m, '"v1"' ], 304 ],
    [ 'both', [ @m, '"v0", "v1"' ], 304 ],
    [ 'both', [ @m, '"v0","x",W/"v1"' ], 304 ],
    [ 'both', [ @m, ' , "v0" ,, "v1" , ' ], 304 ],
    [ 'both', [ @m, '"v0", "v2"' ], 200 ],
    [ 'both', [ 'if-none-match', '"v1"' ], 304 ],
    [ 'comma', [ @m, '"x", "a, b"' ], 304 ],
    [ 'comma', [ @m, '"a", "b"' ], 200 ],
    [ 'both', [ @m, '"x, "v1""' ], 200 ],
    [ 'both', [ @m, '*' ], 304 ],
    [ 'date', [ @m, '*' ], 304 ],
    [ 'none', [ @m, '*' ], 304 ],
    [ 'both', [ @m, '"*"' ], 200 ],
    [ 'none', [ @m, '"v1"' ], 200 ],
    [ 'date', [ @m, '"v1"' ], 200 ],

    # If-Modified-Since

    [ 'both', [ @s, $modified ], 304 ],
    [ 'both', [ @s, $after ], 304 ],
    [ 'both', [ @s, $before ], 200 ],
    [ 'date', [ @s, $modified ], 304 ],
    [ 'date', [ @s, 'Monday, 01-Jan-24 00:00:00 GMT' ], 304 ],
    [ 'date', [ @s, 'Mon Jan  1 00:00:00 2024' ], 304 ],
    [ 'date', [ @s, 'Sunday, 31-Dec-23 23:59:59 GMT' ], 200 ],
    [ 'date', [ @s, 'yesterday' ], 200 ],
    [ 'date', [ @s, '' ], 200 ],
    [ 'date', [ @s, '1704067200' ], 200 ],
    [ 'none', [ @s, $modified ], 200 ],
    [ 'etag', [ @s, $modified ], 200 ],

    # RFC 9111, 4.3.2: without Last-Modified, the Date that is stored

    [ 'made', [ @s, 'Fri, 01 Jan 2100 00:00:00 GMT' ], 304 ],
    [ 'made', [ @s, $modified ], 200 ],

    # If-None-Match before If-Modified-Since

    [ 'both', [ @m, '"v1"', @s, $before ], 304 ],
    [ 'both', [ @s, $before, @m, '"v1"' ], 304 ],
    [ 'both', [ @m, '"v0"', @s, $modified ], 200 ],
    [ 'both', [ @m, '"v0"', @s, $after ], 200 ],
    [ 'both', [ @m, '"v1"', @s, 'yesterday' ], 304 ],
    [ 'date', [ @m, '"v1"', @s, $modified ], 200 ],
    [ 'both', [ @m, '*', @s, $before ], 304 ],

    # If-Match: strong comparison

    [ 'both', [ 'If-Match', '"v1"' ], 200 ],
    [ 'both', [ 'If-Match', '"v0", "v1"' ], 200 ],
    [ 'both', [ 'If-Match', '*' ], 200 ],
    [ 'none', [ 'If-Match', '*' ], 200 ],
    [ 'both', [ 'If-Match', '"v0"' ], 412 ],
    [ 'both', [ 'If-Match', 'W/"v1"' ], 412 ],
    [ 'weak', [ 'If-Match', 'W/"v1"' ], 412 ],
    [ 'weak', [ 'If-Match', '"v1"' ], 412 ],
    [ 'none', [ 'If-Match', '"v1"' ], 412 ],

    # If-Unmodified-Since

    [ 'both', [ @u, $modified ], 200 ],
    [ 'both', [ @u, $after ], 200 ],
    [ 'both', [ @u, $before ], 412 ],
    [ 'both', [ @u, 'yesterday' ], 200 ],
    [ 'none', [ @u, $before ], 200 ],

    # If-Match before If-Unmodified-Since, both before the others

    [ 'both', [ 'If-Match', '"v1"', @u, $before ], 200 ],
    [ 'both', [ 'If-Match', '"v0"', @u, $after ], 412 ],
    [ 'both', [ 'If-Match', '"v1"', @m, '"v1"' ], 304 ],
    [ 'both', [ 'If-Match', '"v0"', @m, '"v1"' ], 412 ],
    [ 'both', [ @u, $before, @m, '"v1"' ], 412 ],
    [ 'both', [ @u, $modified, @s, $modified ], 304 ],

    # If-Range: strong comparison, or the exact date

    [ 'both', [ @first ], 206 ],
    [ 'both', [ @first, 'If-Range', '"v1"' ], 206 ],
    [ 'both', [ @first, 'If-Range', '"v0"' ], 200 ],
    [ 'both', [ @first, 'If-Range', 'W/"v1"' ], 200 ],
    [ 'weak', [ @first, 'If-Range', 'W/"v1"' ], 200 ],
    [ 'weak', [ @first, 'If-Range', '"v1"' ], 200 ],
    [ 'none', [ @first, 'If-Range', '"v1"' ], 200 ],
    [ 'both', [ @first, 'If-Range', '"v0", "v1"' ], 200 ],
    [ 'both', [ @first, 'If-Range', '*' ], 200 ],
    [ 'both', [ @first, 'If-Range', $modified ], 206 ],
    [ 'both', [ @first, 'If-Range', $before ], 200 ],
    [ 'both', [ @first, 'If-Range', $after ], 200 ],
    [ 'none', [ @first, 'If-Range', $modified ], 200 ],
    [ 'now', [ @first, 'If-Range', 'now' ], 200 ],
    [ 'both', [ 'If-Range', '"v1"' ], 200 ],
    [ 'both', [ 'If-Range', '"v0"' ], 200 ],

    # ranges after the conditions

    [ 'both', [ @first, @m, '"v1"' ], 304 ],
    [ 'both', [ @first, @m, '"v0"' ], 206 ],
    [ 'both', [ @first, @s, $modified ], 304 ],
    [ 'both', [ @first, 'If-Match', '"v0"' ], 412 ],
    [ 'both', [ @first, 'If-Match', '"v1"', 'If-Range', '"v1"' ], 206 ],
    [ 'both', [ @first, 'If-Range', '"v0"', @m, '"v1"' ], 304 ],

    # what is no success is sent as it is, 13.2.1

    map { [ "$_", [ @m, '"v1"' ], $_ ], [ "$_", [ @m, '*' ], $_ ],
          [ "$_", [ @s, $modified ], $_ ], [ "$_", [ 'If-Match', '"v0"' ], $_ ],
          [ "$_", [ @u, $before ], $_ ], [ "$_", [ @first ], $_ ] }
        404, 410, 301
);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache  api;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /exact/ {
            proxy_pass          http://%%ORIGIN%%;
            if_modified_since   exact;
        }

        location /gzip/ {
            proxy_pass       http://%%ORIGIN%%;
            gzip             on;
            gzip_types       text/plain;
            gzip_min_length  1;
        }
    }
CONF

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);

my ($r, $c, $n);

for my $case (@cases) {
    my ($there, $headers, $status) = @$case;

    my $uri = "/$there/" . ++$n;
    my @send = @$headers;
    my $name = join ' ', "$there:", @send;

    # on a miss, which fills the cache also when the answer is a 304

    my $got = $one->get($uri, now_in($uri, @send));
    is($got->status, $status, "miss, $name: $status");
    check($got, $status, "@send" =~ /now/ ? 'HIT' : 'MISS', $there);
    $one->settle();

    my $full = $one->get($uri);
    is($full->status, ($there{$there}[1] || 200) =~ /^(\d+)/ ? $1 : 0,
       'the whole one is there');
    is($full->body, $body, 'with its body');
    $one->settle();

    is($full->verdict, 'HIT -', 'it was stored by the first one')
        if $status != 412;

    # on a hit, here and on the second instance, by GET and by HEAD

    for my $nginx ($one, $two) {
        $got = $nginx->get($uri, now_in($uri, @send));
        is($got->status, $status, "hit, $name: $status");
        check($got, $status, 'HIT', $there);

        $got = $nginx->head($uri, now_in($uri, @send));
        is($got->status, $status == 206 ? 200 : $status, 'HEAD as well')
            if $status != 206 || $got->status != 206;
        is($got->body, '', 'without a body');
    }

    my $last = $origin->latest($uri);
    is_deeply([ grep { /^(?:If-|Range)/i } map { $_->[0] }
                @{ $last->{pairs} } ], [], 'the origin saw none of it');
}

# what a 304 has: RFC 9110, 15.4.5

for my $cache ('cold', 'warm') {
    $r = $one->get('/all/304', 'If-None-Match' => '"v1"');
    is($r->status, 304, "a 304, $cache");

    is(scalar(my @h = $r->headers($_)), 1, "it has $_, once")
        for 'Cache-Control', 'Content-Location', 'Date', 'ETag', 'Expires',
            'Vary';
    is($r->header($_), undef, "it has no $_")
        for 'Content-Length', 'Content-Type', 'Content-Encoding',
            'Transfer-Encoding';
    is($r->header('ETag'), '"v1"', 'the ETag is that of the entry');
    is($r->header('Age'), undef, 'no age') if $cache eq 'cold';
    like($r->header('Age'), qr/^\d$/, 'its age') if $cache eq 'warm';

    $one->settle();
}

# if_modified_since of the location is about files, RFC 9110 about us

$r = $one->get('/both/exact');
$one->settle();
is($one->get('/both/exact', @s, $after)->status, 304,
   'a later date is as good as the exact one');

# through compression: what is compressed has a weak ETag in the client

$r = $one->get('/gzip/1', 'Accept-Encoding' => 'gzip');
is($r->header('Content-Encoding'), 'gzip', 'compressed');
is($r->header('ETag'), 'W/"v1"', 'nginx makes the ETag weak');
$one->settle();
is($one->get('/gzip/1', 'Accept-Encoding' => 'gzip', @m, 'W/"v1"')->status,
   304, 'which matches afterwards');

# a connection stays usable after each of these

for my $warm (0, 1) {
    $c = $one->connect();
    my $bad = 0;

    for my $case (@cases) {
        my ($there, $headers, $status) = @$case;
        my $uri = "/$there/conn" . ($warm ? '' : '?' . ++$n);

        my $r = $c->request('GET', $uri, keepalive => 1,
                            headers => [ now_in($uri, @$headers) ]);

        if (!$r || $r->status != $status || !$r->complete) {
            $bad++;
            diag("$uri @$headers: " . ($r ? $r->status : 'no answer')
                 . ", not $status");
        }

        # nginx ends the connection after a 412, its own as well

        if (!$r || $status == 412) {
            $c->close();
            $c = $one->connect();
        }
    }

    is($bad, 0, 'all of them on one connection, '
       . ($warm ? 'warm' : 'cold'));
    $c->close();
}

$t->done();


sub check {
    my ($r, $status, $verdict, $there) = @_;

    ok($r->complete, 'it ends well');
    is($r->verdict, "$verdict -", "and is a $verdict") if $status != 412;

    if ($status == 304) {
        is($r->body, '', 'without a body');
        is($r->header('Content-Length'), undef, 'nor a length');
        is($r->header('ETag'), { @{ $there{$there}[0] } }->{ETag},
           'with the ETag');

    } elsif ($status == 206) {
        is($r->body, substr($body, 0, 4), 'with the part');

    } elsif ($status != 412) {
        is($r->body, $body, 'with the body');
    }

    return;
}


# "now" in a header is the Last-Modified that the origin gave out

sub now_in {
    my ($uri, @headers) = @_;

    return map { $_ eq 'now' ? ($one->get($uri)->header('Last-Modified')
                                // 'x') : $_ } @headers;
}


sub origin {
    my ($req, $reply) = @_;

    my ($there) = $req->path =~ m{^/(\w+)};
    my ($headers, $status) = @{ $there{$there} || $there{both} };
    my $now = http_date();

    $reply->send($status || 200, [ map { $_ eq 'now' ? $now : $_ }
                                   @$headers ], $body);
}
