
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_replica.h"


/* milliseconds from one round of questions to the next, of all workers */
#define NGX_HTTP_RCACHE_SENTINEL_PAUSE  200

/* milliseconds until they are asked again while there is no master */
#define NGX_HTTP_RCACHE_SENTINEL_RETRY  500

/* and while all is well, by one worker of an instance */
#define NGX_HTTP_RCACHE_SENTINEL_WATCH  10000

#define NGX_HTTP_RCACHE_SENTINEL_MAX    65536


static void ngx_http_rcache_sentinel_sub_handler(ngx_http_rcache_sub_t *sub,
    ngx_str_t *message);
static void ngx_http_rcache_sentinel_timer_handler(ngx_event_t *ev);
static void ngx_http_rcache_sentinel_round(
    ngx_http_rcache_sentinel_t *sentinel);
static ngx_int_t ngx_http_rcache_sentinel_question(
    ngx_http_rcache_sentinel_t *sentinel, ngx_http_rcache_node_t *node);
static void ngx_http_rcache_sentinel_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_sentinel_conclude(
    ngx_http_rcache_sentinel_t *sentinel);
static ngx_uint_t ngx_http_rcache_sentinel_same(ngx_http_rcache_master_t *a,
    ngx_http_rcache_master_t *b);
static void ngx_http_rcache_sentinel_believe(
    ngx_http_rcache_sentinel_t *sentinel, ngx_http_rcache_master_t *master,
    ngx_uint_t agreed);
static void ngx_http_rcache_sentinel_moved_handler(ngx_event_t *ev);


ngx_int_t
ngx_http_rcache_sentinel_init(ngx_http_rcache_redis_t *redis)
{
    ngx_uint_t                   i, n;
    ngx_http_rcache_node_t      *node;
    ngx_http_rcache_server_t    *servers;
    ngx_http_rcache_sentinel_t  *sentinel;

    sentinel = ngx_pcalloc(ngx_cycle->pool,
                           sizeof(ngx_http_rcache_sentinel_t));
    if (sentinel == NULL) {
        return NGX_ERROR;
    }

    servers = redis->conf->servers.elts;
    n = redis->conf->servers.nelts;

    sentinel->nodes = ngx_pcalloc(ngx_cycle->pool,
                                  n * sizeof(ngx_http_rcache_node_t));
    if (sentinel->nodes == NULL) {
        return NGX_ERROR;
    }

    sentinel->redis = redis;
    sentinel->sh = redis->conf->shared;
    sentinel->n = n;
    sentinel->turn = (ngx_uint_t) ngx_random() % n;

    sentinel->identity = ngx_crc32_long(redis->conf->master.data,
                                        redis->conf->master.len);

    for (i = 0; i < n; i++) {
        node = &sentinel->nodes[i];

        ngx_http_rcache_node_init(redis, node, &servers[i]);
        node->sentinel = 1;

        sentinel->identity = sentinel->identity * 31
                             + ngx_crc32_long(servers[i].url.data,
                                              servers[i].url.len);
    }

    ngx_http_rcache_conn_init(&sentinel->push.conn, &sentinel->nodes[0]);
    ngx_http_rcache_push_init(&sentinel->push);
    sentinel->push.watch = sentinel;

    ngx_str_set(&sentinel->sub.channel, "+switch-master");
    sentinel->sub.handler = ngx_http_rcache_sentinel_sub_handler;
    sentinel->sub.data = sentinel;

    sentinel->timer.data = sentinel;
    sentinel->timer.log = redis->log;
    sentinel->timer.handler = ngx_http_rcache_sentinel_timer_handler;
    sentinel->timer.cancelable = 1;

    sentinel->moved.data = sentinel;
    sentinel->moved.log = redis->log;
    sentinel->moved.handler = ngx_http_rcache_sentinel_moved_handler;

    ngx_shmtx_lock(redis->conf->mutex);

    if (sentinel->sh->identity != sentinel->identity) {
        sentinel->sh->identity = sentinel->identity;
        sentinel->sh->version = 0;
        sentinel->sh->asked = 0;
    }

    ngx_shmtx_unlock(redis->conf->mutex);

    redis->sentinel = sentinel;

    return NGX_OK;
}


void
ngx_http_rcache_sentinel_cleanup(ngx_http_rcache_sentinel_t *sentinel)
{
    ngx_uint_t  i;

    for (i = 0; i < sentinel->n; i++) {
        ngx_http_rcache_node_cleanup(&sentinel->nodes[i]);
    }

    ngx_http_rcache_push_cleanup(&sentinel->push);
}


