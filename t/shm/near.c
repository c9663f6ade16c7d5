
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The memory of the near cache, without nginx: processes that put copies in,
 * read them, and change what they are copies of, in a memory that is far too
 * small, while others are killed.  A copy that is torn, or is older than what
 * was known before it was asked for, ends it.  Run by t/near_memory.t:
 *
 *     near SIZE SECONDS PROCESSES KILLS
 */


#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../../src/shm/ngx_http_rcache_near.h"


#define KEYS     48

#define BAD_TORN   10
#define BAD_OLD    11
#define BAD_OTHER  12


typedef struct {
    ngx_shmtx_sh_t  lock;
    ngx_atomic_t    truth[KEYS];       /* what a server would say */
    ngx_atomic_t    known[KEYS];       /* whoever asks now has at least that */
    ngx_atomic_t    hits;
    ngx_atomic_t    puts;
    ngx_atomic_t    voids;
} shared_t;


volatile ngx_msec_t   ngx_current_msec;
ngx_pid_t             ngx_pid;
ngx_uint_t            ngx_process;
ngx_uint_t            ngx_pagesize = 4096;

static u_char        *next, *last;
static shared_t      *sh;
static u_char         out[1 << 20];


/* what is needed of nginx */

void *
ngx_slab_calloc(ngx_slab_pool_t *pool, size_t size)
{
    return ngx_slab_alloc(pool, size);
}


void *
ngx_slab_alloc(ngx_slab_pool_t *pool, size_t size)
{
    u_char  *p;

    (void) pool;

    p = next;

    if (size > (size_t) (last - p)) {
        return NULL;
    }

    next += ngx_align(size, 64);

    return p;
}


ngx_uint_t
ngx_shmtx_trylock(ngx_shmtx_t *mtx)
{
    return *mtx->lock == 0 && ngx_atomic_cmp_set(mtx->lock, 0, ngx_pid);
}


void
ngx_shmtx_unlock(ngx_shmtx_t *mtx)
{
    (void) ngx_atomic_cmp_set(mtx->lock, ngx_pid, 0);
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    (void) pool;

    return (size <= sizeof(out)) ? out : NULL;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) level;
    (void) log;
    (void) err;
    fprintf(stderr, "%s\n", fmt);
}


static uint64_t
mix(uint64_t n)
{
    n ^= n >> 33;
    n *= 0xff51afd7ed558ccdULL;
    n ^= n >> 33;
    n *= 0xc4ceb9fe1a85ec53ULL;

    return n ^ (n >> 33);
}


