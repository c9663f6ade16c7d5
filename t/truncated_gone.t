#!/usr/bin/perl

# An upstream breaks off while its client still has to take what came, and then
# the client goes away.  Nothing more will come of that fetch: those who wait
# for it are not to wait for a client that is not there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Socket;
use Test::More;
use RCache;
use RCache::Lock qw(patient);

my $body = 'abcdefghijklmno' x 400_000;
my $count = 0;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $nginx = $t->nginx(patient() . <<'CONF');
    server {
        listen        127.0.0.1:%%PORT%% sndbuf=16k;
        send_timeout  300s;

        redis_proxy_cache           api;
        redis_proxy_cache_max_size  16m;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my $client = IO::Socket::INET->new(
    PeerAddr => '127.0.0.1', PeerPort => $nginx->port()
) or die "cannot connect: $!\n";

setsockopt $client, SOL_SOCKET, SO_RCVBUF, pack 'i', 4096;
syswrite $client, "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";
ok((wait_for { $origin->count('/a') == 1 }), 'one leads');

my $waits = $nginx->begin('GET', '/a');
ok($origin->stays('/a', 1, 0.3), 'another one waits');

$origin->say('break');
ok($nginx->wait_line('upstream prematurely closed'), 'the upstream is gone');
ok(RCache::Nginx::turn_over(), 'and all that came is there');
close $client;

my $r = $waits->response();
is($r->body, $body, 'who waited asks for itself, and has all of it');
ok((wait_for { $nginx->get('/a')->verdict eq 'HIT -' }), 'which is stored');
is($origin->count('/a'), 2, 'two fetches');

$nginx->tolerate('upstream prematurely closed connection');
$t->done();


sub origin {
    my ($req) = @_;

    my $whole = response(200, [ 'Cache-Control' => 'max-age=60' ], $body);

    return $whole if $count++;
    return (\'break', substr $whole, 0, 5_000_000);
}
