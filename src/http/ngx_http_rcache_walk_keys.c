
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A step: some keys of the zone, by SCAN.  A name that says which key it is
 * for is matched as it is; if it may stand for another, and of those that are
 * for certain, the entry itself tells: its key, in full, and its position.
 * What is to go goes only if it is still what was looked at.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_walk.h"
#include "../core/rcache_key.h"


/*
 * Bytes in which an entry has its key: what is before it, with as many tags as
 * there may be, and the key
 */

#define NGX_HTTP_RCACHE_WALK_FRONT  1024
#define NGX_HTTP_RCACHE_WALK_SHORT                                            \
    (NGX_HTTP_RCACHE_WALK_FRONT + RCACHE_KEY_READABLE)
#define NGX_HTTP_RCACHE_WALK_LONG                                             \
    (NGX_HTTP_RCACHE_WALK_FRONT + RCACHE_KEY_MAX)

/* KEYS: entry.  ARGV: what was seen of it, and what its beginning becomes */

static ngx_str_t  ngx_http_rcache_script_soften = ngx_string(
    "if redis.call('GETRANGE',KEYS[1],8,15)~=ARGV[1] then return 0 end "
    "redis.call('SETRANGE',KEYS[1],0,ARGV[2]) "
    "return 1"
);


/* an entry that is looked at, in the pool of its operation */

typedef struct {
    ngx_http_rcache_walk_t  *walk;
    ngx_str_t                name;       /* in Redis */
    ngx_str_t                base;       /* of its segments */
    ngx_str_t                begin;      /* of its value; empty: unknown */
    int64_t                  until;      /* it is stale from then on; 0: it
                                            goes */
} ngx_http_rcache_walk_entry_t;


static ngx_int_t ngx_http_rcache_walk_name(ngx_http_rcache_walk_t *walk,
    ngx_str_t *name, ngx_str_t *key, ngx_str_t *base);
static ngx_uint_t ngx_http_rcache_walk_match(ngx_http_rcache_walk_t *walk,
    ngx_str_t *key, uint64_t position, uint64_t *soft);
static ngx_http_rcache_op_t *ngx_http_rcache_walk_op(
    ngx_http_rcache_walk_entry_t *entry, size_t size);
static void ngx_http_rcache_walk_get(ngx_http_rcache_walk_entry_t *entry,
    size_t size, ngx_http_rcache_op_pt handler);
