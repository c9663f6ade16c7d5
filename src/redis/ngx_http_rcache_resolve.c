
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The addresses of the server, asked for again at each reconnect, through
 * nginx's resolver: at a failover it is often the name that moves.
 */


#include "ngx_http_rcache_conn.h"


static void ngx_http_rcache_conn_resolve_handler(ngx_resolver_ctx_t *ctx);


ngx_int_t
ngx_http_rcache_conn_resolve(ngx_http_rcache_conn_t *conn)
{
    ngx_str_t                     *host;
    ngx_msec_t                     timeout;
    ngx_resolver_ctx_t            *ctx;
    ngx_http_rcache_redis_conf_t  *rcf;

    rcf = conn->redis->conf;
    host = &conn->node->host;

    if (rcf->resolver == NULL
        || host->len == 0
        || ngx_http_rcache_host_is_literal(host))
    {
        return NGX_DECLINED;
    }

    ctx = ngx_resolve_start(rcf->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        return NGX_DECLINED;
    }

    /* a dead name server must leave time to use what is known */

    timeout = rcf->connect_timeout;

    if (conn->node->naddrs) {
        timeout = timeout / 2 + 1;
    }

    ctx->name = *host;
    ctx->handler = ngx_http_rcache_conn_resolve_handler;
    ctx->data = conn;
    ctx->timeout = ngx_min(timeout, rcf->resolver_timeout);
    ctx->cancelable = 1;

    conn->resolve = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        conn->resolve = NULL;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_rcache_host_is_literal(ngx_str_t *host)
{
    return ngx_strlchr(host->data, host->data + host->len, ':')
           || ngx_inet_addr(host->data, host->len) != INADDR_NONE;
}


static void
ngx_http_rcache_conn_resolve_handler(ngx_resolver_ctx_t *ctx)
{
    ngx_http_rcache_conn_t *conn = ctx->data;

    if (ctx->state) {
        ngx_log_error(NGX_LOG_INFO, conn->redis->log, 0,
                      "redis host \"%V\" could not be resolved (%i: %s)",
                      &ctx->name, ctx->state,
                      ngx_resolver_strerror(ctx->state));

    } else {
        ngx_http_rcache_node_set_addrs(conn->node, ctx);
    }

    conn->resolve = NULL;
    ngx_resolve_name_done(ctx);

    ngx_http_rcache_conn_connect(conn);
}


void
ngx_http_rcache_node_set_addrs(ngx_http_rcache_node_t *node,
    ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t   i, n;
    ngx_addr_t  *addr;

    n = 0;

    for (i = 0; i < ctx->naddrs && n < NGX_HTTP_RCACHE_ADDRS; i++) {

        if (ctx->addrs[i].socklen > (socklen_t) sizeof(ngx_sockaddr_t)) {
            continue;
        }

        addr = &node->resolved[n];

        addr->sockaddr = &node->sockaddr[n].sockaddr;
        addr->socklen = ctx->addrs[i].socklen;
        ngx_memcpy(addr->sockaddr, ctx->addrs[i].sockaddr, addr->socklen);

        ngx_inet_set_port(addr->sockaddr, node->port);

        addr->name.data = node->text[n];
        addr->name.len = ngx_sock_ntop(addr->sockaddr, addr->socklen,
                                       addr->name.data, NGX_SOCKADDR_STRLEN,
                                       1);
        n++;
    }

    if (n) {
        node->addrs = node->resolved;
        node->naddrs = n;
    }
}
