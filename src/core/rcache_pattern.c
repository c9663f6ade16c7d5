
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Readers look at the positions without a lock.  The floor is raised before
 * a pattern goes, and a pattern is there before its position says so, so a
 * reader that sees half of a change is too careful, and never careless.
 */


#include "rcache_pattern.h"


#define rcache_pattern_set(p, n)  __atomic_store_n(p, n, __ATOMIC_SEQ_CST)


static void rcache_patterns_changed(rcache_patterns_t *patterns);


int
rcache_patterns_add(rcache_patterns_t *patterns, const rcache_purge_id_t *id,
    uint64_t position, int soft, const rcache_str_t *text)
{
    unsigned           i;
    rcache_pattern_t  *pattern, *slot;

    if (text->len == 0 || text->len > RCACHE_PATTERN_MAX) {
        return RCACHE_DECLINED;
    }

    slot = NULL;

    for (i = 0; i < RCACHE_PATTERNS; i++) {
        pattern = &patterns->pattern[i];

        if (pattern->state == RCACHE_PATTERN_ACTIVE) {

            if (pattern->position == position
                && pattern->len == text->len
                && memcmp(pattern->text, text->data, text->len) == 0)
            {
                /* a record that is read once more */

                return RCACHE_OK;
            }

            continue;
        }

        if (slot == NULL || pattern->position < slot->position) {
            slot = pattern;
        }
    }

    if (slot == NULL) {
        return RCACHE_ERROR;
    }

    memset(slot, 0, sizeof(rcache_pattern_t));

    slot->position = position;
    slot->soft = (uint64_t) soft;
    slot->id = *id;
    slot->len = text->len;
    memcpy(slot->text, text->data, text->len);

    slot->state = RCACHE_PATTERN_ACTIVE;

    rcache_patterns_changed(patterns);

    return RCACHE_OK;
}


void
rcache_patterns_end(rcache_patterns_t *patterns, const rcache_purge_id_t *id,
    rcache_pattern_state_e state, uint64_t purged)
{
    unsigned           i;
    rcache_pattern_t  *pattern;

    for (i = 0; i < RCACHE_PATTERNS; i++) {
        pattern = &patterns->pattern[i];

        if (pattern->state != RCACHE_PATTERN_ACTIVE
            || pattern->id.ms != id->ms
            || pattern->id.seq != id->seq)
        {
            continue;
        }

        /* one that was stopped does not matter to anybody */

        if (state == RCACHE_PATTERN_DONE
            && patterns->floor < pattern->position)
        {
            rcache_pattern_set(&patterns->floor, pattern->position);
        }

        pattern->state = state;
        pattern->purged = purged;
    }

    rcache_patterns_changed(patterns);
}


unsigned
rcache_patterns_active(const rcache_patterns_t *patterns)
{
    unsigned  i, n;

    n = 0;

    for (i = 0; i < RCACHE_PATTERNS; i++) {
        n += (patterns->pattern[i].state == RCACHE_PATTERN_ACTIVE);
    }

    return n;
}


static void
rcache_patterns_changed(rcache_patterns_t *patterns)
{
    unsigned           i;
    uint64_t           newest;
    rcache_pattern_t  *pattern;

    newest = 0;

    for (i = 0; i < RCACHE_PATTERNS; i++) {
        pattern = &patterns->pattern[i];

        if (pattern->state == RCACHE_PATTERN_ACTIVE
            && newest < pattern->position)
        {
            newest = pattern->position;
        }
    }

    rcache_pattern_set(&patterns->serial, patterns->serial + 1);
    rcache_pattern_set(&patterns->newest, newest);
}
