
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What was read from a server, and is kept: the server tells when it changes.
 * That is CLIENT TRACKING as RESP2 has it.  The lane for lookups asks for it,
 * key by key, and what there is to tell comes on another connection, the
 * listener, a machine of its own (ngx_http_rcache_push.c):
 *
 *     listener                        lane for lookups
 *     INFO server, CLIENT ID
 *     SUBSCRIBE __redis__:invalidate
 *                                     INFO server
 *                                     CLIENT TRACKING ON REDIRECT id OPTIN
 *
 *                                     CLIENT CACHING YES
 *                                     PTTL key
 *                                     GET key
 *     message: key
 *     PING
 *
 * It is PTTL that is tracked: GET comes behind it, so a change in between is
 * told of as well.  INFO tells whether both are connections to one server, for
 * a name or a proxy may lead elsewhere, and a number of a client means nothing
 * there.
 *
 * An answer to PING comes behind all that the server had to tell when it was
 * asked.  Without one nobody could tell silence from a connection that is
 * dead.  It is asked only as long as somebody counts on it.
 *
 * If one of the two is lost, what was read counts for nothing; then both are
 * made anew.
 */


#include "ngx_http_rcache_conn.h"


/* milliseconds */
#define NGX_HTTP_RCACHE_TRACK_BEAT   300
#define NGX_HTTP_RCACHE_TRACK_RETRY  60000
#define NGX_HTTP_RCACHE_TRACK_AGAIN  1000

#define NGX_HTTP_RCACHE_TRACK_RUN    40

#define NGX_HTTP_RCACHE_TRACK_REPLY  65536


struct ngx_http_rcache_track_s {
    ngx_http_rcache_node_t     *node;
    ngx_http_rcache_push_t      push;          /* the listener */
    ngx_http_rcache_sub_t       sub;
    ngx_event_t                 beat;

    int64_t                     id;            /* of the listener; 0: unknown */
    u_char                      run[NGX_HTTP_RCACHE_TRACK_RUN];
    int64_t                     asked;         /* the same, that TRACKING has,
                                                  not yet answered; or 0 */
    ngx_int_t                   n;             /* see tracking->begin */
    ngx_msec_t                  pause;         /* nothing is tried until then */

    unsigned                    paused:1;
    unsigned                    known:1;       /* run is */
    unsigned                    listens:1;
    unsigned                    same:1;        /* one server */
    unsigned                    on:1;
};


static ngx_http_rcache_track_t *ngx_http_rcache_track_create(
    ngx_http_rcache_node_t *node);
static void ngx_http_rcache_track_start(ngx_http_rcache_track_t *track);
static ngx_int_t ngx_http_rcache_track_send(ngx_http_rcache_node_t *node,
    ngx_str_t *argv, ngx_uint_t argc, ngx_http_rcache_op_pt handler,
    void *data);
static void ngx_http_rcache_track_info_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_track_id_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_track_subscribed(ngx_http_rcache_sub_t *sub,
    ngx_str_t *message);
