
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_collapse.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_response.h"
#include "ngx_http_rcache_store.h"
#include "ngx_http_rcache_zone.h"


/* a payload of so many bytes goes ahead, see ngx_http_rcache_stage_command() */

#define NGX_HTTP_RCACHE_STAGED      4096

/* room for a script and its keys, and for what is written */

#define NGX_HTTP_RCACHE_STAGE_POOL  2048


typedef struct {
    ngx_http_rcache_write_t    write;
    ngx_uint_t                 n;
    ngx_str_t                  tags[1];
} ngx_http_rcache_write_purge_t;


static ngx_http_rcache_write_t *ngx_http_rcache_write_create(
    ngx_http_rcache_zone_t *zone, ngx_http_rcache_op_t *op);
static void ngx_http_rcache_write_near(ngx_http_rcache_write_t *write,
    ngx_str_t *key);
static ngx_int_t ngx_http_rcache_write_base(ngx_http_rcache_write_t *write,
    ngx_http_rcache_op_t *op, ngx_str_t *base);
static void ngx_http_rcache_write_purged(void *data, rcache_purge_id_t *id);
static void ngx_http_rcache_write_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_write_body(ngx_http_rcache_write_t *write,
    ngx_int_t rc, ngx_http_rcache_reply_t *reply);
static ngx_int_t ngx_http_rcache_write_command(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, rcache_entry_t *entry,
    ngx_http_rcache_store_t *store, ngx_http_rcache_op_t *stage);
static ngx_int_t ngx_http_rcache_write_plain(ngx_http_rcache_op_t *op,
    ngx_http_rcache_store_t *store);
static ngx_int_t ngx_http_rcache_write_stage(ngx_http_rcache_op_t *op,
    ngx_http_rcache_store_t *store, ngx_http_rcache_op_t *stage);
static rcache_reason_e ngx_http_rcache_write_offer(
    ngx_http_rcache_write_t *write, ngx_http_rcache_op_t *op);
