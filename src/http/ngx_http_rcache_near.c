
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The near cache in the life of a request.  A copy is judged as what Redis
 * says is; if it is a fresh hit the request is served, and in all other cases
 * it goes on as if there were none.
 *
 * What is read from Redis a second time within half of the time that a copy is
 * used is read so that Redis tells when it changes
 * (src/redis/ngx_http_rcache_track.c), and copied (src/shm).
 */


#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_conf.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_lookup.h"


/* milliseconds: a longer time between two lookups is not often */

#define NGX_HTTP_RCACHE_NEAR_OFTEN   60000

/* until a server that has refused is tried again */

#define NGX_HTTP_RCACHE_NEAR_PAUSE   60000

/* without a use of a copy, then servers need not be listened to */

#define NGX_HTTP_RCACHE_NEAR_UNUSED  5000


static rcache_reason_e ngx_http_rcache_near_look(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_str_t *key);
static void ngx_http_rcache_near_undo(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static uint64_t ngx_http_rcache_near_serial(ngx_http_rcache_zone_t *zone);
static ngx_int_t ngx_http_rcache_near_shm_init(ngx_shm_zone_t *shm, void *old);
static void ngx_http_rcache_near_cleanup(void *data);
static ngx_int_t ngx_http_rcache_near_guard(void *data);
static void ngx_http_rcache_near_alive(void *data, ngx_uint_t n,
    ngx_msec_t since);
static void ngx_http_rcache_near_changed(void *data, ngx_uint_t n,
    ngx_str_t *key);
static void ngx_http_rcache_near_end(void *data, ngx_uint_t n);
static ngx_uint_t ngx_http_rcache_near_needed(void *data, ngx_uint_t n);
static void ngx_http_rcache_near_state(void *data, ngx_uint_t refused,
    ngx_str_t *server, ngx_str_t *why);


ngx_int_t
ngx_http_rcache_near(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    rcache_reason_e              reason;
    ngx_http_rcache_follow_t    *follow;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    follow = ctx->zone->follow;

    if (rlcf->near == 0
        || ctx->dry
        || (follow && ngx_http_rcache_follow_blind(follow)))
    {
        return NGX_DECLINED;
    }

    ctx->marker = NULL;

    reason = ngx_http_rcache_near_look(r, ctx, &ctx->redis_key);

    if (reason == RCACHE_REASON_ABSENT) {
        return NGX_DECLINED;
    }

    if (reason == RCACHE_REASON_NONE && ctx->marker) {
        reason = ngx_http_rcache_near_look(r, ctx, &ctx->variant_key);
    }

    if (reason == RCACHE_REASON_NONE && ctx->status == NGX_HTTP_RCACHE_HIT) {

        ctx->near = 1;

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "rcache near hit: \"%V\"", &ctx->key);

        return NGX_OK;
    }

    ngx_http_rcache_near_undo(r, ctx);

    return NGX_DECLINED;
}


/* RCACHE_REASON_NONE: it is a marker, or what may be served */

static rcache_reason_e
ngx_http_rcache_near_look(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *key)
{
    ngx_str_t                    value;
    ngx_msec_t                   now;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    /* this turn of the event loop may have begun long ago */

    now = ctx->start ? (ngx_msec_t) (ctx->start / 1000) : ngx_current_msec;

    if (ngx_http_rcache_near_get(ctx->zone->near, key,
                                 ngx_http_rcache_hash(ctx, key),
                                 ngx_http_rcache_near_serial(ctx->zone), now,
                                 rlcf->near, r->pool, &value)
        != NGX_OK)
    {
        return RCACHE_REASON_ABSENT;
    }

    return ngx_http_rcache_judge_copy(r, ctx, &value);
}


/* the request is as it was before */

static void
ngx_http_rcache_near_undo(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->status == NGX_HTTP_RCACHE_HIT
        || ctx->status == NGX_HTTP_RCACHE_STALE)
    {
        ngx_http_clean_header(r);
    }

    ngx_memzero(&ctx->entry, sizeof(rcache_entry_t));

    ctx->status = NGX_HTTP_RCACHE_MISS;
    ctx->marker = NULL;
    ctx->front = 0;
    ctx->stale_use = 0;
    ctx->forced = 0;
    ctx->stale = 0;
    ctx->kept = 0;

    ngx_str_null(&ctx->variant);
    ngx_str_null(&ctx->variant_key);
    ngx_str_null(&ctx->seen);
    ngx_str_null(&ctx->seen_generation);
}


/*
 * A pattern that begins or ends to be at work: what it is about is told by the
 * entries that are in Redis then.
 */

