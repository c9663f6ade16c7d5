
/*
 * redis_proxy_cache_explain: what was decided, and which lines of nginx.conf
 * decided.  A setter notes where its directive is written, see conf.h; nothing
 * more is done until somebody may ask.
 *
 * ngx_http_rcache_conf_lines.c notes the lines, ngx_http_rcache_explain.c
 * makes the header, _explain_rules.c what it says of the rules.  Whether a
 * response tells that, or how long it all took, is in ngx_http_rcache_tell.c.
 */


#ifndef _NGX_HTTP_RCACHE_EXPLAIN_H_INCLUDED_
#define _NGX_HTTP_RCACHE_EXPLAIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_rcache_lint.h"


/* X(enum, directive): those that decide what becomes of a request */

#define NGX_HTTP_RCACHE_RULES(X)                                              \
    X(CACHE, "redis_proxy_cache")                                             \
    X(KEY, "redis_proxy_cache_key")                                           \
    X(ARGS, "redis_proxy_cache_args")                                         \
    X(USER, "redis_proxy_cache_user")                                         \
    X(UNKEYED, "redis_proxy_cache_unkeyed")                                   \
    X(PROFILE, "redis_proxy_cache_profile")                                   \
    X(KEY_BODY, "redis_proxy_cache_key_body")                                 \
    X(VALID, "redis_proxy_cache_valid")                                       \
    X(METHODS, "redis_proxy_cache_methods")                                   \
    X(BYPASS, "redis_proxy_cache_bypass")                                     \
    X(NO_CACHE, "redis_proxy_no_cache")                                       \
    X(NO_CACHE_BODY, "redis_proxy_no_cache_body")                             \
    X(VALIDATE, "redis_proxy_cache_validate")                                 \
    X(TYPES, "redis_proxy_cache_types")                                       \
    X(STATUSES, "redis_proxy_cache_statuses")                                 \
    X(EXTENSION, "redis_proxy_cache_check_extension")                         \
    X(IGNORE, "redis_proxy_cache_ignore_headers")                             \
    X(CLIENT_CONTROL, "redis_proxy_cache_client_control")                     \
    X(MIN_USES, "redis_proxy_cache_min_uses")                                 \
    X(MAX_RANGE_OFFSET, "redis_proxy_cache_max_range_offset")                 \
    X(MAX_VARIANTS, "redis_proxy_cache_max_variants")                         \
    X(MAX_SIZE, "redis_proxy_cache_max_size")                                 \
    X(MIN_SIZE, "redis_proxy_cache_min_size")                                 \
    X(BUDGET, "redis_proxy_cache_budget")                                     \
    X(LOCK_TIMEOUT, "redis_proxy_cache_lock_timeout")                         \
    X(HIT_FOR_MISS, "redis_proxy_cache_hit_for_miss")                         \
    X(USE_STALE, "redis_proxy_cache_use_stale")                               \
    X(OFFLINE, "redis_proxy_cache_offline")                                   \
    X(FALLBACK_LIMIT, "redis_proxy_cache_fallback_limit")                     \
    X(TAGS, "redis_proxy_cache_tags")                                         \
    X(DRY_RUN, "redis_proxy_cache_dry_run")

#define NGX_HTTP_RCACHE_RULE_ENUM(id, name)  NGX_HTTP_RCACHE_RULE_##id,

typedef enum {
    NGX_HTTP_RCACHE_RULES(NGX_HTTP_RCACHE_RULE_ENUM)
    NGX_HTTP_RCACHE_RULE_N
} ngx_http_rcache_rule_e;


/* a directive in one level of the configuration; line 0: it is not there */

typedef struct ngx_http_rcache_line_s  ngx_http_rcache_line_t;

struct ngx_http_rcache_line_s {
    ngx_http_rcache_where_t   where;
    ngx_uint_t                n;        /* values that the line adds */
    ngx_http_rcache_line_t   *next;     /* the same directive once more */
};


typedef struct {
    ngx_http_rcache_line_t    line[NGX_HTTP_RCACHE_RULE_N];
} ngx_http_rcache_lines_t;


struct ngx_http_rcache_ctx_s;


extern const ngx_str_t  ngx_http_rcache_rule_names[NGX_HTTP_RCACHE_RULE_N];


/* where value i of the rule is written; NULL: it is not */

ngx_http_rcache_where_t *ngx_http_rcache_line(ngx_http_rcache_lines_t *lines,
    ngx_http_rcache_rule_e rule, ngx_uint_t i);

/* the header; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_explain(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);

/*
 * Writes up to last, and returns the end: the rules that had a part in it;
 * and which arguments of the query are not in the key, and why not.
 */

u_char *ngx_http_rcache_explain_rules(u_char *p, u_char *last,
    ngx_http_request_t *r, struct ngx_http_rcache_ctx_s *ctx);
u_char *ngx_http_rcache_explain_dropped(u_char *p, u_char *last,
    ngx_http_request_t *r, struct ngx_http_rcache_ctx_s *ctx);


/*
 * ngx_http_rcache_tell.c: adds the lines of redis_proxy_cache_server_timing
 * and redis_proxy_cache_explain to the response; NGX_OK, NGX_ERROR.  msec
 * writes a time in milliseconds behind the name.
 */

ngx_int_t ngx_http_rcache_tell(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
u_char *ngx_http_rcache_tell_msec(u_char *p, u_char *last, char *name,
    uint64_t usec);

extern ngx_str_t  ngx_http_rcache_tell_statuses[];


#endif /* _NGX_HTTP_RCACHE_EXPLAIN_H_INCLUDED_ */
