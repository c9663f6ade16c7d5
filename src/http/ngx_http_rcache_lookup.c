
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * PRECONTENT: behind every access check, in front of the content handler.
 * May this request be looked up, what does Redis say, and who makes the
 * response?
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_count.h"


/* room for the command, a reply of a few KiB and what hiredis leaves */

#define NGX_HTTP_RCACHE_LOOKUP_POOL  4096


static void ngx_http_rcache_cleanup(void *data);
static ngx_int_t ngx_http_rcache_lookup_start(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_lookup_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_timer_handler(ngx_event_t *ev);
static void ngx_http_rcache_budget_handler(ngx_event_t *ev);
static void ngx_http_rcache_looked(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason);


ngx_int_t
ngx_http_rcache_lookup_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_rcache_ctx_t       *ctx;
    ngx_http_rcache_zone_t      *zone;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL && r->internal) {
        ngx_http_rcache_redirected(r);
    }

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

    ngx_http_rcache_write_forget(ctx);

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


/* what the lookup has brought, or is about to bring */

void
ngx_http_rcache_forget(ngx_http_rcache_ctx_t *ctx)
{
    ctx->fill = NULL;

    ngx_http_rcache_stream_drop(ctx);

    if (ctx->op == NULL) {
        return;
    }

    if (ctx->state == NGX_HTTP_RCACHE_LOOKUP) {
        ngx_http_rcache_op_detach(ctx->op);

    } else {
        ngx_http_rcache_op_free(ctx->op);
    }

    ctx->op = NULL;
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


void
ngx_http_rcache_redirected(ngx_http_request_t *r)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_rcache_find_ctx(r);

    if (ctx) {
        ngx_http_rcache_unmask(r, ctx);
        ngx_http_rcache_flight_end(ctx, '-', 0);
        ngx_http_rcache_invalidate_redirected(r, ctx);
    }
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


rcache_reason_e
ngx_http_rcache_lookup(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    rcache_reason_e            reason;
    ngx_http_rcache_follow_t  *follow;

    if (ctx->dry == NULL
        && !ngx_http_rcache_redis_away(ctx->zone->redis)
        && ngx_http_rcache_futile(r, ctx))
    {
        return RCACHE_REASON_UNCACHEABLE;
    }

    follow = ctx->zone->follow;
    ctx->caught = 0;

    if (follow && ngx_http_rcache_follow_blind(follow)) {

        /* what was purged comes in front of the entry */

        ctx->caught = ngx_http_rcache_follow_catch_up(follow,
                                                NGX_HTTP_RCACHE_LANE_LOOKUP);
    }

    reason = ngx_http_rcache_get(ctx, &ctx->redis_key);

    if (reason != RCACHE_REASON_NONE) {
        ctx->impatient = 1;
        return reason;
    }

    if (ctx->dry == NULL) {
        ngx_http_rcache_expect(r, ctx);
    }

    ngx_http_rcache_park_lookup(r, ctx);

    return RCACHE_REASON_NONE;
}


/* for a probe that has been sent */

void
ngx_http_rcache_park_probe(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_park_lookup(r, ctx);

    ctx->state = NGX_HTTP_RCACHE_PROBE;
}


void
ngx_http_rcache_park_lookup(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    ctx->began = ngx_current_msec;

    ngx_http_rcache_park(r, ctx, NGX_HTTP_RCACHE_LOOKUP,
                         ngx_http_rcache_budget_handler, rlcf->budget);
}


rcache_reason_e
ngx_http_rcache_lookup_again(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_forget(ctx);

    ctx->marker = NULL;
    ctx->stale = 0;
    ctx->kept = 0;
    ctx->stale_use = 0;
    ctx->master = 1;

    ngx_str_null(&ctx->variant);
    ngx_str_null(&ctx->variant_key);

    ctx->status = NGX_HTTP_RCACHE_MISS;

    return ngx_http_rcache_lookup(r, ctx);
}


void
ngx_http_rcache_park(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_state_e state, ngx_event_handler_pt handler,
    ngx_msec_t timeout)
{
    ctx->state = state;

    ngx_http_rcache_late(ctx, handler, timeout);

    r->write_event_handler = ngx_http_request_empty_handler;

    if (r != r->main || ctx->background) {
        return;
    }

    r->read_event_handler = ngx_http_test_reading;

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        r->connection->error = 1;
    }
}


