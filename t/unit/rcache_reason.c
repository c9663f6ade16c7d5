
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_reason.h"


static void
names_are_what_users_see(void **state)
{
    (void) state;

    unit_assert_str(*rcache_reason_name(RCACHE_REASON_NONE), "-");
    unit_assert_str(*rcache_reason_name(RCACHE_REASON_METHOD), "method");
    unit_assert_str(*rcache_reason_name(RCACHE_REASON_ABSENT), "absent");
    unit_assert_str(*rcache_reason_name(RCACHE_REASON_CORRUPT),
                    "entry_corrupt");
    unit_assert_str(*rcache_reason_name(RCACHE_REASON_TRUNCATED),
                    "truncated");
}


/* a name is one word, so that it fits a log field or a metric label */

static void
names_are_words_and_unique(void **state)
{
    int                  i, j;
    size_t               k;
    const rcache_str_t  *a, *b;

    (void) state;

    for (i = 1; i < RCACHE_REASON_N; i++) {
        a = rcache_reason_name(i);

        assert_true(a->len > 0);

        for (k = 0; k < a->len; k++) {
            assert_true((a->data[k] >= 'a' && a->data[k] <= 'z')
                        || a->data[k] == '_');
        }

        for (j = 0; j < i; j++) {
            b = rcache_reason_name(j);

            assert_false(a->len == b->len
                         && memcmp(a->data, b->data, a->len) == 0);
        }
    }
}


static void
no_reason_outside_the_list(void **state)
{
    (void) state;

    unit_assert_str(*rcache_reason_name(RCACHE_REASON_N), "-");
    unit_assert_str(*rcache_reason_name((rcache_reason_e) -1), "-");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(names_are_what_users_see),
        cmocka_unit_test(names_are_words_and_unique),
        cmocka_unit_test(no_reason_outside_the_list)
    };

    return cmocka_run_group_tests_name("rcache_reason", tests, NULL, NULL);
}
