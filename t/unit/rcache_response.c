
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_response.h"


/* Tue, 14 Nov 2023 22:13:20 GMT */

#define NOW         1700000000
#define AT_NOW      "Tue, 14 Nov 2023 22:13:20 GMT"
#define AT_NOW_M60  "Tue, 14 Nov 2023 22:12:20 GMT"
#define AT_NOW_P60  "Tue, 14 Nov 2023 22:14:20 GMT"
#define AT_NOW_P90  "Tue, 14 Nov 2023 22:14:50 GMT"


static rcache_freshness_t  fresh;


/* "Name: value\nName: value"; the values are never freed before the end */

static rcache_response_t
response(unsigned status, const char *headers)
{
    char               *p, *line, *colon;
    rcache_str_t        name, value;
    rcache_response_t   resp;

    static char         buf[4096];

    assert_true(strlen(headers) < sizeof(buf));
    strcpy(buf, headers);

    rcache_response_init(&resp, status, NOW);

    for (p = buf; (line = strsep(&p, "\n")) != NULL; /* void */ ) {

        colon = strchr(line, ':');

        if (colon == NULL) {
            continue;
        }

        name.data = (u_char *) line;
        name.len = colon - line;

        colon++;
        colon += (*colon == ' ');

        value.data = (u_char *) colon;
        value.len = strlen(colon);

        rcache_response_header(&resp, &name, &value);
    }

    return resp;
}


/* the reason for a 200, with nothing from the configuration and no delay */

static rcache_reason_e
storable(const char *headers)
{
    rcache_response_t  resp;

    memset(&fresh, 0, sizeof(fresh));

    resp = response(200, headers);

    return rcache_response_storable(&resp, -1, 0, &fresh);
}


static rcache_reason_e
storable_valid(const char *headers, int64_t valid, int64_t delay)
{
    rcache_response_t  resp;

    memset(&fresh, 0, sizeof(fresh));

    resp = response(200, headers);

    return rcache_response_storable(&resp, valid, delay, &fresh);
}


