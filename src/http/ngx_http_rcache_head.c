
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_response.h"
#include "../core/rcache_date.h"


#define NGX_HTTP_RCACHE_VERSION  "HTTP/1.1 "


/* the length of what ngx_http_time() makes */

#define NGX_HTTP_RCACHE_TIME_LEN  (sizeof("Mon, 28 Sep 1970 06:00:00 GMT") - 1)


typedef struct {
    ngx_str_t             name;
    ngx_int_t           (*handler)(ngx_http_request_t *r, ngx_table_elt_t *h,
                              ngx_uint_t offset);
    ngx_uint_t            offset;
} ngx_http_rcache_header_t;


static u_char *ngx_http_rcache_head_status_line(ngx_http_request_t *r,
    u_char *p);
static u_char *ngx_http_rcache_head_content_type(ngx_http_request_t *r,
    u_char *p);
static u_char *ngx_http_rcache_head_headers(ngx_http_request_t *r,
    rcache_response_t *resp, u_char *p);
static u_char *ngx_http_rcache_head_time(u_char *p, char *name, time_t time);
static u_char *ngx_http_rcache_head_line(u_char *p, ngx_str_t *name,
    ngx_str_t *value);
static ngx_int_t ngx_http_rcache_restore_line(ngx_http_request_t *r,
    rcache_str_t *name, rcache_str_t *value);
static ngx_int_t ngx_http_rcache_restore_date(ngx_http_request_t *r,
    ngx_table_elt_t *h, rcache_entry_t *entry);
static ngx_int_t ngx_http_rcache_restore_age(ngx_http_request_t *r,
    rcache_entry_t *entry);
static void ngx_http_rcache_restore_content_type(ngx_http_request_t *r,
    ngx_str_t *value);
static ngx_int_t ngx_http_rcache_restore_pointer(ngx_http_request_t *r,
    ngx_table_elt_t *h, ngx_uint_t offset);
static ngx_int_t ngx_http_rcache_restore_multi(ngx_http_request_t *r,
    ngx_table_elt_t *h, ngx_uint_t offset);
static ngx_int_t ngx_http_rcache_restore_last_modified(ngx_http_request_t *r,
    ngx_table_elt_t *h, ngx_uint_t offset);
static ngx_int_t ngx_http_rcache_restore_content_range(ngx_http_request_t *r,
    ngx_table_elt_t *h, ngx_uint_t offset);


/*
 * Headers that nginx's filters look for in a field of r->headers_out; all
 * others are only in the list.  The shortest comes first.
 */

static ngx_http_rcache_header_t  ngx_http_rcache_headers[] = {

    { ngx_string("Date"), ngx_http_rcache_restore_pointer,
      offsetof(ngx_http_headers_out_t, date) },

    { ngx_string("ETag"), ngx_http_rcache_restore_pointer,
      offsetof(ngx_http_headers_out_t, etag) },

    { ngx_string("Link"), ngx_http_rcache_restore_multi,
      offsetof(ngx_http_headers_out_t, link) },

    { ngx_string("Server"), ngx_http_rcache_restore_pointer,
      offsetof(ngx_http_headers_out_t, server) },

    { ngx_string("Expires"), ngx_http_rcache_restore_pointer,
      offsetof(ngx_http_headers_out_t, expires) },

    { ngx_string("Refresh"), ngx_http_rcache_restore_pointer,
      offsetof(ngx_http_headers_out_t, refresh) },

    { ngx_string("Location"), ngx_http_rcache_restore_pointer,
      offsetof(ngx_http_headers_out_t, location) },

    { ngx_string("Cache-Control"), ngx_http_rcache_restore_multi,
      offsetof(ngx_http_headers_out_t, cache_control) },

    { ngx_string("Content-Range"), ngx_http_rcache_restore_content_range,
      offsetof(ngx_http_headers_out_t, content_range) },

    { ngx_string("Accept-Ranges"), ngx_http_rcache_restore_pointer,
      offsetof(ngx_http_headers_out_t, accept_ranges) },

    { ngx_string("Last-Modified"), ngx_http_rcache_restore_last_modified,
      offsetof(ngx_http_headers_out_t, last_modified) },

    { ngx_string("Content-Encoding"), ngx_http_rcache_restore_pointer,
      offsetof(ngx_http_headers_out_t, content_encoding) },

    { ngx_string("WWW-Authenticate"), ngx_http_rcache_restore_pointer,
      offsetof(ngx_http_headers_out_t, www_authenticate) },

    { ngx_null_string, NULL, 0 }
};


