
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * TLS of a connection, by nginx's own means.  The chain of the certificate
 * is checked by OpenSSL, the name here.
 *
 * nginx logs what OpenSSL complains of by itself, at each attempt; it is
 * given a log of which the last line becomes a part of why the connection
 * failed, and that is told once.
 */


#include "ngx_http_rcache_conn.h"


#if (NGX_SSL)

#define NGX_HTTP_RCACHE_TLS_POOL      1024
#define NGX_HTTP_RCACHE_TLS_NAME_MAX  255


static void ngx_http_rcache_tls_handshake(ngx_event_t *ev);
static void ngx_http_rcache_tls_handler(ngx_connection_t *c);
static void ngx_http_rcache_tls_save_session(ngx_connection_t *c);
static ngx_uint_t ngx_http_rcache_tls_name(ngx_http_rcache_conn_t *conn,
    ngx_str_t *name);
static ngx_int_t ngx_http_rcache_tls_sni(ngx_http_rcache_conn_t *conn);
static ngx_int_t ngx_http_rcache_tls_verify(ngx_http_rcache_conn_t *conn);
static ngx_uint_t ngx_http_rcache_tls_is_for(ngx_http_rcache_conn_t *conn,
    ngx_str_t *name);
static u_char *ngx_http_rcache_tls_text(u_char *p, u_char *last);
static void ngx_http_rcache_tls_writer(ngx_log_t *log, ngx_uint_t level,
    u_char *buf, size_t len);


void
ngx_http_rcache_tls_start(ngx_http_rcache_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;

    conn->state = NGX_HTTP_RCACHE_CONN_TLS;

    conn->tls_log = *conn->redis->log;
    conn->tls_log.log_level = NGX_LOG_INFO;
    conn->tls_log.writer = ngx_http_rcache_tls_writer;
    conn->tls_log.wdata = conn;
    conn->tls_log.handler = NULL;
    conn->tls_log.next = NULL;

    c->log = &conn->tls_log;
    c->read->log = c->log;
    c->write->log = c->log;

    c->pool = ngx_create_pool(NGX_HTTP_RCACHE_TLS_POOL, conn->redis->log);

    if (c->pool == NULL
        || ngx_ssl_create_connection(&conn->redis->conf->tls.ssl, c,
                                     NGX_SSL_BUFFER|NGX_SSL_CLIENT)
           != NGX_OK
        || ngx_http_rcache_tls_sni(conn) != NGX_OK)
    {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "TLS could not be set up");
        return;
    }

    if (conn->redis->conf->tls.session_reuse) {
        c->ssl->save_session = ngx_http_rcache_tls_save_session;

        if (conn->node->session
            && ngx_ssl_set_session(c, conn->node->session) != NGX_OK)
        {
            ngx_ssl_free_session(conn->node->session);
            conn->node->session = NULL;
        }
    }

    c->ssl->handler = ngx_http_rcache_tls_handler;

    ngx_http_rcache_tls_handshake(c->read);
}


/* in place of nginx's own, which a worker that exits tells nothing */

static void
ngx_http_rcache_tls_handshake(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    if (c->close && ngx_http_rcache_conn_leave(c->data) != NGX_OK) {
        return;
    }

    if (ngx_ssl_handshake(c) == NGX_AGAIN) {
        c->read->handler = ngx_http_rcache_tls_handshake;
        c->write->handler = ngx_http_rcache_tls_handshake;
        return;
    }

    ngx_http_rcache_tls_handler(c);
}


static void
ngx_http_rcache_tls_handler(ngx_connection_t *c)
{
    ngx_http_rcache_conn_t *conn = c->data;

    if (!c->ssl->handshaked) {

        if (conn->node->session) {
            ngx_ssl_free_session(conn->node->session);
            conn->node->session = NULL;
        }

        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "the TLS handshake failed");
        return;
    }

    if (conn->redis->conf->tls.verify
        && ngx_http_rcache_tls_verify(conn) != NGX_OK)
    {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, conn->redis->log, 0,
                   "rcache redis TLS fd:%d reused:%d", c->fd,
                   SSL_session_reused(c->ssl->connection));

    ngx_http_rcache_conn_established(conn);
}


static void
ngx_http_rcache_tls_save_session(ngx_connection_t *c)
{
    ngx_ssl_session_t       *session;
    ngx_http_rcache_conn_t  *conn;

    conn = c->data;

    session = ngx_ssl_get_session(c);

    if (session == NULL) {
        return;
    }

    if (conn->node->session) {
        ngx_ssl_free_session(conn->node->session);
    }

    conn->node->session = session;
}


