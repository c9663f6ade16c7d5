
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What the log of purges says, in the answers to XREAD and XINFO: records go to
 * the table of the instance.
 *
 * A log that is behind what is known of it was lost, or its server has come
 * back with an older state.  Records may be missing, to those who have not
 * seen them, so a floor is appended: what is older than the last record that
 * is known counts as purged, for all.  It takes the next id, so that ids go on
 * to grow.
 *
 * A log that has been trimmed may lack records that this instance has not
 * read, if it heard nothing for a while.  How many there have been is counted,
 * so that it is known whether there are as many as there should be.
 */


#include "ngx_http_rcache_follow.h"


/* a log without an "entries-added", before Redis 7, may have been trimmed */

#define NGX_HTTP_RCACHE_FOLLOW_SHORT  1000

/* an id from further ahead, in milliseconds, is none */

#define NGX_HTTP_RCACHE_FOLLOW_AHEAD  3600000


/* what XINFO says */

typedef struct {
    rcache_purge_id_t              last;
    rcache_purge_id_t              first;
    int64_t                        length;
    int64_t                        added;    /* -1: it does not */
} ngx_http_rcache_follow_info_t;


static ngx_int_t ngx_http_rcache_follow_info(
    ngx_http_rcache_follow_info_t *info, ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_follow_compare(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_follow_info_t *info, rcache_purge_id_t *known,
    ngx_uint_t beat);
static ngx_uint_t ngx_http_rcache_follow_missed(
    ngx_http_rcache_purges_t *purges, ngx_http_rcache_follow_info_t *info,
    rcache_purge_id_t *known);
static ngx_uint_t ngx_http_rcache_follow_same(rcache_purge_id_t *one,
    rcache_purge_id_t *two);
static void ngx_http_rcache_follow_repair(ngx_http_rcache_follow_t *follow,
    rcache_purge_id_t *known, ngx_uint_t next);
static void ngx_http_rcache_follow_read(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_follow_op_t *data);
static ngx_int_t ngx_http_rcache_follow_records(
    ngx_http_rcache_follow_t *follow, ngx_http_rcache_follow_op_t *data,
    ngx_pool_t *pool, ngx_http_rcache_reply_t *reply);
static ngx_int_t ngx_http_rcache_follow_record(
    ngx_http_rcache_follow_t *follow, ngx_pool_t *pool,
    ngx_http_rcache_reply_t *record, rcache_purge_id_t *id);
static void ngx_http_rcache_follow_count(ngx_http_rcache_purges_t *purges,
    rcache_purge_id_t *from, rcache_purge_id_t *to, int64_t n);
static void ngx_http_rcache_follow_refused(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_reply_t *reply);


void
ngx_http_rcache_follow_info_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_follow_op_t *data = op->data;

    ngx_http_rcache_follow_info_t  info;

    if (reply == NULL) {
        return;
    }

    if (ngx_http_rcache_follow_info(&info, reply) != NGX_OK) {
        ngx_http_rcache_follow_refused(data->follow, reply);
        return;
    }

    ngx_http_rcache_follow_compare(data->follow, &info, &data->known,
                                   data->n == 0);
}


