
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * PRECONTENT: behind every access check, in front of the content handler.  May
 * this request be looked up, and if so, is it to wait for Redis, to be served,
 * or to be fetched?  What it carries along is made here, and goes with it.
 */


#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_response.h"
#include "ngx_http_rcache_store.h"
#include "ngx_http_rcache_zone.h"


static ngx_int_t ngx_http_rcache_lookup_start(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_cleanup(void *data);


ngx_int_t
ngx_http_rcache_lookup_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_rcache_ctx_t       *ctx, *before;
    ngx_http_rcache_zone_t      *zone;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    before = (ctx == NULL && r->internal) ? ngx_http_rcache_redirected(r)
                                          : NULL;

    if (!rlcf->enable) {
        return NGX_DECLINED;
    }

    if (ctx) {

        /* called again: by an event while waiting, or with the answer */

        switch (ctx->state) {

        case NGX_HTTP_RCACHE_LOOKUP:
        case NGX_HTTP_RCACHE_PROBE:
        case NGX_HTTP_RCACHE_WAIT:
            return NGX_DONE;

        case NGX_HTTP_RCACHE_BODY:

            if (!ctx->rules.read) {
                return NGX_DONE;
            }

            /* the time that the client took is its own */

            ngx_http_rcache_count_begin(ctx, rlcf->metrics.label);

            return ngx_http_rcache_lookup_start(r, ctx);

        case NGX_HTTP_RCACHE_REFUSE:
            return ctx->refusal ? (ngx_int_t) ctx->refusal
                                : NGX_HTTP_GATEWAY_TIME_OUT;

        default:
            return NGX_DECLINED;
        }
    }

    zone = ngx_http_rcache_get_zone(r, rlcf);
    if (zone == NULL) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_rcache_ctx_create(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->zone = zone;

    if (before) {
        ngx_http_rcache_hold_pass(before, ctx);
    }

    ngx_http_rcache_trace(r);
    ngx_http_rcache_purge_begin(ctx);
    ngx_http_rcache_count_begin(ctx, rlcf->metrics.label);

    rc = ngx_http_rcache_body_read(r, ctx);

    return (rc == NGX_OK) ? ngx_http_rcache_lookup_start(r, ctx) : rc;
}


static ngx_int_t
ngx_http_rcache_lookup_start(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_int_t                    rc;
    rcache_reason_e              reason;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    ctx->state = NGX_HTTP_RCACHE_PASS;

    if (rlcf->metrics.dry_run
        && ngx_http_rcache_dry_begin(r, ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_rcache_policy(r, rlcf, ctx);

    if (ctx->dry && rc != NGX_DECLINED) {
        rc = ngx_http_rcache_dry_start(r, ctx, rc);
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "rcache policy: %i %V \"%V\"", rc,
                   rcache_reason_name(ctx->reason), &ctx->key);

    switch (rc) {

    case NGX_OK:
        break;

    case NGX_DONE:

        /* who bypasses the cache renews it */

        ngx_str_set(&ctx->token, "*");

        return ngx_http_rcache_fill(r, ctx);

    default: /* NGX_DECLINED */
        ctx->missed = ctx->reason;
        return NGX_DECLINED;
    }

    ctx->status = NGX_HTTP_RCACHE_MISS;

    if (ctx->zone->near && ngx_http_rcache_near(r, ctx) == NGX_OK) {
        (void) ngx_http_rcache_decide(r, ctx, RCACHE_REASON_NONE);
        return NGX_DECLINED;
    }

    reason = ngx_http_rcache_lookup(r, ctx);

    if (reason == RCACHE_REASON_NONE) {
        return NGX_DONE;
    }

    rc = ngx_http_rcache_decide(r, ctx, reason);

    if (rc == NGX_AGAIN) {
        return NGX_DONE;
    }

    if (ctx->state == NGX_HTTP_RCACHE_REFUSE) {
        return ctx->refusal ? (ngx_int_t) ctx->refusal
                            : NGX_HTTP_GATEWAY_TIME_OUT;
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_rcache_fill(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rc = ngx_http_rcache_fallback(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ctx->far) {
        ctx->reason = RCACHE_REASON_RANGE;
    }

    ngx_http_rcache_count_fetch(ctx);

    if (ctx->far || ctx->rare) {

        /* as in nginx: it passes as it is, its conditions too */

        ctx->state = NGX_HTTP_RCACHE_PASS;
        return NGX_DECLINED;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (ctx->reason == RCACHE_REASON_WRONG_TYPE
        || (!rlcf->lock && ctx->token.len == 0))
    {
        /* nobody counts on a lock: the last one is the newest */

        ngx_str_set(&ctx->token, "*");
    }

    ctx->state = NGX_HTTP_RCACHE_FILL;
    ctx->began = ngx_current_msec;

    /* what a 304 renews has the position of the fetch from then on */

    ngx_http_rcache_purge_recheck(ctx);
    ngx_http_rcache_purge_begin(ctx);

    if (ngx_http_rcache_mask(r, ctx) != NGX_OK) {
        ngx_http_rcache_flight_quit(ctx);

        ctx->state = NGX_HTTP_RCACHE_PASS;
        ctx->reason = RCACHE_REASON_NO_MEMORY;

        return NGX_DECLINED;
    }

    ngx_http_rcache_fetch(r, ctx);

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_rcache_slice_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_rcache_ctx_t       *ctx;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL && r != r->main) {

        rc = ngx_http_rcache_lookup_handler(r);

        if (rc == NGX_DONE) {
            r->main->count++;
            return NGX_DONE;
        }

        if (rc != NGX_DECLINED) {
            return rc;
        }

        ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

        if (ctx && ctx->state == NGX_HTTP_RCACHE_SERVE) {

            /* it need not be waited for, and this is the content phase */

            return ngx_http_rcache_serve_handler(r);
        }
    }

    return rlcf->handler(r);
}


ngx_http_rcache_ctx_t *
ngx_http_rcache_ctx_create(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_rcache_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    ctx->request = r;

    cln->handler = ngx_http_rcache_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_redis_proxy_cache_module);

    return ctx;
}


static void
ngx_http_rcache_cleanup(void *data)
{
    ngx_http_rcache_ctx_t *ctx = data;

    ngx_http_rcache_count_request(ctx);

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    ngx_http_rcache_hold_forget(ctx);

    if (ctx->dry) {
        ngx_http_rcache_dry_leave(ctx);
    }

    if (ctx->audit) {
        ngx_http_rcache_audit_leave(ctx);
    }

    ngx_http_rcache_flight_quit(ctx);
    ngx_http_rcache_forget(ctx);

    if (ctx->capture) {
        ngx_http_rcache_capture_drop(ctx->capture);
    }
}


ngx_http_rcache_ctx_t *
ngx_http_rcache_find_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ngx_http_rcache_cleanup) {
            continue;
        }

        ctx = cln->data;

        /* subrequests share the pool */

        if (ctx->request == r) {
            return ctx;
        }
    }

    return NULL;
}


ngx_http_rcache_ctx_t *
ngx_http_rcache_redirected(ngx_http_request_t *r)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_rcache_find_ctx(r);

    if (ctx == NULL) {
        return NULL;
    }

    ngx_http_rcache_unmask(r, ctx);
    ngx_http_rcache_flight_end(ctx, '-', 0);
    ngx_http_rcache_invalidate_redirected(r, ctx);

    return ctx->write ? ctx : NULL;
}


ngx_http_rcache_zone_t *
ngx_http_rcache_get_zone(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf)
{
    ngx_str_t                     name;
    ngx_http_rcache_zone_t       *zone;
    ngx_http_rcache_main_conf_t  *rmcf;

    if (rlcf->zone) {
        return rlcf->zone;
    }

    if (ngx_http_complex_value(r, rlcf->zone_value, &name) != NGX_OK) {
        return NULL;
    }

    if (name.len == 0
        || (name.len == 3 && ngx_strncmp(name.data, "off", 3) == 0))
    {
        return NULL;
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_redis_proxy_cache_module);

    zone = ngx_http_rcache_zone_find(rmcf, &name);

    if (zone == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "redis_proxy_cache zone \"%V\" not found", &name);
    }

    return zone;
}
