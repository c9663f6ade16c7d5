#!/usr/bin/perl

# Redis behind Sentinels: the master is found through them, and found again
# when it dies under load, or is told to step down.  No request may be
# answered wrongly, with an error, or late; no reload may be needed; and a
# Sentinel that slept through a failover must not lead anybody astray.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;

my $bound = $ENV{ASAN_OPTIONS} ? 12 : 6;

my $t = RCache->new();
my $origin = $t->throng(\&origin);

# one master, two replicas, three Sentinels, with passwords of their own

my @config = ('requirepass simple', 'masterauth simple',
              'repl-diskless-sync-delay 0', 'repl-ping-replica-period 1');
my @redis = ($t->redis(name => 'R1', password => 'simple',
                       config => \@config));
push @redis, map {
    $t->redis(name => "R$_", password => 'simple',
              config => [ @config, 'replicaof 127.0.0.1 '
                                   . $redis[0]->port ])
} 2, 3;

ok(wait_for { !grep { $_->cmd(qw(INFO replication)) !~ /link_status:up/ }
              @redis[1, 2] }, 'the replicas are in step');

my @sentinels = $t->sentinels(\@redis,
    'user watcher on >look resetkeys resetchannels &* -@all +sentinel|master'
        . ' +subscribe +unsubscribe +ping +client|setname',
    'sentinel auth-pass shop simple');

my $all = join ' ', map { "server=redis://watcher:look\@" . $_->addr }
                        @sentinels;

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m %%SENTINELS%% sentinel=shop
                                    password=simple
                                    connect_timeout=2s timeout=2s;
    redis_proxy_cache_budget        2s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      api;
            redis_proxy_cache_key  $request_uri;
            add_header             X-Found $redis_proxy_cache_reason;
        }
    }
CONF

$t->set(SENTINELS => $all);
my @nginx = map { $t->nginx($conf, workers => 2, settle => 0) } 1 .. 2;
my $serial = 0;

ok(works(@nginx), 'the master is found: hits at both instances');
ok($redis[0]->exists('api:{/1-1}'), 'it is the right one');
is_deeply([ map { $_->wait_line('the master is "' . $redis[0]->addr . '"')
                  ? 1 : 0 } @nginx ], [ 1, 1 ], 'the log tells of it');

# it dies

$_->mark() for @nginx;
$redis[0]->stop();
load_until('the master is killed',
           sub { master() != $redis[0] && works(@nginx) });

my $second = master();
isnt($second->port, $redis[0]->port, 'a replica has taken its place');
for my $n (0, 1) {
    is(scalar($nginx[$n]->lines('\[error\].*is down')), 1,
       'one line tells of it')
        or diag($nginx[$n]->errors());
    ok($nginx[$n]->lines('the master is "' . $second->addr . '"'),
       'and one of the new one');
    ok($nginx[$n]->wait_line('is up again'), 'and one that all is well');
}

# it comes back as a replica.  (Left to the Sentinels that takes ten seconds.)

push @{ $redis[0]{config} }, 'replicaof 127.0.0.1 ' . $second->port;
$redis[0]->start();
ok(works(@nginx), 'hits');

# a failover on demand, while one of the Sentinels sleeps

ok(wait_for { my $link = eval { $redis[0]->cmd(qw(INFO replication)) };
              $link && $link =~ /link_status:up/ },
   'the old one is back');
$sentinels[2]->freeze();
$_->mark() for @nginx;
ok(wait_for { my $r = $sentinels[0]->cmd(qw(SENTINEL FAILOVER shop));
              !ref $r && $r eq 'OK' }, 'a failover on demand');
load_until('meanwhile', sub { master() != $second && works(@nginx) });
my $third = master();
ok(wait_for { !grep { !$_->lines('the master is "' . $third->addr . '"') }
              @nginx }, 'both know the third one');
ok(works(@nginx), 'hits from it');

# whoever starts now gets two opinions against one that is old

