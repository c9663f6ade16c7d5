#!/usr/bin/perl

# Who reads a counter believes it.  Ten thousand requests of every kind go to
# two instances with two workers each, and what the instances say about them
# is held against what the clients and the origin have seen: every request,
# every fetch, every byte; and again after a reload and after the death of a
# worker.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;
use RCache;
use RCache::Status;
use RCache::Util qw(spawn stop_pid);

my $clients = 4;
my $rounds = 50;         # of 50 requests each

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);
my @nginx = map { $t->nginx(<<'CONF', workers => 2, settle => 0) } 1 .. 2;
    redis_proxy_cache_zone    api:2m server=%%REDIS%%
                              connect_timeout=20s timeout=20s;
    redis_proxy_cache_budget  20s;

    server {
        listen  127.0.0.1:%%PORT%% reuseport;

        redis_proxy_cache               api;
        redis_proxy_cache_bypass        $arg_bypass;
        redis_proxy_cache_lock_timeout  60s;
        redis_proxy_cache_lock_age      60s;
        redis_proxy_cache_revalidate    on;
        add_header                      X-Cache $redis_proxy_cache_status;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /a/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_label  shop-a;
        }

        location /status {
            redis_proxy_cache_status;
        }
    }
CONF

# a day's work

load('first', $rounds);

my %seen = tally();

agrees('under load');

# the rest of it, by the scripted numbers

my $a = RCache::Status->label('shop-a', @nginx);
my $d = RCache::Status->label('default', @nginx);
my $per = $clients * $rounds;

is($a->{requests}{none}, $per, 'POSTs are not looked up');
is($a->{invalidated}, $per, 'they invalidate');
is($a->{not_hit}{method}, $per, 'and went to the upstream for that reason');
is($a->{not_hit}{bypass}, $a->{requests}{bypass}, 'so did what bypasses');
is($a->{requests}{bypass}, $per, 'each of it');
is($a->{not_stored}{set_cookie}, $per, 'cookies are not stored');
is($a->{not_stored}{no_store} + $d->{not_stored}{no_store}, $per,
   'nor is what says so');

for (qw(expired revalidated stale updating)) {
    cmp_ok($a->{requests}{$_}, '>', 0, "there were requests that were $_");
}

cmp_ok($a->{stores}{renewed}, '>=', $a->{requests}{revalidated},
       'what was validated lives on');

for ($a, $d) {
    is($_->{stores}{failed}, 0, 'no store failed');
    is($_->{evicted}, 0, 'nothing was lost');
    cmp_ok($_->{fetches}{refresh}, '>', 0, 'what was stale was refreshed');
    cmp_ok($_->{fetches}{refresh}, '<=', $_->{requests}{stale},
           'once for all');
    is($_->{hit_seconds}{count} + $_->{collapsed}, served($_),
       'every hit has its time, or waited');
    is($_->{fetch_seconds}{count},
       $_->{fetches}{request} + $_->{fetches}{refresh},
       'every fetch has its time');
}

# a reload, and a death, lose nothing

my @before = $nginx[0]->workers();

$_->reload() for @nginx;
wait_for {
    my %old = map { $_ => 1 } @before;
    !grep { $old{$_} } $nginx[0]->workers();
} or die 'the old workers stay';

is_deeply({ tally() }, \%seen, 'nothing was asked meanwhile');
agrees('after a reload');

load('second', 5);
%seen = tally();
agrees('under load after the reload');

my ($victim) = $nginx[1]->workers();
kill 'KILL', $victim;
$nginx[1]->tolerate("worker process $victim exited on signal 9");
ok(wait_for {
    my @now = $nginx[1]->workers();
    @now == 2 && !grep { $_ == $victim } @now;
}, 'a worker is killed, and there is a new one');
agrees('after a death');

load('third', 5);
%seen = tally();
agrees('under load after the death');

ok(wait_for { RCache::Status->of($nginx[1])->{zones}[0]{workers} == 2 },
   'two workers have their blocks');

my $zone = RCache::Status->of($nginx[1])->{zones}[0];

is($zone->{redis_up}, 1, 'Redis is up');
is($zone->{redis_queue}, 0, 'nobody waits for it');
is($zone->{memory_in_flight_bytes}, 0, 'nothing is on its way to it');
cmp_ok($zone->{redis_connections}, '>=', 2, 'there are connections to it');
cmp_ok($zone->{redis_connections}, '<=', 6, 'three a worker at most');
is($zone->{redis_operations}{lookup}{ok}, $zone->{redis_seconds}{lookup}{count},
   'every lookup has its time');
