
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What a client did not take nginx has put into a file, and gives it to the
 * filters as one buffer, however long it is.  To read all of it at once would
 * leave others without a turn, and Redis without the time to take it.  So what
 * is captured of it in one turn of the event loop is a piece; and when much is
 * on its way to Redis the next one waits, for as long as the request's budget
 * lasts.
 *
 * A piece is a buffer of our own, with which the filters behind us go on; the
 * one that nginx gave has its end with the last of them.  What waits is busy,
 * for nginx, so that it is neither used again nor freed.
 *
 * Of what comes first, in memory, the client gets one buffer before the rest
 * of it is copied.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_store.h"


/* bytes in a turn */

#define NGX_HTTP_RCACHE_PIECE            32768


/* in the pool of the request */

struct ngx_http_rcache_pieces_s {
    ngx_http_rcache_ctx_t  *ctx;
    ngx_event_t             event;
    ngx_chain_t            *rest;
    ngx_chain_t            *free;
    ngx_chain_t            *busy;
    ngx_msec_t              began;
    ngx_uint_t              waits;      /* unsigned  waits:1; */
};


static ngx_uint_t ngx_http_rcache_pieces_long(ngx_chain_t *in,
    ngx_uint_t memory);
static ngx_int_t ngx_http_rcache_pieces_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_pieces_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_rcache_pieces_next(ngx_http_request_t *r,
    ngx_http_rcache_pieces_t *pieces, ngx_chain_t **out);
static void ngx_http_rcache_pieces_wait(ngx_http_rcache_pieces_t *pieces);
static void ngx_http_rcache_pieces_cleanup(void *data);


ngx_int_t
ngx_http_rcache_pieces_body(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_chain_t *in)
{
    ngx_chain_t                first;
    ngx_http_rcache_pieces_t  *pieces;

    pieces = ctx->pieces;

    if ((pieces == NULL || pieces->rest == NULL)
        && !ngx_http_rcache_pieces_long(in, 0))
    {
        if (ngx_http_rcache_capture_begun(ctx->capture)
            || in->next == NULL
            || !ngx_http_rcache_pieces_long(in, 1))
        {
            return ngx_http_rcache_capture_body(r, ctx, in);
        }

        first.buf = in->buf;
        first.next = NULL;

        if (ngx_http_rcache_capture_body(r, ctx, &first) == NGX_ERROR) {
            return NGX_ERROR;
        }

        return ngx_http_rcache_take_body(r, ctx, in->next);
    }

    if (pieces == NULL) {
        if (ngx_http_rcache_pieces_create(r, ctx) != NGX_OK) {
            return NGX_ERROR;
        }

        pieces = ctx->pieces;
    }

    if (ngx_chain_add_copy(r->pool, &pieces->rest, in) != NGX_OK) {
        return NGX_ERROR;
    }

    r->buffered |= NGX_HTTP_RCACHE_BUFFERED;

    if (pieces->waits) {

        /* without a body it is the end of the upstream: see the handler */

        if (ngx_buf_size(in->buf) == 0) {
            ngx_http_rcache_pieces_resume(ctx);
        }

    } else if (!pieces->event.posted) {
        ngx_post_event(&pieces->event, &ngx_posted_next_events);
    }

    return NGX_OK;
}


/* of what is in memory, or of what is not */

static ngx_uint_t
ngx_http_rcache_pieces_long(ngx_chain_t *in, ngx_uint_t memory)
{
    off_t  size;

    size = 0;

    for ( /* void */ ; in; in = in->next) {

        if ((ngx_buf_in_memory(in->buf) != 0) == memory) {
            size += ngx_buf_size(in->buf);
        }
    }

    return size > NGX_HTTP_RCACHE_PIECE;
}


static ngx_int_t
ngx_http_rcache_pieces_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_pool_cleanup_t        *cln;
    ngx_http_rcache_pieces_t  *pieces;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_rcache_pieces_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    pieces = cln->data;
    ngx_memzero(pieces, sizeof(ngx_http_rcache_pieces_t));

    pieces->ctx = ctx;
    pieces->event.handler = ngx_http_rcache_pieces_handler;
    pieces->event.data = pieces;
    pieces->event.log = r->connection->log;

    cln->handler = ngx_http_rcache_pieces_cleanup;

    ctx->pieces = pieces;

    return NGX_OK;
}


