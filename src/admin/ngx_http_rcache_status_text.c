
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The text formats: version 0.0.4, and OpenMetrics 1.0.  A family is whole in
 * one place, so all zones are gone through for each.
 */


#include "ngx_http_rcache_status.h"


/* bounds of buckets are powers of two of microseconds: 32 us to 67 s */

#define NGX_HTTP_RCACHE_BOUND_MIN  5
#define NGX_HTTP_RCACHE_BOUND_MAX  26


typedef struct {
    ngx_http_rcache_out_t       *out;
    ngx_http_rcache_snapshot_t  *zones;
    ngx_uint_t                   n;
    ngx_uint_t                   openmetrics;
} ngx_http_rcache_text_t;


static void ngx_http_rcache_text_info(ngx_http_rcache_text_t *text);
static void ngx_http_rcache_text_family(ngx_http_rcache_text_t *text,
    rcache_family_e family);
static void ngx_http_rcache_text_counter(ngx_http_rcache_text_t *text,
    ngx_http_rcache_zone_t *zone, ngx_int_t label, rcache_counter_t *c,
    uint64_t n);
static void ngx_http_rcache_text_times(ngx_http_rcache_text_t *text);
static void ngx_http_rcache_text_histogram(ngx_http_rcache_text_t *text,
    ngx_http_rcache_zone_t *zone, const rcache_str_t *name, char *key,
    ngx_str_t *value, rcache_histogram_t *h);
static void ngx_http_rcache_text_labels(ngx_http_rcache_text_t *text,
    ngx_http_rcache_zone_t *zone, char *key, ngx_str_t *value);
static void ngx_http_rcache_text_gauges(ngx_http_rcache_text_t *text);
static void ngx_http_rcache_text_estimates(ngx_http_rcache_text_t *text);
static void ngx_http_rcache_text_head(ngx_http_rcache_text_t *text,
    const rcache_str_t *name, const char *suffix, const char *type,
    const rcache_str_t *help);
static ngx_str_t ngx_http_rcache_text_label_name(ngx_http_rcache_zone_t *zone,
    ngx_uint_t n);


void
ngx_http_rcache_status_text(ngx_http_rcache_out_t *out,
    ngx_http_rcache_snapshot_t *zones, ngx_uint_t n, ngx_uint_t openmetrics)
{
    ngx_uint_t              i;
    ngx_http_rcache_text_t  text;

    text.out = out;
    text.zones = zones;
    text.n = n;
    text.openmetrics = openmetrics;

    ngx_http_rcache_text_info(&text);

    for (i = 0; i < RCACHE_FAMILY_N; i++) {
        ngx_http_rcache_text_family(&text, i);
    }

    ngx_http_rcache_text_times(&text);
    ngx_http_rcache_text_gauges(&text);
    ngx_http_rcache_text_estimates(&text);

    if (openmetrics) {
        ngx_http_rcache_out(out, "# EOF\n");
    }
}


static void
ngx_http_rcache_text_info(ngx_http_rcache_text_t *text)
{
    static const rcache_str_t  name = rcache_string("build");
    static const rcache_str_t  help =
                                  rcache_string("The version of the module.");

    ngx_http_rcache_text_head(text, &name, "_info",
                              text->openmetrics ? "info" : "gauge", &help);

    ngx_http_rcache_out(text->out,
                        RCACHE_METRICS_PREFIX "build_info{version=\""
                        NGX_HTTP_RCACHE_VERSION "\"} 1\n");
}


static void
ngx_http_rcache_text_family(ngx_http_rcache_text_t *text,
    rcache_family_e family)
{
    ngx_uint_t                   i, z, l;
    rcache_counter_t             c;
    ngx_http_rcache_snapshot_t  *s;

    ngx_http_rcache_text_head(text, &rcache_families[family].name, "_total",
                              "counter", &rcache_families[family].help);

    for (z = 0; z < text->n; z++) {
        s = &text->zones[z];

        for (i = 0; i < RCACHE_COUNT_ZONE_N; i++) {
            rcache_zone_counter(&c, i);

            if (c.family == family) {
                ngx_http_rcache_text_counter(text, s->zone, -1, &c,
                                             s->sum.counter[i]);
            }
        }

        for (l = 0; l < s->nlabels; l++) {

            for (i = 0; i < RCACHE_COUNT_LABEL_N; i++) {

                if (i >= RCACHE_COUNT_NOT_HIT && s->label[l].counter[i] == 0) {

                    /* a reason that did not occur */

                    continue;
                }

                rcache_label_counter(&c, i);

                if (c.family == family) {
                    ngx_http_rcache_text_counter(text, s->zone, l, &c,
                                                 s->label[l].counter[i]);
                }
            }
        }
    }
}


