
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_conn.h"


/*
 * Milliseconds.  Slow answers count together for a while; they have to come
 * for some time, for a worker that stood still itself finds all that it waits
 * for late at one moment.
 */
#define NGX_HTTP_RCACHE_BREAKER_WINDOW     2000
#define NGX_HTTP_RCACHE_BREAKER_LASTS      500

#define NGX_HTTP_RCACHE_BREAKER_ENOUGH     10

#define NGX_HTTP_RCACHE_BREAKER_PAUSE      500
#define NGX_HTTP_RCACHE_BREAKER_PAUSE_MAX  4000


static void ngx_http_rcache_breaker_slow(ngx_http_rcache_node_t *node);
static void ngx_http_rcache_breaker_wait(ngx_http_rcache_breaker_sh_t *sh,
    ngx_msec_t pause);


ngx_int_t
ngx_http_rcache_breaker_pass(ngx_http_rcache_breaker_t *breaker)
{
    ngx_atomic_uint_t              retry;
    ngx_http_rcache_breaker_sh_t  *sh;

    sh = breaker->sh;

    if (!sh->open) {
        return NGX_OK;
    }

    retry = sh->retry;

    if ((ngx_msec_int_t) (ngx_current_msec - retry) < 0
        || !ngx_atomic_cmp_set(&sh->retry, retry,
                               ngx_current_msec + sh->pause))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


void
ngx_http_rcache_breaker_answer(ngx_http_rcache_node_t *node, ngx_msec_t took)
{
    ngx_http_rcache_breaker_sh_t  *sh;

    sh = node->breaker.sh;

    node->breaker.answers++;

    if (took > node->redis->conf->slow && node->redis->conf->slow) {
        ngx_http_rcache_breaker_slow(node);
        return;
    }

    if (sh->open && ngx_atomic_cmp_set(&sh->open, 1, 0)) {
        node->breaker.slow = 0;
        node->breaker.since = 0;

        ngx_log_error(NGX_LOG_NOTICE, node->redis->log, 0,
                      "redis \"%V\" is fast again", &node->name);
    }
}


static void
ngx_http_rcache_breaker_slow(ngx_http_rcache_node_t *node)
{
    ngx_msec_t                     pause;
    ngx_http_rcache_breaker_t     *breaker;
    ngx_http_rcache_breaker_sh_t  *sh;

    breaker = &node->breaker;
    sh = breaker->sh;

    if (sh->open) {

        /* what was on its way before it opened says nothing new */

        if ((ngx_msec_int_t) (ngx_current_msec - sh->retry) >= 0
            || sh->pause == 0)
        {
            return;
        }

        pause = ngx_min(sh->pause * 2, NGX_HTTP_RCACHE_BREAKER_PAUSE_MAX);
        ngx_http_rcache_breaker_wait(sh, pause);
        return;
    }

    if (breaker->since == 0
        || ngx_current_msec - breaker->since > NGX_HTTP_RCACHE_BREAKER_WINDOW)
    {
        breaker->since = ngx_current_msec;
        breaker->answers = 1;
        breaker->slow = 0;
    }

    breaker->slow++;

    if (breaker->slow < NGX_HTTP_RCACHE_BREAKER_ENOUGH
        || breaker->slow * 2 < breaker->answers
        || ngx_current_msec - breaker->since < NGX_HTTP_RCACHE_BREAKER_LASTS)
    {
        return;
    }

    ngx_http_rcache_breaker_wait(sh, NGX_HTTP_RCACHE_BREAKER_PAUSE);

    if (ngx_atomic_cmp_set(&sh->open, 0, 1)) {
        ngx_log_error(NGX_LOG_ERR, node->redis->log, 0,
                      "redis \"%V\" is slow: %ui of %ui answers took longer "
                      "than %Mms, it is left alone", &node->name,
                      breaker->slow, breaker->answers,
                      node->redis->conf->slow);
    }

    breaker->since = 0;
}


/* a quarter less to a quarter more, as everywhere */

static void
ngx_http_rcache_breaker_wait(ngx_http_rcache_breaker_sh_t *sh,
    ngx_msec_t pause)
{
    sh->pause = pause;
    sh->retry = ngx_current_msec + pause - pause / 4
                + (ngx_msec_t) ngx_random() % (pause / 2 + 1);
}
