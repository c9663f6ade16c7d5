
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is a message head.
 *
 * Each name is a token and no value has NUL, CR or LF, whatever the input;
 * each line is inside of it; a head that is well formed to the end can be
 * written again from what was read, and reads the same.
 */


#include "fuzz.h"

#include "rcache_head.h"


static void
check_inside(const rcache_str_t *s, const u_char *p, size_t len)
{
    fuzz_assert(s->data >= p && s->data <= p + len);
    fuzz_assert(s->len <= (size_t) (p + len - s->data));
}


static u_char *
put(u_char *p, const rcache_str_t *s, const char *end)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        *p++ = s->data[i];
    }

    while (*end) {
        *p++ = (u_char) *end++;
    }

    return p;
}


static void
check_again(const u_char *p, size_t len, const u_char *first, size_t flen)
{
    u_char         *copy, *copy2;
    rcache_str_t    head, line, line2, name, value, name2, value2;
    rcache_str_t    head2;
    rcache_head_t   h, h2;
    int             rc;

    copy = fuzz_copy(p, len);
    copy2 = fuzz_copy(first, flen);

    head.data = copy;
    head.len = len;
    head2.data = copy2;
    head2.len = flen;

    fuzz_assert(rcache_head_status(&h, &head, &line) == RCACHE_OK);
    fuzz_assert(rcache_head_status(&h2, &head2, &line2) == RCACHE_OK);
    fuzz_assert(line.len == line2.len
                && memcmp(line.data, line2.data, line.len) == 0);

    do {
        rc = rcache_head_next(&h, &name, &value);
        fuzz_assert(rc == rcache_head_next(&h2, &name2, &value2));

        if (rc == RCACHE_OK) {
            fuzz_assert(name.len == name2.len
                        && memcmp(name.data, name2.data, name.len) == 0);
            fuzz_assert(value.len == value2.len
                        && memcmp(value.data, value2.data, value.len) == 0);
        }

    } while (rc == RCACHE_OK);

    fuzz_assert(rc == RCACHE_DONE);

    free(copy);
    free(copy2);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int             rc;
    u_char         *copy, *out, *p;
    rcache_str_t    head, line, name, value;
    rcache_head_t   h;

    copy = fuzz_copy(data, size);
    head.data = copy;
    head.len = size;

    if (rcache_head_status(&h, &head, &line) != RCACHE_OK) {
        free(copy);
        return 0;
    }

    check_inside(&line, copy, size);
    fuzz_assert(line.len >= 3 && line.data[0] >= '1' && line.data[0] <= '5');

    /* ": " may be one byte longer than what it came from, for each line */

    out = malloc(size * 2 + 16);
    fuzz_assert(out);

    memcpy(out, "HTTP/1.1 ", 9);
    p = put(out + 9, &line, "\r\n");

    for ( ;; ) {
        rc = rcache_head_next(&h, &name, &value);

        if (rc != RCACHE_OK) {
            break;
        }

        check_inside(&name, copy, size);
        check_inside(&value, copy, size);
        fuzz_assert(rcache_head_valid(&name, &value));

        if (value.len) {
            fuzz_assert(value.data[0] != ' ' && value.data[0] != '\t');
            fuzz_assert(value.data[value.len - 1] != ' '
                        && value.data[value.len - 1] != '\t');
        }

        p = put(p, &name, ": ");
        p = put(p, &value, "\r\n");
    }

    fuzz_assert(rc == RCACHE_DONE || rc == RCACHE_ERROR);
    fuzz_assert(rcache_head_next(&h, &name, &value) == rc);

    if (rc == RCACHE_DONE) {
        *p++ = '\r';
        *p++ = '\n';

        check_again(out, p - out, data, size);
    }

    free(out);
    free(copy);

    return 0;
}
