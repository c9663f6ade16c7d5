
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_entry.h"


static void
who_accepts_gzip(void **state)
{
    size_t        i;
    u_char       *p;
    rcache_str_t  value;

    static const struct {
        const char  *value;
        int          accepted;
    } cases[] = {
        { "gzip", 1 }, { "GZIP", 1 }, { "deflate, gzip", 1 },
        { "br;q=1.0, gzip;q=0.8, *;q=0.1", 1 }, { "*", 1 },
        { "gzip;q=0.001", 1 }, { "gzip ; q=1", 1 }, { ",, gzip ,", 1 },
        { "", 0 }, { "identity", 0 }, { "br", 0 }, { "gzip;q=0", 0 },
        { "gzip;q=0.000, *", 0 }, { "*, gzip;q=0", 0 }, { "*;q=0", 0 },
        { "x-gzip", 0 }, { "gzipped", 0 }, { "gzip;level=9", 0 },
        { "gzip/1", 0 }, { "identity;q=1, *;q=0", 0 }, { "gzip;q", 0 },
        { "\"gzip\"", 0 }, { "gzip;q=", 0 },
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        p = unit_copy(cases[i].value, strlen(cases[i].value));
        value.data = p;
        value.len = strlen(cases[i].value);

        if (rcache_coding_accepted(&value, RCACHE_CODING_GZIP)
            != cases[i].accepted)
        {
            fail_msg("%s", cases[i].value);
        }

        free(p);
    }

    value = unit_str("gzip, zstd;q=0.5");
    assert_true(rcache_coding_accepted(&value, RCACHE_CODING_ZSTD));
    value = unit_str("gzip");
    assert_false(rcache_coding_accepted(&value, RCACHE_CODING_ZSTD));
}


static u_char *
entry(rcache_coding_t *c, uint32_t more, size_t *len)
{
    u_char          *p;
    rcache_entry_t   e;

    memset(&e, 0, sizeof(e));

    e.created = 1700000000123;
    e.lifetime = 60000;
    e.flags = RCACHE_ENTRY_CODED | more;
    e.status = 200;
    e.key = unit_str("k");
    e.head = unit_str("HTTP/1.1 200 OK\r\n\r\n");
    e.body_len = 5;
    e.body_sum = rcache_sum((u_char *) "coded", 5);
    e.coding = *c;

    *len = rcache_entry_size(&e) + 5;
    p = malloc(*len);
    assert_non_null(p);
    memcpy(rcache_entry_encode(p, &e), "coded", 5);

    return p;
}


/* the body is in segments */

static u_char *
entry_segmented(rcache_coding_t *c, size_t *len)
{
    u_char          *p;
    rcache_entry_t   e;

    memset(&e, 0, sizeof(e));

    e.created = 1700000000123;
    e.lifetime = 60000;
    e.flags = RCACHE_ENTRY_CODED | RCACHE_ENTRY_SEGMENTED;
    e.status = 200;
    e.key = unit_str("k");
    e.head = unit_str("HTTP/1.1 200 OK\r\n\r\n");
    e.body_len = 10000;
    e.body_sum = rcache_sum((u_char *) "", 0);
    e.coding = *c;
    e.segments.id = 7;
    e.segments.size = 4096;
    e.segments.count = 3;

    *len = rcache_entry_size(&e);
    p = malloc(*len);
    assert_non_null(p);
    assert_ptr_equal(rcache_entry_encode(p, &e), p + *len);

    return p;
}


static void
an_entry_says_how_it_is_coded(void **state)
{
    u_char           *p;
    size_t            len;
    rcache_str_t      key;
    rcache_entry_t    d;
    rcache_coding_t   c;

    static const u_char  block[16] = {
        2, 0, 0, 0, 0, 0, 0, 0,  0x39, 0x30, 0, 0, 0, 0, 0, 0
    };

    (void) state;

    key = unit_str("k");
    c.coding = RCACHE_CODING_ZSTD;
    c.crc = 0;
    c.length = 12345;

    p = entry(&c, 0, &len);
    assert_memory_equal(p + 64, block, 16);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key), RCACHE_OK);
    assert_int_equal(d.coding.coding, RCACHE_CODING_ZSTD);
    assert_int_equal(d.coding.length, 12345);
    unit_assert_str(d.body, "coded");
    free(p);

    c.coding = 3;
    p = entry(&c, 0, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key),
                     RCACHE_ENTRY_CORRUPT);
    free(p);

    c.coding = RCACHE_CODING_GZIP;
    c.length = 0;
    p = entry(&c, 0, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key),
                     RCACHE_ENTRY_CORRUPT);
    free(p);

    c.length = (uint64_t) RCACHE_CODING_MAX + 1;
    p = entry(&c, 0, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key),
                     RCACHE_ENTRY_CORRUPT);
    free(p);

    /* in segments there is no body */

    c.length = 5;
    p = entry(&c, RCACHE_ENTRY_SEGMENTED, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key),
                     RCACHE_ENTRY_CORRUPT);
    free(p);
}


