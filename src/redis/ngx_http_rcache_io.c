
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Bytes out, bytes in.  What is queued in one turn of the event loop leaves
 * in one write, from a posted event; what has arrived is read in large
 * pieces, for the sake of nginx as well as of Redis.
 */


#include "ngx_http_rcache_conn.h"


static ngx_int_t ngx_http_rcache_conn_flush(ngx_http_rcache_conn_t *conn);
static size_t ngx_http_rcache_conn_turn(ngx_http_rcache_conn_t *conn);
static ssize_t ngx_http_rcache_conn_recv(ngx_http_rcache_conn_t *conn);
#if (NGX_SSL)
static ssize_t ngx_http_rcache_conn_recv_tls(ngx_http_rcache_conn_t *conn,
    u_char *dst, size_t len);
#endif
static void ngx_http_rcache_conn_not_ready(ngx_event_t *rev);
static void ngx_http_rcache_conn_closed(ngx_http_rcache_conn_t *conn,
    ngx_err_t err);


void
ngx_http_rcache_conn_queue(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_t *op)
{
    ngx_queue_insert_tail(&conn->sending, &op->queue);

    *conn->last_out = op->out;
    conn->last_out = &op->last->next;

    if (!conn->flush.posted) {
        ngx_post_event(&conn->flush, &ngx_posted_events);
    }
}


void
ngx_http_rcache_conn_flush_handler(ngx_event_t *ev)
{
    (void) ngx_http_rcache_conn_flush(ev->data);
}


void
ngx_http_rcache_conn_write(ngx_http_rcache_conn_t *conn)
{
    ngx_uint_t  blocked;

    /* with epoll each read event brings a write event along */

    if (conn->flush.posted) {
        return;
    }

    blocked = conn->blocked;

    if (ngx_http_rcache_conn_flush(conn) == NGX_OK && blocked) {

        /*
         * A frozen server takes bytes until the socket is full, so bytes
         * sent prove nothing; but that there is room again does.
         */

        conn->progress = ngx_current_msec;
        conn->late = 0;
    }
}


/* NGX_OK: something was sent; NGX_DECLINED: nothing; NGX_ERROR: it failed */

static ngx_int_t
ngx_http_rcache_conn_flush(ngx_http_rcache_conn_t *conn)
{
    off_t                  sent;
    ngx_queue_t           *q;
    ngx_chain_t           *cl;
    ngx_connection_t      *c;
    ngx_http_rcache_op_t  *op;

    c = conn->connection;
    sent = c->sent;

    /* what is buffered has been taken by TLS, but not by the socket */

    if (conn->out || c->buffered) {
        cl = c->send_chain(c, conn->out, ngx_http_rcache_conn_turn(conn));

        if (cl == NULL && c->buffered) {
            cl = c->send_chain(c, NULL, 0);
        }

        if (cl == NGX_CHAIN_ERROR) {
            ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                      "send() failed");
            return NGX_ERROR;
        }

        conn->out = cl;
        conn->blocked = ((cl != NULL && !c->write->ready) || c->buffered);

        if (cl == NULL) {
            conn->last_out = &conn->out;

        } else if (c->write->ready && !conn->flush.posted) {
            ngx_post_event(&conn->flush, &ngx_posted_next_events);
        }
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "the write event was not set");
        return NGX_ERROR;
    }

    sent = c->sent - sent;

    if (sent == 0) {
        return NGX_DECLINED;
    }

    conn->unsent -= sent;

    while (!ngx_queue_empty(&conn->sending)) {
        q = ngx_queue_head(&conn->sending);
        op = ngx_queue_data(q, ngx_http_rcache_op_t, queue);

        if (sent < op->size) {
            op->size -= sent;
            break;
        }

        sent -= op->size;

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&conn->pending, q);
    }

    return NGX_OK;
}


/* bytes: a few share one, of more each has its own */

static size_t
ngx_http_rcache_conn_turn(ngx_http_rcache_conn_t *conn)
{
    ngx_uint_t  n;

    n = conn->redis->bulk;

    if (n <= NGX_HTTP_RCACHE_BULK_FEW) {
        return conn->turn;
    }

    return ngx_max(conn->turn, n * NGX_HTTP_RCACHE_TURN_BULK);
}


void
ngx_http_rcache_conn_read(ngx_http_rcache_conn_t *conn)
{
    size_t             total;
    ssize_t            n;
    ngx_int_t          rc;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = conn->connection;
    rev = c->read;
    total = 0;

    while (rev->ready) {

        if (total >= ngx_http_rcache_conn_turn(conn)) {
            ngx_post_event(rev, &ngx_posted_next_events);
            return;
        }

        n = ngx_http_rcache_conn_recv(conn);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_DONE) {
            return;
        }

        total += n;

        rc = ngx_http_rcache_reader_parse(conn);

        if (rc == NGX_DONE) {
            return;
        }

        if (rc == NGX_ERROR) {
            ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                      "invalid reply: %s", conn->invalid);
            return;
        }
    }

    if (ngx_exiting
        && conn->nops == 0
        && conn->state >= NGX_HTTP_RCACHE_CONN_READY)
    {
        ngx_http_rcache_conn_close(conn);
        return;
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "the read event was not set");
    }
}


