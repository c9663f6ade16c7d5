
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_sample.h"


#define RCACHE_SAMPLE_MAX      1e18

#define rcache_sample_fade(n)  ((n) *= 0.875)


void
rcache_sample_add(rcache_sample_t *sample, uint64_t keys, uint64_t seen,
    uint64_t matched)
{
    rcache_sample_fade(sample->seen);
    rcache_sample_fade(sample->matched);

    sample->keys = (double) keys;
    sample->seen += (double) seen;
    sample->matched += (double) matched;

    /* as long as there are keys of the zone, some are weighed */

    if (matched) {
        rcache_sample_fade(sample->weighed);
        rcache_sample_fade(sample->bytes);
    }
}


void
rcache_sample_weigh(rcache_sample_t *sample, uint64_t bytes)
{
    sample->weighed += 1;
    sample->bytes += (double) bytes;
}


uint64_t
rcache_sample_total(const rcache_sample_t *sample)
{
    double  n;

    /* less than a key of the last samples is none */

    if (sample->seen < 1 || sample->matched < 0.5 || sample->weighed < 0.5) {
        return 0;
    }

    n = sample->keys * sample->matched / sample->seen * sample->bytes
        / sample->weighed;

    return (uint64_t) ((n < RCACHE_SAMPLE_MAX) ? n : RCACHE_SAMPLE_MAX);
}
