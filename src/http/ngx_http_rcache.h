
/*
 * The HTTP room: the life of a request, from the lookup to the store.  It
 * knows nginx's requests and calls down to src/redis, src/shm and src/core.
 * A file is one step of that life; this header is what they share.
 */


#ifndef _NGX_HTTP_RCACHE_H_INCLUDED_
#define _NGX_HTTP_RCACHE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "../core/rcache_conditional.h"
#include "../core/rcache_date.h"
#include "../core/rcache_entry.h"
#include "../core/rcache_head.h"
#include "../core/rcache_key.h"
#include "../core/rcache_range.h"
#include "../core/rcache_reason.h"
#include "../core/rcache_request.h"
#include "../core/rcache_response.h"
#include "../core/rcache_stale.h"
#include "../core/rcache_update.h"
#include "../core/rcache_uri.h"
#include "../core/rcache_vary.h"
#include "../redis/ngx_http_rcache_redis.h"
#include "ngx_http_rcache_check.h"
#include "ngx_http_rcache_lint.h"
#include "../shm/ngx_http_rcache_health.h"
#include "../shm/ngx_http_rcache_near.h"
#include "ngx_http_rcache_body_conf.h"
#include "ngx_http_rcache_explain.h"
#include "ngx_http_rcache_metrics.h"

#include "ngx_http_rcache_purge.h"
#include "ngx_http_rcache_fallback.h"
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


typedef struct {
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
} ngx_http_rcache_zone_t;


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


/* whose turn it is to fetch */

typedef enum {
    NGX_HTTP_RCACHE_TURN_LEAD = 0, /* this request's */
    NGX_HTTP_RCACHE_TURN_WAIT,     /* another's: it will be told */
    NGX_HTTP_RCACHE_TURN_BUSY,     /* another's, and it does not wait */
    NGX_HTTP_RCACHE_TURN_FOUND,    /* nobody's: here is the entry */
    NGX_HTTP_RCACHE_TURN_LOOK,     /* nobody's: it is in Redis */
    NGX_HTTP_RCACHE_TURN_PASS,     /* everybody's: it cannot be cached */
    NGX_HTTP_RCACHE_TURN_PAUSE     /* nobody's: it failed a moment ago */
} ngx_http_rcache_turn_e;


typedef struct ngx_http_rcache_capture_s  ngx_http_rcache_capture_t;
typedef struct ngx_http_rcache_flight_s   ngx_http_rcache_flight_t;
typedef struct ngx_http_rcache_upload_s   ngx_http_rcache_upload_t;
typedef struct ngx_http_rcache_pieces_s   ngx_http_rcache_pieces_t;
typedef struct ngx_http_rcache_stream_s   ngx_http_rcache_stream_t;
typedef struct ngx_http_rcache_resume_s   ngx_http_rcache_resume_t;
typedef struct ngx_http_rcache_ctx_s      ngx_http_rcache_ctx_t;


/* commands that change something; in the pool of the last operation */

typedef struct ngx_http_rcache_write_s  ngx_http_rcache_write_t;

struct ngx_http_rcache_write_s {
    ngx_http_rcache_zone_t        *zone;
    ngx_http_rcache_ctx_t         *ctx;      /* who waits; NULL: nobody */
    ngx_http_rcache_write_t       *next;     /* that it waits for as well */
    ngx_http_rcache_flight_t      *flight;   /* that it completes, or NULL */
    ngx_chain_t                   *payload;  /* for those who wait there */
    size_t                         size;
    ngx_http_rcache_op_t          *stage;    /* that the payload is in; NULL:
                                                in that of this command */
    ngx_http_rcache_upload_t      *upload;   /* of the entry, or NULL */
    ngx_str_t                      base;     /* of a replaced one's segments */

    ngx_http_rcache_stats_label_t *counts;   /* NULL: it is not a store */
    uint64_t                       hash;     /* of the key */
    int64_t                        expected; /* milliseconds */
    ngx_uint_t                     renewal;

