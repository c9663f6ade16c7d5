
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_vary.h"


#define rcache_blank(c)  ((c) == ' ' || (c) == '\t')


static void rcache_vary_insert(rcache_vary_t *vary, const u_char *name,
    size_t len);


void
rcache_vary_init(rcache_vary_t *vary)
{
    vary->len = 0;
    vary->n = 0;
    vary->star = 0;
    vary->overflow = 0;
    vary->malformed = 0;
}


void
rcache_vary_add(rcache_vary_t *vary, const rcache_str_t *value)
{
    u_char  *p, *last, *name, *end;

    p = value->data;
    last = p + value->len;

    while (p < last) {

        if (rcache_blank(*p) || *p == ',') {
            p++;
            continue;
        }

        name = p;

        while (p < last && *p != ',') {
            p++;
        }

        end = p;

        while (rcache_blank(end[-1])) {
            end--;
        }

        if (end - name == 1 && *name == '*') {
            vary->star = 1;
            continue;
        }

        if (rcache_vary_token(name, end) != (size_t) (end - name)) {
            vary->malformed = 1;
            continue;
        }

        rcache_vary_insert(vary, name, end - name);
    }
}


static void
rcache_vary_insert(rcache_vary_t *vary, const u_char *name, size_t len)
{
    int      rc;
    u_char  *p, *last;
    size_t   n, room;

    /* where it belongs: before the first that is greater */

    p = vary->text;
    last = p + vary->len;

    while (p < last) {
        n = rcache_vary_token(p, last);

        rc = rcache_vary_compare(name, len, p, n);

        if (rc == 0) {
            return;
        }

        if (rc < 0) {
            break;
        }

        p += n;

        if (p < last) {
            p++;
        }
    }

    room = len + (vary->n ? 1 : 0);

    if (vary->n == RCACHE_VARY_NAMES || room > RCACHE_VARY_SIZE - vary->len) {
        vary->overflow = 1;
        return;
    }

    if (p < last) {
        memmove(p + room, p, last - p);
        p[len] = ',';

    } else if (vary->n) {
        *p++ = ',';
    }

    for (n = 0; n < len; n++) {
        p[n] = rcache_lower(name[n]);
    }

    vary->len += room;
    vary->n++;
}


/* of names in any case, as if in lower case */

int
rcache_vary_compare(const u_char *a, size_t alen, const u_char *b,
    size_t blen)
{
    size_t  i;

    for (i = 0; i < alen && i < blen; i++) {

        if (rcache_lower(a[i]) != rcache_lower(b[i])) {
            return rcache_lower(a[i]) - rcache_lower(b[i]);
        }
    }

    if (alen == blen) {
        return 0;
    }

    return (alen < blen) ? -1 : 1;
}


size_t
rcache_vary_token(const u_char *p, const u_char *last)
{
    const u_char  *start;

    start = p;

    while (p < last && rcache_token[*p]) {
        p++;
    }

    return p - start;
}


int
rcache_vary_valid(const rcache_str_t *names)
{
    size_t         i, len, last_len;
    unsigned       n;
    const u_char  *p, *end, *last;

    if (names->len == 0 || names->len > RCACHE_VARY_SIZE) {
        return 0;
    }

    p = names->data;
    end = p + names->len;

    last = NULL;
    last_len = 0;

    for (n = 1; n <= RCACHE_VARY_NAMES; n++) {
        len = rcache_vary_token(p, end);

        if (len == 0 || (len == 1 && *p == '*')) {
            return 0;
        }

        for (i = 0; i < len; i++) {

            if (p[i] != rcache_lower(p[i])) {
                return 0;
            }
        }

        if (last && rcache_vary_compare(last, last_len, p, len) >= 0) {
            return 0;
        }

        last = p;
        last_len = len;

        p += len;

        if (p == end) {
            return 1;
        }

        if (*p++ != ',') {
            return 0;
        }
    }

    return 0;
}
