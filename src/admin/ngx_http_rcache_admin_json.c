
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * {"tags": [], "urls": [], "prefixes": [], "users": [], "regexes": [],
 *  "stop": [], "all": false, "soft": false}
 */


#include "ngx_http_rcache_admin.h"
#include "../core/rcache_key.h"

#include "../core/rcache_json.h"


/* names and values of one call */

#define NGX_HTTP_RCACHE_ADMIN_ITEMS  1000


static int ngx_http_rcache_admin_member(void *data, const ngx_str_t *name,
    int kind, const ngx_str_t *value);
static int ngx_http_rcache_admin_user(ngx_http_rcache_admin_purge_t *purge,
    const ngx_str_t *identity);
static int ngx_http_rcache_admin_regex(ngx_http_rcache_admin_purge_t *purge,
    const ngx_str_t *regex);
static int ngx_http_rcache_admin_stop(ngx_http_rcache_admin_purge_t *purge,
    const ngx_str_t *id);
static int ngx_http_rcache_admin_item(ngx_http_rcache_admin_purge_t *purge,
    char *field, const ngx_str_t *value, size_t max, ngx_uint_t *n);
static void *ngx_http_rcache_admin_alloc(void *data, size_t size);
static void ngx_http_rcache_admin_free(void *data, void *p);


