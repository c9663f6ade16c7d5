
/*
 * Private to the files that follow the log of purges: ngx_http_rcache_follow.c,
 * who asks for it and when, and ngx_http_rcache_follow_log.c, what it says.
 */


#ifndef _NGX_HTTP_RCACHE_FOLLOW_H_INCLUDED_
#define _NGX_HTTP_RCACHE_FOLLOW_H_INCLUDED_


#include "ngx_http_rcache.h"


/* records at once */

#define NGX_HTTP_RCACHE_FOLLOW_COUNT  100


struct ngx_http_rcache_follow_s {
    ngx_http_rcache_zone_t        *zone;
    ngx_http_rcache_purges_t      *purges;
    ngx_atomic_uint_t              identity; /* of the log */
    ngx_http_rcache_redis_conf_t   conf;
    ngx_http_rcache_redis_t       *redis;
    ngx_slab_pool_t               *pool;
    ngx_http_rcache_regexes_t     *regexes;
    rcache_purge_id_t              ahead;    /* of the server, said an
                                                entry before this beat */
    ngx_str_t                      key;
    ngx_event_t                    timer;
    ngx_msec_t                     began;    /* the last beat */
    ngx_msec_t                     kept;     /* the last PEXPIRE */
    int64_t                        added;    /* by XINFO, -1: unknown */
    ngx_uint_t                     sent;     /* of those that catch up */
    ngx_uint_t                     caught;
    ngx_uint_t                     refused;  /* unsigned  refused:1; */
    ngx_uint_t                     odd;      /* unsigned  odd:1; */
};


/* what is behind an operation */

typedef struct {
    ngx_http_rcache_follow_t      *follow;
    rcache_purge_id_t              known;    /* when it was sent */
    ngx_uint_t                     n;        /* 0: of a beat */
} ngx_http_rcache_follow_op_t;


/*
 * ngx_http_rcache_follow.c.  send: NGX_OK: the handler will be called;
 * NGX_ERROR.  n is of those that catch up, 0 of a beat.  done: a handler that
 * wants to know nothing.  next: the XREAD of a beat has its reply, or NULL, of
 * which became NGX_OK, NGX_AGAIN, there is more, or NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_follow_send(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_redis_t *redis, ngx_http_rcache_lane_e lane,
    ngx_str_t *argv, ngx_uint_t argc, ngx_http_rcache_op_pt handler,
    ngx_uint_t n);
void ngx_http_rcache_follow_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
void ngx_http_rcache_follow_next(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_reply_t *reply, ngx_int_t rc);


/* ngx_http_rcache_follow_log.c: handlers of XINFO and XREAD */

void ngx_http_rcache_follow_info_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
void ngx_http_rcache_follow_read_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


#endif /* _NGX_HTTP_RCACHE_FOLLOW_H_INCLUDED_ */
