
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_update.h"


/*
 * What is true of the stored body and not of a 304, which has none.  RFC
 * 9111, 3.2, has Content-Length and Content-Range; a digest or an encoding
 * of another body would make the stored one unreadable.  The body is the one
 * that the stored ETag names, so that it keeps this name.
 */

static const char * const  rcache_update_fixed[] = {
    "Content-Digest",
    "Content-Encoding",
    "Content-Length",
    "Content-MD5",
    "Content-Range",
    "Digest",
    "ETag",
    "Repr-Digest",
    NULL
};


static const char * const  rcache_update_compared[] = {
    "Content-MD5",
    "ETag",
    "Last-Modified",
    NULL
};


static const char * const *rcache_update_listed(const char * const *names,
    const rcache_str_t *name);
static int rcache_update_stays(const rcache_update_t *u,
    const rcache_str_t *name);
static int rcache_update_add(const rcache_update_t *u,
    const rcache_field_t *field);
static u_char *rcache_update_line(u_char *dst, const rcache_str_t *name,
    const rcache_str_t *value);
static int rcache_update_differs(const rcache_str_t *head,
    const rcache_field_t *field);
static int rcache_update_length(const rcache_str_t *value,
    uint64_t body_len);


int
rcache_update_replaces(rcache_response_t *resp, const rcache_str_t *name)
{
    return rcache_response_keeps(resp, name)
           && rcache_update_listed(rcache_update_fixed, name) == NULL;
}


static const char * const *
rcache_update_listed(const char * const *names, const rcache_str_t *name)
{
    for (/* void */; *names; names++) {

        if (rcache_str_is(name, *names)) {
            return names;
        }
    }

    return NULL;
}


ssize_t
rcache_update_size(const rcache_update_t *u, const rcache_str_t *head)
{
    int            rc;
    size_t         i, size, line;
    rcache_str_t   status, name, value;
    rcache_head_t  h;

    if (rcache_head_status(&h, head, &status) != RCACHE_OK) {
        return RCACHE_ERROR;
    }

    size = sizeof("HTTP/1.1 \r\n\r\n") - 1 + status.len;

    for ( ;; ) {
        rc = rcache_head_next(&h, &name, &value);

        if (rc == RCACHE_DONE) {
            break;
        }

        if (rc != RCACHE_OK) {
            return RCACHE_ERROR;
        }

        if (rcache_update_stays(u, &name)) {
            size += name.len + value.len + sizeof(": \r\n") - 1;
        }
    }

    for (i = 0; i < u->nfields; i++) {

        if (!rcache_update_add(u, &u->fields[i])) {
            continue;
        }

        /* a sum of what is in memory cannot overflow, but it may be long */

        line = u->fields[i].name.len + u->fields[i].value.len
               + sizeof(": \r\n") - 1;

        if (line > RCACHE_HEAD_MAX || size > RCACHE_HEAD_MAX - line) {
            return RCACHE_ERROR;
        }

        size += line;
    }

    return (size > RCACHE_HEAD_MAX) ? RCACHE_ERROR : (ssize_t) size;
}


u_char *
rcache_update_write(u_char *dst, const rcache_update_t *u,
    const rcache_str_t *head)
{
    size_t         i;
    rcache_str_t   status, name, value;
    rcache_head_t  h;

    if (rcache_head_status(&h, head, &status) != RCACHE_OK) {
        return dst;
    }

    memcpy(dst, "HTTP/1.1 ", sizeof("HTTP/1.1 ") - 1);
    dst += sizeof("HTTP/1.1 ") - 1;

    memcpy(dst, status.data, status.len);
    dst += status.len;

    *dst++ = '\r';
    *dst++ = '\n';

    while (rcache_head_next(&h, &name, &value) == RCACHE_OK) {

        if (rcache_update_stays(u, &name)) {
            dst = rcache_update_line(dst, &name, &value);
        }
    }

    for (i = 0; i < u->nfields; i++) {

        if (rcache_update_add(u, &u->fields[i])) {
            dst = rcache_update_line(dst, &u->fields[i].name,
                                     &u->fields[i].value);
        }
    }

    *dst++ = '\r';
    *dst++ = '\n';

    return dst;
}


/* a stored line: not withheld now, and no newer one takes its place */

static int
rcache_update_stays(const rcache_update_t *u, const rcache_str_t *name)
{
    size_t  i;

    if (rcache_str_is(name, "Date")) {
        return 0;
    }

    if (!rcache_response_keeps(u->resp, name)) {
        return 0;
    }

    for (i = 0; i < u->nfields; i++) {

        if (rcache_str_same(&u->fields[i].name, name)
            && rcache_update_add(u, &u->fields[i]))
        {
            return 0;
        }
    }

    return 1;
}


/* a newer line: one that updates and that can be written */

static int
rcache_update_add(const rcache_update_t *u, const rcache_field_t *field)
{
    int32_t  dated;

    if (rcache_str_is(&field->name, "Date")
        && rcache_response_dated(u->resp, &dated) == RCACHE_OK)
    {
        /* the entry says it */

        return 0;
    }

    return rcache_head_valid(&field->name, &field->value)
           && rcache_update_replaces(u->resp, &field->name);
}


static u_char *
rcache_update_line(u_char *dst, const rcache_str_t *name,
    const rcache_str_t *value)
{
    memcpy(dst, name->data, name->len);
    dst += name->len;

    *dst++ = ':';
    *dst++ = ' ';

    if (value->len) {
        memcpy(dst, value->data, value->len);
        dst += value->len;
    }

    *dst++ = '\r';
    *dst++ = '\n';

    return dst;
}


int
rcache_update_contradicts(const rcache_str_t *head, uint64_t body_len,
    const rcache_field_t *fields, size_t nfields)
{
    size_t         i;
    rcache_str_t   status;
    rcache_head_t  h;

    if (rcache_head_status(&h, head, &status) != RCACHE_OK) {
        return 1;
    }

    for (i = 0; i < nfields; i++) {

        if (rcache_str_is(&fields[i].name, "Content-Length")) {

            if (!rcache_update_length(&fields[i].value, body_len)) {
                return 1;
            }

        } else if (rcache_update_listed(rcache_update_compared,
                                        &fields[i].name))
        {
            if (rcache_update_differs(head, &fields[i])) {
                return 1;
            }
        }
    }

    return 0;
}


/* a field that is not stored says nothing against what is */

static int
rcache_update_differs(const rcache_str_t *head, const rcache_field_t *field)
{
    int            rc, found;
    rcache_str_t   status, name, value;
    rcache_head_t  h;

    if (rcache_head_status(&h, head, &status) != RCACHE_OK) {
        return 1;
    }

    found = 0;

    for ( ;; ) {
        rc = rcache_head_next(&h, &name, &value);

        if (rc == RCACHE_DONE) {
            return found;
        }

        if (rc != RCACHE_OK) {
            return 1;
        }

        if (!rcache_str_same(&name, &field->name)) {
            continue;
        }

        if (value.len == field->value.len
            && (value.len == 0
                || memcmp(value.data, field->value.data, value.len) == 0))
        {
            return 0;
        }

        found = 1;
    }
}


static int
rcache_update_length(const rcache_str_t *value, uint64_t body_len)
{
    size_t    i;
    uint64_t  n;

    if (value->len == 0) {
        return 0;
    }

    n = 0;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] < '0' || value->data[i] > '9'
            || n > (UINT64_MAX - 9) / 10)
        {
            return 0;
        }

        n = n * 10 + (value->data[i] - '0');
    }

    return n == body_len;
}
