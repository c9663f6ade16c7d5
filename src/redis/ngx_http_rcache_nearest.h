
/*
 * Private to the Redis room: which of the servers that have a key are near.
 *
 * Each worker measures for itself, about once a second as long as there are
 * lookups, how long a master and its replicas take to answer ROLE, over the
 * connection that lookups go over.  All of them are asked in the same turn of
 * the event loop, so what the worker adds to it is the same for all.  What
 * counts is the least of the last three: an answer may be late for many
 * reasons, but it is never early.
 */


#ifndef _NGX_HTTP_RCACHE_NEAREST_H_INCLUDED_
#define _NGX_HTTP_RCACHE_NEAREST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_RCACHE_NEAREST_SAMPLES  3


/* of a server, in a worker; times in microseconds */

typedef struct {
    ngx_msec_t   due;          /* of a master: when all that have its keys are
                                  measured, in ngx_current_msec */
    uint64_t     began;        /* 0: nothing is under way */
    ngx_uint_t   serial;       /* of the connection that was measured */
    uint32_t     took[NGX_HTTP_RCACHE_NEAREST_SAMPLES];
                               /* 0: there is none yet */
    uint32_t     least;        /* of them */
    ngx_uint_t   turn;
    ngx_uint_t   near;         /* unsigned  near:1; */
} ngx_http_rcache_nearest_t;


struct ngx_http_rcache_node_s;
struct ngx_http_rcache_op_s;


/*
 * nodes[0] is the master, the others are its replicas.  NGX_OK: one of them
 * will answer it; NGX_DECLINED: the master has to.
 */
ngx_int_t ngx_http_rcache_nearest_submit(struct ngx_http_rcache_node_s **nodes,
    ngx_uint_t n, ngx_uint_t slot, struct ngx_http_rcache_op_s *op);


#endif /* _NGX_HTTP_RCACHE_NEAREST_H_INCLUDED_ */
