
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "response.h"


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


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc9111_3_nothing_says_how_long),
        cmocka_unit_test(rfc9111_3_final_statuses),
        cmocka_unit_test(rfc9111_5_2_2_3_must_understand),
        cmocka_unit_test(rfc9111_5_2_2_no_store_no_cache_private),
        cmocka_unit_test(rfc9111_5_4_pragma_is_ignored),
        cmocka_unit_test(set_cookie_is_one_clients),
        cmocka_unit_test(rfc9111_4_1_vary),
        cmocka_unit_test(rfc9111_3_5_authorization),
        cmocka_unit_test(of_a_user),
        cmocka_unit_test(rfc9111_5_2_2_4_no_cache_is_stored_for_validation),
        cmocka_unit_test(stale_on_arrival),
        cmocka_unit_test(rfc9111_4_1_variants)
    };

    return cmocka_run_group_tests_name("rcache_storable", tests, NULL, NULL);
}
