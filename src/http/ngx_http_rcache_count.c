
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_store.h"


/* a body that is looked through in less than a microsecond */

#define NGX_HTTP_RCACHE_COUNT_SMALL  4096


#define NGX_HTTP_RCACHE_COUNT_STATUS(id, name)  RCACHE_COUNT_REQUESTS_##id,


static void ngx_http_rcache_count_key(ngx_http_rcache_ctx_t *ctx,
    ngx_uint_t missed);
static void ngx_http_rcache_count_time(ngx_http_rcache_ctx_t *ctx,
    ngx_uint_t time);
static void ngx_http_rcache_count_upstream(ngx_http_rcache_ctx_t *ctx);
static ngx_msec_t ngx_http_rcache_count_received(ngx_http_rcache_ctx_t *ctx,
    ngx_http_request_t *r);
static void ngx_http_rcache_count_resume(ngx_http_rcache_ctx_t *ctx);
static ngx_uint_t ngx_http_rcache_count_at_once(ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_count_finished(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_count_operation(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op, rcache_result_e result);


static const ngx_uint_t  ngx_http_rcache_count_statuses[] = {
    NGX_HTTP_RCACHE_STATUSES(NGX_HTTP_RCACHE_COUNT_STATUS)
};


void
ngx_http_rcache_count_begin(ngx_http_rcache_ctx_t *ctx, ngx_uint_t label)
{
    ngx_http_rcache_zone_t  *zone;

    if (NGX_HTTP_RCACHE_NO_METRICS) {
        return;
    }

    zone = ctx->zone;

    ctx->counts = &ngx_http_rcache_stats_labels(zone->stats->zone)
                       [zone->labels[label]];
    ctx->start = ngx_http_rcache_usec();
}


/*
 * When its memory is given back, and not when it is logged: so are requests
 * that are never logged, such as subrequests, and those that were redirected
 * meanwhile and are known no longer by the request.
 */

void
ngx_http_rcache_count_request(ngx_http_rcache_ctx_t *ctx)
{
    off_t                     bytes;
    uint64_t                 *counter;
    ngx_uint_t                served;
    rcache_reason_e           missed;
    ngx_http_request_t       *r;
    ngx_http_rcache_stats_t  *stats;

    if (NGX_HTTP_RCACHE_NO_METRICS || ctx->counts == NULL) {
        return;
    }

    r = ctx->request;
    stats = ctx->zone->stats;
    counter = ctx->counts->counter;

    if (ctx->fetching) {
        ngx_http_rcache_count(ctx, ctx->audit
                                   ? RCACHE_COUNT_FETCHES_AUDIT
                                   : ctx->background
                                   ? RCACHE_COUNT_FETCHES_REFRESH
                                   : RCACHE_COUNT_FETCHES_REQUEST, 1);
        ngx_http_rcache_count_upstream(ctx);
    }

    if (ctx->resume) {
        ngx_http_rcache_count_resume(ctx);
    }

    if (ctx->background) {
        return;
    }

    if (ctx->dry) {
        ngx_http_rcache_dry_count(ctx);
    }

    ngx_http_rcache_stats_add(stats,
                      &counter[ngx_http_rcache_count_statuses[ctx->status]],
                      1);

    missed = (ctx->state == NGX_HTTP_RCACHE_REFUSE) ? ctx->reason
                                                    : ctx->missed;

    if (missed != RCACHE_REASON_NONE) {
        ngx_http_rcache_stats_add(stats,
                                  &counter[RCACHE_COUNT_NOT_HIT + missed], 1);
    }

    if (stats->hot && ctx->key.len) {
        ngx_http_rcache_count_key(ctx, missed != RCACHE_REASON_NONE);
    }

    if (ctx->near) {
        ngx_http_rcache_count(ctx, RCACHE_COUNT_NEAR_HITS_ALL, 1);
    }

    served = (ctx->fetching == 0
              && (ctx->status == NGX_HTTP_RCACHE_HIT
                  || ctx->status == NGX_HTTP_RCACHE_STALE
                  || ctx->status == NGX_HTTP_RCACHE_UPDATING));

    if (!served) {

        if (ctx->fetching) {
            ngx_http_rcache_count_time(ctx, RCACHE_TIME_MISS);
        }

        return;
    }

    ngx_http_rcache_stats_add(stats, &counter[RCACHE_COUNT_SAVED_ALL],
                              ctx->entry.fetch);

    if (r == r->main) {
        bytes = r->connection->sent - (off_t) r->header_size;

        if (bytes > 0) {
            ngx_http_rcache_stats_add(stats,
                                      &counter[RCACHE_COUNT_HIT_BYTES_ALL],
                                      bytes);
        }
    }

    if (ctx->collapsed || ctx->waits) {

        /* its time was that of another's fetch */

        ngx_http_rcache_stats_add(stats, &counter[RCACHE_COUNT_COLLAPSED_ALL],
                                  1);
        return;
    }

    ngx_http_rcache_count_time(ctx, RCACHE_TIME_HIT);
}


/* top_keys= */

static void
ngx_http_rcache_count_key(ngx_http_rcache_ctx_t *ctx, ngx_uint_t missed)
{
    uint64_t                  hash;
    ngx_http_rcache_stats_t  *stats;

    stats = ctx->zone->stats;

    hash = rcache_sum(ctx->key.data, ctx->key.len) | 1;

    rcache_sketch_count(stats->hot, hash, &ctx->key);

    if (missed) {
        rcache_sketch_count(stats->missed, hash, &ctx->key);
    }
}


/* to the first byte */

static void
ngx_http_rcache_count_time(ngx_http_rcache_ctx_t *ctx, ngx_uint_t time)
{
    if (ctx->first) {
        ngx_http_rcache_stats_time(ctx->zone->stats, &ctx->counts->time[time],
                                   ctx->first - ctx->start);
    }
}


/*
 * The time to the first byte is known in microseconds.  nginx knows when all
 * of the response was there, but in milliseconds of a clock that it looks at
 * once a turn, so that counts only if it says clearly more.
 */

static void
ngx_http_rcache_count_upstream(ngx_http_rcache_ctx_t *ctx)
{
    uint64_t  usec, msec;

    msec = ngx_http_rcache_count_received(ctx, ctx->request);

    if (ctx->first == 0) {
        return;
    }

    usec = (ctx->first > ctx->fetching) ? ctx->first - ctx->fetching : 0;

    if (msec * 1000 > usec + 2000) {
        usec = msec * 1000;
    }

    ngx_http_rcache_stats_time(ctx->zone->stats,
                               &ctx->counts->time[RCACHE_TIME_FETCH], usec);
}


/* the bytes that r got from upstreams; how long that took, milliseconds */

static ngx_msec_t
ngx_http_rcache_count_received(ngx_http_rcache_ctx_t *ctx,
    ngx_http_request_t *r)
{
    off_t                       bytes;
    ngx_msec_t                  msec;
    ngx_uint_t                  i;
    ngx_array_t                *states;
    ngx_http_upstream_state_t  *state;

    bytes = 0;
    msec = 0;

    states = r->upstream_states;

    if (states) {
        state = states->elts;

        for (i = 0; i < states->nelts; i++) {
            bytes += state[i].bytes_received;

            if (state[i].response_time != (ngx_msec_t) -1) {
                msec += state[i].response_time;
            }
        }
    }

    ngx_http_rcache_count(ctx, RCACHE_COUNT_UPSTREAM_BYTES_ALL, bytes);

    return msec;
}


/* the time is that of a part, and of a client that takes it */

static void
ngx_http_rcache_count_resume(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ngx_http_rcache_resume_request(ctx);

    if (r) {
        ngx_http_rcache_count(ctx, RCACHE_COUNT_FETCHES_RESUME, 1);

        (void) ngx_http_rcache_count_received(ctx, r);
    }
}


void
ngx_http_rcache_count_fetch(ngx_http_rcache_ctx_t *ctx)
{
    if (NGX_HTTP_RCACHE_NO_METRICS) {
        return;
    }

    ctx->missed = ctx->reason;
    ctx->fetching = ngx_http_rcache_usec();
}


void
ngx_http_rcache_count_first(ngx_http_rcache_ctx_t *ctx)
{
    if (NGX_HTTP_RCACHE_NO_METRICS || ctx->first) {
        return;
    }

    ctx->first = !ngx_http_rcache_count_at_once(ctx) ? ngx_http_rcache_usec()
                 : ctx->near ? ctx->start : ctx->op->began + ctx->op->took;
}


/*
 * Looking at the clock is a good part of what counting costs.  A hit is served
 * in the turn in which Redis has answered, or it was there from the start; if
 * it is small, and neither signed nor compressed, what is done in between is
 * far below what a histogram tells apart.
 */

static ngx_uint_t
ngx_http_rcache_count_at_once(ngx_http_rcache_ctx_t *ctx)
{
    return ctx->status == NGX_HTTP_RCACHE_HIT
           && (ctx->near || (ctx->op && ctx->op->took))
           && !ctx->waits
           && !ctx->collapsed
           && ctx->entry.body_len <= NGX_HTTP_RCACHE_COUNT_SMALL
           && !(ctx->entry.flags & (RCACHE_ENTRY_SIGNED|RCACHE_ENTRY_STORED));
}


void
ngx_http_rcache_count_waited(ngx_http_rcache_ctx_t *ctx, ngx_uint_t late)
{
    if (NGX_HTTP_RCACHE_NO_METRICS || !ctx->waits) {
        return;
    }

    ngx_http_rcache_count_zone(ctx->zone,
                               late ? RCACHE_COUNT_WAITS_TIMEOUT
                                    : RCACHE_COUNT_WAITS_ANSWERED, 1);

    ngx_http_rcache_stats_time(ctx->zone->stats,
                            &ctx->zone->stats->zone->time[RCACHE_TIME_WAIT],
                            (uint64_t) (ngx_current_msec - ctx->since) * 1000);
}


void
ngx_http_rcache_count_refused(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason)
{
    if (reason == RCACHE_REASON_NONE || ctx->refused) {
        return;
    }

    ctx->refused = 1;

    ngx_http_rcache_count(ctx, RCACHE_COUNT_NOT_STORED + reason, 1);
}


void
ngx_http_rcache_count_submit(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op)
{
    if (NGX_HTTP_RCACHE_NO_METRICS) {
        return;
    }

    op->watch = ngx_http_rcache_count_finished;
    op->watched = zone;

    if (op->began == 0) {
        op->began = ngx_http_rcache_usec();
    }
}


void
ngx_http_rcache_count_submitted(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op, rcache_reason_e reason)
{
    if (NGX_HTTP_RCACHE_NO_METRICS) {
        return;
    }

    if (reason == RCACHE_REASON_NONE) {
        ngx_http_rcache_stats_gauge(zone->stats, RCACHE_GAUGE_QUEUE, 1);
        ngx_http_rcache_stats_gauge(zone->stats, RCACHE_GAUGE_MEMORY,
                                    op->size);
        return;
    }

    ngx_http_rcache_count_operation(zone, op,
                                    (reason == RCACHE_REASON_REDIS_BUSY)
                                    ? RCACHE_RESULT_BUSY
                                    : RCACHE_RESULT_DOWN);
}


static void
ngx_http_rcache_count_finished(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_zone_t *zone = op->watched;

    ngx_http_rcache_stats_t  *stats;

    stats = zone->stats;

    ngx_http_rcache_stats_gauge(stats, RCACHE_GAUGE_QUEUE, -1);
    ngx_http_rcache_stats_gauge(stats, RCACHE_GAUGE_MEMORY, -op->size);

    if (reply == NULL) {
        ngx_http_rcache_count_operation(zone, op,
                                    (op->status == NGX_HTTP_RCACHE_OP_TIMEOUT)
                                    ? RCACHE_RESULT_TIMEOUT
                                    : RCACHE_RESULT_DOWN);
        return;
    }

    op->took = ngx_http_rcache_usec() - op->began;

    ngx_http_rcache_stats_time(stats,
                        &stats->zone->time[RCACHE_TIME_REDIS + op->command],
                        op->took);

    ngx_http_rcache_count_operation(zone, op,
                                    (reply->type == REDIS_REPLY_ERROR)
                                    ? RCACHE_RESULT_ERROR : RCACHE_RESULT_OK);
}


static void
ngx_http_rcache_count_operation(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op, rcache_result_e result)
{
    ngx_http_rcache_count_zone(zone, RCACHE_COUNT_OPERATIONS
                                     + op->command * RCACHE_RESULT_N + result,
                               1);
}


void
ngx_http_rcache_count_kinds(ngx_str_t *pairs, ngx_uint_t n,
    ngx_uint_t kinds[RCACHE_PURGE_KINDS])
{
    ngx_uint_t        i, k;
    rcache_counter_t  c;

    ngx_memzero(kinds, RCACHE_PURGE_KINDS * sizeof(ngx_uint_t));

    for (i = 0; i + 1 < n; i += 2) {

        if (rcache_str_is(&pairs[i], "tag")
            && pairs[i + 1].len > sizeof("user=") - 1
            && ngx_strncmp(pairs[i + 1].data, "user=", sizeof("user=") - 1)
               == 0)
        {
            kinds[RCACHE_COUNT_PURGES_USER - RCACHE_COUNT_PURGES_KEY]++;
            continue;
        }

        for (k = 0; k < RCACHE_PURGE_KINDS; k++) {
            rcache_zone_counter(&c, RCACHE_COUNT_PURGES_KEY + (unsigned) k);

            if (rcache_str_same(&pairs[i], &c.value)) {
                kinds[k]++;
                break;
            }
        }
    }
}


void
ngx_http_rcache_count_purged(ngx_http_rcache_zone_t *zone,
    ngx_uint_t kinds[RCACHE_PURGE_KINDS])
{
    ngx_uint_t  k;

    for (k = 0; k < RCACHE_PURGE_KINDS; k++) {
        ngx_http_rcache_count_zone(zone, RCACHE_COUNT_PURGES_KEY + k,
                                   kinds[k]);
    }
}


void
ngx_http_rcache_count_connected(void *data, ngx_int_t n)
{
    ngx_http_rcache_zone_t *zone = data;

    ngx_http_rcache_stats_gauge(zone->stats, RCACHE_GAUGE_CONNECTIONS, n);
}


void
ngx_http_rcache_count_stored(ngx_http_rcache_write_t *write, ngx_int_t rc,
    rcache_reason_e refused)
{
    ngx_uint_t  id;

    if (NGX_HTTP_RCACHE_NO_METRICS || write->counts == NULL) {
        return;
    }

    if (rc == NGX_OK) {
        id = write->renewal ? RCACHE_COUNT_STORES_RENEWED
                            : RCACHE_COUNT_STORES_STORED;

    } else {
        id = (rc == NGX_DECLINED)
             ? (ngx_uint_t) RCACHE_COUNT_NOT_STORED + refused
             : (ngx_uint_t) RCACHE_COUNT_STORES_FAILED;

        write->expected = 0;
    }

    ngx_http_rcache_evict_expect(write->zone->health->evict, write->hash,
                                 write->expected, ngx_http_rcache_usec());

    ngx_http_rcache_stats_add(write->zone->stats, &write->counts->counter[id],
                              1);
}


void
ngx_http_rcache_count_expect(ngx_http_rcache_write_t *write,
    ngx_http_rcache_ctx_t *ctx, ngx_str_t *key, int64_t ttl)
{
    if (NGX_HTTP_RCACHE_NO_METRICS || ctx->dry) {
        return;
    }

    if (ctx->zone->inactive) {
        ttl = ngx_min(ttl, (int64_t) ctx->zone->inactive);
    }

    write->counts = ctx->counts;
    write->hash = ngx_http_rcache_hash(ctx, key);
    write->expected = ttl;
}


void
ngx_http_rcache_count_void(ngx_http_rcache_zone_t *zone, ngx_str_t *key)
{
    if (!NGX_HTTP_RCACHE_NO_METRICS) {
        ngx_http_rcache_evict_expect(zone->health->evict,
                                     rcache_sum(key->data, key->len), 0, 0);
    }
}


void
ngx_http_rcache_count_gone(ngx_http_rcache_ctx_t *ctx)
{
    ngx_str_t  *key;

    if (NGX_HTTP_RCACHE_NO_METRICS) {
        return;
    }

    key = ctx->marker ? &ctx->variant_key : &ctx->redis_key;

    if (ngx_http_rcache_evicted(ctx->zone->health->evict,
                                ngx_http_rcache_hash(ctx, key), ctx->asked))
    {
        ngx_http_rcache_count(ctx, RCACHE_COUNT_EVICTED_ALL, 1);
    }
}
