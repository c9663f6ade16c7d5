#!/usr/bin/perl

# Requests for what is just being fetched wait for it instead of asking the
# upstream again, within a worker and between the workers of an instance.  If
# it went wrong, a client would get nothing, the bytes of another request, or
# what was fetched for someone with other rights.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;
use RCache::Lock;

my $large = join '', map { sprintf "%09d\n", $_ } 1 .. 40000;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $conf = patient() . <<'CONF';

    server {
        listen  127.0.0.1:%%PORT%% reuseport;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;
        add_header             X-Cache $redis_proxy_cache_status always;
        add_header             X-Worker $pid always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /off/ {
            proxy_pass              http://%%ORIGIN%%;
            redis_proxy_cache_lock  off;
        }

        location /impatient/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_lock_timeout  200ms;
        }

        location /aged/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_lock_age  300ms;
        }

        location /page/ {
            proxy_pass  http://%%ORIGIN%%;
            ssi         on;
        }

        location /rare/ {
            proxy_pass                  http://%%ORIGIN%%;
            redis_proxy_cache_min_uses  3;
        }

        location /bypass/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_bypass  $http_x_bypass;
        }
    }
CONF

my $nginx = $t->nginx($conf);
my ($r, $c, $leader, @others, @got);

$nginx->get('/warm');

# one worker, one key: who waits gets the bytes of the one who asked

($leader, @others) = asked('/one', 50);
$origin->say('/one-1');
@got = map { $_->answer() } $leader, @others;
is($origin->count('/one'), 1, '51 requests in one worker: one fetch');
is(scalar(grep { $_->status == 200 && $_->complete
                 && $_->body eq body('/one', 1) } @got), 51,
   'all have its answer');
is(join(' ', map { $_->header('X-Cache') } @got), join(' ', 'MISS',
   ('HIT') x 50), 'one miss, else hits');
is(scalar(grep { $_->header('Content-Type') ne 'text/x-test' } @got), 0,
   'with its headers');
is($nginx->get('/one')->verdict, 'HIT -', 'it is stored');
calm($redis, '/one');

# each key for itself

$leader = start('/two');
is(finish(start('/other'), '/other-1')->body, body('/other', 1),
   'another key is not held up');
$origin->say('/two-1');
is($leader->answer()->body, body('/two', 1), 'nor mixed up with it');

# off is off

@got = map { start('/off/a') } 1 .. 5;
ok(wait_for { $origin->count('/off/a') == 5 }, 'without a lock all of them '
   . 'ask the upstream');
$origin->say("/off/a-$_") for 1 .. 5;
is(scalar(grep { $_->answer()->body =~ /^answer \d to/ } @got), 5,
   'and each gets an answer');

# what the ones who wait want of it is for each of them

$leader = start('/wants');
ok(wait_for { $origin->count('/wants') == 1 }, 'a fetch is on its way');
my $range = start('/wants', Range => 'bytes=0-5');
my $match = start('/wants', 'If-None-Match' => '"1"');
my $differs = start('/wants', 'If-None-Match' => '"2"');
my $head = $nginx->begin('HEAD', '/wants');
my $key = start('/wants', Authorization => 'Basic eDp5');
ok(wait_for { $origin->count('/wants') == 2 },
   'credentials go to the upstream themselves');
is($origin->latest('/wants')->header('Authorization'), 'Basic eDp5',
   'with what they are');
settled();
$origin->say('/wants-1');
is($leader->answer()->status, 200, 'the answer of the first');
$r = $range->answer();
is($r->status . $r->body, '206answer', 'a range of it');
is($r->header('Content-Range'), 'bytes 0-5/' . length body('/wants', 1),
   'as such');
is($match->answer()->status, 304, 'a condition that fails');
is($differs->answer()->body, body('/wants', 1), 'one that does not');
$r = $head->response('HEAD');
is($r->status, 200, 'HEAD');
is($r->header('Content-Length'), length body('/wants', 1),
   'with the length of the body');
