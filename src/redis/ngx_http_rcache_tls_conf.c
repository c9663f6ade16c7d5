
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* What the configuration says of TLS, made into a context of OpenSSL. */


#include "ngx_http_rcache_conn.h"


#if (NGX_SSL)

#define NGX_HTTP_RCACHE_TLS_CIPHERS  "DEFAULT"


static ngx_int_t ngx_http_rcache_tls_trust(ngx_conf_t *cf,
    ngx_http_rcache_tls_conf_t *tls);


ngx_int_t
ngx_http_rcache_tls_conf(ngx_conf_t *cf, ngx_http_rcache_tls_conf_t *tls)
{
    ngx_str_t            ciphers;
    ngx_array_t         *passwords;
    ngx_pool_cleanup_t  *cln;

    tls->ssl.log = cf->log;

    if (ngx_ssl_create(&tls->ssl, tls->protocols, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(&tls->ssl);
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = &tls->ssl;

    ciphers = tls->ciphers;

    if (ciphers.len == 0) {
        ngx_str_set(&ciphers, NGX_HTTP_RCACHE_TLS_CIPHERS);
    }

    if (ngx_ssl_ciphers(cf, &tls->ssl, &ciphers, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    if (tls->certificate.len) {
        passwords = NULL;

        if (tls->password_file.len) {
            passwords = ngx_ssl_read_password_file(cf, &tls->password_file);
            if (passwords == NULL) {
                return NGX_ERROR;
            }
        }

        if (ngx_ssl_certificate(cf, &tls->ssl, &tls->certificate,
                                &tls->certificate_key, passwords)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (tls->verify && ngx_http_rcache_tls_trust(cf, tls) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_ssl_client_session_cache(cf, &tls->ssl, tls->session_reuse);
}


static ngx_int_t
ngx_http_rcache_tls_trust(ngx_conf_t *cf, ngx_http_rcache_tls_conf_t *tls)
{
    if (tls->trusted_certificate.len) {

        if (ngx_ssl_trusted_certificate(cf, &tls->ssl,
                                        &tls->trusted_certificate,
                                        tls->verify_depth)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else {

        if (SSL_CTX_set_default_verify_paths(tls->ssl.ctx) == 0) {
            ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                          "SSL_CTX_set_default_verify_paths() failed");
            return NGX_ERROR;
        }

        SSL_CTX_set_verify_depth(tls->ssl.ctx, tls->verify_depth);
    }

    return ngx_ssl_crl(cf, &tls->ssl, &tls->crl);
}

#else

ngx_int_t
ngx_http_rcache_tls_conf(ngx_conf_t *cf, ngx_http_rcache_tls_conf_t *tls)
{
    (void) tls;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "rediss:// needs an nginx with TLS: configure it with "
                       "--with-http_ssl_module");
    return NGX_ERROR;
}

#endif
