
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A body comes from Redis a segment at a time, and leaves for the client as
 * it comes.  A segment is asked for when one that was given to the filters
 * behind us has been consumed, so a client that reads slowly has no more than
 * two of them in memory.
 *
 * Before anything is said to the client Redis is asked whether all segments
 * are there, together with the first one: an entry that has lost one is none.
 * If one is lost after that, the rest is asked of the upstream; where that
 * cannot be, the client has to see that the response is not whole.
 *
 * The request is kept by a bit of r->buffered, and it is ngx_http_writer()
 * that calls for more output, so a hit and a stored body behind a 304 or a
 * failure go the same way.
 *
 * What is compressed in Redis is decompressed when it comes; what cannot be is
 * as good as lost.  For a client that takes it as it is the segments are the
 * inside of a gzip member, see rcache_coding.h.
 */


#include "ngx_http_rcache_body.h"


/* of the body in memory: a segment that is being sent, the next, a short end */

#define ngx_http_rcache_stream_room(segments)                                 \
    (2 * (uint64_t) (segments)->size + (segments)->size / 4)


/* a segment; in the pool of its operation */

typedef struct {
    ngx_queue_t               queue;
    ngx_http_rcache_stream_t *stream;
    ngx_http_rcache_op_t     *op;
    ngx_buf_t                *buf;        /* NULL: not sent yet */
    rcache_str_t              payload;    /* no data: not there yet */
    uint32_t                  n;
} ngx_http_rcache_stream_part_t;


struct ngx_http_rcache_stream_s {
    ngx_http_rcache_ctx_t    *ctx;
    rcache_segments_t         segments;
    uint64_t                  body_len;

    uint32_t                  next;       /* to be asked for */
    uint32_t                  end;        /* behind the last one needed */
    uint64_t                  last;       /* the byte behind that */

    ngx_queue_t               parts;      /* in order */
    uint64_t                  ahead;      /* bytes, of all of them */
    ngx_chain_t              *free;
    ngx_msec_t                renewed;

    ngx_http_rcache_op_t     *exist;      /* being asked */
    uint32_t                  expected;   /* its answer */
    rcache_reason_e           reason;     /* why the probe fails */
    rcache_reason_e           verdict;    /* what to go on with after it */

    unsigned                  probing:1;
    unsigned                  whole:1;    /* all that is needed is asked for */
    unsigned                  started:1;
    unsigned                  running:1;
    unsigned                  failed:1;
    unsigned                  lost:1;     /* "next" and all behind it */
    unsigned                  resumed:1;  /* the upstream is asked for it */
    unsigned                  ranged:1;   /* content_offset is set */
    unsigned                  passed:1;   /* as it is kept, if compressed */
};


