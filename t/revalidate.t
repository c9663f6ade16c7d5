#!/usr/bin/perl

# What is stale need not be fetched again if the origin says that it has not
# changed: then the body is what is stored, and the headers are the newer
# ones, here, in Redis and on the other instance.  If this were wrong, a
# client would get a body with the headers of another, or an old response
# would never go away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $modified = 'Mon, 01 Jan 2024 00:00:00 GMT';
my $large = join '', map { sprintf "%09d\n", $_ } 1 .. 20000;

# kind => [ what the first response has, the status of the second, what that
# has ]; the second is the answer to a conditional request

my @stale = ('Cache-Control' => 'max-age=0', 'Content-Type' => 'text/plain');
my @fresh = ('Cache-Control' => 'max-age=60');
my @tag = (ETag => '"v1"');

my %kinds = (
    plain => [ [ @stale, @tag ], 304, [ @fresh ] ],
    etag => [ [ @stale, @tag ], 304, [ @fresh, @tag ] ],
    date => [ [ @stale, 'Last-Modified' => $modified ], 304, [ @fresh ] ],
    two => [ [ @stale, @tag, 'Last-Modified' => $modified ], 304,
             [ @fresh ] ],
    weak => [ [ @stale, ETag => 'W/"a, b"' ], 304, [ @fresh ] ],
    odd => [ [ @stale, ETag => '"%22\\ "' ], 304, [ @fresh ] ],
    bare => [ [ @stale, ETag => 'bare' ], 304, [ @fresh ] ],
    rfc850 => [ [ @stale, 'Last-Modified' =>
                  'Monday, 01-Jan-24 00:00:00 GMT' ], 304, [ @fresh ] ],
    asctime => [ [ @stale, 'Last-Modified' => 'Mon Jan  1 00:00:00 2024' ],
                 304, [ @fresh ] ],

    headers => [ [ @stale, @tag, 'X-Old' => 'old', 'X-Many' => 'one',
                   'X-Many' => 'two', 'X-Case' => 'old', Link => '</a>',
                   'Content-Language' => 'en', Expires => $modified ],
                 304, [ @fresh, @tag, 'X-New' => 'new', 'X-Many' => 'three',
                   'x-case' => 'new', Link => '</b>', Link => '</c>',
                   'Content-Encoding' => 'x-other', 'Connection' => 'X-Hop',
                   'Content-Length' => 7,
                   'X-Hop' => 'hop', 'Keep-Alive' => 'timeout=1',
                   'Content-Range' => 'bytes 1-2/3',
                   'Content-Language' => 'de',
                   'Date' => http_date() ] ],

    aged => [ [ 'Cache-Control' => 'max-age=60', Age => 61, @tag ], 304,
              [ ] ],
    age => [ [ @stale, @tag ], 304, [ @fresh, Age => 10 ] ],
    accel => [ [ @stale, @tag ], 304, [ 'X-Accel-Expires' => 40 ] ],
    still => [ [ @stale, @tag ], 304, [ ] ],
    nocache => [ [ 'Cache-Control' => 'no-cache', @tag ], 304,
                 [ 'Cache-Control' => 'no-cache', 'X-Time' => 'again' ] ],
    aging => [ [ 'Cache-Control' => 'no-cache, max-age=60', @tag ], 304,
               [ ] ],

    nostore => [ [ @stale, @tag ], 304, [ 'Cache-Control' => 'no-store' ] ],
    private => [ [ @stale, @tag ], 304, [ 'Cache-Control' =>
                                          'private, max-age=60' ] ],
    cookie => [ [ @stale, @tag ], 304, [ @fresh, 'Set-Cookie' => 'id=1' ] ],
    star => [ [ @stale, @tag ], 304, [ @fresh, Vary => '*' ] ],

    changed => [ [ @stale, @tag ], 200, [ @fresh, ETag => '"v2"' ] ],
    gone => [ [ @stale, @tag ], 404, [ @fresh ] ],
    error => [ [ @stale, @tag ], 503, [ ] ],
    refused => [ [ @stale, @tag ], 200, [ 'Cache-Control' => 'no-store' ] ],

    none => [ [ @stale ], 304, [ @fresh ] ],
    valid => [ [ @stale, @tag ], 304, [ 'Cache-Control' => 'public' ] ],
    missing => [ [ 'Cache-Control' => 'max-age=0', @tag ], 304, [ @fresh ],
                 '404 Missing' ],
    moved => [ [ @stale, @tag, Location => '/there' ], 304, [ @fresh ],
               '301 Moved' ],
    page => [ [ @stale, @tag ], 304, [ @fresh ] ],
    empty => [ [ @stale, @tag ], 304, [ @fresh ] ],
    one => [ [ @stale, @tag ], 304, [ @fresh ] ],
    large => [ [ @stale, @tag ], 304, [ @fresh ] ],
);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone        api:1m server=%%REDIS%%
                                  connect_timeout=5s timeout=5s;
    redis_proxy_cache_zone        brief:1m server=%%REDIS%% keep=20s
                                  connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget      5s;
    redis_proxy_cache_revalidate  on;

    upstream origin {
        server     %%ORIGIN%%;
        keepalive  4;
    }

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_TLS%% ssl http2;

        ssl_certificate      %%CRT%%;
        ssl_certificate_key  %%CRT_KEY%%;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $request_uri;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /direct/ {
            proxy_pass          http://origin;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
            proxy_buffering     off;
        }

        location /keep/ {
            proxy_pass          http://origin;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
        }

        location /gzip/ {
            proxy_pass       http://%%ORIGIN%%;
            gzip             on;
            gzip_types       text/plain;
            gzip_min_length  1;
        }

        location /ssi/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_key     $uri;
            ssi                       on;
            ssi_types                 text/plain;
        }

        location /brief/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  brief;
        }

        location /valid/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_valid  200 50s;
        }

        location /hides/ {
            proxy_pass         http://%%ORIGIN%%;
            proxy_hide_header  X-New;
        }

        location /both/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  $uri;
            redis_proxy_no_cache   $arg_no_cache;
        }

        location /off/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_key         /both/x;
            redis_proxy_cache_revalidate  off;
        }
    }