static ngx_int_t
ngx_http_rcache_follow_info(ngx_http_rcache_follow_info_t *info,
    ngx_http_rcache_reply_t *reply)
{
    ngx_int_t                 i;
    ngx_str_t                *name;
    ngx_http_rcache_reply_t  *value;

    ngx_memzero(info, sizeof(ngx_http_rcache_follow_info_t));

    info->added = -1;

    if (reply->type == REDIS_REPLY_ERROR) {
        return (reply->str.len >= sizeof("ERR no such key") - 1
                && ngx_strncmp(reply->str.data, "ERR no such key",
                               sizeof("ERR no such key") - 1)
                   == 0)
               ? NGX_OK : NGX_DECLINED;
    }

    if (reply->type != REDIS_REPLY_ARRAY) {
        return NGX_DECLINED;
    }

    for (i = 0; i + 1 < reply->integer; i += 2) {

        if (reply->element[i]->type != REDIS_REPLY_STRING) {
            return NGX_DECLINED;
        }

        name = &reply->element[i]->str;
        value = reply->element[i + 1];

        if (value->type == REDIS_REPLY_INTEGER
            && rcache_str_is(name, "length"))
        {
            info->length = value->integer;

        } else if (value->type == REDIS_REPLY_INTEGER
                   && rcache_str_is(name, "entries-added"))
        {
            info->added = value->integer;

        } else if (value->type == REDIS_REPLY_STRING
                   && rcache_str_is(name, "last-generated-id"))
        {
            if (rcache_purge_id(&info->last, &value->str) != RCACHE_OK) {
                return NGX_DECLINED;
            }

        } else if (value->type == REDIS_REPLY_ARRAY
                   && value->integer > 0
                   && rcache_str_is(name, "first-entry"))
        {
            if (value->element[0]->type != REDIS_REPLY_STRING
                || rcache_purge_id(&info->first, &value->element[0]->str)
                   != RCACHE_OK)
            {
                return NGX_DECLINED;
            }
        }
    }

    return NGX_OK;
}


/*
 * known is what was known before the server was asked: by now another worker
 * may know more.
 */

static void
ngx_http_rcache_follow_compare(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_follow_info_t *info, rcache_purge_id_t *known,
    ngx_uint_t beat)
{
    int64_t                    now;
    ngx_uint_t                 lost, trimmed, missed;
    ngx_time_t                *tp;
    ngx_http_rcache_purges_t  *purges;

    purges = follow->purges;

    trimmed = (info->added == -1)
              ? info->length >= NGX_HTTP_RCACHE_FOLLOW_SHORT
              : info->added > info->length;

    ngx_shmtx_lock(&follow->pool->mutex);

    if (ngx_http_rcache_follow_moved(follow)) {
        ngx_shmtx_unlock(&follow->pool->mutex);
        return;
    }

    missed = purges->informed
             && ngx_http_rcache_follow_missed(purges, info, known);

    if (missed || (!purges->informed && trimmed)) {

        /* nobody can tell any more what was purged before */

        rcache_purges_floor(purges->table,
                            info->length ? &info->first : &info->last);
    }

    if (info->added != -1 && ngx_http_rcache_follow_same(known, &info->last)) {
        purges->counted = *known;
        purges->count = info->added;
    }

    purges->informed = 1;

    ngx_shmtx_unlock(&follow->pool->mutex);

    if (missed) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "\"%V\" was trimmed before all of it was read: what was "
                      "stored before its first record counts as purged",
                      &follow->key);
    }

    if (!beat) {
        return;
    }

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    if (rcache_purge_id_later(&follow->ahead, known)
        && (int64_t) follow->ahead.ms < now + NGX_HTTP_RCACHE_FOLLOW_AHEAD)
    {
        *known = follow->ahead;
    }

    lost = (info->added != -1 && info->added < follow->added);
    follow->added = info->added;

    if (rcache_purge_id_later(known, &info->last)) {
        ngx_http_rcache_follow_repair(follow, known, 1);

    } else if (lost) {
        ngx_http_rcache_follow_repair(follow, known, 0);
    }
}


/*
 * There were records behind what is known that the log does not have any more,
 * or did not have when it was read.  It loses the oldest ones first.  One that
 * has had fewer than were read is another log, see below.
 */

static ngx_uint_t
ngx_http_rcache_follow_missed(ngx_http_rcache_purges_t *purges,
    ngx_http_rcache_follow_info_t *info, rcache_purge_id_t *known)
{
    ngx_uint_t  counted;

    counted = info->added != -1
              && ngx_http_rcache_follow_same(known, &purges->counted);

    if (counted && info->added < purges->count) {
        return 0;
    }

    if (ngx_http_rcache_follow_same(known, &info->last)) {
        return counted && info->added != purges->count;
    }

    if (rcache_purge_id_later(known, &info->last)
        || (info->length && !rcache_purge_id_later(&info->first, known)))
    {
        return 0;
    }

    if (info->added == -1) {
        return info->length == 0
               || info->length >= NGX_HTTP_RCACHE_FOLLOW_SHORT;
    }

    if (!counted) {
        return info->added > info->length;
    }

    return info->added - purges->count != info->length;
}