ok($head->closed(), 'and without it');
$origin->say('/wants-2');
is($key->answer()->body, body('/wants', 2),
   'who has credentials has an answer of his own');
is($origin->count('/wants'), 2, 'the others had one');

# and whatever the first wants, the others get all

for my $first ([ HEAD => [ ] ], [ GET => [ Range => 'bytes=2-4' ] ],
               [ GET => [ 'If-None-Match' => '"1"' ] ])
{
    my ($method, $headers) = @$first;
    my $uri = '/first-' . lc($headers->[0] || $method);

    $leader = $nginx->begin($method, $uri, headers => $headers);
    ok(wait_for { $origin->count($uri) == 1 }, "$uri: asked");
    @others = map { start($uri) } 1 .. 3;
    settled();
    $origin->say("$uri-1");
    $r = $leader->response($method);
    is($r->status, $method eq 'HEAD' ? 200 : $headers->[0] eq 'Range' ? 206
       : 304, 'the first gets what it wants');
    is(scalar(grep { $_->answer()->body eq body($uri, 1) } @others),
       3, 'the others all of it');
    is($origin->count($uri), 1, 'of one fetch');
}

# bodies that do not come at once, of all lengths

for my $uri ('/large', '/chunked', '/empty') {
    ($leader, @others) = asked($uri, 5);
    $origin->say("$uri-1");
    @got = map { $_->answer() } $leader, @others;
    is(scalar(grep { $_->complete && $_->body eq body($uri, 1) } @got), 6,
       "$uri: all have the whole of it");
    is($origin->count($uri), 1, 'of one fetch');
}

# Vary: what is fetched for one language is not for the other

$leader = start('/vary', 'Accept-Language' => 'de');
ok(wait_for { $origin->count('/vary') == 1 }, 'one language is asked for');
@others = map { my $n = $_; start('/vary', 'Accept-Language' =>
                                  $n % 2 ? 'en' : 'de') } 1 .. 10;
settled();
$origin->say('/vary-1');
like($leader->answer()->body, qr/^answer 1 .* de\n/, 'and comes');
ok(wait_for { $origin->count('/vary') == 2 }, 'then the other one is');
$origin->say('/vary-2');
is(join('', map { $_->answer()->body =~ /(de|en)$/m } @others),
   'ende' x 5, 'each gets its own');
is($origin->count('/vary'), 2, 'of two fetches');
calm($redis, '/vary');

# who waits too long goes alone, and what it gets is not stored

$leader = start('/impatient/a');
ok(wait_for { $origin->count('/impatient/a') == 1 }, 'a slow fetch');
@others = (start('/impatient/a'), start('/impatient/a'));
ok(wait_for { $origin->count('/impatient/a') == 3 },
   'who waits for longer than lock_timeout asks the upstream');
$origin->say("/impatient/a-$_") for 2, 3;
is(join(' ', sort map { $_->answer()->body =~ /^answer (\d)/ }
             @others), '2 3', 'and gets an answer of its own');
is(stored('/impatient/a'), '', 'which is not stored');
$origin->say('/impatient/a-1');
is($leader->answer()->body, body('/impatient/a', 1),
   'the first goes on');
like(stored('/impatient/a'), qr/^answer 1 /, 'its answer is');
is($origin->count('/impatient/a'), 3, 'three fetches, as in nginx');
calm($redis, '/impatient/a');

# after lock_age one more leads; the first has lost its lock then, and may
# not put what is older over what is newer

$leader = start('/aged/a');
ok(wait_for { $origin->count('/aged/a') == 1 }, 'another slow fetch');
@others = map { start('/aged/a') } 1 .. 5;
ok(wait_for { $origin->count('/aged/a') == 2 },
   'behind lock_age there is another one');
$origin->say('/aged/a-2');
is(scalar(grep { $_->answer()->body eq body('/aged/a', 2) } @others),
   5, 'who waits gets that');
like(stored('/aged/a'), qr/^answer 2 /, 'it is stored');
$origin->say('/aged/a-1');
is($leader->answer()->body, body('/aged/a', 1),
   'the one that was slow has its own');
