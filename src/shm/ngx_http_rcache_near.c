
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_near.h"


#define NGX_HTTP_RCACHE_NEAR_SET         8

/* bytes of the memory for each place */

#define NGX_HTTP_RCACHE_NEAR_SHARE       1024

#define NGX_HTTP_RCACHE_NEAR_GUARDS      64
#define NGX_HTTP_RCACHE_NEAR_GUARDS_MAX  4096

/* copied under the mutex: longer ones are rather asked of Redis */

#define NGX_HTTP_RCACHE_NEAR_VALUE       (2 * 1024 * 1024)

/* how often the mutex is tried; a copy less is no loss */

#define NGX_HTTP_RCACHE_NEAR_TRIES       1000

/* milliseconds: that a copy was used is not written down more often */

#define NGX_HTTP_RCACHE_NEAR_USED        250

/* milliseconds: who asked together with another need not put it in as well */

#define NGX_HTTP_RCACHE_NEAR_SAME        100

/* of two bytes of time */

#define NGX_HTTP_RCACHE_NEAR_TICK        64


#define ngx_http_rcache_near_load(p)     __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define ngx_http_rcache_near_fence()     __atomic_thread_fence(__ATOMIC_ACQUIRE)


/* of a cache line's size */

typedef struct {
    ngx_atomic_t                 pid;        /* 0: it is free */
    ngx_atomic_t                 generation;
    ngx_atomic_t                 alive;      /* in ngx_current_msec */
    ngx_atomic_t                 used;
    u_char                       pad[64 - 4 * sizeof(ngx_atomic_t)];
} ngx_http_rcache_near_guard_t;


/* what a copy is looked up by, and what has to be so when it is used */

typedef struct {
    uint64_t                     hash;
    uint64_t                     seq;        /* odd: it is being written */
    uint64_t                     pos;        /* in the ring, which never ends */
    uint64_t                     serial;
    ngx_atomic_uint_t            generation;
    ngx_msec_t                   made;
    ngx_msec_t                   until;
    size_t                       offset;     /* the same, where it is */
    uint32_t                     voids;
    uint32_t                     era;
    uint32_t                     guard;
    uint32_t                     key_len;
    uint32_t                     len;
    uint32_t                     used;       /* by any reader, or 0 */
} ngx_http_rcache_near_place_t;


struct ngx_http_rcache_near_sh_s {
    ngx_atomic_t                   era;
    ngx_atomic_t                   refused;
    ngx_atomic_t                   refused_at;

    ngx_http_rcache_near_guard_t  *guards;
    ngx_uint_t                     nguards;

    ngx_http_rcache_near_place_t  *places;
    ngx_uint_t                     sets;     /* their number less one */

    uint32_t                      *voids;
    ngx_uint_t                     mask;     /* their number less one */

    uint32_t                      *lately;
    ngx_uint_t                     latest;   /* their number less one */

    u_char                        *ring;
    size_t                         size;
    size_t                         max;      /* of key and value together */
    uint64_t                       head;
};


static ngx_int_t ngx_http_rcache_near_create(ngx_slab_pool_t *pool,
    size_t size);
static ngx_uint_t ngx_http_rcache_near_dead(ngx_atomic_uint_t pid);
static ngx_uint_t ngx_http_rcache_near_guarded(ngx_http_rcache_near_sh_t *sh,
    ngx_uint_t guard, ngx_atomic_uint_t generation, ngx_msec_t now);
static ngx_http_rcache_near_place_t *ngx_http_rcache_near_find(
    ngx_http_rcache_near_sh_t *sh, uint64_t hash);
static ngx_http_rcache_near_place_t *ngx_http_rcache_near_victim(
    ngx_http_rcache_near_sh_t *sh, uint64_t hash);
static ngx_uint_t ngx_http_rcache_near_lock(ngx_http_rcache_near_t *near);


#define ngx_http_rcache_near_voids(sh, hash)                                  \
    ngx_http_rcache_near_load(&(sh)->voids[((hash) >> 16) & (sh)->mask])


