
/* The slot of a Redis Cluster that a key is in. */


#ifndef _RCACHE_SLOT_H_INCLUDED_
#define _RCACHE_SLOT_H_INCLUDED_


#include "rcache_core.h"


#define RCACHE_SLOTS  16384


/*
 * From 0 to RCACHE_SLOTS - 1.  Counted is what is between the first "{" and
 * the first "}" behind it, if that is not empty, and the whole key otherwise.
 */

unsigned rcache_slot(const u_char *key, size_t len);


#endif /* _RCACHE_SLOT_H_INCLUDED_ */
