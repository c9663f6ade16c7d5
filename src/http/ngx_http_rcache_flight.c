
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_flight.h"
#include <openssl/rand.h>


static ngx_http_rcache_flight_t *ngx_http_rcache_flight_copy(
    ngx_http_rcache_flight_t *from);
static void ngx_http_rcache_flight_correct(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_ctx_t *ctx);


void
ngx_http_rcache_flight_init(ngx_http_rcache_zone_t *zone)
{
    u_char  token[8];

    ngx_rbtree_init(&zone->fetches, &zone->sentinel,
                    ngx_str_rbtree_insert_value);

    ngx_queue_init(&zone->behind);

    /* what the tokens of this worker have in common, and no other's */

    if (RAND_bytes(token, sizeof(token)) != 1) {
        *(uint32_t *) &token[0] = (uint32_t) ngx_random();
        *(uint32_t *) &token[4] = (uint32_t) (ngx_pid ^ ngx_current_msec);
    }

    (void) ngx_hex_dump(zone->token, token, sizeof(token));
}


/* what is locked is the key that was looked up last */

ngx_int_t
ngx_http_rcache_lock_key(ngx_http_rcache_ctx_t *ctx)
{
    u_char     *p;
    ngx_str_t  *key;

    key = ctx->marker ? &ctx->variant_key : &ctx->redis_key;

    if (ctx->locked == key->data) {
        ctx->lock_key.len = key->len + sizeof(":l") - 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(ctx->request->pool, key->len + sizeof(":l") - 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->lock_key.data = p;

    p = ngx_cpymem(p, key->data, key->len);
    p = ngx_cpymem(p, ":l", sizeof(":l") - 1);

    ctx->lock_key.len = p - ctx->lock_key.data;
    ctx->lock_hash = rcache_sum(ctx->lock_key.data, ctx->lock_key.len);
    ctx->locked = key->data;

    return NGX_OK;
}


ngx_http_rcache_turn_e
ngx_http_rcache_flight_open(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_flight_t **flight)
{
    ngx_http_rcache_turn_e      turn;
    ngx_http_rcache_flight_t   *f;
    ngx_http_rcache_outcome_t   outcome;

    *flight = NULL;

    if (ngx_http_rcache_lock_key(ctx) != NGX_OK) {
        return NGX_HTTP_RCACHE_TURN_LEAD;
    }

    f = ngx_http_rcache_flight_find(ctx->zone, &ctx->lock_key,
                                    ctx->lock_hash);

    if (f == NULL) {
        f = ngx_http_rcache_solo_join(ctx);
    }

    if (f) {
        *flight = f;

        if (f->expected) {

            /* nobody is on board yet */

            return NGX_HTTP_RCACHE_TURN_LEAD;
        }

        return (ctx->try && f->state != NGX_HTTP_RCACHE_FLIGHT_ASKING)
               ? NGX_HTTP_RCACHE_TURN_BUSY : NGX_HTTP_RCACHE_TURN_WAIT;
    }

    if (ngx_http_rcache_solo_start(ctx) == NGX_OK) {
        return NGX_HTTP_RCACHE_TURN_LEAD;
    }

    f = ngx_http_rcache_flight_create(ctx);
    if (f == NULL) {
        return NGX_HTTP_RCACHE_TURN_LEAD;
    }

    turn = ngx_http_rcache_flight_enter(f, &outcome);

    switch (turn) {

    case NGX_HTTP_RCACHE_TURN_LEAD:
        *flight = f;
        return turn;

    case NGX_HTTP_RCACHE_TURN_WAIT:
        *flight = f;

        f->state = NGX_HTTP_RCACHE_FLIGHT_BEHIND;
        ngx_queue_insert_tail(&f->zone->behind, &f->behind);
        ngx_http_rcache_flight_due(f, NGX_HTTP_RCACHE_POLL_BEHIND);

        return ctx->try ? NGX_HTTP_RCACHE_TURN_BUSY : turn;

    case NGX_HTTP_RCACHE_TURN_FOUND:
        ctx->handed.len = outcome.payload.len;
        ctx->handed.data = ngx_pnalloc(ctx->request->pool,
                                       outcome.payload.len);

        if (ctx->handed.data == NULL) {
            turn = NGX_HTTP_RCACHE_TURN_PASS;

        } else if (!ngx_http_rcache_flight_fits(ctx, outcome.sent)) {
            turn = NGX_HTTP_RCACHE_TURN_LOOK;

        } else {
            ngx_memcpy(ctx->handed.data, outcome.payload.data,
                       outcome.payload.len);
        }

        ngx_free(outcome.payload.data);
        break;

    default:
        break;
    }

    ngx_http_rcache_flight_destroy(f);

    return turn;
}


ngx_http_rcache_turn_e
ngx_http_rcache_flight_board(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_ctx_t *ctx)
{
    if (flight->state == NGX_HTTP_RCACHE_FLIGHT_ASKING
        && flight->op == NULL
        && !flight->event.posted
        && ngx_http_rcache_flight_ask(flight) != NGX_OK)
    {
        ngx_http_rcache_flight_lead(flight, ctx);
        return NGX_HTTP_RCACHE_TURN_LEAD;
    }

    if (flight->expected) {
        ngx_http_rcache_flight_correct(flight, ctx);
    }

    ctx->flight = flight;
    ngx_queue_insert_tail(&flight->waiters, &ctx->wait);

    return NGX_HTTP_RCACHE_TURN_WAIT;
}


/*
 * The lookup found something else than a flight that asks already has said:
 * its answer will be that the entry is another one, and then it asks again.
 */

static void
ngx_http_rcache_flight_correct(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_ctx_t *ctx)
{
    u_char  *p;

    flight->expected = 0;

    if (ctx->seen.len == 0) {
        return;
    }

    p = ngx_pnalloc(flight->pool, ctx->seen.len);
    if (p == NULL) {
        return;
    }

    ngx_memcpy(p, ctx->seen.data, ctx->seen.len);

    flight->seen.data = p;
    flight->seen.len = ctx->seen.len;
    flight->again = 1;
}


void
ngx_http_rcache_flight_expect(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_flight_t   *flight;
    ngx_http_rcache_outcome_t   outcome;

    if (ngx_http_rcache_lock_key(ctx) != NGX_OK
        || ngx_http_rcache_flight_find(ctx->zone, &ctx->lock_key,
                                       ctx->lock_hash))
    {
        return;
    }

    flight = ngx_http_rcache_flight_create(ctx);
    if (flight == NULL) {
        return;
    }

    if (ngx_http_rcache_flight_enter(flight, &outcome)
        != NGX_HTTP_RCACHE_TURN_LEAD)
    {
        /* another worker knows more, and tells whoever joins it */

        if (outcome.payload.data) {
            ngx_free(outcome.payload.data);
        }

        ngx_http_rcache_flight_destroy(flight);
        return;
    }

    flight->expected = 1;

    if (ngx_http_rcache_flight_ask(flight) != NGX_OK) {
        ngx_http_rcache_flight_cancel(flight);
    }
}


ngx_http_rcache_turn_e
ngx_http_rcache_flight_join(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_turn_e     turn;
    ngx_http_rcache_flight_t  *flight;

    turn = ngx_http_rcache_flight_open(ctx, &flight);

    if (flight == NULL
        || (turn != NGX_HTTP_RCACHE_TURN_LEAD
            && turn != NGX_HTTP_RCACHE_TURN_WAIT))
    {
        return turn;
    }

    return ngx_http_rcache_flight_board(flight, ctx);
}


void
ngx_http_rcache_flight_cancel(ngx_http_rcache_flight_t *flight)
{
    ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_LOOK, 'x', 0);
}


ngx_http_rcache_flight_t *
ngx_http_rcache_flight_create(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_flight_t     model;
    ngx_http_rcache_loc_conf_t  *rlcf;

    ngx_memzero(&model, sizeof(ngx_http_rcache_flight_t));

    model.zone = ctx->zone;
    model.node.str = ctx->lock_key;
    model.key = ctx->marker ? ctx->variant_key : ctx->redis_key;
    model.seen = ctx->seen;
    model.hash = ctx->lock_hash;

    rlcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_redis_proxy_cache_module);

    model.age = rlcf->lock_age;
    model.budget = rlcf->budget;
    model.hit_for_miss = rlcf->hit_for_miss;
    model.pause = rlcf->refresh_pause;

    /* the lookup has shown that Redis does not answer */

    model.remote = !ctx->impatient;

    return ngx_http_rcache_flight_copy(&model);
}


