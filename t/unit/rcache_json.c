
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_json.h"


/* allocations that are left before one fails; negative: none does */

static int  left;
static int  held;


static void *
mem_alloc(void *data, size_t size)
{
    void  *p;

    (void) data;

    if (left == 0) {
        return NULL;
    }

    left--;

    p = malloc(size);

    held += (p != NULL);

    return p;
}


static void
mem_free(void *data, void *p)
{
    (void) data;

    held--;
    free(p);
}


static const rcache_json_memory_t  memory = { mem_alloc, mem_free, NULL };


/* in pieces of n bytes */

static int
check(const char *text, size_t n)
{
    int             rc;
    u_char         *p;
    size_t          i, len, m;
    rcache_json_t  *json;

    left = -1;
    len = strlen(text);

    json = rcache_json_create(&memory, 65536);
    assert_non_null(json);

    rc = RCACHE_OK;

    for (i = 0; i < len && rc == RCACHE_OK; i += m) {
        m = (len - i < n) ? len - i : n;

        p = unit_copy(text + i, m);
        rc = rcache_json_feed(json, p, m);
        free(p);
    }

    if (rc == RCACHE_OK) {
        rc = rcache_json_end(json);
    }

    rcache_json_destroy(json);
    assert_int_equal(held, 0);

    return rc;
}


static void
well_formed(void **state)
{
    size_t  i, n;

    static const char  *texts[] = {
        "{}", "[]", "1", "\"a\"", "true", "false", "null",
        " {\"a\" : [1, 2]} \n",
        "-0.5e-10", "\"\\u00e9\\n\\\"\"", "[[[[{\"a\":{\"b\":[]}}]]]]",
        "\"caf\xc3\xa9\""
    };

    (void) state;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (n = 1; n < 8; n++) {
            assert_int_equal(check(texts[i], n), RCACHE_OK);
        }
    }
}


static void
broken(void **state)
{
    size_t  i, n;

    static const char  *texts[] = {
        "", " ", "{", "[1,", "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "tru",
        "\"a", "1 2", "{} x", "{}{}", "[1] <!-- -->", "'a'", "01", "1.",
        "\"\\x\"", "\"\n\"", "\"\xff\"", "\"\xc3\"", "/* */ 1", "NaN", "]",
        "{\"a\":1,}", "<html>", "\"\\u12\"", "nullx"
    };

    (void) state;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (n = 1; n < 8; n++) {
            if (check(texts[i], n) != RCACHE_DECLINED) {
                fail_msg("%s", texts[i]);
            }
        }
    }
}


static void
depth(void **state)
{
    char  text[2 * RCACHE_JSON_DEPTH + 4];

    (void) state;

    memset(text, '[', RCACHE_JSON_DEPTH);
    memset(text + RCACHE_JSON_DEPTH, ']', RCACHE_JSON_DEPTH);
    text[2 * RCACHE_JSON_DEPTH] = '\0';

    assert_int_equal(check(text, 1000), RCACHE_OK);

    memset(text, '[', RCACHE_JSON_DEPTH + 1);
    memset(text + RCACHE_JSON_DEPTH + 1, ']', RCACHE_JSON_DEPTH + 1);
    text[2 * RCACHE_JSON_DEPTH + 2] = '\0';

    assert_int_equal(check(text, 1000), RCACHE_DECLINED);
}


/* a string that is cut costs memory, and there is a limit */

static void
limit(void **state)
{
    int             rc, i;
    u_char          text[1024];
    rcache_json_t  *json;

    (void) state;

    left = -1;

    memset(text, 'a', sizeof(text));

    json = rcache_json_create(&memory, 16384);
    assert_non_null(json);

    rc = rcache_json_feed(json, (u_char *) "\"", 1);

    for (i = 0; i < 64 && rc == RCACHE_OK; i++) {
        rc = rcache_json_feed(json, text, sizeof(text));
    }

    assert_int_equal(rc, RCACHE_ERROR);

    rcache_json_destroy(json);
    assert_int_equal(held, 0);

    /* not even the parser */

    assert_null(rcache_json_create(&memory, 8));
    assert_int_equal(held, 0);
}


static int
canonical(const char *text, char *buf)
{
    int            rc;
    size_t         len;
    u_char        *p, *dst;
    rcache_str_t   s;

    s.len = strlen(text);
    p = unit_copy(text, s.len);
    s.data = p;

    dst = malloc(RCACHE_JSON_SIZE(s.len));
    assert_non_null(dst);

    rc = rcache_json_canonical(dst, &len, &s, &memory);

    if (rc == RCACHE_OK) {
        assert_true(len <= s.len);
        memcpy(buf, dst, len);
        buf[len] = '\0';
    }

    free(p);
    free(dst);

    assert_int_equal(held, 0);

    return rc;
}


