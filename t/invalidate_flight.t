#!/usr/bin/perl

# What was asked for before an invalidation is not stored after it, however long
# it takes, and whatever happens to the key meanwhile: it may have been fetched,
# stored, expired, and not been cacheable in between.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin, workers => 8);

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_lock_age      30s;
    redis_proxy_cache_segment_size  16k;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache         api;
        redis_proxy_cache_bypass  $http_x_bypass;
        redis_proxy_no_cache      $http_x_no_store;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);

my $n = 0;

# another fetch has come and gone

my %between = (
    'nothing'            => sub { },
    'stored and expired' => sub {
        my ($uri, @headers) = @_;
        my $r = $one->get($uri, @headers,
                          'X-Say' => 'Cache-Control: max-age=1');
        is($r->verdict, 'MISS -', 'who comes then leads');
        ok((wait_for { !$redis->exists(key($uri)) }), 'that has expired');
    },
    'not stored'         => sub {
        my ($uri, @headers) = @_;
        my $r = $one->get($uri, @headers, 'X-No-Store' => 1);
        is($r->verdict, 'MISS no_cache', 'who comes then leads');
    },
    'bypassed'           => sub {
        my ($uri, @headers) = @_;
        my $r = $one->get($uri, @headers, 'X-Bypass' => 1,
                          'X-Say' => 'Cache-Control: max-age=1');
        is($r->verdict, 'BYPASS -', 'one does not ask');
        ok((wait_for { !$redis->exists(key($uri)) }), 'that has expired');
    },
);

for my $between (sort keys %between) {
    for (
        [ 'small',      [ ] ],
        [ 'staged',     [ 'X-Size' => 8192 ] ],
        [ 'segmented',  [ 'X-Size' => 65536 ] ],
        [ 'vary',       [ 'X-Say' => 'Vary: X-A' ] ],
        [ 'no lock',    [ 'Authorization' => 'Basic YTpi',
                          'X-Say' => 'Cache-Control: public, max-age=60' ] ],
    ) {
        my ($name, $headers) = @$_;

        my $uri = '/' . ++$n;
        my $c = begun($uri, @$headers);
        is($one->request('DELETE', $uri)->status, 204, "$between, $name");
        $between{$between}->($uri);
        not_stored("$between, $name", $uri, $c);
    }
}

# one that began under a mark, and ends under another

my $uri = '/mark';
my @cookie = ('X-Say' => 'Set-Cookie: a=b|Cache-Control: max-age=60');

is($two->get($uri, @cookie)->verdict, 'MISS set_cookie', 'it cannot be cached');
is($redis->get(key($uri) . ':l'), '-', 'which is marked');
my $c = begun($uri);
is($one->request('DELETE', $uri)->status, 204, 'the mark is void');
is($one->get($uri, @cookie)->verdict, 'MISS set_cookie', 'it cannot again');
is($redis->get(key($uri) . ':l'), '-', 'and there is another mark');
not_stored('under a mark', $uri, $c);

# one that was to be a variant, and is none

$uri = '/variant';
is($two->get($uri, 'X-Say' => 'Vary: X-A')->verdict, 'MISS -', 'a variant');
$c = begun($uri, 'X-A' => 1);
is($one->request('DELETE', $uri)->status, 204, 'another one is being fetched');
not_stored('no variant', $uri, $c);

# one that does not look the key up, and stores in any case

$uri = '/bypass';
$c = begun($uri, 'X-Bypass' => 1);
is($one->request('DELETE', $uri)->status, 204, 'a request is bypassed');
not_stored('bypassed', $uri, $c);

$uri = '/bypass/later';
$redis->cmd('SET', key($uri) . ':l', 0, 'PX', 59000);
is($one->get($uri, 'X-Bypass' => 1)->verdict, 'BYPASS -', 'another one is');
is($two->get($uri)->verdict, 'HIT -', 'what began later is stored');

# the lock of a variant that was not stored is left

$uri = '/left';
my @vary = ('X-Say' => 'Vary: X-A');
is($two->get($uri, @vary)->verdict, 'MISS -', 'a variant');
$c = begun($uri, @vary, 'X-A' => 1);
is($one->request('DELETE', $uri)->status, 204, 'another one is being fetched');
is($one->get($uri, @vary)->verdict, 'MISS -', 'the first one is new');
$origin->say('go-left');
$c->response('GET');
is($one->get($uri, @vary, 'X-A' => 1)->verdict, 'MISS -',
   'nobody waits for a lock that is of no use');
is($two->get($uri, @vary, 'X-A' => 1)->verdict, 'HIT -', 'and it is stored');

# who waited for a variant that is void leads the next fetch, and stores it

$uri = '/waits';
is($two->get($uri, @vary)->verdict, 'MISS -', 'a variant');
$c = begun($uri, @vary, 'X-A' => 1);
my $w = $two->begin('GET', $uri, headers => [ @vary, 'X-A' => 1 ]);
ok($origin->stays($uri, 2, 0.3), 'a request waits for another one');
is($one->request('DELETE', $uri)->status, 204, 'which is invalidated');
not_stored('a variant', $uri, $c, @vary);
my $new = answer($w->response('GET'));
is(answer($one->get($uri, 'X-A' => 1)), $new, 'who waited has stored it');

# the same if nothing varies any more; another one waits for that

$uri = '/plain';
is($two->get($uri, @vary)->verdict, 'MISS -', 'a variant');
$c = begun($uri, @vary, 'X-A' => 1);
my @w = map { $two->begin('GET', $uri, headers => [ 'X-A' => 1 ]) } 1 .. 2;
ok($origin->stays($uri, 2, 0.3), 'two wait for another one');
is($one->request('DELETE', $uri)->status, 204, 'which is invalidated');
$origin->say('go-plain');
$c->response('GET');
my %new = map { answer($_->response('GET')) => 1 } @w;
is(keys %new, 1, 'they share a response');
is_deeply([ map { $_->method } $origin->requests($uri) ],
          [ qw(GET GET DELETE GET) ], 'and a fetch');

$t->done();


# a fetch on the second instance, which has reached the origin

sub begun {
    my ($uri, @headers) = @_;

    my $count = $origin->count($uri);
    my $c = $two->begin('GET', $uri, headers => [ @headers,
                        'X-Word' => 'go' . ($uri =~ tr{/}{-}r) ]);
    ok((wait_for { $origin->count($uri) > $count }), "$uri is being fetched");

    return $c;
}


sub not_stored {
    my ($name, $uri, $c, @headers) = @_;

    $origin->say('go' . ($uri =~ tr{/}{-}r));
    my $old = answer($c->response('GET'));
    like($old, qr/^answer \d+$/, 'it gets what it has asked for');

    for my $nginx ($one, $two) {
        isnt(answer($nginx->get($uri, @headers)), $old,
             "$name: nobody else does");
    }

    return;
}


sub key    { return "api:{http://localhost$_[0]}" }
sub answer { return $_[0]->body =~ s/ +$//r }


sub origin {
    my ($req, $reply) = @_;

    return $reply->head(204) if $req->method eq 'DELETE';

    my $word = $req->header('X-Word');
    $reply->wait_word($word) if defined $word;

    my @say = map { /^([^:]+): (.*)/ }
        map { split /\|/ } $req->headers(q{X-Say});
    push @say, 'Cache-Control' => 'max-age=60' if "@say" !~ /Cache-Control/;

    my $body = 'answer ' . $req->n;
    $body .= ' ' x ($req->header('X-Size') - length $body)
        if $req->header('X-Size');

    $reply->send(200, \@say, $body);
}
