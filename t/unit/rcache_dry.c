
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_dry.h"


static void
comes_back(void **state)
{
    u_char        buf[RCACHE_DRY_BODY];
    rcache_dry_t  d, got;
    rcache_str_t  body;

    (void) state;

    d.size = 4711;
    d.length = 4000;
    d.ttl = 60000;

    assert_ptr_equal(rcache_dry_encode(buf, &d), buf + RCACHE_DRY_BODY);

    body.data = buf;
    body.len = RCACHE_DRY_BODY;

    assert_int_equal(rcache_dry_decode(&got, &body), RCACHE_OK);
    assert_int_equal(got.size, 4711);
    assert_int_equal(got.length, 4000);
    assert_int_equal(got.ttl, 60000);

    /* what is over a limit is cut */

    d.size = UINT64_MAX;
    d.length = RCACHE_DRY_SIZE_MAX + 1;
    d.ttl = INT64_MAX;

    (void) rcache_dry_encode(buf, &d);

    assert_int_equal(rcache_dry_decode(&got, &body), RCACHE_OK);
    assert_int_equal(got.size, RCACHE_DRY_SIZE_MAX);
    assert_int_equal(got.length, RCACHE_DRY_SIZE_MAX);
    assert_int_equal(got.ttl, RCACHE_DRY_TTL_MAX);

    d.ttl = -1;
    (void) rcache_dry_encode(buf, &d);

    assert_int_equal(rcache_dry_decode(&got, &body), RCACHE_OK);
    assert_int_equal(got.ttl, 0);
}


static void
is_hostile_input(void **state)
{
    u_char        buf[RCACHE_DRY_BODY + 1];
    unsigned      i;
    rcache_dry_t  got;
    rcache_str_t  body;

    (void) state;

    memset(buf, 0, sizeof(buf));
    body.data = buf;

    for (i = 0; i <= RCACHE_DRY_BODY + 1; i++) {
        body.len = i;
        assert_int_equal(rcache_dry_decode(&got, &body),
                         i == RCACHE_DRY_BODY ? RCACHE_OK : RCACHE_ERROR);
    }

    body.len = RCACHE_DRY_BODY;

    for (i = 0; i < RCACHE_DRY_BODY; i += 8) {
        memset(buf, 0, sizeof(buf));
        memset(buf + i, 0xff, 8);

        assert_int_equal(rcache_dry_decode(&got, &body), RCACHE_ERROR);
        assert_int_equal(got.size, 0);
        assert_int_equal(got.ttl, 0);
    }
}


static void
sizes(void **state)
{
    uint64_t        plain, n;
    rcache_entry_t  e;

    (void) state;

    memset(&e, 0, sizeof(e));
    e.key.len = 20;
    e.head.len = 100;

    plain = rcache_dry_string(24)
            + rcache_dry_string(RCACHE_ENTRY_FIXED + 20 + 100 + 1000)
            + RCACHE_DRY_OVERHEAD;

    assert_int_equal(rcache_dry_size(&e, 1000, 24, 4096, 1), plain);
    assert_int_equal(rcache_dry_size(&e, 1000, 24, 0, 0), plain);

    /* four segments, one of them short */

    n = rcache_dry_size(&e, 3 * 4096 + 1, 24, 4096, 1);
    assert_int_equal(n,
                     rcache_dry_string(24)
                     + rcache_dry_string(RCACHE_ENTRY_FIXED + 20 + 100
                                         + RCACHE_SEGMENTS_BLOCK)
                     + 4 * rcache_dry_string(24 + RCACHE_SEGMENT_KEY)
                     + 3 * rcache_dry_string(RCACHE_SEGMENT_FIXED + 4096)
                     + rcache_dry_string(RCACHE_SEGMENT_FIXED + 1)
                     + 5 * RCACHE_DRY_OVERHEAD);

    /* a variant has a longer name, and the first one a marker */

    e.vary.len = 6;
    e.variant.len = 10;

    n = rcache_dry_size(&e, 1000, 24, 4096, 0);
    assert_int_equal(n,
                     rcache_dry_string(24 + 3 + RCACHE_VARIANT_HASH)
                     + rcache_dry_string(RCACHE_ENTRY_FIXED + 12 + 20 + 100
                                         + 16 + 1000)
                     + RCACHE_DRY_OVERHEAD);
    assert_int_equal(rcache_dry_size(&e, 1000, 24, 4096, 1) - n,
                     rcache_dry_string(24)
                     + rcache_dry_string(RCACHE_ENTRY_FIXED + 12 + 8 + 20 + 6)
                     + RCACHE_DRY_OVERHEAD);

    assert_int_equal(rcache_dry_size(&e, UINT64_MAX / 2, 24, 4096, 0),
                     RCACHE_DRY_SIZE_MAX);
}


static void
strings(void **state)
{
    (void) state;

    assert_int_equal(rcache_dry_string(0), 16);
    assert_int_equal(rcache_dry_string(12), 16);
    assert_int_equal(rcache_dry_string(13), 32);
    assert_int_equal(rcache_dry_string(124), 128);
    assert_int_equal(rcache_dry_string(125), 160);
    assert_int_equal(rcache_dry_string(252), 256);
    assert_int_equal(rcache_dry_string(253), 320);
    assert_int_equal(rcache_dry_string(1018), 1024);
    assert_int_equal(rcache_dry_string(1019), 1280);
    assert_int_equal(rcache_dry_string(UINT64_MAX), UINT64_MAX);
}


static void
times(void **state)
{
    (void) state;

    assert_int_equal(rcache_dry_time(1000, 2500), 2500);
    assert_int_equal(rcache_dry_time(1000, 0), 0);
    assert_int_equal(rcache_dry_time(1000, -1), 0);
    assert_int_equal(rcache_dry_time(UINT64_MAX, INT64_MAX),
                     RCACHE_DRY_SIZE_MAX * (RCACHE_DRY_TTL_MAX / 1000));
}


static void
memory(void **state)
{
    rcache_dry_sums_t  s;

    (void) state;

    memset(&s, 0, sizeof(s));
    assert_int_equal(rcache_dry_memory(&s), 0);

    /* 100 bytes a second for an hour, that live for ten minutes */

    s.stored = 360000;
    s.stored_time = 360000 * 600;
    s.seconds = 3600;
    assert_int_equal(rcache_dry_memory(&s), 60000);

    /* or for a day: nothing has gone yet */

    s.stored_time = (uint64_t) 360000 * 86400;
    assert_int_equal(rcache_dry_memory(&s), 360000);

    /* half of them took the place of others */

    s.replaced = 180000;
    s.replaced_time = 180000;
    assert_int_equal(rcache_dry_memory(&s), 180000);

    s.seconds = 0;
    assert_int_equal(rcache_dry_memory(&s), 180000);

    /* those of another instance */

    s.replaced = s.stored + 1;
    assert_int_equal(rcache_dry_memory(&s), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(is_hostile_input),
        cmocka_unit_test(sizes),
        cmocka_unit_test(strings),
        cmocka_unit_test(times),
        cmocka_unit_test(memory)
    };

    return cmocka_run_group_tests_name("rcache_dry", tests, NULL, NULL);
}
