
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Which node an operation is for, and what is done if that node says that it
 * is for another one.  A map that is missing or wrong costs a redirection,
 * and no more: any node knows better.
 */


#include "ngx_http_rcache_replica.h"


/* for one operation; and no longer than a command may take */
#define NGX_HTTP_RCACHE_REDIRECTS  8

/*
 * Milliseconds until an operation is tried again, at first, and for how long
 * one of the lane for stores is.  A slot of large values takes a while to
 * move, and an invalidation must not get lost.
 */
#define NGX_HTTP_RCACHE_LATER      10
#define NGX_HTTP_RCACHE_LATER_MAX  10000


static ngx_int_t ngx_http_rcache_cluster_seed(
    ngx_http_rcache_cluster_t *cluster, ngx_http_rcache_server_t *server);
static ngx_http_rcache_node_t *ngx_http_rcache_cluster_find(
    ngx_http_rcache_cluster_t *cluster, ngx_str_t *name);
static ngx_http_rcache_node_t *ngx_http_rcache_cluster_node(
    ngx_http_rcache_cluster_t *cluster, ngx_str_t *name, size_t host_len,
    in_port_t port);
static ngx_http_rcache_node_t *ngx_http_rcache_cluster_spare(
    ngx_http_rcache_cluster_t *cluster);
static ngx_http_rcache_node_t *ngx_http_rcache_cluster_master(
    ngx_http_rcache_cluster_t *cluster, ngx_uint_t n);
static ngx_http_rcache_node_t *ngx_http_rcache_cluster_target(
    ngx_http_rcache_conn_t *conn, ngx_str_t *text, ngx_uint_t *slot);
static ngx_int_t ngx_http_rcache_cluster_later(
    ngx_http_rcache_cluster_t *cluster, ngx_http_rcache_op_t *op);
static ngx_int_t ngx_http_rcache_cluster_asking(ngx_http_rcache_node_t *node,
    ngx_http_rcache_lane_e lane);
static void ngx_http_rcache_cluster_asking_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_cluster_resubmit(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_t *op);
static void ngx_http_rcache_cluster_timer_handler(ngx_event_t *ev);
static void ngx_http_rcache_cluster_tidy_handler(ngx_event_t *ev);


