#!/usr/bin/perl

# Which line of nginx.conf did that?  Whoever asks why a request was no hit
# has to find the line, among hundreds, so the header names it: the condition
# that was true, the rule that dropped an argument, the lifetime that was
# given.  It tells no values of headers and cookies, and is never so long that
# a proxy in front of this one would refuse the response.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Util qw(slurp spit);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);
my $nginx = $t->nginx_new(<<'CONF', settle => 0);
    redis_proxy_cache_zone     api:1m server=%%REDIS%% timeout=20s
                               connect_timeout=20s;
    redis_proxy_cache_budget   20s;
    redis_proxy_cache_methods  GET HEAD POST;
    redis_proxy_cache_explain  $http_x_explain;

    redis_proxy_cache_bypass   $arg_none $arg_fresh;
    redis_proxy_cache_bypass   $cookie_preview;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache        api;
        redis_proxy_cache_valid  301 302 1h;
        redis_proxy_cache_valid  200 10m;
        redis_proxy_cache_valid  any 1m;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /search {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_args   drop utm_* ~^fb session empty=drop;
        }

        location /list {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_args   keep page size;
        }

        location /no {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_no_cache     $upstream_http_x_none
                                     $upstream_http_x_secret;
        }

        location /small {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_min_size  1k;
        }

        location /stale {
            proxy_pass                     http://%%ORIGIN%%;
            redis_proxy_cache_use_stale    http_503;
        }

        location /user {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_user   $http_x_user;
        }

        location /headers {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache_unkeyed  x-tenant=key x-debug=strip
                                       x-edit=bypass;
        }

        location /offline {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache_offline  $arg_off;
        }

        include  sites/*.conf;
    }
CONF

mkdir "$nginx->{dir}/sites" or die "$nginx->{dir}/sites: $!";
spit("$nginx->{dir}/sites/key.conf",
     "location /key {\n    proxy_pass  http://"
     . $nginx->expand('ORIGIN')
     . ";\n    redis_proxy_cache_key  \$host\$uri;\n}\n");

$nginx->start();

# where a text is in nginx.conf, "nginx.conf:12"; the nth of them.  nginx knows
# the line on which a directive ends.

my @conf = split /\n/, slurp("$nginx->{dir}/nginx.conf");

sub at {
    my ($text, $n) = @_;
    my @lines = grep { index($conf[$_ - 1], $text) >= 0 } 1 .. @conf;

    return 'nginx.conf:' . $lines[$n // 0];
}

sub explained {
    my ($path, @headers) = @_;
    my $r = $nginx->get($path, 'X-Explain' => 1, @headers);

    return $r->header('X-Cache-Explain');
}

# the value of a name in it

sub told {
    my ($name, @request) = @_;
    my ($value) = explained(@request) =~ /; \Q$name\E=("[^"]*"|[^;]*)/;

    return $value =~ s/^"|"$//gr;
}

my $cache = 'redis_proxy_cache api at ' . at('redis_proxy_cache  ');

# lifetimes

my $valid = 'redis_proxy_cache_valid 200 600s at ' . at(' 200 10m');

my $first = explained('/a');

like($first, qr/; stored=yes; stored-lifetime=600; /, 'a lifetime');
like($first, qr/; stored-lifetime-of=redis_proxy_cache_valid; /,
     'that the configuration gave');
is(told('rules', '/b'), "$cache, $valid", 'by that line');

$redis->wait_key('api:{http://localhost/b}');

like(explained('/b'), qr/; lifetime-of=redis_proxy_cache_valid;/,
     'so it is said of a hit');
is(told('rules', '/b'), "$cache, $valid", 'with the line that does so here');
is(told('rules', '/302'),
   "$cache, redis_proxy_cache_valid 302 3600s at " . at('301 302 1h'),
   'another status, another line');
is(told('rules', '/404'),
   "$cache, redis_proxy_cache_valid any 60s at " . at(' any 1m'), 'or any');

for (
    ['max-age' => 'max-age=60'], ['s-maxage' => 'max-age=60,%20s-maxage=90'],
) {
    my ($of, $cc) = @$_;

    is(told('stored-lifetime-of', "/cc?$cc"), $of, "a lifetime of $of");
}

is(told('rules', '/cc?max-age=61'), $cache,
   'then the configuration had no part in it');
is(told('stored-lifetime-of', '/expires'), 'expires', 'of Expires');
is(told('stored-lifetime-of', '/accel'), 'x-accel-expires',
   'of X-Accel-Expires');
is(told('stored-lifetime-of', '/cdn'), 'targeted', 'of CDN-Cache-Control');

# conditions

is(told('rules', '/a?fresh=1') =~ s/, redis_proxy_cache_valid.*//r,
   "$cache, redis_proxy_cache_bypass \$arg_fresh at " . at('$arg_fresh'),
   'the condition that was true');
is(told('rules', '/a', Cookie => 'preview=hunter2')
   =~ s/, redis_proxy_cache_valid.*//r,
   "$cache, redis_proxy_cache_bypass \$cookie_preview at "
   . at('$cookie_preview'), 'one on a line of its own');
unlike(explained('/a', Cookie => 'preview=hunter2'), qr/hunter2/,
       'but not what it was');
is(told('rules', '/no'),
   "$cache, redis_proxy_no_cache \$upstream_http_x_secret at "
   . at('$upstream_http_x_secret'), 'one of the response');
