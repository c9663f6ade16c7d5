#!/usr/bin/perl

# An application that changes something purges by one POST, and an operator
# wants to know what was wrong with it if it was.  Whoever writes through the
# proxy can have tags purged by the write itself.  What is not known to be meant
# must purge nothing, and nobody may be told of a purge that did not happen.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use JSON::PP ();
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache         api;
    redis_proxy_cache_valid   200 400 1h;

    map "$request_method:$http_x_purge_key" $purge {
        "PURGE:secret"  1;
        default         0;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        client_max_body_size  2m;

        location / {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache            api;
            redis_proxy_cache_tags       $upstream_http_cache_tag;
            redis_proxy_cache_invalidate_tags
                                         $upstream_http_x_invalidate
                                         $arg_invalidate;
            redis_proxy_cache_purge      $purge soft=$http_x_soft
                                         refresh=$http_x_refresh;
            redis_proxy_cache_use_stale  updating;
        }

        location = /purge {
            redis_proxy_cache_admin  api;
        }

        location = /closed {
            redis_proxy_cache_admin  api;
            deny                     all;
        }
    }
CONF

my $one = $t->nginx($conf, workers => 2, settle => 0);
my $two = $t->nginx($conf, workers => 2, settle => 0);
my $host = 'http://localhost';

my ($r, $old, %old);

# what it does

for (
    [ { tags => [ 'tag-/a/1' ] },          [ '/a/1' ],         [ '/a/2' ] ],
    [ { tags => [ 'x', 'common' ] },       [ '/a/1', '/b/1' ], [ ] ],
    [ { urls => [ "$host/a/1" ] },         [ '/a/1' ],         [ '/a/12' ] ],
    [ { prefixes => [ "$host/a/" ] },      [ '/a/1', '/a/2' ], [ '/b/1' ] ],
    [ { all => JSON::PP::true },           [ '/a/1', '/b/1' ], [ ] ],
    [ { tags => [ 'tag-/a/1' ], urls => [ "$host/b/1" ] },
                                           [ '/a/1', '/b/1' ], [ '/b/2' ] ],
) {
    my ($what, $gone, $stays) = @$_;
    my $say = JSON::PP->new->canonical->encode($what);

    %old = map { $_ => fill($_) } @$gone, @$stays;

    $r = call($one, $what);
    is($r->status, 200, $say);
    is($r->header('Content-Type'), 'application/json', 'it answers with JSON');
    my $did = JSON::PP::decode_json($r->body);
    is($did->{$_}, @{ $what->{$_} || [] }, "$_: so many")
        for qw(tags urls prefixes users);

    for my $uri (@$gone) {
        isnt($one->get($uri)->body, $old{$uri}, "$uri is gone at once");
        ok(wait_for { $two->get($uri)->body ne $old{$uri} },
           'on the other instance as well');
    }

    is($_->get($stays->[0])->body, $old{ $stays->[0] }, "$stays->[0] stays")
        for @$stays ? ($one, $two) : ();
}

# softly

$old = fill('/soft/1');
$r = call($one, { tags => [ 'tag-/soft/1' ], soft => JSON::PP::true });
is($r->status, 200, 'softly');
is(JSON::PP::decode_json($r->body)->{soft}, 1, 'it says so');
$r = $one->get('/soft/1');
is($r->body, $old, 'what is stale is served');
like($r->verdict, qr/^(?:STALE|UPDATING) /, 'as such');
ok(wait_for { $one->get('/soft/1')->body ne $old }, 'and refreshed');

# as many as there may be

$r = call($one, { tags => [ map { "t$_" } 1 .. 1000 ] });
is($r->status, 200, '1000 tags');

# what is wrong

my $mib = 'x' x (1024 * 1024);

