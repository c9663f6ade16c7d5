
/*
 * The Redis room: commands go in, replies or the reason for none come out.
 * hiredis parses the protocol; the transport is nginx's own connection.  The
 * room knows no HTTP request, no entry and no cache; src/http and src/admin
 * call it.  What it has to tell, it tells through function pointers.
 *
 * One ngx_http_rcache_redis_t a zone and worker.  It has a few connections,
 * one a lane, so that bulky stores do not stand before lookups, and one for
 * what the server pushes.  Commands queued in one turn of the event loop leave
 * in one write.
 */


#ifndef _NGX_HTTP_RCACHE_REDIS_H_INCLUDED_
#define _NGX_HTTP_RCACHE_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <hiredis/read.h>              /* REDIS_REPLY_* */


typedef enum {
    NGX_HTTP_RCACHE_LANE_LOOKUP = 0,
    NGX_HTTP_RCACHE_LANE_STORE,
    NGX_HTTP_RCACHE_LANE_BULK,         /* segments of large bodies, both ways */
    NGX_HTTP_RCACHE_LANES
} ngx_http_rcache_lane_e;


/* why an operation has no reply */

typedef enum {
    NGX_HTTP_RCACHE_OP_REPLY = 0,      /* it has one */
    NGX_HTTP_RCACHE_OP_DOWN,           /* no connection, or lost */
    NGX_HTTP_RCACHE_OP_BUSY,           /* the queue is full, or no memory */
    NGX_HTTP_RCACHE_OP_TIMEOUT
} ngx_http_rcache_op_status_e;


typedef struct ngx_http_rcache_redis_s  ngx_http_rcache_redis_t;
typedef struct ngx_http_rcache_op_s     ngx_http_rcache_op_t;


typedef enum {
    NGX_HTTP_RCACHE_TOPOLOGY_SINGLE = 0,
    NGX_HTTP_RCACHE_TOPOLOGY_CLUSTER,
    NGX_HTTP_RCACHE_TOPOLOGY_SENTINEL
} ngx_http_rcache_topology_e;


/* who answers what may be answered by a replica */

typedef enum {
    NGX_HTTP_RCACHE_READ_MASTER = 0,
    NGX_HTTP_RCACHE_READ_REPLICA,
    NGX_HTTP_RCACHE_READ_NEAREST       /* the master or a replica */
} ngx_http_rcache_read_e;


/* what a URL names */

typedef struct {
    ngx_str_t                  url;            /* without user and password */
    ngx_str_t                  host;           /* empty for a unix socket */
    in_port_t                  port;

    /* addresses known from configuration time; none if the host did not
       resolve then */
    ngx_addr_t                *addrs;
    ngx_uint_t                 naddrs;
} ngx_http_rcache_server_t;


/* where a server is found that calls itself something else */

typedef struct {
    ngx_str_t                  name;           /* "<host>:<port>", as it says,
                                                  without brackets */
    ngx_http_rcache_server_t   server;
} ngx_http_rcache_nat_t;


/* of rediss://, file names are full */

typedef struct {
    ngx_uint_t                 enable;         /* unsigned  enable:1; */
    ngx_uint_t                 used;           /* unsigned  used:1; by the
                                                  server or its sentinels */
    ngx_uint_t                 given;          /* unsigned  given:1; */
    ngx_uint_t                 verify;         /* unsigned  verify:1; */
    ngx_uint_t                 verify_depth;
    ngx_uint_t                 session_reuse;  /* unsigned  session_reuse:1; */
    ngx_uint_t                 protocols;      /* NGX_SSL_TLSv1_2, ... */
    ngx_str_t                  ciphers;
    ngx_str_t                  name;           /* empty: the host */
    ngx_str_t                  trusted_certificate;  /* empty: the system's */
    ngx_str_t                  crl;
    ngx_str_t                  certificate;
    ngx_str_t                  certificate_key;
    ngx_str_t                  password_file;

#if (NGX_SSL)
    ngx_ssl_t                  ssl;
#endif
} ngx_http_rcache_tls_conf_t;


/*
 * Who has copies of what was read, and wants to know when it changes.  begin: a
 * server will tell of what is read from it from now on; the number that goes
 * with that, or NGX_ERROR.  alive: all that it had to tell by then, in
 * ngx_current_msec, has been told.  changed: a key has; NULL, any may have.
 * end: nothing is told any more.  needed: does anybody still count on it?
 * state: it is refused, or not any more, as far as this worker knows.
 */

