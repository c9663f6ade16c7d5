
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is a document.  What only reads does so no more when a mutation is
 * put behind it, or in front, and still does with a comment or another query.
 */


#include "fuzz.h"

#include "rcache_graphql.h"


static int
with(const char *before, const uint8_t *data, size_t size, const char *behind)
{
    int            rc;
    u_char        *p;
    size_t         b, e;
    rcache_str_t   doc;

    b = strlen(before);
    e = strlen(behind);

    p = malloc(b + size + e ? b + size + e : 1);
    fuzz_assert(p);

    memcpy(p, before, b);

    if (size) {
        memcpy(p + b, data, size);
    }

    memcpy(p + b + size, behind, e);

    doc.data = p;
    doc.len = b + size + e;

    rc = rcache_graphql_query(&doc);

    free(p);

    return rc;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!with("", data, size, "")) {
        return 0;
    }

    fuzz_assert(!with("", data, size, "\nmutation { a }"));
    fuzz_assert(!with("mutation { a }\n", data, size, ""));
    fuzz_assert(!with("", data, size, "\n}"));
    fuzz_assert(with("# mutation {\n", data, size, "\n# }"));
    fuzz_assert(with("{ a }", data, size, "\nquery { b }"));

    return 0;
}
