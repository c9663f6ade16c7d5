
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_head.h"


#define MAX  16


typedef struct {
    int            rc;
    int            n;
    rcache_str_t   line;
    rcache_str_t   name[MAX];
    rcache_str_t   value[MAX];
    u_char        *copy;
} parsed_t;


static parsed_t
parse_mem(const void *s, size_t len)
{
    parsed_t       d;
    rcache_str_t   head;
    rcache_head_t  h;

    memset(&d, 0, sizeof(d));

    d.copy = unit_copy(s, len);

    head.data = d.copy;
    head.len = len;

    d.rc = rcache_head_status(&h, &head, &d.line);

    if (d.rc != RCACHE_OK) {
        return d;
    }

    for ( ;; ) {
        assert_true(d.n < MAX);

        d.rc = rcache_head_next(&h, &d.name[d.n], &d.value[d.n]);

        if (d.rc != RCACHE_OK) {
            break;
        }

        d.n++;
    }

    /* the end is the end, however often one asks */

    assert_int_equal(rcache_head_next(&h, &d.name[d.n], &d.value[d.n]), d.rc);

    return d;
}


#define parse(s)  parse_mem(s, sizeof(s) - 1)


static int
verdict_mem(const void *s, size_t len)
{
    parsed_t  d;

    d = parse_mem(s, len);

    free(d.copy);

    return d.rc;
}


#define verdict(s)  verdict_mem(s, sizeof(s) - 1)


static void
a_whole_head(void **state)
{
    parsed_t  d;

    (void) state;

    d = parse("HTTP/1.1 404 Not Found\r\n"
              "Content-Type: text/html; charset=utf-8\r\n"
              "link: a\r\n"
              "Link: b\r\n"
              "X-Empty:\r\n"
              "\r\n");

    assert_int_equal(d.rc, RCACHE_DONE);
    assert_int_equal(d.n, 4);

    unit_assert_str(d.line, "404 Not Found");
    unit_assert_str(d.name[0], "Content-Type");
    unit_assert_str(d.value[0], "text/html; charset=utf-8");
    unit_assert_str(d.name[1], "link");
    unit_assert_str(d.value[1], "a");
    unit_assert_str(d.name[2], "Link");
    unit_assert_str(d.value[2], "b");
    unit_assert_str(d.name[3], "X-Empty");
    unit_assert_str(d.value[3], "");

    free(d.copy);
}


static void
rfc9112_4_status_line(void **state)
{
    size_t    i;
    parsed_t  d;

    static const char  *bad[] = {
        "", "\r\n", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 200", "HTTP/1.1 200\r",
        "HTTP/1.1 200\n\r\n",
        "HTTP/1.1 200 OK\n\r\n",
        "HTTP/1.1 200 OK\r\r\n\r\n",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK\r",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 20x OK\r\n\r\n",
        "HTTP/1.1 -20 OK\r\n\r\n",
        "HTTP/1.1 200\tOK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        " HTTP/1.1 200 OK\r\n\r\n",
        "Content-Type: text/html\r\n\r\n",
        NULL
    };

    (void) state;

    for (i = 0; bad[i]; i++) {
        if (verdict_mem(bad[i], strlen(bad[i])) != RCACHE_ERROR) {
            fail_msg("\"%s\" was taken for a head", bad[i]);
        }
    }

    d = parse("HTTP/1.1 200\r\n\r\n");
    assert_int_equal(d.rc, RCACHE_DONE);
    unit_assert_str(d.line, "200");
    free(d.copy);

    d = parse("HTTP/1.1 200 \r\n\r\n");
    assert_int_equal(d.rc, RCACHE_DONE);
    unit_assert_str(d.line, "200 ");
    free(d.copy);

    d = parse("HTTP/1.1 599 \xc3\xa4 \t b\r\n\r\n");
    assert_int_equal(d.rc, RCACHE_DONE);
    unit_assert_str(d.line, "599 \xc3\xa4 \t b");
    free(d.copy);

    assert_int_equal(verdict("HTTP/1.1 200 O\0K\r\n\r\n"), RCACHE_ERROR);
}


