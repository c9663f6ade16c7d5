
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* The entrance: operations are bounded, and given to the lane of a node. */


#include "ngx_http_rcache_conn.h"


static void ngx_http_rcache_redis_cleanup(void *data);


ngx_http_rcache_redis_t *
ngx_http_rcache_redis_create(ngx_cycle_t *cycle,
    ngx_http_rcache_redis_conf_t *rcf)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_rcache_node_t   *node;
    ngx_http_rcache_redis_t  *redis;

    redis = ngx_pcalloc(cycle->pool, sizeof(ngx_http_rcache_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = rcf;
    redis->log = cycle->log;
    redis->password = rcf->password;

    node = &redis->node;

    node->name = rcf->url;
    node->host = rcf->host;
    node->port = rcf->port;
    node->addrs = rcf->addrs;
    node->naddrs = rcf->naddrs;

    ngx_http_rcache_node_init(redis, node);

    ngx_http_rcache_conn_init(&redis->push.conn, node);
    ngx_http_rcache_push_init(&redis->push);

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_rcache_redis_cleanup;
    cln->data = redis;

    return redis;
}


/* a fast shutdown leaves connections to the kernel; the reader is malloc()ed */

static void
ngx_http_rcache_redis_cleanup(void *data)
{
    ngx_http_rcache_redis_t *redis = data;

    ngx_http_rcache_node_cleanup(&redis->node);
    ngx_http_rcache_push_cleanup(&redis->push);

    if (redis->password_buf) {
        ngx_explicit_memzero(redis->password_buf, redis->password.len);
    }
}


ngx_int_t
ngx_http_rcache_op_submit(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_op_t *op)
{
    ngx_http_rcache_conn_t  *conn;

    conn = &redis->node.lanes[op->lane];

    if (conn->nops >= redis->conf->queue
        || conn->unsent + op->size > NGX_HTTP_RCACHE_UNSENT_MAX)
    {
        op->status = NGX_HTTP_RCACHE_OP_BUSY;
        return NGX_DECLINED;
    }

    if (ngx_http_rcache_node_available(&redis->node, conn) != NGX_OK) {
        op->status = NGX_HTTP_RCACHE_OP_DOWN;
        return NGX_DECLINED;
    }

    op->status = NGX_HTTP_RCACHE_OP_REPLY;

    conn->nops++;
    conn->unsent += op->size;

    /* once the worker exits, what was accepted keeps it alive */

    conn->timer.cancelable = !ngx_exiting;

    if (conn->state != NGX_HTTP_RCACHE_CONN_READY) {

        if (conn->state == NGX_HTTP_RCACHE_CONN_RESOLVING) {

            /* there is no connection yet that would be told of the exit */

            conn->timer.cancelable = 0;
        }

        ngx_queue_insert_tail(&conn->waiting, &op->queue);

        return NGX_OK;
    }

    /*
     * The timer is left running when the queue empties, so this is a search
     * tree's work once a timeout and not once an operation.
     */

    op->deadline = ngx_current_msec + redis->conf->timeout;

    if (!conn->timer.timer_set) {
        ngx_add_timer(&conn->timer, redis->conf->timeout);
    }

    ngx_http_rcache_conn_queue(conn, op);

    return NGX_OK;
}


void
ngx_http_rcache_redis_flush(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_lane_e lane)
{
    ngx_http_rcache_conn_t  *conn;

    conn = &redis->node.lanes[lane];

    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
        ngx_http_rcache_conn_flush_handler(&conn->flush);
    }
}
