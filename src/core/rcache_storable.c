
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* May a response be stored, and for how long is it fresh? */


#include "rcache_response.h"


static rcache_reason_e rcache_response_forbidden(
    const rcache_response_t *resp);
static int rcache_response_varies(const rcache_response_t *resp);
static int rcache_response_understood(unsigned status);
static int64_t rcache_response_initial_age(const rcache_response_t *resp,
    int64_t delay);
static int rcache_response_explicit(const rcache_response_t *resp,
    int64_t valid, int64_t *lifetime, int64_t *age, uint32_t *source);
static int64_t rcache_response_heuristic(const rcache_response_t *resp);
static int rcache_response_guessable(unsigned status);
static int rcache_response_useful(const rcache_response_t *resp, int strict);


rcache_reason_e
rcache_response_storable(rcache_response_t *resp, int64_t valid,
    int64_t delay, rcache_freshness_t *fresh)
{
    int               guess, strict, implied;
    int64_t           age, n, counted, left;
    rcache_reason_e   reason;
    rcache_cc_t      *cc;

    rcache_response_settle(resp);

    reason = rcache_response_forbidden(resp);
    if (reason != RCACHE_REASON_NONE) {
        return reason;
    }

    cc = &resp->in_force;

    /* RFC 9111, 5.2.2.2, 5.2.2.8 and 5.2.2.10: not to be used stale */

    strict = (cc->must_revalidate || cc->proxy_revalidate);
    implied = (!strict && cc->s_maxage != -1);
    strict |= implied;

    age = rcache_response_initial_age(resp, delay);
    counted = age;
    guess = 0;

    if (!rcache_response_explicit(resp, valid, &n, &counted, &fresh->source)) {
        n = rcache_response_heuristic(resp);
        guess = (n > 0);

        fresh->source = guess ? RCACHE_LIFETIME_HEURISTIC
                              : RCACHE_LIFETIME_UNSAID;

        if (!guess && !cc->no_cache) {
            return RCACHE_REASON_NO_LIFETIME;
        }
    }

    if (n > RCACHE_DELTA_MAX) {
        n = RCACHE_DELTA_MAX;
    }

    left = n * 1000 - counted;

    /* RFC 9111, 5.2.2.4: there is no time in which it needs no validation */

    if (cc->no_cache && left > 0) {
        left = 0;
    }

    /* RFC 9111, 4.2: fresh while the lifetime is greater than the age */

    if (left <= 0 && !rcache_response_useful(resp, strict || cc->no_cache)) {
        return cc->no_cache ? RCACHE_REASON_NO_STORE : RCACHE_REASON_STALE;
    }

    fresh->lifetime = left;
    fresh->age = age / 1000;

    fresh->stale_while_revalidate = 0;
    fresh->stale_if_error = 0;

    /*
     * RFC 5861 says nothing of s-maxage.  It forbids to use the response
     * stale, RFC 9111, 4.2.4, but who sends it with a window, as many do,
     * allows just that; for any other cause it holds.
     */

    if (!cc->must_revalidate && !cc->proxy_revalidate && !cc->no_cache) {

        if (cc->stale_while_revalidate > 0) {
            fresh->stale_while_revalidate =
                                       (uint32_t) cc->stale_while_revalidate;
        }

        if (cc->stale_if_error > 0) {
            fresh->stale_if_error = (uint32_t) cc->stale_if_error;
        }
    }

    fresh->flags = (resp->shared ? RCACHE_ENTRY_SHARED : 0)
                   | (cc->no_cache ? RCACHE_ENTRY_NO_CACHE : 0)
                   | (strict ? RCACHE_ENTRY_MUST_REVALIDATE : 0)
                   | (implied ? RCACHE_ENTRY_S_MAXAGE : 0)
                   | (guess ? RCACHE_ENTRY_HEURISTIC : 0)
                   | (resp->user ? RCACHE_ENTRY_PRIVATE : 0);

    return RCACHE_REASON_NONE;
}


