
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_json_parser.h"


static void *rcache_json_realloc(void *ctx, void *p, size_t size);
static void rcache_json_free(void *ctx, void *p);
static int rcache_json_verdict(yajl_status status);


static const yajl_callbacks  rcache_json_check = {
    NULL, NULL, NULL, NULL, NULL, NULL,
    rcache_json_open, NULL, rcache_json_close,
    rcache_json_open, rcache_json_close
};


rcache_json_t *
rcache_json_create(const rcache_json_memory_t *memory, size_t limit)
{
    return rcache_json_new(memory, limit, &rcache_json_check);
}


rcache_json_t *
rcache_json_new(const rcache_json_memory_t *memory, size_t limit,
    const yajl_callbacks *callbacks)
{
    yajl_alloc_funcs   funcs;
    rcache_json_t     *json;

    json = memory->alloc(memory->data, sizeof(rcache_json_t));
    if (json == NULL) {
        return NULL;
    }

    memset(json, 0, offsetof(rcache_json_t, levels));

    json->memory = *memory;
    json->left = limit;

    funcs.malloc = rcache_json_malloc;
    funcs.realloc = rcache_json_realloc;
    funcs.free = rcache_json_free;
    funcs.ctx = json;

    if (setjmp(json->out)) {
        rcache_json_destroy(json);
        return NULL;
    }

    json->yajl = yajl_alloc(callbacks, &funcs, json);

    return json;
}


int
rcache_json_feed(rcache_json_t *json, const u_char *p, size_t len)
{
    if (setjmp(json->out)) {
        return RCACHE_ERROR;
    }

    return rcache_json_verdict(yajl_parse(json->yajl, p, len));
}


int
rcache_json_end(rcache_json_t *json)
{
    if (setjmp(json->out)) {
        return RCACHE_ERROR;
    }

    return rcache_json_verdict(yajl_complete_parse(json->yajl));
}


static int
rcache_json_verdict(yajl_status status)
{
    return (status == yajl_status_ok) ? RCACHE_OK : RCACHE_DECLINED;
}


/* not by yajl, which may have been left in the middle of something */

void
rcache_json_destroy(rcache_json_t *json)
{
    rcache_json_block_t   *b, *next;
    rcache_json_memory_t   memory;

    memory = json->memory;

    for (b = json->blocks; b; b = next) {
        next = b->next;
        memory.free(memory.data, b);
    }

    memory.free(memory.data, json);
}


void *
rcache_json_malloc(void *ctx, size_t size)
{
    rcache_json_t *json = ctx;

    rcache_json_block_t  *b;

    if (size > json->left) {
        longjmp(json->out, 1);
    }

    b = json->memory.alloc(json->memory.data,
                           sizeof(rcache_json_block_t) + size);
    if (b == NULL) {
        longjmp(json->out, 1);
    }

    json->left -= size;

    b->size = size;
    b->prev = NULL;
    b->next = json->blocks;

    if (b->next) {
        b->next->prev = b;
    }

    json->blocks = b;

    return b + 1;
}


static void *
rcache_json_realloc(void *ctx, void *p, size_t size)
{
    void                 *new;
    rcache_json_block_t  *b;

    new = rcache_json_malloc(ctx, size);

    if (p) {
        b = (rcache_json_block_t *) p - 1;

        memcpy(new, p, (b->size < size) ? b->size : size);

        rcache_json_free(ctx, p);
    }

    return new;
}


static void
rcache_json_free(void *ctx, void *p)
{
    rcache_json_t *json = ctx;

    rcache_json_block_t  *b;

    if (p == NULL) {
        return;
    }

    b = (rcache_json_block_t *) p - 1;

    if (b->prev) {
        b->prev->next = b->next;

    } else {
        json->blocks = b->next;
    }

    if (b->next) {
        b->next->prev = b->prev;
    }

    json->left += b->size;

    json->memory.free(json->memory.data, b);
}


int
rcache_json_open(void *ctx)
{
    rcache_json_t *json = ctx;

    return json->depth++ < RCACHE_JSON_DEPTH;
}


int
rcache_json_close(void *ctx)
{
    rcache_json_t *json = ctx;

    json->depth--;

    return 1;
}


int
rcache_json_whole(rcache_json_t *json, const rcache_str_t *text)
{
    int  rc;

    rc = rcache_json_feed(json, text->data, text->len);

    return (rc == RCACHE_OK) ? rcache_json_end(json) : rc;
}
