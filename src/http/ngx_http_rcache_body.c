
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * redis_proxy_cache_key_body: a request whose body says what it asks for, as a
 * search by POST or QUERY does, has a digest of it in its key.
 */


#include "ngx_http_rcache.h"


typedef struct {
    ngx_str_t  type;
    ngx_str_t  encoding;
    ngx_str_t  text;
} ngx_http_rcache_body_t;


static void ngx_http_rcache_body_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_rcache_has_body(ngx_http_request_t *r);
static rcache_reason_e ngx_http_rcache_body_get(ngx_http_request_t *r,
    size_t max, ngx_http_rcache_body_t *body);
static rcache_reason_e ngx_http_rcache_body_headers(ngx_http_request_t *r,
    ngx_http_rcache_body_t *body);
static rcache_reason_e ngx_http_rcache_body_part(ngx_http_request_t *r,
    ngx_http_rcache_body_t *body, ngx_uint_t json, ngx_str_t *parts);
static rcache_reason_e ngx_http_rcache_graphql(ngx_http_request_t *r,
    ngx_http_rcache_body_t *body);
static rcache_reason_e ngx_http_rcache_graphql_args(ngx_http_request_t *r);
static void *ngx_http_rcache_json_alloc(void *data, size_t size);
static void ngx_http_rcache_json_free(void *data, void *p);


ngx_uint_t
ngx_http_rcache_method(ngx_http_request_t *r)
{
    if (r->method_name.len == sizeof("QUERY") - 1
        && ngx_strncmp(r->method_name.data, "QUERY", sizeof("QUERY") - 1)
           == 0)
    {
        /* to nginx it is one that it does not know */

        return NGX_HTTP_RCACHE_QUERY;
    }

    return r->method;
}


ngx_int_t
ngx_http_rcache_body_read(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_uint_t                   method;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    method = ngx_http_rcache_method(r);

    if (rlcf->rules.body_size == 0
        || r != r->main
        || r->request_body
        || r->discard_body
        || r->err_status
        || r->headers_in.upgrade
        || !(method & rlcf->methods)
        || !ngx_http_rcache_has_body(r)
        || r->headers_in.content_length_n > (off_t) rlcf->rules.body_size)
    {
        return NGX_OK;
    }

    ctx->state = NGX_HTTP_RCACHE_BODY;

    rc = ngx_http_read_client_request_body(r, ngx_http_rcache_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    /* the reference is given back; the phases go on from the handler */

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


static void
ngx_http_rcache_body_handler(ngx_http_request_t *r)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_redis_proxy_cache_module);

    ctx->rules.read = 1;

    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}


static ngx_uint_t
ngx_http_rcache_has_body(ngx_http_request_t *r)
{
    if (r != r->main) {

        /* what is said of a length is said of the main request */

        return r->request_body && r->request_body->bufs;
    }

    return r->headers_in.chunked || r->headers_in.content_length_n > 0;
}


rcache_reason_e
ngx_http_rcache_body(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *parts)
{
    ngx_uint_t                   method, json;
    rcache_reason_e              reason;
    ngx_http_rcache_body_t       body;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    method = ngx_http_rcache_method(r);

    if ((method & (NGX_HTTP_GET|NGX_HTTP_HEAD))
        && !ngx_http_rcache_has_body(r))
    {
        return rlcf->rules.graphql ? ngx_http_rcache_graphql_args(r)
                                   : RCACHE_REASON_NONE;
    }

    /* RFC 9110, 9.3.1: a body of GET means nothing, but to some it does */

    if (rlcf->rules.body_size == 0) {
        return RCACHE_REASON_BODY;
    }

    reason = ngx_http_rcache_body_headers(r, &body);

    if (reason == RCACHE_REASON_NONE) {
        reason = ngx_http_rcache_body_get(r, rlcf->rules.body_size, &body);
    }

    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    json = 0;

    if (body.encoding.len == 0) {
        json = rlcf->rules.json && rcache_type_json(&body.type);
    }

    if (rlcf->rules.graphql) {
        reason = ngx_http_rcache_graphql(r, &body);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    ctx->rules.body = body.text;
    ctx->rules.bodied = 1;

    return ngx_http_rcache_body_part(r, &body, json, parts);
}


/* what the body means depends on these; more than one line is one too many */

static rcache_reason_e
ngx_http_rcache_body_headers(ngx_http_request_t *r,
    ngx_http_rcache_body_t *body)
{
    ngx_str_t        *value;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ngx_memzero(body, sizeof(ngx_http_rcache_body_t));

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (rcache_str_is(&h[i].key, "Content-Type")) {
            value = &body->type;

        } else if (rcache_str_is(&h[i].key, "Content-Encoding")) {
            value = &body->encoding;

        } else {
            continue;
        }

        if (value->data) {
            return RCACHE_REASON_BODY;
        }

        *value = h[i].value;
    }

    return RCACHE_REASON_NONE;
}


/* all of it in one piece; nginx may have put it into a file */

