
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What the configuration says of a Redis: its URL.
 */


#include "ngx_http_rcache_conn.h"


#define NGX_HTTP_RCACHE_PORT          6379
#define NGX_HTTP_RCACHE_DB_MAX        65535


static ngx_int_t ngx_http_rcache_redis_url_parse(ngx_conf_t *cf,
    ngx_http_rcache_redis_conf_t *rcf, ngx_http_rcache_server_t *server,
    ngx_str_t *url, char **err);
static ngx_int_t ngx_http_rcache_redis_url_show(ngx_conf_t *cf,
    ngx_http_rcache_server_t *server, ngx_str_t *url);
static ngx_int_t ngx_http_rcache_redis_url_unix(ngx_conf_t *cf,
    ngx_http_rcache_server_t *server, ngx_str_t *url, char **err);
static ngx_int_t ngx_http_rcache_redis_url_user(ngx_conf_t *cf,
    ngx_http_rcache_redis_conf_t *rcf, u_char *p, u_char *last, char **err);
static ngx_int_t ngx_http_rcache_redis_url_db(
    ngx_http_rcache_redis_conf_t *rcf, u_char *p, u_char *last, char **err);
static ngx_int_t ngx_http_rcache_redis_url_host(ngx_conf_t *cf,
    ngx_http_rcache_server_t *server, ngx_str_t *host, char **err);
static ngx_int_t ngx_http_rcache_redis_decode(ngx_pool_t *pool,
    ngx_str_t *dst, u_char *p, u_char *last, char **err);
static u_char *ngx_http_rcache_redis_strrchr(u_char *p, u_char *last,
    u_char c);


