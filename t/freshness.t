#!/usr/bin/perl

# How long a response is fresh, RFC 9111, 4.2, from the header lines of the
# origin to the TTL in Redis: which field counts, what age is taken off it,
# what is guessed, and what numbers and clocks that are wrong do.

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
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /guess/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_heuristic  on;
        }

        location /guess/valid/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_heuristic  on;
            redis_proxy_cache_valid      200 5s;
        }

        location /targeted/ {
            proxy_pass                          http://%%ORIGIN%%;
            redis_proxy_cache_targeted_headers  Shop-Cache-Control
                                                CDN-Cache-Control;
        }

        location /untargeted/ {
            proxy_pass                          http://%%ORIGIN%%;
            redis_proxy_cache_targeted_headers  off;
        }

        location /interim/ {
            proxy_pass          http://%%ORIGIN%%;
            proxy_http_version  1.1;
        }

        location /bare/interim/ {
            proxy_pass          http://%%ORIGIN%%;
            proxy_http_version  1.1;
            redis_proxy_cache   off;
        }
    }
CONF

my $cc = 'Cache-Control';
my $cdn = 'CDN-Cache-Control';
my $ever = 2147483648;
my $day = 86400;
my $hour = 3600;
my $n = 0;

# location, header lines, status; the TTL in seconds, or the reason; a number
# in braces is a time, in seconds from the request on

