
/*
 * How many fetches the workers of an instance have going together: a counter
 * for each process, so that one that is killed takes its own along.  In shared
 * memory, under the lock of the slab pool, which nginx's master unlocks for a
 * process that died with it.
 *
 * src/http calls it; it calls nothing but nginx.
 */


#ifndef _NGX_HTTP_RCACHE_PLACES_H_INCLUDED_
#define _NGX_HTTP_RCACHE_PLACES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* processes, those of the cycle before counted */
#define NGX_HTTP_RCACHE_PLACES  128


typedef struct {
    ngx_pid_t    pid;                          /* 0: nobody's */
    ngx_uint_t   n;
} ngx_http_rcache_place_t;


typedef struct {
    ngx_msec_t               checked;          /* for processes that died */
    ngx_http_rcache_place_t  places[NGX_HTTP_RCACHE_PLACES];
} ngx_http_rcache_places_t;


/*
 * NGX_OK: there were fewer than max, there is one more; to be given back once.
 * NGX_DECLINED: there are as many.
 */

ngx_int_t ngx_http_rcache_places_take(ngx_http_rcache_places_t *places,
    ngx_shmtx_t *mutex, ngx_uint_t max);

void ngx_http_rcache_places_give(ngx_http_rcache_places_t *places,
    ngx_shmtx_t *mutex);


#endif /* _NGX_HTTP_RCACHE_PLACES_H_INCLUDED_ */
