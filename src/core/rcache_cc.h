
/* The Cache-Control field, RFC 9111, 5.2, and its extensions in RFC 5861. */


#ifndef _RCACHE_CC_H_INCLUDED_
#define _RCACHE_CC_H_INCLUDED_


#include "rcache_core.h"


/* RFC 9111, 1.2.2: a delta-seconds that does not fit means "for ever" */

#define RCACHE_DELTA_MAX  ((int64_t) 2147483648)


typedef struct {
    int64_t   max_age;                   /* seconds, -1 if absent */
    int64_t   s_maxage;
    int64_t   stale_while_revalidate;
    int64_t   stale_if_error;

    unsigned  no_store:1;
    unsigned  no_cache:1;                /* also with field names */
    unsigned  private_:1;                /* also with field names */
    unsigned  public_:1;
    unsigned  must_revalidate:1;
    unsigned  proxy_revalidate:1;
    unsigned  must_understand:1;
} rcache_cc_t;


void rcache_cc_init(rcache_cc_t *cc);

/*
 * Adds one field line to what earlier lines said.  Names are case
 * insensitive; arguments may be tokens or quoted strings.  Where directives
 * repeat or contradict each other the most restrictive one holds: the least
 * lifetime, and an argument that is not a number counts as 0 for max-age and
 * s-maxage and as absent for the stale windows.  Unknown directives are
 * skipped, commas in quoted strings respected; nothing is an error.  Text
 * that the grammar does not allow is read so that no restriction is missed:
 * semicolons and blanks separate too, and a quoted string that is never
 * closed is none.
 */

void rcache_cc_parse(rcache_cc_t *cc, const u_char *p, size_t len);


#endif /* _RCACHE_CC_H_INCLUDED_ */
