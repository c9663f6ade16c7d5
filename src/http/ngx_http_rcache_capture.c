
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A response on its way to Redis.  What is captured lives in the pool of the
 * operation that will store it, so that the store needs no further copy and
 * does not depend on the request.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_response.h"
#include "ngx_http_rcache_store.h"


/* buffers for a body of unknown length: the first, and the largest */

#define NGX_HTTP_RCACHE_BUF_MIN  4096
#define NGX_HTTP_RCACHE_BUF_MAX  131072


struct ngx_http_rcache_capture_s {
    ngx_http_rcache_zone_t    *zone;
    ngx_http_rcache_op_t      *op;

    rcache_entry_t             entry;       /* strings in op->pool */

    ngx_chain_t               *head;        /* the message head */
    ngx_chain_t               *last;        /* of the body, or head */
    ngx_buf_t                 *room;        /* for what comes, or NULL */
    ngx_http_rcache_upload_t  *upload;      /* or the body is there */

    ngx_msec_t                 start;       /* ngx_current_msec */
    int64_t                    ttl;         /* milliseconds, from start on */
    off_t                      length;      /* Content-Length, -1 unknown */
    size_t                     limit;
    size_t                     min;
    size_t                     segment;
    ngx_http_rcache_body_conf_t  *compress; /* NULL: do not */
    size_t                     size;        /* of the body so far */
    ngx_uint_t                 dry;         /* unsigned  dry:1; */
};


static rcache_reason_e ngx_http_rcache_allowed(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static rcache_reason_e ngx_http_rcache_capture_variant(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_response_t *resp,
    rcache_entry_t *entry);
static ngx_http_rcache_capture_t *ngx_http_rcache_capture_alloc(
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx, rcache_entry_t *entry,
    size_t head);
static u_char *ngx_http_rcache_capture_copy(u_char *p, ngx_str_t *to,
    ngx_str_t *from);
static rcache_reason_e ngx_http_rcache_capture_buf(
    ngx_http_rcache_capture_t *capture, ngx_http_rcache_ctx_t *ctx,
    ngx_buf_t *b);
static rcache_reason_e ngx_http_rcache_capture_room(
    ngx_http_rcache_capture_t *capture, ngx_http_rcache_ctx_t *ctx);
static rcache_reason_e ngx_http_rcache_capture_upload(
    ngx_http_rcache_capture_t *capture, ngx_http_rcache_ctx_t *ctx);
static rcache_reason_e ngx_http_rcache_capture_add(
    ngx_http_rcache_capture_t *capture, size_t size);
static void ngx_http_rcache_capture_compress(
    ngx_http_rcache_capture_t *capture);
static size_t ngx_http_rcache_capture_next(void *data, const u_char **p);
static ngx_chain_t *ngx_http_rcache_capture_entry(
    ngx_http_rcache_capture_t *capture);


ngx_http_rcache_capture_t *
ngx_http_rcache_capture_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_reason_e *reason)
{
    u_char                     *p;
    int64_t                     delay, valid;
    ngx_buf_t                  *b;
    rcache_entry_t              entry;
    rcache_response_t           resp;
    rcache_freshness_t          fresh;
    ngx_http_rcache_capture_t  *capture;

    *reason = ngx_http_rcache_allowed(r, ctx);

    if (*reason == RCACHE_REASON_NONE && ctx->keyless) {
        ngx_http_rcache_late_key(r, ctx);
        *reason = ngx_http_rcache_key_reason(ctx);
    }

    if (*reason == RCACHE_REASON_NONE) {
        *reason = ngx_http_rcache_check_head(r);
    }

    if (*reason != RCACHE_REASON_NONE) {
        return NULL;
    }

    ngx_http_rcache_response_init(r, ctx, &resp, r->headers_out.status);
    ngx_http_rcache_response_collect(r, &resp);

    /* RFC 9110, 9.3.3: only what the response to a POST says itself */

    valid = ctx->post ? -1 : ngx_http_rcache_response_valid(r, resp.status);
    delay = ngx_http_rcache_response_delay(r);

    *reason = rcache_response_storable(&resp, valid, delay, &fresh);

    if (*reason != RCACHE_REASON_NONE) {
        return NULL;
    }

    ngx_memzero(&entry, sizeof(rcache_entry_t));

    ngx_http_rcache_entry_init(r, ctx, &entry, &resp, &fresh, delay);

    *reason = ngx_http_rcache_purge_mark(r, ctx, &entry, NULL);

    if (*reason != RCACHE_REASON_NONE) {
        return NULL;
    }

    *reason = ngx_http_rcache_capture_variant(r, ctx, &resp, &entry);

    if (*reason != RCACHE_REASON_NONE) {
        return NULL;
    }

    if (ctx->rules.user.len
        && ctx->dry == NULL
        && ngx_http_rcache_user_mark(r) != NGX_OK)
    {
        *reason = RCACHE_REASON_NO_MEMORY;
        return NULL;
    }

    capture = ngx_http_rcache_capture_alloc(r, ctx, &entry,
                                            ngx_http_rcache_head_bound(r));
    if (capture == NULL) {
        *reason = RCACHE_REASON_NO_MEMORY;
        return NULL;
    }

    capture->ttl = ngx_http_rcache_ttl(r, ctx, &resp, &entry);

    b = capture->head->buf;
    p = ngx_http_rcache_head_write(r, &resp, b->last);

    if (p == NULL) {
        ngx_http_rcache_capture_drop(capture);
        *reason = RCACHE_REASON_HEADERS;
        return NULL;
    }

    b->last = p;

    capture->entry.head.data = b->pos;
    capture->entry.head.len = b->last - b->pos;

    return capture;
}