size_t
ngx_http_rcache_head_bound(ngx_http_request_t *r)
{
    size_t                   size;
    ngx_uint_t               i;
    ngx_list_part_t         *part;
    ngx_table_elt_t         *h;
    ngx_http_headers_out_t  *out;

    out = &r->headers_out;

    size = sizeof(NGX_HTTP_RCACHE_VERSION) + NGX_INT_T_LEN
           + out->status_line.len
           + sizeof("Content-Type: ; charset=")
           + out->content_type.len + out->charset.len
           + sizeof("Last-Modified: Date: ") + 2 * NGX_HTTP_RCACHE_TIME_LEN
           + 5 * sizeof(CRLF);

    part = &out->headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        size += h[i].key.len + sizeof(": ") + h[i].value.len + sizeof(CRLF);
    }

    return size;
}


u_char *
ngx_http_rcache_head_write(ngx_http_request_t *r, rcache_response_t *resp,
    u_char *p)
{
    u_char   *start;
    int32_t   dated;

    start = p;

    p = ngx_http_rcache_head_status_line(r, p);
    if (p == NULL) {
        return NULL;
    }

    p = ngx_http_rcache_head_content_type(r, p);

    if (r->headers_out.last_modified == NULL
        && r->headers_out.last_modified_time != -1)
    {
        p = ngx_http_rcache_head_time(p, "Last-Modified",
                                      r->headers_out.last_modified_time);
    }

    if ((r->headers_out.date == NULL || r->headers_out.date->hash == 0)
        && rcache_response_dated(resp, &dated) != RCACHE_OK)
    {
        p = ngx_http_rcache_head_time(p, "Date", resp->date);
    }

    p = ngx_http_rcache_head_headers(r, resp, p);
    if (p == NULL) {
        return NULL;
    }

    *p++ = CR; *p++ = LF;

    return ((size_t) (p - start) <= RCACHE_HEAD_MAX) ? p : NULL;
}


static u_char *
ngx_http_rcache_head_status_line(ngx_http_request_t *r, u_char *p)
{
    ngx_str_t  *line, name;

    p = ngx_cpymem(p, NGX_HTTP_RCACHE_VERSION,
                   sizeof(NGX_HTTP_RCACHE_VERSION) - 1);

    line = &r->headers_out.status_line;

    if (line->len) {
        ngx_str_set(&name, "Status");

        if (!rcache_head_valid(&name, line)) {
            return NULL;
        }

        p = ngx_cpymem(p, line->data, line->len);

    } else {
        p = ngx_sprintf(p, "%03ui", r->headers_out.status);
    }

    *p++ = CR; *p++ = LF;

    return p;
}


static u_char *
ngx_http_rcache_head_content_type(ngx_http_request_t *r, u_char *p)
{
    ngx_http_headers_out_t  *out;

    out = &r->headers_out;

    if (out->content_type.len == 0) {
        return p;
    }

    p = ngx_cpymem(p, "Content-Type: ", sizeof("Content-Type: ") - 1);
    p = ngx_cpymem(p, out->content_type.data, out->content_type.len);

    /* as ngx_http_header_filter() does */

    if (out->content_type_len == out->content_type.len && out->charset.len) {
        p = ngx_cpymem(p, "; charset=", sizeof("; charset=") - 1);
        p = ngx_cpymem(p, out->charset.data, out->charset.len);
    }

    *p++ = CR; *p++ = LF;

    return p;
}


