#!/usr/bin/perl

# A Redis whose memory is full throws away what it likes.  Whatever that is, an
# entry, one variant, the marker of them, a lock: the worst that may come of it
# is a miss, never a wrong answer.  And the line for the ACL that the
# documentation gives is enough.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

# the user of the documentation

my ($line) = slurp("$FindBin::Bin/../docs/storage-format.md")
             =~ /^    (ACL SETUSER .*?[^\\])$/ms;
$line =~ s/\\\n/ /g;
my @acl = split ' ', $line;

is($redis->cmd(@acl), 'OK', 'the user that the documentation describes');
is($acl[2], 'cache', 'it is called so');

my $nginx = $t->nginx(<<'CONF', settle => 0, vars => { AT => $redis->addr });
    redis_proxy_cache_zone    api:1m server=redis://cache:secret@%%AT%%/1
                              connect_timeout=20s timeout=20s;
    redis_proxy_cache_budget  20s;

    server {
        listen  127.0.0.1:%%PORT%%;

        location / {
            proxy_pass                    http://%%ORIGIN%%;
            redis_proxy_cache             api;
            redis_proxy_cache_key         $request_uri;
            redis_proxy_cache_revalidate  on;
        }
    }
CONF

$redis->cmd(qw(SELECT 1));
is($nginx->get('/a')->verdict, 'MISS -', 'with that user: a miss');
is($nginx->get('/a')->verdict, 'HIT -', 'a hit');
is($nginx->get('/vary/a', 'X-Kind' => 'x')->verdict, 'MISS -', 'a variant');
is($nginx->get('/vary/a', 'X-Kind' => 'x')->verdict, 'HIT -', 'a hit');
is($nginx->get('/large')->verdict, 'MISS -', 'a large one');
ok(wait_for { $nginx->get('/large')->verdict eq 'HIT -' }, 'a hit');
is($nginx->request('POST', '/a')->status, 200, 'an unsafe method');
is($nginx->get('/a')->verdict, 'MISS -', 'invalidates');
is_deeply([ $nginx->lines('refuses|NOPERM') ], [], 'nothing was refused');

# every policy, with four times as much as there is room for

for my $policy (qw(noeviction allkeys-lru allkeys-lfu allkeys-random
                   volatile-lru volatile-lfu volatile-random volatile-ttl))
{
    $redis->flush();
    $redis->cmd(qw(CONFIG SET maxmemory-policy), $policy);
    my ($used) = $redis->cmd(qw(INFO memory)) =~ /^used_memory:(\d+)/m;
    $redis->cmd(qw(CONFIG SET maxmemory), $used + 1_000_000);

    my (%seen, @wrong);

    for my $round (1, 2) {
        for my $n (1 .. 80) {
            my $kind = ('x', 'y')[$n % 2];
            my $uri = ($n % 5 ? "/big/$policy/" : "/vary/$policy/") . $n % 60;
            my $r = $nginx->get($uri, 'X-Kind' => $kind);
            my $right = $uri =~ /vary/ ? "$uri $kind " : "$uri ";

            push @wrong, "$uri $kind: " . $r->line
                if $r->status != 200 || $r->body !~ /^\Q$right\E/
                   || !$r->complete;
            $seen{ $r->verdict }++;
        }
    }

    my ($gone) = $redis->cmd(qw(INFO stats)) =~ /^evicted_keys:(\d+)/m;

    is_deeply(\@wrong, [], "$policy: every answer is the right one");
    is_deeply([ grep { !/^(?:MISS|HIT|EXPIRED) / } keys %seen ], [],
              'hits and misses') or diag(explain(\%seen));
    $policy eq 'noeviction'
        ? ok($nginx->lines('refuses stores: .*OOM'), 'stores are refused')
        : cmp_ok($gone, '>', 0, "$gone keys were evicted so far");
    is($nginx->request('POST', "/big/$policy/1")->status, 200,
       'an unsafe method');

    $redis->cmd(qw(CONFIG SET maxmemory 0));
}

# pieces that go alone

$redis->flush();
my @variants = map { $nginx->get('/vary/p', 'X-Kind' => $_) } 'x', 'y';
my ($marker) = grep { /\{\/vary\/p\}$/ } $redis->keys();
my ($one) = grep { /:v:[0-9a-f]+$/ } $redis->keys();

$redis->cmd('DEL', $one);
my @now = map { $nginx->get('/vary/p', 'X-Kind' => $_) } 'x', 'y';
is_deeply([ sort map { $_->verdict } @now ], [ 'HIT -', 'MISS -' ],
          'a variant has gone: the other one is a hit');
is_deeply([ map { (split ' ', $_->body)[1] } @now ], [ 'x', 'y' ],
          'each gets its own');

$redis->cmd('DEL', $marker);
@now = map { $nginx->get('/vary/p', 'X-Kind' => $_) } 'x', 'y', 'x';
is_deeply([ map { (split ' ', $_->body)[1] . ' ' . $_->verdict } @now ],
          [ 'x MISS -', 'y MISS -', 'x HIT -' ],
          'the marker has gone: its variants count no more');

$t->done();


sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $kind = $req->header('X-Kind') // '-';
    my $big = 'z' x ($uri =~ /large/ ? 3_000_000 : 50_000);

    return response(200, [ 'Cache-Control' => 'max-age=600',
                           ETag => '"' . $uri . $kind . '"',
                           ($uri =~ /vary/ ? (Vary => 'X-Kind') : ()) ],
                    $uri . ($uri =~ /vary/ ? " $kind " : ' ') . $big);
}