/* whom the certificate is to be for; true if that is an address */

static ngx_uint_t
ngx_http_rcache_tls_name(ngx_http_rcache_conn_t *conn, ngx_str_t *name)
{
    *name = conn->redis->conf->tls.name;

    if (name->len == 0) {
        *name = conn->node->host;
    }

    if (name->len > 2 && name->data[0] == '[') {
        name->data++;
        name->len -= 2;
    }

    return ngx_http_rcache_host_is_literal(name);
}


static ngx_int_t
ngx_http_rcache_tls_sni(ngx_http_rcache_conn_t *conn)
{
    ngx_str_t  name;
    u_char     buf[NGX_HTTP_RCACHE_TLS_NAME_MAX + 1];

    /* RFC 6066, 3: literal addresses are not permitted */

    if (ngx_http_rcache_tls_name(conn, &name)
        || name.len == 0
        || name.len > NGX_HTTP_RCACHE_TLS_NAME_MAX)
    {
        return NGX_OK;
    }

    (void) ngx_cpystrn(buf, name.data, name.len + 1);

    if (SSL_set_tlsext_host_name(conn->connection->ssl->connection,
                                 (char *) buf)
        == 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* on failure the connection has failed, too */

static ngx_int_t
ngx_http_rcache_tls_verify(ngx_http_rcache_conn_t *conn)
{
    long        rc;
    ngx_str_t   name;
    SSL        *ssl;

    ssl = conn->connection->ssl->connection;

    rc = SSL_get_verify_result(ssl);

    if (rc != X509_V_OK) {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "the certificate was not accepted: %s",
                                  X509_verify_cert_error_string(rc));
        return NGX_ERROR;
    }

    if (!ngx_http_rcache_tls_is_for(conn, &name)) {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "the certificate is not for \"%V\"", &name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* nginx's ngx_ssl_check_host() knows no addresses */

static ngx_uint_t
ngx_http_rcache_tls_is_for(ngx_http_rcache_conn_t *conn, ngx_str_t *name)
{
    int          rc;
    X509        *cert;
    ngx_uint_t   literal;
    u_char       buf[NGX_HTTP_RCACHE_TLS_NAME_MAX + 1];

    literal = ngx_http_rcache_tls_name(conn, name);

    if (!literal) {
        return ngx_ssl_check_host(conn->connection, name) == NGX_OK;
    }

    if (name->len > NGX_HTTP_RCACHE_TLS_NAME_MAX) {
        return 0;
    }

    (void) ngx_cpystrn(buf, name->data, name->len + 1);

    cert = SSL_get_peer_certificate(conn->connection->ssl->connection);

    if (cert == NULL) {
        return 0;
    }

    rc = X509_check_ip_asc(cert, (char *) buf, 0);

    X509_free(cert);

    return rc == 1;
}


void
ngx_http_rcache_tls_close(ngx_connection_t *c)
{
    if (c->ssl == NULL) {
        return;
    }

    /* quietly, so that it never has to wait */

    c->ssl->no_wait_shutdown = 1;
    c->ssl->no_send_shutdown = 1;

    (void) ngx_ssl_shutdown(c);
}


/*
 * A line is "<time> [<level>] <pid>#<tid>: *<connection> <text>"; nobody but
 * this reads it again.
 */

static u_char *
ngx_http_rcache_tls_text(u_char *p, u_char *last)
{
    u_char  *text;

    text = ngx_strlchr(p, last, '#');

    if (text) {
        text = ngx_strlchr(text, last, ' ');
    }

    if (text == NULL) {
        return p;
    }

    text++;

    if (text < last && *text == '*') {
        p = ngx_strlchr(text, last, ' ');
        text = p ? p + 1 : text;
    }

    return text;
}


static void
ngx_http_rcache_tls_writer(ngx_log_t *log, ngx_uint_t level, u_char *buf,
    size_t len)
{
    ngx_http_rcache_conn_t *conn = log->wdata;

    u_char  *p, *last;

    last = buf + len;

    if (last > buf && *(last - 1) == LF) {
        last--;
    }

    p = ngx_http_rcache_tls_text(buf, last);

    conn->tls_len = ngx_min(last - p, NGX_HTTP_RCACHE_TLS_TEXT);
    ngx_memcpy(conn->tls_text, p, conn->tls_len);

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, conn->redis->log, 0,
                   "rcache redis TLS: level:%ui \"%*s\"",
                   level, conn->tls_len, conn->tls_text);
}

#endif
