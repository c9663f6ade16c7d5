
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * It comes after all has been merged, so that what a location inherits counts
 * as what it says itself, and is told once for each line that is to blame.
 */


#include "ngx_http_rcache_conf.h"
#include "../core/rcache_response.h"


typedef struct {
    ngx_http_rcache_where_t  where;
    ngx_uint_t               what;
    ngx_str_t                name;
} ngx_http_rcache_told_t;


/* what may be told */

typedef enum {
    NGX_HTTP_RCACHE_LINT_AUTH = 0,
    NGX_HTTP_RCACHE_LINT_PASSED,
    NGX_HTTP_RCACHE_LINT_PURGE,
    NGX_HTTP_RCACHE_LINT_HOST,
    NGX_HTTP_RCACHE_LINT_URI,
    NGX_HTTP_RCACHE_LINT_BODY,
    NGX_HTTP_RCACHE_LINT_COOKIE,
    NGX_HTTP_RCACHE_LINT_VERIFY,
    NGX_HTTP_RCACHE_LINT_PREFIX
} ngx_http_rcache_lint_e;


/* what a key's variables are made of */

#define NGX_HTTP_RCACHE_HAS_HOST   0x01
#define NGX_HTTP_RCACHE_HAS_URI    0x02
#define NGX_HTTP_RCACHE_HAS_USER   0x04


static ngx_int_t ngx_http_rcache_lint_location(ngx_conf_t *cf,
    ngx_http_rcache_main_conf_t *rmcf, ngx_http_core_loc_conf_t *clcf);
static ngx_uint_t ngx_http_rcache_lint_key(ngx_str_t *key);
static ngx_uint_t ngx_http_rcache_lint_variable(ngx_str_t *name);
static ngx_uint_t ngx_http_rcache_lint_method(ngx_array_t *values);
static ngx_int_t ngx_http_rcache_lint_zones(ngx_conf_t *cf,
    ngx_http_rcache_main_conf_t *rmcf);
static ngx_uint_t ngx_http_rcache_lint_overlap(ngx_http_rcache_zone_t *a,
    ngx_http_rcache_zone_t *b);
static ngx_int_t ngx_http_rcache_lint_tell(ngx_conf_t *cf, ngx_uint_t what,
    ngx_flag_t strict, ngx_http_rcache_where_t *where, ngx_str_t *name,
    char *fault, char *remedy);


void
ngx_http_rcache_where(ngx_conf_t *cf, ngx_http_rcache_where_t *where)
{
    if (cf->conf_file == NULL) {
        return;
    }

    where->file = cf->conf_file->file.name;
    where->line = cf->conf_file->line;
}


