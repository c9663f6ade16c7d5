
/*
 * Bodies that are longer than a segment: how they get to Redis while they
 * arrive, and to the client while they come from there.  Private to src/http.
 *
 * A segment is a key of its own.  It always has a TTL, and the entry that
 * names the segments is written last: whoever reads an entry finds all of
 * them, or none is left of one that never was.
 *
 *     while a body arrives        NGX_HTTP_RCACHE_SEGMENT_GRACE, renewed
 *     the entry is there          the TTL of the entry and the grace
 *     the entry is another one    at most the grace, for those who still read
 *     somebody still reads        at least the grace
 */


#ifndef _NGX_HTTP_RCACHE_BODY_H_INCLUDED_
#define _NGX_HTTP_RCACHE_BODY_H_INCLUDED_


#include "ngx_http_rcache.h"


/* milliseconds that a segment lives without an entry that names it */

#define NGX_HTTP_RCACHE_SEGMENT_GRACE  120000

/* and how often that is renewed, by those who need it for longer */

#define NGX_HTTP_RCACHE_SEGMENT_RENEW  30000


/* for the arguments of a command that names many keys; a multiple of 16 */

#define NGX_HTTP_RCACHE_ARGS_POOL  1024


/*
 * ngx_http_rcache_segments.c: commands on the segments of a body.  base is
 * the key that their keys begin with.
 *
 * keys: n arguments for a command, beginning with segment first; the end of
 * them, or NULL.
 *
 * life: segments first to count - 1 shall live for ms milliseconds: at most,
 * with '-', or at least, with '+'; the reply is how many of them there are.
 * unlink: segments 0 to count - 1.  retire: what the beginning of a replaced
 * entry names; '-' with the grace.  drop: the entry, if it is still the one
 * that was seen.  Nobody waits for these.
 */

ngx_str_t *ngx_http_rcache_segment_keys(ngx_pool_t *pool, ngx_str_t *argv,
    ngx_str_t *base, uint64_t id, uint32_t first, uint32_t n);
ngx_http_rcache_op_t *ngx_http_rcache_segments_life(ngx_str_t *base,
    rcache_segments_t *segments, uint32_t first, u_char mode, ngx_msec_t ms);
ngx_http_rcache_op_t *ngx_http_rcache_segments_exist(ngx_str_t *base,
    rcache_segments_t *segments, uint32_t first);
ngx_http_rcache_op_t *ngx_http_rcache_segments_get(ngx_str_t *base,
    rcache_segments_t *segments, uint32_t n);
void ngx_http_rcache_segments_unlink(ngx_http_rcache_zone_t *zone,
    ngx_str_t *base, rcache_segments_t *segments);
void ngx_http_rcache_segments_retire(ngx_http_rcache_zone_t *zone,
    ngx_str_t *base, ngx_str_t *entry);
void ngx_http_rcache_segments_drop(ngx_http_rcache_zone_t *zone,
    ngx_str_t *key, ngx_str_t *seen);

/* the command of drop, NGX_OK, NGX_ERROR; the reply is 1 if it was there */

ngx_int_t ngx_http_rcache_drop_command(ngx_http_rcache_op_t *op,
    ngx_str_t *key, ngx_str_t *seen);

/* submits it; there is nobody who would be told of the reply */

void ngx_http_rcache_segments_send(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op);


/*
 * ngx_http_rcache_upload.c: a body on its way to Redis.  It belongs to a
 * capture, but outlives it until Redis has answered for all segments.
 *
 * create: segments are compressed as conf says, NULL: not; of what is shorter
 * than min_length, nothing.  In a dry run they go nowhere.
 *
 * room: a buffer with room for at least a byte of the body, of which rest
 * bytes are to come, 0 if it is not known.  finish: the last segment leaves,
 * and *entry says what it has to of them; of a dry run it says nothing, and
 * *saved is what compression takes less of Redis.  Either gives the reason for
 * which the body cannot be stored, or RCACHE_REASON_NONE.
 *
 * full: Redis is to have the time to take what is on its way.
 *
 * close: the entry names the segments, or nobody knows whether it does.
 * drop: it does not, and will not.  Either ends the use of the upload.
 */