static void ngx_http_rcache_write_staged(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_write_failed(ngx_http_rcache_write_t *write,
    ngx_http_rcache_op_t *op, ngx_http_rcache_flight_t *flight);
static ngx_int_t ngx_http_rcache_write_marker(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, rcache_entry_t *entry,
    ngx_http_rcache_store_t *store);


rcache_reason_e
ngx_http_rcache_write(ngx_http_rcache_zone_t *zone, ngx_http_rcache_op_t *op,
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_lost_t *lost, ngx_str_t *key)
{
    rcache_reason_e           reason;
    ngx_http_rcache_write_t  *write;

    write = ngx_http_rcache_write_create(zone, op);

    if (write == NULL
        || ngx_http_rcache_write_base(write, op, key) != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        reason = RCACHE_REASON_NO_MEMORY;

    } else {
        write->lost = lost;

        ngx_http_rcache_write_near(write, key);

        reason = ngx_http_rcache_zone_submit(zone, op);
    }

    if (reason != RCACHE_REASON_NONE) {

        if (lost == NULL) {
            ngx_http_rcache_lost_key(zone, key);
        }

        return reason;
    }

    if (ctx) {
        ngx_http_rcache_hold_add(write, ctx);
    }

    return RCACHE_REASON_NONE;
}


/*
 * No copy of the key is used from now on; and none that is read until Redis has
 * answered, for nobody knows which of both came first.
 */

static void
ngx_http_rcache_write_near(ngx_http_rcache_write_t *write, ngx_str_t *key)
{
    ngx_http_rcache_near_t  *near;

    near = write->zone->near;

    if (near && key->len) {
        write->near[write->nnear] = rcache_sum(key->data, key->len);

        ngx_http_rcache_near_void(near, write->near[write->nnear++]);
    }
}


static ngx_http_rcache_write_t *
ngx_http_rcache_write_create(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op)
{
    ngx_http_rcache_write_t  *write;

    write = ngx_pcalloc(op->pool, sizeof(ngx_http_rcache_write_t));
    if (write == NULL) {
        return NULL;
    }

    write->zone = zone;

    op->lane = NGX_HTTP_RCACHE_LANE_STORE;
    op->command = RCACHE_COMMAND_INVALIDATE;
    op->handler = ngx_http_rcache_write_done;
    op->data = write;
    op->max_reply = RCACHE_ENTRY_BEGIN;

    return write;
}


/* the keys of the segments of what is replaced begin with it */

static ngx_int_t
ngx_http_rcache_write_base(ngx_http_rcache_write_t *write,
    ngx_http_rcache_op_t *op, ngx_str_t *base)
{
    write->base.len = base->len;
    write->base.data = ngx_pstrdup(op->pool, base);

    return write->base.data ? NGX_OK : NGX_ERROR;
}


/* the request may be gone when it turns out that they are lost */

void
ngx_http_rcache_write_purge(ngx_http_rcache_ctx_t *ctx, ngx_str_t *pairs,
    ngx_uint_t n)
{
    u_char                         *p;
    size_t                          len;
    ngx_uint_t                      i;
    ngx_http_rcache_write_purge_t  *purge;

    len = sizeof(ngx_http_rcache_write_purge_t) + n / 2 * sizeof(ngx_str_t);

    for (i = 1; i < n; i += 2) {
        len += pairs[i].len;
    }

    purge = ngx_alloc(len, ngx_cycle->log);

    if (purge == NULL) {

        for (i = 1; i < n; i += 2) {
            ngx_http_rcache_lost_tag(ctx->zone, &pairs[i]);
        }

        return;
    }

    ngx_memzero(&purge->write, sizeof(ngx_http_rcache_write_t));

    purge->write.zone = ctx->zone;
    purge->n = n / 2;

    p = (u_char *) &purge->tags[purge->n];

    for (i = 0; i < purge->n; i++) {
        purge->tags[i].len = pairs[2 * i + 1].len;
        purge->tags[i].data = p;
        p = ngx_cpymem(p, pairs[2 * i + 1].data, pairs[2 * i + 1].len);
    }

    if (ngx_http_rcache_purge_start(ctx->zone, pairs, n, NULL, 0,
                                    ngx_http_rcache_write_purged, purge, NULL)
        != NGX_OK)
    {
        ngx_http_rcache_write_purged(purge, NULL);
        return;
    }

    ngx_http_rcache_hold_add(&purge->write, ctx);
}


static void
ngx_http_rcache_write_purged(void *data, rcache_purge_id_t *id)
{
    ngx_http_rcache_write_purge_t *purge = data;

    ngx_uint_t  i;

    if (id == NULL) {

        for (i = 0; i < purge->n; i++) {
            ngx_http_rcache_lost_tag(purge->write.zone, &purge->tags[i]);
        }
    }

    ngx_http_rcache_hold_done(&purge->write);

    ngx_free(purge);
}


/* the request may be gone long since */

static void
ngx_http_rcache_write_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_write_t *write = op->data;

    ngx_int_t                  rc;
    ngx_uint_t                 i;
    rcache_reason_e            refused;
    ngx_http_rcache_op_t      *stage;
    ngx_http_rcache_ctx_t     *ctx;
    ngx_http_rcache_flight_t  *flight;

    ctx = write->ctx;
    flight = write->flight;
    stage = write->stage;

    if (stage && !write->answered) {

        /* a cluster has sent it elsewhere; it is not to be waited for */

        ngx_http_rcache_op_detach(stage);
        write->payload = NULL;
    }

    for (i = 0; i < write->nnear; i++) {
        ngx_http_rcache_near_void(write->zone->near, write->near[i]);
    }

    rc = NGX_ERROR;

    if (reply
        && (stage == NULL || write->staged)
        && ngx_http_rcache_zone_accepts(write->zone,
                                        NGX_HTTP_RCACHE_LANE_STORE, reply))
    {
        rc = NGX_OK;

        if (reply->type == REDIS_REPLY_INTEGER && reply->integer <= 0) {

            /* what went ahead was lost, and nothing is wrong with it */

            rc = (stage && reply->integer) ? NGX_ERROR : NGX_DECLINED;
        }
    }

    refused = (rc == NGX_DECLINED && reply->integer) ? RCACHE_REASON_SEGMENT
                                                     : RCACHE_REASON_LOCK_LOST;

    ngx_http_rcache_count_stored(write, rc, refused);

    ngx_http_rcache_write_body(write, rc, reply);

    if (write->lost) {
        ngx_http_rcache_lost_done(write->lost, rc == NGX_OK);

    } else if (op->must && rc != NGX_OK) {
        ngx_http_rcache_lost_key(write->zone, &write->base);
    }

    if (stage) {

        /* the flight may take it */

        stage->keep = 0;
    }

    if (flight) {
        ngx_http_rcache_flight_stored(flight, rc, stage ? stage : op,
                                      write->payload, write->size);
    }

    if (stage && write->answered && !stage->keep) {
        ngx_http_rcache_op_free(stage);
    }

    if (ctx) {

        if (rc == NGX_DECLINED && ctx->stored) {
            ctx->stored = 0;
            ctx->reason = refused;
        }

        ngx_http_rcache_hold_done(write);
    }
}


