
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_private.h"


static const char *
cc(const char *text)
{
    u_char        *p, *dst, *end;
    rcache_str_t   s;

    static char    buf[128];

    p = unit_copy(text, strlen(text));
    s.data = p;
    s.len = strlen(text);

    dst = malloc(RCACHE_PRIVATE_SIZE(s.len));
    assert_non_null(dst);

    end = rcache_private_cc(dst, &s);
    assert_true((size_t) (end - dst) <= RCACHE_PRIVATE_SIZE(s.len));

    memcpy(buf, dst, end - dst);
    buf[end - dst] = '\0';

    free(p);
    free(dst);

    return buf;
}


static void
lines(void **state)
{
    (void) state;

    assert_string_equal(cc(""), "private");
    assert_string_equal(cc("max-age=60"), "private, max-age=60");
    assert_string_equal(cc("Public,s-maxage=5 , max-age=60"),
                        "private, s-maxage=5, max-age=60");
    assert_string_equal(cc("private"), "private");
    assert_string_equal(cc("private=\"a, public\", public"),
                        "private, private=\"a, public\"");
    assert_string_equal(cc(",, public ,"), "private");
    assert_string_equal(cc("a,b,c"), "private, a, b, c");
    assert_string_equal(cc("x=\"a, public"), "private, x=\"a, public");
    assert_string_equal(cc("x=\"a\\\", public\", b"),
                        "private, x=\"a\\\", public\", b");
    assert_string_equal(cc("x\\"), "private, x\\");
    assert_string_equal(cc("\"\\"), "private, \"\\");
}


static int
targeted(const char *name)
{
    rcache_str_t  s;

    s = unit_cstr(name);

    return rcache_private_targeted(&s);
}


static void
names(void **state)
{
    (void) state;

    assert_true(targeted("CDN-Cache-Control"));
    assert_true(targeted("cloudflare-cdn-cache-control"));
    assert_true(targeted("Surrogate-Control"));
    assert_false(targeted("Cache-Control"));
    assert_false(targeted("-Cache-Control"));
    assert_false(targeted("X-Cache"));
    assert_false(targeted(""));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(names)
    };

    return cmocka_run_group_tests_name("rcache_private", tests, NULL, NULL);
}
