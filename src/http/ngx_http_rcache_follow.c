
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The log of purges is a stream.  One worker of the instance follows it: XREAD
 * that blocks is answered the moment that a record is there, and if there is
 * none, after a while, which tells that the log is still heard.  It has a
 * connection of its own, with whatever belongs to one: it is another
 * ngx_http_rcache_redis_t with the same configuration.
 *
 * Without a word for a second the instance is blind.  Lookups bring along what
 * there is then: XREAD, without waiting, goes in front of GET.
 */


#include "ngx_http_rcache_follow.h"


/* milliseconds that XREAD waits */

#define NGX_HTTP_RCACHE_FOLLOW_BLOCK  300

/* until a worker looks again whether it is its turn, or Redis is back */

#define NGX_HTTP_RCACHE_FOLLOW_LOOK   200
#define NGX_HTTP_RCACHE_FOLLOW_RETRY  100

/* bytes of a reply: many large records all have to fit */

#define NGX_HTTP_RCACHE_FOLLOW_MAX    (64 * 1024 * 1024)

/* the log goes when nobody has followed it for so long, milliseconds: a year */

#define NGX_HTTP_RCACHE_FOLLOW_KEEP   "31622400000"


static ngx_atomic_uint_t ngx_http_rcache_follow_identity(
    ngx_http_rcache_zone_t *zone);
static void ngx_http_rcache_follow_timer_handler(ngx_event_t *ev);
static void ngx_http_rcache_follow_beat(ngx_http_rcache_follow_t *follow);
static ngx_int_t ngx_http_rcache_follow_ask(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_redis_t *redis, ngx_http_rcache_lane_e lane,
    ngx_uint_t n);


