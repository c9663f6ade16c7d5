
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What a response tells of how it was made: Server-Timing for whoever builds
 * the page, and all that was decided for whoever wonders why, which is made in
 * ngx_http_rcache_explain.c.
 */


#include "ngx_http_rcache_response.h"


static ngx_int_t ngx_http_rcache_server_timing(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);


ngx_str_t  ngx_http_rcache_tell_statuses[] = {
#define NGX_HTTP_RCACHE_TELL_STATUS(id, name)  ngx_string(name),
    NGX_HTTP_RCACHE_STATUSES(NGX_HTTP_RCACHE_TELL_STATUS)
};


ngx_int_t
ngx_http_rcache_tell(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (rlcf->metrics.server_timing
        && ngx_http_rcache_server_timing(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (rlcf->metrics.explain
        && ngx_http_test_predicates(r, rlcf->metrics.explain) != NGX_OK)
    {
        return ngx_http_rcache_explain(r, ctx);
    }

    return NGX_OK;
}


/* https://www.w3.org/TR/server-timing/; milliseconds */

static ngx_int_t
ngx_http_rcache_server_timing(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    u_char     *p, *start, *last;
    ngx_str_t  *status;

    if (ctx->first == 0) {
        return NGX_OK;
    }

    start = ngx_pnalloc(r->pool, 128);
    if (start == NULL) {
        return NGX_ERROR;
    }

    last = start + 128;
    status = &ngx_http_rcache_tell_statuses[ctx->status];

    p = ngx_slprintf(start, last, "cache;desc=%V",
                     status->len ? status
                                 : rcache_reason_name(ctx->missed));

    ngx_strlow(start + sizeof("cache;desc=") - 1,
               start + sizeof("cache;desc=") - 1,
               p - start - (sizeof("cache;desc=") - 1));

    if (ctx->fetching) {
        p = ngx_http_rcache_tell_msec(p, last, ";dur=",
                                      ctx->fetching - ctx->start);
        p = ngx_http_rcache_tell_msec(p, last, ", fetch;dur=",
                                      ctx->first - ctx->fetching);
    } else {
        p = ngx_http_rcache_tell_msec(p, last, ";dur=",
                                      ctx->first - ctx->start);
    }

    return ngx_http_rcache_add_header(r, "Server-Timing", start, p - start)
           ? NGX_OK : NGX_ERROR;
}


u_char *
ngx_http_rcache_tell_msec(u_char *p, u_char *last, char *name, uint64_t usec)
{
    return ngx_slprintf(p, last, "%s%uL.%03uL", name, usec / 1000,
                        usec % 1000);
}
