
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_uses.h"


#define NGX_HTTP_RCACHE_USES_COUNT  0xffffffff


ngx_http_rcache_uses_t *
ngx_http_rcache_uses_create(ngx_slab_pool_t *pool, size_t size)
{
    ngx_uint_t               n;
    ngx_http_rcache_uses_t  *uses;

    for (n = 64; n * 2 * sizeof(ngx_atomic_t) <= size; n *= 2) { /* void */ }

    uses = ngx_slab_calloc(pool, sizeof(ngx_http_rcache_uses_t)
                                 + (n - 1) * sizeof(ngx_atomic_t));
    if (uses == NULL) {
        return NULL;
    }

    uses->mask = n - 1;

    return uses;
}


ngx_uint_t
ngx_http_rcache_uses_count(ngx_http_rcache_uses_t *uses, uint64_t hash)
{
    uint64_t       tag, old, count;
    ngx_atomic_t  *word;

    word = &uses->word[hash & uses->mask];
    tag = hash & ~(uint64_t) NGX_HTTP_RCACHE_USES_COUNT;

    old = *word;

    if (old && (old & ~(uint64_t) NGX_HTTP_RCACHE_USES_COUNT) == tag) {
        count = old & NGX_HTTP_RCACHE_USES_COUNT;

        if (count == NGX_HTTP_RCACHE_USES_COUNT) {
            return (ngx_uint_t) count;
        }

    } else {
        count = 0;
    }

    count++;

    /* another worker's count at the same instant may be lost */

    (void) ngx_atomic_cmp_set(word, (ngx_atomic_uint_t) old,
                              (ngx_atomic_uint_t) (tag | count));

    return (ngx_uint_t) count;
}
