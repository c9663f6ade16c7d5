#!/usr/bin/perl

# redis_proxy_cache_ignore_headers, and proxy_ignore_headers where the location
# has it: an origin that cannot be taught is overruled, one header at a time.
# What is ignored still reaches the client.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(sub { $_[1]->obey() });

my @names = qw(X-Accel-Expires Expires Cache-Control Set-Cookie Vary);

# one location for each header and each of the two directives

my $locations = join '', map { my $name = $_; map { <<"CONF" } '', 'redis_' }

        location /$_$name/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_valid  200 50s;
            ${\($_ ? 'redis_proxy_cache_ignore_headers'
                   : 'proxy_ignore_headers')}  $name;
        }
CONF
    @names;
$locations =~ s/redis_(?=[XECSV])/redis-/g;

my $nginx = $t->nginx(<<"CONF");
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;
$locations
        location /none/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_valid  200 50s;
        }

        location /all/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_valid           200 50s;
            redis_proxy_cache_ignore_headers  X-Accel-Expires Expires
                                       Cache-Control Set-Cookie Vary;
        }

        location /novalid/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_ignore_headers  Cache-Control Expires;
        }

        location /both/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_valid           200 50s;
            proxy_ignore_headers              Set-Cookie;
            redis_proxy_cache_ignore_headers  Cache-Control;
        }

        location /hide/ {
            proxy_pass                        http://%%ORIGIN%%;
            proxy_hide_header                 Set-Cookie;
            redis_proxy_cache_ignore_headers  Set-Cookie;
        }

        location /revalidate/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_revalidate      on;
            redis_proxy_cache_ignore_headers  Set-Cookie;
        }

        location /inherit/ {
            redis_proxy_cache_ignore_headers  set-cookie;

            location /inherit/same/ {
                proxy_pass  http://%%ORIGIN%%;
            }

            location /inherit/own/ {
                proxy_pass                        http://%%ORIGIN%%;
                redis_proxy_cache_ignore_headers  Vary;
            }
        }
    }
CONF

my $n = 0;
my ($r, $uri);

# header lines; without any directive; with the name ignored: the TTL or the
# reason

my @table = (
    [ 'X-Accel-Expires', [ 'X-Accel-Expires: 100' ], 100, 50 ],
    [ 'X-Accel-Expires', [ 'X-Accel-Expires: 0' ], 'accel_expires', 50 ],
    [ 'X-Accel-Expires', [ 'X-Accel-Expires: 0',
                           'Cache-Control: max-age=20' ],
        'accel_expires', 20 ],
    [ 'X-Accel-Expires', [ 'X-Accel-Expires: 9',
                           'Cache-Control: no-store' ], 9, 'no_store' ],
    [ 'Expires', [ 'Expires: 0' ], 'stale', 50 ],
    [ 'Expires', [ 'Expires: 0', 'Cache-Control: max-age=20' ], 20, 20 ],
    [ 'Cache-Control', [ 'Cache-Control: no-store' ], 'no_store', 50 ],
    [ 'Cache-Control', [ 'Cache-Control: private' ], 'private', 50 ],
    [ 'Cache-Control', [ 'Cache-Control: max-age=20' ], 20, 50 ],
    [ 'Cache-Control', [ 'CDN-Cache-Control: max-age=20' ], 20, 50 ],
    [ 'Cache-Control', [ 'Cache-Control: max-age=20', 'Expires: 0' ], 20,
        'stale' ],
    [ 'Set-Cookie', [ 'Set-Cookie: a=b', 'Cache-Control: max-age=20' ],
        'set_cookie', 20 ],
    [ 'Set-Cookie', [ 'Set-Cookie: a=b', 'Cache-Control: private' ],
        'private', 'private' ],
    [ 'Vary', [ 'Vary: *', 'Cache-Control: max-age=20' ], 'vary', 20 ],
    [ 'Vary', [ 'Vary: Cookie', 'Cache-Control: max-age=20' ], 'vary', 20 ],
    [ 'Vary', [ 'Vary: X-V', 'Cache-Control: max-age=20' ], 20, 20 ],
);

for (@table) {
    my ($name, $lines, $without, $with) = @$_;

    my $id = ++$n;
    expect("/none/$id", $lines, $without, 'nothing is ignored');
    expect("/$name/$id", $lines, $with, "proxy_ignore_headers $name");
    expect("/redis-$name/$id", $lines, $with,
           "redis_proxy_cache_ignore_headers $name");
}

