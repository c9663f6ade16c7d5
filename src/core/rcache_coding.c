
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_coding.h"
#include "rcache_bytes.h"


#define RCACHE_CODING_AT_CRC     4
#define RCACHE_CODING_AT_LENGTH  8


static int rcache_coding_weight(const u_char *p, const u_char *last);


u_char *
rcache_coding_put(u_char *p, const rcache_coding_t *c)
{
    rcache_put32(p, c->coding);
    rcache_put32(p + RCACHE_CODING_AT_CRC, c->crc);
    rcache_put64(p + RCACHE_CODING_AT_LENGTH, c->length);

    return p + RCACHE_CODING_BLOCK;
}


void
rcache_coding_get(rcache_coding_t *c, const u_char *p)
{
    c->coding = p[0];
    c->crc = rcache_get32(p + RCACHE_CODING_AT_CRC);
    c->length = rcache_get64(p + RCACHE_CODING_AT_LENGTH);
}


int
rcache_coding_valid(const rcache_coding_t *c)
{
    return c->coding == RCACHE_CODING_GZIP || c->coding == RCACHE_CODING_ZSTD;
}


/* RFC 1952, 2.3: deflate, no flags, no time, nothing said of the maker */

void
rcache_gzip_begin(u_char *dst)
{
    static const u_char  header[RCACHE_GZIP_BEGIN] = {
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255
    };

    memcpy(dst, header, RCACHE_GZIP_BEGIN);
}


u_char *
rcache_gzip_stored(u_char *dst, const rcache_str_t *src)
{
    size_t         n, rest;
    const u_char  *p;

    p = src->data;

    for (rest = src->len; rest; rest -= n) {
        n = (rest < RCACHE_GZIP_BLOCK) ? rest : RCACHE_GZIP_BLOCK;

        *dst++ = 0;
        rcache_put16(dst, (uint16_t) n);
        rcache_put16(dst + 2, (uint16_t) ~n);
        memcpy(dst + 4, p, n);

        dst += 4 + n;
        p += n;
    }

    return dst;
}


/* a final block that is empty, the sum, and the length modulo 2^32 */

void
rcache_gzip_end(u_char *dst, const rcache_coding_t *c)
{
    dst[0] = 3;
    dst[1] = 0;

    rcache_put32(dst + 2, c->crc);
    rcache_put32(dst + 6, (uint32_t) c->length);
}


rcache_str_t
rcache_coding_name(unsigned coding)
{
    rcache_str_t  name;

    name.data = (u_char *) (coding == RCACHE_CODING_GZIP ? "gzip" : "zstd");
    name.len = 4;

    return name;
}


int
rcache_coding_accepted(const rcache_str_t *value, unsigned coding)
{
    int            any;
    u_char        *p, *last, *end;
    rcache_str_t   token, name;

    any = 0;
    name = rcache_coding_name(coding);

    p = value->data;
    last = value->data + value->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
            p++;
        }

        token.data = p;

        while (p < last && rcache_token[*p]) {
            p++;
        }

        token.len = p - token.data;

        for (end = p; end < last && *end != ','; end++) { /* void */ }

        if (token.len == 1 && token.data[0] == '*') {
            any = rcache_coding_weight(p, end);

        } else if (rcache_str_same(&token, &name)) {
            return rcache_coding_weight(p, end);
        }

        p = end;
    }

    return any;
}


/* of what follows a coding: 0 if it says "q=0", or cannot be understood */

static int
rcache_coding_weight(const u_char *p, const u_char *last)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    if (p == last) {
        return 1;
    }

    if (*p++ != ';') {
        return 0;
    }

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    if (last - p < 3 || (p[0] | 0x20) != 'q' || p[1] != '=') {
        return 0;
    }

    for (p += 2; p < last; p++) {
        if (*p >= '1' && *p <= '9') {
            return 1;
        }
    }

    return 0;
}