static void ngx_http_rcache_track_same_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_track_on_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_track_caching_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_track_ttl_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static u_char *ngx_http_rcache_track_run(ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_track_pause(ngx_http_rcache_track_t *track,
    ngx_msec_t pause);
static void ngx_http_rcache_track_odd(ngx_http_rcache_track_t *track,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_track_beat(ngx_http_rcache_track_t *track);
static void ngx_http_rcache_track_beat_handler(ngx_event_t *ev);


void
ngx_http_rcache_track_op(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_t *op)
{
    ngx_str_t                 argv[3];
    ngx_http_rcache_conn_t   *conn;
    ngx_http_rcache_track_t  *track;

    op->tracked = 0;

    conn = &node->lanes[NGX_HTTP_RCACHE_LANE_LOOKUP];

    if (conn->redis->conf->tracking == NULL
        || conn->state != NGX_HTTP_RCACHE_CONN_READY
        || conn->nops + 3 > conn->redis->conf->queue)
    {
        return;
    }

    track = node->track;

    if (track == NULL) {
        track = ngx_http_rcache_track_create(node);
        if (track == NULL) {
            return;
        }
    }

    if (!track->on) {
        ngx_http_rcache_track_start(track);
        return;
    }

    if (!track->beat.timer_set) {
        ngx_http_rcache_track_beat(track);

        if (!track->on) {
            return;
        }
    }

    ngx_str_set(&argv[0], "CLIENT");
    ngx_str_set(&argv[1], "CACHING");
    ngx_str_set(&argv[2], "YES");

    if (ngx_http_rcache_track_send(node, argv, 3,
                                   ngx_http_rcache_track_caching_handler, track)
        != NGX_OK)
    {
        return;
    }

    ngx_str_set(&argv[0], "PTTL");
    argv[1] = op->key;

    if (ngx_http_rcache_track_send(node, argv, 2,
                                   ngx_http_rcache_track_ttl_handler, op)
        != NGX_OK)
    {
        return;
    }

    op->tracked = 1;
    op->tracker = track->n;
    op->ttl = -2;
}


static ngx_http_rcache_track_t *
ngx_http_rcache_track_create(ngx_http_rcache_node_t *node)
{
    ngx_http_rcache_track_t  *track;

    track = ngx_pcalloc(ngx_cycle->pool, sizeof(ngx_http_rcache_track_t));
    if (track == NULL) {
        return NULL;
    }

    track->node = node;

    ngx_http_rcache_conn_init(&track->push.conn, node);
    ngx_http_rcache_push_init(&track->push);

    track->push.track = track;

    ngx_str_set(&track->sub.channel, "__redis__:invalidate");
    track->sub.handler = ngx_http_rcache_track_subscribed;
    track->sub.data = track;

    track->beat.handler = ngx_http_rcache_track_beat_handler;
    track->beat.data = track;
    track->beat.log = node->redis->log;
    track->beat.cancelable = 1;

    node->track = track;

    return track;
}


/* one step more, if it is not another's turn */

static void
ngx_http_rcache_track_start(ngx_http_rcache_track_t *track)
{
    u_char                   buf[NGX_INT64_LEN];
    ngx_str_t                argv[6];
    ngx_http_rcache_node_t  *node;

    if (ngx_exiting) {
        return;
    }

    if (track->paused) {

        if ((ngx_msec_int_t) (track->pause - ngx_current_msec) > 0) {
            return;
        }

        track->paused = 0;
    }

    node = track->node;

    if (track->sub.node == NULL) {
        ngx_http_rcache_push_join(&track->push, &track->sub);
        return;
    }

    if (track->push.conn.state == NGX_HTTP_RCACHE_CONN_IDLE) {
        ngx_http_rcache_push_open(&track->push);
        return;
    }

    if (!track->listens
        || track->asked
        || node->lanes[NGX_HTTP_RCACHE_LANE_LOOKUP].state
           != NGX_HTTP_RCACHE_CONN_READY)
    {
        return;
    }

    track->same = 0;

    ngx_str_set(&argv[0], "INFO");
    ngx_str_set(&argv[1], "server");

    if (ngx_http_rcache_track_send(node, argv, 2,
                                   ngx_http_rcache_track_same_handler, track)
        != NGX_OK)
    {
        return;
    }

    ngx_str_set(&argv[0], "CLIENT");
    ngx_str_set(&argv[1], "TRACKING");
    ngx_str_set(&argv[2], "ON");
    ngx_str_set(&argv[3], "REDIRECT");
    argv[4].data = buf;
    argv[4].len = ngx_sprintf(buf, "%L", track->id) - buf;
    ngx_str_set(&argv[5], "OPTIN");

    if (ngx_http_rcache_track_send(node, argv, 6,
                                   ngx_http_rcache_track_on_handler, track)
        == NGX_OK)
    {
        track->asked = track->id;
    }
}


static ngx_int_t
ngx_http_rcache_track_send(ngx_http_rcache_node_t *node, ngx_str_t *argv,
    ngx_uint_t argc, ngx_http_rcache_op_pt handler, void *data)
{
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(512, node->redis->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->lane = NGX_HTTP_RCACHE_LANE_LOOKUP;
    op->internal = 1;
    op->handler = handler;
    op->data = data;
    op->max_reply = NGX_HTTP_RCACHE_TRACK_REPLY;

    if (ngx_http_rcache_op_command(op, argv, argc, NULL) != NGX_OK
        || ngx_http_rcache_node_submit(node, op) != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_track_listen(ngx_http_rcache_track_t *track)
{
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "INFO");
    ngx_str_set(&argv[1], "server");

    if (ngx_http_rcache_push_ask(&track->push, argv, 2,
                                 ngx_http_rcache_track_info_handler)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "CLIENT");
    ngx_str_set(&argv[1], "ID");

    return ngx_http_rcache_push_ask(&track->push, argv, 2,
                                    ngx_http_rcache_track_id_handler);
}


static void
ngx_http_rcache_track_info_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_push_command_t *command = op->data;

    u_char                   *run;
    ngx_http_rcache_track_t  *track;

    if (reply == NULL) {
        return;
    }

    track = command->push->track;

    run = ngx_http_rcache_track_run(reply);

    if (run == NULL) {
        ngx_http_rcache_track_odd(track, reply);
        return;
    }

    ngx_memcpy(track->run, run, NGX_HTTP_RCACHE_TRACK_RUN);
    track->known = 1;
}


static void
ngx_http_rcache_track_id_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_push_command_t *command = op->data;

    if (reply == NULL) {
        return;
    }

    if (reply->type != REDIS_REPLY_INTEGER || reply->integer <= 0) {
        ngx_http_rcache_track_odd(command->push->track, reply);
        return;
    }

    command->push->track->id = reply->integer;
}


/* any other message that is a string is nothing that Redis says here */

static void
ngx_http_rcache_track_subscribed(ngx_http_rcache_sub_t *sub,
    ngx_str_t *message)
{
    ngx_http_rcache_track_t *track = sub->data;

    if (message || track->id == 0 || !track->known) {
        return;
    }

    track->listens = 1;

    ngx_http_rcache_track_start(track);
}


static void
ngx_http_rcache_track_same_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_track_t *track = op->data;

    u_char  *run;

    if (reply == NULL) {
        return;
    }

    run = ngx_http_rcache_track_run(reply);

    track->same = (run
                   && track->known
                   && ngx_memcmp(run, track->run, NGX_HTTP_RCACHE_TRACK_RUN)
                      == 0);
}


static void
ngx_http_rcache_track_on_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_track_t *track = op->data;

    int64_t                      id;
    ngx_str_t                    none;
    ngx_http_rcache_tracking_t  *tracking;

    id = track->asked;
    track->asked = 0;

    if (reply == NULL || !track->listens) {
        return;
    }

    if (id != track->id) {

        /* it was for a listener that has been lost since */

        ngx_http_rcache_track_start(track);
        return;
    }

    if (reply->type != REDIS_REPLY_STATUS) {
        ngx_http_rcache_track_odd(track, reply);
        return;
    }

    if (!track->same) {
        ngx_log_error(NGX_LOG_INFO, track->node->redis->log, 0,
                      "redis \"%V\": two connections lead to two servers",
                      &track->node->name);

        ngx_http_rcache_track_pause(track, NGX_HTTP_RCACHE_TRACK_AGAIN);
        return;
    }

    tracking = track->node->redis->conf->tracking;

    track->n = tracking->begin(tracking->data);

    if (track->n == NGX_ERROR) {
        ngx_http_rcache_track_pause(track, NGX_HTTP_RCACHE_TRACK_RETRY);
        return;
    }

    track->on = 1;

    ngx_str_null(&none);
    tracking->state(tracking->data, 0, &track->node->name, &none);

    /* nothing has been read so far that could have changed */

    tracking->alive(tracking->data, track->n, ngx_current_msec);

    ngx_http_rcache_track_beat(track);
}


