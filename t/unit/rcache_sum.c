
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_sum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>


#define SIZE  20000


static u_char *
bytes(void)
{
    u_char  *p;
    size_t   i;

    p = malloc(SIZE);
    assert_non_null(p);

    for (i = 0; i < SIZE; i++) {
        p[i] = (u_char) (i * 7 + i / 251);
    }

    return p;
}


/* the published test values of XXH3-64 with seed 0 */

static void
published(void **state)
{
    (void) state;

    assert_int_equal(rcache_sum(NULL, 0), 0x2d06800538d394c2);
    assert_int_equal(rcache_sum((u_char *) "", 0), 0x2d06800538d394c2);
    assert_int_equal(rcache_sum((u_char *) "abc", 3), 0x78af5f94892f3950);
}


/* whatever the processor can do, and wherever the bytes begin */

static void
the_same_everywhere(void **state)
{
    u_char  *p;
    size_t   at, len;

    (void) state;

    p = bytes();

    for (at = 0; at < 67; at += 11) {

        for (len = 0; len <= SIZE - at; len += (len < 2100) ? 1 : 997) {

            assert_int_equal(rcache_sum(p + at, len),
                             XXH3_64bits(p + at, len));

#if (RCACHE_SUM_AVX2)

            if (__builtin_cpu_supports("avx2")) {
                assert_int_equal(rcache_sum_avx2(p + at, len),
                                 XXH3_64bits(p + at, len));
            }

#endif
        }
    }

    free(p);
}


typedef struct {
    const u_char  *p;
    size_t         rest;
    size_t         piece;
} pieces_t;


static size_t
next_piece(void *data, const u_char **p)
{
    size_t     n;
    pieces_t  *pieces = data;

    n = (pieces->rest < pieces->piece) ? pieces->rest : pieces->piece;

    *p = pieces->p;

    pieces->p += n;
    pieces->rest -= n;

    return n;
}


static void
of_pieces(void **state)
{
    u_char    *p;
    size_t     len, piece;
    pieces_t   pieces;

    (void) state;

    p = bytes();

    for (len = 0; len <= SIZE; len = len * 2 + 1) {

        for (piece = 1; piece <= 32768; piece *= 8) {
            pieces.p = p;
            pieces.rest = len;
            pieces.piece = piece;

            assert_int_equal(rcache_sum_pieces(next_piece, &pieces),
                             XXH3_64bits(p, len));
        }
    }

    free(p);
}


/* short and long ones in turn, which are added in different ways */

static void
as_they_come(void **state)
{
    void    *sum;
    u_char  *p;
    size_t   at, n, i;

    static const size_t  lengths[] = { 1, 241, 240, 5000, 0, 63, 1024, 300 };

    (void) state;

    p = bytes();

    sum = aligned_alloc(RCACHE_SUM_ALIGN,
                        (rcache_sum_state() + RCACHE_SUM_ALIGN - 1)
                        / RCACHE_SUM_ALIGN * RCACHE_SUM_ALIGN);
    assert_non_null(sum);

    rcache_sum_begin(sum);

    for (at = 0, i = 0; at < SIZE; at += n, i++) {
        n = lengths[i % (sizeof(lengths) / sizeof(lengths[0]))];

        if (n > SIZE - at) {
            n = SIZE - at;
        }

        rcache_sum_add(sum, p + at, n);

        assert_int_equal(rcache_sum_end(sum), XXH3_64bits(p, at + n));
    }

    free(sum);
    free(p);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(published),
        cmocka_unit_test(the_same_everywhere),
        cmocka_unit_test(of_pieces),
        cmocka_unit_test(as_they_come)
    };

    return cmocka_run_group_tests_name("rcache_sum", tests, NULL, NULL);
}
