
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A pattern has its effect from the moment that its record is known: whoever
 * reads an entry matches it.  So the walk has time.  It begins when everybody
 * knows of the pattern, or stores nothing because nothing is heard of the log,
 * and what was sent before has arrived: what is stored from then on was matched
 * before.  What is there now SCAN finds.  When all masters are through, a
 * record says that the pattern is done with.
 *
 * One worker of one instance walks: the one that follows the log, if it has
 * the lease, a key with a short life that also says how far it is.  Where it is
 * is in shared memory, so another worker goes on from there; another instance
 * begins anew, and so does everyone if a master is not the server that it was,
 * or has got slots from another: a cursor is good for one server only.
 *
 * After each step the walk pauses for longer than the step took.
 */


#include "ngx_http_rcache_walk.h"


/* milliseconds from when a pattern is known to its walk, see _PURGES_DEAF */

#define NGX_HTTP_RCACHE_WALK_DELAY  3000

/*
 * Before it is said to be over: where replicas are read they may be behind, and
 * a cluster is asked whether slots have moved, which nobody else need have
 * noticed; longer than a map is taken for new.
 */

#define NGX_HTTP_RCACHE_WALK_BEHIND  2000

/* keys of a step; replies in bytes */

#define NGX_HTTP_RCACHE_WALK_COUNT   50
#define NGX_HTTP_RCACHE_WALK_MIN     10
#define NGX_HTTP_RCACHE_WALK_MAX     50
#define NGX_HTTP_RCACHE_WALK_REPLY   (8 * 1024 * 1024)

/* microseconds that a worker may be busy with the keys of a step */

#define NGX_HTTP_RCACHE_WALK_BUSY    500


static ngx_int_t ngx_http_rcache_walk_names(ngx_cycle_t *cycle,
    ngx_http_rcache_walk_t *walk);
static void ngx_http_rcache_walk_handler(ngx_event_t *ev);
static ngx_uint_t ngx_http_rcache_walk_due(ngx_http_rcache_walk_t *walk);
static void ngx_http_rcache_walk_restart(ngx_http_rcache_walk_t *walk,
    ngx_uint_t masters);
static void ngx_http_rcache_walk_scan(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_purges_walk_t *place);
static void ngx_http_rcache_walk_scanned(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static ngx_uint_t ngx_http_rcache_walk_usec(void);
static void ngx_http_rcache_walk_stepped(ngx_http_rcache_walk_t *walk);
static void ngx_http_rcache_walk_finish(ngx_http_rcache_walk_t *walk);
static void ngx_http_rcache_walk_finished(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


ngx_int_t
ngx_http_rcache_walk_init(ngx_cycle_t *cycle, ngx_http_rcache_zone_t *zone)
{
    ngx_http_rcache_walk_t  *walk;

    walk = ngx_pcalloc(cycle->pool, sizeof(ngx_http_rcache_walk_t));
    if (walk == NULL) {
        return NGX_ERROR;
    }

    walk->zone = zone;
    walk->purges = zone->health->purges;
    walk->mutex = &((ngx_slab_pool_t *) zone->shm->shm.addr)->mutex;
    walk->count = NGX_HTTP_RCACHE_WALK_COUNT;

    if (ngx_http_rcache_walk_names(cycle, walk) != NGX_OK) {
        return NGX_ERROR;
    }

    walk->timer.handler = ngx_http_rcache_walk_handler;
    walk->timer.data = walk;
    walk->timer.log = cycle->log;
    walk->timer.cancelable = 1;

    ngx_add_timer(&walk->timer, NGX_HTTP_RCACHE_WALK_LOOK);

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_walk_names(ngx_cycle_t *cycle, ngx_http_rcache_walk_t *walk)
{
    u_char      *p;
    ngx_str_t   *prefix;
    ngx_uint_t   i;

    prefix = &walk->zone->prefix;

    walk->lease.data = ngx_pnalloc(cycle->pool,
                                   prefix->len + sizeof("!walk") - 1);
    walk->glob.data = ngx_pnalloc(cycle->pool,
                                  2 * prefix->len + sizeof("{*") - 1);

    if (walk->lease.data == NULL || walk->glob.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(walk->lease.data, prefix->data, prefix->len);
    p = ngx_cpymem(p, "!walk", sizeof("!walk") - 1);
    walk->lease.len = p - walk->lease.data;

    p = walk->glob.data;

    for (i = 0; i < prefix->len; i++) {

        if (ngx_strchr("*?[]^-\\", prefix->data[i]) && prefix->data[i]) {
            *p++ = '\\';
        }

        *p++ = prefix->data[i];
    }

    *p++ = '{';
    *p++ = '*';
    walk->glob.len = p - walk->glob.data;

    return NGX_OK;
}


static void
ngx_http_rcache_walk_handler(ngx_event_t *ev)
{
    ngx_http_rcache_walk_t *walk = ev->data;

    ngx_uint_t                     masters;
    ngx_http_rcache_purges_walk_t  place;

    if (ngx_exiting) {
        return;
    }

    if (walk->purges->owner != (ngx_atomic_uint_t) ngx_pid) {
        walk->leased = 0;
        walk->checked = 0;

        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_LOOK);
        return;
    }

    if (!ngx_http_rcache_walk_due(walk)) {
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_LOOK);
        return;
    }

    if (ngx_http_rcache_walk_open(walk) != NGX_OK) {
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_RETRY);
        return;
    }

    walk->failed = 0;
    walk->looked = 0;
    walk->purged = 0;
    walk->began = ngx_current_msec;

    if (!ngx_http_rcache_walk_leased(walk)) {
        ngx_http_rcache_walk_ask(walk);
        return;
    }

    masters = ngx_http_rcache_redis_masters(walk->redis);

    if (masters == 0) {
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_RETRY);
        return;
    }

    if (!ngx_http_rcache_walk_place(walk, &place)) {
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_LOOK);
        return;
    }

    if (place.master == 0
        || place.masters != masters
        || place.version != ngx_http_rcache_redis_version(walk->redis))
    {
        ngx_http_rcache_walk_restart(walk, masters);
        ngx_http_rcache_walk_pause(walk, 1);
        return;
    }

    if (place.master > masters && !walk->mapped) {
        walk->mapped = 1;

        ngx_http_rcache_redis_refresh(walk->redis);
        ngx_http_rcache_walk_pause(walk, place.version
                                         ? NGX_HTTP_RCACHE_WALK_RETRY : 1);

    } else if (place.master > masters) {
        ngx_http_rcache_walk_finish(walk);

    } else if (!walk->checked) {
        ngx_http_rcache_walk_check(walk, place.master);

    } else {
        ngx_http_rcache_walk_scan(walk, &place);
    }
}


