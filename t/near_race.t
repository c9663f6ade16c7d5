#!/usr/bin/perl

# That a key has changed comes on another connection than what was read, and
# may come first: then what was read is for the one who asked, and nobody else
# gets it.  So it is when this instance writes while it reads.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use Test::More;
use RCache;
use RCache::Near;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(sub {
    my ($req, $reply) = @_;

    return $reply->send(204, []) if $req->method ne 'GET';
    $reply->send(200, [ 'Cache-Control' => 'max-age=600' ],
                 'answer ' . $req->n);
});

# one that tells of a change when the test says so, and answers when it does

my %file = map { $_ => $t->dir() . "/$_" }
           qw(entry say hold held cut wait waits id two);

my $fake = $t->fake_redis(sub {
    my ($peer) = @_;
    my $looks;

    while (my @argv = $peer->command()) {
        my $what = uc(join ' ', @argv[0, 1]);

        if ($what =~ /^INFO/) {
            my $run = ($looks && -e $file{two} ? 'b' : 'a') x 40;
            my $info = "# Server\r\nrun_id:$run\r\n";
            $peer->send('$' . length($info) . "\r\n$info\r\n");

        } elsif ($what eq 'CLIENT ID') {
            spit($file{id}, (-e $file{id} ? slurp($file{id}) : 0) + 1);
            $peer->send(':' . slurp($file{id}) . "\r\n");

        } elsif ($what =~ /^SUBSCRIBE/) {
            $peer->send("*3\r\n\$9\r\nsubscribe\r\n", bulk($argv[1]),
                        ":1\r\n");
            return listen_on($peer);

        } elsif ($what eq 'CLIENT TRACKING') {

            if (-e $file{wait}) {
                spit($file{waits}, '');
                wait_for { !-e $file{wait} };

                # long after the other one has been confirmed

                select undef, undef, undef, 0.3;
            }

            $peer->send("+OK\r\n");

        } elsif ($what =~ /^PTTL/) {
            $peer->send(":60000\r\n");

        } elsif ($what =~ /^GET /) {

            if (-e $file{hold}) {
                spit($file{held}, '');
                wait_for { !-e $file{hold} };
            }

            $looks = 1;
            $peer->send(bulk(slurp($file{entry})));

        } else {
            $peer->send("+OK\r\n");
        }
    }
});

$t->set(FAKE => $fake->url());

my $conf = <<'CONF' . near_server();
    redis_proxy_cache_zone    api:1m server=%%SERVER%% near=2m prefix=api:
                              connect_timeout=30s timeout=30s slow=off;
    redis_proxy_cache_budget  30s;
CONF

# an entry that is whole

my $real = $t->nginx($conf, settle => 0, vars => { SERVER => $redis->url() });

is($real->get('/a')->verdict, 'MISS -', 'a miss');
ok($redis->wait_key('api:{/a}'), 'is stored');
spit($file{entry}, $redis->get('api:{/a}'));

# what is said to be one server may be two: the number of a client means nothing
# at the other one

my $two = $t->nginx($conf, settle => 0, vars => { SERVER => $fake->url() });

spit($file{two}, '');
ok((wait_for {
    $two->get('/a');
    return $two->lines('two connections lead to two servers');
}), 'two servers');
is_deeply([ map { $two->get('/a')->header('X-Source') } 1 .. 5 ],
          [ ('redis') x 5 ], 'of which one could not tell of the other');
unlink $file{two};
ok((wait_for { $two->get('/a')->header('X-Source') eq 'near' }),
   'until they are one');
$two->stop();

# the listener is lost while it is being made known, and there is another one

my $nginx = $t->nginx($conf, settle => 0, vars => { SERVER => $fake->url() });

my @said = map { said($_) } 'SUBSCRIBE __redis__:invalidate',
                            'CLIENT TRACKING';

spit($file{wait}, '');
source() for 1 .. 2;
ok((wait_for { -e $file{waits} }), 'one listener is made known');
spit($file{cut}, '');
ok((wait_for { said('SUBSCRIBE __redis__:invalidate') == $said[0] + 2 }),
   'another one');
is(said('CLIENT TRACKING'), $said[1] + 1, 'which waits for its turn');
unlink $file{wait};
ok((wait_for { said('CLIENT TRACKING') == $said[1] + 2 }),
   'and is made known as well');

ok((wait_for { source() eq 'near' }), 'it is near');
is(zone($nginx)->{near_changes}{key}, 0, 'nothing has changed so far');

# a change, and a read that is answered behind it

my $n = 0;

for my $what ("*1\r\n" . bulk('api:{/a}'), "\$-1\r\n", "*-1\r\n",
              "*2\r\n" . bulk('api:{/b}') . bulk('api:{/a}'))
{
    my $void = zone($nginx)->{near_fills}{void};

    spit($file{hold}, '');
    change($what);

    my $c = $nginx->connect();
    $c->send("GET /a HTTP/1.0\r\nHost: a\r\n\r\n");
    ok((wait_for { -e $file{held} }), 'the copy is void, Redis is asked');

    change($what);
    unlink $file{held}, $file{hold};
    like($c->response('GET')->body, qr/answer/, 'and answers behind a change');
    is(zone($nginx)->{near_fills}{void}, $void + 1,
       'that is copied for nobody');
    is(source(), 'redis', 'who comes next asks');
    ok((wait_for { source() eq 'near' }), 'and it is near again');
}

# the same by this instance's own hand

spit($file{hold}, '');
change("\$-1\r\n");
my $void = zone($nginx)->{near_fills}{void};
my $c = $nginx->connect();
$c->send("GET /a HTTP/1.0\r\nHost: a\r\n\r\n");
ok((wait_for { -e $file{held} }), 'Redis is asked');
is($nginx->request('POST', '/a')->status, 204, 'and the entry is deleted');
unlink $file{held}, $file{hold};
$c->response('GET');
is(zone($nginx)->{near_fills}{void}, $void + 1, 'what was read before is void');

$t->done();


# the listener: answers PING, and says what is to be said

sub listen_on {
    my ($peer) = @_;

    for (;;) {
        return if unlink $file{cut};

        if (length $peer->{in} || IO::Select->new($peer->{sock})
                                  ->can_read(0.01))
        {
            $peer->command() or return;
            $peer->send("*2\r\n\$4\r\npong\r\n\$0\r\n\r\n");
        }

        if (-e $file{say}) {
            $peer->send("*3\r\n\$7\r\nmessage\r\n",
                        bulk('__redis__:invalidate'), slurp($file{say}));
            unlink $file{say};
        }
    }
}


# something changes, and that is known

sub change {
    my ($what) = @_;
    my $changes = changes();

    spit("$file{say}.new", $what);
    rename "$file{say}.new", $file{say};
    ok((wait_for { changes() > $changes }), 'a change');

    return;
}


sub changes {
    my $changes = zone($nginx)->{near_changes};

    return $changes->{key} + $changes->{all};
}


sub said {
    my ($what) = @_;

    return scalar grep { $_ eq $what } $fake->commands();
}


sub bulk { return '$' . length($_[0]) . "\r\n$_[0]\r\n" }


sub source { return $nginx->get('/a')->header('X-Source') // '' }
