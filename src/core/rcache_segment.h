
/*
 * A body that is longer than a segment: docs/storage-format.md, a public
 * contract.  The entry has a block that names the segments, and no body; each
 * segment is a value of its own.
 *
 * The block, behind the fixed part of an entry with the flag SEGMENTED:
 *
 *     0   8  id, a random number that all segments have in their keys
 *     8   4  length of a segment's part, bytes; the last may be shorter
 *    12   4  how many there are
 *
 * A segment:
 *
 *     0   4  magic "RPS" and the version, 1
 *     4   2  length of this header, 32; a reader skips what it does not know
 *     6   2  flags: 1 if it is signed, 2 if it is compressed
 *     8   8  id
 *    16   4  which one it is, from 0 on
 *    20   4  length of its part of the body
 *    24   8  XXH3-64 (seed 0) of the payload; if it is signed, the first
 *            bytes of HMAC-SHA-256 of all of it, with zeros here
 *    32      the payload: its part of the body, as it is or, with the flag,
 *            compressed, and then shorter; see rcache_coding.h
 *
 * Its key is that of the entry, without ":v:" and what follows, with
 * ":s:<id>:<n>", the id as 16 hex digits, n in decimal.
 */


#ifndef _RCACHE_SEGMENT_H_INCLUDED_
#define _RCACHE_SEGMENT_H_INCLUDED_


#include "rcache_core.h"
#include "rcache_sign.h"


#define RCACHE_SEGMENT_VERSION   1
#define RCACHE_SEGMENT_FIXED     32

#define RCACHE_SEGMENTS_BLOCK    16

/* of its part of the body, bytes */

#define RCACHE_SEGMENT_MIN       4096
#define RCACHE_SEGMENT_MAX       (16 * 1024 * 1024)

/* one script names them all, so there is a limit to how many */

#define RCACHE_SEGMENTS_MAX      8192

/* what a key has behind that of the entry, at most */

#define RCACHE_SEGMENT_KEY       sizeof(":s:0123456789abcdef:4294967295")


typedef struct {
    uint64_t  id;
    uint32_t  size;               /* bytes; of the last one, at most */
    uint32_t  count;              /* 0: the body is in the entry */
    unsigned  coding;             /* RCACHE_CODING_*, of those that are coded */
} rcache_segments_t;


/*
 * How many segments of s->size bytes a body has: sets s->count.  RCACHE_ERROR
 * if there would be too many, or none.
 */

int rcache_segments_count(rcache_segments_t *s, uint64_t body_len);

/* the bytes of segment n of the body; n is below s->count */

uint32_t rcache_segment_len(const rcache_segments_t *s, uint64_t body_len,
    uint32_t n);

/*
 * The block of an entry; get does not ask whether it makes sense.  The coding
 * is in another block: get sets RCACHE_CODING_NONE.
 */

u_char *rcache_segments_put(u_char *p, const rcache_segments_t *s);
void rcache_segments_get(rcache_segments_t *s, const u_char *p);

/* does the block fit the length of the body? */

int rcache_segments_valid(const rcache_segments_t *s, uint64_t body_len);

/*
 * Writes RCACHE_SEGMENT_FIXED bytes to dst: the header of segment n, whose
 * payload, of len bytes, stands behind it.  size: of its part of the body; the
 * payload is coded if that is more.  secrets: NULL if it is not to be signed.
 */

void rcache_segment_encode(u_char *dst, uint64_t id, uint32_t n,
    uint32_t size, uint32_t len, const rcache_secrets_t *secrets);

/*
 * RCACHE_OK: data is segment n, whole, and *payload points into it.  It is
 * coded, with s->coding, if it is shorter than rcache_segment_len() says, and
 * never if that is RCACHE_CODING_NONE.
 * RCACHE_ERROR: it is something else, or damaged, or, with secrets, not
 * signed by one of them.  The data is written to, and is as it was in the end.
 */

int rcache_segment_decode(rcache_str_t *payload, const rcache_segments_t *s,
    uint64_t body_len, uint32_t n, u_char *data, size_t len,
    const rcache_secrets_t *secrets);

/* writes what is behind the key of the entry; returns its end */

u_char *rcache_segment_key(u_char *p, uint64_t id, uint32_t n);


#endif /* _RCACHE_SEGMENT_H_INCLUDED_ */
