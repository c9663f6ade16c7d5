
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the length of the prefix, 1 byte, the prefix and the key.
 *
 * The Redis key fits where it was promised to fit, is the prefix and one
 * hash tag of printable text, and gives the key back if it is readable.
 */


#include "fuzz.h"

#include "rcache_key.h"


static void
check_readable(const u_char *p, const u_char *last, const rcache_str_t *key)
{
    size_t      i;
    char        byte[4];

    for (i = 0; i < key->len; i++) {

        if (key->data[i] > ' ' && key->data[i] < 0x7f
            && key->data[i] != '{' && key->data[i] != '}')
        {
            fuzz_assert(p < last && *p == key->data[i]);
            p++;
            continue;
        }

        snprintf(byte, sizeof(byte), "%%%02X", key->data[i]);

        fuzz_assert(last - p >= 3 && memcmp(p, byte, 3) == 0);
        p += 3;
    }

    fuzz_assert(p == last);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char        *dst, *p, *last, *pre, *k;
    size_t         len, encoded, i;
    rcache_str_t   prefix, key;

    len = (size_t) fuzz_int(&data, &size, 1);

    if (len > size) {
        len = size;
    }

    pre = fuzz_copy(data, len);
    k = fuzz_copy(data + len, size - len);

    prefix.data = pre;
    prefix.len = len;
    key.data = k;
    key.len = size - len;

    dst = malloc(rcache_key_size(len));
    fuzz_assert(dst);

    last = rcache_key_encode(dst, &prefix, &key);

    fuzz_assert(last);
    fuzz_assert((size_t) (last - dst) <= rcache_key_size(len));
    fuzz_assert((size_t) (last - dst) >= len + 2);
    fuzz_assert(memcmp(dst, pre, len) == 0);
    fuzz_assert(dst[len] == '{' && last[-1] == '}');

    for (p = dst + len + 1; p < last - 1; p++) {
        fuzz_assert(*p > ' ' && *p < 0x7f && *p != '{' && *p != '}');
    }

    encoded = 0;

    for (i = 0; i < key.len; i++) {
        encoded += (k[i] > ' ' && k[i] < 0x7f && k[i] != '{' && k[i] != '}')
                   ? 1 : 3;
    }

    p = dst + len + 1;

    if (encoded <= RCACHE_KEY_READABLE) {
        check_readable(p, last - 1, &key);

    } else {
        fuzz_assert(last - 1 - p == sizeof("sha256:") - 1 + 64);
        fuzz_assert(memcmp(p, "sha256:", sizeof("sha256:") - 1) == 0);
    }

    free(dst);
    free(pre);
    free(k);

    return 0;
}
