#!/usr/bin/perl

# What an entry takes in Redis, which is what a cache is paid for; what of a
# response it leaves out, and that nobody who is served from it misses that;
# and that other programs can read it, as docs/storage-format.md tells them to.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Entry;
use RCache::Util qw(slurp spit);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    bench:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache             bench;
        redis_proxy_cache_revalidate  on;
        add_header                    X-Found $redis_proxy_cache_reason;

        location / {
            proxy_pass         http://%%ORIGIN%%;
        }

        location /passed/ {
            proxy_pass         http://%%ORIGIN%%;
            proxy_pass_header  Date;
        }

        location /post/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_methods   GET HEAD POST;
            redis_proxy_cache_key_body  1k;
        }
    }
CONF

# the headers that nginx has for a small file, as in bench/run

my @file = ('Content-Type: text/plain',
            'Last-Modified: Sat, 28 Nov 2026 11:15:08 GMT',
            'ETag: "6b0ab7bc-400"', 'Cache-Control: max-age=3600',
            'Accept-Ranges: bytes');

my $body = 'x' x 1024;
my ($r, $e, $key);

# its size: that of the key, its value and what Redis has around them

for my $before (0, 1, 40, -5) {
    my $uri = "/m/1k/r1-12345$before";
    my $date = time() - $before;

    $key = "bench:{http://127.0.0.1$uri}";

    is(get($uri, "Date: " . http_date($date), @file)->verdict, 'MISS -',
       "Date is $before seconds before the response");
    ok($redis->wait_key($key), 'it is stored');
    cmp_ok($redis->cmd('MEMORY', 'USAGE', $key), '<=', 1.37 * length $body,
           'in at most 1.37 times the bytes of its body');

    $e = entry($uri);
    is($e->{head}, join("\r\n", 'HTTP/1.1 200 OK', @file[0 .. 3], '', ''),
       'its head has what is not known without it');
    is($e->date(), $date, 'Date is');
    is(!$e->has('aged'), int($e->{created} / 1000) == $date,
       'and takes no place if it is the second of the response');

    $r = get($uri);
    is($r->verdict, 'HIT -', 'a hit');
    is_deeply([ grep { $_->[0] !~ /^(?:Server|Connection|Age|X-)/ }
                $r->pairs() ],
              [ map { [ split /: /, $_, 2 ] }
                $file[0], 'Content-Length: 1024', 'Date: ' . http_date($date),
                @file[1 .. 4] ],
              'has all that the response had');
    cmp_ok($r->header('Age'), '>=', $before, 'its age counts from Date on')
        if $before > 0;
}

# without a Date it is that of its arrival

for my $date ([], [ 'Date: yesterday' ]) {
    my $uri = '/none/' . @$date;

    get($uri, @$date, @file);
    $redis->wait_key("bench:{http://127.0.0.1$uri}");
    $e = entry($uri);
    is($e->date(), int($e->{created} / 1000), "@$date: the time of arrival");
    is_deeply([ get($uri)->headers('Date') ], [ http_date($e->date()) ],
              'for all who get it');
}

# written as RFC 9110 has it, whatever the upstream's is like

