
/*
 * From a request to what the cache has for it: may it be looked up, under which
 * key, what is there, and may that be served?
 */


#ifndef _NGX_HTTP_RCACHE_LOOKUP_H_INCLUDED_
#define _NGX_HTTP_RCACHE_LOOKUP_H_INCLUDED_


#include "ngx_http_rcache.h"


/* ngx_http_rcache_handler.c: of the PRECONTENT phase */

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
 * the next one.  The ctx is returned if it waits for something in Redis, which
 * the end of the response then has to do; or NULL.
 */

ngx_http_rcache_ctx_t *ngx_http_rcache_redirected(ngx_http_request_t *r);

/* the ctx of the request, also if a redirect has taken it away; or NULL */

ngx_http_rcache_ctx_t *ngx_http_rcache_find_ctx(ngx_http_request_t *r);

/* the content handler is to make the response: NGX_DECLINED */

ngx_int_t ngx_http_rcache_fill(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);


/*
 * ngx_http_rcache_lookup.c: looks ctx->redis_key up; RCACHE_REASON_NONE: the
 * request has to wait.  again: the same another time, what the first one
 * brought is forgotten.
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
 * The segments of the entry have been asked for, see body.h; and the answer is
 * there: RCACHE_REASON_NONE, or why there is no such entry.
 */

void ngx_http_rcache_park_probe(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_probed(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason);


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

/* worker start; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_near_start(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone);


/* ngx_http_rcache_trace.c: lines of the error log have the id of the trace */

void ngx_http_rcache_trace(ngx_http_request_t *r);


#endif /* _NGX_HTTP_RCACHE_LOOKUP_H_INCLUDED_ */
