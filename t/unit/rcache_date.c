
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include <time.h>

#include "rcache_date.h"


#define NOW   1700000000                        /* 2023-11-14 22:13:20 */
#define THEN  784111777                         /* 1994-11-06 08:49:37 */


static int64_t
parse_at(const char *s, int64_t now)
{
    u_char   *p;
    size_t    len;
    int64_t   t;

    len = strlen(s);
    p = unit_copy(s, len);

    t = rcache_date_parse(p, len, now);

    free(p);

    return t;
}


static int64_t
parse(const char *s)
{
    return parse_at(s, NOW);
}


static void
rfc9110_5_6_7_three_forms(void **state)
{
    (void) state;

    assert_int_equal(parse("Sun, 06 Nov 1994 08:49:37 GMT"), THEN);
    assert_int_equal(parse("Sunday, 06-Nov-94 08:49:37 GMT"), THEN);
    assert_int_equal(parse("Sun Nov  6 08:49:37 1994"), THEN);
    assert_int_equal(parse("Wed Nov 16 08:49:37 1994"), THEN + 864000);
    assert_int_equal(parse("Sun Nov 06 08:49:37 1994"), THEN);
}


static void
rfc9111_4_2_in_any_case(void **state)
{
    (void) state;

    assert_int_equal(parse("sun, 06 nov 1994 08:49:37 gmt"), THEN);
    assert_int_equal(parse("SUN, 06 NOV 1994 08:49:37 GMT"), THEN);
    assert_int_equal(parse("SUNDAY, 06-NOV-94 08:49:37 gMT"), THEN);
    assert_int_equal(parse("sUN nOV  6 08:49:37 1994"), THEN);
}


/* a zone would be a way to shift the time of expiry by hours */

static void
rfc9111_4_2_no_zone_but_gmt(void **state)
{
    (void) state;

    assert_int_equal(parse("Sun, 06 Nov 1994 08:49:37 UTC"), RCACHE_ERROR);
    assert_int_equal(parse("Sun, 06 Nov 1994 08:49:37 PST"), RCACHE_ERROR);
    assert_int_equal(parse("Sun, 06 Nov 1994 08:49:37 +0200"), RCACHE_ERROR);
    assert_int_equal(parse("Sun, 06 Nov 1994 08:49:37"), RCACHE_ERROR);
    assert_int_equal(parse("Sun Nov  6 08:49:37 1994 GMT"), RCACHE_ERROR);
}


static void
rfc9110_5_6_7_not_a_date(void **state)
{
    size_t  i;

    static const char  *bad[] = {
        "", " ", "0", "-1", "never", "1700000000",
        "Sun",
        "Sun,",
        "Xun, 06 Nov 1994 08:49:37 GMT",
        "06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 006 Nov 1994 08:49:37 GMT",
        "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov  1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 01994 08:49:37 GMT",
        "Sun, 06 November 1994 08:49:37 GMT",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 08-49-37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT;",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 -8:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun Nov   6 08:49:37 1994",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  66 08:49:37 1994",
        "1994-11-06T08:49:37Z",
        NULL
    };

    (void) state;

    for (i = 0; bad[i]; i++) {
        if (parse(bad[i]) != RCACHE_ERROR) {
            fail_msg("\"%s\" was taken for a date", bad[i]);
        }
    }
}


/* each beginning of a date is no date, nor is a byte read behind it */

static void
cut_short_anywhere(void **state)
{
    size_t  i, n, len;
    u_char  *p;

    static const char  *forms[] = {
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994"
    };

    (void) state;

    for (i = 0; i < 3; i++) {
        len = strlen(forms[i]);

        for (n = 0; n < len; n++) {
            p = unit_copy(forms[i], n);
            assert_int_equal(rcache_date_parse(p, n, NOW), RCACHE_ERROR);
            free(p);
        }
    }

    assert_int_equal(rcache_date_parse(NULL, 0, NOW), RCACHE_ERROR);
}


static void
blanks_around_are_not_part_of_it(void **state)
{
    (void) state;

    assert_int_equal(parse(" \tSun, 06 Nov 1994 08:49:37 GMT \t"), THEN);
    assert_int_equal(parse("  Sun Nov  6 08:49:37 1994 "), THEN);
}


