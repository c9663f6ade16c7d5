
/*
 * A body that is kept compressed: docs/storage-format.md, a public contract.
 * The response is not coded, its head says nothing of it; only the stored body
 * is.  The block of an entry with the flag CODED:
 *
 *     0   1  coding: 1 gzip, 2 zstd
 *     1   7  zeros
 *     8   8  length of the body when it is decoded
 */


#ifndef _RCACHE_CODING_H_INCLUDED_
#define _RCACHE_CODING_H_INCLUDED_


#include "rcache_core.h"


#define RCACHE_CODING_BLOCK  16

#define RCACHE_CODING_NONE   0
#define RCACHE_CODING_GZIP   1
#define RCACHE_CODING_ZSTD   2

/* of a decoded body, bytes */

#define RCACHE_CODING_MAX    (16 * 1024 * 1024)


typedef struct {
    unsigned  coding;
    uint64_t  length;             /* decoded */
} rcache_coding_t;


/* the block of an entry; get does not ask whether it makes sense */

u_char *rcache_coding_put(u_char *p, const rcache_coding_t *c);
void rcache_coding_get(rcache_coding_t *c, const u_char *p);

int rcache_coding_valid(const rcache_coding_t *c);

/* the name in Accept-Encoding and Content-Encoding */

rcache_str_t rcache_coding_name(unsigned coding);

/*
 * RFC 9110, 12.5.3: true if this Accept-Encoding wants the coding; by its name
 * with a weight over 0, or by "*", if it is not named.
 */

int rcache_coding_accepted(const rcache_str_t *value, unsigned coding);


#endif /* _RCACHE_CODING_H_INCLUDED_ */
