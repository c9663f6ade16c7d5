
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* The verdict on a label, in words and with its figures. */


#include "ngx_http_rcache_status.h"
#include "../core/rcache_dry.h"
#include "../core/rcache_verdict.h"


static uint64_t ngx_http_rcache_verdict_hits(uint64_t *counter);
static uint64_t ngx_http_rcache_verdict_requests(uint64_t *counter);
static void ngx_http_rcache_verdict_dry(ngx_http_rcache_out_t *out,
    ngx_http_rcache_stats_label_t *sum, ngx_http_rcache_label_t *label);
static uint64_t ngx_http_rcache_verdict_dry_requests(uint64_t *counter);
static void ngx_http_rcache_verdict_time(ngx_http_rcache_out_t *out,
    uint64_t usec);


void
ngx_http_rcache_verdict(ngx_http_rcache_out_t *out,
    ngx_http_rcache_stats_label_t *sum, ngx_http_rcache_label_t *label)
{
    unsigned          ratio;
    uint64_t          saved;
    rcache_verdict_e  verdict;
    rcache_verdict_t  v;

    v.requests = ngx_http_rcache_verdict_requests(sum->counter);
    v.hits = ngx_http_rcache_verdict_hits(sum->counter);
    v.hit_times = rcache_histogram_count(&sum->time[RCACHE_TIME_HIT]);
    v.hit = rcache_histogram_quantile(&sum->time[RCACHE_TIME_HIT], 500);
    v.fetch_times = rcache_histogram_count(&sum->time[RCACHE_TIME_FETCH]);
    v.fetch = rcache_histogram_quantile(&sum->time[RCACHE_TIME_FETCH], 500);
    v.dry = ngx_http_rcache_verdict_dry_requests(sum->counter);

    verdict = rcache_verdict(&v);
    ratio = rcache_verdict_ratio(&v);
    saved = sum->counter[RCACHE_COUNT_SAVED_ALL];

    ngx_http_rcache_out(out, ",\"verdict\":\"%V\",\"because\":\"",
                        rcache_verdict_word(verdict));

    switch (verdict) {

    case RCACHE_VERDICT_EARLY:
        ngx_http_rcache_out(out, "%uL of the %d requests that it takes to "
                            "tell", v.requests, RCACHE_VERDICT_REQUESTS);
        break;

    case RCACHE_VERDICT_IDLE:
        ngx_http_rcache_out(out, "%ui.%ui %% of %uL requests were hits, which "
                            "is less than %d %%", (ngx_uint_t) ratio / 10,
                            (ngx_uint_t) ratio % 10, v.requests,
                            RCACHE_VERDICT_RATIO / 10);
        break;

    case RCACHE_VERDICT_HARMFUL:
        ngx_http_rcache_out(out, "a hit takes ");
        ngx_http_rcache_verdict_time(out, v.hit);
        ngx_http_rcache_out(out, " and a fetch ");
        ngx_http_rcache_verdict_time(out, v.fetch);
        ngx_http_rcache_out(out, ": the upstream is as fast without it");
        break;

    case RCACHE_VERDICT_DRY_RUN:
        ngx_http_rcache_verdict_dry(out, sum, label);
        break;

    default: /* RCACHE_VERDICT_EARNING */
        ngx_http_rcache_out(out, "%ui.%ui %% of %uL requests were hits",
                            (ngx_uint_t) ratio / 10, (ngx_uint_t) ratio % 10,
                            v.requests);

        if (v.hit_times && v.fetch_times) {
            ngx_http_rcache_out(out, "; a hit takes ");
            ngx_http_rcache_verdict_time(out, v.hit);
            ngx_http_rcache_out(out, ", a fetch ");
            ngx_http_rcache_verdict_time(out, v.fetch);
        }

        ngx_http_rcache_out(out, "; upstreams had %uL.%03uL s less to do",
                            saved / 1000, saved % 1000);
        break;
    }

    ngx_http_rcache_out(out, "\"");
}


uint64_t
ngx_http_rcache_rent(ngx_http_rcache_snapshot_t *s)
{
    time_t      up;
    uint64_t    saved;
    ngx_uint_t  i;

    for (saved = 0, i = 0; i < s->nlabels; i++) {
        saved += s->label[i].counter[RCACHE_COUNT_SAVED_ALL];
    }

    up = ngx_time() - (time_t) s->state[RCACHE_STATE_SINCE];

    if (saved == 0 || up <= 0) {
        return 0;
    }

    return (uint64_t) ((double) s->state[RCACHE_STATE_BYTES] * (double) up
                       * 1000 / (double) saved);
}


