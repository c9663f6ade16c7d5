
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The ssl_ parameters of redis_proxy_cache_zone, named after the directives
 * of nginx's proxy module.
 */


#include "ngx_http_rcache_conf.h"


#define NGX_HTTP_RCACHE_VERIFY_DEPTH  3


typedef struct {
    char        *name;
    size_t       offset;
    ngx_uint_t   file;                         /* unsigned  file:1; */
} ngx_http_rcache_tls_parameter_t;


static char *ngx_http_rcache_tls_string(ngx_conf_t *cf,
    ngx_http_rcache_tls_conf_t *tls, ngx_str_t *value);
static char *ngx_http_rcache_tls_flag(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *rest, ngx_uint_t *flag);

#if (NGX_SSL)
static char *ngx_http_rcache_tls_protocols(ngx_conf_t *cf,
    ngx_http_rcache_tls_conf_t *tls, ngx_str_t *value, ngx_str_t *rest);
#endif


static ngx_http_rcache_tls_parameter_t  ngx_http_rcache_tls_strings[] = {

    { "ssl_name=",
      offsetof(ngx_http_rcache_tls_conf_t, name), 0 },

    { "ssl_ciphers=",
      offsetof(ngx_http_rcache_tls_conf_t, ciphers), 0 },

    { "ssl_trusted_certificate=",
      offsetof(ngx_http_rcache_tls_conf_t, trusted_certificate), 1 },

    { "ssl_crl=",
      offsetof(ngx_http_rcache_tls_conf_t, crl), 1 },

    { "ssl_certificate=",
      offsetof(ngx_http_rcache_tls_conf_t, certificate), 1 },

    { "ssl_certificate_key=",
      offsetof(ngx_http_rcache_tls_conf_t, certificate_key), 1 },

    { "ssl_password_file=",
      offsetof(ngx_http_rcache_tls_conf_t, password_file), 1 },

    { NULL, 0, 0 }
};


#if (NGX_SSL)

static ngx_conf_bitmask_t  ngx_http_rcache_tls_versions[] = {
    { ngx_string("TLSv1"), NGX_SSL_TLSv1 },
    { ngx_string("TLSv1.1"), NGX_SSL_TLSv1_1 },
    { ngx_string("TLSv1.2"), NGX_SSL_TLSv1_2 },
    { ngx_string("TLSv1.3"), NGX_SSL_TLSv1_3 },
    { ngx_null_string, 0 }
};

#endif


void
ngx_http_rcache_tls_init_conf(ngx_http_rcache_tls_conf_t *tls)
{
    tls->verify = 1;
    tls->verify_depth = NGX_HTTP_RCACHE_VERIFY_DEPTH;
    tls->session_reuse = 1;

#if (NGX_SSL)
    tls->protocols = NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3;
#endif
}


char *
ngx_http_rcache_tls_parameter(ngx_conf_t *cf, ngx_http_rcache_tls_conf_t *tls,
    ngx_str_t *value)
{
    ngx_int_t  n;
    ngx_str_t  rest;

    tls->given = 1;

    if (ngx_http_rcache_parameter(value, "ssl_verify=", &rest)) {
        return ngx_http_rcache_tls_flag(cf, value, &rest, &tls->verify);
    }

    if (ngx_http_rcache_parameter(value, "ssl_session_reuse=", &rest)) {
        return ngx_http_rcache_tls_flag(cf, value, &rest,
                                        &tls->session_reuse);
    }

    if (ngx_http_rcache_parameter(value, "ssl_verify_depth=", &rest)) {
        n = ngx_atoi(rest.data, rest.len);

        if (n == NGX_ERROR || n > 100) {
            return ngx_http_rcache_bad_value(cf, value,
                                             "a number from 0 to 100");
        }

        tls->verify_depth = n;
        return NGX_CONF_OK;
    }

#if (NGX_SSL)

    if (ngx_http_rcache_parameter(value, "ssl_protocols=", &rest)) {
        return ngx_http_rcache_tls_protocols(cf, tls, value, &rest);
    }

#endif

    return ngx_http_rcache_tls_string(cf, tls, value);
}


