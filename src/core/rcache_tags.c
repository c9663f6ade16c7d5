
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_tags.h"
#include "rcache_purge.h"


#define rcache_tags_separates(ch)  ((ch) == ',' || (ch) <= 0x20)


static int rcache_tags_quoted(rcache_str_t *list, u_char *buf,
    rcache_str_t *tag);
static int rcache_tags_put(rcache_tags_t *tags, const rcache_str_t *tag);


int
rcache_tags_next(rcache_str_t *list, u_char *buf, rcache_str_t *tag)
{
    int      rc;
    u_char  *p, *last;

    p = list->data;
    last = p + list->len;

    for ( ;; ) {

        while (p < last && rcache_tags_separates(*p)) {
            p++;
        }

        list->data = p;
        list->len = last - p;

        if (p == last) {
            return RCACHE_DONE;
        }

        if (*p != '"') {
            break;
        }

        rc = rcache_tags_quoted(list, buf, tag);

        if (rc != RCACHE_OK || tag->len) {
            return rc;
        }

        p = list->data;
    }

    tag->data = p;

    while (p < last && !rcache_tags_separates(*p)) {
        p++;
    }

    tag->len = p - tag->data;

    list->data = p;
    list->len = last - p;

    return (tag->len > RCACHE_TAG_MAX) ? RCACHE_DECLINED : RCACHE_OK;
}


/* RFC 9651, 3.3.3; a string without an end goes on to the end */

static int
rcache_tags_quoted(rcache_str_t *list, u_char *buf, rcache_str_t *tag)
{
    int      rc;
    u_char  *p, *last;

    rc = RCACHE_OK;

    tag->data = buf;
    tag->len = 0;

    p = list->data + 1;
    last = list->data + list->len;

    while (p < last && *p != '"') {

        if (*p == '\\' && p + 1 < last) {
            p++;
        }

        if (tag->len < RCACHE_TAG_MAX) {
            buf[tag->len++] = *p;

        } else {
            rc = RCACHE_DECLINED;
        }

        p++;
    }

    while (p < last && !rcache_tags_separates(*p)) {
        p++;
    }

    list->data = p;
    list->len = last - p;

    return rc;
}


int
rcache_tags_add(rcache_tags_t *tags, const rcache_str_t *list)
{
    int           rc;
    u_char        buf[RCACHE_TAG_MAX];
    rcache_str_t  rest, tag;

    rest = *list;

    for ( ;; ) {
        rc = rcache_tags_next(&rest, buf, &tag);

        if (rc == RCACHE_DONE) {
            return RCACHE_OK;
        }

        if (rc != RCACHE_OK || rcache_tags_put(tags, &tag) != RCACHE_OK) {
            return RCACHE_DECLINED;
        }
    }
}


static int
rcache_tags_put(rcache_tags_t *tags, const rcache_str_t *tag)
{
    u_char    hash[RCACHE_TAG_SIZE];
    uint64_t  n;
    unsigned  i;

    n = rcache_purge_hash(RCACHE_PURGE_TAG, tag);

    for (i = 0; i < RCACHE_TAG_SIZE; i++) {
        hash[i] = (u_char) (n >> i * 8);
    }

    for (i = 0; i < tags->n; i++) {

        if (memcmp(tags->hash + i * RCACHE_TAG_SIZE, hash, RCACHE_TAG_SIZE)
            == 0)
        {
            return RCACHE_OK;
        }
    }

    if (tags->n == RCACHE_TAGS_MAX) {
        return RCACHE_DECLINED;
    }

    memcpy(tags->hash + tags->n * RCACHE_TAG_SIZE, hash, RCACHE_TAG_SIZE);
    tags->n++;

    return RCACHE_OK;
}
