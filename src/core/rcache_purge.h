
/*
 * What was purged, and whether an entry is older than that: a table that the
 * workers share, in memory that src/shm provides, and records of the log of
 * purges, docs/storage-format.md.
 *
 * A position is where a record is in the log, as one number: the milliseconds
 * of its id in the upper 44 bits, the sequence number in the others.  An entry
 * has the position up to which the log was known when its fetch began, so
 * what was purged later is known not to be in it.  Clocks are not compared.
 *
 * The table never forgets a purge: what it has no room for becomes part of a
 * floor, and whatever is older than the floor counts as purged.
 *
 * Whoever writes holds a lock; readers take none.
 */


#ifndef _RCACHE_PURGE_H_INCLUDED_
#define _RCACHE_PURGE_H_INCLUDED_


#include "rcache_core.h"
#include "rcache_pattern.h"


/* records of a set of the table */
#define RCACHE_PURGE_SET      8

/* different lengths of prefixes */
#define RCACHE_PURGE_LENGTHS  32

/* bytes of an id, "ms-seq" */
#define RCACHE_PURGE_ID_LEN   (sizeof("18446744073709551615-") * 2 - 1)


/* the seeds of the hashes */

typedef enum {
    RCACHE_PURGE_TAG = 0,
    RCACHE_PURGE_KEY,
    RCACHE_PURGE_PREFIX
} rcache_purge_kind_e;


typedef struct {
    uint64_t   hash;                  /* 0: free */
    uint64_t   hard;                  /* positions; 0: never */
    uint64_t   soft;
} rcache_purge_record_t;


typedef struct {
    uint64_t   length;
    uint64_t   newest;                /* 0: free */
} rcache_purge_length_t;


typedef struct {
    uint64_t                 hard;    /* floors */
    uint64_t                 soft;
    uint64_t                 newest;  /* of all there is in the table */
    uint64_t                 prefix;  /* of all prefixes */
    uint64_t                 known;   /* up to here nothing is missing */

    rcache_purge_id_t        id;      /* the same as it is in the log */

    rcache_patterns_t        patterns;

    uint64_t                 mask;    /* number of sets - 1 */
    rcache_purge_length_t    length[RCACHE_PURGE_LENGTHS];
    rcache_purge_record_t    record[1];
} rcache_purges_t;


/* of an entry */

typedef struct {
    uint64_t                 position;
    rcache_str_t             key;     /* not encoded */
    rcache_str_t             tags;    /* as in the entry */
} rcache_purge_subject_t;


/* bytes of a table with that many sets, a power of 2, and its beginning */

size_t rcache_purges_size(size_t sets);
void rcache_purges_init(rcache_purges_t *purges, size_t sets);

/* XXH3-64, the kind is the seed; never 0 */

uint64_t rcache_purge_hash(rcache_purge_kind_e kind, const rcache_str_t *s);

/* that of a tag, as it is in an entry */

uint64_t rcache_purge_tag(const u_char *p);

/* "ms-seq"; RCACHE_OK, RCACHE_ERROR */

int rcache_purge_id(rcache_purge_id_t *id, const rcache_str_t *s);
int rcache_purge_id_later(const rcache_purge_id_t *id,
    const rcache_purge_id_t *than);

/*
 * Positions order as ids do.  With over a million records in a millisecond
 * they become equal, so known() is one less then: what is stored is older
 * than any of them.
 */

uint64_t rcache_purge_position(const rcache_purge_id_t *id);
uint64_t rcache_purge_known(const rcache_purge_id_t *id);

/*
 * Applies a record of the log: pairs of name and value.  A floor that is no id,
 * or one that is yet to come, counts as that of this record.  A regex for which
 * there is no room purges all.  RCACHE_OK; RCACHE_DECLINED: there was something
 * in it that says nothing, the rest has been applied.
 */

int rcache_purges_apply(rcache_purges_t *purges, const rcache_purge_id_t *id,
    const rcache_field_t *fields, size_t n);

/* all records up to this one have been applied */

void rcache_purges_reached(rcache_purges_t *purges,
    const rcache_purge_id_t *id);

/* what is older than the id is purged */

void rcache_purges_floor(rcache_purges_t *purges,
    const rcache_purge_id_t *id);

/*
 * True if it was purged.  Otherwise *soft is the position of the last purge
 * that makes it stale, or 0.  Patterns are not looked at, see rcache_pattern.h.
 */

int rcache_purges_match(const rcache_purges_t *purges,
    const rcache_purge_subject_t *subject, uint64_t *soft);

/* milliseconds since the epoch, by the clock of the one who made the id */

#define rcache_purge_time(position)  ((int64_t) ((position) >> 20))

/* up to where the log is known, for an entry whose fetch begins */

#define rcache_purges_known(purges)                                           \
    __atomic_load_n(&(purges)->known, __ATOMIC_ACQUIRE)


#endif /* _RCACHE_PURGE_H_INCLUDED_ */
