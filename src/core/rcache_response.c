
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_response.h"
#include "rcache_date.h"


#define rcache_string(s)  { sizeof(s) - 1, (u_char *) s }

#define rcache_blank(c)  ((c) == ' ' || (c) == '\t')

/* far enough for any "@<time>", and far from overflow */

#define RCACHE_TIME_MAX  ((int64_t) 1 << 53)


static int64_t rcache_response_age(const rcache_str_t *value);
static int64_t rcache_response_accel(const rcache_str_t *value, int64_t now);
static const u_char *rcache_response_number(const u_char *p,
    const u_char *last, int64_t max, int64_t *n);
static int rcache_response_names(const rcache_str_t *value);
static rcache_reason_e rcache_response_forbidden(
    const rcache_response_t *resp);
static int rcache_response_understood(unsigned status);
static int64_t rcache_response_initial_age(const rcache_response_t *resp,
    int64_t delay);
static rcache_reason_e rcache_response_lifetime(const rcache_response_t *resp,
    int64_t valid, int64_t age, int64_t *lifetime);
static int rcache_response_listed(const rcache_str_t *list,
    const rcache_str_t *name);
static int rcache_response_same(const u_char *a, const u_char *b, size_t len);


/*
 * RFC 9110, 7.6.1: hop-by-hop.  RFC 9111, 3.1: what a proxy authenticates
 * with.  Set-Cookie is one client's.  Age and Content-Length are made anew
 * for each response that is served.
 */

static const rcache_str_t  rcache_response_dropped[] = {
    rcache_string("Age"),
    rcache_string("Connection"),
    rcache_string("Content-Length"),
    rcache_string("Keep-Alive"),
    rcache_string("Proxy-Authenticate"),
    rcache_string("Proxy-Authentication-Info"),
    rcache_string("Proxy-Authorization"),
    rcache_string("Proxy-Connection"),
    rcache_string("Set-Cookie"),
    rcache_string("Set-Cookie2"),
    rcache_string("TE"),
    rcache_string("Trailer"),
    rcache_string("Transfer-Encoding"),
    rcache_string("Upgrade"),
    { 0, NULL }
};


void
rcache_response_init(rcache_response_t *resp, unsigned status, int64_t now)
{
    memset(resp, 0, sizeof(rcache_response_t));

    rcache_cc_init(&resp->cc);

    resp->date = -1;
    resp->expires = -1;
    resp->accel_expires = -1;

    resp->now = now;
    resp->status = status;
}


/*
 * Where a header that may stand once stands twice, the line that makes for
 * the shorter lifetime holds.  Pragma is not here: RFC 9111, 5.4 defines it
 * for requests only.
 */

void
rcache_response_header(rcache_response_t *resp, const rcache_str_t *name,
    const rcache_str_t *value)
{
    int64_t  n;

    switch (name->len) {

    case sizeof("Age") - 1:

        if (rcache_str_is(name, "Age")) {
            n = rcache_response_age(value);

            if (n > resp->age) {
                resp->age = n;
            }
        }

        break;

    case sizeof("Date") - 1:

        if (rcache_str_is(name, "Date")) {
            n = rcache_date_parse(value->data, value->len, resp->now);

            if (n != RCACHE_ERROR && (resp->date == -1 || n < resp->date)) {
                resp->date = n;
            }

        } else if (rcache_str_is(name, "Vary")) {

            if (rcache_response_names(value)) {
                resp->vary = 1;
            }
        }

        break;

    case sizeof("Expires") - 1:

        if (rcache_str_is(name, "Expires")) {
            n = rcache_date_parse(value->data, value->len, resp->now);

            /* RFC 9111, 5.3: an invalid date, "0" among them, is past */

            if (n == RCACHE_ERROR) {
                n = 0;
            }

            if (resp->expires == -1 || n < resp->expires) {
                resp->expires = n;
            }
        }

        break;

    case sizeof("Set-Cookie") - 1:

        if (rcache_str_is(name, "Set-Cookie")) {
            resp->set_cookie = 1;

        } else if (rcache_str_is(name, "Connection")) {

            if (resp->nconnection == RCACHE_CONNECTION_MAX) {
                resp->malformed = 1;
                break;
            }

            resp->connection[resp->nconnection++] = *value;
        }

        break;

    case sizeof("Set-Cookie2") - 1:

        if (rcache_str_is(name, "Set-Cookie2")) {
            resp->set_cookie = 1;
        }

        break;

    case sizeof("Cache-Control") - 1:

        if (rcache_str_is(name, "Cache-Control")) {
            rcache_cc_parse(&resp->cc, value->data, value->len);
        }

        break;

    case sizeof("Content-Length") - 1:

        if (rcache_str_is(name, "Content-Length")) {
            resp->content_length = 1;
        }

        break;

    case sizeof("X-Accel-Expires") - 1:

        if (rcache_str_is(name, "X-Accel-Expires")) {
            n = rcache_response_accel(value, resp->now);

            if (n != -1
                && (resp->accel_expires == -1 || n < resp->accel_expires))
            {
                resp->accel_expires = n;
            }
        }

        break;

    default:
        break;
    }
}