    uint64_t                       near[2];  /* hashes of keys that it writes */
    ngx_uint_t                     nnear;

    unsigned                       answered:1; /* the stage is */
    unsigned                       staged:1; /* and it has the payload */
};


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

    ngx_http_rcache_write_t       *write;    /* those under way */
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


/*
 * ngx_http_rcache_conf.c: setters of directives, and what they share.
 * bad_value logs and returns NGX_CONF_ERROR; parameter is true if value is
 * "name" and sets the rest of it; is_token, RFC 9110, 5.6.2.
 */

char *ngx_http_rcache_bad_value(ngx_conf_t *cf, ngx_str_t *value,
    char *right);
ngx_uint_t ngx_http_rcache_parameter(ngx_str_t *value, char *name,
    ngx_str_t *rest);
ngx_uint_t ngx_http_rcache_is_token(ngx_str_t *value);
char *ngx_http_rcache_parameter_msec(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *rest, ngx_msec_t *to);

/* ngx_http_rcache_fallback.c */

void ngx_http_rcache_fallback_init(ngx_http_rcache_zone_t *zone);

/*
 * Before a fetch.  NGX_OK: go on; NGX_AGAIN: the request waits, and will be
 * resumed; NGX_DECLINED: it is refused, ctx->state says so.
 */
ngx_int_t ngx_http_rcache_fallback(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/* the same for who cannot wait: NGX_OK, or NGX_DECLINED */

ngx_int_t ngx_http_rcache_fallback_try(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);


/* ngx_http_rcache_conf_server.c */

char *ngx_http_rcache_server_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *url);
char *ngx_http_rcache_cluster_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_sentinel_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_read_from_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_nat_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_master_tls_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_server_complete(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone);


/* ngx_http_rcache_conf_tls.c */

void ngx_http_rcache_tls_init_conf(ngx_http_rcache_tls_conf_t *tls);
char *ngx_http_rcache_tls_parameter(ngx_conf_t *cf,
    ngx_http_rcache_tls_conf_t *tls, ngx_str_t *value);
char *ngx_http_rcache_tls_complete(ngx_conf_t *cf,
    ngx_http_rcache_tls_conf_t *tls, ngx_str_t *zone);


