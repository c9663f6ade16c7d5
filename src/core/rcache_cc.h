
/* The Cache-Control field, RFC 9111, 5.2, its extensions in RFC 5861, and
   targeted fields, RFC 9213. */


#ifndef _RCACHE_CC_H_INCLUDED_
#define _RCACHE_CC_H_INCLUDED_


#include "rcache_core.h"


/* RFC 9111, 1.2.2: a delta-seconds that does not fit means "for ever" */

#define RCACHE_DELTA_MAX  ((int64_t) 2147483648)


/* no-cache="..." and private="..." that are kept apart; more of them in one
   message means the unqualified directive */

#define RCACHE_CC_FIELDS  4


/* lists of field names, as they stand between the quotes */

typedef struct {
    rcache_str_t  list[RCACHE_CC_FIELDS];
    unsigned      n;
} rcache_cc_fields_t;


typedef struct {
    int64_t   max_age;                   /* seconds, -1 if absent */
    int64_t   s_maxage;
    int64_t   stale_while_revalidate;
    int64_t   stale_if_error;

    /* in requests only */
    int64_t   max_stale;                 /* RCACHE_DELTA_MAX: any */
    int64_t   min_fresh;

    unsigned  no_store:1;
    unsigned  no_cache:1;                /* without field names */
    unsigned  private_:1;                /* without field names */
    unsigned  public_:1;
    unsigned  must_revalidate:1;
    unsigned  proxy_revalidate:1;
    unsigned  must_understand:1;
    unsigned  only_if_cached:1;

    rcache_cc_fields_t  no_cache_fields;
    rcache_cc_fields_t  private_fields;
} rcache_cc_t;


void rcache_cc_init(rcache_cc_t *cc);

/*
 * Adds one field line, of a request or a response, to what earlier lines
 * said; *cc keeps pointers into it.  Names are case insensitive; arguments
 * may be tokens or quoted strings.  Where directives repeat or contradict
 * each other the most restrictive one holds: the least lifetime, and an
 * argument that is not a number counts as 0 for max-age and s-maxage and as
 * absent for the stale windows and max-stale.  Unknown directives are
 * skipped, commas in quoted strings respected; nothing is an error.  Text
 * that the grammar does not allow is read so that no restriction is missed:
 * semicolons and blanks separate too, a quoted string that is never closed
 * is none, and an argument of no-cache or private that is not a quoted list
 * of names counts for nothing.
 */

void rcache_cc_parse(rcache_cc_t *cc, const u_char *p, size_t len);

/*
 * Adds a targeted field, RFC 9213, 2.1: a Dictionary, given as its lines.
 * RCACHE_OK, or RCACHE_DECLINED, with *cc untouched, if the field is empty
 * or does not parse and so must be ignored.
 */

int rcache_cc_targeted(rcache_cc_t *cc, const rcache_str_t *lines,
    unsigned nlines);

/* true if no-cache="..." or private="..." names the field */

int rcache_cc_withholds(const rcache_cc_t *cc, const rcache_str_t *name);


#endif /* _RCACHE_CC_H_INCLUDED_ */
