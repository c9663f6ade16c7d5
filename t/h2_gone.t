#!/usr/bin/perl

# A client of HTTP/2 takes no more, and then gives up its stream, or the
# connection.  nginx tells of that in another way than with HTTP/1: nobody is
# told that something can be written.  If its request was the one that fetches
# for others, they must not wait until it would be too late for the client.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use RCache;
use RCache::Lock qw(patient);

my $body = 'abcdefghijklmno' x 20_000;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

my $nginx = $t->nginx(patient() . <<'CONF');
    server {
        listen        127.0.0.1:%%PORT%%;
        listen        127.0.0.1:%%PORT_H2%% http2;
        send_timeout  300s;

        redis_proxy_cache      api;
        redis_proxy_cache_key  $uri;

        location /unbuffered/ {
            proxy_pass       http://%%ORIGIN%%;
            proxy_buffering  off;
        }

        location /unspooled/ {
            proxy_pass                http://%%ORIGIN%%;
            proxy_max_temp_file_size  0;
        }

        location /spooled/ {
            proxy_pass                      http://%%ORIGIN%%;
            redis_proxy_cache_segment_size  16k;
            redis_proxy_cache_in_flight     128k;
        }
    }
CONF

# the upstream is not read from as long as the client takes nothing

for my $way ('reset', 'close') {
    for my $location ('/unbuffered/', '/unspooled/') {
        my $uri = "$location$way";
        my $c = begin($uri);

        $origin->say(word($uri));
        ok((wait_for { $c->('read') >= 1000 }), 'the client takes a part');
        $c->($way);
        after($uri);
    }
}

# all of it is in a file, and waits for a Redis that does not take it

for my $way ('reset', 'close') {
    my $uri = "/spooled/$way";
    my $c = begin($uri);

    $redis->cmd('CLIENT', 'PAUSE', 60000, 'WRITE');
    $origin->say(word($uri));
    ok((wait_for { $c->('read') >= 1000 }), 'the client takes a part');
    ok((wait_for { -e $t->dir . '/sent' . word($uri) }),
       'the upstream has sent all of it');
    ok(RCache::Nginx::turn_over(), 'and Redis is waited for');
    $nginx->mark();
    $c->($way);
    ok($nginx->wait_line('client (?:canceled|prematurely)'), 'it is gone');
    $redis->cmd('CLIENT', 'UNPAUSE');
    after($uri);
}

$t->done();


# a client of a fetch that has its lock

sub begin {
    my ($uri) = @_;

    my $c = h2($uri);
    ok((wait_for { $origin->count($uri) == 1 }), "$uri: it leads");
    return $c;
}


# it is gone, and there is a response all the same

sub after {
    my ($uri) = @_;

    my $r = $nginx->get($uri);
    is($r->body, $body, 'who comes then has all of it');
    is($r->verdict, 'HIT -', 'of the same fetch');
    is($origin->count($uri), 1, 'of which there is one');
    return;
}


# a stream with a window of 1000 bytes, and what is done with it

sub h2 {
    my ($uri) = @_;

    my $s = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $nginx->port('H2')
    ) or die "cannot connect: $!\n";

    my $head = join '', map {
        my ($name, $value) = @$_;
        "\0" . chr(length $name) . $name . chr(length $value) . $value;
    } [ ':method', 'GET' ], [ ':scheme', 'http' ], [ ':path', $uri ],
      [ ':authority', 'localhost' ];

    syswrite $s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                 . frame(4, 0, 0, pack 'nN', 4, 1000)
                 . frame(1, 5, 1, $head);

    my $got = 0;

    return sub {
        my ($what) = @_;

        if ($what eq 'read') {
            $got += sysread $s, my $buf, 65536;

        } elsif ($what eq 'reset') {
            syswrite $s, frame(3, 0, 1, pack 'N', 8);

        } else {
            close $s;
        }

        return $got;
    };
}


sub word { return $_[0] =~ tr{/}{-}r }


sub frame {
    my ($type, $flags, $stream, $payload) = @_;

    return substr(pack('N', length $payload), 1)
           . pack('CCN', $type, $flags, $stream) . $payload;
}


sub origin {
    my ($req, $reply) = @_;

    my $word = word($req->uri);

    $reply->wait_word($word);
    $reply->send(200, [ 'Cache-Control' => 'max-age=60' ], $body);
    spit($t->dir . "/sent$word", '');
    return;
}
