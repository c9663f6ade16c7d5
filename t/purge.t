#!/usr/bin/perl

# Whoever changes something purges what was made of it, and from then on no
# instance may serve the old state: not from Redis, and not from a fetch that
# began before the purge and ends after it, which is where others bring back
# what was purged.  By key, tag, prefix, and all of a zone; by PURGE, and by a
# record that another program appends to the log.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Lock qw(patient);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->throng(\&origin);

my $conf = patient() . <<'CONF';

    map $request_method $purge {
        PURGE    1;
        default  0;
    }

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache       api;
        redis_proxy_cache_key   $request_uri;
        redis_proxy_cache_tags  $upstream_http_cache_tag
                                $upstream_http_surrogate_key;
        redis_proxy_cache_use_stale  updating;

        location / {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_purge  $purge soft=$http_x_soft;
        }

        location /held/ {
            proxy_pass               http://%%ORIGIN%%;
            proxy_buffering          off;
            redis_proxy_cache_purge  $purge;

            redis_proxy_cache_segment_size  4k;
        }

        location /closed/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_purge  off;
        }

        location /guarded/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_purge  $purge;

            limit_except GET {
                deny  all;
            }
        }

        location /default/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_key    $scheme://$host$request_uri;
            redis_proxy_cache_purge  $purge;
        }
    }
CONF

my @nginx = map { $t->nginx($conf, workers => 2, settle => 0) } 1 .. 2;
my ($one, $two) = @nginx;

my ($r, $old);

# each way, on both instances