for (
    [ 'no JSON',          400, 'tags' ],
    [ 'an empty body',    400, '' ],
    [ 'half of it',       400, '{"tags": ["a"' ],
    [ 'more than it',     400, '{"tags": ["a"]} {}' ],
    [ 'an array',         400, '["a"]' ],
    [ 'a string',         400, '"a"' ],
    [ 'nothing',          400, '{}' ],
    [ 'soft alone',       400, '{"soft": true}' ],
    [ 'no tags',          400, '{"tags": []}' ],
    [ 'all: false',       400, '{"all": false}' ],
    [ 'a tag, no array',  400, '{"tags": "a"}' ],
    [ 'a number',         400, '{"tags": [1]}' ],
    [ 'null',             400, '{"tags": [null]}' ],
    [ 'a boolean',        400, '{"tags": [true]}' ],
    [ 'an object',        400, '{"tags": [{"a": "b"}]}' ],
    [ 'an array in it',   400, '{"tags": [["a"]]}' ],
    [ 'tags: null',       400, '{"tags": null}' ],
    [ 'tags: an object',  400, '{"tags": {"a": "b"}}' ],
    [ 'soft: "yes"',      400, '{"tags": ["a"], "soft": "yes"}' ],
    [ 'soft: 1',          400, '{"tags": ["a"], "soft": 1}' ],
    [ 'soft: [true]',     400, '{"tags": ["a"], "soft": [true]}' ],
    [ 'all: "true"',      400, '{"all": "true"}' ],
    [ 'unknown',          400, '{"tags": ["a"], "tag": ["b"]}' ],
    [ 'a long name',      400, '{"' . 'x' x 1000 . '": ["a"]}' ],
    [ 'an empty tag',     400, '{"tags": [""]}' ],
    [ 'a long tag',       400, '{"tags": ["' . 'x' x 257 . '"]}' ],
    [ 'a long url',       400, '{"urls": ["' . 'x' x 8193 . '"]}' ],
    [ 'an empty prefix',  400, '{"prefixes": [""]}' ],
    [ 'too many',         400, '{"tags": ["' . join('","', 1 .. 1001)
                               . '"]}' ],
    [ 'bad UTF-8',        400, "{\"tags\": [\"\xff\xfe\"]}" ],
    [ 'nested deep',      400, '[' x 100000 ],
    [ 'nested in it',     400, '{"tags":' . '[' x 10000 ],
    [ 'too large',        413, '{"tags": ["' . $mib . '"]}' ],
) {
    my ($name, $status, $body) = @$_;

    my $before = records();
    my $r = $one->request('POST', '/purge', body => $body,
                          headers => [ 'Content-Type' => 'application/json' ]);
    is($r->status, $status, "$name: $status");
    like((eval { JSON::PP::decode_json($r->body) } || {})->{error} // '',
         qr/ \w+ /, 'with a sentence');
    is(records(), $before, 'nothing is purged');
}

is($one->request('POST', '/purge', body => '{"tags":["a"]}',
   headers => [ 'Content-Type' => 'text/plain' ])->status, 415,
   'what a form of another site can send is refused');
is($one->request('POST', '/purge', body => '{"tags":["a"]}')->status, 415,
   'and so is what has no type');
$r = $one->request('DELETE', '/purge');
is($r->status, 405, 'another method');
is($r->header('Allow'), 'GET, HEAD, POST', 'it says which ones');
is($one->request('POST', '/closed', body => '{"tags":["a"]}',
   headers => [ 'Content-Type' => 'application/json' ])->status, 403,
   'access checks come first');

$r = $one->get('/purge');
is($r->status, 200, 'GET');
my $last = JSON::PP::decode_json($r->body);
like($last->{last}, qr/^\d+-\d+$/, 'tells the last record that is known');
ok(wait_for { JSON::PP::decode_json($one->get('/purge')->body)->{follows} },
   'and whether the log is followed');
is($one->request('HEAD', '/purge')->status, 200, 'HEAD');

# a body that is spooled to a file, or in chunks

$old = fill('/a/1');
my @fillers = map { "filler-$_" . 'x' x 200 } 1 .. 400;
$r = call($one, { tags => [ @fillers, 'tag-/a/1' ] });
is($r->status, 200, 'a large body');
isnt($one->get('/a/1')->body, $old, 'is read whole');

# PURGE with a shared secret, and a refresh

