
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_sum.h"


#if (RCACHE_SUM_AVX2)

#include <immintrin.h>

/* the rest of this file, and nothing above it */

#ifdef __clang__
#pragma clang attribute push (__attribute__((target("avx2"))),                \
                              apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#define XXH_INLINE_ALL
#define XXH_VECTOR  2                       /* XXH_AVX2 */

#include <xxhash.h>


uint64_t
rcache_sum_avx2(const u_char *p, size_t len)
{
    return XXH3_64bits(p, len);
}


void
rcache_sum_avx2_add(void *state, const u_char *p, size_t len)
{
    (void) XXH3_64bits_update(state, p, len);
}


#ifdef __clang__
#pragma clang attribute pop
#endif

#else

/* ISO C wants something in every file */

typedef int  rcache_sum_avx2_t;

#endif
