
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* PURGE /path in the location itself, with the key that the location makes. */


#include "ngx_http_rcache_admin.h"
#include "../http/ngx_http_rcache_collapse.h"
#include "../http/ngx_http_rcache_fetch.h"
#include "../http/ngx_http_rcache_lookup.h"


static ngx_int_t ngx_http_rcache_purge_request(ngx_http_request_t *r,
    ngx_http_rcache_zone_t *zone);
static ngx_int_t ngx_http_rcache_purge_pairs(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_str_t *pairs);
static ngx_int_t ngx_http_rcache_purge_asks(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, ngx_uint_t *yes);
static void ngx_http_rcache_purge_refresh(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_purge_request_done(void *data,
    rcache_purge_id_t *id);
static void ngx_http_rcache_purge_request_cleanup(void *data);


typedef struct {
    ngx_http_request_t       *request;
    ngx_http_rcache_ctx_t    *ctx;
    ngx_http_rcache_purge_t  *purge;           /* NULL: it is over */
    ngx_uint_t                refresh;         /* unsigned  refresh:1; */
} ngx_http_rcache_purge_request_t;


ngx_int_t
ngx_http_rcache_purge_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_rcache_zone_t      *zone;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (!rlcf->enable
        || rlcf->purge.purge == NULL
        || r != r->main
        || ngx_http_rcache_is_detached(r)
        || ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module)
        || ngx_http_test_predicates(r, rlcf->purge.purge) == NGX_OK)
    {
        return NGX_DECLINED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    zone = ngx_http_rcache_get_zone(r, rlcf);

    if (zone == NULL || zone->follow == NULL) {
        return NGX_HTTP_NOT_FOUND;
    }

    return ngx_http_rcache_purge_request(r, zone);
}


static ngx_int_t
ngx_http_rcache_purge_request(ngx_http_request_t *r,
    ngx_http_rcache_zone_t *zone)
{
    ngx_int_t                         n;
    ngx_str_t                         pairs[4];
    ngx_pool_cleanup_t               *cln;
    ngx_http_rcache_ctx_t            *ctx;
    ngx_http_rcache_loc_conf_t       *rlcf;
    ngx_http_rcache_purge_request_t  *request;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    /* of a lookup that never happens, for the sake of its key */

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_rcache_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->zone = zone;

    (void) ngx_http_rcache_rules_who(r, ctx);

    if (ngx_http_rcache_make_key(r, rlcf, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->redis_key.len == 0) {
        return NGX_HTTP_BAD_REQUEST;
    }

    n = ngx_http_rcache_purge_pairs(r, ctx, pairs);

    if (n == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_pool_cleanup_add(r->pool,
                               sizeof(ngx_http_rcache_purge_request_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    request = cln->data;
    request->request = r;
    request->ctx = ctx;
    request->purge = NULL;

    if (ngx_http_rcache_purge_asks(r, rlcf->purge.refresh, &request->refresh)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* of a prefix nobody knows the URLs; softly, the next one refreshes it */

    request->refresh &= (n == 2 && pairs[0].len == sizeof("key") - 1);

    /* softly, the entry stays */

    switch (ngx_http_rcache_purge_start(zone, pairs, (ngx_uint_t) n,
                                        &ctx->redis_key,
                                        (n == 2 && pairs[0].len
                                                   == sizeof("key") - 1),
                                        ngx_http_rcache_purge_request_done,
                                        request, &request->purge))
    {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return NGX_HTTP_SERVICE_UNAVAILABLE;

    default: /* NGX_ERROR */
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_rcache_purge_request_cleanup;

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        r->connection->error = 1;
    }

    return NGX_DONE;
}


/* "key" or, if what the location makes ends in "*", "prefix"; and "soft" */

static ngx_int_t
ngx_http_rcache_purge_pairs(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *pairs)
{
    ngx_int_t                    n;
    ngx_str_t                    base;
    ngx_uint_t                   soft;
    ngx_http_rcache_loc_conf_t  *rlcf;

    base = ctx->base;

    if (base.data[base.len - 1] == '*') {
        base.len--;

        /* what comes behind it in a key is not part of the prefix */

        ctx->rules.parts.len = 0;

        ngx_str_set(&pairs[0], "prefix");
        ngx_str_null(&pairs[1]);

        if (base.len
            && ngx_http_rcache_rules_key(r, ctx, &base, &pairs[1]) != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else {
        ngx_str_set(&pairs[0], "key");
        pairs[1] = ctx->key;
    }

    n = 2;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (ngx_http_rcache_purge_asks(r, rlcf->purge.soft, &soft) != NGX_OK) {
        return NGX_ERROR;
    }

    if (soft) {
        ngx_str_set(&pairs[2], "soft");
        ngx_str_set(&pairs[3], "1");
        n = 4;
    }

    return n;
}


static ngx_int_t
ngx_http_rcache_purge_asks(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, ngx_uint_t *yes)
{
    ngx_str_t  value;

    *yes = 0;

    if (cv == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, cv, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    *yes = (value.len && !(value.len == 1 && value.data[0] == '0'));

    return NGX_OK;
}


/* a GET like this, without its client */

static void
ngx_http_rcache_purge_refresh(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_str_t   name;
    ngx_uint_t  method;

    name = r->method_name;
    method = r->method;

    r->method = NGX_HTTP_GET;
    ngx_str_set(&r->method_name, "GET");

    if (ngx_http_rcache_lock_key(ctx) == NGX_OK) {
        (void) ngx_http_rcache_refresh(r, ctx);
    }

    r->method = method;
    r->method_name = name;
}


static void
ngx_http_rcache_purge_request_done(void *data, rcache_purge_id_t *id)
{
    ngx_http_rcache_purge_request_t *request = data;

    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = request->request;
    c = r->connection;

    request->purge = NULL;

    ngx_http_set_log_request(c->log, r);

    if (id) {

        if (request->refresh) {
            ngx_http_rcache_purge_refresh(r, request->ctx);
        }

        r->headers_out.status = NGX_HTTP_NO_CONTENT;
        r->header_only = 1;

        rc = ngx_http_send_header(r);

    } else {
        rc = NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ngx_http_finalize_request(r, rc);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_rcache_purge_request_cleanup(void *data)
{
    ngx_http_rcache_purge_request_t *request = data;

    if (request->purge) {
        ngx_http_rcache_purge_detach(request->purge);
    }
}
