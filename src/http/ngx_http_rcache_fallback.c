
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_conf.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_response.h"


#define NGX_HTTP_RCACHE_FALLBACK_QUEUE    100
#define NGX_HTTP_RCACHE_FALLBACK_TIMEOUT  1000

/* milliseconds until places of other workers are looked for again */
#define NGX_HTTP_RCACHE_FALLBACK_TICK     20


static ngx_int_t ngx_http_rcache_fallback_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_uint_t ngx_http_rcache_fallback_needed(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_uint_t ngx_http_rcache_fallback_stale(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_fallback_take(ngx_http_rcache_ctx_t *ctx,
    ngx_uint_t max);
static void ngx_http_rcache_fallback_cleanup(void *data);
static void ngx_http_rcache_fallback_leave(
    ngx_http_rcache_fallback_ctx_t *fallback);
static ngx_int_t ngx_http_rcache_fallback_refuse(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_fallback_late(ngx_event_t *ev);
static void ngx_http_rcache_fallback_tick(ngx_event_t *ev);


ngx_int_t
ngx_http_rcache_fallback(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_fallback_t       *zone;
    ngx_http_rcache_loc_conf_t       *rlcf;
    ngx_http_rcache_fallback_ctx_t   *fallback;
    ngx_http_rcache_fallback_conf_t  *conf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    conf = &rlcf->fallback;

    if (conf->max == 0 || !ngx_http_rcache_fallback_needed(r, ctx)) {
        return NGX_OK;
    }

    zone = &ctx->zone->fallback;

    if (ngx_http_rcache_fallback_create(r, ctx) != NGX_OK) {
        return NGX_OK;
    }

    fallback = ctx->fallback;

    /* who waits already comes first */

    if (zone->nwaiting == 0
        && ngx_http_rcache_fallback_take(ctx, conf->max) == NGX_OK)
    {
        return NGX_OK;
    }

    if (zone->told != ngx_time()) {
        zone->told = ngx_time();

        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "redis_proxy_cache_fallback_limit of %ui fetches is "
                      "reached in zone \"%V\"", conf->max, &ctx->zone->name);
    }

    if (ngx_http_rcache_fallback_stale(r, ctx)) {

        /* read before Redis went away */

        ngx_http_rcache_flight_quit(ctx);

        return ngx_http_rcache_serve_stale(r, ctx, NGX_HTTP_RCACHE_STALE);
    }

    if (zone->nwaiting >= conf->queue) {
        return ngx_http_rcache_fallback_refuse(r, ctx);
    }

    fallback->waits = 1;

    ngx_queue_insert_tail(&zone->waiting, &fallback->queue);
    zone->nwaiting++;

    if (!zone->tick.timer_set) {
        ngx_add_timer(&zone->tick, NGX_HTTP_RCACHE_FALLBACK_TICK);
    }

    ngx_http_rcache_park(r, ctx, NGX_HTTP_RCACHE_WAIT,
                         ngx_http_rcache_fallback_late, conf->timeout);

    return NGX_AGAIN;
}


ngx_int_t
ngx_http_rcache_fallback_try(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (rlcf->fallback.max == 0 || !ngx_http_rcache_fallback_needed(r, ctx)) {
        return NGX_OK;
    }

    if (ctx->zone->fallback.nwaiting
        || ngx_http_rcache_fallback_create(r, ctx) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    return ngx_http_rcache_fallback_take(ctx, rlcf->fallback.max);
}


static ngx_int_t
ngx_http_rcache_fallback_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_pool_cleanup_t              *cln;
    ngx_http_rcache_fallback_ctx_t  *fallback;

    cln = ngx_pool_cleanup_add(r->pool,
                               sizeof(ngx_http_rcache_fallback_ctx_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    fallback = cln->data;

    ngx_memzero(fallback, sizeof(ngx_http_rcache_fallback_ctx_t));

    fallback->ctx = ctx;
    ctx->fallback = fallback;

    cln->handler = ngx_http_rcache_fallback_cleanup;

    return NGX_OK;
}


/* it asks the upstream because Redis is of no help */

static ngx_uint_t
ngx_http_rcache_fallback_needed(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->background || ctx->fallback) {
        return 0;
    }

    switch (ctx->reason) {

    case RCACHE_REASON_REDIS_DOWN:
    case RCACHE_REASON_REDIS_BUSY:
    case RCACHE_REASON_REDIS_TIMEOUT:
    case RCACHE_REASON_REDIS_ERROR:
        return 1;

    case RCACHE_REASON_EXPIRED:

        /* it has something better than to wait in line */

        return ctx->zone->health->bad[NGX_HTTP_RCACHE_HEALTH_CONNECT]
               && ngx_http_rcache_fallback_stale(r, ctx);

    default:
        return 0;
    }
}


/* to be refused is as good as an upstream that is not available */

static ngx_uint_t
ngx_http_rcache_fallback_stale(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    if ((ctx->entry.flags & RCACHE_ENTRY_SEGMENTED)
        && r->method != NGX_HTTP_HEAD)
    {
        return 0;
    }

    return (ctx->stale_use & (NGX_HTTP_UPSTREAM_FT_ERROR
                              |NGX_HTTP_UPSTREAM_FT_TIMEOUT
                              |NGX_HTTP_UPSTREAM_FT_HTTP_503))
           != 0;
}


static ngx_int_t
ngx_http_rcache_fallback_take(ngx_http_rcache_ctx_t *ctx, ngx_uint_t max)
{
    ngx_int_t                rc;
    ngx_http_rcache_zone_t  *zone;

    zone = ctx->zone;

    rc = ngx_http_rcache_places_take(&zone->health->places, zone->conf.mutex,
                                     max);
    if (rc == NGX_OK) {
        ctx->fallback->has = 1;
    }

    return rc;
}


/* the request goes */

static void
ngx_http_rcache_fallback_cleanup(void *data)
{
    ngx_http_rcache_fallback_ctx_t *fallback = data;

    ngx_http_rcache_zone_t  *zone;

    ngx_http_rcache_fallback_leave(fallback);

    if (!fallback->has) {
        return;
    }

    fallback->has = 0;

    zone = fallback->ctx->zone;

    ngx_http_rcache_places_give(&zone->health->places, zone->conf.mutex);

    if (zone->fallback.nwaiting && !zone->fallback.tick.posted) {
        ngx_post_event(&zone->fallback.tick, &ngx_posted_events);
    }
}


static void
ngx_http_rcache_fallback_leave(ngx_http_rcache_fallback_ctx_t *fallback)
{
    if (fallback->waits) {
        fallback->waits = 0;

        ngx_queue_remove(&fallback->queue);
        fallback->ctx->zone->fallback.nwaiting--;
    }
}


static ngx_int_t
ngx_http_rcache_fallback_refuse(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    ngx_http_rcache_flight_quit(ctx);

    ctx->state = NGX_HTTP_RCACHE_REFUSE;
    ctx->reason = RCACHE_REASON_FALLBACK;
    ctx->refusal = rlcf->fallback.status;

    (void) ngx_http_rcache_add_header(r, "Retry-After", (u_char *) "1", 1);

    return NGX_DECLINED;
}


static void
ngx_http_rcache_fallback_late(ngx_event_t *ev)
{
    ngx_http_rcache_ctx_t *ctx = ev->data;

    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ngx_http_rcache_fallback_leave(ctx->fallback);

    ngx_http_rcache_resume(ctx, ngx_http_rcache_fallback_refuse(r, ctx));
}


/* the first of those who wait, as long as there are places */

static void
ngx_http_rcache_fallback_tick(ngx_event_t *ev)
{
    ngx_http_rcache_zone_t *zone = ev->data;

    ngx_queue_t                     *q;
    ngx_http_request_t              *r;
    ngx_http_rcache_ctx_t           *ctx;
    ngx_http_rcache_loc_conf_t      *rlcf;
    ngx_http_rcache_fallback_ctx_t  *fallback;

    while (!ngx_queue_empty(&zone->fallback.waiting)) {
        q = ngx_queue_head(&zone->fallback.waiting);

        fallback = ngx_queue_data(q, ngx_http_rcache_fallback_ctx_t, queue);

        ctx = fallback->ctx;
        r = ctx->request;

        rlcf = ngx_http_get_module_loc_conf(r,
                                            ngx_http_redis_proxy_cache_module);

        if (ngx_http_rcache_fallback_take(ctx, rlcf->fallback.max) != NGX_OK) {
            break;
        }

        ngx_http_set_log_request(r->connection->log, r);

        ngx_http_rcache_fallback_leave(fallback);

        ctx->late_handler = NULL;
        ctx->state = NGX_HTTP_RCACHE_PASS;

        ngx_http_rcache_resume(ctx, ngx_http_rcache_fill(r, ctx));
    }

    if (zone->fallback.nwaiting && !ev->timer_set) {
        ngx_add_timer(ev, NGX_HTTP_RCACHE_FALLBACK_TICK);
    }
}


void
ngx_http_rcache_fallback_init(ngx_http_rcache_zone_t *zone)
{
    ngx_queue_init(&zone->fallback.waiting);

    zone->fallback.tick.data = zone;
    zone->fallback.tick.log = ngx_cycle->log;
    zone->fallback.tick.handler = ngx_http_rcache_fallback_tick;
}


char *
ngx_http_rcache_set_fallback_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    char                             *rv;
    ngx_int_t                         n;
    ngx_str_t                        *value, rest;
    ngx_uint_t                        i;
    ngx_http_rcache_fallback_conf_t  *fallback;

    fallback = &rlcf->fallback;

    if (fallback->max != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    ngx_http_rcache_written(cf, rlcf, 1);

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        fallback->max = 0;
        return NGX_CONF_OK;
    }

    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || n == 0) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a number, 1 or more, or \"off\"");
    }

    fallback->max = n;
    fallback->queue = NGX_HTTP_RCACHE_FALLBACK_QUEUE;
    fallback->timeout = NGX_HTTP_RCACHE_FALLBACK_TIMEOUT;
    fallback->status = NGX_HTTP_SERVICE_UNAVAILABLE;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_rcache_parameter(&value[i], "queue=", &rest)) {
            n = ngx_atoi(rest.data, rest.len);

            if (n == NGX_ERROR) {
                return ngx_http_rcache_bad_value(cf, &value[i], "a number");
            }

            fallback->queue = n;
            continue;
        }

        if (ngx_http_rcache_parameter(&value[i], "timeout=", &rest)) {
            rv = ngx_http_rcache_parameter_msec(cf, &value[i], &rest,
                                                &fallback->timeout);
            if (rv != NGX_CONF_OK) {
                return rv;
            }

            continue;
        }

        if (ngx_http_rcache_parameter(&value[i], "status=", &rest)) {
            n = ngx_atoi(rest.data, rest.len);

            if (n == NGX_ERROR || n < 400 || n > 599) {
                return ngx_http_rcache_bad_value(cf, &value[i],
                                                 "a status from 400 to 599");
            }

            fallback->status = n;
            continue;
        }

        return ngx_http_rcache_bad_value(cf, &value[i],
                                         "queue=, timeout= or status=");
    }

    return NGX_CONF_OK;
}


void
ngx_http_rcache_fallback_create_conf(ngx_http_rcache_fallback_conf_t *conf)
{
    conf->max = NGX_CONF_UNSET_UINT;
}


void
ngx_http_rcache_fallback_merge_conf(ngx_http_rcache_fallback_conf_t *prev,
    ngx_http_rcache_fallback_conf_t *conf)
{
    if (conf->max == NGX_CONF_UNSET_UINT) {
        *conf = *prev;
    }

    if (conf->max == NGX_CONF_UNSET_UINT) {
        conf->max = 0;
    }
}
