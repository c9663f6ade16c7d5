
/*
 * What the configuration says about metrics.  The functions are in
 * ngx_http_rcache_conf.h and ngx_http_rcache_count.h, for they need to know a
 * zone.
 */


#ifndef _NGX_HTTP_RCACHE_METRICS_H_INCLUDED_
#define _NGX_HTTP_RCACHE_METRICS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "../shm/ngx_http_rcache_stats.h"


/* of a location */

typedef struct {
    ngx_uint_t                     label;    /* in rmcf->labels */
    ngx_flag_t                     server_timing;
    ngx_array_t                   *explain;  /* ngx_http_complex_value_t */
    ngx_flag_t                     dry_run;
    ngx_uint_t                     audit;    /* millionths of the hits */
} ngx_http_rcache_metrics_conf_t;


/* of a zone: what room its counters need */

typedef struct {
    ngx_cycle_t                   *cycle;
    ngx_str_t                      file;     /* of the directive */
    ngx_uint_t                     line;
    ngx_uint_t                     max;      /* labels= */
    ngx_uint_t                     top;      /* top_keys= */
    uint64_t                       used;     /* bits of rmcf->labels */
} ngx_http_rcache_zone_labels_t;


#endif /* _NGX_HTTP_RCACHE_METRICS_H_INCLUDED_ */
