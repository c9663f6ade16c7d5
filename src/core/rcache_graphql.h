
/* GraphQL, as far as a cache has to know it: does a document only read? */


#ifndef _RCACHE_GRAPHQL_H_INCLUDED_
#define _RCACHE_GRAPHQL_H_INCLUDED_


#include "rcache_core.h"


/*
 * True if the document has operations, and all of them are queries, and
 * besides them it has nothing but fragments.  One with a mutation or a
 * subscription is not, whichever of its operations is asked for; nor is one
 * that cannot be read.
 */

int rcache_graphql_query(const rcache_str_t *document);


#endif /* _RCACHE_GRAPHQL_H_INCLUDED_ */
