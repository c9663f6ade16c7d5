
/*
 * What a cache key has behind the URI or the expression that it begins with:
 * the user, header lines, a body.  Each part is a space and "name=value".  A
 * space in what stands before the parts is doubled, and no part has one, so
 * that two different sets of parts never make one key.
 */


#ifndef _RCACHE_PARTS_H_INCLUDED_
#define _RCACHE_PARTS_H_INCLUDED_


#include "rcache_core.h"


/* a header's value that takes more bytes than that is in the key as a digest */

#define RCACHE_PART_READABLE  128

/* bytes of a part of a header, apart from its name */

#define RCACHE_PART_HEADER    (sizeof(" hash:=") - 1 + RCACHE_PART_READABLE)

/* hex digits of a digest in a part */

#define RCACHE_PART_DIGEST    64

/* those that stand for a user */

#define RCACHE_PART_USER      32


/* how many bytes longer the base becomes */

size_t rcache_parts_spaces(const rcache_str_t *base);

/* writes the base with its spaces doubled; returns the end */

u_char *rcache_parts_base(u_char *dst, const rcache_str_t *base);

/*
 * " h:name=value", with space and "%" in the value percent-encoded, or
 * " hash:name=", and the SHA-256 of a value that is too long.  The name is in
 * lower case, a token.  Returns the end; NULL if the digest fails.
 */

u_char *rcache_parts_header(u_char *dst, const rcache_str_t *name,
    const rcache_str_t *value);

/* bytes of the part of a body */

#define RCACHE_PART_BODY(method)                                              \
    (sizeof(" body:=") - 1 + (method) + RCACHE_PART_DIGEST)


/*
 * " body:METHOD=", and the SHA-256 of: the Content-Type, LF, the
 * Content-Encoding, LF, "json" for the canonical form of JSON, "raw" otherwise,
 * LF, and the body.  Returns the end; NULL if the digest fails.
 */

u_char *rcache_parts_body(u_char *dst, const rcache_str_t *method,
    const rcache_str_t *type, const rcache_str_t *encoding, int json,
    const rcache_str_t *body);

/*
 * The hex digits that stand for a user: of HMAC-SHA-256 with the secret, or
 * without one of SHA-256.  RCACHE_OK, RCACHE_ERROR.
 */

int rcache_parts_user(u_char dst[RCACHE_PART_USER],
    const rcache_str_t *identity, const rcache_str_t *secret);


#endif /* _RCACHE_PARTS_H_INCLUDED_ */
