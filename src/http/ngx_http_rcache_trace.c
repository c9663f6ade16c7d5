
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A line of the error log that is about a request has the id of its trace, if
 * there is a tracing module that tells it: ours about what could not be
 * served, and nginx's about the upstream.
 */


#include "ngx_http_rcache_conf.h"
#include "ngx_http_rcache_lookup.h"


/* the longest id that is shown; W3C's has 32 digits */

#define NGX_HTTP_RCACHE_TRACE_LEN  64


static u_char *ngx_http_rcache_trace_log(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);
static ngx_uint_t ngx_http_rcache_trace_valid(ngx_http_variable_value_t *v);


ngx_int_t
ngx_http_rcache_trace_init(ngx_conf_t *cf)
{
    ngx_uint_t                    i;
    ngx_hash_key_t               *key;
    ngx_http_core_main_conf_t    *cmcf;
    ngx_http_rcache_main_conf_t  *rmcf;

    static ngx_str_t  name = ngx_string("otel_trace_id");

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);
    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    rmcf->trace = NGX_ERROR;

    key = cmcf->variables_keys->keys.elts;

    for (i = 0; i < cmcf->variables_keys->keys.nelts; i++) {

        if (rcache_str_same(&key[i].key, &name)) {
            rmcf->trace = ngx_http_get_variable_index(cf, &name);

            return (rmcf->trace == NGX_ERROR) ? NGX_ERROR : NGX_OK;
        }
    }

    return NGX_OK;
}


void
ngx_http_rcache_trace(ngx_http_request_t *r)
{
    ngx_http_rcache_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_redis_proxy_cache_module);

    if (rmcf->trace == NGX_ERROR
        || r->main->log_handler == ngx_http_rcache_trace_log)
    {
        return;
    }

    rmcf->log_handler = r->main->log_handler;
    r->main->log_handler = ngx_http_rcache_trace_log;
}


static u_char *
ngx_http_rcache_trace_log(ngx_http_request_t *r, ngx_http_request_t *sr,
    u_char *buf, size_t len)
{
    u_char                       *p;
    ngx_http_variable_value_t    *v;
    ngx_http_rcache_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_redis_proxy_cache_module);

    /* what asking for it may have to say is said without it */

    r->log_handler = rmcf->log_handler;

    p = r->log_handler(r, sr, buf, len);

    v = ngx_http_get_indexed_variable(r, rmcf->trace);

    r->log_handler = ngx_http_rcache_trace_log;

    if (v == NULL || v->not_found || !ngx_http_rcache_trace_valid(v)) {
        return p;
    }

    return ngx_snprintf(p, len - (p - buf), ", trace: \"%v\"", v);
}


/* a client may have chosen it */

static ngx_uint_t
ngx_http_rcache_trace_valid(ngx_http_variable_value_t *v)
{
    u_char  ch;
    size_t  i;

    if (v->len == 0 || v->len > NGX_HTTP_RCACHE_TRACE_LEN) {
        return 0;
    }

    for (i = 0; i < v->len; i++) {
        ch = v->data[i] | 0x20;

        if (!((ch >= 'a' && ch <= 'z')
              || (v->data[i] >= '0' && v->data[i] <= '9')
              || v->data[i] == '-'))
        {
            return 0;
        }
    }

    return 1;
}
