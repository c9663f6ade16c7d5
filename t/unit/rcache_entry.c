
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "entry.h"


static void
round_trip(void **state)
{
    u_char          *p;
    size_t           len;
    rcache_entry_t   e, d;

    (void) state;

    e = entry();
    p = store(&e, &len);

    memset(&d, 0x5a, sizeof(d));

    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);

    assert_int_equal(d.created, e.created);
    assert_int_equal(d.lifetime, e.lifetime);
    assert_int_equal(d.body_sum, e.body_sum);
    assert_int_equal(d.body_len, e.body_len);
    assert_int_equal(d.age, e.age);
    assert_int_equal(d.fetch, e.fetch);
    assert_int_equal(d.flags, e.flags);
    assert_int_equal(d.status, e.status);
    unit_assert_str(d.key, KEY);
    unit_assert_str(d.head, HEAD);
    unit_assert_str(d.body, "hello, world");

    /* no copies: the strings are in what was given */

    assert_ptr_equal(d.key.data, p + RCACHE_ENTRY_FIXED);
    assert_ptr_equal(d.body.data + d.body.len, p + len);

    free(p);
}


static void
round_trip_of_extremes(void **state)
{
    u_char          *p, *big;
    size_t           len;
    rcache_entry_t   e, d;

    (void) state;

    e = entry();
    big = malloc(RCACHE_HEAD_MAX);
    assert_non_null(big);
    memset(big, 'h', RCACHE_HEAD_MAX);
    memcpy(big, "HTTP/1.1 599", 12);

    e.created = INT64_MAX;
    e.lifetime = INT64_MAX;
    e.age = UINT32_MAX;
    e.dated = INT32_MIN;
    e.fetch = UINT32_MAX;
    e.flags = UINT32_MAX & ~(uint32_t) (RCACHE_ENTRY_VARY
                                         |RCACHE_ENTRY_VARIES
                                         |RCACHE_ENTRY_STORED);
    e.stale_while_revalidate = UINT32_MAX;
    e.stale_if_error = UINT32_MAX;
    e.status = 599;
    e.head.data = big;
    e.head.len = RCACHE_HEAD_MAX;
    e.body.len = 0;
    e.body.data = NULL;
    e.body_len = 0;
    e.body_sum = rcache_sum(NULL, 0);

    p = store(&e, &len);

    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
    assert_int_equal(d.created, INT64_MAX);
    assert_int_equal(d.lifetime, INT64_MAX);
    assert_int_equal(d.age, UINT32_MAX);
    assert_int_equal(d.dated, INT32_MIN);
    assert_true(rcache_entry_date(&d) == INT64_MAX / 1000 - INT32_MIN);
    assert_int_equal(d.fetch, UINT32_MAX);
    assert_int_equal(d.flags, e.flags);
    assert_int_equal(d.stale_while_revalidate, UINT32_MAX);
    assert_int_equal(d.stale_if_error, UINT32_MAX);
    assert_int_equal(d.status, 599);
    assert_int_equal(d.head.len, RCACHE_HEAD_MAX);
    assert_int_equal(d.body.len, 0);

    free(p);
    free(big);
}


/* what was decoded once is not summed up again; all else is looked at */

static void
known(void **state)
{
    u_char          *p;
    size_t           len, n;
    rcache_str_t     other;
    rcache_entry_t   e, d, k;

    (void) state;

    e = entry();
    p = store(&e, &len);

    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
    assert_int_equal(rcache_entry_known(&k, p, len, &e.key), RCACHE_OK);

    assert_int_equal(k.created, d.created);
    assert_int_equal(k.lifetime, d.lifetime);
    assert_int_equal(k.body_sum, d.body_sum);
    assert_int_equal(k.flags, d.flags);
    assert_int_equal(k.status, d.status);
    assert_ptr_equal(k.head.data, d.head.data);
    assert_int_equal(k.head.len, d.head.len);
    assert_ptr_equal(k.body.data, d.body.data);
    assert_int_equal(k.body.len, d.body.len);

    for (n = 0; n < len; n++) {
        assert_int_not_equal(rcache_entry_known(&k, p, n, &e.key), RCACHE_OK);
    }

    other = unit_str("another");
    assert_int_equal(rcache_entry_known(&k, p, len, &other),
                     RCACHE_ENTRY_OTHER);

    p[len - 1] ^= 1;

    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key),
                     RCACHE_ENTRY_CORRUPT);
    assert_int_equal(rcache_entry_known(&k, p, len, &e.key), RCACHE_OK);

    free(p);
}


