
/*
 * The stored entry: docs/storage-format.md, a public contract.
 *
 *     0   4  magic "RPC" and the version, 2
 *     4   2  length of this fixed part, 64 and the blocks that flags say are
 *            there; a reader skips what it does not know behind its own
 *     6   2  status code, the one in the message head; 0 in a marker
 *     8   8  XXH3-64 of bytes 16 to the start of the body
 *    16   8  XXH3-64 of the body, or of nothing if the flag SEGMENTED is set
 *    24   8  time of the response, milliseconds since 1970-01-01 UTC
 *    32   8  lifetime in milliseconds from that time on; not positive if the
 *            response was stale, by so much, when it came
 *    40   8  length of the body in bytes, as it is stored; in segments, of what
 *            it is when they are decoded
 *    48   4  flags
 *    52   4  time that the upstream took, milliseconds
 *    56   4  length of the key
 *    60   4  length of the message head
 *    64      the blocks, each if its flag is set, in this order:
 *            SEGMENTED: see rcache_segment.h
 *            CODED: see rcache_coding.h
 *            VARIES: generation, a random number that a marker and its
 *            variants share; length of the list of names that the response
 *            varies with; length of the variant; 4 bytes each
 *            AGED: age in seconds that the response had when it came; by how
 *            many seconds its Date is before that, with a sign; 4 bytes each
 *            WINDOWS: stale-while-revalidate and stale-if-error, seconds, 4
 *            bytes each
 *            TAGS: 2 bytes, their number, and 8 bytes each, see rcache_tags.h
 *            POSITION: 8 bytes, see rcache_purge.h
 *            SIGNED: see rcache_sign.h
 *            then the key, in full; the names, lower case, sorted, with commas
 *            between them; the variant, see rcache_vary.h; the message head:
 *            an HTTP/1.1 status line, header lines, an empty line; the body
 *
 * What a block would say is 0, or empty, if it is not there.  VARIES, AGED and
 * WINDOWS are there if they say something else.
 *
 * A head without Date is one whose Date is the time of the response, less what
 * AGED says.
 *
 * A key whose responses vary holds a marker: an entry with the flag VARY and
 * the names, with status 0 and without variant, head and body; the 8 bytes of
 * AGED are bits that stand for the variants stored so far.  The responses are
 * under the key and ":v:" and the hash of the variant; one of another
 * generation than its marker's does not count, so deleting the marker deletes
 * them all.
 *
 * Integers are little-endian.  Head and body together are one HTTP/1.1
 * message.
 */


#ifndef _RCACHE_ENTRY_H_INCLUDED_
#define _RCACHE_ENTRY_H_INCLUDED_


#include "rcache_coding.h"
#include "rcache_core.h"
#include "rcache_sum.h"
#include "rcache_head.h"
#include "rcache_segment.h"
#include "rcache_sign.h"
#include "rcache_tags.h"
#include "rcache_vary.h"


#define RCACHE_ENTRY_VERSION   2
#define RCACHE_ENTRY_FIXED     64

#define RCACHE_VARIES_BLOCK    12
#define RCACHE_AGED_BLOCK      8

/* 4 bytes: where a marker, whose first block is VARIES, has its generation */

#define RCACHE_ENTRY_GENERATION  RCACHE_ENTRY_FIXED

/* RFC 9111, 3.5: the entry may answer a request with Authorization */
#define RCACHE_ENTRY_SHARED           0x0001

/* 5.2.2.4: never used without validation */
#define RCACHE_ENTRY_NO_CACHE         0x0002

/* 5.2.2.2, 5.2.2.8, 5.2.2.10: never used stale */
#define RCACHE_ENTRY_MUST_REVALIDATE  0x0004

/* 4.2.2: the lifetime is a guess */
#define RCACHE_ENTRY_HEURISTIC        0x0008

/* a marker: responses under this key vary */
#define RCACHE_ENTRY_VARY             0x0010

/* the response is for the user in the key alone */
#define RCACHE_ENTRY_PRIVATE          0x0400

/* blocks that are there */
#define RCACHE_ENTRY_TAGS             0x0100
#define RCACHE_ENTRY_POSITION         0x0200