static void
look(ngx_msec_t *at)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    *at = (ngx_msec_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


/* each of its words says whose it is, and of when */

static void
fill(ngx_str_t *value, uint64_t key, uint64_t version)
{
    size_t     i;
    uint64_t  *p;

    p = (uint64_t *) value->data;

    for (i = 0; i < value->len / 8; i++) {
        p[i] = (key << 48) | version;
    }
}


static int
check(ngx_str_t *value, uint64_t key, uint64_t known)
{
    size_t     i;
    uint64_t  *p;

    p = (uint64_t *) value->data;

    for (i = 1; i < value->len / 8; i++) {
        if (p[i] != p[0]) {
            return BAD_TORN;
        }
    }

    if (p[0] >> 48 != key) {
        return BAD_OTHER;
    }

    return ((p[0] & 0xffffffffffffULL) < known) ? BAD_OLD : 0;
}


static int
work(ngx_http_rcache_near_t *near, size_t max, ngx_msec_t until)
{
    int                           rc;
    u_char                        name[32];
    size_t                        size;
    uint64_t                      n, k, known;
    ngx_str_t                     key, value;
    ngx_int_t                     guard;
    ngx_http_rcache_near_fill_t   f;
    static uint64_t               data[1 << 17];

    ngx_pid = getpid();
    n = mix(ngx_pid);

    look((ngx_msec_t *) &ngx_current_msec);

    guard = ngx_http_rcache_near_guard_take(near);
    if (guard == NGX_ERROR) {
        return 1;
    }

    do {
        look((ngx_msec_t *) &ngx_current_msec);
        ngx_http_rcache_near_guard_alive(near, guard, ngx_current_msec);

        n = mix(n + 1);
        k = (n >> 8) % KEYS;

        key.data = name;
        key.len = snprintf((char *) name, sizeof(name), "key-%d", (int) k);

        known = sh->known[k];
        __sync_synchronize();

        f.hash = mix(k + 1);
        f.serial = 7;

        /* sizes are those of the keys, small and large ones */

        size = 64 + (mix(k) % (max - 128) / 8) * 8;

        rc = ngx_http_rcache_near_get(near, &key, f.hash, f.serial,
                                      ngx_current_msec, 60000, NULL, &value);
        if (rc == NGX_OK) {
            (void) ngx_atomic_fetch_add(&sh->hits, 1);

            rc = (value.len == size) ? check(&value, k, known) : BAD_OTHER;
            if (rc) {
                return rc;
            }

        } else {
            ngx_http_rcache_near_begin(near, guard, &f);

            value.data = (u_char *) data;
            value.len = size;
            fill(&value, k, sh->truth[k]);

            if (ngx_http_rcache_near_put(near, &f, &key, &value,
                                         ngx_current_msec + 60000)
                == NGX_OK)
            {
                (void) ngx_atomic_fetch_add(&sh->puts, 1);
            }
        }

        if (n % 64 == 0) {

            /* only forwards, so that many may do it */

            known = ngx_atomic_fetch_add(&sh->truth[k], 1) + 1;
            ngx_http_rcache_near_void(near, f.hash);
            (void) ngx_atomic_fetch_add(&sh->voids, 1);

            __sync_synchronize();

            for ( ;; ) {
                n = sh->known[k];
                if (n >= known
                    || ngx_atomic_cmp_set(&sh->known[k], n, known))
                {
                    break;
                }
            }

            n = mix(known + ngx_pid + ngx_current_msec);
        }

    } while ((ngx_msec_int_t) (until - ngx_current_msec) > 0);

    return 0;
}


int
main(int argc, char **argv)
{
    int                     status, bad, kills, processes;
    u_char                 *memory;
    pid_t                   pid, pids[64];
    size_t                  size;
    ngx_int_t               i;
    ngx_msec_t              now, until;
    ngx_uint_t              era;
    ngx_shm_zone_t          zone;
    ngx_slab_pool_t        *pool;
    ngx_http_rcache_near_t  near;

    if (argc != 5) {
        return 2;
    }

    size = atoi(argv[1]);
    processes = atoi(argv[3]);
    kills = atoi(argv[4]);

    memory = mmap(NULL, size + 65536, PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANON, -1, 0);
    if (memory == MAP_FAILED || processes > 64) {
        return 2;
    }

    memset(&zone, 0, sizeof(zone));

    sh = (shared_t *) memory;
    pool = (ngx_slab_pool_t *) (memory + 8192);
    next = memory + 16384;
    last = next + size;

    pool->mutex.lock = &sh->lock.lock;

    zone.shm.addr = (u_char *) pool;
    zone.shm.size = size;

    ngx_pid = getpid();
    ngx_process = NGX_PROCESS_WORKER;

    if (ngx_http_rcache_near_init(&zone, &era) != NGX_OK) {
        return 2;
    }

    ngx_http_rcache_near_init_process(&near, &zone, era);

    look(&now);
    until = now + 1000 * atoi(argv[2]);

    for (i = 0; i < processes; i++) {
        pids[i] = fork();

        if (pids[i] == 0) {
            _exit(work(&near, size / 20, until));
        }
    }

    bad = 0;

    while (kills-- && bad == 0) {
        usleep(atoi(argv[2]) * 900000 / atoi(argv[4]));

        i = mix(kills) % processes;
        pid = pids[i];

        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);

        if (WIFEXITED(status)) {
            bad = WEXITSTATUS(status);
        }

        /* as the master does */

        (void) ngx_atomic_cmp_set(&sh->lock.lock, pid, 0);

        pids[i] = fork();

        if (pids[i] == 0) {
            _exit(work(&near, size / 20, until));
        }
    }

    for (i = 0; i < processes; i++) {
        waitpid(pids[i], &status, 0);

        if (!WIFEXITED(status)) {
            bad = 3;

        } else if (WEXITSTATUS(status)) {
            bad = WEXITSTATUS(status);
        }
    }

    printf("hits %lu puts %lu voids %lu: %s\n", (unsigned long) sh->hits,
           (unsigned long) sh->puts, (unsigned long) sh->voids,
           bad == 0 ? "well" : bad == BAD_TORN ? "torn"
           : bad == BAD_OLD ? "old" : bad == BAD_OTHER ? "another" : "failed");

    return bad;
}