static u_char *
ngx_http_rcache_head_headers(ngx_http_request_t *r, rcache_response_t *resp,
    u_char *p)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash == 0 || !rcache_response_keeps(resp, &h[i].key)) {
            continue;
        }

        if (!rcache_head_valid(&h[i].key, &h[i].value)) {
            return NULL;
        }

        p = ngx_http_rcache_head_line(p, &h[i].key, &h[i].value);
    }

    return p;
}


static u_char *
ngx_http_rcache_head_time(u_char *p, char *name, time_t time)
{
    u_char     buf[NGX_HTTP_RCACHE_TIME_LEN + 1];
    ngx_str_t  key, value;

    key.data = (u_char *) name;
    key.len = ngx_strlen(name);

    if (time == ngx_time()) {
        value = *(ngx_str_t *) &ngx_cached_http_time;

    } else {
        value.data = buf;
        value.len = ngx_http_time(buf, time) - buf;
    }

    return ngx_http_rcache_head_line(p, &key, &value);
}


static u_char *
ngx_http_rcache_head_line(u_char *p, ngx_str_t *name, ngx_str_t *value)
{
    p = ngx_cpymem(p, name->data, name->len);
    *p++ = ':'; *p++ = ' ';
    p = ngx_cpymem(p, value->data, value->len);
    *p++ = CR; *p++ = LF;

    return p;
}


