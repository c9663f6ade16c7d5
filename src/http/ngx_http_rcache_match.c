
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * PCRE2 on a text that comes in pieces.  A match that begins in one piece and
 * may go on in the next is a partial one: from there on, and a bit before for
 * what looks behind, the text is kept.  All else is matched where it is.
 */


/* first: what it says of the system's headers has to come before them */

#include "ngx_http_rcache.h"

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH  8
#endif

#include <pcre2.h>


/* steps of a match, or of one with JIT something like it */

#define NGX_HTTP_RCACHE_MATCH_LIMIT  100000

/* KiB of heap that a match without JIT may take */

#define NGX_HTTP_RCACHE_MATCH_HEAP   1024


struct ngx_http_rcache_pattern_s {
    pcre2_code           *code;
    pcre2_match_context  *limits;
    size_t                behind;     /* bytes that are kept before a start */
};


struct ngx_http_rcache_match_s {
    ngx_http_rcache_pattern_t  *pattern;
    pcre2_match_data           *data;
    u_char                     *text;       /* what is kept */
    size_t                      len;
    size_t                      room;
    size_t                      start;      /* where the next match may begin */
    unsigned                    done:1;
};


static void ngx_http_rcache_pattern_free(void *data);
static void ngx_http_rcache_match_free(void *data);
static ngx_int_t ngx_http_rcache_match_keep(ngx_http_rcache_match_t *match,
    u_char *subject, size_t len, size_t start);
static ngx_int_t ngx_http_rcache_match_append(ngx_http_rcache_match_t *match,
    u_char *p, size_t len);


ngx_http_rcache_pattern_t *
ngx_http_rcache_pattern_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_uint_t literal, ngx_uint_t caseless, ngx_str_t *err)
{
    int                         rc;
    uint32_t                    options, behind;
    PCRE2_SIZE                  at;
    ngx_pool_cleanup_t         *cln;
    ngx_http_rcache_pattern_t  *pattern;

    ngx_str_set(err, "no memory");

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_http_rcache_pattern_t));
    if (cln == NULL) {
        return NULL;
    }

    pattern = cln->data;
    ngx_memzero(pattern, sizeof(ngx_http_rcache_pattern_t));

    cln->handler = ngx_http_rcache_pattern_free;

    /* bytes: a character could be cut by the end of a piece */

    options = literal ? PCRE2_LITERAL : PCRE2_NEVER_UTF;
    options |= caseless ? PCRE2_CASELESS : 0;

    pattern->code = pcre2_compile(text->data, text->len, options, &rc, &at,
                                  NULL);

    if (pattern->code == NULL) {
        err->data = ngx_pcalloc(cf->pool, NGX_MAX_CONF_ERRSTR);
        if (err->data == NULL) {
            return NULL;
        }

        (void) pcre2_get_error_message(rc, err->data, NGX_MAX_CONF_ERRSTR);
        err->len = ngx_strlen(err->data);

        return NULL;
    }

    pattern->limits = pcre2_match_context_create(NULL);
    if (pattern->limits == NULL) {
        return NULL;
    }

    pcre2_set_match_limit(pattern->limits, NGX_HTTP_RCACHE_MATCH_LIMIT);
    pcre2_set_heap_limit(pattern->limits, NGX_HTTP_RCACHE_MATCH_HEAP);

    /* without it matching is slower, and no more */

    (void) pcre2_jit_compile(pattern->code,
                             PCRE2_JIT_COMPLETE|PCRE2_JIT_PARTIAL_HARD);

    /* at least one, so that what is no longer there is not taken for a start */

    if (pcre2_pattern_info(pattern->code, PCRE2_INFO_MAXLOOKBEHIND, &behind)
        != 0)
    {
        return NULL;
    }

    pattern->behind = ngx_max(behind, 1);

    return pattern;
}


static void
ngx_http_rcache_pattern_free(void *data)
{
    ngx_http_rcache_pattern_t *pattern = data;

    pcre2_match_context_free(pattern->limits);
    pcre2_code_free(pattern->code);
}


ngx_http_rcache_match_t *
ngx_http_rcache_match_create(ngx_pool_t *pool,
    ngx_http_rcache_pattern_t *pattern)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_rcache_match_t  *match;

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_http_rcache_match_t));
    if (cln == NULL) {
        return NULL;
    }

    match = cln->data;
    ngx_memzero(match, sizeof(ngx_http_rcache_match_t));

    cln->handler = ngx_http_rcache_match_free;

    match->pattern = pattern;

    /* where a match is, and not where its groups are */

    match->data = pcre2_match_data_create(1, NULL);

    return match->data ? match : NULL;
}


static void
ngx_http_rcache_match_free(void *data)
{
    ngx_http_rcache_match_t *match = data;

    pcre2_match_data_free(match->data);

    if (match->text) {
        ngx_free(match->text);
    }
}


ngx_int_t
ngx_http_rcache_match_feed(ngx_http_rcache_match_t *match, u_char *p,
    size_t len, ngx_uint_t last)
{
    int      rc;
    size_t   n, start;
    u_char  *subject;

    if (match->done) {
        return NGX_DECLINED;
    }

    if (match->len) {

        if (ngx_http_rcache_match_append(match, p, len) != NGX_OK) {
            return NGX_ERROR;
        }

        subject = match->text;
        n = match->len;

    } else {
        subject = p;
        n = len;
    }

    rc = pcre2_match(match->pattern->code, subject, n, match->start,
                     last ? 0 : PCRE2_PARTIAL_HARD, match->data,
                     match->pattern->limits);

    if (rc >= 0) {
        match->done = 1;
        return NGX_OK;
    }

    match->done = last;

    switch (rc) {

    case PCRE2_ERROR_NOMATCH:
        start = n;
        break;

    case PCRE2_ERROR_PARTIAL:
        start = pcre2_get_ovector_pointer(match->data)[0];
        break;

    default:

        /* a limit */

        match->done = 1;
        return NGX_ERROR;
    }

    if (last) {
        return NGX_DECLINED;
    }

    return ngx_http_rcache_match_keep(match, subject, n, start);
}


/* the subject from start on, and what may be looked at before it */

static ngx_int_t
ngx_http_rcache_match_keep(ngx_http_rcache_match_t *match, u_char *subject,
    size_t len, size_t start)
{
    size_t  from;

    from = (start > match->pattern->behind) ? start - match->pattern->behind
                                            : 0;

    match->start = start - from;

    if (subject == match->text) {
        ngx_memmove(match->text, subject + from, len - from);
        match->len = len - from;

        return NGX_DECLINED;
    }

    return ngx_http_rcache_match_append(match, subject + from, len - from)
           == NGX_OK ? NGX_DECLINED : NGX_ERROR;
}


static ngx_int_t
ngx_http_rcache_match_append(ngx_http_rcache_match_t *match, u_char *p,
    size_t len)
{
    size_t   room;
    u_char  *text;

    if (len > match->room - match->len) {

        room = 2 * (match->len + len);

        text = ngx_alloc(room, ngx_cycle->log);
        if (text == NULL) {
            return NGX_ERROR;
        }

        if (match->text) {
            ngx_memcpy(text, match->text, match->len);
            ngx_free(match->text);
        }

        match->text = text;
        match->room = room;
    }

    ngx_memcpy(match->text + match->len, p, len);
    match->len += len;

    return NGX_OK;
}
