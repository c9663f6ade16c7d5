#!/usr/bin/perl

# An answer that cannot be stored is for one client.  Who waited for it must
# not go on waiting, one behind the other: with an upstream that takes a
# second the last of 2,000 clients would wait for half an hour.  All go at
# once, and for a while the next ones do not wait at all.  The upstream here
# answers nobody before all of them have asked, so a queue would never end.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Lock qw(patient);

my $clients = $ENV{RCACHE_CROWD} || 2000;

# why it cannot be stored => [ status, headers, reason ]

my @fresh = ('Cache-Control' => 'max-age=60');

my %kinds = (
    'set-cookie' => [ 200, [ @fresh, 'Set-Cookie' => 'id=1' ],
                      'set_cookie' ],
    'private'    => [ 200, [ 'Cache-Control' => 'private, max-age=60' ],
                      'private' ],
    'no-store'   => [ 200, [ 'Cache-Control' => 'no-store' ], 'no_store' ],
    'no-life'    => [ 200, [ ], 'no_lifetime' ],
    'accel'      => [ 200, [ @fresh, 'X-Accel-Expires' => 0 ],
                      'accel_expires' ],
    'star'       => [ 200, [ @fresh, Vary => '*' ], 'vary' ],
    'large'      => [ 200, [ @fresh ], 'too_large' ],
    'error'      => [ 503, [ ], 'no_lifetime|status' ],
    'predicate'  => [ 200, [ @fresh ], 'no_cache' ],
    'long'       => [ 200, [ @fresh ], 'too_large' ],
    'cut'        => [ 200, [ @fresh ], 'truncated' ],
    'reset'      => [ 502, [ ], '.*' ],
);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $conf = patient() . <<'CONF';
    redis_proxy_cache_hit_for_miss  60s;
    redis_proxy_cache_max_size      50k;

    server {
        listen  127.0.0.1:%%PORT%% reuseport backlog=2048;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        proxy_set_header       X-Client $http_x_client;
        proxy_read_timeout     300s;
        add_header             X-Cache $redis_proxy_cache_status always;
        add_header             X-Reason $redis_proxy_cache_reason always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /predicate {
            proxy_pass            http://%%ORIGIN%%;
            redis_proxy_no_cache  1;
        }

        location /brief/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_hit_for_miss  500ms;
        }

        location /none/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_hit_for_miss  0;
        }
    }
CONF

my @nginx = map { $t->nginx($conf, workers => 2, settle => 0) } 1 .. 4;
my @ports = map { $_->port() } @nginx;

my ($crowd, $leader, @got, $r);

# 2,000 clients, 4 instances

$leader = start(0, '/crowd');
ok(wait_for { $origin->count('/crowd') == 1 }, 'one asks the upstream');
$crowd = $t->crowd(ports => \@ports, clients => $clients, uri => '/crowd',
                   headers => sub { [ 'X-Client' => "c$_[0]" ] })->go();
ok($origin->stays('/crowd', 1, 0.5), "$clients others wait for it");
$origin->say('/crowd-1');
is($leader->answer()->header('Set-Cookie'), 'id=', 'the answer has a '
   . 'cookie');
ok(wait_for { $origin->count('/crowd') == 1 + $clients },
   'then all the others ask at once')
    or diag($origin->count('/crowd'));
$origin->say('/crowd-rest');
@got = $crowd->answers();
is(scalar(grep { $_->{status} == 200 && $_->{complete}
                 && $_->{head} =~ /^Set-Cookie: id=c$_->{n}\r?$/m } @got),
   $clients, 'each gets its own cookie');
is($redis->exists('api:{/crowd}'), 0, 'nothing is stored');

my ($last) = sort { $b->{done} <=> $a->{done} } @got;
note(sprintf 'all done after %.3f s', $last->{done} - $got[0]{began});

# why it could not be stored does not matter

for my $kind (sort keys %kinds) {
    my ($status, $headers, $reason) = @{ $kinds{$kind} };
    my $uri = "/$kind";
    my $lock = "api:{$uri}:l";

    $leader = start(0, $uri);
    ok(wait_for { $origin->count($uri) == 1 }, "$kind: one asks");
    $crowd = $t->crowd(ports => \@ports, clients => 24, uri => $uri,
                       processes => 1)->go();
    ok($origin->stays($uri, 1, 0.1), 'the others wait');

    # one that broke off says nothing of the next, which may lead in turn
    my $fails = $kind =~ /^(?:cut|reset)$/;
    my $marked = !$fails && $kind !~ /^(?:predicate|error)$/;

    $origin->say("$uri-rest") if $fails;
    $origin->say("$uri-1");

    $r = $leader->answer();
    is($r->status, $status, 'the answer comes');
    my $seen = $r->header('X-Reason');
    like($seen, qr/^(?:$reason|absent|-)$/,
         'with the reason, if it is known yet');

    ok(wait_for { $origin->count($uri) == 25 }, 'all the others ask at once')
        or diag($origin->count($uri));
    is($redis->get($lock), '-', 'a mark is in Redis')
        if $marked;
    cmp_ok($redis->pttl($lock), '<=', 60000, 'for its time at most');

    # while none of them has an answer, others may ask as well

    if ($marked) {
        my @more = map { start($_ % 4, $uri) } 1 .. 8;
        ok(wait_for { $origin->count($uri) == 33 },
           'nor does anybody wait who comes then');
        $origin->say("$uri-rest");
        is(scalar(grep { $_->answer()->status == $status } @more), 8,
           'each gets an answer');
    }

    $origin->say("$uri-rest");
    @got = $crowd->answers();
    is(scalar(grep { $_->{status} == $status } @got), 24,
       'as do those who waited');
    is($redis->exists("api:{$uri}"), 0, 'nothing is stored');
}

