
/*
 * The admin room: what is shown to, and asked by, those who run the cache.
 * It may call every other room; none but the top calls it.
 *
 * This is redis_proxy_cache_status: a snapshot of the counters, as text for
 * Prometheus, as OpenMetrics, or as JSON, and a page that draws the latter.
 */


#ifndef _NGX_HTTP_RCACHE_STATUS_H_INCLUDED_
#define _NGX_HTTP_RCACHE_STATUS_H_INCLUDED_


#include "../http/ngx_http_rcache_count.h"


#define NGX_HTTP_RCACHE_VERSION  "0.1.0"


/* text that grows in buffers of the request's pool */

typedef struct {
    ngx_pool_t                     *pool;
    ngx_chain_t                    *out;
    ngx_chain_t                   **last;
    ngx_buf_t                      *buf;
    off_t                           size;
    ngx_uint_t                      failed;  /* memory was short */
} ngx_http_rcache_out_t;


/* the sums of a zone */

typedef struct {
    ngx_http_rcache_zone_t         *zone;
    ngx_http_rcache_stats_zone_t    sum;
    int64_t                         state[RCACHE_STATE_N];
    ngx_uint_t                      nlabels;
    ngx_http_rcache_stats_label_t  *label;
    rcache_sketch_sum_t             keys[2]; /* hottest, most missed */
} ngx_http_rcache_snapshot_t;


/* the setter of the directive */

char *ngx_http_rcache_set_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * ngx_http_rcache_out.c.  A call of out writes at most 1024 bytes, formatted
 * as by ngx_sprintf(); json writes a string in quotes, of any length, and
 * label the same for the text formats.
 */

void ngx_http_rcache_out(ngx_http_rcache_out_t *out, const char *fmt, ...);
void ngx_http_rcache_out_json(ngx_http_rcache_out_t *out, ngx_str_t *s);
void ngx_http_rcache_out_label(ngx_http_rcache_out_t *out, ngx_str_t *s);

/* ngx_http_rcache_status_text.c, _json.c: n zones */

void ngx_http_rcache_status_text(ngx_http_rcache_out_t *out,
    ngx_http_rcache_snapshot_t *zones, ngx_uint_t n, ngx_uint_t openmetrics);
void ngx_http_rcache_status_json(ngx_http_rcache_out_t *out,
    ngx_http_rcache_snapshot_t *zones, ngx_uint_t n);


/*
 * ngx_http_rcache_verdict.c: two members of the JSON of a label; and what is
 * made of its counters, RCACHE_ESTIMATE_*.  rent: bytes of Redis for each
 * second of the upstream that the zone saves in a second; 0: not known.
 */

uint64_t ngx_http_rcache_rent(ngx_http_rcache_snapshot_t *s);

void ngx_http_rcache_verdict(ngx_http_rcache_out_t *out,
    ngx_http_rcache_stats_label_t *sum, ngx_http_rcache_label_t *label);
uint64_t ngx_http_rcache_estimate(ngx_http_rcache_stats_label_t *sum,
    ngx_http_rcache_label_t *label, ngx_uint_t estimate);

/*
 * ngx_http_rcache_dashboard.c: the page, and the value of its
 * Content-Security-Policy; NGX_OK, NGX_ERROR.
 */

ngx_str_t ngx_http_rcache_dashboard(void);
ngx_int_t ngx_http_rcache_dashboard_policy(ngx_conf_t *cf, ngx_str_t *policy);


#endif /* _NGX_HTTP_RCACHE_STATUS_H_INCLUDED_ */
