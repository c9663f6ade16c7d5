#!/bin/sh

# Everything that can be judged without a running server.  Each complaint is
# a line that says where and what.

set -eu

. "$(dirname "$0")/lib.sh"

cd "$root"

failed=0

complain() {
    say "$*"
    failed=1
}


perl build-aux/lint.pl || failed=1


# scripts

for file in .ci/run build-aux/*.sh bench/*; do
    [ -f "$file" ] || continue

    case $(head -n 1 "$file") in
    '#!/bin/sh')
        sh -n "$file" || failed=1
        ;;
    '#!/bin/bash')
        bash -n "$file" || failed=1
        ;;
    esac
done


# Both compilers, with -Wall -Wextra -Werror, which nginx's build has.  What is
# in build/ stays, for tests may be running on it.

# clang's code is not run, so it need not be good: its warnings are the same.

for compiler in clang gcc; do
    cflags=
    [ $compiler = gcc ] || cflags='-O0 -g0 -U_FORTIFY_SOURCE'

    CC=$compiler MODULE_CFLAGS=$cflags build-aux/module.sh --tree \
        || complain "$compiler: does not build"

    for flag in -Wall -Werror; do
        grep -q "^CFLAGS = .*$flag" "build/module-$compiler/objs/Makefile" \
            || complain "$compiler: nginx was configured without $flag"
    done


    # what leaves the module is what nginx asks for

    so=build/module-$compiler/objs/$module.so

    for symbol in $(nm -D --defined-only "$so" | awk '{ print $3 }'); do
        case $symbol in
        ngx_modules | ngx_module_names | ngx_module_order)
            ;;
        *)
            complain "$so: exports $symbol; build-aux/exports.map is to hide" \
                     "all but what nginx asks for"
            ;;
        esac
    done

    for symbol in ngx_modules ngx_module_names ngx_module_order; do
        nm -D --defined-only "$so" | grep -q " $symbol\$" \
            || complain "$so: does not export $symbol, without which nginx" \
                        "cannot load it"
    done
done


[ $failed = 0 ] || die "the complaints are above"

say "lint passed"
