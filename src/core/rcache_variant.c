
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/* What a request says in the fields that a response varies with. */


#include "rcache_vary.h"

#include <openssl/sha.h>


#define rcache_blank(c)  ((c) == ' ' || (c) == '\t')

#define rcache_digit(c)  ((c) >= '0' && (c) <= '9')

/* members of a list with weights; a longer one is taken as it is */

#define RCACHE_WEIGHTED_MAX  32


typedef struct {
    rcache_str_t  name;
    unsigned      q;             /* thousandths */
} rcache_weighted_t;


/*
 * Bytes on their way into the text.  Each time that it is full its digest
 * takes the place of what it holds, and writing goes on behind that: what
 * comes out depends on each byte, however many there are.
 */

typedef struct {
    rcache_variant_t  *variant;
    unsigned           hashed:1;
    unsigned           failed:1;
} rcache_variant_writer_t;


static void rcache_variant_name(rcache_variant_writer_t *w,
    const rcache_str_t *name, const rcache_field_t *fields, size_t nfields);
static int rcache_variant_line(rcache_variant_writer_t *w,
    const rcache_str_t *value, int quoted);
static int rcache_variant_encoding(rcache_variant_writer_t *w,
    rcache_weighted_t *items, int n);
static int rcache_variant_language(rcache_variant_writer_t *w,
    rcache_weighted_t *items, int n);
static int rcache_weighted(rcache_weighted_t *items, const rcache_str_t *name,
    const rcache_field_t *fields, size_t nfields);
static int rcache_weighted_line(rcache_weighted_t *items, int n,
    const rcache_str_t *value);
static const u_char *rcache_weighted_q(const u_char *p, const u_char *last,
    unsigned *q);
static void rcache_weighted_sort(rcache_weighted_t *items, int n);
static int rcache_weighted_compare(const rcache_weighted_t *a,
    const rcache_weighted_t *b);
static void rcache_variant_put(rcache_variant_writer_t *w, const u_char *p,
    size_t len);
static void rcache_variant_lower(rcache_variant_writer_t *w,
    const rcache_str_t *s);
static void rcache_variant_escape(rcache_variant_writer_t *w, u_char ch);
static void rcache_variant_byte(rcache_variant_writer_t *w, u_char ch);
static int rcache_variant_end(rcache_variant_writer_t *w);


static const u_char  rcache_vary_hex[] = "0123456789abcdef";


int
rcache_variant(rcache_variant_t *variant, const rcache_str_t *names,
    const rcache_field_t *fields, size_t nfields)
{
    u_char                   *p, *last;
    rcache_str_t              name;
    rcache_variant_writer_t   w;

    variant->len = 0;

    w.variant = variant;
    w.hashed = 0;
    w.failed = 0;

    p = names->data;
    last = p + names->len;

    while (p < last) {
        name.data = p;
        name.len = rcache_vary_token(p, last);

        p += name.len + 1;

        if (name.len) {
            rcache_variant_name(&w, &name, fields, nfields);
        }
    }

    return rcache_variant_end(&w);
}


/*
 * RFC 9111, 4.1: values may be brought to one form where the field's own
 * rules say that they mean the same.
 */

static void
rcache_variant_name(rcache_variant_writer_t *w, const rcache_str_t *name,
    const rcache_field_t *fields, size_t nfields)
{
    int                n, done, quoted;
    size_t             i, lines;
    rcache_weighted_t  items[RCACHE_WEIGHTED_MAX];

    rcache_variant_lower(w, name);

    lines = 0;

    for (i = 0; i < nfields; i++) {
        lines += rcache_str_same(&fields[i].name, name);
    }

    if (lines == 0) {
        rcache_variant_byte(w, '\n');
        return;
    }

    rcache_variant_byte(w, ':');

    done = 0;

    if (rcache_str_is(name, "Accept-Encoding")) {
        n = rcache_weighted(items, name, fields, nfields);
        done = rcache_variant_encoding(w, items, n);

    } else if (rcache_str_is(name, "Accept-Language")) {
        n = rcache_weighted(items, name, fields, nfields);
        done = rcache_variant_language(w, items, n);
    }

    quoted = 0;

    for (i = 0; !done && i < nfields; i++) {

        if (!rcache_str_same(&fields[i].name, name)) {
            continue;
        }

        quoted = rcache_variant_line(w, &fields[i].value, quoted);

        if (--lines) {
            rcache_variant_byte(w, ',');
        }
    }

    rcache_variant_byte(w, '\n');
}


/*
 * Lines are one value, RFC 9110, 5.3: a quote that one of them opens and does
 * not close goes on in the next.  Returns whether it does.
 */

