
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_response.h"
#include "../core/rcache_stale.h"


static ngx_uint_t ngx_http_rcache_upstream_ignores(ngx_http_request_t *r);
static void ngx_http_rcache_response_list(ngx_http_request_t *r,
    rcache_response_t *resp, ngx_list_t *list);
static ngx_uint_t ngx_http_rcache_keeps_stale(
    ngx_http_rcache_loc_conf_t *rlcf, rcache_entry_t *entry);


void
ngx_http_rcache_response_init(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_response_t *resp, ngx_uint_t status)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    rcache_response_init(resp, status, ngx_time());

    resp->now_date = *(ngx_str_t *) &ngx_cached_http_time;
    resp->ignore = rlcf->ignore | ngx_http_rcache_upstream_ignores(r);
    resp->authorization = (r->headers_in.authorization != NULL);
    resp->user = (ctx->rules.user.len != 0);
    resp->partial = rlcf->slice;
    resp->heuristic = rlcf->heuristic && !ctx->post;
    resp->variants = (rlcf->max_variants != 0);
    resp->revalidate = rlcf->revalidate;
    resp->stale = rlcf->client_control;

    /* see ngx_http_rcache_own_ranges() */

    resp->ranges = (status == NGX_HTTP_OK
                    && (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)));

    if (rlcf->targets) {
        rcache_response_targets(resp, rlcf->targets->elts,
                                rlcf->targets->nelts);
    }
}


/* proxy_ignore_headers and its twins, where the location has them */

static ngx_uint_t
ngx_http_rcache_upstream_ignores(ngx_http_request_t *r)
{
    ngx_uint_t  ignore, bits;

    if (r->upstream == NULL || r->upstream->conf == NULL) {
        return 0;
    }

    ignore = 0;
    bits = r->upstream->conf->ignore_headers;

    if (bits & NGX_HTTP_UPSTREAM_IGN_XA_EXPIRES) {
        ignore |= RCACHE_IGNORE_X_ACCEL_EXPIRES;
    }

    if (bits & NGX_HTTP_UPSTREAM_IGN_EXPIRES) {
        ignore |= RCACHE_IGNORE_EXPIRES;
    }

    if (bits & NGX_HTTP_UPSTREAM_IGN_CACHE_CONTROL) {
        ignore |= RCACHE_IGNORE_CACHE_CONTROL;
    }

    if (bits & NGX_HTTP_UPSTREAM_IGN_SET_COOKIE) {
        ignore |= RCACHE_IGNORE_SET_COOKIE;
    }

    if (bits & NGX_HTTP_UPSTREAM_IGN_VARY) {
        ignore |= RCACHE_IGNORE_VARY;
    }

    return ignore;
}


/*
 * What proxy_hide_header hides is judged as well, as nginx's cache does.
 * After X-Accel-Redirect r->upstream is that of the redirect, over already
 * (its cleanup is gone), and what the content handler set counts too; as it
 * does without an upstream.
 */

void
ngx_http_rcache_response_collect(ngx_http_request_t *r,
    rcache_response_t *resp)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    resp->content_length = (r->headers_out.content_length_n != -1);

    if (u && u->headers_in.status_n) {
        ngx_http_rcache_response_list(r, resp, &u->headers_in.headers);

        if (u->cleanup) {
            return;
        }
    }

    ngx_http_rcache_response_list(r, resp, &r->headers_out.headers);
}


static void
ngx_http_rcache_response_list(ngx_http_request_t *r, rcache_response_t *resp,
    ngx_list_t *list)
{
    ngx_str_t         length;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ngx_str_null(&length);

    part = &list->part;
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

        /* nginx before 1.23 believes the last one, and the rest is lost */

        if (rcache_str_is(&h[i].key, "Content-Length")) {

            if (length.data && !rcache_str_same(&length, &h[i].value)) {
                resp->malformed = 1;
            }

            length = h[i].value;
        }

        /*
         * Of a header that may stand once, nginx since 1.23 marks all lines
         * but the first as not to be passed on; they are judged all the same.
         */

        if (h[i].hash || list != &r->headers_out.headers) {
            rcache_response_header(resp, &h[i].key, &h[i].value);
        }
    }
}


