
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* What an entry has to do with purges: when it is stored, when it is read. */


#include "ngx_http_rcache_store.h"


/* of one record */

#define NGX_HTTP_RCACHE_TAGS_RECORD  512


static ngx_uint_t ngx_http_rcache_purge_match(ngx_http_rcache_ctx_t *ctx,
    rcache_entry_t *entry, uint64_t *soft);
static void ngx_http_rcache_purge_soften(rcache_entry_t *entry,
    uint64_t soft);


void
ngx_http_rcache_purge_begin(ngx_http_rcache_ctx_t *ctx)
{
    if (ctx->zone->follow) {
        ctx->position = rcache_purges_known(
                                ngx_http_rcache_follow_table(
                                                        ctx->zone->follow));
    }
}


rcache_reason_e
ngx_http_rcache_purge_mark(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_entry_t *entry, ngx_str_t *tags)
{
    ngx_str_t                    value;
    ngx_uint_t                   i;
    rcache_tags_t                list;
    ngx_http_complex_value_t    *cv;
    ngx_http_rcache_loc_conf_t  *rlcf;

    if (ctx->zone->follow) {
        entry->flags |= RCACHE_ENTRY_POSITION;
        entry->position = ctx->position;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    list.n = 0;

    if (rlcf->purge.tags) {
        cv = rlcf->purge.tags->elts;

        for (i = 0; i < rlcf->purge.tags->nelts; i++) {

            if (ngx_http_complex_value(r, &cv[i], &value) != NGX_OK) {
                return RCACHE_REASON_NO_MEMORY;
            }

            /* one that is left out would be one that cannot be purged */

            if (rcache_tags_add(&list, &value) != RCACHE_OK) {
                return RCACHE_REASON_TAGS;
            }
        }
    }

    ngx_str_null(&entry->tags);

    if (list.n == 0 && tags && tags->len) {

        /* with that of the user */

        entry->tags = *tags;

    } else {

        if (ctx->zone->follow
            && ctx->rules.user.len
            && rcache_tags_add(&list, &ctx->rules.user) != RCACHE_OK)
        {
            return RCACHE_REASON_TAGS;
        }

        if (list.n) {
            entry->tags.len = list.n * RCACHE_TAG_SIZE;
            entry->tags.data = ngx_pnalloc(r->pool, entry->tags.len);
            if (entry->tags.data == NULL) {
                return RCACHE_REASON_NO_MEMORY;
            }

            ngx_memcpy(entry->tags.data, list.hash, entry->tags.len);
        }
    }

    if (entry->tags.len) {
        entry->flags |= RCACHE_ENTRY_TAGS;
    }

    return RCACHE_REASON_NONE;
}


void
ngx_http_rcache_invalidate_tags(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    int                          rc;
    u_char                       buf[RCACHE_TAG_MAX];
    ngx_str_t                    value, tag, *pairs;
    ngx_uint_t                   i, n;
    ngx_http_complex_value_t    *cv;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (rlcf->purge.invalidate == NULL || ctx->zone->follow == NULL) {
        return;
    }

    pairs = ngx_palloc(r->pool, 2 * NGX_HTTP_RCACHE_TAGS_RECORD
                                * sizeof(ngx_str_t));
    if (pairs == NULL) {
        return;
    }

    n = 0;
    cv = rlcf->purge.invalidate->elts;

    for (i = 0; i < rlcf->purge.invalidate->nelts; i++) {

        if (ngx_http_complex_value(r, &cv[i], &value) != NGX_OK) {
            return;
        }

        for ( ;; ) {
            rc = rcache_tags_next(&value, buf, &tag);

            if (rc == RCACHE_DONE) {
                break;
            }

            if (rc != RCACHE_OK) {

                /* no entry has a tag that is too long */

                continue;
            }

            if (n == NGX_HTTP_RCACHE_TAGS_RECORD) {
                ngx_http_rcache_write_purge(ctx, pairs, 2 * n);
                n = 0;
            }

            ngx_str_set(&pairs[2 * n], "tag");

            pairs[2 * n + 1].len = tag.len;
            pairs[2 * n + 1].data = ngx_pstrdup(r->pool, &tag);
            if (pairs[2 * n + 1].data == NULL) {
                return;
            }

            n++;
        }
    }

    if (n) {
        ngx_http_rcache_write_purge(ctx, pairs, 2 * n);
    }
}


rcache_reason_e
ngx_http_rcache_purge_judge(ngx_http_rcache_ctx_t *ctx, rcache_entry_t *entry)
{
    uint64_t                   soft;
    ngx_http_rcache_follow_t  *follow;

    follow = ctx->zone->follow;

    if (follow == NULL) {
        return RCACHE_REASON_NONE;
    }

    if (ngx_http_rcache_follow_blind(follow)
        && !ngx_http_rcache_follow_caught_up(follow, ctx->caught))
    {
        return RCACHE_REASON_BLIND;
    }

    if (entry->position
        > rcache_purges_known(ngx_http_rcache_follow_table(follow)))
    {
        ngx_http_rcache_follow_ahead(follow, entry->position);
    }

    if (ngx_http_rcache_purge_match(ctx, entry, &soft)) {
        return RCACHE_REASON_PURGED;
    }

    if (soft) {
        ngx_http_rcache_purge_soften(entry, soft);
    }

    return RCACHE_REASON_NONE;
}


void
ngx_http_rcache_purge_recheck(ngx_http_rcache_ctx_t *ctx)
{
    uint64_t  soft;

    if (ctx->zone->follow == NULL
        || !(ctx->stale || ctx->kept || ctx->stale_use)
        || !ngx_http_rcache_purge_match(ctx, &ctx->entry, &soft))
    {
        return;
    }

    ctx->stale = 0;
    ctx->kept = 0;
    ctx->stale_use = 0;

    ctx->status = NGX_HTTP_RCACHE_MISS;
    ctx->reason = RCACHE_REASON_PURGED;
}


ngx_uint_t
ngx_http_rcache_purge_late(ngx_http_rcache_ctx_t *ctx, rcache_entry_t *entry)
{
    uint64_t                   soft;
    ngx_http_rcache_follow_t  *follow;

    follow = ctx->zone->follow;

    if (follow == NULL) {
        return 0;
    }

    /* see ngx_http_rcache_walk.c */

    if (ngx_http_rcache_follow_deaf(follow)
        || rcache_patterns_late(&ngx_http_rcache_follow_table(follow)->patterns,
                                entry->position))
    {
        return 1;
    }

    return ngx_http_rcache_purge_match(ctx, entry, &soft);
}


static ngx_uint_t
ngx_http_rcache_purge_match(ngx_http_rcache_ctx_t *ctx, rcache_entry_t *entry,
    uint64_t *soft)
{
    rcache_purges_t                  *table;
    rcache_purge_subject_t            subject;
    ngx_http_rcache_regex_subject_t   regex;

    subject.position = entry->position;
    subject.key = ctx->key;
    subject.tags = entry->tags;

    table = ngx_http_rcache_follow_table(ctx->zone->follow);

    /* behind the look: the table may have become another log's meanwhile */

    if (rcache_purges_match(table, &subject, soft)
        || ngx_http_rcache_follow_moved(ctx->zone->follow))
    {
        return 1;
    }

    if (!rcache_patterns_concern(&table->patterns, entry->position)) {
        return 0;
    }

    regex.key = &ctx->key;
    regex.position = entry->position;
    regex.upto = UINT64_MAX;

    return ngx_http_rcache_regexes_match(
                             ngx_http_rcache_follow_regexes(ctx->zone->follow),
                             &regex, soft);
}


/*
 * The windows of staleness begin at the purge.  If the clocks of Redis and of
 * this machine differ, or it was fetched while it was purged, it is stale all
 * the same.
 */

static void
ngx_http_rcache_purge_soften(rcache_entry_t *entry, uint64_t soft)
{
    int64_t      now, lifetime;
    ngx_time_t  *tp;

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    lifetime = ngx_min(rcache_purge_time(soft), now) - entry->created;

    entry->lifetime = ngx_min(entry->lifetime, lifetime);
}
