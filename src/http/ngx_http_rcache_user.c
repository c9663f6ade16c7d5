
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* redis_proxy_cache_user: a response is stored for one user alone. */


#include "ngx_http_rcache_response.h"


static ngx_int_t ngx_http_rcache_user_add(ngx_http_request_t *r);


/* NGX_OK, NGX_ERROR, NGX_DECLINED: nobody knows who it is */

ngx_int_t
ngx_http_rcache_user(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *parts)
{
    u_char                      *p;
    ngx_str_t                    identity, secret;
    ngx_http_rcache_zone_t      *zone;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (rlcf->rules.user == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, rlcf->rules.user, &identity) != NGX_OK) {
        return NGX_ERROR;
    }

    if (identity.len == 0) {
        return NGX_DECLINED;
    }

    parts->len = NGX_HTTP_RCACHE_USER_PART;
    parts->data = ngx_pnalloc(r->pool, parts->len);

    if (parts->data == NULL) {
        return NGX_ERROR;
    }

    parts->data[0] = ' ';

    p = parts->data + 1;

    zone = ctx->zone;

    if (zone->secrets) {
        secret = zone->secrets->secret[0];

    } else {
        ngx_str_null(&secret);
    }

    if (ngx_http_rcache_user_tag(p, &identity, &secret) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->rules.user.data = p;
    ctx->rules.user.len = NGX_HTTP_RCACHE_USER_TAG;

    return NGX_OK;
}


/* all entries of a user have it: "user=" and the digest */

ngx_int_t
ngx_http_rcache_user_tag(u_char tag[NGX_HTTP_RCACHE_USER_TAG],
    const ngx_str_t *identity, const ngx_str_t *secret)
{
    u_char  *p;

    p = ngx_cpymem(tag, "user=", sizeof("user=") - 1);

    return (rcache_parts_user(p, identity, secret) == RCACHE_OK) ? NGX_OK
                                                                 : NGX_ERROR;
}


/*
 * Who gets it next, a proxy in front of this one perhaps, does not know who
 * it is for.
 */

ngx_int_t
ngx_http_rcache_user_mark(ngx_http_request_t *r)
{
    u_char           *p;
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    n = 0;

    part = &r->headers_out.headers.part;
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

        if (h[i].hash == 0) {
            continue;
        }

        if (rcache_private_targeted(&h[i].key)) {
            h[i].hash = 0;
            continue;
        }

        if (!rcache_str_is(&h[i].key, "Cache-Control")) {
            continue;
        }

        p = ngx_pnalloc(r->pool, RCACHE_PRIVATE_SIZE(h[i].value.len));
        if (p == NULL) {
            return NGX_ERROR;
        }

        h[i].value.len = rcache_private_cc(p, &h[i].value) - p;
        h[i].value.data = p;

        n++;
    }

    return n ? NGX_OK : ngx_http_rcache_user_add(r);
}


static ngx_int_t
ngx_http_rcache_user_add(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;
#if (nginx_version < 1023000)
    ngx_table_elt_t  **ph;
#endif

    h = ngx_http_rcache_add_header(r, "Cache-Control", (u_char *) "private",
                                   sizeof("private") - 1);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* where nginx's own filters look for it */

#if (nginx_version >= 1023000)

    h->next = r->headers_out.cache_control;
    r->headers_out.cache_control = h;

#else

    if (r->headers_out.cache_control.elts == NULL
        && ngx_array_init(&r->headers_out.cache_control, r->pool, 1,
                          sizeof(ngx_table_elt_t *))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ph = ngx_array_push(&r->headers_out.cache_control);
    if (ph == NULL) {
        return NGX_ERROR;
    }

    *ph = h;

#endif

    return NGX_OK;
}