static void
ngx_http_rcache_pieces_handler(ngx_event_t *ev)
{
    ngx_http_rcache_pieces_t *pieces = ev->data;

    ngx_int_t               rc;
    ngx_chain_t            *out;
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = pieces->ctx;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (pieces->waits) {
        pieces->waits = 0;
        ctx->waited += ngx_current_msec - pieces->began;
    }

    if (ctx->leader && r->read_event_handler == ngx_http_test_reading) {

        /* the upstream is done; if the client goes now, others wait still */

        ctx->reading = ngx_http_test_reading;
        r->read_event_handler = ngx_http_rcache_sheltered;
    }

    rc = ngx_http_rcache_pieces_next(r, pieces, &out);

    if (rc == NGX_OK) {
        rc = ngx_http_rcache_capture_body(r, ctx, out);

        ngx_chain_update_chains(r->pool, &pieces->free, &pieces->busy, &out,
                              (ngx_buf_tag_t) &ngx_http_rcache_pieces_body);
    }

    if (pieces->rest && ctx->state != NGX_HTTP_RCACHE_CAPTURE
        && rc != NGX_ERROR)
    {
        /* there is no more to capture */

        out = pieces->rest;
        pieces->rest = NULL;

        rc = ngx_http_rcache_take_body(r, ctx, out);
    }

    if (rc == NGX_ERROR) {
        c->error = 1;
        pieces->rest = NULL;
    }

    if (pieces->rest) {
        ngx_http_rcache_pieces_wait(pieces);

    } else if (ctx->state != NGX_HTTP_RCACHE_HOLD) {
        r->buffered &= ~NGX_HTTP_RCACHE_BUFFERED;
    }

    /* whoever writes now, the upstream or ngx_http_writer(), goes on */

    if (ngx_http_post_request(r, NULL) != NGX_OK) {
        c->error = 1;
    }

    ngx_http_run_posted_requests(c);
}


/* what is nginx's own moves on, of a long one a part of it is shown */

static ngx_int_t
ngx_http_rcache_pieces_next(ngx_http_request_t *r,
    ngx_http_rcache_pieces_t *pieces, ngx_chain_t **out)
{
    off_t         size;
    size_t        room;
    ngx_buf_t    *b, *part;
    ngx_chain_t  *cl, **ll;

    room = NGX_HTTP_RCACHE_PIECE;
    ll = out;

    while (pieces->rest && room) {
        b = pieces->rest->buf;
        size = ngx_buf_size(b);

        if (size > (off_t) room && !ngx_buf_in_memory(b)) {
            cl = ngx_chain_get_free_buf(r->pool, &pieces->free);
            if (cl == NULL) {
                return NGX_ERROR;
            }

            part = cl->buf;
            ngx_memzero(part, sizeof(ngx_buf_t));

            part->in_file = 1;
            part->temp_file = b->temp_file;
            part->file = b->file;
            part->file_pos = b->file_pos;
            part->file_last = b->file_pos + room;
            part->tag = (ngx_buf_tag_t) &ngx_http_rcache_pieces_body;

            b->file_pos = part->file_last;
            size = room;

        } else {
            cl = pieces->rest;
            pieces->rest = cl->next;
        }

        *ll = cl;
        ll = &cl->next;

        room -= (size_t) ngx_min(size, (off_t) room);
    }

    *ll = NULL;

    return NGX_OK;
}


static void
ngx_http_rcache_pieces_wait(ngx_http_rcache_pieces_t *pieces)
{
    ngx_http_rcache_ctx_t       *ctx;
    ngx_http_rcache_loc_conf_t  *rlcf;

    ctx = pieces->ctx;

    rlcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_redis_proxy_cache_module);

    if (!ngx_http_rcache_capture_full(ctx->capture)
        || ctx->impatient
        || ctx->waited >= rlcf->budget)
    {
        ngx_post_event(&pieces->event, &ngx_posted_next_events);
        return;
    }

    pieces->waits = 1;
    pieces->began = ngx_current_msec;

    ngx_add_timer(&pieces->event, rlcf->budget - ctx->waited);
}


void
ngx_http_rcache_pieces_resume(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_pieces_t  *pieces;

    pieces = ctx->pieces;

    if (pieces && pieces->waits && pieces->event.timer_set) {
        ngx_del_timer(&pieces->event);
        ngx_post_event(&pieces->event, &ngx_posted_next_events);
    }
}


/* NULL: nothing waits */

ngx_buf_t *
ngx_http_rcache_pieces_first(ngx_http_rcache_ctx_t *ctx)
{
    return (ctx->pieces && ctx->pieces->rest) ? ctx->pieces->rest->buf : NULL;
}


static void
ngx_http_rcache_pieces_cleanup(void *data)
{
    ngx_http_rcache_pieces_t *pieces = data;

    if (pieces->event.posted) {
        ngx_delete_posted_event(&pieces->event);
    }

    if (pieces->event.timer_set) {
        ngx_del_timer(&pieces->event);
    }
}