ngx_int_t
ngx_http_rcache_cluster_init(ngx_http_rcache_redis_t *redis)
{
    ngx_uint_t                  i;
    ngx_pool_t                 *pool;
    ngx_http_rcache_server_t   *servers;
    ngx_http_rcache_cluster_t  *cluster;

    pool = ngx_cycle->pool;

    cluster = ngx_pcalloc(pool, sizeof(ngx_http_rcache_cluster_t));
    if (cluster == NULL) {
        return NGX_ERROR;
    }

    cluster->redis = redis;
    cluster->sh = redis->conf->shared;

    ngx_queue_init(&cluster->all);
    ngx_queue_init(&cluster->later);

    cluster->timer.data = cluster;
    cluster->timer.log = redis->log;
    cluster->timer.handler = ngx_http_rcache_cluster_timer_handler;

    cluster->tidy.data = cluster;
    cluster->tidy.log = redis->log;
    cluster->tidy.handler = ngx_http_rcache_cluster_tidy_handler;

    cluster->slots = ngx_palloc(pool, RCACHE_SLOTS * sizeof(uint16_t));
    if (cluster->slots == NULL) {
        return NGX_ERROR;
    }

    cluster->names = ngx_palloc(pool, NGX_HTTP_RCACHE_NODES
                                      * sizeof(ngx_http_rcache_node_sh_t));
    if (cluster->names == NULL) {
        return NGX_ERROR;
    }

    cluster->fresh = ngx_palloc(pool, sizeof(ngx_http_rcache_map_t));
    if (cluster->fresh == NULL) {
        return NGX_ERROR;
    }

    servers = redis->conf->servers.elts;

    for (i = 0; i < redis->conf->servers.nelts; i++) {
        cluster->identity = cluster->identity * 31
                            + ngx_crc32_long(servers[i].url.data,
                                             servers[i].url.len);

        if (ngx_http_rcache_cluster_seed(cluster, &servers[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_shmtx_lock(redis->conf->mutex);

    if (cluster->sh->identity != cluster->identity) {
        cluster->sh->identity = cluster->identity;
        cluster->sh->version = 0;
        cluster->sh->asked = 0;
    }

    ngx_shmtx_unlock(redis->conf->mutex);

    /* workers are not to ask the same one */

    cluster->turn = (ngx_uint_t) ngx_random();

    redis->cluster = cluster;

    return NGX_OK;
}


void
ngx_http_rcache_cluster_cleanup(ngx_http_rcache_cluster_t *cluster)
{
    ngx_queue_t           *q;
    ngx_http_rcache_op_t  *op;

    ngx_http_rcache_nodes_cleanup(&cluster->all);

    while (!ngx_queue_empty(&cluster->later)) {
        q = ngx_queue_head(&cluster->later);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, ngx_http_rcache_op_t, queue);
        ngx_http_rcache_op_free(op);
    }
}


/* under the name that the map may have it by, so that it is the same node */

static ngx_int_t
ngx_http_rcache_cluster_seed(ngx_http_rcache_cluster_t *cluster,
    ngx_http_rcache_server_t *server)
{
    ngx_str_t                host;
    ngx_http_rcache_node_t  *node;

    node = ngx_pcalloc(ngx_cycle->pool, sizeof(ngx_http_rcache_node_t));
    if (node == NULL) {
        return NGX_ERROR;
    }

    ngx_http_rcache_node_init(cluster->redis, node, server);

    node->seed = 1;

    ngx_http_rcache_node_announced(node, &host);

    if (host.len) {
        node->name.data = node->buf;
        node->name.len = ngx_snprintf(node->buf, NGX_HTTP_RCACHE_NODE_NAME,
                                      "%V:%d", &host, (int) node->port)
                         - node->buf;
    }

    ngx_queue_insert_tail(&cluster->all, &node->queue);

    return NGX_OK;
}


ngx_http_rcache_node_t *
ngx_http_rcache_cluster_route(ngx_http_rcache_cluster_t *cluster,
    ngx_http_rcache_op_t *op)
{
    ngx_uint_t               n;
    ngx_http_rcache_node_t  *node;

    op->since = ngx_current_msec;
    op->redirects = 0;

    ngx_http_rcache_slots_sync(cluster);

    if (cluster->nnodes == 0) {
        ngx_http_rcache_slots_refresh(cluster);
        return ngx_http_rcache_cluster_any(cluster);
    }

    if (op->master) {
        return ngx_http_rcache_cluster_master(cluster, op->master);
    }

    if (op->key.len == 0) {
        return ngx_http_rcache_cluster_any(cluster);
    }

    n = cluster->slots[rcache_slot(op->key.data, op->key.len)];

    if (n == NGX_HTTP_RCACHE_NO_NODE) {
        ngx_http_rcache_slots_refresh(cluster);
        return ngx_http_rcache_cluster_any(cluster);
    }

    node = ngx_http_rcache_cluster_number(cluster, n);

    if (node && node->down) {
        ngx_http_rcache_slots_refresh(cluster);
    }

    return node;
}


ngx_http_rcache_node_t *
ngx_http_rcache_cluster_any(ngx_http_rcache_cluster_t *cluster)
{
    ngx_uint_t               i, n;
    ngx_queue_t             *q;
    ngx_http_rcache_node_t  *node, *first;

    if (cluster->nnodes) {

        for (i = 0; i < cluster->nnodes; i++) {
            n = (cluster->turn + i) % cluster->nnodes;

            if (cluster->names[n].master != n) {
                continue;
            }

            node = ngx_http_rcache_cluster_number(cluster, n);

            if (node && !node->down) {
                return node;
            }
        }
    }

    first = NULL;

    for (q = ngx_queue_head(&cluster->all);
         q != ngx_queue_sentinel(&cluster->all);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_rcache_node_t, queue);

        if (!node->seed) {
            continue;
        }

        if (!node->down) {
            return node;
        }

        if (first == NULL
            || (ngx_msec_int_t) (first->retry_at - node->retry_at) > 0)
        {
            first = node;
        }
    }

    return first;
}


static ngx_http_rcache_node_t *
ngx_http_rcache_cluster_master(ngx_http_rcache_cluster_t *cluster,
    ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < cluster->nnodes; i++) {
        if (cluster->names[i].master == i && --n == 0) {
            return ngx_http_rcache_cluster_number(cluster, i);
        }
    }

    return ngx_http_rcache_cluster_any(cluster);
}


ngx_http_rcache_node_t *
ngx_http_rcache_cluster_number(ngx_http_rcache_cluster_t *cluster,
    ngx_uint_t n)
{
    ngx_str_t                   name;
    ngx_http_rcache_node_t     *node;
    ngx_http_rcache_node_sh_t  *sh;

    if (cluster->nodes[n]) {
        return cluster->nodes[n];
    }

    sh = &cluster->names[n];

    name.data = sh->name;
    name.len = sh->name_len;

    node = ngx_http_rcache_cluster_node(cluster, &name, sh->host_len,
                                        sh->port);
    if (node) {
        node->number = n;
        node->replica = (cluster->redis->replica && sh->master != n);
        node->breaker.sh = &cluster->sh->breakers[n];
        cluster->nodes[n] = node;
    }

    return node;
}


static ngx_http_rcache_node_t *
ngx_http_rcache_cluster_find(ngx_http_rcache_cluster_t *cluster,
    ngx_str_t *name)
{
    ngx_queue_t             *q;
    ngx_http_rcache_node_t  *node;

    for (q = ngx_queue_head(&cluster->all);
         q != ngx_queue_sentinel(&cluster->all);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_rcache_node_t, queue);

        if (node->name.len == name->len
            && ngx_memcmp(node->name.data, name->data, name->len) == 0)
        {
            return node;
        }
    }

    return NULL;
}


