
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_sf.h"


#define rcache_sf_digit(c)  ((c) >= '0' && (c) <= '9')

#define rcache_sf_lcalpha(c)  ((c) >= 'a' && (c) <= 'z')

#define rcache_sf_alpha(c)                                                    \
    (rcache_sf_lcalpha(c) || ((c) >= 'A' && (c) <= 'Z'))

#define rcache_sf_blank(c)  ((c) == ' ' || (c) == '\t')


static int rcache_sf_line(rcache_sf_t *sf);
static int rcache_sf_member(rcache_sf_t *sf, rcache_sf_member_t *member);
static int rcache_sf_key(rcache_sf_t *sf, rcache_str_t *key);
static int rcache_sf_parameters(rcache_sf_t *sf);
static int rcache_sf_list(rcache_sf_t *sf, rcache_sf_item_t *item);
static int rcache_sf_item(rcache_sf_t *sf, rcache_sf_item_t *item);
static int rcache_sf_number(rcache_sf_t *sf, rcache_sf_item_t *item);
static int rcache_sf_string(rcache_sf_t *sf, rcache_sf_item_t *item);
static int rcache_sf_bytes(rcache_sf_t *sf, rcache_sf_item_t *item);
static int rcache_sf_display(rcache_sf_t *sf, rcache_sf_item_t *item);
static int rcache_sf_hex(u_char ch);
static unsigned rcache_sf_utf8(unsigned state, unsigned ch);


void
rcache_sf_init(rcache_sf_t *sf, const rcache_str_t *lines, unsigned nlines)
{
    memset(sf, 0, sizeof(rcache_sf_t));

    sf->lines = lines;
    sf->nlines = nlines;
}


int
rcache_sf_next(rcache_sf_t *sf, rcache_sf_member_t *member)
{
    int  rc;

    if (sf->failed) {
        return RCACHE_ERROR;
    }

    if (sf->pos == sf->last) {
        rc = rcache_sf_line(sf);

        if (rc != RCACHE_OK) {
            sf->failed = (rc == RCACHE_ERROR);
            return rc;
        }
    }

    rc = rcache_sf_member(sf, member);

    sf->failed = (rc == RCACHE_ERROR);

    return rc;
}


/*
 * RFC 8941, 4.2: the lines are parsed as if joined by commas.  None but a
 * lone one may therefore be empty, and nothing but a member may go over the
 * end of one.
 */

static int
rcache_sf_line(rcache_sf_t *sf)
{
    if (sf->nlines == 0) {
        return RCACHE_DONE;
    }

    sf->pos = sf->lines->data;
    sf->last = sf->pos + sf->lines->len;

    sf->lines++;
    sf->nlines--;

    while (sf->pos < sf->last && rcache_sf_blank(*sf->pos)) {
        sf->pos++;
    }

    if (sf->pos == sf->last) {
        return (sf->started || sf->nlines) ? RCACHE_ERROR : RCACHE_DONE;
    }

    sf->started = 1;

    return RCACHE_OK;
}


/* RFC 8941, 4.2.2 */

static int
rcache_sf_member(rcache_sf_t *sf, rcache_sf_member_t *member)
{
    memset(&member->item, 0, sizeof(rcache_sf_item_t));

    if (rcache_sf_key(sf, &member->key) != RCACHE_OK) {
        return RCACHE_ERROR;
    }

    if (sf->pos < sf->last && *sf->pos == '=') {
        sf->pos++;

        if (sf->pos < sf->last && *sf->pos == '(') {

            if (rcache_sf_list(sf, &member->item) != RCACHE_OK) {
                return RCACHE_ERROR;
            }

        } else if (rcache_sf_item(sf, &member->item) != RCACHE_OK) {
            return RCACHE_ERROR;
        }

    } else {
        member->item.type = RCACHE_SF_BOOLEAN;
        member->item.integer = 1;
    }

    if (rcache_sf_parameters(sf) != RCACHE_OK) {
        return RCACHE_ERROR;
    }

    while (sf->pos < sf->last && rcache_sf_blank(*sf->pos)) {
        sf->pos++;
    }

    if (sf->pos == sf->last) {
        return RCACHE_OK;
    }

    if (*sf->pos++ != ',') {
        return RCACHE_ERROR;
    }

    while (sf->pos < sf->last && rcache_sf_blank(*sf->pos)) {
        sf->pos++;
    }

    /* a trailing comma */

    return (sf->pos == sf->last) ? RCACHE_ERROR : RCACHE_OK;
}


/* RFC 8941, 4.2.3.3 */

