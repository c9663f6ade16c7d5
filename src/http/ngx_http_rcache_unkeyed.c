
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * redis_proxy_cache_unkeyed: headers that are in no key and no Vary, and yet
 * make some upstreams answer something else.  Who sends one would choose what
 * all others get.
 */


#include "ngx_http_rcache.h"


/* lines of a request that may be in the key */

#define NGX_HTTP_RCACHE_UNKEYED_MAX   16


typedef struct {
    ngx_table_elt_t  *lines[NGX_HTTP_RCACHE_UNKEYED_MAX];
    ngx_str_t         names[NGX_HTTP_RCACHE_UNKEYED_MAX];
    ngx_uint_t        n;
    size_t            len;
    ngx_uint_t        strip;
    ngx_uint_t        bypass;
} ngx_http_rcache_unkeyed_found_t;


static ngx_uint_t ngx_http_rcache_unkeyed_port(ngx_http_request_t *r);
static void ngx_http_rcache_unkeyed_add(
    ngx_http_rcache_unkeyed_found_t *found, ngx_table_elt_t *h);
static ngx_int_t ngx_http_rcache_unkeyed_parts(ngx_http_request_t *r,
    ngx_http_rcache_unkeyed_found_t *found, ngx_str_t *parts);
static ngx_int_t ngx_http_rcache_unkeyed_strip(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_unkeyed_t *unkeyed);
static ngx_int_t ngx_http_rcache_unkeyed_put(ngx_array_t *keys,
    ngx_keyval_t *kv);

static ngx_str_t  ngx_http_rcache_unkeyed_words[] = {
    ngx_null_string,
    ngx_string("ignore"),
    ngx_string("key"),
    ngx_string("strip"),
    ngx_string("bypass")
};


/*
 * What says where the request came from is legitimate behind another proxy,
 * so it is in the key.  What asks for something else than the request line
 * does, or belongs to the inside of a framework, nobody should send.
 */

static ngx_keyval_t  ngx_http_rcache_unkeyed_defaults[] = {

    { ngx_string("base-url"), ngx_string("key") },
    { ngx_string("forwarded"), ngx_string("key") },
    { ngx_string("front-end-https"), ngx_string("key") },
    { ngx_string("proxy-host"), ngx_string("key") },
    { ngx_string("x-backend-host"), ngx_string("key") },
    { ngx_string("x-forwarded-host"), ngx_string("key") },
    { ngx_string("x-forwarded-path"), ngx_string("key") },
    { ngx_string("x-forwarded-port"), ngx_string("key") },
    { ngx_string("x-forwarded-prefix"), ngx_string("key") },
    { ngx_string("x-forwarded-proto"), ngx_string("key") },
    { ngx_string("x-forwarded-protocol"), ngx_string("key") },
    { ngx_string("x-forwarded-scheme"), ngx_string("key") },
    { ngx_string("x-forwarded-server"), ngx_string("key") },
    { ngx_string("x-forwarded-ssl"), ngx_string("key") },
    { ngx_string("x-host"), ngx_string("key") },
    { ngx_string("x-http-host-override"), ngx_string("key") },
    { ngx_string("x-original-host"), ngx_string("key") },
    { ngx_string("x-scheme"), ngx_string("key") },
    { ngx_string("x-url-scheme"), ngx_string("key") },

    { ngx_string("x-amz-website-redirect-location"), ngx_string("bypass") },
    { ngx_string("x-http-destinationurl"), ngx_string("bypass") },
    { ngx_string("x-http-method"), ngx_string("bypass") },
    { ngx_string("x-http-method-override"), ngx_string("bypass") },
    { ngx_string("x-method-override"), ngx_string("bypass") },
    { ngx_string("x-original-uri"), ngx_string("bypass") },
    { ngx_string("x-original-url"), ngx_string("bypass") },
    { ngx_string("x-override-url"), ngx_string("bypass") },
    { ngx_string("x-proxy-url"), ngx_string("bypass") },
    { ngx_string("x-rewrite-url"), ngx_string("bypass") },

    /* Next.js */

    { ngx_string("next-router-prefetch"), ngx_string("key") },
    { ngx_string("next-router-segment-prefetch"), ngx_string("key") },
    { ngx_string("next-router-state-tree"), ngx_string("key") },
    { ngx_string("next-url"), ngx_string("key") },
    { ngx_string("rsc"), ngx_string("key") },
    { ngx_string("x-nextjs-data"), ngx_string("key") },

    { ngx_string("next-action"), ngx_string("bypass") },
    { ngx_string("x-invoke-error"), ngx_string("bypass") },
    { ngx_string("x-invoke-output"), ngx_string("bypass") },
    { ngx_string("x-invoke-path"), ngx_string("bypass") },
    { ngx_string("x-invoke-query"), ngx_string("bypass") },
    { ngx_string("x-invoke-status"), ngx_string("bypass") },
    { ngx_string("x-matched-path"), ngx_string("bypass") },
    { ngx_string("x-middleware-invoke"), ngx_string("bypass") },
    { ngx_string("x-middleware-prefetch"), ngx_string("bypass") },
    { ngx_string("x-middleware-subrequest"), ngx_string("bypass") },
    { ngx_string("x-now-route-matches"), ngx_string("bypass") },
    { ngx_string("x-prerender-revalidate"), ngx_string("bypass") },

    { ngx_null_string, ngx_null_string }
};


