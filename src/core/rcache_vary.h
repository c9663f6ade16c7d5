
/*
 * Vary, RFC 9110, 12.5.5: the list of names in one canonical form, and the
 * key of a variant, RFC 9111, 4.1: what a request says in these fields, in
 * one canonical form too.
 */


#ifndef _RCACHE_VARY_H_INCLUDED_
#define _RCACHE_VARY_H_INCLUDED_


#include "rcache_core.h"


#define RCACHE_VARY_NAMES    16        /* more names, or more bytes in the */
#define RCACHE_VARY_SIZE     512       /* canonical list: not storable */

#define RCACHE_VARIANT_SIZE  4096      /* more canonical bytes: hashed */
#define RCACHE_VARIANT_HASH  32        /* hex digits of 128 bits */


typedef struct {
    size_t    len;
    unsigned  n;
    unsigned  star:1;                  /* "*" is among the names */
    unsigned  overflow:1;              /* more than may be stored */
    unsigned  malformed:1;             /* something that is not a name */
    u_char    text[RCACHE_VARY_SIZE];  /* lower case, sorted, each once,
                                          with commas between them */
} rcache_vary_t;


typedef struct {
    size_t    len;
    u_char    hash[RCACHE_VARIANT_HASH];
    u_char    text[RCACHE_VARIANT_SIZE];
} rcache_variant_t;


void rcache_vary_init(rcache_vary_t *vary);

/* adds one field line */

void rcache_vary_add(rcache_vary_t *vary, const rcache_str_t *value);

/*
 * True if it names something: with star, overflow or malformed the response
 * must not be stored; else text says which names.
 */

#define rcache_vary_set(vary)                                                 \
    ((vary)->n || (vary)->star || (vary)->overflow || (vary)->malformed)

/* the length of the token at p, 0 if there is none */

size_t rcache_vary_token(const u_char *p, const u_char *last);

/* the order of names, in any case of letters: below, equal to or above 0 */

int rcache_vary_compare(const u_char *a, size_t alen, const u_char *b,
    size_t blen);

/* true if a canonical list is one; for what comes from Redis */

int rcache_vary_valid(const rcache_str_t *names);

/*
 * The key of the variant that a request asks for.  names is a canonical
 * list; fields are the header lines of the request, in order, of which only
 * those that names has are looked at (rcache_str_listed() filters them, for
 * who wants to pass fewer).  Always succeeds but for want of memory in
 * OpenSSL: RCACHE_OK or RCACHE_ERROR.
 *
 * text, len bytes, is what is compared in full: for each name, in order, the
 * name, then, if the request has such a line, ":" and the value, then LF.
 * Values of several lines are joined by ","; blanks around commas, outside
 * of quoted strings, go; control bytes and "%" are percent-encoded.
 * Accept-Encoding and Accept-Language have forms of their own, see the code.
 * A text over RCACHE_VARIANT_SIZE bytes is replaced by "sha256:" and a
 * digest in hex.  hash is for the Redis key.
 */

int rcache_variant(rcache_variant_t *variant, const rcache_str_t *names,
    const rcache_field_t *fields, size_t nfields);


#endif /* _RCACHE_VARY_H_INCLUDED_ */
