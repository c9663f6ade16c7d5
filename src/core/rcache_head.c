
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_head.h"


static u_char *rcache_head_line(u_char *p, u_char *last);
static u_char *rcache_head_stop(u_char *p, u_char *last);


int
rcache_head_status(rcache_head_t *h, const rcache_str_t *head,
    rcache_str_t *line)
{
    u_char  *p, *last;

    if (head->len < sizeof("HTTP/1.1 200" "\r\n") - 1
        || memcmp(head->data, "HTTP/1.1 ", sizeof("HTTP/1.1 ") - 1) != 0)
    {
        return RCACHE_ERROR;
    }

    p = head->data + sizeof("HTTP/1.1 ") - 1;
    last = head->data + head->len;

    line->data = p;

    /* RFC 9110, 15: the first digit is the class */

    if (p[0] < '1' || p[0] > '5'
        || p[1] < '0' || p[1] > '9'
        || p[2] < '0' || p[2] > '9'
        || (p[3] != ' ' && p[3] != '\r'))
    {
        return RCACHE_ERROR;
    }

    p = rcache_head_line(p + 3, last);
    if (p == NULL) {
        return RCACHE_ERROR;
    }

    line->len = p - line->data;

    h->pos = p + 2;
    h->last = last;
    h->known = 0;

    return RCACHE_OK;
}


int
rcache_head_next(rcache_head_t *h, rcache_str_t *name, rcache_str_t *value)
{
    u_char  *p, *last, *end;

    p = h->pos;
    last = h->last;

    name->data = p;

    if (h->known && last - p > 2) {

        /* what separates is all that is looked for */

        p = memchr(p, ':', last - p);
        if (p == NULL) {
            return RCACHE_ERROR;
        }

        name->len = p++ - name->data;
        end = memchr(p, '\r', last - p);

    } else {

        while (p < last && rcache_token[*p]) {
            p++;
        }

        if (p == last) {
            return RCACHE_ERROR;
        }

        name->len = p - name->data;

        if (name->len == 0) {

            if (last - p == 2 && p[0] == '\r' && p[1] == '\n') {
                return RCACHE_DONE;
            }

            return RCACHE_ERROR;
        }

        if (*p++ != ':') {
            return RCACHE_ERROR;
        }

        end = rcache_head_line(p, last);
    }

    if (end == NULL) {
        return RCACHE_ERROR;
    }

    h->pos = end + 2;

    /* RFC 9112, 5.1: the blanks around a value are not part of it */

    while (p < end && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (end > p && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }

    value->data = p;
    value->len = end - p;

    return RCACHE_OK;
}


/* the end of the line, before its CRLF; NULL if there is none */

static u_char *
rcache_head_line(u_char *p, u_char *last)
{
    p = rcache_head_stop(p, last);

    return (last - p >= 2 && p[0] == '\r' && p[1] == '\n') ? p : NULL;
}


/*
 * The first CR, LF or NUL, or last.  Lines are short and this runs for each of
 * them on each hit, hence eight bytes at a time: the expression is not zero if,
 * and only if, one of them is below 0x10.
 */

static u_char *
rcache_head_stop(u_char *p, u_char *last)
{
    uint64_t  w;

    for ( ;; ) {

        while (last - p >= 8) {
            memcpy(&w, p, 8);

            if ((w - 0x1010101010101010) & ~w & 0x8080808080808080) {
                break;
            }

            p += 8;
        }

        /* one is in the next eight bytes, or these are the last ones */

        while (p < last && *p >= 0x10) {
            p++;
        }

        if (p == last || *p == '\r' || *p == '\n' || *p == '\0') {
            return p;
        }

        /* a tab, or another control byte; RFC 9110, 5.5 lets it pass */

        p++;
    }
}


int
rcache_head_valid(const rcache_str_t *name, const rcache_str_t *value)
{
    size_t   i;
    u_char  *last;

    if (name->len == 0) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {

        if (!rcache_token[name->data[i]]) {
            return 0;
        }
    }

    if (value->len == 0) {
        return 1;
    }

    last = value->data + value->len;

    return rcache_head_stop(value->data, last) == last;
}