like(stored('/aged/a'), qr/^answer 2 /, 'but does not overwrite it');
is($nginx->get('/aged/a')->body, body('/aged/a', 2), 'nor is it served');
is($origin->count('/aged/a'), 2, 'one more, not one for each');

# who waits may leave

($leader, @others) = asked('/left', 10);
$_->close() for @others[0 .. 3];
$_->reset() for @others[4 .. 6];
settled();
$origin->say('/left-1');
is(scalar(grep { $_->answer()->body eq body('/left', 1) }
          $leader, @others[7 .. 9]), 4, 'the others are served');

($leader, @others) = asked('/alone', 5);
$_->reset() for @others;
settled();
$origin->say('/alone-1');
is($leader->answer()->body, body('/alone', 1), 'all have left');
is($nginx->get('/alone')->verdict, 'HIT -', 'it is stored all the same');
calm($redis, '/alone');

# one connection: a request behind one that waits

($leader, @others) = asked('/kept', 1);
$c = $nginx->connect();
$c->send(RCache::HTTP::format_request('GET', '/kept', keepalive => 1),
         RCache::HTTP::format_request('GET', '/one'));
$origin->say('/kept-1');
is($c->answer()->body, body('/kept', 1), 'pipelined: the first');
is($c->answer()->body, body('/one', 1), 'and the second');
$_->answer() for $leader, @others;

# fragments: the same one twice in a page, and a page twice

$leader = start('/page/a');
@others = (start('/page/a'));
settled();
ok(wait_for { $origin->count('/part') == 1 }, 'a page with a part');
$origin->say('/part-1');
my $part = body('/part', 1);
for my $c ($leader, @others) {
    $r = $c->answer();
    is($r->body, "[$part][$part]", 'which is in it two times');
}
is($origin->count($_), 1, "$_ was fetched once") for '/page/a', '/part';

# min_uses: what is too rare to be stored has nobody to wait for it

@got = (start('/rare/a'), start('/rare/a'));
ok(wait_for { $origin->count('/rare/a') == 2 },
   'below min_uses nobody waits');
$origin->say("/rare/a-$_") for 1, 2;
$_->answer() for @got;

# bypass: asks for itself, whoever is on the way

$leader = start('/bypass/a');
ok(wait_for { $origin->count('/bypass/a') == 1 }, 'a fetch');
$c = start('/bypass/a', 'X-Bypass' => 1);
ok(wait_for { $origin->count('/bypass/a') == 2 }, 'bypass does not wait');
$origin->say("/bypass/a-$_") for 1, 2;
is($c->answer()->body, body('/bypass/a', 2), 'it has its own answer');
is($leader->answer()->body, body('/bypass/a', 1), 'as has the first');

# a write meanwhile: who comes behind it does not get what was before it

$leader = start('/written');
ok(wait_for { $origin->count('/written') == 1 }, 'a fetch is on its way');
@others = (start('/written'));
settled();
is($nginx->request('PUT', '/written', body => 'x')->status, 200, 'a write');
my $late = start('/written');
ok(wait_for { $origin->count('/written') >= 3 },
   'behind it there is another fetch');
$origin->say("/written-$_") for 3, 4;
like($late->answer()->body, qr/^answer [34] /,
     'who comes late gets what is new');
$origin->say('/written-1');
is($leader->answer()->body, body('/written', 1), 'the first its own');
like($others[0]->answer()->body, qr/^answer [134] /,
     'who waited already gets one of the two');
like($nginx->get('/written')->body, qr/^answer [34] /,
     'the old one is not stored over the new');
calm($redis, '/written');

# two workers that share nothing but the instance's memory, and Redis

my $two = $t->nginx($conf, workers => 2, settle => 0);
my $crowd;

