
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* The redis_proxy_cache_zone directive. */


#include "ngx_http_rcache_conf.h"
#include "ngx_http_rcache_zone.h"


#define NGX_HTTP_RCACHE_CONNECT_TIMEOUT  100
#define NGX_HTTP_RCACHE_TIMEOUT          250
#define NGX_HTTP_RCACHE_RESOLVE          30000
#define NGX_HTTP_RCACHE_QUEUE            1024
#define NGX_HTTP_RCACHE_KEEP             600000


static ngx_http_rcache_zone_t *ngx_http_rcache_zone_create(ngx_conf_t *cf,
    ngx_str_t *name);
static char *ngx_http_rcache_zone_memory(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *size);
static char *ngx_http_rcache_zone_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value);
static ngx_int_t ngx_http_rcache_zone_shm_init(ngx_shm_zone_t *shm,
    void *old);


char *
ngx_http_rcache_set_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_main_conf_t *rmcf = conf;

    char                    *rv;
    u_char                  *p;
    ngx_str_t               *value, name, size;
    ngx_uint_t               i;
    ngx_http_rcache_zone_t  *zone, **zonep;

    value = cf->args->elts;

    p = (u_char *) ngx_strchr(value[1].data, ':');

    if (p == NULL || p == value[1].data) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "name:size, such as \"api:16m\"");
    }

    name.data = value[1].data;
    name.len = p - value[1].data;
    size.data = p + 1;
    size.len = value[1].data + value[1].len - size.data;

    if (ngx_http_rcache_zone_find(rmcf, &name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" is duplicate, "
                           "expected another name", &name);
        return NGX_CONF_ERROR;
    }

    zone = ngx_http_rcache_zone_create(cf, &name);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_http_rcache_zone_parameter(cf, zone, &value[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    rv = ngx_http_rcache_server_complete(cf, zone);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (zone->conf.password_file.len
        && ngx_http_rcache_redis_password(cf, &zone->conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (zone->near_shm && zone->inactive) {

        /* Redis tells of each key that is to stay for another while */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" has near= and "
                           "inactive=, expected one of them", &name);
        return NGX_CONF_ERROR;
    }

    if (zone->conf.slow == NGX_CONF_UNSET_MSEC) {
        zone->conf.slow = zone->conf.timeout / 2;
    }

    zone->conf.tls.used = zone->conf.tls.enable || zone->conf.sentinel_tls;

    rv = ngx_http_rcache_tls_complete(cf, &zone->conf.tls, &name);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    zonep = ngx_array_push(&rmcf->zones);
    if (zonep == NULL) {
        return NGX_CONF_ERROR;
    }

    *zonep = zone;

    return ngx_http_rcache_zone_memory(cf, zone, &value[1], &size);
}


static ngx_http_rcache_zone_t *
ngx_http_rcache_zone_create(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_http_rcache_zone_t  *zone;

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_rcache_zone_t));
    if (zone == NULL) {
        return NULL;
    }

    zone->name = *name;
    zone->room.cycle = cf->cycle;
    zone->room.file = cf->conf_file->file.name;
    zone->room.line = cf->conf_file->line;

    ngx_http_rcache_where(cf, &zone->where);

    zone->prefix.len = name->len + 1;
    zone->prefix.data = ngx_pnalloc(cf->pool, zone->prefix.len);
    if (zone->prefix.data == NULL) {
        return NULL;
    }

    ngx_sprintf(zone->prefix.data, "%V:", name);

    zone->conf.zone = *name;
    zone->conf.connect_timeout = NGX_HTTP_RCACHE_CONNECT_TIMEOUT;
    zone->conf.timeout = NGX_HTTP_RCACHE_TIMEOUT;
    zone->conf.slow = NGX_CONF_UNSET_MSEC;
    zone->conf.resolve = NGX_HTTP_RCACHE_RESOLVE;
    zone->conf.queue = NGX_HTTP_RCACHE_QUEUE;
    zone->keep = NGX_HTTP_RCACHE_KEEP;

    zone->tls = NGX_CONF_UNSET;

    ngx_http_rcache_tls_init_conf(&zone->conf.tls);

    zone->clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    return zone;
}


