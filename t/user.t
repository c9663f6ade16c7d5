#!/usr/bin/perl

# A cache that gives one user the page of another is the worst that there is.
# With redis_proxy_cache_user the user is part of the key, as a digest, so that
# private responses can be cached, each for its user; whoever is not known gets
# nothing, and what comes behind this cache is told that it must not share.

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
    redis_proxy_cache_zone    purged:1m server=%%REDIS%% prefix=u:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_zone    api:1m server=%%REDIS%% prefix=p:
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;
    redis_proxy_cache_valid   200 1m;
    redis_proxy_cache         api;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_user  $http_x_user;
        }

        location /shared/ {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  http://localhost$request_uri;
        }

        location /same {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_key   same;
            redis_proxy_cache_user  $http_x_user;
        }

        location /forged {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache_key  $http_x_key;
        }

        location /off/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_user  off;
        }

        location /revalidate/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_user        $http_x_user;
            redis_proxy_cache_revalidate  on;
        }

        location /swr/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_user  $http_x_user;
        }

        location /tagged/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache       purged;
            redis_proxy_cache_user  $http_x_user;
            redis_proxy_cache_tags  $upstream_http_x_tag;
        }

        location = /purge {
            redis_proxy_cache_admin  purged;
            allow                    127.0.0.1;
            deny                     all;
        }

        location /static/ {
            redis_proxy_cache_user  $http_x_user;
            empty_gif;
        }
    }
CONF


sub get {
    my ($uri, $user, $say, @more) = @_;

    return $nginx->get($uri, (defined $user ? ('X-User', $user) : ()),
                       ($say ? ('X-Say', $say) : ()), @more);
}


sub digest { return substr sha256_hex($_[0]), 0, 32 }


# each user has an entry

my $r = get('/page', 'alice', 'Cache-Control: private, max-age=60');
is($r->verdict, 'MISS -', 'a private response is stored');
my $hers = $r->body;
$nginx->settle();

my $key = 'http://localhost/page user=' . digest('alice');
is($r->logged('key'), $key, 'the key has a digest of the user');
(my $encoded = $key) =~ s/ /%20/g;
ok($redis->exists("p:{$encoded}"), 'which is all that Redis has of her');

$r = get('/page', 'alice', 'Cache-Control: private, max-age=60');
is($r->verdict, 'HIT -', 'she has a hit');
is($r->body, $hers, 'of her own');
is($r->header('Cache-Control'), 'private, max-age=60',
   'which is private to who comes behind');

$r = get('/page', 'bob', 'Cache-Control: private, max-age=60');
is($r->verdict, 'MISS -', 'another user has a miss');
isnt($r->body, $hers, 'and a response of his own');

ok(!(grep { /alice|bob/ } $redis->keys()), 'no name is in a key');

# nobody

for my $user (undef, '') {
    my @before = sort $redis->keys();

    for (1, 2) {
        $r = get('/page', $user, 'Cache-Control: max-age=60');
        is($r->verdict, 'BYPASS user', 'who is not known is not served');
        is($r->body, 'answer ' . $origin->latest->n, 'but by the upstream');
    }

    $nginx->settle();
    is_deeply([ sort grep { !/settle/ } $redis->keys() ],
              [ grep { !/settle/ } @before ], 'and nothing is stored');
}

# Authorization

my @auth = (Authorization => 'Bearer a');
is(get('/auth', 'alice', 'Cache-Control: max-age=60', @auth)->verdict,
   'MISS -', 'an answer to Authorization is stored for its user');
$nginx->settle();
is(get('/auth', 'alice', 'Cache-Control: max-age=60', @auth)->verdict,
   'HIT -', 'and served to her');
is(get('/auth', 'bob', 'Cache-Control: max-age=60', @auth)->verdict,
   'MISS -', 'but not to him');
is($nginx->get('/off/auth', 'X-Say', 'Cache-Control: max-age=60', @auth)
   ->verdict, 'MISS authorization', 'without a user it is not stored');
is($nginx->get('/off/page', 'X-Say', 'Cache-Control: private, max-age=60')
   ->verdict, 'MISS private', 'nor is what is private');

