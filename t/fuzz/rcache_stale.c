
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the entry's time, lifetime and the clock, a random number, 8
 * bytes each, its time of fetch, both windows, beta and jitter, 4 each, its
 * flags, 2, and the key.
 *
 * Stale is what is not fresh, and what must not be used stale never is, not
 * even a second later; early is only what is fresh, and at its end all the
 * more; jitter only shortens.
 */


#include "fuzz.h"

#include "rcache_stale.h"


#define FORBIDDEN  (RCACHE_ENTRY_NO_CACHE | RCACHE_ENTRY_VARY)


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int              strict;
    u_char          *p;
    int64_t          now, n;
    uint32_t         beta, jitter;
    uint64_t         random;
    unsigned         use, later;
    rcache_str_t     key;
    rcache_entry_t   e;

    memset(&e, 0, sizeof(e));

    /* no entry has a negative time */

    e.created = fuzz_int(&data, &size, 8) & INT64_MAX;
    e.lifetime = fuzz_int(&data, &size, 8);
    now = fuzz_int(&data, &size, 8);
    random = (uint64_t) fuzz_int(&data, &size, 8);
    e.fetch = (uint32_t) fuzz_int(&data, &size, 4);
    e.stale_while_revalidate = (uint32_t) fuzz_int(&data, &size, 4);
    e.stale_if_error = (uint32_t) fuzz_int(&data, &size, 4);
    beta = (uint32_t) fuzz_int(&data, &size, 4);
    jitter = (uint32_t) fuzz_int(&data, &size, 4);
    e.flags = (uint32_t) fuzz_int(&data, &size, 2);

    /* most of them near to each other */

    if (e.flags & 0x8000) {
        e.created = 1700000000000;
        e.lifetime %= 100000;
        now = e.created + now % 200000;
        e.stale_while_revalidate %= 100;
        e.stale_if_error %= 100;
        jitter %= 1100;
    }

    p = fuzz_copy(data, size);

    key.data = p;
    key.len = size;

    strict = (e.flags & RCACHE_ENTRY_MUST_REVALIDATE)
             && !(e.flags & RCACHE_ENTRY_S_MAXAGE);

    use = rcache_entry_stale(&e, now);

    if (rcache_entry_fresh(&e, now)) {
        fuzz_assert(use == 0);

    } else if (strict || (e.flags & FORBIDDEN)) {
        fuzz_assert(use == 0);
        fuzz_assert(now == INT64_MAX
                    || rcache_entry_stale(&e, now + 1) == 0);

    } else {
        fuzz_assert(use & RCACHE_STALE_CONFIG);
        fuzz_assert(!(use & RCACHE_STALE_UPDATING)
                    || rcache_entry_staleness(&e, now)
                       < (int64_t) e.stale_while_revalidate * 1000);
        fuzz_assert(!(use & RCACHE_STALE_ERROR)
                    || rcache_entry_staleness(&e, now)
                       < (int64_t) e.stale_if_error * 1000);
        fuzz_assert(e.stale_while_revalidate > e.stale_if_error
                    || !(use & RCACHE_STALE_UPDATING)
                    || (use & RCACHE_STALE_ERROR));

        /* a window that is closed stays closed */

        if (now >= e.created && now < INT64_MAX) {
            later = rcache_entry_stale(&e, now + 1);
            fuzz_assert((later & ~use) == 0);
        }
    }

    if (rcache_entry_early(&e, now, beta, random)) {
        fuzz_assert(rcache_entry_fresh(&e, now));
        fuzz_assert(e.fetch != 0 && beta != 0);

        /* the lower U, the longer the fetch, the nearer the end */

        fuzz_assert(rcache_entry_early(&e, now, beta, random / 2));
        fuzz_assert(rcache_entry_early(&e, now, beta, 0));
        fuzz_assert(beta == UINT32_MAX
                    || rcache_entry_early(&e, now, beta + 1, random));

        if (now < INT64_MAX && rcache_entry_fresh(&e, now + 1)) {
            fuzz_assert(rcache_entry_early(&e, now + 1, beta, random));
        }
    }

    n = rcache_jitter(e.lifetime, jitter, &key, e.created);

    fuzz_assert(n == rcache_jitter(e.lifetime, jitter, &key, e.created));
    fuzz_assert(n <= e.lifetime && (n > 0 || e.lifetime <= 0));
    fuzz_assert(n == e.lifetime || (jitter && e.lifetime > 0));

    if (jitter < RCACHE_JITTER_MAX && e.lifetime > 0) {
        fuzz_assert(e.lifetime - n <= e.lifetime / 1000 * jitter
                                      + e.lifetime % 1000 * jitter / 1000);
    }

    free(p);

    return 0;
}