my %way = (
    'a key, by PURGE'        => sub { purge($_[0], $_[1]) },
    'a key, from outside'    => sub { record('key', $_[1]) },
    'a prefix, by PURGE'     => sub { purge($_[0],
                                           $_[1] =~ s/\d+$/*/r) },
    'a prefix, from outside' => sub { record('prefix', $_[1] =~ s/\d+$//r) },
    'a regex'                => sub { record('regex',
                                           '^' . quotemeta($_[1]) . '$') },
    'a tag'                  => sub { record('tag', "tag-$_[1]") },
    'a tag among others'     => sub { record(tag => 'none', tag => 'common',
                                            tag => 'other') },
    'all'                    => sub { record('all', '1') },
    'the root, by PURGE'          => sub { purge($_[0], '/*') },
    'the key in Redis'       => sub { $redis->cmd('DEL', "api:{$_[1]}") },
);

my $n = 0;

for my $name (sort keys %way) {
    my $uri = "/page/" . ++$n . '/1';

    $old = fill($uri);
    $way{$name}->($one, $uri);
    gone($uri, $old, $name);
}

# and with variants

for my $name (sort keys %way) {
    my $uri = "/vary/" . ++$n . '/1';

    $one->get($uri, 'X-A' => $_) for 'a', 'b';
    $old = $two->get($uri, 'X-A' => 'b');
    is($old->verdict, 'HIT -', 'a variant');
    $way{$name}->($two, $uri);
    ok(wait_for { $one->get($uri, 'X-A' => 'b')->body ne $old->body },
       "$name: variants");
    ok(wait_for { $one->get($uri, 'X-A' => 'a')->body ne $old->body },
       'all of them');
}

# what is not meant stays

for (
    [ 'key',    '/other/1',  '/other/12' ],
    [ 'prefix', '/other/12', '/other/1' ],
    [ 'prefix', 'other',     '/other/1' ],
    [ 'tag',    'tag',       '/other/1' ],
    [ 'tag',    'COMMON',    '/other/1' ],
    [ 'tag',    '',          '/other/1' ],
    [ 'key',    '',          '/other/1' ],
) {
    my ($kind, $value, $uri) = @$_;

    $old = fill($uri);
    record($kind, $value);
    synced();
    is($_->get($uri)->body, $old, "$kind \"$value\": $uri stays") for @nginx;
}

# in flight: the fetch has begun, and the purge comes before its end, when
# nothing of the response is there yet, or between the segments of its body

for my $name (sort grep { !/Redis/ } keys %way) {
    for my $step (qw(head body)) {
        my $uri = "/held/" . ++$n . '/1';
        my $c = $one->begin('GET', $uri);
        ok(wait_for { $origin->count($uri) == 1 }, 'a fetch is on its way');

        if ($step eq 'body') {
            $origin->say("$uri-1-head");
            1 while $c->{in} !~ /begin/ && $c->fill();
            like($c->{in}, qr/begin/, 'its body begins');
            ok(wait_for { () = $redis->keys("api:{$uri}:s:*") },
               'segments of it are in Redis');
        }

        $way{$name}->($two, $uri);
        $origin->say("$uri-1-head");
        $origin->say("$uri-1-body");
        $origin->say("$uri-$_-head", "$uri-$_-body") for 2 .. 30;
        $r = $c->response('GET');
        like($r->body, qr/answer 1 /, "$name, $step: its client has it");

        for my $nginx (@nginx) {
            ok($nginx->get($uri)->body ne $r->body,
                 'nobody else gets it any more');
        }
        ok(wait_for { $_->get($uri)->verdict eq 'HIT -' },
           'then it is cached again') for @nginx;
    }
}

# softly: it is stale from then on

for my $name ('a tag', 'a key') {
    my $uri = "/soft/" . ++$n . '/1';

    $old = fill($uri);

    if ($name eq 'a tag') {
        record('soft', 1, 'tag', "tag-$uri");

    } else {
        $r = $one->request('PURGE', $uri, headers => [ 'X-Soft' => 1 ]);
        is($r->status, 204, 'PURGE, softly');
    }

    synced();
    $r = $two->get($uri);
    like($r->verdict, qr/^(?:STALE|UPDATING) /, "$name, softly: stale");
    is($r->body, $old, 'the old one');
    ok(wait_for { $two->get($uri)->verdict eq 'HIT -' }, 'it is refreshed');
    isnt($two->get($uri)->body, $old, 'and is new');
}

# closed by default, and behind the access checks

$old = fill('/closed/1');
$r = $one->request('PURGE', '/closed/1');
unlike($r->status, qr/204/, 'off: PURGE goes to the origin');

$old = fill('/guarded/1');
is($one->request('PURGE', '/guarded/1')->status, 403, 'denied');
synced();
is($two->get('/guarded/1')->body, $old, 'so it stays');

# what is in Redis

is($redis->cmd('TYPE', 'api:!purges'), 'stream', 'the log is a stream');
cmp_ok($redis->cmd('PTTL', 'api:!purges'), '>', 0, 'with a TTL');

my $entry = RCache::Entry->read($redis, 'api:{/closed/1}');
ok($entry, 'an entry');
ok($entry->{flags} & 0x100, 'has tags');
ok($entry->{flags} & 0x200, 'has a position');

$t->done();


sub purge {
    my ($nginx, $uri) = @_;

    is($nginx->request('PURGE', $uri)->status, 204, "PURGE $uri");
    return;
}


sub record {
    my (@pairs) = @_;

    return $redis->cmd('XADD', 'api:!purges', 'MAXLEN', '~', '1000', '*',
                       @pairs);
}


# Both instances know of all that is in the log: what is stored from now on
# lasts, and so a page that is purged last is gone.

sub synced {
    my $uri = '/synced/' . ++$n;
    my $old = fill($uri);

    record('key', $uri);

    for my $nginx (@nginx) {
        ok(wait_for { $nginx->get($uri)->body ne $old }, 'it is known')
            or return;
    }

    return;
}


sub fill {
    my ($uri) = @_;
    my $body;

    for my $nginx (@nginx) {
        ok(wait_for {
            my $r = $nginx->get($uri);
            $body = $r->body;
            $r->verdict eq 'HIT -';
        }, "$uri is cached");
    }

    return $body;
}


# The old one goes at once where the purge was made, elsewhere with the record.

sub gone {
    my ($uri, $old, $name) = @_;

    for my $nginx (@nginx) {
        ok(wait_for { $nginx->get($uri)->body ne $old },
           "$name: what was stored is gone");
    }

    for my $nginx (@nginx) {
        my $r;
        ok(wait_for { $r = $nginx->get($uri); $r->verdict eq 'HIT -' },
           'what came then is stored');
        isnt($r->body, $old, 'it is new');
    }

    return;
}


my %count;

sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my $i = ++$count{$uri};
    my @headers = (
        'Cache-Control' => 'max-age=60, stale-while-revalidate=60',
        'Cache-Tag' => "first,tag-$uri", 'Surrogate-Key' => 'common last',
        $uri =~ m{^/vary/} ? (Vary => 'X-A') : (),
    );
    my $body = "begin answer $i of $uri for " . ($req->header('X-A') // '')
               . "\n";

    return response(405, [ ], 'no') if $req->method ne 'GET';

    if ($uri =~ m{^/held/}) {
        my $whole = response(200, \@headers, $body . 'x' x 40000);
        my $at = length($whole) - 20000;

        return (\"$uri-$i-head", substr($whole, 0, $at),
                \"$uri-$i-body", substr($whole, $at));
    }

    return response(200, \@headers, $body);
}
