#!/usr/bin/perl

# The worst that a shared cache can do is to give one user's response to
# another.  What is not known to be safe must not be stored: each line of the
# table below is one way to leak or to serve what must not be served.  It
# names the reason, and then nothing is in Redis and the next request reaches
# the origin.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $fresh = 'Cache-Control: max-age=60';
my $past = 'Thu, 01 Jan 1998 00:00:00 GMT';

# reason; what the origin says; the request: its method, its headers

my @table = (
    [ 'no_store', [ 'Cache-Control: no-store, max-age=60' ] ],
    [ 'no_store', [ 'Cache-Control: no-cache, max-age=60' ] ],
    [ 'no_store', [ 'Cache-Control: NO-STORE', $fresh ] ],
    [ 'no_store', [ $fresh, 'Cache-Control: x="a,b",no-store' ] ],
    [ 'private', [ 'Cache-Control: private, max-age=60' ] ],
    [ 'set_cookie', [ $fresh, 'Set-Cookie: id=1' ] ],
    [ 'set_cookie', [ 'Cache-Control: public, s-maxage=60',
                      'Set-Cookie: id=1', 'Set-Cookie: id=2' ] ],
    [ 'set_cookie', [ $fresh, 'SET-COOKIE: id=1' ] ],
    [ 'vary', [ $fresh, 'Vary: *' ] ],
    [ 'vary', [ $fresh, 'Vary: Cookie' ] ],
    [ 'vary', [ $fresh, 'Vary: Accept-Encoding, *' ] ],
    [ 'vary', [ $fresh, 'Vary: Accept-Encoding', 'Vary: Cookie' ] ],
    [ 'vary', [ $fresh, 'Vary: Authorization' ] ],
    [ 'no_lifetime', [ ] ],
    [ 'no_lifetime', [ 'Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT' ] ],
    [ 'no_lifetime', [ 'Cache-Control: public' ] ],
    [ 'stale', [ "Expires: $past" ] ],
    [ 'stale', [ 'Expires: 0' ] ],
    [ 'stale', [ 'Cache-Control: max-age=0' ] ],
    [ 'stale', [ 'Cache-Control: s-maxage=0, max-age=60' ] ],
    [ 'stale', [ 'Cache-Control: max-age=60', 'Age: 61' ] ],
    [ 'stale', [ 'Cache-Control: max-age=nonsense' ] ],
    [ 'accel_expires', [ $fresh, 'X-Accel-Expires: 0' ] ],
    [ 'status', [ $fresh, 'Content-Range: bytes 0-1/9' ], status => 206 ],
    [ 'empty', [ $fresh ], framing => 'none' ],

    [ 'authorization', [ $fresh ], send => [ 'Authorization', 'Basic eDp5' ] ],
    [ 'authorization', [ 'Cache-Control: max-age=60, private="X-A"' ],
                       send => [ 'Authorization', 'Basic eDp5' ],
                       or => 'private' ],
    [ 'upgrade', [ $fresh ], send => [ 'Upgrade', 'websocket',
                                       'Connection', 'upgrade' ] ],
    [ 'method', [ $fresh ], method => 'POST' ],
    [ 'method', [ $fresh ], method => 'PUT' ],
    [ 'method', [ $fresh ], method => 'DELETE' ],
    [ 'method', [ $fresh ], method => 'OPTIONS' ],
);

# and what may be stored

my @stored = (
    [ 'max-age', [ $fresh ] ],
    [ 'X-Accel-Expires: 60', [ 'X-Accel-Expires: 60' ] ],
    [ 'an empty Vary', [ $fresh, 'Vary:' ] ],
    [ 'an empty body that says so', [ $fresh ], framing => 'zero' ],
    [ 'a cookie in the request', [ $fresh ], send => [ 'Cookie', 'id=1' ] ],
    [ 'Authorization and public', [ 'Cache-Control: public, max-age=60' ],
        send => [ 'Authorization', 'Basic eDp5' ] ],
    [ 'Authorization and s-maxage', [ 'Cache-Control: s-maxage=60' ],
        send => [ 'Authorization', 'Basic eDp5' ] ],
    [ 'Authorization and must-revalidate',
        [ 'Cache-Control: max-age=60, must-revalidate' ],
        send => [ 'Authorization', 'Basic eDp5' ] ],
);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass          http://%%ORIGIN%%;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            redis_proxy_cache   api;
        }

        location /hidden/ {
            proxy_pass               http://%%ORIGIN%%;
            proxy_hide_header        Set-Cookie;
            proxy_hide_header        Cache-Control;
            proxy_hide_header        Vary;
            redis_proxy_cache        api;
            redis_proxy_cache_valid  200 1m;
        }
    }
