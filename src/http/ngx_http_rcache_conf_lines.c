
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* Where is it written?  For redis_proxy_cache_explain, and the lint. */


#include "ngx_http_rcache_conf.h"


#define NGX_HTTP_RCACHE_RULE_NAME(id, name)  ngx_string(name),


const ngx_str_t  ngx_http_rcache_rule_names[NGX_HTTP_RCACHE_RULE_N] = {
    NGX_HTTP_RCACHE_RULES(NGX_HTTP_RCACHE_RULE_NAME)
};


void
ngx_http_rcache_written(ngx_conf_t *cf, ngx_http_rcache_loc_conf_t *rlcf,
    ngx_uint_t n)
{
    ngx_str_t               *name;
    ngx_uint_t               i;
    ngx_http_rcache_line_t  *line;

    name = cf->args->elts;

    for (i = 0; i < NGX_HTTP_RCACHE_RULE_N; i++) {
        if (ngx_strcmp(ngx_http_rcache_rule_names[i].data, name->data) == 0) {
            break;
        }
    }

    if (i == NGX_HTTP_RCACHE_RULE_N) {

        /* a setter that it shares with one that decides nothing */

        return;
    }

    line = &rlcf->lines.line[i];

    if (line->where.line) {

        while (line->next) {
            line = line->next;
        }

        line->next = ngx_pcalloc(cf->pool, sizeof(ngx_http_rcache_line_t));
        if (line->next == NULL) {
            return;
        }

        line = line->next;
    }

    ngx_http_rcache_where(cf, &line->where);

    line->n = n;
}


void
ngx_http_rcache_lines_merge(ngx_http_rcache_lines_t *prev,
    ngx_http_rcache_lines_t *conf)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_RCACHE_RULE_N; i++) {

        if (conf->line[i].where.line == 0) {
            conf->line[i] = prev->line[i];
        }
    }
}


ngx_http_rcache_where_t *
ngx_http_rcache_line(ngx_http_rcache_lines_t *lines,
    ngx_http_rcache_rule_e rule, ngx_uint_t i)
{
    ngx_http_rcache_line_t  *line;

    line = &lines->line[rule];

    while (i >= line->n && line->next) {
        i -= line->n;
        line = line->next;
    }

    return line->where.line ? &line->where : NULL;
}


char *
ngx_http_rcache_set_predicates(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_written(cf, conf, cf->args->nelts - 1);

    return ngx_http_set_predicate_slot(cf, cmd, conf);
}


char *
ngx_http_rcache_set_flag(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_written(cf, conf, 1);

    return ngx_conf_set_flag_slot(cf, cmd, conf);
}


char *
ngx_http_rcache_set_enum(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_written(cf, conf, 1);

    return ngx_conf_set_enum_slot(cf, cmd, conf);
}
