#!/usr/bin/perl

# A reload may move a zone to another prefix or another Redis, as a deployment
# of a new version does.  What was purged there is in another log, and nothing
# that was known of the one before says anything about it: neither may what is
# purged in the new place be served, nor what is not be taken for purged, by all
# who share it.

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
    redis_proxy_cache_zone  api:1m server=%%REDIS%% prefix=%%PREFIX%% purge=on;

    map $request_method $purge {
        PURGE    1;
        default  0;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache        api;
        redis_proxy_cache_key    $uri;
        redis_proxy_cache_tags   $upstream_http_cache_tag;
        redis_proxy_cache_purge  $purge;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my @nginx = map {
    $t->set(PREFIX => $_);
    $t->nginx($conf, workers => 2);
} 'new:', 'old:';

my ($new, $old) = @nginx;

is($new->get('/kept')->verdict, 'MISS -', 'what is kept');
ok($redis->wait_key('new:{/kept}'), 'and stored');

# what the one that moves has heard of last, in its own log, is later than all
# that the other log has; or there is something later again in that

for my $later (0, 1) {
    my $uri = "/purged-$later";

    is($new->get($uri)->verdict, 'MISS -', "$uri is in the new place");
    ok($redis->wait_key("new:{$uri}"), 'and stored');

    purge('new:', substr $uri, 1);
    is($old->request('PURGE', '/elsewhere')->status, 204,
       'a purge in the old one, by who is there');
    purge('new:', 'elsewhere') if $later;

    move('new:');
    $old->mark();

    is($old->get($uri)->verdict, 'MISS -', 'what was purged is not served');
    is($old->get('/kept')->verdict, 'HIT -', 'what was not is');
    is($new->get('/kept')->verdict, 'HIT -', 'by everybody');
    is($old->request('PURGE', "/mine-$later")->status, 204, 'it purges');
    is($old->get('/kept')->verdict, 'HIT -', 'and serves, still');
    is_deeply([ $old->lines(qr/lost purges/) ], [],
              'nobody takes the log for one that was lost');

    move('old:');
    is($old->request('PURGE', '/elsewhere')->status, 204, 'and back');
}

# another Redis, where the zone has the same prefix

my $second = $t->redis(name => 'SECOND');

$new->{vars}{REDIS} = $old->{vars}{REDIS} = $second->url();
ok($new->reload(old => 1), 'to another Redis');
is($new->get($_)->verdict, 'MISS -', "$_ is there") for '/there', '/gone';
ok($second->wait_key("new:{$_}"), 'and stored') for '/there', '/gone';
$second->cmd('XADD', 'new:!purges', '*', 'tag', 'gone');
$second->cmd('XADD', 'new:!purges', '*', 'tag', 'elsewhere');

move('new:');

is($old->get('/gone')->verdict, 'MISS -', 'what was purged is not served');
is($old->get('/there')->verdict, 'HIT -', 'what was not is');

$t->done();


sub move {
    my ($prefix) = @_;

    $old->{vars}{PREFIX} = $prefix;
    ok($old->reload(old => 1), "a reload, to $prefix");
    return;
}


sub purge {
    my ($prefix, $tag) = @_;

    return $redis->cmd('XADD', "${prefix}!purges", '*', 'tag', $tag);
}


sub origin {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=600',
                        'Cache-Tag' => substr $req->path, 1 ],
                 'answer ' . $req->uri . "\n");
}
