
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* first: what it says of the system's headers has to come before pcre2.h */

#include "ngx_http_rcache_regex.h"

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH  8
#endif

#include <pcre2.h>


/* steps of a match, or of one with JIT something like it: some 100 us */

#define NGX_HTTP_RCACHE_REGEX_LIMIT  10000

/* KiB of heap that a match without JIT may take */

#define NGX_HTTP_RCACHE_REGEX_HEAP   1024

/* keys are bytes */

#define NGX_HTTP_RCACHE_REGEX_OPTIONS                                         \
    (PCRE2_NEVER_UTF|PCRE2_NEVER_BACKSLASH_C)


typedef struct {
    uint64_t                 position;
    unsigned                 soft:1;
    unsigned                 limited:1;     /* that is logged */
    pcre2_code              *code;          /* NULL: matches everything */
} ngx_http_rcache_regex_t;


struct ngx_http_rcache_regexes_s {
    rcache_patterns_t       *patterns;
    ngx_shmtx_t             *mutex;
    uint64_t                 serial;        /* of what is compiled */
    ngx_uint_t               n;
    ngx_http_rcache_regex_t  regex[RCACHE_PATTERNS];
    pcre2_match_context     *limits;
    pcre2_match_data        *data;
};


static void ngx_http_rcache_regexes_sync(ngx_http_rcache_regexes_t *regexes);
static void ngx_http_rcache_regexes_compile(
    ngx_http_rcache_regexes_t *regexes, rcache_pattern_t *pattern);
static ngx_uint_t ngx_http_rcache_regex_match(
    ngx_http_rcache_regexes_t *regexes, ngx_http_rcache_regex_t *regex,
    ngx_str_t *key);
static void ngx_http_rcache_regexes_free(ngx_http_rcache_regexes_t *regexes);
static void ngx_http_rcache_regexes_cleanup(void *data);


ngx_http_rcache_regexes_t *
ngx_http_rcache_regexes_create(ngx_cycle_t *cycle,
    rcache_patterns_t *patterns, ngx_shmtx_t *mutex)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_rcache_regexes_t  *regexes;

    cln = ngx_pool_cleanup_add(cycle->pool, sizeof(ngx_http_rcache_regexes_t));
    if (cln == NULL) {
        return NULL;
    }

    regexes = cln->data;
    ngx_memzero(regexes, sizeof(ngx_http_rcache_regexes_t));

    cln->handler = ngx_http_rcache_regexes_cleanup;

    regexes->patterns = patterns;
    regexes->mutex = mutex;

    regexes->limits = pcre2_match_context_create(NULL);
    regexes->data = pcre2_match_data_create(1, NULL);

    if (regexes->limits == NULL || regexes->data == NULL) {
        return NULL;
    }

    (void) pcre2_set_match_limit(regexes->limits, NGX_HTTP_RCACHE_REGEX_LIMIT);
    (void) pcre2_set_heap_limit(regexes->limits, NGX_HTTP_RCACHE_REGEX_HEAP);

    return regexes;
}


ngx_uint_t
ngx_http_rcache_regexes_match(ngx_http_rcache_regexes_t *regexes,
    ngx_http_rcache_regex_subject_t *subject, uint64_t *soft)
{
    ngx_uint_t                i;
    ngx_http_rcache_regex_t  *regex;

    if (regexes->serial
        != __atomic_load_n(&regexes->patterns->serial, __ATOMIC_ACQUIRE))
    {
        ngx_http_rcache_regexes_sync(regexes);
    }

    for (i = 0; i < regexes->n; i++) {
        regex = &regexes->regex[i];

        if (regex->position <= subject->position
            || regex->position > subject->upto
            || (regex->soft && regex->position <= *soft)
            || !ngx_http_rcache_regex_match(regexes, regex, subject->key))
        {
            continue;
        }

        if (!regex->soft) {
            return 1;
        }

        *soft = regex->position;
    }

    return 0;
}


