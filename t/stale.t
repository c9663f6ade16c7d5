#!/usr/bin/perl

# When the upstream fails, what was right a minute ago is better than an error
# page, if the operator or the response itself allows that.  Too little of it
# and an outage of the upstream is one of the site; too much, and clients get
# what the origin forbade to be used.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

# kind of redis_proxy_cache_use_stale => what the origin does, what the client
# gets without something stale

my %kinds = (
    error          => [ 'reset', 502 ],
    timeout        => [ 'sleep', 504 ],
    invalid_header => [ 'nonsense', 502 ],
    map({ ("http_$_" => [ $_, $_ ]) } 500, 502, 503, 504, 403, 404, 429),
);

my @kinds = sort keys %kinds;

# All that is to be stale is fetched at the beginning, lives for a second, and
# has done so when the story goes on.  Who needs what else than max-age=1 says
# so here.

my %says = (
    '/own/while'      => [ 'max-age=1, stale-while-revalidate=600' ],
    '/ask/while-past' => [ 'max-age=1, stale-while-revalidate=1' ],
    '/own/if'         => [ 'max-age=1, stale-if-error=600' ],
    '/ask/if-past'    => [ 'max-age=1, stale-if-error=1' ],
    '/own/none'       => [ 'max-age=1' ],
    '/own/switch/1'   => [ 'max-age=1, stale-if-error=600' ],
    '/own/s-maxage'   => [ 's-maxage=1, stale-if-error=600' ],
    '/own/must'       => [ 'max-age=1, stale-if-error=600, '
                           . 'stale-while-revalidate=600, must-revalidate' ],
    '/own/proxy'      => [ 'max-age=1, stale-if-error=600, '
                           . 'stale-while-revalidate=600, proxy-revalidate' ],
    '/own/long'       => [ 'max-age=600, stale-if-error=600' ],
    '/foreground/1'   => [ 'max-age=1, stale-while-revalidate=600' ],
    '/must'           => [ 'max-age=1, must-revalidate' ],
    '/proxy'          => [ 'max-age=1, proxy-revalidate' ],
    '/s-maxage'       => [ 's-maxage=1' ],
    '/ask/all/no-cache' => [ 'max-age=1, no-cache' ],
    '/valid/1'        => [ ],
    '/status'         => [ 'max-age=1' ],
);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);
my $fastcgi = $t->raw('FASTCGI', \&fastcgi);
$t->set(NOBODY => '127.0.0.1:' . free_port());

# each kind alone, and all the others without it

my $locations = join '', map {
    my $kind = $_;
    my @others = grep { $_ ne $kind } @kinds;

    <<"CONF";
        location /only/$kind/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  $kind;
        }

        location /not/$kind/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  @others;
        }
CONF
} @kinds;

my $nginx = $t->nginx(<<'CONF' . $locations . "    }\n");
    redis_proxy_cache_zone           api:1m server=%%REDIS%%
                                     connect_timeout=30s timeout=30s;
    redis_proxy_cache_budget         30s;
    redis_proxy_cache_refresh_pause  0;

    upstream none {
        server     %%NOBODY%% max_fails=0;
    }

    upstream dead {
        server     %%NOBODY%% down;
        server     %%ORIGIN%% max_fails=1 fail_timeout=600s;
    }

    server {
        listen  127.0.0.1:%%PORT%%;
        root    %%DIR%%/html;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        proxy_read_timeout     300ms;
        proxy_set_header       X-Mode $http_x_mode;
        add_header             X-Cache $redis_proxy_cache_status always;

        location / {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  error timeout invalid_header
                                         http_500 http_503 http_404;
        }

        # what the response itself allows

        location /own/ {
            proxy_pass  http://%%ORIGIN%%;
        }

        # kept for another reason, so that its windows can be over

        location /ask/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
        }

        location /ask/all/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
            redis_proxy_cache_use_stale   error updating http_503;
        }

        location /own/switch/ {
            proxy_pass  http://$http_x_upstream;
        }

        location /off/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  off;
        }

        location /pages/ {
            proxy_pass              http://%%ORIGIN%%;
            proxy_intercept_errors  on;
            error_page              404 500 502 503 504 /sorry.html;

            redis_proxy_cache_use_stale  error http_503;
        }

        location = /sorry.html {
            redis_proxy_cache  off;
        }

        location /direct/ {
            proxy_pass                   http://%%ORIGIN%%;
            proxy_buffering              off;
            redis_proxy_cache_use_stale  error http_503;
        }

        location /page/ {
            proxy_pass                   http://%%ORIGIN%%;
            ssi                          on;
            redis_proxy_cache_use_stale  http_503;
        }

        location /dead/ {
            proxy_pass                   http://dead;
            redis_proxy_cache_use_stale  error;
        }

        location /updating/ {
            proxy_pass                           http://%%ORIGIN%%;
            proxy_read_timeout                   60s;
            redis_proxy_cache_use_stale          updating;
            redis_proxy_cache_background_update  off;
        }

        location /foreground/ {
            proxy_pass                           http://%%ORIGIN%%;
            proxy_read_timeout                   60s;
            redis_proxy_cache_background_update  off;
        }

        location /fastcgi/ {
            fastcgi_pass                 $http_x_upstream;
            fastcgi_param                REQUEST_URI $request_uri;
            fastcgi_param                REQUEST_METHOD $request_method;
            redis_proxy_cache_use_stale  error timeout http_503;
        }

        location /valid/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_valid      1s;
            redis_proxy_cache_use_stale  http_503;
        }