my $old = $second->addr;
my $liar = $t->fake_redis(sub {
    my ($peer) = @_;
    while (my @command = $peer->request()) {
        $peer->send($command[0] eq 'SENTINEL'
            ? array('name', 'shop', 'ip', '127.0.0.1', 'port',
                    $old =~ s/.*://r, 'flags', 'master', 'config-epoch', 0)
            : $peer->hang());
    }
});

my $addr = $liar->url;
$t->set(SENTINELS => "server=$addr server=redis://watcher:look\@"
        . $sentinels[0]->addr . " server=redis://watcher:look\@"
        . $sentinels[1]->addr);
my $late = $t->nginx($conf, settle => 0);
ok(works($late), 'one Sentinel of three is out of date: hits');
ok(wait_for { $late->lines('the master is "' . $third->addr . '"') },
   'from the right one');
$late->stop();

# nobody but the old one to ask: what it names says that it is no master.
# (Left to the Sentinels, it would step down some seconds later.)

on($second, 'REPLICAOF', '127.0.0.1', $third->port);
$t->set(SENTINELS => "server=$addr");
my $astray = $t->nginx($conf, settle => 0);
my $r = $astray->get('/astray');
is($r->status . ' ' . $r->header('X-Found'), '200 redis_down',
   'only an old Sentinel: no cache');
ok($astray->wait_line("is down: \"$old\" is no master"), 'the log says why');
$astray->stop();

# all Sentinels gone: who knows the master goes on

$_->freeze() for @sentinels[0, 1];
ok(works(@nginx), 'no Sentinel answers: the master is still the master')
    or diag(map { "$_\n" } (map { $_->addr . ' ' . on($_, 'ROLE')->[0] }
                                 @redis),
            map { (split /\n/, $_->errors())[-12 .. -1] } @nginx);
$_->thaw() for @sentinels;

# a master that nobody knows, and Sentinels that nobody can reach

for (
    [ 'an unknown name', $all, 'sentinel=other', qr/No such master/ ],
    [ 'nobody there', 'server=redis://127.0.0.1:1', 'sentinel=shop',
      qr/no sentinel of "shop" says/ ],
    [ 'a wrong password', "server=redis://watcher:no\@"
      . $sentinels[0]->addr, 'sentinel=shop', qr/WRONGPASS/ ],
) {
    my ($name, $servers, $which, $said) = @$_;

    $t->set(SENTINELS => $servers);
    my $lost = $t->nginx($conf =~ s/sentinel=shop/$which/r =~ s/=2s/=500ms/gr,
                         settle => 0);
    my $r = $lost->get('/lost');
    is($r->status . ' ' . $r->header('X-Found'), '200 redis_down',
       "$name: no cache");
    ok($lost->wait_line($said), 'the log says why') or diag($lost->errors());
    ok($lost->stop(), 'nginx stops');
}

# a user that may not ask for the role notices when it cannot write

on($third, qw(ACL SETUSER blind on >blind ~* &* +@all -role));
$t->set(SENTINELS => $all);
my $blind = $t->nginx($conf =~ s/password=simple/password=blind user=blind/r,
                      settle => 0);
ok(works($blind), 'a user that may not ask for the role');
on($third, 'REPLICAOF', '127.0.0.1', $second->port);
is($blind->get('/blind')->status, 200, 'the master becomes a replica');
ok($blind->wait_line('is down: .*(?:replica by now|no master)'),
   'which is noticed');
$blind->stop();

# what the configuration says wrongly

for (
    [ 'server=redis://a:1/2 sentinel=m', 'db=' ],
    [ 'server=redis://a:1 sentinel=', 'the name of the master' ],
    [ 'server=redis://a:1 tls=on', 'rediss://' ],
    [ 'server=redis://a:1 sentinel=m tls=x', 'on or off' ],
    [ join(' ', map { "server=redis://127.0.0.1:$_" } 1 .. 17) . ' sentinel=m',
      'at most 16' ],
) {
    my ($parameters, $said) = @$_;

    my $bad = $t->nginx_new("    redis_proxy_cache_zone a:1m $parameters;\n");
    my ($status, $out) = $bad->check();
    ok($status != 0, "$parameters is refused");
    like($out, qr/\[emerg\].*\Q$said\E/, 'and the error says what is right');
    @{ $t->{nginxes} } = grep { $_ != $bad } @{ $t->{nginxes} };
}

$t->done();


sub array {
    return '*' . @_ . "\r\n" . join '', map { '$' . length($_) . "\r\n$_\r\n" }
                                            @_;
}


# A command to a server whose connections a Sentinel may have cut, as it does
# when the server becomes a replica.

sub on {
    my ($redis, @command) = @_;

    my $reply;
    eval { $reply = $redis->cmd(@command); 1 }
        or $reply = $redis->cmd(@command);
    return $reply;
}


# The one that Sentinels and itself agree to be the master.

sub master {
    for my $redis (grep { $_->running } @redis) {
        my $role = eval { on($redis, 'ROLE') } or next;
        next if $role->[0] ne 'master';
        my $named = $sentinels[0]->cmd(
            qw(SENTINEL GET-MASTER-ADDR-BY-NAME shop));
        return $redis if $named->[1] == $redis->port;
    }

    return $redis[0];
}


# A new response is stored, and is a hit, at each of these.

sub works {
    my (@which) = @_;

    $serial++;

    return wait_for {
        my $n = 0;
        !grep { my $uri = "/$serial-" . ++$n;
                $_->get($uri)->verdict ne 'HIT -' } @which;
    };
}


# Requests all the while: each is answered rightly, and in time.

sub load_until {
    my ($name, $over) = @_;

    my (@wrong, $n);
    my $worst = 0;
    my $ended = 0;
    my $from = time();

    until ($ended || time() - $from > RCache::Util::patience()) {
        for (1 .. 20) {
            my $uri = '/load-' . $serial . '-' . ++$n;
            my $before = clock();
            my $r = $nginx[$n % 2]->get($uri);
            my $took = clock() - $before;
            $worst = $took if $took > $worst;
            push @wrong, $r->line if $r->status != 200
                                     || $r->body ne "body of $uri";
        }

        my $stepped = eval { master() };
        $ended = $stepped && $over->();
    }

    ok($ended, "$name: it works again, after $n requests");
    is_deeply(\@wrong, [], 'all of them were answered rightly');
    cmp_ok($worst, '<', $bound, 'none of them late');
    return;
}


sub origin {
    my ($req) = @_;

    return response(200, [ 'Cache-Control' => 'max-age=600' ],
                    'body of ' . $req->uri);
}
