
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_response.h"
#include "rcache_date.h"


#define rcache_blank(c)  ((c) == ' ' || (c) == '\t')

/* far enough for any "@<time>", and far from overflow */

#define RCACHE_TIME_MAX  ((int64_t) 1 << 53)


static int rcache_response_target(rcache_response_t *resp,
    const rcache_str_t *name, const rcache_str_t *value);
static int64_t rcache_response_age(const rcache_str_t *value);
static int64_t rcache_response_accel(const rcache_str_t *value, int64_t now);
static const u_char *rcache_response_number(const u_char *p,
    const u_char *last, int64_t max, int64_t *n);


static const rcache_str_t  rcache_response_cdn =
    rcache_string("CDN-Cache-Control");


/*
 * RFC 9110, 7.6.1: hop-by-hop.  RFC 9111, 3.1: what a proxy authenticates
 * with.  Age and Content-Length are made anew for each response that is
 * served.  Shorter than 32 bytes, all of them.
 */

#define RCACHE_RESPONSE_DROPPED(X)                                            \
    X("Age")                                                                  \
    X("Connection")                                                           \
    X("Content-Length")                                                       \
    X("Keep-Alive")                                                           \
    X("Proxy-Authenticate")                                                   \
    X("Proxy-Authentication-Info")                                            \
    X("Proxy-Authorization")                                                  \
    X("Proxy-Connection")                                                     \
    X("TE")                                                                   \
    X("Trailer")                                                              \
    X("Transfer-Encoding")                                                    \
    X("Upgrade")

#define RCACHE_RESPONSE_STRING(name)  rcache_string(name),
#define RCACHE_RESPONSE_LENGTH(name)  | (uint32_t) 1 << (sizeof(name) - 1)


static const rcache_str_t  rcache_response_dropped[] = {
    RCACHE_RESPONSE_DROPPED(RCACHE_RESPONSE_STRING)
    { 0, NULL }
};


/* a bit for each of their lengths: mostly these tell */

static const uint32_t  rcache_response_lengths =
    0 RCACHE_RESPONSE_DROPPED(RCACHE_RESPONSE_LENGTH);


void
rcache_response_init(rcache_response_t *resp, unsigned status, int64_t now)
{
    unsigned  i;

    memset(resp, 0, offsetof(rcache_response_t, vary));

    rcache_vary_init(&resp->vary);

    for (i = 0; i < RCACHE_TARGETS_MAX; i++) {
        resp->targets[i].n = 0;
    }

    rcache_cc_init(&resp->cc);

    resp->date = -1;
    resp->expires = -1;
    resp->accel_expires = -1;

    resp->target_names = &rcache_response_cdn;
    resp->ntargets = 1;

    resp->now = now;
    resp->status = status;
}


