
/*
 * Private to the Redis room: lookups that replicas answer.
 *
 * Whoever submits an operation says that a replica may answer it, and that is
 * all it has to know: a replica that is down, slow, or out of touch with its
 * master is left out, and an operation that one of them fails is sent to the
 * master before its handler sees anything.
 *
 * Each key is read from the same replica, as long as that one is well, and near
 * if that is wanted, so that who asks twice does not go back in time.  What
 * this instance has written a moment ago it reads from the master.
 */


#ifndef _NGX_HTTP_RCACHE_REPLICA_H_INCLUDED_
#define _NGX_HTTP_RCACHE_REPLICA_H_INCLUDED_


#include "ngx_http_rcache_cluster.h"
#include "ngx_http_rcache_sentinel.h"


#define NGX_HTTP_RCACHE_REPLICAS  16

/* events of Sentinels that are about replicas */
#define NGX_HTTP_RCACHE_REPLICA_SUBS  3


/*
 * The memory that workers share, behind that of the topology:
 *
 *     identity | version | serial | down | breakers | nodes | written
 *
 * What is about nodes is used behind Sentinels only, and written and read
 * under the lock, but for version, down and the breakers; a cluster has that
 * in its map.  written is when a slot was written to, in ticks of 128 ms.
 */

typedef struct {
    ngx_atomic_t                   identity;   /* as that of Sentinels */
    ngx_atomic_t                   version;    /* 0: there is nothing */
    ngx_atomic_t                   serial;
    ngx_atomic_t                   down[NGX_HTTP_RCACHE_REPLICAS];
    ngx_http_rcache_breaker_sh_t   breakers[NGX_HTTP_RCACHE_REPLICAS];
    ngx_http_rcache_node_sh_t      nodes[NGX_HTTP_RCACHE_REPLICAS];
    ngx_uint_t                     nnodes;

    volatile uint16_t              written[RCACHE_SLOTS];
} ngx_http_rcache_replica_sh_t;


struct ngx_http_rcache_replica_s {
    ngx_http_rcache_redis_t       *redis;
    ngx_http_rcache_replica_sh_t  *sh;

    /* of a cluster: list[first[n]] ... list[first[n + 1] - 1] are those of
       the master of number n */

    uint16_t                       first[NGX_HTTP_RCACHE_NODES + 1];
    uint16_t                       list[NGX_HTTP_RCACHE_NODES];

    /* behind Sentinels */

    ngx_atomic_uint_t              version;    /* of nodes */
    ngx_uint_t                     nnodes;
    ngx_http_rcache_node_t        *nodes[NGX_HTTP_RCACHE_REPLICAS];
    ngx_queue_t                    all;        /* also those that have left */
    ngx_event_t                    tidy;
    ngx_http_rcache_sub_t          subs[NGX_HTTP_RCACHE_REPLICA_SUBS];
    ngx_http_rcache_node_sh_t      fresh[NGX_HTTP_RCACHE_REPLICAS];
    ngx_uint_t                     nfresh;
    ngx_uint_t                     asking;     /* unsigned  asking:1; */
};


/* ngx_http_rcache_replica.c */

/* shared is behind what the topology has there */
ngx_int_t ngx_http_rcache_replica_init(ngx_http_rcache_redis_t *redis,
    void *shared);
void ngx_http_rcache_replica_cleanup(ngx_http_rcache_replica_t *replica);

/* NGX_OK: a replica will answer it; NGX_DECLINED: the master has to */
ngx_int_t ngx_http_rcache_replica_submit(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_op_t *op);

/* the master is about to be written to */
void ngx_http_rcache_replica_written(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_op_t *op);

/*
 * A replica will not answer it, the operation is in no queue.  NGX_OK: it is on
 * its way to the master, or has ended; NGX_DECLINED: it has to end.
 */
ngx_int_t ngx_http_rcache_replica_again(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_op_t *op);

/* likewise, with an error or nil as the answer */
ngx_int_t ngx_http_rcache_replica_refused(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_t *op, ngx_http_rcache_reply_t *reply);

/*
 * The connection of a cluster's node is to answer for its master, or is not
 * to any more: says so in front of the operation.  NGX_OK, NGX_ERROR.
 */
ngx_int_t ngx_http_rcache_replica_mode(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_t *op);

/* as ngx_http_rcache_replica_submit(), of one replica */
ngx_int_t ngx_http_rcache_replica_try(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_t *op);

/* sends ROLE over the connection of lookups, which is ready, on behalf of the
   node; NGX_OK, NGX_ERROR */
ngx_int_t ngx_http_rcache_replica_ask(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_pt handler);

/* what it has answered to that: it fails if it may not be asked */
void ngx_http_rcache_replica_role(ngx_http_rcache_node_t *node,
    ngx_http_rcache_reply_t *reply);

/* what it answers to ROLE: may it be asked? */
ngx_uint_t ngx_http_rcache_replica_fit(ngx_http_rcache_node_t *node,
    ngx_http_rcache_reply_t *reply);

/* one that Sentinels know failed, or is well again */
void ngx_http_rcache_replica_notify(ngx_http_rcache_node_t *node,
    ngx_uint_t up, ngx_str_t *why);

/* how many are left alone because they are slow */
ngx_uint_t ngx_http_rcache_replica_slow(ngx_http_rcache_replica_t *replica);


/* ngx_http_rcache_replicas.c */

/* the cluster's map is another one */
void ngx_http_rcache_replicas_map(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_cluster_t *cluster);

/* asks a Sentinel which replicas there are, and listens to what becomes of
   them */
void ngx_http_rcache_replicas_ask(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_node_t *node);

/* takes over the shared list if it is another one */
void ngx_http_rcache_replicas_sync(ngx_http_rcache_replica_t *replica);

void ngx_http_rcache_replicas_tidy_handler(ngx_event_t *ev);


#endif /* _NGX_HTTP_RCACHE_REPLICA_H_INCLUDED_ */
