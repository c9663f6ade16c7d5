
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* for how long rcache_response_storable() says that a response is fresh */


#include "response.h"


static void
rfc9111_3_explicit_lifetime(void **state)
{
    (void) state;

    assert_fresh("Cache-Control: max-age=60", 60000);
    assert_fresh("Cache-Control: s-maxage=60", 60000);
    assert_fresh("Expires: " AT_NOW_P60, 60000);
    assert_fresh("X-Accel-Expires: 60", 60000);
    assert_fresh("cache-CONTROL: Max-Age=60", 60000);
}


static void
a_lifetime_has_a_source(void **state)
{
    unsigned  i;

    static const struct {
        const char         *headers;
        rcache_lifetime_e   source;
    } cases[] = {
        { "Cache-Control: max-age=60", RCACHE_LIFETIME_MAX_AGE },
        { "Cache-Control: max-age=60, s-maxage=60", RCACHE_LIFETIME_S_MAXAGE },
        { "Expires: " AT_NOW_P60, RCACHE_LIFETIME_EXPIRES },
        { "X-Accel-Expires: 60\nCache-Control: max-age=60",
          RCACHE_LIFETIME_ACCEL },
        { "CDN-Cache-Control: max-age=60\nCache-Control: max-age=1",
          RCACHE_LIFETIME_TARGETED },
        { "CDN-Cache-Control: public", RCACHE_LIFETIME_VALID },
        { "", RCACHE_LIFETIME_VALID }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_reason(storable_valid(cases[i].headers, 60, 0), NONE);
        assert_int_equal(fresh.source, cases[i].source);
    }
}


static void
valid_fills_in_what_is_not_said(void **state)
{
    (void) state;

    assert_reason(storable_valid("", 10, 0), NONE);
    assert_int_equal(fresh.lifetime, 10000);

    assert_reason(storable_valid("", 0, 0), NO_LIFETIME);
    assert_reason(storable_valid("", -1, 0), NO_LIFETIME);
    assert_reason(storable_valid("", INT64_MIN, 0), NO_LIFETIME);

    assert_reason(storable_valid("", INT64_MAX, 0), NONE);
    assert_int_equal(fresh.lifetime, RCACHE_DELTA_MAX * 1000);
}


/* like proxy_cache_valid: from arrival on, whatever the age or the delay */

static void
valid_counts_from_arrival(void **state)
{
    (void) state;

    assert_reason(storable_valid("Age: 100\nDate: " AT_NOW_M60, 10, 5000),
                  NONE);
    assert_int_equal(fresh.lifetime, 10000);
    assert_int_equal(fresh.age, 105);
}


static void
valid_never_overrides_the_response(void **state)
{
    (void) state;

    assert_reason(storable_valid("Cache-Control: max-age=5", 10, 0), NONE);
    assert_int_equal(fresh.lifetime, 5000);

    assert_reason(storable_valid("Cache-Control: max-age=0", 10, 0), STALE);
    assert_reason(storable_valid("Cache-Control: max-age=x", 10, 0), STALE);
    assert_reason(storable_valid("Expires: 0", 10, 0), STALE);
    assert_reason(storable_valid("Expires: " AT_NOW_M60, 10, 0), STALE);
    assert_reason(storable_valid("X-Accel-Expires: 0", 10, 0), ACCEL);
    assert_reason(storable_valid("Cache-Control: no-store", 10, 0), NO_STORE);
    assert_reason(storable_valid("Cache-Control: no-cache", 10, 0), NO_STORE);
    assert_reason(storable_valid("Cache-Control: private", 10, 0), PRIVATE);
    assert_reason(storable_valid("Set-Cookie: a=b", 10, 0), SET_COOKIE);
    assert_reason(storable_valid("Vary: Accept", 10, 0), VARY);
}


