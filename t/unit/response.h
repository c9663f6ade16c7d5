
/*
 * What the tests of responses share: a response that arrives NOW, and whether
 * it may be stored, and for how long.
 */


#ifndef _RCACHE_UNIT_RESPONSE_H_INCLUDED_
#define _RCACHE_UNIT_RESPONSE_H_INCLUDED_


#include "unit.h"

#include "rcache_response.h"


/* Tue, 14 Nov 2023 22:13:20 GMT */

#define NOW         1700000000
#define AT_NOW      "Tue, 14 Nov 2023 22:13:20 GMT"
#define AT_NOW_M60  "Tue, 14 Nov 2023 22:12:20 GMT"
#define AT_NOW_P60  "Tue, 14 Nov 2023 22:14:20 GMT"
#define AT_NOW_P90  "Tue, 14 Nov 2023 22:14:50 GMT"


/* of storable_with() */

#define HEURISTIC   1
#define VARIANTS    2
#define REVALIDATE  4
#define STALE       8


#define assert_reason(call, reason)                                           \
    assert_string_equal((char *) rcache_reason_name(call)->data,              \
                    (char *) rcache_reason_name(RCACHE_REASON_##reason)->data)

#define assert_fresh(headers, ms)                                             \
    do {                                                                      \
        assert_reason(storable(headers), NONE);                               \
        assert_int_equal(fresh.lifetime, ms);                                 \
    } while (0)


/* of the last one that was asked for */

static rcache_freshness_t  fresh;


/* "Name: value\nName: value"; the values are never freed before the end */

static inline rcache_response_t
response(unsigned status, const char *headers)
{
    char               *p, *line, *colon;
    rcache_str_t        name, value;
    rcache_response_t   resp;

    static char         buf[4096];

    assert_true(strlen(headers) < sizeof(buf));
    strcpy(buf, headers);

    rcache_response_init(&resp, status, NOW);

    for (p = buf; (line = strsep(&p, "\n")) != NULL; /* void */ ) {

        colon = strchr(line, ':');

        if (colon == NULL) {
            continue;
        }

        name.data = (u_char *) line;
        name.len = colon - line;

        colon++;
        colon += (*colon == ' ');

        value.data = (u_char *) colon;
        value.len = strlen(colon);

        rcache_response_header(&resp, &name, &value);
    }

    return resp;
}


/* the reason for a 200, with nothing from the configuration and no delay */

static inline rcache_reason_e
storable(const char *headers)
{
    rcache_response_t  resp;

    memset(&fresh, 0, sizeof(fresh));

    resp = response(200, headers);

    return rcache_response_storable(&resp, -1, 0, &fresh);
}


static inline rcache_reason_e
storable_valid(const char *headers, int64_t valid, int64_t delay)
{
    rcache_response_t  resp;

    memset(&fresh, 0, sizeof(fresh));

    resp = response(200, headers);

    return rcache_response_storable(&resp, valid, delay, &fresh);
}


static inline rcache_reason_e
storable_with(unsigned status, const char *headers, unsigned flags)
{
    rcache_response_t  resp;

    memset(&fresh, 0, sizeof(fresh));

    resp = response(status, headers);
    resp.heuristic = (flags & 1) != 0;
    resp.variants = (flags & 2) != 0;
    resp.revalidate = (flags & 4) != 0;
    resp.stale = (flags & 8) != 0;

    return rcache_response_storable(&resp, -1, 0, &fresh);
}


#endif /* _RCACHE_UNIT_RESPONSE_H_INCLUDED_ */
