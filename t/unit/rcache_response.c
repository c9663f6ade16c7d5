
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "response.h"


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
        cmocka_unit_test(ignored_headers),
        cmocka_unit_test(rfc9111_5_2_2_4_fields_that_are_withheld),
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
