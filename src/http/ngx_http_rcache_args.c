
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* redis_proxy_cache_args: which arguments of the query count. */


#include "ngx_http_rcache.h"


static ngx_http_rcache_args_rule_t *ngx_http_rcache_args_rule(
    ngx_http_rcache_args_conf_t *conf, ngx_str_t *name);
static ngx_int_t ngx_http_rcache_args_choose(ngx_http_rcache_args_conf_t *conf,
    rcache_arg_t *args, size_t *n);


ngx_int_t
ngx_http_rcache_args(ngx_http_request_t *r, ngx_str_t *args)
{
    ngx_int_t               rc;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx && ctx->rules.judged) {
        *args = ctx->rules.args;
        return NGX_OK;
    }

    rc = ngx_http_rcache_args_query(r, &r->args, args);

    if (rc == NGX_OK && ctx) {
        ctx->rules.args = *args;
        ctx->rules.judged = 1;
    }

    return rc;
}


ngx_int_t
ngx_http_rcache_args_query(ngx_http_request_t *r, ngx_str_t *query,
    ngx_str_t *args)
{
    u_char                       *p;
    size_t                        n;
    ngx_int_t                     rc;
    rcache_arg_t                 *list;
    ngx_http_rcache_loc_conf_t   *rlcf;
    ngx_http_rcache_args_conf_t  *conf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    conf = rlcf->rules.args;

    if (conf == NULL || query->len == 0) {
        *args = *query;
        return NGX_OK;
    }

    n = rcache_args_count(query);

    if (n > RCACHE_ARGS_MAX) {
        return NGX_DECLINED;
    }

    /* the second half is for sorting; what is joined is never longer */

    list = ngx_palloc(r->pool, 2 * n * sizeof(rcache_arg_t));
    if (list == NULL) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(r->pool, 2 * query->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (rcache_args_parse(list, &n, p, query) != RCACHE_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_http_rcache_args_choose(conf, list, &n);

    if (rc != NGX_OK) {
        return rc;
    }

    if (conf->sort) {
        rcache_args_sort(list, list + n, n);
    }

    args->data = p + query->len;
    args->len = rcache_args_join(args->data, list, n) - args->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_args_choose(ngx_http_rcache_args_conf_t *conf,
    rcache_arg_t *args, size_t *n)
{
    size_t                        i, kept;
    ngx_http_rcache_args_rule_t  *rule;

    kept = 0;

    for (i = 0; i < *n; i++) {

        if (!ngx_http_rcache_args_drops(conf, &args[i], &rule)) {
            args[kept++] = args[i];
        }
    }

    *n = kept;

    return NGX_OK;
}


ngx_uint_t
ngx_http_rcache_args_drops(ngx_http_rcache_args_conf_t *conf,
    rcache_arg_t *arg, ngx_http_rcache_args_rule_t **rule)
{
    *rule = NULL;

    /* another argument may be hidden behind its ";" */

    if (arg->cloaked) {
        return 0;
    }

    if (conf->drop_empty && arg->empty) {
        return 1;
    }

    switch (conf->mode) {

    case NGX_HTTP_RCACHE_ARGS_KEEP:
        return ngx_http_rcache_args_rule(conf, &arg->name) == NULL;

    case NGX_HTTP_RCACHE_ARGS_DROP:
        *rule = ngx_http_rcache_args_rule(conf, &arg->name);
        return *rule != NULL;

    default: /* NGX_HTTP_RCACHE_ARGS_ALL */
        return 0;
    }
}


static ngx_http_rcache_args_rule_t *
ngx_http_rcache_args_rule(ngx_http_rcache_args_conf_t *conf, ngx_str_t *name)
{
    ngx_uint_t                    i;
    ngx_http_rcache_args_rule_t  *rule;

    rule = conf->rules.elts;

    for (i = 0; i < conf->rules.nelts; i++) {

#if (NGX_PCRE)

        if (rule[i].regex) {

            if (ngx_regex_exec(rule[i].regex, name, NULL, 0) >= 0) {
                return &rule[i];
            }

            continue;
        }

#endif

        if (rule[i].wild) {

            if (rcache_args_match(&rule[i].text, name)) {
                return &rule[i];
            }

            continue;
        }

        if (rule[i].text.len == name->len
            && ngx_memcmp(rule[i].text.data, name->data, name->len) == 0)
        {
            return &rule[i];
        }
    }

    return NULL;
}


/*
 * An argument that is not in the key is not for the upstream either: it could
 * make a response with it that all others get.
 */

ngx_int_t
ngx_http_rcache_args_show(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    u_char                      *p;
    size_t                       path;
    ngx_str_t                    args;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (rlcf->rules.args == NULL || !rlcf->rules.args->upstream) {
        return NGX_OK;
    }

    switch (ngx_http_rcache_args(r, &args)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return NGX_OK;

    default: /* NGX_ERROR */
        return NGX_ERROR;
    }

    ctx->rules.client_uri = r->unparsed_uri;
    ctx->rules.client_args = r->args;
    ctx->rules.shown = 1;

    r->args = args;

    if (!r->valid_unparsed_uri) {
        return NGX_OK;
    }

    p = ngx_strlchr(r->unparsed_uri.data,
                    r->unparsed_uri.data + r->unparsed_uri.len, '?');

    if (p == NULL) {
        return NGX_OK;
    }

    path = p - r->unparsed_uri.data;

    p = ngx_pnalloc(r->pool, path + 1 + args.len);
    if (p == NULL) {
        ngx_http_rcache_args_unshow(r, ctx);
        return NGX_ERROR;
    }

    r->unparsed_uri.data = p;
    p = ngx_cpymem(p, ctx->rules.client_uri.data, path);

    if (args.len) {
        *p++ = '?';
        p = ngx_cpymem(p, args.data, args.len);
    }

    r->unparsed_uri.len = p - r->unparsed_uri.data;

    return NGX_OK;
}


void
ngx_http_rcache_args_unshow(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    if (!ctx->rules.shown) {
        return;
    }

    ctx->rules.shown = 0;

    r->unparsed_uri = ctx->rules.client_uri;
    r->args = ctx->rules.client_args;
}
