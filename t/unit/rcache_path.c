
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_path.h"


static int
plain(const char *path)
{
    int            rc;
    u_char        *p;
    rcache_str_t   s;

    p = unit_copy(path, strlen(path));
    s.data = p;
    s.len = strlen(path);

    rc = rcache_path_plain(&s);

    free(p);

    return rc;
}


static int
exact(const char *path)
{
    int            rc;
    u_char        *p;
    rcache_str_t   s;

    p = unit_copy(path, strlen(path));
    s.data = p;
    s.len = strlen(path);

    rc = rcache_path_exact(&s);

    free(p);

    return rc;
}


static void
what_people_have(void **state)
{
    size_t  i;

    static const char  *paths[] = {
        "", "/", "/a", "/a/", "/a.b/c.d", "/.well-known/x", "/..a", "/a..",
        "/...", "/a%20b", "/caf%C3%A9", "/a;jsessionid=1", "/a;b/c;d",
        "/projects/group%2Fname", "/%25", "/100%", "/c%23", "/a//b", "/~x",
        "/.a", "/a.", "/a%2eb", "/a%", "/a%2", "/%", "*", "/a%3bb", "/*"
    };

    (void) state;

    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (!plain(paths[i])) {
            fail_msg("%s", paths[i]);
        }
    }
}


static void
what_may_be_another_path(void **state)
{
    size_t  i;

    static const char  *paths[] = {
        "/.", "/..", "/./a", "/../a", "/a/.", "/a/..", "/a/../b", "/a/./b",
        "/a/%2e%2e/b", "/a/%2E./b", "/a/.%2e", "/a/%2e", "/a/%252e%252e/b",
        "/a/%25%32e%2e/b", "/a%2f..%2fb", "/a/..%2fb", "/a%2F../b",
        "/a%252f..%252fb", "/a/..%5cb", "/a\\..\\b", "/a%5c..%5cb",
        "/a/..;/b", "/a/..;x=1/b", "/a/.;/b", "/a/..%3b/b", "/a/%2e%2e;/b",
        "/a/..%253b/b", "/a%00.css", "/a%0ab", "/a%250ab", "/a%7f", "/a%1f",
        "/a#b", "/#", "..", ".", "/a/..;"
    };

    (void) state;

    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (plain(paths[i])) {
            fail_msg("%s", paths[i]);
        }
    }
}


static void
decoded_paths(void **state)
{
    (void) state;

    assert_true(exact("/a/b"));
    assert_true(exact("/a%20b"));
    assert_true(exact("/%61%7E"));
    assert_true(exact("/caf%C3%A9"));
    assert_true(exact("/a;b"));
    assert_true(exact("/a%"));

    assert_false(exact("/a%2fb"));
    assert_false(exact("/a%3Fb"));
    assert_false(exact("/a%3bb"));
    assert_false(exact("/a%25b"));
    assert_false(exact("/a%26b"));
    assert_false(exact("/a//b"));
    assert_false(exact("//"));
    assert_true(exact("/"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_people_have),
        cmocka_unit_test(what_may_be_another_path),
        cmocka_unit_test(decoded_paths)
    };

    return cmocka_run_group_tests_name("rcache_path", tests, NULL, NULL);
}
