#!/usr/bin/perl

# A purge that is forgotten is worse than none: somebody was told that the old
# state is gone.  So an instance that cannot know what was purged must not serve
# what it has: when it starts, when the log is lost or trimmed, when Redis does
# not tell, when the worker that follows the log is killed.

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
    redis_proxy_cache_zone    api:1m server=%%REDIS%% purge=on
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    map $request_method $purge {
        PURGE    1;
        default  0;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache       api;
        redis_proxy_cache_key   $request_uri;

        location / {
            proxy_pass  http://%%ORIGIN%%;
            redis_proxy_cache_tags  $upstream_http_cache_tag;
            redis_proxy_cache_purge  $purge;
            add_header  X-Reason $redis_proxy_cache_reason;
        }
    }
CONF

my $one = $t->nginx($conf, workers => 2, settle => 0);
my ($n, $r, $old, $older) = 0;

# an instance that starts knows of what was purged before

$old = fill($one, '/warm/1');
my $kept = fill($one, '/warm/2');
record(tag => 'tag-/warm/1');

my $two = $t->nginx($conf, workers => 2, settle => 0);
isnt($two->get('/warm/1')->body, $old, 'a new instance knows of the purge');
is($two->get('/warm/2')->body, $kept, 'and serves what was not purged');

# one that is reloaded, again and again

for (1 .. 3) {
    $old = fill($two, "/reload/$_");
    $two->reload();
    record(tag => "tag-/reload/$_");
    ok(wait_for { $two->get("/reload/$_")->body ne $old },
       'after a reload it follows the log');
}

# the worker that follows the log is killed, and so is the next

for (1 .. 2) {
    my %follows = map { $_ => 1 } followers();
    $old = fill($one, "/killed/$_");

    kill KILL => $one->workers();
    record(tag => "tag-/killed/$_");
    ok(wait_for { my $r = eval { $one->get("/killed/$_") };
                  $r && $r->body && $r->body ne $old },
       'the workers are killed: nothing that was purged is served');
}
$_->tolerate(qr/exited on signal 9/) for $one;

ok(wait_for { followers() == 2 }, 'each instance follows with one worker')
    or diag(join ' ', followers());

# the log is lost: what is older counts as purged, for all

$old = fill($_, '/lost/1') for $one, $two;
$older = fill($one, '/lost/2');
record(tag => 'tag-/lost/1');
known($_) for $one, $two;
$redis->cmd('DEL', 'api:!purges');
$one->wait_line(qr/has lost purges/);

ok(wait_for { $redis->cmd('XLEN', 'api:!purges') >= 1 },
   'the log is there again');
ok(wait_for { $redis->cmd('PTTL', 'api:!purges') > 0 }, 'with a TTL');

my $three = $t->nginx($conf, workers => 1, settle => 0);
isnt($three->get('/lost/1')->body, $old,
     'a new instance does not serve what was purged before');
isnt($three->get('/lost/2')->body, $older, 'nor what may have been');

my $new = fill($three, '/lost/3');
record(tag => 'tag-/lost/3');
ok(wait_for { $_->get('/lost/3')->body ne $new }, 'purges go on')
    for $one, $two, $three;
$_->tolerate(qr/has lost purges/) for $one, $two, $three;

# it was trimmed: the same

$old = fill($one, '/trimmed/1');
record(tag => 'tag-/trimmed/1');
record(tag => "x$_") for 1 .. 3;
$older = fill($one, '/trimmed/2');
known($one);
$redis->cmd('XTRIM', 'api:!purges', 'MAXLEN', 1);

my $four = $t->nginx($conf, workers => 1, settle => 0);
isnt($four->get('/trimmed/1')->body, $old,
     'a trimmed log: what was purged before is not served');
is($one->get('/trimmed/2')->body, $older, 'who followed has what was not');

# large records, a lot of them at once

my @large = map { (tag => "large-$_" . 'x' x 200) } 1 .. 500;
$old = fill($one, '/large/1');
record(@large, tag => "n$_") for 1 .. 120;
record(@large, tag => 'tag-/large/1', soft => 0, tag => 'x');

my $large = $t->nginx($conf, workers => 1, settle => 0);
isnt($large->get('/large/1')->body, $old, 'large records: all are read');
ok(wait_for { $large->get('/large/2')->verdict eq 'HIT -' },
   'and it serves what it has');
ok(!$large->lines(qr/is down/), 'by connections that last');
$_->tolerate(qr/has lost purges/) for $large;
ok($large->stop(), 'and that is all of it');

# a server that went back in time: a replica that had not got it all

$old = fill($one, '/back/1');
my $dump = $redis->cmd('DUMP', 'api:!purges');
record(tag => 'tag-/back/1');
known($_) for $one, $two, $three, $four;
$redis->cmd('RESTORE', 'api:!purges', 0, $dump, 'REPLACE');
ok(wait_for { grep { $_->[1][0] eq 'floor' }
              @{ $redis->cmd('XRANGE', 'api:!purges', '-', '+') } },
   'a floor is set');
my $five = $t->nginx($conf, workers => 1, settle => 0);
isnt($five->get('/back/1')->body, $old, 'what was lost is purged');
record(tag => 'again');
$_->tolerate(qr/has lost purges/) for $one, $two, $three, $four, $five;

# Redis does not tell: nothing is served

$redis->cmd('ACL', 'SETUSER', 'default', '-xread', '-xinfo');
$old = $four->get('/mute/1');
ok(wait_for { $_->get('/mute/1')->header('X-Reason') eq 'purges_unknown' },
   'who is not told of purges serves nothing') for $one, $two;
$redis->cmd('ACL', 'SETUSER', 'default', '+xread', '+xinfo');
ok(wait_for { $_->get('/mute/1')->verdict eq 'HIT -' },
   'until it is told again') for $one, $two;
$_->tolerate(qr/does not tell of purges/) for $one, $two, $three, $four, $five;

# what is unknown in a record does no harm, and is told of

$old = fill($one, '/odd/1');
record(tags => 'tag-/odd/1');
known($_) for $one, $two;
is($one->get('/odd/1')->body, $old, 'a record that says nothing');
$_->tolerate(qr/says something unknown/) for $one, $two, $three, $four, $five;

# Redis away: a purge is not said to be done

$redis->stop();
ok(wait_for { $one->request('PURGE', '/odd/1')->status == 503 },
   'no Redis, no purge');
is($one->get('/odd/1')->status, 200, 'requests are answered');
$redis->start();
ok(wait_for { $one->request('PURGE', '/odd/1')->status == 204 },
   'Redis is back');

$t->done();


sub record {
    my (@pairs) = @_;

    return $redis->cmd('XADD', 'api:!purges', '*', @pairs);
}


# The instance has read the log to its end.

sub known {
    my ($nginx) = @_;

    my $uri = '/known/' . ++$n;
    my $body = fill($nginx, $uri);
    record(key => $uri);
    ok(wait_for { $nginx->get($uri)->body ne $body }, 'it is known');
    return;
}


sub fill {
    my ($nginx, $uri) = @_;
    my $r;

    ok(wait_for { $r = $nginx->get($uri); $r->verdict eq 'HIT -' },
       "$uri is cached");
    return $r->body;
}


# Connections that wait for a record.

sub followers {
    return map { /\bid=(\d+)/ } grep { /\bcmd=xread\b/ }
           split /\n/, $redis->cmd('CLIENT', 'LIST');
}


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=60',
                        'Cache-Tag' => 'tag-' . $req->uri ],
                 'answer ' . $req->n);
}
