
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A fetch on which more depends than one client: others wait for it, or there
 * is a stale response that is better than a failure.
 */


#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_response.h"


#define NGX_HTTP_RCACHE_FAILURES                                              \
    (NGX_HTTP_UPSTREAM_FT_ERROR                                               \
     |NGX_HTTP_UPSTREAM_FT_TIMEOUT                                            \
     |NGX_HTTP_UPSTREAM_FT_INVALID_HEADER                                     \
     |NGX_HTTP_UPSTREAM_FT_STATUS)


static ngx_int_t ngx_http_rcache_fetch_handler(ngx_http_request_t *r);
static void ngx_http_rcache_finalize(ngx_http_request_t *r, ngx_int_t rc);
static ngx_uint_t ngx_http_rcache_failure(ngx_http_request_t *r,
    ngx_uint_t status);
static ngx_uint_t ngx_http_rcache_broken(ngx_http_upstream_t *u);


void
ngx_http_rcache_fetch(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    if (r->content_handler == NULL
        || !(ctx->leader || (ctx->stale_use & NGX_HTTP_RCACHE_FAILURES)))
    {
        return;
    }

    ctx->handler = r->content_handler;
    r->content_handler = ngx_http_rcache_fetch_handler;
}


static ngx_int_t
ngx_http_rcache_fetch_handler(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_uint_t                 guarded;
    ngx_http_upstream_t       *u;
    ngx_http_rcache_ctx_t     *ctx;
    ngx_http_core_loc_conf_t  *clcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL) {

        /* a clone of such a request */

        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        return clcf->handler ? clcf->handler(r) : NGX_DECLINED;
    }

    /*
     * An error_page would redirect the request before our filter sees that
     * the upstream has failed.  A failure at once, with no upstream alive,
     * does not give time for the hook below.
     */

    guarded = (ctx->stale_use & NGX_HTTP_UPSTREAM_FT_ERROR) && !r->error_page;

    if (guarded) {
        r->error_page = 1;
    }

    rc = ctx->handler(r);

    if (ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module) != ctx) {
        return rc;
    }

    if (guarded) {
        r->error_page = 0;
    }

    u = r->upstream;

    if (ctx->state != NGX_HTTP_RCACHE_FILL || u == NULL) {
        return rc;
    }

    if (ctx->stale_use & NGX_HTTP_RCACHE_FAILURES) {
        ctx->finalize = u->finalize_request;
        u->finalize_request = ngx_http_rcache_finalize;
    }

    if (ctx->leader) {
        ngx_http_rcache_shelter(r, ctx);
    }

    return rc;
}


void
ngx_http_rcache_shelter(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->state != NGX_HTTP_RCACHE_FILL
        || r->upstream == NULL
        || r->upstream->cleanup == NULL)
    {
        return;
    }

    ctx->reading = r->read_event_handler;

    r->read_event_handler = ngx_http_rcache_sheltered;
    r->write_event_handler = ngx_http_request_empty_handler;
}


/*
 * In HTTP/2 a client that goes is told to who reads alone, while who writes may
 * wait for it to take more, and does not read from the upstream meanwhile.
 */

void
ngx_http_rcache_sheltered(ngx_http_request_t *r)
{
    ngx_event_t  *wev;

    ngx_http_block_reading(r);

    if (!r->connection->error) {
        return;
    }

    wev = r->connection->write;

    wev->active = 0;
    wev->ready = 1;

    ngx_post_event(wev, &ngx_posted_events);
}


/* the upstream is done with, and the request is about to be finalized */

static void
ngx_http_rcache_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_rcache_find_ctx(r);

    if (ctx == NULL) {
        return;
    }

    ctx->finalize(r, rc);

    if (ctx->state == NGX_HTTP_RCACHE_FILL && rc >= NGX_HTTP_SPECIAL_RESPONSE)
    {
        ctx->failure = ngx_http_rcache_failure(r, (ngx_uint_t) rc);

        ngx_http_rcache_purge_recheck(ctx);

        if (ctx->stale_use & ctx->failure) {
            r->error_page = 1;
        }
    }
}


ngx_uint_t
ngx_http_rcache_failed(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_uint_t  failure;

    if (ctx->stale_use == 0) {
        return 0;
    }

    ngx_http_rcache_purge_recheck(ctx);

    failure = ctx->failure;

    if (failure == 0) {
        failure = ngx_http_rcache_failure(r, r->headers_out.status);
    }

    return failure & ctx->stale_use;
}


/* NGX_HTTP_UPSTREAM_FT_*, 0 if it is none */

static ngx_uint_t
ngx_http_rcache_failure(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_uint_t            said;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    /* by the upstream itself, or by nginx of it? */

    said = (u == NULL || u->headers_in.status_n == status);

    switch (status) {

    case NGX_HTTP_INTERNAL_SERVER_ERROR:
        return NGX_HTTP_UPSTREAM_FT_HTTP_500;

    case NGX_HTTP_BAD_GATEWAY:

        if (said) {
            return NGX_HTTP_UPSTREAM_FT_HTTP_502;
        }

        return ngx_http_rcache_broken(u);

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return NGX_HTTP_UPSTREAM_FT_HTTP_503;

    case NGX_HTTP_GATEWAY_TIME_OUT:
        return said ? NGX_HTTP_UPSTREAM_FT_HTTP_504
                    : NGX_HTTP_UPSTREAM_FT_TIMEOUT;

    case NGX_HTTP_FORBIDDEN:
        return NGX_HTTP_UPSTREAM_FT_HTTP_403;

    case NGX_HTTP_NOT_FOUND:
        return NGX_HTTP_UPSTREAM_FT_HTTP_404;

    case NGX_HTTP_TOO_MANY_REQUESTS:
        return NGX_HTTP_UPSTREAM_FT_HTTP_429;

    default:
        return 0;
    }
}


/* was it the connection, or what came over it? */

static ngx_uint_t
ngx_http_rcache_broken(ngx_http_upstream_t *u)
{
    ngx_connection_t  *c;

    c = u->peer.connection;

    if (c == NULL
        || c->read->eof || c->read->error || c->error
        || u->state == NULL || u->state->bytes_received == 0)
    {
        return NGX_HTTP_UPSTREAM_FT_ERROR;
    }

    return NGX_HTTP_UPSTREAM_FT_INVALID_HEADER;
}


ngx_int_t
ngx_http_rcache_instead(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    ngx_http_rcache_flight_end(ctx, '!', rlcf->refresh_pause);

    if (ctx->background) {
        ctx->state = NGX_HTTP_RCACHE_PASS;
        return NGX_OK;
    }

    ngx_http_clean_header(r);

    r->err_status = 0;
    r->error_page = 0;

    ctx->status = NGX_HTTP_RCACHE_STALE;
    ctx->state = NGX_HTTP_RCACHE_INSTEAD;
    ctx->instead = 1;

    return ngx_http_rcache_head_restore(r, &ctx->entry) == NGX_OK
           ? NGX_OK : NGX_ERROR;
}
