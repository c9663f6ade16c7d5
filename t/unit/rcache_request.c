
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_request.h"


#define CREATED  ((int64_t) 1700000000000)


static rcache_entry_t  entry;


static rcache_request_t
request(const char *cc, const char *pragma)
{
    rcache_request_t  req;

    rcache_request_init(&req);

    if (cc) {
        rcache_request_header(&req, &unit_str("cache-control"),
                              &unit_cstr(cc));
    }

    if (pragma) {
        rcache_request_header(&req, &unit_str("PRAGMA"), &unit_cstr(pragma));
    }

    rcache_request_header(&req, &unit_str("Accept"), &unit_str("no-cache"));
    rcache_request_header(&req, &unit_str("PragmX"), &unit_str("no-cache"));
    rcache_request_header(&req, &unit_str("Cache-ControX"),
                          &unit_str("no-cache"));

    return req;
}


/* seconds after the response came */

static rcache_use_e
use(const char *cc, int64_t elapsed)
{
    rcache_use_e      quiet;
    rcache_request_t  req;

    req = request(cc, NULL);

    /* a client without a say gets what the entry's lifetime gives */

    quiet = rcache_request_use(&req, &entry, CREATED + elapsed * 1000, 0);

    if (entry.flags & RCACHE_ENTRY_NO_CACHE) {
        assert_int_equal(quiet, RCACHE_USE_EXPIRED);

    } else {
        assert_int_equal(quiet,
                         rcache_entry_fresh(&entry, CREATED + elapsed * 1000)
                         ? RCACHE_USE_FRESH : RCACHE_USE_EXPIRED);
    }

    return rcache_request_use(&req, &entry, CREATED + elapsed * 1000, 1);
}


static void
set(int64_t lifetime, uint32_t age, uint32_t flags)
{
    memset(&entry, 0, sizeof(entry));

    entry.created = CREATED;
    entry.lifetime = lifetime * 1000;
    entry.age = age;
    entry.flags = flags;
}


static void
rfc9111_4_2_fresh_or_expired(void **state)
{
    (void) state;

    set(60, 0, 0);

    assert_int_equal(use("", 0), RCACHE_USE_FRESH);
    assert_int_equal(use("", 59), RCACHE_USE_FRESH);
    assert_int_equal(use("", 60), RCACHE_USE_EXPIRED);
    assert_int_equal(use("foo, no-store", 0), RCACHE_USE_FRESH);
}


static void
rfc9111_5_2_1_1_max_age(void **state)
{
    (void) state;

    set(60, 10, 0);

    assert_int_equal(use("max-age=15", 5), RCACHE_USE_FRESH);
    assert_int_equal(use("max-age=15", 6), RCACHE_USE_FORCED);
    assert_int_equal(use("max-age=9", 0), RCACHE_USE_FORCED);
    assert_int_equal(use("max-age=99999999999", 59), RCACHE_USE_FRESH);
    assert_int_equal(use("max-age=x", 0), RCACHE_USE_FORCED);

    /* what a browser sends for a reload, however young the entry */

    set(60, 0, 0);

    assert_int_equal(use("max-age=0", 0), RCACHE_USE_FORCED);
    assert_int_equal(use("max-age=0", 60), RCACHE_USE_EXPIRED);
}