/* docs/storage-format.md, byte by byte: other programs rely on it */

static void
layout_is_the_public_contract(void **state)
{
    u_char          *p, *q;
    u_char           expected[512];
    size_t           len, body;
    rcache_entry_t   e;

    (void) state;

    /* the least that there can be */

    e = entry();
    p = store(&e, &len);

    body = 64 + sizeof(KEY) - 1 + sizeof(HEAD) - 1;

    memcpy(expected, "RPC\x02", 4);
    put(expected + 4, 64, 2);
    put(expected + 6, 200, 2);
    put(expected + 16, rcache_sum((u_char *) "hello, world", 12), 8);
    put(expected + 24, 1700000000123, 8);
    put(expected + 32, 60000, 8);
    put(expected + 40, 12, 8);
    put(expected + 48, 1, 4);
    put(expected + 52, 105, 4);
    put(expected + 56, sizeof(KEY) - 1, 4);
    put(expected + 60, sizeof(HEAD) - 1, 4);
    memcpy(expected + 64, KEY HEAD, sizeof(KEY HEAD) - 1);
    memcpy(expected + body, "hello, world", 12);
    fix(expected, body);

    assert_int_equal(len, body + 12);
    assert_memory_equal(p, expected, len);

    free(p);

    /* all of the blocks, and what is behind them */

    e = full();
    e.flags &= ~(uint32_t) RCACHE_ENTRY_SIGNED;
    p = store(&e, &len);

    put(expected + 4, 64 + 16 + 12 + 8 + 8 + 18 + 8, 2);
    put(expected + 48, 1 | 0x80 | 0x8000 | 0x10000 | 0x20000 | 0x0100 | 0x0200,
        4);

    q = expected + 64;
    put(q, RCACHE_CODING_GZIP, 8);
    put(q + 8, 1000, 8);
    put(q + 16, 0x01020304, 4);
    put(q + 20, 8, 4);
    put(q + 24, 11, 4);
    put(q + 28, 7, 4);
    put(q + 32, 0xfffffffd, 4);
    put(q + 36, 30, 4);
    put(q + 40, 86400, 4);
    memcpy(q + 44, "\2\0" "12345678abcdefgh"
                   "\x88\x77\x66\x55\x44\x33\x22\x11", 26);
    memcpy(q + 70, KEY "accept,b" "accept\nb:1\n" HEAD,
           sizeof(KEY "accept,b" "accept\nb:1\n" HEAD) - 1);

    body = 64 + 70 + sizeof(KEY "accept,b" "accept\nb:1\n" HEAD) - 1;
    assert_true(body + 12 <= sizeof(expected));
    memcpy(expected + body, "hello, world", 12);
    fix(expected, body);

    assert_int_equal(len, body + 12);
    assert_memory_equal(p, expected, len);

    free(p);
}


/* each block that encode finds a use for, there and not there */