static void
rfc9111_4_2_1_precedence(void **state)
{
    (void) state;

    assert_fresh("Expires: " AT_NOW_P60 "\n"
                 "Cache-Control: max-age=50, s-maxage=40\n"
                 "X-Accel-Expires: 30", 30000);
    assert_fresh("X-Accel-Expires: 30\n"
                 "Cache-Control: s-maxage=40, max-age=50\n"
                 "Expires: " AT_NOW_P60, 30000);
    assert_fresh("Expires: " AT_NOW_P60 "\n"
                 "Cache-Control: max-age=50, s-maxage=40", 40000);
    assert_fresh("Expires: " AT_NOW_P60 "\nCache-Control: max-age=50", 50000);
    assert_fresh("Expires: 0\nCache-Control: max-age=50", 50000);
    assert_fresh("Expires: " AT_NOW_P60 "\nCache-Control: public", 60000);

    assert_reason(storable("Expires: " AT_NOW_P60 "\n"
                           "Cache-Control: max-age=50, s-maxage=0"), STALE);
    assert_reason(storable("Expires: " AT_NOW_P60 "\n"
                           "Cache-Control: max-age=0"), STALE);
}


/* lines that contradict each other: the shorter lifetime */

static void
rfc9111_4_2_1_repeated_lines(void **state)
{
    (void) state;

    assert_fresh("Expires: " AT_NOW_P60 "\nExpires: " AT_NOW_P90, 60000);
    assert_fresh("Expires: " AT_NOW_P90 "\nExpires: " AT_NOW_P60, 60000);
    assert_reason(storable("Expires: " AT_NOW_P90 "\nExpires: 0"), STALE);
    assert_reason(storable("Expires: 0\nExpires: " AT_NOW_P90), STALE);
    assert_fresh("X-Accel-Expires: 60\nX-Accel-Expires: 30", 30000);
    assert_reason(storable("X-Accel-Expires: 60\nX-Accel-Expires: 0"), ACCEL);
    assert_fresh("Cache-Control: max-age=90\nDate: " AT_NOW_M60 "\nDate: "
                 AT_NOW, 30000);
    assert_fresh("Cache-Control: max-age=90\nDate: " AT_NOW "\nDate: "
                 AT_NOW_M60, 30000);
    assert_fresh("Cache-Control: max-age=90\nDate: x\nDate: " AT_NOW_M60,
                 30000);
}


/* a clock that was never set, or worse */

static void
any_clock_will_do(void **state)
{
    size_t             i;
    rcache_response_t  resp;

    static const int64_t  nows[] = { INT64_MIN, -1, 0, INT64_MAX };

    (void) state;

    for (i = 0; i < sizeof(nows) / sizeof(nows[0]); i++) {

        rcache_response_init(&resp, 200, nows[i]);
        rcache_response_header(&resp, &unit_str("Expires"),
                               &unit_str(AT_NOW_P60));
        (void) rcache_response_storable(&resp, -1, 0, &fresh);

        rcache_response_header(&resp, &unit_str("Date"), &unit_str(AT_NOW));
        (void) rcache_response_storable(&resp, -1, 0, &fresh);

        rcache_response_header(&resp, &unit_str("X-Accel-Expires"),
                               &unit_str("@99999999999999999999"));
        (void) rcache_response_storable(&resp, -1, 0, &fresh);
    }

    rcache_response_init(&resp, 200, -5);
    rcache_response_header(&resp, &unit_str("Expires"),
                           &unit_str("Thu, 01 Jan 1970 00:00:10 GMT"));
    assert_reason(rcache_response_storable(&resp, -1, 0, &fresh), NONE);
    assert_int_equal(fresh.lifetime, 10000);
}


static void
rfc9111_5_3_expires(void **state)
{
    (void) state;

    assert_reason(storable("Expires: 0"), STALE);
    assert_reason(storable("Expires: -1"), STALE);
    assert_reason(storable("Expires: "), STALE);
    assert_reason(storable("Expires: never"), STALE);
    assert_reason(storable("Expires: Thu, 01 Jan 1970 00:00:00 GMT"), STALE);
    assert_reason(storable("Expires: Wed, 31 Dec 1969 23:59:59 GMT"), STALE);
    assert_reason(storable("Expires: " AT_NOW), STALE);
    assert_reason(storable("Date: " AT_NOW_P60 "\nExpires: " AT_NOW_P60),
                  STALE);
    assert_fresh("Expires: Tuesday, 14-Nov-23 22:14:20 GMT", 60000);
    assert_fresh("Expires: Tue Nov 14 22:14:20 2023", 60000);
    assert_fresh("Expires: Fri, 31 Dec 9999 23:59:59 GMT",
                 RCACHE_DELTA_MAX * 1000);
}


