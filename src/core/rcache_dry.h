
/*
 * The fingerprint that a dry run leaves in place of an entry, and what can be
 * told from all of them.  It is an entry, docs/storage-format.md, with a head
 * that has the validators alone, and in place of the body:
 *
 *     0   8  bytes that the entry would take in Redis
 *     8   8  bytes of the body as it came
 *    16   8  how long Redis would have it, milliseconds from its creation on
 *
 * Integers are little-endian.
 */


#ifndef _RCACHE_DRY_H_INCLUDED_
#define _RCACHE_DRY_H_INCLUDED_


#include "rcache_core.h"
#include "rcache_entry.h"


#define RCACHE_DRY_BODY      24

/* no response is larger, and none is kept for longer: milliseconds */

#define RCACHE_DRY_SIZE_MAX  ((uint64_t) 1 << 31)
#define RCACHE_DRY_TTL_MAX   ((int64_t) 10 * 366 * 86400 * 1000)

/* what a key takes in Redis beside its name and its value: two table entries */

#define RCACHE_DRY_OVERHEAD  96


typedef struct {
    uint64_t  size;          /* bytes */
    uint64_t  length;        /* of the body */
    int64_t   ttl;           /* milliseconds */
} rcache_dry_t;


/* sums over all fingerprints that were written: bytes, and bytes x seconds */

typedef struct {
    uint64_t  stored;
    uint64_t  replaced;
    uint64_t  stored_time;
    uint64_t  replaced_time;
    uint64_t  seconds;       /* since the first one was */
} rcache_dry_sums_t;


/* writes RCACHE_DRY_BODY bytes; what is over a limit is cut to it */

u_char *rcache_dry_encode(u_char *dst, const rcache_dry_t *d);

/* RCACHE_OK; RCACHE_ERROR: it is none, all of *d is 0 */

int rcache_dry_decode(rcache_dry_t *d, const rcache_str_t *body);

/*
 * What the entry, with all of its head, would take in Redis: with a body of
 * so many bytes as they are stored, a name of so many bytes, segments of that
 * size, and a marker if it would be the first variant.
 */

uint64_t rcache_dry_size(const rcache_entry_t *e, uint64_t body, size_t key,
    size_t segment, int marker);

/* what Redis allocates for a string of so many bytes, if by jemalloc */

uint64_t rcache_dry_string(uint64_t len);

/* bytes x seconds of so many bytes for so many milliseconds */

uint64_t rcache_dry_time(uint64_t size, int64_t ttl);

/*
 * Bytes of Redis that would be in use now.  While nothing has expired that is
 * what was stored; later what is stored in a second, times its lifetime.  The
 * one is too high where the other holds, so it is the lower of the two.
 */

uint64_t rcache_dry_memory(const rcache_dry_sums_t *sums);


#endif /* _RCACHE_DRY_H_INCLUDED_ */
