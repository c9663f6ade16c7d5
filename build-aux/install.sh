#!/bin/sh

# Copies the module to where the nginx that it is for looks for modules.

set -eu

. "$(dirname "$0")/lib.sh"

args=${NGINX_CONFIGURE_ARGS-$(nginx_args "$(find_nginx)")}


# the last --NAME=VALUE of the arguments

arg() {
    name=$1
    value=

    eval "set -- $args"

    for arg in "$@"; do
        case $arg in
        --"$name"=*)
            value=${arg#*=}
            ;;
        esac
    done

    printf '%s' "$value"
}


prefix=$(arg prefix)
dir=$(arg modules-path)

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
