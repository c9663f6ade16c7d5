
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* Setters of the directives of collapsing and of stale serving. */


#include "ngx_http_rcache_conf.h"
#include "../core/rcache_stale.h"


/* beta in thousandths: at most 1000 */

#define NGX_HTTP_RCACHE_BETA_MAX  1000000


static ngx_conf_bitmask_t  ngx_http_rcache_use_stale_masks[] = {
    { ngx_string("error"), NGX_HTTP_UPSTREAM_FT_ERROR },
    { ngx_string("timeout"), NGX_HTTP_UPSTREAM_FT_TIMEOUT },
    { ngx_string("invalid_header"), NGX_HTTP_UPSTREAM_FT_INVALID_HEADER },
    { ngx_string("updating"), NGX_HTTP_UPSTREAM_FT_UPDATING },
    { ngx_string("http_500"), NGX_HTTP_UPSTREAM_FT_HTTP_500 },
    { ngx_string("http_502"), NGX_HTTP_UPSTREAM_FT_HTTP_502 },
    { ngx_string("http_503"), NGX_HTTP_UPSTREAM_FT_HTTP_503 },
    { ngx_string("http_504"), NGX_HTTP_UPSTREAM_FT_HTTP_504 },
    { ngx_string("http_403"), NGX_HTTP_UPSTREAM_FT_HTTP_403 },
    { ngx_string("http_404"), NGX_HTTP_UPSTREAM_FT_HTTP_404 },
    { ngx_string("http_429"), NGX_HTTP_UPSTREAM_FT_HTTP_429 },
    { ngx_string("off"), NGX_HTTP_UPSTREAM_FT_OFF },
    { ngx_null_string, 0 }
};


char *
ngx_http_rcache_set_msec_or_0(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_int_t    n;
    ngx_str_t   *value;
    ngx_msec_t  *msp;

    msp = (ngx_msec_t *) (p + cmd->offset);

    if (*msp != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_parse_time(&value[1], 0);

    if (n == NGX_ERROR) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a time, such as \"5s\", or 0");
    }

    *msp = n;

    ngx_http_rcache_written(cf, conf, 1);

    return NGX_CONF_OK;
}


/* several lines add up, as those of proxy_cache_use_stale do */

char *
ngx_http_rcache_set_use_stale(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t           *value;
    ngx_uint_t           i;
    ngx_conf_bitmask_t  *mask;

    ngx_http_rcache_written(cf, rlcf, 1);

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (mask = ngx_http_rcache_use_stale_masks; mask->name.len; mask++) {
            if (rcache_str_same(&value[i], &mask->name)) {
                break;
            }
        }

        if (mask->name.len == 0) {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                   "\"error\", \"timeout\", "
                                   "\"invalid_header\", \"updating\", "
                                   "\"http_500\", \"http_502\", "
                                   "\"http_503\", \"http_504\", "
                                   "\"http_403\", \"http_404\", "
                                   "\"http_429\", or \"off\" alone");
        }

        if (rlcf->use_stale & mask->mask) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "duplicate value \"%V\" in \"%V\"",
                               &value[i], &value[0]);
        }

        rlcf->use_stale |= mask->mask;

        if ((rlcf->use_stale & NGX_HTTP_UPSTREAM_FT_OFF)
            && rlcf->use_stale != NGX_HTTP_UPSTREAM_FT_OFF)
        {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                             "\"off\" alone, or no \"off\"");
        }
    }

    return NGX_CONF_OK;
}


void
ngx_http_rcache_merge_use_stale(ngx_http_rcache_loc_conf_t *prev,
    ngx_http_rcache_loc_conf_t *conf)
{
    ngx_conf_merge_bitmask_value(conf->use_stale, prev->use_stale, 0);

    /* what a level inherits is the same with "off" and with nothing */

    if (conf->use_stale & NGX_HTTP_UPSTREAM_FT_OFF) {
        conf->use_stale = 0;
    }

    /* an upstream of which no server lives is in error */

    if (conf->use_stale & NGX_HTTP_UPSTREAM_FT_ERROR) {
        conf->use_stale |= NGX_HTTP_UPSTREAM_FT_NOLIVE;
    }
}


char *
ngx_http_rcache_set_jitter(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (rlcf->jitter != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        rlcf->jitter = 0;
        return NGX_CONF_OK;
    }

    n = NGX_ERROR;

    if (value[1].len > 1 && value[1].data[value[1].len - 1] == '%') {
        n = ngx_atofp(value[1].data, value[1].len - 1, 1);
    }

    if (n < 1 || n > RCACHE_JITTER_MAX) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a percentage from 0.1% to 99.9%, "
                                         "such as \"10%\", or \"off\"");
    }

    rlcf->jitter = n;

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_early_refresh(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (rlcf->early_refresh != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        rlcf->early_refresh = 0;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "on") == 0) {
        rlcf->early_refresh = 1000;
        return NGX_CONF_OK;
    }

    n = ngx_atofp(value[1].data, value[1].len, 3);

    if (n < 1 || n > NGX_HTTP_RCACHE_BETA_MAX) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "\"on\", \"off\" or a number from "
                                         "0.001 to 1000");
    }

    rlcf->early_refresh = n;

    return NGX_CONF_OK;
}
