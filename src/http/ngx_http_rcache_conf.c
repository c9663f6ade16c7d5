
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Setters of directives.  nginx's own say "invalid value"; these name the
 * directive, the value and what would be right.
 */


#include "ngx_http_rcache.h"


#define NGX_HTTP_RCACHE_CONNECT_TIMEOUT  100
#define NGX_HTTP_RCACHE_TIMEOUT          250
#define NGX_HTTP_RCACHE_QUEUE            1024


static char *ngx_http_rcache_bad_value(ngx_conf_t *cf, ngx_str_t *value,
    char *right);
static ngx_http_rcache_zone_t *ngx_http_rcache_zone_create(ngx_conf_t *cf,
    ngx_str_t *name);
static char *ngx_http_rcache_zone_memory(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *size);
static char *ngx_http_rcache_zone_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *server);
static ngx_uint_t ngx_http_rcache_parameter(ngx_str_t *value, char *name,
    ngx_str_t *rest);
static char *ngx_http_rcache_parameter_msec(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *rest, ngx_msec_t *to);


static char *
ngx_http_rcache_bad_value(ngx_conf_t *cf, ngx_str_t *value, char *right)
{
    ngx_str_t  *directive;

    directive = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\", expected %s",
                       value, directive, right);

    return NGX_CONF_ERROR;
}


