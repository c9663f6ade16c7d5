
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_flights.h"


#define NGX_HTTP_RCACHE_FLIGHTS_SET      8
#define NGX_HTTP_RCACHE_FLIGHTS_MAX      65536

/* copied under the mutex: longer ones are rather asked of Redis */

#define NGX_HTTP_RCACHE_FLIGHTS_PAYLOAD  (2 * 1024 * 1024)

/* for how long an outcome is there for those that were woken, milliseconds */

#define NGX_HTTP_RCACHE_FLIGHTS_LINGER   1000

/*
 * The state of a place; when it is done, this is the mark, with a bit if that
 * is for all.  Clocks of workers differ a little, so "until now" will not do.
 */

#define NGX_HTTP_RCACHE_PLACE_FREE       0
#define NGX_HTTP_RCACHE_PLACE_OWNED      1
#define NGX_HTTP_RCACHE_PLACE_LASTS      0x100


/* of a cache line's size */

typedef struct {
    uint64_t            hash;
    uint64_t            waiters[2];

    ngx_msec_t          until;      /* of the owner, or of the mark */
    ngx_msec_t          linger;     /* of the outcome */

    ngx_atomic_uint_t   pos;        /* of the payload */
    uint32_t            len;        /* with that of its time; 0: none */

    uint32_t            seq;
    ngx_pid_t           pid;
    volatile uint32_t   state;
} ngx_http_rcache_place_t;


struct ngx_http_rcache_flights_sh_s {
    ngx_http_rcache_place_t  *places;
    ngx_uint_t                mask;  /* number of sets less one */

    /*
     * One for each place, of the hash in it, 0 if it is free: a set is looked
     * through without touching all of its places, each a cache line of its own.
     */

    volatile uint16_t        *prints;
    uint32_t                  seq;

    /*
     * The ring: a payload, behind the time when it was sent, is where its
     * position is modulo size, and is whole as long as the head is not further
     * than size beyond that position.
     */

    u_char                   *ring;
    size_t                    size;  /* a power of two, so positions may wrap;
                                        0: there is none */
    size_t                    max;   /* size of one payload at most */
    ngx_atomic_uint_t         head;
};


static void ngx_http_rcache_flights_heir(ngx_http_rcache_flights_t *flights);
static uint16_t ngx_http_rcache_place_print(uint64_t hash);
static void ngx_http_rcache_place_free(ngx_http_rcache_flights_sh_t *sh,
    ngx_http_rcache_place_t *place);
static ngx_http_rcache_place_t *ngx_http_rcache_place_find(
    ngx_http_rcache_flights_sh_t *sh, uint64_t hash);
static ngx_http_rcache_place_t *ngx_http_rcache_place_owned(
    ngx_http_rcache_flights_sh_t *sh, uint64_t hash, ngx_uint_t seq);
static ngx_http_rcache_flights_e ngx_http_rcache_place_look(
    ngx_http_rcache_flights_sh_t *sh, ngx_http_rcache_place_t *place,
    ngx_http_rcache_wake_t *wake, ngx_http_rcache_outcome_t *outcome);
static ngx_http_rcache_place_t *ngx_http_rcache_place_victim(
    ngx_http_rcache_flights_sh_t *sh, uint64_t hash);
static void ngx_http_rcache_place_take(ngx_http_rcache_flights_sh_t *sh,
    ngx_http_rcache_place_t *place, uint64_t hash, ngx_msec_t age,
    uint64_t *waiters);
static ngx_uint_t ngx_http_rcache_place_dead(ngx_http_rcache_place_t *place);
static ngx_msec_int_t ngx_http_rcache_place_left(ngx_msec_t until);
static void ngx_http_rcache_payload_put(ngx_http_rcache_flights_sh_t *sh,
    ngx_http_rcache_place_t *place, ngx_chain_t *payload, size_t size,
    uint64_t sent);
static void ngx_http_rcache_payload_get(ngx_http_rcache_flights_t *flights,
    ngx_http_rcache_place_t *place, ngx_http_rcache_outcome_t *outcome);


