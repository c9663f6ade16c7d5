# The contenders: one entry each.
#
#   name      for --contenders and the budgets
#   title     for the tables
#   load      modules that nginx loads: file names in its modules folder, or
#             @module@, ours; @peers@ is the folder of those that Debian does
#             not have
#   files     other files that must exist
#   backend   redis-unix, redis-tcp, memcached: a server of its own, on a unix
#             socket @sock@ or on 127.0.0.1:@port@; redis-tls: the same in TLS;
#             redis-cluster: @port@ is that of the first of several
#   servers   how many of them, the first "masters" of them masters, the
#             others their replicas
#   rest      seconds between what is stored and what is timed
#   http      nginx.conf, http level
#   server    nginx.conf, server level
#   location  nginx.conf, in "location /", which proxies to the origin;
#             of an entry with "answers" it has to answer by itself
#   status    value of the X-Cache header, which all contenders add
#   runs      scenario => the X-Cache value that is expected in it:
#               hot      one key, stored before
#               miss     each request a new key, stored
#               plain    each request a new key, nothing stored
#               nostore  the same, of a response with no-store
#               known    one key, of such a response
#   size      the only size of bodies that it can do
#   extra     runs only if it is named by --contenders
#   counts    what tells stored entries: redis (all keys), entries (of this
#             module alone), memcached or files
#   gone      the backend is stopped before the cells are timed
#
# One that is no nginx has, instead of load to location,
#
#   program   command line
#   conf      the file @dir@/conf
#   child     what the command line of the process matches that does the work,
#             if it is a child of the one that is started
#   flush     a command that empties its store
#
# @dir@ is a folder of the contender in /dev/shm, @bench@ this folder, @root@
# the one above, @lua@ that of Lua libraries; @listen@ is the port of the
# contender, @origin@ that of the origin.

use strict;
use warnings;


# srcache, with what fetches and stores in the locations /-/fetch and /-/store.

my $srcache = <<'EOC';
            srcache_store_statuses      200;
            srcache_default_expire      3600s;
            srcache_max_expire          1d;
            srcache_store_max_size      1m;
            srcache_store_hide_header   X-Cache;
EOC

sub srcache {
    my (%o) = @_;

    return {
        counts => 'redis',
        %o,
        load     => [ @{ $o{load} }, 'ngx_http_srcache_filter_module.so' ],
        location => $o{location} . $srcache,
        status   => '$srcache_fetch_status',
        runs     => { hot => 'HIT', miss => 'MISS' },
    };
}


sub srcache_lua {
    my ($server, %o) = @_;

    return srcache(
        %o,
        load     => ['ndk_http_module.so', 'ngx_http_lua_module.so'],
        files    => ['@lua@/nginx/redis.lua'],
        http     => <<"EOC",
    lua_package_path        "\@bench\@/?.lua;\@lua\@/?.lua;;";
    lua_socket_buffer_size  64k;
    lua_socket_pool_size    256;
    init_by_lua_block {
        require("srcache_redis").server($server)
    }
EOC
        server   => <<'EOC',
        location = /-/fetch {
            internal;
            content_by_lua_block { require("srcache_redis").fetch() }
        }

        location = /-/store {
            internal;
            client_body_buffer_size  1m;
            client_max_body_size     2m;
            content_by_lua_block { require("srcache_redis").store() }
        }
EOC
        location => <<'EOC',
            srcache_fetch  GET /-/fetch $scheme://$host$request_uri;
            srcache_store  PUT /-/store
                           $srcache_expire:$scheme://$host$request_uri;
EOC
    );
}


# http_redis fetches and redis2 stores, as srcache's documentation has it, but
# with one command, not two, and with nginx's own $request_body.

