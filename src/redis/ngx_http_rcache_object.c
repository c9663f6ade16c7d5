
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What hiredis finds, built in the pool of the operation that is being
 * answered.  All that comes from the server is hostile: nothing is allocated
 * before its size has been held against what the operation expects.
 */


#include "ngx_http_rcache_conn.h"


#define NGX_HTTP_RCACHE_ELEMENTS_MAX  (1024 * 1024)

/* "+\r\n", the least that an element of an array takes */
#define NGX_HTTP_RCACHE_ELEMENT_MIN   3

#define NGX_HTTP_RCACHE_DEPTH_MAX     7


static void *ngx_http_rcache_create(const redisReadTask *task, size_t size);
static void *ngx_http_rcache_create_string(const redisReadTask *task,
    char *str, size_t len);
static void *ngx_http_rcache_create_integer(const redisReadTask *task,
    long long value);
static void *ngx_http_rcache_create_nil(const redisReadTask *task);
static void *ngx_http_rcache_create_elements(const redisReadTask *task,
    size_t n);
static void *ngx_http_rcache_refuse(const redisReadTask *task,
    const char *why);
static void ngx_http_rcache_free_object(void *object);

#if (HIREDIS_MAJOR >= 1)

static void *ngx_http_rcache_create_array(const redisReadTask *task,
    size_t n);
static void *ngx_http_rcache_create_double(const redisReadTask *task,
    double value, char *str, size_t len);
static void *ngx_http_rcache_create_bool(const redisReadTask *task, int value);

#else

static void *ngx_http_rcache_create_array(const redisReadTask *task, int n);

#endif


/* not const, as redisReaderCreateWithFunctions() takes it */

redisReplyObjectFunctions  ngx_http_rcache_object_functions = {
    ngx_http_rcache_create_string,
    ngx_http_rcache_create_array,
    ngx_http_rcache_create_integer,
#if (HIREDIS_MAJOR >= 1)
    ngx_http_rcache_create_double,
#endif
    ngx_http_rcache_create_nil,
#if (HIREDIS_MAJOR >= 1)
    ngx_http_rcache_create_bool,
#endif
    ngx_http_rcache_free_object
};


/*
 * An object with space for size bytes behind it, put into its array if it is
 * in one.  NULL ends hiredis's work with an error.
 */

static void *
ngx_http_rcache_create(const redisReadTask *task, size_t size)
{
    ngx_http_rcache_op_t     *op;
    ngx_http_rcache_conn_t   *conn;
    ngx_http_rcache_reply_t  *reply, *parent;

    conn = task->privdata;
    op = ngx_http_rcache_conn_op(conn);

    /* an error is short, and may say that the command is to go elsewhere */

    if (op->detached
        && (task->type != REDIS_REPLY_ERROR || task->parent))
    {
        conn->discard.type = task->type;
        return &conn->discard;
    }

    reply = ngx_palloc(op->pool, sizeof(ngx_http_rcache_reply_t) + size);
    if (reply == NULL) {
        return ngx_http_rcache_refuse(task, "no memory");
    }

    ngx_memzero(reply, sizeof(ngx_http_rcache_reply_t));

    reply->type = task->type;

    if (task->parent) {
        parent = task->parent->obj;
        parent->element[task->idx] = reply;
    }

    return reply;
}


static void *
ngx_http_rcache_create_string(const redisReadTask *task, char *str, size_t len)
{
    ngx_http_rcache_conn_t   *conn;
    ngx_http_rcache_reply_t  *reply;

    conn = task->privdata;

    switch (task->type) {

    case REDIS_REPLY_STRING:
        if (len > ngx_http_rcache_conn_op(conn)->max_reply) {
            return ngx_http_rcache_refuse(task, "a string is too long");
        }

        break;

    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        break;

    default:
        return ngx_http_rcache_refuse(task, "it is of an unknown type");
    }

    reply = ngx_http_rcache_create(task, len);

    if (reply == NULL || reply == &conn->discard) {
        return reply;
    }

    reply->str.data = (u_char *) reply + sizeof(ngx_http_rcache_reply_t);
    reply->str.len = len;

    ngx_memcpy(reply->str.data, str, len);

    return reply;
}


