
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * redis_proxy_cache_dry_run: would the response be stored, for how long, and
 * what would it take?  It passes as it is; what is written is a fingerprint.
 *
 * The upstream has seen the client's own request.  Where the cache would have
 * asked for a whole, the client may get a part of it, a 304, or a header: that
 * is judged as the 200 that it stands for.
 */


#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_store.h"


static ngx_uint_t ngx_http_rcache_dry_partly(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static off_t ngx_http_rcache_dry_range_of(ngx_http_request_t *r);
static ngx_uint_t ngx_http_rcache_dry_still(ngx_http_request_t *r,
    rcache_entry_t *entry);
static ngx_uint_t ngx_http_rcache_dry_match(rcache_str_t *value,
    ngx_table_elt_t *h);
static void ngx_http_rcache_dry_end(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason);
static ngx_chain_t *ngx_http_rcache_dry_print(ngx_pool_t *pool,
    rcache_entry_t *entry, rcache_dry_t *dry);
static ngx_int_t ngx_http_rcache_dry_head(ngx_pool_t *pool,
    rcache_entry_t *entry);


void
ngx_http_rcache_dry_header(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    off_t                    length;
    ngx_uint_t               status, partly;
    rcache_reason_e          reason;
    ngx_http_headers_out_t  *out;

    if (ctx->capture) {

        /* an error page takes the place of what was being looked at */

        ngx_http_rcache_dry_end(ctx, RCACHE_REASON_ERROR_PAGE);
        return;
    }

    if (ngx_http_rcache_failed(r, ctx)) {
        ctx->dry->predicted = RCACHE_COUNT_DRY_REQUESTS_STALE;
        ctx->state = NGX_HTTP_RCACHE_PASS;
        return;
    }

    if (ctx->stale
        && ctx->dry->predicted == RCACHE_COUNT_DRY_REQUESTS_EXPIRED
        && ngx_http_rcache_dry_still(r, &ctx->entry))
    {
        ctx->dry->predicted = RCACHE_COUNT_DRY_REQUESTS_REVALIDATED;
    }

    /* for as long as it is judged */

    out = &r->headers_out;

    status = out->status;
    length = out->content_length_n;

    partly = ngx_http_rcache_dry_partly(r, ctx);

    reason = ngx_http_rcache_check_head(r);

    if (reason == RCACHE_REASON_NONE) {
        ctx->capture = ngx_http_rcache_capture_create(r, ctx, &reason);
    }

    if (partly && ctx->capture) {
        ngx_http_rcache_capture_known(ctx->capture, out->content_length_n);
    }

    out->status = status;
    out->content_length_n = length;

    if (ctx->capture == NULL) {
        ngx_http_rcache_dry_end(ctx, reason);
        return;
    }

    if (partly) {
        reason = ngx_http_rcache_capture_store(ctx->capture, ctx);
        ctx->capture = NULL;

        ngx_http_rcache_dry_end(ctx, reason);
        return;
    }

    reason = ngx_http_rcache_check_begin(r, &ctx->check);

    if (reason != RCACHE_REASON_NONE) {
        ngx_http_rcache_dry_end(ctx, reason);
    }
}


/*
 * True if the body of the response will not be seen whole.  Then the status
 * and the length of the one that the cache would have got are put in place,
 * as far as they are known.
 */

static ngx_uint_t
ngx_http_rcache_dry_partly(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    off_t                        length;
    ngx_http_headers_out_t      *out;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    out = &r->headers_out;

    /* a validated one is as long as it was; or nobody knows */

    length = ngx_max((off_t) ctx->dry->old.length,
                     (off_t) rlcf->body.min_size);

    if (out->status == NGX_HTTP_NOT_MODIFIED) {

        if (r->headers_in.if_none_match == NULL
            && r->headers_in.if_modified_since == NULL)
        {
            return 0;
        }

        out->status = NGX_HTTP_OK;
        out->content_length_n = length;

        return 1;
    }

    if (out->status == NGX_HTTP_PARTIAL_CONTENT
        && r->headers_in.range
        && !rlcf->slice)
    {
        out->status = NGX_HTTP_OK;
        out->content_length_n = ngx_max(ngx_http_rcache_dry_range_of(r), 0);

        return 1;
    }

    if ((r->method == NGX_HTTP_HEAD && rlcf->convert_head)
        || (r->method != NGX_HTTP_HEAD && r->header_only))
    {
        ctx->head = (r->method == NGX_HTTP_HEAD);

        if (out->content_length_n == -1) {
            out->content_length_n = length;
        }

        return 1;
    }

    return 0;
}


/* RFC 9110, 14.4: the length of the whole, -1 if it does not say */

static off_t
ngx_http_rcache_dry_range_of(ngx_http_request_t *r)
{
    u_char     *p, *last;
    ngx_str_t  *value;

    if (r->headers_out.content_range == NULL) {
        return -1;
    }

    value = &r->headers_out.content_range->value;
    last = value->data + value->len;

    p = ngx_strlchr(value->data, last, '/');

    return p ? ngx_atoof(p + 1, last - p - 1) : -1;
}


/* would the upstream have said 304, had it been asked with what is stored? */

static ngx_uint_t
ngx_http_rcache_dry_still(ngx_http_request_t *r, rcache_entry_t *entry)
{
    rcache_str_t   line, name, value, since;
    rcache_head_t  h;

    if (r->headers_out.status != NGX_HTTP_OK
        && r->headers_out.status != NGX_HTTP_PARTIAL_CONTENT
        && r->headers_out.status != NGX_HTTP_NOT_MODIFIED)
    {
        return 0;
    }

    ngx_str_null(&since);

    if (rcache_head_status(&h, &entry->head, &line) != RCACHE_OK) {
        return 0;
    }

    while (rcache_head_next(&h, &name, &value) == RCACHE_OK) {

        if (rcache_str_is(&name, "etag")) {

            /* RFC 9110, 13.2.2: the other one does not count then */

            return ngx_http_rcache_dry_match(&value, r->headers_out.etag);
        }

        if (rcache_str_is(&name, "last-modified")) {
            since = value;
        }
    }

    return since.len
           && ngx_http_rcache_dry_match(&since, r->headers_out.last_modified);
}


/* RFC 9110, 8.8.3.2: weakly */

static ngx_uint_t
ngx_http_rcache_dry_match(rcache_str_t *value, ngx_table_elt_t *h)
{
    ngx_str_t  a, b;

    if (h == NULL || h->hash == 0) {
        return 0;
    }

    a = *value;
    b = h->value;

    if (a.len > 2 && ngx_strncmp(a.data, "W/", 2) == 0) {
        a.data += 2;
        a.len -= 2;
    }

    if (b.len > 2 && ngx_strncmp(b.data, "W/", 2) == 0) {
        b.data += 2;
        b.len -= 2;
    }

    return a.len == b.len && ngx_memcmp(a.data, b.data, a.len) == 0;
}


void
ngx_http_rcache_dry_body(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_chain_t *in, ngx_uint_t last)
{
    rcache_reason_e  reason;

    if (ctx->capture == NULL) {
        return;
    }

    reason = ctx->check ? ngx_http_rcache_check_feed(r, ctx->check, in)
                        : RCACHE_REASON_NONE;

    if (reason == RCACHE_REASON_NONE) {
        reason = ngx_http_rcache_capture_append(ctx->capture, ctx, in);
    }

    if (reason != RCACHE_REASON_NONE) {
        ngx_http_rcache_dry_end(ctx, reason);
        return;
    }

    if (last && r->headers_out.trailers.part.nelts) {
        ngx_http_rcache_dry_end(ctx, RCACHE_REASON_TRAILERS);
        return;
    }

    if (!last && !ngx_http_rcache_capture_complete(ctx->capture)) {
        return;
    }

    reason = ctx->check ? ngx_http_rcache_check_end(ctx->check)
                        : RCACHE_REASON_NONE;

    if (reason == RCACHE_REASON_NONE) {
        reason = ngx_http_rcache_capture_store(ctx->capture, ctx);
        ctx->capture = NULL;
    }

    ngx_http_rcache_dry_end(ctx, reason);
}


static void
ngx_http_rcache_dry_end(ngx_http_rcache_ctx_t *ctx, rcache_reason_e reason)
{
    if (ctx->capture) {
        ngx_http_rcache_capture_drop(ctx->capture);
        ctx->capture = NULL;
    }

    ctx->state = NGX_HTTP_RCACHE_PASS;

    if (reason == RCACHE_REASON_NONE) {
        ctx->dry->stored = 1;
        ctx->reason = RCACHE_REASON_DRY_RUN;
        return;
    }

    ctx->reason = reason;

    ngx_http_rcache_count_refused(ctx, reason);
}


rcache_reason_e
ngx_http_rcache_dry_store(ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_op_t *op,
    rcache_entry_t *entry, uint64_t size, uint64_t saved, uint64_t length,
    int64_t ttl)
{
    int64_t                      now, left;
    ngx_time_t                  *tp;
    ngx_chain_t                 *payload;
    rcache_dry_t                 dry;
    rcache_reason_e              reason;
    ngx_http_rcache_dry_t       *d;
    ngx_http_rcache_loc_conf_t  *rlcf;

    d = ctx->dry;

    if (d->shared) {

        /* the other one's is */

        ngx_http_rcache_op_free(op);
        return RCACHE_REASON_NONE;
    }

    rlcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_redis_proxy_cache_module);

    dry.size = rcache_dry_size(entry, size,
                               ctx->redis_key.len
                               - (sizeof(NGX_HTTP_RCACHE_DRY_SUFFIX) - 1),
                               rlcf->body.segment, ctx->marker == NULL);
    dry.size -= ngx_min(saved, dry.size);
    dry.length = length;
    dry.ttl = ttl;

    payload = ngx_http_rcache_dry_print(op->pool, entry, &dry);

    if (payload == NULL) {
        ngx_http_rcache_op_free(op);
        return RCACHE_REASON_NO_MEMORY;
    }

    reason = ngx_http_rcache_write_entry(ctx, op, entry, payload,
                                         payload->buf->last
                                         - payload->buf->pos,
                                         0, ttl, NULL);

    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    /* nobody waits for it */

    ngx_http_rcache_release(ctx);

    ngx_http_rcache_count(ctx, RCACHE_COUNT_DRY_STORED_ALL, 1);
    ngx_http_rcache_count(ctx, RCACHE_COUNT_DRY_BYTES_STORED, dry.size);
    ngx_http_rcache_count(ctx, RCACHE_COUNT_DRY_TIME_STORED,
                          rcache_dry_time(dry.size, ttl));

    if (d->found) {
        tp = ngx_timeofday();
        now = (int64_t) tp->sec * 1000 + tp->msec;
        left = ngx_min(d->until - now, d->old.ttl);

        ngx_http_rcache_count(ctx, RCACHE_COUNT_DRY_BYTES_REPLACED,
                              d->old.size);
        ngx_http_rcache_count(ctx, RCACHE_COUNT_DRY_TIME_REPLACED,
                              rcache_dry_time(d->old.size, left));
    }

    return RCACHE_REASON_NONE;
}


