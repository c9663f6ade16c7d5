#!/usr/bin/perl

# $redis_proxy_cache_last_modified, _etag and _age: of the entry that was
# found, fresh or not, in headers, in the log and in conditions.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(sub { $_[1]->obey() });

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;

    log_format  entry  escape=none
        '$http_x_test|$redis_proxy_cache_last_modified|'
        '$redis_proxy_cache_etag|$redis_proxy_cache_age';

    map $redis_proxy_cache_age $old {
        default    no;
        "~^\d{3}"  yes;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        access_log  %%DIR%%/access.log rcache;
        access_log  %%DIR%%/entry.log entry;

        add_header  X-Modified $redis_proxy_cache_last_modified always;
        add_header  X-Tag $redis_proxy_cache_etag always;
        add_header  X-Entry-Age $redis_proxy_cache_age always;
        add_header  X-Old $old always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /revalidate/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
            proxy_set_header              X-Seen-Tag $redis_proxy_cache_etag;
            proxy_set_header              X-Seen-Age $redis_proxy_cache_age;
        }

        location /early/ {
            # asked for before there is anything to tell
            if ($redis_proxy_cache_etag) {
                return  500;
            }
            if ($redis_proxy_cache_age) {
                return  500;
            }
            proxy_pass  http://%%ORIGIN%%;
        }

        location /off/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  off;
        }
    }
CONF

my $date = 'Mon, 01 Jan 2024 00:00:00 GMT';
my $say = "Cache-Control: max-age=1000|Last-Modified: $date|ETag: W/\"a b\"";
my $r;

# a miss has found nothing

$r = $nginx->get('/a', 'X-Say' => $say);
shows($r, 'a miss', '', '', '');

# a hit

$r = $nginx->get('/a');
is($r->verdict, 'HIT -', 'a hit');
shows($r, 'a hit', $date, 'W/"a b"', qr/^[0-5]$/);
is($r->header('X-Entry-Age'), $r->header('Age'), 'the same as Age');
is($r->header('X-Old'), 'no', 'a map of it');

$nginx->get('/old', 'X-Say' => "$say|Age: 500");
$r = $nginx->get('/old');
shows($r, 'an old one', $date, 'W/"a b"', qr/^50\d$/);
is($r->header('X-Old'), 'yes', 'a map of it');

$nginx->get('/bare', 'X-Say' => 'Cache-Control: max-age=9');
$r = $nginx->get('/bare');
is($r->verdict, 'HIT -', 'a hit without validators');
shows($r, 'a hit without validators', '', '', qr/^[0-5]$/);

# HEAD, a range, a 304

shows($nginx->head('/a'), 'HEAD', $date, 'W/"a b"', qr/^[0-5]$/);
shows($nginx->get('/a', Range => 'bytes=0-1'), 'a range', $date, 'W/"a b"',
      qr/^\d$/);
$r = $nginx->get('/a', 'If-None-Match' => 'W/"a b"');
is($r->status, 304, 'a 304');
shows($r, 'a 304', $date, 'W/"a b"', qr/^\d$/);

# stale: the upstream may be told of what is there

$nginx->get('/revalidate/1', 'X-Say' => "$say|Age: 2000");
is($origin->latest->header('X-Seen-Tag'), undef, 'a miss: nothing to tell');
$r = $nginx->get('/revalidate/1', 'X-Status' => 304, 'X-Say' =>
                 "Cache-Control: max-age=1000|ETag: W/\"a b\"|Age: 7");
is($r->verdict, 'REVALIDATED -', 'a stale entry is validated');
is($origin->latest->header('X-Seen-Tag'), 'W/"a b"', 'its tag was known');
like($origin->latest->header('X-Seen-Age'), qr/^200\d$/, 'and its age');
shows($r, 'validated', $date, 'W/"a b"', qr/^\d+$/);

$r = $nginx->get('/revalidate/1');
shows($r, 'the hit after that', $date, 'W/"a b"', qr/^\d+$/);

$nginx->get('/revalidate/2', 'X-Say' => "$say|Age: 2000");
$r = $nginx->get('/revalidate/2', 'X-Say' => 'Cache-Control: max-age=9|'
                 . 'ETag: "new"');
is($r->verdict, 'EXPIRED -', 'a stale entry is replaced');
is($r->header('ETag'), '"new"', 'by a new one');
shows($nginx->get('/revalidate/2'), 'the hit after that', '', '"new"',
      qr/^\d$/);

# variants

$nginx->get('/vary', 'X-V' => 'a', 'X-Say' => "$say|Vary: X-V");
$r = $nginx->get('/vary', 'X-V' => 'b', 'X-Say' => "$say|Vary: X-V");
shows($r, 'another variant', '', '', '');
$r = $nginx->get('/vary', 'X-V' => 'a');
shows($r, 'this variant', $date, 'W/"a b"', qr/^\d$/);

# early, off, other methods

for my $time (1, 2) {
    is($nginx->get('/early/1', 'X-Say' => $say)->status, 200,
       "$time: before the lookup there is nothing");
    shows($nginx->get('/off/1', 'X-Say' => $say), "$time: off", '', '', '');
}
is($nginx->get('/early/1')->verdict, 'HIT -', 'and it does no harm');
shows($nginx->request('POST', '/a'), 'POST', '', '', '');

$t->done();


sub shows {
    my ($got, $name, @want) = @_;

    my @seen = map { $got->header($_) // '' } qw(X-Modified X-Tag
                                                 X-Entry-Age);
    $got->logged('id');
    my $id = $got->{logged}{id};

    # nginx writes this log behind the other one

    my $logged;
    wait_for {
        ($logged) = slurp("$nginx->{dir}/entry.log") =~ /^\Q$id\E\|(.*)\n/m;
        return defined $logged;
    };
    my @logged = split /\|/, $logged // '', 3;

    for my $i (0 .. 2) {
        my $what = (qw(last_modified etag age))[$i];

        if (ref $want[$i]) {
            like($seen[$i], $want[$i], "$name: $what in a header");
            like($logged[$i], $want[$i], 'and in the log');
            next;
        }

        is($seen[$i], $want[$i], "$name: $what in a header");
        is($logged[$i] =~ s/^-$//r, $want[$i], 'and in the log');
    }

    return;
}
