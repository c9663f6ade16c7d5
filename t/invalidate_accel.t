#!/usr/bin/perl

# An unsafe request has succeeded also if its upstream leaves the response to
# nginx, by X-Accel-Redirect: what is stored for its URI is out of date.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF', settle => 0);
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass                         http://%%ORIGIN%%;
            redis_proxy_cache                  api;
            redis_proxy_cache_tags             $upstream_http_cache_tag;
            redis_proxy_cache_invalidate_tags  $upstream_http_x_invalidate;
            error_page                         502 =200 /says;
        }

        location /says {
            internal;
            return  200  said;
        }

        location /asks {
            internal;
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
        }

        location @named {
            return  200  named;
        }
    }
CONF

my $n = 0;

for my $to ('/says', '/asks', '@named') {
    my ($uri, $there, $tagged) = map { '/' . ++$n } 1 .. 3;
    my %old = map { $_ => stored($_) } $uri, $there, $tagged;

    my $r = $nginx->request('DELETE', $uri, headers => [
        'X-Say' => "X-Accel-Redirect: $to|Location: $there"
                   . "|X-Invalidate: tag-$tagged" ]);
    is($r->status, 200, "DELETE, and $to answers");
    like($r->body, qr/^(?:said|named|answer)/, 'it does');

    ok((wait_for { $nginx->get($_)->body ne $old{$_} } 5), "$_ is gone")
        for $uri, $there, $tagged;
}

# it has failed, and something else takes its place

for my $how ('X-Status', 'X-Close') {
    my $uri = '/' . ++$n;
    my $old = stored($uri);
    my $r = $nginx->request('DELETE', $uri,
                            headers => [ $how => 500, 'X-Say' =>
                                         'X-Accel-Redirect: /says' ]);
    is($r->status, 200, "DELETE, and $how");
    is($nginx->get($uri)->body, $old, 'what is stored stays');
}

$nginx->tolerate(qr/prematurely closed/);
$t->done();


sub stored {
    my ($uri) = @_;

    $nginx->get($uri);
    my $r = $nginx->get($uri);
    is($r->verdict, 'HIT -', "$uri is stored");

    return $r->body;
}


sub origin {
    my ($req, $reply) = @_;

    return $reply->close() if $req->header('X-Close');

    if ($req->method eq 'GET' && !$req->header('X-Say')) {
        return $reply->send(200, [ 'Cache-Control' => 'max-age=600',
                                   'Cache-Tag' => 'tag-' . $req->uri ],
                            'answer ' . $req->n);
    }

    return $reply->send(200, [ 'Cache-Control' => 'no-store' ],
                        'answer ' . $req->n) if $req->uri =~ m{^/asks};

    $reply->obey();
}
