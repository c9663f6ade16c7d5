
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


#include "ngx_http_rcache_replica.h"


/* milliseconds */
#define NGX_HTTP_RCACHE_RENEW_PAUSE  5000


static ngx_int_t ngx_http_rcache_node_available(ngx_http_rcache_node_t *node,
    ngx_http_rcache_conn_t *conn);
static void ngx_http_rcache_node_notify(ngx_http_rcache_node_t *node,
    ngx_uint_t up, ngx_str_t *why, ngx_msec_t retry);


void
ngx_http_rcache_node_init(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_node_t *node, ngx_http_rcache_server_t *server)
{
    ngx_uint_t  i;

    node->redis = redis;
    node->breaker.sh = &node->breaker.own;
    node->number = NGX_HTTP_RCACHE_NO_NODE;

    if (server) {
        node->name = server->url;
        node->host = server->host;
        node->port = server->port;
        node->addrs = server->addrs;
        node->naddrs = server->naddrs;
    }

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        ngx_http_rcache_conn_init(&node->lanes[i], node);
    }

    node->lanes[NGX_HTTP_RCACHE_LANE_BULK].turn = NGX_HTTP_RCACHE_TURN_BULK;
}


/* a fast shutdown leaves connections to the kernel; the rest is malloc()ed */

void
ngx_http_rcache_node_cleanup(ngx_http_rcache_node_t *node)
{
    ngx_uint_t  i;

    ngx_http_rcache_renew_cancel(node);

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        ngx_http_rcache_reader_free(&node->lanes[i]);
    }

    if (node->track) {
        ngx_http_rcache_track_cleanup(node->track);
    }

#if (NGX_SSL)

    if (node->session) {
        ngx_ssl_free_session(node->session);
        node->session = NULL;
    }

#endif
}


ngx_int_t
ngx_http_rcache_node_submit(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_t *op)
{
    ngx_http_rcache_conn_t   *conn;
    ngx_http_rcache_redis_t  *redis;

    redis = node->redis;
    conn = &node->lanes[op->lane];

    if (conn->nops >= redis->conf->queue
        || conn->unsent + op->size > NGX_HTTP_RCACHE_UNSENT_MAX)
    {
        op->status = NGX_HTTP_RCACHE_OP_BUSY;
        return NGX_DECLINED;
    }

    if ((node->breaker.sh->open
         && !op->internal
         && !op->must
         && ngx_http_rcache_breaker_pass(&node->breaker) != NGX_OK)
        || ngx_http_rcache_node_available(node, conn) != NGX_OK)
    {
        op->status = NGX_HTTP_RCACHE_OP_DOWN;
        return NGX_DECLINED;
    }

    if (conn->readonly != op->away
        && redis->cluster
        && !op->internal
        && ngx_http_rcache_replica_mode(node, op) != NGX_OK)
    {
        op->status = NGX_HTTP_RCACHE_OP_BUSY;
        return NGX_DECLINED;
    }

    if (op->tracked) {
        ngx_http_rcache_track_op(node, op);
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
ngx_http_rcache_node_flush(ngx_http_rcache_node_t *node,
    ngx_http_rcache_lane_e lane)
{
    ngx_http_rcache_conn_t  *conn;

    conn = &node->lanes[lane];

    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
        ngx_http_rcache_conn_flush_handler(&conn->flush);
    }
}


static ngx_int_t
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
    ngx_msec_t  retry;

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
        ngx_log_error(NGX_LOG_INFO, node->redis->log, 0,
                      "redis \"%V\" failed again: %V", &node->name, why);
        return;
    }

    node->down = 1;

    ngx_http_rcache_node_notify(node, 0, why, retry);
}


void
ngx_http_rcache_node_recovered(ngx_http_rcache_node_t *node)
{
    ngx_str_t  why;

    if (!node->down) {
        return;
    }

    node->down = 0;

    ngx_str_null(&why);

    ngx_http_rcache_node_notify(node, 1, &why, 0);
}


