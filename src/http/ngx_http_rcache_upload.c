
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A body leaves for Redis as it arrives, a segment at a time, each in the
 * pool of the operation that stores it.  What has left and has not been
 * answered for is bounded, for the request and for the worker: beyond that
 * Redis is slower than the upstream, and the body is not stored.  Nobody
 * waits for it.
 *
 * When much is on its way the rest of the body is left for the next turn; and
 * before a limit is reached the upstream is not read from until Redis has
 * caught up, for as long as the request's budget lasts: see
 * ngx_http_rcache_throttle.c.
 *
 * If all of them together are too much for Redis, and each waited and gave up
 * as the others do, none would be stored.  So the later one began the less it
 * takes to make it wait, and give up: as many are left as Redis can take.
 *
 * A segment may be compressed before it leaves.  That takes a worker longer
 * than all else that is done with it, so behind it others have a turn.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_zone.h"
#include <openssl/rand.h>


/* a multiple of 16 */

#define NGX_HTTP_RCACHE_UPLOAD_POOL  1024

/* bytes: behind what is compressed others have a turn; what is too short */

#define NGX_HTTP_RCACHE_UPLOAD_TURN   65536
#define NGX_HTTP_RCACHE_UPLOAD_SHORT  64


struct ngx_http_rcache_upload_s {
    ngx_pool_t                *pool;
    ngx_http_rcache_zone_t    *zone;
    ngx_queue_t                queue;       /* in zone->uploads */
    ngx_str_t                  base;

    rcache_segments_t          segments;    /* count: those that have left */
    ngx_http_rcache_op_t      *op;          /* the next one, or NULL */
    ngx_buf_t                 *buf;         /* its payload */

    size_t                     in_flight;   /* bytes */
    size_t                     limit;
    size_t                     limit_all;
    ngx_uint_t                 number;      /* as they began */
    ngx_uint_t                 pending;     /* operations */
    ngx_msec_t                 renewed;

    ngx_http_rcache_body_conf_t  *conf;     /* NULL: not compressed */
    size_t                     min_length;
    uint64_t                   length;      /* of what has left */
    uint64_t                   saved;       /* bytes of Redis, in a dry run */
    size_t                     turn;        /* compressed since the last one */
    uint32_t                   crc;

    rcache_reason_e            failed;
    ngx_http_rcache_throttle_t  *throttle;

    unsigned                   coded:1;     /* some segments are */
    unsigned                   dry:1;
    unsigned                   closed:1;
};


/* a segment that has left; in the pool of its operation */

typedef struct {
    ngx_http_rcache_upload_t  *upload;
    size_t                     size;
} ngx_http_rcache_upload_part_t;


static rcache_reason_e ngx_http_rcache_upload_next(
    ngx_http_rcache_upload_t *upload, size_t size);
static rcache_reason_e ngx_http_rcache_upload_send(
    ngx_http_rcache_upload_t *upload, ngx_uint_t last);
static size_t ngx_http_rcache_upload_behind(ngx_http_rcache_upload_t *upload);
static ngx_uint_t ngx_http_rcache_upload_crowded(
    ngx_http_rcache_upload_t *upload);
static ngx_buf_t *ngx_http_rcache_upload_encode(
    ngx_http_rcache_upload_t *upload, ngx_http_rcache_op_t *op, ngx_buf_t *b);
static rcache_reason_e ngx_http_rcache_upload_submit(
    ngx_http_rcache_upload_t *upload, ngx_http_rcache_op_t *op, ngx_buf_t *b,
    size_t size);
static ngx_int_t ngx_http_rcache_upload_command(
    ngx_http_rcache_upload_t *upload, ngx_http_rcache_op_t *op, ngx_buf_t *b);
static void ngx_http_rcache_upload_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_upload_free(ngx_http_rcache_upload_t *upload);


static ngx_uint_t  ngx_http_rcache_upload_number;


