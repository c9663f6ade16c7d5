
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is field lines, one a line.
 *
 * What is read is in range; saying it twice, or in another order, changes
 * nothing; and no field, however broken, hides a "private" behind it.
 */


#include "fuzz.h"

#include "rcache_cc.h"


static void
check_number(int64_t n)
{
    fuzz_assert(n >= -1 && n <= RCACHE_DELTA_MAX);
}


static void
check_fields(const rcache_cc_fields_t *f, const u_char *p, size_t size)
{
    unsigned  i;

    fuzz_assert(f->n <= RCACHE_CC_FIELDS);

    for (i = 0; i < f->n; i++) {
        fuzz_assert(f->list[i].len > 0 && f->list[i].data >= p
                    && f->list[i].data + f->list[i].len <= p + size);
    }
}


/* all but the lists of names, whose order is that of the lines */

static void
check_same(const rcache_cc_t *a, const rcache_cc_t *b)
{
    fuzz_assert(a->max_age == b->max_age && a->s_maxage == b->s_maxage
                && a->stale_if_error == b->stale_if_error
                && a->stale_while_revalidate == b->stale_while_revalidate
                && a->max_stale == b->max_stale
                && a->min_fresh == b->min_fresh);
    fuzz_assert(a->no_store == b->no_store && a->no_cache == b->no_cache
                && a->private_ == b->private_ && a->public_ == b->public_
                && a->must_revalidate == b->must_revalidate
                && a->proxy_revalidate == b->proxy_revalidate
                && a->must_understand == b->must_understand
                && a->only_if_cached == b->only_if_cached);
    fuzz_assert(a->no_cache_fields.n == b->no_cache_fields.n
                && a->private_fields.n == b->private_fields.n);
}


static void
parse_forward(rcache_cc_t *cc, const u_char *p, size_t size)
{
    size_t         len;
    const u_char  *nl;

    for ( ;; ) {
        nl = size ? memchr(p, '\n', size) : NULL;
        len = nl ? (size_t) (nl - p) : size;

        rcache_cc_parse(cc, p, len);

        if (nl == NULL) {
            return;
        }

        p += len + 1;
        size -= len + 1;
    }
}


static void
parse_backward(rcache_cc_t *cc, const u_char *p, size_t size)
{
    size_t  end, start;

    for (end = size; /* void */; end = start - 1) {

        for (start = end; start && p[start - 1] != '\n'; start--) {
            /* void */
        }

        rcache_cc_parse(cc, p + start, end - start);

        if (start == 0) {
            return;
        }
    }
}


static void
targeted(const u_char *p, size_t size)
{
    unsigned       n;
    rcache_cc_t    cc, none;
    rcache_str_t   lines[4];
    const u_char  *nl;

    for (n = 0; n < 4; n++) {
        nl = size ? memchr(p, '\n', size) : NULL;

        lines[n].data = (u_char *) p;
        lines[n].len = nl ? (size_t) (nl - p) : size;

        if (nl == NULL) {
            n++;
            break;
        }

        size -= lines[n].len + 1;
        p = nl + 1;
    }

    rcache_cc_init(&cc);
    rcache_cc_init(&none);

    if (rcache_cc_targeted(&cc, lines, n) != RCACHE_OK) {
        fuzz_assert(memcmp(&cc, &none, sizeof(cc)) == 0);
        return;
    }

    check_number(cc.max_age);
    check_number(cc.s_maxage);
    check_number(cc.stale_while_revalidate);
    check_number(cc.stale_if_error);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char        *p, *longer;
    rcache_cc_t    cc, other;
    rcache_str_t   name;

    p = fuzz_copy(data, size);

    rcache_cc_init(&cc);
    parse_forward(&cc, p, size);

    check_number(cc.max_age);
    check_number(cc.s_maxage);
    check_number(cc.stale_while_revalidate);
    check_number(cc.stale_if_error);
    check_number(cc.max_stale);
    check_number(cc.min_fresh);
    check_fields(&cc.no_cache_fields, p, size);
    check_fields(&cc.private_fields, p, size);

    other = cc;
    parse_forward(&other, p, size);
    check_same(&cc, &other);

    rcache_cc_init(&other);
    parse_backward(&other, p, size);
    check_same(&cc, &other);

    name.data = (u_char *) "a";
    name.len = 1;

    (void) rcache_cc_withholds(&cc, &name);

    targeted(p, size);

    longer = malloc(size + sizeof(", private"));
    fuzz_assert(longer);

    if (size) {
        memcpy(longer, data, size);
    }

    memcpy(longer + size, ", private", sizeof(", private") - 1);

    rcache_cc_init(&other);
    rcache_cc_parse(&other, longer, size + sizeof(", private") - 1);
    fuzz_assert(other.private_);

    free(longer);
    free(p);

    return 0;
}