static char *
ngx_http_rcache_tls_string(ngx_conf_t *cf, ngx_http_rcache_tls_conf_t *tls,
    ngx_str_t *value)
{
    ngx_str_t                        *to, rest;
    ngx_http_rcache_tls_parameter_t  *parameter;

    parameter = ngx_http_rcache_tls_strings;

    for ( /* void */ ; parameter->name; parameter++) {

        if (!ngx_http_rcache_parameter(value, parameter->name, &rest)) {
            continue;
        }

        if (rest.len == 0) {
            return ngx_http_rcache_bad_value(cf, value, "a value");
        }

        to = (ngx_str_t *) ((u_char *) tls + parameter->offset);
        *to = rest;

        if (parameter->file
            && ngx_conf_full_name(cf->cycle, to, 1) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    return ngx_http_rcache_bad_value(cf, value,
                                     "ssl_verify=, ssl_verify_depth=, "
                                     "ssl_name=, ssl_trusted_certificate=, "
                                     "ssl_crl=, ssl_certificate=, "
                                     "ssl_certificate_key=, "
                                     "ssl_password_file=, ssl_protocols=, "
                                     "ssl_ciphers= or ssl_session_reuse=");
}


static char *
ngx_http_rcache_tls_flag(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *rest,
    ngx_uint_t *flag)
{
    if (rest->len == 2 && ngx_strncmp(rest->data, "on", 2) == 0) {
        *flag = 1;

    } else if (rest->len == 3 && ngx_strncmp(rest->data, "off", 3) == 0) {
        *flag = 0;

    } else {
        return ngx_http_rcache_bad_value(cf, value, "on or off");
    }

    return NGX_CONF_OK;
}


#if (NGX_SSL)

static char *
ngx_http_rcache_tls_protocols(ngx_conf_t *cf, ngx_http_rcache_tls_conf_t *tls,
    ngx_str_t *value, ngx_str_t *rest)
{
    u_char              *p, *last, *end;
    ngx_uint_t           protocols;
    ngx_conf_bitmask_t  *mask;

    protocols = 0;

    p = rest->data;
    last = p + rest->len;

    for ( ;; ) {
        end = ngx_strlchr(p, last, ',');

        if (end == NULL) {
            end = last;
        }

        for (mask = ngx_http_rcache_tls_versions; mask->name.len; mask++) {
            if (mask->name.len == (size_t) (end - p)
                && ngx_strncasecmp(mask->name.data, p, end - p) == 0)
            {
                break;
            }
        }

        if (mask->name.len == 0) {
            return ngx_http_rcache_bad_value(cf, value,
                                             "of TLSv1, TLSv1.1, TLSv1.2 and "
                                             "TLSv1.3 some, such as "
                                             "\"TLSv1.2,TLSv1.3\"");
        }

        protocols |= mask->mask;

        if (end == last) {
            break;
        }

        p = end + 1;
    }

    tls->protocols = protocols;

    return NGX_CONF_OK;
}

#endif


/* when all parameters are known */

char *
ngx_http_rcache_tls_complete(ngx_conf_t *cf, ngx_http_rcache_tls_conf_t *tls,
    ngx_str_t *zone)
{
    if (!tls->used) {

        if (tls->given) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"redis_proxy_cache_zone\" \"%V\" has ssl_ "
                               "parameters, expected server=rediss://",
                               zone);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if ((tls->certificate.len == 0) != (tls->certificate_key.len == 0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_zone\" \"%V\": expected both "
                           "ssl_certificate= and ssl_certificate_key=, or "
                           "none", zone);
        return NGX_CONF_ERROR;
    }

    return ngx_http_rcache_tls_conf(cf, tls) == NGX_OK ? NGX_CONF_OK
                                                       : NGX_CONF_ERROR;
}
