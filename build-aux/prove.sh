#!/bin/sh

# prove.sh NGINX MODULE [TEST ...]
#
# Runs t/, or the tests named, against that nginx.  MODULE is the .so, or
# nothing if the module is linked in.

set -eu

. "$(dirname "$0")/lib.sh"

TEST_NGINX_BINARY=$1
TEST_NGINX_MODULE=$2
export TEST_NGINX_BINARY TEST_NGINX_MODULE
shift 2

PATH=$PATH:/usr/sbin:/usr/local/sbin
export PATH

# thousands of clients, and an origin that answers all of them at once
ulimit -n 8192 2> /dev/null || :

cd "$root"

[ $# -gt 0 ] || set -- t/

exec prove -r -It/lib -j "${PROVE_JOBS:-2}" "$@"
