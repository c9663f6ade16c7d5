
/*
 * What is configured of bodies: how they are cut, and what they may cost.
 * Part of the location configuration, ngx_http_rcache_conf_body.c.
 */


#ifndef _NGX_HTTP_RCACHE_BODY_CONF_H_INCLUDED_
#define _NGX_HTTP_RCACHE_BODY_CONF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    size_t  segment;              /* bytes of a body in one Redis key */
    size_t  min_size;
    size_t  in_flight;            /* of a request, on its way to Redis */
    size_t  in_flight_all;        /* of a worker, in all zones' requests */
    ngx_flag_t    resume;

    ngx_uint_t    compress;       /* RCACHE_CODING_* */
    ngx_int_t     level;
    size_t        min_length;
    ngx_uint_t    pass;           /* to clients that accept it */
    ngx_hash_t    types;
    ngx_array_t  *types_keys;
} ngx_http_rcache_body_conf_t;


/* those of redis_proxy_cache_compress_types that need not be named */

extern ngx_str_t  ngx_http_rcache_compress_types[];


#endif /* _NGX_HTTP_RCACHE_BODY_CONF_H_INCLUDED_ */
