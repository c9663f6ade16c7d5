
/*
 * What the workers of one instance know together about a zone's Redis.  It
 * is in the zone's shared memory:
 *
 *     slab pool | ngx_http_rcache_health_t (pool->data) | uses | flights
 *     | purges | evict | lost | stats
 *
 * A memory with another layout version is not used and set up anew, which
 * loses nothing but knowledge that comes back by itself.
 *
 * src/http calls it; it calls nothing but nginx.
 */


#ifndef _NGX_HTTP_RCACHE_HEALTH_H_INCLUDED_
#define _NGX_HTTP_RCACHE_HEALTH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "../core/rcache_sample.h"
#include "ngx_http_rcache_evict.h"
#include "ngx_http_rcache_flights.h"
#include "ngx_http_rcache_lost.h"
#include "ngx_http_rcache_purges.h"
#include "ngx_http_rcache_places.h"
#include "ngx_http_rcache_stats.h"
#include "ngx_http_rcache_uses.h"


#define NGX_HTTP_RCACHE_SHM_LAYOUT  11


/* what can be wrong, each for itself */

typedef enum {
    NGX_HTTP_RCACHE_HEALTH_CONNECT = 0,
    NGX_HTTP_RCACHE_HEALTH_LOOKUP,
    NGX_HTTP_RCACHE_HEALTH_STORE,
    NGX_HTTP_RCACHE_HEALTH_N
} ngx_http_rcache_health_e;


/* how much of Redis the zone takes, under the mutex but for next */

typedef struct {
    ngx_atomic_t      next;       /* sample, in ngx_current_msec; 0: now */
    ngx_uint_t        master;     /* that it is of */
    uint64_t          cursor;
    rcache_sample_t   sample;
} ngx_http_rcache_health_sample_t;


typedef struct {
    ngx_uint_t     layout;
    ngx_atomic_t   bad[NGX_HTTP_RCACHE_HEALTH_N];

    /* while bad[CONNECT]: when to ask again, in ngx_current_msec, which is
       monotonic and the same for all processes of a machine */
    ngx_atomic_t   retry;

    ngx_http_rcache_uses_t        *uses;
    ngx_http_rcache_flights_sh_t  *flights;
    ngx_http_rcache_purges_t      *purges;

    ngx_http_rcache_places_t       places;    /* while Redis is away */
    ngx_http_rcache_health_sample_t  sample;

    /* of the Redis room, which alone knows what is in it */
    void          *redis;
    size_t         redis_size;
    ngx_http_rcache_evict_t       *evict;
    ngx_http_rcache_lost_sh_t     *lost;
    ngx_http_rcache_stats_sh_t    *stats;    /* the owner creates it */
} ngx_http_rcache_health_t;


/* the init handler of the zone; shm->data is the owner's */

ngx_int_t ngx_http_rcache_health_init(ngx_shm_zone_t *shm, void *old);

/*
 * Memory of that size for the Redis room, zeroed if it is new; when the shared
 * memory is initialised.  Sizes other than the one before take new memory.
 */

ngx_int_t ngx_http_rcache_health_redis(ngx_shm_zone_t *shm, size_t size);

/* true if this call changed the state, so that one worker logs it */

ngx_uint_t ngx_http_rcache_health_set(ngx_http_rcache_health_t *health,
    ngx_http_rcache_health_e what, ngx_uint_t bad);

/* Redis is gone, and is to be left alone for that many milliseconds */

void ngx_http_rcache_health_pause(ngx_http_rcache_health_t *health,
    ngx_msec_t retry);

/* true while Redis is to be left alone */

ngx_uint_t ngx_http_rcache_health_paused(ngx_http_rcache_health_t *health);


#endif /* _NGX_HTTP_RCACHE_HEALTH_H_INCLUDED_ */