static uint64_t
ngx_http_rcache_verdict_hits(uint64_t *counter)
{
    return counter[RCACHE_COUNT_REQUESTS_HIT]
           + counter[RCACHE_COUNT_REQUESTS_STALE]
           + counter[RCACHE_COUNT_REQUESTS_UPDATING]
           + counter[RCACHE_COUNT_REQUESTS_REVALIDATED];
}


/* what is bypassed was not to be answered from it, but it might have been */

static uint64_t
ngx_http_rcache_verdict_requests(uint64_t *counter)
{
    return ngx_http_rcache_verdict_hits(counter)
           + counter[RCACHE_COUNT_REQUESTS_MISS]
           + counter[RCACHE_COUNT_REQUESTS_EXPIRED]
           + counter[RCACHE_COUNT_REQUESTS_BYPASS];
}


/* what it says of the requests that it knows about */

static void
ngx_http_rcache_verdict_dry(ngx_http_rcache_out_t *out,
    ngx_http_rcache_stats_label_t *sum, ngx_http_rcache_label_t *label)
{
    unsigned          ratio;
    uint64_t          saved, memory, *counter;
    rcache_verdict_t  v;

    counter = sum->counter;

    v.requests = ngx_http_rcache_verdict_dry_requests(counter)
                 - counter[RCACHE_COUNT_DRY_REQUESTS_UNKNOWN];
    v.hits = counter[RCACHE_COUNT_DRY_REQUESTS_HIT]
             + counter[RCACHE_COUNT_DRY_REQUESTS_STALE]
             + counter[RCACHE_COUNT_DRY_REQUESTS_REVALIDATED]
             + counter[RCACHE_COUNT_DRY_REQUESTS_COLLAPSED];

    ratio = rcache_verdict_ratio(&v);
    saved = counter[RCACHE_COUNT_DRY_SAVED_ALL];
    memory = ngx_http_rcache_estimate(sum, label, RCACHE_ESTIMATE_DRY_MEMORY);

    ngx_http_rcache_out(out, "a dry run: %ui.%ui %% of %uL requests would "
                        "have been hits; upstreams would have had %uL.%03uL s "
                        "less to do, and Redis would take %uL KiB",
                        (ngx_uint_t) ratio / 10, (ngx_uint_t) ratio % 10,
                        v.requests, saved / 1000, saved % 1000,
                        (memory + 1023) / 1024);
}


static uint64_t
ngx_http_rcache_verdict_dry_requests(uint64_t *counter)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = 0;

    for (i = RCACHE_COUNT_DRY_REQUESTS_HIT;
         i <= RCACHE_COUNT_DRY_REQUESTS_UNKNOWN;
         i++)
    {
        n += counter[i];
    }

    return n;
}


/* there is but one: RCACHE_ESTIMATE_DRY_MEMORY */

uint64_t
ngx_http_rcache_estimate(ngx_http_rcache_stats_label_t *sum,
    ngx_http_rcache_label_t *label, ngx_uint_t estimate)
{
    time_t             now;
    rcache_dry_sums_t  sums;

    now = ngx_time();

    sums.stored = sum->counter[RCACHE_COUNT_DRY_BYTES_STORED];
    sums.replaced = sum->counter[RCACHE_COUNT_DRY_BYTES_REPLACED];
    sums.stored_time = sum->counter[RCACHE_COUNT_DRY_TIME_STORED];
    sums.replaced_time = sum->counter[RCACHE_COUNT_DRY_TIME_REPLACED];
    sums.seconds = (label->dry && now > label->dry) ? now - label->dry : 0;

    return rcache_dry_memory(&sums);
}


static void
ngx_http_rcache_verdict_time(ngx_http_rcache_out_t *out, uint64_t usec)
{
    if (usec < 1000) {
        ngx_http_rcache_out(out, "%uL \xc2\xb5s", usec);

    } else if (usec < 1000000) {
        ngx_http_rcache_out(out, "%uL.%uL ms", usec / 1000,
                            usec % 1000 / 100);
    } else {
        ngx_http_rcache_out(out, "%uL.%uL s", usec / 1000000,
                            usec % 1000000 / 100000);
    }
}
