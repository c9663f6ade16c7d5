
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

#include "../core/rcache_entry.h"
#include "../core/rcache_head.h"
#include "../core/rcache_key.h"
#include "../core/rcache_reason.h"
#include "../core/rcache_response.h"
#include "../redis/ngx_http_rcache_redis.h"
#include "../shm/ngx_http_rcache_health.h"


/*
 * No entry has a body of more than 60 MiB; with the headers that gives the
 * longest reply that can be one.
 */

#define NGX_HTTP_RCACHE_MAX_BODY   (60 * 1024 * 1024)
#define NGX_HTTP_RCACHE_MAX_REPLY  (64 * 1024 * 1024)


/* the values of $redis_proxy_cache_status, which are nginx's */

#define NGX_HTTP_RCACHE_STATUSES(X)                                           \
    X(NONE, "")                                                               \
    X(MISS, "MISS")                                                           \
    X(BYPASS, "BYPASS")                                                       \
    X(EXPIRED, "EXPIRED")                                                     \
    X(HIT, "HIT")

#define NGX_HTTP_RCACHE_STATUS_ENUM(id, name)  NGX_HTTP_RCACHE_##id,

typedef enum {
    NGX_HTTP_RCACHE_STATUSES(NGX_HTTP_RCACHE_STATUS_ENUM)
    NGX_HTTP_RCACHE_STATUS_N
} ngx_http_rcache_status_e;


typedef struct {
    ngx_str_t                      name;
    ngx_str_t                      prefix;
    ngx_shm_zone_t                *shm;
    ngx_http_rcache_health_t      *health;
    ngx_http_rcache_redis_conf_t   conf;
    ngx_http_core_loc_conf_t      *clcf;     /* of http{}, for its resolver */

    /* of this worker */
    ngx_http_rcache_redis_t       *redis;
    time_t                         reported; /* the last damaged entry */
} ngx_http_rcache_zone_t;


typedef struct {
    ngx_array_t                    zones;    /* ngx_http_rcache_zone_t * */
} ngx_http_rcache_main_conf_t;


typedef struct {
    ngx_uint_t                     status;   /* 0: any */
    time_t                         valid;    /* seconds */
} ngx_http_rcache_valid_t;


typedef struct {
    ngx_flag_t                     enable;
    ngx_str_t                      name;     /* as written in the directive */
    ngx_http_rcache_zone_t        *zone;     /* NULL if the name is dynamic */
    ngx_http_complex_value_t      *zone_value;
    ngx_http_complex_value_t      *key;      /* NULL for the default */
    ngx_array_t                   *valid;    /* ngx_http_rcache_valid_t */
    ngx_array_t                   *bypass;
    ngx_array_t                   *no_cache;
    ngx_uint_t                     methods;
    size_t                         max_size;
    ngx_msec_t                     budget;
} ngx_http_rcache_loc_conf_t;


typedef enum {
    NGX_HTTP_RCACHE_PASS = 0,      /* nothing to do with this request */
    NGX_HTTP_RCACHE_LOOKUP,        /* waits for Redis */
    NGX_HTTP_RCACHE_SERVE,         /* a hit: the entry is in ctx->entry */
    NGX_HTTP_RCACHE_FILL,          /* the content handler makes a response */
    NGX_HTTP_RCACHE_CAPTURE        /* its body is being captured */
} ngx_http_rcache_state_e;


typedef struct ngx_http_rcache_capture_s  ngx_http_rcache_capture_t;


typedef struct {
    ngx_http_request_t            *request;
    ngx_http_rcache_zone_t        *zone;

    ngx_http_rcache_state_e        state;
    ngx_http_rcache_status_e       status;
    rcache_reason_e                reason;

    ngx_str_t                      key;
    ngx_str_t                      redis_key;

    /* the lookup; after a hit it keeps the memory that the entry is in */
    ngx_http_rcache_op_t          *op;
    ngx_event_t                    timer;
    rcache_entry_t                 entry;

    ngx_http_rcache_capture_t     *capture;

    /* the client's header lines while the conditional ones are hidden */
    ngx_list_t                     headers_in;

    unsigned                       hidden:1;
    unsigned                       discard:1; /* the client has its answer,
                                                 the body is only captured */
} ngx_http_rcache_ctx_t;


/* ngx_http_rcache_conf.c: setters of directives */

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

rcache_reason_e ngx_http_rcache_op_reason(ngx_http_rcache_op_t *op);

/* ngx_http_rcache_lookup.c: PRECONTENT phase handler */

ngx_int_t ngx_http_rcache_lookup_handler(ngx_http_request_t *r);

/* ngx_http_rcache_key.c: sets ctx->key; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_make_key(ngx_http_request_t *r,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_http_rcache_ctx_t *ctx);

/* ngx_http_rcache_serve.c: content handler of a hit */

ngx_int_t ngx_http_rcache_serve_handler(ngx_http_request_t *r);

/*
 * ngx_http_rcache_conditional.c: takes Range and If-* out of the request's
 * header lines, so that the upstream does not see them, while r->headers_in
 * still points to them, so that nginx's own filters answer them; and puts
 * them back.
 */

ngx_int_t ngx_http_rcache_hide_conditional(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_show_conditional(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_head.c: r->headers_out to a message head and back.
 *
 * size: the bytes that write will write; NGX_DECLINED if they are over
 * RCACHE_HEAD_MAX or a header cannot be stored.  restore: the strings of
 * r->headers_out will point into the entry; NGX_DECLINED if the head is
 * malformed, r->headers_out is then to be cleaned; NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_head_size(ngx_http_request_t *r,
    rcache_response_t *resp, size_t *size);
u_char *ngx_http_rcache_head_write(ngx_http_request_t *r,
    rcache_response_t *resp, u_char *p);
ngx_int_t ngx_http_rcache_head_restore(ngx_http_request_t *r,
    rcache_entry_t *entry);

/* ngx_http_rcache_filter.c */

ngx_int_t ngx_http_rcache_filter_init(ngx_conf_t *cf);

/*
 * ngx_http_rcache_capture.c: a response on its way to Redis.  create judges
 * the headers and returns NULL with *reason; append takes in a chain of the
 * body and returns the reason for which the capture has to end, or
 * RCACHE_REASON_NONE; store ends it at the clean end of the body; drop
 * ends it otherwise.
 */

ngx_http_rcache_capture_t *ngx_http_rcache_capture_create(
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e *reason);
rcache_reason_e ngx_http_rcache_capture_append(
    ngx_http_rcache_capture_t *capture, ngx_chain_t *in);
rcache_reason_e ngx_http_rcache_capture_store(
    ngx_http_rcache_capture_t *capture);
void ngx_http_rcache_capture_drop(ngx_http_rcache_capture_t *capture);

/* ngx_http_rcache_variables.c */

ngx_int_t ngx_http_rcache_add_variables(ngx_conf_t *cf);


extern ngx_module_t  ngx_http_redis_proxy_cache_module;
extern ngx_module_t  ngx_http_redis_proxy_cache_filter_module;


#endif /* _NGX_HTTP_RCACHE_H_INCLUDED_ */
