
/*
 * Private to the Redis room: which server is the master, as Sentinels have
 * it.
 *
 * A worker that wants to know asks all of them, and the workers of an instance
 * share what comes of it.  An answer counts if its configuration epoch is
 * newer than the one that is known, or if most Sentinels agree on it: one that
 * was cut off from the others and has slept through a failover is not believed.
 * That the server takes itself for a master is asked for in the handshake.
 *
 * One connection to one of them listens to +switch-master; if that Sentinel
 * goes, to another one.
 */


#ifndef _NGX_HTTP_RCACHE_SENTINEL_H_INCLUDED_
#define _NGX_HTTP_RCACHE_SENTINEL_H_INCLUDED_


#include "ngx_http_rcache_conn.h"


#define NGX_HTTP_RCACHE_SENTINELS  16


/* what a Sentinel said */

typedef struct {
    u_char                         name[NGX_HTTP_RCACHE_NODE_NAME];
    size_t                         host_len;   /* of "<host>:<port>" */
    size_t                         name_len;
    ngx_uint_t                     port;
    uint64_t                       epoch;
} ngx_http_rcache_master_t;


/* the memory that workers share: under the lock, but for version and asked */

typedef struct {
    ngx_atomic_t                   identity;   /* as that of a cluster */
    ngx_atomic_t                   version;    /* 0: there is nothing */
    ngx_atomic_t                   serial;
    ngx_atomic_t                   asked;      /* in ngx_current_msec */
    ngx_http_rcache_master_t       master;
    ngx_http_rcache_breaker_sh_t   breaker;    /* of the master */
} ngx_http_rcache_sentinel_sh_t;


struct ngx_http_rcache_sentinel_s {
    ngx_http_rcache_redis_t       *redis;
    ngx_http_rcache_sentinel_sh_t *sh;

    ngx_atomic_uint_t              identity;
    ngx_atomic_uint_t              version;    /* of what is used here */

    ngx_http_rcache_node_t        *nodes;      /* the Sentinels */
    ngx_uint_t                     n;
    ngx_uint_t                     turn;       /* whom to listen to */

    ngx_http_rcache_push_t         push;
    ngx_http_rcache_sub_t          sub;

    ngx_event_t                    timer;      /* to ask again */
    ngx_event_t                    moved;      /* there is another version */

    /* the round that goes on */

    ngx_uint_t                     pending;    /* answers to come */
    ngx_uint_t                     nanswers;
    ngx_http_rcache_master_t       answers[NGX_HTTP_RCACHE_SENTINELS];
    ngx_http_rcache_node_t        *from[NGX_HTTP_RCACHE_SENTINELS];

    unsigned                       started:1;
    unsigned                       silent:1;   /* nobody said anything */
};


ngx_int_t ngx_http_rcache_sentinel_init(ngx_http_rcache_redis_t *redis);
void ngx_http_rcache_sentinel_cleanup(ngx_http_rcache_sentinel_t *sentinel);

/* before each operation: is there another master by now? */

#define ngx_http_rcache_sentinel_sync(sentinel)                               \
    if ((sentinel)->sh->version != (sentinel)->version) {                     \
        ngx_http_rcache_sentinel_moved(sentinel);                             \
    }

void ngx_http_rcache_sentinel_moved(ngx_http_rcache_sentinel_t *sentinel);

/* asks, unless that was done a moment ago */
void ngx_http_rcache_sentinel_ask(ngx_http_rcache_sentinel_t *sentinel);

/* of a flat list of names and values: a value, NULL if there is none */
ngx_str_t *ngx_http_rcache_sentinel_field(ngx_http_rcache_reply_t *reply,
    const char *name);

/* of such a list: which server it is about; NGX_OK, NGX_ERROR */
ngx_int_t ngx_http_rcache_sentinel_parse(ngx_http_rcache_reply_t *reply,
    ngx_http_rcache_master_t *master);

/* the one to listen to, another one each time */
ngx_http_rcache_node_t *ngx_http_rcache_sentinel_next(
    ngx_http_rcache_sentinel_t *sentinel);


#endif /* _NGX_HTTP_RCACHE_SENTINEL_H_INCLUDED_ */
