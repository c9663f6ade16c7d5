#!/usr/bin/perl

# redis_proxy_cache_early_refresh fetches what is about to expire a little
# before it does, the earlier the longer a fetch takes, so that nobody ever
# finds it expired (XFetch: Vattani, Chierichetti, Lowenstein, "Optimal
# Probabilistic Cache Stampede Prevention", VLDB 2015).  If it did so too
# often, the upstream would have more to do than without it; if a client
# waited for it, it would be good for nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

# A request refreshes with the chance exp(-left / (beta * fetch)).  Of a fetch
# of 400 ms and 600 s left, beta 1000 makes that exp(-1.5), one of five; of a
# fetch of some milliseconds, nearly never.

my $conf = <<'CONF';
    redis_proxy_cache_zone           api:1m server=%%REDIS%%
                                     connect_timeout=30s timeout=30s;
    redis_proxy_cache_budget         30s;
    redis_proxy_cache_refresh_pause  60s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        add_header             X-Cache $redis_proxy_cache_status always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /early/ {
            proxy_pass                       http://%%ORIGIN%%;
            redis_proxy_cache_early_refresh  1000;
            redis_proxy_cache_revalidate     on;
        }

        location /one/ {
            proxy_pass                       http://%%ORIGIN%%;
            redis_proxy_cache_early_refresh  on;
        }

        location /foreground/ {
            proxy_pass                           http://%%ORIGIN%%;
            redis_proxy_cache_early_refresh      1000;
            redis_proxy_cache_background_update  off;
        }
    }
CONF

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);

my ($r, $entry, $before);

$one->get($_) for qw(/slow/off /early/slow /one/slow /early/fast
                     /early/304 /early/fails /foreground/slow /early/slow2);
$one->settle();

$entry = RCache::Entry->read($redis, 'api:{/early/slow}');
cmp_ok($entry->{fetch}, '>=', 390, 'the entry knows how long its fetch took')
    or diag($entry->{fetch});
cmp_ok(RCache::Entry->read($redis, 'api:{/early/fast}')->{fetch}, '<', 300,
       'and that of the fast one');

# who takes long is refreshed, in the background, once for all instances

my @wrong;

ok(wait_for {
    for my $nginx ($one, $two) {
        $r = $nginx->get('/early/slow');
        push @wrong, $r->verdict . ' ' . $r->body
            if $r->verdict ne 'HIT -' || $r->body !~ /^answer 1 to /;
    }
    return $origin->count('/early/slow') == 2;
}, 'what takes long is fetched before its time');
is_deeply(\@wrong, [], 'and no client sees it');
$one->get('/early/slow'), $two->get('/early/slow') for 1 .. 20;
is($origin->count('/early/slow'), 2, 'by one, while others have hits');
$before = RCache::Entry->read($redis, 'api:{/early/slow}');
$origin->say('/early/slow');
ok(wait_for {
    RCache::Entry->read($redis, 'api:{/early/slow}')->{body} =~ /^answer 2 /
}, 'it is stored');
$entry = RCache::Entry->read($redis, 'api:{/early/slow}');
cmp_ok($entry->{created}, '>', $before->{created}, 'and younger');
is($two->get('/early/slow')->body, 'answer 2 to /early/slow', 'for all');

# who does not is not; nor with a beta of 1, nor if it is off

for my $uri ('/early/fast', '/one/slow', '/slow/off') {
    $_->get($uri) for ($one, $two) x 40;
    $one->get('/early/slow2');
    is($origin->count($uri), 1, "$uri: not so long before its time");
}

# near the end of its life it is, at the latest

my @seen;

$one->get('/one/brief');
$one->settle();
ok(wait_for {
    push @seen, map { $one->get('/one/brief')->verdict } 1 .. 5;
    return $origin->count('/one/brief') >= 2;
}, 'beta 1: it is refreshed at some time');
is_deeply([ grep { $_ ne 'HIT -' } @seen ], [], 'and nobody found it expired');

# a 304

ok(wait_for { $one->get('/early/304'); $origin->count('/early/304') >= 2 },
   'with a validator');
is($origin->latest('/early/304')->header('If-None-Match'), '"v1"',
   'there is a condition');
ok(wait_for {
    (RCache::Entry->read($redis, 'api:{/early/304}')->header('X-Time') // '')
        eq '2'
}, 'and a 304 makes it younger');
is($two->get('/early/304')->body, 'answer 1 to /early/304',
   'of the same body');

# a failure is nobody's concern while it is fresh

ok(wait_for { $one->get('/early/fails'); $origin->count('/early/fails') >= 2 },
   'one that fails');
for my $nginx (($one, $two) x 20) {
    $r = $nginx->get('/early/fails');
    is($r->status . $r->verdict, '200HIT -', 'is still a hit')
        if $r->status . $r->verdict ne '200HIT -';
}
is($origin->count('/early/fails'), 2, 'and is not tried again at once');

$t->done();


my %count;

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $n = ++$count{$uri};
    my $life = $uri =~ /brief/ ? 2 : 600;
    my @headers = ('Cache-Control' => "max-age=$life", 'X-Time' => $n);
    my $slow = $uri =~ /fast/ ? 0 : 0.4;

    push @headers, ETag => '"v1"' if $uri =~ /304/;

    return ("HTTP/1.1 304 Not Modified\r\nX-Time: $n\r\nConnection: close\r\n"
            . "Cache-Control: max-age=600\r\n\r\n")
        if $req->header('If-None-Match');
    return response(503, [ ], 'failure') if $n > 1 && $uri =~ /fails/;
    return (\$uri, response(200, \@headers, "answer $n to $uri"))
        if $n > 1 && $uri eq '/early/slow';

    return ($slow, response(200, \@headers, "answer $n to $uri"));
}
