
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The segments of a stream that are in memory, or on their way there.  One is
 * asked for when one that was given to the filters behind us has been consumed,
 * so a client that reads slowly has no more than two of them, and a short one
 * at the end.
 *
 * What is compressed in Redis is decompressed when it comes; what cannot be is
 * as good as lost.
 */


#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_stream.h"
#include "ngx_http_rcache_zone.h"


static void ngx_http_rcache_stream_got(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static rcache_reason_e ngx_http_rcache_stream_take(
    ngx_http_rcache_stream_part_t *part, ngx_http_rcache_reply_t *reply);


rcache_reason_e
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

    ngx_http_rcache_stream_came(stream, part->n, reason);
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


void
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


void
ngx_http_rcache_stream_remove(ngx_http_rcache_stream_part_t *part)
{
    ngx_http_rcache_stream_t  *stream;

    stream = part->stream;

    ngx_queue_remove(&part->queue);

    stream->ahead -= rcache_segment_len(&stream->segments, stream->body_len,
                                        part->n);
}


/* an operation that has been answered is ours, one that has not is not */

void
ngx_http_rcache_stream_release(ngx_http_rcache_stream_part_t *part)
{
    if (part->payload.data) {
        ngx_http_rcache_op_free(part->op);

    } else {
        ngx_http_rcache_op_detach(part->op);
    }
}
