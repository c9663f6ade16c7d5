
/*
 * In which headers do two message heads differ?  For people, and for a log:
 * the answer has names and no values.
 */


#ifndef _RCACHE_DIFF_H_INCLUDED_
#define _RCACHE_DIFF_H_INCLUDED_


#include "rcache_core.h"
#include "rcache_head.h"


/* lines of a head that are looked at */

#define RCACHE_DIFF_LINES  256


/*
 * Writes the names, with ", " between them, to dst, which has room for so many
 * bytes; returns the end of them.  Names that do not fit are left out.  A
 * header is what all of its lines say, in their order.  Date and Age are not
 * looked at: they always differ.  Of a malformed head only what is in front
 * of the damage counts.
 */

u_char *rcache_diff(u_char *dst, size_t room, const rcache_str_t *a,
    const rcache_str_t *b);


#endif /* _RCACHE_DIFF_H_INCLUDED_ */