#define assert_reason(call, reason)                                           \
    assert_string_equal((char *) rcache_reason_name(call)->data,              \
                    (char *) rcache_reason_name(RCACHE_REASON_##reason)->data)

#define assert_fresh(headers, ms)                                             \
    do {                                                                      \
        assert_reason(storable(headers), NONE);                               \
        assert_int_equal(fresh.lifetime, ms);                                 \
    } while (0)


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
rfc9111_3_nothing_says_how_long(void **state)
{
    (void) state;

    assert_reason(storable(""), NO_LIFETIME);
    assert_reason(storable("Cache-Control: public"), NO_LIFETIME);
    assert_reason(storable("Cache-Control: must-revalidate"), NO_LIFETIME);
    assert_reason(storable("Last-Modified: " AT_NOW_M60), NO_LIFETIME);
    assert_reason(storable("Cache-Control: stale-if-error=60"), NO_LIFETIME);
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
rfc9111_3_final_statuses(void **state)
{
    unsigned           status;
    rcache_reason_e    reason;
    rcache_response_t  resp;

    (void) state;

    for (status = 0; status < 1100; status++) {
        resp = response(status, "Cache-Control: max-age=60");
        reason = rcache_response_storable(&resp, 60, 0, &fresh);

        if (status < 200 || status > 599 || status == 206 || status == 304) {
            assert_reason(reason, STATUS);

        } else {
            assert_reason(reason, NONE);
        }
    }

    resp = response(404, "");
    assert_reason(rcache_response_storable(&resp, -1, 0, &fresh),
                  NO_LIFETIME);
    assert_reason(rcache_response_storable(&resp, 5, 0, &fresh), NONE);
}


static void
rfc9111_5_2_2_3_must_understand(void **state)
{
    rcache_response_t  resp;

    (void) state;

    assert_fresh("Cache-Control: must-understand, max-age=60", 60000);

    resp = response(299, "Cache-Control: must-understand, max-age=60");
    assert_reason(rcache_response_storable(&resp, -1, 0, &fresh), STATUS);

    resp = response(404, "Cache-Control: must-understand, max-age=60");
    assert_reason(rcache_response_storable(&resp, -1, 0, &fresh), NONE);

    /* no-store is for those that do not know must-understand */

    assert_fresh("Cache-Control: must-understand, no-store, max-age=60",
                 60000);

    resp = response(299, "Cache-Control: must-understand, no-store, "
                         "max-age=60");
    assert_reason(rcache_response_storable(&resp, -1, 0, &fresh), STATUS);
}


static void
rfc9111_5_2_2_no_store_no_cache_private(void **state)
{
    (void) state;

    assert_reason(storable("Cache-Control: max-age=60, no-store"), NO_STORE);
    assert_reason(storable("Cache-Control: max-age=60, no-cache"), NO_STORE);
    assert_reason(storable("Cache-Control: max-age=60, no-cache=a"),
                  NO_STORE);
    assert_reason(storable("Cache-Control: max-age=60, private"), PRIVATE);
    assert_reason(storable("Cache-Control: max-age=60, private=a"), PRIVATE);
    assert_reason(storable("Cache-Control: max-age=60, private=\"a\", "
                           "private"), PRIVATE);
    assert_reason(storable("Cache-Control: public, s-maxage=60, private"),
                  PRIVATE);
    assert_reason(storable("Cache-Control: max-age=60\n"
                           "Cache-Control: private"), PRIVATE);
}


/* RFC 9111, 5.4: Pragma is of requests, and no server means it as more */

static void
rfc9111_5_4_pragma_is_ignored(void **state)
{
    (void) state;

    assert_fresh("Cache-Control: max-age=60\nPragma: no-cache", 60000);
}


static void
set_cookie_is_one_clients(void **state)
{
    (void) state;

    assert_reason(storable("Cache-Control: max-age=60\nSet-Cookie: a=b"),
                  SET_COOKIE);
    assert_reason(storable("set-cookie: a=b\nCache-Control: public, "
                           "s-maxage=60"), SET_COOKIE);
    assert_reason(storable("X-Accel-Expires: 60\nSet-Cookie: a=b"),
                  SET_COOKIE);
    assert_reason(storable("Cache-Control: max-age=60\nSet-Cookie: "),
                  SET_COOKIE);
}


static void
rfc9111_4_1_vary(void **state)
{
    (void) state;

    assert_reason(storable("Cache-Control: max-age=60\nVary: *"), VARY);
    assert_reason(storable("Cache-Control: max-age=60\nvary: Accept"), VARY);
    assert_reason(storable("Cache-Control: max-age=60\nVary: , a"), VARY);
    assert_reason(storable("Cache-Control: max-age=60\nVary: \nVary: a"),
                  VARY);
    assert_reason(storable("Cache-Control: max-age=60\nVary: a\nVary: "),
                  VARY);
    assert_reason(storable("X-Accel-Expires: 60\nVary: a"), VARY);

    /* names nothing */

    assert_fresh("Cache-Control: max-age=60\nVary: ", 60000);
    assert_fresh("Cache-Control: max-age=60\nVary:  ,\t, ", 60000);
}


/* what is private is, once the user is in the key */

static void
of_a_user(void **state)
{
    size_t             i;
    rcache_response_t  resp;

    static const struct {
        const char       *headers;
        rcache_reason_e   reason;
    } rows[] = {
        { "Cache-Control: private, max-age=60", RCACHE_REASON_NONE },
        { "Cache-Control: max-age=60", RCACHE_REASON_NONE },
        { "Cache-Control: private", RCACHE_REASON_NO_LIFETIME },
        { "Cache-Control: no-store, max-age=60", RCACHE_REASON_NO_STORE },
        { "Cache-Control: max-age=60\nSet-Cookie: a=b",
          RCACHE_REASON_SET_COOKIE },
        { "Cache-Control: max-age=60\nVary: *", RCACHE_REASON_VARY },
        { "Cache-Control: max-age=60\nVary: Cookie", RCACHE_REASON_VARY },
    };

    (void) state;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        resp = response(200, rows[i].headers);
        resp.user = 1;
        resp.authorization = 1;
        resp.variants = 1;

        assert_int_equal(rcache_response_storable(&resp, -1, 0, &fresh),
                         rows[i].reason);

        if (rows[i].reason == RCACHE_REASON_NONE) {
            assert_true(fresh.flags & RCACHE_ENTRY_PRIVATE);
        }
    }

    resp = response(200, "Cache-Control: max-age=60");

    assert_int_equal(rcache_response_storable(&resp, -1, 0, &fresh),
                     RCACHE_REASON_NONE);
    assert_false(fresh.flags & RCACHE_ENTRY_PRIVATE);
}


static void
rfc9111_3_5_authorization(void **state)
{
    size_t             i;
    rcache_response_t  resp;

    static const struct {
        const char  *cc;
        int          shared;
    } cases[] = {
        { "max-age=60", 0 },
        { "max-age=60, proxy-revalidate", 0 },
        { "max-age=60, public", 1 },
        { "max-age=60, must-revalidate", 1 },
        { "s-maxage=60", 1 }
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rcache_response_init(&resp, 200, NOW);
        rcache_response_header(&resp, &unit_str("Cache-Control"),
                               &unit_cstr(cases[i].cc));

        assert_int_equal(rcache_response_shared(&resp), cases[i].shared);

        assert_reason(rcache_response_storable(&resp, -1, 0, &fresh), NONE);

        resp.authorization = 1;

        if (cases[i].shared) {
            assert_reason(rcache_response_storable(&resp, -1, 0, &fresh),
                          NONE);
        } else {
            assert_reason(rcache_response_storable(&resp, -1, 0, &fresh),
                          AUTHORIZATION);
        }
    }

    /* a lifetime of the proxy's own says nothing about who may see it */

    resp = response(200, "X-Accel-Expires: 60");
    resp.authorization = 1;
    assert_reason(rcache_response_storable(&resp, 60, 0, &fresh),
                  AUTHORIZATION);
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


/* as redis_proxy_cache_ignore_headers asks */

static void
ignored_headers(void **state)
{
    size_t              i;
    rcache_str_t        name, value;
    rcache_response_t   resp;

    static const struct {
        const char  *name;
        const char  *value;
        unsigned     bit;
    } ignored[] = {
        { "X-Accel-Expires", "0", RCACHE_IGNORE_X_ACCEL_EXPIRES },
        { "Expires", "0", RCACHE_IGNORE_EXPIRES },
        { "Cache-Control", "no-store", RCACHE_IGNORE_CACHE_CONTROL },
        { "CDN-Cache-Control", "no-store", RCACHE_IGNORE_CACHE_CONTROL },
        { "Set-Cookie", "a=b", RCACHE_IGNORE_SET_COOKIE },
        { "Vary", "*", RCACHE_IGNORE_VARY }
    };

    (void) state;

    for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        name = unit_cstr(ignored[i].name);
        value = unit_cstr(ignored[i].value);

        rcache_response_init(&resp, 200, NOW);
        rcache_response_header(&resp, &name, &value);
        assert_true(rcache_response_storable(&resp, 10, 0, &fresh)
                    != RCACHE_REASON_NONE);

        rcache_response_init(&resp, 200, NOW);
        resp.ignore = ignored[i].bit;
        rcache_response_header(&resp, &name, &value);
        assert_reason(rcache_response_storable(&resp, 10, 0, &fresh), NONE);
        assert_int_equal(fresh.lifetime, 10000);
    }

    /* ignored or not, it is one client's */

    assert_false(rcache_response_keeps(&resp, &unit_str("Set-Cookie")));
}


static rcache_reason_e
storable_with(unsigned status, const char *headers, unsigned flags)
{
    rcache_response_t  resp;

    memset(&fresh, 0, sizeof(fresh));

    resp = response(status, headers);
    resp.heuristic = (flags & 1) != 0;
    resp.variants = (flags & 2) != 0;
    resp.revalidate = (flags & 4) != 0;
    resp.stale = (flags & 8) != 0;

    return rcache_response_storable(&resp, -1, 0, &fresh);
}


#define HEURISTIC   1
#define VARIANTS    2
#define REVALIDATE  4
#define STALE       8


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
rfc9111_5_2_2_4_no_cache_is_stored_for_validation(void **state)
{
    (void) state;

    assert_reason(storable_with(200, "Cache-Control: no-cache\nETag: \"a\"",
                                REVALIDATE), NONE);
    assert_int_equal(fresh.lifetime, 0);
    assert_int_equal(fresh.flags, RCACHE_ENTRY_NO_CACHE);

    assert_reason(storable_with(200, "Cache-Control: no-cache, max-age=60, "
                                "stale-if-error=9\nLast-Modified: "
                                AT_NOW_M60, REVALIDATE), NONE);
    assert_int_equal(fresh.lifetime, 0);
    assert_int_equal(fresh.stale_if_error, 0);

    /* nobody could ever use it */

    assert_reason(storable_with(200, "Cache-Control: no-cache",
                                REVALIDATE | STALE), NO_STORE);
    assert_reason(storable_with(200, "Cache-Control: no-cache\nETag: \"a\"",
                                STALE), NO_STORE);
}


static void
rfc9111_5_2_2_4_fields_that_are_withheld(void **state)
{
    rcache_response_t  resp;

    (void) state;

    resp = response(200, "Cache-Control: max-age=60, no-cache=\"a, b\", "
                         "private=\"c\"");

    assert_reason(rcache_response_storable(&resp, -1, 0, &fresh), NONE);
    assert_int_equal(fresh.lifetime, 60000);
    assert_int_equal(fresh.flags, 0);

    assert_false(rcache_response_keeps(&resp, &unit_str("A")));
    assert_false(rcache_response_keeps(&resp, &unit_str("b")));
    assert_false(rcache_response_keeps(&resp, &unit_str("C")));
    assert_true(rcache_response_keeps(&resp, &unit_str("d")));
}


static void
stale_on_arrival(void **state)
{
    (void) state;

    assert_reason(storable_with(200, "Cache-Control: max-age=15\nAge: 20\n"
                                "ETag: \"a\"", 0), STALE);
    assert_reason(storable_with(200, "Cache-Control: max-age=15\nAge: 20\n"
                                "ETag: \"a\"", REVALIDATE), NONE);
    assert_int_equal(fresh.lifetime, -5000);
    assert_int_equal(fresh.age, 20);

    assert_reason(storable_with(200, "Cache-Control: max-age=15\nAge: 20",
                                REVALIDATE), STALE);
    assert_reason(storable_with(200, "Cache-Control: max-age=15\nAge: 20",
                                STALE), NONE);
    assert_int_equal(fresh.lifetime, -5000);

    /* of no use to anybody */

    assert_reason(storable_with(200, "Cache-Control: max-age=0, "
                                "must-revalidate", STALE), STALE);
    assert_reason(storable_with(200, "Cache-Control: s-maxage=0", STALE),
                  STALE);
    assert_reason(storable_with(200, "Cache-Control: s-maxage=0\nETag: a",
                                REVALIDATE), NONE);
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


static void
rfc9111_4_1_variants(void **state)
{
    rcache_response_t  resp;

    (void) state;

    assert_reason(storable_with(200, "Cache-Control: max-age=60\nVary: b, A\n"
                                "Vary: a", VARIANTS), NONE);

    resp = response(200, "Vary: b, A\nVary: a");
    assert_int_equal(resp.vary.len, 3);
    assert_memory_equal(resp.vary.text, "a,b", 3);

    assert_reason(storable_with(200, "Cache-Control: max-age=60\nVary: a, *",
                                VARIANTS), VARY);
    assert_reason(storable_with(200, "Cache-Control: max-age=60\nVary: \n"
                                "Vary: *", VARIANTS), VARY);
    assert_reason(storable_with(200, "Cache-Control: max-age=60\nVary: a b",
                                VARIANTS), VARY);
    assert_reason(storable_with(200, "Cache-Control: max-age=60\n"
                                "Vary: Accept, Cookie", VARIANTS), VARY);
    assert_reason(storable_with(200, "Cache-Control: max-age=60\n"
                                "Vary: authorization", VARIANTS), VARY);
}


static void
rfc9213_2_2_targeted_fields(void **state)
{
    rcache_response_t  resp;

    static const rcache_str_t  names[] = {
        { 8, (u_char *) "Shop-CDN" },
        { 17, (u_char *) "CDN-Cache-Control" }
    };

    (void) state;

    assert_fresh("Cache-Control: no-store\nCDN-Cache-Control: max-age=60",
                 60000);
    assert_fresh("CDN-Cache-Control: max-age=60\nExpires: 0\n"
                 "Cache-Control: private, max-age=5", 60000);
    assert_fresh("CDN-Cache-Control: max-age=5, a\n"
                 "CDN-Cache-Control: max-age=60", 60000);

    assert_reason(storable("CDN-Cache-Control: no-store\n"
                           "Cache-Control: max-age=60"), NO_STORE);
    assert_reason(storable("CDN-Cache-Control: none\nExpires: " AT_NOW_P60
                           "\nCache-Control: max-age=60"), NO_LIFETIME);

    /* empty or malformed: as if it were not there */

    assert_fresh("CDN-Cache-Control: \nCache-Control: max-age=60", 60000);
    assert_fresh("CDN-Cache-Control: max-age=5,\nCache-Control: max-age=60",
                 60000);
    assert_fresh("CDN-Cache-Control: max-age =5\nExpires: " AT_NOW_P60,
                 60000);

    assert_reason(storable("CDN-Cache-Control: a\nCDN-Cache-Control: a\n"
                           "CDN-Cache-Control: a\nCDN-Cache-Control: a\n"
                           "CDN-Cache-Control: a"), HEADERS);

    /* the order is that of the list */

    rcache_response_init(&resp, 200, NOW);
    rcache_response_targets(&resp, names, 2);
    rcache_response_header(&resp, &names[1], &unit_str("max-age=5"));
    rcache_response_header(&resp, &names[0], &unit_str("max-age=60"));
    assert_reason(rcache_response_storable(&resp, -1, 0, &fresh), NONE);
    assert_int_equal(fresh.lifetime, 60000);

    rcache_response_init(&resp, 200, NOW);
    rcache_response_targets(&resp, names, 2);
    rcache_response_header(&resp, &names[1], &unit_str("max-age=5"));
    rcache_response_header(&resp, &names[0], &unit_str("&"));
    assert_reason(rcache_response_storable(&resp, -1, 0, &fresh), NONE);
    assert_int_equal(fresh.lifetime, 5000);

    rcache_response_init(&resp, 200, NOW);
    rcache_response_targets(&resp, NULL, 0);
    rcache_response_header(&resp, &names[1], &unit_str("max-age=5"));
    assert_reason(rcache_response_storable(&resp, -1, 0, &fresh),
                  NO_LIFETIME);
}


static void
content_length_is_noted(void **state)
{
    rcache_response_t  resp;

    (void) state;

    resp = response(200, "content-length: 5");
    assert_int_equal(resp.content_length, 1);

    resp = response(200, "Content-Encoding: x");
    assert_int_equal(resp.content_length, 0);
}


static void
too_many_connection_lines(void **state)
{
    (void) state;

    assert_reason(storable("Cache-Control: max-age=60\nConnection: a\n"
                           "Connection: b\nConnection: c\nConnection: d"),
                  NONE);
    assert_reason(storable("Cache-Control: max-age=60\nConnection: a\n"
                           "Connection: b\nConnection: c\nConnection: d\n"
                           "connection: e"), HEADERS);
}


static int
keeps(const char *headers, const char *name)
{
    rcache_str_t       s;
    rcache_response_t  resp;

    resp = response(200, headers);
    s = unit_cstr(name);

    return rcache_response_keeps(&resp, &s);
}


static void
rfc9111_3_1_kept(void **state)
{
    size_t  i;

    static const char  *names[] = {
        "Content-Type", "ETag", "Date", "Cache-Control", "Expires", "Vary",
        "Content-Encoding", "Server", "X-Accel", "X-Acce", "Set-Cookie3",
        "Set-Cooki", "Ag", "Ages", "T", "TEE", "Last-Modified", "Via",
        "Content-Range", "WWW-Authenticate", "Strict-Transport-Security", NULL
    };

    (void) state;

    for (i = 0; names[i]; i++) {
        if (!keeps("Connection: keep-alive", names[i])) {
            fail_msg("%s is dropped", names[i]);
        }
    }
}


static void
rfc9111_3_1_dropped(void **state)
{
    size_t  i;

    static const char  *names[] = {
        "Connection", "connection", "Keep-Alive", "Proxy-Connection", "TE",
        "te", "Trailer", "Transfer-Encoding", "Upgrade", "upgrade",
        "Proxy-Authenticate", "Proxy-Authorization",
        "Proxy-Authentication-Info", "Set-Cookie", "SET-COOKIE",
        "Content-Length", "Age", "X-Accel-Expires",
        "X-Accel-Redirect", "x-accel-buffering", "X-Accel-", "X-ACCEL-FOO",
        NULL
    };

    (void) state;

    for (i = 0; names[i]; i++) {
        if (keeps("", names[i])) {
            fail_msg("%s is kept", names[i]);
        }
    }
}


static void
rfc9110_7_6_1_named_by_connection(void **state)
{
    static const char  headers[] = "Connection: close, X-Hop\n"
                                   "Connection: ,\tx-other ,,Last-One";

    (void) state;

    assert_false(keeps(headers, "X-Hop"));
    assert_false(keeps(headers, "x-hop"));
    assert_false(keeps(headers, "X-Other"));
    assert_false(keeps(headers, "Last-One"));
    assert_false(keeps(headers, "Close"));

    assert_true(keeps(headers, "X-Ho"));
    assert_true(keeps(headers, "X-Hop2"));
    assert_true(keeps(headers, "Hop"));
    assert_true(keeps(headers, "X-Hop,"));
    assert_true(keeps("", "X-Hop"));
    assert_true(keeps("Connection: ", "X-Hop"));
}


/* names of the same length as those that matter */

static void
other_headers_change_nothing(void **state)
{
    (void) state;

    assert_fresh("Cache-Control: max-age=60\nXyz: 100\nDatX: " AT_NOW_M60
                 "\nVarX: *\nExpireX: 0\nSet-CookiX: a\nSet-CookieX: a\n"
                 "Cache-ControX: private\nContent-LengtX: 5\n"
                 "X-Accel-ExpireX: 0\nConnectioX: a\n: a", 60000);
}


/* who answers Range says so itself */

static void
accept_ranges(void **state)
{
    rcache_response_t  resp;

    (void) state;

    resp = response(200, "Accept-Ranges: bytes");
    assert_true(rcache_response_keeps(&resp, &unit_str("Accept-Ranges")));

    resp.ranges = 1;
    assert_false(rcache_response_keeps(&resp, &unit_str("accept-ranges")));
    assert_true(rcache_response_keeps(&resp, &unit_str("Accept-Rangez")));
}


/* RFC 9110, 6.6.1: a response that has no Date is dated on arrival */

static void
rfc9110_6_6_1_dated(void **state)
{
    size_t             i;
    int32_t            dated;
    rcache_response_t  resp;

    static const struct {
        const char  *headers;
        int          rc;
        int32_t      dated;
    } t[] = {
        { "", RCACHE_OK, 0 },
        { "Date: " AT_NOW, RCACHE_OK, 0 },
        { "Date: " AT_NOW_M60, RCACHE_OK, 60 },
        { "Date: " AT_NOW_P60, RCACHE_OK, -60 },
        { "Date: Tuesday, 14-Nov-23 22:12:20 GMT", RCACHE_OK, 60 },
        { "Date: " AT_NOW_P60 "\nDate: " AT_NOW_M60, RCACHE_OK, 60 },
        { "Date: yesterday", RCACHE_OK, 0 },
        { "Date: Thu, 01 Jan 1970 00:00:00 GMT", RCACHE_OK, NOW },
        { "Date: Fri, 31 Dec 9999 23:59:59 GMT", RCACHE_DECLINED, 0 },

        /* for this hop, or withheld */

        { "Date: " AT_NOW_M60 "\nConnection: date", RCACHE_OK, 0 },
        { "Date: " AT_NOW_M60 "\nCache-Control: no-cache=\"date\"",
          RCACHE_OK, 0 }
    };

    (void) state;

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        resp = response(200, t[i].headers);
        dated = 0x5a5a5a5a;

        assert_int_equal(rcache_response_dated(&resp, &dated), t[i].rc);
        assert_int_equal(dated, t[i].dated);
    }

    /* the first and the last that there are */

    resp = response(200, "");

    resp.date = NOW - (int64_t) INT32_MAX;
    assert_int_equal(rcache_response_dated(&resp, &dated), RCACHE_OK);
    assert_int_equal(dated, INT32_MAX);

    resp.date--;
    assert_int_equal(rcache_response_dated(&resp, &dated), RCACHE_DECLINED);

    resp.date = NOW - (int64_t) INT32_MIN;
    assert_int_equal(rcache_response_dated(&resp, &dated), RCACHE_OK);
    assert_int_equal(dated, INT32_MIN);

    resp.date++;
    assert_int_equal(rcache_response_dated(&resp, &dated), RCACHE_DECLINED);
    assert_int_equal(dated, 0);
}


/* what Date says now need not be parsed, and means the same */

static void
date_is_now(void **state)
{
    rcache_str_t       name, value;
    rcache_response_t  resp;

    (void) state;

    rcache_response_init(&resp, 200, NOW);

    resp.now_date = unit_str(AT_NOW);

    name = unit_str("date");
    value = unit_str(AT_NOW);
    rcache_response_header(&resp, &name, &value);

    assert_int_equal(resp.date, NOW);

    value = unit_str(AT_NOW_P60);
    rcache_response_header(&resp, &name, &value);

    assert_int_equal(resp.date, NOW);

    value = unit_str(AT_NOW_M60);
    rcache_response_header(&resp, &name, &value);

    assert_int_equal(resp.date, NOW - 60);

    /* the line is not as nginx would write it */

    rcache_response_init(&resp, 200, NOW);

    resp.now_date = unit_str(AT_NOW);

    value = unit_str(" " AT_NOW " ");
    rcache_response_header(&resp, &name, &value);

    assert_int_equal(resp.date, NOW);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc9111_3_explicit_lifetime),
        cmocka_unit_test(a_lifetime_has_a_source),
        cmocka_unit_test(rfc9111_3_nothing_says_how_long),
        cmocka_unit_test(valid_fills_in_what_is_not_said),
        cmocka_unit_test(valid_counts_from_arrival),
        cmocka_unit_test(valid_never_overrides_the_response),
        cmocka_unit_test(rfc9111_3_final_statuses),
        cmocka_unit_test(rfc9111_5_2_2_3_must_understand),
        cmocka_unit_test(rfc9111_5_2_2_no_store_no_cache_private),
        cmocka_unit_test(rfc9111_5_4_pragma_is_ignored),
        cmocka_unit_test(set_cookie_is_one_clients),
        cmocka_unit_test(rfc9111_4_1_vary),
        cmocka_unit_test(rfc9111_3_5_authorization),
        cmocka_unit_test(of_a_user),
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
        cmocka_unit_test(ignored_headers),
        cmocka_unit_test(rfc9111_4_2_2_heuristic),
        cmocka_unit_test(valid_beats_a_guess),
        cmocka_unit_test(rfc9111_5_2_2_4_no_cache_is_stored_for_validation),
        cmocka_unit_test(rfc9111_5_2_2_4_fields_that_are_withheld),
        cmocka_unit_test(stale_on_arrival),
        cmocka_unit_test(rfc5861_windows_and_what_forbids_them),
        cmocka_unit_test(rfc9111_4_1_variants),
        cmocka_unit_test(rfc9213_2_2_targeted_fields),
        cmocka_unit_test(content_length_is_noted),
        cmocka_unit_test(too_many_connection_lines),
        cmocka_unit_test(rfc9111_3_1_kept),
        cmocka_unit_test(rfc9111_3_1_dropped),
        cmocka_unit_test(rfc9110_7_6_1_named_by_connection),
        cmocka_unit_test(other_headers_change_nothing),
        cmocka_unit_test(accept_ranges),
        cmocka_unit_test(rfc9110_6_6_1_dated),
        cmocka_unit_test(date_is_now)
    };

    return cmocka_run_group_tests_name("rcache_response", tests, NULL, NULL);
}