/* what becomes of the segments, the new ones and the old */

static void
ngx_http_rcache_write_body(ngx_http_rcache_write_t *write, ngx_int_t rc,
    ngx_http_rcache_reply_t *reply)
{
    if (reply && reply->type == REDIS_REPLY_STRING) {
        ngx_http_rcache_segments_retire(write->zone, &write->base,
                                        &reply->str);
    }

    if (write->upload == NULL) {
        return;
    }

    if (reply && rc != NGX_OK) {
        ngx_http_rcache_upload_drop(write->upload);

    } else {

        /* or nobody knows: then they have the time that they need, or go */

        ngx_http_rcache_upload_close(write->upload);
    }
}


rcache_reason_e
ngx_http_rcache_write_entry(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, rcache_entry_t *entry, ngx_chain_t *payload,
    size_t size, size_t offset, int64_t ttl, ngx_http_rcache_upload_t *upload)
{
    rcache_reason_e            reason;
    ngx_http_rcache_op_t      *stage;
    ngx_http_rcache_write_t   *write;
    ngx_http_rcache_store_t    store;
    ngx_http_rcache_flight_t  *flight;

    ngx_http_rcache_futile_clear(ctx);

    stage = NULL;

    if (size >= NGX_HTTP_RCACHE_STAGED
        && offset == 0
        && ctx->token.len == NGX_HTTP_RCACHE_TOKEN
        && !(entry->flags & RCACHE_ENTRY_SEGMENTED))
    {
        stage = op;

        op = ngx_http_rcache_op_create(NGX_HTTP_RCACHE_STAGE_POOL,
                                       ngx_cycle->log);
        if (op == NULL) {
            op = stage;
            stage = NULL;
        }
    }

    ngx_memzero(&store, sizeof(ngx_http_rcache_store_t));

    store.payload = payload;
    store.size = size;
    store.offset = offset;
    store.ttl = ttl;

    if (entry->flags & RCACHE_ENTRY_SEGMENTED) {
        store.segments = &entry->segments;
        store.base = ctx->redis_key;
    }

    write = ngx_http_rcache_write_create(ctx->zone, op);

    if (write == NULL
        || ngx_http_rcache_write_base(write, op, &ctx->redis_key) != NGX_OK
        || ngx_http_rcache_write_command(ctx, op, entry, &store, stage)
           != NGX_OK)
    {
        if (upload) {
            ngx_http_rcache_upload_drop(upload);
        }

        if (stage) {
            ngx_http_rcache_op_free(stage);
        }

        ngx_http_rcache_op_free(op);
        return RCACHE_REASON_NO_MEMORY;
    }

    op->command = RCACHE_COMMAND_STORE;

    ngx_http_rcache_write_near(write, &store.key);
    ngx_http_rcache_write_near(write, &store.marker_key);

    if (upload) {

        /* behind its segments */

        op->lane = NGX_HTTP_RCACHE_LANE_BULK;
    }

    /* of a body that stays in Redis there is none to be given away */

    write->payload = offset ? NULL : payload;
    write->size = size;
    write->stage = stage;
    write->upload = upload;
    write->renewal = (offset != 0);

    reason = ngx_http_rcache_write_offer(write, op);

    flight = ngx_http_rcache_flight_store(ctx);

    if (flight) {
        ngx_http_rcache_flight_storing(flight, write);
    }

    if (reason != RCACHE_REASON_NONE) {
        ngx_http_rcache_write_failed(write, op, flight);
        return reason;
    }

    ngx_http_rcache_count_expect(write, ctx, &store.key, ttl);

    if (!ngx_http_rcache_write_guarded(ctx, entry->generation)) {
        ngx_http_rcache_hold_add(write, ctx);
    }

    return RCACHE_REASON_NONE;
}


