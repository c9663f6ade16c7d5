#!/usr/bin/perl

# Many large bodies at once, more than Redis takes as fast as they come.  What
# was sent to it in one turn of the event loop was the same for many as for a
# few, while each of them added as much as that; and all waited and gave up as
# one.  So none of them was stored, however often they were asked for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw(md5_hex);
use Test::More;
use RCache;
use RCache::Crowd;
use RCache::Util qw(spit);

my $clients = 40;
my $size = 6_000_000;
my $body = join '', map { sprintf '%07d ', $_ } 1 .. $size / 8;

my $t = RCache->new();
my $redis = $t->redis();

# the upstream is the same worker, which has the more to do in each turn

my $nginx = $t->nginx(<<'CONF');
    redis_proxy_cache_zone  api:1m server=%%REDIS%%
                            connect_timeout=5s timeout=5s;

    server {
        listen  127.0.0.1:%%PORT%%;
        listen  127.0.0.1:%%PORT_UPSTREAM%%;

        location / {
            proxy_pass               http://127.0.0.1:%%PORT_UPSTREAM%%/file/;
            redis_proxy_cache        api;
            redis_proxy_cache_key    $http_x_number;
            redis_proxy_cache_valid  1h;
        }

        location /file/ {
            alias  %%DIR%%/;
        }
    }
CONF

spit($nginx->{dir} . '/body', $body);

# on a busy machine Redis may be so slow that none is stored: ten times at most

my @stored;

for my $round (1 .. 10) {
    my $crowd = RCache::Crowd->new(
        dir => "$nginx->{dir}/crowd-$round", ports => [ $nginx->port() ],
        clients => $clients, uri => '/body',
        headers => sub { [ 'X-Number', "$round-$_[0]" ] }
    );

    my @answers = $crowd->go()->answers();

    is_deeply(RCache::Crowd::tally('md5', @answers),
              { md5_hex($body) => $clients },
              'each client gets all of it, as it is');

    $nginx->settle();

    @stored = grep { $redis->cmd('EXISTS', "api:{$_}") }
              map { "$round-$_" } 0 .. $clients - 1;

    last if @stored;
}

cmp_ok(scalar(@stored), '>', 0, 'some are stored');

# each of these is a hit, and nothing of the others stays

for my $number (@stored) {
    my $r = $nginx->get('/body', 'X-Number', $number);
    is($r->verdict, 'HIT -', "$number is there");
    is(md5_hex($r->body), md5_hex($body), 'all of it');
}

my %whole = map { $_ => 1 } @stored;
ok((wait_for {
    !grep { /^api:\{(\d+-\d+)\}/ && !$whole{$1} } $redis->keys()
}), 'nothing stays of those that are not');

$t->done();
