
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_slot.h"


/* the key in memory of its own, so that a byte too far is seen */

static unsigned
slot(const char *key)
{
    u_char    *p;
    unsigned   n;

    p = unit_copy(key, strlen(key));
    n = rcache_slot(p, strlen(key));

    free(p);

    return n;
}


/* what CLUSTER KEYSLOT says */

static void
test_known(void **state)
{
    (void) state;

    /* the check value of CRC-16/XMODEM, and those of the specification */

    assert_int_equal(slot("123456789"), 0x31c3 % RCACHE_SLOTS);
    assert_int_equal(slot("foo"), 12182);
    assert_int_equal(slot("bar"), 5061);
    assert_int_equal(slot("hello"), 866);
    assert_int_equal(slot(""), 0);
    assert_int_equal(slot("api:{http://localhost/api/products}"),
                     slot("http://localhost/api/products"));
}


static void
test_tags(void **state)
{
    (void) state;

    assert_int_equal(slot("{user1000}.following"), slot("user1000"));
    assert_int_equal(slot("{user1000}.followers"), slot("user1000"));
    assert_int_equal(slot("foo{bar}{zap}"), slot("bar"));
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));

    /* an empty one, and what is none, count whole */

    assert_int_not_equal(slot("foo{}{bar}"), slot("bar"));
    assert_int_equal(slot("foo{}{bar}"), 8363);
    assert_int_not_equal(slot("foo{bar"), slot("bar"));
    assert_int_not_equal(slot("foo}bar{"), slot("foo"));
    assert_int_equal(slot("a}{b}"), slot("b"));
}


static void
test_range(void **state)
{
    unsigned  i;
    u_char    key[2];

    (void) state;

    for (i = 0; i < 65536; i++) {
        key[0] = (u_char) (i >> 8);
        key[1] = (u_char) i;

        assert_true(rcache_slot(key, 2) < RCACHE_SLOTS);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_range)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