ngx_http_rcache_upload_t *
ngx_http_rcache_upload_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_body_conf_t *conf,
    size_t min_length)
{
    ngx_pool_t                  *pool;
    ngx_http_rcache_upload_t    *upload;
    ngx_http_rcache_loc_conf_t  *rlcf;

    pool = ngx_create_pool(NGX_HTTP_RCACHE_UPLOAD_POOL, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    upload = ngx_pcalloc(pool, sizeof(ngx_http_rcache_upload_t));
    if (upload == NULL) {
        goto failed;
    }

    upload->base.len = ctx->redis_key.len;
    upload->base.data = ngx_pstrdup(pool, &ctx->redis_key);

    if (upload->base.data == NULL) {
        goto failed;
    }

    if (RAND_bytes((u_char *) &upload->segments.id, sizeof(uint64_t)) != 1) {
        goto failed;
    }

    upload->throttle = ngx_http_rcache_throttle_create(r, ctx,
                                                       &upload->throttle);
    if (upload->throttle == NULL) {
        goto failed;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    upload->pool = pool;
    upload->zone = ctx->zone;
    upload->segments.size = (uint32_t) rlcf->body.segment;
    upload->limit = rlcf->body.in_flight;
    upload->limit_all = rlcf->body.in_flight_all;
    upload->renewed = ngx_current_msec;
    upload->conf = conf;
    upload->min_length = min_length;
    upload->dry = (ctx->dry != NULL);

    upload->number = ngx_http_rcache_upload_number++;

    if (!upload->dry) {
        ngx_queue_insert_tail(&upload->zone->uploads, &upload->queue);
        ngx_http_rcache_redis_bulk(upload->zone->redis, 1);
    }

    return upload;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


rcache_reason_e
ngx_http_rcache_upload_room(ngx_http_rcache_upload_t *upload, uint64_t rest,
    ngx_buf_t **b)
{
    size_t           size;
    rcache_reason_e  reason;

    if (upload->failed != RCACHE_REASON_NONE) {
        return upload->failed;
    }

    if (upload->buf && upload->buf->last == upload->buf->end) {
        reason = ngx_http_rcache_upload_send(upload, 0);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    if (upload->buf == NULL) {
        size = upload->segments.size;

        if (rest && rest < size) {
            size = (size_t) rest;
        }

        reason = ngx_http_rcache_upload_next(upload, size);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    *b = upload->buf;

    return RCACHE_REASON_NONE;
}


/* the header of the segment is in front of the payload */

static rcache_reason_e
ngx_http_rcache_upload_next(ngx_http_rcache_upload_t *upload, size_t size)
{
    ngx_http_rcache_op_t  *op;

    if (upload->segments.count == RCACHE_SEGMENTS_MAX) {
        return RCACHE_REASON_TOO_LARGE;
    }

    op = ngx_http_rcache_op_create(1024
                                   + 2 * (upload->base.len
                                          + RCACHE_SEGMENT_KEY),
                                   ngx_cycle->log);
    if (op == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    upload->buf = ngx_create_temp_buf(op->pool, RCACHE_SEGMENT_FIXED + size);

    if (upload->buf == NULL) {
        ngx_http_rcache_op_free(op);
        return RCACHE_REASON_NO_MEMORY;
    }

    upload->buf->pos += RCACHE_SEGMENT_FIXED;
    upload->buf->last = upload->buf->pos;

    upload->op = op;

    return RCACHE_REASON_NONE;
}


static rcache_reason_e
ngx_http_rcache_upload_send(ngx_http_rcache_upload_t *upload, ngx_uint_t last)
{
    size_t                 size;
    ngx_buf_t             *b;
    rcache_reason_e        reason;
    ngx_http_rcache_op_t  *op;

    op = upload->op;
    b = upload->buf;
    size = b->last - b->pos;

    if (!upload->dry
        && (upload->in_flight + size > upload->limit
            || upload->zone->in_flight + size
               > upload->limit_all - ngx_http_rcache_upload_behind(upload)))
    {
        return RCACHE_REASON_SLOW;
    }

    upload->op = NULL;
    upload->buf = NULL;

    upload->length += size;

    if (upload->conf) {
        b = ngx_http_rcache_upload_encode(upload, op, b);
    }

    rcache_segment_encode(b->start, upload->segments.id,
                          upload->segments.count, (uint32_t) size,
                          (uint32_t) (b->last - b->pos),
                          upload->zone->secrets);
    b->pos = b->start;

    if (upload->dry) {
        upload->saved += rcache_dry_string(RCACHE_SEGMENT_FIXED + size)
                         - rcache_dry_string(b->last - b->pos);
        upload->segments.count++;

        ngx_http_rcache_op_free(op);

    } else {
        reason = ngx_http_rcache_upload_submit(upload, op, b, size);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    if (upload->throttle && !last) {

        if (ngx_http_rcache_upload_full(upload)) {
            upload->turn = 0;

            ngx_http_rcache_throttle_turn(upload->throttle);
            ngx_http_rcache_throttle_pause(upload->throttle);

        } else if (upload->in_flight > upload->limit / 4
                   || upload->turn >= NGX_HTTP_RCACHE_UPLOAD_TURN)
        {
            upload->turn = 0;

            ngx_http_rcache_throttle_turn(upload->throttle);
        }
    }

    return RCACHE_REASON_NONE;
}


/* what leaves in place of b: something shorter, or b itself */

static ngx_buf_t *
ngx_http_rcache_upload_encode(ngx_http_rcache_upload_t *upload,
    ngx_http_rcache_op_t *op, ngx_buf_t *b)
{
    u_char       *p;
    size_t        size, room;
    ssize_t       n;
    ngx_buf_t    *to;
    ngx_chain_t   in;

    size = b->last - b->pos;

    if (upload->conf->compress == RCACHE_CODING_GZIP) {
        upload->crc = ngx_http_rcache_crc(upload->crc, b->pos, size);
    }

    /* as long as nobody knows whether all of it will be that long */

    if (upload->length < upload->min_length
        || size < NGX_HTTP_RCACHE_UPLOAD_SHORT)
    {
        return b;
    }

    /* less than an eighth is not worth it */

    room = size - size / 8;

    p = ngx_alloc(room, ngx_cycle->log);
    if (p == NULL) {
        return b;
    }

    in.buf = b;
    in.next = NULL;

    n = ngx_http_rcache_encode(upload->conf, 1, &in, size, p, room);

    upload->turn += size;

    /* what waits for Redis takes no more memory than it has to */

    to = (n > 0) ? ngx_create_temp_buf(op->pool, RCACHE_SEGMENT_FIXED + n)
                 : NULL;

    if (to) {
        to->pos += RCACHE_SEGMENT_FIXED;
        to->last = ngx_cpymem(to->pos, p, n);

        (void) ngx_pfree(op->pool, b->start);

        upload->coded = 1;
        b = to;
    }

    ngx_free(p);

    return b;
}


/* size: of the part of the body */

static rcache_reason_e
ngx_http_rcache_upload_submit(ngx_http_rcache_upload_t *upload,
    ngx_http_rcache_op_t *op, ngx_buf_t *b, size_t size)
{
    rcache_reason_e                 reason;
    ngx_http_rcache_upload_part_t  *part;

    part = ngx_palloc(op->pool, sizeof(ngx_http_rcache_upload_part_t));

    if (part == NULL
        || ngx_http_rcache_upload_command(upload, op, b) != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return RCACHE_REASON_NO_MEMORY;
    }

    part->upload = upload;
    part->size = size;

    op->lane = NGX_HTTP_RCACHE_LANE_BULK;
    op->handler = ngx_http_rcache_upload_done;
    op->data = part;
    op->max_reply = 0;

    op->command = RCACHE_COMMAND_STORE;

    reason = ngx_http_rcache_zone_submit(upload->zone, op);

    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    upload->segments.count++;
    upload->pending++;
    upload->in_flight += size;
    upload->zone->in_flight += size;

    if (ngx_current_msec - upload->renewed > NGX_HTTP_RCACHE_SEGMENT_RENEW) {
        upload->renewed = ngx_current_msec;

        op = ngx_http_rcache_segments_life(&upload->base, &upload->segments,
                                           0, '+',
                                           NGX_HTTP_RCACHE_SEGMENT_GRACE);

        ngx_http_rcache_segments_send(upload->zone, op);
    }

    return RCACHE_REASON_NONE;
}


/* bytes: 0 for the one that began first, half of the limit for the last */

static size_t
ngx_http_rcache_upload_behind(ngx_http_rcache_upload_t *upload)
{
    ngx_queue_t               *uploads;
    ngx_http_rcache_upload_t  *first, *last;

    if (upload->dry || upload->closed) {
        return 0;
    }

    uploads = &upload->zone->uploads;

    first = ngx_queue_data(ngx_queue_head(uploads), ngx_http_rcache_upload_t,
                           queue);
    last = ngx_queue_data(ngx_queue_last(uploads), ngx_http_rcache_upload_t,
                          queue);

    if (upload->number <= first->number) {
        return 0;
    }

    return upload->limit_all / 2 * (upload->number - first->number)
           / (last->number - first->number);
}


/* a quarter of the limit before this one gives up, its next segment waits */

static ngx_uint_t
ngx_http_rcache_upload_crowded(ngx_http_rcache_upload_t *upload)
{
    return upload->zone->in_flight
           > upload->limit_all / 4 * 3 - ngx_http_rcache_upload_behind(upload);
}


static ngx_int_t
ngx_http_rcache_upload_command(ngx_http_rcache_upload_t *upload,
    ngx_http_rcache_op_t *op, ngx_buf_t *b)
{
    u_char       grace[NGX_INT_T_LEN];
    ngx_str_t    argv[5];
    ngx_chain_t  payload;

    ngx_str_set(&argv[0], "SET");

    if (ngx_http_rcache_segment_keys(op->pool, &argv[1], &upload->base,
                                     upload->segments.id,
                                     upload->segments.count, 1)
        == NULL)
    {
        return NGX_ERROR;
    }

    argv[2].data = NULL;
    argv[2].len = b->last - b->pos;
    ngx_str_set(&argv[3], "PX");
    argv[4].data = grace;
    argv[4].len = ngx_sprintf(grace, "%d", NGX_HTTP_RCACHE_SEGMENT_GRACE)
                  - grace;

    payload.buf = b;
    payload.next = NULL;

    return ngx_http_rcache_op_command(op, argv, 5, &payload);
}


/* whose segment it was may be gone long since, but not the upload */

static void
ngx_http_rcache_upload_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_upload_part_t *part = op->data;

    ngx_http_rcache_upload_t  *upload;

    upload = part->upload;

    upload->pending--;
    upload->in_flight -= part->size;
    upload->zone->in_flight -= part->size;

    if (reply == NULL) {
        upload->failed = ngx_http_rcache_op_reason(op);

    } else if (!ngx_http_rcache_zone_accepts(upload->zone,
                                             NGX_HTTP_RCACHE_LANE_BULK, reply))
    {
        upload->failed = RCACHE_REASON_REDIS_ERROR;
    }

    /* nothing more would tell one that waits for others */

    if (upload->throttle
        && (upload->in_flight == 0
            || (upload->in_flight <= upload->limit / 4
                && !ngx_http_rcache_upload_crowded(upload))
            || upload->failed != RCACHE_REASON_NONE))
    {
        ngx_http_rcache_throttle_resume(upload->throttle);
    }

    ngx_http_rcache_upload_free(upload);
}


rcache_reason_e
ngx_http_rcache_upload_finish(ngx_http_rcache_upload_t *upload,
    rcache_entry_t *entry, uint64_t *saved)
{
    rcache_reason_e  reason;

    if (upload->throttle) {
        ngx_http_rcache_throttle_over(upload->throttle);
    }

    if (upload->failed != RCACHE_REASON_NONE) {
        return upload->failed;
    }

    if (upload->buf && upload->buf->last != upload->buf->pos) {
        reason = ngx_http_rcache_upload_send(upload, 1);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    if (upload->dry) {
        *saved = upload->saved;
        return RCACHE_REASON_NONE;
    }

    entry->segments = upload->segments;
    entry->flags |= RCACHE_ENTRY_SEGMENTED;

    if (upload->coded) {
        entry->flags |= RCACHE_ENTRY_CODED;
        entry->coding.coding = (unsigned) upload->conf->compress;
        entry->coding.crc = upload->crc;
        entry->coding.length = upload->length;
        entry->segments.coding = entry->coding.coding;
    }

    return RCACHE_REASON_NONE;
}


ngx_uint_t
ngx_http_rcache_upload_full(ngx_http_rcache_upload_t *upload)
{
    return upload->in_flight > upload->limit / 2
           || ngx_http_rcache_upload_crowded(upload);
}


void
ngx_http_rcache_upload_close(ngx_http_rcache_upload_t *upload)
{
    if (!upload->dry) {
        ngx_queue_remove(&upload->queue);
        ngx_http_rcache_redis_bulk(upload->zone->redis, -1);
    }

    if (upload->op) {
        ngx_http_rcache_op_free(upload->op);
        upload->op = NULL;
    }

    if (upload->throttle) {
        ngx_http_rcache_throttle_over(upload->throttle);
        ngx_http_rcache_throttle_leave(upload->throttle);
    }

    upload->closed = 1;

    ngx_http_rcache_upload_free(upload);
}


/* what has left already is undone by a command behind it */

void
ngx_http_rcache_upload_drop(ngx_http_rcache_upload_t *upload)
{
    if (!upload->dry) {
        ngx_http_rcache_segments_unlink(upload->zone, &upload->base,
                                        &upload->segments);
    }

    ngx_http_rcache_upload_close(upload);
}


static void
ngx_http_rcache_upload_free(ngx_http_rcache_upload_t *upload)
{
    if (upload->closed && upload->pending == 0) {
        ngx_destroy_pool(upload->pool);
    }
}
