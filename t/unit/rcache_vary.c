
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_vary.h"


static rcache_variant_t  variant;


static rcache_vary_t
vary(const char *a, const char *b)
{
    rcache_vary_t  v;

    rcache_vary_init(&v);
    rcache_vary_add(&v, &unit_cstr(a));

    if (b) {
        rcache_vary_add(&v, &unit_cstr(b));
    }

    return v;
}


#define assert_names(v, expected)                                             \
    do {                                                                      \
        rcache_str_t  names;                                                  \
                                                                              \
        names.len = (v).len;                                                  \
        names.data = (v).text;                                                \
                                                                              \
        unit_assert_str(names, expected);                                     \
        assert_int_equal((v).star + (v).overflow + (v).malformed, 0);         \
        assert_int_equal(rcache_vary_valid(&names), (v).len != 0);            \
    } while (0)


/*
 * The text for the names and up to two header lines, "name: value"; "=" says
 * that it is not a text but a digest.
 */

static const char *
text(const char *names, const char *a, const char *b)
{
    int             i, n;
    const char     *line, *colon;
    rcache_str_t    s;
    rcache_field_t  fields[2];

    static char     buf[RCACHE_VARIANT_SIZE + 1];

    n = 0;

    for (i = 0; i < 2; i++) {
        line = i ? b : a;

        if (line == NULL) {
            continue;
        }

        colon = strchr(line, ':');
        assert_non_null(colon);

        fields[n].name.data = (u_char *) line;
        fields[n].name.len = colon - line;
        fields[n].value = unit_cstr(colon + 1);
        n++;
    }

    s = unit_cstr(names);

    assert_int_equal(rcache_variant(&variant, &s, fields, n), RCACHE_OK);
    assert_true(variant.len <= RCACHE_VARIANT_SIZE);

    memcpy(buf, variant.text, variant.len);
    buf[variant.len] = '\0';

    return buf;
}


#define assert_encoding(value, expected)                                      \
    assert_string_equal(text("accept-encoding", "Accept-Encoding:" value,     \
                             NULL),                                           \
                        "accept-encoding:" expected "\n")

#define assert_language(value, expected)                                      \
    assert_string_equal(text("accept-language", "Accept-Language:" value,     \
                             NULL),                                           \
                        "accept-language:" expected "\n")


static void
rfc9110_12_5_5_names(void **state)
{
    rcache_vary_t  v;

    (void) state;

    v = vary("Foo", NULL);
    assert_names(v, "foo");

    v = vary("foo , BAR,,\tbaz ", "Foo, x");
    assert_names(v, "bar,baz,foo,x");
    assert_int_equal(v.n, 4);

    v = vary("a, ab, abc, b", "abc, ab, a");
    assert_names(v, "a,ab,abc,b");

    v = vary("b", "a");
    assert_names(v, "a,b");

    v = vary("", " , ,");
    assert_names(v, "");
    assert_false(rcache_vary_set(&v));
}


static void
rfc9110_12_5_5_star(void **state)
{
    size_t         i;
    rcache_vary_t  v;

    static const char  *stars[][2] = {
        { "*", NULL }, { "*, *", NULL }, { "*", "*" }, { ", *", NULL },
        { "", "*" }, { "*, Foo", NULL }, { "Foo, *", NULL }, { "Foo", " *" },
        { "Foo,*,Bar", NULL }
    };

    (void) state;

    for (i = 0; i < sizeof(stars) / sizeof(stars[0]); i++) {
        v = vary(stars[i][0], stars[i][1]);
        assert_int_equal(v.star, 1);
        assert_true(rcache_vary_set(&v));
    }

    v = vary("a*", NULL);
    assert_int_equal(v.star, 0);
}


static void
not_names(void **state)
{
    rcache_vary_t  v;

    (void) state;

    v = vary("a b", NULL);
    assert_int_equal(v.malformed, 1);
    assert_true(rcache_vary_set(&v));

    v = vary("\"a\"", NULL);
    assert_int_equal(v.malformed, 1);

    v = vary("a;b", "c");
    assert_int_equal(v.malformed, 1);
}