static void
canonical_forms(void **state)
{
    char    buf[256];
    size_t  i;

    static const char  *rows[][2] = {
        { "{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}" },
        { " { \"b\" : [ 1 , { \"d\":1, \"c\":2 } ] , \"a\" : {} } ",
          "{\"a\":{},\"b\":[1,{\"c\":2,\"d\":1}]}" },
        { "[]", "[]" }, { "[ [ ] , [1] ]", "[[],[1]]" },
        { "{}", "{}" }, { "1.0", "1.0" }, { "1E5", "1E5" },
        { "[null,true,false]", "[null,true,false]" },
        { "\"\\u0041\\/\\\"\\\\\\n\\u0001\"", "\"A/\\\"\\\\\\n\\u0001\"" },
        { "\"\\u0000\"", "\"\\u0000\"" },
        { "\"\\u00e9\"", "\"\xc3\xa9\"" },
        { "{\"a\":2,\"a\":1}", "{\"a\":2,\"a\":1}" },
        { "{\"\\u0061\":1,\"A\":2}", "{\"A\":2,\"a\":1}" },
        { "{\"a\":1,\"ab\":2,\"a \":3}", "{\"a \":3,\"a\":1,\"ab\":2}" },
        { "{\"c\":{\"z\":1,\"y\":{\"b\":1,\"a\":2}},\"a\":[{\"k\":1}]}",
          "{\"a\":[{\"k\":1}],\"c\":{\"y\":{\"a\":2,\"b\":1},\"z\":1}}" },
    };

    (void) state;

    left = -1;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(canonical(rows[i][0], buf), RCACHE_OK);
        assert_string_equal(buf, rows[i][1]);
    }

    assert_int_equal(canonical("", buf), RCACHE_DECLINED);
    assert_int_equal(canonical("{", buf), RCACHE_DECLINED);
    assert_int_equal(canonical("{} {}", buf), RCACHE_DECLINED);

    /* a colon was written behind the end */

    assert_int_equal(canonical("[{\"query:q\\\\\"", buf), RCACHE_DECLINED);

    /* what yajl would lose */

    assert_int_equal(canonical("\"\\ud800\"", buf), RCACHE_DECLINED);
    assert_int_equal(canonical("\"\\uDC00\"", buf), RCACHE_DECLINED);
    assert_int_equal(canonical("\"\\ud83d\\ude00\"", buf), RCACHE_DECLINED);
    assert_int_equal(canonical("\"\\\\ud800\"", buf), RCACHE_OK);
    assert_int_equal(canonical("\"\\ud7ff\"", buf), RCACHE_OK);
}


static int
graphql(const char *text)
{
    int            rc;
    u_char        *p;
    rcache_str_t   s;

    s.len = strlen(text);
    p = unit_copy(text, s.len);
    s.data = p;

    rc = rcache_json_graphql(&s, &memory);

    free(p);

    assert_int_equal(held, 0);

    return rc;
}


static void
graphql_requests(void **state)
{
    size_t  i;

    static const char  *good[] = {
        "{\"query\":\"{a}\"}",
        "{\"variables\":{\"query\":\"mutation{a}\"},\"query\":\"query{a}\"}",
        "{\"operationName\":null,\"variables\":[1,[2]],\"query\":\"{a}\"}",
        "[{\"query\":\"{a}\"},{\"query\":\"{b}\",\"extensions\":{}}]",
        "{\"\\u0071uery\":\"{a}\"}"
    };

    static const char  *bad[] = {
        "{\"query\":\"mutation{a}\"}",
        "{\"\\u0071uery\":\"mut\\u0061tion{a}\"}",
        "{\"query\":\"{a}\",\"query\":\"mutation{a}\"}",
        "{\"query\":\"mutation{a}\",\"query\":\"{a}\"}",
        "[{\"query\":\"{a}\"},{\"query\":\"mutation{b}\"}]",
        "[{\"query\":\"{a}\"},{}]", "[{\"query\":\"{a}\"},1]",
        "[[{\"query\":\"{a}\"}]]", "[]", "{}", "1", "\"query\"", "null",
        "{\"query\":1}", "{\"query\":null}", "{\"query\":[\"{a}\"]}",
        "{\"query\":{\"query\":\"{a}\"}}", "{\"query\":true}",
        "{\"a\":{\"query\":\"{a}\"}}", "{\"query\":\"{a}\"} x",
        "{\"query\":\"{a}\"", "", "[\"{a}\"]",
        "{\"extensions\":{\"persistedQuery\":{\"sha256Hash\":\"x\"}}}"
    };

    (void) state;

    left = -1;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (graphql(good[i]) != RCACHE_OK) {
            fail_msg("%s", good[i]);
        }
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (graphql(bad[i]) != RCACHE_DECLINED) {
            fail_msg("%s", bad[i]);
        }
    }
}


