
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
    ngx_http_rcache_where_t      purge;
    ngx_http_rcache_where_t      admin;      /* not inherited */
    ngx_str_t                    key_text;
    ngx_uint_t                   verified;   /* unsigned  verified:1;
                                                clients have certificates */
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

/*
 * ngx_http_rcache_lint_guard.c, what other modules do in a location.  guarded:
 * let users in by what they know; closed: that, or anything that may keep
 * somebody out.  verified: of the server whose configuration is merged.
 * authorizes: send an Authorization that is not the client's; hides: keep
 * Set-Cookie from it.
 */

ngx_uint_t ngx_http_rcache_lint_guarded(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf);
ngx_uint_t ngx_http_rcache_lint_closed(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf);
ngx_uint_t ngx_http_rcache_lint_verified(ngx_conf_t *cf);
ngx_uint_t ngx_http_rcache_lint_authorizes(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf);
ngx_uint_t ngx_http_rcache_lint_hides(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf);


#endif /* _NGX_HTTP_RCACHE_LINT_H_INCLUDED_ */
