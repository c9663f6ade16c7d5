
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_histogram.h"


uint64_t
rcache_histogram_lower(unsigned n)
{
    unsigned  top;

    if (n < RCACHE_HISTOGRAM_SUB) {
        return n;
    }

    top = (n >> RCACHE_HISTOGRAM_BITS) - 1;

    return (uint64_t) (RCACHE_HISTOGRAM_SUB
                       + (n & (RCACHE_HISTOGRAM_SUB - 1)))
           << top;
}


void
rcache_histogram_add(rcache_histogram_t *to, const rcache_histogram_t *from)
{
    unsigned  i;

    to->sum += from->sum;

    for (i = 0; i < RCACHE_HISTOGRAM_N; i++) {
        to->bucket[i] += from->bucket[i];
    }
}


uint64_t
rcache_histogram_count(const rcache_histogram_t *h)
{
    return rcache_histogram_below(h, (uint64_t) 1 << RCACHE_HISTOGRAM_TOP);
}


uint64_t
rcache_histogram_below(const rcache_histogram_t *h, uint64_t usec)
{
    unsigned  i;
    uint64_t  count;

    count = 0;

    for (i = 0; i < RCACHE_HISTOGRAM_N; i++) {

        if (rcache_histogram_lower(i) >= usec) {
            break;
        }

        count += h->bucket[i];
    }

    return count;
}


uint64_t
rcache_histogram_quantile(const rcache_histogram_t *h, unsigned permille)
{
    unsigned  i;
    uint64_t  count, rank, lower;

    count = rcache_histogram_count(h);

    if (count == 0) {
        return 0;
    }

    /* of the one in whose place it is, counted from 1 */

    rank = count / 1000 * permille + (count % 1000 * permille + 999) / 1000;

    if (rank == 0) {
        rank = 1;
    }

    for (i = 0; i < RCACHE_HISTOGRAM_N - 1; i++) {

        if (h->bucket[i] >= rank) {
            break;
        }

        rank -= h->bucket[i];
    }

    lower = rcache_histogram_lower(i);

    return lower + (rcache_histogram_lower(i + 1) - lower) / 2;
}