char *
ngx_http_rcache_set_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_main_conf_t *rmcf = conf;

    char                    *rv, *err;
    u_char                  *p;
    ngx_str_t               *value, name, size, server;
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

    ngx_str_null(&server);

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_http_rcache_zone_parameter(cf, zone, &value[i], &server);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (server.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" has no server, "
                           "expected server=redis://host:port", &name);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_rcache_redis_url(cf, &zone->conf, &server, &err) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid server \"%V\" in "
                           "\"redis_proxy_cache_zone\" \"%V\": %s, expected "
                           "redis://[[user]:password@]host[:port][/db] or "
                           "unix:/path", &zone->conf.url, &name, err);
        return NGX_CONF_ERROR;
    }

    if (zone->conf.password_file.len) {

        if (ngx_conf_full_name(cf->cycle, &zone->conf.password_file, 1)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        if (ngx_http_rcache_redis_password(cf, &zone->conf) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
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

    zone->prefix.len = name->len + 1;
    zone->prefix.data = ngx_pnalloc(cf->pool, zone->prefix.len);
    if (zone->prefix.data == NULL) {
        return NULL;
    }

    ngx_sprintf(zone->prefix.data, "%V:", name);

    zone->conf.zone = *name;
    zone->conf.connect_timeout = NGX_HTTP_RCACHE_CONNECT_TIMEOUT;
    zone->conf.timeout = NGX_HTTP_RCACHE_TIMEOUT;
    zone->conf.queue = NGX_HTTP_RCACHE_QUEUE;

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

    if (n < (ssize_t) (8 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\" is too small, "
                           "expected a size of at least %uz",
                           value, 8 * ngx_pagesize);
        return NGX_CONF_ERROR;
    }

    zone->shm = ngx_shared_memory_add(cf, &zone->name, n,
                                      &ngx_http_redis_proxy_cache_module);
    if (zone->shm == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->shm->init = ngx_http_rcache_health_init;
    zone->shm->data = zone;

    return NGX_CONF_OK;
}


static char *
ngx_http_rcache_zone_parameter(ngx_conf_t *cf, ngx_http_rcache_zone_t *zone,
    ngx_str_t *value, ngx_str_t *server)
{
    ngx_int_t   n;
    ngx_str_t   rest;

    if (ngx_http_rcache_parameter(value, "server=", &rest)) {

        if (server->len) {
            return ngx_http_rcache_bad_value(cf, value,
                                             "one server= a zone");
        }

        if (rest.len == 0) {
            return ngx_http_rcache_bad_value(cf, value,
                                             "server=redis://host:port");
        }

        *server = rest;
        return NGX_CONF_OK;
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

    if (ngx_http_rcache_parameter(value, "connect_timeout=", &rest)) {
        return ngx_http_rcache_parameter_msec(cf, value, &rest,
                                              &zone->conf.connect_timeout);
    }

    if (ngx_http_rcache_parameter(value, "timeout=", &rest)) {
        return ngx_http_rcache_parameter_msec(cf, value, &rest,
                                              &zone->conf.timeout);
    }

    return ngx_http_rcache_bad_value(cf, value,
                                     "server=, prefix=, user=, password=, "
                                     "password_file=, db=, connect_timeout=, "
                                     "timeout= or queue=");
}


static ngx_uint_t
ngx_http_rcache_parameter(ngx_str_t *value, char *name, ngx_str_t *rest)
{
    size_t  len;

    len = ngx_strlen(name);

    if (value->len < len || ngx_strncmp(value->data, name, len) != 0) {
        return 0;
    }

    rest->data = value->data + len;
    rest->len = value->len - len;

    return 1;
}


static char *
ngx_http_rcache_parameter_msec(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *rest, ngx_msec_t *to)
{
    ngx_int_t  n;

    n = ngx_parse_time(rest, 0);

    if (n == NGX_ERROR || n == 0) {
        return ngx_http_rcache_bad_value(cf, value,
                                      "a time above 0, such as \"100ms\"");
    }

    *to = n;

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_cache(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t                         *value;
    ngx_http_complex_value_t           cv;
    ngx_http_compile_complex_value_t   ccv;

    if (rlcf->enable != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        rlcf->enable = 0;
        return NGX_CONF_OK;
    }

    if (value[1].len == 0) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "the name of a zone, or \"off\"");
    }

    rlcf->enable = 1;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = &cv;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (cv.lengths == NULL) {

        /* a zone that may be declared further down; see merge */

        rlcf->name = value[1];
        return NGX_CONF_OK;
    }

    rlcf->zone_value = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (rlcf->zone_value == NULL) {
        return NGX_CONF_ERROR;
    }

    *rlcf->zone_value = cv;

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t                         *value;
    ngx_http_compile_complex_value_t   ccv;

    if (rlcf->key != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                             "a key, such as \"$scheme://$host$request_uri\"");
    }

    rlcf->key = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (rlcf->key == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = rlcf->key;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_valid(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    time_t                    valid;
    ngx_int_t                 status;
    ngx_str_t                *value;
    ngx_uint_t                i, n;
    ngx_http_rcache_valid_t  *v;

    static ngx_uint_t         statuses[] = { 200, 301, 302 };

    if (rlcf->valid == NGX_CONF_UNSET_PTR) {
        rlcf->valid = ngx_array_create(cf->pool, 4,
                                       sizeof(ngx_http_rcache_valid_t));
        if (rlcf->valid == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;
    n = cf->args->nelts - 1;

    valid = ngx_parse_time(&value[n], 1);

    if (valid == (time_t) NGX_ERROR) {
        return ngx_http_rcache_bad_value(cf, &value[n],
                                         "a time, such as \"10m\"");
    }

    if (n == 1) {

        for (i = 0; i < 3; i++) {
            v = ngx_array_push(rlcf->valid);
            if (v == NULL) {
                return NGX_CONF_ERROR;
            }

            v->status = statuses[i];
            v->valid = valid;
        }

        return NGX_CONF_OK;
    }

    for (i = 1; i < n; i++) {

        if (ngx_strcmp(value[i].data, "any") == 0) {
            status = 0;

        } else {
            status = ngx_atoi(value[i].data, value[i].len);

            if (status < 200 || status > 599) {
                return ngx_http_rcache_bad_value(cf, &value[i],
                                                 "a status code from 200 to "
                                                 "599, or \"any\"");
            }
        }

        v = ngx_array_push(rlcf->valid);
        if (v == NULL) {
            return NGX_CONF_ERROR;
        }

        v->status = status;
        v->valid = valid;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_methods(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i;

    if (rlcf->methods != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        /* another method may have a body, which is not part of the key */

        if (ngx_strcmp(value[i].data, "GET") != 0
            && ngx_strcmp(value[i].data, "HEAD") != 0)
        {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                             "\"GET\" or \"HEAD\"");
        }
    }

    /* as in proxy_cache_methods, these two are always in */

    rlcf->methods = NGX_HTTP_GET|NGX_HTTP_HEAD;

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    size_t     *np;
    ssize_t     n;
    ngx_str_t  *value;

    np = (size_t *) (p + cmd->offset);

    if (*np != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_parse_size(&value[1]);

    if (n == NGX_ERROR || n > NGX_HTTP_RCACHE_MAX_BODY) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a size of at most 60m");
    }

    *np = n;

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_msec(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t   *value;
    ngx_msec_t  *msp;

    msp = (ngx_msec_t *) (p + cmd->offset);

    if (*msp != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    return ngx_http_rcache_parameter_msec(cf, &value[1], &value[1], msp);
}