typedef struct {
    ngx_int_t                (*begin)(void *data);
    void                     (*alive)(void *data, ngx_uint_t n,
                                   ngx_msec_t since);
    void                     (*changed)(void *data, ngx_uint_t n,
                                   ngx_str_t *key);
    void                     (*end)(void *data, ngx_uint_t n);
    ngx_uint_t               (*needed)(void *data, ngx_uint_t n);
    void                     (*state)(void *data, ngx_uint_t refused,
                                   ngx_str_t *server, ngx_str_t *why);
    void                      *data;
} ngx_http_rcache_tracking_t;


typedef struct {
    ngx_str_t                  zone;           /* for log lines and the name
                                                  given to CLIENT SETNAME */
    ngx_str_t                  url;            /* of the first server */

    ngx_http_rcache_topology_e  topology;
    ngx_array_t                servers;        /* of ..._server_t; a cluster
                                                  has some to begin with; or
                                                  the sentinels */
    ngx_http_rcache_read_e     read_from;
    ngx_array_t                nat;            /* of ..._nat_t */
    ngx_str_t                  master;         /* whom the sentinels watch */
    ngx_str_t                  sentinel_user;
    ngx_str_t                  sentinel_password;
    ngx_uint_t                 sentinel_tls;   /* unsigned sentinel_tls:1; */

    ngx_str_t                  user;
    ngx_str_t                  password;
    ngx_str_t                  password_file;
    ngx_uint_t                 db;

    ngx_http_rcache_tls_conf_t tls;

    ngx_msec_t                 connect_timeout;  /* connect and handshake */
    ngx_msec_t                 timeout;          /* of a command */
    ngx_msec_t                 slow;             /* an answer that takes
                                                    longer; 0: none is */
    ngx_uint_t                 queue;            /* operations a lane */

    /*
     * Set before ngx_http_rcache_redis_create(): what the workers of an
     * instance know together, see ngx_http_rcache_redis_shared_size(), and
     * its lock.
     */
    void                      *shared;
    ngx_shmtx_t               *mutex;

    /* likewise; NULL without a resolver */
    ngx_resolver_t            *resolver;
    ngx_msec_t                 resolver_timeout;
    ngx_msec_t                 resolve;          /* names again, so often; 0:
                                                    for new connections only */

    /*
     * Told when this worker finds the server gone (up is 0, why says how,
     * retry is in how many milliseconds a new attempt is due) and when a
     * handshake succeeds after that (up is 1, why is empty).  Once a change
     * of state.  May be called from inside any function of this room; why
     * holds no credential and is valid for the time of the call.  NULL:
     * nobody is told.
     */
    void                     (*notify)(void *data, ngx_uint_t up,
                                   ngx_str_t *why, ngx_msec_t retry);

    /* told that there is a connection more, 1, or less, -1 */
    void                     (*connected)(void *data, ngx_int_t n);

    void                      *data;

    ngx_http_rcache_tracking_t  *tracking;     /* NULL: nothing is tracked */
} ngx_http_rcache_redis_conf_t;


typedef struct ngx_http_rcache_reply_s  ngx_http_rcache_reply_t;

struct ngx_http_rcache_reply_s {
    int                        type;           /* REDIS_REPLY_STRING, STATUS,
                                                  ERROR, INTEGER, NIL, ARRAY */
    int64_t                    integer;        /* INTEGER; elements of ARRAY */
    ngx_str_t                  str;            /* STRING, STATUS, ERROR */
    ngx_http_rcache_reply_t  **element;        /* ARRAY */
};


/*
 * reply is NULL if there is none, and op->status says why.  Called exactly
 * once for each accepted operation, never from inside
 * ngx_http_rcache_op_submit(), and not at all after a detach.  reply, its
 * strings and op live in op->pool.  When the handler returns, the room
 * destroys op->pool, unless the handler has taken it: it sets op->keep and
 * destroys op->pool itself, later or even before the handler returns.
 */

typedef void (*ngx_http_rcache_op_pt)(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);


struct ngx_http_rcache_op_s {
    ngx_pool_t                *pool;           /* the operation is in it */

    ngx_http_rcache_lane_e     lane;
    ngx_http_rcache_op_pt      handler;
    void                      *data;
    ngx_str_t                  key;            /* says which node of a cluster
                                                  it is for.  Set by
                                                  ..._op_command(): the first
                                                  argument, of EVAL the first
                                                  of KEYS; it may be changed
                                                  before the submit.  Empty:
                                                  any node */
    ngx_uint_t                 master;         /* not 0: the node of this
                                                  number, whatever the key */
    size_t                     max_reply;      /* bytes; a longer string, or a
                                                  much longer array, breaks
                                                  the connection.  Status and
                                                  error lines have a limit of
                                                  their own */

