
/*
 * One fetch for all who ask, see docs/collapse.md: who makes the response, who
 * waits for it, and who is told; and what is known before anybody asks: that a
 * fetch is likely, or futile, or one too many while Redis is away.
 */


#ifndef _NGX_HTTP_RCACHE_COLLAPSE_H_INCLUDED_
#define _NGX_HTTP_RCACHE_COLLAPSE_H_INCLUDED_


#include "ngx_http_rcache.h"


/* whose turn it is to fetch */

typedef enum {
    NGX_HTTP_RCACHE_TURN_LEAD = 0, /* this request's */
    NGX_HTTP_RCACHE_TURN_WAIT,     /* another's: it will be told */
    NGX_HTTP_RCACHE_TURN_BUSY,     /* another's, and it does not wait */
    NGX_HTTP_RCACHE_TURN_FOUND,    /* nobody's: here is the entry */
    NGX_HTTP_RCACHE_TURN_LOOK,     /* nobody's: it is in Redis */
    NGX_HTTP_RCACHE_TURN_ALONE,    /* everybody's: it is too long to be shared
                                      while Redis is away */
    NGX_HTTP_RCACHE_TURN_PASS,     /* everybody's: it cannot be cached */
    NGX_HTTP_RCACHE_TURN_PAUSE     /* nobody's: it failed a moment ago */
} ngx_http_rcache_turn_e;


/*
 * ngx_http_rcache_decide.c: what becomes of the request after the lookup.
 * NGX_OK: it is served from ctx->entry; NGX_DECLINED: the phases go on, to
 * the content handler or back to ours, which refuses; NGX_AGAIN: it waits;
 * NGX_DONE: it was a refresh that is not needed, and is over.
 *
 * refresh: a fetch that no client waits for; LEAD: it is under way, or soon
 * will be, if no other instance does it.
 *
 * collapses: may its response be one for others, and theirs for it?
 * draws_early: ctx->entry is fresh; is it to be refreshed all the same?
 *
 * told: its turn has come, or it is nobody's any more.
 */

