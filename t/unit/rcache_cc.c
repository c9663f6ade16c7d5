
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_cc.h"


static void
add(rcache_cc_t *cc, const char *s)
{
    u_char  *p;
    size_t   len;

    len = strlen(s);
    p = unit_copy(s, len);

    rcache_cc_parse(cc, p, len);

    free(p);
}


static rcache_cc_t
parse(const char *s)
{
    rcache_cc_t  cc;

    rcache_cc_init(&cc);
    add(&cc, s);

    return cc;
}


static void
nothing_said(void **state)
{
    size_t       i;
    rcache_cc_t  cc, none;

    static const char  *empty[] = {
        "", " ", ",", ", ,\t,", "=", "=,=", "\"\"", "foo", "foo=bar",
        "foo=\"max-age=5, private\"", ";;;", "\x80\xff", NULL
    };

    (void) state;

    rcache_cc_init(&none);

    assert_int_equal(none.max_age, -1);
    assert_int_equal(none.s_maxage, -1);
    assert_int_equal(none.stale_while_revalidate, -1);
    assert_int_equal(none.stale_if_error, -1);

    for (i = 0; empty[i]; i++) {
        cc = parse(empty[i]);
        assert_memory_equal(&cc, &none, sizeof(cc));
    }

    cc = none;
    rcache_cc_parse(&cc, NULL, 0);
    assert_memory_equal(&cc, &none, sizeof(cc));
}


static void
rfc9111_5_2_2_each_directive(void **state)
{
    (void) state;

    assert_int_equal(parse("max-age=60").max_age, 60);
    assert_int_equal(parse("s-maxage=61").s_maxage, 61);
    assert_int_equal(parse("no-store").no_store, 1);
    assert_int_equal(parse("no-cache").no_cache, 1);
    assert_int_equal(parse("private").private_, 1);
    assert_int_equal(parse("public").public_, 1);
    assert_int_equal(parse("must-revalidate").must_revalidate, 1);
    assert_int_equal(parse("proxy-revalidate").proxy_revalidate, 1);
    assert_int_equal(parse("must-understand").must_understand, 1);
}


static void
rfc5861_each_directive(void **state)
{
    (void) state;

    assert_int_equal(parse("stale-while-revalidate=5").stale_while_revalidate,
                     5);
    assert_int_equal(parse("stale-if-error=6").stale_if_error, 6);
}


static void
rfc9111_5_2_several_on_a_line(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    cc = parse("public, max-age=60 ,s-maxage=600,\tmust-revalidate, foo,"
               "stale-while-revalidate=30,,stale-if-error=86400");

    assert_int_equal(cc.public_, 1);
    assert_int_equal(cc.max_age, 60);
    assert_int_equal(cc.s_maxage, 600);
    assert_int_equal(cc.must_revalidate, 1);
    assert_int_equal(cc.stale_while_revalidate, 30);
    assert_int_equal(cc.stale_if_error, 86400);
    assert_int_equal(cc.no_store, 0);
    assert_int_equal(cc.no_cache, 0);
    assert_int_equal(cc.private_, 0);
}


static void
rfc9110_5_3_several_lines(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    cc = parse("public, max-age=60");
    add(&cc, "s-maxage=5");
    add(&cc, "private");

    assert_int_equal(cc.public_, 1);
    assert_int_equal(cc.private_, 1);
    assert_int_equal(cc.max_age, 60);
    assert_int_equal(cc.s_maxage, 5);
}


static void
rfc9111_5_2_names_in_any_case(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    cc = parse("Max-Age=60, NO-STORE, pRiVaTe");

    assert_int_equal(cc.max_age, 60);
    assert_int_equal(cc.no_store, 1);
    assert_int_equal(cc.private_, 1);
}


static void
names_are_whole_words(void **state)
{
    rcache_cc_t  cc, none;

    (void) state;

    rcache_cc_init(&none);

    cc = parse("xmax-age=60, max-agex=60, x-private, privatex, no-stor,"
               "no-store-at-all, max_age=60, stale-if-errors=5, publi");

    assert_memory_equal(&cc, &none, sizeof(cc));
}