static void
an_entry_says_how_its_segments_are_coded(void **state)
{
    u_char           *p;
    size_t            len;
    rcache_str_t      key;
    rcache_entry_t    d;
    rcache_coding_t   c;

    static const u_char  blocks[32] = {
        7, 0, 0, 0, 0, 0, 0, 0,  0, 0x10, 0, 0, 3, 0, 0, 0,
        1, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde,  0x10, 0x27, 0, 0, 0, 0, 0, 0
    };

    (void) state;

    key = unit_str("k");
    c.coding = RCACHE_CODING_GZIP;
    c.crc = 0xdeadbeef;
    c.length = 10000;

    p = entry_segmented(&c, &len);
    assert_int_equal(p[4], 64 + 32);
    assert_memory_equal(p + 64, blocks, 32);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key), RCACHE_OK);
    assert_int_equal(d.body_len, 10000);
    assert_int_equal(d.body.len, 0);
    assert_int_equal(d.coding.coding, RCACHE_CODING_GZIP);
    assert_true(d.coding.crc == 0xdeadbeef);
    assert_int_equal(d.segments.count, 3);
    assert_int_equal(d.segments.coding, RCACHE_CODING_GZIP);

    /* who lets segments expire finds them where they always are */

    assert_int_equal(rcache_entry_segments(&d.segments, p,
                                           RCACHE_ENTRY_BEGIN),
                     RCACHE_OK);
    assert_int_equal(d.segments.count, 3);
    free(p);

    /* segments stand for all of the body, and no more */

    c.length = 9999;
    p = entry_segmented(&c, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key),
                     RCACHE_ENTRY_CORRUPT);
    free(p);

    c.length = 10000;
    c.coding = 3;
    p = entry_segmented(&c, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key),
                     RCACHE_ENTRY_CORRUPT);
    free(p);
}


/* RFC 1951, 3.2.4: blocks of at most 65535 bytes, and not one that is empty */

static void
what_is_not_coded_is_stored(void **state)
{
    size_t         i, n, rest;
    u_char        *p, *q, *last, *body;
    rcache_str_t   src;

    static const size_t  sizes[] = {
        1, 65534, 65535, 65536, 131070, 131071, 200000
    };

    (void) state;

    body = malloc(200000);
    assert_non_null(body);

    for (i = 0; i < 200000; i++) {
        body[i] = (u_char) (i * 2654435761u >> 24);
    }

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        src.data = body;
        src.len = sizes[i];

        p = malloc(RCACHE_GZIP_STORED(src.len));
        assert_non_null(p);
        last = rcache_gzip_stored(p, &src);
        assert_true(last <= p + RCACHE_GZIP_STORED(src.len));

        rest = src.len;

        for (q = p; q < last; q += 5 + n) {
            n = q[1] | (size_t) q[2] << 8;

            assert_int_equal(q[0], 0);
            assert_int_equal(n ^ (q[3] | (size_t) q[4] << 8), 0xffff);
            assert_true(n > 0 && n <= rest);
            assert_memory_equal(q + 5, body + (src.len - rest), n);

            rest -= n;
        }

        assert_ptr_equal(q, last);
        assert_int_equal(rest, 0);
        free(p);
    }

    free(body);
}


static void
a_member_begins_and_ends(void **state)
{
    u_char           begin[RCACHE_GZIP_BEGIN], end[RCACHE_GZIP_END];
    rcache_coding_t  c;

    static const u_char  begins[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255 };
    static const u_char  ends[10] = { 3, 0,  4, 3, 2, 1,  5, 0, 0, 0 };

    (void) state;

    c.coding = RCACHE_CODING_GZIP;
    c.crc = 0x01020304;
    c.length = (1ULL << 32) + 5;

    rcache_gzip_begin(begin);
    rcache_gzip_end(end, &c);

    assert_memory_equal(begin, begins, 10);
    assert_memory_equal(end, ends, 10);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_accepts_gzip),
        cmocka_unit_test(an_entry_says_how_it_is_coded),
        cmocka_unit_test(an_entry_says_how_its_segments_are_coded),
        cmocka_unit_test(what_is_not_coded_is_stored),
        cmocka_unit_test(a_member_begins_and_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
