
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_range.h"


static rcache_ranges_t  ranges;


static int
parse(const char *text)
{
    int           rc;
    rcache_str_t  s;

    s.len = strlen(text);
    s.data = unit_copy(text, s.len);

    rc = rcache_range_parse(&ranges, &s);

    free(s.data);

    return rc;
}


/* the ranges as text, "-" for a 416, "*" for the whole */

static const char *
resolve(const char *text, uint64_t length)
{
    size_t       n;
    unsigned     i;
    static char  buf[1024];

    assert_int_equal(parse(text), RCACHE_OK);

    switch (rcache_range_resolve(&ranges, length)) {

    case RCACHE_OK:
        break;

    case RCACHE_DECLINED:
        return "-";

    default:
        return "*";
    }

    assert_true(ranges.n > 0);

    n = 0;

    for (i = 0; i < ranges.n; i++) {
        assert_true(ranges.range[i].start < ranges.range[i].end);
        assert_true(ranges.range[i].end <= length);

        n += snprintf(buf + n, sizeof(buf) - n, "%s%llu-%llu", i ? "," : "",
                      (unsigned long long) ranges.range[i].start,
                      (unsigned long long) ranges.range[i].end);
    }

    return buf;
}


static void
rfc9110_14_1_2_ranges(void **state)
{
    (void) state;

    assert_string_equal(resolve("bytes=0-1", 10), "0-2");
    assert_string_equal(resolve("bytes=0-0", 10), "0-1");
    assert_string_equal(resolve("bytes=9-9", 10), "9-10");
    assert_string_equal(resolve("bytes=1-", 10), "1-10");
    assert_string_equal(resolve("bytes=0-", 10), "0-10");
    assert_string_equal(resolve("bytes=5-99", 10), "5-10");
    assert_string_equal(resolve("bytes=-1", 10), "9-10");
    assert_string_equal(resolve("bytes=-10", 10), "0-10");
    assert_string_equal(resolve("bytes=-99", 10), "0-10");
    assert_string_equal(resolve("BYTES=0-1", 10), "0-2");
    assert_string_equal(resolve("bytes= 0-1 ,\t, 3-4 ", 10), "0-2,3-5");
    assert_string_equal(resolve("bytes=8-9,0-1,-1", 10), "*");
    assert_string_equal(resolve("bytes=8-8,0-1,-1", 10), "8-9,0-2,9-10");
}


static void
rfc9110_15_5_17_not_satisfiable(void **state)
{
    (void) state;

    assert_string_equal(resolve("bytes=10-", 10), "-");
    assert_string_equal(resolve("bytes=10-20,99-", 10), "-");
    assert_string_equal(resolve("bytes=-0", 10), "-");
    assert_string_equal(resolve("bytes=0-", 0), "-");
    assert_string_equal(resolve("bytes=-5", 0), "-");

    /* some of them are */

    assert_string_equal(resolve("bytes=10-,2-3,-0", 10), "2-4");
}


static void
rfc9110_14_2_ignored(void **state)
{
    size_t  i;

    static const char  *bad[] = {
        "", "bytes", "bytes=", "bytes=,", "bytes 0-1", "items=0-1",
        "bytes=-", "bytes=a-b", "bytes=0", "bytes=0-1-2", "bytes=5-4",
        "bytes=0 -1", "bytes=0- 1", "bytes=0-1 2-3", "bytes=0-1;2-3",
        "bytes=--1", "bytes=0x1-2", " bytes=0-1", "bytes =0-1", "bytes=1-0x2"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(parse(bad[i]), RCACHE_DECLINED);
    }
}


static void
rfc9110_17_15_abuse(void **state)
{
    int          i;
    static char  buf[256];

    (void) state;

    assert_string_equal(resolve("bytes=0-5,5-9", 100), "*");
    assert_string_equal(resolve("bytes=0-,0-", 100), "*");
    assert_string_equal(resolve("bytes=0-49,50-99", 100), "*");
    assert_string_equal(resolve("bytes=0-48,50-99", 100), "0-49,50-100");
    assert_string_equal(resolve("bytes=-2,-1", 100), "*");

    strcpy(buf, "bytes=0-0");

    for (i = 1; i < RCACHE_RANGES_MAX; i++) {
        sprintf(buf + strlen(buf), ",%d-%d", 2 * i, 2 * i);
    }

    assert_int_equal(parse(buf), RCACHE_OK);
    assert_int_equal(ranges.n, RCACHE_RANGES_MAX);
    assert_int_equal(rcache_range_resolve(&ranges, 100), RCACHE_OK);

    strcat(buf, ",99-");
    assert_int_equal(parse(buf), RCACHE_DECLINED);
}


static void
numbers_of_any_size(void **state)
{
    (void) state;

    assert_string_equal(resolve("bytes=0-99999999999999999999999", 10),
                        "0-10");
    assert_string_equal(resolve("bytes=99999999999999999999999-", 10), "-");
    assert_string_equal(resolve("bytes=-18446744073709551615", 10), "0-10");
    assert_string_equal(resolve("bytes=0-18446744073709551615", UINT64_MAX),
                        "0-18446744073709551615");
    assert_string_equal(resolve("bytes=18446744073709551614-", 5), "-");
}


static void
largest_offset(void **state)
{
    (void) state;

    assert_int_equal(parse("bytes=0-1"), RCACHE_OK);
    assert_true(rcache_range_offset(&ranges) == 0);

    assert_int_equal(parse("bytes=7-8,5-"), RCACHE_OK);
    assert_true(rcache_range_offset(&ranges) == 7);

    assert_int_equal(parse("bytes=0-1,-5"), RCACHE_OK);
    assert_true(rcache_range_offset(&ranges) == RCACHE_RANGE_NONE);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc9110_14_1_2_ranges),
        cmocka_unit_test(rfc9110_15_5_17_not_satisfiable),
        cmocka_unit_test(rfc9110_14_2_ignored),
        cmocka_unit_test(rfc9110_17_15_abuse),
        cmocka_unit_test(numbers_of_any_size),
        cmocka_unit_test(largest_offset)
    };

    return cmocka_run_group_tests_name("rcache_range", tests, NULL, NULL);
}
