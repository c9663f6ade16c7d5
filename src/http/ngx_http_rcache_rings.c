
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_flight.h"
#include "ngx_http_rcache_store.h"
#include "ngx_http_rcache_zone.h"


/* another instance, in case a message was lost; milliseconds */

#define NGX_HTTP_RCACHE_POLL_ABROAD  1000

/*
 * Room for an operation that is a short command, beside its keys: what malloc()
 * has at hand.
 */

#define NGX_HTTP_RCACHE_LOCK_POOL  640


static ngx_int_t ngx_http_rcache_flight_submit(
    ngx_http_rcache_flight_t *flight, ngx_http_rcache_op_t *op,
    ngx_http_rcache_op_pt handler, size_t max_reply);
static void ngx_http_rcache_flight_asked(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_flight_follow(ngx_http_rcache_flight_t *flight,
    int64_t left);
static void ngx_http_rcache_flight_get(ngx_http_rcache_flight_t *flight);
static void ngx_http_rcache_flight_got(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_flight_disown(ngx_http_rcache_flight_t *flight);
static void ngx_http_rcache_flight_leading(ngx_http_rcache_flight_t *flight);
static void ngx_http_rcache_flight_unpack(ngx_http_rcache_flight_t *flight,
    ngx_str_t *payload);
static void ngx_http_rcache_flight_free(void *data);


/* the ring of the instance */

ngx_http_rcache_turn_e
ngx_http_rcache_flight_enter(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_outcome_t *outcome)
{
    switch (ngx_http_rcache_flights_enter(flight->zone->flights, flight->hash,
                                          flight->age, &flight->seq, outcome))
    {

    case NGX_HTTP_RCACHE_FLIGHTS_LEAD:
        flight->placed = 1;
        flight->taken = ngx_current_msec;
        return NGX_HTTP_RCACHE_TURN_LEAD;

    case NGX_HTTP_RCACHE_FLIGHTS_WAIT:
        return NGX_HTTP_RCACHE_TURN_WAIT;

    case NGX_HTTP_RCACHE_FLIGHTS_FULL:
        return NGX_HTTP_RCACHE_TURN_LEAD;

    default: /* NGX_HTTP_RCACHE_FLIGHTS_DONE */
        break;
    }

    switch (outcome->mark) {

    case '-':
        return NGX_HTTP_RCACHE_TURN_PASS;

    case '!':
        return NGX_HTTP_RCACHE_TURN_PAUSE;

    case '~':
        return NGX_HTTP_RCACHE_TURN_ALONE;

    default:
        return outcome->payload.data ? NGX_HTTP_RCACHE_TURN_FOUND
                                     : NGX_HTTP_RCACHE_TURN_LOOK;
    }
}


/* the ring of all instances; NGX_DECLINED: Redis cannot be asked */

ngx_int_t
ngx_http_rcache_flight_ask(ngx_http_rcache_flight_t *flight)
{
    ngx_int_t              rc;
    ngx_http_rcache_op_t  *op;

    if (!flight->remote) {
        return NGX_DECLINED;
    }

    /* expected: the lookup is in front of it, unless a replica answers that */

    flight->plain = flight->expected
                    && flight->zone->conf.read_from
                       == NGX_HTTP_RCACHE_READ_MASTER;

    op = ngx_http_rcache_op_create(flight->plain
                                   ? NGX_HTTP_RCACHE_LOCK_POOL
                                     + flight->key.len
                                   : 1024 + 2 * flight->key.len,
                                   ngx_cycle->log);
    if (op == NULL) {
        return NGX_DECLINED;
    }

    if (flight->plain) {
        rc = ngx_http_rcache_take_command(op, &flight->node.str,
                                          &flight->token, flight->age);
    } else {
        rc = ngx_http_rcache_acquire_command(op, &flight->key,
                                             &flight->node.str,
                                             &flight->token, flight->age,
                                             &flight->seen);
    }

    if (rc != NGX_OK) {
        ngx_http_rcache_op_free(op);
        return NGX_DECLINED;
    }

    if (ngx_http_rcache_flight_submit(flight, op,
                                      ngx_http_rcache_flight_asked, 1024)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (flight->state == NGX_HTTP_RCACHE_FLIGHT_ASKING) {
        ngx_http_rcache_flight_due(flight, flight->budget);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_flight_submit(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_op_t *op, ngx_http_rcache_op_pt handler, size_t max_reply)
{
    op->lane = NGX_HTTP_RCACHE_LANE_LOOKUP;
    op->command = (handler == ngx_http_rcache_flight_got)
                  ? RCACHE_COMMAND_LOOKUP : RCACHE_COMMAND_LOCK;
    op->handler = handler;
    op->data = flight;
    op->max_reply = max_reply;

    if (ngx_http_rcache_zone_submit(flight->zone, op) != RCACHE_REASON_NONE) {
        return NGX_DECLINED;
    }

    flight->op = op;
    flight->sent = op->began;

    return NGX_OK;
}


static void
ngx_http_rcache_flight_asked(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_flight_t *flight = op->data;

    ngx_str_t                *value;
    ngx_uint_t                ours, again;
    ngx_http_rcache_reply_t  *left;

    flight->op = NULL;

    ours = 0;
    again = 0;

    if (reply && flight->plain) {
        ours = (reply->type == REDIS_REPLY_STATUS);
        again = (reply->type == REDIS_REPLY_NIL);

    } else if (reply && reply->type == REDIS_REPLY_INTEGER) {
        ours = (reply->integer == 0);
        again = !ours;
    }

    if (ours) {
        flight->locked = 1;
        flight->again = 0;
        ngx_http_rcache_flight_give(flight);
        return;
    }

    if (again) {

        if ((flight->again || flight->plain)
            && !ngx_queue_empty(&flight->waiters))
        {
            /* it was asked before the entry was seen, or does not say enough */

            flight->again = 0;
            flight->expected = 0;

            if (ngx_http_rcache_flight_ask(flight) == NGX_OK) {
                return;
            }
        }

        ngx_http_rcache_flight_look(flight);
        return;
    }

    if (reply == NULL
        || reply->type != REDIS_REPLY_ARRAY
        || reply->integer != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_INTEGER)
    {
        /*
         * Without a lock, but not without the rings inside.  Redis may have
         * given it to us all the same, or will when it gets to our question.
         */

        if (reply == NULL) {
            ngx_http_rcache_owe(flight, 0);
        }

        flight->remote = 0;
        ngx_http_rcache_flight_give(flight);
        return;
    }

    value = &reply->element[0]->str;
    left = reply->element[1];

    if (value->len == 1 && value->data[0] == '-') {
        ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_PASS, '-',
                                    (ngx_msec_t) ngx_max(left->integer, 1));

    } else if (value->len == 1 && value->data[0] == '!') {
        ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_PAUSE, '!',
                                    (ngx_msec_t) ngx_max(left->integer, 1));

    } else if (value->len == flight->token.len
               && ngx_memcmp(value->data, flight->token.data, value->len) == 0)
    {
        flight->locked = 1;
        ngx_http_rcache_flight_give(flight);

    } else {
        ngx_http_rcache_flight_follow(flight, left->integer);
    }
}


/* another instance leads; left: the time that its lock has, milliseconds */

static void
ngx_http_rcache_flight_follow(ngx_http_rcache_flight_t *flight, int64_t left)
{
    ngx_msec_t  timeout;

    flight->state = NGX_HTTP_RCACHE_FLIGHT_ABROAD;

    ngx_http_rcache_flight_dismiss(flight);

    if (!flight->subscribed && !ngx_queue_empty(&flight->waiters)) {
        flight->subscribed = 1;
        ngx_http_rcache_subscribe(flight->zone->redis, &flight->sub);
    }

    if (flight->again) {
        flight->again = 0;

        if (ngx_http_rcache_flight_ask(flight) == NGX_OK) {
            return;
        }
    }

    timeout = NGX_HTTP_RCACHE_POLL_ABROAD;

    if (left >= 0 && left < NGX_HTTP_RCACHE_POLL_ABROAD) {
        timeout = (ngx_msec_t) left + 1;
    }

    ngx_http_rcache_flight_due(flight, timeout);

    if (flight->placed) {
        flight->placed = ngx_http_rcache_flights_renew(flight->zone->flights,
                                                       flight->hash,
                                                       flight->seq,
                                                       flight->age
                                                       + 2 * timeout);
    }
}


void
ngx_http_rcache_flight_heard(ngx_http_rcache_sub_t *sub, ngx_str_t *message)
{
    u_char                     mark;
    ngx_http_rcache_flight_t  *flight;

    flight = sub->data;

    mark = (message && message->len) ? message->data[0] : 'x';

    if (flight->op) {

        /* its answer may be older than the message */

        flight->again = 1;
        return;
    }

    switch (mark) {

    case '+':
        ngx_http_rcache_flight_get(flight);
        break;

    case '-':
        ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_PASS, '-',
                                    flight->hit_for_miss);
        break;

    case '!':
        ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_PAUSE, '!',
                                    flight->pause);
        break;

    default:
        if (ngx_http_rcache_flight_ask(flight) != NGX_OK) {
            ngx_http_rcache_flight_give(flight);
        }
    }
}


/* one GET for all who wait on this instance */

static void
ngx_http_rcache_flight_get(ngx_http_rcache_flight_t *flight)
{
    ngx_str_t              argv[2];
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(1024 + 2 * flight->key.len,
                                   ngx_cycle->log);
    if (op == NULL) {
        ngx_http_rcache_flight_look(flight);
        return;
    }

    ngx_str_set(&argv[0], "GET");
    argv[1] = flight->key;

    if (ngx_http_rcache_op_command(op, argv, 2, NULL) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        ngx_http_rcache_flight_look(flight);
        return;
    }

    if (ngx_http_rcache_flight_submit(flight, op, ngx_http_rcache_flight_got,
                                      NGX_HTTP_RCACHE_MAX_REPLY)
        != NGX_OK)
    {
        ngx_http_rcache_flight_look(flight);
    }
}


static void
ngx_http_rcache_flight_got(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_flight_t *flight = op->data;

    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    flight->op = NULL;

    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        ngx_http_rcache_flight_look(flight);
        return;
    }

    b = ngx_calloc_buf(op->pool);
    cl = ngx_alloc_chain_link(op->pool);

    if (b == NULL || cl == NULL) {
        ngx_http_rcache_flight_look(flight);
        return;
    }

    b->pos = reply->str.data;
    b->last = b->pos + reply->str.len;
    b->memory = 1;

    cl->buf = b;
    cl->next = NULL;

    op->keep = 1;

    flight->cargo = op;
    flight->payload = cl;
    flight->size = reply->str.len;

    ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_FOUND, '+', 0);
}