ngx_http_rcache_turn_e ngx_http_rcache_refresh(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_uint_t ngx_http_rcache_collapses(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_uint_t ngx_http_rcache_draws_early(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_decide(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_reason_e reason);
ngx_int_t ngx_http_rcache_serve_stale(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_status_e status);
void ngx_http_rcache_told(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_turn_e turn, ngx_chain_t *payload, size_t size);


/*
 * ngx_http_rcache_flight.c: one fetch for all who ask.
 *
 * open: who has the turn for ctx->lock_key, as far as this instance knows.
 * LEAD: nobody yet, *flight is a new one (NULL if memory is short) that is to
 * be boarded or cancelled; WAIT: *flight may be boarded.  FOUND: the entry is
 * in ctx->handed.
 *
 * board: LEAD or WAIT; ngx_http_rcache_told() comes later, never from inside.
 * join is both.
 *
 * token: NGX_HTTP_RCACHE_TOKEN bytes that nobody else has.
 */

void ngx_http_rcache_token(ngx_http_rcache_zone_t *zone, u_char *token);
ngx_int_t ngx_http_rcache_lock_key(ngx_http_rcache_ctx_t *ctx);
ngx_http_rcache_turn_e ngx_http_rcache_flight_open(
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_flight_t **flight);
ngx_http_rcache_turn_e ngx_http_rcache_flight_board(
    ngx_http_rcache_flight_t *flight, ngx_http_rcache_ctx_t *ctx);
ngx_http_rcache_turn_e ngx_http_rcache_flight_join(
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_flight_cancel(ngx_http_rcache_flight_t *flight);

/* asks for the lock before anybody is known to need it */

void ngx_http_rcache_flight_expect(ngx_http_rcache_ctx_t *ctx);

/* the request goes: it waits no more, or leads no more */

void ngx_http_rcache_flight_quit(ngx_http_rcache_ctx_t *ctx);

/* more of the response has come to the one who leads */

void ngx_http_rcache_flight_moved(ngx_http_rcache_ctx_t *ctx);

/* there are others in this instance who want what this one fetches */

ngx_uint_t ngx_http_rcache_flight_awaited(ngx_http_rcache_ctx_t *ctx);

/*
 * It will not be stored, for Redis is gone, and there is no other way to share
 * it.
 */

void ngx_http_rcache_flight_lost(ngx_http_rcache_ctx_t *ctx);

/*
 * The leader has nothing to store: the mark says why, see script.c, and stays
 * for so long.  Nothing happens if ctx does not lead.
 */

void ngx_http_rcache_flight_end(ngx_http_rcache_ctx_t *ctx, u_char mark,
    ngx_msec_t keep);

/*
 * The leader has stored: takes the flight from ctx, and ends it with the
 * answer of Redis: NGX_OK, stored; NGX_DECLINED, refused, another entry or an
 * invalidation came first; NGX_ERROR, none.  The payload is in op->pool, which
 * the flight keeps if it has to.
 */

ngx_http_rcache_flight_t *ngx_http_rcache_flight_store(
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_flight_storing(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_write_t *write);
void ngx_http_rcache_flight_stored(ngx_http_rcache_flight_t *flight,
    ngx_int_t rc, ngx_http_rcache_op_t *op, ngx_chain_t *payload, size_t size);

/* what is being fetched under the lock is void */

void ngx_http_rcache_flight_void(ngx_http_rcache_zone_t *zone,
    ngx_str_t *lock);

void ngx_http_rcache_flight_init(ngx_http_rcache_zone_t *zone);

/* ngx_http_rcache_rings.c: another worker has something to tell */

void ngx_http_rcache_flights_woken(void *data);

/*
 * ngx_http_rcache_solo.c: who fetches without a flight, while Redis is away.
 * lead: it has one now; NGX_OK, NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_solo_init(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone);
ngx_int_t ngx_http_rcache_solo_lead(ngx_http_rcache_ctx_t *ctx);


/* ngx_http_rcache_unlock.c: worker start; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_owed_init(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone);


/*
 * ngx_http_rcache_expect.c: the lookup of ctx->redis_key has been sent, and a
 * miss may be likely.  expected: what the lookup says, absent or not.
 */

ngx_int_t ngx_http_rcache_expect_init(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone);
void ngx_http_rcache_expect(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_expected(ngx_http_rcache_ctx_t *ctx, ngx_uint_t absent);

/*
 * hash: the sum of ctx->redis_key, made once for each request, or of another
 * key.
 *
 * futile: Redis need not be asked, the response cannot be cached anyway.
 * set: its headers say that it cannot, which counts for keep milliseconds, but
 * not for longer than a second, and only if Redis had nothing just before.
 * clear: one that can.
 */

uint64_t ngx_http_rcache_hash(ngx_http_rcache_ctx_t *ctx, ngx_str_t *key);
ngx_uint_t ngx_http_rcache_futile(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_futile_set(ngx_http_rcache_ctx_t *ctx, ngx_msec_t keep);
void ngx_http_rcache_futile_clear(ngx_http_rcache_ctx_t *ctx);


/*
 * ngx_http_rcache_fallback.c: before a fetch.  NGX_OK: go on; NGX_AGAIN:
 * the request waits, and will be resumed; NGX_DECLINED: it is refused,
 * ctx->state says so.
 */

ngx_int_t ngx_http_rcache_fallback(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/* the same for who cannot wait: NGX_OK, or NGX_DECLINED */

ngx_int_t ngx_http_rcache_fallback_try(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

void ngx_http_rcache_fallback_init(ngx_http_rcache_zone_t *zone);


#endif /* _NGX_HTTP_RCACHE_COLLAPSE_H_INCLUDED_ */
