
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_stats.h"


/* room that is kept for labels that are configured later, if it is there */

#define NGX_HTTP_RCACHE_LABELS_SPARE  4

/* of memory that has counters: no two versions with other ones have the same */

#define NGX_HTTP_RCACHE_STATS_LAYOUT                                          \
    (1                                                                        \
     | (sizeof(ngx_http_rcache_stats_label_t) << 4)                           \
     | (sizeof(ngx_http_rcache_stats_zone_t) << 18))


static size_t ngx_http_rcache_stats_size(ngx_uint_t labels, ngx_uint_t top);
static void ngx_http_rcache_stats_take(ngx_http_rcache_stats_t *stats,
    ngx_slab_pool_t *pool);
static ngx_uint_t ngx_http_rcache_stats_alive(ngx_atomic_uint_t pid);


ngx_http_rcache_stats_sh_t *
ngx_http_rcache_stats_create(ngx_slab_pool_t *pool, ngx_uint_t labels,
    ngx_uint_t blocks, ngx_uint_t top, size_t limit, size_t *need)
{
    size_t                         size;
    ngx_uint_t                     i, n;
    ngx_http_rcache_stats_sh_t    *sh;
    ngx_http_rcache_stats_zone_t  *zone;

    labels++;

    *need = ngx_http_rcache_stats_size(labels, top);

    if (*need > limit) {
        return NULL;
    }

    if (labels < 1 + NGX_HTTP_RCACHE_LABELS_SPARE
        && ngx_http_rcache_stats_size(1 + NGX_HTTP_RCACHE_LABELS_SPARE, top)
           <= limit / 2)
    {
        labels = 1 + NGX_HTTP_RCACHE_LABELS_SPARE;
    }

    size = ngx_http_rcache_stats_size(labels, top);

    n = ngx_min(limit / size, 1 + blocks);

    sh = ngx_slab_calloc(pool, sizeof(ngx_http_rcache_stats_sh_t)
                               + labels * sizeof(ngx_http_rcache_label_t));
    if (sh == NULL) {
        return NULL;
    }

    for ( /* void */ ; n; n--) {
        sh->blocks = ngx_slab_calloc(pool, n * size);

        if (sh->blocks) {
            break;
        }
    }

    if (n == 0) {
        ngx_slab_free(pool, sh);
        return NULL;
    }

    sh->label = (ngx_http_rcache_label_t *) (sh + 1);
    sh->label[0].len = sizeof("default") - 1;
    ngx_memcpy(sh->label[0].data, "default", sizeof("default") - 1);

    sh->layout = NGX_HTTP_RCACHE_STATS_LAYOUT;
    sh->since = ngx_time();
    sh->size = size;
    sh->nblocks = n;
    sh->max = labels;
    sh->nlabels = 1;
    sh->top = top;
    sh->sketch = ngx_http_rcache_stats_size(labels, 0);

    for (i = 0; top && i < n; i++) {
        zone = ngx_http_rcache_stats_block(sh, i);

        rcache_sketch_init(ngx_http_rcache_stats_sketch(sh, zone, 0), top);
        rcache_sketch_init(ngx_http_rcache_stats_sketch(sh, zone, 1), top);
    }

    return sh;
}


/* of a block with so many labels, in whole cache lines */

static size_t
ngx_http_rcache_stats_size(ngx_uint_t labels, ngx_uint_t top)
{
    return ngx_align(sizeof(ngx_http_rcache_stats_zone_t)
                     + labels * sizeof(ngx_http_rcache_stats_label_t), 64)
           + (top ? ngx_align(2 * rcache_sketch_size(top), 64) : 0);
}


ngx_uint_t
ngx_http_rcache_stats_valid(ngx_http_rcache_stats_sh_t *sh)
{
    return sh && sh->layout == NGX_HTTP_RCACHE_STATS_LAYOUT;
}


ngx_http_rcache_stats_t *
ngx_http_rcache_stats_init_process(ngx_cycle_t *cycle,
    ngx_http_rcache_stats_sh_t *sh, ngx_slab_pool_t *pool)
{
    ngx_http_rcache_stats_t  *stats;

    stats = ngx_pcalloc(cycle->pool, sizeof(ngx_http_rcache_stats_t));
    if (stats == NULL) {
        return NULL;
    }

    stats->sh = sh;
    stats->shared = 1;
    stats->zone = ngx_http_rcache_stats_block(sh, 0);

    /* the others, such as the cache manager, count nothing */

    if (ngx_process == NGX_PROCESS_WORKER
        || ngx_process == NGX_PROCESS_SINGLE)
    {
        ngx_http_rcache_stats_take(stats, pool);
    }

    return stats;
}