sub srcache_redis2 {
    my ($server, %o) = @_;

    return srcache(
        %o,
        load     => ['@peers@/ngx_http_redis_module.so',
                     '@peers@/ngx_http_redis2_module.so'],
        http     => upstream('redis', $server),
        server   => <<'EOC',
        location = /-/fetch {
            internal;
            redis_buffer_size  512k;
            set $redis_key     $query_string;
            redis_pass         redis;
        }

        location = /-/store {
            internal;
            client_max_body_size  2m;
            redis2_query          SET $query_string $request_body EX 3600;
            redis2_pass           redis;
        }
EOC
        location => <<'EOC',
            srcache_fetch  GET /-/fetch $scheme://$host$request_uri;
            srcache_store  PUT /-/store $scheme://$host$request_uri;
EOC
    );
}


sub upstream {
    my ($name, $server) = @_;

    return <<"EOC";
    upstream $name {
        server              $server;
        keepalive           256;
        keepalive_requests  1000000000;
    }
EOC
}


# This module; zone: parameters beside the server.

my %server = (
    'redis-unix'    => 'server=unix:@sock@',
    'redis-tcp'     => 'server=redis://127.0.0.1:@port@',
    'redis-tls'     => 'server=rediss://127.0.0.1:@port@'
                       . ' ssl_trusted_certificate=@dir@/0/cert.pem',
    'redis-cluster' => 'server=redis://127.0.0.1:@port@ cluster=on',
);

