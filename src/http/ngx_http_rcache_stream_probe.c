
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Before anything is said to the client Redis is asked whether all segments
 * are there, together with the first one: an entry that has lost one is none.
 * What may be in memory as a whole is asked for as a whole instead.
 */


#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_stream.h"
#include "ngx_http_rcache_zone.h"
#include "../core/rcache_range.h"


static rcache_reason_e ngx_http_rcache_stream_exist(
    ngx_http_rcache_stream_t *stream);
static void ngx_http_rcache_stream_existed(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


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


ngx_http_rcache_stream_t *
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

void
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

void
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
