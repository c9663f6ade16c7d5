#!/usr/bin/perl

# A failover that moves a name, while the old server goes on to answer: nothing
# fails, so nothing but the name tells.  It is asked for again now and then, and
# what is under way when it has moved is finished.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use RCache;
use RCache::Util qw(spawn stop_pid);

my $t = RCache->new();
my $origin = $t->throng(\&origin);

my $one = $t->redis();
my $two = $t->redis(name => 'TWO', host => '127.0.0.2', port => $one->port);

my $points = $t->dir . '/points';
point('127.0.0.1');

my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1');
my $dns_port = $dns->sockport();
my $dns_pid = spawn(code => \&name_server, keep => [ $dns ],
                    log => $t->dir . '/dns.log');

$t->set(DNS => $dns_port, P => $one->port);

my $conf = <<'CONF';
    resolver  127.0.0.1:%%DNS%% valid=1s ipv6=off;

    redis_proxy_cache_zone    %%ZONE%%:1m server=redis://redis.invalid:%%P%%
                              prefix=api: purge=on connect_timeout=5s
                              timeout=5s resolve=%%RESOLVE%%;
    redis_proxy_cache_budget  20s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass             http://%%ORIGIN%%;
            redis_proxy_cache      %%ZONE%%;
            redis_proxy_cache_key  $request_uri;
            add_header             X-Found $redis_proxy_cache_reason;
        }
    }
CONF

# One worker, so that the one which answers is the one that has noticed.

my $nginx = $t->nginx($conf, settle => 0,
                      vars => { ZONE => 'api', RESOLVE => '300ms' });
my $still = $t->nginx($conf, settle => 0,
                      vars => { ZONE => 'still', RESOLVE => 'off' });
my $serial = 0;

ok(wait_for { $_->get('/a')->verdict eq 'HIT -' }, 'hits') for $nginx, $still;
ok($one->exists('api:{/a}'), 'from the first one');
my $id = $one->cmd(qw(CLIENT LIST)) =~ /\bid=(\d+).*name=nginx-api/ && $1;

# more addresses, and the one in use among them: nothing moves

point('127.0.0.2 127.0.0.1');
ok(wait_for { asked() > 2 }, 'the name is asked for again');
is($nginx->get('/a')->verdict, 'HIT -', 'hits');
like($one->cmd(qw(CLIENT LIST)), qr/\bid=$id\b.*name=nginx-api/,
     'over the connection that there was');
is_deeply([ $nginx->lines('another address') ], [], 'nothing has moved');

# it moves, while answers are under way

$one->freeze();
my @held = map { begin("/a?$_") } 1 .. 20;
point('127.0.0.2');
ok($nginx->wait_line('has another address now'), 'it is noticed');
push @held, map { begin("/b?$_") } 1 .. 20;
$one->thaw();
is_deeply([ grep { !/^200 (?:-|absent)$/ } map {
              my $r = $_->response();
              $r->status . ' ' . ($r->header('X-Found') // 'none') } @held ],
          [], 'what is under way is finished, and what comes waits');
ok(wait_for { $nginx->get('/moved/' . ++$serial);
              $two->exists("api:{/moved/$serial}") },
   'from then on it is the second one');
ok(wait_for { $one->cmd(qw(CLIENT LIST)) !~ /name=nginx-api/ },
   'nothing is left of the first') or diag($one->cmd(qw(CLIENT LIST)));
is_deeply([ $nginx->lines('is down|not in time|refuses') ], [],
          'and nothing has failed');
ok(wait_for { $two->cmd(qw(CLIENT LIST)) =~ /cmd=xread/ },
   'the log of purges is followed there');

# off

is($still->get('/a')->verdict, 'HIT -', 'resolve=off: the old one as ever');
is_deeply([ $still->lines('another address') ], [], 'nothing was noticed');

# no news is no news

ok(wait_for { $nginx->get('/b')->verdict eq 'HIT -' }, 'it has what is asked');

for my $what ('none', 'silent') {
    point($what);
    my $n = asked();
    ok(wait_for { asked() > $n + 2 }, "the name server says $what");
    is($nginx->get('/b')->verdict, 'HIT -', 'hits');
}

# back again, under load

point('127.0.0.1');
my (%found, $n);
ok(wait_for {
    my $r = $nginx->get('/load/' . ++$n);
    $found{ $r->status . ' ' . ($r->header('X-Found') // 'none') }++;
    return $one->exists("api:{/load/$n}");
}, 'the name moves back');
is_deeply([ grep { !/^200 (?:-|absent)$/ } keys %found ], [],
          "$n requests meanwhile, and none without the cache")
    or diag(explain(\%found));

ok($_->stop(), 'nginx stops') for $nginx, $still;
stop_pid($dns_pid, 'KILL');

my $bad = $t->nginx_new("    redis_proxy_cache_zone a:1m\n"
                        . "        server=redis://127.0.0.1:1 resolve=x;\n");
my ($status, $out) = $bad->check();
like($out, qr/\[emerg\].*a time above 0/, 'a time that is none');
@{ $t->{nginxes} } = grep { $_ != $bad } @{ $t->{nginxes} };

$t->done();


sub point { my ($to) = @_; spit($points, $to); return }
sub asked { return -s "$points.asked" || 0 }


sub begin {
    my ($uri) = @_;

    my $c = $nginx->connect();
    $c->send("GET $uri HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             . "\r\n");
    return $c;
}


sub name_server {
    while (defined(my $peer = $dns->recv(my $query, 512))) {
        open my $fh, '>>', "$points.asked" or die;
        syswrite $fh, '.';
        close $fh;

        my $to = slurp($points);
        next if $to eq 'silent';

        my ($question) = substr($query, 12) =~ /^((?:[^\0].*?)?\0....)/s;
        my $id = substr $query, 0, 2;
        my @to = $to eq 'none' ? () : split ' ', $to;

        $dns->send($id . pack('n5', @to ? 0x8180 : 0x8183, 1, scalar @to, 0, 0)
                   . $question . join('', map {
                       pack('n3Nn', 0xc00c, 1, 1, 1, 4)
                           . pack('C4', split /\./) } @to), 0, $peer);
    }
    return;
}


sub origin {
    my ($req) = @_;

    return response(200, [ 'Cache-Control' => 'max-age=600' ], $req->uri);
}