/* lifetime is Expires - Date, both from the origin's clock */

static void
rfc9111_4_2_1_expires_minus_date(void **state)
{
    (void) state;

    assert_fresh("Date: " AT_NOW "\nExpires: " AT_NOW_P60, 60000);

    /* the origin is a minute ahead of us: 30 seconds, not 90 */

    assert_fresh("Date: " AT_NOW_P60 "\nExpires: " AT_NOW_P90, 30000);

    /* made a minute ago, good for two: one is left */

    assert_fresh("Date: " AT_NOW_M60 "\nExpires: " AT_NOW_P60, 60000);
    assert_int_equal(fresh.age, 60);
}


static void
rfc9110_6_6_1_no_date(void **state)
{
    (void) state;

    assert_fresh("Date: yesterday\nExpires: " AT_NOW_P60, 60000);
    assert_fresh("Date: 0\nCache-Control: max-age=60", 60000);
    assert_int_equal(fresh.age, 0);
}


static void
rfc9111_4_2_3_age(void **state)
{
    (void) state;

    assert_fresh("Cache-Control: max-age=60\nAge: 10", 50000);
    assert_int_equal(fresh.age, 10);

    assert_reason(storable("Cache-Control: max-age=60\nAge: 60"), STALE);
    assert_reason(storable("Cache-Control: max-age=60\nAge: 61"), STALE);
    assert_fresh("Cache-Control: max-age=60\nAge: 59", 1000);
    assert_reason(storable("Cache-Control: max-age=60\nAge: 99999999999999999"
                           "999999999"), STALE);

    assert_fresh("Expires: " AT_NOW_P60 "\nAge: 10", 50000);
}


static void
rfc9111_5_1_age_that_is_none(void **state)
{
    size_t  i;

    static const char  *bad[] = {
        "", "-10", "10x", "1.5", "x", "10, 20", "0,x", "0;a=b", "0 0",
        "0\nAge: 0", "5\nAge: 9"
    };

    char  headers[128];

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(headers, sizeof(headers),
                 "Cache-Control: max-age=60\nAge: %s", bad[i]);
        assert_reason(storable(headers), STALE);

        snprintf(headers, sizeof(headers),
                 "Expires: " AT_NOW_P60 "\nAge: %s", bad[i]);
        assert_reason(storable(headers), STALE);

        /* the proxy's own lifetimes do not care */

        snprintf(headers, sizeof(headers), "X-Accel-Expires: 60\nAge: %s",
                 bad[i]);
        assert_fresh(headers, 60000);

        snprintf(headers, sizeof(headers), "Age: %s", bad[i]);
        assert_reason(storable_valid(headers, 10, 0), NONE);
    }

    assert_fresh("Cache-Control: max-age=60\nAge:  10 ", 50000);
}


static void
rfc9111_4_2_3_apparent_age(void **state)
{
    (void) state;

    assert_fresh("Cache-Control: max-age=90\nDate: " AT_NOW_M60, 30000);
    assert_int_equal(fresh.age, 60);

    assert_reason(storable("Cache-Control: max-age=60\nDate: " AT_NOW_M60),
                  STALE);

    /* the greater of both */

    assert_fresh("Cache-Control: max-age=90\nDate: " AT_NOW_M60 "\nAge: 10",
                 30000);
    assert_fresh("Cache-Control: max-age=90\nDate: " AT_NOW_M60 "\nAge: 70",
                 20000);

    /* a clock that is ahead of ours does not make the age negative */

    assert_fresh("Cache-Control: max-age=60\nDate: " AT_NOW_P60, 60000);
    assert_int_equal(fresh.age, 0);
}