/* the one of that name, "<host>:<port>", made if there is none */

static ngx_http_rcache_node_t *
ngx_http_rcache_cluster_node(ngx_http_rcache_cluster_t *cluster,
    ngx_str_t *name, size_t host_len, in_port_t port)
{
    ngx_http_rcache_node_t  *node;

    node = ngx_http_rcache_cluster_find(cluster, name);

    if (node || name->len > NGX_HTTP_RCACHE_NODE_NAME) {
        return node;
    }

    node = ngx_http_rcache_cluster_spare(cluster);

    if (node == NULL) {
        node = ngx_pcalloc(ngx_cycle->pool, sizeof(ngx_http_rcache_node_t));
        if (node == NULL) {
            return NULL;
        }

        ngx_http_rcache_node_init(cluster->redis, node, NULL);

        ngx_queue_insert_tail(&cluster->all, &node->queue);
    }

    ngx_http_rcache_node_set(node, name->data, name->len, host_len, port);

    return node;
}


/* one that is no longer in the map, and has nothing to do */

static ngx_http_rcache_node_t *
ngx_http_rcache_cluster_spare(ngx_http_rcache_cluster_t *cluster)
{
    ngx_queue_t             *q;
    ngx_http_rcache_node_t  *node;

    for (q = ngx_queue_head(&cluster->all);
         q != ngx_queue_sentinel(&cluster->all);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_rcache_node_t, queue);

        if (node->seed
            || node->number != NGX_HTTP_RCACHE_NO_NODE
            || node == cluster->redis->push.conn.node
            || node == cluster->asked
            || ngx_http_rcache_node_busy(node))
        {
            continue;
        }

        ngx_http_rcache_node_forget(node);

        return node;
    }

    return NULL;
}


