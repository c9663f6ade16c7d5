#!/usr/bin/perl

# The near cache: what is asked for often is served without a question to
# Redis; and what is deleted, written or purged there, by whomever, is not
# served any more the moment after.  Only what may be served from Redis may be
# served from a copy.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Near;

my $slices = join '', map { pack 'N', $_ } 1 .. 1000;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone  api:1m server=%%REDIS%% near=2m
                            connect_timeout=30s timeout=30s;

    redis_proxy_cache_budget      30s;
    redis_proxy_cache_near        1h;
    redis_proxy_cache_key         $request_uri;
    redis_proxy_cache_status_header  near.test;
    redis_proxy_cache             api;

    map $request_method $purge {
        PURGE    1;
        default  0;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        add_header  X-Source  $redis_proxy_cache_source;
        add_header  X-Age     $redis_proxy_cache_age;
        add_header  X-ETag    $redis_proxy_cache_etag;

        redis_proxy_cache_purge        $purge;
        redis_proxy_cache_tags         $upstream_http_cache_tag;
        redis_proxy_cache_explain      $http_x_explain;
        redis_proxy_cache_convert_head on;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /off/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_near  off;
        }

        location /brief/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_near  500ms;
        }

        location /client/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_client_control  on;
        }

        location /user/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_user  $http_x_user;
        }

        location /segments/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_segment_size  4k;
        }

        location /early/ {
            proxy_pass                       http://%%ORIGIN%%;
            redis_proxy_cache_early_refresh  10;
        }

        location /slice/ {
            slice                   1k;
            proxy_set_header        Range $slice_range;
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_key   $uri|$slice_range;
        }

        location /uri/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_key   $uri;
        }

        location /ssi/ {
            ssi                     on;
            proxy_pass              http://%%ORIGIN%%;
        }

        location = /status {
            redis_proxy_cache         off;
            redis_proxy_cache_status;
        }
    }
CONF

my @nginx = map { $t->nginx($conf, workers => 2, settle => 0) } 1, 2;
my ($one, $two) = @nginx;
my $n = 0;
my ($r, $uri, $old);

# no question

near($one, '/hot/a');
near($two, '/hot/a');

quiet('twenty hits', sub { $one->get('/hot/a') for 1 .. 20 });

$r = $one->get('/hot/a', 'X-Explain' => 1);
is($r->verdict, 'HIT -', 'it is a hit');
like($r->header('Cache-Status'), qr/^near\.test; hit; ttl=\d+; .*detail=near$/,
     'of which Cache-Status says where it is from');
like($r->header('X-Cache-Explain'), qr/; ring=near; /, 'as X-Cache-Explain');
like($r->header('X-Age'), qr/^\d+$/, 'the variables know the entry');
is($r->header('X-ETag'), '"a"', 'and what is in it');
is($r->header('ETag'), '"a"', 'as does the client');
is($r->body, 'hot 1', 'the body');
is($one->get('/hot/a', 'If-None-Match' => '"a"')->status, 304, 'a 304');
is($one->get('/hot/a', 'Range' => 'bytes=0-2')->body, 'hot', 'a range');
is($one->head('/hot/a')->header('Content-Length'), 5, 'a HEAD');
quiet('all of them', sub {
    $one->get('/hot/a', 'If-None-Match' => '"a"');
    $one->get('/hot/a', 'Range' => 'bytes=0-2');
    $one->head('/hot/a');
});
is($origin->count('/hot/a'), 1, 'and with one fetch');

# what it says of itself

my $zone = zone($one);
cmp_ok($zone->{labels}[0]{near_hits}, '>=', 25, 'near hits are counted');
cmp_ok($zone->{labels}[0]{near_hits}, '<=',
       $zone->{labels}[0]{requests}{hit}, 'as hits, too');
cmp_ok($zone->{near_fills}{stored}, '>=', 1, 'as are copies');
cmp_ok($zone->{near_listeners}, '>=', 1, 'workers listen');

# not where it is not wanted

$one->get('/off/a') for 1 .. 5;
is(source($one, '/off/a'), 'redis', 'off: Redis is always asked');
$one->get('/once/' . $_) for 1 .. 3;
is(source($one, '/once/1'), 'redis', 'not what is asked for once');

near($one, '/brief/a');
ok((wait_for { source($one, '/brief/a') eq 'redis' }),
   'a copy is used for so long, then Redis is asked again');

# whatever changes it in Redis