/*
 * RFC 9111, 5.1: of a list the first member counts; what is not a number of
 * seconds is ignored.
 */

static int64_t
rcache_response_age(const rcache_str_t *value)
{
    int64_t        n;
    const u_char  *p, *last;

    p = value->data;
    last = p + value->len;

    while (p < last && rcache_blank(*p)) {
        p++;
    }

    p = rcache_response_number(p, last, RCACHE_DELTA_MAX, &n);

    if (n == -1) {
        return 0;
    }

    while (p < last && rcache_blank(*p)) {
        p++;
    }

    return (p == last || *p == ',') ? n : 0;
}


/*
 * X-Accel-Expires, as nginx 1.22 reads it: seconds from now on, 0 to forbid,
 * "@" and a time in seconds since the epoch; anything else is ignored.  A
 * time that has passed forbids too.
 */

static int64_t
rcache_response_accel(const rcache_str_t *value, int64_t now)
{
    int64_t        n;
    const u_char  *p, *last;

    p = value->data;
    last = p + value->len;

    if (p < last && *p == '@') {
        p = rcache_response_number(p + 1, last, RCACHE_TIME_MAX, &n);

        if (n == -1 || p != last) {
            return -1;
        }

        if (n <= now) {
            return 0;
        }

        n -= (now > 0) ? now : 0;

    } else {
        p = rcache_response_number(p, last, RCACHE_DELTA_MAX, &n);

        if (n == -1 || p != last) {
            return -1;
        }
    }

    return (n < RCACHE_DELTA_MAX) ? n : RCACHE_DELTA_MAX;
}


/* digits up to the first other byte; *n is -1 if there are none */

static const u_char *
rcache_response_number(const u_char *p, const u_char *last, int64_t max,
    int64_t *n)
{
    int64_t  value;

    if (p == last || *p < '0' || *p > '9') {
        *n = -1;
        return p;
    }

    value = 0;

    while (p < last && *p >= '0' && *p <= '9') {
        value = value * 10 + (*p++ - '0');

        if (value > max) {
            value = max;
        }
    }

    *n = value;

    return p;
}


/* RFC 9110, 5.6.1.2: a list of empty elements is an empty list */

static int
rcache_response_names(const rcache_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] != ',' && !rcache_blank(value->data[i])) {
            return 1;
        }
    }

    return 0;
}


rcache_reason_e
rcache_response_storable(const rcache_response_t *resp, int64_t valid,
    int64_t delay, rcache_freshness_t *fresh)
{
    int64_t          age, lifetime;
    rcache_reason_e  reason;

    reason = rcache_response_forbidden(resp);
    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    age = rcache_response_initial_age(resp, delay);

    reason = rcache_response_lifetime(resp, valid, age, &lifetime);
    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    fresh->lifetime = lifetime;
    fresh->age = age / 1000;

    return RCACHE_REASON_NONE;
}


static rcache_reason_e
rcache_response_forbidden(const rcache_response_t *resp)
{
    /*
     * RFC 9111, 3: final, and of a status that we understand.  206 and 304
     * are parts of a response to us, never one of their own.
     */

    if (resp->status < 200 || resp->status > 599
        || resp->status == 206 || resp->status == 304)
    {
        return RCACHE_REASON_STATUS;
    }

    if (resp->cc.must_understand
        && !rcache_response_understood(resp->status))
    {
        return RCACHE_REASON_STATUS;
    }

    if (resp->malformed) {
        return RCACHE_REASON_HEADERS;
    }

    if (resp->accel_expires == 0) {
        return RCACHE_REASON_ACCEL;
    }

    /*
     * In nginx 1.22 a lifetime in X-Accel-Expires makes Cache-Control be
     * ignored if it comes first, since 1.23 wherever it is.  Here it wins
     * over the freshness and no-cache that Cache-Control and Expires state,
     * wherever it is, but never over no-store and private: who sends these
     * has reasons that a lifetime for the proxy does not take away.
     */

    if (resp->cc.no_store
        || (resp->cc.no_cache && resp->accel_expires == -1))
    {
        return RCACHE_REASON_NO_STORE;
    }

    if (resp->cc.private_) {
        return RCACHE_REASON_PRIVATE;
    }

    if (resp->set_cookie) {
        return RCACHE_REASON_SET_COOKIE;
    }

    if (resp->vary) {
        return RCACHE_REASON_VARY;
    }

    /* RFC 9111, 3.5 */

    if (resp->authorization && !rcache_response_shared(resp)) {
        return RCACHE_REASON_AUTHORIZATION;
    }

    return RCACHE_REASON_NONE;
}


/*
 * RFC 9111, 5.2.2.3: the statuses whose rules for caches this one follows.
 * The others are those that it does not know; they are stored only if
 * nothing asks for more.
 */

