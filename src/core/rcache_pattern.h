
/*
 * Purges by a regular expression: a few patterns that are at work, in memory
 * that the workers share.  Nothing finds them by a hash, so each entry that is
 * older than a pattern is matched against it when it is read; behind that a
 * walk through the keys removes what matches, and then the pattern is not
 * needed any more.  This room holds the patterns and knows nothing of matching.
 *
 * Whoever writes, and whoever copies a text, holds a lock; the positions are
 * read without.
 */


#ifndef _RCACHE_PATTERN_H_INCLUDED_
#define _RCACHE_PATTERN_H_INCLUDED_


#include "rcache_core.h"


/* at work at the same time, with those that are remembered after that */

#define RCACHE_PATTERNS     8

/* bytes */

#define RCACHE_PATTERN_MAX  512


/* where a record is in the log of purges, see rcache_purge.h */

typedef struct {
    uint64_t   ms;
    uint64_t   seq;
} rcache_purge_id_t;


typedef enum {
    RCACHE_PATTERN_FREE = 0,
    RCACHE_PATTERN_ACTIVE,
    RCACHE_PATTERN_DONE,
    RCACHE_PATTERN_STOPPED
} rcache_pattern_state_e;


typedef struct {
    uint64_t            state;
    uint64_t            position;
    uint64_t            soft;        /* nonzero: what matches is stale */
    rcache_purge_id_t   id;          /* of the record */
    uint64_t            since;       /* the owner's clock; 0: not looked at */
    uint64_t            purged;      /* entries, if the record said so */
    uint64_t            len;
    u_char              text[RCACHE_PATTERN_MAX];
} rcache_pattern_t;


typedef struct {
    uint64_t            serial;      /* another one with each change */
    uint64_t            newest;      /* position of the last one at work; 0:
                                        there is none */
    uint64_t            floor;       /* of those that were: what was fetched
                                        before that is not to be stored */
    rcache_pattern_t    pattern[RCACHE_PATTERNS];
} rcache_patterns_t;


/*
 * Adds a pattern in place of the one that has been out of work for longest.
 * RCACHE_OK; RCACHE_DECLINED: it is empty or too long; RCACHE_ERROR: all are
 * at work.
 */

int rcache_patterns_add(rcache_patterns_t *patterns,
    const rcache_purge_id_t *id, uint64_t position, int soft,
    const rcache_str_t *text);

/* the patterns of that record are not at work any more */

void rcache_patterns_end(rcache_patterns_t *patterns,
    const rcache_purge_id_t *id, rcache_pattern_state_e state,
    uint64_t purged);

/* how many are at work */

unsigned rcache_patterns_active(const rcache_patterns_t *patterns);

/* an entry with that position may match one */

#define rcache_patterns_concern(patterns, at)                                 \
    ((at) < __atomic_load_n(&(patterns)->newest, __ATOMIC_ACQUIRE))

/* a response with that position came too late to be found by a walk */

#define rcache_patterns_late(patterns, at)                                    \
    ((at) < __atomic_load_n(&(patterns)->floor, __ATOMIC_ACQUIRE))


#endif /* _RCACHE_PATTERN_H_INCLUDED_ */
