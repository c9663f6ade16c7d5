
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is a list of records: a kind, 1 byte, the length of its value, 1
 * byte, and the value.  They are applied one after the other to a small table,
 * and whatever was purged once is purged for ever, to all that is older; what
 * is newer than the last record never is.
 */


#include "fuzz.h"

#include "rcache_purge.h"
#include "rcache_tags.h"


#define RECORDS  64


static const char  *names[] = {
    "tag", "key", "prefix", "all", "floor", "soft", "other", "regex", "done",
    "stop", "purged"
};


static int
match(const rcache_purges_t *p, uint64_t ms, const rcache_str_t *key,
    const rcache_str_t *tag)
{
    u_char                  hash[RCACHE_TAG_SIZE];
    uint64_t                soft, n;
    rcache_purge_id_t       id;
    rcache_purge_subject_t  subject;

    n = rcache_purge_hash(RCACHE_PURGE_TAG, tag);
    memcpy(hash, &n, sizeof(n));

    id.ms = ms;
    id.seq = 0;

    subject.position = rcache_purge_position(&id);
    subject.key = *key;
    subject.tags.data = hash;
    subject.tags.len = sizeof(hash);

    return rcache_purges_match(p, &subject, &soft);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             i, n, len;
    unsigned           kind[RECORDS];
    rcache_str_t       value[RECORDS], none;
    rcache_field_t     field;
    rcache_purges_t   *p;
    rcache_purge_id_t  id;

    p = malloc(rcache_purges_size(1));
    fuzz_assert(p);

    rcache_purges_init(p, 1);

    none.data = (u_char *) "\xff\xff";
    none.len = 2;

    for (n = 0; n < RECORDS && size >= 2; n++) {
        kind[n] = (unsigned) fuzz_int(&data, &size, 1) % 11;
        len = (size_t) fuzz_int(&data, &size, 1);

        if (len > size) {
            len = size;
        }

        value[n].data = fuzz_copy(data, len);
        value[n].len = len;

        data += len;
        size -= len;

        field.name.data = (u_char *) names[kind[n]];
        field.name.len = strlen(names[kind[n]]);
        field.value = value[n];

        id.ms = n + 1;
        id.seq = 0;

        (void) rcache_purges_apply(p, &id, &field, 1);

        rcache_purges_reached(p, &id);

        fuzz_assert(rcache_purges_known(p) == rcache_purge_position(&id));
    }

    for (i = 0; i < n; i++) {

        switch (kind[i]) {

        case 0:
            fuzz_assert(match(p, i, &none, &value[i]));
            break;

        case 1:
        case 2:
            fuzz_assert(match(p, i, &value[i], &none));
            break;

        case 3:
            fuzz_assert(match(p, i, &none, &none));
            break;

        default:
            break;
        }

        fuzz_assert(!match(p, n, &value[i], &value[i]));
    }

    for (i = 0; i < n; i++) {
        free(value[i].data);
    }

    free(p);

    return 0;
}
