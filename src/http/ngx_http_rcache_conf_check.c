
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* Setters of the directives that say which responses are wanted. */


#include "ngx_http_rcache_conf.h"


/* how much of a body patterns may look at, and do */

#define NGX_HTTP_RCACHE_WINDOW      (16 * 1024)
#define NGX_HTTP_RCACHE_WINDOW_MAX  (1024 * 1024)


char *
ngx_http_rcache_set_types(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t   *value, *type;
    ngx_uint_t   i;

    if (rlcf->check.types != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    ngx_http_rcache_written(cf, rlcf, 1);

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "default") == 0) {
        rlcf->check.types = NULL;
        return NGX_CONF_OK;
    }

    rlcf->check.types = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
    if (rlcf->check.types == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "*") != 0
            && ngx_strchr(value[i].data, '/') == NULL)
        {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                "a media type, such as \"application/json\" "
                                "or \"image/*\", or \"default\" alone");
        }

        type = ngx_array_push(rlcf->check.types);
        if (type == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_strlow(value[i].data, value[i].data, value[i].len);

        *type = value[i];
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_statuses(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_int_t    n;
    ngx_str_t   *value;
    ngx_uint_t   i, *status;

    if (rlcf->check.statuses != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    ngx_http_rcache_written(cf, rlcf, 1);

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "any") == 0) {
        rlcf->check.statuses = NULL;
        return NGX_CONF_OK;
    }

    rlcf->check.statuses = ngx_array_create(cf->pool, 4, sizeof(ngx_uint_t));
    if (rlcf->check.statuses == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        n = ngx_atoi(value[i].data, value[i].len);

        if (n < 200 || n > 599) {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                             "a status code from 200 to 599, "
                                             "or \"any\" alone");
        }

        status = ngx_array_push(rlcf->check.statuses);
        if (status == NULL) {
            return NGX_CONF_ERROR;
        }

        *status = n;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_no_cache_body(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ssize_t                      size;
    ngx_str_t                   *value, text, rest, err;
    ngx_uint_t                   i, literal, caseless;
    ngx_http_rcache_pattern_t  **pattern;

    value = cf->args->elts;

    ngx_http_rcache_written(cf, rlcf, 1);

    if (rlcf->check.patterns == NULL) {

        /* "off" stands alone */

        return "is duplicate";
    }

    if (ngx_strcmp(value[1].data, "off") == 0 && cf->args->nelts == 2) {

        if (rlcf->check.patterns != NGX_CONF_UNSET_PTR) {
            return "is duplicate";
        }

        rlcf->check.patterns = NULL;
        return NGX_CONF_OK;
    }

    if (rlcf->check.patterns == NGX_CONF_UNSET_PTR) {
        rlcf->check.patterns = ngx_array_create(cf->pool, 2, sizeof(void *));
        if (rlcf->check.patterns == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (i > 1 && i == cf->args->nelts - 1
            && ngx_http_rcache_parameter(&value[i], "window=", &rest))
        {
            size = ngx_parse_size(&rest);

            if (size == NGX_ERROR || size == 0
                || size > NGX_HTTP_RCACHE_WINDOW_MAX)
            {
                return ngx_http_rcache_bad_value(cf, &value[i],
                                                 "a size from 1 to 1m");
            }

            rlcf->check.window = size;
            continue;
        }

        text = value[i];
        literal = 1;
        caseless = 0;

        if (text.len && text.data[0] == '~') {
            literal = 0;
            text.data++;
            text.len--;

            if (text.len && text.data[0] == '*') {
                caseless = 1;
                text.data++;
                text.len--;
            }
        }

        if (text.len == 0) {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                   "a text, or a regular expression behind "
                                   "\"~\" or \"~*\"");
        }

        pattern = ngx_array_push(rlcf->check.patterns);
        if (pattern == NULL) {
            return NGX_CONF_ERROR;
        }

        *pattern = ngx_http_rcache_pattern_compile(cf, &text, literal,
                                                   caseless, &err);

        if (*pattern == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"%V\", expected a "
                               "regular expression: %V",
                               &value[i], &value[0], &err);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_validate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t  *value;

    if (rlcf->check.json != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    ngx_http_rcache_written(cf, rlcf, 1);

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "json") == 0) {
        rlcf->check.json = 1;

    } else if (ngx_strcmp(value[1].data, "off") == 0) {
        rlcf->check.json = 0;

    } else {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "\"json\" or \"off\"");
    }

    return NGX_CONF_OK;
}


void
ngx_http_rcache_check_create(ngx_http_rcache_check_conf_t *conf)
{
    conf->types = NGX_CONF_UNSET_PTR;
    conf->statuses = NGX_CONF_UNSET_PTR;
    conf->patterns = NGX_CONF_UNSET_PTR;
    conf->window = NGX_CONF_UNSET_SIZE;
    conf->extension = NGX_CONF_UNSET;
    conf->json = NGX_CONF_UNSET_UINT;
}


void
ngx_http_rcache_check_merge(ngx_http_rcache_check_conf_t *prev,
    ngx_http_rcache_check_conf_t *conf)
{
    if (conf->patterns != NGX_CONF_UNSET_PTR
        && conf->window == NGX_CONF_UNSET_SIZE)
    {
        /* the window belongs to the patterns */

        conf->window = NGX_HTTP_RCACHE_WINDOW;
    }

    ngx_conf_merge_ptr_value(conf->types, prev->types, NULL);
    ngx_conf_merge_ptr_value(conf->statuses, prev->statuses, NULL);
    ngx_conf_merge_ptr_value(conf->patterns, prev->patterns, NULL);

    ngx_conf_merge_size_value(conf->window, prev->window,
                              NGX_HTTP_RCACHE_WINDOW);
    ngx_conf_merge_value(conf->extension, prev->extension, 1);
    ngx_conf_merge_uint_value(conf->json, prev->json, 0);
}