static void
rfc9111_5_2_argument_in_quotes(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    cc = parse("max-age=\"60\", s-maxage=\"7\"");

    assert_int_equal(cc.max_age, 60);
    assert_int_equal(cc.s_maxage, 7);
}


/* where what is parsed has to be there afterwards */

static rcache_cc_t
parse_kept(const char *text)
{
    rcache_cc_t  cc;

    rcache_cc_init(&cc);
    rcache_cc_parse(&cc, (const u_char *) text, strlen(text));

    return cc;
}


/* a field name in quotes is no directive, and the list goes on behind it */

static void
rfc9111_5_2_2_field_names(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    cc = parse_kept("private=\"Set-Cookie, no-store\", max-age=9");

    assert_int_equal(cc.private_, 0);
    assert_int_equal(cc.no_store, 0);
    assert_int_equal(cc.max_age, 9);
    assert_int_equal(cc.private_fields.n, 1);
    assert_int_equal(cc.no_cache_fields.n, 0);

    assert_true(rcache_cc_withholds(&cc, &unit_str("set-cookie")));
    assert_true(rcache_cc_withholds(&cc, &unit_str("No-Store")));
    assert_false(rcache_cc_withholds(&cc, &unit_str("Set-Cooki")));
    assert_false(rcache_cc_withholds(&cc, &unit_str("a")));

    cc = parse_kept("no-cache=\"a\", no-cache=\" b ,\tc, \"");

    assert_int_equal(cc.no_cache, 0);
    assert_int_equal(cc.no_cache_fields.n, 2);
    assert_true(rcache_cc_withholds(&cc, &unit_str("A")));
    assert_true(rcache_cc_withholds(&cc, &unit_str("b")));
    assert_true(rcache_cc_withholds(&cc, &unit_str("c")));

    /* the unqualified one holds, wherever it is */

    cc = parse_kept("no-cache, no-cache=\"a\"");
    assert_int_equal(cc.no_cache, 1);

    cc = parse_kept("private=\"a\", private");
    assert_int_equal(cc.private_, 1);
}


/* what is no list of names restricts all */

static void
rfc9111_5_2_2_field_names_that_are_none(void **state)
{
    size_t       i;
    rcache_cc_t  cc;

    static const char  *bad[] = {
        "no-cache=Set-Cookie, private=Set-Cookie",
        "no-cache=1, private=1",
        "no-cache=, private=",
        "no-cache=\"\", private=\"\"",
        "no-cache=\" , \", private=\",\"",
        "no-cache=\"a b\", private=\"a b\"",
        "no-cache=\"a;b\", private=\"a:b\"",
        "no-cache=\"a\\b\", private=\"\\\"\"",
        "no-cache=\"a\"b, private=\"a\"\"b\"",
        "private=\"a, no-cache"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cc = parse(bad[i]);

        assert_int_equal(cc.no_cache, 1);
        assert_int_equal(cc.private_, 1);
    }
}


static void
more_lists_of_field_names_than_are_kept(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    cc = parse("private=\"a\", private=\"b\", private=\"c\", private=\"d\","
               "private=\"a\"");
    assert_int_equal(cc.private_, 0);
    assert_int_equal(cc.private_fields.n, RCACHE_CC_FIELDS);

    cc = parse("private=\"a\", private=\"b\", private=\"c\", private=\"d\","
               "private=\"e\"");
    assert_int_equal(cc.private_, 1);
    assert_int_equal(cc.no_cache, 0);
}