my %way = (
    'DEL'             => sub { $redis->cmd('DEL', $_[0]) },
    'UNLINK'          => sub { $redis->cmd('UNLINK', $_[0]) },
    'SET'             => sub { $redis->cmd('SET', $_[0], 'x', PX => 60000) },
    'PEXPIRE 0'       => sub { $redis->cmd('PEXPIRE', $_[0], 0) },
    'RENAME'          => sub { $redis->cmd('RENAME', $_[0], "$_[0]-other") },
    'SETRANGE'        => sub { $redis->cmd('SETRANGE', $_[0], 20, 'xxx') },
    'FLUSHALL'        => sub { $redis->cmd('FLUSHALL') },
    'FLUSHDB'         => sub { $redis->cmd('FLUSHDB') },
    'EVAL'            => sub { $redis->cmd('EVAL',
                                  "return redis.call('DEL', KEYS[1])", 1,
                                  $_[0]) },
    'a log record'    => sub { $redis->cmd('XADD', 'api:!purges', '*', 'key',
                                           $_[1]) },
    'a tag'           => sub { $redis->cmd('XADD', 'api:!purges', '*', 'tag',
                                           "tag-$_[1]") },
    'a regex'         => sub { $redis->cmd('XADD', 'api:!purges', '*',
                                           'regex', "^$_[1]\$") },
    'PURGE elsewhere' => sub { $two->request('PURGE', $_[1]) },
    'PURGE a prefix'  => sub { $two->request('PURGE', "$_[1]*") },
);

for my $name (sort keys %way) {
    $uri = '/way/' . ++$n;
    $old = near($one, $uri);
    near($two, $uri);

    $way{$name}->("api:{$uri}", $uri);

    for my $nginx (@nginx) {
        ok(soon(sub { $nginx->get($uri)->body ne $old }), "$name: seen");
    }
}

# one instance writes, and reads what it wrote

$uri = '/way/' . ++$n;

for my $round (1 .. 10) {
    $old = near($one, $uri);
    is($one->request('POST', $uri)->status, 204, 'POST');
    isnt($one->get($uri)->body, $old, "and GET right behind it, $round");
}

$old = near($one, $uri);
near($two, $uri);
$two->request('DELETE', $uri);
ok(soon(sub { $one->get($uri)->body ne $old }), 'another instance: DELETE');

# PURGE here is exact

for my $round (1 .. 5) {
    $uri = '/way/' . ++$n;
    $old = near($one, $uri);
    is($one->request('PURGE', $uri)->status, 204, 'PURGE');
    isnt($one->get($uri)->body, $old, "nobody gets it from then on, $round");
}

# variants

$uri = '/vary/1';
my %of;

for my $who ('a', 'b') {
    $of{$who} = near($one, $uri, 'X-A' => $who);
    like($of{$who}, qr/ $who /, "the variant $who");
}

is($one->get($uri, 'X-A' => $_)->body, $of{$_}, "variant $_") for 'a', 'b';
quiet('marker and variant', sub {
    $one->get($uri, 'X-A' => $_) for 'a', 'b';
});
is($one->get($uri, 'X-A' => 'c')->verdict, 'MISS -', 'a new variant');
like($one->get($uri, 'X-A' => 'c')->body, qr/ c /, 'is one of its own');
is($one->get($uri, 'X-A' => 'a')->body, $of{a}, 'the first one is there');

near($one, $uri, 'X-A' => $_) for 'a', 'b';
$redis->cmd('DEL', "api:{$uri}");
ok(soon(sub { $one->get($uri, 'X-A' => $_)->body ne $of{$_} }),
   "without the marker $_ is gone") for 'a', 'b';

$old = near($one, $uri, 'X-A' => 'a');
my ($variant) = grep {
    $redis->get($_) =~ /\Q$old\E$/
} $redis->keys("api:{$uri}:v:*");
$redis->cmd('DEL', $variant);
ok(soon(sub { $one->get($uri, 'X-A' => 'a')->body ne $old }),
   'so it is without itself');

# what a client wants, and who it is

near($one, '/client/a');
is(fate('/client/a', 'Cache-Control' => 'no-cache'), 'upstream', 'no-cache');
near($one, '/client/a');
near($one, '/client/a', 'Cache-Control' => 'only-if-cached');
is(fate('/client/a', 'Cache-Control' => 'max-age=0'), 'upstream', 'max-age=0');
near($one, '/client/a');
is(fate('/client/a', 'Cache-Control' => 'min-fresh=9999'), 'upstream',
   'min-fresh');

