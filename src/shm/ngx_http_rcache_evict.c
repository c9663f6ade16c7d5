
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_evict.h"


/* clocks differ, and a store takes its time */

#define NGX_HTTP_RCACHE_EVICT_SLACK  2

#define NGX_HTTP_RCACHE_EVICT_TIME   0xffffffff


ngx_http_rcache_evict_t *
ngx_http_rcache_evict_create(ngx_slab_pool_t *pool, size_t size)
{
    ngx_uint_t                n;
    ngx_http_rcache_evict_t  *evict;

    n = 32;

    while (n * 2 * sizeof(ngx_http_rcache_evict_place_t) <= size) {
        n *= 2;
    }

    evict = ngx_slab_calloc(pool, sizeof(ngx_http_rcache_evict_t)
                                  + (n - 1)
                                    * sizeof(ngx_http_rcache_evict_place_t));
    if (evict == NULL) {
        return NULL;
    }

    evict->mask = n - 1;

    return evict;
}


void
ngx_http_rcache_evict_expect(ngx_http_rcache_evict_t *evict,
    uint64_t hash, int64_t ttl, uint64_t since)
{
    uint64_t                        tag;
    ngx_http_rcache_evict_place_t  *place;

    place = &evict->place[hash & evict->mask];
    tag = hash & ~(uint64_t) NGX_HTTP_RCACHE_EVICT_TIME;

    ttl /= 1000;

    if (ttl <= NGX_HTTP_RCACHE_EVICT_SLACK) {

        if ((place->word & ~(uint64_t) NGX_HTTP_RCACHE_EVICT_TIME) == tag) {
            place->word = 0;
        }

        return;
    }

    ttl += ngx_time() - NGX_HTTP_RCACHE_EVICT_SLACK;

    place->since = since;
    place->word = tag | ngx_min((uint64_t) ttl,
                                (uint64_t) NGX_HTTP_RCACHE_EVICT_TIME);
}


ngx_uint_t
ngx_http_rcache_evicted(ngx_http_rcache_evict_t *evict, uint64_t hash,
    uint64_t asked)
{
    uint64_t                        word;
    ngx_http_rcache_evict_place_t  *place;

    place = &evict->place[hash & evict->mask];
    word = place->word;

    if (word == 0
        || ((word ^ hash) & ~(uint64_t) NGX_HTTP_RCACHE_EVICT_TIME)
        || place->since >= asked)
    {
        return 0;
    }

    place->word = 0;

    return (word & NGX_HTTP_RCACHE_EVICT_TIME) > (uint64_t) ngx_time();
}
