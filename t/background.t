#!/usr/bin/perl

# A refresh in the background is nobody's request: no client waits for it, no
# connection is held by it, and all instances together make one.  nginx's own
# holds the connection of the client that it came from, which then waits for
# the upstream with its next request.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $large = join '', map { sprintf "%09d\n", $_ } 1 .. 100_000;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);
my ($crt, $crt_key) = $t->certificate();
$t->set(CRT => $crt, CRT_KEY => $crt_key);

my $conf = <<'CONF';
    redis_proxy_cache_zone           api:1m server=%%REDIS%%
                                     connect_timeout=30s timeout=30s;
    redis_proxy_cache_budget         30s;
    redis_proxy_cache_max_size       8m;
    redis_proxy_cache_refresh_pause  0;
    redis_proxy_cache_use_stale      updating error http_503;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_TLS%% ssl http2;

        ssl_certificate      %%CRT%%;
        ssl_certificate_key  %%CRT_KEY%%;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        set                    $made "$scheme-$uri-$arg_a-$http_x_mine";

        add_header  X-Cache $redis_proxy_cache_status always;

        location / {
            proxy_pass        http://%%ORIGIN%%;
            proxy_set_header  X-Scheme $scheme;
            proxy_set_header  X-Host $http_host;
            proxy_set_header  X-Made $made;
            proxy_set_header  X-Remote $remote_addr;
            proxy_set_header  X-Port $server_port;
            proxy_set_header  X-Server $server_addr:$server_name;
            proxy_set_header  X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header  X-Cookie $cookie_session;
            proxy_set_header  X-Args $args;
            proxy_set_header  X-Method $request_method;
        }

        location /ask/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
        }

        location /pause/ {
            proxy_pass                       http://%%ORIGIN%%;
            redis_proxy_cache_refresh_pause  1s;
        }

        location /off/ {
            proxy_pass                           http://%%ORIGIN%%;
            redis_proxy_cache_background_update  off;
        }

        location /direct/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }

        location /rewritten/ {
            rewrite  ^/rewritten/(.*) /inner/$1?b=2 last;
        }

        location /inner/ {
            proxy_pass        http://%%ORIGIN%%/mapped/;
            proxy_set_header  X-Args $args;
        }

        location /regex/ {
            location ~ ^/regex/(?<name>\w+)/(\w+)$ {
                proxy_pass  http://%%ORIGIN%%/by/$name/$2;
            }
        }
    }
CONF

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);
my ($r, $c, $entry, $before);

# All is fetched at the beginning, and has become stale when the story goes
# on.

my @uris = qw(/free /count /ask/304 /ask/large /ask/cookie /pause/1 /none/1
              /headers /tls /range /match /head /cookie /private /gone /off/1
              /direct/1 /left /reload /post /ask/200 /rewritten/a
              /regex/one/two /log /purged /vary);

$one->get($_) for @uris;
my @many = map { "/many/$_" } 1 .. 60;
$one->get($_) for @many;
$one->settle();
RCache::Entry->wait_stale($redis, "api:{$many[-1]}");

# nobody waits, and the connection is free for what comes next

$c = $one->connect();
$r = $c->request('GET', '/free', keepalive => 1);
is($r->body, 'answer 1 to /free', 'what is stale comes at once');
like($r->header('X-Cache'), qr/^(?:STALE|UPDATING)$/, 'as such');
ok(wait_for { $origin->count('/free') == 2 }, 'the origin is asked');
$r = $c->request('GET', '/free', keepalive => 1);
is($r->body, 'answer 1 to /free', 'the same connection is served again');
is($r->header('X-Cache'), 'UPDATING', 'while the update goes on');
$r = $c->request('GET', '/fresh', keepalive => 1);
is($r->body, 'answer 1 to /fresh', 'and with another page');
is($origin->count('/free'), 2, 'the origin has not been asked again');
$origin->say('/free');
ok(wait_for { $one->get('/free')->verdict eq 'HIT -' }, 'then it is fresh');
is($c->request('GET', '/free')->body, 'answer 2 to /free', 'the new one');
is($two->get('/free')->body, 'answer 2 to /free', 'also elsewhere');

# pipelined, and a client that closes at once

$c = $one->begin('GET', '/left');
is($c->answer()->body, 'answer 1 to /left', 'a client that leaves');
$c->close();
ok(wait_for { $origin->count('/left') == 2 }, 'leaves an update behind');
$origin->say('/left');
ok(wait_for { $one->get('/left')->verdict eq 'HIT -' }, 'which ends well');
is($origin->count('/left'), 2, 'of one fetch');

# a variant: what the marker said is not to be looked for where it was

