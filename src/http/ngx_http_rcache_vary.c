
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_response.h"


static uint64_t ngx_http_rcache_variant_bit(ngx_http_rcache_ctx_t *ctx);


ngx_int_t
ngx_http_rcache_variant(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_str_t *names)
{
    u_char            *p;
    ngx_uint_t         n;
    ngx_list_t        *list;
    rcache_field_t    *fields;
    rcache_variant_t   variant;

    /* what the client sent, also while the upstream is shown another */

    list = ctx->masked ? &ctx->headers_in : &r->headers_in.headers;

    fields = ngx_http_rcache_fields(r->pool, list, &n);
    if (fields == NULL) {
        return NGX_ERROR;
    }

    if (rcache_variant(&variant, names, fields, n) != RCACHE_OK) {
        return NGX_ERROR;
    }

    ctx->variant_key.len = ctx->redis_key.len + sizeof(":v:") - 1
                           + RCACHE_VARIANT_HASH;

    p = ngx_pnalloc(r->pool, ctx->variant_key.len + variant.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->variant_key.data = p;

    p = ngx_cpymem(p, ctx->redis_key.data, ctx->redis_key.len);
    p = ngx_cpymem(p, ":v:", sizeof(":v:") - 1);
    p = ngx_cpymem(p, variant.hash, RCACHE_VARIANT_HASH);

    ctx->variant.data = p;
    ctx->variant.len = variant.len;

    ngx_memcpy(p, variant.text, variant.len);

    return NGX_OK;
}


void
ngx_http_rcache_variant_seen(ngx_http_rcache_ctx_t *ctx,
    rcache_entry_t *marker)
{
    uint64_t  bits;

    bits = ngx_http_rcache_variant_bit(ctx);

    marker->age |= (uint32_t) bits;
    marker->dated |= (int32_t) (bits >> 32);
}


ngx_uint_t
ngx_http_rcache_variants_many(ngx_http_rcache_ctx_t *ctx, ngx_uint_t max)
{
    uint64_t    bits;
    ngx_uint_t  n;

    bits = ctx->marker->age | (uint64_t) (uint32_t) ctx->marker->dated << 32;

    if (bits & ngx_http_rcache_variant_bit(ctx)) {

        /* it was there before, or one that is like it in this */

        return 0;
    }

    for (n = 0; bits; n++) {
        bits &= bits - 1;
    }

    return n >= max;
}


static uint64_t
ngx_http_rcache_variant_bit(ngx_http_rcache_ctx_t *ctx)
{
    return (uint64_t) 1
           << (rcache_sum(ctx->variant.data, ctx->variant.len) & 63);
}