static ngx_uint_t
ngx_http_rcache_follow_same(rcache_purge_id_t *one, rcache_purge_id_t *two)
{
    return one->ms == two->ms && one->seq == two->seq;
}


static void
ngx_http_rcache_follow_repair(ngx_http_rcache_follow_t *follow,
    rcache_purge_id_t *known, ngx_uint_t next)
{
    u_char     id[RCACHE_PURGE_ID_LEN], floor[RCACHE_PURGE_ID_LEN];
    ngx_str_t  argv[5];

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "redis \"%V\" has lost purges from \"%V\": what was stored "
                  "before %uL-%uL counts as purged",
                  &follow->zone->conf.url, &follow->key, known->ms,
                  known->seq);

    ngx_str_set(&argv[0], "XADD");
    argv[1] = follow->key;
    ngx_str_set(&argv[2], "*");

    if (next) {
        argv[2].data = id;
        argv[2].len = ngx_sprintf(id, "%uL-%uL", known->ms, known->seq + 1)
                      - id;
    }

    ngx_str_set(&argv[3], "floor");
    argv[4].data = floor;
    argv[4].len = ngx_sprintf(floor, "%uL-%uL", known->ms, known->seq)
                  - floor;

    (void) ngx_http_rcache_follow_send(follow, follow->redis,
                                       NGX_HTTP_RCACHE_LANE_STORE, argv, 5,
                                       ngx_http_rcache_follow_done, 0);

    follow->kept = 0;
}


void
ngx_http_rcache_follow_read_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_follow_op_t *data = op->data;

    ngx_int_t                  rc;
    ngx_http_rcache_follow_t  *follow;

    follow = data->follow;

    /* NGX_OK: this is all there is */

    rc = reply ? ngx_http_rcache_follow_records(follow, data, op->pool, reply)
               : NGX_ERROR;

    if (rc == NGX_OK) {
        ngx_http_rcache_follow_read(follow, data);
    }

    if (data->n == 0) {
        ngx_http_rcache_follow_next(follow, reply, rc);
    }
}


/* all that the log has is known */

static void
ngx_http_rcache_follow_read(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_follow_op_t *data)
{
    ngx_uint_t                 known;
    ngx_http_rcache_purges_t  *purges;

    purges = follow->purges;

    ngx_shmtx_lock(&follow->pool->mutex);

    known = (purges->informed && !ngx_http_rcache_follow_moved(follow));

    if (known) {
        purges->synced = 1;

        if (data->n == 0) {
            purges->alive = follow->began;
        }
    }

    ngx_shmtx_unlock(&follow->pool->mutex);

    if (known
        && data->n
        && (ngx_int_t) (data->n - follow->caught) > 0)
    {
        follow->caught = data->n;
    }
}


