
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_type.h"


static const char *
name(const char *text)
{
    size_t         n;
    u_char        *p, buf[RCACHE_TYPE_MAX];
    rcache_str_t   s;

    static char    out[RCACHE_TYPE_MAX + 1];

    p = unit_copy(text, strlen(text));
    s.data = p;
    s.len = strlen(text);

    n = rcache_type_name(buf, &s);

    memcpy(out, buf, n);
    out[n] = '\0';

    free(p);

    return out;
}


static void
names(void **state)
{
    char  text[RCACHE_TYPE_MAX + 2];

    (void) state;

    assert_string_equal(name("text/html"), "text/html");
    assert_string_equal(name(" Text/HTML ; charset=utf-8"), "text/html");
    assert_string_equal(name("text/html, text/plain"), "text/html");
    assert_string_equal(name("application/a+json;x"), "application/a+json");
    assert_string_equal(name(""), "");
    assert_string_equal(name("text"), "");
    assert_string_equal(name("text/\x01"), "");
    assert_string_equal(name("\"text/html\""), "");

    memset(text, 'a', sizeof(text));
    text[1] = '/';
    text[RCACHE_TYPE_MAX] = '\0';
    assert_string_equal(name(text), text);

    text[RCACHE_TYPE_MAX] = 'a';
    text[RCACHE_TYPE_MAX + 1] = '\0';
    assert_string_equal(name(text), "");
}


static int
json(const char *text)
{
    rcache_str_t  s;

    s = unit_cstr(text);

    return rcache_type_json(&s);
}


static void
json_types(void **state)
{
    (void) state;

    assert_true(json("application/json"));
    assert_true(json("application/JSON; charset=utf-8"));
    assert_true(json("application/problem+json"));
    assert_true(json("a/b+json ;c"));
    assert_false(json("application/jsonp"));
    assert_false(json("text/html"));
    assert_false(json(""));
    assert_false(json("json"));
    assert_false(json("application/json-seq"));
}


static int
contradicts(const char *path, const char *type)
{
    int            rc;
    u_char        *p;
    rcache_str_t   s, t;

    p = unit_copy(path, strlen(path));
    s.data = p;
    s.len = strlen(path);
    t = unit_cstr(type);

    rc = rcache_type_contradicts(&s, &t);

    free(p);

    return rc;
}


static void
deceptions(void **state)
{
    size_t  i;

    static const char  *paths[] = {
        "/account/x.css", "/account/x.CSS", "/account.css", "/a;x.css",
        "/a%3bx.css", "/a%0ax.css", "/a%3fx.css", "/a/x.css/", "/a/x%2ecss",
        "/a/x.c%73s", "/a%2fx.css", "/a\\x.css", "/a/x.css;v=1.2",
        "/a/x.css%23",
        "/x.js", "/x.png", "/x.jpg;a", "/x.woff2", "/x.mp4", "/x.pdf",
        "/x.zip", "/x.json", "/x.ico", "/x.tar.gz", "/x.txt", "/.css",
        "/a.html/x.css", "/x.html.css"
    };

    static const char  *innocent[] = {
        "", "/", "/account", "/account.html", "/a.php", "/a.css.html",
        "/a.css/b", "/jquery.js.html", "/john.doe@example.com", "/v1.2",
        "/a.unknown", "/acss", "/a.cssx", "/a.", "/.", "/css", "/a.md",
        "/a.css/b/"
    };

    (void) state;

    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (!contradicts(paths[i], "text/html")) {
            fail_msg("%s", paths[i]);
        }

        assert_false(contradicts(paths[i], ""));
        assert_false(contradicts(paths[i], "application/octet-stream"));
    }

    for (i = 0; i < sizeof(innocent) / sizeof(innocent[0]); i++) {
        if (contradicts(innocent[i], "text/html")) {
            fail_msg("%s", innocent[i]);
        }
    }

    assert_false(contradicts("/x.css", "text/css"));
    assert_false(contradicts("/x.js", "text/javascript"));
    assert_false(contradicts("/x.png", "image/webp"));
    assert_false(contradicts("/x.woff2", "font/woff2"));
    assert_false(contradicts("/x.json", "application/problem+json"));
    assert_true(contradicts("/x.css", "application/json"));
    assert_true(contradicts("/x.png", "application/json"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(json_types),
        cmocka_unit_test(deceptions)
    };

    return cmocka_run_group_tests_name("rcache_type", tests, NULL, NULL);
}
