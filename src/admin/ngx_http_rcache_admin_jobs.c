
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* Purges by a regex, those at work and the last ones that were. */


#include "ngx_http_rcache_admin.h"


/* of one job without its regex */

#define NGX_HTTP_RCACHE_ADMIN_JOB                                             \
    (sizeof("{\"id\":\"\",\"regex\":\"\",\"soft\":false,\"state\":\"\","     \
            "\"here\":false,\"progress\":,\"looked\":,\"purged\":},")         \
     + sizeof("waiting") + RCACHE_PURGE_ID_LEN + 3 * NGX_INT64_LEN)


static u_char *ngx_http_rcache_admin_job(u_char *p, rcache_pattern_t *pattern,
    ngx_http_rcache_purges_walk_t *walk);


ngx_int_t
ngx_http_rcache_admin_jobs(ngx_pool_t *pool, ngx_http_rcache_zone_t *zone,
    ngx_str_t *json)
{
    size_t                          len;
    u_char                         *p;
    ngx_uint_t                      i;
    ngx_shmtx_t                    *mutex;
    rcache_pattern_t               *pattern;
    rcache_patterns_t              *copy;
    ngx_http_rcache_purges_walk_t   walk;

    copy = ngx_palloc(pool, sizeof(rcache_patterns_t));
    if (copy == NULL) {
        return NGX_ERROR;
    }

    mutex = &((ngx_slab_pool_t *) zone->shm->shm.addr)->mutex;

    ngx_shmtx_lock(mutex);

    ngx_memcpy(copy, &zone->health->purges->table->patterns,
               sizeof(rcache_patterns_t));
    walk = zone->health->purges->walk;

    ngx_shmtx_unlock(mutex);

    len = sizeof("[]");

    for (i = 0; i < RCACHE_PATTERNS; i++) {
        pattern = &copy->pattern[i];

        if (pattern->state != RCACHE_PATTERN_FREE) {
            len += NGX_HTTP_RCACHE_ADMIN_JOB + pattern->len
                   + ngx_escape_json(NULL, pattern->text, pattern->len);
        }
    }

    json->data = ngx_pnalloc(pool, len);
    if (json->data == NULL) {
        return NGX_ERROR;
    }

    p = json->data;
    *p++ = '[';

    for (i = 0; i < RCACHE_PATTERNS; i++) {

        if (copy->pattern[i].state != RCACHE_PATTERN_FREE) {
            p = ngx_http_rcache_admin_job(p, &copy->pattern[i], &walk);
            *p++ = ',';
        }
    }

    if (p[-1] == ',') {
        p--;
    }

    *p++ = ']';

    json->len = p - json->data;

    return NGX_OK;
}


static u_char *
ngx_http_rcache_admin_job(u_char *p, rcache_pattern_t *pattern,
    ngx_http_rcache_purges_walk_t *walk)
{
    char        *state;
    uint64_t     purged;
    ngx_uint_t   walks, progress;

    walks = 0;
    progress = 0;
    purged = pattern->purged;

    switch (pattern->state) {

    case RCACHE_PATTERN_ACTIVE:
        walks = (walk->upto && pattern->position <= walk->upto);
        state = walks ? "walking" : "waiting";

        if (walks) {
            progress = walk->percent;
            purged = walk->purged;
        }

        break;

    case RCACHE_PATTERN_DONE:
        state = "done";
        progress = 100;
        break;

    default: /* RCACHE_PATTERN_STOPPED */
        state = "stopped";
        break;
    }

    p = ngx_sprintf(p, "{\"id\":\"%uL-%uL\",\"regex\":\"", pattern->id.ms,
                    pattern->id.seq);

    p = (u_char *) ngx_escape_json(p, pattern->text, (size_t) pattern->len);

    return ngx_sprintf(p, "\",\"soft\":%s,\"state\":\"%s\",\"here\":%s,"
                       "\"progress\":%ui,\"looked\":%uL,\"purged\":%uL}",
                       pattern->soft ? "true" : "false", state,
                       (walks && !walk->elsewhere) ? "true" : "false",
                       progress, walks ? walk->looked : 0, purged);
}


ngx_uint_t
ngx_http_rcache_admin_room(ngx_http_rcache_zone_t *zone)
{
    ngx_uint_t    n;
    ngx_shmtx_t  *mutex;

    mutex = &((ngx_slab_pool_t *) zone->shm->shm.addr)->mutex;

    ngx_shmtx_lock(mutex);

    n = RCACHE_PATTERNS
        - rcache_patterns_active(&zone->health->purges->table->patterns);

    ngx_shmtx_unlock(mutex);

    return n;
}
