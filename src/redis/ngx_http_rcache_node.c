
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * One server: its lanes in this worker, and what they share, the verdict on
 * it.
 *
 * While it is down nothing is accepted, for nobody is to wait for a sick
 * server: the first submit after the back-off only starts an attempt behind
 * the scenes, and is refused as well.
 */


#include "ngx_http_rcache_conn.h"


void
ngx_http_rcache_node_init(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_node_t *node)
{
    ngx_uint_t  i;

    node->redis = redis;

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        ngx_http_rcache_conn_init(&node->lanes[i], node);
    }
}


/* a fast shutdown leaves connections to the kernel; the rest is malloc()ed */

void
ngx_http_rcache_node_cleanup(ngx_http_rcache_node_t *node)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        ngx_http_rcache_reader_free(&node->lanes[i]);
    }

#if (NGX_SSL)

    if (node->session) {
        ngx_ssl_free_session(node->session);
        node->session = NULL;
    }

#endif
}


ngx_int_t
ngx_http_rcache_node_available(ngx_http_rcache_node_t *node,
    ngx_http_rcache_conn_t *conn)
{
    if (conn->state == NGX_HTTP_RCACHE_CONN_READY) {
        return NGX_OK;
    }

    if (conn->state != NGX_HTTP_RCACHE_CONN_IDLE) {
        return node->down ? NGX_DECLINED : NGX_OK;
    }

    if (node->down) {

        /* a worker that exits has no use for a connection later on */

        if (!ngx_exiting
            && (ngx_msec_int_t) (ngx_current_msec - node->retry_at) >= 0)
        {
            ngx_http_rcache_conn_open(conn);
        }

        return NGX_DECLINED;
    }

    ngx_http_rcache_conn_open(conn);

    return (conn->state != NGX_HTTP_RCACHE_CONN_IDLE) ? NGX_OK : NGX_DECLINED;
}


void
ngx_http_rcache_node_failed(ngx_http_rcache_node_t *node, ngx_str_t *why)
{
    ngx_msec_t                retry;
    ngx_http_rcache_redis_t  *redis;

    redis = node->redis;

    retry = node->retry_at - ngx_current_msec;

    /* lanes that fail together are one failure */

    if (!node->down || (ngx_msec_int_t) retry <= 0) {

        node->backoff = node->backoff ? node->backoff * 2
                                        : NGX_HTTP_RCACHE_BACKOFF_MIN;

        node->backoff = ngx_min(node->backoff, NGX_HTTP_RCACHE_BACKOFF_MAX);

        /* a quarter less to a quarter more: workers are not to come at once */

        retry = node->backoff - node->backoff / 4
                + (ngx_msec_t) ngx_random() % (node->backoff / 2 + 1);

        if (node->again) {
            node->backoff = 0;
            retry = 0;
        }

        node->retry_at = ngx_current_msec + retry;
    }

    node->again = 0;

    if (node->down) {
        ngx_log_error(NGX_LOG_INFO, redis->log, 0,
                      "redis \"%V\" failed again: %V", &node->name, why);
        return;
    }

    node->down = 1;

    redis->conf->notify(redis->conf->data, 0, why, retry);
}


void
ngx_http_rcache_node_recovered(ngx_http_rcache_node_t *node)
{
    ngx_str_t                      why;
    ngx_http_rcache_redis_conf_t  *rcf;

    if (!node->down) {
        return;
    }

    node->down = 0;

    ngx_str_null(&why);

    rcf = node->redis->conf;

    rcf->notify(rcf->data, 1, &why, 0);
}