static ngx_int_t
ngx_http_rcache_follow_records(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_follow_op_t *data, ngx_pool_t *pool,
    ngx_http_rcache_reply_t *reply)
{
    ngx_int_t                 i;
    rcache_purge_id_t         id;
    ngx_http_rcache_reply_t  *stream, *records;

    if (reply->type == REDIS_REPLY_NIL) {
        return NGX_OK;
    }

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->integer != 1
        || (stream = reply->element[0])->type != REDIS_REPLY_ARRAY
        || stream->integer != 2
        || (records = stream->element[1])->type != REDIS_REPLY_ARRAY)
    {
        ngx_http_rcache_follow_refused(follow, reply);
        return NGX_ERROR;
    }

    for (i = 0; i < records->integer; i++) {

        if (ngx_http_rcache_follow_record(follow, pool, records->element[i],
                                          &id)
            != NGX_OK)
        {
            ngx_http_rcache_follow_refused(follow, reply);
            return NGX_ERROR;
        }
    }

    if (records->integer) {
        ngx_shmtx_lock(&follow->pool->mutex);

        if (!ngx_http_rcache_follow_moved(follow)) {
            ngx_http_rcache_follow_count(follow->purges, &data->known, &id,
                                         records->integer);
        }

        ngx_shmtx_unlock(&follow->pool->mutex);
    }

    if (follow->refused) {
        follow->refused = 0;

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "redis \"%V\" tells of purges again",
                      &follow->zone->conf.url);
    }

    return (records->integer < NGX_HTTP_RCACHE_FOLLOW_COUNT) ? NGX_OK
                                                             : NGX_AGAIN;
}


static ngx_int_t
ngx_http_rcache_follow_record(ngx_http_rcache_follow_t *follow,
    ngx_pool_t *pool, ngx_http_rcache_reply_t *record, rcache_purge_id_t *id)
{
    int                       rc;
    ngx_int_t                 i, n;
    rcache_field_t           *fields;
    ngx_http_rcache_reply_t  *pairs;

    if (record->type != REDIS_REPLY_ARRAY
        || record->integer != 2
        || record->element[0]->type != REDIS_REPLY_STRING
        || rcache_purge_id(id, &record->element[0]->str) != RCACHE_OK)
    {
        return NGX_ERROR;
    }

    pairs = record->element[1];

    if (pairs->type == REDIS_REPLY_NIL) {

        /* deleted by XDEL */

        return NGX_OK;
    }

    if (pairs->type != REDIS_REPLY_ARRAY) {
        return NGX_ERROR;
    }

    n = pairs->integer / 2;

    if (n == 0) {
        return NGX_ERROR;
    }

    fields = ngx_palloc(pool, n * sizeof(rcache_field_t));
    if (fields == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (pairs->element[2 * i]->type != REDIS_REPLY_STRING
            || pairs->element[2 * i + 1]->type != REDIS_REPLY_STRING)
        {
            return NGX_ERROR;
        }

        fields[i].name = pairs->element[2 * i]->str;
        fields[i].value = pairs->element[2 * i + 1]->str;
    }

    ngx_shmtx_lock(&follow->pool->mutex);

    rc = RCACHE_OK;

    if (!ngx_http_rcache_follow_moved(follow)) {
        rc = rcache_purges_apply(follow->purges->table, id, fields,
                                 (size_t) n);

        rcache_purges_reached(follow->purges->table, id);
    }

    ngx_shmtx_unlock(&follow->pool->mutex);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "rcache purge record: %uL-%uL %i pairs", id->ms, id->seq, n);

    if (rc != RCACHE_OK && !follow->odd) {
        follow->odd = 1;

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "\"%V\" has a record %uL-%uL that says something "
                      "unknown, expected tag, key, prefix, regex, all or soft",
                      &follow->key, id->ms, id->seq);
    }

    return NGX_OK;
}


/* so many records, the last one of them that one, follow those counted */

static void
ngx_http_rcache_follow_count(ngx_http_rcache_purges_t *purges,
    rcache_purge_id_t *from, rcache_purge_id_t *to, int64_t n)
{
    if (ngx_http_rcache_follow_same(from, &purges->counted)) {
        purges->counted = *to;
        purges->count += n;
    }
}


static void
ngx_http_rcache_follow_refused(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_reply_t *reply)
{
    ngx_str_t  text;

    if (follow->refused) {
        return;
    }

    follow->refused = 1;

    if (reply->type == REDIS_REPLY_ERROR) {
        text = reply->str;

    } else {
        ngx_str_set(&text, "a reply of an unexpected type");
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "redis \"%V\" does not tell of purges, so nothing is served "
                  "from it: %V", &follow->zone->conf.url, &text);
}
