
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* Is the response one that this location wants to store? */


#include "ngx_http_rcache.h"


/* a body that is in a file only is looked at in such pieces */

#define NGX_HTTP_RCACHE_CHECK_BUF   16384

/* memory of a parser, for strings that are cut by the end of a buffer */

#define NGX_HTTP_RCACHE_CHECK_JSON  (2 * 1024 * 1024)


static ngx_uint_t ngx_http_rcache_check_type(
    ngx_http_rcache_check_conf_t *conf, ngx_str_t *type);
static ngx_uint_t ngx_http_rcache_check_deceives(ngx_http_request_t *r,
    ngx_str_t *type);
static ngx_uint_t ngx_http_rcache_check_json(ngx_http_request_t *r,
    ngx_http_rcache_check_conf_t *conf);
static void ngx_http_rcache_check_free(void *data);
static rcache_reason_e ngx_http_rcache_check_buf(ngx_http_request_t *r,
    ngx_http_rcache_check_t *check, ngx_buf_t *b);
static rcache_reason_e ngx_http_rcache_check_piece(
    ngx_http_rcache_check_t *check, u_char *p, size_t len);
static rcache_reason_e ngx_http_rcache_check_matches(
    ngx_http_rcache_check_t *check, u_char *p, size_t len, ngx_uint_t last);
static rcache_reason_e ngx_http_rcache_check_parsed(int rc);


