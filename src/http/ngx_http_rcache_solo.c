
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A fetch while Redis is away.
 *
 * Nearly all of them are alone from beginning to end, and what a flight takes,
 * memory and a timer of its own, would be for nothing.  So there is a note only
 * of who fetches what, and a place in shared memory as for a flight.  When
 * another request wants the same, or the response can be stored after all, a
 * flight is made of it: the one who fetches leads it from then on.
 */


#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_flight.h"


/* places of a worker's notes, and a power of 2; whose is taken has a flight */

#define NGX_HTTP_RCACHE_SOLOS  1024


static ngx_http_rcache_ctx_t **ngx_http_rcache_solo_place(
    ngx_http_rcache_zone_t *zone, uint64_t hash);
static ngx_http_rcache_ctx_t *ngx_http_rcache_solo_find(
    ngx_http_rcache_zone_t *zone, ngx_str_t *lock, uint64_t hash);
static ngx_uint_t ngx_http_rcache_solo_over(ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_solo_forget(ngx_http_rcache_ctx_t *ctx);


ngx_int_t
ngx_http_rcache_solo_init(ngx_cycle_t *cycle, ngx_http_rcache_zone_t *zone)
{
    zone->solos = ngx_pcalloc(cycle->pool, NGX_HTTP_RCACHE_SOLOS
                                           * sizeof(ngx_http_rcache_ctx_t *));

    return zone->solos ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_rcache_solo_start(ngx_http_rcache_ctx_t *ctx)
{
    ngx_uint_t                    seq;
    ngx_http_rcache_ctx_t       **place;
    ngx_http_rcache_outcome_t     outcome;
    ngx_http_rcache_loc_conf_t   *rlcf;

    if (!ctx->impatient
        || ctx->reason != RCACHE_REASON_REDIS_DOWN
        || ctx->stale_use
        || ctx->waits
        || ctx->try)
    {
        return NGX_DECLINED;
    }

    place = ngx_http_rcache_solo_place(ctx->zone, ctx->lock_hash);

    if (*place && !ngx_http_rcache_solo_over(*place)) {
        return NGX_DECLINED;
    }

    rlcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_redis_proxy_cache_module);
    seq = 0;

    switch (ngx_http_rcache_flights_enter(ctx->zone->flights, ctx->lock_hash,
                                          rlcf->lock_age, &seq, &outcome))
    {

    case NGX_HTTP_RCACHE_FLIGHTS_LEAD:
    case NGX_HTTP_RCACHE_FLIGHTS_FULL:
        break;

    default:

        /* there is somebody else, as a flight will find out */

        if (outcome.payload.data) {
            ngx_free(outcome.payload.data);
        }

        return NGX_DECLINED;
    }

    if (*place) {
        (*place)->solo = 0;
    }

    *place = ctx;

    ctx->solo = 1;
    ctx->solo_seq = seq;
    ctx->since = ngx_current_msec;

    return NGX_OK;
}


ngx_http_rcache_flight_t *
ngx_http_rcache_solo_join(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_ctx_t  *solo;

    solo = ngx_http_rcache_solo_find(ctx->zone, &ctx->lock_key,
                                     ctx->lock_hash);

    if (solo == NULL || ngx_http_rcache_solo_lead(solo) != NGX_OK) {
        return NULL;
    }

    ngx_http_rcache_shelter(solo->request, solo);

    return solo->flight;
}


ngx_int_t
ngx_http_rcache_solo_lead(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_flight_t  *flight;

    flight = ngx_http_rcache_flight_create(ctx);
    if (flight == NULL) {
        return NGX_ERROR;
    }

    flight->placed = (ctx->solo_seq != 0);
    flight->seq = ctx->solo_seq;
    flight->taken = ctx->since;

    ngx_http_rcache_solo_forget(ctx);

    ngx_http_rcache_flight_lead(flight, ctx);

    return NGX_OK;
}


void
ngx_http_rcache_solo_end(ngx_http_rcache_ctx_t *ctx, u_char mark,
    ngx_msec_t keep)
{
    ngx_http_rcache_solo_forget(ctx);

    if (ctx->solo_seq) {
        (void) ngx_http_rcache_flights_leave(ctx->zone->flights,
                                             ctx->lock_hash, ctx->solo_seq,
                                             mark, NULL, 0, 0, keep);
    }
}


void
ngx_http_rcache_solo_void(ngx_http_rcache_zone_t *zone, ngx_str_t *lock,
    uint64_t hash)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_rcache_solo_find(zone, lock, hash);

    if (ctx) {
        ngx_http_rcache_solo_forget(ctx);
    }
}


static ngx_http_rcache_ctx_t **
ngx_http_rcache_solo_place(ngx_http_rcache_zone_t *zone, uint64_t hash)
{
    return &zone->solos[hash & (NGX_HTTP_RCACHE_SOLOS - 1)];
}


static ngx_http_rcache_ctx_t *
ngx_http_rcache_solo_find(ngx_http_rcache_zone_t *zone, ngx_str_t *lock,
    uint64_t hash)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = *ngx_http_rcache_solo_place(zone, hash);

    if (ctx == NULL
        || ctx->lock_hash != hash
        || ctx->lock_key.len != lock->len
        || ngx_memcmp(ctx->lock_key.data, lock->data, lock->len) != 0
        || ngx_http_rcache_solo_over(ctx))
    {
        return NULL;
    }

    return ctx;
}


/* it has been silent for too long: another one is to lead */

static ngx_uint_t
ngx_http_rcache_solo_over(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_redis_proxy_cache_module);

    return ngx_current_msec - ctx->since >= rlcf->lock_age;
}


static void
ngx_http_rcache_solo_forget(ngx_http_rcache_ctx_t *ctx)
{
    *ngx_http_rcache_solo_place(ctx->zone, ctx->lock_hash) = NULL;

    ctx->solo = 0;
}