rcache_field_t *
ngx_http_rcache_fields(ngx_pool_t *pool, ngx_list_t *list, ngx_uint_t *n)
{
    ngx_uint_t        i, nelts;
    rcache_field_t   *fields;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    nelts = 0;

    for (part = &list->part; part; part = part->next) {
        nelts += part->nelts;
    }

    fields = ngx_palloc(pool, (nelts + 2) * sizeof(rcache_field_t));
    if (fields == NULL) {
        return NULL;
    }

    *n = 0;

    part = &list->part;
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

        fields[*n].name = h[i].key;
        fields[*n].value = h[i].value;
        (*n)++;
    }

    return fields;
}


int64_t
ngx_http_rcache_response_valid(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_uint_t                   i;
    ngx_http_rcache_valid_t     *v;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (rlcf->valid == NULL) {
        return -1;
    }

    v = rlcf->valid->elts;

    for (i = 0; i < rlcf->valid->nelts; i++) {
        if (v[i].status == 0 || v[i].status == status) {
            return v[i].valid;
        }
    }

    return -1;
}


/* the time that the upstream took to send the headers, milliseconds */

int64_t
ngx_http_rcache_response_delay(ngx_http_request_t *r)
{
    if (r->upstream && r->upstream->state
        && r->upstream->state->header_time != (ngx_msec_t) -1)
    {
        return r->upstream->state->header_time;
    }

    return 0;
}


void
ngx_http_rcache_entry_init(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_entry_t *entry, rcache_response_t *resp, rcache_freshness_t *fresh,
    int64_t delay)
{
    ngx_time_t                  *tp;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    tp = ngx_timeofday();

    entry->created = (int64_t) tp->sec * 1000 + tp->msec;
    entry->lifetime = rcache_jitter(fresh->lifetime, (uint32_t) rlcf->jitter,
                                    &ctx->key, entry->created);
    entry->age = (uint32_t) fresh->age;
    (void) rcache_response_dated(resp, &entry->dated);
    entry->fetch = (uint32_t) delay;
    entry->flags = fresh->flags
                   | (fresh->source << RCACHE_ENTRY_LIFETIME_SHIFT)
                   | (entry->flags & RCACHE_ENTRY_STORED);
    entry->stale_while_revalidate = fresh->stale_while_revalidate;
    entry->stale_if_error = fresh->stale_if_error;
    entry->status = (uint16_t) resp->status;

    ctx->lifetime = entry->lifetime;
    ctx->lifetime_of = fresh->source;

    ngx_http_rcache_sign(ctx->zone, entry);
}


void
ngx_http_rcache_sign(ngx_http_rcache_zone_t *zone, rcache_entry_t *entry)
{
    if (zone->secrets) {
        entry->flags |= RCACHE_ENTRY_SIGNED;
        entry->secret = zone->secrets->secret[0];
    }
}


int64_t
ngx_http_rcache_ttl(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_response_t *resp, rcache_entry_t *entry)
{
    int64_t                      ttl, stale;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    /* RFC 5861: the response says itself how long it is of use */

    stale = (int64_t) ngx_max(entry->stale_while_revalidate,
                              entry->stale_if_error) * 1000;

    /* or it can be validated, or somebody may have it stale */

    if ((rlcf->revalidate
         && (resp->etag || rcache_response_modified(resp) != -1))
        || rlcf->client_control
        || ngx_http_rcache_keeps_stale(rlcf, entry))
    {
        stale = ngx_max(stale, (int64_t) ctx->zone->keep);
    }

    ttl = ngx_max(entry->lifetime, 0) + stale;

    if (ctx->zone->inactive && ttl > (int64_t) ctx->zone->inactive) {
        ttl = ctx->zone->inactive;
    }

    return ttl;
}


/* redis_proxy_cache_use_stale and _offline, unless the response forbids it */

static ngx_uint_t
ngx_http_rcache_keeps_stale(ngx_http_rcache_loc_conf_t *rlcf,
    rcache_entry_t *entry)
{
    int64_t  expiry;

    if (rlcf->use_stale == 0 && rlcf->offline == NULL) {
        return 0;
    }

    expiry = entry->created + ngx_max(entry->lifetime, 0);

    return (rcache_entry_stale(entry, expiry) & RCACHE_STALE_CONFIG) != 0;
}
