
/*
 * What counts in a request, and what may not be cached because of what it is:
 * the arguments, the user, unkeyed headers, the path, and the parts of the key
 * that come of them.  The files ngx_http_rcache_rules*.c and _args.c, _user.c,
 * _unkeyed.c, _profile.c; policy, key, check and mask call them.
 */


#ifndef _NGX_HTTP_RCACHE_RULES_H_INCLUDED_
#define _NGX_HTTP_RCACHE_RULES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "../core/rcache_args.h"
#include "../core/rcache_graphql.h"
#include "../core/rcache_json.h"
#include "../core/rcache_parts.h"
#include "../core/rcache_path.h"
#include "../core/rcache_private.h"
#include "../core/rcache_reason.h"


/* bytes of the part of a user in the key */

#define NGX_HTTP_RCACHE_USER_PART  (sizeof(" user=") - 1 + RCACHE_PART_USER)
#define NGX_HTTP_RCACHE_USER_TAG   (NGX_HTTP_RCACHE_USER_PART - 1)


/* beside NGX_HTTP_GET and the others, none of which it is */

#define NGX_HTTP_RCACHE_QUERY      0x40000000


struct ngx_http_rcache_ctx_s;


#define NGX_HTTP_RCACHE_PROFILE_OFF     0
#define NGX_HTTP_RCACHE_PROFILE_NEXTJS  1


/* redis_proxy_cache_args */

typedef enum {
    NGX_HTTP_RCACHE_ARGS_OFF = 0,
    NGX_HTTP_RCACHE_ARGS_ALL,
    NGX_HTTP_RCACHE_ARGS_KEEP,
    NGX_HTTP_RCACHE_ARGS_DROP
} ngx_http_rcache_args_mode_e;


typedef struct {
    ngx_str_t                      text;     /* as it is written: a name, or
                                                with wildcards */
    ngx_uint_t                     wild;     /* unsigned  wild:1; */
#if (NGX_PCRE)
    ngx_regex_t                   *regex;    /* NULL: text is to be matched */
#endif
} ngx_http_rcache_args_rule_t;


typedef struct {
    ngx_http_rcache_args_mode_e    mode;
    ngx_array_t                    rules;    /* ngx_http_rcache_args_rule_t */
    ngx_uint_t                     sort;     /* unsigned  sort:1; */
    ngx_uint_t                     drop_empty; /* unsigned  drop_empty:1; */
    ngx_uint_t                     upstream; /* unsigned  upstream:1;
                                                it gets what the key has */
} ngx_http_rcache_args_conf_t;


/* the longest name of a header in redis_proxy_cache_unkeyed */

#define NGX_HTTP_RCACHE_UNKEYED_NAME  64


/* redis_proxy_cache_unkeyed: what a header that is in the request does */

typedef enum {
    NGX_HTTP_RCACHE_UNKEYED_IGNORE = 1,
    NGX_HTTP_RCACHE_UNKEYED_KEY,
    NGX_HTTP_RCACHE_UNKEYED_STRIP,
    NGX_HTTP_RCACHE_UNKEYED_BYPASS
} ngx_http_rcache_unkeyed_e;


typedef struct {
    ngx_hash_t                     hash;     /* of ngx_http_rcache_unkeyed_e */
    ngx_uint_t                     n;
    ngx_array_t                    given;    /* ngx_keyval_t, as written */
} ngx_http_rcache_unkeyed_t;


/* of a location */

typedef struct {
    ngx_http_rcache_args_conf_t   *args;
    ngx_http_complex_value_t      *user;     /* NULL: off */
    ngx_http_rcache_unkeyed_t     *unkeyed;
    ngx_uint_t                     profile;  /* NGX_HTTP_RCACHE_PROFILE_* */
    size_t                         body_size; /* 0: no body is in the key */
    ngx_uint_t                     json;     /* unsigned  json:1; */
    ngx_uint_t                     graphql;  /* unsigned  graphql:1; */
    ngx_uint_t                     loose;    /* unsigned  loose:1;
                                                the key has the decoded path */
} ngx_http_rcache_rules_conf_t;


/* of a request */

typedef struct {
    ngx_str_t                      user;     /* its tag; empty: for all */
    ngx_str_t                      parts;    /* the end of the key */
    ngx_str_t                      args;
    ngx_str_t                      body;     /* of the request, in one piece */

    ngx_list_t                    *unstripped; /* the client's header lines,
                                                if some were taken out */

    /* while the upstream is shown the arguments of the key */
    ngx_str_t                      client_uri;
    ngx_str_t                      client_args;

    unsigned                       judged:1; /* args is set */
    unsigned                       read:1;   /* nginx has read the body */
    unsigned                       bodied:1; /* body is part of the key */
    unsigned                       shown:1;  /* client_uri is set */
} ngx_http_rcache_rules_ctx_t;