ngx_http_rcache_upload_t *ngx_http_rcache_upload_create(
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_body_conf_t *conf, size_t min_length);
rcache_reason_e ngx_http_rcache_upload_room(
    ngx_http_rcache_upload_t *upload, uint64_t rest, ngx_buf_t **b);
rcache_reason_e ngx_http_rcache_upload_finish(
    ngx_http_rcache_upload_t *upload, rcache_entry_t *entry, uint64_t *saved);
ngx_uint_t ngx_http_rcache_upload_full(ngx_http_rcache_upload_t *upload);
void ngx_http_rcache_upload_close(ngx_http_rcache_upload_t *upload);
void ngx_http_rcache_upload_drop(ngx_http_rcache_upload_t *upload);


/*
 * ngx_http_rcache_throttle.c: who takes in the body of a response wants less of
 * it at once.  *owner is the one that is created, until it leaves or the
 * request goes.
 *
 * turn: what follows comes in the next turn.  pause: not before resume, or the
 * end of the request's budget.  over: there is nothing more to wait for; in
 * particular, a connection that is kept must show that the other end has closed
 * it.
 */

typedef struct ngx_http_rcache_throttle_s  ngx_http_rcache_throttle_t;

ngx_http_rcache_throttle_t *ngx_http_rcache_throttle_create(
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_http_rcache_throttle_t **owner);
void ngx_http_rcache_throttle_leave(ngx_http_rcache_throttle_t *throttle);
void ngx_http_rcache_throttle_turn(ngx_http_rcache_throttle_t *throttle);
void ngx_http_rcache_throttle_pause(ngx_http_rcache_throttle_t *throttle);
void ngx_http_rcache_throttle_resume(ngx_http_rcache_throttle_t *throttle);
void ngx_http_rcache_throttle_over(ngx_http_rcache_throttle_t *throttle);


/*
 * ngx_http_rcache_pieces.c: a body that is captured, a bit of it in each turn.
 *
 * body: a part of it, for ngx_http_rcache_capture_body().  resume: there is
 * room again.  first: what waits, from that buffer of nginx's on; NULL: nothing
 * does.
 */

ngx_int_t ngx_http_rcache_pieces_body(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_chain_t *in);
void ngx_http_rcache_pieces_resume(ngx_http_rcache_ctx_t *ctx);
ngx_buf_t *ngx_http_rcache_pieces_first(ngx_http_rcache_ctx_t *ctx);


/*
 * ngx_http_rcache_stream.c: a body on its way to the client.
 *
 * probe: are the segments of ctx->entry there?  NGX_AGAIN: Redis is asked,
 * and ngx_http_rcache_probed() will be called with the reason given, or that
 * they are not; NGX_DECLINED: there is nothing to ask; NGX_ERROR: Redis cannot
 * be asked, *reason says why.
 *
 * header: before the header is sent: only the segments of a range are read.
 * start: the header is sent; NGX_OK, NGX_ERROR: the client has to see that
 * there is no more.  write: what is called for more output.
 *
 * end: the last part has come from elsewhere.  cut: it will not come; where
 * the end of the connection is that of the body it will be a reset.
 *
 * drop: forgets all of it.
 */