static void
ngx_http_rcache_text_counter(ngx_http_rcache_text_t *text,
    ngx_http_rcache_zone_t *zone, ngx_int_t label, rcache_counter_t *c,
    uint64_t n)
{
    ngx_str_t               name;
    const rcache_family_t  *f;

    f = &rcache_families[c->family];

    ngx_http_rcache_out(text->out, RCACHE_METRICS_PREFIX "%V_total", &f->name);

    if (label == -1) {
        ngx_http_rcache_text_labels(text, zone, NULL, NULL);

    } else {
        name = ngx_http_rcache_text_label_name(zone, label);
        ngx_http_rcache_text_labels(text, zone, "label", &name);
    }

    if (f->key.len) {
        ngx_http_rcache_out(text->out, ",%V=\"%V\"", &f->key, &c->value);
    }

    if (f->key2.len) {
        ngx_http_rcache_out(text->out, ",%V=\"%V\"", &f->key2, &c->value2);
    }

    if (rcache_family_seconds(c->family)) {
        ngx_http_rcache_out(text->out, "} %uL.%03uL\n", n / 1000, n % 1000);

    } else {
        ngx_http_rcache_out(text->out, "} %uL\n", n);
    }
}


static void
ngx_http_rcache_text_times(ngx_http_rcache_text_t *text)
{
    ngx_str_t                    name, command;
    ngx_uint_t                   i, z, l;
    rcache_metric_t              m;
    ngx_http_rcache_snapshot_t  *s;

    for (i = 0; i < RCACHE_TIME_LABEL_N; i++) {

        ngx_http_rcache_text_head(text, &rcache_label_times[i].name, "",
                                  "histogram", &rcache_label_times[i].help);

        for (z = 0; z < text->n; z++) {
            s = &text->zones[z];

            for (l = 0; l < s->nlabels; l++) {
                name = ngx_http_rcache_text_label_name(s->zone, l);

                ngx_http_rcache_text_histogram(text, s->zone,
                                               &rcache_label_times[i].name,
                                               "label", &name,
                                               &s->label[l].time[i]);
            }
        }
    }

    for (i = 0; i <= RCACHE_TIME_REDIS; i++) {
        rcache_zone_time(&m, &command, i);

        ngx_http_rcache_text_head(text, &m.name, "", "histogram", &m.help);

        for (z = 0; z < text->n; z++) {
            s = &text->zones[z];

            if (i < RCACHE_TIME_REDIS) {
                ngx_http_rcache_text_histogram(text, s->zone, &m.name, NULL,
                                               NULL, &s->sum.time[i]);
                continue;
            }

            for (l = 0; l < RCACHE_COMMAND_N; l++) {
                rcache_zone_time(&m, &command, i + l);

                ngx_http_rcache_text_histogram(text, s->zone, &m.name,
                                               "command", &command,
                                               &s->sum.time[i + l]);
            }
        }
    }
}


static void
ngx_http_rcache_text_histogram(ngx_http_rcache_text_t *text,
    ngx_http_rcache_zone_t *zone, const rcache_str_t *name, char *key,
    ngx_str_t *value, rcache_histogram_t *h)
{
    uint64_t    usec, count;
    ngx_uint_t  i;

    for (i = NGX_HTTP_RCACHE_BOUND_MIN; i <= NGX_HTTP_RCACHE_BOUND_MAX; i++) {
        usec = (uint64_t) 1 << i;

        ngx_http_rcache_out(text->out, RCACHE_METRICS_PREFIX "%V_bucket",
                            name);
        ngx_http_rcache_text_labels(text, zone, key, value);
        ngx_http_rcache_out(text->out, ",le=\"%uL.%06uL\"} %uL\n",
                            usec / 1000000, usec % 1000000,
                            rcache_histogram_below(h, usec));
    }

    count = rcache_histogram_count(h);

    ngx_http_rcache_out(text->out, RCACHE_METRICS_PREFIX "%V_bucket", name);
    ngx_http_rcache_text_labels(text, zone, key, value);
    ngx_http_rcache_out(text->out, ",le=\"+Inf\"} %uL\n", count);

    ngx_http_rcache_out(text->out, RCACHE_METRICS_PREFIX "%V_sum", name);
    ngx_http_rcache_text_labels(text, zone, key, value);
    ngx_http_rcache_out(text->out, "} %uL.%06uL\n",
                        h->sum / 1000000, h->sum % 1000000);

    ngx_http_rcache_out(text->out, RCACHE_METRICS_PREFIX "%V_count", name);
    ngx_http_rcache_text_labels(text, zone, key, value);
    ngx_http_rcache_out(text->out, "} %uL\n", count);
}