/* another flight for the same key, of what is configured and known */

static ngx_http_rcache_flight_t *
ngx_http_rcache_flight_copy(ngx_http_rcache_flight_t *from)
{
    u_char                    *p;
    size_t                     len;
    ngx_str_t                 *lock;
    ngx_pool_t                *pool;
    ngx_http_rcache_flight_t  *flight;

    lock = &from->node.str;
    len = lock->len + from->key.len + from->seen.len + NGX_HTTP_RCACHE_TOKEN;

    /* as for an operation: the end of the pool must be aligned */

    pool = ngx_create_pool(ngx_align(sizeof(ngx_http_rcache_flight_t) + len
                                     + 256, NGX_POOL_ALIGNMENT),
                           ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    flight = ngx_pcalloc(pool, sizeof(ngx_http_rcache_flight_t));
    p = ngx_pnalloc(pool, len);

    if (flight == NULL || p == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    flight->pool = pool;
    flight->zone = from->zone;
    flight->age = from->age;
    flight->budget = from->budget;
    flight->hit_for_miss = from->hit_for_miss;
    flight->pause = from->pause;
    flight->remote = from->remote;

    flight->node.str.data = p;
    flight->node.str.len = lock->len;
    p = ngx_cpymem(p, lock->data, lock->len);

    flight->key.data = p;
    flight->key.len = from->key.len;
    p = ngx_cpymem(p, from->key.data, from->key.len);

    flight->token.data = p;
    flight->token.len = NGX_HTTP_RCACHE_TOKEN;
    p += NGX_HTTP_RCACHE_TOKEN;

    flight->seen.data = p;
    flight->seen.len = from->seen.len;

    if (from->seen.len) {
        ngx_memcpy(p, from->seen.data, from->seen.len);
    }

    ngx_http_rcache_flight_token(flight);

    flight->hash = from->hash;

    ngx_queue_init(&flight->waiters);

    flight->sub.channel = flight->node.str;
    flight->sub.handler = ngx_http_rcache_flight_heard;
    flight->sub.data = flight;

    flight->timer.handler = ngx_http_rcache_flight_timeout;
    flight->timer.data = flight;
    flight->timer.log = ngx_cycle->log;
    flight->timer.cancelable = 1;

    flight->event.handler = ngx_http_rcache_flight_event;
    flight->event.data = flight;
    flight->event.log = ngx_cycle->log;

    flight->node.node.key = (uint32_t) flight->hash;

    ngx_rbtree_insert(&flight->zone->fetches, &flight->node.node);
    flight->listed = 1;

    return flight;
}


void
ngx_http_rcache_flight_destroy(ngx_http_rcache_flight_t *flight)
{
    ngx_http_rcache_flight_unlist(flight);
    ngx_http_rcache_flight_quiet(flight);

    if (flight->event.posted) {
        ngx_delete_posted_event(&flight->event);
    }

    if (flight->cargo) {
        ngx_destroy_pool(flight->cargo->pool);
    }

    ngx_destroy_pool(flight->pool);
}


ngx_http_rcache_flight_t *
ngx_http_rcache_flight_find(ngx_http_rcache_zone_t *zone, ngx_str_t *lock,
    uint64_t hash)
{
    return (ngx_http_rcache_flight_t *)
           ngx_str_rbtree_lookup(&zone->fetches, lock, (uint32_t) hash);
}


void
ngx_http_rcache_flight_token(ngx_http_rcache_flight_t *flight)
{
    if (flight->remote) {
        ngx_http_rcache_token(flight->zone, flight->token.data);
    }
}


/*
 * No two fetches have the same, whatever instance they are on.  It has to be
 * unique, not secret, and random bytes for each would cost as much as the
 * rest of the flight.
 */

void
ngx_http_rcache_token(ngx_http_rcache_zone_t *zone, u_char *token)
{
    uint32_t  n;

    n = zone->tokens++;

    token = ngx_cpymem(token, zone->token, sizeof(zone->token));
    (void) ngx_hex_dump(token, (u_char *) &n, sizeof(n));
}


/* it is this worker's turn: the first of those who wait leads */

void
ngx_http_rcache_flight_give(ngx_http_rcache_flight_t *flight)
{
    ngx_queue_t            *q;
    ngx_http_rcache_ctx_t  *ctx;

    ngx_http_rcache_flight_hush(flight);

    if (ngx_queue_empty(&flight->waiters)) {

        /* all of them have left */

        ngx_http_rcache_flight_unlock(flight, 'x', 0);
        ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_LOOK, 'x', 0);
        return;
    }

    q = ngx_queue_head(&flight->waiters);
    ngx_queue_remove(q);

    ctx = ngx_queue_data(q, ngx_http_rcache_ctx_t, wait);

    ngx_http_rcache_flight_lead(flight, ctx);
    ngx_http_rcache_flight_dismiss(flight);

    ngx_http_rcache_told(ctx, NGX_HTTP_RCACHE_TURN_LEAD, NULL, 0);
}


void
ngx_http_rcache_flight_lead(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_ctx_t *ctx)
{
    flight->state = NGX_HTTP_RCACHE_FLIGHT_LEADING;
    flight->leader = ctx;

    ctx->flight = flight;
    ctx->leader = 1;

    ngx_str_null(&ctx->token);

    if (flight->locked) {
        ngx_memcpy(ctx->token_data, flight->token.data, flight->token.len);
        ctx->token.data = ctx->token_data;
        ctx->token.len = flight->token.len;
    }

    ngx_http_rcache_flight_extend(flight);
}


/*
 * Looked at three times until it would be over, so that one that is renewed
 * never comes near its end.
 */

void
ngx_http_rcache_flight_extend(ngx_http_rcache_flight_t *flight)
{
    flight->moved = 0;
    flight->expires = ngx_current_msec + flight->age;

    /* mostly it was taken a moment ago, and has its time */

    if (flight->placed
        && ngx_current_msec - flight->taken > flight->age / 8)
    {
        flight->placed = ngx_http_rcache_flights_renew(flight->zone->flights,
                                                       flight->hash,
                                                       flight->seq,
                                                       flight->age);
    }

    ngx_http_rcache_flight_due(flight, flight->age / 3 + 1);
}


/*
 * A fetch sets its timer three times, and most are over before the first: one
 * that is set already, and is not too late, stays, and is set again when it
 * fires.
 */

void
ngx_http_rcache_flight_due(ngx_http_rcache_flight_t *flight,
    ngx_msec_t timeout)
{
    flight->due = ngx_current_msec + timeout;

    if (flight->timer.timer_set) {

        if ((ngx_msec_int_t) (flight->timer.timer.key - flight->due) <= 0) {
            return;
        }

        ngx_del_timer(&flight->timer);
    }

    ngx_add_timer(&flight->timer, timeout);
}


void
ngx_http_rcache_flight_moved(ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->leader) {
        ctx->flight->moved = 1;
    }
}


