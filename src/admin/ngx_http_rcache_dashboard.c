
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The page, src/admin/dashboard.html.  It asks for nothing but the JSON of its
 * own location, and may run and look like nothing but what is in it: its
 * script and its style are allowed by their digests.
 */


#include "ngx_http_rcache_status.h"
#include <openssl/evp.h>


static u_char  ngx_http_rcache_dashboard_page[] =
#include <ngx_http_rcache_dashboard.h>
    ;


static ngx_int_t ngx_http_rcache_dashboard_digest(ngx_str_t *digest,
    u_char *data, char *begin, char *end);


ngx_str_t
ngx_http_rcache_dashboard(void)
{
    ngx_str_t  page;

    page.data = ngx_http_rcache_dashboard_page;
    page.len = sizeof(ngx_http_rcache_dashboard_page) - 1;

    return page;
}


ngx_int_t
ngx_http_rcache_dashboard_policy(ngx_conf_t *cf, ngx_str_t *policy)
{
    u_char     script[64], style[64];
    ngx_str_t  digests[2];

    digests[0].data = script;
    digests[1].data = style;

    if (ngx_http_rcache_dashboard_digest(&digests[0],
                                         ngx_http_rcache_dashboard_page,
                                         "<script>", "</script>")
        != NGX_OK
        || ngx_http_rcache_dashboard_digest(&digests[1],
                                            ngx_http_rcache_dashboard_page,
                                            "<style>", "</style>")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    policy->data = ngx_pnalloc(cf->pool, 512);
    if (policy->data == NULL) {
        return NGX_ERROR;
    }

    policy->len = ngx_sprintf(policy->data,
                              "default-src 'none'; "
                              "script-src 'sha256-%V'; "
                              "style-src 'sha256-%V'; "
                              "connect-src 'self'; base-uri 'none'; "
                              "form-action 'none'; frame-ancestors 'none'",
                              &digests[0], &digests[1])
                  - policy->data;

    return NGX_OK;
}


/* the first element of that kind */

static ngx_int_t
ngx_http_rcache_dashboard_digest(ngx_str_t *digest, u_char *data, char *begin,
    char *end)
{
    u_char     *p, *last, md[EVP_MAX_MD_SIZE];
    unsigned    len;
    ngx_str_t   src;

    p = (u_char *) ngx_strstr(data, begin);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p += ngx_strlen(begin);

    last = (u_char *) ngx_strstr(p, end);
    if (last == NULL) {
        return NGX_ERROR;
    }

    if (EVP_Digest(p, last - p, md, &len, EVP_sha256(), NULL) != 1) {
        return NGX_ERROR;
    }

    src.data = md;
    src.len = len;

    ngx_encode_base64(digest, &src);

    return NGX_OK;
}
