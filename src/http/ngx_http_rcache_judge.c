
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* What does Redis say, and may that be served to this request? */


#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_response.h"
#include "ngx_http_rcache_zone.h"
#include "../core/rcache_stale.h"


static rcache_reason_e ngx_http_rcache_decode(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_reply_t *reply);
static rcache_reason_e ngx_http_rcache_marker(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static rcache_reason_e ngx_http_rcache_fits(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_str_t *value, ngx_msec_t asked);
static ngx_uint_t ngx_http_rcache_invalid(ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *value, ngx_msec_t asked);
static rcache_reason_e ngx_http_rcache_use(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_remember(ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *value);
static ngx_uint_t ngx_http_rcache_stale_use(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_loc_conf_t *rlcf, int64_t now);


/*
 * RCACHE_REASON_NONE: ctx->entry may be served, its head is in place; or, if
 * ctx->op is set, wait for the next reply.
 */

rcache_reason_e
ngx_http_rcache_judge(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_reply_t *reply)
{
    rcache_reason_e  reason;

    reason = ngx_http_rcache_decode(ctx, reply);

    if (reason == RCACHE_REASON_WRONG_TYPE
        || reason == RCACHE_REASON_UNSIGNED
        || reason == RCACHE_REASON_CORRUPT)
    {
        ngx_http_rcache_zone_damaged(ctx->zone, &ctx->redis_key, reason);
    }

    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    if (ctx->entry.flags & RCACHE_ENTRY_VARY) {
        reason = ngx_http_rcache_marker(r, ctx);

        return (reason == RCACHE_REASON_NONE)
               ? ngx_http_rcache_get(ctx, &ctx->variant_key) : reason;
    }

    return ngx_http_rcache_fits(r, ctx, &reply->str, ctx->began);
}


rcache_reason_e
ngx_http_rcache_judge_copy(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *value)
{
    ngx_http_rcache_remember(ctx, value);

    if (rcache_entry_known(&ctx->entry, value->data, value->len, &ctx->key)
        != RCACHE_OK)
    {
        return RCACHE_REASON_OTHER_KEY;
    }

    ctx->front = value->len - ctx->entry.body.len;

    return (ctx->entry.flags & RCACHE_ENTRY_VARY)
           ? ngx_http_rcache_marker(r, ctx)
           : ngx_http_rcache_fits(r, ctx, value, ngx_current_msec);
}


/* a response: is it the one, and may it be used? */

static rcache_reason_e
ngx_http_rcache_fits(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *value, ngx_msec_t asked)
{
    rcache_reason_e  reason;

    if (ctx->marker && ctx->entry.generation != ctx->marker->generation) {
        return RCACHE_REASON_ABSENT;
    }

    if (!rcache_entry_is(&ctx->entry,
                         ctx->marker ? &ctx->marker->vary : &ctx->variant,
                         &ctx->variant))
    {
        return RCACHE_REASON_OTHER_KEY;
    }

    if (ngx_http_rcache_lost_any(ctx->zone->health->lost, asked)
        && ngx_http_rcache_invalid(ctx, value, asked))
    {
        return RCACHE_REASON_INVALIDATED;
    }

    reason = ngx_http_rcache_purge_judge(ctx, &ctx->entry);

    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    return ngx_http_rcache_use(r, ctx);
}


/* when Redis was asked it had not been told yet, see ngx_http_rcache_lost.c */

static ngx_uint_t
ngx_http_rcache_invalid(ngx_http_rcache_ctx_t *ctx, ngx_str_t *value,
    ngx_msec_t asked)
{
    size_t                      i;
    ngx_str_t                  *tags;
    ngx_http_rcache_lost_sh_t  *sh;

    sh = ctx->zone->health->lost;

    /* what a flight hands out has been asked for since */

    if (value->data != ctx->handed.data
        && ngx_http_rcache_lost_marked(sh,
                               ngx_http_rcache_hash(ctx, &ctx->redis_key),
                               asked))
    {
        return 1;
    }

    tags = &ctx->entry.tags;

    for (i = 0; i + RCACHE_TAG_SIZE <= tags->len; i += RCACHE_TAG_SIZE) {

        if (ngx_http_rcache_lost_marked(sh,
                                        rcache_purge_tag(tags->data + i),
                                        asked))
        {
            return 1;
        }
    }

    return 0;
}


static rcache_reason_e
ngx_http_rcache_decode(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_reply_t *reply)
{
    int  rc;

    if (reply->type == REDIS_REPLY_ERROR
        && reply->str.len > sizeof("WRONGTYPE") - 1
        && ngx_strncmp(reply->str.data, "WRONGTYPE",
                       sizeof("WRONGTYPE") - 1)
           == 0)
    {
        return RCACHE_REASON_WRONG_TYPE;
    }

    if (!ngx_http_rcache_zone_accepts(ctx->zone, NGX_HTTP_RCACHE_LANE_LOOKUP,
                                      reply))
    {
        return RCACHE_REASON_REDIS_ERROR;
    }

    if (reply->type == REDIS_REPLY_NIL) {
        ctx->seen.len = 0;
        ctx->nothing = (ctx->marker == NULL);

        if (ctx->nothing) {

            /* there was one when it was looked up first, perhaps */

            ctx->seen_generation.len = 0;
        }

        ngx_http_rcache_count_gone(ctx);
        return RCACHE_REASON_ABSENT;
    }

    /* it may have come while the request waited for it */

    ctx->nothing = 0;

    ngx_http_rcache_remember(ctx, &reply->str);

    rc = rcache_entry_decode(&ctx->entry, reply->str.data, reply->str.len,
                             &ctx->key);

    if (rc == RCACHE_OK
        && ctx->zone->secrets
        && rcache_entry_verify(&ctx->entry, ctx->zone->secrets) != RCACHE_OK)
    {
        return RCACHE_REASON_UNSIGNED;
    }

    switch (rc) {

    case RCACHE_OK:
        ctx->front = reply->str.len - ctx->entry.body.len;
        return RCACHE_REASON_NONE;

    case RCACHE_ENTRY_VERSIONED:
        return RCACHE_REASON_VERSION;

    case RCACHE_ENTRY_OTHER:
        return RCACHE_REASON_OTHER_KEY;

    default: /* RCACHE_ENTRY_CORRUPT */
        return RCACHE_REASON_CORRUPT;
    }
}


/* the responses under the key vary: which is the one for this request? */

static rcache_reason_e
ngx_http_rcache_marker(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    u_char          *p;
    rcache_entry_t  *marker;

    if (ctx->marker) {

        /* a marker where a variant should be */

        return RCACHE_REASON_OTHER_KEY;
    }

    marker = ngx_palloc(r->pool, sizeof(rcache_entry_t));
    if (marker == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    p = ngx_pnalloc(r->pool, ctx->entry.vary.len);
    if (p == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    ngx_memcpy(p, ctx->entry.vary.data, ctx->entry.vary.len);

    /* the names are all that is kept of what Redis said */

    *marker = ctx->entry;

    marker->vary.data = p;

    ngx_str_null(&marker->key);
    ngx_str_null(&marker->variant);
    ngx_str_null(&marker->tags);
    ngx_str_null(&marker->head);
    ngx_str_null(&marker->body);
    marker->front = NULL;
    marker->block = NULL;

    ctx->marker = marker;

    if (ngx_http_rcache_variant(r, ctx, &marker->vary) != NGX_OK) {
        return RCACHE_REASON_NO_MEMORY;
    }

    return RCACHE_REASON_NONE;
}


static rcache_reason_e
ngx_http_rcache_use(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    int64_t                      now;
    ngx_time_t                  *tp;
    rcache_use_e                 use;
    rcache_reason_e              reason;
    rcache_request_t             nothing;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (ctx->entry.status == NGX_HTTP_PARTIAL_CONTENT && !rlcf->slice) {
        return RCACHE_REASON_STATUS;
    }

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    if (((ctx->entry.flags & RCACHE_ENTRY_PRIVATE) != 0)
        != (ctx->rules.user.len != 0))
    {
        return RCACHE_REASON_OTHER_KEY;
    }

    if (r->headers_in.authorization
        && !(ctx->entry.flags & (RCACHE_ENTRY_SHARED|RCACHE_ENTRY_PRIVATE)))
    {
        ctx->status = NGX_HTTP_RCACHE_BYPASS;
        return RCACHE_REASON_AUTHORIZATION;
    }

    if (ctx->wants && !ctx->offline) {
        use = rcache_request_use(ctx->wants, &ctx->entry, now, 1);

    } else {
        rcache_request_init(&nothing);
        use = rcache_request_use(&nothing, &ctx->entry, now, 0);
    }

    if (ctx->no_store && !ctx->offline && use != RCACHE_USE_EXPIRED) {
        use = RCACHE_USE_FORCED;
    }

    if (use == RCACHE_USE_FRESH || use == RCACHE_USE_STALE) {

        ctx->status = (use == RCACHE_USE_FRESH) ? NGX_HTTP_RCACHE_HIT
                                                : NGX_HTTP_RCACHE_STALE;

        if (ctx->dry) {

            /* its head is nobody's */

            return RCACHE_REASON_NONE;
        }

        switch (ngx_http_rcache_head_restore(r, &ctx->entry)) {

        case NGX_OK:
            return RCACHE_REASON_NONE;

        case NGX_DECLINED:
            reason = RCACHE_REASON_CORRUPT;
            ngx_http_rcache_zone_damaged(ctx->zone, &ctx->redis_key, reason);
            break;

        default: /* NGX_ERROR */
            reason = RCACHE_REASON_NO_MEMORY;
            break;
        }

        ctx->status = NGX_HTTP_RCACHE_MISS;

        ngx_http_clean_header(r);

        return reason;
    }

    ctx->status = NGX_HTTP_RCACHE_EXPIRED;
    ctx->forced = (use == RCACHE_USE_FORCED);
    ctx->kept = (r->method == NGX_HTTP_HEAD && !rlcf->convert_head);

    ctx->stale_use = ngx_http_rcache_stale_use(ctx, rlcf, now);

    if (rlcf->revalidate && ngx_http_rcache_has_validator(&ctx->entry)) {
        ctx->stale = 1;
    }

    return ctx->forced ? RCACHE_REASON_CLIENT : RCACHE_REASON_EXPIRED;
}


/* what tells this version of the entry from others, see script.c */

static void
ngx_http_rcache_remember(ngx_http_rcache_ctx_t *ctx, ngx_str_t *value)
{
    u_char  *p;

    p = ctx->seen_data;

    ctx->seen.data = p;
    ctx->seen.len = 0;

    if (value->len >= 16) {
        ctx->seen.len = 8;
        ngx_memcpy(p, value->data + 8, 8);
    }

    if (ctx->marker) {
        return;
    }

    p += 8;

    ctx->seen_generation.data = p;
    ctx->seen_generation.len = 0;

    if (value->len >= RCACHE_ENTRY_GENERATION + 4) {
        ctx->seen_generation.len = 4;
        ngx_memcpy(p, value->data + RCACHE_ENTRY_GENERATION, 4);
    }
}


/* when the stale entry may be sent: NGX_HTTP_UPSTREAM_FT_* */

static ngx_uint_t
ngx_http_rcache_stale_use(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_loc_conf_t *rlcf, int64_t now)
{
    unsigned    use;
    ngx_uint_t  types;

    if (ctx->forced) {
        return 0;
    }

    use = rcache_entry_stale(&ctx->entry, now);
    types = 0;

    if (use & RCACHE_STALE_UPDATING) {
        types |= NGX_HTTP_UPSTREAM_FT_UPDATING;
    }

    /* RFC 5861, 4 */

    if (use & RCACHE_STALE_ERROR) {
        types |= NGX_HTTP_UPSTREAM_FT_ERROR
                 |NGX_HTTP_UPSTREAM_FT_TIMEOUT
                 |NGX_HTTP_UPSTREAM_FT_INVALID_HEADER
                 |NGX_HTTP_UPSTREAM_FT_HTTP_500
                 |NGX_HTTP_UPSTREAM_FT_HTTP_502
                 |NGX_HTTP_UPSTREAM_FT_HTTP_503
                 |NGX_HTTP_UPSTREAM_FT_HTTP_504;
    }

    if (use & RCACHE_STALE_CONFIG) {
        types |= rlcf->use_stale;

        /* offline there is nothing better */

        types |= ctx->offline ? NGX_HTTP_RCACHE_OFFLINE : 0;
    }

    return types;
}


ngx_uint_t
ngx_http_rcache_has_validator(rcache_entry_t *entry)
{
    rcache_str_t   line, name, value;
    rcache_head_t  h;

    if (rcache_head_status(&h, &entry->head, &line) != RCACHE_OK) {
        return 0;
    }

    while (rcache_head_next(&h, &name, &value) == RCACHE_OK) {

        if (rcache_str_is(&name, "etag")
            || rcache_str_is(&name, "last-modified"))
        {
            return 1;
        }
    }

    return 0;
}


/* redis_proxy_cache_min_uses */

rcache_reason_e
ngx_http_rcache_rare(ngx_http_rcache_loc_conf_t *rlcf,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_uint_t  n;

    if (rlcf->min_uses <= 1) {
        return RCACHE_REASON_ABSENT;
    }

    n = ngx_http_rcache_uses_count(ctx->zone->health->uses,
                                   rcache_sum(ctx->key.data, ctx->key.len));

    if (n >= rlcf->min_uses) {
        return RCACHE_REASON_ABSENT;
    }

    ctx->rare = 1;

    return RCACHE_REASON_MIN_USES;
}