ngx_int_t
ngx_http_rcache_redis_url(ngx_conf_t *cf, ngx_http_rcache_redis_conf_t *rcf,
    ngx_str_t *url, char **err)
{
    ngx_int_t                  rc;
    ngx_http_rcache_server_t  *server;

    *err = "no memory";

    if (rcf->servers.elts == NULL
        && ngx_array_init(&rcf->servers, cf->pool, 1,
                          sizeof(ngx_http_rcache_server_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    server = ngx_array_push(&rcf->servers);
    if (server == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(server, sizeof(ngx_http_rcache_server_t));

    rc = ngx_http_rcache_redis_url_parse(cf, rcf, server, url, err);

    if (rcf->servers.nelts == 1 || rc != NGX_OK) {
        rcf->url = server->url;
    }

    return rc;
}


static ngx_int_t
ngx_http_rcache_redis_url_parse(ngx_conf_t *cf,
    ngx_http_rcache_redis_conf_t *rcf, ngx_http_rcache_server_t *server,
    ngx_str_t *url, char **err)
{
    size_t      len;
    u_char     *p, *last, *at, *slash;
    ngx_str_t   host;

    if (ngx_http_rcache_redis_url_show(cf, server, url) != NGX_OK) {
        return NGX_ERROR;
    }

    if (url->len >= 5 && ngx_strncmp(url->data, "unix:", 5) == 0) {
        return ngx_http_rcache_redis_url_unix(cf, server, url, err);
    }

    len = sizeof("redis://") - 1;

    if (url->len > len && ngx_strncmp(url->data, "rediss://", len + 1) == 0) {
        len++;
        rcf->tls.enable = 1;

    } else if (url->len < len || ngx_strncmp(url->data, "redis://", len) != 0)
    {
        *err = "it must begin with \"redis://\", \"rediss://\" or "
               "\"unix:/\"";
        return NGX_ERROR;
    }

    p = url->data + len;
    last = url->data + url->len;

    /* the last one: a password may hold "@" and "/" as they are */

    at = ngx_http_rcache_redis_strrchr(p, last, '@');

    if (at) {
        if (ngx_http_rcache_redis_url_user(cf, rcf, p, at, err) != NGX_OK) {
            return NGX_ERROR;
        }

        p = at + 1;
    }

    if (ngx_strlchr(p, last, '?') || ngx_strlchr(p, last, '#')) {
        *err = "it must end with the host, the port or the database number";
        return NGX_ERROR;
    }

    slash = ngx_strlchr(p, last, '/');

    if (slash) {
        if (ngx_http_rcache_redis_url_db(rcf, slash + 1, last, err)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        last = slash;
    }

    host.data = p;
    host.len = last - p;

    return ngx_http_rcache_redis_url_host(cf, server, &host, err);
}


/* the URL as it may be logged, even if it turns out to be wrong */

static ngx_int_t
ngx_http_rcache_redis_url_show(ngx_conf_t *cf,
    ngx_http_rcache_server_t *server, ngx_str_t *url)
{
    size_t   len;
    u_char  *p, *last, *at;

    server->url.data = ngx_pnalloc(cf->pool, url->len + 1);
    if (server->url.data == NULL) {
        return NGX_ERROR;
    }

    p = url->data;
    last = p + url->len;

    at = NULL;

    if (url->len < 5 || ngx_strncmp(p, "unix:", 5) != 0) {
        at = ngx_http_rcache_redis_strrchr(p, last, '@');
    }

    if (at) {
        p = ngx_strlchr(p, at, ':');

        if (p && at - p > 3 && p[1] == '/' && p[2] == '/') {
            len = p + 3 - url->data;

        } else {
            len = 0;
        }

        p = ngx_cpymem(server->url.data, url->data, len);
        p = ngx_cpymem(p, at + 1, last - at - 1);

    } else {
        p = ngx_cpymem(server->url.data, p, url->len);
    }

    *p = '\0';
    server->url.len = p - server->url.data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_redis_url_unix(ngx_conf_t *cf,
    ngx_http_rcache_server_t *server, ngx_str_t *url, char **err)
{
    ngx_url_t  u;

    if (url->len < sizeof("unix:/x") - 1 || url->data[5] != '/') {
        *err = "the path of the unix socket must be absolute";
        return NGX_ERROR;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = server->url;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        if (u.err) {
            *err = u.err;
        }

        return NGX_ERROR;
    }

    ngx_str_null(&server->host);
    server->port = 0;
    server->addrs = u.addrs;
    server->naddrs = u.naddrs;

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_redis_nat(ngx_conf_t *cf, ngx_http_rcache_redis_conf_t *rcf,
    ngx_str_t *value, char **err)
{
    u_char                 *p, *last, *equals, *colon;
    ngx_int_t               port;
    ngx_str_t               host, to;
    ngx_http_rcache_nat_t  *nat;

    *err = "no memory";

    if (rcf->nat.elts == NULL
        && ngx_array_init(&rcf->nat, cf->pool, 4,
                          sizeof(ngx_http_rcache_nat_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    nat = ngx_array_push(&rcf->nat);
    if (nat == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(nat, sizeof(ngx_http_rcache_nat_t));

    p = value->data;
    last = p + value->len;

    *err = "what is announced must be host:port";

    equals = ngx_strlchr(p, last, '=');
    colon = equals ? ngx_http_rcache_redis_strrchr(p, equals, ':') : NULL;

    if (colon == NULL) {
        return NGX_ERROR;
    }

    host.data = p;
    host.len = colon - p;

    if (host.len > 2 && p[0] == '[' && colon[-1] == ']') {
        host.data++;
        host.len -= 2;
    }

    port = ngx_atoi(colon + 1, equals - colon - 1);

    if (host.len == 0 || port == NGX_ERROR || port == 0 || port > 65535
        || host.len > NGX_HTTP_RCACHE_NODE_NAME - sizeof(":65535"))
    {
        return NGX_ERROR;
    }

    nat->name.data = ngx_pnalloc(cf->pool, host.len + sizeof(":65535"));
    if (nat->name.data == NULL) {
        return NGX_ERROR;
    }

    nat->name.len = ngx_sprintf(nat->name.data, "%V:%i", &host, port)
                    - nat->name.data;

    to.data = equals + 1;
    to.len = last - to.data;

    nat->server.url = to;

    if (to.len >= 5 && ngx_strncmp(to.data, "unix:", 5) == 0) {
        return ngx_http_rcache_redis_url_unix(cf, &nat->server, &to, err);
    }

    *err = "where it is found must be host:port or unix:/path";

    if (ngx_http_rcache_redis_strrchr(to.data, last, ':') == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_rcache_redis_url_host(cf, &nat->server, &to, err);
}


static ngx_int_t
ngx_http_rcache_redis_url_user(ngx_conf_t *cf,
    ngx_http_rcache_redis_conf_t *rcf, u_char *p, u_char *last, char **err)
{
    u_char     *colon;
    ngx_str_t   user, password;

    colon = ngx_strlchr(p, last, ':');

    if (colon == NULL) {
        *err = "what is before \"@\" must be \"user:password\" "
               "or \":password\"";
        return NGX_ERROR;
    }

    if (ngx_http_rcache_redis_decode(cf->pool, &user, p, colon, err) != NGX_OK
        || ngx_http_rcache_redis_decode(cf->pool, &password, colon + 1, last,
                                        err)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* those of parameters win, and those of the first URL */

    if (rcf->user.len == 0) {
        rcf->user = user;
    }

    if (rcf->password.len == 0) {
        rcf->password = password;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_redis_url_db(ngx_http_rcache_redis_conf_t *rcf, u_char *p,
    u_char *last, char **err)
{
    ngx_int_t  n;

    if (p == last) {
        return NGX_OK;
    }

    n = ngx_atoi(p, last - p);

    if (n == NGX_ERROR || n > NGX_HTTP_RCACHE_DB_MAX) {
        *err = "the database must be a number from 0 to 65535";
        return NGX_ERROR;
    }

    rcf->db = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_redis_url_host(ngx_conf_t *cf,
    ngx_http_rcache_server_t *server, ngx_str_t *host, char **err)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url.len = host->len;
    u.url.data = ngx_pstrdup(cf->pool, host);
    if (u.url.data == NULL) {
        return NGX_ERROR;
    }

    u.default_port = NGX_HTTP_RCACHE_PORT;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        if (u.err) {
            *err = u.err;
        }

        return NGX_ERROR;
    }

    if (u.naddrs == 0 && ngx_inet_resolve_host(cf->pool, &u) != NGX_OK) {

        if (u.err == NULL) {
            return NGX_ERROR;
        }

        /* Redis absent must not keep nginx from starting */

        ngx_conf_log_error(NGX_LOG_WARN, cf, 0, "%s in redis \"%V\"",
                           u.err, &server->url);
    }

    server->host = u.host;
    server->port = u.port;
    server->addrs = u.addrs;
    server->naddrs = u.naddrs;

    return NGX_OK;
}


/* percent-decoding that takes nothing for granted, unlike ngx_unescape_uri() */

static ngx_int_t
ngx_http_rcache_redis_decode(ngx_pool_t *pool, ngx_str_t *dst, u_char *p,
    u_char *last, char **err)
{
    u_char     *d;
    ngx_int_t   n;

    dst->data = ngx_pnalloc(pool, last - p + 1);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    for (d = dst->data; p < last; p++) {

        if (*p != '%') {
            *d++ = *p;
            continue;
        }

        n = (last - p > 2) ? ngx_hextoi(p + 1, 2) : NGX_ERROR;

        if (n == NGX_ERROR) {
            *err = "\"%\" in the user or the password must be followed by "
                   "two hexadecimal digits, write \"%25\" for itself";
            return NGX_ERROR;
        }

        *d++ = (u_char) n;
        p += 2;
    }

    dst->len = d - dst->data;

    return NGX_OK;
}


static u_char *
ngx_http_rcache_redis_strrchr(u_char *p, u_char *last, u_char c)
{
    while (last > p) {
        if (*--last == c) {
            return last;
        }
    }

    return NULL;
}
