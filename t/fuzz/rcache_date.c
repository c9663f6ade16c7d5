
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is the clock, 8 bytes, and a date.
 *
 * A date is -1 or in 1970 to 9999, and survives being written and read in
 * each of the three forms.
 */


#include "fuzz.h"

#include <time.h>

#include "rcache_date.h"


static void
check_form(int64_t t, int64_t now, const char *form)
{
    char       buf[128];
    size_t     len;
    time_t     sec;
    struct tm  tm;

    sec = (time_t) t;
    fuzz_assert(gmtime_r(&sec, &tm));

    len = strftime(buf, sizeof(buf), form, &tm);
    fuzz_assert(len);

    fuzz_assert(rcache_date_parse((u_char *) buf, len, now) == t);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char   *copy;
    int64_t   t, now;

    now = fuzz_int(&data, &size, 8);

    copy = fuzz_copy(data, size);
    t = rcache_date_parse(copy, size, now);
    free(copy);

    fuzz_assert(t >= -1 && t <= 253402300799);

    if (t == -1) {
        return 0;
    }

    check_form(t, now, "%a, %d %b %Y %H:%M:%S GMT");
    check_form(t, now, "%a %b %e %H:%M:%S %Y");
    check_form(t, t, "%A, %d-%b-%y %H:%M:%S GMT");

    return 0;
}
