#!/usr/bin/perl

# TLS to Redis.  A connection is worth nothing if it is not known who is at
# its other end: the chain and the name of the certificate are checked unless
# the operator says otherwise, and whatever is wrong with a handshake is in
# one line of the log, while requests go to the upstream.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $origin = $t->origin(\&origin);

my $certs = RCache::Certs->new($t->dir . '/certs');
my $others = RCache::Certs->new($t->dir . '/others');

my ($crt, $key) = $certs->issue('server', 'DNS:localhost,IP:127.0.0.1');
my ($client_crt, $client_key) = $certs->issue('client', 'DNS:client.test');
my ($old_crt, $old_key) = $certs->issue('old', 'DNS:localhost', -1);
my ($stray_crt, $stray_key) = $others->issue('stray', 'DNS:client.test');

my %port = map { $_ => free_port() } qw(open mutual expired);

my $redis = $t->redis(config => tls('open', $crt, $key, 'no'));
my $mutual = $t->redis(name => 'MUTUAL',
                       config => tls('mutual', $crt, $key, 'yes'));
my $expired = $t->redis(name => 'EXPIRED',
                        config => tls('expired', $old_crt, $old_key, 'no'));

# one that answers, but not in TLS, and one that says nothing

my $plain = $t->fake_redis(sub {
    my ($peer) = @_;
    $peer->send("-ERR unknown command\r\n");
});
my $silent = $t->fake_redis(sub { $_[0]->hang() });

$t->set(CA => $certs->ca, OTHERS => $others->ca, CRT => $client_crt,
        KEY => $client_key, STRAY_CRT => $stray_crt, STRAY_KEY => $stray_key,
        PLAIN => $plain->port, SILENT => $silent->port,
        REDIS_PORT => $redis->port,
        map { uc($_) => $port{$_} } keys %port);

my $trust = 'ssl_trusted_certificate=%%CA%%';
my $client = 'ssl_certificate=%%CRT%% ssl_certificate_key=%%KEY%%';

# what works: name, parameters, where the entry is then

my @well = (
    [ 'name',    "server=rediss://localhost:%%OPEN%% $trust", $redis ],
    [ 'address', "server=rediss://127.0.0.1:%%OPEN%%/1 $trust", $redis, 1 ],
    [ 'given',   "server=rediss://127.0.0.1:%%OPEN%% $trust"
                 . ' ssl_name=localhost', $redis ],
    [ 'tls12',   "server=rediss://localhost:%%OPEN%% $trust"
                 . ' ssl_protocols=TLSv1.2 ssl_ciphers=HIGH:!aNULL', $redis ],
    [ 'tls13',   "server=rediss://localhost:%%OPEN%% $trust"
                 . ' ssl_protocols=TLSv1.3 ssl_session_reuse=off', $redis ],
    [ 'client',  "server=rediss://localhost:%%MUTUAL%% $trust $client",
      $mutual ],
    [ 'client2', "server=rediss://localhost:%%MUTUAL%% $trust $client"
                 . ' ssl_protocols=TLSv1.2', $mutual ],
    [ 'blind',   'server=rediss://localhost:%%EXPIRED%% ssl_verify=off',
      $expired ],
);

# what does not: name, parameters, what the log says