ngx_http_rcache_flights_sh_t *
ngx_http_rcache_flights_create(ngx_slab_pool_t *pool, size_t size)
{
    size_t                         n;
    ngx_http_rcache_flights_sh_t  *sh;

    sh = ngx_slab_calloc(pool, sizeof(ngx_http_rcache_flights_sh_t));
    if (sh == NULL) {
        return NULL;
    }

    n = 8 * NGX_HTTP_RCACHE_FLIGHTS_SET;

    while (n < NGX_HTTP_RCACHE_FLIGHTS_MAX
           && n * 2 * sizeof(ngx_http_rcache_place_t) <= size / 16)
    {
        n *= 2;
    }

    sh->places = ngx_slab_calloc(pool, n * sizeof(ngx_http_rcache_place_t));
    if (sh->places == NULL) {
        return NULL;
    }

    sh->prints = ngx_slab_calloc(pool, n * sizeof(uint16_t));
    if (sh->prints == NULL) {
        return NULL;
    }

    sh->mask = n / NGX_HTTP_RCACHE_FLIGHTS_SET - 1;

    /*
     * A small zone may have no room for the payloads, or needs it for what
     * comes behind; it works without.
     */

    if (size < 32 * ngx_pagesize) {
        return sh;
    }

    for (n = ngx_pagesize; n * 2 <= size / 4; n *= 2) { /* void */ }

    for ( /* void */ ; n >= ngx_pagesize; n /= 2) {

        sh->ring = ngx_slab_alloc(pool, n);

        if (sh->ring) {
            sh->size = n;
            sh->max = ngx_min(size / 16, NGX_HTTP_RCACHE_FLIGHTS_PAYLOAD);
            sh->max = ngx_min(sh->max, n / 2);
            break;
        }
    }

    return sh;
}


ngx_http_rcache_flights_t *
ngx_http_rcache_flights_init_process(ngx_cycle_t *cycle,
    ngx_http_rcache_flights_sh_t *sh, ngx_slab_pool_t *pool,
    ngx_http_rcache_wake_t *wake)
{
    ngx_http_rcache_flights_t  *flights;

    flights = ngx_palloc(cycle->pool, sizeof(ngx_http_rcache_flights_t));
    if (flights == NULL) {
        return NULL;
    }

    flights->sh = sh;
    flights->pool = pool;
    flights->wake = wake;

    if (wake && wake->bit) {
        ngx_http_rcache_flights_heir(flights);
    }

    return flights;
}


/* one that had our bit before us may have died waiting */

static void
ngx_http_rcache_flights_heir(ngx_http_rcache_flights_t *flights)
{
    uint64_t                       bit;
    ngx_uint_t                     i, n, word;
    ngx_http_rcache_place_t       *place;
    ngx_http_rcache_flights_sh_t  *sh;

    sh = flights->sh;
    bit = flights->wake->bit;
    word = flights->wake->word;

    place = sh->places;

    for (n = 0; n <= sh->mask; n++) {

        ngx_shmtx_lock(&flights->pool->mutex);

        for (i = 0; i < NGX_HTTP_RCACHE_FLIGHTS_SET; i++, place++) {
            place->waiters[word] &= ~bit;
        }

        ngx_shmtx_unlock(&flights->pool->mutex);
    }
}


ngx_http_rcache_flights_e
ngx_http_rcache_flights_enter(ngx_http_rcache_flights_t *flights,
    uint64_t hash, ngx_msec_t age, ngx_uint_t *seq,
    ngx_http_rcache_outcome_t *outcome)
{
    uint64_t                       waiters[2];
    ngx_http_rcache_place_t       *place, copy;
    ngx_http_rcache_flights_e      rc;
    ngx_http_rcache_flights_sh_t  *sh;

    ngx_memzero(outcome, sizeof(ngx_http_rcache_outcome_t));

    rc = NGX_HTTP_RCACHE_FLIGHTS_LEAD;
    waiters[0] = 0;
    waiters[1] = 0;
    copy.len = 0;

    sh = flights->sh;

    ngx_shmtx_lock(&flights->pool->mutex);

    place = ngx_http_rcache_place_find(sh, hash);

    if (place) {
        copy = *place;
        rc = ngx_http_rcache_place_look(sh, place, flights->wake, outcome);

    } else {
        place = ngx_http_rcache_place_victim(sh, hash);

        if (place == NULL) {
            rc = NGX_HTTP_RCACHE_FLIGHTS_FULL;
        }
    }

    if (rc == NGX_HTTP_RCACHE_FLIGHTS_LEAD) {
        ngx_http_rcache_place_take(sh, place, hash, age, waiters);
        *seq = place->seq;
    }

    ngx_shmtx_unlock(&flights->pool->mutex);

    /* they waited for another key */

    ngx_http_rcache_wake(flights->wake, waiters);

    if (rc == NGX_HTTP_RCACHE_FLIGHTS_DONE && copy.len) {
        ngx_http_rcache_payload_get(flights, &copy, outcome);
    }

    return rc;
}