/* the handler is called for each failover of each master that they watch */

static void
ngx_http_rcache_sentinel_sub_handler(ngx_http_rcache_sub_t *sub,
    ngx_str_t *message)
{
    ngx_http_rcache_sentinel_t *sentinel = sub->data;

    ngx_str_t  *name;

    name = &sentinel->redis->conf->master;

    if (message
        && (message->len <= name->len
            || ngx_strncmp(message->data, name->data, name->len) != 0
            || message->data[name->len] != ' '))
    {
        return;
    }

    /* it may have been asked a moment before it knew */

    if (message) {
        sentinel->sh->asked = 0;
    }

    ngx_http_rcache_sentinel_ask(sentinel);
}


static void
ngx_http_rcache_sentinel_timer_handler(ngx_event_t *ev)
{
    ngx_http_rcache_sentinel_t *sentinel = ev->data;

    ngx_msec_t  wait;

    wait = NGX_HTTP_RCACHE_SENTINEL_WATCH;

    if (sentinel->version == 0
        || sentinel->redis->node.down
        || ngx_current_msec - sentinel->sh->asked
           >= NGX_HTTP_RCACHE_SENTINEL_WATCH)
    {
        ngx_http_rcache_sentinel_ask(sentinel);
    }

    if (sentinel->version == 0 || sentinel->redis->node.down) {
        wait = NGX_HTTP_RCACHE_SENTINEL_RETRY;
    }

    if (!ngx_exiting && !ev->timer_set) {
        ngx_add_timer(ev, wait);
    }
}


void
ngx_http_rcache_sentinel_ask(ngx_http_rcache_sentinel_t *sentinel)
{
    ngx_msec_t                      now;
    ngx_atomic_uint_t               asked;
    ngx_http_rcache_sentinel_sh_t  *sh;

    sh = sentinel->sh;

    if (!sentinel->started) {
        sentinel->started = 1;

        if (sentinel->sub.node == NULL) {
            ngx_http_rcache_push_join(&sentinel->push, &sentinel->sub);
        }
    }

    if (sentinel->timer.timer_set
        && (sentinel->version == 0 || sentinel->redis->node.down))
    {
        ngx_del_timer(&sentinel->timer);
    }

    if (!sentinel->timer.timer_set && !ngx_exiting) {
        ngx_add_timer(&sentinel->timer, NGX_HTTP_RCACHE_SENTINEL_RETRY);
    }

    if (sh->version != sentinel->version) {
        ngx_http_rcache_sentinel_moved(sentinel);
    }

    asked = sh->asked;
    now = ngx_current_msec;

    if (sentinel->pending
        || (asked && now - asked < NGX_HTTP_RCACHE_SENTINEL_PAUSE)
        || !ngx_atomic_cmp_set(&sh->asked, asked, now ? now : 1))
    {
        return;
    }

    ngx_http_rcache_sentinel_round(sentinel);
}


static void
ngx_http_rcache_sentinel_round(ngx_http_rcache_sentinel_t *sentinel)
{
    ngx_uint_t  i;

    sentinel->nanswers = 0;

    /* one more, so that it is not over before all have been asked */

    sentinel->pending = 1;

    for (i = 0; i < sentinel->n; i++) {
        if (ngx_http_rcache_sentinel_question(sentinel, &sentinel->nodes[i])
            == NGX_OK)
        {
            sentinel->pending++;
        }
    }

    if (--sentinel->pending == 0) {
        ngx_http_rcache_sentinel_conclude(sentinel);
    }
}


