
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_update.h"


#define NOW   1700000000
#define DATE  "Tue, 14 Nov 2023 22:13:20 GMT"

#define HEAD                                                                  \
    "HTTP/1.1 200 OK\r\n"                                                     \
    "Date: Tue, 14 Nov 2023 20:00:00 GMT\r\n"                                 \
    "ETag: \"a\"\r\n"                                                         \
    "A: 1\r\n"                                                                \
    "B: 1\r\n"                                                                \
    "a: 2\r\n"                                                                \
    "Content-Encoding: gzip\r\n"                                              \
    "\r\n"


#define FIELDS_MAX  16


static rcache_field_t     fields[FIELDS_MAX];
static size_t             nfields;
static rcache_response_t  resp;


/* "Name: value\nName: value" */

static void
newer(const char *headers)
{
    char         *p, *line, *colon;
    static char   buf[1024];

    strcpy(buf, headers);

    rcache_response_init(&resp, 304, NOW);
    nfields = 0;

    for (p = buf; (line = strsep(&p, "\n")) != NULL; /* void */ ) {
        colon = strchr(line, ':');

        if (colon == NULL) {
            continue;
        }

        fields[nfields].name.data = (u_char *) line;
        fields[nfields].name.len = colon - line;
        fields[nfields].value = unit_cstr(colon + 2);

        rcache_response_header(&resp, &fields[nfields].name,
                               &fields[nfields].value);
        nfields++;
    }
}


static const char *
update(const char *head, const char *headers)
{
    u_char           *p;
    ssize_t           size;
    rcache_str_t      s;
    rcache_update_t   u;

    static char       buf[4096];

    newer(headers);

    u.resp = &resp;
    u.fields = fields;
    u.nfields = nfields;

    s = unit_cstr(head);

    size = rcache_update_size(&u, &s);

    if (size == RCACHE_ERROR) {
        return NULL;
    }

    p = malloc(size);
    assert_non_null(p);
    assert_ptr_equal(rcache_update_write(p, &u, &s), p + size);

    assert_true((size_t) size < sizeof(buf));
    memcpy(buf, p, size);
    buf[size] = '\0';

    free(p);

    return buf;
}


static void
rfc9111_3_2_replaced_and_kept(void **state)
{
    (void) state;

    assert_string_equal(update(HEAD, "Date: " DATE "\nA: 3\nC: 4\nA: 5"),
                        "HTTP/1.1 200 OK\r\n"
                        "ETag: \"a\"\r\n"
                        "B: 1\r\n"
                        "Content-Encoding: gzip\r\n"
                        "A: 3\r\n"
                        "C: 4\r\n"
                        "A: 5\r\n"
                        "\r\n");
}


/* the old Date goes, and the entry says the new one, see rcache_response.h */

static void
date_is_not_in_the_head(void **state)
{
    static const char  expected[] =
        "HTTP/1.1 200 OK\r\n"
        "ETag: \"a\"\r\n"
        "A: 1\r\n"
        "B: 1\r\n"
        "a: 2\r\n"
        "Content-Encoding: gzip\r\n"
        "\r\n";

    (void) state;

    assert_string_equal(update(HEAD, ""), expected);
    assert_string_equal(update(HEAD, "Date: x"), expected);
    assert_string_equal(update(HEAD, "Date: " DATE), expected);

    /* unless it is too far off for that, and there */

    assert_string_equal(update("HTTP/1.1 200 OK\r\nDate: x\r\n\r\n",
                               "Date: Fri, 31 Dec 9999 23:59:59 GMT"),
                        "HTTP/1.1 200 OK\r\n"
                        "Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n"
                        "\r\n");
    assert_string_equal(update("HTTP/1.1 200 OK\r\nDate: x\r\n\r\n",
                               "Date: Fri, 31 Dec 9999 23:59:59 GMT\n"
                               "Connection: date"),
                        "HTTP/1.1 200 OK\r\n\r\n");
}


