
/*
 * Which of several media types does a client want most?  RFC 9110, 12.5.1.
 */


#ifndef _RCACHE_ACCEPT_H_INCLUDED_
#define _RCACHE_ACCEPT_H_INCLUDED_


#include "rcache_core.h"


/*
 * The number of the type, of n, that the value of Accept gives most weight
 * to, and of equals the first; 0 if it wants none of them.  Types are in lower
 * case, without parameters; those of Accept, other than q, are left out.
 */

unsigned rcache_accept(const rcache_str_t *accept, const rcache_str_t *types,
    unsigned n);


#endif /* _RCACHE_ACCEPT_H_INCLUDED_ */
