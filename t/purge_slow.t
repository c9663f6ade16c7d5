#!/usr/bin/perl

# A Redis that answers late is left alone for a while.  But what is to go must
# not stay because of that: when it is fast again, it would be served.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $relay = $t->relay($redis->port);
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF', settle => 0);
    redis_proxy_cache_zone    api:1m server=redis://127.0.0.1:%%RELAY%%
                              purge=on connect_timeout=5s timeout=5s
                              slow=100ms;
    redis_proxy_cache_budget  1s;

    map $request_method $purge {
        PURGE    1;
        default  0;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache                  api;
        redis_proxy_cache_key              $request_uri;
        redis_proxy_cache_tags             $upstream_http_cache_tag;
        redis_proxy_cache_invalidate_tags  $upstream_http_x_invalidate;
        redis_proxy_cache_purge            $purge;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location = /purge {
            redis_proxy_cache_admin  api;
        }
    }
CONF

my %how = (
    'an unsafe method' => sub { return $nginx->request('DELETE', $_[0]) },
    'its tags'         => sub {
        return $nginx->request('DELETE', '/any', headers => [
                               'X-Tag' => "tag-$_[0]" ]);
    },
    'PURGE'            => sub { return $nginx->request('PURGE', $_[0]) },
    'a call'           => sub {
        return $nginx->request('POST', '/purge',
            headers => [ 'Content-Type' => 'application/json' ],
            body => qq({"tags":["tag-$_[0]"]}));
    },
);

my %uri = map { $_ => '/' . tr/ /-/r } keys %how;
my %old;

$nginx->get($_) for values %uri;

for my $uri (values %uri) {
    my $r = $nginx->get($uri);
    is($r->verdict, 'HIT -', "$uri is stored");
    $old{$uri} = $r->body;
}

$relay->set(0.25);
ok((wait_for {
    $nginx->get('/hot');
    $nginx->lines('is slow: \d+ of \d+ answers');
}), 'Redis is slow');

for my $how (sort keys %how) {
    my $r = $how{$how}->($uri{$how});
    like($r->status, qr/^20[04]$/, "$how: it succeeds");
}

$relay->set('');
ok((wait_for { $nginx->get('/hot'); $nginx->lines('is fast again') }),
   'Redis is fast again');

for my $how (sort keys %how) {
    my $r;
    ok((wait_for {
        $r = $nginx->get($uri{$how});
        $r->verdict eq 'HIT -';
    }), "$how: a hit again");
    isnt($r->body, $old{$uri{$how}}, 'but of what is new');
}

$nginx->tolerate(qr/redis/);
$t->done();


sub origin {
    my ($req, $reply) = @_;

    return $reply->head(204, 'X-Invalidate' => $req->header('X-Tag') // '')
        if $req->method eq 'DELETE';

    $reply->send(200, [ 'Cache-Control' => 'max-age=600',
                        'Cache-Tag' => 'tag-' . $req->uri ],
                 'answer ' . $req->n);
}
