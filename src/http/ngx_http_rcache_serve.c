
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_response.h"


ngx_int_t
ngx_http_rcache_serve_handler(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_chain_t             out;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL) {

        /* a clone of a request that was a hit */

        return NGX_DECLINED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    /* the lookup has put the entry's head into r->headers_out */

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    if (ctx->entry.flags & RCACHE_ENTRY_SEGMENTED) {
        return ngx_http_rcache_stream_start(r, ctx);
    }

    out.buf = ngx_http_rcache_body_buf(r, &ctx->entry.body);
    if (out.buf == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/*
 * One buffer, whatever the size: the range filter answers several ranges
 * only over one.  It is not ours alone to write to: "memory".
 */

ngx_buf_t *
ngx_http_rcache_body_buf(ngx_http_request_t *r, rcache_str_t *body)
{
    ngx_buf_t  *b;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NULL;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->start = b->pos;
    b->end = b->last;
    b->memory = body->len ? 1 : 0;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;
    b->sync = (b->last_buf || b->memory) ? 0 : 1;

    return b;
}
