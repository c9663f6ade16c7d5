
/*
 * Private to the Redis room: a server that answers, but too late, is worse
 * than none.  Each worker counts what it sees; the verdict is in shared
 * memory, one for each server, and all workers keep to it:
 *
 *     open: operations are refused, without a system call
 *     retry: when one operation, of whatever worker, is let through to see
 *     pause: how long the next wait will be, if that one is slow as well
 */


#ifndef _NGX_HTTP_RCACHE_BREAKER_H_INCLUDED_
#define _NGX_HTTP_RCACHE_BREAKER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_atomic_t   open;
    ngx_atomic_t   retry;                      /* in ngx_current_msec */
    ngx_atomic_t   pause;                      /* milliseconds */
} ngx_http_rcache_breaker_sh_t;


/* of a server, in a worker */

typedef struct {
    ngx_http_rcache_breaker_sh_t  *sh;
    ngx_http_rcache_breaker_sh_t   own;        /* if it has none in shared
                                                  memory */
    ngx_msec_t                     since;      /* when this was begun: */
    ngx_uint_t                     answers;
    ngx_uint_t                     slow;
} ngx_http_rcache_breaker_t;


struct ngx_http_rcache_node_s;


/* NGX_OK, or NGX_DECLINED while it is open */
ngx_int_t ngx_http_rcache_breaker_pass(ngx_http_rcache_breaker_t *breaker);

/* an answer that took so many milliseconds */
void ngx_http_rcache_breaker_answer(struct ngx_http_rcache_node_s *node,
    ngx_msec_t took);


#endif /* _NGX_HTTP_RCACHE_BREAKER_H_INCLUDED_ */
