
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* What is it in a request that counts, and is it one that may be cached? */


#include "ngx_http_rcache.h"


static rcache_reason_e ngx_http_rcache_rules_path(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf);


rcache_reason_e
ngx_http_rcache_rules_who(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_int_t                    rc, user;
    ngx_str_t                    headers, *parts;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    parts = &ctx->rules.parts;

    user = ngx_http_rcache_user(r, ctx, parts);

    if (user == NGX_ERROR) {
        return RCACHE_REASON_NO_MEMORY;
    }

    /* what is to be taken out is taken out of each request */

    ngx_str_null(&headers);

    rc = rlcf->rules.unkeyed->n ? ngx_http_rcache_unkeyed(r, ctx, &headers)
                                : NGX_OK;

    if (rc == NGX_ERROR) {
        return RCACHE_REASON_NO_MEMORY;
    }

    if (headers.len) {

        if (parts->len) {
            headers.data -= parts->len;
            headers.len += parts->len;

            ngx_memcpy(headers.data, parts->data, parts->len);
        }

        *parts = headers;
    }

    if (user == NGX_DECLINED) {
        return RCACHE_REASON_USER;
    }

    if (rc == NGX_DECLINED) {
        return RCACHE_REASON_UNKEYED;
    }

    return rlcf->rules.profile ? ngx_http_rcache_profile_request(r)
                               : RCACHE_REASON_NONE;
}


rcache_reason_e
ngx_http_rcache_rules_what(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_str_t                    args;
    rcache_reason_e              reason;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    reason = ngx_http_rcache_body(r, ctx, &ctx->rules.parts);

    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    reason = ngx_http_rcache_rules_path(r, rlcf);

    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    if (rlcf->rules.args == NULL) {
        return RCACHE_REASON_NONE;
    }

    switch (ngx_http_rcache_args(r, &args)) {

    case NGX_OK:
        return RCACHE_REASON_NONE;

    case NGX_DECLINED:
        return RCACHE_REASON_ARGS;

    default: /* NGX_ERROR */
        return RCACHE_REASON_NO_MEMORY;
    }
}


static rcache_reason_e
ngx_http_rcache_rules_path(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf)
{
    u_char     *p;
    ngx_str_t   path;

    if (!r->valid_unparsed_uri) {

        /* what is sent is what is escaped here, and it is in the key */

        return rcache_path_plain(&r->uri) ? RCACHE_REASON_NONE
                                          : RCACHE_REASON_PATH;
    }

    path = r->unparsed_uri;

    p = memchr(path.data, '?', path.len);

    if (p) {

        /* in a query there is no fragment either */

        if (memchr(p, '#', path.data + path.len - p)) {
            return RCACHE_REASON_PATH;
        }

        path.len = p - path.data;
    }

    if (!rcache_path_plain(&path)
        || (rlcf->rules.loose && !rcache_path_exact(&path)))
    {
        return RCACHE_REASON_PATH;
    }

    return RCACHE_REASON_NONE;
}


ngx_int_t
ngx_http_rcache_rules_key(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *base, ngx_str_t *key)
{
    u_char  *p;
    size_t   n;

    n = rcache_parts_spaces(base);

    if (n == 0 && ctx->rules.parts.len == 0) {
        *key = *base;
        return NGX_OK;
    }

    key->len = base->len + n + ctx->rules.parts.len;
    key->data = ngx_pnalloc(r->pool, key->len);

    if (key->data == NULL) {
        return NGX_ERROR;
    }

    p = rcache_parts_base(key->data, base);

    if (ctx->rules.parts.len) {
        ngx_memcpy(p, ctx->rules.parts.data, ctx->rules.parts.len);
    }

    return NGX_OK;
}
