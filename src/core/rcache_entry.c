
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_bytes.h"
#include "rcache_entry.h"


/* offsets in the fixed part */

#define RCACHE_ENTRY_AT_MAGIC      0
#define RCACHE_ENTRY_AT_VERSION    3
#define RCACHE_ENTRY_AT_LENGTH     4
#define RCACHE_ENTRY_AT_STATUS     6
#define RCACHE_ENTRY_AT_SUM        8
#define RCACHE_ENTRY_AT_BODY_SUM  16
#define RCACHE_ENTRY_AT_CREATED   24
#define RCACHE_ENTRY_AT_LIFETIME  32
#define RCACHE_ENTRY_AT_BODY_LEN  40
#define RCACHE_ENTRY_AT_FLAGS     48
#define RCACHE_ENTRY_AT_FETCH     52
#define RCACHE_ENTRY_AT_KEY_LEN   56
#define RCACHE_ENTRY_AT_HEAD_LEN  60

#define RCACHE_WINDOWS_BLOCK      8
#define RCACHE_POSITION_BLOCK     8

/* in front of the hashes: how many */

#define RCACHE_TAGS_BLOCK         2

/* the checksum of the metadata covers all from here to the body */

#define RCACHE_ENTRY_SUMMED       16


static uint32_t rcache_entry_flags(const rcache_entry_t *e);
static size_t rcache_entry_blocks(uint32_t flags);
static u_char *rcache_entry_put_blocks(u_char *p, const rcache_entry_t *e,
    uint32_t flags);
static int rcache_entry_take_apart(rcache_entry_t *e, u_char *data,
    size_t len, const rcache_str_t *key, int known);
static int rcache_entry_get_blocks(rcache_entry_t *e, u_char *p,
    u_char *last);
static int rcache_entry_whole(rcache_entry_t *e);
static int rcache_entry_verify_front(rcache_entry_t *e,
    const rcache_secrets_t *secrets);
static int rcache_entry_valid(const rcache_entry_t *e);
static unsigned rcache_entry_head_status(const rcache_str_t *head);
static u_char *rcache_put_str(u_char *p, const rcache_str_t *s);
static int rcache_get_str(rcache_str_t *s, u_char **p, size_t *rest);
static int rcache_str_equal(const rcache_str_t *a, const rcache_str_t *b);


size_t
rcache_entry_size(const rcache_entry_t *e)
{
    size_t    len;
    uint32_t  flags;

    flags = rcache_entry_flags(e);

    len = RCACHE_ENTRY_FIXED + rcache_entry_blocks(flags);

    if (flags & RCACHE_ENTRY_TAGS) {
        len += e->tags.len;
    }

    return len + e->key.len + e->vary.len + e->variant.len + e->head.len;
}


/* a block that has nothing to say is left out */

static uint32_t
rcache_entry_flags(const rcache_entry_t *e)
{
    uint32_t  flags;

    flags = e->flags & ~(uint32_t) (RCACHE_ENTRY_VARIES
                                    |RCACHE_ENTRY_AGED
                                    |RCACHE_ENTRY_WINDOWS);

    if (e->generation || e->vary.len || e->variant.len) {
        flags |= RCACHE_ENTRY_VARIES;
    }

    if (e->age || e->dated) {
        flags |= RCACHE_ENTRY_AGED;
    }

    if (e->stale_while_revalidate || e->stale_if_error) {
        flags |= RCACHE_ENTRY_WINDOWS;
    }

    return flags;
}


/* of the blocks that the flags say are there, the tags themselves left out */

static size_t
rcache_entry_blocks(uint32_t flags)
{
    size_t  len;

    len = 0;

    if (flags & RCACHE_ENTRY_SEGMENTED) {
        len += RCACHE_SEGMENTS_BLOCK;
    }

    if (flags & RCACHE_ENTRY_CODED) {
        len += RCACHE_CODING_BLOCK;
    }

    if (flags & RCACHE_ENTRY_VARIES) {
        len += RCACHE_VARIES_BLOCK;
    }

    if (flags & RCACHE_ENTRY_AGED) {
        len += RCACHE_AGED_BLOCK;
    }

    if (flags & RCACHE_ENTRY_WINDOWS) {
        len += RCACHE_WINDOWS_BLOCK;
    }

    if (flags & RCACHE_ENTRY_TAGS) {
        len += RCACHE_TAGS_BLOCK;
    }

    if (flags & RCACHE_ENTRY_POSITION) {
        len += RCACHE_POSITION_BLOCK;
    }

    if (flags & RCACHE_ENTRY_SIGNED) {
        len += RCACHE_SIGN_BLOCK;
    }

    return len;
}


