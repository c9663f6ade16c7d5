
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_json_parser.h"


static int rcache_json_surrogates(const rcache_str_t *text);
static int rcache_json_put(rcache_json_t *json, const void *p, size_t len);
static int rcache_json_put_string(rcache_json_t *json, const u_char *p,
    size_t len);
static int rcache_json_before(rcache_json_t *json);
static int rcache_json_put_null(void *ctx);
static int rcache_json_put_boolean(void *ctx, int value);
static int rcache_json_put_number(void *ctx, const char *p, size_t len);
static int rcache_json_put_text(void *ctx, const unsigned char *p,
    size_t len);
static int rcache_json_put_name(void *ctx, const unsigned char *p,
    size_t len);
static int rcache_json_put_map(void *ctx);
static int rcache_json_put_map_end(void *ctx);
static int rcache_json_put_array(void *ctx);
static int rcache_json_put_array_end(void *ctx);
static void rcache_json_ended(rcache_json_t *json, rcache_json_level_t *level);
static int rcache_json_less(const void *one, const void *two);


static const yajl_callbacks  rcache_json_write = {
    rcache_json_put_null, rcache_json_put_boolean, NULL, NULL,
    rcache_json_put_number, rcache_json_put_text,
    rcache_json_put_map, rcache_json_put_name, rcache_json_put_map_end,
    rcache_json_put_array, rcache_json_put_array_end
};


int
rcache_json_canonical(u_char *dst, size_t *len, const rcache_str_t *text,
    const rcache_json_memory_t *memory)
{
    int             rc;
    rcache_json_t  *json;

    if (rcache_json_surrogates(text)) {
        return RCACHE_DECLINED;
    }

    json = rcache_json_new(memory, RCACHE_JSON_OVERHEAD
                                   + RCACHE_JSON_FACTOR * text->len,
                           &rcache_json_write);
    if (json == NULL) {
        return RCACHE_ERROR;
    }

    json->dst = dst;

    /* a member takes at least four bytes, '"":0' */

    json->room = text->len / 4 + 1;

    if (setjmp(json->out)) {
        rcache_json_destroy(json);
        return RCACHE_ERROR;
    }

    json->members = rcache_json_malloc(json, 2 * json->room
                                             * sizeof(rcache_json_member_t));
    json->spare = rcache_json_malloc(json, text->len ? text->len : 1);

    json->levels[0].map = 0;
    json->levels[0].first = 1;

    rc = rcache_json_whole(json, text);

    *len = json->dst - dst;

    rcache_json_destroy(json);

    return rc;
}


/* yajl makes "?" of the ones that stand alone */

static int
rcache_json_surrogates(const rcache_str_t *text)
{
    u_char  *p, *last;

    p = text->data;
    last = p + text->len;

    while (p < last) {

        p = memchr(p, '\\', last - p);

        if (p == NULL) {
            break;
        }

        if (last - p >= 4 && p[1] == 'u' && rcache_lower(p[2]) == 'd'
            && p[3] >= '8')
        {
            return 1;
        }

        p += 2;
    }

    return 0;
}


/* the output is never longer than what was read, but for a colon */

static int
rcache_json_put(rcache_json_t *json, const void *p, size_t len)
{
    memcpy(json->dst, p, len);
    json->dst += len;

    return 1;
}


static int
rcache_json_put_string(rcache_json_t *json, const u_char *p, size_t len)
{
    size_t   i;
    u_char  *dst;

    static const u_char  hex[] = "0123456789abcdef";

    dst = json->dst;

    *dst++ = '"';

    for (i = 0; i < len; i++) {

        switch (p[i]) {

        case '"':
        case '\\':
            *dst++ = '\\';
            *dst++ = p[i];
            continue;

        case '\b':
            *dst++ = '\\';
            *dst++ = 'b';
            continue;

        case '\f':
            *dst++ = '\\';
            *dst++ = 'f';
            continue;

        case '\n':
            *dst++ = '\\';
            *dst++ = 'n';
            continue;

        case '\r':
            *dst++ = '\\';
            *dst++ = 'r';
            continue;

        case '\t':
            *dst++ = '\\';
            *dst++ = 't';
            continue;

        default:
            break;
        }

        if (p[i] >= 0x20) {
            *dst++ = p[i];
            continue;
        }

        memcpy(dst, "\\u00", 4);
        dst[4] = hex[p[i] >> 4];
        dst[5] = hex[p[i] & 0xf];
        dst += 6;
    }

    *dst++ = '"';

    json->dst = dst;

    return 1;
}


