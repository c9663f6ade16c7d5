
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_json_parser.h"


static int rcache_json_tell(rcache_json_t *json, int kind,
    const rcache_str_t *value);
static int rcache_json_tell_null(void *ctx);
static int rcache_json_tell_boolean(void *ctx, int value);
static int rcache_json_tell_number(void *ctx, const char *p, size_t len);
static int rcache_json_tell_text(void *ctx, const unsigned char *p,
    size_t len);
static int rcache_json_tell_map(void *ctx);
static int rcache_json_tell_name(void *ctx, const unsigned char *p,
    size_t len);
static int rcache_json_tell_array(void *ctx);


static const yajl_callbacks  rcache_json_members = {
    rcache_json_tell_null, rcache_json_tell_boolean, NULL, NULL,
    rcache_json_tell_number, rcache_json_tell_text,
    rcache_json_tell_map, rcache_json_tell_name, rcache_json_close,
    rcache_json_tell_array, rcache_json_close
};


int
rcache_json_each(const rcache_str_t *text, const rcache_json_memory_t *memory,
    rcache_json_member_pt handler, void *data)
{
    int             rc;
    rcache_json_t  *json;

    json = rcache_json_new(memory, RCACHE_JSON_OVERHEAD
                                   + RCACHE_JSON_FACTOR * text->len,
                           &rcache_json_members);
    if (json == NULL) {
        return RCACHE_ERROR;
    }

    json->handler = handler;
    json->data = data;

    rc = rcache_json_whole(json, text);

    rcache_json_destroy(json);

    return rc;
}


/* in the object, depth is 1; in an array in it, 2 */

static int
rcache_json_tell(rcache_json_t *json, int kind, const rcache_str_t *value)
{
    return json->depth && json->handler(json->data, &json->name, kind, value);
}


static int
rcache_json_tell_null(void *ctx)
{
    return rcache_json_tell(ctx, RCACHE_JSON_OTHER, NULL);
}


static int
rcache_json_tell_boolean(void *ctx, int value)
{
    rcache_json_t *json = ctx;

    return rcache_json_tell(json, (json->depth != 1) ? RCACHE_JSON_OTHER
                                  : value ? RCACHE_JSON_TRUE
                                          : RCACHE_JSON_FALSE, NULL);
}


static int
rcache_json_tell_number(void *ctx, const char *p, size_t len)
{
    (void) p;
    (void) len;

    return rcache_json_tell(ctx, RCACHE_JSON_OTHER, NULL);
}


static int
rcache_json_tell_text(void *ctx, const unsigned char *p, size_t len)
{
    rcache_json_t *json = ctx;

    rcache_str_t  value;

    value.data = (u_char *) p;
    value.len = len;

    return rcache_json_tell(json, (json->depth == 1) ? RCACHE_JSON_STRING
                                                     : RCACHE_JSON_ELEMENT,
                            &value);
}


static int
rcache_json_tell_map(void *ctx)
{
    rcache_json_t *json = ctx;

    return json->depth == 0 && rcache_json_open(json);
}


static int
rcache_json_tell_name(void *ctx, const unsigned char *p, size_t len)
{
    rcache_json_t *json = ctx;

    if (len > RCACHE_JSON_NAME) {
        return 0;
    }

    if (len) {
        memcpy(json->name_data, p, len);
    }

    json->name.data = json->name_data;
    json->name.len = len;

    return 1;
}


static int
rcache_json_tell_array(void *ctx)
{
    rcache_json_t *json = ctx;

    return json->depth == 1 && rcache_json_open(json);
}