/*
 * A request waits several times, and mostly not for long: a timer that is set
 * stays, and is set again when it fires, if it has to be.
 */

void
ngx_http_rcache_late(ngx_http_rcache_ctx_t *ctx, ngx_event_handler_pt handler,
    ngx_msec_t timeout)
{
    ctx->late_handler = handler;
    ctx->due = ngx_current_msec + timeout;

    if (ctx->timer.timer_set) {

        if ((ngx_msec_int_t) (ctx->timer.timer.key - ctx->due) <= 0) {
            return;
        }

        ngx_del_timer(&ctx->timer);
    }

    ctx->timer.handler = ngx_http_rcache_timer_handler;
    ctx->timer.data = ctx;
    ctx->timer.log = ctx->request->connection->log;

    ngx_add_timer(&ctx->timer, timeout);
}


static void
ngx_http_rcache_timer_handler(ngx_event_t *ev)
{
    ngx_http_rcache_ctx_t *ctx = ev->data;

    ngx_msec_int_t         left;
    ngx_event_handler_pt   handler;

    handler = ctx->late_handler;

    if (handler == NULL) {
        return;
    }

    left = (ngx_msec_int_t) (ctx->due - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(ev, (ngx_msec_t) left);
        return;
    }

    ctx->late_handler = NULL;

    handler(ev);
}


