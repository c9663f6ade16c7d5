#!/usr/bin/perl

# A purge by a regular expression is about whatever matches, and nobody knows
# where that is.  It must take effect at once all the same, on every instance,
# also for what is being fetched; it must remove what it is about and nothing
# else, without being forgotten by a reload, a killed worker or an instance
# that is gone; and whoever sent it can see how far it is, and stop it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Digest::SHA ();
use Cpanel::JSON::XS qw(decode_json encode_json);
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_zone    other:1m server=%%REDIS%%;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache               api;
        redis_proxy_cache_key           $request_uri;
        redis_proxy_cache_segment_size  4k;
        redis_proxy_cache_use_stale     updating;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /other/ {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  other;
        }

        location = /purge {
            redis_proxy_cache_admin  api;
        }
    }
CONF

my $one = $t->nginx($conf, workers => 2, settle => 0);
my $two = $t->nginx($conf, workers => 2, settle => 0);

my ($r, $c, $id, $old, %old);

# at once, everywhere, and no other keys.  What is not asked for until the walk
# is over is there until then

my @asked = qw(/a/1 /a/2?x=y /v/1 /large/1 /a/3?a%20b);
my @later = qw(/a/7 /a/8?a%20b /v/7 /large/7);
my $asked = '/a/4?' . 'l' x 600;
my $later = '/a/9?' . 'l' x 600;
my @stay = qw(/a/x /b/1 /a/ /large/x /v/x /a/%31);

fill($_) for @asked, $asked, @later, $later, @stay, '/other/a/1';
my @later_keys = keys_of('/[avl][^}]*/[789]');
is(@later_keys, 5, 'what is left for the walk, two of them variants');
push @later_keys, long_keys();

# a request that takes longer than all of it

my $held = $one->begin('GET', '/held/1', headers => [ 'X-Hold' => 1 ]);
ok(wait_for { $origin->count('/held/1') == 1 }, 'a response is being fetched');

%old = map { $_ => $one->get($_)->body } @asked, $asked, @stay;

$r = call($one, { regexes => [ '^/(a|v|large|held)/\d' ] });
is($r->status, 200, 'a regex');
my $did = decode_json($r->body);
is($did->{regexes}, 1, 'it says so');
like($did->{id}, qr/^\d+-\d+$/, 'and which job it is');

for my $nginx ($one, $two) {
    ok(wait_for { job($nginx, $did->{id}) }, 'each instance knows of it');
    is(job($nginx, $did->{id})->{regex}, '^/(a|v|large|held)/\d', 'of this');
    is(job($nginx, $did->{id})->{state}, 'waiting', 'the walk has time');
}

isnt($two->get($_)->body, $old{$_}, "$_ is gone at once") for @asked, $asked;
is($two->get($_)->body, $old{$_}, "$_ stays") for @stay;

fill($_) for @asked, $asked;
%old = map { $_ => $one->get($_)->body } @asked, $asked, @stay;

# it is not forgotten by a reload

$_->reload() for $one, $two;

ok(wait_for(sub { job($_, $did->{id})->{state} eq 'done' }, 30), 'done')
    for $one, $two;
is(job($_, $did->{id})->{purged}, 6, 'so many were purged') for $one, $two;
is($redis->cmd('EXISTS', $_), 0, "$_ is gone") for @later_keys;
is($one->get($_)->body, $old{$_}, "$_, newer than the purge, is there")
    for @asked, $asked;
is($one->get($_)->body, $old{$_}, "$_ is there") for @stay;
is($redis->cmd('EXISTS', 'other:{/other/a/1}'), 1, 'that of another zone is');
my @segments = $redis->keys('api:{/large/7}:s:*');
ok(@segments, 'segments are still there');
is((grep { $redis->cmd('PTTL', $_) > 120000 } @segments), 0,
   'for two minutes at most');
ok(wait_for { !$redis->cmd('EXISTS', 'api:!walk') },
   'the lease is given back');

$origin->say('held');
$r = $held->response('GET');
is($r->status, 200, 'the request that was there before it is answered');
like($one->get('/held/1')->verdict, qr/^MISS /, 'that is not stored');

# softly, by any program

$old{$_} = fill($_) for qw(/soft/1 /soft/2 /soft/x /v/soft);
$redis->cmd('XADD', 'api:!purges', '*', soft => 1,
            regex => '^/(soft/\d|v/soft)$');
ok(wait_for { $one->get('/soft/1')->verdict =~ /^(?:STALE|UPDATING) / },
   'what is stale is served as such');