like($zone->{server}, qr{^redis://127\.0\.0\.1:\d+$}, 'its address');

# while Redis does not answer

$redis->freeze();

my $waiting = spawn(code => sub { $nginx[1]->get('/a/frozen') },
                    log => $t->dir . '/frozen');

ok(wait_for {
    $zone = RCache::Status->of($nginx[1])->{zones}[0];
    $zone->{redis_queue} > 0;
}, 'somebody waits for it');
cmp_ok($zone->{memory_in_flight_bytes}, '>', 0, 'and so do his bytes');

$redis->thaw();

ok(wait_for {
    $zone = RCache::Status->of($nginx[1])->{zones}[0];
    $zone->{redis_queue} == 0 && $zone->{memory_in_flight_bytes} == 0;
}, 'until it does');
stop_pid($waiting, 0);

ok(wait_for { RCache::Status->label('shop-a', $nginx[1])->{stores}{stored} },
   'what had waited is stored');
$seen{'shop-a miss'}++;

# the formats, by those who read them

my $text = $nginx[0]->get('/status');
is($text->header('Content-Type'),
   'text/plain; version=0.0.4; charset=utf-8', 'text, if nobody asks');
is($text->header('Cache-Control'), 'no-store', 'no cache keeps it');
is(RCache::Status::promtool($t->dir, $text->body), '',
   'promtool has nothing to say');

my $om = $nginx[0]->get('/status', Accept =>
    'application/openmetrics-text;version=1.0.0;q=0.5,'
    . 'text/plain;version=0.0.4;q=0.3,*/*;q=0.2');
is($om->header('Content-Type'),
   'application/openmetrics-text; version=1.0.0; charset=utf-8',
   'OpenMetrics for Prometheus');
is(RCache::Status::openmetrics($t->dir, $om->body), '', 'it can be parsed');

my $json = $nginx[0]->get('/status', Accept => 'application/json');
is($json->header('Content-Type'), 'application/json', 'JSON by Accept');
is(RCache::Status::schema($t->dir, $json->body,
                          "$FindBin::Bin/../docs/metrics.schema.json"), '',
   'it is as the schema says');

is($nginx[0]->get('/status.json')->header('Content-Type'), 'application/json',
   'JSON by the path');
is($nginx[0]->get('/status/openmetrics')->header('Content-Type'),
   'application/openmetrics-text; version=1.0.0; charset=utf-8',
   'OpenMetrics by the path');
is($nginx[0]->get('/status?format=xml')->status, 404, 'no other format');
is($nginx[0]->request('POST', '/status')->status, 405, 'nothing to post');

my $head = $nginx[0]->head('/status?format=json');
is($head->status, 200, 'HEAD');
is($head->body, '', 'has no body');
agrees('after all of that: looking is not counted');

# all formats say the same

my ($hits) = $text->body =~ /^redis_proxy_cache_requests_total
    \{zone="api",label="shop-a",status="hit"\}\ (\d+)$/mx;
my $shop = (grep { $_->{name} eq 'shop-a' }
            @{ JSON::PP::decode_json($json->body)->{zones}[0]{labels} })[0];
is($hits, $shop->{requests}{hit}, 'text and JSON agree');

$t->done();


# All clients at once, each with requests of every kind.

sub load {
    my ($name, $rounds) = @_;

    my @pids = map {
        my $n = $_;
        spawn(code => sub { client($name, $n, $rounds) },
              log => $t->dir . "/client-$name-$n");
    } 1 .. $clients;

    my $done = wait_for {
        !grep { !-e $t->dir . "/tally-$name-$_" } 1 .. $clients;
    } 300;

    ok($done, "$name load: all clients are done")
        or diag(map { slurp($t->dir . "/client-$name-$_") } 1 .. $clients);
    stop_pid($_, 0) for @pids;

    return;
}


sub client {
    my ($name, $n, $rounds) = @_;

    my (%tally, @conn);

    for my $round (1 .. $rounds) {

        # new connections, so that all workers get some

        @conn = map { $_->connect() } @nginx;

        my $k = "$name-$n-$round";
        my @requests = (
            [ GET => "/a/page-$k" ], [ GET => "/page-$k" ],
            [ GET => "/a/page-$k?bypass=1" ], [ POST => "/a/post-$k" ],
            [ GET => "/a/cookie-$k" ],
            [ GET => $round % 2 ? "/a/no-store-$k" : "/no-store-$k" ],
            (map { [ GET => "/a/shared-" . ($_ % 7) ],
                   [ GET => "/a/page-$k" ] } 1 .. 12),
            (map { [ GET => "/shared-$_" ], [ HEAD => "/shared-$_" ] } 1 .. 8),

            # lives for a second, and is then gone, validated, or still served
            [ GET => "/a/brief" ], [ GET => "/a/etag" ],
            [ GET => "/a/swr" ], [ GET => "/swr" ]
        );

        for my $i (0 .. $#requests) {
            my ($method, $uri) = @{ $requests[$i] };
            my $r = $conn[$i % 2]->request($method, $uri, keepalive => 1);
            die "$uri: no answer\n" if !$r || $r->status != 200;

            my $label = $uri =~ m{^/a/} ? 'shop-a' : 'default';
            my $status = lc($r->header('X-Cache') || 'none');

            $tally{$label}{requests}{$status}++;
            $tally{$label}{hit_bytes} += length $r->body
                if $status =~ /^(?:hit|stale|updating)$/;
        }
    }

    spit($t->dir . "/tally-$name-$n.new", JSON::PP::encode_json(\%tally));
    rename $t->dir . "/tally-$name-$n.new", $t->dir . "/tally-$name-$n";

    return;
}


# What all clients have seen so far, as a flat list in order.

sub tally {
    my $sum = {};

    for my $file (glob $t->dir . '/tally-*') {
        RCache::Status::add($sum, JSON::PP::decode_json(slurp($file)));
    }

    return map { my $l = $_;
        map({ ("$l $_" => $sum->{$l}{requests}{$_}) }
            sort keys %{ $sum->{$l}{requests} }),
        ("$l bytes" => $sum->{$l}{hit_bytes}) } sort keys %$sum;
}


sub counted {
    my %counted;

    for my $l ('default', 'shop-a') {
        my $label = RCache::Status->label($l, @nginx);

        for (keys %{ $label->{requests} }) {
            $counted{"$l $_"} = $label->{requests}{$_}
                if $label->{requests}{$_};
        }

        $counted{"$l bytes"} = $label->{hit_bytes};
    }

    return %counted;
}


# A request is counted when the worker is through with it, which may be a
# little after the client is.

sub agrees {
    my ($when) = @_;

    my %counted;

    wait_for {
        %counted = counted();
        join(' ', map { "$_ $counted{$_}" } sort keys %counted)
            eq join(' ', map { "$_ $seen{$_}" } sort keys %seen);
    } 20;

    is_deeply(\%counted, \%seen, "$when: counters are what clients saw");

    for my $l ('default', 'shop-a') {
        my $label;

        # what Redis has to say of a store may come later still

        my $balance = sub {
            $label = RCache::Status->label($l, @nginx);
            my ($stored, $not) = (0, 0);
            $stored += $_ for values %{ $label->{stores} };
            $not += $_ for values %{ $label->{not_stored} };
            return $label->{fetches}{request} + $label->{fetches}{refresh}
                   - $stored - $not;
        };

        wait_for { $balance->() == 0 } 20;
        is($balance->(), 0,
           "$when: what was fetched was stored or not, $l");

        my $missed = 0;
        $missed += $_ for values %{ $label->{not_hit} };
        is($missed, sum($label->{requests}) - served($label),
           "$when: what is no hit has a reason, $l");
    }

    # a refresh may be under way

    my $fetched = sub {
        my $sum = 0;

        for my $l ('default', 'shop-a') {
            my $label = RCache::Status->label($l, @nginx);

            $sum += $label->{fetches}{request} + $label->{fetches}{refresh}
                    + $label->{requests}{none};
        }

        return $sum;
    };

    wait_for { $fetched->() == $origin->requests() } 20;
    is($fetched->(), scalar($origin->requests()),
       "$when: fetches, and POSTs, are what the origin saw");

    return;
}


# from the cache, without asking the upstream first

sub served {
    my ($label) = @_;

    my $sum = 0;
    $sum += $_ for @{ $label->{requests} }{qw(hit stale updating)};
    return $sum;
}


sub sum {
    my ($counts) = @_;

    my $sum = 0;
    $sum += $_ for values %$counts;
    return $sum;
}


sub origin {
    my ($req, $reply) = @_;

    my $uri = $req->uri;

    return $reply->send(200, [ 'Cache-Control' => 'no-store' ], 'no')
        if $uri =~ /no-store/;
    return $reply->send(200, [ 'Cache-Control' => 'max-age=9',
                               'Set-Cookie' => 'a=b' ], 'cookie')
        if $uri =~ /cookie/;

    return $reply->send(200, [ 'Cache-Control' => 'max-age=1',
                               'ETag' => '"' . $req->n . '"' ], 'brief')
        if $uri =~ /brief/;

    if ($uri =~ /etag/) {
        my @head = ('Cache-Control' => 'max-age=1', 'ETag' => '"1"');

        return $req->header('If-None-Match')
               ? $reply->send(304, \@head, '')
               : $reply->send(200, \@head, 'etag');
    }

    if ($uri =~ /swr/) {

        # long enough for others to come meanwhile

        $reply->delay(0.2);

        return $reply->send(200, [ 'Cache-Control' =>
                                   'max-age=1, stale-while-revalidate=60' ],
                            'swr');
    }

    return $reply->send(200, [ 'Cache-Control' => 'max-age=3600' ],
                        'x' x (1 + length($uri) * 7));
}
