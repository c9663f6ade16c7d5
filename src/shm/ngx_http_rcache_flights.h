
/*
 * Which worker of an instance fetches what, which others wait for it, and what
 * came of it.  A table of places in the zone's shared memory:
 *
 *     places    sets of 8, the set is chosen by the hash of the lock key
 *     payloads  a ring of bytes, in which the new overwrites the old
 *
 *              enter()                 leave()
 *     free  ----------->  owned  ------------------->  done  ---> free
 *                         waiters: a bit a worker,     until all of them have
 *                         woken by leave()             asked, or for a second;
 *                                                      a mark: while it lasts
 *
 * All changes are made under the mutex of the slab pool, which the master
 * unlocks if a worker dies inside.  So a place is always such that dying does
 * not matter: its state is written last, or first when it ends; and nothing
 * is linked to anything else or allocated later on.  A place is free, too, if
 * its owner is dead or its time is over.
 *
 * Two keys may have one hash: a payload is to be judged as what comes from
 * Redis is.
 *
 * src/http calls it; it calls wake.
 */


#ifndef _NGX_HTTP_RCACHE_FLIGHTS_H_INCLUDED_
#define _NGX_HTTP_RCACHE_FLIGHTS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_rcache_wake.h"


typedef struct ngx_http_rcache_flights_sh_s  ngx_http_rcache_flights_sh_t;


/* the table as a process has it; wake may be NULL */

typedef struct {
    ngx_http_rcache_flights_sh_t  *sh;
    ngx_slab_pool_t               *pool;
    ngx_http_rcache_wake_t        *wake;
} ngx_http_rcache_flights_t;


typedef enum {
    NGX_HTTP_RCACHE_FLIGHTS_LEAD = 0, /* the place is ours, *seq names it */
    NGX_HTTP_RCACHE_FLIGHTS_WAIT,     /* another's; we will be woken */
    NGX_HTTP_RCACHE_FLIGHTS_DONE,     /* there is an outcome */
    NGX_HTTP_RCACHE_FLIGHTS_FULL      /* no place: do without */
} ngx_http_rcache_flights_e;


typedef struct {
    u_char         mark;     /* '+' stored, '-' uncacheable, '!' paused,
                                '~' not to be shared now */
    ngx_str_t      payload;  /* the caller's, to be freed by ngx_free(); data
                                is NULL if there is none */
    uint64_t       sent;     /* to Redis, see leave() */
    ngx_msec_t     left;     /* milliseconds: of a mark; with WAIT, until the
                                place is free at the latest */
} ngx_http_rcache_outcome_t;


/*
 * Takes its share of a zone of the given size, in bytes, from the pool; NULL
 * if it is not to be had.
 */

ngx_http_rcache_flights_sh_t *ngx_http_rcache_flights_create(
    ngx_slab_pool_t *pool, size_t size);

/* in each process, after wake's; from the cycle's pool, NULL if out of it */

ngx_http_rcache_flights_t *ngx_http_rcache_flights_init_process(
    ngx_cycle_t *cycle, ngx_http_rcache_flights_sh_t *sh,
    ngx_slab_pool_t *pool, ngx_http_rcache_wake_t *wake);

/*
 * age: milliseconds after which the place is free even if its owner lives.
 * An outcome '+' is for those that have waited; for all others the place is
 * free, as it is without a mark or a payload for them.
 *
 * Being woken means no more than to enter again.  A wake-up is lost only if
 * the owner is killed and no worker takes its place, or if this worker has no
 * bit; so those that wait also enter from time to time.
 */

ngx_http_rcache_flights_e ngx_http_rcache_flights_enter(
    ngx_http_rcache_flights_t *flights, uint64_t hash, ngx_msec_t age,
    ngx_uint_t *seq, ngx_http_rcache_outcome_t *outcome);

/* nobody in this worker waits any longer */

void ngx_http_rcache_flights_forget(ngx_http_rcache_flights_t *flights,
    uint64_t hash);

/* there are other workers that wait for the owner */

ngx_uint_t ngx_http_rcache_flights_awaited(ngx_http_rcache_flights_t *flights,
    uint64_t hash, ngx_uint_t seq);

/* the owner goes on, for another age from now; 0: it has lost the place */

ngx_uint_t ngx_http_rcache_flights_renew(ngx_http_rcache_flights_t *flights,
    uint64_t hash, ngx_uint_t seq, ngx_msec_t age);

/*
 * The owner's end.  mark: as above, or 'x', for another one is to lead.
 * payload: size bytes in memory, or NULL; with '+' only, kept if workers wait
 * and it fits.  sent: when it went to Redis, microseconds of a clock that does
 * not jump: it is not for those who came later.  keep: milliseconds for which a
 * mark '-' or '!' is there for all.  0: the place was lost before, and nothing
 * has been changed.
 */

ngx_uint_t ngx_http_rcache_flights_leave(ngx_http_rcache_flights_t *flights,
    uint64_t hash, ngx_uint_t seq, u_char mark, ngx_chain_t *payload,
    size_t size, uint64_t sent, ngx_msec_t keep);

/*
 * An invalidation: an owner loses its place, a mark or payload is gone, those
 * that wait are woken.
 */

void ngx_http_rcache_flights_void(ngx_http_rcache_flights_t *flights,
    uint64_t hash);


#endif /* _NGX_HTTP_RCACHE_FLIGHTS_H_INCLUDED_ */