static ngx_int_t
ngx_http_rcache_sentinel_question(ngx_http_rcache_sentinel_t *sentinel,
    ngx_http_rcache_node_t *node)
{
    ngx_str_t              argv[3];
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(4096, sentinel->redis->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->lane = NGX_HTTP_RCACHE_LANE_LOOKUP;
    op->internal = 1;
    op->handler = ngx_http_rcache_sentinel_handler;
    op->data = node;
    op->max_reply = NGX_HTTP_RCACHE_SENTINEL_MAX;

    ngx_str_set(&argv[0], "SENTINEL");
    ngx_str_set(&argv[1], "MASTER");
    argv[2] = sentinel->redis->conf->master;

    if (ngx_http_rcache_op_command(op, argv, 3, NULL) != NGX_OK
        || ngx_http_rcache_node_submit(node, op) != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_rcache_sentinel_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_node_t *node = op->data;

    ngx_http_rcache_master_t    *master;
    ngx_http_rcache_sentinel_t  *sentinel;

    sentinel = node->redis->sentinel;

    if (reply && sentinel->nanswers < NGX_HTTP_RCACHE_SENTINELS) {
        master = &sentinel->answers[sentinel->nanswers];

        if (reply->type == REDIS_REPLY_ERROR) {
            ngx_log_error(NGX_LOG_INFO, sentinel->redis->log, 0,
                          "a sentinel of \"%V\" answered: %V",
                          &sentinel->redis->conf->url, &reply->str);

        } else if (ngx_http_rcache_sentinel_parse(reply, master) == NGX_OK) {
            sentinel->from[sentinel->nanswers++] = node;

            /* newer than what is known: not to wait for the slowest */

            ngx_http_rcache_sentinel_believe(sentinel, master, 0);
        }
    }

    if (--sentinel->pending == 0) {
        ngx_http_rcache_sentinel_conclude(sentinel);
    }
}


ngx_int_t
ngx_http_rcache_sentinel_parse(ngx_http_rcache_reply_t *reply,
    ngx_http_rcache_master_t *master)
{
    size_t      i;
    ngx_int_t   port, epoch;
    ngx_str_t  *host, *value;

    host = ngx_http_rcache_sentinel_field(reply, "ip");
    value = ngx_http_rcache_sentinel_field(reply, "port");

    if (host == NULL
        || value == NULL
        || host->len == 0
        || host->len > NGX_HTTP_RCACHE_NODE_NAME - sizeof(":65535"))
    {
        return NGX_ERROR;
    }

    for (i = 0; i < host->len; i++) {
        if (host->data[i] <= 0x20 || host->data[i] > 0x7e) {
            return NGX_ERROR;
        }
    }

    port = ngx_atoi(value->data, value->len);

    if (port == NGX_ERROR || port == 0 || port > 65535) {
        return NGX_ERROR;
    }

    value = ngx_http_rcache_sentinel_field(reply, "config-epoch");

    epoch = value ? ngx_atoi(value->data, value->len) : 0;

    ngx_memzero(master, sizeof(ngx_http_rcache_master_t));

    master->host_len = host->len;
    master->name_len = ngx_sprintf(master->name, "%V:%i", host, port)
                       - master->name;
    master->port = port;
    master->epoch = (epoch == NGX_ERROR) ? 0 : epoch;

    return NGX_OK;
}


ngx_str_t *
ngx_http_rcache_sentinel_field(ngx_http_rcache_reply_t *reply,
    const char *name)
{
    int64_t     i;
    ngx_str_t  *str;

    if (reply->type != REDIS_REPLY_ARRAY) {
        return NULL;
    }

    for (i = 0; i + 1 < reply->integer; i += 2) {

        if (reply->element[i]->type != REDIS_REPLY_STRING
            || reply->element[i + 1]->type != REDIS_REPLY_STRING)
        {
            return NULL;
        }

        str = &reply->element[i]->str;

        if (str->len == ngx_strlen(name)
            && ngx_memcmp(str->data, name, str->len) == 0)
        {
            return &reply->element[i + 1]->str;
        }
    }

    return NULL;
}


/* all have answered, or have not: what most say counts whatever its epoch */

static void
ngx_http_rcache_sentinel_conclude(ngx_http_rcache_sentinel_t *sentinel)
{
    ngx_uint_t  i, j, votes, newest;

    newest = 0;

    for (i = 0; i < sentinel->nanswers; i++) {
        votes = 0;

        if (sentinel->answers[i].epoch > sentinel->answers[newest].epoch) {
            newest = i;
        }

        for (j = 0; j < sentinel->nanswers; j++) {
            votes += ngx_http_rcache_sentinel_same(&sentinel->answers[i],
                                                   &sentinel->answers[j]);
        }

        if (votes > sentinel->n / 2) {
            ngx_http_rcache_sentinel_believe(sentinel, &sentinel->answers[i],
                                             1);
            break;
        }
    }

    if (sentinel->nanswers) {
        sentinel->silent = 0;

        if (sentinel->redis->replica) {
            ngx_http_rcache_replicas_ask(sentinel->redis->replica,
                                         sentinel->from[newest]);
        }

        return;
    }

    if (!sentinel->silent) {
        sentinel->silent = 1;

        ngx_log_error(NGX_LOG_WARN, sentinel->redis->log, 0,
                      "no sentinel of \"%V\" says who is the master",
                      &sentinel->redis->conf->url);
    }
}


static ngx_uint_t
ngx_http_rcache_sentinel_same(ngx_http_rcache_master_t *a,
    ngx_http_rcache_master_t *b)
{
    return a->name_len == b->name_len
           && ngx_memcmp(a->name, b->name, a->name_len) == 0;
}


static void
ngx_http_rcache_sentinel_believe(ngx_http_rcache_sentinel_t *sentinel,
    ngx_http_rcache_master_t *master, ngx_uint_t agreed)
{
    ngx_uint_t                      changed, same;
    ngx_http_rcache_sentinel_sh_t  *sh;

    sh = sentinel->sh;

    changed = 0;

    ngx_shmtx_lock(sentinel->redis->conf->mutex);

    if (sh->identity == sentinel->identity) {

        same = sh->version
               && ngx_http_rcache_sentinel_same(master, &sh->master);

        if (same) {
            sh->master.epoch = ngx_max(sh->master.epoch, master->epoch);

        } else if (sh->version == 0 || agreed
                   || master->epoch > sh->master.epoch)
        {
            changed = 1;

            sh->version = 0;
            sh->master = *master;
            sh->breaker.open = 0;
            sh->serial++;
            sh->version = sh->serial;
        }
    }

    ngx_shmtx_unlock(sentinel->redis->conf->mutex);

    if (changed) {
        ngx_log_error(NGX_LOG_NOTICE, sentinel->redis->log, 0,
                      "redis \"%V\": the master is \"%*s\"",
                      &sentinel->redis->conf->url,
                      master->name_len, master->name);
    }

    ngx_http_rcache_sentinel_sync(sentinel);
}


/*
 * Connections are closed, and operations end with them: never from inside of
 * what others do with theirs.
 */

void
ngx_http_rcache_sentinel_moved(ngx_http_rcache_sentinel_t *sentinel)
{
    if (!sentinel->moved.posted) {
        ngx_post_event(&sentinel->moved, &ngx_posted_events);
    }
}


static void
ngx_http_rcache_sentinel_moved_handler(ngx_event_t *ev)
{
    ngx_http_rcache_sentinel_t *sentinel = ev->data;

    ngx_http_rcache_node_t         *node;
    ngx_http_rcache_redis_t        *redis;
    ngx_http_rcache_master_t        master;
    ngx_http_rcache_sentinel_sh_t  *sh;

    sh = sentinel->sh;
    redis = sentinel->redis;
    node = &redis->node;

    ngx_shmtx_lock(redis->conf->mutex);

    if (sh->identity != sentinel->identity || sh->version == 0) {
        ngx_shmtx_unlock(redis->conf->mutex);
        return;
    }

    sentinel->version = sh->version;
    master = sh->master;

    ngx_shmtx_unlock(redis->conf->mutex);

    if ((node->host.len || node->naddrs)
        && node->name.len == master.name_len
        && ngx_memcmp(node->name.data, master.name, master.name_len) == 0)
    {
        return;
    }

    ngx_http_rcache_node_set(node, master.name, master.name_len,
                             master.host_len, (in_port_t) master.port);

#if (NGX_SSL)

    if (node->session) {
        ngx_ssl_free_session(node->session);
        node->session = NULL;
    }

#endif

    ngx_http_rcache_node_moved(node);

    if (node->down && !ngx_exiting) {

        /* nobody needs to wait for the end of the old one's back-off */

        node->backoff = 0;
        node->retry_at = ngx_current_msec;

        ngx_http_rcache_node_probe(node);
    }

    if (redis->push.conn.state == NGX_HTTP_RCACHE_CONN_RESOLVING) {
        ngx_http_rcache_conn_connect(&redis->push.conn);

    } else if (redis->push.conn.state != NGX_HTTP_RCACHE_CONN_IDLE) {
        ngx_http_rcache_conn_fail(&redis->push.conn,
                                  NGX_HTTP_RCACHE_OP_DOWN,
                                  "there is another master");
    }
}


ngx_http_rcache_node_t *
ngx_http_rcache_sentinel_next(ngx_http_rcache_sentinel_t *sentinel)
{
    ngx_uint_t               i;
    ngx_http_rcache_node_t  *node;

    for (i = 0; i < sentinel->n; i++) {
        node = &sentinel->nodes[++sentinel->turn % sentinel->n];

        if (!node->down) {
            return node;
        }
    }

    return &sentinel->nodes[sentinel->turn % sentinel->n];
}
