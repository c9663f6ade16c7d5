
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* How a flight ends: stored or not, left, void, and who is told. */


#include "ngx_http_rcache_flight.h"
#include "ngx_http_rcache_store.h"


void
ngx_http_rcache_flight_quit(ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->solo) {
        ngx_http_rcache_solo_end(ctx, 'x', 0);
        return;
    }

    if (ctx->flight == NULL) {
        return;
    }

    if (ctx->leader) {
        ngx_http_rcache_flight_end(ctx, 'x', 0);
        return;
    }

    ngx_queue_remove(&ctx->wait);
    ctx->flight = NULL;
}


void
ngx_http_rcache_flight_end(ngx_http_rcache_ctx_t *ctx, u_char mark,
    ngx_msec_t keep)
{
    ngx_http_rcache_flight_t  *flight;

    if (ctx->solo) {
        ngx_http_rcache_solo_end(ctx, mark, keep);
        return;
    }

    flight = ngx_http_rcache_flight_store(ctx);
    if (flight == NULL) {
        return;
    }

    ngx_http_rcache_flight_unlock(flight, mark, keep);

    switch (mark) {

    case '-':
        ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_PASS, mark,
                                    keep);
        return;

    case '!':
        ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_PAUSE, mark,
                                    keep);
        return;

    default:
        break;
    }

    if (ngx_queue_empty(&flight->waiters)) {
        ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_LOOK, mark,
                                    0);
        return;
    }

    /* another one is to lead, and has to get the lock as the first did */

    flight->state = NGX_HTTP_RCACHE_FLIGHT_ASKING;
    ngx_http_rcache_flight_token(flight);

    ngx_post_event(&flight->event, &ngx_posted_events);
}


ngx_http_rcache_flight_t *
ngx_http_rcache_flight_store(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_flight_t  *flight;

    if (!ctx->leader) {
        return NULL;
    }

    flight = ctx->flight;

    ctx->flight = NULL;
    ctx->leader = 0;

    flight->leader = NULL;
    flight->state = NGX_HTTP_RCACHE_FLIGHT_STORING;

    ngx_http_rcache_flight_due(flight, flight->budget);

    return flight;
}


ngx_uint_t
ngx_http_rcache_flight_awaited(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_flight_t   *flight;
    ngx_http_rcache_flights_t  *flights;

    flights = ctx->zone->flights;

    if (ctx->solo) {
        return ngx_http_rcache_flights_awaited(flights, ctx->lock_hash,
                                               ctx->solo_seq);
    }

    if (!ctx->leader) {
        return 0;
    }

    flight = ctx->flight;

    return !ngx_queue_empty(&flight->waiters)
           || (flight->placed
               && ngx_http_rcache_flights_awaited(flights, flight->hash,
                                                  flight->seq));
}


void
ngx_http_rcache_flight_lost(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_flight_t  *flight;

    if (ctx->solo) {
        ngx_http_rcache_solo_end(ctx, 'x', 0);
        return;
    }

    flight = ngx_http_rcache_flight_store(ctx);

    if (flight) {
        ngx_http_rcache_flight_unlock(flight, 'x', 0);
        ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_ALONE, '~',
                                    0);
    }
}


void
ngx_http_rcache_flight_storing(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_write_t *write)
{
    write->flight = flight;

    flight->write = write;
    flight->sent = ngx_http_rcache_usec();
}


void
ngx_http_rcache_flight_stored(ngx_http_rcache_flight_t *flight, ngx_int_t rc,
    ngx_http_rcache_op_t *op, ngx_chain_t *payload, size_t size)
{
    flight->write = NULL;

    if (rc != NGX_OK) {

        /* it has not been stored, and the lock may be ours all the same */

        ngx_http_rcache_flight_unlock(flight, 'x', 0);
    }

    flight->locked = 0;

    if (rc == NGX_DECLINED || flight->voided || payload == NULL) {
        ngx_http_rcache_flight_look(flight);
        return;
    }

    if (!ngx_queue_empty(&flight->waiters)) {
        op->keep = 1;
        flight->cargo = op;
    }

    flight->payload = payload;
    flight->size = size;

    ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_FOUND, '+', 0);
}


