#!/usr/bin/perl

# What an unsafe request takes out of the cache may be on several masters of a
# cluster: its own URI, those that it names, and the log of purges.  The client
# gets the end of its response when all of them have answered.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;

my $t = RCache->new();
my $cluster = $t->cluster(masters => 3);
my $origin = $t->origin(\&origin);

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m %%CLUSTER%% cluster=on
                              connect_timeout=5s timeout=5s slow=off;
    redis_proxy_cache_budget  10s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache                  api;
        redis_proxy_cache_tags             $upstream_http_cache_tag;
        redis_proxy_cache_invalidate_tags  $upstream_http_x_invalidate;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);

my @node = $cluster->masters();
my $log = $cluster->of('api:!purges');
my ($other) = grep { $_ != $log } @node;

for my $how ('', 'no content') {

    # the master of its own URI is slow, that of the URI in Location is not

    my $own = uri_on($log);
    my $there = uri_on($other);
    my $old = stored($own);

    slow($log);
    unsafe($own, $how, 'X-Say' => "Location: $there");
    isnt($two->get($own)->body, $old, "$how: the URI is gone");

    # the other way round

    $old = stored($there);
    slow($other);
    unsafe($own, $how, 'X-Say' => "Location: $there");
    isnt($two->get($there)->body, $old, "$how: so is the one in Location");

    # that of the log

    my $tagged = uri_on($other);
    $own = uri_on($other);
    $old = stored($tagged);
    my $purges = $log->cmd(qw(XLEN api:!purges));
    slow($log);
    unsafe($own, $how, 'X-Say' => "X-Invalidate: tag-$tagged");
    is($log->cmd(qw(XLEN api:!purges)), $purges + 1,
       "$how: the purge is in the log");
    isnt($one->get($tagged)->body, $old, "$how: and known to this instance");
}

# the master of its own URI is gone: that is no reason to leave the other

{
    my ($own, $there) = (uri_on($log), uri_on($other));
    my $old = stored($there);

    $_->cmd(qw(CONFIG SET cluster-require-full-coverage no)) for @node;
    $log->stop();
    ok(wait_for { $one->get($own)->verdict =~ /redis_down/ },
       'one master is gone');

    unsafe($own, '', 'X-Say' => "Location: $there");
    isnt($two->get($there)->body, $old, 'the URI in Location is gone');
}

$t->done();


my %seen;

sub uri_on {
    my ($node) = @_;

    for my $n (1 .. 1000) {
        my $uri = "/$n";
        next if $seen{$uri} || $cluster->of("api:{http://localhost$uri}")
                                       != $node;
        $seen{$uri} = 1;
        return $uri;
    }

    die "no such key\n";
}


sub stored {
    my ($uri) = @_;

    $one->get($uri);
    my $r = $two->get($uri);
    is($r->verdict, 'HIT -', "$uri is stored");

    return $r->body;
}


# it reads, and does not write for half a second

sub slow {
    my ($node) = @_;

    $node->cmd(qw(CLIENT PAUSE 500 WRITE));
    return;
}


sub unsafe {
    my ($uri, $how, @headers) = @_;

    my $r = $one->request('POST', $uri, body => '',
                          headers => [ @headers, 'X-How' => $how ]);
    is($r->status, $how ? 204 : 200, "$how: POST $uri");
    ok($r->complete, 'ends well');
    return;
}


sub origin {
    my ($req, $reply) = @_;

    if ($req->method eq 'GET') {
        return $reply->send(200, [ 'Cache-Control' => 'max-age=600',
                                   'Cache-Tag' => 'tag-' . $req->uri ],
                            'answer ' . $req->n);
    }

    my @say = $req->header('X-Say') =~ /^([^:]+): (.*)/;

    return $reply->head(204, @say) if $req->header('X-How');
    $reply->send(200, \@say, 'done');
}
