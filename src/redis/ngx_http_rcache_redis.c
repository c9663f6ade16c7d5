
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* The entrance: operations are bounded, and given to the lane of a node. */


#include "ngx_http_rcache_replica.h"


static void ngx_http_rcache_redis_cleanup(void *data);
static size_t ngx_http_rcache_redis_topology_size(
    ngx_http_rcache_redis_conf_t *rcf);


ngx_http_rcache_redis_t *
ngx_http_rcache_redis_create(ngx_cycle_t *cycle,
    ngx_http_rcache_redis_conf_t *rcf)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_rcache_redis_t  *redis;

    redis = ngx_pcalloc(cycle->pool, sizeof(ngx_http_rcache_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = rcf;
    redis->log = cycle->log;
    redis->password = rcf->password;

    ngx_http_rcache_node_init(redis, &redis->node,
                  rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SENTINEL
                  ? NULL : rcf->servers.elts);

    switch (rcf->topology) {

    case NGX_HTTP_RCACHE_TOPOLOGY_SINGLE:
        redis->node.breaker.sh = rcf->shared;
        break;

    case NGX_HTTP_RCACHE_TOPOLOGY_SENTINEL:
        redis->node.breaker.sh =
                    &((ngx_http_rcache_sentinel_sh_t *) rcf->shared)->breaker;
        redis->node.name = rcf->url;
        break;

    default: /* NGX_HTTP_RCACHE_TOPOLOGY_CLUSTER: each node has one */
        break;
    }

    ngx_http_rcache_conn_init(&redis->push.conn, &redis->node);
    ngx_http_rcache_push_init(&redis->push);

    if (rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_CLUSTER
        && ngx_http_rcache_cluster_init(redis) != NGX_OK)
    {
        return NULL;
    }

    if (rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SENTINEL
        && ngx_http_rcache_sentinel_init(redis) != NGX_OK)
    {
        return NULL;
    }

    if (rcf->read_from != NGX_HTTP_RCACHE_READ_MASTER
        && ngx_http_rcache_replica_init(redis, (u_char *) rcf->shared
                                    + ngx_http_rcache_redis_topology_size(rcf))
           != NGX_OK)
    {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_rcache_redis_cleanup;
    cln->data = redis;

    ngx_http_rcache_renew_init(redis);

    return redis;
}


/* a fast shutdown leaves connections to the kernel; the reader is malloc()ed */

static void
ngx_http_rcache_redis_cleanup(void *data)
{
    ngx_http_rcache_redis_t *redis = data;

    ngx_http_rcache_node_cleanup(&redis->node);

    if (redis->cluster) {
        ngx_http_rcache_cluster_cleanup(redis->cluster);
    }

    if (redis->sentinel) {
        ngx_http_rcache_sentinel_cleanup(redis->sentinel);
    }

    if (redis->replica) {
        ngx_http_rcache_replica_cleanup(redis->replica);
    }

    ngx_http_rcache_push_cleanup(&redis->push);

    if (redis->password_buf) {
        ngx_explicit_memzero(redis->password_buf, redis->password.len);
    }
}


ngx_uint_t
ngx_http_rcache_redis_away(ngx_http_rcache_redis_t *redis)
{
    ngx_http_rcache_node_t  *node;

    node = &redis->node;

    return node->down
           && redis->conf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SINGLE
           && node->lanes[NGX_HTTP_RCACHE_LANE_LOOKUP].state
              != NGX_HTTP_RCACHE_CONN_READY
           && (ngx_msec_int_t) (ngx_current_msec - node->retry_at) < 0;
}


ngx_uint_t
ngx_http_rcache_redis_version(ngx_http_rcache_redis_t *redis)
{
    return redis->cluster ? redis->cluster->version : 0;
}


void
ngx_http_rcache_redis_refresh(ngx_http_rcache_redis_t *redis)
{
    if (redis->cluster) {
        ngx_http_rcache_slots_refresh(redis->cluster);
    }
}


size_t
ngx_http_rcache_redis_shared_size(ngx_http_rcache_redis_conf_t *rcf)
{
    size_t  size;

    size = ngx_http_rcache_redis_topology_size(rcf);

    if (rcf->read_from != NGX_HTTP_RCACHE_READ_MASTER) {
        size += sizeof(ngx_http_rcache_replica_sh_t);
    }

    return size;
}


static size_t
ngx_http_rcache_redis_topology_size(ngx_http_rcache_redis_conf_t *rcf)
{
    if (rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_CLUSTER) {
        return sizeof(ngx_http_rcache_cluster_sh_t);
    }

    if (rcf->topology == NGX_HTTP_RCACHE_TOPOLOGY_SENTINEL) {
        return sizeof(ngx_http_rcache_sentinel_sh_t);
    }

    return sizeof(ngx_http_rcache_breaker_sh_t);
}


ngx_uint_t
ngx_http_rcache_redis_slow(ngx_http_rcache_redis_t *redis)
{
    ngx_uint_t                     i, n, nnodes;
    ngx_http_rcache_cluster_sh_t  *sh;

    if (redis->cluster == NULL) {
        n = (redis->node.breaker.sh->open != 0);

        if (redis->replica) {
            n += ngx_http_rcache_replica_slow(redis->replica);
        }

        return n;
    }

    /*
     * A worker that has not heard of the newest map yet may find a node slow
     * that is not in it any more: behind the last one there is nobody who would
     * close its breaker again.
     */

    sh = redis->cluster->sh;
    nnodes = sh->version ? ngx_min(sh->map.nnodes, NGX_HTTP_RCACHE_NODES) : 0;

    for (n = 0, i = 0; i < nnodes; i++) {
        n += (sh->breakers[i].open != 0);
    }

    return n;
}


ngx_int_t
ngx_http_rcache_op_submit(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_op_t *op)
{
    ngx_http_rcache_node_t  *node;

    node = &redis->node;

    op->since = ngx_current_msec;

    if (redis->sentinel) {
        ngx_http_rcache_sentinel_sync(redis->sentinel);
    }

    if (redis->replica) {

        if (op->replica
            && ngx_http_rcache_replica_submit(redis->replica, op) == NGX_OK)
        {
            return NGX_OK;
        }

        if (op->nomaster) {
            op->status = NGX_HTTP_RCACHE_OP_DOWN;
            return NGX_DECLINED;
        }

        ngx_http_rcache_replica_written(redis->replica, op);
    }

    if (redis->cluster) {
        node = ngx_http_rcache_cluster_route(redis->cluster, op);

        if (node == NULL) {
            op->status = NGX_HTTP_RCACHE_OP_BUSY;
            return NGX_DECLINED;
        }
    }

    return ngx_http_rcache_node_submit(node, op);
}


ngx_uint_t
ngx_http_rcache_redis_masters(ngx_http_rcache_redis_t *redis)
{
    ngx_uint_t                  i, n;
    ngx_http_rcache_cluster_t  *cluster;

    cluster = redis->cluster;

    if (cluster == NULL) {
        return 1;
    }

    ngx_http_rcache_slots_sync(cluster);

    for (n = 0, i = 0; i < cluster->nnodes; i++) {
        n += (cluster->names[i].master == i);
    }

    if (n == 0) {
        ngx_http_rcache_slots_refresh(cluster);
    }

    return n;
}


void
ngx_http_rcache_redis_bulk(ngx_http_rcache_redis_t *redis, ngx_int_t n)
{
    redis->bulk += n;
}


void
ngx_http_rcache_redis_flush(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_lane_e lane)
{
    ngx_queue_t             *q;
    ngx_http_rcache_node_t  *node;

    if (redis->cluster == NULL) {
        ngx_http_rcache_node_flush(&redis->node, lane);
        return;
    }

    for (q = ngx_queue_head(&redis->cluster->all);
         q != ngx_queue_sentinel(&redis->cluster->all);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_rcache_node_t, queue);

        ngx_http_rcache_node_flush(node, lane);
    }
}
