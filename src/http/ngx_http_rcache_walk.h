
/*
 * The walk through all keys of a zone, for the patterns of purges: the files
 * ngx_http_rcache_walk.c, _walk_lease.c, _walk_server.c and _walk_keys.c.  How
 * far it is, is in shared memory, where src/admin looks.
 */


#ifndef _NGX_HTTP_RCACHE_WALK_H_INCLUDED_
#define _NGX_HTTP_RCACHE_WALK_H_INCLUDED_


#include "ngx_http_rcache.h"


/* milliseconds until it looks whether there is something to be done */

#define NGX_HTTP_RCACHE_WALK_LOOK     200

/* after a failure, and when Redis refuses a command */

#define NGX_HTTP_RCACHE_WALK_RETRY    1000
#define NGX_HTTP_RCACHE_WALK_REFUSED  5000


/* of this worker; what outlives it is ngx_http_rcache_purges_walk_t */

typedef struct {
    ngx_http_rcache_zone_t         *zone;
    ngx_http_rcache_purges_t       *purges;
    ngx_shmtx_t                    *mutex;
    ngx_http_rcache_redis_conf_t    conf;
    ngx_http_rcache_redis_t        *redis;      /* NULL: no walk so far */
    ngx_str_t                       lease;      /* a key in Redis */
    ngx_str_t                       glob;       /* of the keys of the zone */
    ngx_event_t                     timer;

    ngx_msec_t                      leased;     /* 0: it is not */
    ngx_msec_t                      began;      /* the step */
    ngx_uint_t                      count;      /* keys of a step, about */
    ngx_uint_t                      nops;       /* of the step, under way */
    uint64_t                        upto;
    uint64_t                        next;       /* cursor */
    uint64_t                        looked;
    uint64_t                        purged;
    uint64_t                        run;        /* of the server, 0: unknown */

    unsigned                        failed:1;
    unsigned                        mapped:1;   /* the cluster was asked about
                                                   behind the last step */
    unsigned                        checked:1;  /* the server is the one that
                                                   the cursor is of */
    unsigned                        refused:1;  /* that is logged */
} ngx_http_rcache_walk_t;


/* goes on after so many milliseconds */

void ngx_http_rcache_walk_pause(ngx_http_rcache_walk_t *walk, ngx_msec_t ms);

/* a copy of where it is; false: it is not that of this walk any more */

ngx_uint_t ngx_http_rcache_walk_place(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_purges_walk_t *place);

/* an operation of its own, or NULL */

ngx_http_rcache_op_t *ngx_http_rcache_walk_command(ngx_str_t *argv,
    ngx_uint_t argc);

/*
 * Submits an operation of a step, NULL included, or the step has failed.  Its
 * data is the walk, unless it has some.
 */

void ngx_http_rcache_walk_submit(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_op_t *op, ngx_http_rcache_op_pt handler);

/* it has its reply; if it was the last one the walk goes on */

void ngx_http_rcache_walk_over(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_reply_t *reply);

/* the step has failed: Redis does not do what it was asked for */

void ngx_http_rcache_walk_refuse(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_reply_t *reply);


/*
 * ngx_http_rcache_walk_lease.c.  leased: this instance has it, and it need not
 * be renewed.  ask: for the lease, and pauses.  release: gives it back.
 */

ngx_uint_t ngx_http_rcache_walk_leased(ngx_http_rcache_walk_t *walk);
void ngx_http_rcache_walk_ask(ngx_http_rcache_walk_t *walk);
void ngx_http_rcache_walk_release(ngx_http_rcache_walk_t *walk);


/*
 * ngx_http_rcache_walk_server.c.  open: NGX_OK, NGX_ERROR.  check: is a master
 * still the server that the cursor is of?  If not, the walk begins anew.
 */

ngx_int_t ngx_http_rcache_walk_open(ngx_http_rcache_walk_t *walk);
void ngx_http_rcache_walk_check(ngx_http_rcache_walk_t *walk,
    ngx_uint_t master);


/*
 * ngx_http_rcache_walk_keys.c: looks at the keys that SCAN answered with;
 * ngx_http_rcache_walk_over() is called for each operation that it started.
 */

void ngx_http_rcache_walk_keys(ngx_http_rcache_walk_t *walk,
    ngx_http_rcache_reply_t *keys);


#endif /* _NGX_HTTP_RCACHE_WALK_H_INCLUDED_ */
