
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The rules that had a part in a decision, each with the line on which it is
 * written.  Of header lines and arguments there is the name, and never the
 * value.
 */


#include "ngx_http_rcache.h"
#include "../core/rcache_stale.h"


typedef struct {
    u_char                      *start;
    u_char                      *p;
    u_char                      *last;
    ngx_http_request_t          *request;
    ngx_http_rcache_ctx_t       *ctx;
    ngx_http_rcache_loc_conf_t  *conf;
} ngx_http_rcache_explained_t;


static void ngx_http_rcache_explain_request(
    ngx_http_rcache_explained_t *out);
static void ngx_http_rcache_explain_headers(
    ngx_http_rcache_explained_t *out);
static void ngx_http_rcache_explain_reason(ngx_http_rcache_explained_t *out,
    rcache_reason_e reason);
static void ngx_http_rcache_explain_condition(
    ngx_http_rcache_explained_t *out, ngx_http_rcache_rule_e rule,
    ngx_array_t *values);
static void ngx_http_rcache_explain_response(
    ngx_http_rcache_explained_t *out);
static void ngx_http_rcache_explain_valid(ngx_http_rcache_explained_t *out,
    ngx_uint_t status);
static void ngx_http_rcache_explain_stale(ngx_http_rcache_explained_t *out);
static void ngx_http_rcache_explain_rule(ngx_http_rcache_explained_t *out,
    ngx_http_rcache_rule_e rule, ngx_str_t *what);
static void ngx_http_rcache_explain_add(ngx_http_rcache_explained_t *out,
    ngx_http_rcache_rule_e rule, ngx_str_t *what,
    ngx_http_rcache_where_t *where);


u_char *
ngx_http_rcache_explain_rules(u_char *p, u_char *last, ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_explained_t  out;

    out.start = p;
    out.p = p;
    out.last = last;
    out.request = r;
    out.ctx = ctx;
    out.conf = ngx_http_get_module_loc_conf(r,
                                            ngx_http_redis_proxy_cache_module);

    ngx_http_rcache_explain_request(&out);

    ngx_http_rcache_explain_reason(&out, ctx->missed);

    if (ctx->reason != ctx->missed) {
        ngx_http_rcache_explain_reason(&out, ctx->reason);
    }

    ngx_http_rcache_explain_response(&out);

    return out.p;
}


/* what made the key */

static void
ngx_http_rcache_explain_request(ngx_http_rcache_explained_t *out)
{
    ngx_str_t                    mode;
    ngx_http_rcache_ctx_t       *ctx;
    ngx_http_rcache_loc_conf_t  *conf;

    ctx = out->ctx;
    conf = out->conf;

    ngx_http_rcache_explain_rule(out, NGX_HTTP_RCACHE_RULE_CACHE,
                                 &ctx->zone->name);

    if (ctx->dry) {
        ngx_http_rcache_explain_rule(out, NGX_HTTP_RCACHE_RULE_DRY_RUN, NULL);
    }

    if (conf->key) {
        ngx_http_rcache_explain_rule(out, NGX_HTTP_RCACHE_RULE_KEY, NULL);
    }

    if (ctx->rules.judged && conf->rules.args) {

        switch (conf->rules.args->mode) {

        case NGX_HTTP_RCACHE_ARGS_KEEP:
            ngx_str_set(&mode, "keep");
            break;

        case NGX_HTTP_RCACHE_ARGS_DROP:
            ngx_str_set(&mode, "drop");
            break;

        default: /* NGX_HTTP_RCACHE_ARGS_ALL */
            ngx_str_set(&mode, "all");
            break;
        }

        ngx_http_rcache_explain_rule(out, NGX_HTTP_RCACHE_RULE_ARGS, &mode);
    }

    if (ctx->rules.user.len) {
        ngx_http_rcache_explain_rule(out, NGX_HTTP_RCACHE_RULE_USER, NULL);
    }

    ngx_http_rcache_explain_headers(out);

    if (ctx->rules.bodied) {
        ngx_http_rcache_explain_rule(out, NGX_HTTP_RCACHE_RULE_KEY_BODY, NULL);
    }

    if (ctx->offline) {
        ngx_http_rcache_explain_condition(out, NGX_HTTP_RCACHE_RULE_OFFLINE,
                                          conf->offline);
    }
}


/* redis_proxy_cache_unkeyed, of the lines that the client sent */

