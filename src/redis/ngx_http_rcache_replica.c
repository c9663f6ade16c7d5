
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* Which replica an operation goes to, and what is done if it fails there. */


#include "ngx_http_rcache_replica.h"


/*
 * Milliseconds.  How long what was written is read from the master; how often
 * a replica is asked whether it is in touch with its master; how long one is
 * left out that refused a command.
 */
#define NGX_HTTP_RCACHE_REPLICA_OWN    2000
#define NGX_HTTP_RCACHE_REPLICA_CHECK  1000
#define NGX_HTTP_RCACHE_REPLICA_PAUSE  1000

/*
 * A cluster does not tell of replicas that come: milliseconds until its map is
 * asked for again, by one worker of an instance.
 */
#define NGX_HTTP_RCACHE_REPLICA_WATCH  10000

/* of the answer to ROLE */
#define NGX_HTTP_RCACHE_REPLICA_MAX    65536

#define ngx_http_rcache_replica_tick(ms)  ((uint16_t) ((ms) >> 7))


static ngx_http_rcache_node_t *ngx_http_rcache_replica_node(
    ngx_http_rcache_replica_t *replica, uint16_t *list, ngx_uint_t i);
static void ngx_http_rcache_replica_check(ngx_http_rcache_node_t *node);
static void ngx_http_rcache_replica_check_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static ngx_uint_t ngx_http_rcache_replica_is(ngx_http_rcache_reply_t *reply,
    const char *text);
static void ngx_http_rcache_replica_mode_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


ngx_int_t
ngx_http_rcache_replica_init(ngx_http_rcache_redis_t *redis, void *shared)
{
    ngx_http_rcache_replica_t  *replica;

    replica = ngx_pcalloc(ngx_cycle->pool, sizeof(ngx_http_rcache_replica_t));
    if (replica == NULL) {
        return NGX_ERROR;
    }

    replica->redis = redis;
    replica->sh = shared;

    ngx_queue_init(&replica->all);

    replica->tidy.data = replica;
    replica->tidy.log = redis->log;
    replica->tidy.handler = ngx_http_rcache_replicas_tidy_handler;

    if (redis->sentinel) {
        ngx_shmtx_lock(redis->conf->mutex);

        if (replica->sh->identity != redis->sentinel->identity) {
            replica->sh->identity = redis->sentinel->identity;
            replica->sh->version = 0;
        }

        ngx_shmtx_unlock(redis->conf->mutex);
    }

    redis->replica = replica;

    return NGX_OK;
}


void
ngx_http_rcache_replica_cleanup(ngx_http_rcache_replica_t *replica)
{
    ngx_http_rcache_nodes_cleanup(&replica->all);
}


