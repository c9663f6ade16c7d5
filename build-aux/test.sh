#!/bin/sh

# All that must pass, one step after the other.  A step that fails does not
# keep the rest from running, unless there is nothing to run; it fails the
# whole.  What the steps say is kept in build/log, and what tells why one
# failed is said again at the end.

set -eu

. "$(dirname "$0")/lib.sh"

cd "$root"

logs=$build/log
results=
steps=0
failed=0


step() {
    name=$1
    shift

    steps=$((steps + 1))
    log=$logs/$steps

    printf '\n==== %s\n' "$name"
    start=$(date +%s)

    # the status of a pipe is that of tee

    { "$@" 2>&1 && : > "$log.passed"; } | tee "$log" || :

    if [ -e "$log.passed" ]; then
        result=passed
    else
        result=FAILED
        failed=$((failed + 1))
        tell >> "$logs/failed"
    fi

    line=$(printf '%-6s  %4d s  %s' $result $(($(date +%s) - start)) "$name")
    results="$results$line
"
    [ $result = passed ]
}


# the lines from which one sees what failed, or else the last ones

tell() {
    printf '\n==== %s, from build/log/%s\n' "$name" "$steps"

    lines=$(grep -aE '^#|not ok|Failed|Dubious|error:|ERROR|FAILED' "$log" \
            | tail -n 60)
    [ -n "$lines" ] || lines=$(tail -n 20 "$log")
    say "$lines"
}


report() {
    printf '\n==== result\n%s' "$results"

    if [ $failed = 0 ]; then
        say "all passed"
        exit 0
    fi

    cat "$logs/failed"
    say
    say "$failed of the steps above FAILED"
    exit 1
}


: "${FUZZ_RUNS:=50000}"

rm -rf "$logs"
mkdir -p "$logs"

step "packages" build-aux/deps.sh build run test || report
step "build" build-aux/module.sh || report

step "lint" build-aux/lint.sh || :
step "unit tests" make -j "$jobs" unit || :
step "t/" build-aux/prove.sh "$(find_nginx)" "$build/$module.so" || :
step "fuzz, $FUZZ_RUNS inputs a target" \
    make -s -j "$jobs" fuzz FUZZ_SECONDS=60 FUZZ_RUNS="$FUZZ_RUNS" \
         FUZZ_SEED=1 || :
step "instructions a request" bench/regress || :
step "t/ with ASan and UBSan" build-aux/asan.sh || :

report