# the mark ends, and then they wait for one again

$leader = start(0, '/brief/a');
$origin->say('/brief/a-1');
is($leader->answer()->status, 200, 'a mark for half a second');
my $left;

# the client does not wait for it to be there

ok(wait_for {
       $left = $redis->pttl('api:{/brief/a}:l');
       return $left == -2 || $left > 0 && $left <= 500;
   }, 'has that time in Redis') or diag($left);
ok(wait_for { !$redis->exists('api:{/brief/a}:l') }, 'and goes');
$leader = start(1, '/brief/a');
ok(wait_for { $origin->count('/brief/a') == 2 }, 'another one asks');
$crowd = $t->crowd(ports => \@ports, clients => 24, uri => '/brief/a',
                   processes => 1)->go();
ok($origin->stays('/brief/a', 2, 0.3), 'the others wait again');
$origin->say('/brief/a-2', '/brief/a-rest');
$leader->answer();
@got = $crowd->answers();
is(scalar(grep { $_->{status} == 200 } @got), 24, 'and have an answer');

# no mark: the ones who wait go at once, the next ones wait again

$leader = start(0, '/none/a');
ok(wait_for { $origin->count('/none/a') == 1 }, 'without a mark');
$crowd = $t->crowd(ports => \@ports, clients => 24, uri => '/none/a',
                   processes => 1)->go();
ok($origin->stays('/none/a', 1, 0.3), 'the others wait, too');
$origin->say('/none/a-1');
$leader->answer();
ok(wait_for { $origin->count('/none/a') == 25 }, 'and go at once');
isnt($redis->get('api:{/none/a}:l') // '', '-', 'there is none in Redis');
$origin->say('/none/a-rest');
@got = $crowd->answers();
is(scalar(grep { $_->{status} == 200 } @got), 24, 'and have an answer');

# what can be stored after all is, also under a mark

$leader = start(0, '/better');
$origin->say('/better-1');
$leader->answer();
ok(wait_for { ($redis->get('api:{/better}:l') // '') eq '-' }, 'a mark');
$origin->say('/better-rest');
is(get(1, '/better')->header('X-Cache'), 'MISS', 'then a better answer');
ok($redis->wait_key('api:{/better}'), 'is stored');
for (1 .. 3) {
    $r = get($_, '/better');
    is($r->header('X-Cache'), 'HIT', 'and served')
        or diag("$_: ", $r->header('X-Reason'));
}

ok(wait_for { get(0, '/better')->header('X-Cache') eq 'HIT' },
   'by the instance that had the other one, too');

# A key whose response could not be cached a moment ago is not looked up: for a
# second, not longer, for it may have become another one.

my $one = $t->nginx($conf, workers => 1, settle => 0);

$origin->say('/steady-1', '/steady-rest', '/change-1', '/change-rest');

is(one('/steady')->header('X-Reason'), 'no_lifetime', 'one that cannot be');
my $lookups = $redis->calls('get');
is(one('/steady')->header('X-Reason'), 'no_lifetime', 'nor later')
    for 1 .. 50;
cmp_ok($redis->calls('get') - $lookups, '<', 25, 'Redis is not asked for it');
$lookups = $redis->calls('get');
ok(wait_for { one('/steady'); $redis->calls('get') > $lookups },
   'but now and then');

is(one('/change')->header('X-Reason'), 'no_lifetime', 'one that cannot be');
is(one('/change')->header('X-Reason'), 'uncacheable', 'and then can be');
ok($redis->wait_key('api:{/change}'), 'is stored');
is(one('/change')->header('X-Cache'), 'HIT', 'and served at once');
is(one('/change', 'Authorization' => 'x')->header('X-Cache'), 'BYPASS',
   'not to whom it is not for');

is(one('/steady')->status, 200, 'a mark');
$lookups = $redis->calls('get');
one('/steady', 'Authorization' => 'x');
is($redis->calls('get'), $lookups + 1,
   'who may have what he does not make looks it up');

$t->done();


sub one {
    my ($uri, @headers) = @_;

    return $one->get($uri, @headers);
}


sub start {
    my ($n, $uri, @headers) = @_;

    return $nginx[$n]->begin('GET', $uri, headers => \@headers);
}


sub get { return start(@_)->answer() }


my %count;

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $n = ++$count{$uri};
    my ($kind) = $uri =~ m{^/([^/]+)};
    my $word = $n == 1 || $uri eq '/brief/a' && $n == 2 ? "$uri-$n"
        : "$uri-rest";

    if ($kind eq 'crowd') {
        return (\$word, response(200, [
            @fresh, 'Set-Cookie' => 'id=' . ($req->header('X-Client') // '')
        ], "answer $n"));
    }

    if ($kind eq 'better' || $kind eq 'change') {
        return (\$word, response(200, $n == 1 ? [ ] : [ @fresh ],
                                 "answer $n"));
    }

    return (\$word, '') if $kind eq 'reset';

    # a length that does not come, and one that nobody tells

    if ($kind eq 'cut') {
        return (\$word, response(200, [ @fresh ], 'x' x 1000)
                        =~ s/x{500}\z//r);
    }

    if ($kind eq 'long') {
        return (\$word, "HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n"
                        . "\r\n", ('x' x 10_000) x 6);
    }

    my ($status, $headers) = @{ $kinds{$kind} || [ 200, [ ] ] };

    return (\$word, response($status, $headers,
                             $kind eq 'large' ? 'x' x 60_000 : "answer $n"));
}
