
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * RFC 9111, 4.3.4: a 304 to our own condition freshens the stored response.
 * The client gets the stored body with the updated head, and Redis the same.
 */


#include "ngx_http_rcache_response.h"
#include "ngx_http_rcache_store.h"
#include "../core/rcache_update.h"


static rcache_field_t *ngx_http_rcache_freshen_said(ngx_http_request_t *r,
    ngx_uint_t *n);
static rcache_reason_e ngx_http_rcache_freshen(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_field_t *said, ngx_uint_t n);
static ngx_int_t ngx_http_rcache_freshen_head(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_field_t *said, ngx_uint_t n);
static rcache_field_t *ngx_http_rcache_freshen_fields(ngx_http_request_t *r,
    rcache_field_t *said, ngx_uint_t nsaid, ngx_uint_t *n);
static void ngx_http_rcache_freshen_judge(rcache_response_t *resp,
    rcache_entry_t *entry, rcache_field_t *said, ngx_uint_t n);
static rcache_reason_e ngx_http_rcache_freshen_store(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, int64_t ttl);


ngx_int_t
ngx_http_rcache_revalidate(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_uint_t       n;
    rcache_field_t  *said;

    said = ngx_http_rcache_freshen_said(r, &n);
    if (said == NULL) {
        return NGX_ERROR;
    }

    if (ctx->rules.user.len && ngx_http_rcache_user_mark(r) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->reason = ngx_http_rcache_freshen(r, ctx, said, n);
    ctx->status = NGX_HTTP_RCACHE_REVALIDATED;
    ctx->stored = (ctx->reason == RCACHE_REASON_NONE);

    ngx_http_clean_header(r);

    return ngx_http_rcache_head_restore(r, &ctx->entry) == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


void
ngx_http_rcache_held_against(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    uint64_t         length;
    ngx_str_t       *key;
    ngx_uint_t       n;
    rcache_field_t  *said;

    if (r->headers_out.status != NGX_HTTP_OK
        || ctx->entry.status != NGX_HTTP_OK)
    {
        return;
    }

    said = ngx_http_rcache_freshen_said(r, &n);
    if (said == NULL) {
        return;
    }

    length = (ctx->entry.flags & RCACHE_ENTRY_CODED)
             ? ctx->entry.coding.length : ctx->entry.body_len;

    if (rcache_update_contradicts(&ctx->entry.head, length, said, n))
    {
        key = ctx->entry.vary.len ? &ctx->variant_key : &ctx->redis_key;

        ngx_http_rcache_unlink(ctx, key, 1);

        return;
    }

    (void) ngx_http_rcache_freshen(r, ctx, said, n);
}


/* what the upstream said, also what is not passed on */

static rcache_field_t *
ngx_http_rcache_freshen_said(ngx_http_request_t *r, ngx_uint_t *n)
{
    ngx_list_t  *list;

    list = (r->upstream && r->upstream->headers_in.status_n)
           ? &r->upstream->headers_in.headers : &r->headers_out.headers;

    return ngx_http_rcache_fields(r->pool, list, n);
}


/* updates ctx->entry and stores it; or why it cannot be stored */

static rcache_reason_e
ngx_http_rcache_freshen(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_field_t *said, ngx_uint_t n)
{
    int64_t                      delay, valid, ttl;
    ngx_str_t                    tags;
    rcache_reason_e              reason;
    rcache_response_t            resp;
    rcache_freshness_t           fresh;
    ngx_http_rcache_loc_conf_t  *rlcf;

    if (ngx_http_rcache_freshen_head(r, ctx, said, n) != NGX_OK) {
        return RCACHE_REASON_NO_MEMORY;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (ngx_http_test_predicates(r, rlcf->no_cache) != NGX_OK) {
        return RCACHE_REASON_NO_CACHE;
    }

    ngx_http_rcache_response_init(r, ctx, &resp, ctx->entry.status);
    ngx_http_rcache_freshen_judge(&resp, &ctx->entry, said, n);

    delay = ngx_http_rcache_response_delay(r);
    valid = ngx_http_rcache_response_valid(r, resp.status);

    reason = rcache_response_storable(&resp, valid, delay, &fresh);

    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    ngx_http_rcache_entry_init(r, ctx, &ctx->entry, &resp, &fresh, delay);

    tags = ctx->entry.tags;

    reason = ngx_http_rcache_purge_mark(r, ctx, &ctx->entry, &tags);

    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    if (ngx_http_rcache_purge_late(ctx, &ctx->entry)) {
        return RCACHE_REASON_PURGED;
    }

    ttl = ngx_http_rcache_ttl(r, ctx, &resp, &ctx->entry);

    reason = ngx_http_rcache_freshen_store(r, ctx, ttl);

    /* a client that gets a 304 in turn has nothing to be held */

    ngx_http_rcache_redis_flush(ctx->zone->redis, NGX_HTTP_RCACHE_LANE_STORE);

    return reason;
}


/* said is what the upstream said; in r->pool: r->headers_out points to it */

static ngx_int_t
ngx_http_rcache_freshen_head(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_field_t *said, ngx_uint_t n)
{
    u_char             *p;
    ssize_t             size;
    ngx_uint_t          i, nfields;
    rcache_field_t     *fields;
    rcache_update_t     update;
    rcache_response_t   resp;

    fields = ngx_http_rcache_freshen_fields(r, said, n, &nfields);
    if (fields == NULL) {
        return NGX_ERROR;
    }

    /* for what it says of Connection and of withheld fields */

    ngx_http_rcache_response_init(r, ctx, &resp, ctx->entry.status);

    for (i = 0; i < n; i++) {
        rcache_response_header(&resp, &said[i].name, &said[i].value);
    }

    update.resp = &resp;
    update.fields = fields;
    update.nfields = nfields;

    size = rcache_update_size(&update, &ctx->entry.head);

    if (size < 0) {

        /* over the limit: the stored head stays as it is */

        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->entry.head.len = rcache_update_write(p, &update, &ctx->entry.head)
                          - p;
    ctx->entry.head.data = p;

    return NGX_OK;
}


/*
 * What the content handler passes on, so not what proxy_hide_header hides,
 * with what is not in the list of r->headers_out: Content-Type, and the Date
 * that is always hidden but tells the age.
 */

static rcache_field_t *
ngx_http_rcache_freshen_fields(ngx_http_request_t *r, rcache_field_t *said,
    ngx_uint_t nsaid, ngx_uint_t *n)
{
    ngx_uint_t       i;
    rcache_field_t  *fields;

    fields = ngx_http_rcache_fields(r->pool, &r->headers_out.headers, n);
    if (fields == NULL) {
        return NULL;
    }

    if (r->headers_out.content_type.len) {
        ngx_str_set(&fields[*n].name, "Content-Type");
        fields[*n].value = r->headers_out.content_type;
        (*n)++;
    }

    if (r->headers_out.date && r->headers_out.date->hash) {
        return fields;
    }

    for (i = 0; i < nsaid; i++) {

        if (rcache_str_is(&said[i].name, "date")) {
            fields[*n] = said[i];
            (*n)++;
            break;
        }
    }

    return fields;
}


/* what the upstream said, and of the stored head what it did not say again */

static void
ngx_http_rcache_freshen_judge(rcache_response_t *resp, rcache_entry_t *entry,
    rcache_field_t *said, ngx_uint_t n)
{
    ngx_uint_t     i;
    rcache_str_t   line, name, value;
    rcache_head_t  h;

    resp->content_length = 1;

    for (i = 0; i < n; i++) {
        rcache_response_header(resp, &said[i].name, &said[i].value);
    }

    if (rcache_head_status(&h, &entry->head, &line) != RCACHE_OK) {
        return;
    }

    while (rcache_head_next(&h, &name, &value) == RCACHE_OK) {

        for (i = 0; i < n; i++) {
            if (rcache_str_same(&said[i].name, &name)) {
                break;
            }
        }

        if (i == n) {
            rcache_response_header(resp, &name, &value);
        }
    }
}


/*
 * The body stays where it is: what is in front of it is replaced, if it is
 * still the entry that the upstream has confirmed.
 */

static rcache_reason_e
ngx_http_rcache_freshen_store(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, int64_t ttl)
{
    size_t                 size;
    ngx_buf_t             *b;
    ngx_chain_t           *payload;
    rcache_entry_t        *entry;
    ngx_http_rcache_op_t  *op;

    if (ttl <= 0) {
        return RCACHE_REASON_STALE;
    }

    entry = &ctx->entry;
    size = rcache_entry_size(entry);

    op = ngx_http_rcache_op_create(3072 + size + 3 * ctx->redis_key.len,
                                   ngx_cycle->log);
    if (op == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    b = ngx_create_temp_buf(op->pool, size);
    payload = ngx_alloc_chain_link(op->pool);

    if (b == NULL || payload == NULL) {
        ngx_http_rcache_op_free(op);
        return RCACHE_REASON_NO_MEMORY;
    }

    b->last = rcache_entry_encode(b->pos, entry);

    payload->buf = b;
    payload->next = NULL;

    return ngx_http_rcache_write_entry(ctx, op, entry, payload, size,
                                       ctx->front, ttl, NULL);
}
