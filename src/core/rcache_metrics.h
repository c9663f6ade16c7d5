
/*
 * What is counted.  These lists exist once: they make the places in shared
 * memory, the names and help texts that are shown, and the check of
 * docs/metrics.md.  The reasons are those of rcache_reason.h.
 */


#ifndef _RCACHE_METRICS_H_INCLUDED_
#define _RCACHE_METRICS_H_INCLUDED_


#include "rcache_core.h"
#include "rcache_histogram.h"
#include "rcache_reason.h"


#define RCACHE_METRICS_PREFIX  "redis_proxy_cache_"


/*
 * The families of counters.  X(enum, name, key, second key, help): each value
 * of the key, and of the second one, is a counter.  In the text formats a
 * name ends in _total.
 */

#define RCACHE_COUNTER_FAMILIES(X)                                            \
                                                                              \
    /* of a label */                                                          \
    X(REQUESTS, "requests", "status", "",                                     \
      "Requests in locations with the cache, by what became of the lookup.")  \
    X(NOT_HIT, "not_hit", "reason", "",                                       \
      "Requests that were not answered from the cache, by reason.")           \
    X(STORES, "stores", "result", "",                                         \
      "Responses sent to Redis, by what became of them.")                     \
    X(NOT_STORED, "not_stored", "reason", "",                                 \
      "Responses that were not stored, by reason.")                           \
    X(FETCHES, "fetches", "by", "",                                           \
      "Fetches from upstreams, by who caused them.")                          \
    X(HIT_BYTES, "hit_bytes", "", "",                                         \
      "Bytes of bodies sent to clients from the cache.")                      \
    X(UPSTREAM_BYTES, "upstream_bytes", "", "",                               \
      "Bytes received from upstreams.")                                       \
    X(SAVED, "saved_seconds", "", "",                                         \
      "Time that fetching took when what was a hit was stored.")              \
    X(COLLAPSED, "collapsed", "", "",                                         \
      "Requests answered with the response to another one's fetch.")          \
    X(NEAR_HITS, "near_hits", "", "",                                         \
      "Hits served from the near cache, without a question to Redis.")        \
    X(EVICTED, "evicted", "", "",                                             \
      "Entries that were expected in Redis, and were gone.")                  \
    X(INVALIDATED, "invalidated", "", "",                                     \
      "Successful requests with an unsafe method, which invalidate.")         \
    X(AUDITS, "audits", "result", "",                                         \
      "Hits held against what the upstream says, by what came of it.")        \
    X(DRY_REQUESTS, "dry_run_requests", "status", "",                         \
      "Requests in a dry run, by what would have become of them.")            \
    X(DRY_SAVED, "dry_run_saved_seconds", "", "",                             \
      "Upstream time that the hits of a dry run would have saved.")           \
    X(DRY_STORED, "dry_run_stored", "", "",                                   \
      "Responses that would have been stored in a dry run.")                  \
    X(DRY_BYTES, "dry_run_bytes", "what", "",                                 \
      "Bytes of Redis that they would take, and those that they replace.")    \
    X(DRY_TIME, "dry_run_byte_seconds", "what", "",                           \
      "The same, times the seconds that they would be there.")                \
                                                                              \
    /* of a zone */                                                           \
    X(OPERATIONS, "redis_operations", "command", "result",                    \
      "Operations on Redis, by what they were for and how they ended.")       \
    X(WAITS, "waits", "result", "",                                           \
      "Waits for another one's fetch, by how they ended.")                    \
    X(DOWN, "redis_down", "", "",                                             \
      "How often a worker found that Redis is gone.")                         \
    X(PURGES, "purges", "kind", "",                                           \
      "What was purged here, by what it was named by.")                       \
    X(RETRIED, "invalidations_retried", "", "",                               \
      "Invalidations that Redis got when they were sent again.")              \
    X(LOST, "invalidations_lost", "", "",                                     \
      "Invalidations that Redis did not get, and that were given up.")        \
    X(NEAR_FILLS, "near_fills", "result", "",                                 \
      "Entries read for the near cache, by what became of the copy.")         \
    X(NEAR_CHANGES, "near_changes", "what", "",                               \
      "What Redis told of copies: that a key has changed, or any may have.")


/* the counters of a label: X(family, enum, value of the key) */