static void
rfc9112_5_1_blanks_around_a_value(void **state)
{
    parsed_t  d;

    (void) state;

    d = parse("HTTP/1.1 200 OK\r\n"
              "a:b\r\n"
              "a: \t b \t c \t \r\n"
              "a: \t \r\n"
              "\r\n");

    assert_int_equal(d.rc, RCACHE_DONE);
    unit_assert_str(d.value[0], "b");
    unit_assert_str(d.value[1], "b \t c");
    unit_assert_str(d.value[2], "");

    free(d.copy);
}


static void
value_may_have_colons_and_any_text(void **state)
{
    parsed_t  d;

    (void) state;

    d = parse("HTTP/1.1 200 OK\r\n"
              "a: b: c\r\n"
              "a::\r\n"
              "a: \x01\x0b\x0f\x10\x1f\x7f\x80\xff\r\n"
              "\r\n");

    assert_int_equal(d.rc, RCACHE_DONE);
    assert_int_equal(d.n, 3);
    unit_assert_str(d.value[0], "b: c");
    unit_assert_str(d.value[1], ":");
    unit_assert_str(d.value[2], "\x01\x0b\x0f\x10\x1f\x7f\x80\xff");

    free(d.copy);
}


#define OK_LINE  "HTTP/1.1 200 OK\r\n"


static void
rfc9110_5_1_bad_names(void **state)
{
    (void) state;

    assert_int_equal(verdict(OK_LINE ": b\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "a b: c\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "a : c\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "a\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "a\r\n: b\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "a\0: b\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "\xc3\xa4: b\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "(a): b\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "\"a\": b\r\n\r\n"), RCACHE_ERROR);
}


/* folded lines are a way to smuggle; RFC 9112, 5.2 */

static void
rfc9112_5_2_no_folding(void **state)
{
    (void) state;

    assert_int_equal(verdict(OK_LINE "a: b\r\n c: d\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "a: b\r\n\tc\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE " a: b\r\n\r\n"), RCACHE_ERROR);
}


/* a byte of these at each place in values of each length around 8 and 16 */

static void
rfc9110_5_5_nul_cr_lf_in_a_value(void **state)
{
    char    buf[128];
    size_t  n, at, k, len, start;

    static const char  bytes[] = { '\0', '\r', '\n' };

    (void) state;

    for (n = 1; n < 40; n++) {
        len = snprintf(buf, sizeof(buf), OK_LINE "a:");
        start = len;
        memset(buf + len, '~', n);
        len += n;
        memcpy(buf + len, "\r\n\r\n", 4);
        len += 4;

        assert_int_equal(verdict_mem(buf, len), RCACHE_DONE);

        for (at = start; at < start + n; at++) {

            for (k = 0; k < 3; k++) {
                buf[at] = bytes[k];

                if (verdict_mem(buf, len) != RCACHE_ERROR) {
                    fail_msg("%d passed at %zu of %zu", bytes[k], at - start,
                             n);
                }
            }

            buf[at] = '\t';
            assert_int_equal(verdict_mem(buf, len), RCACHE_DONE);

            buf[at] = '\x01';
            assert_int_equal(verdict_mem(buf, len), RCACHE_DONE);

            buf[at] = '\xff';
            assert_int_equal(verdict_mem(buf, len), RCACHE_DONE);

            buf[at] = '~';
        }
    }
}


/* whatever is cut off: no end of the head, and no byte is read behind it */

static void
cut_short_anywhere(void **state)
{
    size_t  n;

    static const char  head[] = "HTTP/1.1 200 OK\r\n"
                                "Content-Type: text/html\r\n"
                                "ETag: \"a\"\r\n"
                                "\r\n";

    (void) state;

    for (n = 0; n < sizeof(head) - 1; n++) {
        assert_int_equal(verdict_mem(head, n), RCACHE_ERROR);
    }

    assert_int_equal(verdict_mem(head, n), RCACHE_DONE);
}


