
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_type.h"


#define RCACHE_TYPE_EXT_MAX  12


typedef struct {
    const char  *ext;
    const char  *types;            /* what they begin with; NULL: anything */
} rcache_type_promise_t;


static const rcache_type_promise_t *rcache_type_promise(
    const rcache_str_t *path);
static const rcache_type_promise_t *rcache_type_find(const u_char *ext,
    size_t len);
static u_char rcache_type_byte(const u_char **p, const u_char *last);
static int rcache_type_hex(u_char ch);
static int rcache_type_alnum(u_char ch);
static int rcache_type_begins(const rcache_str_t *name, const char *types);


#define RCACHE_TYPE_SCRIPT                                                    \
    "application/javascript text/javascript application/x-javascript "        \
    "application/ecmascript text/ecmascript text/plain"

#define RCACHE_TYPE_FONT                                                      \
    "font/ application/font application/x-font application/vnd.ms-font"

#define RCACHE_TYPE_VIDEO  "video/ audio/ application/"


static const rcache_type_promise_t  rcache_type_promises[] = {

    /* pages, and what makes them, are whatever they are */

    { "html", NULL }, { "htm", NULL }, { "xhtml", NULL }, { "php", NULL },
    { "asp", NULL }, { "aspx", NULL }, { "jsp", NULL }, { "do", NULL },
    { "cgi", NULL }, { "md", NULL },

    { "css", "text/css text/plain" },
    { "js", RCACHE_TYPE_SCRIPT }, { "mjs", RCACHE_TYPE_SCRIPT },

    { "json", "application/ text/json text/plain" },
    { "map", "application/ text/json text/plain" },
    { "webmanifest", "application/ text/json text/plain" },
    { "xml", "application/ text/xml text/plain image/svg" },
    { "rss", "application/ text/xml text/plain" },
    { "atom", "application/ text/xml text/plain" },
    { "txt", "text/plain" },
    { "csv", "text/csv text/plain application/" },

    { "png", "image/" }, { "jpg", "image/" }, { "jpeg", "image/" },
    { "gif", "image/" }, { "webp", "image/" }, { "avif", "image/" },
    { "ico", "image/" }, { "bmp", "image/" }, { "svg", "image/" },
    { "svgz", "image/" }, { "tif", "image/" }, { "tiff", "image/" },
    { "apng", "image/" }, { "jxl", "image/" }, { "heic", "image/" },

    { "woff", RCACHE_TYPE_FONT }, { "woff2", RCACHE_TYPE_FONT },
    { "ttf", RCACHE_TYPE_FONT }, { "otf", RCACHE_TYPE_FONT },
    { "eot", RCACHE_TYPE_FONT },

    { "mp4", RCACHE_TYPE_VIDEO }, { "webm", RCACHE_TYPE_VIDEO },
    { "m4v", RCACHE_TYPE_VIDEO }, { "mov", RCACHE_TYPE_VIDEO },
    { "ogv", RCACHE_TYPE_VIDEO }, { "avi", RCACHE_TYPE_VIDEO },
    { "mkv", RCACHE_TYPE_VIDEO }, { "m3u8", RCACHE_TYPE_VIDEO },
    { "mp3", RCACHE_TYPE_VIDEO }, { "ogg", RCACHE_TYPE_VIDEO },
    { "wav", RCACHE_TYPE_VIDEO }, { "flac", RCACHE_TYPE_VIDEO },
    { "m4a", RCACHE_TYPE_VIDEO }, { "aac", RCACHE_TYPE_VIDEO },
    { "opus", RCACHE_TYPE_VIDEO },

    { "pdf", "application/pdf" }, { "wasm", "application/wasm" },
    { "zip", "application/" }, { "gz", "application/" },
    { "tgz", "application/" }, { "bz2", "application/" },
    { "xz", "application/" }, { "7z", "application/" },
    { "rar", "application/" }, { "tar", "application/" },
    { "jar", "application/" }, { "exe", "application/" },
    { "dmg", "application/" }, { "iso", "application/" },
    { "apk", "application/" }, { "msi", "application/" },
    { "bin", "application/" }, { "swf", "application/" },
    { "doc", "application/" }, { "docx", "application/" },
    { "xls", "application/" }, { "xlsx", "application/" },
    { "ppt", "application/" }, { "pptx", "application/" }
};