char *ngx_http_rcache_set_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_cache(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_rcache_set_valid(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_methods(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_size(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_msec(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_off(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_number(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_variants(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_ignore(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_targets(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_identity(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_via(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * ngx_http_rcache_conf_stale.c: those of collapsing and of stale serving.
 * merge_use_stale leaves the NGX_HTTP_UPSTREAM_FT_* bits that are on, _NOLIVE
 * next to _ERROR, and 0 for "off".
 */

char *ngx_http_rcache_set_msec_or_0(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_use_stale(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
void ngx_http_rcache_merge_use_stale(ngx_http_rcache_loc_conf_t *prev,
    ngx_http_rcache_loc_conf_t *conf);
char *ngx_http_rcache_set_jitter(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_early_refresh(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* ngx_http_rcache_zone.c */

ngx_http_rcache_zone_t *ngx_http_rcache_zone_find(
    ngx_http_rcache_main_conf_t *rmcf, ngx_str_t *name);
ngx_int_t ngx_http_rcache_zone_init_process(ngx_cycle_t *cycle,
    ngx_http_rcache_main_conf_t *rmcf);

/*
 * True if the reply is one that the lane's commands have.  What it says of
 * the server is logged when it changes, once for the instance.
 */

ngx_uint_t ngx_http_rcache_zone_accepts(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_lane_e lane, ngx_http_rcache_reply_t *reply);

/* reports a damaged entry, at most once a second and worker */

void ngx_http_rcache_zone_damaged(ngx_http_rcache_zone_t *zone,
    ngx_str_t *redis_key, rcache_reason_e reason);

/*
 * Submits an operation unless another worker has just found Redis gone.
 * RCACHE_REASON_NONE if it was accepted; otherwise it has been destroyed.
 */

rcache_reason_e ngx_http_rcache_zone_submit(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op);

/* the same, but what was not accepted is still the caller's */

rcache_reason_e ngx_http_rcache_zone_offer(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op);

rcache_reason_e ngx_http_rcache_op_reason(ngx_http_rcache_op_t *op);

/* ngx_http_rcache_lookup.c: PRECONTENT phase handler */

ngx_int_t ngx_http_rcache_lookup_handler(ngx_http_request_t *r);

ngx_http_rcache_ctx_t *ngx_http_rcache_ctx_create(ngx_http_request_t *r);

/* of a location; NULL if a variable says "off", or names none */

ngx_http_rcache_zone_t *ngx_http_rcache_get_zone(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf);

/*
 * In place of the content handler of a location with slices, which calls it:
 * all slices but the first are clones of the request, which begin in the
 * content phase.
 */

ngx_int_t ngx_http_rcache_slice_handler(ngx_http_request_t *r);

/*
 * An internal redirect has taken the request, and its ctx, away from a fill
 * whose response never came: what the content handler was shown is not for
 * the next one.
 */

void ngx_http_rcache_redirected(ngx_http_request_t *r);

/* the ctx of the request, also if a redirect has taken it away; or NULL */

ngx_http_rcache_ctx_t *ngx_http_rcache_find_ctx(ngx_http_request_t *r);

/*
 * Looks ctx->redis_key up; RCACHE_REASON_NONE: the request has to wait.
 * again: the same another time, what the first one brought is forgotten.
 */

rcache_reason_e ngx_http_rcache_lookup(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
rcache_reason_e ngx_http_rcache_lookup_again(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_forget(ngx_http_rcache_ctx_t *ctx);

/* waits, with a timer; notices a client that goes away */

void ngx_http_rcache_park(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_state_e state, ngx_event_handler_pt handler,
    ngx_msec_t timeout);

/*
 * handler is called in so many milliseconds, with &ctx->timer, unless
 * ctx->late_handler is NULL by then, or another one.
 */

void ngx_http_rcache_late(ngx_http_rcache_ctx_t *ctx,
    ngx_event_handler_pt handler, ngx_msec_t timeout);

/* the same for a lookup that has been sent */

void ngx_http_rcache_park_lookup(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/* acts on what ngx_http_rcache_decide() says: the phases go on */

void ngx_http_rcache_resume(ngx_http_rcache_ctx_t *ctx, ngx_int_t rc);

/* the content handler is to make the response: NGX_DECLINED */

ngx_int_t ngx_http_rcache_fill(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/*
 * May a replica answer?  Not who has been told that something is there, and
 * not where the purges are to be read in front of the entry.
 */

#define ngx_http_rcache_from_replica(ctx)                                     \
    ((ctx)->zone->conf.read_from && !(ctx)->master && (ctx)->caught == 0)

/* RCACHE_REASON_NONE: asked for the key, ctx->op waits for the reply */

rcache_reason_e ngx_http_rcache_get(ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *key);

/*
 * ngx_http_rcache_policy.c.  NGX_OK: look it up under ctx->key.  NGX_DONE: do
 * not, but what comes may be stored.  NGX_DECLINED: let it pass.  ctx->reason
 * says why it is not NGX_OK.
 */

ngx_int_t ngx_http_rcache_policy(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_judge.c.  RCACHE_REASON_NONE: ctx->entry may be served, its
 * head is in place; or, if ctx->op is set, wait for the next reply.
 */

rcache_reason_e ngx_http_rcache_judge(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_reply_t *reply);

/* the same of a copy; if it is a marker's, ctx->marker is set, and no more */

rcache_reason_e ngx_http_rcache_judge_copy(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_str_t *value);

/* can the entry be validated? */

ngx_uint_t ngx_http_rcache_has_validator(rcache_entry_t *entry);

/* redis_proxy_cache_min_uses: RCACHE_REASON_ABSENT or _MIN_USES */

rcache_reason_e ngx_http_rcache_rare(ngx_http_rcache_loc_conf_t *rlcf,
    ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_key.c: sets ctx->key, from the URI or the expression, which
 * is ctx->base, and the parts of ctx->rules; NGX_OK, NGX_ERROR.  late_key: it
 * is needed after all; ctx->key is empty if memory is short.  key_reason: why
 * it cannot be used, or RCACHE_REASON_NONE.  redis_key encodes one.
 */

ngx_int_t ngx_http_rcache_make_key(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_http_rcache_ctx_t *ctx);
rcache_reason_e ngx_http_rcache_key_reason(ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_late_key(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_redis_key(ngx_http_request_t *r,
    ngx_http_rcache_zone_t *zone, ngx_str_t *key, ngx_str_t *redis_key);

/*
 * ngx_http_rcache_detached.c: a request like r that has no client: a main
 * request of its own, on a connection without a socket, in the same location.
 * It refers to nothing of r: strings, header lines and variables that are
 * evaluated already are copied.
 *
 * r has the content handler, method and header lines that its client's
 * request has, and ctx an entry.  What is created has a ctx with what a
 * refresh needs of *ctx: zone, keys, marker, variant, seen, stale and the
 * entry without its body; it is marked background.  Its state is to be set.
 *
 * run: it begins with our handler of the PRECONTENT phase, at the end of this
 * turn.  close: ends it, with its ctx; not to be called from inside its own
 * handlers.  NULL if memory or connections are short.
 *
 * It sends nothing, asks no error_page and follows no internal redirect; it
 * is logged only where log_subrequest is on, as nginx's own are.
 */

ngx_http_request_t *ngx_http_rcache_detached_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_detached_run(ngx_http_request_t *r);
void ngx_http_rcache_detached_close(ngx_http_request_t *r);

/* it, or a subrequest of it */

ngx_uint_t ngx_http_rcache_is_detached(ngx_http_request_t *r);

ngx_int_t ngx_http_rcache_detached_init(ngx_conf_t *cf);

/* ngx_http_rcache_detached_copy.c: copies of r, ctx, a string; NGX_ERROR */

ngx_int_t ngx_http_rcache_detached_copy(ngx_http_request_t *dr,
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_copy_str(ngx_pool_t *pool, ngx_str_t *to,
    ngx_str_t *from);

/* ngx_http_rcache_serve.c: content handler of a hit; a body to be sent */

ngx_int_t ngx_http_rcache_serve_handler(ngx_http_request_t *r);
ngx_buf_t *ngx_http_rcache_body_buf(ngx_http_request_t *r,
    rcache_str_t *body);

/*
 * ngx_http_rcache_mask.c: shows the content handler another request than the
 * client's: without Range and If-*, with our own conditions if there is an
 * entry to be validated, GET for HEAD; and puts the client's back.
 * mask_range: to a request of our own, with these as its Range and If-Range.
 */

ngx_int_t ngx_http_rcache_mask(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_mask_range(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_str_t *range, rcache_str_t *if_range);
void ngx_http_rcache_unmask(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_conditional.c: answers If-* and decides on Range for a
 * response that is in r->headers_out.  NGX_OK: go on, a 304 maybe;
 * NGX_DECLINED: it has to be a 412.
 */

ngx_int_t ngx_http_rcache_conditional(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_head.c: r->headers_out to a message head and back.
 *
 * bound: bytes, write needs no more.  write: where it ended; NULL if the head
 * is longer than RCACHE_HEAD_MAX or a header cannot be stored.  restore: the
 * strings of r->headers_out will point into the entry; NGX_DECLINED if the head
 * is malformed, r->headers_out is then to be cleaned; NGX_ERROR.
 */

size_t ngx_http_rcache_head_bound(ngx_http_request_t *r);
u_char *ngx_http_rcache_head_write(ngx_http_request_t *r,
    rcache_response_t *resp, u_char *p);
ngx_int_t ngx_http_rcache_head_restore(ngx_http_request_t *r,
    rcache_entry_t *entry);

/*
 * ngx_http_rcache_compress.c: the part of it for a body that is kept
 * compressed.  entry->body is the decoded one, unless the client accepts it as
 * it is: then the header says so.  As restore; NGX_DECLINED: it is damaged.
 */

ngx_int_t ngx_http_rcache_coded(ngx_http_request_t *r,
    rcache_entry_t *entry);

/* the sum and the length of the body as it came; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_plain_sum(rcache_entry_t *entry, uint64_t *sum,
    uint64_t *length);

/* ngx_http_rcache_filter.c */

ngx_int_t ngx_http_rcache_filter_init(ngx_conf_t *cf);

/* what comes behind our filter */

ngx_int_t ngx_http_rcache_output(ngx_http_request_t *r, ngx_chain_t *in);

/*
 * ngx_http_rcache_response.c: what a response says.  fields gives the lines
 * of a list as an array, with room for two more, NULL if memory is short.
 */

void ngx_http_rcache_response_init(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_response_t *resp, ngx_uint_t status);
void ngx_http_rcache_response_collect(ngx_http_request_t *r,
    rcache_response_t *resp);
int64_t ngx_http_rcache_response_valid(ngx_http_request_t *r,
    ngx_uint_t status);
int64_t ngx_http_rcache_response_delay(ngx_http_request_t *r);
rcache_field_t *ngx_http_rcache_fields(ngx_pool_t *pool, ngx_list_t *list,
    ngx_uint_t *n);

/* what is written for the zone is signed, if it has a secret */

void ngx_http_rcache_sign(ngx_http_rcache_zone_t *zone,
    rcache_entry_t *entry);

/*
 * The entry's part of what was found out; redis_proxy_cache_jitter is in its
 * lifetime.
 */

void ngx_http_rcache_entry_init(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_entry_t *entry,
    rcache_response_t *resp, rcache_freshness_t *fresh, int64_t delay);

/* how long Redis has to keep that entry, in milliseconds from creation */

int64_t ngx_http_rcache_ttl(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_response_t *resp, rcache_entry_t *entry);

/*
 * ngx_http_rcache_vary.c: sets ctx->variant and ctx->variant_key for the
 * names that responses vary with; NGX_OK, NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_variant(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_str_t *names);

/*
 * A marker remembers the variants stored under it as bits of 64, one a
 * variant, in place of age and fetch.  seen adds ctx->variant to *marker;
 * many is true if it would be a new one over the limit.
 */

void ngx_http_rcache_variant_seen(ngx_http_rcache_ctx_t *ctx,
    rcache_entry_t *marker);
ngx_uint_t ngx_http_rcache_variants_many(ngx_http_rcache_ctx_t *ctx,
    ngx_uint_t max);

/*
 * ngx_http_rcache_script.c: commands on a lock, see there; NGX_OK, NGX_ERROR.
 * Times are in milliseconds.
 */

typedef struct {
    ngx_str_t                      key;
    ngx_str_t                      lock;
    ngx_str_t                      token;
    ngx_str_t                      seen;
    ngx_chain_t                   *payload;
    size_t                         size;     /* of the payload */
    size_t                         offset;   /* what is kept of the entry */
    int64_t                        ttl;
    ngx_str_t                      stage;    /* where the payload is already;
                                                empty: it goes along */

    ngx_str_t                      base;     /* of the keys of segments */
    rcache_segments_t             *segments; /* NULL: none */

    ngx_str_t                      marker_key;
    ngx_str_t                      marker;   /* empty: no variant */
    ngx_str_t                      seen_generation;
    int64_t                        marker_ttl;
} ngx_http_rcache_store_t;

ngx_int_t ngx_http_rcache_acquire_command(ngx_http_rcache_op_t *op,
    ngx_str_t *key, ngx_str_t *lock, ngx_str_t *token, ngx_msec_t age,
    ngx_str_t *seen);
ngx_int_t ngx_http_rcache_take_command(ngx_http_rcache_op_t *op,
    ngx_str_t *lock, ngx_str_t *token, ngx_msec_t age);
ngx_int_t ngx_http_rcache_renew_command(ngx_http_rcache_op_t *op,
    ngx_str_t *lock, ngx_str_t *token, ngx_msec_t age);
ngx_int_t ngx_http_rcache_leave_command(ngx_http_rcache_op_t *op,
    ngx_str_t *lock, ngx_str_t *token, u_char mark, ngx_msec_t keep);
ngx_int_t ngx_http_rcache_store_command(ngx_http_rcache_op_t *op,
    ngx_http_rcache_store_t *store);
ngx_int_t ngx_http_rcache_stage_command(ngx_http_rcache_op_t *op,
    ngx_http_rcache_store_t *store);
ngx_int_t ngx_http_rcache_void_command(ngx_http_rcache_op_t *op,
    ngx_str_t *key, ngx_str_t *lock, ngx_msec_t time);

/*
 * ngx_http_rcache_flight.c: one fetch for all who ask.
 *
 * open: who has the turn for ctx->lock_key, as far as this instance knows.
 * LEAD: nobody yet, *flight is a new one (NULL if memory is short) that is to
 * be boarded or cancelled; WAIT: *flight may be boarded.  FOUND: the entry is
 * in ctx->handed.
 *
 * board: LEAD or WAIT; ngx_http_rcache_told() comes later, never from inside.
 * join is both.
 */

ngx_int_t ngx_http_rcache_lock_key(ngx_http_rcache_ctx_t *ctx);
ngx_http_rcache_turn_e ngx_http_rcache_flight_open(
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_flight_t **flight);
ngx_http_rcache_turn_e ngx_http_rcache_flight_board(
    ngx_http_rcache_flight_t *flight, ngx_http_rcache_ctx_t *ctx);
ngx_http_rcache_turn_e ngx_http_rcache_flight_join(
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_flight_cancel(ngx_http_rcache_flight_t *flight);

/* asks for the lock before anybody is known to need it */

void ngx_http_rcache_flight_expect(ngx_http_rcache_ctx_t *ctx);

/* the request goes: it waits no more, or leads no more */

void ngx_http_rcache_flight_quit(ngx_http_rcache_ctx_t *ctx);

/* more of the response has come to the one who leads */

void ngx_http_rcache_flight_moved(ngx_http_rcache_ctx_t *ctx);

/* there are others in this instance who want what this one fetches */

ngx_uint_t ngx_http_rcache_flight_awaited(ngx_http_rcache_ctx_t *ctx);

/* it will not be stored, for Redis is gone: all are to find that out */

void ngx_http_rcache_flight_lost(ngx_http_rcache_ctx_t *ctx);

/*
 * The leader has nothing to store: the mark says why, see script.c, and stays
 * for so long.  Nothing happens if ctx does not lead.
 */

void ngx_http_rcache_flight_end(ngx_http_rcache_ctx_t *ctx, u_char mark,
    ngx_msec_t keep);

/*
 * The leader has stored: takes the flight from ctx, and ends it with the
 * answer of Redis: NGX_OK, stored; NGX_DECLINED, refused, another entry or an
 * invalidation came first; NGX_ERROR, none.  The payload is in op->pool, which
 * the flight keeps if it has to.
 */

ngx_http_rcache_flight_t *ngx_http_rcache_flight_store(
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_flight_storing(ngx_http_rcache_flight_t *flight,
    ngx_http_rcache_write_t *write);
void ngx_http_rcache_flight_stored(ngx_http_rcache_flight_t *flight,
    ngx_int_t rc, ngx_http_rcache_op_t *op, ngx_chain_t *payload, size_t size);

/* what is being fetched under the lock is void */

void ngx_http_rcache_flight_void(ngx_http_rcache_zone_t *zone,
    ngx_str_t *lock);

void ngx_http_rcache_flight_init(ngx_http_rcache_zone_t *zone);

/*
 * ngx_http_rcache_solo.c: who fetches without a flight, while Redis is away.
 * lead: it has one now; NGX_OK, NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_solo_init(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone);
ngx_int_t ngx_http_rcache_solo_lead(ngx_http_rcache_ctx_t *ctx);


/* ngx_http_rcache_sample.c: worker start; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_sample_init(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone);

/* another worker has something to tell */

void ngx_http_rcache_flights_woken(void *data);

/*
 * ngx_http_rcache_expect.c: the lookup of ctx->redis_key has been sent, and a
 * miss may be likely.  expected: what the lookup says, absent or not.
 */

ngx_int_t ngx_http_rcache_expect_init(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone);
void ngx_http_rcache_expect(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_expected(ngx_http_rcache_ctx_t *ctx, ngx_uint_t absent);

/*
 * hash: the sum of ctx->redis_key, made once for each request, or of another
 * key.
 *
 * futile: Redis need not be asked, the response cannot be cached anyway.
 * set: its headers say that it cannot, which counts for keep milliseconds, but
 * not for longer than a second, and only if Redis had nothing just before.
 * clear: one that can.
 */

uint64_t ngx_http_rcache_hash(ngx_http_rcache_ctx_t *ctx, ngx_str_t *key);
ngx_uint_t ngx_http_rcache_futile(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_futile_set(ngx_http_rcache_ctx_t *ctx, ngx_msec_t keep);
void ngx_http_rcache_futile_clear(ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_near.c: copies of entries in this instance.
 *
 * near: NGX_OK, ctx->entry is a copy that may be served, its head is in place;
 * NGX_DECLINED: Redis is to be asked, and ctx is as it was.
 *
 * wants: marks the operation if what it asks is worth a copy.  asked: it is on
 * its way, and changes will be told of; found: it is answered, and judged.
 *
 * void: the key is about to change, or has.
 */

ngx_int_t ngx_http_rcache_near(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_near_wants(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, ngx_str_t *key);
void ngx_http_rcache_near_asked(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, ngx_str_t *key);
void ngx_http_rcache_near_found(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_near_fill_t *fill, ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
void ngx_http_rcache_near_key_void(ngx_http_rcache_zone_t *zone,
    ngx_str_t *key);

char *ngx_http_rcache_near_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_set_near(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_rcache_near_start(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone);

/*
 * ngx_http_rcache_decide.c: what becomes of the request after the lookup.
 * NGX_OK: it is served from ctx->entry; NGX_DECLINED: the phases go on, to
 * the content handler or back to ours, which refuses; NGX_AGAIN: it waits;
 * NGX_DONE: it was a refresh that is not needed, and is over.
 *
 * refresh: a fetch that no client waits for; LEAD: it is under way, or soon
 * will be, if no other instance does it.
 *
 * collapses: may its response be one for others, and theirs for it?
 * draws_early: ctx->entry is fresh; is it to be refreshed all the same?
 *
 * told: its turn has come, or it is nobody's any more.
 */

ngx_http_rcache_turn_e ngx_http_rcache_refresh(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_uint_t ngx_http_rcache_collapses(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_uint_t ngx_http_rcache_draws_early(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_decide(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_reason_e reason);
ngx_int_t ngx_http_rcache_serve_stale(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_http_rcache_status_e status);
void ngx_http_rcache_told(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_turn_e turn, ngx_chain_t *payload, size_t size);

/*
 * ngx_http_rcache_stale.c: the stale entry in place of a failure.
 *
 * fetch: goes around the content handler of a request that leads, or has
 * something stale to fall back on.  failed: the response in r->headers_out is
 * a failure for which ctx has something stale.  instead: puts it there, and
 * ends the flight; NGX_OK, NGX_ERROR.  shelter: as with
 * proxy_ignore_client_abort, others want what is being fetched.
 */

void ngx_http_rcache_fetch(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_shelter(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_uint_t ngx_http_rcache_failed(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_instead(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_write.c: commands that change something.  ctx is told when
 * all of them have been answered, by ngx_http_rcache_release(), unless it says
 * before that it does not wait (forget).  base: if what the command replaces
 * has segments, the answer is the beginning of it, and their keys begin like
 * that.  purge: a record of n strings, see ngx_http_rcache_purge_start().
 */

rcache_reason_e ngx_http_rcache_write(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op, ngx_http_rcache_ctx_t *ctx, ngx_str_t *base);
void ngx_http_rcache_write_purge(ngx_http_rcache_ctx_t *ctx, ngx_str_t *pairs,
    ngx_uint_t n);
void ngx_http_rcache_write_forget(ngx_http_rcache_ctx_t *ctx);

/*
 * Stores an entry under its own key, with its marker if it is a variant; the
 * payload, of the given size, is in op->pool, and offset is how much of the
 * entry in Redis it replaces, 0 for all.  TTL in milliseconds.  On failure the
 * operation is destroyed.  upload: the body of the entry, or NULL; it is not
 * the caller's any more.
 */

rcache_reason_e ngx_http_rcache_write_entry(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, rcache_entry_t *entry, ngx_chain_t *payload,
    size_t size, size_t offset, int64_t ttl, ngx_http_rcache_upload_t *upload);

/* ngx_http_rcache_hold.c: store first, then tell */

ngx_int_t ngx_http_rcache_hold(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_chain_t *in);
void ngx_http_rcache_hold_header(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_release(ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_revalidate.c: the upstream said 304 to our condition.
 * NGX_OK: r->headers_out is that of the freshened response, which is on its
 * way to Redis; NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_revalidate(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/*
 * A response to HEAD that the upstream saw as such: updates the entry that it
 * agrees with, and removes one that it contradicts; RFC 9111, 4.3.5.
 */

void ngx_http_rcache_held_against(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/* removes at most three keys, before anything else is said */

rcache_reason_e ngx_http_rcache_unlink(ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *keys, ngx_uint_t n);

/* ngx_http_rcache_invalidate.c: an unsafe request has succeeded */

rcache_reason_e ngx_http_rcache_invalidate(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_invalidate_redirected(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_trace.c: lines of the error log have the id of the trace.
 * init: all variables are known; NGX_OK, NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_trace_init(ngx_conf_t *cf);
void ngx_http_rcache_trace(ngx_http_request_t *r);

/* ngx_http_rcache_cache_status.c: adds Cache-Status, RFC 9211, and Via */

ngx_int_t ngx_http_rcache_cache_status(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_capture.c: a response on its way to Redis.  create judges
 * the headers and returns NULL with *reason; append takes in a chain of the
 * body and returns the reason for which the capture has to end, or
 * RCACHE_REASON_NONE; store ends it at the clean end of the body; drop
 * ends it otherwise.  known: in a dry run, the body will not come, and has so
 * many bytes.  complete: Content-Length is reached.  full: more of it should
 * wait, for Redis.
 */

ngx_http_rcache_capture_t *ngx_http_rcache_capture_create(
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e *reason);
rcache_reason_e ngx_http_rcache_capture_append(
    ngx_http_rcache_capture_t *capture, ngx_http_rcache_ctx_t *ctx,
    ngx_chain_t *in);
ngx_uint_t ngx_http_rcache_capture_begun(ngx_http_rcache_capture_t *capture);
ngx_uint_t ngx_http_rcache_capture_complete(
    ngx_http_rcache_capture_t *capture);
ngx_uint_t ngx_http_rcache_capture_full(ngx_http_rcache_capture_t *capture);
rcache_reason_e ngx_http_rcache_capture_store(
    ngx_http_rcache_capture_t *capture, ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_capture_known(ngx_http_rcache_capture_t *capture,
    off_t length);
void ngx_http_rcache_capture_drop(ngx_http_rcache_capture_t *capture);

/* ngx_http_rcache_variables.c */

ngx_int_t ngx_http_rcache_add_variables(ngx_conf_t *cf);


extern ngx_module_t  ngx_http_redis_proxy_cache_module;
extern ngx_module_t  ngx_http_redis_proxy_cache_filter_module;


#endif /* _NGX_HTTP_RCACHE_H_INCLUDED_ */