static ngx_uint_t
ngx_http_rcache_regex_match(ngx_http_rcache_regexes_t *regexes,
    ngx_http_rcache_regex_t *regex, ngx_str_t *key)
{
    int  rc;

    if (regex->code == NULL) {
        return 1;
    }

    rc = pcre2_match(regex->code, key->data, key->len, 0, 0, regexes->data,
                     regexes->limits);

    if (rc >= 0) {
        return 1;
    }

    if (rc == PCRE2_ERROR_NOMATCH) {
        return 0;
    }

    if (!regex->limited) {
        regex->limited = 1;

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "the regex of a purge takes too long for some keys, "
                      "and purges them: pcre2_match() failed (%d)", rc);
    }

    return 1;
}


static void
ngx_http_rcache_regexes_sync(ngx_http_rcache_regexes_t *regexes)
{
    ngx_uint_t          i;
    rcache_patterns_t  *copy;

    ngx_http_rcache_regexes_free(regexes);

    copy = ngx_alloc(sizeof(rcache_patterns_t), ngx_cycle->log);

    if (copy == NULL) {

        /* the serial stays another one, so that it is tried again */

        regexes->n = 1;
        ngx_memzero(&regexes->regex[0], sizeof(ngx_http_rcache_regex_t));
        regexes->regex[0].position = UINT64_MAX;

        return;
    }

    ngx_shmtx_lock(regexes->mutex);

    ngx_memcpy(copy, regexes->patterns, sizeof(rcache_patterns_t));

    ngx_shmtx_unlock(regexes->mutex);

    for (i = 0; i < RCACHE_PATTERNS; i++) {

        if (copy->pattern[i].state == RCACHE_PATTERN_ACTIVE) {
            ngx_http_rcache_regexes_compile(regexes, &copy->pattern[i]);
        }
    }

    regexes->serial = copy->serial;

    ngx_free(copy);
}


static void
ngx_http_rcache_regexes_compile(ngx_http_rcache_regexes_t *regexes,
    rcache_pattern_t *pattern)
{
    int                       rc;
    ngx_str_t                 text;
    PCRE2_SIZE                at;
    ngx_http_rcache_regex_t  *regex;

    text.data = pattern->text;
    text.len = (size_t) pattern->len;

    regex = &regexes->regex[regexes->n];
    ngx_memzero(regex, sizeof(ngx_http_rcache_regex_t));

    regex->position = pattern->position;
    regex->soft = (pattern->soft != 0);
    regex->code = pcre2_compile(text.data, text.len,
                                NGX_HTTP_RCACHE_REGEX_OPTIONS, &rc, &at,
                                NULL);

    if (regex->code == NULL && rc != PCRE2_ERROR_HEAP_FAILED) {

        /* what this instance sent was checked before */

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "the regex \"%V\" of a purge is none, and has no "
                      "effect: pcre2_compile() failed (%d) at %uz",
                      &text, rc, (size_t) at);
        return;
    }

    if (regex->code) {

        /* without it matching is slower, and no more */

        (void) pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    }

    regexes->n++;
}


static void
ngx_http_rcache_regexes_free(ngx_http_rcache_regexes_t *regexes)
{
    ngx_uint_t  i;

    for (i = 0; i < regexes->n; i++) {
        pcre2_code_free(regexes->regex[i].code);
    }

    regexes->n = 0;
}


static void
ngx_http_rcache_regexes_cleanup(void *data)
{
    ngx_http_rcache_regexes_t *regexes = data;

    ngx_http_rcache_regexes_free(regexes);

    pcre2_match_data_free(regexes->data);
    pcre2_match_context_free(regexes->limits);
}


ngx_int_t
ngx_http_rcache_regex_check(ngx_str_t *text, u_char *err, size_t size)
{
    int          rc;
    size_t       len;
    pcre2_code  *code;
    PCRE2_SIZE   at;

    code = pcre2_compile(text->data, text->len, NGX_HTTP_RCACHE_REGEX_OPTIONS,
                         &rc, &at, NULL);

    if (code) {
        pcre2_code_free(code);
        return NGX_OK;
    }

    if (rc == PCRE2_ERROR_HEAP_FAILED) {
        return NGX_ERROR;
    }

    (void) pcre2_get_error_message(rc, err, size);

    len = ngx_strlen(err);

    (void) ngx_snprintf(err + len, size - len, " at %uz%Z", (size_t) at);

    err[size - 1] = '\0';

    return NGX_DECLINED;
}
