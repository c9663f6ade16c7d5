
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_sketch.h"


#define rcache_sketch_hashes(sketch)                                          \
    ((volatile uint64_t *) &(sketch)->entry[(sketch)->n])


static void rcache_sketch_take(rcache_sketch_entry_t *e, uint64_t hash,
    const rcache_str_t *key);
static int rcache_sketch_copy(rcache_sketch_entry_t *to,
    const rcache_sketch_entry_t *from);


size_t
rcache_sketch_size(unsigned n)
{
    return offsetof(rcache_sketch_t, entry)
           + n * (sizeof(rcache_sketch_entry_t) + sizeof(uint64_t));
}


void
rcache_sketch_init(rcache_sketch_t *sketch, unsigned n)
{
    sketch->n = n;
}


void
rcache_sketch_count(rcache_sketch_t *sketch, uint64_t hash,
    const rcache_str_t *key)
{
    unsigned                i, min;
    uint64_t                low;
    volatile uint64_t      *hashes;
    rcache_sketch_entry_t  *e;

    hashes = rcache_sketch_hashes(sketch);

    for (i = 0; i < sketch->n; i++) {

        if (hashes[i] == hash) {
            sketch->entry[i].count++;
            return;
        }
    }

    min = 0;
    low = UINT64_MAX;

    for (i = 0; i < sketch->n; i++) {

        if (sketch->entry[i].count < low) {
            low = sketch->entry[i].count;
            min = i;

            if (low == 0) {
                break;
            }
        }
    }

    e = &sketch->entry[min];

    e->seq++;
    __sync_synchronize();

    rcache_sketch_take(e, hash, key);

    __sync_synchronize();
    e->seq++;

    hashes[min] = hash;
}


static void
rcache_sketch_take(rcache_sketch_entry_t *e, uint64_t hash,
    const rcache_str_t *key)
{
    e->hash = hash;
    e->error = e->count;
    e->count++;

    e->len = (key->len < RCACHE_SKETCH_KEY) ? (uint32_t) key->len
                                            : RCACHE_SKETCH_KEY;
    memcpy(e->key, key->data, e->len);
}


/* true if it was whole */

static int
rcache_sketch_copy(rcache_sketch_entry_t *to,
    const rcache_sketch_entry_t *from)
{
    uint32_t  seq;

    seq = from->seq;
    __sync_synchronize();

    memcpy(to, (const void *) from, sizeof(rcache_sketch_entry_t));

    __sync_synchronize();

    return (seq & 1) == 0 && from->seq == seq && to->count
           && to->len <= RCACHE_SKETCH_KEY;
}


void
rcache_sketch_add(rcache_sketch_sum_t *sum, const rcache_sketch_t *from)
{
    unsigned               i, j, known, n;
    uint64_t               low;
    rcache_sketch_entry_t  e;

    low = UINT64_MAX;

    for (i = 0; i < from->n; i++) {
        if (from->entry[i].count < low) {
            low = from->entry[i].count;
        }
    }

    if (from->n == 0) {
        low = 0;
    }

    known = sum->n;

    /* as if it had none of them; those that it has are corrected below */

    for (j = 0; j < known; j++) {
        sum->entry[j].count += low;
        sum->entry[j].error += low;
    }

    for (i = 0; i < from->n; i++) {

        if (!rcache_sketch_copy(&e, &from->entry[i])) {
            continue;
        }

        for (j = 0; j < known; j++) {

            if (sum->entry[j].hash == e.hash) {
                sum->entry[j].count += e.count - low;
                sum->entry[j].error += e.error - low;
                break;
            }
        }

        if (j < known || sum->n == sum->max) {
            continue;
        }

        n = sum->n++;

        sum->entry[n] = e;
        sum->entry[n].count += sum->floor;
        sum->entry[n].error += sum->floor;
    }

    sum->floor += low;
}


void
rcache_sketch_sort(rcache_sketch_sum_t *sum)
{
    unsigned               i, j;
    rcache_sketch_entry_t  e;

    for (i = 1; i < sum->n; i++) {
        e = sum->entry[i];

        for (j = i; j && sum->entry[j - 1].count < e.count; j--) {
            sum->entry[j] = sum->entry[j - 1];
        }

        sum->entry[j] = e;
    }
}
