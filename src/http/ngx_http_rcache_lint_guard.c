
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What other modules have for a location, found by the tables of their
 * directives: nothing else is known of them, and they may be absent.
 */


#include "ngx_http_rcache.h"


static void *ngx_http_rcache_lint_conf(ngx_conf_t *cf, void **confs,
    char *name, ngx_command_t **cmd);


/* auth_basic and auth_request, by where their directives put what they say */

ngx_uint_t
ngx_http_rcache_lint_guarded(ngx_conf_t *cf, ngx_http_core_loc_conf_t *clcf)
{
    char                       *conf;
    ngx_str_t                  *uri;
    ngx_command_t              *cmd;
    ngx_http_complex_value_t   *realm;

    conf = ngx_http_rcache_lint_conf(cf, clcf->loc_conf, "auth_basic", &cmd);

    if (conf) {
        realm = *(ngx_http_complex_value_t **) (conf + cmd->offset);

        if (realm
            && realm != NGX_CONF_UNSET_PTR
            && (realm->lengths || !rcache_str_is(&realm->value, "off")))
        {
            return 1;
        }
    }

    conf = ngx_http_rcache_lint_conf(cf, clcf->loc_conf, "auth_request", &cmd);

    if (conf) {
        uri = (ngx_str_t *) (conf + cmd->offset);

        return uri->data && uri->len;
    }

    return 0;
}


/*
 * Whatever may keep somebody out: users, "allow" and "deny", limit_except, and
 * "if" and "return".  The lists of both modules are the first member of what
 * they have.
 */

ngx_uint_t
ngx_http_rcache_lint_closed(ngx_conf_t *cf, ngx_http_core_loc_conf_t *clcf)
{
    ngx_uint_t      i;
    ngx_array_t   **list;
    ngx_command_t  *cmd;

    static char  *names[] = { "allow", "return" };

    if (clcf->limit_except || clcf->internal) {
        return 1;
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        list = ngx_http_rcache_lint_conf(cf, clcf->loc_conf, names[i], &cmd);

        if (list && *list) {
            return 1;
        }
    }

    return ngx_http_rcache_lint_guarded(cf, clcf);
}


/* the server that is being merged: "ssl_verify_client on" */

ngx_uint_t
ngx_http_rcache_lint_verified(ngx_conf_t *cf)
{
    char                 *conf;
    ngx_command_t        *cmd;
    ngx_http_conf_ctx_t  *ctx;

    ctx = cf->ctx;

    conf = ngx_http_rcache_lint_conf(cf, ctx->srv_conf, "ssl_verify_client",
                                     &cmd);

    return conf && *(ngx_uint_t *) (conf + cmd->offset) == 1;
}


/*
 * proxy_set_header and its twins make an Authorization of something else.  One
 * without a variable is that of nginx itself, the same for all, and the
 * client's own keeps its request out of the cache.
 */

ngx_uint_t
ngx_http_rcache_lint_authorizes(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf)
{
    char           *conf;
    ngx_uint_t      i, n;
    ngx_array_t    *headers;
    ngx_keyval_t   *kv;
    ngx_command_t  *cmd;

    static char  *names[] = { "proxy_set_header", "grpc_set_header" };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        conf = ngx_http_rcache_lint_conf(cf, clcf->loc_conf, names[i], &cmd);

        if (conf == NULL) {
            continue;
        }

        headers = *(ngx_array_t **) (conf + cmd->offset);

        if (headers == NULL || headers == NGX_CONF_UNSET_PTR) {
            continue;
        }

        kv = headers->elts;

        for (n = 0; n < headers->nelts; n++) {

            if (rcache_str_is(&kv[n].key, "Authorization")
                && ngx_strlchr(kv[n].value.data,
                               kv[n].value.data + kv[n].value.len, '$')
                && !rcache_str_is(&kv[n].value, "$http_authorization"))
            {
                return 1;
            }
        }
    }

    return 0;
}


/* proxy_hide_header and its twins */

ngx_uint_t
ngx_http_rcache_lint_hides(ngx_conf_t *cf, ngx_http_core_loc_conf_t *clcf)
{
    char           *conf;
    ngx_str_t      *names, pattern;
    ngx_uint_t      i, n;
    ngx_array_t    *hidden;
    ngx_command_t  *cmd;

    ngx_str_set(&pattern, "*_hide_header");

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (cf->cycle->modules[i]->type != NGX_HTTP_MODULE
            || cf->cycle->modules[i]->commands == NULL)
        {
            continue;
        }

        conf = clcf->loc_conf[cf->cycle->modules[i]->ctx_index];

        for (cmd = cf->cycle->modules[i]->commands; cmd->name.len; cmd++) {

            if (!rcache_args_match(&pattern, &cmd->name)
                || cmd->set != ngx_conf_set_str_array_slot)
            {
                continue;
            }

            hidden = *(ngx_array_t **) (conf + cmd->offset);

            if (hidden == NULL || hidden == NGX_CONF_UNSET_PTR) {
                continue;
            }

            names = hidden->elts;

            for (n = 0; n < hidden->nelts; n++) {
                if (rcache_str_is(&names[n], "Set-Cookie")) {
                    return 1;
                }
            }
        }
    }

    return 0;
}


/* what the module with that directive has there; NULL: there is none */

static void *
ngx_http_rcache_lint_conf(ngx_conf_t *cf, void **confs, char *name,
    ngx_command_t **command)
{
    ngx_uint_t      i;
    ngx_command_t  *cmd;

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (cf->cycle->modules[i]->type != NGX_HTTP_MODULE
            || cf->cycle->modules[i]->commands == NULL)
        {
            continue;
        }

        for (cmd = cf->cycle->modules[i]->commands; cmd->name.len; cmd++) {

            if (rcache_str_is(&cmd->name, name)) {
                *command = cmd;
                return confs[cf->cycle->modules[i]->ctx_index];
            }
        }
    }

    return NULL;
}