/* and those that encode itself finds a use for, see above */
#define RCACHE_ENTRY_VARIES           0x8000
#define RCACHE_ENTRY_AGED             0x10000
#define RCACHE_ENTRY_WINDOWS          0x20000

/* there is a signature, see rcache_sign.h */
#define RCACHE_ENTRY_SIGNED           0x0800

/* it is 5.2.2.10, s-maxage, alone that sets _MUST_REVALIDATE */
#define RCACHE_ENTRY_S_MAXAGE         0x0020

/* the body is in segments, see rcache_segment.h */
#define RCACHE_ENTRY_SEGMENTED        0x0040

/* the body is compressed, see rcache_coding.h */
#define RCACHE_ENTRY_CODED            0x0080

/* and from there on three bits that have an rcache_lifetime_e */
#define RCACHE_ENTRY_LIFETIME_SHIFT   12

#define rcache_entry_source(e)                                                \
    (((e)->flags >> RCACHE_ENTRY_LIFETIME_SHIFT) & 7)

/* what is said of the stored body, and not of the response */
#define RCACHE_ENTRY_STORED  (RCACHE_ENTRY_SEGMENTED|RCACHE_ENTRY_CODED)


/* where the lifetime came from; others who write entries need not say it */

typedef enum {
    RCACHE_LIFETIME_UNSAID = 0,
    RCACHE_LIFETIME_S_MAXAGE,
    RCACHE_LIFETIME_MAX_AGE,
    RCACHE_LIFETIME_EXPIRES,
    RCACHE_LIFETIME_ACCEL,        /* X-Accel-Expires */
    RCACHE_LIFETIME_TARGETED,     /* RFC 9213 */
    RCACHE_LIFETIME_VALID,        /* the configuration */
    RCACHE_LIFETIME_HEURISTIC
} rcache_lifetime_e;


typedef struct {
    int64_t            created;   /* milliseconds since the epoch */
    int64_t            lifetime;  /* milliseconds */
    uint64_t           body_sum;  /* rcache_sum() of the body that follows */
    uint64_t           body_len;
    uint32_t           age;       /* seconds */
    int32_t            dated;     /* seconds from Date to created */
    uint32_t           fetch;     /* milliseconds */
    uint32_t           flags;
    uint32_t           stale_while_revalidate;   /* seconds, 0 for none */
    uint32_t           stale_if_error;
    uint32_t           generation;   /* of a marker and its variants */
    uint16_t           status;

    rcache_segments_t  segments;  /* count 0: none */
    uint64_t           position;  /* if _POSITION; decode sets it to 0 */
    rcache_coding_t    coding;    /* RCACHE_CODING_NONE: as it came */

    /* of a coded body that is being served; set to 0 by decode */

    unsigned           plain:1;   /* body is the decoded one */
    unsigned           passed:1;  /* the client takes it as it is */
    unsigned           known:1;   /* by rcache_entry_known(), so its head is
                                     well-formed */

    rcache_str_t       tags;      /* if _TAGS: hashes; decode sets it empty */

    /* of a signed one: the body's SHA-256, and for encode what signs */
    u_char             digest[RCACHE_SIGN_DIGEST];
    rcache_str_t       secret;

    u_char            *front;     /* set by decode: all before the body */
    u_char            *block;     /* and where the signature is */
    size_t             front_len;

    rcache_str_t       key;
    rcache_str_t       vary;      /* canonical names; may be empty */
    rcache_str_t       variant;
    rcache_str_t       head;
    rcache_str_t       body;      /* set by decode, ignored by encode */
} rcache_entry_t;


/* verdicts of rcache_entry_decode() other than RCACHE_OK */

#define RCACHE_ENTRY_CORRUPT    1
#define RCACHE_ENTRY_VERSIONED  2    /* another version */
#define RCACHE_ENTRY_OTHER      3    /* another key */


/* bytes before the body */

size_t rcache_entry_size(const rcache_entry_t *e);

/*
 * Writes what comes before the body, rcache_entry_size() bytes; returns the
 * end of it.  The body, of body_len bytes with the checksum body_sum,
 * follows it in the stored value.
 */

