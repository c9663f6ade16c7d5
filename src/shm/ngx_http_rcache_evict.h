
/*
 * Which entries are expected to be in Redis, to tell one that was evicted from
 * one that never was or that is over.  A table in the zone's shared memory;
 * a place has two words:
 *
 *     32 bits of the key's hash | 32 bits: the second until it is expected
 *     since when, in microseconds
 *
 * A key that comes to the place of another takes it.  What is stored here is
 * known here: entries of other instances are expected by those.  No lock.
 * src/http calls it.
 */


#ifndef _NGX_HTTP_RCACHE_EVICT_H_INCLUDED_
#define _NGX_HTTP_RCACHE_EVICT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    volatile uint64_t              word;
    volatile uint64_t              since;
} ngx_http_rcache_evict_place_t;


typedef struct {
    ngx_uint_t                     mask;   /* number of places less one */
    ngx_http_rcache_evict_place_t  place[1];
} ngx_http_rcache_evict_t;


/* about the given size, in bytes, from the pool; NULL if it is not there */

ngx_http_rcache_evict_t *ngx_http_rcache_evict_create(
    ngx_slab_pool_t *pool, size_t size);

/* for so many milliseconds, since a time in microseconds; 0: no longer */

void ngx_http_rcache_evict_expect(ngx_http_rcache_evict_t *evict,
    uint64_t hash, int64_t ttl, uint64_t since);

/*
 * It was not there when that was asked: was it expected then?  It is not any
 * more.
 */

ngx_uint_t ngx_http_rcache_evicted(ngx_http_rcache_evict_t *evict,
    uint64_t hash, uint64_t asked);


#endif /* _NGX_HTTP_RCACHE_EVICT_H_INCLUDED_ */
