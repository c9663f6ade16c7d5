
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* Directives of purging. */


#include "ngx_http_rcache_conf.h"


static char *ngx_http_rcache_purge_values(ngx_conf_t *cf,
    ngx_array_t **values);
static char *ngx_http_rcache_purge_value(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_complex_value_t *cv);


char *
ngx_http_rcache_set_tags(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_purge_conf_t *pcf = (ngx_http_rcache_purge_conf_t *)
                                            ((u_char *) conf + cmd->offset);

    ngx_http_rcache_written(cf, conf, 1);

    return ngx_http_rcache_purge_values(cf, &pcf->tags);
}


char *
ngx_http_rcache_set_invalidate_tags(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_rcache_purge_conf_t *pcf = (ngx_http_rcache_purge_conf_t *)
                                            ((u_char *) conf + cmd->offset);

    return ngx_http_rcache_purge_values(cf, &pcf->invalidate);
}


/* "off", or values with variables */

static char *
ngx_http_rcache_purge_values(ngx_conf_t *cf, ngx_array_t **values)
{
    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_complex_value_t  *cv;

    if (*values != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        *values = NULL;
        return NGX_CONF_OK;
    }

    *values = ngx_array_create(cf->pool, cf->args->nelts - 1,
                               sizeof(ngx_http_complex_value_t));
    if (*values == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {
        cv = ngx_array_push(*values);

        if (cv == NULL
            || ngx_http_rcache_purge_value(cf, &value[i], cv) != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_purge(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_purge_conf_t *pcf = (ngx_http_rcache_purge_conf_t *)
                                            ((u_char *) conf + cmd->offset);

    ngx_str_t                   *value, rest;
    ngx_uint_t                   i;
    ngx_http_complex_value_t    *cv, **to;
    ngx_http_rcache_loc_conf_t  *rlcf;

    if (pcf->purge != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    rlcf = conf;

    ngx_http_rcache_where(cf, &rlcf->lint.purge);

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        pcf->purge = NULL;
        return NGX_CONF_OK;
    }

    pcf->purge = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                  sizeof(ngx_http_complex_value_t));
    if (pcf->purge == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        to = NULL;

        if (ngx_http_rcache_parameter(&value[i], "soft=", &rest)) {
            to = &pcf->soft;

        } else if (ngx_http_rcache_parameter(&value[i], "refresh=", &rest)) {
            to = &pcf->refresh;
        }

        if (to == NULL) {
            rest = value[i];
            cv = ngx_array_push(pcf->purge);

        } else if (*to) {
            return ngx_http_rcache_bad_value(cf, &value[i], "it once");

        } else {
            cv = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
            *to = cv;
        }

        if (cv == NULL
            || ngx_http_rcache_purge_value(cf, &rest, cv) != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (pcf->purge->nelts == 0) {
        return "needs a condition, such as $purge_method";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_rcache_purge_value(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_complex_value_t *cv)
{
    ngx_http_compile_complex_value_t  ccv;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = value;
    ccv.complex_value = cv;

    return (ngx_http_compile_complex_value(&ccv) == NGX_OK) ? NGX_CONF_OK
                                                            : NGX_CONF_ERROR;
}


void
ngx_http_rcache_purge_create(ngx_http_rcache_purge_conf_t *conf)
{
    conf->tags = NGX_CONF_UNSET_PTR;
    conf->purge = NGX_CONF_UNSET_PTR;
    conf->invalidate = NGX_CONF_UNSET_PTR;
}


void
ngx_http_rcache_purge_merge(ngx_http_rcache_purge_conf_t *prev,
    ngx_http_rcache_purge_conf_t *conf)
{
    if (conf->purge == NGX_CONF_UNSET_PTR) {
        conf->soft = prev->soft;
        conf->refresh = prev->refresh;
    }

    ngx_conf_merge_ptr_value(conf->tags, prev->tags, NULL);
    ngx_conf_merge_ptr_value(conf->purge, prev->purge, NULL);
    ngx_conf_merge_ptr_value(conf->invalidate, prev->invalidate, NULL);
}


ngx_uint_t
ngx_http_rcache_purge_used(ngx_http_rcache_purge_conf_t *conf)
{
    return conf->tags || conf->purge || conf->invalidate;
}
