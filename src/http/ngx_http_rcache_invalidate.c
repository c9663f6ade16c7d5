
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * RFC 9111, 4.4: a successful unsafe request invalidates what is stored for
 * its target, and for the URIs in Location and Content-Location if they have
 * the same origin.
 */


#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_store.h"
#include "../core/rcache_key.h"
#include "../core/rcache_uri.h"


#define NGX_HTTP_RCACHE_INVALIDATE_MAX  3


static void ngx_http_rcache_invalidate_all(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_unlink_key(ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *key, ngx_str_t *token);
static ngx_int_t ngx_http_rcache_invalidate_uri(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, char *name, ngx_str_t *redis_key);
static ngx_int_t ngx_http_rcache_invalidate_args(ngx_http_request_t *r,
    ngx_str_t *uri);
static ngx_table_elt_t *ngx_http_rcache_find_header(ngx_list_t *list,
    char *name);


/* called when the response headers of an unsafe request are there */

void
ngx_http_rcache_invalidate(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    /* RFC 9111, 4.4: 2xx or 3xx, non-error */

    if (r->headers_out.status < NGX_HTTP_BAD_REQUEST && !r->err_status) {
        ngx_http_rcache_invalidate_all(r, ctx);
    }
}


static void
ngx_http_rcache_invalidate_all(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_str_t                    keys[NGX_HTTP_RCACHE_INVALIDATE_MAX];
    ngx_uint_t                   n;
    ngx_http_rcache_loc_conf_t  *rlcf;

    ngx_http_rcache_invalidate_tags(r, ctx);

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    keys[0] = ctx->redis_key;
    n = 1;

    /* of other URIs only the default key is known */

    if (rlcf->key == NULL) {

        if (ngx_http_rcache_invalidate_uri(r, ctx, "Location", &keys[n])
            == NGX_OK)
        {
            n++;
        }

        if (ngx_http_rcache_invalidate_uri(r, ctx, "Content-Location",
                                           &keys[n])
            == NGX_OK)
        {
            if (keys[n].len == ctx->redis_key.len
                && ngx_memcmp(keys[n].data, ctx->redis_key.data, keys[n].len)
                   == 0)
            {
                /* RFC 9110, 9.3.3: what a GET would get from now on */

                ctx->post = (r->method == NGX_HTTP_POST
                             && r->headers_out.status == NGX_HTTP_OK);

            } else {
                n++;
            }
        }
    }

    if (ctx->post) {
        ngx_http_rcache_token(ctx->zone, ctx->token_data);
    }

    ngx_http_rcache_count(ctx, RCACHE_COUNT_INVALIDATED_ALL, 1);

    ngx_http_rcache_unlink(ctx, keys, n);

    if (ctx->dry) {

        /* what another location stored for real is as void; nobody waits */

        ngx_http_rcache_dry_unlink(ctx, keys, n);
        ngx_http_rcache_release(ctx);

        ctx->post = 0;
    }
}


/*
 * X-Accel-Redirect: the upstream has done it, and something else is the
 * response, an error perhaps.  By now the request is in another location, as a
 * GET.
 */

void
ngx_http_rcache_invalidate_redirected(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    void  **loc_conf;

    if (ctx->state != NGX_HTTP_RCACHE_UNSAFE) {
        return;
    }

    ctx->state = NGX_HTTP_RCACHE_PASS;

    if (r->upstream == NULL
        || r->upstream->headers_in.status_n == 0
        || r->upstream->headers_in.status_n >= NGX_HTTP_BAD_REQUEST)
    {
        return;
    }

    loc_conf = r->loc_conf;
    r->loc_conf = ctx->loc_conf;

    ngx_http_rcache_invalidate_all(r, ctx);

    r->loc_conf = loc_conf;
}


/*
 * What is being fetched at this moment is void as well: it is not stored, and
 * nobody who comes from now on waits for it.
 */

void
ngx_http_rcache_unlink(ngx_http_rcache_ctx_t *ctx, ngx_str_t *keys,
    ngx_uint_t n)
{
    ngx_str_t   token;
    ngx_uint_t  i;

    token.data = ctx->token_data;
    token.len = NGX_HTTP_RCACHE_TOKEN;

    /* they may be on several servers, of which one is down */

    for (i = 0; i < n; i++) {
        ngx_http_rcache_unlink_key(ctx, &keys[i],
                                   (ctx->post && i == 0) ? &token : NULL);
    }

    /* a 204, or an answer to HEAD, has no end that could be held */

    ngx_http_rcache_redis_flush(ctx->zone->redis, NGX_HTTP_RCACHE_LANE_STORE);
}


static void
ngx_http_rcache_unlink_key(ngx_http_rcache_ctx_t *ctx, ngx_str_t *key,
    ngx_str_t *token)
{
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_unlink_op(ctx->zone, key, token, 0);
    if (op == NULL) {
        ngx_http_rcache_lost_key(ctx->zone, key);
        return;
    }

    ngx_http_rcache_count_void(ctx->zone, key);

    (void) ngx_http_rcache_write(ctx->zone, op, ctx, NULL, key);
}


ngx_http_rcache_op_t *
ngx_http_rcache_unlink_op(ngx_http_rcache_zone_t *zone, ngx_str_t *key,
    ngx_str_t *token, ngx_uint_t again)
{
    u_char                *p;
    ngx_str_t              lock;
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(1024 + 3 * key->len, ngx_cycle->log);
    if (op == NULL) {
        return NULL;
    }

    lock.len = key->len + sizeof(":l") - 1;
    lock.data = ngx_pnalloc(op->pool, lock.len);

    if (lock.data == NULL) {
        ngx_http_rcache_op_free(op);
        return NULL;
    }

    p = ngx_cpymem(lock.data, key->data, key->len);
    ngx_memcpy(p, ":l", sizeof(":l") - 1);

    if (!again) {
        ngx_http_rcache_flight_void(zone, &lock);
    }

    if (ngx_http_rcache_void_command(op, key, &lock, NGX_HTTP_RCACHE_VOID,
                                     token)
        != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return NULL;
    }

    op->must = 1;

    return op;
}


static ngx_int_t
ngx_http_rcache_invalidate_uri(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, char *name, ngx_str_t *redis_key)
{
    ngx_str_t         base, key;
    ngx_table_elt_t  *h;

    /* as the client sees it, after proxy_redirect; or, if it is hidden, not */

    h = ngx_http_rcache_find_header(&r->headers_out.headers, name);

    if (h == NULL && r->upstream && r->upstream->headers_in.status_n) {
        h = ngx_http_rcache_find_header(&r->upstream->headers_in.headers,
                                        name);
    }

    if (h == NULL) {
        return NGX_DECLINED;
    }

    base.data = ngx_pnalloc(r->pool, rcache_uri_size(&ctx->base, &h->value));
    if (base.data == NULL) {
        return NGX_ERROR;
    }

    if (rcache_uri_resolve(base.data, &base.len, &ctx->base, &h->value)
        != RCACHE_OK)
    {
        return NGX_DECLINED;
    }

    /* what else is in the key is the same for it */

    if (ngx_http_rcache_invalidate_args(r, &base) != NGX_OK
        || ngx_http_rcache_rules_key(r, ctx, &base, &key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (key.len > RCACHE_KEY_MAX) {
        return NGX_DECLINED;
    }

    return ngx_http_rcache_redis_key(r, ctx->zone, &key, redis_key);
}


/* redis_proxy_cache_args, for a URI whose memory can be written to */

static ngx_int_t
ngx_http_rcache_invalidate_args(ngx_http_request_t *r, ngx_str_t *uri)
{
    u_char     *p;
    ngx_str_t   query, args;

    p = ngx_strlchr(uri->data, uri->data + uri->len, '?');

    if (p == NULL) {
        return NGX_OK;
    }

    query.data = p + 1;
    query.len = uri->data + uri->len - query.data;

    if (ngx_http_rcache_args_query(r, &query, &args) != NGX_OK) {
        return NGX_ERROR;
    }

    if (args.len == 0) {
        uri->len = p - uri->data;
        return NGX_OK;
    }

    ngx_memmove(query.data, args.data, args.len);

    uri->len = query.data + args.len - uri->data;

    return NGX_OK;
}


static ngx_table_elt_t *
ngx_http_rcache_find_header(ngx_list_t *list, char *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &list->part;
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

        if (h[i].hash && rcache_str_is(&h[i].key, name)) {
            return &h[i];
        }
    }

    return NULL;
}
