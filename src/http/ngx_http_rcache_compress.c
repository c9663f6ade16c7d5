
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * redis_proxy_cache_compress: what is not longer than a segment may be kept
 * compressed in Redis.  It is done in one go when the body is complete, from
 * memory to memory, and undone in one go before the header of a hit is sent;
 * or not at all, if the client accepts it as it is.
 */


#include "ngx_http_rcache_body.h"
#include <zlib.h>
#include <zstd.h>


/* what a header says of the bytes of the body, and would be wrong of others */

static char  *ngx_http_rcache_digests[] = {
    "content-digest",
    "content-md5",
    "digest",
    "repr-digest",
    NULL
};


static ngx_uint_t ngx_http_rcache_compress_forbidden(ngx_http_request_t *r);
static ssize_t ngx_http_rcache_gzip(ngx_http_rcache_body_conf_t *conf,
    ngx_chain_t *in, u_char *dst, size_t room);
static ssize_t ngx_http_rcache_zstd(ngx_http_rcache_body_conf_t *conf,
    ngx_chain_t *in, size_t size, u_char *dst, size_t room);
static ngx_int_t ngx_http_rcache_pass_coded(ngx_http_request_t *r,
    rcache_entry_t *entry);
static ngx_int_t ngx_http_rcache_add_header(ngx_http_request_t *r, char *name,
    ngx_str_t *value, ngx_table_elt_t **header);
static ngx_int_t ngx_http_rcache_vary_coding(ngx_http_request_t *r);
static ngx_uint_t ngx_http_rcache_accepts(ngx_http_request_t *r,
    unsigned coding);
static ngx_int_t ngx_http_rcache_decompress(rcache_entry_t *entry,
    u_char *dst, size_t size);


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

    n = (conf->compress == RCACHE_CODING_GZIP)
        ? ngx_http_rcache_gzip(conf, in, b->pos, room)
        : ngx_http_rcache_zstd(conf, in, size, b->pos, room);

    if (n <= 0) {
        (void) ngx_pfree(pool, b->start);
        return NULL;
    }

    b->last += n;

    return b;
}


/* bytes written; 0: there is no room for all of it, or no memory */

static ssize_t
ngx_http_rcache_gzip(ngx_http_rcache_body_conf_t *conf, ngx_chain_t *in,
    u_char *dst, size_t room)
{
    int       rc;
    ssize_t   n;
    z_stream  z;

    ngx_memzero(&z, sizeof(z_stream));

    if (deflateInit2(&z, (int) conf->level, Z_DEFLATED, MAX_WBITS + 16,
                     MAX_MEM_LEVEL - 1, Z_DEFAULT_STRATEGY)
        != Z_OK)
    {
        return 0;
    }

    z.next_out = dst;
    z.avail_out = (uInt) room;

    rc = Z_OK;

    for ( /* void */ ; in && rc == Z_OK; in = in->next) {
        z.next_in = in->buf->pos;
        z.avail_in = (uInt) (in->buf->last - in->buf->pos);

        rc = deflate(&z, in->next ? Z_NO_FLUSH : Z_FINISH);

        if (in->next && z.avail_in) {
            rc = Z_BUF_ERROR;
        }
    }

    n = (rc == Z_STREAM_END) ? (ssize_t) (room - z.avail_out) : 0;

    (void) deflateEnd(&z);

    return n;
}


static ssize_t
ngx_http_rcache_zstd(ngx_http_rcache_body_conf_t *conf, ngx_chain_t *in,
    size_t size, u_char *dst, size_t room)
{
    size_t          rc;
    ssize_t         n;
    ZSTD_CCtx      *z;
    ZSTD_inBuffer   from;
    ZSTD_outBuffer  to;

    z = ZSTD_createCCtx();
    if (z == NULL) {
        return 0;
    }

    (void) ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel,
                                  (int) conf->level);
    (void) ZSTD_CCtx_setPledgedSrcSize(z, size);

    to.dst = dst;
    to.size = room;
    to.pos = 0;

    n = 0;

    for ( /* void */ ; in; in = in->next) {
        from.src = in->buf->pos;
        from.size = in->buf->last - in->buf->pos;
        from.pos = 0;

        rc = ZSTD_compressStream2(z, &to, &from,
                                  in->next ? ZSTD_e_continue : ZSTD_e_end);

        if (ZSTD_isError(rc) || from.pos != from.size) {
            break;
        }

        if (in->next == NULL && rc == 0) {
            n = (ssize_t) to.pos;
        }
    }

    (void) ZSTD_freeCCtx(z);

    return n;
}


ngx_int_t
ngx_http_rcache_coded(ngx_http_request_t *r, rcache_entry_t *entry)
{
    u_char                      *p;
    size_t                       size;
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if (rlcf->body.pass && r == r->main) {

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

    if (entry->plain) {

        /* it has been decoded before */

        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_rcache_decompress(entry, p, size) != NGX_OK) {
        return NGX_DECLINED;
    }

    entry->body.data = p;
    entry->body.len = size;
    entry->plain = 1;

    return NGX_OK;
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

    if (ngx_http_rcache_add_header(r, "Content-Encoding", &name,
                                   &r->headers_out.content_encoding)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

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

    r->headers_out.content_length_n = entry->body_len;

    entry->passed = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_add_header(ngx_http_request_t *r, char *name,
    ngx_str_t *value, ngx_table_elt_t **header)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    if (header) {
        *header = h;
    }

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

    return ngx_http_rcache_add_header(r, "Vary", &name, NULL);
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

    rc = ngx_http_rcache_decompress(entry, p, (size_t) entry->coding.length);

    *sum = rcache_sum(p, (size_t) entry->coding.length);

    ngx_free(p);

    return rc;
}


/* the whole of it, of that length, and nothing behind it */

static ngx_int_t
ngx_http_rcache_decompress(rcache_entry_t *entry, u_char *dst, size_t size)
{
    int        rc;
    ngx_int_t  ok;
    z_stream   z;

    if (entry->coding.coding == RCACHE_CODING_ZSTD) {
        return (ZSTD_decompress(dst, size, entry->body.data, entry->body.len)
                == size)
               ? NGX_OK : NGX_ERROR;
    }

    ngx_memzero(&z, sizeof(z_stream));

    if (inflateInit2(&z, MAX_WBITS + 16) != Z_OK) {
        return NGX_ERROR;
    }

    z.next_in = entry->body.data;
    z.avail_in = (uInt) entry->body.len;
    z.next_out = dst;
    z.avail_out = (uInt) size;

    rc = inflate(&z, Z_FINISH);

    ok = (rc == Z_STREAM_END && z.avail_in == 0 && z.avail_out == 0);

    (void) inflateEnd(&z);

    return ok ? NGX_OK : NGX_ERROR;
}
