
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * nginx reads from a fast upstream for as long as there is something to read
 * and the client takes it.  Meanwhile nobody else has a turn, and no answer of
 * Redis is seen.  So the rest of a body may be left for the next turn, or not
 * be read for a while.
 *
 * If the client does not take it nginx reads on, into a file, and no filter is
 * called; what is read is seen by the function alone that nginx gives it to,
 * which is ours from then on, also when the body is not to be stored any more.
 */


#include "ngx_http_rcache_body.h"


/* bytes; then others have a turn */

#define NGX_HTTP_RCACHE_THROTTLE_TURN  32768


/* in the pool of the request */

struct ngx_http_rcache_throttle_s {
    ngx_event_t                   event;
    ngx_http_rcache_ctx_t        *ctx;
    ngx_http_rcache_throttle_t  **owner;       /* NULL: it has left */
    ngx_connection_t             *connection;  /* that is not read from */
    ngx_msec_t                    began;
    ngx_msec_t                    budget;
    size_t                        read;        /* bytes, in this turn */

    ngx_event_pipe_input_filter_pt  input_filter;
    void                         *input_ctx;
};


static void ngx_http_rcache_throttle_watch(
    ngx_http_rcache_throttle_t *throttle);
static ngx_int_t ngx_http_rcache_throttle_input(ngx_event_pipe_t *p,
    ngx_buf_t *buf);
static void ngx_http_rcache_throttle_cleanup(void *data);
static void ngx_http_rcache_throttle_next_turn(ngx_event_t *ev);
static void ngx_http_rcache_throttle_next(
    ngx_http_rcache_throttle_t *throttle);
static ngx_connection_t *ngx_http_rcache_throttle_upstream(
    ngx_http_rcache_throttle_t *throttle);


ngx_http_rcache_throttle_t *
ngx_http_rcache_throttle_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_throttle_t **owner)
{
    ngx_pool_cleanup_t          *cln;
    ngx_http_rcache_loc_conf_t  *rlcf;
    ngx_http_rcache_throttle_t  *throttle;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_rcache_throttle_t));
    if (cln == NULL) {
        return NULL;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    throttle = cln->data;
    ngx_memzero(throttle, sizeof(ngx_http_rcache_throttle_t));

    throttle->ctx = ctx;
    throttle->owner = owner;
    throttle->budget = rlcf->budget;
    throttle->event.handler = ngx_http_rcache_throttle_next_turn;
    throttle->event.data = throttle;
    throttle->event.log = r->connection->log;

    cln->handler = ngx_http_rcache_throttle_cleanup;

    ngx_http_rcache_throttle_watch(throttle);

    return throttle;
}


static void
ngx_http_rcache_throttle_watch(ngx_http_rcache_throttle_t *throttle)
{
    ngx_event_pipe_t     *p;
    ngx_http_upstream_t  *u;

    u = throttle->ctx->request->upstream;

    if (u == NULL || !u->buffering || u->pipe == NULL) {
        return;
    }

    p = u->pipe;

    throttle->input_filter = p->input_filter;
    throttle->input_ctx = p->input_ctx;

    p->input_filter = ngx_http_rcache_throttle_input;
    p->input_ctx = throttle;

    /* a buffer at a time, not all that are free */

    p->single_buf = 1;
}


static ngx_int_t
ngx_http_rcache_throttle_input(ngx_event_pipe_t *p, ngx_buf_t *buf)
{
    ngx_http_rcache_throttle_t *throttle = p->input_ctx;

    ngx_int_t  rc;

    throttle->read += buf->last - buf->pos;

    p->input_ctx = throttle->input_ctx;

    rc = throttle->input_filter(p, buf);

    p->input_ctx = throttle;

    if (p->upstream_done) {

        /* the connection may be kept, as it is */

        ngx_http_rcache_throttle_next(throttle);

    } else if (throttle->read >= NGX_HTTP_RCACHE_THROTTLE_TURN) {
        ngx_http_rcache_throttle_turn(throttle);
    }

    return rc;
}


