
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the length of a body, 8 bytes, flags, 1, and a Range.
 *
 * What is resolved lies inside the body, does not overlap, and is shorter
 * than it unless it is one.
 */


#include "fuzz.h"

#include "rcache_range.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int              rc;
    u_char          *p;
    uint64_t         length, sum;
    unsigned         i, j, n, flags;
    rcache_str_t     value;
    rcache_range_t  *a, *b;
    rcache_ranges_t  ranges;

    length = (uint64_t) fuzz_int(&data, &size, 8);
    flags = (unsigned) fuzz_int(&data, &size, 1);

    if (flags & 1) {
        length &= 0xff;
    }

    p = fuzz_copy(data, size);

    value.data = p;
    value.len = size;

    rc = rcache_range_parse(&ranges, &value);

    if (rc != RCACHE_OK) {
        fuzz_assert(rc == RCACHE_DECLINED);
        free(p);
        return 0;
    }

    n = ranges.n;

    fuzz_assert(n > 0 && n <= RCACHE_RANGES_MAX);
    (void) rcache_range_offset(&ranges);

    rc = rcache_range_resolve(&ranges, length);

    fuzz_assert(rc == RCACHE_OK || rc == RCACHE_DECLINED
                || rc == RCACHE_DONE);
    fuzz_assert(ranges.n <= n);
    fuzz_assert((rc == RCACHE_DECLINED) == (ranges.n == 0));

    sum = 0;

    for (i = 0; i < ranges.n; i++) {
        a = &ranges.range[i];

        fuzz_assert(a->start < a->end && a->end <= length);

        if (rc != RCACHE_OK || ranges.n == 1) {
            continue;
        }

        fuzz_assert(a->end - a->start < length - sum);
        sum += a->end - a->start;

        for (j = 0; j < i; j++) {
            b = &ranges.range[j];
            fuzz_assert(a->end <= b->start || b->end <= a->start);
        }
    }

    free(p);

    return 0;
}