my @table = (

    # 4.2.1: s-maxage, max-age, Expires less Date

    [ '/', [ "$cc: max-age=100, s-maxage=50" ], 50 ],
    [ '/', [ "$cc: max-age=50, s-maxage=100" ], 100 ],
    [ '/', [ "$cc: s-maxage=50", expires(100) ], 50 ],
    [ '/', [ "$cc: max-age=100", expires(50) ], 100 ],
    [ '/', [ "$cc: max-age=100", 'Expires: 0' ], 100 ],
    [ '/', [ expires(100) ], 100 ],
    [ '/', [ expires(100), date(0) ], 100 ],
    [ '/', [ expires(100), expires(50) ], 50 ],
    [ '/', [ 'Expires: ' . time() ], 'stale' ],
    [ '/', [ 'Expires: Thu, 01 Jan 1970 00:00:00 GMT' ], 'stale' ],
    [ '/', [ 'Expires: -1' ], 'stale' ],
    [ '/', [ "$cc: max-age=100", "$cc: max-age=50" ], 50 ],
    [ '/', [ "$cc: max-age=100, max-age=50" ], 50 ],
    [ '/', [ "$cc: MAX-AGE=100" ], 100 ],
    [ '/', [ "$cc: max-age=\"100\"" ], 100 ],
    [ '/', [ "$cc: max-age=-1" ], 'stale' ],
    [ '/', [ "$cc: max-age=" ], 'stale' ],

    # 4.2.3: Age and Date

    [ '/', [ "$cc: max-age=100", 'Age: 40' ], 60 ],
    [ '/', [ "$cc: max-age=100", 'Age: 100' ], 'stale' ],
    [ '/', [ "$cc: max-age=100", date(-40) ], 60 ],
    [ '/', [ "$cc: max-age=100", date(-40), 'Age: 70' ], 30 ],
    [ '/', [ "$cc: max-age=100", date(-70), 'Age: 40' ], 30 ],
    [ '/', [ expires(60), date(-40) ], 60 ],
    [ '/', [ expires(60), date(-40), 'Age: 60' ], 40 ],
    [ '/', [ "$cc: max-age=100", date(-101) ], 'stale' ],
    [ '/', [ "$cc: max-age=100", 'Date: yesterday' ], 100 ],
    [ '/', [ "$cc: max-age=100", 'Age: old' ], 'stale' ],
    [ '/', [ "$cc: max-age=100", 'Age: -1' ], 'stale' ],
    [ '/', [ "$cc: max-age=100", 'Age: 1', 'Age: 2' ], 'stale' ],

    # clocks that are wrong: never longer than the lifetime

    [ '/', [ "$cc: max-age=100", date($hour) ], 100 ],
    [ '/', [ "$cc: max-age=100", date(100 * 366 * $day) ], 100 ],
    [ '/', [ "$cc: max-age=100", date($hour), 'Age: 40' ], 60 ],
    [ '/', [ expires($hour + 100), date($hour) ], 100 ],
    [ '/', [ expires(100), date($hour) ], 'stale' ],
    [ '/', [ expires(100 - $hour), date(-$hour) ], 'stale' ],

    # 1.2.2: numbers that do not fit

    [ '/', [ "$cc: max-age=2147483647" ], $ever - 1 ],
    [ '/', [ "$cc: max-age=2147483648" ], $ever ],
    [ '/', [ "$cc: max-age=4294967297" ], $ever ],
    [ '/', [ "$cc: max-age=99999999999999999999999999" ], $ever ],
    [ '/', [ "$cc: s-maxage=18446744073709551617, max-age=1" ], $ever ],
    [ '/', [ "$cc: max-age=100", 'Age: 2147483648' ], 'stale' ],
    [ '/', [ "$cc: max-age=100", 'Age: 4294967296' ], 'stale' ],
    [ '/', [ "$cc: max-age=100", 'Age: 18446744073709551616' ], 'stale' ],
    [ '/', [ "$cc: max-age=99999999999", 'Age: 99999999999' ], 'stale' ],
    [ '/', [ "$cc: max-age=99999999999", 'Age: 648' ], $ever - 648 ],
    [ '/', [ "$cc: max-age=$ever", 'Date: Thu, 01 Jan 1970 00:00:00 GMT' ],
        sub { $ever - time() } ],

    # 5.2.2.3

    [ '/', [ "$cc: must-understand, no-store, max-age=100" ], 100 ],
    [ '/', [ "$cc: must-understand, max-age=100" ], 100 ],
    [ '/', [ "$cc: must-understand, no-store, max-age=100" ], 'status',
        299 ],
    [ '/', [ "$cc: must-understand, private, max-age=100" ], 'private' ],
    [ '/', [ "$cc: max-age=100" ], 100, 299 ],

    # X-Accel-Expires: a word to nginx, and so over all the others

    [ '/', [ 'X-Accel-Expires: 50' ], 50 ],
    [ '/', [ 'X-Accel-Expires: 50', "$cc: max-age=100" ], 50 ],
    [ '/', [ "$cc: max-age=100", 'X-Accel-Expires: 50' ], 50 ],
    [ '/', [ "$cc: no-store", 'X-Accel-Expires: 50' ], 50 ],
    [ '/', [ "$cc: private", 'X-Accel-Expires: 50' ], 50 ],
    [ '/', [ 'Expires: 0', 'X-Accel-Expires: 50' ], 50 ],
    [ '/', [ "$cdn: max-age=100", 'X-Accel-Expires: 50' ], 50 ],
    [ '/', [ 'X-Accel-Expires: 50', 'Age: 40', date(-45) ], 50 ],
    [ '/', [ 'X-Accel-Expires: @{50}' ], 50 ],
    [ '/', [ 'X-Accel-Expires: @{-50}', "$cc: max-age=100" ],
        'accel_expires' ],
    [ '/', [ 'X-Accel-Expires: 0', "$cc: max-age=100" ], 'accel_expires' ],
    [ '/', [ 'X-Accel-Expires: soon', "$cc: max-age=100" ], 100 ],
    [ '/', [ 'X-Accel-Expires: -1', "$cc: max-age=100" ], 100 ],
    [ '/', [ 'X-Accel-Expires: 99999999999' ], $ever ],
    [ '/', [ 'X-Accel-Expires: 50', 'Set-Cookie: a=b' ], 'set_cookie' ],

    # 4.2.2: a guess, a tenth of the time since the last change

    [ '/', [ modified(-1000) ], 'no_lifetime' ],
    [ '/guess/', [ modified(-1000) ], 100 ],
    [ '/guess/', [ modified(-1000), date(0) ], 100 ],
    [ '/guess/', [ modified(-1040), date(-40) ], 60 ],
    [ '/guess/', [ modified(-1000), 'Age: 40' ], 60 ],
    [ '/guess/', [ modified(-1000), 'Age: 100' ], 'stale' ],
    [ '/guess/', [ modified(-3650 * $day) ], $day ],
    [ '/guess/', [ modified(-1000), "$cc: max-age=50" ], 50 ],
    [ '/guess/', [ modified(-1000), expires(50) ], 50 ],
    [ '/guess/', [ modified(-1000), "$cc: no-store" ], 'no_store' ],
    [ '/guess/', [ modified(-1000), "$cc: no-cache" ], 'no_store' ],
    [ '/guess/', [ modified(-1000), "$cc: private" ], 'private' ],
    [ '/guess/', [ modified(-1000), "$cc: public" ], 100 ],
    [ '/guess/', [ modified(-1000), 'Pragma: no-cache' ], 100 ],
    [ '/guess/', [ modified(0), date(0) ], 'no_lifetime' ],
    [ '/guess/', [ modified($hour) ], 'no_lifetime' ],
    [ '/guess/', [ 'Last-Modified: long ago' ], 'no_lifetime' ],
    [ '/guess/', [ ], 'no_lifetime' ],
    [ '/guess/valid/', [ modified(-1000) ], 5 ],
    (map { [ '/guess/', [ modified(-1000) ], 100, $_ ] }
        203, 204, 300, 301, 308, 404, 405, 410, 414, 501),
    (map { [ '/guess/', [ modified(-1000) ], 'no_lifetime', $_ ] }
        201, 202, 299, 302, 303, 307, 400, 403, 418, 500, 502, 503, 504,
        599),
    (map { [ '/guess/', [ modified(-1000), "$cc: public" ], 100, $_ ] }
        302, 403, 599),

    # RFC 9213: what is said to us replaces what is said to all

    [ '/', [ "$cdn: max-age=50", "$cc: max-age=100" ], 50 ],
    [ '/', [ "$cdn: max-age=100", "$cc: no-store" ], 100 ],
    [ '/', [ "$cdn: max-age=100", "$cc: private" ], 100 ],
    [ '/', [ "$cdn: max-age=100", 'Expires: 0' ], 100 ],
    [ '/', [ "$cdn: no-store", "$cc: max-age=100" ], 'no_store' ],
    [ '/', [ "$cdn: private", "$cc: max-age=100" ], 'private' ],
    [ '/', [ "$cdn: max-age=100, s-maxage=50" ], 50 ],
    [ '/', [ "$cdn: foo, max-age=100;bar=1" ], 100 ],
    [ '/', [ "$cdn: max-age=50, max-age=100" ], 100 ],
    [ '/', [ "$cdn: foo", "$cdn: max-age=100" ], 100 ],
    [ '/', [ "$cdn: max-age=100", 'Age: 40' ], 60 ],

    # it says nothing of a lifetime, and Cache-Control has no say any more

    [ '/', [ "$cdn: public", "$cc: max-age=100" ], 'no_lifetime' ],

    # no structured field: as if it were not there

    [ '/', [ "$cdn: max-age=50, &", "$cc: max-age=100" ], 100 ],
    [ '/', [ "$cdn: max-age=50,", "$cc: max-age=100" ], 100 ],
    [ '/', [ "$cdn: max-age=50, no-store=", "$cc: max-age=100" ], 100 ],
    [ '/', [ "$cdn: \"no-store\"", "$cc: max-age=100" ], 100 ],
    [ '/', [ "$cdn: Max-Age=50", "$cc: max-age=100" ], 100 ],
    [ '/', [ "$cdn:", "$cc: max-age=100" ], 100 ],
    [ '/', [ "$cdn: max-age = 50", "$cc: no-store" ], 'no_store' ],

    # the list of such fields

    [ '/targeted/', [ 'Shop-Cache-Control: max-age=50',
                      "$cdn: max-age=100" ], 50 ],
    [ '/targeted/', [ "$cdn: max-age=100",
                      'shop-cache-control: max-age=50' ], 50 ],
    [ '/targeted/', [ "$cdn: max-age=100", "$cc: max-age=50" ], 100 ],
    [ '/targeted/', [ 'Shop-Cache-Control: &', "$cdn: max-age=100",
                      "$cc: max-age=50" ], 100 ],
    [ '/targeted/', [ 'Shop-Cache-Control: no-store', "$cdn: max-age=100",
                      "$cc: max-age=50" ], 'no_store' ],
    [ '/', [ 'Shop-Cache-Control: max-age=50', "$cc: max-age=100" ], 100 ],
    [ '/untargeted/', [ "$cdn: max-age=50", "$cc: max-age=100" ], 100 ],
    [ '/untargeted/', [ "$cdn: no-store", "$cc: max-age=100" ], 100 ],
);

