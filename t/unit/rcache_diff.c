
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_diff.h"


static const char *
diff(const char *a, const char *b, size_t room)
{
    u_char         *p, buf_a[1024], buf_b[1024];
    rcache_str_t    sa, sb;
    static u_char   names[256];

    sa.len = (size_t) snprintf((char *) buf_a, sizeof(buf_a),
                               "HTTP/1.1 200 OK\r\n%s\r\n", a);
    sa.data = buf_a;
    sb.len = (size_t) snprintf((char *) buf_b, sizeof(buf_b),
                               "HTTP/1.1 200\r\n%s\r\n", b);
    sb.data = buf_b;

    p = rcache_diff(names, room, &sa, &sb);
    *p = '\0';

    return (const char *) names;
}


static void
names_what_differs(void **state)
{
    (void) state;

    assert_string_equal(diff("A: 1\r\nB: 2\r\n", "a: 1\r\nB: 2\r\n", 99), "");
    assert_string_equal(diff("A: 1\r\nB: 2\r\n", "A: 1\r\nB: 3\r\n", 99), "B");
    assert_string_equal(diff("A: 1\r\n", "", 99), "A");
    assert_string_equal(diff("", "A: 1\r\n", 99), "A");
    assert_string_equal(diff("A: 1\r\nB: 2\r\n", "C: 1\r\nB: 3\r\n", 99),
                        "A, B, C");
    assert_string_equal(diff("A:\r\n", "A: \r\n", 99), "");
}


static void
lists_are_in_order(void **state)
{
    (void) state;

    assert_string_equal(diff("A: 1\r\nA: 2\r\n", "A: 1\r\nA: 2\r\n", 99), "");
    assert_string_equal(diff("A: 1\r\nA: 2\r\n", "A: 2\r\na: 1\r\n", 99), "A");
    assert_string_equal(diff("A: 1\r\nA: 2\r\n", "A: 1\r\n", 99), "A");
    assert_string_equal(diff("A: 1\r\n", "A: 1\r\nA: 1\r\n", 99), "A");
    assert_string_equal(diff("A: 1\r\nB: 1\r\nA: 2\r\n",
                             "B: 1\r\nA: 1\r\nA: 2\r\n", 99), "");
}


static void
time_goes_on(void **state)
{
    (void) state;

    assert_string_equal(diff("Date: a\r\nAge: 1\r\n", "date: b\r\n", 99), "");
}


static void
has_limits(void **state)
{
    unsigned   i;
    char       a[1024];

    (void) state;

    for (i = 0; i < 8; i++) {
        assert_string_equal(diff("AA: 1\r\nBB: 2\r\n", "", i),
                            i < 2 ? "" : i < 6 ? "AA" : "AA, BB");
    }

    /* of damage nothing is known */

    assert_string_equal(diff("A: 1\r\n", "A: 1\r\n broken\r\nB: 1\r\n", 99),
                        "");

    for (i = 0; i < 100; i++) {
        (void) snprintf(a + i * 8, sizeof(a) - i * 8, "X%02u: 1\r\n", i);
    }

    assert_string_equal(diff(a, a, 99), "");
    assert_true(strlen(diff(a, "", 99)) <= 99);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(names_what_differs),
        cmocka_unit_test(lists_are_in_order),
        cmocka_unit_test(time_goes_on),
        cmocka_unit_test(has_limits)
    };

    return cmocka_run_group_tests_name("rcache_diff", tests, NULL, NULL);
}