static void
rfc9111_5_2_1_request_directives(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    cc = parse("max-age=1, max-stale=2, min-fresh=3, no-cache, no-store, "
               "Only-If-Cached");

    assert_int_equal(cc.max_age, 1);
    assert_int_equal(cc.max_stale, 2);
    assert_int_equal(cc.min_fresh, 3);
    assert_int_equal(cc.no_cache, 1);
    assert_int_equal(cc.no_store, 1);
    assert_int_equal(cc.only_if_cached, 1);

    cc = parse("max-stale");
    assert_int_equal(cc.max_stale, RCACHE_DELTA_MAX);
    assert_int_equal(cc.min_fresh, -1);
    assert_int_equal(cc.only_if_cached, 0);

    cc = parse("max-stale, max-stale=5, min-fresh=1, min-fresh=9");
    assert_int_equal(cc.max_stale, 5);
    assert_int_equal(cc.min_fresh, 9);

    cc = parse("max-stale=x, min-fresh=x, max-stale=, min-fresh");
    assert_int_equal(cc.max_stale, -1);
    assert_int_equal(cc.min_fresh, -1);
}


static int
targeted(rcache_cc_t *cc, const char *text)
{
    rcache_str_t  line;

    line = unit_cstr(text);

    rcache_cc_init(cc);

    return rcache_cc_targeted(cc, &line, 1);
}


static void
rfc9213_2_1_targeted_directives(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    assert_int_equal(targeted(&cc, "max-age=60, s-maxage=99999999999, "
                                   "stale-if-error=3;a=b, "
                                   "stale-while-revalidate=4, x=(a b)"),
                     RCACHE_OK);
    assert_int_equal(cc.max_age, 60);
    assert_int_equal(cc.s_maxage, RCACHE_DELTA_MAX);
    assert_int_equal(cc.stale_if_error, 3);
    assert_int_equal(cc.stale_while_revalidate, 4);
    assert_int_equal(cc.no_store, 0);

    assert_int_equal(targeted(&cc, "no-store, no-cache, private, public, "
                                   "must-revalidate, proxy-revalidate=?1, "
                                   "must-understand"), RCACHE_OK);
    assert_int_equal(cc.no_store, 1);
    assert_int_equal(cc.no_cache, 1);
    assert_int_equal(cc.private_, 1);
    assert_int_equal(cc.public_, 1);
    assert_int_equal(cc.must_revalidate, 1);
    assert_int_equal(cc.proxy_revalidate, 1);
    assert_int_equal(cc.must_understand, 1);
    assert_int_equal(cc.max_age, -1);

    assert_int_equal(targeted(&cc, "no-cache=\"a, b\", private=\"c\""),
                     RCACHE_OK);
    assert_int_equal(cc.no_cache, 0);
    assert_int_equal(cc.private_, 0);
    assert_true(rcache_cc_withholds(&cc, &unit_str("B")));
    assert_true(rcache_cc_withholds(&cc, &unit_str("c")));

    /* RFC 8941, 4.2.2: the last of a name */

    assert_int_equal(targeted(&cc, "max-age=1, no-store, max-age=2, "
                                   "no-store=?0"), RCACHE_OK);
    assert_int_equal(cc.max_age, 2);
    assert_int_equal(cc.no_store, 0);

    /* RFC 9213, 3.1: it counts, and says nothing */

    assert_int_equal(targeted(&cc, "none"), RCACHE_OK);
    assert_int_equal(cc.no_store, 0);
    assert_int_equal(cc.max_age, -1);
}


static void
rfc9213_2_1_wrong_types(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    assert_int_equal(targeted(&cc, "max-age=\"60\", s-maxage=60.0, "
                                   "stale-if-error=a, public=1, "
                                   "stale-while-revalidate=(1)"), RCACHE_OK);
    assert_int_equal(cc.max_age, -1);
    assert_int_equal(cc.s_maxage, -1);
    assert_int_equal(cc.stale_if_error, -1);
    assert_int_equal(cc.stale_while_revalidate, -1);
    assert_int_equal(cc.public_, 0);

    assert_int_equal(targeted(&cc, "max-age=-1"), RCACHE_OK);
    assert_int_equal(cc.max_age, 0);

    /* a restriction is not lost */

    assert_int_equal(targeted(&cc, "no-store=1, private=(a), "
                                   "no-cache=\"\\\"\""), RCACHE_OK);
    assert_int_equal(cc.no_store, 1);
    assert_int_equal(cc.private_, 1);
    assert_int_equal(cc.no_cache, 1);
}


