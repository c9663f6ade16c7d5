
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
 *
 * The connection for subscriptions is no lane: it says nothing about the
 * server's health, and on it not all that comes is an answer.  There the
 * first in `pending' is always the receiver, an operation that was never
 * sent and takes what comes next; the commands are behind it.
 */


#ifndef _NGX_HTTP_RCACHE_CONN_H_INCLUDED_
#define _NGX_HTTP_RCACHE_CONN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <hiredis/hiredis.h>
#include "ngx_http_rcache_breaker.h"
#include "ngx_http_rcache_nearest.h"
#include "ngx_http_rcache_redis.h"


#define NGX_HTTP_RCACHE_ADDRS        8

#define NGX_HTTP_RCACHE_BUFFER       65536

/* bytes a turn of the event loop; those of large bodies are in no hurry */
#define NGX_HTTP_RCACHE_TURN         (1024 * 1024)
#define NGX_HTTP_RCACHE_TURN_BULK    32768

/* large bodies that share this; of more, all that arrives in a turn leaves in
   it, or it would pile up until none of them is stored */
#define NGX_HTTP_RCACHE_BULK_FEW     4

/* of "<host>:<port>", in bytes */
#define NGX_HTTP_RCACHE_NODE_NAME    128

#define NGX_HTTP_RCACHE_NO_NODE      0xffff

/* bytes that may wait for the socket of a lane */
#define NGX_HTTP_RCACHE_UNSENT_MAX   (32 * 1024 * 1024)

/* what a reply may have beyond its strings: the framing of an array */
#define NGX_HTTP_RCACHE_FRAME_MAX    65536

/* of what is told of a failure of TLS */
#define NGX_HTTP_RCACHE_TLS_TEXT     200

#define NGX_HTTP_RCACHE_BACKOFF_MIN  50
#define NGX_HTTP_RCACHE_BACKOFF_MAX  2000


typedef enum {
    NGX_HTTP_RCACHE_CONN_IDLE = 0,
    NGX_HTTP_RCACHE_CONN_RESOLVING,
    NGX_HTTP_RCACHE_CONN_CONNECTING,
    NGX_HTTP_RCACHE_CONN_TLS,
    NGX_HTTP_RCACHE_CONN_HANDSHAKE,
    NGX_HTTP_RCACHE_CONN_READY,
    NGX_HTTP_RCACHE_CONN_LEAVING       /* ready, and nothing is added */
} ngx_http_rcache_conn_state_e;


/* which part of the stream comes next */

typedef enum {
    NGX_HTTP_RCACHE_PART_START = 0,    /* the first byte of a reply */
    NGX_HTTP_RCACHE_PART_REST,         /* of a reply that hiredis has begun */
    NGX_HTTP_RCACHE_PART_BULK          /* the payload of a large bulk */
} ngx_http_rcache_part_e;


typedef struct ngx_http_rcache_node_s  ngx_http_rcache_node_t;
typedef struct ngx_http_rcache_push_s  ngx_http_rcache_push_t;
typedef struct ngx_http_rcache_track_s  ngx_http_rcache_track_t;
typedef struct ngx_http_rcache_cluster_s  ngx_http_rcache_cluster_t;
typedef struct ngx_http_rcache_sentinel_s  ngx_http_rcache_sentinel_t;
typedef struct ngx_http_rcache_replica_s  ngx_http_rcache_replica_t;


typedef struct {
    ngx_connection_t              *connection;
    ngx_http_rcache_redis_t       *redis;
    ngx_http_rcache_node_t        *node;       /* whom it talks to */
    redisReader                   *reader;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_int_t                      ident;

    ngx_http_rcache_conn_state_e   state;
    ngx_uint_t                     serial;     /* grows when the transport
                                                  is closed */

    ngx_resolver_ctx_t            *resolve;
    ngx_uint_t                     addr;       /* the address in use */
    ngx_uint_t                     tries;      /* addresses left to try */

    ngx_uint_t                     password;   /* serial of the one sent */

    ngx_event_t                    timer;
    ngx_event_t                    flush;
    ngx_msec_t                     progress;   /* when the server last showed
                                                  that it moves */

    ngx_queue_t                    waiting;
    ngx_queue_t                    sending;
    ngx_queue_t                    pending;
    ngx_uint_t                     nops;       /* in all three, but those of
                                                  the handshake */

    size_t                         turn;       /* bytes, each way; then others
                                                  have theirs */
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

    ngx_http_rcache_push_t        *push;       /* NULL: this is a lane */

#if (NGX_SSL)

    /* what nginx has to say about the TLS of this connection goes here */

    ngx_log_t                      tls_log;
    size_t                         tls_len;
    u_char                         tls_text[NGX_HTTP_RCACHE_TLS_TEXT];

#endif

    unsigned                       opened:1;   /* not the first time */
    unsigned                       good:1;     /* a command succeeded */
    unsigned                       blocked:1;  /* the socket is full */
    unsigned                       readonly:1; /* READONLY was said */
    unsigned                       late:1;     /* overdue, last grace */
} ngx_http_rcache_conn_t;


/* what is subscribed */

struct ngx_http_rcache_channel_s {
    ngx_str_node_t             node;           /* must be the first */
    ngx_queue_t                subs;
    ngx_uint_t                 nsubs;          /* those that join counted */
    ngx_uint_t                 serial;         /* of its SUBSCRIBE */
    ngx_uint_t                 subscribed;     /* unsigned  subscribed:1;
                                                  valid while the connection
                                                  is ready */
    u_char                     name[1];
};


/* the connection for subscriptions */

struct ngx_http_rcache_push_s {
    ngx_http_rcache_conn_t         conn;
    ngx_http_rcache_sentinel_t    *watch;      /* who is to be listened to;
                                                  NULL: to the node */
    ngx_http_rcache_track_t       *track;      /* NULL: it is not for that */
    ngx_http_rcache_op_t          *receiver;   /* NULL while it is at work */

    ngx_rbtree_t                   channels;   /* those with subscriptions */
    ngx_rbtree_node_t              sentinel;

    /* subscriptions of a channel that is subscribed already, to be told so */

    ngx_queue_t                    joining;
    ngx_event_t                    join;

    ngx_uint_t                     serial;     /* of the last SUBSCRIBE */
    ngx_msec_t                     backoff;    /* milliseconds; 0: well */
    ngx_msec_t                     quiet;      /* since when there are no
                                                  channels */
    ngx_msec_t                     refused_at; /* the last time */
    ngx_uint_t                     refused;    /* unsigned  refused:1; */
};


/* a command on it, in the pool of its operation */

typedef struct {
    ngx_http_rcache_push_t        *push;
    ngx_str_t                      channel;
    ngx_uint_t                     serial;
    ngx_uint_t                     late;       /* overdue, last grace */
} ngx_http_rcache_push_command_t;


/* one server */

struct ngx_http_rcache_node_s {
    ngx_http_rcache_redis_t       *redis;

    ngx_str_t                      name;       /* for log lines */
    ngx_str_t                      host;       /* empty: a unix socket */
    in_port_t                      port;

    ngx_queue_t                    queue;      /* of a cluster's nodes */
    ngx_uint_t                     number;     /* in the cluster's map, or
                                                  NGX_HTTP_RCACHE_NO_NODE */

    ngx_http_rcache_conn_t         lanes[NGX_HTTP_RCACHE_LANES];
    ngx_http_rcache_track_t       *track;      /* NULL: nobody wants that */

    /* what the lanes share: the same server, so the same verdict on it */

    ngx_msec_t                     backoff;    /* milliseconds; 0: well */
    ngx_msec_t                     retry_at;
    ngx_msec_t                     renewed_at; /* its address, see ..._renew */
    ngx_msec_t                     checked_at; /* its role, as a replica */
    ngx_msec_t                     unfit;      /* as a replica, until then; 0:
                                                  it is not */

    ngx_http_rcache_breaker_t      breaker;
    ngx_http_rcache_nearest_t      nearest;

    unsigned                       seed:1;     /* of the configuration */
    unsigned                       nat:1;      /* it calls itself something
                                                  else: that is its name */
    unsigned                       sentinel:1;
    unsigned                       replica:1;  /* known as one, by whom reads
                                                  from replicas */
    unsigned                       down:1;
    unsigned                       again:1;    /* the next failure is not to
                                                  be waited for */

#if (NGX_SSL)
    ngx_ssl_session_t             *session;    /* to be resumed */
#endif

    ngx_addr_t                    *addrs;
    ngx_uint_t                     naddrs;
    ngx_uint_t                     addr;       /* the one to use next */
    ngx_resolver_ctx_t            *renewing;   /* the name is asked for */

    /* storage of addresses found at run time */

    ngx_addr_t                     resolved[NGX_HTTP_RCACHE_ADDRS];
    ngx_sockaddr_t                 sockaddr[NGX_HTTP_RCACHE_ADDRS];
    u_char                         text[NGX_HTTP_RCACHE_ADDRS]
                                       [NGX_SOCKADDR_STRLEN];

    u_char                         buf[NGX_HTTP_RCACHE_NODE_NAME];
};


struct ngx_http_rcache_redis_s {
    ngx_http_rcache_redis_conf_t  *conf;
    ngx_log_t                     *log;        /* the cycle's */

    ngx_http_rcache_node_t         node;
    ngx_http_rcache_cluster_t     *cluster;    /* NULL: node is all */
    ngx_http_rcache_sentinel_t    *sentinel;   /* NULL: node is always the
                                                  same */
    ngx_http_rcache_replica_t     *replica;    /* NULL: the master answers
                                                  all */
    ngx_http_rcache_push_t         push;

    ngx_uint_t                     bulk;       /* large bodies being stored */

    ngx_event_t                    renew;      /* to ask for names again */
    ngx_event_t                    leave;      /* lanes are to be left */

    /* the one in use: the file may have a newer one than the configuration */

    ngx_str_t                      password;
    u_char                        *password_buf;
    ngx_msec_t                     password_read_at;
    ngx_uint_t                     password_reads;
    ngx_uint_t                     password_serial;

    /* commands that a server has refused, and that are done without */

    unsigned                       no_evict_refused:1;
    unsigned                       setinfo_refused:1;
};


/* the operation that is being answered */

#define ngx_http_rcache_conn_op(conn)                                         \
    (ngx_queue_data(ngx_queue_head(&(conn)->pending), ngx_http_rcache_op_t,   \
                    queue))


/* ngx_http_rcache_node.c */

/* without a server, name, host, port and addresses are the caller's */
void ngx_http_rcache_node_init(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_node_t *node, ngx_http_rcache_server_t *server);
void ngx_http_rcache_node_cleanup(ngx_http_rcache_node_t *node);

/* NGX_OK, or NGX_DECLINED and op->status says why */
ngx_int_t ngx_http_rcache_node_submit(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_t *op);

/* under that name, "<host>:<port>"; its address if that has not to be found */
void ngx_http_rcache_node_set(ngx_http_rcache_node_t *node, u_char *name,
    size_t len, size_t host_len, in_port_t port);

/* the host by which it goes, without brackets; empty for a unix socket */
void ngx_http_rcache_node_announced(ngx_http_rcache_node_t *node,
    ngx_str_t *host);

/* true if it has no connection, and no number */
ngx_uint_t ngx_http_rcache_node_idle(ngx_http_rcache_node_t *node);

/* it is to be another server from now on */
void ngx_http_rcache_node_forget(ngx_http_rcache_node_t *node);

/* true while a lane is connecting or holds an operation */
ngx_uint_t ngx_http_rcache_node_busy(ngx_http_rcache_node_t *node);

/* closes its lanes; what they hold ends with DOWN */
void ngx_http_rcache_node_close(ngx_http_rcache_node_t *node);

/* all of a queue; closes those that have no number, and nothing to do */
void ngx_http_rcache_nodes_cleanup(ngx_queue_t *nodes);
void ngx_http_rcache_nodes_tidy(ngx_queue_t *nodes);

/*
 * The server says that it is a replica.  NGX_OK: its name may stand for another
 * one by now, so new connections are wanted; NGX_DECLINED: it does not, or that
 * was done a moment ago.
 */
ngx_int_t ngx_http_rcache_node_renew(ngx_http_rcache_node_t *node);

/* it has another address: lanes that wait for one go on, the others close */
void ngx_http_rcache_node_moved(ngx_http_rcache_node_t *node);

/* connects, if nobody does; what comes of it the next operation sees */
void ngx_http_rcache_node_probe(ngx_http_rcache_node_t *node);

/* its one address, if the host is none that has to be resolved */
void ngx_http_rcache_node_literal(ngx_http_rcache_node_t *node);

/* sends what is queued on a lane */
void ngx_http_rcache_node_flush(ngx_http_rcache_node_t *node,
    ngx_http_rcache_lane_e lane);

/* a lane failed; logs or notifies, sets the back-off */
void ngx_http_rcache_node_failed(ngx_http_rcache_node_t *node,
    ngx_str_t *why);

/* a handshake succeeded */
void ngx_http_rcache_node_recovered(ngx_http_rcache_node_t *node);


/* ngx_http_rcache_op.c */

/* makes it fit to be sent once more; it is in no queue */
void ngx_http_rcache_op_rewind(ngx_http_rcache_op_t *op);

/* calls the handler unless it is detached; the operation is in no queue */
void ngx_http_rcache_op_finish(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


/* ngx_http_rcache_conn.c */

void ngx_http_rcache_conn_init(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_node_t *node);

/* begins to connect; on failure the state is IDLE again when it returns */
void ngx_http_rcache_conn_open(ngx_http_rcache_conn_t *conn);

/* ngx_http_rcache_resolve.c goes on with it */
void ngx_http_rcache_conn_connect(ngx_http_rcache_conn_t *conn);

/* TLS is up, or there is none: the first command */
void ngx_http_rcache_conn_established(ngx_http_rcache_conn_t *conn);

void ngx_http_rcache_conn_timer_handler(ngx_event_t *ev);

/* ngx_http_rcache_handshake.c calls it when the server may be used */
void ngx_http_rcache_conn_ready(ngx_http_rcache_conn_t *conn);

/* closes the transport, and leaves the operations where they are */
void ngx_http_rcache_conn_reset(ngx_http_rcache_conn_t *conn);

/* no failure: closes the transport, operations end with DOWN */
void ngx_http_rcache_conn_close(ngx_http_rcache_conn_t *conn);

/* the worker exits: NGX_DONE, it is closed; NGX_OK, it is still needed */
ngx_int_t ngx_http_rcache_conn_leave(ngx_http_rcache_conn_t *conn);

/* closes the transport, tells why, operations end with the status */
void ngx_http_rcache_conn_fail(ngx_http_rcache_conn_t *conn,
    ngx_http_rcache_op_status_e status, const char *fmt, ...);
void ngx_http_rcache_conn_fail_errno(ngx_http_rcache_conn_t *conn,
    ngx_err_t err, const char *what);


/* ngx_http_rcache_push.c */

void ngx_http_rcache_push_init(ngx_http_rcache_push_t *push);
void ngx_http_rcache_push_cleanup(ngx_http_rcache_push_t *push);

/* as ngx_http_rcache_subscribe() and ngx_http_rcache_unsubscribe() */
void ngx_http_rcache_push_join(ngx_http_rcache_push_t *push,
    ngx_http_rcache_sub_t *sub);
void ngx_http_rcache_push_leave(ngx_http_rcache_push_t *push,
    ngx_http_rcache_sub_t *sub);

/* connects unless there is a connection, or it is not the time for one */
void ngx_http_rcache_push_open(ngx_http_rcache_push_t *push);

/* the handshake is done */
void ngx_http_rcache_push_ready(ngx_http_rcache_push_t *push);

/* no connection could be made, or it was lost; the state is IDLE */
void ngx_http_rcache_push_failed(ngx_http_rcache_push_t *push,
    ngx_str_t *why);

/* only when it is ready; NGX_ERROR: out of memory, and it has failed */
ngx_int_t ngx_http_rcache_push_subscribe(ngx_http_rcache_push_t *push,
    ngx_http_rcache_channel_t *channel);

/* of a channel that nobody wants any more */
void ngx_http_rcache_push_unsubscribe(ngx_http_rcache_push_t *push,
    ngx_http_rcache_channel_t *channel);

/*
 * Any other command, only when it is ready; op->data is a
 * ngx_http_rcache_push_command_t.  NGX_ERROR as above.
 */
ngx_int_t ngx_http_rcache_push_ask(ngx_http_rcache_push_t *push,
    ngx_str_t *argv, ngx_uint_t argc, ngx_http_rcache_op_pt handler);

/* so, whether it is there */
ngx_int_t ngx_http_rcache_push_ping(ngx_http_rcache_push_t *push);


/* ngx_http_rcache_track.c */

/*
 * The operation, which is about to be queued on the ready lane for lookups, has
 * asked for it: in front of it goes what makes the server tell of changes, or
 * op->tracked is cleared.
 */
void ngx_http_rcache_track_op(ngx_http_rcache_node_t *node,
    ngx_http_rcache_op_t *op);

/* the listener is connected: asks what has to be known; NGX_OK, NGX_ERROR */
ngx_int_t ngx_http_rcache_track_listen(ngx_http_rcache_track_t *track);

/* it may not subscribe */
void ngx_http_rcache_track_refused(ngx_http_rcache_track_t *track,
    ngx_str_t *why);

/* what came: the keys, or that of all */
void ngx_http_rcache_track_message(ngx_http_rcache_track_t *track,
    ngx_http_rcache_reply_t *keys);

/* all that was to be told by then has been */
void ngx_http_rcache_track_alive(ngx_http_rcache_track_t *track,
    ngx_msec_t since);

/* one of the two connections is gone */
void ngx_http_rcache_track_lost(ngx_http_rcache_track_t *track);

/* what was read may be another server's by now */
void ngx_http_rcache_track_void(ngx_http_rcache_track_t *track);

/* the node is to be another server, or none */
void ngx_http_rcache_track_close(ngx_http_rcache_track_t *track);
void ngx_http_rcache_track_cleanup(ngx_http_rcache_track_t *track);


/* ngx_http_rcache_channel.c */

#define ngx_http_rcache_push_unused(push)                                     \
    ((push)->channels.root == (push)->channels.sentinel)

void ngx_http_rcache_channel_init(ngx_http_rcache_push_t *push);
void ngx_http_rcache_channel_cleanup(ngx_http_rcache_push_t *push);

/* NULL: nobody wants it */
ngx_http_rcache_channel_t *ngx_http_rcache_channel_find(
    ngx_http_rcache_push_t *push, ngx_str_t *name);

/* calls the handlers; the channel may be gone when it returns */
void ngx_http_rcache_channel_tell(ngx_http_rcache_channel_t *channel,
    ngx_str_t *message);


/* ngx_http_rcache_resolve.c */

/* true for an address, which is not to be resolved */
ngx_uint_t ngx_http_rcache_host_is_literal(ngx_str_t *host);

/*
 * NGX_OK: ngx_http_rcache_conn_connect() will be called, or has been already;
 * NGX_DECLINED: the addresses that are known have to do.
 */
ngx_int_t ngx_http_rcache_conn_resolve(ngx_http_rcache_conn_t *conn);

/* for connections from now on */
void ngx_http_rcache_node_set_addrs(ngx_http_rcache_node_t *node,
    ngx_resolver_ctx_t *ctx);


/* ngx_http_rcache_renew.c */

void ngx_http_rcache_renew_init(ngx_http_rcache_redis_t *redis);

/* the node is to be another one, or goes */
void ngx_http_rcache_renew_cancel(ngx_http_rcache_node_t *node);


/* ngx_http_rcache_tls.c */

#if (NGX_SSL)

/*
 * Begins TLS.  When it is up ngx_http_rcache_conn_established() is called,
 * which may be before it returns; when it fails, the connection does.
 */
void ngx_http_rcache_tls_start(ngx_http_rcache_conn_t *conn);

/* before the socket is closed; nothing is sent */
void ngx_http_rcache_tls_close(ngx_connection_t *c);

#endif


/* ngx_http_rcache_password.c */

/*
 * Reads the password file anew, unless that was done a moment ago.  NGX_OK:
 * there is another password now; NGX_DECLINED: there is none.
 */
ngx_int_t ngx_http_rcache_password_reread(ngx_http_rcache_redis_t *redis);


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
