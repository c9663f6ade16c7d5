
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_entry.h"


#define HEAD  "HTTP/1.1 200 OK\r\n\r\n"
#define KEY   "http://example.com/a"


static void
how_many_segments(void **state)
{
    size_t             i;
    rcache_segments_t  s;

    static const struct {
        uint64_t  body;
        uint32_t  count;
    } cases[] = {
        { 0, 0 }, { 1, 1 }, { 4095, 1 }, { 4096, 1 }, { 4097, 2 },
        { 8192, 2 }, { 8193, 3 },
        { 4096ULL * RCACHE_SEGMENTS_MAX, RCACHE_SEGMENTS_MAX },
        { 4096ULL * RCACHE_SEGMENTS_MAX + 1, 0 },
        { UINT64_MAX, 0 },
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        s.size = 4096;
        s.count = 0;

        assert_int_equal(rcache_segments_count(&s, cases[i].body),
                         cases[i].count ? RCACHE_OK : RCACHE_ERROR);
        assert_int_equal(s.count, cases[i].count);
    }
}


static void
how_long_each_is(void **state)
{
    rcache_segments_t  s;

    (void) state;

    s.size = 4096;

    assert_int_equal(rcache_segment_len(&s, 8193, 0), 4096);
    assert_int_equal(rcache_segment_len(&s, 8193, 1), 4096);
    assert_int_equal(rcache_segment_len(&s, 8193, 2), 1);
    assert_int_equal(rcache_segment_len(&s, 8192, 1), 4096);
}


static void
what_a_block_may_say(void **state)
{
    rcache_segments_t  s;

    (void) state;

    s.id = 1;
    s.size = 4096;
    s.count = 2;

    assert_true(rcache_segments_valid(&s, 4097));
    assert_true(rcache_segments_valid(&s, 8192));
    assert_false(rcache_segments_valid(&s, 4096));
    assert_false(rcache_segments_valid(&s, 8193));
    assert_false(rcache_segments_valid(&s, 0));

    s.size = RCACHE_SEGMENT_MIN - 1;
    assert_false(rcache_segments_valid(&s, 4097));

    s.size = 0;
    assert_false(rcache_segments_valid(&s, 4097));

    s.size = RCACHE_SEGMENT_MAX + 1;
    assert_false(rcache_segments_valid(&s, RCACHE_SEGMENT_MAX + 2));

    s.size = UINT32_MAX;
    assert_false(rcache_segments_valid(&s, UINT64_MAX));
}


static void
keys_are_as_documented(void **state)
{
    u_char  buf[RCACHE_SEGMENT_KEY], *p;

    (void) state;

    p = rcache_segment_key(buf, 0x0123456789abcdefULL, 0);
    *p = '\0';
    assert_string_equal((char *) buf, ":s:0123456789abcdef:0");

    p = rcache_segment_key(buf, 0x0f, 8191);
    *p = '\0';
    assert_string_equal((char *) buf, ":s:000000000000000f:8191");

    p = rcache_segment_key(buf, UINT64_MAX, UINT32_MAX);
    assert_true(p - buf < (int) RCACHE_SEGMENT_KEY);
}


/* byte for byte: other programs read it */

static void
a_segment_is_as_documented(void **state)
{
    u_char  buf[RCACHE_SEGMENT_FIXED + 5];

    static const u_char  expected[24] = {
        'R', 'P', 'S', 1,  32, 0,  0, 0,
        8, 7, 6, 5, 4, 3, 2, 1,  3, 0, 0, 0,  5, 0, 0, 0
    };

    (void) state;

    memcpy(buf + RCACHE_SEGMENT_FIXED, "hello", 5);
    rcache_segment_encode(buf, 0x0102030405060708ULL, 3, 5, 5, NULL);

    assert_memory_equal(buf, expected, sizeof(expected));
    assert_int_equal(buf[24] | (uint64_t) buf[25] << 8,
                     rcache_sum((u_char *) "hello", 5) & 0xffff);

    /* compressed: it says so, and how long it was; the sum is of what is */

    rcache_segment_encode(buf, 0x0102030405060708ULL, 3, 4096, 5, NULL);

    assert_memory_equal(buf, expected, 6);
    assert_int_equal(buf[6], 2);
    assert_int_equal(buf[20] | buf[21] << 8, 4096);
    assert_int_equal(buf[24] | (uint64_t) buf[25] << 8,
                     rcache_sum((u_char *) "hello", 5) & 0xffff);
}


/* a segment in an allocation of its exact size */

