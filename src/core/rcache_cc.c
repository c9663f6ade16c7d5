
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_cc.h"
#include "rcache_sf.h"


#define rcache_cc_separator(c)                                                \
    ((c) == ',' || (c) == ';' || (c) == ' ' || (c) == '\t')


/* data is NULL if there is no argument */

typedef struct {
    rcache_str_t  value;
    int           quoted;
} rcache_cc_arg_t;


/* what a targeted field may say to a cache that is not private */

typedef enum {
    RCACHE_CC_MAX_AGE = 0,
    RCACHE_CC_S_MAXAGE,
    RCACHE_CC_STALE_WHILE_REVALIDATE,
    RCACHE_CC_STALE_IF_ERROR,
    RCACHE_CC_NO_STORE,
    RCACHE_CC_NO_CACHE,
    RCACHE_CC_PRIVATE,
    RCACHE_CC_PUBLIC,
    RCACHE_CC_MUST_REVALIDATE,
    RCACHE_CC_PROXY_REVALIDATE,
    RCACHE_CC_MUST_UNDERSTAND,
    RCACHE_CC_TARGETED_N
} rcache_cc_targeted_e;


static const u_char *rcache_cc_argument(rcache_cc_arg_t *arg,
    const u_char *p, const u_char *last);
static void rcache_cc_directive(rcache_cc_t *cc, const rcache_str_t *name,
    const rcache_cc_arg_t *arg);
static int64_t rcache_cc_number(const rcache_str_t *value);
static void rcache_cc_lifetime(int64_t *value, const rcache_cc_arg_t *arg);
static void rcache_cc_window(int64_t *value, const rcache_cc_arg_t *arg);
static void rcache_cc_max_stale(int64_t *value, const rcache_cc_arg_t *arg);
static void rcache_cc_min_fresh(int64_t *value, const rcache_cc_arg_t *arg);
static int rcache_cc_names(rcache_cc_fields_t *fields,
    const rcache_cc_arg_t *arg);
static int64_t rcache_cc_integer(const rcache_sf_item_t *item);
static int rcache_cc_boolean(const rcache_sf_item_t *item);
static int rcache_cc_restricts(const rcache_sf_item_t *item,
    rcache_cc_fields_t *fields);


static const char * const  rcache_cc_targeted_names[] = {
    "max-age",
    "s-maxage",
    "stale-while-revalidate",
    "stale-if-error",
    "no-store",
    "no-cache",
    "private",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand"
};


void
rcache_cc_init(rcache_cc_t *cc)
{
    memset(cc, 0, sizeof(rcache_cc_t));

    cc->max_age = -1;
    cc->s_maxage = -1;
    cc->stale_while_revalidate = -1;
    cc->stale_if_error = -1;
    cc->max_stale = -1;
    cc->min_fresh = -1;
}


void
rcache_cc_parse(rcache_cc_t *cc, const u_char *p, size_t len)
{
    rcache_str_t      name;
    const u_char     *last;
    rcache_cc_arg_t   arg;

    last = p + len;

    for ( ;; ) {

        /*
         * Whatever is no token is stepped over a byte at a time, so that
         * in text that is not Cache-Control's grammar a restriction is
         * still seen: "private" in quotes, or private;max-age=60.
         */

        while (p < last && !rcache_token[*p]) {
            p++;
        }

        if (p == last) {
            return;
        }

        name.data = (u_char *) p;

        while (p < last && rcache_token[*p]) {
            p++;
        }

        name.len = p - name.data;

        arg.value.len = 0;
        arg.value.data = NULL;
        arg.quoted = 0;

        /* RFC 9111, 5.2: no blanks around "=" */

        if (p < last && *p == '=') {
            p = rcache_cc_argument(&arg, p + 1, last);
        }

        rcache_cc_directive(cc, &name, &arg);
    }
}


/* RFC 9111, 5.2: both forms of an argument, token and quoted-string */

static const u_char *
rcache_cc_argument(rcache_cc_arg_t *arg, const u_char *p, const u_char *last)
{
    const u_char  *q;

    arg->value.data = (u_char *) p;

    if (p == last || *p != '"') {

        while (p < last && !rcache_cc_separator(*p)) {
            p++;
        }

        arg->value.len = p - arg->value.data;

        return p;
    }

    for (q = p + 1; q < last; q++) {

        if (*q == '\\' && last - q > 1) {
            q++;
            continue;
        }

        if (*q != '"') {
            continue;
        }

        q++;

        if (q == last || rcache_cc_separator(*q)) {
            arg->value.data++;
            arg->value.len = q - arg->value.data - 1;
            arg->quoted = 1;

        } else {

            /* something sticks to the closing quote: not a number, then */

            arg->value.len = q - arg->value.data;
        }

        return q;
    }

    /* never closed: what follows the quote is looked at as directives */

    arg->value.len = 1;

    return p + 1;
}