static void
nothing_behind_the_empty_line(void **state)
{
    (void) state;

    assert_int_equal(verdict(OK_LINE "a: b\r\n\r\nx"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "a: b\r\n\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "a: b\r\n\r\nc: d\r\n\r\n"),
                     RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "\r\na: b\r\n\r\n"), RCACHE_ERROR);
    assert_int_equal(verdict(OK_LINE "a: b\r\n\n"), RCACHE_ERROR);
}


#define valid(n, v)  rcache_head_valid(&unit_str(n), &unit_str(v))


static void
what_may_be_written(void **state)
{
    rcache_str_t  nil;

    (void) state;

    assert_true(valid("Content-Type", "text/html"));
    assert_true(valid("!#$%&'*+-.^_`|~09azAZ", "\x01\t\x7f\xff"));
    assert_true(valid("a", ""));

    nil.len = 0;
    nil.data = NULL;

    assert_true(rcache_head_valid(&unit_str("a"), &nil));
    assert_false(rcache_head_valid(&nil, &nil));

    assert_false(valid("", "a"));
    assert_false(valid("a b", "c"));
    assert_false(valid("a:", "c"));
    assert_false(valid("a\n", "c"));
    assert_false(valid("a\0", "c"));
    assert_false(valid("\xc3\xa4", "c"));
    assert_false(valid("a", "b\nc"));
    assert_false(valid("a", "b\rc"));
    assert_false(valid("a", "b\0c"));
    assert_false(valid("a", "b\r\nSet-Cookie: c"));
    assert_false(valid("a", "\n"));

    /* eight bytes at a time, and what is behind them */

    assert_true(valid("a", "Tue, 14 Nov 2023\t22:13:20 GMT"));
    assert_true(valid("a", "12345678\x01" "2345678\x0f"));
    assert_false(valid("a", "1234567\n"));
    assert_false(valid("a", "12345678\n"));
    assert_false(valid("a", "12345678\t\t\r2345678"));
    assert_false(valid("a", "\t234567812345678\0" "2345678"));
}


/* the same comes out if nothing but what separates is looked for */

static void
known(void **state)
{
    int            rc;
    rcache_str_t   head, line, name[2], value[2];
    rcache_head_t  a, b;

    (void) state;

    head = unit_str("HTTP/1.1 200 OK\r\nDate: now\r\nX-Empty:\r\nX-B: \t a: b"
                    " \r\nX-Tab: a\tb\r\nE: \r\n\r\n");

    assert_int_equal(rcache_head_status(&a, &head, &line), RCACHE_OK);
    assert_int_equal(rcache_head_status(&b, &head, &line), RCACHE_OK);

    b.known = 1;

    do {
        rc = rcache_head_next(&a, &name[0], &value[0]);
        assert_int_equal(rcache_head_next(&b, &name[1], &value[1]), rc);

        if (rc == RCACHE_OK) {
            assert_ptr_equal(name[0].data, name[1].data);
            assert_int_equal(name[0].len, name[1].len);
            assert_ptr_equal(value[0].data, value[1].data);
            assert_int_equal(value[0].len, value[1].len);
        }

    } while (rc == RCACHE_OK);

    assert_int_equal(rc, RCACHE_DONE);

    /* what is not so at all does no harm */

    head = unit_str("HTTP/1.1 200\r\nno end of it, and no line\r\n");

    assert_int_equal(rcache_head_status(&b, &head, &line), RCACHE_OK);

    b.known = 1;

    assert_int_equal(rcache_head_next(&b, &name[1], &value[1]), RCACHE_ERROR);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_whole_head),
        cmocka_unit_test(rfc9112_4_status_line),
        cmocka_unit_test(rfc9112_5_1_blanks_around_a_value),
        cmocka_unit_test(value_may_have_colons_and_any_text),
        cmocka_unit_test(rfc9110_5_1_bad_names),
        cmocka_unit_test(rfc9112_5_2_no_folding),
        cmocka_unit_test(rfc9110_5_5_nul_cr_lf_in_a_value),
        cmocka_unit_test(cut_short_anywhere),
        cmocka_unit_test(nothing_behind_the_empty_line),
        cmocka_unit_test(what_may_be_written),
        cmocka_unit_test(known)
    };

    return cmocka_run_group_tests_name("rcache_head", tests, NULL, NULL);
}
