
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The input is a mode, 1 byte, the clock, 8 bytes, and a stored value.  With
 * bits of the mode set the harness does what a liar in Redis would do, or no
 * input would come past the checksums.
 *
 * Whatever is accepted lies inside the value, has numbers that can be
 * reckoned with, and encodes to the same bytes again.
 */


#include "fuzz.h"

#include "rcache_date.h"
#include "rcache_entry.h"


#define MODE_SUMS    0x01        /* checksums are right */
#define MODE_LENGTH  0x02        /* the length of the body is right */
#define MODE_MAGIC   0x04        /* magic, version, length of fixed part */
#define MODE_STATUS  0x08        /* the status is that of the head */
#define MODE_KEY     0x10        /* it is asked for with its own key */


/* blocks that are there if they have something to say */

#define FOUND  (uint32_t) (RCACHE_ENTRY_VARIES|RCACHE_ENTRY_AGED              \
                           |RCACHE_ENTRY_WINDOWS)


static uint64_t
get(const u_char *p, size_t bytes)
{
    uint64_t  n;

    n = 0;

    while (bytes--) {
        n = n << 8 | p[bytes];
    }

    return n;
}


static void
put(u_char *p, uint64_t n, size_t bytes)
{
    while (bytes--) {
        *p++ = (u_char) n;
        n >>= 8;
    }
}


/* where the block of names is, if it is there */

static size_t
varies(const u_char *p)
{
    uint64_t  flags;

    flags = get(p + 48, 4);

    return RCACHE_ENTRY_FIXED
           + (flags & RCACHE_ENTRY_SEGMENTED ? RCACHE_SEGMENTS_BLOCK : 0)
           + (flags & RCACHE_ENTRY_CODED ? RCACHE_CODING_BLOCK : 0);
}


/* the length of the fixed part, from the flags and the number of tags */

static size_t
blocks(const u_char *p, size_t size)
{
    size_t    len;
    uint64_t  flags;

    flags = get(p + 48, 4);
    len = varies(p);

    len += flags & RCACHE_ENTRY_VARIES ? RCACHE_VARIES_BLOCK : 0;
    len += flags & RCACHE_ENTRY_AGED ? RCACHE_AGED_BLOCK : 0;
    len += flags & RCACHE_ENTRY_WINDOWS ? 8 : 0;

    if ((flags & RCACHE_ENTRY_TAGS) && len + 2 <= size) {
        len += 2 + get(p + len, 2) * RCACHE_TAG_SIZE;
    }

    len += flags & RCACHE_ENTRY_POSITION ? 8 : 0;
    len += flags & RCACHE_ENTRY_SIGNED ? RCACHE_SIGN_BLOCK : 0;

    return len;
}


static void
lie(u_char *p, size_t size, unsigned mode, rcache_str_t *key)
{
    uint64_t  fixed, klen, hlen, vlen, before, body, at;

    if (size < RCACHE_ENTRY_FIXED) {
        return;
    }

    if (mode & MODE_MAGIC) {
        memcpy(p, "RPC\x02", 4);
        put(p + 4, blocks(p, size), 2);
    }

    fixed = get(p + 4, 2);
    klen = get(p + 56, 4);
    hlen = get(p + 60, 4);
    vlen = 0;

    if (get(p + 48, 4) & RCACHE_ENTRY_VARIES) {
        at = varies(p);

        if (at + RCACHE_VARIES_BLOCK > size) {
            return;
        }

        vlen = get(p + at + 4, 4) + get(p + at + 8, 4);
    }

    /* all of them are small, they cannot overflow 64 bits */

    before = fixed + klen + vlen;
    body = before + hlen;

    if (fixed < RCACHE_ENTRY_FIXED || body > size) {
        return;
    }

    if (mode & MODE_LENGTH) {
        put(p + 40, size - body, 8);
    }

    if ((mode & MODE_STATUS) && hlen >= 12) {
        put(p + 6, (p[before + 9] - '0') * 100 + (p[before + 10] - '0') * 10
                   + (p[before + 11] - '0'), 2);
    }

    if (mode & MODE_KEY) {
        key->data = p + fixed;
        key->len = klen;
    }

    if (mode & MODE_SUMS) {
        put(p + 16, rcache_sum(p + body, size - body), 8);
        put(p + 8, rcache_sum(p + 16, body - 16), 8);
    }
}


static void
check_inside(const rcache_str_t *s, const u_char *p, size_t len)
{
    fuzz_assert(s->data >= p && s->data <= p + len);
    fuzz_assert(s->len <= (size_t) (p + len - s->data));
}


static void
check_head(rcache_entry_t *e)
{
    int             rc, n;
    rcache_str_t    line, name, value;
    rcache_head_t   h;

    if (rcache_head_status(&h, &e->head, &line) != RCACHE_OK) {
        return;
    }

    check_inside(&line, e->head.data, e->head.len);

    n = (line.data[0] - '0') * 100 + (line.data[1] - '0') * 10
        + (line.data[2] - '0');
    fuzz_assert(n == e->status);

    while ((rc = rcache_head_next(&h, &name, &value)) == RCACHE_OK) {
        check_inside(&name, e->head.data, e->head.len);
        check_inside(&value, e->head.data, e->head.len);
        fuzz_assert(rcache_head_valid(&name, &value));
    }

    fuzz_assert(rc == RCACHE_DONE || rc == RCACHE_ERROR);
}


