
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Names are asked for again now and then, while there are connections that
 * were made by them: where a failover moves a name the old server may still
 * answer, so nothing else would tell.  A connection to an address that the name
 * does not have any more finishes what it has begun, and what comes meanwhile
 * waits for the next one.
 */


#include "ngx_http_rcache_replica.h"


/* milliseconds from one look at connections that are to be left to the next */
#define NGX_HTTP_RCACHE_RENEW_LOOK  10


typedef void (*ngx_http_rcache_renew_pt)(ngx_http_rcache_node_t *node);


static void ngx_http_rcache_renew_each(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_renew_pt handler);
static void ngx_http_rcache_renew_timer_handler(ngx_event_t *ev);
static void ngx_http_rcache_renew_node(ngx_http_rcache_node_t *node);
static void ngx_http_rcache_renew_resolve_handler(ngx_resolver_ctx_t *ctx);
static ngx_uint_t ngx_http_rcache_renew_gone(ngx_http_rcache_conn_t *conn,
    ngx_resolver_ctx_t *ctx);
static void ngx_http_rcache_renew_push(ngx_http_rcache_push_t *push,
    ngx_http_rcache_node_t *node, ngx_resolver_ctx_t *ctx);
static void ngx_http_rcache_renew_leave_handler(ngx_event_t *ev);
static void ngx_http_rcache_renew_leave(ngx_http_rcache_node_t *node);


void
ngx_http_rcache_renew_init(ngx_http_rcache_redis_t *redis)
{
    redis->renew.data = redis;
    redis->renew.log = redis->log;
    redis->renew.handler = ngx_http_rcache_renew_timer_handler;
    redis->renew.cancelable = 1;

    /* not cancelable: what waits is to be sent before the worker exits */

    redis->leave.data = redis;
    redis->leave.log = redis->log;
    redis->leave.handler = ngx_http_rcache_renew_leave_handler;

    if (redis->conf->resolver
        && redis->conf->resolve
        && (ngx_process == NGX_PROCESS_WORKER
            || ngx_process == NGX_PROCESS_SINGLE))
    {
        ngx_add_timer(&redis->renew, redis->conf->resolve);
    }
}


static void
ngx_http_rcache_renew_each(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_renew_pt handler)
{
    ngx_uint_t                   i;
    ngx_queue_t                 *q, *lists[2];
    ngx_http_rcache_sentinel_t  *sentinel;

    sentinel = redis->sentinel;

    lists[0] = redis->cluster ? &redis->cluster->all : NULL;
    lists[1] = redis->replica ? &redis->replica->all : NULL;

    handler(&redis->node);

    for (i = 0; sentinel && i < sentinel->n; i++) {
        handler(&sentinel->nodes[i]);
    }

    for (i = 0; i < 2; i++) {

        if (lists[i] == NULL) {
            continue;
        }

        for (q = ngx_queue_head(lists[i]);
             q != ngx_queue_sentinel(lists[i]);
             q = ngx_queue_next(q))
        {
            handler(ngx_queue_data(q, ngx_http_rcache_node_t, queue));
        }
    }
}


static void
ngx_http_rcache_renew_timer_handler(ngx_event_t *ev)
{
    ngx_http_rcache_redis_t *redis = ev->data;

    if (ngx_exiting) {
        return;
    }

    ngx_http_rcache_renew_each(redis, ngx_http_rcache_renew_node);

    ngx_add_timer(ev, redis->conf->resolve);
}


static void
ngx_http_rcache_renew_node(ngx_http_rcache_node_t *node)
{
    ngx_uint_t               i, used;
    ngx_resolver_ctx_t      *ctx;
    ngx_http_rcache_redis_t *redis;

    redis = node->redis;

    used = (redis->push.conn.node == node
            && redis->push.conn.state == NGX_HTTP_RCACHE_CONN_READY)
           || (redis->sentinel
               && redis->sentinel->push.conn.node == node
               && redis->sentinel->push.conn.state
                  == NGX_HTTP_RCACHE_CONN_READY);

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        used |= (node->lanes[i].state == NGX_HTTP_RCACHE_CONN_READY);
    }

    if (!used
        || node->renewing
        || node->host.len == 0
        || ngx_http_rcache_host_is_literal(&node->host))
    {
        return;
    }

    ctx = ngx_resolve_start(redis->conf->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        return;
    }

    ctx->name = node->host;
    ctx->handler = ngx_http_rcache_renew_resolve_handler;
    ctx->data = node;
    ctx->timeout = redis->conf->resolver_timeout;
    ctx->cancelable = 1;

    node->renewing = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        node->renewing = NULL;
    }
}


