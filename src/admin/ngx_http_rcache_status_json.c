
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * JSON, as docs/metrics.schema.json says.  Times are in seconds; buckets are
 * those of src/core/rcache_histogram.h, in microseconds.
 */


#include "ngx_http_rcache_status.h"


static void ngx_http_rcache_json_zone(ngx_http_rcache_out_t *out,
    ngx_http_rcache_snapshot_t *s);
static void ngx_http_rcache_json_zone_counters(ngx_http_rcache_out_t *out,
    ngx_http_rcache_snapshot_t *s);
static void ngx_http_rcache_json_keys(ngx_http_rcache_out_t *out,
    const char *name, rcache_sketch_sum_t *sum);
static void ngx_http_rcache_json_label(ngx_http_rcache_out_t *out,
    ngx_http_rcache_snapshot_t *s, ngx_uint_t n);
static void ngx_http_rcache_json_counters(ngx_http_rcache_out_t *out,
    uint64_t *counter, ngx_uint_t n,
    void (*what)(rcache_counter_t *c, unsigned n));
static void ngx_http_rcache_json_time(ngx_http_rcache_out_t *out,
    rcache_histogram_t *h);


void
ngx_http_rcache_status_json(ngx_http_rcache_out_t *out,
    ngx_http_rcache_snapshot_t *zones, ngx_uint_t n)
{
    ngx_uint_t   i;
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    ngx_http_rcache_out(out,
                        "{\"schema\":1,\"version\":\""
                        NGX_HTTP_RCACHE_VERSION "\","
                        "\"time\":%T.%03M,\"zones\":[", tp->sec, tp->msec);

    for (i = 0; i < n; i++) {

        if (i) {
            ngx_http_rcache_out(out, ",");
        }

        ngx_http_rcache_json_zone(out, &zones[i]);
    }

    ngx_http_rcache_out(out, "]}\n");
}


static void
ngx_http_rcache_json_zone(ngx_http_rcache_out_t *out,
    ngx_http_rcache_snapshot_t *s)
{
    ngx_str_t        command;
    ngx_uint_t       i;
    rcache_metric_t  m;

    ngx_http_rcache_out(out, "{\"name\":");
    ngx_http_rcache_out_json(out, &s->zone->name);
    ngx_http_rcache_out(out, ",\"server\":");
    ngx_http_rcache_out_json(out, &s->zone->conf.url);

    for (i = 0; i < RCACHE_STATE_N; i++) {
        ngx_http_rcache_out(out, ",\"%V\":%L", &rcache_states[i].name,
                            s->state[i]);
    }

    ngx_http_rcache_out(out, ",\"rent_bytes\":%uL",
                        ngx_http_rcache_rent(s));

    for (i = 0; i < RCACHE_GAUGE_N; i++) {
        ngx_http_rcache_out(out, ",\"%V\":%L", &rcache_gauges[i].name,
                            s->sum.gauge[i]);
    }

    ngx_http_rcache_json_zone_counters(out, s);

    for (i = 0; i < RCACHE_TIME_ZONE_N; i++) {
        rcache_zone_time(&m, &command, i);

        if (i == RCACHE_TIME_REDIS) {
            ngx_http_rcache_out(out, ",\"%V\":{", &m.name);

        } else {
            ngx_http_rcache_out(out, ",");
        }

        ngx_http_rcache_out(out, "\"%V\":", command.len ? &command : &m.name);
        ngx_http_rcache_json_time(out, &s->sum.time[i]);
    }

    ngx_http_rcache_out(out, "}");

    if (s->zone->stats->sh->top) {
        ngx_http_rcache_out(out, ",\"top_keys\":{");
        ngx_http_rcache_json_keys(out, "\"hot\":[", &s->keys[0]);
        ngx_http_rcache_json_keys(out, "],\"missed\":[", &s->keys[1]);
        ngx_http_rcache_out(out, "]}");
    }

    ngx_http_rcache_out(out, ",\"labels\":[");

    for (i = 0; i < s->nlabels; i++) {

        if (i) {
            ngx_http_rcache_out(out, ",");
        }

        ngx_http_rcache_json_label(out, s, i);
    }

    ngx_http_rcache_out(out, "]}");
}


static void
ngx_http_rcache_json_zone_counters(ngx_http_rcache_out_t *out,
    ngx_http_rcache_snapshot_t *s)
{
    ngx_uint_t        i, n;
    rcache_counter_t  c;

    ngx_http_rcache_json_counters(out, s->sum.counter,
                                  RCACHE_COUNT_OPERATIONS,
                                  rcache_zone_counter);

    ngx_http_rcache_out(out, ",\"%V\":",
                        &rcache_families[RCACHE_FAMILY_OPERATIONS].name);

    for (i = 0; i < RCACHE_COMMAND_N * RCACHE_RESULT_N; i++) {
        n = RCACHE_COUNT_OPERATIONS + i;

        rcache_zone_counter(&c, n);

        if (i % RCACHE_RESULT_N == 0) {
            ngx_http_rcache_out(out, "%s\"%V\":{", i ? "}," : "{", &c.value);

        } else {
            ngx_http_rcache_out(out, ",");
        }

        ngx_http_rcache_out(out, "\"%V\":%uL", &c.value2, s->sum.counter[n]);
    }

    ngx_http_rcache_out(out, "}}");
}