static void
check_again(rcache_entry_t *e, const u_char *p, size_t size)
{
    u_char          *copy, *last;
    size_t           len;
    rcache_entry_t   d;

    /* decode knows of none */

    e->secret.data = (u_char *) "any secret";
    e->secret.len = 10;

    len = rcache_entry_size(e);
    copy = malloc(len + e->body.len);
    fuzz_assert(copy);

    last = rcache_entry_encode(copy, e);
    fuzz_assert(last == copy + len);

    if (e->body.len) {
        memcpy(last, e->body.data, e->body.len);
    }

    len += e->body.len;

    fuzz_assert(rcache_entry_decode(&d, copy, len, &e->key) == RCACHE_OK);
    fuzz_assert(d.created == e->created && d.lifetime == e->lifetime
                && d.age == e->age && d.dated == e->dated
                && d.fetch == e->fetch && d.generation == e->generation
                && (d.flags & ~FOUND) == (e->flags & ~FOUND)
                && d.status == e->status
                && d.body_sum == e->body_sum && d.body_len == e->body_len);
    fuzz_assert(d.head.len == e->head.len && d.body.len == e->body.len);
    fuzz_assert(d.stale_if_error == e->stale_if_error
                && d.stale_while_revalidate == e->stale_while_revalidate);
    fuzz_assert(d.position == e->position && d.tags.len == e->tags.len
                && memcmp(d.tags.data, e->tags.data, d.tags.len) == 0);
    fuzz_assert(rcache_entry_is(&d, &e->vary, &e->variant)
                == !(e->flags & RCACHE_ENTRY_VARY));

    /*
     * unless there was a block that says nothing, what this version does not
     * know, or a signature
     */

    if (d.flags == e->flags && get(p + 4, 2) == blocks(p, size)
        && !(e->flags & (RCACHE_ENTRY_SIGNED|RCACHE_ENTRY_CODED)))
    {
        fuzz_assert(len == size && memcmp(copy, p, size) == 0);
    }

    free(copy);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int              rc;
    u_char          *p;
    u_char           date[RCACHE_DATE_LEN];
    int64_t          age, now;
    unsigned         mode;
    rcache_str_t     key;
    rcache_entry_t   e;

    mode = (unsigned) fuzz_int(&data, &size, 1);
    now = fuzz_int(&data, &size, 8);

    p = fuzz_copy(data, size);

    key.data = (u_char *) "key";
    key.len = 3;

    lie(p, size, mode, &key);

    if (rcache_entry_peek(&e, p, size) == RCACHE_OK) {
        check_inside(&e.key, p, size);
        check_inside(&e.tags, p, size);

        if (e.front_len <= size
            && rcache_entry_soften(p, e.front_len, now, NULL) == RCACHE_OK)
        {
            fuzz_assert(rcache_entry_soften(p, e.front_len, now, NULL)
                        == RCACHE_DONE);
        }
    }

    /* without sums it is bounded all the same */

    if (rcache_entry_known(&e, p, size, &key) == RCACHE_OK) {
        check_inside(&e.head, p, size);
        check_inside(&e.body, p, size);
        check_inside(&e.tags, p, size);
        check_inside(&e.variant, p, size);
    }

    rc = rcache_entry_decode(&e, p, size, &key);

    if (rc != RCACHE_OK) {
        fuzz_assert(rc == RCACHE_ENTRY_CORRUPT || rc == RCACHE_ENTRY_VERSIONED
                    || rc == RCACHE_ENTRY_OTHER);
        free(p);
        return 0;
    }

    check_inside(&e.tags, p, size);
    check_inside(&e.key, p, size);
    check_inside(&e.vary, p, size);
    check_inside(&e.variant, p, size);
    check_inside(&e.head, p, size);
    check_inside(&e.body, p, size);

    fuzz_assert(e.body.data + e.body.len == p + size);
    fuzz_assert(e.flags & RCACHE_ENTRY_SEGMENTED
                ? e.body.len == 0 : e.body_len == e.body.len);

    if (e.flags & RCACHE_ENTRY_CODED) {
        fuzz_assert(e.coding.coding == RCACHE_CODING_GZIP
                    || e.coding.coding == RCACHE_CODING_ZSTD);
        fuzz_assert(e.flags & RCACHE_ENTRY_SEGMENTED
                    ? e.coding.length == e.body_len
                      && e.segments.coding == e.coding.coding
                    : e.coding.length > 0
                      && e.coding.length <= RCACHE_CODING_MAX);
    }

    fuzz_assert(e.head.len <= RCACHE_HEAD_MAX);
    fuzz_assert(e.vary.len <= RCACHE_VARY_SIZE);
    fuzz_assert(e.variant.len <= RCACHE_VARIANT_SIZE);
    fuzz_assert(e.vary.len || !e.variant.len);
    fuzz_assert(e.created >= 0);

    if (e.flags & RCACHE_ENTRY_VARY) {
        fuzz_assert(e.status == 0 && e.head.len == 0 && e.body.len == 0);
        fuzz_assert(get(p + RCACHE_ENTRY_GENERATION, 4) == e.generation);

    } else {
        fuzz_assert(e.status >= 200 && e.status <= 599);
    }
    fuzz_assert(e.key.len == key.len
                && memcmp(e.key.data, key.data, key.len) == 0);

    (void) rcache_date_write(date, rcache_entry_date(&e));
    fuzz_assert(rcache_date_parse(date, RCACHE_DATE_LEN, now / 1000)
                != RCACHE_ERROR);

    age = rcache_entry_age(&e, now);
    fuzz_assert(age >= e.age);

    if (rcache_entry_fresh(&e, now) && now >= e.created) {
        fuzz_assert(age - e.age <= e.lifetime / 1000);
    }

    if (rcache_entry_within(&e, e.stale_if_error, now)) {
        fuzz_assert(!rcache_entry_fresh(&e, now));
        fuzz_assert(rcache_entry_staleness(&e, now) >= 0);
    }

    check_head(&e);
    check_again(&e, p, size);

    free(p);

    return 0;
}
