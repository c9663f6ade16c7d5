
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_lost.h"


#define NGX_HTTP_RCACHE_LOST_PLACES_MAX  4096


ngx_http_rcache_lost_sh_t *
ngx_http_rcache_lost_create(ngx_slab_pool_t *pool, size_t size)
{
    ngx_uint_t                  n;
    ngx_http_rcache_lost_sh_t  *sh;

    n = 8;

    while (n * 2 * sizeof(ngx_http_rcache_lost_place_t) <= size
           && n < NGX_HTTP_RCACHE_LOST_PLACES_MAX)
    {
        n *= 2;
    }

    sh = ngx_slab_calloc(pool, sizeof(ngx_http_rcache_lost_sh_t)
                               + (n - 1)
                                 * sizeof(ngx_http_rcache_lost_place_t));
    if (sh == NULL) {
        return NULL;
    }

    sh->mask = n - 1;

    return sh;
}


void
ngx_http_rcache_lost_mark(ngx_http_rcache_lost_sh_t *sh, ngx_shmtx_t *mutex,
    uint64_t hash, ngx_msec_t until)
{
    ngx_http_rcache_lost_place_t  *place;

    place = &sh->place[hash & sh->mask];

    ngx_shmtx_lock(mutex);

    if (place->n && (ngx_msec_int_t) (place->time - ngx_current_msec) <= 0) {

        /* of a worker that died */

        sh->n -= place->n;
        place->n = 0;
    }

    if (place->n == 0 || (ngx_msec_int_t) (until - place->time) > 0) {
        place->time = until;
    }

    place->n++;
    sh->n++;

    ngx_shmtx_unlock(mutex);
}


void
ngx_http_rcache_lost_unmark(ngx_http_rcache_lost_sh_t *sh, ngx_shmtx_t *mutex,
    uint64_t hash, ngx_msec_t now)
{
    ngx_http_rcache_lost_place_t  *place;

    place = &sh->place[hash & sh->mask];

    ngx_shmtx_lock(mutex);

    if (place->n) {
        place->n--;
        sh->n--;

        if (place->n == 0) {
            place->time = now;
            sh->time = now;
        }
    }

    ngx_shmtx_unlock(mutex);
}


ngx_uint_t
ngx_http_rcache_lost_marked(ngx_http_rcache_lost_sh_t *sh, uint64_t hash,
    ngx_msec_t asked)
{
    ngx_http_rcache_lost_place_t  *place;

    place = &sh->place[hash & sh->mask];

    if (place->n) {
        return (ngx_msec_int_t) (place->time - ngx_current_msec) > 0;
    }

    return place->time && (ngx_msec_int_t) (place->time - asked) >= 0;
}
