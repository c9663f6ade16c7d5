
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * redis_proxy_cache_explain: all that was decided, in one header.  It is as
 * long as a proxy in front of this one takes in its default buffers, so each
 * string has a limit; and what is in it, clients may have written.
 */


#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_response.h"


/* bytes of the header, and what is shown of a key, and of other strings */

#define NGX_HTTP_RCACHE_EXPLAIN_SIZE  6144
#define NGX_HTTP_RCACHE_EXPLAIN_KEY   1024
#define NGX_HTTP_RCACHE_EXPLAIN_STR   512


static u_char *ngx_http_rcache_explain_query(u_char *p, u_char *last,
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx);
static u_char *ngx_http_rcache_explain_entry(u_char *p, u_char *last,
    rcache_entry_t *entry);
static char *ngx_http_rcache_explain_source(ngx_uint_t source);
static char *ngx_http_rcache_explain_ring(ngx_http_rcache_ctx_t *ctx);
static u_char *ngx_http_rcache_explain_str(u_char *p, u_char *last, char *name,
    ngx_str_t *s, size_t max);


ngx_int_t
ngx_http_rcache_explain(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    u_char                       *p, *start, *last;
    u_char                        rules[NGX_HTTP_RCACHE_EXPLAIN_KEY];
    ngx_str_t                    *label, none, text;
    ngx_http_rcache_loc_conf_t   *rlcf;
    ngx_http_rcache_main_conf_t  *rmcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);
    rmcf = ngx_http_get_module_main_conf(r, ngx_http_redis_proxy_cache_module);

    label = rmcf->labels.elts;
    label += rlcf->metrics.label;

    start = ngx_pnalloc(r->pool, NGX_HTTP_RCACHE_EXPLAIN_SIZE);
    if (start == NULL) {
        return NGX_ERROR;
    }

    last = start + NGX_HTTP_RCACHE_EXPLAIN_SIZE;

    ngx_http_rcache_late_key(r, ctx);

    ngx_str_set(&none, "none");

    p = ngx_slprintf(start, last, "status=%V; reason=%V; missed=%V",
                     ctx->status ? &ngx_http_rcache_tell_statuses[ctx->status]
                                 : &none,
                     ctx->reason ? rcache_reason_name(ctx->reason)
                                 : (const rcache_str_t *) &none,
                     ctx->missed ? rcache_reason_name(ctx->missed)
                                 : (const rcache_str_t *) &none);

    p = ngx_http_rcache_explain_str(p, last, "zone", &ctx->zone->name,
                                    NGX_HTTP_RCACHE_EXPLAIN_STR);
    p = ngx_http_rcache_explain_str(p, last, "label", label,
                                    NGX_HTTP_RCACHE_EXPLAIN_STR);

    p = ngx_http_rcache_explain_str(p, last, "key", &ctx->key,
                                    NGX_HTTP_RCACHE_EXPLAIN_KEY);
    p = ngx_http_rcache_explain_str(p, last, "redis-key", &ctx->redis_key,
                                    NGX_HTTP_RCACHE_EXPLAIN_KEY);

    p = ngx_http_rcache_explain_query(p, last, r, ctx);

    if (ctx->marker) {
        p = ngx_http_rcache_explain_str(p, last, "vary", &ctx->marker->vary,
                                        NGX_HTTP_RCACHE_EXPLAIN_STR);
        p = ngx_http_rcache_explain_str(p, last, "variant", &ctx->variant,
                                        NGX_HTTP_RCACHE_EXPLAIN_STR);
    }

    text.data = rules;
    text.len = ngx_http_rcache_explain_rules(rules, rules + sizeof(rules), r,
                                             ctx)
               - rules;

    p = ngx_http_rcache_explain_str(p, last, "rules", &text, sizeof(rules));

    if (ctx->entry.created) {
        p = ngx_http_rcache_explain_entry(p, last, &ctx->entry);
    }

    p = ngx_slprintf(p, last, "; ring=%s; stored=%s",
                     ngx_http_rcache_explain_ring(ctx),
                     ctx->stored ? "yes" : "no");

    if (ctx->stored) {
        p = ngx_slprintf(p, last, "; stored-lifetime=%L; stored-lifetime-of=%s",
                         ctx->lifetime / 1000,
                         ngx_http_rcache_explain_source(ctx->lifetime_of));
    }

    p = ngx_http_rcache_tell_msec(p, last, "; redis-ms=", ctx->redis_time);

    if (ctx->fetching) {
        p = ngx_http_rcache_tell_msec(p, last, "; fetch-ms=",
                                      ctx->first - ctx->fetching);
    }

    p = ngx_http_rcache_tell_msec(p, last, "; total-ms=",
                                  ctx->first - ctx->start);

    return ngx_http_rcache_add_header(r, "X-Cache-Explain", start, p - start)
           ? NGX_OK : NGX_ERROR;
}


