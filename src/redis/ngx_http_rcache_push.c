
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The connection on which the server speaks unasked.  What comes is taken by
 * the receiver, see ngx_http_rcache_conn.h: a message goes to its channel,
 * anything else has to be the answer to the command that was sent first.
 *
 * The connection is never held against the server: lookups and stores find
 * out for themselves, and a server that is well may refuse subscriptions, or
 * one more connection.  It has a back-off of its own, and waits for the end of
 * that of the lanes as well.
 */


#include "ngx_http_rcache_cluster.h"
#include "ngx_http_rcache_sentinel.h"


/* milliseconds without subscriptions, then the connection is closed */
#define NGX_HTTP_RCACHE_PUSH_IDLE     60000

/* milliseconds of silence, then the server is asked whether it is there */
#define NGX_HTTP_RCACHE_PUSH_PING     15000

/* milliseconds without a refusal that make an acceptance worth a line */
#define NGX_HTTP_RCACHE_PUSH_CALM     1000

/* of a channel's name, of a message */
#define NGX_HTTP_RCACHE_PUSH_MAX      65536

/* of what a refusal says in the log */
#define NGX_HTTP_RCACHE_PUSH_WHY_MAX  256


static ngx_int_t ngx_http_rcache_push_name(ngx_http_rcache_push_t *push,
    const char *name, ngx_http_rcache_channel_t *channel,
    ngx_http_rcache_op_pt handler);
static ngx_int_t ngx_http_rcache_push_command(ngx_http_rcache_push_t *push,
    ngx_str_t *argv, ngx_uint_t argc, ngx_http_rcache_channel_t *channel,
    ngx_http_rcache_op_pt handler);
