
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Readers take no lock, so the order of stores is what counts.  What goes out
 * of the table is in a floor before it is overwritten, and a reader looks at
 * the floors last; a record is in the table before a position says that it is
 * known.  A reader that sees half of a change may take something for purged
 * that is not, never the other way round.
 */


#include "rcache_purge.h"
#include "rcache_tags.h"

#define XXH_INLINE_ALL
#include <xxhash.h>


#define RCACHE_PURGE_SEQ_BITS  20
#define RCACHE_PURGE_SEQ_MAX   (((uint64_t) 1 << RCACHE_PURGE_SEQ_BITS) - 1)
#define RCACHE_PURGE_MS_MAX    (((uint64_t) 1 << 44) - 1)

#define rcache_load(p)        __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define rcache_store(p, n)    __atomic_store_n(p, n, __ATOMIC_SEQ_CST)

#define rcache_purge_last(r)                                                  \
    (((r)->hard > (r)->soft) ? (r)->hard : (r)->soft)


static int rcache_purges_pattern(rcache_purges_t *purges,
    const rcache_purge_id_t *id, const rcache_field_t *field, int soft,
    uint64_t purged);
static void rcache_purges_raise(uint64_t *p, uint64_t position);
static void rcache_purges_put(rcache_purges_t *purges,
    rcache_purge_kind_e kind, const rcache_str_t *value, uint64_t position,
    int soft);
static void rcache_purges_evict(rcache_purges_t *purges,
    rcache_purge_record_t *record);
static void rcache_purges_prefix(rcache_purges_t *purges,
    const rcache_str_t *prefix, uint64_t position, int soft);
static int rcache_purges_find(const rcache_purges_t *purges, uint64_t hash,
    uint64_t position, uint64_t *soft);
static int rcache_purges_find_prefix(const rcache_purges_t *purges,
    const rcache_purge_subject_t *subject, uint64_t *soft);


size_t
rcache_purges_size(size_t sets)
{
    return sizeof(rcache_purges_t)
           + (sets * RCACHE_PURGE_SET - 1) * sizeof(rcache_purge_record_t);
}


void
rcache_purges_init(rcache_purges_t *purges, size_t sets)
{
    memset(purges, 0, rcache_purges_size(sets));

    purges->mask = sets - 1;
}


uint64_t
rcache_purge_hash(rcache_purge_kind_e kind, const rcache_str_t *s)
{
    uint64_t  hash;

    hash = XXH3_64bits_withSeed(s->data, s->len, (XXH64_hash_t) kind);

    return hash + (hash == 0);
}


int
rcache_purge_id(rcache_purge_id_t *id, const rcache_str_t *s)
{
    const u_char  *p, *last;

    p = s->data;
    last = p + s->len;

    if (rcache_number(&id->ms, &p, last) != RCACHE_OK
        || p == last
        || *p++ != '-'
        || rcache_number(&id->seq, &p, last) != RCACHE_OK
        || p != last)
    {
        return RCACHE_ERROR;
    }

    return RCACHE_OK;
}


int
rcache_purge_id_later(const rcache_purge_id_t *id,
    const rcache_purge_id_t *than)
{
    return id->ms > than->ms || (id->ms == than->ms && id->seq > than->seq);
}


uint64_t
rcache_purge_position(const rcache_purge_id_t *id)
{
    if (id->ms > RCACHE_PURGE_MS_MAX) {
        return UINT64_MAX;
    }

    return id->ms << RCACHE_PURGE_SEQ_BITS
           | ((id->seq > RCACHE_PURGE_SEQ_MAX) ? RCACHE_PURGE_SEQ_MAX
                                               : id->seq);
}


uint64_t
rcache_purge_known(const rcache_purge_id_t *id)
{
    uint64_t  position;

    position = rcache_purge_position(id);

    if ((position & RCACHE_PURGE_SEQ_MAX) == RCACHE_PURGE_SEQ_MAX) {
        return position - 1;
    }

    return position;
}


