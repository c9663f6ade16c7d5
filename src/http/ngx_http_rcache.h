
/*
 * The HTTP room: the life of a request, from the lookup to the store.  It
 * knows nginx's requests and calls down to src/redis, src/shm and src/core.
 * A file is one step of that life.  This header has the types that all share:
 * what is configured, a zone, and the context of a request.  What a step does
 * for the others is in the header of its room:
 *
 *     _zone.h       a zone's Redis: what all commands go through
 *     _lookup.h     may it be looked up, under which key, what is there?
 *     _collapse.h   who makes the response, who waits for it?
 *     _fetch.h      what the content handler is asked for
 *     _response.h   what the response says, and what is sent of an entry
 *     _body.h       bodies longer than a segment, both ways
 *     _store.h      how it gets into Redis
 *     _count.h      what is counted of all that
 *     _conf.h       what is done while nginx.conf is read
 */


#ifndef _NGX_HTTP_RCACHE_H_INCLUDED_
#define _NGX_HTTP_RCACHE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "../core/rcache_entry.h"
#include "../core/rcache_reason.h"
#include "../core/rcache_request.h"
#include "../redis/ngx_http_rcache_redis.h"
#include "../shm/ngx_http_rcache_health.h"
#include "../shm/ngx_http_rcache_near.h"
#include "ngx_http_rcache_body_conf.h"
#include "ngx_http_rcache_check.h"
#include "ngx_http_rcache_explain.h"
#include "ngx_http_rcache_fallback.h"
#include "ngx_http_rcache_lint.h"
#include "ngx_http_rcache_metrics.h"
#include "ngx_http_rcache_purge.h"
#include "ngx_http_rcache_rules.h"
#include "ngx_http_rcache_trial.h"


/*
 * No body is longer than 1 GiB.  What is longer than a segment is not in the
 * entry, so the longest reply that can be an entry is shorter by far.
 */

#define NGX_HTTP_RCACHE_MAX_BODY   (1024 * 1024 * 1024)
#define NGX_HTTP_RCACHE_MAX_REPLY  (RCACHE_SEGMENT_MAX + 1024 * 1024)

/* they are counted in 64 bits, see ngx_http_rcache_vary.c */

#define NGX_HTTP_RCACHE_MAX_VARIANTS  48


/* a use of stale entries beside those of NGX_HTTP_UPSTREAM_FT_* */

#define NGX_HTTP_RCACHE_OFFLINE  0x20000000

/*
 * A bit of r->buffered that no filter of nginx uses: something of the body is
 * still to come, see hold.c, pieces.c and stream.c.
 */

#define NGX_HTTP_RCACHE_BUFFERED  0x08

/* bytes of a lock's token: 12 in hex, see ngx_http_rcache_flight_token() */

#define NGX_HTTP_RCACHE_TOKEN  24

/* milliseconds that the mark of an invalidation stays */

#define NGX_HTTP_RCACHE_VOID  60000


/* the values of $redis_proxy_cache_status, which are nginx's */

#define NGX_HTTP_RCACHE_STATUSES(X)                                           \
    X(NONE, "")                                                               \
    X(MISS, "MISS")                                                           \
    X(BYPASS, "BYPASS")                                                       \
    X(EXPIRED, "EXPIRED")                                                     \
    X(STALE, "STALE")                                                         \
    X(UPDATING, "UPDATING")                                                   \
    X(REVALIDATED, "REVALIDATED")                                             \
    X(HIT, "HIT")

#define NGX_HTTP_RCACHE_STATUS_ENUM(id, name)  NGX_HTTP_RCACHE_##id,

typedef enum {
    NGX_HTTP_RCACHE_STATUSES(NGX_HTTP_RCACHE_STATUS_ENUM)
    NGX_HTTP_RCACHE_STATUS_N
} ngx_http_rcache_status_e;


/* a key whose lookup is futile, see expect.c */