# the first store needs a connection first

is($nginx->get('/first', 'X-Say' => "$cc: max-age=100")->verdict, 'MISS -',
   'a response is stored');
$nginx->settle();

for (@table) {
    my ($path, $lines, $want, $status) = @$_;

    my $uri = $path . ++$n;
    my $name = join ', ', $path, $status || (), @$lines;

    my $now = time();
    $want = $want->() if ref $want;
    my $say = join '|', @$lines;
    $say =~ s/\@\{(-?\d+)\}/'@' . ($now + $1)/ge;
    $say =~ s/\{(-?\d+)\}/http_date($now + $1)/ge;

    my $r = $nginx->get($uri, 'X-Say' => $say, 'X-Status' => $status || 200);

    if ($want =~ /\D/) {
        is($r->verdict, "MISS $want", "not stored: $name");
        next;
    }

    is($r->verdict, 'MISS -', "stored: $name");

    my $left = $redis->pttl("api:{http://localhost$uri}") / 1000;
    my $late = time() - $now + 2;
    ok($left <= $want + $late && $left > $want - $late, "for $want seconds")
        or diag("$left");

    $r = $nginx->get($uri);
    is($r->verdict, 'HIT -', 'and it is a hit');

    # RFC 9213, 3.1: the browser is told what was said to it

    is_deeply([ map { $r->headers($_) } $cc, $cdn ],
              [ map { my $f = $_; map { /^$f: ?(.*)/ } @$lines } $cc, $cdn ],
              'the fields are passed on as they were');
}

