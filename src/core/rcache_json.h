
/*
 * JSON, RFC 8259, by yajl: is a text well formed to its last byte, what is its
 * canonical form, and what GraphQL does it ask for?
 *
 * yajl does not look at what its allocations return.  So its memory is ours,
 * with a limit, and when there is none left the parser is not returned to: it
 * is left by a jump, and all of it is freed.
 */


#ifndef _RCACHE_JSON_H_INCLUDED_
#define _RCACHE_JSON_H_INCLUDED_


#include "rcache_core.h"


/* what is nested deeper is taken for no JSON */

#define RCACHE_JSON_DEPTH  256


/* the colon behind a name is written before it has been seen */

#define RCACHE_JSON_SIZE(len)  ((len) + 1)


typedef struct {
    void  *(*alloc)(void *data, size_t size);
    void   (*free)(void *data, void *p);
    void    *data;
} rcache_json_memory_t;


typedef struct rcache_json_s  rcache_json_t;


/*
 * Of a text that comes in pieces.  limit: of the memory that it may take; a
 * parser needs about 2 KiB, and as much as the longest string or number that
 * is cut by the end of a piece.  memory is kept.  NULL if there is none.
 *
 * feed, end: RCACHE_OK, RCACHE_DECLINED: it is no JSON; RCACHE_ERROR: there
 * is not enough memory.  After anything but RCACHE_OK only destroy is allowed.
 */

rcache_json_t *rcache_json_create(const rcache_json_memory_t *memory,
    size_t limit);
int rcache_json_feed(rcache_json_t *json, const u_char *p, size_t len);
int rcache_json_end(rcache_json_t *json);
void rcache_json_destroy(rcache_json_t *json);

/*
 * The canonical form of a text, no longer than that, but dst has room for
 * RCACHE_JSON_SIZE(text->len) bytes: without blanks, members sorted by name,
 * those of the same name in their order, strings with no more escapes than
 * needed, numbers as they are.  A text with an escape of a surrogate has none:
 * what is broken about it would be lost.
 *
 * RCACHE_OK, RCACHE_DECLINED: none; RCACHE_ERROR: not enough memory.
 */

int rcache_json_canonical(u_char *dst, size_t *len, const rcache_str_t *text,
    const rcache_json_memory_t *memory);

/*
 * A text that is one object: calls the handler for each member, or for each
 * element of a member that is an array.  kind is RCACHE_JSON_*; value is set
 * for a string, and valid for the time of the call, as name is.  The handler
 * returns nonzero to go on.
 *
 * RCACHE_OK; RCACHE_DECLINED: it is no JSON, or no object; or nested deeper,
 * or a name is longer than RCACHE_JSON_NAME, or the handler did not want to go
 * on; RCACHE_ERROR: not enough memory.
 */

#define RCACHE_JSON_NAME     64

#define RCACHE_JSON_OTHER    0
#define RCACHE_JSON_FALSE    1
#define RCACHE_JSON_TRUE     2
#define RCACHE_JSON_STRING   3
#define RCACHE_JSON_ELEMENT  4          /* a string in an array */

typedef int (*rcache_json_member_pt)(void *data, const rcache_str_t *name,
    int kind, const rcache_str_t *value);

int rcache_json_each(const rcache_str_t *text,
    const rcache_json_memory_t *memory, rcache_json_member_pt handler,
    void *data);

/*
 * A GraphQL request, or an array of them: RCACHE_OK if each has a "query", and
 * each "query" is one by rcache_graphql_query(); RCACHE_DECLINED: it is not,
 * or nobody can tell; RCACHE_ERROR: not enough memory.
 */

int rcache_json_graphql(const rcache_str_t *text,
    const rcache_json_memory_t *memory);


#endif /* _RCACHE_JSON_H_INCLUDED_ */
