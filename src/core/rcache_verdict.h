
/*
 * Does a cache earn its rent?  docs/metrics.md has the thresholds.
 */


#ifndef _RCACHE_VERDICT_H_INCLUDED_
#define _RCACHE_VERDICT_H_INCLUDED_


#include "rcache_core.h"


/* fewer requests, or times of each kind, do not say anything */

#define RCACHE_VERDICT_REQUESTS  100
#define RCACHE_VERDICT_TIMES     20

/* fewer hits of a thousand do not pay */

#define RCACHE_VERDICT_RATIO     100


/* X(enum, word) */

#define RCACHE_VERDICTS(X)                                                    \
    X(EARLY, "early")              /* there is too little to tell by */       \
    X(EARNING, "earning")                                                     \
    X(IDLE, "idle")                /* it seldom has what is asked for */      \
    X(DRY_RUN, "dry_run")          /* it is not in use yet */                 \
    X(HARMFUL, "harmful")          /* the upstream is as fast as a hit */

#define RCACHE_VERDICT_ENUM(id, word)  RCACHE_VERDICT_##id,

typedef enum {
    RCACHE_VERDICTS(RCACHE_VERDICT_ENUM)
    RCACHE_VERDICT_N
} rcache_verdict_e;


typedef struct {
    uint64_t  requests;        /* that the cache might have answered */
    uint64_t  hits;            /* that it did answer */

    uint64_t  hit_times;       /* how many were measured */
    uint64_t  hit;             /* the median, in microseconds */
    uint64_t  fetch_times;
    uint64_t  fetch;

    uint64_t  dry;             /* requests that were a dry run's */
} rcache_verdict_t;


rcache_verdict_e rcache_verdict(const rcache_verdict_t *v);

/* hits of a thousand requests; 0 if there are none; of v the first two count */

unsigned rcache_verdict_ratio(const rcache_verdict_t *v);

const rcache_str_t *rcache_verdict_word(rcache_verdict_e verdict);


#endif /* _RCACHE_VERDICT_H_INCLUDED_ */