static char *
ngx_http_rcache_zone_memory(ngx_conf_t *cf, ngx_http_rcache_zone_t *zone,
    ngx_str_t *value, ngx_str_t *size)
{
    ssize_t  n;

    n = ngx_parse_size(size);

    if (n == NGX_ERROR) {
        return ngx_http_rcache_bad_value(cf, value,
                                         "name:size, such as \"api:16m\"");
    }

    if (n < (ssize_t) (16 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" is too small, "
                           "expected a size of at least %uz",
                           value, 16 * ngx_pagesize);
        return NGX_CONF_ERROR;
    }

    zone->shm = ngx_shared_memory_add(cf, &zone->name, n,
                                      &ngx_http_redis_proxy_cache_module);
    if (zone->shm == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->shm->init = ngx_http_rcache_zone_shm_init;
    zone->shm->data = zone;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_rcache_zone_shm_init(ngx_shm_zone_t *shm, void *old)
{
    ngx_http_rcache_zone_t *zone = shm->data;

    size_t  size;

    size = ngx_http_rcache_redis_shared_size(&zone->conf);

    if (ngx_http_rcache_health_init(shm, old) != NGX_OK
        || ngx_http_rcache_health_redis(shm, size) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* last: of blocks of counters there are as many as there is room for */

    return ngx_http_rcache_metrics_init_zone(shm);
}


static char *
ngx_http_rcache_zone_parameter(ngx_conf_t *cf, ngx_http_rcache_zone_t *zone,
    ngx_str_t *value)
{
    ngx_int_t   n;
    ngx_str_t   rest;

    if (ngx_http_rcache_parameter(value, "server=", &rest)) {
        return ngx_http_rcache_server_parameter(cf, zone, value, &rest);
    }

    if (ngx_http_rcache_parameter(value, "cluster=", &rest)) {
        return ngx_http_rcache_cluster_parameter(cf, zone, value, &rest);
    }

    if (ngx_http_rcache_parameter(value, "sentinel=", &rest)) {
        return ngx_http_rcache_sentinel_parameter(cf, zone, value, &rest);
    }

    if (ngx_http_rcache_parameter(value, "read_from=", &rest)) {
        return ngx_http_rcache_read_from_parameter(cf, zone, value, &rest);
    }

    if (ngx_http_rcache_parameter(value, "nat=", &rest)) {
        return ngx_http_rcache_nat_parameter(cf, zone, value, &rest);
    }

    if (ngx_http_rcache_parameter(value, "tls=", &rest)) {
        return ngx_http_rcache_master_tls_parameter(cf, zone, value, &rest);
    }

    if (ngx_http_rcache_parameter(value, "prefix=", &rest)) {

        /* the hash tag of a key is what is between its first braces */

        if (ngx_strlchr(rest.data, rest.data + rest.len, '{')
            || ngx_strlchr(rest.data, rest.data + rest.len, '}')
            || rest.len > 256)
        {
            return ngx_http_rcache_bad_value(cf, value,
                                  "at most 256 bytes without \"{\" and \"}\"");
        }

        zone->prefix = rest;
        return NGX_CONF_OK;
    }

    if (ngx_http_rcache_parameter(value, "user=", &zone->conf.user)
        || ngx_http_rcache_parameter(value, "password=", &zone->conf.password)
        || ngx_http_rcache_parameter(value, "password_file=",
                                     &zone->conf.password_file))
    {
        return NGX_CONF_OK;
    }

    if (ngx_http_rcache_parameter(value, "db=", &rest)) {
        n = ngx_atoi(rest.data, rest.len);

        if (n == NGX_ERROR) {
            return ngx_http_rcache_bad_value(cf, value, "a number, 0 or more");
        }

        zone->conf.db = n;
        return NGX_CONF_OK;
    }

    if (ngx_http_rcache_parameter(value, "queue=", &rest)) {
        n = ngx_atoi(rest.data, rest.len);

        if (n == NGX_ERROR || n == 0) {
            return ngx_http_rcache_bad_value(cf, value, "a number, 1 or more");
        }

        zone->conf.queue = n;
        return NGX_CONF_OK;
    }

    if (ngx_http_rcache_parameter(value, "labels=", &rest)) {
        n = ngx_atoi(rest.data, rest.len);

        if (n == NGX_ERROR || n == 0 || n >= NGX_HTTP_RCACHE_LABELS) {
            return ngx_http_rcache_bad_value(cf, value, "a number, 1 to 63");
        }

        zone->room.max = n;
        return NGX_CONF_OK;
    }

    if (ngx_http_rcache_parameter(value, "top_keys=", &rest)) {
        n = ngx_atoi(rest.data, rest.len);

        if (n == NGX_ERROR || n == 0 || n > NGX_HTTP_RCACHE_TOP) {
            return ngx_http_rcache_bad_value(cf, value, "a number, 1 to 256");
        }

        zone->room.top = n;
        return NGX_CONF_OK;
    }

    if (ngx_http_rcache_parameter(value, "connect_timeout=", &rest)) {
        return ngx_http_rcache_parameter_msec(cf, value, &rest,
                                              &zone->conf.connect_timeout);
    }

    if (ngx_http_rcache_parameter(value, "timeout=", &rest)) {
        return ngx_http_rcache_parameter_msec(cf, value, &rest,
                                              &zone->conf.timeout);
    }

    if (ngx_http_rcache_parameter(value, "slow=", &rest)) {

        if (rest.len == 3 && ngx_strncmp(rest.data, "off", 3) == 0) {
            zone->conf.slow = 0;
            return NGX_CONF_OK;
        }

        return ngx_http_rcache_parameter_msec(cf, value, &rest,
                                              &zone->conf.slow);
    }

    if (ngx_http_rcache_parameter(value, "resolve=", &rest)) {

        if (rest.len == 3 && ngx_strncmp(rest.data, "off", 3) == 0) {
            zone->conf.resolve = 0;
            return NGX_CONF_OK;
        }

        return ngx_http_rcache_parameter_msec(cf, value, &rest,
                                              &zone->conf.resolve);
    }

    if (ngx_http_rcache_parameter(value, "sample=", &rest)) {

        if (rest.len == 3 && ngx_strncmp(rest.data, "off", 3) == 0) {
            zone->sample = 0;
            return NGX_CONF_OK;
        }

        return ngx_http_rcache_parameter_msec(cf, value, &rest,
                                              &zone->sample);
    }

    if (ngx_http_rcache_parameter(value, "inactive=", &rest)) {
        return ngx_http_rcache_parameter_msec(cf, value, &rest,
                                              &zone->inactive);
    }

    if (ngx_http_rcache_parameter(value, "near=", &rest)) {
        return ngx_http_rcache_near_parameter(cf, zone, value, &rest);
    }

    if (ngx_http_rcache_parameter(value, "purge=", &rest)) {

        if (rest.len == 2 && ngx_strncmp(rest.data, "on", 2) == 0) {
            zone->purge = 1;

        } else if (rest.len != 3 || ngx_strncmp(rest.data, "off", 3) != 0) {
            return ngx_http_rcache_bad_value(cf, value, "on or off");
        }

        return NGX_CONF_OK;
    }

    if (ngx_http_rcache_parameter(value, "keep=", &rest)) {
        return ngx_http_rcache_parameter_msec(cf, value, &rest, &zone->keep);
    }

    if (ngx_http_rcache_parameter(value, "ssl_", &rest)) {
        return ngx_http_rcache_tls_parameter(cf, &zone->conf.tls, value);
    }

    return ngx_http_rcache_bad_value(cf, value,
                                     "server=, cluster=, sentinel=, "
                                     "read_from=, nat=, tls=, prefix=, user=, "
                                     "password=, password_file=, db=, "
                                     "connect_timeout=, timeout=, slow=, "
                                     "resolve=, queue=, labels=, top_keys=, "
                                     "sample=, inactive=, keep=, near=, "
                                     "purge= or ssl_...=");
}
