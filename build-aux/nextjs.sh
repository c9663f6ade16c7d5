#!/bin/sh

# The module before a real Next.js application: t/nextjs/, with what it needs
# from npm, built in build/nextjs, and t/nextjs/real.pl.

set -eu

. "$(dirname "$0")/lib.sh"

dir=$build/nextjs

command -v npm > /dev/null || die "npm is not installed: run \"make deps\""

mkdir -p "$dir"
cp -R "$root/t/nextjs/app" "$root/t/nextjs/package.json" "$dir/"

cd "$dir"

NEXT_TELEMETRY_DISABLED=1
export NEXT_TELEMETRY_DISABLED

npm install --no-audit --no-fund
npx next build

TEST_NEXTJS=$dir
export TEST_NEXTJS

"$root/build-aux/prove.sh" "$(find_nginx)" "$build/$module.so" \
    t/nextjs/real.pl