near($one, '/way/auth');
is($one->get('/way/auth', Authorization => 'Basic eDp4')->verdict,
   'BYPASS authorization', 'Authorization');
near($one, '/way/auth');
near($one, '/public/auth');
near($one, '/public/auth', Authorization => 'Basic eDp4');

near($one, '/user/a', 'X-User' => 'ann');
$r = $one->get('/user/a', 'X-User' => 'bob');
like($r->body, qr/ bob /, 'a user gets another one\'s');
is($r->verdict, 'MISS -', 'never');
like(near($one, '/user/a', 'X-User' => 'bob'), qr/ bob /, 'but the own');

# what is not copied

$one->get('/segments/a') for 1 .. 6;
is(source($one, '/segments/a'), 'redis', 'no body in segments');
is(length $one->get('/segments/a')->body, 20000, 'which is whole');

# slices, and what is included in a page

near($one, '/slice/a');
is($one->get('/slice/a')->body, $slices, 'slices');
quiet('all slices', sub { $one->get('/slice/a') });

near($one, "/uri/$_") for 'a', 'b';
near($one, '/ssi/a');
like($one->get('/ssi/a')->body, qr/^\[answer \d+\|answer \d+\]\z/,
     'subrequests');
quiet('a page and what it includes', sub { $one->get('/ssi/a') });

# what is no longer fresh is none of its business

near($one, '/fleeting/a');
ok((wait_for { source($one, '/fleeting/a') eq 'upstream' }), 'stale: a fetch');

# early refresh needs no question either

ok((wait_for {
    my $fetches = $origin->count('/early/a');
    return source($one, '/early/a') eq 'near'
           && wait_for { $origin->count('/early/a') > $fetches } 0.05;
}), 'early refresh: a hit in the near cache draws, too');

# SETRANGE has damaged entries

$_->tolerate(qr/holds an unusable entry/) for @nginx;

$t->done();


sub source {
    my ($nginx, $path, @headers) = @_;

    return $nginx->get($path, @headers)->header('X-Source') // '';
}


sub fate {
    my ($path, @headers) = @_;

    return source($one, $path, @headers);
}


# served without a question to Redis; a busy machine may have to try again

sub quiet {
    my ($name, $code) = @_;

    ok((wait_for {
        my $before = $redis->calls('get');
        $code->();
        return $redis->calls('get') == $before;
    }), "$name: Redis is not asked");

    return;
}


sub origin {
    my ($req, $reply) = @_;
    my $say = 'max-age=600';

    return $reply->send(204, []) if $req->method ne 'GET';

    return $reply->send(200, [ 'Cache-Control' => $say, ETag => '"a"' ],
                        'hot ' . $req->n)
        if $req->uri =~ m{^/hot/};

    return $reply->send(200, [ 'Cache-Control' => $say, Vary => 'X-A' ],
                        'of ' . $req->header('X-A') . ' ' . $req->n)
        if $req->uri =~ m{^/vary/};

    return $reply->send(200, [ 'Cache-Control' => 'private, max-age=60' ],
                        'of ' . $req->header('X-User') . ' ' . $req->n)
        if $req->uri =~ m{^/user/};

    return $reply->send(200, [ 'Cache-Control' => $say ], 'x' x 20000)
        if $req->uri =~ m{^/segments/};

    if ($req->uri =~ m{^/slice/}) {
        my ($from, $to) = $req->header('Range') =~ /^bytes=(\d+)-(\d+)/;
        my $part = substr $slices, $from, $to - $from + 1;

        return $reply->send(206, [
            'Cache-Control' => $say, ETag => '"s"', 'Content-Range' =>
            "bytes $from-" . ($from + length($part) - 1) . '/4000'
        ], $part);
    }

    return $reply->send(200, [ 'Cache-Control' => $say,
                               'Content-Type' => 'text/html' ],
        '[' . join('|', map { qq(<!--# include virtual="/uri/$_" -->) }
                   'a', 'b') . ']')
        if $req->uri =~ m{^/ssi/};

    $say = 'public, max-age=600' if $req->uri =~ m{^/public/};
    $say = 'max-age=2' if $req->uri =~ m{^/fleeting/};

    if ($req->uri =~ m{^/early/}) {
        $say = 'max-age=6';
        $reply->delay(0.2);
    }

    return $reply->send(200, [ 'Cache-Control' => $say,
                               'Cache-Tag' => 'tag-' . $req->uri ],
                        'answer ' . $req->n);
}