static void
ngx_http_rcache_track_caching_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_track_t *track = op->data;

    if (reply && reply->type != REDIS_REPLY_STATUS && track->on) {
        ngx_http_rcache_track_odd(track, reply);
    }
}


/* the operation that it is for is behind it, and is answered later */

static void
ngx_http_rcache_track_ttl_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_op_t *lookup = op->data;

    if (reply && reply->type == REDIS_REPLY_INTEGER && reply->integer != -2) {
        lookup->ttl = reply->integer;
        return;
    }

    lookup->tracked = 0;
}


static u_char *
ngx_http_rcache_track_run(ngx_http_rcache_reply_t *reply)
{
    u_char  *p, *last;

    if (reply->type != REDIS_REPLY_STRING) {
        return NULL;
    }

    last = reply->str.data + reply->str.len;

    p = ngx_strlcasestrn(reply->str.data, last, (u_char *) "run_id:",
                         sizeof("run_id:") - 2);
    if (p == NULL) {
        return NULL;
    }

    p += sizeof("run_id:") - 1;

    return (last - p >= NGX_HTTP_RCACHE_TRACK_RUN) ? p : NULL;
}


static void
ngx_http_rcache_track_odd(ngx_http_rcache_track_t *track,
    ngx_http_rcache_reply_t *reply)
{
    ngx_str_t  text;

    if (reply->type == REDIS_REPLY_ERROR) {
        text = reply->str;

    } else {
        ngx_str_set(&text, "a reply of an unexpected type");
    }

    ngx_http_rcache_track_refused(track, &text);
}