/*
 * The payload of a large value goes straight to its place, and what is
 * behind it into the buffer, which has been used up by then.
 *
 * ngx_recv() asks with FIONREAD whether there is more when a buffer was
 * filled exactly, and readv() of nginx knows no bounds; so this is on its
 * own.  Returns the number of bytes, NGX_AGAIN, or NGX_DONE if the
 * connection is gone.
 */

static ssize_t
ngx_http_rcache_conn_recv(ngx_http_rcache_conn_t *conn)
{
    int                n;
    size_t             len, size;
    ssize_t            rc;
    ngx_err_t          err;
    struct iovec       iov[2];
    ngx_connection_t  *c;

    c = conn->connection;

    n = 0;
    len = 0;

    if (conn->pos == conn->last) {
        conn->pos = conn->start;
        conn->last = conn->start;

        if (conn->part == NGX_HTTP_RCACHE_PART_BULK && conn->dst) {
            len = conn->rest;
        }

    } else if (conn->pos != conn->start) {

        /* the beginning of a line, some bytes only */

        conn->last = ngx_movemem(conn->start, conn->pos,
                                 conn->last - conn->pos);
        conn->pos = conn->start;
    }

#if (NGX_SSL)

    if (c->ssl) {
        return len ? ngx_http_rcache_conn_recv_tls(conn, conn->dst, len)
                   : ngx_http_rcache_conn_recv_tls(conn, NULL,
                                                   conn->end - conn->last);
    }

#endif

    if (len) {
        iov[n].iov_base = (void *) conn->dst;
        iov[n++].iov_len = len;
    }

    iov[n].iov_base = (void *) conn->last;
    iov[n++].iov_len = conn->end - conn->last;

    size = len + (conn->end - conn->last);

    do {
        rc = readv(c->fd, iov, n);
        err = (rc == -1) ? ngx_socket_errno : 0;
    } while (err == NGX_EINTR);

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "rcache redis readv: fd:%d %z of %uz", c->fd, rc, size);

    if (rc == -1 && err == NGX_EAGAIN) {
        c->read->ready = 0;
        return NGX_AGAIN;
    }

    if (rc <= 0) {
        ngx_http_rcache_conn_closed(conn, err);
        return NGX_DONE;
    }

    if ((size_t) rc < size) {
        ngx_http_rcache_conn_not_ready(c->read);
    }

    conn->progress = ngx_current_msec;
    conn->late = 0;

    size = ngx_min((size_t) rc, len);

    if (size) {
        conn->dst += size;
        conn->rest -= size;
    }

    conn->last += rc - size;

    return rc;
}


#if (NGX_SSL)

/* dst is where a payload goes; NULL: into the buffer */

static ssize_t
ngx_http_rcache_conn_recv_tls(ngx_http_rcache_conn_t *conn, u_char *dst,
    size_t len)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = conn->connection;

    n = c->recv(c, dst ? dst : conn->last, len);

    if (n == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (n == NGX_ERROR) {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "recv() failed");
        return NGX_DONE;
    }

    if (n == 0) {
        ngx_http_rcache_conn_closed(conn, 0);
        return NGX_DONE;
    }

    conn->progress = ngx_current_msec;
    conn->late = 0;

    if (dst) {
        conn->dst += n;
        conn->rest -= n;

    } else {
        conn->last += n;
    }

    return n;
}

#endif


/* a short read emptied the socket; but the end of the stream is no byte */

static void
ngx_http_rcache_conn_not_ready(ngx_event_t *rev)
{
    if (rev->pending_eof) {
        return;
    }

#if (NGX_HAVE_EPOLLRDHUP)

    if ((ngx_event_flags & NGX_USE_EPOLL_EVENT) && ngx_use_epoll_rdhup) {
        rev->ready = 0;
        return;
    }

#endif

    if (!(ngx_event_flags & NGX_USE_GREEDY_EVENT)) {
        rev->ready = 0;
    }
}


static void
ngx_http_rcache_conn_closed(ngx_http_rcache_conn_t *conn, ngx_err_t err)
{
    if (conn->state >= NGX_HTTP_RCACHE_CONN_READY && conn->nops == 0) {

        /* Redis closes what is idle, or was restarted: nobody is hurt */

        ngx_log_error(NGX_LOG_INFO, conn->redis->log, err,
                      "redis \"%V\" closed an idle connection",
                      &conn->node->name);

        ngx_http_rcache_conn_close(conn);
        return;
    }

    if (err) {
        ngx_http_rcache_conn_fail_errno(conn, err, "recv() failed");
        return;
    }

    ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                              "the server closed the connection");
}
