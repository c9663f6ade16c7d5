
/*
 * The checksum of all that is kept in Redis: XXH3-64 with seed 0,
 * https://github.com/Cyan4973/xxHash
 */


#ifndef _RCACHE_SUM_H_INCLUDED_
#define _RCACHE_SUM_H_INCLUDED_


#include "rcache_core.h"


uint64_t rcache_sum(const u_char *p, size_t len);

/* the sum of pieces that next() gives until it returns 0 */

typedef size_t (*rcache_sum_next_pt)(void *data, const u_char **p);

uint64_t rcache_sum_pieces(rcache_sum_next_pt next, void *data);

/*
 * The sum of pieces as they come.  state: rcache_sum_state() bytes, aligned to
 * RCACHE_SUM_ALIGN.
 */

#define RCACHE_SUM_ALIGN  64

size_t rcache_sum_state(void);
void rcache_sum_begin(void *state);
void rcache_sum_add(void *state, const u_char *p, size_t len);
uint64_t rcache_sum_end(void *state);


/*
 * rcache_sum_avx2.c, for rcache_sum.c alone: the same for a processor that
 * has AVX2, which takes less than half of the time.
 */

#if (defined __x86_64__ && defined __GNUC__)

#define RCACHE_SUM_AVX2  1

uint64_t rcache_sum_avx2(const u_char *p, size_t len);
void rcache_sum_avx2_add(void *state, const u_char *p, size_t len);

#endif


#endif /* _RCACHE_SUM_H_INCLUDED_ */