static int
rcache_sf_key(rcache_sf_t *sf, rcache_str_t *key)
{
    u_char  ch;

    if (sf->pos == sf->last
        || (!rcache_sf_lcalpha(*sf->pos) && *sf->pos != '*'))
    {
        return RCACHE_ERROR;
    }

    key->data = sf->pos;

    while (sf->pos < sf->last) {
        ch = *sf->pos;

        if (!rcache_sf_lcalpha(ch) && !rcache_sf_digit(ch)
            && ch != '_' && ch != '-' && ch != '.' && ch != '*')
        {
            break;
        }

        sf->pos++;
    }

    key->len = sf->pos - key->data;

    return RCACHE_OK;
}


/* RFC 8941, 4.2.3.2 */

static int
rcache_sf_parameters(rcache_sf_t *sf)
{
    rcache_str_t      key;
    rcache_sf_item_t  item;

    while (sf->pos < sf->last && *sf->pos == ';') {
        sf->pos++;

        while (sf->pos < sf->last && *sf->pos == ' ') {
            sf->pos++;
        }

        if (rcache_sf_key(sf, &key) != RCACHE_OK) {
            return RCACHE_ERROR;
        }

        if (sf->pos < sf->last && *sf->pos == '=') {
            sf->pos++;

            if (rcache_sf_item(sf, &item) != RCACHE_OK) {
                return RCACHE_ERROR;
            }
        }
    }

    return RCACHE_OK;
}


/* RFC 8941, 4.2.1.2; there are no lists in it, so that nothing nests */

static int
rcache_sf_list(rcache_sf_t *sf, rcache_sf_item_t *list)
{
    rcache_sf_item_t  item;

    sf->pos++;

    list->type = RCACHE_SF_LIST;
    list->text.data = sf->pos;

    for ( ;; ) {

        while (sf->pos < sf->last && *sf->pos == ' ') {
            sf->pos++;
        }

        if (sf->pos == sf->last) {
            return RCACHE_ERROR;
        }

        if (*sf->pos == ')') {
            list->text.len = sf->pos - list->text.data;
            sf->pos++;

            return RCACHE_OK;
        }

        if (rcache_sf_item(sf, &item) != RCACHE_OK
            || rcache_sf_parameters(sf) != RCACHE_OK)
        {
            return RCACHE_ERROR;
        }

        if (sf->pos == sf->last || (*sf->pos != ' ' && *sf->pos != ')')) {
            return RCACHE_ERROR;
        }
    }
}


/* RFC 8941, 4.2.3.1; RFC 9651, 4.2.3.1 */

static int
rcache_sf_item(rcache_sf_t *sf, rcache_sf_item_t *item)
{
    u_char  ch;

    memset(item, 0, sizeof(rcache_sf_item_t));

    if (sf->pos == sf->last) {
        return RCACHE_ERROR;
    }

    ch = *sf->pos;

    if (ch == '-' || rcache_sf_digit(ch)) {
        return rcache_sf_number(sf, item);
    }

    if (ch == '*' || rcache_sf_alpha(ch)) {
        item->type = RCACHE_SF_TOKEN;
        item->text.data = sf->pos;

        while (sf->pos < sf->last
               && (rcache_token[*sf->pos] || *sf->pos == ':'
                   || *sf->pos == '/'))
        {
            sf->pos++;
        }

        item->text.len = sf->pos - item->text.data;

        return RCACHE_OK;
    }

    sf->pos++;

    switch (ch) {

    case '"':
        return rcache_sf_string(sf, item);

    case ':':
        return rcache_sf_bytes(sf, item);

    case '?':

        if (sf->pos == sf->last || (*sf->pos != '0' && *sf->pos != '1')) {
            return RCACHE_ERROR;
        }

        item->type = RCACHE_SF_BOOLEAN;
        item->integer = *sf->pos++ - '0';

        return RCACHE_OK;

    case '@':

        if (rcache_sf_number(sf, item) != RCACHE_OK
            || item->type != RCACHE_SF_INTEGER)
        {
            return RCACHE_ERROR;
        }

        item->type = RCACHE_SF_DATE;

        return RCACHE_OK;

    case '%':
        return rcache_sf_display(sf, item);

    default:
        return RCACHE_ERROR;
    }
}


/* RFC 8941, 4.2.4: 15 digits, or 12, a point and up to 3 */

static int
rcache_sf_number(rcache_sf_t *sf, rcache_sf_item_t *item)
{
    int       negative;
    u_char   *start;
    int64_t   n;

    item->type = RCACHE_SF_INTEGER;
    item->text.data = sf->pos;

    negative = (sf->pos < sf->last && *sf->pos == '-');

    if (negative) {
        sf->pos++;
    }

    start = sf->pos;
    n = 0;

    while (sf->pos < sf->last && rcache_sf_digit(*sf->pos)) {

        if (sf->pos - start == 15) {
            return RCACHE_ERROR;
        }

        n = n * 10 + (*sf->pos++ - '0');
    }

    if (sf->pos == start) {
        return RCACHE_ERROR;
    }

    if (sf->pos < sf->last && *sf->pos == '.') {

        if (sf->pos - start > 12) {
            return RCACHE_ERROR;
        }

        start = ++sf->pos;

        while (sf->pos < sf->last && rcache_sf_digit(*sf->pos)) {

            if (sf->pos - start == 3) {
                return RCACHE_ERROR;
            }

            sf->pos++;
        }

        if (sf->pos == start) {
            return RCACHE_ERROR;
        }

        item->type = RCACHE_SF_DECIMAL;

    } else {
        item->integer = negative ? -n : n;
    }

    item->text.len = sf->pos - item->text.data;

    return RCACHE_OK;
}