unlike(explained('/no'), qr/s3cret/, 'nor its value');

# what limits

is(told('rules', '/small'), "$cache, redis_proxy_cache_min_size at "
                            . at('min_size'), 'a size');

my $r = $nginx->request('PUT', '/a', headers => [ 'X-Explain' => 1 ]);
like($r->header('X-Cache-Explain'),
     qr/rules="\Q$cache, redis_proxy_cache_methods at ${\ at('_methods') }\E"/,
     'a method');

# arguments

my $drop = 'redis_proxy_cache_args drop at ' . at('args   drop');

is(told('args', '/search?q=2&utm_source=x&a=1&e=&fbclid=s3cret&z'),
   'a=1&q=2', 'what is in the key of the arguments, sorted');
is(told('dropped', '/search?q=2&utm_source=x&a=1&e=&fbclid=s3cret&z'),
   'utm_source by utm_*, e by empty=drop, fbclid by ~^fb, z by empty=drop',
   'and what is not, with the rule');
is(told('rules', '/search?q=3'), "$cache, $drop, $valid", 'and the line');
unlike(explained('/search?session=s3cret'), qr/s3cret/,
       'values of what is not are not told');
is(told('dropped', '/list?page=2&sid=7'), 'sid by keep', 'also by keep');
unlike(explained('/list?page=2&size=7'), qr/dropped/, 'or nothing is');
unlike(explained('/a?b=c'), qr/args=/,
       'nothing of arguments where there is no rule for them');

# headers and users

is(told('rules', '/headers', 'X-Tenant' => 's3cret', 'X-Debug' => 's3cret',
        'X-Forwarded-Host' => 'h'),
   join(', ', $cache, (map { "redis_proxy_cache_unkeyed $_ at "
                             . at('x-edit=bypass') }
                 'x-tenant=key', 'x-debug=strip'),
        'redis_proxy_cache_unkeyed x-forwarded-host=key by default', $valid),
   'headers that count, or are taken out, and those by default');
is(told('rules', '/headers', 'X_Edit' => '1', 'X-Edit' => '1'),
   "$cache, redis_proxy_cache_unkeyed x-edit=bypass at " . at('x-edit=bypass'),
   'or that bypass');
is(told('rules', '/user', 'X-User' => 'eve'),
   "$cache, redis_proxy_cache_user at " . at('cache_user') . ", $valid",
   'a response for one user');
unlike(explained('/user', 'X-User' => 'eve'), qr/eve/, 'who is not named');
is(told('rules', '/user'), "$cache, redis_proxy_cache_user at "
                           . at('cache_user'), 'or for nobody');

# stale, offline

$nginx->get('/stale');
$redis->wait_key('api:{http://localhost/stale}');
ok(wait_for { explained('/stale') =~ /^status=STALE/ }, 'a failure comes');
like(explained('/stale'),
     qr/rules="[^"]*redis_proxy_cache_use_stale at \Q${\ at('use_stale') }\E"/,
     'what is stale by the configuration');
like(explained('/offline?off=1'),
     qr/\Qredis_proxy_cache_offline \E\$arg_off at \Q${\ at('offline  ') }\E/,
     'offline');

# another file

is(told('rules', '/key?x'),
   "$cache, redis_proxy_cache_key at sites/key.conf:3, $valid",
   'a line of a file that is included');

# it is bounded, and one header

my $long = join '&', map { "utm_$_=" . 'x' x 50 } 1 .. 100;
my $told = explained("/search?$long&q=" . "\x22%0d%0a" x 200);

cmp_ok(length $told, '<=', 6144, 'it is not longer than it may be');
like($told, qr/dropped="(?:utm_\d+ by utm_\*, )+utm_\d+ by utm_\*"; rules=/,
     'what does not fit is left out');
like($told, qr/; total-ms=[\d.]+$/, 'and all is in it');
like(explained('/' . 'k' x 3000), qr/key="[^"]{1020,1024}\.\.\."; redis-key/,
     'a long key is cut');

$t->done();


sub origin {
    my ($req, $reply) = @_;
    my $uri = $req->uri;

    return $reply->send(302, [ Location => '/a' ], 'moved')
        if $uri =~ m{^/302};
    return $reply->send(404, [], 'not here') if $uri =~ m{^/404};
    return $reply->send(200, [ 'Cache-Control' => $1 =~ s/%20/ /gr ], 'body')
        if $uri =~ m{^/cc\?(.*)};
    return $reply->send(200, [ Expires => 'Tue, 19 Jan 2038 03:14:07 GMT' ],
                        'body') if $uri =~ m{^/expires};
    return $reply->send(200, [ 'X-Accel-Expires' => 60 ], 'body')
        if $uri =~ m{^/accel};
    return $reply->send(200, [ 'CDN-Cache-Control' => 'max-age=60',
                               'Cache-Control' => 'max-age=1' ], 'body')
        if $uri =~ m{^/cdn};
    return $reply->send(200, [ 'X-Secret' => 's3cret' ], 'body')
        if $uri =~ m{^/no};

    if ($uri =~ m{^/stale}) {
        our $asked;

        return $reply->send(503, [], 'down') if $asked++;
        return $reply->send(200, [ 'Cache-Control' => 'max-age=1' ], 'body');
    }

    return $reply->send(200, [], 'body');
}