static ngx_http_rcache_place_t *
ngx_http_rcache_place_find(ngx_http_rcache_flights_sh_t *sh, uint64_t hash)
{
    uint16_t                  print;
    ngx_uint_t                i, n;
    ngx_http_rcache_place_t  *place;

    print = ngx_http_rcache_place_print(hash);
    n = (hash & sh->mask) * NGX_HTTP_RCACHE_FLIGHTS_SET;

    for (i = n; i < n + NGX_HTTP_RCACHE_FLIGHTS_SET; i++) {

        if (sh->prints[i] != print) {
            continue;
        }

        place = &sh->places[i];

        if (place->hash == hash && place->state != NGX_HTTP_RCACHE_PLACE_FREE)
        {
            return place;
        }
    }

    return NULL;
}


static uint16_t
ngx_http_rcache_place_print(uint64_t hash)
{
    return (uint16_t) (hash >> 48) | 1;
}


static void
ngx_http_rcache_place_free(ngx_http_rcache_flights_sh_t *sh,
    ngx_http_rcache_place_t *place)
{
    place->state = NGX_HTTP_RCACHE_PLACE_FREE;
    sh->prints[place - sh->places] = 0;
}


static ngx_http_rcache_flights_e
ngx_http_rcache_place_look(ngx_http_rcache_flights_sh_t *sh,
    ngx_http_rcache_place_t *place, ngx_http_rcache_wake_t *wake,
    ngx_http_rcache_outcome_t *outcome)
{
    uint64_t        bit, *waiters;
    ngx_uint_t      waited;
    ngx_msec_int_t  left;

    bit = wake ? wake->bit : 0;
    waiters = &place->waiters[wake ? wake->word : 0];

    left = ngx_http_rcache_place_left(place->until);

    if (place->state == NGX_HTTP_RCACHE_PLACE_OWNED) {

        if (left <= 0 || ngx_http_rcache_place_dead(place)) {
            *waiters &= ~bit;
            return NGX_HTTP_RCACHE_FLIGHTS_LEAD;
        }

        *waiters |= bit;
        outcome->left = left;

        return NGX_HTTP_RCACHE_FLIGHTS_WAIT;
    }

    waited = (*waiters & bit) && ngx_http_rcache_place_left(place->linger) > 0;

    *waiters &= ~bit;

    if (left < 0 || !(place->state & NGX_HTTP_RCACHE_PLACE_LASTS)) {
        left = 0;
    }

    if (left == 0 && !waited) {
        return NGX_HTTP_RCACHE_FLIGHTS_LEAD;
    }

    outcome->mark = (u_char) place->state;
    outcome->left = left;

    if (left == 0 && place->waiters[0] == 0 && place->waiters[1] == 0) {
        ngx_http_rcache_place_free(sh, place);
    }

    return NGX_HTTP_RCACHE_FLIGHTS_DONE;
}


/* a place for another key: a free one, or the mark that ends soonest */

static ngx_http_rcache_place_t *
ngx_http_rcache_place_victim(ngx_http_rcache_flights_sh_t *sh, uint64_t hash)
{
    ngx_uint_t                i, n;
    ngx_msec_int_t            left, best;
    ngx_http_rcache_place_t  *place, *mark;

    n = (hash & sh->mask) * NGX_HTTP_RCACHE_FLIGHTS_SET;
    place = &sh->places[n];

    mark = NULL;
    best = 0;

    for (i = 0; i < NGX_HTTP_RCACHE_FLIGHTS_SET; i++) {

        if (sh->prints[n + i] == 0) {
            return &place[i];
        }
    }

    for (i = 0; i < NGX_HTTP_RCACHE_FLIGHTS_SET; i++) {

        if (place[i].state == NGX_HTTP_RCACHE_PLACE_FREE) {
            return &place[i];
        }

        left = ngx_http_rcache_place_left(place[i].until);

        if (place[i].state == NGX_HTTP_RCACHE_PLACE_OWNED) {

            if (left > 0) {
                continue;
            }

        } else if (ngx_http_rcache_place_left(place[i].linger) > 0
                   && (place[i].waiters[0] || place[i].waiters[1]))
        {
            continue;
        }

        if (mark == NULL || left < best) {
            mark = &place[i];
            best = left;
        }
    }

    if (mark) {
        return mark;
    }

    for (i = 0; i < NGX_HTTP_RCACHE_FLIGHTS_SET; i++) {

        if (place[i].state == NGX_HTTP_RCACHE_PLACE_OWNED
            && ngx_http_rcache_place_dead(&place[i]))
        {
            return &place[i];
        }
    }

    return NULL;
}


