
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The life of a connection: resolve, connect, be ready, fail, close.
 *
 * One timer a lane.  Until the lane is ready it bounds resolving, connecting
 * and the handshake together; from then on it is that of the operation that
 * has waited longest.
 *
 * The connection for subscriptions has what is different in
 * ngx_http_rcache_push.c.
 */


#include "ngx_http_rcache_replica.h"


/* no operation is waited for longer, whatever the server makes of it */

#define NGX_HTTP_RCACHE_PATIENCE  60000


static void ngx_http_rcache_conn_connect_next(ngx_http_rcache_conn_t *conn);
static ngx_int_t ngx_http_rcache_conn_connect_peer(
    ngx_http_rcache_conn_t *conn, ngx_addr_t *addr);
static void ngx_http_rcache_conn_next_addr(ngx_http_rcache_conn_t *conn);
static void ngx_http_rcache_conn_connected(ngx_http_rcache_conn_t *conn);
static ngx_err_t ngx_http_rcache_conn_test_connect(ngx_connection_t *c);
static void ngx_http_rcache_conn_read_handler(ngx_event_t *rev);
static void ngx_http_rcache_conn_write_handler(ngx_event_t *wev);
static void ngx_http_rcache_conn_timed_out(ngx_http_rcache_conn_t *conn);
static void ngx_http_rcache_conn_shut(ngx_http_rcache_conn_t *conn);
static void ngx_http_rcache_conn_drop(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_status_e status);


void
ngx_http_rcache_conn_init(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_node_t *node)
{
    conn->redis = node->redis;
    conn->node = node;
    conn->ident = -1;

    ngx_queue_init(&conn->waiting);
    ngx_queue_init(&conn->sending);
    ngx_queue_init(&conn->pending);

    conn->turn = NGX_HTTP_RCACHE_TURN;
    conn->last_out = &conn->out;

    conn->timer.data = conn;
    conn->timer.log = node->redis->log;
    conn->timer.handler = ngx_http_rcache_conn_timer_handler;

    conn->flush.data = conn;
    conn->flush.log = node->redis->log;
    conn->flush.handler = ngx_http_rcache_conn_flush_handler;
}


void
ngx_http_rcache_conn_open(ngx_http_rcache_conn_t *conn)
{
    conn->good = 0;
    conn->late = 0;

    conn->timer.cancelable = 1;
    ngx_add_timer(&conn->timer, conn->redis->conf->connect_timeout);

    conn->state = NGX_HTTP_RCACHE_CONN_RESOLVING;

    if (conn->redis->sentinel
        && conn->node->host.len == 0
        && conn->node->naddrs == 0)
    {

        /* whoever it will be; then it goes on */

        ngx_http_rcache_sentinel_ask(conn->redis->sentinel);
        return;
    }

    if ((conn->opened || conn->node->naddrs == 0)
        && ngx_http_rcache_conn_resolve(conn) == NGX_OK)
    {
        return;
    }

    ngx_http_rcache_conn_connect(conn);
}


/*
 * Goes through all addresses once: "localhost" often has one that nobody
 * listens on.
 */

void
ngx_http_rcache_conn_connect(ngx_http_rcache_conn_t *conn)
{
    if (conn->push && ngx_exiting) {

        /* the worker could be gone before it would be told of a connection */

        ngx_http_rcache_conn_close(conn);
        return;
    }

    conn->opened = 1;
    conn->tries = conn->node->naddrs;
    conn->state = NGX_HTTP_RCACHE_CONN_CONNECTING;
    conn->timer.cancelable = !(ngx_exiting && conn->nops);

    if (conn->tries == 0) {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "no address of host \"%V\" is known",
                                  &conn->node->host);
        return;
    }

    ngx_http_rcache_conn_connect_next(conn);
}


static void
ngx_http_rcache_conn_connect_next(ngx_http_rcache_conn_t *conn)
{
    ngx_int_t                rc;
    ngx_err_t                err;
    ngx_http_rcache_node_t  *node;

    node = conn->node;

    do {
        conn->addr = node->addr % node->naddrs;

        rc = ngx_http_rcache_conn_connect_peer(conn,
                                               &node->addrs[conn->addr]);
        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc == NGX_OK) {
            ngx_http_rcache_conn_connected(conn);
            return;
        }

        err = ngx_socket_errno;

        if (rc != NGX_DECLINED) {
            ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                      "no connection could be made");
            return;
        }

        ngx_http_rcache_conn_next_addr(conn);

    } while (--conn->tries);

    ngx_http_rcache_conn_fail_errno(conn, err, "connect() failed");
}