my $now = time();
my %long = (Tue => 'Tues', Wed => 'Wednes', Thu => 'Thurs', Sat => 'Satur');
my $odd = http_date($now - 2)
    =~ s{^(\w+), (\d+) (\w+) \d\d}{($long{$1} // $1) . "day, $2-$3-"}er;

get('/odd', "Date: $odd", @file);
is(get('/odd')->header('Date'), http_date($now - 2), "$odd is a date");

# too far off for a few bytes: the line itself

my $far = 'Fri, 31 Dec 9999 23:59:59 GMT';

get('/far', "Date: $far", @file);
like(entry('/far')->{head}, qr/^Date: \Q$far\E\r$/m, 'it is in the head');
is_deeply([ get('/far')->headers('Date') ], [ $far ], 'and in the response');

# and where the client gets the upstream's line

get('/passed/a', "Date: $odd", @file);
like(entry('/passed/a')->{head}, qr/^Date: \Q$odd\E\r$/m,
     'a Date that is passed on is in the head');
is_deeply([ get('/passed/a')->headers('Date') ], [ $odd ],
          'and in the response');

# a 304 has a Date of its own, and Accept-Ranges, or has none

my @stale = (@file[0 .. 2], 'Cache-Control: max-age=0');

for my $uri ('/304', '/passed/304') {
    get($uri, 'Date: ' . http_date($now - 100), @stale);

    $r = get($uri, 'Date: ' . http_date($now - 50), @stale, $file[4]);
    is($r->verdict, 'REVALIDATED -', "$uri: revalidated");
    is_deeply([ $r->headers('Date') ], [ http_date($now - 50) ],
              'the Date is that of the 304');
    ok(wait_for { ($e = entry($uri))->date() == $now - 50 }, 'it is stored');
    unlike($e->{head}, qr/^(?:Date|Accept-Ranges):/m, 'in place of a line');

    $r = get($uri, @stale);
    ok(wait_for { ($e = entry($uri))->date() == int $e->{created} / 1000
                  && $e->date() >= $now },
       'without one it is the time of arrival');
    is_deeply([ $r->headers('Date') ], [ http_date($e->date()) ],
              'for the client as well');
}

# of what nginx does not make ranges of, it is the upstream's word

get('/post/a', @file) for 1 .. 2;

for my $status ('200', '404 Not Found') {
    my $uri = '/post/' . substr $status, 0, 3;
    my @how = ('POST', $uri, headers => say($status, @file), body => 'b',
               Host => '127.0.0.1');

    $r = $nginx->request(@how);
    is($r->verdict, 'MISS -', "$status to POST");
    $nginx->settle();
    $r = $nginx->request(@how);
    is($r->verdict, 'HIT -', 'a hit');
    is_deeply([ $r->headers('Accept-Ranges') ], [ 'bytes' ],
              'what the upstream said');
}

get('/404', '404 Not Found', @file);
is_deeply([ get('/404')->headers('Accept-Ranges') ], [ 'bytes' ],
          'of a 404 too');

# what the one before this wrote, or anybody will, is a miss

$key = 'bench:{http://127.0.0.1/old}';
get('/old', @file);
$redis->wait_key($key);

my $value = $redis->get($key);

for my $version (0, 1, 3) {
    $redis->cmd('SET', $key, $value =~ s/^RPC\K./chr $version/re, 'PX', 60000);
    $r = get('/old', @file);
    is($r->verdict, 'MISS -', "version $version is not read");
    is($r->header('X-Found'), 'entry_version', 'for that reason');
    $nginx->settle();
    is($redis->get($key) =~ /^RPC\x02/ ? 1 : 0, 1, 'and is replaced');
}

# in JavaScript, as it stands in the documentation

SKIP: {
    skip 'there is no node', 6 if !grep { -x "$_/node" } split /:/, $ENV{PATH};

    my ($code) = slurp("$FindBin::Bin/../docs/storage-format.md")
        =~ /^To read one in JavaScript.*?\n\n((?:    .*\n|\n)+)/m;
    $code =~ s/'api:\{[^']*\}'/process.argv[2]/;

    spit($t->dir() . '/read.js', <<"EOC");
const { execFileSync } = require('child_process');
const fs = require('fs');
const redis = { getBuffer: async (key) => fs.readFileSync(key) };

(async () => {
$code
})();
EOC

    for my $before (0, 7) {
        my @vary = ('Vary: A', 'Cache-Control: max-age=600, '
                    . 'stale-while-revalidate=60');
        my $date = http_date(time() - $before);

        get('/js', "Date: $date", @file[0 .. 2], @vary);
        ok(wait_for { ($key) = grep { /js\}:v:/ && !/:l$/ } $redis->keys() },
           'there is a variant');
        spit($t->dir() . '/value', $redis->get($key));
        $redis->cmd('UNLINK', $redis->keys());

        my $said = `cd \Q${\ $t->dir()}\E && node read.js value 2>&1`;

        like($said, qr/^true 200 \Q$date\E\nHTTP\/1\.1 200 OK\r?\n/,
             'node reads whether it is fresh, its status and its Date');
        like($said, qr/^Vary: A\r?\n.*?^\r?\n^<Buffer(?: 78){50} /ms,
             'its head, and its body');
    }
}

$t->done();


sub entry {
    return RCache::Entry->read($redis, "bench:{http://127.0.0.1$_[0]}");
}


# What the origin is to answer with: a status line, header lines; it counts if
# it is asked.

sub say {
    my @lines = @_;
    my $status = @lines && $lines[0] =~ /^\d/ ? shift @lines : 200;

    return [ Host => '127.0.0.1', 'X-Answer', $status,
             map { ('X-Line', $_) } @lines ];
}


sub get {
    my ($uri, @lines) = @_;

    my $r = $nginx->request('GET', $uri, headers => say(@lines));
    $nginx->settle();

    return $r;
}


sub origin {
    my ($req, $reply) = @_;

    my @lines = $req->headers('X-Line');
    my ($etag) = grep { s/^ETag: // } map { my $line = $_ } @lines;
    my $same = defined $etag && ($req->header('If-None-Match') // '') eq $etag;

    return $reply->head(304, map { split /: /, $_, 2 } @lines) if $same;

    return $reply->send($req->header('X-Answer'),
                        [ map { split /: /, $_, 2 } @lines ], 'x' x 1024);
}