u_char *
rcache_entry_encode(u_char *dst, const rcache_entry_t *e)
{
    u_char    *p, *mac;
    uint32_t   flags;

    flags = rcache_entry_flags(e);

    memcpy(dst + RCACHE_ENTRY_AT_MAGIC, "RPC", 3);
    dst[RCACHE_ENTRY_AT_VERSION] = RCACHE_ENTRY_VERSION;

    rcache_put16(dst + RCACHE_ENTRY_AT_STATUS, e->status);
    rcache_put64(dst + RCACHE_ENTRY_AT_BODY_SUM, e->body_sum);
    rcache_put64(dst + RCACHE_ENTRY_AT_CREATED, (uint64_t) e->created);
    rcache_put64(dst + RCACHE_ENTRY_AT_LIFETIME, (uint64_t) e->lifetime);
    rcache_put64(dst + RCACHE_ENTRY_AT_BODY_LEN, e->body_len);
    rcache_put32(dst + RCACHE_ENTRY_AT_FLAGS, flags);
    rcache_put32(dst + RCACHE_ENTRY_AT_FETCH, e->fetch);
    rcache_put32(dst + RCACHE_ENTRY_AT_KEY_LEN, (uint32_t) e->key.len);
    rcache_put32(dst + RCACHE_ENTRY_AT_HEAD_LEN, (uint32_t) e->head.len);

    p = rcache_entry_put_blocks(dst + RCACHE_ENTRY_FIXED, e, flags);

    rcache_put16(dst + RCACHE_ENTRY_AT_LENGTH, (uint16_t) (p - dst));

    /* the signature is the last of the blocks */

    mac = p - RCACHE_SIGN_MAC;

    p = rcache_put_str(p, &e->key);
    p = rcache_put_str(p, &e->vary);
    p = rcache_put_str(p, &e->variant);
    p = rcache_put_str(p, &e->head);

    if (flags & RCACHE_ENTRY_SIGNED) {

        /* without memory for it there is none, and nobody takes it */

        rcache_put64(dst + RCACHE_ENTRY_AT_SUM, 0);
        (void) rcache_sign(mac, &e->secret, dst, p - dst);
    }

    rcache_put64(dst + RCACHE_ENTRY_AT_SUM,
                 rcache_sum(dst + RCACHE_ENTRY_SUMMED,
                            p - dst - RCACHE_ENTRY_SUMMED));

    return p;
}


static u_char *
rcache_entry_put_blocks(u_char *p, const rcache_entry_t *e, uint32_t flags)
{
    if (flags & RCACHE_ENTRY_SEGMENTED) {
        p = rcache_segments_put(p, &e->segments);
    }

    if (flags & RCACHE_ENTRY_CODED) {
        p = rcache_coding_put(p, &e->coding);
    }

    if (flags & RCACHE_ENTRY_VARIES) {
        rcache_put32(p, e->generation);
        rcache_put32(p + 4, (uint32_t) e->vary.len);
        rcache_put32(p + 8, (uint32_t) e->variant.len);
        p += RCACHE_VARIES_BLOCK;
    }

    if (flags & RCACHE_ENTRY_AGED) {
        rcache_put32(p, e->age);
        rcache_put32(p + 4, (uint32_t) e->dated);
        p += RCACHE_AGED_BLOCK;
    }

    if (flags & RCACHE_ENTRY_WINDOWS) {
        rcache_put32(p, e->stale_while_revalidate);
        rcache_put32(p + 4, e->stale_if_error);
        p += RCACHE_WINDOWS_BLOCK;
    }

    if (flags & RCACHE_ENTRY_TAGS) {
        rcache_put16(p, (uint16_t) (e->tags.len / RCACHE_TAG_SIZE));
        p = rcache_put_str(p + RCACHE_TAGS_BLOCK, &e->tags);
    }

    if (flags & RCACHE_ENTRY_POSITION) {
        rcache_put64(p, e->position);
        p += RCACHE_POSITION_BLOCK;
    }

    if (flags & RCACHE_ENTRY_SIGNED) {
        memcpy(p, e->digest, RCACHE_SIGN_DIGEST);
        memset(p + RCACHE_SIGN_DIGEST, 0, RCACHE_SIGN_MAC);
        p += RCACHE_SIGN_BLOCK;
    }

    return p;
}


