#!/bin/sh

# All that must pass, one step after the other.  A step that fails does not
# keep the rest from running, unless there is nothing to run; it fails the
# whole.

set -eu

. "$(dirname "$0")/lib.sh"

cd "$root"

results=
failed=0


step() {
    name=$1
    shift

    printf '\n==== %s\n' "$name"
    start=$(date +%s)

    if "$@"; then
        result=passed
    else
        result=FAILED
        failed=$((failed + 1))
    fi

    line=$(printf '%-6s  %4d s  %s' $result $(($(date +%s) - start)) "$name")
    results="$results$line
"
    [ $result = passed ]
}


report() {
    printf '\n==== result\n%s' "$results"

    if [ $failed = 0 ]; then
        say "all passed"
        exit 0
    fi

    say "$failed of the steps above FAILED"
    exit 1
}


: "${FUZZ_SECONDS:=3}"

step "packages" build-aux/deps.sh build run test || report
step "build" build-aux/module.sh || report

step "lint" build-aux/lint.sh || :
step "unit tests" make -j "$jobs" unit || :
step "t/" build-aux/prove.sh "$(find_nginx)" "$build/$module.so" || :
step "fuzz, $FUZZ_SECONDS s a target" \
    make -j "$jobs" fuzz FUZZ_SECONDS="$FUZZ_SECONDS" || :
step "t/ with ASan and UBSan" build-aux/asan.sh || :

report
