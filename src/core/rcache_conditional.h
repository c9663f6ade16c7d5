
/*
 * Conditional requests against a stored response: RFC 9110, 13, and RFC
 * 9111, 4.3.2.
 */


#ifndef _RCACHE_CONDITIONAL_H_INCLUDED_
#define _RCACHE_CONDITIONAL_H_INCLUDED_


#include "rcache_core.h"


/*
 * Lines of If-Match and of If-None-Match that are looked at.  What is in
 * others does not match, which costs a whole response, or a 412.
 */

#define RCACHE_CONDITIONAL_LINES  8


typedef struct {
    rcache_str_t  if_match[RCACHE_CONDITIONAL_LINES];
    rcache_str_t  if_none_match[RCACHE_CONDITIONAL_LINES];
    rcache_str_t  if_modified_since;
    rcache_str_t  if_unmodified_since;
    rcache_str_t  if_range;
    unsigned      nif_match;
    unsigned      nif_none_match;
    unsigned      nif_modified_since;
    unsigned      nif_unmodified_since;
    unsigned      nif_range;
} rcache_conditional_t;


/* values of the stored response; a length of 0 is an absent header */

typedef struct {
    rcache_str_t  etag;
    rcache_str_t  last_modified;
    rcache_str_t  date;
} rcache_validators_t;


typedef enum {
    RCACHE_CONDITIONAL_GO = 0,
    RCACHE_CONDITIONAL_NOT_MODIFIED,
    RCACHE_CONDITIONAL_FAILED           /* 412 */
} rcache_conditional_e;


void rcache_conditional_init(rcache_conditional_t *c);

/*
 * Takes in one header line of the request; others than the five are skipped.
 * Keeps pointers into value.
 *
 * RFC 9111, 4.3.2: If-Match and If-Unmodified-Since are for the origin, a
 * cache must not evaluate them.  A caller that obeys forwards a request that
 * has them, or does not pass them here; what is passed is evaluated.
 */

void rcache_conditional_header(rcache_conditional_t *c,
    const rcache_str_t *name, const rcache_str_t *value);

/*
 * The precedence of RFC 9110, 13.2.2, for a stored response with a status of
 * 2xx (others are not for conditions, 13.2.1: do not ask).  safe is true for
 * GET and HEAD.  now and created, in seconds: the time, and that of the
 * response, which stands in for a Last-Modified and a Date that are missing;
 * -1 if it should not.
 */

rcache_conditional_e rcache_conditional(const rcache_conditional_t *c,
    const rcache_validators_t *v, int safe, int64_t created, int64_t now);

/*
 * RFC 9110, 13.1.5: true if Range may be obeyed: no If-Range, or one that
 * matches, strongly.
 */

int rcache_conditional_range(const rcache_conditional_t *c,
    const rcache_validators_t *v, int64_t now);

/* RFC 9110, 8.8.3.2 */

int rcache_etag_weak_match(const rcache_str_t *a, const rcache_str_t *b);
int rcache_etag_strong_match(const rcache_str_t *a, const rcache_str_t *b);


#endif /* _RCACHE_CONDITIONAL_H_INCLUDED_ */
