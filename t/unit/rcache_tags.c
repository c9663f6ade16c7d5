
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_tags.h"


/* the tags with "|" between them, "-" at the end if one is too long */

static const char *
split(const char *s)
{
    int           rc;
    char         *p;
    u_char        buf[RCACHE_TAG_MAX], *copy;
    size_t        len;
    rcache_str_t  list, tag;

    static char   out[4096];

    len = strlen(s);
    copy = unit_copy(s, len);

    list.data = copy;
    list.len = len;

    p = out;

    while ((rc = rcache_tags_next(&list, buf, &tag)) == RCACHE_OK) {
        assert_true(tag.len > 0 && tag.len <= RCACHE_TAG_MAX);

        if (p != out) {
            *p++ = '|';
        }

        memcpy(p, tag.data, tag.len);
        p += tag.len;
    }

    if (rc == RCACHE_DECLINED) {
        *p++ = '-';

    } else {
        assert_int_equal(rc, RCACHE_DONE);
    }

    *p = '\0';

    free(copy);

    return out;
}


static void
separators(void **state)
{
    (void) state;

    assert_string_equal(split(""), "");
    assert_string_equal(split("a"), "a");
    assert_string_equal(split("a,b"), "a|b");
    assert_string_equal(split("a b"), "a|b");
    assert_string_equal(split("a, b"), "a|b");
    assert_string_equal(split(" ,\ta\t,, b , "), "a|b");
    assert_string_equal(split("product-42;x a=b/c"), "product-42;x|a=b/c");
    assert_string_equal(split("\xc3\xa4"), "\xc3\xa4");
}


/* RFC 9875: a list of strings */

static void
quoted(void **state)
{
    (void) state;

    assert_string_equal(split("\"a\", \"b\""), "a|b");
    assert_string_equal(split("\"a b\" \"c,d\""), "a b|c,d");
    assert_string_equal(split("\"a\\\"b\\\\c\""), "a\"b\\c");
    assert_string_equal(split("\"a\";x=1, b"), "a|b");
    assert_string_equal(split("\"a"), "a");
    assert_string_equal(split("\"a\\"), "a\\");
    assert_string_equal(split("\"\", a"), "a");
    assert_string_equal(split("\""), "");
    assert_string_equal(split("a\"b c"), "a\"b|c");
}


static void
too_long(void **state)
{
    char  s[RCACHE_TAG_MAX + 4];

    (void) state;

    memset(s, 'x', sizeof(s));

    s[RCACHE_TAG_MAX] = '\0';
    assert_string_equal(split(s), s);

    s[RCACHE_TAG_MAX] = 'x';
    s[RCACHE_TAG_MAX + 1] = '\0';
    assert_string_equal(split(s), "-");

    s[0] = '"';
    assert_int_equal(strlen(split(s)), RCACHE_TAG_MAX);

    s[RCACHE_TAG_MAX + 1] = 'x';
    s[RCACHE_TAG_MAX + 2] = '\0';
    assert_string_equal(split(s), "-");
}


/* what is too long is taken off the list as well: its caller may go on */

static void
too_long_and_more(void **state)
{
    char          s[2 * RCACHE_TAG_MAX];
    u_char        buf[RCACHE_TAG_MAX];
    rcache_str_t  list, tag;

    (void) state;

    memset(s, 'x', sizeof(s));
    s[0] = '"';
    s[sizeof(s) - 4] = '"';
    s[sizeof(s) - 3] = ',';
    s[sizeof(s) - 2] = 'a';
    s[sizeof(s) - 1] = '\0';

    list = unit_cstr(s);
    assert_int_equal(rcache_tags_next(&list, buf, &tag), RCACHE_DECLINED);
    assert_int_equal(rcache_tags_next(&list, buf, &tag), RCACHE_OK);
    unit_assert_str(tag, "a");
    assert_int_equal(rcache_tags_next(&list, buf, &tag), RCACHE_DONE);

    memset(s, 'x', sizeof(s));
    s[sizeof(s) - 3] = ',';
    s[sizeof(s) - 2] = 'a';
    s[sizeof(s) - 1] = '\0';

    list = unit_cstr(s);
    assert_int_equal(rcache_tags_next(&list, buf, &tag), RCACHE_DECLINED);
    assert_int_equal(rcache_tags_next(&list, buf, &tag), RCACHE_OK);
    unit_assert_str(tag, "a");
}


static void
hashes(void **state)
{
    int            i;
    char           s[16];
    rcache_str_t   list;
    rcache_tags_t  tags, other;

    (void) state;

    tags.n = 0;
    list = unit_str("a b, a \"b\"");
    assert_int_equal(rcache_tags_add(&tags, &list), RCACHE_OK);
    assert_int_equal(tags.n, 2);

    /* XXH3-64 of "a" with the seed 0 */

    assert_memory_equal(tags.hash, "\x1f\x4e\x96\x1e\xb6\x32\xc6\xe6", 8);

    other.n = 0;
    list = unit_str("b");
    assert_int_equal(rcache_tags_add(&other, &list), RCACHE_OK);
    assert_memory_equal(other.hash, tags.hash + RCACHE_TAG_SIZE,
                        RCACHE_TAG_SIZE);

    tags.n = 0;

    for (i = 0; i < RCACHE_TAGS_MAX; i++) {
        snprintf(s, sizeof(s), "t%d", i);
        list = unit_cstr(s);
        assert_int_equal(rcache_tags_add(&tags, &list), RCACHE_OK);
    }

    list = unit_str("t0");
    assert_int_equal(rcache_tags_add(&tags, &list), RCACHE_OK);

    list = unit_str("another");
    assert_int_equal(rcache_tags_add(&tags, &list), RCACHE_DECLINED);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(separators),
        cmocka_unit_test(quoted),
        cmocka_unit_test(too_long),
        cmocka_unit_test(too_long_and_more),
        cmocka_unit_test(hashes)
    };

    return cmocka_run_group_tests_name("rcache_tags", tests, NULL, NULL);
}