/* whichever allocation fails, nothing is lost and nothing crashes */

static void
no_memory(void **state)
{
    int    i, rc;
    char   buf[256];

    static const char  text[] = "{\"b\":[1,\"\\u0041\\n\"],\"a\":{\"c\":2}}";

    (void) state;

    for (i = 0; i < 100; i++) {
        left = i;
        rc = canonical(text, buf);

        if (rc == RCACHE_OK) {
            break;
        }

        assert_int_equal(rc, RCACHE_ERROR);
    }

    assert_true(i > 3 && i < 100);

    for (i = 0; i < 100; i++) {
        left = i;
        rc = graphql("{\"query\":\"\\u007ba}\"}");

        if (rc == RCACHE_OK) {
            break;
        }

        assert_int_equal(rc, RCACHE_ERROR);
    }

    assert_true(i > 2 && i < 100);
}


/* members of an object, as "name kind value;" */

static char  told[512];


static int
tell(void *data, const rcache_str_t *name, int kind, const rcache_str_t *value)
{
    size_t  n;

    (void) data;

    n = strlen(told);

    snprintf(told + n, sizeof(told) - n, "%.*s%d%.*s;", (int) name->len,
             (const char *) name->data, kind, value ? (int) value->len : 0,
             value ? (const char *) value->data : "");

    return !(name->len == 4 && memcmp(name->data, "stop", 4) == 0);
}


static const char *
each(const char *text)
{
    int           rc;
    u_char       *p;
    rcache_str_t  s;

    p = unit_copy(text, strlen(text));
    s.data = p;
    s.len = strlen(text);

    told[0] = '\0';
    held = 0;

    rc = rcache_json_each(&s, &memory, tell, NULL);

    assert_int_equal(held, 0);

    free(p);

    if (rc == RCACHE_ERROR) {
        return "error";
    }

    return (rc == RCACHE_OK) ? told : "-";
}


static void
members(void **state)
{
    int  i;

    (void) state;

    left = -1;

    assert_string_equal(each("{}"), "");
    assert_string_equal(each("{\"a\":[\"x\",\"y\"],\"b\":true}"),
                        "a4x;a4y;b2;");
    assert_string_equal(each("{\"a\":[],\"b\":false,\"c\":\"s\"}"),
                        "b1;c3s;");
    assert_string_equal(each("{\"a\":[true,1,null,\"\"]}"),
                        "a0;a0;a0;a4;");
    assert_string_equal(each("{\"a\":1,\"b\":null,\"\":\"\\u0041\"}"),
                        "a0;b0;3A;");

    assert_string_equal(each(""), "-");
    assert_string_equal(each("[]"), "-");
    assert_string_equal(each("[\"a\"]"), "-");
    assert_string_equal(each("\"a\""), "-");
    assert_string_equal(each("true"), "-");
    assert_string_equal(each("1"), "-");
    assert_string_equal(each("{} {}"), "-");
    assert_string_equal(each("{\"a\":[\"x\"]"), "-");
    assert_string_equal(each("{\"a\":{}}"), "-");
    assert_string_equal(each("{\"a\":[{}]}"), "-");
    assert_string_equal(each("{\"a\":[[]]}"), "-");
    assert_string_equal(each("{\"stop\":true,\"b\":1}"), "-");
    assert_string_equal(each("{\"123456789012345678901234567890123456789012345"
                             "67890123456789012345\":1}"), "-");

    for (i = 0; i < 8; i++) {
        left = i;
        (void) each("{\"a\":[\"x\\n\",\"y\"]}");
    }

    left = -1;
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(well_formed),
        cmocka_unit_test(members),
        cmocka_unit_test(broken),
        cmocka_unit_test(depth),
        cmocka_unit_test(limit),
        cmocka_unit_test(canonical_forms),
        cmocka_unit_test(graphql_requests),
        cmocka_unit_test(no_memory)
    };

    return cmocka_run_group_tests_name("rcache_json", tests, NULL, NULL);
}