static uint64_t
ngx_http_rcache_near_serial(ngx_http_rcache_zone_t *zone)
{
    rcache_purges_t  *table;

    if (zone->follow == NULL) {
        return 0;
    }

    table = ngx_http_rcache_follow_table(zone->follow);

    return __atomic_load_n(&table->patterns.serial, __ATOMIC_ACQUIRE);
}


void
ngx_http_rcache_near_wants(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, ngx_str_t *key)
{
    ngx_msec_t                   often;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_redis_proxy_cache_module);

    if (rlcf->near == 0
        || ctx->dry
        || ngx_http_rcache_near_useless(ctx->zone->near,
                                        NGX_HTTP_RCACHE_NEAR_PAUSE))
    {
        return;
    }

    often = ngx_min(rlcf->near / 2, NGX_HTTP_RCACHE_NEAR_OFTEN);

    if (ngx_http_rcache_near_again(ctx->zone->near,
                                   ngx_http_rcache_hash(ctx, key), often))
    {
        op->tracked = 1;
        op->replica = 0;
    }
}


void
ngx_http_rcache_near_asked(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, ngx_str_t *key)
{
    ngx_http_rcache_near_fill_t  *fill;

    fill = ngx_palloc(op->pool, sizeof(ngx_http_rcache_near_fill_t));
    if (fill == NULL) {
        return;
    }

    fill->hash = ngx_http_rcache_hash(ctx, key);
    fill->serial = ngx_http_rcache_near_serial(ctx->zone);

    ngx_http_rcache_near_begin(ctx->zone->near, op->tracker, fill);

    ctx->fill = fill;
}


/* it was a marker if the variant has been asked for */

void
ngx_http_rcache_near_found(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_near_fill_t *fill, ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    int64_t                      left, fresh;
    ngx_int_t                    rc;
    ngx_str_t                   *key;
    ngx_time_t                  *tp;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_redis_proxy_cache_module);

    key = &ctx->redis_key;
    left = rlcf->near;

    if (op->ttl >= 0) {
        left = ngx_min(left, op->ttl);
    }

    if (ctx->op == NULL) {

        if (ctx->status != NGX_HTTP_RCACHE_HIT
            || (ctx->entry.flags & RCACHE_ENTRY_SEGMENTED))
        {
            return;
        }

        if (ctx->marker) {
            key = &ctx->variant_key;
        }

        tp = ngx_timeofday();

        fresh = -rcache_entry_staleness(&ctx->entry,
                                        (int64_t) tp->sec * 1000 + tp->msec);
        left = ngx_min(left, ngx_max(fresh, 0));
    }

    rc = op->tracked ? ngx_http_rcache_near_put(ctx->zone->near, fill, key,
                                                &reply->str,
                                                fill->made + (ngx_msec_t) left)
                     : NGX_ABORT;

    ngx_http_rcache_count_zone(ctx->zone,
                               (rc == NGX_OK) ? RCACHE_COUNT_NEAR_FILLS_STORED
                               : (rc == NGX_ABORT)
                               ? RCACHE_COUNT_NEAR_FILLS_VOID
                               : RCACHE_COUNT_NEAR_FILLS_SKIPPED,
                               1);
}


void
ngx_http_rcache_near_key_void(ngx_http_rcache_zone_t *zone, ngx_str_t *key)
{
    if (zone->near) {
        ngx_http_rcache_near_void(zone->near,
                                  rcache_sum(key->data, key->len));
    }
}