static ngx_int_t
ngx_http_rcache_conn_connect_peer(ngx_http_rcache_conn_t *conn,
    ngx_addr_t *addr)
{
    ngx_log_t              log;
    ngx_int_t              rc;
    ngx_connection_t      *c;
    ngx_peer_connection_t  pc;

    /*
     * A refused connection is told of by notify(), once; nginx would log it
     * at each attempt.
     */

    log = *conn->redis->log;
    log.log_level = ngx_min(log.log_level, NGX_LOG_ALERT);

    ngx_memzero(&pc, sizeof(ngx_peer_connection_t));

    pc.sockaddr = addr->sockaddr;
    pc.socklen = addr->socklen;
    pc.name = &addr->name;
    pc.get = ngx_event_get_peer;
    pc.log = &log;
    pc.log_error = NGX_ERROR_INFO;
    pc.so_keepalive = (addr->sockaddr->sa_family != AF_UNIX);

    ngx_set_socket_errno(0);

    rc = ngx_event_connect_peer(&pc);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        return rc;
    }

    c = pc.connection;

    c->log = conn->redis->log;
    c->read->log = c->log;
    c->write->log = c->log;

    c->data = conn;
    c->read->handler = ngx_http_rcache_conn_read_handler;
    c->write->handler = ngx_http_rcache_conn_write_handler;

    /* a worker that exits is to tell us, see the read handler */

    c->idle = 1;

    conn->connection = c;

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "rcache redis connect to %V, fd:%d rc:%i",
                   &addr->name, c->fd, rc);

    return rc;
}


/* lanes stay together: two that fail move on by one address, not by two */

static void
ngx_http_rcache_conn_next_addr(ngx_http_rcache_conn_t *conn)
{
    ngx_http_rcache_node_t  *node;

    node = conn->node;

    if (node->naddrs && node->addr % node->naddrs == conn->addr) {
        node->addr = (conn->addr + 1) % node->naddrs;
    }
}


static void
ngx_http_rcache_conn_connected(ngx_http_rcache_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;

    if (ngx_tcp_nodelay(c) != NGX_OK) {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "setsockopt(TCP_NODELAY) failed");
        return;
    }

#if (NGX_SSL)

    if (conn->node->sentinel ? conn->redis->conf->sentinel_tls
                             : conn->redis->conf->tls.enable)
    {
        ngx_http_rcache_tls_start(conn);
        return;
    }

#endif

    ngx_http_rcache_conn_established(conn);
}


void
ngx_http_rcache_conn_established(ngx_http_rcache_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;

    c->read->handler = ngx_http_rcache_conn_read_handler;
    c->write->handler = ngx_http_rcache_conn_write_handler;

    conn->state = NGX_HTTP_RCACHE_CONN_HANDSHAKE;

    if (ngx_http_rcache_reader_init(conn) != NGX_OK
        || ngx_http_rcache_handshake(conn) != NGX_OK)
    {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN, "no memory");
        return;
    }

    /* edges are told of once: what came before the handlers were set */

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


void
ngx_http_rcache_conn_ready(ngx_http_rcache_conn_t *conn)
{
    ngx_msec_t             timeout;
    ngx_queue_t           *q;
    ngx_http_rcache_op_t  *op;

    timeout = conn->redis->conf->timeout;

    conn->state = NGX_HTTP_RCACHE_CONN_READY;
    conn->progress = ngx_current_msec;

    conn->redis->conf->connected(conn->redis->conf->data, 1);

    ngx_del_timer(&conn->timer);

    if (conn->push) {
        ngx_http_rcache_push_ready(conn->push);
        return;
    }

    while (!ngx_queue_empty(&conn->waiting)) {
        q = ngx_queue_head(&conn->waiting);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, ngx_http_rcache_op_t, queue);

        op->deadline = ngx_current_msec + timeout;

        ngx_http_rcache_conn_queue(conn, op);
    }

    if (conn->nops) {
        ngx_add_timer(&conn->timer, timeout);
    }

    ngx_http_rcache_node_recovered(conn->node);
}


static void
ngx_http_rcache_conn_read_handler(ngx_event_t *rev)
{
    ngx_connection_t        *c;
    ngx_http_rcache_conn_t  *conn;

    c = rev->data;
    conn = c->data;

    if (c->close && ngx_http_rcache_conn_leave(conn) != NGX_OK) {
        return;
    }

    switch (conn->state) {

    case NGX_HTTP_RCACHE_CONN_HANDSHAKE:
    case NGX_HTTP_RCACHE_CONN_READY:
    case NGX_HTTP_RCACHE_CONN_LEAVING:
        ngx_http_rcache_conn_read(conn);
        break;

    default:
        /* connecting: it is the write event that tells */
        break;
    }
}


