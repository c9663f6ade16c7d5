
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_json.h"
#include "rcache_graphql.h"

#include <setjmp.h>
#include <yajl/yajl_parse.h>


/* of what a canonical form may take: members, and what yajl needs */

#define RCACHE_JSON_OVERHEAD  16384
#define RCACHE_JSON_FACTOR    24


/* in front of each allocation */

typedef struct rcache_json_block_s  rcache_json_block_t;

struct rcache_json_block_s {
    rcache_json_block_t   *prev;
    rcache_json_block_t   *next;
    size_t                 size;
    size_t                 pad;        /* what follows is aligned */
};


/* of an object whose end has not come */

typedef struct {
    u_char                *start;      /* where it begins in the output */
    size_t                 members;    /* the first of them */
    unsigned               map:1;
    unsigned               first:1;    /* nothing is in it yet */
    unsigned               asked:1;    /* "query" was there */
} rcache_json_level_t;


/* a member: where its name begins, and the last one ended */

typedef struct {
    u_char                *text;
    size_t                 name;       /* length of the name, as written */
    size_t                 len;
} rcache_json_member_t;


struct rcache_json_s {
    rcache_json_memory_t   memory;
    rcache_json_block_t   *blocks;
    size_t                 left;
    jmp_buf                out;

    yajl_handle            yajl;
    unsigned               depth;

    /* of the canonical form */
    u_char                *dst;
    u_char                *spare;
    rcache_json_member_t  *members;
    size_t                 nmembers;
    size_t                 room;

    /* of members that are told one by one */
    rcache_json_member_pt  handler;
    void                  *data;
    rcache_str_t           name;
    u_char                 name_data[RCACHE_JSON_NAME];

    /* of GraphQL */
    size_t                 queries;
    unsigned               query:1;    /* the next value is one */

    rcache_json_level_t    levels[RCACHE_JSON_DEPTH + 1];
};


static rcache_json_t *rcache_json_new(const rcache_json_memory_t *memory,
    size_t limit, const yajl_callbacks *callbacks);
static int rcache_json_whole(rcache_json_t *json, const rcache_str_t *text);
static void *rcache_json_malloc(void *ctx, size_t size);
static void *rcache_json_realloc(void *ctx, void *p, size_t size);
static void rcache_json_free(void *ctx, void *p);
static int rcache_json_verdict(yajl_status status);
static int rcache_json_surrogates(const rcache_str_t *text);

static int rcache_json_open(void *ctx);
static int rcache_json_close(void *ctx);

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


static const yajl_callbacks  rcache_json_check = {
    NULL, NULL, NULL, NULL, NULL, NULL,
    rcache_json_open, NULL, rcache_json_close,
    rcache_json_open, rcache_json_close
};


static const yajl_callbacks  rcache_json_write = {
    rcache_json_put_null, rcache_json_put_boolean, NULL, NULL,
    rcache_json_put_number, rcache_json_put_text,
    rcache_json_put_map, rcache_json_put_name, rcache_json_put_map_end,
    rcache_json_put_array, rcache_json_put_array_end
};


static const yajl_callbacks  rcache_json_members = {
    rcache_json_tell_null, rcache_json_tell_boolean, NULL, NULL,
    rcache_json_tell_number, rcache_json_tell_text,
    rcache_json_tell_map, rcache_json_tell_name, rcache_json_close,
    rcache_json_tell_array, rcache_json_close
};


static const yajl_callbacks  rcache_json_ask = {
    rcache_json_ask_other, rcache_json_ask_boolean, NULL, NULL,
    rcache_json_ask_number, rcache_json_ask_text,
    rcache_json_ask_map, rcache_json_ask_name, rcache_json_ask_map_end,
    rcache_json_ask_array, rcache_json_close
};


rcache_json_t *
rcache_json_create(const rcache_json_memory_t *memory, size_t limit)
{
    return rcache_json_new(memory, limit, &rcache_json_check);
}


static rcache_json_t *
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


static void *
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


static int
rcache_json_open(void *ctx)
{
    rcache_json_t *json = ctx;

    return json->depth++ < RCACHE_JSON_DEPTH;
}


static int
rcache_json_close(void *ctx)
{
    rcache_json_t *json = ctx;

    json->depth--;

    return 1;
}


/* a text that is all there */

static int
rcache_json_whole(rcache_json_t *json, const rcache_str_t *text)
{
    int  rc;

    rc = rcache_json_feed(json, text->data, text->len);

    return (rc == RCACHE_OK) ? rcache_json_end(json) : rc;
}


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
