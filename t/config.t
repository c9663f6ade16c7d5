#!/usr/bin/perl

# A mistake in the configuration is found by "nginx -t", and the message says
# which directive, which value, and what would be right.  What is no mistake,
# such as a Redis that is not there yet, must not keep nginx from starting.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $origin = $t->origin(\&origin);
my $absent = free_port();
my $port = free_port();

spit($t->dir . '/password', "secret\n");
spit($t->dir . '/empty', '');

my $url = 'server=redis://127.0.0.1:6379';
my $dir = $t->dir;

# what stands in http, then what stands in a location, and what the message
# has to name: the directive, the value, what is right

my @wrong = (
    [ 'redis_proxy_cache_zone;', '', 'redis_proxy_cache_zone',
        'number of arguments' ],
    [ "redis_proxy_cache_zone api $url;", '',
        'redis_proxy_cache_zone', '"api"', 'name:size' ],
    [ "redis_proxy_cache_zone :1m $url;", '',
        'redis_proxy_cache_zone', '":1m"', 'name:size' ],
    [ "redis_proxy_cache_zone api: $url;", '',
        'redis_proxy_cache_zone', '"api:"', 'name:size' ],
    [ "redis_proxy_cache_zone api:x $url;", '',
        'redis_proxy_cache_zone', '"api:x"', 'name:size' ],
    [ "redis_proxy_cache_zone api:-1m $url;", '',
        'redis_proxy_cache_zone', '"api:-1m"', 'name:size' ],
    [ "redis_proxy_cache_zone api:1k $url;", '',
        'redis_proxy_cache_zone', 'api:1k', 'at least' ],
    [ "redis_proxy_cache_zone api:1m prefix=x:;", '',
        'redis_proxy_cache_zone', 'server', 'redis://' ],
    [ "redis_proxy_cache_zone api:1m server=;", '',
        'redis_proxy_cache_zone', 'server=', 'redis://' ],
    [ "redis_proxy_cache_zone api:1m server=127.0.0.1:6379;", '',
        'redis_proxy_cache_zone', '127.0.0.1:6379', 'redis://' ],
    [ "redis_proxy_cache_zone api:1m server=http://127.0.0.1;", '',
        'redis_proxy_cache_zone', 'http://127.0.0.1', 'redis://' ],
    [ "redis_proxy_cache_zone api:1m server=redis://;", '',
        'redis_proxy_cache_zone', 'redis://', 'expected' ],
    [ "redis_proxy_cache_zone api:1m server=redis://h:0;", '',
        'redis_proxy_cache_zone', 'redis://h:0', 'expected' ],
    [ "redis_proxy_cache_zone api:1m server=redis://h:65536;", '',
        'redis_proxy_cache_zone', 'redis://h:65536', 'expected' ],
    [ "redis_proxy_cache_zone api:1m server=redis://h:port;", '',
        'redis_proxy_cache_zone', 'redis://h:port', 'expected' ],
    [ "redis_proxy_cache_zone api:1m server=redis://h/db;", '',
        'redis_proxy_cache_zone', 'redis://h/db', 'expected' ],
    [ "redis_proxy_cache_zone api:1m server=redis://h/-1;", '',
        'redis_proxy_cache_zone', 'redis://h/-1', 'expected' ],
    [ "redis_proxy_cache_zone api:1m server=redis://[::1;", '',
        'redis_proxy_cache_zone', 'redis://[::1', 'expected' ],
    [ "redis_proxy_cache_zone api:1m server=redis://u:%zz\@h;", '',
        'redis_proxy_cache_zone', 'expected' ],
    [ "redis_proxy_cache_zone api:1m server=unix:;", '',
        'redis_proxy_cache_zone', 'unix:', 'expected' ],
    [ 'redis_proxy_cache_zone api:1m server=unix:/' . 'x' x 200 . ';', '',
        'redis_proxy_cache_zone', 'unix:/xxx', 'expected' ],
    [ "redis_proxy_cache_zone api:1m $url $url;", '',
        'redis_proxy_cache_zone', $url, 'one server=' ],
    [ "redis_proxy_cache_zone api:1m $url timeout=0;", '',
        'redis_proxy_cache_zone', 'timeout=0', 'time' ],
    [ "redis_proxy_cache_zone api:1m $url timeout=soon;", '',
        'redis_proxy_cache_zone', 'timeout=soon', 'time' ],
    [ "redis_proxy_cache_zone api:1m $url connect_timeout=-1;", '',
        'redis_proxy_cache_zone', 'connect_timeout=-1', 'time' ],
    [ "redis_proxy_cache_zone api:1m $url connect_timeout=;", '',
        'redis_proxy_cache_zone', 'connect_timeout=', 'time' ],
    [ "redis_proxy_cache_zone api:1m $url queue=0;", '',
        'redis_proxy_cache_zone', 'queue=0', 'number' ],
    [ "redis_proxy_cache_zone api:1m $url queue=many;", '',
        'redis_proxy_cache_zone', 'queue=many', 'number' ],
    [ "redis_proxy_cache_zone api:1m $url db=x;", '',
        'redis_proxy_cache_zone', 'db=x', 'number' ],
    [ "redis_proxy_cache_zone api:1m $url 'prefix=a{b}';", '',
        'redis_proxy_cache_zone', 'prefix=a{b}', 'without' ],
    [ "redis_proxy_cache_zone api:1m $url prefix=" . 'p' x 300 . ';', '',
        'redis_proxy_cache_zone', 'prefix=ppp', '256' ],
    [ "redis_proxy_cache_zone api:1m $url frobnicate=1;", '',
        'redis_proxy_cache_zone', 'frobnicate=1', 'expected' ],
    [ "redis_proxy_cache_zone api:1m $url password_file=$dir/none;", '',
        "$dir/none" ],
    [ "redis_proxy_cache_zone api:1m $url password_file=$dir/empty;", '',
        "$dir/empty", 'empty' ],
    [ "redis_proxy_cache_zone api:1m $url;\n"
        . "redis_proxy_cache_zone api:1m $url;", '',
        'redis_proxy_cache_zone', '"api"', 'duplicate' ],

    [ 'zone', 'redis_proxy_cache;', 'redis_proxy_cache',
        'number of arguments' ],
    [ 'zone', 'redis_proxy_cache "";', 'redis_proxy_cache', '""', 'zone' ],
    [ 'zone', 'redis_proxy_cache nowhere;', 'redis_proxy_cache', '"nowhere"',
        'redis_proxy_cache_zone' ],
    [ 'zone', 'redis_proxy_cache api; redis_proxy_cache api;',
        'redis_proxy_cache', 'duplicate' ],
    [ 'zone', 'redis_proxy_cache_key "";', 'redis_proxy_cache_key', '""',
        'a key' ],
    [ 'zone', 'redis_proxy_cache_key $no_such;', 'no_such' ],
    [ 'zone', 'redis_proxy_cache_key a; redis_proxy_cache_key b;',
        'redis_proxy_cache_key', 'duplicate' ],
    [ 'zone', 'redis_proxy_cache_valid x;', 'redis_proxy_cache_valid', '"x"',
        'time' ],
    [ 'zone', 'redis_proxy_cache_valid 200 x;', 'redis_proxy_cache_valid',
        '"x"', 'time' ],
    [ 'zone', 'redis_proxy_cache_valid 99 1m;', 'redis_proxy_cache_valid',
        '"99"', 'status' ],
    [ 'zone', 'redis_proxy_cache_valid all 1m;', 'redis_proxy_cache_valid',
        '"all"', 'any' ],
    [ 'zone', 'redis_proxy_cache_valid 600 1m;', 'redis_proxy_cache_valid',
        '"600"', 'status' ],
    [ 'zone', 'redis_proxy_cache_methods BREW;', 'redis_proxy_cache_methods',
        '"BREW"', 'GET' ],
    [ 'zone', 'redis_proxy_cache_max_size x;', 'redis_proxy_cache_max_size',
        '"x"', 'size' ],
    [ 'zone', 'redis_proxy_cache_max_size -1;', 'redis_proxy_cache_max_size',
        '"-1"', 'size' ],
    [ 'zone', 'redis_proxy_cache_budget x;', 'redis_proxy_cache_budget',
        '"x"', 'time' ],
    [ 'zone', 'redis_proxy_cache_budget 0;', 'redis_proxy_cache_budget',
        '"0"', 'time' ],
    [ 'zone', 'redis_proxy_cache_bypass;', 'redis_proxy_cache_bypass',
        'number of arguments' ],
    [ 'zone', 'redis_proxy_no_cache;', 'redis_proxy_no_cache',
        'number of arguments' ],
    [ 'zone', "redis_proxy_cache_zone b:1m $url;", 'redis_proxy_cache_zone',
        'not allowed here' ],

    (map { my $name = $_;
        map { [ "redis_proxy_cache_zone api:1m $url $name=$_;", '',
                'redis_proxy_cache_zone', "$name=$_", 'time' ] }
            '', '0', '-1', 'soon', '1x' } qw(inactive keep)),

    (map { my $name = "redis_proxy_cache_$_";
        ([ 'zone', "$name;", $name, 'number of arguments' ],
         [ 'zone', "$name on off;", $name, 'number of arguments' ],
         [ 'zone', "$name maybe;", $name, '"maybe"', '"on" or "off"' ],
         [ 'zone', "$name on; $name off;", $name, 'duplicate' ]) }
        qw(revalidate convert_head heuristic client_control lock resume
           background_update)),

    (map { my $name = "redis_proxy_cache_$_";
        ([ 'zone', "$name;", $name, 'number of arguments' ],
         [ 'zone', "$name -1;", $name, '"-1"', 'number' ],
         [ 'zone', "$name 1k;", $name, '"1k"', 'number' ],
         [ 'zone', "$name '';", $name, '""', 'number' ],
         [ 'zone', "$name 99999999999999999999;", $name,
            '"99999999999999999999"', 'number' ],
         [ 'zone', "$name 1; $name 2;", $name, 'duplicate' ]) }
        qw(max_variants min_uses)),

    [ 'zone', 'redis_proxy_cache_max_variants 49;',
        'redis_proxy_cache_max_variants', '"49"', '48' ],

    (map { [ 'zone', "redis_proxy_cache_max_range_offset $_;",
             'redis_proxy_cache_max_range_offset', "\"$_\"", 'offset' ] }
        'far', '-1', '10x', '99999999999999999999'),
    [ 'zone', 'redis_proxy_cache_max_range_offset;',
        'redis_proxy_cache_max_range_offset', 'number of arguments' ],
    [ 'zone', 'redis_proxy_cache_max_range_offset 1;'
        . ' redis_proxy_cache_max_range_offset 2;',
        'redis_proxy_cache_max_range_offset', 'duplicate' ],

    (map { [ 'zone', "redis_proxy_cache_ignore_headers Expires $_;",
             'redis_proxy_cache_ignore_headers', "\"$_\"",
             '"X-Accel-Expires"', '"Vary"' ] }
        'ETag', 'X-Accel-Limit-Rate', 'off', 'Expires,'),
    [ 'zone', 'redis_proxy_cache_ignore_headers;',
        'redis_proxy_cache_ignore_headers', 'number of arguments' ],
    [ 'zone', 'redis_proxy_cache_ignore_headers Vary;'
        . ' redis_proxy_cache_ignore_headers Vary;',
        'redis_proxy_cache_ignore_headers', 'duplicate' ],

    [ 'zone', 'redis_proxy_cache_targeted_headers;',
        'redis_proxy_cache_targeted_headers', 'number of arguments' ],
    [ 'zone', 'redis_proxy_cache_targeted_headers A B C D E;',
        'redis_proxy_cache_targeted_headers', '"E"', '4' ],
    (map { [ 'zone', "redis_proxy_cache_targeted_headers 'CDN $_';",
             'redis_proxy_cache_targeted_headers', "\"CDN $_\"", 'header' ] }
        'Cache', ':'),
    [ 'zone', "redis_proxy_cache_targeted_headers '';",
        'redis_proxy_cache_targeted_headers', '""', 'header' ],
    [ 'zone', 'redis_proxy_cache_targeted_headers CDN-Cache-Control off;',
        'redis_proxy_cache_targeted_headers', '"off"' ],
    [ 'zone', 'redis_proxy_cache_targeted_headers A;'
        . ' redis_proxy_cache_targeted_headers B;',
        'redis_proxy_cache_targeted_headers', 'duplicate' ],

    (map { my $name = "redis_proxy_cache_$_";
        ((map { [ 'zone', "$name $_;", $name, "\"$_\"", 'time' ] }
            '-1', 'soon', '5x', '1.5s', '99999999999999999999'),
         [ 'zone', "$name '';", $name, '""', 'time' ],
         [ 'zone', "$name;", $name, 'number of arguments' ],
         [ 'zone', "$name 1s 2s;", $name, 'number of arguments' ],
         [ 'zone', "$name 1s; $name 2s;", $name, 'duplicate' ]) }
        qw(lock_timeout lock_age hit_for_miss refresh_pause)),
    [ 'zone', 'redis_proxy_cache_lock_age 0;', 'redis_proxy_cache_lock_age',
        '"0"', 'time above 0' ],
    [ 'zone', 'redis_proxy_cache_hit_for_miss no;',
        'redis_proxy_cache_hit_for_miss', '"no"', 'or 0' ],

    (map { [ 'zone', "redis_proxy_cache_use_stale error $_;",
             'redis_proxy_cache_use_stale', "\"$_\"", '"invalid_header"',
             '"http_429"', '"off"' ] }
        'on', 'http_501', 'http_5xx', '500', 'non_idempotent', 'error,'),
    [ 'zone', 'redis_proxy_cache_use_stale;', 'redis_proxy_cache_use_stale',
        'number of arguments' ],
    [ 'zone', "redis_proxy_cache_use_stale '';",
        'redis_proxy_cache_use_stale', '""', '"error"' ],
    [ 'zone', 'redis_proxy_cache_use_stale error off;',
        'redis_proxy_cache_use_stale', '"off" alone' ],
    [ 'zone', 'redis_proxy_cache_use_stale off timeout;',
        'redis_proxy_cache_use_stale', '"off" alone' ],
    [ 'zone', 'redis_proxy_cache_use_stale error;'
        . ' redis_proxy_cache_use_stale off;',
        'redis_proxy_cache_use_stale', '"off" alone' ],

    [ 'zone', 'redis_proxy_cache_offline;', 'redis_proxy_cache_offline',
        'number of arguments' ],
    [ 'zone', 'redis_proxy_cache_offline $no_such;', 'no_such' ],

    (map { [ 'zone', "redis_proxy_cache_jitter '$_';",
             'redis_proxy_cache_jitter', "\"$_\"", '0.1% to 99.9%', '"off"' ]
         }
        '', '10', '%', '0%', '100%', '10.55%', '-1%', '1e1%', 'on', '10%%',
        '99999999999999999999%'),
    [ 'zone', 'redis_proxy_cache_jitter;', 'redis_proxy_cache_jitter',
        'number of arguments' ],
    [ 'zone', 'redis_proxy_cache_jitter off; redis_proxy_cache_jitter 1%;',
        'redis_proxy_cache_jitter', 'duplicate' ],

    (map { [ 'zone', "redis_proxy_cache_early_refresh '$_';",
             'redis_proxy_cache_early_refresh', "\"$_\"", '"on", "off"',
             '0.001 to 1000' ] }
        '', '0', '.', '-1', '0.0001', '1000.1', '1,5', 'beta', '10%',
        '99999999999999999999'),
    [ 'zone', 'redis_proxy_cache_early_refresh;',
        'redis_proxy_cache_early_refresh', 'number of arguments' ],
    [ 'zone', 'redis_proxy_cache_early_refresh on;'
        . ' redis_proxy_cache_early_refresh 2;',
        'redis_proxy_cache_early_refresh', 'duplicate' ],

    (map { [ "redis_proxy_cache_zone api:1m $url near=$_;", '',
             'redis_proxy_cache_zone', "\"near=$_\"", 'at least 1m' ] }
        '', '0', '-1', '1x', '1023k', 'on'),
    [ "redis_proxy_cache_zone api:1m $url near=1m near=2m;", '',
        'redis_proxy_cache_zone', '"near=2m"', 'once' ],
    [ "redis_proxy_cache_zone api:1m $url near=1m inactive=1h;", '',
        'redis_proxy_cache_zone', '"api"', 'near= and inactive=, expected '
        . 'one of them' ],
    (map { [ 'zone', "redis_proxy_cache_near '$_';",
             'redis_proxy_cache_near', "\"$_\"", 'a time above 0', '"off"' ] }
        '', '0', '-1', 'on', '1x'),
    [ 'zone', 'redis_proxy_cache_near off; redis_proxy_cache_near 1s;',
        'redis_proxy_cache_near', 'duplicate' ],

    (map { [ 'zone', "redis_proxy_cache_audit '$_';",
             'redis_proxy_cache_audit', "\"$_\"", '0.0001% to 100%', '"off"' ]
         }
        '', '5', '%', '0%', '0.00001%', '100.1%', '-1%', 'on', '1%%',
        '99999999999999999999%'),
    [ 'zone', 'redis_proxy_cache_audit off; redis_proxy_cache_audit 1%;',
        'redis_proxy_cache_audit', 'duplicate' ],
    [ 'zone', 'redis_proxy_cache_dry_run;', 'redis_proxy_cache_dry_run',
        'number of arguments' ],
    [ 'zone', 'redis_proxy_cache_dry_run maybe;', 'redis_proxy_cache_dry_run',
        '"maybe"' ],

    (map { [ 'zone', "redis_proxy_cache_status_header '$_';",
             'redis_proxy_cache_status_header', "\"$_\"", 'token' ] }
        '', 'two words', '1edge', 'edge;hit', 'a"b', "caf\xc3\xa9"),
    [ 'zone', 'redis_proxy_cache_status_header;',
        'redis_proxy_cache_status_header', 'number of arguments' ],
    [ 'zone', 'redis_proxy_cache_status_header a b;',
        'redis_proxy_cache_status_header', 'number of arguments' ],
    (map { [ 'zone', "redis_proxy_cache_status_header $_;"
                 . ' redis_proxy_cache_status_header b;',
             'redis_proxy_cache_status_header', 'duplicate' ] } 'a', 'off'),

    (map { [ 'zone', "redis_proxy_cache_label '$_';",
             'redis_proxy_cache_label', "\"$_\"", 'letters' ] }
        '', 'two words', '/path', 'a"b', 'a' x 64, "caf\xc3\xa9"),
    [ 'zone', 'redis_proxy_cache_label a; redis_proxy_cache_label b;',
        'redis_proxy_cache_label', 'duplicate' ],
    [ 'zone', 'redis_proxy_cache_status; redis_proxy_cache_status;',
        'redis_proxy_cache_status', 'duplicate' ],
    [ 'zone', 'redis_proxy_cache_status json;', 'redis_proxy_cache_status',
        'number of arguments' ],
    (map { [ "redis_proxy_cache_zone api:1m $url labels=$_;", '',
             'redis_proxy_cache_zone', "labels=$_", 'a number, 1 to 63' ] }
        '', 0, 64, 'x'),
    (map { [ "redis_proxy_cache_zone api:1m $url top_keys=$_;", '',
             'redis_proxy_cache_zone', "top_keys=$_", 'a number, 1 to 256' ] }
        '', 0, 257, 'x'),
    [ 'zone', 'redis_proxy_cache_server_timing yes;',
        'redis_proxy_cache_server_timing', '"yes"' ],
    [ "redis_proxy_cache_zone api:32k $url;", '',
        'redis_proxy_cache_zone', 'api:32k', 'at least' ],
    [ "redis_proxy_cache_zone api:256k $url labels=63;", '',
        'zone "api"', 'too small', 'at least' ],
    [ "redis_proxy_cache_zone api:1m $url labels=1;"
        . ' redis_proxy_cache api; server { listen 127.0.0.1:1;'
        . ' location /a/ { redis_proxy_cache_label a; }'
        . ' location /b/ { redis_proxy_cache_label b; } }', '',
        'zone "api"', 'for 1 labels', 'labels=2' ],

    (map { [ 'zone', "redis_proxy_cache_via '$_';",
             'redis_proxy_cache_via', "\"$_\"", 'token' ] }
        '', 'two words', 'a,b'),
    [ 'zone', 'redis_proxy_cache_via off; redis_proxy_cache_via b;',
        'redis_proxy_cache_via', 'duplicate' ],
);

