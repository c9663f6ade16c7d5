
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* May this request be looked up?  Under which key? */


#include "ngx_http_rcache_lookup.h"
#include "../core/rcache_range.h"


static ngx_int_t ngx_http_rcache_unsafe(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_http_rcache_ctx_t *ctx);
static rcache_reason_e ngx_http_rcache_policy_key(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_http_rcache_ctx_t *ctx);
static ngx_uint_t ngx_http_rcache_far_range(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf);
static ngx_int_t ngx_http_rcache_client(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);


/*
 * NGX_OK: look it up under ctx->key.  NGX_DONE: do not, but what comes may be
 * stored.  NGX_DECLINED: let it pass.  ctx->reason says why it is not NGX_OK.
 */

ngx_int_t
ngx_http_rcache_policy(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_http_rcache_ctx_t *ctx)
{
    ngx_uint_t       bypass;
    rcache_reason_e  reason;

    if (!(ngx_http_rcache_method(r) & rlcf->methods)) {

        /* as in nginx, $redis_proxy_cache_status is empty then */

        ctx->reason = RCACHE_REASON_METHOD;

        (void) ngx_http_rcache_rules_who(r, ctx);

        return ngx_http_rcache_unsafe(r, rlcf, ctx);
    }

    ctx->status = NGX_HTTP_RCACHE_BYPASS;

    if (r->err_status) {

        /* what is sent will have the status of the error */

        ctx->reason = RCACHE_REASON_ERROR_PAGE;
        return NGX_DECLINED;
    }

    if (r->headers_in.upgrade) {
        ctx->reason = RCACHE_REASON_UPGRADE;
        return NGX_DECLINED;
    }

    reason = ngx_http_rcache_rules_who(r, ctx);

    if (reason == RCACHE_REASON_NONE) {
        reason = ngx_http_rcache_rules_what(r, ctx);
    }

    ctx->reason = reason;

    if (reason == RCACHE_REASON_GRAPHQL) {

        /* a mutation, perhaps */

        return ngx_http_rcache_unsafe(r, rlcf, ctx);
    }

    if (reason != RCACHE_REASON_NONE) {
        return NGX_DECLINED;
    }

    ctx->far = ngx_http_rcache_far_range(r, rlcf);

    ctx->offline = (rlcf->offline
                    && ngx_http_test_predicates(r, rlcf->offline) != NGX_OK);

    bypass = (rlcf->bypass
              && !ctx->offline
              && ngx_http_test_predicates(r, rlcf->bypass) != NGX_OK);

    if (bypass
        && rlcf->key == NULL
        && rlcf->rules.args == NULL
        && ctx->dry == NULL
        && ctx->zone->stats->hot == NULL)
    {
        ctx->keyless = 1;

    } else {
        ctx->reason = ngx_http_rcache_policy_key(r, rlcf, ctx);

        if (ctx->reason != RCACHE_REASON_NONE) {
            return NGX_DECLINED;
        }
    }

    if (bypass) {
        ctx->reason = RCACHE_REASON_BYPASS;
        return NGX_DONE;
    }

    if (rlcf->client_control && ngx_http_rcache_client(r, ctx) != NGX_OK) {
        ctx->reason = RCACHE_REASON_NO_MEMORY;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static rcache_reason_e
ngx_http_rcache_policy_key(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_http_rcache_ctx_t *ctx)
{
    if (ngx_http_rcache_make_key(r, rlcf, ctx) != NGX_OK) {
        return RCACHE_REASON_NO_MEMORY;
    }

    return ngx_http_rcache_key_reason(ctx);
}


/*
 * RFC 9110, 9.2.1: GET, HEAD, OPTIONS and TRACE are safe, and so are QUERY
 * and those of WebDAV that only read; any other method, an unknown one too, is
 * not.
 */

static ngx_int_t
ngx_http_rcache_unsafe(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_http_rcache_ctx_t *ctx)
{
    if ((ngx_http_rcache_method(r)
         & (NGX_HTTP_GET|NGX_HTTP_HEAD|NGX_HTTP_OPTIONS|NGX_HTTP_TRACE
            |NGX_HTTP_PROPFIND|NGX_HTTP_RCACHE_QUERY))
        || r->err_status)
    {
        return NGX_DECLINED;
    }

    if (ngx_http_rcache_make_key(r, rlcf, ctx) == NGX_OK
        && ctx->redis_key.len)
    {
        ctx->state = NGX_HTTP_RCACHE_UNSAFE;
        ctx->loc_conf = r->loc_conf;
    }

    return NGX_DECLINED;
}


/* a range so far behind that fetching all before it does not pay */

static ngx_uint_t
ngx_http_rcache_far_range(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf)
{
    uint64_t         offset;
    rcache_ranges_t  ranges;

    if (r->headers_in.range == NULL
        || rlcf->max_range_offset == NGX_MAX_OFF_T_VALUE
        || rcache_range_parse(&ranges, &r->headers_in.range->value)
           != RCACHE_OK)
    {
        return 0;
    }

    /* as in nginx; a suffix counts as far behind */

    offset = rcache_range_offset(&ranges);

    return offset >= (uint64_t) rlcf->max_range_offset;
}


/* what the client wants of the cache, RFC 9111, 5.2.1 */

static ngx_int_t
ngx_http_rcache_client(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ctx->wants = ngx_palloc(r->pool, sizeof(rcache_request_t));
    if (ctx->wants == NULL) {
        return NGX_ERROR;
    }

    rcache_request_init(ctx->wants);

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        rcache_request_header(ctx->wants, &h[i].key, &h[i].value);
    }

    ctx->no_store = ctx->wants->cc.no_store;

    return NGX_OK;
}
