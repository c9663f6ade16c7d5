
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_conditional.h"


#define NOW      1700000000
#define LM       "Tue, 14 Nov 2023 22:12:20 GMT"         /* NOW - 60 */
#define EARLIER  "Tue, 14 Nov 2023 22:12:19 GMT"
#define LATER    "Tue, 14 Nov 2023 22:12:21 GMT"
#define AT_NOW   "Tue, 14 Nov 2023 22:13:20 GMT"

#define GO            RCACHE_CONDITIONAL_GO
#define NOT_MODIFIED  RCACHE_CONDITIONAL_NOT_MODIFIED
#define FAILED        RCACHE_CONDITIONAL_FAILED


/* "Name: value\nName: value" */

static rcache_conditional_t
conditional(const char *headers)
{
    char                  *p, *line, *colon;
    rcache_str_t           name, value;
    rcache_conditional_t   c;

    static char            buf[1024];

    assert_true(strlen(headers) < sizeof(buf));
    strcpy(buf, headers);

    rcache_conditional_init(&c);

    for (p = buf; (line = strsep(&p, "\n")) != NULL; /* void */ ) {
        colon = strchr(line, ':');
        assert_non_null(colon);

        name.data = (u_char *) line;
        name.len = colon - line;
        value = unit_cstr(colon + 2);

        rcache_conditional_header(&c, &name, &value);
    }

    return c;
}


static rcache_conditional_e
check(const char *headers, const char *etag, const char *lm)
{
    rcache_validators_t   v;
    rcache_conditional_t  c;

    c = conditional(headers);

    v.etag = unit_cstr(etag);
    v.last_modified = unit_cstr(lm);
    v.date = unit_str("");

    return rcache_conditional(&c, &v, 1, -1, NOW);
}


static void
rfc9110_13_1_2_if_none_match(void **state)
{
    size_t  i;

    static const struct {
        const char  *value;
        const char  *etag;
        int          match;
    } cases[] = {
        { "\"a\"", "\"a\"", 1 },
        { "\"a\"", "\"b\"", 0 },
        { "W/\"a\"", "\"a\"", 1 },
        { "\"a\"", "W/\"a\"", 1 },
        { "W/\"a\"", "W/\"a\"", 1 },
        { "\"x\", \"a\", \"y\"", "\"a\"", 1 },
        { "\"x\",W/\"a\"", "\"a\"", 1 },
        { " , \"x\" ,, \"a\" ,", "\"a\"", 1 },
        { "\"x,a\"", "\"a\"", 0 },
        { "\"x, \"a\"", "\"a\"", 0 },
        { "\"a,b\"", "\"a,b\"", 1 },
        { "\"a\xc3\xbc\"", "\"a\xc3\xbc\"", 1 },
        { "\"A\"", "\"a\"", 0 },
        { "*", "\"a\"", 1 },
        { "*", "", 1 },
        { "\"*\"", "\"a\"", 0 },
        { "\"a\"", "", 0 },
        { "\"\"", "\"\"", 1 },
        { "", "\"a\"", 0 },
        { "W/", "W/", 1 },
        { "\"a\"x", "\"a\"", 0 },
        { "\"a", "\"a\"", 0 },

        /* without quotes: only the same text */

        { "abc", "abc", 1 },
        { "abc", "\"abc\"", 0 },
        { "\"abc\"", "abc", 0 },
        { "w/\"a\"", "w/\"a\"", 1 },
        { "w/\"a\"", "\"a\"", 0 }
    };

    char  headers[128];

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(headers, sizeof(headers), "If-None-Match: %s",
                 cases[i].value);

        assert_int_equal(check(headers, cases[i].etag, LM),
                         cases[i].match ? NOT_MODIFIED : GO);
    }

    assert_int_equal(check("If-None-Match: \"x\"\nif-none-match: \"a\"",
                           "\"a\"", ""), NOT_MODIFIED);
}


