
/*
 * How many requests of an instance may ask the upstream at the same time while
 * Redis is away: an outage of the cache is not to become one of the API.  The
 * rest waits for a place, in order, for a bounded time, and is refused then.
 */


#ifndef _NGX_HTTP_RCACHE_FALLBACK_H_INCLUDED_
#define _NGX_HTTP_RCACHE_FALLBACK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


struct ngx_http_rcache_ctx_s;


/* of a location */

typedef struct {
    ngx_uint_t                  max;           /* 0: no limit */
    ngx_uint_t                  queue;         /* requests that may wait, a
                                                  worker */
    ngx_msec_t                  timeout;       /* and for how long */
    ngx_uint_t                  status;        /* of a refusal */
} ngx_http_rcache_fallback_conf_t;


/* of a zone, in a worker */

typedef struct {
    ngx_queue_t                 waiting;
    ngx_uint_t                  nwaiting;
    ngx_event_t                 tick;
    time_t                      told;          /* when it was last logged */
} ngx_http_rcache_fallback_t;


/* of a request */

typedef struct {
    ngx_queue_t                    queue;
    struct ngx_http_rcache_ctx_s  *ctx;
    ngx_uint_t                     waits;      /* unsigned  waits:1; */
    ngx_uint_t                     has;        /* unsigned  has:1; a place */
} ngx_http_rcache_fallback_ctx_t;


#endif /* _NGX_HTTP_RCACHE_FALLBACK_H_INCLUDED_ */