int
rcache_entry_decode(rcache_entry_t *e, u_char *data, size_t len,
    const rcache_str_t *key)
{
    return rcache_entry_take_apart(e, data, len, key, 0);
}


int
rcache_entry_known(rcache_entry_t *e, u_char *data, size_t len,
    const rcache_str_t *key)
{
    return rcache_entry_take_apart(e, data, len, key, 1);
}


static int
rcache_entry_take_apart(rcache_entry_t *e, u_char *data, size_t len,
    const rcache_str_t *key, int known)
{
    u_char  *p;
    size_t   fixed, rest;

    /* the version is told from damage first: it may change all behind it */

    if (len <= RCACHE_ENTRY_AT_VERSION
        || memcmp(data + RCACHE_ENTRY_AT_MAGIC, "RPC", 3) != 0)
    {
        return RCACHE_ENTRY_CORRUPT;
    }

    if (data[RCACHE_ENTRY_AT_VERSION] != RCACHE_ENTRY_VERSION) {
        return RCACHE_ENTRY_VERSIONED;
    }

    if (len < RCACHE_ENTRY_FIXED) {
        return RCACHE_ENTRY_CORRUPT;
    }

    fixed = rcache_get16(data + RCACHE_ENTRY_AT_LENGTH);
    e->flags = rcache_get32(data + RCACHE_ENTRY_AT_FLAGS);

    if (fixed < RCACHE_ENTRY_FIXED || fixed > len
        || rcache_entry_get_blocks(e, data + RCACHE_ENTRY_FIXED, data + fixed)
           != RCACHE_OK)
    {
        return RCACHE_ENTRY_CORRUPT;
    }

    rest = len - fixed;
    p = data + fixed;

    e->key.len = rcache_get32(data + RCACHE_ENTRY_AT_KEY_LEN);
    e->head.len = rcache_get32(data + RCACHE_ENTRY_AT_HEAD_LEN);

    if (rcache_get_str(&e->key, &p, &rest) != RCACHE_OK
        || rcache_get_str(&e->vary, &p, &rest) != RCACHE_OK
        || rcache_get_str(&e->variant, &p, &rest) != RCACHE_OK
        || rcache_get_str(&e->head, &p, &rest) != RCACHE_OK)
    {
        return RCACHE_ENTRY_CORRUPT;
    }

    e->body.data = p;
    e->body.len = rest;

    e->front = data;
    e->front_len = p - data;

    if (!known
        && rcache_get64(data + RCACHE_ENTRY_AT_SUM)
           != rcache_sum(data + RCACHE_ENTRY_SUMMED,
                         p - data - RCACHE_ENTRY_SUMMED))
    {
        return RCACHE_ENTRY_CORRUPT;
    }

    /* the metadata is whole; now what does not depend on the body */

    e->status = rcache_get16(data + RCACHE_ENTRY_AT_STATUS);
    e->created = (int64_t) rcache_get64(data + RCACHE_ENTRY_AT_CREATED);
    e->lifetime = (int64_t) rcache_get64(data + RCACHE_ENTRY_AT_LIFETIME);
    e->body_len = rcache_get64(data + RCACHE_ENTRY_AT_BODY_LEN);
    e->fetch = rcache_get32(data + RCACHE_ENTRY_AT_FETCH);

    e->plain = 0;
    e->passed = 0;
    e->known = (known != 0);

    if (rcache_entry_whole(e) != RCACHE_OK || !rcache_entry_valid(e)) {
        return RCACHE_ENTRY_CORRUPT;
    }

    if (!rcache_str_equal(&e->key, key)) {
        return RCACHE_ENTRY_OTHER;
    }

    e->body_sum = rcache_get64(data + RCACHE_ENTRY_AT_BODY_SUM);

    if (!known && e->body_sum != rcache_sum(e->body.data, e->body.len)) {
        return RCACHE_ENTRY_CORRUPT;
    }

    return RCACHE_OK;
}


