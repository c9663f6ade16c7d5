
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_sum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>


/* up to that XXH3 has other ways, in which wide registers are of no use */

#define RCACHE_SUM_SHORT  240


uint64_t
rcache_sum(const u_char *p, size_t len)
{
#if (RCACHE_SUM_AVX2)

    if (len > RCACHE_SUM_SHORT && __builtin_cpu_supports("avx2")) {
        return rcache_sum_avx2(p, len);
    }

#endif

    return XXH3_64bits(p, len);
}


uint64_t
rcache_sum_pieces(rcache_sum_next_pt next, void *data)
{
    size_t         len, more;
    const u_char  *p, *next_p;
    XXH3_state_t   state;

    len = next(data, &p);

    if (len == 0) {
        return rcache_sum((const u_char *) "", 0);
    }

    more = next(data, &next_p);

    if (more == 0) {

        /* one piece needs no state to be carried over */

        return rcache_sum(p, len);
    }

    rcache_sum_begin(&state);
    rcache_sum_add(&state, p, len);

    while (more) {
        rcache_sum_add(&state, next_p, more);
        more = next(data, &next_p);
    }

    return rcache_sum_end(&state);
}


size_t
rcache_sum_state(void)
{
    return sizeof(XXH3_state_t);
}


void
rcache_sum_begin(void *state)
{
    (void) XXH3_64bits_reset(state);
}


void
rcache_sum_add(void *state, const u_char *p, size_t len)
{
#if (RCACHE_SUM_AVX2)

    if (len > RCACHE_SUM_SHORT && __builtin_cpu_supports("avx2")) {
        rcache_sum_avx2_add(state, p, len);
        return;
    }

#endif

    (void) XXH3_64bits_update(state, p, len);
}


uint64_t
rcache_sum_end(void *state)
{
    return XXH3_64bits_digest(state);
}
