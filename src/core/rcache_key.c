
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_key.h"

#include <openssl/sha.h>


static u_char *rcache_key_digest(u_char *dst, const rcache_str_t *key);


/*
 * How many bytes a byte of the key takes.  "{" and "}" would end the hash
 * tag of Redis Cluster early, the others would make the key hard to type.
 * "%" is written as it is, so that a URL with escapes stays readable; keys
 * that become the same by this are told apart by the full key in the entry.
 */

static const u_char  rcache_key_width[256] = {
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 1, 3, 1, 3,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3
};


u_char *
rcache_key_encode(u_char *dst, const rcache_str_t *prefix,
    const rcache_str_t *key)
{
    u_char     ch;
    u_char    *p, *last, *end, *start;
    uint64_t   w;

    static const u_char  hex[] = "0123456789ABCDEF";

    if (prefix->len) {
        memcpy(dst, prefix->data, prefix->len);
        dst += prefix->len;
    }

    *dst++ = '{';

    p = key->data;
    last = p + key->len;

    start = dst;
    end = dst + RCACHE_KEY_READABLE;

    /*
     * Most keys are as they are to the end, and all of it, on each request;
     * hence eight bytes at a time: the expression is zero only if all of them
     * are from 0x21 to 0x7a.
     */

    while (last - p >= 8) {
        memcpy(&w, p, 8);

        if ((((w - 0x2121212121212121) & ~w) | (w + 0x0505050505050505) | w)
            & 0x8080808080808080)
        {
            break;
        }

        p += 8;
    }

    while (p < last && rcache_key_width[*p] == 1) {
        p++;
    }

    if (p > key->data && p - key->data <= RCACHE_KEY_READABLE) {
        memcpy(dst, key->data, p - key->data);
        dst += p - key->data;

    } else {
        p = key->data;
    }

    while (p < last) {

        if (rcache_key_width[*p] > end - dst) {
            dst = rcache_key_digest(start, key);
            if (dst == NULL) {
                return NULL;
            }

            break;
        }

        ch = *p++;

        if (rcache_key_width[ch] == 1) {
            *dst++ = ch;
            continue;
        }

        *dst++ = '%';
        *dst++ = hex[ch >> 4];
        *dst++ = hex[ch & 0xf];
    }

    *dst++ = '}';

    return dst;
}


static u_char *
rcache_key_digest(u_char *dst, const rcache_str_t *key)
{
    u_char  md[SHA256_DIGEST_LENGTH];
    size_t  i;

    static const u_char  hex[] = "0123456789abcdef";

    if (SHA256(key->data, key->len, md) == NULL) {
        return NULL;
    }

    memcpy(dst, "sha256:", sizeof("sha256:") - 1);
    dst += sizeof("sha256:") - 1;

    for (i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        *dst++ = hex[md[i] >> 4];
        *dst++ = hex[md[i] & 0xf];
    }

    return dst;
}