    unsigned                   status:3;       /* ..._op_status_e */
    unsigned                   keep:1;
    unsigned                   must:1;         /* a slow server gets it, too:
                                                  what is to go is not to stay
                                                  because of that */
    unsigned                   replica:1;      /* it reads, and a replica may
                                                  answer it if the
                                                  configuration says so; nil
                                                  is the master's answer */
    unsigned                   nomaster:1;     /* if no replica does, nobody */
    unsigned                   away:1;         /* in the handler: it was a
                                                  replica that answered */
    unsigned                   tracked:1;      /* it reads, on the lane for
                                                  lookups, and whether the key
                                                  changes is to be told; after
                                                  the submit: it is asked for,
                                                  in the handler: it will be */
    ngx_uint_t                 tracker;        /* if so, the number */
    int64_t                    ttl;            /* and how long the server keeps
                                                  it, in milliseconds; -1:
                                                  without an end */

    /*
     * Whoever submits it may have it watched: called once when an accepted
     * operation ends, before the handler, and also if it is detached.
     */
    ngx_http_rcache_op_pt      watch;
    void                      *watched;
    uint64_t                   began;          /* the submitter's clock */
    uint64_t                   took;           /* and what it made of it */
    ngx_uint_t                 command;        /* and class of command */

    /* private */

    unsigned                   detached:1;
    unsigned                   internal:1;     /* of the room itself */
    unsigned                   redirects:4;
    unsigned                   pauses:3;
    ngx_queue_t                queue;
    ngx_chain_t               *out;            /* what is to be sent */
    ngx_chain_t               *last;
    off_t                      size;           /* of it, in bytes */
    ngx_msec_t                 deadline;
    ngx_msec_t                 since;          /* when it was submitted */
    ngx_uint_t                *gone;           /* set if the pool goes */
};


/*
 * Configuration time.  Adds a server.  Parses
 * redis[s]://[[user]:password@]host[:port][/db] or unix:/path,
 * percent-decoding user and password, and resolves the host; a host that does
 * not resolve is a warning.  Sets url, tls.enable, and, if the URL has them and
 * they are not set, user, password and db.  Returns NGX_OK, or NGX_ERROR with
 * a reason in *err (static storage).  rcf->url is fit to be shown in either
 * case; the argument may hold a password.
 */

ngx_int_t ngx_http_rcache_redis_url(ngx_conf_t *cf,
    ngx_http_rcache_redis_conf_t *rcf, ngx_str_t *url, char **err);

/*
 * Configuration time.  Adds to rcf->nat: host:port=host:port, or =unix:/path.
 * Returns NGX_OK, or NGX_ERROR with a reason in *err (static storage).
 */

ngx_int_t ngx_http_rcache_redis_nat(ngx_conf_t *cf,
    ngx_http_rcache_redis_conf_t *rcf, ngx_str_t *value, char **err);

/*
 * Configuration time.  Reads the password from rcf->password_file, without
 * the line end, at most 4096 bytes.  Logs and returns NGX_ERROR if it cannot
 * be read, is empty or has more than one line.
 */

ngx_int_t ngx_http_rcache_redis_password(ngx_conf_t *cf,
    ngx_http_rcache_redis_conf_t *rcf);

/*
 * Configuration time.  Makes the context for TLS.  Logs and returns NGX_ERROR
 * if that is not possible.
 */

ngx_int_t ngx_http_rcache_tls_conf(ngx_conf_t *cf,
    ngx_http_rcache_tls_conf_t *tls);

/*
 * How much memory the workers need together, in bytes, zeroed before the first
 * worker starts.  It may be that of a cycle before with the same size.
 */

size_t ngx_http_rcache_redis_shared_size(ngx_http_rcache_redis_conf_t *rcf);

/*
 * Worker start.  Makes no connection yet.  rcf must live as long as the
 * cycle.  NULL if memory is short.
 */

ngx_http_rcache_redis_t *ngx_http_rcache_redis_create(ngx_cycle_t *cycle,
    ngx_http_rcache_redis_conf_t *rcf);

/*
 * A new operation with a pool of its own of the given size, in bytes.  The
 * caller owns it until it is submitted, and may free it instead.
 * log must outlive the operation: the cycle's, never a request's.  The caller
 * sets lane, handler, data and max_reply.  NULL if memory is short.
 */

ngx_http_rcache_op_t *ngx_http_rcache_op_create(size_t size, ngx_log_t *log);

