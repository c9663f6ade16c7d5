
/*
 * A stored response freshened by a 304, RFC 9111, 3.2 and 4.3.4, or by a
 * response to HEAD, 4.3.5.
 */


#ifndef _RCACHE_UPDATE_H_INCLUDED_
#define _RCACHE_UPDATE_H_INCLUDED_


#include "rcache_core.h"
#include "rcache_head.h"
#include "rcache_response.h"


/*
 * resp has taken in the lines of the newer response (it knows Connection and
 * Cache-Control); fields are these lines, in order.
 */

typedef struct {
    rcache_response_t     *resp;
    const rcache_field_t  *fields;
    size_t                 nfields;
} rcache_update_t;


/*
 * True if a line with this name in the newer response replaces the stored
 * ones.  Not those that are never stored, and not what describes the stored
 * body: Content-Encoding, Content-Length, Content-MD5, Content-Range, ETag
 * and the digests.
 */

int rcache_update_replaces(rcache_response_t *resp, const rcache_str_t *name);

/*
 * The size of the updated head in bytes; RCACHE_ERROR if the stored head is
 * malformed or the new one would be over RCACHE_HEAD_MAX.
 */

ssize_t rcache_update_size(const rcache_update_t *u,
    const rcache_str_t *head);

/*
 * Writes it, rcache_update_size() bytes; returns the end.  The status line
 * stays; stored lines that are not replaced stay, in order; then the new
 * ones, in order.  Stored fields that the newer response withholds
 * (no-cache="...", private="...") go.  So does Date: the entry has to say it,
 * see rcache_response_dated().
 *
 * For the new lifetime: init an rcache_response_t with the stored status,
 * give it all lines of this head and the Age, CDN-Cache-Control and X-Accel-
 * lines of the newer response, and ask rcache_response_storable().
 */

u_char *rcache_update_write(u_char *dst, const rcache_update_t *u,
    const rcache_str_t *head);

/*
 * RFC 9111, 4.3.5: true if a 200 to HEAD shows that what is stored is no
 * longer what a GET would get: Content-Length, ETag, Last-Modified or
 * Content-MD5 differ.  Also if the stored head is malformed.
 */

int rcache_update_contradicts(const rcache_str_t *head, uint64_t body_len,
    const rcache_field_t *fields, size_t nfields);


#endif /* _RCACHE_UPDATE_H_INCLUDED_ */
