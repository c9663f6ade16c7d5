
/*
 * What a response says and what an entry has of it: from r->headers_out to an
 * entry, and back, with what the client asked for in between.
 */


#ifndef _NGX_HTTP_RCACHE_RESPONSE_H_INCLUDED_
#define _NGX_HTTP_RCACHE_RESPONSE_H_INCLUDED_


#include "ngx_http_rcache.h"
#include "../core/rcache_response.h"


/*
 * ngx_http_rcache_response.c: what a response says.  fields gives the lines
 * of a list as an array, with room for two more, NULL if memory is short.
 */

void ngx_http_rcache_response_init(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_response_t *resp, ngx_uint_t status);
void ngx_http_rcache_response_collect(ngx_http_request_t *r,
    rcache_response_t *resp);
int64_t ngx_http_rcache_response_valid(ngx_http_request_t *r,
    ngx_uint_t status);
int64_t ngx_http_rcache_response_delay(ngx_http_request_t *r);
rcache_field_t *ngx_http_rcache_fields(ngx_pool_t *pool, ngx_list_t *list,
    ngx_uint_t *n);

/* what is written for the zone is signed, if it has a secret */

void ngx_http_rcache_sign(ngx_http_rcache_zone_t *zone,
    rcache_entry_t *entry);

/*
 * The entry's part of what was found out; redis_proxy_cache_jitter is in its
 * lifetime.
 */

void ngx_http_rcache_entry_init(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_entry_t *entry,
    rcache_response_t *resp, rcache_freshness_t *fresh, int64_t delay);

/* how long Redis has to keep that entry, in milliseconds from creation */

int64_t ngx_http_rcache_ttl(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    rcache_response_t *resp, rcache_entry_t *entry);

/*
 * ngx_http_rcache_vary.c: sets ctx->variant and ctx->variant_key for the
 * names that responses vary with; NGX_OK, NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_variant(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_str_t *names);

/*
 * A marker remembers the variants stored under it as bits of 64, one a
 * variant, in place of age and fetch.  seen adds ctx->variant to *marker;
 * many is true if it would be a new one over the limit.
 */

void ngx_http_rcache_variant_seen(ngx_http_rcache_ctx_t *ctx,
    rcache_entry_t *marker);
ngx_uint_t ngx_http_rcache_variants_many(ngx_http_rcache_ctx_t *ctx,
    ngx_uint_t max);

/*
 * ngx_http_rcache_conditional.c: answers If-* and decides on Range for a
 * response that is in r->headers_out.  NGX_OK: go on, a 304 maybe;
 * NGX_DECLINED: it has to be a 412.
 */

ngx_int_t ngx_http_rcache_conditional(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);

/*
 * ngx_http_rcache_head.c: r->headers_out to a message head and back.
 *
 * bound: bytes, write needs no more.  write: where it ended; NULL if the head
 * is longer than RCACHE_HEAD_MAX or a header cannot be stored.  restore: the
 * strings of r->headers_out will point into the entry; NGX_DECLINED if the head
 * is malformed, r->headers_out is then to be cleaned; NGX_ERROR.
 */

size_t ngx_http_rcache_head_bound(ngx_http_request_t *r);
u_char *ngx_http_rcache_head_write(ngx_http_request_t *r,
    rcache_response_t *resp, u_char *p);
ngx_int_t ngx_http_rcache_head_restore(ngx_http_request_t *r,
    rcache_entry_t *entry);

/*
 * Adds a line to r->headers_out, with strings that the caller keeps; NULL: no
 * memory.
 */

ngx_table_elt_t *ngx_http_rcache_add_header(ngx_http_request_t *r, char *name,
    u_char *value, size_t len);

/*
 * ngx_http_rcache_compress.c: the part of it for a body that is kept
 * compressed.  entry->body is the decoded one, unless the client accepts it as
 * it is: then the header says so.  As restore; NGX_DECLINED: it is damaged.
 */

ngx_int_t ngx_http_rcache_coded(ngx_http_request_t *r,
    rcache_entry_t *entry);

/* the sum and the length of the body as it came; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_plain_sum(rcache_entry_t *entry, uint64_t *sum,
    uint64_t *length);

/* ngx_http_rcache_serve.c: content handler of a hit; a body to be sent */

ngx_int_t ngx_http_rcache_serve_handler(ngx_http_request_t *r);
ngx_buf_t *ngx_http_rcache_body_buf(ngx_http_request_t *r,
    rcache_str_t *body);

/* ngx_http_rcache_cache_status.c: adds Cache-Status, RFC 9211, and Via */

ngx_int_t ngx_http_rcache_cache_status(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);


#endif /* _NGX_HTTP_RCACHE_RESPONSE_H_INCLUDED_ */
