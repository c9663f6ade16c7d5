
/*
 * What Redis may have and should not: keys and tags whose invalidation did not
 * get there yet, for all workers of an instance.  A table in the zone's shared
 * memory; a place counts those that wait whose hash leads there, and has a
 * time: until when that counts, for a worker that dies takes back nothing; or,
 * if none waits, when the last one got there: what was asked for before may
 * have been read before.  Two that share a place suffer for each other.  Times
 * are those of CLOCK_MONOTONIC, in milliseconds.
 *
 * Written under the lock of the slab pool, which nginx's master unlocks for a
 * process that died with it; readers take none.  src/http calls it.
 */


#ifndef _NGX_HTTP_RCACHE_LOST_H_INCLUDED_
#define _NGX_HTTP_RCACHE_LOST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_uint_t                     n;
    ngx_msec_t                     time;
} ngx_http_rcache_lost_place_t;


typedef struct {
    ngx_uint_t                     n;      /* in all places */
    ngx_msec_t                     time;   /* when the last one got there */
    ngx_uint_t                     mask;   /* number of places less one */
    ngx_http_rcache_lost_place_t   place[1];
} ngx_http_rcache_lost_sh_t;


/* about the given size, in bytes, from the pool; NULL if it is not there */

ngx_http_rcache_lost_sh_t *ngx_http_rcache_lost_create(ngx_slab_pool_t *pool,
    size_t size);

/* each is to be taken back before that time, once, with the time when it is */

void ngx_http_rcache_lost_mark(ngx_http_rcache_lost_sh_t *sh,
    ngx_shmtx_t *mutex, uint64_t hash, ngx_msec_t until);
void ngx_http_rcache_lost_unmark(ngx_http_rcache_lost_sh_t *sh,
    ngx_shmtx_t *mutex, uint64_t hash, ngx_msec_t now);

/*
 * Was it asked for, at that time, before Redis knew?  any: false if that is so
 * for nothing, and that is nearly always so.
 */

#define ngx_http_rcache_lost_any(sh, asked)                                   \
    (__atomic_load_n(&(sh)->n, __ATOMIC_RELAXED)                              \
     || (ngx_msec_int_t) (__atomic_load_n(&(sh)->time, __ATOMIC_RELAXED)      \
                          - (asked)) >= 0)

ngx_uint_t ngx_http_rcache_lost_marked(ngx_http_rcache_lost_sh_t *sh,
    uint64_t hash, ngx_msec_t asked);


#endif /* _NGX_HTTP_RCACHE_LOST_H_INCLUDED_ */
