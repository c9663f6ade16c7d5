
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Store first, then tell.  Whoever has seen the end of a response may ask
 * for it again, here or at another instance, and is to be given that one.  So
 * where another entry would be served until Redis has the new one, or there is
 * no lock to wait for, the last buffers of a response wait for Redis: for one
 * round trip, and never longer than what is left of the budget; not at all
 * if Redis has failed this request before.  What came before them has been
 * sent already; if much of it comes together with them, it is sent now, but for
 * the last buffer.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_store.h"


/* bytes: what is worth a write of its own */

#define NGX_HTTP_RCACHE_HOLD_FRONT  32768


static ngx_chain_t **ngx_http_rcache_hold_last(ngx_chain_t **in);
static ngx_int_t ngx_http_rcache_hold_start(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_hold_timeout(ngx_event_t *ev);


ngx_int_t
ngx_http_rcache_hold(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_chain_t *in)
{
    ngx_int_t     rc;
    ngx_chain_t  *last, **ll;

    last = in;

    if (ctx->state != NGX_HTTP_RCACHE_HOLD) {

        if (ngx_http_rcache_hold_start(r, ctx) != NGX_OK) {
            return ngx_http_rcache_output(r, in);
        }

        ll = ngx_http_rcache_hold_last(&in);

        if (ll) {
            last = *ll;
            *ll = NULL;

            rc = ngx_http_rcache_output(r, in);

            /* it is a chain of those who have it made */

            *ll = last;

            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }
        }
    }

    if (ngx_chain_add_copy(r->pool, &ctx->held, last) != NGX_OK) {
        return NGX_ERROR;
    }

    r->buffered |= NGX_HTTP_RCACHE_BUFFERED;

    return NGX_OK;
}


/* the link to the last buffer of the body; NULL: there is little before it */

static ngx_chain_t **
ngx_http_rcache_hold_last(ngx_chain_t **in)
{
    off_t          size, front;
    ngx_chain_t  **ll, **last;

    size = 0;
    front = 0;
    last = NULL;

    for (ll = in; *ll; ll = &(*ll)->next) {

        if (ngx_buf_size((*ll)->buf)) {
            last = ll;
            front = size;
            size += ngx_buf_size((*ll)->buf);
        }
    }

    return (front >= NGX_HTTP_RCACHE_HOLD_FRONT) ? last : NULL;
}


/*
 * nginx's write filter keeps what it is given while c->write->delayed, which
 * limit_rate uses.  HTTP/2 does not ask it for a header.
 */

void
ngx_http_rcache_hold_header(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    if (r != r->main
        || r->http_version >= NGX_HTTP_VERSION_20
        || r->connection->write->delayed
        || ngx_http_rcache_hold_start(r, ctx) != NGX_OK)
    {
        return;
    }

    ctx->delayed = 1;
    r->connection->write->delayed = 1;
}


/* NGX_DECLINED: the budget is used up */

static ngx_int_t
ngx_http_rcache_hold_start(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (ctx->impatient || ctx->waited >= rlcf->budget) {
        return NGX_DECLINED;
    }

    ctx->state = NGX_HTTP_RCACHE_HOLD;

    ngx_http_rcache_late(ctx, ngx_http_rcache_hold_timeout,
                         rlcf->budget - ctx->waited);

    return NGX_OK;
}


void
ngx_http_rcache_hold_add(ngx_http_rcache_write_t *write,
    ngx_http_rcache_ctx_t *ctx)
{
    write->ctx = ctx;
    write->next = ctx->write;

    ctx->write = write;
}


/* they may be on several servers: all of them count */

void
ngx_http_rcache_hold_done(ngx_http_rcache_write_t *write)
{
    ngx_http_rcache_ctx_t    *ctx;
    ngx_http_rcache_write_t  **p;

    ctx = write->ctx;

    if (ctx == NULL) {
        return;
    }

    write->ctx = NULL;

    for (p = &ctx->write; *p; p = &(*p)->next) {

        if (*p == write) {
            *p = write->next;
            break;
        }
    }

    if (ctx->write == NULL) {
        ngx_http_rcache_release(ctx);
    }
}


void
ngx_http_rcache_hold_forget(ngx_http_rcache_ctx_t *ctx)
{
    for ( /* void */ ; ctx->write; ctx->write = ctx->write->next) {
        ctx->write->ctx = NULL;
    }
}


void
ngx_http_rcache_hold_pass(ngx_http_rcache_ctx_t *from,
    ngx_http_rcache_ctx_t *to)
{
    ngx_http_rcache_write_t  *write;

    while (from->write) {
        write = from->write;
        from->write = write->next;

        ngx_http_rcache_hold_add(write, to);
    }
}


static void
ngx_http_rcache_hold_timeout(ngx_event_t *ev)
{
    ngx_http_rcache_ctx_t *ctx = ev->data;

    ngx_http_rcache_release(ctx);
}


void
ngx_http_rcache_release(ngx_http_rcache_ctx_t *ctx)
{
    ngx_chain_t         *out;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_rcache_hold_forget(ctx);

    if (ctx->state != NGX_HTTP_RCACHE_HOLD) {
        return;
    }

    ctx->late_handler = NULL;

    ngx_http_set_log_request(c->log, r);

    ctx->state = NGX_HTTP_RCACHE_PASS;

    if (ctx->delayed) {
        ctx->delayed = 0;
        c->write->delayed = 0;
    }

    r->buffered &= ~NGX_HTTP_RCACHE_BUFFERED;

    out = ctx->held;
    ctx->held = NULL;

    if (out && ngx_http_rcache_output(r, out) == NGX_ERROR) {
        c->error = 1;
    }

    /* whoever writes now, the upstream or ngx_http_writer(), goes on */

    if (ngx_http_post_request(r, NULL) != NGX_OK) {
        c->error = 1;
    }

    ngx_http_run_posted_requests(c);
}
