
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the length of a body, 2 bytes, header lines of the newer
 * response, an empty line, and the stored head.
 *
 * What is written has the size that was said and is a head that can be read;
 * it has no line that is never stored, and no longer has what was replaced.
 */


#include "fuzz.h"

#include "rcache_update.h"


#define FIELDS  32


static void
check(const rcache_update_t *u, const rcache_str_t *head)
{
    int             rc;
    u_char         *p;
    ssize_t         size;
    int32_t         dated;
    unsigned        dates;
    rcache_str_t    out, status, name, value;
    rcache_head_t   h;

    size = rcache_update_size(u, head);

    if (size == RCACHE_ERROR) {
        return;
    }

    fuzz_assert(size > 0 && size <= RCACHE_HEAD_MAX);

    p = malloc(size);
    fuzz_assert(p);

    fuzz_assert(rcache_update_write(p, u, head) == p + size);

    out.data = p;
    out.len = size;

    fuzz_assert(rcache_head_status(&h, &out, &status) == RCACHE_OK);

    dates = 0;

    while ((rc = rcache_head_next(&h, &name, &value)) == RCACHE_OK) {

        if (rcache_str_is(&name, "Date")) {
            dates++;

        } else {
            fuzz_assert(rcache_response_keeps(u->resp, &name));
        }
    }

    fuzz_assert(rc == RCACHE_DONE);
    fuzz_assert(dates == 0
                || rcache_response_dated(u->resp, &dated) != RCACHE_OK);

    /* once more changes nothing but the order */

    fuzz_assert(rcache_update_size(u, &out) == size);

    free(p);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char             *p, *pos, *last, *nl, *colon;
    size_t              n;
    uint64_t            length;
    rcache_str_t        head;
    rcache_field_t      fields[FIELDS];
    rcache_update_t     u;
    rcache_response_t   resp;

    length = (uint64_t) fuzz_int(&data, &size, 2);

    p = fuzz_copy(data, size);

    pos = p;
    last = p + size;

    rcache_response_init(&resp, 304, 1700000000);

    for (n = 0; pos < last && n < FIELDS; pos = nl + 1) {
        nl = memchr(pos, '\n', last - pos);

        if (nl == NULL || nl == pos) {
            pos = nl ? nl + 1 : last;
            break;
        }

        colon = memchr(pos, ':', nl - pos);

        if (colon == NULL) {
            continue;
        }

        fields[n].name.data = pos;
        fields[n].name.len = colon - pos;

        colon++;
        colon += (colon < nl && *colon == ' ');

        fields[n].value.data = colon;
        fields[n].value.len = nl - colon;

        rcache_response_header(&resp, &fields[n].name, &fields[n].value);
        n++;
    }

    head.data = pos;
    head.len = last - pos;

    u.resp = &resp;
    u.fields = fields;
    u.nfields = n;

    check(&u, &head);

    (void) rcache_update_contradicts(&head, length, fields, n);

    free(p);

    return 0;
}
