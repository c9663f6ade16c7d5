#!/usr/bin/perl

# An unsafe request has succeeded also if its upstream leaves the response to
# nginx, by X-Accel-Redirect: what is stored for its URI is out of date, and
# gone when the response ends.

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

        location /fills {
            internal;
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache         api;
            redis_proxy_cache_bypass  1;
        }

        location /hit {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache               api;
            redis_proxy_cache_segment_size  16k;
        }

        location /no {
            internal;
            return  204;
        }

        location /empty {
            internal;
            return  200;
        }

        location /refuses {
            internal;
            deny  all;
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

# the end of the response waits for that, whatever it is made of

$nginx->get('/hit');
is($nginx->get('/hit')->verdict, 'HIT -', 'something to redirect to');
is($nginx->get('/hit/long')->verdict, 'MISS -', 'and something long');

for my $to ('/says', '/asks', '@named', '/fills', '/hit', '/hit/long', '/no',
            '/empty', '/refuses')
{
    for my $more (0, 1) {
        my @uri = map { '/' . ++$n } 0 .. 2 * $more;
        my %old = map { $_ => stored($_) } @uri;
        my $say = $more ? "|Location: $uri[1]|X-Invalidate: tag-$uri[2]" : '';

        my $c = $nginx->connect();
        $redis->cmd(qw(CLIENT PAUSE 400 WRITE));
        $c->request('DELETE', $uri[0], headers => [
                    'X-Say' => "X-Accel-Redirect: $to$say" ]);

        isnt($nginx->get($_)->body, $old{$_}, "$to answers, $_ is gone")
            for @uri;

        $redis->cmd(qw(CLIENT UNPAUSE));
    }
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
                            'answer ' . $req->n
                            . ' ' x ($req->uri =~ /long/ ? 65536 : 0));
    }

    if ($req->uri =~ m{^/(?:asks|fills)}) {
        return $reply->send(200, [ 'Cache-Control' => $req->uri =~ /asks/
                                   ? 'no-store' : 'max-age=600' ],
                            'answer ' . $req->n);
    }

    $reply->obey();
}