/* in an array commas are written as it goes; in an object when it ends */

static int
rcache_json_before(rcache_json_t *json)
{
    rcache_json_level_t  *level;

    level = &json->levels[json->depth];

    if (level->map) {
        return 1;
    }

    if (!level->first) {
        *json->dst++ = ',';
    }

    level->first = 0;

    return 1;
}


static int
rcache_json_put_null(void *ctx)
{
    rcache_json_t *json = ctx;

    return rcache_json_before(json) && rcache_json_put(json, "null", 4);
}


static int
rcache_json_put_boolean(void *ctx, int value)
{
    rcache_json_t *json = ctx;

    return rcache_json_before(json)
           && rcache_json_put(json, value ? "true" : "false", value ? 4 : 5);
}


static int
rcache_json_put_number(void *ctx, const char *p, size_t len)
{
    rcache_json_t *json = ctx;

    return rcache_json_before(json) && rcache_json_put(json, p, len);
}


static int
rcache_json_put_text(void *ctx, const unsigned char *p, size_t len)
{
    rcache_json_t *json = ctx;

    return rcache_json_before(json) && rcache_json_put_string(json, p, len);
}


static int
rcache_json_put_name(void *ctx, const unsigned char *p, size_t len)
{
    rcache_json_t *json = ctx;

    rcache_json_level_t   *level;
    rcache_json_member_t  *member;

    level = &json->levels[json->depth];

    rcache_json_ended(json, level);

    if (json->nmembers == json->room) {
        return 0;
    }

    member = &json->members[json->nmembers++];

    member->text = json->dst;

    rcache_json_put_string(json, p, len);

    member->name = json->dst - member->text;

    *json->dst++ = ':';

    return 1;
}


/* the last member of the object, if there is one, ends here */

static void
rcache_json_ended(rcache_json_t *json, rcache_json_level_t *level)
{
    rcache_json_member_t  *member;

    if (json->nmembers > level->members) {
        member = &json->members[json->nmembers - 1];
        member->len = json->dst - member->text;
    }
}


static int
rcache_json_put_map(void *ctx)
{
    rcache_json_t *json = ctx;

    rcache_json_level_t  *level;

    if (!rcache_json_before(json) || !rcache_json_open(json)) {
        return 0;
    }

    level = &json->levels[json->depth];

    *json->dst++ = '{';

    level->map = 1;
    level->start = json->dst;
    level->members = json->nmembers;

    return 1;
}


/* what was written as it came is written again, sorted, with commas */

static int
rcache_json_put_map_end(void *ctx)
{
    rcache_json_t *json = ctx;

    size_t                 i, n;
    u_char                *p;
    rcache_json_level_t   *level;
    rcache_json_member_t  *m;

    level = &json->levels[json->depth];

    rcache_json_ended(json, level);

    m = &json->members[level->members];
    n = json->nmembers - level->members;

    rcache_sort(m, json->members + json->room, n,
                sizeof(rcache_json_member_t), rcache_json_less);

    p = json->spare;

    for (i = 0; i < n; i++) {

        if (i) {
            *p++ = ',';
        }

        memcpy(p, m[i].text, m[i].len);
        p += m[i].len;
    }

    json->dst = level->start;

    rcache_json_put(json, json->spare, p - json->spare);

    *json->dst++ = '}';

    json->nmembers = level->members;

    return rcache_json_close(json);
}


static int
rcache_json_put_array(void *ctx)
{
    rcache_json_t *json = ctx;

    if (!rcache_json_before(json) || !rcache_json_open(json)) {
        return 0;
    }

    *json->dst++ = '[';

    json->levels[json->depth].map = 0;
    json->levels[json->depth].first = 1;

    return 1;
}


static int
rcache_json_put_array_end(void *ctx)
{
    rcache_json_t *json = ctx;

    *json->dst++ = ']';

    return rcache_json_close(json);
}


static int
rcache_json_less(const void *one, const void *two)
{
    const rcache_json_member_t *a = one;
    const rcache_json_member_t *b = two;

    int     rc;
    size_t  len;

    len = (a->name < b->name) ? a->name : b->name;

    rc = memcmp(a->text, b->text, len);

    return rc ? rc < 0 : a->name < b->name;
}
