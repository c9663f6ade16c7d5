
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is field lines, one a line.
 *
 * What is read is in range; saying it twice, or in another order, changes
 * nothing; and no field, however broken, hides a "private" behind it.
 */


#include "fuzz.h"

#include "rcache_cc.h"


static void
check_number(int64_t n)
{
    fuzz_assert(n >= -1 && n <= RCACHE_DELTA_MAX);
}


static void
parse_forward(rcache_cc_t *cc, const uint8_t *data, size_t size)
{
    u_char         *copy;
    size_t          len;
    const uint8_t  *nl;

    for ( ;; ) {
        nl = size ? memchr(data, '\n', size) : NULL;
        len = nl ? (size_t) (nl - data) : size;

        copy = fuzz_copy(data, len);
        rcache_cc_parse(cc, copy, len);
        free(copy);

        if (nl == NULL) {
            return;
        }

        data += len + 1;
        size -= len + 1;
    }
}


static void
parse_backward(rcache_cc_t *cc, const uint8_t *data, size_t size)
{
    size_t  end, start;

    for (end = size; /* void */; end = start - 1) {

        for (start = end; start && data[start - 1] != '\n'; start--) {
            /* void */
        }

        rcache_cc_parse(cc, data + start, end - start);

        if (start == 0) {
            return;
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char      *longer;
    rcache_cc_t  cc, other;

    rcache_cc_init(&cc);
    parse_forward(&cc, data, size);

    check_number(cc.max_age);
    check_number(cc.s_maxage);
    check_number(cc.stale_while_revalidate);
    check_number(cc.stale_if_error);

    other = cc;
    parse_forward(&other, data, size);
    fuzz_assert(memcmp(&cc, &other, sizeof(cc)) == 0);

    rcache_cc_init(&other);
    parse_backward(&other, data, size);
    fuzz_assert(memcmp(&cc, &other, sizeof(cc)) == 0);

    longer = malloc(size + sizeof(", private"));
    fuzz_assert(longer);

    if (size) {
        memcpy(longer, data, size);
    }

    memcpy(longer + size, ", private", sizeof(", private") - 1);

    rcache_cc_init(&other);
    rcache_cc_parse(&other, longer, size + sizeof(", private") - 1);
    fuzz_assert(other.private_);

    free(longer);

    return 0;
}
