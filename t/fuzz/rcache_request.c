
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the entry's time, lifetime and the clock, 8 bytes each, its
 * age, 4, its flags, 2, and lines of Cache-Control.
 *
 * A stale entry is never taken for a fresh one, nor used where that is
 * forbidden; and without a say a client changes nothing.
 */


#include "fuzz.h"

#include "rcache_request.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                fresh;
    u_char            *p, *pos, *nl;
    size_t             left;
    int64_t            now;
    rcache_str_t       name, value;
    rcache_use_e       use;
    rcache_entry_t     e;
    rcache_request_t   req;

    memset(&e, 0, sizeof(e));

    e.created = fuzz_int(&data, &size, 8);
    e.lifetime = fuzz_int(&data, &size, 8);
    now = fuzz_int(&data, &size, 8);
    e.age = (uint32_t) fuzz_int(&data, &size, 4);
    e.flags = (uint32_t) fuzz_int(&data, &size, 2);

    /* most of them near to each other */

    if (e.flags & 0x8000) {
        e.created = 1700000000000;
        e.lifetime %= 100000;
        now = e.created + now % 200000;
    }

    p = fuzz_copy(data, size);

    rcache_request_init(&req);

    name.data = (u_char *) "Cache-Control";
    name.len = sizeof("Cache-Control") - 1;

    for (pos = p, left = size; left; /* void */ ) {
        nl = memchr(pos, '\n', left);

        value.data = pos;
        value.len = nl ? (size_t) (nl - pos) : left;

        rcache_request_header(&req, &name, &value);

        if (nl == NULL) {
            break;
        }

        left -= value.len + 1;
        pos = nl + 1;
    }

    fresh = rcache_entry_fresh(&e, now);

    use = rcache_request_use(&req, &e, now, 0);

    fuzz_assert(use == ((fresh && !(e.flags & RCACHE_ENTRY_NO_CACHE))
                        ? RCACHE_USE_FRESH : RCACHE_USE_EXPIRED));

    use = rcache_request_use(&req, &e, now, 1);

    switch (use) {

    case RCACHE_USE_FRESH:
    case RCACHE_USE_FORCED:
        fuzz_assert(fresh && !(e.flags & RCACHE_ENTRY_NO_CACHE));
        fuzz_assert((use == RCACHE_USE_FORCED)
                    || !rcache_request_forces(&req));
        break;

    case RCACHE_USE_STALE:
        fuzz_assert(!fresh && req.cc.max_stale != -1);
        fuzz_assert(!(e.flags & (RCACHE_ENTRY_NO_CACHE
                                 | RCACHE_ENTRY_MUST_REVALIDATE)));
        break;

    default:
        fuzz_assert(!fresh || (e.flags & RCACHE_ENTRY_NO_CACHE));
        break;
    }

    free(p);

    return 0;
}