/* and its pool with it, which may be another one's then */

void ngx_http_rcache_op_free(ngx_http_rcache_op_t *op);

/*
 * Formats a command into op->pool.  An argument with data == NULL and a
 * length stands for the payload: the buffers in memory of the chain, which
 * must have that length in all.  They are sent without a copy, so what they
 * point to must stay as it is until the handler is called or, since the
 * operation may be detached, better as long as op->pool; the buffers and the
 * chain itself are not kept.  Once an operation.  NGX_OK, NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_op_command(ngx_http_rcache_op_t *op,
    ngx_str_t *argv, ngx_uint_t argc, ngx_chain_t *payload);

/*
 * How many masters are known: 1, but of a cluster; 0 as long as nothing is
 * known of one.  To do something on each of them, submit an operation with
 * op->master from 1 to that.  They may change at any time.
 */

ngx_uint_t ngx_http_rcache_redis_masters(ngx_http_rcache_redis_t *redis);

/*
 * Another number whenever a cluster is another one than before, its masters or
 * their slots; 0 if it is no cluster.
 */

ngx_uint_t ngx_http_rcache_redis_version(ngx_http_rcache_redis_t *redis);

/* asks what the cluster is like now, unless that was done a moment ago */

void ngx_http_rcache_redis_refresh(ngx_http_rcache_redis_t *redis);

/*
 * True while the only server is left alone by this worker because it is gone,
 * so that a lookup need not even be made.  Of a cluster, and with sentinels, it
 * is never said.
 */

ngx_uint_t ngx_http_rcache_redis_away(ngx_http_rcache_redis_t *redis);

/*
 * How many servers are left alone by all workers of this instance because
 * they answer too slowly.
 */

ngx_uint_t ngx_http_rcache_redis_slow(ngx_http_rcache_redis_t *redis);

/*
 * NGX_OK: accepted, the handler will be called.  NGX_DECLINED: not accepted,
 * op->status says why, the operation is still the caller's.
 */

ngx_int_t ngx_http_rcache_op_submit(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_op_t *op);

/*
 * Sends what is queued now, not at the end of the turn: whoever gets an
 * answer from nginx after that finds the command executed, or before its own.
 */

void ngx_http_rcache_redis_flush(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_lane_e lane);

/*
 * n more large bodies are stored from now on, or, if negative, fewer: the
 * more there are, the more the lane of segments moves in a turn.
 */

void ngx_http_rcache_redis_bulk(ngx_http_rcache_redis_t *redis, ngx_int_t n);

/*
 * The one who waits goes away: the handler will not be called.  The command
 * may still be executed.  Only between submit and the handler's call.
 */

void ngx_http_rcache_op_detach(ngx_http_rcache_op_t *op);


/*
 * Messages that are published on a channel.  They come over a connection of
 * their own, which exists while there are subscriptions, and some time longer.
 * A lost message is lost: whoever waits for one asks again now and then.
 */

typedef struct ngx_http_rcache_channel_s  ngx_http_rcache_channel_t;
typedef struct ngx_http_rcache_sub_s      ngx_http_rcache_sub_t;


/*
 * message is what was published, valid for the time of the call.  NULL:
 * subscribed from now on; what was published before is to be asked for.  That
 * comes once after the subscription, and again after each time that the
 * connection was lost; never, if the server refuses subscriptions.  The
 * handler may subscribe and unsubscribe whatever it wants.
 */

typedef void (*ngx_http_rcache_sub_pt)(ngx_http_rcache_sub_t *sub,
    ngx_str_t *message);


/* the caller's memory, zeroed before the first use */

struct ngx_http_rcache_sub_s {
    ngx_str_t                  channel;        /* valid until unsubscribed */
    ngx_http_rcache_sub_pt     handler;
    void                      *data;

    /* private */

    ngx_queue_t                queue;
    ngx_http_rcache_channel_t *node;           /* NULL: not subscribed */
};


/*
 * Never fails visibly: a connection that there is not is made, again and again
 * while there are subscriptions.  A channel may have several.  The handler is
 * not called from inside.  A message of more than 64 KiB breaks the
 * connection.
 */

void ngx_http_rcache_subscribe(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_sub_t *sub);

/* the handler will not be called; nothing, if there is no subscription */

void ngx_http_rcache_unsubscribe(ngx_http_rcache_redis_t *redis,
    ngx_http_rcache_sub_t *sub);


#endif /* _NGX_HTTP_RCACHE_REDIS_H_INCLUDED_ */