ngx_int_t
ngx_http_rcache_head_restore(ngx_http_request_t *r, rcache_entry_t *entry)
{
    int               rc;
    rcache_str_t      line, name, value;
    rcache_head_t     h;
    ngx_table_elt_t  *date;

    /* decode has held the status against the head's */

    if (rcache_head_status(&h, &entry->head, &line) != RCACHE_OK
        || entry->status < NGX_HTTP_OK
        || entry->status == NGX_HTTP_NOT_MODIFIED)
    {
        return NGX_DECLINED;
    }

    h.known = entry->known;

    r->headers_out.status = entry->status;

    /* with no reason phrase, nginx has one of its own */

    if (line.len > 3) {
        r->headers_out.status_line = line;
    }

    /* its place is the first one, if no line is found to be it */

    date = ngx_list_push(&r->headers_out.headers);
    if (date == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(date, sizeof(ngx_table_elt_t));

    for ( ;; ) {
        rc = rcache_head_next(&h, &name, &value);

        if (rc == RCACHE_DONE) {
            break;
        }

        if (rc != RCACHE_OK) {
            return NGX_DECLINED;
        }

        if (ngx_http_rcache_restore_line(r, &name, &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (r->headers_out.date == NULL
        && ngx_http_rcache_restore_date(r, date, entry) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* RFC 9110, 8.6: none in a 204 */

    if (entry->status != NGX_HTTP_NO_CONTENT) {
        r->headers_out.content_length_n = entry->body_len;
    }

    if (entry->flags & RCACHE_ENTRY_CODED) {
        rc = ngx_http_rcache_coded(r, entry);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_rcache_restore_age(r, entry);
}


static ngx_int_t
ngx_http_rcache_restore_line(ngx_http_request_t *r, rcache_str_t *name,
    rcache_str_t *value)
{
    ngx_table_elt_t           *h;
    ngx_http_rcache_header_t  *hh;

    if (rcache_str_is(name, "Content-Type")) {
        ngx_http_rcache_restore_content_type(r, value);
        return NGX_OK;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key = *name;
    h->value = *value;

    for (hh = ngx_http_rcache_headers;
         hh->name.len && hh->name.len <= name->len;
         hh++)
    {
        if (rcache_str_same(&hh->name, name)) {
            return hh->handler(r, h, hh->offset);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_restore_date(ngx_http_request_t *r, ngx_table_elt_t *h,
    rcache_entry_t *entry)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, RCACHE_DATE_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_str_set(&h->key, "Date");
    h->value.data = p;
    h->value.len = rcache_date_write(p, rcache_entry_date(entry)) - p;

    r->headers_out.date = h;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_restore_age(ngx_http_request_t *r, rcache_entry_t *entry)
{
    u_char           *p;
    int64_t           now;
    ngx_time_t       *tp;
    ngx_table_elt_t  *h;

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    ngx_str_set(&h->key, "Age");
    h->value.data = p;
    h->value.len = ngx_sprintf(p, "%L", rcache_entry_age(entry, now)) - p;

    return NGX_OK;
}


/*
 * As nginx takes it from an upstream: the value in full, and the length of
 * the part before ";charset=" beside it.
 */

static void
ngx_http_rcache_restore_content_type(ngx_http_request_t *r, ngx_str_t *value)
{
    u_char  *p, *last, *end;

    r->headers_out.content_type = *value;
    r->headers_out.content_type_len = value->len;
    r->headers_out.content_type_lowcase = NULL;

    end = value->data + value->len;

    for (p = value->data; p < end; p++) {

        if (*p != ';') {
            continue;
        }

        last = p++;

        while (p < end && *p == ' ') {
            p++;
        }

        if (end - p < (ssize_t) sizeof("charset=") - 1
            || ngx_strncasecmp(p, (u_char *) "charset=",
                               sizeof("charset=") - 1)
               != 0)
        {
            p--;
            continue;
        }

        p += sizeof("charset=") - 1;

        r->headers_out.content_type_len = last - value->data;

        if (p < end && *p == '"') {
            p++;
        }

        if (end > p && *(end - 1) == '"') {
            end--;
        }

        r->headers_out.charset.len = end - p;
        r->headers_out.charset.data = p;

        return;
    }
}


static ngx_int_t
ngx_http_rcache_restore_pointer(ngx_http_request_t *r, ngx_table_elt_t *h,
    ngx_uint_t offset)
{
    *(ngx_table_elt_t **) ((char *) &r->headers_out + offset) = h;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_restore_multi(ngx_http_request_t *r, ngx_table_elt_t *h,
    ngx_uint_t offset)
{
#if (nginx_version >= 1023000)

    ngx_table_elt_t  **ph;

    ph = (ngx_table_elt_t **) ((char *) &r->headers_out + offset);

    while (*ph) {
        ph = &(*ph)->next;
    }

    *ph = h;

#else

    ngx_array_t       *pa;
    ngx_table_elt_t  **ph;

    pa = (ngx_array_t *) ((char *) &r->headers_out + offset);

    if (pa->elts == NULL
        && ngx_array_init(pa, r->pool, 2, sizeof(ngx_table_elt_t *))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ph = ngx_array_push(pa);
    if (ph == NULL) {
        return NGX_ERROR;
    }

    *ph = h;

#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_restore_last_modified(ngx_http_request_t *r,
    ngx_table_elt_t *h, ngx_uint_t offset)
{
    r->headers_out.last_modified_time = ngx_parse_http_time(h->value.data,
                                                            h->value.len);

    return ngx_http_rcache_restore_pointer(r, h, offset);
}


/* the slice filter reads it up to a NUL, as an upstream's headers have one */

static ngx_int_t
ngx_http_rcache_restore_content_range(ngx_http_request_t *r,
    ngx_table_elt_t *h, ngx_uint_t offset)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, h->value.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(p, h->value.data, h->value.len + 1);

    h->value.data = p;

    return ngx_http_rcache_restore_pointer(r, h, offset);
}


ngx_table_elt_t *
ngx_http_rcache_add_header(ngx_http_request_t *r, char *name, u_char *value,
    size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = value;
    h->value.len = len;

    return h;
}
