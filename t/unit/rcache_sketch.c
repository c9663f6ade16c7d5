
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_sketch.h"


static rcache_sketch_t *
sketch_of(unsigned n)
{
    rcache_sketch_t  *sketch;

    sketch = calloc(1, rcache_sketch_size(n));
    assert_non_null(sketch);

    rcache_sketch_init(sketch, n);

    return sketch;
}


static void
ask(rcache_sketch_t *sketch, unsigned key, unsigned times)
{
    char          name[32];
    rcache_str_t  s;

    snprintf(name, sizeof(name), "key-%u", key);
    s = unit_cstr(name);

    while (times--) {
        rcache_sketch_count(sketch, key + 1, &s);
    }
}


static const rcache_sketch_entry_t *
find(const rcache_sketch_sum_t *sum, unsigned key)
{
    unsigned  i;

    for (i = 0; i < sum->n; i++) {
        if (sum->entry[i].hash == key + 1) {
            return &sum->entry[i];
        }
    }

    return NULL;
}


static void
few_are_counted_exactly(void **state)
{
    rcache_sketch_t       *sketch;
    rcache_sketch_sum_t    sum;
    rcache_sketch_entry_t  room[4];

    (void) state;

    sketch = sketch_of(4);
    ask(sketch, 1, 3);
    ask(sketch, 2, 5);
    ask(sketch, 1, 4);

    memset(&sum, 0, sizeof(sum));
    sum.entry = room;
    sum.max = 4;

    rcache_sketch_add(&sum, sketch);
    rcache_sketch_sort(&sum);

    assert_int_equal(sum.n, 2);
    assert_int_equal(sum.entry[0].count, 7);
    assert_int_equal(sum.entry[0].error, 0);
    assert_int_equal(sum.entry[0].len, 5);
    assert_memory_equal(sum.entry[0].key, "key-1", 5);
    assert_int_equal(sum.entry[1].count, 5);

    free(sketch);
}


/* what the header promises, with a thousand keys in two sketches of 20 */

static void
counts_are_never_too_low(void **state)
{
    unsigned                      i, round, times, seen[1000];
    rcache_sketch_t              *sketch[2];
    rcache_sketch_sum_t           sum;
    rcache_sketch_entry_t        *room;
    const rcache_sketch_entry_t  *e;

    (void) state;

    sketch[0] = sketch_of(20);
    sketch[1] = sketch_of(20);

    room = calloc(40, sizeof(*room));
    assert_non_null(room);

    memset(seen, 0, sizeof(seen));

    for (round = 0; round < 50; round++) {

        for (i = 0; i < 1000; i++) {
            times = (i < 10) ? 20 - i : (i % 50 == round);

            ask(sketch[(i + round) % 2], i, times);
            seen[i] += times;
        }
    }

    memset(&sum, 0, sizeof(sum));
    sum.entry = room;
    sum.max = 40;

    rcache_sketch_add(&sum, sketch[0]);
    rcache_sketch_add(&sum, sketch[1]);
    rcache_sketch_sort(&sum);

    for (i = 0; i < sum.n; i++) {
        assert_true(sum.entry[i].count >= seen[sum.entry[i].hash - 1]);
        assert_true(sum.entry[i].count - sum.entry[i].error
                    <= seen[sum.entry[i].hash - 1]);
        assert_true(i == 0 || sum.entry[i - 1].count >= sum.entry[i].count);
    }

    for (i = 0; i < 10; i++) {
        e = find(&sum, i);
        assert_non_null(e);
    }

    free(room);
    free(sketch[0]);
    free(sketch[1]);
}


static void
a_long_key_is_cut(void **state)
{
    u_char                 data[RCACHE_SKETCH_KEY + 1], *p;
    rcache_str_t           key;
    rcache_sketch_t       *sketch;

    (void) state;

    memset(data, 'a', sizeof(data));
    p = unit_copy(data, sizeof(data));

    key.data = p;
    key.len = sizeof(data);

    sketch = sketch_of(1);
    rcache_sketch_count(sketch, 7, &key);

    assert_int_equal(sketch->entry[0].len, RCACHE_SKETCH_KEY);

    free(p);
    free(sketch);
}


/* a writer that was killed in the middle of it leaves what nobody believes */

static void
what_is_being_written_is_not_read(void **state)
{
    rcache_sketch_t       *sketch;
    rcache_sketch_sum_t    sum;
    rcache_sketch_entry_t  room[2];

    (void) state;

    sketch = sketch_of(2);
    ask(sketch, 1, 3);
    ask(sketch, 2, 5);
    sketch->entry[0].seq++;

    memset(&sum, 0, sizeof(sum));
    sum.entry = room;
    sum.max = 2;

    rcache_sketch_add(&sum, sketch);

    assert_int_equal(sum.n, 1);
    assert_int_equal(sum.entry[0].hash, 3);

    free(sketch);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(few_are_counted_exactly),
        cmocka_unit_test(counts_are_never_too_low),
        cmocka_unit_test(a_long_key_is_cut),
        cmocka_unit_test(what_is_being_written_is_not_read)
    };

    return cmocka_run_group_tests_name("rcache_sketch", tests, NULL, NULL);
}