my @ill = (
    [ 'system',  'server=rediss://localhost:%%OPEN%%',
      qr/the certificate was not accepted: .*(?:issuer|self.signed)/ ],
    [ 'issuer',  'server=rediss://localhost:%%OPEN%%'
                 . ' ssl_trusted_certificate=%%OTHERS%%',
      qr/the certificate was not accepted: .*(?:issuer|self.signed|signature)/
    ],
    [ 'expired', "server=rediss://localhost:%%EXPIRED%% $trust",
      qr/the certificate was not accepted: certificate has expired/ ],
    [ 'other',   "server=rediss://localhost:%%OPEN%% $trust"
                 . ' ssl_name=redis.test',
      qr/the certificate is not for "redis\.test"/ ],
    [ 'literal', "server=rediss://127.0.0.1:%%OPEN%% $trust"
                 . ' ssl_name=127.0.0.9',
      qr/the certificate is not for "127\.0\.0\.9"/ ],
    [ 'nobody',  "server=rediss://localhost:%%MUTUAL%% $trust",
      qr/certificate\ required|handshake\ failure|bad\ certificate
         |reset\ by\ peer|closed/x ],
    [ 'nobody2', "server=rediss://localhost:%%MUTUAL%% $trust"
                 . ' ssl_protocols=TLSv1.2',
      qr/the TLS handshake failed: .*(?:alert|reset by peer|closed)/ ],
    [ 'stray',   "server=rediss://localhost:%%MUTUAL%% $trust"
                 . ' ssl_certificate=%%STRAY_CRT%%'
                 . ' ssl_certificate_key=%%STRAY_KEY%%',
      qr/alert|reset by peer|closed/ ],
    [ 'plain',   "server=rediss://localhost:%%PLAIN%% $trust",
      qr/the TLS handshake failed: .*wrong version/ ],
    [ 'naked',   'server=redis://localhost:%%OPEN%% connect_timeout=500ms',
      qr/\w/ ],
    [ 'silent',  "server=rediss://localhost:%%SILENT%% $trust"
                 . ' connect_timeout=500ms',
      qr/no TLS handshake in time/ ],
);

my $zones = join "\n", map {
    my $time = $_->[1] =~ /connect_timeout/ ? '' : 'connect_timeout=20s';
    "    redis_proxy_cache_zone $_->[0]:64k $time timeout=20s\n"
    . "        $_->[1];"
} @well, @ill;

my $locations = join "\n", map {
    "        location /$_->[0]/ {\n"
    . "            proxy_pass         http://%%ORIGIN%%;\n"
    . "            redis_proxy_cache  $_->[0];\n"
    . "            add_header         X-Found \$redis_proxy_cache_reason;\n"
    . "        }\n"
} @well, @ill;

my $nginx = $t->nginx(<<"CONF", settle => 0, level => 'debug');
$zones
    redis_proxy_cache_budget  20s;

    server {
        listen  127.0.0.1:%%PORT%%;

$locations
    }
CONF

for (@well) {
    my ($name, undef, $where, $db) = @$_;

    $where->cmd('SELECT', $db || 0);

    for my $size ('small', 'large') {
        my $uri = "/$name/$size";
        my $miss = $nginx->get($uri);
        is($miss->verdict, 'MISS -', "$name: a $size body is a miss");
        ok($where->wait_key("$name:{http://localhost$uri}"), 'is stored');
        my $hit = $nginx->get($uri);
        is($hit->verdict, 'HIT -', 'and a hit');
        ok($hit->body eq $miss->body && $hit->status == 200,
           'of the same bytes');
    }

    $where->cmd('SELECT', 0);
}