for (@wrong) {
    my ($http, $location, @named) = @$_;

    my ($status, $said) = check($http, $location);
    my $what = $location || substr $http, 0, 90;

    isnt($status, 0, "refused: $what");
    my @missing = grep { index($said, $_) < 0 } @named;
    is_deeply(\@missing, [], 'the message names it all')
        or diag("missing: @missing\n$said");
    like($said, qr{nginx\.conf:\d+|unknown "no_such"}, 'and the place');
    unlike($said, qr/secret/, 'but no password');
}

# the size that a message asks for is enough

for my $small ('api:32k server', 'api:64k labels=9 server',
               'api:256k labels=63 server')
{
    my ($zone) = "redis_proxy_cache_zone $small=redis://127.0.0.1;";
    my (undef, $said) = check($zone, '');
    my ($size) = $said =~ /at least (\d+)/;

    ok($size, "too small: $small") or diag($said);
    $zone =~ s/\d+k/$size/;
    is((check($zone, ''))[0], 0, "$size bytes are not");
}

# a wrong URL is shown without its password

my ($status, $said) = check(
    'redis_proxy_cache_zone api:1m server=redis://joe:hush@h:port;', '');
isnt($status, 0, 'refused: a URL with a password in it');
unlike($said, qr/hush/, 'the message does not tell the password');