static int
rcache_entry_get_blocks(rcache_entry_t *e, u_char *p, u_char *last)
{
    size_t  blocks, spare;

    blocks = rcache_entry_blocks(e->flags);

    if ((size_t) (last - p) < blocks) {
        return RCACHE_ERROR;
    }

    spare = (size_t) (last - p) - blocks;

    e->segments.count = 0;
    e->segments.coding = RCACHE_CODING_NONE;

    if (e->flags & RCACHE_ENTRY_SEGMENTED) {
        rcache_segments_get(&e->segments, p);
        p += RCACHE_SEGMENTS_BLOCK;
    }

    e->coding.coding = RCACHE_CODING_NONE;

    if (e->flags & RCACHE_ENTRY_CODED) {
        rcache_coding_get(&e->coding, p);
        p += RCACHE_CODING_BLOCK;
    }

    e->generation = 0;
    e->vary.len = 0;
    e->variant.len = 0;

    if (e->flags & RCACHE_ENTRY_VARIES) {
        e->generation = rcache_get32(p);
        e->vary.len = rcache_get32(p + 4);
        e->variant.len = rcache_get32(p + 8);
        p += RCACHE_VARIES_BLOCK;
    }

    e->age = 0;
    e->dated = 0;

    if (e->flags & RCACHE_ENTRY_AGED) {
        e->age = rcache_get32(p);
        e->dated = (int32_t) rcache_get32(p + 4);
        p += RCACHE_AGED_BLOCK;
    }

    e->stale_while_revalidate = 0;
    e->stale_if_error = 0;

    if (e->flags & RCACHE_ENTRY_WINDOWS) {
        e->stale_while_revalidate = rcache_get32(p);
        e->stale_if_error = rcache_get32(p + 4);
        p += RCACHE_WINDOWS_BLOCK;
    }

    e->tags.data = p;
    e->tags.len = 0;

    if (e->flags & RCACHE_ENTRY_TAGS) {
        e->tags.len = (size_t) rcache_get16(p) * RCACHE_TAG_SIZE;
        e->tags.data = p + RCACHE_TAGS_BLOCK;

        if (e->tags.len > RCACHE_TAGS_MAX * RCACHE_TAG_SIZE
            || e->tags.len > spare)
        {
            return RCACHE_ERROR;
        }

        p += RCACHE_TAGS_BLOCK + e->tags.len;
    }

    e->position = 0;

    if (e->flags & RCACHE_ENTRY_POSITION) {
        e->position = rcache_get64(p);
        p += RCACHE_POSITION_BLOCK;
    }

    if (e->flags & RCACHE_ENTRY_SIGNED) {
        memcpy(e->digest, p, RCACHE_SIGN_DIGEST);
        e->block = p;
    }

    return RCACHE_OK;
}


/* is the body what the blocks say of it? */

static int
rcache_entry_whole(rcache_entry_t *e)
{
    unsigned  coded;

    coded = ((e->flags & RCACHE_ENTRY_CODED) != 0);

    if (coded && !rcache_coding_valid(&e->coding)) {
        return RCACHE_ERROR;
    }

    if (!(e->flags & RCACHE_ENTRY_SEGMENTED)) {

        return (e->body_len == e->body.len
                && (!coded || (e->coding.length > 0
                               && e->coding.length <= RCACHE_CODING_MAX)))
               ? RCACHE_OK : RCACHE_ERROR;
    }

    if (e->body.len || !rcache_segments_valid(&e->segments, e->body_len)) {
        return RCACHE_ERROR;
    }

    if (coded) {

        if (e->coding.length != e->body_len) {
            return RCACHE_ERROR;
        }

        e->segments.coding = e->coding.coding;
    }

    return RCACHE_OK;
}


