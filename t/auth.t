#!/usr/bin/perl

# Ways to a Redis: user and password, a database, a unix socket, IPv6, a host
# name.  A password must work wherever it may be given, must be replaceable
# by a reload, and must never be seen in a log.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::IP;
use Test::More;
use RCache;

my $t = RCache->new();
my $origin = $t->origin(\&origin);

my $has_v6 = IO::Socket::IP->new(LocalHost => '::1', Listen => 1) ? 1 : 0;

my $redis = $t->redis(
    unix => 1, user => 'tester', password => 'test',
    config => [
        'requirepass simple',
        'user tester on >test ~* &* +@all',
        'user odd on >p@ss:w/rd%%20? ~* +@all',
        'user full on >s3cret ~* +@all',
        'user least on >little resetkeys ~least:* &least:* -@all +get +getrange'
            . ' +set +del +unlink +pttl +eval +publish +subscribe'
            . ' +unsubscribe +select +client|setname +ping',
        $has_v6 ? 'bind 127.0.0.1 ::1' : (),
    ]
);

my $file = spit($t->dir . '/password', "s3cret\n");

my $at = $redis->addr();
my $socket = $redis->socket();
my $port = $redis->port();

# name, parameters, database

my @ways = (
    [ 'url',      "server=redis://full:s3cret\@$at", 0 ],
    [ 'urldb',    "server=redis://full:s3cret\@$at/7", 7 ],
    [ 'nouser',   "server=redis://:simple\@$at", 0 ],
    [ 'percent',  "server=redis://odd:p%40ss%3Aw%2Frd%25%2520%3F\@$at/1", 1 ],
    [ 'params',   "server=redis://$at user=full password=s3cret", 0 ],
    [ 'onlypass', "server=redis://$at/2 password=simple", 2 ],
    [ 'db',       "server=redis://$at user=full password=s3cret db=3", 3 ],
    [ 'file',     "server=redis://$at user=full password_file=$file", 0 ],
    [ 'unix',     "server=unix:$socket user=full password=s3cret", 0 ],
    [ 'unixdb',   "server=unix:$socket password=simple db=4", 4 ],
    [ 'least',    "server=redis://least:little\@$at/5", 5 ],
    [ 'name',     "server=redis://full:s3cret\@localhost:$port/6", 6 ],
    ($has_v6
        ? [ 'v6', "server=redis://full:s3cret\@[::1]:$port/8", 8 ] : ()),
);

my $zones = join "\n", map {
    "    redis_proxy_cache_zone $_->[0]:64k $_->[1]\n"
    . "        connect_timeout=5s timeout=5s;"
} @ways;

my $locations = join "\n", map {
    "        location /$_->[0]/ {\n"
    . "            proxy_pass         http://%%ORIGIN%%;\n"
    . "            redis_proxy_cache  $_->[0];\n"
    . "        }\n"
} @ways;

my $nginx = $t->nginx(<<"CONF", settle => 0);
$zones
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

$locations
    }
CONF

for (@ways) {
    my ($name, $how, $db) = @$_;

    $redis->cmd('SELECT', $db);

    is($nginx->get("/$name/1")->verdict, 'MISS -', "$name: a miss");
    ok($redis->wait_key("$name:{http://localhost/$name/1}"),
       "an entry in database $db");
    is($nginx->get("/$name/1")->verdict, 'HIT -', 'a hit');
}

$redis->cmd('SELECT', 0);

# a large body over the socket, which takes it in small pieces

for my $way ('unix', 'url') {
    my $miss = $nginx->get("/$way/large");
    ok($redis->wait_key("$way:{http://localhost/$way/large}"),
       "$way: a large body is stored");
    my $hit = $nginx->get("/$way/large");
    is($hit->verdict, 'HIT -', 'and a hit');
    ok($hit->body eq $miss->body && length $hit->body == 900_000,
       'of the same bytes');
}

# each connection says who it is

my $clients = $redis->cmd('CLIENT', 'LIST');

for (@ways) {
    like($clients, qr/\bname=nginx-\Q$_->[0]\E /,
         "CLIENT LIST names the zone $_->[0]");
    like($clients, $_->[0] eq 'least'
                   ? qr/\bname=nginx-least .* flags=N/
                   : qr/\bname=nginx-\Q$_->[0]\E .* flags=\w*e/,
         'and it is not to be evicted, if it may say so');
}

# a new password, taken over by a reload

$redis->cmd('ACL', 'SETUSER', 'full', '>n3w', '<s3cret');
spit($file, "n3w\n");
ok($nginx->reload(old => 1), 'the password has changed, a reload');
is($nginx->get('/file/1')->verdict, 'HIT -', 'password_file is read again');
is($nginx->get('/file/2')->verdict, 'MISS -', 'stores are possible');
ok($redis->wait_key('file:{http://localhost/file/2}'), 'and made');

# the other way to end a password: the connections are killed

$redis->cmd('ACL', 'SETUSER', 'full', '>later', '<n3w');
$redis->cmd('CLIENT', 'KILL', 'USER', 'full');
ok(wait_for {
    my $r = $nginx->get('/file/1');
    $r->status == 200 && $r->verdict =~ /^MISS/;
}, 'a password that is no longer right: misses');
ok($nginx->wait_line('is down: .*WRONGPASS'), 'the log says why');
spit($file, 'later');
ok($nginx->reload(old => 1), 'the right one, without an end of line');
ok(wait_for { $nginx->get('/file/1')->verdict eq 'HIT -' }, 'hits again');

# a rotation in the order that works without a reload: the file, then the user

spit($file, "rotated\n");
$redis->cmd('ACL', 'SETUSER', 'full', '>rotated', '<later');
$redis->cmd('CLIENT', 'KILL', 'USER', 'full');
ok(wait_for { $nginx->get('/file/1')->verdict eq 'HIT -' },
   'the file has the right password: it is read when AUTH is refused');
ok($nginx->wait_line('the password was read again'), 'which is in the log');

# in the other order, and with a file that is of no use for a while

$redis->cmd('ACL', 'SETUSER', 'full', '>afresh', '<rotated');
$redis->cmd('CLIENT', 'KILL', 'USER', 'full');
spit($file, "two\nlines\n");
ok(wait_for { $nginx->get('/file/1')->verdict =~ /^MISS/ }, 'misses');
spit($file, "afresh\n");
ok(wait_for { $nginx->get('/file/1')->verdict eq 'HIT -' },
   'the file comes after the user: hits again');

# no password is in any log

my $log = slurp("$nginx->{dir}/error.log");
for my $password ('s3cret', 'n3w', 'later', 'rotated', 'afresh', 'simple',
                  'little', 'p@ss', 'p%40ss')
{
    is(index($log, $password), -1, "\"$password\" is not in the log");
}

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my $body = $req->uri;

    if ($body =~ /large/) {
        $body = join '', map { sprintf "%06x\n\0\xff", $_ } 1 .. 100_000;
    }

    $reply->send(200, [ 'Cache-Control' => 'max-age=60' ], $body);
}
