
/*
 * Private to the Redis room: one connection, and what its lanes share.
 *
 * An operation waits in `waiting' until the handshake is done, in `sending'
 * until its last byte is given to the socket, in `pending' until its reply
 * is there.  Redis answers in order, so a reply is always that of the first
 * in `pending'.
 *
 * Anything that calls an operation's handler may find, when it returns,
 * that the transport is gone and even that another is in its place:
 * conn->serial tells.
 */


#ifndef _NGX_HTTP_RCACHE_CONN_H_INCLUDED_
#define _NGX_HTTP_RCACHE_CONN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <hiredis/hiredis.h>
#include "ngx_http_rcache_redis.h"


#define NGX_HTTP_RCACHE_ADDRS        8

#define NGX_HTTP_RCACHE_BUFFER       65536

/* bytes that may wait for the socket of a lane */
#define NGX_HTTP_RCACHE_UNSENT_MAX   (32 * 1024 * 1024)

/* what a reply may have beyond its strings: the framing of an array */
#define NGX_HTTP_RCACHE_FRAME_MAX    65536

#define NGX_HTTP_RCACHE_BACKOFF_MIN  50
#define NGX_HTTP_RCACHE_BACKOFF_MAX  2000


typedef enum {
    NGX_HTTP_RCACHE_CONN_IDLE = 0,
    NGX_HTTP_RCACHE_CONN_RESOLVING,
    NGX_HTTP_RCACHE_CONN_CONNECTING,
    NGX_HTTP_RCACHE_CONN_HANDSHAKE,
    NGX_HTTP_RCACHE_CONN_READY
} ngx_http_rcache_conn_state_e;


/* which part of the stream comes next */

typedef enum {
    NGX_HTTP_RCACHE_PART_START = 0,    /* the first byte of a reply */
    NGX_HTTP_RCACHE_PART_REST,         /* of a reply that hiredis has begun */
    NGX_HTTP_RCACHE_PART_BULK          /* the payload of a large bulk */
} ngx_http_rcache_part_e;


typedef struct {
    ngx_connection_t              *connection;
    ngx_http_rcache_redis_t       *redis;
    redisReader                   *reader;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_int_t                      ident;

    ngx_http_rcache_conn_state_e   state;
    ngx_uint_t                     serial;     /* grows when the transport
                                                  is closed */

    ngx_resolver_ctx_t            *resolve;
    ngx_uint_t                     addr;       /* the address in use */
    ngx_uint_t                     tries;      /* addresses left to try */

    ngx_event_t                    timer;
    ngx_event_t                    flush;
    ngx_msec_t                     progress;   /* when the server last showed
                                                  that it moves */

    ngx_queue_t                    waiting;
    ngx_queue_t                    sending;
    ngx_queue_t                    pending;
    ngx_uint_t                     nops;       /* in all three, but those of
                                                  the handshake */

    off_t                          unsent;     /* bytes */
    ngx_chain_t                   *out;
    ngx_chain_t                  **last_out;

    u_char                        *start;      /* the read buffer */
    u_char                        *end;
    u_char                        *pos;
    u_char                        *last;

    /* the reply that is being read */

    ngx_http_rcache_part_e         part;
    ngx_uint_t                     elements;   /* of all its arrays */
    size_t                         fed;        /* bytes given to hiredis */
    size_t                         rest;       /* bytes of payload to come */
    size_t                         tail;       /* bytes of CRLF to come */
    u_char                        *dst;        /* NULL if it is discarded */
    ngx_http_rcache_reply_t       *reply;
    const char                    *invalid;    /* what is wrong with it */

    /* stands for all that is read for a detached operation */
    ngx_http_rcache_reply_t        discard;

    unsigned                       opened:1;   /* not the first time */
    unsigned                       good:1;     /* a command succeeded */
    unsigned                       blocked:1;  /* the socket is full */
    unsigned                       late:1;     /* overdue, last grace */
} ngx_http_rcache_conn_t;


struct ngx_http_rcache_redis_s {
    ngx_http_rcache_redis_conf_t  *conf;
    ngx_log_t                     *log;        /* the cycle's */

    ngx_http_rcache_conn_t         lanes[NGX_HTTP_RCACHE_LANES];

    /* what the lanes share: the same server, so the same verdict on it */