static u_char *
segment(const rcache_segments_t *s, uint64_t body_len, uint32_t n,
    size_t *len)
{
    u_char    *p;
    uint32_t   size;

    size = rcache_segment_len(s, body_len, n);
    *len = RCACHE_SEGMENT_FIXED + size;

    p = malloc(*len);
    assert_non_null(p);

    memset(p + RCACHE_SEGMENT_FIXED, 'a' + n, size);
    rcache_segment_encode(p, s->id, n, size, size, NULL);

    return p;
}


static void
a_segment_is_read_back(void **state)
{
    u_char             *p;
    size_t              len;
    uint32_t            n;
    rcache_str_t        payload;
    rcache_segments_t   s;

    (void) state;

    s.id = 42;
    s.size = 4096;
    s.coding = RCACHE_CODING_NONE;
    assert_int_equal(rcache_segments_count(&s, 10000), RCACHE_OK);

    for (n = 0; n < s.count; n++) {
        p = segment(&s, 10000, n, &len);

        assert_int_equal(rcache_segment_decode(&payload, &s, 10000, n, p, len,
                                           NULL),
                     RCACHE_OK);
        assert_int_equal(payload.len, n < 2 ? 4096 : 10000 - 8192);
        assert_ptr_equal(payload.data, p + RCACHE_SEGMENT_FIXED);

        free(p);
    }
}


/* any byte, any length, any place but its own */

static void
all_else_is_not_the_segment(void **state)
{
    u_char             *p, *q;
    size_t              i, len;
    rcache_str_t        payload;
    rcache_segments_t   s, other;

    (void) state;

    s.id = 42;
    s.size = 4096;
    s.coding = RCACHE_CODING_NONE;
    assert_int_equal(rcache_segments_count(&s, 9000), RCACHE_OK);

    p = segment(&s, 9000, 2, &len);

    for (i = 0; i < len; i++) {

        if (i == 6 || i == 7) {

            /* flags of later versions */

            continue;
        }

        p[i] ^= 1;
        assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 2, p, len,
                                           NULL),
                     RCACHE_ERROR);
        p[i] ^= 1;

        q = unit_copy(p, i);
        assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 2, q, i,
                                           NULL),
                     RCACHE_ERROR);
        free(q);
    }

    assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 1, p, len,
                                           NULL),
                     RCACHE_ERROR);
    assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 3, p, len,
                                           NULL),
                     RCACHE_ERROR);
    assert_int_equal(rcache_segment_decode(&payload, &s, 9001, 2, p, len,
                                           NULL),
                     RCACHE_ERROR);

    other = s;
    other.id = 43;
    assert_int_equal(rcache_segment_decode(&payload, &other, 9000, 2, p, len,
                                           NULL),
                     RCACHE_ERROR);

    assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 2, p, len,
                                           NULL),
                     RCACHE_OK);

    free(p);
}


/* what is shorter is taken where the entry says that it may be */

static void
a_compressed_one_is_read_back(void **state)
{
    u_char             *p, *q;
    size_t              i, len;
    rcache_str_t        payload;
    rcache_segments_t   s;

    (void) state;

    s.id = 42;
    s.size = 4096;
    s.coding = RCACHE_CODING_GZIP;
    assert_int_equal(rcache_segments_count(&s, 9000), RCACHE_OK);

    len = RCACHE_SEGMENT_FIXED + 100;
    p = malloc(len);
    assert_non_null(p);
    memset(p + RCACHE_SEGMENT_FIXED, 'z', 100);
    rcache_segment_encode(p, s.id, 1, 4096, 100, NULL);

    assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 1, p, len,
                                           NULL),
                     RCACHE_OK);
    assert_ptr_equal(payload.data, p + RCACHE_SEGMENT_FIXED);
    assert_int_equal(payload.len, 100);

    for (i = 0; i < len; i++) {
        q = unit_copy(p, i);
        assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 1, q, i,
                                               NULL),
                         RCACHE_ERROR);
        free(q);
    }

    /* no entry says so */

    s.coding = RCACHE_CODING_NONE;
    assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 1, p, len,
                                           NULL),
                     RCACHE_ERROR);
    s.coding = RCACHE_CODING_ZSTD;

    /* it does not say so itself */

    p[6] = 0;
    assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 1, p, len,
                                           NULL),
                     RCACHE_ERROR);
    free(p);

    /* it is as it was, beside those that are not, and does not lie about it */

    p = segment(&s, 9000, 1, &len);
    assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 1, p, len,
                                           NULL),
                     RCACHE_OK);
    assert_int_equal(payload.len, 4096);

    p[6] = 2;
    assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 1, p, len,
                                           NULL),
                     RCACHE_ERROR);
    free(p);

    /* nothing at all, and more than it was */

    p = malloc(RCACHE_SEGMENT_FIXED + 1000);
    assert_non_null(p);
    memset(p + RCACHE_SEGMENT_FIXED, 'z', 1000);

    rcache_segment_encode(p, s.id, 2, 808, 0, NULL);
    assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 2, p,
                                           RCACHE_SEGMENT_FIXED, NULL),
                     RCACHE_ERROR);

    rcache_segment_encode(p, s.id, 2, 808, 1000, NULL);
    assert_int_equal(rcache_segment_decode(&payload, &s, 9000, 2, p,
                                           RCACHE_SEGMENT_FIXED + 1000, NULL),
                     RCACHE_ERROR);
    free(p);
}