static void
ngx_http_rcache_node_notify(ngx_http_rcache_node_t *node, ngx_uint_t up,
    ngx_str_t *why, ngx_msec_t retry)
{
    ngx_http_rcache_redis_conf_t  *rcf;

    if (node->sentinel) {
        ngx_log_error(NGX_LOG_INFO, node->redis->log, 0,
                      "sentinel \"%V\" is %s%s%V", &node->name,
                      up ? "up again" : "down", up ? "" : ": ", why);
        return;
    }

    if (node->redis->cluster) {
        ngx_http_rcache_cluster_notify(node, up, why);
        return;
    }

    if (node->replica) {
        ngx_http_rcache_replica_notify(node, up, why);
        return;
    }

    if (node->redis->sentinel && !up) {
        ngx_http_rcache_sentinel_ask(node->redis->sentinel);
    }

    rcf = node->redis->conf;

    if (rcf->notify) {
        rcf->notify(rcf->data, up, why, retry);
    }
}


void
ngx_http_rcache_node_set(ngx_http_rcache_node_t *node, u_char *name,
    size_t len, size_t host_len, in_port_t port)
{
    ngx_uint_t              i;
    ngx_http_rcache_nat_t  *nat;

    ngx_http_rcache_renew_cancel(node);

    ngx_memcpy(node->buf, name, len);

    node->name.data = node->buf;
    node->name.len = len;
    node->host.data = node->buf;
    node->host.len = host_len;
    node->port = port;
    node->addrs = NULL;
    node->naddrs = 0;
    node->addr = 0;
    node->nat = 0;

    nat = node->redis->conf->nat.elts;

    for (i = 0; i < node->redis->conf->nat.nelts; i++) {

        if (nat[i].name.len == len
            && ngx_memcmp(nat[i].name.data, name, len) == 0)
        {
            node->nat = 1;
            node->host = nat[i].server.host;
            node->port = nat[i].server.port;
            node->addrs = nat[i].server.addrs;
            node->naddrs = nat[i].server.naddrs;
            return;
        }
    }

    ngx_http_rcache_node_literal(node);
}


void
ngx_http_rcache_node_announced(ngx_http_rcache_node_t *node, ngx_str_t *host)
{
    u_char  *last;

    *host = node->host;

    if (node->nat) {
        last = node->name.data + node->name.len;

        while (*--last != ':') { /* void */ }

        host->data = node->name.data;
        host->len = last - host->data;
        return;
    }

    if (host->len > 2 && host->data[0] == '[') {
        host->data++;
        host->len -= 2;
    }
}


ngx_uint_t
ngx_http_rcache_node_idle(ngx_http_rcache_node_t *node)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        if (node->lanes[i].state != NGX_HTTP_RCACHE_CONN_IDLE) {
            return 0;
        }
    }

    return node->number == NGX_HTTP_RCACHE_NO_NODE;
}


void
ngx_http_rcache_node_forget(ngx_http_rcache_node_t *node)
{
    ngx_http_rcache_node_close(node);
    ngx_http_rcache_node_cleanup(node);

    node->down = 0;
    node->backoff = 0;
    node->unfit = 0;
}


ngx_uint_t
ngx_http_rcache_node_busy(ngx_http_rcache_node_t *node)
{
    ngx_uint_t               i;
    ngx_http_rcache_conn_t  *conn;

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        conn = &node->lanes[i];

        if (conn->nops
            || (conn->state != NGX_HTTP_RCACHE_CONN_IDLE
                && conn->state != NGX_HTTP_RCACHE_CONN_READY))
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_rcache_node_close(ngx_http_rcache_node_t *node)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {

        if (node->lanes[i].state != NGX_HTTP_RCACHE_CONN_IDLE) {
            ngx_http_rcache_conn_close(&node->lanes[i]);
        }
    }

    if (node->track) {
        ngx_http_rcache_track_close(node->track);
    }
}


void
ngx_http_rcache_nodes_cleanup(ngx_queue_t *nodes)
{
    ngx_queue_t             *q;
    ngx_http_rcache_node_t  *node;

    for (q = ngx_queue_head(nodes);
         q != ngx_queue_sentinel(nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_rcache_node_t, queue);

        ngx_http_rcache_node_cleanup(node);
    }
}


