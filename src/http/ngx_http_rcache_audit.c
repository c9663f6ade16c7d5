
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * redis_proxy_cache_audit: is what is served from the cache what the upstream
 * would send?  Of some hits the client's request is sent to it as well, by a
 * detached request, and the two bodies are held against each other.  The
 * client knows nothing of it; nothing is stored, replaced or locked.
 *
 * The upstream gets what it would get for a miss: no range, and none of the
 * client's conditions.  Its answer counts for as long as the entry is fresh.
 */


#include "ngx_http_rcache_conf.h"
#include "ngx_http_rcache_count.h"
#include "ngx_http_rcache_fetch.h"
#include "ngx_http_rcache_response.h"
#include "../core/rcache_diff.h"


/* a body that is in a file only is looked at in such pieces */

#define NGX_HTTP_RCACHE_AUDIT_BUF    16384

/* bytes of names in a line of the log */

#define NGX_HTTP_RCACHE_AUDIT_NAMES  512


static ngx_uint_t ngx_http_rcache_audit_wants(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_audit_start(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_audit_feed(ngx_http_rcache_ctx_t *ctx,
    ngx_buf_t *b);
static ngx_uint_t ngx_http_rcache_audit_late(ngx_http_rcache_ctx_t *ctx);
static void ngx_http_rcache_audit_result(ngx_http_rcache_ctx_t *ctx,
    ngx_uint_t result);
static void ngx_http_rcache_audit_differs(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, char *what);
static ngx_uint_t ngx_http_rcache_audit_new(ngx_http_rcache_ctx_t *ctx);
static ngx_int_t ngx_http_rcache_audit_names(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, ngx_str_t *names);


void
ngx_http_rcache_audit(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    if ((ngx_uint_t) ngx_random() % NGX_HTTP_RCACHE_AUDIT_ALL
        >= rlcf->metrics.audit
        || !ngx_http_rcache_audit_wants(r, ctx))
    {
        return;
    }

    if (ngx_http_rcache_audit_start(r, ctx) != NGX_OK) {
        ngx_http_rcache_count(ctx, RCACHE_COUNT_AUDITS_SKIPPED, 1);
    }
}


/* what can be asked for another time, and comes whole */

static ngx_uint_t
ngx_http_rcache_audit_wants(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_redis_proxy_cache_module);

    return ctx->status == NGX_HTTP_RCACHE_HIT
           && r == r->main
           && r->method == NGX_HTTP_GET
           && !ctx->rules.bodied
           && r->headers_in.content_length_n <= 0
           && !r->headers_in.chunked
           && !ctx->offline
           && !ctx->background
           && !rlcf->slice;
}


/* NGX_OK, or NGX_DECLINED: there is no audit */

static ngx_int_t
ngx_http_rcache_audit_start(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    uint64_t                  sum, length;
    ngx_http_request_t       *sr;
    ngx_http_rcache_ctx_t    *actx;
    ngx_http_rcache_audit_t  *audit;

    if (ctx->zone->trial.naudits >= NGX_HTTP_RCACHE_AUDITS
        || (ctx->entry.flags & RCACHE_ENTRY_SEGMENTED)
        || ngx_http_rcache_plain_sum(&ctx->entry, &sum, &length) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    sr = ngx_http_rcache_detached_create(r, ctx);
    if (sr == NULL) {
        return NGX_DECLINED;
    }

    actx = ngx_http_get_module_ctx(sr, ngx_http_redis_proxy_cache_module);

    audit = ngx_pcalloc(sr->pool, sizeof(ngx_http_rcache_audit_t));
    if (audit == NULL) {
        goto failed;
    }

    audit->sum = sum;
    audit->length = length;

    audit->state = ngx_pmemalign(sr->pool, rcache_sum_state(),
                                 RCACHE_SUM_ALIGN);
    if (audit->state == NULL) {
        goto failed;
    }

    rcache_sum_begin(audit->state);

    actx->stale = 0;
    actx->state = NGX_HTTP_RCACHE_AUDIT;

    if (ngx_http_rcache_mask(sr, actx) != NGX_OK) {
        goto failed;
    }

    sr->connection->log->action = "auditing in the background";

    actx->audit = audit;
    actx->zone->trial.naudits++;

    ngx_http_rcache_count_fetch(actx);

    ngx_http_rcache_detached_run(sr);

    return NGX_OK;

failed:

    ngx_http_rcache_detached_close(sr);

    return NGX_DECLINED;
}


/* after which there is a body to come, unless ctx->state says that it ends */

void
ngx_http_rcache_audit_header(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx)
{
    ngx_uint_t  status;

    ngx_http_rcache_unmask(r, ctx);

    status = r->headers_out.status;

    if (r->err_status
        || status >= NGX_HTTP_INTERNAL_SERVER_ERROR
        || status == NGX_HTTP_REQUEST_TIME_OUT
        || status == NGX_HTTP_TOO_MANY_REQUESTS)
    {
        ngx_http_rcache_audit_result(ctx, RCACHE_COUNT_AUDITS_FAILED);
        return;
    }

    if (status == ctx->entry.status) {
        return;
    }

    if (ngx_http_rcache_audit_late(ctx)) {
        ngx_http_rcache_audit_result(ctx, RCACHE_COUNT_AUDITS_SKIPPED);
        return;
    }

    ngx_http_rcache_audit_differs(r, ctx, "status");
}


void
ngx_http_rcache_audit_body(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_chain_t *in, ngx_uint_t last)
{
    ngx_chain_t  *cl;

    for (cl = in; cl; cl = cl->next) {

        if (!ngx_buf_special(cl->buf)
            && ngx_http_rcache_audit_feed(ctx, cl->buf) != NGX_OK)
        {
            ngx_http_rcache_audit_result(ctx, RCACHE_COUNT_AUDITS_FAILED);
            return;
        }
    }

    if (!last) {
        return;
    }

    if (ngx_http_rcache_audit_late(ctx)) {
        ngx_http_rcache_audit_result(ctx, RCACHE_COUNT_AUDITS_SKIPPED);

    } else if (rcache_sum_end(ctx->audit->state) == ctx->audit->sum) {
        ngx_http_rcache_audit_result(ctx, RCACHE_COUNT_AUDITS_SAME);

    } else {
        ngx_http_rcache_audit_differs(r, ctx, "body");
    }
}


static ngx_int_t
ngx_http_rcache_audit_feed(ngx_http_rcache_ctx_t *ctx, ngx_buf_t *b)
{
    off_t    at;
    size_t   n;
    u_char  *buf;

    if (ngx_buf_in_memory(b)) {
        rcache_sum_add(ctx->audit->state, b->pos, b->last - b->pos);
        return NGX_OK;
    }

    buf = ngx_alloc(NGX_HTTP_RCACHE_AUDIT_BUF, ctx->request->connection->log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    for (at = b->file_pos; at < b->file_last; at += n) {

        n = (size_t) ngx_min(b->file_last - at,
                             (off_t) NGX_HTTP_RCACHE_AUDIT_BUF);

        if (ngx_read_file(b->file, buf, n, at) != (ssize_t) n) {
            ngx_free(buf);
            return NGX_ERROR;
        }

        rcache_sum_add(ctx->audit->state, buf, n);
    }

    ngx_free(buf);

    return NGX_OK;
}


/* it would not be served any more: the upstream may say another thing */

static ngx_uint_t
ngx_http_rcache_audit_late(ngx_http_rcache_ctx_t *ctx)
{
    int64_t      now;
    ngx_time_t  *tp;

    if (ngx_http_rcache_purge_judge(ctx, &ctx->entry) != RCACHE_REASON_NONE) {
        return 1;
    }

    tp = ngx_timeofday();
    now = (int64_t) tp->sec * 1000 + tp->msec;

    return !rcache_entry_fresh(&ctx->entry, now);
}


static void
ngx_http_rcache_audit_result(ngx_http_rcache_ctx_t *ctx, ngx_uint_t result)
{
    ctx->state = NGX_HTTP_RCACHE_PASS;

    if (ctx->audit->counted) {
        return;
    }

    ctx->audit->counted = 1;

    ngx_http_rcache_count(ctx, result, 1);
}


static void
ngx_http_rcache_audit_differs(ngx_http_request_t *r,
    ngx_http_rcache_ctx_t *ctx, char *what)
{
    ngx_str_t  names;

    ngx_http_rcache_audit_result(ctx, RCACHE_COUNT_AUDITS_DIFFERS);

    if (!ngx_http_rcache_audit_new(ctx)
        || ngx_http_rcache_audit_names(r, ctx, &names) != NGX_OK)
    {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "redis_proxy_cache_audit: the upstream does not send what "
                  "is served for \"%V\": another %s, with status %ui for %ui, "
                  "headers that differ: \"%V\"",
                  &ctx->redis_key, what, r->headers_out.status,
                  (ngx_uint_t) ctx->entry.status, &names);
}


/* a line a second at most, and one for a key as long as it is remembered */

static ngx_uint_t
ngx_http_rcache_audit_new(ngx_http_rcache_ctx_t *ctx)
{
    uint64_t                  hash;
    ngx_uint_t                i;
    ngx_http_rcache_trial_t  *trial;

    trial = &ctx->zone->trial;

    hash = rcache_sum(ctx->key.data, ctx->key.len) | 1;

    for (i = 0; i < NGX_HTTP_RCACHE_AUDIT_KEYS; i++) {
        if (trial->differed[i] == hash) {
            return 0;
        }
    }

    if (trial->told == ngx_time()) {
        return 0;
    }

    trial->told = ngx_time();

    trial->differed[trial->ndiffered++ % NGX_HTTP_RCACHE_AUDIT_KEYS] = hash;

    return 1;
}


/* as they would be stored, and never what is in them: it may be a user's */

static ngx_int_t
ngx_http_rcache_audit_names(ngx_http_request_t *r, ngx_http_rcache_ctx_t *ctx,
    ngx_str_t *names)
{
    u_char             *p, *end, *last;
    ngx_str_t           head;
    rcache_response_t   resp;

    if (ctx->rules.user.len && ngx_http_rcache_user_mark(r) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_rcache_response_init(r, ctx, &resp, r->headers_out.status);
    ngx_http_rcache_response_collect(r, &resp);

    p = ngx_pnalloc(r->pool, NGX_HTTP_RCACHE_AUDIT_NAMES);
    if (p == NULL) {
        return NGX_ERROR;
    }

    names->data = p;
    last = p + NGX_HTTP_RCACHE_AUDIT_NAMES;

    if (resp.set_cookie) {

        /* it is in no entry */

        p = ngx_cpymem(p, "Set-Cookie", sizeof("Set-Cookie") - 1);
    }

    head.data = ngx_pnalloc(r->pool, ngx_http_rcache_head_bound(r));
    if (head.data == NULL) {
        return NGX_ERROR;
    }

    end = ngx_http_rcache_head_write(r, &resp, head.data);

    if (end) {
        head.len = end - head.data;

        if (p != names->data) {
            p = ngx_cpymem(p, ", ", 2);
        }

        p = rcache_diff(p, last - p, &ctx->entry.head, &head);
    }

    names->len = p - names->data;

    return NGX_OK;
}


void
ngx_http_rcache_audit_skip(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_audit_result(ctx, RCACHE_COUNT_AUDITS_SKIPPED);
}


/* without a result there was no response, or no end of it */

void
ngx_http_rcache_audit_leave(ngx_http_rcache_ctx_t *ctx)
{
    ngx_http_rcache_audit_result(ctx, RCACHE_COUNT_AUDITS_FAILED);

    ctx->zone->trial.naudits--;
}


char *
ngx_http_rcache_set_audit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_rcache_loc_conf_t *rlcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (rlcf->metrics.audit != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        rlcf->metrics.audit = 0;
        return NGX_CONF_OK;
    }

    n = NGX_ERROR;

    if (value[1].len > 1 && value[1].data[value[1].len - 1] == '%') {
        n = ngx_atofp(value[1].data, value[1].len - 1, 4);
    }

    if (n < 1 || n > NGX_HTTP_RCACHE_AUDIT_ALL) {
        return ngx_http_rcache_bad_value(cf, &value[1],
                                         "a percentage from 0.0001% to 100%, "
                                         "such as \"0.1%\", or \"off\"");
    }

    rlcf->metrics.audit = n;

    return NGX_CONF_OK;
}