for my $uri ('/both', '/both/again') {
    $crowd = $t->crowd(ports => [ $two->port() ], clients => 200,
                       uri => $uri)->go();
    ok(wait_for { $origin->count($uri) >= 1 }, "$uri: 200 clients");
    @got = $crowd->answers();
    is(scalar(keys %{ RCache::Crowd::tally('X-Worker', @got) }), 2,
       'at two workers');
    is(scalar(grep { $_->{status} == 200 && $_->{complete} } @got), 200,
       'all have an answer');
    is(scalar(keys %{ RCache::Crowd::tally('md5', @got) }), 1, 'the same');
    is($origin->count($uri), 1, 'of one fetch');
    calm($redis, $uri);
}

# a reload while they wait: nobody is left behind

my $old = () = $two->workers();
$crowd = $t->crowd(ports => [ $two->port() ], clients => 40,
                   uri => '/reloaded')->go();
ok(wait_for { $origin->count('/reloaded') == 1 }, 'clients wait for a page');
ok($two->reload(), 'the configuration is read again');
my $new = $two->begin('GET', '/reloaded');
$origin->say("/reloaded-$_") for 1 .. 3;
@got = $crowd->answers();
is(scalar(grep { $_->{status} == 200 && $_->{complete} } @got), 40,
   'all of them have an answer');
like($new->answer()->body, qr/^answer \d to/, 'as has the next one');
cmp_ok($origin->count('/reloaded'), '<=', 2, 'of one fetch, or one more');
ok(wait_for { $two->workers() == $old }, 'no old worker stays');
calm($redis, '/reloaded');

$t->done();


# One request, of which the answer is not awaited.

sub start {
    my ($uri, @headers) = @_;

    return $nginx->begin('GET', $uri, headers => \@headers);
}


sub finish {
    my ($c, $word) = @_;

    $origin->say($word);
    return $c->answer();
}


# What was asked before has been looked up, and waits for what it waits for.

sub settled {
    is($nginx->get('/warm')->verdict, 'HIT -', 'a hit in between');
    return;
}


# One that has reached the origin, and others that wait for it.

sub asked {
    my ($uri, $count) = @_;

    my $leader = start($uri);
    wait_for { $origin->count($uri) == 1 } or die "$uri is not asked for\n";

    my @others = map { start($uri) } 1 .. $count;
    settled();

    return ($leader, @others);
}


# The body that is stored, when all that the worker had to store is there.

sub stored {
    my ($uri) = @_;

    $nginx->settle();
    my $entry = RCache::Entry->read($redis, "api:{$uri}");
    return $entry ? $entry->{body} : '';
}


sub body {
    my ($uri, $n) = @_;

    return '' if $uri eq '/empty';
    return "answer $n to $uri\n" . ($uri =~ /large|chunked/ ? $large : '');
}


my %count;

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $n = ++$count{$uri};
    my @fresh = ('Cache-Control' => 'max-age=60', 'Content-Type' =>
                 'text/x-test', ETag => "\"$n\"");
    my $word = $uri =~ /both/ ? 0.5 : \"$uri-$n";

    return response(200, [ ], 'written') if $req->method eq 'PUT';

    if ($uri eq '/warm') {
        return response(200, [ 'Cache-Control' => 'max-age=6000' ], 'warm');
    }

    if ($uri =~ m{^/page/}) {
        my $include = '<!--#include virtual="/part"-->';
        return response(200, [ 'Cache-Control' => 'max-age=60',
                               'Content-Type' => 'text/html' ],
                        "[$include][$include]");
    }

    if ($uri eq '/chunked') {
        return ($word, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                . "Cache-Control: max-age=60\r\n"
                . "Content-Type: text/x-test\r\n\r\n",
                map({ sprintf("%x\r\n%s\r\n", length $_, $_) }
                    unpack '(a60000)*', body($uri, $n)), "0\r\n\r\n");
    }

    if ($uri eq '/vary') {
        my $language = $req->header('Accept-Language');
        return ($word, response(200, [ @fresh, Vary => 'Accept-Language' ],
                                 "answer $n in $language\n"));
    }

    return ($word, response(200, \@fresh, body($uri, $n)));
}