$r = $one->get('/vary');
is($r->body, 'answer 1 to /vary', 'a stale variant');
ok(wait_for { $origin->count('/vary') == 2 }, 'is refreshed');
ok(wait_for { $one->get('/vary')->verdict eq 'HIT -' }, 'the new one is there');

# one for all instances

for my $nginx (($one, $two) x 10) {
    $r = $nginx->get('/count');
    is($r->body, 'answer 1 to /count', 'stale') if $r->body !~ /^answer 1/;
}
ok(wait_for { $origin->count('/count') == 2 }, 'two instances, one update');
$one->get('/free') && $two->get('/free');
is($origin->count('/count'), 2, 'not more');
$origin->say('/count');
ok(wait_for { $two->get('/count')->verdict eq 'HIT -' }, 'for both');

# unbuffered

$r = $one->get('/direct/1');
$origin->say('/direct/1');
ok(wait_for { $one->get('/direct/1')->body eq 'answer 2 to /direct/1' },
   'without buffers');
is($origin->count('/direct/1'), 2, 'in one fetch');

# off: the one that finds it stale waits

$c = $one->begin('GET', '/off/1');
ok(wait_for { $origin->count('/off/1') == 2 }, 'off: the client waits');
ok(!IO::Select->new($c->{sock})->can_read(0.2), 'for the upstream');
$origin->say('/off/1');
is($c->answer()->body, 'answer 2 to /off/1', 'and has the new one');

# 304: lifetime and headers are new, the body stays where it is

$before = RCache::Entry->read($redis, 'api:{/ask/304}');
$r = $one->get('/ask/304');
is($r->body, 'answer 1 to /ask/304', 'with a validator');
ok(wait_for { $one->get('/ask/304')->verdict eq 'HIT -' }, 'a 304');
is($origin->count('/ask/304'), 2, 'once');
my $asked = $origin->latest('/ask/304');
is($asked->header('If-None-Match'), '"v1"', 'in answer to a condition');
$entry = RCache::Entry->read($redis, 'api:{/ask/304}');
is($entry->{body}, $before->{body}, 'the body is as it was');
is($entry->{body_sum}, $before->{body_sum}, 'with its sum');
cmp_ok($entry->{created}, '>', $before->{created}, 'it is younger');
ok($entry->{lifetime} > 55000 && $entry->{lifetime} <= 60000,
   'lives as long as the 304 says') or diag($entry->{lifetime});
is($entry->header('X-Time'), '2', 'has the headers of the 304');
is($entry->header('X-Once'), '1', 'and keeps the others');
is($entry->{status}, 200, 'it is a 200');
is($two->get('/ask/304')->header('X-Time'), '2', 'for the others as well');
cmp_ok($redis->pttl('api:{/ask/304}'), '>', 55000, 'and stays as long');

$r = $one->get('/ask/large');
is(length $r->body, length $large, 'a megabyte, stale');
my $taken = input();
ok(wait_for { $origin->count('/ask/large') == 2 }, 'is asked for');
ok(wait_for {
    RCache::Entry->read($redis, 'api:{/ask/large}')->header('X-Time') eq '2'
}, 'a 304');
cmp_ok(input() - $taken, '<', 100_000, 'it does not travel to Redis again');
$r = $two->get('/ask/large');
is($r->verdict, 'HIT -', 'it is fresh');
ok($r->body eq $large, 'of the right bytes');

# a 200 to the condition, and what may not be stored

$one->get('/ask/200');
ok(wait_for { $one->get('/ask/200')->body eq 'answer 2 to /ask/200' },
   'another answer to the condition');

for my $uri ('/cookie', '/private', '/ask/cookie') {
    $one->get($uri);
    ok(wait_for { $origin->count($uri) >= 2 }, "$uri: asked");
    for my $nginx ($one, $two, $one) {
        $r = $nginx->get($uri);
        is($r->header('Set-Cookie'), undef, 'no cookie of someone else')
            if $r->body eq "answer 1 to $uri";
        unlike($redis->get("api:{$uri}") // '', qr/Set-Cookie|Control: private/,
               'which is not in Redis');
    }
}

# a failing one: nothing is lost, and with a pause nobody asks again

$r = $one->get('/none/1');
ok(wait_for { $origin->count('/none/1') == 2 }, 'an update that fails');
ok(wait_for { $one->get('/none/1'); $origin->count('/none/1') >= 4 },
   'without a pause the next one tries again');
is($one->get('/none/1')->body, 'answer 1 to /none/1', 'what is stale stays');