CONF

spit("$nginx->{dir}/html/sorry.html", 'sorry');

my ($r, $c, $first, %first);

my @uris = (
    (map { ("/only/$_/1", "/not/$_/1") } @kinds), keys(%says),
    (map { ("/$_", "/own/$_") } qw(a b c)), '/off/1', '/pages/1', '/pages/2',
    '/direct/1', '/direct/2', '/page/1', '/part', '/dead/1', '/updating/1',
    '/head', '/range', '/match', '/modified', '/kept', '/again', '/empty',
    '/own/pair', '/large', '/half',
);

for my $uri (@uris) {
    $first{$uri} = $nginx->get($uri, 'X-Upstream' => $origin->addr());
}

$first{'/fastcgi/1'} = $nginx->get('/fastcgi/1', 'X-Upstream' =>
                                   $fastcgi->addr());
is(scalar(grep { $_->verdict !~ /^(?:MISS|HIT) -$/ }
          values %first), 0, 'all are fetched')
    or diag(explain({ map { ($_ => $first{$_}->verdict) } keys %first }));
$nginx->settle();
RCache::Entry->wait_stale($redis, 'api:{/ask/while-past}', 1);
RCache::Entry->wait_stale($redis, 'api:{/fastcgi/1}');

# each kind of failure, and no other

for my $kind (@kinds) {
    my ($mode, $status) = @{ $kinds{$kind} };
    my $uri = "/only/$kind/1";

    for my $time (1, 2) {
        $r = $nginx->get($uri, 'X-Mode' => $mode);
        is($r->status, 200, "$kind, $time: the stale response");
        is($r->body, $first{$uri}->body, 'with its body');
        is_deeply([ grep { !/^X-Cache/ } @{ $r->lasting } ],
                  [ grep { !/^X-Cache/ } @{ $first{$uri}->lasting } ],
                  'and its headers');
        is($r->header('X-Cache'), 'STALE', 'says that it is');
        like($r->header('Age'), qr/^[1-9]\d*$/, 'and how old');
        ok($r->complete, 'and ends well');
    }

    is($origin->count($uri), 3, 'the origin was asked each time');

    $uri = "/not/$kind/1";
    $r = $nginx->get($uri, 'X-Mode' => $mode);
    is($r->status, $status, "not for $kind: the failure itself");
    isnt($r->body, $first{$uri}->body, 'with a body of its own');
    like($r->verdict, qr/^EXPIRED /, 'as such');

    # what failed did not replace what is stored
    is($nginx->get("/only/$kind/1", 'X-Mode' => 'good')->verdict,
       'EXPIRED -', 'when the origin is well again, there is a new one');
    is($nginx->get("/only/$kind/1", 'X-Mode' => $mode)->verdict, 'HIT -',
       'which is fresh');
}

# off, and nothing said

for my $uri ('/off/1', '/own/none', '/own/a') {
    $r = $nginx->get($uri, 'X-Mode' => 503);
    is($r->status, 503, "$uri: no stale response");
}

# nothing to be served

$r = $nginx->get('/unknown', 'X-Mode' => 503);
is($r->status . $r->body, '503failure', 'no response at all: the failure');
$r = $nginx->get('/unknown', 'X-Mode' => 'reset');
is($r->status, 502, 'and another one');

