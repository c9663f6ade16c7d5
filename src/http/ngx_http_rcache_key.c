
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_lookup.h"
#include "../core/rcache_key.h"


static ngx_int_t ngx_http_rcache_default_key(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_str_t *key);


ngx_int_t
ngx_http_rcache_make_key(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_http_rcache_ctx_t *ctx)
{
    if (rlcf->key == NULL) {
        if (ngx_http_rcache_default_key(r, rlcf, &ctx->base) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (ngx_http_complex_value(r, rlcf->key, &ctx->base) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->base.len == 0) {
        return NGX_OK;
    }

    if (ngx_http_rcache_rules_key(r, ctx, &ctx->base, &ctx->key) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->key.len > RCACHE_KEY_MAX) {
        return NGX_OK;
    }

    return ngx_http_rcache_redis_key(r, ctx->zone, &ctx->key,
                                     &ctx->redis_key);
}


/* NONE: it can be used */

rcache_reason_e
ngx_http_rcache_key_reason(ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->key.len == 0) {
        return RCACHE_REASON_KEY_EMPTY;
    }

    return (ctx->key.len > RCACHE_KEY_MAX) ? RCACHE_REASON_KEY_TOO_LONG
                                           : RCACHE_REASON_NONE;
}


/*
 * Who bypasses the cache, and stores nothing, mostly needs no key.  The default
 * one is the same whenever it is made, unless arguments are hidden meanwhile.
 */

void
ngx_http_rcache_late_key(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    if (!ctx->keyless) {
        return;
    }

    ctx->keyless = 0;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (ngx_http_rcache_make_key(r, rlcf, ctx) != NGX_OK) {
        ngx_str_null(&ctx->key);
    }
}


ngx_int_t
ngx_http_rcache_redis_key(ngx_http_request_t *r, ngx_http_rcache_zone_t *zone,
    ngx_str_t *key, ngx_str_t *redis_key)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, rcache_key_size(zone->prefix.len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    redis_key->data = p;

    p = rcache_key_encode(p, &zone->prefix, key);
    if (p == NULL) {
        return NGX_ERROR;
    }

    redis_key->len = p - redis_key->data;

    return NGX_OK;
}


/*
 * scheme://host and the URI.  It is $request_uri as long as that is what the
 * content handler answers; in a subrequest, or after a rewrite, $request_uri
 * is still the main request's or the old one, and a page would share its key
 * with the fragments included in it.
 */

static ngx_int_t
ngx_http_rcache_default_key(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_str_t *key)
{
    u_char                    *p;
    size_t                     len;
    uintptr_t                  escape;
    ngx_str_t                  scheme, *host, uri, args;
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

    uri = r->unparsed_uri;
    args = r->args;
    escape = 0;

    if (rlcf->rules.args && ngx_http_rcache_args(r, &args) != NGX_OK) {

        /* of a request that will not be cached */

        args = r->args;
    }

    if (!r->valid_unparsed_uri) {
        uri = r->uri;
        escape = 2 * ngx_escape_uri(NULL, uri.data, uri.len, NGX_ESCAPE_URI);

    } else if (rlcf->rules.args) {
        p = ngx_strlchr(uri.data, uri.data + uri.len, '?');

        if (p) {
            uri.len = p - uri.data;
        }

    } else {
        args.len = 0;
    }

    len += uri.len + escape + sizeof("?") - 1 + args.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    key->data = p;

    p = ngx_cpymem(p, scheme.data, scheme.len);
    p = ngx_cpymem(p, host->data, host->len);

    if (escape) {
        p = (u_char *) ngx_escape_uri(p, uri.data, uri.len, NGX_ESCAPE_URI);

    } else {
        p = ngx_cpymem(p, uri.data, uri.len);
    }

    if (args.len) {
        *p++ = '?';
        p = ngx_cpymem(p, args.data, args.len);
    }

    key->len = p - key->data;

    return NGX_OK;
}
