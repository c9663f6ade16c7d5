#!/usr/bin/perl

# A real Next.js application, which build-aux/nextjs.sh has built in
# $TEST_NEXTJS, behind the cache with its profile: pages and what they are made
# of are kept apart, and drafts and pages of one user are not kept.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Test::More;
use RCache;
use RCache::Util qw(spawn stop_pid free_port slurp);

my $app = $ENV{TEST_NEXTJS} or die "TEST_NEXTJS says where it is\n";

my $t = RCache->new();
my $redis = $t->redis();
my $port = free_port();
my $log = $t->dir . '/next';

my $next = spawn(argv => [ 'node', "$app/node_modules/next/dist/bin/next",
                           'start', $app, '-H', '127.0.0.1', '-p', $port ],
                 log => $log);

ok(wait_for { slurp($log) =~ /Ready in/ }, 'Next.js is there')
    or diag(slurp($log));

my $nginx = $t->nginx(<<'CONF', vars => { NEXTJS => "127.0.0.1:$port" });
    redis_proxy_cache_zone    pages:1m server=%%REDIS%% prefix=p:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass                 http://%%NEXTJS%%;
            redis_proxy_cache          pages;
            redis_proxy_cache_profile  nextjs;
        }
    }
CONF

my @rsc = ('RSC', 1);
my @prefetch = (@rsc, 'Next-Router-Prefetch', 1);
my ($r, $again);

# twice: stored, then from the cache, the same

sub kept {
    my ($uri, $type, $what, @headers) = @_;

    $r = $nginx->get($uri, @headers);
    is($r->verdict, 'MISS -', "$what is fetched");
    like($r->header('Content-Type'), qr/^\Q$type\E/, "is $type");
    $nginx->settle();

    $again = $nginx->get($uri, @headers);
    is($again->verdict, 'HIT -', 'is kept');
    like($again->header('Content-Type'), qr/^\Q$type\E/, 'is the same');
    is($again->body, $r->body, 'to the last byte');
    return;
}

for my $uri ('/', '/about') {
    kept($uri, 'text/x-component', "the component of $uri", @rsc);
    kept($uri, 'text/html', "the page $uri");
    kept($uri, 'text/x-component', "what is prefetched of $uri", @prefetch);

    like($nginx->get($uri)->header('Content-Type'), qr/^text\/html/,
         'who navigates gets the page');
}

like($nginx->get('/')->header('Cache-Control'), qr/s-maxage=60/,
     'the lifetime is what the application said');

# what is made for one visitor

for my $name ('one', 'two') {
    $r = $nginx->get('/mine', 'Cookie', "name=$name");
    like($r->body, qr/$name/, "the page of $name");
    like($r->verdict, qr/^MISS (?:no_store|private)$/, 'is not stored');
}

# drafts

$r = $nginx->get('/draft');
like($r->verdict, qr/^MISS (?:set_cookie|no_store|private|no_lifetime)$/,
     'who turns drafts on is nobody else');
my ($cookie) = ($r->header('Set-Cookie') // '') =~ /(__prerender_bypass=[^;]+)/;
ok($cookie, 'and has a cookie from then on');

$r = $nginx->get('/', 'Cookie', $cookie);
is($r->verdict, 'BYPASS preview', 'the cache has nothing for drafts');
like($r->body, qr/a draft/, 'one is what comes');

$r = $nginx->get('/');
is($r->verdict, 'HIT -', 'others are served');
like($r->body, qr/the home page/, 'what all may see');

# a file that is known by its hash

my ($asset) = $r->body =~ m{"(/_next/static/[^"]+\.js)"};
ok($asset, 'the page has scripts');
kept($asset, 'application/javascript', 'a script');

stop_pid($next, 'TERM');
$t->done();