/* what forbids a store, apart from what RFC 9111 says of the headers */

static rcache_reason_e
ngx_http_rcache_allowed(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (r->err_status) {
        return RCACHE_REASON_ERROR_PAGE;
    }

    if (ctx->late) {

        /* as in nginx: who did not wait for the lock does not store */

        return RCACHE_REASON_LOCK_TIMEOUT;
    }

    if (ctx->no_store) {
        return RCACHE_REASON_CLIENT;
    }

    if (r->method == NGX_HTTP_HEAD && !ctx->head) {
        return RCACHE_REASON_HEAD;
    }

    if (ngx_http_test_predicates(r, rlcf->no_cache) != NGX_OK) {
        return RCACHE_REASON_NO_CACHE;
    }

    if (r->expect_trailers || r->headers_out.trailers.part.nelts) {
        return RCACHE_REASON_TRAILERS;
    }

    if (r->headers_out.content_length_n != -1
        && r->headers_out.content_length_n > (off_t) rlcf->max_size)
    {
        return RCACHE_REASON_TOO_LARGE;
    }

    if (r->headers_out.content_length_n != -1
        && r->headers_out.content_length_n < (off_t) rlcf->body.min_size)
    {
        return RCACHE_REASON_TOO_SMALL;
    }

    return RCACHE_REASON_NONE;
}


/*
 * A response with Vary is stored under the key of its variant, and the names
 * in a marker under the key itself.  The generation ties them together: when
 * the marker is deleted, all variants are out of use at once.
 */

