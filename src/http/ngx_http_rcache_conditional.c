
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache.h"


static ngx_uint_t ngx_http_rcache_is_conditional(ngx_table_elt_t *h);


/*
 * What is to be stored must be whole, so the upstream must not see these
 * lines.  A new list is made without them; the old one stays where it is,
 * for the pointers in r->headers_in that nginx's range and not_modified
 * filters look at, and is put back when the response comes, for the log.
 */

ngx_int_t
ngx_http_rcache_hide_conditional(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_list_t        list;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *copy;

    if (r->headers_in.range == NULL
        && r->headers_in.if_range == NULL
        && r->headers_in.if_modified_since == NULL
        && r->headers_in.if_unmodified_since == NULL
        && r->headers_in.if_match == NULL
        && r->headers_in.if_none_match == NULL)
    {
        return NGX_OK;
    }

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

    ctx->hidden = 1;

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

        if (ngx_http_rcache_is_conditional(&h[i])) {
            continue;
        }

        copy = ngx_list_push(&r->headers_in.headers);
        if (copy == NULL) {
            ngx_http_rcache_show_conditional(r, ctx);
            return NGX_ERROR;
        }

        *copy = h[i];
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_rcache_is_conditional(ngx_table_elt_t *h)
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
        if (h->key.len == names[i].len
            && ngx_strncasecmp(h->key.data, names[i].data, names[i].len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_rcache_show_conditional(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_list_t  *list;

    if (!ctx->hidden) {
        return;
    }

    ctx->hidden = 0;

    list = &r->headers_in.headers;

    *list = ctx->headers_in;

    /* the last part is inside the list itself while it is the only one */

    if (list->part.next == NULL) {
        list->last = &list->part;
    }
}