static void
blocks_for_what_is_not_nothing(void **state)
{
    u_char          *p;
    size_t           len, least, more;
    unsigned         n, there;
    rcache_entry_t   e, d;

    static const struct {
        uint32_t  flag;
        size_t    size;
    } block[] = {
        { RCACHE_ENTRY_VARIES, 12 },       /* 0: with a generation alone */
        { RCACHE_ENTRY_VARIES, 12 + 2 },   /* 1: with names and a variant */
        { RCACHE_ENTRY_AGED, 8 },          /* 2, 3: each of its two */
        { RCACHE_ENTRY_AGED, 8 },
        { RCACHE_ENTRY_WINDOWS, 8 },       /* 4, 5: each of its two */
        { RCACHE_ENTRY_WINDOWS, 8 }
    };

    (void) state;

    e = entry();
    p = store(&e, &least);
    free(p);

    for (there = 0; there < 64; there++) {
        e = entry();

        /* what the flags say does not count, nor what they do not say */

        e.flags |= (there & 1) ? 0 : RCACHE_ENTRY_VARIES|RCACHE_ENTRY_AGED
                                     |RCACHE_ENTRY_WINDOWS;

        e.generation = (there & 1) ? 5 : 0;
        e.vary = (there & 2) ? unit_str("a") : unit_str("");
        e.variant = (there & 2) ? unit_str("\n") : unit_str("");
        e.age = (there & 4) ? 1 : 0;
        e.dated = (there & 8) ? -1 : 0;
        e.stale_while_revalidate = (there & 16) ? 1 : 0;
        e.stale_if_error = (there & 32) ? 1 : 0;

        p = store(&e, &len);

        for (more = 0, n = 0; n < 6; n++) {

            if (!(there & 1 << n)) {
                continue;
            }

            more += block[n].size;

            if (n % 2 && (there & 1 << (n - 1))) {

                /* the same block */

                more -= block[n - 1].size;
            }
        }

        assert_int_equal(len, least + more);

        memset(&d, 0x5a, sizeof(d));
        assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);

        for (n = 0; n < 6; n += 2) {
            assert_int_equal((d.flags & block[n].flag) != 0,
                             (there >> n & 3) != 0);
        }

        assert_int_equal(d.generation, e.generation);
        assert_int_equal(d.vary.len, e.vary.len);
        assert_int_equal(d.variant.len, e.variant.len);
        assert_int_equal(d.age, e.age);
        assert_int_equal(d.dated, e.dated);
        assert_int_equal(d.stale_while_revalidate, e.stale_while_revalidate);
        assert_int_equal(d.stale_if_error, e.stale_if_error);
        unit_assert_str(d.head, HEAD);
        unit_assert_str(d.body, "hello, world");

        free(p);
    }
}


/* others may write a block that says nothing */

static void
blocks_that_say_nothing(void **state)
{
    u_char          *p, *q;
    size_t           len, body;
    rcache_str_t     key;
    rcache_entry_t   e, d;

    (void) state;

    e = entry();
    key = e.key;
    p = store(&e, &len);
    body = rcache_entry_size(&e) + 12 + 8 + 8;

    q = calloc(1, len + 12 + 8 + 8);
    assert_non_null(q);

    memcpy(q, p, 64);
    memcpy(q + 64 + 12 + 8 + 8, p + 64, len - 64);
    put(q + 4, 64 + 12 + 8 + 8, 2);
    put(q + 48, RCACHE_ENTRY_VARIES|RCACHE_ENTRY_AGED|RCACHE_ENTRY_WINDOWS, 4);
    fix(q, body);

    assert_int_equal(rcache_entry_decode(&d, q, len + 12 + 8 + 8, &key),
                     RCACHE_OK);
    assert_int_equal(d.age, 0);
    unit_assert_str(d.body, "hello, world");

    free(p);
    free(q);
}


/* a longer fixed part is from a later minor format: known fields are read */

static void
longer_fixed_part_is_skipped(void **state)
{
    u_char          *p, *q;
    size_t           len, body;
    rcache_str_t     key;
    rcache_entry_t   e, d;

    (void) state;

    e = entry();
    key = e.key;
    p = store(&e, &len);
    body = rcache_entry_size(&e) + 16;

    q = malloc(len + 16);
    assert_non_null(q);

    memcpy(q, p, 64);
    memset(q + 64, 0xee, 16);
    memcpy(q + 80, p + 64, len - 64);

    put(q + 4, 80, 2);
    fix(q, body);

    assert_int_equal(rcache_entry_decode(&d, q, len + 16, &key), RCACHE_OK);
    unit_assert_str(d.key, KEY);
    unit_assert_str(d.head, HEAD);
    unit_assert_str(d.body, "hello, world");

    free(p);
    free(q);
}


/* a response may be stale, by so much, when it comes */

static void
lifetime_that_is_not_positive(void **state)
{
    u_char          *p;
    size_t           len;
    rcache_entry_t   e, d;

    (void) state;

    e = entry();
    e.lifetime = -500000;
    e.stale_if_error = 600;

    p = store(&e, &len);

    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
    assert_int_equal(d.lifetime, -500000);

    free(p);
}


/* RFC 9111, 4.1: one key, several responses */