static void
ngx_http_rcache_place_take(ngx_http_rcache_flights_sh_t *sh,
    ngx_http_rcache_place_t *place, uint64_t hash, ngx_msec_t age,
    uint64_t *waiters)
{
    ngx_uint_t  state;

    state = place->state;

    place->state = NGX_HTTP_RCACHE_PLACE_FREE;

    ngx_memory_barrier();

    if (state == NGX_HTTP_RCACHE_PLACE_OWNED && place->hash != hash) {
        waiters[0] = place->waiters[0];
        waiters[1] = place->waiters[1];
    }

    /* who waits for this key goes on waiting, but for those long gone */

    if (state == NGX_HTTP_RCACHE_PLACE_FREE
        || place->hash != hash
        || (state != NGX_HTTP_RCACHE_PLACE_OWNED
            && ngx_http_rcache_place_left(place->linger) <= 0))
    {
        place->waiters[0] = 0;
        place->waiters[1] = 0;
    }

    if (++sh->seq == 0) {
        sh->seq = 1;
    }

    place->hash = hash;
    place->until = ngx_current_msec + age;
    place->len = 0;
    place->seq = sh->seq;
    place->pid = ngx_pid;

    ngx_memory_barrier();

    place->state = NGX_HTTP_RCACHE_PLACE_OWNED;

    sh->prints[place - sh->places] = ngx_http_rcache_place_print(hash);
}


static ngx_uint_t
ngx_http_rcache_place_dead(ngx_http_rcache_place_t *place)
{
    if (place->pid == ngx_pid) {
        return 0;
    }

    return kill(place->pid, 0) == -1 && ngx_errno == ESRCH;
}


static ngx_msec_int_t
ngx_http_rcache_place_left(ngx_msec_t until)
{
    return (ngx_msec_int_t) (until - ngx_current_msec);
}


/*
 * What is copied out of the ring is whole if it still is after that, so no
 * one has to be kept away from it meanwhile.
 */

static void
ngx_http_rcache_payload_get(ngx_http_rcache_flights_t *flights,
    ngx_http_rcache_place_t *place, ngx_http_rcache_outcome_t *outcome)
{
    size_t                         size;
    u_char                        *p, *data;
    ngx_uint_t                     whole;
    ngx_http_rcache_flights_sh_t  *sh;

    sh = flights->sh;

    size = place->len - sizeof(uint64_t);

    data = ngx_alloc(size, ngx_cycle->log);
    if (data == NULL) {
        return;
    }

    p = sh->ring + (place->pos & (sh->size - 1));

    ngx_memcpy(&outcome->sent, p, sizeof(uint64_t));
    ngx_memcpy(data, p + sizeof(uint64_t), size);

    ngx_shmtx_lock(&flights->pool->mutex);

    whole = (sh->head - place->pos <= sh->size);

    ngx_shmtx_unlock(&flights->pool->mutex);

    if (!whole) {
        ngx_free(data);
        return;
    }

    outcome->payload.data = data;
    outcome->payload.len = size;
}


void
ngx_http_rcache_flights_forget(ngx_http_rcache_flights_t *flights,
    uint64_t hash)
{
    ngx_http_rcache_wake_t   *wake;
    ngx_http_rcache_place_t  *place;

    wake = flights->wake;

    if (wake == NULL) {
        return;
    }

    ngx_shmtx_lock(&flights->pool->mutex);

    place = ngx_http_rcache_place_find(flights->sh, hash);

    if (place) {
        place->waiters[wake->word] &= ~wake->bit;
    }

    ngx_shmtx_unlock(&flights->pool->mutex);
}


ngx_uint_t
ngx_http_rcache_flights_awaited(ngx_http_rcache_flights_t *flights,
    uint64_t hash, ngx_uint_t seq)
{
    ngx_http_rcache_place_t  *place;

    /* who begins to wait right now might as well have come behind */

    place = ngx_http_rcache_place_owned(flights->sh, hash, seq);

    return place && (place->waiters[0] || place->waiters[1]);
}


