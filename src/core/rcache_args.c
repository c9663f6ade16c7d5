
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_args.h"


static u_char *rcache_args_normalise(u_char *dst, const u_char *p,
    const u_char *last);
static int rcache_args_unreserved(u_char ch);
static int rcache_args_hex(u_char ch);
static int rcache_args_before(const void *one, const void *two);


size_t
rcache_args_count(const rcache_str_t *query)
{
    size_t  i, n;

    n = 1;

    for (i = 0; i < query->len; i++) {
        n += (query->data[i] == '&');
    }

    return n;
}


int
rcache_args_parse(rcache_arg_t *args, size_t *n, u_char *dst,
    const rcache_str_t *query)
{
    u_char        *p, *last, *end, *value;
    size_t         room;
    rcache_arg_t  *arg;

    room = *n;
    *n = 0;

    p = query->data;
    last = p + query->len;

    for ( /* void */ ; p < last; p = end + 1) {

        end = memchr(p, '&', last - p);

        if (end == NULL) {
            end = last;
        }

        if (end == p) {
            continue;
        }

        if (*n == room) {
            return RCACHE_DECLINED;
        }

        arg = &args[(*n)++];

        arg->text.data = dst;

        dst = rcache_args_normalise(dst, p, end);

        arg->text.len = dst - arg->text.data;

        value = memchr(arg->text.data, '=', arg->text.len);

        arg->name.data = arg->text.data;
        arg->name.len = (value ? value : dst) - arg->text.data;

        arg->empty = (value == NULL || value + 1 == dst);

        arg->cloaked = (memchr(arg->text.data, ';', arg->text.len) != NULL);
    }

    return RCACHE_OK;
}


/*
 * One argument.  A "%" that is no escape makes it one that is kept as it is:
 * "%2%35" would otherwise become "%25", which is another one.
 */

static u_char *
rcache_args_normalise(u_char *dst, const u_char *p, const u_char *last)
{
    int            hi, lo;
    u_char         ch, *start;
    const u_char  *src;

    start = dst;
    src = p;

    while (p < last) {

        if (*p != '%') {
            *dst++ = *p++;
            continue;
        }

        hi = (last - p >= 3) ? rcache_args_hex(p[1]) : -1;
        lo = (hi >= 0) ? rcache_args_hex(p[2]) : -1;

        if (lo < 0) {
            memcpy(start, src, last - src);
            return start + (last - src);
        }

        ch = (u_char) (hi << 4 | lo);

        if (rcache_args_unreserved(ch)) {
            *dst++ = ch;

        } else {
            *dst++ = '%';
            *dst++ = (u_char) "0123456789ABCDEF"[hi];
            *dst++ = (u_char) "0123456789ABCDEF"[lo];
        }

        p += 3;
    }

    return dst;
}


/* RFC 3986, 2.3 */

static int
rcache_args_unreserved(u_char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
           || (ch >= '0' && ch <= '9')
           || ch == '-' || ch == '.' || ch == '_' || ch == '~';
}


static int
rcache_args_hex(u_char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }

    ch = rcache_lower(ch);

    return (ch >= 'a' && ch <= 'f') ? ch - 'a' + 10 : -1;
}


void
rcache_args_sort(rcache_arg_t *args, rcache_arg_t *spare, size_t n)
{
    rcache_sort(args, spare, n, sizeof(rcache_arg_t), rcache_args_before);
}


static int
rcache_args_before(const void *one, const void *two)
{
    const rcache_arg_t *a = one;
    const rcache_arg_t *b = two;

    int     rc;
    size_t  len;

    len = (a->name.len < b->name.len) ? a->name.len : b->name.len;

    rc = len ? memcmp(a->name.data, b->name.data, len) : 0;

    return rc ? rc < 0 : a->name.len < b->name.len;
}


u_char *
rcache_args_join(u_char *dst, const rcache_arg_t *args, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {

        if (i) {
            *dst++ = '&';
        }

        memcpy(dst, args[i].text.data, args[i].text.len);
        dst += args[i].text.len;
    }

    return dst;
}


int
rcache_args_match(const rcache_str_t *pattern, const rcache_str_t *name)
{
    size_t  p, n, star, mark;

    p = 0;
    n = 0;
    star = (size_t) -1;
    mark = 0;

    while (n < name->len) {

        if (p < pattern->len && pattern->data[p] == '*') {
            star = p++;
            mark = n;

        } else if (p < pattern->len && pattern->data[p] == name->data[n]) {
            p++;
            n++;

        } else if (star != (size_t) -1) {

            /* what the last star stands for is one byte longer */

            p = star + 1;
            n = ++mark;

        } else {
            return 0;
        }
    }

    while (p < pattern->len && pattern->data[p] == '*') {
        p++;
    }

    return p == pattern->len;
}