static ngx_http_rcache_stream_t *ngx_http_rcache_stream_create(
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_stream_range(ngx_http_request_t *r,
    ngx_http_rcache_stream_t *stream);
static rcache_reason_e ngx_http_rcache_stream_exist(
    ngx_http_rcache_stream_t *stream);
static void ngx_http_rcache_stream_existed(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_stream_probed(ngx_http_rcache_stream_t *stream);
static rcache_reason_e ngx_http_rcache_stream_ask(
    ngx_http_rcache_stream_t *stream);
static void ngx_http_rcache_stream_got(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static rcache_reason_e ngx_http_rcache_stream_take(
    ngx_http_rcache_stream_part_t *part, ngx_http_rcache_reply_t *reply);
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
static void ngx_http_rcache_stream_consumed(
    ngx_http_rcache_stream_t *stream);
static void ngx_http_rcache_stream_lost(ngx_http_rcache_stream_t *stream,
    uint32_t n, rcache_reason_e reason);
static ngx_int_t ngx_http_rcache_stream_resume(
    ngx_http_rcache_stream_t *stream);
static void ngx_http_rcache_stream_discard(ngx_http_rcache_stream_t *stream);
static void ngx_http_rcache_stream_remove(
    ngx_http_rcache_stream_part_t *part);
static void ngx_http_rcache_stream_release(
    ngx_http_rcache_stream_part_t *part);


ngx_int_t
ngx_http_rcache_stream_probe(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_reason_e *reason)
{
    ngx_uint_t                 wanted;
    ngx_http_rcache_stream_t  *stream;

    ngx_http_rcache_stream_drop(ctx);

    if (!(ctx->entry.flags & RCACHE_ENTRY_SEGMENTED)
        || r->method == NGX_HTTP_HEAD)
    {
        return NGX_DECLINED;
    }

    stream = ngx_http_rcache_stream_create(r, ctx);

    if (stream == NULL) {
        *reason = RCACHE_REASON_NO_MEMORY;
        return NGX_ERROR;
    }

    stream->verdict = *reason;
    stream->probing = 1;

    ngx_http_rcache_stream_range(r, stream);

    /* a client that has conditions may need no body */

    wanted = (stream->verdict == RCACHE_REASON_NONE
              && !r->headers_in.if_none_match
              && !r->headers_in.if_modified_since);

    stream->whole = (wanted
                     && ctx->zone->inactive == 0
                     && stream->end == stream->segments.count
                     && stream->body_len
                        - (uint64_t) stream->next * stream->segments.size
                        <= ngx_http_rcache_stream_room(&stream->segments));

    *reason = stream->whole ? RCACHE_REASON_NONE
                            : ngx_http_rcache_stream_exist(stream);

    if (wanted && *reason == RCACHE_REASON_NONE) {
        *reason = ngx_http_rcache_stream_ask(stream);
    }

    if (*reason != RCACHE_REASON_NONE) {
        ngx_http_rcache_stream_drop(ctx);
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


static ngx_http_rcache_stream_t *
ngx_http_rcache_stream_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_stream_t  *stream;

    stream = ngx_pcalloc(r->pool, sizeof(ngx_http_rcache_stream_t));
    if (stream == NULL) {
        return NULL;
    }

    stream->ctx = ctx;
    stream->segments = ctx->entry.segments;
    stream->body_len = ctx->entry.body_len;
    stream->last = stream->body_len;
    stream->end = stream->segments.count;
    stream->renewed = ngx_current_msec;
    stream->passed = ngx_http_rcache_passes(r, &ctx->entry);

    ngx_queue_init(&stream->parts);

    ctx->stream = stream;

    return stream;
}


/* the segments that a single range needs; several get the whole body */

static void
ngx_http_rcache_stream_range(ngx_http_request_t *r,
    ngx_http_rcache_stream_t *stream)
{
    rcache_range_t   *range;
    rcache_ranges_t   ranges;

    stream->next = 0;
    stream->end = stream->segments.count;
    stream->last = stream->body_len;

    if (r != r->main
        || r->headers_in.range == NULL
        || stream->passed
        || stream->ctx->entry.status != NGX_HTTP_OK
        || rcache_range_parse(&ranges, &r->headers_in.range->value)
           != RCACHE_OK
        || ranges.n != 1
        || rcache_range_resolve(&ranges, stream->body_len) != RCACHE_OK)
    {
        return;
    }

    range = &ranges.range[0];

    stream->next = (uint32_t) (range->start / stream->segments.size);
    stream->end = (uint32_t) ((range->end - 1) / stream->segments.size) + 1;
    stream->last = range->end;
}


static rcache_reason_e
ngx_http_rcache_stream_exist(ngx_http_rcache_stream_t *stream)
{
    uint32_t                 first;
    rcache_reason_e          reason;
    ngx_http_rcache_op_t    *op;
    ngx_http_rcache_zone_t  *zone;

    zone = stream->ctx->zone;

    if (zone->inactive) {

        /* the lookup has given the entry more time, and it needs them all */

        first = 0;
        op = ngx_http_rcache_segments_life(&stream->ctx->redis_key,
                                           &stream->segments, first, '+',
                                           zone->inactive
                                           + NGX_HTTP_RCACHE_SEGMENT_GRACE);
    } else {
        first = stream->next;
        op = ngx_http_rcache_segments_exist(&stream->ctx->redis_key,
                                            &stream->segments, first);
    }

    if (op == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    op->handler = ngx_http_rcache_stream_existed;
    op->data = stream;
    op->replica = (zone->inactive == 0
                   && ngx_http_rcache_from_replica(stream->ctx));

    reason = ngx_http_rcache_zone_submit(zone, op);

    if (reason == RCACHE_REASON_NONE) {
        stream->exist = op;
        stream->expected = stream->segments.count - first;
    }

    return reason;
}


static void
ngx_http_rcache_stream_existed(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_stream_t *stream = op->data;

    stream->exist = NULL;

    if (reply == NULL) {
        stream->reason = ngx_http_rcache_op_reason(op);

    } else if (reply->type != REDIS_REPLY_INTEGER) {
        stream->reason = RCACHE_REASON_REDIS_ERROR;

    } else if (reply->integer != (int64_t) stream->expected) {

        if (op->away) {

            /* another replica than that of the entry may be behind it */

            stream->ctx->master = 1;
            stream->reason = ngx_http_rcache_stream_exist(stream);

            if (stream->reason == RCACHE_REASON_NONE) {
                return;
            }

        } else {
            stream->reason = RCACHE_REASON_SEGMENT;
        }
    }

    ngx_http_rcache_stream_probed(stream);
}


/* one of two answers is there */

static void
ngx_http_rcache_stream_probed(ngx_http_rcache_stream_t *stream)
{
    ngx_queue_t                    *q;
    rcache_reason_e                 reason;
    ngx_http_rcache_ctx_t          *ctx;
    ngx_http_rcache_stream_part_t  *part;

    reason = stream->reason;

    if (reason == RCACHE_REASON_NONE) {

        if (stream->exist) {
            return;
        }

        for (q = ngx_queue_head(&stream->parts);
             q != ngx_queue_sentinel(&stream->parts);
             q = ngx_queue_next(q))
        {
            part = ngx_queue_data(q, ngx_http_rcache_stream_part_t, queue);

            if (part->payload.data == NULL) {
                return;
            }
        }

        reason = stream->verdict;
        stream->probing = 0;

        ngx_http_rcache_probed(stream->ctx, reason);

        return;
    }

    ctx = stream->ctx;

    ngx_http_rcache_stream_drop(ctx);
    ngx_http_rcache_probed(ctx, reason);
}


static rcache_reason_e
ngx_http_rcache_stream_ask(ngx_http_rcache_stream_t *stream)
{
    uint32_t                        size;
    rcache_reason_e                 reason;
    ngx_http_rcache_op_t           *op;
    ngx_http_rcache_stream_part_t  *part;

    while (!stream->lost && stream->next < stream->end) {

        size = rcache_segment_len(&stream->segments, stream->body_len,
                                  stream->next);

        if (stream->ahead + size
            > ngx_http_rcache_stream_room(&stream->segments))
        {
            break;
        }

        if (stream->probing && !stream->whole && stream->ahead) {

            /* whether more than the first will be of use is not known yet */

            break;
        }

        op = ngx_http_rcache_segments_get(&stream->ctx->redis_key,
                                          &stream->segments, stream->next);
        if (op == NULL) {
            return RCACHE_REASON_NO_MEMORY;
        }

        part = ngx_pcalloc(op->pool, sizeof(ngx_http_rcache_stream_part_t));

        if (part == NULL) {
            ngx_http_rcache_op_free(op);
            return RCACHE_REASON_NO_MEMORY;
        }

        part->stream = stream;
        part->op = op;
        part->n = stream->next;

        op->handler = ngx_http_rcache_stream_got;
        op->data = part;
        op->replica = ngx_http_rcache_from_replica(stream->ctx);

        reason = ngx_http_rcache_zone_submit(stream->ctx->zone, op);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }

        ngx_queue_insert_tail(&stream->parts, &part->queue);

        stream->ahead += size;
        stream->next++;
    }

    return RCACHE_REASON_NONE;
}


static void
ngx_http_rcache_stream_got(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_stream_part_t *part = op->data;

    rcache_reason_e            reason;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_rcache_stream_t  *stream;

    stream = part->stream;

    reason = reply ? ngx_http_rcache_stream_take(part, reply)
                   : ngx_http_rcache_op_reason(op);

    if (reason != RCACHE_REASON_NONE) {
        ngx_http_rcache_stream_remove(part);

    } else {
        op->keep = 1;
    }

    if (stream->probing) {
        stream->reason = reason;
        ngx_http_rcache_stream_probed(stream);
        return;
    }

    if (!stream->started) {

        /* it has been decided to serve, and it comes to that in this turn */

        if (reason != RCACHE_REASON_NONE) {
            ngx_http_rcache_stream_lost(stream, part->n, reason);
        }

        return;
    }

    r = stream->ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (reason != RCACHE_REASON_NONE) {
        ngx_http_rcache_stream_lost(stream, part->n, reason);
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


static rcache_reason_e
ngx_http_rcache_stream_take(ngx_http_rcache_stream_part_t *part,
    ngx_http_rcache_reply_t *reply)
{
    size_t                     size;
    rcache_reason_e            reason;
    ngx_http_rcache_ctx_t     *ctx;
    ngx_http_rcache_stream_t  *stream;

    stream = part->stream;
    ctx = stream->ctx;

    if (reply->type == REDIS_REPLY_NIL) {
        return RCACHE_REASON_SEGMENT;
    }

    if (reply->type != REDIS_REPLY_STRING) {
        return RCACHE_REASON_REDIS_ERROR;
    }

    if (rcache_segment_decode(&part->payload, &stream->segments,
                              stream->body_len, part->n, reply->str.data,
                              reply->str.len, ctx->zone->secrets)
        != RCACHE_OK)
    {
        part->payload.data = NULL;

        ngx_http_rcache_zone_damaged(ctx->zone, &ctx->redis_key,
                                     RCACHE_REASON_SEGMENT);
        return RCACHE_REASON_SEGMENT;
    }

    if (stream->segments.coding == RCACHE_CODING_NONE) {
        return RCACHE_REASON_NONE;
    }

    size = rcache_segment_len(&stream->segments, stream->body_len, part->n);

    reason = ngx_http_rcache_decode_part(part->op->pool,
                                         stream->segments.coding,
                                         &part->payload, size, stream->passed);

    if (reason == RCACHE_REASON_NONE) {

        if (part->payload.data < reply->str.data
            || part->payload.data >= reply->str.data + reply->str.len)
        {
            (void) ngx_pfree(part->op->pool, reply->str.data);
        }

        return RCACHE_REASON_NONE;
    }

    part->payload.data = NULL;

    if (reason == RCACHE_REASON_SEGMENT) {
        ngx_http_rcache_zone_damaged(ctx->zone, &ctx->redis_key, reason);
    }

    return reason;
}


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


static void
ngx_http_rcache_stream_consumed(ngx_http_rcache_stream_t *stream)
{
    ngx_chain_t                    *cl;
    ngx_http_rcache_op_t           *op;
    ngx_http_rcache_stream_part_t  *part;

    while (!ngx_queue_empty(&stream->parts)) {
        part = ngx_queue_data(ngx_queue_head(&stream->parts),
                              ngx_http_rcache_stream_part_t, queue);

        if (part->buf == NULL || ngx_buf_size(part->buf) != 0) {
            break;
        }

        cl = ngx_alloc_chain_link(stream->ctx->request->pool);

        if (cl) {
            cl->buf = part->buf;
            cl->next = stream->free;
            stream->free = cl;
        }

        ngx_http_rcache_stream_remove(part);
        ngx_http_rcache_stream_release(part);
    }

    if (!stream->lost && stream->next < stream->end
        && ngx_current_msec - stream->renewed > NGX_HTTP_RCACHE_SEGMENT_RENEW)
    {
        /* the entry may be gone, or another: what is left has to stay */

        stream->renewed = ngx_current_msec;

        op = ngx_http_rcache_segments_life(&stream->ctx->redis_key,
                                           &stream->segments, stream->next,
                                           '+', NGX_HTTP_RCACHE_SEGMENT_GRACE);

        ngx_http_rcache_segments_send(stream->ctx->zone, op);
    }
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


static void
ngx_http_rcache_stream_discard(ngx_http_rcache_stream_t *stream)
{
    ngx_http_rcache_stream_part_t  *part;

    while (!ngx_queue_empty(&stream->parts)) {
        part = ngx_queue_data(ngx_queue_head(&stream->parts),
                              ngx_http_rcache_stream_part_t, queue);

        ngx_http_rcache_stream_remove(part);
        ngx_http_rcache_stream_release(part);
    }
}


static void
ngx_http_rcache_stream_remove(ngx_http_rcache_stream_part_t *part)
{
    ngx_http_rcache_stream_t  *stream;

    stream = part->stream;

    ngx_queue_remove(&part->queue);

    stream->ahead -= rcache_segment_len(&stream->segments, stream->body_len,
                                        part->n);
}


/* an operation that has been answered is ours, one that has not is not */

static void
ngx_http_rcache_stream_release(ngx_http_rcache_stream_part_t *part)
{
    if (part->payload.data) {
        ngx_http_rcache_op_free(part->op);

    } else {
        ngx_http_rcache_op_detach(part->op);
    }
}
