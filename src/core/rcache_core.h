
/*
 * The seam of the pure room.  src/core holds decisions and codecs: bytes in,
 * a struct or a verdict out.  It has no pool, no log, no clock and no I/O;
 * the time is an argument.  All that it takes from outside is in this file,
 * so the same sources build into nginx and, with RCACHE_STANDALONE, into the
 * unit tests and the fuzzers.  Every room may call it; it calls none.
 */


#ifndef _RCACHE_CORE_H_INCLUDED_
#define _RCACHE_CORE_H_INCLUDED_


#ifdef RCACHE_STANDALONE

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

/* the same layout as ngx_str_t, so that one may stand for the other */

typedef struct {
    size_t   len;
    u_char  *data;
} rcache_str_t;

#else

#include <ngx_config.h>
#include <ngx_core.h>

typedef ngx_str_t  rcache_str_t;

#endif


/* a header line */

typedef struct {
    rcache_str_t  name;
    rcache_str_t  value;
} rcache_field_t;


/* the values of NGX_OK, NGX_ERROR, NGX_DONE and NGX_DECLINED */

#define RCACHE_OK         0
#define RCACHE_ERROR     -1
#define RCACHE_DONE      -4
#define RCACHE_DECLINED  -5


/* a constant rcache_str_t */

#define rcache_string(s)  { sizeof(s) - 1, (u_char *) s }

#define rcache_lower(c)                                                       \
    (u_char) (((c) >= 'A' && (c) <= 'Z') ? ((c) | 0x20) : (c))


/* nonzero for a tchar, RFC 9110, 5.6.2 */

extern const u_char  rcache_token[256];


/* true if len bytes are equal, in any case of letters */

int rcache_equal(const u_char *a, const u_char *b, size_t len);

/*
 * True if the strings are equal, in any case of letters, and the same for a
 * literal.  Inline: mostly the lengths tell, or the first byte, for the same
 * letter in another case differs by 0x20.
 */

static inline int
rcache_str_same(const rcache_str_t *a, const rcache_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || ((*a->data ^ *b->data) & ~0x20) == 0)
           && rcache_equal(a->data, b->data, a->len);
}


static inline int
rcache_str_is(const rcache_str_t *s, const char *literal)
{
    rcache_str_t  other;

    other.data = (u_char *) literal;
    other.len = strlen(literal);

    return rcache_str_same(s, &other);
}

/*
 * The decimal digits at *p, which is moved behind them.  RCACHE_OK,
 * RCACHE_ERROR: there are none, or they are more than fit.
 */

int rcache_number(uint64_t *n, const u_char **p, const u_char *last);

/*
 * True if a list of tokens, RFC 9110, 5.6.1, names it, in any case.  Whatever
 * is no token separates.
 */

int rcache_str_listed(const rcache_str_t *list, const rcache_str_t *name);


/*
 * Sorts n items of the given size, in bytes; equal ones stay in their order.
 * spare has room for n.  By merging: never quadratic, whatever a client sends.
 * less is true if one has to come before two.
 */

typedef int (*rcache_less_pt)(const void *one, const void *two);

void rcache_sort(void *items, void *spare, size_t n, size_t size,
    rcache_less_pt less);


#endif /* _RCACHE_CORE_H_INCLUDED_ */