void
ngx_http_rcache_flight_look(ngx_http_rcache_flight_t *flight)
{
    ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_LOOK, '+', 0);
}


void
ngx_http_rcache_flight_timeout(ngx_event_t *ev)
{
    ngx_http_rcache_flight_t *flight = ev->data;

    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (flight->due - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(ev, (ngx_msec_t) left);
        return;
    }

    if (ngx_queue_empty(&flight->waiters)
        && (flight->state == NGX_HTTP_RCACHE_FLIGHT_BEHIND
            || flight->state == NGX_HTTP_RCACHE_FLIGHT_ABROAD))
    {
        if (flight->state == NGX_HTTP_RCACHE_FLIGHT_BEHIND) {
            ngx_http_rcache_flights_forget(flight->zone->flights,
                                           flight->hash);
        }

        ngx_http_rcache_flight_disown(flight);

        ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_LOOK, 'x', 0);
        return;
    }

    switch (flight->state) {

    case NGX_HTTP_RCACHE_FLIGHT_ASKING:

        ngx_http_rcache_flight_disown(flight);

        flight->remote = 0;
        ngx_http_rcache_flight_give(flight);
        return;

    case NGX_HTTP_RCACHE_FLIGHT_ABROAD:

        if (flight->op) {
            ngx_http_rcache_flight_due(flight, NGX_HTTP_RCACHE_POLL_ABROAD);
            return;
        }

        if (ngx_http_rcache_flight_ask(flight) != NGX_OK) {
            ngx_http_rcache_flight_give(flight);
        }

        return;

    case NGX_HTTP_RCACHE_FLIGHT_BEHIND:
        ngx_http_rcache_flight_start(flight);
        return;

    case NGX_HTTP_RCACHE_FLIGHT_LEADING:
        ngx_http_rcache_flight_leading(flight);
        return;

    case NGX_HTTP_RCACHE_FLIGHT_STORING:

        /*
         * Redis takes its time, and those who wait here need not: what is to
         * be stored is there until Redis answers, and is copied before.
         */

        if (flight->write && flight->write->payload) {
            flight->payload = flight->write->payload;
            flight->size = flight->write->size;

            flight->write->flight = NULL;

            /* nobody sees to the lock if the store comes to nothing */

            if (flight->locked) {
                flight->locked = 0;
                ngx_http_rcache_owe(flight, flight->zone->conf.timeout);
            }

            ngx_http_rcache_flight_land(flight, NGX_HTTP_RCACHE_TURN_FOUND,
                                        '+', 0);
            ngx_http_rcache_flight_now(flight);
        }

        return;

    default:
        return;
    }
}