static void
rcache_cc_directive(rcache_cc_t *cc, const rcache_str_t *name,
    const rcache_cc_arg_t *arg)
{
    switch (name->len) {

    case sizeof("public") - 1:

        if (rcache_str_is(name, "public")) {
            cc->public_ = 1;
        }

        break;

    case sizeof("max-age") - 1:

        if (rcache_str_is(name, "max-age")) {
            rcache_cc_lifetime(&cc->max_age, arg);

        } else if (rcache_str_is(name, "private")) {

            if (!rcache_cc_names(&cc->private_fields, arg)) {
                cc->private_ = 1;
            }
        }

        break;

    case sizeof("s-maxage") - 1:

        if (rcache_str_is(name, "s-maxage")) {
            rcache_cc_lifetime(&cc->s_maxage, arg);

        } else if (rcache_str_is(name, "no-store")) {
            cc->no_store = 1;

        } else if (rcache_str_is(name, "no-cache")) {

            if (!rcache_cc_names(&cc->no_cache_fields, arg)) {
                cc->no_cache = 1;
            }
        }

        break;

    case sizeof("max-stale") - 1:

        if (rcache_str_is(name, "max-stale")) {
            rcache_cc_max_stale(&cc->max_stale, arg);

        } else if (rcache_str_is(name, "min-fresh")) {
            rcache_cc_min_fresh(&cc->min_fresh, arg);
        }

        break;

    case sizeof("stale-if-error") - 1:

        if (rcache_str_is(name, "stale-if-error")) {
            rcache_cc_window(&cc->stale_if_error, arg);

        } else if (rcache_str_is(name, "only-if-cached")) {
            cc->only_if_cached = 1;
        }

        break;

    case sizeof("must-revalidate") - 1:

        if (rcache_str_is(name, "must-revalidate")) {
            cc->must_revalidate = 1;

        } else if (rcache_str_is(name, "must-understand")) {
            cc->must_understand = 1;
        }

        break;

    case sizeof("proxy-revalidate") - 1:

        if (rcache_str_is(name, "proxy-revalidate")) {
            cc->proxy_revalidate = 1;
        }

        break;

    case sizeof("stale-while-revalidate") - 1:

        if (rcache_str_is(name, "stale-while-revalidate")) {
            rcache_cc_window(&cc->stale_while_revalidate, arg);
        }

        break;

    default:
        break;
    }
}


/* RFC 9111, 1.2.2: delta-seconds, or -1 if the argument is none */

static int64_t
rcache_cc_number(const rcache_str_t *value)
{
    size_t   i;
    int64_t  n;

    if (value->len == 0) {
        return -1;
    }

    n = 0;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] < '0' || value->data[i] > '9') {
            return -1;
        }

        n = n * 10 + (value->data[i] - '0');

        if (n > RCACHE_DELTA_MAX) {
            n = RCACHE_DELTA_MAX;
        }
    }

    return n;
}


/*
 * RFC 9111, 4.2.1: of several values the first is to be used, or the
 * response is to be taken for stale, and so it is best taken if a value is
 * not a number.  The least is never more than the first.
 */

static void
rcache_cc_lifetime(int64_t *value, const rcache_cc_arg_t *arg)
{
    int64_t  n;

    n = rcache_cc_number(&arg->value);

    if (n == -1) {
        n = 0;
    }

    if (*value == -1 || n < *value) {
        *value = n;
    }
}


/* RFC 5861, 3 and 4 */

static void
rcache_cc_window(int64_t *value, const rcache_cc_arg_t *arg)
{
    int64_t  n;

    n = rcache_cc_number(&arg->value);

    if (n != -1 && (*value == -1 || n < *value)) {
        *value = n;
    }
}


/* RFC 9111, 5.2.1.2: without an argument, stale by any time */

static void
rcache_cc_max_stale(int64_t *value, const rcache_cc_arg_t *arg)
{
    int64_t  n;

    n = (arg->value.data == NULL) ? RCACHE_DELTA_MAX
                                  : rcache_cc_number(&arg->value);

    if (n != -1 && (*value == -1 || n < *value)) {
        *value = n;
    }
}


/* RFC 9111, 5.2.1.3 */

static void
rcache_cc_min_fresh(int64_t *value, const rcache_cc_arg_t *arg)
{
    int64_t  n;

    n = rcache_cc_number(&arg->value);

    if (n > *value) {
        *value = n;
    }
}


/*
 * RFC 9111, 5.2.2.4 and 5.2.2.7: true if the argument is a quoted list of
 * names, and kept.  The token form is not for senders, and who writes
 * "private=1" does not mean a field named 1.
 */

