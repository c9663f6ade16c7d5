#!/bin/sh

# module.sh [--tree]
#
# Builds the module for the installed nginx, or for NGINX_SRC configured with
# NGINX_CONFIGURE_ARGS, and leaves it in build/, or with --tree only in the
# tree in which it is built.

set -eu

. "$(dirname "$0")/lib.sh"

src=${NGINX_SRC:-/usr/share/nginx/src}

if [ ! -x "$src/configure" ]; then
    if [ -n "${NGINX_SRC:-}" ]; then
        die "there are no nginx sources in NGINX_SRC=$src"
    fi

    die "there are no nginx sources in $src: install the package nginx-dev" \
        "(make deps), or set NGINX_SRC= to a source tree of your nginx"
fi

src=$(cd "$src" && pwd)

if [ -n "${NGINX_CONFIGURE_ARGS+set}" ]; then
    args=$NGINX_CONFIGURE_ARGS

else
    nginx=$(find_nginx)

    [ "$(nginx_version "$nginx")" = "$(source_version "$src")" ] \
        || die "$src is nginx $(source_version "$src"), but $nginx is" \
               "$(nginx_version "$nginx"): set NGINX= to the nginx that the" \
               "module is for, or NGINX_CONFIGURE_ARGS= to its arguments"

    args=$(nginx_args "$nginx")
fi

command -v "$cc" > /dev/null \
    || die "there is no compiler $cc here: install the package" \
           "$(basename "$cc" | sed 's/^cc$/gcc/') (make deps)"


# One tree a compiler, for the lint uses two.

dir=$build/module-$(basename "$cc")

"$root/build-aux/tree.sh" "$dir" "$src" \
    "$args --add-dynamic-module='$root'" "objs/$module.so"

[ "${1:-}" != --tree ] || exit 0


# A new file, not new bytes in the old one: an nginx may have that mapped.

if ! cmp -s "$dir/objs/$module.so" "$build/$module.so"; then
    cp "$dir/objs/$module.so" "$build/$module.so.new"
    mv "$build/$module.so.new" "$build/$module.so"
fi
