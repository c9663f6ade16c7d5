
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A lookup: Redis is asked, the request waits, and goes on with the answer, or
 * without one when its budget is used up.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_zone.h"


/* room for the command, a reply of a few KiB and what hiredis leaves */

#define NGX_HTTP_RCACHE_LOOKUP_POOL  4096


static void ngx_http_rcache_lookup_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_timer_handler(ngx_event_t *ev);
static void ngx_http_rcache_budget_handler(ngx_event_t *ev);
static void ngx_http_rcache_looked(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason);


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