ngx_int_t
ngx_http_rcache_unkeyed(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *parts)
{
    ngx_uint_t                        i;
    ngx_list_part_t                  *part;
    ngx_table_elt_t                  *h;
    ngx_http_rcache_loc_conf_t       *rlcf;
    ngx_http_rcache_unkeyed_t        *unkeyed;
    ngx_http_rcache_unkeyed_found_t   found;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    unkeyed = rlcf->rules.unkeyed;

    found.n = 0;
    found.len = 0;
    found.strip = 0;
    found.bypass = 0;

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

        switch (ngx_http_rcache_unkeyed_find(unkeyed, &h[i])) {

        case NGX_HTTP_RCACHE_UNKEYED_KEY:
            ngx_http_rcache_unkeyed_add(&found, &h[i]);
            break;

        case NGX_HTTP_RCACHE_UNKEYED_STRIP:
            found.strip = 1;
            break;

        case NGX_HTTP_RCACHE_UNKEYED_BYPASS:
            found.bypass = 1;
            break;

        default: /* 0, NGX_HTTP_RCACHE_UNKEYED_IGNORE */
            break;
        }
    }

    if (r->headers_in.host && ngx_http_rcache_unkeyed_port(r)) {
        ngx_http_rcache_unkeyed_add(&found, r->headers_in.host);
    }

    /* in a dry run the upstream gets what it would get without us */

    if (found.strip
        && !rlcf->metrics.dry_run
        && ngx_http_rcache_unkeyed_strip(r, ctx, unkeyed) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (found.n && ngx_http_rcache_unkeyed_parts(r, &found, parts) != NGX_OK) {
        return NGX_ERROR;
    }

    return found.bypass ? NGX_DECLINED : NGX_OK;
}


/*
 * With underscores_in_headers the same header has two spellings, and a
 * gateway such as CGI makes one of them.
 */

ngx_http_rcache_unkeyed_e
ngx_http_rcache_unkeyed_find(ngx_http_rcache_unkeyed_t *unkeyed,
    ngx_table_elt_t *h)
{
    u_char      buf[NGX_HTTP_RCACHE_UNKEYED_NAME];
    u_char     *name;
    ngx_uint_t  i, hash;

    name = h->lowcase_key;
    hash = h->hash;

    if (memchr(name, '_', h->key.len)) {

        if (h->key.len > NGX_HTTP_RCACHE_UNKEYED_NAME) {
            return 0;
        }

        for (i = 0, hash = 0; i < h->key.len; i++) {
            buf[i] = (name[i] == '_') ? '-' : name[i];
            hash = ngx_hash(hash, buf[i]);
        }

        name = buf;
    }

    return (ngx_http_rcache_unkeyed_e) (uintptr_t)
           ngx_hash_find(&unkeyed->hash, hash, name, h->key.len);
}


/*
 * $host has no port, but $http_host has, and some upstreams make URLs of it.
 * A port that is this server's, or that of the scheme, is what it should be.
 */

static ngx_uint_t
ngx_http_rcache_unkeyed_port(ngx_http_request_t *r)
{
    u_char     *p, *last;
    in_port_t   own;
    ngx_int_t   port;
    ngx_str_t  *host;

    host = &r->headers_in.host->value;

    last = host->data + host->len;

    for (p = last; p > host->data; p--) {

        if (p[-1] == ':') {
            break;
        }

        if (p[-1] < '0' || p[-1] > '9') {

            /* the end of a name, or of an address in brackets */

            return 0;
        }
    }

    if (p == host->data || p == last) {
        return 0;
    }

    port = ngx_atoi(p, last - p);

#if (NGX_HTTP_SSL)

    if (port == (r->connection->ssl ? 443 : 80)) {
        return 0;
    }

#else

    if (port == 80) {
        return 0;
    }

#endif

    if (ngx_connection_local_sockaddr(r->connection, NULL, 0) != NGX_OK) {
        return 1;
    }

    own = ngx_inet_get_port(r->connection->local_sockaddr);

    return port != own;
}


/* sorted by name; lines of the same name stay in their order */

static void
ngx_http_rcache_unkeyed_add(ngx_http_rcache_unkeyed_found_t *found,
    ngx_table_elt_t *h)
{
    ngx_uint_t  i;
    ngx_str_t   name;

    if (found->n == NGX_HTTP_RCACHE_UNKEYED_MAX) {
        found->bypass = 1;
        return;
    }

    name.data = h->lowcase_key;
    name.len = h->key.len;

    for (i = found->n; i; i--) {

        if (ngx_memn2cmp(found->names[i - 1].data, name.data,
                         found->names[i - 1].len, name.len)
            <= 0)
        {
            break;
        }

        found->lines[i] = found->lines[i - 1];
        found->names[i] = found->names[i - 1];
    }

    found->lines[i] = h;
    found->names[i] = name;

    found->n++;
    found->len += name.len + RCACHE_PART_HEADER;
}


