#!/bin/sh

# Runs t/ against the other ways in which the module is used: with Debian 13's
# nginx, and linked into an nginx.

set -eu

. "$(dirname "$0")/lib.sh"

failed=

src=$("$root/build-aux/source.sh" 1.26.3)
dir=$build/nginx-1.26.3

"$root/build-aux/tree.sh" "$dir" "$src" \
    "$debian_args --add-dynamic-module='$root'" objs/nginx "objs/$module.so"

say "t/ with nginx 1.26.3"
"$root/build-aux/prove.sh" "$dir/objs/nginx" "$dir/objs/$module.so" \
    || failed=yes

"$root/build-aux/static.sh"

say "t/ with the module linked into nginx 1.22.1"
"$root/build-aux/prove.sh" "$build/static/objs/nginx" "" || failed=yes

[ -z "$failed" ] || die "not all of them passed"
