
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_fetch.h"


static ngx_uint_t ngx_http_rcache_has_condition(ngx_http_request_t *r);
static ngx_uint_t ngx_http_rcache_is_condition(ngx_table_elt_t *h);
static ngx_int_t ngx_http_rcache_mask_copy(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_mask_validators(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_mask_add(ngx_http_request_t *r, char *name,
    char *lowcase, rcache_str_t *value);


static ngx_str_t  ngx_http_rcache_head_method = ngx_string("HEAD");
static ngx_str_t  ngx_http_rcache_get_method = ngx_string("GET");


/*
 * What is to be stored must be whole, so the upstream must not see the
 * client's conditions.  A new list is made without them; the old one stays
 * where it is, for the pointers in r->headers_in that nginx's range filter
 * looks at, and is put back when the response comes, for the log.
 */

ngx_int_t
ngx_http_rcache_mask(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (ctx->stale || ngx_http_rcache_has_condition(r)) {

        if (ngx_http_rcache_mask_copy(r, ctx) != NGX_OK) {
            ngx_http_rcache_unmask(r, ctx);
            return NGX_ERROR;
        }
    }

    if (ctx->stale && ngx_http_rcache_mask_validators(r, ctx) != NGX_OK) {
        ngx_http_rcache_unmask(r, ctx);
        return NGX_ERROR;
    }

    if (ngx_http_rcache_args_show(r, ctx) != NGX_OK) {
        ngx_http_rcache_unmask(r, ctx);
        return NGX_ERROR;
    }

    if (r->method == NGX_HTTP_HEAD && rlcf->convert_head) {
        ctx->head = 1;
        r->method = NGX_HTTP_GET;
        r->method_name = ngx_http_rcache_get_method;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_rcache_has_condition(ngx_http_request_t *r)
{
    return r->headers_in.range
           || r->headers_in.if_range
           || r->headers_in.if_modified_since
           || r->headers_in.if_unmodified_since
           || r->headers_in.if_match
           || r->headers_in.if_none_match;
}


static ngx_int_t
ngx_http_rcache_mask_copy(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_list_t        list;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *copy;

    if (ngx_list_init(&list, r->pool, 20, sizeof(ngx_table_elt_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    /*
     * ngx_list_init() leaves list.last pointing into a local variable;
     * r->headers_in.headers is what the pushes below must go to.
     */

    ctx->headers_in = r->headers_in.headers;

    r->headers_in.headers = list;
    r->headers_in.headers.last = &r->headers_in.headers.part;

    ctx->masked = 1;

    part = &ctx->headers_in.part;
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

        if (ngx_http_rcache_is_condition(&h[i])) {
            continue;
        }

        copy = ngx_list_push(&r->headers_in.headers);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        *copy = h[i];
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_rcache_is_condition(ngx_table_elt_t *h)
{
    ngx_uint_t         i;

    static ngx_str_t   names[] = {
        ngx_string("range"),
        ngx_string("if-range"),
        ngx_string("if-match"),
        ngx_string("if-none-match"),
        ngx_string("if-modified-since"),
        ngx_string("if-unmodified-since"),
        ngx_null_string
    };

    /* by name: there may be more lines than the ones that nginx points to */

    for (i = 0; names[i].len; i++) {
        if (rcache_str_same(&h->key, &names[i])) {
            return 1;
        }
    }

    return 0;
}


/* RFC 9111, 4.3.1: the stored validators, as they stand in the entry */

static ngx_int_t
ngx_http_rcache_mask_validators(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    rcache_str_t   line, name, value;
    rcache_head_t  h;

    if (rcache_head_status(&h, &ctx->entry.head, &line) != RCACHE_OK) {
        return NGX_ERROR;
    }

    while (rcache_head_next(&h, &name, &value) == RCACHE_OK) {

        if (rcache_str_is(&name, "etag")) {

            if (ngx_http_rcache_mask_add(r, "If-None-Match", "if-none-match",
                                         &value)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

        } else if (rcache_str_is(&name, "last-modified")) {

            if (ngx_http_rcache_mask_add(r, "If-Modified-Since",
                                         "if-modified-since", &value)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_mask_add(ngx_http_request_t *r, char *name, char *lowcase,
    rcache_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->lowcase_key = (u_char *) lowcase;
    h->hash = ngx_hash_key(h->lowcase_key, h->key.len);
    h->value = *value;

    return NGX_OK;
}


/* the same for a part of it: what is shown is one condition, of our own */

ngx_int_t
ngx_http_rcache_mask_range(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_str_t *range, rcache_str_t *if_range)
{
    if (ngx_http_rcache_mask_copy(r, ctx) != NGX_OK
        || ngx_http_rcache_args_show(r, ctx) != NGX_OK
        || ngx_http_rcache_mask_add(r, "Range", "range", range) != NGX_OK
        || ngx_http_rcache_mask_add(r, "If-Range", "if-range", if_range)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->headers_in.range = NULL;
    r->headers_in.if_range = NULL;
    r->headers_in.if_match = NULL;
    r->headers_in.if_none_match = NULL;
    r->headers_in.if_modified_since = NULL;
    r->headers_in.if_unmodified_since = NULL;

    return NGX_OK;
}


void
ngx_http_rcache_unmask(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_list_t  *list;

    ngx_http_rcache_args_unshow(r, ctx);

    if (ctx->head) {
        ctx->head = 0;
        r->method = NGX_HTTP_HEAD;
        r->method_name = ngx_http_rcache_head_method;
    }

    if (!ctx->masked) {
        return;
    }

    ctx->masked = 0;

    list = &r->headers_in.headers;

    *list = ctx->headers_in;

    /* the last part is inside the list itself while it is the only one */

    if (list->part.next == NULL) {
        list->last = &list->part;
    }
}