ok(wait_for(sub { last_job($one)->{state} eq 'done' }, 30), 'done');
is(last_job($one)->{soft}, Cpanel::JSON::XS::true, 'softly');
is(last_job($one)->{purged}, 3, 'all that it is about');
for ('/soft/2', '/v/soft') {
    $r = $one->get($_, 'X-A' => 'a');
    like($r->verdict, qr/^(?:STALE|UPDATING) /, "$_ is stale");
    is($r->body, $old{$_}, 'as it was');
}
$r = $one->get('/soft/x');
is($r->verdict, 'HIT -', 'nothing else is');

# stopped

$old = fill('/stop/1');
$id = id(call($one, { regexes => [ '^/stop/' ] }));
is(call($one, { stop => [ $id ] })->status, 200, 'stopped');
is($one->get('/stop/1')->body, $old, 'at once, what it was about is there');
ok(wait_for { (job($two, $id) || { state => '' })->{state} eq 'stopped' },
   'so it is on the other instance');
is($two->get('/stop/1')->body, $old, 'it is there as well');

# what is wrong

for (
    [ 'none',      { regexes => [ '(' ] },
      qr/^a regex does not compile: .* at 1$/ ],
    [ 'with "\\"', { regexes => [ '\\k' ] },
      qr/^a regex does not compile: \\k/ ],
    [ 'too long',  { regexes => [ 'x' x 513 ] }, qr/more than 512/ ],
    [ 'empty',     { regexes => [ '' ] },         qr/empty/ ],
    [ 'no array',  { regexes => '.' },            qr/arrays/ ],
    [ 'no job',    { stop => [ 'x' ] },           qr/no id/ ],
    [ 'UTF',       { regexes => [ '(*UTF).' ] },  qr/does not compile/ ],
) {
    my ($name, $what, $error) = @$_;

    $r = call($one, $what);
    is($r->status, 400, $name);
    like(decode_json($r->body)->{error}, $error, 'it says why');
}

# one that is none, and one that takes forever

$_->tolerate(qr/the regex "\(" of a purge is none/,
             qr/takes too long for some keys/) for $one, $two;

my $bomb = '/bomb/' . 'a' x 40;
$old = fill($bomb);
$redis->cmd('XADD', 'api:!purges', '*', regex => '(');
ok(wait_for { $_->get($bomb)->body eq $old && last_job($_)->{regex} eq '(' },
   'none has no effect') for $one, $two;
$id = id(call($one, { regexes => [ '^/bomb/(a|aa)+b' ] }));
isnt($one->get($bomb)->body, $old, 'one that takes too long purges');
ok(wait_for(sub { job($one, $id)->{state} eq 'done' }, 30), 'and is done');

# more than there is room for

$old = fill('/many/x');
for my $n (1 .. 9) {
    $r = call($one, { regexes => [ "^/many/$n\$" ] });
    last if $r->status != 200;
}
is($r->status, 429, 'too many');
is($one->get('/many/x')->body, $old, 'purge nothing that they are not about');
$redis->cmd('XADD', 'api:!purges', '*', regex => "^/more/$_\$") for 1 .. 8;
ok(wait_for { $one->get('/many/x')->body ne $old },
   'if another program sends them, all is purged');

# who walks is gone: another instance does it

call($one, { stop => [ map { $_->{id} } jobs($one) ] });
fill("/gone/$_") for 1 .. 3;
is(keys_of('/gone/'), 3, 'entries');
ok(wait_for { !$redis->cmd('EXISTS', 'api:!walk') }, 'nobody walks');
$redis->cmd('SET', 'api:!walk', '0123456789abcdef 42 1000 17', 'PX', 9000);
$id = id(call($one, { regexes => [ '^/gone/' ] }));
ok(wait_for(sub { job($one, $id)->{state} eq 'walking' }, 30),
   'somebody walks');
is(job($one, $id)->{here}, Cpanel::JSON::XS::false, 'elsewhere');
is(job($one, $id)->{progress}, 42, 'so far');
is(job($one, $id)->{purged}, 17, 'with so many purged');
ok(wait_for(sub { job($_, $id)->{state} eq 'done' }, 30),
   'it is gone, and somebody else does it') for $one, $two;
is(keys_of('/gone/'), 0, 'nothing is left');

# Redis does not allow it: nothing comes back meanwhile

