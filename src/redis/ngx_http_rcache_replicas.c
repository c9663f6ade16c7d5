
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Which replicas there are: a cluster has them in its map; behind Sentinels
 * one is asked, together with the question who the master is, by one worker
 * for all.
 */


#include "ngx_http_rcache_replica.h"


#define NGX_HTTP_RCACHE_REPLICAS_MAX  (1024 * 1024)


static void ngx_http_rcache_replicas_listen(
    ngx_http_rcache_replica_t *replica);
static void ngx_http_rcache_replicas_sub_handler(ngx_http_rcache_sub_t *sub,
    ngx_str_t *message);
static void ngx_http_rcache_replicas_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static ngx_uint_t ngx_http_rcache_replicas_usable(
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_replicas_add(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_master_t *found);
static ngx_int_t ngx_http_rcache_replicas_compare(
    ngx_http_rcache_node_sh_t *node, u_char *name, size_t len);
static void ngx_http_rcache_replicas_publish(
    ngx_http_rcache_replica_t *replica);
static ngx_http_rcache_node_t *ngx_http_rcache_replicas_node(
    ngx_http_rcache_replica_t *replica, ngx_http_rcache_node_sh_t *sh);


void
ngx_http_rcache_replicas_map(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_cluster_t *cluster)
{
    ngx_uint_t               i, n, master, is;
    ngx_http_rcache_node_t  *node;

    for (n = 0, master = 0; master < cluster->nnodes; master++) {
        replica->first[master] = (uint16_t) n;

        for (i = 0; i < cluster->nnodes; i++) {
            if (cluster->names[i].master == master && i != master) {
                replica->list[n++] = (uint16_t) i;
            }
        }
    }

    replica->first[cluster->nnodes] = (uint16_t) n;

    for (i = 0; i < cluster->nnodes; i++) {
        node = cluster->nodes[i];

        if (node == NULL) {
            continue;
        }

        is = (cluster->names[i].master != i);

        if (node->replica && !is && node->down) {

            /* what kept it from answering need not keep a master from it */

            node->backoff = 0;
            node->retry_at = ngx_current_msec;
        }

        node->replica = is;
    }
}


void
ngx_http_rcache_replicas_ask(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_node_t *node)
{
    ngx_str_t              argv[3];
    ngx_http_rcache_op_t  *op;

    ngx_http_rcache_replicas_listen(replica);

    if (replica->asking) {
        return;
    }

    op = ngx_http_rcache_op_create(4096, replica->redis->log);
    if (op == NULL) {
        return;
    }

    op->lane = NGX_HTTP_RCACHE_LANE_LOOKUP;
    op->internal = 1;
    op->handler = ngx_http_rcache_replicas_handler;
    op->data = replica;
    op->max_reply = NGX_HTTP_RCACHE_REPLICAS_MAX;

    ngx_str_set(&argv[0], "SENTINEL");
    ngx_str_set(&argv[1], "REPLICAS");
    argv[2] = replica->redis->conf->master;

    if (ngx_http_rcache_op_command(op, argv, 3, NULL) != NGX_OK
        || ngx_http_rcache_node_submit(node, op) != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return;
    }

    replica->asking = 1;
}


/* of the link to its master Sentinels tell nothing: it is asked itself */

static void
ngx_http_rcache_replicas_listen(ngx_http_rcache_replica_t *replica)
{
    ngx_uint_t  i;

    static ngx_str_t  events[NGX_HTTP_RCACHE_REPLICA_SUBS] = {
        ngx_string("+slave"),
        ngx_string("+sdown"),
        ngx_string("-sdown")
    };

    for (i = 0; i < NGX_HTTP_RCACHE_REPLICA_SUBS; i++) {

        if (replica->subs[i].node) {
            continue;
        }

        replica->subs[i].channel = events[i];
        replica->subs[i].handler = ngx_http_rcache_replicas_sub_handler;
        replica->subs[i].data = replica;

        ngx_http_rcache_push_join(&replica->redis->sentinel->push,
                                  &replica->subs[i]);
    }
}


/* "slave <name> <ip> <port> @ <master> <ip> <port>" */

static void
ngx_http_rcache_replicas_sub_handler(ngx_http_rcache_sub_t *sub,
    ngx_str_t *message)
{
    ngx_http_rcache_replica_t *replica = sub->data;

    u_char      *p, *last;
    ngx_str_t   *name;

    if (message == NULL) {
        return;
    }

    name = &replica->redis->conf->master;
    last = message->data + message->len;
    p = ngx_strlchr(message->data, last, '@');

    if (p == NULL
        || (size_t) (last - p) <= name->len + 3
        || ngx_strncmp(p + 2, name->data, name->len) != 0
        || p[2 + name->len] != ' ')
    {
        return;
    }

    replica->redis->sentinel->sh->asked = 0;

    ngx_http_rcache_sentinel_ask(replica->redis->sentinel);
}


static void
ngx_http_rcache_replicas_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_replica_t *replica = op->data;

    int64_t                    i;
    ngx_http_rcache_master_t   found;

    replica->asking = 0;

    if (reply == NULL) {
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY) {
        ngx_log_error(NGX_LOG_INFO, replica->redis->log, 0,
                      "a sentinel of \"%V\" does not say which replicas there "
                      "are: %V", &replica->redis->conf->url, &reply->str);
        return;
    }

    replica->nfresh = 0;

    for (i = 0; i < reply->integer; i++) {

        if (ngx_http_rcache_replicas_usable(reply->element[i])
            && ngx_http_rcache_sentinel_parse(reply->element[i], &found)
               == NGX_OK)
        {
            ngx_http_rcache_replicas_add(replica, &found);
        }
    }

    ngx_http_rcache_replicas_publish(replica);
}