for (@ill) {
    my ($name, undef, $why) = @$_;

    for my $n (1 .. 5) {
        my $r = $nginx->get("/$name/$n");
        is($r->status . ' ' . $r->body, "200 /$name/$n", "$name: request $n");
        like($r->header('X-Found'), qr/redis_/, 'without the cache');
    }

    my $asked = join ' ', grep { /_zone $name:/ .. /;/ } split /\n/, $zones;
    my ($url) = $asked =~ /server=(\S+?);?(?:\s|$)/;
    $url =~ s/%%(\w+)%%/$t->{vars}{$1}/ge;

    ok($nginx->wait_line('redis "' . quotemeta($url) . qr/" is down: .*$why/),
       'the log says why') or diag(join "\n", $nginx->lines('is down'));
}

for (@ill) {
    my ($name, undef, $why) = @$_;
    cmp_ok(scalar($nginx->lines("\\[error\\].*is down: .*$why")), '>=', 1,
           "$name: in a line of its own");
}

is(scalar($nginx->lines('\[(?:error|warn|crit)\]')), scalar(@ill),
   'and in one only') or diag(join "\n", $nginx->lines('\[(?:error|warn)\]'));

# sessions are resumed: three connections of a worker take one full handshake

$nginx->get('/name/again');
$redis->cmd(qw(CLIENT KILL TYPE normal SKIPME yes));
ok(wait_for { $nginx->get('/name/small')->verdict eq 'HIT -' },
   'connections are killed, and made again');
ok($nginx->lines('rcache redis TLS fd:\d+ reused:1'), 'sessions are resumed');

# a server that goes away while it is written to

$redis->stop();
is($nginx->get('/name/large')->status, 200, 'Redis is killed');
$redis->start();
ok(wait_for { $nginx->get('/name/large')->verdict eq 'HIT -' },
   'hits again');

# commands by the hundred in one turn, bodies of all sizes at once

my @uris = map { '/tls13/' . $_ } 1 .. 60;
my @requests = map {
    my $c = $nginx->connect();
    $c->send("GET $_ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    [ $_, $c ];
} @uris, @uris, ('/tls13/large') x 4;
my @wrong = grep {
    my ($uri, $c) = @$_;
    my $r = $c->response();
    $r->status != 200 || $r->body ne text($uri);
} @requests;
is(scalar(@wrong), 0, 'many requests at once');

# the authorities of the system, which here are ours

{
    local $ENV{SSL_CERT_FILE} = $certs->ca;

    my $trusting = $t->nginx(<<'CONF', settle => 0);
    redis_proxy_cache_zone    trusting:64k server=rediss://localhost:%%OPEN%%
                              connect_timeout=20s timeout=20s;
    redis_proxy_cache_budget  20s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  trusting;
        }
    }
CONF

    ok(wait_for { $trusting->get('/trusting')->verdict eq 'HIT -' },
       'an authority that the system trusts is enough');
    is_deeply([ $trusting->lines('is down') ], [], 'from the beginning');
}

# a worker that exits in the middle of a handshake leaves no connection open

{
    my $mute = $t->raw('MUTE', sub { 1 while sysread $_[0], my $data, 4096 });
    my $leaves = $t->nginx(<<'CONF', settle => 0);
    redis_proxy_cache_zone  mute:64k server=rediss://%%MUTE%%
                            connect_timeout=2s timeout=2s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  mute;
        }
    }
CONF

    $leaves->get('/mute');
    ok($leaves->wait_line('is down: no TLS handshake'), 'a server is mute');
    my $n = $mute->count();
    ok((wait_for { $leaves->get('/mute'); $mute->count() > $n }),
       'it is tried again, for nobody');
    ok($leaves->stop(), 'nginx stops meanwhile');
    is_deeply([ $leaves->faults() ], [], 'without a word');
}

# what the configuration says wrongly

for (
    [ "server=redis://h:1 ssl_verify=off", 'rediss://' ],
    [ "server=rediss://h:1 ssl_verify=perhaps", 'on or off' ],
    [ "server=rediss://h:1 ssl_verify_depth=x", 'number' ],
    [ "server=rediss://h:1 ssl_protocols=SSLv3", 'TLSv1.2' ],
    [ "server=rediss://h:1 ssl_ciphers=NONSENSE", 'NONSENSE' ],
    [ "server=rediss://h:1 ssl_certificate=$crt", 'ssl_certificate_key=' ],
    [ "server=rediss://h:1 ssl_trusted_certificate=/none", '/none' ],
    [ "server=rediss://h:1 ssl_name=", 'a value' ],
    [ "server=rediss://h:1 ssl_nonsense=1", 'ssl_trusted_certificate=' ],
) {
    my ($parameters, $said) = @$_;

    my $bad = $t->nginx_new("    redis_proxy_cache_zone a:64k $parameters;\n");
    my ($status, $out) = $bad->check();
    ok($status != 0, "$parameters is refused");
    like($out, qr/\[emerg\].*\Q$said\E/, 'and the error says what is right');
    @{ $t->{nginxes} } = grep { $_ != $bad } @{ $t->{nginxes} };
}

$t->done();


sub tls {
    my ($name, $crt, $key, $auth) = @_;

    return [ "tls-port $port{$name}", "tls-cert-file $crt",
             "tls-key-file $key", 'tls-ca-cert-file ' . $certs->ca,
             "tls-auth-clients $auth" ];
}


sub text {
    my ($uri) = @_;

    return $uri =~ /large/ ? join '', map { sprintf "%06x\n\0\xff", $_ }
                                            1 .. 100_000
                           : $uri;
}


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=60' ], text($req->uri));
}
