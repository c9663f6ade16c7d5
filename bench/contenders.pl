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


my $srcache = <<'EOC';
            srcache_store_statuses      200;
            srcache_default_expire      3600s;
            srcache_max_expire          1d;
            srcache_store_max_size      1m;
            srcache_store_hide_header   X-Cache;
EOC

my @srcache_modules = ('ndk_http_module.so', 'ngx_http_lua_module.so',
                       'ngx_http_srcache_filter_module.so');

my $srcache_lua = <<'EOC';
    lua_package_path        "@bench@/?.lua;@lua@/?.lua;;";
    lua_socket_buffer_size  64k;
    lua_socket_pool_size    256;
EOC

my $srcache_lua_locations = <<'EOC';
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

my $srcache_lua_location = <<'EOC' . $srcache;
            srcache_fetch  GET /-/fetch $scheme://$host$request_uri;
            srcache_store  PUT /-/store
                           $srcache_expire:$scheme://$host$request_uri;
EOC

# http_redis fetches and redis2 stores, as srcache's documentation has it, but
# with one command, not two, and with nginx's own $request_body.

my @srcache_redis2_modules = ('@peers@/ngx_http_redis_module.so',
                              '@peers@/ngx_http_redis2_module.so',
                              'ngx_http_srcache_filter_module.so');

my $srcache_redis2_locations = <<'EOC';
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

my $srcache_redis2_location = <<'EOC' . $srcache;
            srcache_fetch  GET /-/fetch $scheme://$host$request_uri;
            srcache_store  PUT /-/store $scheme://$host$request_uri;
