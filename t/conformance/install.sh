#!/bin/sh

# Fetches the suite, at the versions of package-lock.json, into
# build/conformance, unless they are there.

set -eu

cd "$(dirname "$0")/../.."

to=build/conformance
lock=t/conformance/package-lock.json

if [ -f $to/node_modules/http-cache-tests/package.json ] \
   && cmp -s $lock $to/package-lock.json
then
    exit 0
fi

rm -rf $to
mkdir -p $to
cp t/conformance/package.json $to/

cp $lock $to/package-lock.json

echo "fetching the conformance suite, http-cache-tests"

if ! (cd $to && npm ci --ignore-scripts --no-audit --no-fund); then
    rm -f $to/package-lock.json
    echo "$0: npm could not fetch http-cache-tests; t/conformance.t needs" \
         "it" >&2
    exit 1
fi
