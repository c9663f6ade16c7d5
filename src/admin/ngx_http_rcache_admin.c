
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * A location to which a program says what is to be purged.  Its Content-Type
 * has to be that of JSON: a page of another site, in the browser of somebody
 * who may purge, cannot send that unasked.
 */


#include "ngx_http_rcache_admin.h"
#include "../http/ngx_http_rcache_conf.h"
#include "../http/ngx_http_rcache_lookup.h"
#include "../http/ngx_http_rcache_response.h"
#include "../http/ngx_http_rcache_zone.h"


#define NGX_HTTP_RCACHE_ADMIN_BODY  (256 * 1024)

#define NGX_HTTP_RCACHE_ADMIN_TYPE  "application/json"


typedef struct {
    ngx_http_request_t             *request;
    ngx_http_rcache_zone_t         *zone;
    ngx_http_rcache_purge_t        *purge;     /* NULL: it is over */
    ngx_http_rcache_admin_purge_t   what;
} ngx_http_rcache_admin_t;


static ngx_int_t ngx_http_rcache_admin_handler(ngx_http_request_t *r);
static void ngx_http_rcache_admin_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_admin_start(ngx_http_request_t *r);
static ngx_int_t ngx_http_rcache_admin_text(ngx_http_request_t *r,
    ngx_str_t *text);
static ngx_http_rcache_zone_t *ngx_http_rcache_admin_zone(
    ngx_http_request_t *r);
static ngx_uint_t ngx_http_rcache_admin_is_json(ngx_http_request_t *r);
static void ngx_http_rcache_admin_done(void *data, rcache_purge_id_t *id);
static ngx_int_t ngx_http_rcache_admin_answer(ngx_http_request_t *r,
    ngx_http_rcache_admin_purge_t *what, rcache_purge_id_t *id);
static void ngx_http_rcache_admin_cleanup(void *data);
static ngx_int_t ngx_http_rcache_admin_status(ngx_http_request_t *r,
    ngx_http_rcache_zone_t *zone);
static ngx_int_t ngx_http_rcache_admin_error(ngx_http_request_t *r,
    ngx_uint_t status, const char *text);
static ngx_int_t ngx_http_rcache_admin_send(ngx_http_request_t *r,
    ngx_uint_t status, u_char *p, size_t len);


char *
ngx_http_rcache_set_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_purge_conf_t *pcf = (ngx_http_rcache_purge_conf_t *)
                                            ((u_char *) conf + cmd->offset);

    ngx_str_t                   *value;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_rcache_loc_conf_t  *rlcf;

    if (pcf->admin.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return ngx_http_rcache_bad_value(cf, &value[1], "the name of a zone");
    }

    pcf->admin = value[1];

    rlcf = ngx_http_conf_get_module_loc_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    ngx_http_rcache_where(cf, &rlcf->lint.admin);

    if (rlcf->enable == NGX_CONF_UNSET) {
        rlcf->enable = 0;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_rcache_admin_handler;

    return NGX_CONF_OK;
}


char *
ngx_http_rcache_admin_merge(ngx_conf_t *cf,
    ngx_http_rcache_purge_conf_t *conf)
{
    ngx_http_rcache_zone_t       *zone;
    ngx_http_rcache_main_conf_t  *rmcf;

    if (conf->admin.len == 0) {
        return NGX_CONF_OK;
    }

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    zone = ngx_http_rcache_zone_find(rmcf, &conf->admin);

    if (zone == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_proxy_cache_admin\" zone \"%V\" is "
                           "unknown, expected one that "
                           "\"redis_proxy_cache_zone\" declares",
                           &conf->admin);
        return NGX_CONF_ERROR;
    }

    zone->purge = 1;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_rcache_admin_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_http_rcache_zone_t  *zone;

    zone = ngx_http_rcache_admin_zone(r);

    if (zone == NULL || zone->follow == NULL) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) {

        rc = ngx_http_discard_request_body(r);

        return (rc == NGX_OK) ? ngx_http_rcache_admin_status(r, zone) : rc;
    }

    if (r->method != NGX_HTTP_POST) {

        rc = ngx_http_discard_request_body(r);

        return (rc == NGX_OK)
               ? ngx_http_rcache_admin_error(r, NGX_HTTP_NOT_ALLOWED,
                                             "expected GET or POST")
               : rc;
    }

    if (!ngx_http_rcache_admin_is_json(r)) {

        rc = ngx_http_discard_request_body(r);

        return (rc == NGX_OK)
               ? ngx_http_rcache_admin_error(r,
                                             NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                             "expected a Content-Type of "
                                             NGX_HTTP_RCACHE_ADMIN_TYPE)
               : rc;
    }

    if (r->headers_in.content_length_n > NGX_HTTP_RCACHE_ADMIN_BODY) {

        rc = ngx_http_discard_request_body(r);

        return (rc == NGX_OK)
               ? ngx_http_rcache_admin_error(r,
                                             NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                             "the body is over 256k")
               : rc;
    }

    rc = ngx_http_read_client_request_body(r, ngx_http_rcache_admin_body);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static ngx_http_rcache_zone_t *
