
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The first filter: it sees a response as the content handler made it,
 * before ranges, conditions, compression and includes.  That is what is
 * stored; a hit goes through the same filters again.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_conf.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_response.h"
#include "ngx_http_rcache_store.h"


static ngx_int_t ngx_http_rcache_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_unsafe_header(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_end_header(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_fill_header(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_send_header(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_pass_header(ngx_http_request_t *r);
static void ngx_http_rcache_own_ranges(ngx_http_request_t *r,
    ngx_uint_t single);
static ngx_int_t ngx_http_rcache_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_rcache_flush(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_uint_t ngx_http_rcache_wanted(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_stored_body(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static ngx_int_t
ngx_http_rcache_header_filter(ngx_http_request_t *r)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL) {

        ctx = r->internal ? ngx_http_rcache_redirected(r) : NULL;

        if (ctx) {

            /* of the request before: nothing but its end is ours */

            ngx_http_set_ctx(r, ctx, ngx_http_redis_proxy_cache_module);
            ngx_http_rcache_end_header(r, ctx);
        }

        return ngx_http_rcache_pass_header(r);
    }

    ngx_http_rcache_count_first(ctx);

    switch (ctx->state) {

    case NGX_HTTP_RCACHE_SERVE:
        ngx_http_rcache_own_ranges(r, 0);
        return ngx_http_rcache_send_header(r, ctx);

    case NGX_HTTP_RCACHE_FILL:
        return ngx_http_rcache_fill_header(r, ctx);

    case NGX_HTTP_RCACHE_UNSAFE:
        return ngx_http_rcache_unsafe_header(r, ctx);

    case NGX_HTTP_RCACHE_RESUME:
        return ngx_http_rcache_resume_header(r, ctx);

    case NGX_HTTP_RCACHE_CAPTURE:

        /* an error page takes the place of what was being captured */

        ngx_http_rcache_intake_end(ctx, RCACHE_REASON_ERROR_PAGE);
        return ngx_http_rcache_pass_header(r);

    case NGX_HTTP_RCACHE_FRESHENED:
    case NGX_HTTP_RCACHE_INSTEAD:

        /* the same, and it has a body of its own */

        ctx->state = NGX_HTTP_RCACHE_PASS;
        return ngx_http_rcache_pass_header(r);

    case NGX_HTTP_RCACHE_AUDIT:
        ngx_http_rcache_audit_header(r, ctx);
        (void) ngx_http_rcache_pass_header(r);

        r->header_only = (ctx->state == NGX_HTTP_RCACHE_PASS);

        return NGX_OK;

    default:

        if (ctx->state == NGX_HTTP_RCACHE_DRY) {
            ngx_http_rcache_dry_header(r, ctx);
        }

        if (ngx_http_rcache_cache_status(r, ctx) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_rcache_pass_header(r);
    }
}


static ngx_int_t
ngx_http_rcache_unsafe_header(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    rcache_reason_e  reason;

    ngx_http_rcache_invalidate(r, ctx);

    if (ctx->post) {

        /* it has just made everything else void */

        ngx_str_set(&ctx->token, "*");
    }

    if (ctx->post && ngx_http_rcache_intake_start(r, ctx, &reason) == NGX_OK) {
        return ngx_http_rcache_send_header(r, ctx);
    }

    if (ngx_http_rcache_cache_status(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_rcache_end_header(r, ctx);

    return ngx_http_rcache_pass_header(r);
}


/* perhaps there will be no body whose end could be held */

static void
ngx_http_rcache_end_header(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->write
        && (r->headers_out.status == NGX_HTTP_NO_CONTENT
            || r->headers_out.content_length_n == 0))
    {
        ngx_http_rcache_hold_header(r, ctx);
    }
}


static ngx_int_t
ngx_http_rcache_fill_header(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_int_t        rc;
    ngx_uint_t       masked;
    rcache_reason_e  reason;

    masked = ctx->masked;

    if (ctx->stale
        && r->headers_out.status == NGX_HTTP_NOT_MODIFIED
        && r->err_status == 0)
    {
        ngx_http_rcache_unmask(r, ctx);

        if (ngx_http_rcache_revalidate(r, ctx) != NGX_OK) {
            return NGX_ERROR;
        }

        if (!ctx->stored) {
            ngx_http_rcache_count_refused(ctx, ctx->reason);
            ngx_http_rcache_intake_unstored(ctx, ctx->reason);
        }

        ctx->state = NGX_HTTP_RCACHE_FRESHENED;

        ngx_http_rcache_own_ranges(r, 0);

        return ngx_http_rcache_send_header(r, ctx);
    }

    if (ngx_http_rcache_failed(r, ctx)) {
        ngx_http_rcache_unmask(r, ctx);

        if (ngx_http_rcache_instead(r, ctx) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_rcache_own_ranges(r, 0);

        return ngx_http_rcache_send_header(r, ctx);
    }

    /* ctx->head tells a GET for a HEAD from a HEAD */

    rc = ngx_http_rcache_intake_start(r, ctx, &reason);

    ngx_http_rcache_unmask(r, ctx);

    if (rc != NGX_OK) {
        ngx_http_rcache_futile_set(ctx,
                                   ngx_http_rcache_intake_mark(ctx, reason));
        ngx_http_rcache_intake_end(ctx, reason);

        if (reason == RCACHE_REASON_HEAD && ctx->kept) {
            ngx_http_rcache_held_against(r, ctx);
        }

        if (!masked) {
            if (ngx_http_rcache_cache_status(r, ctx) != NGX_OK) {
                return NGX_ERROR;
            }

            return ngx_http_rcache_pass_header(r);
        }

        /* the upstream did not see the conditions: they are answered here */
    }

    if (r->headers_out.content_length_n != -1) {
        ngx_http_rcache_own_ranges(r, 1);
    }

    return ngx_http_rcache_send_header(r, ctx);
}


/* with the conditions of the client answered */

static ngx_int_t
ngx_http_rcache_send_header(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->background) {
        (void) ngx_http_rcache_pass_header(r);

        /* only a body that is stored, or the end of a 304, has to come */

        r->header_only = (ctx->state == NGX_HTTP_RCACHE_PASS);

        return NGX_OK;
    }

    if (ngx_http_rcache_cache_status(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_rcache_conditional(r, ctx) != NGX_OK) {
        ngx_http_rcache_flight_quit(ctx);
        ngx_http_rcache_intake_end(ctx, RCACHE_REASON_ERROR_PAGE);

        return ngx_http_filter_finalize_request(r, NULL,
                                                NGX_HTTP_PRECONDITION_FAILED);
    }

    switch (ctx->state) {

    case NGX_HTTP_RCACHE_SERVE:
    case NGX_HTTP_RCACHE_FRESHENED:
    case NGX_HTTP_RCACHE_INSTEAD:
        ngx_http_rcache_stream_header(r, ctx);
        break;

    default:
        break;
    }

    rc = ngx_http_rcache_pass_header(r);

    if (ctx->state != NGX_HTTP_RCACHE_CAPTURE) {
        return rc;
    }

    /*
     * A filter may have gone another way meanwhile: ctx is still valid
     * memory, but no longer the request's.
     */

    if (rc == NGX_ERROR && ctx->leader && r->connection->error) {
        ngx_http_rcache_intake_gone(r, ctx);
        return NGX_OK;
    }

    if (rc == NGX_ERROR || rc > NGX_OK
        || ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module) != ctx)
    {
        ngx_http_rcache_intake_end(ctx, RCACHE_REASON_ERROR_PAGE);
        return rc;
    }

    if (r->header_only) {

        /*
         * A 304, a HEAD, or a subrequest of auth_request.  The one who asked
         * has all it wants, but the upstream sends a body, which can be
         * stored only if the content handler goes on.
         */

        r->header_only = 0;
        ctx->discard = 1;

        /* nor is it an abort if a client that has its 304 hangs up */

        r->read_event_handler = ngx_http_rcache_sheltered;
    }

    return rc;
}


/* a detached request has nobody to send it to, and needs no body for that */

static ngx_int_t
ngx_http_rcache_pass_header(ngx_http_request_t *r)
{
    if (r == r->main && ngx_http_rcache_is_detached(r)) {
        r->header_sent = 1;
        r->header_only = 1;

        return NGX_OK;
    }

    return ngx_http_next_header_filter(r);
}


/* nginx's range filter is to answer Range from the whole response */

static void
ngx_http_rcache_own_ranges(ngx_http_request_t *r, ngx_uint_t single)
{
    if (r->headers_out.status != NGX_HTTP_OK) {
        return;
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        /* RFC 9110, 14.2 */

        r->allow_ranges = 0;
        return;
    }

    /* the range filter adds its own */

    ngx_http_clear_accept_ranges(r);

    r->allow_ranges = 1;

    /* it answers several ranges only over a body in one buffer */

    r->single_range = single;
}


static ngx_int_t
ngx_http_rcache_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL
        || (ctx->state == NGX_HTTP_RCACHE_PASS
            && in && !ctx->discard && !ctx->write))
    {
        return ngx_http_rcache_output(r, in);
    }

    if (ctx->state == NGX_HTTP_RCACHE_RESUME) {
        return ngx_http_rcache_resume_body(r, ctx, in);
    }

    if (in == NULL) {

        if (ctx->state == NGX_HTTP_RCACHE_STREAM) {
            return ngx_http_rcache_stream_write(r, ctx);
        }

        return ngx_http_rcache_flush(r, ctx);
    }

    return ngx_http_rcache_take_body(r, ctx, in);
}


ngx_int_t
ngx_http_rcache_take_body(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_chain_t *in)
{
    ngx_int_t  rc;

    switch (ctx->state) {

    case NGX_HTTP_RCACHE_CAPTURE:
        return ngx_http_rcache_pieces_body(r, ctx, in);

    case NGX_HTTP_RCACHE_FRESHENED:

        if (!ngx_http_rcache_is_last(r, in)) {

            /* a flush; there is nothing of a 304's own to pass on */

            return ngx_http_rcache_discard(in);
        }

        return ngx_http_rcache_stored_body(r, ctx);

    case NGX_HTTP_RCACHE_INSTEAD:

        /* nothing of the failure's own is passed on */

        (void) ngx_http_rcache_discard(in);

        rc = ngx_http_rcache_stored_body(r, ctx);

        if (ctx->state != NGX_HTTP_RCACHE_STREAM) {
            ctx->discard = 1;
        }

        return rc;

    case NGX_HTTP_RCACHE_STREAM:
        return ngx_http_rcache_discard(in);

    case NGX_HTTP_RCACHE_HOLD:
        return ngx_http_rcache_hold(r, ctx, in);

    case NGX_HTTP_RCACHE_SERVE:

        if (ctx->write == NULL) {
            return ngx_http_rcache_output(r, in);
        }

        return ngx_http_rcache_pass_body(r, ctx, in,
                                         ngx_http_rcache_is_last(r, in));

    case NGX_HTTP_RCACHE_DRY:
        ngx_http_rcache_dry_body(r, ctx, in, ngx_http_rcache_is_last(r, in));
        return ngx_http_rcache_output(r, in);

    case NGX_HTTP_RCACHE_AUDIT:
        ngx_http_rcache_audit_body(r, ctx, in, ngx_http_rcache_is_last(r, in));
        return ngx_http_rcache_discard(in);

    default:
        return ngx_http_rcache_pass_body(r, ctx, in,
                                         ngx_http_rcache_is_last(r, in));
    }
}


/* no more of the body, but what is left of it may go out */

static ngx_int_t
ngx_http_rcache_flush(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->discard && r->connection->error) {

        /* what the filters keep has been given back: it is not to be sent */

        return ngx_http_rcache_wanted(r, ctx) ? NGX_OK : NGX_ERROR;
    }

    rc = ngx_http_rcache_output(r, NULL);

    if (rc == NGX_ERROR && ctx->leader && r->connection->error
        && ngx_http_rcache_wanted(r, ctx))
    {
        ngx_http_rcache_intake_gone(r, ctx);
        return NGX_OK;
    }

    if (ctx->resume && ngx_http_rcache_resume_wake(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    return rc;
}


/*
 * Does a capture go on without the client?  An upstream that has broken off
 * gives no more of it.
 */

static ngx_uint_t
ngx_http_rcache_wanted(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    return ctx->capture
           && (r->upstream == NULL
               || r->upstream->cleanup
               || ngx_http_rcache_pieces_first(ctx));
}


/* the stored body takes the place of that of the 304, or of the failure */

static ngx_int_t
ngx_http_rcache_stored_body(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_buf_t    *b;
    ngx_chain_t   out;

    ctx->state = NGX_HTTP_RCACHE_PASS;

    if (ctx->background) {

        /* it has no copy of it, and needs none */

        return NGX_OK;
    }

    if (ctx->entry.flags & RCACHE_ENTRY_SEGMENTED) {
        return ngx_http_rcache_stream_start(r, ctx);
    }

    b = ngx_http_rcache_body_buf(r, &ctx->entry.body);
    if (b == NULL) {
        return NGX_ERROR;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_rcache_pass_body(r, ctx, &out, 1);
}


ngx_int_t
ngx_http_rcache_pass_body(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_chain_t *in, ngx_uint_t last)
{
    ngx_int_t  rc;

    if (ctx->discard) {
        return ngx_http_rcache_discard(in);
    }

    if (last && ctx->write) {
        return ngx_http_rcache_hold(r, ctx, in);
    }

    rc = ngx_http_rcache_output(r, in);

    if (rc == NGX_ERROR && ctx->leader && r->connection->error
        && ngx_http_rcache_wanted(r, ctx))
    {
        ngx_http_rcache_intake_gone(r, ctx);
        return ngx_http_rcache_discard(in);
    }

    return rc;
}


ngx_int_t
ngx_http_rcache_output(ngx_http_request_t *r, ngx_chain_t *in)
{
    if (r == r->main && ngx_http_rcache_is_detached(r)) {
        return ngx_http_rcache_discard(in);
    }

    return ngx_http_next_body_filter(r, in);
}


/*
 * The content handler says so only if all of the body came: an upstream that
 * was cut gets a flush instead.
 */

ngx_uint_t
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


ngx_int_t
ngx_http_rcache_discard(ngx_chain_t *in)
{
    ngx_chain_t  *cl;

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_rcache_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_rcache_body_filter;

    return ngx_http_rcache_detached_init(cf);
}
