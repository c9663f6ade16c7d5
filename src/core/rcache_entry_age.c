
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * How old an entry is, by a clock that may be wrong, and by numbers that may
 * be anything, for they come from Redis.
 */


#include "rcache_entry.h"


/* of times in milliseconds: far ahead, and far from overflow */

#define RCACHE_ENTRY_TIME_MAX  ((uint64_t) 1 << 60)


static int64_t rcache_entry_cut(uint64_t n);


int
rcache_entry_fresh(const rcache_entry_t *e, int64_t now)
{
    uint64_t  off;

    /*
     * RFC 9111, 4.2.  Either way of being off by more than the lifetime is
     * not fresh: time that went by, or a clock that is wrong.  So a wrong
     * clock makes a response last twice as long at most, not for ever.  The
     * difference of any two numbers fits if it has no sign.
     */

    off = (now < e->created) ? (uint64_t) e->created - (uint64_t) now
                             : (uint64_t) now - (uint64_t) e->created;

    return e->lifetime > 0 && off < (uint64_t) e->lifetime;
}


int64_t
rcache_entry_age(const rcache_entry_t *e, int64_t now)
{
    uint64_t  resident;

    if (now <= e->created) {
        return e->age;
    }

    /* RFC 9111, 4.2.3: corrected_initial_age + resident_time */

    resident = ((uint64_t) now - (uint64_t) e->created) / 1000;

    return (int64_t) (e->age + resident);
}


int64_t
rcache_entry_date(const rcache_entry_t *e)
{
    return e->created / 1000 - e->dated;
}


int64_t
rcache_entry_staleness(const rcache_entry_t *e, int64_t now)
{
    int64_t  elapsed;

    /* a difference without a sign fits, and is cut so that the last one does */

    elapsed = (now < e->created)
              ? -rcache_entry_cut((uint64_t) e->created - (uint64_t) now)
              : rcache_entry_cut((uint64_t) now - (uint64_t) e->created);

    return elapsed
           - ((e->lifetime < 0)
              ? -rcache_entry_cut(- (uint64_t) e->lifetime)
              : rcache_entry_cut((uint64_t) e->lifetime));
}


static int64_t
rcache_entry_cut(uint64_t n)
{
    return (n > RCACHE_ENTRY_TIME_MAX) ? (int64_t) RCACHE_ENTRY_TIME_MAX
                                       : (int64_t) n;
}


int
rcache_entry_within(const rcache_entry_t *e, uint32_t window, int64_t now)
{
    /* staleness is cut, so it does not tell what is fresh for longer */

    if (now < e->created || rcache_entry_fresh(e, now)) {
        return 0;
    }

    return rcache_entry_staleness(e, now) < (int64_t) window * 1000;
}