static void ngx_http_rcache_push_receive(ngx_http_rcache_push_t *push);
static void ngx_http_rcache_push_receive_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_push_message(ngx_http_rcache_push_t *push,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_push_answer(ngx_http_rcache_push_t *push,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_push_subscribe_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_push_unsubscribe_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_push_ping_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static ngx_uint_t ngx_http_rcache_push_is(ngx_http_rcache_reply_t *reply,
    const char *kind, ngx_uint_t n);
static ngx_uint_t ngx_http_rcache_push_confirms(
    ngx_http_rcache_reply_t *reply, const char *kind, ngx_str_t *channel);
static void ngx_http_rcache_push_invalid(ngx_http_rcache_push_t *push,
    const char *what);
static void ngx_http_rcache_push_timer_handler(ngx_event_t *ev);
static void ngx_http_rcache_push_watch(ngx_http_rcache_push_t *push);
static ngx_http_rcache_op_t *ngx_http_rcache_push_asked(
    ngx_http_rcache_push_t *push);
static void ngx_http_rcache_push_refused(ngx_http_rcache_push_t *push,
    ngx_str_t *why);
static void ngx_http_rcache_push_accepted(ngx_http_rcache_push_t *push);


void
ngx_http_rcache_push_open(ngx_http_rcache_push_t *push)
{
    ngx_msec_int_t           left;
    ngx_http_rcache_conn_t  *conn;
    ngx_http_rcache_node_t  *node;

    conn = &push->conn;

    /* while it is idle the timer is that of the back-off */

    if (conn->state != NGX_HTTP_RCACHE_CONN_IDLE
        || conn->timer.timer_set
        || ngx_exiting
        || ngx_http_rcache_push_unused(push))
    {
        return;
    }

    /* a message goes to all nodes of a cluster, so any will do */

    if (push->watch) {
        conn->node = ngx_http_rcache_sentinel_next(push->watch);

    } else if (conn->redis->cluster && push->track == NULL) {
        conn->node = ngx_http_rcache_cluster_any(conn->redis->cluster);
    }

    node = conn->node;

    left = (ngx_msec_int_t) (node->retry_at - ngx_current_msec);

    if (node->down && left > 0) {
        ngx_add_timer(&conn->timer, (ngx_msec_t) left);
        return;
    }

    ngx_http_rcache_conn_open(conn);
}


void
ngx_http_rcache_push_ready(ngx_http_rcache_push_t *push)
{
    ngx_rbtree_node_t          *node;
    ngx_http_rcache_channel_t  *channel;

    /* it is not to end the lanes' back-off */

    push->conn.good = 1;
    push->quiet = ngx_current_msec;

    ngx_add_timer(&push->conn.timer, NGX_HTTP_RCACHE_PUSH_PING);

    ngx_http_rcache_push_receive(push);

    if (push->conn.state != NGX_HTTP_RCACHE_CONN_READY
        || ngx_http_rcache_push_unused(push)
        || (push->track && ngx_http_rcache_track_listen(push->track) != NGX_OK))
    {
        return;
    }

    for (node = ngx_rbtree_min(push->channels.root, push->channels.sentinel);
         node;
         node = ngx_rbtree_next(&push->channels, node))
    {
        channel = (ngx_http_rcache_channel_t *) node;

        if (push->conn.state != NGX_HTTP_RCACHE_CONN_READY
            || ngx_http_rcache_push_subscribe(push, channel) != NGX_OK)
        {
            return;
        }
    }
}


ngx_int_t
ngx_http_rcache_push_subscribe(ngx_http_rcache_push_t *push,
    ngx_http_rcache_channel_t *channel)
{
    channel->subscribed = 0;
    channel->serial = ++push->serial;

    return ngx_http_rcache_push_name(push, "SUBSCRIBE", channel,
                                     ngx_http_rcache_push_subscribe_handler);
}


void
ngx_http_rcache_push_unsubscribe(ngx_http_rcache_push_t *push,
    ngx_http_rcache_channel_t *channel)
{
    if (push->conn.state != NGX_HTTP_RCACHE_CONN_READY) {
        return;
    }

    if (ngx_exiting && ngx_http_rcache_push_unused(push)) {
        ngx_http_rcache_conn_close(&push->conn);
        return;
    }

    (void) ngx_http_rcache_push_name(push, "UNSUBSCRIBE", channel,
                                    ngx_http_rcache_push_unsubscribe_handler);
}


ngx_int_t
ngx_http_rcache_push_ask(ngx_http_rcache_push_t *push, ngx_str_t *argv,
    ngx_uint_t argc, ngx_http_rcache_op_pt handler)
{
    return ngx_http_rcache_push_command(push, argv, argc, NULL, handler);
}


ngx_int_t
ngx_http_rcache_push_ping(ngx_http_rcache_push_t *push)
{
    ngx_str_t  argv[1];

    ngx_str_set(&argv[0], "PING");

    return ngx_http_rcache_push_command(push, argv, 1, NULL,
                                        ngx_http_rcache_push_ping_handler);
}


static ngx_int_t
ngx_http_rcache_push_name(ngx_http_rcache_push_t *push, const char *name,
    ngx_http_rcache_channel_t *channel, ngx_http_rcache_op_pt handler)
{
    ngx_str_t  argv[2];

    argv[0].data = (u_char *) name;
    argv[0].len = ngx_strlen(name);
    argv[1] = channel->node.str;

    return ngx_http_rcache_push_command(push, argv, 2, channel, handler);
}


/* NGX_ERROR: there is no memory, and no connection any more */

static ngx_int_t
ngx_http_rcache_push_command(ngx_http_rcache_push_t *push, ngx_str_t *argv,
    ngx_uint_t argc, ngx_http_rcache_channel_t *channel,
    ngx_http_rcache_op_pt handler)
{
    ngx_msec_t                       timeout;
    ngx_http_rcache_op_t            *op;
    ngx_http_rcache_conn_t          *conn;
    ngx_http_rcache_push_command_t  *command;

    conn = &push->conn;
    timeout = conn->redis->conf->timeout;

    op = ngx_http_rcache_op_create(512, conn->redis->log);
    if (op == NULL) {
        goto failed;
    }

    command = ngx_pcalloc(op->pool, sizeof(ngx_http_rcache_push_command_t));
    if (command == NULL) {
        goto failed;
    }

    command->push = push;

    if (channel) {
        command->serial = channel->serial;
        command->channel.len = channel->node.str.len;
        command->channel.data = ngx_pstrdup(op->pool, &channel->node.str);
        if (command->channel.data == NULL) {
            goto failed;
        }
    }

    if (ngx_http_rcache_op_command(op, argv, argc, NULL) != NGX_OK) {
        goto failed;
    }

    op->handler = handler;
    op->data = command;
    op->since = ngx_current_msec;
    op->deadline = ngx_current_msec + timeout;

    if (ngx_http_rcache_push_asked(push) == NULL) {

        if (conn->timer.timer_set) {
            ngx_del_timer(&conn->timer);
        }

        ngx_add_timer(&conn->timer, timeout);
    }

    conn->unsent += op->size;

    ngx_http_rcache_conn_queue(conn, op);

    return NGX_OK;

failed:

    if (op) {
        ngx_http_rcache_op_free(op);
    }

    ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN, "no memory");

    return NGX_ERROR;
}


/*
 * It counts as an operation that waits, so a connection that is lost is never
 * one that nobody needed.
 */

static void
ngx_http_rcache_push_receive(ngx_http_rcache_push_t *push)
{
    ngx_http_rcache_op_t    *op;
    ngx_http_rcache_conn_t  *conn;

    conn = &push->conn;

    op = ngx_http_rcache_op_create(1024, conn->redis->log);
    if (op == NULL) {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN, "no memory");
        return;
    }

    op->handler = ngx_http_rcache_push_receive_handler;
    op->data = push;
    op->max_reply = NGX_HTTP_RCACHE_PUSH_MAX;

    ngx_queue_insert_head(&conn->pending, &op->queue);

    conn->nops++;
    push->receiver = op;
}