static void ngx_http_rcache_walk_peeked(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_walk_soften(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_walk_eval(ngx_http_rcache_walk_entry_t *entry,
    ngx_str_t *front);
static void ngx_http_rcache_walk_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


void
ngx_http_rcache_walk_keys(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_reply_t *keys)
{
    size_t                         size;
    uint64_t                       soft;
    ngx_int_t                      i, rc;
    ngx_str_t                      key;
    ngx_http_rcache_walk_entry_t   entry;

    ngx_memzero(&entry, sizeof(ngx_http_rcache_walk_entry_t));

    entry.walk = walk;

    for (i = 0; i < keys->integer; i++) {

        if (keys->element[i]->type != REDIS_REPLY_STRING) {
            continue;
        }

        walk->looked++;

        entry.name = keys->element[i]->str;

        rc = ngx_http_rcache_walk_name(walk, &entry.name, &key, &entry.base);

        if (rc == NGX_DECLINED) {
            continue;
        }

        size = NGX_HTTP_RCACHE_WALK_SHORT;

        if (rc == NGX_OK) {
            soft = 0;

            if (!ngx_http_rcache_walk_match(walk, &key, 0, &soft)
                && soft == 0)
            {
                continue;
            }

        } else if (key.len > sizeof("sha256:") - 1
                   && ngx_strncmp(key.data, "sha256:", sizeof("sha256:") - 1)
                      == 0)
        {
            size = NGX_HTTP_RCACHE_WALK_LONG;
        }

        ngx_http_rcache_walk_get(&entry, size, ngx_http_rcache_walk_peeked);
    }
}


/*
 * NGX_OK: key is the key; NGX_AGAIN: it may be another; NGX_DECLINED: it is not
 * the name of an entry.  See docs/storage-format.md.
 */

static ngx_int_t
ngx_http_rcache_walk_name(ngx_http_rcache_walk_t *walk, ngx_str_t *name,
    ngx_str_t *key, ngx_str_t *base)
{
    u_char  *p, *last;
    size_t   prefix;

    prefix = walk->zone->prefix.len + sizeof("{") - 1;
    last = name->data + name->len;

    if (name->len < prefix
        || ngx_memcmp(name->data, walk->zone->prefix.data,
                      walk->zone->prefix.len)
           != 0
        || name->data[prefix - 1] != '{')
    {
        return NGX_DECLINED;
    }

    key->data = name->data + prefix;

    p = ngx_strlchr(key->data, last, '}');

    if (p == NULL) {
        return NGX_DECLINED;
    }

    key->len = p++ - key->data;

    base->data = name->data;
    base->len = p - name->data;

    if (p != last
        && (last - p < 3 || ngx_strncmp(p, ":v:", 3) != 0
            || ngx_strlchr(p + 3, last, ':') != NULL))
    {
        /* a lock, a segment, or what nobody knows */

        return NGX_DECLINED;
    }

    if (ngx_strlchr(key->data, key->data + key->len, '%')
        || (key->len > sizeof("sha256:") - 1
            && ngx_strncmp(key->data, "sha256:", sizeof("sha256:") - 1) == 0))
    {
        return NGX_AGAIN;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_rcache_walk_match(ngx_http_rcache_walk_t *walk, ngx_str_t *key,
    uint64_t position, uint64_t *soft)
{
    ngx_http_rcache_regex_subject_t  subject;

    subject.key = key;
    subject.position = position;
    subject.upto = walk->upto;

    return ngx_http_rcache_regexes_match(
                          ngx_http_rcache_follow_regexes(walk->zone->follow),
                          &subject, soft);
}


/* with a copy of the entry, which is the operation's */

static ngx_http_rcache_op_t *
ngx_http_rcache_walk_op(ngx_http_rcache_walk_entry_t *entry, size_t size)
{
    ngx_http_rcache_op_t          *op;
    ngx_http_rcache_walk_entry_t  *copy;

    op = ngx_http_rcache_op_create(1024 + 2 * entry->name.len
                                   + entry->begin.len + size,
                                   ngx_cycle->log);
    if (op == NULL) {
        return NULL;
    }

    copy = ngx_palloc(op->pool, sizeof(ngx_http_rcache_walk_entry_t));
    if (copy == NULL) {
        goto failed;
    }

    *copy = *entry;

    copy->name.data = ngx_pstrdup(op->pool, &entry->name);
    if (copy->name.data == NULL) {
        goto failed;
    }

    copy->base.data = copy->name.data;

    if (entry->begin.len) {
        copy->begin.data = ngx_pstrdup(op->pool, &entry->begin);
        if (copy->begin.data == NULL) {
            goto failed;
        }
    }

    op->data = copy;

    return op;

failed:

    ngx_http_rcache_op_free(op);

    return NULL;
}


/* its first bytes, as many as size */

static void
ngx_http_rcache_walk_get(ngx_http_rcache_walk_entry_t *entry, size_t size,
    ngx_http_rcache_op_pt handler)
{
    u_char                 end[NGX_SIZE_T_LEN];
    ngx_str_t              argv[4];
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_walk_op(entry, 256);

    if (op) {
        ngx_str_set(&argv[0], "GETRANGE");
        argv[1] = entry->name;
        ngx_str_set(&argv[2], "0");
        argv[3].data = end;
        argv[3].len = ngx_sprintf(end, "%uz", size - 1) - end;

        op->max_reply = size + 1024;

        if (ngx_http_rcache_op_command(op, argv, 4, NULL) != NGX_OK) {
            ngx_http_rcache_op_free(op);
            op = NULL;
        }
    }

    ngx_http_rcache_walk_submit(entry->walk, op, handler);
}


static void
ngx_http_rcache_walk_peeked(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_walk_entry_t *entry = op->data;

    int64_t                  now;
    uint64_t                 soft;
    ngx_time_t              *tp;
    rcache_entry_t           e;
    ngx_http_rcache_walk_t  *walk;

    walk = entry->walk;

    /* a marker is no response, and has no position */

    if (reply == NULL
        || reply->type != REDIS_REPLY_STRING
        || rcache_entry_peek(&e, reply->str.data, reply->str.len) != RCACHE_OK
        || (e.flags & RCACHE_ENTRY_VARY))
    {
        goto done;
    }

    soft = 0;

    entry->begin.data = reply->str.data;
    entry->begin.len = ngx_min(reply->str.len, RCACHE_ENTRY_BEGIN);

    if (ngx_http_rcache_walk_match(walk, &e.key, e.position, &soft)) {
        ngx_http_rcache_walk_eval(entry, NULL);
        goto done;
    }

    if (soft) {
        tp = ngx_timeofday();
        now = (int64_t) tp->sec * 1000 + tp->msec;

        entry->until = ngx_min(rcache_purge_time(soft), now);

        ngx_http_rcache_walk_get(entry, e.front_len,
                                 ngx_http_rcache_walk_soften);
    }

done:

    ngx_http_rcache_walk_over(walk, reply);
}


static void
ngx_http_rcache_walk_soften(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_walk_entry_t *entry = op->data;

    /* it may be gone by now, or another one, which the script finds */

    if (reply && reply->type == REDIS_REPLY_STRING) {

        switch (rcache_entry_soften(reply->str.data, reply->str.len,
                                    entry->until, entry->walk->zone->secrets))
        {

        case RCACHE_OK:
            ngx_http_rcache_walk_eval(entry, &reply->str);
            break;

        case RCACHE_DONE:
            break;

        default: /* RCACHE_DECLINED */

            /* of no use to anybody, or not to be made stale by us */

            entry->until = 0;
            ngx_http_rcache_walk_eval(entry, NULL);
            break;
        }
    }

    ngx_http_rcache_walk_over(entry->walk, reply);
}


/* front: what its beginning becomes; NULL: it goes */

static void
ngx_http_rcache_walk_eval(ngx_http_rcache_walk_entry_t *entry,
    ngx_str_t *front)
{
    ngx_str_t              argv[6], seen;
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_walk_op(entry, 512 + (front ? front->len : 0));

    if (op) {
        seen.data = entry->begin.data + 8;
        seen.len = 8;

        if (front) {
            ngx_str_set(&argv[0], "EVAL");
            argv[1] = ngx_http_rcache_script_soften;
            ngx_str_set(&argv[2], "1");
            argv[3] = entry->name;
            argv[4] = seen;
            argv[5] = *front;
        }

        if ((front ? ngx_http_rcache_op_command(op, argv, 6, NULL)
                   : ngx_http_rcache_drop_command(op, &entry->name, &seen))
            != NGX_OK)
        {
            ngx_http_rcache_op_free(op);
            op = NULL;

        } else {
            op->max_reply = 1024;
        }
    }

    ngx_http_rcache_walk_submit(entry->walk, op, ngx_http_rcache_walk_done);
}


static void
ngx_http_rcache_walk_done(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_walk_entry_t *entry = op->data;

    if (reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1) {
        entry->walk->purged++;

        if (entry->until == 0) {
            ngx_http_rcache_segments_retire(entry->walk->zone, &entry->base,
                                            &entry->begin);
        }
    }

    ngx_http_rcache_walk_over(entry->walk, reply);
}