static void
rfc9111_3_2_not_updated(void **state)
{
    size_t  i;

    static const char  *fixed[] = {
        "Content-Encoding", "content-length", "Content-MD5", "Content-Range",
        "ETag", "Digest", "Content-Digest", "Repr-Digest", "Connection",
        "Keep-Alive", "Proxy-Authenticate", "Transfer-Encoding", "Upgrade",
        "TE", "Trailer", "Set-Cookie", "Age", "X-Accel-Expires",
        "X-Accel-Redirect", "Hop", "Own"
    };

    static const char  *updated[] = {
        "Cache-Control", "Content-Foo", "Content-Location", "Content-Type",
        "Content-Security-Policy", "Clear-Site-Data", "Expires",
        "Last-Modified", "Vary", "X-Frame-Options", "Content-Language"
    };

    (void) state;

    newer("Connection: hop\nCache-Control: private=\"own\"");

    for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        assert_false(rcache_update_replaces(&resp, &unit_cstr(fixed[i])));
    }

    for (i = 0; i < sizeof(updated) / sizeof(updated[0]); i++) {
        assert_true(rcache_update_replaces(&resp, &unit_cstr(updated[i])));
    }

    assert_string_equal(update("HTTP/1.1 200 OK\r\nETag: a\r\nHop: 1\r\n"
                               "Own: 2\r\n\r\n",
                               "Date: " DATE "\nETag: b\nContent-Length: 0\n"
                               "Connection: hop\nHop: 3\n"
                               "Cache-Control: no-cache=\"own\""),
                        "HTTP/1.1 200 OK\r\n"
                        "ETag: a\r\n"
                        "Cache-Control: no-cache=\"own\"\r\n"
                        "\r\n");
}


/* what cannot be written replaces nothing */

static void
lines_that_are_not_valid(void **state)
{
    rcache_str_t     head;
    rcache_update_t  u;

    (void) state;

    newer("Date: " DATE "\nA: 3");
    fields[1].value = unit_str("3\r\nX: y");

    u.resp = &resp;
    u.fields = fields;
    u.nfields = nfields;
    head = unit_str("HTTP/1.1 200\r\nA: 1\r\n\r\n");

    assert_int_equal(rcache_update_size(&u, &head), head.len);
}


static void
malformed_or_too_large(void **state)
{
    char   *big;
    size_t  len;

    (void) state;

    assert_null(update("", "A: 1"));
    assert_null(update("HTTP/1.1 200 OK\r\nA: 1\r\n", "A: 1"));
    assert_null(update("HTTP/1.1 200 OK\r\nA 1\r\n\r\n", "A: 1"));

    len = RCACHE_HEAD_MAX - 40;
    big = malloc(len + 1);
    assert_non_null(big);

    memcpy(big, "HTTP/1.1 200 OK\r\nX: ", 20);
    memset(big + 20, 'x', len - 24);
    memcpy(big + len - 4, "\r\n\r\n", 5);

    assert_null(update(big, "B: 3456789012345678901234567890123456789"));

    free(big);
}


static int
contradicts(const char *headers)
{
    rcache_str_t  head;

    newer(headers);
    head = unit_str("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nLast-Modified: x\r\n"
                    "Content-MD5: m\r\nA: 1\r\nA: 2\r\n\r\n");

    return rcache_update_contradicts(&head, 100, fields, nfields);
}


static void
rfc9111_4_3_5_head(void **state)
{
    rcache_str_t  bad;

    (void) state;

    assert_false(contradicts(""));
    assert_false(contradicts("Content-Length: 100\nETag: \"a\"\n"
                             "Last-Modified: x\nContent-MD5: m\nA: 3"));
    assert_false(contradicts("Content-Length: 0100"));

    assert_true(contradicts("Content-Length: 99"));
    assert_true(contradicts("content-length: "));
    assert_true(contradicts("Content-Length: 100x"));
    assert_true(contradicts("Content-Length: 18446744073709551716"));
    assert_true(contradicts("ETag: \"b\""));
    assert_true(contradicts("etag: W/\"a\""));
    assert_true(contradicts("Last-Modified: y"));
    assert_true(contradicts("Content-MD5: "));

    bad = unit_str("HTTP/1.1 200 OK\r\nA 1\r\n\r\n");
    newer("ETag: \"a\"");
    assert_true(rcache_update_contradicts(&bad, 0, fields, nfields));

    bad = unit_str("");
    assert_true(rcache_update_contradicts(&bad, 0, fields, 0));

    /* what is not stored is not known to differ */

    bad = unit_str("HTTP/1.1 200 OK\r\nA: 1\r\n\r\n");
    assert_false(rcache_update_contradicts(&bad, 0, fields, nfields));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc9111_3_2_replaced_and_kept),
        cmocka_unit_test(date_is_not_in_the_head),
        cmocka_unit_test(rfc9111_3_2_not_updated),
        cmocka_unit_test(lines_that_are_not_valid),
        cmocka_unit_test(malformed_or_too_large),
        cmocka_unit_test(rfc9111_4_3_5_head)
    };

    return cmocka_run_group_tests_name("rcache_update", tests, NULL, NULL);
}
