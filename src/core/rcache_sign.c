
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>


int
rcache_sign(u_char mac[RCACHE_SIGN_MAC], const rcache_str_t *secret,
    const u_char *p, size_t len)
{
    return HMAC(EVP_sha256(), secret->data, (int) secret->len, p, len, mac,
                NULL)
           ? RCACHE_OK : RCACHE_ERROR;
}


int
rcache_sign_verify(const rcache_secrets_t *secrets, const u_char *mac,
    size_t len, const u_char *p, size_t size)
{
    u_char    own[RCACHE_SIGN_MAC];
    unsigned  i;

    for (i = 0; i < secrets->n; i++) {

        if (rcache_sign(own, &secrets->secret[i], p, size) == RCACHE_OK
            && CRYPTO_memcmp(own, mac, len) == 0)
        {
            return RCACHE_OK;
        }
    }

    return RCACHE_DECLINED;
}


int
rcache_digest(u_char digest[RCACHE_SIGN_DIGEST], const u_char *p, size_t len)
{
    return SHA256(p, len, digest) ? RCACHE_OK : RCACHE_ERROR;
}


int
rcache_digest_pieces(u_char digest[RCACHE_SIGN_DIGEST],
    size_t (*next)(void *data, const u_char **p), void *data)
{
    int            rc;
    size_t         len;
    EVP_MD_CTX    *ctx;
    const u_char  *p;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return RCACHE_ERROR;
    }

    rc = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);

    while (rc == 1) {
        len = next(data, &p);

        if (len == 0) {
            break;
        }

        rc = EVP_DigestUpdate(ctx, p, len);
    }

    if (rc == 1) {
        rc = EVP_DigestFinal_ex(ctx, digest, NULL);
    }

    EVP_MD_CTX_free(ctx);

    return (rc == 1) ? RCACHE_OK : RCACHE_ERROR;
}
