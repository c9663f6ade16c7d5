
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_metrics.h"


/* a text format wants all of a family in one place */

static void
families_are_whole(void **state)
{
    char              seen[RCACHE_FAMILY_N];
    unsigned          i;
    rcache_counter_t  c;
    rcache_family_e   last;

    (void) state;

    memset(seen, 0, sizeof(seen));
    last = RCACHE_FAMILY_N;

    for (i = 0; i < RCACHE_COUNT_LABEL_N + RCACHE_COUNT_ZONE_N; i++) {

        if (i < RCACHE_COUNT_LABEL_N) {
            rcache_label_counter(&c, i);

        } else {
            rcache_zone_counter(&c, i - RCACHE_COUNT_LABEL_N);
        }

        assert_true(c.family < RCACHE_FAMILY_N);
        assert_int_equal(c.value.len != 0,
                         rcache_families[c.family].key.len != 0);
        assert_int_equal(c.value2.len != 0,
                         rcache_families[c.family].key2.len != 0);

        if (c.family != last) {
            assert_false(seen[c.family]);
            seen[c.family] = 1;
            last = c.family;
        }
    }

    for (i = 0; i < RCACHE_FAMILY_N; i++) {
        assert_true(seen[i]);
    }
}


static void
reasons_have_places(void **state)
{
    rcache_counter_t  c;

    (void) state;

    rcache_label_counter(&c, RCACHE_COUNT_NOT_HIT + RCACHE_REASON_ABSENT);
    assert_int_equal(c.family, RCACHE_FAMILY_NOT_HIT);
    unit_assert_str(c.value, "absent");

    rcache_label_counter(&c, RCACHE_COUNT_NOT_STORED
                             + RCACHE_REASON_LOCK_LOST);
    assert_int_equal(c.family, RCACHE_FAMILY_NOT_STORED);
    unit_assert_str(c.value, "lock_lost");

    rcache_label_counter(&c, RCACHE_COUNT_REQUESTS_HIT);
    assert_int_equal(c.family, RCACHE_FAMILY_REQUESTS);
    unit_assert_str(c.value, "hit");
}


static void
operations_have_places(void **state)
{
    rcache_str_t      command;
    rcache_metric_t   m;
    rcache_counter_t  c;

    (void) state;

    rcache_zone_counter(&c, RCACHE_COUNT_OPERATIONS
                            + RCACHE_COMMAND_LOCK * RCACHE_RESULT_N
                            + RCACHE_RESULT_BUSY);
    assert_int_equal(c.family, RCACHE_FAMILY_OPERATIONS);
    unit_assert_str(c.value, "lock");
    unit_assert_str(c.value2, "busy");

    rcache_zone_time(&m, &command, RCACHE_TIME_REDIS + RCACHE_COMMAND_STORE);
    unit_assert_str(m.name, "redis_seconds");
    unit_assert_str(command, "store");

    rcache_zone_time(&m, &command, RCACHE_TIME_WAIT);
    unit_assert_str(m.name, "wait_seconds");
    unit_assert_str(command, "");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(families_are_whole),
        cmocka_unit_test(reasons_have_places),
        cmocka_unit_test(operations_have_places)
    };

    return cmocka_run_group_tests_name("rcache_metrics", tests, NULL, NULL);
}