$r = $one->get('/pause/1');
ok(wait_for { $origin->count('/pause/1') == 2 }, 'with a pause');
ok(wait_for { ($redis->get('api:{/pause/1}:l') // '') eq '!' },
   'it is written down that it failed');
my $left = $redis->pttl('api:{/pause/1}:l');
ok($left > 0 && $left <= 1000, 'for its time') or diag($left);
is(scalar(grep { $_->get('/pause/1')->body ne 'answer 1 to /pause/1' }
          ($one, $two) x 10), 0, 'all get what is stale');
is($origin->count('/pause/1'), 2, 'and nobody asks') if $redis->exists(
    'api:{/pause/1}:l');
ok(wait_for { !$redis->exists('api:{/pause/1}:l') }, 'the pause ends');
$origin->say('/pause/1');
ok(wait_for { $two->get('/pause/1')->verdict eq 'HIT -' },
   'the next one asks, and is lucky');
is($origin->count('/pause/1'), 3, 'once');

# gone for good: a 404 with a lifetime takes its place

$one->get('/gone');
ok(wait_for { $one->get('/gone')->status == 404 }, 'a 404');
is($one->get('/gone')->verdict, 'HIT -', 'is stored, as it says');

# what the origin is asked with: as if the client had asked itself, but for
# what is only the client's

for my $case (
    [ 'headers', sub { $one->get('/headers?a=1&b=2', 'X-Mine' => 'mine',
                                 Cookie => 'session=abc; x=y',
                                 'User-Agent' => 'test/1', Accept => 'a/b',
                                 'Accept-Encoding' => 'br') } ],
    [ 'tls', sub { $one->curl('--http2', '-H', 'Cookie: session=abc',
                              '-H', 'X-Mine: mine', '-H', 'Host: other.host',
                              'https://127.0.0.1:' . $one->port('TLS')
                              . '/tls?a=1') } ],
) {
    my ($name, $request) = @$case;
    my $uri = "/$name";

    # the same by a client, with nothing stored
    my $kept = $redis->cmd('DUMP', "api:{$uri}");
    $redis->cmd('DEL', "api:{$uri}");
    $r = $request->();
    is($r->status, 200, "$name: a client");
    my ($direct) = (grep { $_->path eq $uri } $origin->requests())[-1];

    $redis->cmd('RESTORE', "api:{$uri}", 600_000, $kept, 'REPLACE');
    my $seen = $origin->count();
    $r = $request->();
    is($r->body, "answer 1 to $uri", 'what is stale');
    ok(wait_for { $origin->count() > $seen }, 'the origin is asked');
    my ($behind) = (grep { $_->path eq $uri } $origin->requests())[-1];

    is($behind->method, 'GET', 'with GET');
    is($behind->uri, $direct->uri, 'the same URI');

    my @same = grep { !/^X-Test:/i } map { "$_->[0]: $_->[1]" }
               @{ $direct->{pairs} };
    is_deeply([ grep { !/^X-Test:/i } map { "$_->[0]: $_->[1]" }
                @{ $behind->{pairs} } ], \@same,
              'and the same headers');
    is($behind->header('X-Scheme'), $name eq 'tls' ? 'https' : 'http',
       'also $scheme');
    is($behind->header('X-Cookie'), 'abc', 'and a cookie');
    is($behind->header('X-Remote'), '127.0.0.1', 'and the address');
}

ok(wait_for { $one->curl('--http2', '-H', 'Host: other.host',
                         'https://127.0.0.1:' . $one->port('TLS') . '/tls')
              ->verdict eq 'HIT -' }, 'HTTP/2 has what was fetched behind it');

$r = $one->get('/range', Range => 'bytes=0-5');
is($r->status . $r->body, '206answer', 'a range of what is stale');
ok(wait_for { $origin->count('/range') == 2 }, 'is asked for');
is($origin->latest('/range')->header('Range'), undef, 'as a whole');
ok(wait_for { $one->get('/range')->body eq 'answer 2 to /range' },
   'and that is stored');

$r = $one->get('/match', 'If-None-Match' => '"v1"');
is($r->status, 304, 'a condition');
ok(wait_for { $origin->count('/match') == 2 }, 'is asked for');
is($origin->latest('/match')->header('If-None-Match'), undef, 'without it');
ok(wait_for { $one->get('/match')->body eq 'answer 2 to /match' },
   'the whole is stored');

$r = $one->head('/head');
is($r->status, 200, 'HEAD');
ok(wait_for { $origin->count('/head') == 2 }, 'is asked for');
is($origin->latest('/head')->method, 'GET', 'with GET');
ok(wait_for { $one->get('/head')->body eq 'answer 2 to /head' },
   'the body is stored');

# a GET with a body passes the cache by; the connection goes on, and an update
# is another request, without that body

$c = $one->connect();
$r = $c->request('GET', '/post', keepalive => 1, body => 'x' x 100_000);
is($r->body, 'answer 2 to /post', 'a request with a body');
$r = $c->request('GET', '/post');
is($r->body, 'answer 1 to /post', 'and one without behind it');
ok(wait_for { $one->get('/post')->body eq 'answer 3 to /post' }, 'updated');
is($origin->latest('/post')->header('Content-Length'), undef,
   'without that body, and without its length');

# from other places in the configuration

$r = $one->get('/rewritten/a?c=3');
ok(wait_for { $one->get('/rewritten/a?c=3')->body =~ /^answer 2 to/ },
   'behind a rewrite');
is((grep { $_->path eq '/mapped/a' } $origin->requests())[-1]->uri,
   '/mapped/a?b=2&c=3', 'with its URI');
$r = $one->get('/regex/one/two');
ok(wait_for { $one->get('/regex/one/two')->body =~ /^answer 2 to/ },
   'in a location by a regular expression');
is($origin->count('/by/one/two'), 2, 'with its captures');

# a write while it is on its way: what was fetched before it is void

$r = $one->get('/purged');
ok(wait_for { $origin->count('/purged') == 2 }, 'an update on its way');
is($two->request('PUT', '/purged', body => 'x')->status, 200, 'a write');
$origin->say('/purged');
ok(wait_for { $one->get('/purged')->body eq 'answer 4 to /purged' },
   'what comes then is fetched behind it') or diag($one->get('/purged')->body);
is($_->get('/purged')->body, 'answer 4 to /purged', 'and stays')
    for $one, $two, $one;

# many at once

$_->body =~ /^answer 1 / or fail('stale') for map { $one->get($_) } @many;
ok(wait_for { 60 == grep { $origin->count($_) == 2 } @many },
   '60 updates at once');
$origin->say(@many);
ok(wait_for { 60 == grep { $one->get($_)->verdict eq 'HIT -' } @many },
   'all are done');

# a reload meanwhile: an update ends, and so does the old worker

my %old = map { $_ => 1 } $one->workers();
$one->get('/reload');
ok(wait_for { $origin->count('/reload') == 2 }, 'an update on its way');
ok($one->reload(), 'a reload');
$origin->say('/reload');
ok(wait_for { !grep { $old{$_} } $one->workers() }, 'the old worker goes');
ok(wait_for { $one->get('/reload')->body eq 'answer 2 to /reload' },
   'the update is stored, or made again');

# the access log has the clients' requests

my $clients = 1;
my $log = sub { $clients++; return $one->get('/log') };

$log->();
ok(wait_for { $log->()->verdict eq 'HIT -' }, 'one more update');
is($origin->count('/log'), 2, 'is a request to the origin');
is(scalar(grep { m{\|/log$} } split /\n/, slurp("$one->{dir}/access.log")),
   $clients, 'but none in the access log');

ok(wait_for { !grep { /:l$/ && ($redis->get($_) // '0') ne '0'
                      && ($redis->get($_) // '-') ne '-' } $redis->keys() },
   'no lock is left') or diag(join ' ', $redis->keys('*:l'));

$t->done();


# Bytes that Redis has had from all its clients.

sub input {
    my ($bytes) = $redis->cmd('INFO', 'stats') =~
                  /^total_net_input_bytes:(\d+)/m;
    return $bytes;
}


my %count;

sub origin {
    my ($req) = @_;

    my $path = $req->path;
    my $n = ++$count{$path};
    my $body = $path eq '/ask/large' ? $large : "answer $n to $path";
    my @life = ('Cache-Control' => $n > 1 || $path eq '/fresh' ? 'max-age=60'
                                           : 'max-age=1');

    return response(200, [ ], 'written') if $req->method eq 'PUT';

    push @life, 'X-Time' => $n, 'Content-Type' => 'text/x-test';
    push @life, Vary => 'X-Kind' if $path eq '/vary';
    push @life, ETag => '"v1"' if $path =~ m{^/(?:ask|match)};

    return response(200, [ @life, 'X-Once' => 1 ], $body) if $n == 1;

    if ($path =~ /304|large/) {
        return "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nX-Time: $n\r\n"
               . "Cache-Control: max-age=60\r\nConnection: close\r\n\r\n";
    }

    return response(503, [ ], 'failure') if $path eq '/none/1';
    return response(503, [ ], 'failure') if $path eq '/pause/1' && $n == 2;
    return response(404, [ @life ], 'gone') if $path eq '/gone';

    return response(200, [ @life, 'Set-Cookie' => 'id=1' ], $body)
        if $path =~ /cookie/;
    return response(200, [ 'Cache-Control' => 'private, max-age=60' ], $body)
        if $path eq '/private';

    return (\$path, response(200, \@life, $body))
        if $path =~ m{^/(?:free|left|count|direct|off|reload|many/|purged)}
           && $n == 2;

    return response(200, \@life, $body);
}
