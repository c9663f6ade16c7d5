
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_stale.h"

#define XXH_INLINE_ALL
#include <xxhash.h>


/* bits behind the point of what rcache_minus_ln() returns */

#define RCACHE_LN_BITS    16

/* ln(2) in these */

#define RCACHE_LN_2       45426

/* no less than -ln(U) for any U of 64 bits: 64 * ln(2) is 44.4 */

#define RCACHE_LN_MAX     45

/* of fetch * beta, microseconds; 12 days, far from overflow */

#define RCACHE_FETCH_MAX  ((uint64_t) 1 << 40)


static uint64_t rcache_minus_ln(uint64_t u);


unsigned
rcache_entry_stale(const rcache_entry_t *e, int64_t now)
{
    unsigned  use;

    if (rcache_entry_fresh(e, now)) {
        return 0;
    }

    /* a marker is no response */

    if (e->flags & (RCACHE_ENTRY_NO_CACHE | RCACHE_ENTRY_VARY)) {
        return 0;
    }

    /*
     * RFC 9111, 5.2.2.2 and 5.2.2.8, are the word of the origin on just this.
     * What s-maxage implies, 5.2.2.10, is not: a window next to it, or the
     * operator, may say otherwise.
     */

    if ((e->flags & RCACHE_ENTRY_MUST_REVALIDATE)
        && !(e->flags & RCACHE_ENTRY_S_MAXAGE))
    {
        return 0;
    }

    use = RCACHE_STALE_CONFIG;

    /* RFC 5861, 3 */

    if (rcache_entry_within(e, e->stale_while_revalidate, now)) {
        use |= RCACHE_STALE_UPDATING;
    }

    /* RFC 5861, 4 */

    if (rcache_entry_within(e, e->stale_if_error, now)) {
        use |= RCACHE_STALE_ERROR;
    }

    return use;
}


/*
 * XFetch, from A. Vattani, F. Chierichetti, K. Lowenstein: Optimal
 * Probabilistic Cache Stampede Prevention, PVLDB 8(8), 2015: refresh if
 * now - fetch * beta * ln(U) >= expiry, for U uniform in (0, 1].  The longer
 * a fetch takes, and the more requests there are, the earlier it begins; an
 * entry that nobody asks for is not fetched at all.
 */

int
rcache_entry_early(const rcache_entry_t *e, int64_t now, uint32_t beta,
    uint64_t random)
{
    int64_t   left;
    uint64_t  gap, mean;

    /* milliseconds and thousandths: microseconds */

    mean = (uint64_t) e->fetch * beta;

    if (mean == 0 || !rcache_entry_fresh(e, now)) {
        return 0;
    }

    if (mean > RCACHE_FETCH_MAX) {
        mean = RCACHE_FETCH_MAX;
    }

    left = -rcache_entry_staleness(e, now);

    /* nearly every hit ends here */

    if ((int64_t) (mean * RCACHE_LN_MAX / 1000) < left) {
        return 0;
    }

    gap = (mean * rcache_minus_ln(random) >> RCACHE_LN_BITS) / 1000;

    return (int64_t) gap >= left;
}


/*
 * -ln(u / 2^64) as a fixed-point number.  The position of the highest bit is
 * the whole part of the binary logarithm; the bits behind the point come one
 * by one: the number is squared, and if it is 2 or more then, the bit is 1.
 */

static uint64_t
rcache_minus_ln(uint64_t u)
{
    unsigned  i;
    uint64_t  m, log2;

    /* U is never 0 */

    u += (u == 0);
    log2 = 63;

    while (!(u >> 63)) {
        u <<= 1;
        log2--;
    }

    /* from 1 to 2, with 31 bits behind the point */

    m = u >> 32;

    for (i = 0; i < RCACHE_LN_BITS; i++) {
        m = m * m >> 31;
        log2 <<= 1;

        if (m >> 32) {
            m >>= 1;
            log2 |= 1;
        }
    }

    return (((uint64_t) 64 << RCACHE_LN_BITS) - log2) * RCACHE_LN_2
           >> RCACHE_LN_BITS;
}


int64_t
rcache_jitter(int64_t lifetime, uint32_t jitter, const rcache_str_t *key,
    int64_t created)
{
    uint64_t  most;

    if (lifetime <= 0 || jitter == 0) {
        return lifetime;
    }

    if (jitter > RCACHE_JITTER_MAX) {
        jitter = RCACHE_JITTER_MAX;
    }

    /* in two parts, so that no product overflows */

    most = (uint64_t) lifetime / 1000 * jitter
           + (uint64_t) lifetime % 1000 * jitter / 1000;

    return lifetime - (int64_t) (XXH3_64bits_withSeed(key->data, key->len,
                                                      (uint64_t) created)
                                 % (most + 1));
}
