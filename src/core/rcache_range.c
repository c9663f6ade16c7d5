
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_range.h"


#define rcache_blank(c)  ((c) == ' ' || (c) == '\t')

#define rcache_digit(c)  ((c) >= '0' && (c) <= '9')


static const u_char *rcache_range_number(const u_char *p, const u_char *last,
    uint64_t *n);
static int rcache_range_abuse(const rcache_ranges_t *ranges,
    uint64_t length);


int
rcache_range_parse(rcache_ranges_t *ranges, const rcache_str_t *value)
{
    const u_char    *p, *last;
    rcache_str_t     unit;
    rcache_range_t  *range;

    ranges->n = 0;

    p = value->data;
    last = p + value->len;

    if (value->len < sizeof("bytes=") - 1) {
        return RCACHE_DECLINED;
    }

    /* RFC 9110, 14.1: range units are case-insensitive */

    unit.len = sizeof("bytes") - 1;
    unit.data = value->data;

    p += unit.len;

    if (!rcache_str_is(&unit, "bytes") || *p++ != '=') {
        return RCACHE_DECLINED;
    }

    for ( ;; ) {

        /* RFC 9110, 5.6.1.2: a list may have empty elements */

        while (p < last && (rcache_blank(*p) || *p == ',')) {
            p++;
        }

        if (p == last) {
            break;
        }

        if (ranges->n == RCACHE_RANGES_MAX) {
            return RCACHE_DECLINED;
        }

        range = &ranges->range[ranges->n++];

        p = rcache_range_number(p, last, &range->start);

        if (p == last || *p++ != '-') {
            return RCACHE_DECLINED;
        }

        p = rcache_range_number(p, last, &range->end);

        if (range->start == RCACHE_RANGE_NONE
            && range->end == RCACHE_RANGE_NONE)
        {
            return RCACHE_DECLINED;
        }

        /* RFC 9110, 14.1.1: such an int-range is invalid */

        if (range->start != RCACHE_RANGE_NONE && range->end < range->start) {
            return RCACHE_DECLINED;
        }

        while (p < last && rcache_blank(*p)) {
            p++;
        }

        if (p < last && *p != ',') {
            return RCACHE_DECLINED;
        }
    }

    return ranges->n ? RCACHE_OK : RCACHE_DECLINED;
}


/* a number that is too large is behind the end of any body */

static const u_char *
rcache_range_number(const u_char *p, const u_char *last, uint64_t *n)
{
    uint64_t  value;

    if (p == last || !rcache_digit(*p)) {
        *n = RCACHE_RANGE_NONE;
        return p;
    }

    value = 0;

    while (p < last && rcache_digit(*p)) {

        if (value > (RCACHE_RANGE_NONE - 10) / 10) {
            value = RCACHE_RANGE_NONE - 1;
            p++;
            continue;
        }

        value = value * 10 + (*p++ - '0');
    }

    *n = value;

    return p;
}


uint64_t
rcache_range_offset(const rcache_ranges_t *ranges)
{
    unsigned  i;
    uint64_t  offset;

    offset = 0;

    for (i = 0; i < ranges->n; i++) {

        if (ranges->range[i].start > offset) {
            offset = ranges->range[i].start;
        }
    }

    return offset;
}


int
rcache_range_resolve(rcache_ranges_t *ranges, uint64_t length)
{
    unsigned        i, n;
    rcache_range_t  range;

    n = 0;

    for (i = 0; i < ranges->n; i++) {
        range = ranges->range[i];

        if (range.start == RCACHE_RANGE_NONE) {

            /* RFC 9110, 14.1.2: the last bytes, or all if there are less */

            if (range.end == 0 || length == 0) {
                continue;
            }

            range.start = (range.end < length) ? length - range.end : 0;
            range.end = length;

        } else {

            if (range.start >= length) {
                continue;
            }

            range.end = (range.end < length) ? range.end + 1 : length;
        }

        ranges->range[n++] = range;
    }

    ranges->n = n;

    if (n == 0) {
        return RCACHE_DECLINED;
    }

    return rcache_range_abuse(ranges, length) ? RCACHE_DONE : RCACHE_OK;
}


/*
 * RFC 9110, 14.2 and 17.15: a set that overlaps, or that is together no
 * shorter than the body, is better answered with the body.
 */

static int
rcache_range_abuse(const rcache_ranges_t *ranges, uint64_t length)
{
    unsigned               i, j;
    uint64_t               size, sum;
    const rcache_range_t  *a, *b;

    if (ranges->n == 1) {
        return 0;
    }

    sum = 0;

    for (i = 0; i < ranges->n; i++) {
        a = &ranges->range[i];
        size = a->end - a->start;

        if (size >= length - sum) {
            return 1;
        }

        sum += size;

        for (j = 0; j < i; j++) {
            b = &ranges->range[j];

            if (a->start < b->end && b->start < a->end) {
                return 1;
            }
        }
    }

    return 0;
}
