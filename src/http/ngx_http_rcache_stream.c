
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A body comes from Redis a segment at a time, and leaves for the client as
 * it comes.  If a segment is lost when something has been said to the client,
 * the rest is asked of the upstream; where that cannot be, the client has to
 * see that the response is not whole.
 *
 * The request is kept by a bit of r->buffered, and it is ngx_http_writer()
 * that calls for more output, so a hit and a stored body behind a 304 or a
 * failure go the same way.
 *
 * For a client that takes what is compressed as it is the segments are the
 * inside of a gzip member, see rcache_coding.h.
 */


#include "ngx_http_rcache_stream.h"


static ngx_int_t ngx_http_rcache_stream_run(
    ngx_http_rcache_stream_t *stream);
static ngx_int_t ngx_http_rcache_stream_more(
    ngx_http_rcache_stream_t *stream);
static ngx_int_t ngx_http_rcache_stream_ready(
    ngx_http_rcache_stream_t *stream, ngx_chain_t **out, ngx_uint_t *last);
static ngx_uint_t ngx_http_rcache_stream_sent(
    ngx_http_rcache_stream_t *stream);
static ngx_int_t ngx_http_rcache_stream_send(ngx_http_rcache_stream_t *stream,
    ngx_chain_t *out, ngx_uint_t last);
static void ngx_http_rcache_stream_lost(ngx_http_rcache_stream_t *stream,
    uint32_t n, rcache_reason_e reason);
static ngx_int_t ngx_http_rcache_stream_resume(
    ngx_http_rcache_stream_t *stream);


void
ngx_http_rcache_stream_header(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    uint32_t                        first, asked;
    ngx_http_rcache_stream_t       *stream;
    ngx_http_rcache_stream_part_t  *part;

    if (ctx->entry.passed) {
        r->allow_ranges = 0;
    }

    if (!(ctx->entry.flags & RCACHE_ENTRY_SEGMENTED)) {
        return;
    }

    /* the range filter answers several ranges only over one buffer */

    r->single_range = 1;

    stream = ctx->stream;

    if (stream == NULL) {
        stream = ngx_http_rcache_stream_create(r, ctx);

        if (stream == NULL) {
            return;
        }
    }

    asked = stream->next;

    if (stream->passed != ctx->entry.passed) {

        /* it is not the entry that was probed any more */

        ngx_http_rcache_stream_discard(stream);
        stream->passed = ctx->entry.passed;
    }

    ngx_http_rcache_stream_range(r, stream);

    if (!r->allow_ranges || r->headers_out.status != NGX_HTTP_OK) {
        stream->next = 0;
        stream->end = stream->segments.count;
        stream->last = stream->body_len;
    }

    first = stream->next;

    if (!ngx_queue_empty(&stream->parts)) {
        part = ngx_queue_data(ngx_queue_head(&stream->parts),
                              ngx_http_rcache_stream_part_t, queue);

        if (part->n == first) {
            stream->next = asked;

        } else {
            ngx_http_rcache_stream_discard(stream);
        }
    }

    /* for the range filter the body begins there, as a slice does */

    r->headers_out.content_offset = (off_t) first * stream->segments.size;

    stream->ranged = (first != 0);
}


ngx_int_t
ngx_http_rcache_stream_start(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_stream_t  *stream;

    stream = ctx->stream;

    if (stream == NULL) {
        return NGX_ERROR;
    }

    if (stream->ranged && r->headers_out.status != NGX_HTTP_PARTIAL_CONTENT) {

        /* it knows better */

        ngx_http_rcache_stream_discard(stream);

        stream->next = 0;
        stream->end = stream->segments.count;
        stream->last = stream->body_len;
        stream->lost = 0;
    }

    stream->started = 1;

    ctx->state = NGX_HTTP_RCACHE_STREAM;
    r->buffered |= NGX_HTTP_RCACHE_BUFFERED;

    return ngx_http_rcache_stream_run(stream);
}


