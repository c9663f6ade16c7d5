#!/usr/bin/perl

# redis_proxy_cache_fallback_limit: when Redis is away, all that it used to
# answer falls on the upstream.  With a limit it gets so much at a time and no
# more, the rest waits in line for a bounded time or is told to come back; a
# worker that is killed must not take its places to the grave.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $origin = $t->throng(\&origin);
my $redis_port = free_port();

my $conf = <<'CONF';
    redis_proxy_cache_zone            api:1m
                                      server=redis://127.0.0.1:%%REDIS_PORT%%
                                      connect_timeout=30s timeout=30s;
    redis_proxy_cache_budget          30s;
    redis_proxy_cache_key             $request_uri;
    redis_proxy_cache_fallback_limit  3 queue=2 timeout=%%TIMEOUT%%;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache  api;
        add_header         X-Found $redis_proxy_cache_reason always;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /free/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_fallback_limit  off;
        }

        location /bypass/ {
            proxy_pass                http://%%ORIGIN%%;
            redis_proxy_cache_bypass  1;
        }

        location /other/ {
            proxy_pass                        http://%%ORIGIN%%;
            redis_proxy_cache_fallback_limit  3 queue=0 status=429;
        }
    }
CONF

$t->set(REDIS_PORT => $redis_port, TIMEOUT => '300s');

my $nginx = $t->nginx($conf, settle => 0);

# three at a time, two in line, no more

my %c = map { $_ => ask($nginx, "/wait/$_") } 1 .. 3;
ok(wait_for { asked() == 3 }, 'three ask the upstream');

$c{$_} = ask($nginx, "/wait/$_") for 4, 5;
$c{same} = ask($nginx, '/wait/1');
ok($nginx->wait_line('fallback_limit of 3 fetches is reached'),
   'the log tells that it is too much');

my $r = wait_refused('/wait/6');
is($r->status, 503, 'who finds the line full is refused');
is($r->header('Retry-After'), 1, 'and told when to come back');
is($r->header('X-Found'), 'fallback_limit', 'the reason says why');

$r = $nginx->get('/other/1');
is($r->status, 429, 'with the status that the location says');
is($nginx->get('/free/1')->status, 200, 'a location without a limit');
is($nginx->get('/bypass/1')->status, 200, 'who bypasses needs no place');
is(asked(), 3, 'still three ask the upstream');

$origin->say('go-wait/1');
is($c{1}->response()->body, '/wait/1', 'one has its answer');
is($c{same}->response()->body, '/wait/1',
   'and so has who waited for the same, without a place');
ok(wait_for { asked() == 4 }, 'the first in line asks now');
is_deeply([ grep { /4/ } uris() ], [ '/wait/4' ], 'it is the first');

# who goes away leaves the line

(delete $c{5})->close();
$origin->say(map { "go-wait/$_" } 2 .. 4);
is($c{$_}->response()->body, "/wait/$_", "$_ has its answer") for 2 .. 4;
ok(wait_for { $nginx->get('/now/1')->status == 200 }, 'there is room again');
is(scalar(grep { m{/wait/5} } uris()), 0, 'who went away has not asked');

# no longer than the time says

$nginx->stop();
$t->set(TIMEOUT => '300ms');
$nginx = $t->nginx($conf, settle => 0);

%c = map { $_ => ask($nginx, "/late/$_") } 1 .. 3;
ok(wait_for { (() = grep { m{/late/} } uris()) == 3 }, 'three again');
$r = $nginx->get('/late/4');
is($r->status . ' ' . $r->header('X-Found'), '503 fallback_limit',
   'who waits too long is refused');
$origin->say(map { "go-late/$_" } 1 .. 3);
is($c{$_}->response()->status, 200, "$_ has its answer") for 1 .. 3;
$nginx->stop();

# places of a worker that is killed, while those of another count

$t->set(TIMEOUT => '300s');
$nginx = $t->nginx($conf, settle => 0, workers => 2);
$nginx->tolerate('exited on signal 9');

%c = map { $_ => ask($nginx, "/dead/$_") } 1 .. 3;
ok(wait_for { (() = grep { m{/dead/} } uris()) == 3 }, 'three of two workers');
is(refused($nginx)->status, 503, 'a fourth is one too many, at either worker');

kill 'KILL', $nginx->workers();
ok(wait_for { my @now = $nginx->workers(); @now == 2 }, 'new workers');
ok(wait_for { $nginx->get('/after')->status == 200 },
   'the places of those that were killed are free');

# with Redis there is no limit

my $redis = $t->redis(port => $redis_port);
ok(wait_for { $nginx->get('/well')->verdict eq 'HIT -' }, 'Redis is there');
%c = map { $_ => ask($nginx, "/many/$_") } 1 .. 9;
ok(wait_for { (() = grep { m{/many/} } uris()) == 9 },
   'with Redis all may ask at once');
$origin->say(map { "go-many/$_" } 1 .. 9);
is($c{$_}->response()->status, 200, "$_ has its answer") for 1 .. 9;

# what the configuration says wrongly

for (
    [ '0', 'a number' ], [ 'x', 'a number' ], [ '3 queue=x', 'a number' ],
    [ '3 timeout=0', 'a time' ], [ '3 status=200', 'from 400' ],
    [ '3 nonsense=1', 'queue=' ], [ '3; redis_proxy_cache_fallback_limit 4',
                                    'duplicate' ],
) {
    my ($value, $said) = @$_;

    my $bad = $t->nginx_new("    redis_proxy_cache_fallback_limit $value;\n");
    my ($status, $out) = $bad->check();
    ok($status != 0, "$value is refused");
    like($out, qr/\[emerg\].*\Q$said\E/, 'and the error says what is right');
    @{ $t->{nginxes} } = grep { $_ != $bad } @{ $t->{nginxes} };
}

$t->done();


sub ask {
    my ($nginx, $uri) = @_;

    my $c = $nginx->connect();
    $c->send("GET $uri HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             . "\r\n");
    return $c;
}


sub uris  { return map { $_->uri } $origin->requests() }
sub asked { return scalar(grep { m{^/wait/} } uris()) }


# The two in line may not have got there yet: until one is refused, those that
# wait instead are given up.

sub wait_refused {
    my ($uri) = @_;

    my ($r, $n);

    wait_for {
        my $c = ask($nginx, $uri . '-' . ++$n);
        my $sel = IO::Select->new($c->{sock});
        $r = $sel->can_read(0.5) ? $c->response() : undef;
        $c->close();
        return $r;
    };

    return $r;
}


sub refused {
    my ($nginx) = @_;

    my @held = map { ask($nginx, "/dead/held-$_") } 1 .. 4;
    my $r = wait_refused('/dead/more');
    $_->close() for @held;
    return $r;
}


sub origin {
    my ($req) = @_;

    my $uri = $req->uri;
    my ($word) = $uri =~ m{^/((?:wait|late|dead|many)/\d)$};

    return (defined $word ? \"go-$word" : (),
            response(200, [ 'Cache-Control' => 'max-age=60' ], $uri));
}
