
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What is said on a new connection before any operation: AUTH, SELECT and
 * CLIENT, in one write.  The last one is always sent and its answer
 * waited for: a frozen server takes connections, too.
 */


#include "ngx_http_rcache_replica.h"


#define NGX_HTTP_RCACHE_NAME_MAX       64

/* of an answer: that to ROLE lists the replicas */
#define NGX_HTTP_RCACHE_HANDSHAKE_MAX  65536


static ngx_int_t ngx_http_rcache_handshake_auth(ngx_http_rcache_conn_t *conn,
    ngx_str_t *user, ngx_str_t *password);
static ngx_int_t ngx_http_rcache_handshake_select(
    ngx_http_rcache_conn_t *conn);
static ngx_int_t ngx_http_rcache_handshake_role(ngx_http_rcache_conn_t *conn);
static ngx_int_t ngx_http_rcache_handshake_optional(
    ngx_http_rcache_conn_t *conn);
static ngx_int_t ngx_http_rcache_handshake_setname(
    ngx_http_rcache_conn_t *conn);
static ngx_int_t ngx_http_rcache_handshake_send(ngx_http_rcache_conn_t *conn,
    ngx_str_t *argv, ngx_uint_t argc, ngx_http_rcache_op_pt handler);
static void ngx_http_rcache_handshake_auth_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_handshake_password(ngx_http_rcache_conn_t *conn);
static void ngx_http_rcache_handshake_select_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_handshake_role_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_handshake_no_evict_handler(
    ngx_http_rcache_op_t *op, ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_handshake_setinfo_handler(
    ngx_http_rcache_op_t *op, ngx_http_rcache_reply_t *reply);
static ngx_uint_t ngx_http_rcache_handshake_unknown(
    ngx_http_rcache_reply_t *reply);
static void ngx_http_rcache_handshake_setname_handler(
    ngx_http_rcache_op_t *op, ngx_http_rcache_reply_t *reply);
static ngx_uint_t ngx_http_rcache_error_is(ngx_http_rcache_reply_t *reply,
    const char *prefix);


/* errors to AUTH whose text is known to quote nothing of what was sent */

static const char  *ngx_http_rcache_handshake_quotable[] = {
    "WRONGPASS ",
    "NOPERM ",
    "ERR invalid password",
    "ERR AUTH ",
    "ERR Client sent AUTH",
    "ERR max number of clients",
    "DENIED ",
    NULL
};


/* errors to CLIENT SETNAME that speak of the connection, not of the name */

static const char  *ngx_http_rcache_handshake_fatal[] = {
    "NOAUTH ",
    "ERR max number of clients",
    "DENIED ",
    NULL
};


ngx_int_t
ngx_http_rcache_handshake(ngx_http_rcache_conn_t *conn)
{
    ngx_http_rcache_redis_conf_t  *rcf;

    rcf = conn->redis->conf;

    if (conn->node->sentinel) {

        if ((rcf->sentinel_password.len || rcf->sentinel_user.len)
            && ngx_http_rcache_handshake_auth(conn, &rcf->sentinel_user,
                                              &rcf->sentinel_password)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        return ngx_http_rcache_handshake_setname(conn);
    }

    conn->password = conn->redis->password_serial;

    if ((conn->redis->password.len || rcf->user.len)
        && ngx_http_rcache_handshake_auth(conn, &rcf->user,
                                          &conn->redis->password)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (rcf->db && ngx_http_rcache_handshake_select(conn) != NGX_OK) {
        return NGX_ERROR;
    }

    if ((conn->redis->sentinel || (conn->node->replica && !conn->push))
        && ngx_http_rcache_handshake_role(conn) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_rcache_handshake_optional(conn) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_rcache_handshake_setname(conn);
}


static ngx_int_t
ngx_http_rcache_handshake_auth(ngx_http_rcache_conn_t *conn, ngx_str_t *user,
    ngx_str_t *password)
{
    ngx_str_t   argv[3];
    ngx_uint_t  n;

    ngx_str_set(&argv[0], "AUTH");
    n = 1;

    if (user->len) {
        argv[n++] = *user;
    }

    argv[n++] = *password;

    return ngx_http_rcache_handshake_send(conn, argv, n,
                                      ngx_http_rcache_handshake_auth_handler);
}


static ngx_int_t
ngx_http_rcache_handshake_select(ngx_http_rcache_conn_t *conn)
{
    u_char     buf[NGX_INT_T_LEN];
    ngx_str_t  argv[2];

    ngx_str_set(&argv[0], "SELECT");

    argv[1].data = buf;
    argv[1].len = ngx_sprintf(buf, "%ui", conn->redis->conf->db) - buf;

    return ngx_http_rcache_handshake_send(conn, argv, 2,
                                    ngx_http_rcache_handshake_select_handler);
}


/* what sentinels say may be old */

static ngx_int_t
ngx_http_rcache_handshake_role(ngx_http_rcache_conn_t *conn)
{
    ngx_str_t  argv[1];

    ngx_str_set(&argv[0], "ROLE");

    return ngx_http_rcache_handshake_send(conn, argv, 1,
                                      ngx_http_rcache_handshake_role_handler);
}


/*
 * CLIENT NO-EVICT is of Redis 7.0, CLIENT SETINFO of 7.2: what was refused once
 * is not said again.  A user with a name is taken for one with few rights, whom
 * Redis would put on record for the latter, and older ones cannot grant it.
 */

static ngx_int_t
ngx_http_rcache_handshake_optional(ngx_http_rcache_conn_t *conn)
{
    ngx_str_t                 argv[4];
    ngx_http_rcache_redis_t  *redis;

    redis = conn->redis;

    ngx_str_set(&argv[0], "CLIENT");

    if (!redis->no_evict_refused) {
        ngx_str_set(&argv[1], "NO-EVICT");
        ngx_str_set(&argv[2], "on");

        if (ngx_http_rcache_handshake_send(conn, argv, 3,
                                  ngx_http_rcache_handshake_no_evict_handler)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (!redis->setinfo_refused && redis->conf->user.len == 0) {
        ngx_str_set(&argv[1], "SETINFO");
        ngx_str_set(&argv[2], "LIB-NAME");
        ngx_str_set(&argv[3], "ngx_http_redis_proxy_cache_module");

        return ngx_http_rcache_handshake_send(conn, argv, 4,
                                   ngx_http_rcache_handshake_setinfo_handler);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_handshake_setname(ngx_http_rcache_conn_t *conn)
{
    u_char     *p, *last;
    u_char      buf[NGX_HTTP_RCACHE_NAME_MAX];
    ngx_str_t   argv[3];

    last = ngx_snprintf(buf, sizeof(buf), "nginx-%V",
                        &conn->redis->conf->zone);

    /* Redis refuses spaces, controls and what is not ASCII */

    for (p = buf; p < last; p++) {
        if (*p <= 0x20 || *p > 0x7e) {
            *p = '_';
        }
    }

    ngx_str_set(&argv[0], "CLIENT");
    ngx_str_set(&argv[1], "SETNAME");

    argv[2].data = buf;
    argv[2].len = last - buf;

    return ngx_http_rcache_handshake_send(conn, argv, 3,
                                   ngx_http_rcache_handshake_setname_handler);
}


static ngx_int_t
ngx_http_rcache_handshake_send(ngx_http_rcache_conn_t *conn, ngx_str_t *argv,
    ngx_uint_t argc, ngx_http_rcache_op_pt handler)
{
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(1024, conn->redis->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->handler = handler;
    op->data = conn;
    op->max_reply = NGX_HTTP_RCACHE_HANDSHAKE_MAX;

    if (ngx_http_rcache_op_command(op, argv, argc, NULL) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        return NGX_ERROR;
    }

    conn->unsent += op->size;

    ngx_http_rcache_conn_queue(conn, op);

    return NGX_OK;
}


/*
 * An old Redis, or one in which AUTH was renamed, quotes the arguments of a
 * command that it does not know: the password would be in the log.
 */

static void
ngx_http_rcache_handshake_auth_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_conn_t *conn = op->data;

    u_char      *p;
    size_t       len;
    const char **quotable;

    if (reply == NULL || reply->type == REDIS_REPLY_STATUS) {
        return;
    }

    len = 0;

    if (reply->type == REDIS_REPLY_ERROR) {
        p = reply->str.data;

        while (len < reply->str.len && p[len] >= 'A' && p[len] <= 'Z') {
            len++;
        }

        quotable = ngx_http_rcache_handshake_quotable;

        for ( /* void */ ; *quotable; quotable++) {
            if (ngx_http_rcache_error_is(reply, *quotable)) {
                len = reply->str.len;
                break;
            }
        }
    }

    reply->str.len = len;

    ngx_http_rcache_handshake_password(conn);

    ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                              "AUTH was refused: %V", &reply->str);
}


/* the next attempt is made at once if it has another password to send */

static void
ngx_http_rcache_handshake_password(ngx_http_rcache_conn_t *conn)
{
    if (conn->node->sentinel) {
        return;
    }

    if (conn->password != conn->redis->password_serial
        || ngx_http_rcache_password_reread(conn->redis) == NGX_OK)
    {
        conn->node->again = 1;
    }
}


static void
ngx_http_rcache_handshake_select_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_conn_t *conn = op->data;

    if (reply == NULL || reply->type == REDIS_REPLY_STATUS) {
        return;
    }

    /* on no account may a command run on another database */

    ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                              "SELECT was refused: %V", &reply->str);
}


/* a user that may not ask for it has to do without: a store will tell */

static void
ngx_http_rcache_handshake_role_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_conn_t *conn = op->data;

    ngx_str_t  *role;

    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        return;
    }

    if (conn->node->replica) {

        if (!ngx_http_rcache_replica_fit(conn->node, reply)) {
            ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                      "it is not in touch with its master");
        }

        conn->node->checked_at = ngx_current_msec;
        return;
    }

    if (reply->type == REDIS_REPLY_ARRAY
        && reply->integer > 0
        && reply->element[0]->type == REDIS_REPLY_STRING)
    {
        role = &reply->element[0]->str;

        if (role->len == 6 && ngx_strncmp(role->data, "master", 6) == 0) {
            return;
        }
    }

    ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                              "\"%V\" is no master", &conn->node->name);
}


static void
ngx_http_rcache_handshake_no_evict_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_conn_t *conn = op->data;

    if (ngx_http_rcache_handshake_unknown(reply)) {
        conn->redis->no_evict_refused = 1;
    }
}


