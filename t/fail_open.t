#!/usr/bin/perl

# Whatever happens to Redis, the clients must not feel more than a small
# delay: each fault is a miss with the right answer, one line in the log when
# it begins and one when it ends, and the cache comes back by itself.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);
use RCache;

# far more than the budget below, for slow machines; far less than "hangs"
my $bound = $ENV{ASAN_OPTIONS} ? 8 : 3;

my $t = RCache->new();
my $port = free_port();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(<<'CONF', vars => { REDIS_PORT => $port });
    redis_proxy_cache_zone    api:1m server=redis://127.0.0.1:%%REDIS_PORT%%
                              connect_timeout=400ms timeout=400ms;
    redis_proxy_cache_budget  400ms;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
            add_header         X-Found $redis_proxy_cache_reason;
            add_header         X-Redis $redis_proxy_cache_redis;
        }
    }
CONF

my $url = "redis://127.0.0.1:$port";
my $serial = 0;
my ($r, $redis);

# not there when nginx starts

fault('Redis is absent at start', sub { }, qr/redis_down/);
is($nginx->get('/state')->header('X-Redis'), 'down', 'a variable tells of it');
$redis = $t->redis(port => $port);
healed('it is started');
is($nginx->get('/state')->header('X-Redis'), 'up', 'and of that');

# dies with nothing to do

fault('Redis is killed while idle', sub { $redis->stop() }, qr/redis_down/);
$redis->start();
healed('it is started again');

# stops without a word

$nginx->get('/frozen');
fault('Redis is stopped by SIGSTOP', sub { $redis->freeze() },
      qr/redis_(?:timeout|down|busy)/);
$redis->thaw();
healed('it goes on');

# an address from which nothing comes: the backlog is full, packets are dropped

my @stuffed;

fault('packets are dropped', sub {
    $redis->stop();
    push @stuffed, IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1,
        ReuseAddr => 1);
    push @stuffed, map { IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $port, Blocking => 0) } 1 .. 8;
}, qr/redis_(?:timeout|down)/);
close $_ for grep { $_ } @stuffed;
$redis->start();
healed('it is reached again');

# peers that talk nonsense in place of the reply to GET, or break off in it

for (
    [ 'accepts and never answers',      undef ],
    [ 'killed in the middle of a bulk', "\$1000\r\nRPC\x02" . 'x' x 300 ],
    [ 'killed behind the length',       "\$1000\r\n" ],
    [ 'killed in the length',           '$10' ],
    [ 'killed instead of a reply',      '' ],
    [ 'stalls in the middle of a bulk', "\$1000\r\nRPC\x02" . 'x' x 300 ],
    [ 'stalls behind the length',       "\$1000\r\n" ],
    [ 'a bulk with another end',        "\$4\r\nabcdXY" ],
    [ 'a length below -1',              "\$-2\r\n" ],
    [ 'a length that is no number',     "\$abc\r\n" ],
    [ 'a huge length',                  "\$9223372036854775807\r\n" ],
    [ 'a length over all limits',       "\$18446744073709551617\r\nab" ],
    [ 'a length of 500 MiB',            "\$524288000\r\nabc" ],
    [ 'a huge array',                   "*2147483647\r\n" ],
    [ 'a deep array',                   "*1\r\n" x 40 . "\$1\r\na\r\n" ],
    [ 'another protocol',               "HTTP/1.1 400 Bad Request\r\n\r\n" ],
    [ 'zero bytes',                     "\0" x 100 ],
    [ 'an empty line',                  "\r\n" ],
    [ 'an integer without digits',      ":\r\n" ],
    [ 'an integer that is none',        ":1x\r\n" ],
    [ 'an integer over all limits',     ":18446744073709551617\r\n" ],
    [ 'a status that ends in LF',       "+OK\n" ],
    [ 'killed between CR and LF',       "+OK\r" ],
) {
    my ($name, $bytes) = @$_;

    with_peer($name, sub {
        my ($peer) = @_;
        defined $bytes or return $peer->hang();
        $peer->request() or return;
        $peer->send($bytes);
        $peer->hang() if $name !~ /^killed/;
    }, qr/redis_|entry_/, flaps => 1);
}

# replies that are sound but of the wrong kind, and errors: to all commands
# behind the handshake, or to the handshake as well