/*
 * The worker exits; with c->error its time is up.  What was accepted is still
 * done: nothing but our timer keeps the worker for it.
 */

ngx_int_t
ngx_http_rcache_conn_leave(ngx_http_rcache_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;

    if (c->error
        || conn->nops == 0
        || (conn->push && (conn->push->track
                           || ngx_http_rcache_push_unused(conn->push))))
    {
        ngx_http_rcache_conn_close(conn);
        return NGX_DONE;
    }

    if (conn->push) {

        /*
         * The last subscription to go closes it.  They keep nobody: a worker
         * that goes before asks nothing about a channel.
         */

        c->read->channel = 1;

    } else {
        conn->timer.cancelable = 0;
    }

    return NGX_OK;
}


static void
ngx_http_rcache_conn_write_handler(ngx_event_t *wev)
{
    ngx_err_t                err;
    ngx_connection_t        *c;
    ngx_http_rcache_conn_t  *conn;

    c = wev->data;
    conn = c->data;

    if (conn->state != NGX_HTTP_RCACHE_CONN_CONNECTING) {
        ngx_http_rcache_conn_write(conn);
        return;
    }

    err = ngx_http_rcache_conn_test_connect(c);

    if (err == 0) {
        ngx_http_rcache_conn_connected(conn);
        return;
    }

    if (--conn->tries == 0) {
        ngx_http_rcache_conn_fail_errno(conn, err, "connect() failed");
        return;
    }

    ngx_http_rcache_conn_shut(conn);
    ngx_http_rcache_conn_next_addr(conn);
    ngx_http_rcache_conn_connect_next(conn);
}


/* 0, or why the connection was not made */

static ngx_err_t
ngx_http_rcache_conn_test_connect(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

#if (NGX_HAVE_KQUEUE)

    if (ngx_event_flags & NGX_USE_KQUEUE_EVENT) {

        if (c->write->pending_eof) {
            return c->write->kq_errno;
        }

        if (c->read->pending_eof) {
            return c->read->kq_errno;
        }

        return 0;
    }

#endif

    err = 0;
    len = sizeof(int);

    /*
     * BSDs and Linux return 0 and set a pending error in err
     * Solaris returns -1 and sets errno
     */

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    return err;
}


void
ngx_http_rcache_conn_timer_handler(ngx_event_t *ev)
{
    ngx_msec_t               due, timeout;
    ngx_queue_t             *q;
    ngx_msec_int_t           left;
    ngx_http_rcache_op_t    *op;
    ngx_http_rcache_conn_t  *conn;

    conn = ev->data;

    if (conn->state < NGX_HTTP_RCACHE_CONN_READY) {
        ngx_http_rcache_conn_timed_out(conn);
        return;
    }

    if (ngx_queue_empty(&conn->pending) && ngx_queue_empty(&conn->sending)) {
        return;
    }

    q = ngx_queue_empty(&conn->pending) ? ngx_queue_head(&conn->sending)
                                        : ngx_queue_head(&conn->pending);

    op = ngx_queue_data(q, ngx_http_rcache_op_t, queue);

    timeout = conn->redis->conf->timeout;
    due = op->deadline;

    /* a large value on its way is not a server that does not answer */

    if ((ngx_msec_int_t) (conn->progress + timeout - due) > 0) {
        due = conn->progress + timeout;

        if ((ngx_msec_int_t) (due - op->deadline) > NGX_HTTP_RCACHE_PATIENCE) {
            due = op->deadline + NGX_HTTP_RCACHE_PATIENCE;
        }
    }

    left = (ngx_msec_int_t) (due - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(ev, (ngx_msec_t) left);
        return;
    }

    /*
     * Time may have passed without the server's doing: a worker that stood
     * still sees its timers before it could even send or read.
     */

    if (!conn->late) {
        conn->late = 1;
        ngx_add_timer(ev, timeout / 8 + 1);
        return;
    }

    ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_TIMEOUT,
                              "a command timed out");
}


static void
ngx_http_rcache_conn_timed_out(ngx_http_rcache_conn_t *conn)
{
    const char  *why;

    switch (conn->state) {

    case NGX_HTTP_RCACHE_CONN_RESOLVING:
        why = conn->node->host.len ? "the host was not resolved in time"
                                   : "no master is known";
        break;

    case NGX_HTTP_RCACHE_CONN_CONNECTING:
        why = "connect() timed out";
        break;

    case NGX_HTTP_RCACHE_CONN_TLS:
        why = "no TLS handshake in time";
        break;

    default:
        why = "no answer to the handshake in time";
        break;
    }

    ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN, "%s", why);
}