#define RCACHE_LABEL_COUNTERS(X)                                              \
    X(REQUESTS, NONE, "none")                                                 \
    X(REQUESTS, MISS, "miss")                                                 \
    X(REQUESTS, BYPASS, "bypass")                                             \
    X(REQUESTS, EXPIRED, "expired")                                           \
    X(REQUESTS, STALE, "stale")                                               \
    X(REQUESTS, UPDATING, "updating")                                         \
    X(REQUESTS, REVALIDATED, "revalidated")                                   \
    X(REQUESTS, HIT, "hit")                                                   \
    X(STORES, STORED, "stored")                                               \
    X(STORES, RENEWED, "renewed")                                             \
    X(STORES, FAILED, "failed")                                               \
    X(FETCHES, REQUEST, "request")                                            \
    X(FETCHES, REFRESH, "refresh")                                            \
    X(FETCHES, AUDIT, "audit")                                                \
    X(FETCHES, RESUME, "resume")                                              \
    X(HIT_BYTES, ALL, "")                                                     \
    X(UPSTREAM_BYTES, ALL, "")                                                \
    X(SAVED, ALL, "")                         /* milliseconds */              \
    X(COLLAPSED, ALL, "")                                                     \
    X(NEAR_HITS, ALL, "")                                                     \
    X(EVICTED, ALL, "")                                                       \
    X(INVALIDATED, ALL, "")                                                   \
    X(AUDITS, SAME, "same")                                                   \
    X(AUDITS, DIFFERS, "differs")                                             \
    X(AUDITS, FAILED, "failed")                                               \
    X(AUDITS, SKIPPED, "skipped")                                             \
    X(DRY_REQUESTS, HIT, "hit")                                               \
    X(DRY_REQUESTS, STALE, "stale")                                           \
    X(DRY_REQUESTS, REVALIDATED, "revalidated")                               \
    X(DRY_REQUESTS, COLLAPSED, "collapsed")                                   \
    X(DRY_REQUESTS, MISS, "miss")                                             \
    X(DRY_REQUESTS, EXPIRED, "expired")                                       \
    X(DRY_REQUESTS, BYPASS, "bypass")                                         \
    X(DRY_REQUESTS, UNKNOWN, "unknown")                                       \
    X(DRY_SAVED, ALL, "")                     /* milliseconds */              \
    X(DRY_STORED, ALL, "")                                                    \
    X(DRY_BYTES, STORED, "stored")                                            \
    X(DRY_BYTES, REPLACED, "replaced")                                        \
    X(DRY_TIME, STORED, "stored")                                             \
    X(DRY_TIME, REPLACED, "replaced")


/* of a zone */

#define RCACHE_ZONE_COUNTERS(X)                                               \
    X(WAITS, ANSWERED, "answered")                                            \
    X(WAITS, TIMEOUT, "timeout")                                              \
    X(DOWN, ALL, "")                                                          \
    X(PURGES, KEY, "key")                                                     \
    X(PURGES, PREFIX, "prefix")                                               \
    X(PURGES, TAG, "tag")                                                     \
    X(PURGES, USER, "user")                                                   \
    X(PURGES, REGEX, "regex")                                                 \
    X(PURGES, ALL, "all")                                                     \
    X(RETRIED, ALL, "")                                                       \
    X(LOST, ALL, "")                                                          \
    X(NEAR_FILLS, STORED, "stored")                                           \
    X(NEAR_FILLS, VOID, "void")                                               \
    X(NEAR_FILLS, SKIPPED, "skipped")                                         \
    X(NEAR_CHANGES, KEY, "key")                                               \
    X(NEAR_CHANGES, ALL, "all")

#define RCACHE_PURGE_KINDS  6


/* what an operation on Redis is for, and how it ends */

#define RCACHE_COMMANDS(X)                                                    \
    X(LOOKUP, "lookup")                                                       \
    X(STORE, "store")                                                         \
    X(LOCK, "lock")                                                           \
    X(INVALIDATE, "invalidate")

#define RCACHE_RESULTS(X)                                                     \
    X(OK, "ok")                                                               \
    X(ERROR, "error")                                                         \
    X(TIMEOUT, "timeout")                                                     \
    X(DOWN, "down")                                                           \
    X(BUSY, "busy")


/* the times: X(enum, name, help) */

#define RCACHE_LABEL_TIMES(X)                                                 \
    X(HIT, "hit_seconds",                                                     \
      "Time from the lookup of a hit to the first byte of its response.")     \
    X(MISS, "miss_seconds",                                                   \
      "The same for a request that went to the upstream.")                    \
    X(FETCH, "fetch_seconds",                                                 \
      "Time that the upstream took.")

#define RCACHE_ZONE_TIMES(X)                                                  \
    X(WAIT, "wait_seconds",                                                   \
      "Time that a request waited for another one's fetch.")

#define RCACHE_REDIS_TIME       "redis_seconds"
#define RCACHE_REDIS_TIME_HELP                                                \
    "Time from an operation on Redis to its reply, by what it was for."


/* what is so now: X(enum, name, help); the sum over the workers that live */

#define RCACHE_GAUGES(X)                                                      \
    X(QUEUE, "redis_queue",                                                   \
      "Operations that wait for Redis.")                                      \
    X(CONNECTIONS, "redis_connections",                                       \
      "Connections to Redis.")                                                \
    X(MEMORY, "memory_in_flight_bytes",                                       \
      "Memory that holds responses on their way to Redis.")                   \
    X(LISTENERS, "near_listeners",                                            \
      "Servers that tell workers of changes, for the near cache.")


/* of a label: X(enum, name, help) */

#define RCACHE_ESTIMATES(X)                                                   \
    X(DRY_MEMORY, "dry_run_redis_bytes",                                      \
      "Memory of Redis that a dry run would take by now.")


/* and of the zone as a whole */