$old = fill('/a/1');
is($one->request('PURGE', '/a/1')->status, 405, 'PURGE without the secret');
is($one->get('/a/1')->body, $old, 'does nothing');

for my $round (1 .. 3) {
    $old = fill('/a/1');
    my $asked = $origin->count('/a/1');
    is($one->request('PURGE', '/a/1', headers => [ 'X-Purge-Key' => 'secret',
                     'X-Refresh' => 1 ])->status, 204, 'purge and refresh');
    ok(wait_for { $origin->count('/a/1') == $asked + 1 },
       'the origin is asked without a client');
    is($origin->latest('/a/1')->method, 'GET', 'by GET');
    ok(wait_for { my $r = $two->get('/a/1');
                  $r->verdict eq 'HIT -' && $r->body ne $old },
       'what is new is there');
}

# a write through the proxy names tags

%old = map { $_ => fill($_) } '/a/1', '/b/1', '/b/2';
$r = $one->request('POST', '/write?invalidate=tag-/a/1', body => 'x');
is($r->status, 200, 'a write');
isnt($one->get('/a/1')->body, $old{'/a/1'}, 'a tag of the request');
isnt($one->get('/b/1')->body, $old{'/b/1'}, 'a tag of the response');
is($one->get('/b/2')->body, $old{'/b/2'}, 'no other');

# one that nobody can have does not keep the others, nor the worker

for my $long ('x' x 300, '"' . 'x' x 300 . '"', '"' . 'x' x 300) {
    %old = map { $_ => fill($_) } '/b/1';
    $r = $one->request('POST', "/write?invalidate=$long", body => 'x');
    is($r->status, 200, 'a tag that is too long');
    isnt($one->get('/b/1')->body, $old{'/b/1'}, 'the others are purged');
}

%old = map { $_ => fill($_) } '/a/1', '/b/1';
$r = $one->request('POST', '/write?fail&invalidate=tag-/a/1', body => 'x');
is($r->status, 500, 'a write that fails');
is($_->get('/a/1')->body, $old{'/a/1'}, 'invalidates nothing') for $one, $two;

# a client that goes away, Redis that goes away

for (1 .. 20) {
    my $c = $one->connect();
    my $body = '{"tags": ["gone"]}';
    $c->send(RCache::HTTP::format_request('POST', '/purge', body => $body,
             headers => [ 'Content-Type' => 'application/json' ]));
    $c->reset();
}
is($one->get('/purge')->status, 200, 'clients that go away do no harm');
is(call($one, { tags => [ 'gone' ] })->status, 200, 'nor to the next one');

$redis->stop();
ok(wait_for { call($one, { tags => [ 'a' ] })->status == 503 },
   'no Redis: 503');
$r = call($one, { tags => [ 'a' ] });
like($r->body, qr/"error":"Redis /, 'with a sentence');
$redis->start();
ok(wait_for { call($one, { tags => [ 'a' ] })->status == 200 },
   'Redis is back');

$t->done();


sub call {
    my ($nginx, $what) = @_;

    return $nginx->request('POST', '/purge',
        body => JSON::PP::encode_json($what),
        headers => [ 'Content-Type' => 'application/json; charset=utf-8' ]);
}


sub records { return $redis->cmd('XLEN', 'api:!purges') }


sub fill {
    my ($uri) = @_;
    my $body;

    for my $nginx ($one, $two) {
        ok(wait_for {
            my $r = $nginx->get($uri);
            $body = $r->body;
            $r->verdict eq 'HIT -';
        }, "$uri is cached");
    }

    return $body;
}


sub origin {
    my ($req, $reply) = @_;

    return $reply->send(405, [ ], 'no') if $req->method eq 'PURGE';

    if ($req->method eq 'POST') {
        return $reply->send($req->uri =~ /fail/ ? 500 : 200,
                            [ 'X-Invalidate' => '"tag-/b/1", other' ], 'done');
    }

    $reply->send(200, [
        'Cache-Control' => 'max-age=60, stale-while-revalidate=60',
        'Cache-Tag' => 'tag-' . $req->uri . ',common',
    ], 'answer ' . $req->n);
}