static void
too_many_names_or_bytes(void **state)
{
    int            i;
    char           name[600];
    rcache_vary_t  v;

    (void) state;

    rcache_vary_init(&v);

    for (i = 0; i < RCACHE_VARY_NAMES; i++) {
        snprintf(name, sizeof(name), "h%d", 99 - i);
        rcache_vary_add(&v, &unit_cstr(name));
    }

    assert_int_equal(v.overflow, 0);

    rcache_vary_add(&v, &unit_str("h99"));
    assert_int_equal(v.overflow, 0);

    rcache_vary_add(&v, &unit_str("h0"));
    assert_int_equal(v.overflow, 1);

    memset(name, 'a', sizeof(name));
    name[RCACHE_VARY_SIZE] = '\0';

    v = vary(name, NULL);
    assert_int_equal(v.overflow, 0);
    assert_int_equal(v.len, RCACHE_VARY_SIZE);

    rcache_vary_add(&v, &unit_str("b"));
    assert_int_equal(v.overflow, 1);

    name[RCACHE_VARY_SIZE] = 'a';
    name[RCACHE_VARY_SIZE + 1] = '\0';

    v = vary(name, NULL);
    assert_int_equal(v.overflow, 1);
    assert_int_equal(v.len, 0);
}


static void
canonical_lists(void **state)
{
    size_t  i;

    static const char  *bad[] = {
        "", "A", "b,a", "a,a", "a,,b", ",a", "a,", "a b", "*", "a,*", "a, b",
        "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(rcache_vary_valid(&unit_cstr(bad[i])));
    }

    assert_true(rcache_vary_valid(&unit_str("a")));
    assert_true(rcache_vary_valid(&unit_str("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,"
                                            "p")));
}


static void
rfc9111_4_1_values(void **state)
{
    (void) state;

    assert_string_equal(text("bar,foo", "Foo:1", "Bar:abc"),
                        "bar:abc\nfoo:1\n");
    assert_string_equal(text("bar,foo", "Bar:abc", "Other:1"),
                        "bar:abc\nfoo\n");

    /* missing is not empty */

    assert_string_equal(text("foo", NULL, NULL), "foo\n");
    assert_string_equal(text("foo", "foo:", NULL), "foo:\n");

    /* lines and blanks */

    assert_string_equal(text("foo", "Foo:1", "foo:2"), "foo:1,2\n");
    assert_string_equal(text("foo", "Foo:1, 2", NULL), "foo:1,2\n");
    assert_string_equal(text("foo", "Foo: 1 \t,\t2 ", NULL), "foo:1,2\n");
    assert_string_equal(text("foo", "Foo:1  2", NULL), "foo:1  2\n");
    assert_string_equal(text("foo", "Foo:2,1", NULL), "foo:2,1\n");
    assert_string_equal(text("foo", "Foo:A", NULL), "foo:A\n");
    assert_string_equal(text("foo", "Foo:\"a , b\" , c", NULL),
                        "foo:\"a , b\",c\n");
    assert_string_equal(text("foo", "Foo:\"a\\\" , b\" , c", NULL),
                        "foo:\"a\\\" , b\",c\n");
    assert_string_equal(text("foo", "Foo:1 , ,2", NULL), "foo:1,,2\n");

    /* nothing passes for the end of a line */

    assert_string_equal(text("foo", "Foo:1\nbar:2", NULL),
                        "foo:1%0abar:2\n");
    assert_string_equal(text("foo", "Foo:1%0abar:2", NULL),
                        "foo:1%250abar:2\n");
}


static void
rfc9110_12_5_3_accept_encoding(void **state)
{
    (void) state;

    assert_encoding("gzip, br", "br,gzip");
    assert_encoding("br;q=0.9,GZIP", "br,gzip");
    assert_encoding("gzip , deflate,br ; q=1.000", "br,deflate,gzip");
    assert_encoding("x-gzip, gzip", "gzip");
    assert_encoding("identity", "");
    assert_encoding("", "");
    assert_encoding("gzip, identity;q=0.5", "gzip");
    assert_encoding("gzip;q=0", "");
    assert_encoding("gzip, br;q=0.0", "gzip");

    /* what may change the answer */

    assert_encoding("gzip, identity;q=0", "gzip,identity;q=0");
    assert_encoding("*", "*");
    assert_encoding("*, gzip;q=0", "*,gzip;q=0");
    assert_encoding("gzip, *;q=0", "gzip,*;q=0");
    assert_encoding("identity, *;q=0", "identity,*;q=0");
    assert_encoding("gzip;q=0, *;q=0", "*;q=0");

    /* not of that form: as it is */

    assert_encoding("gzip;q=2, br", "gzip;q=2,br");
    assert_encoding("gzip;q=1.5, br", "gzip;q=1.5,br");
    assert_encoding("gzip;level=1, br", "gzip;level=1,br");
    assert_encoding("gzip;q=0.1234, br", "gzip;q=0.1234,br");
    assert_encoding("gzip br", "gzip br");
    assert_encoding("gzip, gzip;q=0", "gzip,gzip;q=0");
    assert_encoding("\"gzip\"", "\"gzip\"");

    assert_string_equal(text("accept-encoding", "accept-encoding:gzip",
                             "Accept-Encoding: br"),
                        "accept-encoding:br,gzip\n");
    assert_string_equal(text("accept-encoding", NULL, NULL),
                        "accept-encoding\n");
}


