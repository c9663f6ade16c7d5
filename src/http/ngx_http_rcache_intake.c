
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The response of a fetch is taken in, from its header to its end, good or
 * bad.  Why it was not stored says what those who wait for it are told, and for
 * how long nobody is to wait for another of its kind.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_store.h"


static ngx_uint_t ngx_http_rcache_intake_vain(ngx_http_rcache_ctx_t *ctx);
static rcache_reason_e ngx_http_rcache_intake_whole(
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_intake_leave(void *data);


ngx_int_t
ngx_http_rcache_intake_start(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e *reason)
{
    ngx_http_cleanup_t  *cln;

    if (ngx_http_rcache_intake_vain(ctx)) {
        *reason = RCACHE_REASON_REDIS_DOWN;
        return NGX_DECLINED;
    }

    if (ctx->solo && ngx_http_rcache_solo_lead(ctx) != NGX_OK) {
        *reason = RCACHE_REASON_NO_MEMORY;
        return NGX_DECLINED;
    }

    ctx->capture = ngx_http_rcache_capture_create(r, ctx, reason);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "rcache capture: %V \"%V\"",
                   rcache_reason_name(*reason), &ctx->key);

    if (ctx->capture == NULL) {
        return NGX_DECLINED;
    }

    *reason = ngx_http_rcache_check_begin(r, &ctx->check);

    if (*reason != RCACHE_REASON_NONE) {
        return NGX_DECLINED;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        *reason = RCACHE_REASON_NO_MEMORY;
        return NGX_DECLINED;
    }

    cln->handler = ngx_http_rcache_intake_leave;
    cln->data = ctx;

    ctx->state = NGX_HTTP_RCACHE_CAPTURE;
    ctx->stored = 1;

    return NGX_OK;
}


/*
 * Redis is still gone, and nobody waits: to make an entry would be for nothing.
 */

static ngx_uint_t
ngx_http_rcache_intake_vain(ngx_http_rcache_ctx_t *ctx)
{
    return ctx->impatient
           && (ctx->zone->health->bad[NGX_HTTP_RCACHE_HEALTH_CONNECT]
               || ngx_http_rcache_redis_slow(ctx->zone->redis))
           && !ngx_http_rcache_flight_awaited(ctx);
}


ngx_int_t
ngx_http_rcache_capture_body(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_chain_t *in)
{
    ngx_int_t                   rc;
    ngx_uint_t                  last, ahead;
    rcache_reason_e             reason;
    ngx_http_rcache_capture_t  *capture;

    last = ngx_http_rcache_is_last(r, in);

    ngx_http_rcache_flight_moved(ctx);

    /* before the next filter consumes the buffers */

    reason = ctx->check ? ngx_http_rcache_check_feed(r, ctx->check, in)
                        : RCACHE_REASON_NONE;

    if (reason == RCACHE_REASON_NONE) {
        reason = ngx_http_rcache_capture_append(ctx->capture, ctx, in);
    }

    if (reason != RCACHE_REASON_NONE) {
        ngx_http_rcache_intake_end(ctx, reason);

        if (ctx->background) {

            /* nobody wants the rest of it */

            return NGX_ERROR;
        }

        return ngx_http_rcache_pass_body(r, ctx, in, last);
    }

    ahead = (ctx->write == NULL
             && ngx_http_rcache_capture_guarded(ctx->capture, ctx));

    if (!last
        && (ahead || !ngx_http_rcache_capture_complete(ctx->capture)))
    {
        return ngx_http_rcache_pass_body(r, ctx, in, 0);
    }

    reason = ngx_http_rcache_intake_whole(ctx);

    if (reason != RCACHE_REASON_NONE) {
        ngx_http_rcache_intake_end(ctx, reason);

        return ngx_http_rcache_pass_body(r, ctx, in, 1);
    }

    capture = ctx->capture;
    ctx->capture = NULL;

    if (ahead) {

        /*
         * The client does not wait for the store, nor for its being made.  A
         * filter may send an end of its own, which comes through here again.
         */

        ctx->state = NGX_HTTP_RCACHE_PASS;

        rc = ngx_http_rcache_pass_body(r, ctx, in, 1);

        ngx_http_rcache_intake_end(ctx,
                                 ngx_http_rcache_capture_store(capture, ctx));
        return rc;
    }

    ngx_http_rcache_intake_end(ctx,
                               ngx_http_rcache_capture_store(capture, ctx));

    return ngx_http_rcache_pass_body(r, ctx, in, 1);
}


/* all of the body has come: may it be stored? */

static rcache_reason_e
ngx_http_rcache_intake_whole(ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->request->headers_out.trailers.part.nelts) {
        return RCACHE_REASON_TRAILERS;
    }

    return ctx->check ? ngx_http_rcache_check_end(ctx->check)
                      : RCACHE_REASON_NONE;
}


