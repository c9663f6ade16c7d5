
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * To purge is to append a record to the log.  Behind it, on the same lane, the
 * entries of single keys are deleted, so that their memory is free at once and
 * whoever waits for a fetch of them is told; and the log is read up to the new
 * record, so that this instance, all of its workers, knows of the purge when
 * it is said to be done.
 */


#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_store.h"
#include "ngx_http_rcache_zone.h"


/* records that the log keeps, about */

#define NGX_HTTP_RCACHE_PURGE_LOG   "100000"

#define NGX_HTTP_RCACHE_PURGE_KEEP  "31622400000"


struct ngx_http_rcache_purge_s {
    ngx_http_rcache_purge_pt   handler;        /* NULL: nobody waits */
    void                      *data;
    rcache_purge_id_t          id;             /* of the record */
    ngx_http_rcache_zone_t    *zone;
    ngx_uint_t                 kinds[RCACHE_PURGE_KINDS];
    ngx_uint_t                 nops;
    ngx_uint_t                 failed;         /* unsigned  failed:1; */
};


static ngx_int_t ngx_http_rcache_purge_record(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_purge_t *purge, ngx_str_t *pairs, ngx_uint_t n);
static ngx_int_t ngx_http_rcache_purge_key(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_purge_t *purge, ngx_str_t *key);
static ngx_int_t ngx_http_rcache_purge_read(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_purge_t *purge);
static ngx_int_t ngx_http_rcache_purge_op(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_purge_t *purge, ngx_http_rcache_op_t *op,
    ngx_http_rcache_op_pt handler);
static void ngx_http_rcache_purge_record_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_purge_op_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_purge_done(ngx_http_rcache_purge_t *purge);


ngx_int_t
ngx_http_rcache_purge_start(ngx_http_rcache_zone_t *zone, ngx_str_t *pairs,
    ngx_uint_t n, ngx_str_t *keys, ngx_uint_t nkeys,
    ngx_http_rcache_purge_pt handler, void *data,
    ngx_http_rcache_purge_t **result)
{
    ngx_int_t                 rc;
    ngx_uint_t                i;
    ngx_http_rcache_purge_t  *purge;

    purge = ngx_calloc(sizeof(ngx_http_rcache_purge_t), ngx_cycle->log);
    if (purge == NULL) {
        return NGX_ERROR;
    }

    purge->handler = handler;
    purge->data = data;
    purge->zone = zone;

    ngx_http_rcache_count_kinds(pairs, n, purge->kinds);

    rc = ngx_http_rcache_purge_record(zone, purge, pairs, n);

    if (rc != NGX_OK) {
        ngx_free(purge);
        return rc;
    }

    /*
     * The record is what counts, and there is to be room behind these for what
     * tells that it is known.  No handler is called from inside.
     */

    nkeys = ngx_min(nkeys, zone->conf.queue / 4);

    for (i = 0; i < nkeys; i++) {
        (void) ngx_http_rcache_purge_key(zone, purge, &keys[i]);
    }

    if (ngx_http_rcache_purge_read(zone, purge) != NGX_OK) {
        purge->failed = 1;
    }

    if (result) {
        *result = purge;
    }

    return NGX_OK;
}


void
ngx_http_rcache_purge_detach(ngx_http_rcache_purge_t *purge)
{
    purge->handler = NULL;
}


static ngx_int_t
ngx_http_rcache_purge_record(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_purge_t *purge, ngx_str_t *pairs, ngx_uint_t n)
{
    size_t                 len;
    ngx_str_t             *argv;
    ngx_uint_t             i;
    ngx_http_rcache_op_t  *op;

    len = 1024 + (n + 6) * (sizeof(ngx_str_t) + NGX_SIZE_T_LEN);

    for (i = 0; i < n; i++) {
        len += pairs[i].len;
    }

    op = ngx_http_rcache_op_create(len, ngx_cycle->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    argv = ngx_palloc(op->pool, (n + 6) * sizeof(ngx_str_t));
    if (argv == NULL) {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "XADD");
    argv[1] = *ngx_http_rcache_follow_key(zone->follow);
    ngx_str_set(&argv[2], "MAXLEN");
    ngx_str_set(&argv[3], "~");
    ngx_str_set(&argv[4], NGX_HTTP_RCACHE_PURGE_LOG);
    ngx_str_set(&argv[5], "*");

    ngx_memcpy(&argv[6], pairs, n * sizeof(ngx_str_t));

    if (ngx_http_rcache_op_command(op, argv, n + 6, NULL) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    return ngx_http_rcache_purge_op(zone, purge, op,
                                    ngx_http_rcache_purge_record_handler);
}


static ngx_int_t
ngx_http_rcache_purge_key(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_purge_t *purge, ngx_str_t *key)
{
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_unlink_op(zone, key, NULL, 0);
    if (op == NULL) {
        return NGX_ERROR;
    }

    ngx_http_rcache_near_key_void(zone, key);

    return ngx_http_rcache_purge_op(zone, purge, op,
                                    ngx_http_rcache_purge_op_handler);
}


/* behind all that it is to know of, so its answer is the last one */

static ngx_int_t
ngx_http_rcache_purge_read(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_purge_t *purge)
{
    ngx_str_t              argv[3];
    ngx_http_rcache_op_t  *op;

    if (ngx_http_rcache_follow_catch_up(zone->follow,
                                        NGX_HTTP_RCACHE_LANE_STORE)
        == 0
        && !ngx_http_rcache_follow_moved(zone->follow))
    {
        return NGX_ERROR;
    }

    op = ngx_http_rcache_op_create(1024, ngx_cycle->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "PEXPIRE");
    argv[1] = *ngx_http_rcache_follow_key(zone->follow);
    ngx_str_set(&argv[2], NGX_HTTP_RCACHE_PURGE_KEEP);

    if (ngx_http_rcache_op_command(op, argv, 3, NULL) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    return ngx_http_rcache_purge_op(zone, purge, op,
                                    ngx_http_rcache_purge_op_handler);
}


static ngx_int_t
ngx_http_rcache_purge_op(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_purge_t *purge, ngx_http_rcache_op_t *op,
    ngx_http_rcache_op_pt handler)
{
    op->lane = NGX_HTTP_RCACHE_LANE_STORE;
    op->handler = handler;
    op->data = purge;
    op->max_reply = 1024;
    op->must = 1;

    if (ngx_http_rcache_zone_submit(zone, op) != RCACHE_REASON_NONE) {
        return NGX_DECLINED;
    }

    purge->nops++;

    return NGX_OK;
}


/* a status would be that of a transaction, an error is one */

static void
ngx_http_rcache_purge_record_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_purge_t *purge = op->data;

    if (reply == NULL
        || reply->type != REDIS_REPLY_STRING
        || rcache_purge_id(&purge->id, &reply->str) != RCACHE_OK)
    {
        purge->failed = 1;

        if (reply && reply->type == REDIS_REPLY_ERROR) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "redis refuses a purge: %V", &reply->str);
        }

    } else {
        ngx_http_rcache_count_purged(purge->zone, purge->kinds);
    }

    ngx_http_rcache_purge_done(purge);
}


static void
ngx_http_rcache_purge_op_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_purge_t *purge = op->data;

    if (reply == NULL) {
        purge->failed = 1;
    }

    ngx_http_rcache_purge_done(purge);
}


static void
ngx_http_rcache_purge_done(ngx_http_rcache_purge_t *purge)
{
    if (--purge->nops) {
        return;
    }

    if (purge->handler) {
        purge->handler(purge->data, purge->failed ? NULL : &purge->id);
    }

    ngx_free(purge);
}
