
/*
 * How much memory of Redis a zone takes, by a sample: of some keys of a server
 * one sees which are the zone's, and of some of these how large they are.  Old
 * samples fade away: of each number an eighth goes with each sample.
 */


#ifndef _RCACHE_SAMPLE_H_INCLUDED_
#define _RCACHE_SAMPLE_H_INCLUDED_


#include "rcache_core.h"


typedef struct {
    double   keys;       /* of all servers */
    double   seen;       /* keys, of which */
    double   matched;    /* so many are the zone's */
    double   weighed;    /* keys of the zone, which have */
    double   bytes;
} rcache_sample_t;


/* a sample of seen keys begins, of which matched are the zone's */

void rcache_sample_add(rcache_sample_t *sample, uint64_t keys, uint64_t seen,
    uint64_t matched);

/* a key of the zone takes so many bytes */

void rcache_sample_weigh(rcache_sample_t *sample, uint64_t bytes);

/* bytes; 0 if nothing is known */

uint64_t rcache_sample_total(const rcache_sample_t *sample);


#endif /* _RCACHE_SAMPLE_H_INCLUDED_ */
