
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_json_parser.h"
#include "rcache_graphql.h"


static int rcache_json_ask_other(void *ctx);
static int rcache_json_ask_boolean(void *ctx, int value);
static int rcache_json_ask_number(void *ctx, const char *p, size_t len);
static int rcache_json_ask_text(void *ctx, const unsigned char *p,
    size_t len);
static int rcache_json_ask_name(void *ctx, const unsigned char *p,
    size_t len);
static int rcache_json_ask_map(void *ctx);
static int rcache_json_ask_map_end(void *ctx);
static int rcache_json_ask_array(void *ctx);


static const yajl_callbacks  rcache_json_ask = {
    rcache_json_ask_other, rcache_json_ask_boolean, NULL, NULL,
    rcache_json_ask_number, rcache_json_ask_text,
    rcache_json_ask_map, rcache_json_ask_name, rcache_json_ask_map_end,
    rcache_json_ask_array, rcache_json_close
};


int
rcache_json_graphql(const rcache_str_t *text,
    const rcache_json_memory_t *memory)
{
    int             rc;
    rcache_json_t  *json;

    json = rcache_json_new(memory, RCACHE_JSON_OVERHEAD
                                   + RCACHE_JSON_FACTOR * text->len,
                           &rcache_json_ask);
    if (json == NULL) {
        return RCACHE_ERROR;
    }

    json->levels[0].map = 0;

    rc = rcache_json_whole(json, text);

    if (rc == RCACHE_OK && json->queries == 0) {
        rc = RCACHE_DECLINED;
    }

    rcache_json_destroy(json);

    return rc;
}


/*
 * A request is an object, at the top or in an array there; anything else at
 * the top, or a "query" that is no string, is none.
 */

static int
rcache_json_ask_other(void *ctx)
{
    rcache_json_t *json = ctx;

    return !json->query && json->depth > 0
           && (json->depth > 1 || json->levels[1].map);
}


static int
rcache_json_ask_boolean(void *ctx, int value)
{
    (void) value;

    return rcache_json_ask_other(ctx);
}


static int
rcache_json_ask_number(void *ctx, const char *p, size_t len)
{
    (void) p;
    (void) len;

    return rcache_json_ask_other(ctx);
}


static int
rcache_json_ask_text(void *ctx, const unsigned char *p, size_t len)
{
    rcache_json_t *json = ctx;

    rcache_str_t  doc;

    if (!json->query) {
        return rcache_json_ask_other(ctx);
    }

    json->query = 0;
    json->queries++;
    json->levels[json->depth].asked = 1;

    doc.data = (u_char *) p;
    doc.len = len;

    return rcache_graphql_query(&doc);
}


static int
rcache_json_ask_name(void *ctx, const unsigned char *p, size_t len)
{
    rcache_json_t *json = ctx;

    json->query = (len == 5 && memcmp(p, "query", 5) == 0
                   && (json->depth == 1
                       || (json->depth == 2 && !json->levels[1].map)));

    return 1;
}


static int
rcache_json_ask_map(void *ctx)
{
    rcache_json_t *json = ctx;

    if (json->query || !rcache_json_open(json)) {
        return 0;
    }

    json->levels[json->depth].map = 1;
    json->levels[json->depth].asked = 0;

    return 1;
}


static int
rcache_json_ask_map_end(void *ctx)
{
    rcache_json_t *json = ctx;

    int  request;

    request = (json->depth == 1
               || (json->depth == 2 && !json->levels[1].map));

    if (request && !json->levels[json->depth].asked) {
        return 0;
    }

    return rcache_json_close(json);
}


static int
rcache_json_ask_array(void *ctx)
{
    rcache_json_t *json = ctx;

    if (json->query
        || (json->depth == 1 && !json->levels[1].map)
        || !rcache_json_open(json))
    {
        return 0;
    }

    json->levels[json->depth].map = 0;

    return 1;
}