# RFC 5861: stale-if-error

for my $mode (qw(500 502 503 504 reset sleep nonsense)) {
    $r = $nginx->get('/own/if', 'X-Mode' => $mode);
    is($r->status . ' ' . $r->header('X-Cache'), '200 STALE',
       "stale-if-error: $mode");
    is($r->body, $first{'/own/if'}->body, 'with its body');
    is($r->header('Retry-After'), undef, 'no header of the failure');
}

for my $mode (404, 403, 429) {
    is($nginx->get('/own/if', 'X-Mode' => $mode)->status, $mode,
       "but not for a $mode");
}

is($nginx->get('/ask/if-past', 'X-Mode' => 503)->status, 503,
   'nor when its time is over');
is($nginx->get('/own/s-maxage', 'X-Mode' => 503)->status, 200,
   's-maxage with a window of its own');
is($nginx->get('/own/long', 'X-Mode' => 503)->header('X-Cache'), 'HIT',
   'what is fresh is a hit');

$r = $nginx->get('/own/switch/1', 'X-Upstream' => "127.0.0.1:" . free_port());
is($r->status . ' ' . $r->header('X-Cache'), '200 STALE',
   'an upstream that is not there');
$r = $nginx->get('/own/switch/1', 'X-Upstream' => 'none');
is($r->status . ' ' . $r->header('X-Cache'), '200 STALE',
   'a group of such');

# stale-while-revalidate: at once, and the origin is asked behind it

$r = $nginx->get('/own/while', 'X-Mode' => 'word');
is($r->body, $first{'/own/while'}->body, 'stale-while-revalidate');
like($r->header('X-Cache'), qr/^(?:STALE|UPDATING)$/, 'is a stale response');
ok(wait_for { $origin->count('/own/while') == 2 }, 'the origin is asked');
$r = $nginx->get('/own/while', 'X-Mode' => 'word');
is($r->header('X-Cache'), 'UPDATING', 'meanwhile there is an update');
is($origin->count('/own/while'), 2, 'one');
$origin->say('/own/while');
ok(wait_for { $nginx->get('/own/while')->verdict eq 'HIT -' },
   'then it is fresh');

$r = $nginx->get('/ask/while-past', 'X-Mode' => 'good');
is($r->verdict, 'EXPIRED -', 'but not when its time is over');
is($r->body, 'answer 2 to /ask/while-past', 'then one waits');

# who may not be used stale is not, whatever else is said

for my $uri ('/own/must', '/own/proxy', '/must', '/proxy',
             '/ask/all/no-cache') {
    for my $mode (503, 'reset') {
        $r = $nginx->get($uri, 'X-Mode' => $mode);
        is($r->status, $mode eq 'reset' ? 502 : 503,
           "$uri: $mode is what the client gets");
        isnt($r->body, $first{$uri}->body, 'nothing stale');
    }
    $r = $nginx->get($uri, 'X-Mode' => 'good');
    like($r->body, qr/^answer [2-9] to /, 'one waits for what is new');
}

is($nginx->get('/s-maxage', 'X-Mode' => 503)->status, 200,
   's-maxage does not forbid what the operator allows');
is($nginx->get('/valid/1', 'X-Mode' => 503)->status, 200,
   'a lifetime by redis_proxy_cache_valid');

# its own status

$r = $nginx->get('/status', 'X-Mode' => 503);
is($r->line, $first{'/status'}->line, 'a status of its own');
is($r->status, 203, 'a 203');
is_deeply([ $r->headers('X-Many') ], [ 'one', 'two' ], 'all its headers');

# error pages

$r = $nginx->get('/pages/1', 'X-Mode' => 503);
is($r->body, $first{'/pages/1'}->body, 'before an error page');
is($r->status, 200, 'also with proxy_intercept_errors');
$r = $nginx->get('/pages/1', 'X-Mode' => 'reset');
is($r->body, $first{'/pages/1'}->body, 'and for an error of nginx itself');
$r = $nginx->get('/pages/1', 'X-Mode' => 404);
is($r->status . $r->body, '404sorry', 'the page for what is not named');
$r = $nginx->get('/pages/unknown', 'X-Mode' => 503);
is($r->status . $r->body, '503sorry', 'and where nothing is stored');
$r = $nginx->get('/pages/unknown', 'X-Mode' => 'reset');
is($r->status . $r->body, '502sorry', 'or nginx makes the error');

# unbuffered

