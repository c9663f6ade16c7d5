
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_date.h"


#define RCACHE_DATE_YEAR_MAX  9999
#define RCACHE_DATE_MAX       ((int64_t) 253402300799)    /* its last second */


typedef struct {
    int  year;
    int  month;                       /* 1 to 12 */
    int  day;
    int  hour;
    int  min;
    int  sec;

    unsigned  short_year:1;           /* year is 0 to 99 */
} rcache_date_t;


static int rcache_date_fixdate(rcache_date_t *d, const u_char *p,
    const u_char *last);
static int rcache_date_match(rcache_date_t *d, const u_char *p,
    const u_char *last, const char *form);
static int rcache_date_weekday(const u_char **p, const u_char *last,
    int full);
static int rcache_date_month(const u_char *p, const u_char *last);
static int rcache_date_digits(const u_char *p, const u_char *last, int n);
static int rcache_date_century(const rcache_date_t *d, int64_t now);
static int rcache_date_year(int64_t now);
static int64_t rcache_date_time(const rcache_date_t *d);
static u_char *rcache_date_two(u_char *dst, unsigned n);


/*
 * RFC 9110, 5.6.7: the obsolete forms.  A lower case letter stands for a field:
 * w and l for the name of the weekday, short and long, d for a day of two
 * digits, e for one that may have a blank for the first, m for the name of the
 * month, y and c for a year of four and of two digits, h, i and s for the time.
 */

static const char  *rcache_date_forms[] = {
    "l, d-m-c h:i:s GMT",             /* RFC 850 */
    "w m e h:i:s y",                  /* asctime() */
    NULL
};


/* three letters, in any case, as a number */

#define rcache_date_three(a, b, c)                                            \
    ((unsigned) rcache_lower(a) << 16 | (unsigned) rcache_lower(b) << 8       \
     | rcache_lower(c))


static const struct {
    unsigned     three;
    const char  *name;
} rcache_date_weekdays[7] = {
    { rcache_date_three('s', 'u', 'n'), "Sunday" },
    { rcache_date_three('m', 'o', 'n'), "Monday" },
    { rcache_date_three('t', 'u', 'e'), "Tuesday" },
    { rcache_date_three('w', 'e', 'd'), "Wednesday" },
    { rcache_date_three('t', 'h', 'u'), "Thursday" },
    { rcache_date_three('f', 'r', 'i'), "Friday" },
    { rcache_date_three('s', 'a', 't'), "Saturday" }
};


static const unsigned  rcache_date_months[12] = {
    rcache_date_three('j', 'a', 'n'), rcache_date_three('f', 'e', 'b'),
    rcache_date_three('m', 'a', 'r'), rcache_date_three('a', 'p', 'r'),
    rcache_date_three('m', 'a', 'y'), rcache_date_three('j', 'u', 'n'),
    rcache_date_three('j', 'u', 'l'), rcache_date_three('a', 'u', 'g'),
    rcache_date_three('s', 'e', 'p'), rcache_date_three('o', 'c', 't'),
    rcache_date_three('n', 'o', 'v'), rcache_date_three('d', 'e', 'c')
};


