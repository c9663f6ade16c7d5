
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"


static void
str_is_ignores_case(void **state)
{
    (void) state;

    assert_true(rcache_str_is(&unit_str("Set-Cookie"), "set-cookie"));
    assert_true(rcache_str_is(&unit_str("SET-COOKIE"), "Set-Cookie"));
    assert_true(rcache_str_is(&unit_str(""), ""));
}


static void
str_is_wants_the_whole_string(void **state)
{
    (void) state;

    assert_false(rcache_str_is(&unit_str("Set-Cookie2"), "Set-Cookie"));
    assert_false(rcache_str_is(&unit_str("Set-Cooki"), "Set-Cookie"));
    assert_false(rcache_str_is(&unit_str(""), "a"));
    assert_false(rcache_str_is(&unit_str("a"), ""));
}


/* a NUL and what is behind it count; the literal is not read past its end */

static void
str_is_sees_a_nul(void **state)
{
    (void) state;

    assert_false(rcache_str_is(&unit_str("Age\0"), "Age"));
    assert_false(rcache_str_is(&unit_str("Age\0Age\0Age\0Age"), "Age"));
    assert_false(rcache_str_is(&unit_str("\0"), ""));
}


/* letters differ in the bit 0x20 only, other bytes must not be folded */

static void
str_is_folds_letters_only(void **state)
{
    (void) state;

    assert_false(rcache_str_is(&unit_str("@"), "`"));
    assert_false(rcache_str_is(&unit_str("["), "{"));
    assert_false(rcache_str_is(&unit_str("\r"), "-"));
    assert_false(rcache_str_is(&unit_str("\xC1"), "\xE1"));
    assert_true(rcache_str_is(&unit_str("\xC1"), "\xC1"));
}


static void
rfc9110_5_6_2_token(void **state)
{
    int   c, expected;

    (void) state;

    for (c = 0; c < 256; c++) {
        expected = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
                   || (c >= 'a' && c <= 'z')
                   || (c && c < 128 && strchr("!#$%&'*+-.^_`|~", c));

        assert_int_equal(rcache_token[c] != 0, expected);
    }
}


static void
same_in_any_case(void **state)
{
    (void) state;

    assert_true(rcache_str_same(&unit_str("Vary"), &unit_str("vARY")));
    assert_true(rcache_str_same(&unit_str(""), &unit_str("")));
    assert_true(rcache_str_same(&unit_str("Last-Modified"),
                                &unit_str("Last-Modified")));
    assert_true(rcache_str_same(&unit_str("Last-Modified"),
                                &unit_str("Last-ModifieD")));
    assert_true(rcache_str_same(&unit_str("Last-Modified"),
                                &unit_str("lAST-MODIFIED")));
    assert_false(rcache_str_same(&unit_str("Last-Modified"),
                                 &unit_str("Last-Modifief")));
    assert_false(rcache_str_same(&unit_str("Last-Modified"),
                                 &unit_str("Past-Modified")));
    assert_false(rcache_str_same(&unit_str("0123456789abcdefX"),
                                 &unit_str("0123456789abcdefY")));
    assert_true(rcache_str_same(&unit_str("0123456789abcdef"),
                                &unit_str("0123456789ABCDEF")));
    assert_false(rcache_str_same(&unit_str("X123456789abcdef"),
                                 &unit_str("Y123456789abcdef")));
    assert_false(rcache_str_same(&unit_str("Vary"), &unit_str("Var")));
    assert_false(rcache_str_same(&unit_str("@"), &unit_str("`")));
    assert_false(rcache_str_same(&unit_str("["), &unit_str("{")));
}


static void
rfc9110_5_6_1_listed(void **state)
{
    (void) state;

    assert_true(rcache_str_listed(&unit_str("a, B ,,c"), &unit_str("b")));
    assert_true(rcache_str_listed(&unit_str("a;b"), &unit_str("B")));
    assert_false(rcache_str_listed(&unit_str("ab, abc"), &unit_str("b")));
    assert_false(rcache_str_listed(&unit_str(""), &unit_str("b")));
    assert_false(rcache_str_listed(&unit_str(",,"), &unit_str("")));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(str_is_ignores_case),
        cmocka_unit_test(str_is_wants_the_whole_string),
        cmocka_unit_test(str_is_sees_a_nul),
        cmocka_unit_test(str_is_folds_letters_only),
        cmocka_unit_test(rfc9110_5_6_2_token),
        cmocka_unit_test(same_in_any_case),
        cmocka_unit_test(rfc9110_5_6_1_listed)
    };

    return cmocka_run_group_tests_name("rcache_core", tests, NULL, NULL);
}
