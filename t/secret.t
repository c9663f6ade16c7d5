#!/usr/bin/perl

# Another tenant of the Redis, or whoever gets to write to it, can make an entry
# that is right in all its checksums.  With a secret that Redis does not know
# it is not served: not an entry that was made, nor one that was changed, moved
# or put together of two.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw(hmac_sha256_hex);
use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%% prefix=p:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache_valid   200 10m;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
            redis_proxy_cache_max_size    20m;
        }

        location /compressed {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_compress  zstd min_length=1;
        }

        location = /purge {
            redis_proxy_cache_admin  api;
            allow                    127.0.0.1;
            deny                     all;
        }

        location /user {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_user  $http_x_user;
        }
    }
CONF

my ($one, $two) = ($t->dir() . '/one', $t->dir() . '/two');
my ($first, $second) = ('the first secret of this', 'the second secret of it');
spit($one, "$first\n");
spit($two, $second);

my $nginx = $t->nginx("    redis_proxy_cache_secret_file  $one;\n$conf");
my $plain = $t->nginx($conf, settle => 0);
my $r;


sub key { return "p:{http://localhost$_[0]}" }


# what is stored is signed, and served

for my $uri ('/a', '/b', '/vary', '/empty', '/compressed') {
    is($nginx->get($uri)->verdict, 'MISS -', "$uri: a miss");
    $r = $nginx->get($uri);
    is($r->verdict, 'HIT -', 'a hit');
}

my $a = $redis->cmd('GET', key('/a'));
ok(unpack('V', substr $a, 48, 4) & 0x0800, 'an entry says that it is signed');
is($plain->get('/a')->verdict, 'HIT -',
   'who has no secret does not ask for a signature');

# forged: what another one writes is right in its key, its checksums and all
# else, as it would be if it were ours

sub refused {
    my ($forger, $uri, $name) = @_;

    my $n = $origin->count();
    is($forger->get($uri)->logged('cache'), 'MISS', "$name: is written");
    is($forger->get($uri)->verdict, 'HIT -', 'and is right to its author');

    my $r = $nginx->get($uri);
    is($r->verdict, 'MISS -', 'but a miss for us');
    is($r->body, "$uri " . $origin->latest->n, 'which the origin answers');
    is($nginx->get($uri)->body, $r->body, 'and that takes its place');

    return;
}

refused($plain, '/forged/a', 'an entry without a signature');
ok($nginx->lines('entry_unsigned.*|p:\{http://localhost/forged/a\}'),
   'the log tells it');

my $other = $t->nginx("    redis_proxy_cache_secret_file  $two;\n$conf",
                      settle => 0);
refused($other, '/forged/b', 'one that is signed with another secret');
refused($plain, '/forged/vary', 'one that varies');

# a marker that is forged leads nowhere

is($nginx->get('/vary')->verdict, 'HIT -', 'one that varies');
$redis->cmd('DEL', key('/vary'));
is($plain->get('/vary')->verdict, 'MISS -', 'whose marker is forged');
is($nginx->get('/vary')->logged('cache'), 'MISS', 'is a miss');

$redis->cmd('SET', key('/b'), $redis->cmd('GET', key('/a')), 'PX', 600_000);
is($nginx->get('/b')->verdict, 'MISS -', 'an entry that was moved is a miss');

my $bad = $redis->cmd('GET', key('/a'));
substr($bad, 130, 1) ^= "\1";
$redis->cmd('SET', key('/a'), $bad, 'PX', 600_000);
is($nginx->get('/a')->verdict, 'MISS -', 'so is one that was changed');

# a 304 renews what is signed, and signs it again

is($nginx->get('/revalidate')->verdict, 'MISS -', 'one to be revalidated');
$nginx->settle();
is($nginx->get('/revalidate')->logged('cache'), 'REVALIDATED', 'it is');
$nginx->settle();
is($nginx->get('/revalidate')->verdict, 'HIT -', 'and still right');