ngx_int_t
ngx_http_rcache_lint_create(ngx_conf_t *cf, ngx_http_rcache_lint_t *lint)
{
    if (ngx_array_init(&lint->locations, cf->pool, 8, sizeof(void *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_array_init(&lint->told, cf->pool, 4,
                          sizeof(ngx_http_rcache_told_t));
}


ngx_int_t
ngx_http_rcache_lint_merge(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_rcache_loc_conf_t *prev = parent;
    ngx_http_rcache_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t     *clcf, **clcfp;
    ngx_http_rcache_main_conf_t  *rmcf;

    ngx_conf_merge_value(conf->lint.strict, prev->lint.strict, 0);

    if (conf->lines.line[NGX_HTTP_RCACHE_RULE_KEY].where.line == 0) {
        conf->lint.key_text = prev->lint.key_text;
    }

    ngx_http_rcache_lines_merge(&prev->lines, &conf->lines);

    if (conf->lint.purge.line == 0) {
        conf->lint.purge = prev->lint.purge;
    }

    conf->lint.verified = ngx_http_rcache_lint_verified(cf);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == NULL || clcf->loc_conf == NULL) {

        /* of a server, or for locations inside of it */

        return NGX_OK;
    }

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    clcfp = ngx_array_push(&rmcf->lint.locations);
    if (clcfp == NULL) {
        return NGX_ERROR;
    }

    *clcfp = clcf;

    return NGX_OK;
}


ngx_int_t
ngx_http_rcache_lint(ngx_conf_t *cf)
{
    ngx_int_t                     rc;
    ngx_uint_t                    i;
    ngx_http_core_loc_conf_t    **clcfp;
    ngx_http_rcache_main_conf_t  *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    /* all of them are told, and then it fails */

    rc = ngx_http_rcache_lint_zones(cf, rmcf);

    clcfp = rmcf->lint.locations.elts;

    for (i = 0; i < rmcf->lint.locations.nelts; i++) {

        if (ngx_http_rcache_lint_location(cf, rmcf, clcfp[i]) != NGX_OK) {
            rc = NGX_ERROR;
        }
    }

    return rc;
}


static ngx_int_t
ngx_http_rcache_lint_location(ngx_conf_t *cf,
    ngx_http_rcache_main_conf_t *rmcf, ngx_http_core_loc_conf_t *clcf)
{
    ngx_int_t                     rc;
    ngx_str_t                     none;
    ngx_uint_t                    has;
    ngx_http_rcache_line_t       *line;
    ngx_http_rcache_loc_conf_t   *rlcf;
    ngx_http_rcache_lint_conf_t  *lint;

    rlcf = clcf->loc_conf[ngx_http_redis_proxy_cache_module.ctx_index];

    rc = NGX_OK;
    lint = &rlcf->lint;
    line = rlcf->lines.line;

    ngx_str_null(&none);

    if (rlcf->purge.admin.len
        && !lint->verified
        && !ngx_http_rcache_lint_closed(cf, clcf))
    {
        rc |= ngx_http_rcache_lint_tell(cf, NGX_HTTP_RCACHE_LINT_PURGE,
                  lint->strict, &lint->admin, &clcf->name,
                  "everybody may purge here",
                  "add \"allow\" and \"deny all\", or another guard");
    }

    if (!rlcf->enable) {
        return rc;
    }

    if (rlcf->purge.purge
        && ngx_http_rcache_lint_method(rlcf->purge.purge)
        && !lint->verified
        && !ngx_http_rcache_lint_closed(cf, clcf))
    {
        rc |= ngx_http_rcache_lint_tell(cf, NGX_HTTP_RCACHE_LINT_PURGE,
                  lint->strict, &lint->purge, &clcf->name,
                  "everybody may purge here",
                  "add \"limit_except\" with \"allow\" and \"deny all\", or "
                  "another guard");
    }

    has = NGX_HTTP_RCACHE_HAS_HOST|NGX_HTTP_RCACHE_HAS_URI;

    if (rlcf->key) {
        has = ngx_http_rcache_lint_key(&lint->key_text);
    }

    if (!(has & NGX_HTTP_RCACHE_HAS_HOST)) {
        rc |= ngx_http_rcache_lint_tell(cf, NGX_HTTP_RCACHE_LINT_HOST,
                  lint->strict, &line[NGX_HTTP_RCACHE_RULE_KEY].where,
                  &none,
                  "the key has no host, so that servers of all names share it",
                  "put \"$host\" into \"redis_proxy_cache_key\"");
    }

    if (!(has & NGX_HTTP_RCACHE_HAS_URI)) {
        rc |= ngx_http_rcache_lint_tell(cf, NGX_HTTP_RCACHE_LINT_URI,
                  lint->strict, &line[NGX_HTTP_RCACHE_RULE_KEY].where,
                  &none,
                  "the key has no URI, so that all of them share one response",
                  "put \"$request_uri\" into \"redis_proxy_cache_key\"");
    }

    /* who says that there are no users has thought of them */

    if (line[NGX_HTTP_RCACHE_RULE_USER].where.line == 0
        && !(has & NGX_HTTP_RCACHE_HAS_USER)
        && ngx_http_rcache_lint_guarded(cf, clcf))
    {
        rc |= ngx_http_rcache_lint_tell(cf, NGX_HTTP_RCACHE_LINT_AUTH,
                  lint->strict, &line[NGX_HTTP_RCACHE_RULE_CACHE].where,
                  &clcf->name,
                  "auth_basic or auth_request let users in, and the key does "
                  "not tell them apart",
                  "set \"redis_proxy_cache_user\" to who it is, or to \"off\" "
                  "if they all may get the same");
    }

    if (line[NGX_HTTP_RCACHE_RULE_USER].where.line == 0
        && !(has & NGX_HTTP_RCACHE_HAS_USER)
        && ngx_http_rcache_lint_authorizes(cf, clcf))
    {
        rc |= ngx_http_rcache_lint_tell(cf, NGX_HTTP_RCACHE_LINT_PASSED,
                  lint->strict, &line[NGX_HTTP_RCACHE_RULE_CACHE].where,
                  &clcf->name,
                  "the upstream gets an Authorization that the cache does not "
                  "see, and the key does not tell users apart",
                  "set \"redis_proxy_cache_user\" to who it is, or to \"off\" "
                  "if they all may get the same");
    }

    if ((rlcf->methods & (NGX_HTTP_POST|NGX_HTTP_RCACHE_QUERY))
        && rlcf->rules.body_size == 0)
    {
        rc |= ngx_http_rcache_lint_tell(cf, NGX_HTTP_RCACHE_LINT_BODY,
                  lint->strict, &line[NGX_HTTP_RCACHE_RULE_METHODS].where,
                  &none,
                  "POST and QUERY are not cached without the body in the key",
                  "set \"redis_proxy_cache_key_body\"");
    }

    if ((rlcf->ignore & RCACHE_IGNORE_SET_COOKIE)
        && !ngx_http_rcache_lint_hides(cf, clcf))
    {
        rc |= ngx_http_rcache_lint_tell(cf, NGX_HTTP_RCACHE_LINT_COOKIE,
                  lint->strict, &line[NGX_HTTP_RCACHE_RULE_IGNORE].where,
                  &none,
                  "a Set-Cookie is stored and sent to all",
                  "add \"proxy_hide_header Set-Cookie\"");
    }

    return rc;
}


/* conditions that say nothing of who it is; a variable may say anything */

static ngx_uint_t
ngx_http_rcache_lint_method(ngx_array_t *values)
{
    ngx_uint_t                 i;
    ngx_http_complex_value_t  *cv;

    cv = values->elts;

    for (i = 0; i < values->nelts; i++) {
        if (cv[i].lengths && !rcache_str_is(&cv[i].value, "$request_method")) {
            return 0;
        }
    }

    return 1;
}


/* what the variables in a key are; one that is not known may be anything */

static ngx_uint_t
ngx_http_rcache_lint_key(ngx_str_t *key)
{
    u_char      *p, *last;
    ngx_str_t    name;
    ngx_uint_t   has;

    has = 0;

    p = key->data;
    last = p + key->len;

    while (p < last) {

        if (*p++ != '$') {
            continue;
        }

        if (p < last && *p == '{') {
            p++;
        }

        name.data = p;

        while (p < last
               && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
                   || (*p >= '0' && *p <= '9') || *p == '_'))
        {
            p++;
        }

        name.len = p - name.data;

        has |= ngx_http_rcache_lint_variable(&name);
    }

    return has;
}


static ngx_uint_t
ngx_http_rcache_lint_variable(ngx_str_t *name)
{
    ngx_uint_t  i;

    static struct {
        char        *name;         /* a "*" at the end: what begins so */
        ngx_uint_t   has;
    } known[] = {
        { "host", NGX_HTTP_RCACHE_HAS_HOST },
        { "http_host", NGX_HTTP_RCACHE_HAS_HOST },
        { "server_name", NGX_HTTP_RCACHE_HAS_HOST },

        /* of a group that is named, not of who is asked */
        { "proxy_host", 0 },
        { "proxy_port", 0 },

        { "request_uri", NGX_HTTP_RCACHE_HAS_URI },
        { "uri", NGX_HTTP_RCACHE_HAS_URI },
        { "document_uri", NGX_HTTP_RCACHE_HAS_URI },
        { "request", NGX_HTTP_RCACHE_HAS_URI },
        { "request_filename", NGX_HTTP_RCACHE_HAS_URI },

        { "scheme", 0 },
        { "https", 0 },
        { "args", 0 },
        { "query_string", 0 },
        { "is_args", 0 },
        { "request_method", 0 },
        { "server_port", 0 },
        { "server_addr", 0 },
        { "server_protocol", 0 },
        { "slice_range", 0 },
        { "redis_proxy_cache_args", 0 },
        { "http_accept*", 0 },
        { "http_origin", 0 },
        { "http_user_agent", 0 },
        { NULL, 0 }
    };

    for (i = 0; known[i].name; i++) {
        if (rcache_str_is(name, known[i].name)
            || (known[i].name[ngx_strlen(known[i].name) - 1] == '*'
                && name->len >= ngx_strlen(known[i].name) - 1
                && ngx_strncmp(name->data, known[i].name,
                               ngx_strlen(known[i].name) - 1)
                   == 0))
        {
            return known[i].has;
        }
    }

    if (name->len > 4 && ngx_strncmp(name->data, "arg_", 4) == 0) {
        return NGX_HTTP_RCACHE_HAS_URI;
    }

    if ((name->len > 7 && ngx_strncmp(name->data, "cookie_", 7) == 0)
        || (name->len > 5 && ngx_strncmp(name->data, "http_", 5) == 0)
        || (name->len > 4 && ngx_strncmp(name->data, "ssl_", 4) == 0)
        || rcache_str_is(name, "remote_user"))
    {
        return NGX_HTTP_RCACHE_HAS_USER;
    }

    return NGX_HTTP_RCACHE_HAS_HOST|NGX_HTTP_RCACHE_HAS_URI
           |NGX_HTTP_RCACHE_HAS_USER;
}


static ngx_int_t
ngx_http_rcache_lint_zones(ngx_conf_t *cf, ngx_http_rcache_main_conf_t *rmcf)
{
    ngx_int_t                     rc;
    ngx_uint_t                    i, n;
    ngx_http_rcache_zone_t      **zone;
    ngx_http_rcache_loc_conf_t   *rlcf;

    rlcf = ngx_http_conf_get_module_loc_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    rc = NGX_OK;
    zone = rmcf->zones.elts;

    for (i = 0; i < rmcf->zones.nelts; i++) {

        if (zone[i]->conf.tls.enable && !zone[i]->conf.tls.verify) {
            rc |= ngx_http_rcache_lint_tell(cf, NGX_HTTP_RCACHE_LINT_VERIFY,
                      rlcf->lint.strict > 0, &zone[i]->where, &zone[i]->name,
                      "nobody knows to whom the TLS to Redis goes",
                      "leave \"ssl_verify=off\" out, and name a certificate "
                      "with \"ssl_trusted_certificate=\"");
        }

        for (n = 0; n < i; n++) {

            if (ngx_http_rcache_lint_overlap(zone[i], zone[n])) {
                rc |= ngx_http_rcache_lint_tell(cf,
                          NGX_HTTP_RCACHE_LINT_PREFIX,
                          rlcf->lint.strict > 0, &zone[i]->where,
                          &zone[i]->name,
                          "another zone has the same keys in the same Redis",
                          "give each of them a \"prefix=\" that no other "
                          "begins with");
                break;
            }
        }
    }

    return rc;
}


static ngx_uint_t
ngx_http_rcache_lint_overlap(ngx_http_rcache_zone_t *a,
    ngx_http_rcache_zone_t *b)
{
    return a->conf.db == b->conf.db
           && a->conf.url.len == b->conf.url.len
           && ngx_memcmp(a->conf.url.data, b->conf.url.data, a->conf.url.len)
              == 0
           && ngx_memcmp(a->prefix.data, b->prefix.data,
                         ngx_min(a->prefix.len, b->prefix.len))
              == 0;
}


/* once for each fault, line and name */

static ngx_int_t
ngx_http_rcache_lint_tell(ngx_conf_t *cf, ngx_uint_t what, ngx_flag_t strict,
    ngx_http_rcache_where_t *where, ngx_str_t *name, char *fault, char *remedy)
{
    ngx_uint_t                    i, level;
    ngx_http_rcache_told_t       *told;
    ngx_http_rcache_main_conf_t  *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf,
                                           ngx_http_redis_proxy_cache_module);

    told = rmcf->lint.told.elts;

    for (i = 0; i < rmcf->lint.told.nelts; i++) {

        if (told[i].what == what
            && told[i].where.line == where->line
            && told[i].where.file.data == where->file.data
            && rcache_str_same(&told[i].name, name))
        {
            return strict ? NGX_ERROR : NGX_OK;
        }
    }

    told = ngx_array_push(&rmcf->lint.told);
    if (told == NULL) {
        return NGX_ERROR;
    }

    told->what = what;
    told->where = *where;
    told->name = *name;

    level = strict ? NGX_LOG_EMERG : NGX_LOG_WARN;

    ngx_log_error(level, cf->log, 0,
                  "redis_proxy_cache%s%V%s: %s; %s, in %V:%ui",
                  name->len ? " \"" : "", name, name->len ? "\"" : "",
                  fault, remedy, &where->file, where->line);

    return strict ? NGX_ERROR : NGX_OK;
}
