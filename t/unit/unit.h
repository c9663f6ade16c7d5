
/*
 * What the unit tests of the pure room share.  Each t/unit/<name>.c tests
 * src/core/<name>.c, or a part of it; run them with "make -f t/unit/unit.mk
 * unit".
 */


#ifndef _RCACHE_UNIT_H_INCLUDED_
#define _RCACHE_UNIT_H_INCLUDED_


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rcache_core.h"


/* a compound literal, so that it can be an argument */

#define unit_str(s)  ((rcache_str_t) { sizeof(s) - 1, (u_char *) s })

#define unit_cstr(s)  ((rcache_str_t) { strlen(s), (u_char *) s })


/*
 * A copy in an allocation of exactly its size, so that AddressSanitizer sees
 * a read of one byte too many.
 */

static inline u_char *
unit_copy(const void *data, size_t len)
{
    u_char  *p;

    p = malloc(len ? len : 1);
    assert_non_null(p);

    memcpy(p, data, len);

    return p;
}


#define unit_assert_str(s, expected)                                          \
    do {                                                                      \
        assert_int_equal((s).len, strlen(expected));                          \
        assert_memory_equal((s).data, expected, (s).len);                     \
    } while (0)


#endif /* _RCACHE_UNIT_H_INCLUDED_ */
