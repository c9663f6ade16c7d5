
/*
 * Private to the Redis room: the nodes of a Redis Cluster, and which of them
 * has which slot.
 *
 * The map is in the memory that the workers share, and each has a copy, which
 * it renews when the version of the shared one is another; so to find the node
 * of a key takes no lock.  Whoever is told of a map that is out of date asks
 * for a new one, on behalf of all.
 */


#ifndef _NGX_HTTP_RCACHE_CLUSTER_H_INCLUDED_
#define _NGX_HTTP_RCACHE_CLUSTER_H_INCLUDED_


#include "../core/rcache_slot.h"
#include "ngx_http_rcache_conn.h"


#define NGX_HTTP_RCACHE_NODES  200


/*
 * The memory that workers share:
 *
 *     identity | version | serial | asked | down | breakers | nodes | slots
 *
 * All but asked, down and the breakers is written and read under the
 * lock.  A worker that is killed while it writes leaves a version of 0, which
 * means that there is nothing to read.
 */

typedef struct {
    u_char                    name[NGX_HTTP_RCACHE_NODE_NAME];
    uint16_t                  host_len;        /* of the name "<host>:<port>" */
    uint16_t                  name_len;
    uint16_t                  master;          /* itself, if it is one */
    in_port_t                 port;
} ngx_http_rcache_node_sh_t;


typedef struct {
    ngx_http_rcache_node_sh_t  nodes[NGX_HTTP_RCACHE_NODES];
    uint16_t                   slots[RCACHE_SLOTS];
    ngx_uint_t                 nnodes;
} ngx_http_rcache_map_t;


typedef struct {
    ngx_atomic_t               identity;       /* of the servers that the
                                                  configuration names: after a
                                                  reload they may be others */
    ngx_atomic_t               version;
    ngx_atomic_t               serial;         /* of the last version */
    ngx_atomic_t               asked;          /* for a map the last time, in
                                                  ngx_current_msec */

    /* of the node of that number: which workers may log what */
    ngx_atomic_t               down[NGX_HTTP_RCACHE_NODES];

    ngx_http_rcache_breaker_sh_t  breakers[NGX_HTTP_RCACHE_NODES];

    ngx_http_rcache_map_t      map;
} ngx_http_rcache_cluster_sh_t;


struct ngx_http_rcache_cluster_s {
    ngx_http_rcache_redis_t       *redis;
    ngx_http_rcache_cluster_sh_t  *sh;

    ngx_atomic_uint_t              identity;
    ngx_atomic_uint_t              version;    /* of the copy */
    uint16_t                      *slots;      /* the copy */

    /* of the copy's numbers; NULL: none was needed yet */
    ngx_http_rcache_node_t        *nodes[NGX_HTTP_RCACHE_NODES];
    ngx_http_rcache_node_sh_t     *names;
    ngx_uint_t                     nnodes;

    ngx_queue_t                    all;        /* nodes that there are */

    ngx_http_rcache_map_t         *fresh;      /* where one is made */
    ngx_uint_t                     turn;       /* whom to ask next */
    ngx_http_rcache_node_t        *asked;      /* who is being asked */

    unsigned                       asking:1;
    unsigned                       refused:1;

    ngx_event_t                    tidy;       /* after a change */

    /* operations that are to be submitted again a moment later */
    ngx_queue_t                    later;
    ngx_uint_t                     nlater;
    ngx_event_t                    timer;
};


/* ngx_http_rcache_cluster.c */

ngx_int_t ngx_http_rcache_cluster_init(ngx_http_rcache_redis_t *redis);
void ngx_http_rcache_cluster_cleanup(ngx_http_rcache_cluster_t *cluster);

/* the node for an operation; NULL: there is no memory for one */
ngx_http_rcache_node_t *ngx_http_rcache_cluster_route(
    ngx_http_rcache_cluster_t *cluster, ngx_http_rcache_op_t *op);

/* the one of that number in the map; NULL: there is no memory for it */
ngx_http_rcache_node_t *ngx_http_rcache_cluster_number(
    ngx_http_rcache_cluster_t *cluster, ngx_uint_t n);

/* one that is not known to be down; the first, if all are */
ngx_http_rcache_node_t *ngx_http_rcache_cluster_any(
    ngx_http_rcache_cluster_t *cluster);

/* NGX_OK: it is on its way again; NGX_DECLINED: it ends with this reply */
ngx_int_t ngx_http_rcache_cluster_redirect(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_t *op, ngx_http_rcache_reply_t *reply);

/* one node failed, or is well again: logs it, once for all workers */
void ngx_http_rcache_cluster_notify(ngx_http_rcache_node_t *node,
    ngx_uint_t up, ngx_str_t *why);


/* ngx_http_rcache_slots.c */

/* takes over the shared map if it is another one */
void ngx_http_rcache_slots_sync(ngx_http_rcache_cluster_t *cluster);

/* asks for a new map, unless that was done a moment ago */
void ngx_http_rcache_slots_refresh(ngx_http_rcache_cluster_t *cluster);


#endif /* _NGX_HTTP_RCACHE_CLUSTER_H_INCLUDED_ */
