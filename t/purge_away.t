#!/usr/bin/perl

# An instance that hears nothing of the log for a while, because it is cut off
# or stands still, reads later what it has missed.  If the log has been trimmed
# meanwhile some of that is gone, and it cannot know what: all that is older
# counts as purged.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(sub {
    my ($req, $reply) = @_;

    $reply->send(200, [ 'Cache-Control' => 'max-age=600',
                        'Cache-Tag' => 'tag-' . $req->uri ],
                 'answer ' . $req->n);
});

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%% purge=on
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache       api;
        redis_proxy_cache_key   $request_uri;
        redis_proxy_cache_tags  $upstream_http_cache_tag;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }
    }
CONF

my $nginx = $t->nginx($conf, settle => 0);
my $n = 0;

# at once, when it asks in front of a lookup because it has heard nothing for a
# second; and a moment later, when it follows again

for my $blind (1, 0) {
    my $name = $blind ? 'it is blind' : 'it follows again';
    my ($old, $kept);

    # nothing is missing: what was trimmed was known

    ($old) = away($blind, "/known/$blind", sub {
        record(tag => 'whatever');
    });
    is($nginx->get("/known/$blind")->body, $old, "$name: what is known stays");

    ($old, $kept) = away($blind, "/read/$blind", sub {
        record(tag => "tag-/read/$blind");
        record(tag => 'whatever');
    });
    isnt($kept, $old, "$name: what is in the log is read");
    ok((wait_for { $nginx->get("/known/$blind")->verdict eq 'HIT -' }),
       'and no more counts as purged');

    # the record is gone

    ($old, $kept) = away($blind, "/gone/$blind", sub {
        record(tag => "tag-/gone/$blind");
        record(tag => 'whatever');
        $redis->cmd(qw(XTRIM api:!purges MAXLEN 1));
    });
    isnt($kept, $old, "$name: what may be missing counts as purged");

    # and the one behind it as well

    ($old, $kept) = away($blind, "/empty/$blind", sub {
        record(tag => "tag-/empty/$blind");
        $redis->cmd(qw(XTRIM api:!purges MAXLEN 0));
    });
    isnt($kept, $old, "$name: so it does if nothing is left");
}

# it is trimmed in the step that adds to it, while somebody waits for that

$nginx->get('/step');
my $old = $nginx->get('/step');
is($old->verdict, 'HIT -', '/step is stored');
$redis->cmd('EVAL', 'for _,tag in ipairs(ARGV) do '
            . q{redis.call("XADD",KEYS[1],"MAXLEN",1,"*","tag",tag) end},
            1, 'api:!purges', 'tag-/step', 'whatever');
known();
ok((wait_for { $nginx->get('/step')->body ne $old->body }),
   'who waits for a record may miss one');

# it is not trimmed any more, and nothing counts as purged

for my $uri (map { "/after/$_" } 1 .. 3) {
    $nginx->get($uri);
    known();
    is($nginx->get($uri)->verdict, 'HIT -', "$uri stays");
}

$nginx->tolerate(qr/was trimmed before all of it was read/);
$t->done();


# what is stored before the instance stands still, and what it gives then

sub away {
    my ($blind, $uri, $meanwhile) = @_;

    $nginx->get($uri);
    my $old = $nginx->get($uri);
    is($old->verdict, 'HIT -', "$uri is stored");

    my @workers = $nginx->workers();
    my $start = time();

    kill STOP => @workers;

    # what it has asked for is answered

    ok((wait_for {
        $redis->cmd('INFO', 'clients') =~ /^blocked_clients:0\r$/m
            && (!$blind || time() - $start > 1.5)
    }), 'it stands still');

    $meanwhile->();

    my $c = $nginx->begin('GET', $uri) if $blind;
    kill CONT => @workers;

    my $r = $blind ? $c->response('GET') : undef;

    known();
    $r ||= $nginx->get($uri);

    return ($old->body, $r->body);
}


sub record { return $redis->cmd(qw(XADD api:!purges *), @_) }


# it has read the log to its end

sub known {
    my $uri = '/known/at/' . ++$n;
    my $body = $nginx->get($uri)->body;

    record(key => $uri);
    ok((wait_for { $nginx->get($uri)->body ne $body }), 'and goes on');

    return;
}