char *
ngx_http_rcache_near_parameter(ngx_conf_t *cf, ngx_http_rcache_zone_t *zone,
    ngx_str_t *value, ngx_str_t *rest)
{
    u_char     *p;
    ssize_t     n;
    ngx_str_t   name;

    n = ngx_parse_size(rest);

    if (n == NGX_ERROR || n < NGX_HTTP_RCACHE_NEAR_MIN || zone->near_shm) {
        return ngx_http_rcache_bad_value(cf, value,
                                         "a size of at least 1m, once");
    }

    /* no zone has a colon in its name */

    name.len = zone->name.len
               + sizeof(":near:" NGX_HTTP_RCACHE_NEAR_LAYOUT) - 1;

    p = ngx_pnalloc(cf->pool, name.len);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    name.data = p;

    p = ngx_cpymem(p, zone->name.data, zone->name.len);
    ngx_memcpy(p, ":near:" NGX_HTTP_RCACHE_NEAR_LAYOUT,
               sizeof(":near:" NGX_HTTP_RCACHE_NEAR_LAYOUT) - 1);

    zone->near_shm = ngx_shared_memory_add(cf, &name, n,
                                           &ngx_http_redis_proxy_cache_module);
    if (zone->near_shm == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->near_shm->init = ngx_http_rcache_near_shm_init;
    zone->near_shm->data = zone;

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_near(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (rlcf->near != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        rlcf->near = 0;
        return NGX_CONF_OK;
    }

    n = ngx_parse_time(&value[1], 0);

    if (n == NGX_ERROR || n == 0) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a time above 0, such as \"10s\", or "
                                         "\"off\"");
    }

    rlcf->near = n;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_rcache_near_shm_init(ngx_shm_zone_t *shm, void *old)
{
    ngx_http_rcache_zone_t *zone = shm->data;

    return ngx_http_rcache_near_init(shm, &zone->era);
}


ngx_int_t
ngx_http_rcache_near_start(ngx_cycle_t *cycle, ngx_http_rcache_zone_t *zone)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_rcache_near_t  *near;

    cln = ngx_pool_cleanup_add(cycle->pool, sizeof(ngx_http_rcache_near_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    near = cln->data;

    ngx_http_rcache_near_init_process(near, zone->near_shm, zone->era);

    cln->handler = ngx_http_rcache_near_cleanup;

    zone->near = near;

    zone->tracking.begin = ngx_http_rcache_near_guard;
    zone->tracking.alive = ngx_http_rcache_near_alive;
    zone->tracking.changed = ngx_http_rcache_near_changed;
    zone->tracking.end = ngx_http_rcache_near_end;
    zone->tracking.needed = ngx_http_rcache_near_needed;
    zone->tracking.state = ngx_http_rcache_near_state;
    zone->tracking.data = zone;

    zone->conf.tracking = &zone->tracking;

    return NGX_OK;
}


/* the worker goes: nobody hears of changes any more */

static void
ngx_http_rcache_near_cleanup(void *data)
{
    ngx_http_rcache_near_exit_process(data);
}


static ngx_int_t
ngx_http_rcache_near_guard(void *data)
{
    ngx_http_rcache_zone_t *zone = data;

    ngx_int_t  n;

    n = ngx_http_rcache_near_guard_take(zone->near);

    if (n != NGX_ERROR) {
        ngx_http_rcache_stats_gauge(zone->stats, RCACHE_GAUGE_LISTENERS, 1);

    } else if (!zone->near->full) {
        zone->near->full = 1;

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "the near cache of \"%V\" is too small for so many "
                      "workers and servers, this one copies nothing from some",
                      &zone->name);
    }

    return n;
}


static void
ngx_http_rcache_near_alive(void *data, ngx_uint_t n, ngx_msec_t since)
{
    ngx_http_rcache_zone_t *zone = data;

    ngx_http_rcache_near_guard_alive(zone->near, n, since);
}


static void
ngx_http_rcache_near_changed(void *data, ngx_uint_t n, ngx_str_t *key)
{
    ngx_http_rcache_zone_t *zone = data;

    if (key == NULL) {
        ngx_http_rcache_near_guard_renew(zone->near, n);
        ngx_http_rcache_count_zone(zone, RCACHE_COUNT_NEAR_CHANGES_ALL, 1);
        return;
    }

    ngx_http_rcache_near_key_void(zone, key);
    ngx_http_rcache_count_zone(zone, RCACHE_COUNT_NEAR_CHANGES_KEY, 1);
}


static void
ngx_http_rcache_near_end(void *data, ngx_uint_t n)
{
    ngx_http_rcache_zone_t *zone = data;

    ngx_http_rcache_near_guard_drop(zone->near, n);

    ngx_http_rcache_stats_gauge(zone->stats, RCACHE_GAUGE_LISTENERS, -1);
}


static ngx_uint_t
ngx_http_rcache_near_needed(void *data, ngx_uint_t n)
{
    ngx_http_rcache_zone_t *zone = data;

    return (ngx_msec_int_t) (ngx_current_msec
                             - ngx_http_rcache_near_guard_used(zone->near, n))
           < NGX_HTTP_RCACHE_NEAR_UNUSED;
}


static void
ngx_http_rcache_near_state(void *data, ngx_uint_t refused, ngx_str_t *server,
    ngx_str_t *why)
{
    ngx_http_rcache_zone_t *zone = data;

    if (!ngx_http_rcache_near_refused(zone->near, refused)) {
        return;
    }

    if (refused) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "redis \"%V\" does not tell of changes, so the near "
                      "cache of \"%V\" is not used: %V",
                      server, &zone->name, why);
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "redis \"%V\" tells of changes, the near cache of \"%V\" "
                  "is used again", server, &zone->name);
}