static rcache_reason_e
ngx_http_rcache_body_get(ngx_http_request_t *r, size_t max,
    ngx_http_rcache_body_t *body)
{
    off_t         size;
    u_char       *p;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (r->request_body == NULL) {
        return ngx_http_rcache_has_body(r) ? RCACHE_REASON_BODY
                                           : RCACHE_REASON_NONE;
    }

    size = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        size += ngx_buf_size(cl->buf);

        if (size > (off_t) max) {
            return RCACHE_REASON_BODY;
        }
    }

    p = ngx_pnalloc(r->pool, (size_t) size + 1);
    if (p == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    body->text.data = p;
    body->text.len = (size_t) size;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {

        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);
            continue;
        }

        if (!b->in_file) {
            continue;
        }

        n = ngx_read_file(b->file, p, (size_t) (b->file_last - b->file_pos),
                          b->file_pos);

        if (n != (ssize_t) (b->file_last - b->file_pos)) {
            return RCACHE_REASON_BODY;
        }

        p += n;
    }

    return RCACHE_REASON_NONE;
}


static rcache_reason_e
ngx_http_rcache_body_part(ngx_http_request_t *r, ngx_http_rcache_body_t *body,
    ngx_uint_t json, ngx_str_t *parts)
{
    u_char                *p;
    size_t                 len;
    ngx_str_t              form, method;
    rcache_json_memory_t   memory;

    form = body->text;

    if (json) {
        form.data = ngx_pnalloc(r->pool, RCACHE_JSON_SIZE(form.len));
        if (form.data == NULL) {
            return RCACHE_REASON_NO_MEMORY;
        }

        ngx_http_rcache_json_memory(&memory, r->connection->log);

        switch (rcache_json_canonical(form.data, &len, &body->text, &memory)) {

        case RCACHE_OK:
            form.len = len;
            break;

        case RCACHE_DECLINED:

            /* it counts as it is */

            form = body->text;
            json = 0;
            break;

        default: /* RCACHE_ERROR */
            return RCACHE_REASON_NO_MEMORY;
        }
    }

    if (r->method == NGX_HTTP_HEAD) {
        ngx_str_set(&method, "GET");

    } else {
        method = r->method_name;
    }

    p = ngx_pnalloc(r->pool, parts->len + RCACHE_PART_BODY(method.len));
    if (p == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    if (parts->len) {
        ngx_memcpy(p, parts->data, parts->len);
    }

    parts->data = p;

    p = rcache_parts_body(p + parts->len, &method, &body->type,
                          &body->encoding, json, &form);
    if (p == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    parts->len = p - parts->data;

    return RCACHE_REASON_NONE;
}


/* what changes something, or cannot be judged, is not for a cache */

static rcache_reason_e
ngx_http_rcache_graphql(ngx_http_request_t *r, ngx_http_rcache_body_t *body)
{
    int                    rc;
    ngx_str_t              name;
    rcache_json_memory_t   memory;

    if (body->encoding.len) {
        return RCACHE_REASON_GRAPHQL;
    }

    name = body->type;

    if (name.len > sizeof("application/graphql") - 1
        && name.data[sizeof("application/graphql") - 1] == ';')
    {
        name.len = sizeof("application/graphql") - 1;
    }

    if (rcache_str_is(&name, "application/graphql")) {
        rc = rcache_graphql_query(&body->text) ? RCACHE_OK : RCACHE_DECLINED;

    } else if (rcache_type_json(&body->type)) {
        ngx_http_rcache_json_memory(&memory, r->connection->log);

        rc = rcache_json_graphql(&body->text, &memory);

    } else {
        rc = RCACHE_DECLINED;
    }

    switch (rc) {

    case RCACHE_OK:
        return ngx_http_rcache_graphql_args(r);

    case RCACHE_DECLINED:
        return RCACHE_REASON_GRAPHQL;

    default: /* RCACHE_ERROR */
        return RCACHE_REASON_NO_MEMORY;
    }
}


/* GraphQL by GET; each "query" counts, as nobody knows which one is taken */

static rcache_reason_e
ngx_http_rcache_graphql_args(ngx_http_request_t *r)
{
    u_char     *p, *last, *end, *src, *dst, *value;
    ngx_str_t   text;

    p = r->args.data;
    last = p + r->args.len;

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');

        if (end == NULL) {
            end = last;
        }

        text.data = ngx_pnalloc(r->pool, end - p + 1);
        if (text.data == NULL) {
            return RCACHE_REASON_NO_MEMORY;
        }

        dst = text.data;
        src = p;

        ngx_unescape_uri(&dst, &src, end - p, 0);

        text.len = dst - text.data;

        value = ngx_strlchr(text.data, dst, '=');

        if (value == NULL || value - text.data != sizeof("query") - 1
            || ngx_strncmp(text.data, "query", sizeof("query") - 1) != 0)
        {
            continue;
        }

        text.len -= value + 1 - text.data;
        text.data = value + 1;

        for (src = text.data; src < dst; src++) {
            if (*src == '+') {
                *src = ' ';
            }
        }

        if (!rcache_graphql_query(&text)) {
            return RCACHE_REASON_GRAPHQL;
        }
    }

    return RCACHE_REASON_NONE;
}


void
ngx_http_rcache_json_memory(rcache_json_memory_t *memory, ngx_log_t *log)
{
    memory->alloc = ngx_http_rcache_json_alloc;
    memory->free = ngx_http_rcache_json_free;
    memory->data = log;
}


static void *
ngx_http_rcache_json_alloc(void *data, size_t size)
{
    return ngx_alloc(size, data);
}


static void
ngx_http_rcache_json_free(void *data, void *p)
{
    ngx_free(p);
}
