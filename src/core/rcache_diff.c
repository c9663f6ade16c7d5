
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_diff.h"


typedef struct {
    rcache_field_t  line[RCACHE_DIFF_LINES];
    unsigned        n;
} rcache_diff_lines_t;


typedef struct {
    u_char         *start;
    u_char         *p;
    u_char         *last;
} rcache_diff_names_t;


static void rcache_diff_read(rcache_diff_lines_t *lines,
    const rcache_str_t *head);
static unsigned rcache_diff_next(const rcache_diff_lines_t *lines,
    unsigned from, const rcache_str_t *name);
static int rcache_diff_same(const rcache_diff_lines_t *a,
    const rcache_diff_lines_t *b, const rcache_str_t *name);
static void rcache_diff_add(rcache_diff_names_t *names,
    const rcache_str_t *name);


u_char *
rcache_diff(u_char *dst, size_t room, const rcache_str_t *a,
    const rcache_str_t *b)
{
    unsigned             i;
    const rcache_str_t  *name;
    rcache_diff_names_t  names;
    rcache_diff_lines_t  la, lb;

    rcache_diff_read(&la, a);
    rcache_diff_read(&lb, b);

    names.start = dst;
    names.p = dst;
    names.last = dst + room;

    for (i = 0; i < la.n; i++) {
        name = &la.line[i].name;

        if (rcache_diff_next(&la, 0, name) == i
            && !rcache_diff_same(&la, &lb, name))
        {
            rcache_diff_add(&names, name);
        }
    }

    for (i = 0; i < lb.n; i++) {
        name = &lb.line[i].name;

        if (rcache_diff_next(&lb, 0, name) == i
            && rcache_diff_next(&la, 0, name) == la.n)
        {
            rcache_diff_add(&names, name);
        }
    }

    return names.p;
}


static void
rcache_diff_read(rcache_diff_lines_t *lines, const rcache_str_t *head)
{
    rcache_str_t   line, name, value;
    rcache_head_t  h;

    lines->n = 0;

    if (rcache_head_status(&h, head, &line) != RCACHE_OK) {
        return;
    }

    while (lines->n < RCACHE_DIFF_LINES
           && rcache_head_next(&h, &name, &value) == RCACHE_OK)
    {
        if (rcache_str_is(&name, "date") || rcache_str_is(&name, "age")) {
            continue;
        }

        lines->line[lines->n].name = name;
        lines->line[lines->n].value = value;
        lines->n++;
    }
}


/* the first line with that name, from there on; lines->n if there is none */

static unsigned
rcache_diff_next(const rcache_diff_lines_t *lines, unsigned from,
    const rcache_str_t *name)
{
    while (from < lines->n && !rcache_str_same(&lines->line[from].name, name))
    {
        from++;
    }

    return from;
}


static int
rcache_diff_same(const rcache_diff_lines_t *a, const rcache_diff_lines_t *b,
    const rcache_str_t *name)
{
    unsigned             i, k;
    const rcache_str_t  *v, *w;

    i = rcache_diff_next(a, 0, name);
    k = rcache_diff_next(b, 0, name);

    while (i < a->n && k < b->n) {
        v = &a->line[i].value;
        w = &b->line[k].value;

        if (v->len != w->len
            || (v->len && memcmp(v->data, w->data, v->len) != 0))
        {
            return 0;
        }

        i = rcache_diff_next(a, i + 1, name);
        k = rcache_diff_next(b, k + 1, name);
    }

    return i == a->n && k == b->n;
}


static void
rcache_diff_add(rcache_diff_names_t *names, const rcache_str_t *name)
{
    size_t  room;

    room = names->last - names->p;

    if (names->p != names->start) {

        if (room < 2) {
            return;
        }

        room -= 2;
    }

    if (room < name->len) {
        return;
    }

    if (names->p != names->start) {
        *names->p++ = ',';
        *names->p++ = ' ';
    }

    memcpy(names->p, name->data, name->len);
    names->p += name->len;
}
