
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_status.h"
#include "../http/ngx_http_rcache_response.h"
#include "../core/rcache_accept.h"


typedef enum {
    NGX_HTTP_RCACHE_STATUS_TEXT = 0,
    NGX_HTTP_RCACHE_STATUS_OPENMETRICS,
    NGX_HTTP_RCACHE_STATUS_JSON,
    NGX_HTTP_RCACHE_STATUS_HTML,
    NGX_HTTP_RCACHE_STATUS_FORMATS
} ngx_http_rcache_format_e;


static ngx_int_t ngx_http_rcache_status_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_status_format(ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_status_named(ngx_str_t *name);
static ngx_int_t ngx_http_rcache_status_accepted(ngx_http_request_t *r);
static ngx_http_rcache_snapshot_t *ngx_http_rcache_status_snapshot(
    ngx_http_request_t *r, ngx_array_t *zones);
static ngx_int_t ngx_http_rcache_status_write(ngx_http_request_t *r,
    ngx_http_rcache_out_t *out, ngx_int_t format);
static ngx_int_t ngx_http_rcache_status_page(ngx_http_rcache_out_t *out);
static ngx_int_t ngx_http_rcache_status_headers(ngx_http_request_t *r,
    ngx_int_t format);
static int64_t ngx_http_rcache_status_bytes(ngx_http_rcache_zone_t *zone);
static ngx_int_t ngx_http_rcache_status_keys(ngx_http_request_t *r,
    ngx_http_rcache_stats_sh_t *sh, ngx_http_rcache_snapshot_t *s);


/* what Accept may name, and what it is then */

static rcache_str_t  ngx_http_rcache_status_types[] = {
    rcache_string("text/plain"),
    rcache_string("application/openmetrics-text"),
    rcache_string("application/json"),
    rcache_string("text/html")
};


static ngx_str_t  ngx_http_rcache_status_content[] = {
    ngx_string("text/plain; version=0.0.4; charset=utf-8"),
    ngx_string("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ngx_string("application/json"),
    ngx_string("text/html; charset=utf-8")
};


/* those of ?format= and of the path */

static ngx_str_t  ngx_http_rcache_status_names[] = {
    ngx_string("prometheus"),
    ngx_string("openmetrics"),
    ngx_string("json"),
    ngx_string("html")
};


char *
ngx_http_rcache_set_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_rcache_main_conf_t  *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == ngx_http_rcache_status_handler) {
        return "is duplicate";
    }

    if (rmcf->policy.len == 0
        && ngx_http_rcache_dashboard_policy(cf, &rmcf->policy) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    clcf->handler = ngx_http_rcache_status_handler;

    /* the cache of the server is not meant for this */

    if (rlcf->enable == NGX_CONF_UNSET) {
        rlcf->enable = 0;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_rcache_status_handler(ngx_http_request_t *r)
{
    ngx_int_t              rc, format;
    ngx_http_rcache_out_t  out;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    format = ngx_http_rcache_status_format(r);

    if (format == NGX_ERROR) {
        return NGX_HTTP_NOT_FOUND;
    }

    ngx_memzero(&out, sizeof(ngx_http_rcache_out_t));

    out.pool = r->pool;
    out.last = &out.out;

    if (ngx_http_rcache_status_write(r, &out, format) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    out.buf->last_buf = (r == r->main) ? 1 : 0;
    out.buf->last_in_chain = 1;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = out.size;
    r->headers_out.content_type = ngx_http_rcache_status_content[format];
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_http_rcache_status_headers(r, format) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out.out);
}


static ngx_int_t
ngx_http_rcache_status_write(ngx_http_request_t *r,
    ngx_http_rcache_out_t *out, ngx_int_t format)
{
    ngx_http_rcache_snapshot_t   *snapshot;
    ngx_http_rcache_main_conf_t  *rmcf;

    if (format == NGX_HTTP_RCACHE_STATUS_HTML) {
        return ngx_http_rcache_status_page(out);
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_redis_proxy_cache_module);

    snapshot = ngx_http_rcache_status_snapshot(r, &rmcf->zones);
    if (snapshot == NULL) {
        return NGX_ERROR;
    }

    if (format == NGX_HTTP_RCACHE_STATUS_JSON) {
        ngx_http_rcache_status_json(out, snapshot, rmcf->zones.nelts);

    } else {
        ngx_http_rcache_status_text(out, snapshot, rmcf->zones.nelts,
                                 format == NGX_HTTP_RCACHE_STATUS_OPENMETRICS);
    }

    return (out->failed || out->buf == NULL) ? NGX_ERROR : NGX_OK;
}


/* it is sent from where it is */

static ngx_int_t
ngx_http_rcache_status_page(ngx_http_rcache_out_t *out)
{
    ngx_str_t     page;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_calloc_buf(out->pool);
    cl = ngx_alloc_chain_link(out->pool);

    if (b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    page = ngx_http_rcache_dashboard();

    b->pos = page.data;
    b->last = page.data + page.len;
    b->memory = 1;

    cl->buf = b;
    cl->next = NULL;

    out->out = cl;
    out->buf = b;
    out->size = page.len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_status_headers(ngx_http_request_t *r, ngx_int_t format)
{
    ngx_http_rcache_main_conf_t  *rmcf;

    if (ngx_http_rcache_add_header(r, "Cache-Control", (u_char *) "no-store",
                                   sizeof("no-store") - 1)
        == NULL
        || ngx_http_rcache_add_header(r, "Vary", (u_char *) "Accept",
                                      sizeof("Accept") - 1)
           == NULL
        || ngx_http_rcache_add_header(r, "X-Content-Type-Options",
                                      (u_char *) "nosniff",
                                      sizeof("nosniff") - 1)
           == NULL)
    {
        return NGX_ERROR;
    }

    if (format != NGX_HTTP_RCACHE_STATUS_HTML) {
        return NGX_OK;
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_redis_proxy_cache_module);

    if (ngx_http_rcache_add_header(r, "Content-Security-Policy",
                                   rmcf->policy.data, rmcf->policy.len)
        == NULL
        || ngx_http_rcache_add_header(r, "Referrer-Policy",
                                      (u_char *) "no-referrer",
                                      sizeof("no-referrer") - 1)
           == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* ?format= says it, or how the path ends, or Accept; NGX_ERROR: a wrong one */

static ngx_int_t
ngx_http_rcache_status_format(ngx_http_request_t *r)
{
    u_char     *p, *last;
    ngx_str_t   name;
    ngx_int_t   format;

    if (ngx_http_arg(r, (u_char *) "format", sizeof("format") - 1, &name)
        == NGX_OK)
    {
        return ngx_http_rcache_status_named(&name);
    }

    last = r->uri.data + r->uri.len;

    for (p = last; p > r->uri.data; p--) {
        if (p[-1] == '/' || p[-1] == '.') {
            break;
        }
    }

    name.data = p;
    name.len = last - p;

    format = ngx_http_rcache_status_named(&name);

    if (format != NGX_ERROR) {
        return format;
    }

    return ngx_http_rcache_status_accepted(r);
}


static ngx_int_t
ngx_http_rcache_status_named(ngx_str_t *name)
{
    ngx_int_t  i;

    for (i = 0; i < NGX_HTTP_RCACHE_STATUS_FORMATS; i++) {

        if (ngx_http_rcache_status_names[i].len == name->len
            && ngx_strncmp(ngx_http_rcache_status_names[i].data, name->data,
                           name->len)
               == 0)
        {
            return i;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_rcache_status_accepted(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NGX_HTTP_RCACHE_STATUS_TEXT;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("Accept") - 1
            && ngx_strncasecmp(h[i].key.data, (u_char *) "Accept",
                               sizeof("Accept") - 1)
               == 0)
        {
            return (ngx_int_t) rcache_accept(&h[i].value,
                                             ngx_http_rcache_status_types,
                                             NGX_HTTP_RCACHE_STATUS_FORMATS);
        }
    }
}


/* each zone is added up once, so what is shown of it agrees with itself */

static ngx_http_rcache_snapshot_t *
ngx_http_rcache_status_snapshot(ngx_http_request_t *r, ngx_array_t *zones)
{
    ngx_uint_t                    i, n;
    ngx_http_rcache_zone_t      **zone;
    ngx_http_rcache_snapshot_t   *snapshot, *s;
    ngx_http_rcache_stats_sh_t   *sh;

    snapshot = ngx_pcalloc(r->pool, zones->nelts
                                    * sizeof(ngx_http_rcache_snapshot_t) + 1);
    if (snapshot == NULL) {
        return NULL;
    }

    zone = zones->elts;

    for (i = 0; i < zones->nelts; i++) {
        s = &snapshot[i];

        s->zone = zone[i];
        sh = zone[i]->stats->sh;

        s->nlabels = sh->nlabels;
        s->label = ngx_palloc(r->pool, s->nlabels
                                      * sizeof(ngx_http_rcache_stats_label_t));
        if (s->label == NULL) {
            return NULL;
        }

        for (n = 0; n < s->nlabels; n++) {
            ngx_http_rcache_stats_sum_label(sh, n, &s->label[n]);
        }

        ngx_http_rcache_stats_sum_zone(sh, &s->sum);

        if (ngx_http_rcache_status_keys(r, sh, s) != NGX_OK) {
            return NULL;
        }

        s->state[RCACHE_STATE_UP] =
                       !zone[i]->health->bad[NGX_HTTP_RCACHE_HEALTH_CONNECT];
        s->state[RCACHE_STATE_SLOW] =
                                  ngx_http_rcache_redis_slow(zone[i]->redis);
        s->state[RCACHE_STATE_BYTES] = ngx_http_rcache_status_bytes(zone[i]);
        s->state[RCACHE_STATE_WORKERS] = s->sum.pid;
        s->state[RCACHE_STATE_SINCE] = sh->since;
    }

    return snapshot;
}


static int64_t
ngx_http_rcache_status_bytes(ngx_http_rcache_zone_t *zone)
{
    ngx_shmtx_t      *mutex;
    rcache_sample_t   sample;

    if (zone->sample == 0) {
        return 0;
    }

    mutex = &((ngx_slab_pool_t *) zone->shm->shm.addr)->mutex;

    ngx_shmtx_lock(mutex);

    sample = zone->health->sample.sample;

    ngx_shmtx_unlock(mutex);

    return (int64_t) rcache_sample_total(&sample);
}


static ngx_int_t
ngx_http_rcache_status_keys(ngx_http_request_t *r,
    ngx_http_rcache_stats_sh_t *sh, ngx_http_rcache_snapshot_t *s)
{
    ngx_uint_t            i;
    rcache_sketch_sum_t  *sum;

    for (i = 0; sh->top && i < 2; i++) {
        sum = &s->keys[i];

        sum->max = (unsigned) (sh->top * sh->nblocks);
        sum->entry = ngx_palloc(r->pool,
                                sum->max * sizeof(rcache_sketch_entry_t));
        if (sum->entry == NULL) {
            return NGX_ERROR;
        }

        ngx_http_rcache_stats_sum_keys(sh, i, sum);
        rcache_sketch_sort(sum);

        sum->n = ngx_min(sum->n, (unsigned) sh->top);
    }

    return NGX_OK;
}
