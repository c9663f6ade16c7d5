#!/bin/sh

# Builds nginx 1.22.1 from source with the module linked in.

set -eu

. "$(dirname "$0")/lib.sh"

src=$("$root/build-aux/source.sh" 1.22.1)

"$root/build-aux/tree.sh" "$build/static" "$src" \
    "$debian_args --add-module='$root'" objs/nginx

say "build/static/objs/nginx is nginx 1.22.1 with the module linked in"