static ngx_uint_t
ngx_http_rcache_replicas_usable(ngx_http_rcache_reply_t *reply)
{
    ngx_str_t  *flags, *link;

    flags = ngx_http_rcache_sentinel_field(reply, "flags");
    link = ngx_http_rcache_sentinel_field(reply, "master-link-status");

    return flags
           && link
           && link->len == 2
           && ngx_strncmp(link->data, "ok", 2) == 0
           && ngx_strlcasestrn(flags->data, flags->data + flags->len,
                               (u_char *) "down", 4 - 1)
              == NULL
           && ngx_strlcasestrn(flags->data, flags->data + flags->len,
                               (u_char *) "disconnected", 12 - 1)
              == NULL;
}


/* in order, so that the same ones in another order are no news */

static void
ngx_http_rcache_replicas_add(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_master_t *found)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_http_rcache_node_sh_t  *fresh;

    if (replica->nfresh == NGX_HTTP_RCACHE_REPLICAS) {
        return;
    }

    fresh = replica->fresh;

    for (i = 0; i < replica->nfresh; i++) {
        rc = ngx_http_rcache_replicas_compare(&fresh[i], found->name,
                                              found->name_len);
        if (rc == 0) {
            return;
        }

        if (rc > 0) {
            break;
        }
    }

    ngx_memmove(&fresh[i + 1], &fresh[i],
                (replica->nfresh - i) * sizeof(ngx_http_rcache_node_sh_t));

    ngx_memzero(&fresh[i], sizeof(ngx_http_rcache_node_sh_t));
    ngx_memcpy(fresh[i].name, found->name, found->name_len);

    fresh[i].name_len = (uint16_t) found->name_len;
    fresh[i].host_len = (uint16_t) found->host_len;
    fresh[i].port = (in_port_t) found->port;

    replica->nfresh++;
}


static ngx_int_t
ngx_http_rcache_replicas_compare(ngx_http_rcache_node_sh_t *node,
    u_char *name, size_t len)
{
    if (node->name_len != len) {
        return (node->name_len > len) ? 1 : -1;
    }

    return ngx_memcmp(node->name, name, len);
}


/* what is known of one goes with it to its new number */