static void
rfc9111_4_1_marker_and_variants(void **state)
{
    u_char          *p;
    size_t           len;
    rcache_str_t     names, variant, none;
    rcache_entry_t   e, d;

    (void) state;

    names = unit_str("accept,x-a");
    variant = unit_str("accept:a\nx-a\n");
    none = unit_str("");

    e = entry();

    p = store(&e, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
    assert_true(rcache_entry_is(&d, &none, &none));
    assert_false(rcache_entry_is(&d, &names, &variant));
    free(p);

    e.vary = names;
    e.variant = variant;

    p = store(&e, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
    unit_assert_str(d.vary, "accept,x-a");
    unit_assert_str(d.variant, "accept:a\nx-a\n");
    assert_true(rcache_entry_is(&d, &names, &variant));
    assert_false(rcache_entry_is(&d, &none, &none));
    assert_false(rcache_entry_is(&d, &names, &unit_str("accept:b\nx-a\n")));
    assert_false(rcache_entry_is(&d, &unit_str("accept,x-b"), &variant));
    free(p);

    /* names without the variant: neither a marker nor a variant */

    e.variant = none;

    p = store(&e, &len);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);
    free(p);

    e.flags = RCACHE_ENTRY_VARY;
    e.status = 0;
    e.head = none;
    e.body = none;
    e.body_len = 0;
    e.body_sum = rcache_sum(NULL, 0);

    p = store(&e, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
    unit_assert_str(d.vary, "accept,x-a");
    assert_false(rcache_entry_is(&d, &names, &none));
    assert_false(rcache_entry_is(&d, &none, &none));
    free(p);

    /* its generation is where a script looks for it, whatever else it has */

    e.generation = 0x12345678;
    e.age = 1;
    e.flags |= RCACHE_ENTRY_POSITION;

    p = store(&e, &len);
    assert_memory_equal(p + RCACHE_ENTRY_GENERATION, "\x78\x56\x34\x12", 4);
    assert_int_equal(decode(p, len, KEY), RCACHE_OK);
    free(p);

    e.flags = RCACHE_ENTRY_VARY|RCACHE_ENTRY_CODED;
    e.coding.coding = RCACHE_CODING_GZIP;
    e.coding.length = 1;

    p = store(&e, &len);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);
    free(p);

    e.flags = RCACHE_ENTRY_VARY;

    /* not sorted */

    e.vary = unit_str("x-a,accept");

    p = store(&e, &len);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);
    free(p);

    e.vary = none;

    p = store(&e, &len);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);
    free(p);
}


/* blocks behind the fixed part */

static void
blocks(void **state)
{
    u_char          *p;
    size_t           len, n;
    rcache_entry_t   e, d;

    (void) state;

    e = entry();
    e.flags |= RCACHE_ENTRY_TAGS|RCACHE_ENTRY_POSITION;
    e.tags = unit_str("12345678abcdefgh");
    e.position = 0x1122334455667788;

    p = store(&e, &len);

    assert_int_equal(p[4] | p[5] << 8, 64 + 2 + 16 + 8);
    assert_memory_equal(p + 64, "\2\0" "12345678abcdefgh"
                                "\x88\x77\x66\x55\x44\x33\x22\x11", 26);
    assert_memory_equal(p + 64 + 26, KEY, sizeof(KEY) - 1);

    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
    unit_assert_str(d.tags, "12345678abcdefgh");
    assert_true(d.position == e.position);
    unit_assert_str(d.body, "hello, world");

    /* lies: more tags than there is room for, than there may be */

    n = rcache_entry_size(&e);

    p[64] = 3;
    fix(p, n);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);

    p[64] = 0xff;
    p[65] = 0xff;
    fix(p, n);
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);

    free(p);

    /* one of them */

    e = entry();
    e.flags |= RCACHE_ENTRY_POSITION;
    e.position = 7;

    p = store(&e, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
    assert_true(d.position == 7);
    assert_int_equal(d.tags.len, 0);
    free(p);

    /* without: nothing is left of what was there before */

    e = entry();
    p = store(&e, &len);
    memset(&d, 0x5a, sizeof(d));
    assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
    assert_true(d.position == 0);
    assert_int_equal(d.tags.len, 0);

    /* the flag is there, but no block */

    p[49] = 1;
    fix(p, rcache_entry_size(&e));
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);

    p[49] = 2;
    fix(p, rcache_entry_size(&e));
    assert_int_equal(decode(p, len, KEY), RCACHE_ENTRY_CORRUPT);

    free(p);
}