void
ngx_http_rcache_nodes_tidy(ngx_queue_t *nodes)
{
    ngx_queue_t             *q;
    ngx_http_rcache_node_t  *node;

    for (q = ngx_queue_head(nodes);
         q != ngx_queue_sentinel(nodes);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_rcache_node_t, queue);

        if (node->number == NGX_HTTP_RCACHE_NO_NODE
            && !ngx_http_rcache_node_busy(node))
        {
            ngx_http_rcache_node_close(node);
        }
    }
}


/*
 * Where a name stands for the master it is the name that moves at a failover,
 * while the old one, a replica by now, keeps its connections.
 */

ngx_int_t
ngx_http_rcache_node_renew(ngx_http_rcache_node_t *node)
{
    if (node->redis->conf->resolver == NULL
        || node->host.len == 0
        || ngx_http_rcache_host_is_literal(&node->host)
        || (node->renewed_at
            && ngx_current_msec - node->renewed_at
               < NGX_HTTP_RCACHE_RENEW_PAUSE))
    {
        return NGX_DECLINED;
    }

    node->renewed_at = ngx_current_msec;

    ngx_log_error(NGX_LOG_NOTICE, node->redis->log, 0,
                  "redis \"%V\" is a replica, its name is resolved again",
                  &node->name);

    return NGX_OK;
}


void
ngx_http_rcache_node_moved(ngx_http_rcache_node_t *node)
{
    ngx_uint_t               i;
    ngx_http_rcache_conn_t  *conn;

    if (node->track) {
        ngx_http_rcache_track_close(node->track);
    }

    for (i = 0; i < NGX_HTTP_RCACHE_LANES; i++) {
        conn = &node->lanes[i];

        if (conn->state == NGX_HTTP_RCACHE_CONN_RESOLVING) {

            if (conn->resolve) {
                ngx_resolve_name_done(conn->resolve);
                conn->resolve = NULL;
            }

            if (node->naddrs || ngx_http_rcache_conn_resolve(conn) != NGX_OK) {
                ngx_http_rcache_conn_connect(conn);
            }

        } else if (conn->state != NGX_HTTP_RCACHE_CONN_IDLE) {
            ngx_http_rcache_conn_close(conn);
        }
    }
}


void
ngx_http_rcache_node_probe(ngx_http_rcache_node_t *node)
{
    ngx_http_rcache_conn_t  *conn;

    conn = &node->lanes[NGX_HTTP_RCACHE_LANE_LOOKUP];

    if (conn->state == NGX_HTTP_RCACHE_CONN_IDLE) {
        ngx_http_rcache_conn_open(conn);
    }
}


void
ngx_http_rcache_node_literal(ngx_http_rcache_node_t *node)
{
    in_addr_t             in;
    ngx_addr_t           *addr;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    addr = &node->resolved[0];
    addr->sockaddr = &node->sockaddr[0].sockaddr;

    ngx_memzero(&node->sockaddr[0], sizeof(ngx_sockaddr_t));

    in = ngx_inet_addr(node->host.data, node->host.len);

    if (in != INADDR_NONE) {
        sin = &node->sockaddr[0].sockaddr_in;
        sin->sin_family = AF_INET;
        sin->sin_addr.s_addr = in;
        addr->socklen = sizeof(struct sockaddr_in);

#if (NGX_HAVE_INET6)

    } else if (ngx_inet6_addr(node->host.data, node->host.len,
                              node->sockaddr[0].sockaddr_in6.sin6_addr.s6_addr)
               == NGX_OK)
    {
        sin6 = &node->sockaddr[0].sockaddr_in6;
        sin6->sin6_family = AF_INET6;
        addr->socklen = sizeof(struct sockaddr_in6);

#endif

    } else {
        return;
    }

    ngx_inet_set_port(addr->sockaddr, node->port);

    addr->name.data = node->text[0];
    addr->name.len = ngx_sock_ntop(addr->sockaddr, addr->socklen,
                                   node->text[0], NGX_SOCKADDR_STRLEN, 1);

    node->addrs = node->resolved;
    node->naddrs = 1;
}
