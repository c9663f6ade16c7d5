
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_parts.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>


static size_t rcache_parts_encoded(const rcache_str_t *value);
static u_char *rcache_parts_encode(u_char *dst, const rcache_str_t *value);
static int rcache_parts_body_digest(EVP_MD_CTX *ctx, u_char *md,
    const rcache_str_t *type, const rcache_str_t *encoding, int json,
    const rcache_str_t *body);
static u_char *rcache_parts_hex(u_char *dst, const u_char *p, size_t len);


size_t
rcache_parts_spaces(const rcache_str_t *base)
{
    u_char  *p, *last;
    size_t   n;

    n = 0;
    p = base->data;
    last = p + base->len;

    while (p < last) {

        p = memchr(p, ' ', last - p);

        if (p == NULL) {
            break;
        }

        n++;
        p++;
    }

    return n;
}


u_char *
rcache_parts_base(u_char *dst, const rcache_str_t *base)
{
    size_t  i;

    for (i = 0; i < base->len; i++) {

        *dst++ = base->data[i];

        if (base->data[i] == ' ') {
            *dst++ = ' ';
        }
    }

    return dst;
}


u_char *
rcache_parts_header(u_char *dst, const rcache_str_t *name,
    const rcache_str_t *value)
{
    int     readable;
    u_char  md[SHA256_DIGEST_LENGTH];

    readable = rcache_parts_encoded(value) <= RCACHE_PART_READABLE;

    /* two names, so that no value can pass for the digest of another */

    if (readable) {
        memcpy(dst, " h:", sizeof(" h:") - 1);
        dst += sizeof(" h:") - 1;

    } else {
        memcpy(dst, " hash:", sizeof(" hash:") - 1);
        dst += sizeof(" hash:") - 1;
    }

    memcpy(dst, name->data, name->len);
    dst += name->len;

    *dst++ = '=';

    if (readable) {
        return rcache_parts_encode(dst, value);
    }

    if (SHA256(value->data, value->len, md) == NULL) {
        return NULL;
    }

    return rcache_parts_hex(dst, md, SHA256_DIGEST_LENGTH);
}


static size_t
rcache_parts_encoded(const rcache_str_t *value)
{
    size_t  i, n;

    n = value->len;

    for (i = 0; i < value->len; i++) {
        n += (value->data[i] == ' ' || value->data[i] == '%') ? 2 : 0;
    }

    return n;
}


static u_char *
rcache_parts_encode(u_char *dst, const rcache_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {

        switch (value->data[i]) {

        case ' ':
            memcpy(dst, "%20", 3);
            dst += 3;
            break;

        case '%':
            memcpy(dst, "%25", 3);
            dst += 3;
            break;

        default:
            *dst++ = value->data[i];
            break;
        }
    }

    return dst;
}


u_char *
rcache_parts_body(u_char *dst, const rcache_str_t *method,
    const rcache_str_t *type, const rcache_str_t *encoding, int json,
    const rcache_str_t *body)
{
    int          rc;
    u_char       md[SHA256_DIGEST_LENGTH];
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return NULL;
    }

    rc = rcache_parts_body_digest(ctx, md, type, encoding, json, body);

    EVP_MD_CTX_free(ctx);

    if (rc != RCACHE_OK) {
        return NULL;
    }

    memcpy(dst, " body:", sizeof(" body:") - 1);
    dst += sizeof(" body:") - 1;

    memcpy(dst, method->data, method->len);
    dst += method->len;

    *dst++ = '=';

    return rcache_parts_hex(dst, md, SHA256_DIGEST_LENGTH);
}


/* no header has a line feed, so it is clear where each of them ends */

static int
rcache_parts_body_digest(EVP_MD_CTX *ctx, u_char *md, const rcache_str_t *type,
    const rcache_str_t *encoding, int json, const rcache_str_t *body)
{
    if (EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1
        || EVP_DigestUpdate(ctx, type->data, type->len) != 1
        || EVP_DigestUpdate(ctx, "\n", 1) != 1
        || EVP_DigestUpdate(ctx, encoding->data, encoding->len) != 1
        || EVP_DigestUpdate(ctx, "\n", 1) != 1
        || EVP_DigestUpdate(ctx, json ? "json\n" : "raw\n", json ? 5 : 4) != 1
        || EVP_DigestUpdate(ctx, body->data, body->len) != 1
        || EVP_DigestFinal_ex(ctx, md, NULL) != 1)
    {
        return RCACHE_ERROR;
    }

    return RCACHE_OK;
}


int
rcache_parts_user(u_char dst[RCACHE_PART_USER], const rcache_str_t *identity,
    const rcache_str_t *secret)
{
    u_char    md[SHA256_DIGEST_LENGTH];
    unsigned  len;

    if (secret->len) {

        if (HMAC(EVP_sha256(), secret->data, (int) secret->len,
                 identity->data, identity->len, md, &len)
            == NULL)
        {
            return RCACHE_ERROR;
        }

    } else if (SHA256(identity->data, identity->len, md) == NULL) {
        return RCACHE_ERROR;
    }

    (void) rcache_parts_hex(dst, md, RCACHE_PART_USER / 2);

    return RCACHE_OK;
}


static u_char *
rcache_parts_hex(u_char *dst, const u_char *p, size_t len)
{
    size_t  i;

    static const u_char  hex[] = "0123456789abcdef";

    for (i = 0; i < len; i++) {
        *dst++ = hex[p[i] >> 4];
        *dst++ = hex[p[i] & 0xf];
    }

    return dst;
}
