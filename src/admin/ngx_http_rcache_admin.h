
/*
 * The admin room: what an operator asks of the cache.  It calls src/http and
 * what is below; only the module's own file knows it.
 */


#ifndef _NGX_HTTP_RCACHE_ADMIN_H_INCLUDED_
#define _NGX_HTTP_RCACHE_ADMIN_H_INCLUDED_


#include "../http/ngx_http_rcache.h"


/*
 * ngx_http_rcache_purge_handler.c: redis_proxy_cache_purge.  In the PRECONTENT
 * phase, in front of the lookup: behind every access check.
 */

ngx_int_t ngx_http_rcache_purge_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_RCACHE_ADMIN_H_INCLUDED_ */