static void
rfc9111_5_2_1_2_max_stale(void **state)
{
    (void) state;

    set(60, 0, 0);

    assert_int_equal(use("max-stale", 59), RCACHE_USE_FRESH);
    assert_int_equal(use("max-stale", 60), RCACHE_USE_STALE);
    assert_int_equal(use("max-stale", 1000000000), RCACHE_USE_STALE);
    assert_int_equal(use("max-stale=5", 65), RCACHE_USE_STALE);
    assert_int_equal(use("max-stale=5", 66), RCACHE_USE_EXPIRED);
    assert_int_equal(use("max-stale=0", 60), RCACHE_USE_STALE);
    assert_int_equal(use("max-stale=0", 61), RCACHE_USE_EXPIRED);
    assert_int_equal(use("max-stale=x", 61), RCACHE_USE_EXPIRED);

    /* with others */

    assert_int_equal(use("max-stale, no-cache", 61), RCACHE_USE_EXPIRED);
    assert_int_equal(use("max-stale, max-age=0", 61), RCACHE_USE_EXPIRED);
    assert_int_equal(use("max-stale, max-age=60", 61), RCACHE_USE_EXPIRED);
    assert_int_equal(use("max-stale, max-age=90", 61), RCACHE_USE_STALE);
    assert_int_equal(use("max-stale, min-fresh=1", 61), RCACHE_USE_EXPIRED);

    /* stale when it came */

    set(-500, 2000, 0);

    assert_int_equal(use("max-stale=1000", 0), RCACHE_USE_STALE);
    assert_int_equal(use("max-stale=500", 0), RCACHE_USE_STALE);
    assert_int_equal(use("max-stale=499", 0), RCACHE_USE_EXPIRED);

    /* not fresh because of a wrong clock: not stale by a known time */

    set(60, 0, 0);

    assert_int_equal(use("max-stale", -61), RCACHE_USE_EXPIRED);
}


static void
rfc9111_4_2_4_staleness_forbidden(void **state)
{
    (void) state;

    set(60, 0, RCACHE_ENTRY_MUST_REVALIDATE);

    assert_int_equal(use("max-stale", 59), RCACHE_USE_FRESH);
    assert_int_equal(use("max-stale", 60), RCACHE_USE_EXPIRED);

    set(60, 0, RCACHE_ENTRY_NO_CACHE);

    assert_int_equal(use("max-stale", 0), RCACHE_USE_EXPIRED);
    assert_int_equal(use("", 0), RCACHE_USE_EXPIRED);
}


static void
rfc9111_5_2_1_3_min_fresh(void **state)
{
    (void) state;

    set(60, 0, 0);

    assert_int_equal(use("min-fresh=60", 0), RCACHE_USE_FRESH);
    assert_int_equal(use("min-fresh=61", 0), RCACHE_USE_FORCED);
    assert_int_equal(use("min-fresh=50", 10), RCACHE_USE_FRESH);
    assert_int_equal(use("min-fresh=50", 11), RCACHE_USE_FORCED);
    assert_int_equal(use("min-fresh=99999999999", 0), RCACHE_USE_FORCED);
}


static void
rfc9111_5_2_1_4_no_cache(void **state)
{
    (void) state;

    set(60, 0, 0);

    assert_int_equal(use("no-cache", 0), RCACHE_USE_FORCED);
    assert_int_equal(use("no-cache=\"a\"", 0), RCACHE_USE_FORCED);
    assert_int_equal(use("no-cache", 60), RCACHE_USE_EXPIRED);
}


static void
rfc9111_5_4_pragma(void **state)
{
    rcache_request_t  req;

    (void) state;

    req = request(NULL, "a, No-Cache");
    assert_true(rcache_request_forces(&req));

    req = request("max-age=5", "no-cache");
    assert_false(rcache_request_forces(&req));

    req = request(NULL, "unrecognised-extension");
    assert_false(rcache_request_forces(&req));

    req = request(NULL, NULL);
    assert_false(rcache_request_forces(&req));
}


static void
rfc9111_5_2_1_7_only_if_cached(void **state)
{
    rcache_request_t  req;

    (void) state;

    req = request("only-if-cached, no-store", NULL);

    assert_int_equal(req.cc.only_if_cached, 1);
    assert_int_equal(req.cc.no_store, 1);
    assert_false(rcache_request_forces(&req));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc9111_4_2_fresh_or_expired),
        cmocka_unit_test(rfc9111_5_2_1_1_max_age),
        cmocka_unit_test(rfc9111_5_2_1_2_max_stale),
        cmocka_unit_test(rfc9111_4_2_4_staleness_forbidden),
        cmocka_unit_test(rfc9111_5_2_1_3_min_fresh),
        cmocka_unit_test(rfc9111_5_2_1_4_no_cache),
        cmocka_unit_test(rfc9111_5_4_pragma),
        cmocka_unit_test(rfc9111_5_2_1_7_only_if_cached)
    };

    return cmocka_run_group_tests_name("rcache_request", tests, NULL, NULL);
}
