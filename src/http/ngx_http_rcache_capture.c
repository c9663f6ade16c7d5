
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A response on its way to Redis.  What is captured lives in the pool of the
 * operation that will store it, so that the store needs no further copy and
 * does not depend on the request.
 */


#include "ngx_http_rcache.h"


/* buffers for a body of unknown length: the first, and the largest */

#define NGX_HTTP_RCACHE_BUF_MIN  4096
#define NGX_HTTP_RCACHE_BUF_MAX  131072


struct ngx_http_rcache_capture_s {
    ngx_http_rcache_zone_t    *zone;
    ngx_http_rcache_op_t      *op;

    rcache_entry_t             entry;       /* key in op->pool */

    ngx_chain_t               *head;        /* the message head */
    ngx_chain_t               *last;        /* of the body, or head */

    ngx_msec_t                 start;       /* ngx_current_msec */
    off_t                      length;      /* Content-Length, -1 unknown */
    size_t                     limit;
    size_t                     size;        /* of the body so far */
    ngx_str_t                  redis_key;
};


static void ngx_http_rcache_collect(ngx_http_request_t *r,
    rcache_response_t *resp);
static void ngx_http_rcache_collect_list(rcache_response_t *resp,
    ngx_list_t *list);
static int64_t ngx_http_rcache_get_valid(ngx_array_t *valid,
    ngx_uint_t status);
static rcache_reason_e ngx_http_rcache_allowed(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, rcache_response_t *resp);
static ngx_http_rcache_capture_t *ngx_http_rcache_capture_alloc(
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx, size_t head);
static ngx_int_t ngx_http_rcache_capture_room(
    ngx_http_rcache_capture_t *capture);
static ngx_int_t ngx_http_rcache_capture_buf(
    ngx_http_rcache_capture_t *capture, ngx_buf_t *b);
static size_t ngx_http_rcache_capture_next(void *data, const u_char **p);
static ngx_int_t ngx_http_rcache_capture_entry(
    ngx_http_rcache_capture_t *capture, ngx_chain_t *payload);
static void ngx_http_rcache_store_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


ngx_http_rcache_capture_t *
ngx_http_rcache_capture_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_reason_e *reason)
{
    size_t                       size;
    int64_t                      delay;
    ngx_buf_t                   *b;
    ngx_time_t                  *tp;
    rcache_response_t            resp;
    rcache_freshness_t           fresh;
    ngx_http_rcache_capture_t   *capture;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    rcache_response_init(&resp, r->headers_out.status, ngx_time());
    ngx_http_rcache_collect(r, &resp);

    *reason = ngx_http_rcache_allowed(r, rlcf, &resp);

    if (*reason != RCACHE_REASON_NONE) {
        return NULL;
    }

    delay = 0;

    if (r->upstream && r->upstream->state
        && r->upstream->state->header_time != (ngx_msec_t) -1)
    {
        delay = r->upstream->state->header_time;
    }

    *reason = rcache_response_storable(&resp,
                        ngx_http_rcache_get_valid(rlcf->valid, resp.status),
                        delay, &fresh);

    if (*reason != RCACHE_REASON_NONE) {
        return NULL;
    }

    if (ngx_http_rcache_head_size(r, &resp, &size) != NGX_OK) {
        *reason = RCACHE_REASON_HEADERS;
        return NULL;
    }

    capture = ngx_http_rcache_capture_alloc(r, ctx, size);
    if (capture == NULL) {
        *reason = RCACHE_REASON_NO_MEMORY;
        return NULL;
    }

    tp = ngx_timeofday();

    capture->limit = rlcf->max_size;
    capture->entry.created = (int64_t) tp->sec * 1000 + tp->msec;
    capture->entry.lifetime = fresh.lifetime;
    capture->entry.age = (uint32_t) fresh.age;
    capture->entry.fetch = (uint32_t) delay;
    capture->entry.status = (uint16_t) resp.status;
    capture->entry.flags = rcache_response_shared(&resp)
                           ? RCACHE_ENTRY_SHARED : 0;

    b = capture->head->buf;
    b->last = ngx_http_rcache_head_write(r, &resp, b->last);

    capture->entry.head.data = b->pos;
    capture->entry.head.len = b->last - b->pos;

    return capture;
}


