
/*
 * How a response gets into Redis, or out of it: what is captured, the commands
 * that change something, and the client that is told when they are done.
 */


#ifndef _NGX_HTTP_RCACHE_STORE_H_INCLUDED_
#define _NGX_HTTP_RCACHE_STORE_H_INCLUDED_


#include "ngx_http_rcache.h"


/*
 * ngx_http_rcache_intake.c: the response of a fetch is taken in.
 *
 * start: its header is there; NGX_OK: its body will be captured; NGX_DECLINED,
 * and why not.  capture_body: a part of it, which goes on to the client.  end:
 * the capture, if there is one, is over, for the reason given; those who wait
 * are told.  mark: for how many milliseconds nobody is to wait, for it will be
 * the same for the next response; or 0.
 *
 * unstored: those who wait are told.
 *
 * gone: the leader's client is, but the others still want the response.
 */

ngx_int_t ngx_http_rcache_intake_start(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_reason_e *reason);
ngx_int_t ngx_http_rcache_capture_body(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_chain_t *in);
void ngx_http_rcache_intake_end(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason);
void ngx_http_rcache_intake_unstored(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason);
ngx_msec_t ngx_http_rcache_intake_mark(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason);
void ngx_http_rcache_intake_gone(ngx_http_request_t *r,
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
ngx_uint_t ngx_http_rcache_capture_guarded(
    ngx_http_rcache_capture_t *capture, ngx_http_rcache_ctx_t *ctx);
rcache_reason_e ngx_http_rcache_capture_store(
    ngx_http_rcache_capture_t *capture, ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_capture_known(ngx_http_rcache_capture_t *capture,
    off_t length);
void ngx_http_rcache_capture_drop(ngx_http_rcache_capture_t *capture);


/* commands that change something; in the pool of the last operation */

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

    ngx_http_rcache_lost_t        *lost;     /* NULL: this is the first
                                                attempt */

    ngx_http_rcache_stats_label_t *counts;   /* NULL: it is not a store */
    uint64_t                       hash;     /* of the key */
    int64_t                        expected; /* milliseconds */
    ngx_uint_t                     renewal;

    uint64_t                       near[2];  /* hashes of keys that it writes */
    ngx_uint_t                     nnear;

    unsigned                       answered:1; /* the stage is */
    unsigned                       staged:1; /* and it has the payload */
};


/*
 * ngx_http_rcache_write.c: what makes something void, and that ctx waits for,
 * see ngx_http_rcache_hold.c; or that is done again, for lost.  The key is that
 * of op; if what is there has segments, the answer is the beginning of it, and
 * their keys begin with it.  purge: a record of n strings, all of them tags,
 * see ngx_http_rcache_purge_start().  What Redis does not get of both is lost,
 * see below.
 */

rcache_reason_e ngx_http_rcache_write(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op, ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_lost_t *lost, ngx_str_t *key);
void ngx_http_rcache_write_purge(ngx_http_rcache_ctx_t *ctx, ngx_str_t *pairs,
    ngx_uint_t n);

/*
 * ngx_http_rcache_lost.c: invalidations that Redis did not get, of a key in
 * Redis or of a tag.  They are sent again, and what is stored under that key,
 * or has that tag, is not used until then.  done: Redis has answered; ok: as it
 * should.  wake: it is there again.  init: worker start; NGX_OK, NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_lost_init(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone);
void ngx_http_rcache_lost_key(ngx_http_rcache_zone_t *zone, ngx_str_t *key);
void ngx_http_rcache_lost_tag(ngx_http_rcache_zone_t *zone, ngx_str_t *tag);
void ngx_http_rcache_lost_done(ngx_http_rcache_lost_t *lost, ngx_uint_t ok);
void ngx_http_rcache_lost_wake(ngx_http_rcache_zone_t *zone);

/*
 * Stores an entry under its own key, with its marker if it is a variant; the
 * payload, of the given size, is in op->pool, and offset is how much of the
 * entry in Redis it replaces, 0 for all.  TTL in milliseconds.  On failure the
 * operation is destroyed.  upload: the body of the entry, or NULL; it is not
 * the caller's any more.  ctx waits for the answer as above, unless the store
 * is guarded.
 */

rcache_reason_e ngx_http_rcache_write_entry(ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_op_t *op, rcache_entry_t *entry, ngx_chain_t *payload,
    size_t size, size_t offset, int64_t ttl, ngx_http_rcache_upload_t *upload);

/*
 * Until Redis has it nobody is given anything else: nothing is there that an
 * entry of this generation replaces, and who looks meanwhile waits for the
 * lock.
 */

ngx_uint_t ngx_http_rcache_write_guarded(ngx_http_rcache_ctx_t *ctx,
    uint32_t generation);

/*
 * ngx_http_rcache_hold.c: store first, then tell.  add: ctx waits for that
 * write, too, until it is done; with the last of them it is released.  forget:
 * it waits for none of them; pass: another one does.
 */

void ngx_http_rcache_hold_add(ngx_http_rcache_write_t *write,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_hold_done(ngx_http_rcache_write_t *write);
void ngx_http_rcache_hold_forget(ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_hold_pass(ngx_http_rcache_ctx_t *from,
    ngx_http_rcache_ctx_t *to);
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

/*
 * ngx_http_rcache_invalidate.c.  unlink: removes at most three keys, before
 * anything else is said; if ctx->post is set, then who has ctx->token_data may
 * store under the first; unlink_op: the operation that does it for one of them,
 * and what this instance fetches for it is void, unless it is done again, when
 * what it fetches has begun after it; NULL: out of memory.
 * invalidate: an unsafe request has succeeded;
 * redirected: it has been taken elsewhere, perhaps by its upstream.
 */

void ngx_http_rcache_unlink(ngx_http_rcache_ctx_t *ctx, ngx_str_t *keys,
    ngx_uint_t n);
ngx_http_rcache_op_t *ngx_http_rcache_unlink_op(
    ngx_http_rcache_zone_t *zone, ngx_str_t *key, ngx_str_t *token,
    ngx_uint_t again);
void ngx_http_rcache_invalidate(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_invalidate_redirected(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);


/*
 * ngx_http_rcache_script.c: commands on a lock, see there; NGX_OK, NGX_ERROR.
 * Times are in milliseconds.  void: token is that of who may store after it;
 * NULL: nobody.
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
    ngx_str_t *key, ngx_str_t *lock, ngx_msec_t time, ngx_str_t *token);


#endif /* _NGX_HTTP_RCACHE_STORE_H_INCLUDED_ */
