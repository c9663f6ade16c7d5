
/*
 * Private to the files of a flight: ngx_http_rcache_flight.c, who leads and who
 * waits in this worker, ngx_http_rcache_rings.c, what the other workers and
 * instances have to do with it, and ngx_http_rcache_landing.c, how it ends.
 *
 * One fetch for all who ask.  A flight is what this worker knows of the fetch
 * of one key: who leads it, and who waits for it.  It belongs to no request,
 * so that anybody may leave.
 *
 *     ASKING    our lock, or another's?  Redis is asked
 *     LEADING   a request of this worker fetches
 *     STORING   it has, the entry is on its way to Redis
 *     BEHIND    a request of another worker fetches
 *     ABROAD    a request of another instance fetches
 *     LANDING   it is over, those who wait are told
 *
 * The outer rings are asked only by a flight, so by one for many.  If Redis
 * does not answer, a flight goes on without its lock.
 *
 * Who waits is told in a turn of the event loop of its own: never from inside
 * of what another request does.
 */


#ifndef _NGX_HTTP_RCACHE_FLIGHT_H_INCLUDED_
#define _NGX_HTTP_RCACHE_FLIGHT_H_INCLUDED_


#include "ngx_http_rcache_collapse.h"


/* another worker is asked again, in case a wake-up was lost; milliseconds */

#define NGX_HTTP_RCACHE_POLL_BEHIND  100


typedef enum {
    NGX_HTTP_RCACHE_FLIGHT_ASKING = 0,
    NGX_HTTP_RCACHE_FLIGHT_LEADING,
    NGX_HTTP_RCACHE_FLIGHT_STORING,
    NGX_HTTP_RCACHE_FLIGHT_BEHIND,
    NGX_HTTP_RCACHE_FLIGHT_ABROAD,
    NGX_HTTP_RCACHE_FLIGHT_LANDING
} ngx_http_rcache_flight_state_e;


struct ngx_http_rcache_flight_s {
    ngx_str_node_t                   node;      /* by the name of the lock */
    ngx_pool_t                      *pool;
    ngx_http_rcache_zone_t          *zone;
    ngx_http_rcache_flight_state_e   state;

    ngx_str_t                        key;       /* of the entry, in Redis */
    ngx_str_t                        seen;
    ngx_str_t                        token;
    uint64_t                         hash;      /* of the lock's name */
    ngx_uint_t                       seq;       /* of our place */
    ngx_msec_t                       taken;     /* when that was */

    ngx_msec_t                       age;
    ngx_msec_t                       expires;   /* of our lock, and place */
    ngx_msec_t                       budget;
    ngx_msec_t                       hit_for_miss;
    ngx_msec_t                       pause;

    ngx_http_rcache_ctx_t           *leader;
    ngx_queue_t                      waiters;
    ngx_queue_t                      behind;    /* in zone->behind */

    ngx_http_rcache_op_t            *op;        /* being asked */
    ngx_http_rcache_sub_t            sub;
    ngx_event_t                      timer;
    ngx_msec_t                       due;       /* what the timer is for */
    ngx_event_t                      event;     /* the next turn */

    /* how it ended */
    ngx_http_rcache_turn_e           turn;
    ngx_chain_t                     *payload;
    size_t                           size;
    uint64_t                         sent;      /* microseconds, see fits() */
    ngx_http_rcache_op_t            *cargo;     /* the payload is in it */

    ngx_http_rcache_write_t         *write;     /* STORING */

    unsigned                         listed:1;
    unsigned                         remote:1;  /* Redis is to be asked */
    unsigned                         placed:1;  /* in shared memory */
    unsigned                         locked:1;  /* in Redis */
    unsigned                         subscribed:1;
    unsigned                         again:1;   /* ask once more */
    unsigned                         expected:1; /* asks, but nobody may need
                                                    it */
    unsigned                         plain:1;   /* asked without a script */
    unsigned                         voided:1;
    unsigned                         moved:1;   /* bytes have arrived since it
                                                   was renewed */
};


/* ngx_http_rcache_flight.c */

/* for what ctx looked up; NULL: out of memory */
ngx_http_rcache_flight_t *ngx_http_rcache_flight_create(
    ngx_http_rcache_ctx_t *ctx);

/* ctx fetches */
void ngx_http_rcache_flight_lead(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_ctx_t *ctx);

/* it is this worker's turn: the first of those who wait leads */
void ngx_http_rcache_flight_give(ngx_http_rcache_flight_t *flight);

/* those who do not wait are told so */
void ngx_http_rcache_flight_dismiss(ngx_http_rcache_flight_t *flight);

