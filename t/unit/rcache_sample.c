
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_sample.h"


static void
nothing(void **state)
{
    rcache_sample_t  s;

    (void) state;

    memset(&s, 0, sizeof(s));
    assert_true(rcache_sample_total(&s) == 0);

    rcache_sample_add(&s, 1000, 100, 0);
    assert_true(rcache_sample_total(&s) == 0);

    rcache_sample_add(&s, 0, 0, 0);
    assert_true(rcache_sample_total(&s) == 0);
}


static void
part(void **state)
{
    int              i;
    rcache_sample_t  s;

    (void) state;

    memset(&s, 0, sizeof(s));

    /* a quarter of 4000 keys, of 512 bytes each */

    for (i = 0; i < 50; i++) {
        rcache_sample_add(&s, 4000, 100, 25);
        rcache_sample_weigh(&s, 500);
        rcache_sample_weigh(&s, 524);
    }

    assert_true(rcache_sample_total(&s) > 490000);
    assert_true(rcache_sample_total(&s) < 530000);

    /* they are larger by now, and then they are gone */

    for (i = 0; i < 100; i++) {
        rcache_sample_add(&s, 4000, 100, 25);
        rcache_sample_weigh(&s, 5120);
    }

    assert_true(rcache_sample_total(&s) > 4900000);
    assert_true(rcache_sample_total(&s) < 5300000);

    for (i = 0; i < 100; i++) {
        rcache_sample_add(&s, 3000, 100, 0);
    }

    assert_true(rcache_sample_total(&s) == 0);
}


static void
lies(void **state)
{
    int              i;
    rcache_sample_t  s;

    (void) state;

    memset(&s, 0, sizeof(s));

    for (i = 0; i < 1000; i++) {
        rcache_sample_add(&s, UINT64_MAX, UINT64_MAX, UINT64_MAX);
        rcache_sample_weigh(&s, UINT64_MAX);
    }

    assert_true(rcache_sample_total(&s) == (uint64_t) 1e18);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(nothing),
        cmocka_unit_test(part),
        cmocka_unit_test(lies)
    };

    return cmocka_run_group_tests_name("rcache_sample", tests, NULL, NULL);
}
