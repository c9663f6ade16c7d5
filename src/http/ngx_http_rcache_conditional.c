
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Conditions of the client, RFC 9110, 13, answered from a response that is
 * whole: a hit, or one on its way to Redis.  nginx's not_modified filter
 * wants both If-None-Match and If-Modified-Since to match where the first
 * alone counts (13.2.2), so a 304 is our own; ranges are left to nginx.
 */


#include "ngx_http_rcache_response.h"
#include "../core/rcache_conditional.h"


static void ngx_http_rcache_validators(ngx_http_request_t *r,
    rcache_validators_t *v);
static void ngx_http_rcache_not_modified(ngx_http_request_t *r);


ngx_int_t
ngx_http_rcache_conditional(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_uint_t             i;
    ngx_list_part_t       *part;
    ngx_table_elt_t       *h;
    rcache_validators_t    v;
    rcache_conditional_t   c;

    /* RFC 9110, 13.2.1: conditions are for what would be a success */

    if (r != r->main || r->headers_out.status != NGX_HTTP_OK || ctx->post) {
        return NGX_OK;
    }

    r->disable_not_modified = 1;

    if (!r->headers_in.if_modified_since
        && !r->headers_in.if_unmodified_since
        && !r->headers_in.if_match
        && !r->headers_in.if_none_match
        && !r->headers_in.if_range)
    {
        return NGX_OK;
    }

    rcache_conditional_init(&c);

    part = &r->headers_in.headers.part;
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

        rcache_conditional_header(&c, &h[i].key, &h[i].value);
    }

    ngx_http_rcache_validators(r, &v);

    switch (rcache_conditional(&c, &v,
                               ngx_http_rcache_method(r)
                               & (NGX_HTTP_GET|NGX_HTTP_HEAD
                                  |NGX_HTTP_RCACHE_QUERY),
                               -1, ngx_time()))
    {

    case RCACHE_CONDITIONAL_NOT_MODIFIED:
        ngx_http_rcache_not_modified(r);
        break;

    case RCACHE_CONDITIONAL_FAILED:
        return NGX_DECLINED;

    default: /* RCACHE_CONDITIONAL_GO */
        break;
    }

    if (r->headers_in.if_range
        && !rcache_conditional_range(&c, &v, ngx_time()))
    {
        r->allow_ranges = 0;
    }

    return NGX_OK;
}


static void
ngx_http_rcache_validators(ngx_http_request_t *r, rcache_validators_t *v)
{
    ngx_memzero(v, sizeof(rcache_validators_t));

    if (r->headers_out.etag) {
        v->etag = r->headers_out.etag->value;
    }

    if (r->headers_out.last_modified) {
        v->last_modified = r->headers_out.last_modified->value;
    }

    if (r->headers_out.date) {
        v->date = r->headers_out.date->value;

    } else {

        /* proxy_pass hides the upstream's, and nginx sends its own */

        v->date.data = ngx_cached_http_time.data;
        v->date.len = ngx_cached_http_time.len;
    }
}


/* as ngx_http_not_modified_header_filter() does it */

static void
ngx_http_rcache_not_modified(ngx_http_request_t *r)
{
    r->headers_out.status = NGX_HTTP_NOT_MODIFIED;
    r->headers_out.status_line.len = 0;
    r->headers_out.content_type.len = 0;

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);

    if (r->headers_out.content_encoding) {
        r->headers_out.content_encoding->hash = 0;
        r->headers_out.content_encoding = NULL;
    }
}
