
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* What is said of the cache itself: Cache-Status, RFC 9211, and Via. */


#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_response.h"


static ngx_int_t ngx_http_rcache_via(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf);
static char *ngx_http_rcache_forwarded(ngx_http_rcache_ctx_t *ctx);
static ngx_uint_t ngx_http_rcache_is_quotable(ngx_str_t *s);


ngx_int_t
ngx_http_rcache_cache_status(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    u_char                      *p, *last, ch;
    size_t                       i, len;
    int64_t                      now;
    ngx_time_t                  *tp;
    ngx_table_elt_t             *h;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (r != r->main || ctx->announced) {
        return NGX_OK;
    }

    ctx->announced = 1;

    if (rlcf->via.len && ngx_http_rcache_via(r, rlcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_rcache_tell(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (rlcf->identity.len == 0) {
        return NGX_OK;
    }

    ngx_http_rcache_late_key(r, ctx);

    len = rlcf->identity.len + 2 * ctx->key.len
          + sizeof("; fwd=vary-miss; fwd-status=000; stored; ttl=; detail=; "
                   "key=\"\"") + NGX_INT64_LEN + 64;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    h = ngx_http_rcache_add_header(r, "Cache-Status", p, 0);
    if (h == NULL) {
        return NGX_ERROR;
    }

    last = p + len;

    p = ngx_slprintf(p, last, "%V", &rlcf->identity);

    if (ctx->collapsed) {

        /* RFC 9211, 2.5: another's request was forwarded, and did for both */

        p = ngx_slprintf(p, last, "; fwd=%s; collapsed",
                         ctx->marker ? "vary-miss" : "uri-miss");

    } else if (ctx->status == NGX_HTTP_RCACHE_HIT
               || ctx->status == NGX_HTTP_RCACHE_STALE
               || ctx->status == NGX_HTTP_RCACHE_UPDATING)
    {
        tp = ngx_timeofday();
        now = (int64_t) tp->sec * 1000 + tp->msec;

        p = ngx_slprintf(p, last, "; hit; ttl=%L",
                         -rcache_entry_staleness(&ctx->entry, now) / 1000);

    } else if (ctx->state != NGX_HTTP_RCACHE_REFUSE) {
        p = ngx_slprintf(p, last, "; fwd=%s", ngx_http_rcache_forwarded(ctx));

        if (ctx->status == NGX_HTTP_RCACHE_REVALIDATED) {
            p = ngx_slprintf(p, last, "; fwd-status=304");

        } else {
            p = ngx_slprintf(p, last, "; fwd-status=%03ui",
                             r->headers_out.status);
        }

        if (ctx->stored) {
            p = ngx_slprintf(p, last, "; stored");
        }
    }

    /* a String of RFC 8941 has printable ASCII only */

    if (ctx->key.len && ngx_http_rcache_is_quotable(&ctx->key)) {
        p = ngx_slprintf(p, last, "; key=\"");

        for (i = 0; i < ctx->key.len; i++) {
            ch = ctx->key.data[i];

            if (ch == '"' || ch == '\\') {
                *p++ = '\\';
            }

            *p++ = ch;
        }

        *p++ = '"';
    }

    if (ctx->reason != RCACHE_REASON_NONE) {
        p = ngx_slprintf(p, last, "; detail=%V",
                         rcache_reason_name(ctx->reason));

    } else if (ctx->near) {
        p = ngx_slprintf(p, last, "; detail=near");
    }

    h->value.len = p - h->value.data;

    return NGX_OK;
}


/* RFC 9110, 7.6.3, a line of its own behind those of the upstream */

static ngx_int_t
ngx_http_rcache_via(ngx_http_request_t *r, ngx_http_rcache_loc_conf_t *rlcf)
{
    return ngx_http_rcache_add_header(r, "Via", rlcf->via.data, rlcf->via.len)
           ? NGX_OK : NGX_ERROR;
}


/* RFC 9211, 2.2 */

static char *
ngx_http_rcache_forwarded(ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->state == NGX_HTTP_RCACHE_UNSAFE
        || ctx->status == NGX_HTTP_RCACHE_NONE)
    {
        return "method";
    }

    switch (ctx->status) {

    case NGX_HTTP_RCACHE_BYPASS:
        return "bypass";

    case NGX_HTTP_RCACHE_EXPIRED:
    case NGX_HTTP_RCACHE_REVALIDATED:
        return ctx->forced ? "request" : "stale";

    default:
        return ctx->marker ? "vary-miss" : "uri-miss";
    }
}


static ngx_uint_t
ngx_http_rcache_is_quotable(ngx_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < 0x20 || s->data[i] > 0x7e) {
            return 0;
        }
    }

    return 1;
}
