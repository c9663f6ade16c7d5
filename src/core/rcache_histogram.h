
/*
 * A histogram of times, in microseconds: buckets whose width grows with what
 * is in them, eight to a power of two.  So a quantile, which is the middle of
 * its bucket, is off by at most a sixteenth (6.25 %), whatever the time; below
 * 8 microseconds it is exact.  A time of 2^28 microseconds, four and a half
 * minutes, or more is counted as the longest below that.
 *
 * It is an array of counts, which may be added up bucket by bucket.
 */


#ifndef _RCACHE_HISTOGRAM_H_INCLUDED_
#define _RCACHE_HISTOGRAM_H_INCLUDED_


#include "rcache_core.h"


#define RCACHE_HISTOGRAM_BITS  3
#define RCACHE_HISTOGRAM_SUB   (1 << RCACHE_HISTOGRAM_BITS)
#define RCACHE_HISTOGRAM_TOP   28

#define RCACHE_HISTOGRAM_N                                                    \
    ((RCACHE_HISTOGRAM_TOP - RCACHE_HISTOGRAM_BITS + 1)                       \
     << RCACHE_HISTOGRAM_BITS)


typedef struct {
    uint64_t  sum;                          /* microseconds */
    uint64_t  bucket[RCACHE_HISTOGRAM_N];
} rcache_histogram_t;


/* the shortest time in bucket n; that of RCACHE_HISTOGRAM_N is the end */

uint64_t rcache_histogram_lower(unsigned n);

void rcache_histogram_add(rcache_histogram_t *to,
    const rcache_histogram_t *from);

uint64_t rcache_histogram_count(const rcache_histogram_t *h);

/*
 * How many took less than so many microseconds: exact where a bucket begins,
 * as one does at each power of two.
 */

uint64_t rcache_histogram_below(const rcache_histogram_t *h, uint64_t usec);

/*
 * The time, in microseconds, that so many thousandths of all did not exceed;
 * 0 if there are none.
 */

uint64_t rcache_histogram_quantile(const rcache_histogram_t *h,
    unsigned permille);


/* the bucket of a time */

static inline unsigned
rcache_histogram_index(uint64_t usec)
{
    unsigned  top;

    if (usec < RCACHE_HISTOGRAM_SUB) {
        return (unsigned) usec;
    }

    if (usec >> RCACHE_HISTOGRAM_TOP) {
        return RCACHE_HISTOGRAM_N - 1;
    }

    top = 63 - (unsigned) __builtin_clzll(usec) - RCACHE_HISTOGRAM_BITS;

    return ((top + 1) << RCACHE_HISTOGRAM_BITS)
           + ((unsigned) (usec >> top) & (RCACHE_HISTOGRAM_SUB - 1));
}


#endif /* _RCACHE_HISTOGRAM_H_INCLUDED_ */