ngx_uint_t
ngx_http_rcache_flights_renew(ngx_http_rcache_flights_t *flights,
    uint64_t hash, ngx_uint_t seq, ngx_msec_t age)
{
    ngx_http_rcache_place_t  *place;

    ngx_shmtx_lock(&flights->pool->mutex);

    place = ngx_http_rcache_place_owned(flights->sh, hash, seq);

    if (place) {
        place->until = ngx_current_msec + age;
    }

    ngx_shmtx_unlock(&flights->pool->mutex);

    return place != NULL;
}


static ngx_http_rcache_place_t *
ngx_http_rcache_place_owned(ngx_http_rcache_flights_sh_t *sh, uint64_t hash,
    ngx_uint_t seq)
{
    ngx_http_rcache_place_t  *place;

    place = ngx_http_rcache_place_find(sh, hash);

    if (place
        && place->state == NGX_HTTP_RCACHE_PLACE_OWNED
        && place->seq == seq)
    {
        return place;
    }

    return NULL;
}


ngx_uint_t
ngx_http_rcache_flights_leave(ngx_http_rcache_flights_t *flights,
    uint64_t hash, ngx_uint_t seq, u_char mark, ngx_chain_t *payload,
    size_t size, uint64_t sent, ngx_msec_t keep)
{
    uint64_t                  waiters[2];
    ngx_http_rcache_place_t  *place;

    waiters[0] = 0;
    waiters[1] = 0;

    ngx_shmtx_lock(&flights->pool->mutex);

    place = ngx_http_rcache_place_owned(flights->sh, hash, seq);

    if (place) {
        waiters[0] = place->waiters[0];
        waiters[1] = place->waiters[1];

        if (mark == '+' || mark == 'x') {
            keep = 0;
        }

        if (mark == 'x' || (keep == 0 && !waiters[0] && !waiters[1])) {
            ngx_http_rcache_place_free(flights->sh, place);

        } else {

            if (mark == '+') {
                ngx_http_rcache_payload_put(flights->sh, place, payload, size,
                                            sent);
            }

            place->until = ngx_current_msec + keep;
            place->linger = ngx_current_msec + NGX_HTTP_RCACHE_FLIGHTS_LINGER;

            ngx_memory_barrier();

            place->state = keep ? (mark | NGX_HTTP_RCACHE_PLACE_LASTS) : mark;
        }
    }

    ngx_shmtx_unlock(&flights->pool->mutex);

    ngx_http_rcache_wake(flights->wake, waiters);

    return place != NULL;
}


static void
ngx_http_rcache_payload_put(ngx_http_rcache_flights_sh_t *sh,
    ngx_http_rcache_place_t *place, ngx_chain_t *payload, size_t size,
    uint64_t sent)
{
    u_char             *p;
    size_t              n, len, rest;
    ngx_atomic_uint_t   pos;

    len = sizeof(uint64_t) + size;

    if (size == 0 || len > sh->max) {
        return;
    }

    pos = sh->head;
    rest = sh->size - (pos & (sh->size - 1));

    if (len > rest) {
        pos += rest;
    }

    /* what is overwritten has to be known as such before it is */

    sh->head = pos + len;

    ngx_memory_barrier();

    p = sh->ring + (pos & (sh->size - 1));
    p = ngx_cpymem(p, &sent, sizeof(uint64_t));
    rest = size;

    for ( /* void */ ; payload; payload = payload->next) {

        if (!ngx_buf_in_memory(payload->buf)) {
            continue;
        }

        n = payload->buf->last - payload->buf->pos;

        if (n > rest) {
            return;
        }

        p = ngx_cpymem(p, payload->buf->pos, n);
        rest -= n;
    }

    if (rest) {
        return;
    }

    place->pos = pos;
    place->len = (uint32_t) len;
}


void
ngx_http_rcache_flights_void(ngx_http_rcache_flights_t *flights,
    uint64_t hash)
{
    uint64_t                  waiters[2];
    ngx_http_rcache_place_t  *place;

    waiters[0] = 0;
    waiters[1] = 0;

    ngx_shmtx_lock(&flights->pool->mutex);

    place = ngx_http_rcache_place_find(flights->sh, hash);

    if (place) {
        waiters[0] = place->waiters[0];
        waiters[1] = place->waiters[1];

        ngx_http_rcache_place_free(flights->sh, place);
    }

    ngx_shmtx_unlock(&flights->pool->mutex);

    ngx_http_rcache_wake(flights->wake, waiters);
}