ngx_int_t
ngx_http_rcache_stream_write(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->stream->failed) {
        return NGX_ERROR;
    }

    rc = ngx_http_rcache_output(r, NULL);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (ctx->stream->resumed
        && ngx_http_rcache_resume_wake(ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_rcache_stream_run(ctx->stream);
}


void
ngx_http_rcache_stream_came(ngx_http_rcache_stream_t *stream, uint32_t n,
    rcache_reason_e reason)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (!stream->started) {

        /* it has been decided to serve, and it comes to that in this turn */

        if (reason != RCACHE_REASON_NONE) {
            ngx_http_rcache_stream_lost(stream, n, reason);
        }

        return;
    }

    r = stream->ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (reason != RCACHE_REASON_NONE) {
        ngx_http_rcache_stream_lost(stream, n, reason);
    }

    if (ngx_http_rcache_stream_run(stream) == NGX_ERROR || stream->failed) {
        c->error = 1;
    }

    /* ngx_http_writer() goes on, or ends it */

    if (ngx_http_post_request(r, NULL) != NGX_OK) {
        c->error = 1;
    }

    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_rcache_stream_run(ngx_http_rcache_stream_t *stream)
{
    ngx_int_t  rc;

    if (stream->running) {
        return NGX_OK;
    }

    if (stream->failed) {
        return NGX_ERROR;
    }

    stream->running = 1;

    rc = ngx_http_rcache_stream_more(stream);

    stream->running = 0;

    return rc;
}


static ngx_int_t
ngx_http_rcache_stream_more(ngx_http_rcache_stream_t *stream)
{
    ngx_int_t        rc;
    ngx_uint_t       last;
    ngx_chain_t     *out;
    rcache_reason_e  reason;

    for ( ;; ) {

        ngx_http_rcache_stream_consumed(stream);

        reason = ngx_http_rcache_stream_ask(stream);

        if (reason != RCACHE_REASON_NONE) {
            ngx_http_rcache_stream_lost(stream, stream->next, reason);
        }

        if (stream->failed) {
            return NGX_ERROR;
        }

        rc = ngx_http_rcache_stream_ready(stream, &out, &last);

        if (rc == NGX_OK) {
            rc = ngx_http_rcache_stream_send(stream, out, last);
        }

        if (rc == NGX_ERROR) {
            stream->failed = 1;
            return NGX_ERROR;
        }

        if (rc == NGX_DECLINED) {

            if (stream->lost && !stream->resumed
                && ngx_http_rcache_stream_sent(stream))
            {
                return ngx_http_rcache_stream_resume(stream);
            }

            return NGX_OK;
        }

        if (last) {
            return NGX_OK;
        }
    }
}


/* what has come, and is next for the client; NGX_DECLINED: nothing is */

static ngx_int_t
ngx_http_rcache_stream_ready(ngx_http_rcache_stream_t *stream,
    ngx_chain_t **out, ngx_uint_t *last)
{
    ngx_buf_t                      *b;
    ngx_chain_t                    *cl, **ll;
    ngx_queue_t                    *q;
    ngx_http_request_t             *r;
    ngx_http_rcache_ctx_t          *ctx;
    ngx_http_rcache_stream_part_t  *part;

    ctx = stream->ctx;
    r = ctx->request;

    *out = NULL;
    *last = 0;

    ll = out;

    for (q = ngx_queue_head(&stream->parts);
         q != ngx_queue_sentinel(&stream->parts);
         q = ngx_queue_next(q))
    {
        part = ngx_queue_data(q, ngx_http_rcache_stream_part_t, queue);

        if (part->buf) {
            continue;
        }

        if (part->payload.data == NULL) {
            break;
        }

        if (stream->passed && part->n == 0) {
            cl = ngx_http_rcache_gzip_piece(r->pool, &ctx->entry.coding, 0);
            if (cl == NULL) {
                return NGX_ERROR;
            }

            *ll = cl;
            ll = &cl->next;
        }

        cl = ngx_chain_get_free_buf(r->pool, &stream->free);
        if (cl == NULL) {
            return NGX_ERROR;
        }

        b = cl->buf;

        ngx_memzero(b, sizeof(ngx_buf_t));

        b->pos = part->payload.data;
        b->last = part->payload.data + part->payload.len;
        b->start = b->pos;
        b->end = b->last;
        b->memory = 1;
        b->tag = (ngx_buf_tag_t) &ngx_http_redis_proxy_cache_module;

        part->buf = b;

        *ll = cl;
        ll = &cl->next;

        if (part->n + 1 == stream->end) {

            if (stream->passed) {
                cl = ngx_http_rcache_gzip_piece(r->pool, &ctx->entry.coding,
                                                1);
                if (cl == NULL) {
                    return NGX_ERROR;
                }

                *ll = cl;
                ll = &cl->next;
                b = cl->buf;
            }

            b->last_buf = (r == r->main) ? 1 : 0;
            b->last_in_chain = 1;

            *last = 1;
        }
    }

    *ll = NULL;

    return *out ? NGX_OK : NGX_DECLINED;
}


/* is all that has been asked for with the filters? */

static ngx_uint_t
ngx_http_rcache_stream_sent(ngx_http_rcache_stream_t *stream)
{
    ngx_http_rcache_stream_part_t  *part;

    if (ngx_queue_empty(&stream->parts)) {
        return 1;
    }

    part = ngx_queue_data(ngx_queue_last(&stream->parts),
                          ngx_http_rcache_stream_part_t, queue);

    return part->buf != NULL;
}


static ngx_int_t
ngx_http_rcache_stream_send(ngx_http_rcache_stream_t *stream,
    ngx_chain_t *out, ngx_uint_t last)
{
    ngx_int_t               rc;
    ngx_chain_t            *cl;
    ngx_http_request_t     *r;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = stream->ctx;
    r = ctx->request;

    if (last) {
        ctx->state = NGX_HTTP_RCACHE_PASS;
        r->buffered &= ~NGX_HTTP_RCACHE_BUFFERED;
    }

    rc = ngx_http_rcache_pass_body(r, ctx, out, last);

    /* the links are ours, those who keep a buffer have links of their own */

    while (out) {
        cl = out;
        out = cl->next;
        ngx_free_chain(r->pool, cl);
    }

    if (last && ctx->instead) {

        /* there may be more of the failure's own */

        ctx->discard = 1;
    }

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


/*
 * The client has part of the response, or will have: segment n, and what is
 * behind it, has to come from elsewhere.
 */

static void
ngx_http_rcache_stream_lost(ngx_http_rcache_stream_t *stream, uint32_t n,
    rcache_reason_e reason)
{
    ngx_str_t                      *key;
    ngx_http_request_t             *r;
    ngx_http_rcache_ctx_t          *ctx;
    ngx_http_rcache_stream_part_t  *part;

    ctx = stream->ctx;
    r = ctx->request;

    while (!ngx_queue_empty(&stream->parts)) {
        part = ngx_queue_data(ngx_queue_last(&stream->parts),
                              ngx_http_rcache_stream_part_t, queue);

        if (part->n < n) {
            break;
        }

        ngx_http_rcache_stream_remove(part);
        ngx_http_rcache_stream_release(part);
    }

    stream->next = n;

    if (stream->lost) {
        return;
    }

    stream->lost = 1;
    ctx->reason = reason;

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "redis \"%V\" failed to give all of \"%V\", whose response "
                  "has begun: %V", &ctx->zone->conf.url, &ctx->redis_key,
                  rcache_reason_name(reason));

    if (reason == RCACHE_REASON_SEGMENT) {
        key = ctx->entry.vary.len ? &ctx->variant_key : &ctx->redis_key;

        ngx_http_rcache_segments_drop(ctx->zone, key, &ctx->seen);
    }

    if (ngx_http_rcache_resume_create(r, ctx) != NGX_OK) {
        stream->failed = 1;
        ngx_http_rcache_stream_cut(r);
    }
}


/* all in front of what is lost is with the filters */

static ngx_int_t
ngx_http_rcache_stream_resume(ngx_http_rcache_stream_t *stream)
{
    ngx_int_t               rc;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = stream->ctx;

    stream->resumed = 1;

    rc = ngx_http_rcache_resume_start(ctx->request, ctx,
                                      (uint64_t) stream->next
                                      * stream->segments.size, stream->last);
    if (rc != NGX_OK) {
        stream->failed = 1;
        ngx_http_rcache_stream_cut(ctx->request);
    }

    return rc;
}


/* the end of a body that came from elsewhere */

ngx_int_t
ngx_http_rcache_stream_end(ngx_http_rcache_ctx_t *ctx)
{
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = ctx->request;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    ctx->state = NGX_HTTP_RCACHE_PASS;
    r->buffered &= ~NGX_HTTP_RCACHE_BUFFERED;

    return ngx_http_rcache_pass_body(r, ctx, &out, 1);
}


/*
 * The client is to see that there is no more: the connection is closed by
 * whoever gets NGX_ERROR, or finds c->error.
 */

void
ngx_http_rcache_stream_cut(ngx_http_request_t *r)
{
    struct linger      linger;
    ngx_connection_t  *c;

    c = r->connection;

    if (r->main->http_version < NGX_HTTP_VERSION_20
        && r->main->headers_out.content_length_n == -1
        && !r->main->chunked)
    {
        /* for this client the end of the connection is that of the body */

        linger.l_onoff = 1;
        linger.l_linger = 0;

        (void) setsockopt(c->fd, SOL_SOCKET, SO_LINGER,
                          (const void *) &linger, sizeof(struct linger));
    }
}


void
ngx_http_rcache_stream_drop(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_stream_t  *stream;

    stream = ctx->stream;

    if (stream == NULL) {
        return;
    }

    ctx->stream = NULL;

    if (stream->exist) {
        ngx_http_rcache_op_detach(stream->exist);
        stream->exist = NULL;
    }

    ngx_http_rcache_stream_discard(stream);
}
