# What the scripts here share; it is sourced, not run.

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
module=ngx_http_redis_proxy_cache_module

# what Debian's nginx has, for an nginx that is built from source
debian_args="--error-log-path=stderr --with-compat --with-debug
    --with-pcre-jit --with-threads
    --with-http_ssl_module --with-http_v2_module
    --with-http_stub_status_module --with-http_realip_module
    --with-http_auth_request_module --with-http_dav_module
    --with-http_slice_module --with-http_addition_module
    --with-http_gunzip_module --with-http_gzip_static_module
    --with-http_random_index_module --with-http_secure_link_module
    --with-http_sub_module"

# a make that runs us must not lend its flags to the makes that we run
unset MAKEFLAGS MFLAGS MAKELEVEL

jobs=$(nproc 2>/dev/null || echo 1)
cc=${CC:-$(command -v gcc > /dev/null && echo gcc || echo cc)}


say() {
    printf '%s\n' "$*"
}


die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}


# the nginx that the module is for; sbin is not in everybody's PATH

find_nginx() {
    if [ -n "${NGINX:-}" ]; then
        echo "$NGINX"
        return
    fi

    PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nginx \
        || die "there is no nginx here: install the package nginx (make" \
               "deps), or set NGINX= to one"
}


find_redis() {
    PATH=$PATH:/usr/sbin:/usr/local/sbin command -v redis-server \
        || die "there is no redis-server here: install the package" \
               "redis-server (make deps)"
}


nginx_version() {
    "$1" -v 2>&1 | sed -n 's|.*nginx/\([0-9.]*\).*|\1|p'
}


nginx_args() {
    "$1" -V 2>&1 | sed -n 's/^configure arguments: *//p'
}


source_version() {
    sed -n 's/.*define NGINX_VERSION *"\([0-9.]*\)".*/\1/p' \
        "$1/src/core/nginx.h"
}
