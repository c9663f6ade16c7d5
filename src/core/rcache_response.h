
/*
 * What a response says of itself, and what follows from it: may a shared
 * cache store it, for how long is it fresh, which of its headers are kept.
 * RFC 9111, sections 3 and 4.2.
 */


#ifndef _RCACHE_RESPONSE_H_INCLUDED_
#define _RCACHE_RESPONSE_H_INCLUDED_


#include "rcache_core.h"
#include "rcache_cc.h"
#include "rcache_reason.h"


#define RCACHE_CONNECTION_MAX  4


typedef struct {
    rcache_cc_t   cc;

    int64_t       date;             /* seconds; -1 if absent or invalid */
    int64_t       expires;          /* seconds; -1 if absent, 0 if invalid */
    int64_t       age;              /* seconds; 0 if absent or invalid */
    int64_t       accel_expires;    /* X-Accel-Expires as a lifetime in
                                       seconds; -1 if absent, 0 forbids */
    int64_t       now;              /* seconds, when the headers arrived */

    unsigned      status;

    /* values of Connection; they point into what was given */
    rcache_str_t  connection[RCACHE_CONNECTION_MAX];
    unsigned      nconnection;

    unsigned      set_cookie:1;
    unsigned      vary:1;           /* a Vary that names anything */
    unsigned      content_length:1; /* Content-Length was given */
    unsigned      malformed:1;      /* more than can be judged */
    unsigned      authorization:1;  /* the request has Authorization; set by
                                       the caller */
} rcache_response_t;


typedef struct {
    int64_t       lifetime;         /* milliseconds from now on in which the
                                       response is fresh */
    int64_t       age;              /* corrected_initial_age, seconds,
                                       RFC 9111, 4.2.3 */
} rcache_freshness_t;


/* now in seconds: the time at which the response headers arrived */

void rcache_response_init(rcache_response_t *resp, unsigned status,
    int64_t now);

/*
 * Takes in one header line.  The name in any case.  resp keeps pointers into
 * value; the caller keeps value as long as resp.
 */

void rcache_response_header(rcache_response_t *resp, const rcache_str_t *name,
    const rcache_str_t *value);

/*
 * RFC 9111, 3 and 3.5, and what is safe by default: RCACHE_REASON_NONE if
 * the headers allow a shared cache to store the response, or why not.  valid
 * is the lifetime in seconds that the configuration gives to a response
 * that does not speak of its own, -1 for none.  delay is the time in
 * milliseconds that the upstream took to send the headers (4.2.3,
 * response_delay).  On RCACHE_REASON_NONE *fresh is filled in.
 *
 * Precedence of lifetimes, as in nginx: X-Accel-Expires, then s-maxage,
 * max-age, Expires, then valid.
 */

rcache_reason_e rcache_response_storable(const rcache_response_t *resp,
    int64_t valid, int64_t delay, rcache_freshness_t *fresh);

/*
 * RFC 9111, 3.5: true if the response may be used for a request with
 * Authorization: public, s-maxage or must-revalidate.
 */

int rcache_response_shared(const rcache_response_t *resp);

/*
 * RFC 9111, 3.1: true if the header is end-to-end and is kept in an entry.
 * Not kept: hop-by-hop headers and those that Connection names, Set-Cookie,
 * X-Accel-*, Content-Length (it is our own), Age.
 */

int rcache_response_keeps(const rcache_response_t *resp,
    const rcache_str_t *name);


#endif /* _RCACHE_RESPONSE_H_INCLUDED_ */