/* without the closing brace */

static void
ngx_http_rcache_text_labels(ngx_http_rcache_text_t *text,
    ngx_http_rcache_zone_t *zone, char *key, ngx_str_t *value)
{
    ngx_http_rcache_out(text->out, "{zone=");
    ngx_http_rcache_out_label(text->out, &zone->name);

    if (key) {
        ngx_http_rcache_out(text->out, ",%s=\"%V\"", key, value);
    }
}


static void
ngx_http_rcache_text_gauges(ngx_http_rcache_text_t *text)
{
    ngx_uint_t              i, z;
    const rcache_metric_t  *m;

    for (i = 0; i < RCACHE_GAUGE_N + RCACHE_STATE_N; i++) {

        m = (i < RCACHE_GAUGE_N) ? &rcache_gauges[i]
                                 : &rcache_states[i - RCACHE_GAUGE_N];

        ngx_http_rcache_text_head(text, &m->name, "", "gauge", &m->help);

        for (z = 0; z < text->n; z++) {
            ngx_http_rcache_out(text->out, RCACHE_METRICS_PREFIX "%V",
                                &m->name);
            ngx_http_rcache_text_labels(text, text->zones[z].zone, NULL, NULL);
            ngx_http_rcache_out(text->out, "} %L\n",
                                (i < RCACHE_GAUGE_N)
                                ? text->zones[z].sum.gauge[i]
                                : text->zones[z].state[i - RCACHE_GAUGE_N]);
        }
    }
}


static void
ngx_http_rcache_text_estimates(ngx_http_rcache_text_t *text)
{
    ngx_str_t                    name;
    ngx_uint_t                   i, z, l;
    const rcache_metric_t       *m;
    ngx_http_rcache_snapshot_t  *s;

    for (i = 0; i < RCACHE_ESTIMATE_N; i++) {
        m = &rcache_estimates[i];

        ngx_http_rcache_text_head(text, &m->name, "", "gauge", &m->help);

        for (z = 0; z < text->n; z++) {
            s = &text->zones[z];

            for (l = 0; l < s->nlabels; l++) {
                name = ngx_http_rcache_text_label_name(s->zone, l);

                ngx_http_rcache_out(text->out, RCACHE_METRICS_PREFIX "%V",
                                    &m->name);
                ngx_http_rcache_text_labels(text, s->zone, "label", &name);
                ngx_http_rcache_out(text->out, "} %uL\n",
                         ngx_http_rcache_estimate(&s->label[l],
                                           &s->zone->stats->sh->label[l], i));
            }
        }
    }
}


/* in OpenMetrics the suffix is not of the family's name */

static void
ngx_http_rcache_text_head(ngx_http_rcache_text_t *text,
    const rcache_str_t *name, const char *suffix, const char *type,
    const rcache_str_t *help)
{
    if (text->openmetrics) {
        suffix = "";
    }

    ngx_http_rcache_out(text->out,
                        "# HELP " RCACHE_METRICS_PREFIX "%V%s %V\n"
                        "# TYPE " RCACHE_METRICS_PREFIX "%V%s %s\n",
                        name, suffix, help, name, suffix, type);
}


static ngx_str_t
ngx_http_rcache_text_label_name(ngx_http_rcache_zone_t *zone, ngx_uint_t n)
{
    ngx_str_t  name;

    name.data = zone->stats->sh->label[n].data;
    name.len = zone->stats->sh->label[n].len;

    return name;
}
