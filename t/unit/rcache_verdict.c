
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_verdict.h"


static rcache_verdict_e
verdict(uint64_t requests, uint64_t hits, uint64_t n, uint64_t hit,
    uint64_t fetch)
{
    rcache_verdict_t  v;

    v.requests = requests;
    v.hits = hits;
    v.hit_times = n;
    v.hit = hit;
    v.fetch_times = n;
    v.fetch = fetch;
    v.dry = 0;

    return rcache_verdict(&v);
}


static void
too_little_to_tell_by(void **state)
{
    (void) state;

    assert_int_equal(verdict(0, 0, 0, 0, 0), RCACHE_VERDICT_EARLY);
    assert_int_equal(verdict(99, 99, 99, 1, 9), RCACHE_VERDICT_EARLY);
    assert_int_equal(verdict(99, 0, 99, 9, 1), RCACHE_VERDICT_EARLY);
}


static void
a_tenth_are_hits(void **state)
{
    (void) state;

    assert_int_equal(verdict(1000, 99, 50, 1, 9), RCACHE_VERDICT_IDLE);
    assert_int_equal(verdict(1000, 100, 50, 1, 9), RCACHE_VERDICT_EARNING);
    assert_int_equal(verdict(100, 0, 0, 0, 0), RCACHE_VERDICT_IDLE);
    assert_int_equal(verdict(100, 100, 0, 0, 0), RCACHE_VERDICT_EARNING);
}


static void
a_hit_is_faster_than_a_fetch(void **state)
{
    (void) state;

    assert_int_equal(verdict(1000, 900, 20, 10, 11), RCACHE_VERDICT_EARNING);
    assert_int_equal(verdict(1000, 900, 20, 11, 11), RCACHE_VERDICT_HARMFUL);
    assert_int_equal(verdict(1000, 9, 20, 12, 11), RCACHE_VERDICT_HARMFUL);

    /* measured too seldom to say so */

    assert_int_equal(verdict(1000, 900, 19, 12, 11), RCACHE_VERDICT_EARNING);
}


static void
a_dry_run_is_no_verdict(void **state)
{
    rcache_verdict_t  v;

    (void) state;

    memset(&v, 0, sizeof(v));

    v.requests = 1000;
    v.dry = 500;
    assert_int_equal(rcache_verdict(&v), RCACHE_VERDICT_IDLE);

    v.dry = 501;
    assert_int_equal(rcache_verdict(&v), RCACHE_VERDICT_DRY_RUN);

    v.requests = 99;
    v.dry = 99;
    assert_int_equal(rcache_verdict(&v), RCACHE_VERDICT_EARLY);
}


static void
ratios(void **state)
{
    rcache_verdict_t  v;

    (void) state;

    memset(&v, 0, sizeof(v));
    assert_int_equal(rcache_verdict_ratio(&v), 0);

    v.requests = 3;
    v.hits = 2;
    assert_int_equal(rcache_verdict_ratio(&v), 666);

    v.hits = 4;
    assert_int_equal(rcache_verdict_ratio(&v), 1000);

    v.requests = UINT64_MAX;
    v.hits = UINT64_MAX / 2;
    assert_in_range(rcache_verdict_ratio(&v), 499, 500);
}


static void
words(void **state)
{
    (void) state;

    unit_assert_str(*rcache_verdict_word(RCACHE_VERDICT_EARLY), "early");
    unit_assert_str(*rcache_verdict_word(RCACHE_VERDICT_EARNING), "earning");
    unit_assert_str(*rcache_verdict_word(RCACHE_VERDICT_IDLE), "idle");
    unit_assert_str(*rcache_verdict_word(RCACHE_VERDICT_HARMFUL), "harmful");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(too_little_to_tell_by),
        cmocka_unit_test(a_tenth_are_hits),
        cmocka_unit_test(a_hit_is_faster_than_a_fetch),
        cmocka_unit_test(a_dry_run_is_no_verdict),
        cmocka_unit_test(ratios),
        cmocka_unit_test(words)
    };

    return cmocka_run_group_tests_name("rcache_verdict", tests, NULL, NULL);
}
