#!/usr/bin/perl

# The promise of the module: however many clients ask on however many
# instances, the upstream sees one request.  2,000 clients at once, 4
# instances with 2 workers each, one Redis.  If it were broken, a popular page
# that expires would fall on the upstream like a hammer.  RCACHE_CROWD is the
# number of clients.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;
use RCache::Lock;

my $clients = $ENV{RCACHE_CROWD} || 2000;
my $body = join '', map { sprintf "%07d\n", $_ } 1 .. 1000;
my $length = length "answer 1\n$body";

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $conf = patient() . <<'CONF';

    server {
        listen  127.0.0.1:%%PORT%% reuseport backlog=2048;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $request_uri;
        proxy_set_header       X-Instance %%NUMBER%%;
        add_header             X-Cache $redis_proxy_cache_status always;
        add_header             X-Reason $redis_proxy_cache_reason always;
        add_header             X-Worker $pid always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /behind/ {
            proxy_pass                   http://%%ORIGIN%%;
            redis_proxy_cache_use_stale  updating;
        }

        location /ask/ {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache_revalidate  on;
        }
    }
CONF

my @nginx = map {
    $t->nginx($conf, workers => 2, settle => 0, vars => { NUMBER => $_ })
} 1 .. 4;
my @ports = map { $_->port() } @nginx;

my ($crowd, @got, $r);

# a cold key, and an upstream that takes a second

$crowd = $t->crowd(ports => \@ports, clients => $clients, uri => '/cold')
    ->go();
@got = $crowd->answers();
is($origin->count('/cold'), 1, "$clients clients ask for a cold key: 1 fetch");
whole('a cold key', $clients, $length, @got);
same(@got);
is_deeply(RCache::Crowd::tally('X-Cache', @got),
          { MISS => 1, HIT => $clients - 1 }, 'one miss, else hits');
cmp_ok(scalar(keys %{ RCache::Crowd::tally('X-Worker', @got) }), '>', 4,
       'by many workers');
told('a cold key', @got);
calm($redis, '/cold');

# once more, with Vary: two variants that nobody knows of, then two that are
# known, one fetch for each

for my $time (1, 2) {
    my $uri = '/vary';
    my @half = (0, 0);

    $crowd = $t->crowd(ports => \@ports, clients => 400, uri => $uri,
                       headers => sub { [ 'Accept-Language' =>
                       int($_[0] / 4) % 2 ? 'de' : 'en' ] })->go();
    @got = $crowd->answers();

    is($origin->count($uri), 2 * $time, "$time: two languages, two fetches");
    $half[ $_->{head} =~ /^Content-Language: de/m ? 1 : 0 ]++ for @got;
    is_deeply(\@half, [ 200, 200 ], 'half of the clients each');
    is(scalar(grep {
        my $want = int($_->{n} / 4) % 2 ? 'de' : 'en';
        $_->{head} !~ /^Content-Language: $want/m || !$_->{complete}
            || $_->{status} != 200
    } @got), 0, 'each has the language that it asked for');

    $redis->cmd('DEL', grep { /:v:/ } $redis->keys()) if $time == 1;
}
calm($redis, '/vary');

# an expired key that may be served while it is updated: nobody waits

$r = $nginx[0]->get('/behind/1');
is($r->verdict, 'MISS -', 'a page that is soon stale');
RCache::Entry->wait_stale($redis, 'api:{/behind/1}');
$crowd = $t->crowd(ports => \@ports, clients => $clients, uri => '/behind/1')
    ->go();
ok($crowd->answered(), 'all have an answer while the upstream still works');
ok(wait_for { $origin->count('/behind/1') == 2 }, 'which was asked');
@got = $crowd->answers();
whole('an expired key', $clients, $length, @got);
same(@got);
is(scalar(grep { $_->{head} !~ /^X-Cache: (?:STALE|UPDATING)\r?$/m } @got),
   0, 'all of them what is stale')
    or diag(explain(RCache::Crowd::tally('X-Cache', @got)));
is($origin->count('/behind/1'), 2, 'one refresh for all');
$origin->say('behind');
ok(wait_for { $nginx[1]->get('/behind/1')->verdict eq 'HIT -' },
   'then it is fresh again');
is($origin->count('/behind/1'), 2, 'by that one refresh');
told('an expired key', @got);
calm($redis, '/behind/1');

# an expired key that has to be asked for

$r = $nginx[0]->get('/ask/1');
RCache::Entry->wait_stale($redis, 'api:{/ask/1}');
$crowd = $t->crowd(ports => \@ports, clients => $clients, uri => '/ask/1')
    ->go();
