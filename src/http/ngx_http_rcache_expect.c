
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What will Redis say?
 *
 * A miss would be two questions to Redis in front of the upstream, one after
 * the other: is it there, and may I fetch it?  Where a miss is likely both
 * are asked at once: the flight is opened, and asks for the lock, right
 * behind the lookup.  If the entry is there after all the lock is given back.
 *
 * Likely is what this worker was not asked for lately, if of the last ones of
 * that kind more were absent than not.  So what is hot costs nothing more,
 * and an instance that is new to a full cache soon stops to ask.
 *
 * Futile is a lookup where nothing was a moment ago, and the response to that
 * could not be cached: for as long Redis is not asked at all.  It is a moment
 * only, for another instance may have got a response that it could store.
 */


#include "ngx_http_rcache_collapse.h"


/* keys that are remembered, and a power of 2; two bytes each */

#define NGX_HTTP_RCACHE_LATELY  16384

/* the same of those where a lookup is futile, and milliseconds that it is */

#define NGX_HTTP_RCACHE_FUTILE       4096
#define NGX_HTTP_RCACHE_FUTILE_TIME  1000

/* absent ones of so many: the scale of zone->absent */

#define NGX_HTTP_RCACHE_ABSENT_ALL   1024
#define NGX_HTTP_RCACHE_ABSENT_STEP  32


static ngx_http_rcache_futile_t *ngx_http_rcache_futile_place(
    ngx_http_rcache_ctx_t *ctx);


ngx_int_t
ngx_http_rcache_expect_init(ngx_cycle_t *cycle, ngx_http_rcache_zone_t *zone)
{
    zone->lately = ngx_pcalloc(cycle->pool,
                               NGX_HTTP_RCACHE_LATELY * sizeof(uint16_t));
    if (zone->lately == NULL) {
        return NGX_ERROR;
    }

    zone->futile = ngx_pcalloc(cycle->pool, NGX_HTTP_RCACHE_FUTILE
                                            * sizeof(ngx_http_rcache_futile_t));
    if (zone->futile == NULL) {
        return NGX_ERROR;
    }

    zone->absent = NGX_HTTP_RCACHE_ABSENT_ALL;

    return NGX_OK;
}


void
ngx_http_rcache_expect(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    uint16_t                     print, *place;
    uint64_t                     hash;
    ngx_http_rcache_zone_t      *zone;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (!rlcf->lock) {
        return;
    }

    zone = ctx->zone;

    hash = ngx_http_rcache_hash(ctx, &ctx->redis_key);
    print = (uint16_t) (hash >> 48) | 1;
    place = &zone->lately[hash & (NGX_HTTP_RCACHE_LATELY - 1)];

    if (*place == print) {
        return;
    }

    *place = print;

    ctx->unknown = 1;

    if (zone->absent < NGX_HTTP_RCACHE_ABSENT_ALL / 2
        || rlcf->min_uses > 1
        || ctx->offline
        || ctx->far
        || ctx->no_store
        || ctx->wants
        || ctx->rounds
        || ctx->background
        || r->headers_in.authorization
        || (r->method == NGX_HTTP_HEAD && !rlcf->convert_head))
    {
        return;
    }

    ngx_http_rcache_flight_expect(ctx);

    /* it may be a variant's that is needed in the end */

    ctx->lock_key.len = 0;
}


void
ngx_http_rcache_expected(ngx_http_rcache_ctx_t *ctx, ngx_uint_t absent)
{
    ngx_http_rcache_zone_t  *zone;

    if (!ctx->unknown) {
        return;
    }

    ctx->unknown = 0;

    zone = ctx->zone;

    zone->absent -= zone->absent / NGX_HTTP_RCACHE_ABSENT_STEP;

    if (absent) {
        zone->absent += NGX_HTTP_RCACHE_ABSENT_ALL
                        / NGX_HTTP_RCACHE_ABSENT_STEP;
    }
}


ngx_uint_t
ngx_http_rcache_futile(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    int32_t                    left;
    ngx_http_rcache_futile_t  *place;

    place = ngx_http_rcache_futile_place(ctx);

    if (place->print != (uint32_t) (ctx->hash >> 32)) {
        return 0;
    }

    left = (int32_t) (place->until - (uint32_t) ngx_current_msec);

    if (left <= 0 || left > NGX_HTTP_RCACHE_FUTILE_TIME) {
        return 0;
    }

    ctx->reason = RCACHE_REASON_ABSENT;

    if (ctx->offline
        || ctx->rounds
        || ctx->background
        || (ctx->wants && ctx->wants->cc.only_if_cached)
        || !ngx_http_rcache_collapses(r, ctx))
    {
        return 0;
    }

    /* if it can be cached after all, the mark goes */

    ngx_str_set(&ctx->token, "-");

    return 1;
}


void
ngx_http_rcache_futile_set(ngx_http_rcache_ctx_t *ctx, ngx_msec_t keep)
{
    ngx_http_rcache_futile_t  *place;

    /* another one may be waiting for a response that is to be stored */

    if (!ctx->nothing || keep == 0 || (!ctx->leader && ctx->token.len != 1)) {
        return;
    }

    place = ngx_http_rcache_futile_place(ctx);

    place->print = (uint32_t) (ctx->hash >> 32);
    place->until = (uint32_t) (ngx_current_msec
                               + ngx_min(keep, NGX_HTTP_RCACHE_FUTILE_TIME));
}


void
ngx_http_rcache_futile_clear(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_futile_place(ctx)->until = (uint32_t) ngx_current_msec;
}


static ngx_http_rcache_futile_t *
ngx_http_rcache_futile_place(ngx_http_rcache_ctx_t *ctx)
{
    uint64_t  hash;

    hash = ngx_http_rcache_hash(ctx, &ctx->redis_key);

    return &ctx->zone->futile[hash & (NGX_HTTP_RCACHE_FUTILE - 1)];
}


/* of a key that is another one it is not worth to be kept */

uint64_t
ngx_http_rcache_hash(ngx_http_rcache_ctx_t *ctx, ngx_str_t *key)
{
    if (key->data != ctx->redis_key.data) {
        return rcache_sum(key->data, key->len);
    }

    if (ctx->hash == 0) {
        ctx->hash = rcache_sum(key->data, key->len);
    }

    return ctx->hash;
}