# what is right

my @right = (
    [ "redis_proxy_cache_zone api:1m $url;", 'redis_proxy_cache api;' ],
    [ 'redis_proxy_cache_zone api:1m server=redis://127.0.0.1;', '' ],
    [ 'redis_proxy_cache_zone api:1m server=redis://127.0.0.1/15;', '' ],
    [ 'redis_proxy_cache_zone api:1m server=redis://:pw@127.0.0.1/;', '' ],
    [ 'redis_proxy_cache_zone api:1m server=redis://u:p%40%2f@127.0.0.1:1/2;',
        '' ],
    [ 'redis_proxy_cache_zone api:1m server=redis://[::1]:6379/0;', '' ],
    [ 'redis_proxy_cache_zone api:1m server=redis://localhost:6379;', '' ],
    [ 'redis_proxy_cache_zone api:1m server=unix:/run/redis.sock db=3;', '' ],
    [ "redis_proxy_cache_zone api:64k $url prefix= user=u password=p "
        . 'connect_timeout=50ms timeout=1s queue=1;', '' ],
    [ "redis_proxy_cache_zone api:1m $url password_file=$dir/password;", '' ],
    [ "redis_proxy_cache_zone a:1m $url;\nredis_proxy_cache_zone b:1m $url;",
        'redis_proxy_cache b;' ],
    [ 'zone', 'redis_proxy_cache off;' ],
    [ 'zone', 'redis_proxy_cache $arg_zone;' ],
    [ 'zone', 'redis_proxy_cache api; redis_proxy_cache_key $uri$is_args$args;'
        . ' redis_proxy_cache_valid 10m; redis_proxy_cache_valid 404 1m;'
        . ' redis_proxy_cache_valid any 5s; redis_proxy_cache_methods GET HEAD;'
        . ' redis_proxy_cache_bypass $arg_a $arg_b;'
        . ' redis_proxy_no_cache $arg_a $arg_b;'
        . ' redis_proxy_cache_max_size 512k; redis_proxy_cache_budget 50ms;' ],
    [ "redis_proxy_cache_zone api:1m $url inactive=10m keep=1d;", '' ],
    [ "redis_proxy_cache_zone api:1m $url inactive=500ms keep=1s;", '' ],
    [ 'zone', 'redis_proxy_cache_revalidate on; redis_proxy_cache_convert_head'
        . ' off; redis_proxy_cache_heuristic on;'
        . ' redis_proxy_cache_client_control on;' ],
    [ 'zone', 'redis_proxy_cache_max_variants 0; redis_proxy_cache_min_uses 0;'
    ],
    [ 'zone', 'redis_proxy_cache_max_variants 48;'
        . ' redis_proxy_cache_min_uses 5;' ],
    (map { [ 'zone', "redis_proxy_cache_max_range_offset $_;" ] }
        '0', '10m', '5000000000', '8g'),
    [ 'zone', 'redis_proxy_cache_ignore_headers X-Accel-Expires Expires'
        . ' Cache-Control Set-Cookie Vary;' ],
    [ 'zone', 'redis_proxy_cache_ignore_headers set-cookie;' ],
    [ 'zone', 'redis_proxy_cache_targeted_headers off;' ],
    [ 'zone', 'redis_proxy_cache_targeted_headers CDN-Cache-Control'
        . ' Surrogate-Control A B;' ],
    (map { [ 'zone', "redis_proxy_cache_label $_;" ] }
        'default', 'a', 'shop:v1.2_x-y', 'a' x 63),
    [ 'zone', 'redis_proxy_cache_status;' ],
    [ "redis_proxy_cache_zone api:1m $url labels=20;", '' ],
    [ "redis_proxy_cache_zone api:1m $url top_keys=50;", '' ],
    [ 'zone', 'redis_proxy_cache_explain $arg_a $arg_b;'
        . ' redis_proxy_cache_server_timing on;' ],
    [ "redis_proxy_cache_zone api:2m $url labels=63;", '' ],
    (map { [ 'zone', "redis_proxy_cache_status_header $_;" ] }
        'off', 'nginx', 'edge-1.example', 'A'),
    [ 'zone', 'redis_proxy_cache_lock off; redis_proxy_cache_lock_timeout 0;'
        . ' redis_proxy_cache_lock_age 100ms; redis_proxy_cache_hit_for_miss'
        . ' 0; redis_proxy_cache_refresh_pause 0;'
        . ' redis_proxy_cache_background_update off;' ],
    [ 'zone', 'redis_proxy_cache_lock on; redis_proxy_cache_lock_timeout 5s;'
        . ' redis_proxy_cache_lock_age 1m; redis_proxy_cache_hit_for_miss 1h;'
        . ' redis_proxy_cache_refresh_pause 500ms;'
        . ' redis_proxy_cache_background_update on;' ],
    [ 'zone', 'redis_proxy_cache_use_stale error timeout invalid_header'
        . ' updating http_500 http_502 http_503 http_504 http_403 http_404'
        . ' http_429;' ],
    [ 'zone', 'redis_proxy_cache_use_stale off;' ],
    [ 'zone', 'redis_proxy_cache_use_stale error;'
        . ' redis_proxy_cache_use_stale timeout;' ],
    [ 'zone', 'redis_proxy_cache_offline $arg_a $arg_b;'
        . ' redis_proxy_cache_offline $arg_c;' ],
    (map { [ 'zone', "redis_proxy_cache_jitter $_;" ] }
        'off', '10%', '0.1%', '99.9%', '2.5%'),
    (map { [ 'zone', "redis_proxy_cache_early_refresh $_;" ] }
        'off', 'on', '1', '0.001', '1000', '2.5'),
    [ "redis_proxy_cache_zone api:1m $url near=1m;", '' ],
    [ 'redis_proxy_cache_near 1s;'
        . " redis_proxy_cache_zone near:64k $url near=3m;", '' ],
    (map { [ 'zone', "redis_proxy_cache_near $_;" ] } 'off', '100ms', '1h'),
    (map { [ 'zone', "redis_proxy_cache_audit $_;" ] }
        'off', '100%', '0.0001%', '2.5%'),
    (map { [ 'zone', "redis_proxy_cache_dry_run $_;" ] } 'on', 'off'),

    # each of them in http as well
    [ 'redis_proxy_cache_revalidate on; redis_proxy_cache_convert_head on;'
        . ' redis_proxy_cache_heuristic off; redis_proxy_cache_client_control'
        . ' off; redis_proxy_cache_max_variants 2; redis_proxy_cache_min_uses'
        . ' 2; redis_proxy_cache_max_range_offset 1m;'
        . ' redis_proxy_cache_ignore_headers Vary;'
        . ' redis_proxy_cache_targeted_headers off;'
        . ' redis_proxy_cache_status_header nginx;', '' ],
    [ 'redis_proxy_cache_lock off; redis_proxy_cache_lock_timeout 1s;'
        . ' redis_proxy_cache_lock_age 1s; redis_proxy_cache_hit_for_miss 1s;'
        . ' redis_proxy_cache_use_stale error; redis_proxy_cache_refresh_pause'
        . ' 1s; redis_proxy_cache_background_update off;'
        . ' redis_proxy_cache_offline $arg_a; redis_proxy_cache_jitter 5%;'
        . ' redis_proxy_cache_early_refresh on; redis_proxy_cache_dry_run on;'
        . ' redis_proxy_cache_audit 1%;',
        'redis_proxy_cache_use_stale off; redis_proxy_cache_jitter off;' ],
);

