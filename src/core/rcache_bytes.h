
/*
 * Little-endian integers, as docs/storage-format.md has them.  Private to the
 * codecs of src/core.  Compilers make one load or store of each.
 */


#ifndef _RCACHE_BYTES_H_INCLUDED_
#define _RCACHE_BYTES_H_INCLUDED_


#include "rcache_core.h"


static inline void
rcache_put16(u_char *p, uint16_t n)
{
    p[0] = (u_char) n;
    p[1] = (u_char) (n >> 8);
}


static inline void
rcache_put32(u_char *p, uint32_t n)
{
    rcache_put16(p, (uint16_t) n);
    rcache_put16(p + 2, (uint16_t) (n >> 16));
}


static inline void
rcache_put64(u_char *p, uint64_t n)
{
    rcache_put32(p, (uint32_t) n);
    rcache_put32(p + 4, (uint32_t) (n >> 32));
}


static inline uint16_t
rcache_get16(const u_char *p)
{
    return (uint16_t) (p[0] | p[1] << 8);
}


static inline uint32_t
rcache_get32(const u_char *p)
{
    return rcache_get16(p) | (uint32_t) rcache_get16(p + 2) << 16;
}


static inline uint64_t
rcache_get64(const u_char *p)
{
    return rcache_get32(p) | (uint64_t) rcache_get32(p + 4) << 32;
}


#endif /* _RCACHE_BYTES_H_INCLUDED_ */
