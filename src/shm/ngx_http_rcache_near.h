
/*
 * The near cache: copies of entries that are asked for often, in a shared
 * memory of its own, so that a hit need not ask Redis.
 *
 *     slab pool | ngx_http_rcache_near_sh_t (pool->data)
 *     | guards  one for each worker and server that copies are read from
 *     | places  sets of 8, the set is chosen by the hash of the Redis key
 *     | voids   counters, chosen by the same hash
 *     | lately  what was asked for a moment ago, two bytes of hash, two of time
 *     | ring    of bytes: key and value, the new overwrites the old
 *
 *     place ---> key and value in the ring   whole as long as the head is not
 *       |                                    further than the ring is long
 *       +------> guard and its generation    the worker hears of all that
 *       |                                    changes, and did a moment ago
 *       +------> void, and what it was       nobody has changed the key, or one
 *                                            that has the same counter
 *
 * A copy is used if all of that is as it was when it was asked for.  So nothing
 * is ever removed: who knows that a key has changed adds one to its counter,
 * and it does not matter whether the copy is there, or another worker has just
 * asked for it, for what that one gets is void before it is put in.
 *
 * All is allocated once.  Who puts in holds the mutex of the slab pool, which
 * the master unlocks for a dead worker; who reads does not, and looks again
 * when it has its copy.  A place is odd while it is written to: a worker may be
 * killed anywhere.  The layout is part of the name of the memory.
 *
 * src/http calls it; it calls nothing but nginx.
 */


#ifndef _NGX_HTTP_RCACHE_NEAR_SHM_H_INCLUDED_
#define _NGX_HTTP_RCACHE_NEAR_SHM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_RCACHE_NEAR_LAYOUT  "1"

#define NGX_HTTP_RCACHE_NEAR_MIN     (1024 * 1024)

/* milliseconds since a server was asked, then its word is nothing any more */

#define NGX_HTTP_RCACHE_NEAR_ALIVE   1000


typedef struct ngx_http_rcache_near_sh_s  ngx_http_rcache_near_sh_t;


/* the memory as a process has it */

typedef struct {
    ngx_http_rcache_near_sh_t   *sh;
    ngx_slab_pool_t             *pool;
    ngx_uint_t                   era;        /* of this configuration */
    ngx_uint_t                   full;       /* unsigned  full:1; the caller's:
                                                it was told that there is no
                                                guard */
} ngx_http_rcache_near_t;


/* what has to be so still when a copy is used */

typedef struct {
    uint64_t                     hash;
    uint64_t                     serial;     /* the caller's: equal or void */
    ngx_atomic_uint_t            generation;
    uint32_t                     voids;
    ngx_uint_t                   guard;
    ngx_msec_t                   made;       /* it was asked for */
} ngx_http_rcache_near_fill_t;


/*
 * The init handler of the memory, for which the name is, with the layout; old:
 * there was one before.  NGX_OK, NGX_ERROR.  *era is to be that of the near
 * caches of all processes of this configuration, for the copies of another one
 * may be from another server.
 */

ngx_int_t ngx_http_rcache_near_init(ngx_shm_zone_t *shm, ngx_uint_t *era);

/* in each process; what one of the same number has left behind is given up */

void ngx_http_rcache_near_init_process(ngx_http_rcache_near_t *near,
    ngx_shm_zone_t *shm, ngx_uint_t era);

/* the process ends, and hears nothing any more */

void ngx_http_rcache_near_exit_process(ngx_http_rcache_near_t *near);


/*
 * Guards, of the worker that calls.  take: a free one, NGX_ERROR if there is
 * none.  alive: the server was asked then, in ngx_current_msec, and all that it
 * had to tell by then has been heard.  renew: what was read so far is void.
 * used: when a copy of it was used, about.
 */

ngx_int_t ngx_http_rcache_near_guard_take(ngx_http_rcache_near_t *near);
void ngx_http_rcache_near_guard_alive(ngx_http_rcache_near_t *near,
    ngx_uint_t guard, ngx_msec_t since);
void ngx_http_rcache_near_guard_renew(ngx_http_rcache_near_t *near,
    ngx_uint_t guard);
void ngx_http_rcache_near_guard_drop(ngx_http_rcache_near_t *near,
    ngx_uint_t guard);
ngx_msec_t ngx_http_rcache_near_guard_used(ngx_http_rcache_near_t *near,
    ngx_uint_t guard);


/* true if it was asked for within that time before, in milliseconds */

ngx_uint_t ngx_http_rcache_near_again(ngx_http_rcache_near_t *near,
    uint64_t hash, ngx_msec_t within);

/* before the server is asked for the key of fill->hash, through that guard */

void ngx_http_rcache_near_begin(ngx_http_rcache_near_t *near,
    ngx_uint_t guard, ngx_http_rcache_near_fill_t *fill);

/*
 * What the server said; it is used until then at most.  NGX_OK; NGX_ABORT: it
 * has changed meanwhile, or nobody would know; NGX_DECLINED: there is no place
 * for it, or no time.
 */

ngx_int_t ngx_http_rcache_near_put(ngx_http_rcache_near_t *near,
    ngx_http_rcache_near_fill_t *fill, ngx_str_t *key, ngx_str_t *value,
    ngx_msec_t until);

/*
 * The value, in memory of the pool; age: milliseconds at most since it was
 * asked for.  now: of the clock of ngx_current_msec, and not older than a
 * moment.  NGX_OK; NGX_DECLINED: ask the server; NGX_ERROR: out of memory.
 */

ngx_int_t ngx_http_rcache_near_get(ngx_http_rcache_near_t *near,
    ngx_str_t *key, uint64_t hash, uint64_t serial, ngx_msec_t now,
    ngx_msec_t age, ngx_pool_t *pool, ngx_str_t *value);

/* it has changed, or will in a moment */

void ngx_http_rcache_near_void(ngx_http_rcache_near_t *near, uint64_t hash);

/* a state that one of all workers tells of: true if it is another one now */

ngx_uint_t ngx_http_rcache_near_refused(ngx_http_rcache_near_t *near,
    ngx_uint_t refused);

/* and whether it is so, and was so a moment ago */

ngx_uint_t ngx_http_rcache_near_useless(ngx_http_rcache_near_t *near,
    ngx_msec_t pause);


#endif /* _NGX_HTTP_RCACHE_NEAR_SHM_H_INCLUDED_ */
