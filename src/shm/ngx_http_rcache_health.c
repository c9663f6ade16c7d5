
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_health.h"


ngx_int_t
ngx_http_rcache_health_init(ngx_shm_zone_t *shm, void *old)
{
    ngx_slab_pool_t           *pool;
    ngx_http_rcache_health_t  *health;

    pool = (ngx_slab_pool_t *) shm->shm.addr;

    if (old || shm->shm.exists) {
        health = pool->data;

        if (health && health->layout == NGX_HTTP_RCACHE_SHM_LAYOUT) {
            return NGX_OK;
        }
    }

    /* what does not fit is a MISS, not a log line a request */
    pool->log_nomem = 0;

    health = ngx_slab_calloc(pool, sizeof(ngx_http_rcache_health_t));

    if (health) {
        health->evict = ngx_http_rcache_evict_create(pool,
                                                     shm->shm.size / 64);

        /* of a small zone both are in one page */

        health->lost = ngx_http_rcache_lost_create(pool, shm->shm.size / 64);

        /* a small zone has other things that need the room more */

        health->uses = ngx_http_rcache_uses_create(pool,
                                     (shm->shm.size < 32 * ngx_pagesize)
                                     ? shm->shm.size / 16
                                     : shm->shm.size / 4);
        health->purges = ngx_http_rcache_purges_create(pool, shm->shm.size);
        health->flights = ngx_http_rcache_flights_create(pool, shm->shm.size);
    }

    if (health == NULL || health->uses == NULL || health->purges == NULL
        || health->evict == NULL
        || health->lost == NULL
        || health->flights == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                      "zone \"%V\" is too small", &shm->shm.name);
        return NGX_ERROR;
    }

    health->layout = NGX_HTTP_RCACHE_SHM_LAYOUT;

    pool->data = health;

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_health_redis(ngx_shm_zone_t *shm, size_t size)
{
    ngx_slab_pool_t           *pool;
    ngx_http_rcache_health_t  *health;

    pool = (ngx_slab_pool_t *) shm->shm.addr;
    health = pool->data;

    if (size == 0 || health->redis_size == size) {
        return NGX_OK;
    }

    /*
     * What workers of the cycle before use stays theirs: a reload that turns
     * a cluster on or off is rare.
     */

    health->redis = ngx_slab_calloc(pool, size);

    if (health->redis == NULL) {
        health->redis_size = 0;
        ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                      "zone \"%V\" is too small, %uz bytes more are needed "
                      "for what is known of its servers",
                      &shm->shm.name, size);
        return NGX_ERROR;
    }

    health->redis_size = size;

    return NGX_OK;
}


ngx_uint_t
ngx_http_rcache_health_set(ngx_http_rcache_health_t *health,
    ngx_http_rcache_health_e what, ngx_uint_t bad)
{
    /* a plain read first: this runs for every reply */

    if (health->bad[what] == (ngx_atomic_uint_t) bad) {
        return 0;
    }

    return ngx_atomic_cmp_set(&health->bad[what], !bad, bad);
}


void
ngx_http_rcache_health_pause(ngx_http_rcache_health_t *health,
    ngx_msec_t retry)
{
    health->retry = ngx_current_msec + retry;
}


ngx_uint_t
ngx_http_rcache_health_paused(ngx_http_rcache_health_t *health)
{
    if (!health->bad[NGX_HTTP_RCACHE_HEALTH_CONNECT]) {
        return 0;
    }

    return (ngx_msec_int_t) (ngx_current_msec - health->retry) < 0;
}