void
ngx_http_rcache_flight_void(ngx_http_rcache_zone_t *zone, ngx_str_t *lock)
{
    uint64_t                   hash;
    ngx_http_rcache_flight_t  *flight;

    hash = rcache_sum(lock->data, lock->len);

    ngx_http_rcache_flights_void(zone->flights, hash);

    flight = ngx_http_rcache_flight_find(zone, lock, hash);

    if (flight == NULL) {
        ngx_http_rcache_solo_void(zone, lock, hash);
        return;
    }

    if (flight->state == NGX_HTTP_RCACHE_FLIGHT_LEADING
        || flight->state == NGX_HTTP_RCACHE_FLIGHT_STORING)
    {
        /* who comes from now on does not wait for this one */

        flight->voided = 1;
        flight->placed = 0;

        ngx_http_rcache_flight_unlist(flight);
    }
}


/* it is over: the workers of this instance are told, and then our own */

void
ngx_http_rcache_flight_land(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_turn_e turn, u_char mark, ngx_msec_t keep)
{
    if (flight->voided && turn == NGX_HTTP_RCACHE_TURN_FOUND) {
        turn = NGX_HTTP_RCACHE_TURN_LOOK;
    }

    flight->state = NGX_HTTP_RCACHE_FLIGHT_LANDING;
    flight->turn = turn;

    ngx_http_rcache_flight_unlist(flight);
    ngx_http_rcache_flight_quiet(flight);

    if (flight->op) {
        ngx_http_rcache_op_detach(flight->op);
        flight->op = NULL;
    }

    if (flight->placed) {
        flight->placed = 0;

        (void) ngx_http_rcache_flights_leave(flight->zone->flights,
                                             flight->hash, flight->seq, mark,
                                             flight->payload, flight->size,
                                             flight->sent, keep);
    }

    ngx_post_event(&flight->event, &ngx_posted_events);
}


void
ngx_http_rcache_flight_now(ngx_http_rcache_flight_t *flight)
{
    ngx_delete_posted_event(&flight->event);

    ngx_http_rcache_flight_event(&flight->event);
}


void
ngx_http_rcache_flight_unlist(ngx_http_rcache_flight_t *flight)
{
    if (flight->listed) {
        flight->listed = 0;
        ngx_rbtree_delete(&flight->zone->fetches, &flight->node.node);
    }

    if (flight->behind.next) {
        ngx_queue_remove(&flight->behind);
        flight->behind.next = NULL;
    }
}


/* it expects nothing from outside any more */

void
ngx_http_rcache_flight_quiet(ngx_http_rcache_flight_t *flight)
{
    if (flight->timer.timer_set) {
        ngx_del_timer(&flight->timer);
    }

    ngx_http_rcache_flight_hush(flight);
}


void
ngx_http_rcache_flight_hush(ngx_http_rcache_flight_t *flight)
{
    if (flight->subscribed) {
        flight->subscribed = 0;
        ngx_http_rcache_unsubscribe(flight->zone->redis, &flight->sub);
    }
}


ngx_uint_t
ngx_http_rcache_flight_fits(ngx_http_rcache_ctx_t *ctx, uint64_t sent)
{
    /* impatient: Redis has failed it, and it cannot ask again */

    return (ctx->start && ctx->start < sent) || ctx->impatient;
}


void
ngx_http_rcache_flight_event(ngx_event_t *ev)
{
    ngx_http_rcache_flight_t *flight = ev->data;

    ngx_queue_t             *q;
    ngx_http_rcache_ctx_t   *ctx;
    ngx_http_rcache_turn_e   turn;

    if (flight->state == NGX_HTTP_RCACHE_FLIGHT_ASKING) {

        /* the leader gave up */

        if (ngx_http_rcache_flight_ask(flight) != NGX_OK) {
            ngx_http_rcache_flight_give(flight);
        }

        return;
    }

    while (!ngx_queue_empty(&flight->waiters)) {
        q = ngx_queue_head(&flight->waiters);
        ngx_queue_remove(q);

        ctx = ngx_queue_data(q, ngx_http_rcache_ctx_t, wait);
        ctx->flight = NULL;

        turn = flight->turn;

        if (turn == NGX_HTTP_RCACHE_TURN_FOUND
            && !ngx_http_rcache_flight_fits(ctx, flight->sent))
        {
            turn = NGX_HTTP_RCACHE_TURN_LOOK;
        }

        ngx_http_rcache_told(ctx, turn, flight->payload, flight->size);
    }

    ngx_http_rcache_flight_destroy(flight);
}
