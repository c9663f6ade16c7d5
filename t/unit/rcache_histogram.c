
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_histogram.h"


#define END  ((uint64_t) 1 << RCACHE_HISTOGRAM_TOP)


/* each time is in the bucket that begins at or below it, and in no other */

static void
buckets_have_no_gaps(void **state)
{
    unsigned  i;
    uint64_t  lower, next;

    (void) state;

    assert_int_equal(rcache_histogram_lower(0), 0);

    for (i = 0; i < RCACHE_HISTOGRAM_N; i++) {
        lower = rcache_histogram_lower(i);
        next = rcache_histogram_lower(i + 1);

        assert_true(next > lower);
        assert_int_equal(rcache_histogram_index(lower), i);
        assert_int_equal(rcache_histogram_index(next - 1), i);

        /* what the header promises of the middle */

        assert_true((next - lower) / 2 * 16 <= lower || next - lower == 1);
    }

    assert_int_equal(next, END);
}


static void
what_is_too_long_is_the_longest(void **state)
{
    (void) state;

    assert_int_equal(rcache_histogram_index(END - 1), RCACHE_HISTOGRAM_N - 1);
    assert_int_equal(rcache_histogram_index(END), RCACHE_HISTOGRAM_N - 1);
    assert_int_equal(rcache_histogram_index((uint64_t) -1),
                     RCACHE_HISTOGRAM_N - 1);
}


static void
quantiles_are_off_by_a_sixteenth_at_most(void **state)
{
    unsigned            q;
    uint64_t            i, got, right;
    rcache_histogram_t  h;

    static const unsigned  permille[] = { 1, 10, 500, 950, 990, 999, 1000 };

    (void) state;

    memset(&h, 0, sizeof(h));

    /* 3, 6, 9 ... 300000 microseconds */

    for (i = 1; i <= 100000; i++) {
        h.bucket[rcache_histogram_index(i * 3)]++;
        h.sum += i * 3;
    }

    assert_int_equal(rcache_histogram_count(&h), 100000);

    for (q = 0; q < sizeof(permille) / sizeof(permille[0]); q++) {
        right = (uint64_t) permille[q] * 300;
        got = rcache_histogram_quantile(&h, permille[q]);

        assert_true(got <= right + right / 16 + 1);
        assert_true(got + right / 16 + 1 >= right);
    }
}


static void
quantiles_of_few(void **state)
{
    rcache_histogram_t  h;

    (void) state;

    memset(&h, 0, sizeof(h));

    assert_int_equal(rcache_histogram_quantile(&h, 500), 0);

    h.bucket[rcache_histogram_index(5)] = 1;

    assert_int_equal(rcache_histogram_quantile(&h, 0), 5);
    assert_int_equal(rcache_histogram_quantile(&h, 500), 5);
    assert_int_equal(rcache_histogram_quantile(&h, 1000), 5);

    /* of two, the median is the first, what is above it the second */

    h.bucket[rcache_histogram_index(7)] = 1;

    assert_int_equal(rcache_histogram_quantile(&h, 500), 5);
    assert_int_equal(rcache_histogram_quantile(&h, 501), 7);
}


static void
below_is_exact_at_powers_of_two(void **state)
{
    uint64_t            i;
    rcache_histogram_t  h;

    (void) state;

    memset(&h, 0, sizeof(h));

    for (i = 0; i < 4096; i++) {
        h.bucket[rcache_histogram_index(i)]++;
    }

    for (i = 1; i <= 4096; i *= 2) {
        assert_int_equal(rcache_histogram_below(&h, i), i);
    }

    assert_int_equal(rcache_histogram_below(&h, 0), 0);
    assert_int_equal(rcache_histogram_below(&h, END), 4096);
}


static void
sums_add_up(void **state)
{
    rcache_histogram_t  a, b;

    (void) state;

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));

    a.sum = 10;
    a.bucket[3] = 1;
    b.sum = 32;
    b.bucket[3] = 2;
    b.bucket[RCACHE_HISTOGRAM_N - 1] = 4;

    rcache_histogram_add(&a, &b);

    assert_int_equal(a.sum, 42);
    assert_int_equal(a.bucket[3], 3);
    assert_int_equal(rcache_histogram_count(&a), 7);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(buckets_have_no_gaps),
        cmocka_unit_test(what_is_too_long_is_the_longest),
        cmocka_unit_test(quantiles_are_off_by_a_sixteenth_at_most),
        cmocka_unit_test(quantiles_of_few),
        cmocka_unit_test(below_is_exact_at_powers_of_two),
        cmocka_unit_test(sums_add_up)
    };

    return cmocka_run_group_tests_name("rcache_histogram", tests, NULL, NULL);
}
