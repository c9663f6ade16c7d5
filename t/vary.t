#!/usr/bin/perl

# Two clients that ask for the same URI in different words get different
# responses, and each must go on getting its own: a response that is stored
# for one language or encoding and served to another is as wrong as one for
# another user.  What cannot be told apart safely is not stored.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache         api;
        redis_proxy_cache_bypass  $arg_bypass$http_x_bypass;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /few/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_max_variants  3;
        }

        location /zero/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_max_variants  0;
        }

        location /ignores/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_ignore_headers  Vary;
        }

        location /revalidates/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
        }

        location /gzip/ {
            proxy_pass       http://%%ORIGIN%%;
            gzip             on;
            gzip_types       text/plain;
            gzip_min_length  1;
            gzip_vary        on;
        }
    }
CONF

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);

my ($r, $a, $b, $key);

# two, side by side, on both instances

$a = $one->get('/x/side', 'X-A' => 'a');
is($a->verdict, 'MISS -', 'the first variant is stored');
$b = $one->get('/x/side', 'X-A' => 'b');
is($b->verdict, 'MISS -', 'the second one as well');
isnt($b->body, $a->body, 'they differ');

for my $nginx ($one, $two, $one) {
    for ([ 'a', $a ], [ 'b', $b ]) {
        my ($value, $miss) = @$_;

        my $hit = $nginx->get('/x/side', 'X-A' => $value);
        is($hit->verdict, 'HIT -', "X-A: $value is a hit");
        is($hit->body, $miss->body, 'with its body');
        is_deeply($hit->lasting, $miss->lasting, 'and its headers');
        is($hit->header('Vary'), 'X-A', 'Vary among them');
    }
}

is($origin->count('/x/side'), 2, 'the origin was asked for each once');

# what is in Redis

$key = 'api:{http://localhost/x/side}';
is_deeply([ map { s/:v:[0-9a-f]{32}$/:v:*/r } $redis->keys("$key*") ],
          [ $key, "$key:v:*", "$key:v:*" ],
          'one key for the names, and one for each variant');
is(scalar(grep { my $left = $redis->pttl($_); $left > 55000 && $left <= 60000 }
          $redis->keys("$key*")), 3, 'all of them live as long as they may');
is($one->get('/x/side', 'X-A' => 'a')->logged('key'),
   'http://localhost/x/side', '$redis_proxy_cache_key is the same for all');

# which requests are the same: field, pairs of [ a set of header lists ]

