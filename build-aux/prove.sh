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

[ $# -gt 0 ] || set -- t/*.t

# The longest ones first, or the last of them would go on alone.

long="t/redis_nearest.t t/purge_regex.t t/redis_replica.t
    t/compress_segments.t t/compress_segments_cut.t t/purge_regex_cluster.t
    t/dry_run_forecast.t t/store_first.t t/near_redis.t t/near_storm.t
    t/near_faults.t t/near_memory.t t/invalidate_late.t t/conformance.t
    t/dashboard.t t/redis_cluster.t t/lock_redis.t t/lock_renew.t
    t/segments_cut.t"
first=
rest=

for test in $long; do
    case " $* " in
    *" $test "*)
        first="$first $test"
        ;;
    esac
done

for test in "$@"; do
    case " $first " in
    *" $test "*)
        ;;
    *)
        rest="$rest $test"
        ;;
    esac
done

# shellcheck disable=SC2086  # one word a test
set -- $first $rest

# Tests wait most of the time, but some start a dozen of processes, and four of
# them at once may be more than a busy machine has time for.  So what fails is
# run once more, alone, and is told; what fails then has failed.

rm -f .prove

if prove -r -It/lib -j "${PROVE_JOBS:-4}" --state=save "$@"; then
    rm -f .prove
    exit 0
fi

# none of them is named if it was not a test that failed

if [ -z "$(prove --state=failed --dry 2> /dev/null)" ]; then
    rm -f .prove
    die "prove itself failed"
fi

say "the tests that failed, once more, one at a time:"

rc=0
prove -It/lib --state=failed || rc=$?
rm -f .prove

exit $rc