static void
ngx_http_rcache_stats_take(ngx_http_rcache_stats_t *stats,
    ngx_slab_pool_t *pool)
{
    ngx_uint_t                     i;
    ngx_http_rcache_stats_zone_t  *zone;

    ngx_shmtx_lock(&pool->mutex);

    for (i = 1; i < stats->sh->nblocks; i++) {
        zone = ngx_http_rcache_stats_block(stats->sh, i);

        if (!ngx_http_rcache_stats_alive(zone->pid)) {
            ngx_memzero((void *) zone->gauge, sizeof(zone->gauge));
            zone->pid = ngx_pid;

            stats->zone = zone;
            stats->shared = 0;

            if (stats->sh->top) {
                stats->hot = ngx_http_rcache_stats_sketch(stats->sh, zone, 0);
                stats->missed = ngx_http_rcache_stats_sketch(stats->sh, zone,
                                                             1);
            }

            break;
        }
    }

    ngx_shmtx_unlock(&pool->mutex);
}


static ngx_uint_t
ngx_http_rcache_stats_alive(ngx_atomic_uint_t pid)
{
    if (pid == 0) {
        return 0;
    }

    return kill((ngx_pid_t) pid, 0) != -1 || ngx_errno != ESRCH;
}


ngx_uint_t
ngx_http_rcache_stats_label(ngx_http_rcache_stats_sh_t *sh,
    ngx_slab_pool_t *pool, ngx_str_t *name)
{
    ngx_uint_t                i, n;
    ngx_http_rcache_label_t  *label;

    ngx_shmtx_lock(&pool->mutex);

    n = sh->nlabels;

    for (i = 0; i < n; i++) {
        label = &sh->label[i];

        if (label->len == name->len
            && ngx_memcmp(label->data, name->data, name->len) == 0)
        {
            break;
        }
    }

    if (i == n) {

        if (n == sh->max || name->len > NGX_HTTP_RCACHE_LABEL_LEN) {
            i = 0;

        } else {
            label = &sh->label[n];

            ngx_memcpy(label->data, name->data, name->len);
            label->len = name->len;

            ngx_memory_barrier();

            sh->nlabels = n + 1;
        }
    }

    ngx_shmtx_unlock(&pool->mutex);

    return i;
}


void
ngx_http_rcache_stats_sum_zone(ngx_http_rcache_stats_sh_t *sh,
    ngx_http_rcache_stats_zone_t *sum)
{
    ngx_uint_t                     i, n;
    ngx_http_rcache_stats_zone_t  *zone;

    ngx_memzero(sum, sizeof(ngx_http_rcache_stats_zone_t));

    for (n = 0; n < sh->nblocks; n++) {
        zone = ngx_http_rcache_stats_block(sh, n);

        for (i = 0; i < RCACHE_COUNT_ZONE_N; i++) {
            sum->counter[i] += zone->counter[i];
        }

        for (i = 0; i < RCACHE_TIME_ZONE_N; i++) {
            rcache_histogram_add(&sum->time[i], &zone->time[i]);
        }

        if (!ngx_http_rcache_stats_alive(zone->pid)) {
            continue;
        }

        sum->pid++;

        for (i = 0; i < RCACHE_GAUGE_N; i++) {
            sum->gauge[i] += zone->gauge[i];
        }
    }
}


void
ngx_http_rcache_stats_sum_label(ngx_http_rcache_stats_sh_t *sh,
    ngx_uint_t label, ngx_http_rcache_stats_label_t *sum)
{
    ngx_uint_t                      i, n;
    ngx_http_rcache_stats_zone_t   *zone;
    ngx_http_rcache_stats_label_t  *from;

    ngx_memzero(sum, sizeof(ngx_http_rcache_stats_label_t));

    for (n = 0; n < sh->nblocks; n++) {
        zone = ngx_http_rcache_stats_block(sh, n);
        from = &ngx_http_rcache_stats_labels(zone)[label];

        for (i = 0; i < RCACHE_COUNT_LABEL_N; i++) {
            sum->counter[i] += from->counter[i];
        }

        for (i = 0; i < RCACHE_TIME_LABEL_N; i++) {
            rcache_histogram_add(&sum->time[i], &from->time[i]);
        }
    }
}


void
ngx_http_rcache_stats_sum_keys(ngx_http_rcache_stats_sh_t *sh,
    ngx_uint_t missed, rcache_sketch_sum_t *sum)
{
    ngx_uint_t  n;

    for (n = 1; n < sh->nblocks; n++) {
        rcache_sketch_add(sum,
                   ngx_http_rcache_stats_sketch(sh,
                                       ngx_http_rcache_stats_block(sh, n),
                                       missed));
    }
}