static void
rfc9111_4_2_3_response_delay(void **state)
{
    (void) state;

    assert_reason(storable_valid("Cache-Control: max-age=60", -1, 100), NONE);
    assert_int_equal(fresh.lifetime, 59900);
    assert_int_equal(fresh.age, 0);

    assert_reason(storable_valid("Cache-Control: max-age=60\nAge: 10", -1,
                                 1500), NONE);
    assert_int_equal(fresh.lifetime, 48500);
    assert_int_equal(fresh.age, 11);

    assert_reason(storable_valid("Cache-Control: max-age=1", -1, 999), NONE);
    assert_int_equal(fresh.lifetime, 1);

    assert_reason(storable_valid("Cache-Control: max-age=1", -1, 1000),
                  STALE);

    assert_reason(storable_valid("Cache-Control: max-age=1", -1, -1000),
                  NONE);
    assert_int_equal(fresh.lifetime, 1000);

    assert_reason(storable_valid("Cache-Control: max-age=1", -1, INT64_MAX),
                  STALE);
    assert_reason(storable_valid("", 5, INT64_MAX), NONE);
    assert_int_equal(fresh.age, RCACHE_DELTA_MAX);
}


static void
rfc9111_1_2_2_lifetimes_are_capped(void **state)
{
    int64_t  max;

    (void) state;

    max = RCACHE_DELTA_MAX * 1000;

    assert_fresh("Cache-Control: max-age=99999999999999999999", max);
    assert_fresh("Cache-Control: s-maxage=99999999999999999999", max);
    assert_fresh("X-Accel-Expires: 99999999999999999999", max);
    assert_fresh("X-Accel-Expires: @99999999999999999999", max);
}


static void
accel_expires_relative(void **state)
{
    (void) state;

    /* from arrival on: neither age nor delay is taken off */

    assert_reason(storable_valid("X-Accel-Expires: 60\nAge: 100\nDate: "
                                 AT_NOW_M60, -1, 5000), NONE);
    assert_int_equal(fresh.lifetime, 60000);
    assert_int_equal(fresh.age, 105);

    assert_reason(storable("X-Accel-Expires: 0"), ACCEL);
    assert_reason(storable("X-Accel-Expires: 000"), ACCEL);
    assert_reason(storable("X-Accel-Expires: 0\nCache-Control: max-age=60"),
                  ACCEL);
    assert_reason(storable("Cache-Control: max-age=60\nX-Accel-Expires: 0"),
                  ACCEL);
}


static void
accel_expires_absolute(void **state)
{
    (void) state;

    assert_fresh("X-Accel-Expires: @1700000060", 60000);
    assert_fresh("X-Accel-Expires: @1700000001", 1000);
    assert_reason(storable("X-Accel-Expires: @1700000000"), ACCEL);
    assert_reason(storable("X-Accel-Expires: @1600000000"), ACCEL);
    assert_reason(storable("X-Accel-Expires: @0"), ACCEL);
}


static void
accel_expires_invalid_is_ignored(void **state)
{
    size_t  i;
    char    buf[128];

    static const char  *bad[] = {
        "", "-1", "x", "60s", "1.5", "@", "@x", "@-1", "@1700000060x", "@@5",
        "off", "60,60", NULL
    };

    (void) state;

    for (i = 0; bad[i]; i++) {
        snprintf(buf, sizeof(buf), "X-Accel-Expires: %s", bad[i]);
        assert_reason(storable(buf), NO_LIFETIME);

        snprintf(buf, sizeof(buf), "X-Accel-Expires: %s\n"
                 "Cache-Control: max-age=7", bad[i]);
        assert_fresh(buf, 7000);

        snprintf(buf, sizeof(buf), "X-Accel-Expires: %s\n"
                 "Cache-Control: max-age=7, no-cache", bad[i]);
        assert_reason(storable(buf), NO_STORE);
    }
}


/* over freshness and no-cache in either order, never over the other two */

