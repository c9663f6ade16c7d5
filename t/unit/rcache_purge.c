
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_purge.h"
#include "rcache_tags.h"


#define SETS  4


static rcache_purges_t *
table(void)
{
    rcache_purges_t  *p;

    p = malloc(rcache_purges_size(SETS));
    assert_non_null(p);

    rcache_purges_init(p, SETS);

    return p;
}


static rcache_purge_id_t
id(uint64_t ms, uint64_t seq)
{
    rcache_purge_id_t  i;

    i.ms = ms;
    i.seq = seq;

    return i;
}


static uint64_t
at(uint64_t ms)
{
    rcache_purge_id_t  i;

    i = id(ms, 0);

    return rcache_purge_position(&i);
}


static int
apply(rcache_purges_t *p, uint64_t ms, const char *name, const char *value)
{
    rcache_field_t     f;
    rcache_purge_id_t  i;

    f.name = unit_cstr(name);
    f.value = unit_cstr(value);
    i = id(ms, 0);

    return rcache_purges_apply(p, &i, &f, 1);
}


static void
soft(rcache_purges_t *p, uint64_t ms, const char *name, const char *value)
{
    rcache_field_t     f[2];
    rcache_purge_id_t  i;

    f[0].name = unit_str("soft");
    f[0].value = unit_str("1");
    f[1].name = unit_cstr(name);
    f[1].value = unit_cstr(value);
    i = id(ms, 0);

    assert_int_equal(rcache_purges_apply(p, &i, f, 2), RCACHE_OK);
}


/* -1: purged; otherwise the time of the soft purge, or 0 */

static int
look(rcache_purges_t *p, uint64_t ms, const char *key, const char *list)
{
    int                     rc;
    u_char                 *tags;
    uint64_t                position;
    rcache_str_t            s;
    rcache_tags_t           t;
    rcache_purge_subject_t  subject;

    t.n = 0;
    s = unit_cstr(list);
    assert_int_equal(rcache_tags_add(&t, &s), RCACHE_OK);

    tags = unit_copy(t.hash, t.n * RCACHE_TAG_SIZE);

    subject.position = at(ms);
    subject.key = unit_cstr(key);
    subject.tags.data = tags;
    subject.tags.len = t.n * RCACHE_TAG_SIZE;

    rc = rcache_purges_match(p, &subject, &position)
         ? -1 : (int) rcache_purge_time(position);

    free(tags);

    return rc;
}


static int
parse(rcache_purge_id_t *i, const char *s)
{
    int           rc;
    u_char       *copy;
    rcache_str_t  str;

    copy = unit_copy(s, strlen(s));
    str.data = copy;
    str.len = strlen(s);

    rc = rcache_purge_id(i, &str);

    free(copy);

    return rc;
}


static void
ids(void **state)
{
    size_t             n;
    rcache_purge_id_t  i, j;

    static const char  *bad[] = {
        "", "-", "1", "1-", "-1", "1-2-", "1-2 ", " 1-2", "a-1", "1-a",
        "18446744073709551616-0", "0-18446744073709551616", "1--2", "+1-2"
    };

    (void) state;

    assert_int_equal(parse(&i, "1700000000123-7"), RCACHE_OK);
    assert_true(i.ms == 1700000000123 && i.seq == 7);

    assert_int_equal(parse(&i, "18446744073709551615-18446744073709551615"),
                     RCACHE_OK);
    assert_true(i.ms == UINT64_MAX && i.seq == UINT64_MAX);

    for (n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
        assert_int_equal(parse(&i, bad[n]), RCACHE_ERROR);
    }

    i = id(2, 0);
    j = id(1, 9);
    assert_true(rcache_purge_id_later(&i, &j));
    assert_false(rcache_purge_id_later(&j, &i));
    assert_false(rcache_purge_id_later(&i, &i));
    j = id(2, 1);
    assert_true(rcache_purge_id_later(&j, &i));
}


/* ids that differ have positions that do, up to a million a millisecond */

static void
positions(void **state)
{
    rcache_purge_id_t  i, j;

    (void) state;

    i = id(5, 0);
    assert_true(rcache_purge_position(&i) == (uint64_t) 5 << 20);
    assert_true(rcache_purge_known(&i) == (uint64_t) 5 << 20);

    i = id(5, 1048575);
    j = id(5, 99999999);
    assert_true(rcache_purge_position(&i) == rcache_purge_position(&j));
    assert_true(rcache_purge_known(&j) < rcache_purge_position(&j));

    j = id(6, 0);
    assert_true(rcache_purge_position(&i) < rcache_purge_position(&j));

    i = id(UINT64_MAX, 0);
    assert_true(rcache_purge_position(&i) == UINT64_MAX);
    assert_true(rcache_purge_known(&i) == UINT64_MAX - 1);
}