for (@right) {
    my ($http, $location) = @$_;

    my ($status, $said) = check($http, $location);
    is($status, 0, 'accepted: ' . ($location || $http)) or diag($said);
}

# a value that stands twice is a warning, as with proxy_cache_use_stale

($status, $said) = check('zone', 'redis_proxy_cache_use_stale error Error;');
is($status, 0, 'a value that stands twice is no error');
like($said, qr/\[warn\].*"Error" in "redis_proxy_cache_use_stale"/,
     'but a warning');

# a zone may be declared behind its use

($status, $said) = check('', 'redis_proxy_cache late;',
                         "redis_proxy_cache_zone late:1m $url;");
is($status, 0, 'accepted: a zone declared behind its use') or diag($said);

# a host that does not resolve is a warning

my $unresolved =
    'redis_proxy_cache_zone api:1m server=redis://no-such-host.invalid:6379;';

($status, $said) = check($unresolved, 'redis_proxy_cache api;');
is($status, 0, 'a host that does not resolve is no error');
like($said, qr/\[warn\].*no-such-host\.invalid/, 'but a warning');

# nginx starts and serves without Redis, and leaves again

for (
    [ "server=redis://127.0.0.1:$absent", 'there is no Redis' ],
    [ "server=unix:$dir/absent.sock", 'there is no socket' ],
    [ 'server=redis://no-such-host.invalid', 'there is no such host' ],
) {
    my ($server, $name) = @$_;

    my $nginx = $t->nginx(<<"CONF");
    redis_proxy_cache_zone  api:1m $server;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
        }
    }
CONF

    for my $time (1 .. 3) {
        my $r = $nginx->get('/');
        is($r->status, 200, "$name: requests are served");
        is($r->verdict, 'MISS redis_down', 'as misses');
        is($r->body, 'from the origin', 'by the origin');
    }

    ok($nginx->reload(old => 1), 'a reload works');
    is($nginx->get('/')->status, 200, 'and requests are served');
    ok($nginx->stop(), 'it can be stopped');
}

$t->done();


sub check {
    my ($http, $location, $behind) = @_;

    $http = "redis_proxy_cache_zone api:1m $url;" if $http eq 'zone';
    $behind //= '';

    my %o = (settle => 0, ports => { MAIN => $port });

    my $nginx = $t->nginx_new(<<"CONF", %o);
    $http

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            $location
            proxy_pass  http://%%ORIGIN%%;
        }
    }

    $behind
CONF

    my ($status, $said) = $nginx->check();
    pop @{ $t->{nginxes} };

    return ($status, $said);
}


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=60' ], 'from the origin');
}
