
/*
 * Paths that the proxy and the upstream may take for different ones.  What a
 * cache does with a path, which location it is in and which key it has, and
 * what the upstream does with it, must not part.
 */


#ifndef _RCACHE_PATH_H_INCLUDED_
#define _RCACHE_PATH_H_INCLUDED_


#include "rcache_core.h"


/*
 * True if the path of a request target, as the client sent it, has but one
 * meaning.  Not so with a segment that is "." or ".." for somebody, if only
 * for one who decodes it, twice, who cuts path parameters off, or who takes
 * "\" for "/"; nor with a "#", or control bytes, be they escaped.
 */

int rcache_path_plain(const rcache_str_t *path);

/*
 * True if a key that is made of the decoded path tells this path from others:
 * nothing was decoded in it that separates, and no two slashes were merged.
 */

int rcache_path_exact(const rcache_str_t *path);


#endif /* _RCACHE_PATH_H_INCLUDED_ */
