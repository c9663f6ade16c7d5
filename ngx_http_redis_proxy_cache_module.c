
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * One HTTP response cache for all instances, in Redis.  This file has the
 * module objects, the directive table, and create, merge and init; the life
 * of a request is in src/http, see docs/design.md.
 */


#include "src/admin/ngx_http_rcache_admin.h"
#include "src/admin/ngx_http_rcache_status.h"
#include "src/http/ngx_http_rcache_conf.h"
#include "src/http/ngx_http_rcache_lookup.h"
#include "src/http/ngx_http_rcache_zone.h"


static ngx_int_t ngx_http_rcache_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_rcache_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_rcache_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_rcache_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_rcache_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_rcache_merge_zone(ngx_conf_t *cf,
    ngx_http_rcache_loc_conf_t *prev, ngx_http_rcache_loc_conf_t *conf);
static ngx_int_t ngx_http_rcache_init_module(ngx_cycle_t *cycle);
static ngx_http_rcache_main_conf_t *ngx_http_rcache_main_conf(
    ngx_cycle_t *cycle);
static ngx_int_t ngx_http_rcache_init_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_rcache_commands[] = {

    { ngx_string("redis_proxy_cache_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_rcache_set_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_secret_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_rcache_set_secret_file,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_cache,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_key,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_args"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_args,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_user"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_user,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_unkeyed"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_unkeyed,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_profile"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_enum,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, rules.profile),
      &ngx_http_rcache_profiles },

    { ngx_string("redis_proxy_cache_key_body"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE123,
      ngx_http_rcache_set_key_body,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_valid"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_valid,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_methods"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_methods,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_bypass"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_predicates,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, bypass),
      NULL },

    { ngx_string("redis_proxy_no_cache"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_predicates,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, no_cache),
      NULL },

    { ngx_string("redis_proxy_cache_strict"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, lint.strict),
      NULL },

    { ngx_string("redis_proxy_no_cache_body"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_no_cache_body,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_types"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_types,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_statuses"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_statuses,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_check_extension"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_rcache_set_flag,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, check.extension),
      NULL },

    { ngx_string("redis_proxy_cache_validate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_validate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_max_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_size,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, max_size),
      NULL },

    { ngx_string("redis_proxy_cache_min_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_size,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, body.min_size),
      NULL },

    { ngx_string("redis_proxy_cache_segment_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_segment,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_in_flight"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_rcache_set_in_flight,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_resume"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, body.resume),
      NULL },

    { ngx_string("redis_proxy_cache_compress"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_compress,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_compress_types"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_types_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, body.types_keys),
      &ngx_http_rcache_compress_types[0] },

    { ngx_string("redis_proxy_cache_budget"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_msec,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, budget),
      NULL },

    { ngx_string("redis_proxy_cache_max_range_offset"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_off,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, max_range_offset),
      NULL },

    { ngx_string("redis_proxy_cache_min_uses"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_number,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, min_uses),
      NULL },

    { ngx_string("redis_proxy_cache_max_variants"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_variants,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_ignore_headers"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_ignore,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_targeted_headers"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_targets,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_revalidate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, revalidate),
      NULL },

    { ngx_string("redis_proxy_cache_convert_head"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, convert_head),
      NULL },

    { ngx_string("redis_proxy_cache_heuristic"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, heuristic),
      NULL },

    { ngx_string("redis_proxy_cache_client_control"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_rcache_set_flag,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, client_control),
      NULL },

    { ngx_string("redis_proxy_cache_lock"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, lock),
      NULL },

    { ngx_string("redis_proxy_cache_lock_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_msec_or_0,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, lock_timeout),
      NULL },

    { ngx_string("redis_proxy_cache_lock_age"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_msec,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, lock_age),
      NULL },

    { ngx_string("redis_proxy_cache_hit_for_miss"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_msec_or_0,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, hit_for_miss),
      NULL },

    { ngx_string("redis_proxy_cache_use_stale"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_use_stale,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_background_update"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, background_update),
      NULL },

    { ngx_string("redis_proxy_cache_refresh_pause"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_msec_or_0,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, refresh_pause),
      NULL },

    { ngx_string("redis_proxy_cache_offline"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_predicates,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, offline),
      NULL },

    { ngx_string("redis_proxy_cache_fallback_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_fallback_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_jitter"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_jitter,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_near"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_near,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_early_refresh"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_early_refresh,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_tags"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_tags,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, purge),
      NULL },

    { ngx_string("redis_proxy_cache_purge"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_purge,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, purge),
      NULL },

    { ngx_string("redis_proxy_cache_invalidate_tags"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_rcache_set_invalidate_tags,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, purge),
      NULL },

    { ngx_string("redis_proxy_cache_admin"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_admin,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, purge),
      NULL },

    { ngx_string("redis_proxy_cache_status_header"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_identity,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_rcache_set_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_server_timing"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, metrics.server_timing),
      NULL },

    { ngx_string("redis_proxy_cache_explain"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_set_predicate_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, metrics.explain),
      NULL },

    { ngx_string("redis_proxy_cache_dry_run"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_rcache_set_flag,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_rcache_loc_conf_t, metrics.dry_run),
      NULL },

    { ngx_string("redis_proxy_cache_audit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_audit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_label"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_label,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("redis_proxy_cache_via"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_rcache_set_via,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_redis_proxy_cache_module_ctx = {
    ngx_http_rcache_preconfiguration,      /* preconfiguration */
    ngx_http_rcache_postconfiguration,     /* postconfiguration */

    ngx_http_rcache_create_main_conf,      /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_rcache_create_loc_conf,       /* create location configuration */
    ngx_http_rcache_merge_loc_conf         /* merge location configuration */
};


ngx_module_t  ngx_http_redis_proxy_cache_module = {
    NGX_MODULE_V1,
    &ngx_http_redis_proxy_cache_module_ctx, /* module context */
    ngx_http_rcache_commands,              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_rcache_init_module,           /* init module */
    ngx_http_rcache_init_process,          /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_module_t  ngx_http_redis_proxy_cache_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_rcache_filter_init,           /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


/* a module of its own, for a place of its own in nginx's order of modules */

ngx_module_t  ngx_http_redis_proxy_cache_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_redis_proxy_cache_filter_module_ctx, /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_rcache_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_rcache_add_variables(cf);
}


static ngx_int_t
ngx_http_rcache_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_rcache_lookup_handler;

    /* the last one is the first to be called */

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_rcache_purge_handler;

    if (ngx_http_rcache_trace_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_rcache_secrets(cf);

    return ngx_http_rcache_lint(cf);
}


static void *
ngx_http_rcache_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_rcache_main_conf_t  *rmcf;

    rmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_rcache_main_conf_t));
    if (rmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&rmcf->zones, cf->pool, 1,
                       sizeof(ngx_http_rcache_zone_t *))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_http_rcache_lint_create(cf, &rmcf->lint) != NGX_OK) {
        return NULL;
    }

    if (ngx_http_rcache_metrics_create_main(cf, rmcf) != NGX_OK) {
        return NULL;
    }

    return rmcf;
}


static void *
ngx_http_rcache_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_rcache_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_rcache_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->name = { 0, NULL };
     *     conf->zone = NULL;
     *     conf->zone_value = NULL;
     *     conf->identity = { 0, NULL };
     *     conf->via = { 0, NULL };
     *     conf->slice = 0;
     *     conf->handler = NULL;
     *     conf->use_stale = 0;
     */

    conf->enable = NGX_CONF_UNSET;
    conf->key = NGX_CONF_UNSET_PTR;
    conf->valid = NGX_CONF_UNSET_PTR;
    conf->bypass = NGX_CONF_UNSET_PTR;
    conf->no_cache = NGX_CONF_UNSET_PTR;
    conf->methods = NGX_CONF_UNSET_UINT;
    conf->max_size = NGX_CONF_UNSET_SIZE;
    ngx_http_rcache_body_conf_create(&conf->body);
    conf->budget = NGX_CONF_UNSET_MSEC;
    conf->max_range_offset = NGX_CONF_UNSET;
    conf->min_uses = NGX_CONF_UNSET_UINT;
    conf->max_variants = NGX_CONF_UNSET_UINT;
    conf->ignore = NGX_CONF_UNSET_UINT;
    conf->targets = NGX_CONF_UNSET_PTR;
    conf->revalidate = NGX_CONF_UNSET;
    conf->convert_head = NGX_CONF_UNSET;
    conf->heuristic = NGX_CONF_UNSET;
    conf->client_control = NGX_CONF_UNSET;
    conf->lock = NGX_CONF_UNSET;
    conf->lock_timeout = NGX_CONF_UNSET_MSEC;
    conf->lock_age = NGX_CONF_UNSET_MSEC;
    conf->hit_for_miss = NGX_CONF_UNSET_MSEC;
    conf->background_update = NGX_CONF_UNSET;
    conf->refresh_pause = NGX_CONF_UNSET_MSEC;
    conf->offline = NGX_CONF_UNSET_PTR;
    conf->jitter = NGX_CONF_UNSET_UINT;
    ngx_http_rcache_fallback_create_conf(&conf->fallback);
    conf->early_refresh = NGX_CONF_UNSET_UINT;
    conf->near = NGX_CONF_UNSET_MSEC;

    ngx_http_rcache_metrics_create_loc(&conf->metrics);
    ngx_http_rcache_rules_create(&conf->rules);
    ngx_http_rcache_purge_create(&conf->purge);
    ngx_http_rcache_check_create(&conf->check);

    conf->lint.strict = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_http_rcache_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_rcache_loc_conf_t *prev = parent;
    ngx_http_rcache_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    if (conf->key == NGX_CONF_UNSET_PTR) {
        conf->slice = prev->slice;
        conf->rules.loose = prev->rules.loose;
    }

    ngx_http_rcache_check_merge(&prev->check, &conf->check);

    if (ngx_http_rcache_lint_merge(cf, parent, child) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_rcache_rules_merge(cf, &prev->rules, &conf->rules)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_http_rcache_purge_merge(&prev->purge, &conf->purge);

    ngx_conf_merge_ptr_value(conf->key, prev->key, NULL);
    ngx_conf_merge_ptr_value(conf->valid, prev->valid, NULL);
    ngx_conf_merge_ptr_value(conf->bypass, prev->bypass, NULL);
    ngx_conf_merge_ptr_value(conf->no_cache, prev->no_cache, NULL);

    ngx_conf_merge_uint_value(conf->methods, prev->methods,
                              NGX_HTTP_GET|NGX_HTTP_HEAD);

    ngx_conf_merge_size_value(conf->max_size, prev->max_size,
                              64 * 1024 * 1024);
    ngx_conf_merge_msec_value(conf->budget, prev->budget, 100);

    ngx_conf_merge_off_value(conf->max_range_offset, prev->max_range_offset,
                             NGX_MAX_OFF_T_VALUE);

    ngx_conf_merge_uint_value(conf->min_uses, prev->min_uses, 1);
    ngx_conf_merge_uint_value(conf->max_variants, prev->max_variants, 32);
    ngx_conf_merge_uint_value(conf->ignore, prev->ignore, 0);
    ngx_conf_merge_ptr_value(conf->targets, prev->targets, NULL);

    ngx_conf_merge_value(conf->revalidate, prev->revalidate, 0);
    ngx_conf_merge_value(conf->convert_head, prev->convert_head, 1);
    ngx_conf_merge_value(conf->heuristic, prev->heuristic, 0);
    ngx_conf_merge_value(conf->client_control, prev->client_control, 0);

    ngx_conf_merge_value(conf->lock, prev->lock, 1);
    ngx_conf_merge_msec_value(conf->lock_timeout, prev->lock_timeout, 5000);
    ngx_conf_merge_msec_value(conf->lock_age, prev->lock_age, 5000);
    ngx_conf_merge_msec_value(conf->hit_for_miss, prev->hit_for_miss, 5000);

    ngx_http_rcache_merge_use_stale(prev, conf);

    ngx_conf_merge_value(conf->background_update, prev->background_update, 1);
    ngx_conf_merge_msec_value(conf->refresh_pause, prev->refresh_pause, 1000);
    ngx_conf_merge_ptr_value(conf->offline, prev->offline, NULL);
    ngx_conf_merge_uint_value(conf->jitter, prev->jitter, 0);
    ngx_http_rcache_fallback_merge_conf(&prev->fallback, &conf->fallback);
    ngx_conf_merge_uint_value(conf->early_refresh, prev->early_refresh, 0);
    ngx_conf_merge_msec_value(conf->near, prev->near, 10000);

    ngx_conf_merge_str_value(conf->identity, prev->identity, "");
    ngx_conf_merge_str_value(conf->via, prev->via, "");

    if (ngx_http_rcache_body_conf_merge(cf, &prev->body, &conf->body)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_rcache_merge_zone(cf, prev, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_http_rcache_metrics_merge_loc(cf, &prev->metrics, conf);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->enable && conf->slice
        && clcf->handler
        && clcf->handler != ngx_http_rcache_slice_handler)
    {
        conf->handler = clcf->handler;
        clcf->handler = ngx_http_rcache_slice_handler;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_rcache_merge_zone(ngx_conf_t *cf, ngx_http_rcache_loc_conf_t *prev,
    ngx_http_rcache_loc_conf_t *conf)
{
    ngx_uint_t                    purge;
    ngx_http_rcache_main_conf_t  *rmcf;

    if (conf->enable == NGX_CONF_UNSET) {
        conf->enable = (prev->enable == NGX_CONF_UNSET) ? 0 : prev->enable;
        conf->name = prev->name;
        conf->zone_value = prev->zone_value;
    }

    if (ngx_http_rcache_admin_merge(cf, &conf->purge) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    purge = ngx_http_rcache_purge_used(&conf->purge);

    if (conf->zone_value) {
        rmcf->purge |= purge;
        return NGX_CONF_OK;
    }

    conf->zone = ngx_http_rcache_zone_find(rmcf, &conf->name);

    if (conf->zone == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache\" zone \"%V\" is unknown, "
                           "expected one that \"redis_proxy_cache_zone\" "
                           "declares", &conf->name);
        return NGX_CONF_ERROR;
    }

    conf->zone->purge |= purge;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_rcache_init_module(ngx_cycle_t *cycle)
{
    ngx_http_rcache_main_conf_t  *rmcf, *old;

    rmcf = ngx_http_rcache_main_conf(cycle);

    if (rmcf == NULL || rmcf->zones.nelts == 0) {
        return NGX_OK;
    }

    old = ngx_http_rcache_main_conf(cycle->old_cycle);

    rmcf->wake = ngx_http_rcache_wake_init_module(cycle,
                                                  old ? old->wake : NULL);

    return NGX_OK;
}


static ngx_http_rcache_main_conf_t *
ngx_http_rcache_main_conf(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    /* the first cycle follows one that has next to nothing */

    if (cycle->conf_ctx == NULL) {
        return NULL;
    }

    /* in a cycle without the module its index is not of any use */

    for (i = 0; cycle->modules[i]; i++) {

        if (cycle->modules[i] == &ngx_http_redis_proxy_cache_module) {
            return ngx_http_cycle_get_module_main_conf(cycle,
                                           ngx_http_redis_proxy_cache_module);
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_rcache_init_process(ngx_cycle_t *cycle)
{
    ngx_http_rcache_main_conf_t  *rmcf;

    rmcf = ngx_http_rcache_main_conf(cycle);

    if (rmcf == NULL) {
        return NGX_OK;
    }

    return ngx_http_rcache_zone_init_process(cycle, rmcf);
}