    ngx_msec_t                     backoff;    /* milliseconds; 0: well */
    ngx_msec_t                     retry_at;
    ngx_uint_t                     down;       /* unsigned  down:1; */

    ngx_addr_t                    *addrs;
    ngx_uint_t                     naddrs;
    ngx_uint_t                     addr;       /* the one to use next */

    /* storage of addresses found at run time */

    ngx_addr_t                     resolved[NGX_HTTP_RCACHE_ADDRS];
    ngx_sockaddr_t                 sockaddr[NGX_HTTP_RCACHE_ADDRS];
    u_char                         text[NGX_HTTP_RCACHE_ADDRS]
                                       [NGX_SOCKADDR_STRLEN];
};


/* the operation that is being answered */

#define ngx_http_rcache_conn_op(conn)                                         \
    (ngx_queue_data(ngx_queue_head(&(conn)->pending), ngx_http_rcache_op_t,   \
                    queue))


/* ngx_http_rcache_redis.c */

/* a lane failed; logs or notifies, sets the back-off */
void ngx_http_rcache_redis_failed(ngx_http_rcache_redis_t *redis,
    ngx_str_t *why);

/* a handshake succeeded */
void ngx_http_rcache_redis_recovered(ngx_http_rcache_redis_t *redis);


/* ngx_http_rcache_op.c */

/* calls the handler unless it is detached; the operation is in no queue */
void ngx_http_rcache_op_finish(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


/* ngx_http_rcache_conn.c */

/* begins to connect; on failure the state is IDLE again when it returns */
void ngx_http_rcache_conn_open(ngx_http_rcache_conn_t *conn);

/* ngx_http_rcache_resolve.c goes on with it */
void ngx_http_rcache_conn_connect(ngx_http_rcache_conn_t *conn);

void ngx_http_rcache_conn_timer_handler(ngx_event_t *ev);

/* ngx_http_rcache_handshake.c calls it when the server may be used */
void ngx_http_rcache_conn_ready(ngx_http_rcache_conn_t *conn);

/* no failure: closes the transport, operations end with DOWN */
void ngx_http_rcache_conn_close(ngx_http_rcache_conn_t *conn);

/* closes the transport, tells why, operations end with the status */
void ngx_http_rcache_conn_fail(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_status_e status, const char *fmt, ...);
void ngx_http_rcache_conn_fail_errno(ngx_http_rcache_conn_t *conn,
    ngx_err_t err, const char *what);


/* ngx_http_rcache_resolve.c */

/*
 * NGX_OK: ngx_http_rcache_conn_connect() will be called, or has been already;
 * NGX_DECLINED: the addresses that are known have to do.
 */
ngx_int_t ngx_http_rcache_conn_resolve(ngx_http_rcache_conn_t *conn);


/* ngx_http_rcache_handshake.c */

/* queues the commands of the handshake; NGX_OK, NGX_ERROR */
ngx_int_t ngx_http_rcache_handshake(ngx_http_rcache_conn_t *conn);


/* ngx_http_rcache_io.c */

/* puts the operation behind all that is to be sent */
void ngx_http_rcache_conn_queue(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_t *op);
void ngx_http_rcache_conn_read(ngx_http_rcache_conn_t *conn);
void ngx_http_rcache_conn_write(ngx_http_rcache_conn_t *conn);
void ngx_http_rcache_conn_flush_handler(ngx_event_t *ev);


/* ngx_http_rcache_reader.c */

/* NGX_OK, NGX_ERROR */
ngx_int_t ngx_http_rcache_reader_init(ngx_http_rcache_conn_t *conn);
void ngx_http_rcache_reader_free(ngx_http_rcache_conn_t *conn);

/*
 * Parses what is in the read buffer and answers operations.  NGX_AGAIN: all
 * of it is used but for the beginning of a line, more is needed; NGX_DONE:
 * a handler closed the transport; NGX_ERROR: the stream breaks the protocol,
 * conn->invalid says how.
 */
ngx_int_t ngx_http_rcache_reader_parse(ngx_http_rcache_conn_t *conn);


/* ngx_http_rcache_object.c */

extern redisReplyObjectFunctions  ngx_http_rcache_object_functions;


#endif /* _NGX_HTTP_RCACHE_CONN_H_INCLUDED_ */
