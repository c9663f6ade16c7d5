
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_uri.h"


static size_t rcache_uri_origin(const u_char *p, const u_char *last);
static const u_char *rcache_uri_same_origin(const rcache_str_t *base,
    size_t origin, const u_char *p, const u_char *last);
static const u_char *rcache_uri_until(const u_char *p, const u_char *last,
    const char *stops);
static int rcache_uri_dots(const u_char *p, const u_char *last);


int
rcache_uri_resolve(u_char *dst, size_t *len, const rcache_str_t *base,
    const rcache_str_t *ref)
{
    int            path;
    u_char        *end;
    size_t         prefix;
    const u_char  *p, *last, *own, *colon;

    if (base->len == 0 || ref->len == 0) {
        return RCACHE_DECLINED;
    }

    prefix = rcache_uri_origin(base->data, base->data + base->len);

    if (prefix == 0) {
        return RCACHE_DECLINED;
    }

    p = ref->data;
    last = rcache_uri_until(p, p + ref->len, "#");

    if (p == last || *p == '?' || rcache_uri_dots(p, last)) {
        return RCACHE_DECLINED;
    }

    path = 0;

    if (rcache_uri_origin(p, last) || (last - p >= 2 && p[0] == '/'
                                       && p[1] == '/'))
    {
        p = rcache_uri_same_origin(base, prefix, p, last);

        if (p == NULL) {
            return RCACHE_DECLINED;
        }

    } else if (*p != '/') {

        /* RFC 3986, 4.2: a colon in the first segment ends a scheme */

        colon = rcache_uri_until(p, last, ":/?");

        if (colon < last && *colon == ':') {
            return RCACHE_DECLINED;
        }

        /* RFC 3986, 5.2.3: all of the base's path up to the last slash */

        own = rcache_uri_until(base->data + prefix, base->data + base->len,
                               "?#");

        while (own > base->data + prefix && own[-1] != '/') {
            own--;
        }

        path = own > base->data + prefix;
        prefix = own - base->data;
    }

    memcpy(dst, base->data, prefix);
    end = dst + prefix;

    /* RFC 3986, 5.2.3 and 6.2.3: an empty path is "/" */

    if (!path && (p == last || *p != '/')) {
        *end++ = '/';
    }

    if (p < last) {
        memcpy(end, p, last - p);
        end += last - p;
    }

    *len = end - dst;

    return RCACHE_OK;
}


/* the length of scheme://authority, 0 if it does not begin with that */

static size_t
rcache_uri_origin(const u_char *p, const u_char *last)
{
    const u_char  *start;

    start = p;

    if (p < last && rcache_lower(*p) < 'a') {
        return 0;
    }

    while (p < last && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
                        || (*p >= '0' && *p <= '9') || *p == '+'
                        || *p == '-' || *p == '.'))
    {
        p++;
    }

    if (p == start || last - p < 3 || memcmp(p, "://", 3) != 0) {
        return 0;
    }

    return rcache_uri_until(p + 3, last, "/?#") - start;
}


/* where the path begins, NULL if it is another origin */

static const u_char *
rcache_uri_same_origin(const rcache_str_t *base, size_t origin,
    const u_char *p, const u_char *last)
{
    size_t         i;
    const u_char  *own;

    own = base->data;
    i = 0;

    if (*p == '/') {

        /* "//authority": the scheme is that of the base */

        while (own[i] != '/') {
            i++;
        }
    }

    for ( /* void */ ; i < origin; i++) {

        if (p == last || rcache_lower(*p) != rcache_lower(own[i])) {
            return NULL;
        }

        p++;
    }

    if (p < last && *p == ':') {
        p++;

        while (p < last && *p >= '0' && *p <= '9') {
            p++;
        }
    }

    if (p < last && *p != '/' && *p != '?') {
        return NULL;
    }

    return p;
}


/* the first of these characters, or the end */

static const u_char *
rcache_uri_until(const u_char *p, const u_char *last, const char *stops)
{
    const char  *stop;

    for ( /* void */ ; p < last; p++) {

        for (stop = stops; *stop; stop++) {

            if (*p == (u_char) *stop) {
                return p;
            }
        }
    }

    return p;
}


/* "." or ".." as a segment of the path */

static int
rcache_uri_dots(const u_char *p, const u_char *last)
{
    const u_char  *start;

    while (p < last && *p != '?') {
        start = p;

        p = rcache_uri_until(p, last, "/?");

        if ((p - start == 1 && start[0] == '.')
            || (p - start == 2 && start[0] == '.' && start[1] == '.'))
        {
            return 1;
        }

        if (p < last && *p == '/') {
            p++;
        }
    }

    return 0;
}