size_t
rcache_type_name(u_char name[RCACHE_TYPE_MAX],
    const rcache_str_t *content_type)
{
    size_t         n;
    const u_char  *p, *last;

    n = 0;
    p = content_type->data;
    last = p + content_type->len;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    for ( /* void */ ; p < last; p++) {

        if (*p == ';' || *p == ' ' || *p == '\t' || *p == ',') {
            break;
        }

        if (n == RCACHE_TYPE_MAX || (!rcache_token[*p] && *p != '/')) {
            return 0;
        }

        name[n++] = rcache_lower(*p);
    }

    return (n && memchr(name, '/', n) != NULL) ? n : 0;
}


int
rcache_type_json(const rcache_str_t *content_type)
{
    size_t  len;
    u_char  name[RCACHE_TYPE_MAX];

    static const char  json[] = "application/json";
    static const char  plus[] = "+json";

    len = rcache_type_name(name, content_type);

    if (len == sizeof(json) - 1 && memcmp(name, json, len) == 0) {
        return 1;
    }

    return len >= sizeof(plus) - 1
           && memcmp(name + len - (sizeof(plus) - 1), plus, sizeof(plus) - 1)
              == 0;
}


int
rcache_type_contradicts(const rcache_str_t *path, const rcache_str_t *name)
{
    const rcache_type_promise_t  *promise;

    if (name->len == 0) {

        /* it says nothing, and is not guessed at */

        return 0;
    }

    if (path->len == 0
        || (memchr(path->data, '.', path->len) == NULL
            && memchr(path->data, '%', path->len) == NULL))
    {
        return 0;
    }

    promise = rcache_type_promise(path);

    if (promise == NULL || promise->types == NULL) {
        return 0;
    }

    return !rcache_type_begins(name, promise->types)
           && !rcache_type_begins(name, "application/octet-stream "
                                  "binary/octet-stream");
}


/*
 * The last extension in the last segment that is known, whatever comes behind
 * it that is no letter or digit: a parameter, or what is decoded only once.
 */

static const rcache_type_promise_t *
rcache_type_promise(const rcache_str_t *path)
{
    int                           n;
    u_char                        ch, ext[RCACHE_TYPE_EXT_MAX + 1];
    const u_char                 *p, *last;
    const rcache_type_promise_t  *promise, *found;

    p = path->data;
    last = p + path->len;

    promise = NULL;

    /* n: letters behind a dot so far; -1: there was none */

    n = -1;

    for ( ;; ) {

        ch = (p < last) ? rcache_type_byte(&p, last) : 0;

        if (rcache_type_alnum(ch)) {

            if (n >= 0 && n <= RCACHE_TYPE_EXT_MAX) {
                ext[n++] = rcache_lower(ch);
            }

            continue;
        }

        if (n > 0 && n <= RCACHE_TYPE_EXT_MAX) {
            found = rcache_type_find(ext, (size_t) n);

            if (found) {
                promise = found;
            }
        }

        n = (ch == '.') ? 0 : -1;

        if (ch == '/' || ch == '\\') {

            /* what follows is another segment, if something does */

            if (p < last) {
                promise = NULL;
            }
        }

        if (ch == 0 && p == last) {
            return promise;
        }
    }
}


static const rcache_type_promise_t *
rcache_type_find(const u_char *ext, size_t len)
{
    size_t  i, n;

    n = sizeof(rcache_type_promises) / sizeof(rcache_type_promises[0]);

    for (i = 0; i < n; i++) {

        if (strlen(rcache_type_promises[i].ext) == len
            && memcmp(rcache_type_promises[i].ext, ext, len) == 0)
        {
            return &rcache_type_promises[i];
        }
    }

    return NULL;
}


static u_char
rcache_type_byte(const u_char **p, const u_char *last)
{
    int  hi, lo;

    if (**p == '%' && last - *p >= 3) {
        hi = rcache_type_hex((*p)[1]);
        lo = rcache_type_hex((*p)[2]);

        if (hi >= 0 && lo >= 0) {
            *p += 3;
            return (u_char) (hi << 4 | lo);
        }
    }

    return *(*p)++;
}


static int
rcache_type_hex(u_char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }

    ch = rcache_lower(ch);

    return (ch >= 'a' && ch <= 'f') ? ch - 'a' + 10 : -1;
}


static int
rcache_type_alnum(u_char ch)
{
    return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z')
           || (ch >= 'A' && ch <= 'Z');
}


static int
rcache_type_begins(const rcache_str_t *name, const char *types)
{
    size_t       len;
    const char  *end;

    while (*types) {

        end = strchr(types, ' ');
        len = end ? (size_t) (end - types) : strlen(types);

        if (name->len >= len && memcmp(name->data, types, len) == 0) {
            return 1;
        }

        types += len + (end != NULL);
    }

    return 0;
}
