#!/usr/bin/perl

# Headers that no cache has in its key, and that upstreams look at: who sends
# X-Forwarded-Host chooses the links in a page that all others get.  They are
# in the key here, or keep the request out of the cache, or are taken out of
# it, as redis_proxy_cache_unkeyed says; without it a list holds.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw(sha256_hex);
use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%% prefix=p:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache_valid   200 1m;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /own/ {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache_unkeyed  X-Forwarded-Host=strip X-Evil=bypass
                                       X-Forwarded-Proto=ignore x_tenant=key;
        }

        location /only/ {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache_unkeyed  off X-Evil=key;
        }

        location /off/ {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache_unkeyed  off;
        }

        location /uncached/ {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache          off;
            redis_proxy_cache_unkeyed  X-Forwarded-Host=strip;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_UNDERSCORES%%;

        underscores_in_headers  on;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my ($r, @keys);

# in the key

is($nginx->get('/a')->verdict, 'MISS -', 'a plain request');
$nginx->settle();

$r = $nginx->get('/a', 'X-Forwarded-Host', 'evil.example');
is($r->verdict, 'MISS -', 'one with X-Forwarded-Host is another');
is($r->logged('key'),
   'http://localhost/a h:x-forwarded-host=evil.example', 'by its key');
is($origin->latest->header('X-Forwarded-Host'), 'evil.example',
   'the upstream sees it');
$nginx->settle();
ok($redis->exists('p:{http://localhost/a%20h:x-forwarded-host=evil.example}'),
   'it is stored');

is($nginx->get('/a')->verdict, 'HIT -', 'the plain one is still there');
is($nginx->get('/a', 'x-forwarded-HOST', 'evil.example')->verdict, 'HIT -',
   'and so is the other');
is($nginx->get('/a', 'X-Forwarded-Host', 'Evil.example')->verdict, 'MISS -',
   'the value counts as it is');

# several, in whatever order

$r = $nginx->get('/b', 'X-Forwarded-Proto', 'https', 'X-Forwarded-Host', 'h',
                 'Forwarded', 'for=1; by=2', 'X-Forwarded-Host', 'i');
is($r->logged('key'), 'http://localhost/b h:forwarded=for=1;%20by=2 '
   . 'h:x-forwarded-host=h h:x-forwarded-host=i h:x-forwarded-proto=https',
   'sorted by name');
$nginx->settle();
is($nginx->get('/b', 'X-Forwarded-Host', 'h', 'X-Forwarded-Host', 'i',
               'X-Forwarded-Proto', 'https', 'Forwarded', 'for=1; by=2')
   ->verdict, 'HIT -', 'so that their order does not matter');
is($nginx->get('/b', 'X-Forwarded-Host', 'i', 'X-Forwarded-Host', 'h',
               'X-Forwarded-Proto', 'https', 'Forwarded', 'for=1; by=2')
   ->verdict, 'MISS -', 'but that of lines with one name does');

$r = $nginx->get('/b', map { ('X-Host', $_) } 1 .. 17);
is($r->verdict, 'BYPASS unkeyed', 'more than sixteen lines are too many');

# long values

my $long = 'v' x 200;
$r = $nginx->get('/c', 'Next-Router-State-Tree', $long);
is($r->logged('key'), 'http://localhost/c hash:next-router-state-tree='
   . sha256_hex($long), 'a long value is a digest');

# a reason to pass

for my $name (qw(X-Original-URL X-Rewrite-URL X-HTTP-Method-Override
                 X-Middleware-Prefetch x-now-route-matches))
{
    for (1, 2) {
        $r = $nginx->get('/a', $name, '/admin');
        is($r->verdict, 'BYPASS unkeyed', "$name: not for the cache");
        is($origin->latest->header($name), '/admin', 'but for the upstream');
    }
}

is($nginx->get('/a')->verdict, 'HIT -', 'nothing of that was stored');

# of one's own

$r = $nginx->get('/own/a', 'X-Forwarded-Host', 'evil', 'X-Other', 'o',
                 'X-Forwarded-Proto', 'https');
is($r->logged('key'), 'http://localhost/own/a', 'what is stripped or ignored');
is($origin->latest->header('X-Forwarded-Host'), undef, 'stripped is stripped');
is($origin->latest->header('X-Forwarded-Proto'), 'https', 'ignored is not');
is($origin->latest->header('X-Other'), 'o', 'all else is there');
$nginx->settle();
is($nginx->get('/own/a', 'X-Forwarded-Host', 'other')->verdict, 'HIT -',
   'it is one entry');
is($nginx->get('/own/a', 'X-Evil', 1)->verdict, 'BYPASS unkeyed',
   'one that is not in the list');
is($nginx->get('/own/a', 'X-Tenant', 7)->logged('key'),
   'http://localhost/own/a h:x-tenant=7', 'and another');
is($nginx->get('/own/a', 'X-Host', 'h')->verdict, 'MISS -',
   'the list holds for the others');
is($nginx->request('POST', '/own/a', body => 'x',
                   headers => [ 'X-Forwarded-Host', 'evil' ])->logged('reason'),
   'method', 'a POST');
is($origin->latest->header('X-Forwarded-Host'), undef, 'is stripped as well');

# with conditions, which are hidden on a miss

$r = $nginx->get('/own/b', 'If-None-Match', '"x"', 'X-Forwarded-Host', 'evil',
                 'Range', 'bytes=0-1');
is($origin->latest->header('X-Forwarded-Host'), undef, 'stripped');
is($origin->latest->header('If-None-Match'), undef, 'and without condition');
is($r->status, 206, 'which is answered here');

# only what is said

is($nginx->get('/only/a', 'X-Evil', 'e', 'X-Host', 'h')->logged('key'),
   'http://localhost/only/a h:x-evil=e', 'off, and then one');
is($nginx->get('/off/a', 'X-Original-URL', 'e', 'X-Host', 'h')->logged('key'),
   'http://localhost/off/a', 'off');
$nginx->get('/uncached/a', 'X-Forwarded-Host', 'h');
is($origin->latest->header('X-Forwarded-Host'), 'h',
   'without a cache nothing is touched');

# the port of Host

is($nginx->request('GET', '/port', host => 'localhost:81')->logged('key'),
   'http://localhost/port h:host=localhost:81', 'a port that is not ours');
is($nginx->request('GET', '/port', host => 'localhost:80')->logged('key'),
   'http://localhost/port', 'the one of the scheme');
is($nginx->request('GET', '/port', host => 'localhost:' . $nginx->port())
   ->logged('key'), 'http://localhost/port', 'and this server\'s');
is($nginx->request('GET', '/port', host => '[::1]')->logged('key'),
   'http://[::1]/port', 'an address has colons without a port');

# two spellings

for my $name ('X_Forwarded_Host', 'X-Forwarded_Host') {
    $r = $nginx->request('GET', '/u', to => 'UNDERSCORES',
                         headers => [ $name, 'evil' ]);
    is($r->logged('key'), "http://localhost/u h:\L$name\E=evil",
       "$name is one of them");
}

is($nginx->request('GET', '/u', to => 'UNDERSCORES',
                   headers => [ 'X_HTTP_Method_Override', 'PUT' ])->verdict,
   'BYPASS unkeyed', 'as are those that bypass');

# a GET with a body

$r = $nginx->request('GET', '/fat', body => 'evil');
is($r->verdict, 'BYPASS body', 'a GET with a body');
is($origin->latest->body, 'evil', 'has it at the upstream');
is($nginx->request('GET', '/fat', headers => [ 'Content-Length', 0 ])->verdict,
   'MISS -', 'an empty one is none');

# an unsafe method removes what its own headers had

$nginx->request('DELETE', '/a', headers => [ 'X-Forwarded-Host',
                                             'evil.example' ]);
is($nginx->get('/a', 'X-Forwarded-Host', 'evil.example')->verdict, 'MISS -',
   'after DELETE');

for (
    [ 'no action', 'redis_proxy_cache_unkeyed X-A;',
      qr/invalid value "X-A" in "redis_proxy_cache_unkeyed"/ ],
    [ 'which', 'redis_proxy_cache_unkeyed X-A=drop;', qr/"X-A=drop"/ ],
    [ 'name', 'redis_proxy_cache_unkeyed X[A=key;', qr/the name of a header/ ],
    [ 'twice', 'redis_proxy_cache_unkeyed X-A=key x_a=strip;',
      qr/each header once/ ],
) {
    my ($name, $line, $want) = @$_;
    my ($status, $said) = $t->nginx_new($line)->check();
    ok($status && $said =~ $want, "nginx -t: $name") or diag($said);
}

$_->tolerate(qr/\[emerg\]/) for @{ $t->{nginxes} };

$t->done();


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [], 'answer ' . $req->n);
}