static rcache_reason_e
rcache_response_forbidden(const rcache_response_t *resp)
{
    const rcache_cc_t  *cc;

    cc = &resp->in_force;

    /*
     * RFC 9111, 3: final, and of a status that we understand.  206 and 304
     * are parts of a response to us, never one of their own, but for a 206
     * whose range is in the key.
     */

    if (resp->status < 200 || resp->status > 599
        || (resp->status == 206 && !resp->partial) || resp->status == 304)
    {
        return RCACHE_REASON_STATUS;
    }

    if (cc->must_understand && !rcache_response_understood(resp->status)) {
        return RCACHE_REASON_STATUS;
    }

    if (resp->malformed) {
        return RCACHE_REASON_HEADERS;
    }

    if (resp->accel_expires == 0) {
        return RCACHE_REASON_ACCEL;
    }

    /*
     * RFC 9111, 5.2.2.3: no-store next to must-understand is for caches that
     * do not know the latter.
     */

    if (cc->no_store && !cc->must_understand) {
        return RCACHE_REASON_NO_STORE;
    }

    if (cc->private_ && !resp->user) {
        return RCACHE_REASON_PRIVATE;
    }

    if (resp->set_cookie) {
        return RCACHE_REASON_SET_COOKIE;
    }

    if (rcache_vary_set(&resp->vary) && !rcache_response_varies(resp)) {
        return RCACHE_REASON_VARY;
    }

    /* RFC 9111, 3.5 */

    if (resp->authorization && !resp->shared && !resp->user) {
        return RCACHE_REASON_AUTHORIZATION;
    }

    return RCACHE_REASON_NONE;
}


/* true if it can be stored as a variant: one that others may ask for too */

static int
rcache_response_varies(const rcache_response_t *resp)
{
    unsigned       i;
    rcache_str_t   names;

    static const rcache_str_t  personal[] = {
        rcache_string("Authorization"),
        rcache_string("Cookie"),
    };

    if (!resp->variants || resp->vary.star || resp->vary.overflow
        || resp->vary.malformed)
    {
        return 0;
    }

    names.len = resp->vary.len;
    names.data = (u_char *) resp->vary.text;

    for (i = 0; i < sizeof(personal) / sizeof(personal[0]); i++) {

        if (rcache_str_listed(&names, &personal[i])) {
            return 0;
        }
    }

    return 1;
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
 * RFC 9111, 4.2.1: true, and the lifetime in seconds, if there is one that is
 * not a guess.  *age, in milliseconds, is what has to be taken off it; a
 * lifetime that is said to, or by, this proxy counts from arrival.
 */

static int
rcache_response_explicit(const rcache_response_t *resp, int64_t valid,
    int64_t *lifetime, int64_t *age, uint32_t *source)
{
    int64_t             n, date;
    const rcache_cc_t  *cc;

    cc = &resp->in_force;

    if (resp->accel_expires != -1) {
        *lifetime = resp->accel_expires;
        *age = 0;
        *source = RCACHE_LIFETIME_ACCEL;

        return 1;
    }

    if (cc->s_maxage != -1) {
        n = cc->s_maxage;
        *source = RCACHE_LIFETIME_S_MAXAGE;

    } else if (cc->max_age != -1) {
        n = cc->max_age;
        *source = RCACHE_LIFETIME_MAX_AGE;

    } else if (resp->expires != -1 && !resp->targeted) {

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

        if (n > RCACHE_DELTA_MAX) {
            n = RCACHE_DELTA_MAX;
        }

        *source = RCACHE_LIFETIME_EXPIRES;

    } else if (valid > 0) {
        *lifetime = valid;
        *age = 0;
        *source = RCACHE_LIFETIME_VALID;

        return 1;

    } else {
        return 0;
    }

    if (resp->age_invalid && *age < n * 1000) {
        *age = n * 1000;
    }

    if (resp->targeted) {
        *source = RCACHE_LIFETIME_TARGETED;
    }

    *lifetime = n;

    return 1;
}


/* RFC 9111, 4.2.2: the lifetime in seconds, 0 if there is nothing to guess */

static int64_t
rcache_response_heuristic(const rcache_response_t *resp)
{
    int64_t  n, date, modified;

    if (!resp->heuristic || resp->age_invalid) {
        return 0;
    }

    if (!resp->in_force.public_ && !rcache_response_guessable(resp->status)) {
        return 0;
    }

    modified = rcache_response_modified(resp);

    date = (resp->date != -1) ? resp->date : resp->now;

    if (modified == -1 || date <= modified) {
        return 0;
    }

    n = (date - modified) / 10;

    return (n < RCACHE_HEURISTIC_MAX) ? n : RCACHE_HEURISTIC_MAX;
}


/* RFC 9110, 15.1: heuristically cacheable; 206 is never stored */

static int
rcache_response_guessable(unsigned status)
{
    switch (status) {

    case 200:
    case 203:
    case 204:
    case 300:
    case 301:
    case 308:
    case 404:
    case 405:
    case 410:
    case 414:
    case 501:
        return 1;

    default:
        return 0;
    }
}


/*
 * Is a response that is not fresh worth its place?  If it can be validated,
 * or, unless it is strict about that, if someone would have it as it is.
 */

static int
rcache_response_useful(const rcache_response_t *resp, int strict)
{
    if (resp->revalidate
        && (resp->etag || rcache_response_modified(resp) != -1))
    {
        return 1;
    }

    return resp->stale && !strict;
}