CONF

for my $n (0 .. $#table) {
    my ($reason, $headers, %o) = @{ $table[$n] };

    my $method = $o{method} || 'GET';
    my @send = @{ $o{send} || [] };
    my $name = join ', ', $method eq 'GET' ? () : $method, @$headers,
        map { "$_" } @send;

    for my $time (1, 2) {
        my $r = $nginx->request($method, "/no/$n", headers => [ @send ]);
        my $want = $reason eq 'method' ? ' method'
            : $reason eq 'upgrade' ? qr/^\S* upgrade$/
            : $o{or} ? qr/^MISS (?:$reason|$o{or})$/ : "MISS $reason";

        like($r->verdict, ref $want ? $want : qr/^\Q$want\E$/,
             "$time: $name");
        is($r->body, $o{framing} ? '' : 'answer ' . $origin->latest->n,
           'answered by the origin');
    }

    is($origin->count("/no/$n"), 2, 'both reached the origin');
}

# what nginx hides from the client still forbids

for my $n (grep { $table[$_][0] =~ /^(?:no_store|private|set_cookie|vary)$/
                  && @{ $table[$_] } == 2 } 0 .. $#table)
{
    my ($reason, $headers) = @{ $table[$n] };
    my $r = $nginx->get("/hidden/$n");
    is($r->verdict, "MISS $reason", join ', ', 'hidden: ', @$headers);
    is($r->header('Set-Cookie'), undef, 'the client does not see it');
}

$nginx->settle();
is_deeply([ grep { !/:l$/ } $redis->keys() ], [],
          'nothing of that is in Redis');

for my $n (0 .. $#stored) {
    my ($name, $headers, %o) = @{ $stored[$n] };
    my @send = @{ $o{send} || [] };

    is($nginx->get("/yes/$n", @send)->verdict, 'MISS -', "stored: $name");
    $nginx->settle();
    is($nginx->get("/yes/$n", @send)->verdict, 'HIT -', "a hit: $name");
    is($origin->count("/yes/$n"), 1, 'the origin was asked once');
}

# what was stored for all does not go to a request with Authorization, nor
# does that request's response replace it, unless the response allows it

$nginx->get('/yes/0');
my $r = $nginx->get('/yes/0', 'Authorization', 'Basic eDp5');
like($r->verdict, qr/^(?:MISS|BYPASS) authorization$/,
   'an entry for all is not used for a request with Authorization');
is($origin->count('/yes/0'), 2, 'which reaches the origin');
is($nginx->get('/yes/0')->body, 'answer ' . ($origin->requests('/yes/0'))[0]->n,
   'and its answer is not kept');

is($nginx->get('/yes/5')->verdict, 'HIT -',
   'what may be shared is for those without Authorization as well');

# with field names, private and no-cache are about these fields only

for my $directive ('private', 'no-cache') {
    my $uri = "/fields/$directive";

    my $r = $nginx->get($uri);
    is($r->verdict, 'MISS -', qq($directive="X-A": the response is stored));
    is($r->header('X-A'), 'a', 'its client sees the field');

    $r = $nginx->get($uri);
    is($r->verdict, 'HIT -', 'the next one has a hit');
    is($r->header('X-A'), undef, 'without the field');
    is($r->header('X-B'), 'b', 'but with others');
    unlike($redis->get("api:{http://localhost$uri}"), qr/^X-A:/mi,
           'it is not in Redis');
}

$t->done();


sub origin {
    my ($req, $reply) = @_;

    if ($req->path =~ m{^/fields/(.*)}) {
        return $reply->send(200, [
            'Cache-Control' => qq($1="x-a", max-age=60), 'X-A' => 'a',
            'X-B' => 'b' ], 'fields');
    }

    my ($kind, $n) = $req->path =~ m{^/(\w+)/(\d+)};
    my (undef, $headers, %o) = @{ ($kind eq 'yes' ? \@stored : \@table)->[$n] };
    my @pairs = map { /^([^:]+): ?(.*)/ } @$headers;

    if (($o{framing} // '') eq 'none') {
        $reply->close();
        $reply->head(200, @pairs);

    } elsif (($o{framing} // '') eq 'zero') {
        $reply->send(200, \@pairs, '');

    } else {
        $reply->send($o{status} || 200, \@pairs, 'answer ' . $req->n);
    }
}
