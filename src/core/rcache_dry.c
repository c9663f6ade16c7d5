
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_bytes.h"
#include "rcache_dry.h"


static uint64_t rcache_dry_key(uint64_t name, uint64_t value);


u_char *
rcache_dry_encode(u_char *dst, const rcache_dry_t *d)
{
    int64_t   ttl;
    uint64_t  size, length;

    size = d->size < RCACHE_DRY_SIZE_MAX ? d->size : RCACHE_DRY_SIZE_MAX;
    length = d->length < RCACHE_DRY_SIZE_MAX ? d->length
                                             : RCACHE_DRY_SIZE_MAX;
    ttl = d->ttl < 0 ? 0 : d->ttl;
    ttl = ttl < RCACHE_DRY_TTL_MAX ? ttl : RCACHE_DRY_TTL_MAX;

    rcache_put64(dst, size);
    rcache_put64(dst + 8, length);
    rcache_put64(dst + 16, (uint64_t) ttl);

    return dst + RCACHE_DRY_BODY;
}


int
rcache_dry_decode(rcache_dry_t *d, const rcache_str_t *body)
{
    uint64_t  ttl;

    memset(d, 0, sizeof(rcache_dry_t));

    if (body->len != RCACHE_DRY_BODY) {
        return RCACHE_ERROR;
    }

    ttl = rcache_get64(body->data + 16);

    if (rcache_get64(body->data) > RCACHE_DRY_SIZE_MAX
        || rcache_get64(body->data + 8) > RCACHE_DRY_SIZE_MAX
        || ttl > (uint64_t) RCACHE_DRY_TTL_MAX)
    {
        return RCACHE_ERROR;
    }

    d->size = rcache_get64(body->data);
    d->length = rcache_get64(body->data + 8);
    d->ttl = (int64_t) ttl;

    return RCACHE_OK;
}


uint64_t
rcache_dry_size(const rcache_entry_t *e, uint64_t body, size_t key,
    size_t segment, int marker)
{
    uint64_t  size, value, n;

    value = rcache_entry_size(e);
    size = 0;

    /* of a variant's segments the names have no ":v:" */

    if (segment && body > segment) {
        value += RCACHE_SEGMENTS_BLOCK;

        n = body / segment;

        size += n * rcache_dry_key(key + RCACHE_SEGMENT_KEY,
                                   RCACHE_SEGMENT_FIXED + segment);

        if (body % segment) {
            size += rcache_dry_key(key + RCACHE_SEGMENT_KEY,
                                   RCACHE_SEGMENT_FIXED + body % segment);
        }

    } else {
        value += body;
    }

    if (e->vary.len && marker) {
        size += rcache_dry_key(key, RCACHE_ENTRY_FIXED + RCACHE_VARIES_BLOCK
                                    + RCACHE_AGED_BLOCK + e->key.len
                                    + e->vary.len);
    }

    if (e->vary.len) {
        key += sizeof(":v:") - 1 + RCACHE_VARIANT_HASH;
    }

    size += rcache_dry_key(key, value);

    return size < RCACHE_DRY_SIZE_MAX ? size : RCACHE_DRY_SIZE_MAX;
}


static uint64_t
rcache_dry_key(uint64_t name, uint64_t value)
{
    return rcache_dry_string(name) + rcache_dry_string(value)
           + RCACHE_DRY_OVERHEAD;
}


/* four sizes to a power of two, and none that are less than 16 bytes apart */

uint64_t
rcache_dry_string(uint64_t len)
{
    uint64_t  step, power;

    if (len > RCACHE_DRY_SIZE_MAX) {
        return len;
    }

    /* its header, and a NUL at the end */

    len += (len < 256) ? 4 : (len < 65536) ? 6 : 10;

    for (power = 64; power * 2 < len; power *= 2) { /* void */ }

    step = power / 4;

    return (len + step - 1) / step * step;
}


uint64_t
rcache_dry_time(uint64_t size, int64_t ttl)
{
    if (ttl <= 0) {
        return 0;
    }

    if (size > RCACHE_DRY_SIZE_MAX) {
        size = RCACHE_DRY_SIZE_MAX;
    }

    if (ttl > RCACHE_DRY_TTL_MAX) {
        ttl = RCACHE_DRY_TTL_MAX;
    }

    /* 2^31 times less than 2^29, and what is below a second of it */

    return size * ((uint64_t) ttl / 1000)
           + size * ((uint64_t) ttl % 1000) / 1000;
}


uint64_t
rcache_dry_memory(const rcache_dry_sums_t *sums)
{
    uint64_t  all, time;

    /*
     * What an instance replaces may have been stored by another; and they are
     * read one after the other.
     */

    if (sums->replaced >= sums->stored
        || sums->replaced_time >= sums->stored_time)
    {
        return 0;
    }

    all = sums->stored - sums->replaced;
    time = sums->stored_time - sums->replaced_time;

    if (sums->seconds == 0) {
        return all;
    }

    time /= sums->seconds;

    return time < all ? time : all;
}