static void
peek(void **state)
{
    size_t          len, i;
    u_char         *p, *copy;
    uint64_t        hash;
    rcache_entry_t  e, d;

    (void) state;

    hash = 42;

    e = entry();
    e.flags |= RCACHE_ENTRY_TAGS|RCACHE_ENTRY_POSITION;
    e.tags.data = (u_char *) &hash;
    e.tags.len = sizeof(hash);
    e.position = 7;

    p = store(&e, &len);

    /* with its key it is known, with less it is not */

    for (i = 0; i <= len; i++) {
        copy = unit_copy(p, i);

        if (i < RCACHE_ENTRY_FIXED + 2 + 8 + 8 + sizeof(KEY) - 1) {
            assert_int_equal(rcache_entry_peek(&d, copy, i), RCACHE_DECLINED);

        } else {
            assert_int_equal(rcache_entry_peek(&d, copy, i), RCACHE_OK);
            assert_true(d.position == 7);
            assert_int_equal(d.key.len, sizeof(KEY) - 1);
            assert_memory_equal(d.key.data, KEY, d.key.len);
            assert_int_equal(d.front_len, rcache_entry_size(&e));
        }

        free(copy);
    }

    p[3] = 3;
    assert_int_equal(rcache_entry_peek(&d, p, len), RCACHE_DECLINED);
    free(p);
}


static void
soften(void **state)
{
    size_t            len, n;
    u_char           *p;
    unsigned          is_signed;
    rcache_entry_t    e, d;
    rcache_secrets_t  secrets, other;

    (void) state;

    memset(&secrets, 0, sizeof(secrets));
    secrets.n = 2;
    secrets.secret[0] = unit_str("the new secret of all of them");
    secrets.secret[1] = unit_str("the old secret of all of them");

    other = secrets;
    other.n = 1;

    for (is_signed = 0; is_signed < 2; is_signed++) {
        e = entry();

        if (is_signed) {
            e.flags |= RCACHE_ENTRY_SIGNED;
            e.secret = secrets.secret[1];
            assert_int_equal(rcache_digest(e.digest, e.body.data, e.body.len),
                             RCACHE_OK);
        }

        p = store(&e, &len);
        n = rcache_entry_size(&e);

        /* it was no longer fresh then */

        assert_int_equal(rcache_entry_soften(p, n, e.created + 60000,
                                             &secrets),
                         RCACHE_DONE);

        if (is_signed) {
            assert_int_equal(rcache_entry_soften(p, n, e.created, &other),
                             RCACHE_DECLINED);
            assert_int_equal(rcache_entry_soften(p, n, e.created, NULL),
                             RCACHE_DECLINED);
        }

        assert_int_equal(rcache_entry_soften(p, n - 1, e.created, &secrets),
                         RCACHE_DECLINED);

        assert_int_equal(rcache_entry_soften(p, n, e.created + 1000,
                                             is_signed ? &secrets : NULL),
                         RCACHE_OK);

        assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
        assert_true(d.lifetime == 1000);
        assert_true(d.created == e.created);

        if (is_signed) {
            assert_int_equal(rcache_entry_verify(&d, &other), RCACHE_OK);
        }

        /* no time, which would be out of range when it is subtracted */

        assert_int_equal(rcache_entry_soften(p, n, INT64_MIN, &secrets),
                         RCACHE_DECLINED);

        /* before it came */

        assert_int_equal(rcache_entry_soften(p, n, e.created - 1000,
                                             &secrets),
                         RCACHE_OK);
        assert_int_equal(rcache_entry_decode(&d, p, len, &e.key), RCACHE_OK);
        assert_true(d.lifetime == -1000);

        p[n - 1] ^= 1;
        assert_int_equal(rcache_entry_soften(p, n, e.created - 2000,
                                             &secrets),
                         RCACHE_DECLINED);
        free(p);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(known),
        cmocka_unit_test(blocks),
        cmocka_unit_test(peek),
        cmocka_unit_test(soften),
        cmocka_unit_test(round_trip_of_extremes),
        cmocka_unit_test(layout_is_the_public_contract),
        cmocka_unit_test(blocks_for_what_is_not_nothing),
        cmocka_unit_test(blocks_that_say_nothing),
        cmocka_unit_test(longer_fixed_part_is_skipped),
        cmocka_unit_test(lifetime_that_is_not_positive),
        cmocka_unit_test(rfc9111_4_1_marker_and_variants)
    };

    return cmocka_run_group_tests_name("rcache_entry", tests, NULL, NULL);
}