for (
    [ 'name',     [ [ 'X-A' => 'a' ], [ 'x-a' => 'a' ], [ 'X-A' => ' a ' ] ],
                  [ [ 'X-A' => 'A' ] ], [ [ 'X-A' => 'a a' ] ],
                  [ [ 'X-A' => '' ] ], [ [ ] ] ],
    [ 'case',     [ [ 'X-A' => 'a' ], [ 'x-A' => 'a' ] ], [ [ ] ] ],
    [ 'lines',    [ [ 'X-A' => '1', 'X-B' => '2' ],
                    [ 'X-B' => '2', 'X-A' => '1' ],
                    [ 'X-B' => '2', 'X-C' => '3', 'X-A' => '1' ] ],
                  [ [ 'X-A' => '2', 'X-B' => '1' ] ],
                  [ [ 'X-A' => '1' ] ], [ [ 'X-B' => '2' ] ], [ [ ] ] ],
    [ 'list',     [ [ 'X-A' => '1', 'X-B' => '2' ],
                    [ 'x-b' => '2', 'x-a' => '1' ] ],
                  [ [ 'X-A' => '12' ] ], [ [ 'X-B' => '12' ] ] ],
    [ 'several',  [ [ 'X-A' => '1, 2' ], [ 'X-A' => '1,2' ],
                    [ 'X-A' => '1', 'X-A' => '2' ], [ 'X-A' => '1 , 2' ] ],
                  [ [ 'X-A' => '2, 1' ] ], [ [ 'X-A' => '"1, 2"' ] ],
                  [ [ 'X-A' => '"1,2"' ] ], [ [ 'X-A' => '1 2' ] ] ],
    [ 'twice',    [ [ 'X-A' => 'a' ] ], [ [ ] ] ],
    [ 'encoding', [ [ 'Accept-Encoding' => 'gzip, br' ],
                    [ 'Accept-Encoding' => 'br,gzip' ],
                    [ 'Accept-Encoding' => 'BR;q=0.5 , x-gzip' ],
                    [ 'Accept-Encoding' => 'gzip', 'Accept-Encoding' => 'br' ],
                    [ 'Accept-Encoding' => 'gzip, br, identity, zstd;q=0' ] ],
                  [ [ 'Accept-Encoding' => 'gzip' ],
                    [ 'Accept-Encoding' => 'gzip;q=0.1' ],
                    [ 'Accept-Encoding' => 'gzip, br;q=0' ],
                    [ 'Accept-Encoding' => 'gzip, gzip' ] ],
                  [ [ 'Accept-Encoding' => 'br' ] ],
                  [ [ 'Accept-Encoding' => '*' ] ],
                  [ [ 'Accept-Encoding' => '' ],
                    [ 'Accept-Encoding' => 'identity' ],
                    [ 'Accept-Encoding' => 'gzip;q=0' ] ],
                  [ [ ] ] ],
    [ 'language', [ [ 'Accept-Language' => 'en, de;q=0.5' ],
                    [ 'Accept-Language' => 'EN,DE;q=0.50' ],
                    [ 'Accept-Language' => 'de;q=0.500 , en;q=1' ] ],
                  [ [ 'Accept-Language' => 'de, en;q=0.5' ] ],
                  [ [ 'Accept-Language' => 'en, de' ],
                    [ 'Accept-Language' => 'de, en' ] ],
                  [ [ 'Accept-Language' => 'en' ] ],
                  [ [ 'Accept-Language' => 'en-GB' ] ],
                  [ [ 'Accept-Language' => '' ] ], [ [ ] ] ],
    [ 'host',     [ [ 'X-A' => 'x' x 3000 ] ], [ [ 'X-A' => 'x' x 3001 ] ],
                  [ [ 'X-A' => 'x' x 6000 ] ],
                  [ [ 'X-A' => ('x' x 5999) . 'y' ] ] ],
    [ 'control',  [ [ 'X-A' => "a\tb" ] ], [ [ 'X-A' => 'a%09b' ] ],
                  [ [ 'X-A' => 'a b' ] ], [ [ 'X-A' => "a:\xff" ] ] ],
) {
    my ($kind, @sets) = @$_;

    my %seen;

    for my $set (@sets) {
        my ($stored, $n);

        for my $headers (@$set) {
            my $what = substr "$kind: @$headers", 0, 70;
            my $r = $one->get("/x/$kind", @$headers);

            if (!defined $stored) {
                is($r->verdict, 'MISS -', "$what: another variant");
                ok(!$seen{ $r->body }++, 'with a response of its own')
                    or diag($r->body);
                $stored = $r->body;

                my @sent = @$headers;
                is_deeply([ $origin->latest("/x/$kind")->headers($sent[0]) ],
                          [ map { $sent[$_ * 2 + 1] =~ s/^ +| +$//gr }
                            grep { lc $sent[$_ * 2] eq lc $sent[0] }
                            0 .. $#sent / 2 ],
                          'the origin saw what the client said') if @sent;
            }

            for my $nginx ($one, $two) {
                my $hit = $nginx->get("/x/$kind", @$headers);
                is($hit->verdict, 'HIT -', "$what: a hit");
                is($hit->body, $stored, 'of the same');
            }
        }
    }

    is($origin->count("/x/$kind"), scalar @sets,
       "$kind: the origin was asked for each once");
}

# never stored: what is for all requests different, or for each user

for my $n (0 .. 9) {
    for my $time (1, 2) {
        my $r = $one->get("/never/$n", 'X-A' => 'a', Cookie => 'id=1');
        is($r->verdict, 'MISS vary', "$time: never stored: Vary "
           . join ' and ', vary_never($n));
    }
}

is_deeply([ grep { !/:l$/ } $redis->keys('*/never/*') ], [],
          'nothing of that is in Redis');

$r = $one->get('/zero/one', 'X-A' => 'a') for 1, 2;
is($r->verdict, 'MISS vary', 'max_variants 0: no response with Vary');
is($one->get('/zero/plain')->verdict, 'MISS -', 'but others');

$one->get('/ignores/one', 'X-A' => 'a');
is($two->get('/ignores/one', 'X-A' => 'b')->verdict, 'HIT -',
   'where Vary is ignored all get the same');

# how many; the next one counts those that are in Redis

for (1 .. 3) {
    is($one->get('/few/one', 'X-A' => $_)->verdict, 'MISS -',
       "variant $_ of 3");
    is(scalar(grep { !/:l$/ } $redis->keys('*/few/one}:v:*')), $_,
       'which is there');
}

for my $nginx ($one, $two) {
    $r = $nginx->get('/few/one', 'X-A' => 4);
    is($r->verdict, 'MISS variants', 'a fourth one is not stored');
    is($r->status, 200, 'but sent');
    is($nginx->get('/few/one', 'X-A' => $_)->verdict, 'HIT -',
       "variant $_ is still there") for 1 .. 3;
}

is(scalar(my @k = grep { !/:l$/ }
                  $redis->keys('*/few/one}:v:*')), 3, 'there are three');

# one of them fetched anew, again and again, is still one; what is stored
# without a lookup has not seen the marker, and takes the place of all

$one->get('/few/again', 'X-A' => 1);
for my $n (1 .. 8) {
    $r = $one->get('/few/again', 'X-A' => 2, 'X-Bypass' => 1);
    is($r->verdict, 'BYPASS -', "fetched anew and stored, $n");
}
is($one->get('/few/again', 'X-A' => 2)->verdict, 'HIT -', 'a hit');
is($one->get('/few/again', 'X-A' => 1)->verdict, 'MISS -',
   'the other one has to be fetched again');
is($one->get('/few/again', 'X-A' => 2)->body, $r->body, 'of the last one');
is($one->get('/few/again', 'X-A' => 3)->verdict, 'MISS -',
   'there is room for a third');

# what is short-lived among the long-lived does not use up the room either

$one->get('/few/mixed', 'X-A' => 'long');
for my $n (1 .. 4) {
    $one->get('/few/mixed', 'X-A' => 'short');
    $redis->cmd('DEL', grep { $redis->get($_) =~ /x-a:short/ }
                $redis->keys('*/few/mixed}:v:*'));
}
is($one->get('/few/mixed', 'X-A' => 'short')->verdict, 'MISS -',
   'a variant that comes and goes is stored each time');

# the key deleted: all are gone, and do not come back when a new one comes

$one->get('/x/purge', 'X-A' => $_) for 'a' .. 'c';
$key = 'api:{http://localhost/x/purge}';
$redis->cmd('DEL', $key);

$a = $one->get('/x/purge', 'X-A' => 'a');
is($a->verdict, 'MISS -', 'the key deleted, the variants are gone');
is($two->get('/x/purge', 'X-A' => 'a')->verdict, 'HIT -', 'one is new');

for my $value ('b', 'c') {
    my @old = grep { $redis->get($_) =~ /x-a:$value/ }
        $redis->keys("$key:v:*");
    is(scalar(@old), 1, "the old X-A: $value is still in Redis");
    $r = $two->get('/x/purge', 'X-A' => $value);
    is($r->verdict, 'MISS -', 'but does not come back');
    is($one->get('/x/purge', 'X-A' => $value)->body, $r->body,
       'the new one takes its place');
}

is($one->get('/x/purge', 'X-A' => 'a')->body, $a->body, 'the first one stays');

# a variant that is evicted is only that

$redis->cmd('DEL', grep { $redis->get($_) =~ /x-a:b/ }
            $redis->keys("$key:v:*"));
is($one->get('/x/purge', 'X-A' => 'c')->verdict, 'HIT -', 'others stay');
is($one->get('/x/purge', 'X-A' => 'b')->verdict, 'MISS -', 'it is fetched');
is($one->get('/x/purge', 'X-A' => 'c')->verdict, 'HIT -', 'others stay');
is($two->get('/x/purge', 'X-A' => 'b')->verdict, 'HIT -', 'it is there');

# variants of one key in the place of another are not served

$one->get('/x/swap', 'X-A' => $_) for 'a', 'b';
my @swap = $redis->keys('*/x/swap}:v:*');
$redis->cmd('RENAME', $swap[0], 'swap');
$redis->cmd('RENAME', $swap[1], $swap[0]);
$redis->cmd('RENAME', 'swap', $swap[1]);

for my $value ('a', 'b') {
    $r = $one->get('/x/swap', 'X-A' => $value);
    is($r->verdict, 'MISS -', 'a variant under the hash of another');
    like($r->body, qr/ x-a=$value /, 'is not served');
}

# the origin changes its mind about the names

$a = $one->get('/change/1', 'X-A' => 'a', 'X-B' => 'b');
is($one->get('/change/1', 'X-A' => 'a', 'X-B' => 'c')->body, $a->body,
   'X-B does not matter at first');
$one->get('/change/1', 'X-A' => 'a', 'X-B' => 'b', 'X-Bypass' => 1,
          'X-Vary' => 'X-A, X-B');

for my $value ('c', 'd') {
    $r = $two->get('/change/1', 'X-A' => 'a', 'X-B' => $value,
                   'X-Vary' => 'X-A, X-B');
    is($r->verdict, 'MISS -', 'then it does');
    is($one->get('/change/1', 'X-A' => 'a', 'X-B' => $value)->body, $r->body,
       'for all of them');
}
is($one->get('/change/1', 'X-A' => 'a', 'X-B' => 'b')->verdict, 'HIT -',
   'the one that came with it is there');

# and back: what was stored under these names at first is old

$one->get('/change/1', 'X-A' => 'z', 'X-Bypass' => 1);
$r = $one->get('/change/1', 'X-A' => 'a', 'X-B' => 'b');
is($r->verdict, 'MISS -', 'the names of before: no old variant comes back');
isnt($r->body, $a->body, 'but a new response');

# no Vary takes the place of Vary, and the other way round

$one->get('/change/2', 'X-A' => $_) for 'a', 'b';
$r = $one->get('/change/2', 'X-A' => 'a', 'X-Bypass' => 1, 'X-Vary' => 'none');
is($r->verdict, 'BYPASS -', 'a response without Vary');

for my $nginx ($one, $two) {
    my $hit = $nginx->get('/change/2', 'X-A' => $_);
    is($hit->verdict, 'HIT -', 'is for all') for 'a', 'b', 'c';
    is($nginx->get('/change/2', 'X-A' => $_)->body, $r->body, "X-A: $_, too")
        for 'a', 'b', 'c';
}

$one->get('/change/2', 'X-A' => 'a', 'X-Bypass' => 1);
is($two->get('/change/2', 'X-A' => 'a')->verdict, 'HIT -', 'Vary again');
$b = $two->get('/change/2', 'X-A' => 'b');
is($b->verdict, 'MISS -', 'old variants do not come back by that');

# a change to what must not be stored: the old ones may serve, nothing else

$one->get('/change/3', 'X-A' => 'a');
$r = $one->get('/change/3', 'X-A' => 'b', 'X-Vary' => '*');
is($r->verdict, 'MISS vary', 'a change to *');
is($one->get('/change/3', 'X-A' => 'b', 'X-Vary' => '*')->verdict,
   'MISS vary', 'is not stored');

# HEAD, Range, conditions

$a = $one->get('/x/head', 'X-A' => 'a');
$r = $two->head('/x/head', 'X-A' => 'a');
is($r->verdict, 'HIT -', 'HEAD of a variant');
is($r->header('Content-Length'), length $a->body, 'has its length');
is($r->body, '', 'and no body');
$r = $two->head('/x/head', 'X-A' => 'bb');
is($r->verdict, 'MISS -', 'HEAD of another one stores it');
$two->settle();
$b = $one->get('/x/head', 'X-A' => 'bb');
is($b->verdict, 'HIT -', 'for GET');
like($b->body, qr/ x-a=bb /, 'as its own');

$r = $one->get('/x/head', 'X-A' => 'a', Range => 'bytes=0-3');
is($r->verdict, 'HIT -', 'a range of a variant');
is($r->status, 206, 'is a 206');
is($r->body, substr($a->body, 0, 4), 'of its body');
$r = $one->get('/x/head', 'X-A' => 'ccc', Range => 'bytes=0-3');
is($r->status, 206, 'a range of one that is not there');
is($one->get('/x/head', 'X-A' => 'ccc')->verdict, 'HIT -', 'stores it whole');
$r = $one->get('/x/head', 'X-A' => 'a', 'If-None-Match' => '"e"');
is($r->status, 304, 'a condition');
is($r->header('Vary'), 'X-A', 'has its Vary');

# Range and the like in Vary: what the client said, not what the origin saw

$one->get('/range/1', Range => 'bytes=0-3');
is($one->get('/range/1', Range => 'bytes=0-3')->verdict, 'HIT -',
   'Vary: Range, a hit');
is($one->get('/range/1', Range => 'bytes=0-4')->verdict, 'MISS -',
   'and another range is another variant');

# validated: each by its own

for my $value ('a', 'b') {
    my $miss = $one->get('/revalidates/1', 'X-A' => $value);
    is($miss->verdict, 'MISS -', "stale X-A: $value is stored");
}

for my $value ('a', 'b') {
    $r = $two->get('/revalidates/1', 'X-A' => $value);
    is($r->verdict, 'REVALIDATED -', "X-A: $value is validated");
    like($r->body, qr/ x-a=$value /, 'it is the one');
    is($origin->latest('/revalidates/1')->header('If-None-Match'),
       qq("$value"), 'by its ETag');
    is($origin->latest('/revalidates/1')->header('X-A'), $value,
       'with its header');

    my $hit = $one->get('/revalidates/1', 'X-A' => $value);
    is($hit->verdict, 'HIT -', 'and is fresh then');
    is($hit->body, $r->body, 'with its body');
    is($hit->header('Cache-Control'), 'max-age=60', 'as the 304 said');
}

$r = $one->get('/revalidates/1', 'X-A' => 'c');
is($r->verdict, 'MISS -', 'another one is not there');
like($r->body, qr/ x-a=c /, 'and is its own');

my @ttl = map { $redis->pttl($_) } $redis->keys('*/revalidates/1}*');
is(scalar(@ttl), 4, 'the names and three variants');
is(scalar(grep { $_ > 0 && $_ <= 660000 } @ttl), 4, 'all with a TTL');
ok($redis->pttl('api:{http://localhost/revalidates/1}') >= 640000,
   'the names live as long as the variants');

# encodings of nginx and of the origin

$a = $one->get('/gzip/encoding', 'Accept-Encoding' => 'gzip');
is($a->header('Content-Encoding'), 'gzip', 'compressed by nginx');
$b = $one->get('/gzip/encoding');
is($b->verdict, 'MISS -', 'the origin varies with Accept-Encoding itself');
is($b->header('Content-Encoding'), undef, 'not compressed');
for my $nginx ($one, $two) {
    $r = $nginx->get('/gzip/encoding', 'Accept-Encoding' => 'gzip');
    is($r->verdict, 'HIT -', 'each is a hit');
    is($r->body, $a->body, 'of its own');
    $r = $nginx->get('/gzip/encoding');
    is($r->verdict, 'HIT -', 'each is a hit');
    is($r->body, $b->body, 'of its own');
}

# Authorization: as without Vary

$one->get('/x/auth', 'X-A' => 'a');
$r = $one->get('/x/auth', 'X-A' => 'a', Authorization => 'Basic eDp5');
like($r->verdict, qr/^(?:BYPASS|MISS) authorization$/,
     'a variant is not for a request with Authorization');

# damaged: a miss, and a new one

$_->tolerate(qr/holds an unusable entry/) for $one, $two;

for my $what ('names', 'variant') {
    $one->get("/x/hurt?$what", 'X-A' => 'a');
    my ($names, $variant) = $redis->keys("*/x/hurt?$what}*");
    my $hurt = $what eq 'names' ? $names : $variant;
    $redis->cmd('SETRANGE', $hurt, 20, "\xff\xff\xff\xff");
    $r = $one->get("/x/hurt?$what", 'X-A' => 'a');
    is($r->status, 200, "damaged $what: a response");
    is($r->verdict, 'MISS -', 'that is new');
    is($two->get("/x/hurt?$what", 'X-A' => 'a')->verdict, 'HIT -',
       'and stored');
}

$t->done();


sub vary_never {
    my ($n) = @_;

    return @{ ([ '*' ], [ 'X-A, *' ], [ 'X-A', '*' ], [ '*, X-A' ],
               [ ' * ' ], [ 'Cookie' ], [ 'X-A, cookie' ],
               [ 'X-A', 'COOKIE' ], [ 'Authorization' ],
               [ 'x-a,authorization' ])[$n] };
}


sub origin {
    my ($req, $reply) = @_;

    my ($where, $kind) = $req->path =~ m{^/(\w+)/(\w+)};

    my @vary =
        $where eq 'never'         ? vary_never($kind)
        : $where eq 'range'       ? ('Range')
        : $req->header('X-Vary')  ? ($req->header('X-Vary'))
        : $kind eq 'plain'        ? ('none')
        : $kind eq 'case'         ? ('x-A')
        : $kind eq 'lines'        ? ('X-A', 'x-b')
        : $kind eq 'list'         ? (' x-b ,X-A')
        : $kind eq 'twice'        ? ('X-A, x-a', 'X-A')
        : $kind eq 'encoding'     ? ('Accept-Encoding')
        : $kind eq 'language'     ? ('Accept-Language')
        :                           ('X-A');

    my @headers = (
        'Content-Type' => 'text/plain', ETag => '"e"',
        map { ('Vary' => $_) } grep { $_ ne 'none' } @vary
    );

    if ($where eq 'revalidates') {
        my $etag = '"' . $req->header('X-A') . '"';

        return $reply->head(304, 'Cache-Control' => 'max-age=60', ETag => $etag)
            if ($req->header('If-None-Match') // '') eq $etag;

        $headers[3] = $etag;
        unshift @headers, 'Cache-Control' => 'max-age=0';

    } else {
        unshift @headers, 'Cache-Control' => 'max-age=60';
    }

    $reply->send(200, \@headers, join ' ', 'response', $req->n, map {
        lc($_) . '=' . join '|', $req->headers($_)
    } 'X-A', 'X-B', 'X-C', 'Accept-Encoding', 'Accept-Language', 'end');
}