static void
rfc9213_2_1_empty_or_malformed(void **state)
{
    size_t       i;
    rcache_cc_t  cc, none;

    static const char  *bad[] = {
        "", "  ", ",", "max-age=60,", "max-age =60", "max-age= 60", "MAX-AGE",
        "no-store, max-age=60, &", "max-age=60 no-store", "max-age=1234567890"
        "123456", "a=\"", "max-age=", "max-age=60;A", "\xc3\xa4"
    };

    (void) state;

    rcache_cc_init(&none);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(targeted(&cc, bad[i]), RCACHE_DECLINED);
        assert_memory_equal(&cc, &none, sizeof(cc));
    }
}


static void
rfc9110_5_6_4_commas_and_escapes_in_quotes(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    cc = parse("foo=\"a, \\\"private, no-store\", max-age=5");

    assert_int_equal(cc.private_, 0);
    assert_int_equal(cc.no_store, 0);
    assert_int_equal(cc.max_age, 5);

    cc = parse("foo=\"\\\\\", private");
    assert_int_equal(cc.private_, 1);
}


/* what a quote that is not closed might hide is looked at */

static void
unclosed_quote_hides_no_restriction(void **state)
{
    (void) state;

    assert_int_equal(parse("foo=\"bar, private").private_, 1);
    assert_int_equal(parse("foo=\", no-store").no_store, 1);
    assert_int_equal(parse("foo=\"bar\\\", no-store").no_store, 1);
    assert_int_equal(parse("private=\"").private_, 1);
    assert_int_equal(parse("max-age=\"60").max_age, 0);
    assert_int_equal(parse("max-age=\"").max_age, 0);
    assert_int_equal(parse("max-age=\"\\").max_age, 0);
}


/* seen in the wild: the whole field in quotes, or semicolons */

static void
not_the_grammar_but_restrictions_hold(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    cc = parse("\"private, max-age=60\"");
    assert_int_equal(cc.private_, 1);
    assert_int_equal(cc.max_age, 0);

    cc = parse("max-age=60; private");
    assert_int_equal(cc.max_age, 60);
    assert_int_equal(cc.private_, 1);

    assert_int_equal(parse("private;max-age=60").private_, 1);
    assert_int_equal(parse("no-store max-age=60").no_store, 1);
    assert_int_equal(parse("max-age=60 no-store").no_store, 1);
    assert_int_equal(parse("private\"").private_, 1);
    assert_int_equal(parse("{no-store}").no_store, 1);
    assert_int_equal(parse("private=").private_, 1);
    assert_int_equal(parse("private=x").private_, 1);
    assert_int_equal(parse("foo=bar;no-store").no_store, 1);
    assert_int_equal(parse("foo==no-store, private").private_, 1);
    assert_int_equal(parse("foo=\"a\"private").private_, 1);
    assert_int_equal(parse("foo=\"a\";private").private_, 1);
}


static void
rfc9111_4_2_1_least_of_several(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    assert_int_equal(parse("max-age=60, max-age=5").max_age, 5);
    assert_int_equal(parse("max-age=5, max-age=60").max_age, 5);
    assert_int_equal(parse("s-maxage=60, s-maxage=0").s_maxage, 0);
    assert_int_equal(parse("max-age=60, max-age=x").max_age, 0);
    assert_int_equal(parse("max-age, max-age=60").max_age, 0);

    cc = parse("stale-if-error=60, stale-if-error=5");
    assert_int_equal(cc.stale_if_error, 5);

    cc = parse("max-age=60");
    add(&cc, "max-age=30");
    add(&cc, "max-age=90");
    assert_int_equal(cc.max_age, 30);
}


