
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Compresses and decompresses from memory to memory, in one go: no more than
 * a segment at a time, and nothing is kept in between.
 */


#include "ngx_http_rcache_body.h"
#include <zlib.h>
#include <zstd.h>


static ssize_t ngx_http_rcache_deflate(ngx_int_t level, ngx_uint_t part,
    ngx_chain_t *in, u_char *dst, size_t room);
static ssize_t ngx_http_rcache_zstd(ngx_int_t level, ngx_chain_t *in,
    size_t size, u_char *dst, size_t room);
static ngx_int_t ngx_http_rcache_inflate(ngx_uint_t part, ngx_str_t *src,
    u_char *dst, size_t size);


ssize_t
ngx_http_rcache_encode(ngx_http_rcache_body_conf_t *conf, ngx_uint_t part,
    ngx_chain_t *in, size_t size, u_char *dst, size_t room)
{
    if (conf->compress == RCACHE_CODING_GZIP) {
        return ngx_http_rcache_deflate(conf->level, part, in, dst, room);
    }

    return ngx_http_rcache_zstd(conf->level, in, size, dst, room);
}


/*
 * A part has no final block, ends at the end of a byte, and refers to nothing
 * in front of it: parts can be put together, and read each for itself.  If
 * there is no room left then perhaps not all of it was written.
 */

static ssize_t
ngx_http_rcache_deflate(ngx_int_t level, ngx_uint_t part, ngx_chain_t *in,
    u_char *dst, size_t room)
{
    int       rc, end;
    ssize_t   n;
    z_stream  z;

    ngx_memzero(&z, sizeof(z_stream));

    if (deflateInit2(&z, (int) level, Z_DEFLATED,
                     part ? -MAX_WBITS : MAX_WBITS + 16, MAX_MEM_LEVEL - 1,
                     Z_DEFAULT_STRATEGY)
        != Z_OK)
    {
        return 0;
    }

    z.next_out = dst;
    z.avail_out = (uInt) room;

    rc = Z_OK;
    end = part ? Z_FULL_FLUSH : Z_FINISH;

    for ( /* void */ ; in && rc == Z_OK; in = in->next) {
        z.next_in = in->buf->pos;
        z.avail_in = (uInt) (in->buf->last - in->buf->pos);

        rc = deflate(&z, in->next ? Z_NO_FLUSH : end);

        if (in->next && z.avail_in) {
            rc = Z_BUF_ERROR;
        }
    }

    if (part) {
        rc = (rc == Z_OK && z.avail_in == 0 && z.avail_out) ? Z_STREAM_END
                                                            : Z_BUF_ERROR;
    }

    n = (rc == Z_STREAM_END) ? (ssize_t) (room - z.avail_out) : 0;

    (void) deflateEnd(&z);

    return n;
}


static ssize_t
ngx_http_rcache_zstd(ngx_int_t level, ngx_chain_t *in, size_t size,
    u_char *dst, size_t room)
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

    (void) ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, (int) level);
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
ngx_http_rcache_decode(ngx_uint_t coding, ngx_uint_t part, ngx_str_t *src,
    u_char *dst, size_t size)
{
    if (coding == RCACHE_CODING_GZIP) {
        return ngx_http_rcache_inflate(part, src, dst, size);
    }

    return (ZSTD_decompress(dst, size, src->data, src->len) == size)
           ? NGX_OK : NGX_ERROR;
}


/*
 * Of a part all has been read only if there is no room left but for what would
 * be too much, and it has to end between two blocks, at the end of a byte.
 */

static ngx_int_t
ngx_http_rcache_inflate(ngx_uint_t part, ngx_str_t *src, u_char *dst,
    size_t size)
{
    int        rc;
    ngx_int_t  ok;
    z_stream   z;

    ngx_memzero(&z, sizeof(z_stream));

    if (inflateInit2(&z, part ? -MAX_WBITS : MAX_WBITS + 16) != Z_OK) {
        return NGX_ERROR;
    }

    z.next_in = src->data;
    z.avail_in = (uInt) src->len;
    z.next_out = dst;
    z.avail_out = (uInt) (size + part);

    rc = inflate(&z, part ? Z_SYNC_FLUSH : Z_FINISH);

    ok = (rc == (part ? Z_OK : Z_STREAM_END)
          && z.avail_in == 0
          && z.avail_out == part
          && (!part || (z.data_type & 0xff) == 128));

    (void) inflateEnd(&z);

    return ok ? NGX_OK : NGX_ERROR;
}


uint32_t
ngx_http_rcache_crc(uint32_t crc, u_char *p, size_t len)
{
    return (uint32_t) crc32(crc, p, (uInt) len);
}


rcache_reason_e
ngx_http_rcache_decode_part(ngx_pool_t *pool, ngx_uint_t coding,
    ngx_str_t *payload, size_t size, ngx_uint_t passed)
{
    u_char      *p;
    ngx_uint_t   coded;

    coded = (payload->len < size);

    if (coded == passed) {
        return RCACHE_REASON_NONE;
    }

    p = ngx_palloc(pool, coded ? size + 1 : RCACHE_GZIP_STORED(size));
    if (p == NULL) {
        return RCACHE_REASON_NO_MEMORY;
    }

    if (coded) {

        if (ngx_http_rcache_decode(coding, 1, payload, p, size) != NGX_OK) {
            return RCACHE_REASON_SEGMENT;
        }

        payload->len = size;

    } else {
        payload->len = rcache_gzip_stored(p, payload) - p;
    }

    payload->data = p;

    return RCACHE_REASON_NONE;
}


ngx_chain_t *
ngx_http_rcache_gzip_piece(ngx_pool_t *pool, rcache_coding_t *coding,
    ngx_uint_t last)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_create_temp_buf(pool, last ? RCACHE_GZIP_END : RCACHE_GZIP_BEGIN);
    if (b == NULL) {
        return NULL;
    }

    cl = ngx_alloc_chain_link(pool);
    if (cl == NULL) {
        return NULL;
    }

    if (last) {
        rcache_gzip_end(b->pos, coding);

    } else {
        rcache_gzip_begin(b->pos);
    }

    b->last = b->end;

    cl->buf = b;
    cl->next = NULL;

    return cl;
}
