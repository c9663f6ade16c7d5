
/*
 * What is done while nginx.conf is read: a setter takes a directive apart, and
 * merge and init make of it what the life of a request looks at, and no more
 * than looks at.  The structs that are filled are where they are looked at, in
 * ngx_http_rcache.h and the headers that it includes.
 *
 * The files ngx_http_rcache_conf*.c, and the setters of those rooms that are
 * known to themselves alone.  The module's own file calls all this, src/admin
 * what setters share; nothing that runs for a request does.
 *
 * A setter returns NGX_CONF_OK, NGX_CONF_ERROR, with the complaint in the log,
 * or a text, as nginx's own do.
 */


#ifndef _NGX_HTTP_RCACHE_CONF_H_INCLUDED_
#define _NGX_HTTP_RCACHE_CONF_H_INCLUDED_


#include "ngx_http_rcache.h"


/*
 * ngx_http_rcache_conf.c: setters of directives, and what they share.
 * bad_value logs and returns NGX_CONF_ERROR; parameter is true if value is
 * "name" and sets the rest of it; is_token, RFC 9110, 5.6.2.
 */

char *ngx_http_rcache_bad_value(ngx_conf_t *cf, ngx_str_t *value,
    char *right);
ngx_uint_t ngx_http_rcache_parameter(ngx_str_t *value, char *name,
    ngx_str_t *rest);
ngx_uint_t ngx_http_rcache_is_token(ngx_str_t *value);
char *ngx_http_rcache_parameter_msec(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *rest, ngx_msec_t *to);

