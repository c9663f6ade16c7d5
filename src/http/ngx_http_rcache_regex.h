
/*
 * The patterns of purges, compiled: each worker has its own of those that are
 * at work, see ../core/rcache_pattern.h.  ngx_http_rcache_tags.c asks it for
 * the entry that is read or stored, ngx_http_rcache_walk.c for each key.
 */


#ifndef _NGX_HTTP_RCACHE_REGEX_H_INCLUDED_
#define _NGX_HTTP_RCACHE_REGEX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "../core/rcache_pattern.h"


typedef struct ngx_http_rcache_regexes_s  ngx_http_rcache_regexes_t;


/* what an entry is matched against; of a walk no more than it is for */

typedef struct {
    ngx_str_t         *key;         /* not encoded */
    uint64_t           position;    /* of the entry */
    uint64_t           upto;        /* of the last pattern */
} ngx_http_rcache_regex_subject_t;


/* Worker start.  NULL: no memory. */

ngx_http_rcache_regexes_t *ngx_http_rcache_regexes_create(ngx_cycle_t *cycle,
    rcache_patterns_t *patterns, ngx_shmtx_t *mutex);

/*
 * True if a pattern that is younger than the entry matches its key, and is no
 * soft one: of these *soft becomes the position of the last, if that is later
 * than *soft.  A match that takes more than its limits allow is one: what is
 * not purged although it should be is worse.
 */

ngx_uint_t ngx_http_rcache_regexes_match(ngx_http_rcache_regexes_t *regexes,
    ngx_http_rcache_regex_subject_t *subject, uint64_t *soft);

/*
 * Is it a pattern?  NGX_OK; NGX_DECLINED: it is not, and err, of size bytes,
 * says why, and ends in a zero; NGX_ERROR: no memory.
 */

ngx_int_t ngx_http_rcache_regex_check(ngx_str_t *text, u_char *err,
    size_t size);


#endif /* _NGX_HTTP_RCACHE_REGEX_H_INCLUDED_ */