static void
kinds(void **state)
{
    rcache_purges_t  *p;

    (void) state;

    p = table();
    assert_int_equal(look(p, 0, "/a/1", "x y"), 0);

    assert_int_equal(apply(p, 10, "tag", "x"), RCACHE_OK);
    assert_int_equal(look(p, 9, "/a/1", "x y"), -1);
    assert_int_equal(look(p, 9, "/a/1", "y x"), -1);
    assert_int_equal(look(p, 10, "/a/1", "x y"), 0);
    assert_int_equal(look(p, 11, "/a/1", "x y"), 0);
    assert_int_equal(look(p, 0, "/a/1", "y"), 0);
    assert_int_equal(look(p, 0, "x", ""), 0);

    assert_int_equal(apply(p, 20, "key", "/a/1"), RCACHE_OK);
    assert_int_equal(look(p, 19, "/a/1", "y"), -1);
    assert_int_equal(look(p, 19, "/a/12", "y"), 0);
    assert_int_equal(look(p, 20, "/a/1", "y"), 0);

    assert_int_equal(apply(p, 30, "prefix", "/b/"), RCACHE_OK);
    assert_int_equal(apply(p, 31, "Prefix", "/b/c/"), RCACHE_OK);
    assert_int_equal(look(p, 29, "/b/1", ""), -1);
    assert_int_equal(look(p, 29, "/b/", ""), -1);
    assert_int_equal(look(p, 29, "/b", ""), 0);
    assert_int_equal(look(p, 30, "/b/1", ""), 0);
    assert_int_equal(look(p, 30, "/b/c/1", ""), -1);
    assert_int_equal(look(p, 29, "/x/b/1", ""), 0);

    assert_int_equal(apply(p, 40, "all", "1"), RCACHE_OK);
    assert_int_equal(look(p, 39, "/c", ""), -1);
    assert_int_equal(look(p, 40, "/c", ""), 0);

    assert_int_equal(apply(p, 50, "prefix", ""), RCACHE_OK);
    assert_int_equal(look(p, 49, "/c", ""), -1);
    assert_int_equal(look(p, 50, "/c", ""), 0);

    assert_int_equal(apply(p, 60, "floor", "55-0"), RCACHE_OK);
    assert_int_equal(look(p, 54, "/c", ""), -1);
    assert_int_equal(look(p, 55, "/c", ""), 0);

    assert_int_equal(apply(p, 70, "floor", "nonsense"), RCACHE_OK);
    assert_int_equal(look(p, 69, "/c", ""), -1);

    assert_int_equal(apply(p, 75, "floor", "99999-0"), RCACHE_OK);
    assert_int_equal(look(p, 74, "/c", ""), -1);
    assert_int_equal(look(p, 75, "/c", ""), 0);

    assert_int_equal(apply(p, 80, "whatever", "x"), RCACHE_DECLINED);
    assert_int_equal(look(p, 79, "/c", ""), 0);

    free(p);
}


static void
softly(void **state)
{
    rcache_purges_t  *p;

    (void) state;

    p = table();

    soft(p, 10, "tag", "x");
    assert_int_equal(look(p, 9, "/a", "x"), 10);
    assert_int_equal(look(p, 10, "/a", "x"), 0);

    soft(p, 12, "key", "/a");
    soft(p, 11, "prefix", "/");
    assert_int_equal(look(p, 9, "/a", "x"), 12);

    soft(p, 13, "all", "1");
    assert_int_equal(look(p, 9, "/a", "x"), 13);
    assert_int_equal(look(p, 12, "/b", ""), 13);

    apply(p, 5, "tag", "x");
    assert_int_equal(look(p, 9, "/a", "x"), 13);
    assert_int_equal(look(p, 4, "/a", "x"), -1);

    free(p);
}


/* what has no room any more is not forgotten */

