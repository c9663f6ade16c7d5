
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_accept.h"


static unsigned rcache_accept_range(const rcache_str_t *range,
    const rcache_str_t *type);
static unsigned rcache_accept_weight(const u_char *p, const u_char *last);


unsigned
rcache_accept(const rcache_str_t *accept, const rcache_str_t *types,
    unsigned n)
{
    u_char        *p, *last, *end;
    unsigned       i, best, weight, top, given, how, match;
    rcache_str_t   range;

    best = 0;
    top = 0;

    for (i = 0; i < n; i++) {

        /* the most specific range that is the type's has the say */

        given = 0;
        match = 0;

        p = accept->data;
        last = p + accept->len;

        for ( /* void */ ; p < last; p = end + 1) {

            for (end = p; end < last && *end != ','; end++) { /* void */ }

            while (p < end && (*p == ' ' || *p == '\t')) {
                p++;
            }

            range.data = p;

            while (p < end && *p != ';' && *p != ' ' && *p != '\t') {
                p++;
            }

            range.len = p - range.data;

            how = rcache_accept_range(&range, &types[i]);

            if (how > match) {
                match = how;
                given = rcache_accept_weight(p, end);
            }
        }

        weight = match ? given : 0;

        if (weight > top) {
            top = weight;
            best = i;
        }
    }

    return best;
}


/* how well: 0 not at all, 1 as any, 2 as one of its kind, 3 by its name */

static unsigned
rcache_accept_range(const rcache_str_t *range, const rcache_str_t *type)
{
    size_t  i;

    if (range->len == 3 && memcmp(range->data, "*/*", 3) == 0) {
        return 1;
    }

    for (i = 0; i < range->len; i++) {

        if (range->data[i] == '*') {
            return (i && i + 1 == range->len && range->data[i - 1] == '/')
                   ? 2 : 0;
        }

        if (i == type->len || rcache_lower(range->data[i]) != type->data[i]) {
            return 0;
        }
    }

    return (i == type->len) ? 3 : 0;
}


/* in thousandths; 1000 if there is no q, 0 if it is malformed */

static unsigned
rcache_accept_weight(const u_char *p, const u_char *last)
{
    unsigned  weight, digit;

    for ( /* void */ ; p < last; p++) {

        if (*p != ';') {
            continue;
        }

        do {
            p++;
        } while (p < last && (*p == ' ' || *p == '\t'));

        if (last - p < 3 || rcache_lower(p[0]) != 'q' || p[1] != '=') {
            p--;
            continue;
        }

        p += 2;

        if (*p != '0' && *p != '1') {
            return 0;
        }

        weight = (*p++ == '1') ? 1000 : 0;

        if (p == last || *p != '.') {
            return weight;
        }

        p++;

        for (digit = 100; digit; digit /= 10, p++) {

            if (p == last || *p < '0' || *p > '9') {
                break;
            }

            weight += (unsigned) (*p - '0') * digit;
        }

        return weight > 1000 ? 1000 : weight;
    }

    return 1000;
}
