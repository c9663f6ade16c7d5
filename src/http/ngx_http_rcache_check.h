
/*
 * What a response must be, apart from what RFC 9111 says of its headers, to be
 * stored: its status, type and size, and what is in its body.  The filter
 * calls it beside the capture.
 */


#ifndef _NGX_HTTP_RCACHE_CHECK_H_INCLUDED_
#define _NGX_HTTP_RCACHE_CHECK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "../core/rcache_json.h"
#include "../core/rcache_reason.h"
#include "../core/rcache_type.h"


struct ngx_http_rcache_ctx_s;

typedef struct ngx_http_rcache_match_s    ngx_http_rcache_match_t;
typedef struct ngx_http_rcache_pattern_s  ngx_http_rcache_pattern_t;


typedef struct {
    ngx_array_t                *types;       /* ngx_str_t; NULL: the default */
    ngx_array_t                *statuses;    /* ngx_uint_t; NULL: any */
    ngx_array_t                *patterns;    /* ngx_http_rcache_pattern_t * */
    size_t                      window;      /* of the body, for these */
    ngx_flag_t                  extension;   /* the path must not promise
                                                another type */
    ngx_uint_t                  json;        /* NGX_CONF_UNSET_UINT, 0, 1 */
} ngx_http_rcache_check_conf_t;


/* of a body that is being stored */

typedef struct {
    ngx_http_rcache_match_t   **matches;     /* one for each pattern */
    ngx_uint_t                  n;
    rcache_json_t              *json;
    size_t                      left;        /* of the window */
} ngx_http_rcache_check_t;


/*
 * ngx_http_rcache_check.c.  RCACHE_REASON_NONE, or why the response is not
 * stored.  head: by r->headers_out.  begin: *check is NULL if the body is
 * anything that it likes.  feed: what of it has come, before it is sent; end:
 * all of it has.
 */

rcache_reason_e ngx_http_rcache_check_head(ngx_http_request_t *r);
rcache_reason_e ngx_http_rcache_check_begin(ngx_http_request_t *r,
    ngx_http_rcache_check_t **check);
rcache_reason_e ngx_http_rcache_check_feed(ngx_http_request_t *r,
    ngx_http_rcache_check_t *check, ngx_chain_t *in);
rcache_reason_e ngx_http_rcache_check_end(ngx_http_rcache_check_t *check);

/*
 * ngx_http_rcache_match.c: patterns by PCRE2, in text that comes in pieces.
 *
 * pattern: compiled, for as long as the configuration lives; NULL, and the
 * error in *err.  match: NULL if memory is short; it dies with the pool.
 *
 * feed: NGX_OK: it matches; NGX_DECLINED: it does not, or not yet; NGX_ERROR:
 * nobody can tell, by a limit or for memory.  last: nothing comes behind it.
 */

ngx_http_rcache_pattern_t *ngx_http_rcache_pattern_compile(ngx_conf_t *cf,
    ngx_str_t *text, ngx_uint_t literal, ngx_uint_t caseless, ngx_str_t *err);
ngx_http_rcache_match_t *ngx_http_rcache_match_create(ngx_pool_t *pool,
    ngx_http_rcache_pattern_t *pattern);
ngx_int_t ngx_http_rcache_match_feed(ngx_http_rcache_match_t *match,
    u_char *p, size_t len, ngx_uint_t last);


#endif /* _NGX_HTTP_RCACHE_CHECK_H_INCLUDED_ */