char *ngx_http_rcache_set_cache(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_rcache_set_valid(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_methods(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_size(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_msec(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_off(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_number(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_variants(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_ignore(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_targets(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_identity(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_via(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/*
 * ngx_http_rcache_conf_lines.c.  written is called by a setter: the directive
 * that is being read adds n values to what the level has.  The setters are
 * nginx's of predicates, flags and words, and the line is noted.
 */

void ngx_http_rcache_written(ngx_conf_t *cf,
    ngx_http_rcache_loc_conf_t *rlcf, ngx_uint_t n);
void ngx_http_rcache_lines_merge(ngx_http_rcache_lines_t *prev,
    ngx_http_rcache_lines_t *conf);

char *ngx_http_rcache_set_predicates(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_flag(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_enum(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/*
 * ngx_http_rcache_conf_zone.c: redis_proxy_cache_zone.  What takes one of its
 * parameters returns what a setter does; complete: all of them have been read.
 */

char *ngx_http_rcache_set_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* ngx_http_rcache_conf_server.c */

char *ngx_http_rcache_server_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *url);
char *ngx_http_rcache_cluster_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_sentinel_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_read_from_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_nat_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_master_tls_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_server_complete(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone);

/* ngx_http_rcache_conf_tls.c */

void ngx_http_rcache_tls_init_conf(ngx_http_rcache_tls_conf_t *tls);
char *ngx_http_rcache_tls_parameter(ngx_conf_t *cf,
    ngx_http_rcache_tls_conf_t *tls, ngx_str_t *value);
char *ngx_http_rcache_tls_complete(ngx_conf_t *cf,
    ngx_http_rcache_tls_conf_t *tls, ngx_str_t *zone);

/* ngx_http_rcache_near.c */

char *ngx_http_rcache_near_parameter(ngx_conf_t *cf,
    ngx_http_rcache_zone_t *zone, ngx_str_t *value, ngx_str_t *rest);
char *ngx_http_rcache_set_near(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * ngx_http_rcache_conf_secret.c: what is written is signed; secrets tells the
 * zones, when all has been read.
 */

char *ngx_http_rcache_set_secret_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
void ngx_http_rcache_secrets(ngx_conf_t *cf);


/* ngx_http_rcache_conf_rules.c */

char *ngx_http_rcache_set_args(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_user(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_unkeyed(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_key_body(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

void ngx_http_rcache_rules_create(ngx_http_rcache_rules_conf_t *conf);
char *ngx_http_rcache_rules_merge(ngx_conf_t *cf,
    ngx_http_rcache_rules_conf_t *prev, ngx_http_rcache_rules_conf_t *conf);

/* what a key of one's own has of the path, see loose in rules.h */

ngx_uint_t ngx_http_rcache_rules_loose(ngx_str_t *key);

/* ngx_http_rcache_conf_check.c */

char *ngx_http_rcache_set_types(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_statuses(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_no_cache_body(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_validate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

void ngx_http_rcache_check_create(ngx_http_rcache_check_conf_t *conf);
void ngx_http_rcache_check_merge(ngx_http_rcache_check_conf_t *prev,
    ngx_http_rcache_check_conf_t *conf);

/* ngx_http_rcache_conf_body.c */

char *ngx_http_rcache_set_compress(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_segment(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_in_flight(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

void ngx_http_rcache_body_conf_create(ngx_http_rcache_body_conf_t *conf);
char *ngx_http_rcache_body_conf_merge(ngx_conf_t *cf,
    ngx_http_rcache_body_conf_t *prev, ngx_http_rcache_body_conf_t *conf);

/*
 * ngx_http_rcache_conf_stale.c: those of collapsing and of stale serving.
 * merge_use_stale leaves the NGX_HTTP_UPSTREAM_FT_* bits that are on, _NOLIVE
 * next to _ERROR, and 0 for "off".
 */

char *ngx_http_rcache_set_msec_or_0(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_use_stale(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
void ngx_http_rcache_merge_use_stale(ngx_http_rcache_loc_conf_t *prev,
    ngx_http_rcache_loc_conf_t *conf);
char *ngx_http_rcache_set_jitter(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_early_refresh(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* ngx_http_rcache_fallback.c */

char *ngx_http_rcache_set_fallback_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
void ngx_http_rcache_fallback_create_conf(
    ngx_http_rcache_fallback_conf_t *conf);
void ngx_http_rcache_fallback_merge_conf(ngx_http_rcache_fallback_conf_t *prev,
    ngx_http_rcache_fallback_conf_t *conf);

/* ngx_http_rcache_conf_purge.c */

char *ngx_http_rcache_set_tags(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_invalidate_tags(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_rcache_set_purge(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

void ngx_http_rcache_purge_create(ngx_http_rcache_purge_conf_t *conf);
void ngx_http_rcache_purge_merge(ngx_http_rcache_purge_conf_t *prev,
    ngx_http_rcache_purge_conf_t *conf);

/* a location with that configuration needs the log to be followed */

ngx_uint_t ngx_http_rcache_purge_used(ngx_http_rcache_purge_conf_t *conf);

/* ngx_http_rcache_audit.c */

char *ngx_http_rcache_set_audit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * ngx_http_rcache_metrics.c.  init_zone is the init handler of the zone's
 * memory.
 */

ngx_int_t ngx_http_rcache_metrics_create_main(ngx_conf_t *cf,
    ngx_http_rcache_main_conf_t *rmcf);
char *ngx_http_rcache_set_label(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
void ngx_http_rcache_metrics_create_loc(
    ngx_http_rcache_metrics_conf_t *conf);
void ngx_http_rcache_metrics_merge_loc(ngx_conf_t *cf,
    ngx_http_rcache_metrics_conf_t *prev, ngx_http_rcache_loc_conf_t *rlcf);
ngx_int_t ngx_http_rcache_metrics_init_zone(ngx_shm_zone_t *shm);


/*
 * In preconfiguration: ngx_http_rcache_variables.c.  In postconfiguration:
 * ngx_http_rcache_filter.c, which calls that of ngx_http_rcache_detached.c;
 * and ngx_http_rcache_trace.c, when all variables are known.  NGX_OK,
 * NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_add_variables(ngx_conf_t *cf);
ngx_int_t ngx_http_rcache_filter_init(ngx_conf_t *cf);
ngx_int_t ngx_http_rcache_detached_init(ngx_conf_t *cf);
ngx_int_t ngx_http_rcache_trace_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_RCACHE_CONF_H_INCLUDED_ */