static void
ngx_http_rcache_json_keys(ngx_http_rcache_out_t *out, const char *name,
    rcache_sketch_sum_t *sum)
{
    unsigned   i;
    ngx_str_t  key;

    ngx_http_rcache_out(out, "%s", name);

    for (i = 0; i < sum->n; i++) {
        key.data = sum->entry[i].key;
        key.len = sum->entry[i].len;

        ngx_http_rcache_out(out, "%s{\"count\":%uL,\"error\":%uL,\"key\":",
                            i ? "," : "", sum->entry[i].count,
                            sum->entry[i].error);
        ngx_http_rcache_out_json(out, &key);
        ngx_http_rcache_out(out, "}");
    }
}


static void
ngx_http_rcache_json_label(ngx_http_rcache_out_t *out,
    ngx_http_rcache_snapshot_t *s, ngx_uint_t n)
{
    ngx_str_t                       name;
    ngx_uint_t                      i;
    ngx_http_rcache_label_t        *label;
    ngx_http_rcache_stats_label_t  *sum;

    label = &s->zone->stats->sh->label[n];
    sum = &s->label[n];

    name.data = label->data;
    name.len = label->len;

    ngx_http_rcache_out(out, "{\"name\":\"%V\"", &name);

    ngx_http_rcache_json_counters(out, sum->counter, RCACHE_COUNT_LABEL_N,
                                  rcache_label_counter);

    for (i = 0; i < RCACHE_ESTIMATE_N; i++) {
        ngx_http_rcache_out(out, ",\"%V\":%uL", &rcache_estimates[i].name,
                            ngx_http_rcache_estimate(sum, label, i));
    }

    for (i = 0; i < RCACHE_TIME_LABEL_N; i++) {
        ngx_http_rcache_out(out, ",\"%V\":", &rcache_label_times[i].name);
        ngx_http_rcache_json_time(out, &sum->time[i]);
    }

    ngx_http_rcache_verdict(out, sum, label);

    ngx_http_rcache_out(out, "}");
}


/* a family with a key is an object, one without is a number */

static void
ngx_http_rcache_json_counters(ngx_http_rcache_out_t *out, uint64_t *counter,
    ngx_uint_t n, void (*what)(rcache_counter_t *c, unsigned n))
{
    ngx_uint_t              i, open, first;
    rcache_family_e         family;
    rcache_counter_t        c;
    const rcache_family_t  *f;

    family = RCACHE_FAMILY_N;
    open = 0;
    first = 0;

    for (i = 0; i < n; i++) {
        what(&c, i);

        f = &rcache_families[c.family];

        if (c.family != family) {
            family = c.family;

            ngx_http_rcache_out(out, "%s,\"%V\":", open ? "}" : "", &f->name);

            open = (f->key.len != 0);
            first = 1;

            if (open) {
                ngx_http_rcache_out(out, "{");
            }
        }

        if (!open) {

            if (rcache_family_seconds(family)) {
                ngx_http_rcache_out(out, "%uL.%03uL", counter[i] / 1000,
                                    counter[i] % 1000);
            } else {
                ngx_http_rcache_out(out, "%uL", counter[i]);
            }

            continue;
        }

        if (counter[i] == 0
            && (family == RCACHE_FAMILY_NOT_HIT
                || family == RCACHE_FAMILY_NOT_STORED))
        {
            /* a reason that did not occur */

            continue;
        }

        ngx_http_rcache_out(out, "%s\"%V\":%uL", first ? "" : ",", &c.value,
                            counter[i]);
        first = 0;
    }

    if (open) {
        ngx_http_rcache_out(out, "}");
    }
}


static void
ngx_http_rcache_json_time(ngx_http_rcache_out_t *out, rcache_histogram_t *h)
{
    uint64_t    p;
    ngx_uint_t  i, first;

    static const struct {
        unsigned     permille;
        const char  *name;
    }  quantiles[] = {
        { 500, "p50" }, { 950, "p95" }, { 990, "p99" }
    };

    ngx_http_rcache_out(out, "{\"count\":%uL,\"sum\":%uL.%06uL",
                        rcache_histogram_count(h),
                        h->sum / 1000000, h->sum % 1000000);

    for (i = 0; i < 3; i++) {
        p = rcache_histogram_quantile(h, quantiles[i].permille);

        ngx_http_rcache_out(out, ",\"%s\":%uL.%06uL", quantiles[i].name,
                            p / 1000000, p % 1000000);
    }

    ngx_http_rcache_out(out, ",\"buckets\":[");

    first = 1;

    for (i = 0; i < RCACHE_HISTOGRAM_N; i++) {

        if (h->bucket[i] == 0) {
            continue;
        }

        ngx_http_rcache_out(out, "%s[%uL,%uL,%uL]", first ? "" : ",",
                            rcache_histogram_lower(i),
                            rcache_histogram_lower(i + 1), h->bucket[i]);
        first = 0;
    }

    ngx_http_rcache_out(out, "]}");
}
