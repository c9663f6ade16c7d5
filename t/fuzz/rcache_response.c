
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the clock, 8 bytes, what the configuration gives, 8, the
 * delay, 8, the status, 2, flags, 2, headers to ignore, 1, and header lines,
 * "name: value", one a line.
 *
 * What may be stored has a lifetime and an age in range, and nothing in it
 * forbids it; the order of the lines does not matter, but for those of a
 * targeted field; and no line, however broken, makes up for a "private" or a
 * Set-Cookie.
 */


#include "fuzz.h"

#include "rcache_response.h"


#define LINES  64


typedef struct {
    rcache_str_t  name;
    rcache_str_t  value;
} line_t;


static void
check_forbidden(rcache_response_t *resp, int64_t valid, int64_t delay,
    const char *n, const char *v)
{
    rcache_str_t        name, value;
    rcache_response_t   other;
    rcache_freshness_t  fresh;

    other = *resp;

    name.data = (u_char *) n;
    name.len = strlen(n);
    value.data = (u_char *) v;
    value.len = strlen(v);

    rcache_response_header(&other, &name, &value);

    fuzz_assert(rcache_response_storable(&other, valid, delay, &fresh)
                != RCACHE_REASON_NONE);
}


static size_t
split(u_char *p, size_t size, line_t *lines)
{
    u_char  *last, *end, *colon;
    size_t   n;

    last = p + size;

    for (n = 0; n < LINES && p < last; p = end + 1) {

        end = memchr(p, '\n', last - p);

        if (end == NULL) {
            end = last;
        }

        colon = (end > p) ? memchr(p, ':', end - p) : NULL;

        if (colon) {
            lines[n].name.data = p;
            lines[n].name.len = colon - p;

            colon++;

            if (colon < end && *colon == ' ') {
                colon++;
            }

            lines[n].value.data = colon;
            lines[n].value.len = end - colon;
            n++;
        }
    }

    return n;
}


static void
set(rcache_response_t *resp, unsigned flags, unsigned ignore)
{
    resp->ignore = ignore;
    resp->authorization = (flags & 1) != 0;
    resp->heuristic = (flags & 32) != 0;
    resp->variants = (flags & 64) != 0;
    resp->revalidate = (flags & 128) != 0;
    resp->stale = (flags & 256) != 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char              *p;
    size_t               i, n, targets;
    int64_t              now, valid, delay;
    unsigned             status, flags, ignore;
    line_t               lines[LINES];
    rcache_reason_e      reason;
    rcache_response_t    resp, back;
    const rcache_cc_t   *cc;
    rcache_freshness_t   fresh, bfresh;

    now = fuzz_int(&data, &size, 8);
    valid = fuzz_int(&data, &size, 8);
    delay = fuzz_int(&data, &size, 8);
    status = (unsigned) fuzz_int(&data, &size, 2);
    flags = (unsigned) fuzz_int(&data, &size, 2);
    ignore = (unsigned) fuzz_int(&data, &size, 1);

    /* most inputs in the present and with a status that can be stored */

    if (flags & 2) {
        now = 1700000000 + now % 1000000;
    }

    if (flags & 4) {
        status = 200;
    }

    if (flags & 8) {
        valid = -1;
    }

    if (flags & 16) {
        delay = 0;
    }

    p = fuzz_copy(data, size);
    n = split(p, size, lines);

    rcache_response_init(&resp, status, now);
    rcache_response_init(&back, status, now);

    set(&resp, flags, ignore);
    set(&back, flags, ignore);

    targets = 0;

    for (i = 0; i < n; i++) {
        targets += rcache_str_is(&lines[i].name, "CDN-Cache-Control");
        rcache_response_header(&resp, &lines[i].name, &lines[i].value);
        rcache_response_header(&back, &lines[n - 1 - i].name,
                               &lines[n - 1 - i].value);
    }

    reason = rcache_response_storable(&resp, valid, delay, &fresh);

    fuzz_assert(reason < RCACHE_REASON_N);

    if (targets < 2) {
        fuzz_assert(reason == rcache_response_storable(&back, valid, delay,
                                                       &bfresh));
    }

    for (i = 0; i < n; i++) {
        (void) rcache_response_keeps(&resp, &lines[i].name);

        if (rcache_str_is(&lines[i].name, "Set-Cookie")) {
            fuzz_assert(reason != RCACHE_REASON_NONE
                        || (ignore & RCACHE_IGNORE_SET_COOKIE));
            fuzz_assert(!rcache_response_keeps(&resp, &lines[i].name)
                        || (ignore & RCACHE_IGNORE_SET_COOKIE));
        }
    }

    if (reason == RCACHE_REASON_NONE) {
        fuzz_assert(fresh.lifetime >= -RCACHE_DELTA_MAX * 1000
                    && fresh.lifetime <= RCACHE_DELTA_MAX * 1000);
        fuzz_assert(fresh.lifetime > 0 || resp.revalidate || resp.stale);
        fuzz_assert(fresh.age >= 0 && fresh.age <= RCACHE_DELTA_MAX);
        fuzz_assert(targets > 1
                    || (fresh.lifetime == bfresh.lifetime
                        && fresh.age == bfresh.age
                        && fresh.flags == bfresh.flags
                        && fresh.stale_if_error == bfresh.stale_if_error));

        cc = &resp.in_force;

        fuzz_assert(status >= 200 && status <= 599 && status != 206
                    && status != 304);
        fuzz_assert((!cc->no_store || cc->must_understand) && !cc->private_);
        fuzz_assert(!resp.set_cookie && !resp.malformed);
        fuzz_assert(!rcache_vary_set(&resp.vary)
                    || (resp.variants && resp.vary.n && !resp.vary.star
                        && !resp.vary.overflow && !resp.vary.malformed));
        fuzz_assert(!cc->no_cache || fresh.lifetime <= 0);
        fuzz_assert(!cc->no_cache || (fresh.flags & RCACHE_ENTRY_NO_CACHE));
        fuzz_assert(!(cc->no_cache || cc->must_revalidate
                      || cc->proxy_revalidate)
                    || (!fresh.stale_if_error
                        && !fresh.stale_while_revalidate));
        fuzz_assert(!(fresh.flags & RCACHE_ENTRY_S_MAXAGE)
                    || ((fresh.flags & RCACHE_ENTRY_MUST_REVALIDATE)
                        && !cc->must_revalidate && !cc->proxy_revalidate));
        fuzz_assert(!resp.authorization || rcache_response_shared(&resp));
    }

    if (ignore == 0) {

        if (resp.accel_expires <= 0 && targets == 0) {
            check_forbidden(&resp, valid, delay, "Cache-Control", "private");

            if (!resp.cc.must_understand) {
                check_forbidden(&resp, valid, delay, "cache-control",
                                "a, no-store");
            }

            check_forbidden(&resp, valid, delay, "CDN-Cache-Control",
                            "private, a=1");
        }

        check_forbidden(&resp, valid, delay, "Set-Cookie", "a=b");
        check_forbidden(&resp, valid, delay, "Vary", "*");
        check_forbidden(&resp, valid, delay, "X-Accel-Expires", "0");
    }

    free(p);

    return 0;
}
