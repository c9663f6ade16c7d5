
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What the zone takes of Redis, by a sample once in a while: SCAN goes on by
 * some keys, and some of the zone's are weighed.  One worker of the instance
 * does it: the one that comes first when it is time.  Of a cluster it is
 * another master each time, and all are taken to have as many keys as this.
 */


#include "ngx_http_rcache_zone.h"


/* keys that are looked at, about, and weighed; replies in bytes */

#define NGX_HTTP_RCACHE_SAMPLE_KEYS   "100"
#define NGX_HTTP_RCACHE_SAMPLE_WEIGH  10
#define NGX_HTTP_RCACHE_SAMPLE_REPLY  (1024 * 1024)


typedef struct {
    ngx_http_rcache_zone_t   *zone;
    ngx_slab_pool_t          *pool;
    ngx_event_t               timer;
    ngx_uint_t                master;
    ngx_uint_t                masters;
    uint64_t                  keys;       /* of that master */
    ngx_uint_t                refused;    /* unsigned  refused:1; */
} ngx_http_rcache_sampler_t;


static void ngx_http_rcache_sample_handler(ngx_event_t *ev);
static ngx_uint_t ngx_http_rcache_sample_turn(
    ngx_http_rcache_sampler_t *sampler);
static void ngx_http_rcache_sample_send(ngx_http_rcache_sampler_t *sampler,
    ngx_str_t *argv, ngx_uint_t argc, ngx_uint_t master,
    ngx_http_rcache_op_pt handler);