/* the entry becomes that of the fingerprint; NULL: no memory */

static ngx_chain_t *
ngx_http_rcache_dry_print(ngx_pool_t *pool, rcache_entry_t *entry,
    rcache_dry_t *dry)
{
    u_char        body[RCACHE_DRY_BODY];
    ngx_buf_t    *b;
    ngx_chain_t  *payload;

    (void) rcache_dry_encode(body, dry);

    entry->flags &= ~RCACHE_ENTRY_STORED;
    entry->body_len = RCACHE_DRY_BODY;
    entry->body_sum = rcache_sum(body, RCACHE_DRY_BODY);

    if ((entry->flags & RCACHE_ENTRY_SIGNED)
        && rcache_digest(entry->digest, body, RCACHE_DRY_BODY) != RCACHE_OK)
    {
        return NULL;
    }

    if (ngx_http_rcache_dry_head(pool, entry) != NGX_OK) {
        return NULL;
    }

    payload = ngx_alloc_chain_link(pool);
    if (payload == NULL) {
        return NULL;
    }

    b = ngx_create_temp_buf(pool, rcache_entry_size(entry) + RCACHE_DRY_BODY);
    if (b == NULL) {
        return NULL;
    }

    b->last = rcache_entry_encode(b->pos, entry);
    b->last = ngx_cpymem(b->last, body, RCACHE_DRY_BODY);

    payload->buf = b;
    payload->next = NULL;

    return payload;
}


/* of the head only what an upstream would be asked with */

static ngx_int_t
ngx_http_rcache_dry_head(ngx_pool_t *pool, rcache_entry_t *entry)
{
    u_char         *p, *start;
    rcache_str_t    line, name, value;
    rcache_head_t   h;

    start = ngx_pnalloc(pool, entry->head.len);
    if (start == NULL) {
        return NGX_ERROR;
    }

    if (rcache_head_status(&h, &entry->head, &line) != RCACHE_OK) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(start, "HTTP/1.1 %03ui" CRLF, (ngx_uint_t) entry->status);

    while (rcache_head_next(&h, &name, &value) == RCACHE_OK) {

        if (rcache_str_is(&name, "etag")
            || rcache_str_is(&name, "last-modified"))
        {
            p = ngx_sprintf(p, "%V: %V" CRLF, &name, &value);
        }
    }

    p = ngx_cpymem(p, CRLF, sizeof(CRLF) - 1);

    entry->head.data = start;
    entry->head.len = p - start;

    return NGX_OK;
}
