
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The servers of a walk.  It has connections of its own: what is slow here is
 * no reason to leave the server alone, and one that is lost may have been to
 * another server than the next.
 */


#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_walk.h"


/* milliseconds that an operation may take, at least, and how many may wait */

#define NGX_HTTP_RCACHE_WALK_TIMEOUT  5000
#define NGX_HTTP_RCACHE_WALK_QUEUE    2048


static void ngx_http_rcache_walk_connected(void *data, ngx_int_t n);
static void ngx_http_rcache_walk_server(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_walk_size(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_walk_checked(ngx_http_rcache_walk_t *walk);


ngx_int_t
ngx_http_rcache_walk_open(ngx_http_rcache_walk_t *walk)
{
    if (walk->redis) {
        return NGX_OK;
    }

    walk->conf = walk->zone->conf;
    walk->conf.timeout = ngx_max(walk->conf.timeout,
                                 NGX_HTTP_RCACHE_WALK_TIMEOUT);
    walk->conf.slow = 0;
    walk->conf.queue = ngx_max(walk->conf.queue, NGX_HTTP_RCACHE_WALK_QUEUE);
    walk->conf.notify = NULL;
    walk->conf.connected = ngx_http_rcache_walk_connected;
    walk->conf.data = walk;

    walk->redis = ngx_http_rcache_redis_create((ngx_cycle_t *) ngx_cycle,
                                               &walk->conf);

    return walk->redis ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_rcache_walk_connected(void *data, ngx_int_t n)
{
    ngx_http_rcache_walk_t *walk = data;

    if (n < 0) {
        walk->checked = 0;
    }

    ngx_http_rcache_count_connected(walk->zone, n);
}


/* which server is it, and how many keys has it? */

void
ngx_http_rcache_walk_check(ngx_http_rcache_walk_t *walk, ngx_uint_t master)
{
    ngx_str_t              argv[2];
    ngx_http_rcache_op_t  *op;

    walk->run = 0;
    walk->checked = 1;

    ngx_str_set(&argv[0], "INFO");
    ngx_str_set(&argv[1], "server");

    op = ngx_http_rcache_walk_command(argv, 2);

    if (op) {
        op->master = master;
    }

    ngx_http_rcache_walk_submit(walk, op, ngx_http_rcache_walk_server);

    ngx_str_set(&argv[0], "DBSIZE");

    op = ngx_http_rcache_walk_command(argv, 1);

    if (op) {
        op->master = master;
    }

    ngx_http_rcache_walk_submit(walk, op, ngx_http_rcache_walk_size);

    if (walk->nops == 0) {
        ngx_http_rcache_walk_checked(walk);
    }
}


/* a user who may not ask has a server that is never known to be the same */

static void
ngx_http_rcache_walk_server(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_walk_t *walk = op->data;

    u_char  *p;

    if (reply == NULL) {
        walk->failed = 1;

    } else if (reply->type == REDIS_REPLY_STRING) {

        p = ngx_strlcasestrn(reply->str.data,
                             reply->str.data + reply->str.len,
                             (u_char *) "run_id:", sizeof("run_id:") - 2);

        if (p && reply->str.data + reply->str.len - p
                 >= (ssize_t) sizeof("run_id:") - 1 + 40)
        {
            walk->run = rcache_sum(p + sizeof("run_id:") - 1, 40) | 1;
        }
    }

    if (--walk->nops == 0) {
        ngx_http_rcache_walk_checked(walk);
    }
}


static void
ngx_http_rcache_walk_size(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_walk_t *walk = op->data;

    ngx_http_rcache_purges_walk_t  *place;

    if (reply && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0) {

        ngx_shmtx_lock(walk->mutex);

        place = &walk->purges->walk;

        if (place->cursor == 0) {
            place->keys = place->asked + (uint64_t) reply->integer;
        }

        ngx_shmtx_unlock(walk->mutex);
    }

    if (--walk->nops == 0) {
        ngx_http_rcache_walk_checked(walk);
    }
}


static void
ngx_http_rcache_walk_checked(ngx_http_rcache_walk_t *walk)
{
    ngx_uint_t                      other;
    ngx_http_rcache_purges_walk_t  *place;

    if (walk->failed) {
        walk->checked = 0;
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_RETRY);
        return;
    }

    place = &walk->purges->walk;

    ngx_shmtx_lock(walk->mutex);

    other = (place->cursor && (walk->run == 0 || walk->run != place->run));

    if (other) {
        place->master = 0;

    } else {
        place->run = walk->run;
    }

    ngx_shmtx_unlock(walk->mutex);

    ngx_http_rcache_walk_pause(walk, 1);
}
