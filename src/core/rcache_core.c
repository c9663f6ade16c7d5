
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_core.h"


/* each row is 16 bytes; the first two are the control bytes */

const u_char  rcache_token[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
};


int
rcache_equal(const u_char *a, const u_char *b, size_t len)
{
    size_t    i;
    uint64_t  one, two;

    /* mostly both are written the same way; the last eight may overlap */

    for (i = 0; len >= 8 && i < len; i += 8) {

        if (i > len - 8) {
            i = len - 8;
        }

        memcpy(&one, a + i, 8);
        memcpy(&two, b + i, 8);

        if (one != two) {
            break;
        }
    }

    for ( /* void */ ; i < len; i++) {

        if (a[i] != b[i] && rcache_lower(a[i]) != rcache_lower(b[i])) {
            return 0;
        }
    }

    return 1;
}


int
rcache_number(uint64_t *n, const u_char **p, const u_char *last)
{
    u_char         ch;
    const u_char  *start;

    *n = 0;

    for (start = *p; *p < last && **p >= '0' && **p <= '9'; (*p)++) {
        ch = (u_char) (**p - '0');

        if (*n > (UINT64_MAX - ch) / 10) {
            return RCACHE_ERROR;
        }

        *n = *n * 10 + ch;
    }

    return (*p == start) ? RCACHE_ERROR : RCACHE_OK;
}


int
rcache_str_listed(const rcache_str_t *list, const rcache_str_t *name)
{
    u_char        *p, *last;
    rcache_str_t   token;

    p = list->data;
    last = p + list->len;

    while (p < last) {

        if (!rcache_token[*p]) {
            p++;
            continue;
        }

        token.data = p;

        while (p < last && rcache_token[*p]) {
            p++;
        }

        token.len = p - token.data;

        if (rcache_str_same(&token, name)) {
            return 1;
        }
    }

    return 0;
}


void
rcache_sort(void *items, void *spare, size_t n, size_t size,
    rcache_less_pt less)
{
    u_char  *from, *to, *t, *next;
    size_t   width, i, a, b, middle, end;

    from = items;
    to = spare;

    for (width = 1; width < n; width *= 2) {

        for (i = 0; i < n; i = end) {

            middle = (n - i > width) ? i + width : n;
            end = (n - middle > width) ? middle + width : n;

            a = i;
            b = middle;

            while (a < middle || b < end) {

                if (b == end
                    || (a < middle && !less(from + b * size, from + a * size)))
                {
                    next = from + a++ * size;

                } else {
                    next = from + b++ * size;
                }

                memcpy(to + i++ * size, next, size);
            }
        }

        t = from;
        from = to;
        to = t;
    }

    if (from != (u_char *) items) {
        memcpy(items, from, n * size);
    }
}
