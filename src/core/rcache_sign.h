
/*
 * Signatures of what is stored: HMAC-SHA-256 with a secret that Redis does not
 * know.  The first of the secrets signs; what any of them has signed is good,
 * so that one can take the place of another.
 */


#ifndef _RCACHE_SIGN_H_INCLUDED_
#define _RCACHE_SIGN_H_INCLUDED_


#include "rcache_core.h"


#define RCACHE_SIGN_DIGEST   32
#define RCACHE_SIGN_MAC      32

/* the block of an entry: SHA-256 of the body, and the signature */

#define RCACHE_SIGN_BLOCK    (RCACHE_SIGN_DIGEST + RCACHE_SIGN_MAC)

#define RCACHE_SECRETS_MAX   2


typedef struct {
    rcache_str_t  secret[RCACHE_SECRETS_MAX];
    unsigned      n;              /* 0: nothing is signed, or asked to be */
} rcache_secrets_t;


/* RCACHE_OK, RCACHE_ERROR */

int rcache_sign(u_char mac[RCACHE_SIGN_MAC], const rcache_str_t *secret,
    const u_char *p, size_t len);

/*
 * RCACHE_OK: one of the secrets has made the first len bytes of mac of the
 * data.  RCACHE_DECLINED: none.
 */

int rcache_sign_verify(const rcache_secrets_t *secrets, const u_char *mac,
    size_t len, const u_char *p, size_t size);

/* SHA-256; RCACHE_OK, RCACHE_ERROR */

int rcache_digest(u_char digest[RCACHE_SIGN_DIGEST], const u_char *p,
    size_t len);

/* the same of pieces that next() gives until it returns 0 */

int rcache_digest_pieces(u_char digest[RCACHE_SIGN_DIGEST],
    size_t (*next)(void *data, const u_char **p), void *data);


#endif /* _RCACHE_SIGN_H_INCLUDED_ */
