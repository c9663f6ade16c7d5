
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * redis_proxy_cache_secret_file: what is written is signed with the secret in
 * the first file; what a secret in the second one has signed is still good.
 */


#include "ngx_http_rcache_conf.h"


/* bytes; a shorter one could be guessed */

#define NGX_HTTP_RCACHE_SECRET_MIN  16
#define NGX_HTTP_RCACHE_SECRET_MAX  1024


static ngx_int_t ngx_http_rcache_secret_read(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *secret);
static void ngx_http_rcache_secret_wipe(void *data);


char *
ngx_http_rcache_set_secret_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_rcache_main_conf_t *rmcf = conf;

    ngx_str_t           *value;
    ngx_uint_t           i;
    ngx_pool_cleanup_t  *cln;

    if (rmcf->secrets.n) {
        return "is duplicate";
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_rcache_secret_wipe;
    cln->data = &rmcf->secrets;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_rcache_secret_read(cf, &value[i],
                                        &rmcf->secrets.secret[i - 1])
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        rmcf->secrets.n++;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_rcache_secret_read(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *secret)
{
    u_char     *p;
    ssize_t     n;
    ngx_fd_t    fd;
    ngx_str_t   file;

    file = *name;

    if (ngx_conf_full_name(cf->cycle, &file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(cf->pool, NGX_HTTP_RCACHE_SECRET_MAX);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(file.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" in "
                           "\"redis_proxy_cache_secret_file\" failed", &file);
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, p, NGX_HTTP_RCACHE_SECRET_MAX);

    (void) ngx_close_file(fd);

    secret->data = p;
    secret->len = 0;

    /* the first line */

    while (n > 0 && secret->len < (size_t) n
           && p[secret->len] != LF && p[secret->len] != CR)
    {
        secret->len++;
    }

    if (secret->len < NGX_HTTP_RCACHE_SECRET_MIN
        || secret->len == NGX_HTTP_RCACHE_SECRET_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" in \"redis_proxy_cache_secret_file\" has "
                           "no secret, expected from 16 to 1023 bytes in its "
                           "first line, such as \"openssl rand -base64 32\" "
                           "prints", &file);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the memory goes back to malloc(), and from there to anybody */

static void
ngx_http_rcache_secret_wipe(void *data)
{
    rcache_secrets_t *secrets = data;

    ngx_uint_t  i;

    for (i = 0; i < RCACHE_SECRETS_MAX; i++) {

        if (secrets->secret[i].data) {
            ngx_explicit_memzero(secrets->secret[i].data,
                                 secrets->secret[i].len);
        }
    }
}


void
ngx_http_rcache_secrets(ngx_conf_t *cf)
{
    ngx_uint_t                     i;
    ngx_http_rcache_zone_t       **zone;
    ngx_http_rcache_main_conf_t   *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    if (rmcf->secrets.n == 0) {
        return;
    }

    zone = rmcf->zones.elts;

    for (i = 0; i < rmcf->zones.nelts; i++) {
        zone[i]->secrets = &rmcf->secrets;
    }
}
