package RCache::Near;

# What tests of the near cache share.

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use RCache::Status;
use RCache::Util qw(wait_for);

our @EXPORT = qw(near_server near soon zone clients);


# The end of a configuration whose zone is "api": X-Source tells who answers.
# The argument is what else there is in the server.

sub near_server {
    my ($more) = @_;

    return <<'CONF' . ($more // '') . "    }\n";
    redis_proxy_cache_near  1h;
    redis_proxy_cache_key   $uri;
    redis_proxy_cache       api;

    server {
        listen  127.0.0.1:%%PORT%%;

        add_header  X-Source  $redis_proxy_cache_source;

        location / {
            proxy_pass  http://%%ORIGIN%%;
        }

        location = /status {
            redis_proxy_cache         off;
            redis_proxy_cache_status;
        }

CONF
}


# asks until it is a copy that answers; its body

sub near {
    my ($nginx, $path, @headers) = @_;
    my $body;

    ok((wait_for {
        my $r = $nginx->get($path, @headers);
        $body = $r->body;
        return ($r->header('X-Source') // '') eq 'near';
    }), "$path is near");

    return $body;
}


# within a second, which is what is promised whatever happens

sub soon {
    my ($check) = @_;

    return wait_for { $check->() } 1;
}


# what an instance says of the zone

sub zone {
    my ($nginx) = @_;

    return RCache::Status->of($nginx)->{zones}[0];
}


# the numbers of the workers' connections of which Redis says that

sub clients {
    my ($redis, $what) = @_;

    return map { /^id=(\d+)/ } grep { /\b\Q$what\E/ && /name=nginx-/ }
           split /\n/, $redis->cmd('CLIENT', 'LIST');
}


1;