/* redis_proxy_cache_args: what is left of the query, and what is not */

static u_char *
ngx_http_rcache_explain_query(u_char *p, u_char *last, ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    u_char     buf[NGX_HTTP_RCACHE_EXPLAIN_STR];
    ngx_str_t  dropped;

    if (!ctx->rules.judged) {
        return p;
    }

    p = ngx_http_rcache_explain_str(p, last, "args", &ctx->rules.args,
                                    NGX_HTTP_RCACHE_EXPLAIN_STR);

    dropped.data = buf;
    dropped.len = ngx_http_rcache_explain_dropped(buf, buf + sizeof(buf), r,
                                                  ctx)
                  - buf;

    if (dropped.len == 0) {
        return p;
    }

    return ngx_http_rcache_explain_str(p, last, "dropped", &dropped,
                                       NGX_HTTP_RCACHE_EXPLAIN_STR);
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
                     ngx_http_rcache_explain_source(
                                                rcache_entry_source(entry)));

    return ngx_slprintf(p, last,
                        "; stale-for=%L; swr=%uD; sie=%uD; took-ms=%uD; "
                        "entry-bytes=%uL",
                        ngx_max(rcache_entry_staleness(entry, now) / 1000,
                                (int64_t) 0),
                        entry->stale_while_revalidate, entry->stale_if_error,
                        entry->fetch, entry->body_len);
}


static char *
ngx_http_rcache_explain_source(ngx_uint_t source)
{
    static char  *names[] = {
        "response",
        "s-maxage",
        "max-age",
        "expires",
        "x-accel-expires",
        "targeted",
        "redis_proxy_cache_valid",
        "heuristic"
    };

    return names[source];
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

    if (ctx->leader || ctx->solo) {
        return "led";
    }

    if (ctx->near) {
        return "near";
    }

    return ctx->waits ? "waited" : "none";
}


/*
 * In quotes, at most max bytes of it and dots behind them; what is not
 * printable ASCII as %XX.
 */

static u_char *
ngx_http_rcache_explain_str(u_char *p, u_char *last, char *name, ngx_str_t *s,
    size_t max)
{
    u_char  ch, *src, *end, *stop;

    p = ngx_slprintf(p, last, "; %s=\"", name);

    src = s->data;
    end = s->data + s->len;

    /* room for an escape, the dots and the quote */

    stop = ((size_t) (last - p) > max + 7) ? p + max : last - 7;

    for ( /* void */ ; src < end && p < stop; src++) {
        ch = *src;

        if (ch < 0x20 || ch > 0x7e) {
            p = ngx_slprintf(p, last, "%%%02Xd", (ngx_int_t) ch);
            continue;
        }

        if (ch == '"' || ch == '\\') {
            *p++ = '\\';
        }

        *p++ = ch;
    }

    return ngx_slprintf(p, last, "%s\"", (src < end) ? "..." : "");
}
