
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_body.h"


void
ngx_http_rcache_body_conf_create(ngx_http_rcache_body_conf_t *conf)
{
    conf->segment = NGX_CONF_UNSET_SIZE;
    conf->min_size = NGX_CONF_UNSET_SIZE;
    conf->in_flight = NGX_CONF_UNSET_SIZE;
    conf->in_flight_all = NGX_CONF_UNSET_SIZE;
}


char *
ngx_http_rcache_body_conf_merge(ngx_conf_t *cf,
    ngx_http_rcache_body_conf_t *prev, ngx_http_rcache_body_conf_t *conf)
{
    ngx_conf_merge_size_value(conf->segment, prev->segment, 128 * 1024);
    ngx_conf_merge_size_value(conf->min_size, prev->min_size, 0);
    ngx_conf_merge_size_value(conf->in_flight, prev->in_flight,
                              4 * 1024 * 1024);
    ngx_conf_merge_size_value(conf->in_flight_all, prev->in_flight_all,
                              16 * 1024 * 1024);

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
