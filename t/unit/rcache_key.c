
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_key.h"


/* the Redis key in static memory; fails if it is longer than promised */

static const char *
encode(const char *prefix, const void *key, size_t len)
{
    u_char        *p, *last, *k;
    size_t         size;
    rcache_str_t   pre, s;

    static char    buf[1024];

    pre = unit_cstr(prefix);

    size = rcache_key_size(pre.len);
    p = malloc(size);
    assert_non_null(p);

    k = unit_copy(key, len);
    s.data = k;
    s.len = len;

    last = rcache_key_encode(p, &pre, &s);

    assert_non_null(last);
    assert_true((size_t) (last - p) <= size);
    assert_true((size_t) (last - p) < sizeof(buf));

    memcpy(buf, p, last - p);
    buf[last - p] = '\0';

    free(k);
    free(p);

    return buf;
}


static void
readable(void **state)
{
    (void) state;

    assert_string_equal(encode("shop:", "https://a.example/p?q=1&r=%20", 29),
                        "shop:{https://a.example/p?q=1&r=%20}");
    assert_string_equal(encode("", "a", 1), "{a}");
}


static void
empty(void **state)
{
    rcache_str_t   nil;
    u_char         buf[rcache_key_size(0)];

    (void) state;

    assert_string_equal(encode("p:", "", 0), "p:{}");

    nil.len = 0;
    nil.data = NULL;

    assert_ptr_equal(rcache_key_encode(buf, &nil, &nil), buf + 2);
}


/* a brace would end the hash tag, and keys of one response would part */

static void
braces_are_encoded(void **state)
{
    (void) state;

    assert_string_equal(encode("p:", "}{a}", 4), "p:{%7D%7Ba%7D}");
}


static void
each_byte(void **state)
{
    int     c;
    char    expected[16];
    u_char  key;

    (void) state;

    for (c = 0; c < 256; c++) {
        key = (u_char) c;

        if (c > ' ' && c < 0x7f && c != '{' && c != '}') {
            snprintf(expected, sizeof(expected), "{%c}", c);

        } else {
            snprintf(expected, sizeof(expected), "{%%%02X}", c);
        }

        assert_string_equal(encode("", &key, 1), expected);
    }
}


/* the prefix is the user's: it may hold a hash tag of its own */

static void
prefix_is_written_as_it_is(void **state)
{
    (void) state;

    assert_string_equal(encode("{x} \xff", "a", 1), "{x} \xff{a}");
}


static void
longest_readable_key(void **state)
{
    char         key[RCACHE_KEY_READABLE + 1];
    const char  *s;

    (void) state;

    memset(key, 'a', sizeof(key));

    s = encode("", key, RCACHE_KEY_READABLE);
    assert_int_equal(strlen(s), RCACHE_KEY_READABLE + 2);
    assert_memory_equal(s + 1, key, RCACHE_KEY_READABLE);

    s = encode("", key, RCACHE_KEY_READABLE + 1);
    assert_string_equal(s, "{sha256:02425c0f5b0dabf3d2b9115f3f7723a02ad8bcfb"
                           "1534a0d231614fd42b8188f6}");
}


/* the limit is on what is written, not on what is given */

static void
encoded_length_counts(void **state)
{
    char         key[RCACHE_KEY_READABLE];
    size_t       i;
    const char  *s;

    (void) state;

    memset(key, '{', sizeof(key));

    /* 170 * 3 = 510 */

    s = encode("", key, 170);
    assert_int_equal(strlen(s), 512);
    assert_memory_equal(s, "{%7B", 4);

    /* and two bytes more that fit, but not the three of one that does not */

    key[170] = 'a';
    key[171] = 'b';

    s = encode("", key, 172);
    assert_int_equal(strlen(s), 514);
    assert_string_equal(s + 508, "%7Bab}");

    s = encode("", key + 1, 171);
    assert_int_equal(strlen(s), 511);

    key[171] = '}';

    s = encode("", key, 172);
    assert_memory_equal(s, "{sha256:", 8);
    assert_int_equal(strlen(s), 8 + 64 + 1);

    for (i = 8; i < 72; i++) {
        assert_true((s[i] >= '0' && s[i] <= '9')
                    || (s[i] >= 'a' && s[i] <= 'f'));
    }
}


/* other programs compute it: the digest is of the key as it is */

static void
digest_is_of_the_raw_key(void **state)
{
    char         key[600];
    const char  *s;

    (void) state;

    memset(key, ' ', sizeof(key));

    s = encode("shop:", key, sizeof(key));

    assert_string_equal(s, "shop:{sha256:c94bd24a5a491e04ffa4372e46ee97982a7b"
                           "a3aa268eda5ddc5077bca62670ee}");
}


static void
longest_key_and_long_prefix(void **state)
{
    char         prefix[201];
    u_char       key[RCACHE_KEY_MAX];
    size_t       i;
    const char  *s;

    (void) state;

    memset(prefix, 'p', 200);
    prefix[200] = '\0';

    for (i = 0; i < sizeof(key); i++) {
        key[i] = (u_char) i;
    }

    s = encode(prefix, key, sizeof(key));

    assert_memory_equal(s, prefix, 200);
    assert_memory_equal(s + 200, "{sha256:", 8);
    assert_int_equal(strlen(s), 200 + 8 + 64 + 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(readable),
        cmocka_unit_test(empty),
        cmocka_unit_test(braces_are_encoded),
        cmocka_unit_test(each_byte),
        cmocka_unit_test(prefix_is_written_as_it_is),
        cmocka_unit_test(longest_readable_key),
        cmocka_unit_test(encoded_length_counts),
        cmocka_unit_test(digest_is_of_the_raw_key),
        cmocka_unit_test(longest_key_and_long_prefix)
    };

    return cmocka_run_group_tests_name("rcache_key", tests, NULL, NULL);
}
