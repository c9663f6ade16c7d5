
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_conf.h"
#include "ngx_http_rcache_lookup.h"


static ngx_int_t ngx_http_rcache_variable_status(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_rcache_variable_reason(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_rcache_variable_key(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_rcache_variable_args(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_rcache_variable_validator(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_rcache_variable_age(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_rcache_variable_redis(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_rcache_variable_source(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_rcache_variable_dry_run(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_rcache_variable_set(ngx_http_variable_value_t *v,
    const ngx_str_t *value);


#define NGX_HTTP_RCACHE_STATUS_NAME(id, name)  ngx_string(name),

static ngx_str_t  ngx_http_rcache_statuses[] = {
    NGX_HTTP_RCACHE_STATUSES(NGX_HTTP_RCACHE_STATUS_NAME)
};


static ngx_http_variable_t  ngx_http_rcache_variables[] = {

    { ngx_string("redis_proxy_cache_status"), NULL,
      ngx_http_rcache_variable_status, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("redis_proxy_cache_reason"), NULL,
      ngx_http_rcache_variable_reason, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("redis_proxy_cache_key"), NULL,
      ngx_http_rcache_variable_key, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("redis_proxy_cache_args"), NULL,
      ngx_http_rcache_variable_args, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("redis_proxy_cache_last_modified"), NULL,
      ngx_http_rcache_variable_validator, (uintptr_t) "last-modified",
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("redis_proxy_cache_etag"), NULL,
      ngx_http_rcache_variable_validator, (uintptr_t) "etag",
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("redis_proxy_cache_age"), NULL,
      ngx_http_rcache_variable_age, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("redis_proxy_cache_redis"), NULL,
      ngx_http_rcache_variable_redis, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("redis_proxy_cache_source"), NULL,
      ngx_http_rcache_variable_source, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("redis_proxy_cache_dry_run"), NULL,
      ngx_http_rcache_variable_dry_run, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_null_string, NULL, NULL, 0, 0, 0 }
};


static ngx_int_t
ngx_http_rcache_variable_status(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL || ctx->status == NGX_HTTP_RCACHE_NONE) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_rcache_variable_set(v,
                                      &ngx_http_rcache_statuses[ctx->status]);
}


static ngx_int_t
ngx_http_rcache_variable_reason(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_rcache_variable_set(v, rcache_reason_name(ctx->reason));
}


static ngx_int_t
ngx_http_rcache_variable_key(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx) {
        ngx_http_rcache_late_key(r, ctx);
    }

    if (ctx == NULL || ctx->key.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_rcache_variable_set(v, &ctx->key);
}


/* the query as it is in the key */

static ngx_int_t
ngx_http_rcache_variable_args(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t  args;

    switch (ngx_http_rcache_args(r, &args)) {

    case NGX_OK:
        return ngx_http_rcache_variable_set(v, &args);

    case NGX_DECLINED:
        return ngx_http_rcache_variable_set(v, &r->args);

    default: /* NGX_ERROR */
        return NGX_ERROR;
    }
}


/* of the entry that was found, fresh or not */

static ngx_int_t
ngx_http_rcache_variable_validator(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    rcache_str_t            line, name, value;
    rcache_head_t           h;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx && (ctx->op || ctx->near)
        && ctx->state != NGX_HTTP_RCACHE_LOOKUP
        && ctx->dry == NULL
        && rcache_head_status(&h, &ctx->entry.head, &line) == RCACHE_OK)
    {
        while (rcache_head_next(&h, &name, &value) == RCACHE_OK) {

            if (rcache_str_is(&name, (char *) data)) {
                return ngx_http_rcache_variable_set(v, &value);
            }
        }
    }

    v->not_found = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_variable_age(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                 *p;
    int64_t                 now;
    ngx_str_t               age;
    ngx_time_t             *tp;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL || (ctx->op == NULL && !ctx->near) || ctx->dry
        || ctx->state == NGX_HTTP_RCACHE_LOOKUP)
    {
        v->not_found = 1;
        return NGX_OK;
    }

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    age.data = p;
    age.len = ngx_sprintf(p, "%L", rcache_entry_age(&ctx->entry, now)) - p;

    return ngx_http_rcache_variable_set(v, &age);
}


static ngx_int_t
ngx_http_rcache_variable_redis(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_rcache_ctx_t  *ctx;

    static ngx_str_t  up = ngx_string("up");
    static ngx_str_t  slow = ngx_string("slow");
    static ngx_str_t  down = ngx_string("down");

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL || ctx->zone == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    if (ctx->zone->health->bad[NGX_HTTP_RCACHE_HEALTH_CONNECT]) {
        return ngx_http_rcache_variable_set(v, &down);
    }

    return ngx_http_rcache_variable_set(v,
                                  ngx_http_rcache_redis_slow(ctx->zone->redis)
                                  ? &slow : &up);
}


/* where what is sent was */

static ngx_int_t
ngx_http_rcache_variable_source(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_rcache_ctx_t  *ctx;

    static ngx_str_t  near = ngx_string("near");
    static ngx_str_t  redis = ngx_string("redis");
    static ngx_str_t  collapsed = ngx_string("collapsed");
    static ngx_str_t  upstream = ngx_string("upstream");

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL
        || ctx->status == NGX_HTTP_RCACHE_NONE
        || ctx->state == NGX_HTTP_RCACHE_REFUSE)
    {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (ctx->status) {

    case NGX_HTTP_RCACHE_HIT:
    case NGX_HTTP_RCACHE_STALE:
    case NGX_HTTP_RCACHE_UPDATING:
        return ngx_http_rcache_variable_set(v, ctx->near ? &near
                                               : ctx->collapsed ? &collapsed
                                               : &redis);

    default:
        return ngx_http_rcache_variable_set(v, &upstream);
    }
}


static ngx_int_t
ngx_http_rcache_variable_dry_run(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    rcache_counter_t        c;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    if (ctx == NULL || ctx->dry == NULL
        || ctx->status == NGX_HTTP_RCACHE_NONE)
    {
        v->not_found = 1;
        return NGX_OK;
    }

    rcache_label_counter(&c, (unsigned) ngx_http_rcache_dry_predicted(ctx));

    return ngx_http_rcache_variable_set(v, &c.value);
}


static ngx_int_t
ngx_http_rcache_variable_set(ngx_http_variable_value_t *v,
    const ngx_str_t *value)
{
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = value->len;
    v->data = value->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_rcache_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}