static void
ngx_http_rcache_push_receive_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_push_t *push = op->data;

    ngx_uint_t               serial;
    ngx_http_rcache_conn_t  *conn;

    conn = &push->conn;

    push->receiver = NULL;

    if (conn->state != NGX_HTTP_RCACHE_CONN_READY) {
        return;
    }

    serial = conn->serial;

    if (reply && ngx_http_rcache_push_is(reply, "message", 3)) {
        ngx_http_rcache_push_message(push, reply);

    } else {
        ngx_http_rcache_push_answer(push, reply);
    }

    if (conn->serial == serial) {
        ngx_http_rcache_push_receive(push);
    }
}


static void
ngx_http_rcache_push_message(ngx_http_rcache_push_t *push,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_channel_t  *channel;

    if (push->track
        && (reply->element[2]->type == REDIS_REPLY_ARRAY
            || reply->element[2]->type == REDIS_REPLY_NIL))
    {
        ngx_http_rcache_track_message(push->track, reply->element[2]);
        return;
    }

    if (reply->element[1]->type != REDIS_REPLY_STRING
        || reply->element[2]->type != REDIS_REPLY_STRING)
    {
        ngx_http_rcache_push_invalid(push, "the message is no string");
        return;
    }

    channel = ngx_http_rcache_channel_find(push, &reply->element[1]->str);

    /*
     * A message that comes before the confirmation is due to a subscription
     * that was given up; who has just come will ask for what was before.
     */

    if (channel && channel->subscribed) {
        ngx_http_rcache_channel_tell(channel, &reply->element[2]->str);
    }
}


static void
ngx_http_rcache_push_answer(ngx_http_rcache_push_t *push,
    ngx_http_rcache_reply_t *reply)
{
    ngx_queue_t             *q;
    ngx_http_rcache_op_t    *op;
    ngx_http_rcache_conn_t  *conn;

    conn = &push->conn;

    if (reply == NULL || ngx_queue_empty(&conn->pending)) {
        ngx_http_rcache_push_invalid(push, "nothing was asked");
        return;
    }

    q = ngx_queue_head(&conn->pending);
    ngx_queue_remove(q);

    op = ngx_queue_data(q, ngx_http_rcache_op_t, queue);

    ngx_http_rcache_op_finish(op, reply);
}


static void
ngx_http_rcache_push_subscribe_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_push_command_t *command = op->data;

    ngx_http_rcache_push_t     *push;
    ngx_http_rcache_channel_t  *channel;

    push = command->push;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {

        if (push->track) {
            ngx_http_rcache_track_refused(push->track, &reply->str);
            return;
        }

        /* it may be another channel that is allowed: the connection stays */

        ngx_http_rcache_push_refused(push, &reply->str);
        return;
    }

    if (!ngx_http_rcache_push_confirms(reply, "subscribe", &command->channel))
    {
        ngx_http_rcache_push_invalid(push, "SUBSCRIBE is not confirmed");
        return;
    }

    ngx_http_rcache_push_accepted(push);

    channel = ngx_http_rcache_channel_find(push, &command->channel);

    /* or it was given up, and perhaps asked for anew since */

    if (channel && channel->serial == command->serial) {
        channel->subscribed = 1;
        ngx_http_rcache_channel_tell(channel, NULL);
    }
}