static void
rfc9110_12_5_4_accept_language(void **state)
{
    (void) state;

    assert_language("en, de", "de,en");
    assert_language("de, en", "de,en");
    assert_language("eN, De", "de,en");
    assert_language(" en ,   de", "de,en");
    assert_language("fr;q=0.5, de;q=1.0", "de,fr;q=0.500");
    assert_language("de, fr;q=0.50", "de,fr;q=0.500");
    assert_language("de;q=0.5, fr", "fr,de;q=0.500");
    assert_language("de;q=0, *", "*,de;q=0.000");
    assert_language("en, en", "en");
    assert_language("en;a=b, de", "en;a=b,de");
    assert_language("", "");

    assert_string_equal(text("accept-language", "Accept-Language:en",
                             "Accept-Language:de"), "accept-language:de,en\n");
}


static void
more_members_than_are_sorted(void **state)
{
    int          i;
    static char  line[2048];

    (void) state;

    strcpy(line, "Accept-Encoding:");

    for (i = 0; i < 33; i++) {
        sprintf(line + strlen(line), "%sc%d", i ? ", " : "", 50 - i);
    }

    assert_int_equal(strncmp(text("accept-encoding", line, NULL),
                             "accept-encoding:c50,c49,", 24), 0);
}


static void
longer_than_fits(void **state)
{
    char         hash[RCACHE_VARIANT_HASH];
    size_t       len;
    static char  line[20000], other[RCACHE_VARIANT_SIZE + 1];

    (void) state;

    strcpy(line, "foo:");

    /* "foo:", the value and the LF */

    len = RCACHE_VARIANT_SIZE - 5;

    memset(line + 4, 'x', len);
    (void) text("foo", line, NULL);
    assert_int_equal(variant.len, RCACHE_VARIANT_SIZE);

    line[4 + len] = 'x';
    strcpy(other, text("foo", line, NULL));
    memcpy(hash, variant.hash, sizeof(hash));
    assert_int_equal(variant.len, 7 + 64);
    assert_int_equal(strncmp(other, "sha256:", 7), 0);

    /* each byte counts, however long it is */

    line[4] = 'y';
    assert_string_not_equal(text("foo", line, NULL), other);
    assert_memory_not_equal(variant.hash, hash, sizeof(hash));

    memset(line + 4, 'x', 19000);
    strcpy(other, text("foo", line, NULL));

    line[4 + 18999] = 'y';
    assert_string_not_equal(text("foo", line, NULL), other);

    line[4 + 18999] = 'x';
    line[4 + 9000] = 'y';
    assert_string_not_equal(text("foo", line, NULL), other);
}


/* the hash is in Redis keys: docs/storage-format.md */

static void
hash_is_the_start_of_sha256(void **state)
{
    (void) state;

    /* printf 'foo:1\n' | sha256sum */

    (void) text("foo", "Foo:1", NULL);
    assert_memory_equal(variant.hash, "757409e5f254dfe305a2486d386531ed",
                        RCACHE_VARIANT_HASH);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc9110_12_5_5_names),
        cmocka_unit_test(rfc9110_12_5_5_star),
        cmocka_unit_test(not_names),
        cmocka_unit_test(too_many_names_or_bytes),
        cmocka_unit_test(canonical_lists),
        cmocka_unit_test(rfc9111_4_1_values),
        cmocka_unit_test(rfc9110_12_5_3_accept_encoding),
        cmocka_unit_test(rfc9110_12_5_4_accept_language),
        cmocka_unit_test(more_members_than_are_sorted),
        cmocka_unit_test(longer_than_fits),
        cmocka_unit_test(hash_is_the_start_of_sha256)
    };

    return cmocka_run_group_tests_name("rcache_vary", tests, NULL, NULL);
}