void
ngx_http_rcache_throttle_leave(ngx_http_rcache_throttle_t *throttle)
{
    if (throttle->owner) {
        *throttle->owner = NULL;
        throttle->owner = NULL;
    }
}


static void
ngx_http_rcache_throttle_cleanup(void *data)
{
    ngx_http_rcache_throttle_t *throttle = data;

    if (throttle->event.posted) {
        ngx_delete_posted_event(&throttle->event);
    }

    ngx_http_rcache_throttle_leave(throttle);
}


/* for whoever reads from the upstream there is nothing to read any more */

void
ngx_http_rcache_throttle_turn(ngx_http_rcache_throttle_t *throttle)
{
    ngx_connection_t  *c;

    c = ngx_http_rcache_throttle_upstream(throttle);

    throttle->read = 0;

    if (c && c->read->ready) {
        c->read->ready = 0;

        /* more may have arrived since, and this turn be the next one */

        if (throttle->event.posted) {
            ngx_delete_posted_event(&throttle->event);
        }

        ngx_post_event(&throttle->event, &ngx_posted_next_events);
    }
}


/* if that is not so, it finds out by itself */

static void
ngx_http_rcache_throttle_next_turn(ngx_event_t *ev)
{
    ngx_http_rcache_throttle_t *throttle = ev->data;

    ngx_connection_t  *c;

    c = ngx_http_rcache_throttle_upstream(throttle);

    if (c) {
        c->read->ready = 1;

        if (!c->read->delayed) {
            ngx_post_event(c->read, &ngx_posted_events);
        }
    }
}


/*
 * As proxy_limit_rate does it: the timer ends the pause if nothing else does.
 * Its rate is one that is never reached; without one nginx does not look at
 * whether there is a pause.
 */

void
ngx_http_rcache_throttle_pause(ngx_http_rcache_throttle_t *throttle)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    c = ngx_http_rcache_throttle_upstream(throttle);
    u = throttle->ctx->request->upstream;

    /* without buffering nginx would put another timer in place of ours */

    if (c == NULL
        || !u->buffering
        || u->pipe == NULL
        || throttle->connection
        || c->read->delayed
        || throttle->ctx->impatient
        || throttle->ctx->waited >= throttle->budget)
    {
        return;
    }

    if (u->pipe->limit_rate == 0) {
        u->pipe->limit_rate = NGX_MAX_INT32_VALUE;
    }

    throttle->connection = c;
    throttle->began = ngx_current_msec;

    c->read->delayed = 1;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    ngx_add_timer(c->read, throttle->budget - throttle->ctx->waited);
}


void
ngx_http_rcache_throttle_resume(ngx_http_rcache_throttle_t *throttle)
{
    ngx_connection_t  *c;

    ngx_http_rcache_pieces_resume(throttle->ctx);

    c = throttle->connection;

    if (c == NULL) {
        return;
    }

    throttle->connection = NULL;
    throttle->ctx->waited += ngx_current_msec - throttle->began;

    if (c == ngx_http_rcache_throttle_upstream(throttle) && c->read->delayed) {
        c->read->delayed = 0;

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        ngx_post_event(c->read, &ngx_posted_events);
    }
}


void
ngx_http_rcache_throttle_over(ngx_http_rcache_throttle_t *throttle)
{
    ngx_http_rcache_throttle_next(throttle);
    ngx_http_rcache_throttle_resume(throttle);
}


/* the turn that was to come is this one */

static void
ngx_http_rcache_throttle_next(ngx_http_rcache_throttle_t *throttle)
{
    ngx_connection_t  *c;

    if (!throttle->event.posted) {
        return;
    }

    ngx_delete_posted_event(&throttle->event);

    c = ngx_http_rcache_throttle_upstream(throttle);

    if (c) {
        c->read->ready = 1;

        ngx_post_event(c->read, &ngx_posted_events);
    }
}


/* NULL: the body does not come from one, or not any more */

static ngx_connection_t *
ngx_http_rcache_throttle_upstream(ngx_http_rcache_throttle_t *throttle)
{
    ngx_http_upstream_t  *u;

    u = throttle->ctx->request->upstream;

    return (u && u->cleanup) ? u->peer.connection : NULL;
}
