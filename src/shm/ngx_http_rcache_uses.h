
/*
 * How often a key was asked for, for redis_proxy_cache_min_uses.  A table of
 * words in the zone's shared memory, one a place, each with a tag and a
 * count:
 *
 *     32 bits of the key's hash | 32 bits of count
 *
 * A key that comes to the place of another starts it over: what is rare
 * enough for that does not belong into the cache.  No lock, no list, no
 * expiry.  src/http calls it.
 */


#ifndef _NGX_HTTP_RCACHE_USES_H_INCLUDED_
#define _NGX_HTTP_RCACHE_USES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_uint_t     mask;                /* number of places less one */
    ngx_atomic_t   word[1];
} ngx_http_rcache_uses_t;


/*
 * Takes about the given size, in bytes, from the pool; NULL if it is not to
 * be had.
 */

ngx_http_rcache_uses_t *ngx_http_rcache_uses_create(ngx_slab_pool_t *pool,
    size_t size);

/* counts a use; returns how many there are with it */

ngx_uint_t ngx_http_rcache_uses_count(ngx_http_rcache_uses_t *uses,
    uint64_t hash);


#endif /* _NGX_HTTP_RCACHE_USES_H_INCLUDED_ */