static int
rcache_response_understood(unsigned status)
{
    switch (status) {

    case 200:
    case 203:
    case 204:
    case 300:
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
    case 400:
    case 401:
    case 403:
    case 404:
    case 405:
    case 406:
    case 410:
    case 414:
    case 421:
    case 451:
    case 500:
    case 501:
    case 502:
    case 503:
    case 504:
        return 1;

    default:
        return 0;
    }
}


/*
 * RFC 9111, 4.2.3: corrected_initial_age, here in milliseconds, so that a
 * response which took 100 ms does not lose a whole second.
 *
 * An origin whose clock is behind ours makes apparent_age, and with it the
 * age, too high, and what it sends is not fresh for as long or not at all;
 * one whose clock is ahead makes apparent_age 0.  Neither makes a response
 * last longer than its lifetime.
 */

static int64_t
rcache_response_initial_age(const rcache_response_t *resp, int64_t delay)
{
    int64_t  apparent, corrected;

    if (delay < 0) {
        delay = 0;
    }

    if (delay > RCACHE_DELTA_MAX * 1000) {
        delay = RCACHE_DELTA_MAX * 1000;
    }

    apparent = 0;

    if (resp->date != -1 && resp->now > resp->date) {
        apparent = resp->now - resp->date;

        if (apparent > RCACHE_DELTA_MAX) {
            apparent = RCACHE_DELTA_MAX;
        }
    }

    apparent *= 1000;
    corrected = resp->age * 1000 + delay;

    if (corrected > RCACHE_DELTA_MAX * 1000) {
        corrected = RCACHE_DELTA_MAX * 1000;
    }

    return (apparent > corrected) ? apparent : corrected;
}


/*
 * RFC 9111, 4.2.1.  All numbers are cut to RCACHE_DELTA_MAX before they
 * become milliseconds.  age and *lifetime are in milliseconds.
 */

static rcache_reason_e
rcache_response_lifetime(const rcache_response_t *resp, int64_t valid,
    int64_t age, int64_t *lifetime)
{
    int64_t  n, date;

    if (resp->accel_expires != -1) {
        n = resp->accel_expires;

        /* a word to this proxy: it counts from arrival, whatever the age */

        age = 0;

    } else if (resp->cc.s_maxage != -1) {
        n = resp->cc.s_maxage;

    } else if (resp->cc.max_age != -1) {
        n = resp->cc.max_age;

    } else if (resp->expires != -1) {

        /*
         * Both dates are from the clock of the origin, so that it does not
         * matter here if it is wrong.  RFC 9110, 6.6.1: without a Date the
         * time of arrival is taken for it.
         */

        date = (resp->date != -1) ? resp->date : resp->now;

        if (date < 0) {
            date = 0;
        }

        n = (resp->expires > date) ? resp->expires - date : 0;

    } else if (valid > 0) {
        n = valid;

        /* like nginx's proxy_cache_valid, it counts from arrival */

        age = 0;

    } else {
        return RCACHE_REASON_NO_LIFETIME;
    }

    if (n > RCACHE_DELTA_MAX) {
        n = RCACHE_DELTA_MAX;
    }

    /* RFC 9111, 4.2: fresh while the lifetime is greater than the age */

    if (n * 1000 <= age) {
        return RCACHE_REASON_STALE;
    }

    *lifetime = n * 1000 - age;

    return RCACHE_REASON_NONE;
}


int
rcache_response_shared(const rcache_response_t *resp)
{
    return resp->cc.public_ || resp->cc.s_maxage != -1
           || resp->cc.must_revalidate;
}


int
rcache_response_keeps(const rcache_response_t *resp, const rcache_str_t *name)
{
    unsigned             i;
    const rcache_str_t  *drop;

    for (drop = rcache_response_dropped; drop->len; drop++) {

        if (drop->len == name->len
            && rcache_response_same(drop->data, name->data, name->len))
        {
            return 0;
        }
    }

    if (name->len >= sizeof("X-Accel-") - 1
        && rcache_response_same((u_char *) "X-Accel-", name->data,
                                sizeof("X-Accel-") - 1))
    {
        return 0;
    }

    for (i = 0; i < resp->nconnection; i++) {

        if (rcache_response_listed(&resp->connection[i], name)) {
            return 0;
        }
    }

    return 1;
}


/* true if a list of tokens, RFC 9110, 5.6.1, has the name, in any case */

static int
rcache_response_listed(const rcache_str_t *list, const rcache_str_t *name)
{
    u_char  *p, *last, *token;

    p = list->data;
    last = p + list->len;

    while (p < last) {

        if (!rcache_token[*p]) {
            p++;
            continue;
        }

        token = p;

        while (p < last && rcache_token[*p]) {
            p++;
        }

        if ((size_t) (p - token) == name->len
            && rcache_response_same(token, name->data, name->len))
        {
            return 1;
        }
    }

    return 0;
}


static int
rcache_response_same(const u_char *a, const u_char *b, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {

        if (rcache_lower(a[i]) != rcache_lower(b[i])) {
            return 0;
        }
    }

    return 1;
}