void
rcache_response_targets(rcache_response_t *resp, const rcache_str_t *names,
    unsigned n)
{
    resp->target_names = names;
    resp->ntargets = (n < RCACHE_TARGETS_MAX) ? n : RCACHE_TARGETS_MAX;
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

    resp->settled = 0;

    if (!(resp->ignore & RCACHE_IGNORE_CACHE_CONTROL)
        && rcache_response_target(resp, name, value))
    {
        return;
    }

    switch (name->len) {

    case sizeof("Age") - 1:

        if (rcache_str_is(name, "Age")) {
            n = rcache_response_age(value);

            /*
             * RFC 9111, 5.1 would have all but the first number ignored.
             * Whoever sends more than one, or something else, has lost
             * count: it may be any age, and so it is not fresh.
             */

            if (n == -1 || resp->aged) {
                resp->age_invalid = 1;
            }

            if (n > resp->age) {
                resp->age = n;
            }

            resp->aged = 1;
        }

        break;

    case sizeof("Date") - 1:

        if (rcache_str_is(name, "Date")) {

            n = (resp->now_date.len
                 && resp->now_date.len == value->len
                 && memcmp(resp->now_date.data, value->data, value->len) == 0)
                ? resp->now
                : rcache_date_parse(value->data, value->len, resp->now);

            if (n != RCACHE_ERROR && (resp->date == -1 || n < resp->date)) {
                resp->date = n;
            }

        } else if (rcache_str_is(name, "Vary")) {

            if (!(resp->ignore & RCACHE_IGNORE_VARY)) {
                rcache_vary_add(&resp->vary, value);
            }

        } else if (rcache_str_is(name, "ETag")) {

            if (value->len) {
                resp->etag = 1;
            }
        }

        break;

    case sizeof("Expires") - 1:

        if (rcache_str_is(name, "Expires")
            && !(resp->ignore & RCACHE_IGNORE_EXPIRES))
        {
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

            if (!(resp->ignore & RCACHE_IGNORE_SET_COOKIE)) {
                resp->set_cookie = 1;
            }

        } else if (rcache_str_is(name, "Connection")) {

            if (rcache_str_is(value, "keep-alive")) {

                /* which is not kept in any case */

                break;
            }

            if (resp->nconnection == RCACHE_CONNECTION_MAX) {
                resp->malformed = 1;
                break;
            }

            resp->connection[resp->nconnection++] = *value;
        }

        break;

    case sizeof("Cache-Control") - 1:

        if (rcache_str_is(name, "Cache-Control")) {

            if (!(resp->ignore & RCACHE_IGNORE_CACHE_CONTROL)) {
                rcache_cc_parse(&resp->cc, value->data, value->len);
            }

        } else if (rcache_str_is(name, "Last-Modified")) {

            /* the later one makes for the shorter guess */

            if (resp->modified.data == NULL
                || rcache_date_parse(value->data, value->len, resp->now)
                   > rcache_response_modified(resp))
            {
                resp->modified = *value;
            }
        }

        break;

    case sizeof("Content-Length") - 1:

        if (rcache_str_is(name, "Content-Length")) {
            resp->content_length = 1;
        }

        break;

    case sizeof("X-Accel-Expires") - 1:

        if (rcache_str_is(name, "X-Accel-Expires")
            && !(resp->ignore & RCACHE_IGNORE_X_ACCEL_EXPIRES))
        {
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


static int
rcache_response_target(rcache_response_t *resp, const rcache_str_t *name,
    const rcache_str_t *value)
{
    unsigned          i;
    rcache_target_t  *target;

    for (i = 0; i < resp->ntargets; i++) {

        if (!rcache_str_same(&resp->target_names[i], name)) {
            continue;
        }

        target = &resp->targets[i];

        if (target->n == RCACHE_TARGET_LINES) {
            resp->malformed = 1;

        } else {
            target->lines[target->n++] = *value;
        }

        return 1;
    }

    return 0;
}


/* few ask for it, and to parse a date takes a while */

int64_t
rcache_response_modified(const rcache_response_t *resp)
{
    int64_t  n;

    if (resp->modified.data == NULL) {
        return -1;
    }

    n = rcache_date_parse(resp->modified.data, resp->modified.len, resp->now);

    return (n < 0) ? -1 : n;
}


/* a number of seconds, and nothing else; -1 for what is not */

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

    while (p < last && rcache_blank(*p)) {
        p++;
    }

    return (p == last) ? n : -1;
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


/* RFC 9213, 2.2: which of Cache-Control and the targeted fields holds */

void
rcache_response_settle(rcache_response_t *resp)
{
    unsigned          i;
    rcache_cc_t      *cc;
    rcache_target_t  *target;

    if (resp->settled) {
        return;
    }

    resp->settled = 1;
    resp->targeted = 0;

    cc = &resp->in_force;

    for (i = 0; i < resp->ntargets; i++) {
        target = &resp->targets[i];

        if (target->n == 0) {
            continue;
        }

        rcache_cc_init(cc);

        if (rcache_cc_targeted(cc, target->lines, target->n) == RCACHE_OK) {
            resp->targeted = 1;
            break;
        }
    }

    if (!resp->targeted) {
        *cc = resp->cc;
    }

    /* RFC 9111, 3.5 */

    resp->shared = (cc->public_ || cc->s_maxage != -1 || cc->must_revalidate);

    /*
     * A lifetime in X-Accel-Expires is a word to this proxy alone, and so
     * it replaces what is said to all, no-store and private among it, as it
     * does in nginx.  There (before 1.23) it has to come before the lines of
     * Cache-Control and Expires that it is to replace; here it may stand
     * anywhere.  Set-Cookie, Vary and Authorization have their own say.
     */

    if (resp->accel_expires > 0) {
        rcache_cc_init(cc);
    }
}


int
rcache_response_shared(rcache_response_t *resp)
{
    rcache_response_settle(resp);

    return resp->shared;
}


int
rcache_response_keeps(rcache_response_t *resp, const rcache_str_t *name)
{
    unsigned             i;
    rcache_str_t         start;
    const rcache_str_t  *drop;

    static const rcache_str_t  accel = rcache_string("X-Accel-");
    static const rcache_str_t  cookie = rcache_string("Set-Cookie");
    static const rcache_str_t  ranges = rcache_string("Accept-Ranges");

    if (name->len < 32 && (rcache_response_lengths >> name->len & 1)) {

        for (drop = rcache_response_dropped; drop->len; drop++) {

            if (rcache_str_same(drop, name)) {
                return 0;
            }
        }
    }

    /*
     * Set-Cookie is one client's, unless who configured the cache says that
     * it is like any other.
     */

    if (rcache_str_same(&cookie, name)
        && !(resp->ignore & RCACHE_IGNORE_SET_COOKIE))
    {
        return 0;
    }

    if (resp->ranges && rcache_str_same(&ranges, name)) {
        return 0;
    }

    if (name->len >= accel.len) {
        start.len = accel.len;
        start.data = name->data;

        if (rcache_str_same(&start, &accel)) {
            return 0;
        }
    }

    for (i = 0; i < resp->nconnection; i++) {

        if (rcache_str_listed(&resp->connection[i], name)) {
            return 0;
        }
    }

    rcache_response_settle(resp);

    return !rcache_cc_withholds(&resp->in_force, name);
}


int
rcache_response_dated(rcache_response_t *resp, int32_t *dated)
{
    int64_t  off;

    static const rcache_str_t  date = rcache_string("Date");

    *dated = 0;

    if (resp->date == -1 || !rcache_response_keeps(resp, &date)) {
        return RCACHE_OK;
    }

    off = resp->now - resp->date;

    if (off < INT32_MIN || off > INT32_MAX) {
        return RCACHE_DECLINED;
    }

    *dated = (int32_t) off;

    return RCACHE_OK;
}