ngx_http_rcache_admin_zone(ngx_http_request_t *r)
{
    ngx_http_rcache_loc_conf_t   *rlcf;
    ngx_http_rcache_main_conf_t  *rmcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);
    rmcf = ngx_http_get_module_main_conf(r, ngx_http_redis_proxy_cache_module);

    return ngx_http_rcache_zone_find(rmcf, &rlcf->purge.admin);
}


static ngx_uint_t
ngx_http_rcache_admin_is_json(ngx_http_request_t *r)
{
    size_t      len;
    ngx_str_t  *type;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;
    len = sizeof(NGX_HTTP_RCACHE_ADMIN_TYPE) - 1;

    return type->len >= len
           && ngx_strncasecmp(type->data,
                              (u_char *) NGX_HTTP_RCACHE_ADMIN_TYPE, len) == 0
           && (type->len == len || type->data[len] == ';'
               || type->data[len] == ' ');
}


static void
ngx_http_rcache_admin_body(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = ngx_http_rcache_admin_start(r);

    if (rc != NGX_AGAIN) {
        ngx_http_finalize_request(r, rc);
    }
}


static ngx_int_t
ngx_http_rcache_admin_start(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_str_t                 text, *keys, *urls;
    ngx_uint_t                i, n;
    const char               *error;
    ngx_pool_cleanup_t       *cln;
    ngx_http_rcache_admin_t  *admin;

    rc = ngx_http_rcache_admin_text(r, &text);

    if (rc == NGX_DECLINED) {
        return ngx_http_rcache_admin_error(r,
                                           NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                           "the body is over 256k");
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_rcache_admin_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    admin = cln->data;
    admin->request = r;
    admin->zone = ngx_http_rcache_admin_zone(r);
    admin->purge = NULL;

    rc = ngx_http_rcache_admin_json(r->pool, &text, admin->zone->secrets,
                                    &admin->what, &error);

    if (rc == NGX_DECLINED) {
        return ngx_http_rcache_admin_error(r, NGX_HTTP_BAD_REQUEST, error);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (admin->what.regexes > ngx_http_rcache_admin_room(admin->zone)) {
        return ngx_http_rcache_admin_error(r, NGX_HTTP_TOO_MANY_REQUESTS,
                                           "8 regexes are at work already: "
                                           "wait, or stop one");
    }

    /* softly, the entries stay */

    n = admin->what.soft ? 0 : admin->what.urls.nelts;
    urls = admin->what.urls.elts;

    keys = ngx_palloc(r->pool, (n + 1) * sizeof(ngx_str_t));
    if (keys == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_rcache_redis_key(r, admin->zone, &urls[i], &keys[i])
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    rc = ngx_http_rcache_purge_start(admin->zone, admin->what.pairs.elts,
                                     admin->what.pairs.nelts, keys, n,
                                     ngx_http_rcache_admin_done, admin,
                                     &admin->purge);

    if (rc == NGX_DECLINED) {
        return ngx_http_rcache_admin_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                           "Redis is not there");
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_rcache_admin_cleanup;

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_AGAIN;
}


/* the body in one piece; NGX_DECLINED: it is too long */

static ngx_int_t
ngx_http_rcache_admin_text(ngx_http_request_t *r, ngx_str_t *text)
{
    off_t         size;
    u_char       *p;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    size = 0;

    for (cl = r->request_body ? r->request_body->bufs : NULL; cl;
         cl = cl->next)
    {
        size += ngx_buf_size(cl->buf);
    }

    if (size > NGX_HTTP_RCACHE_ADMIN_BODY) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(r->pool, (size_t) size + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    text->len = (size_t) size;

    for (cl = r->request_body ? r->request_body->bufs : NULL; cl;
         cl = cl->next)
    {
        b = cl->buf;

        if (ngx_buf_special(b)) {
            continue;
        }

        size = ngx_buf_size(b);

        if (ngx_buf_in_memory(b)) {
            ngx_memcpy(p, b->pos, (size_t) size);

        } else if (ngx_read_file(b->file, p, (size_t) size, b->file_pos)
                   != (ssize_t) size)
        {
            return NGX_ERROR;
        }

        p += size;
    }

    return NGX_OK;
}


static void
ngx_http_rcache_admin_done(void *data, rcache_purge_id_t *id)
{
    ngx_http_rcache_admin_t *admin = data;

    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = admin->request;
    c = r->connection;

    admin->purge = NULL;

    ngx_http_set_log_request(c->log, r);

    rc = id ? ngx_http_rcache_admin_answer(r, &admin->what, id)
            : ngx_http_rcache_admin_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                          "Redis could not be told, or did "
                                          "not answer: try again");

    ngx_http_finalize_request(r, rc);

    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_rcache_admin_answer(ngx_http_request_t *r,
    ngx_http_rcache_admin_purge_t *what, rcache_purge_id_t *id)
{
    u_char  *p;
    size_t   len;

    len = sizeof("{\"id\":\"\",\"tags\":,\"urls\":,\"prefixes\":,"
                 "\"users\":,\"regexes\":,\"stop\":,\"all\":false,"
                 "\"soft\":false}\n")
          + RCACHE_PURGE_ID_LEN + 6 * NGX_INT_T_LEN;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = ngx_snprintf(p, len, "{\"id\":\"%uL-%uL\",\"tags\":%ui,"
                       "\"urls\":%ui,\"prefixes\":%ui,\"users\":%ui,"
                       "\"regexes\":%ui,\"stop\":%ui,"
                       "\"all\":%s,\"soft\":%s}\n",
                       id->ms, id->seq, what->tags, what->urls.nelts,
                       what->prefixes, what->users, what->regexes,
                       what->stops, what->all ? "true" : "false",
                       what->soft ? "true" : "false")
          - p;

    return ngx_http_rcache_admin_send(r, NGX_HTTP_OK, p, len);
}


static void
ngx_http_rcache_admin_cleanup(void *data)
{
    ngx_http_rcache_admin_t *admin = data;

    if (admin->purge) {
        ngx_http_rcache_purge_detach(admin->purge);
    }
}


static ngx_int_t
ngx_http_rcache_admin_status(ngx_http_request_t *r,
    ngx_http_rcache_zone_t *zone)
{
    u_char             *p;
    size_t              len;
    ngx_str_t           jobs;
    rcache_purge_id_t   id;

    if (ngx_http_rcache_admin_jobs(r->pool, zone, &jobs) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = sizeof("{\"follows\":false,\"last\":\"\",\"jobs\":}\n")
          + RCACHE_PURGE_ID_LEN + jobs.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_rcache_follow_last(zone->follow, &id);

    len = ngx_snprintf(p, len,
                       "{\"follows\":%s,\"last\":\"%uL-%uL\",\"jobs\":%V}\n",
                       ngx_http_rcache_follow_blind(zone->follow) ? "false"
                                                                  : "true",
                       id.ms, id.seq, &jobs)
          - p;

    return ngx_http_rcache_admin_send(r, NGX_HTTP_OK, p, len);
}


static ngx_int_t
ngx_http_rcache_admin_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *text)
{
    u_char  *p, *last, *s;
    size_t   len;

    s = (u_char *) text;
    len = ngx_strlen(s);

    p = ngx_pnalloc(r->pool, sizeof("{\"error\":\"\"}\n") + len
                             + ngx_escape_json(NULL, s, len));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    last = ngx_sprintf(p, "{\"error\":\"");
    last = (u_char *) ngx_escape_json(last, s, len);
    last = ngx_sprintf(last, "\"}\n");

    len = last - p;

    if (status == NGX_HTTP_NOT_ALLOWED
        && ngx_http_rcache_add_header(r, "Allow", (u_char *) "GET, HEAD, POST",
                                      sizeof("GET, HEAD, POST") - 1)
           == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_rcache_admin_send(r, status, p, len);
}


static ngx_int_t
ngx_http_rcache_admin_send(ngx_http_request_t *r, ngx_uint_t status,
    u_char *p, size_t len)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = p;
    b->last = p + len;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    r->headers_out.status = status;
    r->headers_out.content_length_n = len;

    ngx_str_set(&r->headers_out.content_type, NGX_HTTP_RCACHE_ADMIN_TYPE);
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}
