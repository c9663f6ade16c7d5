
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A segment is gone, and the client has part of the response: the rest is
 * asked of the upstream, RFC 9110, 14.2 and 13.1.5, and goes on where the
 * segments ended.
 *
 * Who asks is a subrequest: a clone in the content phase, so that no access
 * check, lookup or limit sees it.  It is a background one, as those of nginx's
 * own cache, which has no place in the order of output: what it gets is passed
 * to the filters behind us as the body of the client's request, the same as a
 * segment would be.  So they may do with it what they like, and the range
 * filter has counted all that came before.
 *
 * Its own header goes nowhere.  Whatever is not exactly what was asked for
 * ends the client's request as if nobody had asked.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_lookup.h"
#include "../core/rcache_conditional.h"
#include "../core/rcache_date.h"


#define NGX_HTTP_RCACHE_RANGE  (sizeof("bytes -/") - 1 + 3 * NGX_INT64_LEN)


struct ngx_http_rcache_resume_s {
    ngx_http_rcache_ctx_t  *ctx;        /* of the client's request */
    ngx_http_request_t     *request;    /* who asks; NULL: nobody yet */

    /* what the entry says, and the answer has to; empty: nothing */
    rcache_str_t            etag;
    rcache_str_t            last_modified;
    rcache_str_t            encoding;

    uint64_t                first;
    uint64_t                end;        /* the byte behind the last one */
    uint64_t                rest;       /* bytes to come */

    ngx_int_t             (*init)(void *data);   /* of the upstream */

    unsigned                refused:1;
};


