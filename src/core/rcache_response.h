
/*
 * What a response says of itself, and what follows from it: may a shared
 * cache store it, for how long is it fresh, which of its headers are kept.
 * RFC 9111, sections 3 and 4.2.
 */


#ifndef _RCACHE_RESPONSE_H_INCLUDED_
#define _RCACHE_RESPONSE_H_INCLUDED_


#include "rcache_core.h"
#include "rcache_cc.h"
#include "rcache_entry.h"
#include "rcache_reason.h"
#include "rcache_vary.h"


#define RCACHE_CONNECTION_MAX    4

/* targeted fields, RFC 9213, that are known, and lines of each */

#define RCACHE_TARGETS_MAX       4
#define RCACHE_TARGET_LINES      4

/* the longest heuristic lifetime, seconds */

#define RCACHE_HEURISTIC_MAX     86400

/* headers that are not looked at, as with proxy_ignore_headers */

#define RCACHE_IGNORE_X_ACCEL_EXPIRES  0x0001
#define RCACHE_IGNORE_EXPIRES          0x0002
#define RCACHE_IGNORE_CACHE_CONTROL    0x0004     /* and targeted fields */
#define RCACHE_IGNORE_SET_COOKIE       0x0008
#define RCACHE_IGNORE_VARY             0x0010


typedef struct {
    rcache_str_t  lines[RCACHE_TARGET_LINES];
    unsigned      n;
} rcache_target_t;


typedef struct {
    rcache_cc_t   cc;               /* what Cache-Control says */
    rcache_cc_t   in_force;         /* what holds: that, a targeted field, or
                                       nothing; set by what asks for it */

    int64_t       date;             /* seconds; -1 if absent or invalid */
    int64_t       expires;          /* seconds; -1 if absent, 0 if invalid */
    int64_t       age;              /* seconds; 0 if absent */
    int64_t       accel_expires;    /* X-Accel-Expires as a lifetime in
                                       seconds; -1 if absent, 0 forbids */
    int64_t       now;              /* seconds, when the headers arrived */

    unsigned      status;

    rcache_str_t  modified;         /* Last-Modified; it points into what was
                                       given */

    /* values of Connection; they point into what was given */
    rcache_str_t  connection[RCACHE_CONNECTION_MAX];
    unsigned      nconnection;

    /* rcache_response_targets() */
    const rcache_str_t  *target_names;
    unsigned             ntargets;

    unsigned      settled:1;        /* in_force is set */
    unsigned      targeted:1;       /* by a targeted field */
    unsigned      shared:1;         /* RFC 9111, 3.5 */
    unsigned      aged:1;           /* Age was given */
    unsigned      age_invalid:1;    /* not by one number: too old */
    unsigned      set_cookie:1;
    unsigned      etag:1;           /* ETag was given */
    unsigned      content_length:1; /* Content-Length was given */
    unsigned      malformed:1;      /* more than can be judged */

    /* for the caller to set, after init and before the headers */

    rcache_str_t  now_date;         /* now, as Date says it; empty: each Date
                                       is parsed */
    unsigned      ignore;           /* RCACHE_IGNORE_* */
    unsigned      authorization:1;  /* the request had Authorization */
    unsigned      user:1;           /* the user is part of the key, so what is
                                       private can be stored */
    unsigned      partial:1;        /* the range is part of the key, so a 206
                                       is a whole for it */
    unsigned      heuristic:1;      /* RFC 9111, 4.2.2 is in use */
    unsigned      variants:1;       /* a response with Vary can be stored */
    unsigned      revalidate:1;     /* a stale one is of use if it has a
                                       validator */
    unsigned      stale:1;          /* a stale one is of use even without */
    unsigned      ranges:1;         /* whoever serves it from the cache says
                                       itself that it takes ranges */

    /* long, and mostly empty */

    rcache_vary_t    vary;          /* rcache_vary_set(): there is one */
    rcache_target_t  targets[RCACHE_TARGETS_MAX];
} rcache_response_t;


