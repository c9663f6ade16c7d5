
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * An invalidation that Redis did not get: the connection broke, there was none,
 * or it was a replica by then.  What was to go is there, and nobody asks again,
 * for the upstream has done what it was asked for.  So it is sent again until
 * it is there, for as long as a failover takes; and until then no worker of
 * this instance uses what Redis has (src/shm/ngx_http_rcache_lost.c).
 *
 * What counts is the name, of a key or of a tag: the command is made anew each
 * time, and a name that is lost several times waits once.  It may come late, or
 * twice, which costs what has been stored meanwhile, and nobody may store under
 * it without a lock, not even a POST that had said so.
 *
 * A worker that exits tries once more, and is not kept by what fails then.
 */


#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_lookup.h"
#include "ngx_http_rcache_store.h"


/*
 * Milliseconds.  Sentinels wait for 30 seconds by default until a master counts
 * as down, a cluster for 15; then a replica has to be elected and promoted.
 * Marks of an invalidation last as long.
 */

#define NGX_HTTP_RCACHE_LOST_TIME       NGX_HTTP_RCACHE_VOID

/* from one attempt to the next, at first, and doubled up to that */

#define NGX_HTTP_RCACHE_LOST_PAUSE      50
#define NGX_HTTP_RCACHE_LOST_PAUSE_MAX  1000

/* of a zone and worker, the second in bytes */

#define NGX_HTTP_RCACHE_LOST_MAX        4096
#define NGX_HTTP_RCACHE_LOST_SIZE       (4 * 1024 * 1024)

/* tags of one record */

#define NGX_HTTP_RCACHE_LOST_RECORD     512


struct ngx_http_rcache_lost_s {
    ngx_queue_t               queue;
    ngx_http_rcache_zone_t   *zone;
    ngx_http_rcache_lost_t   *record;      /* the first one in the record that
                                              it was sent in; NULL: none */
    uint64_t                  hash;
    ngx_msec_t                since;       /* when it was lost */
    ngx_str_t                 name;

    unsigned                  tag:1;       /* it is one, or a key in Redis */
    unsigned                  sent:1;      /* an answer is to come */
    unsigned                  again:1;     /* and is not the last one */
};


struct ngx_http_rcache_losses_s {
    ngx_queue_t               queue;
    ngx_uint_t                n;
    ngx_uint_t                nsent;       /* commands, to be answered */
    size_t                    size;
    ngx_msec_t                pause;
    ngx_uint_t                gone;        /* given up, and not yet told of */
    ngx_event_t               event;
};


static void ngx_http_rcache_lost_cleanup(void *data);
static void ngx_http_rcache_lost_add(ngx_http_rcache_zone_t *zone,
    ngx_str_t *name, uint64_t hash, ngx_uint_t tag);
static ngx_http_rcache_lost_t *ngx_http_rcache_lost_find(
    ngx_http_rcache_losses_t *losses, ngx_str_t *name, uint64_t hash,
    ngx_uint_t tag);
static void ngx_http_rcache_lost_guard(ngx_http_rcache_lost_t *lost);
static void ngx_http_rcache_lost_unguard(ngx_http_rcache_lost_t *lost);
static void ngx_http_rcache_lost_handler(ngx_event_t *ev);
static void ngx_http_rcache_lost_keys(ngx_http_rcache_zone_t *zone);
static void ngx_http_rcache_lost_tags(ngx_http_rcache_zone_t *zone);
static ngx_uint_t ngx_http_rcache_lost_enough(ngx_http_rcache_zone_t *zone);
static void ngx_http_rcache_lost_record_done(void *data,
    rcache_purge_id_t *id);
static void ngx_http_rcache_lost_answered(ngx_http_rcache_zone_t *zone,
    ngx_uint_t ok);
static void ngx_http_rcache_lost_end(ngx_http_rcache_lost_t *lost,
    ngx_uint_t ok);
static void ngx_http_rcache_lost_late(ngx_http_rcache_zone_t *zone,
    ngx_msec_t time);
static void ngx_http_rcache_lost_free(ngx_http_rcache_lost_t *lost);
static void ngx_http_rcache_lost_give_up(ngx_http_rcache_zone_t *zone);
static void ngx_http_rcache_lost_tell(ngx_http_rcache_zone_t *zone);