static ngx_uint_t ngx_http_rcache_resumable(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_resume_validators(
    ngx_http_rcache_resume_t *resume, rcache_entry_t *entry);
static rcache_str_t *ngx_http_rcache_resume_if_range(
    ngx_http_rcache_resume_t *resume);
static ngx_int_t ngx_http_rcache_resume_clone(ngx_http_request_t *r,
    ngx_http_rcache_resume_t *resume);
static ngx_int_t ngx_http_rcache_resume_variables(ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_resume_done(ngx_http_request_t *r,
    void *data, ngx_int_t rc);
static char *ngx_http_rcache_resume_check(ngx_http_request_t *r,
    ngx_http_rcache_resume_t *resume);
static ngx_uint_t ngx_http_rcache_resume_same(ngx_table_elt_t *h,
    rcache_str_t *value);
static ngx_int_t ngx_http_rcache_resume_init(void *data);
static ngx_int_t ngx_http_rcache_resume_output(void *data, ngx_chain_t *in);
static void ngx_http_rcache_resume_refused(ngx_http_rcache_resume_t *resume,
    char *why);


ngx_int_t
ngx_http_rcache_resume_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_resume_t  *resume;

    if (ctx->resume || !ngx_http_rcache_resumable(r, ctx)) {
        return NGX_DECLINED;
    }

    resume = ngx_pcalloc(r->pool, sizeof(ngx_http_rcache_resume_t));
    if (resume == NULL) {
        return NGX_DECLINED;
    }

    resume->ctx = ctx;

    if (ngx_http_rcache_resume_validators(resume, &ctx->entry) != NGX_OK
        || ngx_http_rcache_fallback_try(r, ctx) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ctx->resume = resume;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_rcache_resumable(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

#if (NGX_HAVE_FILE_AIO || NGX_THREADS)

    /*
     * What nginx has a thread or the kernel do is one thing at a time for a
     * request, and here two requests have one output.
     */

    if (clcf->aio != NGX_HTTP_AIO_OFF) {
        return 0;
    }

#endif

    /*
     * A slice is a range already; static files have no handler; and what is
     * passed on compressed cannot go on with what is not.
     */

    return rlcf->body.resume
           && !rlcf->slice
           && clcf->handler
           && r == r->main
           && r->method == NGX_HTTP_GET
           && ctx->entry.status == NGX_HTTP_OK
           && !ctx->entry.passed
           && !ctx->rules.bodied
           && !ctx->instead
           && !ctx->offline
           && !(ctx->wants && ctx->wants->cc.only_if_cached)
           && !r->connection->error;
}


/* NGX_OK, or NGX_DECLINED if there is none that is strong */

static ngx_int_t
ngx_http_rcache_resume_validators(ngx_http_rcache_resume_t *resume,
    rcache_entry_t *entry)
{
    u_char                date[RCACHE_DATE_LEN];
    ngx_uint_t            n;
    rcache_str_t          line, name, value;
    rcache_head_t         h;
    rcache_validators_t   v;
    rcache_conditional_t  c;

    if (rcache_head_status(&h, &entry->head, &line) != RCACHE_OK) {
        return NGX_DECLINED;
    }

    v.date.data = date;
    v.date.len = rcache_date_write(date, rcache_entry_date(entry)) - date;

    n = 0;

    while (rcache_head_next(&h, &name, &value) == RCACHE_OK) {

        if (rcache_str_is(&name, "ETag")) {
            resume->etag = value;
            n++;

        } else if (rcache_str_is(&name, "Last-Modified")) {
            resume->last_modified = value;

        } else if (rcache_str_is(&name, "Content-Encoding")) {
            resume->encoding = value;

        } else if (rcache_str_is(&name, "Date")) {
            v.date = value;
        }
    }

    if (n > 1) {
        return NGX_DECLINED;
    }

    /* RFC 9110, 13.1.5: a date only if there is no ETag, and if it is strong */

    v.etag = resume->etag;
    v.last_modified = resume->last_modified;

    rcache_conditional_init(&c);

    c.if_range = *ngx_http_rcache_resume_if_range(resume);
    c.nif_range = 1;

    return rcache_conditional_range(&c, &v, ngx_time()) ? NGX_OK
                                                        : NGX_DECLINED;
}


static rcache_str_t *
ngx_http_rcache_resume_if_range(ngx_http_rcache_resume_t *resume)
{
    return resume->etag.len ? &resume->etag : &resume->last_modified;
}


ngx_int_t
ngx_http_rcache_resume_start(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, uint64_t first, uint64_t end)
{
    u_char                    *p;
    rcache_str_t               range;
    ngx_http_request_t        *sr;
    ngx_http_rcache_ctx_t     *srctx;
    ngx_http_rcache_resume_t  *resume;

    resume = ctx->resume;

    resume->first = first;
    resume->end = end;
    resume->rest = end - first;

    p = ngx_pnalloc(r->pool, NGX_HTTP_RCACHE_RANGE);
    if (p == NULL) {
        return NGX_ERROR;
    }

    range.data = p;
    range.len = ngx_sprintf(p, "bytes=%uL-%uL", first, end - 1) - p;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "the rest of \"%V\" is asked of the upstream: %V",
                  &ctx->redis_key, &range);

    if (ngx_http_rcache_resume_clone(r, resume) != NGX_OK) {
        return NGX_ERROR;
    }

    /* from here on it runs; whoever fails has to end the client's request */

    sr = resume->request;

    srctx = ngx_http_rcache_ctx_create(sr);
    if (srctx == NULL) {
        return NGX_ERROR;
    }

    srctx->zone = ctx->zone;
    srctx->resume = resume;
    srctx->state = NGX_HTTP_RCACHE_RESUME;

    if (ngx_http_rcache_mask_range(sr, srctx, &range,
                                   ngx_http_rcache_resume_if_range(resume))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_rcache_resume_variables(sr);
}


static ngx_int_t
ngx_http_rcache_resume_clone(ngx_http_request_t *r,
    ngx_http_rcache_resume_t *resume)
{
    ngx_http_request_t          *sr;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_post_subrequest_t  *ps;

    ps = ngx_palloc(r->pool, sizeof(ngx_http_post_subrequest_t));
    if (ps == NULL) {
        return NGX_ERROR;
    }

    ps->handler = ngx_http_rcache_resume_done;
    ps->data = resume;

    if (ngx_http_subrequest(r, &r->uri, &r->args, &sr, ps,
                            NGX_HTTP_SUBREQUEST_CLONE
                            |NGX_HTTP_SUBREQUEST_BACKGROUND)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    resume->request = sr;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    sr->content_handler = clcf->handler;

    /* X-Accel-Redirect and error_page lead nowhere */

    sr->uri_changes = 1;

    return NGX_OK;
}


/* what a variable said of the client's conditions is not true of ours */

static ngx_int_t
ngx_http_rcache_resume_variables(ngx_http_request_t *r)
{
    ngx_uint_t                  i, n;
    ngx_http_variable_t        *v;
    ngx_http_variable_value_t  *values;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    v = cmcf->variables.elts;
    n = cmcf->variables.nelts;

    values = ngx_palloc(r->pool, n * sizeof(ngx_http_variable_value_t) + 1);
    if (values == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(values, r->variables, n * sizeof(ngx_http_variable_value_t));

    for (i = 0; i < n; i++) {

        if (rcache_str_is(&v[i].name, "http_range")
            || (v[i].name.len > sizeof("http_if_") - 1
                && ngx_strncmp(v[i].name.data, "http_if_",
                               sizeof("http_if_") - 1)
                   == 0))
        {
            values[i].valid = 0;
            values[i].not_found = 0;
        }
    }

    r->variables = values;

    return NGX_OK;
}


/* it may be called more than once; NGX_ERROR ends the client's request */

static ngx_int_t
ngx_http_rcache_resume_done(ngx_http_request_t *r, void *data, ngx_int_t rc)
{
    ngx_http_rcache_resume_t *resume = data;

    if (resume->rest == 0) {
        return NGX_OK;
    }

    if (!r->connection->error) {
        ngx_http_rcache_resume_refused(resume, "it did not come");
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_http_rcache_resume_header(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    char                      *why;
    ngx_http_upstream_t       *u;
    ngx_http_rcache_resume_t  *resume;

    resume = ctx->resume;
    u = r->upstream;

    r->header_sent = 1;

    why = ngx_http_rcache_resume_check(r, resume);

    if (why) {
        ngx_http_rcache_resume_refused(resume, why);
        return NGX_ERROR;
    }

    if (u && u->buffering && u->pipe && u->pipe->input_ctx == r) {
        resume->init = u->input_filter_init;
        u->input_filter_init = ngx_http_rcache_resume_init;
    }

    return NGX_OK;
}


/* NULL, or what is wrong with the answer */

static char *
ngx_http_rcache_resume_check(ngx_http_request_t *r,
    ngx_http_rcache_resume_t *resume)
{
    u_char                   buf[NGX_HTTP_RCACHE_RANGE];
    rcache_str_t             range;
    ngx_http_headers_out_t  *out;

    out = &r->headers_out;

    if (out->status != NGX_HTTP_PARTIAL_CONTENT) {
        return "no 206";
    }

    range.data = buf;
    range.len = ngx_sprintf(buf, "bytes %uL-%uL/%uL", resume->first,
                            resume->end - 1, resume->ctx->entry.body_len)
                - buf;

    if (out->content_range == NULL
        || !ngx_http_rcache_resume_same(out->content_range, &range))
    {
        return "another Content-Range";
    }

    if (out->content_length_n != -1
        && (uint64_t) out->content_length_n != resume->rest)
    {
        return "another Content-Length";
    }

    if (!ngx_http_rcache_resume_same(out->etag, &resume->etag)) {
        return "another ETag";
    }

    if (resume->etag.len == 0
        && !ngx_http_rcache_resume_same(out->last_modified,
                                        &resume->last_modified))
    {
        return "another Last-Modified";
    }

    if (!ngx_http_rcache_resume_same(out->content_encoding,
                                     &resume->encoding))
    {
        return "another Content-Encoding";
    }

    return NULL;
}


static ngx_uint_t
ngx_http_rcache_resume_same(ngx_table_elt_t *h, rcache_str_t *value)
{
    if (h == NULL || h->hash == 0) {
        return value->len == 0;
    }

    return h->value.len == value->len
           && ngx_memcmp(h->value.data, value->data, value->len) == 0;
}


/*
 * nginx's pipe passes on what it has only while it is its own request's turn
 * to write, and collects it all in a file otherwise.  The turn is that of the
 * client's request.
 */

static ngx_int_t
ngx_http_rcache_resume_init(void *data)
{
    ngx_http_request_t *r = data;

    ngx_event_pipe_t       *p;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    p = r->upstream->pipe;

    p->output_filter = ngx_http_rcache_resume_output;
    p->output_ctx = r->main;

    return ctx->resume->init ? ctx->resume->init(data) : NGX_OK;
}


static ngx_int_t
ngx_http_rcache_resume_output(void *data, ngx_chain_t *in)
{
    ngx_http_request_t *r = data;

    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    return ngx_http_output_filter(ctx->resume->request, in);
}


ngx_int_t
ngx_http_rcache_resume_body(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_chain_t *in)
{
    uint64_t                   size;
    ngx_int_t                  rc;
    ngx_chain_t               *cl;
    ngx_http_rcache_resume_t  *resume;

    resume = ctx->resume;

    if (resume->rest == 0) {

        /* the client has all it wants */

        return ngx_http_rcache_discard(in);
    }

    size = 0;

    for (cl = in; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }

    if (size > resume->rest) {
        ngx_http_rcache_resume_refused(resume, "it is too long");
        return NGX_ERROR;
    }

    rc = ngx_http_rcache_output(r->main, size ? in : NULL);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    resume->rest -= size;

    if (size == 0 || resume->rest) {
        return rc;
    }

    if (ngx_http_rcache_stream_end(resume->ctx) == NGX_ERROR) {
        return NGX_ERROR;
    }

    /* ngx_http_writer() ends it */

    return (ngx_http_post_request(r->main, NULL) == NGX_OK) ? rc : NGX_ERROR;
}


/* the client has taken something, so there may be room for more */

ngx_int_t
ngx_http_rcache_resume_wake(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_request_t  *sr;

    sr = ctx->resume->request;

    if (sr == NULL || sr->done) {
        return NGX_OK;
    }

    return ngx_http_post_request(sr, NULL);
}


ngx_http_request_t *
ngx_http_rcache_resume_request(ngx_http_rcache_ctx_t *ctx)
{
    return ctx->resume ? ctx->resume->request : NULL;
}


static void
ngx_http_rcache_resume_refused(ngx_http_rcache_resume_t *resume, char *why)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = resume->ctx;

    if (resume->refused) {
        return;
    }

    resume->refused = 1;

    ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                  "the rest of \"%V\" could not be had from the upstream: %s",
                  &ctx->redis_key, why);

    ngx_http_rcache_stream_cut(ctx->request);
}