# what it says of itself is said to all the others as well

for (
    [ 'nothing', '', 'private' ],
    [ 'public', 'Cache-Control: public, max-age=60', 'private, max-age=60' ],
    [ 'shared', 'Cache-Control: s-maxage=60', 'private, s-maxage=60' ],
    [ 'twice', 'Cache-Control: public|Cache-Control: max-age=9',
      'private private, max-age=9' ],
) {
    my ($name, $say, $want) = @$_;

    for my $time ('stored', 'served') {
        $r = get("/cc/$name", 'alice', "X-A: b|$say");
        is(join(' ', $r->headers('Cache-Control')), $want, "$name: $time");
        $nginx->settle();
    }

    is($r->verdict, 'HIT -', "$name: a hit");
}

for my $time ('stored', 'served') {
    $r = get('/cdn', 'alice', 'CDN-Cache-Control: max-age=60|'
             . 'Surrogate-Control: max-age=60');
    is($r->header('CDN-Cache-Control'), undef, "$time: nothing is for a CDN");
    is($r->header('Surrogate-Control'), undef, "$time: by whatever name");
    $nginx->settle();
}
is($r->verdict, 'HIT -', 'its lifetime is that of the CDN');

# still not stored

for (
    [ 'Set-Cookie: a=b', 'set_cookie' ],
    [ 'Cache-Control: no-store', 'no_store' ],
    [ 'Vary: *', 'vary' ],
    [ 'Vary: Cookie', 'vary' ],
) {
    my ($say, $reason) = @$_;
    $r = get("/never/$reason", 'alice', "$say|Expires: "
             . 'Thu, 01 Jan 2099 00:00:00 GMT');
    is($r->verdict, "MISS $reason", "$say: not even for one user");
}

# Vary, beside the user

for my $lang ('de', 'fr') {
    for my $user ('alice', 'bob') {
        $r = get('/vary', $user, 'Vary: Accept-Language|Cache-Control: private',
                 'Accept-Language', $lang);
        is($r->verdict, 'MISS -', "$user, $lang: a miss");
        $nginx->settle();
        is(get('/vary', $user, undef, 'Accept-Language', $lang)->body,
           $r->body, "$user, $lang: a hit of their own");
    }
}

# a location without users does not get at what is a user's, nor the other way
# round, even if the keys were the same

$nginx->get('/shared/x', 'X-Say', 'Cache-Control: max-age=60');
$nginx->settle();

my $same = 'same user=' . digest('alice');
$r = get('/same', 'alice', 'Cache-Control: private, max-age=60');
is($r->logged('key'), $same, 'a key of one\'s own has the user too');
my $secret = $r->body;
$nginx->settle();

$r = $nginx->get('/forged', 'X-Key', $same,
                 'X-Say', 'Cache-Control: max-age=60');
isnt($r->body, $secret, 'who writes that key into a header does not get it');

# the entry itself says whose it is, should keys ever be the same

(my $there = $same) =~ s/ /%20/g;
my $entry = $redis->cmd('GET', "p:{$there}");
my $flags = unpack 'V', substr $entry, 48, 4;
ok($flags & 0x0400, 'the entry is marked as one of a user');

# revalidation keeps it so

$r = get('/revalidate/x', 'alice',
         'ETag: "1"|Cache-Control: private, max-age=0');
$nginx->settle();
$r = get('/revalidate/x', 'alice',
         'ETag: "1"|Cache-Control: public, max-age=60', 'X-Status', '304');
is($r->logged('cache'), 'REVALIDATED', 'a 304');
is($r->status, 200, 'gives her the page');
is($r->header('Cache-Control'), 'private, max-age=60', 'which is private');
$nginx->settle();
$r = get('/revalidate/x', 'alice');
is($r->verdict, 'HIT -', 'and again');
is($r->header('Cache-Control'), 'private, max-age=60', 'and again private');
is(get('/revalidate/x', 'bob', 'Cache-Control: no-store')->verdict,
   'MISS no_store', 'he gets nothing of it');

# a refresh in the background is for the same user