for (
    [ 'an integer',       ":1\r\n" ],
    [ 'a negative one',   ":-1\r\n" ],
    [ 'a status',         "+OK\r\n" ],
    [ 'an empty status',  "+\r\n" ],
    [ 'a long status',    '+' . 'x' x 100 . "\r\n" ],
    [ 'an array',         "*2\r\n\$1\r\na\r\n\$1\r\nb\r\n" ],
    [ 'an empty bulk',    "\$0\r\n\r\n" ],
    [ 'no entry at all',  "\$5\r\nhello\r\n" ],
    [ 'an unknown error', "-ERR no\r\n" ],
    [ 'LOADING',    "-LOADING Redis is loading the dataset in memory\r\n" ],
    [ 'BUSY',       "-BUSY Redis is busy running a script\r\n" ],
    [ 'MASTERDOWN', "-MASTERDOWN Link with MASTER is down\r\n" ],
) {
    my ($name, $bytes) = @$_;

    with_peer("$name as a reply", sub {
        my ($peer, $well) = @_;
        while (my @command = $peer->request()) {
            return sound($peer, @command) if -e $well;
            $peer->send($command[0] =~ /^GET$/i || $bytes =~ /^-/ ? $bytes
                                                              : "+OK\r\n");
        }
    }, qr/redis_error|entry_corrupt/, lines => qr/refuses|holds|is down/,
       most => 2);

    next if $bytes !~ /^-/;

    with_peer("$name in the handshake", sub {
        my ($peer, $well) = @_;
        while (my @command = $peer->command()) {
            return sound($peer, @command) if -e $well;
            $peer->send($bytes);
        }
    }, qr/redis_(?:error|down)/, lines => qr/refuses|is down/, most => 2);
}

# what breaks again and again is not logged again and again

{
    my $peer = $t->fake_redis(sub {
        my ($peer) = @_;
        $peer->request() and $peer->send('$10');
    });
    my $other = other_nginx($peer->url());
    my $until = time() + 2;
    my @wrong;

    while (time() < $until) {
        my $r = timed($other, '/again-' . ++$serial);
        push @wrong, $r->line if $r->status != 200 || $r->{net} > $bound;
    }

    is_deeply(\@wrong, [], 'two seconds of a Redis that always breaks off');
    cmp_ok(scalar($other->lines('is down')), '<', 20, 'few lines tell of it');
    $other->stop();
    $peer->stop();
}

# from here on Redis answers, and a pause of a busy machine is not to count as
# a fault of it

$nginx = other_nginx($url, '10s');

# stores fail while lookups work

for (
    [ 'out of memory', [ qw(CONFIG SET maxmemory 1) ],
        [ qw(CONFIG SET maxmemory 0) ] ],
    [ 'a read-only replica', [ qw(REPLICAOF 127.0.0.1), free_port() ],
        [ qw(REPLICAOF NO ONE) ] ],
) {
    my ($name, $break, $mend) = @$_;

    # "noeviction" is Redis's default
    my $hot = '/hot-' . ++$serial;
    $nginx->get($hot);
    $redis->wait_key("api:{http://localhost$hot}");
    $redis->cmd(@$break);
    $nginx->mark();

    for my $n (1 .. 10) {
        $r = timed($nginx, "/unstored-$serial-$n");
        right($r, "$name: request $n");
    }

    is($nginx->get($hot)->verdict, 'HIT -', 'what is there is served');
    ok($nginx->wait_line('refuses stores'), 'the log says what is wrong');
    is(scalar($nginx->lines('\[(?:warn|error|crit)\]')), 1, 'once')
        or diag($nginx->errors());

    $redis->cmd(@$mend);
    healed('stores work again', 'refuses stores', 'accepts stores again');
}

# a password that Redis began to want, and a wrong one

$redis->cmd(qw(CONFIG SET requirepass hush));
fault('NOAUTH', sub { $redis->cmd(qw(CLIENT KILL TYPE normal SKIPME yes)) },
      qr/redis_(?:down|error)/);
ok($nginx->lines('is down: .*NOAUTH|refuses .*NOAUTH|is down: .*auth'),
   'the log says that it is about a password');
$redis->cmd('CONFIG', 'SET', 'requirepass', '');
healed('no password is wanted any more');

my $wrong = other_nginx("redis://:guess\@127.0.0.1:$port", '10s');

$redis->cmd(qw(CONFIG SET requirepass right));
for (1 .. 10) {
    $r = timed($wrong, "/wrong-$_");
    right($r, "a wrong password: request $_");
}
ok($wrong->wait_line('is down: .*WRONGPASS'), 'the log says so');
is(scalar($wrong->lines('\[(?:error|crit)\]')), 1, 'once');
unlike($wrong->errors(), qr/guess/, 'without the password');
$redis->cmd(qw(CONFIG SET requirepass guess));
$redis->{password} = 'guess';
ok(wait_for { $wrong->get('/mended')->verdict eq 'HIT -' },
   'it works as soon as the password is right');
is(scalar($wrong->lines('is up again')), 1, 'which is in the log');
$redis->cmd('CONFIG', 'SET', 'requirepass', '');
delete @$redis{qw(password conn)};
$wrong->stop();

