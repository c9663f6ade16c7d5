
/*
 * How a worker wakes other workers: a pipe for each, made by the master, so
 * that one which takes the place of another that died has the same.  A byte
 * says no more than "look again".
 *
 * At a reload the workers of two cycles work side by side on the same shared
 * memory.  So a cycle has the pipes of the one before it, its own, and those
 * of the one after it, which are made in advance: its workers will have no
 * other way to get them.  One pipe has one reader, ever.
 *
 *     cycle 1      own    next
 *     cycle 2    previous  own    next
 *     cycle 3           previous  own   next
 *
 * A set of workers is two words, for cycles with an even and with an odd
 * number; a bit is a worker.  Workers beyond the 64th have none, and no pipe:
 * they have to poll, as all have to if there are no pipes.
 *
 * src/http makes it, flights use it; it calls nothing but nginx.
 */


#ifndef _NGX_HTTP_RCACHE_WAKE_H_INCLUDED_
#define _NGX_HTTP_RCACHE_WAKE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


#define NGX_HTTP_RCACHE_WAKE_WORKERS  64


typedef struct ngx_http_rcache_pipes_s  ngx_http_rcache_pipes_t;


/* from the event loop, however often the worker was woken since */

typedef void (*ngx_http_rcache_wake_pt)(void *data);


typedef struct {
    uint64_t                   bit;     /* of this worker; 0: none */
    ngx_uint_t                 word;    /* of this cycle, 0 or 1 */

    ngx_http_rcache_pipes_t   *previous;
    ngx_http_rcache_pipes_t   *own;
    ngx_http_rcache_pipes_t   *next;

    ngx_http_rcache_wake_pt    handler;
    void                      *data;
} ngx_http_rcache_wake_t;


/*
 * In the master, once a cycle.  old: of the cycle before it, NULL if it had
 * none.  It goes with the cycle.  NULL: no pipes, which is logged if it is
 * not as it should be, and which all functions below take.
 */

ngx_http_rcache_wake_t *ngx_http_rcache_wake_init_module(ngx_cycle_t *cycle,
    ngx_http_rcache_wake_t *old);

/*
 * In each process.  All workers are woken by it, for this one may be here
 * because another has died.
 */

void ngx_http_rcache_wake_init_process(ngx_cycle_t *cycle,
    ngx_http_rcache_wake_t *wake, ngx_http_rcache_wake_pt handler,
    void *data);

/* workers: two words */

void ngx_http_rcache_wake(ngx_http_rcache_wake_t *wake, uint64_t *workers);


#endif /* _NGX_HTTP_RCACHE_WAKE_H_INCLUDED_ */