int
rcache_purges_apply(rcache_purges_t *purges, const rcache_purge_id_t *id,
    const rcache_field_t *fields, size_t n)
{
    int                  rc, soft;
    size_t               i;
    uint64_t             position, purged;
    const u_char        *p;
    rcache_purge_id_t    floor;
    const rcache_str_t  *value;

    rc = n ? RCACHE_OK : RCACHE_DECLINED;
    soft = 0;
    purged = 0;
    position = rcache_purge_position(id);

    for (i = 0; i < n; i++) {

        if (rcache_str_is(&fields[i].name, "soft")) {
            value = &fields[i].value;
            soft = (value->len != 0
                    && !(value->len == 1 && value->data[0] == '0'));

        } else if (rcache_str_is(&fields[i].name, "purged")) {
            value = &fields[i].value;
            p = value->data;
            (void) rcache_number(&purged, &p, p + value->len);
        }
    }

    for (i = 0; i < n; i++) {
        value = &fields[i].value;

        if (rcache_str_is(&fields[i].name, "tag")) {
            rcache_purges_put(purges, RCACHE_PURGE_TAG, value, position,
                              soft);

        } else if (rcache_str_is(&fields[i].name, "key")) {
            rcache_purges_put(purges, RCACHE_PURGE_KEY, value, position,
                              soft);

        } else if (rcache_str_is(&fields[i].name, "prefix")) {
            rcache_purges_prefix(purges, value, position, soft);

        } else if (rcache_str_is(&fields[i].name, "all")) {
            rcache_purges_raise(soft ? &purges->soft : &purges->hard,
                                position);

        } else if (rcache_str_is(&fields[i].name, "floor")) {

            if (rcache_purge_id(&floor, value) != RCACHE_OK
                || rcache_purge_id_later(&floor, id))
            {
                floor = *id;
            }

            rcache_purges_floor(purges, &floor);

        } else if (!rcache_str_is(&fields[i].name, "soft")
                   && !rcache_str_is(&fields[i].name, "purged")
                   && rcache_purges_pattern(purges, id, &fields[i], soft,
                                            purged)
                      != RCACHE_OK)
        {
            rc = RCACHE_DECLINED;
        }
    }

    rcache_purges_raise(&purges->newest, position);

    return rc;
}


static int
rcache_purges_pattern(rcache_purges_t *purges, const rcache_purge_id_t *id,
    const rcache_field_t *field, int soft, uint64_t purged)
{
    int                     rc;
    uint64_t                position;
    rcache_purge_id_t       of;
    rcache_pattern_state_e  state;

    if (rcache_str_is(&field->name, "regex")) {

        position = rcache_purge_position(id);

        rc = rcache_patterns_add(&purges->patterns, id, position, soft,
                                 &field->value);

        if (rc == RCACHE_ERROR) {
            rcache_purges_raise(soft ? &purges->soft : &purges->hard,
                                position);
            return RCACHE_OK;
        }

        return rc;
    }

    if (rcache_str_is(&field->name, "done")) {
        state = RCACHE_PATTERN_DONE;

    } else if (rcache_str_is(&field->name, "stop")) {
        state = RCACHE_PATTERN_STOPPED;

    } else {
        return RCACHE_DECLINED;
    }

    if (rcache_purge_id(&of, &field->value) != RCACHE_OK) {
        return RCACHE_DECLINED;
    }

    rcache_patterns_end(&purges->patterns, &of, state, purged);

    return RCACHE_OK;
}


void
rcache_purges_reached(rcache_purges_t *purges, const rcache_purge_id_t *id)
{
    uint64_t  known;

    if (!rcache_purge_id_later(id, &purges->id)) {
        return;
    }

    purges->id = *id;

    known = rcache_purge_known(id);

    rcache_purges_raise(&purges->newest, known);
    rcache_purges_raise(&purges->known, known);
}


void
rcache_purges_floor(rcache_purges_t *purges, const rcache_purge_id_t *id)
{
    uint64_t  position;

    position = rcache_purge_position(id);

    rcache_purges_raise(&purges->hard, position);
    rcache_purges_raise(&purges->newest, position);
}


static void
rcache_purges_raise(uint64_t *p, uint64_t position)
{
    if (*p < position) {
        rcache_store(p, position);
    }
}


static void
rcache_purges_put(rcache_purges_t *purges, rcache_purge_kind_e kind,
    const rcache_str_t *value, uint64_t position, int soft)
{
    size_t                  i;
    uint64_t                hash;
    rcache_purge_record_t  *set, *record, *oldest;

    hash = rcache_purge_hash(kind, value);

    set = &purges->record[(hash & purges->mask) * RCACHE_PURGE_SET];
    record = NULL;
    oldest = set;

    for (i = 0; i < RCACHE_PURGE_SET; i++) {

        if (set[i].hash == hash) {
            record = &set[i];
            break;
        }

        if (rcache_purge_last(&set[i]) < rcache_purge_last(oldest)) {
            oldest = &set[i];
        }
    }

    if (record == NULL) {
        record = oldest;

        rcache_purges_evict(purges, record);
    }

    rcache_purges_raise(soft ? &record->soft : &record->hard, position);
    rcache_store(&record->hash, hash);
}


/* a record that is free is the oldest one, and has no positions */