typedef struct {
    uint32_t                       print;    /* of its hash */
    uint32_t                       until;    /* of ngx_current_msec */
} ngx_http_rcache_futile_t;


typedef struct ngx_http_rcache_lost_s    ngx_http_rcache_lost_t;
typedef struct ngx_http_rcache_losses_s  ngx_http_rcache_losses_t;
typedef struct ngx_http_rcache_zone_s    ngx_http_rcache_zone_t;

struct ngx_http_rcache_zone_s {
    ngx_str_t                      name;
    ngx_str_t                      prefix;
    ngx_http_rcache_where_t        where;    /* it is declared */
    ngx_shm_zone_t                *shm;
    ngx_http_rcache_health_t      *health;
    ngx_http_rcache_redis_conf_t   conf;
    ngx_msec_t                     refused_at;
    ngx_int_t                      tls;      /* of whom sentinels name */
    ngx_array_t                    urls;     /* ngx_str_t, while configured */
    ngx_http_core_loc_conf_t      *clcf;     /* of http{}, for its resolver */
    rcache_secrets_t              *secrets;  /* NULL: nothing is signed */
    ngx_msec_t                     inactive; /* 0: no such expiry */
    ngx_msec_t                     keep;     /* past the lifetime, to be
                                                revalidated */
    ngx_msec_t                     sample;   /* its memory; 0: it is not */
    ngx_uint_t                     purge;    /* unsigned  purge:1;
                                                the log is followed */
    ngx_http_rcache_zone_labels_t  room;
    ngx_shm_zone_t                *near_shm; /* NULL: no near cache */
    ngx_uint_t                     era;      /* of what is in it */

    /* of this worker */
    ngx_http_rcache_near_t        *near;     /* NULL: none */
    ngx_http_rcache_tracking_t     tracking;
    ngx_http_rcache_stats_t       *stats;
    ngx_uint_t                    *labels;   /* their numbers in *stats */
    ngx_http_rcache_redis_t       *redis;
    ngx_http_rcache_follow_t      *follow;   /* NULL: it is not */
    ngx_http_rcache_flights_t     *flights;
    ngx_http_rcache_fallback_t     fallback;
    ngx_http_rcache_trial_t        trial;
    ngx_rbtree_t                   fetches;  /* ngx_http_rcache_flight_t */
    ngx_rbtree_node_t              sentinel;
    ngx_queue_t                    behind;   /* those that wait for another
                                                worker's */
    struct ngx_http_rcache_ctx_s **solos;    /* who fetches, see solo.c */
    ngx_queue_t                    owed;     /* locks, see unlock.c */
    ngx_uint_t                     nowed;
    ngx_event_t                    owing;
    time_t                         reported; /* the last damaged entry */
    uint16_t                      *lately;   /* see expect.c */
    ngx_uint_t                     absent;
    ngx_http_rcache_futile_t      *futile;
    uint32_t                       tokens;   /* drawn so far */
    u_char                         token[16]; /* what they begin with, hex */
    size_t                         in_flight; /* bytes of segments that Redis
                                                 has not answered for */
    ngx_queue_t                    uploads;  /* who sends them, the oldest
                                                first */
    ngx_http_rcache_losses_t      *losses;
};


typedef struct {
    ngx_array_t                    zones;    /* ngx_http_rcache_zone_t * */
    ngx_http_rcache_wake_t        *wake;     /* NULL: no pipes */
    ngx_uint_t                     purge;    /* unsigned  purge:1;
                                                in every zone */
    ngx_http_rcache_lint_t         lint;
    ngx_array_t                    labels;   /* ngx_str_t */
    ngx_str_t                      policy;   /* of the dashboard */
    rcache_secrets_t               secrets;
    ngx_int_t                      trace;    /* index of a variable, or
                                                NGX_ERROR */

    /* of this worker: what nginx logs with */
    ngx_http_log_handler_pt        log_handler;
} ngx_http_rcache_main_conf_t;


