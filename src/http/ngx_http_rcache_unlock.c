
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A lock is given back, and if that cannot be now, then later.
 *
 * Who gets no answer may have the lock all the same: a server that stood still
 * does what is in its sockets when it goes on, also in those that we have
 * closed long since.  And who wants to give one back may find that nobody
 * listens.  All instances would wait for such a lock until it expires.
 *
 * So what may be ours is noted, by the name and the token, and tried until
 * Redis answers.  If it says that it is not ours it is asked once more: what is
 * on a new connection may be done before the rest of what was on the old one.
 */


#include "ngx_http_rcache_flight.h"
#include "ngx_http_rcache_store.h"
#include "ngx_http_rcache_zone.h"


/* milliseconds until the next look */

#define NGX_HTTP_RCACHE_OWED_PAUSE  250

/* until it is asked once more */

#define NGX_HTTP_RCACHE_OWED_AGAIN  1000

/* and past the age of the lock, when it is forgotten */

#define NGX_HTTP_RCACHE_OWED_KEEP   60000

/* a worker notes so many, and gives so many back at a time */

#define NGX_HTTP_RCACHE_OWED_MAX    1024
#define NGX_HTTP_RCACHE_OWED_BATCH  64


typedef struct {
    ngx_queue_t              queue;     /* in zone->owed */
    ngx_http_rcache_zone_t  *zone;
    ngx_msec_t               age;       /* of the lock */
    ngx_msec_t               due;
    ngx_msec_t               until;
    u_char                   token[NGX_HTTP_RCACHE_TOKEN];

    unsigned                 again:1;   /* it was not ours, and may be yet */

    size_t                   len;
    u_char                   lock[1];
} ngx_http_rcache_owed_t;


/* what is known of an operation that gives one back; in its pool */

typedef struct {
    ngx_http_rcache_zone_t  *zone;
    ngx_msec_t               age;
    u_char                   token[NGX_HTTP_RCACHE_TOKEN];
} ngx_http_rcache_unlock_t;


