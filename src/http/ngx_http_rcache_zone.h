
/*
 * A zone, which is a Redis and what this instance has of it, and how all that
 * src/http asks of it gets there: ngx_http_rcache_zone.c.
 */


#ifndef _NGX_HTTP_RCACHE_ZONE_H_INCLUDED_
#define _NGX_HTTP_RCACHE_ZONE_H_INCLUDED_


#include "ngx_http_rcache.h"


ngx_http_rcache_zone_t *ngx_http_rcache_zone_find(
    ngx_http_rcache_main_conf_t *rmcf, ngx_str_t *name);
ngx_int_t ngx_http_rcache_zone_init_process(ngx_cycle_t *cycle,
    ngx_http_rcache_main_conf_t *rmcf);

/*
 * True if the reply is one that the lane's commands have.  What it says of
 * the server is logged when it changes, once for the instance.
 */

ngx_uint_t ngx_http_rcache_zone_accepts(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_lane_e lane, ngx_http_rcache_reply_t *reply);

/* reports a damaged entry, at most once a second and worker */

void ngx_http_rcache_zone_damaged(ngx_http_rcache_zone_t *zone,
    ngx_str_t *redis_key, rcache_reason_e reason);

/*
 * Submits an operation unless another worker has just found Redis gone.
 * RCACHE_REASON_NONE if it was accepted; otherwise it has been destroyed.
 */

rcache_reason_e ngx_http_rcache_zone_submit(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op);

/* the same, but what was not accepted is still the caller's */

rcache_reason_e ngx_http_rcache_zone_offer(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op);

rcache_reason_e ngx_http_rcache_op_reason(ngx_http_rcache_op_t *op);

/* ngx_http_rcache_sample.c: worker start; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_sample_init(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone);


#endif /* _NGX_HTTP_RCACHE_ZONE_H_INCLUDED_ */