sub module {
    my (%o) = @_;

    my $zone = join ' ', $server{ $o{backend} }, delete $o{zone} // ();

    return {
        status => '$redis_proxy_cache_status',
        %o,
        load     => ['@module@'],
        http     => "    redis_proxy_cache_zone  bench:16m $zone;\n"
                    . ($o{http} // ''),
        location => "            redis_proxy_cache  bench;\n"
                    . ($o{location} // ''),
    };
}


return (
    {
        name     => 'return',
        title    => 'nginx `return`',
        answers  => 1,
        location => 'return 200 "@body@";',
        status   => '-',
        runs     => { hot => '-' },
        size     => 1024,       # nginx.conf takes no string over 4096
    },

    {
        name     => 'proxy_pass',
        title    => 'proxy_pass alone',
        status   => '-',
        runs     => { plain => '-' },
    },

    {
        name     => 'proxy_cache',
        title    => 'proxy_cache, tmpfs',
        http     => <<'EOC',
    proxy_cache_path  @dir@/cache levels=1:2 keys_zone=bench:256m
                      inactive=1h max_size=8g use_temp_path=off;
EOC
        location => <<'EOC',
            proxy_cache      bench;
            proxy_cache_key  $scheme://$host$request_uri;
EOC
        status   => '$upstream_cache_status',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'files',
    },

    srcache_lua(
        '"unix:@sock@"',
        name     => 'srcache-redis',
        title    => 'srcache + Redis (lua), unix',
        backend  => 'redis-unix',
    ),

    srcache_lua(
        '"127.0.0.1", @port@',
        name     => 'srcache-redis-tcp',
        title    => 'srcache + Redis (lua), TCP',
        backend  => 'redis-tcp',
        extra    => 1,
    ),

    srcache_redis2(
        'unix:@sock@',
        name     => 'srcache-redis2',
        title    => 'srcache + redis2, unix',
        backend  => 'redis-unix',
    ),

    srcache_redis2(
        '127.0.0.1:@port@',
        name     => 'srcache-redis2-tcp',
        title    => 'srcache + redis2, TCP',
        backend  => 'redis-tcp',
    ),

    srcache(
        name     => 'srcache-memc',
        title    => 'srcache + memc, memcached',
        load     => ['ngx_http_memc_module.so'],
        backend  => 'memcached',
        counts   => 'memcached',
        http     => upstream('memcached', 'unix:@sock@'),
        server   => <<'EOC',
        location = /-/memc {
            internal;
            memc_ignore_client_abort  on;
            memc_buffer_size          16k;
            set $memc_key             $query_string;
            set $memc_exptime         3600;
            memc_pass                 memcached;
        }
EOC
        location => <<'EOC',
            srcache_fetch  GET /-/memc $scheme://$host$request_uri;
            srcache_store  PUT /-/memc $scheme://$host$request_uri;
EOC
    ),

    {
        name     => 'varnish',
        title    => 'Varnish, malloc',
        program  => [ 'varnishd', '-F', '-j', 'none', '-n', '@dir@/work',
                      '-a', '127.0.0.1:@listen@', '-s', 'malloc,2g',
                      '-f', '@dir@/conf' ],
        child    => qr/varnishd/,
        flush    => [ 'varnishadm', '-n', '@dir@/work', 'ban', 'req.url ~ .' ],
        conf     => <<'EOC',
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "@origin@";
}

sub vcl_deliver {
    set resp.http.X-Cache = "MISS";

    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    }
}
EOC
        runs     => { hot => 'HIT', miss => 'MISS' },
    },

    {
        name     => 'node-ioredis',
        title    => 'cache-aside, Node.js + ioredis',
        program  => [ 'node', '@bench@/cache_aside.js', '@listen@',
                      '@origin@', '@sock@', '@root@/build/bench/node_modules' ],
        files    => ['@root@/build/bench/node_modules/ioredis/package.json'],
        backend  => 'redis-unix',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'redis',
    },

    module(
        name     => 'module-unix',
        title    => 'this module, unix',
        backend  => 'redis-unix',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'entries',
    ),

    module(
        name     => 'module-tcp',
        title    => 'this module, TCP',
        backend  => 'redis-tcp',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'entries',
    ),

    module(
        name     => 'module-tls',
        title    => 'this module, TLS',
        backend  => 'redis-tls',
        runs     => { hot => 'HIT' },
    ),

    module(
        name     => 'module-cluster',
        title    => 'this module, Cluster',
        backend  => 'redis-cluster',
        servers  => 3,
        masters  => 3,
        runs     => { hot => 'HIT' },
    ),

    module(
        name     => 'module-replica',
        title    => 'this module, Cluster, replicas',
        backend  => 'redis-cluster',
        servers  => 6,
        masters  => 3,
        rest     => 2.3,        # until what was stored is read from one
        zone     => 'read_from=replica',
        runs     => { hot => 'HIT' },
    ),

    module(
        name     => 'module-near',
        title    => 'this module, near cache',
        backend  => 'redis-unix',
        zone     => 'near=64m',
        http     => <<'EOC',

    map $redis_proxy_cache_source $bench_near {
        near      HIT;
        upstream  MISS;
        default   FAR;
    }
EOC
        location => <<'EOC',
            redis_proxy_cache_near          1h;
            redis_proxy_cache_segment_size  512k;
EOC
        status   => '$bench_near',
        runs     => { hot => 'HIT' },
    ),

    module(
        name     => 'module-nolock',
        title    => 'this module, no lock',
        backend  => 'redis-unix',
        location => <<'EOC',
            redis_proxy_cache_lock  off;
EOC
        runs     => { miss => 'MISS' },
        counts   => 'entries',
    ),

    module(
        name     => 'module-bypass',
        title    => 'this module, bypassed',
        backend  => 'redis-unix',
        location => <<'EOC',
            redis_proxy_cache_bypass  1;
            redis_proxy_no_cache      1;
EOC
        runs     => { plain => 'BYPASS' },
        counts   => 'entries',
    ),

    module(
        name     => 'module-nostore',
        title    => 'this module, no-store response',
        backend  => 'redis-unix',
        runs     => { nostore => 'MISS' },
        counts   => 'entries',
    ),

    module(
        name     => 'module-known',
        title    => 'this module, no-store again',
        backend  => 'redis-unix',
        runs     => { known => 'MISS' },
        counts   => 'entries',
    ),

    module(
        name     => 'module-gone',
        title    => 'this module, Redis gone',
        backend  => 'redis-tcp',
        runs     => { plain => 'MISS' },
        gone     => 1,
    ),
);