static void *
ngx_http_rcache_create_integer(const redisReadTask *task, long long value)
{
    ngx_http_rcache_reply_t  *reply;

    reply = ngx_http_rcache_create(task, 0);

    if (reply) {
        reply->integer = value;
    }

    return reply;
}


static void *
ngx_http_rcache_create_nil(const redisReadTask *task)
{
    ngx_http_rcache_reply_t  *reply;

    if (task->type == REDIS_REPLY_NIL) {

        /* "_", of RESP3; that of RESP2 is a string or an array of -1 */

        return ngx_http_rcache_refuse(task, "it is of an unknown type");
    }

    reply = ngx_http_rcache_create(task, 0);

    if (reply) {
        reply->type = REDIS_REPLY_NIL;
    }

    return reply;
}


static void *
ngx_http_rcache_create_elements(const redisReadTask *task, size_t n)
{
    size_t                    max;
    ngx_http_rcache_op_t     *op;
    ngx_http_rcache_conn_t   *conn;
    ngx_http_rcache_reply_t  *reply;

    if (task->type != REDIS_REPLY_ARRAY) {
        return ngx_http_rcache_refuse(task, "it is of an unknown type");
    }

    conn = task->privdata;
    op = ngx_http_rcache_conn_op(conn);

    if (conn->reader->ridx > NGX_HTTP_RCACHE_DEPTH_MAX) {
        return ngx_http_rcache_refuse(task, "arrays are nested too deep");
    }

    /* no more than fit into what may come */

    max = (ngx_min(op->max_reply, NGX_HTTP_RCACHE_ELEMENTS_MAX
                                  * NGX_HTTP_RCACHE_ELEMENT_MIN)
           + NGX_HTTP_RCACHE_FRAME_MAX)
          / NGX_HTTP_RCACHE_ELEMENT_MIN;

    max = ngx_min(max, NGX_HTTP_RCACHE_ELEMENTS_MAX);

    if (n > max - conn->elements) {
        return ngx_http_rcache_refuse(task, "an array has too many elements");
    }

    conn->elements += n;

    reply = ngx_http_rcache_create(task, 0);

    if (reply == NULL || reply == &conn->discard) {
        return reply;
    }

    reply->integer = n;

    if (n) {
        reply->element = ngx_pcalloc(op->pool,
                                     n * sizeof(ngx_http_rcache_reply_t *));
        if (reply->element == NULL) {
            return ngx_http_rcache_refuse(task, "no memory");
        }
    }

    return reply;
}


static void *
ngx_http_rcache_refuse(const redisReadTask *task, const char *why)
{
    ngx_http_rcache_conn_t *conn = task->privdata;

    conn->invalid = why;

    return NULL;
}


/* all objects are in pools */

static void
ngx_http_rcache_free_object(void *object)
{
    (void) object;
}


#if (HIREDIS_MAJOR >= 1)

static void *
ngx_http_rcache_create_array(const redisReadTask *task, size_t n)
{
    return ngx_http_rcache_create_elements(task, n);
}


/* types of RESP3, which is never asked for */

static void *
ngx_http_rcache_create_double(const redisReadTask *task, double value,
    char *str, size_t len)
{
    (void) value;
    (void) str;
    (void) len;

    return ngx_http_rcache_refuse(task, "it is of an unknown type");
}


static void *
ngx_http_rcache_create_bool(const redisReadTask *task, int value)
{
    (void) value;

    return ngx_http_rcache_refuse(task, "it is of an unknown type");
}

#else

static void *
ngx_http_rcache_create_array(const redisReadTask *task, int n)
{
    return ngx_http_rcache_create_elements(task, (size_t) n);
}

#endif