static void
days_that_do_not_exist(void **state)
{
    (void) state;

    assert_int_equal(parse("Sun, 00 Nov 1994 08:49:37 GMT"), RCACHE_ERROR);
    assert_int_equal(parse("Sun, 31 Nov 1994 08:49:37 GMT"), RCACHE_ERROR);
    assert_int_equal(parse("Sun, 32 Dec 1994 08:49:37 GMT"), RCACHE_ERROR);
    assert_int_equal(parse("Sun, 29 Feb 2023 08:49:37 GMT"), RCACHE_ERROR);
    assert_int_equal(parse("Sun, 29 Feb 2100 08:49:37 GMT"), RCACHE_ERROR);
    assert_int_equal(parse("Sun, 30 Feb 2024 08:49:37 GMT"), RCACHE_ERROR);

    assert_int_equal(parse("Thu, 29 Feb 2024 00:00:00 GMT"), 1709164800);
    assert_int_equal(parse("Tue, 29 Feb 2000 00:00:00 GMT"), 951782400);
}


/* the name of the day is a name, but need not be that day's */

static void
wrong_weekday_is_let_pass(void **state)
{
    (void) state;

    assert_int_equal(parse("Mon, 06 Nov 1994 08:49:37 GMT"), THEN);
}


static void
range_1970_to_9999(void **state)
{
    (void) state;

    assert_int_equal(parse("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
    assert_int_equal(parse("Wed, 31 Dec 1969 23:59:59 GMT"), RCACHE_ERROR);
    assert_int_equal(parse("Sat, 01 Jan 0000 00:00:00 GMT"), RCACHE_ERROR);
    assert_int_equal(parse("Tue, 19 Jan 2038 03:14:08 GMT"), 2147483648);
    assert_int_equal(parse("Sun, 07 Feb 2106 06:28:16 GMT"), 4294967296);
    assert_int_equal(parse("Fri, 31 Dec 9999 23:59:59 GMT"), 253402300799);
}


static void
rfc9111_4_2_leap_second_is_earlier(void **state)
{
    (void) state;

    assert_int_equal(parse("Sat, 31 Dec 2016 23:59:60 GMT"),
                     parse("Sat, 31 Dec 2016 23:59:59 GMT"));
}


static void
rfc9110_5_6_7_two_digit_year(void **state)
{
    int64_t  now;

    (void) state;

    now = parse("Tue, 14 Nov 2023 22:13:20 GMT");
    assert_int_equal(now, NOW);

    /* 50 years ahead to the second is the future, one more is the past */

    assert_int_equal(parse("Tuesday, 14-Nov-73 22:13:20 GMT"),
                     parse("Tue, 14 Nov 2073 22:13:20 GMT"));
    assert_int_equal(parse("Tuesday, 14-Nov-73 22:13:21 GMT"),
                     parse("Wed, 14 Nov 1973 22:13:21 GMT"));

    assert_int_equal(parse("Sunday, 06-Nov-94 08:49:37 GMT"), THEN);
    assert_int_equal(parse("Sunday, 06-Nov-23 08:49:37 GMT"),
                     parse("Mon, 06 Nov 2023 08:49:37 GMT"));
    assert_int_equal(parse("Saturday, 01-Jan-00 00:00:00 GMT"), 946684800);

    /* the century is that of the clock, not of this program */

    assert_int_equal(parse_at("Sunday, 06-Nov-94 08:49:37 GMT", 4000000000),
                     parse("Sat, 06 Nov 2094 08:49:37 GMT"));
    assert_int_equal(parse_at("Saturday, 06-Nov-10 08:49:37 GMT", 3900000000),
                     parse("Thu, 06 Nov 2110 08:49:37 GMT"));

    /* whether there is a February 29 depends on the century too */

    assert_int_equal(parse("Tuesday, 29-Feb-00 00:00:00 GMT"), 951782400);
    assert_int_equal(parse_at("Tuesday, 29-Feb-00 00:00:00 GMT", 4100000000),
                     RCACHE_ERROR);

    /* before 1970 */

    assert_int_equal(parse_at("Monday, 06-Nov-50 08:49:37 GMT", 0),
                     RCACHE_ERROR);
    assert_int_equal(parse_at("Friday, 06-Nov-70 08:49:37 GMT", 0), 26729377);
}


static void
any_clock_will_do(void **state)
{
    size_t   i;
    int64_t  t;

    static const int64_t  nows[] = {
        INT64_MIN, -1, 0, 1, 253402300799, 253402300800, INT64_MAX
    };

    (void) state;

    for (i = 0; i < sizeof(nows) / sizeof(nows[0]); i++) {
        t = parse_at("Tuesday, 14-Nov-99 22:13:20 GMT", nows[i]);
        assert_true(t >= RCACHE_ERROR && t <= 253402300799);

        assert_int_equal(parse_at("Sun, 06 Nov 1994 08:49:37 GMT", nows[i]),
                         THEN);
    }

    assert_int_equal(parse_at("Friday, 14-Nov-99 22:13:20 GMT", INT64_MAX),
                     parse("Sun, 14 Nov 9999 22:13:20 GMT"));
}


static void
every_day_as_the_c_library_has_it(void **state)
{
    char       buf[64];
    time_t     t;
    struct tm  tm;

    (void) state;

    for (t = 0; t < 7300000000; t += 86400 * 3 + 4567) {
        gmtime_r(&t, &tm);

        strftime(buf, sizeof(buf), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        assert_int_equal(parse(buf), t);

        strftime(buf, sizeof(buf), "%a %b %e %H:%M:%S %Y", &tm);
        assert_int_equal(parse(buf), t);

        strftime(buf, sizeof(buf), "%A, %d-%b-%y %H:%M:%S GMT", &tm);
        assert_int_equal(parse_at(buf, t), t);
    }

    for (t = 7300000000; t < 253402300799; t += 86400 * 97 + 4567) {
        gmtime_r(&t, &tm);

        strftime(buf, sizeof(buf), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        assert_int_equal(parse(buf), t);

        strftime(buf, sizeof(buf), "%A, %d-%b-%y %H:%M:%S GMT", &tm);
        assert_int_equal(parse_at(buf, t), t);
    }
}


/* the last and the first second of each year, which a guess may get wrong */

static void
two_digit_year_at_the_turn_of_each_year(void **state)
{
    int        year, k;
    char       buf[64];
    time_t     t;
    struct tm  tm;

    (void) state;

    for (year = 1971; year < 9999; year++) {
        memset(&tm, 0, sizeof(tm));
        tm.tm_year = year - 1900;
        tm.tm_mday = 1;

        for (k = -1; k <= 0; k++) {
            t = timegm(&tm) + k;
            gmtime_r(&t, &tm);
            strftime(buf, sizeof(buf), "%A, %d-%b-%y %H:%M:%S GMT", &tm);
            assert_int_equal(parse_at(buf, t), t);

            memset(&tm, 0, sizeof(tm));
            tm.tm_year = year - 1900;
            tm.tm_mday = 1;
        }
    }
}


/* what is written is read as the same second */

static void
rfc9110_5_6_7_written(void **state)
{
    size_t   i;
    u_char   buf[RCACHE_DATE_LEN];
    int64_t  t;

    static const struct {
        int64_t      time;
        const char  *text;
    } dates[] = {
        { 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
        { -1, "Thu, 01 Jan 1970 00:00:00 GMT" },
        { INT64_MIN, "Thu, 01 Jan 1970 00:00:00 GMT" },
        { 784111777, "Sun, 06 Nov 1994 08:49:37 GMT" },
        { 951782400, "Tue, 29 Feb 2000 00:00:00 GMT" },
        { 951868799, "Tue, 29 Feb 2000 23:59:59 GMT" },
        { 951868800, "Wed, 01 Mar 2000 00:00:00 GMT" },
        { 4107542400, "Mon, 01 Mar 2100 00:00:00 GMT" },
        { 4107542399, "Sun, 28 Feb 2100 23:59:59 GMT" },
        { 253402300799, "Fri, 31 Dec 9999 23:59:59 GMT" },
        { INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT" }
    };

    (void) state;

    for (i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        assert_ptr_equal(rcache_date_write(buf, dates[i].time),
                         buf + RCACHE_DATE_LEN);
        assert_memory_equal(buf, dates[i].text, RCACHE_DATE_LEN);
    }

    for (t = 0; t < 253402300799; t += 86400 * 37 + 12345) {
        (void) rcache_date_write(buf, t);
        assert_int_equal(rcache_date_parse(buf, RCACHE_DATE_LEN, t), t);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc9110_5_6_7_three_forms),
        cmocka_unit_test(rfc9111_4_2_in_any_case),
        cmocka_unit_test(rfc9111_4_2_no_zone_but_gmt),
        cmocka_unit_test(rfc9110_5_6_7_not_a_date),
        cmocka_unit_test(cut_short_anywhere),
        cmocka_unit_test(blanks_around_are_not_part_of_it),
        cmocka_unit_test(days_that_do_not_exist),
        cmocka_unit_test(wrong_weekday_is_let_pass),
        cmocka_unit_test(range_1970_to_9999),
        cmocka_unit_test(rfc9111_4_2_leap_second_is_earlier),
        cmocka_unit_test(rfc9110_5_6_7_two_digit_year),
        cmocka_unit_test(any_clock_will_do),
        cmocka_unit_test(every_day_as_the_c_library_has_it),
        cmocka_unit_test(two_digit_year_at_the_turn_of_each_year),
        cmocka_unit_test(rfc9110_5_6_7_written)
    };

    return cmocka_run_group_tests_name("rcache_date", tests, NULL, NULL);
}
