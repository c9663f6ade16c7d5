#!/bin/sh

# All that must pass.  t/ waits most of the time, so what computes goes on
# beside it and gives way to it, in two lanes that are processes of their own.
# A step that fails does not keep the rest from running, unless there is nothing
# to run; it fails the whole, and so does one that has not run.  What a step
# says is in build/log, under its name, and what tells why one failed is said
# again at the end.

set -eu

. "$(dirname "$0")/lib.sh"

cd "$root"

: "${FUZZ_RUNS:=50000}"

logs=$build/log
all="packages build unit asan-build t lint fuzz instructions asan"
lane=


# The line of a step for the report is written when it ends, and it has passed
# if it says so.  What a lane does is not shown, but that it has ended is.

step() {
    name=$1
    shift

    log=$logs/$name
    start=$(date +%s)
    result=FAILED

    if [ -n "$lane" ]; then
        if "$@" > "$log" 2>&1; then
            result=passed
        fi

    else
        printf '\n==== %s\n' "$name"

        # the status of a pipe is that of tee

        { "$@" 2>&1 && : > "$log.passed"; } | tee "$log" || :

        if [ -e "$log.passed" ]; then
            result=passed
        fi
    fi

    printf '%-6s  %4d s  %s\n' $result $(($(date +%s) - start)) \
        "$name${lane:+, beside the others}" > "$log.result"

    [ -z "$lane" ] || printf '==== %s' "$(cat "$log.result")
"
    [ $result = passed ]
}


beside() {
    setsid nice -n 10 "$0" "$1" &
    lanes="$lanes $!"
}


# Lanes that are left when the whole is ended go with it.

lanes=

end_lanes() {
    for pid in $lanes; do
        kill -TERM -- "-$pid" 2> /dev/null || :
    done
}


# the lines from which one sees what failed, or else the last ones

tell() {
    printf '\n==== %s, from build/log/%s\n' "$1" "$1"

    lines=$(grep -aE '^#|not ok|Failed|Dubious|error:|ERROR|FAILED' \
                "$logs/$1" | tail -n 60)
    [ -n "$lines" ] || lines=$(tail -n 20 "$logs/$1")
    say "$lines"
}


report() {
    failed=

    printf '\n==== result\n'

    for name in $all; do
        if [ ! -e "$logs/$name.result" ]; then
            say "FAILED       -    $name, which did not run to its end"
        else
            cat "$logs/$name.result"
        fi

        grep -qs '^passed' "$logs/$name.result" || failed="$failed $name"
    done

    [ -n "$failed" ] || { say "all passed"; exit 0; }

    for name in $failed; do
        [ ! -e "$logs/$name" ] || tell "$name"
    done

    say
    say "FAILED:$failed"
    exit 1
}


case ${1:-} in
sanitizers)
    lane=$1
    step unit make -j "$jobs" unit || :
    step asan-build build-aux/asan.sh --build || :
    exit
    ;;
rest)
    lane=$1
    step lint build-aux/lint.sh || :
    step fuzz make -s -j "$jobs" fuzz FUZZ_SECONDS=300 \
        FUZZ_RUNS="$FUZZ_RUNS" FUZZ_SEED=1 || :
    step instructions bench/regress || :
    exit
    ;;
esac


rm -rf "$logs"
mkdir -p "$logs"

trap end_lanes EXIT
trap 'exit 1' HUP INT TERM

step packages build-aux/deps.sh build run test || report

beside sanitizers
sanitizers=$!

step build build-aux/module.sh || report

beside rest
rest=$!

step t build-aux/prove.sh "$(find_nginx)" "$build/$module.so" || :

wait "$sanitizers" || :
step asan build-aux/asan.sh || :

wait "$rest" || :
report