/*
 * What proxy_hide_header hides is judged as well, as nginx's cache does, and
 * so is what did not come from the upstream.  A header that is seen twice
 * does not change the verdict.
 */

static void
ngx_http_rcache_collect(ngx_http_request_t *r, rcache_response_t *resp)
{
    resp->authorization = (r->headers_in.authorization != NULL);
    resp->content_length = (r->headers_out.content_length_n != -1);

    if (r->upstream && r->upstream->headers_in.status_n) {
        ngx_http_rcache_collect_list(resp, &r->upstream->headers_in.headers);
    }

    ngx_http_rcache_collect_list(resp, &r->headers_out.headers);
}


static void
ngx_http_rcache_collect_list(rcache_response_t *resp, ngx_list_t *list)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &list->part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash) {
            rcache_response_header(resp, &h[i].key, &h[i].value);
        }
    }
}


static int64_t
ngx_http_rcache_get_valid(ngx_array_t *valid, ngx_uint_t status)
{
    ngx_uint_t                i;
    ngx_http_rcache_valid_t  *v;

    if (valid == NULL) {
        return -1;
    }

    v = valid->elts;

    for (i = 0; i < valid->nelts; i++) {
        if (v[i].status == 0 || v[i].status == status) {
            return v[i].valid;
        }
    }

    return -1;
}


/* what forbids a store, apart from what RFC 9111 says of the headers */

static rcache_reason_e
ngx_http_rcache_allowed(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, rcache_response_t *resp)
{
    if (r->err_status) {
        return RCACHE_REASON_ERROR_PAGE;
    }

    if (r->method == NGX_HTTP_HEAD) {
        return RCACHE_REASON_HEAD;
    }

    if (ngx_http_test_predicates(r, rlcf->no_cache) != NGX_OK) {
        return RCACHE_REASON_NO_CACHE;
    }

    if (r->expect_trailers || r->headers_out.trailers.part.nelts) {
        return RCACHE_REASON_TRAILERS;
    }

    if (resp->content_length
        && r->headers_out.content_length_n > (off_t) rlcf->max_size)
    {
        return RCACHE_REASON_TOO_LARGE;
    }

    return RCACHE_REASON_NONE;
}


static ngx_http_rcache_capture_t *
ngx_http_rcache_capture_alloc(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, size_t head)
{
    u_char                     *p;
    size_t                      size;
    ngx_buf_t                  *b;
    ngx_http_rcache_op_t       *op;
    ngx_http_rcache_capture_t  *capture;

    /* a small body fits into the pool's one block, a larger gets its own */

    size = 2048 + head + ctx->key.len + 3 * ctx->redis_key.len;

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

    p = ngx_pnalloc(op->pool, ctx->key.len + ctx->redis_key.len);
    if (p == NULL) {
        goto failed;
    }

    capture->entry.key.data = p;
    capture->entry.key.len = ctx->key.len;
    p = ngx_cpymem(p, ctx->key.data, ctx->key.len);

    capture->redis_key.data = p;
    capture->redis_key.len = ctx->redis_key.len;
    ngx_memcpy(p, ctx->redis_key.data, ctx->redis_key.len);

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

    ngx_destroy_pool(op->pool);

    return NULL;
}


rcache_reason_e
ngx_http_rcache_capture_append(ngx_http_rcache_capture_t *capture,
    ngx_chain_t *in)
{
    off_t         size;
    ngx_chain_t  *cl;

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

        if (ngx_http_rcache_capture_buf(capture, cl->buf) != NGX_OK) {
            return RCACHE_REASON_NO_MEMORY;
        }
    }

    return RCACHE_REASON_NONE;
}


