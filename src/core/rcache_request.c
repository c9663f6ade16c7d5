
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_request.h"


void
rcache_request_init(rcache_request_t *req)
{
    memset(req, 0, sizeof(rcache_request_t));

    rcache_cc_init(&req->cc);
}


void
rcache_request_header(rcache_request_t *req, const rcache_str_t *name,
    const rcache_str_t *value)
{
    static rcache_str_t  no_cache = {
        sizeof("no-cache") - 1, (u_char *) "no-cache"
    };

    switch (name->len) {

    case sizeof("Pragma") - 1:

        if (rcache_str_is(name, "Pragma")
            && rcache_str_listed(value, &no_cache))
        {
            req->pragma = 1;
        }

        break;

    case sizeof("Cache-Control") - 1:

        if (rcache_str_is(name, "Cache-Control")) {
            req->cache_control = 1;
            rcache_cc_parse(&req->cc, value->data, value->len);
        }

        break;

    default:
        break;
    }
}


int
rcache_request_forces(const rcache_request_t *req)
{
    /* RFC 9111, 5.4: Pragma is for caches that know no Cache-Control */

    if (!req->cache_control) {
        return req->pragma;
    }

    /*
     * RFC 9111, 5.2.1.4.  In a request no-cache has no field names; with
     * some it asks for no less.  max-age=0 is what a reload sends.
     */

    return req->cc.no_cache || req->cc.no_cache_fields.n
           || req->cc.max_age == 0;
}


rcache_use_e
rcache_request_use(const rcache_request_t *req, const rcache_entry_t *e,
    int64_t now, int force)
{
    int64_t  staleness;

    /* RFC 9111, 5.2.2.4 */

    if (e->flags & RCACHE_ENTRY_NO_CACHE) {
        return RCACHE_USE_EXPIRED;
    }

    if (!force) {
        return rcache_entry_fresh(e, now) ? RCACHE_USE_FRESH
                                          : RCACHE_USE_EXPIRED;
    }

    staleness = rcache_entry_staleness(e, now);

    if (!rcache_entry_fresh(e, now)) {

        /*
         * RFC 9111, 5.2.1.2.  What is not fresh because a clock is wrong is
         * not stale by a known time.
         */

        if ((e->flags & RCACHE_ENTRY_MUST_REVALIDATE)
            || req->cc.max_stale == -1
            || req->cc.min_fresh > 0
            || rcache_request_forces(req)
            || staleness < 0
            || (req->cc.max_stale < RCACHE_DELTA_MAX
                && staleness > req->cc.max_stale * 1000))
        {
            return RCACHE_USE_EXPIRED;
        }

        if (req->cc.max_age != -1
            && rcache_entry_age(e, now) > req->cc.max_age)
        {
            return RCACHE_USE_EXPIRED;
        }

        return RCACHE_USE_STALE;
    }

    if (rcache_request_forces(req)) {
        return RCACHE_USE_FORCED;
    }

    /* RFC 9111, 5.2.1.1 */

    if (req->cc.max_age != -1 && rcache_entry_age(e, now) > req->cc.max_age) {
        return RCACHE_USE_FORCED;
    }

    /* RFC 9111, 5.2.1.3 */

    if (req->cc.min_fresh != -1 && -staleness < req->cc.min_fresh * 1000) {
        return RCACHE_USE_FORCED;
    }

    return RCACHE_USE_FRESH;
}
