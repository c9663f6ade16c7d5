
/*
 * The counters of a zone, in its shared memory.  Each worker has a block of
 * its own and is the only one that writes to it, so counting takes no lock and
 * no atomic operation; whoever wants to know adds the blocks up:
 *
 *     head | block 0 | block 1 ... block n
 *
 *     block:  zone's counters, times, gauges | label 0 | label 1 ... label m
 *             | hottest keys | most missed keys
 *
 * Block 0 has no owner: workers that find no block use it together, with
 * atomic additions, as while a reload goes on, or if the zone is small.  A
 * block is taken under the mutex of the slab pool; it is free if its owner is
 * dead, and the next one goes on counting where that one stopped, so a worker
 * that is killed, or that exits, takes nothing with it.  Gauges are those of
 * living owners only.
 *
 * Labels are names under which locations are counted; label 0 is for those
 * that have none.  A name is written before the number of names that counts
 * it.
 *
 * Counters of another layout are not used, and begin anew.
 *
 * src/http and src/admin call it; it calls nothing but nginx and src/core.
 */


#ifndef _NGX_HTTP_RCACHE_STATS_H_INCLUDED_
#define _NGX_HTTP_RCACHE_STATS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "../core/rcache_metrics.h"
#include "../core/rcache_sketch.h"


/* bytes of a label's name; labels of a zone */

#define NGX_HTTP_RCACHE_LABEL_LEN  63
#define NGX_HTTP_RCACHE_LABELS     64

/* entries of the sketches of keys */

#define NGX_HTTP_RCACHE_TOP        256


typedef struct {
    uint64_t               counter[RCACHE_COUNT_LABEL_N];
    rcache_histogram_t     time[RCACHE_TIME_LABEL_N];
} ngx_http_rcache_stats_label_t;


typedef struct {
    uint64_t               counter[RCACHE_COUNT_ZONE_N];
    rcache_histogram_t     time[RCACHE_TIME_ZONE_N];

    volatile int64_t       gauge[RCACHE_GAUGE_N];
    ngx_atomic_t           pid;            /* of the owner; 0: none */
} ngx_http_rcache_stats_zone_t;


typedef struct {
    time_t                 dry;            /* a dry run began; 0: none did */
    size_t                 len;
    u_char                 data[NGX_HTTP_RCACHE_LABEL_LEN + 1];
} ngx_http_rcache_label_t;


typedef struct {
    ngx_uint_t                layout;
    time_t                    since;
    size_t                    size;        /* of a block */
    size_t                    sketch;      /* offset in a block */
    ngx_uint_t                top;         /* keys in each; 0: no sketches */
    ngx_uint_t                nblocks;
    ngx_uint_t                max;         /* labels that there is room for,
                                              the first one among them */
    ngx_atomic_t              nlabels;
    u_char                   *blocks;
    ngx_http_rcache_label_t  *label;
} ngx_http_rcache_stats_sh_t;


/* the counters as a process has them */

typedef struct {
    ngx_http_rcache_stats_sh_t    *sh;
    ngx_http_rcache_stats_zone_t  *zone;   /* of its block */
    ngx_uint_t                     shared; /* it is block 0 */
    rcache_sketch_t               *hot;    /* NULL: there is none */
    rcache_sketch_t               *missed;
} ngx_http_rcache_stats_t;


/*
 * What the init handler of the zone has, or creates in the pool: room for so
 * many labels beside the first and so many top keys, and for more and for so
 * many blocks of workers if limit bytes are enough.  NULL if there is too
 * little memory: *need is what it takes.
 */

ngx_http_rcache_stats_sh_t *ngx_http_rcache_stats_create(
    ngx_slab_pool_t *pool, ngx_uint_t labels, ngx_uint_t blocks,
    ngx_uint_t top, size_t limit, size_t *need);

/* is it of this layout? */

ngx_uint_t ngx_http_rcache_stats_valid(ngx_http_rcache_stats_sh_t *sh);

/* takes a block, in each process; NULL if memory is short */

ngx_http_rcache_stats_t *ngx_http_rcache_stats_init_process(
    ngx_cycle_t *cycle, ngx_http_rcache_stats_sh_t *sh,
    ngx_slab_pool_t *pool);

/* the number of a label; 0 if there is no room for it */

ngx_uint_t ngx_http_rcache_stats_label(ngx_http_rcache_stats_sh_t *sh,
    ngx_slab_pool_t *pool, ngx_str_t *name);

/*
 * The sums over all blocks: of what belongs to the zone, with the gauges of
 * workers that live, and in *pid how many they are; and of a label.
 */

void ngx_http_rcache_stats_sum_zone(ngx_http_rcache_stats_sh_t *sh,
    ngx_http_rcache_stats_zone_t *sum);
void ngx_http_rcache_stats_sum_label(ngx_http_rcache_stats_sh_t *sh,
    ngx_uint_t label, ngx_http_rcache_stats_label_t *sum);


/* the keys that are asked for, or missed, most; sorted by the caller */

void ngx_http_rcache_stats_sum_keys(ngx_http_rcache_stats_sh_t *sh,
    ngx_uint_t missed, rcache_sketch_sum_t *sum);


#define ngx_http_rcache_stats_sketch(sh, zone, missed)                        \
    ((rcache_sketch_t *) ((u_char *) (zone) + (sh)->sketch                    \
                          + (missed) * rcache_sketch_size((sh)->top)))

#define ngx_http_rcache_stats_block(sh, n)                                    \
    ((ngx_http_rcache_stats_zone_t *) ((sh)->blocks + (n) * (sh)->size))

#define ngx_http_rcache_stats_labels(zone)                                    \
    ((ngx_http_rcache_stats_label_t *) ((zone) + 1))


/* microseconds of a clock that does not jump */

static ngx_inline uint64_t
ngx_http_rcache_usec(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


static ngx_inline void
ngx_http_rcache_stats_add(ngx_http_rcache_stats_t *stats, uint64_t *counter,
    uint64_t n)
{
    if (stats->shared) {
        (void) __sync_fetch_and_add(counter, n);
        return;
    }

    *counter += n;
}


static ngx_inline void
ngx_http_rcache_stats_time(ngx_http_rcache_stats_t *stats,
    rcache_histogram_t *h, uint64_t usec)
{
    ngx_http_rcache_stats_add(stats, &h->bucket[rcache_histogram_index(usec)],
                              1);
    ngx_http_rcache_stats_add(stats, &h->sum, usec);
}


/* of the process itself; block 0 has none */

static ngx_inline void
ngx_http_rcache_stats_gauge(ngx_http_rcache_stats_t *stats,
    rcache_gauge_e gauge, int64_t n)
{
    if (!stats->shared) {
        stats->zone->gauge[gauge] += n;
    }
}


#endif /* _NGX_HTTP_RCACHE_STATS_H_INCLUDED_ */
