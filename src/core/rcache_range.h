
/* Range: bytes=..., RFC 9110, 14.1.2 and 14.2. */


#ifndef _RCACHE_RANGE_H_INCLUDED_
#define _RCACHE_RANGE_H_INCLUDED_


#include "rcache_core.h"


/* more of them: the header is ignored, RFC 9110, 14.2 */

#define RCACHE_RANGES_MAX   32

#define RCACHE_RANGE_NONE   UINT64_MAX


/*
 * After rcache_range_parse(): first and last as they stand, either of them
 * RCACHE_RANGE_NONE: "500-" has no last, "-500" no first.  After
 * rcache_range_resolve(): the first byte, and the one behind the last.
 */

typedef struct {
    uint64_t  start;
    uint64_t  end;
} rcache_range_t;


typedef struct {
    unsigned        n;
    rcache_range_t  range[RCACHE_RANGES_MAX];
} rcache_ranges_t;


/*
 * RCACHE_OK, or RCACHE_DECLINED if the header is to be ignored: another
 * unit, malformed, or too many ranges.
 */

int rcache_range_parse(rcache_ranges_t *ranges, const rcache_str_t *value);

/*
 * The largest offset that a parsed header asks to start at; a suffix counts
 * as RCACHE_RANGE_NONE.  For redis_proxy_cache_max_range_offset.
 */

uint64_t rcache_range_offset(const rcache_ranges_t *ranges);

/*
 * Holds a parsed header against the length of the body, in the order in
 * which the client asked; what cannot be satisfied falls out.  RCACHE_OK: n,
 * at least 1, ranges for a 206.  RCACHE_DECLINED: none is satisfiable, 416.
 * RCACHE_DONE: they overlap, or are together not shorter than the body and
 * more than one: answer with the whole.
 */

int rcache_range_resolve(rcache_ranges_t *ranges, uint64_t length);


#endif /* _RCACHE_RANGE_H_INCLUDED_ */
