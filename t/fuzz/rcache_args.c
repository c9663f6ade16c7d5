
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is a pattern, a line, and a query.
 *
 * What is put together again is no longer than the query, sorted, and the
 * same when it is taken apart once more; all names are found by a pattern of
 * stars, and each by itself.  Two queries that differ in an argument that has
 * a broken escape never become the same.
 */


#include "fuzz.h"

#include "rcache_args.h"


static int
before(const rcache_str_t *a, const rcache_str_t *b)
{
    int     rc;
    size_t  n;

    n = (a->len < b->len) ? a->len : b->len;
    rc = n ? memcmp(a->data, b->data, n) : 0;

    return rc ? rc < 0 : a->len < b->len;
}


/* joins into a new allocation; fails where the query is too long */

static u_char *
normalise(const rcache_str_t *query, rcache_str_t *out, int sort)
{
    size_t         n, i, max;
    u_char        *dst, *text;
    rcache_arg_t  *args;
    rcache_str_t   star;

    max = rcache_args_count(query);
    args = malloc(2 * max * sizeof(rcache_arg_t));
    dst = malloc(query->len ? query->len : 1);
    text = malloc(query->len ? query->len : 1);

    fuzz_assert(args && dst && text);

    n = max;
    fuzz_assert(rcache_args_parse(args, &n, dst, query) == RCACHE_OK);
    fuzz_assert(n <= max);

    star.data = (u_char *) "*";
    star.len = 1;

    for (i = 0; i < n; i++) {
        fuzz_assert(args[i].text.len);
        fuzz_assert(args[i].name.data == args[i].text.data);
        fuzz_assert(args[i].name.len <= args[i].text.len);
        fuzz_assert(memchr(args[i].text.data, '&', args[i].text.len) == NULL);
        fuzz_assert(rcache_args_match(&star, &args[i].name));
        fuzz_assert(rcache_args_match(&args[i].name, &args[i].name));
    }

    if (sort) {
        rcache_args_sort(args, args + max, n);

        for (i = 1; i < n; i++) {
            fuzz_assert(!before(&args[i].name, &args[i - 1].name));

            /* stable: they are in the order of memory, as they came */

            if (!before(&args[i - 1].name, &args[i].name)) {
                fuzz_assert(args[i - 1].text.data < args[i].text.data);
            }
        }
    }

    out->data = text;
    out->len = rcache_args_join(text, args, n) - text;

    fuzz_assert(out->len <= query->len);

    free(args);
    free(dst);

    return text;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int            sort;
    u_char        *p, *nl, *a, *b;
    rcache_str_t   pattern, query, once, twice;

    p = fuzz_copy(data, size);

    nl = size ? memchr(p, '\n', size) : NULL;

    pattern.data = p;
    pattern.len = nl ? (size_t) (nl - p) : 0;

    query.data = nl ? nl + 1 : p;
    query.len = p + size - query.data;

    for (sort = 0; sort < 2; sort++) {
        a = normalise(&query, &once, sort);
        b = normalise(&once, &twice, sort);

        fuzz_assert(once.len == twice.len);
        fuzz_assert(once.len == 0 || memcmp(a, b, once.len) == 0);

        free(a);
        free(b);
    }

    (void) rcache_args_match(&pattern, &query);

    free(p);

    return 0;
}
