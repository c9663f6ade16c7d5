
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The map of a cluster: asked for with CLUSTER SLOTS, which all versions know
 * that there are, and put where all workers find it.
 */


#include "ngx_http_rcache_replica.h"


/* milliseconds from one question to the next, of all workers of an instance */
#define NGX_HTTP_RCACHE_SLOTS_PAUSE  200

#define NGX_HTTP_RCACHE_SLOTS_MAX    (1024 * 1024)


static ngx_int_t ngx_http_rcache_slots_ask(ngx_http_rcache_cluster_t *cluster,
    ngx_http_rcache_node_t *node);
static void ngx_http_rcache_slots_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static ngx_int_t ngx_http_rcache_slots_parse(ngx_http_rcache_map_t *map,
    ngx_http_rcache_reply_t *reply, ngx_str_t *asked);
static ngx_int_t ngx_http_rcache_slots_range(ngx_http_rcache_map_t *map,
    ngx_http_rcache_reply_t *range, ngx_str_t *asked);
static ngx_uint_t ngx_http_rcache_slots_node(ngx_http_rcache_map_t *map,
    ngx_http_rcache_reply_t *reply, ngx_str_t *asked);
static void ngx_http_rcache_slots_publish(ngx_http_rcache_cluster_t *cluster);
static ngx_uint_t ngx_http_rcache_slots_find(ngx_http_rcache_node_sh_t *nodes,
    ngx_uint_t n, u_char *name, size_t len);


void
ngx_http_rcache_slots_sync(ngx_http_rcache_cluster_t *cluster)
{
    ngx_uint_t                     changed;
    ngx_queue_t                   *q;
    ngx_http_rcache_map_t         *map;
    ngx_http_rcache_node_t        *node;
    ngx_http_rcache_cluster_sh_t  *sh;

    sh = cluster->sh;

    if (sh->version == cluster->version || sh->version == 0) {
        return;
    }

    map = &sh->map;

    ngx_shmtx_lock(cluster->redis->conf->mutex);

    /* a worker of the configuration before has no use for this one's map */

    cluster->version = sh->version;

    if (cluster->version && sh->identity == cluster->identity) {
        cluster->nnodes = map->nnodes;
        ngx_memcpy(cluster->slots, map->slots, sizeof(map->slots));
        ngx_memcpy(cluster->names, map->nodes, sizeof(map->nodes));
    }

    changed = (cluster->version && sh->identity == cluster->identity);

    ngx_shmtx_unlock(cluster->redis->conf->mutex);

    if (!changed) {
        return;
    }

    ngx_memzero(cluster->nodes, sizeof(cluster->nodes));

    for (q = ngx_queue_head(&cluster->all);
         q != ngx_queue_sentinel(&cluster->all);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_rcache_node_t, queue);

        if (node->track) {
            ngx_http_rcache_track_void(node->track);
        }

        node->number = ngx_http_rcache_slots_find(cluster->names,
                                                  cluster->nnodes,
                                                  node->name.data,
                                                  node->name.len);

        if (node->number != NGX_HTTP_RCACHE_NO_NODE) {
            cluster->nodes[node->number] = node;
            node->breaker.sh = &sh->breakers[node->number];

        } else {
            node->breaker.own.open = 0;
            node->breaker.sh = &node->breaker.own;
            node->replica = 0;
        }
    }

    if (cluster->redis->replica) {
        ngx_http_rcache_replicas_map(cluster->redis->replica, cluster);
    }

    if (!cluster->tidy.posted) {
        ngx_post_event(&cluster->tidy, &ngx_posted_events);
    }
}


void
ngx_http_rcache_slots_refresh(ngx_http_rcache_cluster_t *cluster)
{
    ngx_uint_t                     i;
    ngx_msec_t                     now;
    ngx_atomic_uint_t              asked;
    ngx_http_rcache_node_t        *node;
    ngx_http_rcache_cluster_sh_t  *sh;

    sh = cluster->sh;
    asked = sh->asked;
    now = ngx_current_msec;

    if (cluster->asking
        || ngx_exiting
        || (asked && now - asked < NGX_HTTP_RCACHE_SLOTS_PAUSE)
        || !ngx_atomic_cmp_set(&sh->asked, asked, now ? now : 1))
    {
        return;
    }

    for (i = 0; i < 3; i++) {
        cluster->turn++;

        node = ngx_http_rcache_cluster_any(cluster);

        if (node && ngx_http_rcache_slots_ask(cluster, node) == NGX_OK) {
            return;
        }
    }
}