static ngx_int_t
ngx_http_rcache_capture_buf(ngx_http_rcache_capture_t *capture, ngx_buf_t *b)
{
    off_t       rest, done;
    size_t      n;
    ssize_t     size;
    ngx_buf_t  *to;

    rest = ngx_buf_size(b);
    done = 0;

    while (rest) {

        if (ngx_http_rcache_capture_room(capture) != NGX_OK) {
            return NGX_ERROR;
        }

        to = capture->last->buf;
        n = (size_t) ngx_min(rest, (off_t) (to->end - to->last));

        if (ngx_buf_in_memory(b)) {
            ngx_memcpy(to->last, b->pos + done, n);

        } else {

            /* the response was spooled, and the client's part left memory */

            size = ngx_read_file(b->file, to->last, n, b->file_pos + done);

            if (size != (ssize_t) n) {
                return NGX_ERROR;
            }
        }

        to->last += n;
        capture->size += n;
        done += n;
        rest -= n;
    }

    return NGX_OK;
}


/* makes room for at least one byte in the last buffer */

static ngx_int_t
ngx_http_rcache_capture_room(ngx_http_rcache_capture_t *capture)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = capture->last->buf;

    if (capture->last != capture->head && b->last < b->end) {
        return NGX_OK;
    }

    if (capture->length != -1) {
        size = (size_t) capture->length;

    } else {

        /* each as large as all before it, within limits */

        size = ngx_max(capture->size, NGX_HTTP_RCACHE_BUF_MIN);
        size = ngx_min(size, NGX_HTTP_RCACHE_BUF_MAX);
    }

    b = ngx_create_temp_buf(capture->op->pool, size);
    if (b == NULL) {
        return NGX_ERROR;
    }

    cl = ngx_alloc_chain_link(capture->op->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    cl->buf = b;
    cl->next = NULL;

    capture->last->next = cl;
    capture->last = cl;

    return NGX_OK;
}


rcache_reason_e
ngx_http_rcache_capture_store(ngx_http_rcache_capture_t *capture)
{
    u_char                   ttl[NGX_INT64_LEN];
    int64_t                  lifetime;
    ngx_str_t                argv[5];
    ngx_chain_t              payload;
    rcache_reason_e          reason;
    ngx_http_rcache_op_t    *op;
    ngx_http_rcache_zone_t  *zone;

    op = capture->op;
    zone = capture->zone;

    lifetime = capture->entry.lifetime
               - (int64_t) (ngx_msec_t) (ngx_current_msec - capture->start);

    if (lifetime <= 0) {
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

    reason = RCACHE_REASON_NO_MEMORY;

    if (ngx_http_rcache_capture_entry(capture, &payload) != NGX_OK) {
        goto failed;
    }

    ngx_str_set(&argv[0], "SET");
    argv[1] = capture->redis_key;
    argv[2].data = NULL;
    argv[2].len = rcache_entry_size(&capture->entry) + capture->size;
    ngx_str_set(&argv[3], "PX");
    argv[4].data = ttl;
    argv[4].len = ngx_sprintf(ttl, "%L", lifetime) - ttl;

    if (ngx_http_rcache_op_command(op, argv, 5, &payload) != NGX_OK) {
        goto failed;
    }

    op->lane = NGX_HTTP_RCACHE_LANE_STORE;
    op->handler = ngx_http_rcache_store_done;
    op->data = zone;
    op->max_reply = 0;

    return ngx_http_rcache_zone_submit(zone, op);

failed:

    ngx_http_rcache_capture_drop(capture);

    return reason;
}


/*
 * The fixed part and the key go in front of the message head; what comes
 * back is the chain of all, with the empty body left out.
 */

static ngx_int_t
ngx_http_rcache_capture_entry(ngx_http_rcache_capture_t *capture,
    ngx_chain_t *payload)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *body;

    body = capture->head->next;

    capture->entry.body_len = capture->size;
    capture->entry.body_sum = rcache_sum_pieces(ngx_http_rcache_capture_next,
                                                &body);

    size = rcache_entry_size(&capture->entry);

    b = ngx_create_temp_buf(capture->op->pool, size);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = rcache_entry_encode(b->pos, &capture->entry);

    payload->buf = b;
    payload->next = capture->head->next;

    return NGX_OK;
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
    ngx_destroy_pool(capture->op->pool);
}


/* the request may be gone long since; the client has its response */

static void
ngx_http_rcache_store_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    if (reply) {
        (void) ngx_http_rcache_zone_accepts(op->data,
                                            NGX_HTTP_RCACHE_LANE_STORE, reply);
    }
}