typedef struct {
    int64_t       lifetime;         /* milliseconds from now on in which the
                                       response is fresh; not positive if it
                                       is stale, by so much, already, which
                                       is only with revalidate or stale */
    int64_t       age;              /* corrected_initial_age, seconds,
                                       RFC 9111, 4.2.3 */
    uint32_t      stale_while_revalidate;   /* seconds, 0 if forbidden */
    uint32_t      stale_if_error;
    uint32_t      flags;            /* of the entry: RCACHE_ENTRY_SHARED,
                                       _NO_CACHE, _MUST_REVALIDATE,
                                       _S_MAXAGE, _HEURISTIC, _PRIVATE */
    uint32_t      source;           /* rcache_lifetime_e */
} rcache_freshness_t;


/* now in seconds: the time at which the response headers arrived */

void rcache_response_init(rcache_response_t *resp, unsigned status,
    int64_t now);

/*
 * RFC 9213, 2.2: the target list, the first the most important: of these
 * fields, the first one that is there and parses replaces Cache-Control and
 * Expires.  At most RCACHE_TARGETS_MAX are used.  The caller keeps names as
 * long as resp.  Without this call the list is CDN-Cache-Control.
 */

void rcache_response_targets(rcache_response_t *resp,
    const rcache_str_t *names, unsigned n);

/*
 * Takes in one header line.  The name in any case.  resp keeps pointers into
 * value; the caller keeps value as long as resp.
 */

void rcache_response_header(rcache_response_t *resp, const rcache_str_t *name,
    const rcache_str_t *value);

/* Last-Modified in seconds, -1 if it is absent or invalid */

int64_t rcache_response_modified(const rcache_response_t *resp);

/*
 * All lines are there: decides which Cache-Control is in force.  The
 * functions below call it.
 */

void rcache_response_settle(rcache_response_t *resp);

/*
 * RFC 9111, 3 and 3.5, and what is safe by default: RCACHE_REASON_NONE if
 * the headers allow a shared cache to store the response, or why not.  valid
 * is the lifetime in seconds that the configuration gives to a response
 * that does not speak of its own, -1 for none.  delay is the time in
 * milliseconds that the upstream took to send the headers (4.2.3,
 * response_delay).  On RCACHE_REASON_NONE *fresh is filled in, and if
 * resp->vary names something, the response is a variant.
 *
 * Precedence of lifetimes: X-Accel-Expires, then the first targeted field
 * or, without one, Cache-Control and Expires, then valid, then heuristics.
 * In one field, s-maxage before max-age.
 */

rcache_reason_e rcache_response_storable(rcache_response_t *resp,
    int64_t valid, int64_t delay, rcache_freshness_t *fresh);

/*
 * RFC 9111, 3.5: true if the response may be used for a request with
 * Authorization: public, s-maxage or must-revalidate.
 */

int rcache_response_shared(rcache_response_t *resp);

/*
 * RFC 9111, 3.1: true if the header is end-to-end and is kept in an entry.
 * Not kept: hop-by-hop headers and those that Connection names, those that
 * no-cache="..." or private="..." withhold, Set-Cookie (unless it is
 * ignored), X-Accel-*, Content-Length (it is our own), Age, Accept-Ranges with
 * resp->ranges.
 */

int rcache_response_keeps(rcache_response_t *resp, const rcache_str_t *name);

/*
 * What an entry says in place of the line Date: sets *dated to the seconds
 * from Date to the arrival of the response; to 0 if Date is absent, invalid or
 * not kept (RFC 9110, 6.6.1), and if it is too far off for that: then
 * RCACHE_DECLINED, the line itself has to be kept.  RCACHE_OK otherwise.
 */

int rcache_response_dated(rcache_response_t *resp, int32_t *dated);


#endif /* _RCACHE_RESPONSE_H_INCLUDED_ */