static void
rcache_purges_evict(rcache_purges_t *purges, rcache_purge_record_t *record)
{
    rcache_purges_raise(&purges->hard, record->hard);
    rcache_purges_raise(&purges->soft, record->soft);

    rcache_store(&record->hash, 0);
    rcache_store(&record->hard, 0);
    rcache_store(&record->soft, 0);
}


/*
 * A prefix is found by its hash, so it is the number of lengths that a reader
 * has to try which has to be bounded, and not that of prefixes.
 */

static void
rcache_purges_prefix(rcache_purges_t *purges, const rcache_str_t *prefix,
    uint64_t position, int soft)
{
    size_t                  i;
    rcache_purge_length_t  *length, *oldest;

    if (prefix->len == 0) {
        rcache_purges_raise(soft ? &purges->soft : &purges->hard, position);
        return;
    }

    length = NULL;
    oldest = purges->length;

    for (i = 0; i < RCACHE_PURGE_LENGTHS; i++) {

        if (purges->length[i].newest
            && purges->length[i].length == prefix->len)
        {
            length = &purges->length[i];
            break;
        }

        if (purges->length[i].newest < oldest->newest) {
            oldest = &purges->length[i];
        }
    }

    if (length == NULL) {
        length = oldest;

        /* the records stay, but nobody finds them any longer */

        rcache_purges_raise(&purges->hard, length->newest);
        rcache_store(&length->length, prefix->len);
    }

    rcache_purges_put(purges, RCACHE_PURGE_PREFIX, prefix, position, soft);

    rcache_purges_raise(&length->newest, position);
    rcache_purges_raise(&purges->prefix, position);
}


int
rcache_purges_match(const rcache_purges_t *purges,
    const rcache_purge_subject_t *subject, uint64_t *soft)
{
    size_t    i;
    uint64_t  floor;

    *soft = 0;

    /* nearly every entry of a cache that is seldom purged ends here */

    if (subject->position >= rcache_load(&purges->newest)) {
        return 0;
    }

    if (rcache_purges_find(purges,
                           rcache_purge_hash(RCACHE_PURGE_KEY, &subject->key),
                           subject->position, soft))
    {
        return 1;
    }

    for (i = 0; i + RCACHE_TAG_SIZE <= subject->tags.len;
         i += RCACHE_TAG_SIZE)
    {
        if (rcache_purges_find(purges,
                               rcache_purge_tag(subject->tags.data + i),
                               subject->position, soft))
        {
            return 1;
        }
    }

    if (subject->position < rcache_load(&purges->prefix)
        && rcache_purges_find_prefix(purges, subject, soft))
    {
        return 1;
    }

    /* last, see above */

    floor = rcache_load(&purges->soft);

    if (floor > subject->position && floor > *soft) {
        *soft = floor;
    }

    return rcache_load(&purges->hard) > subject->position;
}


static int
rcache_purges_find(const rcache_purges_t *purges, uint64_t hash,
    uint64_t position, uint64_t *soft)
{
    size_t                        i;
    uint64_t                      n;
    const rcache_purge_record_t  *set;

    set = &purges->record[(hash & purges->mask) * RCACHE_PURGE_SET];

    for (i = 0; i < RCACHE_PURGE_SET; i++) {

        if (rcache_load(&set[i].hash) != hash) {
            continue;
        }

        if (rcache_load(&set[i].hard) > position) {
            return 1;
        }

        n = rcache_load(&set[i].soft);

        if (n > position && n > *soft) {
            *soft = n;
        }

        return 0;
    }

    return 0;
}


static int
rcache_purges_find_prefix(const rcache_purges_t *purges,
    const rcache_purge_subject_t *subject, uint64_t *soft)
{
    size_t        i;
    rcache_str_t  prefix;

    prefix.data = subject->key.data;

    for (i = 0; i < RCACHE_PURGE_LENGTHS; i++) {

        if (rcache_load(&purges->length[i].newest) <= subject->position) {
            continue;
        }

        prefix.len = (size_t) rcache_load(&purges->length[i].length);

        if (prefix.len > subject->key.len) {
            continue;
        }

        if (rcache_purges_find(purges,
                               rcache_purge_hash(RCACHE_PURGE_PREFIX,
                                                 &prefix),
                               subject->position, soft))
        {
            return 1;
        }
    }

    return 0;
}


uint64_t
rcache_purge_tag(const u_char *p)
{
    uint64_t  hash;
    unsigned  i;

    hash = 0;

    for (i = 0; i < RCACHE_TAG_SIZE; i++) {
        hash |= (uint64_t) p[i] << i * 8;
    }

    return hash;
}