/* true while there is a walk; what it was for may be over meanwhile */

static ngx_uint_t
ngx_http_rcache_walk_due(ngx_http_rcache_walk_t *walk)
{
    uint64_t                        ripe, token;
    ngx_uint_t                      i, active;
    ngx_msec_t                      now;
    rcache_pattern_t               *pattern;
    rcache_patterns_t              *patterns;
    ngx_http_rcache_purges_walk_t  *place;

    patterns = &walk->purges->table->patterns;
    place = &walk->purges->walk;

    if (patterns->newest == 0 && place->upto == 0) {
        return 0;
    }

    ripe = 0;
    active = 0;
    now = ngx_current_msec | 1;
    token = (uint64_t) ngx_random() << 32 ^ (uint64_t) ngx_random() << 16
            ^ (uint64_t) ngx_pid;

    ngx_shmtx_lock(walk->mutex);

    for (i = 0; i < RCACHE_PATTERNS; i++) {
        pattern = &patterns->pattern[i];

        if (pattern->state != RCACHE_PATTERN_ACTIVE) {
            continue;
        }

        if (pattern->since == 0) {
            pattern->since = now;
        }

        if (pattern->position <= place->upto) {
            active = 1;
        }

        if (now - (ngx_msec_t) pattern->since >= NGX_HTTP_RCACHE_WALK_DELAY
            && pattern->position > ripe)
        {
            ripe = pattern->position;
        }
    }

    if (!active) {
        ngx_memzero(place, sizeof(ngx_http_rcache_purges_walk_t));

        place->upto = ripe;
        place->token = token;
    }

    walk->upto = place->upto;

    ngx_shmtx_unlock(walk->mutex);

    if (!active) {
        walk->checked = 0;
        ngx_http_rcache_walk_release(walk);
    }

    return walk->upto != 0;
}


/* a copy, and whether it is still that of this walk */

ngx_uint_t
ngx_http_rcache_walk_place(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_purges_walk_t *place)
{
    ngx_shmtx_lock(walk->mutex);

    *place = walk->purges->walk;

    ngx_shmtx_unlock(walk->mutex);

    return place->upto && place->upto == walk->upto;
}


static void
ngx_http_rcache_walk_restart(ngx_http_rcache_walk_t *walk, ngx_uint_t masters)
{
    ngx_http_rcache_purges_walk_t  *place;

    place = &walk->purges->walk;

    ngx_shmtx_lock(walk->mutex);

    place->master = 1;
    place->masters = masters;
    place->version = ngx_http_rcache_redis_version(walk->redis);
    place->cursor = 0;
    place->run = 0;
    place->keys = 0;
    place->asked = 0;
    place->percent = 0;

    ngx_shmtx_unlock(walk->mutex);

    walk->checked = 0;
}


