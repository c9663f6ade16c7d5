
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_metrics.h"


#define RCACHE_METRICS_FAMILY_DEF(id, name, key, key2, help)                  \
    { rcache_string(name), rcache_string(key), rcache_string(key2),           \
      rcache_string(help) },

#define RCACHE_METRICS_COUNTER_DEF(family, id, value)                         \
    { RCACHE_FAMILY_##family, rcache_string(value), rcache_string("") },

#define RCACHE_METRICS_METRIC_DEF(id, name, help)                             \
    { rcache_string(name), rcache_string(help) },

#define RCACHE_METRICS_NAME_DEF(id, name)                                     \
    rcache_string(name),


const rcache_family_t  rcache_families[] = {
    RCACHE_COUNTER_FAMILIES(RCACHE_METRICS_FAMILY_DEF)
};


static const rcache_counter_t  rcache_label_counters[] = {
    RCACHE_LABEL_COUNTERS(RCACHE_METRICS_COUNTER_DEF)
};


static const rcache_counter_t  rcache_zone_counters[] = {
    RCACHE_ZONE_COUNTERS(RCACHE_METRICS_COUNTER_DEF)
};


const rcache_metric_t  rcache_label_times[] = {
    RCACHE_LABEL_TIMES(RCACHE_METRICS_METRIC_DEF)
};


static const rcache_metric_t  rcache_zone_times[] = {
    RCACHE_ZONE_TIMES(RCACHE_METRICS_METRIC_DEF)
};


static const rcache_metric_t  rcache_redis_time = {
    rcache_string(RCACHE_REDIS_TIME), rcache_string(RCACHE_REDIS_TIME_HELP)
};


const rcache_metric_t  rcache_gauges[] = {
    RCACHE_GAUGES(RCACHE_METRICS_METRIC_DEF)
};


const rcache_metric_t  rcache_states[] = {
    RCACHE_STATES(RCACHE_METRICS_METRIC_DEF)
};


const rcache_metric_t  rcache_estimates[] = {
    RCACHE_ESTIMATES(RCACHE_METRICS_METRIC_DEF)
};


const rcache_str_t  rcache_command_names[] = {
    RCACHE_COMMANDS(RCACHE_METRICS_NAME_DEF)
};


static const rcache_str_t  rcache_result_names[] = {
    RCACHE_RESULTS(RCACHE_METRICS_NAME_DEF)
};


static const rcache_str_t  rcache_metrics_none = rcache_string("");


void
rcache_label_counter(rcache_counter_t *c, unsigned n)
{
    if (n < RCACHE_COUNT_NOT_HIT) {
        *c = rcache_label_counters[n];
        return;
    }

    if (n < RCACHE_COUNT_NOT_STORED) {
        c->family = RCACHE_FAMILY_NOT_HIT;
        n -= RCACHE_COUNT_NOT_HIT;

    } else {
        c->family = RCACHE_FAMILY_NOT_STORED;
        n -= RCACHE_COUNT_NOT_STORED;
    }

    c->value = *rcache_reason_name((rcache_reason_e) n);
    c->value2 = rcache_metrics_none;
}


void
rcache_zone_counter(rcache_counter_t *c, unsigned n)
{
    if (n < RCACHE_COUNT_OPERATIONS) {
        *c = rcache_zone_counters[n];
        return;
    }

    n -= RCACHE_COUNT_OPERATIONS;

    c->family = RCACHE_FAMILY_OPERATIONS;
    c->value = rcache_command_names[n / RCACHE_RESULT_N];
    c->value2 = rcache_result_names[n % RCACHE_RESULT_N];
}


void
rcache_zone_time(rcache_metric_t *m, rcache_str_t *command, unsigned n)
{
    if (n < RCACHE_TIME_REDIS) {
        *m = rcache_zone_times[n];
        *command = rcache_metrics_none;
        return;
    }

    *m = rcache_redis_time;
    *command = rcache_command_names[n - RCACHE_TIME_REDIS];
}


int
rcache_family_seconds(rcache_family_e family)
{
    return family == RCACHE_FAMILY_SAVED || family == RCACHE_FAMILY_DRY_SAVED;
}
