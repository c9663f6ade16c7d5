
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Which instance walks: the one whose token is in the lease.  Two that think
 * so, for whatever reason, do no harm: they do the same.
 */


#include "ngx_http_rcache_walk.h"


/* milliseconds: how often it is renewed, and its life */

#define NGX_HTTP_RCACHE_WALK_RENEW  1500
#define NGX_HTTP_RCACHE_WALK_LEASE  "6000"

/* "token percent looked purged" */

#define NGX_HTTP_RCACHE_WALK_TOKEN   16
#define NGX_HTTP_RCACHE_WALK_SAYS    (NGX_HTTP_RCACHE_WALK_TOKEN              \
                                      + 3 * (NGX_INT64_LEN + 1))


static void ngx_http_rcache_walk_asked(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_walk_claim(ngx_http_rcache_walk_t *walk,
    ngx_uint_t mine);
static void ngx_http_rcache_walk_claimed(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_walk_elsewhere(ngx_http_rcache_walk_t *walk,
    ngx_str_t *says);
static void ngx_http_rcache_walk_none(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


ngx_uint_t
ngx_http_rcache_walk_leased(ngx_http_rcache_walk_t *walk)
{
    return walk->leased
           && ngx_current_msec - walk->leased <= NGX_HTTP_RCACHE_WALK_RENEW;
}


void
ngx_http_rcache_walk_ask(ngx_http_rcache_walk_t *walk)
{
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "GET");
    argv[1] = walk->lease;

    ngx_http_rcache_walk_submit(walk, ngx_http_rcache_walk_command(argv, 2),
                                ngx_http_rcache_walk_asked);

    if (walk->nops == 0) {
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_RETRY);
    }
}


static void
ngx_http_rcache_walk_asked(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_walk_t *walk = op->data;

    u_char                         token[NGX_HTTP_RCACHE_WALK_TOKEN];
    ngx_http_rcache_purges_walk_t  place;

    walk->nops--;

    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {

        if (reply) {
            ngx_http_rcache_walk_refuse(walk, reply);
        }

        ngx_http_rcache_walk_pause(walk, reply ? NGX_HTTP_RCACHE_WALK_REFUSED
                                               : NGX_HTTP_RCACHE_WALK_RETRY);
        return;
    }

    if (!ngx_http_rcache_walk_place(walk, &place)) {
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_LOOK);
        return;
    }

    (void) ngx_sprintf(token, "%016xL", place.token);

    if (reply->type == REDIS_REPLY_STRING
        && (reply->str.len < NGX_HTTP_RCACHE_WALK_TOKEN
            || ngx_memcmp(reply->str.data, token, NGX_HTTP_RCACHE_WALK_TOKEN)
               != 0))
    {
        ngx_http_rcache_walk_elsewhere(walk, &reply->str);
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_RETRY);
        return;
    }

    ngx_http_rcache_walk_claim(walk, reply->type == REDIS_REPLY_STRING);
}


static void
ngx_http_rcache_walk_claim(ngx_http_rcache_walk_t *walk, ngx_uint_t mine)
{
    u_char                         buf[NGX_HTTP_RCACHE_WALK_SAYS];
    ngx_str_t                      argv[6];
    ngx_http_rcache_purges_walk_t  place;

    (void) ngx_http_rcache_walk_place(walk, &place);

    ngx_str_set(&argv[0], "SET");
    argv[1] = walk->lease;
    argv[2].data = buf;
    argv[2].len = ngx_sprintf(buf, "%016xL %ui %uL %uL", place.token,
                              place.percent, place.looked, place.purged)
                  - buf;
    ngx_str_set(&argv[3], "PX");
    ngx_str_set(&argv[4], NGX_HTTP_RCACHE_WALK_LEASE);
    ngx_str_set(&argv[5], "NX");

    ngx_http_rcache_walk_submit(walk, ngx_http_rcache_walk_command(argv,
                                                               mine ? 5 : 6),
                                ngx_http_rcache_walk_claimed);

    if (walk->nops == 0) {
        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_RETRY);
    }
}


static void
ngx_http_rcache_walk_claimed(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_walk_t *walk = op->data;

    walk->nops--;

    if (reply == NULL || reply->type != REDIS_REPLY_STATUS) {

        if (reply && reply->type == REDIS_REPLY_ERROR) {
            ngx_http_rcache_walk_refuse(walk, reply);
        }

        ngx_http_rcache_walk_pause(walk, NGX_HTTP_RCACHE_WALK_RETRY);
        return;
    }

    if (walk->leased == 0) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "redis \"%V\": looks at all keys for the regex of a "
                      "purge", &walk->zone->conf.url);
    }

    walk->leased = ngx_current_msec | 1;
    walk->refused = 0;
    walk->purges->walk.elsewhere = 0;

    ngx_http_rcache_walk_pause(walk, 1);
}


static void
ngx_http_rcache_walk_elsewhere(ngx_http_rcache_walk_t *walk, ngx_str_t *says)
{
    uint64_t       n[3];
    ngx_uint_t     i;
    const u_char  *p, *last;

    walk->leased = 0;

    p = says->data + ngx_min(says->len, NGX_HTTP_RCACHE_WALK_TOKEN);
    last = says->data + says->len;

    ngx_memzero(n, sizeof(n));

    for (i = 0; i < 3 && p < last && *p == ' '; i++) {
        p++;

        if (rcache_number(&n[i], &p, last) != RCACHE_OK) {
            break;
        }
    }

    ngx_shmtx_lock(walk->mutex);

    walk->purges->walk.elsewhere = 1;
    walk->purges->walk.percent = (ngx_uint_t) ngx_min(n[0], 100);
    walk->purges->walk.looked = n[1];
    walk->purges->walk.purged = n[2];

    /* when it is our turn, it is from the beginning */

    walk->purges->walk.master = 0;

    ngx_shmtx_unlock(walk->mutex);
}


void
ngx_http_rcache_walk_release(ngx_http_rcache_walk_t *walk)
{
    ngx_str_t              argv[2];
    ngx_http_rcache_op_t  *op;

    if (walk->leased == 0 || walk->redis == NULL) {
        return;
    }

    walk->leased = 0;

    ngx_str_set(&argv[0], "UNLINK");
    argv[1] = walk->lease;

    op = ngx_http_rcache_walk_command(argv, 2);
    if (op == NULL) {
        return;
    }

    op->handler = ngx_http_rcache_walk_none;

    if (ngx_http_rcache_op_submit(walk->redis, op) != NGX_OK) {
        ngx_http_rcache_op_free(op);
    }
}


static void
ngx_http_rcache_walk_none(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    (void) op;
    (void) reply;
}
