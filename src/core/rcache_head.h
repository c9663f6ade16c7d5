
/*
 * The message head of an entry, docs/storage-format.md: an HTTP/1.1 status
 * line, header lines, an empty line, each ended by CRLF.  It comes from
 * Redis, so it may be anything.
 */


#ifndef _RCACHE_HEAD_H_INCLUDED_
#define _RCACHE_HEAD_H_INCLUDED_


#include "rcache_core.h"


/* a longer head is neither stored nor accepted */

#define RCACHE_HEAD_MAX  65536


typedef struct {
    u_char    *pos;
    u_char    *last;
    unsigned   known;   /* nonzero: all of it was looked at before, and found to
                           be well-formed; cleared by rcache_head_status() */
} rcache_head_t;


/*
 * The first line.  Sets *line to what follows "HTTP/1.1 ": the three digits
 * of the status code and, if there is one, a space and the reason phrase.
 * Makes *h ready for rcache_head_next().  The strings point into the head.
 * Returns RCACHE_OK, or RCACHE_ERROR if the line is malformed.
 */

int rcache_head_status(rcache_head_t *h, const rcache_str_t *head,
    rcache_str_t *line);

/*
 * The next header line: RCACHE_OK with its name and its value without the
 * blanks around it, RCACHE_DONE at the empty line that ends the head,
 * RCACHE_ERROR if it is malformed (an empty or non-token name, a NUL, CR or
 * LF in the value, bytes behind the empty line).
 */

int rcache_head_next(rcache_head_t *h, rcache_str_t *name,
    rcache_str_t *value);

/*
 * True if a header may be written to a head: a token for a name; no NUL, CR
 * or LF in the value.
 */

int rcache_head_valid(const rcache_str_t *name, const rcache_str_t *value);


#endif /* _RCACHE_HEAD_H_INCLUDED_ */