expect('/all/1', [ 'X-Accel-Expires: 0', 'Expires: 0',
                   'Cache-Control: no-store, private', 'Set-Cookie: a=b',
                   'CDN-Cache-Control: no-store', 'Vary: *' ], 50, 'all');
expect('/all/2', [ 'Age: 45', 'Cache-Control: max-age=40' ], 50,
       'valid counts from arrival');
expect('/novalid/1', [ 'Cache-Control: max-age=60' ], 'no_lifetime',
       'no lifetime is left');
expect('/both/1', [ 'Cache-Control: no-store', 'Set-Cookie: a=b' ], 50,
       'both directives count');
expect('/inherit/same/1', [ 'Cache-Control: max-age=20', 'Set-Cookie: a=b' ],
       20, 'inherited, in any case');
expect('/inherit/own/1', [ 'Cache-Control: max-age=20', 'Set-Cookie: a=b' ],
       'set_cookie', 'not inherited by who has its own');

# Vary ignored: one entry for all

$uri = '/redis-Vary/one';
$r = $nginx->get($uri, 'X-V' => 'a', 'X-Say' => 'Vary: X-V');
is($nginx->get($uri, 'X-V' => 'b')->body, $r->body, 'Vary ignored: one for '
   . 'all');
is($nginx->get($uri)->header('Vary'), 'X-V', 'which still says Vary');

# Set-Cookie ignored: stored and replayed as nginx does, all lines in order

my $say = 'Cache-Control: max-age=60|Set-Cookie: a=1|X-A: 1|Set-Cookie: b=2';

for my $path ('/Set-Cookie/', '/redis-Set-Cookie/') {
    $r = $nginx->get("${path}replay", 'X-Say' => $say);
    is_deeply([ $r->headers('Set-Cookie') ], [ 'a=1', 'b=2' ],
              "$path: the first client gets the cookies");
    $r = $nginx->get("${path}replay");
    is($r->verdict, 'HIT -', 'a hit');
    is_deeply([ $r->headers('Set-Cookie') ], [ 'a=1', 'b=2' ],
              'has them too, in order');
}

for my $time (1, 2) {
    $r = $nginx->get('/hide/1', 'X-Say' => $say);
    is($r->verdict, $time == 1 ? 'MISS -' : 'HIT -', "$time: hidden");
    is($r->header('Set-Cookie'), undef, 'proxy_hide_header keeps them away');
}
unlike($redis->get('api:{http://localhost/hide/1}'), qr/set-cookie/i,
       'and out of Redis');

# a 304 brings other cookies

$nginx->get('/revalidate/1', 'X-Say' =>
            'Cache-Control: no-cache|ETag: "a"|Set-Cookie: a=1');
$r = $nginx->get('/revalidate/1', 'X-Status' => 304, 'X-Say' =>
                 'Cache-Control: max-age=60|ETag: "a"|Set-Cookie: a=2');
is($r->verdict, 'REVALIDATED -', 'a 304 with a cookie');
is_deeply([ $r->headers('Set-Cookie') ], [ 'a=2' ], 'which takes the place');
is_deeply([ $nginx->get('/revalidate/1')->headers('Set-Cookie') ],
          [ 'a=2' ], 'also in the entry');

$t->done();


sub expect {
    my ($where, $lines, $want, $name) = @_;

    $name .= ': ' . join ', ', @$lines;
    my $got = $nginx->get($where, 'X-Say' => join '|', @$lines);

    # as without the cache, but for what nginx itself never passes on
    my %hidden = ('x-accel-expires' => 1);
    for my $line (@$lines) {
        my ($field, $value) = $line =~ /^([^:]+): (.*)/;
        next if $hidden{ lc $field };
        ok((grep { $_ eq $value } $got->headers($field)),
           "the client sees $line");
    }

    if ($want =~ /\D/) {
        is($got->verdict, "MISS $want", $name);
        return;
    }

    is($got->verdict, 'MISS -', $name);
    is($nginx->get($where)->verdict, 'HIT -', 'a hit then');

    my ($key) = grep { /^\Qapi:{http:\/\/localhost$where}\E/ }
        $redis->keys('api:*');
    my $left = $redis->pttl($key) / 1000;
    ok($left <= $want && $left > $want - 6, "$want seconds") or diag($left);

    return;
}