static void ngx_http_rcache_sample_size(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_sample_scanned(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static ngx_uint_t ngx_http_rcache_sample_is(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_reply_t *key);
static void ngx_http_rcache_sample_weighed(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_sample_refused(ngx_http_rcache_sampler_t *sampler,
    ngx_http_rcache_reply_t *reply);


ngx_int_t
ngx_http_rcache_sample_init(ngx_cycle_t *cycle, ngx_http_rcache_zone_t *zone)
{
    ngx_http_rcache_sampler_t  *sampler;

    if (zone->sample == 0
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    sampler = ngx_pcalloc(cycle->pool, sizeof(ngx_http_rcache_sampler_t));
    if (sampler == NULL) {
        return NGX_ERROR;
    }

    sampler->zone = zone;
    sampler->pool = (ngx_slab_pool_t *) zone->shm->shm.addr;

    sampler->timer.handler = ngx_http_rcache_sample_handler;
    sampler->timer.data = sampler;
    sampler->timer.log = cycle->log;
    sampler->timer.cancelable = 1;

    ngx_add_timer(&sampler->timer, 1);

    return NGX_OK;
}


static void
ngx_http_rcache_sample_handler(ngx_event_t *ev)
{
    ngx_http_rcache_sampler_t *sampler = ev->data;

    u_char     cursor[NGX_INT64_LEN];
    uint64_t   at;
    ngx_str_t  argv[4];

    if (ngx_exiting) {
        return;
    }

    ngx_add_timer(ev, sampler->zone->sample);

    if (!ngx_http_rcache_sample_turn(sampler)) {
        return;
    }

    sampler->masters = ngx_http_rcache_redis_masters(sampler->zone->redis);

    if (sampler->masters == 0) {
        return;
    }

    sampler->keys = 0;

    ngx_shmtx_lock(&sampler->pool->mutex);

    at = sampler->zone->health->sample.cursor;

    if (at == 0) {
        sampler->zone->health->sample.master++;
    }

    sampler->master = sampler->zone->health->sample.master % sampler->masters
                      + 1;

    ngx_shmtx_unlock(&sampler->pool->mutex);

    ngx_str_set(&argv[0], "DBSIZE");

    ngx_http_rcache_sample_send(sampler, argv, 1, sampler->master,
                                ngx_http_rcache_sample_size);

    ngx_str_set(&argv[0], "SCAN");
    argv[1].data = cursor;
    argv[1].len = ngx_sprintf(cursor, "%uL", at) - cursor;
    ngx_str_set(&argv[2], "COUNT");
    ngx_str_set(&argv[3], NGX_HTTP_RCACHE_SAMPLE_KEYS);

    ngx_http_rcache_sample_send(sampler, argv, 4, sampler->master,
                                ngx_http_rcache_sample_scanned);
}


/* the first worker after so long a time */

static ngx_uint_t
ngx_http_rcache_sample_turn(ngx_http_rcache_sampler_t *sampler)
{
    ngx_atomic_t       *next;
    ngx_atomic_uint_t   was;

    next = &sampler->zone->health->sample.next;
    was = *next;

    return (was == 0
            || (ngx_msec_int_t) (ngx_current_msec - (ngx_msec_t) was) >= 0)
           && ngx_atomic_cmp_set(next, was,
                                 (ngx_current_msec
                                  + sampler->zone->sample * 3 / 4) | 1);
}


static void
ngx_http_rcache_sample_send(ngx_http_rcache_sampler_t *sampler,
    ngx_str_t *argv, ngx_uint_t argc, ngx_uint_t master,
    ngx_http_rcache_op_pt handler)
{
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(2048, ngx_cycle->log);
    if (op == NULL) {
        return;
    }

    if (ngx_http_rcache_op_command(op, argv, argc, NULL) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        return;
    }

    if (master) {
        op->master = master;

    } else {

        /* MEMORY USAGE key */

        op->key = argv[2];
        op->key.data = ngx_pstrdup(op->pool, &argv[2]);

        if (op->key.data == NULL) {
            ngx_http_rcache_op_free(op);
            return;
        }
    }

    op->lane = NGX_HTTP_RCACHE_LANE_STORE;
    op->handler = handler;
    op->data = sampler;
    op->max_reply = NGX_HTTP_RCACHE_SAMPLE_REPLY;

    if (ngx_http_rcache_op_submit(sampler->zone->redis, op) != NGX_OK) {
        ngx_http_rcache_op_free(op);
    }
}


static void
ngx_http_rcache_sample_size(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_sampler_t *sampler = op->data;

    if (reply && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0) {
        sampler->keys = (uint64_t) reply->integer;

    } else if (reply) {
        ngx_http_rcache_sample_refused(sampler, reply);
    }
}


static void
ngx_http_rcache_sample_scanned(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_sampler_t *sampler = op->data;

    uint64_t                  matched, cursor;
    ngx_int_t                 i, step;
    ngx_str_t                 argv[3];
    const u_char             *p;
    ngx_http_rcache_zone_t   *zone;
    ngx_http_rcache_reply_t  *keys;

    if (reply == NULL) {
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->integer != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        ngx_http_rcache_sample_refused(sampler, reply);
        return;
    }

    zone = sampler->zone;
    keys = reply->element[1];
    matched = 0;

    for (i = 0; i < keys->integer; i++) {
        matched += ngx_http_rcache_sample_is(zone, keys->element[i]);
    }

    p = reply->element[0]->str.data;

    if (rcache_number(&cursor, &p, p + reply->element[0]->str.len)
        != RCACHE_OK)
    {
        return;
    }

    ngx_shmtx_lock(&sampler->pool->mutex);

    zone->health->sample.cursor = cursor;

    rcache_sample_add(&zone->health->sample.sample,
                      sampler->keys * sampler->masters,
                      (uint64_t) keys->integer, matched);

    ngx_shmtx_unlock(&sampler->pool->mutex);

    /* from all parts of it: neighbours may be of one response */

    step = (ngx_int_t) matched / NGX_HTTP_RCACHE_SAMPLE_WEIGH + 1;
    matched = 0;

    ngx_str_set(&argv[0], "MEMORY");
    ngx_str_set(&argv[1], "USAGE");

    for (i = 0; i < keys->integer; i++) {

        if (ngx_http_rcache_sample_is(zone, keys->element[i])
            && matched++ % (uint64_t) step == 0)
        {
            argv[2] = keys->element[i]->str;

            ngx_http_rcache_sample_send(sampler, argv, 3, 0,
                                        ngx_http_rcache_sample_weighed);
        }
    }
}


static ngx_uint_t
ngx_http_rcache_sample_is(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_reply_t *key)
{
    return key->type == REDIS_REPLY_STRING
           && key->str.len >= zone->prefix.len
           && ngx_memcmp(key->str.data, zone->prefix.data, zone->prefix.len)
              == 0;
}


static void
ngx_http_rcache_sample_weighed(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_sampler_t *sampler = op->data;

    if (reply == NULL || reply->type == REDIS_REPLY_NIL) {

        /* it is gone */

        return;
    }

    if (reply->type != REDIS_REPLY_INTEGER || reply->integer < 0) {
        ngx_http_rcache_sample_refused(sampler, reply);
        return;
    }

    sampler->refused = 0;

    ngx_shmtx_lock(&sampler->pool->mutex);

    rcache_sample_weigh(&sampler->zone->health->sample.sample,
                        (uint64_t) reply->integer);

    ngx_shmtx_unlock(&sampler->pool->mutex);
}


static void
ngx_http_rcache_sample_refused(ngx_http_rcache_sampler_t *sampler,
    ngx_http_rcache_reply_t *reply)
{
    if (sampler->refused || reply->type != REDIS_REPLY_ERROR) {
        return;
    }

    sampler->refused = 1;

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "redis \"%V\" does not let its memory be sampled: %V",
                  &sampler->zone->conf.url, &reply->str);
}
