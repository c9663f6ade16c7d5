
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What becomes of a request when the lookup has been answered: is it served,
 * fresh or stale, does it fetch, or does it wait for another's fetch?
 *
 *     entry                stale may be     refresh by    the request gets
 *     fresh                                 -             it; early refresh:
 *                                                         by chance, behind
 *     stale                sent meanwhile   the first,    it at once
 *                                           behind
 *     stale                sent meanwhile,  the first     the first one the
 *                          no background                  new one, others it
 *     stale                sent on error    the first     the new one; it, if
 *                                                         the fetch fails
 *     stale, or none       not              the first     the new one
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_response.h"
#include "../core/rcache_stale.h"


static ngx_int_t ngx_http_rcache_offline(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_early(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_take_turn(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_turn_e turn);
static ngx_int_t ngx_http_rcache_wait(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_found(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_again(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_uint_t alone);
static ngx_int_t ngx_http_rcache_go_alone(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_serve(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_wait_handler(ngx_event_t *ev);


/* an entry that came and went so often is not waited for any longer */

#define NGX_HTTP_RCACHE_ROUNDS  3


ngx_int_t
ngx_http_rcache_decide(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason)
{
    ngx_http_rcache_turn_e       turn;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    ctx->reason = reason;

    if (ctx->dry) {
        return ngx_http_rcache_dry_decide(r, ctx);
    }

    if (reason == RCACHE_REASON_NONE) {

        if (rlcf->metrics.audit) {
            ngx_http_rcache_audit(r, ctx);
        }

        if (rlcf->early_refresh
            && ctx->status == NGX_HTTP_RCACHE_HIT
            && !ctx->offline)
        {
            ngx_http_rcache_early(r, ctx);
        }

        return ngx_http_rcache_serve(r, ctx);
    }

    if (ctx->offline) {
        return ngx_http_rcache_offline(r, ctx);
    }

    if (ctx->wants && ctx->wants->cc.only_if_cached) {
        ctx->state = NGX_HTTP_RCACHE_REFUSE;
        ctx->reason = RCACHE_REASON_CLIENT;
        return NGX_DECLINED;
    }

    if (ctx->far || ctx->rare || ctx->alone
        || !ngx_http_rcache_collapses(r, ctx))
    {
        return ngx_http_rcache_fill(r, ctx);
    }

    if (ctx->stale_use & NGX_HTTP_UPSTREAM_FT_UPDATING) {

        ctx->try = 1;

        if (rlcf->background_update) {
            turn = ngx_http_rcache_refresh(r, ctx);

            if (turn == NGX_HTTP_RCACHE_TURN_PASS) {
                return ngx_http_rcache_take_turn(r, ctx, turn);
            }

            return ngx_http_rcache_serve_stale(r, ctx,
                                     (turn == NGX_HTTP_RCACHE_TURN_BUSY)
                                     ? NGX_HTTP_RCACHE_UPDATING
                                     : NGX_HTTP_RCACHE_STALE);
        }

    } else if (!rlcf->lock) {
        return ngx_http_rcache_fill(r, ctx);
    }

    return ngx_http_rcache_take_turn(r, ctx,
                                     ngx_http_rcache_flight_join(ctx));
}


static ngx_int_t
ngx_http_rcache_offline(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->stale_use & NGX_HTTP_RCACHE_OFFLINE) {
        return ngx_http_rcache_serve_stale(r, ctx, NGX_HTTP_RCACHE_STALE);
    }

    ctx->state = NGX_HTTP_RCACHE_REFUSE;
    ctx->reason = RCACHE_REASON_OFFLINE;

    return NGX_DECLINED;
}


/* may the response to this request be one for others, and theirs for it? */

ngx_uint_t
ngx_http_rcache_collapses(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    /* credentials may get what is shared, but seldom make it */

    if (ctx->forced
        || ctx->no_store
        || (r->headers_in.authorization && !ctx->stale_use
            && ctx->rules.user.len == 0)
        || (r->method == NGX_HTTP_HEAD && !rlcf->convert_head))
    {
        return 0;
    }

    switch (ctx->reason) {

    case RCACHE_REASON_ABSENT:
    case RCACHE_REASON_PURGED:
    case RCACHE_REASON_INVALIDATED:
    case RCACHE_REASON_BLIND:
    case RCACHE_REASON_EXPIRED:
    case RCACHE_REASON_CORRUPT:
    case RCACHE_REASON_VERSION:
    case RCACHE_REASON_OTHER_KEY:
    case RCACHE_REASON_UNSIGNED:
    case RCACHE_REASON_SEGMENT:
    case RCACHE_REASON_REDIS_DOWN:
    case RCACHE_REASON_REDIS_BUSY:
    case RCACHE_REASON_REDIS_TIMEOUT:
    case RCACHE_REASON_REDIS_ERROR:
        return 1;

    default:
        return 0;
    }
}


/* it is fresh, but is it better to refresh it now than when all need it? */

static void
ngx_http_rcache_early(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (!ngx_http_rcache_draws_early(r, ctx)) {
        return;
    }

    ctx->try = 1;
    ctx->stale = rlcf->revalidate && ngx_http_rcache_has_validator(&ctx->entry);

    (void) ngx_http_rcache_refresh(r, ctx);

    ctx->stale = 0;
}


ngx_uint_t
ngx_http_rcache_draws_early(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    int64_t                      now;
    uint64_t                     dice;
    ngx_time_t                  *tp;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    if (ctx->no_store || (r->method == NGX_HTTP_HEAD && !rlcf->convert_head)) {
        return 0;
    }

    dice = ((uint64_t) ngx_random() << 33) ^ ((uint64_t) ngx_random() << 11)
             ^ (uint64_t) ngx_random();

    return rcache_entry_early(&ctx->entry, now,
                              (uint32_t) rlcf->early_refresh, dice);
}


/*
 * A refresh that no client waits for.  LEAD: it is under way, or soon will be,
 * if no other instance does it.
 */

ngx_http_rcache_turn_e
ngx_http_rcache_refresh(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_request_t        *sr;
    ngx_http_rcache_ctx_t     *bctx;
    ngx_http_rcache_turn_e     turn;
    ngx_http_rcache_flight_t  *flight;

    turn = ngx_http_rcache_flight_open(ctx, &flight);

    switch (turn) {

    case NGX_HTTP_RCACHE_TURN_LEAD:
        break;

    case NGX_HTTP_RCACHE_TURN_PASS:
    case NGX_HTTP_RCACHE_TURN_PAUSE:
        return turn;

    default:
        return NGX_HTTP_RCACHE_TURN_BUSY;
    }

    if (flight == NULL) {
        return NGX_HTTP_RCACHE_TURN_BUSY;
    }

    sr = ngx_http_rcache_detached_create(r, ctx);

    if (sr == NULL) {
        ngx_http_rcache_flight_cancel(flight);
        return NGX_HTTP_RCACHE_TURN_BUSY;
    }

    bctx = ngx_http_get_module_ctx(sr, ngx_http_redis_proxy_cache_module);

    bctx->try = 1;
    bctx->state = NGX_HTTP_RCACHE_WAIT;
    bctx->status = NGX_HTTP_RCACHE_EXPIRED;
    bctx->reason = RCACHE_REASON_EXPIRED;

    if (ngx_http_rcache_lock_key(bctx) != NGX_OK) {
        ngx_http_rcache_flight_cancel(flight);
        ngx_http_rcache_detached_close(sr);
        return NGX_HTTP_RCACHE_TURN_BUSY;
    }

    if (ngx_http_rcache_flight_board(flight, bctx)
        == NGX_HTTP_RCACHE_TURN_LEAD)
    {
        (void) ngx_http_rcache_fill(sr, bctx);

        ngx_http_rcache_detached_run(sr);
    }

    return NGX_HTTP_RCACHE_TURN_LEAD;
}


static ngx_int_t
ngx_http_rcache_take_turn(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_turn_e turn)
{
    if (ctx->background && turn != NGX_HTTP_RCACHE_TURN_LEAD) {

        /* somebody else has done it, or does, or it is of no use */

        ngx_http_rcache_detached_close(r);
        return NGX_DONE;
    }

    switch (turn) {

    case NGX_HTTP_RCACHE_TURN_LEAD:
        return ngx_http_rcache_fill(r, ctx);

    case NGX_HTTP_RCACHE_TURN_WAIT:
        return ngx_http_rcache_wait(r, ctx);

    case NGX_HTTP_RCACHE_TURN_BUSY:

        /* it may have waited for that */

        ngx_http_rcache_purge_recheck(ctx);

        if (ctx->stale_use == 0) {
            return ngx_http_rcache_again(r, ctx, 0);
        }

        return ngx_http_rcache_serve_stale(r, ctx, NGX_HTTP_RCACHE_UPDATING);

    case NGX_HTTP_RCACHE_TURN_FOUND:
        return ngx_http_rcache_found(r, ctx);

    case NGX_HTTP_RCACHE_TURN_LOOK:
        return ngx_http_rcache_again(r, ctx, 0);

    case NGX_HTTP_RCACHE_TURN_ALONE:
        return ngx_http_rcache_again(r, ctx, 1);

    case NGX_HTTP_RCACHE_TURN_PAUSE:
        ngx_http_rcache_purge_recheck(ctx);

        if (ctx->stale_use) {
            return ngx_http_rcache_serve_stale(r, ctx, NGX_HTTP_RCACHE_STALE);
        }

        return ngx_http_rcache_go_alone(r, ctx);

    default: /* NGX_HTTP_RCACHE_TURN_PASS */

        /* if it can be cached after all, the mark goes */

        ngx_str_set(&ctx->token, "-");
        ctx->reason = RCACHE_REASON_UNCACHEABLE;

        return ngx_http_rcache_go_alone(r, ctx);
    }
}


/* the time is that of all rounds together */

static ngx_int_t
ngx_http_rcache_wait(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_msec_t                   spent;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (!ctx->waits) {
        ctx->waits = 1;
        ctx->since = ngx_current_msec;
    }

    spent = ngx_current_msec - ctx->since;

    ngx_http_rcache_park(r, ctx, NGX_HTTP_RCACHE_WAIT,
                         ngx_http_rcache_wait_handler,
                         (spent < rlcf->lock_timeout)
                         ? rlcf->lock_timeout - spent : 1);

    return NGX_AGAIN;
}


/* another's response is there: is it one for this request? */

static ngx_int_t
ngx_http_rcache_found(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    rcache_reason_e          reason;
    ngx_http_rcache_reply_t  reply;

    ngx_http_rcache_forget(ctx);

    ctx->stale = 0;
    ctx->kept = 0;
    ctx->stale_use = 0;
    ctx->try = 0;

    /* what was known of purges when it began to wait is out of date */

    ctx->caught = 0;

    /* nor may it have reached a replica */

    ctx->master = 1;

    ngx_memzero(&reply, sizeof(ngx_http_rcache_reply_t));

    reply.type = REDIS_REPLY_STRING;
    reply.str = ctx->handed;

    reason = ngx_http_rcache_judge(r, ctx, &reply);

    if (ctx->op) {

        /* they vary, and the one for this request is being looked up */

        ngx_http_rcache_park_lookup(r, ctx);
        return NGX_AGAIN;
    }

    if (reason == RCACHE_REASON_OTHER_KEY
        || reason == RCACHE_REASON_PURGED
        || reason == RCACHE_REASON_INVALIDATED
        || reason == RCACHE_REASON_BLIND)
    {
        return ngx_http_rcache_again(r, ctx, 0);
    }

    ctx->reason = reason;

    if (reason != RCACHE_REASON_NONE) {
        return ngx_http_rcache_go_alone(r, ctx);
    }

    ctx->collapsed = 1;

    switch (ngx_http_rcache_stream_probe(r, ctx, &reason)) {

    case NGX_AGAIN:
        ngx_http_rcache_park_probe(r, ctx);
        return NGX_AGAIN;

    case NGX_ERROR:
        ngx_http_clean_header(r);

        ctx->reason = reason;
        ctx->collapsed = 0;
        ctx->status = NGX_HTTP_RCACHE_MISS;

        return ngx_http_rcache_go_alone(r, ctx);

    default: /* NGX_DECLINED */
        return ngx_http_rcache_serve(r, ctx);
    }
}


/*
 * alone: if Redis is still away there is nothing to wait for.  Otherwise one of
 * those who were told to look leads, and the others have its response.
 */

static ngx_int_t
ngx_http_rcache_again(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_uint_t alone)
{
    rcache_reason_e  reason;

    ctx->try = 0;

    if (++ctx->rounds > NGX_HTTP_RCACHE_ROUNDS) {
        return ngx_http_rcache_go_alone(r, ctx);
    }

    reason = ngx_http_rcache_lookup_again(r, ctx);

    if (reason == RCACHE_REASON_NONE) {
        return NGX_AGAIN;
    }

    if (alone) {
        ctx->alone = 1;
    }

    return ngx_http_rcache_decide(r, ctx, reason);
}


static ngx_int_t
ngx_http_rcache_go_alone(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ctx->alone = 1;
    ctx->try = 0;

    return ngx_http_rcache_fill(r, ctx);
}


static ngx_int_t
ngx_http_rcache_serve(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ctx->state = NGX_HTTP_RCACHE_SERVE;

    r->content_handler = ngx_http_rcache_serve_handler;

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_serve_stale(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_status_e status)
{
    if (ngx_http_rcache_head_restore(r, &ctx->entry) != NGX_OK) {
        ngx_http_clean_header(r);
        return ngx_http_rcache_go_alone(r, ctx);
    }

    ctx->status = status;

    return ngx_http_rcache_serve(r, ctx);
}


void
ngx_http_rcache_told(ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_turn_e turn,
    ngx_chain_t *payload, size_t size)
{
    u_char              *p;
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ctx->late_handler = NULL;
    ctx->state = NGX_HTTP_RCACHE_PASS;

    if (turn != NGX_HTTP_RCACHE_TURN_LEAD) {
        ngx_http_rcache_count_waited(ctx, 0);
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "rcache turn: %ui \"%V\"", (ngx_uint_t) turn, &ctx->key);

    if (turn == NGX_HTTP_RCACHE_TURN_FOUND && !ctx->background) {

        p = ngx_pnalloc(r->pool, size);

        if (p == NULL) {
            turn = NGX_HTTP_RCACHE_TURN_LOOK;

        } else {
            ctx->handed.data = p;
            ctx->handed.len = size;

            for ( /* void */ ; payload; payload = payload->next) {
                p = ngx_cpymem(p, payload->buf->pos,
                               payload->buf->last - payload->buf->pos);
            }
        }
    }

    ngx_http_rcache_resume(ctx, ngx_http_rcache_take_turn(r, ctx, turn));
}


static void
ngx_http_rcache_wait_handler(ngx_event_t *ev)
{
    ngx_http_rcache_ctx_t *ctx = ev->data;

    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ngx_http_rcache_flight_quit(ctx);

    ctx->state = NGX_HTTP_RCACHE_PASS;
    ctx->late = 1;

    ngx_http_rcache_count_waited(ctx, 1);

    ngx_http_rcache_resume(ctx, ngx_http_rcache_go_alone(r, ctx));
}
