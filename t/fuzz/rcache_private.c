
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the value of a Cache-Control line.  What is made of it fits,
 * is private to who reads it, and allows nothing that the line did not.
 */


#include "fuzz.h"

#include "rcache_cc.h"
#include "rcache_private.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char        *p, *dst, *end;
    rcache_cc_t    was, is;
    rcache_str_t   value;

    p = fuzz_copy(data, size);

    value.data = p;
    value.len = size;

    dst = malloc(RCACHE_PRIVATE_SIZE(size));
    fuzz_assert(dst);

    end = rcache_private_cc(dst, &value);
    fuzz_assert((size_t) (end - dst) <= RCACHE_PRIVATE_SIZE(size));

    rcache_cc_init(&was);
    rcache_cc_parse(&was, p, size);

    rcache_cc_init(&is);
    rcache_cc_parse(&is, dst, end - dst);

    fuzz_assert(is.private_);
    fuzz_assert(is.no_store == was.no_store);
    fuzz_assert(is.must_revalidate == was.must_revalidate);
    fuzz_assert(is.max_age == was.max_age);

    (void) rcache_private_targeted(&value);

    free(dst);
    free(p);

    return 0;
}
