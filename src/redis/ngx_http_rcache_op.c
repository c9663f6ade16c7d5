
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * An operation: its pool, its command in the protocol's form, its end.
 */


#include "ngx_http_rcache_conn.h"


/*
 * Most pools are of one size, and some are kept for those that come: an
 * operation takes a pool for some microseconds, and malloc() is a large part of
 * what it costs.
 */

#define NGX_HTTP_RCACHE_OP_POOL    4096
#define NGX_HTTP_RCACHE_OP_SPARES  128


#define ngx_http_rcache_op_is_payload(arg)                                    \
    ((arg)->data == NULL && (arg)->len != 0)


typedef struct {
    ngx_chain_t                cl;
    ngx_buf_t                  buf;
} ngx_http_rcache_op_buf_t;


static ngx_pool_t *ngx_http_rcache_op_pool(size_t size, ngx_log_t *log);
static void ngx_http_rcache_op_cleanup(void *data);
static ngx_uint_t ngx_http_rcache_op_key(ngx_str_t *argv);
static size_t ngx_http_rcache_op_len(size_t n);
static u_char *ngx_http_rcache_op_int(u_char *p, u_char type, size_t n);
static ngx_int_t ngx_http_rcache_op_add(ngx_http_rcache_op_t *op, u_char *pos,
    u_char *last);
static ngx_int_t ngx_http_rcache_op_add_payload(ngx_http_rcache_op_t *op,
    ngx_chain_t *payload, size_t len);


#if !(NGX_DEBUG_PALLOC)

static ngx_pool_t  *ngx_http_rcache_op_spares[NGX_HTTP_RCACHE_OP_SPARES];
static ngx_uint_t   ngx_http_rcache_op_nspares;

#endif