void
ngx_http_rcache_walk_pause(ngx_http_rcache_walk_t *walk, ngx_msec_t ms)
{
    if (!ngx_exiting) {
        ngx_add_timer(&walk->timer, ms);
    }
}


ngx_http_rcache_op_t *
ngx_http_rcache_walk_command(ngx_str_t *argv, ngx_uint_t argc)
{
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(2048, ngx_cycle->log);
    if (op == NULL) {
        return NULL;
    }

    if (ngx_http_rcache_op_command(op, argv, argc, NULL) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        return NULL;
    }

    op->max_reply = NGX_HTTP_RCACHE_WALK_REPLY;

    return op;
}


void
ngx_http_rcache_walk_submit(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_op_t *op, ngx_http_rcache_op_pt handler)
{
    if (op == NULL) {
        walk->failed = 1;
        return;
    }

    op->lane = NGX_HTTP_RCACHE_LANE_LOOKUP;
    op->handler = handler;
    op->data = op->data ? op->data : walk;
    op->must = 1;

    if (ngx_http_rcache_op_submit(walk->redis, op) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        walk->failed = 1;
        return;
    }

    walk->nops++;
}


void
ngx_http_rcache_walk_over(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_reply_t *reply)
{
    if (reply == NULL) {
        walk->failed = 1;

    } else if (reply->type == REDIS_REPLY_ERROR
               && ngx_strncmp(reply->str.data, "WRONGTYPE", 9) != 0)
    {
        /* and not that a key is another program's */

        ngx_http_rcache_walk_refuse(walk, reply);
    }

    if (--walk->nops == 0) {
        ngx_http_rcache_walk_stepped(walk);
    }
}


static void
ngx_http_rcache_walk_scan(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_purges_walk_t *place)
{
    u_char                 cursor[NGX_INT64_LEN], count[NGX_INT_T_LEN];
    ngx_str_t              argv[6];
    ngx_http_rcache_op_t  *op;

    ngx_str_set(&argv[0], "SCAN");
    argv[1].data = cursor;
    argv[1].len = ngx_sprintf(cursor, "%uL", place->cursor) - cursor;
    ngx_str_set(&argv[2], "MATCH");
    argv[3] = walk->glob;
    ngx_str_set(&argv[4], "COUNT");
    argv[5].data = count;
    argv[5].len = ngx_sprintf(count, "%ui", walk->count) - count;

    op = ngx_http_rcache_walk_command(argv, 6);

    if (op) {
        op->master = place->master;
    }

    ngx_http_rcache_walk_submit(walk, op, ngx_http_rcache_walk_scanned);

    if (walk->nops == 0) {
        ngx_http_rcache_walk_stepped(walk);
    }
}


static void
ngx_http_rcache_walk_scanned(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_walk_t *walk = op->data;

    ngx_uint_t     took;
    const u_char  *cursor;

    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        ngx_http_rcache_walk_over(walk, reply);
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->integer != 2
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        ngx_http_rcache_walk_refuse(walk, reply);
        ngx_http_rcache_walk_over(walk, reply);
        return;
    }

    cursor = reply->element[0]->str.data;

    if (rcache_number(&walk->next, &cursor,
                      cursor + reply->element[0]->str.len)
        != RCACHE_OK)
    {
        ngx_http_rcache_walk_refuse(walk, reply);
        ngx_http_rcache_walk_over(walk, reply);
        return;
    }

    took = ngx_http_rcache_walk_usec();

    ngx_http_rcache_walk_keys(walk, reply->element[1]);

    took = ngx_http_rcache_walk_usec() - took;

    if (took > NGX_HTTP_RCACHE_WALK_BUSY) {
        walk->count = ngx_max(walk->count / 2, NGX_HTTP_RCACHE_WALK_MIN);

    } else if (took < NGX_HTTP_RCACHE_WALK_BUSY / 4) {
        walk->count = ngx_min(walk->count + 1, NGX_HTTP_RCACHE_WALK_MAX);
    }

    ngx_http_rcache_walk_over(walk, reply);
}


static ngx_uint_t
ngx_http_rcache_walk_usec(void)
{
    struct timeval  tv;

    ngx_gettimeofday(&tv);

    return (ngx_uint_t) tv.tv_sec * 1000000 + (ngx_uint_t) tv.tv_usec;
}


/* SCAN and all that came of it has been answered */