/* ngx_http_rcache_flight_timeout() is called in so many milliseconds */
void ngx_http_rcache_flight_due(ngx_http_rcache_flight_t *flight,
    ngx_msec_t timeout);

/* the leader has its lock, and its place, for another while */
void ngx_http_rcache_flight_extend(ngx_http_rcache_flight_t *flight);

/* the leader takes too long: another one is to lead those who wait */
void ngx_http_rcache_flight_overtake(ngx_http_rcache_flight_t *flight);


/* with all that it has; nobody waits for it */
void ngx_http_rcache_flight_destroy(ngx_http_rcache_flight_t *flight);

/* another name for its lock */
void ngx_http_rcache_flight_token(ngx_http_rcache_flight_t *flight);

/* the one that others may join; NULL: there is none */
ngx_http_rcache_flight_t *ngx_http_rcache_flight_find(
    ngx_http_rcache_zone_t *zone, ngx_str_t *lock, uint64_t hash);


/* ngx_http_rcache_landing.c */

/* it is over, and why: those who wait are told at the end of this turn */
void ngx_http_rcache_flight_land(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_turn_e turn, u_char mark, ngx_msec_t keep);

/* the same turn does: for a payload that may be gone at its end */
void ngx_http_rcache_flight_now(ngx_http_rcache_flight_t *flight);

/* nobody joins it any more */
void ngx_http_rcache_flight_unlist(ngx_http_rcache_flight_t *flight);

/* it expects no message; nothing at all from outside */
void ngx_http_rcache_flight_hush(ngx_http_rcache_flight_t *flight);
void ngx_http_rcache_flight_quiet(ngx_http_rcache_flight_t *flight);

/*
 * Whether a payload that was sent to Redis, or asked of it, at that time may be
 * given to ctx.  Whoever came later may have been told before that it is
 * invalid: that may have happened at another instance, after Redis had done
 * what we have no answer to yet.
 */
ngx_uint_t ngx_http_rcache_flight_fits(ngx_http_rcache_ctx_t *ctx,
    uint64_t sent);

/* the handler of the turn of its own */
void ngx_http_rcache_flight_event(ngx_event_t *ev);


/*
 * ngx_http_rcache_solo.c: a fetch that has no flight yet.
 *
 * start: NGX_OK, ctx fetches what nobody else does, and needs none;
 * NGX_DECLINED.  join: there is such a one, and here is a flight that it leads;
 * NULL.  end: as ngx_http_rcache_flight_end(); void: as
 * ngx_http_rcache_flight_void().
 */
ngx_int_t ngx_http_rcache_solo_start(ngx_http_rcache_ctx_t *ctx);
ngx_http_rcache_flight_t *ngx_http_rcache_solo_join(
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_solo_end(ngx_http_rcache_ctx_t *ctx, u_char mark,
    ngx_msec_t keep);
void ngx_http_rcache_solo_void(ngx_http_rcache_zone_t *zone, ngx_str_t *lock,
    uint64_t hash);


/* ngx_http_rcache_rings.c */

/* finds out who leads, for those who wait already */
void ngx_http_rcache_flight_start(ngx_http_rcache_flight_t *flight);

/* the ring of the instance: LEAD, WAIT, or what the outcome says */
ngx_http_rcache_turn_e ngx_http_rcache_flight_enter(
    ngx_http_rcache_flight_t *flight, ngx_http_rcache_outcome_t *outcome);

/* the ring of all instances; NGX_DECLINED: Redis cannot be asked */
ngx_int_t ngx_http_rcache_flight_ask(ngx_http_rcache_flight_t *flight);

/* the lock in Redis is ours for another while, if it still is */
void ngx_http_rcache_flight_renew(ngx_http_rcache_flight_t *flight);

/* the entry is in Redis, those who wait are to look */
void ngx_http_rcache_flight_look(ngx_http_rcache_flight_t *flight);

void ngx_http_rcache_flight_heard(ngx_http_rcache_sub_t *sub,
    ngx_str_t *message);
void ngx_http_rcache_flight_timeout(ngx_event_t *ev);


/*
 * ngx_http_rcache_unlock.c.
 *
 * unlock: gives the lock in Redis back, if it is ours.  owe: Redis may have it
 * for us, and nobody will see to it; it is given back when Redis can be asked,
 * but not before so many milliseconds.
 */
void ngx_http_rcache_flight_unlock(ngx_http_rcache_flight_t *flight,
    u_char mark, ngx_msec_t keep);
void ngx_http_rcache_owe(ngx_http_rcache_flight_t *flight, ngx_msec_t delay);


#endif /* _NGX_HTTP_RCACHE_FLIGHT_H_INCLUDED_ */
