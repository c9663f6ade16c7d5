
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_stale.h"


#define CREATED  ((int64_t) 1700000000000)

#define UPDATING  RCACHE_STALE_UPDATING
#define ERROR     RCACHE_STALE_ERROR
#define CONFIG    RCACHE_STALE_CONFIG


static rcache_entry_t  entry;


/* lifetime and windows in seconds */

static void
set(int64_t lifetime, uint32_t swr, uint32_t sie, uint32_t flags)
{
    memset(&entry, 0, sizeof(entry));

    entry.created = CREATED;
    entry.lifetime = lifetime * 1000;
    entry.stale_while_revalidate = swr;
    entry.stale_if_error = sie;
    entry.flags = flags;
}


/* milliseconds after the response came */

static unsigned
stale(int64_t elapsed)
{
    return rcache_entry_stale(&entry, CREATED + elapsed);
}


static int
early(int64_t left, uint64_t random)
{
    return rcache_entry_early(&entry,
                              CREATED + entry.lifetime - left, 1000, random);
}


/* xorshift64* */

static uint64_t
next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;

    return *state * 0x2545f4914f6cdd1d;
}


static void
rfc5861_the_windows(void **state)
{
    (void) state;

    set(60, 5, 10, 0);

    assert_int_equal(stale(0), 0);
    assert_int_equal(stale(59999), 0);
    assert_int_equal(stale(60000), UPDATING | ERROR | CONFIG);
    assert_int_equal(stale(64999), UPDATING | ERROR | CONFIG);
    assert_int_equal(stale(65000), ERROR | CONFIG);
    assert_int_equal(stale(69999), ERROR | CONFIG);
    assert_int_equal(stale(70000), CONFIG);
    assert_int_equal(stale(INT64_MAX - CREATED), CONFIG);

    set(60, 0, 0, 0);
    assert_int_equal(stale(60000), CONFIG);

    set(60, UINT32_MAX, UINT32_MAX, 0);
    assert_int_equal(stale((int64_t) UINT32_MAX * 1000),
                     UPDATING | ERROR | CONFIG);

    /* stale when it came: the window was open before that */

    set(-5, 5, 10, 0);
    assert_int_equal(stale(0), ERROR | CONFIG);
    assert_int_equal(stale(5000), CONFIG);

    set(0, 5, 10, 0);
    assert_int_equal(stale(0), UPDATING | ERROR | CONFIG);
}


static void
rfc9111_4_2_4_what_forbids_it(void **state)
{
    (void) state;

    /* whoever wrote the windows next to these */

    set(60, 5, 10, RCACHE_ENTRY_MUST_REVALIDATE);
    assert_int_equal(stale(60000), 0);

    set(60, 5, 10, RCACHE_ENTRY_NO_CACHE);
    assert_int_equal(stale(60000), 0);

    set(0, 5, 10, RCACHE_ENTRY_NO_CACHE);
    assert_int_equal(stale(0), 0);

    set(60, 5, 10, RCACHE_ENTRY_NO_CACHE | RCACHE_ENTRY_MUST_REVALIDATE
                   | RCACHE_ENTRY_S_MAXAGE);
    assert_int_equal(stale(60000), 0);

    set(60, 5, 10, RCACHE_ENTRY_VARY);
    assert_int_equal(stale(60000), 0);

    /* what these say is about something else */

    set(60, 0, 10, RCACHE_ENTRY_SHARED | RCACHE_ENTRY_HEURISTIC);
    assert_int_equal(stale(60000), ERROR | CONFIG);
}


static void
what_s_maxage_implies_can_be_overridden(void **state)
{
    (void) state;

    set(60, 0, 0, RCACHE_ENTRY_MUST_REVALIDATE | RCACHE_ENTRY_S_MAXAGE);
    assert_int_equal(stale(59999), 0);
    assert_int_equal(stale(60000), CONFIG);

    set(60, 5, 0, RCACHE_ENTRY_MUST_REVALIDATE | RCACHE_ENTRY_S_MAXAGE);
    assert_int_equal(stale(60000), UPDATING | CONFIG);

    /* the second without the first forbids nothing */

    set(60, 5, 0, RCACHE_ENTRY_S_MAXAGE);
    assert_int_equal(stale(60000), UPDATING | CONFIG);
}


