
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is where to cut, 1 byte, the number of an allocation that fails,
 * 1 byte, and a text.
 *
 * In pieces it is what it is in one.  A canonical form is no longer than the
 * text, is JSON, and is its own canonical form.  No memory is lost, whichever
 * allocation fails.
 */


#include "fuzz.h"

#include "rcache_json.h"


static int  left;
static int  held;


static void *
mem_alloc(void *data, size_t size)
{
    (void) data;

    if (left == 0) {
        return NULL;
    }

    left--;
    held++;

    return malloc(size);
}


static void
mem_free(void *data, void *p)
{
    (void) data;

    held--;
    free(p);
}


static const rcache_json_memory_t  memory = { mem_alloc, mem_free, NULL };


static int
check(const rcache_str_t *text, size_t n)
{
    int             rc;
    u_char         *p;
    size_t          i, m;
    rcache_json_t  *json;

    json = rcache_json_create(&memory, 65536);

    if (json == NULL) {
        fuzz_assert(held == 0);
        return RCACHE_ERROR;
    }

    rc = RCACHE_OK;

    for (i = 0; i < text->len && rc == RCACHE_OK; i += m) {
        m = (text->len - i < n) ? text->len - i : n;

        p = fuzz_copy(text->data + i, m);
        rc = rcache_json_feed(json, p, m);
        free(p);
    }

    if (rc == RCACHE_OK) {
        rc = rcache_json_end(json);
    }

    rcache_json_destroy(json);
    fuzz_assert(held == 0);

    return rc;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int            rc, fail;
    u_char        *p, *once, *twice;
    size_t         n, len;
    rcache_str_t   text, form;

    n = (size_t) fuzz_int(&data, &size, 1) + 1;
    fail = (int) fuzz_int(&data, &size, 1);

    p = fuzz_copy(data, size);
    once = malloc(RCACHE_JSON_SIZE(size));
    twice = malloc(RCACHE_JSON_SIZE(size));

    fuzz_assert(once && twice);

    text.data = p;
    text.len = size;

    left = -1;
    held = 0;

    rc = check(&text, size ? size : 1);

    fuzz_assert(rc != RCACHE_ERROR);
    fuzz_assert(check(&text, n) == rc);

    len = 0;

    if (rcache_json_canonical(once, &len, &text, &memory) == RCACHE_OK) {
        fuzz_assert(rc == RCACHE_OK);
        fuzz_assert(len && len <= size);

        form.data = once;
        form.len = len;

        fuzz_assert(check(&form, n) == RCACHE_OK);

        fuzz_assert(rcache_json_canonical(twice, &len, &form, &memory)
                    == RCACHE_OK);
        fuzz_assert(len == form.len && memcmp(once, twice, len) == 0);
        fuzz_assert(rcache_json_graphql(&form, &memory)
                    == rcache_json_graphql(&text, &memory));
    }

    fuzz_assert(held == 0);

    (void) rcache_json_graphql(&text, &memory);
    fuzz_assert(held == 0);

    left = fail;
    (void) rcache_json_canonical(once, &len, &text, &memory);
    fuzz_assert(held == 0);

    left = fail;
    (void) rcache_json_graphql(&text, &memory);
    fuzz_assert(held == 0);

    left = fail;
    (void) check(&text, n);

    free(p);
    free(once);
    free(twice);

    return 0;
}