static void
ngx_http_rcache_explain_headers(ngx_http_rcache_explained_t *out)
{
    u_char                      buf[NGX_HTTP_RCACHE_UNKEYED_NAME + 8];
    ngx_str_t                   what, name;
    ngx_uint_t                  i, n;
    ngx_keyval_t               *kv;
    ngx_list_part_t            *part;
    ngx_table_elt_t            *h;
    ngx_http_rcache_ctx_t      *ctx;
    ngx_http_rcache_where_t    *where;
    ngx_http_rcache_unkeyed_t  *unkeyed;
    ngx_http_rcache_unkeyed_e   action;

    ctx = out->ctx;
    unkeyed = out->conf->rules.unkeyed;

    if (unkeyed->n == 0) {
        return;
    }

    part = ctx->rules.unstripped ? &ctx->rules.unstripped->part
                                 : &out->request->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        action = ngx_http_rcache_unkeyed_find(unkeyed, &h[i]);

        if (action == 0 || action == NGX_HTTP_RCACHE_UNKEYED_IGNORE) {
            continue;
        }

        /* it is known, so its name is not longer than one may be */

        what.data = buf;
        what.len = ngx_slprintf(buf, buf + sizeof(buf), "%*s=%V",
                                h[i].key.len, h[i].lowcase_key,
                                ngx_http_rcache_unkeyed_word(action))
                   - buf;

        name.data = buf;
        name.len = h[i].key.len;

        for (n = 0; n < name.len; n++) {
            if (name.data[n] == '_') {
                name.data[n] = '-';
            }
        }

        where = NULL;
        kv = unkeyed->given.elts;

        for (n = 0; n < unkeyed->given.nelts; n++) {
            if (rcache_str_same(&kv[n].key, &name)) {
                where = ngx_http_rcache_line(&out->conf->lines,
                                             NGX_HTTP_RCACHE_RULE_UNKEYED, 0);
            }
        }

        ngx_http_rcache_explain_add(out, NGX_HTTP_RCACHE_RULE_UNKEYED, &what,
                                    where);
    }
}


static void
ngx_http_rcache_explain_reason(ngx_http_rcache_explained_t *out,
    rcache_reason_e reason)
{
    ngx_http_rcache_rule_e       rule;
    ngx_http_rcache_loc_conf_t  *conf;

    conf = out->conf;

    switch (reason) {

    case RCACHE_REASON_METHOD:
        rule = NGX_HTTP_RCACHE_RULE_METHODS;
        break;

    case RCACHE_REASON_BYPASS:
        ngx_http_rcache_explain_condition(out, NGX_HTTP_RCACHE_RULE_BYPASS,
                                          conf->bypass);
        return;

    case RCACHE_REASON_NO_CACHE:
        ngx_http_rcache_explain_condition(out, NGX_HTTP_RCACHE_RULE_NO_CACHE,
                                          conf->no_cache);
        return;

    case RCACHE_REASON_RANGE:
        rule = NGX_HTTP_RCACHE_RULE_MAX_RANGE_OFFSET;
        break;

    case RCACHE_REASON_KEY_EMPTY:
        rule = NGX_HTTP_RCACHE_RULE_KEY;
        break;

    case RCACHE_REASON_USER:
        rule = NGX_HTTP_RCACHE_RULE_USER;
        break;

    case RCACHE_REASON_PREVIEW:
    case RCACHE_REASON_COMPONENT:
        rule = NGX_HTTP_RCACHE_RULE_PROFILE;
        break;

    case RCACHE_REASON_BODY:
    case RCACHE_REASON_GRAPHQL:
        rule = NGX_HTTP_RCACHE_RULE_KEY_BODY;
        break;

    case RCACHE_REASON_ARGS:
        rule = NGX_HTTP_RCACHE_RULE_ARGS;
        break;

    case RCACHE_REASON_CLIENT:
        rule = NGX_HTTP_RCACHE_RULE_CLIENT_CONTROL;
        break;

    case RCACHE_REASON_MIN_USES:
        rule = NGX_HTTP_RCACHE_RULE_MIN_USES;
        break;

    case RCACHE_REASON_REDIS_TIMEOUT:
        rule = NGX_HTTP_RCACHE_RULE_BUDGET;
        break;

    case RCACHE_REASON_LOCK_TIMEOUT:
        rule = NGX_HTTP_RCACHE_RULE_LOCK_TIMEOUT;
        break;

    case RCACHE_REASON_UNCACHEABLE:
        rule = NGX_HTTP_RCACHE_RULE_HIT_FOR_MISS;
        break;

    case RCACHE_REASON_FALLBACK:
        rule = NGX_HTTP_RCACHE_RULE_FALLBACK_LIMIT;
        break;

    case RCACHE_REASON_STATUS:

        if (conf->check.statuses == NULL) {
            return;
        }

        rule = NGX_HTTP_RCACHE_RULE_STATUSES;
        break;

    case RCACHE_REASON_TOO_LARGE:
        rule = NGX_HTTP_RCACHE_RULE_MAX_SIZE;
        break;

    case RCACHE_REASON_TOO_SMALL:
        rule = NGX_HTTP_RCACHE_RULE_MIN_SIZE;
        break;

    case RCACHE_REASON_TYPE:
        rule = NGX_HTTP_RCACHE_RULE_TYPES;
        break;

    case RCACHE_REASON_EXTENSION:
        rule = NGX_HTTP_RCACHE_RULE_EXTENSION;
        break;

    case RCACHE_REASON_ENCODED:
        rule = conf->check.patterns ? NGX_HTTP_RCACHE_RULE_NO_CACHE_BODY
                                    : NGX_HTTP_RCACHE_RULE_VALIDATE;
        break;

    case RCACHE_REASON_VARIANTS:
        rule = NGX_HTTP_RCACHE_RULE_MAX_VARIANTS;
        break;

    case RCACHE_REASON_TAGS:
        rule = NGX_HTTP_RCACHE_RULE_TAGS;
        break;

    default:

        /* no line of the configuration, or it is there already */

        return;
    }

    ngx_http_rcache_explain_rule(out, rule, NULL);
}