void
ngx_http_rcache_renew_cancel(ngx_http_rcache_node_t *node)
{
    if (node->renewing) {
        ngx_resolve_name_done(node->renewing);
        node->renewing = NULL;
    }
}


/* a name server that does not answer, or knows of nothing, is no news */

static void
ngx_http_rcache_renew_resolve_handler(ngx_resolver_ctx_t *ctx)
{
    ngx_http_rcache_node_t *node = ctx->data;

    ngx_uint_t                i, moved;
    ngx_http_rcache_conn_t   *conn;
    ngx_http_rcache_redis_t  *redis;

    redis = node->redis;
    moved = 0;

    if (ctx->state == NGX_OK && ctx->naddrs) {

        for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
            conn = &node->lanes[i];

            if (conn->state == NGX_HTTP_RCACHE_CONN_READY
                && ngx_http_rcache_renew_gone(conn, ctx))
            {
                conn->state = NGX_HTTP_RCACHE_CONN_LEAVING;
                moved = 1;
            }
        }

        ngx_http_rcache_node_set_addrs(node, ctx);

        ngx_http_rcache_renew_push(&redis->push, node, ctx);

        if (redis->sentinel) {
            ngx_http_rcache_renew_push(&redis->sentinel->push, node, ctx);
        }
    }

    node->renewing = NULL;
    ngx_resolve_name_done(ctx);

    if (!moved) {
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, redis->log, 0,
                  "redis \"%V\" has another address now, its connections move",
                  &node->name);

    if (!redis->leave.timer_set) {
        ngx_add_timer(&redis->leave, 1);
    }
}


/* is it to an address that is none of these? */

static ngx_uint_t
ngx_http_rcache_renew_gone(ngx_http_rcache_conn_t *conn,
    ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t      i;
    socklen_t       len;
    ngx_sockaddr_t  sa;

    len = sizeof(ngx_sockaddr_t);

    if (getpeername(conn->connection->fd, &sa.sockaddr, &len) == -1) {
        return 0;
    }

    for (i = 0; i < ctx->naddrs; i++) {
        if (ngx_cmp_sockaddr(&sa.sockaddr, len, ctx->addrs[i].sockaddr,
                             ctx->addrs[i].socklen, 0)
            == NGX_OK)
        {
            return 0;
        }
    }

    return 1;
}


/* who waits for a message asks anew when there is another connection */

static void
ngx_http_rcache_renew_push(ngx_http_rcache_push_t *push,
    ngx_http_rcache_node_t *node, ngx_resolver_ctx_t *ctx)
{
    if (push->conn.node == node
        && push->conn.state == NGX_HTTP_RCACHE_CONN_READY
        && ngx_http_rcache_renew_gone(&push->conn, ctx))
    {
        ngx_http_rcache_conn_fail(&push->conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "its name has another address now");
    }
}


static void
ngx_http_rcache_renew_leave_handler(ngx_event_t *ev)
{
    ngx_http_rcache_redis_t *redis = ev->data;

    ngx_http_rcache_renew_each(redis, ngx_http_rcache_renew_leave);
}


static void
ngx_http_rcache_renew_leave(ngx_http_rcache_node_t *node)
{
    ngx_uint_t               i;
    ngx_http_rcache_conn_t  *conn;

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        conn = &node->lanes[i];

        if (conn->state != NGX_HTTP_RCACHE_CONN_LEAVING) {
            continue;
        }

        if (!ngx_queue_empty(&conn->sending)
            || !ngx_queue_empty(&conn->pending))
        {
            if (!node->redis->leave.timer_set) {
                ngx_add_timer(&node->redis->leave,
                              NGX_HTTP_RCACHE_RENEW_LOOK);
            }

            continue;
        }

        /* what waits keeps its place */

        ngx_http_rcache_conn_reset(conn);

        if (conn->nops) {
            ngx_http_rcache_conn_open(conn);
            conn->timer.cancelable = !ngx_exiting;
        }
    }
}
