
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_parts.h"


static const char *
base(const char *text)
{
    u_char        *p, *dst, *end;
    size_t         n;
    rcache_str_t   s;

    static char    buf[64];

    p = unit_copy(text, strlen(text));
    s.data = p;
    s.len = strlen(text);

    n = rcache_parts_spaces(&s);

    dst = malloc(s.len + n ? s.len + n : 1);
    assert_non_null(dst);

    end = rcache_parts_base(dst, &s);
    assert_int_equal(end - dst, s.len + n);

    memcpy(buf, dst, s.len + n);
    buf[s.len + n] = '\0';

    free(p);
    free(dst);

    return buf;
}


static const char *
header(const char *name, const char *value)
{
    u_char        *dst, *end;
    size_t         room;
    rcache_str_t   n, v;

    static char    buf[512];

    n = unit_cstr(name);
    v = unit_cstr(value);

    room = n.len + RCACHE_PART_HEADER;

    dst = malloc(room);
    assert_non_null(dst);

    end = rcache_parts_header(dst, &n, &v);
    assert_non_null(end);
    assert_true((size_t) (end - dst) <= room);

    memcpy(buf, dst, end - dst);
    buf[end - dst] = '\0';

    free(dst);

    return buf;
}


static void
spaces_are_doubled(void **state)
{
    (void) state;

    assert_string_equal(base(""), "");
    assert_string_equal(base("http://a/b?c"), "http://a/b?c");
    assert_string_equal(base("a b"), "a  b");
    assert_string_equal(base(" a user=1 "), "  a  user=1  ");
}


static void
values(void **state)
{
    (void) state;

    assert_string_equal(header("x-host", "a.example"), " h:x-host=a.example");
    assert_string_equal(header("x-host", ""), " h:x-host=");
    assert_string_equal(header("a", "b c%20=d h:x=y"),
                        " h:a=b%20c%2520=d%20h:x=y");
}


static void
long_values(void **state)
{
    char  value[RCACHE_PART_READABLE + 2];

    (void) state;

    memset(value, 'v', sizeof(value));
    value[RCACHE_PART_READABLE] = '\0';

    assert_int_equal(strlen(header("a", value)),
                     sizeof(" h:a=") - 1 + RCACHE_PART_READABLE);

    value[RCACHE_PART_READABLE] = 'v';
    value[RCACHE_PART_READABLE + 1] = '\0';

    assert_string_equal(header("a", value),
                        " hash:a=0ee6e32cf821a84424583c89314d9058"
                        "4af607ef11899911dd8e89c2bde4325c");

    /* what it becomes counts */

    memset(value, ' ', 43);
    value[43] = '\0';

    assert_memory_equal(header("a", value), " hash:a=", 8);
    assert_memory_equal(header("a", value + 1), " h:a=%20%20", 11);
}


static void
bodies(void **state)
{
    u_char         buf[256], *end;
    rcache_str_t   method, type, encoding, text;

    (void) state;

    method = unit_str("POST");
    type = unit_str("text/plain");
    encoding = unit_str("");
    text = unit_str("q=1");

    end = rcache_parts_body(buf, &method, &type, &encoding, 0, &text);

    assert_non_null(end);
    assert_int_equal(end - buf, RCACHE_PART_BODY(4));
    assert_memory_equal(buf, " body:POST="
                        "a5899a6c3d4de18333c591d1b1ae9253"
                        "1eaa0f67e4ced2de0507656c19d5a887", end - buf);

    end = rcache_parts_body(buf + 128, &method, &type, &encoding, 1, &text);

    assert_non_null(end);
    assert_memory_not_equal(buf, buf + 128, RCACHE_PART_BODY(4));
}


static void
users(void **state)
{
    u_char         a[RCACHE_PART_USER], b[RCACHE_PART_USER];
    rcache_str_t   id, secret;

    (void) state;

    id = unit_str("alice");
    secret = unit_str("");

    assert_int_equal(rcache_parts_user(a, &id, &secret), RCACHE_OK);
    assert_memory_equal(a, "2bd806c97f0e00af1a1fc3328fa763a9", 32);

    secret = unit_str("pepper");

    assert_int_equal(rcache_parts_user(b, &id, &secret), RCACHE_OK);
    assert_memory_not_equal(a, b, 32);

    id = unit_str("bob");

    assert_int_equal(rcache_parts_user(a, &id, &secret), RCACHE_OK);
    assert_memory_not_equal(a, b, 32);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(spaces_are_doubled),
        cmocka_unit_test(values),
        cmocka_unit_test(long_values),
        cmocka_unit_test(bodies),
        cmocka_unit_test(users)
    };

    return cmocka_run_group_tests_name("rcache_parts", tests, NULL, NULL);
}
