
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_store.h"
#include "ngx_http_rcache_zone.h"


/* milliseconds without a refusal until a cluster is said to accept again */
#define NGX_HTTP_RCACHE_REFUSED_PAUSE  1000

/* half of what a worker keeps of the heap's end, see below */
#define NGX_HTTP_RCACHE_HEAP           (1024 * 1024)


static void ngx_http_rcache_zone_heap(ngx_log_t *log);
static void ngx_http_rcache_zone_notify(void *data, ngx_uint_t up,
    ngx_str_t *why, ngx_msec_t retry);


ngx_http_rcache_zone_t *
ngx_http_rcache_zone_find(ngx_http_rcache_main_conf_t *rmcf, ngx_str_t *name)
{
    ngx_uint_t                i;
    ngx_http_rcache_zone_t  **zones;

    zones = rmcf->zones.elts;

    for (i = 0; i < rmcf->zones.nelts; i++) {
        if (zones[i]->name.len == name->len
            && ngx_memcmp(zones[i]->name.data, name->data, name->len) == 0)
        {
            return zones[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_rcache_zone_init_process(ngx_cycle_t *cycle,
    ngx_http_rcache_main_conf_t *rmcf)
{
    ngx_uint_t                i;
    ngx_resolver_t           *resolver;
    ngx_slab_pool_t          *pool;
    ngx_http_rcache_zone_t   *zone, **zones;

    ngx_http_rcache_wake_init_process(cycle, rmcf->wake,
                                      ngx_http_rcache_flights_woken, rmcf);

    ngx_http_rcache_zone_heap(cycle->log);

    zones = rmcf->zones.elts;

    for (i = 0; i < rmcf->zones.nelts; i++) {
        zone = zones[i];

        pool = (ngx_slab_pool_t *) zone->shm->shm.addr;

        zone->health = pool->data;

        if (ngx_http_rcache_metrics_init_process(cycle, zone, rmcf) != NGX_OK)
        {
            return NGX_ERROR;
        }

        zone->flights = ngx_http_rcache_flights_init_process(cycle,
                                    zone->health->flights, pool, rmcf->wake);
        if (zone->flights == NULL) {
            return NGX_ERROR;
        }

        /* without a "resolver" in http{} there is one with no servers */

        resolver = zone->clcf->resolver;

        if (resolver && resolver->connections.nelts) {
            zone->conf.resolver = resolver;
            zone->conf.resolver_timeout = zone->clcf->resolver_timeout;

            if (zone->conf.resolver_timeout == NGX_CONF_UNSET_MSEC) {
                zone->conf.resolver_timeout = 30000;
            }
        }

        zone->conf.shared = zone->health->redis;
        zone->conf.mutex = &pool->mutex;

        ngx_queue_init(&zone->uploads);
        ngx_http_rcache_flight_init(zone);
        ngx_http_rcache_fallback_init(zone);
        ngx_http_rcache_dry_init(&zone->trial);

        if (ngx_http_rcache_lost_init(cycle, zone) != NGX_OK
            || ngx_http_rcache_expect_init(cycle, zone) != NGX_OK
            || ngx_http_rcache_solo_init(cycle, zone) != NGX_OK
            || ngx_http_rcache_owed_init(cycle, zone) != NGX_OK)
        {
            return NGX_ERROR;
        }

        zone->conf.notify = ngx_http_rcache_zone_notify;
        zone->conf.connected = ngx_http_rcache_count_connected;
        zone->conf.data = zone;

        if (zone->near_shm
            && ngx_http_rcache_near_start(cycle, zone) != NGX_OK)
        {
            return NGX_ERROR;
        }

        zone->redis = ngx_http_rcache_redis_create(cycle, &zone->conf);
        if (zone->redis == NULL) {
            return NGX_ERROR;
        }

        if (ngx_http_rcache_sample_init(cycle, zone) != NGX_OK) {
            return NGX_ERROR;
        }

        if ((zone->purge || rmcf->purge)
            && ngx_http_rcache_follow_init(cycle, zone) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * glibc gives the end of the heap back to the kernel when more than 128k of it
 * are free, so the buffers of a body of 256k are asked for anew, and zeroed by
 * the kernel, for each request.  The limit rises to twice what was mapped and
 * given back, mallopt(3); who has set it himself is not overruled by that.
 */

static void
ngx_http_rcache_zone_heap(ngx_log_t *log)
{
    void  *p;

    p = ngx_alloc(NGX_HTTP_RCACHE_HEAP, log);

    if (p) {
        ngx_free(p);
    }
}


static void
ngx_http_rcache_zone_notify(void *data, ngx_uint_t up, ngx_str_t *why,
    ngx_msec_t retry)
{
    ngx_http_rcache_zone_t *zone = data;

    ngx_uint_t  changed;

    if (!up) {
        ngx_http_rcache_health_pause(zone->health, retry);
        ngx_http_rcache_count_zone(zone, RCACHE_COUNT_DOWN_ALL, 1);

    } else {
        ngx_http_rcache_lost_wake(zone);
    }

    changed = ngx_http_rcache_health_set(zone->health,
                                         NGX_HTTP_RCACHE_HEALTH_CONNECT, !up);
    if (!changed) {
        return;
    }

    if (up) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "redis \"%V\" is up again", &zone->conf.url);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "redis \"%V\" is down: %V", &zone->conf.url, why);
}


rcache_reason_e
ngx_http_rcache_zone_submit(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op)
{
    rcache_reason_e  reason;

    reason = ngx_http_rcache_zone_offer(zone, op);

    if (reason != RCACHE_REASON_NONE) {
        ngx_http_rcache_op_free(op);
    }

    return reason;
}


rcache_reason_e
ngx_http_rcache_zone_offer(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op)
{
    rcache_reason_e  reason;

    ngx_http_rcache_count_submit(zone, op);

    if (ngx_http_rcache_health_paused(zone->health)) {
        op->nomaster = 1;
    }

    if (op->nomaster && !op->replica) {
        reason = RCACHE_REASON_REDIS_DOWN;

    } else if (ngx_http_rcache_op_submit(zone->redis, op) != NGX_OK) {
        reason = ngx_http_rcache_op_reason(op);

    } else {
        reason = RCACHE_REASON_NONE;
    }

    ngx_http_rcache_count_submitted(zone, op, reason);

    return reason;
}


rcache_reason_e
ngx_http_rcache_op_reason(ngx_http_rcache_op_t *op)
{
    switch (op->status) {

    case NGX_HTTP_RCACHE_OP_BUSY:
        return RCACHE_REASON_REDIS_BUSY;

    case NGX_HTTP_RCACHE_OP_TIMEOUT:
        return RCACHE_REASON_REDIS_TIMEOUT;

    default:
        return RCACHE_REASON_REDIS_DOWN;
    }
}


ngx_uint_t
ngx_http_rcache_zone_accepts(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_lane_e lane, ngx_http_rcache_reply_t *reply)
{
    char                      *what;
    ngx_str_t                  text;
    ngx_uint_t                 bad;
    ngx_http_rcache_health_e   health;

    if (lane == NGX_HTTP_RCACHE_LANE_LOOKUP) {
        health = NGX_HTTP_RCACHE_HEALTH_LOOKUP;
        what = "lookups";
        bad = (reply->type != REDIS_REPLY_STRING
               && reply->type != REDIS_REPLY_NIL);

    } else {
        health = NGX_HTTP_RCACHE_HEALTH_STORE;
        what = "stores";
        bad = (reply->type != REDIS_REPLY_STATUS
               && reply->type != REDIS_REPLY_INTEGER
               && reply->type != REDIS_REPLY_STRING);
    }

    /* of a cluster one node may refuse what all others accept */

    if (bad) {
        zone->refused_at = ngx_current_msec;

    } else if (zone->conf.topology == NGX_HTTP_RCACHE_TOPOLOGY_CLUSTER
               && zone->health->bad[health]
               && ngx_current_msec - zone->refused_at
                  < NGX_HTTP_RCACHE_REFUSED_PAUSE)
    {
        return 1;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        text = reply->str;

    } else {
        ngx_str_set(&text, "a reply of an unexpected type");
    }

    if (ngx_http_rcache_health_set(zone->health, health, bad)) {

        if (bad) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "redis \"%V\" refuses %s: %V",
                          &zone->conf.url, what, &text);
        } else {
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "redis \"%V\" accepts %s again",
                          &zone->conf.url, what);
        }
    }

    return !bad;
}


void
ngx_http_rcache_zone_damaged(ngx_http_rcache_zone_t *zone,
    ngx_str_t *redis_key, rcache_reason_e reason)
{
    if (zone->reported == ngx_time()) {
        return;
    }

    zone->reported = ngx_time();

    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                  "redis \"%V\" holds an unusable entry \"%V\": %V",
                  &zone->conf.url, redis_key, rcache_reason_name(reason));
}