EOC


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

    {
        name     => 'srcache-redis',
        title    => 'srcache + Redis (lua), unix',
        load     => \@srcache_modules,
        files    => ['@lua@/nginx/redis.lua'],
        backend  => 'redis-unix',
        http     => $srcache_lua . <<'EOC',
    init_by_lua_block {
        require("srcache_redis").server("unix:@sock@")
    }
EOC
        server   => $srcache_lua_locations,
        location => $srcache_lua_location,
        status   => '$srcache_fetch_status',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'redis',
    },

    {
        name     => 'srcache-redis-tcp',
        extra    => 1,
        title    => 'srcache + Redis (lua), TCP',
        load     => \@srcache_modules,
        files    => ['@lua@/nginx/redis.lua'],
        backend  => 'redis-tcp',
        http     => $srcache_lua . <<'EOC',
    init_by_lua_block {
        require("srcache_redis").server("127.0.0.1", @port@)
    }
EOC
        server   => $srcache_lua_locations,
        location => $srcache_lua_location,
        status   => '$srcache_fetch_status',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'redis',
    },

    {
        name     => 'srcache-redis2',
        title    => 'srcache + redis2, unix',
        load     => \@srcache_redis2_modules,
        backend  => 'redis-unix',
        http     => <<'EOC',
    upstream redis {
        server              unix:@sock@;
        keepalive           256;
        keepalive_requests  1000000000;
    }
EOC
        server   => $srcache_redis2_locations,
        location => $srcache_redis2_location,
        status   => '$srcache_fetch_status',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'redis',
    },

    {
        name     => 'srcache-redis2-tcp',
        extra    => 1,
        title    => 'srcache + redis2, TCP',
        load     => \@srcache_redis2_modules,
        backend  => 'redis-tcp',
        http     => <<'EOC',
    upstream redis {
        server              127.0.0.1:@port@;
        keepalive           256;
        keepalive_requests  1000000000;
    }
EOC
        server   => $srcache_redis2_locations,
        location => $srcache_redis2_location,
        status   => '$srcache_fetch_status',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'redis',
    },

    {
        name     => 'srcache-memc',
        title    => 'srcache + memc, memcached',
        load     => ['ngx_http_memc_module.so',
                     'ngx_http_srcache_filter_module.so'],
        backend  => 'memcached',
        http     => <<'EOC',
    upstream memcached {
        server              unix:@sock@;
        keepalive           256;
        keepalive_requests  1000000000;
    }
EOC
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
        location => <<'EOC' . $srcache,
            srcache_fetch  GET /-/memc $scheme://$host$request_uri;
            srcache_store  PUT /-/memc $scheme://$host$request_uri;
EOC
        status   => '$srcache_fetch_status',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'memcached',
    },

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

    {
        name     => 'module-unix',
        title    => 'this module, unix',
        load     => ['@module@'],
        backend  => 'redis-unix',
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=unix:@sock@;
EOC
        location => <<'EOC',
            redis_proxy_cache  bench;
EOC
        status   => '$redis_proxy_cache_status',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'redis',
    },

    {
        name     => 'module-tcp',
        title    => 'this module, TCP',
        load     => ['@module@'],
        backend  => 'redis-tcp',
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=redis://127.0.0.1:@port@;
EOC
        location => <<'EOC',
            redis_proxy_cache  bench;
EOC
        status   => '$redis_proxy_cache_status',
        runs     => { hot => 'HIT', miss => 'MISS' },
        counts   => 'redis',
    },

    {
        name     => 'module-tls',
        title    => 'this module, TLS',
        load     => ['@module@'],
        backend  => 'redis-tls',
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=rediss://127.0.0.1:@port@
                            ssl_trusted_certificate=@dir@/0/cert.pem;
EOC
        location => <<'EOC',
            redis_proxy_cache  bench;
EOC
        status   => '$redis_proxy_cache_status',
        runs     => { hot => 'HIT' },
    },

    {
        name     => 'module-cluster',
        title    => 'this module, Cluster',
        load     => ['@module@'],
        backend  => 'redis-cluster',
        servers  => 3,
        masters  => 3,
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=redis://127.0.0.1:@port@
                            cluster=on;
EOC
        location => <<'EOC',
            redis_proxy_cache  bench;
EOC
        status   => '$redis_proxy_cache_status',
        runs     => { hot => 'HIT' },
    },

    {
        name     => 'module-replica',
        title    => 'this module, Cluster, replicas',
        load     => ['@module@'],
        backend  => 'redis-cluster',
        servers  => 6,
        masters  => 3,
        rest     => 2.3,        # until what was stored is read from one
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=redis://127.0.0.1:@port@
                            cluster=on read_from=replica;
EOC
        location => <<'EOC',
            redis_proxy_cache  bench;
EOC
        status   => '$redis_proxy_cache_status',
        runs     => { hot => 'HIT' },
    },

    {
        name     => 'module-near',
        title    => 'this module, near cache',
        load     => ['@module@'],
        backend  => 'redis-unix',
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=unix:@sock@ near=64m;

    map $redis_proxy_cache_source $bench_near {
        near      HIT;
        upstream  MISS;
        default   FAR;
    }
EOC
        location => <<'EOC',
            redis_proxy_cache               bench;
            redis_proxy_cache_near          1h;
            redis_proxy_cache_segment_size  512k;
EOC
        status   => '$bench_near',
        runs     => { hot => 'HIT' },
    },

    {
        name     => 'module-nolock',
        title    => 'this module, no lock',
        load     => ['@module@'],
        backend  => 'redis-unix',
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=unix:@sock@;
EOC
        location => <<'EOC',
            redis_proxy_cache       bench;
            redis_proxy_cache_lock  off;
EOC
        status   => '$redis_proxy_cache_status',
        runs     => { miss => 'MISS' },
        counts   => 'redis',
    },

    {
        name     => 'module-bypass',
        title    => 'this module, bypassed',
        load     => ['@module@'],
        backend  => 'redis-unix',
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=unix:@sock@;
EOC
        location => <<'EOC',
            redis_proxy_cache         bench;
            redis_proxy_cache_bypass  1;
            redis_proxy_no_cache      1;
EOC
        status   => '$redis_proxy_cache_status',
        runs     => { plain => 'BYPASS' },
        counts   => 'redis',
    },

    {
        name     => 'module-nostore',
        title    => 'this module, no-store response',
        load     => ['@module@'],
        backend  => 'redis-unix',
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=unix:@sock@;
EOC
        location => <<'EOC',
            redis_proxy_cache  bench;
EOC
        status   => '$redis_proxy_cache_status',
        runs     => { nostore => 'MISS' },
        counts   => 'entries',
    },

    {
        name     => 'module-known',
        title    => 'this module, no-store again',
        load     => ['@module@'],
        backend  => 'redis-unix',
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=unix:@sock@;
EOC
        location => <<'EOC',
            redis_proxy_cache  bench;
EOC
        status   => '$redis_proxy_cache_status',
        runs     => { known => 'MISS' },
        counts   => 'entries',
    },

    {
        name     => 'module-gone',
        title    => 'this module, Redis gone',
        load     => ['@module@'],
        backend  => 'redis-tcp',
        http     => <<'EOC',
    redis_proxy_cache_zone  bench:16m server=redis://127.0.0.1:@port@;
EOC
        location => <<'EOC',
            redis_proxy_cache  bench;
EOC
        status   => '$redis_proxy_cache_status',
        runs     => { plain => 'MISS' },
        gone     => 1,
    },
);