ngx_int_t
ngx_http_rcache_admin_json(ngx_pool_t *pool, ngx_str_t *text,
    rcache_secrets_t *secrets, ngx_http_rcache_admin_purge_t *purge,
    const char **error)
{
    int                    rc;
    ngx_str_t             *pair;
    rcache_json_memory_t   memory;

    ngx_memzero(purge, sizeof(ngx_http_rcache_admin_purge_t));

    if (ngx_array_init(&purge->pairs, pool, 16, sizeof(ngx_str_t)) != NGX_OK
        || ngx_array_init(&purge->urls, pool, 8, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    purge->pool = pool;
    purge->secrets = secrets;

    memory.alloc = ngx_http_rcache_admin_alloc;
    memory.free = ngx_http_rcache_admin_free;
    memory.data = pool->log;

    rc = rcache_json_each(text, &memory, ngx_http_rcache_admin_member, purge);

    if (rc == RCACHE_ERROR) {
        return NGX_ERROR;
    }

    if (rc != RCACHE_OK) {
        *error = purge->error ? purge->error
                              : "the body is not a JSON object with members "
                                "that are booleans or arrays of strings";
        return purge->error && *purge->error == '\0' ? NGX_ERROR
                                                     : NGX_DECLINED;
    }

    if (purge->all) {
        pair = ngx_array_push_n(&purge->pairs, 2);
        if (pair == NULL) {
            return NGX_ERROR;
        }

        ngx_str_set(&pair[0], "all");
        ngx_str_set(&pair[1], "1");
    }

    if (purge->pairs.nelts == 0) {
        *error = "there is nothing to be purged: expected tags, urls, "
                 "prefixes, users, regexes or all";
        return NGX_DECLINED;
    }

    if (purge->soft) {
        pair = ngx_array_push_n(&purge->pairs, 2);
        if (pair == NULL) {
            return NGX_ERROR;
        }

        ngx_str_set(&pair[0], "soft");
        ngx_str_set(&pair[1], "1");
    }

    return NGX_OK;
}


/* an error of "" is that memory is short */

static int
ngx_http_rcache_admin_member(void *data, const ngx_str_t *name, int kind,
    const ngx_str_t *value)
{
    ngx_http_rcache_admin_purge_t *purge = data;

    ngx_str_t   *url;
    ngx_uint_t   urls;

#define ngx_http_rcache_admin_is(s)                                           \
    (name->len == sizeof(s) - 1                                               \
     && ngx_strncmp(name->data, s, sizeof(s) - 1) == 0)

    if (ngx_http_rcache_admin_is("soft") || ngx_http_rcache_admin_is("all")) {

        if (kind != RCACHE_JSON_TRUE && kind != RCACHE_JSON_FALSE) {
            purge->error = "soft and all are true or false";
            return 0;
        }

        if (name->len == sizeof("all") - 1) {
            purge->all = (kind == RCACHE_JSON_TRUE);

        } else {
            purge->soft = (kind == RCACHE_JSON_TRUE);
        }

        return 1;
    }

    if (!ngx_http_rcache_admin_is("tags")
        && !ngx_http_rcache_admin_is("urls")
        && !ngx_http_rcache_admin_is("prefixes")
        && !ngx_http_rcache_admin_is("users")
        && !ngx_http_rcache_admin_is("regexes")
        && !ngx_http_rcache_admin_is("stop"))
    {
        purge->error = "there is an unknown member: expected tags, urls, "
                       "prefixes, users, regexes, stop, all or soft";
        return 0;
    }

    if (kind != RCACHE_JSON_ELEMENT) {
        purge->error = "tags, urls, prefixes, users, regexes and stop are "
                       "arrays of strings";
        return 0;
    }

    if (name->data[0] == 'u' && name->data[1] == 's') {
        return ngx_http_rcache_admin_user(purge, value);
    }

    switch (name->data[0]) {

    case 't':
        return ngx_http_rcache_admin_item(purge, "tag", value, RCACHE_TAG_MAX,
                                          &purge->tags);

    case 'r':
        return ngx_http_rcache_admin_regex(purge, value);

    case 's':
        return ngx_http_rcache_admin_stop(purge, value);

    case 'p':
        return ngx_http_rcache_admin_item(purge, "prefix", value,
                                          RCACHE_KEY_MAX, &purge->prefixes);

    default: /* 'u' */

        urls = purge->urls.nelts;

        if (!ngx_http_rcache_admin_item(purge, "key", value, RCACHE_KEY_MAX,
                                        &urls))
        {
            return 0;
        }

        url = ngx_array_push(&purge->urls);

        if (url == NULL) {
            purge->error = "";
            return 0;
        }

        *url = ((ngx_str_t *) purge->pairs.elts)[purge->pairs.nelts - 1];

        return 1;
    }
}


/*
 * The tag of a user's entries, see ngx_http_rcache_user_tag().  While a secret
 * is replaced there are instances that make it with either.
 */

static int
ngx_http_rcache_admin_user(ngx_http_rcache_admin_purge_t *purge,
    const ngx_str_t *identity)
{
    u_char      buf[NGX_HTTP_RCACHE_USER_TAG];
    ngx_str_t   tag, none, *secret;
    ngx_uint_t  i, n, tags;

    tags = 0;

    if (identity->len == 0) {
        purge->error = "there is an empty string among the users";
        return 0;
    }

    ngx_str_null(&none);

    n = purge->secrets ? purge->secrets->n : 1;
    secret = purge->secrets ? purge->secrets->secret : &none;

    tag.data = buf;
    tag.len = NGX_HTTP_RCACHE_USER_TAG;

    for (i = 0; i < n; i++) {

        if (ngx_http_rcache_user_tag(buf, identity, &secret[i]) != NGX_OK) {
            purge->error = "";
            return 0;
        }

        if (!ngx_http_rcache_admin_item(purge, "tag", &tag, RCACHE_TAG_MAX,
                                        &tags))
        {
            return 0;
        }
    }

    purge->users++;

    return 1;
}


static int
ngx_http_rcache_admin_regex(ngx_http_rcache_admin_purge_t *purge,
    const ngx_str_t *regex)
{
    u_char     *p, buf[NGX_MAX_CONF_ERRSTR];
    ngx_int_t   rc;
    ngx_str_t   text;

    if (regex->len > RCACHE_PATTERN_MAX) {
        purge->error = "there is a regex of more than 512 bytes";
        return 0;
    }

    text = *regex;

    rc = ngx_http_rcache_regex_check(&text, buf, sizeof(buf));

    if (rc == NGX_ERROR) {
        purge->error = "";
        return 0;
    }

    if (rc == NGX_DECLINED) {
        p = ngx_pnalloc(purge->pool, sizeof("a regex does not compile: ")
                                     + sizeof(buf));
        if (p == NULL) {
            purge->error = "";
            return 0;
        }

        (void) ngx_sprintf(p, "a regex does not compile: %s%Z", buf);

        purge->error = (char *) p;
        return 0;
    }

    return ngx_http_rcache_admin_item(purge, "regex", regex,
                                      RCACHE_PATTERN_MAX, &purge->regexes);
}


static int
ngx_http_rcache_admin_stop(ngx_http_rcache_admin_purge_t *purge,
    const ngx_str_t *id)
{
    rcache_purge_id_t  n;

    if (rcache_purge_id(&n, id) != RCACHE_OK) {
        purge->error = "stop has what is no id of a job";
        return 0;
    }

    return ngx_http_rcache_admin_item(purge, "stop", id, RCACHE_PURGE_ID_LEN,
                                      &purge->stops);
}


static int
ngx_http_rcache_admin_item(ngx_http_rcache_admin_purge_t *purge, char *field,
    const ngx_str_t *value, size_t max, ngx_uint_t *n)
{
    ngx_str_t  *pair;

    if (value->len == 0 || value->len > max) {
        purge->error = "there is an empty string, a tag of more than 256 "
                       "bytes, or a url or prefix of more than 8192";
        return 0;
    }

    if (purge->pairs.nelts == 2 * NGX_HTTP_RCACHE_ADMIN_ITEMS) {
        purge->error = "there are more than 1000 tags, urls, prefixes, users, "
                       "regexes and jobs";
        return 0;
    }

    pair = ngx_array_push_n(&purge->pairs, 2);

    if (pair == NULL) {
        purge->error = "";
        return 0;
    }

    pair[0].data = (u_char *) field;
    pair[0].len = ngx_strlen(field);

    pair[1].len = value->len;
    pair[1].data = ngx_pnalloc(purge->pool, value->len);

    if (pair[1].data == NULL) {
        purge->error = "";
        return 0;
    }

    ngx_memcpy(pair[1].data, value->data, value->len);

    (*n)++;

    return 1;
}


static void *
ngx_http_rcache_admin_alloc(void *data, size_t size)
{
    return ngx_alloc(size, data);
}


static void
ngx_http_rcache_admin_free(void *data, void *p)
{
    (void) data;

    ngx_free(p);
}
