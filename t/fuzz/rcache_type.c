
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is a Content-Type, a line, and a path.
 *
 * A type's name fits, is in lower case, and is its own name.  A page under a
 * path that ends like a style sheet contradicts it, whatever stands before.
 */


#include "fuzz.h"

#include "rcache_type.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char        *p, *nl, *longer, name[RCACHE_TYPE_MAX];
    u_char         again[RCACHE_TYPE_MAX];
    size_t         i, n;
    rcache_str_t   type, path, short_name, html;

    p = fuzz_copy(data, size);

    nl = size ? memchr(p, '\n', size) : NULL;

    type.data = p;
    type.len = nl ? (size_t) (nl - p) : 0;

    path.data = nl ? nl + 1 : p;
    path.len = p + size - path.data;

    n = rcache_type_name(name, &type);
    fuzz_assert(n <= RCACHE_TYPE_MAX);

    for (i = 0; i < n; i++) {
        fuzz_assert(name[i] == rcache_lower(name[i]));
        fuzz_assert(rcache_token[name[i]] || name[i] == '/');
    }

    short_name.data = name;
    short_name.len = n;

    fuzz_assert(rcache_type_name(again, &short_name) == n);
    fuzz_assert(n == 0 || memcmp(name, again, n) == 0);
    fuzz_assert(rcache_type_json(&type) == rcache_type_json(&short_name));

    (void) rcache_type_contradicts(&path, &short_name);

    longer = malloc(path.len + 6);
    fuzz_assert(longer);

    if (path.len) {
        memcpy(longer, path.data, path.len);
    }

    memcpy(longer + path.len, "/a.css", 6);

    path.data = longer;
    path.len += 6;

    html.data = (u_char *) "text/html";
    html.len = 9;

    fuzz_assert(rcache_type_contradicts(&path, &html));

    free(longer);
    free(p);

    return 0;
}