static void
accel_expires_and_cache_control(void **state)
{
    (void) state;

    assert_fresh("X-Accel-Expires: 60\nCache-Control: no-cache", 60000);
    assert_fresh("Cache-Control: no-cache\nX-Accel-Expires: 60", 60000);
    assert_fresh("Cache-Control: max-age=0\nX-Accel-Expires: 60", 60000);
    assert_fresh("Expires: 0\nX-Accel-Expires: 60", 60000);

    assert_fresh("X-Accel-Expires: 60\nCache-Control: no-store", 60000);
    assert_fresh("Cache-Control: private\nX-Accel-Expires: 60", 60000);
    assert_fresh("CDN-Cache-Control: no-store\nX-Accel-Expires: 60", 60000);

    assert_fresh("Cache-Control: must-revalidate, stale-if-error=5, "
                 "private=\"a\"\nX-Accel-Expires: 60", 60000);
    assert_int_equal(fresh.stale_if_error, 0);
    assert_int_equal(fresh.flags, RCACHE_ENTRY_SHARED);

    assert_reason(storable("X-Accel-Expires: 60\nSet-Cookie: a"),
                  SET_COOKIE);
    assert_reason(storable("X-Accel-Expires: 60\nVary: *"), VARY);
}


static void
rfc9111_4_2_2_heuristic(void **state)
{
    unsigned  i;

    static const struct {
        unsigned  status;
        int       guess;
    } statuses[] = {
        { 200, 1 }, { 201, 0 }, { 202, 0 }, { 203, 1 }, { 204, 1 },
        { 300, 1 }, { 301, 1 }, { 302, 0 }, { 307, 0 }, { 308, 1 },
        { 403, 0 }, { 404, 1 }, { 405, 1 }, { 410, 1 }, { 414, 1 },
        { 500, 0 }, { 501, 1 }, { 502, 0 }, { 503, 0 }, { 504, 0 },
        { 599, 0 }
    };

    (void) state;

    for (i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        assert_int_equal(storable_with(statuses[i].status,
                                       "Last-Modified: " AT_NOW_M60,
                                       HEURISTIC) == RCACHE_REASON_NONE,
                         statuses[i].guess);

        assert_reason(storable_with(statuses[i].status, "Cache-Control: "
                                    "public\nLast-Modified: " AT_NOW_M60,
                                    HEURISTIC), NONE);
        assert_int_equal(fresh.source, RCACHE_LIFETIME_HEURISTIC);
    }

    assert_int_equal(fresh.lifetime, 6000);
    assert_int_equal(fresh.flags,
                     RCACHE_ENTRY_HEURISTIC | RCACHE_ENTRY_SHARED);

    /* from Date, and the age counts */

    assert_reason(storable_with(200, "Age: 2\nDate: " AT_NOW_P60
                                "\nLast-Modified: " AT_NOW_M60, HEURISTIC),
                  NONE);
    assert_int_equal(fresh.lifetime, 10000);

    /* capped */

    assert_reason(storable_with(200, "Last-Modified: Sun, 06 Nov 1994 "
                                "08:49:37 GMT", HEURISTIC), NONE);
    assert_int_equal(fresh.lifetime, RCACHE_HEURISTIC_MAX * 1000);

    /* never instead of what is said, and not from a date ahead */

    assert_reason(storable_with(200, "Cache-Control: max-age=0\n"
                                "Last-Modified: " AT_NOW_M60, HEURISTIC),
                  STALE);
    assert_reason(storable_with(200, "Expires: 0\n"
                                "Last-Modified: " AT_NOW_M60, HEURISTIC),
                  STALE);
    assert_reason(storable_with(200, "Last-Modified: " AT_NOW_P60, HEURISTIC),
                  NO_LIFETIME);
    assert_reason(storable_with(200, "Age: x\nLast-Modified: " AT_NOW_M60,
                                HEURISTIC), NO_LIFETIME);
    assert_reason(storable_with(200, "", HEURISTIC), NO_LIFETIME);
    assert_reason(storable_with(200, "Last-Modified: " AT_NOW_M60, 0),
                  NO_LIFETIME);
}


static void
valid_beats_a_guess(void **state)
{
    rcache_response_t  resp;

    (void) state;

    resp = response(200, "Last-Modified: " AT_NOW_M60);
    resp.heuristic = 1;

    assert_reason(rcache_response_storable(&resp, 7, 0, &fresh), NONE);
    assert_int_equal(fresh.lifetime, 7000);
    assert_int_equal(fresh.flags, 0);
}