u_char *rcache_entry_encode(u_char *dst, const rcache_entry_t *e);

/*
 * Takes a stored value apart.  Every length is checked, both checksums are,
 * the status code is held against the head (no checksum covers it), and the
 * key is compared in full.  Of the head no more than that is looked at; see
 * rcache_head.h.  The strings of *e point into data, which the caller keeps.
 * Returns RCACHE_OK or one of the verdicts above; *e says something only
 * after RCACHE_OK.  What it may be is for the caller to ask: a marker, or
 * the wrong variant.
 */

int rcache_entry_decode(rcache_entry_t *e, u_char *data, size_t len,
    const rcache_str_t *key);

/*
 * The same of what was decoded and verified once, whose head was taken apart to
 * its end, and that is a copy of that: the sums are not made anew.
 */

int rcache_entry_known(rcache_entry_t *e, u_char *data, size_t len,
    const rcache_str_t *key);

/*
 * After decode, while its data is there: RCACHE_OK, or RCACHE_DECLINED if the
 * entry is not signed by one of these secrets.  The body of an entry in
 * segments is not looked at.  The data is written to, and is as it was in the
 * end.
 */

int rcache_entry_verify(rcache_entry_t *e, const rcache_secrets_t *secrets);

/*
 * What the beginning of a stored value says: flags, key, tags, position, and
 * front_len, the bytes in front of the body, of which data may have fewer.
 * Unchecked by any sum: good enough to throw it away.  RCACHE_OK,
 * RCACHE_DECLINED: it is no entry, or its key is not in data.
 */

int rcache_entry_peek(rcache_entry_t *e, u_char *data, size_t len);

/*
 * Cuts the lifetime of an entry, of which front is all in front of the body,
 * and signs it anew if there are secrets.  RCACHE_OK; RCACHE_DONE: it is no
 * longer as it is; RCACHE_DECLINED: it is damaged, or not signed by one of
 * these, or is signed and nothing is known of secrets; or until is negative.
 */

int rcache_entry_soften(u_char *front, size_t len, int64_t until,
    const rcache_secrets_t *secrets);

/*
 * What the beginning of a stored value says of its segments, unchecked by any
 * sum: good enough to let them expire.  RCACHE_OK, RCACHE_DECLINED: it has
 * none.
 */

#define RCACHE_ENTRY_BEGIN  (RCACHE_ENTRY_FIXED + RCACHE_SEGMENTS_BLOCK)

int rcache_entry_segments(rcache_segments_t *s, const u_char *data,
    size_t len);

/*
 * True if the entry is the response for these canonical names and this
 * variant; with both empty, one that does not vary.  Never true for a marker.
 */

int rcache_entry_is(const rcache_entry_t *e, const rcache_str_t *names,
    const rcache_str_t *variant);

/*
 * True while the entry is fresh; now in milliseconds since the epoch.  An
 * entry from the future, which is to say that a clock is wrong, is fresh if
 * it is from no further ahead than its own lifetime.
 */

int rcache_entry_fresh(const rcache_entry_t *e, int64_t now);

/*
 * current_age of RFC 9111, 4.2.3, in whole seconds; never negative, also if
 * the clock went back.
 */

int64_t rcache_entry_age(const rcache_entry_t *e, int64_t now);

/* Date, in seconds since the epoch, of an entry whose head does not say it */

int64_t rcache_entry_date(const rcache_entry_t *e);

/*
 * How long the entry has been stale, in milliseconds; negative, and how long
 * it will still be fresh, before that.  Cut to what fits.  Compare it with
 * the stale windows, which are 0 where staleness is forbidden.
 */

int64_t rcache_entry_staleness(const rcache_entry_t *e, int64_t now);

/*
 * True if the window, in seconds, e->stale_while_revalidate or another, is
 * still open: the entry is stale, but not by more than that.  A clock that
 * is wrong opens none.
 */

int rcache_entry_within(const rcache_entry_t *e, uint32_t window,
    int64_t now);


#endif /* _RCACHE_ENTRY_H_INCLUDED_ */
