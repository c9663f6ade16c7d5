#!/bin/sh

# The demo: a private redis-server, a slow example API and nginx with the
# module before it, until Ctrl-C.  UPSTREAM and REDIS put nginx before a real
# service and a real Redis; PORT chooses the port; with RUN_ONCE all ends
# after the show.

set -eu

. "$(dirname "$0")/lib.sh"

nginx=$(find_nginx)
dir=$(mktemp -d "${TMPDIR:-/tmp}/rcache-run-XXXXXX")
pids=


# Ends what was started, last first, and nothing else.

finish() {
    trap - EXIT
    trap '' HUP INT TERM

    for pid in $pids; do
        kill "$pid" 2> /dev/null || :
    done

    for pid in $pids; do
        wait "$pid" 2> /dev/null || :
    done

    rm -rf "$dir"

    [ -z "$pids" ] || printf '\n%s\n' "all of it is stopped"
}

trap finish EXIT
trap 'exit 0' HUP INT TERM


started() {
    pids="$1 $pids"
}


# Waits until the command succeeds or the process is gone.

await() {
    pid=$1
    what=$2
    shift 2
    tries=0

    until "$@" > /dev/null 2>&1; do
        kill -0 "$pid" 2> /dev/null || die "$what did not start"
        tries=$((tries + 1))
        [ $tries -lt 200 ] || die "$what did not start in 10 seconds"
        sleep 0.05
    done
}


# Can we listen there?

free() {
    perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(
        Listen => 1, LocalPort => shift, ReuseAddr => 1)' "$1"
}

connects() {
    perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(
        PeerAddr => "127.0.0.1", PeerPort => shift)' "$1"
}


if [ -n "${PORT:-}" ]; then
    free "$PORT" || die "something listens on port $PORT: set PORT= to another"

else
    PORT=8080

    until free $PORT; do
        PORT=$((PORT + 1))
    done
fi


if [ -z "${REDIS:-}" ]; then
    REDIS=unix:$dir/redis.sock

    "$(find_redis)" --port 0 --unixsocket "$dir/redis.sock" \
        --save '' --appendonly no --dir "$dir" --maxmemory 256mb \
        --maxmemory-policy allkeys-lru > "$dir/redis.log" 2>&1 &
    started $!

    await $! redis-server test -S "$dir/redis.sock"
fi


show=

if [ -z "${UPSTREAM:-}" ]; then
    show=yes

    perl "$root/example/api.pl" "$dir/api.port" &
    started $!

    await $! "the example API" test -s "$dir/api.port"

    UPSTREAM=http://127.0.0.1:$(cat "$dir/api.port")
fi

UPSTREAM=${UPSTREAM%/}


user=

if [ "$(id -u)" = 0 ]; then
    # the folder and the sockets in it are for us alone
    user='user root;'
fi

# fill NAME VALUE ...

fill() {
    set -- "$@" ''

    while [ -n "$1" ]; do
        value=$(printf '%s' "$2" | sed 's/[\\&|]/\\&/g')
        printf 's|@%s@|%s|\n' "$1" "$value"
        shift 2
    done > "$dir/fill.sed"

    # the Redis URL may have a password
    (umask 077 && sed -f "$dir/fill.sed" "$root/example/nginx.conf.in" \
        > "$dir/nginx.conf")
}

fill MODULE "$build/$module.so" DIR "$dir" USER "$user" PORT "$PORT" \
    REDIS "$REDIS" UPSTREAM "$UPSTREAM"

: > "$dir/access.log"

"$nginx" -p "$dir" -e stderr -c "$dir/nginx.conf" &
server=$!
started $server

await $server nginx connects "$PORT"


if [ -n "$show" ]; then
    perl "$root/example/show.pl" "$PORT"

    say
    say "Try it:"
    say
    say "    curl -i http://localhost:$PORT/api/products"
    say "    curl -i 'http://localhost:$PORT/api/search?q=mirror'"
    say "    curl -i -b user=ann http://localhost:$PORT/api/me"

else
    say
    say "nginx on port $PORT is before $UPSTREAM. Try it:"
    say
    say "    curl -i http://localhost:$PORT/"
fi

case $REDIS in
unix:*)
    say "    redis-cli -s ${REDIS#unix:} --scan"
    ;;
*)
    url=$(printf '%s' "$REDIS" | sed 's|//[^@/]*@|//...@|')
    say "    redis-cli -u '$url' --scan --pattern 'demo:*'"
    ;;
esac

say
say "X-Cache says what the cache did, X-Cache-Reason why. The configuration"
say "is made from example/nginx.conf.in."

[ -z "${RUN_ONCE:-}" ] || exit 0

say "Requests are shown below; Ctrl-C ends all of it."
say

tail -n 0 -f "$dir/access.log" &
started $!

wait $server || die "nginx ended"