static void
ngx_http_rcache_replicas_publish(ngx_http_rcache_replica_t *replica)
{
    ngx_uint_t                     i, j, changed;
    ngx_atomic_uint_t              down[NGX_HTTP_RCACHE_REPLICAS];
    ngx_http_rcache_redis_t       *redis;
    ngx_http_rcache_replica_sh_t  *sh;

    sh = replica->sh;
    redis = replica->redis;

    ngx_memzero(down, sizeof(down));

    ngx_shmtx_lock(redis->conf->mutex);

    changed = (sh->identity == redis->sentinel->identity
               && (sh->version == 0
                   || sh->nnodes != replica->nfresh
                   || ngx_memcmp(sh->nodes, replica->fresh,
                                 replica->nfresh
                                 * sizeof(ngx_http_rcache_node_sh_t))
                      != 0));

    if (changed) {

        for (i = 0; i < replica->nfresh; i++) {
            for (j = 0; sh->version && j < sh->nnodes; j++) {
                if (ngx_http_rcache_replicas_compare(&sh->nodes[j],
                                                 replica->fresh[i].name,
                                                 replica->fresh[i].name_len)
                    == 0)
                {
                    down[i] = sh->down[j];
                }
            }
        }

        sh->version = 0;
        sh->nnodes = replica->nfresh;

        for (i = 0; i < NGX_HTTP_RCACHE_REPLICAS; i++) {
            sh->nodes[i] = replica->fresh[i];
            sh->down[i] = down[i];
            sh->breakers[i].open = 0;
        }

        sh->serial++;
        sh->version = sh->serial;
    }

    ngx_shmtx_unlock(redis->conf->mutex);

    if (changed) {
        ngx_log_error(NGX_LOG_NOTICE, redis->log, 0,
                      "redis \"%V\": %ui replicas may be read from",
                      &redis->conf->url, replica->nfresh);
    }
}


void
ngx_http_rcache_replicas_sync(ngx_http_rcache_replica_t *replica)
{
    ngx_uint_t                     i, n;
    ngx_queue_t                   *q;
    ngx_http_rcache_node_t        *node;
    ngx_http_rcache_node_sh_t      nodes[NGX_HTTP_RCACHE_REPLICAS];
    ngx_http_rcache_replica_sh_t  *sh;

    sh = replica->sh;

    if (sh->version == replica->version || sh->version == 0) {
        return;
    }

    ngx_shmtx_lock(replica->redis->conf->mutex);

    n = (sh->version
         && sh->identity == replica->redis->sentinel->identity)
        ? sh->nnodes : 0;

    replica->version = sh->version;
    ngx_memcpy(nodes, sh->nodes, sizeof(nodes));

    ngx_shmtx_unlock(replica->redis->conf->mutex);

    for (q = ngx_queue_head(&replica->all);
         q != ngx_queue_sentinel(&replica->all);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_rcache_node_t, queue);

        node->number = NGX_HTTP_RCACHE_NO_NODE;
        node->breaker.own.open = 0;
        node->breaker.sh = &node->breaker.own;
    }

    replica->nnodes = 0;

    for (i = 0; i < n; i++) {
        node = ngx_http_rcache_replicas_node(replica, &nodes[i]);

        if (node) {
            node->number = i;
            node->breaker.sh = &sh->breakers[i];
            replica->nodes[replica->nnodes++] = node;
        }
    }

    if (!replica->tidy.posted) {
        ngx_post_event(&replica->tidy, &ngx_posted_events);
    }
}


/* the one of that name, one that is of no use any more, or a new one */

static ngx_http_rcache_node_t *
ngx_http_rcache_replicas_node(ngx_http_rcache_replica_t *replica,
    ngx_http_rcache_node_sh_t *sh)
{
    ngx_queue_t             *q;
    ngx_http_rcache_node_t  *node, *spare;

    spare = NULL;

    for (q = ngx_queue_head(&replica->all);
         q != ngx_queue_sentinel(&replica->all);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_rcache_node_t, queue);

        if (node->name.len == sh->name_len
            && ngx_memcmp(node->name.data, sh->name, sh->name_len) == 0)
        {
            return node;
        }

        if (ngx_http_rcache_node_idle(node)) {
            spare = node;
        }
    }

    node = spare;

    if (node == NULL) {
        node = ngx_pcalloc(ngx_cycle->pool, sizeof(ngx_http_rcache_node_t));
        if (node == NULL) {
            return NULL;
        }

        ngx_http_rcache_node_init(replica->redis, node, NULL);
        node->replica = 1;

        ngx_queue_insert_tail(&replica->all, &node->queue);

    } else {
        ngx_http_rcache_node_forget(node);
    }

    ngx_http_rcache_node_set(node, sh->name, sh->name_len, sh->host_len,
                             sh->port);

    return node;
}


/* not when the list is taken over: see ngx_http_rcache_cluster_tidy_handler */

void
ngx_http_rcache_replicas_tidy_handler(ngx_event_t *ev)
{
    ngx_http_rcache_replica_t *replica = ev->data;

    ngx_http_rcache_nodes_tidy(&replica->all);
}