static int
rcache_cc_names(rcache_cc_fields_t *fields, const rcache_cc_arg_t *arg)
{
    size_t         len;
    u_char        *p, *last;
    unsigned       i, n, name;
    rcache_str_t  *list;

    if (!arg->quoted) {
        return 0;
    }

    p = arg->value.data;
    last = p + arg->value.len;

    n = 0;
    name = 0;

    while (p < last) {

        if (*p == ',') {
            name = 0;
            p++;
            continue;
        }

        if (*p == ' ' || *p == '\t') {
            p++;
            continue;
        }

        /* two names need a comma between them */

        if (name || !rcache_token[*p]) {
            return 0;
        }

        name = 1;
        n++;

        while (p < last && rcache_token[*p]) {
            p++;
        }
    }

    if (n == 0) {
        return 0;
    }

    len = arg->value.len;

    for (i = 0; i < fields->n; i++) {
        list = &fields->list[i];

        if (list->len == len && memcmp(list->data, arg->value.data, len) == 0)
        {
            return 1;
        }
    }

    if (fields->n == RCACHE_CC_FIELDS) {
        return 0;
    }

    fields->list[fields->n++] = arg->value;

    return 1;
}


int
rcache_cc_targeted(rcache_cc_t *cc, const rcache_str_t *lines,
    unsigned nlines)
{
    int                  rc, any;
    unsigned             i;
    rcache_sf_t          sf;
    rcache_sf_item_t     items[RCACHE_CC_TARGETED_N];
    rcache_sf_item_t    *item[RCACHE_CC_TARGETED_N];
    rcache_sf_member_t   member;

    memset(item, 0, sizeof(item));

    rcache_sf_init(&sf, lines, nlines);

    any = 0;

    for ( ;; ) {
        rc = rcache_sf_next(&sf, &member);

        if (rc == RCACHE_DONE) {
            break;
        }

        if (rc != RCACHE_OK) {
            return RCACHE_DECLINED;
        }

        any = 1;

        /* RFC 8941, 4.2.2: the last of a name is the one */

        for (i = 0; i < RCACHE_CC_TARGETED_N; i++) {

            if (rcache_str_is(&member.key, rcache_cc_targeted_names[i])) {
                items[i] = member.item;
                item[i] = &items[i];
                break;
            }
        }
    }

    if (!any) {
        return RCACHE_DECLINED;
    }

    cc->max_age = rcache_cc_integer(item[RCACHE_CC_MAX_AGE]);
    cc->s_maxage = rcache_cc_integer(item[RCACHE_CC_S_MAXAGE]);
    cc->stale_while_revalidate =
                   rcache_cc_integer(item[RCACHE_CC_STALE_WHILE_REVALIDATE]);
    cc->stale_if_error = rcache_cc_integer(item[RCACHE_CC_STALE_IF_ERROR]);

    cc->no_store = rcache_cc_restricts(item[RCACHE_CC_NO_STORE], NULL);
    cc->no_cache = rcache_cc_restricts(item[RCACHE_CC_NO_CACHE],
                                       &cc->no_cache_fields);
    cc->private_ = rcache_cc_restricts(item[RCACHE_CC_PRIVATE],
                                       &cc->private_fields);

    cc->public_ = rcache_cc_boolean(item[RCACHE_CC_PUBLIC]);
    cc->must_revalidate = rcache_cc_boolean(item[RCACHE_CC_MUST_REVALIDATE]);
    cc->proxy_revalidate =
                         rcache_cc_boolean(item[RCACHE_CC_PROXY_REVALIDATE]);
    cc->must_understand = rcache_cc_boolean(item[RCACHE_CC_MUST_UNDERSTAND]);

    return RCACHE_OK;
}


/*
 * RFC 9213, 2.1: delta-seconds are Integers, and any other type is ignored.
 * A negative one is past.
 */

static int64_t
rcache_cc_integer(const rcache_sf_item_t *item)
{
    if (item == NULL || item->type != RCACHE_SF_INTEGER) {
        return -1;
    }

    if (item->integer < 0) {
        return 0;
    }

    return (item->integer < RCACHE_DELTA_MAX) ? item->integer
                                              : RCACHE_DELTA_MAX;
}


/* RFC 9213, 2.1: what has no argument is a Boolean */

static int
rcache_cc_boolean(const rcache_sf_item_t *item)
{
    return item && item->type == RCACHE_SF_BOOLEAN && item->integer;
}


/*
 * A restriction with an argument that it does not take is one still, as in
 * Cache-Control: only "?0" takes it back.
 */

static int
rcache_cc_restricts(const rcache_sf_item_t *item, rcache_cc_fields_t *fields)
{
    rcache_cc_arg_t  arg;

    if (item == NULL) {
        return 0;
    }

    if (item->type == RCACHE_SF_BOOLEAN) {
        return (int) item->integer;
    }

    if (fields && item->type == RCACHE_SF_STRING && !item->escaped) {
        arg.value = item->text;
        arg.quoted = 1;

        return !rcache_cc_names(fields, &arg);
    }

    return 1;
}


int
rcache_cc_withholds(const rcache_cc_t *cc, const rcache_str_t *name)
{
    unsigned  i;

    for (i = 0; i < cc->no_cache_fields.n; i++) {

        if (rcache_str_listed(&cc->no_cache_fields.list[i], name)) {
            return 1;
        }
    }

    for (i = 0; i < cc->private_fields.n; i++) {

        if (rcache_str_listed(&cc->private_fields.list[i], name)) {
            return 1;
        }
    }

    return 0;
}