# Age of a hit: never wrapped, never less than what it was

my $uri = '/age';
$nginx->get($uri, 'X-Say' => "$cc: max-age=99999999999|Age: 2147480000");
my $r = $nginx->get($uri);
is($r->verdict, 'HIT -', 'a very old and very durable response');
like($r->header('Age'), qr/^214748000\d$/, 'its Age goes on');

$uri = '/skew';
$nginx->get($uri, 'X-Say' => "$cc: max-age=100|Date: "
            . http_date(time() + $hour));
$r = $nginx->get($uri);
is($r->verdict, 'HIT -', 'a Date in the future');
like($r->header('Age'), qr/^\d$/, 'does not make Age negative');

# an interim response is not the response: whatever this nginx makes of it,
# nothing that is not whole and final is stored

for my $kind (qw(100 103 both)) {
    my $bare = $nginx->get("/bare/interim/$kind");
    my $first = $nginx->get("/interim/$kind");
    my $next = $nginx->get("/interim/$kind");

    is($first->line, $bare->line, "$kind: as without the cache");
    is($next->line, $bare->line, 'the second time too');
    is($next->body, $bare->body, 'with the same body');
    is($next->header('X-Final'), $bare->header('X-Final'), 'and headers');
}

$t->done();


sub date     { return "Date: {$_[0]}" }
sub expires  { return "Expires: {$_[0]}" }
sub modified { return "Last-Modified: {$_[0]}" }


sub origin {
    my ($req, $reply) = @_;

    if ($req->path =~ m{/interim/(\w+)}) {
        $reply->raw("HTTP/1.1 100 Continue\r\n\r\n") if $1 ne '103';
        $reply->raw("HTTP/1.1 103 Early Hints\r\n",
                    "Cache-Control: max-age=60\r\nLink: </a>\r\n\r\n")
            if $1 ne '100';
        $reply->delay(0.1);
        $reply->close();
        return $reply->send(200, [ 'Cache-Control' => 'max-age=60',
                                   'X-Final' => 'yes' ], 'final');
    }

    return $reply->obey();
}
