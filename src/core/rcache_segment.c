
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_segment.h"
#include "rcache_bytes.h"
#include "rcache_coding.h"
#include "rcache_entry.h"


/* offsets in the header */

#define RCACHE_SEGMENT_AT_MAGIC     0
#define RCACHE_SEGMENT_AT_VERSION   3
#define RCACHE_SEGMENT_AT_HEADER    4
#define RCACHE_SEGMENT_AT_FLAGS     6
#define RCACHE_SEGMENT_AT_ID        8
#define RCACHE_SEGMENT_AT_N        16
#define RCACHE_SEGMENT_AT_LENGTH   20
#define RCACHE_SEGMENT_AT_SUM      24

#define RCACHE_SEGMENT_SIGNED       1
#define RCACHE_SEGMENT_CODED        2

/* of a signature, what there is room for */

#define RCACHE_SEGMENT_MAC          8

#define RCACHE_SEGMENTS_AT_SIZE     8
#define RCACHE_SEGMENTS_AT_COUNT   12


int
rcache_segments_count(rcache_segments_t *s, uint64_t body_len)
{
    uint64_t  n;

    n = body_len / s->size + (body_len % s->size ? 1 : 0);

    if (n == 0 || n > RCACHE_SEGMENTS_MAX) {
        return RCACHE_ERROR;
    }

    s->count = (uint32_t) n;

    return RCACHE_OK;
}


uint32_t
rcache_segment_len(const rcache_segments_t *s, uint64_t body_len, uint32_t n)
{
    uint64_t  rest;

    rest = body_len - (uint64_t) n * s->size;

    return (rest < s->size) ? (uint32_t) rest : s->size;
}


u_char *
rcache_segments_put(u_char *p, const rcache_segments_t *s)
{
    rcache_put64(p, s->id);
    rcache_put32(p + RCACHE_SEGMENTS_AT_SIZE, s->size);
    rcache_put32(p + RCACHE_SEGMENTS_AT_COUNT, s->count);

    return p + RCACHE_SEGMENTS_BLOCK;
}


void
rcache_segments_get(rcache_segments_t *s, const u_char *p)
{
    s->id = rcache_get64(p);
    s->size = rcache_get32(p + RCACHE_SEGMENTS_AT_SIZE);
    s->count = rcache_get32(p + RCACHE_SEGMENTS_AT_COUNT);
    s->coding = RCACHE_CODING_NONE;
}


int
rcache_segments_valid(const rcache_segments_t *s, uint64_t body_len)
{
    rcache_segments_t  t;

    t.size = s->size;

    return s->size >= RCACHE_SEGMENT_MIN
           && s->size <= RCACHE_SEGMENT_MAX
           && rcache_segments_count(&t, body_len) == RCACHE_OK
           && t.count == s->count;
}


void
rcache_segment_encode(u_char *dst, uint64_t id, uint32_t n, uint32_t size,
    uint32_t len, const rcache_secrets_t *secrets)
{
    u_char    mac[RCACHE_SIGN_MAC];
    unsigned  flags;

    flags = secrets ? RCACHE_SEGMENT_SIGNED : 0;

    if (len != size) {
        flags |= RCACHE_SEGMENT_CODED;
    }

    memcpy(dst + RCACHE_SEGMENT_AT_MAGIC, "RPS", 3);
    dst[RCACHE_SEGMENT_AT_VERSION] = RCACHE_SEGMENT_VERSION;

    rcache_put16(dst + RCACHE_SEGMENT_AT_HEADER, RCACHE_SEGMENT_FIXED);
    rcache_put16(dst + RCACHE_SEGMENT_AT_FLAGS, (uint16_t) flags);
    rcache_put64(dst + RCACHE_SEGMENT_AT_ID, id);
    rcache_put32(dst + RCACHE_SEGMENT_AT_N, n);
    rcache_put32(dst + RCACHE_SEGMENT_AT_LENGTH, size);

    if (secrets == NULL) {
        rcache_put64(dst + RCACHE_SEGMENT_AT_SUM,
                     rcache_sum(dst + RCACHE_SEGMENT_FIXED, len));
        return;
    }

    rcache_put64(dst + RCACHE_SEGMENT_AT_SUM, 0);

    if (rcache_sign(mac, &secrets->secret[0], dst, RCACHE_SEGMENT_FIXED + len)
        == RCACHE_OK)
    {
        memcpy(dst + RCACHE_SEGMENT_AT_SUM, mac, RCACHE_SEGMENT_MAC);
    }
}


int
rcache_segment_decode(rcache_str_t *payload, const rcache_segments_t *s,
    uint64_t body_len, uint32_t n, u_char *data, size_t len,
    const rcache_secrets_t *secrets)
{
    int       rc;
    u_char    mac[RCACHE_SEGMENT_MAC];
    size_t    header;
    unsigned  flags;
    uint32_t  size;

    if (n >= s->count
        || len < RCACHE_SEGMENT_FIXED
        || memcmp(data + RCACHE_SEGMENT_AT_MAGIC, "RPS", 3) != 0
        || data[RCACHE_SEGMENT_AT_VERSION] != RCACHE_SEGMENT_VERSION)
    {
        return RCACHE_ERROR;
    }

    header = rcache_get16(data + RCACHE_SEGMENT_AT_HEADER);
    size = rcache_segment_len(s, body_len, n);

    if (header < RCACHE_SEGMENT_FIXED
        || header > len
        || rcache_get32(data + RCACHE_SEGMENT_AT_LENGTH) != size
        || rcache_get32(data + RCACHE_SEGMENT_AT_N) != n
        || rcache_get64(data + RCACHE_SEGMENT_AT_ID) != s->id)
    {
        return RCACHE_ERROR;
    }

    payload->data = data + header;
    payload->len = len - header;

    flags = rcache_get16(data + RCACHE_SEGMENT_AT_FLAGS);

    if (flags & RCACHE_SEGMENT_CODED) {

        if (s->coding == RCACHE_CODING_NONE
            || payload->len == 0
            || payload->len >= size)
        {
            return RCACHE_ERROR;
        }

    } else if (payload->len != size) {
        return RCACHE_ERROR;
    }

    if (!(flags & RCACHE_SEGMENT_SIGNED)) {
        if (secrets) {
            return RCACHE_ERROR;
        }

        return (rcache_get64(data + RCACHE_SEGMENT_AT_SUM)
                == rcache_sum(payload->data, payload->len))
               ? RCACHE_OK : RCACHE_ERROR;
    }

    if (secrets == NULL) {

        /* nobody can tell whether it is whole */

        return RCACHE_ERROR;
    }

    memcpy(mac, data + RCACHE_SEGMENT_AT_SUM, sizeof(mac));
    memset(data + RCACHE_SEGMENT_AT_SUM, 0, sizeof(mac));

    rc = rcache_sign_verify(secrets, mac, sizeof(mac), data, len);

    memcpy(data + RCACHE_SEGMENT_AT_SUM, mac, sizeof(mac));

    return (rc == RCACHE_OK) ? RCACHE_OK : RCACHE_ERROR;
}


u_char *
rcache_segment_key(u_char *p, uint64_t id, uint32_t n)
{
    int      i;
    u_char   digits[10], *d;

    static const char  hex[] = "0123456789abcdef";

    memcpy(p, ":s:", 3);
    p += 3;

    for (i = 60; i >= 0; i -= 4) {
        *p++ = (u_char) hex[(id >> i) & 0xf];
    }

    *p++ = ':';

    d = digits + sizeof(digits);

    do {
        *--d = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    memcpy(p, d, digits + sizeof(digits) - d);

    return p + (digits + sizeof(digits) - d);
}
