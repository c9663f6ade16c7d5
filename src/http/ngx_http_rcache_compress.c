
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * redis_proxy_cache_compress: a body may be kept compressed in Redis.  What is
 * not longer than a segment is compressed when it is complete, and decompressed
 * before the header of a hit is sent; or not at all, if the client accepts it
 * as it is.  In segments each is for itself, when it leaves for Redis
 * (ngx_http_rcache_upload.c) and when it comes from there
 * (ngx_http_rcache_stream.c).
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_response.h"


/* what a header says of the bytes of the body, and would be wrong of others */

static char  *ngx_http_rcache_digests[] = {
    "content-digest",
    "content-md5",
    "digest",
    "repr-digest",
    NULL
};


static ngx_uint_t ngx_http_rcache_compress_forbidden(ngx_http_request_t *r);
static ngx_uint_t ngx_http_rcache_passable(ngx_http_request_t *r,
    rcache_entry_t *entry);
static ngx_int_t ngx_http_rcache_pass_coded(ngx_http_request_t *r,
    rcache_entry_t *entry);
static ngx_int_t ngx_http_rcache_vary_coding(ngx_http_request_t *r);
static ngx_uint_t ngx_http_rcache_accepts(ngx_http_request_t *r,
    unsigned coding);


ngx_uint_t
ngx_http_rcache_compressible(ngx_http_request_t *r)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    return rlcf->body.compress != RCACHE_CODING_NONE
           && r->headers_out.status == NGX_HTTP_OK
           && (r->headers_out.content_encoding == NULL
               || r->headers_out.content_encoding->value.len == 0)
           && (r->headers_out.content_length_n == -1
               || r->headers_out.content_length_n
                  >= (off_t) rlcf->body.min_length)
           && ngx_http_test_content_type(r, &rlcf->body.types)
           && !ngx_http_rcache_compress_forbidden(r);
}


/* RFC 9111, 5.2.2.6: no-transform; and what depends on the very bytes */

static ngx_uint_t
ngx_http_rcache_compress_forbidden(ngx_http_request_t *r)
{
    char             **name;
    ngx_str_t          no_transform;
    ngx_uint_t         i;
    ngx_list_part_t   *part;
    ngx_table_elt_t   *h;

    ngx_str_set(&no_transform, "no-transform");

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return 0;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash == 0) {
            continue;
        }

        if (rcache_str_is(&h[i].key, "cache-control")
            && rcache_str_listed(&h[i].value, &no_transform))
        {
            return 1;
        }

        for (name = ngx_http_rcache_digests; *name; name++) {
            if (rcache_str_is(&h[i].key, *name)) {
                return 1;
            }
        }
    }
}


ngx_buf_t *
ngx_http_rcache_compress(ngx_pool_t *pool, ngx_http_rcache_body_conf_t *conf,
    ngx_chain_t *in, size_t size)
{
    size_t      room;
    ssize_t     n;
    ngx_buf_t  *b;

    /* less than an eighth is not worth it */

    room = size - size / 8;

    b = ngx_create_temp_buf(pool, room);
    if (b == NULL) {
        return NULL;
    }

    n = ngx_http_rcache_encode(conf, 0, in, size, b->pos, room);

    if (n <= 0) {
        (void) ngx_pfree(pool, b->start);
        return NULL;
    }

    b->last += n;

    return b;
}