ngx_int_t
ngx_http_rcache_cluster_redirect(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_t *op, ngx_http_rcache_reply_t *reply)
{
    ngx_str_t                  *text;
    ngx_uint_t                  slot;
    ngx_http_rcache_node_t     *node;
    ngx_http_rcache_cluster_t  *cluster;

    cluster = conn->redis->cluster;
    text = &reply->str;

    if (op->internal) {
        return NGX_DECLINED;
    }

    if (text->len > 11 && ngx_strncmp(text->data, "CLUSTERDOWN", 11) == 0) {
        ngx_http_rcache_slots_refresh(cluster);
        return NGX_DECLINED;
    }

    if (text->len >= 8 && ngx_strncmp(text->data, "TRYAGAIN", 8) == 0) {
        return ngx_http_rcache_cluster_later(cluster, op);
    }

    if (op->redirects >= NGX_HTTP_RCACHE_REDIRECTS) {
        return NGX_DECLINED;
    }

    node = ngx_http_rcache_cluster_target(conn, text, &slot);

    if (node == NULL) {
        return NGX_DECLINED;
    }

    op->redirects++;

    ngx_http_rcache_op_rewind(op);

    if (text->data[0] == 'A') {

        if (ngx_http_rcache_cluster_asking(node, op->lane) != NGX_OK) {
            op->status = NGX_HTTP_RCACHE_OP_DOWN;
            ngx_http_rcache_op_finish(op, NULL);
            return NGX_OK;
        }

    } else {

        /* the copy is mended at once, the map when it comes */

        if (node->number != NGX_HTTP_RCACHE_NO_NODE) {
            cluster->slots[slot] = (uint16_t) node->number;
        }

        ngx_http_rcache_slots_refresh(cluster);
    }

    ngx_http_rcache_cluster_resubmit(node, op);

    return NGX_OK;
}


/* of several keys of a slot that moves some have moved */

static ngx_int_t
ngx_http_rcache_cluster_later(ngx_http_rcache_cluster_t *cluster,
    ngx_http_rcache_op_t *op)
{
    ngx_msec_t                     max;
    ngx_http_rcache_redis_conf_t  *rcf;

    rcf = cluster->redis->conf;

    max = rcf->timeout;

    if (op->lane != NGX_HTTP_RCACHE_LANE_LOOKUP && !ngx_exiting) {
        max = ngx_max(max, NGX_HTTP_RCACHE_LATER_MAX);
    }

    if (ngx_current_msec - op->since > max || cluster->nlater >= rcf->queue) {
        return NGX_DECLINED;
    }

    /* the pause doubles, up to 320 ms */

    op->deadline = ngx_current_msec + (NGX_HTTP_RCACHE_LATER << op->pauses);
    op->pauses += (op->pauses < 5);
    op->redirects = 0;

    ngx_http_rcache_op_rewind(op);

    ngx_queue_insert_tail(&cluster->later, &op->queue);
    cluster->nlater++;

    if (!cluster->timer.timer_set) {
        ngx_add_timer(&cluster->timer, NGX_HTTP_RCACHE_LATER);
    }

    return NGX_OK;
}


/*
 * "MOVED <slot> <host>:<port>" or "ASK ...".  Without a host it is the one
 * that was asked.
 */

static ngx_http_rcache_node_t *
ngx_http_rcache_cluster_target(ngx_http_rcache_conn_t *conn, ngx_str_t *text,
    ngx_uint_t *slot)
{
    u_char     *p, *last, *colon;
    ngx_int_t   n, port;
    ngx_str_t   name, host;
    u_char      buf[NGX_HTTP_RCACHE_NODE_NAME];

    p = text->data;
    last = p + text->len;

    if (text->len > 6 && ngx_strncmp(p, "MOVED ", 6) == 0) {
        p += 6;

    } else if (text->len > 4 && ngx_strncmp(p, "ASK ", 4) == 0) {
        p += 4;

    } else {
        return NULL;
    }

    name.data = ngx_strlchr(p, last, ' ');

    if (name.data == NULL) {
        return NULL;
    }

    n = ngx_atoi(p, name.data - p);

    if (n == NGX_ERROR || n >= RCACHE_SLOTS) {
        return NULL;
    }

    *slot = n;

    name.data++;
    name.len = last - name.data;

    for (colon = last; colon > name.data; colon--) {
        if (*(colon - 1) == ':') {
            break;
        }
    }

    if (colon == name.data) {
        return NULL;
    }

    port = ngx_atoi(colon, last - colon);

    if (port == NGX_ERROR || port == 0 || port > 65535) {
        return NULL;
    }

    if (colon - 1 == name.data) {
        ngx_http_rcache_node_announced(conn->node, &host);

        if (host.len == 0) {
            return NULL;
        }

        name.data = buf;
        name.len = ngx_snprintf(buf, sizeof(buf), "%V:%i", &host, port) - buf;
        colon = buf + host.len + 1;
    }

    if (name.len > NGX_HTTP_RCACHE_NODE_NAME) {
        return NULL;
    }

    return ngx_http_rcache_cluster_node(conn->redis->cluster, &name,
                                        colon - 1 - name.data,
                                        (in_port_t) port);
}