int64_t
rcache_date_parse(const u_char *p, size_t len, int64_t now)
{
    int            i, leap;
    const u_char  *last;
    rcache_date_t  d;

    static const u_char  days[] = {
        31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };

    last = p + len;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (last > p && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    if (!rcache_date_fixdate(&d, p, last)) {

        for (i = 0; rcache_date_forms[i]; i++) {

            if (rcache_date_match(&d, p, last, rcache_date_forms[i])) {
                break;
            }
        }

        if (rcache_date_forms[i] == NULL) {
            return RCACHE_ERROR;
        }
    }

    if (d.hour > 23 || d.min > 59 || d.sec > 60) {
        return RCACHE_ERROR;
    }

    if (d.sec == 60) {

        /* RFC 9111, 4.2: a leap second, as the nearest earlier time */

        d.sec = 59;
    }

    if (d.short_year) {
        d.year = rcache_date_century(&d, now);
    }

    leap = (d.year % 4 == 0 && (d.year % 100 != 0 || d.year % 400 == 0));

    if (d.day < 1 || d.day > days[d.month - 1] + (d.month == 2 && leap)) {
        return RCACHE_ERROR;
    }

    if (d.year < 1970) {
        return RCACHE_ERROR;
    }

    return rcache_date_time(&d);
}


/*
 * IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT", in any case (RFC 9111, 4.2),
 * without the general way of the others: each response has some of them.
 */

static int
rcache_date_fixdate(rcache_date_t *d, const u_char *p, const u_char *last)
{
    const u_char  *day;

    if (last - p != sizeof("Sun, 06 Nov 1994 08:49:37 GMT") - 1
        || p[3] != ',' || p[4] != ' ' || p[7] != ' ' || p[11] != ' '
        || p[16] != ' ' || p[19] != ':' || p[22] != ':' || p[25] != ' '
        || rcache_date_three(p[26], p[27], p[28])
           != rcache_date_three('g', 'm', 't'))
    {
        return 0;
    }

    day = p;

    if (!rcache_date_weekday(&day, last, 0)) {
        return 0;
    }

    d->short_year = 0;

    d->day = rcache_date_digits(p + 5, last, 2);
    d->month = rcache_date_month(p + 8, last);
    d->year = rcache_date_digits(p + 12, last, 4);
    d->hour = rcache_date_digits(p + 17, last, 2);
    d->min = rcache_date_digits(p + 20, last, 2);
    d->sec = rcache_date_digits(p + 23, last, 2);

    return d->day != -1 && d->month && d->year != -1 && d->hour != -1
           && d->min != -1 && d->sec != -1;
}


/*
 * The name of the weekday is not held against the date: a date that is off
 * in the name only means what its numbers say.
 */

static int
rcache_date_match(rcache_date_t *d, const u_char *p, const u_char *last,
    const char *form)
{
    int     n;
    u_char  ch;

    memset(d, 0, sizeof(rcache_date_t));

    for ( /* void */ ; *form; form++) {

        switch (*form) {

        case 'w':
        case 'l':

            if (!rcache_date_weekday(&p, last, *form == 'l')) {
                return 0;
            }

            break;

        case 'm':

            d->month = rcache_date_month(p, last);

            if (d->month == 0) {
                return 0;
            }

            p += 3;
            break;

        case 'e':

            if (p < last && *p == ' ') {
                p++;
                d->day = rcache_date_digits(p, last, 1);

                if (d->day == -1) {
                    return 0;
                }

                p++;
                break;
            }

            /* fall through */

        case 'd':
        case 'c':
        case 'h':
        case 'i':
        case 's':

            n = rcache_date_digits(p, last, 2);

            if (n == -1) {
                return 0;
            }

            switch (*form) {

            case 'c':
                d->year = n;
                d->short_year = 1;
                break;

            case 'h':
                d->hour = n;
                break;

            case 'i':
                d->min = n;
                break;

            case 's':
                d->sec = n;
                break;

            default: /* d, e */
                d->day = n;
                break;
            }

            p += 2;
            break;

        case 'y':

            d->year = rcache_date_digits(p, last, 4);

            if (d->year == -1) {
                return 0;
            }

            p += 4;
            break;

        default:

            /* RFC 9111, 4.2: in any case; a zone other than GMT is invalid */

            ch = (u_char) *form;

            if (p == last || rcache_lower(*p) != rcache_lower(ch)) {
                return 0;
            }

            p++;
            break;
        }
    }

    return p == last;
}


static int
rcache_date_weekday(const u_char **p, const u_char *last, int full)
{
    int           i;
    unsigned      three;
    rcache_str_t  s;

    if (last - *p < 3) {
        return 0;
    }

    three = rcache_date_three((*p)[0], (*p)[1], (*p)[2]);

    for (i = 0; i < 7; i++) {

        if (rcache_date_weekdays[i].three != three) {
            continue;
        }

        s.len = full ? strlen(rcache_date_weekdays[i].name) : 3;
        s.data = (u_char *) *p;

        if ((size_t) (last - *p) < s.len
            || (full && !rcache_str_is(&s, rcache_date_weekdays[i].name)))
        {
            return 0;
        }

        *p += s.len;

        return 1;
    }

    return 0;
}


/* 1 to 12, 0 if it is none */

static int
rcache_date_month(const u_char *p, const u_char *last)
{
    int       i;
    unsigned  month;

    if (last - p < 3) {
        return 0;
    }

    month = rcache_date_three(p[0], p[1], p[2]);

    for (i = 0; i < 12; i++) {

        if (rcache_date_months[i] == month) {
            return i + 1;
        }
    }

    return 0;
}


/* exactly n digits, or -1 */

static int
rcache_date_digits(const u_char *p, const u_char *last, int n)
{
    int  value;

    if (last - p < n) {
        return -1;
    }

    for (value = 0; n; n--) {

        if (*p < '0' || *p > '9') {
            return -1;
        }

        value = value * 10 + (*p++ - '0');
    }

    return value;
}


/*
 * RFC 9110, 5.6.7: a two-digit year that would be more than 50 years ahead
 * is the most recent one in the past with these digits.
 */

static int
rcache_date_century(const rcache_date_t *d, int64_t now)
{
    int            year;
    rcache_date_t  past;

    if (now < 0) {
        now = 0;
    }

    if (now > RCACHE_DATE_MAX) {
        now = RCACHE_DATE_MAX;
    }

    year = rcache_date_year(now);
    year = year - year % 100 + 100 + d->year;

    for ( ;; ) {
        past = *d;
        past.year = year - 50;

        if (year <= RCACHE_DATE_YEAR_MAX && rcache_date_time(&past) <= now) {
            return year;
        }

        year -= 100;
    }
}


/*
 * The year of a time.  An average year makes a guess that is wrong by one at
 * most.
 */

static int
rcache_date_year(int64_t now)
{
    int            year;
    rcache_date_t  d;

    memset(&d, 0, sizeof(rcache_date_t));

    d.month = 1;
    d.day = 1;

    year = (int) (1970 + now / 31556952);

    d.year = year;

    if (rcache_date_time(&d) > now) {
        return year - 1;
    }

    d.year = year + 1;

    if (rcache_date_time(&d) <= now) {
        return year + 1;
    }

    return year;
}


/*
 * Seconds since 1970-01-01 for a date after year 0.  The year is taken to
 * begin in March, so that the leap day is its last one.
 */

static int64_t
rcache_date_time(const rcache_date_t *d)
{
    int      month;
    int64_t  year, days;

    year = d->year;
    month = d->month - 3;

    if (month < 0) {
        month += 12;
        year--;
    }

    /* 719468 days are between March 1 of year 0 and January 1, 1970 */

    days = year * 365 + year / 4 - year / 100 + year / 400
           + (month * 153 + 2) / 5 + d->day - 1 - 719468;

    return days * 86400 + d->hour * 3600 + d->min * 60 + d->sec;
}


/*
 * The civil date of a number of days, after Howard Hinnant: years begin in
 * March, so that the leap day is the last of one, and eras of 400 years are
 * all alike.
 */

u_char *
rcache_date_write(u_char *dst, int64_t time)
{
    unsigned  day, sec, era, doe, yoe, doy, mp, y, m, d;

    static const char  wdays[] = "ThuFriSatSunMonTueWed";
    static const char  months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    if (time < 0) {
        time = 0;
    }

    if (time > RCACHE_DATE_MAX) {
        time = RCACHE_DATE_MAX;
    }

    day = (unsigned) (time / 86400);
    sec = (unsigned) (time % 86400);

    /* 719468 days from 1 March 0000 to 1 January 1970 */

    era = (day + 719468) / 146097;
    doe = (day + 719468) % 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;

    d = doy - (153 * mp + 2) / 5 + 1;
    m = (mp < 10) ? mp + 3 : mp - 9;
    y = yoe + era * 400 + (m <= 2);

    memcpy(dst, &wdays[day % 7 * 3], 3);
    dst += 3;

    *dst++ = ',';
    *dst++ = ' ';
    dst = rcache_date_two(dst, d);
    *dst++ = ' ';

    memcpy(dst, &months[(m - 1) * 3], 3);
    dst += 3;

    *dst++ = ' ';
    dst = rcache_date_two(dst, y / 100);
    dst = rcache_date_two(dst, y % 100);
    *dst++ = ' ';
    dst = rcache_date_two(dst, sec / 3600);
    *dst++ = ':';
    dst = rcache_date_two(dst, sec / 60 % 60);
    *dst++ = ':';
    dst = rcache_date_two(dst, sec % 60);

    memcpy(dst, " GMT", sizeof(" GMT") - 1);

    return dst + sizeof(" GMT") - 1;
}


static u_char *
rcache_date_two(u_char *dst, unsigned n)
{
    *dst++ = (u_char) ('0' + n / 10);
    *dst++ = (u_char) ('0' + n % 10);

    return dst;
}
