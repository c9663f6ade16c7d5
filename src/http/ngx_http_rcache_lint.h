
/*
 * What nginx takes, and what is nevertheless an accident that waits to happen:
 * told when the configuration is read, with the line and the remedy.
 */


#ifndef _NGX_HTTP_RCACHE_LINT_H_INCLUDED_
#define _NGX_HTTP_RCACHE_LINT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* where a directive stands; line 0: nowhere */

typedef struct {
    ngx_str_t                    file;
    ngx_uint_t                   line;
} ngx_http_rcache_where_t;


/* of a location, inherited with what the directives say */

typedef struct {
    ngx_flag_t                   strict;
    ngx_http_rcache_where_t      cache;
    ngx_http_rcache_where_t      key;
    ngx_http_rcache_where_t      methods;
    ngx_http_rcache_where_t      ignore;
    ngx_http_rcache_where_t      user;
    ngx_str_t                    key_text;
} ngx_http_rcache_lint_conf_t;


/* of http{} */

typedef struct {
    ngx_array_t                  locations;  /* ngx_http_core_loc_conf_t * */
    ngx_array_t                  told;       /* of complaints */
} ngx_http_rcache_lint_t;


void ngx_http_rcache_where(ngx_conf_t *cf, ngx_http_rcache_where_t *where);

ngx_int_t ngx_http_rcache_lint_create(ngx_conf_t *cf,
    ngx_http_rcache_lint_t *lint);

/* before what the directives say is merged; takes note of the location */

ngx_int_t ngx_http_rcache_lint_merge(ngx_conf_t *cf, void *parent,
    void *child);

/* NGX_OK, or NGX_ERROR: something was said that is an error here */

ngx_int_t ngx_http_rcache_lint(ngx_conf_t *cf);


#endif /* _NGX_HTTP_RCACHE_LINT_H_INCLUDED_ */