#define RCACHE_STATES(X)                                                      \
    X(UP, "redis_up",                                                         \
      "1 if Redis can be reached, 0 while it is left alone.")                 \
    X(SLOW, "redis_breakers_open",                                            \
      "Servers that are left alone because they answer too slowly.")          \
    X(BYTES, "redis_bytes",                                                   \
      "Memory of Redis that the zone takes, by a sample; 0 without one.")     \
    X(WORKERS, "workers",                                                     \
      "Workers that live and count for themselves.")                          \
    X(SINCE, "start_time_seconds",                                            \
      "When the counters began, in seconds since the epoch.")


#define RCACHE_METRICS_FAMILY(id, a, b, c, d)       RCACHE_FAMILY_##id,
#define RCACHE_METRICS_COUNT(family, id, value)                               \
    RCACHE_COUNT_##family##_##id,
#define RCACHE_METRICS_COMMAND(id, name)            RCACHE_COMMAND_##id,
#define RCACHE_METRICS_RESULT(id, name)             RCACHE_RESULT_##id,
#define RCACHE_METRICS_TIME(id, name, help)         RCACHE_TIME_##id,
#define RCACHE_METRICS_GAUGE(id, name, help)        RCACHE_GAUGE_##id,
#define RCACHE_METRICS_STATE(id, name, help)        RCACHE_STATE_##id,
#define RCACHE_METRICS_ESTIMATE(id, name, help)     RCACHE_ESTIMATE_##id,


typedef enum {
    RCACHE_COUNTER_FAMILIES(RCACHE_METRICS_FAMILY)
    RCACHE_FAMILY_N
} rcache_family_e;

typedef enum {
    RCACHE_COMMANDS(RCACHE_METRICS_COMMAND)
    RCACHE_COMMAND_N
} rcache_command_e;

typedef enum {
    RCACHE_RESULTS(RCACHE_METRICS_RESULT)
    RCACHE_RESULT_N
} rcache_result_e;


/* places in the counters of a label, and of a zone */

typedef enum {
    RCACHE_LABEL_COUNTERS(RCACHE_METRICS_COUNT)
    RCACHE_COUNT_NOT_HIT,
    RCACHE_COUNT_NOT_STORED = RCACHE_COUNT_NOT_HIT + RCACHE_REASON_N,
    RCACHE_COUNT_LABEL_N = RCACHE_COUNT_NOT_STORED + RCACHE_REASON_N
} rcache_label_counter_e;

typedef enum {
    RCACHE_ZONE_COUNTERS(RCACHE_METRICS_COUNT)
    RCACHE_COUNT_OPERATIONS,
    RCACHE_COUNT_ZONE_N = RCACHE_COUNT_OPERATIONS
                          + RCACHE_COMMAND_N * RCACHE_RESULT_N
} rcache_zone_counter_e;

typedef enum {
    RCACHE_LABEL_TIMES(RCACHE_METRICS_TIME)
    RCACHE_TIME_LABEL_N
} rcache_label_time_e;

/* those of the commands come behind it */

typedef enum {
    RCACHE_ZONE_TIMES(RCACHE_METRICS_TIME)
    RCACHE_TIME_REDIS,
    RCACHE_TIME_ZONE_N = RCACHE_TIME_REDIS + RCACHE_COMMAND_N
} rcache_zone_time_e;

typedef enum {
    RCACHE_GAUGES(RCACHE_METRICS_GAUGE)
    RCACHE_GAUGE_N
} rcache_gauge_e;

typedef enum {
    RCACHE_STATES(RCACHE_METRICS_STATE)
    RCACHE_STATE_N
} rcache_state_e;

typedef enum {
    RCACHE_ESTIMATES(RCACHE_METRICS_ESTIMATE)
    RCACHE_ESTIMATE_N
} rcache_estimate_e;


typedef struct {
    rcache_str_t     name;
    rcache_str_t     key;
    rcache_str_t     key2;
    rcache_str_t     help;
} rcache_family_t;

typedef struct {
    rcache_family_e  family;
    rcache_str_t     value;
    rcache_str_t     value2;
} rcache_counter_t;

/* a histogram or a gauge */

typedef struct {
    rcache_str_t     name;
    rcache_str_t     help;
} rcache_metric_t;


extern const rcache_family_t  rcache_families[RCACHE_FAMILY_N];
extern const rcache_metric_t  rcache_label_times[RCACHE_TIME_LABEL_N];
extern const rcache_metric_t  rcache_gauges[RCACHE_GAUGE_N];
extern const rcache_metric_t  rcache_states[RCACHE_STATE_N];
extern const rcache_metric_t  rcache_estimates[RCACHE_ESTIMATE_N];

extern const rcache_str_t     rcache_command_names[RCACHE_COMMAND_N];


/* what the counter n of a label, or of a zone, is */

void rcache_label_counter(rcache_counter_t *c, unsigned n);
void rcache_zone_counter(rcache_counter_t *c, unsigned n);

/* the histogram n of a zone; the command is empty if it is none of Redis */

void rcache_zone_time(rcache_metric_t *m, rcache_str_t *command, unsigned n);

/* it is counted in milliseconds, and shown in seconds */

int rcache_family_seconds(rcache_family_e family);


#endif /* _RCACHE_METRICS_H_INCLUDED_ */