/*
 * ngx_http_rcache_rules.c.  who: takes headers out of the request, and finds
 * what parts its key has whatever the method; once a request.  what: the rest,
 * for a request that may be looked up.  RCACHE_REASON_NONE, or why it is
 * neither looked up nor its response stored.
 *
 * key: the whole key from what it begins with; NGX_OK, NGX_ERROR.
 */

rcache_reason_e ngx_http_rcache_rules_who(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
rcache_reason_e ngx_http_rcache_rules_what(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
ngx_int_t ngx_http_rcache_rules_key(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx, ngx_str_t *base, ngx_str_t *key);

/*
 * ngx_http_rcache_args.c: the query as redis_proxy_cache_args wants it, without
 * "?"; NGX_OK, NGX_ERROR, NGX_DECLINED: there are too many arguments.
 *
 * query is that of the request, ngx_http_rcache_args(), or another.
 *
 * show: the upstream is to see it too; unshow: no more.
 *
 * drops: the argument does not count; *rule is the one that says so, or NULL.
 */

ngx_int_t ngx_http_rcache_args(ngx_http_request_t *r, ngx_str_t *args);
ngx_int_t ngx_http_rcache_args_query(ngx_http_request_t *r, ngx_str_t *query,
    ngx_str_t *args);
ngx_int_t ngx_http_rcache_args_show(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
void ngx_http_rcache_args_unshow(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
ngx_uint_t ngx_http_rcache_args_drops(ngx_http_rcache_args_conf_t *conf,
    rcache_arg_t *arg, ngx_http_rcache_args_rule_t **rule);

/*
 * ngx_http_rcache_unkeyed.c: adds the header lines that are keyed to parts, and
 * takes out those that are to be; NGX_OK, NGX_ERROR, NGX_DECLINED: bypass.
 *
 * find: what is to be done with a header line; 0: nothing is said of it.
 */

ngx_int_t ngx_http_rcache_unkeyed(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx, ngx_str_t *parts);
ngx_http_rcache_unkeyed_e ngx_http_rcache_unkeyed_find(
    ngx_http_rcache_unkeyed_t *unkeyed, ngx_table_elt_t *h);

/*
 * build: from what is given, ngx_keyval_t with names in lower case, or NULL,
 * and the defaults for what is not; NGX_OK, NGX_ERROR.  action: 0 if there is
 * none of that name.  word: the name of one.
 */

ngx_int_t ngx_http_rcache_unkeyed_build(ngx_conf_t *cf, ngx_array_t *given,
    ngx_uint_t defaults, ngx_http_rcache_unkeyed_t *unkeyed);
ngx_http_rcache_unkeyed_e ngx_http_rcache_unkeyed_action(ngx_str_t *value);
ngx_str_t *ngx_http_rcache_unkeyed_word(ngx_http_rcache_unkeyed_e action);

/*
 * ngx_http_rcache_body.c.  method: as in r->method, or NGX_HTTP_RCACHE_QUERY.
 * body_read: NGX_OK: there is nothing to be read, or it has been; NGX_DONE:
 * our handler is called when it has; or a status.  body: its part of the key,
 * or why the request is not cached.
 */

ngx_uint_t ngx_http_rcache_method(ngx_http_request_t *r);
ngx_int_t ngx_http_rcache_body_read(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx);
rcache_reason_e ngx_http_rcache_body(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx, ngx_str_t *parts);

/* what src/core parses JSON with */

void ngx_http_rcache_json_memory(rcache_json_memory_t *memory,
    ngx_log_t *log);

/*
 * ngx_http_rcache_profile.c, with a profile only.  request: whether it may be
 * looked up; response: whether it may be stored under ctx->key, by its media
 * type in lower case.  RCACHE_REASON_NONE, or why not.
 */

rcache_reason_e ngx_http_rcache_profile_request(ngx_http_request_t *r);
rcache_reason_e ngx_http_rcache_profile_response(ngx_http_request_t *r,
    ngx_str_t *type);

extern ngx_conf_enum_t  ngx_http_rcache_profiles[];

/*
 * ngx_http_rcache_user.c: marks r->headers_out as for one user, before it is
 * stored and sent; NGX_OK, NGX_ERROR.
 */

ngx_int_t ngx_http_rcache_user(ngx_http_request_t *r,
    struct ngx_http_rcache_ctx_s *ctx, ngx_str_t *parts);
ngx_int_t ngx_http_rcache_user_mark(ngx_http_request_t *r);

/* the tag that the entries of a user have; NGX_OK, NGX_ERROR */

ngx_int_t ngx_http_rcache_user_tag(u_char tag[NGX_HTTP_RCACHE_USER_TAG],
    const ngx_str_t *identity, const ngx_str_t *secret);


#endif /* _NGX_HTTP_RCACHE_RULES_H_INCLUDED_ */