typedef struct {
    ngx_uint_t                     status;   /* 0: any */
    time_t                         valid;    /* seconds */
} ngx_http_rcache_valid_t;


typedef struct ngx_http_rcache_loc_conf_s  ngx_http_rcache_loc_conf_t;

struct ngx_http_rcache_loc_conf_s {
    ngx_flag_t                     enable;
    ngx_http_rcache_check_conf_t   check;
    ngx_http_rcache_lint_conf_t    lint;
    ngx_str_t                      name;     /* as written in the directive */
    ngx_http_rcache_zone_t        *zone;     /* NULL if the name is dynamic */
    ngx_http_complex_value_t      *zone_value;
    ngx_http_complex_value_t      *key;      /* NULL for the default */
    ngx_array_t                   *valid;    /* ngx_http_rcache_valid_t */
    ngx_array_t                   *bypass;
    ngx_array_t                   *no_cache;
    ngx_array_t                   *targets;  /* ngx_str_t, RFC 9213 */
    ngx_uint_t                     methods;
    ngx_uint_t                     ignore;   /* RCACHE_IGNORE_* */
    ngx_uint_t                     min_uses;
    ngx_uint_t                     max_variants;
    size_t                         max_size;
    ngx_http_rcache_body_conf_t    body;
    off_t                          max_range_offset;
    ngx_msec_t                     budget;
    ngx_flag_t                     revalidate;
    ngx_flag_t                     convert_head;
    ngx_flag_t                     heuristic;
    ngx_flag_t                     client_control;
    ngx_array_t                   *offline;
    ngx_uint_t                     use_stale; /* NGX_HTTP_UPSTREAM_FT_* */
    ngx_uint_t                     jitter;   /* tenths of a percent */
    ngx_uint_t                     early_refresh; /* beta in thousandths */
    ngx_msec_t                     near;     /* a copy is used; 0: none is */
    ngx_msec_t                     lock_timeout;
    ngx_msec_t                     lock_age;
    ngx_msec_t                     hit_for_miss;
    ngx_msec_t                     refresh_pause;
    ngx_flag_t                     lock;
    ngx_flag_t                     background_update;
    ngx_flag_t                     slice;    /* $slice_range is in the key */
    ngx_http_handler_pt            handler;  /* what slices go around */
    ngx_str_t                      identity; /* in Cache-Status; empty: off */
    ngx_str_t                      via;      /* value of Via; empty: off */
    ngx_http_rcache_metrics_conf_t metrics;
    ngx_http_rcache_rules_conf_t   rules;
    ngx_http_rcache_lines_t        lines;
    ngx_http_rcache_purge_conf_t   purge;
    ngx_http_rcache_fallback_conf_t  fallback;
};


typedef enum {
    NGX_HTTP_RCACHE_PASS = 0,      /* nothing to do with this request */
    NGX_HTTP_RCACHE_BODY,          /* waits for the body of the request */
    NGX_HTTP_RCACHE_LOOKUP,        /* waits for Redis */
    NGX_HTTP_RCACHE_PROBE,         /* so, for the segments of its entry */
    NGX_HTTP_RCACHE_WAIT,          /* waits for its turn, see flight.c */
    NGX_HTTP_RCACHE_SERVE,         /* a hit: the entry is in ctx->entry */
    NGX_HTTP_RCACHE_REFUSE,        /* it is not to be fetched */
    NGX_HTTP_RCACHE_UNSAFE,        /* a method that invalidates */
    NGX_HTTP_RCACHE_FILL,          /* the content handler makes a response */
    NGX_HTTP_RCACHE_CAPTURE,       /* its body is being captured */
    NGX_HTTP_RCACHE_FRESHENED,     /* it said 304 to us: the body is ours */
    NGX_HTTP_RCACHE_INSTEAD,       /* it failed: the stale response is sent */
    NGX_HTTP_RCACHE_STREAM,        /* the segments of a stored body are sent */
    NGX_HTTP_RCACHE_DRY,           /* the response is only looked at */
    NGX_HTTP_RCACHE_AUDIT,         /* it is held against what was served */
    NGX_HTTP_RCACHE_RESUME,        /* asks for the rest of it, for another */
    NGX_HTTP_RCACHE_HOLD           /* all but the end of it has been sent */
} ngx_http_rcache_state_e;