$_->tolerate(qr/does not let all keys be looked at/) for $one, $two;
$redis->cmd('ACL', 'SETUSER', 'default', '-scan');
$old = fill('/acl/1');
$id = id(call($one, { regexes => [ '^/acl/' ] }));
ok(wait_for(sub { $one->lines(qr/does not let all keys be/)
              || $two->lines(qr/does not let all keys be/) }, 30),
   'it is said that it cannot be done');
isnt($two->get('/acl/1')->body, $old, 'it is purged all the same');
$redis->cmd('ACL', 'SETUSER', 'default', '+scan');
ok(wait_for(sub { job($one, $id)->{state} eq 'done' }, 40), 'until it can');

# in the middle of it: a reload, workers that are killed, another Redis

ok(wait_for { !$redis->cmd('EXISTS', 'api:!walk') }, 'nobody walks');
$redis->cmd('EVAL', 'for i=1,5000 do '
            . 'redis.call("SET","api:{/filler/"..KEYS[1]..i.."}","",'
            . '"EX",3600) end',
            1, "$_-") for 1 .. 10;

$_->tolerate(qr/exited on signal 9/, qr/has lost purges/) for $one, $two;

for my $what (
    [ 'a reload',       sub { $_[0]->reload() } ],
    [ 'killed workers', sub { my @old = $_[0]->workers();
                              kill KILL => @old; } ],
    [ 'another Redis',  sub { $redis->cmd('SAVE'); $redis->stop('KILL');
                              $redis->start(); } ],
) {
    my ($name, $do) = @$what;

    fill("/new/$_") for 1 .. 3;
    $id = id(call($one, { regexes => [ '^/new/' ] }));

    my $here;
    ok(wait_for(sub {
        ($here) = grep { my $j = job($_, $id);
                         $j->{here} && $j->{progress} > 5 } $one, $two;
        $here;
    }, 30), 'it is some way');
    my $so_far = job($here, $id)->{looked};
    cmp_ok($so_far, '<', 50000, 'not all of it');
    $do->($here);

    ok(wait_for(sub { (eval { job($here, $id) } || { state => '' })->{state}
                      eq 'done' }, 240), "$name: it is done all the same");
    is(keys_of('/new/'), 0, 'nothing is left');
    my ($looked) = map { /(\d+) of the zone/ ? $1 : () }
                   ($here->lines(qr/has looked at all keys/))[-1];
    cmp_ok($looked, $name =~ /Redis/ ? '>' : '<', 50000 + $so_far,
           $name =~ /Redis/ ? 'anew' : 'it goes on from there');
}

$t->done();


sub call {
    my ($nginx, $what) = @_;

    return $nginx->request('POST', '/purge',
        body => encode_json($what),
        headers => [ 'Content-Type' => 'application/json' ]);
}

sub id { return decode_json($_[0]->body)->{id} }


sub jobs {
    my ($nginx) = @_;

    return sort { $a->{id} cmp $b->{id} }
           @{ decode_json($nginx->get('/purge')->body)->{jobs} };
}

sub job {
    my ($nginx, $id) = @_;

    return (grep { $_->{id} eq $id } jobs($nginx))[0];
}

sub last_job { return (jobs($_[0]))[-1] }


# names of entries in Redis whose key matches

sub keys_of {
    my ($re) = @_;

    return grep { /^api:\{$re/ && !/:(?:l|s:.*)$/
                  && !( /^api:\{\/v\// && !/:v:/ ) } $redis->keys('api:*');
}

sub long_keys {
    my $name = 'api:{sha256:' . Digest::SHA::sha256_hex($later) . '}';

    ok($redis->cmd('EXISTS', $name), 'one with a long key');

    return $name;
}


sub fill {
    my ($uri) = @_;
    my $body;

    for my $nginx ($one, $two) {
        for my $x ($uri =~ m{^/v/} ? qw(a b) : 'a') {
            ok(wait_for {
                my $r = $nginx->get($uri, 'X-A' => $x);
                $body //= $r->body if $r->verdict eq 'HIT -';
                $r->verdict eq 'HIT -';
            }, "$uri is cached");
        }
    }

    return $body;
}


sub origin {
    my ($req, $reply) = @_;

    $reply->wait_word('held') if $req->header('X-Hold');

    $reply->send(200, [
        'Cache-Control' => 'max-age=3600, stale-while-revalidate=3600',
        $req->uri =~ m{^/v/} ? (Vary => 'X-A') : (),
    ], 'answer ' . $req->n . ' ' . ($req->header('X-A') // '')
       . ($req->uri =~ /large/ ? 'x' x 20000 : ''));
}
