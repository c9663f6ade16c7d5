
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Setters of directives.  nginx's own say "invalid value"; these name the
 * directive, the value and what would be right.
 */


#include "ngx_http_rcache_conf.h"
#include "../core/rcache_response.h"


char *
ngx_http_rcache_bad_value(ngx_conf_t *cf, ngx_str_t *value, char *right)
{
    ngx_str_t  *directive;

    directive = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\", expected %s",
                       value, directive, right);

    return NGX_CONF_ERROR;
}


ngx_uint_t
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


char *
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

    ngx_http_rcache_written(cf, rlcf, 1);

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

    /* the key of a slice has its range, and so its 206 is a whole */

    rlcf->slice = (ngx_strstr(value[1].data, "$slice_range") != NULL
                   || ngx_strstr(value[1].data, "${slice_range}") != NULL);

    rlcf->rules.loose = ngx_http_rcache_rules_loose(&value[1]);

    ngx_http_rcache_written(cf, rlcf, 1);
    rlcf->lint.key_text = value[1];

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

    ngx_http_rcache_written(cf, rlcf, (n == 1) ? 3 : n - 1);

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
    ngx_uint_t   i, methods;

    if (rlcf->methods != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    /* as in proxy_cache_methods, these two are always in */

    methods = NGX_HTTP_GET|NGX_HTTP_HEAD;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "GET") == 0
            || ngx_strcmp(value[i].data, "HEAD") == 0)
        {
            continue;
        }

        if (ngx_strcmp(value[i].data, "POST") == 0) {
            methods |= NGX_HTTP_POST;

        } else if (ngx_strcmp(value[i].data, "QUERY") == 0) {
            methods |= NGX_HTTP_RCACHE_QUERY;

        } else {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                             "\"GET\", \"HEAD\", \"POST\" "
                                             "or \"QUERY\"");
        }
    }

    rlcf->methods = methods;

    ngx_http_rcache_written(cf, rlcf, 1);

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
                                         "a size of at most 1g");
    }

    *np = n;

    ngx_http_rcache_written(cf, conf, 1);

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

    ngx_http_rcache_written(cf, conf, 1);

    value = cf->args->elts;

    return ngx_http_rcache_parameter_msec(cf, &value[1], &value[1], msp);
}


char *
ngx_http_rcache_set_off(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    off_t      *np;
    ngx_str_t  *value;

    np = (off_t *) (p + cmd->offset);

    if (*np != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    *np = ngx_parse_offset(&value[1]);

    if (*np == (off_t) NGX_ERROR) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "an offset, such as \"10m\"");
    }

    ngx_http_rcache_written(cf, conf, 1);

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_number(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_int_t    n;
    ngx_str_t   *value;
    ngx_uint_t  *np;

    np = (ngx_uint_t *) (p + cmd->offset);

    if (*np != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a number, 0 or more");
    }

    *np = n;

    ngx_http_rcache_written(cf, conf, 1);

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_variants(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (rlcf->max_variants != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || n > NGX_HTTP_RCACHE_MAX_VARIANTS) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a number from 0 to 48");
    }

    rlcf->max_variants = n;

    ngx_http_rcache_written(cf, rlcf, 1);

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_ignore(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i, n;

    static struct {
        ngx_str_t   name;
        ngx_uint_t  bit;
    } names[] = {
        { ngx_string("X-Accel-Expires"), RCACHE_IGNORE_X_ACCEL_EXPIRES },
        { ngx_string("Expires"), RCACHE_IGNORE_EXPIRES },
        { ngx_string("Cache-Control"), RCACHE_IGNORE_CACHE_CONTROL },
        { ngx_string("Set-Cookie"), RCACHE_IGNORE_SET_COOKIE },
        { ngx_string("Vary"), RCACHE_IGNORE_VARY },
        { ngx_null_string, 0 }
    };

    if (rlcf->ignore != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    rlcf->ignore = 0;

    ngx_http_rcache_written(cf, rlcf, 1);

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (n = 0; names[n].name.len; n++) {
            if (rcache_str_same(&value[i], &names[n].name)) {
                rlcf->ignore |= names[n].bit;
                break;
            }
        }

        if (names[n].name.len == 0) {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                      "\"X-Accel-Expires\", \"Expires\", "
                                      "\"Cache-Control\", \"Set-Cookie\" or "
                                      "\"Vary\"");
        }
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_rcache_is_token(ngx_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {
        if (!rcache_token[value->data[i]]) {
            return 0;
        }
    }

    return value->len != 0;
}


char *
ngx_http_rcache_set_targets(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t   *value, *name;
    ngx_uint_t   i;

    if (rlcf->targets != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    rlcf->targets = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
    if (rlcf->targets == NULL) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    if (cf->args->nelts - 1 > RCACHE_TARGETS_MAX) {
        return ngx_http_rcache_bad_value(cf, &value[1 + RCACHE_TARGETS_MAX],
                                         "at most 4 header names");
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (!ngx_http_rcache_is_token(&value[i])
            || ngx_strcmp(value[i].data, "off") == 0)
        {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                             "the name of a header, or "
                                             "\"off\" alone");
        }

        name = ngx_array_push(rlcf->targets);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = value[i];
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_identity(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t  *value;

    if (rlcf->identity.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        ngx_str_set(&rlcf->identity, "");
        return NGX_CONF_OK;
    }

    /* RFC 9211, 2: a token here, so that it needs no quotes */

    if (!ngx_http_rcache_is_token(&value[1])
        || !((value[1].data[0] >= 'a' && value[1].data[0] <= 'z')
             || (value[1].data[0] >= 'A' && value[1].data[0] <= 'Z')))
    {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                   "a token that begins with a letter, such "
                                   "as \"nginx\", or \"off\"");
    }

    rlcf->identity = value[1];

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_via(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t  *value;

    if (rlcf->via.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        ngx_str_set(&rlcf->via, "");
        return NGX_CONF_OK;
    }

    if (!ngx_http_rcache_is_token(&value[1])) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a token, such as \"nginx\", or "
                                         "\"off\"");
    }

    rlcf->via.len = sizeof("1.1 ") - 1 + value[1].len;
    rlcf->via.data = ngx_pnalloc(cf->pool, rlcf->via.len);
    if (rlcf->via.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_sprintf(rlcf->via.data, "1.1 %V", &value[1]);

    return NGX_CONF_OK;
}
