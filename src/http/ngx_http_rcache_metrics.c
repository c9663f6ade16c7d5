
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The configuration of metrics: labels, and the room that the counters of a
 * zone get in its memory.
 */


#include "ngx_http_rcache_conf.h"
#include "ngx_http_rcache_count.h"


/* what a zone has beside the shares that its parts take */

#define NGX_HTTP_RCACHE_ROOM  32768


static ngx_uint_t ngx_http_rcache_label_valid(ngx_str_t *name);
static ngx_uint_t ngx_http_rcache_labels_used(ngx_http_rcache_zone_t *zone);


ngx_int_t
ngx_http_rcache_metrics_create_main(ngx_conf_t *cf,
    ngx_http_rcache_main_conf_t *rmcf)
{
    ngx_str_t  *name;

    if (ngx_array_init(&rmcf->labels, cf->pool, 4, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    name = ngx_array_push(&rmcf->labels);
    if (name == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(name, "default");

    return NGX_OK;
}


char *
ngx_http_rcache_set_label(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_str_t                    *value, *name;
    ngx_uint_t                    i;
    ngx_http_rcache_main_conf_t  *rmcf;

    if (rlcf->metrics.label != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (!ngx_http_rcache_label_valid(&value[1])) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "at most 63 letters, digits, \"_\", "
                                         "\"-\", \".\" and \":\"");
    }

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    name = rmcf->labels.elts;

    for (i = 0; i < rmcf->labels.nelts; i++) {

        if (name[i].len == value[1].len
            && ngx_memcmp(name[i].data, value[1].data, value[1].len) == 0)
        {
            rlcf->metrics.label = i;
            return NGX_CONF_OK;
        }
    }

    if (i == NGX_HTTP_RCACHE_LABELS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_label\" \"%V\" is one too "
                           "many, expected at most %d different names",
                           &value[1], NGX_HTTP_RCACHE_LABELS - 1);
        return NGX_CONF_ERROR;
    }

    name = ngx_array_push(&rmcf->labels);
    if (name == NULL) {
        return NGX_CONF_ERROR;
    }

    *name = value[1];
    rlcf->metrics.label = i;

    return NGX_CONF_OK;
}


/* it is shown in formats that quote in different ways */

static ngx_uint_t
ngx_http_rcache_label_valid(ngx_str_t *name)
{
    u_char  ch, *p;

    if (name->len == 0 || name->len > NGX_HTTP_RCACHE_LABEL_LEN) {
        return 0;
    }

    for (p = name->data; p < name->data + name->len; p++) {
        ch = *p | 0x20;

        if (!((ch >= 'a' && ch <= 'z') || (*p >= '0' && *p <= '9')
              || *p == '_' || *p == '-' || *p == '.' || *p == ':'))
        {
            return 0;
        }
    }

    return 1;
}


void
ngx_http_rcache_metrics_create_loc(ngx_http_rcache_metrics_conf_t *conf)
{
    conf->label = NGX_CONF_UNSET_UINT;
    conf->server_timing = NGX_CONF_UNSET;
    conf->explain = NGX_CONF_UNSET_PTR;
    conf->dry_run = NGX_CONF_UNSET;
    conf->audit = NGX_CONF_UNSET_UINT;
}


void
ngx_http_rcache_metrics_merge_loc(ngx_conf_t *cf,
    ngx_http_rcache_metrics_conf_t *prev, ngx_http_rcache_loc_conf_t *rlcf)
{
    uint64_t                         bit;
    ngx_uint_t                       i;
    ngx_http_rcache_zone_t         **zones;
    ngx_http_rcache_main_conf_t     *rmcf;
    ngx_http_rcache_metrics_conf_t  *conf;

    conf = &rlcf->metrics;

    ngx_conf_merge_uint_value(conf->label, prev->label, 0);
    ngx_conf_merge_value(conf->server_timing, prev->server_timing, 0);
    ngx_conf_merge_ptr_value(conf->explain, prev->explain, NULL);
    ngx_conf_merge_value(conf->dry_run, prev->dry_run, 0);
    ngx_conf_merge_uint_value(conf->audit, prev->audit, 0);

    if (!rlcf->enable) {
        return;
    }

    bit = (uint64_t) 1 << conf->label;

    if (rlcf->zone) {
        rlcf->zone->room.used |= bit;
        return;
    }

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    zones = rmcf->zones.elts;

    for (i = 0; i < rmcf->zones.nelts; i++) {
        zones[i]->room.used |= bit;
    }
}


/* labels beside the first */

static ngx_uint_t
ngx_http_rcache_labels_used(ngx_http_rcache_zone_t *zone)
{
    uint64_t    used;
    ngx_uint_t  n;

    n = 0;

    for (used = zone->room.used >> 1; used; used &= used - 1) {
        n++;
    }

    return n;
}


/* the init handler of the zone's memory */

ngx_int_t
ngx_http_rcache_metrics_init_zone(ngx_shm_zone_t *shm)
{
    size_t                     need;
    ngx_uint_t                 n;
    ngx_core_conf_t           *ccf;
    ngx_slab_pool_t           *pool;
    ngx_http_rcache_zone_t    *zone;
    ngx_http_rcache_health_t  *health;

    zone = shm->data;

    n = ngx_http_rcache_labels_used(zone);

    if (zone->room.max && n > zone->room.max) {
        ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                      "zone \"%V\" is for %ui labels, but there are %ui, "
                      "expected labels=%ui in %V:%ui",
                      &zone->name, zone->room.max, n, n,
                      &zone->room.file, zone->room.line);
        return NGX_ERROR;
    }

    pool = (ngx_slab_pool_t *) shm->shm.addr;
    health = pool->data;

    if (ngx_http_rcache_stats_valid(health->stats)) {

        if (n >= health->stats->max) {
            ngx_log_error(NGX_LOG_WARN, shm->shm.log, 0,
                          "zone \"%V\" has room for %ui labels, of %ui the "
                          "last ones are counted as \"default\" until nginx "
                          "is restarted",
                          &zone->name, health->stats->max - 1, n);
        }

        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(zone->room.cycle->conf_ctx,
                                           ngx_core_module);

    /* workers that go and workers that come exist at the same time */

    health->stats = ngx_http_rcache_stats_create(pool,
                                           ngx_max(n, zone->room.max),
                                           2 * (ngx_uint_t)
                                               ccf->worker_processes,
                                           zone->room.top,
                                           shm->shm.size / 4, &need);

    if (health->stats == NULL) {
        ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                      "zone \"%V\" is too small for its counters, expected a "
                      "size of at least %uz in %V:%ui",
                      &zone->name,
                      ngx_align(need * 4 + NGX_HTTP_RCACHE_ROOM,
                                ngx_pagesize),
                      &zone->room.file, zone->room.line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_metrics_init_process(ngx_cycle_t *cycle,
    ngx_http_rcache_zone_t *zone, ngx_http_rcache_main_conf_t *rmcf)
{
    ngx_str_t        *name;
    ngx_uint_t        i;
    ngx_slab_pool_t  *pool;

    pool = (ngx_slab_pool_t *) zone->shm->shm.addr;

    zone->stats = ngx_http_rcache_stats_init_process(cycle,
                                                     zone->health->stats,
                                                     pool);
    if (zone->stats == NULL) {
        return NGX_ERROR;
    }

    zone->labels = ngx_pcalloc(cycle->pool,
                               rmcf->labels.nelts * sizeof(ngx_uint_t));
    if (zone->labels == NULL) {
        return NGX_ERROR;
    }

    name = rmcf->labels.elts;

    for (i = 1; i < rmcf->labels.nelts; i++) {

        if (zone->room.used & ((uint64_t) 1 << i)) {
            zone->labels[i] = ngx_http_rcache_stats_label(zone->stats->sh,
                                                          pool, &name[i]);
        }
    }

    return NGX_OK;
}
