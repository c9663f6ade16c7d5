
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_conditional.h"
#include "rcache_date.h"


#define rcache_blank(c)  ((c) == ' ' || (c) == '\t')


typedef int (*rcache_etag_match_pt)(const rcache_str_t *a,
    const rcache_str_t *b);


static void rcache_conditional_line(rcache_str_t *lines, unsigned *n,
    unsigned max, const rcache_str_t *value);
static int rcache_conditional_list(const rcache_str_t *lines, unsigned n,
    const rcache_str_t *etag, rcache_etag_match_pt match);
static u_char *rcache_etag_next(rcache_str_t *etag, u_char *p, u_char *last);
static int rcache_etag_is_weak(const rcache_str_t *etag);
static int64_t rcache_conditional_date(const rcache_str_t *value,
    int64_t now);


void
rcache_conditional_init(rcache_conditional_t *c)
{
    memset(c, 0, sizeof(rcache_conditional_t));
}


void
rcache_conditional_header(rcache_conditional_t *c, const rcache_str_t *name,
    const rcache_str_t *value)
{
    switch (name->len) {

    case sizeof("If-Match") - 1:

        if (rcache_str_is(name, "If-Match")) {
            rcache_conditional_line(c->if_match, &c->nif_match,
                                    RCACHE_CONDITIONAL_LINES, value);

        } else if (rcache_str_is(name, "If-Range")) {
            rcache_conditional_line(&c->if_range, &c->nif_range, 1, value);
        }

        break;

    case sizeof("If-None-Match") - 1:

        if (rcache_str_is(name, "If-None-Match")) {
            rcache_conditional_line(c->if_none_match, &c->nif_none_match,
                                    RCACHE_CONDITIONAL_LINES, value);
        }

        break;

    case sizeof("If-Modified-Since") - 1:

        if (rcache_str_is(name, "If-Modified-Since")) {
            rcache_conditional_line(&c->if_modified_since,
                                    &c->nif_modified_since, 1, value);
        }

        break;

    case sizeof("If-Unmodified-Since") - 1:

        if (rcache_str_is(name, "If-Unmodified-Since")) {
            rcache_conditional_line(&c->if_unmodified_since,
                                    &c->nif_unmodified_since, 1, value);
        }

        break;

    default:
        break;
    }
}


/* the count goes on, by one, so that more lines than fit can be seen */

static void
rcache_conditional_line(rcache_str_t *lines, unsigned *n, unsigned max,
    const rcache_str_t *value)
{
    if (*n < max) {
        lines[*n] = *value;
    }

    if (*n <= max) {
        (*n)++;
    }
}


rcache_conditional_e
rcache_conditional(const rcache_conditional_t *c,
    const rcache_validators_t *v, int safe, int64_t created, int64_t now)
{
    int64_t  modified, date;

    modified = rcache_conditional_date(&v->last_modified, now);

    /* RFC 9110, 13.2.2, step 1 */

    if (c->nif_match) {

        if (!rcache_conditional_list(c->if_match, c->nif_match, &v->etag,
                                     rcache_etag_strong_match))
        {
            return RCACHE_CONDITIONAL_FAILED;
        }

    } else if (c->nif_unmodified_since == 1 && modified != RCACHE_ERROR) {

        /* step 2; 13.1.4: not to be looked at if a date is missing */

        date = rcache_conditional_date(&c->if_unmodified_since, now);

        if (date != RCACHE_ERROR && modified > date) {
            return RCACHE_CONDITIONAL_FAILED;
        }
    }

    /* step 3 */

    if (c->nif_none_match) {

        if (!rcache_conditional_list(c->if_none_match, c->nif_none_match,
                                     &v->etag, rcache_etag_weak_match))
        {
            return RCACHE_CONDITIONAL_GO;
        }

        return safe ? RCACHE_CONDITIONAL_NOT_MODIFIED
                    : RCACHE_CONDITIONAL_FAILED;
    }

    /* step 4; 13.1.3: for GET and HEAD, and a single valid date, only */

    if (c->nif_modified_since != 1 || !safe) {
        return RCACHE_CONDITIONAL_GO;
    }

    date = rcache_conditional_date(&c->if_modified_since, now);

    if (date == RCACHE_ERROR) {
        return RCACHE_CONDITIONAL_GO;
    }

    /* RFC 9111, 4.3.2: without Last-Modified, Date or the time of arrival */

    if (modified == RCACHE_ERROR) {
        modified = rcache_conditional_date(&v->date, now);
    }

    if (modified == RCACHE_ERROR) {
        modified = created;
    }

    if (modified == -1 || modified > date) {
        return RCACHE_CONDITIONAL_GO;
    }

    return RCACHE_CONDITIONAL_NOT_MODIFIED;
}


