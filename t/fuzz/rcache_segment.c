
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is a mode, 1 byte, the length of the body, 3 bytes, which segment
 * is asked for, 2 bytes, and a stored value.  With bits of the mode set the
 * harness does what a liar in Redis would do, or no input would come past the
 * checksum.
 *
 * Whatever is accepted lies inside the value and has the length that it must
 * have, or less if it may be compressed, whatever the value says.
 */


#include "fuzz.h"

#include "rcache_entry.h"


#define MODE_SUM    0x01        /* the checksum is right */
#define MODE_ID     0x02        /* it is asked for with its own id */
#define MODE_CODED  0x04        /* the entry says that it may be compressed */


static uint64_t
get(const u_char *p, size_t bytes)
{
    uint64_t  n;

    n = 0;

    while (bytes--) {
        n = n << 8 | p[bytes];
    }

    return n;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char             *p;
    size_t              i, header;
    uint32_t            n;
    uint64_t            body_len, sum;
    unsigned            mode;
    rcache_str_t        payload;
    rcache_segments_t   s;

    mode = (unsigned) fuzz_int(&data, &size, 1);
    body_len = (uint64_t) fuzz_int(&data, &size, 3);
    n = (uint32_t) fuzz_int(&data, &size, 2);

    s.id = 42;
    s.size = (uint32_t) (body_len & 0xff) + 1;
    s.count = 0;
    s.coding = (mode & MODE_CODED) ? RCACHE_CODING_GZIP : RCACHE_CODING_NONE;

    if (rcache_segments_count(&s, body_len) != RCACHE_OK) {
        s.count = 0;
    }

    p = fuzz_copy(data, size);

    if (size >= RCACHE_SEGMENT_FIXED) {
        header = get(p + 4, 2);

        if ((mode & MODE_SUM) && header >= RCACHE_SEGMENT_FIXED
            && header <= size)
        {
            sum = rcache_sum(p + header, size - header);

            for (i = 0; i < 8; i++) {
                p[24 + i] = (u_char) (sum >> 8 * i);
            }
        }

        if (mode & MODE_ID) {
            s.id = get(p + 8, 8);
        }
    }

    if (rcache_segment_decode(&payload, &s, body_len, n, p, size, NULL)
        == RCACHE_OK)
    {
        fuzz_assert(n < s.count);
        fuzz_assert(payload.len == rcache_segment_len(&s, body_len, n)
                    || ((mode & MODE_CODED)
                        && payload.len > 0
                        && payload.len < rcache_segment_len(&s, body_len,
                                                            n)));
        fuzz_assert(payload.data >= p + RCACHE_SEGMENT_FIXED);
        fuzz_assert(payload.data + payload.len == p + size);
    }

    if (rcache_entry_segments(&s, p, size) == RCACHE_OK) {
        fuzz_assert(s.count > 0 && s.count <= RCACHE_SEGMENTS_MAX);
        fuzz_assert(s.size >= RCACHE_SEGMENT_MIN
                    && s.size <= RCACHE_SEGMENT_MAX);
    }

    free(p);

    return 0;
}
