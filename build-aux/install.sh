#!/bin/sh

# Copies the module to where the nginx that it is for looks for modules.

set -eu

. "$(dirname "$0")/lib.sh"

args=${NGINX_CONFIGURE_ARGS-$(nginx_args "$(find_nginx)")}


# the last --NAME=VALUE of the arguments

arg() {
    eval "set -- $args"
    value=

    for arg in "$@"; do
        case $arg in
        --"$name"=*)
            value=${arg#*=}
            ;;
        esac
    done

    printf '%s' "$value"
}


name=prefix
prefix=$(arg)

name=modules-path
dir=$(arg)

# nginx's own rules, auto/install

case ${dir:=modules} in
/*)
    ;;
*)
    dir=${prefix:-/usr/local/nginx}/$dir
    ;;
esac

to=${DESTDIR:-}$dir

mkdir -p "$to" && cp "$build/$module.so" "$to/$module.so.new" \
    && chmod 644 "$to/$module.so.new" \
    && mv "$to/$module.so.new" "$to/$module.so" \
    || die "$to could not be written to: run this as root, or set DESTDIR="

say "installed $to/$module.so; nginx.conf takes it with"
say "    load_module $dir/$module.so;"
