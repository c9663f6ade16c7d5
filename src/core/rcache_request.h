
/*
 * What a request says about the use of stored responses, RFC 9111, 5.2.1
 * and 5.4, and what follows from it for an entry, RFC 9111, 4.
 */


#ifndef _RCACHE_REQUEST_H_INCLUDED_
#define _RCACHE_REQUEST_H_INCLUDED_


#include "rcache_core.h"
#include "rcache_cc.h"
#include "rcache_entry.h"


typedef struct {
    rcache_cc_t  cc;                  /* cc.no_store, cc.only_if_cached */
    unsigned     cache_control:1;     /* it has Cache-Control */
    unsigned     pragma:1;            /* Pragma: no-cache */
} rcache_request_t;


typedef enum {
    RCACHE_USE_FRESH = 0,    /* serve it */
    RCACHE_USE_STALE,        /* serve it: stale, and max-stale allows that */
    RCACHE_USE_EXPIRED,      /* stale, or not to be used unvalidated */
    RCACHE_USE_FORCED        /* could be served; the client wants newer */
} rcache_use_e;


void rcache_request_init(rcache_request_t *req);

/* takes in one header line; keeps pointers into value */

void rcache_request_header(rcache_request_t *req, const rcache_str_t *name,
    const rcache_str_t *value);

/*
 * How an entry may be used; now in milliseconds.  force tells whether the
 * client has a say: without it only the entry's own lifetime counts.
 */

rcache_use_e rcache_request_use(const rcache_request_t *req,
    const rcache_entry_t *e, int64_t now, int force);

/*
 * True if a client that has a say wants no stored response without
 * validation, whatever is stored: no-cache, max-age=0, Pragma.
 */

int rcache_request_forces(const rcache_request_t *req);


#endif /* _RCACHE_REQUEST_H_INCLUDED_ */