void
ngx_http_rcache_conn_close(ngx_http_rcache_conn_t *conn)
{
    ngx_http_rcache_conn_reset(conn);
    ngx_http_rcache_conn_drop(conn, NGX_HTTP_RCACHE_OP_DOWN);
}


void
ngx_http_rcache_conn_fail_errno(ngx_http_rcache_conn_t *conn, ngx_err_t err,
    const char *what)
{
    u_char  *p;
    u_char   errstr[NGX_MAX_ERROR_STR / 8];

    p = ngx_strerror(err, errstr, sizeof(errstr));

    ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN, "%s (%d: %*s)",
                              what, err, (size_t) (p - errstr), errstr);
}


void
ngx_http_rcache_conn_fail(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_status_e status, const char *fmt, ...)
{
    u_char     *p, *last;
    va_list     args;
    ngx_str_t   why;
    u_char      text[NGX_MAX_ERROR_STR / 8];

    va_start(args, fmt);
    last = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

#if (NGX_SSL)

    if (conn->tls_len) {
        last = ngx_slprintf(last, text + sizeof(text), ": %*s",
                            conn->tls_len, conn->tls_text);
    }

#endif

    /* it may quote the server */

    for (p = text; p < last; p++) {
        if (*p < 0x20 || *p > 0x7e) {
            *p = '.';
        }
    }

    why.data = text;
    why.len = last - text;

    if (conn->state == NGX_HTTP_RCACHE_CONN_CONNECTING
        || conn->state == NGX_HTTP_RCACHE_CONN_TLS
        || conn->state == NGX_HTTP_RCACHE_CONN_HANDSHAKE)
    {
        ngx_http_rcache_conn_next_addr(conn);
    }

    /*
     * First the state, then the operations: their handlers may submit new
     * ones, and are to be refused.
     */

    ngx_http_rcache_conn_reset(conn);

    if (conn->push) {
        ngx_http_rcache_push_failed(conn->push, &why);

    } else {
        ngx_http_rcache_node_failed(conn->node, &why);
    }

    ngx_http_rcache_conn_drop(conn, status);
}


/* gives up the socket, and what was read from it */

static void
ngx_http_rcache_conn_shut(ngx_http_rcache_conn_t *conn)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    conn->serial++;

    c = conn->connection;

    if (c) {
        pool = c->pool;

#if (NGX_SSL)
        ngx_http_rcache_tls_close(c);
        conn->tls_len = 0;
#endif

        ngx_close_connection(c);

        if (pool) {
            ngx_destroy_pool(pool);
        }

        conn->connection = NULL;
    }

    ngx_http_rcache_reader_free(conn);
}


void
ngx_http_rcache_conn_reset(ngx_http_rcache_conn_t *conn)
{
    ngx_http_rcache_conn_shut(conn);

    if (conn->resolve) {
        ngx_resolve_name_done(conn->resolve);
        conn->resolve = NULL;
    }

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
    }

    if (conn->state >= NGX_HTTP_RCACHE_CONN_READY) {
        conn->redis->conf->connected(conn->redis->conf->data, -1);
    }

    conn->state = NGX_HTTP_RCACHE_CONN_IDLE;
    conn->readonly = 0;
    conn->timer.cancelable = 1;

    if (conn->push) {

        if (conn->push->track) {
            ngx_http_rcache_track_lost(conn->push->track);
        }

    } else if (conn->node->track
               && conn == &conn->node->lanes[NGX_HTTP_RCACHE_LANE_LOOKUP])
    {
        ngx_http_rcache_track_lost(conn->node->track);
    }
}


static void
ngx_http_rcache_conn_drop(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_status_e status)
{
    ngx_uint_t             i;
    ngx_queue_t            dead, *q, *queues[3];
    ngx_http_rcache_op_t  *op;

    queues[0] = &conn->pending;
    queues[1] = &conn->sending;
    queues[2] = &conn->waiting;

    ngx_queue_init(&dead);

    for (i = 0; i < 3; i++) {
        if (!ngx_queue_empty(queues[i])) {
            ngx_queue_add(&dead, queues[i]);
            ngx_queue_init(queues[i]);
        }
    }

    conn->nops = 0;
    conn->unsent = 0;
    conn->blocked = 0;
    conn->out = NULL;
    conn->last_out = &conn->out;

    while (!ngx_queue_empty(&dead)) {
        q = ngx_queue_head(&dead);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, ngx_http_rcache_op_t, queue);
        op->status = status;

        if (op->away
            && !ngx_exiting
            && ngx_http_rcache_replica_again(conn->redis, op) == NGX_OK)
        {
            continue;
        }

        ngx_http_rcache_op_finish(op, NULL);
    }
}
