
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The first filter: it sees a response as the content handler made it,
 * before ranges, conditions, compression and includes.  That is what is
 * stored; a hit goes through the same filters again.
 */


#include "ngx_http_rcache.h"


static ngx_int_t ngx_http_rcache_header_filter(ngx_http_request_t *r);
static void ngx_http_rcache_own_conditions(ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_uint_t ngx_http_rcache_is_last(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_rcache_discard(ngx_chain_t *in);
static void ngx_http_rcache_end(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason);
static void ngx_http_rcache_leave(void *data);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static ngx_int_t
ngx_http_rcache_header_filter(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_uint_t              hidden;
    rcache_reason_e         reason;
    ngx_http_cleanup_t     *cln;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    if (ctx->state == NGX_HTTP_RCACHE_CAPTURE) {

        /* an error page takes the place of what was being captured */

        ngx_http_rcache_end(ctx, RCACHE_REASON_ERROR_PAGE);
        return ngx_http_next_header_filter(r);
    }

    if (ctx->state != NGX_HTTP_RCACHE_FILL) {
        return ngx_http_next_header_filter(r);
    }

    hidden = ctx->hidden;
    ngx_http_rcache_show_conditional(r, ctx);

    ctx->capture = ngx_http_rcache_capture_create(r, ctx, &reason);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "rcache capture: %V \"%V\"",
                   rcache_reason_name(reason), &ctx->key);

    if (hidden || ctx->capture) {

        /* answered here as on a hit: the upstream did not see them */

        ngx_http_rcache_own_conditions(r);
    }

    if (ctx->capture == NULL) {
        ngx_http_rcache_end(ctx, reason);
        return ngx_http_next_header_filter(r);
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_rcache_leave;
    cln->data = ctx;

    ctx->state = NGX_HTTP_RCACHE_CAPTURE;

    rc = ngx_http_next_header_filter(r);

    /*
     * A filter may have gone another way meanwhile: ctx is still valid
     * memory, but no longer the request's.
     */

    if (rc == NGX_ERROR || rc > NGX_OK
        || ctx->state != NGX_HTTP_RCACHE_CAPTURE
        || ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module) != ctx)
    {
        if (ctx->state == NGX_HTTP_RCACHE_CAPTURE) {
            ngx_http_rcache_end(ctx, RCACHE_REASON_ERROR_PAGE);
        }

        return rc;
    }

    if (r->header_only) {

        /*
         * A 304, or a subrequest of auth_request.  The one who asked has all
         * it wants, but the upstream sends a body, which can be stored only
         * if the content handler goes on.
         */

        r->header_only = 0;
        ctx->discard = 1;

        /* nor is it an abort if a client that has its 304 hangs up */

        r->read_event_handler = ngx_http_block_reading;
    }

    return rc;
}


/* nginx's filters are to answer Range and If-* from the whole response */

static void
ngx_http_rcache_own_conditions(ngx_http_request_t *r)
{
    if (r->headers_out.status != NGX_HTTP_OK) {
        return;
    }

    r->disable_not_modified = 0;

    if (r->headers_out.content_length_n == -1) {
        return;
    }

    /* the range filter adds its own */

    ngx_http_clear_accept_ranges(r);

    /* the body comes in many buffers: one range only */

    r->allow_ranges = 1;
    r->single_range = 1;
}


static ngx_int_t
ngx_http_rcache_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t               rc;
    ngx_uint_t              last, trailers;
    rcache_reason_e         reason;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL || in == NULL
        || (ctx->state != NGX_HTTP_RCACHE_CAPTURE && !ctx->discard))
    {
        return ngx_http_next_body_filter(r, in);
    }

    last = ngx_http_rcache_is_last(r, in);

    /* those of the content handler; add_trailer acts in a later filter */

    trailers = r->headers_out.trailers.part.nelts;

    if (ctx->state == NGX_HTTP_RCACHE_CAPTURE) {

        /* before the next filter consumes the buffers */

        reason = ngx_http_rcache_capture_append(ctx->capture, in);

        if (reason != RCACHE_REASON_NONE) {
            ngx_http_rcache_end(ctx, reason);
        }
    }

    if (ctx->discard) {
        rc = ngx_http_rcache_discard(in);

    } else {
        rc = ngx_http_next_body_filter(r, in);
    }

    if (last && ctx->state == NGX_HTTP_RCACHE_CAPTURE) {

        /* after the client was served */

        if (trailers) {
            reason = RCACHE_REASON_TRAILERS;

        } else {
            reason = ngx_http_rcache_capture_store(ctx->capture);
            ctx->capture = NULL;
        }

        ngx_http_rcache_end(ctx, reason);
    }

    return rc;
}


/*
 * The content handler says so only if all of the body came: an upstream that
 * was cut gets a flush instead.
 */

static ngx_uint_t
ngx_http_rcache_is_last(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t  *cl;

    for (cl = in; cl; cl = cl->next) {

        if (cl->buf->last_buf) {
            return 1;
        }

        if (r != r->main && cl->buf->last_in_chain) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_rcache_discard(ngx_chain_t *in)
{
    ngx_chain_t  *cl;

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
    }

    return NGX_OK;
}


/* the capture is over, for the reason given */

static void
ngx_http_rcache_end(ngx_http_rcache_ctx_t *ctx, rcache_reason_e reason)
{
    if (ctx->capture) {
        ngx_http_rcache_capture_drop(ctx->capture);
        ctx->capture = NULL;
    }

    ctx->state = NGX_HTTP_RCACHE_PASS;
    ctx->reason = reason;
}


/* the request ends, and is logged next, without the end of the body */

static void
ngx_http_rcache_leave(void *data)
{
    ngx_http_rcache_ctx_t *ctx = data;

    if (ctx->state == NGX_HTTP_RCACHE_CAPTURE) {
        ngx_http_rcache_end(ctx, RCACHE_REASON_TRUNCATED);
    }
}


ngx_int_t
ngx_http_rcache_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_rcache_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_rcache_body_filter;

    return NGX_OK;
}