ngx_int_t
ngx_http_rcache_replica_submit(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_op_t *op)
{
    uint16_t                    written, *list;
    ngx_uint_t                  i, n, master, slot;
    ngx_http_rcache_node_t     *node;
    ngx_http_rcache_node_t     *nodes[NGX_HTTP_RCACHE_REPLICAS + 1];
    ngx_http_rcache_cluster_t  *cluster;

    if (op->key.len == 0) {
        return NGX_DECLINED;
    }

    slot = rcache_slot(op->key.data, op->key.len);
    written = replica->sh->written[slot];

    if ((uint16_t) (ngx_http_rcache_replica_tick(ngx_current_msec) - written)
        <= ngx_http_rcache_replica_tick(NGX_HTTP_RCACHE_REPLICA_OWN))
    {
        return NGX_DECLINED;
    }

    list = NULL;
    nodes[0] = &replica->redis->node;
    cluster = replica->redis->cluster;

    if (cluster) {
        ngx_http_rcache_slots_sync(cluster);

        if (ngx_current_msec - cluster->sh->asked
            > NGX_HTTP_RCACHE_REPLICA_WATCH)
        {
            ngx_http_rcache_slots_refresh(cluster);
        }

        master = cluster->slots[slot];

        if (cluster->nnodes == 0 || master >= cluster->nnodes) {
            return NGX_DECLINED;
        }

        nodes[0] = ngx_http_rcache_cluster_number(cluster, master);

        list = &replica->list[replica->first[master]];
        n = replica->first[master + 1] - replica->first[master];

    } else {
        ngx_http_rcache_replicas_sync(replica);

        n = replica->nnodes;
    }

    if (replica->redis->conf->read_from == NGX_HTTP_RCACHE_READ_NEAREST) {

        n = ngx_min(n, NGX_HTTP_RCACHE_REPLICAS);

        for (i = 0; i < n; i++) {
            nodes[i + 1] = ngx_http_rcache_replica_node(replica, list, i);

            if (nodes[i + 1] == NULL) {
                return NGX_DECLINED;
            }
        }

        return (n && nodes[0])
               ? ngx_http_rcache_nearest_submit(nodes, n + 1, slot, op)
               : NGX_DECLINED;
    }

    for (i = 0; i < n; i++) {
        node = ngx_http_rcache_replica_node(replica, list, (slot + i) % n);

        if (node && ngx_http_rcache_replica_try(node, op) == NGX_OK) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/* list is the one of a master in a cluster; NULL: behind Sentinels */

static ngx_http_rcache_node_t *
ngx_http_rcache_replica_node(ngx_http_rcache_replica_t *replica,
    uint16_t *list, ngx_uint_t i)
{
    return list ? ngx_http_rcache_cluster_number(replica->redis->cluster,
                                                 list[i])
                : replica->nodes[i];
}


ngx_int_t
ngx_http_rcache_replica_try(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_t *op)
{
    if (node->down) {

        if (!ngx_exiting
            && (ngx_msec_int_t) (ngx_current_msec - node->retry_at) >= 0)
        {
            ngx_http_rcache_node_probe(node);
        }

        return NGX_DECLINED;
    }

    if (node->unfit) {

        if ((ngx_msec_int_t) (node->unfit - ngx_current_msec) > 0) {
            return NGX_DECLINED;
        }

        node->unfit = 0;
    }

    ngx_http_rcache_replica_check(node);

    op->since = ngx_current_msec;
    op->redirects = 0;
    op->away = 1;

    if (ngx_http_rcache_node_submit(node, op) != NGX_OK) {
        op->away = 0;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * In front of the lookup, on its lane: if the answer is no, the lookup is
 * not answered here.  A new connection has asked in its handshake.
 */

static void
ngx_http_rcache_replica_check(ngx_http_rcache_node_t *node)
{
    if (ngx_current_msec - node->checked_at < NGX_HTTP_RCACHE_REPLICA_CHECK
        || node->lanes[NGX_HTTP_RCACHE_LANE_LOOKUP].state
           != NGX_HTTP_RCACHE_CONN_READY)
    {
        return;
    }

    (void) ngx_http_rcache_replica_ask(node,
                                       ngx_http_rcache_replica_check_handler);
}


ngx_int_t
ngx_http_rcache_replica_ask(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_pt handler)
{
    ngx_str_t              argv[1];
    ngx_http_rcache_op_t  *op;

    node->checked_at = ngx_current_msec;

    op = ngx_http_rcache_op_create(1024, node->redis->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->lane = NGX_HTTP_RCACHE_LANE_LOOKUP;
    op->internal = 1;
    op->handler = handler;
    op->data = node;
    op->max_reply = NGX_HTTP_RCACHE_REPLICA_MAX;

    ngx_str_set(&argv[0], "ROLE");

    if (ngx_http_rcache_op_command(op, argv, 1, NULL) != NGX_OK
        || ngx_http_rcache_node_submit(node, op) != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_rcache_replica_check_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    if (reply) {
        ngx_http_rcache_replica_role(op->data, reply);
    }
}


void
ngx_http_rcache_replica_role(ngx_http_rcache_node_t *node,
    ngx_http_rcache_reply_t *reply)
{
    if (!ngx_http_rcache_replica_fit(node, reply)) {
        ngx_http_rcache_conn_fail(&node->lanes[NGX_HTTP_RCACHE_LANE_LOOKUP],
                                  NGX_HTTP_RCACHE_OP_DOWN,
                                  "it is not in touch with its master");
    }
}


/*
 * A user that may not ask has to do without.  In a cluster a replica that has
 * become a master is as good, or says that it is not; to Sentinels it may be
 * an old master that has not been told yet.
 */

ngx_uint_t
ngx_http_rcache_replica_fit(ngx_http_rcache_node_t *node,
    ngx_http_rcache_reply_t *reply)
{
    if (reply->type == REDIS_REPLY_ERROR || !node->replica) {
        return 1;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->integer < 1) {
        return 0;
    }

    if (ngx_http_rcache_replica_is(reply->element[0], "master")) {
        return node->redis->cluster != NULL;
    }

    return reply->integer >= 4
           && ngx_http_rcache_replica_is(reply->element[0], "slave")
           && ngx_http_rcache_replica_is(reply->element[3], "connected");
}


static ngx_uint_t
ngx_http_rcache_replica_is(ngx_http_rcache_reply_t *reply, const char *text)
{
    return reply->type == REDIS_REPLY_STRING
           && reply->str.len == ngx_strlen(text)
           && ngx_memcmp(reply->str.data, text, reply->str.len) == 0;
}


void
ngx_http_rcache_replica_written(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_op_t *op)
{
    ngx_uint_t  slot;

    if (op->lane != NGX_HTTP_RCACHE_LANE_STORE || op->key.len == 0) {
        return;
    }

    slot = rcache_slot(op->key.data, op->key.len);

    replica->sh->written[slot] =
                               ngx_http_rcache_replica_tick(ngx_current_msec);
}


ngx_int_t
ngx_http_rcache_replica_again(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_op_t *op)
{
    op->away = 0;
    op->replica = 0;

    if (op->detached || op->nomaster) {
        return NGX_DECLINED;
    }

    ngx_http_rcache_op_rewind(op);

    if (ngx_http_rcache_op_submit(redis, op) != NGX_OK) {
        ngx_http_rcache_op_finish(op, NULL);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_replica_refused(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_t *op, ngx_http_rcache_reply_t *reply)
{
    ngx_str_t  *text;

    text = &reply->str;

    if (reply->type == REDIS_REPLY_NIL) {

        /* it is behind, or the key has moved with its slot */

        goto again;
    }

    if (text->len > 9 && ngx_strncmp(text->data, "WRONGTYPE", 9) == 0) {
        return NGX_DECLINED;
    }

    if (conn->redis->cluster
        && text->len > 6
        && (ngx_strncmp(text->data, "MOVED ", 6) == 0
            || ngx_strncmp(text->data, "ASK ", 4) == 0))
    {
        op->away = 0;
        op->replica = 0;

        return ngx_http_rcache_cluster_redirect(conn, op, reply);
    }

    /* LOADING, MASTERDOWN, CLUSTERDOWN, NOPERM: the master may know better */

    conn->node->unfit = ngx_current_msec + NGX_HTTP_RCACHE_REPLICA_PAUSE;

    ngx_log_error(NGX_LOG_INFO, conn->redis->log, 0,
                  "redis \"%V\", a replica, refuses a lookup: %V",
                  &conn->node->name, text);

again:

    if (ngx_http_rcache_replica_again(conn->redis, op) != NGX_OK) {
        op->status = NGX_HTTP_RCACHE_OP_DOWN;
        ngx_http_rcache_op_finish(op, NULL);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_replica_mode(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_t *op)
{
    ngx_str_t                argv[1];
    ngx_http_rcache_op_t    *mode;
    ngx_http_rcache_conn_t  *conn;

    conn = &node->lanes[op->lane];

    mode = ngx_http_rcache_op_create(512, node->redis->log);
    if (mode == NULL) {
        return NGX_ERROR;
    }

    mode->lane = op->lane;
    mode->internal = 1;
    mode->handler = ngx_http_rcache_replica_mode_handler;
    mode->data = conn;
    mode->max_reply = 1024;

    if (op->away) {
        ngx_str_set(&argv[0], "READONLY");

    } else {
        ngx_str_set(&argv[0], "READWRITE");
    }

    if (ngx_http_rcache_op_command(mode, argv, 1, NULL) != NGX_OK
        || ngx_http_rcache_node_submit(node, mode) != NGX_OK)
    {
        ngx_destroy_pool(mode->pool);
        return NGX_ERROR;
    }

    conn->readonly = op->away;

    return NGX_OK;
}


static void
ngx_http_rcache_replica_mode_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_conn_t *conn = op->data;

    if (reply && reply->type == REDIS_REPLY_ERROR) {
        ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                  "READONLY or READWRITE was refused: %V",
                                  &reply->str);
    }
}


void
ngx_http_rcache_replica_notify(ngx_http_rcache_node_t *node, ngx_uint_t up,
    ngx_str_t *why)
{
    ngx_uint_t                  level;
    ngx_http_rcache_replica_t  *replica;

    replica = node->redis->replica;
    level = up ? NGX_LOG_NOTICE : NGX_LOG_WARN;

    /* one of the workers tells of it */

    if (node->number == NGX_HTTP_RCACHE_NO_NODE
        || !ngx_atomic_cmp_set(&replica->sh->down[node->number], up, !up))
    {
        level = NGX_LOG_INFO;
    }

    ngx_log_error(level, node->redis->log, 0, "redis \"%V\", a replica, is "
                  "%s%V", &node->name, up ? "up again" : "down: ", why);

    if (!up) {
        ngx_http_rcache_sentinel_ask(node->redis->sentinel);
    }
}


ngx_uint_t
ngx_http_rcache_replica_slow(ngx_http_rcache_replica_t *replica)
{
    ngx_uint_t                     i, n, nnodes;
    ngx_http_rcache_replica_sh_t  *sh;

    sh = replica->sh;
    nnodes = sh->version ? ngx_min(sh->nnodes, NGX_HTTP_RCACHE_REPLICAS) : 0;

    for (n = 0, i = 0; i < nnodes; i++) {
        n += (sh->breakers[i].open != 0);
    }

    return n;
}
