
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What a detached request has of the client's.  All of it is copied: the
 * client's may be gone before the detached one has begun.
 */


#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_lookup.h"


static void ngx_http_rcache_detached_phase(ngx_http_request_t *dr,
    ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_detached_headers(ngx_http_request_t *dr,
    ngx_http_request_t *r);
static ngx_uint_t ngx_http_rcache_detached_leaves_out(ngx_table_elt_t *h);
static ngx_int_t ngx_http_rcache_detached_header(ngx_http_request_t *dr,
    ngx_table_elt_t *from);
static ngx_int_t ngx_http_rcache_detached_body(ngx_http_request_t *dr,
    ngx_http_rcache_ctx_t *from);
static ngx_int_t ngx_http_rcache_detached_captures(ngx_http_request_t *dr,
    ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_detached_variables(ngx_http_request_t *dr,
    ngx_http_request_t *r);
static ngx_uint_t ngx_http_rcache_detached_asks(ngx_http_request_t *r,
    ngx_str_t *name);
static ngx_int_t ngx_http_rcache_detached_ctx(ngx_http_request_t *dr,
    ngx_http_rcache_ctx_t *from);
static ngx_int_t ngx_http_rcache_detached_entry(ngx_pool_t *pool,
    rcache_entry_t *to, rcache_entry_t *from);


/* of the request: what its location and its upstream may look at */

static ngx_uint_t  ngx_http_rcache_detached_strings[] = {
    offsetof(ngx_http_request_t, request_line),
    offsetof(ngx_http_request_t, uri),
    offsetof(ngx_http_request_t, args),
    offsetof(ngx_http_request_t, exten),
    offsetof(ngx_http_request_t, unparsed_uri),
    offsetof(ngx_http_request_t, method_name),
    offsetof(ngx_http_request_t, http_protocol),
    offsetof(ngx_http_request_t, headers_in.user),
    offsetof(ngx_http_request_t, headers_in.passwd),
    offsetof(ngx_http_request_t, headers_in.server)
};


/* what a client says of its connection and of a body, which there is not */

static ngx_str_t  ngx_http_rcache_detached_left_out[] = {
    ngx_string("connection"),
    ngx_string("content-length"),
    ngx_string("expect"),
    ngx_string("keep-alive"),
    ngx_string("transfer-encoding"),
    ngx_string("upgrade"),
    ngx_null_string
};


/* variables made of what only the client's request has */

static ngx_str_t  ngx_http_rcache_detached_asked[] = {
    ngx_string("http2"),
    ngx_string("http3"),
    ngx_string("realip_remote_addr"),
    ngx_string("realip_remote_port"),
    ngx_null_string
};


ngx_int_t
ngx_http_rcache_detached_copy(ngx_http_request_t *dr, ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_str_t                 *from, *to;
    ngx_uint_t                 i, n;
    ngx_http_core_loc_conf_t  *clcf;

    dr->main_conf = r->main_conf;
    dr->srv_conf = r->srv_conf;
    dr->loc_conf = r->loc_conf;

    clcf = ngx_http_get_module_loc_conf(dr, ngx_http_core_module);

    ngx_set_connection_log(dr->connection, clcf->error_log);

    n = sizeof(ngx_http_rcache_detached_strings) / sizeof(ngx_uint_t);

    for (i = 0; i < n; i++) {
        from = (ngx_str_t *) ((char *) r
                              + ngx_http_rcache_detached_strings[i]);
        to = (ngx_str_t *) ((char *) dr + ngx_http_rcache_detached_strings[i]);

        if (ngx_http_rcache_copy_str(dr->pool, to, from) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    dr->method = r->method;
    dr->http_version = NGX_HTTP_VERSION_11;
    dr->http_state = NGX_HTTP_PROCESS_REQUEST_STATE;

    dr->limit_conn_status = r->main->limit_conn_status;
    dr->limit_req_status = r->main->limit_req_status;

    dr->internal = r->internal;
    dr->quoted_uri = r->quoted_uri;
    dr->valid_location = r->valid_location;
    dr->valid_unparsed_uri = r->valid_unparsed_uri;
    dr->add_uri_to_alias = r->add_uri_to_alias;
    dr->expect_tested = 1;

    /* nobody wants an error page, and our filter is to see the error */

    dr->error_page = 1;

    /* as nginx's own, which are subrequests */

    dr->logged = clcf->log_subrequest ? 0 : 1;

    dr->content_handler = r->content_handler;

    ngx_http_rcache_detached_phase(dr, r);

    if (ngx_http_rcache_detached_headers(dr, r) != NGX_OK
        || ngx_http_rcache_detached_body(dr, ctx) != NGX_OK
        || ngx_http_rcache_detached_captures(dr, r) != NGX_OK
        || ngx_http_rcache_detached_variables(dr, r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_rcache_detached_ctx(dr, ctx);
}


/*
 * It begins with our handler of the PRECONTENT phase, the last one before the
 * content handler, also if r is a slice and has begun behind it.
 */

static void
ngx_http_rcache_detached_phase(ngx_http_request_t *dr, ngx_http_request_t *r)
{
    ngx_int_t                   i;
    ngx_http_phase_handler_t   *ph;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    ph = cmcf->phase_engine.handlers;

    dr->phase_handler = r->phase_handler;

    for (i = 0; ph[i].checker; i++) {

        if (ph[i].handler == ngx_http_rcache_lookup_handler) {
            dr->phase_handler = i;
            break;
        }
    }
}


static ngx_int_t
ngx_http_rcache_detached_headers(ngx_http_request_t *dr,
    ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    if (ngx_list_init(&dr->headers_in.headers, dr->pool, 20,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

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

        if (ngx_http_rcache_detached_leaves_out(&h[i])) {
            continue;
        }

        if (ngx_http_rcache_detached_header(dr, &h[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_rcache_detached_leaves_out(ngx_table_elt_t *h)
{
    ngx_uint_t   i;
    ngx_str_t   *names;

    names = ngx_http_rcache_detached_left_out;

    for (i = 0; names[i].len; i++) {
        if (rcache_str_same(&h->key, &names[i])) {
            return 1;
        }
    }

    return 0;
}


/* a body that is part of the key, with its length, as if it had been read */

static ngx_int_t
ngx_http_rcache_detached_body(ngx_http_request_t *dr,
    ngx_http_rcache_ctx_t *from)
{
    ngx_buf_t        *b;
    ngx_chain_t      *cl;
    ngx_table_elt_t  *h;

    if (!from->rules.bodied) {
        return NGX_OK;
    }

    dr->request_body = ngx_pcalloc(dr->pool, sizeof(ngx_http_request_body_t));
    if (dr->request_body == NULL) {
        return NGX_ERROR;
    }

    h = ngx_list_push(&dr->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    ngx_str_set(&h->key, "Content-Length");
    h->lowcase_key = (u_char *) "content-length";
    h->hash = ngx_hash_key(h->lowcase_key, h->key.len);

    h->value.data = ngx_pnalloc(dr->pool, NGX_SIZE_T_LEN);
    if (h->value.data == NULL) {
        return NGX_ERROR;
    }

    h->value.len = ngx_sprintf(h->value.data, "%uz", from->rules.body.len)
                   - h->value.data;

    dr->headers_in.content_length = h;
    dr->headers_in.content_length_n = from->rules.body.len;

    if (from->rules.body.len == 0) {
        return NGX_OK;
    }

    b = ngx_create_temp_buf(dr->pool, from->rules.body.len);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->pos, from->rules.body.data, from->rules.body.len);

    cl = ngx_alloc_chain_link(dr->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    cl->buf = b;
    cl->next = NULL;

    dr->request_body->bufs = cl;

    return NGX_OK;
}


/*
 * What nginx points to is set here, and not by its own handlers: they end a
 * request with a line that they do not like, and r was not ended.
 */

static ngx_int_t
ngx_http_rcache_detached_header(ngx_http_request_t *dr, ngx_table_elt_t *from)
{
    ngx_str_t                   lowcase;
    ngx_table_elt_t            *h, **ph;
    ngx_http_header_t          *hh;
    ngx_http_core_main_conf_t  *cmcf;
#if (nginx_version < 1023000)
    ngx_array_t                *lines;
#endif

    h = ngx_list_push(&dr->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = from->hash;

    lowcase.data = from->lowcase_key;
    lowcase.len = from->key.len;

    if (ngx_http_rcache_copy_str(dr->pool, &h->key, &from->key) != NGX_OK
        || ngx_http_rcache_copy_str(dr->pool, &h->value, &from->value)
           != NGX_OK
        || ngx_http_rcache_copy_str(dr->pool, &lowcase, &lowcase)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    h->lowcase_key = lowcase.data;

    cmcf = ngx_http_get_module_main_conf(dr, ngx_http_core_module);

    hh = ngx_hash_find(&cmcf->headers_in_hash, h->hash, h->lowcase_key,
                       h->key.len);
    if (hh == NULL) {
        return NGX_OK;
    }

    ph = (ngx_table_elt_t **) ((char *) &dr->headers_in + hh->offset);

#if (nginx_version >= 1023000)

    while (*ph) {
        ph = &(*ph)->next;
    }

#else

    if (hh->offset == offsetof(ngx_http_headers_in_t, cookies)
#if (NGX_HTTP_X_FORWARDED_FOR)
        || hh->offset == offsetof(ngx_http_headers_in_t, x_forwarded_for)
#endif
       )
    {
        lines = (ngx_array_t *) ph;

        if (lines->elts == NULL
            && ngx_array_init(lines, dr->pool, 1, sizeof(ngx_table_elt_t *))
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        ph = ngx_array_push(lines);
        if (ph == NULL) {
            return NGX_ERROR;
        }

    } else if (*ph) {
        return NGX_OK;
    }

#endif

    *ph = h;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_detached_captures(ngx_http_request_t *dr,
    ngx_http_request_t *r)
{
#if (NGX_PCRE)

    int                         end;
    ngx_str_t                   data;
    ngx_uint_t                  i;
    ngx_http_core_main_conf_t  *cmcf;

    if (r->captures == NULL || r->ncaptures <= 2) {

        /* the regex had no groups, and what is there is that of another */

        return NGX_OK;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    dr->captures = ngx_palloc(dr->pool,
                              ngx_max(r->ncaptures, (ngx_uint_t)
                                      cmcf->ncaptures) * sizeof(int));
    if (dr->captures == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dr->captures, r->captures, r->ncaptures * sizeof(int));

    end = 0;

    for (i = 2; i < r->ncaptures; i++) {
        end = ngx_max(end, r->captures[i]);
    }

    data.data = r->captures_data;
    data.len = end;

    if (ngx_http_rcache_copy_str(dr->pool, &data, &data) != NGX_OK) {
        return NGX_ERROR;
    }

    dr->captures_data = data.data;
    dr->ncaptures = r->ncaptures;

#endif

    return NGX_OK;
}


/*
 * Those that "set", "map" and a regex have made stay as they are in r.  What
 * is made anew each time it is asked for will be; apart from those that the
 * request alone does not tell, of which the range of a slice is one.
 */

static ngx_int_t
ngx_http_rcache_detached_variables(ngx_http_request_t *dr,
    ngx_http_request_t *r)
{
    ngx_str_t                    data;
    ngx_uint_t                   i;
    ngx_http_variable_t         *v;
    ngx_http_variable_value_t   *from, *to;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        from = &r->variables[i];

        if (ngx_http_rcache_detached_asks(r, &v[i].name)) {

            from = ngx_http_get_flushed_variable(r, i);
            if (from == NULL) {
                return NGX_ERROR;
            }

        } else if (from->no_cacheable) {
            continue;
        }

        if (!from->valid && !from->not_found) {
            continue;
        }

        to = &dr->variables[i];
        *to = *from;

        to->no_cacheable = 0;

        data.data = from->len ? from->data : (u_char *) "";
        data.len = from->len;

        if (ngx_http_rcache_copy_str(dr->pool, &data, &data) != NGX_OK) {
            return NGX_ERROR;
        }

        to->data = data.data;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_rcache_detached_asks(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t                   i;
    ngx_str_t                   *names;
    ngx_http_rcache_loc_conf_t  *rlcf;

    names = ngx_http_rcache_detached_asked;

    for (i = 0; names[i].len; i++) {
        if (rcache_str_same(name, &names[i])) {
            return 1;
        }
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    /* elsewhere asking for it would begin to slice */

    return rlcf->slice && rcache_str_is(name, "slice_range");
}


static ngx_int_t
ngx_http_rcache_detached_ctx(ngx_http_request_t *dr,
    ngx_http_rcache_ctx_t *from)
{
    ngx_pool_t             *pool;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = ngx_http_rcache_ctx_create(dr);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    pool = dr->pool;

    ctx->zone = from->zone;
    ctx->counts = from->counts;
    ctx->status = from->status;
    ctx->stale = from->stale;
    ctx->front = from->front;

    ctx->background = 1;
    ctx->discard = 1;

    if (from->marker) {
        ctx->marker = ngx_palloc(pool, sizeof(rcache_entry_t));

        if (ctx->marker == NULL
            || ngx_http_rcache_detached_entry(pool, ctx->marker, from->marker)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_http_rcache_detached_entry(pool, &ctx->entry, &from->entry)
        != NGX_OK
        || ngx_http_rcache_copy_str(pool, &ctx->rules.user, &from->rules.user)
           != NGX_OK
        || ngx_http_rcache_copy_str(pool, &ctx->key, &from->key) != NGX_OK
        || ngx_http_rcache_copy_str(pool, &ctx->redis_key,
                                        &from->redis_key)
           != NGX_OK
        || ngx_http_rcache_copy_str(pool, &ctx->variant, &from->variant)
           != NGX_OK
        || ngx_http_rcache_copy_str(pool, &ctx->variant_key,
                                        &from->variant_key)
           != NGX_OK
        || ngx_http_rcache_copy_str(pool, &ctx->seen, &from->seen)
           != NGX_OK
        || ngx_http_rcache_copy_str(pool, &ctx->seen_generation,
                                        &from->seen_generation)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* all of it but the body */

static ngx_int_t
ngx_http_rcache_detached_entry(ngx_pool_t *pool, rcache_entry_t *to,
    rcache_entry_t *from)
{
    *to = *from;

    ngx_str_null(&to->body);

    if (ngx_http_rcache_copy_str(pool, &to->key, &from->key) != NGX_OK
        || ngx_http_rcache_copy_str(pool, &to->vary, &from->vary)
           != NGX_OK
        || ngx_http_rcache_copy_str(pool, &to->variant, &from->variant)
           != NGX_OK
        || ngx_http_rcache_copy_str(pool, &to->tags, &from->tags)
           != NGX_OK
        || ngx_http_rcache_copy_str(pool, &to->head, &from->head)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* with a zero behind it, as nginx's parser leaves it; to may be from */

ngx_int_t
ngx_http_rcache_copy_str(ngx_pool_t *pool, ngx_str_t *to, ngx_str_t *from)
{
    u_char  *p;

    if (from->data == NULL) {
        ngx_str_null(to);
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, from->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *ngx_cpymem(p, from->data, from->len) = '\0';

    to->len = from->len;
    to->data = p;

    return NGX_OK;
}
