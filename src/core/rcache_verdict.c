
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_verdict.h"


#define RCACHE_VERDICT_WORD(id, word)  rcache_string(word),


static const rcache_str_t  rcache_verdict_words[] = {
    RCACHE_VERDICTS(RCACHE_VERDICT_WORD)
};


rcache_verdict_e
rcache_verdict(const rcache_verdict_t *v)
{
    if (v->requests < RCACHE_VERDICT_REQUESTS) {
        return RCACHE_VERDICT_EARLY;
    }

    /* more than half of them */

    if (v->dry > v->requests / 2) {
        return RCACHE_VERDICT_DRY_RUN;
    }

    if (v->hit_times >= RCACHE_VERDICT_TIMES
        && v->fetch_times >= RCACHE_VERDICT_TIMES
        && v->hit >= v->fetch)
    {
        return RCACHE_VERDICT_HARMFUL;
    }

    if (rcache_verdict_ratio(v) < RCACHE_VERDICT_RATIO) {
        return RCACHE_VERDICT_IDLE;
    }

    return RCACHE_VERDICT_EARNING;
}


unsigned
rcache_verdict_ratio(const rcache_verdict_t *v)
{
    if (v->requests == 0) {
        return 0;
    }

    /* they are read one after the other, so there may be one hit more */

    if (v->hits >= v->requests) {
        return 1000;
    }

    if (v->hits > UINT64_MAX / 1000) {
        return (unsigned) (v->hits / (v->requests / 1000));
    }

    return (unsigned) (v->hits * 1000 / v->requests);
}


const rcache_str_t *
rcache_verdict_word(rcache_verdict_e verdict)
{
    return &rcache_verdict_words[verdict];
}