CONF

my ($crt, $crt_key) = $t->certificate();
$t->set(CRT => $crt, CRT_KEY => $crt_key);

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);

my ($r, $last, $miss, $hit, $c);

# the validators reach the origin as they are stored, byte for byte

for (
    [ 'etag',    '"v1"',     undef ],
    [ 'date',    undef,      $modified ],
    [ 'two',     '"v1"',     $modified ],
    [ 'weak',    'W/"a, b"', undef ],
    [ 'odd',     '"%22\\ "', undef ],
    [ 'bare',    'bare',     undef ],
    [ 'rfc850',  undef,      'Monday, 01-Jan-24 00:00:00 GMT' ],
    [ 'asctime', undef,      'Mon Jan  1 00:00:00 2024' ],
    [ 'missing', '"v1"',     undef ],
    [ 'moved',   '"v1"',     undef ],
) {
    my ($kind, $match, $since) = @$_;

    my $uri = "/x/$kind";
    my $miss = $one->get($uri);
    is($miss->verdict, 'MISS -', "$kind: what is stale at once is stored");

    my $r = $one->get($uri, 'X-Mine' => 'mine');
    is($r->verdict, 'REVALIDATED -', 'and validated');
    is($r->line, $miss->line, 'it has the status line that is stored');
    is($r->body, $miss->body, 'and the body');
    ok($r->complete, 'and ends well');

    my $last = $origin->latest($uri);
    is_deeply([ $last->headers('If-None-Match') ],
              [ defined $match ? $match : () ], 'If-None-Match is the ETag');
    is_deeply([ $last->headers('If-Modified-Since') ],
              [ defined $since ? $since : () ],
              'If-Modified-Since is Last-Modified');
    is($last->header('X-Mine'), 'mine', 'the other headers go through');
    is($last->method, 'GET', 'in a GET');
    is($r->logged('none_match'), '', 'the log does not have what we added');

    for my $nginx ($one, $two) {
        my $hit = $nginx->get($uri);
        is($hit->verdict, 'HIT -', 'then it is fresh');
        is($hit->line, $miss->line, 'with its status line');
        is($hit->body, $miss->body, 'and its body');
        is($hit->header('Cache-Control'), 'max-age=60',
           'and what the 304 said');
    }

    is($origin->count($uri), 2, 'the origin was asked twice in all');
}

