#!/bin/sh

# tree.sh DIR SOURCE ARGS TARGET ...
#
# Configures nginx's sources in DIR with ARGS, which are quoted for a shell,
# and makes the targets.  MODULE_CFLAGS in the environment are for what is not
# nginx's own.  SOURCE itself is not written to: DIR has links to what is in
# it.  DIR is configured again when anything that the configuration depends on
# is no longer what it was.

set -eu

. "$(dirname "$0")/lib.sh"

dir=$1
src=$2
args=$(printf '%s' "$3" | tr '\n' ' ')
shift 3

[ -x "$src/configure" ] || die "there are no nginx sources in $src"


mkdir -p "$dir"

{
    echo "$src" "$cc" "$args"
    "$cc" --version
    echo "${MODULE_CFLAGS:-}"
    cat "$root/config" "$root/config.make"
    find -L "$src/auto" "$src/src" -type f -exec cat {} + | cksum
} > "$dir/stamp.new"

if ! cmp -s "$dir/stamp" "$dir/stamp.new"; then
    rm -rf "$dir/objs" "$dir/stamp"

    for name in "$src"/*; do
        case ${name##*/} in
        objs | Makefile)
            ;;
        *)
            ln -sfn "$name" "$dir/${name##*/}"
            ;;
        esac
    done

    say "configuring nginx $(source_version "$src") with $cc in" \
        "${dir#"$root"/}"

    if ! (cd "$dir" && CC= && unset CC \
          && eval "./configure $args --with-cc='$cc' --builddir=objs") \
          > "$dir/configure.log" 2>&1
    then
        grep -A 5 'error:' "$dir/configure.log" >&2 \
            || tail -n 20 "$dir/configure.log" >&2
        die "configure failed; all of it is in $dir/configure.log"
    fi

    mv "$dir/stamp.new" "$dir/stamp"
fi

rm -f "$dir/stamp.new"

cd "$dir"

echo "objs/addon/%: CFLAGS += ${MODULE_CFLAGS:-}" > module.mk

# only a run that has something to do has something to say

if ! make -q -f objs/Makefile -f module.mk "$@" > /dev/null 2>&1; then
    say "making $* in ${dir#"$root"/}"

    if ! make -j "$jobs" -f objs/Makefile -f module.mk "$@" \
              > make.log 2>&1
    then
        grep -A 3 -E ': (fatal )?(error|warning): |undefined reference' \
            make.log | grep -v '^[^ ]* -c ' >&2 || tail -n 20 make.log >&2
        die "the build failed; all of it is in $dir/make.log"
    fi
fi