int
rcache_entry_verify(rcache_entry_t *e, const rcache_secrets_t *secrets)
{
    u_char  digest[RCACHE_SIGN_DIGEST];

    if (!(e->flags & RCACHE_ENTRY_SIGNED)
        || rcache_digest(digest, e->body.data, e->body.len) != RCACHE_OK
        || memcmp(digest, e->digest, RCACHE_SIGN_DIGEST) != 0)
    {
        return RCACHE_DECLINED;
    }

    return rcache_entry_verify_front(e, secrets);
}


/* the checksum was made after the signature, and is not part of it */

static int
rcache_entry_verify_front(rcache_entry_t *e, const rcache_secrets_t *secrets)
{
    int      rc;
    u_char  *mac, sum[8], was[RCACHE_SIGN_MAC];

    mac = e->block + RCACHE_SIGN_DIGEST;

    memcpy(sum, e->front + RCACHE_ENTRY_AT_SUM, sizeof(sum));
    memcpy(was, mac, sizeof(was));

    memset(e->front + RCACHE_ENTRY_AT_SUM, 0, sizeof(sum));
    memset(mac, 0, sizeof(was));

    rc = rcache_sign_verify(secrets, was, sizeof(was), e->front,
                            e->front_len);

    memcpy(e->front + RCACHE_ENTRY_AT_SUM, sum, sizeof(sum));
    memcpy(mac, was, sizeof(was));

    return rc;
}


/* what the members of an entry must be, and be to each other */

static int
rcache_entry_valid(const rcache_entry_t *e)
{
    if (e->created < 0
        || e->head.len > RCACHE_HEAD_MAX
        || e->variant.len > RCACHE_VARIANT_SIZE
        || (e->vary.len && !rcache_vary_valid(&e->vary))
        || (e->variant.len && !e->vary.len))
    {
        return 0;
    }

    if (e->flags & RCACHE_ENTRY_VARY) {
        return e->vary.len && !e->variant.len && !e->head.len
               && !e->body_len && !e->status
               && !(e->flags & RCACHE_ENTRY_STORED);
    }

    return (!e->vary.len || e->variant.len)
           && e->status >= 200 && e->status <= 599
           && e->status == rcache_entry_head_status(&e->head);
}


/* the three digits behind "HTTP/1.1 ", or 0 */

