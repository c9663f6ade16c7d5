#!/usr/bin/perl

# RFC 9111, 4.3.5: a 200 to a HEAD that the upstream saw as such tells of the
# stored response.  If it agrees, the entry is fresh again; if it does not, the
# entry is wrong, and must be gone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Util qw(wait_for);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone            api:1m server=%%REDIS%%
                                      connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget          5s;
    redis_proxy_cache                 api;
    redis_proxy_cache_convert_head    off;
    redis_proxy_cache_client_control  on;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my @ask = ('Cache-Control' => 'no-cache');

# it agrees

my $r = $nginx->get('/same');
is($r->verdict, 'MISS -', 'stored');
$redis->wait_key('api:{http://localhost/same}');

$r = $nginx->request('HEAD', '/same', headers => \@ask);
is($r->status, 200, 'HEAD reaches the origin');
is($origin->latest('/same')->method, 'HEAD', 'as HEAD');
$nginx->settle();

$r = $nginx->get('/same');
is($r->verdict, 'HIT -', 'the entry is still there');
is($r->header('X-New'), 'yes', 'with what HEAD said');
is($r->body, 'a body', 'and its body');

# it does not

$nginx->get('/other');
ok($redis->wait_key('api:{http://localhost/other}'), 'stored');

$nginx->request('HEAD', '/other', headers => \@ask);
ok(wait_for { !defined $redis->get('api:{http://localhost/other}') },
   'another length: the entry is gone');
is($nginx->get('/other')->verdict, 'MISS -', 'and fetched anew');

# an error says nothing of it

$nginx->get('/error');
is($nginx->request('HEAD', '/error', headers => \@ask)->status, 500,
   'the origin fails');
is($nginx->get('/error')->verdict, 'HIT -', 'the entry stays');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my @headers = ('Cache-Control' => 'max-age=60');

    return $reply->send(200, \@headers, 'a body') if $req->method ne 'HEAD';

    return $reply->send(500, [ ], '') if $req->path eq '/error';

    push @headers, 'X-New' => 'yes',
        'Content-Length' => $req->path eq '/same' ? 6 : 7;

    return $reply->head(200, @headers);
}