/* the first one that is true, as nginx tests them */

static void
ngx_http_rcache_explain_condition(ngx_http_rcache_explained_t *out,
    ngx_http_rcache_rule_e rule, ngx_array_t *values)
{
    ngx_str_t                  value;
    ngx_uint_t                 i;
    ngx_http_complex_value_t  *cv;

    cv = values->elts;

    for (i = 0; i < values->nelts; i++) {

        if (ngx_http_complex_value(out->request, &cv[i], &value) == NGX_OK
            && value.len
            && (value.len != 1 || value.data[0] != '0'))
        {
            ngx_http_rcache_explain_add(out, rule, &cv[i].value,
                                        ngx_http_rcache_line(&out->conf->lines,
                                                             rule, i));
            return;
        }
    }

    /* it no longer is */

    ngx_http_rcache_explain_rule(out, rule, NULL);
}


/* what made the lifetime, and what let it be served stale */

static void
ngx_http_rcache_explain_response(ngx_http_rcache_explained_t *out)
{
    ngx_http_rcache_ctx_t  *ctx;

    ctx = out->ctx;

    if (ctx->fetching && out->conf->ignore) {
        ngx_http_rcache_explain_rule(out, NGX_HTTP_RCACHE_RULE_IGNORE, NULL);
    }

    if (ctx->stored) {

        if (ctx->lifetime_of == RCACHE_LIFETIME_VALID) {
            ngx_http_rcache_explain_valid(out,
                                          out->request->headers_out.status);
        }

        return;
    }

    if (ctx->entry.created == 0) {
        return;
    }

    if (rcache_entry_source(&ctx->entry) == RCACHE_LIFETIME_VALID) {
        ngx_http_rcache_explain_valid(out, ctx->entry.status);
    }

    if (ctx->status == NGX_HTTP_RCACHE_STALE
        || ctx->status == NGX_HTTP_RCACHE_UPDATING)
    {
        ngx_http_rcache_explain_stale(out);
    }
}


static void
ngx_http_rcache_explain_valid(ngx_http_rcache_explained_t *out,
    ngx_uint_t status)
{
    u_char                    buf[NGX_INT_T_LEN + NGX_TIME_T_LEN + 2];
    ngx_str_t                 what;
    ngx_uint_t                i;
    ngx_http_rcache_valid_t  *v;

    if (out->conf->valid == NULL) {

        /* it was stored where there is one */

        return;
    }

    v = out->conf->valid->elts;

    for (i = 0; i < out->conf->valid->nelts; i++) {

        if (v[i].status != 0 && v[i].status != status) {
            continue;
        }

        what.data = buf;
        what.len = (v[i].status
                    ? ngx_sprintf(buf, "%ui %Ts", status, v[i].valid)
                    : ngx_sprintf(buf, "any %Ts", v[i].valid))
                   - buf;

        ngx_http_rcache_explain_add(out, NGX_HTTP_RCACHE_RULE_VALID, &what,
                                    ngx_http_rcache_line(&out->conf->lines,
                                               NGX_HTTP_RCACHE_RULE_VALID, i));
        return;
    }
}