static void
a_wrong_clock_opens_no_window(void **state)
{
    (void) state;

    /* from the future, and from too far in it to be fresh */

    set(60, 500, 1000, 0);
    assert_int_equal(stale(-1), 0);
    assert_int_equal(stale(-59999), 0);
    assert_int_equal(stale(-60000), CONFIG);
    assert_int_equal(stale(-CREATED), CONFIG);

    set(-5, 500, 1000, 0);
    assert_int_equal(stale(-1), CONFIG);

    entry.created = INT64_MAX;
    entry.lifetime = INT64_MAX;
    assert_int_equal(rcache_entry_stale(&entry, INT64_MIN), CONFIG);

    entry.created = 0;
    entry.lifetime = INT64_MIN;
    assert_int_equal(rcache_entry_stale(&entry, INT64_MAX), CONFIG);
}


/* -ln(U) of known U, and a fetch that takes one second */

static void
xfetch_weighs_the_fetch(void **state)
{
    int       i;
    uint64_t  half;

    (void) state;

    set(3600, 0, 0, 0);
    entry.fetch = 1000;

    /* U of 1 and just less: at the end of the lifetime only */

    assert_false(early(1, UINT64_MAX));
    assert_false(early(1, UINT64_MAX - 1));

    /* 1/2, 1/4, ...: ln(2) = 0.693147, and its multiples */

    half = (uint64_t) 1 << 63;

    for (i = 1; i < 64; i++) {
        assert_true(early(693 * i, half));
        assert_false(early(694 * i, half));
        half >>= 1;
    }

    /* 1/e, 1 - 1/e */

    assert_true(early(999, 0x5e2d58d8b3bcdf1a));
    assert_false(early(1001, 0x5e2d58d8b3bcdf1a));
    assert_true(early(458, 0xa1d2a7274c4320e5));
    assert_false(early(459, 0xa1d2a7274c4320e5));

    /* no number of 64 bits is earlier than 0 */

    assert_true(early(44361, 0));
    assert_false(early(44362, 0));
    assert_true(early(44361, 1));
    assert_false(early(45001, 0));

    /* twice the fetch, or twice beta */

    entry.fetch = 2000;
    assert_true(early(1386, (uint64_t) 1 << 63));
    assert_false(early(1387, (uint64_t) 1 << 63));

    entry.fetch = 1000;
    assert_true(rcache_entry_early(&entry, CREATED + 3600000 - 1386, 2000,
                                   (uint64_t) 1 << 63));
    assert_false(rcache_entry_early(&entry, CREATED + 3600000 - 1387, 2000,
                                    (uint64_t) 1 << 63));

    /* less than a millisecond counts, too */

    entry.fetch = 1;
    assert_true(rcache_entry_early(&entry, CREATED + 3600000 - 22, 500, 0));
    assert_false(rcache_entry_early(&entry, CREATED + 3600000 - 23, 500, 0));
}


static void
xfetch_is_exponential(void **state)
{
    int       i, k, n;
    uint64_t  seed;

    /* e^-k of 100,000 */

    static const int  expected[] = { 100000, 36788, 13534, 4979, 1832 };

    (void) state;

    set(3600, 0, 0, 0);
    entry.fetch = 1000;
    seed = 42;

    for (k = 1; k < 5; k++) {
        n = 0;

        for (i = 0; i < 100000; i++) {
            n += early(k * 1000, next(&seed));
        }

        /* more than four standard deviations */

        assert_in_range(n, expected[k] - 700, expected[k] + 700);
    }
}


