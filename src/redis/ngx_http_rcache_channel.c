
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Who wants to hear what: channels, each with its subscriptions.  To the
 * server a channel is subscribed once, however many want it.
 */


#include "ngx_http_rcache_conn.h"


static ngx_http_rcache_channel_t *ngx_http_rcache_channel_get(
    ngx_http_rcache_push_t *push, ngx_str_t *name);
static void ngx_http_rcache_channel_join_handler(ngx_event_t *ev);


void
ngx_http_rcache_subscribe(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_sub_t *sub)
{
    ngx_http_rcache_push_join(&redis->push, sub);
}


void
ngx_http_rcache_push_join(ngx_http_rcache_push_t *push,
    ngx_http_rcache_sub_t *sub)
{
    ngx_http_rcache_channel_t  *channel;

    channel = ngx_http_rcache_channel_get(push, &sub->channel);

    sub->node = channel;

    if (channel == NULL) {
        return;
    }

    channel->nsubs++;

    if (push->conn.state != NGX_HTTP_RCACHE_CONN_READY) {
        ngx_queue_insert_tail(&channel->subs, &sub->queue);
        ngx_http_rcache_push_open(push);
        return;
    }

    if (channel->subscribed) {
        ngx_queue_insert_tail(&push->joining, &sub->queue);

        /* in the next turn, so that nobody who joins again and again spins */

        if (!push->join.posted) {
            ngx_post_event(&push->join, &ngx_posted_next_events);
        }

        return;
    }

    ngx_queue_insert_tail(&channel->subs, &sub->queue);

    if (channel->nsubs == 1) {
        (void) ngx_http_rcache_push_subscribe(push, channel);
    }
}


void
ngx_http_rcache_unsubscribe(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_sub_t *sub)
{
    ngx_http_rcache_push_leave(&redis->push, sub);
}


void
ngx_http_rcache_push_leave(ngx_http_rcache_push_t *push,
    ngx_http_rcache_sub_t *sub)
{
    ngx_http_rcache_channel_t  *channel;

    channel = sub->node;

    if (channel == NULL) {
        return;
    }

    sub->node = NULL;

    ngx_queue_remove(&sub->queue);

    if (--channel->nsubs) {
        return;
    }

    ngx_rbtree_delete(&push->channels, &channel->node.node);

    if (ngx_http_rcache_push_unused(push)) {
        push->quiet = ngx_current_msec;
    }

    ngx_http_rcache_push_unsubscribe(push, channel);

    ngx_free(channel);
}


static ngx_http_rcache_channel_t *
ngx_http_rcache_channel_get(ngx_http_rcache_push_t *push, ngx_str_t *name)
{
    ngx_http_rcache_channel_t  *channel;

    channel = ngx_http_rcache_channel_find(push, name);

    if (channel) {
        return channel;
    }

    channel = ngx_calloc(sizeof(ngx_http_rcache_channel_t) + name->len,
                         push->conn.redis->log);
    if (channel == NULL) {
        return NULL;
    }

    ngx_memcpy(channel->name, name->data, name->len);

    channel->node.node.key = ngx_murmur_hash2(name->data, name->len);
    channel->node.str.data = channel->name;
    channel->node.str.len = name->len;

    ngx_queue_init(&channel->subs);

    ngx_rbtree_insert(&push->channels, &channel->node.node);

    return channel;
}


ngx_http_rcache_channel_t *
ngx_http_rcache_channel_find(ngx_http_rcache_push_t *push, ngx_str_t *name)
{
    return (ngx_http_rcache_channel_t *)
               ngx_str_rbtree_lookup(&push->channels, name,
                                   ngx_murmur_hash2(name->data, name->len));
}


static void
ngx_http_rcache_channel_join_handler(ngx_event_t *ev)
{
    ngx_http_rcache_push_t *push = ev->data;

    ngx_queue_t             joining, *q;
    ngx_http_rcache_sub_t  *sub;

    ngx_queue_init(&joining);

    if (!ngx_queue_empty(&push->joining)) {
        ngx_queue_add(&joining, &push->joining);
        ngx_queue_init(&push->joining);
    }

    while (!ngx_queue_empty(&joining)) {
        q = ngx_queue_head(&joining);
        ngx_queue_remove(q);

        sub = ngx_queue_data(q, ngx_http_rcache_sub_t, queue);

        ngx_queue_insert_tail(&sub->node->subs, q);

        /* otherwise the connection was lost, and will be told of then */

        if (push->conn.state == NGX_HTTP_RCACHE_CONN_READY
            && sub->node->subscribed)
        {
            sub->handler(sub, NULL);
        }
    }
}


/*
 * A handler may unsubscribe any subscription, so the next is looked for only
 * when it returns; the channel is there as long as one is left.  One that it
 * adds is not told.
 */

void
ngx_http_rcache_channel_tell(ngx_http_rcache_channel_t *channel,
    ngx_str_t *message)
{
    ngx_queue_t             subs, *q;
    ngx_http_rcache_sub_t  *sub;

    if (ngx_queue_empty(&channel->subs)) {
        return;
    }

    ngx_queue_init(&subs);
    ngx_queue_add(&subs, &channel->subs);
    ngx_queue_init(&channel->subs);

    while (!ngx_queue_empty(&subs)) {
        q = ngx_queue_head(&subs);
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&channel->subs, q);

        sub = ngx_queue_data(q, ngx_http_rcache_sub_t, queue);

        sub->handler(sub, message);
    }
}


void
ngx_http_rcache_channel_init(ngx_http_rcache_push_t *push)
{
    ngx_rbtree_init(&push->channels, &push->sentinel,
                    ngx_str_rbtree_insert_value);

    ngx_queue_init(&push->joining);

    push->join.data = push;
    push->join.log = push->conn.redis->log;
    push->join.handler = ngx_http_rcache_channel_join_handler;
}


void
ngx_http_rcache_channel_cleanup(ngx_http_rcache_push_t *push)
{
    ngx_rbtree_node_t  *node;

    while (!ngx_http_rcache_push_unused(push)) {
        node = push->channels.root;

        ngx_rbtree_delete(&push->channels, node);
        ngx_free(node);
    }
}