/* RFC 8941, 4.2.5 */

static int
rcache_sf_string(rcache_sf_t *sf, rcache_sf_item_t *item)
{
    u_char  ch;

    item->type = RCACHE_SF_STRING;
    item->text.data = sf->pos;

    while (sf->pos < sf->last) {
        ch = *sf->pos++;

        if (ch == '"') {
            item->text.len = sf->pos - 1 - item->text.data;
            return RCACHE_OK;
        }

        if (ch == '\\') {

            if (sf->pos == sf->last
                || (*sf->pos != '"' && *sf->pos != '\\'))
            {
                return RCACHE_ERROR;
            }

            item->escaped = 1;
            sf->pos++;

        } else if (ch < 0x20 || ch > 0x7e) {
            return RCACHE_ERROR;
        }
    }

    return RCACHE_ERROR;
}


/* RFC 8941, 4.2.7; padding may be wrong or absent */

static int
rcache_sf_bytes(rcache_sf_t *sf, rcache_sf_item_t *item)
{
    u_char  ch;

    item->type = RCACHE_SF_BYTES;
    item->text.data = sf->pos;

    while (sf->pos < sf->last) {
        ch = *sf->pos++;

        if (ch == ':') {
            item->text.len = sf->pos - 1 - item->text.data;
            return RCACHE_OK;
        }

        if (!rcache_sf_alpha(ch) && !rcache_sf_digit(ch)
            && ch != '+' && ch != '/' && ch != '=')
        {
            return RCACHE_ERROR;
        }
    }

    return RCACHE_ERROR;
}


/* RFC 9651, 4.2.10: percent-encoded UTF-8 */

static int
rcache_sf_display(rcache_sf_t *sf, rcache_sf_item_t *item)
{
    int       high, low;
    u_char    ch;
    unsigned  state;

    if (sf->pos == sf->last || *sf->pos++ != '"') {
        return RCACHE_ERROR;
    }

    item->type = RCACHE_SF_DISPLAY;
    item->text.data = sf->pos;

    state = 0;

    while (sf->pos < sf->last) {
        ch = *sf->pos++;

        if (ch == '"') {
            item->text.len = sf->pos - 1 - item->text.data;
            return (state == 0) ? RCACHE_OK : RCACHE_ERROR;
        }

        if (ch < 0x20 || ch > 0x7e) {
            return RCACHE_ERROR;
        }

        if (ch == '%') {

            if (sf->last - sf->pos < 2) {
                return RCACHE_ERROR;
            }

            high = rcache_sf_hex(sf->pos[0]);
            low = rcache_sf_hex(sf->pos[1]);

            if (high == -1 || low == -1) {
                return RCACHE_ERROR;
            }

            ch = (u_char) (high << 4 | low);
            sf->pos += 2;
        }

        state = rcache_sf_utf8(state, ch);

        if (state == (unsigned) -1) {
            return RCACHE_ERROR;
        }
    }

    return RCACHE_ERROR;
}


static int
rcache_sf_hex(u_char ch)
{
    if (rcache_sf_digit(ch)) {
        return ch - '0';
    }

    if (ch >= 'a' && ch <= 'f') {
        return ch - 'a' + 10;
    }

    return -1;
}


/*
 * RFC 3629, 4.  The state is how many bytes are to come, and, above it, the
 * first byte if that narrows the range of the second; -1 is an error.
 */

static unsigned
rcache_sf_utf8(unsigned state, unsigned ch)
{
    unsigned  lead, low, high;

    if (state == 0) {

        if (ch < 0x80) {
            return 0;
        }

        if (ch >= 0xc2 && ch <= 0xdf) {
            return 1;
        }

        if (ch >= 0xe0 && ch <= 0xef) {
            return ch << 8 | 2;
        }

        if (ch >= 0xf0 && ch <= 0xf4) {
            return ch << 8 | 3;
        }

        return (unsigned) -1;
    }

    lead = state >> 8;
    low = 0x80;
    high = 0xbf;

    switch (lead) {

    case 0xe0:
        low = 0xa0;
        break;

    case 0xed:
        high = 0x9f;
        break;

    case 0xf0:
        low = 0x90;
        break;

    case 0xf4:
        high = 0x8f;
        break;

    default:
        break;
    }

    if (ch < low || ch > high) {
        return (unsigned) -1;
    }

    return (state & 0xff) - 1;
}