static void ngx_http_rcache_unlocked(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_owed_add(ngx_http_rcache_zone_t *zone,
    ngx_str_t *lock, u_char *token, ngx_msec_t age, ngx_msec_t delay);
static void ngx_http_rcache_owed_queue(ngx_http_rcache_owed_t *owed,
    ngx_msec_t delay);
static void ngx_http_rcache_owed_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_rcache_owed_send(ngx_http_rcache_owed_t *owed);
static void ngx_http_rcache_owed_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_owed_drop(ngx_http_rcache_owed_t *owed);
static void ngx_http_rcache_owed_cleanup(void *data);


/* no one waits for the answer: what comes first in Redis is done first */

void
ngx_http_rcache_flight_unlock(ngx_http_rcache_flight_t *flight, u_char mark,
    ngx_msec_t keep)
{
    ngx_http_rcache_op_t      *op;
    ngx_http_rcache_unlock_t  *unlock;

    if (!flight->locked) {
        return;
    }

    flight->locked = 0;

    op = ngx_http_rcache_op_create(1024 + flight->key.len, ngx_cycle->log);
    if (op == NULL) {
        return;
    }

    unlock = ngx_palloc(op->pool, sizeof(ngx_http_rcache_unlock_t));

    if (unlock == NULL
        || ngx_http_rcache_leave_command(op, &flight->node.str,
                                         &flight->token, mark, keep)
           != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return;
    }

    unlock->zone = flight->zone;
    unlock->age = flight->age;
    ngx_memcpy(unlock->token, flight->token.data, NGX_HTTP_RCACHE_TOKEN);

    op->lane = NGX_HTTP_RCACHE_LANE_LOOKUP;
    op->command = RCACHE_COMMAND_LOCK;
    op->handler = ngx_http_rcache_unlocked;
    op->data = unlock;
    op->max_reply = 1024;

    if (ngx_http_rcache_zone_submit(flight->zone, op) != RCACHE_REASON_NONE) {
        ngx_http_rcache_owe(flight, 0);
    }
}


/* it is its key that names the lock: the flight may be gone */

static void
ngx_http_rcache_unlocked(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_unlock_t *unlock = op->data;

    if (reply == NULL) {
        ngx_http_rcache_owed_add(unlock->zone, &op->key, unlock->token,
                                 unlock->age, 0);
    }
}


void
ngx_http_rcache_owe(ngx_http_rcache_flight_t *flight, ngx_msec_t delay)
{
    ngx_http_rcache_owed_add(flight->zone, &flight->node.str,
                             flight->token.data, flight->age, delay);
}


static void
ngx_http_rcache_owed_add(ngx_http_rcache_zone_t *zone, ngx_str_t *lock,
    u_char *token, ngx_msec_t age, ngx_msec_t delay)
{
    ngx_http_rcache_owed_t  *owed;

    /* it expires by itself */

    if (ngx_exiting || zone->nowed == NGX_HTTP_RCACHE_OWED_MAX) {
        return;
    }

    owed = ngx_alloc(offsetof(ngx_http_rcache_owed_t, lock) + lock->len,
                     ngx_cycle->log);
    if (owed == NULL) {
        return;
    }

    owed->zone = zone;
    owed->age = age;
    owed->until = ngx_current_msec + age + NGX_HTTP_RCACHE_OWED_KEEP;
    owed->again = 0;
    owed->len = lock->len;

    ngx_memcpy(owed->token, token, NGX_HTTP_RCACHE_TOKEN);
    ngx_memcpy(owed->lock, lock->data, lock->len);

    zone->nowed++;

    ngx_http_rcache_owed_queue(owed, ngx_max(delay,
                                             NGX_HTTP_RCACHE_OWED_PAUSE));
}


static void
ngx_http_rcache_owed_queue(ngx_http_rcache_owed_t *owed, ngx_msec_t delay)
{
    ngx_http_rcache_zone_t  *zone;

    zone = owed->zone;

    owed->due = ngx_current_msec + delay;

    ngx_queue_insert_tail(&zone->owed, &owed->queue);

    if (!zone->owing.timer_set) {
        ngx_add_timer(&zone->owing, NGX_HTTP_RCACHE_OWED_PAUSE);
    }
}


static void
ngx_http_rcache_owed_handler(ngx_event_t *ev)
{
    ngx_http_rcache_zone_t *zone = ev->data;

    ngx_uint_t               n;
    ngx_queue_t             *q, *next;
    ngx_http_rcache_owed_t  *owed;

    n = NGX_HTTP_RCACHE_OWED_BATCH;

    for (q = ngx_queue_head(&zone->owed);
         q != ngx_queue_sentinel(&zone->owed);
         q = next)
    {
        next = ngx_queue_next(q);

        owed = ngx_queue_data(q, ngx_http_rcache_owed_t, queue);

        if ((ngx_msec_int_t) (owed->until - ngx_current_msec) <= 0) {
            ngx_queue_remove(q);
            ngx_http_rcache_owed_drop(owed);
            continue;
        }

        if (n == 0 || (ngx_msec_int_t) (owed->due - ngx_current_msec) > 0) {
            continue;
        }

        if (ngx_http_rcache_owed_send(owed) != NGX_OK) {
            n = 0;
            continue;
        }

        n--;
    }

    if (!ngx_queue_empty(&zone->owed) && !ev->timer_set) {
        ngx_add_timer(ev, NGX_HTTP_RCACHE_OWED_PAUSE);
    }
}


static ngx_int_t
ngx_http_rcache_owed_send(ngx_http_rcache_owed_t *owed)
{
    ngx_str_t              lock, token;
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(1024 + owed->len, ngx_cycle->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    lock.data = owed->lock;
    lock.len = owed->len;
    token.data = owed->token;
    token.len = NGX_HTTP_RCACHE_TOKEN;

    if (ngx_http_rcache_leave_command(op, &lock, &token, 'x', 0) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    op->lane = NGX_HTTP_RCACHE_LANE_LOOKUP;
    op->command = RCACHE_COMMAND_LOCK;
    op->handler = ngx_http_rcache_owed_done;
    op->data = owed;
    op->max_reply = 1024;

    if (ngx_http_rcache_zone_submit(owed->zone, op) != RCACHE_REASON_NONE) {
        return NGX_ERROR;
    }

    ngx_queue_remove(&owed->queue);

    return NGX_OK;
}


static void
ngx_http_rcache_owed_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_owed_t *owed = op->data;

    if (reply == NULL && !ngx_exiting) {
        ngx_http_rcache_owed_queue(owed, NGX_HTTP_RCACHE_OWED_PAUSE);
        return;
    }

    if (reply
        && reply->type == REDIS_REPLY_INTEGER
        && reply->integer == 0
        && !owed->again
        && !ngx_exiting)
    {
        owed->again = 1;
        ngx_http_rcache_owed_queue(owed, NGX_HTTP_RCACHE_OWED_AGAIN);
        return;
    }

    ngx_http_rcache_owed_drop(owed);
}


static void
ngx_http_rcache_owed_drop(ngx_http_rcache_owed_t *owed)
{
    owed->zone->nowed--;

    ngx_free(owed);
}


ngx_int_t
ngx_http_rcache_owed_init(ngx_cycle_t *cycle, ngx_http_rcache_zone_t *zone)
{
    ngx_pool_cleanup_t  *cln;

    ngx_queue_init(&zone->owed);

    zone->owing.handler = ngx_http_rcache_owed_handler;
    zone->owing.data = zone;
    zone->owing.log = cycle->log;
    zone->owing.cancelable = 1;

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_rcache_owed_cleanup;
    cln->data = zone;

    return NGX_OK;
}


/* they are malloc()ed, and the worker exits */

static void
ngx_http_rcache_owed_cleanup(void *data)
{
    ngx_http_rcache_zone_t *zone = data;

    ngx_queue_t  *q;

    while (!ngx_queue_empty(&zone->owed)) {
        q = ngx_queue_head(&zone->owed);
        ngx_queue_remove(q);

        ngx_http_rcache_owed_drop(ngx_queue_data(q, ngx_http_rcache_owed_t,
                                                 queue));
    }
}
