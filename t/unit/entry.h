
/*
 * What the tests of entries share: two entries, and what becomes of them in
 * Redis.
 */


#ifndef _RCACHE_UNIT_ENTRY_H_INCLUDED_
#define _RCACHE_UNIT_ENTRY_H_INCLUDED_


#include "unit.h"

#include "rcache_entry.h"


#define HEAD  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
#define KEY   "http://example.com/a"


static inline rcache_entry_t
entry(void)
{
    rcache_entry_t  e;

    memset(&e, 0, sizeof(e));

    e.created = 1700000000123;
    e.lifetime = 60000;
    e.fetch = 105;
    e.flags = RCACHE_ENTRY_SHARED;
    e.status = 200;
    e.key = unit_str(KEY);
    e.head = unit_str(HEAD);
    e.body = unit_str("hello, world");
    e.body_len = e.body.len;
    e.body_sum = rcache_sum(e.body.data, e.body.len);

    return e;
}


/* with all that may be there beside that, but segments */

static inline rcache_entry_t
full(void)
{
    rcache_entry_t  e;

    e = entry();

    e.flags |= RCACHE_ENTRY_CODED|RCACHE_ENTRY_TAGS|RCACHE_ENTRY_POSITION
               |RCACHE_ENTRY_SIGNED;
    e.coding.coding = RCACHE_CODING_GZIP;
    e.coding.length = 1000;
    e.generation = 0x01020304;
    e.vary = unit_str("accept,b");
    e.variant = unit_str("accept\nb:1\n");
    e.age = 7;
    e.dated = -3;
    e.stale_while_revalidate = 30;
    e.stale_if_error = 86400;
    e.tags = unit_str("12345678abcdefgh");
    e.position = 0x1122334455667788;
    e.secret = unit_str("a secret of more than 16 bytes");
    assert_int_equal(rcache_digest(e.digest, e.body.data, e.body.len),
                     RCACHE_OK);

    return e;
}


/* the stored value in an allocation of its exact size */

static inline u_char *
store(const rcache_entry_t *e, size_t *len)
{
    u_char  *p, *last;

    *len = rcache_entry_size(e) + e->body.len;
    p = malloc(*len);
    assert_non_null(p);

    last = rcache_entry_encode(p, e);
    assert_int_equal(last - p, rcache_entry_size(e));

    if (e->body.len) {
        memcpy(last, e->body.data, e->body.len);
    }

    return p;
}


static inline void
put(u_char *p, uint64_t n, int bytes)
{
    while (bytes--) {
        *p++ = (u_char) n;
        n >>= 8;
    }
}


/* what a liar would do: the sum of the metadata is made to match again */

static inline void
fix(u_char *p, size_t body_at)
{
    put(p + 8, rcache_sum(p + 16, body_at - 16), 8);
}


static inline int
decode(u_char *p, size_t len, const char *key)
{
    int             rc;
    u_char         *copy;
    rcache_str_t    k;
    rcache_entry_t  e;

    k = unit_cstr(key);
    copy = unit_copy(p, len);

    rc = rcache_entry_decode(&e, copy, len, &k);

    free(copy);

    return rc;
}


#endif /* _RCACHE_UNIT_ENTRY_H_INCLUDED_ */