rcache_reason_e
ngx_http_rcache_get(ngx_http_rcache_ctx_t *ctx, ngx_str_t *key)
{
    u_char                 ttl[NGX_INT_T_LEN];
    ngx_str_t              argv[4];
    ngx_uint_t             argc;
    rcache_reason_e        reason;
    ngx_http_rcache_op_t  *op;

    if (ngx_http_rcache_redis_away(ctx->zone->redis)) {
        ngx_http_rcache_count_down(ctx->zone, RCACHE_COMMAND_LOOKUP);
        return RCACHE_REASON_REDIS_DOWN;
    }

    op = ngx_http_rcache_op_create(NGX_HTTP_RCACHE_LOOKUP_POOL,
                                   ngx_cycle->log);
    if (op == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    ngx_str_set(&argv[0], "GET");
    argv[1] = *key;
    argc = 2;

    if (ctx->zone->inactive) {

        /* who is asked for stays for another while */

        ngx_str_set(&argv[0], "GETEX");
        ngx_str_set(&argv[2], "PX");
        argv[3].data = ttl;
        argv[3].len = ngx_sprintf(ttl, "%M", ctx->zone->inactive) - ttl;
        argc = 4;
    }

    if (ngx_http_rcache_op_command(op, argv, argc, NULL) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        return RCACHE_REASON_NO_MEMORY;
    }

    /* what another location with another limit stored is served here too */

    op->lane = NGX_HTTP_RCACHE_LANE_LOOKUP;
    op->handler = ngx_http_rcache_lookup_done;
    op->data = ctx;
    op->max_reply = NGX_HTTP_RCACHE_MAX_REPLY;
    op->replica = ngx_http_rcache_from_replica(ctx);

    if (ctx->zone->near) {
        ngx_http_rcache_near_wants(ctx, op, key);
    }

    if (ctx->marker == NULL && ctx->rounds == 0) {

        /* the clock has just been looked at */

        op->began = ctx->start;
    }

    reason = ngx_http_rcache_zone_submit(ctx->zone, op);

    if (reason == RCACHE_REASON_NONE) {
        ctx->op = op;
        ctx->asked = op->began;

        if (op->tracked) {
            ngx_http_rcache_near_asked(ctx, op, key);
        }
    }

    return reason;
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


static void
ngx_http_rcache_lookup_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_ctx_t *ctx = op->data;

    rcache_reason_e               reason;
    ngx_http_request_t           *r;
    ngx_http_rcache_loc_conf_t   *rlcf;
    ngx_http_rcache_near_fill_t  *fill;

    r = ctx->request;
    fill = ctx->fill;
    ctx->fill = NULL;
    ctx->op = NULL;
    ctx->redis_time += op->took;

    if (reply == NULL) {
        reason = ngx_http_rcache_op_reason(op);
        ctx->impatient = 1;

    } else {
        ngx_http_rcache_expected(ctx, reply->type == REDIS_REPLY_NIL);

        reason = ngx_http_rcache_judge(r, ctx, reply);

        if (fill && reason == RCACHE_REASON_NONE) {
            ngx_http_rcache_near_found(ctx, fill, op, reply);
        }
    }

    if (ctx->op) {

        /* it varies, and the variant has been asked for */

        return;
    }

    if (reason == RCACHE_REASON_NONE
        || ctx->stale || ctx->kept || ctx->stale_use)
    {
        op->keep = 1;
        ctx->op = op;

        switch (ngx_http_rcache_stream_probe(r, ctx, &reason)) {

        case NGX_AGAIN:
            ctx->state = NGX_HTTP_RCACHE_PROBE;
            return;

        case NGX_ERROR:
            ngx_http_rcache_probed(ctx, reason);
            return;

        default: /* NGX_DECLINED */
            break;
        }
    }

    if (reason == RCACHE_REASON_ABSENT) {
        rlcf = ngx_http_get_module_loc_conf(r,
                                            ngx_http_redis_proxy_cache_module);

        reason = ngx_http_rcache_rare(rlcf, ctx);
    }

    ngx_http_rcache_looked(ctx, reason);
}


/*
 * The segments of the entry are there; or there is no such entry, as far as
 * this request is concerned.
 */

void
ngx_http_rcache_probed(ngx_http_rcache_ctx_t *ctx, rcache_reason_e reason)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->stream == NULL) {

        if (reason != RCACHE_REASON_SEGMENT) {
            ctx->impatient = 1;
        }

        ngx_http_clean_header(r);

        ctx->status = NGX_HTTP_RCACHE_MISS;

        ctx->stale = 0;
        ctx->kept = 0;
        ctx->stale_use = 0;

        ctx->state = NGX_HTTP_RCACHE_PROBE;

        ngx_http_rcache_forget(ctx);

        if (ctx->collapsed) {

            /* what a flight gave away is of no use, and it may give it again */

            ctx->collapsed = 0;
            ctx->alone = 1;
        }
    }

    ngx_http_rcache_looked(ctx, reason);
}


static void
ngx_http_rcache_budget_handler(ngx_event_t *ev)
{
    ngx_http_rcache_ctx_t *ctx = ev->data;

    if (ctx->state == NGX_HTTP_RCACHE_PROBE) {
        ngx_http_rcache_stream_drop(ctx);
        ngx_http_rcache_probed(ctx, RCACHE_REASON_REDIS_TIMEOUT);
        return;
    }

    ngx_http_rcache_forget(ctx);

    ctx->impatient = 1;

    ngx_http_rcache_looked(ctx, RCACHE_REASON_REDIS_TIMEOUT);
}


static void
ngx_http_rcache_looked(ngx_http_rcache_ctx_t *ctx, rcache_reason_e reason)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ctx->late_handler = NULL;
    ctx->state = NGX_HTTP_RCACHE_PASS;
    ctx->waited = ngx_current_msec - ctx->began;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "rcache lookup: %V \"%V\"",
                   rcache_reason_name(reason), &ctx->key);

    ngx_http_rcache_resume(ctx, ngx_http_rcache_decide(r, ctx, reason));
}


/* the phases go on where they stopped */

void
ngx_http_rcache_resume(ngx_http_rcache_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (rc == NGX_AGAIN || rc == NGX_DONE) {
        return;
    }

    r = ctx->request;
    c = r->connection;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);

    ngx_http_run_posted_requests(c);
}