void
ngx_http_rcache_track_refused(ngx_http_rcache_track_t *track, ngx_str_t *why)
{
    ngx_http_rcache_tracking_t  *tracking;

    tracking = track->node->redis->conf->tracking;

    tracking->state(tracking->data, 1, &track->node->name, why);

    ngx_http_rcache_track_pause(track, NGX_HTTP_RCACHE_TRACK_RETRY);
}


static void
ngx_http_rcache_track_pause(ngx_http_rcache_track_t *track, ngx_msec_t pause)
{
    ngx_http_rcache_track_close(track);

    track->paused = 1;
    track->pause = ngx_current_msec + pause;
}


void
ngx_http_rcache_track_message(ngx_http_rcache_track_t *track,
    ngx_http_rcache_reply_t *keys)
{
    ngx_int_t                     i;
    ngx_http_rcache_tracking_t   *tracking;

    if (!track->on) {
        return;
    }

    tracking = track->node->redis->conf->tracking;

    if (keys->type == REDIS_REPLY_NIL) {
        tracking->changed(tracking->data, track->n, NULL);
        return;
    }

    for (i = 0; i < keys->integer; i++) {
        tracking->changed(tracking->data, track->n,
                          (keys->element[i]->type == REDIS_REPLY_STRING)
                          ? &keys->element[i]->str : NULL);
    }
}


void
ngx_http_rcache_track_alive(ngx_http_rcache_track_t *track, ngx_msec_t since)
{
    ngx_http_rcache_tracking_t  *tracking;

    if (track->on) {
        tracking = track->node->redis->conf->tracking;
        tracking->alive(tracking->data, track->n, since);
    }
}


void
ngx_http_rcache_track_void(ngx_http_rcache_track_t *track)
{
    ngx_http_rcache_tracking_t  *tracking;

    if (track->on) {
        tracking = track->node->redis->conf->tracking;
        tracking->changed(tracking->data, track->n, NULL);
    }
}


void
ngx_http_rcache_track_lost(ngx_http_rcache_track_t *track)
{
    ngx_http_rcache_tracking_t  *tracking;

    if (track->on) {
        track->on = 0;

        tracking = track->node->redis->conf->tracking;
        tracking->end(tracking->data, track->n);
    }

    track->listens = 0;
    track->known = 0;
    track->id = 0;

    if (track->beat.timer_set) {
        ngx_del_timer(&track->beat);
    }

    if (track->push.conn.state != NGX_HTTP_RCACHE_CONN_IDLE) {
        ngx_http_rcache_conn_close(&track->push.conn);
    }
}


void
ngx_http_rcache_track_close(ngx_http_rcache_track_t *track)
{
    ngx_http_rcache_track_lost(track);

    /* of its back-off */

    if (track->push.conn.timer.timer_set) {
        ngx_del_timer(&track->push.conn.timer);
    }

    ngx_http_rcache_push_leave(&track->push, &track->sub);
}


static void
ngx_http_rcache_track_beat(ngx_http_rcache_track_t *track)
{
    ngx_add_timer(&track->beat, NGX_HTTP_RCACHE_TRACK_BEAT);

    (void) ngx_http_rcache_push_ping(&track->push);
}


static void
ngx_http_rcache_track_beat_handler(ngx_event_t *ev)
{
    ngx_http_rcache_track_t *track = ev->data;

    ngx_http_rcache_tracking_t  *tracking;

    tracking = track->node->redis->conf->tracking;

    if (track->on && tracking->needed(tracking->data, track->n)) {
        ngx_http_rcache_track_beat(track);
    }
}


void
ngx_http_rcache_track_cleanup(ngx_http_rcache_track_t *track)
{
    ngx_http_rcache_push_cleanup(&track->push);
}
