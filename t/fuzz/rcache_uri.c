
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the length of the base, 1 byte, the base and the reference.
 *
 * What a reference resolves to fits where it was promised to fit, has the
 * origin of the base, a path and no fragment, and resolves to itself.
 */


#include "fuzz.h"

#include "rcache_uri.h"


/* scheme "://" authority, by another way than the resolver's */

static size_t
origin(const u_char *p, size_t len)
{
    size_t  i;

    for (i = 0; i + 3 <= len; i++) {

        if (memcmp(p + i, "://", 3) == 0) {
            i += 3;

            while (i < len && p[i] != '/' && p[i] != '?' && p[i] != '#') {
                i++;
            }

            return i;
        }
    }

    abort();
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char        *dst, *again, *b, *r;
    size_t         len, n;
    rcache_str_t   base, ref, own;

    n = (size_t) fuzz_int(&data, &size, 1);

    if (n > size) {
        n = size;
    }

    b = fuzz_copy(data, n);
    r = fuzz_copy(data + n, size - n);

    base.data = b;
    base.len = n;
    ref.data = r;
    ref.len = size - n;

    dst = malloc(rcache_uri_size(&base, &ref));
    fuzz_assert(dst);

    if (rcache_uri_resolve(dst, &len, &base, &ref) == RCACHE_OK) {
        fuzz_assert(len <= rcache_uri_size(&base, &ref));

        n = origin(b, base.len);

        fuzz_assert(len > n && dst[n] == '/');
        fuzz_assert(memcmp(dst, b, n) == 0);
        fuzz_assert(memchr(dst + n, '#', len - n) == NULL);

        own.data = fuzz_copy(dst, len);
        own.len = len;

        again = malloc(rcache_uri_size(&base, &own));
        fuzz_assert(again);

        /* unless the base has dot segments, or a port */

        if (rcache_uri_resolve(again, &n, &base, &own) == RCACHE_OK) {
            fuzz_assert(n == len && memcmp(again, dst, n) == 0);
        }

        free(again);
        free(own.data);
    }

    free(dst);
    free(b);
    free(r);

    return 0;
}