static void
rfc9111_4_2_1_not_a_number_is_stale(void **state)
{
    size_t  i;
    char    buf[128];

    static const char  *bad[] = {
        "", "=", "=x", "=-1", "=+1", "=1.5", "=1e3", "=60s", "=0x10", "=' 1'",
        "='1'", "=\"\"", "=\"x\"", "=\" 1\"", "=\"1 \"", "=\"6\\0\"",
        "=\"60\"5", "=60\"", "=60=", " =60", "= 60", NULL
    };

    (void) state;

    for (i = 0; bad[i]; i++) {
        snprintf(buf, sizeof(buf), "max-age%s", bad[i]);

        if (parse(buf).max_age != 0) {
            fail_msg("\"%s\" gave a lifetime", buf);
        }

        snprintf(buf, sizeof(buf), "s-maxage%s", bad[i]);

        if (parse(buf).s_maxage != 0) {
            fail_msg("\"%s\" gave a lifetime", buf);
        }

        snprintf(buf, sizeof(buf), "stale-if-error%s", bad[i]);

        if (parse(buf).stale_if_error != -1) {
            fail_msg("\"%s\" gave a window", buf);
        }

        snprintf(buf, sizeof(buf), "stale-while-revalidate%s", bad[i]);

        if (parse(buf).stale_while_revalidate != -1) {
            fail_msg("\"%s\" gave a window", buf);
        }
    }
}


static void
rfc9111_1_2_2_delta_seconds(void **state)
{
    (void) state;

    assert_int_equal(parse("max-age=0").max_age, 0);
    assert_int_equal(parse("max-age=00060").max_age, 60);
    assert_int_equal(parse("max-age=2147483647").max_age, 2147483647);
    assert_int_equal(parse("max-age=2147483648").max_age, RCACHE_DELTA_MAX);
    assert_int_equal(parse("max-age=2147483649").max_age, RCACHE_DELTA_MAX);
    assert_int_equal(parse("max-age=4294967296").max_age, RCACHE_DELTA_MAX);
    assert_int_equal(parse("max-age=18446744073709551617").max_age,
                     RCACHE_DELTA_MAX);
    assert_int_equal(parse("s-maxage=99999999999999999999999999999999999999")
                     .s_maxage, RCACHE_DELTA_MAX);
}


static void
a_nul_is_not_the_end(void **state)
{
    rcache_cc_t  cc;

    (void) state;

    rcache_cc_init(&cc);
    rcache_cc_parse(&cc, (u_char *) "max-age=60,\0private", 19);

    assert_int_equal(cc.max_age, 60);
    assert_int_equal(cc.private_, 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(nothing_said),
        cmocka_unit_test(rfc9111_5_2_2_each_directive),
        cmocka_unit_test(rfc5861_each_directive),
        cmocka_unit_test(rfc9111_5_2_several_on_a_line),
        cmocka_unit_test(rfc9110_5_3_several_lines),
        cmocka_unit_test(rfc9111_5_2_names_in_any_case),
        cmocka_unit_test(names_are_whole_words),
        cmocka_unit_test(rfc9111_5_2_argument_in_quotes),
        cmocka_unit_test(rfc9111_5_2_2_field_names),
        cmocka_unit_test(rfc9111_5_2_2_field_names_that_are_none),
        cmocka_unit_test(more_lists_of_field_names_than_are_kept),
        cmocka_unit_test(rfc9111_5_2_1_request_directives),
        cmocka_unit_test(rfc9213_2_1_targeted_directives),
        cmocka_unit_test(rfc9213_2_1_wrong_types),
        cmocka_unit_test(rfc9213_2_1_empty_or_malformed),
        cmocka_unit_test(rfc9110_5_6_4_commas_and_escapes_in_quotes),
        cmocka_unit_test(unclosed_quote_hides_no_restriction),
        cmocka_unit_test(not_the_grammar_but_restrictions_hold),
        cmocka_unit_test(rfc9111_4_2_1_least_of_several),
        cmocka_unit_test(rfc9111_4_2_1_not_a_number_is_stale),
        cmocka_unit_test(rfc9111_1_2_2_delta_seconds),
        cmocka_unit_test(a_nul_is_not_the_end)
    };

    return cmocka_run_group_tests_name("rcache_cc", tests, NULL, NULL);
}