typedef struct ngx_http_rcache_capture_s  ngx_http_rcache_capture_t;
typedef struct ngx_http_rcache_flight_s   ngx_http_rcache_flight_t;
typedef struct ngx_http_rcache_write_s    ngx_http_rcache_write_t;
typedef struct ngx_http_rcache_upload_s   ngx_http_rcache_upload_t;
typedef struct ngx_http_rcache_pieces_s   ngx_http_rcache_pieces_t;
typedef struct ngx_http_rcache_stream_s   ngx_http_rcache_stream_t;
typedef struct ngx_http_rcache_resume_s   ngx_http_rcache_resume_t;
typedef struct ngx_http_rcache_ctx_s      ngx_http_rcache_ctx_t;


struct ngx_http_rcache_ctx_s {
    ngx_http_request_t            *request;
    ngx_http_rcache_zone_t        *zone;

    ngx_http_rcache_state_e        state;
    ngx_http_rcache_status_e       status;
    rcache_reason_e                reason;

    ngx_str_t                      base;     /* what the key begins with */
    ngx_str_t                      key;
    ngx_str_t                      redis_key;
    uint64_t                       hash;     /* see ngx_http_rcache_hash() */
    ngx_http_rcache_rules_ctx_t    rules;
    ngx_http_rcache_fallback_ctx_t  *fallback;
    ngx_uint_t                     refusal;  /* status; 0: 504 */

    uint64_t                       position; /* see purge.h */
    ngx_uint_t                     caught;   /* 0: it was not asked for */

    /* what the responses under this key vary with, if they do */
    rcache_entry_t                *marker;
    ngx_str_t                      variant;
    ngx_str_t                      variant_key;

    rcache_request_t              *wants;    /* NULL: the client has no say */

    /* the lookup; it keeps the memory that the entry is in */
    ngx_http_rcache_op_t          *op;
    ngx_http_rcache_near_fill_t   *fill;      /* it is to be copied, or NULL */
    ngx_event_t                    timer;
    ngx_event_handler_pt           late_handler; /* NULL: there is no hurry */
    ngx_msec_t                     due;       /* when it is called */
    ngx_msec_t                     began;     /* ngx_current_msec: the lookup,
                                                 then the fetch */
    ngx_msec_t                     waited;    /* milliseconds of the budget */
    rcache_entry_t                 entry;

    ngx_http_rcache_capture_t     *capture;
    ngx_http_rcache_stream_t      *stream;
    ngx_http_rcache_resume_t      *resume;    /* NULL: nothing is lost */
    ngx_http_rcache_pieces_t      *pieces;   /* NULL: it comes in short ones */
    ngx_http_rcache_check_t       *check;    /* NULL: any body will do */
    ngx_http_rcache_dry_t         *dry;      /* NULL: it is no dry run */
    ngx_http_rcache_audit_t       *audit;    /* NULL: nor an audit */

    ngx_http_rcache_write_t       *write;    /* under way */
    ngx_chain_t                   *held;