# RFC 9111, 3.2: what a 304 updates and what it does not

$miss = $one->get('/x/headers');
$r = $one->get('/x/headers');
is($r->verdict, 'REVALIDATED -', 'a 304 with many headers');
$hit = $two->get('/x/headers');
is($hit->verdict, 'HIT -', 'is a hit afterwards on the second instance');

for ([ 'the first to see it', $r ], [ 'the next one', $hit ],
     [ 'another hit', $one->get('/x/headers') ])
{
    my ($who, $got) = @$_;

    is($got->status, 200, "$who gets a 200");
    is($got->body, $miss->body, 'of the stored body');
    is($got->header('X-Old'), 'old', 'what the 304 has not stays');
    is($got->header('X-New'), 'new', 'what is new is added');
    is_deeply([ $got->headers('X-Many') ], [ 'three' ],
              'all lines of a name are replaced');
    is_deeply([ $got->headers('X-Case') ], [ 'new' ], 'in whatever case');
    is_deeply([ $got->headers('Link') ], [ '</b>', '</c>' ],
              'also those that nginx knows');
    is_deeply([ $got->headers('Cache-Control') ], [ 'max-age=60' ],
              'Cache-Control is the new one');
    is_deeply([ $got->headers('ETag') ], [ '"v1"' ], 'there is one ETag');
    is_deeply([ $got->headers('Content-Length') ], [ length $miss->body ],
              'Content-Length is that of the body');
    is($got->header('Content-Encoding'), undef,
       'no encoding that the body has not');
    is($got->header('Content-Range'), undef, 'no Content-Range');
    is($got->header('Content-Type'), 'text/plain', 'Content-Type stays');
    is($got->header($_), undef, "$_ is not for others")
        for 'X-Hop', 'Keep-Alive';
    is(scalar(my @d = $got->headers('Date')), 1, 'there is one Date');
}

$one->get('/hides/headers');
$one->get('/hides/headers');
$hit = $one->get('/hides/headers');
is($hit->header('X-New'), undef,
   'what proxy_hide_header hides does not come by a 304');
is($hit->header('X-Many'), 'three', 'the rest does');

# how long it then lives: what the 304 says, in the frame of what is stored

for (
    [ '/x/plain?life',    60, 'max-age of the 304' ],
    [ '/x/aged?life',     60, 'the stored max-age, from now on' ],
    [ '/x/age?life',      50, 'max-age less the Age of the 304' ],
    [ '/x/accel?life',    40, 'X-Accel-Expires of the 304' ],
    [ '/valid/valid?l',   50, 'redis_proxy_cache_valid' ],
) {
    my ($uri, $seconds, $name) = @$_;

    $one->get($uri);
    is($one->get($uri)->verdict, 'REVALIDATED -', "$uri is validated");

    my $left = $redis->pttl("api:{$uri}") / 1000 - 600;
    ok($left <= $seconds && $left > $seconds - 5, "its life: $name")
        or diag("$left, not $seconds");

    my $hit = $two->get($uri);
    is($hit->verdict, 'HIT -', 'and it is a hit');
    like($hit->header('Age'), $uri =~ m{/age\b} ? qr/^1\d$/ : qr/^\d$/,
         'of the right age');
}

# keep=: how long a stale one is there for that

$one->get('/brief/plain');
ok($redis->pttl('brief:{/brief/plain}') <= 20000, 'a stale one is kept 20 s');
$one->get('/brief/plain');
my $left = $redis->pttl('brief:{/brief/plain}');
ok($left > 70000 && $left <= 80000, 'a fresh one that much longer')
    or diag($left);

# a 304 that makes it no fresher, and no-cache: asked each time