static rcache_reason_e
ngx_http_rcache_capture_variant(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_response_t *resp, rcache_entry_t *entry)
{
    ngx_str_t                    names;
    ngx_uint_t                   known;
    ngx_http_rcache_loc_conf_t  *rlcf;

    if (!rcache_vary_set(&resp->vary)
        || (resp->ignore & RCACHE_IGNORE_VARY))
    {
        return RCACHE_REASON_NONE;
    }

    names.data = resp->vary.text;
    names.len = resp->vary.len;

    if (ctx->marker
        && ctx->marker->vary.len == names.len
        && ngx_memcmp(ctx->marker->vary.data, names.data, names.len) == 0)
    {
        entry->generation = ctx->marker->generation;
        known = 1;

    } else {
        entry->generation = (uint32_t) ngx_random()
                            ^ ((uint32_t) ngx_pid << 16)
                            ^ (uint32_t) ngx_current_msec;
        known = 0;
    }

    if (ngx_http_rcache_variant(r, ctx, &names) != NGX_OK) {
        return RCACHE_REASON_NO_MEMORY;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (known && ngx_http_rcache_variants_many(ctx, rlcf->max_variants)) {
        return RCACHE_REASON_VARIANTS;
    }

    entry->vary = names;
    entry->variant = ctx->variant;

    return RCACHE_REASON_NONE;
}


static ngx_http_rcache_capture_t *
ngx_http_rcache_capture_alloc(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_entry_t *entry, size_t head)
{
    u_char                      *p;
    size_t                       size, len;
    ngx_buf_t                   *b;
    ngx_http_rcache_op_t        *op;
    ngx_http_rcache_capture_t   *capture;
    ngx_http_rcache_loc_conf_t  *rlcf;

    len = ctx->key.len + entry->vary.len + entry->variant.len
          + entry->tags.len;

    /*
     * A small body fits into the pool's one block, which is best one of the
     * usual size; a larger gets its own.  What replaces an entry, or has a
     * marker, is stored by a longer script.
     */

    size = 2304 + head + 3 * (len + ctx->redis_key.len);

    if (ctx->seen.len || entry->vary.len) {
        size += 1024;
    }

    if (r->headers_out.content_length_n > 0
        && r->headers_out.content_length_n <= NGX_HTTP_RCACHE_BUF_MIN)
    {
        size += (size_t) r->headers_out.content_length_n;
    }

    op = ngx_http_rcache_op_create(size, ngx_cycle->log);
    if (op == NULL) {
        return NULL;
    }

    capture = ngx_pcalloc(op->pool, sizeof(ngx_http_rcache_capture_t));
    if (capture == NULL) {
        goto failed;
    }

    capture->op = op;
    capture->zone = ctx->zone;
    capture->start = ngx_current_msec;
    capture->length = r->headers_out.content_length_n;
    capture->entry = *entry;
    capture->dry = (ctx->dry != NULL);

    p = ngx_pnalloc(op->pool, len);
    if (p == NULL) {
        goto failed;
    }

    p = ngx_http_rcache_capture_copy(p, &capture->entry.key, &ctx->key);
    p = ngx_http_rcache_capture_copy(p, &capture->entry.vary, &entry->vary);
    p = ngx_http_rcache_capture_copy(p, &capture->entry.variant,
                                     &entry->variant);
    (void) ngx_http_rcache_capture_copy(p, &capture->entry.tags,
                                        &entry->tags);

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    capture->limit = rlcf->max_size;
    capture->min = rlcf->body.min_size;
    capture->segment = rlcf->body.segment;

    if (ngx_http_rcache_compressible(r)) {
        capture->compress = &rlcf->body;
    }

    capture->head = ngx_alloc_chain_link(op->pool);
    if (capture->head == NULL) {
        goto failed;
    }

    b = ngx_create_temp_buf(op->pool, head);
    if (b == NULL) {
        goto failed;
    }

    capture->head->buf = b;
    capture->head->next = NULL;

    capture->last = capture->head;

    return capture;

failed:

    ngx_http_rcache_op_free(op);

    return NULL;
}


static u_char *
ngx_http_rcache_capture_copy(u_char *p, ngx_str_t *to, ngx_str_t *from)
{
    to->data = p;
    to->len = from->len;

    return from->len ? ngx_cpymem(p, from->data, from->len) : p;
}


rcache_reason_e
ngx_http_rcache_capture_append(ngx_http_rcache_capture_t *capture,
    ngx_http_rcache_ctx_t *ctx, ngx_chain_t *in)
{
    off_t             size;
    ngx_chain_t      *cl;
    rcache_reason_e   reason;

    for (cl = in; cl; cl = cl->next) {

        if (ngx_buf_special(cl->buf)) {
            continue;
        }

        size = ngx_buf_size(cl->buf);

        if (size > (off_t) (capture->limit - capture->size)) {
            return RCACHE_REASON_TOO_LARGE;
        }

        if (capture->length != -1
            && size > capture->length - (off_t) capture->size)
        {
            return RCACHE_REASON_TRUNCATED;
        }

        reason = ngx_http_rcache_capture_buf(capture, ctx, cl->buf);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    return RCACHE_REASON_NONE;
}


static rcache_reason_e
ngx_http_rcache_capture_buf(ngx_http_rcache_capture_t *capture,
    ngx_http_rcache_ctx_t *ctx, ngx_buf_t *b)
{
    off_t             rest, done;
    size_t            n;
    ssize_t           size;
    ngx_buf_t        *to;
    rcache_reason_e   reason;

    rest = ngx_buf_size(b);
    done = 0;

    if (capture->dry && capture->compress == NULL) {

        /* nothing depends on what the bytes are */

        capture->size += rest;

        return RCACHE_REASON_NONE;
    }

    while (rest) {

        reason = ngx_http_rcache_capture_room(capture, ctx);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }

        to = capture->room;
        n = (size_t) ngx_min(rest, (off_t) (to->end - to->last));

        if (ngx_buf_in_memory(b)) {
            ngx_memcpy(to->last, b->pos + done, n);

        } else {

            /* the response was spooled, and the client's part left memory */

            size = ngx_read_file(b->file, to->last, n, b->file_pos + done);

            if (size != (ssize_t) n) {
                return RCACHE_REASON_TRUNCATED;
            }
        }

        to->last += n;
        capture->size += n;
        done += n;
        rest -= n;
    }

    return RCACHE_REASON_NONE;
}


void
ngx_http_rcache_capture_known(ngx_http_rcache_capture_t *capture,
    off_t length)
{
    capture->compress = NULL;
    capture->length = length;
    capture->size = (size_t) length;
}


/* makes room for at least one byte in capture->room */

static rcache_reason_e
ngx_http_rcache_capture_room(ngx_http_rcache_capture_t *capture,
    ngx_http_rcache_ctx_t *ctx)
{
    size_t           size;
    uint64_t         rest;
    rcache_reason_e  reason;

    if (capture->room && capture->room->last < capture->room->end) {
        return RCACHE_REASON_NONE;
    }

    /* what does not fit into one segment goes to Redis as it comes */

    if (capture->upload == NULL
        && (capture->size == capture->segment
            || capture->length > (off_t) capture->segment))
    {
        reason = ngx_http_rcache_capture_upload(capture, ctx);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    if (capture->upload) {
        rest = (capture->length != -1)
               ? (uint64_t) capture->length - capture->size : 0;

        return ngx_http_rcache_upload_room(capture->upload, rest,
                                           &capture->room);
    }

    if (capture->length != -1) {
        size = (size_t) capture->length;

    } else {

        /* each as large as all before it, within limits */

        size = ngx_max(capture->size, NGX_HTTP_RCACHE_BUF_MIN);
        size = ngx_min(size, NGX_HTTP_RCACHE_BUF_MAX);
        size = ngx_min(size, capture->segment - capture->size);
    }

    return ngx_http_rcache_capture_add(capture, size);
}


/* the body is longer than a segment: what is there of it is the first one */

static rcache_reason_e
ngx_http_rcache_capture_upload(ngx_http_rcache_capture_t *capture,
    ngx_http_rcache_ctx_t *ctx)
{
    size_t            min_length;
    ngx_buf_t        *b, *to;
    ngx_chain_t      *cl;
    rcache_reason_e   reason;

    /* a length that is known has been held against it */

    min_length = (capture->compress && capture->length == -1)
                 ? capture->compress->min_length : 0;

    capture->upload = ngx_http_rcache_upload_create(ctx->request, ctx,
                                                    capture->compress,
                                                    min_length);

    if (capture->upload == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    for (cl = capture->head->next; cl; cl = cl->next) {

        reason = ngx_http_rcache_upload_room(capture->upload, 0, &to);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }

        b = cl->buf;
        to->last = ngx_cpymem(to->last, b->pos, b->last - b->pos);

        (void) ngx_pfree(capture->op->pool, b->start);
    }

    capture->head->next = NULL;
    capture->last = capture->head;

    return RCACHE_REASON_NONE;
}


static rcache_reason_e
ngx_http_rcache_capture_add(ngx_http_rcache_capture_t *capture, size_t size)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_create_temp_buf(capture->op->pool, size);
    if (b == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    cl = ngx_alloc_chain_link(capture->op->pool);
    if (cl == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    cl->buf = b;
    cl->next = NULL;

    capture->last->next = cl;
    capture->last = cl;
    capture->room = b;

    return RCACHE_REASON_NONE;
}


ngx_uint_t
ngx_http_rcache_capture_begun(ngx_http_rcache_capture_t *capture)
{
    return capture->size != 0;
}


/* all of the body is there, as Content-Length says */

ngx_uint_t
ngx_http_rcache_capture_complete(ngx_http_rcache_capture_t *capture)
{
    return capture->length == (off_t) capture->size;
}


ngx_uint_t
ngx_http_rcache_capture_full(ngx_http_rcache_capture_t *capture)
{
    return capture->upload && ngx_http_rcache_upload_full(capture->upload);
}


ngx_uint_t
ngx_http_rcache_capture_guarded(ngx_http_rcache_capture_t *capture,
    ngx_http_rcache_ctx_t *ctx)
{
    return ngx_http_rcache_write_guarded(ctx, capture->entry.generation);
}


rcache_reason_e
ngx_http_rcache_capture_store(ngx_http_rcache_capture_t *capture,
    ngx_http_rcache_ctx_t *ctx)
{
    size_t            size;
    int64_t           ttl;
    uint64_t          saved;
    ngx_chain_t      *payload;
    rcache_reason_e   reason;

    saved = 0;
    size = capture->size;
    ttl = capture->ttl
          - (int64_t) (ngx_msec_t) (ngx_current_msec - capture->start);

    if (ttl <= 0) {
        reason = RCACHE_REASON_STALE;
        goto failed;
    }

    if (capture->length != -1 && capture->length != (off_t) capture->size) {
        reason = RCACHE_REASON_TRUNCATED;
        goto failed;
    }

    if (capture->size == 0 && capture->length == -1
        && capture->entry.status == NGX_HTTP_OK)
    {
        reason = RCACHE_REASON_EMPTY;
        goto failed;
    }

    if (ngx_http_rcache_purge_late(ctx, &capture->entry)) {
        reason = RCACHE_REASON_PURGED;
        goto failed;
    }

    if (capture->size < capture->min) {
        reason = RCACHE_REASON_TOO_SMALL;
        goto failed;
    }

    if (capture->upload) {
        reason = ngx_http_rcache_upload_finish(capture->upload,
                                               &capture->entry, &saved);
        if (reason != RCACHE_REASON_NONE) {
            goto failed;
        }
    }

    if (capture->upload == NULL && capture->compress
        && capture->size >= capture->compress->min_length)
    {
        ngx_http_rcache_capture_compress(capture);
    }

    if (capture->dry) {

        if (capture->upload) {
            ngx_http_rcache_upload_close(capture->upload);
        }

        return ngx_http_rcache_dry_store(ctx, capture->op, &capture->entry,
                                         capture->size, saved, size, ttl);
    }

    payload = ngx_http_rcache_capture_entry(capture);

    if (payload == NULL) {
        reason = RCACHE_REASON_NO_MEMORY;
        goto failed;
    }

    size = rcache_entry_size(&capture->entry);

    if (capture->upload == NULL) {
        size += capture->size;
    }

    return ngx_http_rcache_write_entry(ctx, capture->op, &capture->entry,
                                       payload, size, 0, ttl,
                                       capture->upload);

failed:

    ngx_http_rcache_capture_drop(capture);

    return reason;
}


/* the body in a chain of one buffer; as it was, if that is as good */

static void
ngx_http_rcache_capture_compress(ngx_http_rcache_capture_t *capture)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = capture->head->next;

    b = ngx_http_rcache_compress(capture->op->pool, capture->compress, cl,
                                 capture->size);
    if (b == NULL) {
        return;
    }

    capture->entry.flags |= RCACHE_ENTRY_CODED;
    capture->entry.coding.coding = (unsigned) capture->compress->compress;
    capture->entry.coding.length = capture->size;

    capture->size = b->last - b->pos;

    cl->buf = b;
    cl->next = NULL;
}


/*
 * The fixed part and the key go in front of the message head; what comes
 * back is the chain of all, with the empty body left out.
 */

static ngx_chain_t *
ngx_http_rcache_capture_entry(ngx_http_rcache_capture_t *capture)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *body, *payload;

    body = capture->head->next;

    capture->entry.body_len = capture->size;
    capture->entry.body_sum = rcache_sum_pieces(ngx_http_rcache_capture_next,
                                                &body);

    if (capture->entry.flags & RCACHE_ENTRY_SIGNED) {
        body = capture->head->next;

        if (rcache_digest_pieces(capture->entry.digest,
                                 ngx_http_rcache_capture_next, &body)
            != RCACHE_OK)
        {
            return NULL;
        }
    }

    size = rcache_entry_size(&capture->entry);

    b = ngx_create_temp_buf(capture->op->pool, size);
    if (b == NULL) {
        return NULL;
    }

    payload = ngx_alloc_chain_link(capture->op->pool);
    if (payload == NULL) {
        return NULL;
    }

    b->last = rcache_entry_encode(b->pos, &capture->entry);

    payload->buf = b;
    payload->next = capture->head->next;

    return payload;
}


static size_t
ngx_http_rcache_capture_next(void *data, const u_char **p)
{
    ngx_chain_t **cl = data;

    size_t  size;

    if (*cl == NULL) {
        return 0;
    }

    *p = (*cl)->buf->pos;
    size = (*cl)->buf->last - (*cl)->buf->pos;

    *cl = (*cl)->next;

    return size;
}


void
ngx_http_rcache_capture_drop(ngx_http_rcache_capture_t *capture)
{
    if (capture->upload) {
        ngx_http_rcache_upload_drop(capture->upload);
    }

    ngx_http_rcache_op_free(capture->op);
}
