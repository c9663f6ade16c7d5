#!/usr/bin/perl

# Cache-Status, RFC 9211: what the cache did, for whoever reads the response,
# in one member of a structured list that other caches have begun.  Off unless
# asked for: the key and the reasons are not everybody's business.

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
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache_status_header   edge-1;
        redis_proxy_cache_client_control  on;

        location / {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_bypass  $arg_bypass;
        }

        location /revalidate/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
        }

        location /key/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  $http_x_key;
        }

        location /rare/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_min_uses  5;
        }

        location /none/ {
            proxy_pass                       http://%%ORIGIN%%;
            redis_proxy_cache_status_header  off;
        }

        location /uncached/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  off;
        }

        location /ssi/ {
            proxy_pass  http://%%ORIGIN%%;
            ssi         on;
            ssi_types   text/plain;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_DEFAULT%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my $cc = 'Cache-Control: max-age=100';
my ($r, $s);

# absent by default, and where it is off

for my $time (1, 2) {
    $r = $nginx->request('GET', '/default', to => 'DEFAULT',
                         headers => [ 'X-Say', $cc ]);
    is($r->header('Cache-Status'), undef, "$time: absent by default");
    $r = $nginx->get('/none/1', 'X-Say' => $cc);
    is($r->header('Cache-Status'), undef, "$time: absent if off");
    $r = $nginx->get('/uncached/1', 'X-Say' => $cc);
    is($r->header('Cache-Status'), undef, "$time: absent without a cache");
}

# a miss that is stored, and a hit

$s = status($nginx->get('/a', 'X-Say' => $cc));
is($s->{fwd}, 'uri-miss', 'a miss');
is($s->{'fwd-status'}, 200, 'with the status of the origin');
is($s->{stored}, 1, 'it is stored');
is($s->{key}, 'http://localhost/a', 'under that key');
is($s->{hit}, undef, 'it is no hit');

$s = status($nginx->get('/a'));
is($s->{hit}, 1, 'a hit');
is($s->{$_}, undef, "without $_") for qw(fwd fwd-status stored detail);
ok($s->{ttl} >= 90 && $s->{ttl} <= 100, 'with what is left') or diag($s->{ttl});
is($s->{key}, 'http://localhost/a', 'and the key');

for my $o ([ HEAD => 'HEAD', [] ], [ GET => 'a range', [ Range =>
             'bytes=0-1' ] ])
{
    $s = status($nginx->request($o->[0], '/a', headers => $o->[2]));
    is($s->{hit}, 1, "$o->[1]: a hit too");
}

# not stored, and why

$s = status($nginx->get('/b', 'X-Say' => 'Cache-Control: no-store'));
is($s->{fwd}, 'uri-miss', 'a miss that is not stored');
is($s->{stored}, undef, 'does not say that it is');
is($s->{detail}, 'no_store', 'but why not');

$s = status($nginx->get('/c', 'X-Status' => '404', 'X-Say' => $cc));
is($s->{'fwd-status'}, 404, 'fwd-status is what the origin said');

$s = status($nginx->get('/rare/1', 'X-Say' => $cc));
is($s->{detail}, 'min_uses', 'another reason');
is($s->{stored}, undef, 'not stored');

# vary-miss

$s = status($nginx->get('/v', 'X-V' => 'a', 'X-Say' => "$cc|Vary: X-V"));
is($s->{fwd}, 'uri-miss', 'the first variant: uri-miss');
$s = status($nginx->get('/v', 'X-V' => 'b', 'X-Say' => "$cc|Vary: X-V"));
is($s->{fwd}, 'vary-miss', 'another variant: vary-miss');
is($s->{stored}, 1, 'stored');
$s = status($nginx->get('/v', 'X-V' => 'b'));
is($s->{hit}, 1, 'then a hit');

# stale, revalidated, forced by the client

my $old = 'Cache-Control: max-age=100|Age: 600|ETag: "e"';

$nginx->get('/stale', 'X-Say' => $old);
$s = status($nginx->get('/stale', 'X-Say' => $cc));
is($s->{fwd}, 'stale', 'an entry that is no longer fresh');
is($s->{stored}, 1, 'a new one is stored');

$nginx->get('/served', 'X-Say' => $old);
$s = status($nginx->get('/served', 'Cache-Control' => 'max-stale'));
is($s->{hit}, 1, 'served stale is a hit');
ok($s->{ttl} <= -500 && $s->{ttl} > -510, 'with a negative ttl')
    or diag($s->{ttl});

$nginx->get('/revalidate/1', 'X-Say' => $old);
$s = status($nginx->get('/revalidate/1', 'X-Status' => 304, 'X-Say' => $cc));
is($s->{fwd}, 'stale', 'validated: it was stale');
is($s->{'fwd-status'}, 304, 'the origin said 304');
is($s->{stored}, 1, 'what was stored is freshened');

$nginx->get('/forced', 'X-Say' => $cc);
$s = status($nginx->get('/forced', 'X-Say' => $cc,
                        'Cache-Control' => 'no-cache'));
is($s->{fwd}, 'request', 'fetched because the client said so');

# only-if-cached: nothing was forwarded

$s = status($nginx->get('/oic', 'Cache-Control' => 'only-if-cached'));
is($s->{fwd}, undef, 'a 504 of our own was not forwarded');
is($s->{hit}, undef, 'nor is it a hit');

# bypass, method

$s = status($nginx->get('/a?bypass=1', 'X-Say' => $cc));
is($s->{fwd}, 'bypass', 'a bypass');
is($s->{stored}, 1, 'whose response is stored');

for my $method (qw(POST DELETE OPTIONS PROPFIND)) {
    $s = status($nginx->request($method, '/m', headers => [ 'X-Say', $cc ]));
    is($s->{fwd}, 'method', "$method: fwd=method");
    is($s->{stored}, undef, 'not stored');
    is($s->{detail}, 'method', 'with that reason');
}

# a 304 and a 412 of our own

$nginx->get('/cond', 'X-Say' => "$cc|ETag: \"x\"");
$r = $nginx->get('/cond', 'If-None-Match' => '"x"');
is($r->status, 304, 'a 304 on a hit');
is(status($r)->{hit}, 1, 'says that it is one');

# the key in quotes; a space is doubled in it, for parts that follow it

for my $key ('a"b', 'a\\b', '\\"', 'a;b=c, d', '{x}') {
    $r = $nginx->get('/key/1', 'X-Key' => $key, 'X-Say' => $cc);
    is(status($r)->{key}, $key =~ s/ /  /gr, "the key $key");
}

for my $key ("caf\xc3\xa9", "a\tb") {
    $r = $nginx->get('/key/1', 'X-Key' => $key, 'X-Say' => $cc);
    $s = status($r);
    is($s->{key}, undef, 'a key that no String can have is left out');
    is($s->{fwd}, 'uri-miss', 'the rest is there');
}

my $long = 'k' x 3000;
is(status($nginx->get("/$long", 'X-Say' => $cc))->{key},
   "http://localhost/$long", 'a long key');

# the origin is a cache, too: its line stays, ours comes behind it

my $theirs = 'Origin; hit; ttl=5';
for my $time (1, 2) {
    $r = $nginx->get('/theirs', 'X-Say' => "$cc|Cache-Status: $theirs");
    my @lines = $r->headers('Cache-Status');
    is(@lines, 2, "$time: two lines");
    is($lines[0], $theirs, 'that of the origin first');
    like($lines[1], $time == 1 ? qr/^edge-1; fwd=uri-miss/
                               : qr/^edge-1; hit/, 'then ours');
}

# what is stored has none of ours

unlike($redis->get('api:{http://localhost/a}'), qr/edge-1/,
       'our line is not stored');

# one line for a page with fragments

$r = $nginx->get('/ssi/page');
is($r->body, 'page[fragment]', 'a page with a fragment');
is(scalar(my @all = $r->headers('Cache-Status')), 1, 'has one line');

# Redis is gone

$redis->stop();
ok(wait_for { $r = $nginx->get('/down', 'X-Say' => $cc);
              $r->verdict =~ /redis_down/ }, 'Redis is gone');
$s = status($r);
like($s->{fwd}, qr/^(?:uri-)?miss$/, 'a miss');
is($s->{detail}, 'redis_down', 'and the detail says why');

$t->done();


# our member of the list, parsed by the grammar of RFC 8941

sub status {
    my ($got) = @_;

    my ($line) = grep { /^edge-1\b/ } $got->headers('Cache-Status');
    $line //= '';

    my %p;
    my $rest = $line;
    $rest =~ s/^edge-1// or do { fail("no Cache-Status: $line"); return {} };

    while ($rest =~ s/^; *([a-z*][a-z0-9_.*-]*)//) {
        my $name = $1;
        my $value = 1;

        if ($rest =~ s/^="((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"//) {
            $value = $1 =~ s/\\(.)/$1/gr;

        } elsif ($rest =~ s/^=(-?[0-9]{1,15})(?![0-9.])//) {
            $value = $1;

        } elsif ($rest =~ s{^=([A-Za-z*][!#\$%&'*+.^_`|~0-9A-Za-z:/-]*)}{}) {
            $value = $1;
        }

        fail("$name twice: $line") if exists $p{$name};
        $p{$name} = $value;
    }

    is($rest, '', "well formed: $line");
    return \%p;
}


sub origin {
    my ($req, $reply) = @_;

    if ($req->path eq '/ssi/page') {
        return $reply->send(200, [ 'Cache-Control' => 'max-age=60',
                                   'Content-Type' => 'text/plain' ],
                            'page<!--# include virtual="/ssi/part" -->');
    }

    if ($req->path eq '/ssi/part') {
        return $reply->send(200, [ 'Cache-Control' => 'max-age=60' ],
                            '[fragment]');
    }

    return $reply->obey();
}
