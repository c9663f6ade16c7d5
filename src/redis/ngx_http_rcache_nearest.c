
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_replica.h"


/* milliseconds, less up to a quarter; a replica is asked for its role by it */
#define NGX_HTTP_RCACHE_NEAREST_ROUND  1000

/*
 * Servers are as near as the nearest one if they take up to a fifth longer, or
 * so many microseconds; one that is read from is left when it is twice that, so
 * that servers do not come and go.
 */
#define NGX_HTTP_RCACHE_NEAREST_BAND   200

/* microseconds: whoever takes longer is far off */
#define NGX_HTTP_RCACHE_NEAREST_MAX    60000000


static void ngx_http_rcache_nearest_measure(ngx_http_rcache_node_t *node);
static void ngx_http_rcache_nearest_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_nearest_add(ngx_http_rcache_node_t *node,
    uint64_t took);
static ngx_uint_t ngx_http_rcache_nearest_usable(ngx_http_rcache_node_t *node);
static uint32_t ngx_http_rcache_nearest_took(ngx_http_rcache_node_t *node);
static ngx_uint_t ngx_http_rcache_nearest_near(ngx_http_rcache_node_t *node,
    uint32_t least);
static uint64_t ngx_http_rcache_nearest_clock(void);


ngx_int_t
ngx_http_rcache_nearest_submit(ngx_http_rcache_node_t **nodes, ngx_uint_t n,
    ngx_uint_t slot, ngx_http_rcache_op_t *op)
{
    uint32_t                 took, least;
    ngx_uint_t               i;
    ngx_http_rcache_node_t  *node, *master;

    master = nodes[0];

    if ((ngx_msec_int_t) (ngx_current_msec - master->nearest.due) >= 0) {
        master->nearest.due = ngx_current_msec + NGX_HTTP_RCACHE_NEAREST_ROUND
                              - (ngx_msec_t) ngx_random()
                                % (NGX_HTTP_RCACHE_NEAREST_ROUND / 4);

        for (i = 0; i < n; i++) {
            ngx_http_rcache_nearest_measure(nodes[i]);
        }
    }

    if (op->nomaster) {
        nodes++;
        n--;
    }

    least = 0;

    for (i = 0; i < n; i++) {
        node = nodes[i];

        if (!ngx_http_rcache_nearest_usable(node)) {

            /* one lookup is let through to see; misses see to the master */

            if (node->breaker.sh->open
                && node != master
                && (ngx_msec_int_t) (ngx_current_msec
                                     - node->breaker.sh->retry) >= 0
                && ngx_http_rcache_replica_try(node, op) == NGX_OK)
            {
                return NGX_OK;
            }

            continue;
        }

        took = ngx_http_rcache_nearest_took(node);

        if (took && (least == 0 || took < least)) {
            least = took;
        }
    }

    if (least == 0
        && !op->nomaster
        && ngx_http_rcache_nearest_usable(master))
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < n; i++) {
        node = nodes[(slot + i) % n];

        if (!ngx_http_rcache_nearest_usable(node)
            || !ngx_http_rcache_nearest_near(node, least))
        {
            continue;
        }

        if (node == master) {
            return NGX_DECLINED;
        }

        if (ngx_http_rcache_replica_try(node, op) == NGX_OK) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static void
ngx_http_rcache_nearest_measure(ngx_http_rcache_node_t *node)
{
    uint64_t                 now;
    ngx_http_rcache_conn_t  *conn;

    conn = &node->lanes[NGX_HTTP_RCACHE_LANE_LOOKUP];

    if (conn->state != NGX_HTTP_RCACHE_CONN_READY) {

        if (!ngx_exiting
            && (!node->down
                || (ngx_msec_int_t) (ngx_current_msec - node->retry_at) >= 0))
        {
            ngx_http_rcache_node_probe(node);
        }

        return;
    }

    now = ngx_http_rcache_nearest_clock();

    if (node->nearest.began) {

        /* it takes that long at least */

        ngx_http_rcache_nearest_add(node, now - node->nearest.began);
        return;
    }

    if (ngx_http_rcache_replica_ask(node, ngx_http_rcache_nearest_handler)
        == NGX_OK)
    {
        node->nearest.began = now;
    }
}


static void
ngx_http_rcache_nearest_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_node_t *node = op->data;

    uint64_t  began;

    began = node->nearest.began;
    node->nearest.began = 0;

    if (reply == NULL) {
        return;
    }

    ngx_http_rcache_nearest_add(node, ngx_http_rcache_nearest_clock() - began);

    ngx_http_rcache_replica_role(node, reply);
}


/* another connection may lead to another place */

static void
ngx_http_rcache_nearest_add(ngx_http_rcache_node_t *node, uint64_t took)
{
    ngx_uint_t                  i, serial;
    ngx_http_rcache_nearest_t  *nearest;

    nearest = &node->nearest;
    serial = node->lanes[NGX_HTTP_RCACHE_LANE_LOOKUP].serial;

    if (nearest->serial != serial) {
        nearest->serial = serial;
        ngx_memzero(nearest->took, sizeof(nearest->took));
    }

    took = ngx_min(took + 1, NGX_HTTP_RCACHE_NEAREST_MAX);

    nearest->took[nearest->turn++ % NGX_HTTP_RCACHE_NEAREST_SAMPLES] =
                                                              (uint32_t) took;

    nearest->least = (uint32_t) took;

    for (i = 0; i < NGX_HTTP_RCACHE_NEAREST_SAMPLES; i++) {
        if (nearest->took[i] && nearest->took[i] < nearest->least) {
            nearest->least = nearest->took[i];
        }
    }
}


static ngx_uint_t
ngx_http_rcache_nearest_usable(ngx_http_rcache_node_t *node)
{
    return !node->down
           && !node->breaker.sh->open
           && (node->unfit == 0
               || (ngx_msec_int_t) (node->unfit - ngx_current_msec) <= 0);
}


/* 0: it is not known */

static uint32_t
ngx_http_rcache_nearest_took(ngx_http_rcache_node_t *node)
{
    if (node->nearest.serial
        != node->lanes[NGX_HTTP_RCACHE_LANE_LOOKUP].serial)
    {
        return 0;
    }

    return node->nearest.least;
}


/* as long as none is known, all are */

static ngx_uint_t
ngx_http_rcache_nearest_near(ngx_http_rcache_node_t *node, uint32_t least)
{
    uint32_t    took, band;
    ngx_uint_t  near;

    if (least == 0) {
        return 1;
    }

    took = ngx_http_rcache_nearest_took(node);

    if (took == 0) {
        return 0;
    }

    band = ngx_max(least / 5, NGX_HTTP_RCACHE_NEAREST_BAND);

    near = (took - least <= (node->nearest.near ? 2 * band : band));

    if (near != node->nearest.near) {
        node->nearest.near = near;

        ngx_log_error(NGX_LOG_INFO, node->redis->log, 0,
                      "redis \"%V\" is %s: it answers in %uDus, the nearest "
                      "in %uDus", &node->name,
                      near ? "near, it is read from" : "further off",
                      took, least);
    }

    return near;
}


static uint64_t
ngx_http_rcache_nearest_clock(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}