my $swr = 'Cache-Control: private, max-age=0, stale-while-revalidate=60';
get('/swr/x', 'alice', 'X-A: 1|' . 'Cache-Control: private, max-age=1, '
    . 'stale-while-revalidate=600');
$nginx->settle();
my $stale = wait_for {
    get('/swr/x', 'alice', 'Cache-Control: private, max-age=600')
        ->logged('cache') =~ /^(?:STALE|UPDATING)$/;
};
ok($stale, 'stale while it is updated');
ok(wait_for { get('/swr/x', 'alice')->verdict eq 'HIT -' }, 'then new');
($key) = grep { m{/swr/x%20user=} && !/:l$/ } $redis->keys();
$flags = unpack 'V', substr $redis->cmd('GET', $key), 48, 4;
ok($flags & 0x0400, 'and still marked');

# what she changes is gone for her

$nginx->request('DELETE', '/page', headers => [ 'X-User', 'alice' ]);
is(get('/page', 'alice', 'Cache-Control: private')->verdict, 'MISS -',
   'after DELETE she gets a new one');

# without an upstream

for my $time ('stored', 'served') {
    $r = get('/static/x', 'alice');
    is($r->header('Cache-Control'), 'private', "no upstream: $time");
    $nginx->settle();
}

for (
    [ 'constant', 'redis_proxy_cache_user alice;',
      qr/invalid value "alice" in "redis_proxy_cache_user"/ ],
    [ 'twice', 'redis_proxy_cache_user $a; redis_proxy_cache_user off;',
      qr/duplicate|unknown/ ],
) {
    my ($name, $line, $want) = @$_;
    my ($status, $said) = $t->nginx_new($line)->check();
    ok($status && $said =~ $want, "nginx -t: $name") or diag($said);
}

$_->tolerate(qr/\[emerg\]/) for @{ $t->{nginxes} };

# all that is stored for one user is purged at once, and for nobody else

my $private = 'Cache-Control: private, max-age=600';
my %say = (plain => $private, tag => "$private|X-Tag: a b",
           swr => 'Cache-Control: private, max-age=1, '
                  . 'stale-while-revalidate=600');
my %body;

for my $user ('alice', 'bob') {
    for my $what (sort keys %say) {
        $body{"$user/$what"} = get("/tagged/$what", $user, $say{$what})->body;
        $nginx->settle();
    }

    # one is refreshed without its client

    ok(wait_for { get('/tagged/swr', $user, $private)->body
                      ne $body{"$user/swr"} }, "$user: refreshed");
    ok(wait_for { get('/tagged/swr', $user)->verdict eq 'HIT -' }, 'stored');
    $body{"$user/swr"} = get('/tagged/swr', $user)->body;

    for my $what (qw(plain tag swr)) {
        is(get("/tagged/$what", $user)->body, $body{"$user/$what"},
           "$user has $what");
    }
}

for my $users ('["alice"]', '["x, y", "alice"]') {
    $r = $nginx->request('POST', '/purge',
                         headers => [ 'Content-Type', 'application/json' ],
                         body => qq({"users": $users}));
    is($r->status, 200, 'a purge of a user');
    like($r->body, qr/"users":[12],/, 'says so');
    unlike($r->body, qr/alice/, 'and no name');

    for my $what (qw(plain tag swr)) {
        $r = get("/tagged/$what", 'alice', $say{$what});
        isnt($r->body, $body{"alice/$what"}, "what was $what is gone");
        $nginx->settle();
        is(get("/tagged/$what", 'bob')->body, $body{"bob/$what"},
           'that of another user is not');
        $body{"alice/$what"} = $r->body;
    }
}

ok(!(grep { /alice/ } map { ref ? @$_ : $_ } map { @{ $_->[1] } }
     @{ $redis->cmd('XRANGE', 'u:!purges', '-', '+') }),
   'no name is in the log of purges');

for my $wrong ('[""]', '"alice"', '[1]') {
    is($nginx->request('POST', '/purge',
                       headers => [ 'Content-Type', 'application/json' ],
                       body => qq({"users": $wrong}))->status, 400,
       "$wrong are no users");
}

$t->done();


sub origin {
    my ($req, $reply) = @_;

    $reply->obey();
}
