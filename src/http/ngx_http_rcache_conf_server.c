
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* The servers of a redis_proxy_cache_zone, and how they belong together. */


#include "ngx_http_rcache_conf.h"


#define NGX_HTTP_RCACHE_SENTINELS_MAX  16


static char *ngx_http_rcache_sentinel_complete(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone);
static char *ngx_http_rcache_server_url(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *url);


char *
ngx_http_rcache_server_parameter(ngx_conf_t *cf, ngx_http_rcache_zone_t *zone,
    ngx_str_t *value, ngx_str_t *url)
{
    ngx_str_t  *to;

    if (url->len == 0) {
        return ngx_http_rcache_bad_value(cf, value,
                                         "server=redis://host:port");
    }

    if (zone->urls.elts == NULL
        && ngx_array_init(&zone->urls, cf->temp_pool, 1, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    to = ngx_array_push(&zone->urls);
    if (to == NULL) {
        return NGX_CONF_ERROR;
    }

    *to = *url;

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_cluster_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest)
{
    if (rest->len == 2 && ngx_strncmp(rest->data, "on", 2) == 0) {
        zone->conf.topology = NGX_HTTP_RCACHE_TOPOLOGY_CLUSTER;

    } else if (rest->len != 3 || ngx_strncmp(rest->data, "off", 3) != 0) {
        return ngx_http_rcache_bad_value(cf, value, "on or off");
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_sentinel_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest)
{
    if (rest->len == 0) {
        return ngx_http_rcache_bad_value(cf, value,
                                         "the name of the master");
    }

    zone->conf.topology = NGX_HTTP_RCACHE_TOPOLOGY_SENTINEL;
    zone->conf.master = *rest;

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_read_from_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest)
{
    if (rest->len == 7 && ngx_strncmp(rest->data, "replica", 7) == 0) {
        zone->conf.read_from = NGX_HTTP_RCACHE_READ_REPLICA;

    } else if (rest->len == 7 && ngx_strncmp(rest->data, "nearest", 7) == 0) {
        zone->conf.read_from = NGX_HTTP_RCACHE_READ_NEAREST;

    } else if (rest->len == 6 && ngx_strncmp(rest->data, "master", 6) == 0) {
        zone->conf.read_from = NGX_HTTP_RCACHE_READ_MASTER;

    } else {
        return ngx_http_rcache_bad_value(cf, value,
                                         "master, replica or nearest");
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_nat_parameter(ngx_conf_t *cf, ngx_http_rcache_zone_t *zone,
    ngx_str_t *value, ngx_str_t *rest)
{
    char  *err;

    if (ngx_http_rcache_redis_nat(cf, &zone->conf, rest, &err) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in "
                           "\"redis_proxy_cache_zone\": %s, expected "
                           "nat=host:port=host:port or "
                           "nat=host:port=unix:/path", value, err);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_master_tls_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest)
{
    if (rest->len == 2 && ngx_strncmp(rest->data, "on", 2) == 0) {
        zone->tls = 1;

    } else if (rest->len == 3 && ngx_strncmp(rest->data, "off", 3) == 0) {
        zone->tls = 0;

    } else {
        return ngx_http_rcache_bad_value(cf, value, "on or off");
    }

    return NGX_CONF_OK;
}


/* when all parameters are known */

char *
ngx_http_rcache_server_complete(ngx_conf_t *cf, ngx_http_rcache_zone_t *zone)
{
    char                          *rv;
    ngx_str_t                     *urls;
    ngx_uint_t                     i;
    ngx_http_rcache_server_t      *servers;
    ngx_http_rcache_redis_conf_t  *rcf;

    rcf = &zone->conf;

    if (zone->urls.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" has no server, "
                           "expected server=redis://host:port", &zone->name);
        return NGX_CONF_ERROR;
    }

    urls = zone->urls.elts;

    if (zone->tls != NGX_CONF_UNSET
        && rcf->topology != NGX_HTTP_RCACHE_TOPOLOGY_SENTINEL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" has tls= "
                           "without sentinel=, expected server=rediss://",
                           &zone->name);
        return NGX_CONF_ERROR;
    }

    if (rcf->read_from != NGX_HTTP_RCACHE_READ_MASTER) {

        if (rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SINGLE) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"redis_proxy_cache_zone\" \"%V\" has "
                               "read_from= and one server, expected "
                               "cluster=on or sentinel=", &zone->name);
            return NGX_CONF_ERROR;
        }

        if (zone->inactive) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"redis_proxy_cache_zone\" \"%V\" has "
                               "read_from= and inactive=, expected one of "
                               "them: a lookup that gives more time is for "
                               "the master", &zone->name);
            return NGX_CONF_ERROR;
        }
    }

    if (rcf->nat.nelts && rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SINGLE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" has nat= and "
                           "one server, expected cluster=on or sentinel=",
                           &zone->name);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < zone->urls.nelts; i++) {
        rv = ngx_http_rcache_server_url(cf, zone, &urls[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    servers = rcf->servers.elts;

    if (rcf->servers.nelts > 1
        && rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SINGLE)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" has another "
                           "\"server=%V\", expected one server= a zone, "
                           "cluster=on or sentinel=",
                           &zone->name, &servers[1].url);
        return NGX_CONF_ERROR;
    }

    if (rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SENTINEL) {
        return ngx_http_rcache_sentinel_complete(cf, zone);
    }

    if (rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_CLUSTER && rcf->db) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" names database "
                           "%ui, expected 0: a cluster has no other",
                           &zone->name, rcf->db);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * What a URL says is about the Sentinel.  The server that it leads to has its
 * own user, password and database, and TLS if the Sentinels have, unless tls=
 * says otherwise.
 */

