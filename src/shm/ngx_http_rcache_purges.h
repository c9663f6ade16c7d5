
/*
 * What the workers of an instance know of purges, see ../core/rcache_purge.h,
 * and which of them follows the log.  In the zone's shared memory, allocated
 * once:
 *
 *     ngx_http_rcache_purges_t | rcache_purges_t with its records
 *
 * Writers take the mutex of the slab pool, which nginx's master unlocks for a
 * worker that is killed.  A reload may name another log: then all of it is
 * begun anew, and is no more for those who know of the one before.  src/http
 * calls it.
 */


#ifndef _NGX_HTTP_RCACHE_PURGES_H_INCLUDED_
#define _NGX_HTTP_RCACHE_PURGES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "../core/rcache_purge.h"


/* milliseconds without a word of the log, then nothing is known any more */

#define NGX_HTTP_RCACHE_PURGES_ALIVE  1000

/* without one for so long, nothing is stored, see ngx_http_rcache_walk.c */

#define NGX_HTTP_RCACHE_PURGES_DEAF   2000


/* the walk through the keys for the patterns, under the mutex */

typedef struct {
    uint64_t           upto;       /* the position of the last pattern that it
                                      is for; 0: there is none */
    uint64_t           token;      /* says that it is this instance's */
    uint64_t           cursor;
    uint64_t           run;        /* of the server that the cursor is of */
    ngx_uint_t         master;     /* where it is, from 1 on */
    ngx_uint_t         masters;
    ngx_uint_t         version;    /* of the map of the cluster */
    uint64_t           keys;       /* of the masters so far */
    uint64_t           asked;      /* of these, about */
    uint64_t           looked;     /* keys of the zone */
    uint64_t           purged;     /* entries */
    ngx_uint_t         elsewhere;  /* unsigned  elsewhere:1;  another instance
                                      does it, at percent */
    ngx_uint_t         percent;
} ngx_http_rcache_purges_walk_t;


typedef struct {
    rcache_purges_t   *table;
    ngx_atomic_t       identity;   /* of the log that it is of; 0: none yet */
    ngx_atomic_t       owner;      /* the pid of who follows; 0: nobody */
    ngx_atomic_t       alive;      /* ngx_current_msec of the last word */
    ngx_atomic_t       informed;   /* what the log does not have any more is
                                      known to be so */
    ngx_atomic_t       synced;     /* the table has all that the log had */
    ngx_atomic_t       hint;       /* a position in an entry that is ahead of
                                      the log */
    rcache_purge_id_t  counted;    /* under the mutex: up to this record the
                                      log has had so many */
    int64_t            count;
    ngx_http_rcache_purges_walk_t  walk;
} ngx_http_rcache_purges_t;


/* of a zone of that size; NULL if it is not to be had */

ngx_http_rcache_purges_t *ngx_http_rcache_purges_create(
    ngx_slab_pool_t *pool, size_t size);

/* it is of that log from now on; under the mutex, before any other use */

void ngx_http_rcache_purges_adopt(ngx_http_rcache_purges_t *purges,
    ngx_atomic_uint_t identity);

/* true if this process is to follow the log; give_up: no more */

ngx_uint_t ngx_http_rcache_purges_lead(ngx_http_rcache_purges_t *purges);
void ngx_http_rcache_purges_give_up(ngx_http_rcache_purges_t *purges);

/* there may have been purges that this instance does not know of */

ngx_uint_t ngx_http_rcache_purges_blind(ngx_http_rcache_purges_t *purges);

/* and that for long */

ngx_uint_t ngx_http_rcache_purges_deaf(ngx_http_rcache_purges_t *purges);


#endif /* _NGX_HTTP_RCACHE_PURGES_H_INCLUDED_ */
