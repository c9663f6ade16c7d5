
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_uri.h"


/* the resolved URI in static memory, "-" if it is declined */

static const char *
resolve_bytes(const void *b, size_t blen, const void *r, size_t rlen)
{
    int            rc;
    u_char        *dst, *own, *given;
    size_t         len;
    rcache_str_t   base, ref;

    static char    buf[1024];

    own = unit_copy(b, blen);
    given = unit_copy(r, rlen);

    base.len = blen;
    base.data = own;
    ref.len = rlen;
    ref.data = given;

    dst = malloc(rcache_uri_size(&base, &ref));
    assert_non_null(dst);

    len = 0;
    rc = rcache_uri_resolve(dst, &len, &base, &ref);

    if (rc == RCACHE_OK) {
        assert_true(len <= rcache_uri_size(&base, &ref));
        assert_true(len < sizeof(buf));

        memcpy(buf, dst, len);
        buf[len] = '\0';

    } else {
        assert_int_equal(rc, RCACHE_DECLINED);

        strcpy(buf, "-");
    }

    free(dst);
    free(own);
    free(given);

    return buf;
}


static const char *
resolve(const char *base, const char *ref)
{
    return resolve_bytes(base, strlen(base), ref, strlen(ref));
}


/* RFC 3986, 5.2.2: the reference has an absolute path */

static void
absolute_path(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example/x/y?z", "/b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example/", "/"),
                        "http://a.example/");
    assert_string_equal(resolve("http://a.example/", "/b/c?d=/e&f=//g"),
                        "http://a.example/b/c?d=/e&f=//g");
    assert_string_equal(resolve("http://a.example/x", "/a//b"),
                        "http://a.example/a//b");
    assert_string_equal(resolve("https://a.example/x", "/b"),
                        "https://a.example/b");
    assert_string_equal(resolve("http://a.example/x", "/b:c"),
                        "http://a.example/b:c");
    assert_string_equal(resolve("http://a.example/x", "/http://b.example/"),
                        "http://a.example/http://b.example/");
}


/* RFC 3986, 5.2.3 */

static void
relative_path(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example/x", "b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example/x/y", "b"),
                        "http://a.example/x/b");
    assert_string_equal(resolve("http://a.example/x/", "b/c?d"),
                        "http://a.example/x/b/c?d");
    assert_string_equal(resolve("http://a.example/x?y=/z/", "b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example/x", "b?c=d:e"),
                        "http://a.example/b?c=d:e");
    assert_string_equal(resolve("http://a.example/x", "b/c:d"),
                        "http://a.example/b/c:d");
}


/* the base has an authority and an empty path: "/" and the reference */

static void
base_without_path(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example", "b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example?x=/y", "b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example", "/b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example?x", "//a.example?y"),
                        "http://a.example/?y");
}


/* RFC 9110, 4.2.3: scheme and host in any case; the key has lower case */

static void
absolute_uri(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example/x", "http://a.example/b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example/x", "HTTP://A.Example/B"),
                        "http://a.example/B");
    assert_string_equal(resolve("http://a.example/x", "//a.example/b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://[::1]/x", "http://[::1]/b"),
                        "http://[::1]/b");
    assert_string_equal(resolve("http://[::1]/x", "http://[::1]:8080/b"),
                        "http://[::1]/b");
}


/* RFC 3986, 6.2.3: an empty path is "/" */

static void
empty_path(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example/x", "http://a.example"),
                        "http://a.example/");
    assert_string_equal(resolve("http://a.example/x", "http://a.example?y"),
                        "http://a.example/?y");
    assert_string_equal(resolve("http://a.example/x", "//a.example:80"),
                        "http://a.example/");
    assert_string_equal(resolve("http://a.example/x", "//a.example#f"),
                        "http://a.example/");
}


static void
ports_are_left_out(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example/x",
                                "http://a.example:80/b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example/x",
                                "http://a.example:8080/b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example/x", "http://a.example:/b"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example/x",
                                "http://a.example:8o/b"),
                        "-");
}


/* RFC 9111, 4.4: only for the same origin */

static void
other_origins(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example/x", "http://b.example/b"),
                        "-");
    assert_string_equal(resolve("http://a.example/x", "https://a.example/b"),
                        "-");
    assert_string_equal(resolve("https://a.example/x", "http://a.example/b"),
                        "-");
    assert_string_equal(resolve("http://a.example/x", "//b.example/b"), "-");
    assert_string_equal(resolve("http://a.example/x",
                                "http://a.example.org/b"),
                        "-");
    assert_string_equal(resolve("http://a.example/x", "http://a.exampl/b"),
                        "-");
    assert_string_equal(resolve("http://a.example/x",
                                "http://a.example@b.example/"),
                        "-");
    assert_string_equal(resolve("http://a.example/x",
                                "http://u@a.example/b"),
                        "-");
    assert_string_equal(resolve("http://a.example/x",
                                "http://a.example:80@b.example/"),
                        "-");
    assert_string_equal(resolve("http://a.example/x", "http://"), "-");
    assert_string_equal(resolve("http://a.example/x", "//"), "-");
    assert_string_equal(resolve("http://a.example/x", "///b"), "-");
}


/* RFC 3986, 4.2: a colon in the first segment ends a scheme */

