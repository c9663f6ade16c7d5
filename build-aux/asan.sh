#!/bin/sh

# asan.sh [--build | TEST ...]
#
# Runs t/, or the tests named, under AddressSanitizer and the undefined
# behaviour sanitizer.  nginx is built with the first one, too, and with a
# malloc() for each allocation from a pool, so that an overrun in a pool shows.
# --build builds and runs nothing.

set -eu

. "$(dirname "$0")/lib.sh"

cd "$root"

src=$("$root/build-aux/source.sh" 1.22.1)
dir=$build/asan

# -O1 and sanitizers make the compiler warn where there is nothing; the lint
# builds with -Werror.  What is undefined in nginx itself is none of ours, and
# takes as long to compile as all the rest.

flags="-fsanitize=address -fno-omit-frame-pointer -O1 -g1"
args="$debian_args --add-dynamic-module='$root'"
args="$args --with-cc-opt='$flags -DNGX_DEBUG_PALLOC=1 -Wno-error'"
args="$args --with-ld-opt='-fsanitize=address,undefined'"

MODULE_CFLAGS=-fsanitize=undefined \
"$root/build-aux/tree.sh" "$dir" "$src" "$args" objs/nginx "objs/$module.so"

[ "${1:-}" != --build ] || exit 0


# What is left out of all of t/, because sanitizers have nothing to see there
# that they do not see in the others.  Each is run without them.

left_out="
    t/dry_run_forecast.t  whether numbers are right; t/dry_run.t has the code
    t/near_memory.t       a program of its own, which is not built with them
    t/monitoring.t        promtool reads files of docs/
"

if [ $# = 0 ]; then
    say "without sanitizers only:$left_out"

    for test in t/*.t; do
        case $left_out in
        *" $test "*)
            ;;
        *)
            set -- "$@" "$test"
            ;;
        esac
    done
fi


# The tests look for reports in error.log.  A leak is reported when a process
# exits and does not change its status, for a mere "nginx -t" leaks all that
# it has read.

asan=detect_stack_use_after_return=1:strict_string_checks=1
asan=$asan:disable_coredump=1:quarantine_size_mb=16

ASAN_OPTIONS=$asan:detect_leaks=1
LSAN_OPTIONS=exitcode=0:print_suppressions=0
LSAN_OPTIONS=$LSAN_OPTIONS:suppressions=$root/build-aux/lsan.supp
UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS

# where tracing is forbidden, in some containers, leaks cannot be looked for

if "$dir/objs/nginx" -V 2>&1 | grep -q 'LeakSanitizer has encountered'; then
    say "this machine does not let LeakSanitizer work"
    ASAN_OPTIONS=$asan:detect_leaks=0
fi

"$root/build-aux/prove.sh" "$dir/objs/nginx" "$dir/objs/$module.so" "$@"