static int
rcache_variant_line(rcache_variant_writer_t *w, const rcache_str_t *value,
    int quoted)
{
    u_char  *p, *q, *last;

    p = value->data;
    last = p + value->len;

    while (p < last && rcache_blank(*p)) {
        p++;
    }

    while (last > p && rcache_blank(last[-1])) {
        last--;
    }

    while (p < last) {

        if (quoted) {

            if (*p == '\\' && last - p > 1) {
                rcache_variant_escape(w, *p++);

            } else if (*p == '"') {
                quoted = 0;
            }

            rcache_variant_escape(w, *p++);
            continue;
        }

        if (rcache_blank(*p)) {
            q = p;

            while (rcache_blank(*q)) {
                q++;
            }

            /* the last byte is not a blank */

            if (*q == ',') {
                p = q;
                continue;
            }

            while (p < q) {
                rcache_variant_escape(w, *p++);
            }

            continue;
        }

        if (*p == '"') {
            quoted = 1;
        }

        rcache_variant_escape(w, *p);

        if (*p++ == ',') {

            while (p < last && rcache_blank(*p)) {
                p++;
            }
        }
    }

    return quoted;
}


/*
 * RFC 9110, 12.5.3.  What counts is which codings the client can read: any
 * of them is right, whatever weight it has.  Left out is what goes without
 * saying: "identity", a refusal of what nothing else would allow.  Returns 0
 * if the text has to be taken as it is.
 */

static int
rcache_variant_encoding(rcache_variant_writer_t *w, rcache_weighted_t *items,
    int n)
{
    int                 i, kept, any, none;
    rcache_weighted_t  *item;

    static rcache_str_t  star = { 1, (u_char *) "*" };
    static rcache_str_t  gzip = { 4, (u_char *) "gzip" };
    static rcache_str_t  compress = { 8, (u_char *) "compress" };

    if (n < 0) {
        return 0;
    }

    any = 0;
    none = 0;

    for (i = 0; i < n; i++) {
        item = &items[i];

        /* RFC 9110, 8.4.1 */

        if (rcache_str_is(&item->name, "x-gzip")) {
            item->name = gzip;

        } else if (rcache_str_is(&item->name, "x-compress")) {
            item->name = compress;
        }

        item->q = item->q ? 1000 : 0;

        if (rcache_str_same(&item->name, &star)) {
            any |= (item->q != 0);
            none |= (item->q == 0);
        }
    }

    rcache_weighted_sort(items, n);

    /* the same coding both wanted and refused: no telling what is meant */

    for (i = 0; i < n; i++) {

        for (kept = i + 1; kept < n; kept++) {

            if (items[i].q != items[kept].q
                && rcache_str_same(&items[i].name, &items[kept].name))
            {
                return 0;
            }
        }
    }

    kept = 0;

    for (i = 0; i < n; i++) {
        item = &items[i];

        if (i && rcache_weighted_compare(item - 1, item) == 0) {
            continue;
        }

        if (rcache_str_is(&item->name, "identity")) {

            if (item->q && !none) {
                continue;
            }

        } else if (item->q == 0 && !any
                   && !rcache_str_same(&item->name, &star))
        {
            continue;
        }

        if (kept++) {
            rcache_variant_byte(w, ',');
        }

        rcache_variant_lower(w, &item->name);

        if (item->q == 0) {
            rcache_variant_put(w, (u_char *) ";q=0", 4);
        }
    }

    return 1;
}


/*
 * RFC 9110, 12.5.4: by weight; the order among equals has no meaning, 12.4.2,
 * nor has case.
 */

static int
rcache_variant_language(rcache_variant_writer_t *w, rcache_weighted_t *items,
    int n)
{
    int                 i;
    rcache_weighted_t  *item;

    if (n < 0) {
        return 0;
    }

    rcache_weighted_sort(items, n);

    for (i = 0; i < n; i++) {
        item = &items[i];

        if (i) {

            if (rcache_weighted_compare(item - 1, item) == 0) {
                continue;
            }

            rcache_variant_byte(w, ',');
        }

        rcache_variant_lower(w, &item->name);

        if (item->q < 1000) {
            rcache_variant_put(w, (u_char *) ";q=0.", 5);
            rcache_variant_byte(w, (u_char) ('0' + item->q / 100));
            rcache_variant_byte(w, (u_char) ('0' + item->q / 10 % 10));
            rcache_variant_byte(w, (u_char) ('0' + item->q % 10));
        }
    }

    return 1;
}


/* the members of all lines; -1 if they are too many or not a list of these */

static int
rcache_weighted(rcache_weighted_t *items, const rcache_str_t *name,
    const rcache_field_t *fields, size_t nfields)
{
    int     n;
    size_t  i;

    n = 0;

    for (i = 0; n >= 0 && i < nfields; i++) {

        if (rcache_str_same(&fields[i].name, name)) {
            n = rcache_weighted_line(items, n, &fields[i].value);
        }
    }

    return n;
}


