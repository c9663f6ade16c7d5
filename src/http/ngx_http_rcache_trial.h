
/*
 * What is only tried: a dry run, which says what the cache would do, and the
 * audit, which says whether it does right.  The files ngx_http_rcache_dry*.c
 * and _audit.c; lookup, decide, judge, filter, capture and count call them.
 */


#ifndef _NGX_HTTP_RCACHE_TRIAL_H_INCLUDED_
#define _NGX_HTTP_RCACHE_TRIAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "../core/rcache_dry.h"
#include "../core/rcache_entry.h"
#include "../core/rcache_reason.h"
#include "../redis/ngx_http_rcache_redis.h"


struct ngx_http_rcache_ctx_s;


/* behind the Redis key of an entry: the one of its fingerprint */

#define NGX_HTTP_RCACHE_DRY_SUFFIX  ":d"

/* keys that differed, and are remembered; audits at a time, in a worker */

#define NGX_HTTP_RCACHE_AUDIT_KEYS  64
#define NGX_HTTP_RCACHE_AUDITS      4

/* the scale of redis_proxy_cache_audit */

#define NGX_HTTP_RCACHE_AUDIT_ALL   1000000


/* a request in a dry run */

typedef struct {
    ngx_rbtree_node_t     node;        /* among the fetches of the zone */

    ngx_uint_t            predicted;   /* RCACHE_COUNT_DRY_REQUESTS_* */
    uint64_t              saved;       /* milliseconds */
    rcache_dry_t          old;         /* of the fingerprint that is there */
    int64_t               until;       /* and when it goes: milliseconds */

    unsigned              found:1;     /* there is one */
    unsigned              fetches:1;   /* node is in the tree */
    unsigned              shared:1;    /* another one fetches the same */
    unsigned              stored:1;    /* its response would be */
} ngx_http_rcache_dry_t;


/* an audit under way, in the pool of its request */

typedef struct {
    void                 *state;       /* of rcache_sum_add() */
    uint64_t              sum;         /* of what the client got */
    uint64_t              length;
    ngx_uint_t            counted;     /* unsigned  counted:1; */
} ngx_http_rcache_audit_t;


/* of a zone, in a worker */

typedef struct {
    ngx_rbtree_t          fetches;     /* ngx_http_rcache_dry_t */
    ngx_rbtree_node_t     sentinel;
    ngx_uint_t            naudits;     /* under way */
    time_t                told;        /* the last difference */
    uint64_t              differed[NGX_HTTP_RCACHE_AUDIT_KEYS];
    ngx_uint_t            ndiffered;
} ngx_http_rcache_trial_t;


/*
 * ngx_http_rcache_dry.c.  begin: before anything is known of the request;
 * NGX_OK, NGX_ERROR.  start: there is a key; rc is the policy's: NGX_OK, look
 * it up, or NGX_DONE; NGX_OK, or NGX_DECLINED: it passes, ctx->reason says
 * why.  decide: the lookup has been answered; NGX_DECLINED.
 *
 * predicted: what would become of it, as far as is known:
 * RCACHE_COUNT_DRY_REQUESTS_*.  unlink: the fingerprints of these keys go.
 * count: all is known.  leave: the request goes.
 */

void ngx_http_rcache_dry_init(ngx_http_rcache_trial_t *trial);
ngx_int_t ngx_http_rcache_dry_begin(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
ngx_int_t ngx_http_rcache_dry_start(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx, ngx_int_t rc);
ngx_int_t ngx_http_rcache_dry_decide(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
ngx_uint_t ngx_http_rcache_dry_predicted(struct ngx_http_rcache_ctx_s *ctx);
void ngx_http_rcache_dry_unlink(struct ngx_http_rcache_ctx_s *ctx,
    ngx_str_t *keys, ngx_uint_t n);
void ngx_http_rcache_dry_count(struct ngx_http_rcache_ctx_s *ctx);
void ngx_http_rcache_dry_leave(struct ngx_http_rcache_ctx_s *ctx);

/*
 * ngx_http_rcache_dry_store.c.  header: it is here, and is only looked at.
 * body: a part of it, the last one or not.
 *
 * store: what is stored in place of the entry, whose body would take so many
 * bytes, length before they were compressed, and in segments saved less of
 * Redis; the entry and its strings are in op->pool, which is not the caller's
 * any more.
 */

void ngx_http_rcache_dry_header(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
void ngx_http_rcache_dry_body(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx, ngx_chain_t *in, ngx_uint_t last);
rcache_reason_e ngx_http_rcache_dry_store(struct ngx_http_rcache_ctx_s *ctx,
    ngx_http_rcache_op_t *op, rcache_entry_t *entry, uint64_t size,
    uint64_t saved, uint64_t length, int64_t ttl);

/*
 * ngx_http_rcache_audit.c.  audit: ctx->entry is about to be served: draws
 * lots, and asks the upstream behind the client's back.  header, body: what
 * came of it.  skip: nothing will; leave: its request goes.
 */

void ngx_http_rcache_audit(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
void ngx_http_rcache_audit_header(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
void ngx_http_rcache_audit_body(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx, ngx_chain_t *in, ngx_uint_t last);
void ngx_http_rcache_audit_skip(struct ngx_http_rcache_ctx_s *ctx);
void ngx_http_rcache_audit_leave(struct ngx_http_rcache_ctx_s *ctx);


#endif /* _NGX_HTTP_RCACHE_TRIAL_H_INCLUDED_ */