static unsigned
rcache_entry_head_status(const rcache_str_t *head)
{
    u_char  *p;

    if (head->len < sizeof("HTTP/1.1 200") - 1
        || memcmp(head->data, "HTTP/1.1 ", sizeof("HTTP/1.1 ") - 1) != 0)
    {
        return 0;
    }

    p = head->data + sizeof("HTTP/1.1 ") - 1;

    if (p[0] < '0' || p[0] > '9'
        || p[1] < '0' || p[1] > '9'
        || p[2] < '0' || p[2] > '9')
    {
        return 0;
    }

    return (p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0');
}


int
rcache_entry_peek(rcache_entry_t *e, u_char *data, size_t len)
{
    u_char  *p;
    size_t   fixed, rest;

    if (len < RCACHE_ENTRY_FIXED
        || memcmp(data + RCACHE_ENTRY_AT_MAGIC, "RPC", 3) != 0
        || data[RCACHE_ENTRY_AT_VERSION] != RCACHE_ENTRY_VERSION)
    {
        return RCACHE_DECLINED;
    }

    fixed = rcache_get16(data + RCACHE_ENTRY_AT_LENGTH);
    e->flags = rcache_get32(data + RCACHE_ENTRY_AT_FLAGS);

    if (fixed < RCACHE_ENTRY_FIXED || fixed > len
        || rcache_entry_get_blocks(e, data + RCACHE_ENTRY_FIXED, data + fixed)
           != RCACHE_OK)
    {
        return RCACHE_DECLINED;
    }

    rest = len - fixed;
    p = data + fixed;

    e->key.len = rcache_get32(data + RCACHE_ENTRY_AT_KEY_LEN);

    if (rcache_get_str(&e->key, &p, &rest) != RCACHE_OK) {
        return RCACHE_DECLINED;
    }

    e->front = data;
    e->front_len = fixed + e->key.len + e->vary.len + e->variant.len
                   + (size_t) rcache_get32(data + RCACHE_ENTRY_AT_HEAD_LEN);

    return RCACHE_OK;
}


int
rcache_entry_soften(u_char *front, size_t len, int64_t until,
    const rcache_secrets_t *secrets)
{
    u_char          *mac;
    int64_t          created, lifetime;
    rcache_entry_t   e;

    if (rcache_entry_peek(&e, front, len) != RCACHE_OK
        || e.front_len != len
        || rcache_get64(front + RCACHE_ENTRY_AT_SUM)
           != rcache_sum(front + RCACHE_ENTRY_SUMMED,
                         len - RCACHE_ENTRY_SUMMED))
    {
        return RCACHE_DECLINED;
    }

    if (e.flags & RCACHE_ENTRY_SIGNED) {

        if (secrets == NULL
            || secrets->n == 0
            || rcache_entry_verify_front(&e, secrets) != RCACHE_OK)
        {
            return RCACHE_DECLINED;
        }
    }

    created = (int64_t) rcache_get64(front + RCACHE_ENTRY_AT_CREATED);

    if (created < 0 || until < 0) {
        return RCACHE_DECLINED;
    }

    lifetime = until - created;

    if (lifetime >= (int64_t) rcache_get64(front + RCACHE_ENTRY_AT_LIFETIME)) {
        return RCACHE_DONE;
    }

    rcache_put64(front + RCACHE_ENTRY_AT_LIFETIME, (uint64_t) lifetime);

    if (e.flags & RCACHE_ENTRY_SIGNED) {
        mac = e.block + RCACHE_SIGN_DIGEST;

        memset(mac, 0, RCACHE_SIGN_MAC);
        rcache_put64(front + RCACHE_ENTRY_AT_SUM, 0);

        if (rcache_sign(mac, &secrets->secret[0], front, len) != RCACHE_OK) {
            return RCACHE_DECLINED;
        }
    }

    rcache_put64(front + RCACHE_ENTRY_AT_SUM,
                 rcache_sum(front + RCACHE_ENTRY_SUMMED,
                            len - RCACHE_ENTRY_SUMMED));

    return RCACHE_OK;
}


int
rcache_entry_segments(rcache_segments_t *s, const u_char *data, size_t len)
{
    uint32_t  flags;

    if (len < RCACHE_ENTRY_FIXED + RCACHE_SEGMENTS_BLOCK
        || memcmp(data + RCACHE_ENTRY_AT_MAGIC, "RPC", 3) != 0
        || data[RCACHE_ENTRY_AT_VERSION] != RCACHE_ENTRY_VERSION)
    {
        return RCACHE_DECLINED;
    }

    flags = rcache_get32(data + RCACHE_ENTRY_AT_FLAGS);

    if (!(flags & RCACHE_ENTRY_SEGMENTED)) {
        return RCACHE_DECLINED;
    }

    rcache_segments_get(s, data + RCACHE_ENTRY_FIXED);

    return rcache_segments_valid(s,
                                 rcache_get64(data + RCACHE_ENTRY_AT_BODY_LEN))
           ? RCACHE_OK : RCACHE_DECLINED;
}


int
rcache_entry_is(const rcache_entry_t *e, const rcache_str_t *names,
    const rcache_str_t *variant)
{
    return !(e->flags & RCACHE_ENTRY_VARY)
           && rcache_str_equal(&e->vary, names)
           && rcache_str_equal(&e->variant, variant);
}


static u_char *
rcache_put_str(u_char *p, const rcache_str_t *s)
{
    if (s->len) {
        memcpy(p, s->data, s->len);
    }

    return p + s->len;
}


/* a length is held against what is left, so that no sum overflows */

static int
rcache_get_str(rcache_str_t *s, u_char **p, size_t *rest)
{
    if (s->len > *rest) {
        return RCACHE_ERROR;
    }

    s->data = *p;
    *p += s->len;
    *rest -= s->len;

    return RCACHE_OK;
}


static int
rcache_str_equal(const rcache_str_t *a, const rcache_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}
