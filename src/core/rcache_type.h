
/* Media types, and URLs that look like something else. */


#ifndef _RCACHE_TYPE_H_INCLUDED_
#define _RCACHE_TYPE_H_INCLUDED_


#include "rcache_core.h"


/* a longer media type is none */

#define RCACHE_TYPE_MAX  128


/*
 * "type/subtype" of a Content-Type in lower case, without its parameters;
 * returns the length, 0 if it is none.
 */

size_t rcache_type_name(u_char name[RCACHE_TYPE_MAX],
    const rcache_str_t *content_type);

/* RFC 8259 and 6839: application/json, and whatever ends in +json */

int rcache_type_json(const rcache_str_t *content_type);

/*
 * True if a response of this type, as rcache_type_name() writes it, is not
 * what the path promises: a page under the name of a style sheet, say.  Who
 * was made to ask for /account/x.css gets its account from some upstreams, and
 * a cache that takes it for a style sheet gives it to all.
 *
 * The path as the client sent it.  A path without an extension, or with one
 * that is not known, promises nothing.
 */

int rcache_type_contradicts(const rcache_str_t *path,
    const rcache_str_t *name);


#endif /* _RCACHE_TYPE_H_INCLUDED_ */