# a body in segments

is($nginx->get('/large')->verdict, 'MISS -', 'a large one');
is(length $nginx->get('/large')->body, 3_000_000, 'is found again');
my ($segment) = sort grep { /:s:/ } $redis->keys();
ok($segment, 'in segments');
is($nginx->get('/large')->verdict, 'HIT -', 'a hit');

my $was = $redis->cmd('GET', $segment);
my $part = $was;
substr $part, 100, 1, 'y';
substr $part, 6, 2, "\0\0";
$redis->cmd('SET', $segment, $part, 'PX', 600_000);
$r = $nginx->get('/large');
unlike($r->body, qr/y/, 'a segment that was changed is not sent');

# users have other names

$nginx->request('GET', '/user', headers => [ 'X-User', 'alice' ]);
$nginx->settle();
my $name = substr hmac_sha256_hex('alice', $first), 0, 32;
ok($redis->exists(key("/user%20user=$name")),
   'the digest of a user needs the secret too');

# rotation: the new one signs, the old one is still good

my $new = $t->nginx("    redis_proxy_cache_secret_file  $two $one;\n$conf",
                    settle => 0);
my $last = $other;

is($new->get('/a')->verdict, 'HIT -', 'what the old one has signed is good');
is($last->get("/vary")->logged("cache"), "MISS",
   "for who has forgotten it not");
is($new->get('/c')->verdict, 'MISS -', 'something new');
is($new->get('/c')->verdict, 'HIT -', 'is signed');
is($last->get('/c')->verdict, 'HIT -', 'with the new one');
is($nginx->get('/c')->logged('cache'), 'MISS', 'which the old one is not');

for (
    [ 'no file', "redis_proxy_cache_secret_file $one-not;",
      qr/open\(\) ".*one-not" in "redis_proxy_cache_secret_file" failed/ ],
    [ 'twice', "redis_proxy_cache_secret_file $one;\n"
               . "redis_proxy_cache_secret_file $one;", qr/is duplicate/ ],
) {
    my ($name, $line, $want) = @$_;
    my ($status, $said) = $t->nginx_new($line)->check();
    ok($status && $said =~ $want, "nginx -t: $name") or diag($said);
}

# a user's entries are found by a digest that the secret is part of

$r = $nginx->get('/user/purged', 'X-User', 'alice');
my $hers = $r->body;
$nginx->settle();
is($nginx->get('/user/purged', 'X-User', 'alice')->verdict, 'HIT -',
   'what is of one user');
is($nginx->request('POST', '/purge', body => '{"users": ["alice"]}',
                   headers => [ 'Content-Type', 'application/json' ])->status,
   200, 'is purged');
isnt($nginx->get('/user/purged', 'X-User', 'alice')->body, $hers, 'and gone');

spit("$one-short", "0123456789abcde\n");
my ($status, $said) = $t->nginx_new("redis_proxy_cache_secret_file $one-short;")
    ->check();
ok($status && $said =~ /has no secret, expected from 16/, 'too short');

$_->tolerate(qr/\[emerg\]/, qr/entry_(?:unsigned|corrupt)|segment/)
    for @{ $t->{nginxes} };

$t->done();


sub origin {
    my ($req, $reply) = @_;

    my $path = $req->path;

    if ($path eq '/revalidate') {

        if ($req->header('If-None-Match')) {
            $reply->head(304, 'Cache-Control', 'max-age=60', ETag => '"1"');
            return;
        }

        $reply->send(200, [ 'Cache-Control', 'max-age=0', ETag => '"1"' ],
                     'answer');
        return;
    }

    $reply->send(200, [ 'X-Which', substr($path, 1),
                        $path =~ m{/vary$} ? (Vary => 'Accept-Language') : () ],
                 $path eq '/empty' ? '' : $path eq '/large' ? 'x' x 3_000_000
                 : "$path " . $req->n);
}
