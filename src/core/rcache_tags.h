
/*
 * Tags of a response, as Cache-Tag, Surrogate-Key, xkey and Cache-Groups
 * (RFC 9875) name them.  An entry has their hashes, see rcache_entry.h, and
 * a purge is looked for by them, see rcache_purge.h.
 */


#ifndef _RCACHE_TAGS_H_INCLUDED_
#define _RCACHE_TAGS_H_INCLUDED_


#include "rcache_core.h"


/* of one response */
#define RCACHE_TAGS_MAX  64

/* bytes of a tag */
#define RCACHE_TAG_MAX   256

/* bytes of a hash in an entry */
#define RCACHE_TAG_SIZE  8


typedef struct {
    unsigned   n;
    u_char     hash[RCACHE_TAGS_MAX * RCACHE_TAG_SIZE];   /* little-endian,
                                                             no two alike */
} rcache_tags_t;


/*
 * Takes the next tag off the list, which is what is left of it then.  Commas
 * and blanks separate, a tag that has them is in double quotes, in which a
 * backslash makes the next byte an ordinary one; what is behind such a string
 * up to the next separator, as the parameters of a structured field, is left
 * out.  buf takes a quoted tag, RCACHE_TAG_MAX bytes; *tag points into it or
 * into the list.  RCACHE_OK; RCACHE_DONE: there is no other; RCACHE_DECLINED:
 * it is too long, and has been taken off all the same.
 */

int rcache_tags_next(rcache_str_t *list, u_char *buf, rcache_str_t *tag);

/* adds the tags of a list; RCACHE_OK, RCACHE_DECLINED: too many, too long */

int rcache_tags_add(rcache_tags_t *tags, const rcache_str_t *list);


#endif /* _RCACHE_TAGS_H_INCLUDED_ */