for my $kind ('still', 'nocache', 'aging') {
    my $uri = "/x/$kind";
    my $miss = $one->get($uri);
    is($miss->verdict, 'MISS -', "$kind: stored");

    for my $nginx ($one, $two, $one) {
        my $r = $nginx->get($uri);
        is($r->verdict, 'REVALIDATED -', 'validated each time');
        is($r->body, $miss->body, 'the body is the stored one');
        is($r->header('X-Time'), $kind eq 'nocache' ? 'again' : undef,
           'the headers are updated');
    }

    is($origin->count($uri), 4, 'the origin was asked each time');
    is(scalar(grep { ($_->header('If-None-Match') // '') eq '"v1"' }
              $origin->requests($uri)), 3, 'with the condition');
}

# a 304 that must not be stored: this client gets its response, the next one
# asks again, and nothing of the 304 is there for it

for (
    [ 'nostore', 'no_store' ],
    [ 'private', 'private' ],
    [ 'star',    'vary' ],
) {
    my ($kind, $reason) = @$_;

    my $uri = "/x/$kind";
    my $miss = $one->get($uri);
    is($miss->verdict, 'MISS -', "$kind: stored");

    for my $n (1, 2) {
        my $r = $one->get($uri);
        is($r->verdict, "REVALIDATED $reason", "a 304: $reason");
        is($r->status, 200, 'is a 200 for the client');
        is($r->body, $miss->body, 'of the stored body');
    }

    is($origin->count($uri), 3, 'the origin was asked each time');
    unlike($redis->get("api:{$uri}") // '',
           qr/^Cache-Control:.*(?:private|no-store)|^Vary/mi,
           'what forbids it is not in Redis');
}

# a cookie is for no one but, at most, the one whose request it was

$miss = $one->get('/x/cookie');
$one->get('/x/cookie');
$r = $two->get('/x/cookie');
is($r->header('Set-Cookie'), undef, 'the cookie of a 304 is not for others');
is($r->body, $miss->body, 'they get the body');
unlike($redis->get('api:{/x/cookie}') // '', qr/Set-Cookie/i,
       'nor is it in Redis');

# redis_proxy_no_cache keeps an update from being stored as well

$miss = $one->get('/both/x?kept');
for my $n (1, 2) {
    $r = $one->get('/both/x?no_cache=1');
    is($r->verdict, 'REVALIDATED no_cache', 'redis_proxy_no_cache and a 304');
    is($r->body, $miss->body, 'give the stored body');
}
is($one->get('/both/x')->verdict, 'REVALIDATED -', 'and store nothing');
$redis->cmd('DEL', 'api:{/both/x}');

# another response takes its place

$miss = $one->get('/x/changed');
$r = $one->get('/x/changed');
is($r->verdict, 'EXPIRED -', 'a 200 to the condition');
isnt($r->body, $miss->body, 'is another response');
is($r->header('ETag'), '"v2"', 'with its ETag');

for my $nginx ($one, $two) {
    $hit = $nginx->get('/x/changed');
    is($hit->verdict, 'HIT -', 'which is stored');
    is($hit->body, $r->body, 'with its body');
    is($hit->header('ETag'), '"v2"', 'and its ETag');
}

$one->get('/x/gone');
is($one->get('/x/gone')->verdict, 'EXPIRED -', 'a 404 with a lifetime as well');
$hit = $two->get('/x/gone');
is($hit->verdict, 'HIT -', 'it is stored');
is($hit->status, 404, 'as a 404');

# an error does not: the entry is there for the next one

$miss = $one->get('/x/error');
for my $n (1, 2) {
    $r = $one->get('/x/error');
    like($r->verdict, qr/^EXPIRED (?!-$)/, "$n: a 503 to the condition");
    is($r->status, 503, 'is what the client gets');
    like($redis->get('api:{/x/error}'), qr/\Q@{[ $miss->body ]}\E\z/,
         'the entry is left as it was');
    is($origin->latest('/x/error')->header('If-None-Match'), '"v1"',
       'and its validator was used');
}

# nor if the first of these came when the entry was on its way to Redis, so that
# nothing was there yet: what it waited for was

{
    my $uri = '/x/error?early';
    my $c = $one->begin('GET', $uri);

    ok((wait_for { $origin->count($uri) }), 'it is on its way');
    $redis->cmd(qw(CLIENT PAUSE 60000 WRITE));
    $origin->say('early');
    is($c->response('GET')->status, 200,
       'the client has it, and Redis has not');

    my $gets = $redis->calls('get');
    $c = $one->begin('GET', $uri);
    ok((wait_for { $redis->calls('get') > $gets }),
       'the next one finds nothing');
    $redis->cmd(qw(CLIENT UNPAUSE));
    is($c->response('GET')->status, 503, 'and waits: a 503 to the condition');
    is($one->get($uri)->status, 503, 'which counts for the one after it');
    is($origin->latest($uri)->header('If-None-Match'), '"v1"',
       'with the validator');
}

$one->get('/x/refused');
$r = $one->get('/x/refused');
is($r->verdict, 'EXPIRED no_store', 'a 200 with no-store');
is($r->status, 200, 'is what the client gets');
isnt($one->get('/x/refused')->verdict, 'HIT -', 'and no one else');

# nothing to validate with

$r = $one->get('/x/none');
is($r->verdict, 'MISS stale', 'stale without a validator: not stored');
$one->get('/x/none');
is($origin->latest('/x/none')->header($_), undef, "no $_ is made up")
    for 'If-None-Match', 'If-Modified-Since';

$one->get('/x/fine');
ok($redis->pttl('api:{/x/fine}') <= 60000,
   'nor is it kept longer than it is fresh');

# off: what is stale is fetched, whoever stored it

$miss = $one->get('/both/x');
is($miss->verdict, 'MISS -', 'stored where it is on');
$r = $one->get('/off/x');
is($r->verdict, 'EXPIRED stale', 'is fetched where it is off');
is($origin->latest('/off/x')->header('If-None-Match'), undef,
   'with no condition');
isnt($r->body, $miss->body, 'as another response');

# what the client wants of it

for (
    [ 'If-None-Match', [ 'If-None-Match' => '"v1"' ], 304, '' ],
    [ 'another If-None-Match', [ 'If-None-Match' => '"v0"' ], 200 ],
    [ 'If-None-Match: *', [ 'If-None-Match' => '*' ], 304, '' ],
    [ 'If-Modified-Since', [ 'If-Modified-Since' => $modified ], 304, '' ],
    [ 'If-Modified-Since, before', [ 'If-Modified-Since' =>
        'Sun, 31 Dec 2023 00:00:00 GMT' ], 200 ],
    [ 'If-Match', [ 'If-Match' => '"v1"' ], 200 ],
    [ 'another If-Match', [ 'If-Match' => '"v0"' ], 412 ],
    [ 'Range', [ Range => 'bytes=0-4' ], 206, 5 ],
    [ 'several ranges', [ Range => 'bytes=0-1,4-5' ], 206, undef ],
    [ 'Range and If-Range', [ Range => 'bytes=-3', 'If-Range' => '"v1"' ],
      206, -3 ],
    [ 'Range and another If-Range', [ Range => 'bytes=-3', 'If-Range' =>
        '"v0"' ], 200 ],
    [ 'Range, none there', [ Range => 'bytes=9999-' ], 416 ],
    [ 'all of them', [ Range => 'bytes=0-4', 'If-Range' => '"v1"',
        'If-None-Match' => '"x", "y"', 'If-Modified-Since' => $modified,
        'If-Match' => '"v1"', 'If-Unmodified-Since' => $modified ], 206, 5 ],
) {
    my ($name, $headers, $status, $part) = @$_;

    my $uri = '/x/two?' . ++$c;
    my $miss = $one->get($uri);

    my $r = $one->get($uri, @$headers);
    is($r->status, $status, "$name, while it is validated: $status");
    ok($r->complete, 'ends well');
    is($r->verdict, 'REVALIDATED -', 'the verdict is that it was')
        if $status !~ /^4/;

    if ($status == 200) {
        is($r->body, $miss->body, 'with the body');
    } elsif ($status == 206 && defined $part) {
        is($r->body, $part > 0 ? substr($miss->body, 0, $part)
                               : substr($miss->body, $part), 'with the part');
    } elsif ($status == 304) {
        is($r->body, '', 'without a body');
        is($r->header('ETag'), '"v1"', 'but with ETag');
        is($r->header('Cache-Control'), 'max-age=60', 'of the update');
        is($r->header('Content-Length'), undef, 'and no length');
    }

    my $last = $origin->latest($uri);
    is_deeply([ $last->headers('If-None-Match') ], [ '"v1"' ],
              'the origin saw our condition');
    is_deeply([ $last->headers('If-Modified-Since') ], [ $modified ],
              'both of it');
    is_deeply([ grep { defined $last->header($_) }
                qw(Range If-Range If-Match If-Unmodified-Since) ], [],
              'and none of the client\'s');
    is($r->logged('range'), { @$headers }->{Range} || '',
       'the log has the client\'s Range');
    is($r->logged('none_match'), { @$headers }->{'If-None-Match'} || '',
       'and its If-None-Match');

    $one->settle();
    my $hit = $two->get($uri);
    is($hit->verdict, 'HIT -', 'and it is fresh for all');
    is($hit->status, 200, 'as a 200');
    is($hit->body, $miss->body, 'with the whole body');
}

# a 304 for the client, another response from the origin

$one->get('/x/changed?mine');
$r = $one->get('/x/changed?mine', 'If-None-Match' => '"v1"');
is($r->status, 200, 'the client has what is stale, the origin has another');
is($r->header('ETag'), '"v2"', 'which the client gets');
$one->get('/x/changed?other');
$r = $one->get('/x/changed?other', 'If-None-Match' => '"v2"');
is($r->status, 304, 'the client has what the origin has, and we have not');
$r = $two->get('/x/changed?other');
is($r->status, 200, 'the next one gets it whole');
is($r->header('ETag'), '"v2"', 'and new');

# HEAD

$miss = $one->get('/x/two?head');
$r = $one->head('/x/two?head');
is($r->verdict, 'REVALIDATED -', 'HEAD validates');
is($r->status, 200, 'is a 200');
is($r->body, '', 'of no body');
is($r->header('Content-Length'), length $miss->body, 'but its length');
is($r->header('Cache-Control'), 'max-age=60', 'and the updated headers');
is($origin->latest('/x/two?head')->header('If-None-Match'), '"v1"',
   'the origin was asked with the condition');
$one->settle();
$hit = $two->get('/x/two?head');
is($hit->verdict, 'HIT -', 'GET is a hit then');
is($hit->body, $miss->body, 'of the whole body');

$one->get('/x/changed?head');
$r = $one->head('/x/changed?head');
is($r->header('ETag'), '"v2"', 'HEAD, and it has changed');
$one->settle();
$hit = $two->get('/x/changed?head');
is($hit->verdict, 'HIT -', 'the new one is stored');
is($hit->header('ETag'), '"v2"', 'whole');

# sizes, buffering, keepalive on both sides, compression, HTTP/2

for my $where ('x', 'direct', 'keep', 'gzip') {
    for my $kind ('empty', 'one', 'large') {
        for my $way ('http/1.0', 'http/1.1', 'http/2') {
            my $uri = "/$where/$kind?" . $way =~ s{/}{}r;
            my $body = body_of($kind, 1);

            my @got = map { ask($one, $way, $uri) } 1 .. 3;
            my $what = "$where, $kind, $way";

            is($got[1]->verdict, 'REVALIDATED -', "$what: validated");
            is($got[2]->verdict, 'HIT -', 'and a hit then');

            for my $n (0 .. 2) {
                ok($got[$n]->complete, "response $n ends well");
                is(md($got[$n]), md_of($body), 'the body is the same');
            }

            is(md(ask($two, 'http/1.1', $uri)), md_of($body),
               'on the other instance, too');
        }
    }
}

$one->get('/gzip/large?z');
$r = $one->get('/gzip/large?z', 'Accept-Encoding' => 'gzip');
is($r->verdict, 'REVALIDATED -', 'validated through gzip');
is($r->header('Content-Encoding'), 'gzip', 'is compressed');
is(md_of(gunzip($r->body)), md_of($large), 'and right');
$r = $two->get('/gzip/large?z', 'Accept-Encoding' => 'gzip');
is($r->verdict, 'HIT -', 'a hit then');
is(md_of(gunzip($r->body)), md_of($large), 'is right as well');

# a page and what it includes, each validated for itself

for my $n (1 .. 3) {
    $r = $one->get('/ssi/page', $n == 3 ? ('If-None-Match' => '"v0"',
                                           Range => 'bytes=0-2') : ());
    is($r->status, 200, "$n: a page with an include") if $n < 3;
    is(md($r), md_of("[$large]"), 'is whole') if $n < 3;
    ok($r->complete, 'and ends well');

    my @asked = $origin->requests('/ssi/part');
    is(scalar(@asked), $n == 1 ? 1 : 2, 'what is included is validated once');
    is($asked[-1]->header('If-None-Match'), $n == 1 ? undef : '"v1"',
       'with its own validator');
    is($origin->latest('/ssi/page')->header('If-None-Match'),
       $n == 1 ? undef : '"v1"', 'the page with its');
}

# many on one connection

$c = $one->connect();
my $bad = 0;
for my $n (1 .. 60) {
    my $kind = (qw(still empty large nocache plain))[$n % 5];
    my $r = $c->request('GET', "/keep/$kind?conn", keepalive => 1,
                        headers => [ $n % 7 == 3 ? ('If-None-Match' => '"v1"')
                                   : $n % 7 == 5 ? (Range => 'bytes=0-0')
                                   : () ]);
    $bad++ if !$r || !$r->complete || $r->status !~ /^(?:200|206|304|416)$/;
    $bad++ if $r && $r->status == 200 && $kind =~ /^(?:empty|large)$/
        && $r->body ne body_of($kind, 1);
}
is($bad, 0, 'sixty on one connection are all right');
$c->close();

# the origin is gone: the client is told, the entry stays

$miss = $one->get('/x/still?away');
$origin->stop();
$r = $one->get('/x/still?away');
is($r->status, 502, 'no origin: a 502');
$origin->start();
$r = $one->get('/x/still?away');
is($r->verdict, 'REVALIDATED -', 'then it is there again');
is($r->body, $miss->body, 'and so is the entry');

$t->done();


sub ask {
    my ($nginx, $way, $uri) = @_;

    return $nginx->curl('--http2', 'https://127.0.0.1:' . $nginx->port('TLS')
                        . $uri) if $way eq 'http/2';

    return $nginx->request('GET', $uri, version => $way =~ s{.*/}{}r);
}


# bodies in a form that a failed test can print

sub md_of {
    my ($body) = @_;

    require Digest::MD5;
    return length($body) . ' ' . Digest::MD5::md5_hex($body);
}


sub md { return md_of($_[0]->body) }


sub gunzip {
    my ($data) = @_;

    require IO::Uncompress::Gunzip;
    my $out = '';
    IO::Uncompress::Gunzip::gunzip(\$data, \$out);
    return $out;
}


sub body_of {
    my ($kind, $n) = @_;

    return '[<!--#include virtual="/ssi/part" -->]' if $kind eq 'page';

    return $kind eq 'empty' ? '' : $kind eq 'one' ? '1'
        : $kind eq 'large' ? $large : "body $n of $kind";
}


sub origin {
    my ($req, $reply) = @_;

    my ($kind) = $req->path =~ m{^/\w+/(\w+)};
    $kind = 'large' if $req->path eq '/ssi/part';
    my $body = body_of($kind, $req->n);

    my $conditional = $req->header('If-None-Match')
        || $req->header('If-Modified-Since');

    my ($first, $status, $then, $line) = @{
        $kinds{ $kind eq 'x' ? 'plain' : $kind }
            || [ [ 'Cache-Control' => 'max-age=60' ], 304, [ ] ] };

    if (!$conditional) {
        $reply->wait_word('early') if $req->query eq 'early';
        return $reply->send($line || 200, $first, $body);
    }

    return $reply->head($status, @$then) if $status == 304;

    $reply->send($status, $then, $body);
}
