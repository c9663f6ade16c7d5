
/*
 * The reasons for which a request is not a hit, or its response is not
 * stored.  This list exists once: it makes the enum, the names that
 * $redis_proxy_cache_reason shows, and the check of docs/variables.md.
 */


#ifndef _RCACHE_REASON_H_INCLUDED_
#define _RCACHE_REASON_H_INCLUDED_


#include "rcache_core.h"


/* X(enum, name, what it means) */

#define RCACHE_REASONS(X)                                                     \
    X(NONE, "-", "no reason: a hit, or a response that was stored")           \
                                                                              \
    /* the request is not looked up */                                        \
    X(METHOD, "method", "the method is not in redis_proxy_cache_methods")     \
    X(BYPASS, "bypass", "redis_proxy_cache_bypass asked for it")              \
    X(ERROR_PAGE, "error_page", "an error page is being made")                \
    X(UPGRADE, "upgrade", "the request asks for another protocol")            \
    X(RANGE, "range", "over redis_proxy_cache_max_range_offset")              \
    X(KEY_EMPTY, "key_empty", "the key is empty")                             \
    X(KEY_TOO_LONG, "key_too_long", "the key is longer than 8192 bytes")      \
    X(USER, "user", "nobody knows who the user is")                           \
    X(UNKEYED, "unkeyed", "a header that redis_proxy_cache_unkeyed keeps out")\
    X(PREVIEW, "preview", "a cookie of redis_proxy_cache_profile's preview")  \
    X(BODY, "body", "a body that is not part of the key")                     \
    X(GRAPHQL, "graphql", "no GraphQL query, or one that cannot be judged")   \
    X(PATH, "path", "a path that may be taken for another")                   \
    X(ARGS, "args", "there are too many arguments")                           \
    X(DRY_RUN, "dry_run", "redis_proxy_cache_dry_run is on")                  \
                                                                              \
    /* the lookup found nothing that may be served */                         \
    X(ABSENT, "absent", "there is no entry")                                  \
    X(PURGED, "purged", "it was purged after its fetch began")                \
    X(INVALIDATED, "invalidated", "it was, and Redis does not know that yet") \
    X(BLIND, "purges_unknown", "it is not known what has been purged")        \
    X(EXPIRED, "expired", "the entry is no longer fresh")                     \
    X(CLIENT, "client", "the client's Cache-Control does not allow it")       \
    X(MIN_USES, "min_uses", "not asked for often enough yet")                 \
    X(AUTHORIZATION, "authorization", "the request has Authorization")        \
    X(CORRUPT, "entry_corrupt", "the entry is damaged")                       \
    X(VERSION, "entry_version", "the entry has another format version")       \
    X(SEGMENT, "segment", "a segment of the body is gone or damaged")         \
    X(UNSIGNED, "entry_unsigned", "the entry is not signed with our secret")  \
    X(OTHER_KEY, "entry_key", "the entry belongs to another key")             \
    X(WRONG_TYPE, "entry_type", "the Redis key does not hold a string")       \
    X(REDIS_DOWN, "redis_down", "there is no connection to Redis")            \
    X(REDIS_BUSY, "redis_busy", "too much is waiting for Redis")              \
    X(REDIS_TIMEOUT, "redis_timeout", "Redis did not answer in time")         \
    X(REDIS_ERROR, "redis_error", "Redis answered with an error")             \
    X(NO_MEMORY, "no_memory", "memory could not be allocated")                \
    X(LOCK_TIMEOUT, "lock_timeout",                                           \
      "waited for another's fetch longer than redis_proxy_cache_lock_timeout")\
    X(UNCACHEABLE, "uncacheable", "marked as uncacheable a moment ago")       \
    X(OFFLINE, "offline", "redis_proxy_cache_offline forbids to ask for it")  \
    X(FALLBACK, "fallback_limit",                                             \
      "Redis is away, and redis_proxy_cache_fallback_limit is reached")       \
                                                                              \
    /* the response is not stored */                                          \
    X(NO_CACHE, "no_cache", "redis_proxy_no_cache asked for it")              \
    X(NO_CACHE_BODY, "no_cache_body",                                         \
      "redis_proxy_no_cache_body found something, or could not tell")         \
    X(HEAD, "head", "a response to HEAD has no body to store")                \
    X(STATUS, "status", "the status code may not be stored")                  \
    X(NO_STORE, "no_store", "no-store, or no-cache without a validator")      \
    X(PRIVATE, "private", "Cache-Control: private")                           \
    X(ACCEL, "accel_expires", "X-Accel-Expires forbids it")                   \
    X(SET_COOKIE, "set_cookie", "the response has Set-Cookie")                \
    X(VARY, "vary", "Vary has *, Cookie, Authorization or too much")          \
    X(VARIANTS, "variants", "there are too many variants already")            \
    X(TAGS, "tags", "there are too many tags, or one is too long")            \
    X(NO_LIFETIME, "no_lifetime", "nothing says how long it is fresh")        \
    X(STALE, "stale", "the response is not fresh when it arrives")            \
    X(HEADERS, "headers", "the headers are too large or malformed")           \
    X(TRAILERS, "trailers", "the response has trailers")                      \
    X(TOO_LARGE, "too_large", "the body is over redis_proxy_cache_max_size")  \
    X(TOO_SMALL, "too_small", "the body is under redis_proxy_cache_min_size") \
    X(SLOW, "redis_slow", "too much of the body waits for Redis")             \
    X(TYPE, "type", "not one of redis_proxy_cache_types")                     \
    X(EXTENSION, "extension", "the path promises another type")               \
    X(COMPONENT, "component", "a component, and RSC is not in the key")        \
    X(ENCODED, "encoded", "Content-Encoding hides what is to be looked at")   \
    X(INVALID, "invalid",                                                     \
      "the body is not what redis_proxy_cache_validate says")                 \
    X(EMPTY, "empty", "an empty 200 without Content-Length")                  \
    X(TRUNCATED, "truncated", "the body did not end cleanly")                 \
    X(LOCK_LOST, "lock_lost",                                                 \
      "another response was stored, or it was invalidated, meanwhile")


#define RCACHE_REASON_ENUM(id, name, text)  RCACHE_REASON_##id,

typedef enum {
    RCACHE_REASONS(RCACHE_REASON_ENUM)
    RCACHE_REASON_N
} rcache_reason_e;


/* the name, in static storage */

const rcache_str_t *rcache_reason_name(rcache_reason_e reason);


#endif /* _RCACHE_REASON_H_INCLUDED_ */
