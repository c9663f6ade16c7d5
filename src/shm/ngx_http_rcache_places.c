
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_places.h"


/* milliseconds from one look for processes that died to the next */
#define NGX_HTTP_RCACHE_PLACES_CHECK  100


static ngx_http_rcache_place_t *ngx_http_rcache_places_mine(
    ngx_http_rcache_places_t *places);
static ngx_uint_t ngx_http_rcache_places_sum(
    ngx_http_rcache_places_t *places);
static void ngx_http_rcache_places_bury(ngx_http_rcache_places_t *places);


ngx_int_t
ngx_http_rcache_places_take(ngx_http_rcache_places_t *places,
    ngx_shmtx_t *mutex, ngx_uint_t max)
{
    ngx_int_t                 rc;
    ngx_uint_t                sum;
    ngx_http_rcache_place_t  *mine;

    rc = NGX_DECLINED;

    ngx_shmtx_lock(mutex);

    mine = ngx_http_rcache_places_mine(places);
    sum = ngx_http_rcache_places_sum(places);

    if ((sum >= max || mine == NULL)
        && ngx_current_msec - places->checked >= NGX_HTTP_RCACHE_PLACES_CHECK)
    {
        ngx_http_rcache_places_bury(places);

        mine = ngx_http_rcache_places_mine(places);
        sum = ngx_http_rcache_places_sum(places);
    }

    if (mine && sum < max) {
        mine->pid = ngx_pid;
        mine->n++;
        rc = NGX_OK;
    }

    ngx_shmtx_unlock(mutex);

    return rc;
}


void
ngx_http_rcache_places_give(ngx_http_rcache_places_t *places,
    ngx_shmtx_t *mutex)
{
    ngx_http_rcache_place_t  *mine;

    ngx_shmtx_lock(mutex);

    mine = ngx_http_rcache_places_mine(places);

    if (mine && mine->n) {
        mine->n--;
    }

    ngx_shmtx_unlock(mutex);
}


/* or one that is free; NULL: there are too many processes */

static ngx_http_rcache_place_t *
ngx_http_rcache_places_mine(ngx_http_rcache_places_t *places)
{
    ngx_uint_t                i;
    ngx_http_rcache_place_t  *free, *place;

    free = NULL;

    for (i = 0; i < NGX_HTTP_RCACHE_PLACES; i++) {
        place = &places->places[i];

        if (place->pid == ngx_pid) {
            return place;
        }

        if (place->pid == 0 && free == NULL) {
            free = place;
        }
    }

    return free;
}


static ngx_uint_t
ngx_http_rcache_places_sum(ngx_http_rcache_places_t *places)
{
    ngx_uint_t  i, sum;

    sum = 0;

    for (i = 0; i < NGX_HTTP_RCACHE_PLACES; i++) {
        sum += places->places[i].n;
    }

    return sum;
}


static void
ngx_http_rcache_places_bury(ngx_http_rcache_places_t *places)
{
    ngx_uint_t                i;
    ngx_http_rcache_place_t  *place;

    places->checked = ngx_current_msec;

    for (i = 0; i < NGX_HTTP_RCACHE_PLACES; i++) {
        place = &places->places[i];

        if (place->pid
            && place->pid != ngx_pid
            && kill(place->pid, 0) == -1
            && ngx_errno == NGX_ESRCH)
        {
            place->pid = 0;
            place->n = 0;
        }
    }
}