for my $mode (503, 'reset') {
    $r = $nginx->get('/direct/1', 'X-Mode' => $mode);
    is($r->status . $r->body, '200' . $first{'/direct/1'}->body,
       "unbuffered: $mode");
}

# a failure with a large body, which nobody reads to its end

$r = $nginx->get('/large', 'X-Mode' => 'bulk');
is($r->body, $first{'/large'}->body, 'a failure of a megabyte');
ok($r->complete, 'a whole response');
$r = $nginx->get('/direct/2', 'X-Mode' => 'bulk');
is($r->body, $first{'/direct/2'}->body, 'unbuffered as well');

# no live upstreams

$nginx->get('/dead/other', 'X-Mode' => 'reset');
$r = $nginx->get('/dead/1', 'X-Mode' => 503);
is($r->status . ' ' . $r->header('X-Cache'), '200 STALE',
   'no live upstream is an error');
is($origin->count('/dead/1'), 1, 'nobody was asked');

# HEAD, Range, conditions: answered from what is stale

$r = $nginx->request('HEAD', '/head', headers => [ 'X-Mode' => 503 ]);
is($r->status . $r->header('X-Cache'), '200STALE', 'HEAD');
is($r->body, '', 'has no body');
is($r->header('Content-Length'), length $first{'/head'}->body,
   'but its length');

$r = $nginx->get('/range', 'X-Mode' => 503, Range => 'bytes=0-5');
is($r->status . $r->body, '206answer', 'a range of what is stale');
is($r->header('Content-Range'), 'bytes 0-5/'
   . length($first{'/range'}->body), 'as such');
$r = $nginx->get('/range', 'X-Mode' => 503, Range => 'bytes=999-');
is($r->status, 416, 'one that is not there');

$r = $nginx->get('/match', 'X-Mode' => 503, 'If-None-Match' => '"v1"');
is($r->status . $r->body, '304', 'If-None-Match that matches');
$r = $nginx->get('/match', 'X-Mode' => 503, 'If-None-Match' => '"v2"');
is($r->status . $r->body, '200' . $first{'/match'}->body, 'one that does not');
$r = $nginx->get('/modified', 'X-Mode' => 503, 'If-Modified-Since' =>
                 $first{'/modified'}->header('Last-Modified'));
is($r->status, 304, 'If-Modified-Since');

# an empty body

$r = $nginx->get('/empty', 'X-Mode' => 503);
is($r->status . $r->body, '200', 'an empty one');
is($r->header('Content-Length'), 0, 'of no length');

# one connection: what comes behind it is right

$c = $nginx->connect();
$r = $c->request('GET', '/kept', keepalive => 1, headers =>
                 [ 'X-Mode' => 'reset' ]);
is($r->body, $first{'/kept'}->body, 'stale, on a connection');
$r = $c->request('GET', '/again', headers => [ 'X-Mode' => 503 ]);
is($r->body, $first{'/again'}->body, 'and the next one');

# a response that breaks off is too late to be replaced: it ends short, and
# what is stored stays

$r = $nginx->get('/half', 'X-Mode' => 'half');
ok(!$r->complete, 'a response that breaks off does so');
$r = $nginx->get('/half', 'X-Mode' => 503);
is($r->body, $first{'/half'}->body, 'the stale one is still there');

# fragments of a page

$r = $nginx->get('/page/1', 'X-Mode' => 503);
is($r->body, '[' . $first{'/part'}->body . ']', 'a page and its part');

# updating, without background_update: one goes, the others get what is stale

$c = $nginx->begin('GET', '/updating/1', headers => [ 'X-Mode' => 'word' ]);
ok(wait_for { $origin->count('/updating/1') == 2 },
   'without background_update one goes and waits');
for (1, 2) {
    $r = $nginx->get('/updating/1');
    is($r->body, $first{'/updating/1'}->body, 'another gets what is stale');
    is($r->header('X-Cache'), 'UPDATING', 'as somebody updates it');
}
is($origin->count('/updating/1'), 2, 'and asks nobody');
$origin->say('/updating/1');
$r = $c->answer();
is($r->body, 'answer 2 to /updating/1', 'the first has the new one');
is($r->header('X-Cache'), 'EXPIRED', 'the old one had expired');
is($nginx->get('/updating/1')->verdict, 'HIT -', 'then it is fresh');

# the same by the response's own window

