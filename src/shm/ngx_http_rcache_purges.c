
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_purges.h"


/* the share of a zone, and the least that is of use */

#define NGX_HTTP_RCACHE_PURGES_SHARE  8
#define NGX_HTTP_RCACHE_PURGES_MIN    4


static ngx_uint_t ngx_http_rcache_purges_silent(
    ngx_http_rcache_purges_t *purges, ngx_msec_int_t ms);


ngx_http_rcache_purges_t *
ngx_http_rcache_purges_create(ngx_slab_pool_t *pool, size_t size)
{
    size_t                     sets;
    ngx_http_rcache_purges_t  *purges;

    purges = ngx_slab_calloc(pool, sizeof(ngx_http_rcache_purges_t));
    if (purges == NULL) {
        return NULL;
    }

    sets = NGX_HTTP_RCACHE_PURGES_MIN;

    while (rcache_purges_size(sets * 2)
           <= size / NGX_HTTP_RCACHE_PURGES_SHARE)
    {
        sets *= 2;
    }

    purges->table = ngx_slab_alloc(pool, rcache_purges_size(sets));
    if (purges->table == NULL) {
        return NULL;
    }

    rcache_purges_init(purges->table, sets);

    purges->alive = ngx_current_msec;

    return purges;
}


/*
 * Workers of the cycle before may be reading: that it is not theirs any more
 * is to be seen first.
 */

void
ngx_http_rcache_purges_adopt(ngx_http_rcache_purges_t *purges,
    ngx_atomic_uint_t identity)
{
    ngx_uint_t  before;

    before = purges->identity;

    if (before == identity) {
        return;
    }

    purges->identity = identity;

    if (before == 0) {
        return;
    }

    ngx_memory_barrier();

    purges->synced = 0;
    purges->informed = 0;
    purges->owner = 0;
    purges->hint = 0;
    purges->count = 0;

    ngx_memzero(&purges->counted, sizeof(rcache_purge_id_t));
    ngx_memzero(&purges->walk, sizeof(ngx_http_rcache_purges_walk_t));

    rcache_purges_init(purges->table, purges->table->mask + 1);
}


/*
 * Two that follow at the same time, because one was taken for dead, do no
 * harm: what they write is the same.
 */

ngx_uint_t
ngx_http_rcache_purges_lead(ngx_http_rcache_purges_t *purges)
{
    ngx_atomic_uint_t  owner;

    owner = purges->owner;

    if (owner == (ngx_atomic_uint_t) ngx_pid) {
        return 1;
    }

    if (owner
        && !ngx_http_rcache_purges_silent(purges,
                                          NGX_HTTP_RCACHE_PURGES_ALIVE))
    {
        return 0;
    }

    return ngx_atomic_cmp_set(&purges->owner, owner,
                              (ngx_atomic_uint_t) ngx_pid);
}


void
ngx_http_rcache_purges_give_up(ngx_http_rcache_purges_t *purges)
{
    (void) ngx_atomic_cmp_set(&purges->owner, (ngx_atomic_uint_t) ngx_pid, 0);
}


ngx_uint_t
ngx_http_rcache_purges_blind(ngx_http_rcache_purges_t *purges)
{
    return !purges->synced
           || ngx_http_rcache_purges_silent(purges,
                                            NGX_HTTP_RCACHE_PURGES_ALIVE);
}


ngx_uint_t
ngx_http_rcache_purges_deaf(ngx_http_rcache_purges_t *purges)
{
    return ngx_http_rcache_purges_silent(purges,
                                         NGX_HTTP_RCACHE_PURGES_DEAF);
}


/* ngx_current_msec is monotonic, and the same for all processes */

static ngx_uint_t
ngx_http_rcache_purges_silent(ngx_http_rcache_purges_t *purges,
    ngx_msec_int_t ms)
{
    return (ngx_msec_int_t) (ngx_current_msec - purges->alive) > ms;
}
