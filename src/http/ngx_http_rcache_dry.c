
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * redis_proxy_cache_dry_run: what would become of the request?  It is looked
 * up as always, but under a key of its own, where there are fingerprints and
 * no responses; and whatever is found there, it goes to the upstream as it
 * came.  What would have been done with it is counted, and not done.
 *
 * Who would have waited for another's fetch is known for this worker only: a
 * fetch that is under way is in a tree, by the hash of its key.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_count.h"


static ngx_int_t ngx_http_rcache_dry_key(ngx_pool_t *pool, ngx_str_t *key,
    ngx_str_t *dry);
static ngx_uint_t ngx_http_rcache_dry_predict(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_uint_t ngx_http_rcache_dry_fetches(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_dry_found(ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_dry_join(ngx_http_rcache_ctx_t *ctx);


void
ngx_http_rcache_dry_init(ngx_http_rcache_trial_t *trial)
{
    ngx_rbtree_init(&trial->fetches, &trial->sentinel,
                    ngx_rbtree_insert_value);
}


ngx_int_t
ngx_http_rcache_dry_begin(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_uint_t                   n;
    ngx_http_rcache_label_t     *label;
    ngx_http_rcache_loc_conf_t  *rlcf;

    ctx->dry = ngx_pcalloc(r->pool, sizeof(ngx_http_rcache_dry_t));
    if (ctx->dry == NULL) {
        return NGX_ERROR;
    }

    ctx->dry->predicted = RCACHE_COUNT_DRY_REQUESTS_BYPASS;

    if (!NGX_HTTP_RCACHE_NO_METRICS) {
        rlcf = ngx_http_get_module_loc_conf(r,
                                            ngx_http_redis_proxy_cache_module);

        n = ctx->zone->labels[rlcf->metrics.label];
        label = &ctx->zone->stats->sh->label[n];

        if (label->dry == 0) {
            label->dry = ngx_time();
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_dry_start(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_int_t rc)
{
    if (ngx_http_rcache_dry_key(r->pool, &ctx->redis_key, &ctx->redis_key)
        != NGX_OK)
    {
        ctx->reason = RCACHE_REASON_NO_MEMORY;
        ctx->dry->predicted = RCACHE_COUNT_DRY_REQUESTS_UNKNOWN;
        return NGX_DECLINED;
    }

    /* the last one is the newest, nobody has a lock */

    ngx_str_set(&ctx->token, "*");

    if (rc == NGX_OK) {

        /* unless it stays until Redis has answered */

        ctx->dry->predicted = RCACHE_COUNT_DRY_REQUESTS_UNKNOWN;

        return NGX_OK;
    }

    /* who bypasses the cache renews it */

    ctx->state = NGX_HTTP_RCACHE_DRY;

    ngx_http_rcache_count_fetch(ctx);

    return NGX_DECLINED;
}


/* dry may be key */

static ngx_int_t
ngx_http_rcache_dry_key(ngx_pool_t *pool, ngx_str_t *key, ngx_str_t *dry)
{
    u_char  *p;
    size_t   len;

    len = key->len + sizeof(NGX_HTTP_RCACHE_DRY_SUFFIX) - 1;

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_cpymem(p, key->data, key->len), NGX_HTTP_RCACHE_DRY_SUFFIX,
               sizeof(NGX_HTTP_RCACHE_DRY_SUFFIX) - 1);

    dry->data = p;
    dry->len = len;

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_dry_decide(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_dry_t  *dry;

    dry = ctx->dry;

    ngx_http_rcache_dry_found(ctx);

    dry->predicted = ngx_http_rcache_dry_predict(r, ctx);

    if (dry->predicted == RCACHE_COUNT_DRY_REQUESTS_HIT
        || dry->predicted == RCACHE_COUNT_DRY_REQUESTS_STALE)
    {
        dry->saved = ctx->entry.fetch;
    }

    if (ngx_http_rcache_dry_fetches(r, ctx)) {
        ctx->state = NGX_HTTP_RCACHE_DRY;

        ngx_http_rcache_purge_begin(ctx);

        if (ngx_http_rcache_collapses(r, ctx)) {
            ngx_http_rcache_dry_join(ctx);
        }

    } else {
        ctx->state = NGX_HTTP_RCACHE_PASS;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "rcache dry run: %ui %V \"%V\"", dry->predicted,
                   rcache_reason_name(ctx->reason), &ctx->key);

    ctx->status = NGX_HTTP_RCACHE_BYPASS;
    ctx->reason = RCACHE_REASON_DRY_RUN;

    ngx_http_rcache_count_fetch(ctx);

    return NGX_DECLINED;
}


/* an entry, of whatever use: it is what the next one takes the place of */

static void
ngx_http_rcache_dry_found(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_dry_t  *dry;

    dry = ctx->dry;

    switch (ctx->reason) {

    case RCACHE_REASON_NONE:
    case RCACHE_REASON_EXPIRED:
    case RCACHE_REASON_CLIENT:
    case RCACHE_REASON_AUTHORIZATION:
    case RCACHE_REASON_PURGED:
    case RCACHE_REASON_INVALIDATED:
        break;

    default:
        return;
    }

    dry->found = (rcache_dry_decode(&dry->old, &ctx->entry.body)
                  == RCACHE_OK);
    dry->until = ctx->entry.created + dry->old.ttl;
}


static ngx_uint_t
ngx_http_rcache_dry_predict(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    switch (ctx->reason) {

    case RCACHE_REASON_NONE:
        return (ctx->status == NGX_HTTP_RCACHE_HIT)
               ? RCACHE_COUNT_DRY_REQUESTS_HIT
               : RCACHE_COUNT_DRY_REQUESTS_STALE;

    case RCACHE_REASON_REDIS_DOWN:
    case RCACHE_REASON_REDIS_BUSY:
    case RCACHE_REASON_REDIS_TIMEOUT:
    case RCACHE_REASON_REDIS_ERROR:
    case RCACHE_REASON_NO_MEMORY:
        return RCACHE_COUNT_DRY_REQUESTS_UNKNOWN;

    default:
        break;
    }

    if (ctx->offline && (ctx->stale_use & NGX_HTTP_RCACHE_OFFLINE)) {
        return RCACHE_COUNT_DRY_REQUESTS_STALE;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if ((ctx->stale_use & NGX_HTTP_UPSTREAM_FT_UPDATING)
        && rlcf->background_update
        && !ctx->offline && !ctx->far
        && ngx_http_rcache_collapses(r, ctx))
    {
        return RCACHE_COUNT_DRY_REQUESTS_STALE;
    }

    switch (ctx->status) {

    case NGX_HTTP_RCACHE_EXPIRED:
        return RCACHE_COUNT_DRY_REQUESTS_EXPIRED;

    case NGX_HTTP_RCACHE_BYPASS:
        return RCACHE_COUNT_DRY_REQUESTS_BYPASS;

    default:
        return RCACHE_COUNT_DRY_REQUESTS_MISS;
    }
}


/* would what the upstream says be for the cache as well? */

static ngx_uint_t
ngx_http_rcache_dry_fetches(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    switch (ctx->dry->predicted) {

    case RCACHE_COUNT_DRY_REQUESTS_UNKNOWN:
        return 0;

    case RCACHE_COUNT_DRY_REQUESTS_HIT:
        rlcf = ngx_http_get_module_loc_conf(r,
                                            ngx_http_redis_proxy_cache_module);

        return rlcf->early_refresh
               && !ctx->offline
               && ngx_http_rcache_draws_early(r, ctx);

    default:
        break;
    }

    /* a client may take what is stale, and that is all that is done */

    return ctx->reason != RCACHE_REASON_NONE
           && !ctx->offline
           && !ctx->far
           && !ctx->rare
           && !(ctx->wants && ctx->wants->cc.only_if_cached);
}


/* has another one begun to fetch the same? */

static void
ngx_http_rcache_dry_join(ngx_http_rcache_ctx_t *ctx)
{
    uint64_t                     hash;
    ngx_str_t                   *key;
    ngx_rbtree_key_t             id;
    ngx_rbtree_node_t           *node, *sentinel;
    ngx_http_rcache_trial_t     *trial;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_redis_proxy_cache_module);

    if (!rlcf->lock) {
        return;
    }

    trial = &ctx->zone->trial;

    key = ctx->marker ? &ctx->variant_key : &ctx->redis_key;

    hash = rcache_sum(key->data, key->len);
    id = (ngx_rbtree_key_t) hash;

    node = trial->fetches.root;
    sentinel = trial->fetches.sentinel;

    while (node != sentinel) {

        if (id == node->key) {
            ctx->dry->shared = 1;
            return;
        }

        node = (id < node->key) ? node->left : node->right;
    }

    ctx->dry->node.key = id;
    ctx->dry->fetches = 1;

    ngx_rbtree_insert(&trial->fetches, &ctx->dry->node);
}


void
ngx_http_rcache_dry_unlink(ngx_http_rcache_ctx_t *ctx, ngx_str_t *keys,
    ngx_uint_t n)
{
    ngx_str_t              argv[2];
    ngx_uint_t             i;
    ngx_http_rcache_op_t  *op;

    for (i = 0; i < n; i++) {

        op = ngx_http_rcache_op_create(1024 + 3 * keys[i].len,
                                       ngx_cycle->log);
        if (op == NULL) {
            return;
        }

        ngx_str_set(&argv[0], "UNLINK");

        if (ngx_http_rcache_dry_key(op->pool, &keys[i], &argv[1]) != NGX_OK
            || ngx_http_rcache_op_command(op, argv, 2, NULL) != NGX_OK)
        {
            ngx_http_rcache_op_free(op);
            return;
        }

        op->lane = NGX_HTTP_RCACHE_LANE_STORE;
        op->max_reply = 1024;

        ngx_http_rcache_segments_send(ctx->zone, op);
    }
}


ngx_uint_t
ngx_http_rcache_dry_predicted(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_dry_t  *dry;

    dry = ctx->dry;

    if (dry->shared && dry->stored
        && (dry->predicted == RCACHE_COUNT_DRY_REQUESTS_MISS
            || dry->predicted == RCACHE_COUNT_DRY_REQUESTS_EXPIRED))
    {
        return RCACHE_COUNT_DRY_REQUESTS_COLLAPSED;
    }

    return dry->predicted;
}


void
ngx_http_rcache_dry_count(ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->status == NGX_HTTP_RCACHE_NONE) {

        /* it is not even looked up */

        return;
    }

    if (ctx->capture) {
        ngx_http_rcache_count_refused(ctx, RCACHE_REASON_TRUNCATED);
    }

    ctx->status = NGX_HTTP_RCACHE_BYPASS;

    ngx_http_rcache_count(ctx, ngx_http_rcache_dry_predicted(ctx), 1);
    ngx_http_rcache_count(ctx, RCACHE_COUNT_DRY_SAVED_ALL, ctx->dry->saved);
}


void
ngx_http_rcache_dry_leave(ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->dry->fetches) {
        ctx->dry->fetches = 0;

        ngx_rbtree_delete(&ctx->zone->trial.fetches, &ctx->dry->node);
    }
}
