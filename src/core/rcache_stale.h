
/*
 * What an entry is good for when it is no longer fresh, and when it is
 * fetched anew while it still is: RFC 9111, 4.2.4; RFC 5861; early refresh
 * and jitter, which keep expiry from coming in waves.  src/http asks.
 */


#ifndef _RCACHE_STALE_H_INCLUDED_
#define _RCACHE_STALE_H_INCLUDED_


#include "rcache_core.h"
#include "rcache_entry.h"


/* what a stale entry may be used for */

/* while it is being refreshed: within stale-while-revalidate */
#define RCACHE_STALE_UPDATING  0x1

/* if the refresh fails: within stale-if-error */
#define RCACHE_STALE_ERROR     0x2

/* whatever the operator says: nothing forbids it */
#define RCACHE_STALE_CONFIG    0x4


/* the most that rcache_jitter() takes off, in tenths of a percent */

#define RCACHE_JITTER_MAX      999


/*
 * RFC 9111, 4.2.4: RCACHE_STALE_* of an entry that is not fresh; 0 if it is
 * fresh, or must not be used stale.  now in milliseconds since the epoch.
 * The windows are open only for an entry that is stale by a known time, the
 * operator's word counts also if a clock is wrong.
 */

unsigned rcache_entry_stale(const rcache_entry_t *e, int64_t now);

/*
 * True if the entry, still fresh, is to be refreshed now.  beta in
 * thousandths, 0 for never; random is 64 uniform bits.
 */

int rcache_entry_early(const rcache_entry_t *e, int64_t now, uint32_t beta,
    uint64_t random);

/*
 * The lifetime less a share of at most jitter, in tenths of a percent; the
 * same for the same key and time of store.  A positive lifetime stays
 * positive, one that is not is left as it is.  lifetime and created in
 * milliseconds.
 */

int64_t rcache_jitter(int64_t lifetime, uint32_t jitter,
    const rcache_str_t *key, int64_t created);


#endif /* _RCACHE_STALE_H_INCLUDED_ */