rcache_reason_e
ngx_http_rcache_check_head(ngx_http_request_t *r)
{
    u_char                         name[RCACHE_TYPE_MAX];
    ngx_str_t                      type;
    ngx_uint_t                     i, *status;
    rcache_reason_e                reason;
    ngx_http_rcache_loc_conf_t    *rlcf;
    ngx_http_rcache_check_conf_t  *conf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    conf = &rlcf->check;

    if (conf->statuses) {
        status = conf->statuses->elts;

        for (i = 0; i < conf->statuses->nelts; i++) {
            if (status[i] == r->headers_out.status) {
                break;
            }
        }

        if (i == conf->statuses->nelts) {
            return RCACHE_REASON_STATUS;
        }
    }

    type.data = name;
    type.len = rcache_type_name(name, &r->headers_out.content_type);

    if (!ngx_http_rcache_check_type(conf, &type)) {
        return RCACHE_REASON_TYPE;
    }

    if (conf->extension && ngx_http_rcache_check_deceives(r, &type)) {
        return RCACHE_REASON_EXTENSION;
    }

    if (rlcf->rules.profile) {
        reason = ngx_http_rcache_profile_response(r, &type);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    if (r->headers_out.content_encoding
        && r->headers_out.content_encoding->hash
        && (conf->patterns || ngx_http_rcache_check_json(r, conf)))
    {
        return RCACHE_REASON_ENCODED;
    }

    return RCACHE_REASON_NONE;
}


static ngx_uint_t
ngx_http_rcache_check_type(ngx_http_rcache_check_conf_t *conf, ngx_str_t *type)
{
    ngx_str_t   *allowed;
    ngx_uint_t   i;

    if (conf->types == NULL) {

        /* these never end, and who reads them waits for what comes next */

        return !rcache_str_is(type, "text/event-stream")
               && !rcache_str_is(type, "multipart/x-mixed-replace");
    }

    allowed = conf->types->elts;

    for (i = 0; i < conf->types->nelts; i++) {

        if (rcache_args_match(&allowed[i], type)) {
            return 1;
        }
    }

    return 0;
}


/* not so with a redirection, whose body is a note to people */

static ngx_uint_t
ngx_http_rcache_check_deceives(ngx_http_request_t *r, ngx_str_t *type)
{
    u_char     *p;
    ngx_str_t   path;

    if (r->headers_out.status >= NGX_HTTP_SPECIAL_RESPONSE
        && r->headers_out.status < NGX_HTTP_BAD_REQUEST)
    {
        return 0;
    }

    path = r->uri;

    if (r->valid_unparsed_uri) {
        path = r->unparsed_uri;

        p = ngx_strlchr(path.data, path.data + path.len, '?');

        if (p) {
            path.len = p - path.data;
        }
    }

    return rcache_type_contradicts(&path, type);
}


static ngx_uint_t
ngx_http_rcache_check_json(ngx_http_request_t *r,
    ngx_http_rcache_check_conf_t *conf)
{
    return conf->json
           && r->headers_out.status != NGX_HTTP_NO_CONTENT
           && rcache_type_json(&r->headers_out.content_type);
}


rcache_reason_e
ngx_http_rcache_check_begin(ngx_http_request_t *r,
    ngx_http_rcache_check_t **check)
{
    ngx_uint_t                      i, json;
    ngx_pool_cleanup_t             *cln;
    rcache_json_memory_t            memory;
    ngx_http_rcache_check_t        *c;
    ngx_http_rcache_loc_conf_t     *rlcf;
    ngx_http_rcache_pattern_t     **pattern;
    ngx_http_rcache_check_conf_t   *conf;

    *check = NULL;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    conf = &rlcf->check;

    json = ngx_http_rcache_check_json(r, conf);

    if (conf->patterns == NULL && !json) {
        return RCACHE_REASON_NONE;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_rcache_check_t));
    if (cln == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    c = cln->data;
    ngx_memzero(c, sizeof(ngx_http_rcache_check_t));

    cln->handler = ngx_http_rcache_check_free;

    if (json) {
        ngx_http_rcache_json_memory(&memory, r->connection->log);

        c->json = rcache_json_create(&memory, NGX_HTTP_RCACHE_CHECK_JSON);
        if (c->json == NULL) {
            return RCACHE_REASON_NO_MEMORY;
        }
    }

    if (conf->patterns) {
        pattern = conf->patterns->elts;

        c->n = conf->patterns->nelts;
        c->left = conf->window;

        c->matches = ngx_pcalloc(r->pool, c->n * sizeof(void *));
        if (c->matches == NULL) {
            return RCACHE_REASON_NO_MEMORY;
        }

        for (i = 0; i < c->n; i++) {
            c->matches[i] = ngx_http_rcache_match_create(r->pool, pattern[i]);
            if (c->matches[i] == NULL) {
                return RCACHE_REASON_NO_MEMORY;
            }
        }
    }

    *check = c;

    return RCACHE_REASON_NONE;
}


static void
ngx_http_rcache_check_free(void *data)
{
    ngx_http_rcache_check_t *check = data;

    if (check->json) {
        rcache_json_destroy(check->json);
    }
}


rcache_reason_e
ngx_http_rcache_check_feed(ngx_http_request_t *r,
    ngx_http_rcache_check_t *check, ngx_chain_t *in)
{
    ngx_chain_t      *cl;
    rcache_reason_e   reason;

    for (cl = in; cl; cl = cl->next) {

        if (ngx_buf_special(cl->buf)) {
            continue;
        }

        if (check->json == NULL && check->left == 0) {
            continue;
        }

        reason = ngx_http_rcache_check_buf(r, check, cl->buf);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    return RCACHE_REASON_NONE;
}


static rcache_reason_e
ngx_http_rcache_check_buf(ngx_http_request_t *r,
    ngx_http_rcache_check_t *check, ngx_buf_t *b)
{
    off_t             at;
    size_t            n;
    u_char           *buf;
    rcache_reason_e   reason;

    if (ngx_buf_in_memory(b)) {
        return ngx_http_rcache_check_piece(check, b->pos, b->last - b->pos);
    }

    buf = ngx_alloc(NGX_HTTP_RCACHE_CHECK_BUF, r->connection->log);
    if (buf == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    reason = RCACHE_REASON_NONE;

    for (at = b->file_pos; at < b->file_last; at += n) {

        n = (size_t) ngx_min(b->file_last - at,
                             (off_t) NGX_HTTP_RCACHE_CHECK_BUF);

        if (ngx_read_file(b->file, buf, n, at) != (ssize_t) n) {
            reason = RCACHE_REASON_NO_MEMORY;
            break;
        }

        reason = ngx_http_rcache_check_piece(check, buf, n);

        if (reason != RCACHE_REASON_NONE) {
            break;
        }
    }

    ngx_free(buf);

    return reason;
}


static rcache_reason_e
ngx_http_rcache_check_piece(ngx_http_rcache_check_t *check, u_char *p,
    size_t len)
{
    size_t           n;
    rcache_reason_e  reason;

    if (check->left && len) {

        n = ngx_min(len, check->left);
        check->left -= n;

        reason = ngx_http_rcache_check_matches(check, p, n, check->left == 0);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    if (check->json) {
        return ngx_http_rcache_check_parsed(rcache_json_feed(check->json, p,
                                                             len));
    }

    return RCACHE_REASON_NONE;
}


static rcache_reason_e
ngx_http_rcache_check_matches(ngx_http_rcache_check_t *check, u_char *p,
    size_t len, ngx_uint_t last)
{
    ngx_uint_t  i;

    for (i = 0; i < check->n; i++) {

        /* what cannot be told is not known to be right */

        if (ngx_http_rcache_match_feed(check->matches[i], p, len, last)
            != NGX_DECLINED)
        {
            return RCACHE_REASON_NO_CACHE_BODY;
        }
    }

    return RCACHE_REASON_NONE;
}


rcache_reason_e
ngx_http_rcache_check_end(ngx_http_rcache_check_t *check)
{
    rcache_reason_e  reason;

    if (check->left) {

        check->left = 0;

        reason = ngx_http_rcache_check_matches(check, (u_char *) "", 0, 1);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    if (check->json) {
        return ngx_http_rcache_check_parsed(rcache_json_end(check->json));
    }

    return RCACHE_REASON_NONE;
}


static rcache_reason_e
ngx_http_rcache_check_parsed(int rc)
{
    switch (rc) {

    case RCACHE_OK:
        return RCACHE_REASON_NONE;

    case RCACHE_DECLINED:
        return RCACHE_REASON_INVALID;

    default: /* RCACHE_ERROR */
        return RCACHE_REASON_NO_MEMORY;
    }
}
