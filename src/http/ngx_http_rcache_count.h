
/*
 * Counting, for src/http: a call at each place where something is known that
 * the counters of src/shm/ngx_http_rcache_stats.h are to say.  All that is
 * about a request is counted when it is over, in one place.
 *
 * With NGX_HTTP_RCACHE_NO_METRICS nothing is counted; that is for measuring
 * what it costs.
 */


#ifndef _NGX_HTTP_RCACHE_COUNT_H_INCLUDED_
#define _NGX_HTTP_RCACHE_COUNT_H_INCLUDED_


#include "ngx_http_rcache.h"


#ifndef NGX_HTTP_RCACHE_NO_METRICS
#define NGX_HTTP_RCACHE_NO_METRICS  0
#endif


/* a counter of the label of ctx, or of the zone */

static ngx_inline void
ngx_http_rcache_count(ngx_http_rcache_ctx_t *ctx, ngx_uint_t id, uint64_t n)
{
    if (!NGX_HTTP_RCACHE_NO_METRICS && ctx->counts) {
        ngx_http_rcache_stats_add(ctx->zone->stats, &ctx->counts->counter[id],
                                  n);
    }
}


static ngx_inline void
ngx_http_rcache_count_zone(ngx_http_rcache_zone_t *zone, ngx_uint_t id,
    uint64_t n)
{
    if (!NGX_HTTP_RCACHE_NO_METRICS) {
        ngx_http_rcache_stats_add(zone->stats,
                                  &zone->stats->zone->counter[id], n);
    }
}


/* the request is looked up in ctx->zone, in a location with that label */

void ngx_http_rcache_count_begin(ngx_http_rcache_ctx_t *ctx,
    ngx_uint_t label);

/* it is over */

void ngx_http_rcache_count_request(ngx_http_rcache_ctx_t *ctx);

/* the content handler is asked; the first byte of a response is there */

void ngx_http_rcache_count_fetch(ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_count_first(ngx_http_rcache_ctx_t *ctx);

/* it waits no longer: it was told, or has waited for too long */

void ngx_http_rcache_count_waited(ngx_http_rcache_ctx_t *ctx,
    ngx_uint_t late);

/* nothing was sent to Redis */

void ngx_http_rcache_count_refused(ngx_http_rcache_ctx_t *ctx,
    rcache_reason_e reason);

/*
 * Around an operation: submit before it is, submitted with the reason for
 * which it was not, or RCACHE_REASON_NONE.
 */

void ngx_http_rcache_count_submit(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op);
void ngx_http_rcache_count_submitted(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op, rcache_reason_e reason);

/* there is no server for a command of that class, so no operation was made */

static ngx_inline void
ngx_http_rcache_count_down(ngx_http_rcache_zone_t *zone,
    rcache_command_e command)
{
    ngx_http_rcache_count_zone(zone, RCACHE_COUNT_OPERATIONS
                                     + command * RCACHE_RESULT_N
                                     + RCACHE_RESULT_DOWN,
                               1);
}


/*
 * What a record of the log of purges names, pairs of name and value; and it is
 * in the log.
 */

void ngx_http_rcache_count_kinds(ngx_str_t *pairs, ngx_uint_t n,
    ngx_uint_t kinds[RCACHE_PURGE_KINDS]);
void ngx_http_rcache_count_purged(ngx_http_rcache_zone_t *zone,
    ngx_uint_t kinds[RCACHE_PURGE_KINDS]);

/* there are n connections to Redis more; data is the zone */

void ngx_http_rcache_count_connected(void *data, ngx_int_t n);

/*
 * Redis has answered a store: NGX_OK, NGX_DECLINED for a refusal, with the
 * reason, NGX_ERROR.
 * expect: it is on its way, and will be there for ttl milliseconds.  void:
 * what is under the key goes.  gone: there is nothing under the key that ctx
 * has looked up.
 */

void ngx_http_rcache_count_stored(ngx_http_rcache_write_t *write,
    ngx_int_t rc, rcache_reason_e refused);
void ngx_http_rcache_count_expect(ngx_http_rcache_write_t *write,
    ngx_http_rcache_ctx_t *ctx, ngx_str_t *key, int64_t ttl);
void ngx_http_rcache_count_void(ngx_http_rcache_zone_t *zone,
    ngx_str_t *key);
void ngx_http_rcache_count_gone(ngx_http_rcache_ctx_t *ctx);


/* ngx_http_rcache_metrics.c: worker start; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_metrics_init_process(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone, ngx_http_rcache_main_conf_t *rmcf);


#endif /* _NGX_HTTP_RCACHE_COUNT_H_INCLUDED_ */