/* the next command may use a slot that the node is importing */

static ngx_int_t
ngx_http_rcache_cluster_asking(ngx_http_rcache_node_t *node,
    ngx_http_rcache_lane_e lane)
{
    ngx_str_t              argv[1];
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(512, node->redis->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->lane = lane;
    op->internal = 1;
    op->handler = ngx_http_rcache_cluster_asking_handler;

    ngx_str_set(&argv[0], "ASKING");

    if (ngx_http_rcache_op_command(op, argv, 1, NULL) != NGX_OK
        || ngx_http_rcache_node_submit(node, op) != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_rcache_cluster_asking_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    /* what comes of it the next answer says */

    (void) op;
    (void) reply;
}


static void
ngx_http_rcache_cluster_resubmit(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_t *op)
{
    if (ngx_http_rcache_node_submit(node, op) != NGX_OK) {
        ngx_http_rcache_op_finish(op, NULL);
    }
}


static void
ngx_http_rcache_cluster_timer_handler(ngx_event_t *ev)
{
    ngx_http_rcache_cluster_t *cluster = ev->data;

    ngx_msec_t               since;
    ngx_queue_t              later, *q;
    ngx_http_rcache_op_t    *op;
    ngx_http_rcache_node_t  *node;

    if (ngx_queue_empty(&cluster->later)) {
        return;
    }

    ngx_queue_init(&later);
    ngx_queue_add(&later, &cluster->later);
    ngx_queue_init(&cluster->later);

    while (!ngx_queue_empty(&later)) {
        q = ngx_queue_head(&later);
        ngx_queue_remove(q);

        op = ngx_queue_data(q, ngx_http_rcache_op_t, queue);

        if ((ngx_msec_int_t) (op->deadline - ngx_current_msec) > 0
            && !ngx_exiting)
        {
            ngx_queue_insert_tail(&cluster->later, q);
            continue;
        }

        cluster->nlater--;

        since = op->since;

        node = ngx_http_rcache_cluster_route(cluster, op);

        op->since = since;

        if (node == NULL) {
            op->status = NGX_HTTP_RCACHE_OP_BUSY;
            ngx_http_rcache_op_finish(op, NULL);
            continue;
        }

        ngx_http_rcache_cluster_resubmit(node, op);
    }

    if (!ngx_queue_empty(&cluster->later) && !ev->timer_set) {
        ngx_add_timer(ev, NGX_HTTP_RCACHE_LATER);
    }
}


/*
 * Closes connections to nodes that are not in the map any more, unless they
 * have something to do.  Not when the map is taken over, for that may be while
 * an answer from one of them is being dealt with.
 */

static void
ngx_http_rcache_cluster_tidy_handler(ngx_event_t *ev)
{
    ngx_http_rcache_cluster_t *cluster = ev->data;

    ngx_http_rcache_nodes_tidy(&cluster->all);
}


void
ngx_http_rcache_cluster_notify(ngx_http_rcache_node_t *node, ngx_uint_t up,
    ngx_str_t *why)
{
    ngx_uint_t                  level;
    ngx_atomic_t               *down;
    ngx_http_rcache_cluster_t  *cluster;

    cluster = node->redis->cluster;
    level = up ? NGX_LOG_NOTICE
               : node->replica ? NGX_LOG_WARN : NGX_LOG_ERR;

    if (node->number != NGX_HTTP_RCACHE_NO_NODE) {
        down = &cluster->sh->down[node->number];

        /* one of the workers tells of it */

        if (!ngx_atomic_cmp_set(down, up, !up)) {
            level = NGX_LOG_INFO;
        }
    }

    if (up) {
        ngx_log_error(level, node->redis->log, 0,
                      "redis \"%V\" is up again", &node->name);
        return;
    }

    ngx_log_error(level, node->redis->log, 0, "redis \"%V\" is down: %V",
                  &node->name, why);

    ngx_http_rcache_slots_refresh(cluster);
}
