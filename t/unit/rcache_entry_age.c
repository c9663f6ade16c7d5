
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "entry.h"


static void
rfc9111_4_2_fresh(void **state)
{
    rcache_entry_t  e;

    (void) state;

    e = entry();
    e.created = 1000000;
    e.lifetime = 5000;

    assert_true(rcache_entry_fresh(&e, 1000000));
    assert_true(rcache_entry_fresh(&e, 1004999));
    assert_false(rcache_entry_fresh(&e, 1005000));
    assert_false(rcache_entry_fresh(&e, INT64_MAX));

    e.lifetime = 0;
    assert_false(rcache_entry_fresh(&e, 1000000));
    assert_false(rcache_entry_fresh(&e, 999999));

    e.lifetime = -1;
    assert_false(rcache_entry_fresh(&e, 1000000));
}


/* the clocks of two instances differ, or one was set back by a year */

static void
rfc9111_4_2_fresh_and_clocks(void **state)
{
    rcache_entry_t  e;

    (void) state;

    e = entry();
    e.created = 1700000000000;
    e.lifetime = 5000;

    assert_true(rcache_entry_fresh(&e, 1700000000000 - 1));
    assert_true(rcache_entry_fresh(&e, 1700000000000 - 4999));
    assert_false(rcache_entry_fresh(&e, 1700000000000 - 5000));
    assert_false(rcache_entry_fresh(&e, 0));

    e.created = INT64_MAX;
    e.lifetime = INT64_MAX;
    assert_true(rcache_entry_fresh(&e, INT64_MAX));
    assert_false(rcache_entry_fresh(&e, 0));
    assert_false(rcache_entry_fresh(&e, INT64_MIN));

    e.created = INT64_MIN;
    assert_false(rcache_entry_fresh(&e, INT64_MAX));

    e.created = 0;
    assert_true(rcache_entry_fresh(&e, INT64_MAX - 1));
    assert_false(rcache_entry_fresh(&e, INT64_MAX));
}


static void
rfc9111_4_2_3_current_age(void **state)
{
    rcache_entry_t  e;

    (void) state;

    e = entry();
    e.created = 1000000;
    e.age = 7;

    assert_int_equal(rcache_entry_age(&e, 1000000), 7);
    assert_int_equal(rcache_entry_age(&e, 1000999), 7);
    assert_int_equal(rcache_entry_age(&e, 1001000), 8);
    assert_int_equal(rcache_entry_age(&e, 1060000), 67);

    /* the clock went back */

    assert_int_equal(rcache_entry_age(&e, 999999), 7);
    assert_int_equal(rcache_entry_age(&e, 0), 7);
    assert_int_equal(rcache_entry_age(&e, INT64_MIN), 7);

    e.created = INT64_MIN;
    e.age = UINT32_MAX;
    assert_true(rcache_entry_age(&e, INT64_MAX) > 0);
}


/* a response may be stale, by so much, when it comes */

static void
stale_on_arrival(void **state)
{
    rcache_entry_t  e;

    (void) state;

    e = entry();
    e.lifetime = -500000;

    assert_false(rcache_entry_fresh(&e, e.created));
    assert_int_equal(rcache_entry_staleness(&e, e.created), 500000);
    assert_true(rcache_entry_within(&e, 600, e.created));
    assert_true(rcache_entry_within(&e, 600, e.created + 99999));
    assert_false(rcache_entry_within(&e, 600, e.created + 100000));
}


static void
rfc5861_stale_windows(void **state)
{
    rcache_entry_t  e;

    (void) state;

    e = entry();
    e.created = 1000000;
    e.lifetime = 5000;

    assert_int_equal(rcache_entry_staleness(&e, 1000000), -5000);
    assert_int_equal(rcache_entry_staleness(&e, 1005000), 0);
    assert_int_equal(rcache_entry_staleness(&e, 1006000), 1000);

    assert_false(rcache_entry_within(&e, 2, 1004999));
    assert_true(rcache_entry_within(&e, 2, 1005000));
    assert_true(rcache_entry_within(&e, 2, 1006999));
    assert_false(rcache_entry_within(&e, 2, 1007000));
    assert_false(rcache_entry_within(&e, 0, 1005000));

    /* a clock that is wrong opens none */

    assert_false(rcache_entry_within(&e, UINT32_MAX, 1));

    e.lifetime = INT64_MIN;
    assert_true(rcache_entry_staleness(&e, INT64_MAX) > 0);
    assert_false(rcache_entry_within(&e, UINT32_MAX, 1000000));

    e.lifetime = INT64_MAX;
    assert_true(rcache_entry_staleness(&e, INT64_MIN) < 0);

    /* found by the fuzzer: fresh, and in a stale window all the same */

    assert_true(rcache_entry_fresh(&e, INT64_MAX));
    assert_false(rcache_entry_within(&e, UINT32_MAX, INT64_MAX));

    /* both far beyond what staleness is cut to */

    e.created = INT64_MAX - 10000;
    e.lifetime = 5000;
    assert_true(rcache_entry_within(&e, 6, INT64_MAX));
    assert_false(rcache_entry_within(&e, 5, INT64_MAX));
}


/* Date is the time of the response, less what the block says */

static void
date(void **state)
{
    rcache_entry_t  e;

    (void) state;

    e = entry();
    assert_true(rcache_entry_date(&e) == 1700000000);

    e.dated = 2;
    assert_true(rcache_entry_date(&e) == 1699999998);

    e.dated = -1;
    e.created += 876;
    assert_true(rcache_entry_date(&e) == 1700000001);

    e.created++;
    assert_true(rcache_entry_date(&e) == 1700000002);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc9111_4_2_fresh),
        cmocka_unit_test(rfc9111_4_2_fresh_and_clocks),
        cmocka_unit_test(rfc9111_4_2_3_current_age),
        cmocka_unit_test(stale_on_arrival),
        cmocka_unit_test(rfc5861_stale_windows),
        cmocka_unit_test(date)
    };

    return cmocka_run_group_tests_name("rcache_entry_age", tests, NULL, NULL);
}