@got = $crowd->answers();
is($origin->count('/ask/1'), 2, 'a 304 for all of them');
is($origin->latest('/ask/1')->header('If-None-Match'), '"v1"',
   'in answer to a condition');
whole('a 304', $clients, $length, @got);
same(@got);
is_deeply(RCache::Crowd::tally('X-Cache', @got),
          { REVALIDATED => 1, HIT => $clients - 1 }, 'asked for by one');
is(scalar(grep { $_->{head} !~ /^Cache-Control: max-age=60\r?$/m } @got), 0,
   'all have the headers of the 304');
told('a 304', @got);
calm($redis, '/ask/1');

# who waits at another instance is told: by looking again now and then, once a
# second, these would take that long each

my ($trials, $waited) = (8, 0);

for my $n (1 .. $trials) {
    my $uri = "/told/$n";
    my $leader = $nginx[0]->connect();
    my $follower = $nginx[1]->connect();

    $leader->send(RCache::HTTP::format_request('GET', $uri));
    wait_for { $origin->count($uri) == 1 };
    $follower->send(RCache::HTTP::format_request('GET', $uri));
    wait_for { @{ $redis->cmd('PUBSUB', 'CHANNELS') } };
    $origin->say($uri);
    $leader->answer();

    my $from = time();
    is($follower->answer()->header('X-Cache'), 'HIT', "follower $n: a hit");
    $waited += time() - $from;
}

cmp_ok($waited, '<', $trials / 2, 'those who wait are told when it is there');
note(sprintf 'told after %.0f ms', 1000 * $waited / $trials);

# a write on one instance while another fetches: who comes after it must not
# get what was fetched before it

my $leader = $nginx[0]->begin('GET', '/written');
ok(wait_for { $origin->count('/written') == 1 }, 'a fetch is on its way');
$r = $nginx[1]->request('PUT', '/written', body => 'new');
is($r->status, 200, 'a write on another instance is not held up');

my @late = map { $_->begin('GET', '/written') } @nginx;

ok(wait_for { $origin->count('/written') == 3 },
   'the next one does not wait for what was fetched before');
$origin->say('/written-3');
my @late_bodies = map { $_->answer()->body } @late[1 .. 3];
is_deeply(\@late_bodies, [ ('answer 3') x 3 ], 'who asked behind the write '
          . 'gets what was fetched behind it, on other instances');
$origin->say('/written-1');
is($leader->answer()->body, 'answer 1', 'the first has its own');
is($late[0]->answer()->body, 'answer 3', 'who asked behind the write does not '
   . 'get that, on its instance, either');
is($_->get('/written')->body, 'answer 3', 'which did not overwrite it')
    for @nginx;
is($origin->count('/written'), 3, 'all are hits');
calm($redis, '/written');

$t->done();


sub told {
    my ($name, @got) = @_;

    my ($leader) = grep { $_->{head} =~ /^X-Cache: (?:MISS|REVALIDATED)/m }
                   @got;
    my ($last) = sort { $b->{done} <=> $a->{done} } @got;
    my ($first) = sort { $a->{began} <=> $b->{began} } @got;

    note(sprintf '%s: all done after %.3f s%s', $name,
         $last->{done} - $first->{began},
         $leader ? sprintf(', %.3f s behind the leader',
                           $last->{done} - $leader->{done}) : '');
    return;
}


my %count;

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $n = ++$count{$uri};
    my $answer = "answer $n\n$body";

    if ($uri eq '/written') {
        return response(200, [ ], 'written') if $req->method eq 'PUT';
        return (\"/written-$n", response(200, [ 'Cache-Control' =>
                                               'max-age=60' ], "answer $n"));
    }

    if ($uri eq '/vary') {
        return (0.3, response(200, [
            'Cache-Control' => 'max-age=60', Vary => 'Accept-Language',
            'Content-Language' => $req->header('Accept-Language')
        ], $answer));
    }

    if ($uri =~ m{^/behind/}) {
        return response(200, [ 'Cache-Control' => 'max-age=1' ], $answer)
            if $n == 1;
        return (\'behind', response(200, [ 'Cache-Control' => 'max-age=60' ],
                                    $answer));
    }

    if ($uri =~ m{^/ask/}) {
        return response(200, [ 'Cache-Control' => 'max-age=1',
                               ETag => '"v1"' ], $answer) if $n == 1;
        return (1, "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n"
                   . "Cache-Control: max-age=60\r\nConnection: close\r\n"
                   . "\r\n");
    }

    return (\$uri, response(200, [ 'Cache-Control' => 'max-age=60' ],
                             $answer)) if $uri =~ m{^/told/};

    return (1, response(200, [ 'Cache-Control' => 'max-age=60' ], $answer));
}
