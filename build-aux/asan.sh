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

# What nginx holds when it exits is no leak, and LeakSanitizer cannot work
# where it may not trace.  A report ends the process: the tests see that.

ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=1
ASAN_OPTIONS=$ASAN_OPTIONS:strict_string_checks=1:disable_coredump=1
UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS UBSAN_OPTIONS

"$root/build-aux/tree.sh" "$dir" "$src" "$args" objs/nginx "objs/$module.so"

"$root/build-aux/prove.sh" "$dir/objs/nginx" "$dir/objs/$module.so" "$@"