static void
xfetch_knows_when_not_to(void **state)
{
    (void) state;

    set(60, 0, 0, 0);

    /* no time was measured, or beta is 0 */

    assert_false(early(1, 0));

    entry.fetch = 1000;
    assert_false(rcache_entry_early(&entry, CREATED + 59999, 0, 0));

    /* not fresh any more: that is not early */

    assert_true(early(1, 0));
    assert_false(early(0, 0));
    assert_false(early(-1, 0));

    /* from the future, but fresh */

    assert_true(rcache_entry_early(&entry, CREATED + 30000, 1000, 0));
    assert_false(rcache_entry_early(&entry, CREATED - 30000, 1000, 0));

    /* out of bounds: no overflow, and no nonsense */

    entry.fetch = UINT32_MAX;
    assert_true(rcache_entry_early(&entry, CREATED, UINT32_MAX, 0));
    assert_false(rcache_entry_early(&entry, CREATED, UINT32_MAX,
                                    UINT64_MAX));

    entry.lifetime = INT64_MAX;
    assert_false(rcache_entry_early(&entry, CREATED, UINT32_MAX, 0));
}


static void
jitter_shortens_within_its_share(void **state)
{
    int           i;
    int64_t       n, sum, least, most;
    rcache_str_t  key;

    (void) state;

    key = unit_str("http://shop.example/api/products");
    least = INT64_MAX;
    most = 0;
    sum = 0;

    for (i = 0; i < 10000; i++) {
        n = rcache_jitter(60000, 100, &key, CREATED + i);

        sum += n;
        least = (n < least) ? n : least;
        most = (n > most) ? n : most;
    }

    /* spread over all of the 10 %, evenly */

    assert_in_range(least, 54000, 54050);
    assert_in_range(most, 59950, 60000);
    assert_in_range(sum / 10000, 56900, 57100);

    /* another key, another lifetime */

    assert_int_equal(rcache_jitter(60000, 100, &key, CREATED),
                     rcache_jitter(60000, 100, &key, CREATED));
    assert_int_not_equal(rcache_jitter(60000, 100, &key, CREATED),
                         rcache_jitter(60000, 100, &unit_str("b"), CREATED));
    assert_int_not_equal(rcache_jitter(60000, 100, &key, CREATED),
                         rcache_jitter(60000, 100, &key, CREATED + 1));
}


static void
jitter_never_harms(void **state)
{
    int           i;
    rcache_str_t  key;

    (void) state;

    key = unit_str("");

    assert_int_equal(rcache_jitter(60000, 0, &key, CREATED), 60000);
    assert_int_equal(rcache_jitter(0, 500, &key, CREATED), 0);
    assert_int_equal(rcache_jitter(-5000, 500, &key, CREATED), -5000);
    assert_int_equal(rcache_jitter(INT64_MIN, 500, &key, CREATED), INT64_MIN);
    assert_int_equal(rcache_jitter(1, 999, &key, CREATED), 1);

    /* what was fresh stays fresh, if ever so short */

    for (i = 0; i < 1000; i++) {
        assert_in_range(rcache_jitter(100, 999, &key, i), 1, 100);
        assert_in_range(rcache_jitter(3, UINT32_MAX, &key, i), 1, 3);
        assert_in_range(rcache_jitter(INT64_MAX, 500, &key, i),
                        INT64_MAX / 2, INT64_MAX);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc5861_the_windows),
        cmocka_unit_test(rfc9111_4_2_4_what_forbids_it),
        cmocka_unit_test(what_s_maxage_implies_can_be_overridden),
        cmocka_unit_test(a_wrong_clock_opens_no_window),
        cmocka_unit_test(xfetch_weighs_the_fetch),
        cmocka_unit_test(xfetch_is_exponential),
        cmocka_unit_test(xfetch_knows_when_not_to),
        cmocka_unit_test(jitter_shortens_within_its_share),
        cmocka_unit_test(jitter_never_harms)
    };

    return cmocka_run_group_tests_name("rcache_stale", tests, NULL, NULL);
}
