
/*
 * Structured field values, RFC 8941 and RFC 9651: Dictionaries, read without
 * allocation.  Strict: the text is one that the RFCs parse, or an error.
 */


#ifndef _RCACHE_SF_H_INCLUDED_
#define _RCACHE_SF_H_INCLUDED_


#include "rcache_core.h"


typedef enum {
    RCACHE_SF_INTEGER = 0,
    RCACHE_SF_DECIMAL,
    RCACHE_SF_STRING,
    RCACHE_SF_TOKEN,
    RCACHE_SF_BYTES,
    RCACHE_SF_BOOLEAN,
    RCACHE_SF_DATE,              /* RFC 9651, 3.3.7 */
    RCACHE_SF_DISPLAY,           /* RFC 9651, 3.3.8 */
    RCACHE_SF_LIST               /* an Inner List; its items are checked and
                                    not kept */
} rcache_sf_type_e;


typedef struct {
    rcache_sf_type_e  type;
    int64_t           integer;   /* of an Integer, a Date; 0 or 1 of a
                                    Boolean */
    rcache_str_t      text;      /* as written, without delimiters; the
                                    escapes of a String are in it */
    unsigned          escaped:1; /* a String has escapes */
} rcache_sf_item_t;


typedef struct {
    rcache_str_t      key;
    rcache_sf_item_t  item;
} rcache_sf_member_t;


typedef struct {
    const rcache_str_t  *lines;
    unsigned             nlines;
    u_char              *pos;
    u_char              *last;
    unsigned             started:1;
    unsigned             failed:1;
} rcache_sf_t;


/* the lines of one field, in order; the caller keeps them */

void rcache_sf_init(rcache_sf_t *sf, const rcache_str_t *lines,
    unsigned nlines);

/*
 * The next member of the Dictionary; parameters are checked and skipped.
 * RCACHE_OK, RCACHE_DONE at the end, RCACHE_ERROR if the field does not
 * parse: then nothing that it gave before counts, RFC 8941, 4.2.  Of members
 * with the same key the last one counts, 4.2.2: that is for the caller.
 */

int rcache_sf_next(rcache_sf_t *sf, rcache_sf_member_t *member);


#endif /* _RCACHE_SF_H_INCLUDED_ */
