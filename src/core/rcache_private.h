
/*
 * Cache-Control of a response that is for one user: what comes behind this
 * cache knows nothing of users, and must not share it.
 */


#ifndef _RCACHE_PRIVATE_H_INCLUDED_
#define _RCACHE_PRIVATE_H_INCLUDED_


#include "rcache_core.h"


/* a comma may take a blank with it */

#define RCACHE_PRIVATE_SIZE(len)  (2 * (len) + sizeof("private, ") - 1)


/*
 * Writes the value of a Cache-Control line with "public" left out and
 * "private" in front; returns the end.  What has "private" already, or does
 * not look like a list, gets another one: it does no harm.
 */

u_char *rcache_private_cc(u_char *dst, const rcache_str_t *value);

/* true for a field that is addressed to caches behind this one, RFC 9213 */

int rcache_private_targeted(const rcache_str_t *name);


#endif /* _RCACHE_PRIVATE_H_INCLUDED_ */
