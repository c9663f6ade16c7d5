#!/usr/bin/perl

# What was stored in one minute expires in one minute, and then all of it is
# fetched at once.  redis_proxy_cache_jitter spreads that.  It may shorten a
# lifetime, never lengthen it: what the origin does not call fresh is not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $keys = 150;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /ten/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_jitter  10%;
        }

        location /half/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_jitter  50%;

            location /half/off/ {
                proxy_pass                http://%%ORIGIN%%;
                redis_proxy_cache_jitter  off;
            }
        }

        location /valid/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_valid   1000s;
            redis_proxy_cache_jitter  10%;
        }

        location /ask/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_jitter      10%;
            redis_proxy_cache_revalidate  on;
        }
    }
CONF

my ($r, $entry, %life, @life);
my $began = time();

# what each place makes of a thousand seconds

for my $case (
    [ '/none/', 1000, 1000 ], [ '/ten/', 900, 1000 ],
    [ '/half/', 500, 1000 ], [ '/half/off/', 1000, 1000 ],
    [ '/valid/', 900, 1000 ], [ '/ten/accel/', 900, 1000 ],
    [ '/ten/aged/', 810, 900 ],
) {
    my ($where, $least, $most) = @$case;

    my $missing = fetch($where, $keys);
    is($missing, 0, "$where: all are stored");

    @life = sort { $a <=> $b } map { $_->{lifetime} / 1000 }
            values %{ $life{$where} };

    # a response may have been on its way for a moment
    cmp_ok($life[0], '>=', $least - 3, "$where: not below $least s");
    cmp_ok($life[-1], '<=', $most, "and not above $most s");

    my %distinct = map { $_ => 1 } @life;

    if ($least == $most) {
        cmp_ok($life[-1] - $life[0], '<=', 3, 'all the same');
        next;
    }

    # the chance that this fails without a fault is below 1e-9

    my $span = $most - $least;
    my $mean = 0;
    $mean += $_ / @life for @life;

    cmp_ok(scalar(keys %distinct), '>', $keys * 0.6, 'hardly two alike');
    cmp_ok($life[0], '<', $least + 0.15 * $span, 'some much shorter');
    cmp_ok($life[-1], '>', $most - 0.15 * $span, 'some hardly');
    cmp_ok(abs($mean - $least - $span / 2), '<', 0.16 * $span,
           'spread about the middle') or diag($mean);

    # how many of them expire in the worst tenth of that time

    my @tenth;
    $tenth[ int(9.999 * ($_ - $least + 3) / ($span + 3)) ]++ for @life;
    my ($worst) = sort { $b <=> $a } map { $_ // 0 } @tenth;
    cmp_ok($worst, '<', $keys * 0.35, 'without a wave')
        or diag(join ' ', map { $_ // 0 } @tenth);
}

# what Redis and the client are told of it

for my $uri (map { "/ten/$_" } 1 .. 20) {
    my $entry = $life{'/ten/'}{$uri};
    my $ttl = $redis->pttl("api:{$uri}");
    cmp_ok($ttl, '<=', $entry->{lifetime}, 'Redis keeps it as long')
        if $ttl > $entry->{lifetime};
    my $least = $entry->{lifetime} - 1000 * (time() - $began + 5);
    cmp_ok($ttl, '>', $least, 'not shorter') if $ttl <= $least;
}

$r = $nginx->get('/ten/1');
is($r->verdict, 'HIT -', 'it is a hit');
is($r->header('Cache-Control'), 'max-age=1000', 'the client sees nothing');
cmp_ok($r->header('Age'), '<=', time() - $began + 1, 'nor is it older');

# the time of the store counts: the next time another one

my %second;
$redis->flush();
$life{first} = { %{ $life{'/ten/'} } };
is(fetch('/ten/', $keys), 0, 'once more');
my $same = grep { abs($life{first}{$_}{lifetime}
                      - $life{'/ten/'}{$_}{lifetime}) < 100 }
           keys %{ $life{first} };
cmp_ok($same, '<', $keys / 5, 'the next time they live for other times');

# a response that lives for a second lives for no longer, and not for nothing

is(fetch('/half/short/', 30), 0, 'short ones');
@life = sort { $a <=> $b } map { $_->{lifetime} }
        values %{ $life{'/half/short/'} };
cmp_ok($life[0], '>', 0, 'live for a while');
cmp_ok($life[-1], '<=', 2000, 'but not for longer');

# a 304 gives a new lifetime, which is spread as well

$nginx->get("/ask/$_") for 1 .. 30;
is(scalar(grep { $_->verdict ne 'REVALIDATED -' }
          map { $nginx->get("/ask/$_") } 1 .. 30), 0, 'thirty are validated');
$nginx->settle();
@life = sort { $a <=> $b }
        map { RCache::Entry->read($redis, "api:{/ask/$_}")->{lifetime} / 1000 }
        1 .. 30;
cmp_ok($life[0], '>=', 897, 'not below 900 s');
cmp_ok($life[-1], '<=', 1000, 'not above 1000 s');
cmp_ok($life[-1] - $life[0], '>', 20, 'and not the same');

$t->done();


# Fetches so many and reads what is stored; how many are missing.

sub fetch {
    my ($where, $count) = @_;

    my @uris = map { "$where$_" } 1 .. $count;

    $nginx->get($_) for @uris;
    $nginx->settle();
    $life{$where} = { map {
        my $entry = RCache::Entry->read($redis, "api:{$_}");
        $entry ? ($_ => $entry) : ();
    } @uris };

    return $count - keys %{ $life{$where} };
}


sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my @life = $uri =~ /accel/ ? ('X-Accel-Expires' => 1000)
        : $uri =~ /valid/ ? ()
        # there for longer than that, so that it can be looked at
        : $uri =~ /short/ ? ('Cache-Control' =>
                             'max-age=2, stale-while-revalidate=900')
        : $uri =~ /aged/ ? ('Cache-Control' => 'max-age=1000', Age => 100)
        : ('Cache-Control' => 'max-age=1000');

    if ($uri =~ m{^/ask/}) {
        return "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n"
               . "Cache-Control: max-age=1000\r\n\r\n"
            if $req->header('If-None-Match');
        return response(200, [ 'Cache-Control' => 'max-age=0',
                               ETag => '"v"' ], 'answer');
    }

    return response(200, \@life, "answer to $uri");
}
