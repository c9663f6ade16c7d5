#!/usr/bin/perl

# A trace shows that a request took long, or failed; the log says why.  They
# find each other by the id that a tracing module has in a variable: in the
# access log by its format, in lines of the error log without being asked for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Util qw(slurp free_port);

my $id = '4bf92f3577b34da6a3ce929d0e0e4736';
my $parent = "00-$id-00f067aa0ba902b7-01";

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

# what ngx_otel_module makes of the header

my $map = <<'CONF';
    map $http_traceparent $otel_trace_id {
        ~^00-(.+)-.+-.+$  $1;
    }
CONF

my $conf = <<'CONF';
    redis_proxy_cache_zone    api:1m server=%%REDIS%%;
    redis_proxy_cache_budget  20s;

    server {
        listen      127.0.0.1:%%PORT%%;

        redis_proxy_cache  api;

        location / {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_audit  100%;
        }

        location /dead {
            proxy_pass  http://127.0.0.1:%%DEAD%%;
        }

        location /plain {
            proxy_pass         http://127.0.0.1:%%DEAD%%;
            redis_proxy_cache  off;
        }
    }
CONF

my $format = <<'CONF';
    log_format  trace  '$uri trace=$otel_trace_id'
                       ' cache=$redis_proxy_cache_status';
    access_log  %%DIR%%/trace.log trace;
CONF

$t->set(DEAD => free_port());

my $nginx = $t->nginx("$map$format$conf");
my $without = $t->nginx($conf);

$_->tolerate(qr/connect\(\) failed/) for $nginx, $without;

my @trace = (traceparent => $parent);

# our lines

$nginx->get('/a', @trace);
$redis->wait_key('api:{http://localhost/a}');
$nginx->get('/a', @trace);

like(line($nginx, qr/redis_proxy_cache_audit/), qr/, trace: "$id"$/,
     'a line of ours has the id');

# nginx's own

is($nginx->get('/dead', @trace)->status, 502, 'an upstream is not there');
like(line($nginx, qr/connect\(\) failed.*"GET \/dead/),
     qr/, trace: "$id"$/, 'a line about the upstream has it, too');
like(line($nginx, qr/connect\(\) failed.*"GET \/dead/),
     qr/, client: 127\.0\.0\.1, server: .*, request: "GET \/dead/,
     'behind what it has always had');

# no id, or none that one would want in a log

$nginx->get('/dead?2');
unlike(line($nginx, qr/connect\(\) failed.*"GET \/dead\?2/), qr/trace/,
       'without one there is none');
$nginx->get('/dead?3', traceparent => '00-a"b, x: "y-1-1');
unlike(line($nginx, qr/connect\(\) failed.*"GET \/dead\?3/), qr/trace/,
       'nor is what is no id');
$nginx->get('/dead?4', traceparent => '00-' . 'a' x 65 . '-1-1');
unlike(line($nginx, qr/connect\(\) failed.*"GET \/dead\?4/), qr/trace/,
       'or too long');
$nginx->get('/plain?5', @trace);
unlike(line($nginx, qr/connect\(\) failed.*"GET \/plain\?5/), qr/trace/,
       'where there is no cache, lines are as they were');

# the access log

ok(wait_for { slurp("$nginx->{dir}/trace.log")
              =~ m{^/a trace=$id cache=HIT$}m },
   'the access log has the id beside what the cache did');

# without such a module

$without->get('/dead?6', @trace);
unlike(line($without, qr/connect\(\) failed.*"GET \/dead\?6/), qr/trace/,
       'without a module that traces there is nothing');

$t->done();


sub line {
    my ($nginx, $re) = @_;

    $nginx->wait_line($re);

    return ($nginx->lines($re))[0];
}


sub origin {
    my ($req, $reply) = @_;

    return $reply->send(200, [ 'Cache-Control' => 'max-age=600' ],
                        'body ' . $req->n);
}