ngx_int_t
ngx_http_rcache_lost_init(ngx_cycle_t *cycle, ngx_http_rcache_zone_t *zone)
{
    ngx_pool_cleanup_t        *cln;
    ngx_http_rcache_losses_t  *losses;

    losses = ngx_pcalloc(cycle->pool, sizeof(ngx_http_rcache_losses_t));
    if (losses == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_rcache_lost_cleanup;
    cln->data = zone;

    ngx_queue_init(&losses->queue);

    /* not cancelable: they are tried once more */

    losses->event.handler = ngx_http_rcache_lost_handler;
    losses->event.data = zone;
    losses->event.log = cycle->log;

    zone->losses = losses;

    return NGX_OK;
}


static void
ngx_http_rcache_lost_cleanup(void *data)
{
    ngx_http_rcache_zone_t *zone = data;

    ngx_queue_t               *q;
    ngx_http_rcache_lost_t    *lost;
    ngx_http_rcache_losses_t  *losses;

    losses = zone->losses;

    while (!ngx_queue_empty(&losses->queue)) {
        q = ngx_queue_head(&losses->queue);
        lost = ngx_queue_data(q, ngx_http_rcache_lost_t, queue);

        ngx_http_rcache_lost_free(lost);
        ngx_http_rcache_lost_give_up(zone);
    }

    ngx_http_rcache_lost_tell(zone);
}


void
ngx_http_rcache_lost_key(ngx_http_rcache_zone_t *zone, ngx_str_t *key)
{
    ngx_http_rcache_lost_add(zone, key, rcache_sum(key->data, key->len), 0);
}


void
ngx_http_rcache_lost_tag(ngx_http_rcache_zone_t *zone, ngx_str_t *tag)
{
    ngx_http_rcache_lost_add(zone, tag,
                             rcache_purge_hash(RCACHE_PURGE_TAG, tag), 1);
}


static void
ngx_http_rcache_lost_add(ngx_http_rcache_zone_t *zone, ngx_str_t *name,
    uint64_t hash, ngx_uint_t tag)
{
    size_t                     size;
    ngx_http_rcache_lost_t    *lost;
    ngx_http_rcache_losses_t  *losses;

    losses = zone->losses;

    lost = ngx_http_rcache_lost_find(losses, name, hash, tag);

    if (lost) {
        lost->again = lost->sent;
        lost->since = ngx_current_msec;

        /* the new time first */

        ngx_http_rcache_lost_guard(lost);
        ngx_http_rcache_lost_unguard(lost);
        return;
    }

    size = sizeof(ngx_http_rcache_lost_t) + name->len;

    if (ngx_exiting
        || losses->n == NGX_HTTP_RCACHE_LOST_MAX
        || losses->size + size > NGX_HTTP_RCACHE_LOST_SIZE)
    {
        ngx_http_rcache_lost_give_up(zone);
        return;
    }

    lost = ngx_alloc(size, ngx_cycle->log);

    if (lost == NULL) {
        ngx_http_rcache_lost_give_up(zone);
        ngx_http_rcache_lost_tell(zone);
        return;
    }

    lost->zone = zone;
    lost->record = NULL;
    lost->hash = hash;
    lost->since = ngx_current_msec;
    lost->name.len = name->len;
    lost->name.data = (u_char *) lost + sizeof(ngx_http_rcache_lost_t);
    lost->tag = (tag != 0);
    lost->sent = 0;
    lost->again = 0;

    ngx_memcpy(lost->name.data, name->data, name->len);

    ngx_http_rcache_lost_guard(lost);

    ngx_queue_insert_tail(&losses->queue, &lost->queue);
    losses->n++;
    losses->size += size;

    if (!losses->event.timer_set) {
        losses->pause = NGX_HTTP_RCACHE_LOST_PAUSE;
        ngx_add_timer(&losses->event, losses->pause);
    }
}


static ngx_http_rcache_lost_t *
ngx_http_rcache_lost_find(ngx_http_rcache_losses_t *losses, ngx_str_t *name,
    uint64_t hash, ngx_uint_t tag)
{
    ngx_queue_t             *q;
    ngx_http_rcache_lost_t  *lost;

    for (q = ngx_queue_head(&losses->queue);
         q != ngx_queue_sentinel(&losses->queue);
         q = ngx_queue_next(q))
    {
        lost = ngx_queue_data(q, ngx_http_rcache_lost_t, queue);

        if (lost->hash == hash
            && lost->tag == (tag != 0)
            && lost->name.len == name->len
            && ngx_memcmp(lost->name.data, name->data, name->len) == 0)
        {
            return lost;
        }
    }

    return NULL;
}


/* the last answer is there by then */

static void
ngx_http_rcache_lost_guard(ngx_http_rcache_lost_t *lost)
{
    ngx_http_rcache_zone_t  *zone;

    zone = lost->zone;

    ngx_http_rcache_lost_mark(zone->health->lost, zone->conf.mutex,
                              lost->hash,
                              lost->since + 2 * NGX_HTTP_RCACHE_LOST_TIME
                              + zone->conf.connect_timeout
                              + zone->conf.timeout);
}


static void
ngx_http_rcache_lost_unguard(ngx_http_rcache_lost_t *lost)
{
    ngx_http_rcache_zone_t  *zone;

    zone = lost->zone;

    ngx_http_rcache_lost_unmark(zone->health->lost, zone->conf.mutex,
                                lost->hash,
                                (ngx_msec_t) (ngx_http_rcache_usec() / 1000));
}


void
ngx_http_rcache_lost_wake(ngx_http_rcache_zone_t *zone)
{
    ngx_http_rcache_losses_t  *losses;

    losses = zone->losses;

    if (losses->n && !losses->event.posted) {
        losses->pause = NGX_HTTP_RCACHE_LOST_PAUSE;
        ngx_post_event(&losses->event, &ngx_posted_events);
    }
}


/* it is time, or Redis is there again */

static void
ngx_http_rcache_lost_handler(ngx_event_t *ev)
{
    ngx_http_rcache_zone_t *zone = ev->data;

    ngx_http_rcache_losses_t  *losses;

    losses = zone->losses;

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    ngx_http_rcache_lost_late(zone, NGX_HTTP_RCACHE_LOST_TIME);

    ngx_http_rcache_lost_keys(zone);
    ngx_http_rcache_lost_tags(zone);

    if (ngx_exiting && losses->nsent == 0) {

        /* no connection is made any more */

        ngx_http_rcache_lost_late(zone, 0);
    }

    ngx_http_rcache_lost_tell(zone);

    if (losses->n && !ngx_exiting) {
        ngx_add_timer(ev, losses->pause);

        losses->pause = ngx_min(losses->pause * 2,
                                NGX_HTTP_RCACHE_LOST_PAUSE_MAX);
    }
}


static void
ngx_http_rcache_lost_keys(ngx_http_rcache_zone_t *zone)
{
    ngx_queue_t               *q;
    rcache_reason_e            reason;
    ngx_http_rcache_op_t      *op;
    ngx_http_rcache_lost_t    *lost;
    ngx_http_rcache_losses_t  *losses;

    losses = zone->losses;

    for (q = ngx_queue_head(&losses->queue);
         q != ngx_queue_sentinel(&losses->queue);
         q = ngx_queue_next(q))
    {
        lost = ngx_queue_data(q, ngx_http_rcache_lost_t, queue);

        if (lost->sent || lost->tag) {
            continue;
        }

        if (ngx_http_rcache_lost_enough(zone)) {
            return;
        }

        op = ngx_http_rcache_unlink_op(zone, &lost->name, NULL, 1);
        if (op == NULL) {
            return;
        }

        reason = ngx_http_rcache_write(zone, op, NULL, lost, &lost->name);

        if (reason == RCACHE_REASON_NONE) {
            lost->sent = 1;
            losses->nsent++;
            continue;
        }

        /* of a cluster another node may be there */

        if (zone->conf.topology != NGX_HTTP_RCACHE_TOPOLOGY_CLUSTER) {
            return;
        }
    }
}


static void
ngx_http_rcache_lost_tags(ngx_http_rcache_zone_t *zone)
{
    ngx_str_t                 *pairs;
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    ngx_queue_t               *q;
    ngx_http_rcache_lost_t    *lost, *first;
    ngx_http_rcache_losses_t  *losses;

    losses = zone->losses;
    pairs = NULL;
    first = NULL;
    n = 0;

    for (q = ngx_queue_head(&losses->queue);
         q != ngx_queue_sentinel(&losses->queue)
         && n < NGX_HTTP_RCACHE_LOST_RECORD;
         q = ngx_queue_next(q))
    {
        lost = ngx_queue_data(q, ngx_http_rcache_lost_t, queue);

        if (lost->sent || !lost->tag) {
            continue;
        }

        if (pairs == NULL) {

            if (ngx_http_rcache_lost_enough(zone)) {
                return;
            }

            pairs = ngx_alloc(2 * NGX_HTTP_RCACHE_LOST_RECORD
                              * sizeof(ngx_str_t), ngx_cycle->log);
            if (pairs == NULL) {
                return;
            }

            first = lost;
        }

        lost->record = first;

        ngx_str_set(&pairs[2 * n], "tag");
        pairs[2 * n + 1] = lost->name;
        n++;
    }

    if (pairs == NULL) {
        return;
    }

    rc = ngx_http_rcache_purge_start(zone, pairs, 2 * n, NULL, 0,
                                     ngx_http_rcache_lost_record_done, first,
                                     NULL);

    ngx_free(pairs);

    for (q = ngx_queue_head(&losses->queue);
         q != ngx_queue_sentinel(&losses->queue);
         q = ngx_queue_next(q))
    {
        lost = ngx_queue_data(q, ngx_http_rcache_lost_t, queue);

        if (lost->record == first) {

            if (rc == NGX_OK) {
                lost->sent = 1;

            } else {
                lost->record = NULL;
            }
        }
    }

    losses->nsent += (rc == NGX_OK);
}


/* stores want to be sent as well */

static ngx_uint_t
ngx_http_rcache_lost_enough(ngx_http_rcache_zone_t *zone)
{
    return zone->losses->nsent > zone->conf.queue / 4;
}


void
ngx_http_rcache_lost_done(ngx_http_rcache_lost_t *lost, ngx_uint_t ok)
{
    ngx_http_rcache_zone_t  *zone;

    zone = lost->zone;

    ngx_http_rcache_lost_end(lost, ok);
    ngx_http_rcache_lost_answered(zone, ok);
}


static void
ngx_http_rcache_lost_record_done(void *data, rcache_purge_id_t *id)
{
    ngx_http_rcache_lost_t *first = data;

    ngx_queue_t               *q, *next;
    ngx_http_rcache_lost_t    *lost;
    ngx_http_rcache_zone_t    *zone;

    zone = first->zone;

    for (q = ngx_queue_head(&zone->losses->queue);
         q != ngx_queue_sentinel(&zone->losses->queue);
         q = next)
    {
        next = ngx_queue_next(q);
        lost = ngx_queue_data(q, ngx_http_rcache_lost_t, queue);

        if (lost->record == first) {
            ngx_http_rcache_lost_end(lost, id != NULL);
        }
    }

    ngx_http_rcache_lost_answered(zone, id != NULL);
}


static void
ngx_http_rcache_lost_answered(ngx_http_rcache_zone_t *zone, ngx_uint_t ok)
{
    zone->losses->nsent--;

    if (zone->losses->nsent == 0 && (ok || ngx_exiting)) {

        /* those that there was no room for */

        ngx_http_rcache_lost_wake(zone);
    }
}


static void
ngx_http_rcache_lost_end(ngx_http_rcache_lost_t *lost, ngx_uint_t ok)
{
    ngx_http_rcache_zone_t  *zone;

    zone = lost->zone;

    lost->sent = 0;
    lost->record = NULL;

    if (ok && !lost->again) {
        ngx_http_rcache_lost_free(lost);
        ngx_http_rcache_count_zone(zone, RCACHE_COUNT_RETRIED_ALL, 1);
        return;
    }

    lost->again = 0;

    if (ngx_exiting) {
        ngx_http_rcache_lost_free(lost);
        ngx_http_rcache_lost_give_up(zone);
    }
}


/* those that have waited for so long are given up */

static void
ngx_http_rcache_lost_late(ngx_http_rcache_zone_t *zone, ngx_msec_t time)
{
    ngx_queue_t             *q, *next;
    ngx_http_rcache_lost_t  *lost;

    for (q = ngx_queue_head(&zone->losses->queue);
         q != ngx_queue_sentinel(&zone->losses->queue);
         q = next)
    {
        next = ngx_queue_next(q);
        lost = ngx_queue_data(q, ngx_http_rcache_lost_t, queue);

        if (!lost->sent && ngx_current_msec - lost->since >= time) {
            ngx_http_rcache_lost_free(lost);
            ngx_http_rcache_lost_give_up(zone);
        }
    }
}


static void
ngx_http_rcache_lost_free(ngx_http_rcache_lost_t *lost)
{
    ngx_http_rcache_losses_t  *losses;

    losses = lost->zone->losses;

    ngx_queue_remove(&lost->queue);
    losses->n--;
    losses->size -= sizeof(ngx_http_rcache_lost_t) + lost->name.len;

    ngx_http_rcache_lost_unguard(lost);

    ngx_free(lost);

    if (losses->n == 0 && losses->event.timer_set) {
        ngx_del_timer(&losses->event);
    }
}


static void
ngx_http_rcache_lost_give_up(ngx_http_rcache_zone_t *zone)
{
    zone->losses->gone++;

    ngx_http_rcache_count_zone(zone, RCACHE_COUNT_LOST_ALL, 1);
}


/* together, for there may be many */

static void
ngx_http_rcache_lost_tell(ngx_http_rcache_zone_t *zone)
{
    ngx_http_rcache_losses_t  *losses;

    losses = zone->losses;

    if (losses->gone == 0) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "redis \"%V\" did not get %ui invalidations of zone \"%V\", "
                  "they are given up",
                  &zone->conf.url, losses->gone, &zone->name);

    losses->gone = 0;
}
