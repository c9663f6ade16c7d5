
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

/*
 * ngx_http_rcache_admin.c: redis_proxy_cache_admin.  merge: the zone has to be
 * there, and its log is followed.
 */

char *ngx_http_rcache_set_admin(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_admin_merge(ngx_conf_t *cf,
    ngx_http_rcache_purge_conf_t *conf);

/*
 * ngx_http_rcache_admin_jobs.c: what becomes of purges by a regex, a JSON
 * array.  NGX_OK, NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_admin_jobs(ngx_pool_t *pool,
    ngx_http_rcache_zone_t *zone, ngx_str_t *json);

/* how many more regexes there may be */

ngx_uint_t ngx_http_rcache_admin_room(ngx_http_rcache_zone_t *zone);

/*
 * ngx_http_rcache_admin_json.c: takes apart what is to be purged.  NGX_OK;
 * NGX_DECLINED: it is wrong, and *error, a sentence in the pool or in static
 * storage, says how; NGX_ERROR.
 */

typedef struct {
    ngx_array_t       pairs;    /* ngx_str_t, of the record */
    ngx_array_t       urls;     /* ngx_str_t, cache keys */
    ngx_uint_t        tags;
    ngx_uint_t        prefixes;
    ngx_uint_t        users;
    ngx_uint_t        regexes;
    ngx_uint_t        stops;    /* jobs that are to be stopped */
    ngx_uint_t        all;      /* unsigned  all:1; */
    ngx_uint_t        soft;     /* unsigned  soft:1; */

    /* while it is taken apart */
    ngx_pool_t       *pool;
    rcache_secrets_t *secrets;  /* NULL: none */
    const char       *error;
} ngx_http_rcache_admin_purge_t;

ngx_int_t ngx_http_rcache_admin_json(ngx_pool_t *pool, ngx_str_t *text,
    rcache_secrets_t *secrets, ngx_http_rcache_admin_purge_t *purge,
    const char **error);


#endif /* _NGX_HTTP_RCACHE_ADMIN_H_INCLUDED_ */
