
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A refresh in the background.  nginx's own cache makes a subrequest of the
 * client's request for it, which keeps the client's connection busy until it
 * is over.  This is a main request of its own, on a connection that has no
 * socket: a place in the table of connections, marked shared as those of
 * QUIC streams are, so that nginx neither closes a descriptor nor asks for
 * events when it closes it.
 *
 * Nothing is sent: our filters, the first of the chain, let nothing of the
 * main request through, and what subrequests of a content handler send ends
 * in a send_chain() that drops it.  That function is also what tells such a
 * connection from others.
 *
 * The descriptor is -1 as long as the request lives: if code of nginx, or of
 * another module, does anything with it, that is an EBADF and not the socket
 * of somebody else.
 */


#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_conf.h"
#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_lookup.h"


/* the connection's own strings and structures */

#define NGX_HTTP_RCACHE_DETACHED_POOL  1024


static ngx_uint_t ngx_http_rcache_detached_short(void);
static ngx_connection_t *ngx_http_rcache_detached_connection(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_detached_client(ngx_connection_t *c,
    ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_detached_address(ngx_pool_t *pool,
    struct sockaddr **to, struct sockaddr *from, socklen_t len);
static ngx_int_t ngx_http_rcache_detached_proxy_protocol(ngx_connection_t *c,
    ngx_connection_t *from);
static void ngx_http_rcache_detached_events(ngx_connection_t *c);
static ngx_http_request_t *ngx_http_rcache_detached_request(
    ngx_connection_t *c);
static ngx_int_t ngx_http_rcache_detached_ssl(ngx_connection_t *c,
    ngx_connection_t *from);
static void ngx_http_rcache_detached_write_handler(ngx_event_t *wev);
static ssize_t ngx_http_rcache_detached_io(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_chain_t *ngx_http_rcache_detached_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static void ngx_http_rcache_detached_cleanup(void *data);
static ngx_int_t ngx_http_rcache_detached_rewrite_handler(
    ngx_http_request_t *r);


ngx_http_request_t *
ngx_http_rcache_detached_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *dr;

    if (ngx_http_rcache_detached_short()) {
        return NULL;
    }

    c = ngx_http_rcache_detached_connection(r);
    if (c == NULL) {
        return NULL;
    }

    dr = ngx_http_rcache_detached_request(c);
    if (dr == NULL) {
        return NULL;
    }

    if (ngx_http_rcache_detached_ssl(c, r->connection) != NGX_OK
        || ngx_http_rcache_detached_copy(dr, r, ctx) != NGX_OK)
    {
        ngx_http_rcache_detached_close(dr);
        return NULL;
    }

    /* what it has to say belongs to the same trace */

    dr->log_handler = r->main->log_handler;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "rcache detached: *%uA \"%V\"", c->number, &ctx->key);

    return dr;
}


/*
 * Clients come first, so with as few connections left as make a worker accept
 * no more of them there is no refresh.  Idle ones count as free: nginx closes
 * them when it is short.
 */

static ngx_uint_t
ngx_http_rcache_detached_short(void)
{
    return ngx_cycle->free_connection_n + ngx_cycle->reusable_connections_n
           < ngx_cycle->connection_n / 8;
}


static ngx_connection_t *
ngx_http_rcache_detached_connection(ngx_http_request_t *r)
{
    ngx_log_t           *log;
    ngx_pool_t          *pool;
    ngx_connection_t    *c;
    ngx_http_log_ctx_t  *ctx;

    pool = ngx_create_pool(NGX_HTTP_RCACHE_DETACHED_POOL, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    log = ngx_palloc(pool, sizeof(ngx_log_t));
    ctx = ngx_pcalloc(pool, sizeof(ngx_http_log_ctx_t));

    if (log == NULL || ctx == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    c = ngx_get_connection(0, r->connection->log);
    if (c == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    c->shared = 1;
    c->pool = pool;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    *log = *r->connection->log;

    log->connection = c->number;
    log->data = ctx;
    log->action = "refreshing in the background";

    ctx->connection = c;

    c->log = log;
    c->pool->log = log;

    ngx_http_rcache_detached_events(c);

    if (ngx_http_rcache_detached_client(c, r) != NGX_OK) {
        ngx_close_connection(c);
        ngx_destroy_pool(pool);
        return NULL;
    }

    return c;
}


/* who asked, and where; the rest of it tells nginx what not to try */

static ngx_int_t
ngx_http_rcache_detached_client(ngx_connection_t *c, ngx_http_request_t *r)
{
    ngx_connection_t       *from;
    ngx_http_connection_t  *hc, *fhc;

    from = r->connection;

    /* a subrequest has none */

    fhc = r->main->http_connection;

    /* $server_addr of a wildcard: nobody can ask for it later */

    if (ngx_connection_local_sockaddr(from, NULL, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_rcache_detached_address(c->pool, &c->sockaddr,
                                         from->sockaddr, from->socklen)
        != NGX_OK
        || ngx_http_rcache_detached_address(c->pool, &c->local_sockaddr,
                                            from->local_sockaddr,
                                            from->local_socklen)
           != NGX_OK
        || ngx_http_rcache_copy_str(c->pool, &c->addr_text,
                                        &from->addr_text)
           != NGX_OK
        || ngx_http_rcache_detached_proxy_protocol(c, from) != NGX_OK)
    {
        return NGX_ERROR;
    }

    c->socklen = from->socklen;
    c->local_socklen = from->local_socklen;
    c->listening = from->listening;

    c->type = SOCK_STREAM;
    c->start_time = ngx_current_msec;
    c->log_error = from->log_error;
    c->sendfile = from->sendfile;
    c->sndlowat = 1;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;

    /* there is no header that was read, nor a request behind this one */

    c->buffer = ngx_calloc_buf(c->pool);
    if (c->buffer == NULL) {
        return NGX_ERROR;
    }

    hc = ngx_pcalloc(c->pool, sizeof(ngx_http_connection_t));
    if (hc == NULL) {
        return NGX_ERROR;
    }

    hc->addr_conf = fhc->addr_conf;
    hc->conf_ctx = fhc->conf_ctx;
    hc->ssl = fhc->ssl;
    hc->proxy_protocol = fhc->proxy_protocol;

    c->data = hc;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_detached_address(ngx_pool_t *pool, struct sockaddr **to,
    struct sockaddr *from, socklen_t len)
{
    *to = ngx_palloc(pool, len);
    if (*to == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(*to, from, len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_detached_proxy_protocol(ngx_connection_t *c,
    ngx_connection_t *from)
{
    ngx_proxy_protocol_t  *pp;

    if (from->proxy_protocol == NULL) {
        return NGX_OK;
    }

    pp = ngx_palloc(c->pool, sizeof(ngx_proxy_protocol_t));
    if (pp == NULL) {
        return NGX_ERROR;
    }

    *pp = *from->proxy_protocol;

    if (ngx_http_rcache_copy_str(c->pool, &pp->src_addr,
                                     &from->proxy_protocol->src_addr)
        != NGX_OK
        || ngx_http_rcache_copy_str(c->pool, &pp->dst_addr,
                                        &from->proxy_protocol->dst_addr)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

#if (nginx_version >= 1023002)

    if (ngx_http_rcache_copy_str(c->pool, &pp->tlvs,
                                     &from->proxy_protocol->tlvs)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

#endif

    c->proxy_protocol = pp;

    return NGX_OK;
}


/*
 * What is ready, or active where events are edge-triggered, is not given to
 * epoll and its like again.  It can always be written; nothing is ever read,
 * and the end of it was seen, so nginx does not linger when it closes it.
 */

static void
ngx_http_rcache_detached_events(ngx_connection_t *c)
{
    ngx_uint_t  active;

    active = (ngx_event_flags & NGX_USE_CLEAR_EVENT) ? 1 : 0;

    c->read->log = c->log;
    c->read->handler = ngx_http_empty_handler;
    c->read->active = active;
    c->read->ready = !active;
    c->read->eof = 1;

    c->write->log = c->log;
    c->write->handler = ngx_http_rcache_detached_write_handler;
    c->write->active = active;
    c->write->ready = 1;

    c->recv = ngx_http_rcache_detached_io;
    c->send = ngx_http_rcache_detached_io;
    c->send_chain = ngx_http_rcache_detached_send_chain;
}


/* from here on ngx_http_close_request() closes the connection, too */

static ngx_http_request_t *
ngx_http_rcache_detached_request(ngx_connection_t *c)
{
    ngx_pool_t          *pool;
    ngx_http_request_t  *dr;
    ngx_pool_cleanup_t  *cln;

    pool = c->pool;

    dr = ngx_http_create_request(c);
    if (dr == NULL) {
        ngx_close_connection(c);
        ngx_destroy_pool(pool);
        return NULL;
    }

    c->data = dr;

    dr->logged = 1;

#if (NGX_STAT_STUB)

    /* stub_status is about clients, and this is none */

    (void) ngx_atomic_fetch_add(ngx_stat_requests, -1);
    (void) ngx_atomic_fetch_add(ngx_stat_reading, -1);
    dr->stat_reading = 0;

#endif

    cln = ngx_pool_cleanup_add(dr->pool, 0);
    if (cln == NULL) {
        ngx_http_free_request(dr, 0);
        ngx_close_connection(c);
        ngx_destroy_pool(pool);
        return NULL;
    }

    cln->handler = ngx_http_rcache_detached_cleanup;
    cln->data = c;

    c->fd = (ngx_socket_t) -1;

    return dr;
}


/*
 * The client's SSL object is shared, so all variables made of it have the
 * values that they have in r.  Neither its connection nor ours are closed
 * by what the other one does: the object counts its owners, and its BIO does
 * not own the socket.  We never read, write or shut it down, see cleanup().
 */

static ngx_int_t
ngx_http_rcache_detached_ssl(ngx_connection_t *c, ngx_connection_t *from)
{
#if (NGX_HTTP_SSL)

    ngx_ssl_connection_t  *ssl;

    if (from->ssl == NULL) {
        return NGX_OK;
    }

    ssl = ngx_pcalloc(c->pool, sizeof(ngx_ssl_connection_t));
    if (ssl == NULL) {
        return NGX_ERROR;
    }

    ssl->connection = from->ssl->connection;
    ssl->session_ctx = from->ssl->session_ctx;
    ssl->handshaked = 1;

    if (SSL_up_ref(ssl->connection) == 0) {
        return NGX_ERROR;
    }

    c->ssl = ssl;

#endif

    return NGX_OK;
}


void
ngx_http_rcache_detached_run(ngx_http_request_t *r)
{
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_post_event(r->connection->write, &ngx_posted_events);
}


/* what ngx_http_request_handler(), which is not exported, does */

static void
ngx_http_rcache_detached_write_handler(ngx_event_t *wev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = wev->data;
    r = c->data;

    ngx_http_set_log_request(c->log, r);

    if (wev->delayed && wev->timedout) {
        wev->delayed = 0;
        wev->timedout = 0;
    }

    r->write_event_handler(r);

    ngx_http_run_posted_requests(c);
}


/* nothing calls it; a NULL would be a bad way to learn that something does */

static ssize_t
ngx_http_rcache_detached_io(ngx_connection_t *c, u_char *buf, size_t size)
{
    c->error = 1;

    return NGX_ERROR;
}


static ngx_chain_t *
ngx_http_rcache_detached_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    for ( /* void */ ; in; in = in->next) {
        c->sent += ngx_buf_size(in->buf);

        in->buf->pos = in->buf->last;
        in->buf->file_pos = in->buf->file_last;
    }

    return NULL;
}


ngx_uint_t
ngx_http_rcache_is_detached(ngx_http_request_t *r)
{
    return r->connection->send_chain == ngx_http_rcache_detached_send_chain;
}


void
ngx_http_rcache_detached_close(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (r->write_event_handler == NULL) {

        /* it has not run, so there is nothing to log */

        r->logged = 1;
    }

    /* no post_action */

    r->post_action = 1;
    r->uri_changes = 0;

    ngx_http_finalize_request(r, NGX_ERROR);

    ngx_http_run_posted_requests(c);
}


/*
 * Last of the request's cleanups: ngx_http_close_connection() is next.  It is
 * not to see the SSL object, which it would shut down; it does count down the
 * connections of clients, though, and wants a descriptor that it will not
 * close.
 */

static void
ngx_http_rcache_detached_cleanup(void *data)
{
    ngx_connection_t *c = data;

#if (NGX_HTTP_SSL)

    if (c->ssl) {
        SSL_free(c->ssl->connection);
        c->ssl = NULL;
    }

#endif

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    c->fd = 0;
}


/*
 * X-Accel-Redirect, post_action or the like.  What comes of that is not a
 * refresh of the entry, so it ends here: a detached request begins behind the
 * phases of rewriting, and is in one only after an internal redirect.
 */

static ngx_int_t
ngx_http_rcache_detached_rewrite_handler(ngx_http_request_t *r)
{
    ngx_http_rcache_ctx_t       *ctx;
    ngx_http_rcache_loc_conf_t  *rlcf;

    if (r != r->main || !ngx_http_rcache_is_detached(r)) {
        return NGX_DECLINED;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "rcache detached: redirected to \"%V\"", &r->uri);

    ctx = ngx_http_rcache_find_ctx(r);

    if (ctx && ctx->audit) {
        ngx_http_rcache_audit_skip(ctx);

    } else if (ctx) {
        rlcf = ngx_http_get_module_loc_conf(r,
                                            ngx_http_redis_proxy_cache_module);

        ngx_http_rcache_flight_end(ctx, '!', rlcf->refresh_pause);
    }

    r->post_action = 1;
    r->uri_changes = 0;

    return NGX_ERROR;
}


/* of the filter module, the last one: its handlers are the first to run */

ngx_int_t
ngx_http_rcache_detached_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt          *h;
    ngx_http_core_main_conf_t    *cmcf;
    ngx_http_rcache_main_conf_t  *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    if (rmcf->zones.nelts == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_SERVER_REWRITE_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_rcache_detached_rewrite_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_REWRITE_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_rcache_detached_rewrite_handler;

    return NGX_OK;
}
