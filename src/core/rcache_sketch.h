
/*
 * The keys that are asked for most, in a bounded place: space-saving (Metwally,
 * Agrawal, El Abbadi, 2005).  What is not among the n counters takes the place
 * of the one with the lowest count, and goes on from there; so a count is never
 * too low, and too high by at most what error says.  Whatever has more than an
 * n-th of all requests is among them for sure.
 *
 * One writes, others may read at the same time: seq is odd while an entry is
 * being changed, and what was read counts only if it is the same before and
 * after.
 */


#ifndef _RCACHE_SKETCH_H_INCLUDED_
#define _RCACHE_SKETCH_H_INCLUDED_


#include "rcache_core.h"


/* bytes of a key that are kept */

#define RCACHE_SKETCH_KEY  232


typedef struct {
    volatile uint32_t        seq;
    uint32_t                 len;
    uint64_t                 hash;
    uint64_t                 count;
    uint64_t                 error;
    u_char                   key[RCACHE_SKETCH_KEY];
} rcache_sketch_entry_t;


/* n entries, and behind them their hashes, so that they are soon looked at */

typedef struct {
    uint64_t                 n;
    rcache_sketch_entry_t    entry[1];
} rcache_sketch_t;


/* the sum of several */

typedef struct {
    rcache_sketch_entry_t   *entry;
    unsigned                 n;
    unsigned                 max;      /* that there is room for */
    uint64_t                 floor;    /* what those may have that are not
                                          among them */
} rcache_sketch_sum_t;


/* of a sketch of n entries, in bytes */

size_t rcache_sketch_size(unsigned n);

/* in zeroed memory of that size */

void rcache_sketch_init(rcache_sketch_t *sketch, unsigned n);

/* counts a key, whose hash is given and is not 0 */

void rcache_sketch_count(rcache_sketch_t *sketch, uint64_t hash,
    const rcache_str_t *key);

/* adds what another writer has counted; the sum begins as zeroes and room */

void rcache_sketch_add(rcache_sketch_sum_t *sum, const rcache_sketch_t *from);

/* the most frequent first */

void rcache_sketch_sort(rcache_sketch_sum_t *sum);


#endif /* _RCACHE_SKETCH_H_INCLUDED_ */
