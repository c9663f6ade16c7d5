#!/usr/bin/perl

# Next.js answers one URL with a page or, if a header asks for it, with what
# the page is made of; and an editor with a cookie gets drafts.  Neither may
# reach who did not ask for it.  Before a real application: make test-nextjs.

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
    redis_proxy_cache_zone    api:1m server=%%REDIS%% prefix=p:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache_valid   200 1m;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache_profile  nextjs;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /ignore/ {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache_unkeyed  RSC=ignore;
        }

        location /off/ {
            proxy_pass                 http://%%ORIGIN%%;
            redis_proxy_cache_profile  off;
        }
    }
CONF

my $r;

# a page and its component

is($nginx->get('/page')->verdict, 'MISS -', 'a page');
$nginx->settle();
$r = $nginx->get('/page', 'RSC', 1);
is($r->verdict, 'MISS -', 'its component is another entry');
is($r->header('Content-Type'), 'text/x-component', 'of its type');
$nginx->settle();
$r = $nginx->get('/page', 'RSC', 1);
is($r->verdict, 'HIT -', 'and kept');
is($r->header('Content-Type'), 'text/x-component', 'as what it is');
is($nginx->get('/page')->header('Content-Type'), 'text/html',
   'who navigates gets the page');
is($nginx->get('/page')->verdict, 'HIT -', 'from the cache');

# a component that comes unasked

for (1, 2) {
    $r = $nginx->get('/component');
    is($r->verdict, 'MISS component', 'what did not ask for a component');
    $nginx->settle();
}

is($redis->exists('p:{http://localhost/component}'), 0, 'stores none');

for (1, 2) {
    $r = $nginx->get('/ignore/page', 'RSC', 1);
    is($r->verdict, 'MISS component', 'nor does who asks, if RSC is in no key');
    $nginx->settle();
}

# refreshed behind the scenes it is still one that was asked for

$r = $nginx->get('/refreshed', 'RSC', 1);
is($r->verdict, 'MISS -', 'a component that is stale soon');
$nginx->settle();

my $first = $r->body;
ok(wait_for { $nginx->get('/refreshed', 'RSC', 1)->body ne $first },
   'is refreshed');

$nginx->get('/off/component');
$nginx->settle();
is($nginx->get('/off/component')->verdict, 'HIT -', 'unless there is no '
                                                    . 'profile');

# drafts

for my $cookie ('__prerender_bypass=abc', 'a=b; __prerender_bypass=abc',
                'a=b;__next_preview_data=x; c=d', '__prerender_bypass')
{
    $r = $nginx->get('/page', 'Cookie', $cookie);
    is($r->verdict, 'BYPASS preview', "a request with $cookie");
    like($r->body, qr/draft/, 'gets the draft');

    $r = $nginx->get('/draft-first', 'Cookie', $cookie);
    is($r->verdict, 'BYPASS preview', 'also where nothing is stored');
}

is($nginx->get('/draft-first')->verdict, 'MISS -', 'no draft is stored');
unlike($nginx->get('/page')->body, qr/draft/, 'nobody else gets it');

$r = $nginx->get('/page', 'Cookie', 'x=y', 'Cookie', '__prerender_bypass=1');
is($r->verdict, 'BYPASS preview', 'in a second line');

for my $cookie ('a=__prerender_bypass', '__prerender_bypassed=1',
                'x__prerender_bypass=1', '', ';', '; ;', '__prerender_bypas')
{
    is($nginx->get('/page', 'Cookie', $cookie)->verdict, 'HIT -',
       "\"$cookie\" is another cookie");
}

is($nginx->get('/off/page', 'Cookie', '__prerender_bypass=1')->verdict,
   'MISS -', 'without a profile it is a cookie like others');

my ($status, $said) =
    $t->nginx_new('redis_proxy_cache_profile remix;')->check();
ok($status && $said =~ /invalid value "remix"/, 'there are no others');

$_->tolerate(qr/\[emerg\]/) for @{ $t->{nginxes} };

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my $component = $req->header('RSC') || $req->path =~ /component/;
    my $draft = ($req->header('Cookie') // '') =~ /__(?:prerender|next)/;

    $reply->send(200, [ 'Content-Type',
                        $component ? 'text/x-component' : 'text/html',
                        $req->path eq '/refreshed'
                        ? ('Cache-Control',
                           'max-age=1, stale-while-revalidate=60') : () ],
                 ($draft ? 'draft ' : 'page ') . $req->n);
}
