
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What is in Redis may be anything: rcache_entry_decode() says what is wrong,
 * and reads no byte that is not there.
 */


#include "entry.h"


static void
cut_short_or_longer(void **state)
{
    u_char          *p, *longer;
    size_t           n, len;
    rcache_entry_t   e;

    (void) state;

    e = full();
    p = store(&e, &len);
    assert_int_equal(decode(p, len, KEY), RCACHE_OK);

    for (n = 0; n < len; n++) {
        assert_int_equal(decode(p, n, KEY), RCACHE_ENTRY_CORRUPT);
    }

    free(p);

    e = entry();
    p = store(&e, &len);

    for (n = 0; n < len; n++) {
        assert_int_equal(decode(p, n, KEY), RCACHE_ENTRY_CORRUPT);
    }

    longer = malloc(len + 1);
    assert_non_null(longer);
    memcpy(longer, p, len);
    longer[len] = 'x';

    assert_int_equal(decode(longer, len + 1, KEY), RCACHE_ENTRY_CORRUPT);
    assert_int_equal(rcache_entry_decode(&e, NULL, 0, &e.key),
                     RCACHE_ENTRY_CORRUPT);

    free(longer);
    free(p);
}


static void
every_bit_flipped(void **state)
{
    int              rc;
    u_char          *p;
    size_t           n, len;
    rcache_entry_t   e;

    (void) state;

    e = full();
    p = store(&e, &len);

    for (n = 0; n < len * 8; n++) {
        p[n / 8] ^= 1 << (n % 8);

        rc = decode(p, len, KEY);

        if (n / 8 == 3) {
            assert_int_equal(rc, RCACHE_ENTRY_VERSIONED);

        } else if (rc != RCACHE_ENTRY_CORRUPT) {
            fail_msg("bit %zu of byte %zu: %d", n % 8, n / 8, rc);
        }

        p[n / 8] ^= 1 << (n % 8);
    }

    assert_int_equal(decode(p, len, KEY), RCACHE_OK);

    free(p);
}


static void
other_version(void **state)
{
    u_char          *p;
    size_t           len;
    rcache_entry_t   e;

    (void) state;

    e = entry();
    p = store(&e, &len);

    p[3] = 3;
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_VERSIONED);

    /* the one before, with a fixed part of 88 bytes, is not read */

    p[3] = 1;
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_VERSIONED);
    assert_int_equal(rcache_entry_peek(&e, p, len), RCACHE_DECLINED);

    /* a later version may have a shorter fixed part */

    assert_int_equal(decode(p, 4, KEY), RCACHE_ENTRY_VERSIONED);

    p[3] = 0;
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_VERSIONED);

    p[0] = 'r';
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);

    free(p);
}


static void
other_key(void **state)
{
    u_char          *p;
    size_t           len;
    rcache_str_t     nul;
    rcache_entry_t   e, d;

    (void) state;

    e = entry();
    p = store(&e, &len);

    assert_int_equal(decode(p, len, "http://example.com/b"),
                     RCACHE_ENTRY_OTHER);
    assert_int_equal(decode(p, len, "http://example.com/"),
                     RCACHE_ENTRY_OTHER);
    assert_int_equal(decode(p, len, "http://example.com/aa"),
                     RCACHE_ENTRY_OTHER);
    assert_int_equal(decode(p, len, "HTTP://example.com/a"),
                     RCACHE_ENTRY_OTHER);
    assert_int_equal(decode(p, len, ""), RCACHE_ENTRY_OTHER);

    nul = unit_str(KEY "\0");
    assert_int_equal(rcache_entry_decode(&d, p, len, &nul),
                     RCACHE_ENTRY_OTHER);

    free(p);
}


static void
empty_key(void **state)
{
    u_char          *p;
    size_t           len;
    rcache_entry_t   e, d;

    (void) state;

    e = entry();
    e.key.len = 0;
    e.key.data = NULL;

    p = store(&e, &len);

    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_OTHER);

    free(p);
}


/* lengths that lie, with a checksum that is right */

static void
lengths_that_lie(void **state)
{
    u_char          *p;
    size_t           i, k, len, body;
    rcache_entry_t   e;

    static const struct {
        int  at;
        int  bytes;
    } lengths[] = {
        { 4, 2 }, { 40, 8 }, { 56, 4 }, { 60, 4 }
    };

    static const uint64_t  lies[] = {
        0, 1, 63, 65, 2000, 0x7fff, 0xffff, 0x7fffffff, 0x80000000,
        0xfffffffe, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000,
        0xfffffffffffffffe, 0xffffffffffffffff
    };

    (void) state;

    e = entry();
    p = store(&e, &len);
    body = rcache_entry_size(&e);

    for (i = 0; i < 4; i++) {

        for (k = 0; k < sizeof(lies) / sizeof(lies[0]); k++) {
            put(p + lengths[i].at, lies[k], lengths[i].bytes);
            fix(p, body);

            assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);

            free(p);
            p = store(&e, &len);
        }
    }

    free(p);
}