$c = $nginx->begin('GET', '/foreground/1', headers => [ 'X-Mode' => 'word' ]);
ok(wait_for { $origin->count('/foreground/1') == 2 }, 'and by its window');
is($nginx->get('/foreground/1')->header('X-Cache'), 'UPDATING', 'too');
$origin->say('/foreground/1');
is($c->answer()->body, 'answer 2 to /foreground/1', 'one has waited');

# two at once, of which the one that asks fails: both get what is stale

$c = $nginx->begin('GET', '/b', headers => [ 'X-Mode' => 'fail-word' ]);
ok(wait_for { $origin->count('/b') == 2 }, 'one asks');
my $second = $nginx->begin('GET', '/b',
                           headers => [ 'X-Mode' => 'fail-word' ]);
$nginx->get('/own/long');
$origin->say('/b');
is($_->answer()->body, $first{'/b'}->body, 'it fails, and who waited '
   . 'gets what is stale as well') for $c, $second;

# FastCGI

$r = $nginx->get('/fastcgi/1', 'X-Upstream' => $fastcgi->addr());
is($r->status . ' ' . $r->header('X-Cache'), '200 STALE',
   'FastCGI: Status: 503');
is($r->body, $first{'/fastcgi/1'}->body, 'with its body');
$r = $nginx->get('/fastcgi/1', 'X-Upstream' => '127.0.0.1:' . free_port());
is($r->status . ' ' . $r->header('X-Cache'), '200 STALE', 'nobody there');
is($r->header('X-Kind'), 'fastcgi', 'with its headers');

# no lock is left of all of that

ok(wait_for { !grep { ($redis->get($_) // '-') !~ /^[-!0]$/ }
                    grep { /:l$/ } $redis->keys() }, 'no lock is left')
    or diag(join ' ', grep { /:l$/ } $redis->keys());

$t->done();


my %count;

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $n = ++$count{$uri};
    my $mode = $req->header('X-Mode') // '';
    my $body = $uri eq '/empty' ? '' : "answer $n to $uri";
    my $control = $n > 1 ? [ 'max-age=60' ] : $says{$uri} || [ 'max-age=1' ];
    my @headers = (map({ ('Cache-Control' => $_) } @$control),
                   'X-Many' => 'one', 'X-Many' => 'two',
                   'Content-Type' => $uri =~ m{^/page/} ? 'text/html'
                                                        : 'text/x-test');

    push @headers, ETag => '"v1"' if $uri =~ /match|range|ask|must|proxy/;
    push @headers, 'Last-Modified' => 'Mon, 01 Jan 2024 00:00:00 GMT'
        if $uri eq '/modified';

    $body = '[<!--#include virtual="/part"-->]' if $uri =~ m{^/page/};

    return (10) if $mode eq 'sleep';
    return ('') if $mode eq 'reset';
    return ("HTTP/1.1 200 OK\r\nX-\0: a\r\n\r\n") if $mode eq 'nonsense';
    return (\$uri, response(503, [ ], 'failure')) if $mode eq 'fail-word';
    return (response(503, [ ], 'failure ' x 131072)) if $mode eq 'bulk';
    return (response($mode, [ 'Retry-After' => 120, 'X-Many' => 'failed' ],
                     'failure')) if $mode =~ /^\d+$/;
    return (response(200, \@headers, $body . 'x' x 100) =~ s/x{100}\z//r)
        if $mode eq 'half';

    my $bytes = response($uri eq '/status' ? 203 : 200, \@headers, $body);

    return $mode eq 'word' ? (\$uri, $bytes) : $bytes;
}


# a 503 for all but the first

sub fastcgi {
    my ($sock, $n) = @_;

    my $id = 0;

    for (;;) {
        my (undef, $type, $request, $length, $padding) =
            unpack 'CCnnC', RCache::Raw::take($sock, 8);
        RCache::Raw::take($sock, $length + $padding);
        $id = $request;
        last if $type == 5 && $length == 0;
    }

    my $out = $n == 1
        ? "X-Kind: fastcgi\r\nCache-Control: max-age=1\r\n\r\nthe answer"
        : "Status: 503 No\r\n\r\nfailure";

    syswrite $sock, pack('CCnnCx', 1, 6, $id, length $out, 0) . $out
        . pack('CCnnCx', 1, 6, $id, 0, 0)
        . pack('CCnnCx', 1, 3, $id, 8, 0) . pack('NCxxx', 0, 0);
    return;
}