static char *
ngx_http_rcache_sentinel_complete(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone)
{
    ngx_http_rcache_redis_conf_t  *rcf;

    rcf = &zone->conf;

    if (rcf->servers.nelts > NGX_HTTP_RCACHE_SENTINELS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" has %ui "
                           "sentinels, expected at most %d", &zone->name,
                           rcf->servers.nelts, NGX_HTTP_RCACHE_SENTINELS_MAX);
        return NGX_CONF_ERROR;
    }

    rcf->url = rcf->master;
    rcf->sentinel_tls = rcf->tls.enable;

    if (zone->tls != NGX_CONF_UNSET) {
        rcf->tls.enable = zone->tls;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_rcache_server_url(ngx_conf_t *cf, ngx_http_rcache_zone_t *zone,
    ngx_str_t *url)
{
    char                          *err;
    ngx_int_t                      rc;
    ngx_uint_t                     db, tls;
    ngx_str_t                      user, password;
    ngx_http_rcache_redis_conf_t  *rcf;

    rcf = &zone->conf;

    db = rcf->db;
    tls = rcf->tls.enable;
    user = rcf->user;
    password = rcf->password;

    rcf->tls.enable = 0;

    if (rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SENTINEL) {
        rcf->db = 0;
        rcf->user = rcf->sentinel_user;
        rcf->password = rcf->sentinel_password;
    }

    rc = ngx_http_rcache_redis_url(cf, rcf, url, &err);

    if (rc != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid server \"%V\" in "
                           "\"redis_proxy_cache_zone\" \"%V\": %s, expected "
                           "redis[s]://[[user]:password@]host[:port][/db] "
                           "or unix:/path", &rcf->url, &zone->name, err);
        return NGX_CONF_ERROR;
    }

    if (rcf->servers.nelts > 1 && tls != rcf->tls.enable) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" has servers with "
                           "TLS and without, expected all alike",
                           &zone->name);
        return NGX_CONF_ERROR;
    }

    if (rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SENTINEL) {

        if (rcf->db) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"redis_proxy_cache_zone\" \"%V\" names a "
                               "database of a sentinel, expected db= for that "
                               "of the server", &zone->name);
            return NGX_CONF_ERROR;
        }

        rcf->sentinel_user = rcf->user;
        rcf->sentinel_password = rcf->password;

        rcf->db = db;
        rcf->user = user;
        rcf->password = password;
    }

    return NGX_CONF_OK;
}
