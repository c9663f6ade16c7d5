
/*
 * What the content handler is asked for, and by whom: another request than the
 * client's, for more than the client, or behind its back.
 */


#ifndef _NGX_HTTP_RCACHE_FETCH_H_INCLUDED_
#define _NGX_HTTP_RCACHE_FETCH_H_INCLUDED_


#include "ngx_http_rcache.h"


/*
 * ngx_http_rcache_mask.c: shows the content handler another request than the
 * client's: without Range and If-*, with our own conditions if there is an
 * entry to be validated, GET for HEAD; and puts the client's back.
 * mask_range: to a request of our own, with these as its Range and If-Range.
 */

ngx_int_t ngx_http_rcache_mask(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_mask_range(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_str_t *range, rcache_str_t *if_range);
void ngx_http_rcache_unmask(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);


/*
 * ngx_http_rcache_stale.c: the stale entry in place of a failure.
 *
 * fetch: goes around the content handler of a request that leads, or has
 * something stale to fall back on.  failed: the response in r->headers_out is
 * a failure for which ctx has something stale.  instead: puts it there, and
 * ends the flight; NGX_OK, NGX_ERROR.  shelter: as with
 * proxy_ignore_client_abort, others want what is being fetched.  sheltered: the
 * handler of read events for as long as that is so.
 */

void ngx_http_rcache_fetch(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_shelter(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_sheltered(ngx_http_request_t *r);
ngx_uint_t ngx_http_rcache_failed(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_instead(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);


/*
 * ngx_http_rcache_detached.c: a request like r that has no client: a main
 * request of its own, on a connection without a socket, in the same location.
 * It refers to nothing of r: strings, header lines and variables that are
 * evaluated already are copied.
 *
 * r has the content handler, method and header lines that its client's
 * request has, and ctx an entry.  What is created has a ctx with what a
 * refresh needs of *ctx: zone, keys, marker, variant, seen, stale and the
 * entry without its body; it is marked background.  Its state is to be set.
 *
 * run: it begins with our handler of the PRECONTENT phase, at the end of this
 * turn.  close: ends it, with its ctx; not to be called from inside its own
 * handlers.  NULL if memory or connections are short.
 *
 * It sends nothing, asks no error_page and follows no internal redirect; it
 * is logged only where log_subrequest is on, as nginx's own are.
 */

ngx_http_request_t *ngx_http_rcache_detached_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_detached_run(ngx_http_request_t *r);
void ngx_http_rcache_detached_close(ngx_http_request_t *r);

/* it, or a subrequest of it */

ngx_uint_t ngx_http_rcache_is_detached(ngx_http_request_t *r);

/* ngx_http_rcache_detached_copy.c: copies of r, ctx, a string; NGX_ERROR */

ngx_int_t ngx_http_rcache_detached_copy(ngx_http_request_t *dr,
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_copy_str(ngx_pool_t *pool, ngx_str_t *to,
    ngx_str_t *from);


#endif /* _NGX_HTTP_RCACHE_FETCH_H_INCLUDED_ */
