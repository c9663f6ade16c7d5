
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache.h"


static ngx_int_t ngx_http_rcache_default_key(ngx_http_request_t *r,
    ngx_str_t *key);


ngx_int_t
ngx_http_rcache_make_key(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_http_rcache_ctx_t *ctx)
{
    u_char  *p;

    if (rlcf->key == NULL) {
        if (ngx_http_rcache_default_key(r, &ctx->key) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (ngx_http_complex_value(r, rlcf->key, &ctx->key) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->key.len == 0 || ctx->key.len > RCACHE_KEY_MAX) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, rcache_key_size(ctx->zone->prefix.len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->redis_key.data = p;

    p = rcache_key_encode(p, &ctx->zone->prefix, &ctx->key);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->redis_key.len = p - ctx->redis_key.data;

    return NGX_OK;
}


/*
 * scheme://host and the URI.  It is $request_uri as long as that is what the
 * content handler answers; in a subrequest, or after a rewrite, $request_uri
 * is still the main request's or the old one, and a page would share its key
 * with the fragments included in it.
 */

static ngx_int_t
ngx_http_rcache_default_key(ngx_http_request_t *r, ngx_str_t *key)
{
    u_char                    *p;
    size_t                     len;
    uintptr_t                  escape;
    ngx_str_t                  scheme, *host;
    ngx_http_core_srv_conf_t  *cscf;

    ngx_str_set(&scheme, "http://");

#if (NGX_HTTP_SSL)

    if (r->connection->ssl) {
        ngx_str_set(&scheme, "https://");
    }

#endif

    /* $host */

    if (r->headers_in.server.len) {
        host = &r->headers_in.server;

    } else {
        cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
        host = &cscf->server_name;
    }

    len = scheme.len + host->len;

    if (r->valid_unparsed_uri) {
        len += r->unparsed_uri.len;
        escape = 0;

    } else {
        escape = 2 * ngx_escape_uri(NULL, r->uri.data, r->uri.len,
                                    NGX_ESCAPE_URI);

        len += r->uri.len + escape + sizeof("?") - 1 + r->args.len;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    key->data = p;

    p = ngx_cpymem(p, scheme.data, scheme.len);
    p = ngx_cpymem(p, host->data, host->len);

    if (r->valid_unparsed_uri) {
        p = ngx_cpymem(p, r->unparsed_uri.data, r->unparsed_uri.len);

    } else {

        if (escape) {
            p = (u_char *) ngx_escape_uri(p, r->uri.data, r->uri.len,
                                          NGX_ESCAPE_URI);
        } else {
            p = ngx_cpymem(p, r->uri.data, r->uri.len);
        }

        if (r->args.len) {
            *p++ = '?';
            p = ngx_cpymem(p, r->args.data, r->args.len);
        }
    }

    key->len = p - key->data;

    return NGX_OK;
}