static void
rfc9110_13_1_3_if_modified_since(void **state)
{
    (void) state;

    assert_int_equal(check("If-Modified-Since: " LM, "", LM), NOT_MODIFIED);
    assert_int_equal(check("If-Modified-Since: " LATER, "", LM),
                     NOT_MODIFIED);
    assert_int_equal(check("If-Modified-Since: " EARLIER, "", LM), GO);
    assert_int_equal(check("If-Modified-Since: x", "", LM), GO);
    assert_int_equal(check("If-Modified-Since: 0", "", LM), GO);
    assert_int_equal(check("If-Modified-Since: ", "", LM), GO);
    assert_int_equal(check("If-Modified-Since: " LM, "", "x"), GO);
    assert_int_equal(check("If-Modified-Since: " LM, "", ""), GO);
    assert_int_equal(check("If-Modified-Since: " LM
                           "\nIf-Modified-Since: " LM, "", LM), GO);
}


/* without Last-Modified the Date stands in, and then the time of arrival */

static void
rfc9111_4_3_2_no_last_modified(void **state)
{
    rcache_validators_t   v;
    rcache_conditional_t  c;

    (void) state;

    memset(&v, 0, sizeof(v));

    c = conditional("If-Modified-Since: " LM);

    v.date = unit_str(LM);
    assert_int_equal(rcache_conditional(&c, &v, 1, NOW, NOW), NOT_MODIFIED);

    v.date = unit_str(LATER);
    assert_int_equal(rcache_conditional(&c, &v, 1, NOW - 99, NOW), GO);

    v.date = unit_str("");
    assert_int_equal(rcache_conditional(&c, &v, 1, NOW - 60, NOW),
                     NOT_MODIFIED);
    assert_int_equal(rcache_conditional(&c, &v, 1, NOW - 59, NOW), GO);
    assert_int_equal(rcache_conditional(&c, &v, 1, -1, NOW), GO);
}


static void
rfc9110_13_1_1_if_match(void **state)
{
    (void) state;

    assert_int_equal(check("If-Match: \"a\"", "\"a\"", ""), GO);
    assert_int_equal(check("If-Match: *", "\"a\"", ""), GO);
    assert_int_equal(check("If-Match: \"b\", \"a\"", "\"a\"", ""), GO);
    assert_int_equal(check("If-Match: W/\"a\"", "W/\"a\"", ""), FAILED);
    assert_int_equal(check("If-Match: W/\"a\"", "\"a\"", ""), FAILED);
    assert_int_equal(check("If-Match: \"a\"", "W/\"a\"", ""), FAILED);
    assert_int_equal(check("If-Match: \"b\"", "\"a\"", ""), FAILED);
    assert_int_equal(check("If-Match: \"b\"", "", ""), FAILED);
    assert_int_equal(check("If-Match: ", "\"a\"", ""), FAILED);
}


static void
rfc9110_13_1_4_if_unmodified_since(void **state)
{
    (void) state;

    assert_int_equal(check("If-Unmodified-Since: " LM, "", LM), GO);
    assert_int_equal(check("If-Unmodified-Since: " LATER, "", LM), GO);
    assert_int_equal(check("If-Unmodified-Since: " EARLIER, "", LM), FAILED);
    assert_int_equal(check("If-Unmodified-Since: x", "", LM), GO);
    assert_int_equal(check("If-Unmodified-Since: " EARLIER, "", ""), GO);
}


static void
rfc9110_13_2_2_precedence(void **state)
{
    (void) state;

    /* If-Match before If-Unmodified-Since */

    assert_int_equal(check("If-Match: \"a\"\nIf-Unmodified-Since: " EARLIER,
                           "\"a\"", LM), GO);
    assert_int_equal(check("If-Match: \"b\"\nIf-Unmodified-Since: " LATER,
                           "\"a\"", LM), FAILED);

    /* If-None-Match before If-Modified-Since */

    assert_int_equal(check("If-None-Match: \"a\"\nIf-Modified-Since: "
                           EARLIER, "\"a\"", LM), NOT_MODIFIED);
    assert_int_equal(check("If-None-Match: \"b\"\nIf-Modified-Since: " LATER,
                           "\"a\"", LM), GO);

    /* then the second pair */

    assert_int_equal(check("If-Match: \"a\"\nIf-None-Match: \"a\"", "\"a\"",
                           LM), NOT_MODIFIED);
    assert_int_equal(check("If-Match: \"b\"\nIf-None-Match: \"a\"", "\"a\"",
                           LM), FAILED);
    assert_int_equal(check("If-Unmodified-Since: " LM
                           "\nIf-Modified-Since: " LM, "\"a\"", LM),
                     NOT_MODIFIED);
}


