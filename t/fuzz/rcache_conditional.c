
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the clock, 8 bytes, flags, 1, and lines: the ETag,
 * Last-Modified and Date that are stored, and header lines of the request.
 *
 * The entity-tag itself matches, and "*" does; a weak one never matches
 * strongly.
 */


#include "fuzz.h"

#include "rcache_conditional.h"


static u_char *
line(rcache_str_t *s, u_char *p, u_char *last)
{
    u_char  *nl;

    nl = (p < last) ? memchr(p, '\n', last - p) : NULL;

    s->data = p;
    s->len = (nl ? nl : last) - p;

    return nl ? nl + 1 : last;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                    safe, range;
    u_char                *p, *pos, *last, *colon;
    int64_t                now;
    unsigned               flags;
    rcache_str_t           s, name, value;
    rcache_validators_t    v;
    rcache_conditional_t   c;
    rcache_conditional_e   verdict;

    now = fuzz_int(&data, &size, 8);
    flags = (unsigned) fuzz_int(&data, &size, 1);

    if (flags & 1) {
        now = 1700000000;
    }

    safe = (flags & 2) != 0;

    p = fuzz_copy(data, size);
    last = p + size;

    pos = line(&v.etag, p, last);
    pos = line(&v.last_modified, pos, last);
    pos = line(&v.date, pos, last);

    rcache_conditional_init(&c);

    while (pos < last) {
        pos = line(&s, pos, last);

        colon = s.len ? memchr(s.data, ':', s.len) : NULL;

        if (colon == NULL) {
            continue;
        }

        name.data = s.data;
        name.len = colon - s.data;

        value.data = colon + 1;
        value.len = s.data + s.len - value.data;

        if (value.len && value.data[0] == ' ') {
            value.data++;
            value.len--;
        }

        rcache_conditional_header(&c, &name, &value);
    }

    verdict = rcache_conditional(&c, &v, safe, (flags & 4) ? now : -1, now);

    fuzz_assert(verdict == RCACHE_CONDITIONAL_GO
                || verdict == RCACHE_CONDITIONAL_NOT_MODIFIED
                || verdict == RCACHE_CONDITIONAL_FAILED);
    fuzz_assert(safe || verdict != RCACHE_CONDITIONAL_NOT_MODIFIED);

    if (c.nif_match == 0 && c.nif_unmodified_since == 0 && safe) {
        fuzz_assert(verdict != RCACHE_CONDITIONAL_FAILED);
    }

    range = rcache_conditional_range(&c, &v, now);
    fuzz_assert(range || c.nif_range);

    if (rcache_etag_strong_match(&v.etag, &v.last_modified)) {
        fuzz_assert(rcache_etag_weak_match(&v.etag, &v.last_modified));
        fuzz_assert(rcache_etag_weak_match(&v.last_modified, &v.etag));
        fuzz_assert(v.etag.data[0] != 'W' || v.etag.len < 3
                    || v.etag.data[1] != '/');
    }

    name.data = (u_char *) "If-None-Match";
    name.len = sizeof("If-None-Match") - 1;
    value.data = (u_char *) "*";
    value.len = 1;

    rcache_conditional_init(&c);
    rcache_conditional_header(&c, &name, &value);
    fuzz_assert(rcache_conditional(&c, &v, 1, -1, now)
                == RCACHE_CONDITIONAL_NOT_MODIFIED);

    free(p);

    return 0;
}
