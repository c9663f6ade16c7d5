#!/bin/sh

# source.sh VERSION
#
# Prints the folder of nginx's full sources, which are taken from Debian's
# source package if they are not in build/src yet.  Needs no root: lists and
# cache are private ones.

set -eu

. "$(dirname "$0")/lib.sh"

version=$1
dir=$build/src
tree=$dir/nginx-$version
tar=$dir/nginx_$version.orig.tar.gz

if [ -x "$tree/configure" ]; then
    echo "$tree"
    exit
fi

case $version in
1.22.1)
    suite=bookworm
    ;;
1.26.3)
    suite=trixie
    ;;
*)
    die "which Debian release has nginx $version?"
    ;;
esac

mkdir -p "$dir"

if [ ! -f "$tar" ]; then
    say "fetching the sources of nginx $version from Debian $suite" >&2

    apt=$dir/apt-$suite
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo "deb-src [signed-by=$keys] $mirror $suite main" > "$apt/sources.list"

    private() {
        (
            cd "$dir"

            apt-get -q -o Dir::Etc::SourceList="$apt/sources.list" \
                -o Dir::Etc::SourceParts=/dev/null \
                -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache" \
                -o APT::Sandbox::User="$(id -un)" "$@"
        ) > "$apt/log" 2>&1 || {
            cat "$apt/log" >&2
            die "the sources of nginx $version could not be fetched; put" \
                "nginx_$version.orig.tar.gz of Debian's source package" \
                "nginx into $dir by hand"
        }
    }

    private update
    private source --download-only --tar-only "nginx/$suite"

    [ -f "$tar" ] || die "Debian $suite no longer has nginx $version; put" \
                         "nginx_$version.orig.tar.gz into $dir by hand"

    rm -rf "$apt"
fi

rm -rf "$tree.new"
mkdir "$tree.new"
tar -xzf "$tar" -C "$tree.new" --strip-components=1 --no-same-owner
mv "$tree.new" "$tree"

echo "$tree"
