#!/usr/bin/perl

# Would a cache pay here, and would it be safe?  A dry run tells without doing
# anything: who asks gets what the upstream sends, the upstream gets what the
# client sends, and in Redis there is a fingerprint of some hundred bytes where
# a response would be.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Status;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF', level => 'info');
    redis_proxy_cache_zone    api:2m server=%%REDIS%% connect_timeout=20s
                              timeout=20s;
    redis_proxy_cache_budget  20s;

    redis_proxy_cache_key          $uri$is_args$args;
    redis_proxy_cache_unkeyed      X-Strip=strip;
    redis_proxy_cache_purge        $http_x_purge;
    redis_proxy_cache_max_size      1m;
    redis_proxy_cache_segment_size  64k;

    log_format  dry '$request_uri $redis_proxy_cache_dry_run '
                    '$redis_proxy_cache_age$redis_proxy_cache_etag';

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache          api;
        redis_proxy_cache_dry_run  on;
        access_log                 %%DIR%%/access.log rcache;
        access_log                 %%DIR%%/dry.log dry;

        location / {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_label  all;
        }

        location /reval/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
            redis_proxy_cache_label       reval;
        }

        location /stale/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  updating error http_503;
            redis_proxy_cache_label      stale;
        }

        location /swr/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_label  swr;
        }

        location /uses/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_min_uses  2;
            redis_proxy_cache_label     uses;
        }

        location /user/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_user   $http_x_user;
            redis_proxy_cache_label  user;
        }

        location /small/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_compress        zstd;
            redis_proxy_cache_compress_types  text/plain;
            redis_proxy_cache_label           small;
        }

        location /skip/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_bypass  $arg_bypass;
            redis_proxy_cache_label   skip;
        }

        location /status {
            redis_proxy_cache_status;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_REAL%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
        }
    }

    server {
        listen  127.0.0.1:%%PORT_PLAIN%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my ($r, $value);

# nothing is served, and next to nothing stored

my %first = (big => 50_000, say => 'Cache-Control: max-age=600');

for my $n (1, 2) {
    $r = get('/a', %first);
    is($r->status, 200, 'an answer');
    is($r->verdict, 'BYPASS dry_run', 'which is not from the cache');
    is(length $r->body, 50_000, 'the whole of it');
    $redis->wait_key('api:{/a}:d');
}

is($origin->count('/a'), 2, 'the origin made each');
is_deeply([ $redis->keys() ], [ 'api:{/a}:d' ], 'one fingerprint is in Redis');
$value = $redis->get('api:{/a}:d');
cmp_ok(length $value, '<', 256, 'of some bytes');
unlike($value, qr/xxx/, 'and no body');
cmp_ok($redis->pttl('api:{/a}:d'), '>', 590_000, 'for as long as the entry');

predicted('all', { miss => 1, hit => 1 }, 'a miss and a hit');
my $label = RCache::Status->label('all', $nginx);
is($label->{requests}{bypass}, 2, 'what happened is that none was a hit');
is($label->{requests}{hit}, 0, 'none');
is($label->{not_hit}{dry_run}, 2, 'for that reason');
is($label->{stores}{stored}, 0, 'nothing was stored');
is($label->{dry_run_stored}, 1, 'but would have been');
cmp_ok($label->{dry_run_bytes}{stored}, '>', 50_000, 'with its body');
cmp_ok($label->{dry_run_bytes}{stored}, '<', 58_000,
       'and what Redis allocates for it');
is($label->{dry_run_redis_bytes}, $label->{dry_run_bytes}{stored},
   'which would be in Redis');

# what is stored for real is not looked at, nor touched

$r = get('/real', body => 'real', say => 'Cache-Control: max-age=600',
         to => 'REAL');
ok($redis->wait_key('api:{/real}'), 'another location stores');
my $entry = $redis->get('api:{/real}');
$r = get('/real', body => 'other', say => 'Cache-Control: max-age=600');
is($r->body, 'other', 'it is not served in a dry run');
is($redis->get('api:{/real}'), $entry, 'and stays');
$r = get('/a', body => 'mine', say => 'Cache-Control: max-age=600',
         to => 'REAL');
is($r->verdict, 'MISS -', 'a fingerprint is no entry');
is($r->body, 'mine', 'and is not served');

# the upstream and the client notice nothing

for my $case (
    [ 'a GET', 'GET' ],
    [ 'HEAD', 'HEAD' ],
    [ 'a range', 'GET', Range => 'bytes=2-5' ],
    [ 'a far range', 'GET', Range => 'bytes=-3', 'If-Range' => '"v1"' ],
    [ 'a condition', 'GET', 'If-None-Match' => '"v1"' ],
    [ 'an old one', 'GET', 'If-Modified-Since' =>
        'Sat, 01 Jan 2022 00:00:00 GMT' ],
    [ 'a header that is stripped', 'GET', 'X-Strip' => 'yes' ],
    [ 'a coding', 'GET', 'Accept-Encoding' => 'gzip, br' ],
    [ 'credentials', 'GET', Authorization => 'Basic eDp5' ],
    [ 'a client that wants it new', 'GET', 'Cache-Control' => 'no-cache' ],
) {
    my ($name, $method, @headers) = @$case;

    # a miss, and what would be a hit

    for my $round (1, 2) {
        my (%seen, %sent);

        for my $to (qw(PLAIN MAIN)) {
            my $reply = $nginx->request($method, '/same', headers => \@headers,
                                        to => $to);
            $sent{$to} = [ $reply->status, $reply->body,
                           grep { !/^Date:/ } map { "$_->[0]: $_->[1]" }
                           @{ $reply->{pairs} } ];
            $seen{$to} = [ map { "$_->[0]: $_->[1]" }
                           grep { $_->[0] !~ /^X-Test$/i }
                           @{ $origin->latest('/same')->{pairs} } ];
            push @{ $seen{$to} }, $origin->latest('/same')->method;
        }

        is_deeply($seen{MAIN}, $seen{PLAIN}, "$name: the upstream, $round");
        is_deeply($sent{MAIN}, $sent{PLAIN}, "$name: the client, $round");
    }
}

# what comes in part says how much there would be

for my $case (
    [ 'range', 'GET', Range => 'bytes=2-5' ],
    [ 'head', 'HEAD' ],
    [ 'match', 'GET', 'If-None-Match' => '"v1"' ],
) {
    my ($name, $method, @headers) = @$case;

    my $before = RCache::Status->label('all', $nginx);
    $nginx->request($method, "/part-$name", headers => \@headers);
    $redis->wait_key("api:{/part-$name}:d");
    $nginx->get("/part-$name");
    my $after = settled('all', $before, 2);

    is($after->{dry_run_requests}{hit} - $before->{dry_run_requests}{hit}, 1,
       "$name: the next one would be a hit");
    is($after->{dry_run_stored} - $before->{dry_run_stored}, 1,
       "$name: of what the first one stored");
    my $bytes = $after->{dry_run_bytes}{stored}
                - $before->{dry_run_bytes}{stored};
    cmp_ok($bytes, '>', $name eq 'match' ? 100 : 1100, "$name: its size");
}

# variants

my @vary = (body => 'v', say => 'Cache-Control: max-age=600|Vary: X-Lang');
my $before = RCache::Status->label('all', $nginx);
my %lang;
for my $lang (qw(en de en de fr)) {
    get('/vary', @vary, 'X-Lang' => $lang);
    $lang{$lang} = 1;
    wait_for { keys %lang == variants() };
}
my $after = settled('all', $before, 5);
is($after->{dry_run_requests}{miss} - $before->{dry_run_requests}{miss}, 3,
   'three variants are fetched');
is($after->{dry_run_requests}{hit} - $before->{dry_run_requests}{hit}, 2,
   'and two of them hit');
is(variants(), 3, 'they have fingerprints');
ok($redis->exists('api:{/vary}:d'), 'and a marker');
ok(!$redis->exists('api:{/vary}'), 'of their own');

# what must not be stored is not, and says why

for my $case (
    [ set_cookie => 'Cache-Control: max-age=9|Set-Cookie: a=b' ],
    [ no_store => 'Cache-Control: no-store' ],
    [ private => 'Cache-Control: private, max-age=9' ],
    [ vary => 'Cache-Control: max-age=9|Vary: *' ],
    [ no_lifetime => '' ],
    [ status => 'Cache-Control: max-age=9', 'X-Status' => 206 ],
    [ too_large => 'Cache-Control: max-age=9', big => 2_000_000 ],
) {
    my ($reason, $say, @headers) = @$case;

    $before = RCache::Status->label('all', $nginx);
    $r = get("/not-$reason", say => $say, @headers);
    is($r->verdict, "BYPASS $reason", "$reason: the log knows it");
    $after = settled('all', $before, 1);
    is($after->{not_stored}{$reason} - ($before->{not_stored}{$reason} || 0),
       1, "$reason: so does the counter");
    is($after->{dry_run_requests}{miss} - $before->{dry_run_requests}{miss},
       1, "$reason: it is a miss");
    ok(!$redis->exists("api:{/not-$reason}:d"), "$reason: no fingerprint");
}

# a response that breaks off

$before = RCache::Status->label('all', $nginx);
$r = $nginx->get('/cut');
$after = settled('all', $before, 1);
is($after->{not_stored}{truncated} - ($before->{not_stored}{truncated} || 0),
   1, 'one that breaks off would not be stored');

# credentials

my @auth = (Authorization => 'Basic eDp5');
$before = RCache::Status->label('all', $nginx);
leaves('/auth', body => 'a', say => 'Cache-Control: max-age=600');
get('/auth', body => 'a', say => 'Cache-Control: max-age=600', @auth);
leaves('/shared', body => 'a', say => 'Cache-Control: public, max-age=600',
       @auth);
get('/shared', body => 'a', say => 'Cache-Control: public, max-age=600', @auth);
$after = settled('all', $before, 4);
is($after->{not_stored}{authorization}
   - ($before->{not_stored}{authorization} || 0), 1,
   'who logs in gets nothing that is not for all');
is($after->{dry_run_requests}{bypass} - $before->{dry_run_requests}{bypass}, 1,
   'and would have passed by');
is($after->{dry_run_requests}{hit} - $before->{dry_run_requests}{hit}, 1,
   'but hits what is public');

# a user's own: the response is not marked

leaves('/user/a', say => 'Cache-Control: private, max-age=600', 'X-User' => 1);
$r = get('/user/a', say => 'Cache-Control: private, max-age=600',
         'X-User' => 1);
is($r->header('Cache-Control'), 'private, max-age=600', 'as the origin says');
get('/user/a', say => 'Cache-Control: private, max-age=600', 'X-User' => 2);
get('/user/a', say => 'Cache-Control: private, max-age=600');
predicted('user', { miss => 2, hit => 1, bypass => 1 }, 'by user');

# expiry, with a validator and without; staleness

get('/reval/same', say => 'Cache-Control: max-age=1|ETag: "x"');
get('/reval/new', say => 'Cache-Control: max-age=1|ETag: "x"');
RCache::Entry->wait_stale($redis, 'api:{/reval/new}:d');
get('/reval/same', say => 'Cache-Control: max-age=600|ETag: W/"x"');
get('/reval/new', say => 'Cache-Control: max-age=600|ETag: "y"');
renewed('/reval/same', '/reval/new');
get("/reval/$_") for qw(same new);
predicted('reval', { miss => 2, revalidated => 1, expired => 1, hit => 2 },
          'what has expired, the same and another');
is_deeply([ slurp($t->dir . '/nginx-1/dry.log') =~ m{^/reval/same (.*)$}mg ],
          [ 'miss --', 'revalidated --', 'hit --' ],
          'the log has it, and nothing of what was found');
$label = RCache::Status->label('reval', $nginx);
cmp_ok($label->{dry_run_bytes}{replaced}, '>', 0, 'took the place of others');
cmp_ok($label->{dry_run_redis_bytes}, '<', $label->{dry_run_bytes}{stored},
       'so there are fewer than were stored');

get('/stale/a', say => 'Cache-Control: max-age=1');
get('/stale/b', say => 'Cache-Control: max-age=1');
RCache::Entry->wait_stale($redis, 'api:{/stale/b}:d');
get('/stale/a', say => 'Cache-Control: max-age=600');
renewed('/stale/a');
get('/stale/a');
get('/stale/b', 'X-Status' => 503);
predicted('stale', { miss => 2, stale => 2, hit => 1 },
          'a refresh behind the back, and a failure that nobody sees');

get('/swr/a', say => 'Cache-Control: max-age=1, stale-while-revalidate=600');
RCache::Entry->wait_stale($redis, 'api:{/swr/a}:d');
get('/swr/a', say => 'Cache-Control: max-age=600');
predicted('swr', { miss => 1, stale => 1 }, 'the response says so itself');

# min_uses, bypass

get('/uses/a', say => 'Cache-Control: max-age=600') for 1, 2;
$redis->wait_key('api:{/uses/a}:d');
get('/uses/a', say => 'Cache-Control: max-age=600') for 3, 4;
predicted('uses', { miss => 2, hit => 2 }, 'asked for often enough');

get('/skip/a?bypass=1', say => 'Cache-Control: max-age=600');
get('/skip/a?bypass=1', say => 'Cache-Control: max-age=600');
predicted('skip', { bypass => 2 }, 'who bypasses the cache');
is(RCache::Status->label('skip', $nginx)->{dry_run_stored}, 2,
   'renews what is in it');

# those who come together would get one answer

my @conn = map { $nginx->connect() } 1 .. 3;
$before = RCache::Status->label('all', $nginx);
$_->send(RCache::HTTP::format_request('GET', '/wait')) for @conn;
ok(wait_for { $origin->count('/wait') == 3 }, 'three are asked for');
$origin->say('wait');
$_->response('GET') for @conn;
$_->close() for @conn;
$after = settled('all', $before, 3);
is($after->{dry_run_requests}{miss} - $before->{dry_run_requests}{miss}, 1,
   'one would have been');
is($after->{dry_run_requests}{collapsed}, 2, 'and the others had waited');
is($after->{dry_run_stored} - $before->{dry_run_stored}, 1, 'one is stored');

# sizes: compressed, and in segments

get('/small/a', say => 'Cache-Control: max-age=600', big => 20_000);
predicted('small', { miss => 1 }, 'what can be compressed');
cmp_ok(RCache::Status->label('small', $nginx)->{dry_run_bytes}{stored}, '<',
       2000, 'is smaller');

get('/small/b', say => 'Cache-Control: max-age=600', big => 300_000);
predicted('small', { miss => 2 }, 'also if it is longer than a segment');
cmp_ok(RCache::Status->label('small', $nginx)->{dry_run_bytes}{stored}, '<',
       10_000, 'is as well');

$before = RCache::Status->label('all', $nginx);
get('/segments', say => 'Cache-Control: max-age=600', big => 300_000);
$after = settled('all', $before, 1);
my $bytes = $after->{dry_run_bytes}{stored} - $before->{dry_run_bytes}{stored};
cmp_ok($bytes, '>', 300_500, 'what is longer has more keys');
cmp_ok($bytes, '<', 380_000, 'of which there are six');
cmp_ok(length $redis->get('api:{/segments}:d'), '<', 256, 'but not now');
is_deeply([ grep { /:s:/ } $redis->keys() ], [], 'no segment is there');

# what invalidates does so for real, for what another location has

get('/real', body => 'x', say => 'Cache-Control: max-age=600');
ok($redis->wait_key('api:{/real}:d') && $redis->exists('api:{/real}'),
   'a fingerprint and an entry');
$r = $nginx->request('POST', '/real');
is($r->status, 200, 'a POST');
ok(wait_for { !$redis->exists('api:{/real}:d')
              && !$redis->exists('api:{/real}') }, 'makes both void');

# the formats

my $page = $nginx->get('/status?format=prometheus')->body;
is(RCache::Status::promtool($t->dir, $page), '', 'promtool has nothing to say');
like($page, qr/^redis_proxy_cache_dry_run_redis_bytes\{zone="api",label="all"\}
               \ [1-9]\d*$/mx, 'the estimate is a gauge');
is(RCache::Status::openmetrics($t->dir,
    $nginx->get('/status?format=openmetrics')->body), '', 'OpenMetrics');
is(RCache::Status::schema($t->dir, $nginx->get('/status?format=json')->body,
                          "$FindBin::Bin/../docs/metrics.schema.json"), '',
   'it is as the schema says');

get('/a') for 1 .. 100;
ok(wait_for { RCache::Status->label('all', $nginx)->{requests}{bypass} > 130 },
   'when there is enough to tell by');
$label = (grep { $_->{name} eq 'all' }
          @{ RCache::Status->of($nginx)->{zones}[0]{labels} })[0];
is($label->{verdict}, 'dry_run', 'the verdict is that it is none');
like($label->{because}, qr/^a dry run: \d+\.\d % of \d+ requests /,
     'and what it would be');
like($label->{because}, qr/ had \d+\.\d{3} s less .* take \d+ KiB$/,
     'in words');

# with a damaged fingerprint, and without Redis

$redis->cmd('SET', 'api:{/damaged}:d', 'RPC' . "\2" . 'x' x 200, 'PX', 60000);
$nginx->tolerate('holds an unusable entry "api:\{/damaged\}:d"');
$r = get('/damaged', say => 'Cache-Control: max-age=600');
is($r->status, 200, 'a damaged fingerprint is none');

$redis->stop();
for (1 .. 3) {
    $r = get('/gone', body => 'gone', say => 'Cache-Control: max-age=600');
    is($r->body, 'gone', 'without Redis');
}
ok(wait_for {
    RCache::Status->label('all', $nginx)->{dry_run_requests}{unknown} >= 3
}, 'nobody knows what would be, and that is said');

$t->done();


# body, say: what the origin answers with, big: a body of that size; to: the
# name of a port; the rest are headers of the request.

sub get {
    my ($uri, %o) = @_;

    my ($body, $say, $to, $big) = delete @o{qw(body say to big)};

    return $nginx->request('GET', $uri, to => $to, headers => [
        (defined $body ? ('X-Body' => $body) : ()),
        (defined $say ? ('X-Say' => $say) : ()),
        ($big ? ('X-Big' => $big) : ()), %o
    ]);
}


# What is counted of a label, when so many requests more have been counted than
# before: the worker is through with one a little after the client is.

sub settled {
    my ($name, $before, $n) = @_;

    my $label;
    my $sum = sub {
        my $sum = 0;
        $sum += $_ for values %{ $_[0]{dry_run_requests} };
        return $sum;
    };

    wait_for {
        $label = RCache::Status->label($name, $nginx);
        $sum->($label) >= $sum->($before) + $n;
    };

    return $label;
}


# One whose fingerprint is there before the next one asks.

sub leaves {
    my (@request) = @_;

    my @before = $redis->keys();
    get(@request);
    wait_for { my @now = $redis->keys(); @now > @before };

    return;
}


# How many fingerprints there are of what /vary gives.

sub variants {
    return scalar grep { m[^api:\{/vary\}:d:v:[0-9a-f]{32}$] } $redis->keys();
}


# What a request leaves behind is in Redis a little after the client is gone.

sub renewed {
    for my $uri (@_) {
        wait_for {
            my $e = RCache::Entry->read($redis, "api:{$uri}:d");
            $e && $e->{lifetime} > 100_000;
        } or die "the fingerprint of $uri is not renewed\n";
    }

    return;
}


sub predicted {
    my ($name, $expected, $what) = @_;

    my %got;

    wait_for {
        my $counts = RCache::Status->label($name, $nginx)->{dry_run_requests};
        %got = map { $_ => $counts->{$_} } grep { $counts->{$_} }
               keys %$counts;

        return join(',', map { "$_=$got{$_}" } sort keys %got)
               eq join(',', map { "$_=$expected->{$_}" }
                            sort keys %$expected);
    };

    is_deeply(\%got, $expected, $what);

    return;
}


sub origin {
    my ($req, $reply) = @_;

    my $path = $req->path;

    if ($path =~ /^\/(?:same|part-)/) {
        my @say = ('Cache-Control' => 'max-age=600', ETag => '"v1"',
                   'Last-Modified' => 'Sat, 01 Jan 2022 00:00:00 GMT',
                   'Accept-Ranges' => 'bytes', 'Content-Type' => 'text/plain');
        my $body = '0123456789' x 100;

        return $reply->head(304, @say)
            if $req->header('If-None-Match')
               || $req->header('If-Modified-Since');

        my $range = $req->header('Range') // '';

        return $reply->send(206, [ @say, 'Content-Range' =>
                                   "bytes $1-$2/1000" ],
                            substr $body, $1, $2 - $1 + 1)
            if $range =~ /^bytes=(\d+)-(\d+)$/;

        return $reply->send(206, [ @say, 'Content-Range' =>
                                   'bytes 997-999/1000' ], '789') if $range;

        return $reply->send(200, \@say, $body);
    }

    if ($path eq '/cut') {
        $reply->head(200, 'Cache-Control' => 'max-age=600',
                     'Content-Length' => 1000);
        $reply->raw('short');
        return $reply->close();
    }

    if ($path eq '/wait') {
        $reply->wait_word('wait');
        return $reply->send(200, [ 'Cache-Control' => 'max-age=600' ], 'w');
    }

    my $big = $req->header('X-Big') or return $reply->obey();
    my @say = map { /^([^:]+): ?(.*)$/s } split /\|/,
              $req->header('X-Say') // '';

    return $reply->send(200, [ 'Content-Type' => 'text/plain', @say ],
                        'x' x $big);
}