ngx_int_t ngx_http_rcache_stream_probe(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, rcache_reason_e *reason);
void ngx_http_rcache_stream_header(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_stream_start(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_stream_write(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_stream_end(ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_stream_cut(ngx_http_request_t *r);
void ngx_http_rcache_stream_drop(ngx_http_rcache_ctx_t *ctx);


/*
 * ngx_http_rcache_resume.c: the rest of a body whose segments are lost, from
 * the upstream.
 *
 * create: may it be asked for it?  NGX_OK, and ctx->resume is set, or
 * NGX_DECLINED.  start: asks for the bytes from first to the one in front of
 * end; NGX_OK, NGX_ERROR: the client has to see that there is no more.  wake:
 * what is called for more output.
 *
 * header and body: of the request that asks, whose state is
 * NGX_HTTP_RCACHE_RESUME; request: that one, or NULL.
 */

ngx_int_t ngx_http_rcache_resume_create(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_resume_start(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, uint64_t first, uint64_t end);
ngx_int_t ngx_http_rcache_resume_wake(ngx_http_rcache_ctx_t *ctx);
ngx_http_request_t *ngx_http_rcache_resume_request(
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_resume_header(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
ngx_int_t ngx_http_rcache_resume_body(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_chain_t *in);

/*
 * ngx_http_rcache_compress.c.
 *
 * compressible: may the body of the response in r->headers_out be kept
 * compressed?  compress: the body, of that size, in one buffer from the pool;
 * NULL if it would not be much smaller.  passes: will the client get the body
 * as it is kept?
 */

ngx_uint_t ngx_http_rcache_compressible(ngx_http_request_t *r);
ngx_buf_t *ngx_http_rcache_compress(ngx_pool_t *pool,
    ngx_http_rcache_body_conf_t *conf, ngx_chain_t *in, size_t size);
ngx_uint_t ngx_http_rcache_passes(ngx_http_request_t *r,
    rcache_entry_t *entry);

/*
 * ngx_http_rcache_coder.c: a body, or a part of one, which is a segment, see
 * rcache_coding.h.
 *
 * encode: a chain in memory, of size bytes; bytes written to dst, or 0: there
 * is no room for all of it, or no memory.  decode: NGX_OK, NGX_ERROR: it is
 * not what becomes exactly size bytes.  For a part dst has room for one more.
 */

ssize_t ngx_http_rcache_encode(ngx_http_rcache_body_conf_t *conf,
    ngx_uint_t part, ngx_chain_t *in, size_t size, u_char *dst, size_t room);
ngx_int_t ngx_http_rcache_decode(ngx_uint_t coding, ngx_uint_t part,
    ngx_str_t *src, u_char *dst, size_t size);

/*
 * decode_part: of what came from Redis in place of size bytes *payload becomes
 * what the client is to have, in the pool, or stays where it is; passed: as a
 * piece of the inside of a gzip member.  RCACHE_REASON_NONE, _SEGMENT: it is
 * damaged, _NO_MEMORY.  gzip_piece: what is in front of all of them, or behind;
 * NULL: no memory.
 */

rcache_reason_e ngx_http_rcache_decode_part(ngx_pool_t *pool,
    ngx_uint_t coding, ngx_str_t *payload, size_t size, ngx_uint_t passed);
ngx_chain_t *ngx_http_rcache_gzip_piece(ngx_pool_t *pool,
    rcache_coding_t *coding, ngx_uint_t last);

/* of what is behind that of which it is known, 0 in front of all */

uint32_t ngx_http_rcache_crc(uint32_t crc, u_char *p, size_t len);

/*
 * ngx_http_rcache_filter.c.  take_body: a part of the body, as the state wants
 * it.  pass_body: a part that goes to the client, the last one or not.
 * discard: nobody wants it.  is_last: of that part, in a body that came whole.
 */

ngx_int_t ngx_http_rcache_take_body(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_chain_t *in);
ngx_int_t ngx_http_rcache_pass_body(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_chain_t *in, ngx_uint_t last);
ngx_int_t ngx_http_rcache_discard(ngx_chain_t *in);
ngx_uint_t ngx_http_rcache_is_last(ngx_http_request_t *r, ngx_chain_t *in);

/* what comes behind our filter */

ngx_int_t ngx_http_rcache_output(ngx_http_request_t *r, ngx_chain_t *in);


#endif /* _NGX_HTTP_RCACHE_BODY_H_INCLUDED_ */
