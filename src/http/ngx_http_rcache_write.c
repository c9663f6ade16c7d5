
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache.h"


static void ngx_http_rcache_write_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


rcache_reason_e
ngx_http_rcache_write(ngx_http_rcache_zone_t *zone, ngx_http_rcache_op_t *op,
    ngx_http_rcache_ctx_t *ctx)
{
    rcache_reason_e           reason;
    ngx_http_rcache_write_t  *write;

    write = ngx_palloc(op->pool, sizeof(ngx_http_rcache_write_t));
    if (write == NULL) {
        ngx_destroy_pool(op->pool);
        return RCACHE_REASON_NO_MEMORY;
    }

    write->zone = zone;
    write->ctx = NULL;

    op->lane = NGX_HTTP_RCACHE_LANE_STORE;
    op->handler = ngx_http_rcache_write_done;
    op->data = write;
    op->max_reply = 0;

    reason = ngx_http_rcache_zone_submit(zone, op);

    if (reason == RCACHE_REASON_NONE && ctx) {

        /* one lane, one order: the answer to the last one is enough */

        if (ctx->write) {
            ctx->write->ctx = NULL;
        }

        write->ctx = ctx;
        ctx->write = write;
    }

    return reason;
}


/* the request may be gone long since */

static void
ngx_http_rcache_write_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_write_t *write = op->data;

    if (reply) {
        (void) ngx_http_rcache_zone_accepts(write->zone,
                                            NGX_HTTP_RCACHE_LANE_STORE, reply);
    }

    if (write->ctx) {
        ngx_http_rcache_release(write->ctx);
    }
}


rcache_reason_e
ngx_http_rcache_write_set(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op, ngx_str_t *key, ngx_chain_t *payload,
    size_t size, int64_t ttl, ngx_http_rcache_ctx_t *ctx)
{
    u_char     buf[NGX_INT64_LEN];
    ngx_str_t  argv[5];

    ngx_str_set(&argv[0], "SET");
    argv[1] = *key;
    argv[2].data = NULL;
    argv[2].len = size;
    ngx_str_set(&argv[3], "PX");
    argv[4].data = buf;
    argv[4].len = ngx_sprintf(buf, "%L", ttl) - buf;

    if (ngx_http_rcache_op_command(op, argv, 5, payload) != NGX_OK) {
        ngx_destroy_pool(op->pool);
        return RCACHE_REASON_NO_MEMORY;
    }

    return ngx_http_rcache_write(zone, op, ctx);
}


rcache_reason_e
ngx_http_rcache_write_marker(ngx_http_rcache_ctx_t *ctx, rcache_str_t *names,
    uint32_t generation, int64_t ttl)
{
    int64_t                now, left;
    ngx_buf_t             *b;
    ngx_time_t            *tp;
    ngx_chain_t            payload;
    rcache_entry_t         marker;
    ngx_http_rcache_op_t  *op;

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    ngx_memzero(&marker, sizeof(rcache_entry_t));

    marker.flags = RCACHE_ENTRY_VARY;
    marker.generation = generation;
    marker.created = now;
    marker.body_sum = rcache_sum((u_char *) "", 0);
    marker.key = ctx->key;
    marker.vary = *names;

    if (ctx->marker && ctx->marker->generation == generation) {
        marker.age = ctx->marker->age;
        marker.fetch = ctx->marker->fetch;

        left = ctx->marker->created + ctx->marker->lifetime - now;
        ttl = ngx_max(ttl, left);
    }

    ngx_http_rcache_variant_seen(ctx, &marker);

    marker.lifetime = ttl;

    op = ngx_http_rcache_op_create(1024 + rcache_entry_size(&marker)
                                   + 2 * ctx->redis_key.len, ngx_cycle->log);
    if (op == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    b = ngx_create_temp_buf(op->pool, rcache_entry_size(&marker));
    if (b == NULL) {
        ngx_destroy_pool(op->pool);
        return RCACHE_REASON_NO_MEMORY;
    }

    b->last = rcache_entry_encode(b->pos, &marker);

    payload.buf = b;
    payload.next = NULL;

    return ngx_http_rcache_write_set(ctx->zone, op, &ctx->redis_key, &payload,
                                     b->last - b->pos, ttl, ctx);
}