ngx_int_t
ngx_http_rcache_coded(ngx_http_request_t *r, rcache_entry_t *entry)
{
    u_char  *p;
    size_t   size;

    if (ngx_http_rcache_passable(r, entry)) {

        /* what others get is another one, whoever this is for */

        if (ngx_http_rcache_vary_coding(r) != NGX_OK) {
            return NGX_ERROR;
        }

        if (ngx_http_rcache_accepts(r, entry->coding.coding)) {
            return ngx_http_rcache_pass_coded(r, entry);
        }
    }

    size = (size_t) entry->coding.length;

    r->headers_out.content_length_n = size;

    if (entry->plain || (entry->flags & RCACHE_ENTRY_SEGMENTED)) {

        /* it has been decoded before, or will be as it comes */

        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_rcache_decode(entry->coding.coding, 0, &entry->body, p, size)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    entry->body.data = p;
    entry->body.len = size;
    entry->plain = 1;

    return NGX_OK;
}


ngx_uint_t
ngx_http_rcache_passes(ngx_http_request_t *r, rcache_entry_t *entry)
{
    return (entry->flags & RCACHE_ENTRY_CODED)
           && ngx_http_rcache_passable(r, entry)
           && ngx_http_rcache_accepts(r, entry->coding.coding);
}


/*
 * Segments are one gzip member together, but as many frames of zstd, and not
 * all who read it read on behind the first.
 */

static ngx_uint_t
ngx_http_rcache_passable(ngx_http_request_t *r, rcache_entry_t *entry)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    return rlcf->body.pass
           && r == r->main
           && (entry->coding.coding == RCACHE_CODING_GZIP
               || !(entry->flags & RCACHE_ENTRY_SEGMENTED));
}


/*
 * RFC 9110, 8.8.3: what is coded has not the strong validator of what is not.
 * Ranges would be those of the coded body: there are none.
 */

static ngx_int_t
ngx_http_rcache_pass_coded(ngx_http_request_t *r, rcache_entry_t *entry)
{
    u_char           *p;
    ngx_str_t         name;
    ngx_table_elt_t  *h;

    name = rcache_coding_name(entry->coding.coding);

    h = ngx_http_rcache_add_header(r, "Content-Encoding", name.data, name.len);
    if (h == NULL) {
        return NGX_ERROR;
    }

    r->headers_out.content_encoding = h;

    h = r->headers_out.etag;

    if (h && h->value.len && h->value.data[0] != 'W') {
        p = ngx_pnalloc(r->pool, h->value.len + 2);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(p, "W/", 2);
        ngx_memcpy(p + 2, h->value.data, h->value.len);

        h->value.data = p;
        h->value.len += 2;
    }

    /* of segments nobody knows what they are together */

    r->headers_out.content_length_n = (entry->flags & RCACHE_ENTRY_SEGMENTED)
                                      ? -1 : (off_t) entry->body_len;

    entry->passed = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_vary_coding(ngx_http_request_t *r)
{
    ngx_str_t         name;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ngx_str_set(&name, "Accept-Encoding");

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

        if (h[i].hash
            && rcache_str_is(&h[i].key, "vary")
            && rcache_str_listed(&h[i].value, &name))
        {
            return NGX_OK;
        }
    }

    h = ngx_http_rcache_add_header(r, "Vary", name.data, name.len);

    return h ? NGX_OK : NGX_ERROR;
}


/* several lines are one list; what is not there accepts nothing here */

static ngx_uint_t
ngx_http_rcache_accepts(ngx_http_request_t *r, unsigned coding)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return 0;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (rcache_str_is(&h[i].key, "accept-encoding")
            && rcache_coding_accepted(&h[i].value, coding))
        {
            return 1;
        }
    }
}


ngx_int_t
ngx_http_rcache_plain_sum(rcache_entry_t *entry, uint64_t *sum,
    uint64_t *length)
{
    u_char     *p;
    ngx_int_t   rc;

    *sum = entry->body_sum;
    *length = entry->body_len;

    if (!(entry->flags & RCACHE_ENTRY_CODED)) {
        return NGX_OK;
    }

    *length = entry->coding.length;

    if (entry->plain) {
        *sum = rcache_sum(entry->body.data, entry->body.len);
        return NGX_OK;
    }

    p = ngx_alloc(entry->coding.length, ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_rcache_decode(entry->coding.coding, 0, &entry->body, p,
                                (size_t) entry->coding.length);

    *sum = rcache_sum(p, (size_t) entry->coding.length);

    ngx_free(p);

    return rc;
}