ngx_int_t
ngx_http_rcache_near_init(ngx_shm_zone_t *shm, ngx_uint_t *era)
{
    ngx_slab_pool_t            *pool;
    ngx_http_rcache_near_sh_t  *sh;

    pool = (ngx_slab_pool_t *) shm->shm.addr;

    if (pool->data == NULL) {

        pool->log_nomem = 0;

        if (ngx_http_rcache_near_create(pool, shm->shm.size) != NGX_OK) {
            ngx_log_error(NGX_LOG_EMERG, shm->shm.log, 0,
                          "the near cache \"%V\" is too small",
                          &shm->shm.name);
            return NGX_ERROR;
        }
    }

    sh = pool->data;

    *era = (uint32_t) ngx_atomic_fetch_add(&sh->era, 1) + 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_rcache_near_create(ngx_slab_pool_t *pool, size_t size)
{
    size_t                      n, left;
    ngx_http_rcache_near_sh_t  *sh;

    sh = ngx_slab_calloc(pool, sizeof(ngx_http_rcache_near_sh_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    n = NGX_HTTP_RCACHE_NEAR_GUARDS;

    while (n < NGX_HTTP_RCACHE_NEAR_GUARDS_MAX
           && n * 2 * sizeof(ngx_http_rcache_near_guard_t) <= size / 64)
    {
        n *= 2;
    }

    sh->nguards = n;
    sh->guards = ngx_slab_calloc(pool,
                                 n * sizeof(ngx_http_rcache_near_guard_t));

    for (n = NGX_HTTP_RCACHE_NEAR_SET;
         n * 2 <= size / NGX_HTTP_RCACHE_NEAR_SHARE;
         n *= 2)
    {
        /* void */
    }

    sh->sets = n / NGX_HTTP_RCACHE_NEAR_SET - 1;
    sh->places = ngx_slab_calloc(pool,
                                 n * sizeof(ngx_http_rcache_near_place_t));

    /*
     * Of two keys that share a counter one suffers for the other, and all that
     * is stored by this instance is counted.
     */

    sh->mask = n * 8 - 1;
    sh->voids = ngx_slab_calloc(pool, n * 8 * sizeof(uint32_t));

    sh->latest = n * 4 - 1;
    sh->lately = ngx_slab_calloc(pool, n * 4 * sizeof(uint32_t));

    if (sh->guards == NULL || sh->places == NULL || sh->voids == NULL
        || sh->lately == NULL)
    {
        return NGX_ERROR;
    }

    /* all the rest */

    for (left = size; left >= size / 4; left -= ngx_pagesize) {

        sh->ring = ngx_slab_alloc(pool, left);

        if (sh->ring) {
            break;
        }
    }

    if (sh->ring == NULL) {
        return NGX_ERROR;
    }

    sh->size = left;
    sh->max = ngx_min(size / 16, NGX_HTTP_RCACHE_NEAR_VALUE);

    pool->data = sh;

    return NGX_OK;
}


void
ngx_http_rcache_near_init_process(ngx_http_rcache_near_t *near,
    ngx_shm_zone_t *shm, ngx_uint_t era)
{
    near->pool = (ngx_slab_pool_t *) shm->shm.addr;
    near->sh = near->pool->data;
    near->era = era;
    near->full = 0;

    /* one that had our number before us */

    ngx_http_rcache_near_exit_process(near);
}


void
ngx_http_rcache_near_exit_process(ngx_http_rcache_near_t *near)
{
    ngx_uint_t  i;

    if (ngx_process == NGX_PROCESS_SINGLE) {

        /* the one of the configuration before, or after, is the same */

        return;
    }

    for (i = 0; i < near->sh->nguards; i++) {
        if (near->sh->guards[i].pid == (ngx_atomic_uint_t) ngx_pid) {
            ngx_http_rcache_near_guard_drop(near, i);
        }
    }
}


ngx_int_t
ngx_http_rcache_near_guard_take(ngx_http_rcache_near_t *near)
{
    ngx_uint_t                     i;
    ngx_atomic_uint_t              pid;
    ngx_http_rcache_near_guard_t  *guard;

    for (i = 0; i < near->sh->nguards; i++) {
        guard = &near->sh->guards[i];
        pid = guard->pid;

        if (pid && !ngx_http_rcache_near_dead(pid)) {
            continue;
        }

        if (!ngx_atomic_cmp_set(&guard->pid, pid, (ngx_atomic_uint_t) ngx_pid))
        {
            continue;
        }

        guard->alive = ngx_current_msec - NGX_HTTP_RCACHE_NEAR_ALIVE;
        guard->used = ngx_current_msec;

        (void) ngx_atomic_fetch_add(&guard->generation, 1);

        return (ngx_int_t) i;
    }

    return NGX_ERROR;
}


static ngx_uint_t
ngx_http_rcache_near_dead(ngx_atomic_uint_t pid)
{
    if (pid == (ngx_atomic_uint_t) ngx_pid) {
        return 0;
    }

    return kill((ngx_pid_t) pid, 0) == -1 && ngx_errno == ESRCH;
}


void
ngx_http_rcache_near_guard_alive(ngx_http_rcache_near_t *near,
    ngx_uint_t guard, ngx_msec_t since)
{
    /* what was heard is to be seen by who sees this */

    ngx_memory_barrier();

    near->sh->guards[guard].alive = since;
}


void
ngx_http_rcache_near_guard_renew(ngx_http_rcache_near_t *near,
    ngx_uint_t guard)
{
    (void) ngx_atomic_fetch_add(&near->sh->guards[guard].generation, 1);
}


void
ngx_http_rcache_near_guard_drop(ngx_http_rcache_near_t *near,
    ngx_uint_t guard)
{
    ngx_http_rcache_near_guard_renew(near, guard);

    (void) ngx_atomic_cmp_set(&near->sh->guards[guard].pid,
                              (ngx_atomic_uint_t) ngx_pid, 0);
}


ngx_msec_t
ngx_http_rcache_near_guard_used(ngx_http_rcache_near_t *near,
    ngx_uint_t guard)
{
    return near->sh->guards[guard].used;
}


/*
 * A copy that was used, and is of no use any more, is worth another.  Of two
 * workers that come at the same instant one may be overlooked.
 */

ngx_uint_t
ngx_http_rcache_near_again(ngx_http_rcache_near_t *near, uint64_t hash,
    ngx_msec_t within)
{
    uint32_t                       was, is, *word;
    uint16_t                       ticks;
    ngx_http_rcache_near_place_t  *place;

    place = ngx_http_rcache_near_find(near->sh, hash);

    if (place && place->used) {
        return 1;
    }

    word = &near->sh->lately[hash & near->sh->latest];

    is = (uint32_t) (hash >> 48) << 16
         | ((ngx_current_msec / NGX_HTTP_RCACHE_NEAR_TICK) & 0xffff);

    was = *word;
    *word = is;

    ticks = (uint16_t) (is - was);

    return was != 0
           && was >> 16 == is >> 16
           && ticks <= within / NGX_HTTP_RCACHE_NEAR_TICK;
}


static ngx_http_rcache_near_place_t *
ngx_http_rcache_near_find(ngx_http_rcache_near_sh_t *sh, uint64_t hash)
{
    ngx_uint_t                     i;
    ngx_http_rcache_near_place_t  *place;

    place = &sh->places[(hash & sh->sets) * NGX_HTTP_RCACHE_NEAR_SET];

    for (i = 0; i < NGX_HTTP_RCACHE_NEAR_SET; i++, place++) {
        if (place->hash == hash) {
            return place;
        }
    }

    return NULL;
}


void
ngx_http_rcache_near_begin(ngx_http_rcache_near_t *near, ngx_uint_t guard,
    ngx_http_rcache_near_fill_t *fill)
{
    fill->guard = guard;
    fill->generation = near->sh->guards[guard].generation;
    fill->voids = ngx_http_rcache_near_voids(near->sh, fill->hash);
    fill->made = ngx_current_msec;

    near->sh->guards[guard].used = ngx_current_msec;

    /* all that before the first byte of the question is on its way */

    ngx_memory_barrier();
}


ngx_int_t
ngx_http_rcache_near_put(ngx_http_rcache_near_t *near,
    ngx_http_rcache_near_fill_t *fill, ngx_str_t *key, ngx_str_t *value,
    ngx_msec_t until)
{
    u_char                        *p;
    size_t                         size, offset;
    uint64_t                       pos;
    ngx_http_rcache_near_sh_t     *sh;
    ngx_http_rcache_near_place_t  *place;

    sh = near->sh;
    size = key->len + value->len;

    if (sh->guards[fill->guard].generation != fill->generation
        || ngx_http_rcache_near_voids(sh, fill->hash) != fill->voids)
    {
        return NGX_ABORT;
    }

    if (size > sh->max || !ngx_http_rcache_near_lock(near)) {
        return NGX_DECLINED;
    }

    place = ngx_http_rcache_near_victim(sh, fill->hash);

    if (place->hash == fill->hash
        && place->era == near->era
        && place->serial == fill->serial
        && place->voids == fill->voids
        && (ngx_msec_int_t) (fill->made - place->made)
           < NGX_HTTP_RCACHE_NEAR_SAME
        && (ngx_msec_int_t) (until - place->until) < NGX_HTTP_RCACHE_NEAR_SAME
        && !(place->seq & 1)
        && sh->head - place->pos <= sh->size
        && ngx_http_rcache_near_guarded(sh, place->guard, place->generation,
                                        ngx_current_msec))
    {
        ngx_shmtx_unlock(&near->pool->mutex);
        return NGX_DECLINED;
    }

    pos = sh->head;
    offset = (size_t) (pos % sh->size);

    if (size > sh->size - offset) {
        pos += sh->size - offset;
        offset = 0;
    }

    /* what is overwritten has to be known as such before it is */

    place->seq |= 1;
    __atomic_store_n(&sh->head, pos + size, __ATOMIC_SEQ_CST);

    ngx_memory_barrier();

    p = ngx_cpymem(sh->ring + offset, key->data, key->len);
    ngx_memcpy(p, value->data, value->len);

    place->hash = fill->hash;
    place->pos = pos;
    place->serial = fill->serial;
    place->generation = fill->generation;
    place->voids = fill->voids;
    place->made = fill->made;
    place->until = until;
    place->offset = offset;
    place->era = (uint32_t) near->era;
    place->guard = (uint32_t) fill->guard;
    place->key_len = (uint32_t) key->len;
    place->len = (uint32_t) value->len;
    place->used = 0;

    __atomic_store_n(&place->seq, place->seq + 1, __ATOMIC_SEQ_CST);

    ngx_shmtx_unlock(&near->pool->mutex);

    return NGX_OK;
}


/* the one of that hash, or one that is of no use, or the oldest */

static ngx_http_rcache_near_place_t *
ngx_http_rcache_near_victim(ngx_http_rcache_near_sh_t *sh, uint64_t hash)
{
    uint64_t                       age, oldest;
    ngx_uint_t                     i;
    ngx_http_rcache_near_place_t  *place, *victim;

    place = &sh->places[(hash & sh->sets) * NGX_HTTP_RCACHE_NEAR_SET];

    victim = place;
    oldest = 0;

    for (i = 0; i < NGX_HTTP_RCACHE_NEAR_SET; i++) {

        if (place[i].hash == hash) {
            return &place[i];
        }

        age = sh->head - place[i].pos;

        if (place[i].hash == 0
            || (ngx_msec_int_t) (place[i].until - ngx_current_msec) <= 0)
        {
            age = UINT64_MAX;
        }

        if (age > oldest) {
            oldest = age;
            victim = &place[i];
        }
    }

    return victim;
}


/*
 * A worker that was killed may be one of a configuration that the master has
 * forgotten, so nobody waits for ever.
 */

static ngx_uint_t
ngx_http_rcache_near_lock(ngx_http_rcache_near_t *near)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_RCACHE_NEAR_TRIES; i++) {

        if (ngx_shmtx_trylock(&near->pool->mutex)) {
            return 1;
        }

        ngx_cpu_pause();
    }

    return 0;
}


ngx_int_t
ngx_http_rcache_near_get(ngx_http_rcache_near_t *near, ngx_str_t *key,
    uint64_t hash, uint64_t serial, ngx_msec_t now, ngx_msec_t age,
    ngx_pool_t *pool, ngx_str_t *value)
{
    u_char                        *p;
    uint64_t                       seq;
    ngx_http_rcache_near_sh_t     *sh;
    ngx_http_rcache_near_guard_t  *guard;
    ngx_http_rcache_near_place_t  *place, copy;

    sh = near->sh;
    place = ngx_http_rcache_near_find(sh, hash);

    if (place == NULL) {
        return NGX_DECLINED;
    }

    seq = ngx_http_rcache_near_load(&place->seq);
    copy = *place;

    ngx_http_rcache_near_fence();

    if ((seq & 1) || ngx_http_rcache_near_load(&place->seq) != seq) {
        return NGX_DECLINED;
    }

    if (copy.hash != hash
        || copy.era != near->era
        || copy.serial != serial
        || copy.key_len != key->len
        || (ngx_msec_int_t) (copy.until - now) <= 0
        || (ngx_msec_int_t) (now - copy.made) >= (ngx_msec_int_t) age
        || !ngx_http_rcache_near_guarded(sh, copy.guard, copy.generation, now)
        || ngx_http_rcache_near_voids(sh, hash) != copy.voids)
    {
        return NGX_DECLINED;
    }

    p = sh->ring + copy.offset;

    if (ngx_memcmp(p, key->data, key->len) != 0) {
        return NGX_DECLINED;
    }

    value->len = copy.len;
    value->data = ngx_pnalloc(pool, copy.len);

    if (value->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(value->data, p + copy.key_len, copy.len);

    ngx_http_rcache_near_fence();

    /* is it whole? */

    if (ngx_http_rcache_near_load(&sh->head) - copy.pos > sh->size) {
        return NGX_DECLINED;
    }

    guard = &sh->guards[copy.guard];

    if ((ngx_msec_int_t) (now - guard->used) > NGX_HTTP_RCACHE_NEAR_USED) {
        guard->used = now;
    }

    if (!copy.used) {
        place->used = 1;
    }

    return NGX_OK;
}


/*
 * The counters are looked at behind it: what a worker has heard it has counted
 * before it says that it is alive.
 */

static ngx_uint_t
ngx_http_rcache_near_guarded(ngx_http_rcache_near_sh_t *sh, ngx_uint_t guard,
    ngx_atomic_uint_t generation, ngx_msec_t now)
{
    ngx_msec_t                     alive;
    ngx_http_rcache_near_guard_t  *g;

    g = &sh->guards[guard];

    alive = g->alive;

    ngx_http_rcache_near_fence();

    return g->generation == generation
           && (ngx_msec_int_t) (now - alive) < NGX_HTTP_RCACHE_NEAR_ALIVE;
}


void
ngx_http_rcache_near_void(ngx_http_rcache_near_t *near, uint64_t hash)
{
    ngx_http_rcache_near_sh_t  *sh;

    sh = near->sh;

    (void) __sync_fetch_and_add(&sh->voids[(hash >> 16) & sh->mask], 1);
}


ngx_uint_t
ngx_http_rcache_near_refused(ngx_http_rcache_near_t *near, ngx_uint_t refused)
{
    near->sh->refused_at = ngx_current_msec;

    if (near->sh->refused == (ngx_atomic_uint_t) refused) {
        return 0;
    }

    return ngx_atomic_cmp_set(&near->sh->refused, !refused, refused);
}


ngx_uint_t
ngx_http_rcache_near_useless(ngx_http_rcache_near_t *near, ngx_msec_t pause)
{
    return near->sh->refused
           && ngx_current_msec - near->sh->refused_at < pause;
}