static int
rcache_weighted_line(rcache_weighted_t *items, int n,
    const rcache_str_t *value)
{
    const u_char       *p, *last;
    rcache_weighted_t  *item;

    p = value->data;
    last = p + value->len;

    for ( ;; ) {

        while (p < last && (rcache_blank(*p) || *p == ',')) {
            p++;
        }

        if (p == last) {
            return n;
        }

        if (n == RCACHE_WEIGHTED_MAX) {
            return -1;
        }

        item = &items[n++];

        item->name.data = (u_char *) p;
        item->name.len = rcache_vary_token(p, last);
        item->q = 1000;

        if (item->name.len == 0) {
            return -1;
        }

        p += item->name.len;

        while (p < last && rcache_blank(*p)) {
            p++;
        }

        if (p < last && *p == ';') {
            p = rcache_weighted_q(p + 1, last, &item->q);

            if (p == NULL) {
                return -1;
            }
        }

        if (p < last && *p != ',') {
            return -1;
        }
    }
}


/* RFC 9110, 12.4.2: "q=" and a number from 0 to 1 of at most three decimals */

static const u_char *
rcache_weighted_q(const u_char *p, const u_char *last, unsigned *q)
{
    unsigned  unit;

    while (p < last && rcache_blank(*p)) {
        p++;
    }

    if (last - p < 3 || (p[0] != 'q' && p[0] != 'Q') || p[1] != '='
        || (p[2] != '0' && p[2] != '1'))
    {
        return NULL;
    }

    *q = (p[2] - '0') * 1000;
    p += 3;

    if (p < last && *p == '.') {
        p++;

        for (unit = 100; unit && p < last && rcache_digit(*p); unit /= 10) {
            *q += (*p++ - '0') * unit;
        }

        if (*q > 1000) {
            return NULL;
        }
    }

    while (p < last && rcache_blank(*p)) {
        p++;
    }

    return p;
}


/* there are few of them, and most come in order */

static void
rcache_weighted_sort(rcache_weighted_t *items, int n)
{
    int                i, j;
    rcache_weighted_t  item;

    for (i = 1; i < n; i++) {
        item = items[i];

        for (j = i; j && rcache_weighted_compare(&items[j - 1], &item) > 0;
             j--)
        {
            items[j] = items[j - 1];
        }

        items[j] = item;
    }
}


static int
rcache_weighted_compare(const rcache_weighted_t *a,
    const rcache_weighted_t *b)
{
    if (a->q != b->q) {
        return (a->q > b->q) ? -1 : 1;
    }

    return rcache_vary_compare(a->name.data, a->name.len, b->name.data,
                               b->name.len);
}


static void
rcache_variant_put(rcache_variant_writer_t *w, const u_char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        rcache_variant_byte(w, p[i]);
    }
}


static void
rcache_variant_lower(rcache_variant_writer_t *w, const rcache_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        rcache_variant_byte(w, rcache_lower(s->data[i]));
    }
}


/* no value may look like the end of its line and the start of another */

static void
rcache_variant_escape(rcache_variant_writer_t *w, u_char ch)
{
    if (ch >= 0x20 && ch != 0x7f && ch != '%') {
        rcache_variant_byte(w, ch);
        return;
    }

    rcache_variant_byte(w, '%');
    rcache_variant_byte(w, rcache_vary_hex[ch >> 4]);
    rcache_variant_byte(w, rcache_vary_hex[ch & 0xf]);
}


static void
rcache_variant_byte(rcache_variant_writer_t *w, u_char ch)
{
    u_char             md[SHA256_DIGEST_LENGTH];
    rcache_variant_t  *variant;

    variant = w->variant;

    if (variant->len == RCACHE_VARIANT_SIZE) {

        if (SHA256(variant->text, variant->len, md) == NULL) {
            w->failed = 1;
        }

        memcpy(variant->text, md, sizeof(md));
        variant->len = sizeof(md);

        w->hashed = 1;
    }

    variant->text[variant->len++] = ch;
}


static int
rcache_variant_end(rcache_variant_writer_t *w)
{
    u_char             md[SHA256_DIGEST_LENGTH];
    u_char            *p;
    size_t             i;
    rcache_variant_t  *variant;

    variant = w->variant;

    if (w->failed || SHA256(variant->text, variant->len, md) == NULL) {
        return RCACHE_ERROR;
    }

    if (w->hashed) {

        /* it does not end in LF, so that no other text is the same */

        p = variant->text;

        memcpy(p, "sha256:", sizeof("sha256:") - 1);
        p += sizeof("sha256:") - 1;

        for (i = 0; i < sizeof(md); i++) {
            *p++ = rcache_vary_hex[md[i] >> 4];
            *p++ = rcache_vary_hex[md[i] & 0xf];
        }

        variant->len = p - variant->text;

        if (SHA256(variant->text, variant->len, md) == NULL) {
            return RCACHE_ERROR;
        }
    }

    for (i = 0; i < RCACHE_VARIANT_HASH / 2; i++) {
        variant->hash[2 * i] = rcache_vary_hex[md[i] >> 4];
        variant->hash[2 * i + 1] = rcache_vary_hex[md[i] & 0xf];
    }

    return RCACHE_OK;
}
