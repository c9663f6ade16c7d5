#!/bin/sh

# Runs t/, or the tests named, under AddressSanitizer and the undefined
# behaviour sanitizer.  nginx is built with both, too, and with a malloc() for
# each allocation from a pool, so that an overrun in a pool shows.

set -eu

. "$(dirname "$0")/lib.sh"

src=$("$root/build-aux/source.sh" 1.22.1)
dir=$build/asan

# -O1 and sanitizers make the compiler warn where there is nothing; the lint
# builds with -Werror

flags="-fsanitize=address,undefined -fno-omit-frame-pointer -O1 -g"
args="$debian_args --add-dynamic-module='$root'"
args="$args --with-cc-opt='$flags -DNGX_DEBUG_PALLOC=1 -Wno-error'"
args="$args --with-ld-opt='$flags'"

"$root/build-aux/tree.sh" "$dir" "$src" "$args" objs/nginx "objs/$module.so"


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