static void
other_schemes(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example/x", "mailto:b@c.example"),
                        "-");
    assert_string_equal(resolve("http://a.example/x", "urn:b/c"), "-");
    assert_string_equal(resolve("http://a.example/x", "http:b"), "-");
    assert_string_equal(resolve("http://a.example/x", "http:/b"), "-");
    assert_string_equal(resolve("http://a.example/x", ":b"), "-");
}


static void
not_resolved(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example/x", ""), "-");
    assert_string_equal(resolve("http://a.example/x", "#f"), "-");
    assert_string_equal(resolve("http://a.example/x", "?y"), "-");
    assert_string_equal(resolve("http://a.example/x", "."), "-");
    assert_string_equal(resolve("http://a.example/x", ".."), "-");
    assert_string_equal(resolve("http://a.example/x", "../b"), "-");
    assert_string_equal(resolve("http://a.example/x", "/b/./c"), "-");
    assert_string_equal(resolve("http://a.example/x", "/b/.."), "-");
    assert_string_equal(resolve("http://a.example/x", "/b/..?c"), "-");
    assert_string_equal(resolve("http://a.example/x",
                                "http://a.example/../b"),
                        "-");
}


static void
not_dot_segments(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example/x", "/.b/..c/d../..."),
                        "http://a.example/.b/..c/d../...");
    assert_string_equal(resolve("http://a.example/x", "/b?c/../d"),
                        "http://a.example/b?c/../d");
    assert_string_equal(resolve("http://a.example/x", "/b#/../c"),
                        "http://a.example/b");
}


/* RFC 3986, 5.2.1: the fragment is not part of what is looked up */

static void
fragments(void **state)
{
    (void) state;

    assert_string_equal(resolve("http://a.example/x", "/b#c"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example/x", "/b?c#d?e#f"),
                        "http://a.example/b?c");
    assert_string_equal(resolve("http://a.example/x", "b#/c"),
                        "http://a.example/b");
    assert_string_equal(resolve("http://a.example/x#y/z", "b"),
                        "http://a.example/b");
}


/* HTTP/1.0 without Host, and a server without a name */

static void
empty_host(void **state)
{
    (void) state;

    assert_string_equal(resolve("http:///x/y", "/b"), "http:///b");
    assert_string_equal(resolve("http:///x/y", "b"), "http:///x/b");
    assert_string_equal(resolve("http:///x/y", "http:///b"), "http:///b");
    assert_string_equal(resolve("http:///x/y", "http://?b"), "http:///?b");
    assert_string_equal(resolve("http:///x/y", "//b"), "-");
}


/* a key that is not the default one */

static void
base_is_no_uri(void **state)
{
    (void) state;

    assert_string_equal(resolve("", "/b"), "-");
    assert_string_equal(resolve("a.example/x", "/b"), "-");
    assert_string_equal(resolve("http:/a.example", "/b"), "-");
    assert_string_equal(resolve("://a.example/", "/b"), "-");
    assert_string_equal(resolve("http:", "/b"), "-");
    assert_string_equal(resolve("http:/", "b"), "-");
    assert_string_equal(resolve("/x", "/b"), "-");
    assert_string_equal(resolve("1http://a.example/", "/b"), "-");
}


static void
nil(void **state)
{
    size_t         len;
    u_char         dst[64];
    rcache_str_t   base, none;

    (void) state;

    base = unit_str("http://a.example/x");

    none.len = 0;
    none.data = NULL;

    assert_int_equal(rcache_uri_resolve(dst, &len, &base, &none),
                     RCACHE_DECLINED);
    assert_int_equal(rcache_uri_resolve(dst, &len, &none, &base),
                     RCACHE_DECLINED);
    assert_int_equal(rcache_uri_resolve(dst, &len, &none, &none),
                     RCACHE_DECLINED);
}


/* nothing behind the end of a string is looked at, NUL is a byte */

static void
exact_lengths(void **state)
{
    size_t       i;
    const char  *s;

    static const char  ref[] = "http://a.example:80/b/c?d#e";

    (void) state;

    for (i = 0; i < sizeof(ref); i++) {
        s = resolve_bytes("http://a.example/x", 18, ref, i);
        assert_true(s[0] == '-' || memcmp(s, "http://a.example/", 17) == 0);
    }

    for (i = 0; i < 18; i++) {
        (void) resolve_bytes("http://a.example/x", i, ref, sizeof(ref) - 1);
        (void) resolve_bytes("http://a.example/x", i, "b", 1);
        (void) resolve_bytes("http://a.example/x", i, "//a", 3);
    }

    s = resolve_bytes("http://a/x", 10, "/b\0c", 4);
    assert_memory_equal(s, "http://a/b\0c", 13);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(absolute_path),
        cmocka_unit_test(relative_path),
        cmocka_unit_test(base_without_path),
        cmocka_unit_test(absolute_uri),
        cmocka_unit_test(empty_path),
        cmocka_unit_test(ports_are_left_out),
        cmocka_unit_test(other_origins),
        cmocka_unit_test(other_schemes),
        cmocka_unit_test(not_resolved),
        cmocka_unit_test(not_dot_segments),
        cmocka_unit_test(fragments),
        cmocka_unit_test(empty_host),
        cmocka_unit_test(base_is_no_uri),
        cmocka_unit_test(nil),
        cmocka_unit_test(exact_lengths)
    };

    return cmocka_run_group_tests_name("rcache_uri", tests, NULL, NULL);
}
