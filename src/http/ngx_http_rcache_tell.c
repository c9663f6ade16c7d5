
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What a response tells of how it was made: Server-Timing for whoever builds
 * the page, and all that was decided for whoever wonders why.
 */


#include "ngx_http_rcache_count.h"


static ngx_int_t ngx_http_rcache_server_timing(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static u_char *ngx_http_rcache_tell_msec(u_char *p, u_char *last, char *name,
    uint64_t usec);
static ngx_int_t ngx_http_rcache_explain(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static u_char *ngx_http_rcache_explain_entry(u_char *p, u_char *last,
    rcache_entry_t *entry);
static char *ngx_http_rcache_explain_ring(ngx_http_rcache_ctx_t *ctx);
static u_char *ngx_http_rcache_explain_str(u_char *p, u_char *last, char *name,
    ngx_str_t *s);
static ngx_int_t ngx_http_rcache_tell_header(ngx_http_request_t *r, char *name,
    u_char *data, u_char *last);


static ngx_str_t  ngx_http_rcache_tell_statuses[] = {
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

    return ngx_http_rcache_tell_header(r, "Server-Timing", start, p);
}


static u_char *
ngx_http_rcache_tell_msec(u_char *p, u_char *last, char *name, uint64_t usec)
{
    return ngx_slprintf(p, last, "%s%uL.%03uL", name, usec / 1000,
                        usec % 1000);
}


static ngx_int_t
ngx_http_rcache_explain(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    size_t                        len;
    u_char                       *p, *start, *last;
    ngx_str_t                    *label, none;
    ngx_http_rcache_loc_conf_t   *rlcf;
    ngx_http_rcache_main_conf_t  *rmcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);
    rmcf = ngx_http_get_module_main_conf(r, ngx_http_redis_proxy_cache_module);

    label = rmcf->labels.elts;
    label += rlcf->metrics.label;

    len = 1024 + 3 * (ctx->key.len + ctx->redis_key.len + ctx->variant.len
                      + ctx->zone->name.len + label->len
                      + (ctx->marker ? ctx->marker->vary.len : 0));

    start = ngx_pnalloc(r->pool, len);
    if (start == NULL) {
        return NGX_ERROR;
    }

    last = start + len;

    ngx_str_set(&none, "none");

    p = ngx_slprintf(start, last, "status=%V; reason=%V; missed=%V",
                     ctx->status ? &ngx_http_rcache_tell_statuses[ctx->status]
                                 : &none,
                     ctx->reason ? rcache_reason_name(ctx->reason)
                                 : (const rcache_str_t *) &none,
                     ctx->missed ? rcache_reason_name(ctx->missed)
                                 : (const rcache_str_t *) &none);

    p = ngx_http_rcache_explain_str(p, last, "zone", &ctx->zone->name);

    p = ngx_http_rcache_explain_str(p, last, "label", label);

    p = ngx_http_rcache_explain_str(p, last, "key", &ctx->key);
    p = ngx_http_rcache_explain_str(p, last, "redis-key", &ctx->redis_key);

    if (ctx->marker) {
        p = ngx_http_rcache_explain_str(p, last, "vary", &ctx->marker->vary);
        p = ngx_http_rcache_explain_str(p, last, "variant", &ctx->variant);
    }

    if (ctx->entry.created) {
        p = ngx_http_rcache_explain_entry(p, last, &ctx->entry);
    }

    p = ngx_slprintf(p, last, "; ring=%s; stored=%s",
                     ngx_http_rcache_explain_ring(ctx),
                     ctx->stored ? "yes" : "no");

    p = ngx_http_rcache_tell_msec(p, last, "; redis-ms=", ctx->redis_time);

    if (ctx->fetching) {
        p = ngx_http_rcache_tell_msec(p, last, "; fetch-ms=",
                                      ctx->first - ctx->fetching);
    }

    p = ngx_http_rcache_tell_msec(p, last, "; total-ms=",
                                  ctx->first - ctx->start);

    return ngx_http_rcache_tell_header(r, "X-Cache-Explain", start, p);
}


/* what was found, whether it could be used or not */

static u_char *
ngx_http_rcache_explain_entry(u_char *p, u_char *last, rcache_entry_t *entry)
{
    int64_t      now;
    ngx_time_t  *tp;

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    p = ngx_slprintf(p, last, "; age=%L; lifetime=%L; lifetime-of=%s",
                     rcache_entry_age(entry, now), entry->lifetime / 1000,
                     (entry->flags & RCACHE_ENTRY_HEURISTIC) ? "heuristic"
                     : (entry->flags & RCACHE_ENTRY_S_MAXAGE) ? "s-maxage"
                     : "response");

    return ngx_slprintf(p, last,
                        "; stale-for=%L; swr=%uD; sie=%uD; took-ms=%uD; "
                        "entry-bytes=%uL",
                        ngx_max(rcache_entry_staleness(entry, now) / 1000,
                                (int64_t) 0),
                        entry->stale_while_revalidate, entry->stale_if_error,
                        entry->fetch, entry->body_len);
}


static char *
ngx_http_rcache_explain_ring(ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->late) {
        return "timeout";
    }

    if (ctx->collapsed) {
        return ctx->waits ? "followed" : "found";
    }

    if (ctx->leader) {
        return "led";
    }

    return ctx->waits ? "waited" : "none";
}


/* in quotes; what is not printable ASCII as %XX */

static u_char *
ngx_http_rcache_explain_str(u_char *p, u_char *last, char *name, ngx_str_t *s)
{
    size_t  i;
    u_char  ch;

    p = ngx_slprintf(p, last, "; %s=\"", name);

    for (i = 0; i < s->len && last - p > 8; i++) {
        ch = s->data[i];

        if (ch < 0x20 || ch > 0x7e) {
            p = ngx_slprintf(p, last, "%%%02Xd", (ngx_int_t) ch);
            continue;
        }

        if (ch == '"' || ch == '\\') {
            *p++ = '\\';
        }

        *p++ = ch;
    }

    return ngx_slprintf(p, last, "\"");
}


static ngx_int_t
ngx_http_rcache_tell_header(ngx_http_request_t *r, char *name, u_char *data,
    u_char *last)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = data;
    h->value.len = last - data;

    return NGX_OK;
}
