#!/usr/bin/perl

# The key decides who gets what.  Two requests that differ must never meet in
# one entry, whatever bytes a client puts into its URL; and an operator reads
# the keys in redis-cli, so they are the URLs as far as that is possible.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw(sha256_hex);
use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone    api:1m server=%%REDIS%% prefix=p:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache_valid   any 1m;

    large_client_header_buffers  8 32k;

    server {
        listen       127.0.0.1:%%PORT%%;
        server_name  one.example two.example;

        redis_proxy_cache  api;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /custom/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  "$arg_a|$http_x_who";
        }

        location /raw {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  $http_x_key;
        }

        location /rewritten/ {
            rewrite                ^/rewritten/(.*)$ /target/$1 break;
            proxy_pass             http://%%ORIGIN%%;
        }
    }
CONF

my $r;

# readable keys, and what is encoded in them

for (
    [ '/plain?a=1&b=2',      '/plain?a=1&b=2' ],
    [ '/b{r}aces',           '/b%7Br%7Daces' ],
    [ '/per%20cent%7b',      '/per%20cent%7b' ],
    [ "/utf-8/caf\xc3\xa9",  '/utf-8/caf%C3%A9' ],
    [ '/a?x={y}}{',          '/a?x=%7By%7D%7D%7B' ],
    [ '/star*[a]?^$',        '/star*[a]?^$' ],
) {
    my ($uri, $encoded) = @$_;
    my $key = "p:{http://localhost$encoded}";

    is($nginx->get($uri)->verdict, 'MISS -', "a miss: $encoded");
    $nginx->settle();
    ok($redis->exists($key), "in Redis as $key");
    is($nginx->get($uri)->verdict, 'HIT -', 'and then a hit');
}

is($nginx->get('/plain?b=2&a=1')->verdict, 'MISS -',
   'the order of arguments matters');

# $host without port, in lower case; each host for itself

is($nginx->request('GET', '/h', host => 'One.Example:80')->verdict, 'MISS -',
   'a miss for a host');
$nginx->settle();
ok($redis->exists('p:{http://one.example/h}'), 'its key has the plain name');
is($nginx->request('GET', '/h', host => 'two.example')->verdict, 'MISS -',
   'a miss for another host');
is($nginx->request('GET', '/h', host => 'one.example')->verdict, 'HIT -',
   'a hit for the first');
is($nginx->request('GET', '/h', version => '1.0', headers => [ Host => undef ])
   ->verdict, 'HIT -', 'without Host it is the name of the server');

# keys that come close to each other in the encoding stay apart

my %seen;
my @close = ('/x{', '/x%7B', '/x%7b', '/x%257B', "/x\xff", '/x%FF', '/x%25FF',
             '/x%ff', '/x+', '/x%20', '/x%2B');

for my $uri (@close) {
    $r = $nginx->get($uri);
    $nginx->settle();
    $seen{$uri} = $r->body;
}

for my $uri (@close) {
    $r = $nginx->get($uri);
    (my $shown = $uri) =~ s/([^!-~])/sprintf '\\x%02x', ord $1/ge;
    like($r->body, qr/^\Q$uri\E /, "$shown gets no response but its own");
}

# a key of one's own, shown in the variable

$r = $nginx->get('/custom/1?a=7', 'X-Who', 'me');
is($r->verdict, 'MISS -', 'a miss with a custom key');
is($r->logged('key'), '7|me', '$redis_proxy_cache_key is that key');
$nginx->settle();
ok($redis->exists('p:{7|me}'), 'and Redis has it');
$r = $nginx->get('/custom/2?b=1&a=7', 'X-Who', 'me');
is($r->verdict, 'HIT -', 'another URL with the same key is a hit');
is($nginx->get('/custom/1?a=7', 'X-Who', 'you')->verdict, 'MISS -',
   'the same URL with another key is a miss');
is($nginx->get('/plain?a=1&b=2')->logged('key'),
   'http://localhost/plain?a=1&b=2', 'the variable shows the default key');

# bytes that only a header can bring; the full key is kept apart from others

