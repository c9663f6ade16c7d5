
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_conf.h"


/*
 * Redis's allocator knows 128k and, next to it, 160k: so this is 128k less the
 * header of a segment, and some for what Redis has around a string
 */

#define NGX_HTTP_RCACHE_SEGMENT  (128 * 1024 - 96)


static char *ngx_http_rcache_compress_parameter(ngx_conf_t *cf,
    ngx_http_rcache_body_conf_t *conf, ngx_str_t *value);


/* what an API or a site says in text; text/html is always among them */

ngx_str_t  ngx_http_rcache_compress_types[] = {
    ngx_string("text/html"),
    ngx_string("text/plain"),
    ngx_string("text/css"),
    ngx_string("text/csv"),
    ngx_string("text/xml"),
    ngx_string("text/javascript"),
    ngx_string("application/json"),
    ngx_string("application/ld+json"),
    ngx_string("application/problem+json"),
    ngx_string("application/graphql-response+json"),
    ngx_string("application/javascript"),
    ngx_string("application/xml"),
    ngx_string("application/rss+xml"),
    ngx_string("application/atom+xml"),
    ngx_string("image/svg+xml"),
    ngx_null_string
};


void
ngx_http_rcache_body_conf_create(ngx_http_rcache_body_conf_t *conf)
{
    conf->segment = NGX_CONF_UNSET_SIZE;
    conf->min_size = NGX_CONF_UNSET_SIZE;
    conf->in_flight = NGX_CONF_UNSET_SIZE;
    conf->in_flight_all = NGX_CONF_UNSET_SIZE;
    conf->resume = NGX_CONF_UNSET;
    conf->compress = NGX_CONF_UNSET_UINT;
}


char *
ngx_http_rcache_body_conf_merge(ngx_conf_t *cf,
    ngx_http_rcache_body_conf_t *prev, ngx_http_rcache_body_conf_t *conf)
{
    ngx_conf_merge_size_value(conf->segment, prev->segment,
                              NGX_HTTP_RCACHE_SEGMENT);
    ngx_conf_merge_size_value(conf->min_size, prev->min_size, 0);
    ngx_conf_merge_size_value(conf->in_flight, prev->in_flight,
                              4 * 1024 * 1024);
    ngx_conf_merge_size_value(conf->in_flight_all, prev->in_flight_all,
                              16 * 1024 * 1024);
    ngx_conf_merge_value(conf->resume, prev->resume, 1);

    if (conf->compress == NGX_CONF_UNSET_UINT) {
        conf->compress = (prev->compress == NGX_CONF_UNSET_UINT)
                         ? RCACHE_CODING_NONE : prev->compress;
        conf->level = prev->level;
        conf->min_length = prev->min_length;
        conf->pass = prev->pass;
    }

    if (ngx_http_merge_types(cf, &conf->types_keys, &conf->types,
                             &prev->types_keys, &prev->types,
                             ngx_http_rcache_compress_types)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* one on its way, and the next one */

    if (conf->in_flight < 2 * conf->segment
        || conf->in_flight_all < conf->in_flight)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_in_flight\" of %uz and %uz "
                           "bytes is too small, expected at least two times "
                           "\"redis_proxy_cache_segment_size\", which is %uz, "
                           "and for the worker at least as much",
                           conf->in_flight, conf->in_flight_all,
                           conf->segment);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_segment(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ssize_t     n;
    ngx_str_t  *value;

    if (rlcf->body.segment != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_parse_size(&value[1]);

    if (n == NGX_ERROR || n < RCACHE_SEGMENT_MIN || n > RCACHE_SEGMENT_MAX) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a size from 4k to 16m");
    }

    rlcf->body.segment = n;

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_in_flight(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ssize_t      n;
    size_t      *sizes[2];
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (rlcf->body.in_flight != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    sizes[0] = &rlcf->body.in_flight;
    sizes[1] = &rlcf->body.in_flight_all;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        n = ngx_parse_size(&value[i]);

        if (n == NGX_ERROR || n == 0) {
            return ngx_http_rcache_bad_value(cf, &value[i], "a size");
        }

        *sizes[i - 1] = n;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_compress(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_http_rcache_body_conf_t  *body;

    body = &rlcf->body;

    if (body->compress != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0 && cf->args->nelts == 2) {
        body->compress = RCACHE_CODING_NONE;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "gzip") == 0) {
        body->compress = RCACHE_CODING_GZIP;
        body->level = 1;

    } else if (ngx_strcmp(value[1].data, "zstd") == 0) {
        body->compress = RCACHE_CODING_ZSTD;
        body->level = 3;

    } else {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "gzip, zstd, or off alone");
    }

    body->min_length = 1024;
    body->pass = 0;

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_rcache_compress_parameter(cf, body, &value[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_rcache_compress_parameter(ngx_conf_t *cf,
    ngx_http_rcache_body_conf_t *conf, ngx_str_t *value)
{
    ssize_t     size;
    ngx_str_t   rest;
    ngx_int_t   n, max;

    if (ngx_strcmp(value->data, "pass") == 0) {
        conf->pass = 1;
        return NGX_CONF_OK;
    }

    if (ngx_http_rcache_parameter(value, "level=", &rest)) {
        n = ngx_atoi(rest.data, rest.len);
        max = (conf->compress == RCACHE_CODING_GZIP) ? 9 : 19;

        if (n < 1 || n > max) {
            return ngx_http_rcache_bad_value(cf, value,
                                        (max == 9) ? "a level from 1 to 9"
                                                   : "a level from 1 to 19");
        }

        conf->level = n;
        return NGX_CONF_OK;
    }

    if (ngx_http_rcache_parameter(value, "min_length=", &rest)) {
        size = ngx_parse_size(&rest);

        if (size == NGX_ERROR || size == 0) {
            return ngx_http_rcache_bad_value(cf, value, "a size");
        }

        conf->min_length = size;
        return NGX_CONF_OK;
    }

    return ngx_http_rcache_bad_value(cf, value,
                                     "level=, min_length= or pass");
}
