
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* Setters of the directives that say what counts in a request. */


#include "ngx_http_rcache_conf.h"


static char *ngx_http_rcache_args_option(ngx_conf_t *cf,
    ngx_http_rcache_args_conf_t *conf, ngx_str_t *value);
static char *ngx_http_rcache_args_add(ngx_conf_t *cf,
    ngx_http_rcache_args_conf_t *conf, ngx_str_t *value);


/* the largest body that may be part of a key */

#define NGX_HTTP_RCACHE_BODY_MAX     (1024 * 1024)


char *
ngx_http_rcache_set_args(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    char                         *rv;
    ngx_str_t                    *value;
    ngx_uint_t                    i, options;
    ngx_http_rcache_args_conf_t  *args;

    static char  right[] = "\"keep\" or \"drop\" and names, \"all\" or \"off\"";

    if (rlcf->rules.args != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    ngx_http_rcache_written(cf, rlcf, 1);

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {

        if (cf->args->nelts > 2) {
            return ngx_http_rcache_bad_value(cf, &value[2], "nothing behind "
                                             "\"off\"");
        }

        rlcf->rules.args = NULL;
        return NGX_CONF_OK;
    }

    args = ngx_pcalloc(cf->pool, sizeof(ngx_http_rcache_args_conf_t));
    if (args == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_array_init(&args->rules, cf->pool, 4,
                       sizeof(ngx_http_rcache_args_rule_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    args->sort = 1;

    if (ngx_strcmp(value[1].data, "keep") == 0) {
        args->mode = NGX_HTTP_RCACHE_ARGS_KEEP;

    } else if (ngx_strcmp(value[1].data, "drop") == 0) {
        args->mode = NGX_HTTP_RCACHE_ARGS_DROP;

    } else if (ngx_strcmp(value[1].data, "all") == 0) {
        args->mode = NGX_HTTP_RCACHE_ARGS_ALL;

    } else {
        return ngx_http_rcache_bad_value(cf, &value[1], right);
    }

    options = 0;

    for (i = 2; i < cf->args->nelts; i++) {

        if (value[i].len && value[i].data[0] != '~'
            && ngx_strchr(value[i].data, '='))
        {
            rv = ngx_http_rcache_args_option(cf, args, &value[i]);
            options++;

        } else if (options || args->mode == NGX_HTTP_RCACHE_ARGS_ALL) {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                     "\"empty=drop\", \"sort=off\" or "
                                     "\"upstream=key\" here; names come "
                                     "before, behind \"keep\" or \"drop\"");

        } else {
            rv = ngx_http_rcache_args_add(cf, args, &value[i]);
        }

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (args->rules.nelts == 0 && args->mode != NGX_HTTP_RCACHE_ARGS_ALL) {
        return ngx_http_rcache_bad_value(cf, &value[1], right);
    }

    rlcf->rules.args = args;

    return NGX_CONF_OK;
}


static char *
ngx_http_rcache_args_option(ngx_conf_t *cf, ngx_http_rcache_args_conf_t *conf,
    ngx_str_t *value)
{
    if (ngx_strcmp(value->data, "empty=drop") == 0) {
        conf->drop_empty = 1;

    } else if (ngx_strcmp(value->data, "empty=keep") == 0) {
        conf->drop_empty = 0;

    } else if (ngx_strcmp(value->data, "sort=off") == 0) {
        conf->sort = 0;

    } else if (ngx_strcmp(value->data, "sort=on") == 0) {
        conf->sort = 1;

    } else if (ngx_strcmp(value->data, "upstream=key") == 0) {
        conf->upstream = 1;

    } else if (ngx_strcmp(value->data, "upstream=client") == 0) {
        conf->upstream = 0;

    } else {
        return ngx_http_rcache_bad_value(cf, value,
                                    "\"empty=drop\", \"empty=keep\", "
                                    "\"sort=on\", \"sort=off\", "
                                    "\"upstream=client\" or \"upstream=key\"");
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_rcache_args_add(ngx_conf_t *cf, ngx_http_rcache_args_conf_t *conf,
    ngx_str_t *value)
{
    ngx_http_rcache_args_rule_t  *rule;

    if (value->len == 0) {
        return ngx_http_rcache_bad_value(cf, value, "the name of an argument");
    }

    rule = ngx_array_push(&conf->rules);
    if (rule == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(rule, sizeof(ngx_http_rcache_args_rule_t));

    rule->text = *value;

    if (value->data[0] != '~') {
        rule->wild = (ngx_strchr(value->data, '*') != NULL);

        return NGX_CONF_OK;
    }

#if (NGX_PCRE)
    {
    u_char               errstr[NGX_MAX_CONF_ERRSTR];
    ngx_regex_compile_t  rc;

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern.data = value->data + 1;
    rc.pattern.len = value->len - 1;
    rc.pool = cf->pool;
    rc.err.len = NGX_MAX_CONF_ERRSTR;
    rc.err.data = errstr;

    if (value->len == 1 || ngx_regex_compile(&rc) != NGX_OK) {
        return ngx_http_rcache_bad_value(cf, value,
                                         "a regular expression behind \"~\"");
    }

    rule->regex = rc.regex;
    }

    return NGX_CONF_OK;

#else

    return ngx_http_rcache_bad_value(cf, value, "no regular expression, as "
                                     "this nginx is built without PCRE");

#endif
}


char *
ngx_http_rcache_set_user(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t                         *value;
    ngx_http_compile_complex_value_t   ccv;

    if (rlcf->rules.user != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    ngx_http_rcache_written(cf, rlcf, 1);

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        rlcf->rules.user = NULL;
        return NGX_CONF_OK;
    }

    /* a constant is one user for all */

    if (ngx_http_script_variables_count(&value[1]) == 0) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                               "a string with a variable that tells who the "
                               "user is, such as \"$remote_user\", or "
                               "\"off\"");
    }

    rlcf->rules.user = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (rlcf->rules.user == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = rlcf->rules.user;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_unkeyed(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    u_char       *p;
    ngx_str_t    *value;
    ngx_uint_t    i, first, n;
    ngx_array_t   given;
    ngx_keyval_t *kv, *other;

    if (rlcf->rules.unkeyed != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    ngx_http_rcache_written(cf, rlcf, 1);

    rlcf->rules.unkeyed = ngx_pcalloc(cf->pool,
                                      sizeof(ngx_http_rcache_unkeyed_t));
    if (rlcf->rules.unkeyed == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_array_init(&given, cf->pool, 8, sizeof(ngx_keyval_t)) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    first = (ngx_strcmp(value[1].data, "off") == 0) ? 2 : 1;

    for (i = first; i < cf->args->nelts; i++) {

        kv = ngx_array_push(&given);
        if (kv == NULL) {
            return NGX_CONF_ERROR;
        }

        p = (u_char *) ngx_strchr(value[i].data, '=');

        if (p == NULL) {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                   "a header, \"=\", and \"key\", \"strip\", "
                                   "\"bypass\" or \"ignore\"");
        }

        kv->key.data = value[i].data;
        kv->key.len = p - value[i].data;

        kv->value.data = p + 1;
        kv->value.len = value[i].len - kv->key.len - 1;

        if (!ngx_http_rcache_is_token(&kv->key)
            || kv->key.len > NGX_HTTP_RCACHE_UNKEYED_NAME)
        {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                   "the name of a header in front of \"=\"");
        }

        if (ngx_http_rcache_unkeyed_action(&kv->value) == 0) {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                   "\"key\", \"strip\", \"bypass\" or "
                                   "\"ignore\" behind \"=\"");
        }

        /* both spellings are found under this one */

        for (n = 0; n < kv->key.len; n++) {
            kv->key.data[n] = (kv->key.data[n] == '_')
                              ? '-' : ngx_tolower(kv->key.data[n]);
        }

        other = given.elts;

        for (n = 0; n < given.nelts - 1; n++) {

            if (rcache_str_same(&other[n].key, &kv->key)) {
                return ngx_http_rcache_bad_value(cf, &kv->key,
                                                 "each header once");
            }
        }
    }

    rlcf->rules.unkeyed->given = given;

    if (ngx_http_rcache_unkeyed_build(cf, &given, first == 1,
                                      rlcf->rules.unkeyed)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_set_key_body(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ssize_t      size;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (rlcf->rules.body_size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    ngx_http_rcache_written(cf, rlcf, 1);

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        size = (cf->args->nelts == 2) ? 0 : NGX_ERROR;

    } else {
        size = ngx_parse_size(&value[1]);

        if (size == 0 || size > NGX_HTTP_RCACHE_BODY_MAX) {
            size = NGX_ERROR;
        }
    }

    if (size == NGX_ERROR) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a size from 1 to 1m, or \"off\" "
                                         "alone");
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "json") == 0) {
            rlcf->rules.json = 1;

        } else if (ngx_strcmp(value[i].data, "graphql") == 0) {
            rlcf->rules.graphql = 1;

        } else {
            return ngx_http_rcache_bad_value(cf, &value[i],
                                             "\"json\" or \"graphql\"");
        }
    }

    rlcf->rules.body_size = size;

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_rcache_rules_loose(ngx_str_t *key)
{
    ngx_uint_t  i;

    static char  *raw[] = { "$request_uri", "${request_uri}", NULL };
    static char  *decoded[] = { "$uri", "${uri}", "$document_uri",
                                "${document_uri}", NULL };

    for (i = 0; raw[i]; i++) {
        if (ngx_strstr(key->data, raw[i])) {
            return 0;
        }
    }

    for (i = 0; decoded[i]; i++) {
        if (ngx_strstr(key->data, decoded[i])) {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_rcache_rules_create(ngx_http_rcache_rules_conf_t *conf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->json = 0;
     *     conf->graphql = 0;
     *     conf->loose = 0;
     */

    conf->args = NGX_CONF_UNSET_PTR;
    conf->user = NGX_CONF_UNSET_PTR;
    conf->unkeyed = NGX_CONF_UNSET_PTR;
    conf->profile = NGX_CONF_UNSET_UINT;
    conf->body_size = NGX_CONF_UNSET_SIZE;
}


char *
ngx_http_rcache_rules_merge(ngx_conf_t *cf, ngx_http_rcache_rules_conf_t *prev,
    ngx_http_rcache_rules_conf_t *conf)
{
    if (prev->unkeyed == NGX_CONF_UNSET_PTR) {

        /* http{} itself: the defaults are made once */

        prev->unkeyed = ngx_pcalloc(cf->pool,
                                    sizeof(ngx_http_rcache_unkeyed_t));
        if (prev->unkeyed == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ngx_http_rcache_unkeyed_build(cf, NULL, 1, prev->unkeyed)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    ngx_conf_merge_ptr_value(conf->args, prev->args, NULL);
    ngx_conf_merge_ptr_value(conf->user, prev->user, NULL);
    ngx_conf_merge_ptr_value(conf->unkeyed, prev->unkeyed, NULL);

    ngx_conf_merge_uint_value(conf->profile, prev->profile,
                              NGX_HTTP_RCACHE_PROFILE_OFF);

    if (conf->body_size == NGX_CONF_UNSET_SIZE) {
        conf->json = prev->json;
        conf->graphql = prev->graphql;
    }

    ngx_conf_merge_size_value(conf->body_size, prev->body_size, 0);

    return NGX_CONF_OK;
}
