
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the lines of a field.
 *
 * Each member lies inside one of them; what parses as one line parses, with
 * as many members, if one more is put behind it, and as two lines; what does
 * not parse does not for a further member.
 */


#include "fuzz.h"

#include "rcache_sf.h"


#define LINES  8


static int
count(const rcache_str_t *lines, unsigned n)
{
    int                  rc, members;
    unsigned             i;
    rcache_sf_t          sf;
    rcache_sf_member_t   m;

    rcache_sf_init(&sf, lines, n);

    members = 0;

    for ( ;; ) {
        rc = rcache_sf_next(&sf, &m);

        if (rc != RCACHE_OK) {
            break;
        }

        members++;

        for (i = 0; i < n; i++) {

            if (m.key.data >= lines[i].data
                && m.key.data < lines[i].data + lines[i].len)
            {
                break;
            }
        }

        fuzz_assert(i < n && m.key.len > 0);
        fuzz_assert(m.key.data + m.key.len <= lines[i].data + lines[i].len);
        fuzz_assert(m.item.type <= RCACHE_SF_LIST);
        fuzz_assert(m.item.integer > -1000000000000000
                    && m.item.integer < 1000000000000000);

        if (m.item.text.len) {
            fuzz_assert(m.item.text.data > m.key.data
                        && m.item.text.data + m.item.text.len
                           <= lines[i].data + lines[i].len);
        }
    }

    fuzz_assert(rc == RCACHE_DONE || rc == RCACHE_ERROR);
    fuzz_assert(rcache_sf_next(&sf, &m) == rc);

    return (rc == RCACHE_DONE) ? members : -1;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int           n, more;
    u_char       *p, *longer, *nl, *pos;
    size_t        left;
    unsigned      k;
    rcache_str_t  lines[LINES], two[2];

    p = fuzz_copy(data, size);

    pos = p;
    left = size;

    for (k = 0; k < LINES; k++) {
        nl = left ? memchr(pos, '\n', left) : NULL;

        lines[k].data = pos;
        lines[k].len = nl ? (size_t) (nl - pos) : left;

        if (nl == NULL) {
            k++;
            break;
        }

        left -= lines[k].len + 1;
        pos = nl + 1;
    }

    (void) count(lines, k);

    /* the first line alone, and with another member */

    n = count(lines, 1);

    longer = malloc(lines[0].len + 4);
    fuzz_assert(longer);
    memcpy(longer, p, lines[0].len);
    memcpy(longer + lines[0].len, ",z=1", 4);

    two[0].data = longer;
    two[0].len = lines[0].len + 4;

    more = count(two, 1);

    if (n > 0) {
        fuzz_assert(more == n + 1);
    }

    if (n == 0) {
        fuzz_assert(more == -1);
    }

    two[0] = lines[0];
    two[1].data = longer + lines[0].len + 1;
    two[1].len = 3;

    fuzz_assert(count(two, 2) == ((n > 0) ? n + 1 : -1));

    free(longer);
    free(p);

    return 0;
}
