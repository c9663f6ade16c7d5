
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is a base, a line, and the value of a header.
 *
 * Base and part together can be taken apart again: the first space that is
 * not doubled begins the part.  A value is read back from it, or a digest
 * stands there.
 */


#include "fuzz.h"

#include "rcache_parts.h"


static void
check_value(const u_char *p, const u_char *last, const rcache_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] == ' ' || value->data[i] == '%') {
            fuzz_assert(last - p >= 3);
            fuzz_assert(memcmp(p, value->data[i] == ' ' ? "%20" : "%25", 3)
                        == 0);
            p += 3;
            continue;
        }

        fuzz_assert(p < last && *p == value->data[i]);
        p++;
    }

    fuzz_assert(p == last);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char        *p, *nl, *key, *part, *end, *q;
    size_t         i, room;
    rcache_str_t   base, name, value;

    p = fuzz_copy(data, size);

    nl = size ? memchr(p, '\n', size) : NULL;

    base.data = p;
    base.len = nl ? (size_t) (nl - p) : size;

    value.data = nl ? nl + 1 : p + size;
    value.len = p + size - value.data;

    name.data = (u_char *) "x-host";
    name.len = 6;

    room = base.len + rcache_parts_spaces(&base) + name.len
           + RCACHE_PART_HEADER;

    key = malloc(room);
    fuzz_assert(key);

    part = rcache_parts_base(key, &base);
    fuzz_assert((size_t) (part - key)
                == base.len + rcache_parts_spaces(&base));

    end = rcache_parts_header(part, &name, &value);
    fuzz_assert(end && (size_t) (end - key) <= room);

    /* what the base was, and where the part begins */

    q = key;

    for (i = 0; i < base.len; i++) {
        fuzz_assert(*q == base.data[i]);
        q += (base.data[i] == ' ') ? 2 : 1;
    }

    fuzz_assert(q == part && part[0] == ' ' && part[1] != ' ');

    fuzz_assert(memchr(part + 1, ' ', end - part - 1) == NULL);

    if (memcmp(part, " h:x-host=", 10) == 0) {
        check_value(part + 10, end, &value);

    } else {
        fuzz_assert(memcmp(part, " hash:x-host=", 13) == 0);
        fuzz_assert(end - part == 13 + RCACHE_PART_DIGEST);
        fuzz_assert(3 * value.len > RCACHE_PART_READABLE);
    }

    free(key);
    free(p);

    return 0;
}
