
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_purge.h"


static rcache_patterns_t  table;


static int
add(uint64_t ms, const char *text)
{
    rcache_str_t       s;
    rcache_purge_id_t  id;

    s = unit_cstr(text);
    id.ms = ms;
    id.seq = 1;

    return rcache_patterns_add(&table, &id, rcache_purge_position(&id), 0, &s);
}


static void
end(uint64_t ms, rcache_pattern_state_e state)
{
    rcache_purge_id_t  id;

    id.ms = ms;
    id.seq = 1;

    rcache_patterns_end(&table, &id, state, 7);
}


static uint64_t
at(uint64_t ms)
{
    rcache_purge_id_t  id;

    id.ms = ms;
    id.seq = 0;

    return rcache_purge_position(&id);
}


static void
at_work(void **state)
{
    uint64_t  serial;

    (void) state;

    memset(&table, 0, sizeof(table));
    assert_false(rcache_patterns_concern(&table, 0));

    assert_int_equal(add(5, "^/a"), RCACHE_OK);
    assert_int_equal(rcache_patterns_active(&table), 1);
    assert_true(rcache_patterns_concern(&table, at(5)));
    assert_false(rcache_patterns_concern(&table, at(6)));
    assert_false(rcache_patterns_late(&table, at(1)));

    /* once more, and another one of the same record */

    serial = table.serial;
    assert_int_equal(add(5, "^/a"), RCACHE_OK);
    assert_int_equal(rcache_patterns_active(&table), 1);
    assert_true(table.serial == serial);
    assert_int_equal(add(5, "^/b"), RCACHE_OK);
    assert_int_equal(rcache_patterns_active(&table), 2);

    /* an older one does not make it concern less */

    assert_int_equal(add(3, "^/c"), RCACHE_OK);
    assert_true(rcache_patterns_concern(&table, at(5)));

    /* another record's end, and its own */

    end(4, RCACHE_PATTERN_DONE);
    assert_int_equal(rcache_patterns_active(&table), 3);

    end(5, RCACHE_PATTERN_DONE);
    assert_int_equal(rcache_patterns_active(&table), 1);
    assert_true(rcache_patterns_concern(&table, at(3)));
    assert_false(rcache_patterns_concern(&table, at(4)));

    /* what was fetched before it came too late, and nothing else */

    assert_true(rcache_patterns_late(&table, at(5)));
    assert_false(rcache_patterns_late(&table, at(6)));

    end(3, RCACHE_PATTERN_DONE);
    assert_int_equal(rcache_patterns_active(&table), 0);
    assert_false(rcache_patterns_concern(&table, 0));
    assert_true(rcache_patterns_late(&table, at(5)));
}


static void
stopped(void **state)
{
    (void) state;

    memset(&table, 0, sizeof(table));

    assert_int_equal(add(5, "^/a"), RCACHE_OK);
    end(5, RCACHE_PATTERN_STOPPED);
    assert_int_equal(rcache_patterns_active(&table), 0);
    assert_false(rcache_patterns_concern(&table, 0));
    assert_false(rcache_patterns_late(&table, 0));
    assert_int_equal(table.pattern[0].state, RCACHE_PATTERN_STOPPED);
    assert_int_equal(table.pattern[0].purged, 7);

    /* it does not end twice */

    end(5, RCACHE_PATTERN_DONE);
    assert_int_equal(table.pattern[0].state, RCACHE_PATTERN_STOPPED);
}


static void
full(void **state)
{
    unsigned  i;

    (void) state;

    memset(&table, 0, sizeof(table));

    for (i = 1; i <= RCACHE_PATTERNS; i++) {
        assert_int_equal(add(i, "."), RCACHE_OK);
    }

    assert_int_equal(add(100, "."), RCACHE_ERROR);
    assert_int_equal(rcache_patterns_active(&table), RCACHE_PATTERNS);

    /* the one that was over first makes room */

    end(7, RCACHE_PATTERN_DONE);
    end(4, RCACHE_PATTERN_DONE);
    assert_int_equal(add(100, "x"), RCACHE_OK);
    assert_true(table.pattern[3].id.ms == 100);
    assert_int_equal(table.pattern[3].purged, 0);
    assert_int_equal(table.pattern[6].state, RCACHE_PATTERN_DONE);
}


static void
lengths(void **state)
{
    char  text[RCACHE_PATTERN_MAX + 2];

    (void) state;

    memset(&table, 0, sizeof(table));
    memset(text, 'x', sizeof(text));
    text[RCACHE_PATTERN_MAX + 1] = 0;

    assert_int_equal(add(1, ""), RCACHE_DECLINED);
    assert_int_equal(add(1, text), RCACHE_DECLINED);

    text[RCACHE_PATTERN_MAX] = 0;
    assert_int_equal(add(1, text), RCACHE_OK);
    assert_int_equal(table.pattern[0].len, RCACHE_PATTERN_MAX);
    assert_memory_equal(table.pattern[0].text, text, RCACHE_PATTERN_MAX);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(at_work),
        cmocka_unit_test(stopped),
        cmocka_unit_test(full),
        cmocka_unit_test(lengths)
    };

    return cmocka_run_group_tests_name("rcache_pattern", tests, NULL, NULL);
}