int
rcache_conditional_range(const rcache_conditional_t *c,
    const rcache_validators_t *v, int64_t now)
{
    int64_t              modified, date;
    const rcache_str_t  *value;

    if (c->nif_range == 0) {
        return 1;
    }

    if (c->nif_range > 1 || c->if_range.len < 2) {
        return 0;
    }

    value = &c->if_range;

    /* RFC 9110, 13.1.5: a DQUOTE in the first three tells which it is */

    if (value->data[0] == '"'
        || value->data[1] == '"'
        || (value->len > 2 && value->data[2] == '"'))
    {
        return rcache_etag_strong_match(value, &v->etag);
    }

    /* an etag that lost its quotes matches one that has none either */

    date = rcache_conditional_date(value, now);

    if (date == RCACHE_ERROR) {
        return 0;
    }

    modified = rcache_conditional_date(&v->last_modified, now);

    if (modified == RCACHE_ERROR || modified != date) {
        return 0;
    }

    /*
     * RFC 9110, 8.8.2.2: a date is strong if the response was made at least
     * one second after it.
     */

    date = rcache_conditional_date(&v->date, now);

    return date != RCACHE_ERROR && date > modified;
}


/* RFC 9110, 13.1.1 and 13.1.2: "*" is true of whatever is stored */

static int
rcache_conditional_list(const rcache_str_t *lines, unsigned n,
    const rcache_str_t *etag, rcache_etag_match_pt match)
{
    u_char        *p, *last;
    unsigned       i;
    rcache_str_t   member;

    if (n > RCACHE_CONDITIONAL_LINES) {
        n = RCACHE_CONDITIONAL_LINES;
    }

    for (i = 0; i < n; i++) {
        p = lines[i].data;
        last = p + lines[i].len;

        for ( ;; ) {
            p = rcache_etag_next(&member, p, last);

            if (member.len == 0) {
                break;
            }

            if ((member.len == 1 && member.data[0] == '*')
                || match(&member, etag))
            {
                return 1;
            }
        }
    }

    return 0;
}


/*
 * RFC 9110, 8.8.3.  Text that is no entity-tag, for want of quotes, is taken
 * up to the next comma: it matches only the same text.
 */

static u_char *
rcache_etag_next(rcache_str_t *etag, u_char *p, u_char *last)
{
    u_char  *end;

    while (p < last && (rcache_blank(*p) || *p == ',')) {
        p++;
    }

    etag->data = p;

    if (last - p > 2 && p[0] == 'W' && p[1] == '/' && p[2] == '"') {
        p += 2;
    }

    if (p < last && *p == '"') {
        end = memchr(p + 1, '"', last - p - 1);

        /* what sticks to the closing quote makes it another text */

        if (end) {
            p = end + 1;
        }
    }

    while (p < last && *p != ',') {
        p++;
    }

    end = p;

    while (end > etag->data && rcache_blank(end[-1])) {
        end--;
    }

    etag->len = end - etag->data;

    return p;
}


int
rcache_etag_weak_match(const rcache_str_t *a, const rcache_str_t *b)
{
    size_t  weak_a, weak_b;

    weak_a = rcache_etag_is_weak(a) ? 2 : 0;
    weak_b = rcache_etag_is_weak(b) ? 2 : 0;

    return a->len > weak_a
           && a->len - weak_a == b->len - weak_b
           && memcmp(a->data + weak_a, b->data + weak_b, a->len - weak_a)
              == 0;
}


int
rcache_etag_strong_match(const rcache_str_t *a, const rcache_str_t *b)
{
    return !rcache_etag_is_weak(a) && !rcache_etag_is_weak(b)
           && rcache_etag_weak_match(a, b);
}


static int
rcache_etag_is_weak(const rcache_str_t *etag)
{
    return etag->len > 2 && etag->data[0] == 'W' && etag->data[1] == '/';
}


static int64_t
rcache_conditional_date(const rcache_str_t *value, int64_t now)
{
    if (value->len == 0) {
        return RCACHE_ERROR;
    }

    return rcache_date_parse(value->data, value->len, now);
}