static void
rfc9110_13_2_2_other_methods(void **state)
{
    rcache_validators_t   v;
    rcache_conditional_t  c;

    (void) state;

    v.etag = unit_str("\"a\"");
    v.last_modified = unit_str(LM);
    v.date = unit_str("");

    c = conditional("If-None-Match: \"a\"");
    assert_int_equal(rcache_conditional(&c, &v, 0, -1, NOW), FAILED);

    c = conditional("If-Modified-Since: " LM);
    assert_int_equal(rcache_conditional(&c, &v, 0, -1, NOW), GO);
}


static void
more_lines_than_are_looked_at(void **state)
{
    int                   i;
    rcache_validators_t   v;
    rcache_conditional_t  c;

    (void) state;

    memset(&v, 0, sizeof(v));
    v.etag = unit_str("\"a\"");

    rcache_conditional_init(&c);

    for (i = 0; i < 1000; i++) {
        rcache_conditional_header(&c, &unit_str("If-None-Match"),
                                  &unit_str("\"b\""));
    }

    rcache_conditional_header(&c, &unit_str("If-None-Match"),
                              &unit_str("\"a\""));

    assert_int_equal(rcache_conditional(&c, &v, 1, -1, NOW), GO);
}


static int
range(const char *if_range, const char *etag, const char *lm,
    const char *date)
{
    rcache_validators_t   v;
    rcache_conditional_t  c;

    rcache_conditional_init(&c);
    rcache_conditional_header(&c, &unit_str("if-range"),
                              &unit_cstr(if_range));

    v.etag = unit_cstr(etag);
    v.last_modified = unit_cstr(lm);
    v.date = unit_cstr(date);

    return rcache_conditional_range(&c, &v, NOW);
}


static void
rfc9110_13_1_5_if_range(void **state)
{
    rcache_validators_t   v;
    rcache_conditional_t  c;

    (void) state;

    assert_true(range("\"a\"", "\"a\"", "", ""));
    assert_false(range("\"a\"", "\"b\"", "", ""));
    assert_false(range("W/\"a\"", "W/\"a\"", "", ""));
    assert_false(range("\"a\"", "W/\"a\"", "", ""));
    assert_false(range("\"a\"", "", LM, AT_NOW));
    assert_false(range("", "", "", ""));
    assert_false(range("\"", "\"", "", ""));
    assert_false(range("x", "x", "", ""));

    assert_true(range(LM, "", LM, AT_NOW));
    assert_true(range(LM, "", LM, LATER));
    assert_false(range(LATER, "", LM, AT_NOW));
    assert_false(range(EARLIER, "", LM, AT_NOW));
    assert_false(range(LM, "", "", AT_NOW));

    /* RFC 9110, 8.8.2.2: a weak date */

    assert_false(range(LM, "", LM, LM));
    assert_false(range(LM, "", LM, ""));

    rcache_conditional_init(&c);
    memset(&v, 0, sizeof(v));
    assert_true(rcache_conditional_range(&c, &v, NOW));

    c = conditional("If-Range: \"a\"\nIf-Range: \"a\"");
    v.etag = unit_str("\"a\"");
    assert_false(rcache_conditional_range(&c, &v, NOW));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc9110_13_1_2_if_none_match),
        cmocka_unit_test(rfc9110_13_1_3_if_modified_since),
        cmocka_unit_test(rfc9111_4_3_2_no_last_modified),
        cmocka_unit_test(rfc9110_13_1_1_if_match),
        cmocka_unit_test(rfc9110_13_1_4_if_unmodified_since),
        cmocka_unit_test(rfc9110_13_2_2_precedence),
        cmocka_unit_test(rfc9110_13_2_2_other_methods),
        cmocka_unit_test(more_lines_than_are_looked_at),
        cmocka_unit_test(rfc9110_13_1_5_if_range)
    };

    return cmocka_run_group_tests_name("rcache_conditional", tests, NULL, NULL);
}
