
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is lines: some of Vary, an empty one, and header lines of a
 * request, "name: value".
 *
 * The list of names is canonical, and the same if its own text is read again.
 * The text of a variant fits, and is the same if the values are put into the
 * request again as the text has them; a further header that is not named
 * changes nothing.
 */


#include "fuzz.h"

#include "rcache_vary.h"


#define FIELDS  32


static u_char *
line(rcache_str_t *s, u_char *p, u_char *last)
{
    u_char  *nl;

    nl = (p < last) ? memchr(p, '\n', last - p) : NULL;

    s->data = p;
    s->len = (nl ? nl : last) - p;

    return nl ? nl + 1 : last;
}


/* the text taken apart into header lines; the escapes would be escaped */

static size_t
again(rcache_field_t *fields, rcache_variant_t *v)
{
    u_char        *p, *last, *colon;
    size_t         n;
    rcache_str_t   s;

    p = v->text;
    last = p + v->len;

    for (n = 0; p < last; /* void */ ) {
        p = line(&s, p, last);

        colon = memchr(s.data, ':', s.len);

        if (colon == NULL) {
            continue;
        }

        fuzz_assert(n < RCACHE_VARY_NAMES);

        fields[n].name.data = s.data;
        fields[n].name.len = colon - s.data;
        fields[n].value.data = colon + 1;
        fields[n].value.len = s.data + s.len - colon - 1;
        n++;
    }

    return n;
}


static void
check_variant(const rcache_str_t *names, rcache_field_t *fields, size_t n)
{
    rcache_field_t     other[FIELDS + 1];
    rcache_variant_t   v, w;

    fuzz_assert(rcache_variant(&v, names, fields, n) == RCACHE_OK);
    fuzz_assert(v.len <= RCACHE_VARIANT_SIZE);

    /* "_" is never named by what is fuzzed: see below */

    memcpy(other, fields, n * sizeof(rcache_field_t));
    other[n].name.data = (u_char *) "_____";
    other[n].name.len = 5;
    other[n].value = *names;

    if (!rcache_str_listed(names, &other[n].name)) {
        fuzz_assert(rcache_variant(&w, names, other, n + 1) == RCACHE_OK);
        fuzz_assert(v.len == w.len && memcmp(v.text, w.text, v.len) == 0);
        fuzz_assert(memcmp(v.hash, w.hash, sizeof(v.hash)) == 0);
    }

    if (v.len == 0 || v.text[v.len - 1] != '\n'
        || memchr(v.text, '%', v.len) != NULL)
    {
        return;
    }

    n = again(other, &v);

    fuzz_assert(rcache_variant(&w, names, other, n) == RCACHE_OK);
    fuzz_assert(v.len == w.len && memcmp(v.text, w.text, v.len) == 0);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char          *p, *pos, *last, *colon;
    size_t           n;
    rcache_str_t     s, names;
    rcache_vary_t    vary, twice;
    rcache_field_t   fields[FIELDS];

    p = fuzz_copy(data, size);

    pos = p;
    last = p + size;

    rcache_vary_init(&vary);

    while (pos < last) {
        pos = line(&s, pos, last);

        if (s.len == 0) {
            break;
        }

        rcache_vary_add(&vary, &s);
    }

    fuzz_assert(vary.len <= RCACHE_VARY_SIZE && vary.n <= RCACHE_VARY_NAMES);
    fuzz_assert((vary.len == 0) == (vary.n == 0));

    names.data = vary.text;
    names.len = vary.len;

    fuzz_assert(rcache_vary_valid(&names) == (vary.n > 0));

    rcache_vary_init(&twice);
    rcache_vary_add(&twice, &names);

    fuzz_assert(twice.len == vary.len && twice.n == vary.n);
    fuzz_assert(memcmp(twice.text, vary.text, vary.len) == 0);
    fuzz_assert(!twice.star && !twice.overflow && !twice.malformed);

    for (n = 0; n < FIELDS && pos < last; /* void */ ) {
        pos = line(&s, pos, last);

        colon = s.len ? memchr(s.data, ':', s.len) : NULL;

        if (colon == NULL) {
            continue;
        }

        fields[n].name.data = s.data;
        fields[n].name.len = colon - s.data;
        fields[n].value.data = colon + 1;
        fields[n].value.len = s.data + s.len - colon - 1;
        n++;
    }

    check_variant(&names, fields, n);

    /* what comes from Redis, valid or not */

    line(&s, p, last);
    (void) rcache_vary_valid(&s);

    free(p);

    return 0;
}