static void
ngx_http_rcache_walk_stepped(ngx_http_rcache_walk_t *walk)
{
    ngx_uint_t                      over;
    ngx_msec_t                      took;
    ngx_http_rcache_purges_walk_t  *place;

    place = &walk->purges->walk;

    ngx_shmtx_lock(walk->mutex);

    if (place->upto == walk->upto) {

        /* also if the rest of the step failed, and is done once more */

        place->purged += walk->purged;
    }

    if (!walk->failed && place->upto == walk->upto && place->master) {
        place->cursor = walk->next;
        place->asked += walk->count;
        place->looked += walk->looked;

        if (place->keys) {
            place->percent = (ngx_uint_t) ngx_min(place->asked * 100
                                                  / place->keys, 99)
                             / place->masters
                             + (place->master - 1) * 100 / place->masters;
        }

        if (place->cursor == 0) {
            place->master++;
            place->run = 0;
            place->asked = 0;
            place->keys = 0;
            walk->checked = 0;
        }
    }

    over = (place->master > place->masters);

    ngx_shmtx_unlock(walk->mutex);

    if (walk->failed) {
        ngx_http_rcache_walk_pause(walk, walk->refused
                                         ? NGX_HTTP_RCACHE_WALK_REFUSED
                                         : NGX_HTTP_RCACHE_WALK_RETRY);
        return;
    }

    walk->mapped = 0;

    if (over
        && (walk->conf.topology == NGX_HTTP_RCACHE_TOPOLOGY_CLUSTER
            || walk->conf.read_from != NGX_HTTP_RCACHE_READ_MASTER))
    {
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_BEHIND);
        return;
    }

    took = ngx_current_msec - walk->began;

    ngx_http_rcache_walk_pause(walk, ngx_min(3 * took + 3,
                                             NGX_HTTP_RCACHE_WALK_RETRY));
}


/* the patterns go when the record comes back by the log */

static void
ngx_http_rcache_walk_finish(ngx_http_rcache_walk_t *walk)
{
    u_char                         *p, purged[NGX_INT64_LEN];
    u_char                          ids[RCACHE_PATTERNS][RCACHE_PURGE_ID_LEN];
    ngx_str_t                       argv[5 + 2 * RCACHE_PATTERNS], *arg;
    ngx_uint_t                      i, n;
    rcache_pattern_t               *pattern;
    ngx_http_rcache_op_t           *op;

    n = 0;
    arg = argv;

    ngx_str_set(arg, "XADD");
    arg++;
    *arg++ = *ngx_http_rcache_follow_key(walk->zone->follow);
    ngx_str_set(arg, "*");
    arg++;
    ngx_str_set(arg, "purged");
    arg++;

    ngx_shmtx_lock(walk->mutex);

    arg->data = purged;
    arg->len = ngx_sprintf(purged, "%uL", walk->purges->walk.purged) - purged;
    arg++;

    for (i = 0; i < RCACHE_PATTERNS; i++) {
        pattern = &walk->purges->table->patterns.pattern[i];

        if (pattern->state != RCACHE_PATTERN_ACTIVE
            || pattern->position > walk->upto)
        {
            continue;
        }

        p = ngx_sprintf(ids[n], "%uL-%uL", pattern->id.ms, pattern->id.seq);

        ngx_str_set(arg, "done");
        arg++;
        arg->data = ids[n];
        arg->len = p - ids[n];
        arg++;
        n++;
    }

    ngx_shmtx_unlock(walk->mutex);

    op = n ? ngx_http_rcache_walk_command(argv, arg - argv) : NULL;

    ngx_http_rcache_walk_submit(walk, op, ngx_http_rcache_walk_finished);

    if (walk->nops == 0) {
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_RETRY);
    }
}


static void
ngx_http_rcache_walk_finished(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_walk_t *walk = op->data;

    walk->nops--;

    if (reply && reply->type == REDIS_REPLY_STRING) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "redis \"%V\": has looked at all keys for the regex of "
                      "a purge, %uL of the zone, %uL entries purged",
                      &walk->zone->conf.url, walk->purges->walk.looked,
                      walk->purges->walk.purged);

    } else if (reply && reply->type == REDIS_REPLY_ERROR) {
        ngx_http_rcache_walk_refuse(walk, reply);
    }

    ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_RETRY);
}


/* the patterns stay at work meanwhile, so nothing comes back */

void
ngx_http_rcache_walk_refuse(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_reply_t *reply)
{
    ngx_str_t  text;

    walk->failed = 1;

    if (walk->refused) {
        return;
    }

    walk->refused = 1;

    if (reply->type == REDIS_REPLY_ERROR) {
        text = reply->str;

    } else {
        ngx_str_set(&text, "a reply of an unexpected type");
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "redis \"%V\" does not let all keys be looked at for the "
                  "regex of a purge, which is matched for each hit until then: "
                  "%V", &walk->zone->conf.url, &text);
}