static void
ngx_http_rcache_push_unsubscribe_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_push_command_t *command = op->data;

    /* after an error messages come that nobody wants, which does no harm */

    if (reply == NULL
        || reply->type == REDIS_REPLY_ERROR
        || ngx_http_rcache_push_confirms(reply, "unsubscribe",
                                         &command->channel))
    {
        return;
    }

    ngx_http_rcache_push_invalid(command->push,
                                 "UNSUBSCRIBE is not confirmed");
}


/* without a subscription it is answered as anywhere else */

static void
ngx_http_rcache_push_ping_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_push_command_t *command = op->data;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {

        if (command->push->track) {
            ngx_http_rcache_track_refused(command->push->track, &reply->str);
        }

        return;
    }

    if (reply->type == REDIS_REPLY_STATUS
        || ngx_http_rcache_push_is(reply, "pong", 2))
    {
        if (command->push->track) {
            ngx_http_rcache_track_alive(command->push->track, op->since);
        }

        return;
    }

    ngx_http_rcache_push_invalid(command->push, "PING is not answered");
}


static ngx_uint_t
ngx_http_rcache_push_is(ngx_http_rcache_reply_t *reply, const char *kind,
    ngx_uint_t n)
{
    ngx_str_t  *str;

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->integer != (int64_t) n
        || reply->element[0]->type != REDIS_REPLY_STRING)
    {
        return 0;
    }

    str = &reply->element[0]->str;

    return str->len == ngx_strlen(kind)
           && ngx_memcmp(str->data, kind, str->len) == 0;
}


static ngx_uint_t
ngx_http_rcache_push_confirms(ngx_http_rcache_reply_t *reply,
    const char *kind, ngx_str_t *channel)
{
    ngx_str_t  *str;

    if (!ngx_http_rcache_push_is(reply, kind, 3)
        || reply->element[1]->type != REDIS_REPLY_STRING
        || reply->element[2]->type != REDIS_REPLY_INTEGER)
    {
        return 0;
    }

    str = &reply->element[1]->str;

    return str->len == channel->len
           && ngx_memcmp(str->data, channel->data, str->len) == 0;
}


static void
ngx_http_rcache_push_invalid(ngx_http_rcache_push_t *push, const char *what)
{
    ngx_http_rcache_conn_fail(&push->conn, NGX_HTTP_RCACHE_OP_DOWN,
                              "invalid reply: %s", what);
}


static void
ngx_http_rcache_push_timer_handler(ngx_event_t *ev)
{
    ngx_http_rcache_conn_t *conn = ev->data;

    switch (conn->state) {

    case NGX_HTTP_RCACHE_CONN_IDLE:
        ngx_http_rcache_push_open(conn->push);
        break;

    case NGX_HTTP_RCACHE_CONN_READY:
        ngx_http_rcache_push_watch(conn->push);
        break;

    default:
        ngx_http_rcache_conn_timer_handler(ev);
    }
}


static void
ngx_http_rcache_push_watch(ngx_http_rcache_push_t *push)
{
    ngx_msec_int_t                   left;
    ngx_http_rcache_op_t            *op;
    ngx_http_rcache_conn_t          *conn;
    ngx_http_rcache_push_command_t  *command;

    conn = &push->conn;

    op = ngx_http_rcache_push_asked(push);

    if (op) {
        left = (ngx_msec_int_t) (op->deadline - ngx_current_msec);

        if (left <= 0) {
            command = op->data;

            if (command->late) {
                ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_TIMEOUT,
                                          "a command timed out");
                return;
            }

            /*
             * As in ngx_http_rcache_conn_timer_handler(); but messages are
             * no sign that an answer is under way.
             */

            command->late = 1;
            left = conn->redis->conf->timeout / 8 + 1;
            op->deadline = ngx_current_msec + left;
        }

    } else if (ngx_http_rcache_push_unused(push)) {
        left = (ngx_msec_int_t) (push->quiet + NGX_HTTP_RCACHE_PUSH_IDLE
                                 - ngx_current_msec);
        if (left <= 0) {
            ngx_http_rcache_conn_close(conn);
            return;
        }

    } else {
        left = (ngx_msec_int_t) (conn->progress + NGX_HTTP_RCACHE_PUSH_PING
                                 - ngx_current_msec);
        if (left <= 0) {
            (void) ngx_http_rcache_push_ping(push);
            return;
        }
    }

    ngx_add_timer(&conn->timer, (ngx_msec_t) left);
}


/* the command that has waited longest for its answer */