/* with room in front for the part of the user */

static ngx_int_t
ngx_http_rcache_unkeyed_parts(ngx_http_request_t *r,
    ngx_http_rcache_unkeyed_found_t *found, ngx_str_t *parts)
{
    u_char      *p;
    ngx_uint_t   i;

    p = ngx_pnalloc(r->pool, NGX_HTTP_RCACHE_USER_PART + found->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p += NGX_HTTP_RCACHE_USER_PART;

    parts->data = p;

    for (i = 0; i < found->n; i++) {
        p = rcache_parts_header(p, &found->names[i], &found->lines[i]->value);

        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    parts->len = p - parts->data;

    return NGX_OK;
}


/*
 * nginx's pointers to single lines stay as they are: they are for nginx, and
 * what is sent to the upstream is the list.
 */

static ngx_int_t
ngx_http_rcache_unkeyed_strip(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_unkeyed_t *unkeyed)
{
    ngx_list_t        list, *old;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *copy;

    if (ngx_list_init(&list, r->pool, 20, sizeof(ngx_table_elt_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    old = ngx_palloc(r->pool, sizeof(ngx_list_t));
    if (old == NULL) {
        return NGX_ERROR;
    }

    *old = r->headers_in.headers;

    ctx->rules.unstripped = old;

    r->headers_in.headers = list;
    r->headers_in.headers.last = &r->headers_in.headers.part;

    part = &old->part;
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

        if (ngx_http_rcache_unkeyed_find(unkeyed, &h[i])
            == NGX_HTTP_RCACHE_UNKEYED_STRIP)
        {
            continue;
        }

        copy = ngx_list_push(&r->headers_in.headers);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        *copy = h[i];
    }

    return NGX_OK;
}


/* given: ngx_keyval_t, names in lower case; NULL: none */

ngx_int_t
ngx_http_rcache_unkeyed_build(ngx_conf_t *cf, ngx_array_t *given,
    ngx_uint_t defaults, ngx_http_rcache_unkeyed_t *unkeyed)
{
    ngx_uint_t        i, n;
    ngx_array_t       keys;
    ngx_keyval_t     *kv;
    ngx_hash_init_t   hash;

    n = given ? given->nelts : 0;
    kv = given ? given->elts : NULL;

    if (ngx_array_init(&keys, cf->pool, 64, sizeof(ngx_hash_key_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (ngx_http_rcache_unkeyed_put(&keys, &kv[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    kv = ngx_http_rcache_unkeyed_defaults;

    for (i = 0; defaults && kv[i].key.len; i++) {

        if (ngx_http_rcache_unkeyed_put(&keys, &kv[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    unkeyed->n = keys.nelts;

    if (keys.nelts == 0) {
        return NGX_OK;
    }

    hash.hash = &unkeyed->hash;
    hash.key = ngx_hash_key;
    hash.max_size = 1024;
    hash.bucket_size = ngx_align(128, ngx_cacheline_size);
    hash.name = "redis_proxy_cache_unkeyed_hash";
    hash.pool = cf->pool;
    hash.temp_pool = NULL;

    return ngx_hash_init(&hash, keys.elts, keys.nelts);
}


/* what is there already holds */

static ngx_int_t
ngx_http_rcache_unkeyed_put(ngx_array_t *keys, ngx_keyval_t *kv)
{
    ngx_uint_t       i;
    ngx_hash_key_t  *key;

    key = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        if (rcache_str_same(&key[i].key, &kv->key)) {
            return NGX_OK;
        }
    }

    key = ngx_array_push(keys);
    if (key == NULL) {
        return NGX_ERROR;
    }

    key->key = kv->key;
    key->key_hash = ngx_hash_key(kv->key.data, kv->key.len);
    key->value = (void *) (uintptr_t)
                 ngx_http_rcache_unkeyed_action(&kv->value);

    return NGX_OK;
}


/* 0: there is none of that name */

ngx_http_rcache_unkeyed_e
ngx_http_rcache_unkeyed_action(ngx_str_t *value)
{
    ngx_uint_t  i;
    ngx_str_t  *word;

    for (i = NGX_HTTP_RCACHE_UNKEYED_BYPASS; i; i--) {
        word = &ngx_http_rcache_unkeyed_words[i];

        if (value->len == word->len
            && ngx_strncmp(value->data, word->data, word->len) == 0)
        {
            break;
        }
    }

    return (ngx_http_rcache_unkeyed_e) i;
}


ngx_str_t *
ngx_http_rcache_unkeyed_word(ngx_http_rcache_unkeyed_e action)
{
    return &ngx_http_rcache_unkeyed_words[action];
}
