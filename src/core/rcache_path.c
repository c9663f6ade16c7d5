
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_path.h"


/* bytes that mean nothing but themselves: all but controls # % . / ; \ DEL */

static const u_char  rcache_path_ordinary[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
};


static int rcache_path_next(const u_char **p, const u_char *last);
static int rcache_path_byte(const u_char **p, const u_char *last);
static int rcache_path_hex(const u_char *p);
static int rcache_path_unreserved(int ch);


int
rcache_path_plain(const rcache_str_t *path)
{
    int            ch, dots, rest;
    const u_char  *p, *last;

    p = path->data;
    last = p + path->len;

    /* most paths have nothing but ordinary bytes and slashes */

    while (p < last && (rcache_path_ordinary[*p] || *p == '/')) {
        p++;
    }

    if (p == last) {
        return 1;
    }

    p = path->data;

    if (memchr(p, '#', path->len) != NULL) {
        return 0;
    }

    dots = 0;
    rest = 0;

    /* dots: of the segment so far; rest: it has more than dots */

    for ( ;; ) {

        while (p < last && rcache_path_ordinary[*p]) {
            rest = 1;
            p++;
        }

        ch = (p < last) ? rcache_path_next(&p, last) : '/';

        if (ch < 0x20 || ch == 0x7f) {
            return 0;
        }

        if (ch == '/' || ch == '\\' || ch == ';') {

            if (dots && dots <= 2 && !rest) {
                return 0;
            }

            if (ch == ';') {

                /* for those who have parameters the segment ends here */

                rest = 1;

            } else {
                dots = 0;
                rest = 0;
            }

            if (p == last && ch != ';') {
                return 1;
            }

            continue;
        }

        if (ch == '.' && !rest) {
            dots++;

        } else {
            rest = 1;
        }
    }
}


/*
 * The next character for who decodes it as long as it can be decoded, which
 * is twice at most: three times nobody does.
 */

static int
rcache_path_next(const u_char **p, const u_char *last)
{
    int            ch;
    u_char         again[3];
    const u_char  *q, *a;

    ch = rcache_path_byte(p, last);

    if (ch != '%' || last - *p < 2) {
        return ch;
    }

    /* "%25" and two hex digits; a "%" alone is not decoded, and stays */

    q = *p;

    again[0] = '%';
    again[1] = (u_char) rcache_path_byte(&q, last);
    again[2] = (q < last) ? (u_char) rcache_path_byte(&q, last) : 'x';

    a = again;
    ch = rcache_path_byte(&a, again + 3);

    if (a != again + 3) {
        return '%';
    }

    *p = q;

    return ch;
}


/* the next byte, decoded once */

static int
rcache_path_byte(const u_char **p, const u_char *last)
{
    int  ch;

    if (**p == '%' && last - *p >= 3) {
        ch = rcache_path_hex(*p + 1);

        if (ch >= 0) {
            *p += 3;
            return ch;
        }
    }

    return *(*p)++;
}


static int
rcache_path_hex(const u_char *p)
{
    int     i, n;
    u_char  ch;

    n = 0;

    for (i = 0; i < 2; i++) {
        ch = rcache_lower(p[i]);

        if (ch >= '0' && ch <= '9') {
            n = n << 4 | (ch - '0');

        } else if (ch >= 'a' && ch <= 'f') {
            n = n << 4 | (ch - 'a' + 10);

        } else {
            return -1;
        }
    }

    return n;
}


int
rcache_path_exact(const rcache_str_t *path)
{
    int            ch;
    const u_char  *p, *last, *at;

    p = path->data;
    last = p + path->len;

    while (p < last) {

        at = p;
        ch = rcache_path_byte(&p, last);

        if (p - at == 1) {

            if (ch == '/' && p < last && *p == '/') {
                return 0;
            }

            continue;
        }

        /*
         * RFC 3986, 2.2: what is reserved is something else when escaped.
         * Letters, digits, blanks and bytes of UTF-8 are the same.
         */

        if (ch > ' ' && ch < 0x7f && !rcache_path_unreserved(ch)) {
            return 0;
        }
    }

    return 1;
}


/* RFC 3986, 2.3 */

static int
rcache_path_unreserved(int ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
           || (ch >= '0' && ch <= '9')
           || ch == '-' || ch == '.' || ch == '_' || ch == '~';
}