ngx_int_t
ngx_http_rcache_follow_init(ngx_cycle_t *cycle, ngx_http_rcache_zone_t *zone)
{
    u_char                    *p;
    ngx_http_rcache_follow_t  *follow;

    follow = ngx_pcalloc(cycle->pool, sizeof(ngx_http_rcache_follow_t));
    if (follow == NULL) {
        return NGX_ERROR;
    }

    follow->added = -1;
    follow->zone = zone;
    follow->purges = zone->health->purges;
    follow->pool = (ngx_slab_pool_t *) zone->shm->shm.addr;

    follow->key.len = zone->prefix.len + sizeof("!purges") - 1;
    follow->key.data = ngx_pnalloc(cycle->pool, follow->key.len);
    if (follow->key.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(follow->key.data, zone->prefix.data, zone->prefix.len);
    ngx_memcpy(p, "!purges", sizeof("!purges") - 1);

    follow->identity = ngx_http_rcache_follow_identity(zone);

    ngx_shmtx_lock(&follow->pool->mutex);

    ngx_http_rcache_purges_adopt(follow->purges, follow->identity);

    ngx_shmtx_unlock(&follow->pool->mutex);

    /* a command that waits is no server that does not answer */

    follow->conf = zone->conf;
    follow->conf.timeout += NGX_HTTP_RCACHE_FOLLOW_BLOCK;

    /* that Redis is gone is for those to tell who need it */

    follow->conf.notify = NULL;

    follow->redis = ngx_http_rcache_redis_create(cycle, &follow->conf);
    if (follow->redis == NULL) {
        return NGX_ERROR;
    }

    follow->regexes = ngx_http_rcache_regexes_create(cycle,
                                             &follow->purges->table->patterns,
                                             &follow->pool->mutex);
    if (follow->regexes == NULL) {
        return NGX_ERROR;
    }

    zone->follow = follow;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    follow->timer.handler = ngx_http_rcache_follow_timer_handler;
    follow->timer.data = follow;
    follow->timer.log = cycle->log;
    follow->timer.cancelable = 1;

    ngx_add_timer(&follow->timer, 1);

    return ngx_http_rcache_walk_init(cycle, zone);
}


/* where the log is, and its name */

static ngx_atomic_uint_t
ngx_http_rcache_follow_identity(ngx_http_rcache_zone_t *zone)
{
    uint64_t                   sum;
    ngx_uint_t                 i;
    ngx_http_rcache_server_t  *servers;

    sum = rcache_sum(zone->prefix.data, zone->prefix.len);
    sum = sum * 31 + rcache_sum(zone->conf.master.data,
                                zone->conf.master.len);
    sum = sum * 31 + zone->conf.db;

    servers = zone->conf.servers.elts;

    for (i = 0; i < zone->conf.servers.nelts; i++) {
        sum = sum * 31 + rcache_sum(servers[i].url.data, servers[i].url.len);
    }

    return (ngx_atomic_uint_t) sum | 1;
}


static void
ngx_http_rcache_follow_timer_handler(ngx_event_t *ev)
{
    ngx_http_rcache_follow_t *follow = ev->data;

    if (ngx_exiting) {
        ngx_http_rcache_purges_give_up(follow->purges);
        return;
    }

    if (!ngx_http_rcache_follow_moved(follow)
        && ngx_http_rcache_purges_lead(follow->purges))
    {
        ngx_http_rcache_follow_beat(follow);
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_RCACHE_FOLLOW_LOOK);
}


static void
ngx_http_rcache_follow_beat(ngx_http_rcache_follow_t *follow)
{
    ngx_str_t          argv[3];
    ngx_atomic_uint_t  hint;

    follow->began = ngx_current_msec;

    /* what an entry had that was read before the server is asked */

    hint = ngx_atomic_fetch_add(&follow->purges->hint, 0);

    follow->ahead.ms = (uint64_t) rcache_purge_time((uint64_t) hint);
    follow->ahead.seq = (uint64_t) hint & 0xfffff;

    (void) ngx_atomic_cmp_set(&follow->purges->hint, hint, 0);

    if (ngx_http_rcache_follow_ask(follow, follow->redis,
                                   NGX_HTTP_RCACHE_LANE_LOOKUP, 0)
        != NGX_OK)
    {
        ngx_add_timer(&follow->timer, NGX_HTTP_RCACHE_FOLLOW_RETRY);
        return;
    }

    if (follow->kept && ngx_current_msec - follow->kept < 3600 * 1000) {
        return;
    }

    follow->kept = ngx_current_msec | 1;

    ngx_str_set(&argv[0], "PEXPIRE");
    argv[1] = follow->key;
    ngx_str_set(&argv[2], NGX_HTTP_RCACHE_FOLLOW_KEEP);

    (void) ngx_http_rcache_follow_send(follow, follow->redis,
                                       NGX_HTTP_RCACHE_LANE_LOOKUP, argv, 3,
                                       ngx_http_rcache_follow_done, 0);
}


/* NGX_OK: the handler of XREAD will be called */

static ngx_int_t
ngx_http_rcache_follow_ask(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_redis_t *redis, ngx_http_rcache_lane_e lane, ngx_uint_t n)
{
    u_char             id[RCACHE_PURGE_ID_LEN];
    u_char             count[NGX_INT_T_LEN], block[NGX_INT_T_LEN];
    ngx_str_t          argv[8], *arg;
    rcache_purge_id_t  from;

    ngx_str_set(&argv[0], "XINFO");
    ngx_str_set(&argv[1], "STREAM");
    argv[2] = follow->key;

    if (ngx_http_rcache_follow_send(follow, redis, lane, argv, 3,
                                    ngx_http_rcache_follow_info_handler, n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_rcache_follow_last(follow, &from);

    arg = argv;

    ngx_str_set(arg, "XREAD");
    arg++;
    ngx_str_set(arg, "COUNT");
    arg++;
    arg->data = count;
    arg->len = ngx_sprintf(count, "%i",
                           (ngx_int_t) NGX_HTTP_RCACHE_FOLLOW_COUNT) - count;
    arg++;

    if (n == 0) {
        ngx_str_set(arg, "BLOCK");
        arg++;
        arg->data = block;
        arg->len = ngx_sprintf(block, "%i",
                               (ngx_int_t) NGX_HTTP_RCACHE_FOLLOW_BLOCK)
                   - block;
        arg++;
    }

    ngx_str_set(arg, "STREAMS");
    arg++;
    *arg++ = follow->key;
    arg->data = id;
    arg->len = ngx_sprintf(id, "%uL-%uL", from.ms, from.seq) - id;
    arg++;

    return ngx_http_rcache_follow_send(follow, redis, lane, argv, arg - argv,
                                       ngx_http_rcache_follow_read_handler, n);
}


ngx_int_t
ngx_http_rcache_follow_send(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_redis_t *redis, ngx_http_rcache_lane_e lane,
    ngx_str_t *argv, ngx_uint_t argc, ngx_http_rcache_op_pt handler,
    ngx_uint_t n)
{
    ngx_http_rcache_op_t         *op;
    ngx_http_rcache_follow_op_t  *data;

    op = ngx_http_rcache_op_create(2048, ngx_cycle->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    data = ngx_palloc(op->pool, sizeof(ngx_http_rcache_follow_op_t));

    if (data == NULL
        || ngx_http_rcache_op_command(op, argv, argc, NULL) != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    /* where in XREAD and XINFO it stands, nobody else knows */

    op->key = follow->key;

    data->follow = follow;
    data->n = n;

    ngx_http_rcache_follow_last(follow, &data->known);

    op->lane = lane;
    op->handler = handler;
    op->data = data;
    op->max_reply = NGX_HTTP_RCACHE_FOLLOW_MAX;

    /* on that lane it belongs to a purge */

    op->must = (lane == NGX_HTTP_RCACHE_LANE_STORE);

    if (ngx_http_rcache_op_submit(redis, op) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* it may be another instance that has just done it */

void
ngx_http_rcache_follow_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    (void) op;
    (void) reply;
}


void
ngx_http_rcache_follow_last(ngx_http_rcache_follow_t *follow,
    rcache_purge_id_t *id)
{
    ngx_shmtx_lock(&follow->pool->mutex);

    *id = follow->purges->table->id;

    ngx_shmtx_unlock(&follow->pool->mutex);
}


/* after a beat */

void
ngx_http_rcache_follow_next(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_reply_t *reply, ngx_int_t rc)
{
    if (ngx_exiting) {
        ngx_http_rcache_purges_give_up(follow->purges);
        return;
    }

    /* a server that does not wait is not to be asked in a circle */

    if (rc == NGX_ERROR
        || (reply->type == REDIS_REPLY_NIL
            && ngx_current_msec - follow->began
               < NGX_HTTP_RCACHE_FOLLOW_BLOCK / 4))
    {
        ngx_add_timer(&follow->timer, NGX_HTTP_RCACHE_FOLLOW_RETRY);
        return;
    }

    if (ngx_http_rcache_follow_moved(follow)
        || !ngx_http_rcache_purges_lead(follow->purges))
    {
        ngx_add_timer(&follow->timer, NGX_HTTP_RCACHE_FOLLOW_LOOK);
        return;
    }

    ngx_http_rcache_follow_beat(follow);
}


ngx_uint_t
ngx_http_rcache_follow_blind(ngx_http_rcache_follow_t *follow)
{
    return ngx_http_rcache_follow_moved(follow)
           || ngx_http_rcache_purges_blind(follow->purges);
}


/* the workers of the cycle before, until they are gone */

ngx_uint_t
ngx_http_rcache_follow_moved(ngx_http_rcache_follow_t *follow)
{
    return follow->purges->identity != follow->identity;
}


ngx_uint_t
ngx_http_rcache_follow_catch_up(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_lane_e lane)
{
    ngx_uint_t  n;

    if (ngx_http_rcache_follow_moved(follow)) {
        return 0;
    }

    n = ++follow->sent;

    if (n == 0) {
        n = ++follow->sent;
    }

    if (ngx_http_rcache_follow_ask(follow, follow->zone->redis, lane, n)
        != NGX_OK)
    {
        return 0;
    }

    return n;
}


ngx_uint_t
ngx_http_rcache_follow_caught_up(ngx_http_rcache_follow_t *follow,
    ngx_uint_t n)
{
    return n
           && (ngx_int_t) (follow->caught - n) >= 0
           && !ngx_http_rcache_follow_moved(follow);
}


ngx_str_t *
ngx_http_rcache_follow_key(ngx_http_rcache_follow_t *follow)
{
    return &follow->key;
}


rcache_purges_t *
ngx_http_rcache_follow_table(ngx_http_rcache_follow_t *follow)
{
    return follow->purges->table;
}


ngx_http_rcache_regexes_t *
ngx_http_rcache_follow_regexes(ngx_http_rcache_follow_t *follow)
{
    return follow->regexes;
}


ngx_uint_t
ngx_http_rcache_follow_deaf(ngx_http_rcache_follow_t *follow)
{
    return ngx_http_rcache_follow_moved(follow)
           || ngx_http_rcache_purges_deaf(follow->purges);
}


void
ngx_http_rcache_follow_ahead(ngx_http_rcache_follow_t *follow,
    uint64_t position)
{
    if (follow->purges->hint < position) {
        follow->purges->hint = (ngx_atomic_uint_t) position;
    }
}
