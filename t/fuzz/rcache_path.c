
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is a path.  What is plain stays so when its bytes are escaped, or
 * taken for what they stand for, and has no segment of dots however it is
 * read; what is exact has the same separators when it is decoded.
 */


#include "fuzz.h"

#include "rcache_path.h"


/* all of it decoded once; length in *len */

static u_char *
decode(const u_char *p, size_t size, size_t *len)
{
    char     hex[3], *end;
    u_char  *dst, *d;
    size_t   i;

    dst = malloc(size ? size : 1);
    fuzz_assert(dst);

    d = dst;
    hex[2] = '\0';

    for (i = 0; i < size; i++) {

        if (p[i] == '%' && size - i >= 3) {
            hex[0] = (char) p[i + 1];
            hex[1] = (char) p[i + 2];

            if (strspn(hex, "0123456789abcdefABCDEF") == 2) {
                *d++ = (u_char) strtoul(hex, &end, 16);
                i += 2;
                continue;
            }
        }

        *d++ = p[i];
    }

    *len = d - dst;

    return dst;
}


/* a segment "." or "..", where "\" and ";" separate too */

static int
dots(const u_char *p, size_t size)
{
    size_t  i, n;

    for (i = 0, n = 0; i <= size; i++) {

        if (i == size || p[i] == '/' || p[i] == '\\' || p[i] == ';') {

            if (n && n <= 2) {
                return 1;
            }

            /* behind a ";" is no segment */

            while (i < size && p[i] != '/' && p[i] != '\\') {
                i++;
            }

            n = 0;
            continue;
        }

        if (p[i] != '.') {

            while (i + 1 < size && p[i + 1] != '/' && p[i + 1] != '\\') {
                i++;
            }

            n = 0;
            continue;
        }

        n++;
    }

    return 0;
}


static size_t
count(const u_char *p, size_t size, u_char ch)
{
    size_t  i, n;

    for (i = 0, n = 0; i < size; i++) {
        n += (p[i] == ch);
    }

    return n;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char        *p, *once, *twice;
    size_t         n, m;
    rcache_str_t   path;

    p = fuzz_copy(data, size);

    path.data = p;
    path.len = size;

    once = decode(p, size, &n);
    twice = decode(once, n, &m);

    if (rcache_path_plain(&path)) {
        fuzz_assert(!dots(p, size));
        fuzz_assert(!dots(once, n));
        fuzz_assert(!dots(twice, m));
        fuzz_assert(size == 0 || memchr(p, '#', size) == NULL);
        fuzz_assert(m == 0 || memchr(twice, '\0', m) == NULL);
        fuzz_assert(m == 0 || memchr(twice, '\n', m) == NULL);
    }

    /* raw bytes and escapes of what separates do not become one */

    if (rcache_path_exact(&path)) {
        fuzz_assert(count(once, n, '/') == count(p, size, '/'));
        fuzz_assert(count(once, n, ';') == count(p, size, ';'));
        fuzz_assert(count(once, n, '?') == count(p, size, '?'));
    }

    free(once);
    free(twice);
    free(p);

    return 0;
}