for my $key ("t\tab", 'tr{ick}:l', 'x}:v:1', "\xc3\xa9", '%', '"q"') {
    (my $encoded = $key)
        =~ s/([{}\x00-\x20\x7f-\xff])/sprintf '%%%02X', ord $1/ge;

    is($nginx->get('/raw', 'X-Key', $key)->verdict, 'MISS -', "key $encoded");
    $nginx->settle();
    ok($redis->exists("p:{$encoded}"), 'is encoded in Redis');
    is($nginx->get('/raw', 'X-Key', $key)->verdict, 'HIT -', 'and found');
}

# a space separates the parts of a key, so one in front of them is doubled

is($nginx->get('/raw', 'X-Key', 'a b')->verdict, 'MISS -',
   'a key with a blank');
$nginx->settle();
ok($redis->exists('p:{a%20%20b}'), 'has two of them in Redis');
is($nginx->get('/raw', 'X-Key', 'a b')->verdict, 'HIT -', 'and is found');
is($nginx->get('/raw', 'X-Key', 'a  b')->verdict, 'MISS -',
   'two blanks are another key');

$nginx->get('/raw', 'X-Key', 'case');
$nginx->settle();
is($nginx->get('/raw', 'X-Key', 'CASE')->verdict, 'MISS -',
   'the case of letters matters');

# an entry that lies under another key, as after a RENAME, is not served

$redis->cmd('COPY', 'p:{case}', 'p:{moved}');
$r = $nginx->get('/raw', 'X-Key', 'moved');
is($r->verdict, 'MISS -', 'an entry with another key inside is a miss');
is($origin->latest->header('X-Key'), 'moved', 'which the origin answers');

# long keys

my $long = 'k' x 512;
is($nginx->get('/raw', 'X-Key', $long)->verdict, 'MISS -', '512 bytes');
$nginx->settle();
ok($redis->exists("p:{$long}"), 'are still readable');

for my $key ('k' x 513, 'k' x 514, '{' x 171, 'K' x 8192) {
    my $name = length($key) . ' x ' . substr $key, 0, 1;
    $r = $nginx->get('/raw', 'X-Key', $key);
    is($r->verdict, 'MISS -', "a key of $name");
    is($r->logged('key'), $key, 'is whole in the variable');
    $nginx->settle();
    ok($redis->exists('p:{sha256:' . sha256_hex($key) . '}'),
       'is a digest in Redis');
    is($nginx->get('/raw', 'X-Key', $key)->verdict, 'HIT -', 'and found');
}

is($nginx->get('/raw', 'X-Key', 'sha256:' . sha256_hex('k' x 513))->body,
   '/raw ' . $origin->latest->n, 'a key that looks like a digest gets its own');

my @before = $redis->keys();
for (
    [ 'K' x 8193, 'key_too_long', 'over 8 KiB' ],
    [ '',         'key_empty',    'empty' ],
) {
    my ($key, $reason, $name) = @$_;

    for my $time (1, 2) {
        $r = $nginx->get('/raw', 'X-Key', $key);
        like($r->verdict, qr/^\S* \Q$reason\E$/, "$time: a key that is $name");
        is($r->body, '/raw ' . $origin->latest->n, 'goes to the origin');
    }
}

$nginx->settle();
is_deeply([ $redis->keys() ], \@before, 'and is not stored');

# a URL as long as nginx takes it

my $uri = '/long?' . 'u' x 8000;
is($nginx->get($uri)->verdict, 'MISS -', 'a long URL');
$nginx->settle();
is($nginx->get($uri)->verdict, 'HIT -', 'is found');
is($nginx->get('/long?' . 'u' x 8200)->body, '/long?' . 'u' x 8200 . ' '
   . $origin->latest->n, 'a longer one passes');

# a rewritten request has the URI in force, not that of another resource

is($nginx->get('/rewritten/a')->verdict, 'MISS -', 'a rewritten request');
$nginx->settle();
is($nginx->get('/rewritten/a')->body =~ m{^/target/a } ? 'right' : 'wrong',
   'right', 'has its response');

$t->done();


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [], $req->uri . ' ' . $req->n);
}