/*
 * The answer may still be that we have the lock: it is given back by a command
 * on the same connection, behind the first.
 */

static void
ngx_http_rcache_flight_disown(ngx_http_rcache_flight_t *flight)
{
    if (flight->op == NULL
        || flight->op->handler != ngx_http_rcache_flight_asked)
    {
        return;
    }

    ngx_http_rcache_op_detach(flight->op);
    flight->op = NULL;

    flight->locked = 1;
    ngx_http_rcache_flight_unlock(flight, 'x', 0);
}


/* as long as the response arrives nobody else is to fetch it */

static void
ngx_http_rcache_flight_leading(ngx_http_rcache_flight_t *flight)
{
    ngx_msec_int_t  left;

    if (flight->moved && !flight->voided) {
        ngx_http_rcache_flight_extend(flight);
        ngx_http_rcache_flight_renew(flight);
        return;
    }

    left = (ngx_msec_int_t) (flight->expires - ngx_current_msec);

    if (left > 0) {
        ngx_http_rcache_flight_due(flight, ngx_min((ngx_msec_t) left,
                                                   flight->age / 3 + 1));
        return;
    }

    ngx_http_rcache_flight_overtake(flight);
}


void
ngx_http_rcache_flight_start(ngx_http_rcache_flight_t *flight)
{
    ngx_http_rcache_turn_e     turn;
    ngx_http_rcache_outcome_t  outcome;

    turn = ngx_http_rcache_flight_enter(flight, &outcome);

    switch (turn) {

    case NGX_HTTP_RCACHE_TURN_WAIT:

        if (flight->state != NGX_HTTP_RCACHE_FLIGHT_BEHIND) {
            flight->state = NGX_HTTP_RCACHE_FLIGHT_BEHIND;
            ngx_queue_insert_tail(&flight->zone->behind, &flight->behind);
        }

        ngx_http_rcache_flight_due(flight, NGX_HTTP_RCACHE_POLL_BEHIND);
        return;

    case NGX_HTTP_RCACHE_TURN_LEAD:

        if (flight->state == NGX_HTTP_RCACHE_FLIGHT_BEHIND) {
            ngx_queue_remove(&flight->behind);
            flight->behind.next = NULL;
            flight->state = NGX_HTTP_RCACHE_FLIGHT_ASKING;
        }

        if (ngx_http_rcache_flight_ask(flight) != NGX_OK) {
            ngx_http_rcache_flight_give(flight);
        }

        return;

    case NGX_HTTP_RCACHE_TURN_FOUND:
        ngx_http_rcache_flight_unpack(flight, &outcome.payload);
        flight->sent = outcome.sent;

        if (flight->payload == NULL) {
            turn = NGX_HTTP_RCACHE_TURN_LOOK;
        }

        break;

    default:
        break;
    }

    ngx_http_rcache_flight_land(flight, turn, 'x', 0);
}


