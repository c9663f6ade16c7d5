
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Bytes in, replies out.  hiredis parses, but not all:
 *
 * hiredis hands over a string only when it has all of it, and copies it
 * twice; so a string that is a whole reply, and not a short one, is received
 * here, straight into its place.  What is given to hiredis is given in small
 * pieces, because it moves the rest of its buffer after each reply; what it
 * did not use of a piece is taken back.
 *
 * Nor does it get a short line that is a whole reply, such as that to a store:
 * to copy it into a buffer and out again takes longer than to parse it.
 */


#include "ngx_http_rcache_replica.h"


#define NGX_HTTP_RCACHE_PIECE        1024

/* from this length on a string is received directly */
#define NGX_HTTP_RCACHE_DIRECT       256

/* "+", ":" or "$", and CR, LF with it; hiredis takes what is longer */
#define NGX_HTTP_RCACHE_SHORT_LINE   32

/* digits of an integer that cannot overflow */
#define NGX_HTTP_RCACHE_SHORT_INT    18

/* "$", digits, CR, LF; hiredis takes the rest */
#define NGX_HTTP_RCACHE_BULK_LINE    (1 + NGX_INT64_LEN + 2)

/* of a status or an error */
#define NGX_HTTP_RCACHE_LINE_MAX     16384

/* what hiredis may keep of its buffer when it is empty */
#define NGX_HTTP_RCACHE_READER_KEEP  (256 * 1024)


static ngx_int_t ngx_http_rcache_reader_start(ngx_http_rcache_conn_t *conn);
static ngx_int_t ngx_http_rcache_reader_line(ngx_http_rcache_conn_t *conn,
    size_t n);
static ngx_int_t ngx_http_rcache_reader_bulk_line(
    ngx_http_rcache_conn_t *conn, size_t *len, size_t *line);
static ngx_int_t ngx_http_rcache_reader_direct(ngx_http_rcache_conn_t *conn,
    size_t len);
static ngx_int_t ngx_http_rcache_reader_bulk(ngx_http_rcache_conn_t *conn);
static ngx_int_t ngx_http_rcache_reader_feed(ngx_http_rcache_conn_t *conn,
    size_t n);