static void
rfc5861_windows_and_what_forbids_them(void **state)
{
    (void) state;

    assert_fresh("Cache-Control: max-age=60, stale-while-revalidate=5, "
                 "stale-if-error=99999999999", 60000);
    assert_int_equal(fresh.stale_while_revalidate, 5);
    assert_int_equal(fresh.stale_if_error, RCACHE_DELTA_MAX);
    assert_int_equal(fresh.flags, 0);

    assert_fresh("Cache-Control: max-age=60, stale-while-revalidate=5, "
                 "stale-if-error=6, must-revalidate", 60000);
    assert_int_equal(fresh.stale_while_revalidate, 0);
    assert_int_equal(fresh.stale_if_error, 0);
    assert_int_equal(fresh.flags,
                     RCACHE_ENTRY_MUST_REVALIDATE | RCACHE_ENTRY_SHARED);

    assert_fresh("Cache-Control: max-age=60, stale-while-revalidate=5, "
                 "proxy-revalidate", 60000);
    assert_int_equal(fresh.stale_while_revalidate, 0);
    assert_int_equal(fresh.flags, RCACHE_ENTRY_MUST_REVALIDATE);

    /* the flag forbids what the origin did not ask for */

    assert_fresh("Cache-Control: s-maxage=60, stale-while-revalidate=5",
                 60000);
    assert_int_equal(fresh.stale_while_revalidate, 5);
    assert_int_equal(fresh.flags,
                     RCACHE_ENTRY_MUST_REVALIDATE | RCACHE_ENTRY_S_MAXAGE
                     | RCACHE_ENTRY_SHARED);

    /* one that did leaves nothing to s-maxage */

    assert_fresh("Cache-Control: s-maxage=60, proxy-revalidate", 60000);
    assert_int_equal(fresh.flags,
                     RCACHE_ENTRY_MUST_REVALIDATE | RCACHE_ENTRY_SHARED);

    assert_fresh("Cache-Control: must-revalidate, s-maxage=60", 60000);
    assert_int_equal(fresh.flags,
                     RCACHE_ENTRY_MUST_REVALIDATE | RCACHE_ENTRY_SHARED);

    /* in a field that is not in force it says nothing */

    assert_fresh("Cache-Control: s-maxage=9\nCDN-Cache-Control: max-age=60",
                 60000);
    assert_int_equal(fresh.flags, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc9111_3_explicit_lifetime),
        cmocka_unit_test(a_lifetime_has_a_source),
        cmocka_unit_test(valid_fills_in_what_is_not_said),
        cmocka_unit_test(valid_counts_from_arrival),
        cmocka_unit_test(valid_never_overrides_the_response),
        cmocka_unit_test(rfc9111_4_2_1_precedence),
        cmocka_unit_test(rfc9111_4_2_1_repeated_lines),
        cmocka_unit_test(any_clock_will_do),
        cmocka_unit_test(rfc9111_5_3_expires),
        cmocka_unit_test(rfc9111_4_2_1_expires_minus_date),
        cmocka_unit_test(rfc9110_6_6_1_no_date),
        cmocka_unit_test(rfc9111_4_2_3_age),
        cmocka_unit_test(rfc9111_5_1_age_that_is_none),
        cmocka_unit_test(rfc9111_4_2_3_apparent_age),
        cmocka_unit_test(rfc9111_4_2_3_response_delay),
        cmocka_unit_test(rfc9111_1_2_2_lifetimes_are_capped),
        cmocka_unit_test(accel_expires_relative),
        cmocka_unit_test(accel_expires_absolute),
        cmocka_unit_test(accel_expires_invalid_is_ignored),
        cmocka_unit_test(accel_expires_and_cache_control),
        cmocka_unit_test(rfc9111_4_2_2_heuristic),
        cmocka_unit_test(valid_beats_a_guess),
        cmocka_unit_test(rfc5861_windows_and_what_forbids_them)
    };

    return cmocka_run_group_tests_name("rcache_storable_lifetime", tests, NULL,
                                       NULL);
}