/* over the lane for stores: no lookup is to wait behind a long map */

static ngx_int_t
ngx_http_rcache_slots_ask(ngx_http_rcache_cluster_t *cluster,
    ngx_http_rcache_node_t *node)
{
    ngx_str_t              argv[2];
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(4096, cluster->redis->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->lane = NGX_HTTP_RCACHE_LANE_STORE;
    op->internal = 1;
    op->handler = ngx_http_rcache_slots_handler;
    op->data = cluster;
    op->max_reply = NGX_HTTP_RCACHE_SLOTS_MAX;

    ngx_str_set(&argv[0], "CLUSTER");
    ngx_str_set(&argv[1], "SLOTS");

    if (ngx_http_rcache_op_command(op, argv, 2, NULL) != NGX_OK
        || ngx_http_rcache_node_submit(node, op) != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    cluster->asking = 1;
    cluster->asked = node;

    return NGX_OK;
}


static void
ngx_http_rcache_slots_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_cluster_t *cluster = op->data;

    ngx_str_t                host;
    ngx_http_rcache_node_t  *node;

    node = cluster->asked;

    cluster->asking = 0;
    cluster->asked = NULL;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {

        if (!cluster->refused) {
            ngx_log_error(NGX_LOG_ERR, cluster->redis->log, 0,
                          "redis \"%V\" refuses CLUSTER SLOTS: %V",
                          &node->name, &reply->str);
        }

        cluster->refused = 1;
        return;
    }

    cluster->refused = 0;

    ngx_http_rcache_node_announced(node, &host);

    if (ngx_http_rcache_slots_parse(cluster->fresh, reply, &host) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, cluster->redis->log, 0,
                      "redis \"%V\" sent a map of the cluster that cannot be "
                      "used", &node->name);
        return;
    }

    ngx_http_rcache_slots_publish(cluster);
    ngx_http_rcache_slots_sync(cluster);
}


/* an array of [ first, last, master, replica ... ] */