/* what a later version has behind our header is skipped */

static void
a_longer_header_is_skipped(void **state)
{
    u_char             *p, *q;
    size_t              len;
    rcache_str_t        payload;
    rcache_segments_t   s;

    (void) state;

    s.id = 42;
    s.size = 4096;
    s.coding = RCACHE_CODING_NONE;
    assert_int_equal(rcache_segments_count(&s, 5000), RCACHE_OK);

    p = segment(&s, 5000, 1, &len);
    q = malloc(len + 32);
    assert_non_null(q);

    memcpy(q, p, 32);
    memset(q + 32, 0xee, 32);
    memcpy(q + 64, p + 32, len - 32);
    q[4] = 64;

    assert_int_equal(rcache_segment_decode(&payload, &s, 5000, 1, q, len + 32,
                                           NULL),
                     RCACHE_OK);
    assert_ptr_equal(payload.data, q + 64);
    assert_int_equal(payload.len, 5000 - 4096);

    free(q);
    free(p);
}


static u_char *
entry(rcache_segments_t *s, uint64_t body_len, size_t *len)
{
    u_char          *p;
    rcache_entry_t   e;

    memset(&e, 0, sizeof(e));

    e.created = 1700000000123;
    e.lifetime = 60000;
    e.flags = RCACHE_ENTRY_SEGMENTED;
    e.status = 200;
    e.key = unit_str(KEY);
    e.head = unit_str(HEAD);
    e.body_len = body_len;
    e.body_sum = rcache_sum((u_char *) "", 0);
    e.segments = *s;

    *len = rcache_entry_size(&e);
    p = malloc(*len);
    assert_non_null(p);
    assert_ptr_equal(rcache_entry_encode(p, &e), p + *len);

    return p;
}


static void
an_entry_names_its_segments(void **state)
{
    u_char             *p;
    size_t              len;
    rcache_str_t        key;
    rcache_entry_t      d;
    rcache_segments_t   s, t;

    (void) state;

    key = unit_str(KEY);

    s.id = 0xfedcba9876543210ULL;
    s.size = 4096;
    assert_int_equal(rcache_segments_count(&s, 1000000), RCACHE_OK);

    p = entry(&s, 1000000, &len);

    assert_int_equal(p[4], 64 + 16);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key), RCACHE_OK);
    assert_int_equal(d.body_len, 1000000);
    assert_int_equal(d.body.len, 0);
    assert_true(d.segments.id == s.id);
    assert_int_equal(d.segments.size, 4096);
    assert_int_equal(d.segments.count, 245);

    assert_int_equal(rcache_entry_segments(&t, p, RCACHE_ENTRY_BEGIN),
                     RCACHE_OK);
    assert_true(t.id == s.id && t.count == 245);
    assert_int_equal(rcache_entry_segments(&t, p, RCACHE_ENTRY_BEGIN - 1),
                     RCACHE_DECLINED);

    /* cut */

    assert_int_equal(rcache_entry_decode(&d, p, len - 1, &key),
                     RCACHE_ENTRY_CORRUPT);

    /* another number, another id */

    p[76] ^= 1;
    assert_int_equal(rcache_entry_decode(&d, p, len, &key),
                     RCACHE_ENTRY_CORRUPT);
    assert_int_equal(rcache_entry_segments(&t, p, len), RCACHE_DECLINED);
    p[76] ^= 1;
    p[64] ^= 1;
    assert_int_equal(rcache_entry_decode(&d, p, len, &key),
                     RCACHE_ENTRY_CORRUPT);

    free(p);

    /* the number does not fit the length */

    s.count++;
    p = entry(&s, 1000000, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key),
                     RCACHE_ENTRY_CORRUPT);
    free(p);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(how_many_segments),
        cmocka_unit_test(how_long_each_is),
        cmocka_unit_test(what_a_block_may_say),
        cmocka_unit_test(keys_are_as_documented),
        cmocka_unit_test(a_segment_is_as_documented),
        cmocka_unit_test(a_segment_is_read_back),
        cmocka_unit_test(all_else_is_not_the_segment),
        cmocka_unit_test(a_compressed_one_is_read_back),
        cmocka_unit_test(a_longer_header_is_skipped),
        cmocka_unit_test(an_entry_names_its_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
