#!/usr/bin/perl

# The mark that an invalidation leaves stays for a minute.  What was asked for
# before, and takes longer than that, is not stored either: if it has no lock,
# it cannot know.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(sub {
    my ($req, $reply) = @_;

    return $reply->head(204) if $req->method eq 'DELETE';

    # longer than anybody waits for anything else

    if ($req->header('X-Wait')) {
        $reply->wait_word('go') and last for 1 .. 4;
    }

    $reply->send(200, [ 'Cache-Control' => 'public, max-age=600' ],
                 'answer ' . $req->n);
}, workers => 8);

my $conf = <<'CONF';
    redis_proxy_cache_zone        api:1m server=%%REDIS%%
                                  connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget      5s;
    redis_proxy_cache_lock_age    %%AGE%%;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $request_uri;
        proxy_read_timeout     200s;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

$t->set(AGE => '1s');
my $one = $t->nginx($conf, settle => 0);
my $two = $t->nginx($conf, settle => 0);
my $three = $t->nginx($conf, settle => 0, vars => { AGE => '150s' });

my %fetch = (
    '/lock'   => $two->begin('GET', '/lock', headers => [ 'X-Wait' => 1 ]),
    '/none'   => $two->begin('GET', '/none', headers => [
                    'X-Wait' => 1, 'Authorization' => 'Basic YTpi' ]),
    '/expire' => $two->begin('GET', '/expire', headers => [ 'X-Wait' => 1 ]),
    '/held'   => $three->begin('GET', '/held', headers => [ 'X-Wait' => 1 ]),
);

ok((wait_for { $origin->count($_) }), "$_ is being fetched") for keys %fetch;
is($one->request('DELETE', $_)->status, 204, "$_ is invalidated")
    for '/lock', '/none';
ok($redis->exists("api:{$_}:l"), 'which leaves a mark') for '/lock', '/none';
ok((wait_for {
    !grep { $redis->exists("api:{$_}:l") } '/lock', '/none'
} 90), 'for a minute');

$origin->say('go');
my %body = map { $_ => $fetch{$_}->response('GET')->body } keys %fetch;
like($body{$_}, qr/^answer \d+$/, "$_: it has its response") for keys %body;

isnt($one->get($_)->body, $body{$_}, "$_: that is not stored")
    for qw(/lock /none /expire);
is($one->get('/held')->body, $body{'/held'}, 'who has the lock stores');

$t->done();
