
/*
 * A body that is kept compressed: docs/storage-format.md, a public contract.
 * The response is not coded, its head says nothing of it; only the stored body
 * is.  The block of an entry with the flag CODED:
 *
 *     0   1  coding: 1 gzip, 2 zstd
 *     1   3  zeros
 *     4   4  CRC-32 of the body when it is decoded, if it is gzip in segments;
 *            0 otherwise
 *     8   8  length of the body when it is decoded
 *
 * In segments each is coded for itself, or not at all.  With zstd each is one
 * or more frames.  With gzip each is a raw deflate stream (RFC 1951) without a
 * final block, that ends at the end of a byte and depends on nothing in front
 * of it; so all of them, one behind the other, are what is between the header
 * and the end of one gzip member (RFC 1952).  What is not coded becomes part of
 * that as stored blocks.
 */


#ifndef _RCACHE_CODING_H_INCLUDED_
#define _RCACHE_CODING_H_INCLUDED_


#include "rcache_core.h"


#define RCACHE_CODING_BLOCK  16

#define RCACHE_CODING_NONE   0
#define RCACHE_CODING_GZIP   1
#define RCACHE_CODING_ZSTD   2

/* of a decoded body that is not in segments, bytes */

#define RCACHE_CODING_MAX    (16 * 1024 * 1024)

/* the header of a gzip member, and what ends it */

#define RCACHE_GZIP_BEGIN    10
#define RCACHE_GZIP_END      (2 + 8)

/* stored blocks for so many bytes: what is before each, RFC 1951, 3.2.4 */

#define RCACHE_GZIP_BLOCK    65535
#define RCACHE_GZIP_STORED(len)                                               \
    ((len) + 5 * ((len) / RCACHE_GZIP_BLOCK + 1))


typedef struct {
    unsigned  coding;
    uint32_t  crc;                /* of gzip in segments */
    uint64_t  length;             /* decoded */
} rcache_coding_t;


/* the block of an entry; get does not ask whether it makes sense */

u_char *rcache_coding_put(u_char *p, const rcache_coding_t *c);
void rcache_coding_get(rcache_coding_t *c, const u_char *p);

/* the length is not asked for */

int rcache_coding_valid(const rcache_coding_t *c);

/*
 * Parts of a gzip member that come before, in place of, and behind those that
 * are kept: RCACHE_GZIP_BEGIN bytes; at most RCACHE_GZIP_STORED(src->len) ones,
 * the end is returned; RCACHE_GZIP_END ones.
 */

void rcache_gzip_begin(u_char *dst);
u_char *rcache_gzip_stored(u_char *dst, const rcache_str_t *src);
void rcache_gzip_end(u_char *dst, const rcache_coding_t *c);

/* the name in Accept-Encoding and Content-Encoding */

rcache_str_t rcache_coding_name(unsigned coding);

/*
 * RFC 9110, 12.5.3: true if this Accept-Encoding wants the coding; by its name
 * with a weight over 0, or by "*", if it is not named.
 */

int rcache_coding_accepted(const rcache_str_t *value, unsigned coding);


#endif /* _RCACHE_CODING_H_INCLUDED_ */