/* the response itself may have allowed it, RFC 5861 */

static void
ngx_http_rcache_explain_stale(ngx_http_rcache_explained_t *out)
{
    int64_t                 now;
    unsigned                use;
    ngx_time_t             *tp;
    ngx_http_rcache_ctx_t  *ctx;

    ctx = out->ctx;

    if (ctx->offline) {
        return;
    }

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    use = rcache_entry_stale(&ctx->entry, now);

    if (use & (ctx->failure ? RCACHE_STALE_ERROR : RCACHE_STALE_UPDATING)) {
        return;
    }

    if (out->conf->use_stale) {
        ngx_http_rcache_explain_rule(out, NGX_HTTP_RCACHE_RULE_USE_STALE,
                                     NULL);

    } else if (ctx->wants) {
        ngx_http_rcache_explain_rule(out, NGX_HTTP_RCACHE_RULE_CLIENT_CONTROL,
                                     NULL);
    }
}


static void
ngx_http_rcache_explain_rule(ngx_http_rcache_explained_t *out,
    ngx_http_rcache_rule_e rule, ngx_str_t *what)
{
    ngx_http_rcache_explain_add(out, rule, what,
                                ngx_http_rcache_line(&out->conf->lines, rule,
                                                     0));
}


/* what does not fit is left out; a file is told as nginx.conf includes it */

static void
ngx_http_rcache_explain_add(ngx_http_rcache_explained_t *out,
    ngx_http_rcache_rule_e rule, ngx_str_t *what,
    ngx_http_rcache_where_t *where)
{
    u_char     *p;
    ngx_str_t   file;

    p = ngx_slprintf(out->p, out->last, "%s%V",
                     (out->p > out->start) ? ", " : "",
                     &ngx_http_rcache_rule_names[rule]);

    if (what) {
        p = ngx_slprintf(p, out->last, " %V", what);
    }

    if (where) {
        file = where->file;

        if (file.len > ngx_cycle->conf_prefix.len
            && ngx_strncmp(file.data, ngx_cycle->conf_prefix.data,
                           ngx_cycle->conf_prefix.len)
               == 0)
        {
            file.data += ngx_cycle->conf_prefix.len;
            file.len -= ngx_cycle->conf_prefix.len;
        }

        p = ngx_slprintf(p, out->last, " at %V:%ui", &file, where->line);

    } else {
        p = ngx_slprintf(p, out->last, " by default");
    }

    if (p < out->last) {
        out->p = p;
    }
}


u_char *
ngx_http_rcache_explain_dropped(u_char *p, u_char *last, ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx)
{
    u_char                       *data, *end;
    size_t                        i, n;
    ngx_str_t                     query;
    rcache_arg_t                 *list;
    ngx_http_rcache_loc_conf_t   *rlcf;
    ngx_http_rcache_args_conf_t  *conf;
    ngx_http_rcache_args_rule_t  *rule;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    conf = rlcf->rules.args;
    query = ctx->rules.shown ? ctx->rules.client_args : r->args;

    if (conf == NULL || query.len == 0) {
        return p;
    }

    n = rcache_args_count(&query);

    if (n > RCACHE_ARGS_MAX) {
        return p;
    }

    list = ngx_palloc(r->pool, n * sizeof(rcache_arg_t));
    if (list == NULL) {
        return p;
    }

    data = ngx_pnalloc(r->pool, query.len);
    if (data == NULL) {
        return p;
    }

    if (rcache_args_parse(list, &n, data, &query) != RCACHE_OK) {
        return p;
    }

    end = p;

    for (i = 0; i < n; i++) {

        if (!ngx_http_rcache_args_drops(conf, &list[i], &rule)) {
            continue;
        }

        data = end;

        end = ngx_slprintf(end, last, "%s%V by ", (end > p) ? ", " : "",
                           &list[i].name);

        end = rule ? ngx_slprintf(end, last, "%V", &rule->text)
                   : ngx_slprintf(end, last, "%s",
                                  (conf->drop_empty && list[i].empty)
                                  ? "empty=drop" : "keep");

        if (end == last) {
            return data;
        }
    }

    return end;
}
