
/* HTTP dates, RFC 9110, 5.6.7. */


#ifndef _RCACHE_DATE_H_INCLUDED_
#define _RCACHE_DATE_H_INCLUDED_


#include "rcache_core.h"


/*
 * Parses IMF-fixdate, and the obsolete RFC 850 and asctime forms.  Returns
 * seconds since 1970-01-01 UTC, or RCACHE_ERROR (-1) if the text is none of
 * them, names a day that does not exist, or is before 1970.  now, in
 * seconds, decides the century of a two-digit year: one that would be more
 * than 50 years ahead is in the past.
 */

int64_t rcache_date_parse(const u_char *p, size_t len, int64_t now);

/*
 * Writes an IMF-fixdate, RCACHE_DATE_LEN bytes; returns the end of it.  Times
 * before 1970 and after 9999 become the first and the last that there are.
 */

#define RCACHE_DATE_LEN  (sizeof("Thu, 01 Jan 1970 00:00:00 GMT") - 1)

u_char *rcache_date_write(u_char *dst, int64_t time);


#endif /* _RCACHE_DATE_H_INCLUDED_ */