ngx_uint_t
ngx_http_rcache_write_guarded(ngx_http_rcache_ctx_t *ctx, uint32_t generation)
{
    return ctx->token.len == NGX_HTTP_RCACHE_TOKEN
           && ctx->seen.len == 0
           && (ctx->marker == NULL
               || ctx->marker->generation == generation);
}


static ngx_int_t
ngx_http_rcache_write_command(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, rcache_entry_t *entry,
    ngx_http_rcache_store_t *store, ngx_http_rcache_op_t *stage)
{
    u_char                      *p;
    ngx_uint_t                   any, known;
    ngx_msec_t                   age;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_redis_proxy_cache_module);

    store->key = entry->vary.len ? ctx->variant_key : ctx->redis_key;
    store->token = ctx->token;

    any = (store->token.len == 1 && store->token.data[0] == '*');

    if (entry->vary.len == 0
        && store->offset == 0
        && store->segments == NULL
        && any
        && !ctx->post
        && !rlcf->lock)
    {
        return ngx_http_rcache_write_plain(op, store);
    }

    if (ctx->lock_key.len == 0 && ngx_http_rcache_lock_key(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    store->lock = ctx->lock_key;

    age = ngx_current_msec - ctx->began;

    if (any) {
        p = ngx_pnalloc(op->pool, 1 + NGX_HTTP_RCACHE_TOKEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        store->token.data = p;
        *p++ = '*';

        if (ctx->post) {

            /* it is newer than what it has made void itself */

            p = ngx_cpymem(p, ctx->token_data, NGX_HTTP_RCACHE_TOKEN);

        } else {
            p = ngx_sprintf(p, "%i",
                            NGX_HTTP_RCACHE_VOID - (ngx_msec_int_t) age);
        }

        store->token.len = p - store->token.data;
    }

    /* was it this key that was looked up last? */

    known = (ctx->marker == NULL);

    if (entry->vary.len) {
        known = (ctx->marker
                 && ctx->marker->generation == entry->generation);

        store->marker_key = ctx->redis_key;

        if (known || !any) {
            store->seen_generation = ctx->seen_generation;
        }

        if (ngx_http_rcache_write_marker(ctx, op, entry, store) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (ctx->marker) {

        /* the lock is a variant's, which an invalidation does not know of */

        store->marker_key = ctx->redis_key;
        store->seen_generation = ctx->seen_generation;
    }

    if (known) {
        store->seen = ctx->seen;
    }

    if (store->seen.len == 0 && age >= NGX_HTTP_RCACHE_VOID) {

        /* no mark tells any more that it was invalidated: only with the lock */

        ngx_str_set(&store->seen, "-");
    }

    if (stage
        && ngx_http_rcache_write_stage(op, store, stage) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_rcache_store_command(op, store);
}


/* the payload goes ahead, under a name that is this fetch's alone */

static ngx_int_t
ngx_http_rcache_write_stage(ngx_http_rcache_op_t *op,
    ngx_http_rcache_store_t *store, ngx_http_rcache_op_t *stage)
{
    u_char  *p;

    store->stage.len = store->lock.len + 1 + store->token.len;

    p = ngx_pnalloc(op->pool, store->stage.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    store->stage.data = p;

    p = ngx_cpymem(p, store->lock.data, store->lock.len);
    *p++ = ':';
    ngx_memcpy(p, store->token.data, store->token.len);

    stage->lane = NGX_HTTP_RCACHE_LANE_STORE;
    stage->command = RCACHE_COMMAND_STORE;
    stage->handler = ngx_http_rcache_write_staged;
    stage->data = op->data;
    stage->max_reply = 0;

    return ngx_http_rcache_stage_command(stage, store);
}


static rcache_reason_e
ngx_http_rcache_write_offer(ngx_http_rcache_write_t *write,
    ngx_http_rcache_op_t *op)
{
    rcache_reason_e  reason;

    if (write->stage) {
        reason = ngx_http_rcache_zone_offer(write->zone, write->stage);

        if (reason != RCACHE_REASON_NONE) {
            return reason;
        }
    }

    reason = ngx_http_rcache_zone_offer(write->zone, op);

    if (reason != RCACHE_REASON_NONE && write->stage) {

        /* it is on its way, and so is the payload */

        ngx_http_rcache_op_detach(write->stage);

        write->stage = NULL;
        write->payload = NULL;
    }

    return reason;
}


/* those who wait for the response may be given it: it stays until it is */

static void
ngx_http_rcache_write_staged(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_write_t *write = op->data;

    op->keep = 1;

    write->answered = 1;
    write->staged = (reply
                     && ngx_http_rcache_zone_accepts(write->zone,
                                                NGX_HTTP_RCACHE_LANE_STORE,
                                                reply));
}


static void
ngx_http_rcache_write_failed(ngx_http_rcache_write_t *write,
    ngx_http_rcache_op_t *op, ngx_http_rcache_flight_t *flight)
{
    ngx_http_rcache_op_t  *stage;

    stage = write->stage;

    if (write->upload) {
        ngx_http_rcache_upload_drop(write->upload);
        write->payload = NULL;
    }

    if (flight) {
        ngx_http_rcache_flight_stored(flight, NGX_ERROR, stage ? stage : op,
                                      write->payload, write->size);
    }

    if (stage && !stage->keep) {
        ngx_http_rcache_op_free(stage);
    }

    if (!op->keep) {
        ngx_http_rcache_op_free(op);
    }
}


/* nothing depends on what is there, and nobody waits */

static ngx_int_t
ngx_http_rcache_write_plain(ngx_http_rcache_op_t *op,
    ngx_http_rcache_store_t *store)
{
    u_char     buf[NGX_INT64_LEN];
    ngx_str_t  argv[5];

    ngx_str_set(&argv[0], "SET");
    argv[1] = store->key;
    argv[2].data = NULL;
    argv[2].len = store->size;
    ngx_str_set(&argv[3], "PX");
    argv[4].data = buf;
    argv[4].len = ngx_sprintf(buf, "%L", store->ttl) - buf;

    return ngx_http_rcache_op_command(op, argv, 5, store->payload);
}


/* the marker of a key whose responses vary */

static ngx_int_t
ngx_http_rcache_write_marker(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, rcache_entry_t *entry,
    ngx_http_rcache_store_t *store)
{
    u_char          *p;
    int64_t          now, left;
    ngx_time_t      *tp;
    rcache_entry_t   marker;

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    ngx_memzero(&marker, sizeof(rcache_entry_t));

    marker.flags = RCACHE_ENTRY_VARY;
    marker.generation = entry->generation;
    marker.created = now;
    marker.body_sum = rcache_sum((u_char *) "", 0);
    marker.key = ctx->key;
    marker.vary = entry->vary;

    if (ctx->zone->secrets) {
        (void) rcache_digest(marker.digest, (u_char *) "", 0);
        ngx_http_rcache_sign(ctx->zone, &marker);
    }

    store->marker_ttl = store->ttl;

    if (ctx->marker && ctx->marker->generation == entry->generation) {
        marker.age = ctx->marker->age;
        marker.dated = ctx->marker->dated;

        left = ctx->marker->created + ctx->marker->lifetime - now;
        store->marker_ttl = ngx_max(store->ttl, left);
    }

    ngx_http_rcache_variant_seen(ctx, &marker);

    marker.lifetime = store->marker_ttl;

    p = ngx_pnalloc(op->pool, rcache_entry_size(&marker));
    if (p == NULL) {
        return NGX_ERROR;
    }

    store->marker.data = p;
    store->marker.len = rcache_entry_encode(p, &marker) - p;

    return NGX_OK;
}
