
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is a list of tags.  What is taken off it is no empty tag and no
 * long one, the list gets shorter each time, and the hashes are those of the
 * tags, each once.
 */


#include "fuzz.h"

#include "rcache_purge.h"
#include "rcache_tags.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int            rc, added;
    u_char         buf[RCACHE_TAG_MAX], *copy;
    size_t         left;
    uint64_t       hash;
    unsigned       i, j, found;
    rcache_str_t   list, tag;
    rcache_tags_t  tags;

    copy = fuzz_copy(data, size);

    list.data = copy;
    list.len = size;

    tags.n = 0;
    added = rcache_tags_add(&tags, &list);

    fuzz_assert(added == RCACHE_OK || added == RCACHE_DECLINED);
    fuzz_assert(tags.n <= RCACHE_TAGS_MAX);

    for (i = 0; i < tags.n; i++) {
        for (j = 0; j < i; j++) {
            fuzz_assert(memcmp(tags.hash + i * RCACHE_TAG_SIZE,
                               tags.hash + j * RCACHE_TAG_SIZE,
                               RCACHE_TAG_SIZE)
                        != 0);
        }
    }

    for ( ;; ) {
        left = list.len;
        rc = rcache_tags_next(&list, buf, &tag);

        if (rc == RCACHE_DONE) {
            break;
        }

        fuzz_assert(list.len < left);

        if (rc != RCACHE_OK) {
            fuzz_assert(rc == RCACHE_DECLINED && added == RCACHE_DECLINED);
            continue;
        }

        fuzz_assert(tag.len > 0 && tag.len <= RCACHE_TAG_MAX);

        hash = rcache_purge_hash(RCACHE_PURGE_TAG, &tag);
        found = (added == RCACHE_DECLINED);

        for (i = 0; i < tags.n; i++) {
            uint64_t  n;

            memcpy(&n, tags.hash + i * RCACHE_TAG_SIZE, sizeof(n));
            found |= (n == hash);
        }

        fuzz_assert(found);
    }

    free(copy);

    return 0;
}