static void
full(void **state)
{
    int               i;
    char              s[32];
    rcache_purges_t  *p;

    (void) state;

    p = table();

    for (i = 1; i <= 1000; i++) {
        snprintf(s, sizeof(s), "t%d", i);
        apply(p, i, "tag", s);
    }

    for (i = 1; i <= 1000; i++) {
        snprintf(s, sizeof(s), "t%d", i);
        assert_int_equal(look(p, i - 1, "/", s), -1);
    }

    /* what is new is not hit by what is old */

    assert_int_equal(look(p, 999, "/", "t5"), 0);
    assert_int_equal(look(p, 1000, "/", "t1000"), 0);

    free(p);

    p = table();

    for (i = 1; i <= 100; i++) {
        memset(s, 0, sizeof(s));
        snprintf(s, sizeof(s), "/%.*s", i % 31,
                 "abcdefghijklmnopqrstuvwxyzabcdefgh");
        apply(p, i, "prefix", s);
        assert_int_equal(look(p, i - 1, "/abcdefghijklmnopqrstuvwxyzabcdefgh",
                              ""), -1);
    }

    free(p);

    p = table();

    for (i = 1; i <= 60; i++) {
        char  prefix[64];

        memset(prefix, 'x', i);
        prefix[i] = '\0';
        apply(p, i, "prefix", prefix);

        memset(prefix, 'x', 63);
        prefix[63] = '\0';
        assert_int_equal(look(p, i - 1, prefix, ""), -1);
        assert_int_equal(look(p, i, prefix, ""), 0);
    }

    free(p);
}


static void
known(void **state)
{
    rcache_purges_t    *p;
    rcache_purge_id_t   i;

    (void) state;

    p = table();
    assert_true(rcache_purges_known(p) == 0);

    i = id(10, 3);
    rcache_purges_reached(p, &i);
    assert_true(rcache_purges_known(p) == rcache_purge_position(&i));

    i = id(9, 4);
    rcache_purges_reached(p, &i);
    assert_true(p->id.ms == 10 && p->id.seq == 3);

    /* so many records at once: none of them may be missed */

    i = id(11, 2000000);
    rcache_purges_reached(p, &i);
    assert_true(rcache_purges_known(p) < rcache_purge_position(&i));

    free(p);
}


static void
regex(void **state)
{
    int                i;
    rcache_field_t     f[3];
    rcache_purges_t   *p;
    rcache_purge_id_t  n;

    (void) state;

    p = table();

    assert_int_equal(apply(p, 5, "regex", "^/a"), RCACHE_OK);
    assert_int_equal(p->patterns.pattern[0].state, RCACHE_PATTERN_ACTIVE);
    assert_int_equal(p->patterns.pattern[0].soft, 0);
    assert_int_equal(look(p, 4, "/a", ""), 0);

    soft(p, 6, "regex", "^/b");
    assert_int_equal(p->patterns.pattern[1].soft, 1);

    assert_int_equal(apply(p, 7, "regex", ""), RCACHE_DECLINED);
    assert_int_equal(apply(p, 7, "done", "x"), RCACHE_DECLINED);
    assert_int_equal(apply(p, 7, "stop", "5"), RCACHE_DECLINED);
    assert_int_equal(rcache_patterns_active(&p->patterns), 2);

    assert_int_equal(apply(p, 7, "stop", "6-0"), RCACHE_OK);
    assert_int_equal(p->patterns.pattern[1].state, RCACHE_PATTERN_STOPPED);

    f[0].name = unit_str("done");
    f[0].value = unit_str("5-0");
    f[1].name = unit_str("purged");
    f[1].value = unit_str("123");
    n = id(8, 0);

    assert_int_equal(rcache_purges_apply(p, &n, f, 2), RCACHE_OK);
    assert_int_equal(p->patterns.pattern[0].state, RCACHE_PATTERN_DONE);
    assert_int_equal(p->patterns.pattern[0].purged, 123);

    /* without room: everything */

    for (i = 0; i < RCACHE_PATTERNS; i++) {
        assert_int_equal(apply(p, 10 + i, "regex", "^/c"), RCACHE_OK);
    }

    assert_int_equal(rcache_patterns_active(&p->patterns), RCACHE_PATTERNS);

    assert_int_equal(look(p, 9, "/x", ""), 0);
    soft(p, 40, "regex", "^/d");
    assert_int_equal(look(p, 39, "/x", ""), 40);
    assert_int_equal(apply(p, 41, "regex", "^/e"), RCACHE_OK);
    assert_int_equal(look(p, 40, "/x", ""), -1);
    assert_int_equal(look(p, 41, "/x", ""), 0);

    free(p);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(ids),
        cmocka_unit_test(positions),
        cmocka_unit_test(kinds),
        cmocka_unit_test(softly),
        cmocka_unit_test(full),
        cmocka_unit_test(regex),
        cmocka_unit_test(known)
    };

    return cmocka_run_group_tests_name("rcache_purge", tests, NULL, NULL);
}