/*
 * The length of the body makes up for another one that is too long, as it
 * would if the sum of all wrapped around.
 */

static void
lengths_that_lie_and_wrap_around(void **state)
{
    u_char          *p;
    size_t           len;
    rcache_entry_t   e;

    (void) state;

    e = entry();

    p = store(&e, &len);
    put(p + 56, 0xffffffff, 4);
    put(p + 40, (uint64_t) len - 64 - 0xffffffff - e.head.len, 8);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);
    free(p);

    p = store(&e, &len);
    put(p + 60, RCACHE_HEAD_MAX, 4);
    put(p + 40, (uint64_t) len - 64 - e.key.len - RCACHE_HEAD_MAX, 8);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);
    free(p);

    p = store(&e, &len);
    put(p + 4, 0xffff, 2);
    put(p + 40, (uint64_t) len - 0xffff - e.key.len - e.head.len, 8);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);
    free(p);
}


/* a border between two parts is moved: all lengths still add up */

static void
lengths_that_lie_and_add_up(void **state)
{
    u_char          *p;
    size_t           len;
    rcache_entry_t   e;

    (void) state;

    e = entry();

    p = store(&e, &len);
    put(p + 56, e.key.len - 1, 4);
    put(p + 60, e.head.len + 1, 4);
    fix(p, rcache_entry_size(&e));
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);
    free(p);

    p = store(&e, &len);
    put(p + 60, e.head.len - 1, 4);
    put(p + 40, e.body.len + 1, 8);
    fix(p, rcache_entry_size(&e) - 1);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);
    free(p);
}


static void
head_is_bounded(void **state)
{
    u_char          *p, *big;
    size_t           len;
    rcache_entry_t   e;

    (void) state;

    e = entry();
    big = malloc(RCACHE_HEAD_MAX + 1);
    assert_non_null(big);
    memset(big, 'h', RCACHE_HEAD_MAX + 1);
    memcpy(big, HEAD, sizeof(HEAD) - 1);

    e.head.data = big;
    e.head.len = RCACHE_HEAD_MAX + 1;
    p = store(&e, &len);

    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);

    free(p);

    e.head.len = RCACHE_HEAD_MAX;
    p = store(&e, &len);

    assert_int_equal(decode(p, len, KEY), RCACHE_OK);

    free(p);
    free(big);
}


/* no checksum covers the status: it must be that of the head */

static void
status_is_that_of_the_head(void **state)
{
    u_char          *p;
    size_t           i, len;
    rcache_entry_t   e;

    static const char  *heads[] = {
        "", "H", "HTTP/1.1 20", "HTTP/1.1 201 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 2", "HTTP/1.1 1:0 OK\r\n\r\n",
        "HTTP/1.1  200\r\n\r\n"
    };

    (void) state;

    e = entry();

    for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        e.head = unit_cstr(heads[i]);
        p = store(&e, &len);

        assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);

        free(p);
    }
}


static void
values_out_of_range(void **state)
{
    u_char          *p;
    size_t           i, len, body;
    rcache_entry_t   e;

    static const struct {
        int       at;
        int       bytes;
        uint64_t  value;
    } bad[] = {
        { 6, 2, 0 },                             /* status */
        { 6, 2, 199 },
        { 6, 2, 600 },
        { 6, 2, 65535 },
        { 24, 8, 0x8000000000000000 },           /* created */
        { 24, 8, 0xffffffffffffffff },
        { 48, 4, RCACHE_ENTRY_VARIES             /* a marker with a head */
                 |RCACHE_ENTRY_VARY },
        { 68, 4, 1 },                            /* names: "H" */
        { 72, 4, 1 },                            /* a variant of nothing */
        { 68, 4, 0xffffffff },
        { 72, 4, 0xffffffff }
    };

    (void) state;

    e = entry();
    e.generation = 1;
    body = rcache_entry_size(&e);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        p = store(&e, &len);

        assert_int_equal(decode(p, len, KEY), RCACHE_OK);

        put(p + bad[i].at, bad[i].value, bad[i].bytes);
        fix(p, body);

        assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);

        free(p);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(cut_short_or_longer),
        cmocka_unit_test(every_bit_flipped),
        cmocka_unit_test(other_version),
        cmocka_unit_test(other_key),
        cmocka_unit_test(empty_key),
        cmocka_unit_test(lengths_that_lie),
        cmocka_unit_test(lengths_that_lie_and_wrap_around),
        cmocka_unit_test(lengths_that_lie_and_add_up),
        cmocka_unit_test(head_is_bounded),
        cmocka_unit_test(status_is_that_of_the_head),
        cmocka_unit_test(values_out_of_range)
    };

    return cmocka_run_group_tests_name("rcache_entry_hostile", tests, NULL,
                                       NULL);
}