/* the payload is malloc()ed, and goes with the flight */

static void
ngx_http_rcache_flight_unpack(ngx_http_rcache_flight_t *flight,
    ngx_str_t *payload)
{
    ngx_buf_t           *b;
    ngx_chain_t         *cl;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(flight->pool, 0);
    if (cln == NULL) {
        ngx_free(payload->data);
        return;
    }

    cln->handler = ngx_http_rcache_flight_free;
    cln->data = payload->data;

    b = ngx_calloc_buf(flight->pool);
    cl = ngx_alloc_chain_link(flight->pool);

    if (b == NULL || cl == NULL) {
        return;
    }

    b->pos = payload->data;
    b->last = payload->data + payload->len;
    b->memory = 1;

    cl->buf = b;
    cl->next = NULL;

    flight->payload = cl;
    flight->size = payload->len;
}


static void
ngx_http_rcache_flight_free(void *data)
{
    ngx_free(data);
}


void
ngx_http_rcache_flights_woken(void *data)
{
    ngx_http_rcache_main_conf_t *rmcf = data;

    ngx_uint_t                  i;
    ngx_queue_t                *q, *next;
    ngx_http_rcache_zone_t    **zones;
    ngx_http_rcache_flight_t   *flight;

    zones = rmcf->zones.elts;

    for (i = 0; i < rmcf->zones.nelts; i++) {

        for (q = ngx_queue_head(&zones[i]->behind);
             q != ngx_queue_sentinel(&zones[i]->behind);
             q = next)
        {
            next = ngx_queue_next(q);

            flight = ngx_queue_data(q, ngx_http_rcache_flight_t, behind);

            /* at once, but not from inside of this loop */

            ngx_http_rcache_flight_due(flight, 0);
        }
    }
}


/* no one waits for the answer: if it is lost, the store finds out */

void
ngx_http_rcache_flight_renew(ngx_http_rcache_flight_t *flight)
{
    ngx_http_rcache_op_t  *op;

    if (!flight->locked) {
        return;
    }

    op = ngx_http_rcache_op_create(1024 + flight->key.len, ngx_cycle->log);
    if (op == NULL) {
        return;
    }

    if (ngx_http_rcache_renew_command(op, &flight->node.str, &flight->token,
                                      flight->age)
        != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return;
    }

    op->lane = NGX_HTTP_RCACHE_LANE_LOOKUP;
    op->command = RCACHE_COMMAND_LOCK;
    op->max_reply = 1024;

    if (ngx_http_rcache_zone_submit(flight->zone, op) == RCACHE_REASON_NONE) {
        ngx_http_rcache_op_detach(op);
    }
}