# another type under our key

$nginx->tolerate('holds an unusable entry');

my $key = 'api:{http://localhost/typed}';
for my $make ([ 'LPUSH', $key, 'a' ], [ 'HSET', $key, 'a', 'b' ],
              [ 'ZADD', $key, 1, 'a' ])
{
    $redis->cmd('DEL', $key);
    $redis->cmd(@$make);
    $r = timed($nginx, '/typed');
    right($r, "$make->[0] under our key");
    is($r->header('X-Found'), 'entry_type', 'it is seen for what it is');
    ok(wait_for { ($redis->cmd('TYPE', $key) // '') eq 'string' },
       'the next store takes its place');
    is($nginx->get('/typed')->verdict, 'HIT -', 'and is a hit');

    $redis->cmd('DEL', $key);
    $redis->cmd(@$make);
    is($nginx->request('POST', '/typed')->status, 200, 'or an unsafe method');
    ok(wait_for { !$redis->exists($key) }, 'takes it away');
}

# an entry that was damaged: not one byte of it may be believed

$key = 'api:{http://localhost/entry}';
$r = $nginx->get('/entry');
$redis->wait_key($key);

my $whole = $redis->get($key);
my $good = $nginx->get('/entry');
is($good->verdict, 'HIT -', 'a sound entry');

my ($key_len, $head_len) = unpack 'VV', substr $whole, 56, 8;
my $before_body = unpack('v', substr $whole, 4, 2) + $key_len + $head_len;
my %bad;

for my $at (0 .. $before_body - 1,
            map { $before_body + 17 * $_ } 0 .. 10, length($whole) - 1)
{
    last if $at >= length $whole;

    my $copy = $whole;
    substr($copy, $at, 1) ^= chr(1 << $at % 8);
    $bad{ "bit " . $at % 8 . " of byte $at" } = $copy;
}

$bad{"cut to $_ bytes"} = substr $whole, 0, $_
    for 0 .. 4, 8, 16, 40, 63 .. 65, $before_body - 1, $before_body,
        $before_body + 1, length($whole) - 1;
$bad{'a byte more'} = "${whole}x";
$bad{'twice'} = $whole x 2;
$bad{'zero bytes'} = "\0" x length $whole;
$bad{'ff bytes'} = "\xff" x length $whole;
$bad{'text'} = 'any text, ' x 20;
$bad{"version $_"} = $whole =~ s/^RPC\x02/'RPC' . chr $_/re for 0, 1, 3;

for my $field ([ 'key length', 56, 4 ], [ 'head length', 60, 4 ],
               [ 'body length', 40, 8 ], [ 'fixed length', 4, 2 ])
{
    my ($name, $at, $size) = @$field;
    for my $fill ("\xff", "\0", "\x7f") {
        my $copy = $whole;
        substr($copy, $at, $size) = $fill x $size;
        $bad{sprintf "%s of %02x", $name, ord $fill} = $copy
            if $copy ne $whole;
    }
}

my (@served, @unhealed);

for my $name (sort keys %bad) {
    $redis->cmd('SET', $key, $bad{$name}, 'PX', 60000);
    $r = $nginx->get('/entry');

    push @served, "$name: " . $r->verdict . ' ' . $r->line
        if $r->verdict =~ /^HIT/ || $r->status != 200
           || $r->body !~ m{^/entry } || !$r->complete
           || ($r->header('X-Found') // '') !~ /^entry_/;

    wait_for { ($redis->get($key) // '') ne $bad{$name} } 5
        or push @unhealed, $name;
}

cmp_ok(scalar(keys %bad), '>', 180, 'an entry damaged in many ways');
is_deeply(\@served, [], 'is never served');
is_deeply(\@unhealed, [], 'and is replaced by the next store');
is($nginx->get('/entry')->verdict, 'HIT -', 'which is a hit');

$t->done();


# Redis fails in some way: whatever $break does.  Ten requests are answered
# rightly and in time, with a reason that matches, and one line tells of it.

sub fault {
    my ($name, $break, $reason, %o) = @_;

    my $nginx = $o{nginx} || $nginx;
    my $url = $o{url} || $url;

    $nginx->mark();
    $break->();

    my (@wrong, @reasons);

    my $sum = 0;

    for my $n (1 .. 10) {
        my $r = timed($nginx, '/fault-' . ++$serial);
        push @wrong, "$n: " . $r->line . ", $r->{net}"
            if $r->status != 200 || $r->body !~ m{^/fault-$serial }
               || $r->{net} > $bound;
        push @reasons, $r->header('X-Found') // '';

        # on a machine that lets it wait anything may be too late

        pop @reasons if $reasons[-1] eq 'redis_timeout'
                        && $r->took - $r->{net} > 0.1;
        $sum += $r->{net};
    }

    is_deeply(\@wrong, [], "$name: all requests are answered, in time");
    ok($sum < 3 * $bound, 'together too') or diag($sum);

    is_deeply([ grep { $_ !~ /$reason|absent/ } @reasons ], [],
              'the reasons are right');
    ok(scalar(grep { $_ =~ $reason } @reasons), 'there is one at least');

    my $line = $o{lines} || qr/redis "\Q$url\E" is down: \S/;
    ok($nginx->wait_line($line, 5), 'the log tells of it')
        or diag($nginx->errors());

    my @said = $nginx->lines('\[(?:warn|error|crit|alert|emerg)\]');

    # of entries it is said once a second, however many seconds this took
    @said = grep { !/holds an unusable entry/ } @said if $o{flaps} || $o{most};

    if ($o{flaps}) {

        # down, up by a handshake that works, down: each is a change
        my @up = $nginx->lines('is up again');
        cmp_ok(scalar(@said), '<=', 2 + @up, 'in one line for each change')
            or diag(join "\n", @said);

    } elsif ($o{most}) {

        # lookups and stores are refused each for itself; 400 ms may be too
        # little for a busy machine
        @said = grep { !/is down: .*(?:in time|timed out)$/ } @said;
        cmp_ok(scalar(@said), '<=', $o{most}, 'in few lines')
            or diag(join "\n", @said);

    } else {
        is(scalar(@said), 1, 'in one line') or diag(join "\n", @said);
    }

    return;
}


# Redis is well: the cache works again without anyone's help.

sub healed {
    my ($name, @lines) = @_;

    my ($down, $up) = @lines ? @lines : ('is down', 'is up again');
    my $uri = '/healed-' . ++$serial;
    my $back = wait_for {
        my $r = $nginx->get($uri);
        return $r->status == 200 && $r->verdict eq 'HIT -';
    };

    ok($back, "$name: hits again");

    if ($nginx->{mark}) {
        $nginx->wait_line($up);
        is(scalar($nginx->lines($up)), scalar($nginx->lines($down)),
           'the log tells of it, once') or diag($nginx->errors());
    }

    return;
}


# A scripted peer in the place of Redis, which later becomes a sound one.

sub with_peer {
    my ($name, $script, $reason, %o) = @_;

    my $well = $t->dir . '/well-' . ++$serial;

    my $fake = $t->fake_redis(sub {
        my ($peer) = @_;
        return -e $well ? sound($peer, $peer->request())
                        : $script->($peer, $well);
    });

    my $other = other_nginx($fake->url());
    $other->tolerate('holds an unusable entry');

    fault($name, sub { }, $reason, nginx => $other, url => $fake->url(), %o);

    spit($well, '');
    ok(wait_for {
        my $r = $other->get('/healed-' . ++$serial);
        $r->status == 200 && ($r->header('X-Found') // '') eq 'absent';
    }, 'the peer comes to its senses, and is used again');

    ok($other->stop(), 'nginx stops at once');
    is_deeply([ $other->faults() ], [], 'nothing alarming was logged');
    @{ $t->{nginxes} } = grep { $_ != $other } @{ $t->{nginxes} };
    $fake->stop();

    return;
}


# As much of a Redis as it takes, from this command on.

sub sound {
    my ($peer, @command) = @_;

    while (@command) {
        $peer->send($command[0] =~ /^GET$/i ? "\$-1\r\n" : "+OK\r\n");
        @command = $peer->request();
    }

    return;
}


sub other_nginx {
    my ($url, $time) = @_;

    my %vars = (URL => $url, TIME => $time || '400ms');

    return $t->nginx(<<'CONF', vars => \%vars, settle => 0);
    redis_proxy_cache_zone    api:1m server=%%URL%%
                              connect_timeout=%%TIME%% timeout=%%TIME%%;
    redis_proxy_cache_budget  %%TIME%%;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass         http://%%ORIGIN%%;
            redis_proxy_cache  api;
            add_header         X-Found $redis_proxy_cache_reason;
        }
    }
CONF
}


# A request, and how long it took but for the time in which the machine did
# something else: "net".

sub timed {
    my ($nginx, $uri) = @_;

    my $before = clock();
    my $r = $nginx->get($uri);

    $r->{net} = clock() - $before;
    return $r;
}


sub right {
    my ($r, $name) = @_;

    ok($r->status == 200 && $r->complete && $r->body =~ m{^/}
       && $r->{net} < $bound, $name) or diag($r->line . ' ' . $r->{net});
    return;
}


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=60', 'X-A' => 'b' ],
                 $req->uri . ' ' . $req->n . ' ' . 'text ' x 40);
}
