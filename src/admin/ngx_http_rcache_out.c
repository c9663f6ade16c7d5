
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_status.h"


#define NGX_HTTP_RCACHE_OUT_BUFFER  16384
#define NGX_HTTP_RCACHE_OUT_MAX     1024


static u_char *ngx_http_rcache_out_room(ngx_http_rcache_out_t *out);
static void ngx_http_rcache_out_quoted(ngx_http_rcache_out_t *out,
    ngx_str_t *s, ngx_uint_t json);


void
ngx_http_rcache_out(ngx_http_rcache_out_t *out, const char *fmt, ...)
{
    u_char   *p, *last;
    va_list   args;

    p = ngx_http_rcache_out_room(out);
    if (p == NULL) {
        return;
    }

    va_start(args, fmt);
    last = ngx_vslprintf(p, p + NGX_HTTP_RCACHE_OUT_MAX, fmt, args);
    va_end(args);

    out->buf->last = last;
    out->size += last - p;
}


/* where NGX_HTTP_RCACHE_OUT_MAX bytes may be written */

static u_char *
ngx_http_rcache_out_room(ngx_http_rcache_out_t *out)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = out->buf;

    if (b && b->end - b->last >= NGX_HTTP_RCACHE_OUT_MAX) {
        return b->last;
    }

    if (out->failed) {
        return NULL;
    }

    b = ngx_create_temp_buf(out->pool, NGX_HTTP_RCACHE_OUT_BUFFER);
    cl = ngx_alloc_chain_link(out->pool);

    if (b == NULL || cl == NULL) {
        out->failed = 1;
        out->buf = NULL;
        return NULL;
    }

    cl->buf = b;
    cl->next = NULL;

    *out->last = cl;
    out->last = &cl->next;
    out->buf = b;

    return b->last;
}


void
ngx_http_rcache_out_json(ngx_http_rcache_out_t *out, ngx_str_t *s)
{
    ngx_http_rcache_out_quoted(out, s, 1);
}


void
ngx_http_rcache_out_label(ngx_http_rcache_out_t *out, ngx_str_t *s)
{
    ngx_http_rcache_out_quoted(out, s, 0);
}


/*
 * What is not printable ASCII is percent-encoded, so that it is valid UTF-8
 * whatever the bytes are; a "%" stays, for keys mostly are URLs.
 */

static void
ngx_http_rcache_out_quoted(ngx_http_rcache_out_t *out, ngx_str_t *s,
    ngx_uint_t json)
{
    u_char  *p, *end, *start, *last;

    p = s->data;
    last = p + s->len;

    ngx_http_rcache_out(out, "\"");

    while (p < last) {

        start = ngx_http_rcache_out_room(out);
        if (start == NULL) {
            return;
        }

        for (end = start;
             p < last && end < start + NGX_HTTP_RCACHE_OUT_MAX - 6;
             p++)
        {
            if (*p == '"' || *p == '\\') {
                *end++ = '\\';
                *end++ = *p;

            } else if (json && *p == '<') {

                /* it may end up in a page */

                end = ngx_cpymem(end, "\\u003c", sizeof("\\u003c") - 1);

            } else if (*p < 0x20 || *p > 0x7e) {
                end = ngx_sprintf(end, "%%%02Xd", (ngx_int_t) *p);

            } else {
                *end++ = *p;
            }
        }

        out->buf->last = end;
        out->size += end - start;
    }

    ngx_http_rcache_out(out, "\"");
}