static ngx_http_rcache_op_t *
ngx_http_rcache_push_asked(ngx_http_rcache_push_t *push)
{
    ngx_queue_t             *q;
    ngx_http_rcache_conn_t  *conn;

    conn = &push->conn;

    q = ngx_queue_head(&conn->pending);

    if (push->receiver && q == &push->receiver->queue) {
        q = ngx_queue_next(q);
    }

    if (q == ngx_queue_sentinel(&conn->pending)) {

        if (ngx_queue_empty(&conn->sending)) {
            return NULL;
        }

        q = ngx_queue_head(&conn->sending);
    }

    return ngx_queue_data(q, ngx_http_rcache_op_t, queue);
}


void
ngx_http_rcache_push_failed(ngx_http_rcache_push_t *push, ngx_str_t *why)
{
    ngx_msec_t               retry;
    ngx_msec_int_t           left;
    ngx_http_rcache_node_t  *node;

    node = push->conn.node;

    push->backoff = push->backoff ? push->backoff * 2
                                  : NGX_HTTP_RCACHE_BACKOFF_MIN;

    push->backoff = ngx_min(push->backoff, NGX_HTTP_RCACHE_BACKOFF_MAX);

    /* as in ngx_http_rcache_node_failed() */

    retry = push->backoff - push->backoff / 4
            + (ngx_msec_t) ngx_random() % (push->backoff / 2 + 1);

    left = (ngx_msec_int_t) (node->retry_at - ngx_current_msec);

    if (node->down && left > (ngx_msec_int_t) retry) {
        retry = (ngx_msec_t) left;
    }

    ngx_add_timer(&push->conn.timer, retry);

    if (!node->down
        && push->backoff == NGX_HTTP_RCACHE_BACKOFF_MAX
        && push->track == NULL)
    {

        /* it lasts, and the lanes do not tell of it */

        ngx_http_rcache_push_refused(push, why);
        return;
    }

    ngx_log_error(NGX_LOG_INFO, push->conn.redis->log, 0,
                  "redis \"%V\": subscriptions are interrupted: %V",
                  &node->name, why);
}


static void
ngx_http_rcache_push_refused(ngx_http_rcache_push_t *push, ngx_str_t *why)
{
    size_t     i;
    ngx_str_t  text;

    push->refused_at = ngx_current_msec;

    if (push->refused) {
        return;
    }

    push->refused = 1;

    text.data = why->data;
    text.len = ngx_min(why->len, NGX_HTTP_RCACHE_PUSH_WHY_MAX);

    for (i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] > 0x7e) {
            text.data[i] = '.';
        }
    }

    ngx_log_error(NGX_LOG_ERR, push->conn.redis->log, 0,
                  "redis \"%V\" refuses subscriptions: %V",
                  &push->conn.node->name, &text);
}


static void
ngx_http_rcache_push_accepted(ngx_http_rcache_push_t *push)
{
    push->backoff = 0;

    /* a user may have been granted some channels and not others */

    if (!push->refused
        || ngx_current_msec - push->refused_at < NGX_HTTP_RCACHE_PUSH_CALM)
    {
        return;
    }

    push->refused = 0;

    ngx_log_error(NGX_LOG_NOTICE, push->conn.redis->log, 0,
                  "redis \"%V\" accepts subscriptions again",
                  &push->conn.node->name);
}


void
ngx_http_rcache_push_init(ngx_http_rcache_push_t *push)
{
    push->conn.push = push;
    push->conn.timer.handler = ngx_http_rcache_push_timer_handler;

    ngx_http_rcache_channel_init(push);
}


/* the receiver is there whenever there is a connection */

void
ngx_http_rcache_push_cleanup(ngx_http_rcache_push_t *push)
{
    ngx_uint_t             i;
    ngx_queue_t           *q, *queues[2];
    ngx_http_rcache_op_t  *op;

    ngx_http_rcache_reader_free(&push->conn);

    queues[0] = &push->conn.pending;
    queues[1] = &push->conn.sending;

    for (i = 0; i < 2; i++) {

        while (!ngx_queue_empty(queues[i])) {
            q = ngx_queue_head(queues[i]);
            ngx_queue_remove(q);

            op = ngx_queue_data(q, ngx_http_rcache_op_t, queue);
            ngx_http_rcache_op_free(op);
        }
    }

    ngx_http_rcache_channel_cleanup(push);
}
