
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_cc.h"


static const u_char *rcache_cc_argument(rcache_str_t *arg, const u_char *p,
    const u_char *last);
static void rcache_cc_directive(rcache_cc_t *cc, const rcache_str_t *name,
    const rcache_str_t *arg);
static int64_t rcache_cc_number(const rcache_str_t *arg);
static void rcache_cc_lifetime(int64_t *value, const rcache_str_t *arg);
static void rcache_cc_window(int64_t *value, const rcache_str_t *arg);


#define rcache_cc_separator(c)                                                \
    ((c) == ',' || (c) == ';' || (c) == ' ' || (c) == '\t')


void
rcache_cc_init(rcache_cc_t *cc)
{
    memset(cc, 0, sizeof(rcache_cc_t));

    cc->max_age = -1;
    cc->s_maxage = -1;
    cc->stale_while_revalidate = -1;
    cc->stale_if_error = -1;
}


void
rcache_cc_parse(rcache_cc_t *cc, const u_char *p, size_t len)
{
    rcache_str_t   name, arg;
    const u_char  *last;

    last = p + len;

    for ( ;; ) {

        /*
         * Whatever is no token is stepped over a byte at a time, so that
         * in text that is not Cache-Control's grammar a restriction is
         * still seen: "private" in quotes, or private;max-age=60.
         */

        while (p < last && !rcache_token[*p]) {
            p++;
        }

        if (p == last) {
            return;
        }

        name.data = (u_char *) p;

        while (p < last && rcache_token[*p]) {
            p++;
        }

        name.len = p - name.data;

        arg.len = 0;
        arg.data = NULL;

        /* RFC 9111, 5.2: no blanks around "=" */

        if (p < last && *p == '=') {
            p = rcache_cc_argument(&arg, p + 1, last);
        }

        rcache_cc_directive(cc, &name, &arg);
    }
}


/* RFC 9111, 5.2: both forms of an argument, token and quoted-string */

static const u_char *
rcache_cc_argument(rcache_str_t *arg, const u_char *p, const u_char *last)
{
    const u_char  *q;

    arg->data = (u_char *) p;

    if (p == last || *p != '"') {

        while (p < last && !rcache_cc_separator(*p)) {
            p++;
        }

        arg->len = p - arg->data;

        return p;
    }

    for (q = p + 1; q < last; q++) {

        if (*q == '\\' && last - q > 1) {
            q++;
            continue;
        }

        if (*q != '"') {
            continue;
        }

        q++;

        if (q == last || rcache_cc_separator(*q)) {
            arg->data++;
            arg->len = q - arg->data - 1;

        } else {

            /* something sticks to the closing quote: not a number, then */

            arg->len = q - arg->data;
        }

        return q;
    }

    /* never closed: what follows the quote is looked at as directives */

    arg->len = 1;

    return p + 1;
}


static void
rcache_cc_directive(rcache_cc_t *cc, const rcache_str_t *name,
    const rcache_str_t *arg)
{
    switch (name->len) {

    case sizeof("public") - 1:

        if (rcache_str_is(name, "public")) {
            cc->public_ = 1;
        }

        break;

    case sizeof("max-age") - 1:

        if (rcache_str_is(name, "max-age")) {
            rcache_cc_lifetime(&cc->max_age, arg);

        } else if (rcache_str_is(name, "private")) {
            cc->private_ = 1;
        }

        break;

    case sizeof("s-maxage") - 1:

        if (rcache_str_is(name, "s-maxage")) {
            rcache_cc_lifetime(&cc->s_maxage, arg);

        } else if (rcache_str_is(name, "no-store")) {
            cc->no_store = 1;

        } else if (rcache_str_is(name, "no-cache")) {
            cc->no_cache = 1;
        }

        break;

    case sizeof("stale-if-error") - 1:

        if (rcache_str_is(name, "stale-if-error")) {
            rcache_cc_window(&cc->stale_if_error, arg);
        }

        break;

    case sizeof("must-revalidate") - 1:

        if (rcache_str_is(name, "must-revalidate")) {
            cc->must_revalidate = 1;

        } else if (rcache_str_is(name, "must-understand")) {
            cc->must_understand = 1;
        }

        break;

    case sizeof("proxy-revalidate") - 1:

        if (rcache_str_is(name, "proxy-revalidate")) {
            cc->proxy_revalidate = 1;
        }

        break;

    case sizeof("stale-while-revalidate") - 1:

        if (rcache_str_is(name, "stale-while-revalidate")) {
            rcache_cc_window(&cc->stale_while_revalidate, arg);
        }

        break;

    default:
        break;
    }
}


/* RFC 9111, 1.2.2: delta-seconds, or -1 if the argument is none */

static int64_t
rcache_cc_number(const rcache_str_t *arg)
{
    size_t   i;
    int64_t  n;

    if (arg->len == 0) {
        return -1;
    }

    n = 0;

    for (i = 0; i < arg->len; i++) {

        if (arg->data[i] < '0' || arg->data[i] > '9') {
            return -1;
        }

        n = n * 10 + (arg->data[i] - '0');

        if (n > RCACHE_DELTA_MAX) {
            n = RCACHE_DELTA_MAX;
        }
    }

    return n;
}


/*
 * RFC 9111, 4.2.1: of several values the first is to be used, or the
 * response is to be taken for stale, and so it is best taken if a value is
 * not a number.  The least is never more than the first.
 */

static void
rcache_cc_lifetime(int64_t *value, const rcache_str_t *arg)
{
    int64_t  n;

    n = rcache_cc_number(arg);

    if (n == -1) {
        n = 0;
    }

    if (*value == -1 || n < *value) {
        *value = n;
    }
}


/* RFC 5861, 3 and 4 */

static void
rcache_cc_window(int64_t *value, const rcache_str_t *arg)
{
    int64_t  n;

    n = rcache_cc_number(arg);

    if (n != -1 && (*value == -1 || n < *value)) {
        *value = n;
    }
}
