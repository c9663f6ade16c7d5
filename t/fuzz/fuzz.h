
/*
 * What the fuzzers of the pure room share.  Each t/fuzz/<name>.c fuzzes
 * src/core/<name>.c; run them with "make -f t/fuzz/fuzz.mk fuzz".
 */


#ifndef _RCACHE_FUZZ_H_INCLUDED_
#define _RCACHE_FUZZ_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rcache_core.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


#define fuzz_assert(cond)                                                     \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);        \
            abort();                                                          \
        }                                                                     \
    } while (0)


/* takes an integer from the front of the input; 0 if there is too little */

static inline int64_t
fuzz_int(const uint8_t **data, size_t *size, size_t bytes)
{
    size_t    i;
    uint64_t  n;

    if (*size < bytes) {
        return 0;
    }

    n = 0;

    for (i = 0; i < bytes; i++) {
        n = n << 8 | *(*data)++;
    }

    *size -= bytes;

    return (int64_t) n;
}


/* a copy of exactly the size, so that a read too far is seen */

static inline u_char *
fuzz_copy(const void *data, size_t size)
{
    u_char  *p;

    p = malloc(size ? size : 1);
    fuzz_assert(p);

    if (size) {
        memcpy(p, data, size);
    }

    return p;
}


#endif /* _RCACHE_FUZZ_H_INCLUDED_ */
