
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * redis_proxy_cache_profile nextjs: what Next.js does beside HTTP.
 *
 * An editor who previews drafts is known by a cookie, and gets pages that
 * nobody else may see.  The header RSC asks for what a page is made of instead
 * of the page, by the same URL; it has to be in the key, which is what
 * redis_proxy_cache_unkeyed is for, or a browser that navigates would be handed
 * a component.
 */


#include "ngx_http_rcache.h"


static ngx_uint_t ngx_http_rcache_profile_preview(ngx_str_t *line);


static ngx_str_t  ngx_http_rcache_profile_cookies[] = {
    ngx_string("__prerender_bypass"),
    ngx_string("__next_preview_data"),
    ngx_null_string
};


ngx_conf_enum_t  ngx_http_rcache_profiles[] = {
    { ngx_string("off"), NGX_HTTP_RCACHE_PROFILE_OFF },
    { ngx_string("nextjs"), NGX_HTTP_RCACHE_PROFILE_NEXTJS },
    { ngx_null_string, 0 }
};


rcache_reason_e
ngx_http_rcache_profile_request(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    /* nginx before 1.23 and after have different pointers to these */

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

        if (rcache_str_is(&h[i].key, "cookie")
            && ngx_http_rcache_profile_preview(&h[i].value))
        {
            return RCACHE_REASON_PREVIEW;
        }
    }

    return RCACHE_REASON_NONE;
}


static ngx_uint_t
ngx_http_rcache_profile_preview(ngx_str_t *line)
{
    size_t      len;
    u_char     *p, *last;
    ngx_str_t  *name;

    p = line->data;
    last = line->data + line->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == '\t' || *p == ';')) {
            p++;
        }

        for (name = ngx_http_rcache_profile_cookies; name->len; name++) {
            len = last - p;

            if (len >= name->len
                && ngx_strncmp(p, name->data, name->len) == 0
                && (len == name->len
                    || ngx_strchr("= \t;", p[name->len])))
            {
                return 1;
            }
        }

        while (p < last && *p != ';') {
            p++;
        }
    }

    return 0;
}


rcache_reason_e
ngx_http_rcache_profile_response(ngx_http_request_t *r, ngx_str_t *type)
{
    ngx_http_rcache_ctx_t  *ctx;

    if (!rcache_str_is(type, "text/x-component")) {
        return RCACHE_REASON_NONE;
    }

    /* the part of the key that redis_proxy_cache_unkeyed makes */

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    return ngx_strnstr(ctx->key.data, " h:rsc=", ctx->key.len)
           ? RCACHE_REASON_NONE : RCACHE_REASON_COMPONENT;
}
