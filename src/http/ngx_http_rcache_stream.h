
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Private to the files of a stream, which is a body on its way from Redis to
 * the client: ngx_http_rcache_stream.c, what the client gets,
 * ngx_http_rcache_stream_parts.c, the segments that are in memory, and
 * ngx_http_rcache_stream_probe.c, whether there is something to stream.
 */


#ifndef _NGX_HTTP_RCACHE_STREAM_H_INCLUDED_
#define _NGX_HTTP_RCACHE_STREAM_H_INCLUDED_


#include "ngx_http_rcache_body.h"


/* of the body in memory: a segment that is being sent, the next, a short end */

#define ngx_http_rcache_stream_room(segments)                                 \
    (2 * (uint64_t) (segments)->size + (segments)->size / 4)


/* a segment; in the pool of its operation */

typedef struct {
    ngx_queue_t               queue;
    ngx_http_rcache_stream_t *stream;
    ngx_http_rcache_op_t     *op;
    ngx_buf_t                *buf;        /* NULL: not sent yet */
    rcache_str_t              payload;    /* no data: not there yet */
    uint32_t                  n;
} ngx_http_rcache_stream_part_t;


struct ngx_http_rcache_stream_s {
    ngx_http_rcache_ctx_t    *ctx;
    rcache_segments_t         segments;
    uint64_t                  body_len;

    uint32_t                  next;       /* to be asked for */
    uint32_t                  end;        /* behind the last one needed */
    uint64_t                  last;       /* the byte behind that */

    ngx_queue_t               parts;      /* in order */
    uint64_t                  ahead;      /* bytes, of all of them */
    ngx_chain_t              *free;
    ngx_msec_t                renewed;

    ngx_http_rcache_op_t     *exist;      /* being asked */
    uint32_t                  expected;   /* its answer */
    rcache_reason_e           reason;     /* why the probe fails */
    rcache_reason_e           verdict;    /* what to go on with after it */

    unsigned                  probing:1;
    unsigned                  whole:1;    /* all that is needed is asked for */
    unsigned                  started:1;
    unsigned                  running:1;
    unsigned                  failed:1;
    unsigned                  lost:1;     /* "next" and all behind it */
    unsigned                  resumed:1;  /* the upstream is asked for it */
    unsigned                  ranged:1;   /* content_offset is set */
    unsigned                  passed:1;   /* as it is kept, if compressed */
};


/* ngx_http_rcache_stream.c: segment n is there, or lost for that reason */

void ngx_http_rcache_stream_came(ngx_http_rcache_stream_t *stream, uint32_t n,
    rcache_reason_e reason);

/*
 * ngx_http_rcache_stream_parts.c.
 *
 * ask: for the next ones, as many as there is room for.  consumed: those that
 * the client has are given back.  remove: a part is none of the stream's any
 * more; release: and its memory goes.  discard: both, of all.
 */

rcache_reason_e ngx_http_rcache_stream_ask(ngx_http_rcache_stream_t *stream);
void ngx_http_rcache_stream_consumed(ngx_http_rcache_stream_t *stream);
void ngx_http_rcache_stream_remove(ngx_http_rcache_stream_part_t *part);
void ngx_http_rcache_stream_release(ngx_http_rcache_stream_part_t *part);
void ngx_http_rcache_stream_discard(ngx_http_rcache_stream_t *stream);

/*
 * ngx_http_rcache_stream_probe.c.
 *
 * create: for the whole of ctx->entry; NULL: no memory.  range: for what the
 * client asks for of it.  probed: an answer is there.
 */

ngx_http_rcache_stream_t *ngx_http_rcache_stream_create(
    ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx);
void ngx_http_rcache_stream_range(ngx_http_request_t *r,
    ngx_http_rcache_stream_t *stream);
void ngx_http_rcache_stream_probed(ngx_http_rcache_stream_t *stream);


#endif /* _NGX_HTTP_RCACHE_STREAM_H_INCLUDED_ */
