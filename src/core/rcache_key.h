
/* From the cache key to the Redis key: docs/storage-format.md. */


#ifndef _RCACHE_KEY_H_INCLUDED_
#define _RCACHE_KEY_H_INCLUDED_


#include "rcache_core.h"


/* a longer cache key is not used at all */

#define RCACHE_KEY_MAX       8192

/* an encoded key longer than this is replaced by its SHA-256 */

#define RCACHE_KEY_READABLE  512


/*
 * The space that rcache_key_encode() needs at most, in bytes, for a prefix
 * of this length.
 */

#define rcache_key_size(prefix_len)                                           \
    ((prefix_len) + sizeof("{}") - 1 + RCACHE_KEY_READABLE)

/*
 * Writes <prefix>{<key>}, where "{", "}", space, control and non-ASCII bytes
 * of the key are percent-encoded in upper case hex, or, if the key so
 * encoded is longer than RCACHE_KEY_READABLE, <prefix>{sha256:<hex>} with
 * the lower case hex SHA-256 of the key as it is.  The prefix is written as
 * it is.  Returns the end of what was written, or NULL if OpenSSL could not
 * make the digest, for want of memory; a readable key cannot fail.
 */

u_char *rcache_key_encode(u_char *dst, const rcache_str_t *prefix,
    const rcache_str_t *key);


#endif /* _RCACHE_KEY_H_INCLUDED_ */
