
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_args.h"


#define ROOM  32


/* the query normalised, and sorted if asked for, in static memory */

static const char *
normal(const char *query, int sort)
{
    size_t         n;
    u_char        *q, *dst, *joined, *end;
    rcache_str_t   s;
    rcache_arg_t   args[ROOM], spare[ROOM];

    static char    buf[256];

    q = unit_copy(query, strlen(query));
    s.data = q;
    s.len = strlen(query);

    dst = malloc(s.len ? s.len : 1);
    joined = malloc(s.len ? s.len : 1);
    assert_non_null(dst);
    assert_non_null(joined);

    n = ROOM;

    assert_int_equal(rcache_args_parse(args, &n, dst, &s), RCACHE_OK);
    assert_true(n <= rcache_args_count(&s));

    if (sort) {
        rcache_args_sort(args, spare, n);
    }

    end = rcache_args_join(joined, args, n);

    assert_true((size_t) (end - joined) <= s.len);
    assert_true((size_t) (end - joined) < sizeof(buf));

    memcpy(buf, joined, end - joined);
    buf[end - joined] = '\0';

    free(q);
    free(dst);
    free(joined);

    return buf;
}


static void
what_is_nothing_goes(void **state)
{
    (void) state;

    assert_string_equal(normal("", 0), "");
    assert_string_equal(normal("&", 0), "");
    assert_string_equal(normal("&&a=1&&&b&", 0), "a=1&b");
}


static void
no_value_is_not_an_empty_one(void **state)
{
    (void) state;

    assert_string_equal(normal("a", 0), "a");
    assert_string_equal(normal("a=", 0), "a=");
    assert_string_equal(normal("=a", 0), "=a");
    assert_string_equal(normal("a=b=c", 0), "a=b=c");
}


/* RFC 3986, 6.2.2.1 and 6.2.2.2 */

static void
escapes(void **state)
{
    (void) state;

    assert_string_equal(normal("%61=%7e%2D%5f%2e%30", 0), "a=~-_.0");
    assert_string_equal(normal("a=%c3%a9%2f%3d%26", 0), "a=%C3%A9%2F%3D%26");
    assert_string_equal(normal("a=%20+", 0), "a=%20+");
    assert_string_equal(normal("a%26b=1", 0), "a%26b=1");
    assert_string_equal(normal("a%3Db=1", 0), "a%3Db=1");
}


/* two that differ to the upstream must not become one */

static void
broken_escapes_stay(void **state)
{
    (void) state;

    assert_string_equal(normal("a=%", 0), "a=%");
    assert_string_equal(normal("a=%4", 0), "a=%4");
    assert_string_equal(normal("a=%zz%61", 0), "a=%zz%61");
    assert_string_equal(normal("a=%2%35", 0), "a=%2%35");
    assert_string_equal(normal("a=%%35", 0), "a=%%35");
    assert_string_equal(normal("a=%4&b=%61", 0), "a=%4&b=a");
    assert_string_equal(normal("a=%2525", 0), "a=%2525");
}


static void
sorted_and_stable(void **state)
{
    (void) state;

    assert_string_equal(normal("b=2&a=1", 1), "a=1&b=2");
    assert_string_equal(normal("b=1&a=9&b=0&a=1&b=5", 1),
                        "a=9&a=1&b=1&b=0&b=5");
    assert_string_equal(normal("ab=1&a=2&=0&a%62=3", 1), "=0&a=2&ab=1&ab=3");
    assert_string_equal(normal("g&f&e&d&c&b&a", 1), "a&b&c&d&e&f&g");
    assert_string_equal(normal("B&a&A&b", 1), "A&B&a&b");
}


static void
flags(void **state)
{
    u_char         buf[64];
    size_t         n;
    rcache_arg_t   args[4];
    rcache_str_t   s;

    (void) state;

    s = unit_str("a&b=&c=1;d=2&e=%3b");
    n = 4;

    assert_int_equal(rcache_args_parse(args, &n, buf, &s), RCACHE_OK);
    assert_int_equal(n, 4);

    assert_true(args[0].empty && !args[0].cloaked);
    assert_true(args[1].empty && !args[1].cloaked);
    assert_true(!args[2].empty && args[2].cloaked);
    assert_true(!args[3].empty && !args[3].cloaked);

    unit_assert_str(args[1].name, "b");
    unit_assert_str(args[2].name, "c");
}


static void
too_many(void **state)
{
    u_char         buf[64];
    size_t         n;
    rcache_arg_t   args[2];
    rcache_str_t   s;

    (void) state;

    s = unit_str("a&b&c");
    n = 2;

    assert_int_equal(rcache_args_count(&s), 3);
    assert_int_equal(rcache_args_parse(args, &n, buf, &s), RCACHE_DECLINED);

    s = unit_str("a&&b&");
    n = 2;

    assert_int_equal(rcache_args_parse(args, &n, buf, &s), RCACHE_OK);
    assert_int_equal(n, 2);
}


static int
match(const char *pattern, const char *name)
{
    rcache_str_t  p, n;

    p = unit_cstr(pattern);
    n = unit_cstr(name);

    return rcache_args_match(&p, &n);
}


static void
patterns(void **state)
{
    (void) state;

    assert_true(match("utm_*", "utm_source"));
    assert_true(match("utm_*", "utm_"));
    assert_false(match("utm_*", "utm"));
    assert_false(match("utm_*", "x_utm_"));
    assert_true(match("*", ""));
    assert_true(match("*id", "session_id"));
    assert_false(match("*id", "session_ids"));
    assert_true(match("a*b*c", "axxbyyc"));
    assert_true(match("a*b*c", "abbc"));
    assert_false(match("a*b*c", "acb"));
    assert_true(match("**a**", "a"));
    assert_true(match("", ""));
    assert_false(match("", "a"));
    assert_false(match("a", ""));
    assert_true(match("a", "a"));
    assert_false(match("a", "A"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_is_nothing_goes),
        cmocka_unit_test(no_value_is_not_an_empty_one),
        cmocka_unit_test(escapes),
        cmocka_unit_test(broken_escapes_stay),
        cmocka_unit_test(sorted_and_stable),
        cmocka_unit_test(flags),
        cmocka_unit_test(too_many),
        cmocka_unit_test(patterns)
    };

    return cmocka_run_group_tests_name("rcache_args", tests, NULL, NULL);
}
