
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_accept.h"


static unsigned
wanted(const char *accept)
{
    u_char              *p;
    unsigned             n;
    rcache_str_t         s;

    static const rcache_str_t  types[] = {
        rcache_string("text/plain"),
        rcache_string("application/openmetrics-text"),
        rcache_string("application/json"),
        rcache_string("text/html")
    };

    p = unit_copy(accept, strlen(accept));

    s.data = p;
    s.len = strlen(accept);

    n = rcache_accept(&s, types, 4);

    free(p);

    return n;
}


static void
what_is_named(void **state)
{
    (void) state;

    assert_int_equal(wanted("text/plain"), 0);
    assert_int_equal(wanted("application/json"), 2);
    assert_int_equal(wanted("Application/JSON"), 2);
    assert_int_equal(wanted("text/html"), 3);
    assert_int_equal(wanted("text/html;level=1"), 3);
    assert_int_equal(wanted("image/png, application/json"), 2);
}


static void
browsers_and_prometheus(void **state)
{
    (void) state;

    assert_int_equal(wanted("text/html,application/xhtml+xml,application/xml"
                            ";q=0.9,image/webp,*/*;q=0.8"), 3);
    assert_int_equal(wanted("application/openmetrics-text;version=1.0.0;q=0.5,"
                            "application/openmetrics-text;version=0.0.1;q=0.4,"
                            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"), 1);
    assert_int_equal(wanted("text/plain;version=0.0.4;q=1,*/*;q=0.1"), 0);
}


static void
weights(void **state)
{
    (void) state;

    assert_int_equal(wanted("text/plain;q=0.3, application/json;q=0.31"), 2);
    assert_int_equal(wanted("text/plain;q=0.300, application/json;q=0.3"), 0);
    assert_int_equal(wanted("text/plain ; q=0.1 , application/json ; q=1"), 2);
    assert_int_equal(wanted("text/plain;q=0, application/json;q=0.001"), 2);
    assert_int_equal(wanted("text/plain;Q=0.2,text/html;q=0.4"), 3);
}


static void
ranges(void **state)
{
    (void) state;

    assert_int_equal(wanted("*/*"), 0);
    assert_int_equal(wanted("application/*"), 1);
    assert_int_equal(wanted("application/*, application/openmetrics-text;q=0"),
                     2);
    assert_int_equal(wanted("*/*;q=0.5, text/html"), 3);
    assert_int_equal(wanted("*/*, text/plain;q=0.1"), 1);
    assert_int_equal(wanted("text/*;q=0.1, application/*;q=0.2"), 1);
}


static void
nothing_and_nonsense(void **state)
{
    (void) state;

    assert_int_equal(wanted(""), 0);
    assert_int_equal(wanted("image/png"), 0);
    assert_int_equal(wanted(",,;;, ;q=, *, /*, a/*"), 0);
    assert_int_equal(wanted("text/htmlx, text/htm"), 0);
    assert_int_equal(wanted("text/html;q=x"), 0);
    assert_int_equal(wanted("text/html;q="), 3);
    assert_int_equal(wanted("text/html;q"), 3);
    assert_int_equal(wanted("text/html;"), 3);
    assert_int_equal(wanted("**/*"), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_is_named),
        cmocka_unit_test(browsers_and_prometheus),
        cmocka_unit_test(weights),
        cmocka_unit_test(ranges),
        cmocka_unit_test(nothing_and_nonsense)
    };

    return cmocka_run_group_tests_name("rcache_accept", tests, NULL, NULL);
}
