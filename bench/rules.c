
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What the rules cost: CPU time of one call, for what they look at in a
 * request or a response.  Run by bench/rules.
 */


#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PCRE2_CODE_UNIT_WIDTH  8
#include <pcre2.h>

#include "rcache_args.h"
#include "rcache_entry.h"
#include "rcache_json.h"
#include "rcache_parts.h"
#include "rcache_path.h"
#include "rcache_sign.h"


#define ROUNDS  7


static const char  query[] =
    "page=2&sort=price&utm_source=mail&utm_medium=x&color=%72ed&size=XL"
    "&q=blue%20shoes&fbclid=IwAR0aBcDeFgHiJkLmNoPqRsTuVwXyZ";

static u_char          *body;
static size_t           size;

static pcre2_code       *code;
static pcre2_match_data *data;

static rcache_secrets_t  secrets = {
    { rcache_string("0123456789abcdef0123456789abcdef"), { 0, NULL } }, 1
};


static void *
mem_alloc(void *unused, size_t n)
{
    (void) unused;

    return malloc(n);
}


static void
mem_free(void *unused, void *p)
{
    (void) unused;

    free(p);
}


static const rcache_json_memory_t  memory = { mem_alloc, mem_free, NULL };


static int
args(void)
{
    size_t         i, n, kept;
    u_char         buf[2 * sizeof(query)];
    rcache_str_t   q;
    rcache_arg_t   list[16], spare[16];

    static const rcache_str_t  drop[] = {
        rcache_string("utm_*"), rcache_string("fbclid"),
        rcache_string("gclid")
    };

    q.data = (u_char *) query;
    q.len = sizeof(query) - 1;

    n = 16;

    if (rcache_args_parse(list, &n, buf, &q) != RCACHE_OK) {
        return 0;
    }

    for (i = 0, kept = 0; i < n; i++) {

        if (!rcache_args_match(&drop[0], &list[i].name)
            && !rcache_args_match(&drop[1], &list[i].name)
            && !rcache_args_match(&drop[2], &list[i].name))
        {
            list[kept++] = list[i];
        }
    }

    rcache_args_sort(list, spare, kept);

    return rcache_args_join(buf + sizeof(query), list, kept) != buf;
}


static int
path(void)
{
    static const rcache_str_t  p =
        rcache_string("/api/v1/shops/berlin/products/blue-shoes-42");

    return rcache_path_plain(&p);
}


static int
user(void)
{
    u_char  dst[RCACHE_PART_USER];

    static const rcache_str_t  id = rcache_string("alice@example.com");

    return rcache_parts_user(dst, &id, &secrets.secret[0]) == RCACHE_OK;
}


static int
pattern(void)
{
    return pcre2_match(code, body, size, 0, 0, data, NULL)
           == PCRE2_ERROR_NOMATCH;
}


static int
json(void)
{
    int             rc;
    rcache_json_t  *j;

    j = rcache_json_create(&memory, 65536);

    rc = rcache_json_feed(j, body, size);

    if (rc == RCACHE_OK) {
        rc = rcache_json_end(j);
    }

    rcache_json_destroy(j);

    return rc == RCACHE_OK;
}


static int
canonical(void)
{
    int            rc;
    size_t         len;
    u_char        *dst;
    rcache_str_t   text;

    text.data = body;
    text.len = size;

    dst = malloc(RCACHE_JSON_SIZE(size));

    rc = rcache_json_canonical(dst, &len, &text, &memory);

    free(dst);

    return rc == RCACHE_OK;
}


/* of an entry: the digest of its body, and the signature of what is before */

static int
sign(void)
{
    u_char  digest[RCACHE_SIGN_DIGEST], mac[RCACHE_SIGN_MAC];

    return rcache_digest(digest, body, size) == RCACHE_OK
           && rcache_sign(mac, &secrets.secret[0], body, 400) == RCACHE_OK;
}


/* microseconds of a call, the best of some rounds */

static double
measure(int (*call)(void))
{
    int              i;
    long             n, k;
    double           t, best;
    struct timespec  a, b;

    best = 1e9;
    n = 16;

    for (i = 0; i < ROUNDS; i++) {

        for ( ;; ) {
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);

            for (k = 0; k < n; k++) {

                if (!call()) {
                    fprintf(stderr, "bench/rules: a call failed\n");
                    exit(1);
                }
            }

            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);

            t = (b.tv_sec - a.tv_sec) * 1e6 + (b.tv_nsec - a.tv_nsec) / 1e3;

            if (t > 20000) {
                break;
            }

            n *= 2;
        }

        if (t / n < best) {
            best = t / n;
        }
    }

    return best;
}


/* a list of small objects, as APIs have them */

static void
make(size_t want)
{
    int      n;
    u_char  *p;

    body = malloc(want + 256);

    if (body == NULL) {
        exit(1);
    }

    p = body;
    *p++ = '[';

    for (n = 0; (size_t) (p - body) < want - 100; n++) {
        p += sprintf((char *) p, "%s{\"id\":%d,\"name\":\"Blue shoes\","
                     "\"price\":49.9,\"tags\":[\"a\",\"b\"],\"stock\":true}",
                     n ? "," : "", n);
    }

    while ((size_t) (p - body) < want - 1) {
        *p++ = ' ';
    }

    *p++ = ']';

    size = p - body;
}


int
main(void)
{
    int         rc;
    size_t      i;
    PCRE2_SIZE  offset;

    static const size_t  sizes[] = { 1024, 16384 };

    code = pcre2_compile((PCRE2_SPTR) "\"errors\"|<title>maintenance",
                         PCRE2_ZERO_TERMINATED, PCRE2_CASELESS, &rc, &offset,
                         NULL);
    data = pcre2_match_data_create(1, NULL);

    if (code == NULL || data == NULL) {
        return 1;
    }

    (void) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);

    printf("| microseconds of CPU | |\n|---|---|\n");
    printf("| arguments: 8, 3 dropped, sorted | %.2f |\n", measure(args));
    printf("| path | %.2f |\n", measure(path));
    printf("| user, with a secret | %.2f |\n", measure(user));

    for (i = 0; i < 2; i++) {
        make(sizes[i]);

        printf("| body pattern, %zu KiB | %.2f |\n", sizes[i] / 1024,
               measure(pattern));
        printf("| JSON check, %zu KiB | %.2f |\n", sizes[i] / 1024,
               measure(json));
        printf("| JSON in canonical form, %zu KiB | %.2f |\n",
               sizes[i] / 1024, measure(canonical));
        printf("| signature, made or verified, %zu KiB | %.2f |\n",
               sizes[i] / 1024, measure(sign));

        free(body);
    }

    return 0;
}
