#!/bin/sh

# deps.sh GROUP ...
#
# Installs the Debian packages of the groups that are missing, and for "test"
# the conformance suite, from npm, in build/.  With nothing missing it does
# nothing, and needs neither root nor a network.

set -eu

. "$(dirname "$0")/lib.sh"

packages=
suite=

for group in "$@"; do
    case $group in
    build)
        packages="$packages zlib1g-dev libzstd-dev"

        packages="$packages gcc libc6-dev make libhiredis-dev libssl-dev
                  libpcre2-dev libxxhash-dev libyajl-dev"

        # whoever sets these has sources or an nginx of his own
        [ -n "${NGINX_SRC:-}" ] || packages="$packages nginx-dev"
        [ -n "${NGINX:-}${NGINX_CONFIGURE_ARGS:-}" ] \
            || packages="$packages nginx"
        ;;
    run)
        packages="$packages perl redis-server redis-tools"
        ;;
    test)
        packages="$packages binutils clang curl libclang-rt-dev libcmocka-dev
                  libcpanel-json-xs-perl libpcre2-dev nginx openssl perl
                  redis-server redis-tools valgrind zlib1g-dev zstd"

        # those that judge what is shown to them
        packages="$packages chromium prometheus python3 python3-jsonschema
                  python3-prometheus-client"

        # any node will do, and one of another origin may bring its npm
        command -v node > /dev/null || packages="$packages nodejs"
        command -v npm > /dev/null || packages="$packages npm"

        suite=yes
        ;;
    *)
        die "there is no group $group"
        ;;
    esac
done


missing=

for package in $packages; do
    case " $missing " in
    *" $package "*)
        continue
        ;;
    esac

    case $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null) in
    ?i*)
        ;;
    *)
        missing="$missing $package"
        ;;
    esac
done

# What to do when all packages are there.

finish() {
    [ -z "$suite" ] || "$root/t/conformance/install.sh"
    exit 0
}

[ -n "$missing" ] || finish


if ! command -v apt-get > /dev/null; then
    die "these Debian packages, or what stands for them here, are missing," \
        "and there is no apt-get:$missing"
fi

if [ "$(id -u)" = 0 ]; then
    sudo=

elif command -v sudo > /dev/null; then
    sudo=sudo

else
    die "packages are missing, and installing them needs root. As root," \
        "say: apt-get install --no-install-recommends$missing"
fi

say "installing$missing"


# The packages of nginx, Redis and Prometheus start services on their ports.
# We start servers of our own, so nothing shall start here, unless there is a
# policy already.

policy=/usr/sbin/policy-rc.d

case " $missing " in
*" nginx "* | *" redis-server "* | *" nginx-dev "* | *" prometheus "*)
    if [ ! -e $policy ]; then
        trap '$sudo rm -f $policy' EXIT
        trap 'exit 1' HUP INT TERM

        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy > /dev/null
        $sudo chmod 755 $policy
    fi
    ;;
esac

apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o DPkg::Lock::Timeout=300 "$@"
}

# a source list that is not there today must not stop what others provide
apt update || say "apt-get update failed, going on with what is known"

# shellcheck disable=SC2086  # one word a package
apt install --no-install-recommends $missing \
    || die "these packages are needed and could not be installed:$missing"

finish
