
/*
 * Purging: the log in Redis, what this instance knows of it, and what that
 * means for an entry.  The files ngx_http_rcache_follow*.c, _purge.c and
 * _tags.c; the life of a request and src/admin call them.
 *
 * Whatever purges, from inside or outside, appends a record to the log, a
 * stream; a worker of each instance follows it and enters what it says in
 * shared memory.  An entry has the position up to which the log was known
 * when its fetch began: a record behind that which is about it makes it void,
 * however it came to be stored.
 */


#ifndef _NGX_HTTP_RCACHE_PURGE_H_INCLUDED_
#define _NGX_HTTP_RCACHE_PURGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "../core/rcache_entry.h"
#include "../core/rcache_purge.h"
#include "../core/rcache_reason.h"
#include "../core/rcache_tags.h"
#include "../redis/ngx_http_rcache_redis.h"
#include "../shm/ngx_http_rcache_purges.h"
#include "ngx_http_rcache_regex.h"


struct ngx_http_rcache_ctx_s;
struct ngx_http_rcache_zone_s;

typedef struct ngx_http_rcache_follow_s  ngx_http_rcache_follow_t;


/* of a location */

typedef struct {
    ngx_array_t                   *tags;     /* ngx_http_complex_value_t */
    ngx_array_t                   *purge;    /* the same; NULL: closed */
    ngx_http_complex_value_t      *soft;     /* NULL: hard */
    ngx_http_complex_value_t      *refresh;  /* NULL: no */
    ngx_array_t                   *invalidate; /* as tags */
    ngx_str_t                      admin;    /* the zone; empty: none */
} ngx_http_rcache_purge_conf_t;


/* a purge that is under way */

typedef struct ngx_http_rcache_purge_s  ngx_http_rcache_purge_t;

/* id: of the record that is in the log and known to this instance; NULL */

typedef void (*ngx_http_rcache_purge_pt)(void *data, rcache_purge_id_t *id);



/*
 * ngx_http_rcache_follow.c.  init: in each process, after the zone is there;
 * NGX_OK, NGX_ERROR.  blind: what was purged may not be known here; deaf: and
 * that has been so for long; moved: for ever, the instance is told of another
 * log since a reload.  catch_up:
 * asks for it on the lane, in front of what is sent next; returns what caught
 * up is to be asked with, 0 if it could not be sent.
 */

ngx_int_t ngx_http_rcache_follow_init(ngx_cycle_t *cycle,
    struct ngx_http_rcache_zone_s *zone);
ngx_uint_t ngx_http_rcache_follow_blind(ngx_http_rcache_follow_t *follow);
ngx_uint_t ngx_http_rcache_follow_deaf(ngx_http_rcache_follow_t *follow);
ngx_uint_t ngx_http_rcache_follow_moved(ngx_http_rcache_follow_t *follow);
ngx_uint_t ngx_http_rcache_follow_catch_up(ngx_http_rcache_follow_t *follow,
    ngx_http_rcache_lane_e lane);
ngx_uint_t ngx_http_rcache_follow_caught_up(ngx_http_rcache_follow_t *follow,
    ngx_uint_t n);

ngx_str_t *ngx_http_rcache_follow_key(ngx_http_rcache_follow_t *follow);
rcache_purges_t *ngx_http_rcache_follow_table(
    ngx_http_rcache_follow_t *follow);
ngx_http_rcache_regexes_t *ngx_http_rcache_follow_regexes(
    ngx_http_rcache_follow_t *follow);

/* the last record that is known; zeros: none */

void ngx_http_rcache_follow_last(ngx_http_rcache_follow_t *follow,
    rcache_purge_id_t *id);

/* the log is behind this position, which an entry has */

void ngx_http_rcache_follow_ahead(ngx_http_rcache_follow_t *follow,
    uint64_t position);


/*
 * ngx_http_rcache_tags.c.  begin: the fetch begins now.  mark: enters tags and
 * position in the entry, tags in the request's pool; RCACHE_REASON_NONE, or
 * why it cannot be stored; tags is what the entry had before, and keeps if the
 * response names none.
 *
 * invalidate: purges the tags of redis_proxy_cache_invalidate_tags, which the
 * request waits for as for what else it writes.
 *
 * judge: RCACHE_REASON_NONE; _PURGED or _BLIND: it is not to be used.  One that
 * was purged softly is stale from then on: its lifetime is cut.
 */

void ngx_http_rcache_purge_begin(struct ngx_http_rcache_ctx_s *ctx);
rcache_reason_e ngx_http_rcache_purge_mark(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx, rcache_entry_t *entry,
    ngx_str_t *tags);
void ngx_http_rcache_invalidate_tags(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
rcache_reason_e ngx_http_rcache_purge_judge(
    struct ngx_http_rcache_ctx_s *ctx, rcache_entry_t *entry);

/* what was to be asked for, or used in a failure, may have been purged since */

void ngx_http_rcache_purge_recheck(struct ngx_http_rcache_ctx_s *ctx);

/* it was purged while it was fetched, or nobody can tell */

ngx_uint_t ngx_http_rcache_purge_late(struct ngx_http_rcache_ctx_s *ctx,
    rcache_entry_t *entry);


/*
 * ngx_http_rcache_purge.c.  start: appends a record, pairs of name and value
 * as docs/storage-format.md has them, and deletes the keys, of which there are
 * nkeys.  NGX_OK: the handler will be called, not from inside, unless detached
 * is; NGX_DECLINED: Redis is not there; NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_purge_start(struct ngx_http_rcache_zone_s *zone,
    ngx_str_t *pairs, ngx_uint_t n, ngx_str_t *keys, ngx_uint_t nkeys,
    ngx_http_rcache_purge_pt handler, void *data,
    ngx_http_rcache_purge_t **purge);
void ngx_http_rcache_purge_detach(ngx_http_rcache_purge_t *purge);


/* ngx_http_rcache_walk.c: worker start; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_walk_init(ngx_cycle_t *cycle,
    struct ngx_http_rcache_zone_s *zone);


#endif /* _NGX_HTTP_RCACHE_PURGE_H_INCLUDED_ */