/* the capture is over, for the reason given */

void
ngx_http_rcache_intake_end(ngx_http_rcache_ctx_t *ctx, rcache_reason_e reason)
{
    ngx_http_request_t          *r;
    ngx_http_rcache_loc_conf_t  *rlcf;

    if (ctx->capture) {
        ngx_http_rcache_capture_drop(ctx->capture);
        ctx->capture = NULL;
    }

    ctx->state = NGX_HTTP_RCACHE_PASS;
    ctx->reason = reason;

    ngx_http_rcache_count_refused(ctx, reason);

    r = ctx->request;

    if (ctx->reading && r->read_event_handler == ngx_http_rcache_sheltered) {

        /* what is left is for the client alone */

        r->read_event_handler = ctx->reading;
    }

    if (ctx->background
        && r->headers_out.status >= NGX_HTTP_INTERNAL_SERVER_ERROR)
    {
        rlcf = ngx_http_get_module_loc_conf(r,
                                            ngx_http_redis_proxy_cache_module);

        ngx_http_rcache_flight_end(ctx, '!', rlcf->refresh_pause);
        return;
    }

    if (reason == RCACHE_REASON_REDIS_DOWN) {
        ngx_http_rcache_flight_lost(ctx);
        return;
    }

    ngx_http_rcache_intake_unstored(ctx, reason);
}


void
ngx_http_rcache_intake_unstored(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason)
{
    if (reason == RCACHE_REASON_PURGED) {

        /* who waits wants what is fetched from now on */

        ngx_http_rcache_flight_quit(ctx);
        return;
    }

    ngx_http_rcache_flight_end(ctx, '-',
                               ngx_http_rcache_intake_mark(ctx, reason));
}


/*
 * Will it be the same for the next response?  Then nobody is to wait for it,
 * for so many milliseconds.
 */

ngx_msec_t
ngx_http_rcache_intake_mark(ngx_http_rcache_ctx_t *ctx, rcache_reason_e reason)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    switch (reason) {

    case RCACHE_REASON_NO_CACHE:
    case RCACHE_REASON_NO_CACHE_BODY:
    case RCACHE_REASON_INVALID:
    case RCACHE_REASON_HEAD:
    case RCACHE_REASON_CLIENT:
    case RCACHE_REASON_AUTHORIZATION:
    case RCACHE_REASON_NO_MEMORY:
        return 0;

    default:
        break;
    }

    rlcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_redis_proxy_cache_module);

    return rlcf->hit_for_miss;
}


/*
 * The leader's client has gone: the others still want the response, so it is
 * taken in to the end.  Whoever reads from the upstream waits for the buffers
 * that were to be sent, so they are given back.
 */

void
ngx_http_rcache_intake_gone(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_buf_t            *first;
    ngx_chain_t          *cl;
    ngx_http_upstream_t  *u;

    ctx->discard = 1;

    r->header_only = 0;

    (void) ngx_http_rcache_discard(r->out);

    u = r->upstream;

    if (u) {
        (void) ngx_http_rcache_discard(u->busy_bufs);

        /* but what waits to be captured */

        first = ngx_http_rcache_pieces_first(ctx);

        for (cl = u->pipe ? u->pipe->busy : NULL;
             cl && cl->buf != first;
             cl = cl->next)
        {
            cl->buf->pos = cl->buf->last;
            cl->buf->file_pos = cl->buf->file_last;
        }
    }
}


/* the request ends, and is logged next, without the end of the body */

static void
ngx_http_rcache_intake_leave(void *data)
{
    ngx_http_rcache_ctx_t *ctx = data;

    rcache_reason_e             reason;
    ngx_connection_t           *c;
    ngx_http_rcache_capture_t  *capture;

    if (ctx->state != NGX_HTTP_RCACHE_CAPTURE) {
        return;
    }

    if (ngx_http_rcache_capture_complete(ctx->capture)) {

        /* it is the client that has not got all of it */

        reason = ngx_http_rcache_intake_whole(ctx);

        if (reason == RCACHE_REASON_NONE) {
            capture = ctx->capture;
            ctx->capture = NULL;

            reason = ngx_http_rcache_capture_store(capture, ctx);
        }

        ngx_http_rcache_intake_end(ctx, reason);
        return;
    }

    c = ctx->request->connection;

    if (c->error || c->timedout) {

        /* it was the client's fault: another one is to fetch */

        ngx_http_rcache_flight_quit(ctx);
    }

    ngx_http_rcache_intake_end(ctx, RCACHE_REASON_TRUNCATED);
}
