
/* URI references, as Location and Content-Location have them: RFC 3986. */


#ifndef _RCACHE_URI_H_INCLUDED_
#define _RCACHE_URI_H_INCLUDED_


#include "rcache_core.h"


/* the space that rcache_uri_resolve() needs at most, in bytes */

#define rcache_uri_size(base, ref)  ((base)->len + (ref)->len + 1)


/*
 * Resolves a reference against a base of the form scheme://host/path, where
 * the host has no port, which is that of a default cache key.  A reference
 * to the same origin, with or without a port, gives a URI of the same form
 * in dst: RCACHE_OK and its length in *len.  Its fragment is left out.
 * RCACHE_DECLINED: another origin, or a reference that this does not resolve
 * (dot segments, a query alone, an empty one).
 */

int rcache_uri_resolve(u_char *dst, size_t *len, const rcache_str_t *base,
    const rcache_str_t *ref);


#endif /* _RCACHE_URI_H_INCLUDED_ */