static void
ngx_http_rcache_handshake_setinfo_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_conn_t *conn = op->data;

    if (ngx_http_rcache_handshake_unknown(reply)) {
        conn->redis->setinfo_refused = 1;
    }
}


/* not if the connection is refused, whatever is said on it */

static ngx_uint_t
ngx_http_rcache_handshake_unknown(ngx_http_rcache_reply_t *reply)
{
    return reply
           && reply->type == REDIS_REPLY_ERROR
           && (ngx_http_rcache_error_is(reply, "ERR unknown ")
               || ngx_http_rcache_error_is(reply, "ERR Unknown ")
               || ngx_http_rcache_error_is(reply, "ERR syntax error")
               || ngx_http_rcache_error_is(reply, "NOPERM "));
}


static void
ngx_http_rcache_handshake_setname_handler(ngx_http_rcache_op_t *op,
    ngx_http_rcache_reply_t *reply)
{
    ngx_http_rcache_conn_t *conn = op->data;

    const char **fatal;

    if (reply == NULL) {
        return;
    }

    fatal = ngx_http_rcache_handshake_fatal;

    for ( /* void */ ; *fatal; fatal++) {
        if (ngx_http_rcache_error_is(reply, *fatal)) {
            ngx_http_rcache_conn_fail(conn, NGX_HTTP_RCACHE_OP_DOWN,
                                      "the handshake was refused: %V",
                                      &reply->str);
            return;
        }
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_log_error(NGX_LOG_INFO, conn->redis->log, 0,
                      "redis \"%V\" refused CLIENT SETNAME, ignored",
                      &conn->node->name);
    }

    ngx_http_rcache_conn_ready(conn);
}


static ngx_uint_t
ngx_http_rcache_error_is(ngx_http_rcache_reply_t *reply, const char *prefix)
{
    size_t  len;

    len = ngx_strlen(prefix);

    return reply->type == REDIS_REPLY_ERROR
           && reply->str.len >= len
           && ngx_strncmp(reply->str.data, prefix, len) == 0;
}