/*
 * The leader has had its time.  It goes on, but those who wait, and those who
 * come, are another flight's.
 */

void
ngx_http_rcache_flight_overtake(ngx_http_rcache_flight_t *flight)
{
    ngx_queue_t               *q;
    ngx_http_rcache_ctx_t     *ctx;
    ngx_http_rcache_flight_t  *next;

    ngx_http_rcache_flight_unlist(flight);

    if (ngx_queue_empty(&flight->waiters)) {
        return;
    }

    next = ngx_http_rcache_flight_copy(flight);
    if (next == NULL) {
        return;
    }

    for (q = ngx_queue_head(&flight->waiters);
         q != ngx_queue_sentinel(&flight->waiters);
         q = ngx_queue_next(q))
    {
        ctx = ngx_queue_data(q, ngx_http_rcache_ctx_t, wait);
        ctx->flight = next;
    }

    ngx_queue_add(&next->waiters, &flight->waiters);
    ngx_queue_init(&flight->waiters);

    ngx_http_rcache_flight_start(next);
}


/* those who do not wait are told so */

void
ngx_http_rcache_flight_dismiss(ngx_http_rcache_flight_t *flight)
{
    ngx_queue_t             *q;
    ngx_http_rcache_ctx_t   *ctx;

    q = ngx_queue_head(&flight->waiters);

    while (q != ngx_queue_sentinel(&flight->waiters)) {

        ctx = ngx_queue_data(q, ngx_http_rcache_ctx_t, wait);

        if (!ctx->try) {
            q = ngx_queue_next(q);
            continue;
        }

        ngx_queue_remove(q);
        ctx->flight = NULL;

        ngx_http_rcache_told(ctx, NGX_HTTP_RCACHE_TURN_BUSY, NULL, 0);

        /* anything may have changed */

        q = ngx_queue_head(&flight->waiters);
    }
}