static ngx_int_t
ngx_http_rcache_slots_parse(ngx_http_rcache_map_t *map,
    ngx_http_rcache_reply_t *reply, ngx_str_t *asked)
{
    int64_t  i;

    if (reply->type != REDIS_REPLY_ARRAY || reply->integer == 0) {
        return NGX_ERROR;
    }

    ngx_memzero(map, sizeof(ngx_http_rcache_map_t));
    ngx_memset(map->slots, 0xff, sizeof(map->slots));

    for (i = 0; i < reply->integer; i++) {
        if (ngx_http_rcache_slots_range(map, reply->element[i], asked)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return map->nnodes ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_rcache_slots_range(ngx_http_rcache_map_t *map,
    ngx_http_rcache_reply_t *range, ngx_str_t *asked)
{
    int64_t     i, first, last;
    ngx_uint_t  n, master;

    if (range->type != REDIS_REPLY_ARRAY
        || range->integer < 3
        || range->element[0]->type != REDIS_REPLY_INTEGER
        || range->element[1]->type != REDIS_REPLY_INTEGER)
    {
        return NGX_ERROR;
    }

    first = range->element[0]->integer;
    last = range->element[1]->integer;

    if (first < 0 || last < first || last >= RCACHE_SLOTS) {
        return NGX_ERROR;
    }

    master = ngx_http_rcache_slots_node(map, range->element[2], asked);

    if (master == NGX_HTTP_RCACHE_NO_NODE) {

        /* of unknown address, or one too many: a redirection may help */

        return NGX_OK;
    }

    map->nodes[master].master = (uint16_t) master;

    for (i = 3; i < range->integer; i++) {
        n = ngx_http_rcache_slots_node(map, range->element[i], asked);

        if (n != NGX_HTTP_RCACHE_NO_NODE && n != master) {
            map->nodes[n].master = (uint16_t) master;
        }
    }

    for (i = first; i <= last; i++) {
        map->slots[i] = (uint16_t) master;
    }

    return NGX_OK;
}


/*
 * [ host, port, ... ].  The host may be an address or a name, as the cluster
 * announces it; empty or nil is the host that was asked.
 */

static ngx_uint_t
ngx_http_rcache_slots_node(ngx_http_rcache_map_t *map,
    ngx_http_rcache_reply_t *reply, ngx_str_t *asked)
{
    size_t                      i;
    int64_t                     port;
    ngx_str_t                   host;
    ngx_uint_t                  n;
    ngx_http_rcache_node_sh_t  *node;
    u_char                      name[NGX_HTTP_RCACHE_NODE_NAME];

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->integer < 2
        || reply->element[1]->type != REDIS_REPLY_INTEGER)
    {
        return NGX_HTTP_RCACHE_NO_NODE;
    }

    host = *asked;

    if (reply->element[0]->type == REDIS_REPLY_STRING
        && reply->element[0]->str.len)
    {
        host = reply->element[0]->str;
    }

    port = reply->element[1]->integer;

    if (host.len == 0
        || host.len > NGX_HTTP_RCACHE_NODE_NAME - sizeof(":65535")
        || (host.len == 1 && host.data[0] == '?')
        || port <= 0 || port > 65535)
    {
        return NGX_HTTP_RCACHE_NO_NODE;
    }

    for (i = 0; i < host.len; i++) {
        if (host.data[i] <= 0x20 || host.data[i] > 0x7e) {
            return NGX_HTTP_RCACHE_NO_NODE;
        }
    }

    i = ngx_sprintf(name, "%V:%L", &host, port) - name;

    n = ngx_http_rcache_slots_find(map->nodes, map->nnodes, name, i);

    if (n != NGX_HTTP_RCACHE_NO_NODE) {
        return n;
    }

    if (map->nnodes == NGX_HTTP_RCACHE_NODES) {
        return NGX_HTTP_RCACHE_NO_NODE;
    }

    n = map->nnodes++;
    node = &map->nodes[n];

    ngx_memcpy(node->name, name, i);
    node->name_len = (uint16_t) i;
    node->host_len = (uint16_t) host.len;
    node->port = (in_port_t) port;
    node->master = NGX_HTTP_RCACHE_NO_NODE;

    return n;
}


static ngx_uint_t
ngx_http_rcache_slots_find(ngx_http_rcache_node_sh_t *nodes, ngx_uint_t n,
    u_char *name, size_t len)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (nodes[i].name_len == len
            && ngx_memcmp(nodes[i].name, name, len) == 0)
        {
            return i;
        }
    }

    return NGX_HTTP_RCACHE_NO_NODE;
}


/* what is known of a node goes with it to its new number */

static void
ngx_http_rcache_slots_publish(ngx_http_rcache_cluster_t *cluster)
{
    ngx_uint_t                     i, n, changed;
    ngx_http_rcache_map_t         *map, *fresh;
    ngx_http_rcache_cluster_sh_t  *sh;
    ngx_atomic_uint_t              down[NGX_HTTP_RCACHE_NODES];

    sh = cluster->sh;
    map = &sh->map;
    fresh = cluster->fresh;

    ngx_memzero(down, sizeof(down));

    ngx_shmtx_lock(cluster->redis->conf->mutex);

    changed = (sh->identity == cluster->identity
               && (sh->version == 0
                   || ngx_memcmp(map, fresh, sizeof(ngx_http_rcache_map_t))
                      != 0));

    if (changed) {

        if (sh->version) {

            for (i = 0; i < fresh->nnodes; i++) {
                n = ngx_http_rcache_slots_find(map->nodes, map->nnodes,
                                               fresh->nodes[i].name,
                                               fresh->nodes[i].name_len);
                if (n != NGX_HTTP_RCACHE_NO_NODE) {
                    down[i] = sh->down[n];
                }
            }
        }

        sh->version = 0;

        ngx_memcpy(map, fresh, sizeof(ngx_http_rcache_map_t));

        for (i = 0; i < NGX_HTTP_RCACHE_NODES; i++) {
            sh->down[i] = down[i];
            sh->breakers[i].open = 0;
        }

        sh->serial++;
        sh->version = sh->serial;
    }

    ngx_shmtx_unlock(cluster->redis->conf->mutex);

    if (changed) {
        ngx_log_error(NGX_LOG_NOTICE, cluster->redis->log, 0,
                      "redis \"%V\": the cluster's slots are known anew, "
                      "%ui nodes",
                      &cluster->redis->conf->url, fresh->nnodes);
    }
}
