
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_reason.h"


#define RCACHE_REASON_NAME(id, name, text)                                    \
    { sizeof(name) - 1, (u_char *) name },


static const rcache_str_t  rcache_reason_names[] = {
    RCACHE_REASONS(RCACHE_REASON_NAME)
};


const rcache_str_t *
rcache_reason_name(rcache_reason_e reason)
{
    if ((unsigned) reason >= RCACHE_REASON_N) {
        reason = RCACHE_REASON_NONE;
    }

    return &rcache_reason_names[reason];
}
