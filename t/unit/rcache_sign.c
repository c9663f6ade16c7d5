
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_entry.h"


#define HEAD  "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"


static const rcache_secrets_t  ours = {
    { rcache_string("0123456789abcdef"), rcache_string("the one before it") },
    2
};

static const rcache_secrets_t  rotated = {
    { rcache_string("the newest of all"), rcache_string("0123456789abcdef") },
    2
};

static const rcache_secrets_t  theirs = {
    { rcache_string("another's secret"), { 0, NULL } },
    1
};


static u_char *
entry(size_t *len, uint32_t flags, const char *body)
{
    u_char          *p, *end;
    rcache_entry_t   e;

    memset(&e, 0, sizeof(e));

    e.flags = flags;
    e.status = 200;
    e.lifetime = 60000;
    e.secret = ours.secret[0];
    e.key = unit_str("http://a/");
    e.head = unit_str(HEAD);
    e.body_len = strlen(body);
    e.body_sum = rcache_sum((const u_char *) body, e.body_len);

    assert_int_equal(rcache_digest(e.digest, (const u_char *) body,
                                   e.body_len), RCACHE_OK);

    *len = rcache_entry_size(&e) + e.body_len;

    p = malloc(*len);
    assert_non_null(p);

    end = rcache_entry_encode(p, &e);
    memcpy(end, body, e.body_len);

    return p;
}


static int
verify(u_char *p, size_t len, const rcache_secrets_t *secrets)
{
    int              rc;
    u_char          *was;
    rcache_str_t     key;
    rcache_entry_t   e;

    key = unit_str("http://a/");

    if (rcache_entry_decode(&e, p, len, &key) != RCACHE_OK) {
        return RCACHE_ERROR;
    }

    was = unit_copy(p, len);

    rc = rcache_entry_verify(&e, secrets);

    assert_memory_equal(was, p, len);
    free(was);

    return rc;
}


/* the checksums made right again, as a forger would */

static void
mend(u_char *p, size_t len, size_t front)
{
    int       i;
    uint64_t  sum;

    sum = rcache_sum(p + front, len - front);

    for (i = 0; i < 8; i++) {
        p[16 + i] = (u_char) (sum >> (8 * i));
    }

    sum = rcache_sum(p + 16, front - 16);

    for (i = 0; i < 8; i++) {
        p[8 + i] = (u_char) (sum >> (8 * i));
    }
}


static void
signed_entries(void **state)
{
    u_char  *p;
    size_t   len;

    (void) state;

    p = entry(&len, RCACHE_ENTRY_SIGNED, "body");

    assert_int_equal(verify(p, len, &ours), RCACHE_OK);
    assert_int_equal(verify(p, len, &rotated), RCACHE_OK);
    assert_int_equal(verify(p, len, &theirs), RCACHE_DECLINED);

    free(p);

    p = entry(&len, 0, "body");

    assert_int_equal(verify(p, len, &ours), RCACHE_DECLINED);

    free(p);

    p = entry(&len, RCACHE_ENTRY_SIGNED, "");

    assert_int_equal(verify(p, len, &ours), RCACHE_OK);

    free(p);
}


/* whatever is changed, with checksums that are right, is not signed */

static void
forged(void **state)
{
    u_char  *p;
    size_t   i, len, front;

    (void) state;

    p = entry(&len, RCACHE_ENTRY_SIGNED, "body");
    front = len - 4;

    for (i = 0; i < len; i++) {

        if (i >= 8 && i < 24) {

            /* these are mended */

            continue;
        }

        p[i] ^= 1;
        mend(p, len, front);

        if (verify(p, len, &ours) == RCACHE_OK) {
            fail_msg("byte %zu", i);
        }

        p[i] ^= 1;
        mend(p, len, front);
    }

    assert_int_equal(verify(p, len, &ours), RCACHE_OK);

    free(p);
}


static void
segments(void **state)
{
    u_char              *p;
    size_t               i, len;
    rcache_str_t         payload;
    rcache_segments_t    s;

    (void) state;

    s.id = 42;
    s.size = 4096;
    s.count = 2;

    len = RCACHE_SEGMENT_FIXED + 904;
    p = malloc(len);
    assert_non_null(p);

    memset(p, 'x', len);

    rcache_segment_encode(p, s.id, 1, 904, 904, &ours);

    assert_int_equal(rcache_segment_decode(&payload, &s, 5000, 1, p, len,
                                           &ours), RCACHE_OK);
    assert_int_equal(rcache_segment_decode(&payload, &s, 5000, 1, p, len,
                                           &rotated), RCACHE_OK);
    assert_int_equal(rcache_segment_decode(&payload, &s, 5000, 1, p, len,
                                           &theirs), RCACHE_ERROR);
    assert_int_equal(rcache_segment_decode(&payload, &s, 5000, 1, p, len,
                                           NULL), RCACHE_ERROR);

    for (i = 0; i < len; i++) {
        p[i] ^= 1;
        assert_int_equal(rcache_segment_decode(&payload, &s, 5000, 1, p, len,
                                               &ours), RCACHE_ERROR);
        p[i] ^= 1;
    }

    rcache_segment_encode(p, s.id, 1, 904, 904, NULL);

    assert_int_equal(rcache_segment_decode(&payload, &s, 5000, 1, p, len,
                                           &ours), RCACHE_ERROR);

    free(p);
}


/* RFC 4231, 4.3 */

static void
known(void **state)
{
    u_char         mac[RCACHE_SIGN_MAC];
    rcache_str_t   secret;

    static const u_char  expected[8] = {
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e
    };

    (void) state;

    secret = unit_str("Jefe");

    assert_int_equal(rcache_sign(mac, &secret, (u_char *)
                                 "what do ya want for nothing?", 28),
                     RCACHE_OK);
    assert_memory_equal(mac, expected, sizeof(expected));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(signed_entries),
        cmocka_unit_test(forged),
        cmocka_unit_test(segments),
        cmocka_unit_test(known)
    };

    return cmocka_run_group_tests_name("rcache_sign", tests, NULL, NULL);
}
