
/*
 * The arguments of a query string, taken apart, normalised, chosen, sorted and
 * put together again, so that queries that mean the same are one key.
 */


#ifndef _RCACHE_ARGS_H_INCLUDED_
#define _RCACHE_ARGS_H_INCLUDED_


#include "rcache_core.h"


/* a query with more than that is not taken apart */

#define RCACHE_ARGS_MAX  1024


typedef struct {
    rcache_str_t  name;           /* up to the first "=", or all of it */
    rcache_str_t  text;           /* "name=value", "name=" or "name" */

    unsigned      empty:1;        /* there is no value */
    unsigned      cloaked:1;      /* has a ";": some take that for a "&" */
} rcache_arg_t;


/* an upper bound of how many there are */

size_t rcache_args_count(const rcache_str_t *query);

/*
 * Takes the query, without its "?", apart at "&"; *n is the room in args, and
 * then the number of what is there.  What is between two "&" without anything
 * is none.  RFC 3986, 6.2.2: escapes of unreserved characters are decoded, hex
 * digits of the others are in upper case; an argument with a "%" that is no
 * escape stays as it is, so that it becomes the same as no other.
 *
 * dst has room for query->len bytes; the strings point into it.  RCACHE_OK,
 * or RCACHE_DECLINED if there are too many.
 */

int rcache_args_parse(rcache_arg_t *args, size_t *n, u_char *dst,
    const rcache_str_t *query);

/*
 * Sorts by name, bytewise; those with the same name stay in their order.
 * spare has room for n.
 */

void rcache_args_sort(rcache_arg_t *args, rcache_arg_t *spare, size_t n);

/* puts them together; at most query->len bytes; returns the end */

u_char *rcache_args_join(u_char *dst, const rcache_arg_t *args, size_t n);

/* true if the name matches the pattern, in which "*" stands for anything */

int rcache_args_match(const rcache_str_t *pattern, const rcache_str_t *name);


#endif /* _RCACHE_ARGS_H_INCLUDED_ */
