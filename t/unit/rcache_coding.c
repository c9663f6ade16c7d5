
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
    c.length = 12345;

    p = entry(&c, 0, &len);
    assert_memory_equal(p + 88, block, 16);
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

    /* no entry is both: a segment is as it came */

    c.length = 1;
    p = entry(&c, RCACHE_ENTRY_SEGMENTED, &len);
    assert_int_equal(rcache_entry_decode(&d, p, len, &key),
                     RCACHE_ENTRY_CORRUPT);
    free(p);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_accepts_gzip),
        cmocka_unit_test(an_entry_says_how_it_is_coded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