ngx_http_rcache_op_t *
ngx_http_rcache_op_create(size_t size, ngx_log_t *log)
{
    ngx_pool_t            *pool;
    ngx_pool_cleanup_t    *cln;
    ngx_http_rcache_op_t  *op;

    pool = ngx_http_rcache_op_pool(size, log);
    if (pool == NULL) {
        return NULL;
    }

    op = ngx_pcalloc(pool, sizeof(ngx_http_rcache_op_t));
    if (op == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    cln->handler = ngx_http_rcache_op_cleanup;
    cln->data = op;

    op->pool = pool;

    return op;
}


static ngx_pool_t *
ngx_http_rcache_op_pool(size_t size, ngx_log_t *log)
{
#if !(NGX_DEBUG_PALLOC)

    ngx_pool_t  *pool;

    if (size <= NGX_HTTP_RCACHE_OP_POOL) {
        size = NGX_HTTP_RCACHE_OP_POOL;

        if (ngx_http_rcache_op_nspares) {
            pool = ngx_http_rcache_op_spares[--ngx_http_rcache_op_nspares];
            pool->log = log;

            return pool;
        }
    }

#endif

    /*
     * ngx_palloc() aligns before it compares: if the end is not aligned it
     * gives out what is behind it.
     */

    return ngx_create_pool(ngx_align(ngx_max(size, NGX_MIN_POOL_SIZE),
                                     NGX_POOL_ALIGNMENT),
                           log);
}


void
ngx_http_rcache_op_free(ngx_http_rcache_op_t *op)
{
    ngx_pool_t  *pool;

    pool = op->pool;

#if !(NGX_DEBUG_PALLOC)

    ngx_pool_cleanup_t  *cln;

    /* one that grew is not kept */

    if (pool->d.end - (u_char *) pool == NGX_HTTP_RCACHE_OP_POOL
        && pool->d.next == NULL
        && ngx_http_rcache_op_nspares < NGX_HTTP_RCACHE_OP_SPARES)
    {
        for (cln = pool->cleanup; cln; cln = cln->next) {
            if (cln->handler) {
                cln->handler(cln->data);
            }
        }

        pool->cleanup = NULL;

        ngx_reset_pool(pool);

        ngx_http_rcache_op_spares[ngx_http_rcache_op_nspares++] = pool;

        return;
    }

#endif

    ngx_destroy_pool(pool);
}


static void
ngx_http_rcache_op_cleanup(void *data)
{
    ngx_http_rcache_op_t *op = data;

    if (op->gone) {
        *op->gone = 1;
    }
}


/*
 * hiredis's formatter is not used: it allocates a string of its own and
 * copies all arguments into it, while here the payload is sent from where it
 * is, and what is around it is written once, into the operation's pool.
 */

ngx_int_t
ngx_http_rcache_op_command(ngx_http_rcache_op_t *op, ngx_str_t *argv,
    ngx_uint_t argc, ngx_chain_t *payload)
{
    u_char      *p, *start;
    size_t       len;
    ngx_uint_t   i, n, key;

    if (op->out != NULL || argc == 0) {
        return NGX_ERROR;
    }

    key = ngx_http_rcache_op_key(argv);

    n = 0;
    len = 1 + ngx_http_rcache_op_len(argc) + 2;

    for (i = 0; i < argc; i++) {
        len += 1 + ngx_http_rcache_op_len(argv[i].len) + 2 + 2;

        if (ngx_http_rcache_op_is_payload(&argv[i])) {
            n++;

        } else {
            len += argv[i].len;
        }
    }

    if (n > 1) {
        return NGX_ERROR;
    }

    start = ngx_pnalloc(op->pool, len);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_rcache_op_int(start, '*', argc);

    for (i = 0; i < argc; i++) {
        p = ngx_http_rcache_op_int(p, '$', argv[i].len);

        if (ngx_http_rcache_op_is_payload(&argv[i])) {

            if (ngx_http_rcache_op_add(op, start, p) != NGX_OK
                || ngx_http_rcache_op_add_payload(op, payload, argv[i].len)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }

            start = p;

        } else if (argv[i].len) {

            if (i == key) {
                op->key.data = p;
                op->key.len = argv[i].len;
            }

            p = ngx_cpymem(p, argv[i].data, argv[i].len);
        }

        *p++ = CR; *p++ = LF;
    }

    return ngx_http_rcache_op_add(op, start, p);
}


/* which argument says where it belongs: EVAL script numkeys key */

static ngx_uint_t
ngx_http_rcache_op_key(ngx_str_t *argv)
{
    if (argv[0].len >= 4
        && (ngx_strncmp(argv[0].data, "EVAL", 4) == 0
            || ngx_strncmp(argv[0].data, "FCAL", 4) == 0))
    {
        return 3;
    }

    return 1;
}


static size_t
ngx_http_rcache_op_len(size_t n)
{
    size_t  len;

    if (n < 100) {
        return (n < 10) ? 1 : 2;
    }

    for (len = 3; n >= 1000; n /= 10) {
        len++;
    }

    return len;
}


/* ngx_sprintf() takes several times as long */

static u_char *
ngx_http_rcache_op_int(u_char *p, u_char type, size_t n)
{
    size_t   len;
    u_char  *last;

    *p++ = type;

    if (n < 100) {

        /* most are that short */

        if (n >= 10) {
            *p++ = (u_char) ('0' + n / 10);
            n %= 10;
        }

        *p++ = (u_char) ('0' + n);
        *p++ = CR; *p++ = LF;

        return p;
    }

    len = ngx_http_rcache_op_len(n);
    last = p + len;

    for (p = last; len; len--) {
        *--p = (u_char) ('0' + n % 10);
        n /= 10;
    }

    *last++ = CR; *last++ = LF;

    return last;
}


static ngx_int_t
ngx_http_rcache_op_add(ngx_http_rcache_op_t *op, u_char *pos, u_char *last)
{
    ngx_buf_t                 *b;
    ngx_chain_t               *cl;
    ngx_http_rcache_op_buf_t  *link;

    link = ngx_pcalloc(op->pool, sizeof(ngx_http_rcache_op_buf_t));
    if (link == NULL) {
        return NGX_ERROR;
    }

    b = &link->buf;
    cl = &link->cl;

    b->start = pos;
    b->pos = pos;
    b->last = last;
    b->end = last;
    b->memory = 1;

    cl->buf = b;

    if (op->out == NULL) {
        op->out = cl;

    } else {
        op->last->next = cl;
    }

    op->last = cl;
    op->size += last - pos;

    return NGX_OK;
}


/*
 * The buffers of the payload may be those that a client is being sent from
 * at the same time: sending moves b->pos, so they are never sent themselves.
 */

static ngx_int_t
ngx_http_rcache_op_add_payload(ngx_http_rcache_op_t *op, ngx_chain_t *payload,
    size_t len)
{
    size_t      n;
    ngx_buf_t  *b;

    for ( /* void */ ; payload; payload = payload->next) {
        b = payload->buf;

        if (!ngx_buf_in_memory(b)) {
            if (ngx_buf_special(b)) {
                continue;
            }

            return NGX_ERROR;
        }

        n = b->last - b->pos;

        if (n > len) {
            return NGX_ERROR;
        }

        if (n == 0) {
            continue;
        }

        if (ngx_http_rcache_op_add(op, b->pos, b->last) != NGX_OK) {
            return NGX_ERROR;
        }

        len -= n;
    }

    return (len == 0) ? NGX_OK : NGX_ERROR;
}


void
ngx_http_rcache_op_detach(ngx_http_rcache_op_t *op)
{
    op->detached = 1;
}


/*
 * What was sent begins where it did; the chain of another operation may have
 * been linked behind it.
 */

void
ngx_http_rcache_op_rewind(ngx_http_rcache_op_t *op)
{
    ngx_chain_t  *cl;

    op->last->next = NULL;
    op->size = 0;
    op->tracked = 0;

    for (cl = op->out; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->start;
        op->size += cl->buf->last - cl->buf->pos;
    }
}


/*
 * The handler may destroy the pool itself, and the operation with it, before
 * it returns: op->gone tells.
 */

void
ngx_http_rcache_op_finish(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_uint_t  gone;

    if (op->watch) {
        op->watch(op, reply);
    }

    if (!op->detached) {
        gone = 0;
        op->gone = &gone;

        op->handler(op, reply);

        if (gone) {
            return;
        }

        op->gone = NULL;

        if (op->keep) {
            return;
        }
    }

    ngx_http_rcache_op_free(op);
}