static ngx_uint_t ngx_http_rcache_reader_endless(redisReader *reader);
static ngx_int_t ngx_http_rcache_reader_elsewhere(
    ngx_http_rcache_conn_t *conn, ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static ngx_int_t ngx_http_rcache_reader_done(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_reply_t *reply);


ngx_int_t
ngx_http_rcache_reader_init(ngx_http_rcache_conn_t *conn)
{
    if (conn->start == NULL) {
        conn->start = ngx_palloc(ngx_cycle->pool, NGX_HTTP_RCACHE_BUFFER);
        if (conn->start == NULL) {
            return NGX_ERROR;
        }

        conn->end = conn->start + NGX_HTTP_RCACHE_BUFFER;
    }

    conn->pos = conn->start;
    conn->last = conn->start;

    conn->part = NGX_HTTP_RCACHE_PART_START;
    conn->invalid = NULL;

    conn->reader = redisReaderCreateWithFunctions(
                                           &ngx_http_rcache_object_functions);
    if (conn->reader == NULL) {
        return NGX_ERROR;
    }

    conn->reader->maxbuf = NGX_HTTP_RCACHE_READER_KEEP;
    conn->reader->privdata = conn;

    return NGX_OK;
}


void
ngx_http_rcache_reader_free(ngx_http_rcache_conn_t *conn)
{
    if (conn->reader) {
        redisReaderFree(conn->reader);
        conn->reader = NULL;
    }
}


ngx_int_t
ngx_http_rcache_reader_parse(ngx_http_rcache_conn_t *conn)
{
    ngx_int_t  rc;

    while (conn->pos < conn->last) {

        switch (conn->part) {

        case NGX_HTTP_RCACHE_PART_START:
            rc = ngx_http_rcache_reader_start(conn);
            break;

        case NGX_HTTP_RCACHE_PART_BULK:
            rc = ngx_http_rcache_reader_bulk(conn);
            break;

        default: /* NGX_HTTP_RCACHE_PART_REST */
            rc = ngx_http_rcache_reader_feed(conn, conn->last - conn->pos);
            break;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_rcache_reader_start(ngx_http_rcache_conn_t *conn)
{
    u_char     *p;
    size_t      n, len, line;
    ngx_int_t   rc;

    if (ngx_queue_empty(&conn->pending)) {
        conn->invalid = "nothing was asked";
        return NGX_ERROR;
    }

    conn->fed = 0;
    conn->elements = 0;

    n = conn->last - conn->pos;

    switch (*conn->pos) {

    case '$':
        rc = ngx_http_rcache_reader_bulk_line(conn, &len, &line);

        if (rc == NGX_OK && len >= NGX_HTTP_RCACHE_DIRECT) {
            conn->pos += line;
            return ngx_http_rcache_reader_direct(conn, len);
        }

        if (rc == NGX_OK) {
            n = ngx_min(n, line + len + 2);
            break;
        }

        if (rc == NGX_DECLINED) {
            return ngx_http_rcache_reader_line(conn, line);
        }

        return rc;

    case '+':
    case '-':
    case ':':
        p = ngx_strlchr(conn->pos, conn->last, LF);

        if (p) {
            return ngx_http_rcache_reader_line(conn, p + 1 - conn->pos);
        }

        break;

    default:
        break;
    }

    return ngx_http_rcache_reader_feed(conn, n);
}


/* a line that is a reply, of n bytes with its end: "$" is nil */

static ngx_int_t
ngx_http_rcache_reader_line(ngx_http_rcache_conn_t *conn, size_t n)
{
    int                       type;
    size_t                    len;
    u_char                   *p, *last;
    int64_t                   integer;
    ngx_http_rcache_op_t     *op;
    ngx_http_rcache_reply_t  *reply;

    p = conn->pos + 1;
    last = conn->pos + n - 2;

    if (n < sizeof("+" CRLF) - 1
        || n > NGX_HTTP_RCACHE_SHORT_LINE
        || *last != CR)
    {
        return ngx_http_rcache_reader_feed(conn, n);
    }

    len = 0;
    integer = 0;

    switch (*conn->pos) {

    case '$':
        type = REDIS_REPLY_NIL;
        break;

    case '+':
        type = REDIS_REPLY_STATUS;
        len = last - p;
        break;

    case ':':
        type = REDIS_REPLY_INTEGER;

        if (p == last || last - p > NGX_HTTP_RCACHE_SHORT_INT) {
            return ngx_http_rcache_reader_feed(conn, n);
        }

        for ( /* void */ ; p < last; p++) {

            if (*p < '0' || *p > '9') {
                return ngx_http_rcache_reader_feed(conn, n);
            }

            integer = integer * 10 + (*p - '0');
        }

        break;

    default:
        return ngx_http_rcache_reader_feed(conn, n);
    }

    op = ngx_http_rcache_conn_op(conn);

    if (op->detached) {
        reply = &conn->discard;

    } else {
        reply = ngx_palloc(op->pool, sizeof(ngx_http_rcache_reply_t) + len);

        if (reply == NULL) {
            return ngx_http_rcache_reader_feed(conn, n);
        }

        ngx_memzero(reply, sizeof(ngx_http_rcache_reply_t));

        reply->integer = integer;

        if (len) {
            reply->str.data = (u_char *) reply
                              + sizeof(ngx_http_rcache_reply_t);
            reply->str.len = len;

            ngx_memcpy(reply->str.data, p, len);
        }
    }

    reply->type = type;
    conn->pos += n;

    return ngx_http_rcache_reader_done(conn, reply);
}


/*
 * Of "$<len>\r\n" returns the number and the length of the line.
 * NGX_DECLINED: it is "$-1\r\n", no string; NGX_AGAIN: the line is not
 * complete.
 */

static ngx_int_t
ngx_http_rcache_reader_bulk_line(ngx_http_rcache_conn_t *conn, size_t *len,
    size_t *line)
{
    u_char  *p, *last;
    size_t   n;

    last = ngx_min(conn->last, conn->pos + NGX_HTTP_RCACHE_BULK_LINE);

    p = ngx_strlchr(conn->pos, last, LF);

    if (p == NULL) {
        if (last == conn->last) {
            return NGX_AGAIN;
        }

        goto invalid;
    }

    *line = p + 1 - conn->pos;

    if (*line < sizeof("$0" CRLF) - 1 || *(p - 1) != CR) {
        goto invalid;
    }

    last = p - 1;
    p = conn->pos + 1;

    if (last - p == 2 && p[0] == '-' && p[1] == '1') {
        return NGX_DECLINED;
    }

    if (*p == '0' && last - p > 1) {
        goto invalid;
    }

    for (n = 0; p < last; p++) {
        if (*p < '0' || *p > '9') {
            goto invalid;
        }

        if (n > (NGX_MAX_SIZE_T_VALUE - 9) / 10) {
            goto too_long;
        }

        n = n * 10 + (*p - '0');
    }

    if (n > ngx_http_rcache_conn_op(conn)->max_reply) {
        goto too_long;
    }

    *len = n;

    return NGX_OK;

too_long:

    conn->invalid = "the string is too long";

    return NGX_ERROR;

invalid:

    conn->invalid = "the length of a string is no number";

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_rcache_reader_direct(ngx_http_rcache_conn_t *conn, size_t len)
{
    ngx_http_rcache_op_t     *op;
    ngx_http_rcache_reply_t  *reply;

    op = ngx_http_rcache_conn_op(conn);

    conn->part = NGX_HTTP_RCACHE_PART_BULK;
    conn->rest = len;
    conn->tail = 2;
    conn->dst = NULL;
    conn->reply = NULL;

    if (op->detached) {
        return NGX_OK;
    }

    reply = ngx_palloc(op->pool, sizeof(ngx_http_rcache_reply_t));

    if (reply) {
        reply->type = REDIS_REPLY_STRING;
        reply->integer = 0;
        reply->element = NULL;
        reply->str.len = len;
        reply->str.data = ngx_pnalloc(op->pool, len);
    }

    if (reply == NULL || reply->str.data == NULL) {

        /* not the server's fault: the rest of the stream is sound */

        op->status = NGX_HTTP_RCACHE_OP_BUSY;
        return NGX_OK;
    }

    conn->reply = reply;
    conn->dst = reply->str.data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_reader_bulk(ngx_http_rcache_conn_t *conn)
{
    size_t  n;

    n = ngx_min(conn->rest, (size_t) (conn->last - conn->pos));

    if (n) {
        if (conn->dst) {
            conn->dst = ngx_cpymem(conn->dst, conn->pos, n);
        }

        conn->pos += n;
        conn->rest -= n;
    }

    while (conn->tail && conn->pos < conn->last) {

        if (*conn->pos++ != ((conn->tail == 2) ? CR : LF)) {
            conn->invalid = "a string is not of its length";
            return NGX_ERROR;
        }

        conn->tail--;
    }

    if (conn->tail) {
        return NGX_OK;
    }

    return ngx_http_rcache_reader_done(conn, conn->reply);
}


static ngx_int_t
ngx_http_rcache_reader_feed(ngx_http_rcache_conn_t *conn, size_t n)
{
    void                  *reply;
    redisReader           *reader;
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_conn_op(conn);
    reader = conn->reader;

    n = ngx_min(n, NGX_HTTP_RCACHE_PIECE);

    if (redisReaderFeed(reader, (char *) conn->pos, n) != REDIS_OK) {
        conn->invalid = "no memory";
        return NGX_ERROR;
    }

    conn->pos += n;
    conn->fed += n;
    conn->part = NGX_HTTP_RCACHE_PART_REST;

    reply = NULL;

    if (redisReaderGetReply(reader, &reply) != REDIS_OK) {

        if (conn->invalid == NULL) {
            conn->invalid = reader->errstr;
        }

        return NGX_ERROR;
    }

    if (reply) {
        conn->pos -= reader->len - reader->pos;
        reader->pos = reader->len;

        return ngx_http_rcache_reader_done(conn, reply);
    }

    if (ngx_http_rcache_reader_endless(reader)) {
        conn->invalid = "a line is too long";
        return NGX_ERROR;
    }

    if (conn->fed > NGX_HTTP_RCACHE_FRAME_MAX
        && conn->fed - NGX_HTTP_RCACHE_FRAME_MAX > op->max_reply)
    {
        conn->invalid = "it is too long";
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * hiredis gathers a line without an end, and looks for it from the beginning
 * each time: the work would grow with the square of the length.
 */

static ngx_uint_t
ngx_http_rcache_reader_endless(redisReader *reader)
{
    u_char  *p, *last;

    if (reader->len - reader->pos <= NGX_HTTP_RCACHE_LINE_MAX) {
        return 0;
    }

    p = (u_char *) reader->buf + reader->pos;
    last = p + NGX_HTTP_RCACHE_LINE_MAX;

    while (p < last) {
        p = ngx_strlchr(p, last, CR);

        if (p == NULL) {
            return 1;
        }

        p++;

        if (*p == LF) {
            return 0;
        }
    }

    return 1;
}


/*
 * An error may say that the command is for another server; what a replica does
 * not have the master may have.
 */

static ngx_int_t
ngx_http_rcache_reader_elsewhere(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_t *op, ngx_http_rcache_reply_t *reply)
{
    if (op->away) {
        return ngx_http_rcache_replica_refused(conn, op, reply);
    }

    if (conn->redis->cluster) {
        return ngx_http_rcache_cluster_redirect(conn, op, reply);
    }

    if (conn->redis->sentinel
        && !op->internal
        && reply->str.len >= 8
        && ngx_strncmp(reply->str.data, "READONLY", 8) == 0)
    {
        op->status = NGX_HTTP_RCACHE_OP_DOWN;

        ngx_http_rcache_op_finish(op, NULL);

        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "the server is a replica by now");
        return NGX_OK;
    }

    if (conn->redis->conf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SINGLE
        && reply->str.len >= 8
        && ngx_strncmp(reply->str.data, "READONLY", 8) == 0
        && ngx_http_rcache_node_renew(conn->node) == NGX_OK)
    {
        ngx_http_rcache_op_finish(op, reply);

        ngx_http_rcache_node_close(conn->node);
        return NGX_OK;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_rcache_reader_done(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_reply_t *reply)
{
    ngx_uint_t             serial;
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_conn_op(conn);

    ngx_queue_remove(&op->queue);

    conn->part = NGX_HTTP_RCACHE_PART_START;

    if (conn->state >= NGX_HTTP_RCACHE_CONN_READY) {
        conn->nops--;

        if (!conn->good && reply && reply->type != REDIS_REPLY_ERROR) {
            conn->good = 1;
            conn->node->backoff = 0;
        }
    }

    if (op->lane == NGX_HTTP_RCACHE_LANE_LOOKUP
        && conn->state >= NGX_HTTP_RCACHE_CONN_READY
        && conn->push == NULL
        && !op->internal)
    {
        ngx_http_rcache_breaker_answer(conn->node,
                                       ngx_current_msec - op->since);
    }

    serial = conn->serial;

    if (reply
        && (reply->type == REDIS_REPLY_ERROR
            || (op->away && reply->type == REDIS_REPLY_NIL))
        && conn->state >= NGX_HTTP_RCACHE_CONN_READY
        && conn->push == NULL
        && ngx_http_rcache_reader_elsewhere(conn, op, reply) == NGX_OK)
    {
        return (conn->serial == serial) ? NGX_OK : NGX_DONE;
    }

    ngx_http_rcache_op_finish(op, reply);

    return (conn->serial == serial) ? NGX_OK : NGX_DONE;
}
