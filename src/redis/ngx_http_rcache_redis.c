
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The entrance: the lanes of one Redis in one worker, and what they share,
 * the verdict on the server.
 *
 * While it is down nothing is accepted, for nobody is to wait for a sick
 * server: the first submit after the back-off only starts an attempt behind
 * the scenes, and is refused as well.
 */


#include "ngx_http_rcache_conn.h"


static void ngx_http_rcache_redis_cleanup(void *data);
static void ngx_http_rcache_redis_init_lane(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_conn_t *conn);
static ngx_int_t ngx_http_rcache_redis_available(
    ngx_http_rcache_redis_t *redis, ngx_http_rcache_conn_t *conn);


ngx_http_rcache_redis_t *
ngx_http_rcache_redis_create(ngx_cycle_t *cycle,
    ngx_http_rcache_redis_conf_t *rcf)
{
    ngx_uint_t                i;
    ngx_pool_cleanup_t       *cln;
    ngx_http_rcache_redis_t  *redis;

    redis = ngx_pcalloc(cycle->pool, sizeof(ngx_http_rcache_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = rcf;
    redis->log = cycle->log;
    redis->addrs = rcf->addrs;
    redis->naddrs = rcf->naddrs;

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        ngx_http_rcache_redis_init_lane(redis, &redis->lanes[i]);
    }

    ngx_http_rcache_redis_init_lane(redis, &redis->push.conn);
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

    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        ngx_http_rcache_reader_free(&redis->lanes[i]);
    }

    ngx_http_rcache_push_cleanup(&redis->push);
}


static void
ngx_http_rcache_redis_init_lane(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_conn_t *conn)
{
    conn->redis = redis;
    conn->ident = -1;

    ngx_queue_init(&conn->waiting);
    ngx_queue_init(&conn->sending);
    ngx_queue_init(&conn->pending);

    conn->last_out = &conn->out;

    conn->timer.data = conn;
    conn->timer.log = redis->log;
    conn->timer.handler = ngx_http_rcache_conn_timer_handler;

    conn->flush.data = conn;
    conn->flush.log = redis->log;
    conn->flush.handler = ngx_http_rcache_conn_flush_handler;
}


ngx_int_t
ngx_http_rcache_op_submit(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_op_t *op)
{
    ngx_http_rcache_conn_t  *conn;

    conn = &redis->lanes[op->lane];

    if (conn->nops >= redis->conf->queue
        || conn->unsent + op->size > NGX_HTTP_RCACHE_UNSENT_MAX)
    {
        op->status = NGX_HTTP_RCACHE_OP_BUSY;
        return NGX_DECLINED;
    }

    if (ngx_http_rcache_redis_available(redis, conn) != NGX_OK) {
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

    conn = &redis->lanes[lane];

    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
        ngx_http_rcache_conn_flush_handler(&conn->flush);
    }
}


static ngx_int_t
ngx_http_rcache_redis_available(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_conn_t *conn)
{
    if (conn->state == NGX_HTTP_RCACHE_CONN_READY) {
        return NGX_OK;
    }

    if (conn->state != NGX_HTTP_RCACHE_CONN_IDLE) {
        return redis->down ? NGX_DECLINED : NGX_OK;
    }

    if (redis->down) {

        /* a worker that exits has no use for a connection later on */

        if (!ngx_exiting
            && (ngx_msec_int_t) (ngx_current_msec - redis->retry_at) >= 0)
        {
            ngx_http_rcache_conn_open(conn);
        }

        return NGX_DECLINED;
    }

    ngx_http_rcache_conn_open(conn);

    return (conn->state != NGX_HTTP_RCACHE_CONN_IDLE) ? NGX_OK : NGX_DECLINED;
}


void
ngx_http_rcache_redis_failed(ngx_http_rcache_redis_t *redis, ngx_str_t *why)
{
    ngx_msec_t  retry;

    retry = redis->retry_at - ngx_current_msec;

    /* lanes that fail together are one failure */

    if (!redis->down || (ngx_msec_int_t) retry <= 0) {

        redis->backoff = redis->backoff ? redis->backoff * 2
                                        : NGX_HTTP_RCACHE_BACKOFF_MIN;

        redis->backoff = ngx_min(redis->backoff, NGX_HTTP_RCACHE_BACKOFF_MAX);

        /* a quarter less to a quarter more: workers are not to come at once */

        retry = redis->backoff - redis->backoff / 4
                + (ngx_msec_t) ngx_random() % (redis->backoff / 2 + 1);

        redis->retry_at = ngx_current_msec + retry;
    }

    if (redis->down) {
        ngx_log_error(NGX_LOG_INFO, redis->log, 0,
                      "redis \"%V\" failed again: %V", &redis->conf->url, why);
        return;
    }

    redis->down = 1;

    redis->conf->notify(redis->conf->data, 0, why, retry);
}


void
ngx_http_rcache_redis_recovered(ngx_http_rcache_redis_t *redis)
{
    ngx_str_t  why;

    if (!redis->down) {
        return;
    }

    redis->down = 0;

    ngx_str_null(&why);

    redis->conf->notify(redis->conf->data, 1, &why, 0);
}