    /* the fetch that it leads or waits for */
    ngx_http_rcache_flight_t      *flight;
    ngx_queue_t                    wait;      /* among those who wait */
    ngx_uint_t                     rounds;    /* lookups after the first */
    ngx_msec_t                     since;     /* when it began to wait, or to
                                                 fetch as the only one */
    ngx_uint_t                     solo_seq;  /* of its place; 0: none */
    ngx_str_t                      lock_key;
    uint64_t                       lock_hash;
    u_char                        *locked;    /* the key that it is of */
    ngx_str_t                      token;     /* of the lock, see script.c */
    u_char                         token_data[NGX_HTTP_RCACHE_TOKEN];
    ngx_uint_t                     stale_use; /* NGX_HTTP_UPSTREAM_FT_*: when
                                                 the stale entry may be sent */
    ngx_uint_t                     failure;   /* NGX_HTTP_UPSTREAM_FT_* */
    ngx_http_handler_pt            handler;   /* the content handler */
    ngx_http_event_handler_pt      reading;   /* notices a client that goes */
    void                         (*finalize)(ngx_http_request_t *r,
                                       ngx_int_t rc);

    /*
     * What the lookup found, as the scripts compare it: bytes 8 to 15 of the
     * entry, and 84 to 87 of what is under redis_key; empty: nothing.
     */
    ngx_str_t                      handed;    /* an entry, by a flight */
    ngx_str_t                      seen;
    ngx_str_t                      seen_generation;
    size_t                         front;     /* of its body: the offset */
    u_char                         seen_data[12];

    /* what is counted; times in microseconds, see count.c */
    ngx_http_rcache_stats_label_t *counts;
    uint64_t                       start;
    uint64_t                       asked;     /* Redis, the last time */
    uint64_t                       redis_time; /* of all lookups */
    uint64_t                       fetching;  /* when that began */
    uint64_t                       first;     /* byte of the response */
    rcache_reason_e                missed;    /* why it was no hit */

    /* of what is being stored, for redis_proxy_cache_explain */
    int64_t                        lifetime;
    uint32_t                       lifetime_of; /* rcache_lifetime_e */

    /* the client's header lines while the conditional ones are hidden */
    ngx_list_t                     headers_in;

    void                         **loc_conf;  /* of an unsafe request */

    unsigned                       keyless:1; /* there is no key yet */
    unsigned                       masked:1;  /* headers_in is set */
    unsigned                       head:1;    /* HEAD, shown as GET */
    unsigned                       stale:1;   /* entry is there, but has to be
                                                 validated */
    unsigned                       kept:1;    /* entry is there, for a HEAD to
                                                 be held against */
    unsigned                       forced:1;  /* the client wants it so */
    unsigned                       post:1;    /* its answer is a GET's too */
    unsigned                       impatient:1; /* Redis has failed it, it
                                                 waits no more */
    unsigned                       rare:1;    /* not asked for often enough */
    unsigned                       far:1;     /* a range that is not worth
                                                 fetching all before it */
    unsigned                       no_store:1;
    unsigned                       stored:1;
    unsigned                       delayed:1; /* so is its header */
    unsigned                       announced:1; /* by Cache-Status */
    unsigned                       background:1; /* a detached refresh */
    unsigned                       leader:1;  /* of ctx->flight */
    unsigned                       solo:1;    /* it fetches without one */
    unsigned                       try:1;     /* leads or goes, never waits */
    unsigned                       alone:1;   /* it does not wait again */
    unsigned                       waits:1;   /* ctx->since is set */
    unsigned                       late:1;    /* it has waited too long */
    unsigned                       collapsed:1; /* it got another's response */
    unsigned                       offline:1;
    unsigned                       master:1;  /* a replica may not know yet */
    unsigned                       unknown:1; /* not asked for lately */
    unsigned                       nothing:1; /* is under its key */
    unsigned                       near:1;    /* entry is from a copy */
    unsigned                       instead:1; /* of a failure, what is stale */
    unsigned                       refused:1; /* is counted as not stored */
    unsigned                       discard:1; /* the client has its answer,
                                                 the body is only captured */
};


extern ngx_module_t  ngx_http_redis_proxy_cache_module;
extern ngx_module_t  ngx_http_redis_proxy_cache_filter_module;


#endif /* _NGX_HTTP_RCACHE_H_INCLUDED_ */
